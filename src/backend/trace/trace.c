/* `trace:<inner>`: every call is checked and counted, and logged if asked for.
 *
 * A call is refused with HD_E_ARG when an argument is NULL where there is work, is not memory of
 * this device, reaches beyond its allocation, is misaligned, would write a constant, overlaps
 * another one where that is not allowed, or when sizes contradict each other. What was wrong goes
 * to the log, and it becomes the stream's fault, so that sync tells it to a caller that did not
 * look at the status. At close a table of calls, bytes and time per op is written, and what memory
 * was not given back. The time is that of the submit call: all of the op on devices that work at
 * submit (ref, cpu).
 *
 * The environment says where it goes: HADAL_TRACE=FILE writes one line per call and the table to
 * FILE; without it the table and bad calls go to standard error. With HADAL_TRACE_SUMS=1, each
 * call is waited for and its outputs are hashed: two such logs show at once the first op in which
 * two devices differ. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/trace/args.h"
#include "backend/trace/wrap.h"
#include "base/buf.h"
#include "base/clock.h"
#include "base/mem.h"

/* Counted like ops, and numbered behind them. */
enum { CALL_UPLOAD = HD_OP_COUNT, CALL_DOWNLOAD, CALL_COPY2D, CALL_FILL, N_CALLS };
enum { MAX_LINE = 4096 };

typedef struct call_stat {
    uint64_t n_calls, n_bytes, ns;
} call_stat;

typedef struct trace_dev {
    hd_wrap_dev wrap;
    hd_trace_memory mem;
    pthread_mutex_t lock; /* log, stat, n_calls */
    FILE *log;
    bool each_call, sums;
    uint64_t n_calls;
    call_stat stat[N_CALLS];
} trace_dev;

typedef struct trace_stream {
    hd_stream base;
    hd_stream *inner;
    char fault[256]; /* "" = none */
} trace_stream;

static trace_dev *dev_of(const hd_stream *s)
{
    return (trace_dev *)s->dev;
}

static hd_stream *inner_of(const hd_stream *s)
{
    return ((const trace_stream *)s)->inner;
}

static const char *call_name(int call)
{
    static const char *const names[] = {"upload", "download", "copy2d", "fill"};
    return call < HD_OP_COUNT ? hd_op_name((hd_op)call) : names[call - HD_OP_COUNT];
}

static uint64_t now_ns(void)
{
    return (uint64_t)hd_clock_ns();
}

/* ---- the log -------------------------------------------------------------------------------- */

/* One call that was made: counted, and logged with `what`, which may be NULL. */
static void note_call(trace_dev *d, int call, uint64_t bytes, uint64_t ns, hd_status st,
                      const char *what)
{
    pthread_mutex_lock(&d->lock);
    call_stat *stat = &d->stat[call];
    stat->n_calls++;
    stat->n_bytes += bytes;
    stat->ns += ns;
    d->n_calls++;
    if (d->each_call)
        fprintf(d->log, "%llu %s%s %llu B %.1f us%s%s\n", (unsigned long long)d->n_calls,
                call_name(call), what ? what : "", (unsigned long long)bytes, (double)ns / 1000.0,
                st == HD_OK ? "" : " refused: ", st == HD_OK ? "" : hd_status_name(st));
    pthread_mutex_unlock(&d->lock);
}

static hd_status note_bad_call(hd_stream *stream, int call, const char *why)
{
    trace_dev *d = dev_of(stream);
    trace_stream *s = (trace_stream *)stream;
    if (!s->fault[0])
        snprintf(s->fault, sizeof s->fault, "bad call of '%s': %s", call_name(call), why);
    pthread_mutex_lock(&d->lock);
    fprintf(d->log, "%s: bad call of '%s' behind call %llu: %s\n", d->wrap.base.props.name,
            call_name(call), (unsigned long long)d->n_calls, why);
    pthread_mutex_unlock(&d->lock);
    return HD_E_ARG;
}

static void write_table(trace_dev *d)
{
    fprintf(d->log, "%s: %llu calls\n%-20s %10s %14s %12s\n", d->wrap.base.props.name,
            (unsigned long long)d->n_calls, "op", "calls", "bytes", "submit ms");
    for (int i = 0; i < N_CALLS; i++)
        if (d->stat[i].n_calls > 0)
            fprintf(d->log, "%-20s %10llu %14llu %12.3f\n", call_name(i),
                    (unsigned long long)d->stat[i].n_calls, (unsigned long long)d->stat[i].n_bytes,
                    (double)d->stat[i].ns / 1e6);
    if (d->mem.n > 0)
        fprintf(d->log, "%zu allocations, adoptions or weights were not given back\n", d->mem.n);
}

/* ---- ops ------------------------------------------------------------------------------------ */

/* FNV-1a, so that logs of different runs and machines can be compared. */
static uint64_t hash_bytes(const uint8_t *p, size_t n)
{
    uint64_t h = 0xcbf29ce484222325u;
    for (size_t i = 0; i < n; i++) h = (h ^ p[i]) * 0x100000001b3u;
    return h;
}

/* Waits for the device: only for HADAL_TRACE_SUMS. */
static hd_status sum_output(hd_stream *inner, const hd_trace_arg *g, uint64_t *sum)
{
    void *host = hd_mem_try_calloc(g->bytes, 1);
    if (!host) return HD_E_NOMEM;
    hd_status st = inner->dev->mem.download(inner, host, g->ptr, g->bytes);
    if (st == HD_OK) st = inner->dev->stream.sync(inner, -1, NULL);
    if (st == HD_OK) *sum = hash_bytes(host, g->bytes);
    hd_mem_free(host);
    return st;
}

static void describe(const trace_dev *d, hd_stream *inner, const hd_trace_args *a, hd_buf *out)
{
    static const char *const formats[] = {"f32", "bf16", "fp8", "fp4"};
    for (int i = 0; i < a->n_weights; i++) {
        const hd_weight *w = &a->weight[i];
        hd_buf_addf(out, " w=%s[%d,%d,%d]", formats[w->format], w->n_parts, w->rows, w->cols);
    }
    for (int i = 0; i < a->n; i++) {
        const hd_trace_arg *g = &a->arg[i];
        uint64_t sum;
        hd_buf_addf(out, " %s=%s", g->name, hd_trace_type_name(g->type));
        for (int k = 0; k < g->n_dims; k++)
            hd_buf_addf(out, "%c%lld", k ? ',' : '[', (long long)g->dim[k]);
        hd_buf_addc(out, ']');
        if (d->sums && g->role != HD_TRACE_IN && g->bytes > 0 &&
            sum_output(inner, g, &sum) == HD_OK)
            hd_buf_addf(out, "#%016llx", (unsigned long long)sum);
    }
}

typedef hd_status (*op_func)(hd_stream *inner, const void *params);

static hd_status traced(hd_stream *s, hd_op op, op_func run, const void *params)
{
    trace_dev *d = dev_of(s);
    hd_trace_args a = {.dev = s->dev, .mem = &d->mem};
    hd_trace_list(&a, op, params);
    hd_trace_check(&a);
    if (a.bad[0]) return note_bad_call(s, (int)op, a.bad);
    uint64_t bytes = 0, start = now_ns();
    hd_status st = run(inner_of(s), params);
    uint64_t ns = now_ns() - start;
    for (int i = 0; i < a.n && !a.empty; i++) bytes += a.arg[i].bytes;
    hd_buf text;
    hd_buf_init(&text, MAX_LINE);
    if (d->each_call && !a.empty) describe(d, inner_of(s), &a, &text);
    note_call(d, (int)op, bytes, ns, st, text.ptr);
    hd_buf_deinit(&text);
    return st;
}

#define TRACE_OP(name)                                                                             \
    static hd_status run_##name(hd_stream *inner, const void *p)                                   \
    {                                                                                              \
        return inner->dev->ops.name(inner, p);                                                     \
    }                                                                                              \
    static hd_status trace_##name(hd_stream *s, const hd_##name##_params *p)                       \
    {                                                                                              \
        return traced(s, HD_OP_##name, run_##name, p);                                             \
    }
HD_OPS(TRACE_OP)
#undef TRACE_OP

/* ---- copies --------------------------------------------------------------------------------- */

/* NULL when [p, p + bytes) may be used, bytes > 0. */
static const char *device_side(const hd_stream *s, const void *p, size_t bytes, bool write)
{
    return p ? hd_trace_memory_check(&dev_of(s)->mem, p, bytes, write) : "is NULL";
}

static hd_status bad_copy(hd_stream *s, int call, const char *side, const char *why)
{
    char text[128];
    snprintf(text, sizeof text, "'%s' %s", side, why);
    return note_bad_call(s, call, text);
}

static hd_status trace_upload(hd_stream *s, void *dst, const void *src, size_t bytes)
{
    const char *why = bytes ? device_side(s, dst, bytes, true) : NULL;
    if (why) return bad_copy(s, CALL_UPLOAD, "dst", why);
    if (bytes && !src) return bad_copy(s, CALL_UPLOAD, "src", "is NULL");
    uint64_t start = now_ns();
    hd_status st = inner_of(s)->dev->mem.upload(inner_of(s), dst, src, bytes);
    note_call(dev_of(s), CALL_UPLOAD, bytes, now_ns() - start, st, NULL);
    return st;
}

static hd_status trace_download(hd_stream *s, void *dst, const void *src, size_t bytes)
{
    const char *why = bytes ? device_side(s, src, bytes, false) : NULL;
    if (why) return bad_copy(s, CALL_DOWNLOAD, "src", why);
    if (bytes && !dst) return bad_copy(s, CALL_DOWNLOAD, "dst", "is NULL");
    uint64_t start = now_ns();
    hd_status st = inner_of(s)->dev->mem.download(inner_of(s), dst, src, bytes);
    note_call(dev_of(s), CALL_DOWNLOAD, bytes, now_ns() - start, st, NULL);
    return st;
}

static hd_status trace_copy2d(hd_stream *s, void *dst, size_t dst_stride, const void *src,
                              size_t src_stride, size_t row_bytes, size_t n_rows)
{
    if (row_bytes > 0 && n_rows > 0) {
        if (n_rows > 1 && dst_stride < row_bytes)
            return bad_copy(s, CALL_COPY2D, "dst", "has rows that overlap");
        const char *why = device_side(s, dst, (n_rows - 1) * dst_stride + row_bytes, true);
        if (why) return bad_copy(s, CALL_COPY2D, "dst", why);
        why = device_side(s, src, (n_rows - 1) * src_stride + row_bytes, false);
        if (why) return bad_copy(s, CALL_COPY2D, "src", why);
    }
    uint64_t start = now_ns();
    hd_status st = inner_of(s)->dev->mem.copy2d(inner_of(s), dst, dst_stride, src, src_stride,
                                                row_bytes, n_rows);
    note_call(dev_of(s), CALL_COPY2D, row_bytes * n_rows, now_ns() - start, st, NULL);
    return st;
}

static hd_status trace_fill(hd_stream *s, void *dst, int byte, size_t bytes)
{
    const char *why = bytes ? device_side(s, dst, bytes, true) : NULL;
    if (why) return bad_copy(s, CALL_FILL, "dst", why);
    uint64_t start = now_ns();
    hd_status st = inner_of(s)->dev->mem.fill(inner_of(s), dst, byte, bytes);
    note_call(dev_of(s), CALL_FILL, bytes, now_ns() - start, st, NULL);
    return st;
}

/* ---- memory --------------------------------------------------------------------------------- */

static hd_status trace_alloc(hd_dev *dev, size_t bytes, void **out, hd_err *err)
{
    trace_dev *d = (trace_dev *)dev;
    hd_dev *inner = d->wrap.inner;
    HD_TRY(inner->mem.alloc(inner, bytes, out, err));
    if (hd_trace_memory_add(&d->mem, *out, bytes, HD_TRACE_ALLOC) == HD_OK) return HD_OK;
    inner->mem.free(inner, *out);
    HD_FAIL(err, HD_E_NOMEM, "no memory to note an allocation");
}

static hd_status trace_adopt(hd_dev *dev, const void *host, size_t bytes, size_t align,
                             const void **out, hd_err *err)
{
    trace_dev *d = (trace_dev *)dev;
    hd_dev *inner = d->wrap.inner;
    HD_TRY(inner->mem.adopt(inner, host, bytes, align, out, err));
    if (hd_trace_memory_add(&d->mem, *out, bytes, HD_TRACE_ADOPTED) == HD_OK) return HD_OK;
    inner->mem.release(inner, *out);
    HD_FAIL(err, HD_E_NOMEM, "no memory to note an adoption");
}

static hd_status trace_pack(hd_dev *dev, const hd_weight_desc *desc, hd_weight **out, hd_err *err)
{
    trace_dev *d = (trace_dev *)dev;
    hd_dev *inner = d->wrap.inner;
    HD_TRY(inner->mem.pack(inner, desc, out, err));
    if (hd_trace_memory_add(&d->mem, *out, sizeof **out, HD_TRACE_PACKED) == HD_OK) return HD_OK;
    inner->mem.unpack(inner, *out);
    HD_FAIL(err, HD_E_NOMEM, "no memory to note a weight");
}

/* Is `p` ours to give back? Forgotten first: afterwards another thread may be given the address. */
static bool forget(trace_dev *d, const void *p, hd_trace_kind kind)
{
    static const char *const names[] = {"free", "release", "unpack"};
    if (!p || hd_trace_memory_remove(&d->mem, p, kind)) return true;
    pthread_mutex_lock(&d->lock);
    fprintf(d->log, "%s: ignored '%s' of %p, which this device did not give out\n",
            d->wrap.base.props.name, names[kind], p);
    pthread_mutex_unlock(&d->lock);
    return false;
}

static void trace_free(hd_dev *dev, void *p)
{
    trace_dev *d = (trace_dev *)dev;
    if (forget(d, p, HD_TRACE_ALLOC)) d->wrap.inner->mem.free(d->wrap.inner, p);
}

static void trace_release(hd_dev *dev, const void *p)
{
    trace_dev *d = (trace_dev *)dev;
    if (forget(d, p, HD_TRACE_ADOPTED)) d->wrap.inner->mem.release(d->wrap.inner, p);
}

static void trace_unpack(hd_dev *dev, hd_weight *w)
{
    trace_dev *d = (trace_dev *)dev;
    if (forget(d, w, HD_TRACE_PACKED)) d->wrap.inner->mem.unpack(d->wrap.inner, w);
}

/* ---- streams -------------------------------------------------------------------------------- */

static hd_status trace_create(hd_dev *dev, hd_stream **out, hd_err *err)
{
    hd_dev *inner = ((trace_dev *)dev)->wrap.inner;
    hd_stream *inner_stream;
    HD_TRY(inner->stream.create(inner, &inner_stream, err));
    trace_stream *s = hd_mem_calloc(1, sizeof *s);
    s->base.dev = dev;
    s->inner = inner_stream;
    *out = &s->base;
    return HD_OK;
}

static void trace_destroy(hd_stream *s)
{
    inner_of(s)->dev->stream.destroy(inner_of(s));
    hd_mem_free(s);
}

static hd_status trace_sync(hd_stream *stream, int timeout_ms, hd_err *err)
{
    const trace_stream *s = (const trace_stream *)stream;
    HD_TRY(s->inner->dev->stream.sync(s->inner, timeout_ms, err));
    if (s->fault[0]) HD_FAIL(err, HD_E_DEVICE, "%s", s->fault);
    return HD_OK;
}

/* Events are the inner device's; the struct remembers whose. */
typedef struct trace_event {
    hd_dev *dev; /* inner */
    hd_event *event;
} trace_event;

static hd_status trace_event_create(hd_dev *dev, hd_event **out, hd_err *err)
{
    hd_dev *inner = ((trace_dev *)dev)->wrap.inner;
    hd_event *event;
    HD_TRY(inner->stream.event_create(inner, &event, err));
    trace_event *e = hd_mem_calloc(1, sizeof *e);
    *e = (trace_event){.dev = inner, .event = event};
    *out = (hd_event *)e;
    return HD_OK;
}

static void trace_event_destroy(hd_event *event)
{
    trace_event *e = (trace_event *)event;
    if (!e) return;
    e->dev->stream.event_destroy(e->event);
    hd_mem_free(e);
}

static hd_status trace_event_record(hd_stream *s, hd_event *event)
{
    return inner_of(s)->dev->stream.event_record(inner_of(s), ((trace_event *)event)->event);
}

static hd_status trace_event_wait(hd_stream *s, hd_event *event)
{
    return inner_of(s)->dev->stream.event_wait(inner_of(s), ((trace_event *)event)->event);
}

/* ---- device --------------------------------------------------------------------------------- */

static bool is_set(const char *variable)
{
    const char *value = getenv(variable);
    return value && value[0] && strcmp(value, "0") != 0;
}

static hd_status open_log(trace_dev *d, hd_err *err)
{
    const char *path = getenv("HADAL_TRACE");
    d->log = stderr;
    if (!path || !path[0]) return HD_OK;
    d->log = fopen(path, "we");
    if (!d->log)
        HD_FAIL(err, HD_E_IO, "cannot write '%s' (HADAL_TRACE): %s", path, strerror(errno));
    setvbuf(d->log, NULL, _IOLBF, 0); /* complete when the program crashes */
    d->each_call = true;
    d->sums = is_set("HADAL_TRACE_SUMS");
    return HD_OK;
}

static void fill_tables(hd_dev *dev, const hd_dev *inner)
{
    dev->mem.alloc = trace_alloc;
    dev->mem.free = trace_free;
    dev->mem.adopt = trace_adopt;
    dev->mem.release = trace_release;
    dev->mem.pack = trace_pack;
    dev->mem.unpack = trace_unpack;
    dev->mem.upload = trace_upload;
    dev->mem.download = trace_download;
    dev->mem.copy2d = trace_copy2d;
    dev->mem.fill = trace_fill;
    dev->stream = (hd_dev_stream_ops){.create = trace_create,
                                      .destroy = trace_destroy,
                                      .sync = trace_sync,
                                      .event_create = trace_event_create,
                                      .event_destroy = trace_event_destroy,
                                      .event_record = trace_event_record,
                                      .event_wait = trace_event_wait};
#define SLOT(name)                                                                                 \
    if (!inner->composed[HD_OP_##name]) dev->ops.name = trace_##name;
    HD_OPS(SLOT)
#undef SLOT
}

static hd_status trace_open(const hd_dev_opts *opts, hd_dev *inner, hd_dev **out, hd_err *err)
{
    (void)opts;
    trace_dev *d = hd_mem_calloc(1, sizeof *d);
    hd_status st = open_log(d, err);
    if (st != HD_OK) {
        hd_mem_free(d);
        return st;
    }
    hd_wrap_init(&d->wrap, inner);
    hd_trace_memory_init(&d->mem);
    pthread_mutex_init(&d->lock, NULL);
    fill_tables(&d->wrap.base, inner);
    *out = &d->wrap.base;
    return HD_OK;
}

static void trace_close(hd_dev *dev)
{
    trace_dev *d = (trace_dev *)dev;
    hd_dev *inner = d->wrap.inner;
    write_table(d);
    if (d->log != stderr) fclose(d->log);
    hd_trace_memory_deinit(&d->mem);
    pthread_mutex_destroy(&d->lock);
    hd_mem_free(d);
    hd_dev_close(inner);
}

static int never_by_default(void)
{
    return 0;
}

const hd_backend hd_backend_trace = {.abi = HD_DEV_ABI,
                                     .name = "trace",
                                     .about = "checks, counts and logs the calls to another device",
                                     .wraps = true,
                                     .score = never_by_default,
                                     .open = trace_open,
                                     .close = trace_close};
