/* Ops that move rows or combine them element by element. */
#include "backend/cpu/kern/rows.h"

void KERN(embed)(const hd_cpu_lane *lane, const hd_embed_params *p)
{
    const hd_cpu_weight *table = (const hd_cpu_weight *)p->table;
    size_t bytes = table->row_bytes;
    hd_par_range r = my_rows(lane, p->n_rows);
    for (int64_t t = r.begin; t < r.end; t++) {
        uint8_t *y = (uint8_t *)p->y + (size_t)t * (size_t)p->n_copies * bytes;
        for (int32_t m = 0; m < p->n_copies; m++)
            memcpy(y + (size_t)m * bytes, table->data[0] + (size_t)p->id[t] * bytes, bytes);
    }
}

void KERN(gather_rows)(const hd_cpu_lane *lane, const hd_gather_rows_params *p)
{
    hd_par_range r = my_rows(lane, p->n_rows);
    for (int64_t i = r.begin; i < r.end; i++) {
        uint8_t *dst = (uint8_t *)p->dst + (size_t)i * p->row_bytes;
        if (p->row[i] < 0)
            memset(dst, 0, p->row_bytes);
        else
            memcpy(dst, (const uint8_t *)p->src + (size_t)p->row[i] * p->row_bytes, p->row_bytes);
    }
}

void KERN(scatter_rows)(const hd_cpu_lane *lane, const hd_scatter_rows_params *p)
{
    hd_par_range r = my_rows(lane, p->n_rows);
    for (int64_t i = r.begin; i < r.end; i++) {
        if (p->row[i] < 0) continue;
        memcpy((uint8_t *)p->dst + (size_t)p->row[i] * p->row_bytes,
               (const uint8_t *)p->src + (size_t)i * p->row_bytes, p->row_bytes);
    }
}

void KERN(add)(const hd_cpu_lane *lane, const hd_add_params *p)
{
    int64_t dim = p->dim;
    hd_par_range r = my_rows(lane, n_pieces((int64_t)p->n_rows * p->n_repeat, dim));
    for (int64_t i = r.begin; i < r.end; i++) {
        piece at = piece_at(i, dim);
        int64_t a0 = at.row / p->n_repeat * dim, b0 = at.row * dim;
        for (int64_t c = at.begin; c < at.end; c += 16) {
            int64_t n = at.end - c;
            if (p->kind == HD_Y_F32) {
                vf a = ld_f32((const float *)p->a + a0 + c, n);
                vf b = ld_f32((const float *)p->b + b0 + c, n);
                st_f32((float *)p->y + b0 + c, vf_add(a, b), n);
            } else {
                vf a = ld_bf16((const hd_bf16 *)p->a + a0 + c, n);
                vf b = ld_bf16((const hd_bf16 *)p->b + b0 + c, n);
                st_bf16((hd_bf16 *)p->y + b0 + c, vf_add(a, b), n);
            }
        }
    }
}

void KERN(stream_mean)(const hd_cpu_lane *lane, const hd_stream_mean_params *p)
{
    int64_t dim = p->dim;
    hd_par_range r = my_rows(lane, n_pieces(p->n_rows, dim));
    for (int64_t i = r.begin; i < r.end; i++) {
        piece at = piece_at(i, dim);
        const hd_bf16 *x = p->x + at.row * HD_STREAMS * dim;
        hd_bf16 *y = p->y + at.row * p->y_stride;
        for (int64_t c = at.begin; c < at.end; c += 16) {
            int64_t n = at.end - c;
            vf sum = ld_bf16(x + c, n);
            for (int j = 1; j < HD_STREAMS; j++) sum = vf_add(sum, ld_bf16(x + j * dim + c, n));
            st_bf16(y + c, vf_div(sum, vf_set1((float)HD_STREAMS)), n);
        }
    }
}

/* The first element that equals the greatest; NaN is never greater, but stays where it is first. */
static int32_t argmax_row(const float *x, int32_t n)
{
    if (x[0] != x[0]) return 0;
    vf most = vf_set1(x[0]);
    int32_t i = 0;
    for (; i + 16 <= n; i += 16) most = vf_max(vf_load(x + i), most);
    float m = vf_hmax(most);
    for (; i < n; i++) m = x[i] > m ? x[i] : m;
    for (i = 0; x[i] != m; i++) {}
    return i;
}

void KERN(argmax)(const hd_cpu_lane *lane, const hd_argmax_params *p)
{
    hd_par_range r = my_rows(lane, p->n_rows);
    for (int64_t t = r.begin; t < r.end; t++) p->id[t] = argmax_row(p->x + t * p->dim, p->dim);
}

/* Magnitude bits from 0x7f800000 on are infinities and NaN. */
static bool has_nonfinite(const hd_find_nonfinite_params *p, int64_t begin, int64_t end)
{
    vi most = vi_set1(0);
    for (int64_t i = begin; i < end; i += 16) {
        vf x = p->kind == HD_Y_F32 ? ld_f32((const float *)p->x + i, end - i)
                                   : ld_bf16((const hd_bf16 *)p->x + i, end - i);
        most = vi_max(most, vi_of(vf_abs(x)));
    }
    return vi_hmax(most) >= 0x7f800000;
}

void KERN(find_nonfinite)(const hd_cpu_lane *lane, const hd_find_nonfinite_params *p)
{
    hd_par_range r = hd_par_split(p->n, 1024, lane->i, lane->n);
    if (!has_nonfinite(p, r.begin, r.end)) return;
    int32_t old = __atomic_load_n(p->flag, __ATOMIC_RELAXED);
    while (p->tag < old && !__atomic_compare_exchange_n(p->flag, &old, p->tag, true,
                                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {}
}
