/* The register tile of all dense products: TILE_ROWS rows of a panel × TILE_TOKENS packed rows. */
#ifndef HD_BACKEND_CPU_TILE_H
#define HD_BACKEND_CPU_TILE_H

#include "backend/cpu/kern/kern.h"

#if !defined(HAVE_TILE_STEP)
/* acc[t][r] += one step of 32 columns. */
HD_INLINE void vw_tile_step(int n_rows, int n_tok, const uint8_t *w, const uint8_t *x,
                            size_t x_bytes, vf acc[][8])
{
    vw xv[TILE_TOKENS];
    for (int t = 0; t < n_tok; t++) xv[t] = vw_pan(x + (size_t)t * x_bytes);
    for (int r = 0; r < n_rows; r++) {
        vw wv = vw_pan(w + r * PAN_BYTES);
        for (int t = 0; t < n_tok; t++) acc[t][r] = vw_dot(acc[t][r], wv, xv[t]);
    }
}
#endif

/* sums[t · stride + r] += the products of one tile of rows with n_tok packed rows x. The panel has
 * row r of step j at (j · TILE_ROWS + r) · PAN_BYTES. Rows from n_rows on hold old bits, and their
 * products are dropped. n_tok is a constant where this is inlined. */
HD_INLINE void tile(int n_tok, int n_rows, const uint8_t *panel, const uint8_t *x, size_t x_bytes,
                    int64_t n_steps, float *sums, int64_t stride)
{
    vf acc[TILE_TOKENS][8];
    for (int t = 0; t < n_tok; t++)
        for (int r = 0; r < TILE_ROWS; r++) acc[t][r] = vf_zero();
    for (int64_t j = 0; j < n_steps; j++)
        vw_tile_step(TILE_ROWS, n_tok, panel + j * TILE_ROWS * PAN_BYTES, x + j * PAN_BYTES,
                     x_bytes, acc);
    for (int t = 0; t < n_tok; t++) {
        float out[8];
        if (TILE_ROWS == 8)
            vf_hsum8(acc[t], out);
        else
            for (int r = 0; r < TILE_ROWS; r++) out[r] = vf_hsum(acc[t][r]);
        for (int r = 0; r < n_rows; r++) sums[t * stride + r] += out[r];
    }
}

/* The same for any number of packed rows. */
HD_INLINE void tile_rows(int n_rows, const uint8_t *panel, const uint8_t *x, int64_t n_x,
                         int64_t n_steps, float *sums, int64_t stride)
{
    size_t x_bytes = (size_t)n_steps * PAN_BYTES;
    int64_t t = 0;
    for (; t + TILE_TOKENS <= n_x; t += TILE_TOKENS)
        tile(TILE_TOKENS, n_rows, panel, x + (size_t)t * x_bytes, x_bytes, n_steps,
             sums + t * stride, stride);
    if (TILE_TOKENS > 2 && t + 2 == n_x) {
        tile(2, n_rows, panel, x + (size_t)t * x_bytes, x_bytes, n_steps, sums + t * stride,
             stride);
        t += 2;
    }
    for (; t < n_x; t++)
        tile(1, n_rows, panel, x + (size_t)t * x_bytes, x_bytes, n_steps, sums + t * stride,
             stride);
}

#endif
