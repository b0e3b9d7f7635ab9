/* FP32 weights: each fused step rounds, so the operands are widened pairs on every machine. The
 * few matrices of this kind (hyper-connections) are small; a plain register tile serves. */
#include "backend/cpu/kern/kern.h"

enum { ROWS = F32_TILE, TOKENS = F32_TILE };

HD_INLINE vp row_f32(const uint8_t *row, int64_t k, int64_t cols)
{
    float tmp[32] = {0};
    if (k + 32 <= cols) return vp_f32((const float *)(const void *)(row + k * 4));
    memcpy(tmp, row + k * 4, (size_t)(cols - k) * sizeof *tmp);
    return vp_f32(tmp);
}

HD_INLINE vp row_bf16(const hd_bf16 *x, int64_t k, int64_t cols)
{
    hd_bf16 tmp[32] = {0};
    if (k + 32 <= cols) return vp_bf16(x + k);
    memcpy(tmp, x + k, (size_t)(cols - k) * sizeof *tmp);
    return vp_bf16(tmp);
}

/* y of n_rows rows from r on, n_tok tokens from t on. */
HD_INLINE void tile(const mat_job *job, int n_rows, int n_tok, int32_t r, int32_t t)
{
    int64_t cols = job->w->base.cols;
    wrows w = job_rows(job, r);
    const hd_bf16 *x[TOKENS];
    float out[TOKENS][ROWS] = {{0}};
    for (int i = 0; i < n_tok; i++) x[i] = job_x(job, t + i);
    for (int64_t k0 = 0; k0 < cols; k0 += HD_SEGMENT) {
        vf acc[ROWS][TOKENS];
        for (int i = 0; i < n_rows; i++)
            for (int j = 0; j < n_tok; j++) acc[i][j] = vf_zero();
        int64_t k1 = MIN(k0 + HD_SEGMENT, cols);
        for (int64_t k = k0; k < k1; k += 32) {
            vp xv[TOKENS];
            for (int j = 0; j < n_tok; j++) xv[j] = row_bf16(x[j], k, cols);
            for (int i = 0; i < n_rows; i++) {
                vp wv = row_f32(w.row + (size_t)i * w.row_bytes, k, cols);
                for (int j = 0; j < n_tok; j++) acc[i][j] = vp_dot(acc[i][j], wv, xv[j]);
            }
        }
        for (int i = 0; i < n_rows; i++)
            for (int j = 0; j < n_tok; j++) out[j][i] += vf_hsum(acc[i][j]);
    }
    for (int j = 0; j < n_tok; j++) {
        int64_t at = (t + j) * job->y_stride + r;
        for (int i = 0; i < n_rows; i++) {
            if (job->y_kind == HD_Y_F32)
                ((float *)job->y)[at + i] = out[j][i];
            else
                ((hd_bf16 *)job->y)[at + i] = hd_bf16_from_f32(out[j][i]);
        }
    }
}

void KERN(mat_f32)(const mat_job *job, int32_t r0, int32_t r1, int32_t t0, int32_t t1)
{
    for (int32_t t = t0; t < t1;) {
        int n_tok = t1 - t >= TOKENS ? TOKENS : 1;
        for (int32_t r = r0; r < r1;) {
            int n_rows = r1 - r >= ROWS ? ROWS : 1;
            if (n_tok == TOKENS && n_rows == ROWS)
                tile(job, ROWS, TOKENS, r, t);
            else if (n_rows == ROWS)
                tile(job, ROWS, 1, r, t);
            else if (n_tok == TOKENS)
                tile(job, 1, TOKENS, r, t);
            else
                tile(job, 1, 1, r, t);
            r += n_rows;
        }
        t += n_tok;
    }
}
