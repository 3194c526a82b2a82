/* SPDX-License-Identifier: Apache-2.0 */
/* What jansson takes is JSON here as well; each part of a valid object is valid; and so is any text once it is quoted. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/json.h"
#include "base/text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct json_walk walk;
    struct json_slice name, value;
    json_t *parsed = json_loadb((const char *)data, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    bool valid = json_is_valid(data, size);
    assert(valid || !parsed || memchr(data, 0, size)); /* that is the end of the text, for jansson */
    json_decref(parsed);
    const char *end = (const char *)data;
    if (json_walk_object(data, size, &walk)) {
        assert(valid);
        for (; json_walk_next(&walk, &name, &value); end = value.text + value.len) {
            assert(name.text > end && value.text > name.text + name.len);
            assert(json_is_valid(name.text, name.len) && *name.text == '"');
            assert(json_is_valid(value.text, value.len));
        }
        assert(end <= (const char *)data + size);
    }
    char *text = text_dup(data, size);
    struct buf quoted = BUF_INIT(6 * size + 2);
    if (text && text_is_utf8(data, size) && json_append_quoted(&quoted, text) == 0)
        assert(json_is_valid(quoted.data, quoted.len));
    buf_done(&quoted);
    free(text);
    return 0;
}
