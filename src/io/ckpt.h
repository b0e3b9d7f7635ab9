/* A checkpoint directory: all its tensors by name.
 *
 * Three layouts are read: model.safetensors.index.json with the shards that it names, shards
 * model*.safetensors without an index, and a single model.safetensors. Every shard is mapped at
 * once and its header checked; the pages of its data are read when somebody looks at them. Which
 * tensors a model needs is not known here (model/names.h): this module knows only whether index and
 * shards agree. It takes the same defect list as the reader of one file. */
#ifndef HD_IO_CKPT_H
#define HD_IO_CKPT_H

#include "io/defect.h"
#include "io/safetensors.h"

typedef struct hd_ckpt hd_ckpt;

typedef struct hd_ckpt_entry {
    hd_str name;                /* as stored */
    size_t shard;               /* the file that has it, or that the index names */
    const hd_st_tensor *tensor; /* NULL when no header said what it is: index alone, or (lenient
                                   mode) a shard with a defect that was reported */
} hd_ckpt_entry;

/** Open a checkpoint.
 *  @param flags 0 or HD_ST_HEADERS: shards may end after their headers, and if there is an index
 *         but none of its shards, the index alone makes the entries.
 *  @param defects NULL (strict): the first defect fails, except those that harm nobody (overlap,
 *         gap, wrong_total_size). Else all are recorded and what can be read is.
 *  @return HD_E_IO, HD_E_NOMEM; strict also HD_E_NOTFOUND and HD_E_FORMAT. */
hd_status hd_ckpt_open(const char *dir, unsigned flags, hd_defects *defects, hd_ckpt **out,
                       hd_err *err) HD_WARN_UNUSED;
/** Every entry, name and view becomes invalid. `ck` may be NULL. */
void hd_ckpt_close(hd_ckpt *ck);

/** All names of index and shards, each once, in no promised order. */
size_t hd_ckpt_count(const hd_ckpt *ck);
const hd_ckpt_entry *hd_ckpt_at(const hd_ckpt *ck, size_t i);
/** By exact name; NULL if there is none. Thread-safe. */
const hd_ckpt_entry *hd_ckpt_find(const hd_ckpt *ck, hd_str name);
/** Place of an entry in 0 ... count - 1. */
size_t hd_ckpt_index(const hd_ckpt *ck, const hd_ckpt_entry *e);

/** False: only the index was read. */
bool hd_ckpt_has_headers(const hd_ckpt *ck);

size_t hd_ckpt_n_shards(const hd_ckpt *ck);
/** File name of shard i, without the directory. */
const char *hd_ckpt_shard_name(const hd_ckpt *ck, size_t i);
/** The open file; NULL when it is missing, unreadable or was refused. */
const hd_st *hd_ckpt_shard(const hd_ckpt *ck, size_t i);

#endif
