/* The workspace of a step: sized once for the most rows that a step may have.
 *
 * One device allocation; hd_v4_work's pointers are offsets into it. Nothing in it outlives a step
 * except what the draft head reads right behind it. */
#include "base/mem.h"
#include "model/v4.h"

#define ALIGNMENT 256u

/* A bump pointer over the block; with base NULL it only counts. */
typedef struct bump {
    uint8_t *base;
    size_t used;
} bump;

static void *take(bump *b, size_t n, size_t size)
{
    void *p = b->base ? b->base + b->used : NULL;
    b->used += (n * size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
    return p;
}

static size_t max_size(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* The widest quantised activation of the model. */
static size_t act_size(const hd_model *m, int32_t rows)
{
    const hd_config *c = &m->cfg;
    const hd_dev *d = m->dev;
    size_t n = hd_act_bytes(d, rows, c->dim);
    n = max_size(n, hd_act_bytes(d, rows, c->o_groups * c->o_lora_rank));
    if (m->has_draft && c->draft == HD_DRAFT_DSPARK)
        n = max_size(n, hd_act_bytes(d, rows, c->n_dspark_targets * c->dim));
    if (m->has_draft && c->draft == HD_DRAFT_MTP)
        n = max_size(n, hd_act_bytes(d, (int64_t)rows * HD_STREAMS, c->dim));
    return n;
}

static size_t topk_work(const hd_model *m, int32_t rows)
{
    hd_index_topk_params p = {
        .rows = {.n_rows = rows, .n_seqs = m->max_seqs, .end_pos = m->max_ctx},
        .n_heads = m->cfg.index_n_heads,
        .k = m->cfg.index_topk,
        .n_score = m->max_ctx / HD_CSA_RATIO};
    return hd_dev_work_bytes(m->dev, HD_OP_index_topk, &p);
}

static size_t moe_work(const hd_model *m, int32_t rows)
{
    const hd_config *c = &m->cfg;
    const hd_v4_block *b = &m->w.layer[0];
    hd_moe_experts_params p = {.n_rows = rows * c->n_active_experts,
                               .n_x_rows = rows,
                               .divisor = c->n_active_experts,
                               .w1 = b->w1,
                               .w3 = b->w3,
                               .w2 = b->w2};
    size_t routed = hd_dev_work_bytes(m->dev, HD_OP_moe_experts, &p);
    p = (hd_moe_experts_params){
        .n_rows = rows, .n_x_rows = rows, .divisor = 1, .w1 = b->s1, .w3 = b->s3, .w2 = b->s2};
    return max_size(routed, hd_dev_work_bytes(m->dev, HD_OP_moe_experts, &p));
}

static void take_attention(const hd_model *m, hd_v4_work *w, bump *b, size_t t)
{
    const hd_config *c = &m->cfg;
    size_t heads = (size_t)c->n_heads * HD_HEAD_DIM;
    w->qr = take(b, t * (size_t)c->q_lora_rank, sizeof(hd_bf16));
    w->act_qr = take(b, hd_act_bytes(m->dev, (int64_t)t, c->q_lora_rank), 1);
    w->q = take(b, t * heads, sizeof(hd_bf16));
    w->o = take(b, t * heads, sizeof(hd_bf16));
    w->kv = take(b, t * HD_HEAD_DIM, sizeof(hd_bf16));
    w->kv_rows = take(b, t, HD_KV_ROW_BYTES);
    w->comp_k = take(b, t * 2 * HD_HEAD_DIM, sizeof(float));
    w->comp_g = take(b, t * 2 * HD_HEAD_DIM, sizeof(float));
    w->comp_out = take(b, t * HD_HEAD_DIM, sizeof(hd_bf16));
    w->comp_rows = take(b, t, HD_KV_ROW_BYTES);
    w->index_q = take(b, t * (size_t)c->index_n_heads * HD_INDEX_DIM, sizeof(hd_bf16));
    w->index_w = take(b, t * (size_t)c->index_n_heads, sizeof(hd_bf16));
    w->sel = take(b, t * (size_t)c->index_topk, sizeof(int32_t));
    w->topk_work = take(b, topk_work(m, (int32_t)t), 1);
    w->oa = take(b, t * (size_t)c->o_groups * (size_t)c->o_lora_rank, sizeof(hd_bf16));
}

static void take_experts(const hd_model *m, hd_v4_work *w, bump *b, size_t t)
{
    const hd_config *c = &m->cfg;
    size_t choices = t * (size_t)c->n_active_experts;
    w->route_z = take(b, t * (size_t)c->n_experts, sizeof(float));
    w->expert = take(b, choices, sizeof(int32_t));
    w->route_w = take(b, choices, sizeof(float));
    w->order = take(b, choices, sizeof(int32_t));
    w->place = take(b, choices, sizeof(int32_t));
    w->offset = take(b, (size_t)c->n_experts + 1, sizeof(int32_t));
    w->expert_y = take(b, choices * (size_t)c->dim, sizeof(hd_bf16));
    w->shared_y = take(b, t * (size_t)c->dim, sizeof(hd_bf16));
    w->moe_work = take(b, moe_work(m, (int32_t)t), 1);
}

static void take_head_and_draft(const hd_model *m, hd_v4_work *w, bump *b, size_t t)
{
    const hd_config *c = &m->cfg;
    size_t dim = (size_t)c->dim, rank = (size_t)c->dspark_markov_rank;
    size_t v = (size_t)c->vocab_size;
    w->x_out = take(b, HD_HEAD_ROWS * HD_STREAMS * dim, sizeof(hd_bf16));
    w->y_out = take(b, HD_HEAD_ROWS * dim, sizeof(hd_bf16));
    w->logits = take(b, HD_HEAD_ROWS * (size_t)c->vocab_size, sizeof(float));
    w->nonfinite = take(b, 1, sizeof(int32_t));
    if (!m->has_draft) return;
    w->x_draft = take(b, t * HD_STREAMS * dim, sizeof(hd_bf16));
    w->targets = take(b, t * (size_t)c->n_dspark_targets * dim, sizeof(hd_bf16));
    w->main_x = take(b, t * dim, sizeof(hd_bf16));
    w->draft_id = take(b, HD_HEAD_ROWS, sizeof(int32_t));
    if (c->draft != HD_DRAFT_DSPARK) return;
    w->markov_e = take(b, HD_DRAFT_SEQS * rank, sizeof(hd_bf16));
    w->markov_bias = take(b, HD_DRAFT_SEQS * v, sizeof(float));
    w->conf_in = take(b, HD_DRAFT_SEQS * (dim + rank), sizeof(hd_bf16));
    w->draft_row = take(b, HD_DRAFT_SEQS * v, sizeof(float));
    w->conf = take(b, HD_DRAFT_SEQS, sizeof(float));
}

static size_t layout(const hd_model *m, hd_v4_work *w, uint8_t *base)
{
    bump b = {.base = base};
    size_t t = (size_t)m->max_rows, dim = (size_t)m->cfg.dim;
    w->x = take(&b, t * HD_STREAMS * dim, sizeof(hd_bf16));
    w->mix = take(&b, t * 24, sizeof(float));
    w->pre = take(&b, t * 4, sizeof(float));
    w->post = take(&b, t * 4, sizeof(float));
    w->comb = take(&b, t * 16, sizeof(float));
    w->h = take(&b, t * dim, sizeof(hd_bf16));
    w->z = take(&b, t * dim, sizeof(hd_bf16));
    w->act = take(&b, act_size(m, (int32_t)t), 1);
    take_attention(m, w, &b, t);
    take_experts(m, w, &b, t);
    take_head_and_draft(m, w, &b, t);
    return b.used;
}

/* The step's arrays: per row id, position, sequence, ring row, place in the output, two rope rows;
 * two row numbers and a rope row per ratio for the groups that end (in a step of many sequences
 * every row may end one of each); next id and row number for MTP. Per sequence its numbers and page
 * tables. */
static size_t meta_size(const hd_model *m)
{
    size_t per_row = 11 * sizeof(int32_t) + 4 * HD_ROPE_DIM * sizeof(float);
    size_t per_seq = 4 * sizeof(int32_t);
    for (int k = 0; k < HD_PAGE_KINDS; k++)
        per_seq += (size_t)m->state.max_pages[k] * sizeof(int32_t);
    return (size_t)m->max_rows * per_row + (size_t)m->max_seqs * per_seq + 32 * ALIGNMENT;
}

hd_status hd_v4_plan(hd_model *m, hd_err *err)
{
    m->work_bytes = layout(m, &m->work, NULL);
    HD_TRY(m->dev->mem.alloc(m->dev, m->work_bytes, &m->work_memory, err));
    layout(m, &m->work, m->work_memory);
    m->meta.size = meta_size(m);
    m->meta.host = hd_mem_try_aligned(ALIGNMENT, m->meta.size);
    if (!m->meta.host) HD_FAIL(err, HD_E_NOMEM, "out of memory for the arrays of a step");
    void *dev;
    HD_TRY(m->dev->mem.alloc(m->dev, m->meta.size, &dev, err));
    m->meta.dev = dev;
    return HD_OK;
}

void hd_v4_unplan(hd_model *m)
{
    if (m->work_memory) m->dev->mem.free(m->dev, m->work_memory);
    if (m->meta.dev) m->dev->mem.free(m->dev, m->meta.dev);
    hd_mem_free(m->meta.host);
    m->work_memory = NULL;
    m->meta = (hd_v4_meta){0};
}

void *hd_v4_meta_take(hd_v4_meta *meta, size_t bytes, const void **dev)
{
    size_t at = meta->used;
    meta->used += (bytes + 15) & ~(size_t)15;
    HD_ASSERT(meta->used <= meta->size);
    *dev = meta->dev + at;
    return meta->host + at;
}

hd_status hd_v4_meta_upload(hd_model *m)
{
    return m->dev->mem.upload(m->stream, m->meta.dev, m->meta.host, m->meta.used);
}
