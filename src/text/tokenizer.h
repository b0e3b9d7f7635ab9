/* Inside the library: what the public hd_tokenizer is made of. */
#ifndef HD_TEXT_TOKENIZER_H
#define HD_TEXT_TOKENIZER_H

#include "hadal/text.h"
#include "text/ids.h"
#include "text/vocab.h"

/** Borrowed; lives as long as the tokenizer. */
const hd_vocab *hd_tokenizer_vocab(const hd_tokenizer *t);

/** As hd_tokenizer_encode, into a growable array. On failure out->len is what it was. */
hd_status hd_tokenizer_encode_ids(hd_tokenizer *t, hd_str text, unsigned flags, hd_ids *out,
                                  hd_err *err) HD_WARN_UNUSED;

#endif
