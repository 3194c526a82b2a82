/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The next version of a file by a delta against the one there is: an upload whose bytes come out of the delta. It is committed only
 * in place of the very version that it was made against.
 */
#include <string.h>

#include "base/error.h"
#include "files/delta.h"
#include "files/internal.h"

struct tw_patch {
    struct tw_file *base;
    struct tw_upload *upload;
    struct delta *delta;
};

static int to_upload(void *ctx, const void *data, size_t len, struct tw_error *error)
{
    struct tw_patch *p = ctx;
    return tw_upload_write(p->upload, data, len, error);
}

void tw_patch_abort(struct tw_patch *p)
{
    if (!p)
        return;
    delta_free(p->delta);
    tw_upload_abort(p->upload);
    tw_file_close(p->base);
    free(p);
}

static int check_base(const struct tw_patch_options *o, const struct tw_file_info *base, struct tw_error *error)
{
    if (o->base_version && o->base_version != base->version)
        return error_set(error, TW_ABORTED,
            "'%.200s' is at version %llu, and the difference is one to version %llu: make it anew", base->name,
            (unsigned long long)base->version, (unsigned long long)o->base_version);
    if (o->base_modified_us && o->base_modified_us != base->modified_us)
        return error_set(error, TW_ABORTED,
            "'%.200s' was changed at %llu us since 1970, and the difference is one to what was there at %llu: make it "
            "anew",
            base->name, (unsigned long long)base->modified_us, (unsigned long long)o->base_modified_us);
    return 0;
}

static int begin(struct tw_storage *s, const struct tw_patch_options *o, struct tw_patch *p, struct tw_error *error)
{
    if (tw_storage_get(s, &o->file, &p->base, error) < 0)
        return -1;
    const struct tw_file_info *base = tw_file_info(p->base);
    if (check_base(o, base, error) < 0)
        return -1;
    /* Where nobody says what has to come out of it, what goes in has to be right. */
    if (!o->sha256 && tw_file_verify(p->base, error) < 0)
        return -1;
    const struct tw_put_options put = {
        .size = sizeof put,
        .owner = base->owner,
        .name = base->name,
        .unknown_length = true,
        .sha256 = o->sha256,
        .base_version = base->version,
    };
    if (tw_storage_put(s, &put, &p->upload, error) < 0)
        return -1;
    p->delta = delta_begin(tw_file_fd(p->base), base->size, to_upload, p);
    return p->delta ? 0 : error_oom(error);
}

int tw_storage_patch(
    struct tw_storage *s, const struct tw_patch_options *options, struct tw_patch **ret, struct tw_error *error)
{
    struct tw_patch_options o = {0};
    memcpy(&o, options, MIN(options->size, sizeof o));
    struct tw_patch *p = calloc(1, sizeof *p);
    if (!p)
        return error_oom(error);
    if (begin(s, &o, p, error) < 0) {
        tw_patch_abort(p);
        return -1;
    }
    *ret = p;
    return 0;
}

int tw_patch_write(struct tw_patch *p, const void *data, size_t len, struct tw_error *error)
{
    return delta_feed(p->delta, data, len, error);
}

int tw_patch_commit(struct tw_patch *p, struct tw_file_info *ret, struct tw_error *error)
{
    int r = delta_end(p->delta, error);
    if (r == 0)
        r = tw_upload_commit(STEAL(p->upload), ret, error);
    tw_patch_abort(p);
    return r;
}
