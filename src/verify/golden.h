/* Golden data: values that DeepSeek's reference code gave, and how far results are from them.
 *
 *   units.safetensors   single primitives
 *   one-layer-*         checkpoints of one layer with every intermediate value of a text
 *
 * Used by `hadal verify` and by the tests. The data come from outside: what does not look as
 * expected is an error, with its reason. tests/data/README.md says how they were made. */
#ifndef HD_VERIFY_GOLDEN_H
#define HD_VERIFY_GOLDEN_H

#include "io/safetensors.h"
#include "model/probe.h"
#include "opcase/opdev.h"

/* How close is right: plain FP32 sums in any order stay well below, planted mistakes well above. */
#define HD_GOLDEN_STAGE_LIMIT 3e-3 /* one stage from golden inputs, BF16 results; relative L2 */
#define HD_GOLDEN_EXACT_LIMIT 1e-5 /* FP32 results that no rounding to BF16 precedes */
#define HD_GOLDEN_STEP_LIMIT  0.01 /* part of BF16 results of sums that may be one step away */

/* ---- single primitives: golden_units.c, golden_units_heads.c --------------------------------- */

/** One comparison. Results without a sum are equal (bound 0); BF16 results of sums are at most one
 *  step away in less than 1 % (error: the part that is; 1 when one is further away); FP32 results
 *  are within 1e-5 of the largest. */
typedef struct hd_golden_result {
    const char *what; /* lives during the call only */
    double error, bound;
} hd_golden_result;
typedef void hd_golden_report(void *ctx, const hd_golden_result *r);

/** Open units.safetensors and check that every tensor is there, of its dtype and shape.
 *  @return as hd_st_open; HD_E_FORMAT. */
hd_status hd_golden_units_open(const char *path, hd_st **out, hd_err *err) HD_WARN_UNUSED;
/** The ops of a device. `st` is from hd_golden_units_open; `d` is cleared.
 *  @return the first failure of the device. */
hd_status hd_golden_units(const hd_st *st, hd_opdev *d, hd_golden_report *report, void *ctx,
                          hd_err *err) HD_WARN_UNUSED;
/** What ref's ops are made of and no op shows alone: quantiser, softplus, softmax. */
void hd_golden_units_ref(const hd_st *st, hd_golden_report *report, void *ctx);

/* ---- sets: golden_sets.c --------------------------------------------------------------------- */

typedef struct hd_golden_case {
    char file[64];    /* case-prefill-230.safetensors */
    int32_t prefill;  /* ids given at once; the rest one at a time */
    int32_t n_tokens; /* in all */
} hd_golden_case;

enum { HD_GOLDEN_MAX_CASES = 16 };

/** The cases of the set in `dir`. @return HD_E_NOTFOUND, HD_E_IO, HD_E_FORMAT. */
hd_status hd_golden_cases(const char *dir, hd_golden_case out[HD_GOLDEN_MAX_CASES], int *n,
                          hd_err *err) HD_WARN_UNUSED;

/** Distance of a result from golden rows: |a − b| / |b| in the L2 norm. */
typedef struct hd_golden_error {
    double all;    /* over all rows together */
    double median; /* over the rows, each by itself */
    double worst;  /* the same, the worst row */
    size_t n_differ, n;
} hd_golden_error;

/** @param got the golden tensor's rows as the same dtype, dense (F32, BF16 or I32; for integers
 *             only n_differ says something). A NaN makes every distance infinite.
 *  @return HD_E_FORMAT for another dtype. */
hd_status hd_golden_compare(const void *got, const hd_st_tensor *want, hd_golden_error *out,
                            hd_err *err) HD_WARN_UNUSED;

/** The i-th run over the stages of a layer: whatever a captured point is made from is fed, so it
 *  has no error of its own. Points are separated by blanks; a kind of layer may lack some. */
typedef struct hd_golden_stages {
    const char *feed, *capture;
} hd_golden_stages;
/** NULL behind the last. */
const hd_golden_stages *hd_golden_stages_at(size_t i);
/** The greatest relative L2 error of a point that is right; 0: integers, equal. */
double hd_golden_stage_limit(const char *point, hd_dtype dtype);

#endif
