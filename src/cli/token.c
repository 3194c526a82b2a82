/* SPDX-License-Identifier: Apache-2.0 */
/* Which token goes to the node, and whether it may. */
#include <arpa/inet.h>
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"
#include "cli/credentials.h"

/* Nothing that could be read on a wire. */
static bool is_loopback(const char *target)
{
    struct in_addr v4;
    struct in6_addr v6;
    const char *colon = strrchr(target, ':');
    size_t len = colon ? (size_t)(colon - target) : 0;
    char host[INET6_ADDRSTRLEN + 2];
    if (len == 0 || len >= sizeof host)
        return false;
    memcpy(host, target, len);
    host[len] = '\0';
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    if (host[0] == '[' && host[len - 1] == ']') {
        host[len - 1] = '\0';
        return inet_pton(AF_INET6, host + 1, &v6) == 1 && IN6_IS_ADDR_LOOPBACK(&v6);
    }
    return !strcasecmp(host, "localhost");
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

int cli_check_secret(const struct cli *cli, const char *what, struct tw_error *error)
{
    if (cli->tls || cli->insecure_token || is_loopback(cli->server))
        return 0;
    return error_set(error, TW_FAILED_PRECONDITION,
        "the %s is not sent to %s in plain text, where others could read it: use TLS (--server=tls://%s), or say "
        "that it may be (--insecure-token)",
        what, cli->server, cli->server);
}

int cli_find_token(struct cli *cli, char **ret, struct tw_error *error)
{
    const char *text = getenv("HIVEMIND_TOKEN"), *file = getenv("HIVEMIND_TOKEN_FILE");
    int r;
    *ret = NULL;
    if (cli->token)
        r = (*ret = strdup(cli->token)) ? 0 : error_oom(error);
    else if (cli->token_file)
        r = credentials_read_token(cli->token_file, ret, error);
    else if (text && *text)
        r = from_environment(text, ret, error);
    else if (file && *file)
        r = credentials_read_token(file, ret, error);
    else
        r = from_credentials(cli, ret, error);
    if (r < 0 || !*ret || cli_check_secret(cli, "token", error) == 0)
        return r;
    credentials_wipe(ret);
    return -1;
}
