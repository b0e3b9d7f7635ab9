/* Residual streams (hyper-connections): hc_mix, hc_collapse, hc_merge.
 *
 * A token has M = 4 streams. hc_mix computes how a sub-layer reads them (pre), writes its result to
 * them (post) and mixes them (comb, made doubly stochastic by Sinkhorn's iteration); hc_collapse
 * and hc_merge apply that. FP32 throughout: each product is rounded, then added in ascending order
 * of the stream; only x is BF16. */
#include "dev/hostref/matmul.h"

#define M HD_STREAMS
enum { MIX_ROWS = 2 * M + M * M }; /* pre, post, comb */

/* ---- coefficients ---------------------------------------------------------------------------- */

/* c[j][k] /= Σ_k c[j][k] + eps, sums ascending. */
static void divide_rows(float *c, float eps)
{
    for (int j = 0; j < M; j++) {
        float sum = c[j * M];
        for (int k = 1; k < M; k++) sum += c[j * M + k];
        for (int k = 0; k < M; k++) c[j * M + k] /= sum + eps;
    }
}

static void divide_columns(float *c, float eps)
{
    for (int k = 0; k < M; k++) {
        float sum = c[k];
        for (int j = 1; j < M; j++) sum += c[j * M + k];
        for (int j = 0; j < M; j++) c[j * M + k] /= sum + eps;
    }
}

/* Sinkhorn's iteration, which ends with columns; the first row step is a softmax, to which eps is
 * added afterwards. */
static void sinkhorn(float *c, int32_t n_iters, float eps)
{
    for (int j = 0; j < M; j++) {
        float max = c[j * M];
        for (int k = 1; k < M; k++)
            if (c[j * M + k] > max) max = c[j * M + k];
        for (int k = 0; k < M; k++) c[j * M + k] = hd_expf(c[j * M + k] - max);
    }
    divide_rows(c, 0.0f);
    for (int i = 0; i < M * M; i++) c[i] += eps;
    divide_columns(c, eps);
    for (int32_t step = 1; step < n_iters; step++) {
        divide_rows(c, eps);
        divide_columns(c, eps);
    }
}

static void coefficients(const hd_hc_mix_params *p, size_t t)
{
    const float *base = p->base;
    const float *m = p->mix + t * (p->head ? M : MIX_ROWS);
    for (int j = 0; j < M; j++)
        p->pre[t * M + (size_t)j] = hd_sigmoidf(m[j] * p->scale[0] + base[j]) + p->hc_eps;
    if (p->head) return;
    for (int j = 0; j < M; j++) {
        float x = m[M + j] * p->scale[1] + base[M + j];
        p->post[t * M + (size_t)j] = 2.0f * hd_sigmoidf(x);
    }
    float *comb = p->comb + t * M * M;
    for (int i = 0; i < M * M; i++) comb[i] = m[2 * M + i] * p->scale[2] + base[2 * M + i];
    sinkhorn(comb, p->n_iters, p->hc_eps);
}

/* mix[t, k] = (fn[k, :] · x[t, :]) · ρ[t] over all four streams as one vector. */
static void mix_rows(const hd_hc_mix_params *p, int32_t n_out)
{
    int32_t cols = M * p->dim;
    hd_ref_tile tile = {
        .in = {HD_X_BF16, p->x, p->n_rows, cols}, .w = (const hd_ref_weight *)p->fn, .n_x = 1};
    for (int32_t t = 0; t < p->n_rows; t++) {
        float mean = hd_hostref_sum_sq(p->x + (size_t)t * (size_t)cols, cols) / (float)cols;
        float rho = hd_rsqrtf(mean + p->rms_eps);
        tile.x_row[0] = t;
        for (int32_t r0 = 0; r0 < n_out; r0 += tile.n_w) {
            tile.w_row0 = r0;
            tile.n_w = n_out - r0 < HD_TILE_W ? n_out - r0 : HD_TILE_W;
            hd_hostref_tile_run(&tile);
            for (int32_t r = 0; r < tile.n_w; r++)
                p->mix[(size_t)t * (size_t)n_out + (size_t)(r0 + r)] = tile.y[0][r] * rho;
        }
    }
}

static hd_status hc_mix(const hd_hc_mix_params *p)
{
    int32_t n_out = p->head ? M : MIX_ROWS;
    if (p->n_rows < 0 || p->dim <= 0 || !p->fn) return HD_E_ARG;
    if (p->fn->rows != n_out || p->fn->cols != M * p->dim) return HD_E_ARG;
    mix_rows(p, n_out);
    for (int32_t t = 0; t < p->n_rows; t++) coefficients(p, (size_t)t);
    return HD_OK;
}
HD_HOSTREF_OP(hc_mix)

/* ---- collapse and merge ---------------------------------------------------------------------- */

static hd_status hc_collapse(const hd_hc_collapse_params *p)
{
    if (p->n_rows < 0 || p->dim < 0) return HD_E_ARG;
    size_t dim = (size_t)p->dim;
    for (size_t t = 0; t < (size_t)p->n_rows; t++) {
        const float *pre = p->pre + t * M;
        const hd_bf16 *x = p->x + t * M * dim;
        for (size_t c = 0; c < dim; c++) {
            float sum = pre[0] * hd_f32_from_bf16(x[c]);
            for (size_t j = 1; j < M; j++) sum += pre[j] * hd_f32_from_bf16(x[j * dim + c]);
            p->y[t * dim + c] = hd_bf16_from_f32(sum);
        }
    }
    return HD_OK;
}
HD_HOSTREF_OP(hc_collapse)

/* One channel of all four streams: y may be x, so x is read whole before y is written. */
static void merge_channel(const hd_hc_merge_params *p, size_t t, size_t c)
{
    size_t dim = (size_t)p->dim, at = t * M * dim + c;
    const float *post = p->post + t * M, *comb = p->comb + t * M * M;
    float z = hd_f32_from_bf16(p->z[t * dim + c]), x[M];
    for (size_t j = 0; j < M; j++) x[j] = hd_f32_from_bf16(p->x[at + j * dim]);
    for (size_t k = 0; k < M; k++) {
        float sum = comb[k] * x[0];
        for (size_t j = 1; j < M; j++) sum += comb[j * M + k] * x[j];
        p->y[at + k * dim] = hd_bf16_from_f32(post[k] * z + sum);
    }
}

static hd_status hc_merge(const hd_hc_merge_params *p)
{
    if (p->n_rows < 0 || p->dim < 0) return HD_E_ARG;
    for (size_t t = 0; t < (size_t)p->n_rows; t++)
        for (size_t c = 0; c < (size_t)p->dim; c++) merge_channel(p, t, c);
    return HD_OK;
}
HD_HOSTREF_OP(hc_merge)
