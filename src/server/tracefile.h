/* A trace of requests for chrome://tracing and Perfetto: one line of events for each, written when
 * it ends. It holds times, ids and counts, no text. Belongs to the loop's thread. */
#ifndef HD_SERVER_TRACEFILE_H
#define HD_SERVER_TRACEFILE_H

#include <stdint.h>

#include "base/status.h"

typedef struct hd_tracefile hd_tracefile;

typedef struct hd_trace_request {
    const char *id, *how;                     /* "done", "left", … */
    int64_t began_ns, submitted_ns, first_ns; /* 0: it did not come to that */
    int64_t end_ns;
    int32_t n_prompt, n_cached, n_generated;
} hd_trace_request;

/** @return HD_E_IO. */
hd_status hd_tracefile_open(const char *path, hd_tracefile **out, hd_err *err) HD_WARN_UNUSED;
/** NULL is allowed. */
void hd_tracefile_close(hd_tracefile *t);
/** NULL is allowed: nothing happens. */
void hd_tracefile_add(hd_tracefile *t, const hd_trace_request *r);

#endif
