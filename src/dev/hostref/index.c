/* The indexer of layers with ratio 4: index_score, top_k.
 *
 * Scores are deliberately BF16 at every step, so ties are common: the lower index wins, and the
 * chosen ones are listed in ascending order, so that the attention that follows is the same
 * whatever found them. */
#include "base/canon.h"
#include "dev/hostref/rowfmt.h"

#define INDEX_RATIO     4 /* positions per index key */
#define MINUS_INF       0xff80u
#define MAX_INDEX_HEADS HD_SEGMENT

/* One row and one key: bf16(Σ_h bf16(relu(bf16(q_h · k)) · bf16(w_h · factor))), the sum over heads
 * a canonical one. */
static hd_bf16 score_of(const hd_index_score_params *p, int32_t row, const float *key)
{
    const hd_bf16 *q = p->q + (size_t)row * (size_t)p->n_heads * HD_INDEX_DIM;
    const hd_bf16 *w = p->w + (size_t)row * (size_t)p->n_heads;
    float product[MAX_INDEX_HEADS], head[HD_INDEX_DIM];
    for (int32_t h = 0; h < p->n_heads; h++) {
        hd_hostref_bf16_row(q + (size_t)h * HD_INDEX_DIM, HD_INDEX_DIM, head);
        float dot = hd_round_bf16(hd_canon_dot(head, key, HD_INDEX_DIM));
        float weight = hd_round_bf16(hd_f32_from_bf16(w[h]) * p->factor);
        if (dot < 0.0f) dot = 0.0f;
        product[h] = hd_round_bf16(dot * weight);
    }
    return hd_bf16_from_f32(hd_canon_sum(product, (size_t)p->n_heads));
}

static hd_status index_score(const hd_index_score_params *p)
{
    if (!hd_hostref_rows_ok(&p->rows) || p->n_rows < 0 || p->n_score < 0) return HD_E_ARG;
    if (p->row0 < 0 || p->row0 > p->rows.n_rows - p->n_rows) return HD_E_ARG;
    if (p->n_heads < 1 || p->n_heads > MAX_INDEX_HEADS) return HD_E_UNSUPPORTED;
    float key[HD_INDEX_DIM];
    for (int32_t i = 0; i < p->n_rows; i++) {
        int32_t row = p->row0 + i, seq = p->rows.row_seq[row];
        int32_t n_visible = (p->rows.row_pos[row] + 1) / INDEX_RATIO;
        hd_bf16 *score = p->score + (size_t)i * (size_t)p->n_score;
        for (int32_t j = 0; j < p->n_score; j++) {
            if (j >= n_visible) {
                score[j] = MINUS_INF;
                continue;
            }
            hd_hostref_index_row(hd_hostref_paged_row(&p->keys, seq, j, HD_INDEX_ROW_BYTES), key);
            score[j] = score_of(p, row, key);
        }
    }
    return HD_OK;
}
HD_HOSTREF_OP(index_score)

/* An integer that orders as the score does; −0 is +0. (NaN lies beyond the infinity of its sign.)
 */
static uint32_t order_key(hd_bf16 score)
{
    if (score == 0x8000u) score = 0;
    return score & 0x8000u ? 0xffffu & ~(uint32_t)score : score | 0x8000u;
}

static int32_t count_at_least(const hd_bf16 *score, int32_t n, uint32_t key)
{
    int32_t count = 0;
    for (int32_t j = 0; j < n; j++) count += order_key(score[j]) >= key;
    return count;
}

/* The k-th greatest key of n > k scores: the greatest key that at least k scores reach, found bit
 * by bit from the top. */
static uint32_t cutoff_key(const hd_bf16 *score, int32_t n, int32_t k)
{
    uint32_t key = 0;
    for (uint32_t bit = 0x8000u; bit; bit >>= 1)
        if (count_at_least(score, n, key | bit) >= k) key |= bit;
    return key;
}

/* Those above the cutoff, and of those at it the lowest indices, in ascending order. */
static void select_row(const hd_bf16 *score, int32_t n, int32_t k, int32_t *sel)
{
    int32_t taken = 0;
    uint32_t cutoff = n > k ? cutoff_key(score, n, k) : 0;
    int32_t at_cutoff = n > k ? k - count_at_least(score, n, cutoff + 1) : n;
    for (int32_t j = 0; j < n && taken < k; j++) {
        uint32_t key = order_key(score[j]);
        if (key < cutoff || (key == cutoff && at_cutoff-- <= 0)) continue;
        sel[taken++] = j;
    }
    while (taken < k) sel[taken++] = -1;
}

static hd_status top_k(const hd_top_k_params *p)
{
    if (!hd_hostref_rows_ok(&p->rows) || p->n_rows < 0 || p->k < 0 || p->ratio < 1) return HD_E_ARG;
    if (p->row0 < 0 || p->row0 > p->rows.n_rows - p->n_rows) return HD_E_ARG;
    for (int32_t i = 0; i < p->n_rows; i++) {
        int32_t row = p->row0 + i, n_visible = (p->rows.row_pos[row] + 1) / p->ratio;
        int32_t n = n_visible < p->n_score ? n_visible : p->n_score;
        select_row(p->score + (size_t)i * (size_t)p->n_score, n, p->k,
                   p->sel + (size_t)row * (size_t)p->k);
    }
    return HD_OK;
}
HD_HOSTREF_OP(top_k)
