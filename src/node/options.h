/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration in the words of the library. */
#ifndef NODE_OPTIONS_H
#define NODE_OPTIONS_H

#include <taskworker/taskworker.h>

#include "node/config.h"

enum tw_network option_network(const struct config *c, enum setting_id id);
/* Without loop and launcher. What it points to is the configuration's, or the caller's. */
void options_of_worker(const struct config *c, const char *storage, struct tw_worker_options *ret);
void options_of_rpc(const struct config *c, struct tw_rpc_options *ret);
/* Without path. */
void options_of_files(const struct config *c, struct tw_storage_options *ret);

#endif
