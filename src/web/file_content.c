/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is in a stored file: all of it, or a range. It is somebody's data and is never shown as a page: a browser saves it.
 *
 * Whether the content is what was put is known when it was read to its end. So the last byte waits for that, also of a range: what is damaged
 * breaks off, and nobody takes it for whole.
 */
#include "web/handlers.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "web/address.h"
#include "web/internal.h"
#include "web/stream.h"

/* Numbers of a stream's note: bytes that are passed over, those to send then, and the last of them, which is held back (and 256). */
enum { NOTE_SKIP, NOTE_LEFT, NOTE_LAST };

/* RFC 8187: whatever is no plain letter is percent-encoded, so nothing of a name can end the header. */
static void append_name(struct buf *out, const char *name)
{
    for (const unsigned char *c = (const unsigned char *)name; *c; c++)
        (void)(isalnum(*c) || strchr("._-", *c) ? buf_append(out, c, 1) : buf_printf(out, "%%%02X", (unsigned)*c));
}

/* The range that is asked for, if it is of this version of the file. */
static int find_range(struct web_request *r, uint64_t size, const char *tag, uint64_t *ret_from, uint64_t *ret_len)
{
    const char *range = web_request_header(r, "Range"), *only_if = web_request_header(r, "If-Range");
    if (!range || (only_if && strcmp(only_if, tag) != 0))
        return -EINVAL;
    return address_range(range, size, ret_from, ret_len);
}

static void begin(struct web_stream *stream, const Taskworker__File *file)
{
    struct web_request *r = web_stream_request(stream);
    uint64_t from = 0, len = file->size;
    char tag[80], text[96];
    CLEANUP_BUF struct buf name = BUF_INIT(8192);
    const char *last = strrchr(file->filename, '/');
    snprintf(tag, sizeof tag, "\"%s\"", file->sha256);
    int range = r ? find_range(r, file->size, tag, &from, &len) : -EINVAL;
    if (range == -ERANGE) {
        snprintf(text, sizeof text, "bytes */%" PRIu64, file->size);
        len = 0;
        web_stream_set_status(stream, MHD_HTTP_RANGE_NOT_SATISFIABLE);
        web_stream_add_header(stream, "Content-Range", text);
    } else if (range == 0) {
        snprintf(text, sizeof text, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, from, from + len - 1, file->size);
        web_stream_set_status(stream, MHD_HTTP_PARTIAL_CONTENT);
        web_stream_add_header(stream, "Content-Range", text);
    }
    web_stream_set_size(stream, len);
    web_stream_note(stream)->numbers[NOTE_SKIP] = from;
    web_stream_note(stream)->numbers[NOTE_LEFT] = len;
    (void)buf_append_str(&name, "attachment; filename*=UTF-8''");
    append_name(&name, last ? last + 1 : file->filename);
    (void)buf_append_u8(&name, 0);
    if (!name.error)
        web_stream_add_header(stream, "Content-Disposition", (const char *)name.data);
    web_stream_add_header(stream, "ETag", tag);
    web_stream_add_header(stream, "Accept-Ranges", "bytes");
    if (range == -ERANGE)
        web_stream_finish(stream);
}

static void on_piece(struct web_stream *stream, const ProtobufCMessage *message, struct buf *out)
{
    const Taskworker__GetStreamResponse *piece = (const void *)message;
    uint64_t *numbers = web_stream_note(stream)->numbers;
    if (piece->file)
        begin(stream, piece->file);
    uint64_t skip = MIN(numbers[NOTE_SKIP], (uint64_t)piece->data.len);
    uint64_t n = MIN(piece->data.len - skip, numbers[NOTE_LEFT]);
    numbers[NOTE_SKIP] -= skip;
    numbers[NOTE_LEFT] -= n;
    if (!n)
        return;
    bool last = numbers[NOTE_LEFT] == 0;
    (void)buf_append(out, piece->data.data + skip, (size_t)n - last);
    if (last)
        numbers[NOTE_LAST] = 256 + piece->data.data[skip + n - 1];
}

static void on_end(struct web_stream *stream, const struct tw_error *status, struct buf *out)
{
    uint64_t last = web_stream_note(stream)->numbers[NOTE_LAST];
    if (status->code == TW_OK && last)
        (void)buf_append_u8(out, (uint8_t)(last - 256));
}

static bool take_user(void *ctx, const char *name, const char *value)
{
    char *user = ctx;
    if (strcmp(name, "user_id") != 0 || strlen(value) >= WEB_SEGMENT_MAX)
        return false;
    memcpy(user, value, strlen(value) + 1);
    return true;
}

void handle_file_content(struct web *web, struct web_request *r)
{
    Taskworker__FileRequest file = TASKWORKER__FILE_REQUEST__INIT;
    Taskworker__GetStreamRequest request = TASKWORKER__GET_STREAM_REQUEST__INIT;
    char user[WEB_SEGMENT_MAX] = "";
    if (!web_request_params(r, take_user, user)) {
        if (!r->response)
            web_problem(r, MHD_HTTP_BAD_REQUEST, "this takes user_id, and nothing else", 0);
        return;
    }
    request.file = &file;
    file.file_id = (char *)(uintptr_t)web_request_segment(r);
    file.user_id = user;
    web_stream(web, r,
        &(struct web_stream_options){
            .method = "/taskworker.FileService/GetStream",
            .request = &request.base,
            .answer = &taskworker__get_stream_response__descriptor,
            .type = "application/octet-stream",
            .message = on_piece,
            .ended = on_end,
        });
}
