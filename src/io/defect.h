/* Defects of a checkpoint: what is wrong, and where.
 *
 * Readers of checkpoint files check everything once, for two audiences. A loader wants to stop at
 * the first defect with an error; `hadal inspect` wants all of them. So a reader takes an
 * hd_defects list that may be NULL and calls hd_defect_report: with a list the defect is recorded
 * and reading goes on without the thing that was defective, without one the report is an error.
 * Codes are part of the program's interface (docs/checkpoints.md lists them). */
#ifndef HD_IO_DEFECT_H
#define HD_IO_DEFECT_H

#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"
#include "base/utf8.h"

/* X(enum suffix, code, status of the error in strict mode) */
#define HD_DEFECT_CODES(X)                                                                         \
    X(BAD_CONFIG, "bad_config", HD_E_FORMAT) /* config.json does not follow its form */            \
    X(UNSUPPORTED_MODEL, "unsupported_model", HD_E_UNSUPPORTED) /* well-formed, not run here */    \
    X(BAD_INDEX, "bad_index", HD_E_FORMAT)                      /* model.safetensors.index.json */ \
    X(NO_WEIGHTS, "no_weights", HD_E_NOTFOUND)           /* no index and no .safetensors file */   \
    X(BAD_SHARD_NAME, "bad_shard_name", HD_E_FORMAT)     /* a shard outside the directory */       \
    X(MISSING_SHARD, "missing_shard", HD_E_NOTFOUND)     /* named by the index, not there */       \
    X(UNREADABLE_FILE, "unreadable_file", HD_E_IO)       /* there, cannot be mapped */             \
    X(SHORT_FILE, "short_file", HD_E_FORMAT)             /* ends before its last tensor does */    \
    X(HEADER_TOO_LARGE, "header_too_large", HD_E_FORMAT) /* beyond the file's end or the limit */  \
    X(BAD_HEADER, "bad_header", HD_E_FORMAT)             /* no JSON of the right structure */      \
    X(BAD_DTYPE, "bad_dtype", HD_E_FORMAT)               /* a type that safetensors lacks */       \
    X(BAD_SHAPE, "bad_shape", HD_E_FORMAT)               /* not a list of sizes */                 \
    X(OVERFLOW, "overflow", HD_E_FORMAT)                 /* a size beyond 2^63 - 1 */              \
    X(BAD_OFFSETS, "bad_offsets", HD_E_FORMAT)           /* not the bytes that the shape needs */  \
    X(OVERLAP, "overlap", HD_E_FORMAT)                   /* two tensors share bytes */             \
    X(GAP, "gap", HD_E_FORMAT)                           /* bytes that belong to no tensor */      \
    X(DUPLICATE_NAME, "duplicate_name", HD_E_FORMAT)     /* the same tensor twice */               \
    X(NOT_IN_SHARD, "not_in_shard", HD_E_FORMAT)         /* the index names it, the shard not */   \
    X(NOT_IN_INDEX, "not_in_index", HD_E_FORMAT)         /* the shard has it, the index not */     \
    X(WRONG_TOTAL_SIZE, "wrong_total_size", HD_E_FORMAT) /* metadata.total_size */                 \
    X(MISSING_TENSOR, "missing_tensor", HD_E_FORMAT)     /* config.json asks for it */             \
    X(MISSING_DRAFT, "missing_draft", HD_E_FORMAT)       /* a draft head announced, not stored */  \
    X(UNKNOWN_TENSOR, "unknown_tensor", HD_E_FORMAT)     /* no place for it in the model */        \
    X(WRONG_DTYPE, "wrong_dtype", HD_E_FORMAT)                                                     \
    X(WRONG_SHAPE, "wrong_shape", HD_E_FORMAT)

#define HD_DEFECT_ENUM(suffix, code, status) HD_DEFECT_##suffix,
typedef enum hd_defect_code { HD_DEFECT_CODES(HD_DEFECT_ENUM) HD_DEFECT_COUNT } hd_defect_code;
#undef HD_DEFECT_ENUM

typedef struct hd_defect hd_defect;

struct hd_defect {
    hd_defect_code code;
    hd_str where;    /* a tensor, a file of the directory, or a JSON path in config.json */
    hd_str detail;   /* what was found and what was expected; an error text */
    hd_defect *next; /* in order of discovery */
};

/* All strings live in the list's own arena. */
typedef struct hd_defects {
    hd_arena arena;
    hd_defect *first, *last;
    size_t n;      /* found */
    size_t n_kept; /* listed; the rest only counted */
} hd_defects;

void hd_defects_init(hd_defects *d);
void hd_defects_deinit(hd_defects *d);

/** Record a defect (d not NULL; HD_OK), or fail with it (d NULL: err says "'where': detail").
 *  At most 20,000 are kept. */
hd_status hd_defect_report(hd_defects *d, hd_defect_code code, hd_str where, hd_err *err,
                           const char *fmt, ...) HD_PRINTF(5, 6) HD_WARN_UNUSED;

/** "short_file" and so on. */
const char *hd_defect_code_name(hd_defect_code code);

#endif
