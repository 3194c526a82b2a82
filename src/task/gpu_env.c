/* SPDX-License-Identifier: Apache-2.0 */
#include "task/gpu_env.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"

static const char *const variables[] = {"CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES"};

/* "GPU-1...,GPU-2...", as CUDA takes it; where the driver does not say these, the numbers. "" for none. */
static char *list_of(const struct engine_options *o, uint32_t devices)
{
    CLEANUP_BUF struct buf list = BUF_INIT(4096);
    for (size_t i = 0; i < o->n_gpus; i++) {
        if (!(devices & UINT32_C(1) << i))
            continue;
        const char *comma = list.len ? "," : "";
        if (*o->gpus[i].uuid)
            buf_printf(&list, "%s%s", comma, o->gpus[i].uuid);
        else
            buf_printf(&list, "%s%u", comma, o->gpus[i].minor);
    }
    return list.error ? NULL : text_dup(list.data, list.len);
}

int gpu_env_make(const struct task *task, struct run_spec *spec, struct gpu_env *ret)
{
    const struct engine_options *o = &task->engine->options;
    *ret = (struct gpu_env){0};
    if (o->n_gpus == 0)
        return 0;
    ret->list = list_of(o, task->entry.gpus);
    ret->env = calloc(spec->n_env + ARRAY_LEN(variables), sizeof *ret->env);
    if (!ret->list || !ret->env)
        return -ENOMEM;
    if (spec->n_env)
        memcpy(ret->env, spec->env, spec->n_env * sizeof *ret->env);
    for (size_t i = 0; i < ARRAY_LEN(variables); i++)
        ret->env[spec->n_env++] = (struct run_env){.name = variables[i], .value = ret->list};
    spec->env = ret->env;
    for (size_t i = 0; i < o->n_gpus; i++) {
        if (task->entry.gpus & UINT32_C(1) << i)
            spec->gpu_minors |= UINT64_C(1) << o->gpus[i].minor;
    }
    return 0;
}

void gpu_env_done(struct gpu_env *env)
{
    free(env->env);
    free(env->list);
}

uint32_t gpu_env_devices(const struct engine *engine, uint64_t minors)
{
    uint32_t devices = 0;
    for (size_t i = 0; i < engine->options.n_gpus; i++) {
        if (minors & UINT64_C(1) << engine->options.gpus[i].minor)
            devices |= UINT32_C(1) << i;
    }
    return devices;
}
