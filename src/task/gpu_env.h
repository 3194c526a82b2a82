/* SPDX-License-Identifier: Apache-2.0 */
/* What a task's run is told of its GPUs; private to src/task. */
#ifndef TASK_GPU_ENV_H
#define TASK_GPU_ENV_H

#include "task/task.h"

/* Behind the task's own variables, and so over them: CUDA_VISIBLE_DEVICES and NVIDIA_VISIBLE_DEVICES. */
struct gpu_env {
    struct run_env *env; /* NULL: the node has no GPUs, and the task's own will do */
    char *list;
};

/* Fills in the environment and the devices of a run. -ENOMEM. Free it when the runtime has taken the spec. */
int gpu_env_make(const struct task *task, struct run_spec *spec, struct gpu_env *ret);
void gpu_env_done(struct gpu_env *env);

/* The bits of the engine's GPUs that these devices are. */
uint32_t gpu_env_devices(const struct engine *engine, uint64_t minors);

#endif
