/* Running the model in tests: devices to try, and one text through one sequence.
 *
 * modelrun_run does what `hadal logits` does, in memory: prefill in chunks, the rest token by
 * token, drafts at wanted places, values captured or fed through a probe. A failure that no test
 * expects ends the program with a message. */
#ifndef HD_TEST_MODELRUN_H
#define HD_TEST_MODELRUN_H

#include "model/probe.h"
#include "model/v4.h"

typedef struct modelrun_device {
    const char *name, *isa; /* isa NULL: the best of the machine */
} modelrun_device;

/** ref, cpu with each instruction set, deferring and checking wrappers; name NULL at the end. */
extern const modelrun_device modelrun_devices[];

/** "cpu avx2", in one of eight static buffers used in turn. */
const char *modelrun_label(const modelrun_device *d);

/** False where this build or machine has no such device. */
bool modelrun_has(const modelrun_device *d);
/** device, isa and n_threads (1 where 0) of `opts` are filled in. */
hd_model *modelrun_open(const char *dir, const modelrun_device *d, hd_model_opts opts);

/** Directory of a made-up checkpoint (model/synth.h, seed 1), written at the first call; until the
 *  program ends. */
const char *modelrun_synth(const char *preset);

typedef struct modelrun_job {
    const int32_t *ids;
    int32_t n;       /* ids in all */
    int32_t prefill; /* of them in chunks; 0 or more than n: all */
    int32_t chunk;   /* 0: as many as a step takes */
    hd_probe *probe; /* or NULL */
    float *logits;   /* f32 [n, V] */
    float *mtp;      /* f32 [n, V], last row without meaning; or NULL */
    /* DSpark: at these positions, ascending, each >= prefill and < n − 1 */
    const int32_t *draft_at; /* [n_drafts] */
    int32_t n_drafts;
    int32_t *draft_tokens;   /* i32 [n_drafts, block + 1] */
    float *draft_logits;     /* f32 [n_drafts, block, V] */
    float *draft_confidence; /* f32 [n_drafts, block] */
} modelrun_job;

/** On a new sequence, destroyed behind it. */
void modelrun_run(hd_model *m, const modelrun_job *job);

/** End the program with `what` and the text unless st is HD_OK. */
void modelrun_check(hd_status st, const char *what, const hd_err *err);

#endif
