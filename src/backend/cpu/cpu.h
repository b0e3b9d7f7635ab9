/* The fast CPU backend, inside: what its host side and its kernels share.
 *
 * Every op is one function that all threads of the team run together (a "lane" is one thread's view
 * of that). Kernels live in kern/ and are compiled once per instruction set; each set exports one
 * table of functions, and open() picks one. A kernel never allocates: a lane has scratch of a fixed
 * size, and fused ops have params->work. */
#ifndef HD_BACKEND_CPU_CPU_H
#define HD_BACKEND_CPU_CPU_H

#include "base/par.h"
#include "dev/dev.h"

/** Bytes of scratch per lane. See HD_CPU_SCRATCH_* for how kernels cut it. */
#define HD_CPU_SCRATCH_BYTES (1024 * 1024)

/** Largest matrix width that fits the scratch of one lane as FP32 pairs. */
#define HD_CPU_MAX_COLS 65536

/** Widened codes with the block scale folded in, one row per scale byte. A few rows are hot. */
typedef struct hd_cpu_tables {
    HD_ALIGNED(64) uint16_t fp4_bf16[256][32];     /* bf16; codes 0 … 15 twice */
    HD_ALIGNED(64) uint8_t fp4_bytes[256][2][16];  /* the same: low bytes, high bytes */
    HD_ALIGNED(64) uint8_t fp8_bytes[256][2][128]; /* bf16 of codes 0 … 127: low, high bytes */
} hd_cpu_tables;

/** A weight stays where the file has it; only the addresses of its parts are copied. */
typedef struct hd_cpu_weight {
    hd_weight base;
    const uint8_t **data;  /* [n_parts]: rows one after the other, row_bytes each */
    const uint8_t **scale; /* [n_parts]; NULL where the format has none */
    size_t row_bytes;
    size_t scale_row_bytes; /* FP4: per row; FP8: per 128 rows */
} hd_cpu_weight;

/** One thread's view of an op that runs. */
typedef struct hd_cpu_lane {
    hd_par *par;
    int i, n; /* thread number, size of the team */
    const hd_cpu_tables *tables;
    uint8_t *scratch; /* HD_CPU_SCRATCH_BYTES, 64-byte aligned, content undefined */
} hd_cpu_lane;

/** The kernels of one instruction set. Arguments were checked, the problem is not empty. */
typedef struct hd_cpu_kernels {
    const char *isa;
#define HD_CPU_SLOT(name) void (*name)(const hd_cpu_lane *, const hd_##name##_params *);
    HD_OPS(HD_CPU_SLOT)
#undef HD_CPU_SLOT
} hd_cpu_kernels;

/** The table for an instruction set by name, NULL = the best. HD_E_ARG: no such name;
 *  HD_E_UNSUPPORTED: not built in, or this machine lacks it. */
hd_status hd_cpu_kernels_find(const char *isa, const hd_cpu_kernels **out,
                              hd_err *err) HD_WARN_UNUSED;
/** The i-th table that this machine can run, best first; NULL behind the last. */
const hd_cpu_kernels *hd_cpu_kernels_at(int i);

void hd_cpu_tables_init(hd_cpu_tables *tables);

/** Bytes of params->work of moe_experts: two halves of equal size, each for one matrix [n_rows, F]
 *  of BF16. */
size_t hd_cpu_expert_bytes(const hd_moe_experts_params *p);
/** Bytes of params->work of the fused ops. */
size_t hd_cpu_work_bytes(const hd_dev *dev, hd_op op, const void *params);

/** Adopted memory that had to be copied; the copy lies 256 bytes behind this header. */
typedef struct hd_cpu_copy {
    struct hd_cpu_copy *next;
} hd_cpu_copy;

typedef struct hd_cpu_dev {
    hd_dev base;
    const hd_cpu_kernels *kernels;
    hd_cpu_tables *tables;
    hd_cpu_copy *copies;
} hd_cpu_dev;

typedef struct hd_cpu_stream {
    hd_stream base;
    hd_par *par;
    uint8_t *scratch; /* n_threads · HD_CPU_SCRATCH_BYTES */
} hd_cpu_stream;

/** Fill the op table: each slot checks its params and lets the team run the kernel. */
void hd_cpu_ops_init(hd_dev_ops *ops);

#endif
