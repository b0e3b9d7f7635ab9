/* Token ids to text, one id at a time.
 *
 * A token may end in the middle of a code point. Its first bytes are then held back until the rest
 * arrives; whatever can never become a code point is released as one U+FFFD for each maximal
 * ill-formed part. So what has been released is always valid UTF-8, is never taken back, and is
 * the same whichever way the ids arrive. */
#ifndef HD_TEXT_DETOK_H
#define HD_TEXT_DETOK_H

#include "base/buf.h"
#include "hadal/text.h"
#include "text/vocab.h"

typedef struct hd_detok {
    const hd_vocab *vocab; /* borrowed */
    unsigned flags;        /* of HD_DECODE_SKIP_SPECIAL */
    unsigned char n_held;  /* bytes in held */
    char held[4];          /* the start of a code point, not released yet */
} hd_detok;

/** @param flags 0 or HD_DECODE_SKIP_SPECIAL. Nothing to release: there is no deinit. */
void hd_detok_init(hd_detok *d, const hd_vocab *vocab, unsigned flags);

/** Append to `out` what may be released after `id`. An id that is not in the vocabulary (a model
 *  may have more rows than its tokenizer has tokens) stands for nothing, as in the reference. */
void hd_detok_push(hd_detok *d, int32_t id, hd_buf *out);
/** The same for bytes that did not come from the vocabulary. */
void hd_detok_push_bytes(hd_detok *d, hd_str bytes, hd_buf *out);
/** The end: append U+FFFD if something is held back. Ready for the next text afterwards. */
void hd_detok_finish(hd_detok *d, hd_buf *out);

#endif
