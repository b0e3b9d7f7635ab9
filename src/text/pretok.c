/* The three-stage split by hand: see pretok.h.
 *
 * Stages 1 and 2 cut the text into segments: runs of numbers, runs of CJK, and everything else. A
 * pattern of stage 3 sees nothing outside its segment, so to stage 3 a character of another segment
 * is the end of the text (class END). Segments need no pass of their own: a character's table entry
 * tells which kind it belongs to. The alternatives A to F are tried in that order, as the first
 * that matches wins; where the regular expression would backtrack, the comment says what comes of
 * it. */
#include "text/pretok.h"

#include "base/compiler.h"
#include "text/uniclass.h"

enum { END = 16 }; /* beside the HD_UNI_ classes: no more characters in this segment */

typedef enum segment { SEG_OTHER, SEG_NUMBER, SEG_CJK } segment;

typedef struct scan {
    const unsigned char *end; /* of the text */
    segment kind;
} scan;

/* The code point at p (valid UTF-8) and its length. */
static inline uint32_t read_cp(const unsigned char *p, size_t *len)
{
    if (p[0] < 0x80) {
        *len = 1;
        return p[0];
    }
    if (p[0] < 0xE0) {
        *len = 2;
        return (uint32_t)(p[0] & 0x1F) << 6 | (p[1] & 0x3F);
    }
    if (p[0] < 0xF0) {
        *len = 3;
        return (uint32_t)(p[0] & 0x0F) << 12 | (uint32_t)(p[1] & 0x3F) << 6 | (p[2] & 0x3F);
    }
    *len = 4;
    return (uint32_t)(p[0] & 0x07) << 18 | (uint32_t)(p[1] & 0x3F) << 12 |
           (uint32_t)(p[2] & 0x3F) << 6 | (p[3] & 0x3F);
}

static inline segment segment_of(unsigned uniclass)
{
    if (uniclass & HD_UNI_CJK) return SEG_CJK;
    return uniclass == HD_UNI_NUMBER ? SEG_NUMBER : SEG_OTHER;
}

/* Class of the character at p within the segment; its length goes to *len (0 at END). */
static inline unsigned class_at(const scan *s, const unsigned char *p, size_t *len)
{
    *len = 0;
    if (p >= s->end) return END;
    size_t n;
    unsigned c = hd_uniclass(read_cp(p, &n));
    if (segment_of(c) != s->kind) return END;
    *len = n;
    return c & HD_UNI_CLASS_MASK;
}

static inline bool is_word(unsigned c)
{
    return c == HD_UNI_LETTER || c == HD_UNI_MARK;
}

static inline bool is_sign(unsigned c)
{
    return c == HD_UNI_PUNCT || c == HD_UNI_SYMBOL;
}

static inline bool is_line_end(unsigned char byte)
{
    return byte == '\r' || byte == '\n';
}

static inline bool is_ascii_letter(unsigned char byte)
{
    return (unsigned char)((byte | 0x20) - 'a') < 26;
}

static const unsigned char *skip_words(const scan *s, const unsigned char *p)
{
    size_t len;
    for (;;) {
        while (p < s->end && is_ascii_letter(*p) && s->kind == SEG_OTHER) p++;
        if (!is_word(class_at(s, p, &len))) return p;
        p += len;
    }
}

/* C from its first sign: signs, then line ends. */
static const unsigned char *skip_signs(const scan *s, const unsigned char *p)
{
    size_t len;
    while (is_sign(class_at(s, p, &len))) p += len;
    while (p < s->end && s->kind == SEG_OTHER && is_line_end(*p)) p++;
    return p;
}

/* D, E or F at white space that neither B nor C takes. */
static const unsigned char *skip_space(const scan *s, const unsigned char *p)
{
    const unsigned char *start = p;
    const unsigned char *last = p;        /* start of the last white space character */
    const unsigned char *line_end = NULL; /* behind the last CR or LF */
    size_t len;
    unsigned c;
    while ((c = class_at(s, p, &len)) == HD_UNI_SPACE) {
        last = p;
        p += len;
        if (is_line_end(*last)) line_end = p;
    }
    if (line_end) return line_end;             /* D: \s* gives back down to the last CR or LF */
    if (c != END && last > start) return last; /* E: \s+ gives back one before a non-space */
    return p;                                  /* E at the end of the segment, or F */
}

/* Characters of class OTHER that no alternative takes; a last one before a word is left to B. */
static const unsigned char *skip_unmatched(const scan *s, const unsigned char *p)
{
    const unsigned char *last = p;
    size_t len;
    unsigned c;
    while ((c = class_at(s, p, &len)) == HD_UNI_OTHER) {
        last = p;
        p += len;
    }
    return is_word(c) ? last : p;
}

/* Stage 3: the end of the piece that starts at p. `c`, `len`: class and length of its first
 * character, which is in the segment. */
static const unsigned char *scan_piece(const scan *s, const unsigned char *p, unsigned c,
                                       size_t len)
{
    const unsigned char *rest = p + len;
    if (is_word(c)) return skip_words(s, rest); /* B; a first mark given back changes nothing */
    size_t next_len;
    unsigned next = class_at(s, rest, &next_len);
    if (is_sign(c)) {
        if (*p < 0x80 && next != END && is_ascii_letter(*rest)) { /* A */
            do rest++;
            while (rest < s->end && is_ascii_letter(*rest));
            return rest;
        }
        return skip_signs(s, rest);
    }
    if (is_word(next) && !is_line_end(*p)) return skip_words(s, rest + next_len); /* B */
    if (*p == ' ' && is_sign(next)) return skip_signs(s, rest + next_len);        /* C */
    return c == HD_UNI_SPACE ? skip_space(s, p) : skip_unmatched(s, p);
}

/* Stage 1: up to three numbers. They are in no class of stage 3, so it leaves them whole. */
static const unsigned char *scan_numbers(const scan *s, const unsigned char *p)
{
    size_t len;
    for (int i = 0; i < 3 && class_at(s, p, &len) != END; i++) p += len;
    return p;
}

bool hd_pretok_next(hd_pretok *it, hd_str *piece)
{
    const unsigned char *start = it->pos;
    if (start >= it->end) return false;
    size_t len;
    unsigned c = hd_uniclass(read_cp(start, &len));
    const scan s = {.end = it->end, .kind = segment_of(c)};
    if (s.kind == SEG_NUMBER)
        it->pos = scan_numbers(&s, start);
    else
        it->pos = scan_piece(&s, start, c & HD_UNI_CLASS_MASK, len);
    *piece = (hd_str){(const char *)start, (size_t)(it->pos - start)};
    return true;
}
