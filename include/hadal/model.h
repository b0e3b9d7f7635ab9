/* One model, no scheduler: open a checkpoint, keep sequences, run steps, read logits, sample.
 *
 * A model is used by one thread at a time. A sequence is all the state of one text: window rings,
 * compressed rows, index keys, compressor carries, draft rings; it is created, cloned and destroyed
 * as one object. Logits do not depend on how ids were cut into steps, on what else was in a step,
 * or on the number of threads: the same bits every time. */
#ifndef HADAL_MODEL_H
#define HADAL_MODEL_H

#include "hadal/hadal.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hd_model hd_model;
typedef struct hd_seq hd_seq;

/** Wishes for hd_model_open; zero means the default. */
typedef struct hd_model_opts {
    const char *device; /**< "cpu" (default), "ref", "trace:cpu" ...: `hadal inspect --devices` */
    const char *isa;    /**< cpu only: "avx512bf16", "avx512", "avx2", "neon", "portable" */
    int32_t n_threads;  /**< 0 = all CPUs */
    int32_t max_seqs;   /**< sequences alive at once; default 4 */
    int32_t max_ctx;    /**< positions of the longest sequence; default 4096 */
    int32_t max_rows;   /**< rows computed at once: longer inputs are cut; default 512 */
    int64_t kv_tokens;  /**< positions of all sequences together; default max_seqs · max_ctx */
    int64_t kv_bytes;   /**< or the bytes of their compressed rows */
    int32_t load_draft; /**< non-zero: load the draft head (MTP or DSpark) too */
    int32_t unfused;    /**< non-zero: compositions instead of fused ops (same bits, slower) */
    /** Called while loading: done and total are bytes of weights. May be NULL. */
    void (*progress)(void *ctx, uint64_t done, uint64_t total);
    void *progress_ctx;
} hd_model_opts;

typedef struct hd_model_info {
    const char *variant; /**< "V4-Flash-0731", "V4-custom" ...; lives as long as the model */
    const char *device;  /**< description of the device, for people */
    int32_t vocab_size;  /**< V */
    int32_t n_layers;
    int32_t max_ctx;      /**< as opened */
    int32_t max_position; /**< as the checkpoint promises */
    int32_t bos_id, eos_id;
    int32_t chat_release;     /**< 0: April, 1: 0731 */
    uint64_t weight_bytes;    /**< of the tensors that are in use */
    uint64_t state_bytes;     /**< planned for sequences */
    uint64_t workspace_bytes; /**< planned for steps */
} hd_model_info;

/** Open a checkpoint directory in the official format (config.json, safetensors, index).
 *  Everything is planned and allocated here; steps allocate nothing.
 *  @return HD_E_NOTFOUND, HD_E_FORMAT, HD_E_UNSUPPORTED, HD_E_NOMEM, HD_E_IO with the reason. */
HD_API HD_WARN_UNUSED hd_status hd_model_open(const char *dir, const hd_model_opts *opts,
                                              hd_model **out, hd_err *err);
/** All sequences must be destroyed before. NULL is allowed. */
HD_API void hd_model_close(hd_model *model);
HD_API void hd_model_get_info(const hd_model *model, hd_model_info *out);

/** An empty sequence. HD_E_LIMIT when max_seqs are alive. */
HD_API HD_WARN_UNUSED hd_status hd_seq_create(hd_model *model, hd_seq **out, hd_err *err);
/** A second sequence in the same state; the two go on independently. HD_E_LIMIT. */
HD_API HD_WARN_UNUSED hd_status hd_seq_clone(hd_seq *seq, hd_seq **out, hd_err *err);
HD_API void hd_seq_destroy(hd_seq *seq); /* NULL is allowed */
/** Back to empty. */
HD_API void hd_seq_reset(hd_seq *seq);
/** Number of positions that the sequence holds. */
HD_API int32_t hd_seq_len(const hd_seq *seq);

/** What one sequence wants of a step. */
typedef struct hd_step_item {
    hd_seq *seq;
    const int32_t *ids; /**< [n_ids], each 0 … V−1, to be appended; read during the call */
    int32_t n_ids;      /**< ≥ 1 */
    int32_t n_logits;   /**< logits of the last n_logits of them; 0 … n_ids */
    float *logits;      /**< f32 [n_logits, V], written; NULL only when n_logits is 0 */
} hd_step_item;

/** Append ids to sequences (each at most once per call) and compute the wanted logits.
 *  On failure no sequence has advanced, except after HD_E_DEVICE, which leaves them unspecified.
 *  @return HD_E_ARG (an id outside the vocabulary, a sequence twice), HD_E_LIMIT (max_ctx),
 *          HD_E_DEVICE (NaN or infinity: the text names the layer where it began). */
HD_API HD_WARN_UNUSED hd_status hd_model_step(hd_model *model, const hd_step_item *items,
                                              int32_t n_items, hd_err *err);

/* ---- Sampling --------------------------------------------------------------------------------
 *
 * One token from one row of logits, on the host. The token is a pure function of (logits, settings,
 * ids so far, seed, position): no state is kept between calls, so a sequence can be forked, rewound
 * or resumed anywhere and gives the same tokens. The order of the steps, as most engines have it:
 *
 *   penalties -> bias -> mask -> [temperature 0: the largest logit wins, done]
 *   -> temperature -> top-k -> top-p -> min-p -> argmax over the rest of (score + Gumbel noise)
 *
 * The noise of a token depends on (seed, position, token id) alone. Ties: the lower id, everywhere.
 * Every machine draws the same token from the same logits. */

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
    size_t n_prompt;      /* the first of ids are the prompt; <= n_ids */
    const uint32_t *mask; /* u32 [(V + 31) / 32]: token id may be drawn if bit id % 32 of word
                             id / 32 is set; NULL: all may */
} hd_sample_args;

/* Workspace for one vocabulary size; no allocation after create. One thread at a time. */
typedef struct hd_sampler hd_sampler;

/** @param vocab_size V, 1 .. 2^24.   @return HD_E_ARG, HD_E_NOMEM. */
HD_API hd_status hd_sampler_create(int32_t vocab_size, hd_sampler **out,
                                   hd_err *err) HD_WARN_UNUSED;
/** NULL is allowed. */
HD_API void hd_sampler_destroy(hd_sampler *s);

/** Check settings against the ranges above and against V. @return HD_E_ARG naming the field. */
HD_API hd_status hd_sampling_check(const hd_sampling *how, int32_t vocab_size,
                                   hd_err *err) HD_WARN_UNUSED;

/** Draw a token.
 *  @return HD_E_ARG (settings, an id outside the vocabulary, or no token is allowed); HD_E_DEVICE
 * when a logit is NaN or infinite: never a token then. *id is set only on success. */
HD_API hd_status hd_sampler_draw(hd_sampler *s, const hd_sample_args *args, int32_t *id,
                                 hd_err *err) HD_WARN_UNUSED;

#ifdef __cplusplus
}
#endif
#endif
