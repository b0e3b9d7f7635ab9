/* The scalar twin of the vector wrappers: one C loop each. It is the portable build, and what the
 * hardware versions are tested against. */
#ifndef HD_BACKEND_CPU_SIMD_EMUL_H
#define HD_BACKEND_CPU_SIMD_EMUL_H

#define PAN_BYTES     64 /* 32 × bf16 */
#define TILE_ROWS     4
#define TILE_TOKENS   2
#define F32_TILE      2
#define PV_TILE_HEADS 2
#define PANEL_TILES   1
#define DIRECT_TOKENS 2

typedef struct vf {
    float v[16];
} vf;
typedef struct vi {
    uint32_t v[16];
} vi;
typedef struct vm {
    bool v[16];
} vm;
typedef struct vw {
    hd_bf16 v[32];
} vw;
typedef struct vp {
    float odd[16], even[16];
} vp;
typedef struct v8 {
    const uint8_t *low, *high; /* [128] */
} v8;

#define EACH for (int l = 0; l < 16; l++)

HD_INLINE vf vf_set1(float x)
{
    vf r;
    EACH r.v[l] = x;
    return r;
}

HD_INLINE vf vf_zero(void)
{
    return vf_set1(0.0f);
}

HD_INLINE vf vf_load(const float *p)
{
    vf r;
    memcpy(r.v, p, sizeof r.v);
    return r;
}

HD_INLINE void vf_store(float *p, vf x)
{
    memcpy(p, x.v, sizeof x.v);
}

#define BINARY(name, expr)                                                                         \
    HD_INLINE vf name(vf a, vf b)                                                                  \
    {                                                                                              \
        vf r;                                                                                      \
        EACH r.v[l] = expr;                                                                        \
        return r;                                                                                  \
    }
BINARY(vf_add, a.v[l] + b.v[l])
BINARY(vf_sub, a.v[l] - b.v[l])
BINARY(vf_mul, a.v[l] * b.v[l])
BINARY(vf_div, a.v[l] / b.v[l])
BINARY(vf_max, a.v[l] > b.v[l] ? a.v[l] : b.v[l])
BINARY(vf_min, a.v[l] < b.v[l] ? a.v[l] : b.v[l])
#undef BINARY

HD_INLINE vf vf_fma(vf a, vf b, vf c)
{
    EACH c.v[l] = fmaf(a.v[l], b.v[l], c.v[l]);
    return c;
}

HD_INLINE vm vf_lt(vf a, vf b)
{
    vm r;
    EACH r.v[l] = a.v[l] < b.v[l];
    return r;
}

HD_INLINE vm vf_nan(vf a)
{
    vm r;
    EACH r.v[l] = a.v[l] != a.v[l];
    return r;
}

HD_INLINE vf vf_sel(vm m, vf a, vf b)
{
    EACH b.v[l] = m.v[l] ? a.v[l] : b.v[l];
    return b;
}

HD_INLINE vi vi_set1(int32_t x)
{
    vi r;
    EACH r.v[l] = (uint32_t)x;
    return r;
}

#define BINARY(name, expr)                                                                         \
    HD_INLINE vi name(vi a, vi b)                                                                  \
    {                                                                                              \
        vi r;                                                                                      \
        EACH r.v[l] = expr;                                                                        \
        return r;                                                                                  \
    }
BINARY(vi_add, a.v[l] + b.v[l])
BINARY(vi_sub, a.v[l] - b.v[l])
BINARY(vi_and, a.v[l] & b.v[l])
BINARY(vi_or, a.v[l] | b.v[l])
BINARY(vi_xor, a.v[l] ^ b.v[l])
BINARY(vi_max, (int32_t)a.v[l] > (int32_t)b.v[l] ? a.v[l] : b.v[l])
#undef BINARY

HD_INLINE vi vi_shl(vi a, int n)
{
    EACH a.v[l] <<= n;
    return a;
}

HD_INLINE vi vi_shr(vi a, int n)
{
    EACH a.v[l] >>= n;
    return a;
}

HD_INLINE vi vi_of(vf x)
{
    vi r;
    memcpy(&r, &x, sizeof r);
    return r;
}

HD_INLINE vf vf_of(vi x)
{
    vf r;
    memcpy(&r, &x, sizeof r);
    return r;
}

HD_INLINE vi vi_load_u16(const uint16_t *p)
{
    vi r;
    EACH r.v[l] = p[l];
    return r;
}

HD_INLINE void vi_store_u16(uint16_t *p, vi x)
{
    EACH p[l] = (uint16_t)x.v[l];
}

HD_INLINE void vi_store_u8(uint8_t *p, vi x)
{
    EACH p[l] = (uint8_t)x.v[l];
}

HD_INLINE float vf_hsum(vf x)
{
    for (int half = 8; half >= 1; half /= 2) {
        for (int l = 0; l < half; l++) x.v[l] += x.v[l + half];
    }
    return x.v[0];
}

HD_INLINE float vf_hmax(vf x)
{
    float m = x.v[0];
    EACH m = x.v[l] > m ? x.v[l] : m;
    return m;
}

HD_INLINE int32_t vi_hmax(vi x)
{
    int32_t m = (int32_t)x.v[0];
    EACH m = (int32_t)x.v[l] > m ? (int32_t)x.v[l] : m;
    return m;
}

/* Lane l gets lane l xor distance: 1, 2, 4 or 8, a constant. */
HD_INLINE vf vf_swap(vf x, int distance)
{
    vf r;
    EACH r.v[l] = x.v[l ^ distance];
    return r;
}

HD_INLINE void vf_hsum8(const vf v[8], float out[8])
{
    for (int i = 0; i < 8; i++) out[i] = vf_hsum(v[i]);
}

/* ---- the dot product ------------------------------------------------------------------------ */

HD_INLINE vw vw_bf16(const void *p)
{
    vw r;
    memcpy(r.v, p, sizeof r.v);
    return r;
}

HD_INLINE vw vw_pan(const void *p)
{
    return vw_bf16(p);
}

HD_INLINE void vw_pan_store(void *p, vw x)
{
    memcpy(p, x.v, sizeof x.v);
}

/* Every lane: the word's high half is the odd element. */
HD_INLINE vw vw_pair(uint32_t word)
{
    vw r;
    EACH
    {
        r.v[2 * l + 1] = (hd_bf16)(word >> 16);
        r.v[2 * l] = (hd_bf16)word;
    }
    return r;
}

/* Lane l: odd a[l], even b[l]; bf16 [16] each. */
HD_INLINE vw vw_rows(const hd_bf16 *a, const hd_bf16 *b)
{
    vw r;
    EACH
    {
        r.v[2 * l + 1] = a[l];
        r.v[2 * l] = b[l];
    }
    return r;
}

HD_INLINE vf vw_dot(vf acc, vw a, vw b)
{
    EACH
    {
        float x =
            fmaf(hd_f32_from_bf16(a.v[2 * l + 1]), hd_f32_from_bf16(b.v[2 * l + 1]), acc.v[l]);
        acc.v[l] = fmaf(hd_f32_from_bf16(a.v[2 * l]), hd_f32_from_bf16(b.v[2 * l]), x);
    }
    return acc;
}

HD_INLINE vw vw_fp4(const uint8_t *p, const hd_cpu_tables *tables, uint8_t scale)
{
    vw r;
    const uint16_t *value = tables->fp4_bf16[scale];
    EACH
    {
        r.v[2 * l] = value[p[l] & 15];
        r.v[2 * l + 1] = value[p[l] >> 4];
    }
    return r;
}

HD_INLINE v8 v8_load(const hd_cpu_tables *tables, uint8_t scale)
{
    return (v8){tables->fp8_bytes[scale][0], tables->fp8_bytes[scale][1]};
}

HD_INLINE void vw_fp8x2(const uint8_t *p, v8 t, vw out[2])
{
    for (int i = 0; i < 64; i++) {
        int m = p[i] & 127;
        out[i / 32].v[i % 32] = (hd_bf16)(t.low[m] | (t.high[m] | (p[i] & 128)) << 8);
    }
}

/* The same 64 values as bf16 in memory. */
HD_INLINE void fp8_to_bf16(const uint8_t *p, v8 t, hd_bf16 *out)
{
    vw w[2];
    vw_fp8x2(p, t, w);
    memcpy(out, w, sizeof w);
}

/* ---- the same with FP32 operands ------------------------------------------------------------ */

HD_INLINE vp vp_f32(const void *p)
{
    vp r;
    float x[32];
    memcpy(x, p, sizeof x);
    EACH
    {
        r.even[l] = x[2 * l];
        r.odd[l] = x[2 * l + 1];
    }
    return r;
}

HD_INLINE vp vp_bf16(const void *p)
{
    vp r;
    vw x = vw_bf16(p);
    EACH
    {
        r.even[l] = hd_f32_from_bf16(x.v[2 * l]);
        r.odd[l] = hd_f32_from_bf16(x.v[2 * l + 1]);
    }
    return r;
}

HD_INLINE vf vp_dot(vf acc, vp a, vp b)
{
    EACH acc.v[l] = fmaf(a.even[l], b.even[l], fmaf(a.odd[l], b.odd[l], acc.v[l]));
    return acc;
}

#undef EACH

#endif
