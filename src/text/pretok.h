/* The three-stage split: text to pieces, within which bytes may be merged.
 *
 * The official tokenizer.json splits by three regular expressions in turn; each later one runs on
 * the pieces of the one before, and what a pattern does not match is a piece too:
 *   1. \p{N}{1,3}                    2. [U+4E00-9FA5 U+3040-309F U+30A0-30FF]+
 *   3. A  [ASCII punctuation][A-Za-z]+       B  [^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+
 *      C  ' '?[\p{P}\p{S}]+[\r\n]*           D  \s*[\r\n]+      E  \s+(?!\S)      F  \s+
 * No regular expression engine runs here: one pass by hand over Unicode 16.0 classes (uniclass.h)
 * gives the same pieces. No piece is empty; together they are the text. */
#ifndef HD_TEXT_PRETOK_H
#define HD_TEXT_PRETOK_H

#include "base/str.h"

typedef struct hd_pretok {
    const unsigned char *pos; /* next byte to split */
    const unsigned char *end;
} hd_pretok;

/** @param text valid UTF-8 (not checked: ill-formed text may split oddly and read up to 3 bytes
 *         past its end); borrowed. */
static inline void hd_pretok_init(hd_pretok *it, hd_str text)
{
    it->pos = (const unsigned char *)text.ptr;
    it->end = it->pos + text.len;
}

/** The next piece, a slice of the text; false at the end. */
bool hd_pretok_next(hd_pretok *it, hd_str *piece);

#endif
