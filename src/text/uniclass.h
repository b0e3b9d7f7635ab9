/* Unicode 16.0 general classes, as far as the split patterns ask for them.
 *
 * Generated two-level table of 40 KB (tools/gen-uniclass.py). The classes exclude each other, so
 * one byte per code point holds the class; HD_UNI_CJK beside it marks what the second pattern
 * matches, which cuts across the classes (letters, marks, a middle dot). */
#ifndef HD_TEXT_UNICLASS_H
#define HD_TEXT_UNICLASS_H

#include <stdint.h>

enum {
    HD_UNI_OTHER = 0, /* controls, format characters, unassigned, private use */
    HD_UNI_LETTER = 1,
    HD_UNI_MARK = 2,
    HD_UNI_NUMBER = 3,
    HD_UNI_PUNCT = 4,
    HD_UNI_SYMBOL = 5,
    HD_UNI_SPACE = 6, /* the 25 code points of \s */
    HD_UNI_CLASS_MASK = 7,
    HD_UNI_CJK = 8 /* U+3040..30FF, U+4E00..9FA5; none of them is a NUMBER */
};

extern const uint8_t hd_uniclass_block[0x110000 / 128];
extern const uint8_t hd_uniclass_row[][128];

/** Class and HD_UNI_CJK bit of a code point ≤ U+10FFFF. */
static inline unsigned hd_uniclass(uint32_t cp)
{
    return hd_uniclass_row[hd_uniclass_block[cp >> 7]][cp & 127];
}

#endif
