/* Ops that quantise: quantize_act, kv_pack, hadamard_quant, index_pack.
 *
 * The model itself works on these quantised values (the reference simulates them), so storing them
 * packed loses nothing. The group quantisers are in rowfmt; here are the layouts, and the Hadamard
 * transform that spreads index queries and keys before FP4. */
#include <string.h>

#include "dev/hostref/rowfmt.h"

static hd_status quantize_act(const hd_quantize_act_params *p)
{
    if (p->n_rows < 0 || p->dim <= 0) return HD_E_ARG;
    /* The scales lie behind all rows (hd_act_format). */
    size_t cols = (size_t)p->dim, n_groups = (cols + HD_ACT_GROUP - 1) / HD_ACT_GROUP;
    hd_e4m3 *q = p->act;
    hd_e8m0 *scale = q + hd_hostref_act_bytes(p->n_rows, p->dim) - (size_t)p->n_rows * n_groups;
    for (int32_t t = 0; t < p->n_rows; t++) {
        for (int32_t c = 0; c < p->dim; c += HD_ACT_GROUP) {
            int32_t n = p->dim - c < HD_ACT_GROUP ? p->dim - c : HD_ACT_GROUP;
            size_t at = (size_t)t * cols + (size_t)c;
            *scale++ = hd_hostref_quant_e4m3(p->x + at, n, q + at);
        }
    }
    return HD_OK;
}
HD_HOSTREF_OP(quantize_act)

static hd_status kv_pack(const hd_kv_pack_params *p)
{
    if (p->n_rows < 0) return HD_E_ARG;
    for (int32_t t = 0; t < p->n_rows; t++) {
        const hd_bf16 *x = p->x + (size_t)t * HD_HEAD_DIM;
        uint8_t *row = p->rows + (size_t)t * HD_KV_ROW_BYTES;
        for (int32_t g = 0; g < HD_NOPE_DIM / HD_KV_GROUP; g++) {
            int32_t c = g * HD_KV_GROUP;
            row[HD_KV_ROW_SCALE_AT + g] = hd_hostref_quant_e4m3(x + c, HD_KV_GROUP, row + c);
        }
        memcpy(row + HD_KV_ROW_ROPE_AT, x + HD_NOPE_DIM, HD_ROPE_DIM * sizeof *x);
        row[HD_KV_ROW_BYTES - 1] = 0;
    }
    return HD_OK;
}
HD_HOSTREF_OP(kv_pack)

/* Sylvester's Walsh–Hadamard transform in stages of distance 1, 2, …, 64, one product at the end,
 * FP32 throughout, rounded to BF16. */
static void hadamard(const hd_bf16 *x, hd_bf16 *y)
{
    float v[HD_INDEX_DIM];
    hd_hostref_bf16_row(x, HD_INDEX_DIM, v);
    for (int distance = 1; distance < HD_INDEX_DIM; distance *= 2) {
        for (int i = 0; i < HD_INDEX_DIM; i++) {
            if (i & distance) continue;
            float a = v[i], b = v[i + distance];
            v[i] = a + b;
            v[i + distance] = a - b;
        }
    }
    static const float norm = 0x1.6a09e6p-4f; /* 128^-0.5 */
    for (int i = 0; i < HD_INDEX_DIM; i++) y[i] = hd_bf16_from_f32(v[i] * norm);
}

/* Codes (one a byte) and scales of fq4(had(x)). */
static void hadamard_codes(const hd_bf16 *x, uint8_t *code, hd_e8m0 *scale)
{
    hd_bf16 y[HD_INDEX_DIM];
    hadamard(x, y);
    for (int g = 0; g < HD_INDEX_DIM / HD_FP4_GROUP; g++) {
        int c = g * HD_FP4_GROUP;
        scale[g] = hd_hostref_quant_e2m1(y + c, HD_FP4_GROUP, code + c);
    }
}

static hd_status hadamard_quant(const hd_hadamard_quant_params *p)
{
    if (p->n_rows < 0) return HD_E_ARG;
    for (int32_t t = 0; t < p->n_rows; t++) {
        hd_bf16 *x = p->x + (size_t)t * HD_INDEX_DIM;
        uint8_t code[HD_INDEX_DIM];
        hd_e8m0 scale[HD_INDEX_DIM / HD_FP4_GROUP];
        hadamard_codes(x, code, scale);
        for (int i = 0; i < HD_INDEX_DIM; i++) {
            float s = hd_f32_from_e8m0(scale[i / HD_FP4_GROUP]);
            x[i] = hd_bf16_from_f32(hd_f32_from_e2m1(code[i]) * s);
        }
    }
    return HD_OK;
}
HD_HOSTREF_OP(hadamard_quant)

static hd_status index_pack(const hd_index_pack_params *p)
{
    if (p->n_rows < 0) return HD_E_ARG;
    for (int32_t t = 0; t < p->n_rows; t++) {
        uint8_t *row = p->rows + (size_t)t * HD_INDEX_ROW_BYTES;
        uint8_t code[HD_INDEX_DIM];
        hadamard_codes(p->x + (size_t)t * HD_INDEX_DIM, code, row + HD_INDEX_ROW_SCALE_AT);
        for (int i = 0; i < HD_INDEX_DIM / 2; i++) {
            row[i] = (uint8_t)(code[2 * i] | code[2 * i + 1] << 4);
        }
    }
    return HD_OK;
}
HD_HOSTREF_OP(index_pack)
