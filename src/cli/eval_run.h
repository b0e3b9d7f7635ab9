/* One row of an evaluation: its prompt, an answer, the score. */
#ifndef HD_CLI_EVAL_RUN_H
#define HD_CLI_EVAL_RUN_H

#include "cli/eval_score.h"
#include "cli/session.h"

typedef struct hd_eval_answer {
    hd_ids prompt;      /* what the model read */
    hd_ids ids;         /* what it wrote, the end-of-sentence token included */
    hd_out_start start; /* how the prompt ends */
    hd_eval_score score;
} hd_eval_answer;

void hd_eval_answer_init(hd_eval_answer *a);
void hd_eval_answer_deinit(hd_eval_answer *a);

/** The prompt of a row: fills `prompt` and `start`. The session must be open, not loaded.
 *  @return what is wrong with the row's request, and HD_E_NOMEM. */
hd_status hd_eval_prompt(hd_session *s, const hd_eval_tasks *t, const hd_eval_row *row,
                         hd_eval_answer *out, hd_err *err) HD_WARN_UNUSED;

/** Score the ids that are in *out. */
hd_status hd_eval_score_ids(hd_session *s, const hd_eval_row *row, hd_eval_answer *out,
                            hd_err *err) HD_WARN_UNUSED;

/** All of it without an engine: let the session's model answer a row, and score it. The session
 * must be loaded, with room for the prompt and row->max_tokens; how it chooses tokens is its own
 * setting.
 *  @return also HD_E_CANCELLED after Ctrl-C, and what the model reports. */
hd_status hd_eval_run_row(hd_session *s, const hd_eval_tasks *t, const hd_eval_row *row,
                          hd_eval_answer *out, hd_err *err) HD_WARN_UNUSED;

#endif
