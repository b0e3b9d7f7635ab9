/* One to four tokens: rows are decoded in registers and used at once.
 *
 * Memory is the limit here, so rows are read in the file's order: four at a time (their four
 * accumulators hide the latency of the dot, whose order allows only one chain per row and segment),
 * while the next four are prefetched front to back. Lanes lie along K as the canonical order says.
 */
#include "backend/cpu/kern/kern.h"

enum { R = DIRECT_ROWS };

/* acc[r][t] += columns k … k + 63. */
HD_INLINE void step64(hd_weight_format format, int n_rows, int n_tok, const wrows *w, int64_t k,
                      v8 table, const hd_cpu_tables *tables, const uint8_t *x, size_t x_bytes,
                      vf acc[R][MAX_DIRECT_TOKENS])
{
    vw xv[MAX_DIRECT_TOKENS][2];
    for (int t = 0; t < n_tok; t++) {
        xv[t][0] = vw_pan(x + (size_t)t * x_bytes);
        xv[t][1] = vw_pan(x + (size_t)t * x_bytes + PAN_BYTES);
    }
    for (int r = 0; r < n_rows; r++) {
        vw wv[2];
        load64(format, w, r, k, table, tables, wv);
        for (int t = 0; t < n_tok; t++) acc[r][t] = vw_dot(acc[r][t], wv[0], xv[t][0]);
        for (int t = 0; t < n_tok; t++) acc[r][t] = vw_dot(acc[r][t], wv[1], xv[t][1]);
    }
}

HD_INLINE void prefetch_next(hd_weight_format format, int n_rows, const wrows *w, int64_t k)
{
    const uint8_t *next = w->row + (size_t)n_rows * w->row_bytes;
    size_t step = (size_t)n_rows * bytes64(format), at = (size_t)k / 64 * step;
    for (size_t i = 0; i < step; i += 64) __builtin_prefetch(next + at + i);
}

/* out[t][r] = the dot products of n_rows rows with n_tok tokens. */
HD_INLINE void dot_rows(hd_weight_format format, int n_rows, int n_tok, const wrows *w,
                        int64_t cols, const hd_cpu_tables *tables, const uint8_t *x, size_t x_bytes,
                        float out[MAX_DIRECT_TOKENS][R])
{
    for (int t = 0; t < n_tok; t++)
        for (int r = 0; r < n_rows; r++) out[t][r] = 0.0f;
    v8 table = v8_load(tables, 127);
    int64_t whole = cols / 64 * 64;
    for (int64_t k0 = 0; k0 < cols; k0 += HD_SEGMENT) {
        vf acc[R][MAX_DIRECT_TOKENS];
        for (int r = 0; r < n_rows; r++)
            for (int t = 0; t < n_tok; t++) acc[r][t] = vf_zero();
        int64_t k1 = MIN(k0 + HD_SEGMENT, whole);
        for (int64_t k = k0; k < k1; k += 64) {
            if (format == HD_WEIGHT_FP8 && k % 128 == 0) table = v8_load(tables, w->scale[k / 128]);
            if (n_rows == R) prefetch_next(format, n_rows, w, k);
            step64(format, n_rows, n_tok, w, k, table, tables, x + k / 32 * PAN_BYTES, x_bytes,
                   acc);
        }
        if (whole < cols && whole - k0 < HD_SEGMENT) {
            wtail tail;
            load_tail(format, w, n_rows, cols, &tail);
            if (format == HD_WEIGHT_FP8) table = v8_load(tables, tail.rows.scale[0]);
            step64(format, n_rows, n_tok, &tail.rows, 0, table, tables, x + whole / 32 * PAN_BYTES,
                   x_bytes, acc);
        }
        for (int t = 0; t < n_tok; t++)
            for (int r = 0; r < n_rows; r++) out[t][r] += vf_hsum(acc[r][t]);
    }
}

HD_INLINE void store_out(const mat_job *job, int32_t r, int n_rows, float out[MAX_DIRECT_TOKENS][R])
{
    for (int32_t t = 0; t < job->n_tok; t++) {
        int64_t at = t * job->y_stride + r;
        for (int i = 0; i < n_rows; i++) {
            if (job->y_kind == HD_Y_F32)
                ((float *)job->y)[at + i] = out[t][i];
            else
                ((hd_bf16 *)job->y)[at + i] = hd_bf16_from_f32(out[t][i]);
        }
    }
}

/* All rows of a range; `format` and `n_tok` are constants where this is inlined. */
HD_INLINE void direct(hd_weight_format format, int n_tok, const hd_cpu_lane *lane,
                      const mat_job *job, int32_t r0, int32_t r1)
{
    int64_t cols = job->w->base.cols;
    size_t x_bytes = (size_t)padded(cols) / 32 * PAN_BYTES;
    float out[MAX_DIRECT_TOKENS][R];
    for (int32_t r = r0; r < r1;) {
        wrows w = job_rows(job, r);
        /* Whole blocks lie at multiples of four in the part, so never across a scale's border. */
        if ((job->row0 + r) % R == 0 && r + R <= r1) {
            dot_rows(format, R, n_tok, &w, cols, lane->tables, lane->scratch, x_bytes, out);
            store_out(job, r, R, out);
            r += R;
        } else {
            dot_rows(format, 1, n_tok, &w, cols, lane->tables, lane->scratch, x_bytes, out);
            store_out(job, r, 1, out);
            r += 1;
        }
    }
}

#define DIRECT(format, n_tok)                                                                      \
    static void direct_##format##_##n_tok(const hd_cpu_lane *lane, const mat_job *job, int32_t r0, \
                                          int32_t r1)                                              \
    {                                                                                              \
        direct(HD_WEIGHT_##format, n_tok, lane, job, r0, r1);                                      \
    }
#define DIRECT_FORMAT(format)                                                                      \
    DIRECT(format, 1) DIRECT(format, 2) DIRECT(format, 3) DIRECT(format, 4)
DIRECT_FORMAT(BF16)
DIRECT_FORMAT(FP8)
DIRECT_FORMAT(FP4)

void KERN(mat_direct)(const hd_cpu_lane *lane, const mat_job *job, int32_t r0, int32_t r1)
{
    typedef void (*direct_fn)(const hd_cpu_lane *, const mat_job *, int32_t, int32_t);
#define ROW(format)                                                                                \
    {direct_##format##_1, direct_##format##_2, direct_##format##_3, direct_##format##_4}
    static const direct_fn fn[3][MAX_DIRECT_TOKENS] = {ROW(BF16), ROW(FP8), ROW(FP4)};
#undef ROW
    int64_t cols = job->w->base.cols;
    size_t x_bytes = (size_t)padded(cols) / 32 * PAN_BYTES;
    for (int32_t t = 0; t < job->n_tok; t++)
        pack_row(lane->scratch + (size_t)t * x_bytes, job_x(job, t), cols);
    fn[job->w->base.format - HD_WEIGHT_BF16][job->n_tok - 1](lane, job, r0, r1);
}
