/* A small valid tokenizer.json: 256 byte tokens and whatever a test adds. */
#ifndef HD_TEST_TINY_VOCAB_H
#define HD_TEST_TINY_VOCAB_H

#include "base/buf.h"

typedef struct tiny_vocab {
    const char *vocab;  /* more members of model.vocab, `"ab": 256, "abc": 257`; NULL: none */
    const char *merges; /* elements of model.merges, `"a b", ["ab", "c"]`; NULL: none */
    const char *added;  /* elements of added_tokens; NULL: none */
} tiny_vocab;

/** Byte b gets id b; further tokens come from the caller, ids from 256 on. */
void tiny_vocab_json(const tiny_vocab *t, hd_buf *out);

/** An element of added_tokens into one of eight static buffers used in turn. */
const char *tiny_added(int id, const char *content, bool is_special, bool is_normalized);

#endif
