#include "support/devtest.h"

#include <stdio.h>
#include <stdlib.h>

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

void devtest_must(const devtest *t)
{
    if (hd_opdev_ok(&t->on)) return;
    fprintf(stderr, "%s: %s\n", t->label, t->on.err.text);
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
    hd_opdev_init(&t->on, t->dev, t->stream);
    return true;
}

void devtest_clear(devtest *t)
{
    devtest_sync(t);
    hd_opdev_clear(&t->on);
    devtest_must(t);
}

void devtest_close(devtest *t)
{
    devtest_clear(t);
    hd_opdev_deinit(&t->on);
    t->dev->stream.destroy(t->stream);
    hd_dev_close(t->dev);
}

void *devtest_put(devtest *t, const void *src, size_t bytes)
{
    void *p = hd_opdev_put(&t->on, src, bytes);
    devtest_must(t);
    return p;
}

void devtest_sync(devtest *t)
{
    hd_opdev_sync(&t->on);
    devtest_must(t);
}

void devtest_get(devtest *t, void *dst, const void *src, size_t bytes)
{
    hd_opdev_get(&t->on, dst, src, bytes);
    devtest_must(t);
}

hd_weight *devtest_pack(devtest *t, const hd_weight_desc *desc)
{
    hd_weight *w = hd_opdev_pack(&t->on, desc);
    devtest_must(t);
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
