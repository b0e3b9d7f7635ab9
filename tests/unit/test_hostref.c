/* What the ops' definitions refuse, and what they take for an empty problem. Their values are
 * tested by golden data and, between devices, by the op tests. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "dev/hostref/hostref.h"

static const float weight_data[24 * 64];
static const uint8_t weight_scale[64];

static hd_ref_weight *weight(hd_weight_format format, int32_t rows, int32_t cols)
{
    const void *data = weight_data, *scale = weight_scale;
    hd_weight_desc desc = {format, rows, cols, 1, &data, &scale};
    hd_ref_weight *w = NULL;
    assert_int_equal(hd_ref_weight_create(&desc, &w, NULL), HD_OK);
    return w;
}

#define GIVES(status, name, ...)                                                                   \
    assert_int_equal(hd_hostref_##name(&(hd_##name##_params){__VA_ARGS__}), status)

static void test_negative_sizes(void **state)
{
    (void)state;
    GIVES(HD_E_ARG, embed, .n_rows = -1);
    GIVES(HD_E_ARG, gather_rows, .n_rows = -1);
    GIVES(HD_E_ARG, scatter_rows, .n_rows = -1);
    GIVES(HD_E_ARG, add, .n_rows = 1, .n_repeat = -1);
    GIVES(HD_E_ARG, stream_mean, .n_rows = 1, .dim = 8, .y_stride = 7);
    GIVES(HD_E_ARG, rms_norm, .n_rows = 1, .dim = 0);
    GIVES(HD_E_ARG, q_norm, .n_rows = -1);
    GIVES(HD_E_ARG, rope, .n_rows = 1, .n_heads = 1, .dim = 63);
    GIVES(HD_E_ARG, hadamard_quant, .n_rows = -1);
    GIVES(HD_E_ARG, quantize_act, .n_rows = 1, .dim = 0);
    GIVES(HD_E_ARG, kv_pack, .n_rows = -1);
    GIVES(HD_E_ARG, index_pack, .n_rows = -1);
    GIVES(HD_E_ARG, moe_group, .n_rows = 1, .n_experts = 0, .n_chosen = 1);
    GIVES(HD_E_ARG, swiglu, .n_rows = -1);
    GIVES(HD_E_ARG, combine, .n_rows = 1, .dim = -1);
    GIVES(HD_E_ARG, hc_collapse, .n_rows = -1);
    GIVES(HD_E_ARG, hc_merge, .n_rows = -1);
    GIVES(HD_E_ARG, argmax, .n_rows = 1, .dim = 0);
    GIVES(HD_E_ARG, find_nonfinite, .n = -1);
    GIVES(HD_E_ARG, index_score, .rows = {.n_rows = 4}, .row0 = 2, .n_rows = 3, .n_heads = 1);
    GIVES(HD_E_ARG, top_k, .rows = {.n_rows = 4}, .row0 = -1, .n_rows = 3, .ratio = 4);
    GIVES(HD_E_ARG, attention, .rows = {.n_rows = -1});
    GIVES(HD_E_ARG, compress_pool, .rows = {.n_rows = 1}, .ratio = 4, .width = 0);
}

static void test_what_makes_no_sense(void **state)
{
    (void)state;
    hd_ref_weight *bf16 = weight(HD_WEIGHT_BF16, 24, 64), *f32 = weight(HD_WEIGHT_F32, 24, 64);
    GIVES(HD_E_UNSUPPORTED, embed, .n_rows = 1, .n_copies = 1, .table = &f32->base);
    GIVES(HD_E_ARG, linear, .n_rows = 1, .n_groups = 1);
    GIVES(HD_E_ARG, linear, .n_rows = 1, .n_groups = 5, .w = &bf16->base);
    GIVES(HD_E_ARG, linear, .n_rows = 1, .n_groups = 2, .x_kind = HD_X_ACT, .w = &bf16->base);
    GIVES(HD_E_ARG, grouped_linear, .n_rows = 1);
    GIVES(HD_E_ARG, hc_mix, .n_rows = 1, .dim = 15, .fn = &f32->base);
    GIVES(HD_E_ARG, hc_mix, .n_rows = 1, .dim = 16, .head = true, .fn = &f32->base);
    GIVES(HD_E_ARG, route, .n_rows = 1, .n_experts = 4, .n_chosen = 5);
    GIVES(HD_E_ARG, route, .n_rows = 1, .n_experts = 4, .n_chosen = 2); /* no bias, no table */
    GIVES(HD_E_UNSUPPORTED, route, .n_experts = 5000, .n_chosen = 2, .bias = weight_data);
    GIVES(HD_E_UNSUPPORTED, compress_pool, .ratio = 8, .width = 512);
    GIVES(HD_E_UNSUPPORTED, index_score, .n_heads = 0);
    GIVES(HD_E_UNSUPPORTED, attention, .kind = HD_ATTN_DRAFT, .ratio = 4);
    hd_ref_weight_destroy(bf16);
    hd_ref_weight_destroy(f32);
}

static void test_empty_problems(void **state)
{
    (void)state;
    hd_ref_weight *w = weight(HD_WEIGHT_F32, 24, 64);
    int32_t offset[3] = {7, 7, 7};
    GIVES(HD_OK, embed, .n_copies = 4);
    GIVES(HD_OK, rms_norm, .dim = 8);
    GIVES(HD_OK, quantize_act, .dim = 8);
    GIVES(HD_OK, linear, .n_groups = 1, .w = &w->base);
    GIVES(HD_OK, grouped_linear, .w = &w->base);
    GIVES(HD_OK, hc_mix, .dim = 16, .fn = &w->base);
    GIVES(HD_OK, attention, .n_heads = 3);
    GIVES(HD_OK, moe_group, .n_experts = 2, .n_chosen = 1, .offset = offset);
    for (int i = 0; i < 3; i++) assert_int_equal(offset[i], 7); /* nothing is done */
    hd_ref_weight_destroy(w);
}

static void test_weight_errors(void **state)
{
    (void)state;
    const void *data = weight_data, *scale = weight_scale;
    hd_ref_weight *w = NULL;
    hd_err err = {0};
    hd_weight_desc desc = {HD_WEIGHT_FP4, 8, 48, 1, &data, &scale};
    assert_int_equal(hd_ref_weight_create(&desc, &w, &err), HD_E_ARG);
    assert_string_equal(err.text, "FP4 weight with 48 columns, expected a multiple of 32");
    desc.cols = 0;
    assert_int_equal(hd_ref_weight_create(&desc, &w, &err), HD_E_ARG);
    desc.cols = 64;
    hd_mem_fail_after(0);
    assert_int_equal(hd_ref_weight_create(&desc, &w, &err), HD_E_NOMEM);
    hd_mem_fail_after(-1);
    assert_null(w);
    hd_ref_weight_destroy(NULL);
}

/* A fresh sequence has garbage in its carry; NaN there must not come out. */
static void test_fresh_carry(void **state)
{
    (void)state;
    enum { N = 4, WIDTH = 1, CHANNELS = 2 };
    int32_t seq[N] = {0}, pos[N] = {0, 1, 2, 3}, zero = 0, len = N, last = N - 1;
    float k[N * CHANNELS], g[N * CHANNELS] = {0}, ape[4 * CHANNELS] = {0}, carry[8 * 2 * CHANNELS];
    for (int i = 0; i < N * CHANNELS; i++) k[i] = (float)i;
    for (size_t i = 0; i < sizeof carry / sizeof carry[0]; i++) carry[i] = NAN;
    hd_bf16 out;
    hd_step_rows rows = {.n_rows = N,
                         .n_seqs = 1,
                         .row_seq = seq,
                         .row_pos = pos,
                         .seq_row0 = &zero,
                         .seq_len = &len,
                         .seq_pos0 = &zero,
                         .seq_slot = &zero};
    GIVES(HD_OK, compress_pool, rows, 4, WIDTH, k, g, ape, carry, 1, &last, &out);
    /* Equal gates: the mean of half b, channels 1, 3, 5, 7 of the four rows. */
    assert_true(hd_f32_from_bf16(out) == 4.0f);
    /* Position 2 in slot 2: k, then g + ape. */
    assert_true(carry[2 * 2 * CHANNELS + 1] == 5.0f && carry[2 * 2 * CHANNELS + CHANNELS] == 0.0f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_negative_sizes), cmocka_unit_test(test_what_makes_no_sense),
        cmocka_unit_test(test_empty_problems), cmocka_unit_test(test_weight_errors),
        cmocka_unit_test(test_fresh_carry),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
