/* Sampling: one token from one row of logits, on the host.
 *
 * The token is a pure function of (logits, settings, ids so far, seed, position): no state is kept
 * between calls, so a sequence can be forked, rewound or resumed anywhere and gives the same
 * tokens. The order of the steps, as most engines have it:
 *
 *   penalties -> bias -> [temperature 0: the largest logit wins, done]
 *   -> temperature -> top-k -> top-p -> min-p -> argmax over the rest of (score + Gumbel noise)
 *
 * The noise of a token depends on (seed, position, token id) alone (spec 6.2). A draft is accepted
 * iff it equals this draw, so drafts never change a token. Ties: the lower id, everywhere. Only
 * IEEE operations in a fixed order are used (base/num.h), so every machine draws the same token
 * from the same logits. */
#ifndef HD_MODEL_SAMPLE_H
#define HD_MODEL_SAMPLE_H

#include <stddef.h>
#include <stdint.h>

#include "base/status.h"

typedef struct hd_logit_bias {
    int32_t id;
    float bias; /* added to the logit; finite. -100 is as good as never */
} hd_logit_bias;

/* How to choose. Start from HD_SAMPLING_DEFAULT. */
typedef struct hd_sampling {
    float temperature;        /* 0: greedy, whatever top-k, top-p, min-p and seed are */
    int32_t top_k;            /* keep the k most likely; 0: all */
    float top_p;              /* keep the fewest whose probabilities reach this; (0, 1], 1: all */
    float min_p;              /* keep those of at least min_p times the largest; [0, 1], 0: all */
    float repetition_penalty; /* > 0; ids seen: logit / r if positive, else logit * r; 1: off */
    float presence_penalty;   /* taken off once from ids that were generated; 0: off */
    float frequency_penalty;  /* taken off per time that the id was generated; 0: off */
    uint64_t seed;
    const hd_logit_bias *bias; /* [n_bias]; borrowed; an id may come twice: both are added */
    size_t n_bias;
} hd_sampling;

/* The model cards' setting: the plain distribution of the model. */
#define HD_SAMPLING_DEFAULT                                                                        \
    ((hd_sampling){.temperature = 1.0f, .top_p = 1.0f, .repetition_penalty = 1.0f})

typedef struct hd_sample_args {
    const float *logits;    /* f32 [V]; not changed */
    const hd_sampling *how; /* checked on each call */
    uint64_t position;      /* of the token to be drawn: 0-based place in the sequence */
    const int32_t *ids;     /* i32 [n_ids]: prompt, then generated; read only for penalties */
    size_t n_ids;
    size_t n_prompt; /* the first of ids are the prompt; <= n_ids */
} hd_sample_args;

/* Workspace for one vocabulary size; no allocation after create. One thread at a time. */
typedef struct hd_sampler hd_sampler;

/** @param vocab_size V, 1 .. 2^24.   @return HD_E_ARG, HD_E_NOMEM. */
hd_status hd_sampler_create(int32_t vocab_size, hd_sampler **out, hd_err *err) HD_WARN_UNUSED;
/** NULL is allowed. */
void hd_sampler_destroy(hd_sampler *s);

/** Check settings against the ranges above and against V. @return HD_E_ARG naming the field. */
hd_status hd_sampling_check(const hd_sampling *how, int32_t vocab_size, hd_err *err) HD_WARN_UNUSED;

/** Draw a token.
 *  @return HD_E_ARG (settings, or an id outside the vocabulary); HD_E_DEVICE when a logit is NaN or
 *          infinite: never a token then. *id is set only on success. */
hd_status hd_sampler_draw(hd_sampler *s, const hd_sample_args *args, int32_t *id,
                          hd_err *err) HD_WARN_UNUSED;

#endif
