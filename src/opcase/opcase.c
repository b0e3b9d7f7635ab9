#include "opcase/opcase.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"

/* ---- random numbers -------------------------------------------------------------------------- */

/* splitmix64: integers only, so the same on every machine. */
uint64_t hd_opcase_random(hd_opcase *c)
{
    uint64_t z = c->random += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

int32_t hd_opcase_int(hd_opcase *c, int32_t lo, int32_t hi)
{
    return lo + (int32_t)(hd_opcase_random(c) % (uint64_t)(hi - lo + 1));
}

int32_t hd_opcase_pick(hd_opcase *c, const int32_t *list, size_t n)
{
    /* The lists of one op begin at different places, so that their shortest entries do not meet in
     * the first case only. */
    size_t at = (size_t)(c->index + c->n_picks++);
    uint64_t any = hd_opcase_random(c);
    return list[(size_t)c->index < n ? at % n : any % n];
}

/* Sum of four uniform numbers, variance 1. */
static float about_normal(hd_opcase *c)
{
    uint64_t r = hd_opcase_random(c);
    int32_t sum = 0;
    for (int i = 0; i < 4; i++) sum += (int32_t)(r >> 16 * i & 0xffffu) - 32768;
    return (float)sum * 0x1.bb67aep-16f; /* √3 / 65536 */
}

static float value(hd_opcase *c, float width)
{
    float x = about_normal(c) * width;
    switch (hd_opcase_random(c) % 200) {
    case 0: return 0.0f;
    case 1: return -0.0f;
    case 2: return 0x1p-130f; /* counts as zero in arithmetic, but copies keep it */
    case 3: return 40.0f * x;
    default: return x;
    }
}

/* ---- the case -------------------------------------------------------------------------------- */

const hd_opcase_entry *hd_opcase_entry_at(int i)
{
    static const hd_opcase_entry *const tables[] = {hd_opcase_rows_ops, hd_opcase_linear_ops,
                                                    hd_opcase_cache_ops};
    for (size_t k = 0; k < HD_COUNT(tables); k++)
        for (const hd_opcase_entry *e = tables[k]; e->fn; e++)
            if (i-- == 0) return e;
    return NULL;
}

void hd_opcase_run(hd_opcase *c, hd_opdev *d, const hd_opcase_entry *e,
                   const hd_opcase_which *which)
{
    uint64_t first = which->seed + (uint64_t)e->op * 7919 + (uint64_t)which->index * 1000003u;
    *c = (hd_opcase){
        .d = d, .sizes = which->sizes, .ctx = which->ctx, .index = which->index, .random = first};
    e->fn(c);
    hd_opdev_sync(d);
    c->err = d->err;
    hd_opdev_clear(d);
}

void hd_opcase_deinit(hd_opcase *c)
{
    for (size_t i = 0; i < c->n_out; i++) hd_mem_free(c->out[i].data);
    for (size_t i = 0; i < c->n_host; i++) hd_mem_free(c->host[i]);
    *c = (hd_opcase){0};
}

void hd_opcase_shape(hd_opcase *c, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(c->shape, sizeof c->shape, fmt, args);
    va_end(args);
}

void *hd_opcase_host(hd_opcase *c, size_t bytes)
{
    HD_ASSERT(c->n_host < HD_COUNT(c->host));
    return c->host[c->n_host++] = hd_mem_calloc(bytes, 1);
}

/* ---- inputs ---------------------------------------------------------------------------------- */

void *hd_opcase_put(hd_opcase *c, const void *host, size_t bytes)
{
    return hd_opdev_put(c->d, host, bytes);
}

void *hd_opcase_room(hd_opcase *c, size_t bytes)
{
    return hd_opdev_put(c->d, NULL, bytes);
}

static void *move(hd_opcase *c, void *host, size_t bytes)
{
    void *p = hd_opcase_put(c, host, bytes);
    hd_mem_free(host);
    return p;
}

void hd_opcase_fill_bf16(hd_opcase *c, hd_bf16 *x, size_t n, float width)
{
    for (size_t i = 0; i < n; i++) x[i] = hd_bf16_from_f32(value(c, width));
}

hd_bf16 *hd_opcase_bf16(hd_opcase *c, size_t n, float width)
{
    hd_bf16 *x = hd_mem_calloc(n, sizeof *x);
    hd_opcase_fill_bf16(c, x, n, width);
    return move(c, x, n * sizeof *x);
}

float *hd_opcase_f32(hd_opcase *c, size_t n, float width)
{
    float *x = hd_mem_calloc(n, sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = value(c, width);
    return move(c, x, n * sizeof *x);
}

float *hd_opcase_positive(hd_opcase *c, size_t n, float top)
{
    float *x = hd_mem_calloc(n, sizeof *x);
    for (size_t i = 0; i < n; i++)
        x[i] = (float)(1 + hd_opcase_random(c) % 0xffffffu) * 0x1p-24f * top;
    return move(c, x, n * sizeof *x);
}

int32_t *hd_opcase_ints(hd_opcase *c, size_t n, int32_t lo, int32_t hi)
{
    int32_t *x = hd_mem_calloc(n, sizeof *x);
    for (size_t i = 0; i < n; i++) x[i] = hd_opcase_int(c, lo, hi);
    return move(c, x, n * sizeof *x);
}

void hd_opcase_shuffle(hd_opcase *c, int32_t *host, int32_t n)
{
    for (int32_t i = 0; i < n; i++) host[i] = i;
    for (int32_t i = n - 1; i > 0; i--) {
        int32_t j = hd_opcase_int(c, 0, i), x = host[i];
        host[i] = host[j];
        host[j] = x;
    }
}

void *hd_opcase_act(hd_opcase *c, int32_t rows, int32_t cols)
{
    hd_bf16 *x = hd_opcase_bf16(c, (size_t)rows * (size_t)cols, 1.0f);
    void *act = hd_opcase_room(c, hd_act_bytes(c->d->dev, rows, cols));
    HD_OPCASE_RUN(c, quantize_act, rows, cols, x, act);
    return act;
}

/* ---- weights --------------------------------------------------------------------------------- */

static size_t groups(int32_t n, int32_t group)
{
    return (size_t)((n + group - 1) / group);
}

static void fill_codes(hd_opcase *c, uint8_t *q, size_t n, bool is_e4m3)
{
    for (size_t i = 0; i < n; i++) {
        q[i] = (uint8_t)hd_opcase_random(c);
        if (is_e4m3 && (q[i] & 0x7f) == 0x7f) q[i] = 0; /* no NaN */
    }
}

static void fill_f32(hd_opcase *c, uint8_t *data, size_t n, float width)
{
    for (size_t i = 0; i < n; i++) {
        float x = value(c, width);
        memcpy(data + i * sizeof x, &x, sizeof x);
    }
}

static void fill_part(hd_opcase *c, hd_weight_format format, size_t n, float width, uint8_t *data)
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

hd_weight *hd_opcase_weight(hd_opcase *c, hd_weight_format format, int32_t rows, int32_t cols,
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
    size_t shift = hd_opcase_random(c) % 3; /* files promise no alignment */
    uint8_t *data = hd_opcase_host(c, (size_t)n_parts * bytes + shift);
    uint8_t *scales = hd_opcase_host(c, (size_t)n_parts * n_scales + 1);
    const void **data_of = hd_opcase_host(c, (size_t)n_parts * sizeof *data_of);
    const void **scale_of = hd_opcase_host(c, (size_t)n_parts * sizeof *scale_of);
    /* Codes of FP8 reach 448, of FP4 6: block scales bring them to about 1. */
    int32_t exponent = format == HD_WEIGHT_FP8 ? 127 - 8 : 127 - 3;
    for (int32_t part = 0; part < n_parts; part++) {
        data_of[part] = data + shift + (size_t)part * bytes;
        scale_of[part] = scales + (size_t)part * n_scales;
        fill_part(c, format, n, 1.0f / sqrtf((float)cols), data + shift + (size_t)part * bytes);
        for (size_t i = 0; i < n_scales; i++)
            scales[(size_t)part * n_scales + i] = (uint8_t)hd_opcase_int(c, exponent - 6, exponent);
    }
    return hd_opdev_pack(c->d, &(hd_weight_desc){.format = format,
                                                 .rows = rows,
                                                 .cols = cols,
                                                 .n_parts = n_parts,
                                                 .data = data_of,
                                                 .scale = n_scales ? scale_of : NULL});
}

/* ---- outputs --------------------------------------------------------------------------------- */

void *hd_opcase_new(hd_opcase *c, size_t bytes)
{
    return hd_opcase_room(c, bytes + HD_OPCASE_GUARD);
}

void *hd_opcase_inout(hd_opcase *c, const void *host, size_t bytes)
{
    uint8_t *copy = hd_mem_calloc(bytes + HD_OPCASE_GUARD, 1);
    memcpy(copy, host, bytes);
    memset(copy + bytes, 0xa5, HD_OPCASE_GUARD);
    return move(c, copy, bytes + HD_OPCASE_GUARD);
}

static size_t element_size(hd_opcase_kind kind)
{
    return kind == HD_OPCASE_BYTES ? 1 : kind == HD_OPCASE_BF16 ? 2 : 4;
}

static hd_opcase_output *new_output(hd_opcase *c, hd_opcase_kind kind, int64_t rows, int64_t cols,
                                    size_t guard)
{
    HD_ASSERT(c->n_out < HD_COUNT(c->out));
    hd_opcase_output *o = &c->out[c->n_out++];
    *o = (hd_opcase_output){.kind = kind, .rows = rows, .cols = cols};
    o->bytes = (size_t)rows * (size_t)cols * element_size(kind) + guard;
    o->data = hd_mem_calloc(o->bytes, 1);
    return o;
}

void hd_opcase_keep(hd_opcase *c, hd_opcase_kind kind, const void *device, int64_t rows,
                    int64_t cols)
{
    hd_opcase_output *o = new_output(c, kind, rows, cols, HD_OPCASE_GUARD);
    hd_opdev_get(c->d, o->data, device, o->bytes);
}

void hd_opcase_keep_act(hd_opcase *c, const void *act, int32_t rows, int32_t cols)
{
    size_t bytes = hd_act_bytes(c->d->dev, rows, cols);
    void *host = hd_mem_calloc(bytes, 1);
    hd_opdev_get(c->d, host, act, bytes);
    hd_opcase_output *o = new_output(c, HD_OPCASE_F32, rows, cols, 0);
    hd_opdev_act_values(c->d->dev, host, rows, cols, (float *)o->data);
    hd_mem_free(host);
}

void *hd_opcase_work(hd_opcase *c, hd_op op, const void *params)
{
    return hd_opcase_room(c, hd_dev_work_bytes(c->d->dev, op, params));
}

/* ---- comparing ------------------------------------------------------------------------------- */

static double element(const hd_opcase_output *o, size_t i)
{
    if (o->kind == HD_OPCASE_BF16)
        return (double)hd_f32_from_bf16(((const hd_bf16 *)(const void *)o->data)[i]);
    if (o->kind == HD_OPCASE_F32) return (double)((const float *)(const void *)o->data)[i];
    return o->kind == HD_OPCASE_I32 ? (double)((const int32_t *)(const void *)o->data)[i]
                                    : (double)o->data[i];
}

static void note_first(hd_opcase_diff *d, const hd_opcase_output *a, size_t i)
{
    bool is_inside = i < (size_t)(a->rows * a->cols);
    d->row = is_inside ? (int64_t)i / a->cols : -1;
    d->col = is_inside ? (int64_t)i % a->cols : (int64_t)i - a->rows * a->cols;
}

static void compare_output(const hd_opcase_output *a, const hd_opcase_output *b, hd_opcase_diff *d)
{
    size_t size = element_size(a->kind), n_before = d->n_differ;
    bool is_number = a->kind == HD_OPCASE_BF16 || a->kind == HD_OPCASE_F32;
    double largest = 0.0, difference = 0.0;
    HD_ASSERT(a->kind == b->kind && a->bytes == b->bytes);
    for (size_t i = 0; i < a->bytes / size; i++) {
        double x = element(a, i), y = element(b, i);
        if (is_number && i < (size_t)(a->rows * a->cols) && fabs(x) > largest) largest = fabs(x);
        if (memcmp(a->data + i * size, b->data + i * size, size) == 0) continue;
        if (d->n_differ++ == 0) {
            note_first(d, a, i);
            d->want = x;
            d->got = y;
        }
        if (isnan(x - y)) difference = INFINITY;
        if (fabs(x - y) > difference) difference = fabs(x - y);
    }
    if (d->n_differ == n_before) return;
    double part = (double)(d->n_differ - n_before) / (double)(a->bytes / size);
    double error = !is_number ? part : largest > 0.0 ? difference / largest : difference;
    if (error > d->worst[a->kind]) d->worst[a->kind] = error;
}

hd_opcase_diff hd_opcase_compare(const hd_opcase *want, const hd_opcase *got)
{
    hd_opcase_diff d = {0};
    HD_ASSERT(want->n_out == got->n_out);
    for (size_t i = 0; i < want->n_out; i++) {
        if (d.n_differ == 0) d.output = i;
        compare_output(&want->out[i], &got->out[i], &d);
    }
    return d;
}
