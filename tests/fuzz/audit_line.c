/* SPDX-License-Identifier: Apache-2.0 */
/* A line of the audit log: what is taken is what would be written, byte for byte; and any text can be made one that is taken. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "access/audit_line.h"
#include "base/json.h"
#include "base/text.h"

static void check_taken(const uint8_t *data, size_t size, struct audit_entry *e, bool hash_is_right)
{
    CLEANUP_BUF struct buf again = BUF_INIT(AUDIT_LINE_MAX);
    if (!json_is_valid(data, size) || audit_line_append(&again, e) < 0 || again.len != size + 1)
        abort();
    /* With another hash all but its digits is the same. */
    if (memcmp(again.data, data, hash_is_right ? size : size - 2 * AUDIT_HASH_BYTES - 2) != 0)
        abort();
}

static void check_any_text(const uint8_t *data, size_t size)
{
    struct audit_entry e = {.seq = size, .wall_us = size * 1000}, back = {0};
    CLEANUP_BUF struct buf line = BUF_INIT(AUDIT_LINE_MAX);
    CLEANUP_FREE char *text = text_dup(data, size);
    if (!text)
        return;
    audit_text(e.user, AUDIT_USER_MAX, text);
    audit_text(e.detail, AUDIT_DETAIL_MAX, text);
    if (audit_line_append(&line, &e) < 0 ||
        audit_line_parse((const char *)line.data, line.len - 1, &back) != AUDIT_LINE_OK ||
        strcmp(e.user, back.user) != 0 || strcmp(e.detail, back.detail) != 0)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct audit_entry e;
    struct audit_head head;
    enum audit_line_error r = audit_line_parse((const char *)data, size, &e);
    if (r != AUDIT_LINE_SYNTAX)
        check_taken(data, size, &e, r == AUDIT_LINE_OK);
    (void)audit_head_parse((const char *)data, size, &head);
    check_any_text(data, size);
    return 0;
}
