/* Driving the scheduler in tests: requests over a synth model, and what each was told.
 *
 * A job keeps a hash of the logits that each of its tokens was drawn from, so that two runs of the
 * same request can be compared bit by bit. */
#ifndef HD_TEST_SCHEDRUN_H
#define HD_TEST_SCHEDRUN_H

#include "engine/sched.h"
#include "support/modelrun.h"

enum { SCHEDRUN_VOCAB = 512, SCHEDRUN_TEXT = 900 };

typedef struct schedrun_job {
    hd_request r;
    int32_t text[SCHEDRUN_TEXT];
    uint64_t seen[SCHEDRUN_TEXT]; /* of a generated token, or of the prompt's token that follows
                                     logits that were echoed */
    int32_t n_told;               /* rows of the prompt that were echoed */
    int32_t cancel_at;            /* tokens; 0: never */
    uint64_t done_at;             /* the how manieth to be done, from 1; 0: it is not */
} schedrun_job;

/** The machine's best device. */
extern const modelrun_device schedrun_device;

/** Of logits f32 [SCHEDRUN_VOCAB]: rows are compared by it, bit by bit. */
uint64_t schedrun_hash(const float *logits);

/** Callbacks are set: they fill in the jobs. */
hd_sched *schedrun_open(hd_sched_opts opts);
void schedrun_add(hd_sched *s, schedrun_job *j);
/** One step; false when there was nothing to do. */
bool schedrun_step(hd_sched *s);
void schedrun_drain(hd_sched *s);
/** On a scheduler of its own, over a model without sequences. */
void schedrun_alone(hd_model *m, schedrun_job *j);

/** The job's own request number i, text and settings: `n` ids of the prompt from (base, i), greedy
 *  or seeded. */
void schedrun_make(schedrun_job *j, int32_t i, int32_t base, int32_t n, int32_t max_new);

/** Fail the test unless `got` has the tokens and bits of `want`; one that was cancelled has the
 *  first of them. */
void schedrun_check_same(const schedrun_job *got, const schedrun_job *want);

#endif
