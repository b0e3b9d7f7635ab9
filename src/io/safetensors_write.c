/* Writing: declare, begin, put, finish. The file grows beside its path and is renamed at the end,
 * so a reader never sees half of it. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/jsonw.h"
#include "base/mem.h"
#include "io/safetensors.h"

#define LENGTH_BYTES 8  /* of the header length in front of everything */
#define ALIGN        64 /* of the data's start, for vector loads from a mapping */

#define WHY(buf)     strerror_r(errno, buf, sizeof buf)

typedef struct piece {
    uint64_t offset; /* from the start of the data */
    uint64_t n_bytes;
} piece;

struct hd_st_writer {
    hd_buf header; /* the JSON text so far, without its closing brace */
    piece *pieces; /* [n] the tensors in order */
    size_t n, cap;
    uint64_t data_begin;    /* file offset */
    uint64_t data_len;      /* bytes of all tensors */
    _Atomic uint64_t n_put; /* bytes written so far */
    unsigned flags;
    int fd;      /* -1 when no file is open */
    char *path;  /* NULL before begin */
    char *aside; /* the file's name until finish; NULL when there is none to remove */
};

hd_st_writer *hd_st_writer_create(void)
{
    hd_st_writer *w = hd_mem_calloc(1, sizeof *w);
    w->fd = -1;
    hd_buf_init(&w->header, HD_ST_MAX_HEADER);
    return w;
}

void hd_st_writer_destroy(hd_st_writer *w)
{
    if (!w) return;
    if (w->fd >= 0) close(w->fd);
    if (w->aside) unlink(w->aside);
    hd_mem_free(w->aside);
    hd_mem_free(w->path);
    hd_mem_free(w->pieces);
    hd_buf_deinit(&w->header);
    hd_mem_free(w);
}

/* ---- declaring ---- */

static hd_status add_piece(hd_st_writer *w, uint64_t n_bytes, hd_err *err)
{
    if (w->n == w->cap) {
        size_t cap = w->cap ? 2 * w->cap : 16;
        piece *grown = hd_mem_try_realloc(w->pieces, cap, sizeof *grown);
        if (!grown) HD_FAIL(err, HD_E_NOMEM, "no memory to declare %zu tensors", cap);
        w->pieces = grown;
        w->cap = cap;
    }
    w->pieces[w->n++] = (piece){.offset = w->data_len, .n_bytes = n_bytes};
    w->data_len += n_bytes;
    return HD_OK;
}

static void append_entry(hd_st_writer *w, hd_str name, hd_dtype dtype, int rank,
                         const int64_t *shape)
{
    const piece *p = &w->pieces[w->n - 1];
    hd_buf *b = &w->header;
    hd_buf_addc(b, w->n == 1 ? '{' : ',');
    hd_jsonw_str(b, name);
    hd_buf_addf(b, ":{\"dtype\":\"%s\",\"shape\":[", hd_dtype_name(dtype));
    for (int i = 0; i < rank; i++) hd_buf_addf(b, "%s%" PRId64, i ? "," : "", shape[i]);
    hd_buf_addf(b, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", p->offset,
                p->offset + p->n_bytes);
}

hd_status hd_st_writer_add(hd_st_writer *w, hd_str name, hd_dtype dtype, int rank,
                           const int64_t *shape, hd_err *err)
{
    HD_ASSERT(!w->path);
    if (rank < 0 || rank > HD_ST_MAX_RANK)
        HD_FAIL(err, HD_E_ARG, "tensor '%.*s' has rank %d, expected 0 to %d", HD_STR_CUT(name),
                rank, HD_ST_MAX_RANK);
    int64_t n_bytes = (int64_t)hd_dtype_size(dtype), end;
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0)
            HD_FAIL(err, HD_E_ARG, "tensor '%.*s' has size %" PRId64 ", expected none below 0",
                    HD_STR_CUT(name), shape[i]);
        if (__builtin_mul_overflow(n_bytes, shape[i], &n_bytes))
            HD_FAIL(err, HD_E_LIMIT, "tensor '%.*s' has more than 2^63 - 1 bytes",
                    HD_STR_CUT(name));
    }
    /* The header and its length come in front, and the sum must stay a file offset. */
    if (__builtin_add_overflow((int64_t)w->data_len, n_bytes, &end) ||
        end > INT64_MAX - 2 * (int64_t)HD_ST_MAX_HEADER)
        HD_FAIL(err, HD_E_LIMIT, "tensor '%.*s' makes the file longer than 2^63 - 1 bytes",
                HD_STR_CUT(name));
    HD_TRY(add_piece(w, (uint64_t)n_bytes, err));
    append_entry(w, name, dtype, rank, shape);
    return hd_buf_status(&w->header, "safetensors header", err);
}

/* ---- writing ---- */

static hd_status put_at(hd_st_writer *w, uint64_t at, const char *data, size_t n, hd_err *err)
{
    char buf[128];
    while (n > 0) {
        ssize_t wrote = pwrite(w->fd, data, n, (off_t)at);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) HD_FAIL(err, HD_E_IO, "cannot write '%s': %s", w->path, WHY(buf));
        data += wrote;
        at += (uint64_t)wrote;
        n -= (size_t)wrote;
    }
    return HD_OK;
}

static hd_status create_file(hd_st_writer *w, const char *path, hd_err *err)
{
    static atomic_uint serial; /* several writers of one process may have the same path */
    char buf[128], aside[4096];
    int n = snprintf(aside, sizeof aside, "%s.tmp-%ld-%u", path, (long)getpid(),
                     atomic_fetch_add(&serial, 1));
    if (n < 0 || (size_t)n >= sizeof aside)
        HD_FAIL(err, HD_E_LIMIT, "path '%.64s' is longer than %zu bytes", path, sizeof aside - 32);
    w->path = hd_mem_strdup(path);
    w->fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (w->fd < 0) HD_FAIL(err, HD_E_IO, "cannot create '%s': %s", aside, WHY(buf));
    w->aside = hd_mem_strdup(aside);
    return HD_OK;
}

hd_status hd_st_writer_begin(hd_st_writer *w, const char *path, unsigned flags, hd_err *err)
{
    HD_ASSERT(!w->path);
    char buf[128];
    w->flags = flags;
    hd_buf_addz(&w->header, w->n ? "}" : "{}");
    while (w->header.status == HD_OK && (LENGTH_BYTES + w->header.len) % ALIGN)
        hd_buf_addc(&w->header, ' ');
    HD_TRY(hd_buf_status(&w->header, "safetensors header", err));
    HD_TRY(create_file(w, path, err));
    unsigned char length[LENGTH_BYTES];
    for (int i = 0; i < LENGTH_BYTES; i++) length[i] = (unsigned char)(w->header.len >> 8 * i);
    HD_TRY(put_at(w, 0, (const char *)length, LENGTH_BYTES, err));
    HD_TRY(put_at(w, LENGTH_BYTES, w->header.ptr, w->header.len, err));
    w->data_begin = LENGTH_BYTES + w->header.len;
    if (flags & HD_ST_HEADERS) return HD_OK;
    if (ftruncate(w->fd, (off_t)(w->data_begin + w->data_len)) != 0)
        HD_FAIL(err, HD_E_IO, "cannot make '%s' %" PRIu64 " bytes long: %s", path,
                w->data_begin + w->data_len, WHY(buf));
    return HD_OK;
}

hd_status hd_st_writer_put(hd_st_writer *w, size_t i, uint64_t offset, const void *data, size_t n,
                           hd_err *err)
{
    HD_ASSERT(w->fd >= 0 && !(w->flags & HD_ST_HEADERS));
    if (i >= w->n || offset > w->pieces[i].n_bytes || n > w->pieces[i].n_bytes - offset)
        HD_FAIL(err, HD_E_ARG, "%zu bytes at %" PRIu64 " of tensor %zu lie outside of it", n,
                offset, i);
    HD_TRY(put_at(w, w->data_begin + w->pieces[i].offset + offset, data, n, err));
    atomic_fetch_add_explicit(&w->n_put, n, memory_order_relaxed);
    return HD_OK;
}

hd_status hd_st_writer_finish(hd_st_writer *w, hd_err *err)
{
    HD_ASSERT(w->fd >= 0);
    char buf[128];
    uint64_t n_put = atomic_load(&w->n_put);
    if (!(w->flags & (HD_ST_HEADERS | HD_ST_SPARSE)) && n_put != w->data_len)
        HD_FAIL(err, HD_E_ARG, "'%s' was given %" PRIu64 " bytes of data, expected %" PRIu64,
                w->path, n_put, w->data_len);
    /* What fsync has accepted, close cannot lose. */
    bool is_whole = fsync(w->fd) == 0 && rename(w->aside, w->path) == 0;
    if (!is_whole) HD_FAIL(err, HD_E_IO, "cannot finish '%s': %s", w->path, WHY(buf));
    close(w->fd);
    w->fd = -1;
    hd_mem_free(w->aside);
    w->aside = NULL;
    return HD_OK;
}
