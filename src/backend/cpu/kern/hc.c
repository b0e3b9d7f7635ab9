/* Residual streams (hyper-connections): coefficients, collapse, merge. */
#include "backend/cpu/kern/rows.h"

#define M HD_STREAMS
enum { MIX_ROWS = 2 * M + M * M }; /* pre, post, comb */

/* ---- coefficients: 16 of them per row, scalar ----------------------------------------------- */

/* Every element divided by its row's sum + eps, then by its column's (n_steps times); sums ascend.
 */
static void divide_rows(float c[M][M], float eps)
{
    for (int j = 0; j < M; j++) {
        float sum = c[j][0];
        for (int k = 1; k < M; k++) sum += c[j][k];
        sum += eps;
        for (int k = 0; k < M; k++) c[j][k] /= sum;
    }
}

static void divide_columns(float c[M][M], float eps)
{
    float sum[M];
    for (int k = 0; k < M; k++) sum[k] = c[0][k];
    for (int j = 1; j < M; j++)
        for (int k = 0; k < M; k++) sum[k] += c[j][k];
    for (int j = 0; j < M; j++)
        for (int k = 0; k < M; k++) c[j][k] /= sum[k] + eps;
}

static void sinkhorn(float c[M][M], int32_t n_iters, float eps)
{
    for (int j = 0; j < M; j++) {
        float most = c[j][0];
        for (int k = 1; k < M; k++) most = c[j][k] > most ? c[j][k] : most;
        for (int k = 0; k < M; k++) c[j][k] = hd_expf(c[j][k] - most);
    }
    divide_rows(c, 0.0f);
    for (int j = 0; j < M; j++)
        for (int k = 0; k < M; k++) c[j][k] += eps;
    divide_columns(c, eps);
    for (int32_t step = 1; step < n_iters; step++) {
        divide_rows(c, eps);
        divide_columns(c, eps);
    }
}

static void coefficients(const hd_hc_mix_params *p, int64_t t)
{
    const float *base = p->base, *m = p->mix + t * (p->head ? M : MIX_ROWS);
    for (int j = 0; j < M; j++)
        p->pre[t * M + j] = hd_sigmoidf(m[j] * p->scale[0] + base[j]) + p->hc_eps;
    if (p->head) return;
    for (int j = 0; j < M; j++)
        p->post[t * M + j] = 2.0f * hd_sigmoidf(m[M + j] * p->scale[1] + base[M + j]);
    float comb[M][M];
    for (int i = 0; i < M * M; i++)
        comb[i / M][i % M] = m[2 * M + i] * p->scale[2] + base[2 * M + i];
    sinkhorn(comb, p->n_iters, p->hc_eps);
    memcpy(p->comb + t * M * M, comb, sizeof comb);
}

static void mix_job(const void *arg, int32_t i, mat_job *job)
{
    const hd_hc_mix_params *p = arg;
    (void)i;
    *job = (mat_job){.w = (const hd_cpu_weight *)p->fn,
                     .n_rows = p->fn->rows,
                     .x = p->x,
                     .x_stride = p->fn->cols,
                     .n_tok = p->n_rows,
                     .y = p->mix,
                     .y_stride = p->fn->rows,
                     .y_kind = HD_Y_F32};
}

void KERN(hc_mix)(const hd_cpu_lane *lane, const hd_hc_mix_params *p)
{
    KERN(mat_run)(lane, 1, mix_job, p, 0);
    hd_par_barrier(lane->par);
    int64_t cols = (int64_t)M * p->dim, n_out = p->head ? M : MIX_ROWS;
    hd_par_range r = my_rows(lane, p->n_rows);
    for (int64_t t = r.begin; t < r.end; t++) {
        float mean = sum_sq(p->x + t * cols, cols) / (float)cols;
        float rho = hd_rsqrtf(mean + p->rms_eps);
        for (int64_t i = 0; i < n_out; i++) p->mix[t * n_out + i] *= rho;
        coefficients(p, t);
    }
}

/* ---- collapse and merge --------------------------------------------------------------------- */

void KERN(hc_collapse)(const hd_cpu_lane *lane, const hd_hc_collapse_params *p)
{
    int64_t dim = p->dim;
    hd_par_range r = my_rows(lane, n_pieces(p->n_rows, dim));
    for (int64_t i = r.begin; i < r.end; i++) {
        piece at = piece_at(i, dim);
        const hd_bf16 *x = p->x + at.row * M * dim;
        const float *pre = p->pre + at.row * M;
        for (int64_t c = at.begin; c < at.end; c += 16) {
            int64_t n = at.end - c;
            vf sum = vf_mul(vf_set1(pre[0]), ld_bf16(x + c, n));
            for (int j = 1; j < M; j++)
                sum = vf_add(sum, vf_mul(vf_set1(pre[j]), ld_bf16(x + j * dim + c, n)));
            st_bf16(p->y + at.row * dim + c, sum, n);
        }
    }
}

/* 16 channels of all streams; x is read whole before y, which may be x, is written. */
HD_INLINE void merge16(hd_bf16 *y, const hd_bf16 *x, const hd_bf16 *z, const float *post,
                       const float *comb, int64_t dim, int64_t n)
{
    vf xv[M], zv = ld_bf16(z, n);
    for (int j = 0; j < M; j++) xv[j] = ld_bf16(x + j * dim, n);
    for (int k = 0; k < M; k++) {
        vf sum = vf_mul(vf_set1(comb[k]), xv[0]);
        for (int j = 1; j < M; j++) sum = vf_add(sum, vf_mul(vf_set1(comb[j * M + k]), xv[j]));
        st_bf16(y + k * dim, vf_add(vf_mul(vf_set1(post[k]), zv), sum), n);
    }
}

void KERN(hc_merge)(const hd_cpu_lane *lane, const hd_hc_merge_params *p)
{
    int64_t dim = p->dim;
    hd_par_range r = my_rows(lane, n_pieces(p->n_rows, dim));
    for (int64_t i = r.begin; i < r.end; i++) {
        piece at = piece_at(i, dim);
        int64_t x0 = at.row * M * dim;
        for (int64_t c = at.begin; c < at.end; c += 16)
            merge16(p->y + x0 + c, p->x + x0 + c, p->z + at.row * dim + c, p->post + at.row * M,
                    p->comb + at.row * M * M, dim, at.end - c);
    }
}

/* ---- fused ---------------------------------------------------------------------------------- */

void KERN(hc_pre)(const hd_cpu_lane *lane, const hd_hc_pre_params *p)
{
    const hd_hc_mix_params *m = &p->mix;
    KERN(hc_mix)(lane, m);
    hd_par_barrier(lane->par);
    hd_hc_collapse_params collapse = {
        .n_rows = m->n_rows, .dim = m->dim, .x = m->x, .pre = m->pre, .y = p->y};
    KERN(hc_collapse)(lane, &collapse);
    hd_par_barrier(lane->par);
    hd_par_range r = my_rows(lane, m->n_rows);
    for (int64_t t = r.begin; t < r.end; t++)
        rms_norm_row(p->y + t * m->dim, p->y + t * m->dim, p->norm, m->dim, m->rms_eps);
}
