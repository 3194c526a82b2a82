/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pages: one document, one script, one style sheet, the same for everybody. They hold nothing of the node, whose data the script asks for
 * by REST as who is logged in; so they are shown to anybody, and what that is, without a session, is the login.
 */
#include "web/pages.h"

#include <string.h>

#include "web/handlers.h"
#include "web/internal.h"

/* No other host, nothing inline; images of the page itself are data: addresses of charts' markers at most. */
#define PAGE_POLICY                                                                                                   \
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action " \
    "'self'; base-uri 'none'; "                                                                                       \
    "frame-ancestors 'none'"

static const struct page_file *find_file(const char *name)
{
    for (size_t i = 0; i < n_page_files; i++)
        if (!strcmp(page_files[i].name, name))
            return &page_files[i];
    return NULL;
}

/* "gzip" among what the client takes, and not with a weight of 0. */
static bool takes_gzip(const struct web_request *r)
{
    const char *accept = web_request_header(r, "Accept-Encoding");
    const char *at = accept ? strstr(accept, "gzip") : NULL;
    return at && strncmp(at, "gzip;q=0", 8) != 0;
}

static void answer_file(struct web_request *r, const struct page_file *file)
{
    if (!file) {
        web_problem(r, MHD_HTTP_NOT_FOUND, "there is nothing at this path", 0);
        return;
    }
    bool packed = takes_gzip(r);
    struct MHD_Response *response = MHD_create_response_from_buffer(packed ? file->packed_len : file->plain_len,
        (void *)(uintptr_t)(packed ? file->packed : file->plain), MHD_RESPMEM_PERSISTENT);
    if (response) {
        (void)MHD_add_response_header(response, "Content-Type", file->type);
        (void)MHD_add_response_header(response, "Vary", "Accept-Encoding");
        (void)MHD_add_response_header(
            response, "Cache-Control", file->fixed ? "public, max-age=31536000, immutable" : "no-cache");
        (void)MHD_add_response_header(response, "Content-Security-Policy", PAGE_POLICY);
        if (packed)
            (void)MHD_add_response_header(response, "Content-Encoding", "gzip");
    }
    web_answer(r, MHD_HTTP_OK, response);
}

void handle_page(struct web *web, struct web_request *r)
{
    (void)web;
    answer_file(r, find_file("index.html"));
}

void handle_asset(struct web *web, struct web_request *r)
{
    (void)web;
    answer_file(r, find_file(web_request_segment(r)));
}
