/* `defer:<inner>`: a device that is as late, and as unkind to memory, as the contract allows.
 *
 * Ops, uploads, downloads, copies and fills are queued with a copy of their params (uploads: of
 * their bytes) and run, in order, on the inner stream when somebody syncs the stream, or when
 * another stream that runs waits for an event recorded on it. So code that works on a synchronous
 * CPU backend only because "it had already happened" gives wrong results here:
 *  - the source of an upload is overwritten as soon as the call has returned. This catches host
 *    arrays handed to an op as if they were device memory. Pages that the process may not write
 *    (constants, a mapped checkpoint) stay as they are. Params structs are const and are not
 *    touched: they are copied, so a later change by the caller has no effect;
 *  - the destination of a download holds a pattern until the sync;
 *  - new device memory holds NaNs (0xFF bytes), which spread into whatever reads too early.
 * Arguments are not checked at submit (`trace:defer:<inner>` does that); an op that refuses them
 * while it runs makes the stream's fault, which also passes to streams that wait for it. */
#include <pthread.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/trace/wrap.h"
#include "base/mem.h"

enum { HOST_POISON = 0xA5, DEVICE_POISON = 0xFF, POISON_BYTES = 65536 };

typedef struct defer_dev {
    hd_wrap_dev wrap;
    pthread_mutex_t lock; /* all queues: a waiting stream runs the one that it waits for */
    hd_stream *setup;     /* of the inner device: fills new memory */
    int poison_fd;        /* POISON_BYTES of the pattern, see poison_source */
} defer_dev;

typedef enum item_kind {
    ITEM_OP,
    ITEM_UPLOAD,
    ITEM_DOWNLOAD,
    ITEM_COPY2D,
    ITEM_FILL,
    ITEM_WAIT
} item_kind;

typedef struct defer_stream defer_stream;

/* One queued call. Which members count depends on the kind. */
typedef struct item {
    struct item *next;
    item_kind kind;
    hd_op op;
    void *dst;
    const void *src;
    size_t dst_stride, src_stride, bytes, n_rows;
    int byte;
    defer_stream *other; /* ITEM_WAIT: run this one (a reference is held) ... */
    uint64_t until;      /* ... up to here */
    _Alignas(max_align_t) unsigned char payload[]; /* params, or the bytes of an upload */
} item;

struct defer_stream {
    hd_stream base;
    hd_stream *inner; /* NULL once destroyed */
    int n_refs;       /* the owner, queued waits, events */
    item *first, **end;
    uint64_t n_queued, n_run; /* since creation */
    hd_err fault;             /* code HD_OK: none */
};

typedef struct defer_event {
    defer_stream *stream; /* where it was last recorded (a reference is held); NULL: never */
    uint64_t at;          /* and behind how many items */
} defer_event;

static defer_dev *dev_of(const hd_stream *s)
{
    return (defer_dev *)s->dev;
}

static void unref_stream(defer_stream *s)
{
    if (s && --s->n_refs == 0) hd_mem_free(s);
}

/* ---- running -------------------------------------------------------------------------------- */

static void set_fault(defer_stream *s, const char *what, const char *why)
{
    if (s->fault.code == HD_OK)
        HD_SET_ERR(&s->fault, HD_E_DEVICE, "deferred '%s' failed: %s", what, why);
}

static void run_until(defer_stream *s, uint64_t until);

/* The other stream's work must be done, not just submitted, before this stream goes on. */
static void run_wait(defer_stream *s, const item *it)
{
    defer_stream *other = it->other;
    hd_err err;
    run_until(other, it->until);
    if (other->fault.code != HD_OK) {
        set_fault(s, "event_wait", other->fault.text);
    } else if (other->inner) {
        hd_status st = other->inner->dev->stream.sync(other->inner, -1, &err);
        if (st != HD_OK) set_fault(s, "event_wait", err.text);
    }
}

static hd_status run_op(hd_stream *inner, const item *it)
{
    switch (it->op) {
#define RUN(name)                                                                                  \
    case HD_OP_##name: return inner->dev->ops.name(inner, (const void *)it->payload);
        HD_OPS(RUN)
#undef RUN
    default: return HD_E_BUG;
    }
}

static void run_item(defer_stream *s, const item *it)
{
    static const char *const names[] = {"op", "upload", "download", "copy2d", "fill", "event_wait"};
    const hd_dev_mem_ops *mem = &s->inner->dev->mem;
    hd_status st = HD_OK;
    switch (it->kind) {
    case ITEM_OP: st = run_op(s->inner, it); break;
    case ITEM_UPLOAD: st = mem->upload(s->inner, it->dst, it->payload, it->bytes); break;
    case ITEM_DOWNLOAD: st = mem->download(s->inner, it->dst, it->src, it->bytes); break;
    case ITEM_COPY2D:
        st = mem->copy2d(s->inner, it->dst, it->dst_stride, it->src, it->src_stride, it->bytes,
                         it->n_rows);
        break;
    case ITEM_FILL: st = mem->fill(s->inner, it->dst, it->byte, it->bytes); break;
    case ITEM_WAIT: run_wait(s, it); break;
    }
    if (st != HD_OK)
        set_fault(s, it->kind == ITEM_OP ? hd_op_name(it->op) : names[it->kind],
                  hd_status_name(st));
}

/* Waits point at what was submitted before them, so the recursion through run_wait ends. Behind a
 * fault, items are dropped. */
static void run_until(defer_stream *s, uint64_t until)
{
    while (s->n_run < until && s->first) {
        item *it = s->first;
        s->first = it->next;
        if (!s->first) s->end = &s->first;
        if (s->fault.code == HD_OK) run_item(s, it);
        s->n_run++;
        unref_stream(it->other);
        hd_mem_free(it);
    }
}

/* ---- queueing ------------------------------------------------------------------------------- */

static hd_status enqueue(defer_stream *s, const item *what, const void *payload, size_t bytes)
{
    item *it = bytes <= SIZE_MAX - sizeof *it ? hd_mem_try_calloc(1, sizeof *it + bytes) : NULL;
    if (!it) return HD_E_NOMEM;
    memcpy(it, what, offsetof(item, payload));
    if (bytes > 0) memcpy(it->payload, payload, bytes);
    defer_dev *d = dev_of(&s->base);
    pthread_mutex_lock(&d->lock);
    if (it->other) it->other->n_refs++;
    *s->end = it;
    s->end = &it->next;
    s->n_queued++;
    pthread_mutex_unlock(&d->lock);
    return HD_OK;
}

#define DEFER_OP(name)                                                                             \
    static hd_status defer_##name(hd_stream *s, const hd_##name##_params *p)                       \
    {                                                                                              \
        return enqueue((defer_stream *)s, &(item){.kind = ITEM_OP, .op = HD_OP_##name}, p,         \
                       sizeof *p);                                                                 \
    }
HD_OPS(DEFER_OP)
#undef DEFER_OP

/* A read into memory that may not be written fails, where a store would end the program. */
static void poison_source(const defer_dev *d, const void *src, size_t bytes)
{
    uint8_t *at = (uint8_t *)(uintptr_t)src;
    while (bytes > 0) {
        ssize_t n = pread(d->poison_fd, at, bytes < POISON_BYTES ? bytes : POISON_BYTES, 0);
        if (n <= 0) return;
        at += n;
        bytes -= (size_t)n;
    }
}

static hd_status defer_upload(hd_stream *s, void *dst, const void *src, size_t bytes)
{
    if (bytes == 0) return HD_OK;
    item it = {.kind = ITEM_UPLOAD, .dst = dst, .bytes = bytes};
    HD_TRY(enqueue((defer_stream *)s, &it, src, bytes));
    poison_source(dev_of(s), src, bytes);
    return HD_OK;
}

static hd_status defer_download(hd_stream *s, void *dst, const void *src, size_t bytes)
{
    if (bytes == 0) return HD_OK;
    item it = {.kind = ITEM_DOWNLOAD, .dst = dst, .src = src, .bytes = bytes};
    HD_TRY(enqueue((defer_stream *)s, &it, NULL, 0));
    memset(dst, HOST_POISON, bytes);
    return HD_OK;
}

static hd_status defer_copy2d(hd_stream *s, void *dst, size_t dst_stride, const void *src,
                              size_t src_stride, size_t row_bytes, size_t n_rows)
{
    item it = {.kind = ITEM_COPY2D,
               .dst = dst,
               .dst_stride = dst_stride,
               .src = src,
               .src_stride = src_stride,
               .bytes = row_bytes,
               .n_rows = n_rows};
    return enqueue((defer_stream *)s, &it, NULL, 0);
}

static hd_status defer_fill(hd_stream *s, void *dst, int byte, size_t bytes)
{
    item it = {.kind = ITEM_FILL, .dst = dst, .byte = byte, .bytes = bytes};
    return enqueue((defer_stream *)s, &it, NULL, 0);
}

/* ---- memory --------------------------------------------------------------------------------- */

static hd_status defer_alloc(hd_dev *dev, size_t bytes, void **out, hd_err *err)
{
    defer_dev *d = (defer_dev *)dev;
    hd_dev *inner = d->wrap.inner;
    HD_TRY(inner->mem.alloc(inner, bytes, out, err));
    pthread_mutex_lock(&d->lock);
    hd_status st = inner->mem.fill(d->setup, *out, DEVICE_POISON, bytes);
    if (st != HD_OK)
        HD_SET_ERR(err, st, "cannot fill new device memory");
    else
        st = inner->stream.sync(d->setup, -1, err);
    pthread_mutex_unlock(&d->lock);
    if (st == HD_OK) return HD_OK;
    inner->mem.free(inner, *out);
    *out = NULL;
    return st;
}

/* ---- streams and events --------------------------------------------------------------------- */

static hd_status defer_create(hd_dev *dev, hd_stream **out, hd_err *err)
{
    hd_dev *inner = ((defer_dev *)dev)->wrap.inner;
    hd_stream *inner_stream;
    HD_TRY(inner->stream.create(inner, &inner_stream, err));
    defer_stream *s = hd_mem_calloc(1, sizeof *s);
    s->base.dev = dev;
    s->inner = inner_stream;
    s->n_refs = 1;
    s->end = &s->first;
    *out = &s->base;
    return HD_OK;
}

static void defer_destroy(hd_stream *stream)
{
    defer_stream *s = (defer_stream *)stream;
    defer_dev *d = dev_of(stream);
    pthread_mutex_lock(&d->lock);
    run_until(s, s->n_queued);
    s->inner->dev->stream.destroy(s->inner);
    s->inner = NULL;
    unref_stream(s);
    pthread_mutex_unlock(&d->lock);
}

static hd_status defer_sync(hd_stream *stream, int timeout_ms, hd_err *err)
{
    defer_stream *s = (defer_stream *)stream;
    defer_dev *d = dev_of(stream);
    pthread_mutex_lock(&d->lock);
    run_until(s, s->n_queued);
    hd_status st = s->inner->dev->stream.sync(s->inner, timeout_ms, err);
    if (s->fault.code != HD_OK) st = HD_SET_ERR(err, HD_E_DEVICE, "%s", s->fault.text);
    pthread_mutex_unlock(&d->lock);
    return st;
}

static hd_status defer_event_create(hd_dev *dev, hd_event **out, hd_err *err)
{
    (void)dev;
    (void)err;
    *out = hd_mem_calloc(1, sizeof(defer_event));
    return HD_OK;
}

static void defer_event_destroy(hd_event *event)
{
    defer_event *e = (defer_event *)event;
    if (e && e->stream) {
        defer_dev *d = dev_of(&e->stream->base);
        pthread_mutex_lock(&d->lock);
        unref_stream(e->stream);
        pthread_mutex_unlock(&d->lock);
    }
    hd_mem_free(e);
}

static hd_status defer_event_record(hd_stream *stream, hd_event *event)
{
    defer_stream *s = (defer_stream *)stream;
    defer_event *e = (defer_event *)event;
    pthread_mutex_lock(&dev_of(stream)->lock);
    s->n_refs++;
    unref_stream(e->stream);
    e->stream = s;
    e->at = s->n_queued;
    pthread_mutex_unlock(&dev_of(stream)->lock);
    return HD_OK;
}

static hd_status defer_event_wait(hd_stream *stream, hd_event *event)
{
    const defer_event *e = (const defer_event *)event;
    if (!e->stream || e->stream == (defer_stream *)stream) return HD_OK;
    item it = {.kind = ITEM_WAIT, .other = e->stream, .until = e->at};
    return enqueue((defer_stream *)stream, &it, NULL, 0);
}

/* ---- device --------------------------------------------------------------------------------- */

static hd_status open_poison(int *out, hd_err *err)
{
    uint8_t pattern[4096];
    memset(pattern, HOST_POISON, sizeof pattern);
    int fd = memfd_create("hadal-defer", MFD_CLOEXEC);
    if (fd < 0) HD_FAIL(err, HD_E_IO, "cannot create a memory file");
    for (off_t at = 0; at < POISON_BYTES; at += (off_t)sizeof pattern)
        if (pwrite(fd, pattern, sizeof pattern, at) != (ssize_t)sizeof pattern) {
            close(fd);
            HD_FAIL(err, HD_E_IO, "cannot write to a memory file");
        }
    *out = fd;
    return HD_OK;
}

static hd_status defer_open(const hd_dev_opts *opts, hd_dev *inner, hd_dev **out, hd_err *err)
{
    (void)opts;
    hd_stream *setup;
    int poison_fd;
    HD_TRY(open_poison(&poison_fd, err));
    hd_status st = inner->stream.create(inner, &setup, err);
    if (st != HD_OK) {
        close(poison_fd);
        return st;
    }
    defer_dev *d = hd_mem_calloc(1, sizeof *d);
    hd_dev *dev = &d->wrap.base;
    hd_wrap_init(&d->wrap, inner);
    pthread_mutex_init(&d->lock, NULL);
    d->setup = setup;
    d->poison_fd = poison_fd;
    dev->mem.alloc = defer_alloc;
    dev->mem.upload = defer_upload;
    dev->mem.download = defer_download;
    dev->mem.copy2d = defer_copy2d;
    dev->mem.fill = defer_fill;
    dev->stream = (hd_dev_stream_ops){.create = defer_create,
                                      .destroy = defer_destroy,
                                      .sync = defer_sync,
                                      .event_create = defer_event_create,
                                      .event_destroy = defer_event_destroy,
                                      .event_record = defer_event_record,
                                      .event_wait = defer_event_wait};
#define SLOT(name)                                                                                 \
    if (!inner->composed[HD_OP_##name]) dev->ops.name = defer_##name;
    HD_OPS(SLOT)
#undef SLOT
    *out = dev;
    return HD_OK;
}

static void defer_close(hd_dev *dev)
{
    defer_dev *d = (defer_dev *)dev;
    hd_dev *inner = d->wrap.inner;
    inner->stream.destroy(d->setup);
    close(d->poison_fd);
    pthread_mutex_destroy(&d->lock);
    hd_mem_free(d);
    hd_dev_close(inner);
}

static int never_by_default(void)
{
    return 0;
}

const hd_backend hd_backend_defer = {.abi = HD_DEV_ABI,
                                     .name = "defer",
                                     .about = "runs another device's work as late as allowed",
                                     .wraps = true,
                                     .score = never_by_default,
                                     .open = defer_open,
                                     .close = defer_close};
