/* Number formats and elementary functions, scalar: the definition that vector code repeats.
 *
 * Every function here is a fixed sequence of IEEE operations in round-to-nearest-even, written so
 * that vector instructions without branches can follow it step by step: a multiply-add is written
 * fmaf or fma where it is one operation, and is two operations where it is not (the build forbids
 * contraction). No function calls libm for anything but fma and sqrt, which IEEE 754 defines. */
#include "base/num.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

static double f64_from_bits(uint64_t u)
{
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static uint64_t f64_bits(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

/* ---- formats ---------------------------------------------------------------------------------
 */

float hd_f32_from_e8m0(hd_e8m0 e)
{
    if (e == 0) return hd_f32_from_bits(0x00400000u); /* 2^-127 */
    if (e == 255) return hd_f32_from_bits(0x7fc00000u);
    return hd_f32_from_bits((uint32_t)e << 23);
}

float hd_f32_from_e4m3(hd_e4m3 q)
{
    uint32_t sign = (uint32_t)(q & 0x80u) << 24;
    uint32_t magnitude = q & 0x7fu;
    if (magnitude == 0x7fu) return hd_f32_from_bits(sign | 0x7fc00000u);
    if (magnitude < 8) { /* subnormal: steps of 2^-9 */
        return hd_f32_from_bits(sign | hd_f32_bits((float)magnitude * 0x1p-9f));
    }
    return hd_f32_from_bits(sign | ((magnitude + (120u << 3)) << 20)); /* bias 7 to 127 */
}

hd_e4m3 hd_e4m3_from_f32(float x)
{
    uint32_t sign = (hd_f32_bits(x) >> 24) & 0x80u;
    uint32_t u = hd_f32_bits(x) & 0x7fffffffu;
    if (u > 0x7f800000u) return 0x7f;
    float a = hd_f32_from_bits(u);
    if (a > 448.0f) a = 448.0f;
    if (a < 0x1p-6f) { /* adding 2^14 rounds to steps of 2^-9; code 8 is 2^-6 itself */
        return (hd_e4m3)(sign | (hd_f32_bits(a + 0x1p14f) - hd_f32_bits(0x1p14f)));
    }
    u = hd_f32_bits(a);
    u = (u + 0x7ffffu + ((u >> 20) & 1u)) >> 20;
    return (hd_e4m3)(sign | (u - (120u << 3)));
}

float hd_f32_from_e2m1(unsigned code)
{
    static const float value[16] = {0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                    -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f};
    return value[code & 15u];
}

unsigned hd_e2m1_from_f32(float x)
{
    uint32_t sign = (hd_f32_bits(x) >> 28) & 8u;
    float a = hd_f32_from_bits(hd_f32_bits(x) & 0x7fffffffu);
    if (!(a <= 6.0f)) a = 6.0f;
    if (a < 1.0f) { /* adding 2^22 rounds to steps of 0.5; code 2 is 1 itself */
        return sign | (hd_f32_bits(a + 0x1p22f) - hd_f32_bits(0x1p22f));
    }
    uint32_t u = hd_f32_bits(a);
    u = (u + 0x1fffffu + ((u >> 22) & 1u)) >> 22;
    return sign | (u - (126u << 1)); /* bias 1 to 127 */
}

float hd_pow2ceil(float a, float inv_m)
{
    uint32_t u = hd_f32_bits(a * inv_m);
    uint32_t exponent = (u >> 23) + ((u & 0x7fffffu) ? 1u : 0u);
    if (exponent >= 255u) return hd_f32_from_bits(0x7fc00000u);
    return hd_f32_from_bits(exponent << 23);
}

hd_e8m0 hd_e8m0_from_pow2(float s)
{
    return (hd_e8m0)((hd_f32_bits(s) >> 23) & 255u);
}

/* ---- elementary functions --------------------------------------------------------------------
 */

/* Between these, e^x is a normal float; 2^-126 and 2^128 have no FP32 logarithm of their own. */
#define EXP_MIN (-0x1.5d589ep+6f) /* -87.33654 */
#define EXP_MAX 0x1.62e42ep+6f    /* 88.72283 */

float hd_expf(float x)
{
    /* e^x = 2^n · e^r, n = nearest integer to x / ln 2, |r| ≤ ln 2 / 2. Adding 1.5 · 2^23 leaves n
     * in the low mantissa bits. The first fused step of r is exact: its result fits 24 bits. */
    static const float shift = 0x1.8p23f;
    static const float log2e = 0x1.715476p+0f;
    static const float ln2_hi = 0x1.62e43p-1f, ln2_lo = -0x1.05c61p-29f;
    float t = fmaf(x, log2e, shift);
    float n = t - shift;
    float r = fmaf(n, -ln2_hi, x);
    r = fmaf(n, -ln2_lo, r);
    /* 1 + r + r² · q(r): q minimises the relative error on the interval (3.1e-9 at most). */
    float p = 0x1.6a23dp-10f;
    p = fmaf(p, r, 0x1.123a2p-7f);
    p = fmaf(p, r, 0x1.5558f2p-5f);
    p = fmaf(p, r, 0x1.555492p-3f);
    p = fmaf(p, r, 0x1.fffffcp-2f);
    p = fmaf(p, r, 1.0f);
    p = fmaf(p, r, 1.0f);
    float y = hd_f32_from_bits(hd_f32_bits(p) + (hd_f32_bits(t) << 23));
    if (x > EXP_MAX) y = hd_f32_from_bits(0x7f800000u);
    if (x < EXP_MIN) y = 0.0f;
    if (x != x) y = x;
    return y;
}

/* e^x for |x| < 700: as hd_expf, with the Taylor series, whose error is below 2^-57 there. */
static double exp_f64(double x)
{
    static const double shift = 0x1.8p52;
    double t = fma(x, 0x1.71547652b82fep+0, shift);
    double n = t - shift;
    double r = fma(n, -0x1.62e42fefa39efp-1, x);
    r = fma(n, -0x1.abc9e3b39803fp-56, r);
    static const double inv_factorial[] = {1.0 / 6227020800.0,
                                           1.0 / 479001600.0,
                                           1.0 / 39916800.0,
                                           1.0 / 3628800.0,
                                           1.0 / 362880.0,
                                           1.0 / 40320.0,
                                           1.0 / 5040.0,
                                           1.0 / 720.0,
                                           1.0 / 120.0,
                                           1.0 / 24.0,
                                           1.0 / 6.0,
                                           1.0 / 2.0,
                                           1.0,
                                           1.0};
    double p = inv_factorial[0];
    for (size_t i = 1; i < sizeof inv_factorial / sizeof inv_factorial[0]; i++) {
        p = fma(p, r, inv_factorial[i]);
    }
    return f64_from_bits(f64_bits(p) + (f64_bits(t) << 52));
}

double hd_log(double x)
{
    /* x = 2^n · m with m in (1/√2, √2]; log m = 2 artanh(s), s = (m − 1) / (m + 1), |s| < 0.1716:
     * the series in s² to its eleventh term leaves less than 2^-58. */
    uint64_t u = f64_bits(x);
    double n = (double)((int)(u >> 52) - 1023);
    double m = f64_from_bits((u & 0xfffffffffffffu) | 0x3ff0000000000000u);
    if (m > 0x1.6a09e667f3bcdp+0) {
        m *= 0.5;
        n += 1.0;
    }
    double s = (m - 1.0) / (m + 1.0);
    double z = s * s;
    static const double inv_odd[] = {1.0 / 23.0, 1.0 / 21.0, 1.0 / 19.0, 1.0 / 17.0,
                                     1.0 / 15.0, 1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0,
                                     1.0 / 7.0,  1.0 / 5.0,  1.0 / 3.0};
    double p = inv_odd[0];
    for (size_t i = 1; i < sizeof inv_odd / sizeof inv_odd[0]; i++) p = fma(p, z, inv_odd[i]);
    double log_m = fma(2.0 * s, z * p, 2.0 * s);
    return fma(n, 0x1.62e42fefa39efp-1, fma(n, 0x1.abc9e3b39803fp-56, log_m));
}

float hd_softplusf(float z)
{
    if (z != z || z > 20.0f) return z;
    if (z < EXP_MIN) return 0.0f;
    /* log(1 + e) with w = fl(1 + e): log w, plus what w lost, which is all of e below 2^-53. */
    double e = exp_f64((double)z);
    double w = 1.0 + e;
    return (float)(hd_log(w) + (e - (w - 1.0)) / w);
}

/* ---- subnormals ------------------------------------------------------------------------------
 */

#if defined(__x86_64__)

#define MXCSR_FLUSH 0x8040u /* FTZ: results; DAZ: operands */

unsigned hd_fp_flush_subnormals(void)
{
    unsigned old = _mm_getcsr();
    _mm_setcsr(old | MXCSR_FLUSH);
    return old;
}

void hd_fp_restore(unsigned state)
{
    _mm_setcsr(state);
}

#elif defined(__aarch64__)

#define FPCR_FZ (1u << 24)

unsigned hd_fp_flush_subnormals(void)
{
    uint64_t old;
    __asm__ volatile("mrs %0, fpcr" : "=r"(old));
    __asm__ volatile("msr fpcr, %0" : : "r"(old | FPCR_FZ) : "memory");
    return (unsigned)old;
}

void hd_fp_restore(unsigned state)
{
    __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)state) : "memory");
}

#else

/* Subnormals keep their values: the same bits as elsewhere while none occurs (docs/numerics.md). */
unsigned hd_fp_flush_subnormals(void)
{
    return 0;
}

void hd_fp_restore(unsigned state)
{
    (void)state;
}

#endif
