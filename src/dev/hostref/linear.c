/* Matrix products: linear, grouped_linear.
 *
 * Every element is one canonical dot product over all of K, whatever the formats: block scales are
 * powers of two and are multiplied into weights and activations beforehand, which is exact. So an
 * element does not depend on how many rows the step has, and the tiles below only save decoding. */
#include <string.h>

#include "base/canon.h"
#include "dev/hostref/matmul.h"

/* Segment by segment: the lanes of a segment are added before the next one begins, so a segment of
 * the weights needs to be decoded only once for all rows of x. */
void hd_hostref_tile_run(hd_ref_tile *t)
{
    float w[HD_TILE_W][HD_SEGMENT], x[HD_SEGMENT];
    int32_t cols = t->in.cols;
    memset(t->y, 0, sizeof t->y);
    for (int32_t k0 = 0; k0 < cols; k0 += HD_SEGMENT) {
        int32_t n = cols - k0 < HD_SEGMENT ? cols - k0 : HD_SEGMENT;
        for (int32_t r = 0; r < t->n_w; r++)
            hd_hostref_weight_row(t->w, t->part, t->w_row0 + r, k0, n, w[r]);
        for (int32_t i = 0; i < t->n_x; i++) {
            hd_hostref_input_row(&t->in, t->x_row[i], k0, n, x);
            for (int32_t r = 0; r < t->n_w; r++)
                t->y[i][r] += hd_canon_dot_segment(x, w[r], (size_t)n);
        }
    }
}

static int32_t at_most(int32_t n, int32_t most)
{
    return n < most ? n : most;
}

static void store(hd_y_kind kind, void *y, size_t at, const float *values, int32_t n)
{
    for (int32_t r = 0; r < n; r++) {
        if (kind == HD_Y_F32) {
            ((float *)y)[at + (size_t)r] = values[r];
        } else {
            ((hd_bf16 *)y)[at + (size_t)r] = hd_bf16_from_f32(values[r]);
        }
    }
}

static hd_status linear(const hd_linear_params *p)
{
    if (p->n_rows < 0 || p->n_groups < 1 || !p->w || p->w->rows % p->n_groups) return HD_E_ARG;
    if (p->x_kind == HD_X_ACT && p->n_groups != 1) return HD_E_ARG;
    /* x [T, G, K] is a matrix of T·G rows; row r of W belongs to group r / R. */
    int32_t n_groups = p->n_groups, group_rows = p->w->rows / n_groups;
    hd_ref_tile t = {.in = {p->x_kind, p->x, p->n_rows * n_groups, p->w->cols},
                     .w = (const hd_ref_weight *)p->w};
    for (int32_t r0 = 0; r0 < p->w->rows; r0 += t.n_w) {
        int32_t group = r0 / group_rows;
        t.w_row0 = r0;
        t.n_w = at_most((group + 1) * group_rows - r0, HD_TILE_W);
        for (int32_t i0 = 0; i0 < p->n_rows; i0 += t.n_x) {
            t.n_x = at_most(p->n_rows - i0, HD_TILE_X);
            for (int32_t i = 0; i < t.n_x; i++) t.x_row[i] = (i0 + i) * n_groups + group;
            hd_hostref_tile_run(&t);
            for (int32_t i = 0; i < t.n_x; i++) {
                size_t at = (size_t)(i0 + i) * (size_t)p->w->rows + (size_t)r0;
                store(p->y_kind, p->y, at, t.y[i], t.n_w);
            }
        }
    }
    return HD_OK;
}
HD_HOSTREF_OP(linear)

/* Places first … end − 1 belong to this part (expert). */
static void part_linear(const hd_grouped_linear_params *p, hd_ref_tile *t, int32_t first,
                        int32_t end)
{
    for (int32_t r0 = 0; r0 < p->w->rows; r0 += t->n_w) {
        t->w_row0 = r0;
        t->n_w = at_most(p->w->rows - r0, HD_TILE_W);
        for (int32_t i0 = first; i0 < end; i0 += t->n_x) {
            t->n_x = at_most(end - i0, HD_TILE_X);
            for (int32_t i = 0; i < t->n_x; i++)
                t->x_row[i] = p->order ? p->order[i0 + i] / p->divisor : i0 + i;
            hd_hostref_tile_run(t);
            for (int32_t i = 0; i < t->n_x; i++) {
                size_t at = (size_t)(i0 + i) * (size_t)p->w->rows + (size_t)r0;
                store(HD_Y_BF16, p->y, at, t->y[i], t->n_w);
            }
        }
    }
}

static hd_status grouped_linear(const hd_grouped_linear_params *p)
{
    if (p->n_rows < 0 || !p->w || (p->order && p->divisor < 1)) return HD_E_ARG;
    if (p->n_rows == 0) return HD_OK;
    hd_ref_tile t = {.in = {p->x_kind, p->x, p->n_x_rows, p->w->cols},
                     .w = (const hd_ref_weight *)p->w};
    for (t.part = 0; t.part < p->w->n_parts; t.part++)
        part_linear(p, &t, p->offset[t.part], p->offset[t.part + 1]);
    return HD_OK;
}
HD_HOSTREF_OP(grouped_linear)
