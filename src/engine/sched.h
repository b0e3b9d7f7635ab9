/* The scheduler: which rows of which requests make the next step.
 *
 * hd_sched_step does one step of the model for all running requests: every request that generates
 * contributes its last token, prompts fill what is left of the row budget, cut anywhere. Who goes
 * first: higher priority, then the user who was served less (fair.h), then arrival. It admits
 * waiting requests while there are sequences and pages, behind the longest prefix that the cache
 * has; when pages run out the cache is thinned first, then the request with the least right to run
 * gives its sequence back and waits, keeping its text and, in the cache, its rows. One thread; the
 * caller owns the requests. Nothing is allocated after create.
 */
#ifndef HD_ENGINE_SCHED_H
#define HD_ENGINE_SCHED_H

#include "engine/disk.h"
#include "engine/request.h"

typedef struct hd_sched hd_sched;

typedef struct hd_sched_opts {
    hd_model *model;          /* borrowed; its sequences belong to the scheduler */
    size_t snap_budget;       /* bytes of snapshots of the prefix cache */
    int32_t chunk;            /* rows of prompts in one step; 0: as many as the model takes */
    const char *cache_dir;    /* of the prefix cache on disk (disk.h); NULL: none */
    uint64_t cache_dir_bytes; /* its budget; 0: 16 GiB */
    hd_guess_kind draft;      /* where guesses at coming tokens are from */
    /** A token was chosen for r, and is in its text; up to nine in one step. logits f32 [V]. It may
     * set r->is_cancelled, or end the request by returning false (HD_END_STOP). */
    bool (*on_token)(void *ctx, hd_request *r, const float *logits);
    /** r wants_echo: logits f32 [V] after ids 0 … position, for each position 0 … n_prompt − 2
     * once, ascending. NULL when no request does. */
    void (*on_prompt_logits)(void *ctx, hd_request *r, int32_t position, const float *logits);
    /** r is done: it may be freed or reused. */
    void (*on_done)(void *ctx, hd_request *r);
    void *ctx;
} hd_sched_opts;

typedef struct hd_draft_stats {
    uint64_t n_checks;           /* rows of requests that had guesses behind them */
    uint64_t n_drafted, n_right; /* guesses that were checked; that were kept: 1 + n_right /
                                    n_checks is the mean length that a check brought */
} hd_draft_stats;

typedef struct hd_sched_stats {
    uint64_t n_steps, n_rows, n_generated;
    uint64_t n_prompt, n_cached, n_replayed; /* positions */
    uint64_t n_hits, n_snap_hits, n_replays; /* admissions behind a prefix; with a snapshot at its
                                                end; with a replay */
    uint64_t n_forks;                        /* hits where a cached text went on in another way */
    uint64_t n_preempted, n_snaps;
    uint64_t model_ns, draft_ns; /* time of the model's steps, and of guessing */
    hd_draft_stats draft[HD_GUESS_KINDS];
    int32_t n_running, n_waiting;
} hd_sched_stats;

hd_status hd_sched_create(const hd_sched_opts *opts, hd_sched **out, hd_err *err) HD_WARN_UNUSED;
/** Requests that are not done are forgotten, without a call. NULL is allowed. */
void hd_sched_destroy(hd_sched *s);

/** Queue a request: id, prompt, settings and owner are set, the rest is zero.
 *  @return HD_E_ARG, HD_E_LIMIT (more than the model can ever hold), HD_E_NOMEM: it was not taken.
 */
hd_status hd_sched_add(hd_sched *s, hd_request *r, hd_err *err) HD_WARN_UNUSED;

/** One step. @return HD_OK; HD_E_NOTFOUND when nothing is waiting or running; HD_E_DEVICE when the
 *  device failed: all requests that were running have ended with HD_END_FAILED. */
hd_status hd_sched_step(hd_sched *s, hd_err *err) HD_WARN_UNUSED;

void hd_sched_get_stats(const hd_sched *s, hd_sched_stats *out);
const hd_prefix *hd_sched_prefix(const hd_sched *s);
/** All zero without a cache_dir. */
void hd_sched_get_disk_stats(const hd_sched *s, hd_disk_stats *out);

#endif
