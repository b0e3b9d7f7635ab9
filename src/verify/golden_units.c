/* Single primitives against golden values: the frame. The checks are in golden_units_rows.c and
 * golden_units_keys.c. */
#include "verify/golden_units.h"

#include <math.h>
#include <stdlib.h>

#include "base/mem.h"

/* ---- what the file holds --------------------------------------------------------------------- */

/* The checks rely on these, so a file that differs is refused. */
static const struct {
    const char *name;
    hd_dtype dtype;
    int64_t shape[3]; /* 0 behind the last */
} expected[] = {
    {"actq8_b128.q", HD_DTYPE_F8_E4M3, {48, 512}},
    {"actq8_b128.scale", HD_DTYPE_F8_E8M0, {48, 4}},
    {"actq8_b128.x", HD_DTYPE_BF16, {48, 512}},
    {"compress_pool.g", HD_DTYPE_F32, {8, 512}},
    {"compress_pool.k", HD_DTYPE_F32, {8, 512}},
    {"compress_pool.y", HD_DTYPE_F32, {512}},
    {"fq4_b32.x", HD_DTYPE_BF16, {48, 128}},
    {"fq4_b32.y", HD_DTYPE_BF16, {48, 128}},
    {"fq8_b64.x", HD_DTYPE_BF16, {48, 448}},
    {"fq8_b64.y", HD_DTYPE_BF16, {48, 448}},
    {"hadamard.x", HD_DTYPE_BF16, {24, 128}},
    {"hadamard.y", HD_DTYPE_BF16, {24, 128}},
    {"index_score.k", HD_DTYPE_BF16, {60, 128}},
    {"index_score.q", HD_DTYPE_BF16, {5, 16, 128}},
    {"index_score.score", HD_DTYPE_BF16, {5, 60}},
    {"index_score.w", HD_DTYPE_BF16, {5, 16}},
    {"linear_bf16.w", HD_DTYPE_BF16, {256, 512}},
    {"linear_bf16.x", HD_DTYPE_BF16, {13, 512}},
    {"linear_bf16.y", HD_DTYPE_BF16, {13, 256}},
    {"linear_fp4.scale", HD_DTYPE_F8_E8M0, {384, 16}},
    {"linear_fp4.w", HD_DTYPE_I8, {384, 256}},
    {"linear_fp4.x", HD_DTYPE_BF16, {13, 512}},
    {"linear_fp4.y", HD_DTYPE_BF16, {13, 384}},
    {"linear_fp8.scale", HD_DTYPE_F8_E8M0, {3, 4}},
    {"linear_fp8.w", HD_DTYPE_F8_E4M3, {384, 512}},
    {"linear_fp8.x", HD_DTYPE_BF16, {13, 512}},
    {"linear_fp8.y", HD_DTYPE_BF16, {13, 384}},
    {"q_norm_head.x", HD_DTYPE_BF16, {32, 512}},
    {"q_norm_head.y", HD_DTYPE_BF16, {32, 512}},
    {"rms_norm.w", HD_DTYPE_BF16, {256}},
    {"rms_norm.x", HD_DTYPE_BF16, {16, 256}},
    {"rms_norm.y", HD_DTYPE_BF16, {16, 256}},
    {"rope_plain.cos", HD_DTYPE_F32, {14, 32}},
    {"rope_plain.sin", HD_DTYPE_F32, {14, 32}},
    {"rope_plain.x", HD_DTYPE_BF16, {14, 64}},
    {"rope_plain.y", HD_DTYPE_BF16, {14, 64}},
    {"rope_plain.y_inverse", HD_DTYPE_BF16, {14, 64}},
    {"rope_yarn.cos", HD_DTYPE_F32, {14, 32}},
    {"rope_yarn.sin", HD_DTYPE_F32, {14, 32}},
    {"rope_yarn.x", HD_DTYPE_BF16, {14, 64}},
    {"rope_yarn.y", HD_DTYPE_BF16, {14, 64}},
    {"rope_yarn.y_inverse", HD_DTYPE_BF16, {14, 64}},
    {"sinkhorn.base", HD_DTYPE_F32, {24}},
    {"sinkhorn.comb", HD_DTYPE_F32, {64, 4, 4}},
    {"sinkhorn.mix", HD_DTYPE_F32, {64, 24}},
    {"sinkhorn.post", HD_DTYPE_F32, {64, 4}},
    {"sinkhorn.pre", HD_DTYPE_F32, {64, 4}},
    {"sinkhorn.scale", HD_DTYPE_BF16, {3}},
    {"sparse_attn.idx", HD_DTYPE_I32, {9, 200}},
    {"sparse_attn.kv", HD_DTYPE_BF16, {300, 512}},
    {"sparse_attn.o", HD_DTYPE_BF16, {9, 4, 512}},
    {"sparse_attn.q", HD_DTYPE_BF16, {9, 4, 512}},
    {"sparse_attn.sink", HD_DTYPE_F32, {4}},
    {"sqrt_softplus.x", HD_DTYPE_F32, {72}},
    {"sqrt_softplus.y", HD_DTYPE_F32, {72}},
    {"swiglu.gate", HD_DTYPE_BF16, {16, 128}},
    {"swiglu.up", HD_DTYPE_BF16, {16, 128}},
    {"swiglu.weight", HD_DTYPE_F32, {16}},
    {"swiglu.y", HD_DTYPE_BF16, {16, 128}},
};

static hd_status check_tensor(const hd_st *st, size_t i, hd_err *err)
{
    const hd_st_tensor *t = hd_st_find(st, hd_str_from(expected[i].name));
    int32_t rank = 0;
    while (rank < 3 && expected[i].shape[rank]) rank++;
    bool ok = t && t->dtype == expected[i].dtype && t->rank == rank;
    for (int32_t k = 0; ok && k < rank; k++) ok = t->shape[k] == expected[i].shape[k];
    if (!ok)
        HD_FAIL(err, HD_E_FORMAT, "golden tensor '%s' is missing, or of another dtype or shape",
                expected[i].name);
    return HD_OK;
}

hd_status hd_golden_units_open(const char *path, hd_st **out, hd_err *err)
{
    hd_st *st;
    HD_TRY(hd_st_open(path, 0, NULL, &st, err));
    for (size_t i = 0; i < HD_COUNT(expected); i++) {
        hd_status bad = check_tensor(st, i, err);
        if (bad == HD_OK) continue;
        hd_st_close(st);
        return hd_err_context(err, bad, "golden data '%s'", path);
    }
    *out = st;
    return HD_OK;
}

const hd_st_tensor *hd_units_tensor(const hd_units *u, const char *name)
{
    const hd_st_tensor *x = hd_st_find(u->st, hd_str_from(name));
    HD_ASSERT(x); /* seen by hd_golden_units_open */
    return x;
}

/* The mapping does not promise alignment: a copy. */
void *hd_units_put(const hd_units *u, const char *name)
{
    const hd_st_tensor *x = hd_units_tensor(u, name);
    return hd_opdev_put(u->d, x->data, x->n_bytes);
}

float hd_units_at(const hd_st_tensor *x, size_t i)
{
    if (x->dtype == HD_DTYPE_BF16) {
        hd_bf16 h;
        memcpy(&h, x->data + i * sizeof h, sizeof h);
        return hd_f32_from_bf16(h);
    }
    float f;
    memcpy(&f, x->data + i * sizeof f, sizeof f);
    return f;
}

size_t hd_units_count(const hd_st_tensor *x)
{
    return (size_t)(x->n_bytes / hd_dtype_size(x->dtype));
}

/* ---- comparing ------------------------------------------------------------------------------- */

void hd_units_report(const hd_units *u, const char *what, double error, double bound)
{
    if (!u->d || hd_opdev_ok(u->d)) u->report(u->ctx, &(hd_golden_result){what, error, bound});
}

void hd_units_report_steps(const hd_units *u, const char *what, bool is_sum, size_t n_off, size_t n,
                           int worst_steps)
{
    double part = (double)n_off / (double)n;
    hd_units_report(u, what, worst_steps > 1 ? 1.0 : part, is_sum ? HD_GOLDEN_STEP_LIMIT : 0.0);
}

int hd_units_bf16_steps(hd_bf16 a, hd_bf16 b)
{
    int x = a & 0x8000 ? -(a & 0x7fff) : a, y = b & 0x8000 ? -(b & 0x7fff) : b;
    return abs(x - y);
}

void hd_units_compare_bf16(const hd_units *u, const char *what, const hd_bf16 *result,
                           const hd_st_tensor *golden, bool is_sum)
{
    size_t n = hd_units_count(golden), n_off = 0;
    int worst = 0;
    hd_bf16 *y = hd_mem_calloc(n, sizeof *y);
    hd_opdev_get(u->d, y, result, n * sizeof *y);
    for (size_t i = 0; i < n; i++) {
        int steps = hd_units_bf16_steps(y[i], hd_bf16_from_f32(hd_units_at(golden, i)));
        if (steps > worst) worst = steps;
        n_off += steps != 0;
    }
    hd_mem_free(y);
    hd_units_report_steps(u, what, is_sum, n_off, n, worst);
}

void hd_units_compare_f32(const hd_units *u, const char *what, const float *result,
                          const hd_st_tensor *golden)
{
    size_t n = hd_units_count(golden);
    double worst = 0.0, largest = 0.0;
    float *y = hd_mem_calloc(n, sizeof *y);
    hd_opdev_get(u->d, y, result, n * sizeof *y);
    for (size_t i = 0; i < n; i++) {
        double g = (double)hd_units_at(golden, i), d = fabs((double)y[i] - g);
        if (isnan(d)) d = (double)INFINITY;
        if (d > worst) worst = d;
        if (fabs(g) > largest) largest = fabs(g);
    }
    hd_mem_free(y);
    hd_units_report(u, what, worst / largest, HD_GOLDEN_EXACT_LIMIT);
}

/* ---- all of them ----------------------------------------------------------------------------- */

hd_status hd_golden_units(const hd_st *st, hd_opdev *d, hd_golden_report *report, void *ctx,
                          hd_err *err)
{
    const hd_units u = {st, d, report, ctx};
    hd_units_check_rows(&u);
    hd_units_check_keys(&u);
    hd_opdev_sync(d);
    hd_err failed = d->err;
    hd_opdev_clear(d);
    if (failed.code != HD_OK && err) *err = failed;
    return failed.code;
}

void hd_golden_units_ref(const hd_st *st, hd_golden_report *report, void *ctx)
{
    const hd_units u = {st, NULL, report, ctx};
    hd_units_check_rows_ref(&u);
    hd_units_check_keys_ref(&u);
}
