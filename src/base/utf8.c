#include "base/utf8.h"

#include <string.h>

/* Allowed range of the second byte per lead byte (Unicode table 3-7); later ones are 80..BF. */
static int lead(unsigned char b, unsigned char *lo, unsigned char *hi)
{
    *lo = 0x80;
    *hi = 0xBF;
    if (b < 0x80) return 1;
    if (b < 0xC2) return 0;
    if (b < 0xE0) return 2;
    if (b < 0xF0) {
        if (b == 0xE0) *lo = 0xA0;
        if (b == 0xED) *hi = 0x9F;
        return 3;
    }
    if (b == 0xF0) *lo = 0x90;
    if (b == 0xF4) *hi = 0x8F;
    return b < 0xF5 ? 4 : 0;
}

hd_utf8_kind hd_utf8_next(hd_str s, uint32_t *cp, size_t *len)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    unsigned char lo, hi;
    int n = lead(p[0], &lo, &hi);
    *cp = HD_UTF8_REPLACEMENT;
    *len = 1;
    if (n == 0) return HD_UTF8_ILL;
    uint32_t value = n == 1 ? p[0] : p[0] & (0x7Fu >> n);
    for (int i = 1; i < n; i++) {
        if ((size_t)i == s.len) return HD_UTF8_INCOMPLETE;
        if (p[i] < lo || p[i] > hi) return HD_UTF8_ILL;
        value = value << 6 | (p[i] & 0x3Fu);
        lo = 0x80;
        hi = 0xBF;
        *len = (size_t)i + 1;
    }
    *cp = value;
    return HD_UTF8_GOOD;
}

/* Length of a well-formed code point of two or three bytes whose second byte has no special range;
 * 0 for all else. Saves the general way for nearly all text. */
static inline size_t common_length(const unsigned char *p, size_t len)
{
    if (len > 1 && p[0] >= 0xC2 && p[0] < 0xE0) return (p[1] & 0xC0) == 0x80 ? 2 : 0;
    if (len < 3 || p[0] <= 0xE0 || p[0] >= 0xF0 || p[0] == 0xED) return 0;
    return (p[1] & 0xC0) == 0x80 && (p[2] & 0xC0) == 0x80 ? 3 : 0;
}

size_t hd_utf8_valid_prefix(hd_str s)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    size_t i = 0;
    while (i < s.len) {
        uint64_t word;
        if (p[i] < 0x80) {
            i++;
            while (i + sizeof word <= s.len) {
                memcpy(&word, p + i, sizeof word);
                if (word & 0x8080808080808080u) break;
                i += sizeof word;
            }
            continue;
        }
        size_t n = common_length(p + i, s.len - i);
        uint32_t cp;
        if (n == 0 && hd_utf8_next(hd_str_skip(s, i), &cp, &n) != HD_UTF8_GOOD) return i;
        i += n;
    }
    return s.len;
}

bool hd_utf8_valid(hd_str s)
{
    return hd_utf8_valid_prefix(s) == s.len;
}

hd_str hd_utf8_cut(hd_str s, size_t max_bytes)
{
    if (s.len <= max_bytes) return s;
    size_t n = max_bytes;
    while (n > 0 && ((unsigned char)s.ptr[n] & 0xC0) == 0x80) n--;
    return (hd_str){s.ptr, n};
}

size_t hd_utf8_put(char out[4], uint32_t cp)
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    size_t n = cp < 0x800 ? 2 : cp < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--) {
        out[i] = (char)(0x80 | (cp & 0x3F));
        cp >>= 6;
    }
    out[0] = (char)((0xF00u >> n & 0xFF) | cp);
    return n;
}

void hd_utf8_repair(hd_buf *out, hd_str s)
{
    while (s.len) {
        size_t good = hd_utf8_valid_prefix(s);
        hd_buf_add(out, s.ptr, good);
        s = hd_str_skip(s, good);
        if (!s.len) return;
        uint32_t cp;
        size_t n;
        hd_utf8_next(s, &cp, &n);
        hd_buf_addz(out, "\xEF\xBF\xBD");
        s = hd_str_skip(s, n);
    }
}
