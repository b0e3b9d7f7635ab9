/* A progress bar on standard error: only on a terminal, only for work of more than two seconds.
 *
 *   writing weights [########................]  33%  2.51 of 7.58 GB  0.42 GB/s  13 s left  */
#ifndef HD_CLI_PROGRESS_H
#define HD_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

/* What is counted: bytes are shown in GB. */
typedef enum hd_progress_unit {
    HD_PROGRESS_BYTES,
    HD_PROGRESS_TOKENS,
    HD_PROGRESS_ROWS
} hd_progress_unit;

typedef struct hd_progress {
    const char *label;
    hd_progress_unit unit;
    bool is_shown;   /* standard error is a terminal */
    bool is_drawn;   /* a bar is on the line */
    double began_s;  /* monotonic clock */
    double redraw_s; /* not again before */
} hd_progress;

void hd_progress_init(hd_progress *p, const char *label, hd_progress_unit unit);
/** Units done and in all; the signature of the library's progress callbacks, ctx is the bar. */
void hd_progress_update(void *ctx, uint64_t done, uint64_t total);
/** Remove the bar, if there is one. */
void hd_progress_end(hd_progress *p);
/** Seconds since init. */
double hd_progress_seconds(const hd_progress *p);

/** Seconds of the monotonic clock. */
double hd_now_s(void);

#endif
