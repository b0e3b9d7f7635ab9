/* What disk.c, disk_keep.c and disk_load.c share. */
#ifndef HD_ENGINE_DISK_OWN_H
#define HD_ENGINE_DISK_OWN_H

#include "engine/disk.h"
#include "engine/disk_dir.h"
#include "engine/disk_io.h"
#include "model/v4.h"

#define HD_DISK_SEGMENT_POSITIONS (HD_DISK_SEGMENT * HD_DISK_BLOCK)
#define HD_DISK_MAX_KEEPS         64 /* paths that wait to be written */
#define HD_DISK_MAX_LOADS         16 /* requests that wait for files */

/* A path on its way to disk: the positions before `at` are there. */
typedef struct hd_disk_keeping {
    int32_t tip; /* its last block, held */
    int32_t at;
    hd_disk_key key; /* of the block that ends at `at` */
} hd_disk_keeping;

/* A request that waits: the segments before `at` are in memory. */
typedef struct hd_disk_loading {
    bool is_used;
    hd_request *r; /* NULL: it has ended, the slot waits for its file */
    int32_t at;
    hd_disk_key key;      /* of the block that ends at `at` */
    int32_t end;          /* rows are wanted up to here */
    int32_t snap_pos;     /* and the snapshot at this position; 0: none */
    hd_disk_key snap_key; /* of the block that ends there */
    bool reads;           /* a file is being read: */
    hd_disk_kind kind;
    hd_disk_key last; /* of its last block that is wanted */
    bool has_got;     /* something */
} hd_disk_loading;

struct hd_disk {
    hd_model *m;
    hd_prefix *prefix;
    uint64_t budget;
    hd_disk_dir dir;
    hd_disk_shape shape;
    hd_disk_index *ix;
    hd_disk_io *io;
    int32_t n_jobs;                          /* under way */
    hd_disk_keeping keep[HD_DISK_MAX_KEEPS]; /* a ring */
    int32_t first_keep, n_keeps;
    hd_disk_loading load[HD_DISK_MAX_LOADS];
    int32_t n_loads;
    hd_disk_stats stats;
};

/* disk.c */
/** The key in front of the first block of a group. */
hd_disk_key hd_disk_root(const hd_disk *d, uint64_t group);
void hd_disk_submit(hd_disk *d, hd_disk_job *job);
/** Remove a file from index and directory. false: not now. */
bool hd_disk_throw_out(hd_disk *d, int32_t file);

/* disk_keep.c */
void hd_disk_keep_some(hd_disk *d);
void hd_disk_written(hd_disk *d, const hd_disk_job *job);

/* disk_load.c */
void hd_disk_load_some(hd_disk *d);
void hd_disk_was_read(hd_disk *d, hd_disk_job *job);

#endif
