/* Collectives between ranks: one table, filled by a backend's comm_*.c (shared memory, MPI, NCCL,
 * HCCL, CNCL). Declared so that ops and buffers are laid out for it; no provider exists yet and
 * single-rank programs never touch it.
 *
 * Sums are repeatable: the partial sums of the ranks are added in ascending rank order on every
 * rank, never in the order of a ring. All calls are queued on the stream, as ops are. */
#ifndef HD_DEV_COMM_H
#define HD_DEV_COMM_H

#include "dev/dev.h"

typedef struct hd_comm hd_comm;

typedef struct hd_comm_ops {
    /** y[n] = Σ over ranks, ascending, of x[n]; f32 or bf16 (summed in FP32, rounded once). */
    hd_status (*all_reduce)(hd_comm *, hd_stream *, hd_y_kind, const void *x, void *y, size_t n);
    /** y[r · n …] = x of rank r, on every rank; any dtype, n in bytes. */
    hd_status (*all_gather)(hd_comm *, hd_stream *, const void *x, void *y, size_t n_bytes);
    /** y[n] = part `rank` of the ascending sum of x[n · n_ranks]. */
    hd_status (*reduce_scatter)(hd_comm *, hd_stream *, hd_y_kind, const void *x, void *y,
                                size_t n);
    /** send_bytes[r] bytes to each rank r; both arrays are host memory [n_ranks]. */
    hd_status (*all_to_all_v)(hd_comm *, hd_stream *, const void *x, const size_t *send_bytes,
                              void *y, const size_t *recv_bytes);
    hd_status (*broadcast)(hd_comm *, hd_stream *, void *x, size_t n_bytes, int root);
    /** Returns when every rank came, or HD_E_TIMEOUT / HD_E_PEER. */
    hd_status (*barrier)(hd_comm *, int timeout_ms, hd_err *);
} hd_comm_ops;

struct hd_comm {
    const hd_comm_ops *ops;
    int rank, n_ranks;
};

#endif
