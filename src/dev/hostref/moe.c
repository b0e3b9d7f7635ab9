/* Experts: route, moe_group, swiglu, combine (the matrices are grouped_linear's).
 *
 * Whatever the router's scores say, the chosen ids are listed in ascending order, and all sums over
 * experts follow that order: it does not depend on the batch, nor on where an expert lives. */
#include <string.h>

#include "dev/hostref/rowfmt.h"

#define MAX_EXPERTS 4096

/* ---- routing --------------------------------------------------------------------------------- */

/* Mark the n_chosen greatest of s + bias, one after the other; the lower id wins a tie. NaN counts
 * as −inf, so that the ids are valid and distinct whatever comes in. */
static void choose_by_score(const hd_route_params *p, const float *s, bool *is_chosen)
{
    for (int32_t k = 0; k < p->n_chosen; k++) {
        int32_t best = -1;
        float best_value = 0.0f;
        for (int32_t e = 0; e < p->n_experts; e++) {
            float value = s[e] + p->bias[e];
            if (value != value) value = -INFINITY;
            if (is_chosen[e] || (best >= 0 && !(value > best_value))) continue;
            best = e;
            best_value = value;
        }
        is_chosen[best] = true;
    }
}

/* The ids of the token's row of the table, sorted by insertion. */
static void choose_by_hash(const hd_route_params *p, int32_t t, int32_t *expert)
{
    const int64_t *row = p->tid2eid + (size_t)p->id[t] * (size_t)p->n_chosen;
    for (int32_t k = 0; k < p->n_chosen; k++) {
        int32_t id = (int32_t)row[k], at = k;
        for (; at > 0 && expert[at - 1] > id; at--) expert[at] = expert[at - 1];
        expert[at] = id;
    }
}

static void route_row(const hd_route_params *p, int32_t t)
{
    float s[MAX_EXPERTS];
    bool is_chosen[MAX_EXPERTS] = {false};
    int32_t *expert = p->expert + (size_t)t * (size_t)p->n_chosen;
    float *weight = p->weight + (size_t)t * (size_t)p->n_chosen;
    const float *z = p->z + (size_t)t * (size_t)p->n_experts;
    for (int32_t e = 0; e < p->n_experts; e++) s[e] = sqrtf(hd_softplusf(z[e]));
    if (p->tid2eid) {
        choose_by_hash(p, t, expert);
    } else {
        choose_by_score(p, s, is_chosen);
        for (int32_t e = 0, k = 0; e < p->n_experts; e++)
            if (is_chosen[e]) expert[k++] = e;
    }
    float sum = 0.0f; /* ascending expert id; the bias has no part in the weights */
    for (int32_t k = 0; k < p->n_chosen; k++) sum += s[expert[k]];
    for (int32_t k = 0; k < p->n_chosen; k++) weight[k] = s[expert[k]] / sum * p->scale;
}

static hd_status route(const hd_route_params *p)
{
    if (p->n_rows < 0 || p->n_chosen < 1 || p->n_chosen > p->n_experts) return HD_E_ARG;
    if (!p->tid2eid == !p->bias) return HD_E_ARG;
    if (p->n_experts > MAX_EXPERTS) return HD_E_UNSUPPORTED;
    for (int32_t t = 0; t < p->n_rows; t++) route_row(p, t);
    return HD_OK;
}
HD_HOSTREF_OP(route)

/* ---- grouping -------------------------------------------------------------------------------- */

/* A counting sort. While placing, offset[e] is the next free place of expert e; at the end it is
 * where the next expert began, so one shift restores the beginnings. */
static hd_status moe_group(const hd_moe_group_params *p)
{
    if (p->n_rows < 0 || p->n_experts < 1 || p->n_chosen < 1) return HD_E_ARG;
    if (p->n_rows == 0) return HD_OK;
    int32_t n = p->n_rows * p->n_chosen;
    memset(p->offset, 0, ((size_t)p->n_experts + 1) * sizeof p->offset[0]);
    for (int32_t i = 0; i < n; i++) p->offset[p->expert[i] + 1]++;
    for (int32_t e = 0; e < p->n_experts; e++) p->offset[e + 1] += p->offset[e];
    for (int32_t i = 0; i < n; i++) {
        int32_t place = p->offset[p->expert[i]]++;
        p->place[i] = place;
        p->order[place] = i;
    }
    memmove(p->offset + 1, p->offset, (size_t)p->n_experts * sizeof p->offset[0]);
    p->offset[0] = 0;
    return HD_OK;
}
HD_HOSTREF_OP(moe_group)

/* ---- between and behind the matrices --------------------------------------------------------- */

static hd_status swiglu(const hd_swiglu_params *p)
{
    if (p->n_rows < 0 || p->dim < 0) return HD_E_ARG;
    for (int32_t i = 0; i < p->n_rows; i++) {
        for (int32_t c = 0; c < p->dim; c++) {
            size_t at = (size_t)i * (size_t)p->dim + (size_t)c;
            float g = hd_f32_from_bf16(p->gate[at]), u = hd_f32_from_bf16(p->up[at]);
            if (g > p->limit) g = p->limit;
            if (u > p->limit) u = p->limit;
            if (u < -p->limit) u = -p->limit;
            float a = hd_siluf(g) * u;
            if (p->weight) a = p->weight[p->order ? p->order[i] : i] * a;
            p->y[at] = hd_bf16_from_f32(a);
        }
    }
    return HD_OK;
}
HD_HOSTREF_OP(swiglu)

static hd_status combine(const hd_combine_params *p)
{
    if (p->n_rows < 0 || p->n_chosen < 0 || p->dim < 0) return HD_E_ARG;
    size_t dim = (size_t)p->dim, n_chosen = (size_t)p->n_chosen;
    for (size_t t = 0; t < (size_t)p->n_rows; t++) {
        for (size_t c = 0; c < dim; c++) {
            float sum = 0.0f;
            for (size_t k = 0; k < n_chosen; k++) { /* k ascends with the expert id */
                size_t place = (size_t)p->place[t * n_chosen + k];
                sum += hd_f32_from_bf16(p->expert_y[place * dim + c]);
            }
            sum += hd_f32_from_bf16(p->shared[t * dim + c]);
            p->y[t * dim + c] = hd_bf16_from_f32(sum);
        }
    }
    return HD_OK;
}
HD_HOSTREF_OP(combine)
