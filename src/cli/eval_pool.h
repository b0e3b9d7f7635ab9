/* Rows of an evaluation through the engine: several at once, answers in the order of rows. */
#ifndef HD_CLI_EVAL_POOL_H
#define HD_CLI_EVAL_POOL_H

#include "cli/eval_run.h"
#include "hadal/engine.h"

#define HD_EVAL_AT_ONCE 16

typedef struct hd_eval_entry {
    const hd_eval_row *row;
    uint64_t number; /* of the request */
    bool is_done;
    hd_eval_answer answer;
} hd_eval_entry;

typedef struct hd_eval_pool {
    hd_engine *engine;                    /* borrowed */
    hd_session *session;                  /* borrowed: open, for its tokenizer and configuration */
    const hd_eval_tasks *tasks;           /* borrowed */
    const hd_sampling *how;               /* borrowed */
    hd_eval_entry entry[HD_EVAL_AT_ONCE]; /* a ring */
    size_t n_added, n_taken;
} hd_eval_pool;

/** Before: engine, session, tasks and how are set, the rest is zero. */
void hd_eval_pool_init(hd_eval_pool *p);
void hd_eval_pool_deinit(hd_eval_pool *p);

static inline bool hd_eval_pool_is_full(const hd_eval_pool *p)
{
    return p->n_added - p->n_taken == HD_EVAL_AT_ONCE;
}

static inline bool hd_eval_pool_is_empty(const hd_eval_pool *p)
{
    return p->n_added == p->n_taken;
}

/** Submit a row; the pool is not full. @return what is wrong with the row; HD_E_LIMIT. */
hd_status hd_eval_pool_add(hd_eval_pool *p, const hd_eval_row *row, hd_err *err) HD_WARN_UNUSED;

/** Wait for the oldest row, and score it; the pool is not empty. *out lives until the next call.
 *  @return HD_E_CANCELLED after Ctrl-C; what the engine reports. */
hd_status hd_eval_pool_next(hd_eval_pool *p, const hd_eval_entry **out, hd_err *err) HD_WARN_UNUSED;

#endif
