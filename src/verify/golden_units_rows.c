/* Single primitives that work row by row, against golden values (golden_units.c): quantisers,
 * norms, rotation, linear layers, activation functions, mixing of streams. Two differences follow
 * from the numerics contract: subnormals count as zero, and what sums may be a step away. */
#include <math.h>
#include <stdio.h>

#include "base/mem.h"
#include "dev/hostref/attend.h"
#include "verify/golden_units.h"

static hd_weight *weight(const hd_units *u, hd_weight_format format, int32_t rows, int32_t cols,
                         const void *data, const void *scale)
{
    return hd_opdev_pack(u->d, &(hd_weight_desc){.format = format,
                                                 .rows = rows,
                                                 .cols = cols,
                                                 .n_parts = 1,
                                                 .data = &data,
                                                 .scale = scale ? &scale : NULL});
}

/* ---- quantisers ------------------------------------------------------------------------------ */

static void check_actq8(const hd_units *u)
{
    const hd_st_tensor *q = hd_units_tensor(u, "actq8_b128.q"),
                       *scale = hd_units_tensor(u, "actq8_b128.scale");
    int32_t rows = (int32_t)q->shape[0], cols = (int32_t)q->shape[1];
    size_t n = hd_units_count(q), bytes = hd_act_bytes(u->d->dev, rows, cols), n_off = 0;
    void *act = hd_opdev_put(u->d, NULL, bytes);
    hd_quantize_act_params p = {rows, cols, hd_units_put(u, "actq8_b128.x"), act};
    HD_OPDEV_SUBMIT(u->d, quantize_act, &p);
    uint8_t *host = hd_mem_calloc(bytes, 1);
    float *values = hd_mem_calloc(n, sizeof *values);
    hd_opdev_get(u->d, host, act, bytes);
    hd_opdev_act_values(u->d->dev, host, rows, cols, values);
    for (size_t i = 0; i < n; i++) {
        hd_e8m0 s = scale->data[i / HD_ACT_GROUP];
        n_off += hd_f32_from_e4m3(q->data[i]) * hd_f32_from_e8m0(s) != values[i];
    }
    if (u->d->dev->props.act_format == HD_ACT_E4M3) { /* the codes and scales themselves */
        n_off += memcmp(host, q->data, n) != 0;
        n_off += memcmp(host + (n + 63) / 64 * 64, scale->data, hd_units_count(scale)) != 0;
    }
    hd_mem_free(host);
    hd_mem_free(values);
    hd_units_report_steps(u, "actq8_b128", false, n_off, n, 0);
}

/* fq8: through kv_pack, which takes 64 more columns that stay as they are. */
static void check_fq8(const hd_units *u)
{
    const hd_st_tensor *x = hd_units_tensor(u, "fq8_b64.x"), *y = hd_units_tensor(u, "fq8_b64.y");
    int32_t rows = (int32_t)x->shape[0];
    hd_bf16 *full = hd_mem_calloc((size_t)rows * HD_HEAD_DIM, sizeof *full);
    for (int32_t r = 0; r < rows; r++)
        for (int32_t c = 0; c < HD_HEAD_DIM; c++)
            full[r * HD_HEAD_DIM + c] =
                c < HD_NOPE_DIM ? hd_bf16_from_f32(hd_units_at(x, (size_t)(r * HD_NOPE_DIM + c)))
                                : (hd_bf16)(0x3f80 + c);
    uint8_t *packed = hd_opdev_put(u->d, NULL, (size_t)rows * HD_KV_ROW_BYTES);
    hd_kv_pack_params p = {
        rows, hd_opdev_put(u->d, full, (size_t)rows * HD_HEAD_DIM * sizeof *full), packed};
    HD_OPDEV_SUBMIT(u->d, kv_pack, &p);
    uint8_t *host = hd_mem_calloc((size_t)rows, HD_KV_ROW_BYTES);
    hd_opdev_get(u->d, host, packed, (size_t)rows * HD_KV_ROW_BYTES);
    size_t n_off = 0;
    for (int32_t r = 0; r < rows; r++) {
        float row[HD_HEAD_DIM];
        hd_hostref_kv_row(host + r * HD_KV_ROW_BYTES, row);
        for (int32_t c = 0; c < HD_HEAD_DIM; c++) {
            float expected = c < HD_NOPE_DIM ? hd_units_at(y, (size_t)(r * HD_NOPE_DIM + c))
                                             : hd_f32_from_bf16(full[r * HD_HEAD_DIM + c]);
            n_off += row[c] != expected;
        }
        n_off += host[(r + 1) * HD_KV_ROW_BYTES - 1] != 0;
    }
    hd_mem_free(full);
    hd_mem_free(host);
    hd_units_report_steps(u, "fq8_b64", false, n_off, hd_units_count(y), 0);
}

/* fq4 has no op of its own: the quantiser that hostref's ops call. Where golden values or inputs
 * are subnormal, ours is zero. */
static void ref_fq4(const hd_units *u)
{
    const hd_st_tensor *x = hd_units_tensor(u, "fq4_b32.x"), *y = hd_units_tensor(u, "fq4_b32.y");
    unsigned fp_state = hd_fp_flush_subnormals();
    size_t n_off = 0;
    for (size_t i = 0; i < hd_units_count(x); i += HD_FP4_GROUP) {
        hd_bf16 group[HD_FP4_GROUP];
        uint8_t code[HD_FP4_GROUP];
        memcpy(group, x->data + i * sizeof group[0], sizeof group);
        float s = hd_f32_from_e8m0(hd_hostref_quant_e2m1(group, HD_FP4_GROUP, code));
        for (size_t c = 0; c < HD_FP4_GROUP; c++) {
            uint32_t in = hd_f32_bits(hd_units_at(x, i + c)) & 0x7fffffffu;
            uint32_t out = hd_f32_bits(hd_units_at(y, i + c)) & 0x7fffffffu;
            bool is_flushed = (in && in < 0x800000u) || (out && out < 0x800000u);
            float expected = is_flushed ? 0.0f : hd_units_at(y, i + c);
            n_off += hd_f32_from_e2m1(code[c]) * s != expected;
        }
    }
    hd_fp_restore(fp_state);
    hd_units_report_steps(u, "fq4_b32", false, n_off, hd_units_count(y), 0);
}

/* hadamard.y is the transform alone; the op goes on to fq4, tested above, so expect fq4 of it. The
 * transform sums, so a step may differ: that is at most one code. */
static void check_hadamard(const hd_units *u)
{
    const hd_st_tensor *y = hd_units_tensor(u, "hadamard.y");
    int32_t rows = (int32_t)y->shape[0];
    size_t n = hd_units_count(y), n_off = 0;
    hd_bf16 *x = hd_units_put(u, "hadamard.x");
    hd_hadamard_quant_params p = {rows, x};
    HD_OPDEV_SUBMIT(u->d, hadamard_quant, &p);
    hd_bf16 *host = hd_mem_calloc(n, sizeof *host);
    hd_opdev_get(u->d, host, x, n * sizeof *host);
    for (size_t i = 0; i < n; i += HD_FP4_GROUP) {
        hd_bf16 group[HD_FP4_GROUP];
        uint8_t code[HD_FP4_GROUP];
        memcpy(group, y->data + i * sizeof group[0], sizeof group);
        float s = hd_f32_from_e8m0(hd_hostref_quant_e2m1(group, HD_FP4_GROUP, code));
        for (size_t c = 0; c < HD_FP4_GROUP; c++)
            n_off += hd_f32_from_e2m1(code[c]) * s != hd_f32_from_bf16(host[i + c]);
    }
    hd_mem_free(host);
    hd_units_report_steps(u, "hadamard", true, n_off, n, 1);
}

/* ---- norms, rope, elementwise ---------------------------------------------------------------- */

static void check_norms(const hd_units *u)
{
    const hd_st_tensor *x = hd_units_tensor(u, "rms_norm.x"),
                       *q = hd_units_tensor(u, "q_norm_head.x");
    hd_bf16 *y = hd_opdev_put(u->d, NULL, x->n_bytes), *heads = hd_units_put(u, "q_norm_head.x");
    hd_rms_norm_params p = {.n_rows = (int32_t)x->shape[0],
                            .dim = (int32_t)x->shape[1],
                            .eps = 1e-6f,
                            .x = hd_units_put(u, "rms_norm.x"),
                            .w = hd_units_put(u, "rms_norm.w"),
                            .y = y};
    HD_OPDEV_SUBMIT(u->d, rms_norm, &p);
    hd_units_compare_bf16(u, "rms_norm", y, hd_units_tensor(u, "rms_norm.y"), true);
    hd_q_norm_params qp = {(int32_t)q->shape[0] / 4, 4, 1e-6f, heads};
    HD_OPDEV_SUBMIT(u->d, q_norm, &qp);
    hd_units_compare_bf16(u, "q_norm_head", heads, hd_units_tensor(u, "q_norm_head.y"), true);
}

static void check_rope_table(const hd_units *u, const char *table)
{
    char name[40];
    snprintf(name, sizeof name, "%s.x", table);
    const char *x_name = name;
    const hd_st_tensor *x = hd_units_tensor(u, x_name);
    int32_t rows = (int32_t)x->shape[0];
    for (int inverse = 0; inverse < 2; inverse++) {
        float cos_sin[64 * HD_ROPE_DIM];
        for (int which = 0; which < 2; which++) {
            snprintf(name, sizeof name, "%s.%s", table, which ? "sin" : "cos");
            const hd_st_tensor *c = hd_units_tensor(u, name);
            for (int32_t i = 0; i < rows * 32; i++)
                cos_sin[i / 32 * 64 + which * 32 + i % 32] = hd_units_at(c, (size_t)i);
        }
        hd_bf16 *y = hd_opdev_put(u->d, x->data, x->n_bytes);
        hd_rope_params p = {
            .n_rows = rows,
            .n_heads = 1,
            .dim = HD_ROPE_DIM,
            .inverse = inverse,
            .cos_sin = hd_opdev_put(u->d, cos_sin, (size_t)rows * HD_ROPE_DIM * sizeof(float)),
            .x = y};
        HD_OPDEV_SUBMIT(u->d, rope, &p);
        snprintf(name, sizeof name, "%s.%s", table, inverse ? "y_inverse" : "y");
        hd_units_compare_bf16(u, name, y, hd_units_tensor(u, name), false);
    }
}

static void check_rope(const hd_units *u)
{
    check_rope_table(u, "rope_plain");
    check_rope_table(u, "rope_yarn");
}

static void check_swiglu(const hd_units *u)
{
    const hd_st_tensor *g = hd_units_tensor(u, "swiglu.gate");
    hd_bf16 *y = hd_opdev_put(u->d, NULL, g->n_bytes);
    hd_swiglu_params p = {.n_rows = (int32_t)g->shape[0],
                          .dim = (int32_t)g->shape[1],
                          .limit = 10.0f,
                          .gate = hd_units_put(u, "swiglu.gate"),
                          .up = hd_units_put(u, "swiglu.up"),
                          .weight = hd_units_put(u, "swiglu.weight"),
                          .y = y};
    HD_OPDEV_SUBMIT(u->d, swiglu, &p);
    hd_units_compare_bf16(u, "swiglu", y, hd_units_tensor(u, "swiglu.y"), true);
}

/* ---- linear ---------------------------------------------------------------------------------- */

static void check_linear_format(const hd_units *u, const char *name, hd_weight_format format)
{
    char text[40];
    snprintf(text, sizeof text, "%s.x", name);
    const hd_st_tensor *x = hd_units_tensor(u, text);
    int32_t rows = (int32_t)x->shape[0], cols = (int32_t)x->shape[1];
    const void *input = hd_opdev_put(u->d, x->data, x->n_bytes);
    bool is_quantised = format != HD_WEIGHT_BF16;
    snprintf(text, sizeof text, "%s.w", name);
    const hd_st_tensor *w = hd_units_tensor(u, text);
    const hd_st_tensor *scale = NULL;
    if (is_quantised) {
        void *act = hd_opdev_put(u->d, NULL, hd_act_bytes(u->d->dev, rows, cols));
        hd_quantize_act_params qp = {rows, cols, input, act};
        HD_OPDEV_SUBMIT(u->d, quantize_act, &qp);
        input = act;
        snprintf(text, sizeof text, "%s.scale", name);
        scale = hd_units_tensor(u, text);
    }
    snprintf(text, sizeof text, "%s.y", name);
    const hd_st_tensor *golden = hd_units_tensor(u, text);
    hd_bf16 *y = hd_opdev_put(u->d, NULL, golden->n_bytes);
    hd_linear_params p = {
        .n_rows = rows,
        .n_groups = 1,
        .x_kind = is_quantised ? HD_X_ACT : HD_X_BF16,
        .y_kind = HD_Y_BF16,
        .x = input,
        .w = weight(u, format, (int32_t)w->shape[0], cols, w->data, scale ? scale->data : NULL),
        .y = y};
    HD_OPDEV_SUBMIT(u->d, linear, &p);
    hd_units_compare_bf16(u, name, y, golden, true);
}

static void check_linear(const hd_units *u)
{
    check_linear_format(u, "linear_bf16", HD_WEIGHT_BF16);
    check_linear_format(u, "linear_fp8", HD_WEIGHT_FP8);
    check_linear_format(u, "linear_fp4", HD_WEIGHT_FP4);
}

/* ---- streams --------------------------------------------------------------------------------- */

/* The golden mix is given, the op computes one: row t of x is 1 in column t, so mix[t, k] is
 * fn[k, t] · ρ with one ρ for all, and fn = mix / ρ brings it back to within two roundings. */
static void check_sinkhorn(const hd_units *u)
{
    enum { ROWS = 64, MIX = 24, COLS = 64 };
    const hd_st_tensor *mix = hd_units_tensor(u, "sinkhorn.mix"),
                       *scale = hd_units_tensor(u, "sinkhorn.scale");
    static hd_bf16 x[ROWS * COLS];
    static float fn[MIX * COLS];
    float rho = hd_rsqrtf(1.0f / COLS + 1e-6f), scales[3];
    for (size_t i = 0; i < ROWS; i++) {
        x[i * COLS + i] = 0x3f80;
        for (size_t k = 0; k < MIX; k++) fn[k * COLS + i] = hd_units_at(mix, i * MIX + k) / rho;
    }
    for (size_t i = 0; i < 3; i++) scales[i] = hd_units_at(scale, i);
    float *pre = hd_opdev_put(u->d, NULL, ROWS * 4 * sizeof *pre);
    float *post = hd_opdev_put(u->d, NULL, ROWS * 4 * sizeof *post);
    float *comb = hd_opdev_put(u->d, NULL, ROWS * 16 * sizeof *comb);
    hd_hc_mix_params p = {.n_rows = ROWS,
                          .dim = COLS / HD_STREAMS,
                          .n_iters = 20,
                          .rms_eps = 1e-6f,
                          .hc_eps = 1e-6f,
                          .x = hd_opdev_put(u->d, x, sizeof x),
                          .fn = weight(u, HD_WEIGHT_F32, MIX, COLS, fn, NULL),
                          .scale = hd_opdev_put(u->d, scales, sizeof scales),
                          .base = hd_units_put(u, "sinkhorn.base"),
                          .mix = hd_opdev_put(u->d, NULL, ROWS * MIX * sizeof *pre),
                          .pre = pre,
                          .post = post,
                          .comb = comb};
    HD_OPDEV_SUBMIT(u->d, hc_mix, &p);
    hd_units_compare_f32(u, "sinkhorn.mix", p.mix, mix);
    hd_units_compare_f32(u, "sinkhorn.pre", pre, hd_units_tensor(u, "sinkhorn.pre"));
    hd_units_compare_f32(u, "sinkhorn.post", post, hd_units_tensor(u, "sinkhorn.post"));
    hd_units_compare_f32(u, "sinkhorn.comb", comb, hd_units_tensor(u, "sinkhorn.comb"));
}

/* ---- experts --------------------------------------------------------------------------------- */

/* Two experts, both chosen: weights s0 / (s0 + s1) and s1 / (s0 + s1), whose quotient is the
 * golden one. Neighbours in the list are paired; the −100 at its end would be s = 0. */
static void check_sqrt_softplus(const hd_units *u)
{
    const hd_st_tensor *x = hd_units_tensor(u, "sqrt_softplus.x"),
                       *y = hd_units_tensor(u, "sqrt_softplus.y");
    enum { ROWS = 36 };
    float z[2 * ROWS], weight[2 * ROWS], bias[2] = {0};
    for (size_t i = 0; i < 2 * ROWS; i++) z[i] = hd_units_at(x, i);
    float *out = hd_opdev_put(u->d, NULL, sizeof weight);
    hd_route_params p = {.n_rows = ROWS,
                         .n_experts = 2,
                         .n_chosen = 2,
                         .scale = 1.0f,
                         .z = hd_opdev_put(u->d, z, sizeof z),
                         .bias = hd_opdev_put(u->d, bias, sizeof bias),
                         .expert = hd_opdev_put(u->d, NULL, 2 * ROWS * sizeof(int32_t)),
                         .weight = out};
    HD_OPDEV_SUBMIT(u->d, route, &p);
    hd_opdev_get(u->d, weight, out, sizeof weight);
    double worst = 0.0;
    for (size_t i = 0; i < 2 * ROWS; i++) {
        double a = (double)hd_units_at(y, i), b = (double)hd_units_at(y, i ^ 1u);
        double d = fabs((double)weight[i] - a / (a + b));
        if (!(d <= worst)) worst = d;
    }
    hd_units_report(u, "sqrt_softplus", worst, 1e-6);
}

/* The function itself, for its whole range. */
static void ref_sqrt_softplus_values(const hd_units *u)
{
    const hd_st_tensor *x = hd_units_tensor(u, "sqrt_softplus.x"),
                       *y = hd_units_tensor(u, "sqrt_softplus.y");
    double worst = 0.0;
    for (size_t i = 0; i < hd_units_count(x); i++) {
        float s = sqrtf(hd_softplusf(hd_units_at(x, i)));
        if (hd_units_at(x, i) < -87.0f) { /* softplus below 2^-126 counts as zero */
            if (s != 0.0f || hd_units_at(y, i) >= 1e-18f) worst = 1.0;
            continue;
        }
        double d = fabs((double)s / (double)hd_units_at(y, i) - 1.0);
        if (!(d <= worst)) worst = d;
    }
    hd_units_report(u, "sqrt_softplus of hostref", worst, 2e-7);
}

/* ---- all of them ----------------------------------------------------------------------------- */

void hd_units_check_rows(const hd_units *u)
{
    check_actq8(u);
    check_fq8(u);
    check_hadamard(u);
    check_norms(u);
    check_rope(u);
    check_swiglu(u);
    check_linear(u);
    check_sinkhorn(u);
    check_sqrt_softplus(u);
}

void hd_units_check_rows_ref(const hd_units *u)
{
    ref_fq4(u);
    ref_sqrt_softplus_values(u);
}
