/* Ops that quantise: activations of linear layers, cache rows, index queries and keys. */
#include "backend/cpu/kern/rows.h"

/* max |x| of bf16 [n], at least `least`; NaN counts as greatest. */
static float max_abs(const hd_bf16 *x, int64_t n, float least)
{
    vi most = vi_of(vf_set1(least));
    for (int64_t k = 0; k < n; k += 16) most = vi_max(most, vi_of(vf_abs(ld_bf16(x + k, n - k))));
    return hd_f32_from_bits((uint32_t)vi_hmax(most));
}

static float scale_e4m3(const hd_bf16 *x, int64_t n)
{
    return hd_pow2ceil(max_abs(x, n, 1e-4f), 1.0f / 448.0f);
}

static float scale_e2m1(const hd_bf16 *x, int64_t n)
{
    return hd_pow2ceil(max_abs(x, n, 6.0f * 0x1p-126f), 1.0f / 6.0f);
}

void KERN(quantize_row)(hd_bf16 *y, const hd_bf16 *x, int64_t n)
{
    for (int64_t k0 = 0; k0 < n; k0 += HD_ACT_GROUP) {
        int64_t k1 = MIN(k0 + HD_ACT_GROUP, n);
        vf s = vf_set1(scale_e4m3(x + k0, k1 - k0));
        for (int64_t k = k0; k < k1; k += 16) {
            vi code = vi_e4m3(vf_div(ld_bf16(x + k, k1 - k), s));
            st_bf16(y + k, vf_mul(vf_from_e4m3(code), s), k1 - k);
        }
    }
}

void KERN(quantize_act)(const hd_cpu_lane *lane, const hd_quantize_act_params *p)
{
    /* Whole groups, so that few rows spread over the team as well. */
    int64_t groups = (p->dim + HD_ACT_GROUP - 1) / HD_ACT_GROUP;
    hd_par_range r = hd_par_split(p->n_rows * groups, 4, lane->i, lane->n);
    for (int64_t i = r.begin; i < r.end; i++) {
        int64_t c = i % groups * HD_ACT_GROUP, at = i / groups * p->dim + c;
        KERN(quantize_row)((hd_bf16 *)p->act + at, p->x + at, MIN(p->dim - c, HD_ACT_GROUP));
    }
}

void KERN(kv_row_pack)(uint8_t *row, const hd_bf16 *x)
{
    for (int c = 0; c < HD_NOPE_DIM; c += HD_KV_GROUP) {
        float s = scale_e4m3(x + c, HD_KV_GROUP);
        for (int k = c; k < c + HD_KV_GROUP; k += 16)
            vi_store_u8(row + k, vi_e4m3(vf_div(vf_load_bf16(x + k), vf_set1(s))));
        row[HD_KV_ROW_SCALE_AT + c / HD_KV_GROUP] = hd_e8m0_from_pow2(s);
    }
    memcpy(row + HD_KV_ROW_ROPE_AT, x + HD_NOPE_DIM, HD_ROPE_DIM * sizeof *x);
    row[HD_KV_ROW_BYTES - 1] = 0;
}

void KERN(kv_pack)(const hd_cpu_lane *lane, const hd_kv_pack_params *p)
{
    hd_par_range r = my_rows(lane, p->n_rows);
    for (int64_t t = r.begin; t < r.end; t++)
        KERN(kv_row_pack)(p->rows + t * HD_KV_ROW_BYTES, p->x + t * HD_HEAD_DIM);
}

/* ---- Hadamard transform, FP4 ---------------------------------------------------------------- */

enum { N_VEC = HD_INDEX_DIM / 16 };

/* Stages of distance 1 … 8 inside a vector: a + b in the lower lane of a pair, a − b in the upper
 * one, which is the partner plus the negated lane. */
HD_INLINE vf butterfly(vf x, int distance)
{
    static const uint32_t sign[4][16] = {{0, 1u << 31, 0, 1u << 31, 0, 1u << 31, 0, 1u << 31, 0,
                                          1u << 31, 0, 1u << 31, 0, 1u << 31, 0, 1u << 31},
                                         {0, 0, 1u << 31, 1u << 31, 0, 0, 1u << 31, 1u << 31, 0, 0,
                                          1u << 31, 1u << 31, 0, 0, 1u << 31, 1u << 31},
                                         {0, 0, 0, 0, 1u << 31, 1u << 31, 1u << 31, 1u << 31, 0, 0,
                                          0, 0, 1u << 31, 1u << 31, 1u << 31, 1u << 31},
                                         {0, 0, 0, 0, 0, 0, 0, 0, 1u << 31, 1u << 31, 1u << 31,
                                          1u << 31, 1u << 31, 1u << 31, 1u << 31, 1u << 31}};
    int stage = distance == 1 ? 0 : distance == 2 ? 1 : distance == 4 ? 2 : 3;
    vi flip = vi_of(vf_load((const float *)(const void *)sign[stage]));
    return vf_add(vf_swap(x, distance), vf_of(vi_xor(vi_of(x), flip)));
}

/* y = bf16(Hadamard(x) · 128^-0.5), bf16 [128] both. */
static void hadamard(hd_bf16 *y, const hd_bf16 *x)
{
    vf v[N_VEC];
    for (int i = 0; i < N_VEC; i++) {
        v[i] = vf_load_bf16(x + 16 * i);
        v[i] = butterfly(v[i], 1);
        v[i] = butterfly(v[i], 2);
        v[i] = butterfly(v[i], 4);
        v[i] = butterfly(v[i], 8);
    }
    for (int distance = 1; distance < N_VEC; distance *= 2) {
        for (int i = 0; i < N_VEC; i++) {
            if (i & distance) continue;
            vf a = v[i], b = v[i + distance];
            v[i] = vf_add(a, b);
            v[i + distance] = vf_sub(a, b);
        }
    }
    for (int i = 0; i < N_VEC; i++)
        vf_store_bf16(y + 16 * i, vf_mul(v[i], vf_set1(0x1.6a09e6p-4f)));
}

/* Codes of fq4(Hadamard(x)) as 16 lanes each, and the groups' scales. */
HD_INLINE void hadamard_codes(const hd_bf16 *x, vi code[N_VEC],
                              float scale[HD_INDEX_DIM / HD_FP4_GROUP])
{
    hd_bf16 y[HD_INDEX_DIM];
    hadamard(y, x);
    for (int i = 0; i < N_VEC; i++) {
        int g = i * 16 / HD_FP4_GROUP;
        if (i * 16 % HD_FP4_GROUP == 0) scale[g] = scale_e2m1(y + i * 16, HD_FP4_GROUP);
        code[i] = vi_e2m1(vf_div(vf_load_bf16(y + i * 16), vf_set1(scale[g])));
    }
}

void KERN(hadamard_quant)(const hd_cpu_lane *lane, const hd_hadamard_quant_params *p)
{
    hd_par_range r = my_rows(lane, p->n_rows);
    for (int64_t t = r.begin; t < r.end; t++) {
        vi code[N_VEC];
        float scale[HD_INDEX_DIM / HD_FP4_GROUP];
        hadamard_codes(p->x + t * HD_INDEX_DIM, code, scale);
        for (int i = 0; i < N_VEC; i++)
            vf_store_bf16(p->x + t * HD_INDEX_DIM + i * 16,
                          vf_mul(vf_from_e2m1(code[i]), vf_set1(scale[i * 16 / HD_FP4_GROUP])));
    }
}

void KERN(index_pack)(const hd_cpu_lane *lane, const hd_index_pack_params *p)
{
    hd_par_range r = my_rows(lane, p->n_rows);
    for (int64_t t = r.begin; t < r.end; t++) {
        uint8_t *row = p->rows + t * HD_INDEX_ROW_BYTES, code[HD_INDEX_DIM];
        vi lanes[N_VEC];
        float scale[HD_INDEX_DIM / HD_FP4_GROUP];
        hadamard_codes(p->x + t * HD_INDEX_DIM, lanes, scale);
        for (int i = 0; i < N_VEC; i++) vi_store_u8(code + i * 16, lanes[i]);
        for (int i = 0; i < HD_INDEX_DIM / 2; i++)
            row[i] = (uint8_t)(code[2 * i] | code[2 * i + 1] << 4);
        for (int g = 0; g < HD_INDEX_DIM / HD_FP4_GROUP; g++)
            row[HD_INDEX_ROW_SCALE_AT + g] = hd_e8m0_from_pow2(scale[g]);
    }
}
