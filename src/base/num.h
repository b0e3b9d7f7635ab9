/* Number formats and elementary functions: the same bits on every machine.
 *
 * Conversions are exact or round to nearest, ties to even. exp, log and their kin are fixed
 * sequences of IEEE operations (a fused step is written as fmaf), so no libm and no compiler
 * changes a bit; the vector twins in backend/cpu repeat the same sequence. Formats: spec 2.6,
 * docs/numerics.md. */
#ifndef HD_BASE_NUM_H
#define HD_BASE_NUM_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"

typedef uint16_t hd_bf16; /* bfloat16 bits */
typedef uint8_t hd_e4m3;  /* E4M3FN: bias 7, no infinities, 0x7F and 0xFF NaN, max 448 */
typedef uint8_t hd_e8m0;  /* 2^(byte − 127), 255 = NaN */

/* A union, not memcpy: what has an address gets a guarded place on the stack from AddressSanitizer,
 * and kernels would spend a third of their time on that. */
typedef union hd_f32_pun {
    float x;
    uint32_t u;
} hd_f32_pun;

HD_ALWAYS_INLINE uint32_t hd_f32_bits(float x)
{
    return (hd_f32_pun){.x = x}.u;
}

HD_ALWAYS_INLINE float hd_f32_from_bits(uint32_t u)
{
    return (hd_f32_pun){.u = u}.x;
}

HD_ALWAYS_INLINE float hd_f32_from_bf16(hd_bf16 h)
{
    return hd_f32_from_bits((uint32_t)h << 16);
}

/** Nearest even; NaN stays NaN (quiet). */
HD_ALWAYS_INLINE hd_bf16 hd_bf16_from_f32(float x)
{
    uint32_t u = hd_f32_bits(x);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (hd_bf16)((u >> 16) | 0x40u);
    return (hd_bf16)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

/** bf16(x) as a float. */
static inline float hd_round_bf16(float x)
{
    return hd_f32_from_bf16(hd_bf16_from_f32(x));
}

/** 2^(e − 127); e = 0 gives 2^-127, which is subnormal; 255 gives NaN. */
float hd_f32_from_e8m0(hd_e8m0 e);
float hd_f32_from_e4m3(hd_e4m3 q);
/** Nearest even; |x| ≤ 448 by contract (larger saturates), NaN gives 0x7F. */
hd_e4m3 hd_e4m3_from_f32(float x);
/** Code 0…15 (spec 2.6). */
float hd_f32_from_e2m1(unsigned code);
/** Nearest even on the code; |x| ≤ 6 by contract (larger saturates, NaN too: its scale is NaN). */
unsigned hd_e2m1_from_f32(float x);

/** 2^ceil(log2(f32(a · f32(1/m)))) on the bits (spec 3.1); a > 0. Infinity and NaN give NaN. */
float hd_pow2ceil(float a, float inv_m);
/** The e8m0 byte of a power of two within 2^-127 … 2^127. */
hd_e8m0 hd_e8m0_from_pow2(float s);

/** e^x, FP32 steps, error < 1 step; results below 2^-126 are 0; NaN passes through. */
float hd_expf(float x);
/** log(1 + e^z), z for z > 20 (spec 4.7); FP64 steps, rounded once. */
float hd_softplusf(float z);
/** log(x) in FP64 steps, x > 0 and normal. */
double hd_log(double x);
/** 1 / (1 + e^-x) from hd_expf. */
static inline float hd_sigmoidf(float x)
{
    return 1.0f / (1.0f + hd_expf(-x));
}
/** g / (1 + e^-g). */
static inline float hd_siluf(float g)
{
    return g / (1.0f + hd_expf(-g));
}
/** 1 / sqrt(a) in FP64, rounded once. */
static inline float hd_rsqrtf(float a)
{
    return (float)(1.0 / sqrt((double)a));
}

/** Subnormals count as zero while a CPU backend computes (architecture, numerics contract).
 *  Returns the old state for hd_fp_restore. Per thread. */
unsigned hd_fp_flush_subnormals(void);
void hd_fp_restore(unsigned state);

#endif
