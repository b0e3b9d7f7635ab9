/* Drafts: tokens that a request probably gets next, checked by the step that follows.
 *
 * Behind each step every request that generates is given up to eight guesses, which lie behind its
 * text; the next step runs them as further rows. A guess is kept while it equals the token that is
 * drawn from the row before it, so drafts change how many steps a text takes and nothing else. They
 * come from the draft head of the checkpoint or from the text itself. How many is the business of
 * draft_pace.h. Nothing is allocated after create.
 */
#ifndef HD_ENGINE_DRAFT_H
#define HD_ENGINE_DRAFT_H

#include "engine/request.h"
#include "model/v4.h"

#define HD_DRAFT_ROWS 8 /* guesses for one request; what hd_v4_state_rollback can take back */

typedef struct hd_drafter hd_drafter;

typedef struct hd_drafter_opts {
    hd_model *model;     /* borrowed */
    hd_sampler *sampler; /* borrowed: guesses are drawn as tokens are */
    hd_guess_kind kind;
} hd_drafter_opts;

/** @return HD_E_UNSUPPORTED when the model has no such head, or it was not loaded; HD_E_NOMEM. */
hd_status hd_drafter_create(const hd_drafter_opts *opts, hd_drafter **out,
                            hd_err *err) HD_WARN_UNUSED;
/** NULL is allowed. */
void hd_drafter_destroy(hd_drafter *d);
/** Which it is: never HD_GUESS_BEST. */
hd_guess_kind hd_drafter_kind(const hd_drafter *d);

/** r has a sequence now. */
void hd_drafter_begin(hd_drafter *d, hd_request *r);

/** What has just run, and who goes on. */
typedef struct hd_draft_step {
    const hd_v4_part *part;     /* [n_parts] of the step */
    hd_request *const *of_part; /* [n_parts]; NULL: it is done */
    int32_t n_parts;
    hd_request *const *run; /* [n_run]: all that have sequences */
    int32_t n_run;
} hd_draft_step;

/** Sets n_draft of all that run, and writes that many guesses behind their texts. To be called
 *  right behind the step, when its tokens are in the texts and what was refused is rolled back.
 *  @return HD_E_DEVICE. */
hd_status hd_drafter_guess(hd_drafter *d, const hd_draft_step *step, hd_err *err) HD_WARN_UNUSED;

#endif
