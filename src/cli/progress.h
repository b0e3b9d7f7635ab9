/* A progress bar on standard error: only on a terminal, only for work of more than two seconds.
 *
 *   writing weights   [########............]  41%  3.1 of 7.6 GB  0.42 GB/s  11 s left  */
#ifndef HD_CLI_PROGRESS_H
#define HD_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct hd_progress {
    const char *label;
    bool is_shown;   /* standard error is a terminal */
    bool is_drawn;   /* a bar is on the line */
    double began_s;  /* monotonic clock */
    double redraw_s; /* not again before */
} hd_progress;

void hd_progress_init(hd_progress *p, const char *label);
/** Bytes done and in all; the signature of the library's progress callbacks, ctx is the bar. */
void hd_progress_update(void *ctx, uint64_t done, uint64_t total);
/** Remove the bar, if there is one. */
void hd_progress_end(hd_progress *p);
/** Seconds since init. */
double hd_progress_seconds(const hd_progress *p);

#endif
