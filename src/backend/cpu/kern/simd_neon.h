/* The vector wrappers for AArch64: 16 lanes are four registers. The machine's own BF16 dot adds in
 * another order, so operands are widened to FP32 here. */
#ifndef HD_BACKEND_CPU_SIMD_NEON_H
#define HD_BACKEND_CPU_SIMD_NEON_H

#include <arm_neon.h>

#define PAN_BYTES     128 /* 16 × f32 odd, 16 × f32 even */
#define TILE_ROWS     2
#define TILE_TOKENS   3
#define PANEL_TILES   2
#define F32_TILE      2
#define PV_TILE_HEADS 1
#define DIRECT_TOKENS 2

typedef struct vf {
    float32x4_t v[4];
} vf;
typedef struct vi {
    uint32x4_t v[4];
} vi;
typedef vi vm; /* all bits of a lane set or clear */
typedef struct vw {
    vf odd, even;
} vw;
typedef vw vp;
typedef struct v8 {
    float scale; /* of a code read as a half-precision number */
} v8;

#define EACH for (int i = 0; i < 4; i++)

HD_INLINE vf vf_set1(float x)
{
    vf r;
    EACH r.v[i] = vdupq_n_f32(x);
    return r;
}

HD_INLINE vf vf_zero(void)
{
    return vf_set1(0.0f);
}

HD_INLINE vf vf_load(const float *p)
{
    vf r;
    EACH r.v[i] = vld1q_f32(p + 4 * i);
    return r;
}

HD_INLINE void vf_store(float *p, vf x)
{
    EACH vst1q_f32(p + 4 * i, x.v[i]);
}

#define BINARY(type, name, expr)                                                                   \
    HD_INLINE type name(type a, type b)                                                            \
    {                                                                                              \
        type r;                                                                                    \
        EACH r.v[i] = expr;                                                                        \
        return r;                                                                                  \
    }
BINARY(vf, vf_add, vaddq_f32(a.v[i], b.v[i]))
BINARY(vf, vf_sub, vsubq_f32(a.v[i], b.v[i]))
BINARY(vf, vf_mul, vmulq_f32(a.v[i], b.v[i]))
BINARY(vf, vf_div, vdivq_f32(a.v[i], b.v[i]))
BINARY(vf, vf_max, vbslq_f32(vcgtq_f32(a.v[i], b.v[i]), a.v[i], b.v[i]))
BINARY(vf, vf_min, vbslq_f32(vcltq_f32(a.v[i], b.v[i]), a.v[i], b.v[i]))
BINARY(vi, vi_add, vaddq_u32(a.v[i], b.v[i]))
BINARY(vi, vi_sub, vsubq_u32(a.v[i], b.v[i]))
BINARY(vi, vi_and, vandq_u32(a.v[i], b.v[i]))
BINARY(vi, vi_or, vorrq_u32(a.v[i], b.v[i]))
BINARY(vi, vi_xor, veorq_u32(a.v[i], b.v[i]))
BINARY(vi, vi_max,
       vreinterpretq_u32_s32(vmaxq_s32(vreinterpretq_s32_u32(a.v[i]),
                                       vreinterpretq_s32_u32(b.v[i]))))
#undef BINARY

HD_INLINE vf vf_fma(vf a, vf b, vf c)
{
    EACH c.v[i] = vfmaq_f32(c.v[i], a.v[i], b.v[i]);
    return c;
}

HD_INLINE vm vf_lt(vf a, vf b)
{
    vm r;
    EACH r.v[i] = vcltq_f32(a.v[i], b.v[i]);
    return r;
}

HD_INLINE vm vf_nan(vf a)
{
    vm r;
    EACH r.v[i] = vmvnq_u32(vceqq_f32(a.v[i], a.v[i]));
    return r;
}

HD_INLINE vf vf_sel(vm m, vf a, vf b)
{
    EACH b.v[i] = vbslq_f32(m.v[i], a.v[i], b.v[i]);
    return b;
}

HD_INLINE vi vi_set1(int32_t x)
{
    vi r;
    EACH r.v[i] = vdupq_n_u32((uint32_t)x);
    return r;
}

HD_INLINE vi vi_shl(vi a, int n)
{
    EACH a.v[i] = vshlq_u32(a.v[i], vdupq_n_s32(n));
    return a;
}

HD_INLINE vi vi_shr(vi a, int n)
{
    EACH a.v[i] = vshlq_u32(a.v[i], vdupq_n_s32(-n));
    return a;
}

HD_INLINE vi vi_of(vf x)
{
    vi r;
    EACH r.v[i] = vreinterpretq_u32_f32(x.v[i]);
    return r;
}

HD_INLINE vf vf_of(vi x)
{
    vf r;
    EACH r.v[i] = vreinterpretq_f32_u32(x.v[i]);
    return r;
}

HD_INLINE vi vi_load_u16(const uint16_t *p)
{
    vi r;
    EACH r.v[i] = vmovl_u16(vld1_u16(p + 4 * i));
    return r;
}

HD_INLINE void vi_store_u16(uint16_t *p, vi x)
{
    EACH vst1_u16(p + 4 * i, vmovn_u32(x.v[i]));
}

HD_INLINE void vi_store_u8(uint8_t *p, vi x)
{
    uint16x8_t a = vcombine_u16(vmovn_u32(x.v[0]), vmovn_u32(x.v[1]));
    uint16x8_t b = vcombine_u16(vmovn_u32(x.v[2]), vmovn_u32(x.v[3]));
    vst1q_u8(p, vcombine_u8(vmovn_u16(a), vmovn_u16(b)));
}

/* Lanes l + 8, then l + 4 added: four are left. */
HD_INLINE float32x4_t quarter_sum(vf x)
{
    return vaddq_f32(vaddq_f32(x.v[0], x.v[2]), vaddq_f32(x.v[1], x.v[3]));
}

HD_INLINE float vf_hsum(vf x)
{
    float32x4_t a = quarter_sum(x);
    float32x2_t b = vadd_f32(vget_low_f32(a), vget_high_f32(a));
    return vget_lane_f32(b, 0) + vget_lane_f32(b, 1);
}

HD_INLINE float vf_hmax(vf x)
{
    float m = vgetq_lane_f32(x.v[0], 0), lane[16];
    vf_store(lane, x);
    for (int l = 1; l < 16; l++) m = lane[l] > m ? lane[l] : m;
    return m;
}

HD_INLINE int32_t vi_hmax(vi x)
{
    int32x4_t a = vreinterpretq_s32_u32(x.v[0]);
    for (int i = 1; i < 4; i++) a = vmaxq_s32(a, vreinterpretq_s32_u32(x.v[i]));
    return vmaxvq_s32(a);
}

HD_INLINE vf vf_swap(vf x, int distance)
{
    vf r;
    switch (distance) {
    case 1: EACH r.v[i] = vrev64q_f32(x.v[i]); return r;
    case 2: EACH r.v[i] = vextq_f32(x.v[i], x.v[i], 2); return r;
    case 4: EACH r.v[i] = x.v[i ^ 1]; return r;
    default: EACH r.v[i] = x.v[i ^ 2]; return r;
    }
}

HD_INLINE void vf_hsum8(const vf v[8], float out[8])
{
    for (int i = 0; i < 8; i++) out[i] = vf_hsum(v[i]);
}

/* ---- the dot product ------------------------------------------------------------------------ */

HD_INLINE vw vw_words(vi x)
{
    return (vw){.odd = vf_of(vi_and(x, vi_set1((int32_t)0xffff0000))),
                .even = vf_of(vi_shl(x, 16))};
}

HD_INLINE vw vw_bf16(const void *p)
{
    vi x;
    EACH x.v[i] = vreinterpretq_u32_u8(vld1q_u8((const uint8_t *)p + 16 * i));
    return vw_words(x);
}

HD_INLINE vw vw_pan(const void *p)
{
    return (vw){.odd = vf_load(p), .even = vf_load((const float *)p + 16)};
}

HD_INLINE void vw_pan_store(void *p, vw x)
{
    vf_store(p, x.odd);
    vf_store((float *)p + 16, x.even);
}

HD_INLINE vw vw_pair(uint32_t word)
{
    return vw_words(vi_set1((int32_t)word));
}

HD_INLINE vw vw_rows(const hd_bf16 *a, const hd_bf16 *b)
{
    return (vw){.odd = vf_of(vi_shl(vi_load_u16(a), 16)),
                .even = vf_of(vi_shl(vi_load_u16(b), 16))};
}

HD_INLINE vf vw_dot(vf acc, vw a, vw b)
{
    return vf_fma(a.even, b.even, vf_fma(a.odd, b.odd, acc));
}

/* One step of a register tile, an eighth of the operands at a time, so that the accumulators stay
 * in registers. */
#define HAVE_TILE_STEP 1
HD_INLINE void vw_tile_step(int n_rows, int n_tok, const uint8_t *w, const uint8_t *x,
                            size_t x_bytes, vf acc[][8])
{
    for (size_t part = 0; part < 8; part++) {
        float32x4_t xv[TILE_TOKENS];
        for (int t = 0; t < n_tok; t++)
            xv[t] = vld1q_f32((const float *)(const void *)(x + (size_t)t * x_bytes) + 4 * part);
        for (int r = 0; r < n_rows; r++) {
            float32x4_t wv =
                vld1q_f32((const float *)(const void *)(w + (size_t)r * PAN_BYTES) + 4 * part);
            for (int t = 0; t < n_tok; t++)
                acc[t][r].v[part % 4] = vfmaq_f32(acc[t][r].v[part % 4], wv, xv[t]);
        }
    }
}

/* Sixteen codes in lane order: bytes of BF16 by table, then widened. */
HD_INLINE vf fp4_lanes(uint8x16_t codes, uint8x16_t low, uint8x16_t high)
{
    uint8x16_t l = vqtbl1q_u8(low, codes), h = vqtbl1q_u8(high, codes);
    uint16x8_t a = vreinterpretq_u16_u8(vzip1q_u8(l, h)), b = vreinterpretq_u16_u8(vzip2q_u8(l, h));
    vi r = {{vshll_n_u16(vget_low_u16(a), 16), vshll_n_u16(vget_high_u16(a), 16),
             vshll_n_u16(vget_low_u16(b), 16), vshll_n_u16(vget_high_u16(b), 16)}};
    return vf_of(r);
}

HD_INLINE vw vw_fp4(const uint8_t *p, const hd_cpu_tables *tables, uint8_t scale)
{
    uint8x16_t low = vld1q_u8(tables->fp4_bytes[scale][0]);
    uint8x16_t high = vld1q_u8(tables->fp4_bytes[scale][1]);
    uint8x16_t x = vld1q_u8(p);
    return (vw){.odd = fp4_lanes(vshrq_n_u8(x, 4), low, high),
                .even = fp4_lanes(vandq_u8(x, vdupq_n_u8(15)), low, high)};
}

HD_INLINE v8 v8_load(const hd_cpu_tables *tables, uint8_t scale)
{
    /* A code's bits read as half precision are 2^-8 of its value; code 56 is 1. */
    const uint8_t *t = tables->fp8_bytes[scale][0];
    return (v8){hd_f32_from_bits((uint32_t)(t[128 + 56] << 8 | t[56]) << 16) * 256.0f};
}

/* Codes in the high bytes of 8 words. Half precision has E4M3's subnormals and, once its exponent
 * is full, its NaN. */
HD_INLINE void fp8_lanes(uint16x8_t x, v8 t, float32x4_t out[2])
{
    uint16x8_t m = vandq_u16(vshrq_n_u16(x, 1), vdupq_n_u16(0x3f80));
    uint16x8_t nan = vceqq_u16(m, vdupq_n_u16(0x3f80));
    m = vorrq_u16(m, vandq_u16(nan, vdupq_n_u16(0x7c00)));
    m = vorrq_u16(m, vandq_u16(x, vdupq_n_u16(0x8000)));
    out[0] = vmulq_n_f32(vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(m))), t.scale);
    out[1] = vmulq_n_f32(vcvt_f32_f16(vreinterpret_f16_u16(vget_high_u16(m))), t.scale);
}

HD_INLINE void vw_fp8x2(const uint8_t *p, v8 t, vw out[2])
{
    EACH
    {
        uint16x8_t x = vreinterpretq_u16_u8(vld1q_u8(p + 16 * i));
        fp8_lanes(x, t, &out[i / 2].odd.v[i % 2 * 2]);
        fp8_lanes(vshlq_n_u16(x, 8), t, &out[i / 2].even.v[i % 2 * 2]);
    }
}

/* Each lane's two values side by side again; exact BF16, so the upper halves are all of them. */
HD_INLINE void fp8_to_bf16(const uint8_t *p, v8 t, hd_bf16 *out)
{
    vw w[2];
    vw_fp8x2(p, t, w);
    for (int i = 0; i < 8; i++) {
        uint32x4_t odd = vreinterpretq_u32_f32(w[i / 4].odd.v[i % 4]);
        uint32x4_t even = vshrq_n_u32(vreinterpretq_u32_f32(w[i / 4].even.v[i % 4]), 16);
        vst1q_u16(out + 8 * i, vreinterpretq_u16_u32(vorrq_u32(odd, even)));
    }
}

/* ---- the same with FP32 operands ------------------------------------------------------------ */

HD_INLINE vp vp_bf16(const void *p)
{
    return vw_bf16(p);
}

HD_INLINE vp vp_f32(const void *p)
{
    vp r;
    EACH
    {
        float32x4_t a = vreinterpretq_f32_u8(vld1q_u8((const uint8_t *)p + 32 * i));
        float32x4_t b = vreinterpretq_f32_u8(vld1q_u8((const uint8_t *)p + 32 * i + 16));
        r.even.v[i] = vuzp1q_f32(a, b);
        r.odd.v[i] = vuzp2q_f32(a, b);
    }
    return r;
}

HD_INLINE vf vp_dot(vf acc, vp a, vp b)
{
    return vw_dot(acc, a, b);
}

#undef EACH

#endif
