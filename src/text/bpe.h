/* Text to token ids.
 *
 * Three steps: added tokens are cut out of the raw text (longest match at the leftmost position),
 * the text between them is split into pieces (pretok.h), and each piece's bytes are merged pair by
 * pair, lowest rank first. HD_ENCODE_PLAIN leaves the first step out: that is the rule for every
 * text that a user wrote, so that a control token typed as text stays text.
 *
 * An hd_bpe is a worker: scratch memory and a cache of short pieces over a shared vocabulary. One
 * per thread; it changes only how fast an answer comes, never which. */
#ifndef HD_TEXT_BPE_H
#define HD_TEXT_BPE_H

#include "hadal/text.h"
#include "text/ids.h"
#include "text/vocab.h"

typedef struct hd_bpe hd_bpe;

/** @param vocab borrowed until destroy. @return HD_E_NOMEM (the cache has 1 MiB). */
hd_status hd_bpe_create(const hd_vocab *vocab, hd_bpe **out, hd_err *err) HD_WARN_UNUSED;
/** NULL is allowed. */
void hd_bpe_destroy(hd_bpe *b);

/** Append the ids of `text` to `out`.
 *  @param text  valid UTF-8, may hold U+0000, at most 1 GiB; O(n log n) whatever it holds.
 *  @param flags 0 or HD_ENCODE_PLAIN.
 *  @return HD_E_FORMAT when the text is not UTF-8 (hd_utf8_repair it first); HD_E_LIMIT when `out`
 *          is full or the text too long; HD_E_NOMEM. On failure out->len is what it was. */
hd_status hd_bpe_encode(hd_bpe *b, hd_str text, unsigned flags, hd_ids *out,
                        hd_err *err) HD_WARN_UNUSED;

#endif
