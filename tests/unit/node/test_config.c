/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "base/fd.h"
#include "node/config.h"

/* A configuration made of this file, these variables and these flags. */
struct world {
    char file[64];
    char *argv[16];
    int argc;
    char *envp[16];
    struct config_input input;
    struct config config;
    struct config_errors errors;
    int result;
};

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    snprintf(w->file, sizeof w->file, "/tmp/test_config.XXXXXX");
    int fd = mkstemp(w->file);
    assert_true(fd >= 0);
    fd_close(&fd);
    w->argv[w->argc++] = (char *)"hivemind-worker";
    w->envp[0] = (char *)"HOME=/home/someone";
    config_errors_init(&w->errors);
    *state = w;
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    unlink(w->file);
    config_done(&w->config);
    config_errors_done(&w->errors);
    free(w);
    return 0;
}

static void write_file(struct world *w, const char *text)
{
    assert_int_equal(file_write_atomic(w->file, text, strlen(text), 0600), 0);
}

static void add_flag(struct world *w, const char *flag)
{
    w->argv[w->argc++] = (char *)flag;
}

static void add_env(struct world *w, const char *variable)
{
    size_t n = 0;
    while (w->envp[n])
        n++;
    w->envp[n] = (char *)variable;
}

static struct config *load(struct world *w)
{
    w->input = (struct config_input){.argc = w->argc,
        .argv = w->argv,
        .envp = w->envp,
        .default_file = w->file,
        .root = false,
        .libexec_dir = "/usr/libexec/hivemind"};
    config_done(&w->config);
    config_errors_done(&w->errors);
    config_errors_init(&w->errors);
    w->result = config_load(&w->input, &w->config, &w->errors);
    return &w->config;
}

static const char *errors_of(struct world *w)
{
    buf_append_u8(&w->errors.text, 0);
    assert_int_equal(w->errors.text.error, 0);
    w->errors.text.len--;
    return (const char *)w->errors.text.data;
}

static void expect_error(struct world *w, size_t count, const char *part)
{
    load(w);
    assert_int_equal(w->result, -1);
    assert_int_equal(w->errors.count, count);
    if (!strstr(errors_of(w), part))
        fail_msg("\"%s\" is not in: %s", part, errors_of(w));
}

static void defaults_are_those_of_the_table(void **state)
{
    struct world *w = *state;
    struct config *c = load(w);
    assert_int_equal(w->result, 0);
    assert_int_equal(c->action, CONFIG_RUN);
    assert_int_equal(config_number(c, SETTING_GRPC_PORT), 50053);
    assert_int_equal(config_number(c, SETTING_MAX_CONCURRENT_TASKS), 4);
    assert_int_equal(config_number(c, SETTING_DEFAULT_TIMEOUT), 300 * SEC);
    assert_int_equal(config_number(c, SETTING_MAX_TASK_SIZE), 100 * MIB);
    assert_int_equal(config_number(c, SETTING_MAX_STORAGE_SIZE), 10 * GIB);
    assert_string_equal(config_text(c, SETTING_GRPC_HOST), "127.0.0.1");
    assert_string_equal(config_text(c, SETTING_STORAGE_PATH), "/home/someone/.local/state/hivemind");
    assert_string_equal(config_text(c, SETTING_LIBEXEC_DIR), "/usr/libexec/hivemind");
    assert_null(config_text(c, SETTING_MASTER_ADDRESS));
    assert_null(config_text(c, SETTING_WORKER_USER));
    assert_false(config_given(c, SETTING_GRPC_PORT));
    assert_true(strncmp(config_text(c, SETTING_NODE_ID), "worker-", 7) == 0);
    assert_non_null(strstr(config_text(c, SETTING_NODE_ID), "-50053"));
}

static void every_default_is_in_its_range(void **state)
{
    (void)state;
    for (enum setting_id id = 0; id < SETTING_MAX; id++) {
        uint64_t number;
        const struct setting *s = setting_get(id);
        assert_true(s->fallback || s->computed);
        assert_non_null(s->help);
        assert_true(s->type == SETTING_BOOL || s->metavar);
        if (s->fallback && setting_parse(id, s->fallback, &number) < 0)
            fail_msg("the default of %s is refused", s->key);
        char flag[SETTING_FLAG_MAX];
        setting_flag(id, flag);
        assert_int_equal(setting_by_flag(flag + 2, strlen(flag + 2)), id);
        assert_int_equal(setting_by_key(s->key), id);
    }
}

static void flag_beats_environment_beats_file(void **state)
{
    struct world *w = *state;
    write_file(w, "MAX_CONCURRENT_TASKS=5\n");
    struct config *c = load(w);
    assert_int_equal(config_number(c, SETTING_MAX_CONCURRENT_TASKS), 5);
    assert_non_null(strstr(c->values[SETTING_MAX_CONCURRENT_TASKS].where, ":1"));
    add_env(w, "MAX_CONCURRENT_TASKS=6");
    load(w);
    assert_int_equal(config_number(c, SETTING_MAX_CONCURRENT_TASKS), 6);
    assert_int_equal(c->values[SETTING_MAX_CONCURRENT_TASKS].origin, ORIGIN_ENVIRONMENT);
    add_flag(w, "--max-concurrent-tasks=7");
    load(w);
    assert_int_equal(config_number(c, SETTING_MAX_CONCURRENT_TASKS), 7);
    assert_string_equal(c->values[SETTING_MAX_CONCURRENT_TASKS].where, "flag --max-concurrent-tasks");
    add_flag(w, "--max-concurrent-tasks");
    add_flag(w, "8");
    load(w);
    assert_int_equal(w->result, 0);
    assert_int_equal(config_number(c, SETTING_MAX_CONCURRENT_TASKS), 8);
}

static void a_bad_value_is_named_even_when_overridden(void **state)
{
    struct world *w = *state;
    write_file(w, "# a comment\n\nMAX_CONCURRENT_TASKS=many\n");
    add_flag(w, "--max-concurrent-tasks=7");
    expect_error(w, 1, ":3), but has to be a whole number from 1 to 1024");
    assert_non_null(strstr(errors_of(w), "MAX_CONCURRENT_TASKS is \"many\""));
}

static void all_mistakes_are_reported_at_once(void **state)
{
    struct world *w = *state;
    write_file(w, "GRPC_PROT=1\nLOG_LEVEL=loud\n=3\n");
    add_env(w, "MAX_TASK_SIZE=-1");
    add_flag(w, "--grpc-pot=5");
    add_flag(w, "extra");
    add_flag(w, "-x");
    add_flag(w, "--drain-timeout");
    expect_error(w, 8, "there is no setting GRPC_PROT; did you mean GRPC_PORT?");
    assert_non_null(strstr(errors_of(w), "did you mean --grpc-port?"));
    assert_non_null(strstr(errors_of(w), "error warning info debug"));
    assert_non_null(strstr(errors_of(w), "unexpected argument \"extra\""));
    assert_non_null(strstr(errors_of(w), "--drain-timeout needs a value"));
    assert_non_null(strstr(errors_of(w), "environment variable MAX_TASK_SIZE"));
}

struct value_case {
    enum setting_id id;
    int result;
    const char *text;
};

static void check_values(const struct value_case *cases, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t number = 0;
        int r = setting_parse(cases[i].id, cases[i].text, &number) < 0 ? -1 : 0;
        if (r != cases[i].result)
            fail_msg("%s=\"%s\" gave %d", setting_get(cases[i].id)->key, cases[i].text, r);
    }
}

static void numbers_have_ranges(void **state)
{
    (void)state;
    static const struct value_case cases[] = {
        {SETTING_GRPC_PORT, 0, "0"},
        {SETTING_GRPC_PORT, 0, "65535"},
        {SETTING_GRPC_PORT, -1, "65536"},
        {SETTING_GRPC_PORT, -1, " 1"},
        {SETTING_GRPC_PORT, -1, "+1"},
        {SETTING_GRPC_PORT, -1, ""},
        {SETTING_MAX_CONCURRENT_TASKS, -1, "0"},
        {SETTING_MAX_CONCURRENT_TASKS, -1, "1025"},
        {SETTING_DEFAULT_TIMEOUT, -1, "0"},
        {SETTING_DEFAULT_TIMEOUT, 0, "250ms"},
        {SETTING_DEFAULT_TIMEOUT, -1, "366d"},
        {SETTING_MAX_TASK_SIZE, 0, "1G"},
        {SETTING_MAX_TASK_SIZE, -1, "2G"},
        {SETTING_MAX_TASK_SIZE, -1, "1X"},
        {SETTING_GRPC_HOST, 0, "::1"},
        {SETTING_GRPC_HOST, -1, "1.2.3"},
        {SETTING_GRPC_HOST, -1, "a b"},
        {SETTING_GRPC_HOST, 0, "node-1.example"},
        {SETTING_GRPC_HOST, -1, "-x"},
        {SETTING_GRPC_HOST, -1, "a..b"},
        {SETTING_MASTER_ADDRESS, 0, "10.0.0.1:50051"},
        {SETTING_MASTER_ADDRESS, 0, "[::1]:1"},
        {SETTING_MASTER_ADDRESS, -1, "::1:1"},
        {SETTING_MASTER_ADDRESS, -1, "host"},
        {SETTING_MASTER_ADDRESS, -1, "host:0"},
        {SETTING_WORKER_USER, -1, "0"},
        {SETTING_WORKER_USER, 0, "www-data"},
        {SETTING_WORKER_USER, -1, "4294967295"},
        {SETTING_WORKER_USER, -1, "a b"},
        {SETTING_NODE_ID, -1, "a\nb"},
        {SETTING_NODE_ID, -1, "\xff"},
        {SETTING_NODE_ID, 0, "kn\xc3\xb6"},
        {SETTING_LOG_FORMAT, 0, "json"},
        {SETTING_LOG_FORMAT, -1, "auto text"},
        {SETTING_LOG_FORMAT, -1, ""},
        {SETTING_DEV, -1, "maybe"},
        {SETTING_SLOT_UID_BASE, -1, "4294967295"},
    };
    check_values(cases, ARRAY_LEN(cases));
}

static void limits_have_ranges(void **state)
{
    (void)state;
    static const struct value_case cases[] = {
        {SETTING_TASK_MEMORY, 0, "16M"},
        {SETTING_TASK_MEMORY, -1, "15M"},
        {SETTING_TASK_MEMORY, -1, "0"},
        {SETTING_TASK_CPUS, 0, "0"},
        {SETTING_TASK_CPUS, 0, "1.5"},
        {SETTING_TASK_CPUS, 0, "0.01"},
        {SETTING_TASK_CPUS, -1, "0.009"},
        {SETTING_TASK_CPUS, -1, "65537"},
        {SETTING_TASK_CPUS, -1, "-1"},
        {SETTING_TASK_CPU_TIME, 0, "0"},
        {SETTING_TASK_CPU_TIME, 0, "1ms"},
        {SETTING_TASK_CPU_TIME, -1, "0.0001s"},
        {SETTING_TASK_PROCESSES, -1, "1"},
        {SETTING_TASK_OPEN_FILES, -1, "15"},
        {SETTING_TASK_TMP_SIZE, -1, "63K"},
        {SETTING_TASK_NETWORK, 0, "host"},
        {SETTING_TASK_NETWORK, -1, "default"},
        {SETTING_OUTPUT_LIMIT_ACTION, 0, "stop"},
        {SETTING_OUTPUT_LIMIT_ACTION, -1, "kill"},
        {SETTING_SPARE_SANDBOXES, -1, "0"},
        {SETTING_PYTHON_PRELOAD, 0, "json"},
        {SETTING_PYTHON_PRELOAD, 0, "_x,os.path,a1.b2"},
        {SETTING_PYTHON_PRELOAD, -1, "json,"},
        {SETTING_PYTHON_PRELOAD, -1, ",json"},
        {SETTING_PYTHON_PRELOAD, -1, "os..path"},
        {SETTING_PYTHON_PRELOAD, -1, "os."},
        {SETTING_PYTHON_PRELOAD, -1, "1a"},
        {SETTING_PYTHON_PRELOAD, -1, "a; b"},
        {SETTING_SANDBOX_PATHS, 0, "/opt"},
        {SETTING_SANDBOX_PATHS, 0, "/opt:/srv/a b"},
        {SETTING_SANDBOX_PATHS, -1, "/opt:"},
        {SETTING_SANDBOX_PATHS, -1, "/opt::/srv"},
        {SETTING_SANDBOX_PATHS, -1, "opt"},
        {SETTING_SANDBOX_PATHS, -1, "/opt:srv"},
        {SETTING_SANDBOX_PATHS, -1, "/a\nb"},
    };
    check_values(cases, ARRAY_LEN(cases));
}

static void limits_of_tasks(void **state)
{
    struct world *w = *state;
    struct config *c = load(w);
    assert_int_equal(w->result, 0);
    assert_null(config_text(c, SETTING_TASK_MEMORY));
    assert_int_equal(config_number(c, SETTING_TASK_MEMORY), 0);
    assert_int_equal(config_number(c, SETTING_TASK_CPUS), 0);
    assert_int_equal(config_number(c, SETTING_TASK_TMP_SIZE), 256 * MIB);
    add_flag(w, "--task-cpus=0.25");
    assert_int_equal(config_number(load(w), SETTING_TASK_CPUS), 250);
    write_file(w, "TASK_NETWORK=host\n");
    expect_error(w, 1, "more than MAX_TASK_NETWORK allows: \"loopback\" (default)");
    add_flag(w, "--max-task-network=host");
    load(w);
    assert_int_equal(w->result, 0);
    add_flag(w, "--sandbox-root=opt");
    expect_error(w, 1, "SANDBOX_ROOT is \"opt\"");
    add_flag(w, "--task-cpus=many");
    expect_error(w, 2, "a number of processors from 0.01 to 65536, such as 2 or 0.5, or 0");
}

static void two_names_of_one_port(void **state)
{
    struct world *w = *state;
    add_env(w, "NODE_PORT=6000");
    struct config *c = load(w);
    assert_int_equal(w->result, 0);
    assert_int_equal(config_number(c, SETTING_GRPC_PORT), 6000);
    assert_string_equal(c->values[SETTING_GRPC_PORT].where, "as NODE_PORT, environment variable NODE_PORT");
    add_flag(w, "--grpc-port=6000");
    load(w);
    assert_int_equal(w->result, 0);
    add_flag(w, "--grpc-port=6001");
    expect_error(w, 1, "NODE_PORT is 6000 (environment variable NODE_PORT) and GRPC_PORT is 6001 (flag --grpc-port)");
}

static void other_machines_need_consent(void **state)
{
    struct world *w = *state;
    add_env(w, "GRPC_HOST=0.0.0.0");
    expect_error(w, 1, "--insecure-listen");
    add_flag(w, "--insecure-listen");
    load(w);
    assert_int_equal(w->result, 0);
    assert_true(setting_host_is_loopback("127.9.9.9"));
    assert_true(setting_host_is_loopback("::1"));
    assert_true(setting_host_is_loopback("::ffff:127.0.0.1"));
    assert_true(setting_host_is_loopback("localhost"));
    assert_false(setting_host_is_loopback("::"));
    assert_false(setting_host_is_loopback("::ffff:10.0.0.1"));
    assert_false(setting_host_is_loopback("localhost.example"));
    assert_false(setting_host_is_loopback("10.127.0.1"));
}

static void encryption_lets_other_machines_in(void **state)
{
    struct world *w = *state;
    add_env(w, "GRPC_HOST=0.0.0.0");
    expect_error(w, 1, "hivemind tls init");
    add_env(w, "TLS_CERT=/tls/node.crt");
    add_env(w, "TLS_KEY=/tls/node.key");
    load(w);
    assert_int_equal(w->result, 0);
    add_flag(w, "--dev"); /* nobody is asked who he is */
    expect_error(w, 1, "with --dev (flag --dev) there is no authentication");
    add_flag(w, "--insecure-listen");
    expect_error(w, 1, "with --dev (flag --dev) there is no authentication");
}

static void settings_of_tls_go_together(void **state)
{
    struct world *w = *state;
    add_env(w, "TLS_CERT=node.crt");
    expect_error(w, 2, "TLS_CERT is \"node.crt\" (environment variable TLS_CERT), but has to be an absolute path");
    expect_error(w, 2, "and TLS_KEY is not: a certificate and its key go together");
    add_flag(w, "--tls-cert=/tls/node.crt");
    add_flag(w, "--tls-key=/tls/node.key");
    load(w);
    assert_int_equal(w->result, 0);
    add_flag(w, "--tls-client-auth=required");
    expect_error(w, 1, "which needs TLS_CLIENT_CA");
    add_flag(w, "--tls-client-auth=off");
    add_flag(w, "--tls-client-ca=/tls/ca.crt");
    expect_error(w, 1, "certificates of clients are not asked for");
    add_flag(w, "--tls-client-auth=sometimes");
    expect_error(w, 1, "has to be one of these words: off optional required");
}

static void a_relative_storage_path_is_a_mistake(void **state)
{
    struct world *w = *state;
    add_flag(w, "--storage-path=here");
    expect_error(w, 1, "STORAGE_PATH is \"here\" (flag --storage-path), but has to be an absolute path");
}

static void dev_changes_defaults_only(void **state)
{
    struct world *w = *state;
    add_flag(w, "--dev");
    struct config *c = load(w);
    assert_int_equal(w->result, 0);
    assert_null(config_text(c, SETTING_STORAGE_PATH));
    assert_int_equal(c->values[SETTING_STORAGE_PATH].origin, ORIGIN_DEV);
    assert_false(config_given(c, SETTING_STORAGE_PATH));
    add_env(w, "STORAGE_PATH=/somewhere");
    load(w);
    assert_string_equal(config_text(c, SETTING_STORAGE_PATH), "/somewhere");
    add_flag(w, "--dev=no");
    load(w);
    assert_int_equal(config_number(c, SETTING_DEV), 0);
    add_env(w, "DEV=definitely"); /* a common name: not ours */
    load(w);
    assert_int_equal(w->result, 0);
}

static void the_file_must_exist_only_if_named(void **state)
{
    struct world *w = *state;
    unlink(w->file);
    struct config *c = load(w);
    assert_int_equal(w->result, 0);
    assert_null(c->file);
    add_flag(w, "--config");
    add_flag(w, w->file);
    expect_error(w, 1, "cannot read the configuration file");
    write_file(w, "NODE_ID=from-file\n");
    load(w);
    assert_int_equal(w->result, 0);
    assert_string_equal(config_text(c, SETTING_NODE_ID), "from-file");
    add_flag(w, "--config=");
    expect_error(w, 1, "--config needs the name of a file");
}

static void a_key_twice_in_the_file_is_a_mistake(void **state)
{
    struct world *w = *state;
    write_file(w, "NODE_ID=a\nNODE_ID=b\n");
    expect_error(w, 1, ":2: NODE_ID was set in line 1 already");
}

static void empty_values_are_not_given(void **state)
{
    struct world *w = *state;
    write_file(w, "NODE_ID=\nMASTER_ADDRESS=\"\"\n");
    add_env(w, "MAX_WORKERS=");
    struct config *c = load(w);
    assert_int_equal(w->result, 0);
    assert_false(config_given(c, SETTING_NODE_ID));
    assert_false(config_given(c, SETTING_MAX_WORKERS));
    add_flag(w, "--max-workers=");
    expect_error(w, 1, "MAX_WORKERS is \"\"");
}

static void hostile_values_are_shown_harmless(void **state)
{
    struct world *w = *state;
    add_flag(w, "--grpc-port=\033[31m\n\xff");
    expect_error(w, 1, "GRPC_PORT is");
    for (const char *p = errors_of(w); *p; p++)
        assert_true((unsigned char)*p >= 0x20 || (*p == '\n' && !p[1]));
}

static void help_wins_over_mistakes(void **state)
{
    struct world *w = *state;
    add_flag(w, "--nonsense");
    add_flag(w, "--help");
    load(w);
    assert_int_equal(w->result, 0);
    assert_int_equal(w->config.action, CONFIG_HELP);
}

static void on_or_off_as_a_word_of_its_own(void **state)
{
    struct world *w = *state;
    add_flag(w, "--python-warm");
    add_flag(w, "off");
    add_flag(w, "--dev");
    add_flag(w, "--gpus");
    add_flag(w, "no");
    struct config *c = load(w);
    assert_int_equal(w->result, 0);
    assert_int_equal(config_number(c, SETTING_PYTHON_WARM), 0);
    assert_int_equal(config_number(c, SETTING_GPUS), 0);
    assert_int_equal(config_number(c, SETTING_DEV), 1);
}

static void no_value_is_shown_as_nothing(void **state)
{
    struct world *w = *state;
    struct config *c = load(w);
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    assert_int_equal(config_print_table(out, c), 0);
    fclose(out);
    size_t lines = 0;
    for (char *line = text, *end; (end = strchr(line, '\n')); line = end + 1, lines++) {
        char key[64], value[64], where[64];
        *end = '\0';
        assert_int_equal(sscanf(line, "%63s %63s %63s", key, value, where), 3);
    }
    assert_int_equal(lines, SETTING_MAX);
    free(text);
}

static void shown_as_json(void **state)
{
    struct world *w = *state;
    add_flag(w, "--show-config");
    add_flag(w, "--json");
    add_flag(w, "--default-timeout=1.5s");
    add_flag(w, "--docker-enabled=no");
    struct config *c = load(w);
    assert_int_equal(w->result, 0);
    assert_int_equal(c->action, CONFIG_SHOW);
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    assert_int_equal(config_print_json(out, c), 0);
    fclose(out);
    json_t *all = json_loads(text, 0, NULL);
    assert_non_null(all);
    assert_int_equal(json_object_size(all), SETTING_MAX);
    json_t *one = json_object_get(all, "DEFAULT_TIMEOUT");
    assert_true(json_real_value(json_object_get(one, "value")) == 1.5);
    assert_string_equal(json_string_value(json_object_get(one, "origin")), "flag");
    assert_true(json_is_false(json_object_get(json_object_get(all, "DOCKER_ENABLED"), "value")));
    assert_true(json_is_false(json_object_get(json_object_get(all, "DOCKER_ENABLED"), "used")));
    assert_true(json_is_null(json_object_get(json_object_get(all, "MASTER_ADDRESS"), "value")));
    json_decref(all);
    free(text);
}

static void help_and_table_name_every_setting(void **state)
{
    struct world *w = *state;
    struct config *c = load(w);
    char *text = NULL, flag[SETTING_FLAG_MAX];
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    assert_non_null(out);
    assert_int_equal(config_print_help(out), 0);
    assert_int_equal(config_print_table(out, c), 0);
    fclose(out);
    for (enum setting_id id = 0; id < SETTING_MAX; id++) {
        assert_non_null(strstr(text, setting_flag(id, flag)));
        assert_non_null(strstr(text, setting_get(id)->key));
    }
    assert_non_null(strstr(text, "default (not used yet)"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(defaults_are_those_of_the_table, set_up, tear_down),
        cmocka_unit_test(every_default_is_in_its_range),
        cmocka_unit_test_setup_teardown(flag_beats_environment_beats_file, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_bad_value_is_named_even_when_overridden, set_up, tear_down),
        cmocka_unit_test_setup_teardown(all_mistakes_are_reported_at_once, set_up, tear_down),
        cmocka_unit_test(numbers_have_ranges),
        cmocka_unit_test(limits_have_ranges),
        cmocka_unit_test_setup_teardown(limits_of_tasks, set_up, tear_down),
        cmocka_unit_test_setup_teardown(two_names_of_one_port, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_machines_need_consent, set_up, tear_down),
        cmocka_unit_test_setup_teardown(encryption_lets_other_machines_in, set_up, tear_down),
        cmocka_unit_test_setup_teardown(settings_of_tls_go_together, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_relative_storage_path_is_a_mistake, set_up, tear_down),
        cmocka_unit_test_setup_teardown(dev_changes_defaults_only, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_file_must_exist_only_if_named, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_key_twice_in_the_file_is_a_mistake, set_up, tear_down),
        cmocka_unit_test_setup_teardown(empty_values_are_not_given, set_up, tear_down),
        cmocka_unit_test_setup_teardown(hostile_values_are_shown_harmless, set_up, tear_down),
        cmocka_unit_test_setup_teardown(help_wins_over_mistakes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(shown_as_json, set_up, tear_down),
        cmocka_unit_test_setup_teardown(on_or_off_as_a_word_of_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_value_is_shown_as_nothing, set_up, tear_down),
        cmocka_unit_test_setup_teardown(help_and_table_name_every_setting, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
