/* `hadal verify` from inside: it passes on a right device, and names what is wrong on a spoiled
 * one.
 *
 * Faults are put into the device's op table when its model is open: in one op at one shape, in one
 * op of the model only (tests/support/faultdev.h), in the layout of weights. Whether the verdict is
 * no, which check says so, and which place is named first are asserted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support/faultdev.h"
#include "support/modelrun.h"
#include "verify/verify.h"

static hd_verify_report report;

static const hd_verify_check *check(const char *name)
{
    for (int i = 0; i < report.n_checks; i++)
        if (strcmp(report.check[i].name, name) == 0) return &report.check[i];
    fail_msg("no check '%s'", name);
    return NULL;
}

/* How many checks have names that begin so. */
static int n_checks(const char *begin)
{
    int n = 0;
    for (int i = 0; i < report.n_checks; i++)
        n += strncmp(report.check[i].name, begin, strlen(begin)) == 0;
    return n;
}

static void run(hd_verify_opts opts)
{
    hd_err err = {0};
    opts.dir = modelrun_synth("unit");
    opts.n_threads = 1;
    modelrun_check(hd_verify_run(&opts, &report, &err), "hd_verify_run", &err);
}

/* ---- a right device -------------------------------------------------------------------------- */

static void test_passes(void **state)
{
    (void)state;
    run((hd_verify_opts){.device = "cpu", .golden = HD_TEST_DATA "/model"});
    if (report.first[0]) fail_msg("%s", report.first);
    assert_true(report.pass);
    assert_true(check("ref-golden")->cases > 50);
    for (int op = 0; op < HD_OP_COUNT; op++) {
        char name[40];
        snprintf(name, sizeof name, "op.%s", hd_op_name((hd_op)op));
        assert_true(check(name)->cases >= 12);
        assert_true(check(name)->worst == 0.0 && check(name)->bound == 0.0);
    }
    assert_true(check("layer.window.hash")->cases >= 20);
    assert_true(check("layer.ratio4.bias")->cases >= 25);
    assert_true(check("logits")->cases == 1 && check("drafts")->cases == 2);
    assert_int_equal(n_checks("state."), 12);
    assert_int_equal(n_checks("repeat."), 3);
}

static void test_no_golden_data(void **state)
{
    (void)state;
    run((hd_verify_opts){.device = "cpu", .parts = HD_VERIFY_GOLDEN});
    assert_false(report.pass);
    assert_false(check("ref-golden")->pass);
    assert_int_equal(check("ref-golden")->cases, 0);
    assert_int_equal(report.n_left_out, 1);
    run((hd_verify_opts){.golden = "/nonexistent", .parts = HD_VERIFY_GOLDEN});
    assert_false(report.pass);
    assert_non_null(strstr(report.left_out[0], "/nonexistent"));
}

/* However little time there is, every op is compared, and what is not is said. */
static void test_no_time(void **state)
{
    (void)state;
    run((hd_verify_opts){.budget_s = 1e-6, .parts = HD_VERIFY_OPS | HD_VERIFY_LAYERS});
    for (int op = 0; op < HD_OP_COUNT; op++) assert_true(report.check[op].cases >= 4);
    assert_true(report.pass);
    assert_true(report.n_left_out >= 2);
}

/* ---- one op, one shape ----------------------------------------------------------------------- */

static struct {
    hd_dev *dev;
    hd_dev_ops ops; /* the device's own */
} bent;

/* Op `name` leaves the last byte but one of an output of `size` bytes with another bit. */
#define SPOILED(name, when, ptr, size)                                                             \
    static hd_status spoiled_##name(hd_stream *s, const hd_##name##_params *p)                     \
    {                                                                                              \
        hd_status st = bent.ops.name(s, p);                                                        \
        if (st == HD_OK) st = s->dev->stream.sync(s, -1, NULL);                                    \
        if (st == HD_OK && (when)) ((uint8_t *)(ptr))[(size) - 2] ^= 1;                            \
        return st;                                                                                 \
    }                                                                                              \
    static void bend_##name(void *ctx, hd_model *m)                                                \
    {                                                                                              \
        (void)ctx;                                                                                 \
        assert_true(m->dev->props.maps_host);                                                      \
        bent.dev = m->dev;                                                                         \
        bent.ops = m->dev->ops;                                                                    \
        m->dev->ops.name = spoiled_##name;                                                         \
    }

#define ROWS_BYTES(row_bytes) ((size_t)p->n_rows * (size_t)(row_bytes))
SPOILED(embed, p->n_rows > 0, p->y, ROWS_BYTES(p->n_copies * p->table->cols * 2))
SPOILED(rope, p->n_rows > 0, p->x, ROWS_BYTES(p->n_heads * p->dim * 2))
SPOILED(quantize_act, p->n_rows > 0, p->act, ROWS_BYTES(p->dim * 2))
SPOILED(linear, p->n_rows == 70, p->y, ROWS_BYTES(p->w->rows *(p->y_kind == HD_Y_F32 ? 4 : 2)))
SPOILED(hc_merge, p->n_rows > 0, p->y, ROWS_BYTES(p->dim * 8))
SPOILED(route, p->n_rows > 0, p->weight, ROWS_BYTES(p->n_chosen * 4))
SPOILED(top_k, p->n_rows > 0, p->sel + (size_t)p->row0 * (size_t)p->k, ROWS_BYTES(p->k * 4))
SPOILED(attention, p->rows.n_rows > 0, p->o,
        (size_t)p->rows.n_rows *(size_t)p->n_heads *HD_HEAD_DIM * 2)
SPOILED(moe_experts, p->n_rows > 0, p->y, ROWS_BYTES(p->w2->rows * 2))

typedef struct op_fault {
    const char *name;
    void (*bend)(void *ctx, hd_model *m);
    bool is_rare; /* at one shape only, that is not among the first */
} op_fault;

static const op_fault op_faults[] = {
    {"embed", bend_embed, false},
    {"rope", bend_rope, false},
    {"hc_merge", bend_hc_merge, false},
    {"linear", bend_linear, true},
    {"route", bend_route, false},
    {"top_k", bend_top_k, false},
    {"attention", bend_attention, false},
    {"moe_experts", bend_moe_experts, false},
    {"quantize_act", bend_quantize_act, false}, /* in the inputs of others, too */
};

static void test_op_faults(void **state)
{
    (void)state;
    for (size_t i = 0; i < HD_COUNT(op_faults); i++) {
        const op_fault *f = &op_faults[i];
        char name[40], begin[48];
        snprintf(name, sizeof name, "op.%s", f->name);
        snprintf(begin, sizeof begin, "%s: ", name);
        run((hd_verify_opts){.device = "cpu",
                             .budget_s = f->is_rare ? 0.0 : 1e-6,
                             .parts = HD_VERIFY_OPS,
                             .opened = f->bend});
        print_message("%s\n", report.first);
        assert_false(report.pass);
        assert_false(check(name)->pass);
        assert_true(check(name)->worst > 0.0);
        assert_true(strncmp(report.first, begin, strlen(begin)) == 0);
        assert_non_null(strstr(report.first, "row "));
        assert_non_null(strstr(report.first, "column "));
        assert_non_null(strstr(report.first, "on ref"));
    }
}

/* An op that refuses is not right either, and the rest goes on. */
static hd_status refusing(hd_stream *s, const hd_combine_params *p)
{
    (void)s, (void)p;
    return HD_E_UNSUPPORTED;
}

static void bend_refusing(void *ctx, hd_model *m)
{
    (void)ctx;
    m->dev->ops.combine = refusing;
}

static void test_refused(void **state)
{
    (void)state;
    run((hd_verify_opts){
        .budget_s = 1e-6, .parts = HD_VERIFY_OPS | HD_VERIFY_LAYERS, .opened = bend_refusing});
    assert_false(report.pass);
    assert_false(check("op.combine")->pass);
    assert_true(check("op.swiglu")->pass && check("op.argmax")->pass);
    assert_non_null(strstr(report.first, "op.combine: "));
    assert_non_null(strstr(report.first, "refused 'combine'"));
}

/* ---- faults of the model --------------------------------------------------------------------- */

typedef struct model_fault {
    faultdev_fault fault;
    unsigned parts;
    double budget_s;
    const char *first; /* how the first difference begins */
} model_fault;

static const model_fault model_faults[] = {
    {FAULTDEV_ROPE_OFF_BY_ONE, HD_VERIFY_LAYERS, 0.0,
     "layer.ratio4.hash: stage 'comp_kv' of layer 1"},
    {FAULTDEV_NO_INVERSE_ROPE, HD_VERIFY_LAYERS, 0.0,
     "layer.window.hash: stage 'attn_out' of layer 0"},
    {FAULTDEV_NO_HADAMARD, HD_VERIFY_LAYERS, 0.0, "layer.ratio4.hash: stage 'index_k' of layer 1"},
    {FAULTDEV_MASKED, HD_VERIFY_LAYERS, 0.0, "layer.ratio4.hash: stage 'o_rot' of layer 1"},
    {FAULTDEV_NIBBLES, HD_VERIFY_LAYERS, 0.0, "layer.window.hash: stage 'ffn_out' of layer 0"},
    {FAULTDEV_NIBBLES, HD_VERIFY_OPS, 0.0, "op.grouped_linear: layer 0 w1 [64, 128]"},
    {FAULTDEV_STALE_CARRY, HD_VERIFY_OPS, 1e-6, "op.compress_pool: "},
};

static void bend_model(void *ctx, hd_model *m)
{
    faultdev_bend(m, *(const faultdev_fault *)ctx);
}

static void mend_model(void *ctx, hd_model *m)
{
    (void)ctx, (void)m;
    faultdev_mend();
}

static void test_model_faults(void **state)
{
    (void)state;
    for (size_t i = 0; i < HD_COUNT(model_faults); i++) {
        faultdev_fault fault = model_faults[i].fault;
        run((hd_verify_opts){.device = "cpu",
                             .budget_s = model_faults[i].budget_s,
                             .parts = model_faults[i].parts,
                             .opened = bend_model,
                             .closing = mend_model,
                             .ctx = &fault});
        print_message("%s\n", report.first);
        assert_false(report.pass);
        assert_true(strncmp(report.first, model_faults[i].first, strlen(model_faults[i].first)) ==
                    0);
    }
}

/* ---- faults that only a comparison with itself shows ------------------------------------------
 */

/* The results are as right as any, but not the same ones: another bit where a step has one row. */
SPOILED(q_norm_rope, p->n_rows == 1, p->q, ROWS_BYTES(p->n_heads *HD_HEAD_DIM * 2))
/* ... or where it has more than one sequence. */
static hd_status beside_others(hd_stream *s, const hd_attention_params *p)
{
    hd_attention_params q = *p;
    if (p->rows.n_seqs > 1) q.scale *= 0.75f;
    return bent.ops.attention(s, &q);
}

static void bend_beside_others(void *ctx, hd_model *m)
{
    (void)ctx;
    bent.ops = m->dev->ops;
    m->dev->ops.attention = beside_others;
}

/* A snapshot comes back without its last part. */
static hd_dev_mem_ops bent_mem;

static hd_status copied_in_part(hd_stream *s, void *dst, size_t dst_stride, const void *src,
                                size_t src_stride, size_t row_bytes, size_t n_rows)
{
    return bent_mem.copy2d(s, dst, dst_stride, src, src_stride, row_bytes,
                           n_rows > 1 ? n_rows - 1 : n_rows);
}

static void bend_copies(void *ctx, hd_model *m)
{
    (void)ctx;
    bent_mem = m->dev->mem;
    m->dev->mem.copy2d = copied_in_part;
}

static void test_state_faults(void **state)
{
    (void)state;
    static const struct {
        void (*bend)(void *ctx, hd_model *m);
        const char *first, *right; /* the first difference; a check that passes all the same */
    } faults[] = {
        {bend_q_norm_rope, "state.chunked: the text's last logits: ", "repeat.again"},
        {bend_beside_others, "state.preempted: ", "state.evicted"},
        {bend_copies, "state.rewound: ", "state.forked"},
    };
    for (size_t i = 0; i < HD_COUNT(faults); i++) {
        run((hd_verify_opts){.parts = HD_VERIFY_STATES, .opened = faults[i].bend});
        print_message("%s\n", report.first);
        assert_false(report.pass);
        assert_true(check(faults[i].right)->pass);
        assert_true(strncmp(report.first, faults[i].first, strlen(faults[i].first)) == 0);
        assert_non_null(strstr(report.first, " in a run from the start"));
    }
    faultdev_fault stale = FAULTDEV_STALE_CARRY;
    run((hd_verify_opts){
        .parts = HD_VERIFY_STATES, .opened = bend_model, .closing = mend_model, .ctx = &stale});
    print_message("%s\n", report.first);
    assert_false(report.pass);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passes),       cmocka_unit_test(test_no_golden_data),
        cmocka_unit_test(test_no_time),      cmocka_unit_test(test_op_faults),
        cmocka_unit_test(test_refused),      cmocka_unit_test(test_model_faults),
        cmocka_unit_test(test_state_faults),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
