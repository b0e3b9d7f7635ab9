/* hadal/engine.h: many requests at once over one model.
 *
 * An engine has a thread of its own, which batches the requests that are there, step by step, and
 * shares what they have in common. Any thread submits, reads events and cancels. A request's tokens
 * are a function of its ids, its settings and its seed: the same whatever runs beside it, however
 * its prompt was cut, and wherever its state came from.
 *
 *   hd_engine_open -> hd_engine_submit -> hd_engine_next until HD_EVENT_END -> hd_engine_close
 *
 * Young: text events, log probabilities, drafts and constrained answers are still to come. */
#ifndef HADAL_ENGINE_H
#define HADAL_ENGINE_H

#include "hadal/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hd_engine hd_engine;

/** Wishes for hd_engine_open; zero means the default. */
typedef struct hd_engine_opts {
    hd_model_opts model;  /**< max_seqs: requests that run at once, default 16; kv_tokens: positions
                               of all of them, and of the cache */
    int32_t max_requests; /**< waiting, running, or not yet read to their end; default 256 */
    int32_t chunk;        /**< rows of prompts in one step; default: as many as a step has */
    int32_t
        snapshot_mb; /**< host memory for snapshots of the prefix cache; default 256, −1: none */
} hd_engine_opts;

/** Open a checkpoint directory and start. @return as hd_model_open; HD_E_NOMEM. */
HD_API HD_WARN_UNUSED hd_status hd_engine_open(const char *dir, const hd_engine_opts *opts,
                                               hd_engine **out, hd_err *err);
/** Ends all requests and the thread. No other call may be under way. NULL is allowed. */
HD_API void hd_engine_close(hd_engine *engine);
HD_API void hd_engine_get_info(const hd_engine *engine, hd_model_info *out);

typedef struct hd_submit {
    const int32_t *ids; /**< [n_ids], copied: the prompt, each 0 … V−1 */
    int32_t n_ids;      /**< ≥ 1 */
    int32_t max_new;    /**< ≥ 1; less come when the context is full */
    int32_t min_new;    /**< the end-of-sentence token does not end it before these */
    int32_t ignore_eos; /**< non-zero: nor behind them */
    hd_sampling how;    /**< bias: copied */
    uint64_t group;     /**< prefixes are shared within a group only */
    int32_t priority;   /**< larger goes first */
    int64_t timeout_ms; /**< from submit to the end; 0: none */
} hd_submit;

/** Queue a request; its number goes to *id.
 *  @return HD_E_ARG (ids, settings), HD_E_LIMIT (it can never fit, or max_requests are there
 * already: the text tells), HD_E_NOMEM. */
HD_API HD_WARN_UNUSED hd_status hd_engine_submit(hd_engine *engine, const hd_submit *request,
                                                 uint64_t *id, hd_err *err);

/** End a request at the next step border; its end event still comes. Unknown numbers do nothing. */
HD_API void hd_engine_cancel(hd_engine *engine, uint64_t id);

typedef enum hd_end {
    HD_END_STOP,      /**< the end-of-sentence token */
    HD_END_LENGTH,    /**< max_new tokens, or the context is full */
    HD_END_CANCELLED, /**< hd_engine_cancel or hd_engine_close */
    HD_END_TIMEOUT,   /**< timeout_ms, or nobody read its events for 30 s */
    HD_END_FAILED     /**< the text tells */
} hd_end;

typedef enum hd_event_kind {
    HD_EVENT_TOKEN,
    HD_EVENT_END /**< the last one: the request's number is void behind it */
} hd_event_kind;

typedef struct hd_event {
    hd_event_kind kind;
    int32_t token; /**< TOKEN */
    hd_end end;    /**< END: why; the counts below are of END too */
    int32_t n_prompt, n_generated;
    int32_t n_cached; /**< of the prompt: positions whose forward pass was skipped */
    hd_err err;       /**< END with HD_END_FAILED: what happened */
} hd_event;

/** The next event of a request; one thread per request. Waits for it at most timeout_ms (0: not at
 *  all, −1: as long as it takes).
 *  @return HD_OK; HD_E_TIMEOUT: nothing yet; HD_E_NOTFOUND: no such request, or its end was read.
 */
HD_API HD_WARN_UNUSED hd_status hd_engine_next(hd_engine *engine, uint64_t id, int timeout_ms,
                                               hd_event *out, hd_err *err);

typedef struct hd_engine_stats {
    uint64_t n_steps, n_rows, n_generated;
    uint64_t n_prompt, n_cached, n_replayed; /**< positions */
    uint64_t n_hits, n_preempted;
    uint64_t n_running, n_waiting;
} hd_engine_stats;

/** Counts since the engine was opened, of about now. Any thread. */
HD_API void hd_engine_get_stats(hd_engine *engine, hd_engine_stats *out);

#ifdef __cplusplus
}
#endif
#endif
