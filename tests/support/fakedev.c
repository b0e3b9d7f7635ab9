#include "support/fakedev.h"

#include <stdlib.h>
#include <string.h>

/* Behind each allocation and weight: allocators may put the next one right there, and a pointer
 * beyond the end of one would be a good one. */
#define GAP_BYTES 256

fake_state fake;

void fake_reset(void)
{
    memset(&fake, 0, sizeof fake);
}

static hd_status record(hd_op op, const void *params, size_t bytes)
{
    if (fake.n_calls >= FAKE_MAX_CALLS) abort();
    fake_call *c = &fake.call[fake.n_calls++];
    c->op = op;
    memcpy(&c->p, params, bytes);
    return fake.refuses && op == fake.refused ? HD_E_UNSUPPORTED : HD_OK;
}

#define FAKE_OP(name)                                                                              \
    static hd_status fake_##name(hd_stream *s, const hd_##name##_params *p)                        \
    {                                                                                              \
        (void)s;                                                                                   \
        return record(HD_OP_##name, p, sizeof *p);                                                 \
    }
HD_OPS(FAKE_OP)
#undef FAKE_OP

static hd_status fake_alloc(hd_dev *dev, size_t bytes, void **out, hd_err *err)
{
    (void)dev;
    (void)err;
    *out = aligned_alloc(256, (bytes + 255) / 256 * 256 + GAP_BYTES);
    if (!*out) abort();
    memset(*out, 0, bytes);
    fake.n_memory++;
    return HD_OK;
}

static void fake_free(hd_dev *dev, void *p)
{
    (void)dev;
    if (p) fake.n_memory--;
    free(p);
}

static hd_status fake_adopt(hd_dev *dev, const void *host, size_t bytes, size_t align,
                            const void **out, hd_err *err)
{
    (void)dev;
    (void)bytes;
    (void)align;
    (void)err;
    *out = host;
    fake.n_memory++;
    return HD_OK;
}

static void fake_release(hd_dev *dev, const void *adopted)
{
    (void)dev;
    (void)adopted;
    fake.n_memory--;
}

static hd_status fake_upload(hd_stream *s, void *dst, const void *src, size_t bytes)
{
    (void)s;
    if (bytes > 0) memcpy(dst, src, bytes);
    return HD_OK;
}

static hd_status fake_copy2d(hd_stream *s, void *dst, size_t dst_stride, const void *src,
                             size_t src_stride, size_t row_bytes, size_t n_rows)
{
    (void)s;
    for (size_t i = 0; i < n_rows; i++)
        memcpy((uint8_t *)dst + i * dst_stride, (const uint8_t *)src + i * src_stride, row_bytes);
    return HD_OK;
}

static hd_status fake_fill(hd_stream *s, void *dst, int byte, size_t bytes)
{
    (void)s;
    if (bytes > 0) memset(dst, byte, bytes);
    return HD_OK;
}

static hd_status fake_pack(hd_dev *dev, const hd_weight_desc *desc, hd_weight **out, hd_err *err)
{
    (void)dev;
    (void)err;
    hd_weight *w = malloc(sizeof *w + GAP_BYTES);
    if (!w) abort();
    *w = (hd_weight){desc->format, desc->rows, desc->cols, desc->n_parts};
    fake.n_memory++;
    *out = w;
    return HD_OK;
}

static void fake_unpack(hd_dev *dev, hd_weight *w)
{
    fake_free(dev, w);
}

static hd_status fake_create(hd_dev *dev, hd_stream **out, hd_err *err)
{
    (void)err;
    hd_stream *s = malloc(sizeof *s);
    if (!s) abort();
    s->dev = dev;
    fake.n_streams++;
    *out = s;
    return HD_OK;
}

static void fake_destroy(hd_stream *s)
{
    fake.n_streams--;
    free(s);
}

static hd_status fake_sync(hd_stream *s, int timeout_ms, hd_err *err)
{
    (void)s;
    (void)timeout_ms;
    if (fake.sync_fault) HD_FAIL(err, HD_E_DEVICE, "%s", fake.sync_fault);
    return HD_OK;
}

static hd_status fake_event_create(hd_dev *dev, hd_event **out, hd_err *err)
{
    (void)dev;
    (void)err;
    fake.n_events++;
    *out = malloc(1);
    return HD_OK;
}

static void fake_event_destroy(hd_event *e)
{
    fake.n_events--;
    free(e);
}

static hd_status fake_event_call(hd_stream *s, hd_event *e)
{
    (void)s;
    (void)e;
    return HD_OK;
}

static size_t fake_work_bytes(const hd_dev *dev, hd_op op, const void *params)
{
    (void)dev;
    (void)params;
    return op == HD_OP_index_topk || op == HD_OP_moe_experts ? 7 : 0;
}

static size_t fake_act_bytes(const hd_dev *dev, int64_t rows, int64_t cols)
{
    (void)dev;
    return (size_t)((rows * cols + 63) / 64 * 64 + rows * ((cols + 127) / 128));
}

static int fake_score(void)
{
    return 0;
}

static hd_status fake_open(const hd_dev_opts *opts, hd_dev *inner, hd_dev **out, hd_err *err)
{
    (void)inner;
    if (!opts) abort();
    if (fake.open_status != HD_OK) HD_FAIL(err, fake.open_status, "no such card");
    hd_dev *dev = calloc(1, sizeof *dev);
    if (!dev) abort();
    dev->props.act_format = HD_ACT_E4M3;
    dev->mem = (hd_dev_mem_ops){fake_alloc,  fake_free,   fake_adopt, fake_release, fake_upload,
                                fake_upload, fake_copy2d, fake_fill,  fake_pack,    fake_unpack};
    dev->stream = (hd_dev_stream_ops){.create = fake_create,
                                      .destroy = fake_destroy,
                                      .sync = fake_sync,
                                      .event_create = fake_event_create,
                                      .event_destroy = fake_event_destroy,
                                      .event_record = fake_event_call,
                                      .event_wait = fake_event_call};
#define SLOT(name) dev->ops.name = fake_##name;
    HD_MANDATORY_OPS(SLOT)
    if (fake.with_fused) {
        HD_FUSED_OPS(SLOT)
    }
#undef SLOT
    dev->work_bytes = fake_work_bytes;
    dev->act_bytes = fake_act_bytes;
    fake.n_open++;
    *out = dev;
    return HD_OK;
}

static void fake_close(hd_dev *dev)
{
    fake.n_open--;
    free(dev);
}

const hd_backend fake_backend = {.abi = HD_DEV_ABI,
                                 .name = "fake",
                                 .about = "records calls",
                                 .score = fake_score,
                                 .open = fake_open,
                                 .close = fake_close};
