/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The gRPC service of a worker: proto/taskworker.proto, grpc.health.v1 and server reflection, over HTTP/2, with TLS or
 * without.
 */
#ifndef TASKWORKER_RPC_H
#define TASKWORKER_RPC_H

#include <taskworker/worker.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Whether clients have to show a certificate. Whom one names, and that it is good, is then known of each of their calls. */
enum tw_tls_client_auth {
    TW_TLS_CLIENT_AUTH_OFF,      /* it is not asked for */
    TW_TLS_CLIENT_AUTH_OPTIONAL, /* who has none gets in, who shows a bad one does not */
    TW_TLS_CLIENT_AUTH_REQUIRED,
};

struct tw_rpc_options {
    size_t size;              /* sizeof(struct tw_rpc_options) */
    const char *host;         /* NULL: 127.0.0.1 */
    uint16_t port;            /* 0: any free one, see tw_worker_rpc_port() */
    uint32_t max_connections; /* 0: 4096; never more than half of max_memory has room for: 14 KiB each, 40 with TLS */
    uint64_t max_inflight;    /* bytes of large requests and answers held at once, seven eighths of this; 0: 512 MiB */
    /*
     * TLS 1.2 and 1.3: paths of PEM files. tls_cert has the node's certificate first, then those between it and its CA; tls_key
     * must be its owner's alone and without a passphrase. Both NULL: plain text.
     */
    const char *tls_cert, *tls_key;
    const char *tls_client_ca; /* whose signatures under clients' certificates count; not NULL unless these are OFF */
    enum tw_tls_client_auth tls_client_auth;
    /*
     * What is held for clients beside large requests and answers: connections, calls, everything small; 0: 64 MiB. One address (of
     * IPv6: one /64) gets half of what is not for connections, and half of max_inflight. Beyond it clients get RESOURCE_EXHAUSTED.
     */
    uint64_t max_memory;
    uint32_t max_connections_per_address; /* 0: three quarters of those that there can be */
};

/*
 * Listens; serves as soon as the loop runs, drains with the worker and is freed with it. Once per worker. From the loop's
 * thread or before the loop runs.
 */
TW_PUBLIC int tw_worker_listen(struct tw_worker *worker, const struct tw_rpc_options *options, struct tw_error *error);

/*
 * Reads the files of TLS again, from the paths that tw_worker_listen() was given: connections from now on get what they say, and those
 * that are there go on with what they had. With any error, and with a certificate that has expired, everything stays as it was.
 * FAILED_PRECONDITION: it listens without TLS. From the loop's thread.
 */
TW_PUBLIC int tw_worker_reload_tls(struct tw_worker *worker, struct tw_error *error);

TW_PUBLIC uint16_t tw_worker_rpc_port(const struct tw_worker *worker);

/*
 * A connection to the service from within the program, for a gateway that makes calls for others (REST, a web page): *ret_fd is its end, a
 * socket that speaks gRPC over HTTP/2 in plain text, non-blocking, the caller's. Each call is asked who it is as any other is; whom it is made for says
 * its header `hivemind-from`, "ADDRESS:PORT". Limits for each address and, of connections, for all are the gateway's business.
 * FAILED_PRECONDITION: the worker does not listen. From the loop's thread.
 */
TW_PUBLIC int tw_worker_connect(struct tw_worker *worker, int *ret_fd, struct tw_error *error);

#ifdef __cplusplus
}
#endif
#endif
