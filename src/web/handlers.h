/* SPDX-License-Identifier: Apache-2.0 */
/* What routes.c refers to, by file. */
#ifndef WEB_HANDLERS_H
#define WEB_HANDLERS_H

#include "web/request.h"

/* health.c */
void handle_livez(struct web *web, struct web_request *request);
void handle_readyz(struct web *web, struct web_request *request);
void handle_health(struct web *web, struct web_request *request);
/* session.c */
void handle_login(struct web *web, struct web_request *request);
void handle_logout(struct web *web, struct web_request *request);
void handle_session(struct web *web, struct web_request *request);
/* node_status.c */
void handle_status(struct web *web, struct web_request *request);
void handle_resources(struct web *web, struct web_request *request);
/* task_list.c */
void handle_tasks(struct web *web, struct web_request *request);
void handle_stop_task(struct web *web, struct web_request *request);
/* rpc.c */
void handle_rpc(struct web *web, struct web_request *request);
void handle_audit(struct web *web, struct web_request *request);
void handle_submit(struct web *web, struct web_request *request);
/* task_output.c */
void handle_result(struct web *web, struct web_request *request);
void handle_log(struct web *web, struct web_request *request);
void handle_log_chunks(struct web *web, struct web_request *request);
void handle_log_events(struct web *web, struct web_request *request);
void handle_events(struct web *web, struct web_request *request);
/* file_content.c */
void handle_file_content(struct web *web, struct web_request *request);
/* history.c */
void handle_history(struct web *web, struct web_request *request);
/* metrics.c */
void handle_metrics(struct web *web, struct web_request *request);
/* node_log.c */
void handle_node_log(struct web *web, struct web_request *request);
/* pages.c */
void handle_page(struct web *web, struct web_request *request);
void handle_asset(struct web *web, struct web_request *request);
/* openapi.c */
void handle_openapi(struct web *web, struct web_request *request);

#endif
