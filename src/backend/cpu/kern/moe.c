/* Experts: routing, grouping by expert, the activation between the matrices, the sum. */
#include "backend/cpu/kern/rows.h"

/* ---- routing -------------------------------------------------------------------------------- */

/* Chosen so far are marked by NaN, which no comparison prefers. */
static int32_t greatest(const float *value, int32_t n)
{
    int32_t best = -1;
    for (int32_t e = 0; e < n; e++) {
        if (value[e] != value[e]) continue;
        if (best < 0 || value[e] > value[best]) best = e;
    }
    return best;
}

static void insert_sorted(int32_t *list, int32_t n, int32_t id)
{
    for (; n > 0 && list[n - 1] > id; n--) list[n] = list[n - 1];
    list[n] = id;
}

/* The n_chosen greatest of s + bias, ids ascending. NaN counts as −inf. */
static void choose_by_score(const hd_route_params *p, const float *s, float *value, int32_t *expert)
{
    for (int32_t e = 0; e < p->n_experts; e++) {
        float v = s[e] + p->bias[e];
        value[e] = v != v ? -INFINITY : v;
    }
    for (int32_t k = 0; k < p->n_chosen; k++) {
        int32_t best = greatest(value, p->n_experts);
        value[best] = NAN;
        insert_sorted(expert, k, best);
    }
}

void KERN(route)(const hd_cpu_lane *lane, const hd_route_params *p)
{
    float *s = (float *)(void *)lane->scratch, *value = s + p->n_experts;
    hd_par_range r = my_rows(lane, p->n_rows);
    for (int64_t t = r.begin; t < r.end; t++) {
        int32_t *expert = p->expert + t * p->n_chosen;
        float *weight = p->weight + t * p->n_chosen, sum = 0.0f;
        for (int32_t e = 0; e < p->n_experts; e++)
            s[e] = sqrtf(hd_softplusf(p->z[t * p->n_experts + e]));
        if (p->tid2eid) {
            const int64_t *row = p->tid2eid + (int64_t)p->id[t] * p->n_chosen;
            for (int32_t k = 0; k < p->n_chosen; k++) insert_sorted(expert, k, (int32_t)row[k]);
        } else {
            choose_by_score(p, s, value, expert);
        }
        for (int32_t k = 0; k < p->n_chosen; k++) sum += s[expert[k]];
        for (int32_t k = 0; k < p->n_chosen; k++) weight[k] = s[expert[k]] / sum * p->scale;
    }
}

/* A counting sort by one thread: a few thousand small numbers at most. While placing, offset[e] is
 * the next free place of expert e, in the end the beginning of expert e + 1. */
void KERN(moe_group)(const hd_cpu_lane *lane, const hd_moe_group_params *p)
{
    if (lane->i != 0) return;
    int32_t n = p->n_rows * p->n_chosen, *offset = p->offset;
    memset(offset, 0, ((size_t)p->n_experts + 1) * sizeof *offset);
    for (int32_t i = 0; i < n; i++) offset[p->expert[i] + 1]++;
    for (int32_t e = 0; e < p->n_experts; e++) offset[e + 1] += offset[e];
    for (int32_t i = 0; i < n; i++) {
        int32_t place = offset[p->expert[i]]++;
        p->place[i] = place;
        p->order[place] = i;
    }
    memmove(offset + 1, offset, (size_t)p->n_experts * sizeof *offset);
    offset[0] = 0;
}

/* ---- between and behind the matrices -------------------------------------------------------- */

HD_INLINE vf clamp_up(vf u, vf limit)
{
    u = vf_sel(vf_lt(limit, u), limit, u);
    return vf_sel(vf_lt(u, vf_neg(limit)), vf_neg(limit), u);
}

/* Columns begin … end − 1 of one row of places. */
static void swiglu_piece(const hd_swiglu_params *p, piece at)
{
    vf limit = vf_set1(p->limit);
    const hd_bf16 *gate = p->gate + at.row * p->dim, *up = p->up + at.row * p->dim;
    hd_bf16 *y = p->y + at.row * p->dim;
    float weight = p->weight ? p->weight[p->order ? p->order[at.row] : at.row] : 1.0f;
    for (int64_t c = at.begin; c < at.end; c += 16) {
        int64_t n = at.end - c;
        vf g = ld_bf16(gate + c, n), u = clamp_up(ld_bf16(up + c, n), limit);
        g = vf_sel(vf_lt(limit, g), limit, g);
        vf a = vf_mul(vf_silu(g), u);
        if (p->weight) a = vf_mul(vf_set1(weight), a);
        st_bf16(y + c, a, n);
    }
}

void KERN(swiglu)(const hd_cpu_lane *lane, const hd_swiglu_params *p)
{
    hd_par_range r = my_rows(lane, n_pieces(p->n_rows, p->dim));
    for (int64_t i = r.begin; i < r.end; i++) swiglu_piece(p, piece_at(i, p->dim));
}

void KERN(combine)(const hd_cpu_lane *lane, const hd_combine_params *p)
{
    int64_t dim = p->dim;
    hd_par_range r = my_rows(lane, n_pieces(p->n_rows, dim));
    for (int64_t i = r.begin; i < r.end; i++) {
        piece at = piece_at(i, dim);
        const int32_t *place = p->place + at.row * p->n_chosen;
        for (int64_t c = at.begin; c < at.end; c += 16) {
            int64_t n = at.end - c;
            vf sum = vf_zero();
            for (int32_t k = 0; k < p->n_chosen; k++)
                sum = vf_add(sum, ld_bf16(p->expert_y + place[k] * dim + c, n));
            sum = vf_add(sum, ld_bf16(p->shared + at.row * dim + c, n));
            st_bf16(p->y + at.row * dim + c, sum, n);
        }
    }
}

/* ---- fused: gate and up, activation and quantisation, down ---------------------------------- */

typedef struct expert_arg {
    const hd_moe_experts_params *p;
    const hd_weight *w;
    const hd_bf16 *x;
    const int32_t *order;
    hd_bf16 *y;
} expert_arg;

static void expert_job(const void *opaque, int32_t e, mat_job *job)
{
    const expert_arg *a = opaque;
    const hd_moe_experts_params *p = a->p;
    int32_t begin = p->offset ? p->offset[e] : 0, end = p->offset ? p->offset[e + 1] : p->n_rows;
    int64_t rows = a->w->rows, cols = a->w->cols;
    *job = (mat_job){.w = (const hd_cpu_weight *)a->w,
                     .part = e,
                     .n_rows = (int32_t)rows,
                     .x = a->x + (a->order ? 0 : begin * cols),
                     .x_stride = cols,
                     .order = a->order ? a->order + begin : NULL,
                     .divisor = p->divisor,
                     .n_tok = end - begin,
                     .y = a->y + begin * rows,
                     .y_stride = rows,
                     .y_kind = HD_Y_BF16};
}

/* One work area after the other, each at a multiple of 64 bytes: gate, up, quantised. */
static size_t half_bytes(const hd_moe_experts_params *p)
{
    return hd_cpu_expert_bytes(p) / 2;
}

void KERN(moe_experts)(const hd_cpu_lane *lane, const hd_moe_experts_params *p)
{
    hd_bf16 *gate = p->work, *up = (hd_bf16 *)(void *)((uint8_t *)p->work + half_bytes(p));
    int32_t n_parts = p->w1->n_parts, dim = p->w1->rows;
    expert_arg a = {.p = p, .w = p->w1, .x = p->x, .order = p->order, .y = gate};
    KERN(mat_run)(lane, n_parts, expert_job, &a, 0);
    a.w = p->w3;
    a.y = up;
    KERN(mat_run)(lane, n_parts, expert_job, &a, 1);
    hd_par_barrier(lane->par);

    hd_swiglu_params swiglu = {.n_rows = p->n_rows,
                               .dim = dim,
                               .limit = p->limit,
                               .gate = gate,
                               .up = up,
                               .weight = p->weight,
                               .order = p->order,
                               .y = gate};
    int64_t groups = (dim + HD_ACT_GROUP - 1) / HD_ACT_GROUP;
    hd_par_range r = hd_par_split(p->n_rows * groups, 1, lane->i, lane->n);
    for (int64_t i = r.begin; i < r.end; i++) {
        int64_t row = i / groups, c = i % groups * HD_ACT_GROUP, end = MIN(c + HD_ACT_GROUP, dim);
        hd_bf16 *x = gate + row * dim + c;
        swiglu_piece(&swiglu, (piece){row, c, end});
        KERN(quantize_row)(x, x, end - c);
    }
    hd_par_barrier(lane->par);

    a = (expert_arg){.p = p, .w = p->w2, .x = gate, .y = p->y};
    KERN(mat_run)(lane, n_parts, expert_job, &a, 2);
}
