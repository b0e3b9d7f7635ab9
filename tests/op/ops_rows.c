/* Cases of the ops that work row by row: moving, norms, rope, quantisers, activation functions,
 * residual streams, head. */
#include <string.h>

#include "opcase.h"

/* Counts of rows and widths that every op meets: none, one, odd ones, more than a vector. */
#define N_ROWS(c) OPCASE_PICK(c, 1, 0, 3, 2, 5, 17, 33)
#define DIM(c)    OPCASE_PICK(c, 64, 1, 127, 128, 4096, 130, 512, 1023, 2049)

static size_t area(int32_t a, int32_t b)
{
    return (size_t)a * (size_t)b;
}

/* ---- moving ---------------------------------------------------------------------------------- */

static void case_embed(opcase *c)
{
    int32_t n = N_ROWS(c), dim = DIM(c), copies = OPCASE_PICK(c, 1, 4), vocab = 37;
    opcase_shape(c, "%d ids, %d copies of %d", n, copies, dim);
    hd_bf16 *y = opcase_new(c, area(n, copies) * (size_t)dim * 2);
    OPCASE_RUN(c, embed, n, copies, opcase_ints(c, (size_t)n, 0, vocab - 1),
               opcase_weight(c, HD_WEIGHT_BF16, vocab, dim, 1), y);
    opcase_keep(c, OPCASE_BF16, y, area(n, copies) * (size_t)dim * 2);
}

static void case_gather_rows(opcase *c)
{
    int32_t n = N_ROWS(c), bytes = OPCASE_PICK(c, 584, 1, 68, 7, 2048), n_src = 19;
    opcase_shape(c, "%d rows of %d bytes", n, bytes);
    uint8_t *dst = opcase_new(c, area(n, bytes));
    OPCASE_RUN(c, gather_rows, n, (size_t)bytes,
               opcase_ints(c, area(n_src, bytes) / 4 + 1, 0, 1 << 30),
               opcase_ints(c, (size_t)n, -1, n_src - 1), dst);
    opcase_keep(c, OPCASE_BYTES, dst, area(n, bytes));
}

static void case_scatter_rows(opcase *c)
{
    int32_t n = N_ROWS(c), bytes = OPCASE_PICK(c, 584, 1, 68, 7, 2048), n_dst = 40;
    opcase_shape(c, "%d rows of %d bytes", n, bytes);
    int32_t row[40];
    opcase_shuffle(c, row, n_dst);
    for (int32_t i = 0; i < n; i++)
        if (opcase_int(c, 0, 4) == 0) row[i] = -1;
    uint8_t *dst = opcase_new(c, area(n_dst, bytes));
    OPCASE_RUN(c, scatter_rows, n, (size_t)bytes,
               opcase_ints(c, area(n, bytes) / 4 + 1, 0, 1 << 30),
               opcase_put(c, row, (size_t)n * 4), dst);
    opcase_keep(c, OPCASE_BYTES, dst, area(n_dst, bytes));
}

static void case_add(opcase *c)
{
    int32_t n = N_ROWS(c), repeat = OPCASE_PICK(c, 1, 4, 3), dim = DIM(c);
    hd_y_kind kind = opcase_int(c, 0, 1) ? HD_Y_F32 : HD_Y_BF16;
    bool in_place = opcase_int(c, 0, 1);
    size_t size = kind == HD_Y_F32 ? 4 : 2, n_b = area(n, repeat) * (size_t)dim;
    opcase_shape(c, "%d × %d × %d %s%s", n, repeat, dim, kind == HD_Y_F32 ? "f32" : "bf16",
                 in_place ? " in place" : "");
    void *a, *b;
    if (kind == HD_Y_F32) {
        a = opcase_f32(c, area(n, dim), 1.0f);
        b = opcase_f32(c, n_b + OPCASE_GUARD / 4, 1.0f);
    } else {
        a = opcase_bf16(c, area(n, dim), 1.0f);
        b = opcase_bf16(c, n_b + OPCASE_GUARD / 2, 1.0f);
    }
    void *y = in_place ? b : opcase_new(c, n_b * size);
    OPCASE_RUN(c, add, kind, n, repeat, dim, a, b, y);
    opcase_keep(c, kind == HD_Y_F32 ? OPCASE_F32 : OPCASE_BF16, y, n_b * size);
}

static void case_stream_mean(opcase *c)
{
    int32_t n = N_ROWS(c), dim = DIM(c), stride = dim + OPCASE_PICK(c, 0, 64, 3);
    opcase_shape(c, "%d rows of %d, stride %d", n, dim, stride);
    hd_bf16 *y = opcase_new(c, area(n, stride) * 2);
    OPCASE_RUN(c, stream_mean, n, dim, opcase_bf16(c, area(n, 4 * dim), 1.0f), y, stride);
    opcase_keep(c, OPCASE_BF16, y, area(n, stride) * 2);
}

/* ---- norms, rope ----------------------------------------------------------------------------- */

static hd_bf16 *random_inout(opcase *c, size_t n, float width)
{
    hd_bf16 *host = opcase_host(c, n * 2);
    opcase_fill_bf16(c, host, n, width);
    return opcase_inout(c, host, n * 2);
}

static void case_rms_norm(opcase *c)
{
    int32_t n = N_ROWS(c), dim = DIM(c);
    bool in_place = opcase_int(c, 0, 1);
    opcase_shape(c, "%d rows of %d%s", n, dim, in_place ? " in place" : "");
    hd_bf16 *x = random_inout(c, area(n, dim), 3.0f);
    hd_bf16 *y = in_place ? x : opcase_new(c, area(n, dim) * 2);
    OPCASE_RUN(c, rms_norm, n, dim, 1e-6f, x, opcase_bf16(c, (size_t)dim, 1.0f), y);
    opcase_keep(c, OPCASE_BF16, y, area(n, dim) * 2);
}

static void case_q_norm(opcase *c)
{
    int32_t n = N_ROWS(c), heads = OPCASE_PICK(c, 1, 3, 8);
    opcase_shape(c, "%d rows of %d heads", n, heads);
    hd_bf16 *q = random_inout(c, area(n, heads) * HD_HEAD_DIM, 2.0f);
    OPCASE_RUN(c, q_norm, n, heads, 1e-6f, q);
    opcase_keep(c, OPCASE_BF16, q, area(n, heads) * HD_HEAD_DIM * 2);
}

/* Not quite a rotation, which makes no difference to the op. */
static float *random_cos_sin(opcase *c, int32_t n)
{
    return opcase_f32(c, area(n, HD_ROPE_DIM), 0.7f);
}

static void case_rope(opcase *c)
{
    int32_t n = N_ROWS(c), heads = OPCASE_PICK(c, 1, 3, 8), dim = OPCASE_PICK(c, 512, 128, 64);
    bool inverse = opcase_int(c, 0, 1);
    opcase_shape(c, "%d rows of %d heads of %d%s", n, heads, dim, inverse ? " inverse" : "");
    hd_bf16 *x = random_inout(c, area(n, heads * dim), 2.0f);
    OPCASE_RUN(c, rope, n, heads, dim, inverse, random_cos_sin(c, n), x);
    opcase_keep(c, OPCASE_BF16, x, area(n, heads * dim) * 2);
}

static void case_q_norm_rope(opcase *c)
{
    int32_t n = N_ROWS(c), heads = OPCASE_PICK(c, 1, 3, 8);
    opcase_shape(c, "%d rows of %d heads", n, heads);
    hd_bf16 *q = random_inout(c, area(n, heads) * HD_HEAD_DIM, 2.0f);
    OPCASE_RUN(c, q_norm_rope, n, heads, 1e-6f, random_cos_sin(c, n), q);
    opcase_keep(c, OPCASE_BF16, q, area(n, heads) * HD_HEAD_DIM * 2);
}

/* ---- quantisers ------------------------------------------------------------------------------ */

/* Widths from tiny to huge, so that scales of all sizes and the floors of amax occur. */
static float any_width(opcase *c)
{
    static const float widths[] = {1.0f, 0x1p-30f, 0x1p20f, 0x1p-14f, 300.0f};
    return widths[opcase_random(c) % HD_COUNT(widths)];
}

static void case_hadamard_quant(opcase *c)
{
    int32_t n = N_ROWS(c);
    opcase_shape(c, "%d rows", n);
    hd_bf16 *x = random_inout(c, area(n, HD_INDEX_DIM), any_width(c));
    OPCASE_RUN(c, hadamard_quant, n, x);
    opcase_keep(c, OPCASE_BF16, x, area(n, HD_INDEX_DIM) * 2);
}

static void case_quantize_act(opcase *c)
{
    int32_t n = N_ROWS(c), dim = DIM(c);
    opcase_shape(c, "%d rows of %d", n, dim);
    void *act = devtest_put(c->t, NULL, hd_act_bytes(c->t->dev, n, dim));
    OPCASE_RUN(c, quantize_act, n, dim, opcase_bf16(c, area(n, dim), any_width(c)), act);
    opcase_keep_act(c, act, n, dim);
}

static void case_rms_norm_quant(opcase *c)
{
    int32_t n = N_ROWS(c), dim = DIM(c);
    opcase_shape(c, "%d rows of %d", n, dim);
    hd_bf16 *y = opcase_new(c, area(n, dim) * 2);
    void *act = devtest_put(c->t, NULL, hd_act_bytes(c->t->dev, n, dim));
    hd_rms_norm_params norm = {.n_rows = n,
                               .dim = dim,
                               .eps = 1e-6f,
                               .x = opcase_bf16(c, area(n, dim), 3.0f),
                               .w = opcase_bf16(c, (size_t)dim, 1.0f),
                               .y = y};
    OPCASE_RUN(c, rms_norm_quant, norm, act);
    opcase_keep(c, OPCASE_BF16, y, area(n, dim) * 2);
    opcase_keep_act(c, act, n, dim);
}

static void case_kv_pack(opcase *c)
{
    int32_t n = N_ROWS(c);
    opcase_shape(c, "%d rows", n);
    uint8_t *rows = opcase_new(c, area(n, HD_KV_ROW_BYTES));
    OPCASE_RUN(c, kv_pack, n, opcase_bf16(c, area(n, HD_HEAD_DIM), any_width(c)), rows);
    opcase_keep(c, OPCASE_BYTES, rows, area(n, HD_KV_ROW_BYTES));
}

static void case_kv_norm_rope_pack(opcase *c)
{
    int32_t n = N_ROWS(c);
    opcase_shape(c, "%d rows", n);
    uint8_t *rows = opcase_new(c, area(n, HD_KV_ROW_BYTES));
    hd_bf16 *x = random_inout(c, area(n, HD_HEAD_DIM), 3.0f);
    OPCASE_RUN(c, kv_norm_rope_pack, n, 1e-6f, x, opcase_bf16(c, HD_HEAD_DIM, 1.0f),
               random_cos_sin(c, n), rows);
    opcase_keep(c, OPCASE_BYTES, rows, area(n, HD_KV_ROW_BYTES));
}

static void case_index_pack(opcase *c)
{
    int32_t n = N_ROWS(c);
    opcase_shape(c, "%d rows", n);
    uint8_t *rows = opcase_new(c, area(n, HD_INDEX_ROW_BYTES));
    OPCASE_RUN(c, index_pack, n, opcase_bf16(c, area(n, HD_INDEX_DIM), any_width(c)), rows);
    opcase_keep(c, OPCASE_BYTES, rows, area(n, HD_INDEX_ROW_BYTES));
}

/* ---- activation functions, sums of experts --------------------------------------------------- */

static void case_swiglu(opcase *c)
{
    int32_t n = N_ROWS(c), dim = DIM(c), how = OPCASE_PICK(c, 0, 1, 2);
    opcase_shape(c, "%d rows of %d%s", n, dim,
                 how == 0   ? ""
                 : how == 1 ? ", weights"
                            : ", by order");
    hd_bf16 *gate = random_inout(c, area(n, dim), 6.0f);
    bool in_place = opcase_int(c, 0, 1);
    hd_bf16 *y = in_place ? gate : opcase_new(c, area(n, dim) * 2);
    hd_bf16 *up = opcase_bf16(c, area(n, dim), 6.0f);
    float *weight = how ? opcase_positive(c, (size_t)n, 2.5f) : NULL;
    int32_t order[64];
    opcase_shuffle(c, order, n);
    OPCASE_RUN(c, swiglu, n, dim, 10.0f, gate, up, weight,
               how == 2 ? opcase_put(c, order, (size_t)n * 4) : NULL, y);
    opcase_keep(c, OPCASE_BF16, y, area(n, dim) * 2);
}

static void case_combine(opcase *c)
{
    int32_t n = N_ROWS(c), k = OPCASE_PICK(c, 6, 1, 2, 8), dim = DIM(c);
    opcase_shape(c, "%d rows of %d, %d experts", n, dim, k);
    int32_t place[33 * 8];
    opcase_shuffle(c, place, n * k);
    hd_bf16 *y = opcase_new(c, area(n, dim) * 2);
    OPCASE_RUN(c, combine, n, k, dim, opcase_bf16(c, area(n * k, dim), 1.0f),
               opcase_put(c, place, area(n, k) * 4), opcase_bf16(c, area(n, dim), 1.0f), y);
    opcase_keep(c, OPCASE_BF16, y, area(n, dim) * 2);
}

/* ---- residual streams ------------------------------------------------------------------------ */

static hd_hc_mix_params random_mix(opcase *c, int32_t n, int32_t dim, bool head)
{
    size_t rows = head ? 4 : 24;
    return (hd_hc_mix_params){.n_rows = n,
                              .dim = dim,
                              .head = head,
                              .n_iters = 20,
                              .rms_eps = 1e-6f,
                              .hc_eps = 1e-6f,
                              .x = opcase_bf16(c, area(n, 4 * dim), 1.0f),
                              .fn = opcase_weight(c, HD_WEIGHT_F32, (int32_t)rows, 4 * dim, 1),
                              .scale = opcase_positive(c, head ? 1 : 3, 1.5f),
                              .base = opcase_f32(c, rows, 1.0f),
                              .mix = opcase_new(c, (size_t)n * rows * 4),
                              .pre = opcase_new(c, area(n, 4) * 4),
                              .post = head ? NULL : opcase_new(c, area(n, 4) * 4),
                              .comb = head ? NULL : opcase_new(c, area(n, 16) * 4)};
}

static void keep_mix(opcase *c, const hd_hc_mix_params *p)
{
    opcase_keep(c, OPCASE_F32, p->mix, area(p->n_rows, p->head ? 4 : 24) * 4);
    opcase_keep(c, OPCASE_F32, p->pre, area(p->n_rows, 4) * 4);
    if (p->head) return;
    opcase_keep(c, OPCASE_F32, p->post, area(p->n_rows, 4) * 4);
    opcase_keep(c, OPCASE_F32, p->comb, area(p->n_rows, 16) * 4);
}

static void case_hc_mix(opcase *c)
{
    int32_t n = N_ROWS(c), dim = OPCASE_PICK(c, 64, 1, 127, 256, 1000, 4096);
    bool head = opcase_int(c, 0, 2) == 0;
    opcase_shape(c, "%d rows of 4 × %d%s", n, dim, head ? ", head" : "");
    hd_hc_mix_params p = random_mix(c, n, dim, head);
    devtest_check(c->t, hd_op_hc_mix(c->t->stream, &p), "hc_mix");
    keep_mix(c, &p);
}

static void case_hc_collapse(opcase *c)
{
    int32_t n = N_ROWS(c), dim = DIM(c);
    opcase_shape(c, "%d rows of 4 × %d", n, dim);
    hd_bf16 *y = opcase_new(c, area(n, dim) * 2);
    OPCASE_RUN(c, hc_collapse, n, dim, opcase_bf16(c, area(n, 4 * dim), 1.0f),
               opcase_positive(c, area(n, 4), 1.0f), y);
    opcase_keep(c, OPCASE_BF16, y, area(n, dim) * 2);
}

static void case_hc_merge(opcase *c)
{
    int32_t n = N_ROWS(c), dim = DIM(c);
    bool in_place = opcase_int(c, 0, 1);
    opcase_shape(c, "%d rows of 4 × %d%s", n, dim, in_place ? " in place" : "");
    hd_bf16 *x = random_inout(c, area(n, 4 * dim), 1.0f);
    hd_bf16 *y = in_place ? x : opcase_new(c, area(n, 4 * dim) * 2);
    OPCASE_RUN(c, hc_merge, n, dim, opcase_bf16(c, area(n, dim), 1.0f), x,
               opcase_positive(c, area(n, 4), 2.0f), opcase_positive(c, area(n, 16), 1.0f), y);
    opcase_keep(c, OPCASE_BF16, y, area(n, 4 * dim) * 2);
}

static void case_hc_pre(opcase *c)
{
    int32_t n = N_ROWS(c), dim = OPCASE_PICK(c, 64, 1, 127, 256, 1000);
    opcase_shape(c, "%d rows of 4 × %d", n, dim);
    hd_bf16 *y = opcase_new(c, area(n, dim) * 2);
    hd_hc_pre_params p = {random_mix(c, n, dim, false), opcase_bf16(c, (size_t)dim, 1.0f), y};
    devtest_check(c->t, hd_op_hc_pre(c->t->stream, &p), "hc_pre");
    keep_mix(c, &p.mix);
    opcase_keep(c, OPCASE_BF16, y, area(n, dim) * 2);
}

/* ---- head ------------------------------------------------------------------------------------ */

/* Few distinct values, so that the greatest one occurs more than once. */
static void case_argmax(opcase *c)
{
    int32_t n = N_ROWS(c), dim = OPCASE_PICK(c, 1024, 1, 2, 33, 5001);
    opcase_shape(c, "%d rows of %d", n, dim);
    float *x = opcase_host(c, area(n, dim) * 4);
    for (size_t i = 0; i < area(n, dim); i++) x[i] = (float)opcase_int(c, -60, 3) * 0.5f;
    int32_t *id = opcase_new(c, (size_t)n * 4);
    OPCASE_RUN(c, argmax, n, dim, opcase_put(c, x, area(n, dim) * 4), id);
    opcase_keep(c, OPCASE_I32, id, (size_t)n * 4);
}

static void case_find_nonfinite(opcase *c)
{
    static const float bad[] = {INFINITY, -INFINITY, NAN};
    int32_t n = OPCASE_PICK(c, 1000, 0, 1, 17, 4099), tag = opcase_int(c, 1, 9);
    bool is_f32 = opcase_int(c, 0, 1), is_bad = opcase_int(c, 0, 1);
    opcase_shape(c, "%d %s, %s", n, is_f32 ? "f32" : "bf16", is_bad ? "one bad" : "all good");
    float *x = opcase_host(c, (size_t)n * 4);
    hd_bf16 *h = opcase_host(c, (size_t)n * 2);
    for (int32_t i = 0; i < n; i++) x[i] = (float)opcase_int(c, -1000, 1000) * 0x1p110f;
    if (is_bad && n) x[opcase_int(c, 0, n - 1)] = bad[opcase_int(c, 0, 2)];
    for (int32_t i = 0; i < n; i++) h[i] = hd_bf16_from_f32(x[i]);
    int32_t *flag = opcase_inout(c, &(int32_t){5}, 4);
    const void *data = is_f32 ? opcase_put(c, x, (size_t)n * 4) : opcase_put(c, h, (size_t)n * 2);
    OPCASE_RUN(c, find_nonfinite, is_f32 ? HD_Y_F32 : HD_Y_BF16, n, data, tag, flag);
    opcase_keep(c, OPCASE_I32, flag, 4);
}

const opcase_entry opcase_rows_ops[] = {
    {HD_OP_embed, case_embed, 12},
    {HD_OP_gather_rows, case_gather_rows, 12},
    {HD_OP_scatter_rows, case_scatter_rows, 12},
    {HD_OP_add, case_add, 24},
    {HD_OP_stream_mean, case_stream_mean, 16},
    {HD_OP_rms_norm, case_rms_norm, 24},
    {HD_OP_q_norm, case_q_norm, 12},
    {HD_OP_rope, case_rope, 24},
    {HD_OP_q_norm_rope, case_q_norm_rope, 12},
    {HD_OP_hadamard_quant, case_hadamard_quant, 16},
    {HD_OP_quantize_act, case_quantize_act, 24},
    {HD_OP_rms_norm_quant, case_rms_norm_quant, 16},
    {HD_OP_kv_pack, case_kv_pack, 16},
    {HD_OP_kv_norm_rope_pack, case_kv_norm_rope_pack, 12},
    {HD_OP_index_pack, case_index_pack, 16},
    {HD_OP_swiglu, case_swiglu, 24},
    {HD_OP_combine, case_combine, 16},
    {HD_OP_hc_mix, case_hc_mix, 20},
    {HD_OP_hc_collapse, case_hc_collapse, 16},
    {HD_OP_hc_merge, case_hc_merge, 20},
    {HD_OP_hc_pre, case_hc_pre, 12},
    {HD_OP_argmax, case_argmax, 16},
    {HD_OP_find_nonfinite, case_find_nonfinite, 20},
    {HD_OP_COUNT, NULL, 0},
};
