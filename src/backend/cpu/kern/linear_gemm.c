/* Many tokens: a few rows are decoded once into a panel, then meet all tokens of a block.
 *
 * One call computes up to 128 rows for up to 192 tokens (fewer where operands are FP32). Segment by
 * segment the tokens' columns are packed side by side (from rows far apart they would crowd into a
 * few cache sets), a panel of TILE_ROWS · PANEL_TILES rows is decoded into the first-level cache,
 * and tiles of TILE_ROWS × TILE_TOKENS accumulators run over it with lanes along K. */
#include "backend/cpu/kern/tile.h"

#define PANEL_ROWS  (TILE_ROWS * PANEL_TILES)
#define PANEL_STEPS (HD_SEGMENT / 32)
#define TILE_BYTES  ((size_t)PANEL_STEPS * TILE_ROWS * PAN_BYTES)

/* Scratch: packed tokens, panel, sums. */
#define PANEL_AT MAT_XPAN_BYTES
#define SUMS_AT  (PANEL_AT + PANEL_TILES * TILE_BYTES)
_Static_assert(SUMS_AT + MAT_CHUNK_ROWS * MAT_BLOCK_TOKENS * sizeof(float) <= HD_CPU_SCRATCH_BYTES,
               "a lane's scratch is too small for the matrix product");
_Static_assert(PANEL_ROWS <= 8 && MAT_CHUNK_ROWS % PANEL_ROWS == 0, "panels must fit the chunk");

enum { STEP_BYTES = TILE_ROWS * PAN_BYTES };

/* Where row r of a panel begins; its steps of 32 columns are STEP_BYTES apart. */
static uint8_t *panel_row(uint8_t *panel, int r)
{
    return panel + (size_t)(r / TILE_ROWS) * TILE_BYTES + (size_t)(r % TILE_ROWS) * PAN_BYTES;
}

/* Columns k … k + 63 of n_rows rows, to the step at `out`. Rows inside: the panel is written front
 * to back. */
HD_INLINE void decode64(hd_weight_format format, const wrows *w, int n_rows, int64_t k, v8 table,
                        const hd_cpu_tables *tables, uint8_t *out)
{
    for (int r = 0; r < n_rows; r++) {
        vw v[2];
        load64(format, w, r, k, table, tables, v);
        vw_pan_store(panel_row(out, r), v[0]);
        vw_pan_store(panel_row(out, r) + STEP_BYTES, v[1]);
    }
}

/* Columns k0 … k1 − 1 of n_rows rows; the panel ends at a multiple of 64 columns. */
HD_INLINE void decode(hd_weight_format format, const wrows *w, int n_rows, int64_t cols, int64_t k0,
                      int64_t k1, const hd_cpu_tables *tables, uint8_t *panel)
{
    v8 table = v8_load(tables, 127);
    int64_t whole = MIN(k1, cols / 64 * 64);
    for (int64_t k = k0; k < whole; k += 64, panel += 2 * STEP_BYTES) {
        if (format == HD_WEIGHT_FP8 && k % 128 == 0) table = v8_load(tables, w->scale[k / 128]);
        decode64(format, w, n_rows, k, table, tables, panel);
    }
    if (whole == k1) return;
    wtail tail;
    load_tail(format, w, n_rows, cols, &tail);
    if (format == HD_WEIGHT_FP8) table = v8_load(tables, tail.rows.scale[0]);
    decode64(format, &tail.rows, n_rows, 0, table, tables, panel);
}

static void decode_panel(const mat_job *job, int32_t r, int n_rows, int64_t k0, int64_t k1,
                         const hd_cpu_tables *tables, uint8_t *panel)
{
    wrows w = job_rows(job, r);
    int64_t cols = job->w->base.cols;
    /* Full panels with a constant number of rows. */
#define DECODE(n) decode(HD_WEIGHT_FP4, &w, n, cols, k0, k1, tables, panel)
    switch (job->w->base.format) {
    case HD_WEIGHT_FP4:
        n_rows == PANEL_ROWS ? decode(HD_WEIGHT_FP4, &w, PANEL_ROWS, cols, k0, k1, tables, panel)
                             : decode(HD_WEIGHT_FP4, &w, n_rows, cols, k0, k1, tables, panel);
        break;
    case HD_WEIGHT_FP8:
        n_rows == PANEL_ROWS ? decode(HD_WEIGHT_FP8, &w, PANEL_ROWS, cols, k0, k1, tables, panel)
                             : decode(HD_WEIGHT_FP8, &w, n_rows, cols, k0, k1, tables, panel);
        break;
    default:
        n_rows == PANEL_ROWS ? decode(HD_WEIGHT_BF16, &w, PANEL_ROWS, cols, k0, k1, tables, panel)
                             : decode(HD_WEIGHT_BF16, &w, n_rows, cols, k0, k1, tables, panel);
        break;
    }
}

/* One panel of n_rows rows against n_tok packed tokens. */
static void panel_times_tokens(const uint8_t *panel, int n_rows, const uint8_t *x, int32_t n_tok,
                               int64_t n_steps, float *sums)
{
    size_t x_bytes = (size_t)n_steps * PAN_BYTES;
    for (int32_t t0 = 0; t0 < n_tok; t0 += TILE_TOKENS) {
        int32_t n = MIN(n_tok - t0, TILE_TOKENS);
        for (int r = 0; r < n_rows; r += TILE_ROWS)
            tile_rows(MIN(n_rows - r, TILE_ROWS), panel + (size_t)(r / TILE_ROWS) * TILE_BYTES,
                      x + (size_t)t0 * x_bytes, n, n_steps, sums + t0 * MAT_CHUNK_ROWS + r,
                      MAT_CHUNK_ROWS);
    }
}

static void store_sums(const mat_job *job, int32_t r0, int32_t n_rows, int32_t t0, int32_t n_tok,
                       const float *sums)
{
    for (int32_t t = 0; t < n_tok; t++, sums += MAT_CHUNK_ROWS) {
        int64_t at = (t0 + t) * job->y_stride + r0;
        if (job->y_kind == HD_Y_F32) {
            memcpy((float *)job->y + at, sums, (size_t)n_rows * sizeof *sums);
            continue;
        }
        hd_bf16 *y = (hd_bf16 *)job->y + at;
        int32_t r = 0;
        for (; r + 16 <= n_rows; r += 16) vf_store_bf16(y + r, vf_load(sums + r));
        for (; r < n_rows; r++) y[r] = hd_bf16_from_f32(sums[r]);
    }
}

void KERN(mat_panels)(const hd_cpu_lane *lane, const mat_job *job, int32_t r0, int32_t r1,
                      int32_t t0, int32_t t1)
{
    uint8_t *x = lane->scratch, *panel = lane->scratch + PANEL_AT;
    float *sums = (float *)(void *)(lane->scratch + SUMS_AT);
    int64_t cols = job->w->base.cols;
    int32_t n_tok = t1 - t0;
    memset(sums, 0, (size_t)n_tok * MAT_CHUNK_ROWS * sizeof *sums);
    for (int64_t k0 = 0; k0 < cols; k0 += HD_SEGMENT) {
        int64_t k1 = MIN(k0 + HD_SEGMENT, cols), n_steps = padded(k1 - k0) / 32;
        for (int32_t t = 0; t < n_tok; t++)
            pack_row(x + (size_t)(t * n_steps) * PAN_BYTES, job_x(job, t0 + t) + k0, k1 - k0);
        for (int32_t r = r0; r < r1;) {
            /* Panels end at multiples of PANEL_ROWS in the part: never across a scale's border. */
            int n = MIN(PANEL_ROWS - (job->row0 + r) % PANEL_ROWS, r1 - r);
            decode_panel(job, r, n, k0, k1, lane->tables, panel);
            panel_times_tokens(panel, n, x, n_tok, n_steps, sums + (r - r0));
            r += n;
        }
    }
    store_sums(job, r0, r1 - r0, t0, n_tok, sums);
}
