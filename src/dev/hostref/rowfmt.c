#include "dev/hostref/rowfmt.h"

#include <string.h>

#include "base/canon.h"
#include "base/mem.h"

/* ---- weights --------------------------------------------------------------------------------- */

hd_status hd_ref_weight_create(const hd_weight_desc *d, hd_ref_weight **out, hd_err *err)
{
    *out = NULL;
    if (d->rows <= 0 || d->cols <= 0 || d->n_parts <= 0) {
        HD_FAIL(err, HD_E_ARG, "weight of %d parts [%d, %d], expected positive sizes", d->n_parts,
                d->rows, d->cols);
    }
    if (d->format == HD_WEIGHT_FP4 && d->cols % HD_FP4_GROUP) {
        HD_FAIL(err, HD_E_ARG, "FP4 weight with %d columns, expected a multiple of %d", d->cols,
                HD_FP4_GROUP);
    }
    size_t n = (size_t)d->n_parts;
    hd_ref_weight *w = hd_mem_try_calloc(1, sizeof *w + 2 * n * sizeof w->pointers[0]);
    if (!w) HD_FAIL(err, HD_E_NOMEM, "out of memory for a weight of %zu parts", n);
    w->base = (hd_weight){d->format, d->rows, d->cols, d->n_parts};
    for (size_t i = 0; i < n; i++) {
        w->pointers[i] = d->data[i];
        w->pointers[n + i] = d->scale ? d->scale[i] : NULL;
    }
    w->data = w->pointers;
    w->scale = w->pointers + n;
    *out = w;
    return HD_OK;
}

void hd_ref_weight_destroy(hd_ref_weight *w)
{
    hd_mem_free(w);
}

static void fp8_row(const uint8_t *q, const uint8_t *scale, int32_t k0, int32_t n, float *out)
{
    for (int32_t i = 0; i < n; i++) {
        out[i] = hd_f32_from_e4m3(q[k0 + i]) * hd_f32_from_e8m0(scale[(k0 + i) / HD_ACT_GROUP]);
    }
}

static void fp4_row(const uint8_t *q, const uint8_t *scale, int32_t k0, int32_t n, float *out)
{
    for (int32_t i = 0; i < n; i++) {
        int32_t k = k0 + i;
        unsigned code = k % 2 ? q[k / 2] >> 4 : q[k / 2] & 15u;
        out[i] = hd_f32_from_e2m1(code) * hd_f32_from_e8m0(scale[k / HD_FP4_GROUP]);
    }
}

void hd_hostref_weight_row(const hd_ref_weight *w, int32_t part, int32_t row, int32_t k0, int32_t n,
                           float *out)
{
    const uint8_t *data = w->data[part], *scale = w->scale[part];
    size_t r = (size_t)row, cols = (size_t)w->base.cols;
    switch (w->base.format) {
    case HD_WEIGHT_F32:
        memcpy(out, data + (r * cols + (size_t)k0) * sizeof(float), (size_t)n * sizeof(float));
        break;
    case HD_WEIGHT_BF16:
        for (int32_t i = 0; i < n; i++) {
            hd_bf16 h;
            memcpy(&h, data + (r * cols + (size_t)(k0 + i)) * sizeof h, sizeof h);
            out[i] = hd_f32_from_bf16(h);
        }
        break;
    case HD_WEIGHT_FP8:
        scale += r / HD_ACT_GROUP * ((cols + HD_ACT_GROUP - 1) / HD_ACT_GROUP);
        fp8_row(data + r * cols, scale, k0, n, out);
        break;
    case HD_WEIGHT_FP4:
        fp4_row(data + r * cols / 2, scale + r * (cols / HD_FP4_GROUP), k0, n, out);
        break;
    }
}

/* ---- activations ----------------------------------------------------------------------------- */

static size_t act_groups(int64_t cols)
{
    return (size_t)((cols + HD_ACT_GROUP - 1) / HD_ACT_GROUP);
}

/* Where the scales of a quantised matrix begin. */
static size_t act_scale_at(int64_t rows, int64_t cols)
{
    return ((size_t)rows * (size_t)cols + 63) / 64 * 64;
}

size_t hd_hostref_act_bytes(int64_t rows, int64_t cols)
{
    return act_scale_at(rows, cols) + (size_t)rows * act_groups(cols);
}

void hd_hostref_bf16_row(const hd_bf16 *x, int32_t n, float *out)
{
    for (int32_t i = 0; i < n; i++) out[i] = hd_f32_from_bf16(x[i]);
}

void hd_hostref_input_row(const hd_ref_input *in, int32_t row, int32_t k0, int32_t n, float *out)
{
    size_t r = (size_t)row, cols = (size_t)in->cols;
    if (in->kind == HD_X_BF16) {
        hd_hostref_bf16_row((const hd_bf16 *)in->x + r * cols + (size_t)k0, n, out);
        return;
    }
    const uint8_t *base = in->x;
    const uint8_t *scale = base + act_scale_at(in->n_rows, in->cols) + r * act_groups(in->cols);
    fp8_row(base + r * cols, scale, k0, n, out);
}

float hd_hostref_sum_sq(const hd_bf16 *x, int32_t n)
{
    float total = 0.0f, piece[HD_SEGMENT];
    for (int32_t i = 0; i < n; i += HD_SEGMENT) {
        int32_t len = n - i < HD_SEGMENT ? n - i : HD_SEGMENT;
        hd_hostref_bf16_row(x + i, len, piece);
        total += hd_canon_sum_sq(piece, (size_t)len);
    }
    return total;
}

/* ---- group quantisers ------------------------------------------------------------------------ */

/* max |x|, at least `least`. Bit patterns of magnitudes order as the magnitudes do, NaN on top. */
static float max_abs(const hd_bf16 *x, int32_t n, float least)
{
    uint32_t most = hd_f32_bits(least);
    for (int32_t i = 0; i < n; i++) {
        uint32_t u = ((uint32_t)x[i] & 0x7fffu) << 16;
        if (u > most) most = u;
    }
    return hd_f32_from_bits(most);
}

hd_e8m0 hd_hostref_quant_e4m3(const hd_bf16 *x, int32_t n, hd_e4m3 *q)
{
    float s = hd_pow2ceil(max_abs(x, n, 1e-4f), 1.0f / 448.0f);
    for (int32_t i = 0; i < n; i++) q[i] = hd_e4m3_from_f32(hd_f32_from_bf16(x[i]) / s);
    return hd_e8m0_from_pow2(s);
}

hd_e8m0 hd_hostref_quant_e2m1(const hd_bf16 *x, int32_t n, uint8_t *code)
{
    float s = hd_pow2ceil(max_abs(x, n, 6.0f * 0x1p-126f), 1.0f / 6.0f);
    for (int32_t i = 0; i < n; i++) {
        code[i] = (uint8_t)hd_e2m1_from_f32(hd_f32_from_bf16(x[i]) / s);
    }
    return hd_e8m0_from_pow2(s);
}

/* ---- cache rows ------------------------------------------------------------------------------ */

const uint8_t *hd_hostref_paged_row(const hd_paged_rows *p, int32_t seq, int32_t i,
                                    size_t row_bytes)
{
    size_t entry = (size_t)seq * (size_t)p->max_pages + (size_t)(i / HD_PAGE_ROWS);
    size_t row = (size_t)p->page[entry] * HD_PAGE_ROWS + (size_t)(i % HD_PAGE_ROWS);
    return (const uint8_t *)p->pool + row * row_bytes;
}

void hd_hostref_kv_row(const uint8_t *row, float *out)
{
    for (int32_t i = 0; i < HD_NOPE_DIM; i++) {
        hd_e8m0 scale = row[HD_KV_ROW_SCALE_AT + i / HD_KV_GROUP];
        out[i] = hd_f32_from_e4m3(row[i]) * hd_f32_from_e8m0(scale);
    }
    hd_bf16 rope[HD_ROPE_DIM];
    memcpy(rope, row + HD_KV_ROW_ROPE_AT, sizeof rope);
    hd_hostref_bf16_row(rope, HD_ROPE_DIM, out + HD_NOPE_DIM);
}

void hd_hostref_index_row(const uint8_t *row, float *out)
{
    fp4_row(row, row + HD_INDEX_ROW_SCALE_AT, 0, HD_INDEX_DIM, out);
}
