/* Pieces that the element-wise kernels share: short rows, ranges of blocks, canonical sums. */
#ifndef HD_BACKEND_CPU_ROWS_H
#define HD_BACKEND_CPU_ROWS_H

#include "backend/cpu/kern/kern.h"

/* 16 elements, or n < 16 of them and zeros. */
HD_INLINE vf ld_bf16(const hd_bf16 *p, int64_t n)
{
    return n >= 16 ? vf_load_bf16(p) : vf_load_bf16_n(p, (int)n);
}

HD_INLINE void st_bf16(hd_bf16 *p, vf x, int64_t n)
{
    if (n >= 16)
        vf_store_bf16(p, x);
    else
        vf_store_bf16_n(p, x, (int)n);
}

HD_INLINE vf ld_f32(const float *p, int64_t n)
{
    return n >= 16 ? vf_load(p) : vf_load_n(p, (int)n);
}

HD_INLINE void st_f32(float *p, vf x, int64_t n)
{
    if (n >= 16)
        vf_store(p, x);
    else
        vf_store_n(p, x, (int)n);
}

/* This thread's share of `n` rows. */
HD_INLINE hd_par_range my_rows(const hd_cpu_lane *lane, int64_t n)
{
    return hd_par_split(n, 1, lane->i, lane->n);
}

/** One stretch of columns of one row. */
typedef struct piece {
    int64_t row, begin, end;
} piece;

enum { PIECE_COLS = 256 };

HD_INLINE int64_t n_pieces(int64_t n_rows, int64_t cols)
{
    return n_rows * ((cols + PIECE_COLS - 1) / PIECE_COLS);
}

HD_INLINE piece piece_at(int64_t i, int64_t cols)
{
    int64_t per_row = (cols + PIECE_COLS - 1) / PIECE_COLS, begin = i % per_row * PIECE_COLS;
    return (piece){i / per_row, begin, MIN(begin + PIECE_COLS, cols)};
}

/* Canonical sum of squares of bf16 [n]; the squares are exact. */
HD_INLINE float sum_sq(const hd_bf16 *x, int64_t n)
{
    float total = 0.0f;
    for (int64_t k0 = 0; k0 < n; k0 += HD_SEGMENT) {
        vf acc = vf_zero();
        for (int64_t k = k0; k < MIN(k0 + HD_SEGMENT, n); k += 16) {
            vf v = ld_bf16(x + k, n - k);
            acc = vf_fma(v, v, acc);
        }
        total += vf_hsum(acc);
    }
    return total;
}

/** Cosines and sines of one row, once per element of a pair; sines negative at even elements. */
typedef struct rope_row {
    float cos[HD_ROPE_DIM], sin[HD_ROPE_DIM];
} rope_row;

HD_INLINE void rope_load(rope_row *r, const float *cos_sin, bool inverse)
{
    for (int i = 0; i < HD_ROPE_DIM / 2; i++) {
        float s = cos_sin[HD_ROPE_DIM / 2 + i];
        if (inverse) s = -s;
        r->cos[2 * i] = r->cos[2 * i + 1] = cos_sin[i];
        r->sin[2 * i] = -s;
        r->sin[2 * i + 1] = s;
    }
}

/* x bf16 [64]: (a, b) → (a·c − b·s, b·c + a·s). */
HD_INLINE void rope_apply(hd_bf16 *x, const rope_row *r)
{
    for (int i = 0; i < HD_ROPE_DIM; i += 16) {
        vf v = vf_load_bf16(x + i);
        vf straight = vf_mul(v, vf_load(r->cos + i));
        vf crossed = vf_mul(vf_swap(v, 1), vf_load(r->sin + i));
        vf_store_bf16(x + i, vf_add(straight, crossed));
    }
}

/* y = bf16(w · (x · rsqrt(mean(x²) + eps))) for one row; y may be x. */
HD_INLINE void rms_norm_row(hd_bf16 *y, const hd_bf16 *x, const hd_bf16 *w, int64_t n, float eps)
{
    vf g = vf_set1(hd_rsqrtf(sum_sq(x, n) / (float)n + eps));
    for (int64_t k = 0; k < n; k += 16) {
        vf v = vf_mul(ld_bf16(x + k, n - k), g);
        st_bf16(y + k, vf_mul(ld_bf16(w + k, n - k), v), n - k);
    }
}

/** actq8 of one row as dequantised bf16. */
void KERN(quantize_row)(hd_bf16 *y, const hd_bf16 *x, int64_t n);
/** 512 columns into a 584-byte cache row. */
void KERN(kv_row_pack)(uint8_t *row, const hd_bf16 *x);

#endif
