/* The structs of the model: weights, state, workspace, step. Internal to src/model.
 *
 * Read v4_forward.c first; it is the whole model on one page. Here is what its names point to.
 * Pointers that ops get are device memory (dev/dev.h); "host" marks the few that are not. Letters:
 * T rows of a step, S sequences, D hidden, H heads, Q q_lora_rank, G output groups, R o_lora_rank,
 * E experts, K chosen, F expert width, V vocabulary. */
#ifndef HD_MODEL_V4_H
#define HD_MODEL_V4_H

#include "dev/dev.h"
#include "hadal/model.h"
#include "io/ckpt.h"
#include "model/config.h"
#include "model/pages.h"
#include "model/rope.h"
#include "model/state.h"

typedef struct hd_probe hd_probe;

/* ---- weights ----------------------------------------------------------------------------------
 */

/** Mixing coefficients of one sub-layer's hyper-connection (or of an output head: 4 rows). */
typedef struct hd_v4_hc {
    hd_weight *fn;      /* F32 [24, 4D]; head [4, 4D] */
    const float *base;  /* f32 [24]; head [4] */
    const float *scale; /* f32 [3]; head [1] */
} hd_v4_hc;

/** Pools groups of tokens into one row: of the cache (width 512) or of the index (128). */
typedef struct hd_v4_compressor {
    hd_weight *wkv, *wgate; /* BF16 [channels, D] */
    const float *ape;       /* f32 [ratio, channels] */
    const hd_bf16 *norm;    /* bf16 [width] */
} hd_v4_compressor;

/** One transformer block: a layer of the model or a stage of a draft head. */
typedef struct hd_v4_block {
    int32_t index; /* layer, or n_layers + stage */
    int32_t ratio; /* 0, 4, 128 */
    hd_v4_hc hc_attn, hc_ffn;
    const hd_bf16 *attn_norm, *ffn_norm; /* bf16 [D] */
    /* attention */
    hd_weight *wq_a;       /* FP8 [Q, D] */
    const hd_bf16 *q_norm; /* bf16 [Q] */
    hd_weight *wq_b;       /* FP8 [H·512, Q] */
    hd_weight *wkv;        /* FP8 [512, D] */
    const hd_bf16 *kv_norm;
    const float *sink; /* f32 [H] */
    hd_weight *wo_a;   /* FP8 [G·R, H·512/G] */
    hd_weight *wo_b;   /* FP8 [D, G·R] */
    hd_v4_compressor comp;
    hd_v4_compressor index_comp;
    hd_weight *index_wq_b; /* FP8 [Hi·128, Q] */
    hd_weight *index_proj; /* BF16 [Hi, D] */
    /* experts */
    hd_weight *gate;         /* BF16 [E, D] */
    const float *gate_bias;  /* f32 [E]; NULL in hash-routed layers */
    const int64_t *tid2eid;  /* i64 [V, K]; NULL elsewhere */
    hd_weight *w1, *w3, *w2; /* E parts, FP4 or FP8: gate and up [F, D], down [D, F] */
    hd_weight *s1, *s3, *s2; /* the shared expert, FP8 */
} hd_v4_block;

typedef struct hd_v4_weights {
    hd_weight *embed; /* BF16 [V, D] */
    hd_weight *head;  /* BF16 [V, D] */
    const hd_bf16 *norm;
    hd_v4_hc hc_head;
    hd_v4_block *layer; /* host [n_layers] */
    hd_v4_block *stage; /* host [n_stages]; none unless loaded */
    /* MTP (April) */
    hd_weight *mtp_e_proj, *mtp_h_proj; /* FP8 [D, D] */
    const hd_bf16 *mtp_enorm, *mtp_hnorm;
    /* DSpark */
    hd_weight *main_proj; /* FP8 [D, n_targets · D] */
    const hd_bf16 *main_norm;
    hd_weight *markov_w1, *markov_w2; /* BF16 [V, rank] */
    hd_weight *confidence;            /* BF16 [1, D + rank] */
    /* both: the draft's own output head (the vocabulary matrix is shared) */
    const hd_bf16 *draft_norm;
    hd_v4_hc draft_hc_head;
    uint64_t bytes; /* of all tensors in use */
} hd_v4_weights;

/* ---- state of sequences -----------------------------------------------------------------------
 */

/** The pools of one block; a pool that its kind does not use is NULL. */
typedef struct hd_v4_block_state {
    uint8_t *window;    /* u8 [window pages, 32, 584] */
    uint8_t *rows;      /* u8 [csa or hca pages, 32, 584] */
    uint8_t *index;     /* u8 [csa pages, 32, 68] */
    float *carry;       /* f32 [slots, 24, 2, 1024] or [slots, 136, 2, 512] */
    float *index_carry; /* f32 [slots, 24, 2, 256] */
} hd_v4_block_state;

struct hd_seq {
    hd_model *model;
    int32_t slot;                   /* in the carry pools, 0 … max_seqs−1 */
    int32_t len;                    /* positions held */
    int32_t n_pages[HD_PAGE_KINDS]; /* pages held */
    int32_t *page[HD_PAGE_KINDS];   /* host [max pages of the kind] */
    int32_t in_step;                /* guards against a sequence twice in a step */
};

typedef struct hd_v4_state {
    hd_v4_block_state *block; /* host [n_layers + n_stages] */
    hd_page_pool pool[HD_PAGE_KINDS];
    int32_t max_pages[HD_PAGE_KINDS]; /* of one sequence */
    hd_seq **seq;                     /* host [max_seqs]: by slot, NULL = free */
    void *memory;                     /* one device allocation */
    uint64_t bytes;
    uint8_t *snap; /* device u8 [snap_bytes]: where a snapshot is put together; first used, then
                      allocated */
    size_t snap_bytes;
} hd_v4_state;

/* ---- one step ---------------------------------------------------------------------------------
 */

/** Groups of one ratio that end in this step: where each becomes a compressed row. */
typedef struct hd_v4_groups {
    int32_t n;              /* N */
    const int32_t *out_row; /* i32 [N]: step row that ends the group */
    const int32_t *dst_row; /* i32 [N]: row in the pool: page · 32 + slot */
    const float *cos_sin;   /* f32 [N, 64] at position entry · ratio */
    int32_t first_entry;    /* host: entry number of the first (single-sequence steps: probe) */
} hd_v4_groups;

/** All that differs between steps, on the device; built and uploaded by step.c. */
typedef struct hd_v4_step {
    hd_step_rows rows;
    const int32_t *id;       /* i32 [T] */
    const float *rope_plain; /* f32 [T, 64] */
    const float *rope_yarn;  /* f32 [T, 64] */
    const int32_t *ring_row; /* i32 [T]: row in the window pools; −1: passed over in this step */
    const int32_t *page[HD_PAGE_KINDS]; /* i32 [S, max_pages of the kind] */
    hd_v4_groups csa, hca;
    int32_t n_score;       /* compressed rows visible to the last position (ratio 4) */
    const int32_t *out_id; /* i32 [n_out_rows]: rows whose logits are wanted */
    int32_t n_out_rows;
    int32_t pos0; /* host: first position (single-sequence steps: probe) */
} hd_v4_step;

/** Intermediate results of one step; sized for max_rows once (plan.c). */
typedef struct hd_v4_work {
    hd_bf16 *x;                     /* bf16 [T, 4, D]: the residual streams */
    hd_bf16 *x_draft;               /* bf16 [T, 4, D]: those of the draft head */
    float *mix, *pre, *post, *comb; /* f32 [T, 24], [T, 4], [T, 4], [T, 16] */
    hd_bf16 *h;                     /* bf16 [T, D]: normed input of a sub-layer */
    void *act;                      /* quantised activations of any input */
    void *act_qr;                   /* quantised [T, Q] */
    hd_bf16 *qr;                    /* bf16 [T, Q] */
    hd_bf16 *q, *o;                 /* bf16 [T, H, 512] */
    hd_bf16 *kv;                    /* bf16 [T, 512] */
    uint8_t *kv_rows;               /* u8 [T, 584] */
    float *comp_k, *comp_g;         /* f32 [T, 1024] */
    hd_bf16 *comp_out;              /* bf16 [T, 512] */
    uint8_t *comp_rows;             /* u8 [T, 584] */
    hd_bf16 *index_q;               /* bf16 [T, Hi, 128] */
    hd_bf16 *index_w;               /* bf16 [T, Hi] */
    int32_t *sel;                   /* i32 [T, index_topk] */
    void *topk_work;
    hd_bf16 *oa;                     /* bf16 [T, G·R] */
    hd_bf16 *z;                      /* bf16 [T, D]: output of a sub-layer */
    float *route_z;                  /* f32 [T, E] */
    int32_t *expert;                 /* i32 [T, K] */
    float *route_w;                  /* f32 [T, K] */
    int32_t *order, *place, *offset; /* i32 [T·K], [T·K], [E+1] */
    hd_bf16 *expert_y;               /* bf16 [T·K, D] */
    hd_bf16 *shared_y;               /* bf16 [T, D] */
    void *moe_work;
    hd_bf16 *targets; /* bf16 [T, n_targets · D]: DSpark's view of the layers */
    hd_bf16 *main_x;  /* bf16 [T, D] */
    /* output head, at most HD_HEAD_ROWS at a time */
    hd_bf16 *x_out; /* bf16 [rows, 4, D] */
    hd_bf16 *y_out; /* bf16 [rows, D] */
    float *logits;  /* f32 [rows, V] */
    /* draft head, token by token; S is at most HD_DRAFT_SEQS */
    hd_bf16 *markov_e;  /* bf16 [S, rank] */
    float *markov_bias; /* f32 [S, V] */
    float *draft_row;   /* f32 [S, V]: logits of one draft each */
    hd_bf16 *conf_in;   /* bf16 [S, D + rank] */
    float *conf;        /* f32 [S] */
    int32_t *draft_id;  /* i32 [HD_HEAD_ROWS] */
    int32_t *nonfinite; /* i32 [1]: least tag of a place with NaN or infinity */
} hd_v4_work;

#define HD_HEAD_ROWS  64
#define HD_MAX_DRAFT  16 /* tokens of a draft block */
#define HD_DRAFT_SEQS 16 /* sequences that draft together */

/** Host side of the step's arrays: one block, filled, then uploaded in one copy. */
typedef struct hd_v4_meta {
    uint8_t *host, *dev;
    size_t used, size; /* bytes */
} hd_v4_meta;

/** What one sequence contributes to a step. */
typedef struct hd_v4_part {
    hd_seq *seq;
    const int32_t *ids; /* host [n] */
    int32_t n;          /* rows of this sequence in the step */
    int32_t pos0;       /* position of the first */
    int32_t n_logits;   /* of its last rows */
    bool is_replay;     /* positions whose compressed rows are there already: they are read, not
                           made; only the window and the carries are */
} hd_v4_part;

struct hd_model {
    hd_config cfg;
    hd_dev *dev;
    hd_stream *stream;
    hd_ckpt *ckpt;
    hd_v4_weights w;
    hd_v4_state state;
    hd_v4_work work;
    hd_v4_meta meta;
    void *work_memory;
    uint64_t work_bytes;
    hd_rope_freqs rope_plain, rope_yarn;
    int32_t max_seqs, max_ctx, max_rows;
    int64_t kv_tokens;
    bool has_draft;
    int32_t at; /* block that is being submitted, n_layers + n_stages: the head; for error texts */
    /* hd_model_step's own arrays, host */
    hd_v4_part *step_parts; /* [max_seqs] */
    int32_t *step_items;    /* [max_seqs]: the item of each part */
    int32_t *step_done;     /* [max_seqs]: ids of each item that have run */
    float **step_dst;       /* [max_rows]: where each row of logits goes */
    hd_probe *probe;        /* borrowed; NULL: nothing is captured or fed */
    char device[200];
};

/* ---- the pieces -------------------------------------------------------------------------------
 */

/* model.c */
/** Upload the step's arrays and clear the NaN watch. */
hd_status hd_v4_begin(hd_model *m) HD_WARN_UNUSED;
/** Wait for the step; HD_E_DEVICE when NaN or infinity was seen. */
hd_status hd_v4_finish(hd_model *m, hd_err *err) HD_WARN_UNUSED;
/** Wait for it; whether NaN and infinity were not seen. @return HD_E_DEVICE for other faults. */
hd_status hd_v4_wait(hd_model *m, bool *is_finite, hd_err *err) HD_WARN_UNUSED;
/** After a submit failed with `st`: what was queued still runs, so wait until the caller's memory
 *  is its own again, and say where it was. Always HD_E_DEVICE: sequences are unspecified now. */
hd_status hd_v4_abandon(hd_model *m, hd_status st, hd_err *err) HD_WARN_UNUSED;
/** One step of at most max_rows rows, start to end: reserve, run, logits to dst[i] (host f32 [V]
 *  for each wanted row), advance. `step` stays valid until the next one is built. */
hd_status hd_v4_run_parts(hd_model *m, const hd_v4_part *part, int32_t n_parts, float *const *dst,
                          hd_v4_step *step, hd_err *err) HD_WARN_UNUSED;

/* load.c */
/** Read config.json and map the shards; m->cfg and m->ckpt. */
hd_status hd_v4_open_checkpoint(hd_model *m, const char *dir, hd_err *err) HD_WARN_UNUSED;
hd_status hd_v4_load(hd_model *m, const hd_model_opts *opts, hd_err *err) HD_WARN_UNUSED;
void hd_v4_unload(hd_model *m);

/* plan.c: workspace for max_rows; work_bytes and pointers. */
hd_status hd_v4_plan(hd_model *m, hd_err *err) HD_WARN_UNUSED;
void hd_v4_unplan(hd_model *m);

/* state.c, snap.c: model/state.h */
hd_status hd_v4_state_init(hd_model *m, hd_err *err) HD_WARN_UNUSED;
void hd_v4_state_deinit(hd_model *m);
/** The ratio of a block: layers first, then stages of the draft head (0). */
int32_t hd_v4_block_ratio(const hd_model *m, int32_t i);
int32_t hd_v4_n_blocks(const hd_model *m);

/* step.c */
/** Fill the step's arrays on the host. Pages must be reserved; a DRAFT step ends no groups. */
void hd_v4_step_build(hd_model *m, const hd_v4_part *part, int32_t n_parts, hd_attn_kind kind,
                      hd_v4_step *out);
/** Room for `bytes` in the step's block; the caller fills the host side before the upload. */
void *hd_v4_meta_take(hd_v4_meta *meta, size_t bytes, const void **dev);
hd_status hd_v4_meta_upload(hd_model *m) HD_WARN_UNUSED;

/* v4_forward.c */
hd_status hd_v4_forward(hd_model *m, const hd_v4_step *step) HD_WARN_UNUSED;
/** One block over the rows of the step; x is updated in place. */
hd_status hd_v4_block_forward(hd_model *m, const hd_v4_step *step, const hd_v4_block *b,
                              hd_attn_kind kind, hd_bf16 *x) HD_WARN_UNUSED;
/** Rows `row` (i32 [n], device) of x through an output head: y (before `norm`), then logits. */
hd_status hd_v4_head(hd_model *m, const hd_bf16 *x, const int32_t *row, int32_t n,
                     const hd_v4_hc *hc, const hd_bf16 *norm) HD_WARN_UNUSED;

/* v4_hc.c, v4_attn.c, v4_moe.c: sub-layers, from x to x. */
hd_status hd_v4_hc_pre(hd_model *m, const hd_v4_step *step, const hd_v4_block *b, bool ffn,
                       const hd_bf16 *x) HD_WARN_UNUSED;
hd_status hd_v4_hc_post(hd_model *m, const hd_v4_step *step, const hd_v4_block *b, bool ffn,
                        hd_bf16 *x) HD_WARN_UNUSED;
hd_status hd_v4_attention(hd_model *m, const hd_v4_step *step, const hd_v4_block *b,
                          hd_attn_kind kind) HD_WARN_UNUSED;
hd_status hd_v4_moe(hd_model *m, const hd_v4_step *step, const hd_v4_block *b) HD_WARN_UNUSED;

/* v4_dspark.c; the rest of the draft heads: model/draft.h */
/** After the main layers of a step: feed the draft head's rings (DSpark) with its rows. */
hd_status hd_v4_dspark_observe(hd_model *m, const hd_v4_step *step) HD_WARN_UNUSED;

/* ---- short forms ------------------------------------------------------------------------------
 */

static inline hd_status hd_v4_linear_act(hd_model *m, int32_t n_rows, const void *act,
                                         const hd_weight *w, hd_bf16 *y)
{
    return hd_op_linear(m->stream, &(hd_linear_params){.n_rows = n_rows,
                                                       .n_groups = 1,
                                                       .x_kind = HD_X_ACT,
                                                       .y_kind = HD_Y_BF16,
                                                       .x = act,
                                                       .w = w,
                                                       .y = y});
}

static inline hd_status hd_v4_linear_bf16(hd_model *m, int32_t n_rows, const hd_bf16 *x,
                                          const hd_weight *w, hd_y_kind y_kind, void *y)
{
    return hd_op_linear(m->stream, &(hd_linear_params){.n_rows = n_rows,
                                                       .n_groups = 1,
                                                       .x_kind = HD_X_BF16,
                                                       .y_kind = y_kind,
                                                       .x = x,
                                                       .w = w,
                                                       .y = y});
}

static inline hd_status hd_v4_quantize(hd_model *m, int32_t n_rows, int32_t dim, const hd_bf16 *x,
                                       void *act)
{
    return hd_op_quantize_act(
        m->stream, &(hd_quantize_act_params){.n_rows = n_rows, .dim = dim, .x = x, .act = act});
}

#endif
