/* Experts of one block: h (normed input) to z.
 *
 *     s = sqrt(softplus(Wg·h));  K experts: by s + bias, or by token id in the first layers
 *     z = Σ_e W2_e·(w_e · silu(W1_e·h)·(W3_e·h))  +  the same of the shared expert, unweighted
 *
 * Rows are grouped by expert, so that each expert's weights are read once per step for all rows
 * that chose it. docs/numerics.md, "Experts". */
#include "model/probe.h"
#include "model/v4.h"

static hd_status route(hd_model *m, const hd_v4_step *step, const hd_v4_block *b)
{
    const hd_config *c = &m->cfg;
    hd_v4_work *w = &m->work;
    int32_t n = step->rows.n_rows;
    HD_TRY(hd_v4_linear_bf16(m, n, w->h, b->gate, HD_Y_F32, w->route_z));
    HD_TRY(hd_op_route(m->stream, &(hd_route_params){.n_rows = n,
                                                     .n_experts = c->n_experts,
                                                     .n_chosen = c->n_active_experts,
                                                     .scale = c->route_scale,
                                                     .z = w->route_z,
                                                     .bias = b->gate_bias,
                                                     .tid2eid = b->tid2eid,
                                                     .id = step->id,
                                                     .expert = w->expert,
                                                     .weight = w->route_w}));
    HD_TRY(hd_probe_route(m, step, b));
    return hd_op_moe_group(m->stream, &(hd_moe_group_params){.n_rows = n,
                                                             .n_experts = c->n_experts,
                                                             .n_chosen = c->n_active_experts,
                                                             .expert = w->expert,
                                                             .order = w->order,
                                                             .place = w->place,
                                                             .offset = w->offset});
}

hd_status hd_v4_moe(hd_model *m, const hd_v4_step *step, const hd_v4_block *b)
{
    const hd_config *c = &m->cfg;
    hd_v4_work *w = &m->work;
    int32_t n = step->rows.n_rows, chosen = c->n_active_experts;
    HD_TRY(route(m, step, b));
    HD_TRY(hd_v4_quantize(m, n, c->dim, w->h, w->act));
    HD_TRY(hd_op_moe_experts(m->stream, &(hd_moe_experts_params){.n_rows = n * chosen,
                                                                 .n_x_rows = n,
                                                                 .divisor = chosen,
                                                                 .limit = c->swiglu_limit,
                                                                 .x = w->act,
                                                                 .order = w->order,
                                                                 .offset = w->offset,
                                                                 .weight = w->route_w,
                                                                 .w1 = b->w1,
                                                                 .w3 = b->w3,
                                                                 .w2 = b->w2,
                                                                 .y = w->expert_y,
                                                                 .work = w->moe_work}));
    HD_TRY(hd_op_moe_experts(m->stream, &(hd_moe_experts_params){.n_rows = n,
                                                                 .n_x_rows = n,
                                                                 .divisor = 1,
                                                                 .limit = c->swiglu_limit,
                                                                 .x = w->act,
                                                                 .w1 = b->s1,
                                                                 .w3 = b->s3,
                                                                 .w2 = b->s2,
                                                                 .y = w->shared_y,
                                                                 .work = w->moe_work}));
    HD_TRY(hd_probe_rows(m, step, b->index, "shared_out", w->shared_y, c->dim));
    return hd_op_combine(m->stream, &(hd_combine_params){.n_rows = n,
                                                         .n_chosen = chosen,
                                                         .dim = c->dim,
                                                         .expert_y = w->expert_y,
                                                         .place = w->place,
                                                         .shared = w->shared_y,
                                                         .y = w->z});
}
