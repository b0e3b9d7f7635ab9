/* The thread that reads and writes files of the cache, so that no step waits for a disk.
 *
 * The engine's thread takes a job, fills it and submits it; the thread does the jobs in order and
 * gives them back through a queue. There are as many jobs, and buffers, as are made at the start:
 * when none is free, the caller tries again at a later step. Nothing is allocated after open. */
#ifndef HD_ENGINE_DISK_IO_H
#define HD_ENGINE_DISK_IO_H

#include "engine/disk_file.h"

typedef struct hd_disk_io hd_disk_io;

typedef enum hd_disk_work {
    HD_DISK_READ,
    HD_DISK_WRITE,
    HD_DISK_REMOVE,
    HD_DISK_WORKS
} hd_disk_work;

typedef struct hd_disk_job {
    hd_disk_work work;
    char name[HD_DISK_NAME_SIZE]; /* READ, REMOVE */
    uint8_t *buf;                 /* READ, WRITE: head, then blocks */
    uint32_t first, n;            /* READ: which blocks */
    int32_t file;                 /* the caller's */
    void *owner;                  /* the caller's */
    hd_status result;             /* of hd_disk_read or hd_disk_write */
    struct hd_disk_job *next_free;
} hd_disk_job;

/** @param dir an open directory; borrowed. @param shape of its files. */
hd_status hd_disk_io_open(int dir, const hd_disk_shape *shape, hd_disk_io **out,
                          hd_err *err) HD_WARN_UNUSED;
/** Waits until all submitted jobs are done. NULL is allowed. */
void hd_disk_io_close(hd_disk_io *io);

/** A job of this kind to fill, NULL when all are in use. */
hd_disk_job *hd_disk_io_take(hd_disk_io *io, hd_disk_work work);
void hd_disk_io_submit(hd_disk_io *io, hd_disk_job *job);
/** A job that is done, NULL if there is none; to be given back. */
hd_disk_job *hd_disk_io_done(hd_disk_io *io);
/** A job that was taken, and is not submitted or is done, is free again. */
void hd_disk_io_give(hd_disk_io *io, hd_disk_job *job);
/** Sleep until a job is done, at most this long. */
void hd_disk_io_wait(hd_disk_io *io, int timeout_ms);

#endif
