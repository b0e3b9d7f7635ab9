/* Golden data of the model: sets, cases, tensors, and how far a result is from them.
 *
 * A set is a small checkpoint with the logits and intermediates that DeepSeek's reference code gave
 * for it. Some sets are bundled in tests/data/model; the directory in the environment variable
 * HADAL_VECTORS has all (DIR/model/SET). Damaged golden data ends the program. */
#ifndef HD_TEST_GOLDEN_H
#define HD_TEST_GOLDEN_H

#include "verify/golden.h"

typedef hd_golden_case golden_case;

enum { GOLDEN_MAX_CASES = HD_GOLDEN_MAX_CASES };

/* How close is right: plain FP32 sums in any order stay well below, planted mistakes well above
 * (the README beside the data). */
#define GOLDEN_STAGE_LIMIT HD_GOLDEN_STAGE_LIMIT
#define GOLDEN_EXACT_LIMIT HD_GOLDEN_EXACT_LIMIT
#define GOLDEN_MEDIAN_LIMIT                                                                        \
    3e-3 /* a layer, a draft head, a one-layer model: median over positions */
#define GOLDEN_LAYER_LIMIT 0.03 /* the same: all positions together */
#define GOLDEN_DEEP_LIMIT  0.2  /* deep models from the ids alone; three stages of a draft head */

/** Directory of a set, in one of eight static buffers used in turn; NULL when it is not here. */
const char *golden_dir(const char *set);
bool golden_is_bundled(const char *set);

/** The cases of a set. Returns their number. */
int golden_cases(const char *dir, golden_case out[GOLDEN_MAX_CASES]);

/** One case; closed by the caller with hd_st_close. */
hd_st *golden_open(const char *dir, const char *file);
/** NULL when there is none. The name is "%s%s" of the two. */
const hd_st_tensor *golden_find(const hd_st *st, const char *prefix, const char *name);
/** As golden_find, but it must be there. */
const hd_st_tensor *golden_get(const hd_st *st, const char *name);
/** A copy of an I32 tensor, aligned; freed by the caller. */
int32_t *golden_i32(const hd_st_tensor *t);

typedef hd_golden_error golden_error;

/** @param got the golden tensor's rows as the same dtype, dense (F32, BF16 or I32; for integers
 *             only n_differ says something). A NaN makes every distance infinite. */
golden_error golden_compare(const void *got, const hd_st_tensor *want);

#endif
