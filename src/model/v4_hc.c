/* Hyper-connections around a sub-layer: from four streams to its input, and back.
 *
 *     pre, post, comb = mix(x)            y = Σ_j pre[j]·x[j]         h = rms_norm(y)
 *     z = sublayer(h)                     x'[k] = post[k]·z + Σ_j comb[j,k]·x[j]
 *
 * post and comb stay in the workspace between the two halves. docs/numerics.md, "Streams". */
#include "model/probe.h"
#include "model/v4.h"

hd_status hd_v4_hc_pre(hd_model *m, const hd_v4_step *step, const hd_v4_block *b, bool ffn,
                       const hd_bf16 *x)
{
    const hd_config *c = &m->cfg;
    hd_v4_work *w = &m->work;
    const hd_v4_hc *hc = ffn ? &b->hc_ffn : &b->hc_attn;
    HD_TRY(hd_op_hc_pre(m->stream, &(hd_hc_pre_params){.mix = {.n_rows = step->rows.n_rows,
                                                               .dim = c->dim,
                                                               .n_iters = HD_SINKHORN_ITERS,
                                                               .rms_eps = c->rms_eps,
                                                               .hc_eps = c->hc_eps,
                                                               .x = x,
                                                               .fn = hc->fn,
                                                               .scale = hc->scale,
                                                               .base = hc->base,
                                                               .mix = w->mix,
                                                               .pre = w->pre,
                                                               .post = w->post,
                                                               .comb = w->comb},
                                                       .norm = ffn ? b->ffn_norm : b->attn_norm,
                                                       .y = w->h}));
    return hd_probe_hc(m, step, b, ffn, x);
}

hd_status hd_v4_hc_post(hd_model *m, const hd_v4_step *step, const hd_v4_block *b, bool ffn,
                        hd_bf16 *x)
{
    hd_v4_work *w = &m->work;
    HD_TRY(hd_probe_rows(m, step, b->index, ffn ? "ffn_out" : "attn_out", w->z, m->cfg.dim));
    return hd_op_hc_merge(m->stream, &(hd_hc_merge_params){.n_rows = step->rows.n_rows,
                                                           .dim = m->cfg.dim,
                                                           .z = w->z,
                                                           .x = x,
                                                           .post = w->post,
                                                           .comb = w->comb,
                                                           .y = x});
}
