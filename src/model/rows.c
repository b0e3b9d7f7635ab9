/* Compressed rows of 128 positions between pages and host bytes.
 *
 * Layer by layer: of ratio 4 a page of KV rows, then a page of index keys; of ratio 128 one row. A
 * device may copy them while it likes until the sync at the end. */
#include "model/v4.h"

#define KV_PAGE    ((size_t)HD_PAGE_ROWS * HD_KV_ROW_BYTES)
#define INDEX_PAGE ((size_t)HD_PAGE_ROWS * HD_INDEX_ROW_BYTES)

static size_t layer_bytes(int32_t ratio)
{
    if (ratio == HD_CSA_RATIO) return KV_PAGE + INDEX_PAGE;
    return ratio == HD_HCA_RATIO ? HD_KV_ROW_BYTES : 0;
}

size_t hd_v4_rows_bytes(const hd_model *m)
{
    size_t n = 0;
    for (int32_t i = 0; i < m->cfg.n_layers; i++) n += layer_bytes(m->cfg.ratio[i]);
    return n;
}

static hd_status move(hd_model *m, uint8_t *pool, uint8_t *host, size_t bytes, bool save)
{
    return save ? m->dev->mem.download(m->stream, host, pool, bytes)
                : m->dev->mem.upload(m->stream, pool, host, bytes);
}

static hd_status move_layer(hd_model *m, int32_t layer, const hd_v4_rows_at *at, uint8_t *host,
                            bool save)
{
    hd_v4_block_state *b = &m->state.block[layer];
    if (m->cfg.ratio[layer] == HD_CSA_RATIO) {
        HD_TRY(move(m, b->rows + KV_PAGE * (size_t)at->csa, host, KV_PAGE, save));
        return move(m, b->index + INDEX_PAGE * (size_t)at->csa, host + KV_PAGE, INDEX_PAGE, save);
    }
    if (m->cfg.ratio[layer] != HD_HCA_RATIO) return HD_OK;
    size_t row = (size_t)at->hca * HD_PAGE_ROWS + (size_t)at->hca_row;
    return move(m, b->rows + row * HD_KV_ROW_BYTES, host, HD_KV_ROW_BYTES, save);
}

static hd_status move_all(hd_model *m, const hd_v4_rows_at *at, uint8_t *host, bool save)
{
    for (int32_t i = 0; i < m->cfg.n_layers; i++) {
        HD_TRY(move_layer(m, i, at, host, save));
        host += layer_bytes(m->cfg.ratio[i]);
    }
    return HD_OK;
}

hd_status hd_v4_rows_save(hd_model *m, const hd_v4_rows_at *at, uint8_t *host)
{
    return move_all(m, at, host, true);
}

hd_status hd_v4_rows_load(hd_model *m, const hd_v4_rows_at *at, const uint8_t *host)
{
    /* move() writes to it only when it saves. */
    return move_all(m, at, (uint8_t *)(uintptr_t)host, false);
}
