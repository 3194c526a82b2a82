/* SPDX-License-Identifier: Apache-2.0 */
#include "node/privileges.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/util.h"

#define DEFAULT_ACCOUNT "hivemind"
enum { DEFAULT_UID = 1899999999, FILES_MAX = 1 << 20 };

/* An entry of the account database. */
struct account {
    struct passwd entry;
    char text[4096]; /* what its strings point into */
};

/* By name, or by uid for NULL. 0, -ENOENT or -errno. */
static int account_find(const char *name, uid_t uid, struct account *ret)
{
    struct passwd *found = NULL;
    int r = name ? getpwnam_r(name, &ret->entry, ret->text, sizeof ret->text, &found)
                 : getpwuid_r(uid, &ret->entry, ret->text, sizeof ret->text, &found);
    /* Not there: some systems say so by an error. */
    if (found)
        return 0;
    return r == 0 || r == ENOENT || r == ESRCH ? -ENOENT : -r;
}

/* The next number of a line of numbers and spaces; false at its end. */
static bool next_number(char **line, uint64_t *ret)
{
    char *word;
    while ((word = strsep(line, " "))) {
        if (*word)
            return parse_u64(word, 0, UINT64_MAX, ret) == 0;
    }
    return false;
}

/* The highest user id that this user namespace maps, or `wanted` if it maps that. */
static uint64_t nearest_mapped_uid(uint64_t wanted)
{
    CLEANUP_FREE char *map = NULL;
    uint64_t highest = 0;
    if (file_read("/proc/self/uid_map", 65536, &map, NULL) < 0)
        return wanted;
    for (char *rest = map, *line; (line = strsep(&rest, "\n"));) {
        uint64_t inside, outside, count;
        if (!next_number(&line, &inside) || !next_number(&line, &outside) || !next_number(&line, &count) || count == 0)
            continue;
        if (wanted >= inside && wanted - inside < count)
            return wanted;
        highest = MAX(highest, inside + count - 1);
    }
    return highest;
}

char *privileges_default_user(void)
{
    struct account account;
    char *text = NULL;
    if (account_find(DEFAULT_ACCOUNT, 0, &account) == 0)
        return strdup(DEFAULT_ACCOUNT);
    return asprintf(&text, "%llu", (unsigned long long)nearest_mapped_uid(DEFAULT_UID)) < 0 ? NULL : text;
}

int privileges_uid_of(const char *user, uint64_t *ret)
{
    struct account account;
    if (parse_u64(user, 0, UINT32_MAX - 1, ret) == 0)
        return 0;
    int r = account_find(user, 0, &account);
    if (r == 0)
        *ret = account.entry.pw_uid;
    return r;
}

const char *privileges_name_of(uid_t uid, char out[64])
{
    struct account account;
    snprintf(out, 64, "%s", account_find(NULL, uid, &account) == 0 ? account.entry.pw_name : "somebody");
    return out;
}

int privileges_resolve(const char *user, struct identity *ret, struct tw_error *error)
{
    uint64_t uid;
    int r = privileges_uid_of(user, &uid);
    if (r == -ENOENT)
        return error_set(error, TW_NOT_FOUND,
            "there is no user \"%s\" on this machine; make one (useradd --system %s) or set WORKER_USER to another",
            user, user);
    if (r < 0)
        return error_set_errno(error, r, "cannot look up the user \"%s\"", user);
    struct account account;
    gid_t gid = account_find(NULL, (uid_t)uid, &account) == 0 ? account.entry.pw_gid : (gid_t)uid;
    if (uid == 0 || gid == 0)
        return error_set(error, TW_INVALID_ARGUMENT,
            "WORKER_USER \"%s\" is root or has its group: the worker has to run as somebody without rights", user);
    *ret = (struct identity){.uid = (uid_t)uid, .gid = gid};
    return 0;
}

static int check_dropped(const struct identity *who, struct tw_error *error)
{
    uid_t ruid, euid, suid;
    gid_t rgid, egid, sgid;
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct caps[_LINUX_CAPABILITY_U32S_3] = {0};
    if (getresuid(&ruid, &euid, &suid) < 0 || getresgid(&rgid, &egid, &sgid) < 0)
        return error_set_errno(error, errno, "cannot read back the user ids");
    bool same = ruid == who->uid && euid == who->uid && suid == who->uid && rgid == who->gid && egid == who->gid &&
        sgid == who->gid;
    if (!same || getgroups(0, NULL) != 0)
        return error_set(error, TW_INTERNAL, "giving up root had no effect: the ids are not those asked for");
    if (syscall(SYS_capget, &header, caps) < 0)
        return error_set_errno(error, errno, "cannot read back the capabilities");
    for (size_t i = 0; i < ARRAY_LEN(caps); i++) {
        if (caps[i].permitted || caps[i].effective || caps[i].inheritable)
            return error_set(error, TW_INTERNAL,
                "giving up root left capabilities behind; clear the secure bits and "
                "inheritable capabilities that the program is started with");
    }
    if (setuid(0) == 0 || seteuid(0) == 0 || setgid(0) == 0)
        return error_set(error, TW_INTERNAL, "giving up root had no effect: it could be taken back");
    return 0;
}

int privileges_drop(const struct identity *who, struct tw_error *error)
{
    int death_signal = 0;
    (void)prctl(PR_GET_PDEATHSIG, &death_signal);
    if (who->uid != geteuid()) {
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
        if (setgroups(0, NULL) < 0)
            return error_set_errno(error, errno, "cannot give up the supplementary groups");
        if (setresgid(who->gid, who->gid, who->gid) < 0)
            return error_set_errno(error, errno, "cannot become group %u", (unsigned)who->gid);
        if (setresuid(who->uid, who->uid, who->uid) < 0)
            return error_set_errno(error, errno, "cannot become user %u", (unsigned)who->uid);
        /* The kernel cleared all but the inheritable ones, unless told to keep them. */
        if (syscall(SYS_capset, &header, none) < 0)
            return error_set_errno(error, errno, "cannot give up the capabilities");
        if (check_dropped(who, error) < 0)
            return -1;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return error_set_errno(error, errno, "cannot rule out new privileges");
    /* Changing ids clears it. */
    if (death_signal && prctl(PR_SET_PDEATHSIG, death_signal) < 0)
        return error_set_errno(error, errno, "cannot keep the parent-death signal");
    return 0;
}

/* --- what holds for the process from then on --- */

void process_raise_file_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    rlim_t wanted = MIN(limit.rlim_max, (rlim_t)FILES_MAX);
    if (limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_warning("cannot raise the limit of open files to %llu: %s", (unsigned long long)wanted, strerror(errno));
}

/* The memory holds what tasks were given. A piped core handler ignores the limit, hence both. */
void process_forbid_core_dumps(void)
{
    const struct rlimit none = {0, 0};
    (void)setrlimit(RLIMIT_CORE, &none);
#ifdef HIVEMIND_SANITIZED /* the leak check attaches to the process, and giving up root forbids that as well */
    (void)prctl(PR_SET_DUMPABLE, 1);
#else
    (void)prctl(PR_SET_DUMPABLE, 0);
#endif
}
