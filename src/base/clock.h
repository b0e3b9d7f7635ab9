/* Clocks for waits, deadlines and durations, never for dates. */
#ifndef HD_BASE_CLOCK_H
#define HD_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

static inline int64_t hd_clock_read_ns(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* The monotonic clock. */
static inline int64_t hd_clock_ns(void)
{
    return hd_clock_read_ns(CLOCK_MONOTONIC);
}

/* What this thread has computed: for limits of work, which a busy machine must not trip. */
static inline int64_t hd_clock_thread_ns(void)
{
    return hd_clock_read_ns(CLOCK_THREAD_CPUTIME_ID);
}

#endif
