/* SPDX-License-Identifier: Apache-2.0 */
/* What conn.c and conn_write.c share. */
#ifndef RPC_CONN_INTERNAL_H
#define RPC_CONN_INTERNAL_H

#include "rpc/conn.h"

/* Where bytes leave. Takes all of them, or fails. 0 or -errno. */
int conn_write(struct conn *conn, const uint8_t *data, size_t len);
/* What waits in the session while the peer takes nothing is counted. False: it is too much. */
bool conn_hold_queue(struct conn *conn);

#endif
