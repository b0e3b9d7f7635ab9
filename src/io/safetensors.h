/* One safetensors file: read by mapping, written tensor by tensor.
 *
 * The format: 8 bytes little-endian header length, a JSON object (name -> dtype, shape,
 * data_offsets, and an optional "__metadata__"), then the tensors' bytes, little-endian. Reading
 * maps the file and hands out views into the mapping; nothing is copied. All numbers come from
 * outside: each is bounded and checked for overflow before it is used, and a view always lies
 * inside the file. Not here: which tensors a model needs (model/names.h), several files
 * (io/ckpt.h). */
#ifndef HD_IO_SAFETENSORS_H
#define HD_IO_SAFETENSORS_H

#include <stdint.h>

#include "base/arena.h"
#include "base/dtype.h"
#include "base/status.h"
#include "base/str.h"
#include "io/defect.h"

#define HD_ST_MAX_RANK   8
#define HD_ST_MAX_HEADER (100u * 1000u * 1000u) /* bytes, as the safetensors library */

/** Most memory that the tree of a JSON text of n bytes may take, here and in io/ckpt.h: a value of
 *  80 bytes per 2 to 5 bytes of the densest honest header; 2 GiB whatever a file may say. */
static inline size_t hd_st_tree_bytes(size_t n)
{
    size_t bytes = 64 * n + ((size_t)1 << 20), most = (size_t)1 << 31;
    return bytes < most ? bytes : most;
}

typedef struct hd_st_tensor {
    hd_str name;
    hd_dtype dtype;
    int32_t rank;                  /* 0..HD_ST_MAX_RANK; 0 is a scalar */
    int64_t shape[HD_ST_MAX_RANK]; /* [rank], row-major, each >= 0 */
    uint64_t offset;               /* first byte, from the start of the data */
    uint64_t n_bytes;
    const uint8_t *data; /* n_bytes in the mapping, perhaps unaligned; NULL with HD_ST_HEADERS, and
                            in lenient mode beyond the end of a short file */
    bool is_bad;         /* lenient mode: a defect was reported, only the name can be used */
} hd_st_tensor;

enum {
    HD_ST_HEADERS = 1 /* the file may end anywhere after its header; no tensor has data */
};

typedef struct hd_st hd_st;

/** Map a file and check its header.
 *  @param flags 0 or HD_ST_HEADERS.
 *  @param defects NULL (strict): the first defect fails. Else (lenient) all are recorded, tensors
 *         with defects are marked, and a file without a readable header has no tensors. Overlaps,
 *         gaps and bytes after the last tensor harm nobody: strict mode accepts them.
 *  @return HD_E_NOTFOUND, HD_E_IO, HD_E_NOMEM, and in strict mode HD_E_FORMAT. */
hd_status hd_st_open(const char *path, unsigned flags, hd_defects *defects, hd_st **out,
                     hd_err *err) HD_WARN_UNUSED;

/** As hd_st_open, of a file that is in memory; `bytes` is borrowed until hd_st_close.
 *  @param file its name in messages. */
hd_status hd_st_from_memory(hd_str bytes, const char *file, unsigned flags, hd_defects *defects,
                            hd_st **out, hd_err *err) HD_WARN_UNUSED;

/** `st` may be NULL. */
void hd_st_close(hd_st *st);

/** False, in lenient mode: the header could not be read, so there are no tensors. */
bool hd_st_has_header(const hd_st *st);
/** Tensors in the order of their offsets. */
size_t hd_st_count(const hd_st *st);
const hd_st_tensor *hd_st_at(const hd_st *st, size_t i);
/** By name; NULL if there is none. Linear: for files with few tensors. */
const hd_st_tensor *hd_st_find(const hd_st *st, hd_str name);
/** Tensors whose data does not start at a multiple of its element size (allowed). */
size_t hd_st_unaligned(const hd_st *st);
/** Bytes of all tensors together, as their shapes ask for. */
uint64_t hd_st_tensor_bytes(const hd_st *st);

/* ---- writing ---- */

typedef struct hd_st_writer hd_st_writer;

enum {
    HD_ST_SPARSE = 2 /* bytes never put stay holes, read as zero; else they are an error */
};

/** The order of use: create, add every tensor, begin, put their bytes in any order, finish,
 *  destroy. Nothing is at `path` before finish has renamed the finished file there. */
hd_st_writer *hd_st_writer_create(void);
/** Removes what begin made, unless finish has succeeded. `w` may be NULL. */
void hd_st_writer_destroy(hd_st_writer *w);

/** Declare a tensor; its index is the number of tensors declared before it. Data lies in the order
 *  of declaration, without gaps. That names differ is the caller's promise.
 *  @param shape [rank], each >= 0.
 *  @return HD_E_ARG (rank, a negative size), HD_E_LIMIT (header or data too large). */
hd_status hd_st_writer_add(hd_st_writer *w, hd_str name, hd_dtype dtype, int rank,
                           const int64_t *shape, hd_err *err) HD_WARN_UNUSED;

/** Write the header to a file beside `path`, padded with spaces to a multiple of 64 bytes.
 *  @param flags 0, HD_ST_SPARSE, or HD_ST_HEADERS (the file will end after its header). */
hd_status hd_st_writer_begin(hd_st_writer *w, const char *path, unsigned flags,
                             hd_err *err) HD_WARN_UNUSED;

/** Write n bytes at `offset` within tensor `i`, each byte once. Several threads may put at a time.
 *  @return HD_E_ARG outside the tensor; HD_E_IO. */
hd_status hd_st_writer_put(hd_st_writer *w, size_t i, uint64_t offset, const void *data, size_t n,
                           hd_err *err) HD_WARN_UNUSED;

/** Check that every byte was put (HD_E_ARG if not; not asked with HD_ST_SPARSE and HD_ST_HEADERS),
 *  flush, rename to the path given to begin. */
hd_status hd_st_writer_finish(hd_st_writer *w, hd_err *err) HD_WARN_UNUSED;

#endif
