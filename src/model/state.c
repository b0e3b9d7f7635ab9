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

int32_t hd_v4_n_blocks(const hd_model *m)
{
    return m->cfg.n_layers + (m->has_draft ? m->cfg.n_stages : 0);
}

int32_t hd_v4_block_ratio(const hd_model *m, int32_t i)
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
    for (int32_t i = 0; i < hd_v4_n_blocks(m); i++) {
        hd_v4_block_state *b = &st->block[i];
        int32_t ratio = hd_v4_block_ratio(m, i);
        TAKE(b->window, uint8_t, page_bytes *(size_t)st->pool[HD_PAGE_WINDOW].n_pages);
        if (ratio == HD_CSA_RATIO) {
            TAKE(b->rows, uint8_t, page_bytes *(size_t)st->pool[HD_PAGE_CSA].n_pages);
            TAKE(b->index, uint8_t, index_bytes *(size_t)st->pool[HD_PAGE_CSA].n_pages);
            TAKE(b->carry, float, carry_bytes(m, hd_carry_slots(HD_CSA_RATIO), 2 * HD_HEAD_DIM));
            TAKE(b->index_carry, float,
                 carry_bytes(m, hd_carry_slots(HD_CSA_RATIO), 2 * HD_INDEX_DIM));
        } else if (ratio == HD_HCA_RATIO) {
            TAKE(b->rows, uint8_t, page_bytes *(size_t)st->pool[HD_PAGE_HCA].n_pages);
            TAKE(b->carry, float, carry_bytes(m, hd_carry_slots(HD_HCA_RATIO), HD_HEAD_DIM));
        }
    }
#undef TAKE
    return at;
}

static int32_t ratio_of(hd_page_kind kind)
{
    return kind == HD_PAGE_CSA ? HD_CSA_RATIO : HD_HCA_RATIO;
}

int32_t hd_v4_pages_for(int32_t n_positions, hd_page_kind kind)
{
    return (n_positions / ratio_of(kind) + HD_PAGE_ROWS - 1) / HD_PAGE_ROWS;
}

/* Enough for every sequence at full length, or for kv_tokens and a partial page for each sequence.
 * Of ratio 128 (small pages) there are more: each sequence may have to copy a shared partial page,
 * and shared prefixes that part within 4,096 positions have a page each. */
static int64_t pool_pages(const hd_model *m, hd_page_kind kind)
{
    int64_t n_seqs = m->max_seqs, all = n_seqs * m->state.max_pages[kind];
    if (kind == HD_PAGE_HCA) all += n_seqs;
    if (kind == HD_PAGE_WINDOW || m->kv_tokens >= n_seqs * m->max_ctx) return all;
    int64_t positions = (int64_t)HD_PAGE_ROWS * ratio_of(kind);
    int64_t n = (m->kv_tokens + positions - 1) / positions + n_seqs;
    if (kind == HD_PAGE_HCA) n += n / 2 + n_seqs;
    return n < all ? n : all;
}

hd_status hd_v4_state_init(hd_model *m, hd_err *err)
{
    hd_v4_state *st = &m->state;
    st->max_pages[HD_PAGE_WINDOW] = HD_RING_PAGES;
    st->max_pages[HD_PAGE_CSA] = hd_v4_pages_for(m->max_ctx, HD_PAGE_CSA);
    st->max_pages[HD_PAGE_HCA] = hd_v4_pages_for(m->max_ctx, HD_PAGE_HCA);
    for (int k = 0; k < HD_PAGE_KINDS; k++) {
        int64_t n = pool_pages(m, (hd_page_kind)k);
        if (n > INT32_MAX / HD_PAGE_ROWS)
            HD_FAIL(err, HD_E_LIMIT, "%d sequences of %d positions are more than pages can number",
                    m->max_seqs, m->max_ctx);
        HD_TRY(hd_pages_init(&st->pool[k], (int32_t)n, err));
    }
    st->block = hd_mem_try_calloc((size_t)hd_v4_n_blocks(m), sizeof *st->block);
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
    if (st->snap) m->dev->mem.free(m->dev, st->snap);
    for (int k = 0; k < HD_PAGE_KINDS; k++) hd_pages_deinit(&st->pool[k]);
    hd_mem_free(st->block);
    hd_mem_free(st->seq);
    *st = (hd_v4_state){0};
}

static void drop_pages(hd_seq *seq, hd_page_kind kind, int32_t keep)
{
    hd_page_pool *p = &seq->model->state.pool[kind];
    while (seq->n_pages[kind] > keep)
        hd_pages_drop(p, seq->page[kind][--seq->n_pages[kind]], seq->slot);
}

static void take_pages(hd_seq *seq, hd_page_kind kind, int32_t want)
{
    hd_page_pool *p = &seq->model->state.pool[kind];
    HD_ASSERT(want <= seq->model->state.max_pages[kind]);
    while (seq->n_pages[kind] < want)
        seq->page[kind][seq->n_pages[kind]++] = hd_pages_take(p, seq->slot);
}

/* The page that the sequence's next compressed row would go to must be copied first: it is shared,
 * or the row in it is another's. −1: none. */
static int32_t page_to_copy(const hd_seq *seq, hd_page_kind kind)
{
    int32_t row = seq->len / ratio_of(kind), i = row / HD_PAGE_ROWS;
    if (i >= seq->n_pages[kind]) return -1;
    const hd_page_pool *p = &seq->model->state.pool[kind];
    return hd_pages_is_own(p, seq->page[kind][i], seq->slot, row % HD_PAGE_ROWS) ? -1 : i;
}

int32_t hd_v4_state_wants(const hd_seq *seq, hd_page_kind kind, int32_t new_len)
{
    int32_t more = hd_v4_pages_for(new_len, kind) - seq->n_pages[kind];
    bool writes = new_len / ratio_of(kind) > seq->len / ratio_of(kind);
    return (more > 0 ? more : 0) + (writes && page_to_copy(seq, kind) >= 0);
}

/* Leading rows of a page of one pool. */
static hd_status copy_page(hd_model *m, uint8_t *pool, size_t row_bytes, int32_t src, int32_t dst,
                           int32_t n_rows)
{
    size_t page = row_bytes * HD_PAGE_ROWS, bytes = row_bytes * (size_t)n_rows;
    return m->dev->mem.copy2d(m->stream, pool + page * (size_t)dst, bytes,
                              pool + page * (size_t)src, bytes, bytes, 1);
}

hd_status hd_v4_rows_copy(hd_model *m, hd_page_kind kind, int32_t src, int32_t dst, int32_t n)
{
    for (int32_t i = 0; n > 0 && i < m->cfg.n_layers; i++) {
        hd_v4_block_state *b = &m->state.block[i];
        if (m->cfg.ratio[i] != ratio_of(kind)) continue;
        HD_TRY(copy_page(m, b->rows, HD_KV_ROW_BYTES, src, dst, n));
        if (b->index) HD_TRY(copy_page(m, b->index, HD_INDEX_ROW_BYTES, src, dst, n));
    }
    return HD_OK;
}

static hd_status own_page(hd_seq *seq, hd_page_kind kind)
{
    hd_page_pool *p = &seq->model->state.pool[kind];
    int32_t i = page_to_copy(seq, kind);
    if (i < 0) return HD_OK;
    int32_t old = seq->page[kind][i], own = hd_pages_take(p, seq->slot);
    hd_status st =
        hd_v4_rows_copy(seq->model, kind, old, own, seq->len / ratio_of(kind) % HD_PAGE_ROWS);
    seq->page[kind][i] = own;
    hd_pages_drop(p, old, seq->slot);
    return st;
}

hd_status hd_v4_state_reserve(hd_seq *seq, int32_t new_len, hd_err *err)
{
    static const hd_page_kind kinds[] = {HD_PAGE_CSA, HD_PAGE_HCA};
    hd_model *m = seq->model;
    if (new_len > m->max_ctx)
        HD_FAIL(err, HD_E_LIMIT,
                "the sequence would have %d positions, and the model was opened for %d", new_len,
                m->max_ctx);
    for (size_t k = 0; k < HD_COUNT(kinds); k++) {
        int32_t want = hd_v4_state_wants(seq, kinds[k], new_len);
        if (want > m->state.pool[kinds[k]].n_free)
            HD_FAIL(err, HD_E_LIMIT,
                    "a sequence of %d positions needs %d more pages of ratio %d, "
                    "and %d are free",
                    new_len, want, ratio_of(kinds[k]), m->state.pool[kinds[k]].n_free);
    }
    for (size_t k = 0; k < HD_COUNT(kinds); k++) {
        if (hd_v4_state_wants(seq, kinds[k], new_len) == 0) continue;
        hd_status st = own_page(seq, kinds[k]);
        if (st != HD_OK) return hd_v4_abandon(m, st, err);
        take_pages(seq, kinds[k], hd_v4_pages_for(new_len, kinds[k]));
    }
    return HD_OK;
}

void hd_v4_state_adopt(hd_seq *seq, int32_t len, const int32_t *csa, const int32_t *hca)
{
    const int32_t *ids[HD_PAGE_KINDS] = {[HD_PAGE_CSA] = csa, [HD_PAGE_HCA] = hca};
    HD_ASSERT(seq->len == 0 && len % HD_SNAP_STEP == 0 && len <= seq->model->max_ctx);
    for (hd_page_kind k = HD_PAGE_CSA; k <= HD_PAGE_HCA; k++) {
        drop_pages(seq, k, 0);
        for (int32_t i = 0; i < hd_v4_pages_for(len, k); i++) {
            hd_pages_hold(&seq->model->state.pool[k], ids[k][i]);
            seq->page[k][seq->n_pages[k]++] = ids[k][i];
        }
    }
    seq->len = len;
}

void hd_v4_state_rollback(hd_seq *seq, int32_t len)
{
    HD_ASSERT(len >= 0 && len <= seq->len);
    seq->len = len;
    for (hd_page_kind k = HD_PAGE_CSA; k <= HD_PAGE_HCA; k++)
        drop_pages(seq, k, hd_v4_pages_for(len, k));
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
        drop_pages(seq, (hd_page_kind)k, 0);
        hd_mem_free(seq->page[k]);
    }
    seq->model->state.seq[seq->slot] = NULL;
    hd_mem_free(seq);
}

void hd_seq_reset(hd_seq *seq)
{
    drop_pages(seq, HD_PAGE_CSA, 0);
    drop_pages(seq, HD_PAGE_HCA, 0);
    seq->len = 0; /* rings and carries are never read at positions that were not written since */
}

int32_t hd_seq_len(const hd_seq *seq)
{
    return seq->len;
}

/* Full pages are shared, a partial one is copied. The pools must have room for that one. */
static hd_status share_pages(const hd_seq *src, hd_seq *dst, hd_page_kind kind)
{
    hd_model *m = src->model;
    hd_page_pool *p = &m->state.pool[kind];
    int32_t n_rows = src->len / ratio_of(kind);
    for (int32_t i = 0; i * HD_PAGE_ROWS < n_rows; i++) {
        int32_t id = src->page[kind][i], left = n_rows - i * HD_PAGE_ROWS;
        if (left < HD_PAGE_ROWS) {
            int32_t own = hd_pages_take(p, dst->slot);
            dst->page[kind][dst->n_pages[kind]++] = own;
            return hd_v4_rows_copy(m, kind, id, own, left);
        }
        hd_pages_seal(p, id, HD_PAGE_ROWS);
        hd_pages_hold(p, id);
        dst->page[kind][dst->n_pages[kind]++] = id;
    }
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

/* Window ring and carries. */
static hd_status copy_block(hd_model *m, int32_t i, const hd_seq *src, const hd_seq *dst)
{
    hd_v4_block_state *b = &m->state.block[i];
    bool is_csa = hd_v4_block_ratio(m, i) == HD_CSA_RATIO;
    for (int32_t k = 0; k < HD_RING_PAGES; k++)
        HD_TRY(copy_page(m, b->window, HD_KV_ROW_BYTES, src->page[HD_PAGE_WINDOW][k],
                         dst->page[HD_PAGE_WINDOW][k], HD_PAGE_ROWS));
    int32_t slots = hd_carry_slots(is_csa ? HD_CSA_RATIO : HD_HCA_RATIO);
    HD_TRY(copy_slot(m, b->carry, slots, is_csa ? 2 * HD_HEAD_DIM : HD_HEAD_DIM, src, dst));
    return copy_slot(m, b->index_carry, slots, 2 * HD_INDEX_DIM, src, dst);
}

static bool has_room_to_share(const hd_seq *seq, hd_page_kind kind)
{
    return seq->len / ratio_of(kind) % HD_PAGE_ROWS == 0 || seq->model->state.pool[kind].n_free > 0;
}

hd_status hd_seq_clone(hd_seq *seq, hd_seq **out, hd_err *err)
{
    hd_model *m = seq->model;
    hd_status st;
    HD_TRY(hd_seq_create(m, out, err));
    if (!has_room_to_share(seq, HD_PAGE_CSA) || !has_room_to_share(seq, HD_PAGE_HCA)) {
        hd_seq_destroy(*out);
        *out = NULL;
        HD_FAIL(err, HD_E_LIMIT, "no page is free for a copy of the sequence");
    }
    HD_TRY_GOTO(st, fail, share_pages(seq, *out, HD_PAGE_CSA));
    HD_TRY_GOTO(st, fail, share_pages(seq, *out, HD_PAGE_HCA));
    for (int32_t i = 0; i < hd_v4_n_blocks(m); i++)
        HD_TRY_GOTO(st, fail, copy_block(m, i, seq, *out));
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
