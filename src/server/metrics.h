/* What the server counts, as Prometheus reads it (GET /metrics) and as the page does (GET /stats).
 * Belongs to the loop's thread. */
#ifndef HD_SERVER_METRICS_H
#define HD_SERVER_METRICS_H

#include "base/buf.h"
#include "hadal/engine.h"

#define HD_HIST_BUCKETS 22 /* 1 ms, 2, 5, 10 … 10,000 s; then all others */

typedef struct hd_hist {
    uint64_t count[HD_HIST_BUCKETS + 1];
    uint64_t n;
    double sum_s;
} hd_hist;

void hd_hist_add(hd_hist *h, double seconds);
/** The value below which a share q of all lie, by linear interpolation; 0 when there are none. */
double hd_hist_quantile(const hd_hist *h, double q);

typedef struct hd_metrics {
    uint64_t n_done, n_failed, n_cancelled, n_refused; /* requests */
    uint64_t n_prompt, n_cached, n_generated;          /* tokens of those that ended */
    uint64_t n_stop, n_length, n_tool_calls;           /* why they ended */
    hd_hist first_token, gap, whole;                   /* seconds */
} hd_metrics;

typedef struct hd_metrics_view {
    const hd_metrics *counts;
    const hd_engine_stats *engine;
    const char *model, *version;
    int n_connections, n_open; /* n_open: requests under way */
    double uptime_s;
    bool is_draining;
} hd_metrics_view;

/** Prometheus text, version 0.0.4: names of our own, and those of vLLM that dashboards read. */
void hd_metrics_prometheus(const hd_metrics_view *v, hd_buf *out);
/** The same as one JSON object, for the page. */
void hd_metrics_json(const hd_metrics_view *v, hd_buf *out);

#endif
