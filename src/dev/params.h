/* One struct per op: what goes in, what comes out, with shape and dtype on every pointer.
 *
 * Dimension letters (docs/numerics.md): T rows (tokens) of the step, S sequences of the step, D
 * hidden size, M = 4 residual streams, H heads, E experts, K chosen experts, F expert width, V
 * vocabulary, N rows of a list. Row-major, dense, unless a stride is given. All pointers are
 * device memory; all arrays are 16-byte aligned at least (weights' small vectors: to their type).
 * The definition of each op in words stands here, in code in dev/hostref. "spec" is
 * docs/numerics.md, which follows DeepSeek's reference at every rounding point. */
#ifndef HD_DEV_PARAMS_H
#define HD_DEV_PARAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/num.h"

/* ---- constants of the family (architecture: refused by the config reader otherwise) ---------- */
#define HD_HEAD_DIM  512 /* Dh: width of a head, of a window row, of a compressed row */
#define HD_ROPE_DIM  64  /* the last of them, rotated; the others are stored as FP8 */
#define HD_NOPE_DIM  (HD_HEAD_DIM - HD_ROPE_DIM)
#define HD_INDEX_DIM 128  /* width of an index key */
#define HD_WINDOW    128  /* tokens that every layer sees uncompressed */
#define HD_STREAMS   4    /* M: residual streams */
#define HD_ACT_GROUP 128  /* columns per activation scale */
#define HD_KV_GROUP  64   /* columns per scale of a cache row */
#define HD_FP4_GROUP 32   /* columns per scale of an FP4 weight or index key */
#define HD_SEGMENT   1024 /* columns per segment of the canonical dot product and sum */
#define HD_KEY_BLOCK 64   /* keys per block of the attention's running softmax */

/* ---- cache rows and pages ---------------------------------------------------------------------
 */
#define HD_PAGE_ROWS  32  /* rows of one kind per page */
#define HD_RING_SLOTS 256 /* window ring: position t lives in slot t mod 256 */
#define HD_RING_PAGES (HD_RING_SLOTS / HD_PAGE_ROWS)
/* KV row: 448 × e4m3, then 64 × bf16, then 7 × e8m0 (one per 64 columns), then one zero byte. */
#define HD_KV_ROW_BYTES    584
#define HD_KV_ROW_ROPE_AT  448
#define HD_KV_ROW_SCALE_AT 576
/* Index key: 128 × e2m1 (element 2i in the low nibble of byte i), then 4 × e8m0. */
#define HD_INDEX_ROW_BYTES    68
#define HD_INDEX_ROW_SCALE_AT 64

/* ---- weights ----------------------------------------------------------------------------------
 */
typedef enum hd_weight_format {
    HD_WEIGHT_F32,  /* f32 [rows, cols] */
    HD_WEIGHT_BF16, /* bf16 [rows, cols] */
    HD_WEIGHT_FP8,  /* e4m3 [rows, cols], e8m0 scale [ceil(rows/128), ceil(cols/128)] */
    HD_WEIGHT_FP4   /* e2m1 [rows, cols/2 bytes], e8m0 scale [rows, cols/32] */
} hd_weight_format;

/** A matrix, or a stack of equal ones (experts), as the file holds it. The memory stays valid while
 *  the packed weight lives. No alignment is promised. */
typedef struct hd_weight_desc {
    hd_weight_format format;
    int32_t rows, cols;       /* of one part: outputs, inputs; FP4: cols % 32 = 0 */
    int32_t n_parts;          /* 1, or the number of experts */
    const void *const *data;  /* host [n_parts] */
    const void *const *scale; /* host [n_parts]; NULL for F32 and BF16 */
} hd_weight_desc;

/** Packed weight; every backend's own struct begins with this. */
typedef struct hd_weight {
    hd_weight_format format;
    int32_t rows, cols, n_parts;
} hd_weight;

/* ---- activations ------------------------------------------------------------------------------
 */
/** How a device keeps a quantised activation matrix [rows, cols] (the values are the same):
 *  E4M3: e4m3 [rows, cols], then e8m0 [rows, ceil(cols/128)] at the next multiple of 64 bytes;
 *  BF16: bf16 [rows, cols], each value already multiplied by its scale (exact). */
typedef enum hd_act_format { HD_ACT_E4M3, HD_ACT_BF16 } hd_act_format;

typedef enum hd_x_kind {
    HD_X_BF16, /* bf16 [T, cols] */
    HD_X_ACT   /* quantised by quantize_act, in the device's act_format */
} hd_x_kind;

typedef enum hd_y_kind { HD_Y_BF16, HD_Y_F32 } hd_y_kind;

/* ---- what the rows of a step are --------------------------------------------------------------
 */
/** Rows of one sequence are consecutive and in order of position. Made once per step. */
typedef struct hd_step_rows {
    int32_t n_rows, n_seqs;  /* T, S */
    const int32_t *row_seq;  /* i32 [T]: which sequence of the step, 0 … S−1 */
    const int32_t *row_pos;  /* i32 [T]: absolute position */
    const int32_t *seq_row0; /* i32 [S]: first row */
    const int32_t *seq_len;  /* i32 [S]: number of rows */
    const int32_t *seq_pos0; /* i32 [S]: position of the first row */
    const int32_t *seq_slot; /* i32 [S]: slot of the sequence in the carry pools */
    int32_t end_pos;         /* greatest position of the step + 1 (bounds work on the host) */
} hd_step_rows;

/** Cache rows of one kind in one layer: row i of sequence s is
 *  pool[page[s · max_pages + i / 32]][i mod 32]. For the window ring, i = position mod 256. */
typedef struct hd_paged_rows {
    const void *pool;    /* u8 [n_pages, 32, row bytes] */
    const int32_t *page; /* i32 [S, max_pages] */
    int32_t max_pages;
} hd_paged_rows;

/* ================= rows ========================================================================
 */

/** y[t, m, :] = table[id[t], :] for each of n_copies m. Ids were checked by the caller. */
typedef struct hd_embed_params {
    int32_t n_rows, n_copies;
    const int32_t *id;      /* i32 [T] */
    const hd_weight *table; /* BF16 [V, D], one part */
    hd_bf16 *y;             /* bf16 [T, n_copies, D] */
} hd_embed_params;

/** dst[i] = src[row[i]]; a negative index leaves zeros. */
typedef struct hd_gather_rows_params {
    int32_t n_rows;
    size_t row_bytes;
    const void *src;    /* [any, row_bytes] */
    const int32_t *row; /* i32 [n_rows] */
    void *dst;          /* [n_rows, row_bytes] */
} hd_gather_rows_params;

/** dst[row[i]] = src[i]; a negative index skips. Indices are distinct. */
typedef struct hd_scatter_rows_params {
    int32_t n_rows;
    size_t row_bytes;
    const void *src;    /* [n_rows, row_bytes] */
    const int32_t *row; /* i32 [n_rows] */
    void *dst;          /* [any, row_bytes] */
} hd_scatter_rows_params;

/** y[t, m, :] = a[t, :] + b[t, m, :], rounded to the dtype of all three. y may be b. */
typedef struct hd_add_params {
    hd_y_kind kind;
    int32_t n_rows, n_repeat, dim;
    const void *a; /* [T, dim] */
    const void *b; /* [T, n_repeat, dim] */
    void *y;       /* [T, n_repeat, dim] */
} hd_add_params;

/** y[t, :] = bf16((x0 + x1 + x2 + x3) / 4), FP32 sum in order of the streams (spec 6.2 step 1). */
typedef struct hd_stream_mean_params {
    int32_t n_rows, dim;
    const hd_bf16 *x; /* bf16 [T, 4, D] */
    hd_bf16 *y;       /* bf16 [T, D], row stride y_stride elements */
    int32_t y_stride;
} hd_stream_mean_params;

/* ================= norm, position, quantisation ================================================
 */

/** y = bf16(w · (x · rsqrt(mean(x²) + eps))) (spec 3.5). y may be x. */
typedef struct hd_rms_norm_params {
    int32_t n_rows, dim;
    float eps;
    const hd_bf16 *x; /* bf16 [n_rows, dim] */
    const hd_bf16 *w; /* bf16 [dim] */
    hd_bf16 *y;       /* bf16 [n_rows, dim] */
} hd_rms_norm_params;

/** The per-head norm of q, weightless and in BF16 steps, in place (spec 4.3). */
typedef struct hd_q_norm_params {
    int32_t n_rows, n_heads;
    float eps;
    hd_bf16 *q; /* bf16 [T, H, 512] */
} hd_q_norm_params;

/** Rotate the last 64 of `dim` columns of every head, in place (spec 3.6). */
typedef struct hd_rope_params {
    int32_t n_rows, n_heads, dim;
    bool inverse;
    const float *cos_sin; /* f32 [n_rows, 64]: 32 cosines, then 32 sines */
    hd_bf16 *x;           /* bf16 [n_rows, n_heads, dim] */
} hd_rope_params;

/** x ← fq4(had(x)) per row of 128: Hadamard transform, rounded to BF16, then the FP4 simulation
 *  in groups of 32 (spec 3.7, 3.3), in place. */
typedef struct hd_hadamard_quant_params {
    int32_t n_rows;
    hd_bf16 *x; /* bf16 [n_rows, 128] */
} hd_hadamard_quant_params;

/** actq8 in groups of 128 columns (spec 3.2). */
typedef struct hd_quantize_act_params {
    int32_t n_rows, dim;
    const hd_bf16 *x; /* bf16 [n_rows, dim] */
    void *act;        /* [n_rows, dim] in the device's act_format */
} hd_quantize_act_params;

/* ================= linear ======================================================================
 */

/** y[t, g, r] = Σ_k x[t, g, k] · W[g · R + r, k] with R = W.rows / n_groups: the canonical dot
 *  product over K = W.cols. n_groups = 1 is the ordinary linear layer. */
typedef struct hd_linear_params {
    int32_t n_rows, n_groups;
    hd_x_kind x_kind; /* HD_X_ACT needs n_groups = 1 */
    hd_y_kind y_kind;
    const void *x;      /* [T, n_groups, K] */
    const hd_weight *w; /* one part */
    void *y;            /* [T, n_groups · R] */
} hd_linear_params;

/* ================= caches ======================================================================
 */

/** Quantise rows for the cache: fq8 of columns 0…447 in groups of 64, columns 448…511 as they are
 *  (spec 4.3), into the 584-byte row format. */
typedef struct hd_kv_pack_params {
    int32_t n_rows;
    const hd_bf16 *x; /* bf16 [n_rows, 512] */
    uint8_t *rows;    /* u8 [n_rows, 584] */
} hd_kv_pack_params;

/** hadamard_quant of each row, into the 68-byte row format. */
typedef struct hd_index_pack_params {
    int32_t n_rows;
    const hd_bf16 *x; /* bf16 [n_rows, 128] */
    uint8_t *rows;    /* u8 [n_rows, 68] */
} hd_index_pack_params;

/* The carry of a compressor: k and g + ape of positions that a later group may look back to. A
 * group looks back 7 (ratio 4) or 127 positions; up to 8 more may be taken back when drafts are
 * refused. Ratio 4 keeps the four positions before each multiple of 128 twice as long as the
 * window, so that a sequence can be resumed there (model/state.h); no group of ratio 128 spans one.
 */

static inline int32_t hd_carry_slots(int32_t ratio)
{
    return ratio == 4 ? 24 : 136;
}

/** Where position `pos` is kept, 0 … hd_carry_slots − 1. */
static inline int32_t hd_carry_slot(int32_t ratio, int32_t pos)
{
    if (ratio != 4) return pos % 136;
    return pos % 128 < 124 ? pos % 16 : 16 + pos / 128 % 2 * 4 + pos % 4;
}

/** Whether position `pos` is still kept when `end` positions have been seen. */
static inline bool hd_carry_keeps(int32_t ratio, int32_t pos, int32_t end)
{
    if (ratio != 4) return pos + 136 >= end;
    return pos + (pos % 128 < 124 ? 16 : 256) >= end;
}

/** The compressor's pooling (spec 4.5), then its carry.
 *  Channels: ratio 4 has 2·width (half a for the previous group, half b for the current one),
 *  ratio 128 has width. For each listed row (the last of its group j, position p = j·r + r − 1):
 *  softmax over the slots per channel of g + ape, in slot order; out = bf16(Σ w·k).
 *  Rows at positions before seq_pos0 come from the carry; missing ones (position < 0) do not count.
 *  Afterwards the rows that hd_carry_keeps at the end of the step enter their hd_carry_slot. */
typedef struct hd_compress_pool_params {
    hd_step_rows rows;
    int32_t ratio, width;   /* 4 or 128; 512 or 128 */
    const float *k, *g;     /* f32 [T, channels] */
    const float *ape;       /* f32 [ratio, channels] */
    float *carry;           /* f32 [any, hd_carry_slots, 2, channels], indexed by seq_slot */
    int32_t n_out;          /* groups that end in this step */
    const int32_t *out_row; /* i32 [n_out]: the step row that ends the group */
    hd_bf16 *out;           /* bf16 [n_out, width] */
} hd_compress_pool_params;

/* ================= index, attention ============================================================
 */

/** score[t, j] = bf16(Σ_h bf16(relu(bf16(q_h · k_j)) · bf16(w_h · factor))) for
 *  j < (pos + 1) / 4, −inf for the others up to n_score (spec 4.6). */
typedef struct hd_index_score_params {
    hd_step_rows rows;
    int32_t row0, n_rows; /* which rows of the step: score is [n_rows, n_score] */
    int32_t n_heads;
    float factor;
    const hd_bf16 *q;   /* bf16 [T, n_heads, 128]: all rows of the step */
    const hd_bf16 *w;   /* bf16 [T, n_heads] */
    hd_paged_rows keys; /* 68-byte rows */
    int32_t n_score;    /* ≥ visible entries of every row */
    hd_bf16 *score;     /* bf16 [n_rows, n_score] */
} hd_index_score_params;

/** sel[t, :] = indices of the k greatest scores among the visible entries, ascending, then −1.
 *  The lower index wins a tie. */
typedef struct hd_top_k_params {
    hd_step_rows rows;
    int32_t row0, n_rows;
    int32_t ratio, k, n_score;
    const hd_bf16 *score; /* bf16 [n_rows, n_score] */
    int32_t *sel;         /* i32 [T, k]: rows row0 … row0 + n_rows − 1 are written */
} hd_top_k_params;

typedef enum hd_attn_kind {
    /** Window of 128 positions up to the row's own, then compressed entries. Canonical key list:
     *  slots 0…127 oldest to newest (missing ones masked at the end), then the picks ascending. */
    HD_ATTN_CAUSAL,
    /** A DSpark block (spec 6.2 step 5): ring keys up to position p = seq_pos0 − 1 in order of
     *  position mod 128, without padding, then all rows of the sequence's block, for every row. */
    HD_ATTN_DRAFT
} hd_attn_kind;

/** Softmax attention with a sink over FP8 rows that are key and value of all heads (spec 4.4).
 *  Keys at positions ≥ seq_pos0 are the step's own rows; older ones come from the ring. */
typedef struct hd_attention_params {
    hd_step_rows rows;
    hd_attn_kind kind;
    int32_t n_heads;
    float scale;
    const hd_bf16 *q;         /* bf16 [T, H, 512], rotated */
    const uint8_t *new_rows;  /* u8 [T, 584]: this step's window rows */
    hd_paged_rows window;     /* 584-byte rows, ring of 256 slots */
    int32_t ratio;            /* 0: window only; else 4 or 128 */
    hd_paged_rows compressed; /* 584-byte rows; entry j is visible iff j < (pos + 1) / ratio */
    const int32_t *sel;       /* i32 [T, n_sel] ascending then −1; NULL: all visible entries */
    int32_t n_sel;
    const float *sink; /* f32 [H] */
    hd_bf16 *o;        /* bf16 [T, H, 512], before the inverse rotation */
} hd_attention_params;

/* ================= experts =====================================================================
 */

/** s = sqrt(softplus(z)); choose K experts: the greatest s + bias (lower id on ties), or the row
 *  of tid2eid; ascending ids; weight = s / Σ s · scale (spec 4.7). */
typedef struct hd_route_params {
    int32_t n_rows, n_experts, n_chosen;
    float scale;
    const float *z;         /* f32 [T, E] */
    const float *bias;      /* f32 [E]; NULL: hash routing */
    const int64_t *tid2eid; /* i64 [V, K]; NULL: by score */
    const int32_t *id;      /* i32 [T]: token ids; hash routing only */
    int32_t *expert;        /* i32 [T, K] ascending */
    float *weight;          /* f32 [T, K] */
} hd_route_params;

/** Sort the T·K choices by (expert, row): `order` lists choices t·K + k, `place` is its inverse,
 *  offset[e] … offset[e+1] are the places of expert e. */
typedef struct hd_moe_group_params {
    int32_t n_rows, n_experts, n_chosen;
    const int32_t *expert; /* i32 [T, K] */
    int32_t *order;        /* i32 [T·K] */
    int32_t *place;        /* i32 [T·K] */
    int32_t *offset;       /* i32 [E + 1] */
} hd_moe_group_params;

/** For each place i of expert e: y[i, :] = W_e · x[order[i] / divisor] (order NULL: x[i]). */
typedef struct hd_grouped_linear_params {
    int32_t n_rows;   /* places in all */
    int32_t n_x_rows; /* rows of x */
    hd_x_kind x_kind;
    const void *x;         /* [n_x_rows, cols] */
    const int32_t *order;  /* i32 [n_rows] or NULL */
    int32_t divisor;       /* K for token rows */
    const int32_t *offset; /* i32 [n_parts + 1] */
    const hd_weight *w;    /* n_parts = number of experts */
    hd_bf16 *y;            /* bf16 [n_rows, W.rows] */
} hd_grouped_linear_params;

/** y = bf16(weight · silu(min(g, limit)) · clamp(u, ±limit)) in FP32 (spec 4.7): a = silu(g)·u,
 *  then weight·a. */
typedef struct hd_swiglu_params {
    int32_t n_rows, dim;
    float limit;
    const hd_bf16 *gate, *up; /* bf16 [n_rows, F] */
    const float *weight;      /* f32, indexed by order[i]; NULL: 1 */
    const int32_t *order;     /* i32 [n_rows] or NULL: weight[i] */
    hd_bf16 *y;               /* bf16 [n_rows, F]; may be gate or up */
} hd_swiglu_params;

/** y[t] = bf16(Σ_k in order of k of expert_y[place[t·K + k]] + shared[t]), FP32 sum from 0. */
typedef struct hd_combine_params {
    int32_t n_rows, n_chosen, dim;
    const hd_bf16 *expert_y; /* bf16 [T·K, D], by place */
    const int32_t *place;    /* i32 [T·K] */
    const hd_bf16 *shared;   /* bf16 [T, D] */
    hd_bf16 *y;              /* bf16 [T, D] */
} hd_combine_params;

/* ================= residual streams (hyper-connections, spec 4.2) ============================= */

/** The coefficients of a sub-layer (HEAD: of the output head, pre only). */
typedef struct hd_hc_mix_params {
    int32_t n_rows, dim; /* T, D */
    bool head;           /* fn has 4 rows, base 4, scale 1, and only pre is written */
    int32_t n_iters;     /* Sinkhorn steps */
    float rms_eps, hc_eps;
    const hd_bf16 *x;    /* bf16 [T, 4, D] */
    const hd_weight *fn; /* F32 [24 (4), 4D] */
    const float *scale;  /* f32 [3 (1)] */
    const float *base;   /* f32 [24 (4)] */
    float *mix;          /* f32 [T, 24 (4)]: after ρ, before scale and base; never NULL */
    float *pre;          /* f32 [T, 4] */
    float *post;         /* f32 [T, 4]; head: unused */
    float *comb;         /* f32 [T, 4, 4]; head: unused */
} hd_hc_mix_params;

/** y[t] = bf16(Σ_j pre[t, j] · x[t, j]). */
typedef struct hd_hc_collapse_params {
    int32_t n_rows, dim;
    const hd_bf16 *x; /* bf16 [T, 4, D] */
    const float *pre; /* f32 [T, 4] */
    hd_bf16 *y;       /* bf16 [T, D] */
} hd_hc_collapse_params;

/** y[t, k] = bf16(post[t, k] · z[t] + Σ_j comb[t, j, k] · x[t, j]). y may be x. */
typedef struct hd_hc_merge_params {
    int32_t n_rows, dim;
    const hd_bf16 *z;  /* bf16 [T, D] */
    const hd_bf16 *x;  /* bf16 [T, 4, D] */
    const float *post; /* f32 [T, 4] */
    const float *comb; /* f32 [T, 4, 4] */
    hd_bf16 *y;        /* bf16 [T, 4, D] */
} hd_hc_merge_params;

/* ================= head ========================================================================
 */

/** id[t] = the index of the greatest of x[t, :]; the lower one on ties. */
typedef struct hd_argmax_params {
    int32_t n_rows, dim;
    const float *x; /* f32 [n_rows, dim] */
    int32_t *id;    /* i32 [n_rows] */
} hd_argmax_params;

/** If any element is NaN or infinite: *flag = min(*flag, tag). */
typedef struct hd_find_nonfinite_params {
    hd_y_kind kind;
    int64_t n;
    const void *x; /* bf16 or f32 [n] */
    int32_t tag;
    int32_t *flag; /* i32 [1] */
} hd_find_nonfinite_params;

/* ================= fused ops: each equals the composition that its comment names ===============
 */

/** hc_mix, hc_collapse, rms_norm: from the streams to the normed input of a sub-layer. */
typedef struct hd_hc_pre_params {
    hd_hc_mix_params mix; /* head = false */
    const hd_bf16 *norm;  /* bf16 [D] */
    hd_bf16 *y;           /* bf16 [T, D] */
} hd_hc_pre_params;

/** rms_norm, quantize_act. */
typedef struct hd_rms_norm_quant_params {
    hd_rms_norm_params norm; /* norm.y is written too */
    void *act;
} hd_rms_norm_quant_params;

/** q_norm, rope over H heads of 512. */
typedef struct hd_q_norm_rope_params {
    int32_t n_rows, n_heads;
    float eps;
    const float *cos_sin; /* f32 [T, 64] */
    hd_bf16 *q;           /* bf16 [T, H, 512], in place */
} hd_q_norm_rope_params;

/** rms_norm in place, rope of one head of 512, kv_pack. */
typedef struct hd_kv_norm_rope_pack_params {
    int32_t n_rows;
    float eps;
    hd_bf16 *x;           /* bf16 [n_rows, 512]; overwritten */
    const hd_bf16 *w;     /* bf16 [512] */
    const float *cos_sin; /* f32 [n_rows, 64] */
    uint8_t *rows;        /* u8 [n_rows, 584] */
} hd_kv_norm_rope_pack_params;

/** index_score and top_k, some rows of the step at a time so that `work` stays small. */
typedef struct hd_index_topk_params {
    hd_step_rows rows;
    int32_t n_heads, k;
    int32_t n_score; /* ≥ visible entries of every row */
    float factor;
    const hd_bf16 *q; /* bf16 [T, n_heads, 128] */
    const hd_bf16 *w; /* bf16 [T, n_heads] */
    hd_paged_rows keys;
    int32_t *sel; /* i32 [T, k] */
    void *work;
} hd_index_topk_params;

/** grouped_linear by w1 and w3, swiglu, quantize_act, grouped_linear by w2. With n_parts = 1 and
 *  order, offset, weight NULL it is the shared expert: one group of n_rows places. */
typedef struct hd_moe_experts_params {
    int32_t n_rows, n_x_rows, divisor;
    float limit;
    const void *x;         /* activation [n_x_rows, D], quantised */
    const int32_t *order;  /* i32 [n_rows] or NULL */
    const int32_t *offset; /* i32 [n_parts + 1] or NULL: all rows to part 0 */
    const float *weight;   /* f32 [n_rows], by order[i]; or NULL */
    const hd_weight *w1, *w3, *w2;
    hd_bf16 *y; /* bf16 [n_rows, D] by place */
    void *work;
} hd_moe_experts_params;

#endif
