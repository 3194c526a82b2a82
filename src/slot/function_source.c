/* SPDX-License-Identifier: Apache-2.0 */
#include "slot/function_source.h"

#include <string.h>

#include "base/util.h"

#include "functions.inc"

const char *functions_support(void)
{
    return functions_py;
}

/* As a bytes literal: nothing in it can end the literal, whatever it is. */
static void append_literal(struct buf *out, const uint8_t *data, size_t len)
{
    static const char hex[] = "0123456789abcdef";
    char piece[4 * 1024];
    size_t n = 0;
    buf_append_str(out, "b'");
    for (size_t i = 0; i < len; i++) {
        uint8_t c = data[i];
        if (n + 4 > sizeof piece) {
            buf_append(out, piece, n);
            n = 0;
        }
        if (c >= ' ' && c < 127 && c != '\'' && c != '\\') {
            piece[n++] = (char)c;
            continue;
        }
        piece[n++] = '\\';
        piece[n++] = 'x';
        piece[n++] = hex[c >> 4];
        piece[n++] = hex[c & 15];
    }
    buf_append(out, piece, n);
    buf_append_str(out, "'");
}

void function_source(const char *functions, const void *data, size_t len, struct buf *out)
{
    if (functions) {
        buf_append_str(out, functions_py);
        buf_append_str(out, "import hivemind\nhivemind._load(");
        append_literal(out, (const uint8_t *)functions, strlen(functions));
        buf_append_str(out, ", '" FUNCTIONS_NAME "')\n");
    }
    buf_append_str(out, "import hivemind\nresult = hivemind._call(");
    append_literal(out, data, len);
    buf_append_str(out, ")\n");
}
