/* Norms and rotary position: rms_norm, q_norm, rope.
 *
 * All sums of squares are canonical sums; a mean is the sum divided by n; rsqrt is 1 / sqrt in
 * FP64, rounded once to FP32. The norm of the query heads is the reference's own oddity: no
 * weight, and every intermediate in BF16. Tables of cosines and sines come from the caller, so
 * that all backends turn by the same angles. */
#include "base/canon.h"
#include "dev/hostref/rowfmt.h"

/* y = bf16(w · (x · rsqrt(mean(x²) + eps))): every product rounded to FP32. */
static hd_status rms_norm(const hd_rms_norm_params *p)
{
    if (p->n_rows < 0 || p->dim <= 0) return HD_E_ARG;
    for (int32_t t = 0; t < p->n_rows; t++) {
        const hd_bf16 *x = p->x + (size_t)t * (size_t)p->dim;
        hd_bf16 *y = p->y + (size_t)t * (size_t)p->dim;
        float mean = hd_hostref_sum_sq(x, p->dim) / (float)p->dim;
        float g = hd_rsqrtf(mean + p->eps);
        for (int32_t i = 0; i < p->dim; i++) {
            y[i] = hd_bf16_from_f32(hd_f32_from_bf16(p->w[i]) * (hd_f32_from_bf16(x[i]) * g));
        }
    }
    return HD_OK;
}
HD_HOSTREF_OP(rms_norm)

/* One head: u = bf16(q²), μ = bf16(mean u), g = bf16(rsqrt(bf16(μ + eps))), q ← bf16(q · g).
 * g goes through FP32 on its way to BF16; no BF16 argument makes that a double rounding
 * (checked for all of them in tests/unit/test_num.c). */
static void q_norm_head(hd_bf16 *q, float eps)
{
    float u[HD_HEAD_DIM];
    for (int i = 0; i < HD_HEAD_DIM; i++) {
        float x = hd_f32_from_bf16(q[i]);
        u[i] = hd_round_bf16(x * x);
    }
    float mean = hd_round_bf16(hd_canon_sum(u, HD_HEAD_DIM) / (float)HD_HEAD_DIM);
    float g = hd_round_bf16(hd_rsqrtf(hd_round_bf16(mean + eps)));
    for (int i = 0; i < HD_HEAD_DIM; i++) q[i] = hd_bf16_from_f32(hd_f32_from_bf16(q[i]) * g);
}

static hd_status q_norm(const hd_q_norm_params *p)
{
    if (p->n_rows < 0 || p->n_heads < 0) return HD_E_ARG;
    size_t n = (size_t)p->n_rows * (size_t)p->n_heads;
    for (size_t i = 0; i < n; i++) q_norm_head(p->q + i * HD_HEAD_DIM, p->eps);
    return HD_OK;
}
HD_HOSTREF_OP(q_norm)

/* (a, b) → (a·c − b·s, a·s + b·c) on adjacent pairs: four rounded products, no fused step. The
 * inverse turns by −φ, that is, by −s. */
static void rotate(hd_bf16 *x, const float *cos_sin, bool inverse)
{
    for (int i = 0; i < HD_ROPE_DIM / 2; i++) {
        float a = hd_f32_from_bf16(x[2 * i]), b = hd_f32_from_bf16(x[2 * i + 1]);
        float c = cos_sin[i], s = cos_sin[HD_ROPE_DIM / 2 + i];
        if (inverse) s = -s;
        x[2 * i] = hd_bf16_from_f32(a * c - b * s);
        x[2 * i + 1] = hd_bf16_from_f32(a * s + b * c);
    }
}

static hd_status rope(const hd_rope_params *p)
{
    if (p->n_rows < 0 || p->n_heads < 0 || p->dim < HD_ROPE_DIM) return HD_E_ARG;
    size_t dim = (size_t)p->dim, heads = (size_t)p->n_heads;
    for (size_t i = 0; i < (size_t)p->n_rows * heads; i++) {
        hd_bf16 *last = p->x + (i + 1) * dim - HD_ROPE_DIM;
        rotate(last, p->cos_sin + i / heads * HD_ROPE_DIM, p->inverse);
    }
    return HD_OK;
}
HD_HOSTREF_OP(rope)
