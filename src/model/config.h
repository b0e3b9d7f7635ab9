/* What config.json says about a V4 model, checked.
 *
 * One struct for every V4 release: Flash, Pro, their -Base, -DSpark, 0731 and 0813 forms, and any
 * smaller model of the same architecture. V4.1 and the vision models are recognised and refused.
 * The constants of the family (HD_HEAD_DIM and so on) are not fields: hd_config_parse refuses a
 * model that has other values, and kernels rely on them. Every other dimension is free within the
 * ranges given here. Unknown keys are ignored.
 *
 * Two fields are only what the configuration promises until the checkpoint has been seen:
 * expert_dtype and the draft head (draft, n_stages). hd_names_resolve (model/names.h) settles them.
 * Source of keys and values: the config.json files of the releases; docs/checkpoints.md. */
#ifndef HD_MODEL_CONFIG_H
#define HD_MODEL_CONFIG_H

#include <stdint.h>

#include "base/sha256.h"
#include "base/status.h"
#include "base/str.h"
#include "dev/params.h"

/* Constants of the V4 family; those that ops rely on are in dev/params.h. */
#define HD_SINKHORN_ITERS 20
#define HD_CSA_RATIO      4   /* tokens per row of a compressed sparse attention layer */
#define HD_HCA_RATIO      128 /* tokens per row of a heavily compressed attention layer */

/* Bounds of this program. */
#define HD_MAX_LAYERS  256
#define HD_MAX_STAGES  8  /* blocks of a draft head */
#define HD_MAX_TARGETS 8  /* layers that a DSpark head looks at */
#define HD_MAX_ACTIVE  64 /* experts chosen per token */

typedef enum hd_layer_kind {
    HD_LAYER_WINDOW, /* ratio 0: sliding window only; all blocks of draft heads too */
    HD_LAYER_CSA,    /* ratio 4, rows chosen by the indexer */
    HD_LAYER_HCA     /* ratio 128, all rows */
} hd_layer_kind;

typedef enum hd_draft_kind {
    HD_DRAFT_NONE,
    HD_DRAFT_MTP,   /* the April releases' one block with e_proj and h_proj */
    HD_DRAFT_DSPARK /* several stages, the Markov head and the confidence head */
} hd_draft_kind;

typedef enum hd_expert_dtype {
    HD_EXPERT_UNSTATED, /* config.json does not say (April Flash): the stored dtype decides */
    HD_EXPERT_FP4,      /* stored I8, two a byte; F8_E8M0 scale per 32 along K */
    HD_EXPERT_FP8       /* stored F8_E4M3; F8_E8M0 scale per 128 x 128 */
} hd_expert_dtype;

typedef enum hd_chat_release {
    HD_CHAT_APRIL, /* effort prefixes of April 2026 */
    HD_CHAT_0731   /* those of 0731 and 0813 */
} hd_chat_release;

typedef struct hd_config {
    /* sizes; the letter of docs/numerics.md in brackets */
    int32_t n_layers;    /* num_hidden_layers, 1..HD_MAX_LAYERS */
    int32_t dim;         /* [D] hidden_size, a multiple of 32 */
    int32_t vocab_size;  /* [V] */
    int32_t n_heads;     /* [H] num_attention_heads, a multiple of o_groups */
    int32_t q_lora_rank; /* a multiple of 32 */
    int32_t o_groups;    /* groups of the output projection */
    int32_t o_lora_rank; /* rank per group, a multiple of 32 */
    int32_t index_n_heads;
    int32_t index_topk;       /* most compressed rows that a CSA query attends to */
    int32_t n_experts;        /* [E] n_routed_experts */
    int32_t n_active_experts; /* [K] num_experts_per_tok, 1..min(E, HD_MAX_ACTIVE) */
    int32_t moe_dim; /* [F] moe_intermediate_size, a multiple of 32; the shared expert's too */
    int32_t n_hash_layers; /* the first layers, routed by token id; 0..n_layers */
    int32_t max_position;  /* max_position_embeddings, 1..2^24 */
    int32_t bos_id, eos_id;
    int32_t ratio[HD_MAX_LAYERS]; /* [n_layers] compress_ratios: 0, HD_CSA_RATIO or HD_HCA_RATIO */

    /* numbers */
    float route_scale;  /* routed_scaling_factor */
    float swiglu_limit; /* > 0 */
    float rms_eps;
    float hc_eps;

    /* rotary embedding: rope_theta alone where ratio is 0, else compress_rope_theta with YaRN */
    double rope_theta;
    double compress_rope_theta;
    double yarn_factor;
    double yarn_beta_fast;
    double yarn_beta_slow;
    int32_t yarn_original_ctx; /* original_max_position_embeddings */

    /* draft head */
    hd_draft_kind draft;
    int32_t n_stages; /* blocks mtp.0 ...: 0 for none, 1 for MTP, 1..HD_MAX_STAGES for DSpark */
    int32_t dspark_block_size; /* tokens of a draft */
    int32_t dspark_noise_id;   /* token that fills the block */
    int32_t dspark_markov_rank;
    int32_t n_dspark_targets;
    int32_t dspark_target_ids[HD_MAX_TARGETS]; /* layers, ascending, each < n_layers */

    /* Set on HD_E_UNSUPPORTED when the model was recognised, static; else NULL. */
    const char *unsupported;
    hd_expert_dtype expert_dtype;
    hd_chat_release chat_release; /* our key "hadal.chat_release", else 0731 iff DSpark */

    uint8_t sha256[HD_SHA256_BYTES]; /* of config.json, by hd_config_load */
} hd_config;

/** Read and check the text of a config.json.
 *  @return HD_E_FORMAT (no JSON, missing key, wrong kind, value out of range; err->path names the
 *          key), HD_E_UNSUPPORTED (V4.1, vision, another model, or another constant of the family),
 *          HD_E_NOMEM. On failure only out->unsupported is defined. */
hd_status hd_config_parse(hd_str json, hd_config *out, hd_err *err) HD_WARN_UNUSED;

/** As hd_config_parse, of DIR/config.json. Also HD_E_IO, HD_E_NOTFOUND. */
hd_status hd_config_load(const char *dir, hd_config *out, hd_err *err) HD_WARN_UNUSED;

/** The release that the shape belongs to: "V4-Flash", "V4-Pro-0813" ...; "V4-custom" for a shape
 *  that was never published. A -DSpark checkpoint has the shape of 0731 or 0813 and is named so. */
const char *hd_config_variant(const hd_config *c);

/** Kind of a main layer; blocks of draft heads are all HD_LAYER_WINDOW. */
static inline hd_layer_kind hd_config_kind(const hd_config *c, int layer)
{
    if (c->ratio[layer] == HD_CSA_RATIO) return HD_LAYER_CSA;
    return c->ratio[layer] == HD_HCA_RATIO ? HD_LAYER_HCA : HD_LAYER_WINDOW;
}

#endif
