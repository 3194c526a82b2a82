/* SPDX-License-Identifier: Apache-2.0 */
/* What pip's words come to, for people. They are pip's own, and those of whatever it spoke with: any bytes. */
#include <string.h>

#include "base/text.h"
#include "package/requirements.h"

enum { WHY_MAX = 400 };

struct words {
    const char *text;
    size_t len;
};

static bool begins(struct words line, const char *with)
{
    size_t len = strlen(with);
    return line.len >= len && !memcmp(line.text, with, len);
}

static struct words behind(struct words line, const char *what)
{
    const char *at = line.len ? memmem(line.text, line.len, what, strlen(what)) : NULL;
    if (!at)
        return (struct words){0};
    at += strlen(what);
    return (struct words){at, line.len - (size_t)(at - line.text)};
}

static struct words until(struct words line, const char *what)
{
    const char *at = line.len ? memmem(line.text, line.len, what, strlen(what)) : NULL;
    return at ? (struct words){line.text, (size_t)(at - line.text)} : line;
}

/*
 * WARNING: Retrying (...) after connection broken by 'NewConnectionError('<... object at 0x7f>: Failed to establish a new connection:
 * [Errno 111] Connection refused')': /simple/six/
 */
static struct words cause_of(struct words line)
{
    struct words cause = behind(line, "connection broken by '"), named = behind(cause, ">: ");
    return until(named.len ? named : cause, "')'");
}

char *requirements_why(const void *output, size_t len)
{
    struct words rest = {output, len}, last = {0}, error = {0}, broken = {0};
    while (rest.len) {
        struct words line = until(rest, "\n");
        size_t taken = line.len < rest.len ? line.len + 1 : rest.len;
        rest.text += taken;
        rest.len -= taken;
        if (line.len && line.text[line.len - 1] == '\r')
            line.len--;
        if (begins(line, "ERROR: "))
            error = (struct words){line.text + strlen("ERROR: "), line.len - strlen("ERROR: ")};
        else if (begins(line, "WARNING: Retrying") && !broken.len)
            broken = cause_of(line);
        if (line.len && !begins(line, "[notice]"))
            last = line;
    }
    /* pip goes on without an index that it could not ask, and then says of everything that there is none. */
    const char *in_front = broken.len ? "the package index cannot be reached: " : "";
    struct words said = broken.len ? broken : error.len ? error : last;
    CLEANUP_BUF struct buf why = BUF_INIT(SIZE_MAX / 2);
    if (behind(last, "No module named pip").text)
        (void)buf_append_str(&why, "the node has no pip (Debian: python3-pip)");
    else if (said.len)
        (void)(buf_append_str(&why, in_front) < 0 || buf_append(&why, said.text, said.len) < 0);
    else
        (void)buf_append_str(&why, "pip said nothing");
    return why.error ? NULL : text_line((const char *)why.data, why.len, WHY_MAX);
}
