/* Draft heads: guesses at coming tokens from the model's own state.
 *
 * MTP (April releases): one more block over streams made of the model's streams at p and the
 * embedding of token p + 1; its logits are for token p + 2.
 * DSpark: every step leaves a view of three layers in the rings of the stages; a draft then runs a
 * block of [next token, noise, …] through the stages, all rows seeing each other, and a small
 * sequential head that knows the token before. It changes no state.
 * Loaded and run here so that they are proven; speculation itself is not in this file.
 * docs/numerics.md, "Draft heads". */
#include <string.h>

#include "model/v4.h"

/* main_norm(main_proj · targets), then each stage's own key = value row at the same position. */
hd_status hd_v4_dspark_observe(hd_model *m, const hd_v4_step *step)
{
    const hd_config *c = &m->cfg;
    hd_v4_work *w = &m->work;
    hd_stream *s = m->stream;
    int32_t n = step->rows.n_rows;
    HD_TRY(hd_v4_quantize(m, n, c->n_dspark_targets * c->dim, w->targets, w->act));
    HD_TRY(hd_v4_linear_act(m, n, w->act, m->w.main_proj, w->main_x));
    hd_rms_norm_params norm = {.n_rows = n,
                               .dim = c->dim,
                               .eps = c->rms_eps,
                               .x = w->main_x,
                               .w = m->w.main_norm,
                               .y = w->main_x};
    HD_TRY(hd_op_rms_norm_quant(s, &(hd_rms_norm_quant_params){norm, w->act}));
    for (int32_t i = 0; i < c->n_stages; i++) {
        const hd_v4_block *b = &m->w.stage[i];
        m->at = b->index;
        HD_TRY(hd_v4_linear_act(m, n, w->act, b->wkv, w->kv));
        HD_TRY(
            hd_op_kv_norm_rope_pack(s, &(hd_kv_norm_rope_pack_params){.n_rows = n,
                                                                      .eps = c->rms_eps,
                                                                      .x = w->kv,
                                                                      .w = b->kv_norm,
                                                                      .cos_sin = step->rope_plain,
                                                                      .rows = w->kv_rows}));
        HD_TRY(hd_op_scatter_rows(
            s, &(hd_scatter_rows_params){.n_rows = n,
                                         .row_bytes = HD_KV_ROW_BYTES,
                                         .src = w->kv_rows,
                                         .row = step->ring_row,
                                         .dst = m->state.block[b->index].window}));
    }
    return HD_OK;
}

/* ---- MTP --------------------------------------------------------------------------------------
 */

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

/* x_draft[t, j] = e_proj(enorm(embed(next))) + h_proj(hnorm(x[t, j])). */
static hd_status mtp_input(hd_model *m, int32_t n, const int32_t *id)
{
    const hd_config *c = &m->cfg;
    hd_v4_work *w = &m->work;
    hd_stream *s = m->stream;
    int32_t n4 = n * HD_STREAMS;
    HD_TRY(hd_op_rms_norm(s, &(hd_rms_norm_params){.n_rows = n4,
                                                   .dim = c->dim,
                                                   .eps = c->rms_eps,
                                                   .x = w->x,
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
    HD_TRY(mtp_input(m, n, id));
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

/* ---- DSpark -----------------------------------------------------------------------------------
 */

/* Draft i of the block: the token before it moves the logits of row i. Arrays of ops begin at
 * multiples of 16 bytes, hence a slot of four for each token, and a copy of the row. */
static hd_status sequential_head(hd_model *m, int32_t i, const hd_v4_draft_out *out)
{
    const hd_config *c = &m->cfg;
    const hd_dev_mem_ops *mem = &m->dev->mem;
    hd_v4_work *w = &m->work;
    hd_stream *s = m->stream;
    size_t at = (size_t)i, dim = (size_t)c->dim, v = (size_t)c->vocab_size;
    size_t dim_bytes = dim * sizeof(hd_bf16), row_bytes = v * sizeof(float);
    size_t rank_bytes = (size_t)c->dspark_markov_rank * sizeof(hd_bf16);
    const int32_t *before = w->draft_id + at * 4;
    int32_t *draft = w->draft_id + (at + 1) * 4;
    float *conf = w->conf + at * 4;
    HD_TRY(hd_op_embed(
        s,
        &(hd_embed_params){
            .n_rows = 1, .n_copies = 1, .id = before, .table = m->w.markov_w1, .y = w->markov_e}));
    HD_TRY(hd_v4_linear_bf16(m, 1, w->markov_e, m->w.markov_w2, HD_Y_F32, w->markov_bias));
    HD_TRY(mem->copy2d(s, w->draft_row, row_bytes, w->logits + at * v, row_bytes, row_bytes, 1));
    HD_TRY(hd_op_add(s, &(hd_add_params){.kind = HD_Y_F32,
                                         .n_rows = 1,
                                         .n_repeat = 1,
                                         .dim = c->vocab_size,
                                         .a = w->markov_bias,
                                         .b = w->draft_row,
                                         .y = w->draft_row}));
    HD_TRY(hd_op_find_nonfinite(s, &(hd_find_nonfinite_params){.kind = HD_Y_F32,
                                                               .n = c->vocab_size,
                                                               .x = w->draft_row,
                                                               .tag = c->n_layers + c->n_stages,
                                                               .flag = w->nonfinite}));
    HD_TRY(hd_op_argmax(
        s, &(hd_argmax_params){.n_rows = 1, .dim = c->vocab_size, .x = w->draft_row, .id = draft}));
    HD_TRY(mem->copy2d(s, w->conf_in, dim_bytes, w->y_out + at * dim, dim_bytes, dim_bytes, 1));
    HD_TRY(mem->copy2d(s, w->conf_in + dim, rank_bytes, w->markov_e, rank_bytes, rank_bytes, 1));
    HD_TRY(hd_v4_linear_bf16(m, 1, w->conf_in, m->w.confidence, HD_Y_F32, conf));
    HD_TRY(mem->download(s, out->logits + at * v, w->draft_row, row_bytes));
    HD_TRY(mem->download(s, out->tokens + at + 1, draft, sizeof *draft));
    return mem->download(s, out->confidence + at, conf, sizeof *conf);
}

static hd_status submit_dspark(hd_model *m, const hd_v4_step *step, const hd_v4_draft_out *out)
{
    const hd_config *c = &m->cfg;
    hd_v4_work *w = &m->work;
    HD_TRY(hd_v4_begin(m));
    HD_TRY(hd_op_embed(m->stream, &(hd_embed_params){.n_rows = step->rows.n_rows,
                                                     .n_copies = HD_STREAMS,
                                                     .id = step->id,
                                                     .table = m->w.embed,
                                                     .y = w->x_draft}));
    for (int32_t i = 0; i < c->n_stages; i++)
        HD_TRY(hd_v4_block_forward(m, step, &m->w.stage[i], HD_ATTN_DRAFT, w->x_draft));
    HD_TRY(hd_v4_head(m, w->x_draft, step->out_id, step->n_out_rows, &m->w.draft_hc_head,
                      m->w.draft_norm));
    HD_TRY(m->dev->mem.copy2d(m->stream, w->draft_id, sizeof(int32_t), step->id, sizeof(int32_t),
                              sizeof(int32_t), 1));
    for (int32_t i = 0; i < c->dspark_block_size; i++) HD_TRY(sequential_head(m, i, out));
    return HD_OK;
}

hd_status hd_v4_dspark(hd_model *m, hd_seq *seq, int32_t next_id, const hd_v4_draft_out *out,
                       hd_err *err)
{
    const hd_config *c = &m->cfg;
    int32_t ids[HD_MAX_DRAFT], n = c->dspark_block_size;
    ids[0] = out->tokens[0] = next_id;
    for (int32_t i = 1; i < n; i++) ids[i] = c->dspark_noise_id;
    hd_v4_part part = {.seq = seq, .ids = ids, .n = n, .pos0 = seq->len, .n_logits = n};
    hd_v4_step step;
    hd_v4_step_build(m, &part, 1, HD_ATTN_DRAFT, &step);
    hd_status st = submit_dspark(m, &step, out);
    return st == HD_OK ? hd_v4_finish(m, err) : hd_v4_abandon(m, st, err);
}
