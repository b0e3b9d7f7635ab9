/* The device registry, and the ops that are composed where a backend has none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "dev/compose.h"
#include "dev/dev.h"
#include "support/fakedev.h"

static hd_dev *dev;
static hd_stream *stream;

static int open_fake(void **state)
{
    (void)state;
    fake_reset();
    assert_int_equal(hd_dev_open_backend(&fake_backend, NULL, NULL, &dev, NULL), HD_OK);
    return dev->stream.create(dev, &stream, NULL);
}

static int close_fake(void **state)
{
    (void)state;
    dev->stream.destroy(stream);
    hd_dev_close(dev);
    return fake.n_open || fake.n_memory || fake.n_streams;
}

/* The recorded ops are exactly these. */
static void assert_ops(const hd_op *op, int n)
{
    assert_int_equal(fake.n_calls, n);
    for (int i = 0; i < n; i++) assert_string_equal(hd_op_name(fake.call[i].op), hd_op_name(op[i]));
}
#define ASSERT_OPS(...)                                                                            \
    assert_ops((const hd_op[]){__VA_ARGS__}, (int)HD_COUNT(((const hd_op[]){__VA_ARGS__})))

/* ---- names ---------------------------------------------------------------------------------- */

static void names_and_sizes(void **state)
{
    (void)state;
    assert_string_equal(hd_op_name(HD_OP_embed), "embed");
    assert_string_equal(hd_op_name(HD_OP_moe_experts), "moe_experts");
    assert_string_equal(hd_op_name(HD_OP_COUNT), "unknown");
    assert_int_equal(hd_op_params_size(HD_OP_linear), sizeof(hd_linear_params));
    assert_int_equal(hd_op_params_size(HD_OP_hc_pre), sizeof(hd_hc_pre_params));
    assert_int_equal(hd_op_params_size(HD_OP_COUNT), 0);
    assert_string_equal(hd_proof_name(HD_PROOF_L0), "L0");
    assert_string_equal(hd_proof_name(HD_PROOF_L5), "L5");
    assert_string_equal(hd_proof_name((hd_proof)6), "unknown");
}

static void backends_are_listed_once(void **state)
{
    (void)state;
    static const char *const names[] = {"ref", "cpu", "trace", "defer", "skel"};
    const hd_backend *b;
    int n = 0;
    for (; (b = hd_backend_at(n)); n++) {
        int seen = 0;
        assert_int_equal(b->abi, HD_DEV_ABI);
        assert_true(strlen(b->about) > 0);
        for (size_t k = 0; k < HD_COUNT(names); k++) seen += strcmp(names[k], b->name) == 0;
        for (int k = 0; k < n; k++) seen += strcmp(hd_backend_at(k)->name, b->name) == 0;
        assert_int_equal(seen, 1); /* known, and not listed before */
    }
    assert_int_equal(n, HD_COUNT(names));
    assert_null(hd_backend_at(-1));
}

/* ---- open ----------------------------------------------------------------------------------- */

static void assert_refused(const char *name, hd_status status, const char *text)
{
    hd_err err = {0};
    hd_dev *out = (hd_dev *)&err;
    assert_int_equal(hd_dev_open(name, NULL, &out, &err), status);
    assert_null(out);
    if (!strstr(err.text, text)) fail_msg("'%s': '%s' lacks '%s'", name, err.text, text);
}

static void names_that_make_no_sense(void **state)
{
    (void)state;
    assert_refused("abacus", HD_E_NOTFOUND, "unknown device 'abacus'");
    assert_refused("abacus", HD_E_NOTFOUND, " trace:... defer:...");
    assert_refused("", HD_E_NOTFOUND, "unknown device ''");
    assert_refused("trace", HD_E_ARG, "expected a name like 'trace:ref'");
    assert_refused("defer:", HD_E_NOTFOUND, "unknown device ''");
    assert_refused("trace:abacus", HD_E_NOTFOUND, "unknown device 'abacus'");
    assert_refused("abacus:trace", HD_E_NOTFOUND, "unknown device 'abacus:trace'");
    assert_refused("trace:trace:trace:trace:trace:ref", HD_E_ARG, "33 bytes, expected fewer than");
}

static void a_backend_that_does_not_fit(void **state)
{
    (void)state;
    hd_err err;
    hd_dev *out, *inner;
    fake_reset();
    hd_backend b = fake_backend;
    b.abi = HD_DEV_ABI + 1;
    assert_int_equal(hd_dev_open_backend(&b, NULL, NULL, &out, &err), HD_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "interface version 2, expected 1"));

    fake.open_status = HD_E_DEVICE;
    assert_int_equal(hd_dev_open_backend(&fake_backend, NULL, NULL, &out, &err), HD_E_DEVICE);
    assert_string_equal(err.text, "no such card");

    fake_reset();
    assert_int_equal(hd_dev_open_backend(&fake_backend, NULL, NULL, &inner, NULL), HD_OK);
    assert_int_equal(hd_dev_open_backend(&fake_backend, NULL, inner, &out, &err), HD_E_ARG);
    assert_non_null(strstr(err.text, "'fake' cannot wrap 'fake'"));
    hd_dev_close(inner);
    hd_dev_close(NULL);
    assert_int_equal(fake.n_open, 0);
}

static hd_status open_without_linear(const hd_dev_opts *opts, hd_dev *inner, hd_dev **out,
                                     hd_err *err)
{
    HD_TRY(fake_backend.open(opts, inner, out, err));
    (*out)->ops.linear = NULL;
    return HD_OK;
}

static void a_mandatory_op_is_missing(void **state)
{
    (void)state;
    hd_err err;
    hd_dev *out;
    fake_reset();
    hd_backend b = fake_backend;
    b.open = open_without_linear;
    assert_int_equal(hd_dev_open_backend(&b, NULL, NULL, &out, &err), HD_E_UNSUPPORTED);
    assert_string_equal(err.text, "backend 'fake' lacks 'ops.linear'");
    assert_int_equal(fake.n_open, 0);
}

static void fused_ops_are_the_backends_unless_unwanted(void **state)
{
    (void)state;
    fake_reset();
    fake.with_fused = true;
    for (int unfused = 0; unfused < 2; unfused++) {
        hd_dev_opts opts = {.unfused = unfused};
        hd_weight w = {HD_WEIGHT_FP8, 512, 1024, 1};
        hd_moe_experts_params p = {.n_rows = 1, .w1 = &w};
        assert_int_equal(hd_dev_open_backend(&fake_backend, &opts, NULL, &dev, NULL), HD_OK);
        assert_string_equal(dev->props.name, "fake");
        assert_ptr_equal(dev->backend, &fake_backend);
        assert_int_equal(dev->composed[HD_OP_moe_experts], unfused);
        assert_int_equal(dev->composed[HD_OP_linear], 0);
        assert_int_equal(dev->ops.moe_experts == hd_compose_moe_experts, unfused);
        /* gate, up: 512 · 2 bytes each; act: 512 + 4, rounded up. */
        assert_int_equal(hd_dev_work_bytes(dev, HD_OP_moe_experts, &p),
                         unfused ? 1024 + 1024 + 768 : 7);
        assert_int_equal(hd_dev_work_bytes(dev, HD_OP_linear, &p), 0);
        assert_int_equal(hd_dev_work_bytes(dev, HD_OP_COUNT, &p), 0);
        hd_dev_close(dev);
    }
}

static void a_wrapper_owns_what_it_wraps(void **state)
{
    (void)state;
    hd_dev *inner, *outer;
    const hd_backend *b = NULL;
    for (int i = 0; (b = hd_backend_at(i)) && strcmp(b->name, "defer") != 0; i++) {}
    fake_reset();
    assert_int_equal(hd_dev_open_backend(&fake_backend, NULL, NULL, &inner, NULL), HD_OK);
    assert_int_equal(hd_dev_open_backend(b, NULL, inner, &outer, NULL), HD_OK);
    assert_string_equal(outer->props.name, "defer:fake");
    assert_int_equal(hd_act_bytes(outer, 3, 130), hd_act_bytes(inner, 3, 130));
    hd_dev_close(outer);
    assert_int_equal(fake.n_open, 0);
}

/* ---- compositions --------------------------------------------------------------------------- */

/* Addresses that nobody follows. */
#define AT(n) ((void *)(uintptr_t)(n))

static void hc_pre_is_mix_collapse_norm(void **state)
{
    (void)state;
    hd_hc_pre_params p = {.mix = {.n_rows = 3,
                                  .dim = 128,
                                  .rms_eps = 1e-6f,
                                  .hc_eps = 1e-5f,
                                  .x = AT(0x100),
                                  .pre = AT(0x200)},
                          .norm = AT(0x300),
                          .y = AT(0x400)};
    assert_int_equal(hd_op_hc_pre(stream, &p), HD_OK);
    ASSERT_OPS(HD_OP_hc_mix, HD_OP_hc_collapse, HD_OP_rms_norm);
    assert_memory_equal(&fake.call[0].p.hc_mix, &p.mix, sizeof p.mix);
    const hd_hc_collapse_params *c = &fake.call[1].p.hc_collapse;
    assert_int_equal(c->n_rows, 3);
    assert_int_equal(c->dim, 128);
    assert_ptr_equal(c->x, p.mix.x);
    assert_ptr_equal(c->pre, p.mix.pre);
    assert_ptr_equal(c->y, p.y);
    const hd_rms_norm_params *n = &fake.call[2].p.rms_norm;
    assert_int_equal(n->n_rows, 3);
    assert_int_equal(n->dim, 128);
    assert_true(n->eps == p.mix.rms_eps);
    assert_ptr_equal(n->x, p.y);
    assert_ptr_equal(n->w, p.norm);
    assert_ptr_equal(n->y, p.y);
}

static void norm_compositions(void **state)
{
    (void)state;
    hd_rms_norm_quant_params rq = {
        .norm = {.n_rows = 2, .dim = 256, .x = AT(0x100), .w = AT(0x200), .y = AT(0x300)},
        .act = AT(0x400)};
    assert_int_equal(hd_op_rms_norm_quant(stream, &rq), HD_OK);
    hd_q_norm_rope_params qr = {
        .n_rows = 2, .n_heads = 5, .eps = 0.5f, .cos_sin = AT(0x500), .q = AT(0x600)};
    assert_int_equal(hd_op_q_norm_rope(stream, &qr), HD_OK);
    ASSERT_OPS(HD_OP_rms_norm, HD_OP_quantize_act, HD_OP_q_norm, HD_OP_rope);
    assert_memory_equal(&fake.call[0].p.rms_norm, &rq.norm, sizeof rq.norm);
    const hd_quantize_act_params *a = &fake.call[1].p.quantize_act;
    assert_int_equal(a->n_rows, 2);
    assert_int_equal(a->dim, 256);
    assert_ptr_equal(a->x, rq.norm.y);
    assert_ptr_equal(a->act, rq.act);
    assert_int_equal(fake.call[2].p.q_norm.n_heads, 5);
    assert_true(fake.call[2].p.q_norm.eps == 0.5f);
    const hd_rope_params *r = &fake.call[3].p.rope;
    assert_int_equal(r->n_rows, 2);
    assert_int_equal(r->n_heads, 5);
    assert_int_equal(r->dim, 512);
    assert_false(r->inverse);
    assert_ptr_equal(r->cos_sin, qr.cos_sin);
    assert_ptr_equal(r->x, qr.q);
}

static void kv_composition(void **state)
{
    (void)state;
    hd_kv_norm_rope_pack_params p = {.n_rows = 4,
                                     .eps = 0.25f,
                                     .x = AT(0x100),
                                     .w = AT(0x200),
                                     .cos_sin = AT(0x300),
                                     .rows = AT(0x400)};
    assert_int_equal(hd_op_kv_norm_rope_pack(stream, &p), HD_OK);
    ASSERT_OPS(HD_OP_rms_norm, HD_OP_rope, HD_OP_kv_pack);
    const hd_rms_norm_params *n = &fake.call[0].p.rms_norm;
    assert_int_equal(n->dim, 512);
    assert_ptr_equal(n->x, p.x);
    assert_ptr_equal(n->y, p.x);
    assert_ptr_equal(n->w, p.w);
    assert_int_equal(fake.call[1].p.rope.n_heads, 1);
    assert_int_equal(fake.call[1].p.rope.dim, 512);
    assert_ptr_equal(fake.call[1].p.rope.x, p.x);
    assert_int_equal(fake.call[2].p.kv_pack.n_rows, 4);
    assert_ptr_equal(fake.call[2].p.kv_pack.x, p.x);
    assert_ptr_equal(fake.call[2].p.kv_pack.rows, p.rows);
}

static void index_topk_goes_in_slices(void **state)
{
    (void)state;
    /* 5 Mi scores of 2 bytes a row: three rows fit 32 MiB. */
    hd_index_topk_params p = {.rows = {.n_rows = 8, .n_seqs = 1},
                              .n_heads = 2,
                              .k = 4,
                              .n_score = 5 << 20,
                              .q = AT(0x100),
                              .sel = AT(0x200),
                              .work = AT(0x300)};
    assert_int_equal(hd_op_index_topk(stream, &p), HD_OK);
    ASSERT_OPS(HD_OP_index_score, HD_OP_top_k, HD_OP_index_score, HD_OP_top_k, HD_OP_index_score,
               HD_OP_top_k);
    for (int i = 0; i < 3; i++) {
        const hd_index_score_params *s = &fake.call[2 * i].p.index_score;
        const hd_top_k_params *t = &fake.call[2 * i + 1].p.top_k;
        assert_int_equal(s->row0, 3 * i);
        assert_int_equal(s->n_rows, i < 2 ? 3 : 2);
        assert_ptr_equal(s->score, p.work);
        assert_ptr_equal(s->q, p.q);
        assert_int_equal(t->row0, s->row0);
        assert_int_equal(t->n_rows, s->n_rows);
        assert_int_equal(t->ratio, 4);
        assert_int_equal(t->k, 4);
        assert_ptr_equal(t->sel, p.sel);
        assert_ptr_equal(t->score, p.work);
        assert_memory_equal(&s->rows, &p.rows, sizeof p.rows);
    }
    /* Smaller rows could use the 32 MiB better, so the plan grants all of it. */
    assert_int_equal(hd_dev_work_bytes(dev, HD_OP_index_topk, &p), 32 << 20);
    p.n_score = 100;
    assert_int_equal(hd_dev_work_bytes(dev, HD_OP_index_topk, &p), 1792); /* 1600 rounded up */
    p.n_score = 20 << 20;
    assert_int_equal(hd_dev_work_bytes(dev, HD_OP_index_topk, &p), 40 << 20);
    fake.n_calls = 0;
    assert_int_equal(hd_op_index_topk(stream, &p), HD_OK);
    assert_int_equal(fake.n_calls, 16); /* row by row */
}

static void workspace_covers_smaller_steps(void **state)
{
    (void)state;
    hd_index_topk_params most = {.rows.n_rows = 100, .n_score = 10 << 20};
    size_t planned = hd_dev_work_bytes(dev, HD_OP_index_topk, &most);
    for (int32_t n = 1; n <= most.n_score; n += n / 3 + 1) {
        hd_index_topk_params p = {.rows.n_rows = 100, .n_score = n, .work = AT(0x100)};
        fake.n_calls = 0;
        assert_int_equal(hd_op_index_topk(stream, &p), HD_OK);
        size_t rows = (size_t)fake.call[0].p.index_score.n_rows;
        assert_true(rows * (size_t)n * 2 <= hd_dev_work_bytes(dev, HD_OP_index_topk, &p));
        assert_true(hd_dev_work_bytes(dev, HD_OP_index_topk, &p) <= planned);
    }
}

static void routed_experts(void **state)
{
    (void)state;
    hd_weight w1 = {HD_WEIGHT_FP4, 200, 512, 8}, w3 = w1, w2 = {HD_WEIGHT_FP4, 512, 200, 8};
    hd_moe_experts_params p = {.n_rows = 6,
                               .n_x_rows = 3,
                               .divisor = 2,
                               .limit = 10.0f,
                               .x = AT(0x1000),
                               .order = AT(0x2000),
                               .offset = AT(0x3000),
                               .weight = AT(0x4000),
                               .w1 = &w1,
                               .w3 = &w3,
                               .w2 = &w2,
                               .y = AT(0x5000),
                               .work = AT(0x100000)};
    assert_int_equal(hd_op_moe_experts(stream, &p), HD_OK);
    ASSERT_OPS(HD_OP_grouped_linear, HD_OP_grouped_linear, HD_OP_swiglu, HD_OP_quantize_act,
               HD_OP_grouped_linear);
    const hd_grouped_linear_params *g = &fake.call[0].p.grouped_linear;
    const hd_grouped_linear_params *u = &fake.call[1].p.grouped_linear;
    const hd_swiglu_params *s = &fake.call[2].p.swiglu;
    const hd_quantize_act_params *q = &fake.call[3].p.quantize_act;
    const hd_grouped_linear_params *d = &fake.call[4].p.grouped_linear;
    assert_ptr_equal(g->w, &w1);
    assert_ptr_equal(u->w, &w3);
    assert_int_equal(g->n_rows, 6);
    assert_int_equal(g->n_x_rows, 3);
    assert_int_equal(g->divisor, 2);
    assert_ptr_equal(g->order, p.order);
    assert_ptr_equal(u->order, p.order);
    assert_ptr_equal(g->x, p.x);
    assert_ptr_equal(u->x, p.x);
    assert_int_equal(s->dim, 200);
    assert_ptr_equal(s->gate, g->y);
    assert_ptr_equal(s->up, u->y);
    assert_ptr_equal(s->weight, p.weight);
    assert_ptr_equal(s->order, p.order);
    assert_true(s->limit == 10.0f);
    assert_ptr_equal(q->x, s->y);
    assert_int_equal(q->dim, 200);
    /* The second layer reads by place. */
    assert_ptr_equal(d->w, &w2);
    assert_ptr_equal(d->x, q->act);
    assert_null(d->order);
    assert_int_equal(d->n_x_rows, 6);
    assert_int_equal(d->x_kind, HD_X_ACT);
    assert_ptr_equal(d->offset, p.offset);
    assert_ptr_equal(d->y, p.y);
    /* Pieces: 6 · 200 · 2 = 2400 -> 2560 twice; 1216 + 12 -> 1280. */
    assert_ptr_equal(g->y, p.work);
    assert_ptr_equal(u->y, (uint8_t *)p.work + 2560);
    assert_ptr_equal(q->act, (uint8_t *)p.work + 5120);
    assert_int_equal(hd_dev_work_bytes(dev, HD_OP_moe_experts, &p), 6400);
}

static void the_shared_expert_is_plain_linear(void **state)
{
    (void)state;
    hd_weight w1 = {HD_WEIGHT_FP8, 256, 512, 1}, w3 = w1, w2 = {HD_WEIGHT_FP8, 512, 256, 1};
    hd_moe_experts_params p = {.n_rows = 3,
                               .n_x_rows = 3,
                               .x = AT(0x1000),
                               .w1 = &w1,
                               .w3 = &w3,
                               .w2 = &w2,
                               .y = AT(0x5000),
                               .work = AT(0x100000)};
    assert_int_equal(hd_op_moe_experts(stream, &p), HD_OK);
    ASSERT_OPS(HD_OP_linear, HD_OP_linear, HD_OP_swiglu, HD_OP_quantize_act, HD_OP_linear);
    const hd_linear_params *g = &fake.call[0].p.linear;
    assert_int_equal(g->n_rows, 3);
    assert_int_equal(g->n_groups, 1);
    assert_int_equal(g->x_kind, HD_X_ACT);
    assert_int_equal(g->y_kind, HD_Y_BF16);
    assert_ptr_equal(fake.call[4].p.linear.x, fake.call[3].p.quantize_act.act);
    assert_ptr_equal(fake.call[4].p.linear.y, p.y);
    p.order = AT(0x2000);
    assert_int_equal(hd_op_moe_experts(stream, &p), HD_E_ARG);
    p.order = NULL;
    w1.n_parts = 2;
    assert_int_equal(hd_op_moe_experts(stream, &p), HD_E_ARG);
}

static void compositions_stop_at_a_refusal(void **state)
{
    (void)state;
    fake.refuses = true;
    fake.refused = HD_OP_hc_collapse;
    hd_hc_pre_params p = {.mix.n_rows = 1};
    assert_int_equal(hd_op_hc_pre(stream, &p), HD_E_UNSUPPORTED);
    ASSERT_OPS(HD_OP_hc_mix, HD_OP_hc_collapse);
}

static void empty_and_senseless_problems(void **state)
{
    (void)state;
    hd_index_topk_params t = {.rows.n_rows = 0};
    hd_moe_experts_params m = {.n_rows = 0};
    assert_int_equal(hd_op_index_topk(stream, &t), HD_OK);
    assert_int_equal(hd_op_moe_experts(stream, &m), HD_OK);
    assert_int_equal(hd_dev_work_bytes(dev, HD_OP_index_topk, &t), 0);
    assert_int_equal(hd_dev_work_bytes(dev, HD_OP_moe_experts, &m), 0);
    t.rows.n_rows = 2;
    t.n_score = 8;
    assert_int_equal(hd_op_index_topk(stream, &t), HD_E_ARG); /* no workspace */
    t.rows.n_rows = -1;
    assert_int_equal(hd_op_index_topk(stream, &t), HD_E_ARG);
    m.n_rows = 1;
    assert_int_equal(hd_op_moe_experts(stream, &m), HD_E_ARG);
    assert_int_equal(fake.n_calls, 0);
}

#define WITH_FAKE(f) cmocka_unit_test_setup_teardown(f, open_fake, close_fake)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_and_sizes),
        cmocka_unit_test(backends_are_listed_once),
        cmocka_unit_test(names_that_make_no_sense),
        cmocka_unit_test(a_backend_that_does_not_fit),
        cmocka_unit_test(a_mandatory_op_is_missing),
        cmocka_unit_test(fused_ops_are_the_backends_unless_unwanted),
        cmocka_unit_test(a_wrapper_owns_what_it_wraps),
        WITH_FAKE(hc_pre_is_mix_collapse_norm),
        WITH_FAKE(norm_compositions),
        WITH_FAKE(kv_composition),
        WITH_FAKE(index_topk_goes_in_slices),
        WITH_FAKE(workspace_covers_smaller_steps),
        WITH_FAKE(routed_experts),
        WITH_FAKE(the_shared_expert_is_plain_linear),
        WITH_FAKE(compositions_stop_at_a_refusal),
        WITH_FAKE(empty_and_senseless_problems),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
