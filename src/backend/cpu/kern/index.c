/* The indexer: scores of the index keys, and the choice among them.
 *
 * Heads lie along the lanes: eight dots are added up at a time, then relu, weight and rounding act
 * on 16 heads at once, and the lanes collect the sum over heads in its canonical order. */
#include "backend/cpu/kern/rows.h"

enum { INDEX_RATIO = 4, MAX_HEADS = HD_SEGMENT, KEYS = 2, DOT_STEPS = HD_INDEX_DIM / 32 };
#define MINUS_INF 0xff80u

/* ---- scores --------------------------------------------------------------------------------- */

/** What one row of queries needs for all of its keys; lives in scratch. */
typedef struct query {
    float weight[MAX_HEADS];                                      /* bf16(w · factor), then 0 */
    HD_ALIGNED(64) uint8_t pan[MAX_HEADS][DOT_STEPS * PAN_BYTES]; /* heads, then zeros */
} query;
_Static_assert(sizeof(query) <= HD_CPU_SCRATCH_BYTES, "a lane's scratch is too small for a query");

static void load_query(query *out, const hd_bf16 *q, const hd_bf16 *w, int32_t n_heads,
                       float factor)
{
    for (int32_t h = 0; h < n_heads; h++) {
        out->weight[h] = hd_round_bf16(hd_f32_from_bf16(w[h]) * factor);
        pack_row(out->pan[h], q + (int64_t)h * HD_INDEX_DIM, HD_INDEX_DIM);
    }
    for (int32_t h = n_heads; h % 16; h++) {
        out->weight[h] = 0.0f;
        memset(out->pan[h], 0, sizeof out->pan[h]);
    }
}

HD_INLINE const uint8_t *paged_row(const hd_paged_rows *p, int32_t seq, int32_t i, size_t row_bytes)
{
    int64_t page = p->page[(int64_t)seq * p->max_pages + i / HD_PAGE_ROWS];
    return (const uint8_t *)p->pool + (size_t)(page * HD_PAGE_ROWS + i % HD_PAGE_ROWS) * row_bytes;
}

/* acc[i] += products of heads h … h + 15 with n_keys decoded keys. */
HD_INLINE void add_heads(const query *q, int32_t h, vw key[KEYS][DOT_STEPS], int n_keys,
                         vf acc[KEYS])
{
    float dot[KEYS][16];
    for (int half = 0; half < 16; half += 8) {
        vf sum[KEYS][8];
        for (int r = 0; r < 8; r++) {
            for (int i = 0; i < n_keys; i++) sum[i][r] = vf_zero();
            for (int j = 0; j < DOT_STEPS; j++) {
                vw x = vw_pan(q->pan[h + half + r] + j * PAN_BYTES);
                for (int i = 0; i < n_keys; i++) sum[i][r] = vw_dot(sum[i][r], x, key[i][j]);
            }
        }
        for (int i = 0; i < n_keys; i++) vf_hsum8(sum[i], dot[i] + half);
    }
    for (int i = 0; i < n_keys; i++) {
        vf d = vf_round_bf16(vf_load(dot[i]));
        d = vf_sel(vf_lt(d, vf_zero()), vf_zero(), d);
        acc[i] = vf_add(acc[i], vf_round_bf16(vf_mul(d, vf_load(q->weight + h))));
    }
}

HD_INLINE void score_keys(const hd_cpu_lane *lane, const query *q, int32_t n_heads,
                          const uint8_t *const row[KEYS], int n_keys, hd_bf16 *score)
{
    vw key[KEYS][DOT_STEPS];
    vf acc[KEYS];
    for (int i = 0; i < n_keys; i++) {
        acc[i] = vf_zero();
        for (int j = 0; j < DOT_STEPS; j++)
            key[i][j] = vw_fp4(row[i] + 16 * j, lane->tables, row[i][HD_INDEX_ROW_SCALE_AT + j]);
    }
    for (int32_t h = 0; h < n_heads; h += 16) add_heads(q, h, key, n_keys, acc);
    for (int i = 0; i < n_keys; i++) score[i] = hd_bf16_from_f32(vf_hsum(acc[i]));
}

/* Scores of the keys begin … end − 1 of a sequence. */
static void score_range(const hd_cpu_lane *lane, const query *q, int32_t n_heads,
                        const hd_paged_rows *keys, int32_t seq, int64_t begin, int64_t end,
                        hd_bf16 *score)
{
    for (int64_t j = begin; j < end;) {
        const uint8_t *row[KEYS];
        int n = (int)MIN(end - j, KEYS);
        for (int i = 0; i < n; i++)
            row[i] = paged_row(keys, seq, (int32_t)j + i, HD_INDEX_ROW_BYTES);
        if (n == KEYS)
            score_keys(lane, q, n_heads, row, KEYS, score + j);
        else
            score_keys(lane, q, n_heads, row, 1, score + j);
        j += n == KEYS ? KEYS : 1;
    }
}

HD_INLINE int32_t n_visible(const hd_step_rows *rows, int32_t row, int32_t ratio)
{
    return (rows->row_pos[row] + 1) / ratio;
}

/* All rows, cut by keys where there are fewer rows than threads. */
void KERN(index_score)(const hd_cpu_lane *lane, const hd_index_score_params *p)
{
    query *q = (query *)(void *)lane->scratch;
    int n_cuts = p->n_rows < lane->n ? lane->n : 1;
    hd_par_range r = my_rows(lane, (int64_t)p->n_rows * n_cuts);
    for (int64_t u = r.begin; u < r.end; u++) {
        int32_t i = (int32_t)(u / n_cuts), row = p->row0 + i;
        hd_bf16 *score = p->score + (int64_t)i * p->n_score;
        int32_t n = MIN(n_visible(&p->rows, row, INDEX_RATIO), p->n_score);
        hd_par_range cut = hd_par_split(n, 32, (int)(u % n_cuts), n_cuts);
        load_query(q, p->q + (int64_t)row * p->n_heads * HD_INDEX_DIM,
                   p->w + (int64_t)row * p->n_heads, p->n_heads, p->factor);
        score_range(lane, q, p->n_heads, &p->keys, p->rows.row_seq[row], cut.begin, cut.end, score);
        if (cut.end != n || u % n_cuts != n_cuts - 1) continue;
        for (int32_t j = n; j < p->n_score; j++) score[j] = MINUS_INF;
    }
}

/* ---- choice --------------------------------------------------------------------------------- */

/* An integer that orders as the score does; −0 is +0. */
HD_INLINE uint32_t order_key(hd_bf16 score)
{
    if (score == 0x8000u) score = 0;
    return score & 0x8000u ? 0xffffu & ~(uint32_t)score : score | 0x8000u;
}

/* The bucket from the top in which the count of `n_wanted` is reached; what is still wanted of it
 * goes back. */
static uint32_t find_bucket(const int32_t count[256], int32_t *n_wanted)
{
    uint32_t b = 255;
    while (count[b] < *n_wanted) *n_wanted -= count[b--];
    return b;
}

/* The k-th greatest key of n > k ≥ 1 scores; *n_equal: how many at it are taken. Two histograms:
 * high bytes, then low bytes of those in the bucket found. */
static uint32_t cutoff_key(const hd_bf16 *score, int32_t n, int32_t k, int32_t *n_equal)
{
    int32_t count[256] = {0};
    for (int32_t j = 0; j < n; j++) count[order_key(score[j]) >> 8]++;
    *n_equal = k;
    uint32_t high = find_bucket(count, n_equal);
    memset(count, 0, sizeof count);
    for (int32_t j = 0; j < n; j++) {
        uint32_t key = order_key(score[j]);
        if (key >> 8 == high) count[key & 255]++;
    }
    return high << 8 | find_bucket(count, n_equal);
}

static void select_row(const hd_bf16 *score, int32_t n, int32_t k, int32_t *sel)
{
    int32_t taken = 0, n_equal = n;
    uint32_t cutoff = n > k && k > 0 ? cutoff_key(score, n, k, &n_equal) : 0;
    for (int32_t j = 0; j < n && taken < k; j++) {
        uint32_t key = order_key(score[j]);
        if (key < cutoff || (key == cutoff && n_equal-- <= 0)) continue;
        sel[taken++] = j;
    }
    while (taken < k) sel[taken++] = -1;
}

void KERN(top_k)(const hd_cpu_lane *lane, const hd_top_k_params *p)
{
    hd_par_range r = my_rows(lane, p->n_rows);
    for (int64_t i = r.begin; i < r.end; i++) {
        int32_t row = p->row0 + (int32_t)i;
        select_row(p->score + i * p->n_score, MIN(n_visible(&p->rows, row, p->ratio), p->n_score),
                   p->k, p->sel + (int64_t)row * p->k);
    }
}

/* ---- fused: a few rows of scores at a time, one per thread ---------------------------------- */

void KERN(index_topk)(const hd_cpu_lane *lane, const hd_index_topk_params *p)
{
    for (int32_t row0 = 0; row0 < p->rows.n_rows; row0 += lane->n) {
        int32_t n = MIN(p->rows.n_rows - row0, lane->n);
        hd_index_score_params score = {.rows = p->rows,
                                       .row0 = row0,
                                       .n_rows = n,
                                       .n_heads = p->n_heads,
                                       .factor = p->factor,
                                       .q = p->q,
                                       .w = p->w,
                                       .keys = p->keys,
                                       .n_score = p->n_score,
                                       .score = p->work};
        KERN(index_score)(lane, &score);
        hd_par_barrier(lane->par);
        hd_top_k_params top = {.rows = p->rows,
                               .row0 = row0,
                               .n_rows = n,
                               .ratio = INDEX_RATIO,
                               .k = p->k,
                               .n_score = p->n_score,
                               .score = p->work,
                               .sel = p->sel};
        KERN(top_k)(lane, &top);
        hd_par_barrier(lane->par);
    }
}
