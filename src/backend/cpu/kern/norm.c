/* Norms and rotary position, alone and fused with what follows them. One row is one thread's. */
#include "backend/cpu/kern/rows.h"

void KERN(rms_norm)(const hd_cpu_lane *lane, const hd_rms_norm_params *p)
{
    hd_par_range r = my_rows(lane, p->n_rows);
    for (int64_t t = r.begin; t < r.end; t++)
        rms_norm_row(p->y + t * p->dim, p->x + t * p->dim, p->w, p->dim, p->eps);
}

void KERN(rms_norm_quant)(const hd_cpu_lane *lane, const hd_rms_norm_quant_params *p)
{
    const hd_rms_norm_params *m = &p->norm;
    hd_par_range r = my_rows(lane, m->n_rows);
    for (int64_t t = r.begin; t < r.end; t++) {
        int64_t at = t * m->dim;
        rms_norm_row(m->y + at, m->x + at, m->w, m->dim, m->eps);
        KERN(quantize_row)((hd_bf16 *)p->act + at, m->y + at, m->dim);
    }
}

/* One head: u = bf16(q²), μ = bf16(mean u), g = bf16(rsqrt(bf16(μ + eps))), q ← bf16(q · g). */
static void q_norm_head(hd_bf16 *q, float eps)
{
    vf acc = vf_zero();
    for (int k = 0; k < HD_HEAD_DIM; k += 16) {
        vf v = vf_load_bf16(q + k);
        acc = vf_add(acc, vf_round_bf16(vf_mul(v, v)));
    }
    float mean = hd_round_bf16(vf_hsum(acc) / (float)HD_HEAD_DIM);
    vf g = vf_set1(hd_round_bf16(hd_rsqrtf(hd_round_bf16(mean + eps))));
    for (int k = 0; k < HD_HEAD_DIM; k += 16) vf_store_bf16(q + k, vf_mul(vf_load_bf16(q + k), g));
}

void KERN(q_norm)(const hd_cpu_lane *lane, const hd_q_norm_params *p)
{
    hd_par_range r = my_rows(lane, (int64_t)p->n_rows * p->n_heads);
    for (int64_t i = r.begin; i < r.end; i++) q_norm_head(p->q + i * HD_HEAD_DIM, p->eps);
}

void KERN(rope)(const hd_cpu_lane *lane, const hd_rope_params *p)
{
    hd_par_range r = my_rows(lane, (int64_t)p->n_rows * p->n_heads);
    rope_row table;
    for (int64_t i = r.begin; i < r.end; i++) {
        if (i == r.begin || i % p->n_heads == 0)
            rope_load(&table, p->cos_sin + i / p->n_heads * HD_ROPE_DIM, p->inverse);
        rope_apply(p->x + (i + 1) * p->dim - HD_ROPE_DIM, &table);
    }
}

void KERN(q_norm_rope)(const hd_cpu_lane *lane, const hd_q_norm_rope_params *p)
{
    hd_par_range r = my_rows(lane, (int64_t)p->n_rows * p->n_heads);
    rope_row table;
    for (int64_t i = r.begin; i < r.end; i++) {
        if (i == r.begin || i % p->n_heads == 0)
            rope_load(&table, p->cos_sin + i / p->n_heads * HD_ROPE_DIM, false);
        hd_bf16 *q = p->q + i * HD_HEAD_DIM;
        q_norm_head(q, p->eps);
        rope_apply(q + HD_NOPE_DIM, &table);
    }
}

void KERN(kv_norm_rope_pack)(const hd_cpu_lane *lane, const hd_kv_norm_rope_pack_params *p)
{
    hd_par_range r = my_rows(lane, p->n_rows);
    rope_row table;
    for (int64_t t = r.begin; t < r.end; t++) {
        hd_bf16 *x = p->x + t * HD_HEAD_DIM;
        rms_norm_row(x, x, p->w, HD_HEAD_DIM, p->eps);
        rope_load(&table, p->cos_sin + t * HD_ROPE_DIM, false);
        rope_apply(x + HD_NOPE_DIM, &table);
        KERN(kv_row_pack)(p->rows + t * HD_KV_ROW_BYTES, x);
    }
}
