#include "opcase/opdev.h"

#include <string.h>

#include "base/mem.h"

/* Longer than any op takes on any device that is of use. */
#define TIMEOUT_MS 600000

void hd_opdev_init(hd_opdev *d, hd_dev *dev, hd_stream *stream)
{
    *d = (hd_opdev){.dev = dev, .stream = stream};
}

void hd_opdev_check(hd_opdev *d, hd_status st, const char *what)
{
    if (st == HD_OK || !hd_opdev_ok(d)) return;
    (void)HD_SET_ERR(&d->err, st, "device '%s' refused '%s' with %s", d->dev->props.name, what,
                     hd_status_name(st));
}

/* For calls that fill an error text of their own. */
static void check_with(hd_opdev *d, hd_status st, const hd_err *err, const char *what)
{
    if (st == HD_OK || !hd_opdev_ok(d)) return;
    (void)HD_SET_ERR(&d->err, st, "%s failed on device '%s': %s", what, d->dev->props.name,
                     err->code != HD_OK ? err->text : hd_status_name(st));
}

void hd_opdev_sync(hd_opdev *d)
{
    hd_err err = {0};
    check_with(d, d->dev->stream.sync(d->stream, TIMEOUT_MS, &err), &err, "sync");
}

void hd_opdev_clear(hd_opdev *d)
{
    hd_opdev_sync(d);
    for (size_t i = 0; i < d->n_buffers; i++) d->dev->mem.free(d->dev, d->buffers[i]);
    for (size_t i = 0; i < d->n_weights; i++) d->dev->mem.unpack(d->dev, d->weights[i]);
    d->n_buffers = d->n_weights = 0;
    d->err = (hd_err){0};
}

void hd_opdev_deinit(hd_opdev *d)
{
    hd_opdev_clear(d);
    hd_mem_free(d->buffers);
    hd_mem_free(d->weights);
}

/* Room in a list for one more, or false. */
static bool grow(hd_opdev *d, void **list, size_t n)
{
    void *p = hd_mem_try_realloc(*list, n + 1, sizeof(void *));
    if (p) *list = p;
    hd_opdev_check(d, p ? HD_OK : HD_E_NOMEM, "list of buffers");
    return p != NULL;
}

/* From a copy, since a device may overwrite what was given to upload. */
static void upload(hd_opdev *d, void *dst, const void *src, size_t bytes)
{
    void *copy = hd_mem_try_aligned(16, bytes ? bytes : 1);
    hd_opdev_check(d, copy ? HD_OK : HD_E_NOMEM, "copy for an upload");
    if (!copy) return;
    if (bytes) memcpy(copy, src, bytes);
    hd_opdev_check(d, d->dev->mem.upload(d->stream, dst, copy, bytes), "upload");
    hd_mem_free(copy);
}

void *hd_opdev_put(hd_opdev *d, const void *src, size_t bytes)
{
    void *p;
    hd_err err = {0};
    if (!hd_opdev_ok(d) || !grow(d, (void **)&d->buffers, d->n_buffers)) return NULL;
    check_with(d, d->dev->mem.alloc(d->dev, bytes, &p, &err), &err, "alloc");
    if (!hd_opdev_ok(d)) return NULL;
    d->buffers[d->n_buffers++] = p;
    if (src)
        upload(d, p, src, bytes);
    else
        hd_opdev_check(d, d->dev->mem.fill(d->stream, p, 0xa5, bytes), "fill");
    return p;
}

void hd_opdev_get(hd_opdev *d, void *dst, const void *src, size_t bytes)
{
    if (!hd_opdev_ok(d)) return;
    hd_opdev_check(d, d->dev->mem.download(d->stream, dst, src, bytes), "download");
    hd_opdev_sync(d);
}

hd_weight *hd_opdev_pack(hd_opdev *d, const hd_weight_desc *desc)
{
    hd_weight *w;
    hd_err err = {0};
    if (!hd_opdev_ok(d) || !grow(d, (void **)&d->weights, d->n_weights)) return NULL;
    check_with(d, d->dev->mem.pack(d->dev, desc, &w, &err), &err, "pack");
    if (!hd_opdev_ok(d)) return NULL;
    return d->weights[d->n_weights++] = w;
}

void hd_opdev_act_values(const hd_dev *dev, const void *act, int64_t rows, int64_t cols, float *out)
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
