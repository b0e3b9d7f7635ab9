/* What the kernel files of one instruction set share. Compiled with -DHD_ISA=<name>; every symbol
 * that leaves its file carries that name: KERN(linear) is hd_cpu_avx2_linear. */
#ifndef HD_BACKEND_CPU_KERN_H
#define HD_BACKEND_CPU_KERN_H

#include "backend/cpu/kern/simd.h"

#define KERN_PASTE(isa, name)  hd_cpu_##isa##_##name
#define KERN_EXPAND(isa, name) KERN_PASTE(isa, name)
#define KERN(name)             KERN_EXPAND(HD_ISA, name)

#define MIN(a, b)              ((a) < (b) ? (a) : (b))
#define MAX(a, b)              ((a) > (b) ? (a) : (b))

/* Every op of the table. */
#define DECLARE_OP(name) void KERN(name)(const hd_cpu_lane *, const hd_##name##_params *);
HD_OPS(DECLARE_OP)
#undef DECLARE_OP

/* ---- matrices ------------------------------------------------------------------------------- */

/** Some rows of one matrix times some rows of x. */
typedef struct mat_job {
    const hd_cpu_weight *w;
    int32_t part, row0, n_rows; /* rows row0 … row0 + n_rows − 1 of the part */
    const hd_bf16 *x;           /* bf16, row i of the job is row order[i] / divisor (NULL: i) */
    int64_t x_stride;           /* elements */
    const int32_t *order;
    int32_t divisor;
    int32_t n_tok;
    void *y; /* y[i · y_stride + r] */
    int64_t y_stride;
    hd_y_kind y_kind;
} mat_job;

/** At most so many tokens (DIRECT_TOKENS, at most 4) are multiplied straight from the file's rows;
 *  more go through panels. */
#define MAX_DIRECT_TOKENS 4
#define DIRECT_ROWS       4 /* rows that run side by side there */
_Static_assert(DIRECT_TOKENS <= MAX_DIRECT_TOKENS, "more tokens than linear_gemv.c can take");

/** Rows r0 … r1 − 1 of the job (relative to row0) for all of its tokens, n_tok ≤ DIRECT_TOKENS. */
void KERN(mat_direct)(const hd_cpu_lane *lane, const mat_job *job, int32_t r0, int32_t r1);
/** Rows r0 … r1 − 1, tokens t0 … t1 − 1; at most MAT_CHUNK_ROWS and MAT_BLOCK_TOKENS of them. */
void KERN(mat_panels)(const hd_cpu_lane *lane, const mat_job *job, int32_t r0, int32_t r1,
                      int32_t t0, int32_t t1);
/** The same for FP32 weights, any number of tokens. */
void KERN(mat_f32)(const mat_job *job, int32_t r0, int32_t r1, int32_t t0, int32_t t1);

#define MAT_CHUNK_ROWS   128
#define MAT_XPAN_BYTES   (384 * 1024)
#define MAT_BLOCK_TOKENS (MAT_XPAN_BYTES / (HD_SEGMENT / 32 * PAN_BYTES))

/** Share the jobs out over the team. get(arg, i, &job) describes job i; all have the same number
 *  of weight rows. Uses counter `i_counter` of the team. */
typedef void (*mat_job_fn)(const void *arg, int32_t i, mat_job *job);
void KERN(mat_run)(const hd_cpu_lane *lane, int32_t n_jobs, mat_job_fn get, const void *arg,
                   int i_counter);

HD_INLINE const hd_bf16 *job_x(const mat_job *job, int32_t i)
{
    int64_t row = job->order ? job->order[i] / job->divisor : i;
    return job->x + row * job->x_stride;
}

/* n values (bf16) as panels of 32, zero-padded to a multiple of 64. */
HD_INLINE void pack_row(uint8_t *pan, const hd_bf16 *x, int64_t n)
{
    int64_t k = 0;
    for (; k + 32 <= n; k += 32, pan += PAN_BYTES) vw_pan_store(pan, vw_bf16(x + k));
    hd_bf16 tail[32] = {0};
    if (k < n) {
        memcpy(tail, x + k, (size_t)(n - k) * sizeof *x);
        vw_pan_store(pan, vw_bf16(tail));
        pan += PAN_BYTES;
        k += 32;
    }
    if (k % 64) vw_pan_store(pan, vw_bf16((const hd_bf16[32]){0}));
}

/* Columns padded to what pack_row writes. */
HD_INLINE int64_t padded(int64_t n)
{
    return (n + 63) / 64 * 64;
}

/* ---- the file formats ----------------------------------------------------------------------- */

/** Consecutive rows of one matrix; FP8 rows all lie in one 128-row block. */
typedef struct wrows {
    const uint8_t *row;
    size_t row_bytes;
    const uint8_t *scale; /* FP4: of the first row; FP8: of the block */
    size_t scale_row_bytes;
} wrows;

HD_INLINE wrows job_rows(const mat_job *job, int32_t r)
{
    const hd_cpu_weight *w = job->w;
    size_t row = (size_t)job->row0 + (size_t)r;
    wrows rows = {.row = w->data[job->part] + row * w->row_bytes,
                  .row_bytes = w->row_bytes,
                  .scale_row_bytes = w->scale_row_bytes};
    if (w->base.format == HD_WEIGHT_FP4)
        rows.scale = w->scale[job->part] + row * w->scale_row_bytes;
    if (w->base.format == HD_WEIGHT_FP8)
        rows.scale = w->scale[job->part] + row / 128 * w->scale_row_bytes;
    return rows;
}

/* Bytes of 64 columns of a row. */
HD_INLINE size_t bytes64(hd_weight_format format)
{
    return format == HD_WEIGHT_FP4 ? 32 : format == HD_WEIGHT_FP8 ? 64 : 128;
}

/* Columns k … k + 63 of row r of a block. `t` is the FP8 block's table. */
HD_INLINE void load64(hd_weight_format format, const wrows *w, int r, int64_t k, v8 t,
                      const hd_cpu_tables *tables, vw out[2])
{
    const uint8_t *row = w->row + (size_t)r * w->row_bytes;
    if (format == HD_WEIGHT_FP4) {
        const uint8_t *scale = w->scale + (size_t)r * w->scale_row_bytes + k / 32;
        out[0] = vw_fp4(row + k / 2, tables, scale[0]);
        out[1] = vw_fp4(row + k / 2 + 16, tables, scale[1]);
    } else if (format == HD_WEIGHT_FP8) {
        vw_fp8x2(row + k, t, out);
    } else {
        out[0] = vw_bf16(row + 2 * k);
        out[1] = vw_bf16(row + 2 * k + 64);
    }
}

/* The last columns of n_rows rows, from K − K mod 64 on, copied and zero-padded. */
typedef struct wtail {
    uint8_t data[8][128];
    uint8_t scale[8][2]; /* FP4: of the row; FP8: scale[0][0] of the block */
    wrows rows;
} wtail;

HD_INLINE void load_tail(hd_weight_format format, const wrows *w, int n_rows, int64_t cols,
                         wtail *tail)
{
    int64_t k = cols / 64 * 64;
    size_t at = (size_t)k * bytes64(format) / 64;
    memset(tail->data, 0, sizeof tail->data);
    memset(tail->scale, 127, sizeof tail->scale);
    for (int r = 0; r < n_rows; r++) {
        memcpy(tail->data[r], w->row + (size_t)r * w->row_bytes + at, w->row_bytes - at);
        if (format == HD_WEIGHT_FP4)
            tail->scale[r][0] = w->scale[(size_t)r * w->scale_row_bytes + (size_t)k / 32];
    }
    if (format == HD_WEIGHT_FP8) tail->scale[0][0] = w->scale[k / 128];
    tail->rows =
        (wrows){tail->data[0], sizeof tail->data[0], tail->scale[0], sizeof tail->scale[0]};
}

#endif
