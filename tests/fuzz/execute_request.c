/* SPDX-License-Identifier: Apache-2.0 */
/* A request's bytes on their way to a task: the check of the wire, unpacking, the spec. What passes must be what it says. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"
#include "rpc/taskworker_convert.h"
#include "rpc/wire_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static void must(bool truth)
{
    if (!truth)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct tw_error error = {.message = ""};
    if (wire_check(&taskworker__execute_task_request__descriptor, data, len, &error) < 0) {
        must(error.code == TW_INVALID_ARGUMENT && text_is_utf8(error.message, strlen(error.message)));
        return 0;
    }
    Taskworker__ExecuteTaskRequest *request = taskworker__execute_task_request__unpack(NULL, len, data);
    if (!request)
        return 0;
    struct tw_task_spec spec;
    CLEANUP_FREE void *arrays = NULL;
    if (spec_from_request(request, &spec, &arrays, &error) == 0) {
        must(text_is_utf8(spec.id, strlen(spec.id)) && text_is_utf8(spec.type, strlen(spec.type)));
        for (size_t i = 0; i < spec.n_args; i++)
            must(text_is_utf8(spec.args[i], strlen(spec.args[i])));
        for (size_t i = 0; i < spec.n_env; i++)
            must(text_is_utf8(spec.env[i].name, strlen(spec.env[i].name)) &&
                text_is_utf8(spec.env[i].value, strlen(spec.env[i].value)));
        if (tw_task_id_check(spec.id, strlen(spec.id), &error) == 0)
            must(!strpbrk(spec.id, "/\\ \n\t") && spec.id[0] != '.' && spec.id[0] != '-');
    }
    taskworker__execute_task_request__free_unpacked(request, NULL);
    return 0;
}
