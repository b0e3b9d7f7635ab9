/* Attention of one block: h (normed input) to z.
 *
 *     qr = rms_norm(Wq_a·h)            q = rope(norm(Wq_b·qr))          one key = value row per
 *     kv = rope(rms_norm(Wkv·h))       stored as FP8 + BF16 rows        token, for all heads
 *     compressed layers pool groups of 4 or 128 tokens into further rows; ratio 4 chooses among
 *     them by an index of its own
 *     o = softmax(q·[window, chosen rows], sink)     z = Wo_b·(Wo_a·rope⁻¹(o)), Wo_a by groups
 *
 * The rows of this step are read from the workspace; they enter the ring when all queries have been
 * answered, so a chunk may be longer than the window. */
#include <math.h>

#include "model/probe.h"
#include "model/v4.h"

static hd_paged_rows paged(const hd_model *m, const hd_v4_step *step, hd_page_kind kind,
                           const void *pool)
{
    return (hd_paged_rows){
        .pool = pool, .page = step->page[kind], .max_pages = m->state.max_pages[kind]};
}

static hd_status queries(hd_model *m, const hd_v4_step *step, const hd_v4_block *b,
                         const float *cos_sin)
{
    const hd_config *c = &m->cfg;
    hd_v4_work *w = &m->work;
    int32_t n = step->rows.n_rows;
    HD_TRY(hd_v4_linear_act(m, n, w->act, b->wq_a, w->qr));
    hd_rms_norm_params norm = {.n_rows = n,
                               .dim = c->q_lora_rank,
                               .eps = c->rms_eps,
                               .x = w->qr,
                               .w = b->q_norm,
                               .y = w->qr};
    HD_TRY(hd_op_rms_norm_quant(m->stream, &(hd_rms_norm_quant_params){norm, w->act_qr}));
    HD_TRY(hd_probe_requantized(m, step, b->index, "qr", w->qr, c->q_lora_rank, w->act_qr));
    HD_TRY(hd_v4_linear_act(m, n, w->act_qr, b->wq_b, w->q));
    HD_TRY(hd_op_q_norm_rope(
        m->stream,
        &(hd_q_norm_rope_params){
            .n_rows = n, .n_heads = c->n_heads, .eps = c->rms_eps, .cos_sin = cos_sin, .q = w->q}));
    return hd_probe_heads(m, step, b->index, "q", w->q, c->n_heads, HD_HEAD_DIM);
}

static hd_status window_rows(hd_model *m, const hd_v4_step *step, const hd_v4_block *b,
                             const float *cos_sin)
{
    hd_v4_work *w = &m->work;
    int32_t n = step->rows.n_rows;
    HD_TRY(hd_v4_linear_act(m, n, w->act, b->wkv, w->kv));
    return hd_op_kv_norm_rope_pack(m->stream, &(hd_kv_norm_rope_pack_params){.n_rows = n,
                                                                             .eps = m->cfg.rms_eps,
                                                                             .x = w->kv,
                                                                             .w = b->kv_norm,
                                                                             .cos_sin = cos_sin,
                                                                             .rows = w->kv_rows});
}

/* Wkv·h and Wgate·h in FP32, then the pooled BF16 rows of the groups that end in this step. */
static hd_status pool(hd_model *m, const hd_v4_step *step, const hd_v4_compressor *comp,
                      int32_t ratio, int32_t width, float *carry)
{
    hd_v4_work *w = &m->work;
    const hd_v4_groups *g = ratio == HD_CSA_RATIO ? &step->csa : &step->hca;
    HD_TRY(hd_v4_linear_bf16(m, step->rows.n_rows, w->h, comp->wkv, HD_Y_F32, w->comp_k));
    HD_TRY(hd_v4_linear_bf16(m, step->rows.n_rows, w->h, comp->wgate, HD_Y_F32, w->comp_g));
    return hd_op_compress_pool(m->stream, &(hd_compress_pool_params){.rows = step->rows,
                                                                     .ratio = ratio,
                                                                     .width = width,
                                                                     .k = w->comp_k,
                                                                     .g = w->comp_g,
                                                                     .ape = comp->ape,
                                                                     .carry = carry,
                                                                     .n_out = g->n,
                                                                     .out_row = g->out_row,
                                                                     .out = w->comp_out});
}

static hd_status compressed_rows(hd_model *m, const hd_v4_step *step, const hd_v4_block *b)
{
    hd_v4_work *w = &m->work;
    const hd_v4_groups *g = b->ratio == HD_CSA_RATIO ? &step->csa : &step->hca;
    hd_v4_block_state *st = &m->state.block[b->index];
    HD_TRY(pool(m, step, &b->comp, b->ratio, HD_HEAD_DIM, st->carry));
    HD_TRY(
        hd_op_kv_norm_rope_pack(m->stream, &(hd_kv_norm_rope_pack_params){.n_rows = g->n,
                                                                          .eps = m->cfg.rms_eps,
                                                                          .x = w->comp_out,
                                                                          .w = b->comp.norm,
                                                                          .cos_sin = g->cos_sin,
                                                                          .rows = w->comp_rows}));
    HD_TRY(hd_probe_kv(m, step, b, g));
    return hd_op_scatter_rows(m->stream, &(hd_scatter_rows_params){.n_rows = g->n,
                                                                   .row_bytes = HD_KV_ROW_BYTES,
                                                                   .src = w->comp_rows,
                                                                   .row = g->dst_row,
                                                                   .dst = st->rows});
}

static hd_status index_keys(hd_model *m, const hd_v4_step *step, const hd_v4_block *b)
{
    hd_v4_work *w = &m->work;
    hd_stream *s = m->stream;
    const hd_v4_groups *g = &step->csa;
    hd_v4_block_state *st = &m->state.block[b->index];
    HD_TRY(pool(m, step, &b->index_comp, HD_CSA_RATIO, HD_INDEX_DIM, st->index_carry));
    HD_TRY(hd_op_rms_norm(s, &(hd_rms_norm_params){.n_rows = g->n,
                                                   .dim = HD_INDEX_DIM,
                                                   .eps = m->cfg.rms_eps,
                                                   .x = w->comp_out,
                                                   .w = b->index_comp.norm,
                                                   .y = w->comp_out}));
    HD_TRY(hd_op_rope(s, &(hd_rope_params){.n_rows = g->n,
                                           .n_heads = 1,
                                           .dim = HD_INDEX_DIM,
                                           .cos_sin = g->cos_sin,
                                           .x = w->comp_out}));
    HD_TRY(hd_op_index_pack(
        s, &(hd_index_pack_params){.n_rows = g->n, .x = w->comp_out, .rows = w->comp_rows}));
    HD_TRY(hd_probe_index_keys(m, b->index, g));
    return hd_op_scatter_rows(s, &(hd_scatter_rows_params){.n_rows = g->n,
                                                           .row_bytes = HD_INDEX_ROW_BYTES,
                                                           .src = w->comp_rows,
                                                           .row = g->dst_row,
                                                           .dst = st->index});
}

/* Which compressed rows each query sees. Few enough: all of them, and nothing is scored. */
static hd_status choose_rows(hd_model *m, const hd_v4_step *step, const hd_v4_block *b,
                             const int32_t **sel)
{
    const hd_config *c = &m->cfg;
    hd_v4_work *w = &m->work;
    hd_stream *s = m->stream;
    int32_t n = step->rows.n_rows, heads = c->index_n_heads;
    *sel = NULL;
    if (step->n_score <= c->index_topk && !m->probe) return HD_OK;
    HD_TRY(hd_v4_linear_act(m, n, w->act_qr, b->index_wq_b, w->index_q));
    HD_TRY(hd_op_rope(s, &(hd_rope_params){.n_rows = n,
                                           .n_heads = heads,
                                           .dim = HD_INDEX_DIM,
                                           .cos_sin = step->rope_yarn,
                                           .x = w->index_q}));
    HD_TRY(
        hd_op_hadamard_quant(s, &(hd_hadamard_quant_params){.n_rows = n * heads, .x = w->index_q}));
    HD_TRY(hd_probe_heads(m, step, b->index, "index_q", w->index_q, heads, HD_INDEX_DIM));
    HD_TRY(hd_v4_linear_bf16(m, n, w->h, b->index_proj, HD_Y_BF16, w->index_w));
    float factor = (float)(1.0 / sqrt((double)HD_INDEX_DIM) / sqrt((double)heads));
    HD_TRY(hd_op_index_topk(
        s,
        &(hd_index_topk_params){.rows = step->rows,
                                .n_heads = heads,
                                .k = c->index_topk,
                                .n_score = step->n_score,
                                .factor = factor,
                                .q = w->index_q,
                                .w = w->index_w,
                                .keys = paged(m, step, HD_PAGE_CSA, m->state.block[b->index].index),
                                .sel = w->sel,
                                .work = w->topk_work}));
    HD_TRY(hd_probe_selection(m, step, b->index));
    *sel = w->sel;
    return HD_OK;
}

static hd_status output_projection(hd_model *m, int32_t n, const hd_v4_block *b)
{
    const hd_config *c = &m->cfg;
    hd_v4_work *w = &m->work;
    HD_TRY(hd_op_linear(m->stream, &(hd_linear_params){.n_rows = n,
                                                       .n_groups = c->o_groups,
                                                       .x_kind = HD_X_BF16,
                                                       .y_kind = HD_Y_BF16,
                                                       .x = w->o,
                                                       .w = b->wo_a,
                                                       .y = w->oa}));
    HD_TRY(hd_v4_quantize(m, n, c->o_groups * c->o_lora_rank, w->oa, w->act));
    return hd_v4_linear_act(m, n, w->act, b->wo_b, w->z);
}

hd_status hd_v4_attention(hd_model *m, const hd_v4_step *step, const hd_v4_block *b,
                          hd_attn_kind kind)
{
    const hd_config *c = &m->cfg;
    hd_v4_work *w = &m->work;
    hd_stream *s = m->stream;
    hd_v4_block_state *st = &m->state.block[b->index];
    int32_t n = step->rows.n_rows;
    const float *cos_sin = b->ratio ? step->rope_yarn : step->rope_plain;
    const int32_t *sel = NULL;

    HD_TRY(hd_v4_quantize(m, n, c->dim, w->h, w->act));
    HD_TRY(queries(m, step, b, cos_sin));
    HD_TRY(window_rows(m, step, b, cos_sin));
    if (b->ratio)
        HD_TRY(compressed_rows(m, step, b));
    else
        HD_TRY(hd_probe_kv(m, step, b, NULL));
    if (b->ratio == HD_CSA_RATIO) {
        HD_TRY(index_keys(m, step, b));
        HD_TRY(choose_rows(m, step, b, &sel));
    }
    hd_page_kind rows_kind = b->ratio == HD_CSA_RATIO ? HD_PAGE_CSA : HD_PAGE_HCA;
    HD_TRY(hd_op_attention(
        s, &(hd_attention_params){.rows = step->rows,
                                  .kind = kind,
                                  .n_heads = c->n_heads,
                                  .scale = 0.04419417382415922f, /* 512^-1/2 */
                                  .q = w->q,
                                  .new_rows = w->kv_rows,
                                  .window = paged(m, step, HD_PAGE_WINDOW, st->window),
                                  .ratio = b->ratio,
                                  .compressed = paged(m, step, rows_kind, st->rows),
                                  .sel = sel,
                                  .n_sel = sel ? c->index_topk : 0,
                                  .sink = b->sink,
                                  .o = w->o}));
    HD_TRY(hd_probe_attention(m, step, b, sel));
    HD_TRY(hd_op_rope(s, &(hd_rope_params){.n_rows = n,
                                           .n_heads = c->n_heads,
                                           .dim = HD_HEAD_DIM,
                                           .inverse = true,
                                           .cos_sin = cos_sin,
                                           .x = w->o}));
    HD_TRY(output_projection(m, n, b));
    if (kind == HD_ATTN_DRAFT) return HD_OK; /* a draft leaves no trace */
    return hd_op_scatter_rows(s, &(hd_scatter_rows_params){.n_rows = n,
                                                           .row_bytes = HD_KV_ROW_BYTES,
                                                           .src = w->kv_rows,
                                                           .row = step->ring_row,
                                                           .dst = st->window});
}
