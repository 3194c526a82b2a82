/* SPDX-License-Identifier: Apache-2.0 */
/* The key of what is installed; apart, since who opens packages needs no hash. */
#include <errno.h>
#include <string.h>

#include <openssl/evp.h>

#include "package/requirements.h"

static void add(struct buf *b, const void *data, size_t len)
{
    (void)buf_append_u64le(b, len);
    (void)buf_append(b, data, len);
}

static void add_text(struct buf *b, const char *s)
{
    add(b, s, strlen(s));
}

static int by_name(const void *a, const void *b)
{
    const struct requirements_wheel *x = *(const struct requirements_wheel *const *)a;
    const struct requirements_wheel *y = *(const struct requirements_wheel *const *)b;
    int order = strcmp(x->name, y->name);
    return order ? order : memcmp(x->digest, y->digest, sizeof x->digest);
}

static int add_wheels(struct buf *b, const struct requirements_context *context)
{
    CLEANUP_FREE const struct requirements_wheel **sorted = calloc(context->n_wheels + 1, sizeof *sorted);
    if (!sorted)
        return -ENOMEM;
    for (size_t i = 0; i < context->n_wheels; i++)
        sorted[i] = &context->wheels[i];
    qsort(sorted, context->n_wheels, sizeof *sorted, by_name);
    (void)buf_append_u64le(b, context->n_wheels);
    for (size_t i = 0; i < context->n_wheels; i++) {
        add_text(b, sorted[i]->name);
        add(b, sorted[i]->digest, sizeof sorted[i]->digest);
    }
    return 0;
}

int requirements_key(const struct requirements *r, const struct requirements_context *context, uint8_t ret[32])
{
    CLEANUP_BUF struct buf text = BUF_INIT(REQUIREMENTS_BYTES_MAX), all = BUF_INIT(SIZE_MAX / 2);
    int failed = requirements_write(r, &text);
    if (failed)
        return failed;
    add_text(&all, "hivemind requirements 1"); /* one more whenever the same question is to have another answer */
    add_text(&all, context->python);
    add_text(&all, context->owner);
    (void)buf_append_u8(&all, context->index_url != NULL);
    add_text(&all, context->index_url ? context->index_url : "");
    add(&all, text.data, text.len);
    failed = add_wheels(&all, context);
    if (failed || all.error)
        return failed ? failed : all.error;
    return EVP_Digest(all.data, all.len, ret, NULL, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
}
