/* The server: API requests over HTTP in, answers of an engine out.
 *
 * The loop's thread owns the sockets and all that is counted; workers read bodies, render prompts
 * and submit them; the engine has a thread of its own. An exchange (exchange.c) is one request on
 * its way through these. */
#ifndef HD_SERVER_SERVE_H
#define HD_SERVER_SERVE_H

#include "server/canon.h"
#include "server/http.h"

typedef struct hd_serve hd_serve;

typedef struct hd_serve_opts {
    hd_engine *engine;        /* borrowed; must have a tokenizer */
    hd_http_opts http;        /* callbacks, signals and fd are filled in */
    hd_canon_rules rules;     /* max_context 0: the engine's */
    const char *model;        /* id that is served */
    const char *aliases;      /* further names of it, separated by commas; NULL: none */
    const char *api_key_file; /* keys.h; NULL: everybody may, on a loopback address only */
    const char *reasoning_field;
    const char *state_dir;  /* replay map and key of seals outlive the program there; NULL: not */
    bool is_strict;         /* a past turn of calls without its reasoning is refused */
    int n_workers;          /* default 2 */
    int max_open;           /* requests under way; default 4,096 */
    int ping_s;             /* a sign of life on silent streams; default 10 */
    int queue_timeout_s;    /* until a request runs; default 600 */
    int drain_timeout_s;    /* what is under way may take so long at the end; default 60 */
    const char *trace_file; /* times of requests, for chrome://tracing; NULL: none */
    /** A line for the access log, or of something that went wrong. Without prompts. */
    void (*log)(void *ctx, const char *line);
    bool logs_access;
    void *ctx;
} hd_serve_opts;

/** Listen. @return as hd_http_create; HD_E_AUTH: it would be open to others without keys. */
hd_status hd_serve_create(const hd_serve_opts *opts, hd_serve **out, hd_err *err) HD_WARN_UNUSED;
/** NULL is allowed. Requests that are under way are cut. */
void hd_serve_destroy(hd_serve *s);
uint16_t hd_serve_port(const hd_serve *s);
/** Until SIGTERM or SIGINT and all that was under way has ended, or a second signal; SIGHUP reads
 *  the keys again. */
hd_status hd_serve_run(hd_serve *s, hd_err *err) HD_WARN_UNUSED;

#endif
