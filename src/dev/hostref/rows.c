/* Ops that move rows or combine them element by element: embed, gather, scatter, add, stream_mean,
 * argmax, find_nonfinite.
 *
 * The plainest ops; what there is to define is little: additions are FP32 and rounded once, the
 * mean of the four streams is their sum in order, divided by 4; of equal logits the lower index
 * wins, and −0 equals +0. */
#include <string.h>

#include "dev/hostref/rowfmt.h"

static hd_status embed(const hd_embed_params *p)
{
    const hd_ref_weight *table = (const hd_ref_weight *)p->table;
    if (p->n_rows < 0 || p->n_copies < 0) return HD_E_ARG;
    if (p->n_rows == 0) return HD_OK;
    if (table->base.format != HD_WEIGHT_BF16) return HD_E_UNSUPPORTED;
    size_t row_bytes = (size_t)table->base.cols * sizeof(hd_bf16);
    uint8_t *y = (uint8_t *)p->y;
    for (int32_t t = 0; t < p->n_rows; t++) {
        const uint8_t *row = table->data[0] + (size_t)p->id[t] * row_bytes;
        for (int32_t m = 0; m < p->n_copies; m++, y += row_bytes) memcpy(y, row, row_bytes);
    }
    return HD_OK;
}
HD_HOSTREF_OP(embed)

static hd_status gather_rows(const hd_gather_rows_params *p)
{
    if (p->n_rows < 0) return HD_E_ARG;
    for (int32_t i = 0; i < p->n_rows; i++) {
        uint8_t *dst = (uint8_t *)p->dst + (size_t)i * p->row_bytes;
        if (p->row[i] < 0) {
            memset(dst, 0, p->row_bytes);
        } else {
            memcpy(dst, (const uint8_t *)p->src + (size_t)p->row[i] * p->row_bytes, p->row_bytes);
        }
    }
    return HD_OK;
}
HD_HOSTREF_OP(gather_rows)

static hd_status scatter_rows(const hd_scatter_rows_params *p)
{
    if (p->n_rows < 0) return HD_E_ARG;
    for (int32_t i = 0; i < p->n_rows; i++) {
        if (p->row[i] < 0) continue;
        memcpy((uint8_t *)p->dst + (size_t)p->row[i] * p->row_bytes,
               (const uint8_t *)p->src + (size_t)i * p->row_bytes, p->row_bytes);
    }
    return HD_OK;
}
HD_HOSTREF_OP(scatter_rows)

static hd_status add(const hd_add_params *p)
{
    if (p->n_rows < 0 || p->n_repeat < 0 || p->dim < 0) return HD_E_ARG;
    size_t dim = (size_t)p->dim, repeat = (size_t)p->n_repeat;
    for (size_t i = 0; i < (size_t)p->n_rows * repeat * dim; i++) {
        size_t j = i / (repeat * dim) * dim + i % dim; /* the element of `a` */
        if (p->kind == HD_Y_F32) {
            ((float *)p->y)[i] = ((const float *)p->a)[j] + ((const float *)p->b)[i];
        } else {
            float a = hd_f32_from_bf16(((const hd_bf16 *)p->a)[j]);
            float b = hd_f32_from_bf16(((const hd_bf16 *)p->b)[i]);
            ((hd_bf16 *)p->y)[i] = hd_bf16_from_f32(a + b);
        }
    }
    return HD_OK;
}
HD_HOSTREF_OP(add)

static hd_status stream_mean(const hd_stream_mean_params *p)
{
    if (p->n_rows < 0 || p->dim < 0 || p->y_stride < p->dim) return HD_E_ARG;
    size_t dim = (size_t)p->dim;
    for (size_t t = 0; t < (size_t)p->n_rows; t++) {
        const hd_bf16 *x = p->x + t * HD_STREAMS * dim;
        for (size_t c = 0; c < dim; c++) {
            float sum = hd_f32_from_bf16(x[c]);
            for (size_t j = 1; j < HD_STREAMS; j++) sum += hd_f32_from_bf16(x[j * dim + c]);
            p->y[t * (size_t)p->y_stride + c] = hd_bf16_from_f32(sum / (float)HD_STREAMS);
        }
    }
    return HD_OK;
}
HD_HOSTREF_OP(stream_mean)

static hd_status argmax(const hd_argmax_params *p)
{
    if (p->n_rows < 0 || p->dim <= 0) return HD_E_ARG;
    for (int32_t t = 0; t < p->n_rows; t++) {
        const float *x = p->x + (size_t)t * (size_t)p->dim;
        int32_t best = 0;
        for (int32_t i = 1; i < p->dim; i++)
            if (x[i] > x[best]) best = i;
        p->id[t] = best;
    }
    return HD_OK;
}
HD_HOSTREF_OP(argmax)

static hd_status find_nonfinite(const hd_find_nonfinite_params *p)
{
    if (p->n < 0) return HD_E_ARG;
    for (int64_t i = 0; i < p->n; i++) {
        float x = p->kind == HD_Y_F32 ? ((const float *)p->x)[i]
                                      : hd_f32_from_bf16(((const hd_bf16 *)p->x)[i]);
        bool is_finite = (hd_f32_bits(x) & 0x7f800000u) != 0x7f800000u;
        if (!is_finite && p->tag < *p->flag) *p->flag = p->tag;
    }
    return HD_OK;
}
HD_HOSTREF_OP(find_nonfinite)
