/* Attention: which keys a row sees, in canonical order, and the softmax over them.
 *
 * The order of the key list is part of the result, because weights are rounded to BF16 relative to
 * a running maximum. The list depends on the row's position only, never on how the prompt was cut
 * into steps: a key comes from the ring or from the step's own rows, its slot is the same. */
#include <string.h>

#include "base/canon.h"
#include "dev/hostref/attend.h"

/* ---- the running softmax --------------------------------------------------------------------- */

void hd_hostref_attend_init(hd_ref_softmax *s)
{
    memset(s, 0, sizeof *s);
    s->max = -INFINITY;
}

/* score[i] of the valid slots; returns the greatest of them and of `max`. */
static float block_scores(const float *q, float scale, const hd_ref_key_block *block, float max,
                          float *score)
{
    for (int i = 0; i < HD_KEY_BLOCK; i++) {
        if (!block->is_valid[i]) continue;
        score[i] = hd_canon_dot(q, block->key[i], HD_HEAD_DIM) * scale;
        if (score[i] > max) max = score[i];
    }
    return max;
}

static bool has_valid(const hd_ref_key_block *block)
{
    for (int i = 0; i < HD_KEY_BLOCK; i++)
        if (block->is_valid[i]) return true;
    return false;
}

void hd_hostref_attend_block(hd_ref_softmax *s, const float *q, float scale,
                             const hd_ref_key_block *block)
{
    if (!has_valid(block)) return;
    float p[HD_KEY_BLOCK];
    float max = block_scores(q, scale, block, s->max, p);
    float alpha = hd_expf(s->max - max); /* exactly 1 when the maximum stays, 0 at the first key */
    for (int i = 0; i < HD_KEY_BLOCK; i++) p[i] = block->is_valid[i] ? hd_expf(p[i] - max) : 0.0f;
    s->sum = s->sum * alpha + hd_canon_sum(p, HD_KEY_BLOCK);
    for (int c = 0; c < HD_HEAD_DIM; c++) s->acc[c] *= alpha;
    for (int i = 0; i < HD_KEY_BLOCK; i++) {
        if (block->is_valid[i])
            hd_canon_step(hd_round_bf16(p[i]), block->key[i], s->acc, HD_HEAD_DIM);
    }
    s->max = max;
}

void hd_hostref_attend_finish(hd_ref_softmax *s, float sink, hd_bf16 *o)
{
    float sum = s->sum + hd_expf(sink - s->max);
    bool has_key = s->sum != 0.0f; /* the greatest weight is 1; NaN must show */
    for (int c = 0; c < HD_HEAD_DIM; c++) {
        o[c] = has_key ? hd_bf16_from_f32(s->acc[c] / sum) : 0;
    }
}

/* ---- the key list of a row ------------------------------------------------------------------- */

/* The window row at position `pos` of the sequence of step row `row`. */
static const uint8_t *window_row(const hd_attention_params *p, int32_t row, int32_t pos)
{
    int32_t seq = p->rows.row_seq[row], ahead = pos - p->rows.seq_pos0[seq];
    if (ahead < 0) {
        return hd_hostref_paged_row(&p->window, seq, pos % HD_RING_SLOTS, HD_KV_ROW_BYTES);
    }
    return p->new_rows + (size_t)(p->rows.seq_row0[seq] + ahead) * HD_KV_ROW_BYTES;
}

static int32_t n_visible(const hd_attention_params *p, int32_t row)
{
    return p->ratio ? (p->rows.row_pos[row] + 1) / p->ratio : 0;
}

/* Causal list: 128 window slots, oldest first, then the compressed entries. NULL is a masked slot.
 */
static int32_t causal_slots(const hd_attention_params *p, int32_t row)
{
    return HD_WINDOW + (p->ratio && p->sel ? p->n_sel : n_visible(p, row));
}

static const uint8_t *causal_key(const hd_attention_params *p, int32_t row, int32_t slot)
{
    int32_t pos = p->rows.row_pos[row];
    if (slot < HD_WINDOW) {
        int32_t oldest = pos < HD_WINDOW ? 0 : pos - HD_WINDOW + 1;
        return oldest + slot <= pos ? window_row(p, row, oldest + slot) : NULL;
    }
    int32_t entry = slot - HD_WINDOW;
    if (p->sel) entry = p->sel[(size_t)row * (size_t)p->n_sel + (size_t)entry];
    if (entry < 0) return NULL;
    return hd_hostref_paged_row(&p->compressed, p->rows.row_seq[row], entry, HD_KV_ROW_BYTES);
}

/* Draft list: of the positions up to the one before the block the last 128, ordered by position
 * mod 128; then the whole block. */
static int32_t draft_ring_slots(const hd_attention_params *p, int32_t seq)
{
    int32_t n = p->rows.seq_pos0[seq];
    return n < HD_WINDOW ? n : HD_WINDOW;
}

static const uint8_t *draft_key(const hd_attention_params *p, int32_t row, int32_t slot)
{
    int32_t seq = p->rows.row_seq[row], n_ring = draft_ring_slots(p, seq);
    int32_t pos0 = p->rows.seq_pos0[seq], last = pos0 - 1;
    if (slot < n_ring) return window_row(p, row, last - (last - slot) % HD_WINDOW);
    return window_row(p, row, pos0 + slot - n_ring);
}

static int32_t n_slots(const hd_attention_params *p, int32_t row)
{
    if (p->kind == HD_ATTN_CAUSAL) return causal_slots(p, row);
    int32_t seq = p->rows.row_seq[row];
    return draft_ring_slots(p, seq) + p->rows.seq_len[seq];
}

static void load_block(const hd_attention_params *p, int32_t row, int32_t slot0, int32_t end,
                       hd_ref_key_block *block)
{
    for (int32_t i = 0; i < HD_KEY_BLOCK; i++) {
        const uint8_t *key = NULL;
        if (slot0 + i < end) {
            key = p->kind == HD_ATTN_CAUSAL ? causal_key(p, row, slot0 + i)
                                            : draft_key(p, row, slot0 + i);
        }
        block->is_valid[i] = key != NULL;
        if (key) hd_hostref_kv_row(key, block->key[i]);
    }
}

/* ---- the op ---------------------------------------------------------------------------------- */

#define HEADS_AT_A_TIME 16 /* that share a decoded block of keys */

/* Heads head0 … head0 + n − 1 of one row. */
static void attend_heads(const hd_attention_params *p, int32_t row, int32_t head0, int32_t n)
{
    size_t at = ((size_t)row * (size_t)p->n_heads + (size_t)head0) * HD_HEAD_DIM;
    hd_ref_softmax state[HEADS_AT_A_TIME];
    float q[HEADS_AT_A_TIME][HD_HEAD_DIM];
    hd_ref_key_block block;
    for (int32_t h = 0; h < n; h++) {
        hd_hostref_attend_init(&state[h]);
        hd_hostref_bf16_row(p->q + at + (size_t)h * HD_HEAD_DIM, HD_HEAD_DIM, q[h]);
    }
    int32_t end = n_slots(p, row);
    for (int32_t slot0 = 0; slot0 < end; slot0 += HD_KEY_BLOCK) {
        load_block(p, row, slot0, end, &block);
        for (int32_t h = 0; h < n; h++) hd_hostref_attend_block(&state[h], q[h], p->scale, &block);
    }
    for (int32_t h = 0; h < n; h++) {
        hd_hostref_attend_finish(&state[h], p->sink[head0 + h],
                                 p->o + at + (size_t)h * HD_HEAD_DIM);
    }
}

static hd_status attention(const hd_attention_params *p)
{
    if (!hd_hostref_rows_ok(&p->rows) || p->n_heads < 0 || p->n_sel < 0 || p->ratio < 0)
        return HD_E_ARG;
    if (p->kind == HD_ATTN_DRAFT && p->ratio) return HD_E_UNSUPPORTED;
    for (int32_t t = 0; t < p->rows.n_rows; t++) {
        for (int32_t h = 0; h < p->n_heads; h += HEADS_AT_A_TIME) {
            int32_t left = p->n_heads - h;
            attend_heads(p, t, h, left < HEADS_AT_A_TIME ? left : HEADS_AT_A_TIME);
        }
    }
    return HD_OK;
}
HD_HOSTREF_OP(attention)
