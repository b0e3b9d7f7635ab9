/* Each op of the device against `ref`: cases at edge shapes and at the model's shapes, from random
 * numbers, and the model's own matrices (matrices.c). One check per op. Ops take turns, so that
 * when time runs out all of them have had some cases. An op comes behind those that make its
 * inputs, so that the first difference is in the op that is wrong. */
#include "verify/run.h"

#define SEED 20260731u

/* Cases of each op, whatever the time: the first ones may have no rows. */
#define LEAST_CASES 4

static hd_opcase_sizes sizes_of(const hd_config *c)
{
    return (hd_opcase_sizes){
        .dim = c->dim,
        .width = {c->dim, c->q_lora_rank, HD_HEAD_DIM, HD_INDEX_DIM, c->moe_dim},
        .vocab = c->vocab_size,
        .n_heads = c->n_heads,
        .index_heads = c->index_n_heads,
        .index_topk = c->index_topk,
        .n_experts = c->n_experts,
        .n_active = c->n_active_experts,
    };
}

typedef struct ops_run {
    hd_verify *v;
    hd_opdev device, ref;
    hd_verify_check *check[HD_OP_COUNT];
    int64_t n_left; /* cases for which there was no time */
} ops_run;

static void run_case(ops_run *r, const hd_opcase_entry *e, const hd_opcase_which *which)
{
    hd_opcase want, got;
    hd_verify_check *c = r->check[e->op];
    if (c->cases >= LEAST_CASES && hd_verify_left_s(r->v) <= 0.0) {
        r->n_left++;
        return;
    }
    hd_opcase_run(&want, &r->ref, e, which);
    hd_opcase_run(&got, &r->device, e, which);
    hd_verify_compare(r->v, c, &want, &got, hd_verify_op_rule(r->v->m->dev));
    hd_opcase_deinit(&want);
    hd_opcase_deinit(&got);
}

/* Case `index` of an op, at edge shapes and at the model's; whether there are more. */
static bool run_entry(ops_run *r, const hd_opcase_entry *e, int index, const hd_opcase_sizes *sizes)
{
    if (index < e->n_cases) run_case(r, e, &(hd_opcase_which){.seed = SEED, .index = index});
    if (index < e->n_model_cases)
        run_case(r, e, &(hd_opcase_which){.seed = SEED + 1, .index = index, .sizes = sizes});
    return index + 1 < e->n_cases || index + 1 < e->n_model_cases;
}

/* Ops that make the inputs of other ops' cases. */
static bool is_maker(const hd_opcase_entry *e)
{
    return e->op == HD_OP_quantize_act || e->op == HD_OP_moe_group;
}

static void run_makers(ops_run *r, const hd_opcase_sizes *sizes)
{
    const hd_opcase_entry *e;
    for (int i = 0; (e = hd_opcase_entry_at(i)); i++)
        for (int index = 0; is_maker(e) && run_entry(r, e, index, sizes);) index++;
}

/* Case `index` of every other op; whether there are more. */
static bool run_round(ops_run *r, int index, const hd_opcase_sizes *sizes)
{
    const hd_opcase_entry *e;
    bool more = false;
    for (int i = 0; (e = hd_opcase_entry_at(i)); i++)
        if (!is_maker(e) && run_entry(r, e, index, sizes)) more = true;
    return more;
}

void hd_verify_ops(hd_verify *v)
{
    ops_run r = {.v = v};
    hd_opcase_sizes sizes = sizes_of(&v->m->cfg);
    hd_opdev_init(&r.device, v->m->dev, v->m->stream);
    hd_opdev_init(&r.ref, v->ref->dev, v->ref->stream);
    for (int op = 0; op < HD_OP_COUNT; op++)
        r.check[op] = hd_verify_add(v, "op.%s", hd_op_name((hd_op)op));
    run_makers(&r, &sizes);
    for (int index = 0, more = 1; more; index++) {
        hd_verify_progress(v, "ops, round %d", index + 1);
        more = run_round(&r, index, &sizes);
        if (index == 0) hd_verify_matrices(v, r.check);
    }
    hd_opdev_deinit(&r.device);
    hd_opdev_deinit(&r.ref);
    if (r.n_left) hd_verify_leave_out(v, "op.*: %lld cases, no time", (long long)r.n_left);
}
