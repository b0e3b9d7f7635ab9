/* Backend `ref`: the definition of the ops (dev/hostref) as a device.
 *
 * Host memory is device memory: weights and aligned constants are borrowed, not copied. One
 * thread; every submission has finished when it returns, which the asynchronous contract allows.
 * No fused op of its own, so all compositions run through it too. It is what other backends are
 * compared with, not what anybody should run a large model on.
 *
 * Proof level L3: the processor that runs it is a real device. */
#include <stdint.h>
#include <string.h>

#include "base/mem.h"
#include "dev/hostref/hostref.h"

#define ALIGN 256 /* of allocations, as dev.h asks */

/* A constant that had to be copied because it was not aligned; the copy follows the header. */
typedef struct ref_copy {
    struct ref_copy *next;
    HD_ALIGNED(ALIGN) uint8_t data[];
} ref_copy;

typedef struct ref_dev {
    hd_dev base;
    ref_copy *copies;
} ref_dev;

/* ---- memory ---------------------------------------------------------------------------------- */

static hd_status ref_alloc(hd_dev *dev, size_t bytes, void **out, hd_err *err)
{
    (void)dev;
    *out = hd_mem_try_aligned(ALIGN, bytes ? bytes : 1);
    if (!*out) HD_FAIL(err, HD_E_NOMEM, "out of memory for a device buffer of %zu bytes", bytes);
    return HD_OK;
}

static void ref_free(hd_dev *dev, void *p)
{
    (void)dev;
    hd_mem_free(p);
}

static hd_status ref_adopt(hd_dev *dev, const void *host, size_t bytes, size_t align,
                           const void **out, hd_err *err)
{
    ref_dev *d = (ref_dev *)dev;
    *out = NULL;
    if (align == 0 || align > ALIGN || (align & (align - 1))) {
        HD_FAIL(err, HD_E_ARG, "alignment %zu, expected a power of two up to %d", align, ALIGN);
    }
    if ((uintptr_t)host % align == 0) {
        *out = host;
        return HD_OK;
    }
    ref_copy *copy = NULL;
    if (bytes <= SIZE_MAX - sizeof *copy) copy = hd_mem_try_aligned(ALIGN, sizeof *copy + bytes);
    if (!copy) HD_FAIL(err, HD_E_NOMEM, "out of memory for a constant of %zu bytes", bytes);
    memcpy(copy->data, host, bytes);
    copy->next = d->copies;
    d->copies = copy;
    *out = copy->data;
    return HD_OK;
}

static void ref_release(hd_dev *dev, const void *adopted)
{
    ref_dev *d = (ref_dev *)dev;
    for (ref_copy **at = &d->copies; *at; at = &(*at)->next) {
        ref_copy *copy = *at;
        if (copy->data != adopted) continue;
        *at = copy->next;
        hd_mem_free(copy);
        return;
    }
}

static hd_status ref_copy_bytes(hd_stream *s, void *dst, const void *src, size_t bytes)
{
    (void)s;
    if (bytes) memcpy(dst, src, bytes);
    return HD_OK;
}

static hd_status ref_copy2d(hd_stream *s, void *dst, size_t dst_stride, const void *src,
                            size_t src_stride, size_t row_bytes, size_t n_rows)
{
    (void)s;
    if (row_bytes == 0) return HD_OK;
    for (size_t i = 0; i < n_rows; i++) {
        memcpy((uint8_t *)dst + i * dst_stride, (const uint8_t *)src + i * src_stride, row_bytes);
    }
    return HD_OK;
}

static hd_status ref_fill(hd_stream *s, void *dst, int byte, size_t bytes)
{
    (void)s;
    if (bytes) memset(dst, byte, bytes);
    return HD_OK;
}

static hd_status ref_pack(hd_dev *dev, const hd_weight_desc *desc, hd_weight **out, hd_err *err)
{
    (void)dev;
    hd_ref_weight *w = NULL;
    *out = NULL;
    HD_TRY(hd_ref_weight_create(desc, &w, err));
    *out = &w->base;
    return HD_OK;
}

static void ref_unpack(hd_dev *dev, hd_weight *w)
{
    (void)dev;
    hd_ref_weight_destroy((hd_ref_weight *)w);
}

/* ---- streams: everything is done when its submission returns --------------------------------- */

static hd_status ref_stream_create(hd_dev *dev, hd_stream **out, hd_err *err)
{
    (void)err;
    hd_stream *s = hd_mem_calloc(1, sizeof *s);
    s->dev = dev;
    *out = s;
    return HD_OK;
}

static void ref_stream_destroy(hd_stream *s)
{
    hd_mem_free(s);
}

static hd_status ref_sync(hd_stream *s, int timeout_ms, hd_err *err)
{
    (void)s;
    (void)timeout_ms;
    (void)err;
    return HD_OK;
}

static hd_status ref_event_create(hd_dev *dev, hd_event **out, hd_err *err)
{
    (void)dev;
    (void)err;
    *out = hd_mem_calloc(1, 1); /* only its address matters */
    return HD_OK;
}

static void ref_event_destroy(hd_event *e)
{
    hd_mem_free(e);
}

static hd_status ref_event_nothing(hd_stream *s, hd_event *e)
{
    (void)s;
    (void)e;
    return HD_OK;
}

/* ---- ops ------------------------------------------------------------------------------------- */

#define REF_OP(name)                                                                               \
    static hd_status ref_##name(hd_stream *s, const hd_##name##_params *p)                         \
    {                                                                                              \
        (void)s;                                                                                   \
        return hd_hostref_##name(p);                                                               \
    }
HD_MANDATORY_OPS(REF_OP)
#undef REF_OP

static size_t ref_act_bytes(const hd_dev *dev, int64_t rows, int64_t cols)
{
    (void)dev;
    return hd_hostref_act_bytes(rows, cols);
}

/* ---- the device ------------------------------------------------------------------------------ */

static int ref_score(void)
{
    return 1;
}

static void ref_close(hd_dev *dev)
{
    ref_dev *d = (ref_dev *)dev;
    while (d->copies) ref_release(dev, d->copies->data);
    hd_mem_free(d);
}

static hd_status ref_open(const hd_dev_opts *opts, hd_dev *inner, hd_dev **out, hd_err *err)
{
    (void)opts;
    (void)inner;
    (void)err;
    ref_dev *d = hd_mem_calloc(1, sizeof *d);
    d->base.props = (hd_dev_props){.description = "scalar C, one thread",
                                   .proof = HD_PROOF_L3,
                                   .act_format = HD_ACT_E4M3,
                                   .maps_host = true,
                                   .n_threads = 1};
    d->base.mem =
        (hd_dev_mem_ops){ref_alloc,      ref_free,   ref_adopt, ref_release, ref_copy_bytes,
                         ref_copy_bytes, ref_copy2d, ref_fill,  ref_pack,    ref_unpack};
    d->base.stream = (hd_dev_stream_ops){.create = ref_stream_create,
                                         .destroy = ref_stream_destroy,
                                         .sync = ref_sync,
                                         .event_create = ref_event_create,
                                         .event_destroy = ref_event_destroy,
                                         .event_record = ref_event_nothing,
                                         .event_wait = ref_event_nothing};
#define REF_SLOT(name) d->base.ops.name = ref_##name;
    HD_MANDATORY_OPS(REF_SLOT)
#undef REF_SLOT
    d->base.act_bytes = ref_act_bytes;
    *out = &d->base;
    return HD_OK;
}

const hd_backend hd_backend_ref = {
    .abi = HD_DEV_ABI,
    .name = "ref",
    .about = "the definition of every operation, in scalar C; slow",
    .score = ref_score,
    .open = ref_open,
    .close = ref_close,
};
