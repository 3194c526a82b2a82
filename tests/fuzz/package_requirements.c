/* SPDX-License-Identifier: Apache-2.0 */
/* Of what is taken the canonical text is harmless to pip, is taken again, and comes out as the same. */
#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "package/requirements.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A line begins with a name, and has nothing in it that pip would take for a comment, a variable or a continuation. */
static void check_text(const struct buf *text)
{
    static const char harmful[] = "#$\\@\r\t'{}|&%^`?";
    bool begin = true;
    for (size_t i = 0; i < text->len; i++) {
        char c = (char)text->data[i];
        assert((c >= ' ' && c <= '~') || c == '\n');
        assert(!memchr(harmful, c, sizeof harmful - 1));
        assert(!begin || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z'));
        if (c == '-' && i > 0 && text->data[i - 1] == ' ')
            assert(text->len - i > 14 && memcmp(text->data + i, "--hash=sha", 10) == 0);
        begin = c == '\n';
    }
    assert(begin);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct requirements first, second;
    struct buf text = BUF_INIT(REQUIREMENTS_BYTES_MAX), again = BUF_INIT(REQUIREMENTS_BYTES_MAX);
    const struct requirements_context context = {.python = "cp311", .owner = ""};
    uint8_t key[32], other[32];
    unsigned line;
    char *why = requirements_why(data, size); /* pip's words, from whomever it had them: a bad byte becomes three */
    assert(why && strlen(why) <= 3 * 400);
    free(why);
    enum requirements_result result = requirements_parse(data, size, &first, &line);
    if (result != REQUIREMENTS_OK) {
        assert(result != REQUIREMENTS_NO_MEMORY && result < REQUIREMENTS_RESULT_MAX && line <= size && !first.items);
        return 0;
    }
    assert(requirements_write(&first, &text) == 0);
    check_text(&text);
    assert(requirements_parse(text.data, text.len, &second, &line) == REQUIREMENTS_OK);
    assert(requirements_write(&second, &again) == 0);
    assert(text.len == again.len && (text.len == 0 || memcmp(text.data, again.data, text.len) == 0));
    assert(requirements_key(&first, &context, key) == 0 && requirements_key(&second, &context, other) == 0);
    assert(memcmp(key, other, sizeof key) == 0);
    requirements_done(&first);
    requirements_done(&second);
    buf_done(&text);
    buf_done(&again);
    return 0;
}
