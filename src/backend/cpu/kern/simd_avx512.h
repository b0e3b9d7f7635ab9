/* The vector wrappers for AVX-512 (F, BW, DQ, VL), with and without the BF16 dot (and VBMI). */
#ifndef HD_BACKEND_CPU_SIMD_AVX512_H
#define HD_BACKEND_CPU_SIMD_AVX512_H

#include <immintrin.h>

#define TILE_ROWS     8
#define TILE_TOKENS   3
#define F32_TILE      4
#define PV_TILE_HEADS 4
#define PANEL_TILES   1
#define DIRECT_TOKENS 4

typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;
typedef struct vp {
    __m512 odd, even;
} vp;

HD_INLINE vf vf_set1(float x)
{
    return _mm512_set1_ps(x);
}

HD_INLINE vf vf_zero(void)
{
    return _mm512_setzero_ps();
}

HD_INLINE vf vf_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

HD_INLINE void vf_store(float *p, vf x)
{
    _mm512_storeu_ps(p, x);
}

HD_INLINE vf vf_add(vf a, vf b)
{
    return _mm512_add_ps(a, b);
}

HD_INLINE vf vf_sub(vf a, vf b)
{
    return _mm512_sub_ps(a, b);
}

HD_INLINE vf vf_mul(vf a, vf b)
{
    return _mm512_mul_ps(a, b);
}

HD_INLINE vf vf_div(vf a, vf b)
{
    return _mm512_div_ps(a, b);
}

HD_INLINE vf vf_max(vf a, vf b)
{
    return _mm512_max_ps(a, b);
}

HD_INLINE vf vf_min(vf a, vf b)
{
    return _mm512_min_ps(a, b);
}

HD_INLINE vf vf_fma(vf a, vf b, vf c)
{
    return _mm512_fmadd_ps(a, b, c);
}

HD_INLINE vm vf_lt(vf a, vf b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ);
}

HD_INLINE vm vf_nan(vf a)
{
    return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q);
}

HD_INLINE vf vf_sel(vm m, vf a, vf b)
{
    return _mm512_mask_blend_ps(m, b, a);
}

HD_INLINE vi vi_set1(int32_t x)
{
    return _mm512_set1_epi32(x);
}

HD_INLINE vi vi_add(vi a, vi b)
{
    return _mm512_add_epi32(a, b);
}

HD_INLINE vi vi_sub(vi a, vi b)
{
    return _mm512_sub_epi32(a, b);
}

HD_INLINE vi vi_and(vi a, vi b)
{
    return _mm512_and_si512(a, b);
}

HD_INLINE vi vi_or(vi a, vi b)
{
    return _mm512_or_si512(a, b);
}

HD_INLINE vi vi_xor(vi a, vi b)
{
    return _mm512_xor_si512(a, b);
}

HD_INLINE vi vi_max(vi a, vi b)
{
    return _mm512_max_epi32(a, b);
}

HD_INLINE int32_t vi_hmax(vi x)
{
    return _mm512_reduce_max_epi32(x);
}

HD_INLINE vi vi_shl(vi a, int n)
{
    return _mm512_sll_epi32(a, _mm_cvtsi32_si128(n));
}

HD_INLINE vi vi_shr(vi a, int n)
{
    return _mm512_srl_epi32(a, _mm_cvtsi32_si128(n));
}

HD_INLINE vi vi_of(vf x)
{
    return _mm512_castps_si512(x);
}

HD_INLINE vf vf_of(vi x)
{
    return _mm512_castsi512_ps(x);
}

HD_INLINE vi vi_load_u16(const uint16_t *p)
{
    return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p));
}

HD_INLINE void vi_store_u16(uint16_t *p, vi x)
{
    _mm256_storeu_si256((void *)p, _mm512_cvtepi32_epi16(x));
}

HD_INLINE void vi_store_u8(uint8_t *p, vi x)
{
    _mm_storeu_si128((void *)p, _mm512_cvtepi32_epi8(x));
}

HD_INLINE float vf_hsum(vf x)
{
    __m256 a = _mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1));
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    b = _mm_add_ss(b, _mm_movehdup_ps(b));
    return _mm_cvtss_f32(b);
}

HD_INLINE float vf_hmax(vf x)
{
    return _mm512_reduce_max_ps(x);
}

HD_INLINE vf vf_swap(vf x, int distance)
{
    switch (distance) {
    case 1: return _mm512_permute_ps(x, 0xb1);
    case 2: return _mm512_permute_ps(x, 0x4e);
    case 4: return _mm512_shuffle_f32x4(x, x, 0xb1);
    default: return _mm512_shuffle_f32x4(x, x, 0x4e);
    }
}

/* Two vectors at a time share each halving step. */
HD_INLINE void vf_hsum8(const vf v[8], float out[8])
{
    __m512 s[4], t[2];
    for (int i = 0; i < 4; i++) {
        s[i] = _mm512_add_ps(_mm512_shuffle_f32x4(v[2 * i], v[2 * i + 1], 0x44),
                             _mm512_shuffle_f32x4(v[2 * i], v[2 * i + 1], 0xee));
    }
    for (int i = 0; i < 2; i++) {
        t[i] = _mm512_add_ps(_mm512_shuffle_f32x4(s[2 * i], s[2 * i + 1], 0x88),
                             _mm512_shuffle_f32x4(s[2 * i], s[2 * i + 1], 0xdd));
    }
    /* 128-bit part i: two lanes of vector i, two of vector i + 4 */
    __m512 w =
        _mm512_add_ps(_mm512_shuffle_ps(t[0], t[1], 0x44), _mm512_shuffle_ps(t[0], t[1], 0xee));
    w = _mm512_add_ps(w, _mm512_permute_ps(w, 0xb1));
    __m512i pick = _mm512_setr_epi32(0, 4, 8, 12, 2, 6, 10, 14, 0, 0, 0, 0, 0, 0, 0, 0);
    _mm256_storeu_ps(out, _mm512_castps512_ps256(_mm512_permutexvar_ps(pick, w)));
}

/* ---- the dot product with FP32 operands ----------------------------------------------------- */

HD_INLINE vp vp_words(__m512i x)
{
    return (vp){.odd = _mm512_castsi512_ps(_mm512_and_si512(x, _mm512_set1_epi32((int)0xffff0000))),
                .even = _mm512_castsi512_ps(_mm512_slli_epi32(x, 16))};
}

HD_INLINE vp vp_bf16(const void *p)
{
    return vp_words(_mm512_loadu_si512(p));
}

HD_INLINE vp vp_f32(const void *p)
{
    __m512 a = _mm512_loadu_ps(p), b = _mm512_loadu_ps((const uint8_t *)p + 64);
    __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return (vp){.odd = _mm512_permutex2var_ps(a, _mm512_or_si512(even, _mm512_set1_epi32(1)), b),
                .even = _mm512_permutex2var_ps(a, even, b)};
}

HD_INLINE vf vp_dot(vf acc, vp a, vp b)
{
    return _mm512_fmadd_ps(a.even, b.even, _mm512_fmadd_ps(a.odd, b.odd, acc));
}

/* ---- BF16 words out of the file formats ----------------------------------------------------- */

HD_INLINE __m512i words_fp4(const uint8_t *p, const hd_cpu_tables *tables, uint8_t scale)
{
    /* One byte per lane: the low word's low 4 bits are the even code, the high word's the odd one;
     * the table repeats after 16, so bit 4 does not matter, and vpermw ignores the rest. */
    __m512i d = _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)p));
    __m512i index = _mm512_or_si512(d, _mm512_slli_epi32(d, 12));
    return _mm512_permutexvar_epi16(index, _mm512_load_si512(tables->fp4_bf16[scale]));
}

#if defined(__AVX512BF16__) && defined(__AVX512VBMI__)

#define PAN_BYTES 64 /* 32 × bf16 */

typedef __m512i vw;
typedef struct v8 {
    __m512i low[2], high[2]; /* 128 bytes each */
} v8;

HD_INLINE v8 v8_load(const hd_cpu_tables *tables, uint8_t scale)
{
    const uint8_t *t = tables->fp8_bytes[scale][0];
    return (v8){{_mm512_load_si512(t), _mm512_load_si512(t + 64)},
                {_mm512_load_si512(t + 128), _mm512_load_si512(t + 192)}};
}

HD_INLINE void vw_fp8x2(const uint8_t *p, v8 t, vw out[2])
{
    /* Eight bytes per 64-bit piece, in the order that makes the unpacked words natural. */
    __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    __m512i x = _mm512_permutexvar_epi64(order, _mm512_loadu_si512(p));
    __m512i low = _mm512_permutex2var_epi8(t.low[0], x, t.low[1]);
    __m512i high = _mm512_permutex2var_epi8(t.high[0], x, t.high[1]);
    /* high | (x & 0x80) */
    high = _mm512_ternarylogic_epi64(high, x, _mm512_set1_epi8((char)0x80), 0xf8);
    out[0] = _mm512_unpacklo_epi8(low, high);
    out[1] = _mm512_unpackhi_epi8(low, high);
}

HD_INLINE void fp8_to_bf16(const uint8_t *p, v8 t, hd_bf16 *out)
{
    vw w[2];
    vw_fp8x2(p, t, w);
    _mm512_storeu_si512(out, w[0]);
    _mm512_storeu_si512(out + 32, w[1]);
}

HD_INLINE vw vw_words(__m512i x)
{
    return x;
}

HD_INLINE vw vw_pan(const void *p)
{
    return _mm512_load_si512(p);
}

HD_INLINE void vw_pan_store(void *p, vw x)
{
    _mm512_store_si512(p, x);
}

HD_INLINE vf vw_dot(vf acc, vw a, vw b)
{
    return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b);
}

#else

#define PAN_BYTES 128 /* 16 × f32 odd, 16 × f32 even */

typedef vp vw;
typedef struct v8 {
    __m512i bias;       /* words: what turns shifted codes into bf16 */
    __m512i subnormals; /* words: bf16 of codes 0 … 7 */
} v8;

HD_INLINE v8 v8_load(const hd_cpu_tables *tables, uint8_t scale)
{
    const uint8_t *t = tables->fp8_bytes[scale][0];
    __m128i low = _mm_loadl_epi64((const void *)t), high = _mm_loadl_epi64((const void *)(t + 128));
    return (v8){_mm512_set1_epi16((short)((scale - 7) * 128)), /* 127 − 7 + scale − 127 */
                _mm512_broadcast_i32x4(_mm_unpacklo_epi8(low, high))};
}

HD_INLINE __m512i words_fp8(const uint8_t *p, v8 t)
{
    __m512i x = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const void *)p));
    __m512i m = _mm512_and_si512(x, _mm512_set1_epi16(0x7f));
    __m512i w = _mm512_add_epi16(_mm512_slli_epi16(m, 4), t.bias);
    __mmask32 small = _mm512_testn_epi16_mask(x, _mm512_set1_epi16(0x78));
    w = _mm512_mask_permutexvar_epi16(w, small, m, t.subnormals);
    __mmask32 nan = _mm512_cmpeq_epi16_mask(m, _mm512_set1_epi16(0x7f));
    w = _mm512_mask_mov_epi16(w, nan, _mm512_set1_epi16(0x7fc0));
    return _mm512_or_si512(w, _mm512_slli_epi16(_mm512_xor_si512(x, m), 8));
}

HD_INLINE vw vw_words(__m512i x)
{
    return vp_words(x);
}

HD_INLINE void vw_fp8x2(const uint8_t *p, v8 t, vw out[2])
{
    out[0] = vw_words(words_fp8(p, t));
    out[1] = vw_words(words_fp8(p + 32, t));
}

HD_INLINE void fp8_to_bf16(const uint8_t *p, v8 t, hd_bf16 *out)
{
    _mm512_storeu_si512(out, words_fp8(p, t));
    _mm512_storeu_si512(out + 32, words_fp8(p + 32, t));
}

HD_INLINE vw vw_pan(const void *p)
{
    return (vp){.odd = _mm512_load_ps(p), .even = _mm512_load_ps((const float *)p + 16)};
}

HD_INLINE void vw_pan_store(void *p, vw x)
{
    _mm512_store_ps(p, x.odd);
    _mm512_store_ps((float *)p + 16, x.even);
}

HD_INLINE vf vw_dot(vf acc, vw a, vw b)
{
    return vp_dot(acc, a, b);
}

#endif

HD_INLINE vw vw_bf16(const void *p)
{
    return vw_words(_mm512_loadu_si512(p));
}

HD_INLINE vw vw_pair(uint32_t word)
{
    return vw_words(_mm512_set1_epi32((int)word));
}

HD_INLINE vw vw_rows(const hd_bf16 *a, const hd_bf16 *b)
{
    return vw_words(_mm512_or_si512(_mm512_slli_epi32(vi_load_u16(a), 16), vi_load_u16(b)));
}

HD_INLINE vw vw_fp4(const uint8_t *p, const hd_cpu_tables *tables, uint8_t scale)
{
    return vw_words(words_fp4(p, tables, scale));
}

#endif
