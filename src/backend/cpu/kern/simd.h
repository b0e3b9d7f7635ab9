/* Some forty wrappers over the vector instructions of one machine, and what is built on them.
 *
 * Kernels see 16 FP32 lanes (`vf`), 16 lanes of bits (`vi`), lane masks (`vm`), and the operand of
 * the dot product: 32 BF16 values as `vw`, which a machine without a BF16 dot keeps widened. The
 * lanes are those of the canonical order (base/canon.h), so a kernel written once gives the same
 * bits on every machine. simd_emul.h is the scalar twin: the portable build, and the definition
 * of what each wrapper does.
 *
 * A dot operand in memory that a kernel itself made ("panel") has PAN_BYTES per 32 values: BF16
 * where the machine multiplies BF16, FP32 odd and even halves elsewhere.
 *
 *   vf_load vf_store vf_set1 vf_zero  vf_add vf_sub vf_mul vf_div vf_fma(a, b, c) = ab + c
 *   vf_max vf_min (b where a is NaN)  vf_lt vf_nan -> vm, vf_sel(m, a, b) = m ? a : b
 *   vi_set1 vi_add vi_sub vi_and vi_or vi_xor vi_max vi_shl vi_shr  vi_of vf_of (same bits)
 *   vi_load_u16 vi_store_u16 vi_store_u8   (zero-extend, cut)
 *   vf_swap(x, d)                          lane l gets lane l xor d
 *   vf_hsum vf_hmax vi_hmax                lanes l + 8, + 4, + 2, + 1
 *   vf_hsum8(v, out)                       eight of them at once
 *   vw_bf16(p) vw_pan vw_pan_store vw_pair(word) vw_rows(a, b)
 *   vw_dot(acc, a, b)                      fma of the odd elements, then of the even ones
 *   vw_fp4(p, tables, scale)               16 bytes, natural order, scale byte folded in
 *   v8_load(tables, scale) vw_fp8x2 fp8_to_bf16   64 bytes likewise
 *   vp_f32 vp_bf16 vp_dot                  the dot with FP32 operands */
#ifndef HD_BACKEND_CPU_SIMD_H
#define HD_BACKEND_CPU_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "backend/cpu/cpu.h"
#include "base/num.h"

#if defined(HD_KERNELS_OUT_OF_LINE)
#define HD_INLINE static inline __attribute__((unused))
#else
#define HD_INLINE static inline __attribute__((always_inline, unused))
#endif

#if defined(HD_SIMD_EMULATE)
#include "backend/cpu/kern/simd_emul.h"
#elif defined(__AVX512F__)
#include "backend/cpu/kern/simd_avx512.h"
#elif defined(__AVX2__)
#include "backend/cpu/kern/simd_avx2.h"
#elif defined(__ARM_NEON)
#include "backend/cpu/kern/simd_neon.h"
#else
#error "no vector instructions: build with -DHD_SIMD_EMULATE"
#endif

HD_INLINE vf vf_abs(vf x)
{
    return vf_of(vi_and(vi_of(x), vi_set1(0x7fffffff)));
}

HD_INLINE vf vf_neg(vf x)
{
    return vf_of(vi_xor(vi_of(x), vi_set1(INT32_MIN)));
}

/* ---- BF16 ----------------------------------------------------------------------------------- */

HD_INLINE vf vf_load_bf16(const hd_bf16 *p)
{
    return vf_of(vi_shl(vi_load_u16(p), 16));
}

/* The bits of hd_bf16_from_f32, in the high halves. */
HD_INLINE vi vi_round_bf16(vf x)
{
    vi u = vi_of(x);
    vi even = vi_and(vi_shr(u, 16), vi_set1(1));
    vi r = vi_add(u, vi_add(even, vi_set1(0x7fff)));
    vi quiet = vi_or(u, vi_set1(0x400000));
    return vi_of(vf_sel(vf_nan(x), vf_of(quiet), vf_of(r)));
}

HD_INLINE vf vf_round_bf16(vf x)
{
    return vf_of(vi_and(vi_round_bf16(x), vi_set1((int32_t)0xffff0000)));
}

HD_INLINE void vf_store_bf16(hd_bf16 *p, vf x)
{
    vi_store_u16(p, vi_shr(vi_round_bf16(x), 16));
}

/* ---- less than 16 elements ------------------------------------------------------------------ */

HD_INLINE vf vf_load_n(const float *p, int n)
{
    float tmp[16] = {0};
    memcpy(tmp, p, (size_t)n * sizeof *p);
    return vf_load(tmp);
}

HD_INLINE void vf_store_n(float *p, vf x, int n)
{
    float tmp[16];
    vf_store(tmp, x);
    memcpy(p, tmp, (size_t)n * sizeof *p);
}

HD_INLINE vf vf_load_bf16_n(const hd_bf16 *p, int n)
{
    hd_bf16 tmp[16] = {0};
    memcpy(tmp, p, (size_t)n * sizeof *p);
    return vf_load_bf16(tmp);
}

HD_INLINE void vf_store_bf16_n(hd_bf16 *p, vf x, int n)
{
    hd_bf16 tmp[16];
    vf_store_bf16(tmp, x);
    memcpy(p, tmp, (size_t)n * sizeof *p);
}

/* ---- elementary functions: the steps of base/num.c ------------------------------------------ */

HD_INLINE vf vf_exp(vf x)
{
    vf shift = vf_set1(0x1.8p23f);
    vf t = vf_fma(x, vf_set1(0x1.715476p+0f), shift);
    vf n = vf_sub(t, shift);
    vf r = vf_fma(n, vf_set1(-0x1.62e43p-1f), x);
    r = vf_fma(n, vf_set1(0x1.05c61p-29f), r);
    vf p = vf_set1(0x1.6a23dp-10f);
    p = vf_fma(p, r, vf_set1(0x1.123a2p-7f));
    p = vf_fma(p, r, vf_set1(0x1.5558f2p-5f));
    p = vf_fma(p, r, vf_set1(0x1.555492p-3f));
    p = vf_fma(p, r, vf_set1(0x1.fffffcp-2f));
    p = vf_fma(p, r, vf_set1(1.0f));
    p = vf_fma(p, r, vf_set1(1.0f));
    vf y = vf_of(vi_add(vi_of(p), vi_shl(vi_of(t), 23)));
    y = vf_sel(vf_lt(vf_set1(0x1.62e42ep+6f), x), vf_of(vi_set1(0x7f800000)), y);
    y = vf_sel(vf_lt(x, vf_set1(-0x1.5d589ep+6f)), vf_zero(), y);
    return vf_sel(vf_nan(x), x, y);
}

HD_INLINE vf vf_silu(vf g)
{
    vf e = vf_exp(vf_neg(g));
    return vf_div(g, vf_add(vf_set1(1.0f), e));
}

/* The bits of hd_e2m1_from_f32, one code per lane. */
HD_INLINE vi vi_e2m1(vf x)
{
    vi u = vi_of(x);
    vi sign = vi_and(vi_shr(u, 28), vi_set1(8));
    vf a = vf_min(vf_of(vi_and(u, vi_set1(0x7fffffff))), vf_set1(6.0f)); /* 6 for NaN */
    vi small = vi_sub(vi_of(vf_add(a, vf_set1(0x1p22f))), vi_of(vf_set1(0x1p22f)));
    vi b = vi_of(a);
    vi even = vi_and(vi_shr(b, 22), vi_set1(1));
    vi big = vi_shr(vi_add(b, vi_add(even, vi_set1(0x1fffff))), 22);
    big = vi_sub(big, vi_set1(126 << 1));
    return vi_or(sign, vi_of(vf_sel(vf_lt(a, vf_set1(1.0f)), vf_of(small), vf_of(big))));
}

/* The value of each code. */
HD_INLINE vf vf_from_e2m1(vi code)
{
    vi sign = vi_shl(vi_and(code, vi_set1(8)), 28);
    vi m = vi_and(code, vi_set1(7));
    vi big = vi_shl(vi_add(m, vi_set1(126 << 1)), 22);
    /* m < 2: (2^22 + m · 0.5) − 2^22 */
    vf small = vf_sub(vf_of(vi_add(m, vi_of(vf_set1(0x1p22f)))), vf_set1(0x1p22f));
    vf a = vf_sel(vf_lt(vf_of(vi_shl(m, 23)), vf_of(vi_set1(2 << 23))), small, vf_of(big));
    return vf_of(vi_or(vi_of(a), sign));
}

/* The bits of hd_e4m3_from_f32, one code per lane. */
HD_INLINE vi vi_e4m3(vf x)
{
    vi u = vi_of(x);
    vi sign = vi_and(vi_shr(u, 24), vi_set1(0x80));
    vf a = vf_of(vi_and(u, vi_set1(0x7fffffff)));
    a = vf_min(a, vf_set1(448.0f));
    vi small = vi_sub(vi_of(vf_add(a, vf_set1(0x1p14f))), vi_of(vf_set1(0x1p14f)));
    vi b = vi_of(a);
    vi even = vi_and(vi_shr(b, 20), vi_set1(1));
    vi big = vi_shr(vi_add(b, vi_add(even, vi_set1(0x7ffff))), 20);
    big = vi_sub(big, vi_set1(120 << 3));
    vi code = vi_of(vf_sel(vf_lt(a, vf_set1(0x1p-6f)), vf_of(small), vf_of(big)));
    code = vi_or(code, sign);
    return vi_of(vf_sel(vf_nan(x), vf_of(vi_set1(0x7f)), vf_of(code)));
}

/* The value of each code that vi_e4m3 can give for a finite x. */
HD_INLINE vf vf_from_e4m3(vi code)
{
    vi sign = vi_shl(vi_and(code, vi_set1(0x80)), 24);
    vi m = vi_and(code, vi_set1(0x7f));
    vi big = vi_shl(vi_add(m, vi_set1(120 << 3)), 20);
    /* m < 8: (2^14 + m · 2^-9) − 2^14 */
    vf small = vf_sub(vf_of(vi_add(m, vi_of(vf_set1(0x1p14f)))), vf_set1(0x1p14f));
    vf a = vf_sel(vf_lt(vf_of(vi_shl(m, 20)), vf_of(vi_set1(8 << 20))), small, vf_of(big));
    return vf_of(vi_or(vi_of(a), sign));
}

#endif
