/* (pointer, length) slices of bytes. They own nothing and need no NUL: U+0000 is legal text. */
#ifndef HD_BASE_STR_H
#define HD_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

typedef struct hd_str {
    const char *ptr; /* not NUL-terminated; NULL only when len is 0 */
    size_t len;
} hd_str;

/** A slice over a string literal. */
#define HD_STR(lit) ((hd_str){("" lit), sizeof(lit) - 1})

/** printf arguments for "%.*s". */
#define HD_STR_ARG(s) (int)(s).len, (s).ptr

static inline hd_str hd_str_from(const char *nul_terminated)
{
    return (hd_str){nul_terminated, strlen(nul_terminated)};
}

static inline bool hd_str_eq(hd_str a, hd_str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

static inline bool hd_str_eqz(hd_str a, const char *b)
{
    return hd_str_eq(a, hd_str_from(b));
}

static inline bool hd_str_starts(hd_str s, hd_str prefix)
{
    return s.len >= prefix.len && (prefix.len == 0 || memcmp(s.ptr, prefix.ptr, prefix.len) == 0);
}

static inline bool hd_str_ends(hd_str s, hd_str suffix)
{
    return s.len >= suffix.len &&
           (suffix.len == 0 || memcmp(s.ptr + s.len - suffix.len, suffix.ptr, suffix.len) == 0);
}

/** s without its first n bytes; n ≤ s.len. */
static inline hd_str hd_str_skip(hd_str s, size_t n)
{
    return (hd_str){n ? s.ptr + n : s.ptr, s.len - n}; /* NULL + 0 is not defined */
}

/** Index of the first occurrence of `needle` (not empty) at or after `from`; s.len if none. */
static inline size_t hd_str_find(hd_str s, hd_str needle, size_t from)
{
    if (from >= s.len) return s.len;
    const void *p = memmem(s.ptr + from, s.len - from, needle.ptr, needle.len);
    return p ? (size_t)((const char *)p - s.ptr) : s.len;
}

#endif
