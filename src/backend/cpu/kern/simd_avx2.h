/* The vector wrappers for AVX2 with FMA and F16C: 16 lanes are two registers. */
#ifndef HD_BACKEND_CPU_SIMD_AVX2_H
#define HD_BACKEND_CPU_SIMD_AVX2_H

#include <immintrin.h>

#define PAN_BYTES     128 /* 16 × f32 odd, 16 × f32 even */
#define TILE_ROWS     2
#define TILE_TOKENS   3
#define PANEL_TILES   2
#define F32_TILE      2
#define PV_TILE_HEADS 1
#define DIRECT_TOKENS 2

typedef struct vf {
    __m256 v[2];
} vf;
typedef struct vi {
    __m256i v[2];
} vi;
typedef vf vm; /* all bits of a lane set or clear */
typedef struct vw {
    vf odd, even;
} vw;
typedef vw vp;
typedef struct v8 {
    __m256 scale; /* of a code read as a half-precision number */
} v8;

#define BOTH(type, expr0, expr1) ((type){{(expr0), (expr1)}})

HD_INLINE vf vf_set1(float x)
{
    return BOTH(vf, _mm256_set1_ps(x), _mm256_set1_ps(x));
}

HD_INLINE vf vf_zero(void)
{
    return BOTH(vf, _mm256_setzero_ps(), _mm256_setzero_ps());
}

HD_INLINE vf vf_load(const float *p)
{
    return BOTH(vf, _mm256_loadu_ps(p), _mm256_loadu_ps(p + 8));
}

HD_INLINE void vf_store(float *p, vf x)
{
    _mm256_storeu_ps(p, x.v[0]);
    _mm256_storeu_ps(p + 8, x.v[1]);
}

#define BINARY(type, name, op)                                                                     \
    HD_INLINE type name(type a, type b)                                                            \
    {                                                                                              \
        return BOTH(type, op(a.v[0], b.v[0]), op(a.v[1], b.v[1]));                                 \
    }
BINARY(vf, vf_add, _mm256_add_ps)
BINARY(vf, vf_sub, _mm256_sub_ps)
BINARY(vf, vf_mul, _mm256_mul_ps)
BINARY(vf, vf_div, _mm256_div_ps)
BINARY(vf, vf_max, _mm256_max_ps)
BINARY(vf, vf_min, _mm256_min_ps)
BINARY(vi, vi_add, _mm256_add_epi32)
BINARY(vi, vi_sub, _mm256_sub_epi32)
BINARY(vi, vi_and, _mm256_and_si256)
BINARY(vi, vi_or, _mm256_or_si256)
BINARY(vi, vi_xor, _mm256_xor_si256)
BINARY(vi, vi_max, _mm256_max_epi32)
#undef BINARY

HD_INLINE vf vf_fma(vf a, vf b, vf c)
{
    return BOTH(vf, _mm256_fmadd_ps(a.v[0], b.v[0], c.v[0]),
                _mm256_fmadd_ps(a.v[1], b.v[1], c.v[1]));
}

HD_INLINE vm vf_lt(vf a, vf b)
{
    return BOTH(vm, _mm256_cmp_ps(a.v[0], b.v[0], _CMP_LT_OQ),
                _mm256_cmp_ps(a.v[1], b.v[1], _CMP_LT_OQ));
}

HD_INLINE vm vf_nan(vf a)
{
    return BOTH(vm, _mm256_cmp_ps(a.v[0], a.v[0], _CMP_UNORD_Q),
                _mm256_cmp_ps(a.v[1], a.v[1], _CMP_UNORD_Q));
}

HD_INLINE vf vf_sel(vm m, vf a, vf b)
{
    return BOTH(vf, _mm256_blendv_ps(b.v[0], a.v[0], m.v[0]),
                _mm256_blendv_ps(b.v[1], a.v[1], m.v[1]));
}

HD_INLINE vi vi_set1(int32_t x)
{
    return BOTH(vi, _mm256_set1_epi32(x), _mm256_set1_epi32(x));
}

HD_INLINE vi vi_shl(vi a, int n)
{
    __m128i count = _mm_cvtsi32_si128(n);
    return BOTH(vi, _mm256_sll_epi32(a.v[0], count), _mm256_sll_epi32(a.v[1], count));
}

HD_INLINE vi vi_shr(vi a, int n)
{
    __m128i count = _mm_cvtsi32_si128(n);
    return BOTH(vi, _mm256_srl_epi32(a.v[0], count), _mm256_srl_epi32(a.v[1], count));
}

HD_INLINE vi vi_of(vf x)
{
    return BOTH(vi, _mm256_castps_si256(x.v[0]), _mm256_castps_si256(x.v[1]));
}

HD_INLINE vf vf_of(vi x)
{
    return BOTH(vf, _mm256_castsi256_ps(x.v[0]), _mm256_castsi256_ps(x.v[1]));
}

HD_INLINE vi vi_load_u16(const uint16_t *p)
{
    return BOTH(vi, _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)p)),
                _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)(p + 8))));
}

/* Two registers of 8 numbers below 2^16 to one of 16. */
HD_INLINE __m256i pack_words(__m256i a, __m256i b)
{
    return _mm256_permute4x64_epi64(_mm256_packus_epi32(a, b), 0xd8);
}

HD_INLINE void vi_store_u16(uint16_t *p, vi x)
{
    _mm256_storeu_si256((void *)p, pack_words(x.v[0], x.v[1]));
}

HD_INLINE void vi_store_u8(uint8_t *p, vi x)
{
    __m256i w = pack_words(x.v[0], x.v[1]);
    __m128i b = _mm_packus_epi16(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
    _mm_storeu_si128((void *)p, b);
}

HD_INLINE float vf_hsum(vf x)
{
    __m256 a = _mm256_add_ps(x.v[0], x.v[1]);
    __m128 b = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_add_ps(b, _mm_movehl_ps(b, b));
    b = _mm_add_ss(b, _mm_movehdup_ps(b));
    return _mm_cvtss_f32(b);
}

HD_INLINE float vf_hmax(vf x)
{
    __m256 a = _mm256_max_ps(x.v[0], x.v[1]);
    __m128 b = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    b = _mm_max_ps(b, _mm_movehl_ps(b, b));
    b = _mm_max_ss(b, _mm_movehdup_ps(b));
    return _mm_cvtss_f32(b);
}

HD_INLINE int32_t vi_hmax(vi x)
{
    __m256i a = _mm256_max_epi32(x.v[0], x.v[1]);
    __m128i b = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    b = _mm_max_epi32(b, _mm_shuffle_epi32(b, 0x4e));
    b = _mm_max_epi32(b, _mm_shuffle_epi32(b, 0xb1));
    return _mm_cvtsi128_si32(b);
}

HD_INLINE vf vf_swap(vf x, int distance)
{
    switch (distance) {
    case 1: return BOTH(vf, _mm256_permute_ps(x.v[0], 0xb1), _mm256_permute_ps(x.v[1], 0xb1));
    case 2: return BOTH(vf, _mm256_permute_ps(x.v[0], 0x4e), _mm256_permute_ps(x.v[1], 0x4e));
    case 4:
        return BOTH(vf, _mm256_permute2f128_ps(x.v[0], x.v[0], 1),
                    _mm256_permute2f128_ps(x.v[1], x.v[1], 1));
    default: return BOTH(vf, x.v[1], x.v[0]);
    }
}

/* Two vectors at a time share each halving step. */
HD_INLINE void vf_hsum8(const vf v[8], float out[8])
{
    __m256 s[4], t[2];
    for (int i = 0; i < 4; i++) {
        __m256 a = _mm256_add_ps(v[2 * i].v[0], v[2 * i].v[1]);
        __m256 b = _mm256_add_ps(v[2 * i + 1].v[0], v[2 * i + 1].v[1]);
        s[i] =
            _mm256_add_ps(_mm256_permute2f128_ps(a, b, 0x20), _mm256_permute2f128_ps(a, b, 0x31));
    }
    for (int i = 0; i < 2; i++)
        t[i] = _mm256_add_ps(_mm256_shuffle_ps(s[2 * i], s[2 * i + 1], 0x44),
                             _mm256_shuffle_ps(s[2 * i], s[2 * i + 1], 0xee));
    /* halves: vectors 0 2 4 6, 1 3 5 7 */
    __m256 w =
        _mm256_add_ps(_mm256_shuffle_ps(t[0], t[1], 0x88), _mm256_shuffle_ps(t[0], t[1], 0xdd));
    __m256i natural = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    _mm256_storeu_ps(out, _mm256_permutevar8x32_ps(w, natural));
}

/* ---- the dot product ------------------------------------------------------------------------ */

HD_INLINE __m256 odd_of(__m256i x)
{
    return _mm256_castsi256_ps(_mm256_and_si256(x, _mm256_set1_epi32((int)0xffff0000)));
}

HD_INLINE __m256 even_of(__m256i x)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(x, 16));
}

HD_INLINE vw vw_bf16(const void *p)
{
    __m256i a = _mm256_loadu_si256(p), b = _mm256_loadu_si256((const __m256i *)p + 1);
    return (vw){.odd = BOTH(vf, odd_of(a), odd_of(b)), .even = BOTH(vf, even_of(a), even_of(b))};
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
    __m256i x = _mm256_set1_epi32((int)word);
    __m256 odd = odd_of(x), even = even_of(x);
    return (vw){.odd = BOTH(vf, odd, odd), .even = BOTH(vf, even, even)};
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

/* One step of a register tile, a quarter of the operands at a time: the accumulators, one register
 * per token and one for the row just fit. */
#define HAVE_TILE_STEP 1
HD_INLINE void vw_tile_step(int n_rows, int n_tok, const uint8_t *w, const uint8_t *x,
                            size_t x_bytes, vf acc[][8])
{
    for (size_t part = 0; part < 4; part++) {
        __m256 xv[TILE_TOKENS];
        for (int t = 0; t < n_tok; t++)
            xv[t] =
                _mm256_load_ps((const float *)(const void *)(x + (size_t)t * x_bytes) + 8 * part);
        for (int r = 0; r < n_rows; r++) {
            __m256 wv =
                _mm256_load_ps((const float *)(const void *)(w + (size_t)r * PAN_BYTES) + 8 * part);
            for (int t = 0; t < n_tok; t++)
                acc[t][r].v[part % 2] = _mm256_fmadd_ps(wv, xv[t], acc[t][r].v[part % 2]);
        }
    }
}

/* Sixteen codes, lanes 0–3 and 8–11 in the lower half: bytes of BF16 by table, then widened. */
HD_INLINE vf fp4_lanes(__m256i codes, __m256i low, __m256i high)
{
    __m256i l = _mm256_shuffle_epi8(low, codes), h = _mm256_shuffle_epi8(high, codes);
    __m256i words = _mm256_unpacklo_epi8(l, h), zero = _mm256_setzero_si256();
    return BOTH(vf, _mm256_castsi256_ps(_mm256_unpacklo_epi16(zero, words)),
                _mm256_castsi256_ps(_mm256_unpackhi_epi16(zero, words)));
}

HD_INLINE vw vw_fp4(const uint8_t *p, const hd_cpu_tables *tables, uint8_t scale)
{
    const __m128i *t = (const __m128i *)(const void *)tables->fp4_bytes[scale];
    __m256i low = _mm256_broadcastsi128_si256(_mm_load_si128(t));
    __m256i high = _mm256_broadcastsi128_si256(_mm_load_si128(t + 1));
    __m256i x = _mm256_castsi128_si256(_mm_loadu_si128((const void *)p));
    x = _mm256_permutevar8x32_epi32(x, _mm256_setr_epi32(0, 2, 0, 2, 1, 3, 1, 3));
    __m256i mask = _mm256_set1_epi8(15);
    return (vw){.odd = fp4_lanes(_mm256_and_si256(_mm256_srli_epi16(x, 4), mask), low, high),
                .even = fp4_lanes(_mm256_and_si256(x, mask), low, high)};
}

HD_INLINE v8 v8_load(const hd_cpu_tables *tables, uint8_t scale)
{
    /* A code's bits read as half precision are 2^-8 of its value; code 56 is 1. */
    const uint8_t *t = tables->fp8_bytes[scale][0];
    return (v8){
        _mm256_set1_ps(hd_f32_from_bits((uint32_t)(t[128 + 56] << 8 | t[56]) << 16) * 256.0f)};
}

/* Codes in the high bytes of 16 words. Half precision has E4M3's subnormals and, once its exponent
 * is full, its NaN. */
HD_INLINE vf fp8_lanes(__m256i x, v8 t)
{
    __m256i m = _mm256_and_si256(_mm256_srli_epi16(x, 1), _mm256_set1_epi16(0x3f80));
    __m256i nan = _mm256_cmpeq_epi16(m, _mm256_set1_epi16(0x3f80));
    m = _mm256_or_si256(m, _mm256_and_si256(nan, _mm256_set1_epi16(0x7c00)));
    m = _mm256_or_si256(m, _mm256_and_si256(x, _mm256_set1_epi16((short)0x8000)));
    return BOTH(vf, _mm256_mul_ps(_mm256_cvtph_ps(_mm256_castsi256_si128(m)), t.scale),
                _mm256_mul_ps(_mm256_cvtph_ps(_mm256_extracti128_si256(m, 1)), t.scale));
}

HD_INLINE void vw_fp8x2(const uint8_t *p, v8 t, vw out[2])
{
    for (int i = 0; i < 2; i++) {
        __m256i x = _mm256_loadu_si256((const void *)(p + 32 * i));
        out[i].odd = fp8_lanes(x, t);
        out[i].even = fp8_lanes(_mm256_slli_epi16(x, 8), t);
    }
}

/* Each lane's two values side by side again; exact BF16, so the upper halves are all of them. */
HD_INLINE void fp8_to_bf16(const uint8_t *p, v8 t, hd_bf16 *out)
{
    vw w[2];
    vw_fp8x2(p, t, w);
    for (int i = 0; i < 4; i++) {
        __m256i odd = _mm256_castps_si256(w[i / 2].odd.v[i % 2]);
        __m256i even = _mm256_srli_epi32(_mm256_castps_si256(w[i / 2].even.v[i % 2]), 16);
        _mm256_storeu_si256((void *)(out + 16 * i), _mm256_or_si256(odd, even));
    }
}

/* ---- the same with FP32 operands ------------------------------------------------------------ */

HD_INLINE vp vp_bf16(const void *p)
{
    return vw_bf16(p);
}

/* Every second of 16 numbers, from the first or the second on. */
HD_INLINE __m256 every_second(__m256 a, __m256 b, bool odd)
{
    __m256 s = odd ? _mm256_shuffle_ps(a, b, 0xdd) : _mm256_shuffle_ps(a, b, 0x88);
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(s), 0xd8));
}

HD_INLINE vp vp_f32(const void *p)
{
    vf a = vf_load(p), b = vf_load((const float *)p + 16);
    return (vp){
        .odd = BOTH(vf, every_second(a.v[0], a.v[1], true), every_second(b.v[0], b.v[1], true)),
        .even = BOTH(vf, every_second(a.v[0], a.v[1], false), every_second(b.v[0], b.v[1], false))};
}

HD_INLINE vf vp_dot(vf acc, vp a, vp b)
{
    return vw_dot(acc, a, b);
}

#undef BOTH

#endif
