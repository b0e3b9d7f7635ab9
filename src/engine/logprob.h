/* Log probabilities of a row of logits, for people who ask for them. */
#ifndef HD_ENGINE_LOGPROB_H
#define HD_ENGINE_LOGPROB_H

#include "hadal/engine.h"

/** @param logits f32 [vocab_size], finite.
 *  @param n_top  0 … HD_MAX_TOP_LOGPROBS, ≤ vocab_size.
 *  @param top    [n_top], filled: the likeliest first, of equal ones the lower id.
 *  @return that of `id`. log softmax: x − max − log Σ exp(x − max), the sum in FP64 by id. */
float hd_logprob_row(const float *logits, int32_t vocab_size, int32_t id, int32_t n_top,
                     hd_logprob *top);

#endif
