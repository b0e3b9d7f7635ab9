/* Cases of the ops that work row by row: moving, norms, rope, quantisers, activation functions,
 * residual streams, head. */
#include <string.h>

#include "opcase/opcase.h"

/* Counts of rows and widths that every op meets: none, one, odd ones, more than a vector; or the
 * widths of the model. */
#define N_ROWS(c) HD_OPCASE_PICK(c, 1, 0, 3, 2, 5, 17, 33)
#define DIM(c)                                                                                     \
    ((c)->sizes ? hd_opcase_pick((c), (c)->sizes->width, HD_COUNT((c)->sizes->width))              \
                : HD_OPCASE_PICK(c, 64, 1, 127, 128, 4096, 130, 512, 1023, 2049))

static size_t area(int32_t a, int32_t b)
{
    return (size_t)a * (size_t)b;
}

/* Bytes of a row that is moved: of a cache, of four streams, odd ones. */
static int32_t row_bytes(hd_opcase *c)
{
    return c->sizes ? HD_OPCASE_PICK(c, HD_KV_ROW_BYTES, HD_INDEX_ROW_BYTES, 8 * c->sizes->dim)
                    : HD_OPCASE_PICK(c, 584, 1, 68, 7, 2048);
}

/* ---- moving ---------------------------------------------------------------------------------- */

static void case_embed(hd_opcase *c)
{
    int32_t n = N_ROWS(c), dim = DIM(c), copies = HD_OPCASE_PICK(c, 1, 4), vocab = 37;
    hd_opcase_shape(c, "%d ids, %d copies of %d", n, copies, dim);
    hd_bf16 *y = hd_opcase_new(c, area(n, copies) * (size_t)dim * 2);
    HD_OPCASE_RUN(c, embed, n, copies, hd_opcase_ints(c, (size_t)n, 0, vocab - 1),
                  hd_opcase_weight(c, HD_WEIGHT_BF16, vocab, dim, 1), y);
    hd_opcase_keep(c, HD_OPCASE_BF16, y, n, copies * dim);
}

static void case_gather_rows(hd_opcase *c)
{
    int32_t n = N_ROWS(c), bytes = row_bytes(c), n_src = 19;
    hd_opcase_shape(c, "%d rows of %d bytes", n, bytes);
    uint8_t *dst = hd_opcase_new(c, area(n, bytes));
    HD_OPCASE_RUN(c, gather_rows, n, (size_t)bytes,
                  hd_opcase_ints(c, area(n_src, bytes) / 4 + 1, 0, 1 << 30),
                  hd_opcase_ints(c, (size_t)n, -1, n_src - 1), dst);
    hd_opcase_keep(c, HD_OPCASE_BYTES, dst, n, bytes);
}

static void case_scatter_rows(hd_opcase *c)
{
    int32_t n = N_ROWS(c), bytes = row_bytes(c), n_dst = 40;
    hd_opcase_shape(c, "%d rows of %d bytes", n, bytes);
    int32_t row[40];
    hd_opcase_shuffle(c, row, n_dst);
    for (int32_t i = 0; i < n; i++)
        if (hd_opcase_int(c, 0, 4) == 0) row[i] = -1;
    uint8_t *dst = hd_opcase_new(c, area(n_dst, bytes));
    HD_OPCASE_RUN(c, scatter_rows, n, (size_t)bytes,
                  hd_opcase_ints(c, area(n, bytes) / 4 + 1, 0, 1 << 30),
                  hd_opcase_put(c, row, (size_t)n * 4), dst);
    hd_opcase_keep(c, HD_OPCASE_BYTES, dst, n_dst, bytes);
}

static void case_add(hd_opcase *c)
{
    int32_t n = N_ROWS(c), repeat = HD_OPCASE_PICK(c, 1, 4, 3), dim = DIM(c);
    hd_y_kind kind = hd_opcase_int(c, 0, 1) ? HD_Y_F32 : HD_Y_BF16;
    bool in_place = hd_opcase_int(c, 0, 1);
    size_t size = kind == HD_Y_F32 ? 4 : 2, n_b = area(n, repeat) * (size_t)dim;
    hd_opcase_shape(c, "%d × %d × %d %s%s", n, repeat, dim, kind == HD_Y_F32 ? "f32" : "bf16",
                    in_place ? " in place" : "");
    void *a, *b;
    if (kind == HD_Y_F32) {
        a = hd_opcase_f32(c, area(n, dim), 1.0f);
        b = hd_opcase_f32(c, n_b + HD_OPCASE_GUARD / 4, 1.0f);
    } else {
        a = hd_opcase_bf16(c, area(n, dim), 1.0f);
        b = hd_opcase_bf16(c, n_b + HD_OPCASE_GUARD / 2, 1.0f);
    }
    void *y = in_place ? b : hd_opcase_new(c, n_b * size);
    HD_OPCASE_RUN(c, add, kind, n, repeat, dim, a, b, y);
    hd_opcase_keep(c, kind == HD_Y_F32 ? HD_OPCASE_F32 : HD_OPCASE_BF16, y, n, repeat * dim);
}

static void case_stream_mean(hd_opcase *c)
{
    int32_t n = N_ROWS(c), dim = DIM(c), stride = dim + HD_OPCASE_PICK(c, 0, 64, 3);
    hd_opcase_shape(c, "%d rows of %d, stride %d", n, dim, stride);
    hd_bf16 *y = hd_opcase_new(c, area(n, stride) * 2);
    HD_OPCASE_RUN(c, stream_mean, n, dim, hd_opcase_bf16(c, area(n, 4 * dim), 1.0f), y, stride);
    hd_opcase_keep(c, HD_OPCASE_BF16, y, n, stride);
}

/* ---- norms, rope ----------------------------------------------------------------------------- */

static hd_bf16 *random_inout(hd_opcase *c, size_t n, float width)
{
    hd_bf16 *host = hd_opcase_host(c, n * 2);
    hd_opcase_fill_bf16(c, host, n, width);
    return hd_opcase_inout(c, host, n * 2);
}

static void case_rms_norm(hd_opcase *c)
{
    int32_t n = N_ROWS(c), dim = DIM(c);
    bool in_place = hd_opcase_int(c, 0, 1);
    hd_opcase_shape(c, "%d rows of %d%s", n, dim, in_place ? " in place" : "");
    hd_bf16 *x = random_inout(c, area(n, dim), 3.0f);
    hd_bf16 *y = in_place ? x : hd_opcase_new(c, area(n, dim) * 2);
    HD_OPCASE_RUN(c, rms_norm, n, dim, 1e-6f, x, hd_opcase_bf16(c, (size_t)dim, 1.0f), y);
    hd_opcase_keep(c, HD_OPCASE_BF16, y, n, dim);
}

static void case_q_norm(hd_opcase *c)
{
    int32_t n = N_ROWS(c), heads = HD_OPCASE_SIZE(c, n_heads, 1, 3, 8);
    hd_opcase_shape(c, "%d rows of %d heads", n, heads);
    hd_bf16 *q = random_inout(c, area(n, heads) * HD_HEAD_DIM, 2.0f);
    HD_OPCASE_RUN(c, q_norm, n, heads, 1e-6f, q);
    hd_opcase_keep(c, HD_OPCASE_BF16, q, n, heads * HD_HEAD_DIM);
}

/* Not quite a rotation, which makes no difference to the op. */
static float *random_cos_sin(hd_opcase *c, int32_t n)
{
    return hd_opcase_f32(c, area(n, HD_ROPE_DIM), 0.7f);
}

static void case_rope(hd_opcase *c)
{
    int32_t n = N_ROWS(c), heads = HD_OPCASE_SIZE(c, n_heads, 1, 3, 8),
            dim = HD_OPCASE_PICK(c, 512, 128, 64);
    bool inverse = hd_opcase_int(c, 0, 1);
    hd_opcase_shape(c, "%d rows of %d heads of %d%s", n, heads, dim, inverse ? " inverse" : "");
    hd_bf16 *x = random_inout(c, area(n, heads * dim), 2.0f);
    HD_OPCASE_RUN(c, rope, n, heads, dim, inverse, random_cos_sin(c, n), x);
    hd_opcase_keep(c, HD_OPCASE_BF16, x, n, heads * dim);
}

static void case_q_norm_rope(hd_opcase *c)
{
    int32_t n = N_ROWS(c), heads = HD_OPCASE_SIZE(c, n_heads, 1, 3, 8);
    hd_opcase_shape(c, "%d rows of %d heads", n, heads);
    hd_bf16 *q = random_inout(c, area(n, heads) * HD_HEAD_DIM, 2.0f);
    HD_OPCASE_RUN(c, q_norm_rope, n, heads, 1e-6f, random_cos_sin(c, n), q);
    hd_opcase_keep(c, HD_OPCASE_BF16, q, n, heads * HD_HEAD_DIM);
}

/* ---- quantisers ------------------------------------------------------------------------------ */

/* Widths from tiny to huge, so that scales of all sizes and the floors of amax occur. */
static float any_width(hd_opcase *c)
{
    static const float widths[] = {1.0f, 0x1p-30f, 0x1p20f, 0x1p-14f, 300.0f};
    return widths[hd_opcase_random(c) % HD_COUNT(widths)];
}

static void case_hadamard_quant(hd_opcase *c)
{
    int32_t n = N_ROWS(c);
    hd_opcase_shape(c, "%d rows", n);
    hd_bf16 *x = random_inout(c, area(n, HD_INDEX_DIM), any_width(c));
    HD_OPCASE_RUN(c, hadamard_quant, n, x);
    hd_opcase_keep(c, HD_OPCASE_BF16, x, n, HD_INDEX_DIM);
}

static void case_quantize_act(hd_opcase *c)
{
    int32_t n = N_ROWS(c), dim = DIM(c);
    hd_opcase_shape(c, "%d rows of %d", n, dim);
    void *act = hd_opcase_room(c, hd_act_bytes(c->d->dev, n, dim));
    HD_OPCASE_RUN(c, quantize_act, n, dim, hd_opcase_bf16(c, area(n, dim), any_width(c)), act);
    hd_opcase_keep_act(c, act, n, dim);
}

static void case_rms_norm_quant(hd_opcase *c)
{
    int32_t n = N_ROWS(c), dim = DIM(c);
    hd_opcase_shape(c, "%d rows of %d", n, dim);
    hd_bf16 *y = hd_opcase_new(c, area(n, dim) * 2);
    void *act = hd_opcase_room(c, hd_act_bytes(c->d->dev, n, dim));
    hd_rms_norm_params norm = {.n_rows = n,
                               .dim = dim,
                               .eps = 1e-6f,
                               .x = hd_opcase_bf16(c, area(n, dim), 3.0f),
                               .w = hd_opcase_bf16(c, (size_t)dim, 1.0f),
                               .y = y};
    HD_OPCASE_RUN(c, rms_norm_quant, norm, act);
    hd_opcase_keep(c, HD_OPCASE_BF16, y, n, dim);
    hd_opcase_keep_act(c, act, n, dim);
}

static void case_kv_pack(hd_opcase *c)
{
    int32_t n = N_ROWS(c);
    hd_opcase_shape(c, "%d rows", n);
    uint8_t *rows = hd_opcase_new(c, area(n, HD_KV_ROW_BYTES));
    HD_OPCASE_RUN(c, kv_pack, n, hd_opcase_bf16(c, area(n, HD_HEAD_DIM), any_width(c)), rows);
    hd_opcase_keep(c, HD_OPCASE_BYTES, rows, n, HD_KV_ROW_BYTES);
}

static void case_kv_norm_rope_pack(hd_opcase *c)
{
    int32_t n = N_ROWS(c);
    hd_opcase_shape(c, "%d rows", n);
    uint8_t *rows = hd_opcase_new(c, area(n, HD_KV_ROW_BYTES));
    hd_bf16 *x = random_inout(c, area(n, HD_HEAD_DIM), 3.0f);
    HD_OPCASE_RUN(c, kv_norm_rope_pack, n, 1e-6f, x, hd_opcase_bf16(c, HD_HEAD_DIM, 1.0f),
                  random_cos_sin(c, n), rows);
    hd_opcase_keep(c, HD_OPCASE_BYTES, rows, n, HD_KV_ROW_BYTES);
}

static void case_index_pack(hd_opcase *c)
{
    int32_t n = N_ROWS(c);
    hd_opcase_shape(c, "%d rows", n);
    uint8_t *rows = hd_opcase_new(c, area(n, HD_INDEX_ROW_BYTES));
    HD_OPCASE_RUN(c, index_pack, n, hd_opcase_bf16(c, area(n, HD_INDEX_DIM), any_width(c)), rows);
    hd_opcase_keep(c, HD_OPCASE_BYTES, rows, n, HD_INDEX_ROW_BYTES);
}

/* ---- activation functions, sums of experts --------------------------------------------------- */

static void case_swiglu(hd_opcase *c)
{
    int32_t n = N_ROWS(c), dim = DIM(c), how = HD_OPCASE_PICK(c, 0, 1, 2);
    hd_opcase_shape(c, "%d rows of %d%s", n, dim,
                    how == 0   ? ""
                    : how == 1 ? ", weights"
                               : ", by order");
    hd_bf16 *gate = random_inout(c, area(n, dim), 6.0f);
    bool in_place = hd_opcase_int(c, 0, 1);
    hd_bf16 *y = in_place ? gate : hd_opcase_new(c, area(n, dim) * 2);
    hd_bf16 *up = hd_opcase_bf16(c, area(n, dim), 6.0f);
    float *weight = how ? hd_opcase_positive(c, (size_t)n, 2.5f) : NULL;
    int32_t order[64];
    hd_opcase_shuffle(c, order, n);
    HD_OPCASE_RUN(c, swiglu, n, dim, 10.0f, gate, up, weight,
                  how == 2 ? hd_opcase_put(c, order, (size_t)n * 4) : NULL, y);
    hd_opcase_keep(c, HD_OPCASE_BF16, y, n, dim);
}

static void case_combine(hd_opcase *c)
{
    int32_t n = N_ROWS(c), k = HD_OPCASE_SIZE(c, n_active, 6, 1, 2, 8), dim = DIM(c);
    hd_opcase_shape(c, "%d rows of %d, %d experts", n, dim, k);
    int32_t *place = hd_opcase_host(c, area(n, k) * 4);
    hd_opcase_shuffle(c, place, n * k);
    hd_bf16 *y = hd_opcase_new(c, area(n, dim) * 2);
    HD_OPCASE_RUN(c, combine, n, k, dim, hd_opcase_bf16(c, area(n * k, dim), 1.0f),
                  hd_opcase_put(c, place, area(n, k) * 4), hd_opcase_bf16(c, area(n, dim), 1.0f),
                  y);
    hd_opcase_keep(c, HD_OPCASE_BF16, y, n, dim);
}

/* ---- residual streams ------------------------------------------------------------------------ */

static hd_hc_mix_params random_mix(hd_opcase *c, int32_t n, int32_t dim, bool head)
{
    size_t rows = head ? 4 : 24;
    return (hd_hc_mix_params){.n_rows = n,
                              .dim = dim,
                              .head = head,
                              .n_iters = 20,
                              .rms_eps = 1e-6f,
                              .hc_eps = 1e-6f,
                              .x = hd_opcase_bf16(c, area(n, 4 * dim), 1.0f),
                              .fn = hd_opcase_weight(c, HD_WEIGHT_F32, (int32_t)rows, 4 * dim, 1),
                              .scale = hd_opcase_positive(c, head ? 1 : 3, 1.5f),
                              .base = hd_opcase_f32(c, rows, 1.0f),
                              .mix = hd_opcase_new(c, (size_t)n * rows * 4),
                              .pre = hd_opcase_new(c, area(n, 4) * 4),
                              .post = head ? NULL : hd_opcase_new(c, area(n, 4) * 4),
                              .comb = head ? NULL : hd_opcase_new(c, area(n, 16) * 4)};
}

static void keep_mix(hd_opcase *c, const hd_hc_mix_params *p)
{
    hd_opcase_keep(c, HD_OPCASE_F32, p->mix, p->n_rows, p->head ? 4 : 24);
    hd_opcase_keep(c, HD_OPCASE_F32, p->pre, p->n_rows, 4);
    if (p->head) return;
    hd_opcase_keep(c, HD_OPCASE_F32, p->post, p->n_rows, 4);
    hd_opcase_keep(c, HD_OPCASE_F32, p->comb, p->n_rows, 16);
}

static void case_hc_mix(hd_opcase *c)
{
    int32_t n = N_ROWS(c), dim = HD_OPCASE_SIZE(c, dim, 64, 1, 127, 256, 1000, 4096);
    bool head = hd_opcase_int(c, 0, 2) == 0;
    hd_opcase_shape(c, "%d rows of 4 × %d%s", n, dim, head ? ", head" : "");
    hd_hc_mix_params p = random_mix(c, n, dim, head);
    HD_OPCASE_SUBMIT(c, hc_mix, &p);
    keep_mix(c, &p);
}

static void case_hc_collapse(hd_opcase *c)
{
    int32_t n = N_ROWS(c), dim = DIM(c);
    hd_opcase_shape(c, "%d rows of 4 × %d", n, dim);
    hd_bf16 *y = hd_opcase_new(c, area(n, dim) * 2);
    HD_OPCASE_RUN(c, hc_collapse, n, dim, hd_opcase_bf16(c, area(n, 4 * dim), 1.0f),
                  hd_opcase_positive(c, area(n, 4), 1.0f), y);
    hd_opcase_keep(c, HD_OPCASE_BF16, y, n, dim);
}

static void case_hc_merge(hd_opcase *c)
{
    int32_t n = N_ROWS(c), dim = DIM(c);
    bool in_place = hd_opcase_int(c, 0, 1);
    hd_opcase_shape(c, "%d rows of 4 × %d%s", n, dim, in_place ? " in place" : "");
    hd_bf16 *x = random_inout(c, area(n, 4 * dim), 1.0f);
    hd_bf16 *y = in_place ? x : hd_opcase_new(c, area(n, 4 * dim) * 2);
    HD_OPCASE_RUN(c, hc_merge, n, dim, hd_opcase_bf16(c, area(n, dim), 1.0f), x,
                  hd_opcase_positive(c, area(n, 4), 2.0f), hd_opcase_positive(c, area(n, 16), 1.0f),
                  y);
    hd_opcase_keep(c, HD_OPCASE_BF16, y, n, 4 * dim);
}

static void case_hc_pre(hd_opcase *c)
{
    int32_t n = N_ROWS(c), dim = HD_OPCASE_SIZE(c, dim, 64, 1, 127, 256, 1000);
    hd_opcase_shape(c, "%d rows of 4 × %d", n, dim);
    hd_bf16 *y = hd_opcase_new(c, area(n, dim) * 2);
    hd_hc_pre_params p = {random_mix(c, n, dim, false), hd_opcase_bf16(c, (size_t)dim, 1.0f), y};
    HD_OPCASE_SUBMIT(c, hc_pre, &p);
    keep_mix(c, &p.mix);
    hd_opcase_keep(c, HD_OPCASE_BF16, y, n, dim);
}

/* ---- head ------------------------------------------------------------------------------------ */

/* Few distinct values, so that the greatest one occurs more than once. */
static void case_argmax(hd_opcase *c)
{
    int32_t n = N_ROWS(c), dim = HD_OPCASE_SIZE(c, vocab, 1024, 1, 2, 33, 5001);
    hd_opcase_shape(c, "%d rows of %d", n, dim);
    float *x = hd_opcase_host(c, area(n, dim) * 4);
    for (size_t i = 0; i < area(n, dim); i++) x[i] = (float)hd_opcase_int(c, -60, 3) * 0.5f;
    int32_t *id = hd_opcase_new(c, (size_t)n * 4);
    HD_OPCASE_RUN(c, argmax, n, dim, hd_opcase_put(c, x, area(n, dim) * 4), id);
    hd_opcase_keep(c, HD_OPCASE_I32, id, n, 1);
}

static void case_find_nonfinite(hd_opcase *c)
{
    static const float bad[] = {INFINITY, -INFINITY, NAN};
    int32_t n = HD_OPCASE_PICK(c, 1000, 0, 1, 17, 4099), tag = hd_opcase_int(c, 1, 9);
    bool is_f32 = hd_opcase_int(c, 0, 1), is_bad = hd_opcase_int(c, 0, 1);
    hd_opcase_shape(c, "%d %s, %s", n, is_f32 ? "f32" : "bf16", is_bad ? "one bad" : "all good");
    float *x = hd_opcase_host(c, (size_t)n * 4);
    hd_bf16 *h = hd_opcase_host(c, (size_t)n * 2);
    for (int32_t i = 0; i < n; i++) x[i] = (float)hd_opcase_int(c, -1000, 1000) * 0x1p110f;
    if (is_bad && n) x[hd_opcase_int(c, 0, n - 1)] = bad[hd_opcase_int(c, 0, 2)];
    for (int32_t i = 0; i < n; i++) h[i] = hd_bf16_from_f32(x[i]);
    int32_t *flag = hd_opcase_inout(c, &(int32_t){5}, 4);
    const void *data =
        is_f32 ? hd_opcase_put(c, x, (size_t)n * 4) : hd_opcase_put(c, h, (size_t)n * 2);
    HD_OPCASE_RUN(c, find_nonfinite, is_f32 ? HD_Y_F32 : HD_Y_BF16, n, data, tag, flag);
    hd_opcase_keep(c, HD_OPCASE_I32, flag, 1, 1);
}

const hd_opcase_entry hd_opcase_rows_ops[] = {
    {HD_OP_embed, case_embed, 12, 0},
    {HD_OP_gather_rows, case_gather_rows, 12, 3},
    {HD_OP_scatter_rows, case_scatter_rows, 12, 3},
    {HD_OP_add, case_add, 24, 4},
    {HD_OP_stream_mean, case_stream_mean, 16, 3},
    {HD_OP_rms_norm, case_rms_norm, 24, 6},
    {HD_OP_q_norm, case_q_norm, 12, 3},
    {HD_OP_rope, case_rope, 24, 4},
    {HD_OP_q_norm_rope, case_q_norm_rope, 12, 3},
    {HD_OP_hadamard_quant, case_hadamard_quant, 16, 0},
    {HD_OP_quantize_act, case_quantize_act, 24, 6},
    {HD_OP_rms_norm_quant, case_rms_norm_quant, 16, 6},
    {HD_OP_kv_pack, case_kv_pack, 16, 0},
    {HD_OP_kv_norm_rope_pack, case_kv_norm_rope_pack, 12, 0},
    {HD_OP_index_pack, case_index_pack, 16, 0},
    {HD_OP_swiglu, case_swiglu, 24, 6},
    {HD_OP_combine, case_combine, 16, 4},
    {HD_OP_hc_mix, case_hc_mix, 20, 3},
    {HD_OP_hc_collapse, case_hc_collapse, 16, 3},
    {HD_OP_hc_merge, case_hc_merge, 20, 4},
    {HD_OP_hc_pre, case_hc_pre, 12, 3},
    {HD_OP_argmax, case_argmax, 16, 2},
    {HD_OP_find_nonfinite, case_find_nonfinite, 20, 0},
    {HD_OP_COUNT, NULL, 0, 0},
};
