#include "dev/compose.h"

enum { INDEX_RATIO = 4 }; /* positions per index key (spec 4.6) */

static size_t align_up(size_t bytes)
{
    return (bytes + HD_COMPOSE_ALIGN - 1) / HD_COMPOSE_ALIGN * HD_COMPOSE_ALIGN;
}

/* ---- norms ---------------------------------------------------------------------------------- */

hd_status hd_compose_hc_pre(hd_stream *s, const hd_hc_pre_params *p)
{
    const hd_hc_mix_params *m = &p->mix;
    HD_TRY(hd_op_hc_mix(s, m));
    HD_TRY(hd_op_hc_collapse(
        s, &(hd_hc_collapse_params){
               .n_rows = m->n_rows, .dim = m->dim, .x = m->x, .pre = m->pre, .y = p->y}));
    return hd_op_rms_norm(s, &(hd_rms_norm_params){.n_rows = m->n_rows,
                                                   .dim = m->dim,
                                                   .eps = m->rms_eps,
                                                   .x = p->y,
                                                   .w = p->norm,
                                                   .y = p->y});
}

hd_status hd_compose_rms_norm_quant(hd_stream *s, const hd_rms_norm_quant_params *p)
{
    HD_TRY(hd_op_rms_norm(s, &p->norm));
    return hd_op_quantize_act(
        s, &(hd_quantize_act_params){
               .n_rows = p->norm.n_rows, .dim = p->norm.dim, .x = p->norm.y, .act = p->act});
}

hd_status hd_compose_q_norm_rope(hd_stream *s, const hd_q_norm_rope_params *p)
{
    HD_TRY(hd_op_q_norm(
        s,
        &(hd_q_norm_params){.n_rows = p->n_rows, .n_heads = p->n_heads, .eps = p->eps, .q = p->q}));
    return hd_op_rope(s, &(hd_rope_params){.n_rows = p->n_rows,
                                           .n_heads = p->n_heads,
                                           .dim = HD_HEAD_DIM,
                                           .cos_sin = p->cos_sin,
                                           .x = p->q});
}

hd_status hd_compose_kv_norm_rope_pack(hd_stream *s, const hd_kv_norm_rope_pack_params *p)
{
    HD_TRY(hd_op_rms_norm(s, &(hd_rms_norm_params){.n_rows = p->n_rows,
                                                   .dim = HD_HEAD_DIM,
                                                   .eps = p->eps,
                                                   .x = p->x,
                                                   .w = p->w,
                                                   .y = p->x}));
    HD_TRY(hd_op_rope(s, &(hd_rope_params){.n_rows = p->n_rows,
                                           .n_heads = 1,
                                           .dim = HD_HEAD_DIM,
                                           .cos_sin = p->cos_sin,
                                           .x = p->x}));
    return hd_op_kv_pack(s, &(hd_kv_pack_params){.n_rows = p->n_rows, .x = p->x, .rows = p->rows});
}

/* ---- index ---------------------------------------------------------------------------------- */

/* Rows whose scores fit the budget; n_score ≥ 1. */
static int32_t score_slice(int32_t n_rows, int32_t n_score)
{
    size_t fit = HD_COMPOSE_SCORE_BYTES / ((size_t)n_score * sizeof(hd_bf16));
    if (fit < 1) fit = 1;
    return fit < (size_t)n_rows ? (int32_t)fit : n_rows;
}

/* Grows with both sizes, as a caller that plans for its largest step needs it; the bytes of one
 * slice do not (a shorter row may let more rows in), but never exceed this. */
static size_t index_topk_bytes(const hd_index_topk_params *p)
{
    if (p->rows.n_rows <= 0 || p->n_score <= 0) return 0;
    size_t row = (size_t)p->n_score * sizeof(hd_bf16), all = row * (size_t)p->rows.n_rows;
    size_t most = row > HD_COMPOSE_SCORE_BYTES ? row : HD_COMPOSE_SCORE_BYTES;
    return align_up(all < most ? all : most);
}

hd_status hd_compose_index_topk(hd_stream *s, const hd_index_topk_params *p)
{
    int32_t n = p->rows.n_rows;
    if (n == 0) return HD_OK;
    if (n < 0 || p->n_score < 0 || (p->n_score > 0 && !p->work)) return HD_E_ARG;
    int32_t step = p->n_score > 0 ? score_slice(n, p->n_score) : n;
    for (int32_t row0 = 0; row0 < n; row0 += step) {
        int32_t rows = n - row0 < step ? n - row0 : step;
        HD_TRY(hd_op_index_score(s, &(hd_index_score_params){.rows = p->rows,
                                                             .row0 = row0,
                                                             .n_rows = rows,
                                                             .n_heads = p->n_heads,
                                                             .factor = p->factor,
                                                             .q = p->q,
                                                             .w = p->w,
                                                             .keys = p->keys,
                                                             .n_score = p->n_score,
                                                             .score = p->work}));
        HD_TRY(hd_op_top_k(s, &(hd_top_k_params){.rows = p->rows,
                                                 .row0 = row0,
                                                 .n_rows = rows,
                                                 .ratio = INDEX_RATIO,
                                                 .k = p->k,
                                                 .n_score = p->n_score,
                                                 .score = p->work,
                                                 .sel = p->sel}));
    }
    return HD_OK;
}

/* ---- experts -------------------------------------------------------------------------------- */

typedef struct expert_work {
    hd_bf16 *gate, *up; /* bf16 [n_rows, F] */
    void *act;          /* quantised [n_rows, F] */
    size_t bytes;       /* in all */
} expert_work;

/* Pointers are only meaningful when p->work is set. */
static expert_work plan_experts(const hd_dev *dev, const hd_moe_experts_params *p)
{
    int32_t dim = p->w1->rows;
    size_t half = align_up((size_t)p->n_rows * (size_t)dim * sizeof(hd_bf16));
    uint8_t *at = p->work;
    expert_work w = {.bytes = 2 * half + align_up(hd_act_bytes(dev, p->n_rows, dim))};
    if (!at) return w;
    w.gate = (hd_bf16 *)at;
    w.up = (hd_bf16 *)(at + half);
    w.act = at + 2 * half;
    return w;
}

/* y = W · x by places: plainly where all rows go to the one part. */
static hd_status expert_linear(hd_stream *s, const hd_moe_experts_params *p, bool second,
                               const hd_weight *w, const void *x, hd_bf16 *y)
{
    if (!p->offset)
        return hd_op_linear(s, &(hd_linear_params){.n_rows = p->n_rows,
                                                   .n_groups = 1,
                                                   .x_kind = HD_X_ACT,
                                                   .y_kind = HD_Y_BF16,
                                                   .x = x,
                                                   .w = w,
                                                   .y = y});
    return hd_op_grouped_linear(
        s, &(hd_grouped_linear_params){.n_rows = p->n_rows,
                                       .n_x_rows = second ? p->n_rows : p->n_x_rows,
                                       .x_kind = HD_X_ACT,
                                       .x = x,
                                       .order = second ? NULL : p->order,
                                       .divisor = second ? 1 : p->divisor,
                                       .offset = p->offset,
                                       .w = w,
                                       .y = y});
}

hd_status hd_compose_moe_experts(hd_stream *s, const hd_moe_experts_params *p)
{
    if (p->n_rows == 0) return HD_OK;
    if (p->n_rows < 0 || !p->w1 || !p->w3 || !p->w2 || !p->work) return HD_E_ARG;
    if (!p->offset && (p->order || p->w1->n_parts != 1 || p->n_x_rows != p->n_rows))
        return HD_E_ARG;
    expert_work w = plan_experts(s->dev, p);
    int32_t dim = p->w1->rows;
    HD_TRY(expert_linear(s, p, false, p->w1, p->x, w.gate));
    HD_TRY(expert_linear(s, p, false, p->w3, p->x, w.up));
    HD_TRY(hd_op_swiglu(s, &(hd_swiglu_params){.n_rows = p->n_rows,
                                               .dim = dim,
                                               .limit = p->limit,
                                               .gate = w.gate,
                                               .up = w.up,
                                               .weight = p->weight,
                                               .order = p->order,
                                               .y = w.gate}));
    HD_TRY(hd_op_quantize_act(
        s, &(hd_quantize_act_params){.n_rows = p->n_rows, .dim = dim, .x = w.gate, .act = w.act}));
    return expert_linear(s, p, true, p->w2, w.act, p->y);
}

/* ---- workspace ------------------------------------------------------------------------------ */

size_t hd_compose_work_bytes(const hd_dev *dev, hd_op op, const void *params)
{
    if (op == HD_OP_index_topk) return index_topk_bytes(params);
    if (op == HD_OP_moe_experts) {
        const hd_moe_experts_params *p = params;
        return p->n_rows > 0 && p->w1 ? plan_experts(dev, p).bytes : 0;
    }
    return 0;
}
