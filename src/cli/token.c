/* SPDX-License-Identifier: Apache-2.0 */
/* Which token goes to the node, and whether it may. */
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"
#include "cli/credentials.h"

/* "127.0.0.1:50053", "[::1]:50053", "localhost:50053": nothing that could be read on a wire. */
static bool is_loopback(const char *target)
{
    static const char *const hosts[] = {"127.0.0.1:", "[::1]:", "localhost:"};
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        if (!strncasecmp(target, hosts[i], strlen(hosts[i])))
            return true;
    }
    unsigned a, b, c;
    int n = 0;
    return sscanf(target, "127.%3u.%3u.%3u:%n", &a, &b, &c, &n) == 3 && n && a < 256 && b < 256 && c < 256;
}

static int from_environment(const char *text, char **ret, struct tw_error *error)
{
    if (credentials_check_token(text, error) < 0)
        return error_wrap(error, "$HIVEMIND_TOKEN");
    *ret = strdup(text);
    return *ret ? 0 : error_oom(error);
}

static int from_credentials(const struct cli *cli, char **ret, struct tw_error *error)
{
    CLEANUP_FREE char *path = credentials_path();
    return path ? credentials_find(path, cli->server, ret, error) : 0;
}

int cli_find_token(struct cli *cli, char **ret, struct tw_error *error)
{
    const char *text = getenv("HIVEMIND_TOKEN"), *file = getenv("HIVEMIND_TOKEN_FILE");
    int r;
    *ret = NULL;
    if (cli->token_file)
        r = credentials_read_token(cli->token_file, ret, error);
    else if (text && *text)
        r = from_environment(text, ret, error);
    else if (file && *file)
        r = credentials_read_token(file, ret, error);
    else
        r = from_credentials(cli, ret, error);
    if (r < 0 || !*ret || cli->tls || cli->insecure_token || is_loopback(cli->server))
        return r;
    credentials_wipe(ret);
    return error_set(error, TW_FAILED_PRECONDITION,
        "the token is not sent to %s in plain text, where others could read it: use TLS (--server=tls://%s), or say "
        "that "
        "it may be (--insecure-token)",
        cli->server, cli->server);
}
