/* What trace knows about each op: for every op one good call on memory of exactly the right sizes
 * (worked out here from the comments in params.h), which must pass; then the same call with each
 * pointer in turn NULL, and moved on by 16 bytes, which must be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "dev/dev.h"
#include "support/fakedev.h"
#include "support/tmpdir.h"

enum { T = 3, S = 2, D = 256, H = 2, E = 6, K = 2, F = 128, N = 5, END = 300, PAGES = 10 };
enum { BF16 = 2, F32 = 4, I32 = 4, MAX_BUFFERS = 512 };

static hd_dev *dev;
static hd_stream *stream;
static void *buffer[MAX_BUFFERS]; /* allocations and weights of all calls */
static int n_buffers;
static hd_weight *weights[8];

static void *mem(size_t bytes)
{
    void *p;
    assert_int_equal(dev->mem.alloc(dev, bytes, &p, NULL), HD_OK);
    assert_true(n_buffers < MAX_BUFFERS);
    buffer[n_buffers++] = p;
    return p;
}

static hd_weight *weight(hd_weight_format format, int32_t rows, int32_t cols, int32_t n_parts)
{
    hd_weight_desc desc = {.format = format, .rows = rows, .cols = cols, .n_parts = n_parts};
    hd_weight *w;
    assert_int_equal(dev->mem.pack(dev, &desc, &w, NULL), HD_OK);
    for (size_t i = 0; i < HD_COUNT(weights); i++)
        if (!weights[i]) {
            weights[i] = w;
            return w;
        }
    fail_msg("too many weights");
    return NULL;
}

/* e4m3 [rows, cols], then e8m0 [rows, ceil(cols / 128)] at the next multiple of 64. */
static void *act(int rows, int cols)
{
    return mem((size_t)((rows * cols + 63) / 64 * 64 + rows * ((cols + 127) / 128)));
}

static hd_status submit(hd_op op, const void *p)
{
    switch (op) {
#define CASE(name)                                                                                 \
    case HD_OP_##name: return hd_op_##name(stream, p);
        HD_OPS(CASE)
#undef CASE
    default: return HD_E_BUG;
    }
}

static bool is_buffer(const void *p)
{
    for (int i = 0; i < n_buffers; i++)
        if (buffer[i] == p) return true;
    for (size_t i = 0; i < HD_COUNT(weights); i++)
        if (weights[i] && weights[i] == p) return true;
    return false;
}

static bool tried[HD_OP_COUNT];

/* `optional`: offsets of members that may be NULL, ended by a 0. */
static void try_call(hd_op op, const void *good, const size_t *optional)
{
    size_t bytes = hd_op_params_size(op);
    int n_pointers = 0;
    _Alignas(8) uint8_t bad[sizeof(fake_params)];
    if (submit(op, good) != HD_OK) fail_msg("good call of %s refused", hd_op_name(op));
    for (size_t at = 0; at + sizeof(void *) <= bytes; at += sizeof(void *)) {
        uint8_t *p;
        bool may_be_null = false;
        memcpy(&p, (const uint8_t *)good + at, sizeof p);
        if (!p || !is_buffer(p)) continue;
        n_pointers++;
        for (const size_t *o = optional; o && *o; o++) may_be_null = may_be_null || *o == at;
        memcpy(bad, good, bytes);
        memset(bad + at, 0, sizeof(void *));
        if (!may_be_null && submit(op, bad) != HD_E_ARG)
            fail_msg("%s: NULL at offset %zu passed", hd_op_name(op), at);
        p += 16;
        memcpy(bad + at, &p, sizeof p);
        if (submit(op, bad) != HD_E_ARG)
            fail_msg("%s: pointer at offset %zu may move on", hd_op_name(op), at);
    }
    assert_true(n_pointers > 0);
    tried[op] = true;
}
#define TRY(name, ...) try_call(HD_OP_##name, &(const hd_##name##_params){__VA_ARGS__}, NULL)
#define OPTIONAL(...)  ((const size_t[]){__VA_ARGS__, 0})

static hd_step_rows step(void)
{
    return (hd_step_rows){.n_rows = T,
                          .n_seqs = S,
                          .row_seq = mem(T * I32),
                          .row_pos = mem(T * I32),
                          .seq_row0 = mem(S * I32),
                          .seq_len = mem(S * I32),
                          .seq_pos0 = mem(S * I32),
                          .seq_slot = mem(S * I32),
                          .end_pos = END};
}

static hd_paged_rows paged(size_t row_bytes, int32_t max_pages)
{
    return (hd_paged_rows){mem(32 * row_bytes), mem((size_t)(S * max_pages) * I32), max_pages};
}

static void rows_and_norms(void **state)
{
    (void)state;
    TRY(embed, .n_rows = T, .n_copies = 4, .id = mem(T * I32),
        .table = weight(HD_WEIGHT_BF16, 16, D, 1), .y = mem(T * 4 * D * BF16));
    TRY(gather_rows, .n_rows = T, .row_bytes = 48, .src = mem(48), .row = mem(T * I32),
        .dst = mem(T * 48));
    TRY(scatter_rows, .n_rows = T, .row_bytes = 48, .src = mem(T * 48), .row = mem(T * I32),
        .dst = mem(48));
    TRY(add, .kind = HD_Y_BF16, .n_rows = T, .n_repeat = 4, .dim = D, .a = mem(T * D * BF16),
        .b = mem(T * 4 * D * BF16), .y = mem(T * 4 * D * BF16));
    TRY(add, .kind = HD_Y_F32, .n_rows = T, .n_repeat = 1, .dim = D, .a = mem(T * D * F32),
        .b = mem(T * D * F32), .y = mem(T * D * F32));
    TRY(stream_mean, .n_rows = T, .dim = D, .x = mem(T * 4 * D * BF16), .y_stride = 3 * D,
        .y = mem((2 * 3 * D + D) * BF16));
    TRY(rms_norm, .n_rows = T, .dim = D, .x = mem(T * D * BF16), .w = mem(D * BF16),
        .y = mem(T * D * BF16));
    TRY(q_norm, .n_rows = T, .n_heads = H, .q = mem(T * H * 512 * BF16));
    TRY(rope, .n_rows = T, .n_heads = H, .dim = 128, .cos_sin = mem(T * 64 * F32),
        .x = mem(T * H * 128 * BF16));
    TRY(hadamard_quant, .n_rows = T, .x = mem(T * 128 * BF16));
    TRY(quantize_act, .n_rows = T, .dim = D, .x = mem(T * D * BF16), .act = act(T, D));
}

static void linear_and_caches(void **state)
{
    (void)state;
    TRY(linear, .n_rows = T, .n_groups = 2, .x_kind = HD_X_BF16, .y_kind = HD_Y_F32,
        .x = mem(T * 2 * D * BF16), .w = weight(HD_WEIGHT_BF16, 6, D, 1), .y = mem(T * 6 * F32));
    TRY(linear, .n_rows = T, .n_groups = 1, .x_kind = HD_X_ACT, .x = act(T, 200),
        .w = weight(HD_WEIGHT_FP8, 8, 200, 1), .y = mem(T * 8 * BF16));
    TRY(kv_pack, .n_rows = T, .x = mem(T * 512 * BF16), .rows = mem(T * 584));
    TRY(index_pack, .n_rows = T, .x = mem(T * 128 * BF16), .rows = mem(T * 68));
    TRY(compress_pool, .rows = step(), .ratio = 4, .width = 128, .k = mem(T * 256 * F32),
        .g = mem(T * 256 * F32), .ape = mem(4 * 256 * F32), .carry = mem(24 * 2 * 256 * F32),
        .n_out = 2, .out_row = mem(2 * I32), .out = mem(2 * 128 * BF16));
    TRY(compress_pool, .rows = step(), .ratio = 128, .width = 512, .k = mem(T * 512 * F32),
        .g = mem(T * 512 * F32), .ape = mem(128 * 512 * F32), .carry = mem(136 * 2 * 512 * F32));
}

static void index_and_attention(void **state)
{
    (void)state;
    enum { ENTRIES = END / 4, INDEX_PAGES = 3 };
    TRY(index_score, .rows = step(), .row0 = 1, .n_rows = 2, .n_heads = H,
        .q = mem(T * H * 128 * BF16), .w = mem(T * H * BF16), .keys = paged(68, INDEX_PAGES),
        .n_score = ENTRIES, .score = mem(2 * ENTRIES * BF16));
    TRY(top_k, .rows = step(), .row0 = 1, .n_rows = 2, .ratio = 4, .k = N, .n_score = ENTRIES,
        .score = mem(2 * ENTRIES * BF16), .sel = mem(T * N * I32));
    hd_attention_params p = {.rows = step(),
                             .kind = HD_ATTN_CAUSAL,
                             .n_heads = H,
                             .q = mem(T * H * 512 * BF16),
                             .new_rows = mem(T * 584),
                             .window = paged(584, 8),
                             .ratio = 4,
                             .compressed = paged(584, PAGES),
                             .sel = mem(T * N * I32),
                             .n_sel = N,
                             .sink = mem(H * F32),
                             .o = mem(T * H * 512 * BF16)};
    try_call(HD_OP_attention, &p, OPTIONAL(offsetof(hd_attention_params, sel)));
    p.kind = HD_ATTN_DRAFT;
    assert_int_equal(hd_op_attention(stream, &p), HD_E_ARG);
    TRY(index_topk, .rows = step(), .n_heads = H, .k = N, .n_score = ENTRIES,
        .q = mem(T * H * 128 * BF16), .w = mem(T * H * BF16), .keys = paged(68, INDEX_PAGES),
        .sel = mem(T * N * I32), .work = mem(7));
}

static void experts(void **state)
{
    (void)state;
    hd_weight *w1 = weight(HD_WEIGHT_FP4, F, D, E), *w3 = weight(HD_WEIGHT_FP4, F, D, E);
    hd_weight *w2 = weight(HD_WEIGHT_FP4, D, F, E);
    TRY(route, .n_rows = T, .n_experts = E, .n_chosen = K, .z = mem(T * E * F32),
        .bias = mem(E * F32), .expert = mem(T * K * I32), .weight = mem(T * K * F32));
    TRY(route, .n_rows = T, .n_experts = E, .n_chosen = K, .z = mem(T * E * F32),
        .tid2eid = mem(K * 8), .id = mem(T * I32), .expert = mem(T * K * I32),
        .weight = mem(T * K * F32));
    TRY(moe_group, .n_rows = T, .n_experts = E, .n_chosen = K, .expert = mem(T * K * I32),
        .order = mem(T * K * I32), .place = mem(T * K * I32), .offset = mem((E + 1) * I32));
    hd_grouped_linear_params g = {.n_rows = T * K,
                                  .n_x_rows = T,
                                  .x_kind = HD_X_ACT,
                                  .x = act(T, D),
                                  .order = mem(T * K * I32),
                                  .divisor = K,
                                  .offset = mem((E + 1) * I32),
                                  .w = w1,
                                  .y = mem(T * K * F * BF16)};
    try_call(HD_OP_grouped_linear, &g, OPTIONAL(offsetof(hd_grouped_linear_params, order)));
    hd_swiglu_params s = {.n_rows = T,
                          .dim = F,
                          .gate = mem(T * F * BF16),
                          .up = mem(T * F * BF16),
                          .weight = mem(T * F32),
                          .order = mem(T * I32),
                          .y = mem(T * F * BF16)};
    try_call(HD_OP_swiglu, &s,
             OPTIONAL(offsetof(hd_swiglu_params, weight), offsetof(hd_swiglu_params, order)));
    TRY(combine, .n_rows = T, .n_chosen = K, .dim = D, .expert_y = mem(T * K * D * BF16),
        .place = mem(T * K * I32), .shared = mem(T * D * BF16), .y = mem(T * D * BF16));
    hd_moe_experts_params m = {.n_rows = T * K,
                               .n_x_rows = T,
                               .divisor = K,
                               .x = act(T, D),
                               .order = mem(T * K * I32),
                               .offset = mem((E + 1) * I32),
                               .weight = mem(T * K * F32),
                               .w1 = w1,
                               .w3 = w3,
                               .w2 = w2,
                               .y = mem(T * K * D * BF16),
                               .work = mem(7)};
    try_call(
        HD_OP_moe_experts, &m,
        OPTIONAL(offsetof(hd_moe_experts_params, order), offsetof(hd_moe_experts_params, weight)));
    m.w2 = w1;
    assert_int_equal(hd_op_moe_experts(stream, &m), HD_E_ARG);
}

static hd_hc_mix_params mix(bool head)
{
    int n = head ? 4 : 24;
    return (hd_hc_mix_params){.n_rows = T,
                              .dim = D,
                              .head = head,
                              .x = mem(T * 4 * D * BF16),
                              .fn = weight(HD_WEIGHT_F32, n, 4 * D, 1),
                              .scale = mem(head ? F32 : 3 * F32),
                              .base = mem((size_t)n * F32),
                              .mix = mem((size_t)(T * n) * F32),
                              .pre = mem(T * 4 * F32),
                              .post = head ? NULL : mem(T * 4 * F32),
                              .comb = head ? NULL : mem(T * 16 * F32)};
}

static void residual_streams_and_head(void **state)
{
    (void)state;
    hd_hc_mix_params m = mix(false), head = mix(true);
    try_call(HD_OP_hc_mix, &m, NULL);
    try_call(HD_OP_hc_mix, &head, NULL);
    head.head = false; /* fn of the head's shape */
    assert_int_equal(hd_op_hc_mix(stream, &head), HD_E_ARG);
    TRY(hc_collapse, .n_rows = T, .dim = D, .x = mem(T * 4 * D * BF16), .pre = mem(T * 4 * F32),
        .y = mem(T * D * BF16));
    TRY(hc_merge, .n_rows = T, .dim = D, .z = mem(T * D * BF16), .x = mem(T * 4 * D * BF16),
        .post = mem(T * 4 * F32), .comb = mem(T * 16 * F32), .y = mem(T * 4 * D * BF16));
    TRY(hc_pre, .mix = m, .norm = mem(D * BF16), .y = mem(T * D * BF16));
    TRY(argmax, .n_rows = T, .dim = N, .x = mem(T * N * F32), .id = mem(T * I32));
    TRY(find_nonfinite, .kind = HD_Y_BF16, .n = N, .x = mem(N * BF16), .flag = mem(I32));
    TRY(rms_norm_quant,
        .norm = {.n_rows = T,
                 .dim = D,
                 .x = mem(T * D * BF16),
                 .w = mem(D * BF16),
                 .y = mem(T * D * BF16)},
        .act = act(T, D));
    TRY(q_norm_rope, .n_rows = T, .n_heads = H, .cos_sin = mem(T * 64 * F32),
        .q = mem(T * H * 512 * BF16));
    TRY(kv_norm_rope_pack, .n_rows = T, .x = mem(T * 512 * BF16), .w = mem(512 * BF16),
        .cos_sin = mem(T * 64 * F32), .rows = mem(T * 584));
}

static void every_op_was_tried(void **state)
{
    (void)state;
    for (int op = 0; op < HD_OP_COUNT; op++)
        if (!tried[op]) fail_msg("no call of %s", hd_op_name((hd_op)op));
}

/* ---- the device ----------------------------------------------------------------------------- */

static int open_trace(void **state)
{
    (void)state;
    const hd_backend *b;
    hd_dev *inner;
    for (int i = 0; (b = hd_backend_at(i)) && strcmp(b->name, "trace") != 0; i++) {}
    setenv("HADAL_TRACE", test_path(test_tmpdir(), "trace.log"), 1);
    fake_reset();
    fake.with_fused = true;
    assert_int_equal(hd_dev_open_backend(&fake_backend, NULL, NULL, &inner, NULL), HD_OK);
    assert_int_equal(hd_dev_open_backend(b, NULL, inner, &dev, NULL), HD_OK);
    return dev->stream.create(dev, &stream, NULL);
}

static int close_trace(void **state)
{
    (void)state;
    for (int i = 0; i < n_buffers; i++) dev->mem.free(dev, buffer[i]);
    n_buffers = 0;
    for (size_t i = 0; i < HD_COUNT(weights); i++) dev->mem.unpack(dev, weights[i]);
    memset(weights, 0, sizeof weights);
    dev->stream.destroy(stream);
    hd_dev_close(dev);
    return fake.n_memory || fake.n_open;
}

#define WITH_TRACE(f) cmocka_unit_test_setup_teardown(f, open_trace, close_trace)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_TRACE(rows_and_norms),
        WITH_TRACE(linear_and_caches),
        WITH_TRACE(index_and_attention),
        WITH_TRACE(experts),
        WITH_TRACE(residual_streams_and_head),
        cmocka_unit_test(every_op_was_tried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
