#include "support/devtest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

const devtest_spec devtest_specs[] = {
    {"ref", NULL},       {"defer:ref", NULL}, {"trace:ref", NULL}, {"skel", NULL},
    {"cpu", "portable"}, {"cpu", "avx2"},     {"cpu", "avx512"},   {"cpu", "avx512bf16"},
    {"cpu", "neon"},     {"defer:cpu", NULL}, {NULL, NULL},
};

void devtest_check(const devtest *t, hd_status status, const char *what)
{
    if (status == HD_OK) return;
    fprintf(stderr, "%s: %s failed with status %d\n", t->label, what, status);
    exit(1);
}

bool devtest_open(devtest *t, const devtest_spec *spec, const hd_dev_opts *opts)
{
    hd_err err = {0};
    hd_dev_opts o = opts ? *opts : (hd_dev_opts){0};
    o.isa = spec->isa;
    *t = (devtest){0};
    snprintf(t->label, sizeof t->label, "%s%s%s", spec->name, spec->isa ? " " : "",
             spec->isa ? spec->isa : "");
    hd_status status = hd_dev_open(spec->name, &o, &t->dev, &err);
    if (status == HD_E_NOTFOUND || status == HD_E_UNSUPPORTED) return false;
    if (status != HD_OK) fprintf(stderr, "%s\n", err.text);
    devtest_check(t, status, "open");
    devtest_check(t, t->dev->stream.create(t->dev, &t->stream, &err), "stream create");
    return true;
}

void devtest_clear(devtest *t)
{
    devtest_sync(t);
    for (size_t i = 0; i < t->n_buffers; i++) t->dev->mem.free(t->dev, t->buffers[i]);
    for (size_t i = 0; i < t->n_weights; i++) t->dev->mem.unpack(t->dev, t->weights[i]);
    t->n_buffers = t->n_weights = 0;
}

void devtest_close(devtest *t)
{
    devtest_clear(t);
    t->dev->stream.destroy(t->stream);
    hd_dev_close(t->dev);
    hd_mem_free(t->buffers);
    hd_mem_free(t->weights);
}

static void *grow(const devtest *t, void *list, size_t n)
{
    void *p = hd_mem_try_realloc(list, n + 1, sizeof(void *));
    devtest_check(t, p ? HD_OK : HD_E_NOMEM, "list of buffers");
    return p;
}

void *devtest_put(devtest *t, const void *src, size_t bytes)
{
    void *p;
    hd_err err = {0};
    devtest_check(t, t->dev->mem.alloc(t->dev, bytes, &p, &err), "alloc");
    t->buffers = grow(t, t->buffers, t->n_buffers);
    t->buffers[t->n_buffers++] = p;
    if (src) { /* from a copy, since `defer:` devices overwrite what was uploaded */
        void *copy = hd_mem_try_aligned(16, bytes);
        devtest_check(t, copy ? HD_OK : HD_E_NOMEM, "copy for an upload");
        memcpy(copy, src, bytes);
        devtest_check(t, t->dev->mem.upload(t->stream, p, copy, bytes), "upload");
        hd_mem_free(copy);
    } else {
        devtest_check(t, t->dev->mem.fill(t->stream, p, 0xa5, bytes), "fill");
    }
    return p;
}

void devtest_sync(devtest *t)
{
    hd_err err = {0};
    hd_status status = t->dev->stream.sync(t->stream, 60000, &err);
    if (status != HD_OK) fprintf(stderr, "%s\n", err.text);
    devtest_check(t, status, "sync");
}

void devtest_get(devtest *t, void *dst, const void *src, size_t bytes)
{
    devtest_check(t, t->dev->mem.download(t->stream, dst, src, bytes), "download");
    devtest_sync(t);
}

hd_weight *devtest_pack(devtest *t, const hd_weight_desc *desc)
{
    hd_weight *w;
    hd_err err = {0};
    hd_status status = t->dev->mem.pack(t->dev, desc, &w, &err);
    if (status != HD_OK) fprintf(stderr, "%s\n", err.text);
    devtest_check(t, status, "pack");
    t->weights = grow(t, t->weights, t->n_weights);
    t->weights[t->n_weights++] = w;
    return w;
}

hd_weight *devtest_weight(devtest *t, hd_weight_format format, int32_t rows, int32_t cols,
                          const void *data, const void *scale)
{
    return devtest_pack(t, &(hd_weight_desc){.format = format,
                                             .rows = rows,
                                             .cols = cols,
                                             .n_parts = 1,
                                             .data = &data,
                                             .scale = scale ? &scale : NULL});
}

void devtest_act_values(const hd_dev *dev, const void *act, int64_t rows, int64_t cols, float *out)
{
    size_t n = (size_t)(rows * cols), groups = (size_t)((cols + HD_ACT_GROUP - 1) / HD_ACT_GROUP);
    const uint8_t *q = act, *scale = q + (n + 63) / 64 * 64;
    for (size_t i = 0; i < n; i++) {
        if (dev->props.act_format == HD_ACT_BF16) {
            out[i] = hd_f32_from_bf16(((const hd_bf16 *)act)[i]);
            continue;
        }
        size_t row = i / (size_t)cols, group = i % (size_t)cols / HD_ACT_GROUP;
        out[i] = hd_f32_from_e4m3(q[i]) * hd_f32_from_e8m0(scale[row * groups + group]);
    }
}
