#include "engine/disk.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/disk_own.h"
#include "model/identity.h"

#define DEFAULT_BUDGET ((uint64_t)16 << 30)
#define MIN_FILES      64
#define MAX_FILES      65536
#define CLOSE_NS       ((int64_t)10 * 1000000000)
#define WAIT_MS        2

/* ---- open, close ------------------------------------------------------------------------------*/

static hd_status open_parts(hd_disk *d, const char *path, hd_err *err)
{
    hd_disk_shape *s = &d->shape;
    hd_v4_identity(d->m, HD_DISK_VERSION, s->identity);
    s->rows_bytes = HD_DISK_IDS_BYTES + hd_v4_rows_bytes(d->m);
    s->snap_bytes = HD_DISK_IDS_BYTES + hd_v4_snap_bytes(d->m);
    uint64_t n = d->budget / (HD_DISK_HEAD_BYTES + s->rows_bytes);
    n = n < MIN_FILES ? MIN_FILES : n > MAX_FILES ? MAX_FILES : n;
    HD_TRY(hd_disk_dir_open(path, s->identity, &d->dir, err));
    HD_TRY(hd_disk_index_create((int32_t)n, &d->ix, err));
    HD_TRY(hd_disk_dir_scan(&d->dir, s, d->budget, d->ix, &d->stats.n_bad, err));
    return hd_disk_io_open(d->dir.fd, s, &d->io, err);
}

hd_status hd_disk_open(const hd_disk_opts *opts, hd_disk **out, hd_err *err)
{
    hd_disk *d = hd_mem_calloc(1, sizeof *d);
    *d = (hd_disk){.m = opts->model,
                   .prefix = opts->prefix,
                   .budget = opts->budget ? opts->budget : DEFAULT_BUDGET,
                   .dir = {.fd = -1}};
    hd_status st = open_parts(d, opts->dir, err);
    if (st == HD_OK)
        *out = d;
    else
        hd_disk_close(d);
    return st;
}

void hd_disk_close(hd_disk *d)
{
    if (!d) return;
    int64_t end = hd_clock_ns() + CLOSE_NS;
    for (int i = 0; i < HD_DISK_MAX_LOADS; i++)
        if (d->load[i].is_used && d->load[i].r) hd_disk_forget(d, d->load[i].r);
    while (d->io && hd_disk_pump(d) && hd_clock_ns() < end) hd_disk_wait(d);
    hd_disk_let_go(d);
    hd_disk_io_close(d->io);
    hd_disk_index_destroy(d->ix);
    hd_disk_dir_close(&d->dir);
    hd_mem_free(d);
}

/* ---- what writing and reading share -----------------------------------------------------------*/

hd_disk_key hd_disk_root(const hd_disk *d, uint64_t group)
{
    uint8_t digest[HD_SHA256_BYTES], bytes[8];
    hd_disk_key key;
    hd_sha256 s;
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(group >> (8 * i));
    hd_sha256_init(&s);
    hd_sha256_add(&s, d->dir.secret, sizeof d->dir.secret);
    hd_sha256_add(&s, d->shape.identity, sizeof d->shape.identity);
    hd_sha256_add(&s, bytes, sizeof bytes);
    hd_sha256_end(&s, digest);
    memcpy(key.byte, digest, sizeof key.byte);
    return key;
}

void hd_disk_submit(hd_disk *d, hd_disk_job *job)
{
    d->n_jobs++;
    hd_disk_io_submit(d->io, job);
}

bool hd_disk_throw_out(hd_disk *d, int32_t file)
{
    hd_disk_job *job = hd_disk_io_take(d->io, HD_DISK_REMOVE);
    if (!job) return false;
    hd_disk_index_name(d->ix, file, job->name);
    hd_disk_index_remove(d->ix, file);
    hd_disk_submit(d, job);
    return true;
}

/* ---- between steps ----------------------------------------------------------------------------*/

bool hd_disk_pump(hd_disk *d)
{
    hd_disk_job *job;
    if (!d) return false;
    while ((job = hd_disk_io_done(d->io))) {
        d->n_jobs--;
        if (job->work == HD_DISK_WRITE) hd_disk_written(d, job);
        if (job->work == HD_DISK_READ) hd_disk_was_read(d, job);
        hd_disk_io_give(d->io, job);
    }
    hd_disk_load_some(d);
    hd_disk_keep_some(d);
    return d->n_jobs > 0 || d->n_loads > 0 || d->n_keeps > 0;
}

void hd_disk_wait(hd_disk *d)
{
    if (d) hd_disk_io_wait(d->io, WAIT_MS);
}

void hd_disk_get_stats(const hd_disk *d, hd_disk_stats *out)
{
    *out = (hd_disk_stats){0};
    if (!d) return;
    *out = d->stats;
    out->n_files = (uint64_t)hd_disk_index_count(d->ix);
    out->n_bytes = hd_disk_index_bytes(d->ix);
}
