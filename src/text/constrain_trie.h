/* Inside constrain: the vocabulary as a trie, and masks that were computed once.
 *
 * Nodes are numbered in depth-first order, so that a walk is a loop over arrays: a node's children
 * follow it, `skip` leads behind its subtree, and the tokens that end in a subtree are neighbours
 * in `token`. Added tokens are not in it. */
#ifndef HD_TEXT_CONSTRAIN_TRIE_H
#define HD_TEXT_CONSTRAIN_TRIE_H

#include <stdatomic.h>

#include "text/constrain.h"
#include "text/constrain_build.h"

/** What tokens may follow from one state while its rule goes on, whatever the stack below. */
typedef struct hd_mask_entry {
    uint64_t key;
    uint32_t *mask; /* u32 [words] */
    uint32_t *exit; /* [n_exits] nodes where the rule may end and tokens go on */
    uint32_t n_exits;
    uint32_t peak; /* frames that the walk put on top at most, and needed on top of those */
} hd_mask_entry;

#define HD_MASK_SLOTS 4096

/** Entries by key. Any number of threads may look up and add; nothing is ever removed. */
typedef struct hd_mask_table {
    _Atomic(hd_mask_entry *) slot[HD_MASK_SLOTS];
    atomic_size_t left_bytes;
} hd_mask_table;

void hd_mask_table_init(hd_mask_table *t, size_t max_bytes);
void hd_mask_table_deinit(hd_mask_table *t);
hd_mask_entry *hd_mask_table_get(const hd_mask_table *t, uint64_t key);
/** Whether `bytes` more may be kept; then they are taken from the budget. */
bool hd_mask_table_reserve(hd_mask_table *t, size_t bytes);
/** Hand over `e`. @return what is in the table now: `e`, or another thread's twin (then `e` was
 *  freed); NULL if the table is full (then `e` was freed too). */
hd_mask_entry *hd_mask_table_put(hd_mask_table *t, hd_mask_entry *e);

struct hd_vtrie {
    const hd_vocab *vocab;
    size_t n_tokens, n_words;
    uint32_t n_nodes;
    uint8_t *byte;    /* [n_nodes] */
    uint16_t *depth;  /* [n_nodes] 1 for the first byte */
    uint32_t *skip;   /* [n_nodes] */
    uint16_t *reach;  /* [n_nodes] bytes of the longest token in the subtree */
    uint32_t *first;  /* [n_nodes + 1] tokens of a node: token[first[i] .. first[i + 1]) */
    int32_t *token;   /* [n_ordinary] in byte order */
    int32_t *longest; /* [n_ordinary] the same, longest first */
    size_t n_ordinary;
    uint32_t max_token_bytes;
    hd_cc_ids ids;
    hd_mask_table *masks; /* of the common rules' states */
};

#endif
