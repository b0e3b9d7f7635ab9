/* Characters that always become one token first, whatever stands beside them.
 *
 * Merging starts from bytes, and most merges of non-ASCII text only put characters together. Where
 * the outcome is certain, encoding may start from the character. It is certain if, alone, the bytes
 * merge into one token by merges of rank at most m, and no merge of rank at most m joins a part of
 * the character to anything outside it: as long as the character is incomplete, a merge of its own
 * parts is due before any that reaches out, and merges elsewhere do not touch its parts. (Some
 * tokens do cut through characters; for those characters encoding starts from bytes.)
 *
 * The parts that can reach out to the left are those with the first byte, to the right those with
 * the last one. What stands to the right of a character does not begin with a continuation byte. */
#include "base/mem.h"
#include "base/utf8.h"
#include "text/vocab_tables.h"

typedef struct reach {
    int32_t *as_right; /* [n_tokens] lowest rank of the merges that have the token on the right */
    int32_t *as_left;  /* [n_tokens] the same on the left, beside what may follow a character */
} reach;

static void note(int32_t *lowest, int32_t rank)
{
    if (rank < *lowest) *lowest = rank;
}

static void measure_reach(const hd_vocab *v, const reach *r)
{
    for (size_t i = 0; i < v->n_tokens; i++) r->as_right[i] = r->as_left[i] = INT32_MAX;
    for (size_t i = 0; i <= v->merges.mask; i++) {
        const uint64_t slot = v->merges.slot[i];
        if (slot == HD_MERGE_EMPTY) continue;
        size_t left = slot >> 2 * HD_MERGE_BITS, right = slot >> HD_MERGE_BITS & HD_MERGE_FIELD;
        int32_t rank = (int32_t)(slot & HD_MERGE_FIELD);
        note(&r->as_right[right], rank);
        bool is_continuation = ((unsigned char)v->token[right].ptr[0] & 0xC0) == 0x80;
        if (!is_continuation) note(&r->as_left[left], rank);
    }
}

/* The token that the character's bytes (2 or 3) always merge into; -1 if that is not certain. */
static int32_t certain_token(const hd_vocab *v, const reach *r, const char *bytes, size_t n)
{
    int32_t id[3] = {0};
    for (size_t i = 0; i < n; i++) id[i] = v->byte_id[(unsigned char)bytes[i]];
    int32_t first = hd_vocab_merge(v, id[0], id[1]), whole = first;
    int32_t reaching = r->as_right[id[0]];
    note(&reaching, r->as_left[id[n - 1]]);
    if (n == 3) {
        int32_t tail = hd_vocab_merge(v, id[1], id[2]);
        if (first >= 0 && (tail < 0 || first < tail)) {
            whole = hd_vocab_merge(v, first, id[2]);
            note(&reaching, r->as_right[first]);
        } else if (tail >= 0) {
            first = tail;
            whole = hd_vocab_merge(v, id[0], tail);
            note(&reaching, r->as_left[tail]);
        }
    }
    bool is_certain = whole >= 0 && first < reaching && whole < reaching;
    return is_certain ? whole : -1;
}

bool hd_vocab_find_certain_chars(hd_vocab *v)
{
    reach r = {hd_mem_try_calloc(v->n_tokens, sizeof *r.as_right),
               hd_mem_try_calloc(v->n_tokens, sizeof *r.as_left)};
    v->char_id = hd_arena_try_alloc(&v->arena, HD_CHAR_IDS, sizeof *v->char_id);
    bool is_done = r.as_right && r.as_left && v->char_id;
    if (is_done) {
        measure_reach(v, &r);
        for (uint32_t cp = 0; cp < HD_CHAR_IDS; cp++) {
            char bytes[4];
            size_t n = hd_utf8_put(bytes, cp);
            bool is_char = cp >= 0x80 && (cp < 0xD800 || cp > 0xDFFF);
            v->char_id[cp] = is_char ? certain_token(v, &r, bytes, n) : -1;
        }
    }
    hd_mem_free(r.as_right);
    hd_mem_free(r.as_left);
    return is_done;
}
