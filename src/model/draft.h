/* Draft heads: guesses at coming tokens from the model's own state.
 *
 * v4_mtp.c and v4_dspark.c run them; whether a guess is right is the scheduler's business
 * (engine/draft.h). Whatever they are fed, and whatever is in their rings, changes guesses only,
 * never the state of the model's layers. Loaded only with hd_model_opts.load_draft. */
#ifndef HD_MODEL_DRAFT_H
#define HD_MODEL_DRAFT_H

#include "model/v4.h"

/** What a pass over n sequences brought; host memory of the caller. */
typedef struct hd_v4_guesses {
    int32_t *id;       /* i32 [n]: the most likely tokens */
    float *logits;     /* f32 [n, V]; NULL: not wanted */
    float *confidence; /* f32 [n]: DSpark's estimate that they are right, before the sigmoid */
    bool is_finite;    /* NaN or infinity was not seen; else nothing here means anything */
} hd_v4_guesses;

/* ---- MTP --------------------------------------------------------------------------------------*/

/** MTP over all rows of the step just run: next_id[t] is the token after row t (host [T]).
 *  Logits of all rows go to host f32 [T, V]. */
hd_status hd_v4_mtp(hd_model *m, const hd_v4_step *step, const int32_t *next_id, float *logits,
                    hd_err *err) HD_WARN_UNUSED;

/** Some rows, and then further from their own outcome. */
typedef struct hd_v4_mtp_pass {
    /** Each at positions pos0 ...; ids: the tokens that follow those positions; is_replay must be
     *  set (no compressed row is made); n_logits: guesses wanted, of its last rows. */
    const hd_v4_part *part;
    int32_t n_parts;
    const int32_t *src; /* host i32 [rows]: the row whose streams each row starts from */
    bool is_first;      /* rows of the step just run; else of the pass before */
} hd_v4_mtp_pass;

/** Right behind the step, or the pass before. @return HD_E_DEVICE. */
hd_status hd_v4_mtp_run(hd_model *m, const hd_v4_mtp_pass *pass, hd_v4_guesses *out,
                        hd_err *err) HD_WARN_UNUSED;

/* ---- DSpark -----------------------------------------------------------------------------------*/

/** How many sequences hd_v4_dspark_begin takes at once. */
int32_t hd_v4_dspark_max_seqs(const hd_model *m);
/** Begin drafts of n sequences, each behind its last position, given the next token (host [n]). */
hd_status hd_v4_dspark_begin(hd_model *m, hd_seq *const *seq, const int32_t *next_id, int32_t n,
                             hd_err *err) HD_WARN_UNUSED;
/** Token i = 0, 1, ... block − 1 of each, given the one before (host [n]; at first, the next
 *  token). @return HD_E_DEVICE. */
hd_status hd_v4_dspark_next(hd_model *m, int32_t i, const int32_t *before, int32_t n,
                            hd_v4_guesses *out, hd_err *err) HD_WARN_UNUSED;

/** One whole draft of one sequence, greedy. */
typedef struct hd_v4_draft_out {
    int32_t *tokens;   /* host i32 [block + 1]: next_id, then the drafts */
    float *logits;     /* host f32 [block, V] */
    float *confidence; /* host f32 [block], before the sigmoid */
} hd_v4_draft_out;
hd_status hd_v4_dspark(hd_model *m, hd_seq *seq, int32_t next_id, const hd_v4_draft_out *out,
                       hd_err *err) HD_WARN_UNUSED;

#endif
