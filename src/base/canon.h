/* The canonical orders: which sum an FP32 reduction is, to the bit.
 *
 * IEEE addition is not associative, so "the dot product" is defined by its order. Ours is that of a
 * 16-lane machine with a paired BF16 dot instruction, cut into segments of 1024 elements; scalar
 * code, 8-lane and 16-lane vectors all can follow it, and it depends on nothing but the number of
 * elements: not on batch, threads or chunks. All CPU backends give these bits (docs/numerics.md).
 *
 *   dot:  lane l of 16 takes the pairs (32j + 2l, 32j + 2l + 1), j = 0, 1, …: first the odd
 *         element, then the even one, each a fused multiply-add; lanes start at 0.
 *   sum:  lane i mod 16 takes element i, ascending.
 *   both: lanes are added by halving (l + 8, l + 4, l + 2, l + 1) once per segment of 1024, and
 *         segments are added left to right, from 0. A short tail is padded with zeros. */
#ifndef HD_BASE_CANON_H
#define HD_BASE_CANON_H

#include <stddef.h>

#define HD_CANON_LANES   16
#define HD_CANON_SEGMENT 1024

/** Dot product of one segment: f32 [n] each, n ≤ 1024. */
float hd_canon_dot_segment(const float *a, const float *b, size_t n);
/** Canonical dot product, f32 [n] each. */
float hd_canon_dot(const float *a, const float *b, size_t n);
/** Canonical sum, f32 [n]. */
float hd_canon_sum(const float *x, size_t n);
/** Canonical sum of x² (each square rounded on its own; exact where x is BF16), f32 [n]. */
float hd_canon_sum_sq(const float *x, size_t n);
/** y[i] = fma(a, x[i], y[i]): one step of every chain of P · V, f32 [n] each. */
void hd_canon_step(float a, const float *x, float *y, size_t n);

#endif
