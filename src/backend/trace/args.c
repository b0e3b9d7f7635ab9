#include "backend/trace/args.h"

#include <stdarg.h>
#include <stdio.h>

/* Short names for the lists below. */
typedef hd_trace_args args;
enum { IN = HD_TRACE_IN, OUT = HD_TRACE_OUT, OVER = HD_TRACE_OUT_OVER, INOUT = HD_TRACE_INOUT };
enum {
    U8 = HD_TRACE_U8,
    BF16 = HD_TRACE_BF16,
    F32 = HD_TRACE_F32,
    I32 = HD_TRACE_I32,
    I64 = HD_TRACE_I64
};

static const struct {
    const char *name;
    size_t bytes;
} types[] = {{"u8", 1}, {"bf16", 2}, {"f32", 4}, {"i32", 4}, {"i64", 8}};

const char *hd_trace_type_name(hd_trace_type type)
{
    return types[type].name;
}

/* ---- building the list ---------------------------------------------------------------------- */

static void HD_PRINTF(2, 3) complain(args *a, const char *fmt, ...)
{
    va_list ap;
    if (a->bad[0]) return;
    va_start(ap, fmt);
    vsnprintf(a->bad, sizeof a->bad, fmt, ap);
    va_end(ap);
}

static void require(args *a, bool ok, const char *what)
{
    if (!ok) complain(a, "expected %s", what);
}

typedef struct dims {
    int n;
    int64_t at[HD_TRACE_MAX_DIMS];
} dims;
#define FIFTH(a, b, c, d, n, ...) n
#define DIMS(...)                 ((dims){FIFTH(__VA_ARGS__, 4, 3, 2, 1, 0), {__VA_ARGS__}})

static hd_trace_arg *tensor(args *a, int role, const char *name, const void *ptr, int type, dims d)
{
    HD_ASSERT(a->n < HD_TRACE_MAX_ARGS);
    hd_trace_arg *g = &a->arg[a->n++];
    *g = (hd_trace_arg){.name = name,
                        .ptr = ptr,
                        .role = (hd_trace_role)role,
                        .type = (hd_trace_type)type,
                        .align = 16,
                        .n_dims = d.n,
                        .bytes = types[type].bytes};
    for (int i = 0; i < d.n; i++) {
        g->dim[i] = d.at[i];
        if (d.at[i] < 0) complain(a, "'%s' has a size of %lld", name, (long long)d.at[i]);
        if (d.at[i] < 0 || __builtin_mul_overflow(g->bytes, (size_t)d.at[i], &g->bytes)) {
            complain(a, "'%s' is too large", name);
            g->bytes = 0;
        }
    }
    return g;
}

/* Small vectors of the weights are aligned to their type only. */
static void vector(args *a, const char *name, const void *ptr, int type, dims d)
{
    tensor(a, IN, name, ptr, type, d)->align = types[type].bytes;
}

/* An all-zero weight stands for one that may not be read. */
static hd_weight weight(args *a, const char *name, const hd_weight *w)
{
    if (!w || !hd_trace_memory_is_weight(a->mem, w)) {
        if (!a->empty) complain(a, "'%s' is not a packed weight of this device", name);
        return (hd_weight){.n_parts = 0};
    }
    HD_ASSERT(a->n_weights < HD_TRACE_MAX_WEIGHTS);
    a->weight[a->n_weights++] = *w;
    return *w;
}

static hd_weight one_part(args *a, const char *name, const hd_weight *w)
{
    hd_weight copy = weight(a, name, w);
    require(a, copy.n_parts <= 1, "a weight of one part");
    return copy;
}

static void activation(args *a, int role, const char *name, const void *ptr, int64_t rows,
                       int64_t cols)
{
    if (a->dev->props.act_format == HD_ACT_BF16) {
        tensor(a, role, name, ptr, BF16, DIMS(rows, cols));
        return;
    }
    int64_t n_scales = (cols + HD_ACT_GROUP - 1) / HD_ACT_GROUP;
    const hd_trace_arg *g = tensor(a, role, name, ptr, U8, DIMS(rows, cols));
    const uint8_t *scale = (const uint8_t *)ptr + (g->bytes + 63) / 64 * 64;
    tensor(a, role, "scale of it", ptr ? scale : NULL, U8, DIMS(rows, n_scales));
}

static void x_by_kind(args *a, hd_x_kind kind, const void *x, int64_t rows, int64_t cols)
{
    if (kind == HD_X_ACT)
        activation(a, IN, "x", x, rows, cols);
    else
        tensor(a, IN, "x", x, BF16, DIMS(rows, cols));
}

static int type_of(hd_y_kind kind)
{
    return kind == HD_Y_F32 ? F32 : BF16;
}

static void step_rows(args *a, const hd_step_rows *r)
{
    int32_t t = r->n_rows, s = r->n_seqs;
    if (t == 0) a->empty = true;
    require(a, s <= t && (t == 0 || s > 0), "between one sequence and one per row");
    require(a, t == 0 || r->end_pos > 0, "a positive end_pos");
    tensor(a, IN, "row_seq", r->row_seq, I32, DIMS(t));
    tensor(a, IN, "row_pos", r->row_pos, I32, DIMS(t));
    tensor(a, IN, "seq_row0", r->seq_row0, I32, DIMS(s));
    tensor(a, IN, "seq_len", r->seq_len, I32, DIMS(s));
    tensor(a, IN, "seq_pos0", r->seq_pos0, I32, DIMS(s));
    tensor(a, IN, "seq_slot", r->seq_slot, I32, DIMS(s));
}

/* `entries`: rows of a sequence that may be read. The pool's extent is not known. */
static void paged(args *a, const hd_paged_rows *p, int32_t n_seqs, int32_t row_bytes,
                  int32_t entries)
{
    if (entries == 0) return;
    require(a, (int64_t)p->max_pages * HD_PAGE_ROWS >= entries, "max_pages for all positions");
    tensor(a, IN, "pool", p->pool, U8, DIMS(1, HD_PAGE_ROWS, row_bytes));
    tensor(a, IN, "page", p->page, I32, DIMS(n_seqs, p->max_pages));
}

/* Rows row0 … row0 + n − 1 of a step. */
static void some_rows(args *a, const hd_step_rows *r, int32_t row0, int32_t n)
{
    step_rows(a, r);
    if (n == 0) a->empty = true;
    require(a, row0 >= 0 && n >= 0 && row0 <= r->n_rows - n, "rows of the step");
}

/* ---- rows ----------------------------------------------------------------------------------- */

static void list_embed(args *a, const hd_embed_params *p)
{
    a->empty = p->n_rows == 0;
    hd_weight w = one_part(a, "table", p->table);
    require(a, a->empty || w.format == HD_WEIGHT_BF16, "a BF16 table");
    tensor(a, IN, "id", p->id, I32, DIMS(p->n_rows));
    tensor(a, OUT, "y", p->y, BF16, DIMS(p->n_rows, p->n_copies, w.cols));
}

static void list_gather_rows(args *a, const hd_gather_rows_params *p)
{
    a->empty = p->n_rows == 0;
    tensor(a, IN, "src", p->src, U8, DIMS(1, (int64_t)p->row_bytes));
    tensor(a, IN, "row", p->row, I32, DIMS(p->n_rows));
    tensor(a, OUT, "dst", p->dst, U8, DIMS(p->n_rows, (int64_t)p->row_bytes));
}

static void list_scatter_rows(args *a, const hd_scatter_rows_params *p)
{
    a->empty = p->n_rows == 0;
    tensor(a, IN, "src", p->src, U8, DIMS(p->n_rows, (int64_t)p->row_bytes));
    tensor(a, IN, "row", p->row, I32, DIMS(p->n_rows));
    tensor(a, OUT, "dst", p->dst, U8, DIMS(1, (int64_t)p->row_bytes));
}

static void list_add(args *a, const hd_add_params *p)
{
    a->empty = p->n_rows == 0;
    tensor(a, IN, "a", p->a, type_of(p->kind), DIMS(p->n_rows, p->dim));
    tensor(a, IN, "b", p->b, type_of(p->kind), DIMS(p->n_rows, p->n_repeat, p->dim));
    tensor(a, OVER, "y", p->y, type_of(p->kind), DIMS(p->n_rows, p->n_repeat, p->dim));
}

static void list_stream_mean(args *a, const hd_stream_mean_params *p)
{
    a->empty = p->n_rows == 0;
    require(a, p->y_stride >= p->dim, "a y_stride of at least dim");
    int64_t extent = a->empty ? 0 : ((int64_t)p->n_rows - 1) * p->y_stride + p->dim;
    tensor(a, IN, "x", p->x, BF16, DIMS(p->n_rows, HD_STREAMS, p->dim));
    tensor(a, OUT, "y", p->y, BF16, DIMS(extent));
}

/* ---- norm, position, quantisation ----------------------------------------------------------- */

static void list_rms_norm(args *a, const hd_rms_norm_params *p)
{
    a->empty = p->n_rows == 0;
    tensor(a, IN, "x", p->x, BF16, DIMS(p->n_rows, p->dim));
    vector(a, "w", p->w, BF16, DIMS(p->dim));
    tensor(a, OVER, "y", p->y, BF16, DIMS(p->n_rows, p->dim));
}

static void list_q_norm(args *a, const hd_q_norm_params *p)
{
    a->empty = p->n_rows == 0;
    tensor(a, INOUT, "q", p->q, BF16, DIMS(p->n_rows, p->n_heads, HD_HEAD_DIM));
}

static void list_rope(args *a, const hd_rope_params *p)
{
    a->empty = p->n_rows == 0;
    require(a, p->dim >= HD_ROPE_DIM, "at least 64 columns");
    tensor(a, IN, "cos_sin", p->cos_sin, F32, DIMS(p->n_rows, HD_ROPE_DIM));
    tensor(a, INOUT, "x", p->x, BF16, DIMS(p->n_rows, p->n_heads, p->dim));
}

static void list_hadamard_quant(args *a, const hd_hadamard_quant_params *p)
{
    a->empty = p->n_rows == 0;
    tensor(a, INOUT, "x", p->x, BF16, DIMS(p->n_rows, HD_INDEX_DIM));
}

static void list_quantize_act(args *a, const hd_quantize_act_params *p)
{
    a->empty = p->n_rows == 0;
    tensor(a, IN, "x", p->x, BF16, DIMS(p->n_rows, p->dim));
    activation(a, OUT, "act", p->act, p->n_rows, p->dim);
}

/* ---- linear --------------------------------------------------------------------------------- */

static void list_linear(args *a, const hd_linear_params *p)
{
    a->empty = p->n_rows == 0;
    hd_weight w = one_part(a, "w", p->w);
    require(a, p->n_groups > 0 && (p->x_kind != HD_X_ACT || p->n_groups == 1),
            "at least one group, and one for a quantised x");
    require(a, p->n_groups <= 0 || w.rows % p->n_groups == 0, "rows that divide by the groups");
    x_by_kind(a, p->x_kind, p->x, p->n_rows, (int64_t)p->n_groups * w.cols);
    tensor(a, OUT, "y", p->y, type_of(p->y_kind), DIMS(p->n_rows, w.rows));
}

/* ---- caches --------------------------------------------------------------------------------- */

static void list_kv_pack(args *a, const hd_kv_pack_params *p)
{
    a->empty = p->n_rows == 0;
    tensor(a, IN, "x", p->x, BF16, DIMS(p->n_rows, HD_HEAD_DIM));
    tensor(a, OUT, "rows", p->rows, U8, DIMS(p->n_rows, HD_KV_ROW_BYTES));
}

static void list_index_pack(args *a, const hd_index_pack_params *p)
{
    a->empty = p->n_rows == 0;
    tensor(a, IN, "x", p->x, BF16, DIMS(p->n_rows, HD_INDEX_DIM));
    tensor(a, OUT, "rows", p->rows, U8, DIMS(p->n_rows, HD_INDEX_ROW_BYTES));
}

static void list_compress_pool(args *a, const hd_compress_pool_params *p)
{
    int32_t t = p->rows.n_rows;
    require(a, p->ratio == 4 || p->ratio == 128, "a ratio of 4 or 128");
    require(a, p->width == HD_HEAD_DIM || p->width == HD_INDEX_DIM, "a width of 512 or 128");
    int64_t channels = p->ratio == 4 ? 2 * (int64_t)p->width : p->width;
    int64_t n_slots = hd_carry_slots(p->ratio);
    step_rows(a, &p->rows);
    tensor(a, IN, "k", p->k, F32, DIMS(t, channels));
    tensor(a, IN, "g", p->g, F32, DIMS(t, channels));
    vector(a, "ape", p->ape, F32, DIMS(p->ratio, channels));
    tensor(a, INOUT, "carry", p->carry, F32, DIMS(1, n_slots, 2, channels));
    tensor(a, IN, "out_row", p->out_row, I32, DIMS(p->n_out));
    tensor(a, OUT, "out", p->out, BF16, DIMS(p->n_out, p->width));
}

/* ---- index, attention ----------------------------------------------------------------------- */

static void list_index_score(args *a, const hd_index_score_params *p)
{
    int32_t t = p->rows.n_rows, entries = p->rows.end_pos / 4;
    some_rows(a, &p->rows, p->row0, p->n_rows);
    require(a, p->n_rows < t || p->n_score >= entries, "n_score for all visible entries");
    tensor(a, IN, "q", p->q, BF16, DIMS(t, p->n_heads, HD_INDEX_DIM));
    tensor(a, IN, "w", p->w, BF16, DIMS(t, p->n_heads));
    paged(a, &p->keys, p->rows.n_seqs, HD_INDEX_ROW_BYTES, entries);
    tensor(a, OUT, "score", p->score, BF16, DIMS(p->n_rows, p->n_score));
}

static void list_top_k(args *a, const hd_top_k_params *p)
{
    some_rows(a, &p->rows, p->row0, p->n_rows);
    require(a, p->ratio > 0 && p->k > 0, "a positive ratio and k");
    tensor(a, IN, "score", p->score, BF16, DIMS(p->n_rows, p->n_score));
    tensor(a, OUT, "sel", p->sel, I32, DIMS(p->rows.n_rows, p->k));
}

static void list_attention(args *a, const hd_attention_params *p)
{
    int32_t t = p->rows.n_rows, s = p->rows.n_seqs;
    step_rows(a, &p->rows);
    require(a, p->ratio == 0 || p->ratio == 4 || p->ratio == 128, "a ratio of 0, 4 or 128");
    require(a, p->kind == HD_ATTN_CAUSAL || p->ratio == 0, "no compressed rows for a draft");
    tensor(a, IN, "q", p->q, BF16, DIMS(t, p->n_heads, HD_HEAD_DIM));
    tensor(a, IN, "new_rows", p->new_rows, U8, DIMS(t, HD_KV_ROW_BYTES));
    paged(a, &p->window, s, HD_KV_ROW_BYTES, HD_RING_SLOTS);
    if (p->ratio > 0) paged(a, &p->compressed, s, HD_KV_ROW_BYTES, p->rows.end_pos / p->ratio);
    if (p->sel) tensor(a, IN, "sel", p->sel, I32, DIMS(t, p->n_sel));
    vector(a, "sink", p->sink, F32, DIMS(p->n_heads));
    tensor(a, OUT, "o", p->o, BF16, DIMS(t, p->n_heads, HD_HEAD_DIM));
}

/* ---- experts -------------------------------------------------------------------------------- */

static void list_route(args *a, const hd_route_params *p)
{
    a->empty = p->n_rows == 0;
    require(a, p->n_chosen > 0 && p->n_chosen <= p->n_experts, "1 to n_experts chosen experts");
    require(a, a->empty || !p->bias != !p->tid2eid, "either bias or tid2eid");
    tensor(a, IN, "z", p->z, F32, DIMS(p->n_rows, p->n_experts));
    if (p->bias) vector(a, "bias", p->bias, F32, DIMS(p->n_experts));
    if (p->tid2eid) {
        vector(a, "tid2eid", p->tid2eid, I64, DIMS(1, p->n_chosen));
        tensor(a, IN, "id", p->id, I32, DIMS(p->n_rows));
    }
    tensor(a, OUT, "expert", p->expert, I32, DIMS(p->n_rows, p->n_chosen));
    tensor(a, OUT, "weight", p->weight, F32, DIMS(p->n_rows, p->n_chosen));
}

static void list_moe_group(args *a, const hd_moe_group_params *p)
{
    int64_t places = (int64_t)p->n_rows * p->n_chosen;
    a->empty = p->n_rows == 0;
    tensor(a, IN, "expert", p->expert, I32, DIMS(p->n_rows, p->n_chosen));
    tensor(a, OUT, "order", p->order, I32, DIMS(places));
    tensor(a, OUT, "place", p->place, I32, DIMS(places));
    tensor(a, OUT, "offset", p->offset, I32, DIMS((int64_t)p->n_experts + 1));
}

static void list_grouped_linear(args *a, const hd_grouped_linear_params *p)
{
    a->empty = p->n_rows == 0;
    hd_weight w = weight(a, "w", p->w);
    require(a, p->divisor > 0 || !p->order, "a positive divisor");
    x_by_kind(a, p->x_kind, p->x, p->n_x_rows, w.cols);
    if (p->order) tensor(a, IN, "order", p->order, I32, DIMS(p->n_rows));
    tensor(a, IN, "offset", p->offset, I32, DIMS((int64_t)w.n_parts + 1));
    tensor(a, OUT, "y", p->y, BF16, DIMS(p->n_rows, w.rows));
}

static void list_swiglu(args *a, const hd_swiglu_params *p)
{
    a->empty = p->n_rows == 0;
    tensor(a, IN, "gate", p->gate, BF16, DIMS(p->n_rows, p->dim));
    tensor(a, IN, "up", p->up, BF16, DIMS(p->n_rows, p->dim));
    if (p->weight) tensor(a, IN, "weight", p->weight, F32, DIMS(p->n_rows));
    if (p->order) tensor(a, IN, "order", p->order, I32, DIMS(p->n_rows));
    tensor(a, OVER, "y", p->y, BF16, DIMS(p->n_rows, p->dim));
}

static void list_combine(args *a, const hd_combine_params *p)
{
    int64_t places = (int64_t)p->n_rows * p->n_chosen;
    a->empty = p->n_rows == 0;
    tensor(a, IN, "expert_y", p->expert_y, BF16, DIMS(places, p->dim));
    tensor(a, IN, "place", p->place, I32, DIMS(places));
    tensor(a, IN, "shared", p->shared, BF16, DIMS(p->n_rows, p->dim));
    tensor(a, OUT, "y", p->y, BF16, DIMS(p->n_rows, p->dim));
}

/* ---- residual streams ----------------------------------------------------------------------- */

static void list_hc_mix(args *a, const hd_hc_mix_params *p)
{
    int32_t t = p->n_rows, n = p->head ? HD_STREAMS : HD_STREAMS * (HD_STREAMS + 2);
    a->empty = t == 0;
    hd_weight w = one_part(a, "fn", p->fn);
    require(a,
            a->empty || (w.format == HD_WEIGHT_F32 && w.rows == n &&
                         w.cols == (int64_t)HD_STREAMS * p->dim),
            "an F32 fn of [24 (head: 4), 4D]");
    tensor(a, IN, "x", p->x, BF16, DIMS(t, HD_STREAMS, p->dim));
    vector(a, "scale", p->scale, F32, DIMS(p->head ? 1 : 3));
    vector(a, "base", p->base, F32, DIMS(n));
    tensor(a, OUT, "mix", p->mix, F32, DIMS(t, n));
    tensor(a, OUT, "pre", p->pre, F32, DIMS(t, HD_STREAMS));
    if (p->head) return;
    tensor(a, OUT, "post", p->post, F32, DIMS(t, HD_STREAMS));
    tensor(a, OUT, "comb", p->comb, F32, DIMS(t, HD_STREAMS, HD_STREAMS));
}

static void list_hc_collapse(args *a, const hd_hc_collapse_params *p)
{
    a->empty = p->n_rows == 0;
    tensor(a, IN, "x", p->x, BF16, DIMS(p->n_rows, HD_STREAMS, p->dim));
    tensor(a, IN, "pre", p->pre, F32, DIMS(p->n_rows, HD_STREAMS));
    tensor(a, OUT, "y", p->y, BF16, DIMS(p->n_rows, p->dim));
}

static void list_hc_merge(args *a, const hd_hc_merge_params *p)
{
    a->empty = p->n_rows == 0;
    tensor(a, IN, "z", p->z, BF16, DIMS(p->n_rows, p->dim));
    tensor(a, IN, "x", p->x, BF16, DIMS(p->n_rows, HD_STREAMS, p->dim));
    tensor(a, IN, "post", p->post, F32, DIMS(p->n_rows, HD_STREAMS));
    tensor(a, IN, "comb", p->comb, F32, DIMS(p->n_rows, HD_STREAMS, HD_STREAMS));
    tensor(a, OVER, "y", p->y, BF16, DIMS(p->n_rows, HD_STREAMS, p->dim));
}

/* ---- head ----------------------------------------------------------------------------------- */

static void list_argmax(args *a, const hd_argmax_params *p)
{
    a->empty = p->n_rows == 0;
    require(a, a->empty || p->dim > 0, "a positive dim");
    tensor(a, IN, "x", p->x, F32, DIMS(p->n_rows, p->dim));
    tensor(a, OUT, "id", p->id, I32, DIMS(p->n_rows));
}

static void list_find_nonfinite(args *a, const hd_find_nonfinite_params *p)
{
    a->empty = p->n == 0;
    tensor(a, IN, "x", p->x, type_of(p->kind), DIMS(p->n));
    tensor(a, INOUT, "flag", p->flag, I32, DIMS(1))->align = sizeof(int32_t);
}

/* ---- fused ---------------------------------------------------------------------------------- */

static void list_hc_pre(args *a, const hd_hc_pre_params *p)
{
    require(a, !p->mix.head, "a mix that is not the head's");
    list_hc_mix(a, &p->mix);
    vector(a, "norm", p->norm, BF16, DIMS(p->mix.dim));
    tensor(a, OUT, "y", p->y, BF16, DIMS(p->mix.n_rows, p->mix.dim));
}

static void list_rms_norm_quant(args *a, const hd_rms_norm_quant_params *p)
{
    list_rms_norm(a, &p->norm);
    activation(a, OUT, "act", p->act, p->norm.n_rows, p->norm.dim);
}

static void list_q_norm_rope(args *a, const hd_q_norm_rope_params *p)
{
    a->empty = p->n_rows == 0;
    tensor(a, IN, "cos_sin", p->cos_sin, F32, DIMS(p->n_rows, HD_ROPE_DIM));
    tensor(a, INOUT, "q", p->q, BF16, DIMS(p->n_rows, p->n_heads, HD_HEAD_DIM));
}

static void list_kv_norm_rope_pack(args *a, const hd_kv_norm_rope_pack_params *p)
{
    a->empty = p->n_rows == 0;
    tensor(a, INOUT, "x", p->x, BF16, DIMS(p->n_rows, HD_HEAD_DIM));
    vector(a, "w", p->w, BF16, DIMS(HD_HEAD_DIM));
    tensor(a, IN, "cos_sin", p->cos_sin, F32, DIMS(p->n_rows, HD_ROPE_DIM));
    tensor(a, OUT, "rows", p->rows, U8, DIMS(p->n_rows, HD_KV_ROW_BYTES));
}

static void workspace(args *a, hd_op op, const void *params, const void *work)
{
    if (a->bad[0]) return; /* sizes that make no sense */
    tensor(a, OUT, "work", work, U8, DIMS((int64_t)hd_dev_work_bytes(a->dev, op, params)));
}

static void list_index_topk(args *a, const hd_index_topk_params *p)
{
    int32_t t = p->rows.n_rows, entries = p->rows.end_pos / 4;
    step_rows(a, &p->rows);
    require(a, p->k > 0, "a positive k");
    require(a, a->empty || p->n_score >= entries, "n_score for all visible entries");
    tensor(a, IN, "q", p->q, BF16, DIMS(t, p->n_heads, HD_INDEX_DIM));
    tensor(a, IN, "w", p->w, BF16, DIMS(t, p->n_heads));
    paged(a, &p->keys, p->rows.n_seqs, HD_INDEX_ROW_BYTES, entries);
    tensor(a, OUT, "sel", p->sel, I32, DIMS(t, p->k));
    workspace(a, HD_OP_index_topk, p, p->work);
}

static void list_moe_experts(args *a, const hd_moe_experts_params *p)
{
    a->empty = p->n_rows == 0;
    hd_weight w1 = weight(a, "w1", p->w1), w3 = weight(a, "w3", p->w3);
    hd_weight w2 = weight(a, "w2", p->w2);
    require(a, w1.rows == w3.rows && w1.cols == w3.cols && w1.rows == w2.cols,
            "w1 and w3 of one shape, and w2 to follow them");
    require(a, w1.n_parts == w3.n_parts && w1.n_parts == w2.n_parts, "as many parts in each");
    require(a, p->offset || a->empty || w1.n_parts == 1, "one part where offset is NULL");
    activation(a, IN, "x", p->x, p->n_x_rows, w1.cols);
    if (p->order) tensor(a, IN, "order", p->order, I32, DIMS(p->n_rows));
    if (p->offset) tensor(a, IN, "offset", p->offset, I32, DIMS((int64_t)w1.n_parts + 1));
    if (p->weight) tensor(a, IN, "weight", p->weight, F32, DIMS(p->n_rows));
    tensor(a, OUT, "y", p->y, BF16, DIMS(p->n_rows, w2.rows));
    workspace(a, HD_OP_moe_experts, p, p->work);
}

void hd_trace_list(args *a, hd_op op, const void *params)
{
    switch (op) {
#define LIST(name)                                                                                 \
    case HD_OP_##name: list_##name(a, params); break;
        HD_OPS(LIST)
#undef LIST
    case HD_OP_COUNT: break;
    }
}

/* ---- checks --------------------------------------------------------------------------------- */

static bool overlap(const hd_trace_arg *x, const hd_trace_arg *y)
{
    uintptr_t a = (uintptr_t)x->ptr, b = (uintptr_t)y->ptr;
    return a < b + y->bytes && b < a + x->bytes;
}

static void check_alias(args *a, const hd_trace_arg *out)
{
    for (int i = 0; i < a->n; i++) {
        const hd_trace_arg *g = &a->arg[i];
        if (g == out || g->bytes == 0 || !overlap(out, g)) continue;
        if (out->role == HD_TRACE_OUT_OVER && g->role == HD_TRACE_IN && out->ptr == g->ptr &&
            out->bytes == g->bytes)
            continue;
        complain(a, "'%s' overlaps '%s'", out->name, g->name);
    }
}

static void check_arg(args *a, const hd_trace_arg *g)
{
    if (g->bytes == 0) return;
    bool write = g->role != HD_TRACE_IN;
    const char *why = g->ptr ? hd_trace_memory_check(a->mem, g->ptr, g->bytes, write) : "is NULL";
    if (why)
        complain(a, "'%s' of %zu bytes %s", g->name, g->bytes, why);
    else if ((uintptr_t)g->ptr % g->align)
        complain(a, "'%s' is not aligned to %zu bytes", g->name, g->align);
    if (write) check_alias(a, g);
}

void hd_trace_check(args *a)
{
    if (a->empty) return;
    for (int i = 0; i < a->n; i++) check_arg(a, &a->arg[i]);
}
