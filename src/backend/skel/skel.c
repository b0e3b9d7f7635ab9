/* The smallest legal backend: copy this folder to begin a new one (src/backend/README.md).
 *
 * Ordinary memory stands in for the device's, and every mandatory op is handed to the plain C of
 * dev/hostref by `launch`, which stands in for the device's own "run this host function in stream
 * order". A real backend begins just so, with asynchronous copies around the host function, and
 * then replaces one op after the other by a kernel, each tested against the one it replaces. No
 * fused op is here: dev/compose.c makes them. It is never chosen by default.
 *
 * What differs on a device is said at each function. What must not differ: which arguments are
 * read when, who owns what, and the bits of each result (within the stated tolerance). */
#include <string.h>

#include "base/mem.h"
#include "dev/hostref/hostref.h"

enum { ALIGN = 256 }; /* of allocations, as dev.h asks */

/* ---- memory --------------------------------------------------------------------------------- */

static hd_status skel_alloc(hd_dev *dev, size_t bytes, void **out, hd_err *err)
{
    (void)dev;
    *out = hd_mem_try_aligned(ALIGN, bytes ? bytes : 1);
    if (!*out) HD_FAIL(err, HD_E_NOMEM, "out of memory for a device buffer of %zu bytes", bytes);
    return HD_OK;
}

/* A device's free may not wait for queued work: the caller has synced before. */
static void skel_free(hd_dev *dev, void *p)
{
    (void)dev;
    hd_mem_free(p);
}

/* Always a copy, as where the device cannot read host memory. */
static hd_status skel_adopt(hd_dev *dev, const void *host, size_t bytes, size_t align,
                            const void **out, hd_err *err)
{
    void *copy;
    (void)align; /* alloc gives 256 */
    HD_TRY(skel_alloc(dev, bytes, &copy, err));
    memcpy(copy, host, bytes);
    *out = copy;
    return HD_OK;
}

static void skel_release(hd_dev *dev, const void *adopted)
{
    (void)dev;
    hd_mem_free((void *)(uintptr_t)adopted);
}

/* The four copies below are queued on a device. `src` of an upload may change as soon as the call
 * has returned, so pageable memory goes through a pinned staging buffer first. */
static hd_status skel_upload(hd_stream *s, void *dst, const void *src, size_t bytes)
{
    (void)s;
    if (bytes > 0) memcpy(dst, src, bytes);
    return HD_OK;
}

static hd_status skel_download(hd_stream *s, void *dst, const void *src, size_t bytes)
{
    (void)s;
    if (bytes > 0) memcpy(dst, src, bytes);
    return HD_OK;
}

static hd_status skel_copy2d(hd_stream *s, void *dst, size_t dst_stride, const void *src,
                             size_t src_stride, size_t row_bytes, size_t n_rows)
{
    (void)s;
    if (row_bytes == 0) return HD_OK;
    for (size_t i = 0; i < n_rows; i++)
        memcpy((uint8_t *)dst + i * dst_stride, (const uint8_t *)src + i * src_stride, row_bytes);
    return HD_OK;
}

static hd_status skel_fill(hd_stream *s, void *dst, int byte, size_t bytes)
{
    (void)s;
    if (bytes > 0) memset(dst, byte, bytes);
    return HD_OK;
}

/* ---- weights -------------------------------------------------------------------------------- */

static size_t data_bytes(const hd_weight_desc *d)
{
    size_t n = (size_t)d->rows * (size_t)d->cols;
    switch (d->format) {
    case HD_WEIGHT_F32: return n * sizeof(float);
    case HD_WEIGHT_BF16: return n * sizeof(hd_bf16);
    case HD_WEIGHT_FP8: return n;
    case HD_WEIGHT_FP4: return n / 2;
    }
    return 0;
}

static size_t scale_bytes(const hd_weight_desc *d)
{
    size_t rows = (size_t)d->rows, cols = (size_t)d->cols;
    if (d->format == HD_WEIGHT_FP8) return ((rows + 127) / 128) * ((cols + 127) / 128);
    return d->format == HD_WEIGHT_FP4 ? rows * (cols / HD_FP4_GROUP) : 0;
}

/* The handle stays on the host; what it points to is device memory, in one piece that begins with
 * the first part. The layout is the file's, which dev/hostref reads. A device converts here to
 * what its matrix unit wants: another order, another scale format, padding. */
static hd_status skel_pack(hd_dev *dev, const hd_weight_desc *d, hd_weight **out, hd_err *err)
{
    hd_ref_weight *w;
    void *copy;
    HD_TRY(hd_ref_weight_create(d, &w, err)); /* refuses sizes that make no sense */
    size_t n = (size_t)d->n_parts, data = data_bytes(d), scale = scale_bytes(d);
    hd_status st = skel_alloc(dev, n * (data + scale), &copy, err);
    if (st != HD_OK) {
        hd_ref_weight_destroy(w);
        return st;
    }
    uint8_t *at = copy;
    for (size_t i = 0; i < n; i++, at += data) w->pointers[i] = memcpy(at, d->data[i], data);
    for (size_t i = 0; i < n && scale > 0; i++, at += scale)
        w->pointers[n + i] = memcpy(at, d->scale[i], scale);
    *out = &w->base;
    return HD_OK;
}

static void skel_unpack(hd_dev *dev, hd_weight *weight)
{
    hd_ref_weight *w = (hd_ref_weight *)weight;
    if (!w) return;
    skel_free(dev, (void *)(uintptr_t)w->data[0]);
    hd_ref_weight_destroy(w);
}

static size_t skel_act_bytes(const hd_dev *dev, int64_t rows, int64_t cols)
{
    (void)dev;
    return hd_hostref_act_bytes(rows, cols);
}

/* ---- streams -------------------------------------------------------------------------------- */

/* A device's stream also holds its queue handle, staging memory, and its sticky fault. */
static hd_status skel_stream_create(hd_dev *dev, hd_stream **out, hd_err *err)
{
    (void)err;
    *out = hd_mem_calloc(1, sizeof **out);
    (*out)->dev = dev;
    return HD_OK;
}

static void skel_stream_destroy(hd_stream *s)
{
    hd_mem_free(s);
}

/* A device waits here, at most timeout_ms, and reports the fault of anything that ran: HD_E_DEVICE
 * now and at every later sync of this stream. */
static hd_status skel_sync(hd_stream *s, int timeout_ms, hd_err *err)
{
    (void)s;
    (void)timeout_ms;
    (void)err;
    return HD_OK;
}

/* Nothing is ever pending, so an event has nothing to remember. */
static hd_status skel_event_create(hd_dev *dev, hd_event **out, hd_err *err)
{
    (void)dev;
    (void)err;
    *out = hd_mem_calloc(1, 1);
    return HD_OK;
}

static void skel_event_destroy(hd_event *e)
{
    hd_mem_free(e);
}

static hd_status skel_event_call(hd_stream *s, hd_event *e)
{
    (void)s;
    (void)e;
    return HD_OK;
}

/* ---- ops ------------------------------------------------------------------------------------ */

typedef hd_status (*host_func)(const void *params);

/* Run `f` in stream order. A device copies the params (they are the caller's again when this
 * returns), queues copies of the inputs to the host, its own "launch host function", and copies of
 * the outputs back; errors of `f` then become the stream's fault. Here the turn has come at once,
 * and `f` refuses arguments as a submission should. */
static hd_status launch(hd_stream *s, host_func f, const void *params)
{
    (void)s;
    return f(params);
}

/* An op that gets a kernel of its own gets a function beside these, and its slot. */
#define SKEL_OP(name)                                                                              \
    static hd_status host_##name(const void *params)                                               \
    {                                                                                              \
        return hd_hostref_##name(params);                                                          \
    }                                                                                              \
    static hd_status skel_##name(hd_stream *s, const hd_##name##_params *p)                        \
    {                                                                                              \
        return launch(s, host_##name, p);                                                          \
    }
HD_MANDATORY_OPS(SKEL_OP)
#undef SKEL_OP

/* ---- the device ----------------------------------------------------------------------------- */

/* A device looks for its libraries (dlopen) and cards here, without side effects: 0 without. */
static int skel_score(void)
{
    return 0;
}

/* What cannot be used is refused here, with the reason: no library, version too old, no card. */
static hd_status skel_open(const hd_dev_opts *opts, hd_dev *inner, hd_dev **out, hd_err *err)
{
    (void)opts;
    (void)inner;
    (void)err;
    hd_dev *dev = hd_mem_calloc(1, sizeof *dev);
    dev->props = (hd_dev_props){.description = "skeleton of a backend: host memory, scalar C",
                                .proof = HD_PROOF_L0,
                                .act_format = HD_ACT_E4M3,
                                .n_threads = 1};
    dev->mem = (hd_dev_mem_ops){.alloc = skel_alloc,
                                .free = skel_free,
                                .adopt = skel_adopt,
                                .release = skel_release,
                                .upload = skel_upload,
                                .download = skel_download,
                                .copy2d = skel_copy2d,
                                .fill = skel_fill,
                                .pack = skel_pack,
                                .unpack = skel_unpack};
    dev->stream = (hd_dev_stream_ops){.create = skel_stream_create,
                                      .destroy = skel_stream_destroy,
                                      .sync = skel_sync,
                                      .event_create = skel_event_create,
                                      .event_destroy = skel_event_destroy,
                                      .event_record = skel_event_call,
                                      .event_wait = skel_event_call};
#define SKEL_SLOT(name) dev->ops.name = skel_##name;
    HD_MANDATORY_OPS(SKEL_SLOT)
#undef SKEL_SLOT
    dev->act_bytes = skel_act_bytes;
    *out = dev;
    return HD_OK;
}

static void skel_close(hd_dev *dev)
{
    hd_mem_free(dev);
}

const hd_backend hd_backend_skel = {.abi = HD_DEV_ABI,
                                    .name = "skel",
                                    .about = "where a new backend starts; slow",
                                    .score = skel_score,
                                    .open = skel_open,
                                    .close = skel_close};
