/* Cases of the matrix ops and of the experts around them. */
#include <stdio.h>
#include <string.h>

#include "opcase/opcase.h"

static size_t area(int32_t a, int32_t b)
{
    return (size_t)a * (size_t)b;
}

static const char *const format_name[] = {"f32", "bf16", "fp8", "fp4"};

/* ---- linear ---------------------------------------------------------------------------------- */

static void case_linear(hd_opcase *c)
{
    hd_weight_format format = (hd_weight_format)HD_OPCASE_PICK(c, HD_WEIGHT_FP8, HD_WEIGHT_FP4,
                                                               HD_WEIGHT_BF16, HD_WEIGHT_F32);
    int32_t n = HD_OPCASE_PICK(c, 1, 2, 0, 3, 5, 8, 17, 33, 70);
    int32_t rows = HD_OPCASE_PICK(c, 24, 1, 64, 127, 200, 16, 3);
    int32_t cols = HD_OPCASE_PICK(c, 64, 1024, 32, 2080, 128, 1152, 7168, 1000, 7);
    if (format == HD_WEIGHT_FP4) cols = (cols + 31) / 32 * 32;
    bool is_quantised = format != HD_WEIGHT_F32 && hd_opcase_int(c, 0, 2) > 0;
    hd_y_kind y_kind = hd_opcase_int(c, 0, 2) ? HD_Y_BF16 : HD_Y_F32;
    hd_opcase_shape(c, "[%d, %d] · %s [%d, %d]%s", n, cols, format_name[format], rows, cols,
                    is_quantised ? " quantised" : "");
    size_t bytes = area(n, rows) * (y_kind == HD_Y_F32 ? 4 : 2);
    void *y = hd_opcase_new(c, bytes);
    const void *x =
        is_quantised ? hd_opcase_act(c, n, cols) : hd_opcase_bf16(c, area(n, cols), 1.0f);
    HD_OPCASE_RUN(c, linear, n, 1, is_quantised ? HD_X_ACT : HD_X_BF16, y_kind, x,
                  hd_opcase_weight(c, format, rows, cols, 1), y);
    hd_opcase_keep(c, y_kind == HD_Y_F32 ? HD_OPCASE_F32 : HD_OPCASE_BF16, y, n, rows);
}

/* As the output projection: each group of rows of W has its own part of x. */
static void case_linear_groups(hd_opcase *c)
{
    hd_weight_format format = (hd_weight_format)HD_OPCASE_PICK(c, HD_WEIGHT_FP8, HD_WEIGHT_BF16);
    int32_t n = HD_OPCASE_PICK(c, 1, 5, 19), n_groups = HD_OPCASE_PICK(c, 2, 8, 3);
    int32_t rows = n_groups * HD_OPCASE_PICK(c, 64, 5, 128),
            cols = HD_OPCASE_PICK(c, 512, 2048, 96);
    hd_opcase_shape(c, "[%d, %d, %d] · %s [%d, %d]", n, n_groups, cols, format_name[format], rows,
                    cols);
    hd_bf16 *y = hd_opcase_new(c, area(n, rows) * 2);
    HD_OPCASE_RUN(c, linear, n, n_groups, HD_X_BF16, HD_Y_BF16,
                  hd_opcase_bf16(c, area(n, n_groups * cols), 1.0f),
                  hd_opcase_weight(c, format, rows, cols, 1), y);
    hd_opcase_keep(c, HD_OPCASE_BF16, y, n, rows);
}

/* ---- grouping -------------------------------------------------------------------------------- */

/* T·K choices, distinct and ascending in each row, as route makes them; host memory. */
static int32_t *random_choices(hd_opcase *c, int32_t n_rows, int32_t n_experts, int32_t k)
{
    int32_t *expert = hd_opcase_host(c, area(n_rows, k) * 4), left;
    for (int32_t t = 0; t < n_rows; t++) {
        left = k;
        for (int32_t e = 0; e < n_experts && left; e++)
            if (hd_opcase_int(c, 1, n_experts - e) <= left) expert[t * k + k - left--] = e;
    }
    return expert;
}

static void case_moe_group(hd_opcase *c)
{
    int32_t n = HD_OPCASE_PICK(c, 1, 0, 3, 40, 129), k = HD_OPCASE_SIZE(c, n_active, 6, 1, 2);
    int32_t n_experts = HD_OPCASE_SIZE(c, n_experts, 64, 8, 256, 6);
    hd_opcase_shape(c, "%d rows, %d of %d", n, k, n_experts);
    size_t bytes = area(n, k) * 4;
    int32_t *order = hd_opcase_new(c, bytes), *place = hd_opcase_new(c, bytes);
    int32_t *offset = hd_opcase_new(c, (size_t)(n_experts + 1) * 4);
    HD_OPCASE_RUN(c, moe_group, n, n_experts, k,
                  hd_opcase_put(c, random_choices(c, n, n_experts, k), bytes), order, place,
                  offset);
    hd_opcase_keep(c, HD_OPCASE_I32, order, n, k);
    hd_opcase_keep(c, HD_OPCASE_I32, place, n, k);
    hd_opcase_keep(c, HD_OPCASE_I32, offset, 1, n_experts + 1);
}

/* What moe_group made, on the device. */
typedef struct grouping {
    int32_t *order, *place, *offset;
} grouping;

static grouping group(hd_opcase *c, int32_t n, int32_t n_experts, int32_t k)
{
    size_t bytes = area(n, k) * 4;
    grouping g = {hd_opcase_room(c, bytes), hd_opcase_room(c, bytes),
                  hd_opcase_room(c, (size_t)(n_experts + 1) * 4)};
    HD_OPCASE_RUN(c, moe_group, n, n_experts, k,
                  hd_opcase_put(c, random_choices(c, n, n_experts, k), bytes), g.order, g.place,
                  g.offset);
    return g;
}

static void case_grouped_linear(hd_opcase *c)
{
    hd_weight_format format =
        (hd_weight_format)HD_OPCASE_PICK(c, HD_WEIGHT_FP4, HD_WEIGHT_FP8, HD_WEIGHT_BF16);
    int32_t n = HD_OPCASE_PICK(c, 1, 0, 7, 40), k = HD_OPCASE_PICK(c, 2, 6, 1);
    int32_t n_experts = HD_OPCASE_PICK(c, 8, 16), rows = HD_OPCASE_PICK(c, 32, 5, 130);
    int32_t cols = HD_OPCASE_PICK(c, 128, 1056, 64);
    bool by_order = hd_opcase_int(c, 0, 2) > 0, is_quantised = hd_opcase_int(c, 0, 3) > 0;
    hd_opcase_shape(c, "%d × %d of %d, %s [%d, %d]%s%s", n, k, n_experts, format_name[format], rows,
                    cols, by_order ? ", by order" : "", is_quantised ? ", quantised" : "");
    grouping g = group(c, n, n_experts, k);
    int32_t n_x = by_order ? n : n * k;
    const void *x =
        is_quantised ? hd_opcase_act(c, n_x, cols) : hd_opcase_bf16(c, area(n_x, cols), 1.0f);
    hd_bf16 *y = hd_opcase_new(c, area(n * k, rows) * 2);
    HD_OPCASE_RUN(c, grouped_linear, n * k, n_x, is_quantised ? HD_X_ACT : HD_X_BF16, x,
                  by_order ? g.order : NULL, by_order ? k : 1, g.offset,
                  hd_opcase_weight(c, format, rows, cols, n_experts), y);
    hd_opcase_keep(c, HD_OPCASE_BF16, y, n * k, rows);
}

/* ---- routing --------------------------------------------------------------------------------- */

/* Now and then few distinct z and biases, so that scores tie; and z beyond 20, where softplus
 * changes its form. */
static void case_route(hd_opcase *c)
{
    int32_t n = HD_OPCASE_PICK(c, 1, 0, 5, 33),
            n_experts = HD_OPCASE_SIZE(c, n_experts, 64, 8, 256, 384, 6);
    int32_t k = HD_OPCASE_SIZE(c, n_active, 6, 1, 2);
    bool is_hash = hd_opcase_int(c, 0, 2) == 0, has_ties = hd_opcase_int(c, 0, 1);
    enum { VOCAB = 50 };
    hd_opcase_shape(c, "%d rows, %d of %d%s%s", n, k, n_experts, is_hash ? ", hash" : "",
                    has_ties ? ", ties" : "");
    float *z = hd_opcase_host(c, area(n, n_experts) * 4),
          *bias = hd_opcase_host(c, (size_t)n_experts * 4);
    for (size_t i = 0; i < area(n, n_experts); i++)
        z[i] = has_ties ? (float)hd_opcase_int(c, 0, 2)
                        : (float)hd_opcase_int(c, -10000, 3000) * 0x1p-7f;
    for (int32_t i = 0; i < n_experts; i++)
        bias[i] =
            has_ties ? (float)hd_opcase_int(c, 0, 2) : (float)hd_opcase_int(c, -999, 999) * 0x1p-9f;
    int32_t *choices = random_choices(c, VOCAB, n_experts, k);
    int64_t *table = hd_opcase_host(c, area(VOCAB, k) * 8);
    for (int32_t i = 0; i < VOCAB * k; i++) /* not in ascending order */
        table[i] = choices[i / k * k + k - 1 - i % k];
    int32_t *expert = hd_opcase_new(c, area(n, k) * 4);
    float *weight = hd_opcase_new(c, area(n, k) * 4);
    HD_OPCASE_RUN(c, route, n, n_experts, k, 2.5f, hd_opcase_put(c, z, area(n, n_experts) * 4),
                  is_hash ? NULL : hd_opcase_put(c, bias, (size_t)n_experts * 4),
                  is_hash ? hd_opcase_put(c, table, area(VOCAB, k) * 8) : NULL,
                  hd_opcase_ints(c, (size_t)n, 0, VOCAB - 1), expert, weight);
    hd_opcase_keep(c, HD_OPCASE_I32, expert, n, k);
    hd_opcase_keep(c, HD_OPCASE_F32, weight, n, k);
}

/* ---- the experts as one op ------------------------------------------------------------------- */

static void case_moe_experts(hd_opcase *c)
{
    hd_weight_format format = (hd_weight_format)HD_OPCASE_PICK(c, HD_WEIGHT_FP4, HD_WEIGHT_FP8);
    bool is_shared = hd_opcase_int(c, 0, 2) == 0; /* the shared expert: one part, all rows */
    int32_t n = HD_OPCASE_PICK(c, 1, 0, 7, 40), k = is_shared ? 1 : HD_OPCASE_PICK(c, 2, 6);
    int32_t n_experts = is_shared ? 1 : HD_OPCASE_PICK(c, 8, 16);
    int32_t dim = HD_OPCASE_PICK(c, 128, 1056, 64), width = HD_OPCASE_PICK(c, 64, 160, 128);
    hd_opcase_shape(c, "%d × %d of %d, %s [%d, %d]", n, k, n_experts, format_name[format], width,
                    dim);
    hd_moe_experts_params p = {.n_rows = n * k,
                               .n_x_rows = n,
                               .divisor = k,
                               .limit = 10.0f,
                               .x = hd_opcase_act(c, n, dim),
                               .w1 = hd_opcase_weight(c, format, width, dim, n_experts),
                               .w3 = hd_opcase_weight(c, format, width, dim, n_experts),
                               .w2 = hd_opcase_weight(c, format, dim, width, n_experts),
                               .y = hd_opcase_new(c, area(n * k, dim) * 2)};
    if (!is_shared) {
        grouping g = group(c, n, n_experts, k);
        p.order = g.order;
        p.offset = g.offset;
        p.weight = hd_opcase_positive(c, area(n, k), 1.0f);
    }
    p.work = hd_opcase_work(c, HD_OP_moe_experts, &p);
    HD_OPCASE_SUBMIT(c, moe_experts, &p);
    hd_opcase_keep(c, HD_OPCASE_BF16, p.y, n * k, dim);
}

const hd_opcase_entry hd_opcase_linear_ops[] = {
    {HD_OP_linear, case_linear, 72, 0},
    {HD_OP_linear, case_linear_groups, 12, 0},
    {HD_OP_moe_group, case_moe_group, 20, 3},
    {HD_OP_grouped_linear, case_grouped_linear, 24, 0},
    {HD_OP_route, case_route, 40, 6},
    {HD_OP_moe_experts, case_moe_experts, 20, 0},
    {HD_OP_COUNT, NULL, 0, 0},
};
