/* The prefix cache on disk: what was computed once is read back after a restart.
 *
 * Behind the cache in memory (prefix.h), and only by way of it. Paths of blocks are written to
 * files when a request ends and every 4,096 positions; a request whose text goes on in files
 * longer than in memory waits until they are read into pages and blocks, and then begins behind
 * them like any other. Whatever fails, or does not compare equal, is a miss: the rows are computed.
 *
 * The engine's thread calls all of this between steps; the reading and writing is done by another
 * (disk_io.h). What a call does is bounded, and it allocates nothing. `disk` may be NULL in all of
 * them but open: there is no cache on disk. docs/kv-files.md has the format. */
#ifndef HD_ENGINE_DISK_H
#define HD_ENGINE_DISK_H

#include "engine/request.h"

typedef struct hd_disk hd_disk;

typedef struct hd_disk_opts {
    hd_model *model;   /* borrowed, as is the cache */
    hd_prefix *prefix; /* of the model's pages */
    const char *dir;   /* made if it is missing, in a directory that is there */
    uint64_t budget;   /* bytes of files of this model; 0: 16 GiB */
} hd_disk_opts;

typedef struct hd_disk_stats {
    uint64_t n_hits;     /* requests that waited for files and got something of them */
    uint64_t n_restored; /* positions whose rows were read into pages */
    uint64_t n_snaps_restored;
    uint64_t n_written, n_written_bytes; /* files */
    uint64_t n_evicted;                  /* files beyond the budget */
    uint64_t n_bad;                      /* files of ours that were damaged; they are removed */
    uint64_t n_read_errors, n_write_errors;
    uint64_t n_skipped;        /* paths that were not written: too many, or pages were short */
    uint64_t n_files, n_bytes; /* now */
} hd_disk_stats;

/** Reads the heads of all files that are there. @return HD_E_NOMEM, HD_E_IO, HD_E_FORMAT. */
hd_status hd_disk_open(const hd_disk_opts *opts, hd_disk **out, hd_err *err) HD_WARN_UNUSED;
/** Writes what is still to be written, for at most 10 seconds. Requests that wait are
 *  forgotten. */
void hd_disk_close(hd_disk *disk);

/** The path that ends with `block` is worth keeping, with the snapshot at its end if there is one.
 *  The block is held until it is copied, or hd_disk_let_go. */
void hd_disk_keep(hd_disk *disk, uint64_t group, int32_t block);
/** Hold no blocks any more: their pages are needed. @return whether any were. */
bool hd_disk_let_go(hd_disk *disk);

/** Whether a request must wait for files before it begins behind r->block: they spare it more than
 *  memory does. Asked again at each step until it says no. */
bool hd_disk_holds_back(hd_disk *disk, hd_request *r);
/** The request does not wait any more: it ends. */
void hd_disk_forget(hd_disk *disk, const hd_request *r);

/** Take in what was read, submit what is to be read or written. @return whether there is more to
 *  come. */
bool hd_disk_pump(hd_disk *disk);
/** Sleep until something has been read or written, a few milliseconds at most. */
void hd_disk_wait(hd_disk *disk);

/** All zero without a disk. */
void hd_disk_get_stats(const hd_disk *disk, hd_disk_stats *out);

#endif
