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

/* A slot of the open-addressing table from pairs of ids to the id that they merge into. */
typedef struct hd_merge {
    int32_t left, right;
    int32_t id; /* -1: empty slot */
} hd_merge;

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

struct hd_vocab {
    hd_arena arena;
    size_t n_tokens;
    hd_str *token;  /* [n_tokens] bytes of each token */
    uint8_t *flags; /* [n_tokens] HD_TOKEN_ */
    int32_t byte_id[256];
    hd_merge *merge; /* [merge_mask + 1] */
    uint32_t merge_mask, merge_shift;
    /* The reference looks for tokens that are not `normalized` in the whole text first, then for
     * the others in what remains. */
    hd_added_list added[2];
};

/* Where a pair's search begins. */
static inline uint32_t hd_merge_slot(const hd_vocab *v, int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    return (uint32_t)(key * 0x9E3779B97F4A7C15u >> v->merge_shift);
}

/* The token that left and right merge into, which is also the rank; -1 if they do not. */
static inline int32_t hd_vocab_merge(const hd_vocab *v, int32_t left, int32_t right)
{
    for (uint32_t i = hd_merge_slot(v, left, right);; i++) {
        const hd_merge *m = &v->merge[i & v->merge_mask];
        if (m->id < 0 || (m->left == left && m->right == right)) return m->id;
    }
}

/** The first added token of `list` in text at or after `from`: longest match at the leftmost
 *  position. @return its position, text.len if none. */
size_t hd_added_find(const hd_added_list *list, hd_str text, size_t from, const hd_added **out);

/** Refuse every setting of a tokenizer.json that is not the official tokenizer's, by name. What
 *  remains to be read is model.vocab, model.merges and added_tokens. */
hd_status hd_vocab_check_settings(const hd_json *root, hd_err *err) HD_WARN_UNUSED;

#endif
