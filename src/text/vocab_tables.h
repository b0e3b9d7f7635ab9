/* Inside text/: the tables of a vocabulary, which vocab.c fills and bpe.c and added.c read.
 *
 * All of it lives in one arena and never changes after opening. The one idea: merges are numbered
 * so that a later merge makes a token with a higher id (checked on opening). So the id of the token
 * that a merge makes is its rank too, and one lookup answers "may these two merge, how urgently,
 * and into what". */
#ifndef HD_TEXT_VOCAB_TABLES_H
#define HD_TEXT_VOCAB_TABLES_H

#include "base/arena.h"
#include "base/json.h"
#include "text/vocab.h"

typedef struct hd_added {
    hd_str content;
    int32_t id;
} hd_added;

/* Added tokens in byte order of their content. */
typedef struct hd_added_list {
    const hd_added *item; /* [n] */
    size_t n;
    bool is_first[256]; /* bytes that begin some content */
} hd_added_list;

/* From pairs of ids to the id they merge into: open addressing, one word a slot. Most questions are
 * about pairs that do not merge; a bit per possible place, few enough to stay in a near cache,
 * answers them without a look at the slots. */
typedef struct hd_merges {
    uint64_t *slot; /* [mask + 1] left << 40 | right << 20 | result; HD_MERGE_EMPTY */
    uint64_t *seen; /* bits [4 * (mask + 1)] */
    uint32_t mask;
    unsigned shift; /* 64 - log2(mask + 1) */
} hd_merges;

#define HD_MERGE_EMPTY UINT64_MAX
#define HD_MERGE_BITS  20
#define HD_MERGE_FIELD (((uint64_t)1 << HD_MERGE_BITS) - 1)
_Static_assert(HD_VOCAB_MAX_SIZE <= (size_t)1 << HD_MERGE_BITS, "an id needs more bits");

#define HD_CHAR_IDS 0x10000 /* characters of two and three bytes */

struct hd_vocab {
    hd_arena arena;
    size_t n_tokens;
    hd_str *token;  /* [n_tokens] bytes of each token */
    uint8_t *flags; /* [n_tokens] HD_TOKEN_ */
    int32_t byte_id[256];
    int32_t *char_id; /* [HD_CHAR_IDS] token that a character may start as; -1: start from bytes */
    hd_merges merges;
    /* The reference looks for tokens that are not `normalized` in the whole text first, then for
     * the others in what remains. */
    hd_added_list added[2];
};

static inline uint64_t hd_merge_key(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << HD_MERGE_BITS | (uint32_t)right;
}

/* Its highest bits say where to look. */
static inline uint64_t hd_merge_hash(uint64_t key)
{
    return key * 0x9E3779B97F4A7C15u;
}

/* The token that left and right merge into, which is also the rank; -1 if they do not. */
static inline int32_t hd_vocab_merge(const hd_vocab *v, int32_t left, int32_t right)
{
    const hd_merges *m = &v->merges;
    const uint64_t key = hd_merge_key(left, right), hash = hd_merge_hash(key);
    const uint64_t bit = hash >> (m->shift - 2);
    if (!(m->seen[bit / 64] >> (bit % 64) & 1)) return -1;
    for (uint64_t i = hash >> m->shift;; i++) {
        const uint64_t slot = m->slot[i & m->mask];
        if (slot >> HD_MERGE_BITS == key) return (int32_t)(slot & HD_MERGE_FIELD);
        if (slot == HD_MERGE_EMPTY) return -1;
    }
}

/** The first added token of `list` in text at or after `from`: longest match at the leftmost
 *  position. @return its position, text.len if none. */
size_t hd_added_find(const hd_added_list *list, hd_str text, size_t from, const hd_added **out);

/** Fill char_id, when all else is filled (vocab_chars.c). False when memory is out. */
bool hd_vocab_find_certain_chars(hd_vocab *v);

/** Refuse every setting of a tokenizer.json that is not the official tokenizer's, by name. What
 *  remains to be read is model.vocab, model.merges and added_tokens. */
hd_status hd_vocab_check_settings(const hd_json *root, hd_err *err) HD_WARN_UNUSED;

#endif
