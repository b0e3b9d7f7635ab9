/* UTF-8 as Unicode defines it: checking, reading and repairing.
 *
 * Ill-formed input is split into maximal ill-formed parts (Unicode 16.0, section 3.9, "U+FFFD
 * Substitution of Maximal Subparts"), each of which reads as one U+FFFD. An end that could still
 * become a code point is told apart, because a stream must hold it back. */
#ifndef HD_BASE_UTF8_H
#define HD_BASE_UTF8_H

#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

#define HD_UTF8_REPLACEMENT 0xFFFDu

typedef enum hd_utf8_kind {
    HD_UTF8_GOOD,      /* a code point */
    HD_UTF8_ILL,       /* a maximal ill-formed part */
    HD_UTF8_INCOMPLETE /* all of the text: the start of a code point, cut off by the end */
} hd_utf8_kind;

/** Look at the start of `s` (not empty).
 *  @param cp  the code point, or U+FFFD unless GOOD.
 *  @param len bytes of this code point or part, 1..4. */
hd_utf8_kind hd_utf8_next(hd_str s, uint32_t *cp, size_t *len);

bool hd_utf8_valid(hd_str s);
/** Index of the first byte that does not start a code point; s.len when all is well. */
size_t hd_utf8_valid_prefix(hd_str s);

/** `s`, or its longest start of at most max_bytes that splits no code point; for excerpts. */
hd_str hd_utf8_cut(hd_str s, size_t max_bytes);
/** printf arguments for "%.*s" of at most 120 bytes of `s`; evaluates it twice. */
#define HD_STR_CUT(s) HD_STR_ARG(hd_utf8_cut((s), 120))

/** Encode a scalar value (no surrogate, <= U+10FFFF) into out; returns the 1..4 bytes used. */
size_t hd_utf8_put(char out[4], uint32_t cp);

/** Append `s` with each maximal ill-formed part, and an incomplete end, as one U+FFFD. */
void hd_utf8_repair(hd_buf *out, hd_str s);

#endif
