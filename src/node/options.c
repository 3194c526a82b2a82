/* SPDX-License-Identifier: Apache-2.0 */
#include "node/options.h"

#include <string.h>

enum tw_network option_network(const struct config *c, enum setting_id id)
{
    return (enum tw_network)(config_number(c, id) + TW_NETWORK_NONE);
}

static const char *option_index(const struct config *c)
{
    const char *index = config_text(c, SETTING_PACKAGE_INDEX);
    return !strcmp(index, "off") ? NULL : !strcmp(index, "default") ? "" : index;
}

void options_of_worker(const struct config *c, const char *storage, struct tw_worker_options *ret)
{
    *ret = (struct tw_worker_options){
        .size = sizeof *ret,
        .node_id = config_text(c, SETTING_NODE_ID),
        .storage_path = storage,
        .max_concurrent_tasks = (uint32_t)config_number(c, SETTING_MAX_CONCURRENT_TASKS),
        .max_queued_tasks = (uint32_t)config_number(c, SETTING_MAX_QUEUED_TASKS),
        .default_timeout_us = config_number(c, SETTING_DEFAULT_TIMEOUT),
        .default_queue_timeout_us = config_number(c, SETTING_DEFAULT_QUEUE_TIMEOUT),
        .max_tasks_per_owner = (uint32_t)config_number(c, SETTING_MAX_TASKS_PER_OWNER),
        .max_queued_per_owner = (uint32_t)config_number(c, SETTING_MAX_QUEUED_PER_OWNER),
        .max_cpu_millis = config_number(c, SETTING_MAX_CPU_CORES),
        .max_memory_bytes = config_number(c, SETTING_MAX_MEMORY_GB) << 30,
        .max_overcommit = (uint32_t)config_number(c, SETTING_CPU_OVERCOMMIT),
        .retention_us = config_number(c, SETTING_RETENTION),
        .max_kept_tasks = config_number(c, SETTING_MAX_KEPT_TASKS),
        .max_kept_bytes = config_number(c, SETTING_MAX_KEPT_SIZE),
        .retry_delay_us = config_number(c, SETTING_RETRY_DELAY),
        .max_retry_delay_us = config_number(c, SETTING_MAX_RETRY_DELAY),
        .stop_grace_us = config_number(c, SETTING_STOP_GRACE),
        .no_gpus = !config_number(c, SETTING_GPUS),
        .detach_timeout_us = config_number(c, SETTING_DETACH_TIMEOUT),
        .max_task_size = config_number(c, SETTING_MAX_TASK_SIZE),
        .max_result_size = config_number(c, SETTING_MAX_RESULT_SIZE),
        .max_log_size = config_number(c, SETTING_MAX_LOG_SIZE),
        .task_limits =
            {
                .memory_bytes = config_number(c, SETTING_TASK_MEMORY),
                .cpu_millis = config_number(c, SETTING_TASK_CPUS),
                .cpu_time_us = config_number(c, SETTING_TASK_CPU_TIME),
                .processes = config_number(c, SETTING_TASK_PROCESSES),
                .open_files = config_number(c, SETTING_TASK_OPEN_FILES),
                .file_bytes = config_number(c, SETTING_TASK_FILE_SIZE),
                .workspace_bytes = config_number(c, SETTING_TASK_WORKSPACE_SIZE),
                .tmp_bytes = config_number(c, SETTING_TASK_TMP_SIZE),
            },
        .task_network = option_network(c, SETTING_TASK_NETWORK),
        .max_task_network = option_network(c, SETTING_MAX_TASK_NETWORK),
        .stop_on_output_limit = config_number(c, SETTING_OUTPUT_LIMIT_ACTION) == 1,
        .spare_sandboxes = (uint32_t)config_number(c, SETTING_SPARE_SANDBOXES),
        .package_index = option_index(c),
        .max_environments_bytes = config_number(c, SETTING_MAX_ENVIRONMENTS_SIZE),
    };
}

void options_of_rpc(const struct config *c, struct tw_rpc_options *ret)
{
    _Static_assert(
        (int)TW_TLS_CLIENT_AUTH_REQUIRED == CLIENT_AUTH_REQUIRED, "the choices stand in the order of the enum");
    *ret = (struct tw_rpc_options){
        .size = sizeof *ret,
        .host = config_text(c, SETTING_GRPC_HOST),
        .port = (uint16_t)config_number(c, SETTING_GRPC_PORT),
        .tls_cert = config_text(c, SETTING_TLS_CERT),
        .tls_key = config_text(c, SETTING_TLS_KEY),
        .tls_client_ca = config_text(c, SETTING_TLS_CLIENT_CA),
        .tls_client_auth = (enum tw_tls_client_auth)config_number(c, SETTING_TLS_CLIENT_AUTH),
        .max_connections = (uint32_t)config_number(c, SETTING_MAX_CONNECTIONS),
        .max_connections_per_address = (uint32_t)config_number(c, SETTING_MAX_CONNECTIONS_PER_ADDRESS),
        .max_memory = config_number(c, SETTING_CLIENT_MEMORY),
    };
}

void options_of_files(const struct config *c, struct tw_storage_options *ret)
{
    *ret = (struct tw_storage_options){
        .size = sizeof *ret,
        .max_bytes = config_number(c, SETTING_MAX_STORAGE_SIZE),
        .max_owner_bytes = config_number(c, SETTING_MAX_STORAGE_PER_OWNER),
        .retention_us = config_number(c, SETTING_FILE_RETENTION),
    };
}
