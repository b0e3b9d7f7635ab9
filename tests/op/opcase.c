#include "opcase.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* ---- random numbers -------------------------------------------------------------------------- */

/* splitmix64: integers only, so the same on every machine. */
uint64_t opcase_random(opcase *c)
{
    uint64_t z = c->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

int32_t opcase_int(opcase *c, int32_t lo, int32_t hi)
{
    return lo + (int32_t)(opcase_random(c) % (uint64_t)(hi - lo + 1));
}

int32_t opcase_pick(opcase *c, const int32_t *list, size_t n)
{
    /* The lists of one op begin at different places, so that their shortest entries do not meet in
     * the first case only. */
    size_t at = (size_t)(c->index + c->n_picks++);
    uint64_t any = opcase_random(c);
    return list[(size_t)c->index < n ? at % n : any % n];
}

/* Sum of four uniform numbers, variance 1. */
static float about_normal(opcase *c)
{
    uint64_t r = opcase_random(c);
    int32_t sum = 0;
    for (int i = 0; i < 4; i++) sum += (int32_t)(r >> 16 * i & 0xffffu) - 32768;
    return (float)sum * 0x1.bb67aep-16f; /* √3 / 65536 */
}

static float value(opcase *c, float width)
{
    float x = about_normal(c) * width;
    switch (opcase_random(c) % 200) {
    case 0: return 0.0f;
    case 1: return -0.0f;
    case 2: return 0x1p-130f; /* counts as zero in arithmetic, but copies keep it */
    case 3: return 40.0f * x;
    default: return x;
    }
}

/* ---- the case -------------------------------------------------------------------------------- */

void opcase_run(opcase *c, devtest *t, opcase_fn *fn, uint64_t seed, int index)
{
    *c = (opcase){.t = t, .index = index, .random = seed + (uint64_t)index * 1000003u};
    fn(c);
    devtest_clear(t);
}

void opcase_deinit(opcase *c)
{
    for (size_t i = 0; i < c->n_out; i++) hd_mem_free(c->out[i].data);
    for (size_t i = 0; i < c->n_host; i++) hd_mem_free(c->host[i]);
    *c = (opcase){0};
}

void opcase_shape(opcase *c, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(c->shape, sizeof c->shape, fmt, args);
    va_end(args);
}

static void must(bool ok, const char *what)
{
    if (ok) return;
    fprintf(stderr, "op tests: %s\n", what);
    exit(1);
}

void *opcase_host(opcase *c, size_t bytes)
{
    must(c->n_host < HD_COUNT(c->host), "too many pieces of host memory");
    void *p = hd_mem_try_calloc(bytes, 1);
    must(p != NULL, "out of memory");
    c->host[c->n_host++] = p;
    return p;
}

/* ---- inputs ---------------------------------------------------------------------------------- */

void *opcase_put(opcase *c, const void *host, size_t bytes)
{
    return devtest_put(c->t, host, bytes);
}

/* Temporary host memory, gone when it is on the device. */
static void *temporary(size_t bytes)
{
    void *p = hd_mem_try_calloc(bytes, 1);
    must(p != NULL, "out of memory");
    return p;
}

static void *move(opcase *c, void *host, size_t bytes)
{
    void *p = opcase_put(c, host, bytes);
    hd_mem_free(host);
    return p;
}

void opcase_fill_bf16(opcase *c, hd_bf16 *x, size_t n, float width)
{
    for (size_t i = 0; i < n; i++) x[i] = hd_bf16_from_f32(value(c, width));
}

hd_bf16 *opcase_bf16(opcase *c, size_t n, float width)
{
    hd_bf16 *x = temporary(n * sizeof *x);
    opcase_fill_bf16(c, x, n, width);
    return move(c, x, n * sizeof *x);
}

float *opcase_f32(opcase *c, size_t n, float width)
{
    float *x = temporary(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = value(c, width);
    return move(c, x, n * sizeof *x);
}

float *opcase_positive(opcase *c, size_t n, float top)
{
    float *x = temporary(n * sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(1 + opcase_random(c) % 0xffffffu) * 0x1p-24f * top;
    return move(c, x, n * sizeof *x);
}

int32_t *opcase_ints(opcase *c, size_t n, int32_t lo, int32_t hi)
{
    int32_t *x = temporary(n * sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = opcase_int(c, lo, hi);
    return move(c, x, n * sizeof *x);
}

void opcase_shuffle(opcase *c, int32_t *host, int32_t n)
{
    for (int32_t i = 0; i < n; i++) host[i] = i;
    for (int32_t i = n - 1; i > 0; i--) {
        int32_t j = opcase_int(c, 0, i), x = host[i];
        host[i] = host[j];
        host[j] = x;
    }
}

void *opcase_act(opcase *c, int32_t rows, int32_t cols)
{
    hd_bf16 *x = opcase_bf16(c, (size_t)rows * (size_t)cols, 1.0f);
    void *act = devtest_put(c->t, NULL, hd_act_bytes(c->t->dev, rows, cols));
    OPCASE_RUN(c, quantize_act, rows, cols, x, act);
    return act;
}

/* ---- weights --------------------------------------------------------------------------------- */

static size_t groups(int32_t n, int32_t group)
{
    return (size_t)((n + group - 1) / group);
}

static void fill_codes(opcase *c, uint8_t *q, size_t n, bool is_e4m3)
{
    for (size_t i = 0; i < n; i++) {
        q[i] = (uint8_t)opcase_random(c);
        if (is_e4m3 && (q[i] & 0x7f) == 0x7f) q[i] = 0; /* no NaN */
    }
}

static void fill_f32(opcase *c, uint8_t *data, size_t n, float width)
{
    for (size_t i = 0; i < n; i++) {
        float x = value(c, width);
        memcpy(data + i * sizeof x, &x, sizeof x);
    }
}

static void fill_part(opcase *c, hd_weight_format format, size_t n, float width, uint8_t *data)
{
    switch (format) {
    case HD_WEIGHT_F32: fill_f32(c, data, n, width); break;
    case HD_WEIGHT_BF16:
        for (size_t i = 0; i < n; i++) {
            hd_bf16 h = hd_bf16_from_f32(value(c, width));
            memcpy(data + i * sizeof h, &h, sizeof h);
        }
        break;
    case HD_WEIGHT_FP8: fill_codes(c, data, n, true); break;
    case HD_WEIGHT_FP4: fill_codes(c, data, n / 2, false); break;
    }
}

hd_weight *opcase_weight(opcase *c, hd_weight_format format, int32_t rows, int32_t cols,
                         int32_t n_parts)
{
    size_t n = (size_t)rows * (size_t)cols;
    size_t bytes = format == HD_WEIGHT_F32    ? 4 * n
                   : format == HD_WEIGHT_BF16 ? 2 * n
                   : format == HD_WEIGHT_FP8  ? n
                                              : n / 2;
    size_t n_scales = format == HD_WEIGHT_FP8   ? groups(rows, 128) * groups(cols, 128)
                      : format == HD_WEIGHT_FP4 ? (size_t)rows * groups(cols, HD_FP4_GROUP)
                                                : 0;
    size_t shift = opcase_random(c) % 3; /* files promise no alignment */
    uint8_t *data = opcase_host(c, (size_t)n_parts * bytes + shift);
    uint8_t *scales = opcase_host(c, (size_t)n_parts * n_scales + 1);
    const void **data_of = opcase_host(c, (size_t)n_parts * sizeof *data_of);
    const void **scale_of = opcase_host(c, (size_t)n_parts * sizeof *scale_of);
    /* Codes of FP8 reach 448, of FP4 6: block scales bring them to about 1. */
    int32_t exponent = format == HD_WEIGHT_FP8 ? 127 - 8 : 127 - 3;
    for (int32_t part = 0; part < n_parts; part++) {
        data_of[part] = data + shift + (size_t)part * bytes;
        scale_of[part] = scales + (size_t)part * n_scales;
        fill_part(c, format, n, 1.0f / sqrtf((float)cols), data + shift + (size_t)part * bytes);
        for (size_t i = 0; i < n_scales; i++)
            scales[(size_t)part * n_scales + i] = (uint8_t)opcase_int(c, exponent - 6, exponent);
    }
    return devtest_pack(c->t, &(hd_weight_desc){.format = format,
                                                .rows = rows,
                                                .cols = cols,
                                                .n_parts = n_parts,
                                                .data = data_of,
                                                .scale = n_scales ? scale_of : NULL});
}

/* ---- outputs --------------------------------------------------------------------------------- */

void *opcase_new(opcase *c, size_t bytes)
{
    return devtest_put(c->t, NULL, bytes + OPCASE_GUARD);
}

void *opcase_inout(opcase *c, const void *host, size_t bytes)
{
    uint8_t *copy = temporary(bytes + OPCASE_GUARD);
    memcpy(copy, host, bytes);
    memset(copy + bytes, 0xa5, OPCASE_GUARD);
    return move(c, copy, bytes + OPCASE_GUARD);
}

static opcase_output *new_output(opcase *c, opcase_kind kind, size_t bytes)
{
    must(c->n_out < HD_COUNT(c->out), "too many outputs");
    opcase_output *o = &c->out[c->n_out++];
    *o = (opcase_output){kind, bytes, temporary(bytes)};
    return o;
}

void opcase_keep(opcase *c, opcase_kind kind, const void *device, size_t bytes)
{
    opcase_output *o = new_output(c, kind, bytes + OPCASE_GUARD);
    devtest_get(c->t, o->data, device, o->bytes);
}

void opcase_keep_act(opcase *c, const void *act, int32_t rows, int32_t cols)
{
    size_t bytes = hd_act_bytes(c->t->dev, rows, cols);
    void *host = temporary(bytes);
    devtest_get(c->t, host, act, bytes);
    opcase_output *o = new_output(c, OPCASE_F32, (size_t)rows * (size_t)cols * sizeof(float));
    devtest_act_values(c->t->dev, host, rows, cols, (float *)o->data);
    hd_mem_free(host);
}

void *opcase_work(opcase *c, hd_op op, const void *params)
{
    return devtest_put(c->t, NULL, hd_dev_work_bytes(c->t->dev, op, params));
}

/* ---- comparing ------------------------------------------------------------------------------- */

static size_t element_size(opcase_kind kind)
{
    return kind == OPCASE_BYTES ? 1 : kind == OPCASE_BF16 ? 2 : 4;
}

static double element(const opcase_output *o, size_t i)
{
    if (o->kind == OPCASE_BF16) return (double)hd_f32_from_bf16(((const hd_bf16 *)o->data)[i]);
    if (o->kind == OPCASE_F32) return (double)((const float *)o->data)[i];
    return o->kind == OPCASE_I32 ? (double)((const int32_t *)o->data)[i] : (double)o->data[i];
}

static size_t compare_output(const opcase_output *a, const opcase_output *b, double *worst)
{
    size_t size = element_size(a->kind), n_off = 0;
    bool is_number = a->kind == OPCASE_BF16 || a->kind == OPCASE_F32;
    double largest = 0.0, difference = 0.0;
    must(a->kind == b->kind && a->bytes == b->bytes, "runs of one case with different outputs");
    for (size_t i = 0; i < a->bytes / size; i++) {
        double x = element(a, i), y = element(b, i);
        if (is_number && fabs(x) > largest) largest = fabs(x);
        if (memcmp(a->data + i * size, b->data + i * size, size) == 0) continue;
        n_off++;
        if (!(fabs(x - y) <= difference)) difference = fabs(x - y);
    }
    if (n_off) {
        double relative = is_number && largest > 0.0 ? difference / largest : 1.0;
        if (!(relative <= *worst)) *worst = relative;
    }
    return n_off;
}

size_t opcase_compare(const opcase *a, const opcase *b, double *worst)
{
    size_t n_off = 0;
    must(a->n_out == b->n_out, "runs of one case with different numbers of outputs");
    for (size_t i = 0; i < a->n_out; i++) n_off += compare_output(&a->out[i], &b->out[i], worst);
    return n_off;
}
