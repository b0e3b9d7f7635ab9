/* The whole model: one step, from token ids to logits.
 *
 *     x = embed(id), copied to the four residual streams
 *     for each layer:   attention, then experts; each reads a mix of the streams and is merged back
 *     logits = head(norm(collapse(x)))       for the rows that want them
 *
 * A step has T rows of S sequences at any positions: prefill chunks and decode rows alike. State
 * (rings, compressed rows, carries) lives in pools that ops reach through the step's page tables.
 * Sub-layers are in v4_attn.c and v4_moe.c, the mixing of streams in v4_hc.c, draft heads in
 * v4_mtp.c and v4_dspark.c. Nothing here knows a backend; everything is queued on one stream.
 * Equations: docs/numerics.md. */
#include "model/probe.h"
#include "model/v4.h"

/* NaN or infinity in the streams behind block `index`: remember the first place. */
static hd_status watch_finite(hd_model *m, int32_t n_rows, int32_t index, const hd_bf16 *x)
{
    return hd_op_find_nonfinite(
        m->stream, &(hd_find_nonfinite_params){.kind = HD_Y_BF16,
                                               .n = (int64_t)n_rows * HD_STREAMS * m->cfg.dim,
                                               .x = x,
                                               .tag = index,
                                               .flag = m->work.nonfinite});
}

hd_status hd_v4_block_forward(hd_model *m, const hd_v4_step *step, const hd_v4_block *b,
                              hd_attn_kind kind, hd_bf16 *x)
{
    m->at = b->index;
    HD_TRY(hd_v4_hc_pre(m, step, b, false, x));
    HD_TRY(hd_v4_attention(m, step, b, kind));
    HD_TRY(hd_v4_hc_post(m, step, b, false, x));

    HD_TRY(hd_v4_hc_pre(m, step, b, true, x));
    HD_TRY(hd_v4_moe(m, step, b));
    HD_TRY(hd_v4_hc_post(m, step, b, true, x));
    return watch_finite(m, step->rows.n_rows, b->index, x);
}

/* DSpark looks at the mean of the streams behind some layers, side by side in `targets`. */
static hd_status collect_target(hd_model *m, const hd_v4_step *step, int32_t layer)
{
    const hd_config *c = &m->cfg;
    if (!m->has_draft || c->draft != HD_DRAFT_DSPARK) return HD_OK;
    for (int32_t i = 0; i < c->n_dspark_targets; i++)
        if (c->dspark_target_ids[i] == layer)
            HD_TRY(hd_op_stream_mean(
                m->stream,
                &(hd_stream_mean_params){.n_rows = step->rows.n_rows,
                                         .dim = c->dim,
                                         .x = m->work.x,
                                         .y = m->work.targets + (size_t)i * (size_t)c->dim,
                                         .y_stride = c->n_dspark_targets * c->dim}));
    return HD_OK;
}

hd_status hd_v4_forward(hd_model *m, const hd_v4_step *step)
{
    const hd_config *c = &m->cfg;
    hd_bf16 *x = m->work.x;
    HD_TRY(hd_op_embed(m->stream, &(hd_embed_params){.n_rows = step->rows.n_rows,
                                                     .n_copies = HD_STREAMS,
                                                     .id = step->id,
                                                     .table = m->w.embed,
                                                     .y = x}));
    for (int32_t l = 0; l < c->n_layers; l++) {
        HD_TRY(hd_probe_streams(m, step, l, "in", x));
        HD_TRY(hd_v4_block_forward(m, step, &m->w.layer[l], HD_ATTN_CAUSAL, x));
        HD_TRY(hd_probe_streams(m, step, l, "out", x));
        HD_TRY(collect_target(m, step, l));
    }
    if (m->has_draft && c->draft == HD_DRAFT_DSPARK) HD_TRY(hd_v4_dspark_observe(m, step));
    return HD_OK;
}

hd_status hd_v4_head(hd_model *m, const hd_bf16 *x, const int32_t *row, int32_t n,
                     const hd_v4_hc *hc, const hd_bf16 *norm)
{
    const hd_config *c = &m->cfg;
    hd_v4_work *w = &m->work;
    hd_stream *s = m->stream;
    m->at = c->n_layers + c->n_stages;
    HD_TRY(hd_op_gather_rows(
        s, &(hd_gather_rows_params){.n_rows = n,
                                    .row_bytes = sizeof(hd_bf16) * HD_STREAMS * (size_t)c->dim,
                                    .src = x,
                                    .row = row,
                                    .dst = w->x_out}));
    HD_TRY(hd_op_hc_mix(s, &(hd_hc_mix_params){.n_rows = n,
                                               .dim = c->dim,
                                               .head = true,
                                               .rms_eps = c->rms_eps,
                                               .hc_eps = c->hc_eps,
                                               .x = w->x_out,
                                               .fn = hc->fn,
                                               .scale = hc->scale,
                                               .base = hc->base,
                                               .mix = w->mix,
                                               .pre = w->pre}));
    HD_TRY(hd_op_hc_collapse(
        s, &(hd_hc_collapse_params){
               .n_rows = n, .dim = c->dim, .x = w->x_out, .pre = w->pre, .y = w->y_out}));
    HD_TRY(hd_op_rms_norm(
        s,
        &(hd_rms_norm_params){
            .n_rows = n, .dim = c->dim, .eps = c->rms_eps, .x = w->y_out, .w = norm, .y = w->h}));
    HD_TRY(hd_v4_linear_bf16(m, n, w->h, m->w.head, HD_Y_F32, w->logits));
    return hd_op_find_nonfinite(s, &(hd_find_nonfinite_params){.kind = HD_Y_F32,
                                                               .n = (int64_t)n * c->vocab_size,
                                                               .x = w->logits,
                                                               .tag = c->n_layers + c->n_stages,
                                                               .flag = w->nonfinite});
}
