/* SPDX-License-Identifier: Apache-2.0 */
#include "node/settings.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/parse.h"
#include "base/text.h"
#include "base/util.h"

static const struct setting settings[] = {
#define X(name, ...) [SETTING_##name] = {.key = #name, __VA_ARGS__},
    SETTINGS(X)
#undef X
};

const struct setting *setting_get(enum setting_id id)
{
    return &settings[id];
}

const char *setting_env(enum setting_id id)
{
    return settings[id].env ? settings[id].env : settings[id].key;
}

const char *setting_flag(enum setting_id id, char out[SETTING_FLAG_MAX])
{
    size_t n = (size_t)snprintf(out, SETTING_FLAG_MAX, "--%s", settings[id].key);
    for (size_t i = 2; i < MIN(n, (size_t)SETTING_FLAG_MAX - 1); i++)
        out[i] = out[i] == '_' ? '-' : (char)tolower((unsigned char)out[i]);
    return out;
}

enum setting_id setting_by_key(const char *key)
{
    for (enum setting_id id = 0; id < SETTING_MAX; id++) {
        if (!strcmp(key, settings[id].key))
            return id;
    }
    return SETTING_MAX;
}

enum setting_id setting_by_flag(const char *flag, size_t len)
{
    char name[SETTING_FLAG_MAX];
    for (enum setting_id id = 0; id < SETTING_MAX; id++) {
        setting_flag(id, name);
        if (strlen(name + 2) == len && !memcmp(name + 2, flag, len))
            return id;
    }
    return SETTING_MAX;
}

static int parse_choice(const char *choices, const char *text, uint64_t *ret)
{
    size_t len = strlen(text);
    uint64_t index = 0;
    if (len == 0 || strchr(text, ' '))
        return -EINVAL;
    for (const char *p = choices; p; index++) {
        size_t word = strcspn(p, " ");
        if (word == len && !strncasecmp(p, text, len)) {
            *ret = index;
            return 0;
        }
        p = p[word] ? p + word + 1 : NULL;
    }
    return -EINVAL;
}

/* An IP address, or a name of letters, digits, dots and dashes. */
static bool is_host(const char *s, size_t len)
{
    char copy[256];
    struct in6_addr raw;
    if (len == 0 || len >= sizeof copy)
        return false;
    memcpy(copy, s, len);
    copy[len] = '\0';
    if (inet_pton(AF_INET, copy, &raw) == 1 || inet_pton(AF_INET6, copy, &raw) == 1)
        return true;
    /* Digits and dots only: an address that is none. */
    bool letter = false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        bool edge = i == 0 || i == len - 1 || s[i - 1] == '.' || s[i + 1] == '.';
        if (!isalnum(c) && (edge || (c != '-' && c != '.')))
            return false;
        letter = letter || isalpha(c);
    }
    return letter;
}

static bool is_address(const char *s)
{
    const char *colon = strrchr(s, ':');
    uint64_t port;
    if (!colon || parse_u64(colon + 1, 1, UINT16_MAX, &port) < 0)
        return false;
    size_t len = (size_t)(colon - s);
    if (len >= 2 && s[0] == '[' && s[len - 1] == ']')
        return memchr(s + 1, ':', len - 2) && is_host(s + 1, len - 2);
    return !memchr(s, ':', len) && is_host(s, len);
}

static bool is_user(const char *s)
{
    uint64_t uid;
    if (parse_u64(s, 1, UINT32_MAX - 1, &uid) == 0)
        return true;
    size_t len = strlen(s);
    if (len > 32 || (!isalpha((unsigned char)s[0]) && s[0] != '_'))
        return false;
    return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-") == len;
}

static bool is_showable(const char *s, size_t max)
{
    size_t len = strlen(s);
    if (len == 0 || len > max || !text_is_utf8(s, len))
        return false;
    for (const uint8_t *p = (const uint8_t *)s, *end = p + len; p < end;) {
        uint32_t c = 0;
        size_t n = text_decode_utf8(p, end, &c);
        if (n == 0 || text_is_control(c))
            return false;
        p += n;
    }
    return true;
}

/* Whether each part between separators is good; there is at least one, and none is empty. */
static bool is_list(const char *s, char separator, bool (*is_good)(const char *part, size_t len))
{
    if (strlen(s) >= SETTING_TEXT_MAX)
        return false;
    for (;;) {
        const char *end = strchrnul(s, separator);
        if (!is_good(s, (size_t)(end - s)))
            return false;
        if (!*end)
            return true;
        s = end + 1;
    }
}

/* "json", "os.path" */
static bool is_module(const char *s, size_t len)
{
    bool start = true; /* of a name between dots */
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '.' ? start : !isalpha(c) && c != '_' && (start || !isdigit(c)))
            return false;
        start = c == '.';
    }
    return !start;
}

static bool is_absolute(const char *s, size_t len)
{
    char copy[SETTING_TEXT_MAX];
    if (len == 0 || s[0] != '/')
        return false;
    memcpy(copy, s, len);
    copy[len] = '\0';
    return is_showable(copy, SETTING_TEXT_MAX - 1);
}

/* pip takes it from its command line: no blank, and nothing in front that makes it an option. */
static bool is_index(const char *s)
{
    if (!strcmp(s, "default") || !strcmp(s, "off"))
        return true;
    size_t scheme = !strncmp(s, "https://", 8) ? 8 : !strncmp(s, "http://", 7) ? 7 : 0, len = strlen(s);
    if (scheme == 0 || len == scheme || len > 1024)
        return false;
    for (; *s; s++) {
        if (!isgraph((unsigned char)*s))
            return false;
    }
    return true;
}

static int parse_number(const struct setting *s, const char *text, uint64_t *ret)
{
    int r;
    bool on = false;
    switch (s->type) {
    case SETTING_COUNT:
        return parse_u64(text, s->min, s->max, ret);
    case SETTING_PORT:
        return parse_u64(text, 0, UINT16_MAX, ret);
    case SETTING_BOOL:
        r = parse_bool(text, &on);
        *ret = on;
        return r;
    case SETTING_CHOICE:
        return parse_choice(s->choices, text, ret);
    case SETTING_SIZE:
        r = parse_size(text, ret);
        break;
    case SETTING_CPUS:
        r = parse_millis(text, ret);
        break;
    default:
        r = parse_duration(text, ret);
        break;
    }
    if (r == 0 && s->zero && *ret == 0)
        return 0;
    return r == 0 && (*ret < s->min || *ret > s->max) ? -ERANGE : r;
}

int setting_parse(enum setting_id id, const char *text, uint64_t *ret_number)
{
    const struct setting *s = &settings[id];
    bool good;
    uint64_t number = 0;
    switch (s->type) {
    case SETTING_PATH:
        good = is_showable(text, SETTING_TEXT_MAX - 1);
        break;
    case SETTING_HOST:
        good = is_host(text, strlen(text));
        break;
    case SETTING_ADDRESS:
        good = is_address(text);
        break;
    case SETTING_USER:
        good = is_user(text);
        break;
    case SETTING_NAME:
        good = is_showable(text, 128);
        break;
    case SETTING_MODULES:
        good = is_list(text, ',', is_module);
        break;
    case SETTING_PATHS:
        good = is_list(text, ':', is_absolute);
        break;
    case SETTING_INDEX:
        good = is_index(text);
        break;
    default:
        good = parse_number(s, text, &number) == 0;
        break;
    }
    if (!good)
        return -EINVAL;
    *ret_number = number;
    return 0;
}

static const char *format_size(uint64_t bytes, char out[32])
{
    static const char units[] = " KMGTP";
    size_t unit = 0;
    for (; bytes >= 1024 && bytes % 1024 == 0 && unit < sizeof units - 2; unit++)
        bytes /= 1024;
    snprintf(out, 32, unit ? "%llu%c" : "%llu", (unsigned long long)bytes, units[unit]);
    return out;
}

static const char *format_duration(uint64_t us, char out[32])
{
    if (us && us % DAY == 0)
        snprintf(out, 32, "%llud", (unsigned long long)(us / DAY));
    else if (us % SEC == 0)
        snprintf(out, 32, "%llu", (unsigned long long)(us / SEC));
    else
        snprintf(out, 32, "%llums", (unsigned long long)(us / MSEC));
    return out;
}

const char *setting_expected(enum setting_id id, char out[SETTING_EXPECTED_MAX])
{
    const struct setting *s = &settings[id];
    char low[32], high[32];
    const char *fixed = NULL;
    switch (s->type) {
    case SETTING_COUNT:
        snprintf(out, SETTING_EXPECTED_MAX, "a whole number from %llu to %llu", (unsigned long long)s->min,
            (unsigned long long)s->max);
        break;
    case SETTING_SIZE:
        snprintf(out, SETTING_EXPECTED_MAX, "a size from %s to %s in bytes, such as 512K, 100M or 1G%s",
            format_size(s->min, low), format_size(s->max, high), s->zero ? ", or 0" : "");
        break;
    case SETTING_DURATION:
        snprintf(out, SETTING_EXPECTED_MAX, "a time from %s to %s, such as 300 (seconds), 250ms, 5m or 24h%s",
            format_duration(s->min, low), format_duration(s->max, high), s->zero ? ", or 0" : "");
        break;
    case SETTING_CPUS:
        snprintf(out, SETTING_EXPECTED_MAX, "a number of processors from %g to %g, such as 2 or 0.5%s",
            (double)s->min / 1000, (double)s->max / 1000, s->zero ? ", or 0" : "");
        break;
    case SETTING_CHOICE:
        snprintf(out, SETTING_EXPECTED_MAX, "one of these words: %s", s->choices);
        break;
    case SETTING_PORT:
        fixed = "a port: a whole number from 0 to 65535";
        break;
    case SETTING_BOOL:
        fixed = "true or false";
        break;
    case SETTING_PATH:
        fixed = "a path in UTF-8 without control characters, at most 4095 bytes long";
        break;
    case SETTING_HOST:
        fixed = "an IP address or a host name";
        break;
    case SETTING_ADDRESS:
        fixed = "an address like 10.0.0.1:50051 or [::1]:50051";
        break;
    case SETTING_USER:
        fixed = "a user's name or number, not that of root";
        break;
    case SETTING_NAME:
        fixed = "1 to 128 bytes of UTF-8 without control characters";
        break;
    case SETTING_MODULES:
        fixed = "names of Python modules separated by commas, such as json,os.path";
        break;
    case SETTING_PATHS:
        fixed = "absolute paths separated by colons, such as /opt/data:/srv/models";
        break;
    case SETTING_INDEX:
        fixed = "default, off, or an address like https://index.example/simple/";
        break;
    }
    if (fixed)
        snprintf(out, SETTING_EXPECTED_MAX, "%s", fixed);
    return out;
}

bool setting_host_is_loopback(const char *host)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (inet_pton(AF_INET, host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == 127;
    if (inet_pton(AF_INET6, host, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == 127);
    return !strcasecmp(host, "localhost");
}
