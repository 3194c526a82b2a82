/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/tasks.h"

#include <stdlib.h>
#include <string.h>

#include "cli/output.h"

enum { PAGE = 500 };

int labels_parse(struct cli *cli, struct labels *l)
{
    size_t n = l->given.n;
    l->keys = calloc(n + 1, sizeof *l->keys);
    l->values = calloc(n + 1, sizeof *l->values);
    l->entries = calloc(n + 1, sizeof *l->entries);
    l->list = calloc(n + 1, sizeof *l->list);
    bool oom = !l->keys || !l->values || !l->entries || !l->list;
    for (size_t i = 0; !oom && i < n; i++) {
        const char *given = l->given.items[i], *equals = strchr(given, '=');
        if (!equals || equals == given) {
            cli_error(cli, TW_INVALID_ARGUMENT, "--label \"%.60s\" has to be KEY=VALUE", given);
            return EXIT_USAGE;
        }
        l->keys[i] = strndup(given, (size_t)(equals - given));
        l->values[i] = strdup(equals + 1);
        l->n++;
        oom = !l->keys[i] || !l->values[i];
        taskworker__list_tasks_request__labels_entry__init(&l->entries[i]);
        l->entries[i].key = l->keys[i];
        l->entries[i].value = l->values[i];
        l->list[i] = &l->entries[i];
    }
    if (!oom)
        return 0;
    cli_error(cli, TW_RESOURCE_EXHAUSTED, "out of memory");
    return EXIT_TROUBLE;
}

void labels_done(struct labels *l)
{
    for (size_t i = 0; i < l->n; i++) {
        free(l->keys[i]);
        free(l->values[i]);
    }
    free(l->keys);
    free(l->values);
    free(l->entries);
    free(l->list);
    words_done(&l->given);
}

int tasks_walk(struct cli *cli, Taskworker__ListTasksRequest *request, uint64_t limit,
    int (*each)(struct cli *cli, const Taskworker__Task *task, void *ctx), void *ctx, bool *ret_more)
{
    char *token = NULL;
    uint64_t done = 0;
    int code;
    do {
        CLEANUP_MESSAGE Taskworker__ListTasksResponse *page = NULL;
        request->page_size = (uint32_t)MIN(limit - done, (uint64_t)PAGE);
        code = cli_call(cli, "ListTasks", &request->base, &taskworker__list_tasks_response__descriptor, 0, &page);
        if (code)
            break;
        for (size_t i = 0; i < page->n_tasks && done < limit && !code; i++, done++)
            code = each(cli, page->tasks[i], ctx);
        free(token);
        token = *page->next_page_token ? strdup(page->next_page_token) : NULL;
        request->page_token = token ? token : (char *)protobuf_c_empty_string;
    } while (token && done < limit && !code && !ferror(stdout));
    if (ret_more)
        *ret_more = token;
    free(token);
    request->page_token = (char *)protobuf_c_empty_string;
    return code;
}
