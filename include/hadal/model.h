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

#ifdef __cplusplus
}
#endif
#endif
