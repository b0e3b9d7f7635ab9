/* What `hadal top` shows: readings of a server's GET /stats, and lines of text made of them.
 *
 * Knows no terminal and no connection. A view keeps the last readings; speeds are differences
 * between two of them. Lines fit the given width: what belongs together goes on in the next line.
 */
#ifndef HD_CLI_TOP_VIEW_H
#define HD_CLI_TOP_VIEW_H

#include <stdint.h>

#include "base/status.h"
#include "base/str.h"
#include "cli/screen.h"

#define HD_TOP_POOLS   8
#define HD_TOP_HISTORY 240
#define HD_TOP_LINES   64
#define HD_TOP_COLS    240

typedef struct hd_top_pool {
    char name[32];
    double used, max;
} hd_top_pool;

/** Names and numbers of the server; what it does not tell is 0. */
typedef struct hd_top_reading {
    int64_t at_ns; /* when it was taken, monotonic */
    char model[64], version[32], tightest[32];
    bool is_draining;
    double uptime_s;
    double running, waiting, open, connections, done, failed, cancelled, refused;
    double prompt, cached, generated, drafted, accepted; /* tokens since the start */
    double first_p50_ms, first_p95_ms, gap_p50_ms, gap_p95_ms;
    hd_top_pool pool[HD_TOP_POOLS];
    int n_pools;
} hd_top_reading;

/** @param json a body of GET /stats, not trusted. @return HD_E_FORMAT: it is something else. */
hd_status hd_top_read(hd_str json, hd_top_reading *out, hd_err *err) HD_WARN_UNUSED;

typedef struct hd_top_view {
    hd_top_reading now, before;
    int n_readings;               /* 0, 1, 2: of these two */
    double speed[HD_TOP_HISTORY]; /* generated tokens per second, oldest first */
    int n_speeds;
} hd_top_view;

/** A reading that is earlier than, or of another start than, the last one begins anew. */
void hd_top_add(hd_top_view *v, const hd_top_reading *r);

typedef struct hd_top_line {
    hd_screen_style style;
    char text[HD_TOP_COLS * 4 + 1]; /* UTF-8, or ASCII */
} hd_top_line;

typedef struct hd_top_page {
    hd_top_line line[HD_TOP_LINES];
    int n_lines;
} hd_top_page;

typedef struct hd_top_how {
    const char *url;
    const char *trouble; /* why there is no newer reading; NULL: there is */
    int cols;            /* 20 … HD_TOP_COLS; others count as the nearest */
    bool has_blocks;     /* characters of blocks may be used; else ASCII */
} hd_top_how;

void hd_top_render(const hd_top_view *v, const hd_top_how *how, hd_top_page *out);

#endif
