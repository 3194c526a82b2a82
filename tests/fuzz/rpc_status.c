/* SPDX-License-Identifier: Apache-2.0 */
/* grpc-timeout and grpc-message, as a peer may write them. */
#include <stdlib.h>
#include <string.h>

#include "base/text.h"
#include "base/util.h"
#include "rpc/status.h"

#define CHECK(condition)  \
    do {                  \
        if (!(condition)) \
            abort();      \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    CLEANUP_FREE char *text = text_dup(data, size);
    char encoded[STATUS_MESSAGE_MAX + 1], back[STATUS_MESSAGE_MAX + 1], timeout[TIMEOUT_TEXT_MAX];
    uint64_t us, again;
    CHECK(text);
    if (timeout_parse(text, &us) == 0) {
        CHECK(timeout_parse(timeout_format(us, timeout), &again) == 0);
        CHECK(again >= us);
    }
    size_t n = status_encode_message(text, encoded);
    CHECK(n == strlen(encoded) && n <= STATUS_MESSAGE_MAX);
    for (size_t i = 0; i < n; i++)
        CHECK(encoded[i] >= 0x20 && encoded[i] < 0x7f);
    status_decode_message(encoded, n, back, sizeof back);
    CHECK(text_is_utf8(back, strlen(back)));
    if (text_is_utf8(text, strlen(text)))
        CHECK(!strncmp(text, back, strlen(back)));
    status_decode_message((const char *)data, size, back, sizeof back);
    CHECK(strlen(back) <= size);
    (void)status_code_parse(text);
    return 0;
}
