/* DSpark, the draft head of the later releases.
 *
 * Every step leaves a view of three layers in the rings of the stages. A draft runs a block of
 * [next token, noise, ...] through the stages, all rows of a sequence seeing each other, and then a
 * small head token by token, which knows the token before. It changes no state. Several sequences
 * go together. docs/numerics.md, "Draft heads". */
#include <string.h>

#include "model/draft.h"
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

/* ---- a draft ----------------------------------------------------------------------------------*/

int32_t hd_v4_dspark_max_seqs(const hd_model *m)
{
    int32_t n = HD_HEAD_ROWS / m->cfg.dspark_block_size;
    return n < HD_DRAFT_SEQS ? n : HD_DRAFT_SEQS;
}

static hd_status submit_block(hd_model *m, const hd_v4_step *step)
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
    return hd_v4_head(m, w->x_draft, step->out_id, step->n_out_rows, &m->w.draft_hc_head,
                      m->w.draft_norm);
}

hd_status hd_v4_dspark_begin(hd_model *m, hd_seq *const *seq, const int32_t *next_id, int32_t n,
                             hd_err *err)
{
    hd_v4_part part[HD_DRAFT_SEQS];
    int32_t ids[HD_DRAFT_SEQS][HD_MAX_DRAFT], block = m->cfg.dspark_block_size;
    HD_ASSERT(n > 0 && n <= hd_v4_dspark_max_seqs(m));
    for (int32_t s = 0; s < n; s++) {
        ids[s][0] = next_id[s];
        for (int32_t i = 1; i < block; i++) ids[s][i] = m->cfg.dspark_noise_id;
        part[s] = (hd_v4_part){
            .seq = seq[s], .ids = ids[s], .n = block, .pos0 = seq[s]->len, .n_logits = block};
    }
    hd_v4_step step;
    hd_v4_step_build(m, part, n, HD_ATTN_DRAFT, &step);
    hd_status st = submit_block(m, &step);
    return st == HD_OK ? HD_OK : hd_v4_abandon(m, st, err);
}

/* Row i of each sequence's block, `width` bytes, side by side. */
static hd_status take_row(hd_model *m, int32_t i, int32_t n, void *dst, size_t pitch,
                          const void *src, size_t width)
{
    size_t block = (size_t)m->cfg.dspark_block_size;
    return m->dev->mem.copy2d(m->stream, dst, pitch, (const uint8_t *)src + (size_t)i * width,
                              block * width, width, (size_t)n);
}

/* y and the embedding of the token before it, side by side, to one number. */
static hd_status confidence(hd_model *m, int32_t i, int32_t n)
{
    hd_v4_work *w = &m->work;
    size_t dim = (size_t)m->cfg.dim * sizeof(hd_bf16);
    size_t rank = (size_t)m->cfg.dspark_markov_rank * sizeof(hd_bf16), pitch = dim + rank;
    HD_TRY(take_row(m, i, n, w->conf_in, pitch, w->y_out, dim));
    HD_TRY(m->dev->mem.copy2d(m->stream, (uint8_t *)w->conf_in + dim, pitch, w->markov_e, rank,
                              rank, (size_t)n));
    return hd_v4_linear_bf16(m, n, w->conf_in, m->w.confidence, HD_Y_F32, w->conf);
}

/* Token i of each block: the token before it moves the logits of row i. */
static hd_status submit_token(hd_model *m, int32_t i, const int32_t *before, int32_t n,
                              const hd_v4_guesses *out)
{
    const hd_config *c = &m->cfg;
    const hd_dev_mem_ops *mem = &m->dev->mem;
    hd_v4_work *w = &m->work;
    hd_stream *s = m->stream;
    size_t v = (size_t)c->vocab_size, n_bytes = (size_t)n * sizeof(int32_t);
    const void *dev_before;
    int32_t *host = hd_v4_meta_take(&m->meta, n_bytes, &dev_before);
    memcpy(host, before, n_bytes);
    HD_TRY(
        mem->upload(s, m->meta.dev + ((const uint8_t *)dev_before - m->meta.dev), host, n_bytes));
    HD_TRY(hd_op_embed(s, &(hd_embed_params){.n_rows = n,
                                             .n_copies = 1,
                                             .id = dev_before,
                                             .table = m->w.markov_w1,
                                             .y = w->markov_e}));
    HD_TRY(hd_v4_linear_bf16(m, n, w->markov_e, m->w.markov_w2, HD_Y_F32, w->markov_bias));
    HD_TRY(take_row(m, i, n, w->draft_row, v * sizeof(float), w->logits, v * sizeof(float)));
    HD_TRY(hd_op_add(s, &(hd_add_params){.kind = HD_Y_F32,
                                         .n_rows = n,
                                         .n_repeat = 1,
                                         .dim = c->vocab_size,
                                         .a = w->markov_bias,
                                         .b = w->draft_row,
                                         .y = w->draft_row}));
    HD_TRY(hd_op_find_nonfinite(s, &(hd_find_nonfinite_params){.kind = HD_Y_F32,
                                                               .n = (int64_t)n * c->vocab_size,
                                                               .x = w->draft_row,
                                                               .tag = c->n_layers + c->n_stages,
                                                               .flag = w->nonfinite}));
    HD_TRY(hd_op_argmax(
        s, &(hd_argmax_params){
               .n_rows = n, .dim = c->vocab_size, .x = w->draft_row, .id = w->draft_id}));
    HD_TRY(confidence(m, i, n));
    if (out->logits)
        HD_TRY(mem->download(s, out->logits, w->draft_row, (size_t)n * v * sizeof(float)));
    HD_TRY(mem->download(s, out->confidence, w->conf, (size_t)n * sizeof(float)));
    return mem->download(s, out->id, w->draft_id, n_bytes);
}

hd_status hd_v4_dspark_next(hd_model *m, int32_t i, const int32_t *before, int32_t n,
                            hd_v4_guesses *out, hd_err *err)
{
    hd_status st = submit_token(m, i, before, n, out);
    return st == HD_OK ? hd_v4_wait(m, &out->is_finite, err) : hd_v4_abandon(m, st, err);
}

hd_status hd_v4_dspark(hd_model *m, hd_seq *seq, int32_t next_id, const hd_v4_draft_out *out,
                       hd_err *err)
{
    HD_TRY(hd_v4_dspark_begin(m, &seq, &next_id, 1, err));
    out->tokens[0] = next_id;
    for (int32_t i = 0; i < m->cfg.dspark_block_size; i++) {
        hd_v4_guesses one = {.id = out->tokens + i + 1,
                             .logits = out->logits + (size_t)i * (size_t)m->cfg.vocab_size,
                             .confidence = out->confidence + i};
        HD_TRY(hd_v4_dspark_next(m, i, out->tokens + i, 1, &one, err));
    }
    return hd_v4_finish(m, err);
}
