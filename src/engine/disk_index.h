/* What is on disk, in memory: files by the keys of their blocks, and which of them goes first.
 *
 * The engine's thread owns it; nothing here touches a file. A block's key may be in several files
 * of rows: texts that part within a segment have one each. A file depends on the one that has its
 * parent key: using a file makes it, then those that it depends on, the most recently used, so the
 * least recently used file is one that no other depends on: leaves go first. */
#ifndef HD_ENGINE_DISK_INDEX_H
#define HD_ENGINE_DISK_INDEX_H

#include "engine/disk_file.h"

typedef struct hd_disk_index hd_disk_index;

#define HD_DISK_NONE (-1)

/** One file. It is busy while it is written: it is found, but must not be read or thrown out. */
typedef struct hd_disk_entry {
    hd_disk_kind kind;
    uint32_t from, n_blocks;
    uint64_t bytes;
    hd_disk_key parent;
    hd_disk_key key[HD_DISK_SEGMENT]; /* [n_blocks] */
    bool is_busy;
} hd_disk_entry;

hd_status hd_disk_index_create(int32_t max_files, hd_disk_index **out, hd_err *err) HD_WARN_UNUSED;
void hd_disk_index_destroy(hd_disk_index *ix); /* NULL is allowed */

bool hd_disk_index_is_full(const hd_disk_index *ix);
/** A new file, most recently used; the index must not be full. */
int32_t hd_disk_index_add(hd_disk_index *ix, const hd_disk_head *head, bool is_busy);
void hd_disk_index_remove(hd_disk_index *ix, int32_t file);
/** It has been written. */
void hd_disk_index_ready(hd_disk_index *ix, int32_t file);
/** Valid until the file is removed. */
const hd_disk_entry *hd_disk_index_at(const hd_disk_index *ix, int32_t file);
void hd_disk_index_name(const hd_disk_index *ix, int32_t file, char out[HD_DISK_NAME_SIZE]);

/** A file of this kind that has the key, preferably one that is not busy; HD_DISK_NONE. */
int32_t hd_disk_index_find(const hd_disk_index *ix, hd_disk_kind kind, const hd_disk_key *key);
/** The file was used. */
void hd_disk_index_touch(hd_disk_index *ix, int32_t file);
/** A file of rows all of whose blocks are in `file` too, with more behind them. HD_DISK_NONE. */
int32_t hd_disk_index_covered(const hd_disk_index *ix, int32_t file);
/** The one to throw out next; HD_DISK_NONE when all are busy. */
int32_t hd_disk_index_oldest(const hd_disk_index *ix);

int32_t hd_disk_index_count(const hd_disk_index *ix);
uint64_t hd_disk_index_bytes(const hd_disk_index *ix);

#endif
