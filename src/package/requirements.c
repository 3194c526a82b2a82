/* SPDX-License-Identifier: Apache-2.0 */
/* What is made of parsed requirements: the canonical file, and pip's command line. The parser is requirements_parse.c, the key requirements_key.c. */
#include "package/requirements.h"

#include <string.h>

#include "base/error.h"

const char *requirements_result_to_string(enum requirements_result result)
{
    static const char *const sentences[] = {
#define X(name, sentence) [REQUIREMENTS_##name] = sentence,
        REQUIREMENTS_RESULTS(X)
#undef X
    };
    return (size_t)result < ARRAY_LEN(sentences) ? sentences[result] : "it cannot be read";
}

int requirements_read(const void *data, size_t len, struct requirements *ret, struct tw_error *error)
{
    unsigned line = 0;
    enum requirements_result result = requirements_parse(data, len, ret, &line);
    if (result == REQUIREMENTS_OK)
        return 0;
    if (result == REQUIREMENTS_NO_MEMORY)
        return error_oom(error);
    const char *sentence = requirements_result_to_string(result);
    if (line == 0)
        return error_set(error, TW_INVALID_ARGUMENT, "requirements.txt: %s", sentence);
    return error_set(error, TW_INVALID_ARGUMENT, "requirements.txt, line %u: %s", line, sentence);
}

void requirement_done(struct requirement *item)
{
    free(item->name);
    free(item->extras);
    free(item->specifier);
    free(item->marker);
    free(item->hashes);
    *item = (struct requirement){0};
}

void requirements_done(struct requirements *r)
{
    for (size_t i = 0; i < r->n_items; i++)
        requirement_done(&r->items[i]);
    free(r->items);
    *r = (struct requirements){0};
}

static void write_one(const struct requirement *item, struct buf *out)
{
    (void)buf_append_str(out, item->name);
    if (*item->extras)
        (void)buf_printf(out, "[%s]", item->extras);
    (void)buf_append_str(out, item->specifier);
    if (*item->marker)
        (void)buf_printf(out, " ; %s", item->marker);
    for (const char *hash = item->hashes; *hash;) {
        size_t len = strcspn(hash, " ");
        (void)buf_append_str(out, " --hash=");
        (void)buf_append(out, hash, len);
        hash += len + (hash[len] == ' ');
    }
    (void)buf_append_u8(out, '\n');
}

int requirements_write(const struct requirements *r, struct buf *out)
{
    for (size_t i = 0; i < r->n_items; i++)
        write_one(&r->items[i], out);
    return out->error;
}

/* --- pip --- */

static const char **add_all(const char **to, const char *const *from)
{
    while (*from)
        *to++ = *from++;
    return to;
}

void requirements_pip_arguments(const struct requirements_pip *pip, const char *ret[REQUIREMENTS_PIP_ARGUMENTS])
{
    const char *const program[] = {pip->python, "-I", "-m", "pip", "install", NULL};
    static const char *const always[] = {"--isolated", "--no-input", "--disable-pip-version-check", "--no-cache-dir",
        "--only-binary=:all:", "--no-color", "--progress-bar=off", "--retries=2", "--timeout=15",
        "--no-warn-script-location", NULL};
    const char **next = add_all(add_all(ret, program), always);
    if (!pip->index_url) {
        *next++ = "--no-index";
    } else if (*pip->index_url) {
        *next++ = "--index-url";
        *next++ = pip->index_url;
    }
    if (pip->wheels) {
        *next++ = "--find-links";
        *next++ = pip->wheels;
    }
    const char *const what[] = {"--target", pip->target, "-r", pip->file, NULL};
    *add_all(next, what) = NULL;
}
