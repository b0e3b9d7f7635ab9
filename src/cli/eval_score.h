/* Is an answer what its row expects? From token ids to three yes or no.
 *
 * Content and calls are read as a server would read them (hd_outparse), and so is what is `right`;
 * `valid` asks DeepSeek's published parser, which forgives nothing. Nothing here needs a model. */
#ifndef HD_CLI_EVAL_SCORE_H
#define HD_CLI_EVAL_SCORE_H

#include "cli/eval_tasks.h"
#include "hadal/text.h"

/** An answer as the model gave it. */
typedef struct hd_eval_output {
    const int32_t *ids; /* i32 [n], without the end-of-sentence token */
    size_t n;
    hd_out_start start; /* how its prompt ended */
    bool has_ended;     /* the end-of-sentence token came */
} hd_eval_output;

typedef struct hd_eval_score {
    hd_buf text; /* the answer, control tokens as they are spelled */
    bool ended;  /* by itself, within the tokens that the row allows */
    bool valid;  /* its markup (calls with the tools' parameters included), or its JSON, is sound */
    bool right;  /* ended, and what the row expects */
} hd_eval_score;

void hd_eval_score_init(hd_eval_score *s);
void hd_eval_score_deinit(hd_eval_score *s);

/** Score one answer. Overwrites `out`.
 *  @return HD_E_NOMEM, HD_E_LIMIT: never because of what the answer says. */
hd_status hd_eval_score_answer(hd_eval_score *out, const hd_eval_row *row, hd_tokenizer *t,
                               const hd_eval_output *answer, hd_err *err) HD_WARN_UNUSED;

#endif
