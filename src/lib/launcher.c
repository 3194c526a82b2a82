/* SPDX-License-Identifier: Apache-2.0 */
/* The launcher as the public interface has it. */
#include "lib/worker_internal.h"

#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include <sodium.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/text.h"

enum { DEFAULT_MAX_SLOTS = 1024, DEFAULT_UID_BASE = 1900000000 };

static void add_text(crypto_generichash_state *h, const char *s)
{
    crypto_generichash_update(h, (const uint8_t *)(s ? s : ""), s ? strlen(s) + 1 : 1);
}

/* The interpreter counts as another one when its file has changed: to ask it would cost every start a start of it. */
static void find_runtime_version(const struct launcher_options *o, char ret[65])
{
    crypto_generichash_state h;
    struct stat st = {0};
    uint8_t hash[32];
    const char *python = o->python ? o->python : "/usr/bin/python3";
    (void)stat(python, &st);
    const uint64_t file[] = {(uint64_t)st.st_size, (uint64_t)st.st_mtim.tv_sec, (uint64_t)st.st_mtim.tv_nsec};
    const char *const texts[] = {
        HIVEMIND_VERSION, python, o->python_preload, o->sandbox_paths, o->sandbox_root, o->functions};
    crypto_generichash_init(&h, NULL, 0, sizeof hash);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++)
        add_text(&h, texts[i]);
    crypto_generichash_update(&h, (const uint8_t *)file, sizeof file);
    crypto_generichash_final(&h, hash, sizeof hash);
    text_hex(hash, sizeof hash, ret);
}

int tw_launcher_start(const struct tw_launcher_options *given, struct tw_launcher **ret, struct tw_error *error)
{
    struct tw_launcher_options none = {.size = sizeof none}, copy, *options = &copy;
    if (options_take(&copy, sizeof copy, given ? given : &none, "tw_launcher_options", error) < 0)
        return -1;
    (void)fd_occupy_standard();
    char inputs[PATH_MAX];
    int r = options->storage_path ? inputs_prepare(options->storage_path, inputs, sizeof inputs) : 0;
    if (r < 0)
        return error_set_errno(error, r, "cannot make the folder of tasks' inputs in %s", options->storage_path);
    struct tw_launcher *l = calloc(1, sizeof *l);
    if (!l)
        return error_oom(error);
    struct launcher_options o = {
        .inputs = options->storage_path ? inputs : NULL,
        .libexec_dir = options->libexec_dir ? options->libexec_dir : HIVEMIND_LIBEXECDIR,
        .max_slots = options->max_slots ? options->max_slots : DEFAULT_MAX_SLOTS,
        .uid_base = options->slot_uid_base ? options->slot_uid_base : DEFAULT_UID_BASE,
        .python = options->python,
        .python_cold = options->python_cold,
        .python_preload = options->python_preload,
        .sandbox_paths = options->sandbox_paths,
        .sandbox_root = options->sandbox_root,
        .functions = options->functions,
    };
    find_runtime_version(&o, l->runtime_version);
    if (launcher_start(&o, &l->launcher, error) < 0) {
        free(l);
        return -1;
    }
    *ret = l;
    return 0;
}

void tw_launcher_free(struct tw_launcher *launcher)
{
    if (launcher)
        launcher_free(launcher->launcher);
    free(launcher);
}
