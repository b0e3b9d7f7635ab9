/* Where sequences live: pools planned before the first step, pages of 32 rows, one page table per
 * kind for all layers.
 *
 * A sequence holds the eight pages of its window ring from the start and takes pages of compressed
 * rows as it grows. Page id p means rows 32p … 32p+31 in the pool of every layer of that kind, so
 * growing is a matter of one free list. Compressor carries are indexed by the sequence's slot. All
 * pools are one device allocation, touched only where a sequence has been. */
#include "base/mem.h"
#include "model/v4.h"

#define ALIGNMENT 256u

static size_t aligned(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
}

static int32_t n_blocks(const hd_model *m)
{
    return m->cfg.n_layers + (m->has_draft ? m->cfg.n_stages : 0);
}

static int32_t block_ratio(const hd_model *m, int32_t i)
{
    return i < m->cfg.n_layers ? m->cfg.ratio[i] : 0;
}

static size_t carry_bytes(const hd_model *m, int32_t slots, int32_t channels)
{
    return aligned((size_t)m->max_seqs * (size_t)slots * 2 * (size_t)channels * sizeof(float));
}

/* Lays the pools out behind `base`; with base NULL it only counts. Returns the bytes. */
static size_t layout(hd_model *m, uint8_t *base)
{
    hd_v4_state *st = &m->state;
    size_t at = 0;
    size_t page_bytes = (size_t)HD_PAGE_ROWS * HD_KV_ROW_BYTES;
    size_t index_bytes = (size_t)HD_PAGE_ROWS * HD_INDEX_ROW_BYTES;
#define TAKE(field, type, bytes)                                                                   \
    do {                                                                                           \
        (field) = base ? (type *)(void *)(base + at) : NULL;                                       \
        at += aligned(bytes);                                                                      \
    } while (0)
    for (int32_t i = 0; i < n_blocks(m); i++) {
        hd_v4_block_state *b = &st->block[i];
        int32_t ratio = block_ratio(m, i);
        TAKE(b->window, uint8_t, page_bytes *(size_t)st->pool[HD_PAGE_WINDOW].n_pages);
        if (ratio == HD_CSA_RATIO) {
            TAKE(b->rows, uint8_t, page_bytes *(size_t)st->pool[HD_PAGE_CSA].n_pages);
            TAKE(b->index, uint8_t, index_bytes *(size_t)st->pool[HD_PAGE_CSA].n_pages);
            TAKE(b->carry, float, carry_bytes(m, 2 * HD_CSA_RATIO, 2 * HD_HEAD_DIM));
            TAKE(b->index_carry, float, carry_bytes(m, 2 * HD_CSA_RATIO, 2 * HD_INDEX_DIM));
        } else if (ratio == HD_HCA_RATIO) {
            TAKE(b->rows, uint8_t, page_bytes *(size_t)st->pool[HD_PAGE_HCA].n_pages);
            TAKE(b->carry, float, carry_bytes(m, HD_HCA_RATIO, HD_HEAD_DIM));
        }
    }
#undef TAKE
    return at;
}

static int32_t pages_for(int32_t len, int32_t ratio)
{
    return (len / ratio + HD_PAGE_ROWS - 1) / HD_PAGE_ROWS;
}

static hd_status pool_init(hd_page_pool *p, int32_t n_pages, hd_err *err)
{
    p->free_ids = hd_mem_try_calloc((size_t)n_pages + 1, sizeof *p->free_ids);
    if (!p->free_ids) HD_FAIL(err, HD_E_NOMEM, "out of memory for %d page ids", n_pages);
    p->n_pages = p->n_free = n_pages;
    for (int32_t i = 0; i < n_pages; i++) p->free_ids[i] = n_pages - 1 - i;
    return HD_OK;
}

hd_status hd_v4_state_init(hd_model *m, hd_err *err)
{
    hd_v4_state *st = &m->state;
    st->max_pages[HD_PAGE_WINDOW] = HD_RING_PAGES;
    st->max_pages[HD_PAGE_CSA] = pages_for(m->max_ctx, HD_CSA_RATIO);
    st->max_pages[HD_PAGE_HCA] = pages_for(m->max_ctx, HD_HCA_RATIO);
    for (int k = 0; k < HD_PAGE_KINDS; k++) {
        int64_t n = (int64_t)st->max_pages[k] * m->max_seqs;
        if (n > INT32_MAX / HD_PAGE_ROWS)
            HD_FAIL(err, HD_E_LIMIT, "%d sequences of %d positions are more than pages can number",
                    m->max_seqs, m->max_ctx);
        HD_TRY(pool_init(&st->pool[k], (int32_t)n, err));
    }
    st->block = hd_mem_try_calloc((size_t)n_blocks(m), sizeof *st->block);
    st->seq = hd_mem_try_calloc((size_t)m->max_seqs, sizeof(hd_seq *));
    if (!st->block || !st->seq) HD_FAIL(err, HD_E_NOMEM, "out of memory for the state tables");
    st->bytes = layout(m, NULL);
    HD_TRY(m->dev->mem.alloc(m->dev, st->bytes, &st->memory, err));
    layout(m, st->memory);
    return HD_OK;
}

void hd_v4_state_deinit(hd_model *m)
{
    hd_v4_state *st = &m->state;
    if (st->memory) m->dev->mem.free(m->dev, st->memory);
    for (int k = 0; k < HD_PAGE_KINDS; k++) hd_mem_free(st->pool[k].free_ids);
    hd_mem_free(st->block);
    hd_mem_free(st->seq);
    *st = (hd_v4_state){0};
}

static void release_pages(hd_seq *seq, hd_page_kind kind, int32_t keep)
{
    hd_page_pool *p = &seq->model->state.pool[kind];
    while (seq->n_pages[kind] > keep)
        p->free_ids[p->n_free++] = seq->page[kind][--seq->n_pages[kind]];
}

static void take_pages(hd_seq *seq, hd_page_kind kind, int32_t want)
{
    hd_page_pool *p = &seq->model->state.pool[kind];
    HD_ASSERT(want - seq->n_pages[kind] <= p->n_free && want <= seq->model->state.max_pages[kind]);
    while (seq->n_pages[kind] < want)
        seq->page[kind][seq->n_pages[kind]++] = p->free_ids[--p->n_free];
}

/* The pools hold max_seqs sequences of max_ctx positions, so only the length can be too much. */
hd_status hd_v4_state_reserve(hd_seq *seq, int32_t len, hd_err *err)
{
    hd_model *m = seq->model;
    if (len > m->max_ctx)
        HD_FAIL(err, HD_E_LIMIT,
                "the sequence would have %d positions, and the model was opened for %d", len,
                m->max_ctx);
    take_pages(seq, HD_PAGE_CSA, pages_for(len, HD_CSA_RATIO));
    take_pages(seq, HD_PAGE_HCA, pages_for(len, HD_HCA_RATIO));
    return HD_OK;
}

static int32_t free_slot(const hd_model *m)
{
    for (int32_t i = 0; i < m->max_seqs; i++)
        if (!m->state.seq[i]) return i;
    return -1;
}

hd_status hd_seq_create(hd_model *m, hd_seq **out, hd_err *err)
{
    *out = NULL;
    int32_t slot = free_slot(m);
    if (slot < 0)
        HD_FAIL(err, HD_E_LIMIT, "all %d sequences that the model was opened for are in use",
                m->max_seqs);
    hd_seq *seq = hd_mem_calloc(1, sizeof *seq);
    seq->model = m;
    seq->slot = slot;
    for (int k = 0; k < HD_PAGE_KINDS; k++) {
        seq->page[k] = hd_mem_try_calloc((size_t)m->state.max_pages[k] + 1, sizeof(int32_t));
        if (seq->page[k]) continue;
        while (k-- > 0) hd_mem_free(seq->page[k]);
        hd_mem_free(seq);
        HD_FAIL(err, HD_E_NOMEM, "out of memory for a page table");
    }
    m->state.seq[slot] = seq;
    take_pages(seq, HD_PAGE_WINDOW, HD_RING_PAGES);
    *out = seq;
    return HD_OK;
}

void hd_seq_destroy(hd_seq *seq)
{
    if (!seq) return;
    for (int k = 0; k < HD_PAGE_KINDS; k++) {
        release_pages(seq, (hd_page_kind)k, 0);
        hd_mem_free(seq->page[k]);
    }
    seq->model->state.seq[seq->slot] = NULL;
    hd_mem_free(seq);
}

void hd_seq_reset(hd_seq *seq)
{
    release_pages(seq, HD_PAGE_CSA, 0);
    release_pages(seq, HD_PAGE_HCA, 0);
    seq->len = 0; /* rings and carries are never read at positions that were not written since */
}

int32_t hd_seq_len(const hd_seq *seq)
{
    return seq->len;
}

/* Pages of one kind in one pool, from sequence to sequence. */
static hd_status copy_pages(hd_model *m, void *pool, size_t row_bytes, hd_page_kind kind,
                            const hd_seq *src, const hd_seq *dst)
{
    size_t bytes = row_bytes * HD_PAGE_ROWS;
    if (!pool) return HD_OK;
    /* Not src's number: a failed step may have left it more pages than its length needs. */
    for (int32_t i = 0; i < dst->n_pages[kind]; i++)
        HD_TRY(m->dev->mem.copy2d(m->stream, (uint8_t *)pool + bytes * (size_t)dst->page[kind][i],
                                  bytes, (uint8_t *)pool + bytes * (size_t)src->page[kind][i],
                                  bytes, bytes, 1));
    return HD_OK;
}

static hd_status copy_slot(hd_model *m, float *carry, int32_t slots, int32_t channels,
                           const hd_seq *src, const hd_seq *dst)
{
    size_t n = (size_t)slots * 2 * (size_t)channels;
    if (!carry) return HD_OK;
    return m->dev->mem.copy2d(m->stream, carry + n * (size_t)dst->slot, n * sizeof *carry,
                              carry + n * (size_t)src->slot, n * sizeof *carry, n * sizeof *carry,
                              1);
}

static hd_status copy_block(hd_model *m, int32_t i, const hd_seq *src, const hd_seq *dst)
{
    hd_v4_block_state *b = &m->state.block[i];
    int32_t ratio = block_ratio(m, i);
    hd_page_kind kind = ratio == HD_CSA_RATIO ? HD_PAGE_CSA : HD_PAGE_HCA;
    HD_TRY(copy_pages(m, b->window, HD_KV_ROW_BYTES, HD_PAGE_WINDOW, src, dst));
    HD_TRY(copy_pages(m, b->rows, HD_KV_ROW_BYTES, kind, src, dst));
    HD_TRY(copy_pages(m, b->index, HD_INDEX_ROW_BYTES, kind, src, dst));
    int32_t slots = ratio == HD_CSA_RATIO ? 2 * HD_CSA_RATIO : HD_HCA_RATIO;
    int32_t channels = ratio == HD_CSA_RATIO ? 2 * HD_HEAD_DIM : HD_HEAD_DIM;
    HD_TRY(copy_slot(m, b->carry, slots, channels, src, dst));
    return copy_slot(m, b->index_carry, slots, 2 * HD_INDEX_DIM, src, dst);
}

hd_status hd_seq_clone(hd_seq *seq, hd_seq **out, hd_err *err)
{
    hd_model *m = seq->model;
    hd_status st;
    HD_TRY(hd_seq_create(m, out, err));
    HD_TRY_GOTO(st, fail, hd_v4_state_reserve(*out, seq->len, err));
    for (int32_t i = 0; i < n_blocks(m); i++) HD_TRY_GOTO(st, fail, copy_block(m, i, seq, *out));
    HD_TRY_GOTO(st, fail, m->dev->stream.sync(m->stream, -1, NULL));
    (*out)->len = seq->len;
    return HD_OK;
fail:
    /* The pages are given back: nothing may be under way to them. */
    (void)m->dev->stream.sync(m->stream, -1, NULL);
    hd_seq_destroy(*out);
    *out = NULL;
    HD_FAIL(err, HD_E_DEVICE, "the device refused to copy a sequence with %s", hd_status_name(st));
}
