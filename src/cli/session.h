/* One text with a model, token by token: prompt in, answer out, with times and memory measured.
 *
 * A session keeps the ids of its sequence. A new prompt that begins as the old text did is not
 * computed anew: the sequence goes on from where the two part, if it still has that state (its own
 * end, or the copy made just before the previous answer); else it starts over. */
#ifndef HD_CLI_SESSION_H
#define HD_CLI_SESSION_H

#include "cli/request.h"
#include "hadal/text.h"
#include "model/config.h"
#include "text/ids.h"

typedef struct hd_session {
    hd_config config; /* as stated; what it promises of experts and drafts is not used here */
    hd_tokenizer *tokenizer;
    hd_prompter prompter;
    hd_model *model;
    hd_model_info info;
    hd_seq *seq, *saved; /* saved: NULL, or the state at n_saved ids */
    hd_sampler *sampler;
    hd_sampling how;
    float *logits; /* f32 [V] */
    hd_ids ids;    /* prompt, then answer; the first n_fed are in the sequence */
    size_t n_fed, n_saved, n_prompt;
    bool keeps_copy; /* several prompts will come: make the copies */

    /* Tokens since the session was opened, and the time that the model took for them. The first
     * token of an answer costs no time of its own: the prompt's last step gives its logits. */
    size_t n_prompt_fed, n_drawn, n_decoded;
    double prompt_s, decode_s;
} hd_session;

/** Read the configuration, open the tokenizer: prompts can be encoded then. */
hd_status hd_session_open(hd_session *s, const hd_model_args *args, hd_err *err) HD_WARN_UNUSED;
/** Open the model, with a bar on the terminal. @param ctx tokens of the longest text. */
hd_status hd_session_load(hd_session *s, const hd_model_args *args, int32_t ctx, bool keeps_copy,
                          hd_err *err) HD_WARN_UNUSED;
void hd_session_close(hd_session *s);

/** Set the text to go on from. i32 [n], n >= 1.
 *  @return HD_E_LIMIT when it leaves no room for an answer; HD_E_CANCELLED after Ctrl-C: the
 *          prompt may be given again. */
hd_status hd_session_prompt(hd_session *s, const int32_t *ids, size_t n,
                            hd_err *err) HD_WARN_UNUSED;
/** Whether the context has room for one more token. */
bool hd_session_has_room(const hd_session *s);
/** Choose the next token; it becomes part of the text. */
hd_status hd_session_next(hd_session *s, int32_t *id, hd_err *err) HD_WARN_UNUSED;

/** Speed and memory, one line on standard error. */
void hd_session_summary(const hd_session *s);

#endif
