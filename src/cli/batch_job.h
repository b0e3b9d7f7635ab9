/* One request of `hadal batch`: from its line of JSON to what the engine takes, and from the
 * engine's events to its line of results. docs/batch.md has the fields. */
#ifndef HD_CLI_BATCH_JOB_H
#define HD_CLI_BATCH_JOB_H

#include "base/buf.h"
#include "base/json.h"
#include "cli/request.h"
#include "hadal/engine.h"

/** What requests are read against. */
typedef struct hd_batch_model {
    hd_engine *engine;
    hd_prompter prompter; /* tokenizer NULL: requests are ids */
    hd_model_info info;
    void (*warn)(void *ctx, const char *line); /* of constraints; may be NULL */
} hd_batch_model;

typedef struct hd_batch_job {
    hd_arena tree;     /* the line, and what was read from it */
    hd_buf line;       /* its text, which the tree points into */
    const hd_json *id; /* NULL: the number of the line stands for it */
    size_t line_no;

    /* the request; `submit` points into the job */
    hd_submit submit;
    hd_constraint constraint;
    hd_ids prompt;
    hd_buf tools, rules;  /* JSON of the tools; the constraint's text, unless it is the tools */
    int64_t arrive_ms;    /* after the start; 0: at once */
    int32_t cancel_after; /* tokens; 0: never */

    /* the result */
    uint64_t number;          /* of the request, in the engine */
    int32_t n_tokens, n_lost; /* taken; of them, for want of memory, not in `ids` */
    hd_ids ids;
    hd_buf text, reasoning, args, calls, logprobs, prompt_logprobs;
    bool has_open_call;
} hd_batch_job;

/** An empty job. */
void hd_batch_job_init(hd_batch_job *j);
void hd_batch_job_deinit(hd_batch_job *j);

/** Read a line, from 1.
 *  @return HD_E_FORMAT with the path, HD_E_ARG, HD_E_LIMIT, HD_E_UNSUPPORTED; `id` is set if it
 *  could be read. */
hd_status hd_batch_read(hd_batch_job *j, const hd_batch_model *m, hd_str line, size_t line_no,
                        hd_err *err) HD_WARN_UNUSED;

/** Take an event; the end is taken by hd_batch_write. */
void hd_batch_take(hd_batch_job *j, const hd_batch_model *m, const hd_event *e);
/** Append the line of a request that has ended. */
void hd_batch_write(const hd_batch_job *j, const hd_event *end, hd_buf *out);
/** Append the line of one that was refused or has failed. */
void hd_batch_write_error(const hd_batch_job *j, const hd_err *why, hd_buf *out);

#endif
