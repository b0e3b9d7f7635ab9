/* Snapshots: the part of a sequence's state that is not in shared pages, as host bytes.
 *
 * Block by block: the window rows of the 128 positions before pos (ring slots are contiguous there:
 * a multiple of 128 begins at slot 0 or 128, page by page), and for ratio 4 the four (k, g) rows of
 * the group before, first half of the channels: the next group reads no more of it. The device
 * puts them together in one buffer, so that one transfer moves all. */
#include "model/v4.h"

#define WINDOW_PAGES (HD_WINDOW / HD_PAGE_ROWS)
#define PAGE_BYTES   ((size_t)HD_PAGE_ROWS * HD_KV_ROW_BYTES)

/* Floats of one carry in a snapshot: k and g of four rows, half of 2·width channels. */
static size_t carry_floats(int32_t width)
{
    return (size_t)HD_CSA_RATIO * 2 * (size_t)width;
}

static size_t block_bytes(const hd_model *m, int32_t i)
{
    size_t window = WINDOW_PAGES * PAGE_BYTES;
    if (hd_v4_block_ratio(m, i) != HD_CSA_RATIO) return window;
    return window + sizeof(float) * (carry_floats(HD_HEAD_DIM) + carry_floats(HD_INDEX_DIM));
}

size_t hd_v4_snap_bytes(const hd_model *m)
{
    size_t bytes = 0;
    for (int32_t i = 0; i < hd_v4_n_blocks(m); i++) bytes += block_bytes(m, i);
    return bytes;
}

bool hd_v4_snap_ok(const hd_seq *seq, int32_t pos)
{
    return pos > 0 && pos % HD_SNAP_STEP == 0 && pos <= seq->len &&
           seq->len - pos < HD_RING_SLOTS - HD_WINDOW;
}

/* Between the four rows of a carry before pos and the snapshot. A carry row is k, then g, each of
 * 2·width channels; only the first half of them goes. */
static hd_status move_carry(hd_model *m, float *carry, int32_t width, const hd_seq *seq,
                            int32_t pos, uint8_t *snap, bool save)
{
    size_t n_slots = (size_t)hd_carry_slots(HD_CSA_RATIO), row = 2 * (size_t)width;
    size_t first = (size_t)hd_carry_slot(HD_CSA_RATIO, pos - HD_CSA_RATIO);
    float *at = carry + ((size_t)seq->slot * n_slots + first) * 2 * row;
    size_t pitch = row * sizeof(float), bytes = (size_t)width * sizeof(float);
    size_t rows = 2 * (size_t)HD_CSA_RATIO;
    return save ? m->dev->mem.copy2d(m->stream, snap, bytes, at, pitch, bytes, rows)
                : m->dev->mem.copy2d(m->stream, at, pitch, snap, bytes, bytes, rows);
}

static hd_status move_window(hd_model *m, uint8_t *window, const hd_seq *seq, int32_t pos,
                             uint8_t *snap, bool save)
{
    int32_t first = (pos - HD_WINDOW) % HD_RING_SLOTS / HD_PAGE_ROWS;
    for (int32_t i = 0; i < WINDOW_PAGES; i++, snap += PAGE_BYTES) {
        uint8_t *page = window + PAGE_BYTES * (size_t)seq->page[HD_PAGE_WINDOW][first + i];
        uint8_t *dst = save ? snap : page, *src = save ? page : snap;
        HD_TRY(m->dev->mem.copy2d(m->stream, dst, PAGE_BYTES, src, PAGE_BYTES, PAGE_BYTES, 1));
    }
    return HD_OK;
}

static hd_status move_all(hd_model *m, const hd_seq *seq, int32_t pos, bool save)
{
    uint8_t *at = m->state.snap;
    for (int32_t i = 0; i < hd_v4_n_blocks(m); i++) {
        hd_v4_block_state *b = &m->state.block[i];
        uint8_t *carry = at + WINDOW_PAGES * PAGE_BYTES;
        HD_TRY(move_window(m, b->window, seq, pos, at, save));
        if (hd_v4_block_ratio(m, i) == HD_CSA_RATIO) {
            HD_TRY(move_carry(m, b->carry, HD_HEAD_DIM, seq, pos, carry, save));
            carry += carry_floats(HD_HEAD_DIM) * sizeof(float);
            HD_TRY(move_carry(m, b->index_carry, HD_INDEX_DIM, seq, pos, carry, save));
        }
        at += block_bytes(m, i);
    }
    return HD_OK;
}

static hd_status staging(hd_model *m, hd_err *err)
{
    hd_v4_state *st = &m->state;
    if (st->snap) return HD_OK;
    st->snap_bytes = hd_v4_snap_bytes(m);
    return m->dev->mem.alloc(m->dev, st->snap_bytes, (void **)&st->snap, err);
}

hd_status hd_v4_snap_save(hd_seq *seq, int32_t pos, uint8_t *host, hd_err *err)
{
    hd_model *m = seq->model;
    HD_ASSERT(hd_v4_snap_ok(seq, pos));
    HD_TRY(staging(m, err));
    hd_status st = move_all(m, seq, pos, true);
    if (st == HD_OK) st = m->dev->mem.download(m->stream, host, m->state.snap, m->state.snap_bytes);
    if (st == HD_OK) st = m->dev->stream.sync(m->stream, -1, err);
    return st == HD_OK ? HD_OK : hd_v4_abandon(m, st, err);
}

hd_status hd_v4_snap_load(hd_seq *seq, int32_t pos, const uint8_t *host, hd_err *err)
{
    hd_model *m = seq->model;
    HD_ASSERT(pos > 0 && pos % HD_SNAP_STEP == 0 && pos <= seq->len);
    HD_TRY(staging(m, err));
    hd_status st = m->dev->mem.upload(m->stream, m->state.snap, host, m->state.snap_bytes);
    if (st == HD_OK) st = move_all(m, seq, pos, false);
    if (st == HD_OK) st = m->dev->stream.sync(m->stream, -1, err);
    if (st != HD_OK) return hd_v4_abandon(m, st, err);
    seq->len = pos;
    return HD_OK;
}

/* Zero bytes are a row of zeros. */
static hd_status clear_window(hd_model *m, uint8_t *window, const hd_seq *seq, int32_t pos)
{
    int32_t first = (pos - HD_WINDOW) % HD_RING_SLOTS / HD_PAGE_ROWS;
    for (int32_t i = 0; i < WINDOW_PAGES; i++) {
        uint8_t *page = window + PAGE_BYTES * (size_t)seq->page[HD_PAGE_WINDOW][first + i];
        HD_TRY(m->dev->mem.fill(m->stream, page, 0, PAGE_BYTES));
    }
    return HD_OK;
}

hd_status hd_v4_state_replay(hd_seq *seq, int32_t from, hd_err *err)
{
    hd_model *m = seq->model;
    hd_status st = HD_OK;
    HD_ASSERT(from >= 0 && from <= seq->len && from % HD_SNAP_STEP == 0);
    bool is_known = from == 0 || from == seq->len;
    for (int32_t i = 0; !is_known && st == HD_OK && i < hd_v4_n_blocks(m); i++)
        st = clear_window(m, m->state.block[i].window, seq, from);
    if (st != HD_OK) return hd_v4_abandon(m, st, err);
    seq->len = from;
    return HD_OK;
}

int32_t hd_v4_replay_from(const hd_model *m, int32_t pos)
{
    int64_t from = (int64_t)pos - (int64_t)HD_WINDOW * m->cfg.n_layers;
    return from > 0 ? (int32_t)from : 0;
}
