/* The fast CPU backend, host side: device, memory, weights, streams. A stream owns a team of
 * threads; every op has run when its submit call returns, so events and faults are trivial. Device
 * memory is host memory, and weights stay where the file is mapped. */
#include "backend/cpu/cpu.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

enum { ALIGN = 256 };

/* ---- memory --------------------------------------------------------------------------------- */

static hd_status mem_alloc(hd_dev *dev, size_t bytes, void **out, hd_err *err)
{
    (void)dev;
    *out = hd_mem_try_aligned(ALIGN, bytes);
    if (!*out) HD_FAIL(err, HD_E_NOMEM, "out of memory for %zu bytes", bytes);
    return HD_OK;
}

static void mem_free(hd_dev *dev, void *p)
{
    (void)dev;
    hd_mem_free(p);
}

static hd_status mem_adopt(hd_dev *base, const void *host, size_t bytes, size_t align,
                           const void **out, hd_err *err)
{
    hd_cpu_dev *dev = (hd_cpu_dev *)base;
    *out = host;
    if ((uintptr_t)host % align == 0) return HD_OK;
    if (bytes > SIZE_MAX - ALIGN || align > ALIGN)
        HD_FAIL(err, HD_E_ARG, "cannot adopt %zu bytes at alignment %zu", bytes, align);
    hd_cpu_copy *copy = hd_mem_try_aligned(ALIGN, ALIGN + bytes);
    if (!copy) HD_FAIL(err, HD_E_NOMEM, "out of memory for %zu bytes", bytes);
    copy->next = dev->copies;
    dev->copies = copy;
    *out = memcpy((uint8_t *)copy + ALIGN, host, bytes);
    return HD_OK;
}

/* What is not among the copies was borrowed. */
static void mem_release(hd_dev *base, const void *adopted)
{
    hd_cpu_dev *dev = (hd_cpu_dev *)base;
    for (hd_cpu_copy **at = &dev->copies; *at; at = &(*at)->next) {
        hd_cpu_copy *copy = *at;
        if ((const uint8_t *)copy + ALIGN != adopted) continue;
        *at = copy->next;
        hd_mem_free(copy);
        return;
    }
}

static hd_status mem_copy(hd_stream *s, void *dst, const void *src, size_t bytes)
{
    (void)s;
    if (bytes) memcpy(dst, src, bytes);
    return HD_OK;
}

static hd_status mem_copy2d(hd_stream *s, void *dst, size_t dst_stride, const void *src,
                            size_t src_stride, size_t row_bytes, size_t n_rows)
{
    (void)s;
    if (row_bytes == 0) return HD_OK;
    for (size_t i = 0; i < n_rows; i++)
        memcpy((uint8_t *)dst + i * dst_stride, (const uint8_t *)src + i * src_stride, row_bytes);
    return HD_OK;
}

static hd_status mem_fill(hd_stream *s, void *dst, int byte, size_t bytes)
{
    (void)s;
    if (bytes) memset(dst, byte, bytes);
    return HD_OK;
}

/* ---- weights -------------------------------------------------------------------------------- */

static hd_status check_weight(const hd_weight_desc *d, hd_err *err)
{
    if (d->rows < 1 || d->cols < 1 || d->n_parts < 1)
        HD_FAIL(err, HD_E_ARG, "cannot use %d parts of %d x %d, expected at least 1", d->n_parts,
                d->rows, d->cols);
    if (d->cols > HD_CPU_MAX_COLS)
        HD_FAIL(err, HD_E_UNSUPPORTED, "cannot use a matrix of %d columns, expected at most %d",
                d->cols, HD_CPU_MAX_COLS);
    if ((unsigned)d->format > HD_WEIGHT_FP4 || (d->format == HD_WEIGHT_FP4 && d->cols % 32 != 0))
        HD_FAIL(err, HD_E_ARG, "cannot use weight format %d with %d columns", (int)d->format,
                d->cols);
    return HD_OK;
}

static size_t weight_row_bytes(const hd_weight_desc *d)
{
    static const size_t half_bytes[] = {
        [HD_WEIGHT_F32] = 8, [HD_WEIGHT_BF16] = 4, [HD_WEIGHT_FP8] = 2, [HD_WEIGHT_FP4] = 1};
    return (size_t)d->cols * half_bytes[d->format] / 2;
}

static size_t scale_row_bytes(const hd_weight_desc *d)
{
    if (d->format == HD_WEIGHT_FP8) return ((size_t)d->cols + 127) / 128;
    return d->format == HD_WEIGHT_FP4 ? (size_t)d->cols / HD_FP4_GROUP : 0;
}

static hd_status mem_pack(hd_dev *dev, const hd_weight_desc *d, hd_weight **out, hd_err *err)
{
    (void)dev;
    *out = NULL;
    HD_TRY(check_weight(d, err));
    size_t n = (size_t)d->n_parts;
    hd_cpu_weight *w = hd_mem_try_calloc(1, sizeof *w);
    const uint8_t **parts = hd_mem_try_calloc(n, 2 * sizeof *parts);
    if (!w || !parts) {
        hd_mem_free(w);
        hd_mem_free(parts);
        HD_FAIL(err, HD_E_NOMEM, "out of memory for a weight of %d parts", d->n_parts);
    }
    *w = (hd_cpu_weight){.base = {d->format, d->rows, d->cols, d->n_parts},
                         .data = parts,
                         .row_bytes = weight_row_bytes(d),
                         .scale_row_bytes = scale_row_bytes(d)};
    memcpy(parts, d->data, n * sizeof *parts);
    if (w->scale_row_bytes) {
        w->scale = parts + n;
        memcpy(w->scale, d->scale, n * sizeof *parts);
    }
    *out = &w->base;
    return HD_OK;
}

static void mem_unpack(hd_dev *dev, hd_weight *weight)
{
    (void)dev;
    if (!weight) return;
    hd_mem_free(((hd_cpu_weight *)weight)->data);
    hd_mem_free(weight);
}

/* ---- streams -------------------------------------------------------------------------------- */

static void stream_destroy(hd_stream *base)
{
    hd_cpu_stream *s = (hd_cpu_stream *)base;
    hd_par_destroy(s->par);
    hd_mem_free(s->scratch);
    hd_mem_free(s);
}

static hd_status stream_create(hd_dev *base, hd_stream **out, hd_err *err)
{
    hd_status status = HD_OK;
    *out = NULL;
    hd_cpu_stream *s = hd_mem_try_calloc(1, sizeof *s);
    if (!s) HD_FAIL(err, HD_E_NOMEM, "out of memory for a stream");
    s->base.dev = base;
    HD_TRY_GOTO(status, failed, hd_par_create(base->props.n_threads, &s->par, err));
    s->scratch = hd_mem_try_aligned(ALIGN, (size_t)base->props.n_threads * HD_CPU_SCRATCH_BYTES);
    if (!s->scratch) {
        status = HD_SET_ERR(err, HD_E_NOMEM, "out of memory for the scratch of %d threads",
                            base->props.n_threads);
        goto failed;
    }
    *out = &s->base;
    return HD_OK;
failed:
    stream_destroy(&s->base);
    return status;
}

static hd_status stream_sync(hd_stream *base, int timeout_ms, hd_err *err)
{
    (void)timeout_ms;
    (void)err;
    hd_par_rest(((hd_cpu_stream *)base)->par);
    return HD_OK;
}

struct hd_event {
    hd_dev *dev;
};

static hd_status event_create(hd_dev *dev, hd_event **out, hd_err *err)
{
    *out = hd_mem_try_calloc(1, sizeof **out);
    if (!*out) HD_FAIL(err, HD_E_NOMEM, "out of memory for an event");
    (*out)->dev = dev;
    return HD_OK;
}

static void event_destroy(hd_event *event)
{
    hd_mem_free(event);
}

/* Everything submitted has run already. */
static hd_status event_nothing(hd_stream *s, hd_event *event)
{
    return s->dev == event->dev ? HD_OK : HD_E_ARG;
}

/* ---- device --------------------------------------------------------------------------------- */

static size_t act_bytes(const hd_dev *dev, int64_t rows, int64_t cols)
{
    (void)dev;
    return (size_t)rows * (size_t)cols * sizeof(hd_bf16);
}

static int default_threads(void)
{
    int n = hd_par_n_cpus();
    return n < HD_PAR_MAX_THREADS ? n : HD_PAR_MAX_THREADS;
}

static int cpu_score(void)
{
    return 100;
}

static void cpu_close(hd_dev *base)
{
    hd_cpu_dev *dev = (hd_cpu_dev *)base;
    while (dev->copies) {
        hd_cpu_copy *copy = dev->copies;
        dev->copies = copy->next;
        hd_mem_free(copy);
    }
    hd_mem_free(dev->tables);
    hd_mem_free(dev);
}

static hd_status cpu_open(const hd_dev_opts *opts, hd_dev *inner, hd_dev **out, hd_err *err)
{
    (void)inner;
    *out = NULL;
    const hd_cpu_kernels *kernels;
    HD_TRY(hd_cpu_kernels_find(opts->isa, &kernels, err));
    if (opts->n_threads < 0 || opts->n_threads > HD_PAR_MAX_THREADS)
        HD_FAIL(err, HD_E_ARG, "cannot run %d threads, expected 0 to %d", opts->n_threads,
                HD_PAR_MAX_THREADS);
    hd_cpu_dev *dev = hd_mem_try_calloc(1, sizeof *dev);
    hd_cpu_tables *tables = hd_mem_try_aligned(ALIGN, sizeof *tables);
    if (!dev || !tables) {
        hd_mem_free(dev);
        hd_mem_free(tables);
        HD_FAIL(err, HD_E_NOMEM, "out of memory for device 'cpu'");
    }
    hd_cpu_tables_init(tables);
    dev->tables = tables;
    dev->kernels = kernels;
    hd_dev *base = &dev->base;
    base->mem = (hd_dev_mem_ops){mem_alloc, mem_free,   mem_adopt, mem_release, mem_copy,
                                 mem_copy,  mem_copy2d, mem_fill,  mem_pack,    mem_unpack};
    base->stream = (hd_dev_stream_ops){.create = stream_create,
                                       .destroy = stream_destroy,
                                       .sync = stream_sync,
                                       .event_create = event_create,
                                       .event_destroy = event_destroy,
                                       .event_record = event_nothing,
                                       .event_wait = event_nothing};
    hd_cpu_ops_init(&base->ops);
    base->act_bytes = act_bytes;
    base->work_bytes = hd_cpu_work_bytes;
    hd_dev_props *props = &base->props;
    props->n_threads = opts->n_threads ? opts->n_threads : default_threads();
    props->proof = HD_PROOF_L3;
    props->act_format = HD_ACT_BF16;
    props->maps_host = true;
    props->memory_bytes = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    snprintf(props->description, sizeof props->description, "CPU, %s, %d thread%s", kernels->isa,
             props->n_threads, props->n_threads == 1 ? "" : "s");
    *out = base;
    return HD_OK;
}

const hd_backend hd_backend_cpu = {.abi = HD_DEV_ABI,
                                   .name = "cpu",
                                   .about = "vector instructions of this machine, all threads",
                                   .score = cpu_score,
                                   .open = cpu_open,
                                   .close = cpu_close};
