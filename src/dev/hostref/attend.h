/* One head of one row against one block of keys: the running softmax that attention is made of.
 *
 * Keys come in blocks of 64 slots counted from slot 0 of the row's key list. Per block, in this
 * order: the scores, the new maximum, α = exp(old maximum − new one), the weights p; then
 * denominator ← denominator · α + Σp (a canonical sum of the 64 FP32 weights), then every channel
 * ← channel · α, then one fused step per slot with p rounded to BF16. A masked slot keeps its
 * place with p = 0; a block without any valid key changes nothing. */
#ifndef HD_DEV_HOSTREF_ATTEND_H
#define HD_DEV_HOSTREF_ATTEND_H

#include "dev/hostref/rowfmt.h"

/** A block of decoded keys, which are the values too. */
typedef struct hd_ref_key_block {
    bool is_valid[HD_KEY_BLOCK]; /* false: masked, or behind the end of the list */
    float key[HD_KEY_BLOCK][HD_HEAD_DIM];
} hd_ref_key_block;

/** State of one head between blocks. */
typedef struct hd_ref_softmax {
    float max; /* of the scores so far; −inf before the first key */
    float sum; /* the denominator, without the sink */
    float acc[HD_HEAD_DIM];
} hd_ref_softmax;

void hd_hostref_attend_init(hd_ref_softmax *s);
/** q: f32 [512]. */
void hd_hostref_attend_block(hd_ref_softmax *s, const float *q, float scale,
                             const hd_ref_key_block *block);
/** The sink joins the denominator last; o bf16 [512]: acc / denominator, zeros without any key. */
void hd_hostref_attend_finish(hd_ref_softmax *s, float sink, hd_bf16 *o);

#endif
