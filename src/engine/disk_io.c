#include "engine/disk_io.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/queue.h"

#define N_BUFFERS 2 /* for reading, and as many for writing */
#define N_REMOVES 60
#define N_JOBS    (2 * N_BUFFERS + N_REMOVES)

struct hd_disk_io {
    int dir;
    hd_disk_shape shape;
    hd_queue *todo, *done;
    hd_disk_job job[N_JOBS];
    hd_disk_job *free_job[HD_DISK_WORKS];
    uint8_t *memory; /* [2 · N_BUFFERS, buffer] */
    pthread_t thread;
    bool has_thread;
    _Atomic int stops;
};

static void do_job(const hd_disk_io *io, hd_disk_job *j)
{
    j->result = HD_OK;
    if (j->work == HD_DISK_READ)
        j->result = hd_disk_read(io->dir, j->name, &io->shape, j->first, j->n, j->buf, NULL);
    else if (j->work == HD_DISK_WRITE)
        j->result = hd_disk_write(io->dir, j->buf, NULL);
    else
        (void)unlinkat(io->dir, j->name, 0); /* gone already: as good */
}

static void *io_main(void *arg)
{
    hd_disk_io *io = arg;
    for (;;) {
        void *item;
        /* Read before the queue is: what was submitted before the stop is seen behind it. */
        bool stops = atomic_load(&io->stops);
        while (hd_queue_pop(io->todo, &item)) {
            do_job(io, item);
            bool has_room = hd_queue_push(io->done, item); /* as many places as jobs */
            HD_ASSERT(has_room);
        }
        if (stops) return NULL;
        (void)hd_queue_wait(io->todo, -1);
    }
}

static size_t buffer_bytes(const hd_disk_shape *s)
{
    uint64_t rows = s->rows_bytes * HD_DISK_SEGMENT;
    uint64_t n = HD_DISK_HEAD_BYTES + (rows > s->snap_bytes ? rows : s->snap_bytes);
    return (size_t)(n + HD_DISK_HEAD_BYTES - 1) / HD_DISK_HEAD_BYTES * HD_DISK_HEAD_BYTES;
}

static void make_jobs(hd_disk_io *io, size_t bytes)
{
    for (int i = 0; i < N_JOBS; i++) {
        hd_disk_job *j = &io->job[i];
        j->work = i < N_BUFFERS ? HD_DISK_READ : i < 2 * N_BUFFERS ? HD_DISK_WRITE : HD_DISK_REMOVE;
        j->buf = i < 2 * N_BUFFERS ? io->memory + (size_t)i * bytes : NULL;
        hd_disk_io_give(io, j);
    }
}

/* Signals are for the program's own threads; a write beyond a limit is an error, not a signal. */
static hd_status start_thread(hd_disk_io *io, hd_err *err)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int why = pthread_create(&io->thread, NULL, io_main, io);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (why) HD_FAIL(err, HD_E_NOMEM, "cannot start the thread for files: %s", strerror(why));
    io->has_thread = true;
    return HD_OK;
}

static hd_status open_parts(hd_disk_io *io, hd_err *err)
{
    size_t bytes = buffer_bytes(&io->shape);
    HD_TRY(hd_queue_create(N_JOBS, &io->todo, err));
    HD_TRY(hd_queue_create(N_JOBS, &io->done, err));
    io->memory = hd_mem_try_aligned(HD_DISK_HEAD_BYTES, bytes * 2 * N_BUFFERS);
    if (!io->memory)
        HD_FAIL(err, HD_E_NOMEM, "out of memory for buffers of %zu bytes for files", bytes);
    make_jobs(io, bytes);
    return start_thread(io, err);
}

hd_status hd_disk_io_open(int dir, const hd_disk_shape *shape, hd_disk_io **out, hd_err *err)
{
    hd_disk_io *io = hd_mem_calloc(1, sizeof *io);
    io->dir = dir;
    io->shape = *shape;
    hd_status st = open_parts(io, err);
    if (st == HD_OK)
        *out = io;
    else
        hd_disk_io_close(io);
    return st;
}

void hd_disk_io_close(hd_disk_io *io)
{
    if (!io) return;
    if (io->has_thread) {
        atomic_store(&io->stops, 1);
        hd_queue_wake(io->todo);
        pthread_join(io->thread, NULL);
    }
    hd_queue_destroy(io->todo);
    hd_queue_destroy(io->done);
    hd_mem_free(io->memory);
    hd_mem_free(io);
}

hd_disk_job *hd_disk_io_take(hd_disk_io *io, hd_disk_work work)
{
    hd_disk_job *j = io->free_job[work];
    if (j) io->free_job[work] = j->next_free;
    return j;
}

void hd_disk_io_submit(hd_disk_io *io, hd_disk_job *job)
{
    bool has_room = hd_queue_push(io->todo, job);
    HD_ASSERT(has_room);
}

hd_disk_job *hd_disk_io_done(hd_disk_io *io)
{
    void *item;
    return hd_queue_pop(io->done, &item) ? item : NULL;
}

void hd_disk_io_give(hd_disk_io *io, hd_disk_job *job)
{
    job->next_free = io->free_job[job->work];
    io->free_job[job->work] = job;
}

void hd_disk_io_wait(hd_disk_io *io, int timeout_ms)
{
    (void)hd_queue_wait(io->done, timeout_ms);
}
