/* MTP, the draft head of the April releases.
 *
 * One more block over streams made of the model's streams at position p and the embedding of the
 * token at p + 1; its logits are for the token at p + 2. For a token further it is fed its own
 * streams and its own guess: nobody trained it for that, but the guess is checked anyway.
 * docs/numerics.md, "Draft heads". */
#include <string.h>

#include "model/draft.h"
#include "model/v4.h"

/* Further arrays of the step just run: the next ids, and the numbers 0 … n−1. */
static hd_status upload_mtp_arrays(hd_model *m, int32_t n, const int32_t *next_id,
                                   const int32_t **id, const int32_t **row)
{
    size_t bytes = (size_t)n * sizeof(int32_t);
    const void *dev_id, *dev_row;
    int32_t *host_id = hd_v4_meta_take(&m->meta, bytes, &dev_id);
    int32_t *host_row = hd_v4_meta_take(&m->meta, bytes, &dev_row);
    memcpy(host_id, next_id, bytes);
    for (int32_t i = 0; i < n; i++) host_row[i] = i;
    *id = dev_id;
    *row = dev_row;
    size_t at = (size_t)((const uint8_t *)dev_id - m->meta.dev);
    return m->dev->mem.upload(m->stream, m->meta.dev + at, m->meta.host + at, m->meta.used - at);
}

/* x_draft[t, j] = e_proj(enorm(embed(next))) + h_proj(hnorm(x[t, j])). x may be x_draft. */
static hd_status mtp_input(hd_model *m, int32_t n, const int32_t *id, const hd_bf16 *x)
{
    const hd_config *c = &m->cfg;
    hd_v4_work *w = &m->work;
    hd_stream *s = m->stream;
    int32_t n4 = n * HD_STREAMS;
    HD_TRY(hd_op_rms_norm(s, &(hd_rms_norm_params){.n_rows = n4,
                                                   .dim = c->dim,
                                                   .eps = c->rms_eps,
                                                   .x = x,
                                                   .w = m->w.mtp_hnorm,
                                                   .y = w->x_draft}));
    HD_TRY(hd_v4_quantize(m, n4, c->dim, w->x_draft, w->act));
    HD_TRY(hd_v4_linear_act(m, n4, w->act, m->w.mtp_h_proj, w->x_draft));
    HD_TRY(hd_op_embed(
        s,
        &(hd_embed_params){.n_rows = n, .n_copies = 1, .id = id, .table = m->w.embed, .y = w->h}));
    HD_TRY(hd_op_rms_norm(s, &(hd_rms_norm_params){.n_rows = n,
                                                   .dim = c->dim,
                                                   .eps = c->rms_eps,
                                                   .x = w->h,
                                                   .w = m->w.mtp_enorm,
                                                   .y = w->h}));
    HD_TRY(hd_v4_quantize(m, n, c->dim, w->h, w->act));
    HD_TRY(hd_v4_linear_act(m, n, w->act, m->w.mtp_e_proj, w->z));
    return hd_op_add(s, &(hd_add_params){.kind = HD_Y_BF16,
                                         .n_rows = n,
                                         .n_repeat = HD_STREAMS,
                                         .dim = c->dim,
                                         .a = w->z,
                                         .b = w->x_draft,
                                         .y = w->x_draft});
}

static hd_status submit_mtp(hd_model *m, const hd_v4_step *step, const int32_t *next_id,
                            float *logits)
{
    int32_t n = step->rows.n_rows;
    size_t v = (size_t)m->cfg.vocab_size;
    const int32_t *id, *row;
    HD_TRY(upload_mtp_arrays(m, n, next_id, &id, &row));
    HD_TRY(mtp_input(m, n, id, m->work.x));
    HD_TRY(hd_v4_block_forward(m, step, &m->w.stage[0], HD_ATTN_CAUSAL, m->work.x_draft));
    for (int32_t i = 0; i < n; i += HD_HEAD_ROWS) {
        int32_t k = n - i < HD_HEAD_ROWS ? n - i : HD_HEAD_ROWS;
        HD_TRY(hd_v4_head(m, m->work.x_draft, row + i, k, &m->w.draft_hc_head, m->w.draft_norm));
        HD_TRY(m->dev->mem.download(m->stream, logits + (size_t)i * v, m->work.logits,
                                    (size_t)k * v * sizeof(float)));
    }
    return HD_OK;
}

hd_status hd_v4_mtp(hd_model *m, const hd_v4_step *step, const int32_t *next_id, float *logits,
                    hd_err *err)
{
    hd_status st = submit_mtp(m, step, next_id, logits);
    return st == HD_OK ? hd_v4_finish(m, err) : hd_v4_abandon(m, st, err);
}

/* ---- guesses ----------------------------------------------------------------------------------*/

static hd_status guesses_of(hd_model *m, const int32_t *row, int32_t n, int32_t at,
                            const hd_v4_guesses *out)
{
    const hd_dev_mem_ops *mem = &m->dev->mem;
    hd_v4_work *w = &m->work;
    size_t v = (size_t)m->cfg.vocab_size;
    HD_TRY(hd_v4_head(m, w->x_draft, row, n, &m->w.draft_hc_head, m->w.draft_norm));
    HD_TRY(hd_op_argmax(
        m->stream, &(hd_argmax_params){
                       .n_rows = n, .dim = m->cfg.vocab_size, .x = w->logits, .id = w->draft_id}));
    if (out->logits)
        HD_TRY(mem->download(m->stream, out->logits + (size_t)at * v, w->logits,
                             (size_t)n * v * sizeof(float)));
    return mem->download(m->stream, out->id + at, w->draft_id, (size_t)n * sizeof(int32_t));
}

static hd_status submit_pass(hd_model *m, const hd_v4_mtp_pass *p, const hd_v4_step *step,
                             const int32_t *src, const hd_v4_guesses *out)
{
    hd_v4_work *w = &m->work;
    int32_t n = step->rows.n_rows;
    hd_bf16 *x = p->is_first ? w->x_draft : w->x; /* not where they come from */
    HD_TRY(hd_v4_begin(m));
    HD_TRY(hd_op_gather_rows(
        m->stream,
        &(hd_gather_rows_params){.n_rows = n,
                                 .row_bytes = sizeof *x * HD_STREAMS * (size_t)m->cfg.dim,
                                 .src = p->is_first ? w->x : w->x_draft,
                                 .row = src,
                                 .dst = x}));
    HD_TRY(mtp_input(m, n, step->id, x));
    HD_TRY(hd_v4_block_forward(m, step, &m->w.stage[0], HD_ATTN_CAUSAL, w->x_draft));
    for (int32_t i = 0; i < step->n_out_rows; i += HD_HEAD_ROWS) {
        int32_t k = step->n_out_rows - i < HD_HEAD_ROWS ? step->n_out_rows - i : HD_HEAD_ROWS;
        HD_TRY(guesses_of(m, step->out_id + i, k, i, out));
    }
    return HD_OK;
}

hd_status hd_v4_mtp_run(hd_model *m, const hd_v4_mtp_pass *p, hd_v4_guesses *out, hd_err *err)
{
    hd_v4_step step;
    const void *dev_src;
    hd_v4_step_build(m, p->part, p->n_parts, HD_ATTN_CAUSAL, &step);
    size_t bytes = (size_t)step.rows.n_rows * sizeof(int32_t);
    memcpy(hd_v4_meta_take(&m->meta, bytes, &dev_src), p->src, bytes);
    hd_status st = submit_pass(m, p, &step, dev_src, out);
    return st == HD_OK ? hd_v4_wait(m, &out->is_finite, err) : hd_v4_abandon(m, st, err);
}
