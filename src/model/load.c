/* From a checkpoint to device weights.
 *
 * hd_names_resolve has checked that every tensor is there with its dtype and shape, so this file
 * only says which name goes where. Matrices are packed by the device (which may borrow the
 * mapping), small vectors are adopted. Block scales outside 2^±60 are refused for the dense
 * matrices: beyond it the canonical sums could meet subnormals (docs/numerics.md); the experts'
 * are too many to read at start. */
#include <string.h>

#include "base/mem.h"
#include "model/names.h"
#include "model/v4.h"

typedef struct loader {
    hd_model *m;
    int32_t block;        /* whose tensors are looked up; −1: the global ones */
    const void **data;    /* [n_experts + 1] */
    const void **scale;   /* same */
    uint64_t total_bytes; /* of the checkpoint, for progress */
    void (*progress)(void *ctx, uint64_t done, uint64_t total);
    void *progress_ctx;
    hd_err *err;
} loader;

hd_status hd_v4_open_checkpoint(hd_model *m, const char *dir, hd_err *err)
{
    HD_TRY(hd_config_load(dir, &m->cfg, err));
    HD_TRY(hd_ckpt_open(dir, 0, NULL, &m->ckpt, err));
    HD_TRY(hd_names_resolve(m->ckpt, &m->cfg, NULL, err));
    return hd_names_check(m->ckpt, &m->cfg, NULL, NULL, err);
}

/* ---- tensors ------------------------------------------------------------------------------------
 */

static hd_status look_up(loader *l, hd_weight_id id, int32_t expert, bool is_scale,
                         const hd_st_tensor **out)
{
    hd_tensor_spec spec;
    bool known = hd_names_spec(&l->m->cfg, id, l->block, expert, is_scale, &spec);
    HD_ASSERT(known); /* load_block asks only for what its kind of block has */
    const hd_ckpt_entry *e = hd_names_find(l->m->ckpt, hd_str_from(spec.name));
    if (!e || !e->tensor || !e->tensor->data)
        HD_FAIL(l->err, HD_E_FORMAT, "the checkpoint lacks tensor '%s'", spec.name);
    *out = e->tensor;
    return HD_OK;
}

static hd_status find(loader *l, hd_weight_id id, int32_t expert, bool is_scale,
                      const hd_st_tensor **out)
{
    HD_TRY(look_up(l, id, expert, is_scale, out));
    l->m->w.bytes += (*out)->n_bytes;
    if (l->progress) l->progress(l->progress_ctx, l->m->w.bytes, l->total_bytes);
    return HD_OK;
}

static hd_status vector(loader *l, hd_weight_id id, const void **out)
{
    const hd_st_tensor *t;
    HD_TRY(find(l, id, -1, false, &t));
    return l->m->dev->mem.adopt(l->m->dev, t->data, t->n_bytes, hd_dtype_size(t->dtype), out,
                                l->err);
}

#define VECTOR(l, id, field) HD_TRY(vector(l, id, (const void **)&(field)))

static bool is_quantised(hd_weight_format f)
{
    return f == HD_WEIGHT_FP4 || f == HD_WEIGHT_FP8;
}

static hd_weight_format format_of(const hd_st_tensor *t)
{
    switch (t->dtype) {
    case HD_DTYPE_F32: return HD_WEIGHT_F32;
    case HD_DTYPE_BF16: return HD_WEIGHT_BF16;
    case HD_DTYPE_I8: return HD_WEIGHT_FP4;
    default: return HD_WEIGHT_FP8;
    }
}

static hd_status pack(loader *l, const hd_st_tensor *t, int32_t n_parts, hd_weight **out)
{
    hd_weight_desc d = {.format = format_of(t),
                        .rows = (int32_t)t->shape[0],
                        .cols = (int32_t)t->shape[1],
                        .n_parts = n_parts,
                        .data = l->data};
    if (d.format == HD_WEIGHT_FP4) d.cols *= 2;
    if (is_quantised(d.format)) d.scale = l->scale;
    return l->m->dev->mem.pack(l->m->dev, &d, out, l->err);
}

static hd_status check_scales(loader *l, const hd_st_tensor *scale)
{
    for (uint64_t i = 0; i < scale->n_bytes; i++)
        if (scale->data[i] < 127 - 60 || scale->data[i] > 127 + 60)
            HD_FAIL(l->err, HD_E_FORMAT,
                    "tensor '%.*s' holds block scale %u at element %llu, expected 67 to 187 "
                    "(2^-60 to 2^60)",
                    HD_STR_ARG(scale->name), scale->data[i], (unsigned long long)i);
    return HD_OK;
}

static hd_status matrix(loader *l, hd_weight_id id, hd_weight **out)
{
    const hd_st_tensor *t, *scale;
    HD_TRY(find(l, id, -1, false, &t));
    l->data[0] = t->data;
    if (is_quantised(format_of(t))) {
        HD_TRY(find(l, id, -1, true, &scale));
        HD_TRY(check_scales(l, scale));
        l->scale[0] = scale->data;
    }
    return pack(l, t, 1, out);
}

static hd_status experts(loader *l, hd_weight_id id, hd_weight **out)
{
    const hd_st_tensor *t = NULL, *scale;
    int32_t n = l->m->cfg.n_experts;
    for (int32_t e = 0; e < n; e++) {
        HD_TRY(find(l, id, e, false, &t));
        HD_TRY(find(l, id, e, true, &scale));
        l->data[e] = t->data;
        l->scale[e] = scale->data;
    }
    return pack(l, t, n, out);
}

/* ---- blocks -------------------------------------------------------------------------------------
 */

/* fn, base, scale have consecutive ids. */
static hd_status load_hc(loader *l, hd_weight_id fn, hd_v4_hc *hc)
{
    HD_TRY(matrix(l, fn, &hc->fn));
    VECTOR(l, fn + 1, hc->base);
    VECTOR(l, fn + 2, hc->scale);
    return HD_OK;
}

static hd_status load_compressor(loader *l, hd_v4_compressor *c)
{
    VECTOR(l, HD_W_COMP_APE, c->ape);
    HD_TRY(matrix(l, HD_W_COMP_WKV, &c->wkv));
    HD_TRY(matrix(l, HD_W_COMP_WGATE, &c->wgate));
    VECTOR(l, HD_W_COMP_NORM, c->norm);
    return HD_OK;
}

static hd_status load_indexer(loader *l, hd_v4_block *b)
{
    hd_v4_compressor *c = &b->index_comp;
    HD_TRY(matrix(l, HD_W_INDEX_WQ_B, &b->index_wq_b));
    HD_TRY(matrix(l, HD_W_INDEX_WEIGHTS, &b->index_proj));
    VECTOR(l, HD_W_INDEX_APE, c->ape);
    HD_TRY(matrix(l, HD_W_INDEX_WKV, &c->wkv));
    HD_TRY(matrix(l, HD_W_INDEX_WGATE, &c->wgate));
    VECTOR(l, HD_W_INDEX_NORM, c->norm);
    return HD_OK;
}

static hd_status load_attention(loader *l, hd_v4_block *b)
{
    VECTOR(l, HD_W_ATTN_SINK, b->sink);
    HD_TRY(matrix(l, HD_W_WQ_A, &b->wq_a));
    VECTOR(l, HD_W_Q_NORM, b->q_norm);
    HD_TRY(matrix(l, HD_W_WQ_B, &b->wq_b));
    HD_TRY(matrix(l, HD_W_WKV, &b->wkv));
    VECTOR(l, HD_W_KV_NORM, b->kv_norm);
    HD_TRY(matrix(l, HD_W_WO_A, &b->wo_a));
    HD_TRY(matrix(l, HD_W_WO_B, &b->wo_b));
    if (b->ratio) HD_TRY(load_compressor(l, &b->comp));
    if (b->ratio == HD_CSA_RATIO) HD_TRY(load_indexer(l, b));
    return HD_OK;
}

static hd_status load_experts(loader *l, hd_v4_block *b, bool hash_routed)
{
    HD_TRY(matrix(l, HD_W_GATE, &b->gate));
    if (hash_routed)
        VECTOR(l, HD_W_GATE_TID2EID, b->tid2eid);
    else
        VECTOR(l, HD_W_GATE_BIAS, b->gate_bias);
    HD_TRY(experts(l, HD_W_EXPERT_W1, &b->w1));
    HD_TRY(experts(l, HD_W_EXPERT_W3, &b->w3));
    HD_TRY(experts(l, HD_W_EXPERT_W2, &b->w2));
    HD_TRY(matrix(l, HD_W_SHARED_W1, &b->s1));
    HD_TRY(matrix(l, HD_W_SHARED_W3, &b->s3));
    return matrix(l, HD_W_SHARED_W2, &b->s2);
}

static hd_status load_block(loader *l, hd_v4_block *b, int32_t index, int32_t ratio,
                            bool hash_routed)
{
    l->block = b->index = index;
    b->ratio = ratio;
    HD_TRY(load_hc(l, HD_W_HC_ATTN_FN, &b->hc_attn));
    HD_TRY(load_hc(l, HD_W_HC_FFN_FN, &b->hc_ffn));
    VECTOR(l, HD_W_ATTN_NORM, b->attn_norm);
    VECTOR(l, HD_W_FFN_NORM, b->ffn_norm);
    HD_TRY(load_attention(l, b));
    return load_experts(l, b, hash_routed);
}

/* An id of tid2eid outside the experts would be read as an offset: refuse it here, once. */
static hd_status check_tid2eid(loader *l)
{
    const hd_config *c = &l->m->cfg;
    const hd_st_tensor *t;
    HD_TRY(look_up(l, HD_W_GATE_TID2EID, -1, false, &t));
    for (uint64_t i = 0; i < t->n_bytes / 8; i++) {
        int64_t e;
        memcpy(&e, t->data + i * 8, 8);
        if (e < 0 || e >= c->n_experts)
            HD_FAIL(l->err, HD_E_FORMAT, "tensor '%.*s' holds expert %lld, expected 0 to %d",
                    HD_STR_ARG(t->name), (long long)e, c->n_experts - 1);
    }
    return HD_OK;
}

static hd_status load_main(loader *l)
{
    hd_model *m = l->m;
    const hd_config *c = &m->cfg;
    l->block = -1;
    HD_TRY(matrix(l, HD_W_EMBED, &m->w.embed));
    HD_TRY(matrix(l, HD_W_HEAD, &m->w.head));
    VECTOR(l, HD_W_NORM, m->w.norm);
    HD_TRY(load_hc(l, HD_W_HC_HEAD_FN, &m->w.hc_head));
    for (int32_t i = 0; i < c->n_layers; i++) {
        bool hash_routed = i < c->n_hash_layers;
        l->block = i;
        if (hash_routed) HD_TRY(check_tid2eid(l));
        HD_TRY(load_block(l, &m->w.layer[i], i, c->ratio[i], hash_routed));
    }
    return HD_OK;
}

static hd_status load_draft(loader *l)
{
    hd_model *m = l->m;
    const hd_config *c = &m->cfg;
    for (int32_t i = 0; i < c->n_stages; i++)
        HD_TRY(load_block(l, &m->w.stage[i], c->n_layers + i, 0, false));
    /* The head's own tensors lie in the last stage, which is the only one for MTP. */
    VECTOR(l, HD_W_DRAFT_NORM, m->w.draft_norm);
    HD_TRY(load_hc(l, HD_W_DRAFT_HC_HEAD_FN, &m->w.draft_hc_head));
    if (c->draft == HD_DRAFT_MTP) {
        HD_TRY(matrix(l, HD_W_E_PROJ, &m->w.mtp_e_proj));
        HD_TRY(matrix(l, HD_W_H_PROJ, &m->w.mtp_h_proj));
        VECTOR(l, HD_W_ENORM, m->w.mtp_enorm);
        VECTOR(l, HD_W_HNORM, m->w.mtp_hnorm);
        return HD_OK;
    }
    HD_TRY(matrix(l, HD_W_MARKOV_W1, &m->w.markov_w1));
    HD_TRY(matrix(l, HD_W_MARKOV_W2, &m->w.markov_w2));
    HD_TRY(matrix(l, HD_W_CONFIDENCE, &m->w.confidence));
    l->block = c->n_layers; /* what reads the model's layers lies in the first */
    HD_TRY(matrix(l, HD_W_MAIN_PROJ, &m->w.main_proj));
    VECTOR(l, HD_W_MAIN_NORM, m->w.main_norm);
    return HD_OK;
}

static uint64_t checkpoint_bytes(const hd_ckpt *ck)
{
    uint64_t n = 0;
    for (size_t i = 0; i < hd_ckpt_count(ck); i++)
        if (hd_ckpt_at(ck, i)->tensor) n += hd_ckpt_at(ck, i)->tensor->n_bytes;
    return n;
}

hd_status hd_v4_load(hd_model *m, const hd_model_opts *opts, hd_err *err)
{
    const hd_config *c = &m->cfg;
    hd_status st = HD_OK;
    loader l = {.m = m,
                .progress = opts->progress,
                .progress_ctx = opts->progress_ctx,
                .total_bytes = checkpoint_bytes(m->ckpt),
                .err = err};
    l.data = hd_mem_try_calloc((size_t)c->n_experts + 1, sizeof *l.data);
    l.scale = hd_mem_try_calloc((size_t)c->n_experts + 1, sizeof *l.scale);
    m->w.layer = hd_mem_try_calloc((size_t)c->n_layers, sizeof *m->w.layer);
    m->w.stage = hd_mem_try_calloc((size_t)c->n_stages + 1, sizeof *m->w.stage);
    if (!l.data || !l.scale || !m->w.layer || !m->w.stage)
        HD_TRY_GOTO(st, out, HD_SET_ERR(err, HD_E_NOMEM, "out of memory for the weight table"));
    HD_TRY_GOTO(st, out, load_main(&l));
    if (m->has_draft) HD_TRY_GOTO(st, out, load_draft(&l));
    if (l.progress) l.progress(l.progress_ctx, l.total_bytes, l.total_bytes);
out:
    hd_mem_free(l.data);
    hd_mem_free(l.scale);
    return st;
}

/* ---- and back -----------------------------------------------------------------------------------
 */

static void release_hc(hd_dev *d, hd_v4_hc *hc)
{
    d->mem.unpack(d, hc->fn);
    d->mem.release(d, hc->base);
    d->mem.release(d, hc->scale);
}

static void release_compressor(hd_dev *d, hd_v4_compressor *c)
{
    d->mem.unpack(d, c->wkv);
    d->mem.unpack(d, c->wgate);
    d->mem.release(d, c->ape);
    d->mem.release(d, c->norm);
}

static void release_block(hd_dev *d, hd_v4_block *b)
{
    hd_weight *w[] = {b->wq_a, b->wq_b, b->wkv, b->wo_a, b->wo_b, b->index_wq_b, b->index_proj,
                      b->gate, b->w1,   b->w3,  b->w2,   b->s1,   b->s3,         b->s2};
    const void *v[] = {b->attn_norm, b->ffn_norm,  b->q_norm, b->kv_norm,
                       b->sink,      b->gate_bias, b->tid2eid};
    for (size_t i = 0; i < HD_COUNT(w); i++) d->mem.unpack(d, w[i]);
    for (size_t i = 0; i < HD_COUNT(v); i++) d->mem.release(d, v[i]);
    release_hc(d, &b->hc_attn);
    release_hc(d, &b->hc_ffn);
    release_compressor(d, &b->comp);
    release_compressor(d, &b->index_comp);
}

void hd_v4_unload(hd_model *m)
{
    hd_v4_weights *w = &m->w;
    hd_dev *d = m->dev;
    hd_weight *packed[] = {w->embed,     w->head,      w->mtp_e_proj, w->mtp_h_proj,
                           w->main_proj, w->markov_w1, w->markov_w2,  w->confidence};
    const void *adopted[] = {w->norm, w->mtp_enorm, w->mtp_hnorm, w->main_norm, w->draft_norm};
    for (size_t i = 0; i < HD_COUNT(packed); i++) d->mem.unpack(d, packed[i]);
    for (size_t i = 0; i < HD_COUNT(adopted); i++) d->mem.release(d, adopted[i]);
    release_hc(d, &w->hc_head);
    release_hc(d, &w->draft_hc_head);
    for (int32_t i = 0; w->layer && i < m->cfg.n_layers; i++) release_block(d, &w->layer[i]);
    for (int32_t i = 0; w->stage && i < m->cfg.n_stages; i++) release_block(d, &w->stage[i]);
    hd_mem_free(w->layer);
    hd_mem_free(w->stage);
    *w = (hd_v4_weights){0};
}
