/* Single primitives against golden values that DeepSeek's reference code made (units.safetensors),
 * through the op table of every device that this machine can open.
 *
 * How close: equal where no sum is involved; BF16 results of sums at most one step away in less
 * than 1 % of the elements; FP32 results within 1e-5 of the largest term. Two differences follow
 * from the numerics contract and are spelled out where they are tested: subnormals count as zero,
 * and pooling ends in BF16. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/mem.h"
#include "dev/hostref/attend.h"
#include "io/safetensors.h"
#include "support/devtest.h"

static hd_st *units;
static devtest *t; /* the device under test */

/* ---- golden tensors -------------------------------------------------------------------------- */

static const hd_st_tensor *tensor(const char *name)
{
    const hd_st_tensor *x = hd_st_find(units, hd_str_from(name));
    if (!x) fail_msg("units.safetensors has no '%s'", name);
    return x;
}

/* The mapping does not promise alignment: a copy, freed by the caller's devtest_clear. */
static void *on_device(const char *name)
{
    const hd_st_tensor *x = tensor(name);
    return devtest_put(t, x->data, x->n_bytes);
}

static float at(const hd_st_tensor *x, size_t i)
{
    if (x->dtype == HD_DTYPE_BF16) {
        hd_bf16 h;
        memcpy(&h, x->data + i * sizeof h, sizeof h);
        return hd_f32_from_bf16(h);
    }
    float f;
    assert_int_equal(x->dtype, HD_DTYPE_F32);
    memcpy(&f, x->data + i * sizeof f, sizeof f);
    return f;
}

static size_t count(const hd_st_tensor *x)
{
    return (size_t)(x->n_bytes / hd_dtype_size(x->dtype));
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* Steps between two BF16 numbers; −0 and +0 are one. */
static int bf16_steps(hd_bf16 a, hd_bf16 b)
{
    int x = a & 0x8000 ? -(a & 0x7fff) : a, y = b & 0x8000 ? -(b & 0x7fff) : b;
    return abs(x - y);
}

/* Downloaded BF16 result against golden; `exact`: no difference allowed. */
static void compare_bf16(const char *what, const hd_bf16 *result, const hd_st_tensor *golden,
                         bool exact)
{
    size_t n = count(golden), n_off = 0;
    int worst = 0;
    hd_bf16 *y = hd_mem_try_calloc(n, sizeof *y);
    devtest_get(t, y, result, n * sizeof *y);
    for (size_t i = 0; i < n; i++) {
        int steps = bf16_steps(y[i], hd_bf16_from_f32(at(golden, i)));
        if (steps > worst) worst = steps;
        n_off += steps != 0;
    }
    printf("  %-16s %-16s %zu of %zu differ, at most %d steps\n", t->label, what, n_off, n, worst);
    hd_mem_free(y);
    if (exact) {
        assert_int_equal(n_off, 0);
    } else {
        assert_true(worst <= 1);
        assert_true((double)n_off < 0.01 * (double)n);
    }
}

static void compare_f32(const char *what, const float *result, const hd_st_tensor *golden)
{
    size_t n = count(golden);
    double worst = 0.0, largest = 0.0;
    float *y = hd_mem_try_calloc(n, sizeof *y);
    devtest_get(t, y, result, n * sizeof *y);
    for (size_t i = 0; i < n; i++) {
        double g = (double)at(golden, i), d = fabs((double)y[i] - g);
        if (!(d <= worst)) worst = d;
        if (fabs(g) > largest) largest = fabs(g);
    }
    printf("  %-16s %-16s worst error %.2e of the largest\n", t->label, what, worst / largest);
    hd_mem_free(y);
    assert_true(worst <= 1e-5 * largest);
}

/* ---- quantisers ------------------------------------------------------------------------------ */

static void check_actq8(void)
{
    const hd_st_tensor *q = tensor("actq8_b128.q"), *scale = tensor("actq8_b128.scale");
    int32_t rows = (int32_t)q->shape[0], cols = (int32_t)q->shape[1];
    size_t n = count(q), bytes = hd_act_bytes(t->dev, rows, cols), n_off = 0;
    void *act = devtest_put(t, NULL, bytes);
    devtest_check(
        t,
        hd_op_quantize_act(t->stream,
                           &(hd_quantize_act_params){rows, cols, on_device("actq8_b128.x"), act}),
        "quantize_act");
    uint8_t *host = hd_mem_try_calloc(bytes, 1);
    float *values = hd_mem_try_calloc(n, sizeof *values);
    devtest_get(t, host, act, bytes);
    devtest_act_values(t->dev, host, rows, cols, values);
    for (size_t i = 0; i < n; i++) {
        hd_e8m0 s = scale->data[i / HD_ACT_GROUP];
        n_off += hd_f32_from_e4m3(q->data[i]) * hd_f32_from_e8m0(s) != values[i];
    }
    printf("  %-16s %-16s %zu of %zu differ\n", t->label, "actq8_b128", n_off, n);
    if (t->dev->props.act_format == HD_ACT_E4M3) { /* the codes and scales themselves */
        assert_memory_equal(host, q->data, n);
        assert_memory_equal(host + (n + 63) / 64 * 64, scale->data, count(scale));
    }
    hd_mem_free(host);
    hd_mem_free(values);
    assert_int_equal(n_off, 0);
}

/* fq8: through kv_pack, which takes 64 more columns that stay as they are. */
static void check_fq8(void)
{
    const hd_st_tensor *x = tensor("fq8_b64.x"), *y = tensor("fq8_b64.y");
    int32_t rows = (int32_t)x->shape[0];
    hd_bf16 *full = hd_mem_try_calloc((size_t)rows * HD_HEAD_DIM, sizeof *full);
    for (int32_t r = 0; r < rows; r++)
        for (int32_t c = 0; c < HD_HEAD_DIM; c++)
            full[r * HD_HEAD_DIM + c] = c < HD_NOPE_DIM
                                            ? hd_bf16_from_f32(at(x, (size_t)(r * HD_NOPE_DIM + c)))
                                            : (hd_bf16)(0x3f80 + c);
    uint8_t *packed = devtest_put(t, NULL, (size_t)rows * HD_KV_ROW_BYTES);
    hd_kv_pack_params p = {rows, devtest_put(t, full, (size_t)rows * HD_HEAD_DIM * sizeof *full),
                           packed};
    devtest_check(t, hd_op_kv_pack(t->stream, &p), "kv_pack");
    uint8_t *host = hd_mem_try_calloc((size_t)rows, HD_KV_ROW_BYTES);
    devtest_get(t, host, packed, (size_t)rows * HD_KV_ROW_BYTES);
    size_t n_off = 0;
    for (int32_t r = 0; r < rows; r++) {
        float row[HD_HEAD_DIM];
        hd_hostref_kv_row(host + r * HD_KV_ROW_BYTES, row);
        for (int32_t c = 0; c < HD_HEAD_DIM; c++) {
            float expected = c < HD_NOPE_DIM ? at(y, (size_t)(r * HD_NOPE_DIM + c))
                                             : hd_f32_from_bf16(full[r * HD_HEAD_DIM + c]);
            n_off += row[c] != expected;
        }
        assert_int_equal(host[(r + 1) * HD_KV_ROW_BYTES - 1], 0);
    }
    printf("  %-16s %-16s %zu of %zu differ\n", t->label, "fq8_b64", n_off, count(y));
    hd_mem_free(full);
    hd_mem_free(host);
    assert_int_equal(n_off, 0);
}

/* fq4 has no op of its own: the quantiser that hostref's ops call. Where golden values or inputs
 * are subnormal, ours is zero. */
static void test_fq4(void **state)
{
    (void)state;
    const hd_st_tensor *x = tensor("fq4_b32.x"), *y = tensor("fq4_b32.y");
    unsigned fp_state = hd_fp_flush_subnormals();
    size_t n_off = 0, n_flushed = 0;
    for (size_t i = 0; i < count(x); i += HD_FP4_GROUP) {
        hd_bf16 group[HD_FP4_GROUP];
        uint8_t code[HD_FP4_GROUP];
        memcpy(group, x->data + i * sizeof group[0], sizeof group);
        float s = hd_f32_from_e8m0(hd_hostref_quant_e2m1(group, HD_FP4_GROUP, code));
        for (size_t c = 0; c < HD_FP4_GROUP; c++) {
            uint32_t in = hd_f32_bits(at(x, i + c)) & 0x7fffffffu;
            uint32_t out = hd_f32_bits(at(y, i + c)) & 0x7fffffffu;
            bool is_flushed = (in && in < 0x800000u) || (out && out < 0x800000u);
            float expected = is_flushed ? 0.0f : at(y, i + c);
            n_flushed += is_flushed;
            n_off += hd_f32_from_e2m1(code[c]) * s != expected;
        }
    }
    hd_fp_restore(fp_state);
    printf("  %-16s %-16s %zu of %zu differ (%zu subnormal)\n", "hostref", "fq4_b32", n_off,
           count(y), n_flushed);
    assert_int_equal(n_off, 0);
}

/* hadamard.y is the transform alone; the op goes on to fq4, tested above, so expect fq4 of it. The
 * transform sums, so a step may differ: that is at most one code. */
static void check_hadamard(void)
{
    const hd_st_tensor *y = tensor("hadamard.y");
    int32_t rows = (int32_t)y->shape[0];
    size_t n = count(y), n_off = 0;
    hd_bf16 *x = on_device("hadamard.x");
    devtest_check(t, hd_op_hadamard_quant(t->stream, &(hd_hadamard_quant_params){rows, x}),
                  "hadamard_quant");
    hd_bf16 *host = hd_mem_try_calloc(n, sizeof *host);
    devtest_get(t, host, x, n * sizeof *host);
    for (size_t i = 0; i < n; i += HD_FP4_GROUP) {
        hd_bf16 group[HD_FP4_GROUP];
        uint8_t code[HD_FP4_GROUP];
        memcpy(group, y->data + i * sizeof group[0], sizeof group);
        float s = hd_f32_from_e8m0(hd_hostref_quant_e2m1(group, HD_FP4_GROUP, code));
        for (size_t c = 0; c < HD_FP4_GROUP; c++)
            n_off += hd_f32_from_e2m1(code[c]) * s != hd_f32_from_bf16(host[i + c]);
    }
    printf("  %-16s %-16s %zu of %zu differ\n", t->label, "hadamard", n_off, n);
    hd_mem_free(host);
    assert_true((double)n_off < 0.01 * (double)n);
}

/* ---- norms, rope, elementwise ---------------------------------------------------------------- */

static void check_norms(void)
{
    const hd_st_tensor *x = tensor("rms_norm.x"), *q = tensor("q_norm_head.x");
    hd_bf16 *y = devtest_put(t, NULL, x->n_bytes), *heads = on_device("q_norm_head.x");
    hd_rms_norm_params p = {.n_rows = (int32_t)x->shape[0],
                            .dim = (int32_t)x->shape[1],
                            .eps = 1e-6f,
                            .x = on_device("rms_norm.x"),
                            .w = on_device("rms_norm.w"),
                            .y = y};
    devtest_check(t, hd_op_rms_norm(t->stream, &p), "rms_norm");
    compare_bf16("rms_norm", y, tensor("rms_norm.y"), false);
    hd_q_norm_params qp = {(int32_t)q->shape[0] / 4, 4, 1e-6f, heads};
    devtest_check(t, hd_op_q_norm(t->stream, &qp), "q_norm");
    compare_bf16("q_norm_head", heads, tensor("q_norm_head.y"), false);
}

static void check_rope_table(const char *table)
{
    char name[40];
    snprintf(name, sizeof name, "%s.x", table);
    const char *x_name = name;
    const hd_st_tensor *x = tensor(x_name);
    int32_t rows = (int32_t)x->shape[0];
    for (int inverse = 0; inverse < 2; inverse++) {
        float cos_sin[64 * HD_ROPE_DIM];
        assert_true(rows <= 64);
        for (int which = 0; which < 2; which++) {
            snprintf(name, sizeof name, "%s.%s", table, which ? "sin" : "cos");
            const hd_st_tensor *c = tensor(name);
            for (int32_t i = 0; i < rows * 32; i++)
                cos_sin[i / 32 * 64 + which * 32 + i % 32] = at(c, (size_t)i);
        }
        hd_bf16 *y = devtest_put(t, x->data, x->n_bytes);
        hd_rope_params p = {.n_rows = rows,
                            .n_heads = 1,
                            .dim = HD_ROPE_DIM,
                            .inverse = inverse,
                            .cos_sin =
                                devtest_put(t, cos_sin, (size_t)rows * HD_ROPE_DIM * sizeof(float)),
                            .x = y};
        devtest_check(t, hd_op_rope(t->stream, &p), "rope");
        snprintf(name, sizeof name, "%s.%s", table, inverse ? "y_inverse" : "y");
        compare_bf16(name, y, tensor(name), true);
    }
}

static void check_rope(void)
{
    check_rope_table("rope_plain");
    check_rope_table("rope_yarn");
}

static void check_swiglu(void)
{
    const hd_st_tensor *g = tensor("swiglu.gate");
    hd_bf16 *y = devtest_put(t, NULL, g->n_bytes);
    hd_swiglu_params p = {.n_rows = (int32_t)g->shape[0],
                          .dim = (int32_t)g->shape[1],
                          .limit = 10.0f,
                          .gate = on_device("swiglu.gate"),
                          .up = on_device("swiglu.up"),
                          .weight = on_device("swiglu.weight"),
                          .y = y};
    devtest_check(t, hd_op_swiglu(t->stream, &p), "swiglu");
    compare_bf16("swiglu", y, tensor("swiglu.y"), false);
}

/* ---- linear ---------------------------------------------------------------------------------- */

static void check_linear_format(const char *name, hd_weight_format format)
{
    char text[40];
    snprintf(text, sizeof text, "%s.x", name);
    const hd_st_tensor *x = tensor(text);
    int32_t rows = (int32_t)x->shape[0], cols = (int32_t)x->shape[1];
    const void *input = devtest_put(t, x->data, x->n_bytes);
    bool is_quantised = format != HD_WEIGHT_BF16;
    snprintf(text, sizeof text, "%s.w", name);
    const hd_st_tensor *w = tensor(text);
    const hd_st_tensor *scale = NULL;
    if (is_quantised) {
        void *act = devtest_put(t, NULL, hd_act_bytes(t->dev, rows, cols));
        devtest_check(
            t, hd_op_quantize_act(t->stream, &(hd_quantize_act_params){rows, cols, input, act}),
            "quantize_act");
        input = act;
        snprintf(text, sizeof text, "%s.scale", name);
        scale = tensor(text);
    }
    snprintf(text, sizeof text, "%s.y", name);
    const hd_st_tensor *golden = tensor(text);
    hd_bf16 *y = devtest_put(t, NULL, golden->n_bytes);
    hd_linear_params p = {.n_rows = rows,
                          .n_groups = 1,
                          .x_kind = is_quantised ? HD_X_ACT : HD_X_BF16,
                          .y_kind = HD_Y_BF16,
                          .x = input,
                          .w = devtest_weight(t, format, (int32_t)w->shape[0], cols, w->data,
                                              scale ? scale->data : NULL),
                          .y = y};
    devtest_check(t, hd_op_linear(t->stream, &p), "linear");
    compare_bf16(name, y, golden, false);
}

static void check_linear(void)
{
    check_linear_format("linear_bf16", HD_WEIGHT_BF16);
    check_linear_format("linear_fp8", HD_WEIGHT_FP8);
    check_linear_format("linear_fp4", HD_WEIGHT_FP4);
}

/* ---- streams --------------------------------------------------------------------------------- */

/* The golden mix is given, the op computes one: row t of x is 1 in column t, so mix[t, k] is
 * fn[k, t] · ρ with one ρ for all, and fn = mix / ρ brings it back to within two roundings. */
static void check_sinkhorn(void)
{
    enum { ROWS = 64, MIX = 24, COLS = 64 };
    const hd_st_tensor *mix = tensor("sinkhorn.mix"), *scale = tensor("sinkhorn.scale");
    static hd_bf16 x[ROWS * COLS];
    static float fn[MIX * COLS];
    float rho = hd_rsqrtf(1.0f / COLS + 1e-6f), scales[3];
    for (size_t i = 0; i < ROWS; i++) {
        x[i * COLS + i] = 0x3f80;
        for (size_t k = 0; k < MIX; k++) fn[k * COLS + i] = at(mix, i * MIX + k) / rho;
    }
    for (size_t i = 0; i < 3; i++) scales[i] = at(scale, i);
    float *pre = devtest_put(t, NULL, ROWS * 4 * sizeof *pre);
    float *post = devtest_put(t, NULL, ROWS * 4 * sizeof *post);
    float *comb = devtest_put(t, NULL, ROWS * 16 * sizeof *comb);
    hd_hc_mix_params p = {.n_rows = ROWS,
                          .dim = COLS / HD_STREAMS,
                          .n_iters = 20,
                          .rms_eps = 1e-6f,
                          .hc_eps = 1e-6f,
                          .x = devtest_put(t, x, sizeof x),
                          .fn = devtest_weight(t, HD_WEIGHT_F32, MIX, COLS, fn, NULL),
                          .scale = devtest_put(t, scales, sizeof scales),
                          .base = on_device("sinkhorn.base"),
                          .mix = devtest_put(t, NULL, ROWS * MIX * sizeof *pre),
                          .pre = pre,
                          .post = post,
                          .comb = comb};
    devtest_check(t, hd_op_hc_mix(t->stream, &p), "hc_mix");
    compare_f32("sinkhorn.mix", p.mix, mix);
    compare_f32("sinkhorn.pre", pre, tensor("sinkhorn.pre"));
    compare_f32("sinkhorn.post", post, tensor("sinkhorn.post"));
    compare_f32("sinkhorn.comb", comb, tensor("sinkhorn.comb"));
}

/* ---- experts --------------------------------------------------------------------------------- */

/* Two experts, both chosen: weights s0 / (s0 + s1) and s1 / (s0 + s1), whose quotient is the
 * golden one. Neighbours in the list are paired; the −100 at its end would be s = 0. */
static void check_sqrt_softplus(void)
{
    const hd_st_tensor *x = tensor("sqrt_softplus.x"), *y = tensor("sqrt_softplus.y");
    enum { ROWS = 36 };
    float z[2 * ROWS], weight[2 * ROWS], bias[2] = {0};
    assert_int_equal(count(x), 2 * ROWS);
    for (size_t i = 0; i < 2 * ROWS; i++) z[i] = at(x, i);
    float *out = devtest_put(t, NULL, sizeof weight);
    hd_route_params p = {.n_rows = ROWS,
                         .n_experts = 2,
                         .n_chosen = 2,
                         .scale = 1.0f,
                         .z = devtest_put(t, z, sizeof z),
                         .bias = devtest_put(t, bias, sizeof bias),
                         .expert = devtest_put(t, NULL, 2 * ROWS * sizeof(int32_t)),
                         .weight = out};
    devtest_check(t, hd_op_route(t->stream, &p), "route");
    devtest_get(t, weight, out, sizeof weight);
    double worst = 0.0;
    for (size_t i = 0; i < 2 * ROWS; i++) {
        double a = (double)at(y, i), b = (double)at(y, i ^ 1u);
        double d = fabs((double)weight[i] - a / (a + b));
        if (!(d <= worst)) worst = d;
    }
    printf("  %-16s %-16s worst error %.2e of the largest\n", t->label, "sqrt_softplus", worst);
    assert_true(worst <= 1e-6);
}

/* The function itself, for its whole range. */
static void test_sqrt_softplus_values(void **state)
{
    (void)state;
    const hd_st_tensor *x = tensor("sqrt_softplus.x"), *y = tensor("sqrt_softplus.y");
    double worst = 0.0;
    for (size_t i = 0; i < count(x); i++) {
        float s = sqrtf(hd_softplusf(at(x, i)));
        if (at(x, i) < -87.0f) { /* softplus below 2^-126 counts as zero */
            assert_true(s == 0.0f && at(y, i) < 1e-18f);
            continue;
        }
        double d = fabs((double)s / (double)at(y, i) - 1.0);
        if (!(d <= worst)) worst = d;
    }
    printf("  %-16s %-16s worst relative error %.2e\n", "hostref", "sqrt_softplus", worst);
    assert_true(worst <= 2e-7);
}

/* ---- index and attention --------------------------------------------------------------------- */

/* The golden keys have values that fq4 made, so quantising them again loses nothing. */
static void pack_index_keys(const hd_st_tensor *k, uint8_t *rows)
{
    for (size_t i = 0; i < count(k); i += HD_FP4_GROUP) {
        hd_bf16 group[HD_FP4_GROUP];
        uint8_t code[HD_FP4_GROUP];
        memcpy(group, k->data + i * sizeof group[0], sizeof group);
        uint8_t *row = rows + i / HD_INDEX_DIM * HD_INDEX_ROW_BYTES;
        size_t g = i % HD_INDEX_DIM / HD_FP4_GROUP;
        row[HD_INDEX_ROW_SCALE_AT + g] = hd_hostref_quant_e2m1(group, HD_FP4_GROUP, code);
        float s = hd_f32_from_e8m0(row[HD_INDEX_ROW_SCALE_AT + g]);
        for (size_t c = 0; c < HD_FP4_GROUP; c++) {
            assert_true(hd_f32_from_e2m1(code[c]) * s == hd_f32_from_bf16(group[c]));
            uint8_t *byte = &row[(g * HD_FP4_GROUP + c) / 2];
            *byte = (uint8_t)(*byte | code[c] << (c % 2 * 4));
        }
    }
}

static void check_index_score(void)
{
    const hd_st_tensor *q = tensor("index_score.q"), *k = tensor("index_score.k");
    enum { ROWS = 5, KEYS = 60, PAGES = 2 };
    assert_true(q->shape[0] == ROWS && k->shape[0] == KEYS);
    static uint8_t pool[PAGES * HD_PAGE_ROWS * HD_INDEX_ROW_BYTES];
    memset(pool, 0, sizeof pool);
    pack_index_keys(k, pool);
    /* Each row is a sequence of its own, all over the same pages and at the position that sees
     * just the golden keys. */
    int32_t page[ROWS * PAGES], index[ROWS], one[ROWS], pos[ROWS];
    for (int32_t i = 0; i < ROWS; i++) {
        page[PAGES * i] = 0;
        page[PAGES * i + 1] = 1;
        index[i] = i;
        one[i] = 1;
        pos[i] = 4 * KEYS - 1;
    }
    hd_step_rows rows = {.n_rows = ROWS,
                         .n_seqs = ROWS,
                         .row_seq = devtest_put(t, index, sizeof index),
                         .row_pos = devtest_put(t, pos, sizeof pos),
                         .seq_row0 = devtest_put(t, index, sizeof index),
                         .seq_len = devtest_put(t, one, sizeof one),
                         .seq_pos0 = devtest_put(t, pos, sizeof pos),
                         .seq_slot = devtest_put(t, index, sizeof index),
                         .end_pos = 4 * KEYS};
    hd_bf16 *score = devtest_put(t, NULL, ROWS * KEYS * sizeof *score);
    hd_index_score_params p = {
        .rows = rows,
        .n_rows = ROWS,
        .n_heads = (int32_t)q->shape[1],
        .factor = 1.0f, /* golden w has it already */
        .q = on_device("index_score.q"),
        .w = on_device("index_score.w"),
        .keys = {devtest_put(t, pool, sizeof pool), devtest_put(t, page, sizeof page), PAGES},
        .n_score = KEYS,
        .score = score};
    devtest_check(t, hd_op_index_score(t->stream, &p), "index_score");
    compare_bf16("index_score", score, tensor("index_score.score"), false);
}

/* The golden keys are plain BF16, which no cache row can hold: the softmax that hostref's
 * attention is made of, fed directly. Devices are compared with hostref elsewhere. */
static void test_sparse_attn(void **state)
{
    (void)state;
    const hd_st_tensor *q = tensor("sparse_attn.q"), *kv = tensor("sparse_attn.kv");
    const hd_st_tensor *idx = tensor("sparse_attn.idx"), *o = tensor("sparse_attn.o");
    size_t n_rows = (size_t)q->shape[0], n_heads = (size_t)q->shape[1];
    size_t n_slots = (size_t)idx->shape[1], n_off = 0;
    int worst = 0;
    static hd_ref_key_block block;
    for (size_t i = 0; i < n_rows * n_heads; i++) {
        hd_ref_softmax softmax;
        float query[HD_HEAD_DIM];
        for (size_t c = 0; c < HD_HEAD_DIM; c++) query[c] = at(q, i * HD_HEAD_DIM + c);
        hd_hostref_attend_init(&softmax);
        for (size_t slot0 = 0; slot0 < n_slots; slot0 += HD_KEY_BLOCK) {
            for (size_t k = 0; k < HD_KEY_BLOCK; k++) {
                int32_t row = -1;
                if (slot0 + k < n_slots)
                    memcpy(&row, idx->data + (i / n_heads * n_slots + slot0 + k) * 4, 4);
                block.is_valid[k] = row >= 0;
                for (size_t c = 0; row >= 0 && c < HD_HEAD_DIM; c++)
                    block.key[k][c] = at(kv, (size_t)row * HD_HEAD_DIM + c);
            }
            hd_hostref_attend_block(&softmax, query, 0.04419417382415922f, &block);
        }
        hd_bf16 out[HD_HEAD_DIM];
        hd_hostref_attend_finish(&softmax, at(tensor("sparse_attn.sink"), i % n_heads), out);
        for (size_t c = 0; c < HD_HEAD_DIM; c++) {
            int steps = bf16_steps(out[c], hd_bf16_from_f32(at(o, i * HD_HEAD_DIM + c)));
            if (steps > worst) worst = steps;
            n_off += steps != 0;
        }
    }
    printf("  %-16s %-16s %zu of %zu differ, at most %d steps\n", "hostref", "sparse_attn", n_off,
           count(o), worst);
    assert_true((double)n_off < 0.01 * (double)count(o));
    assert_true(worst <= 1);
}

/* Eight rows of k and g with all terms in g: ratio 4 with both halves of the channels equal to
 * them and ape 0. The golden result is FP32, the op's is rounded to BF16. */
static void check_compress_pool(void)
{
    const hd_st_tensor *k = tensor("compress_pool.k"), *g = tensor("compress_pool.g");
    enum { ROWS = 8, WIDTH = 512, CHANNELS = 2 * WIDTH };
    static float k2[ROWS * CHANNELS], g2[ROWS * CHANNELS], ape[4 * CHANNELS];
    for (size_t i = 0; i < ROWS * CHANNELS; i++) {
        k2[i] = at(k, i / CHANNELS * WIDTH + i % WIDTH);
        g2[i] = at(g, i / CHANNELS * WIDTH + i % WIDTH);
    }
    int32_t seq[ROWS] = {0}, pos[ROWS], zero = 0, len = ROWS, last = ROWS - 1;
    for (int32_t i = 0; i < ROWS; i++) pos[i] = i;
    hd_step_rows rows = {.n_rows = ROWS,
                         .n_seqs = 1,
                         .row_seq = devtest_put(t, seq, sizeof seq),
                         .row_pos = devtest_put(t, pos, sizeof pos),
                         .seq_row0 = devtest_put(t, &zero, sizeof zero),
                         .seq_len = devtest_put(t, &len, sizeof len),
                         .seq_pos0 = devtest_put(t, &zero, sizeof zero),
                         .seq_slot = devtest_put(t, &zero, sizeof zero),
                         .end_pos = ROWS};
    hd_bf16 *out = devtest_put(t, NULL, WIDTH * sizeof *out);
    size_t carry_bytes = (size_t)hd_carry_slots(4) * 2 * (sizeof k2 / ROWS);
    hd_compress_pool_params p = {.rows = rows,
                                 .ratio = 4,
                                 .width = WIDTH,
                                 .k = devtest_put(t, k2, sizeof k2),
                                 .g = devtest_put(t, g2, sizeof g2),
                                 .ape = devtest_put(t, ape, sizeof ape),
                                 .carry = devtest_put(t, NULL, carry_bytes),
                                 .n_out = 1,
                                 .out_row = devtest_put(t, &last, sizeof last),
                                 .out = out};
    devtest_check(t, hd_op_compress_pool(t->stream, &p), "compress_pool");
    compare_bf16("compress_pool", out, tensor("compress_pool.y"), false);
}

/* ---- all devices ----------------------------------------------------------------------------- */

static void test_devices(void **state)
{
    (void)state;
    static void (*const checks[])(void) = {
        check_actq8,         check_fq8,         check_hadamard,      check_norms,
        check_rope,          check_swiglu,      check_linear,        check_sinkhorn,
        check_sqrt_softplus, check_index_score, check_compress_pool,
    };
    int n_devices = 0;
    for (const devtest_spec *spec = devtest_specs; spec->name; spec++) {
        devtest device;
        if (!devtest_open(&device, spec, NULL)) {
            printf("  %s %s: not here, skipped\n", spec->name, spec->isa ? spec->isa : "");
            continue;
        }
        t = &device;
        for (size_t i = 0; i < HD_COUNT(checks); i++) {
            checks[i]();
            devtest_clear(t);
        }
        devtest_close(t);
        n_devices++;
    }
    assert_true(n_devices >= 4); /* ref plain, deferred and traced, cpu in portable code */
}

int main(void)
{
    hd_err err = {0};
    if (hd_st_open(HD_TEST_DATA "/model/units.safetensors", 0, NULL, &units, &err) != HD_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fq4),
        cmocka_unit_test(test_sqrt_softplus_values),
        cmocka_unit_test(test_sparse_attn),
        cmocka_unit_test(test_devices),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hd_st_close(units);
    return failed;
}
