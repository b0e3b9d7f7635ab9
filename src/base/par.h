/* A team of threads that works on one thing together: the caller and n − 1 helpers.
 *
 * hd_par_run lets every thread of the team call one function; inside it the threads share work by
 * hd_par_split (fixed ranges) or hd_par_take (whoever is free), and meet at hd_par_barrier. Waiting
 * spins for a short time, since the next piece of work usually comes within microseconds, and then
 * sleeps on a futex; a team with more threads than CPUs never spins. Nothing is allocated and no
 * lock is taken after hd_par_create. One thread at a time may call hd_par_run. */
#ifndef HD_BASE_PAR_H
#define HD_BASE_PAR_H

#include <stdint.h>

#include "base/status.h"

#define HD_PAR_MAX_THREADS 256
#define HD_PAR_COUNTERS    8

typedef struct hd_par hd_par;
/** @param i_thread 0 (the caller of hd_par_run) … n − 1. */
typedef void (*hd_par_fn)(void *arg, int i_thread);

/** CPUs that this process may run on, at least 1. */
int hd_par_n_cpus(void);

/** Start a team. @param n_threads 1 … HD_PAR_MAX_THREADS, the caller included; 0 = one per CPU.
 *  @return HD_E_ARG outside that range; HD_E_NOMEM when a thread cannot be started. */
hd_status hd_par_create(int n_threads, hd_par **out, hd_err *err) HD_WARN_UNUSED;
void hd_par_destroy(hd_par *par); /* NULL is allowed; no run may be under way */

int hd_par_n_threads(const hd_par *par);

/** fn(arg, i) on every thread i of the team; returns when all have returned. What the caller wrote
 *  before is visible in fn, what fn wrote is visible after. */
void hd_par_run(hd_par *par, hd_par_fn fn, void *arg);

/** Inside a run, called by every thread equally often: none goes on before all have come. */
void hd_par_barrier(hd_par *par);

/** Inside a run: the next `n` of the indices 0, 1, … of a counter; returns the first of them. All
 *  counters start at 0 in every run. @param i_counter 0 … HD_PAR_COUNTERS − 1. */
int64_t hd_par_take(hd_par *par, int i_counter, int64_t n);

/** No run follows for a while: helpers stop spinning at once. */
void hd_par_rest(hd_par *par);

typedef struct hd_par_range {
    int64_t begin, end;
} hd_par_range;

/** Part i of n_parts of 0 … n − 1: contiguous, equal to within one grain, borders at multiples of
 *  `grain`. */
static inline hd_par_range hd_par_split(int64_t n, int64_t grain, int i, int n_parts)
{
    int64_t grains = (n + grain - 1) / grain;
    int64_t begin = grains * i / n_parts * grain, end = grains * (i + 1) / n_parts * grain;
    return (hd_par_range){begin < n ? begin : n, end < n ? end : n};
}

#endif
