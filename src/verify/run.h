/* A run of verify from inside: the two models, the time, and what goes to the report. */
#ifndef HD_VERIFY_RUN_H
#define HD_VERIFY_RUN_H

#include "base/str.h"
#include "model/v4.h"
#include "opcase/opcase.h"
#include "verify/verify.h"

typedef struct hd_verify {
    const hd_verify_opts *opts;
    hd_verify_report *report;
    int64_t began_ns, end_ns; /* of all; end INT64_MAX: no limit */
    int64_t part_end_ns;      /* of the part that is running */
    hd_model *m;              /* on the device under test */
    hd_model *ref;            /* the same checkpoint on `ref` */
} hd_verify;

/* ---- time ------------------------------------------------------------------------------------ */

/** A part of the run begins: it may take this share of the time that is left. */
void hd_verify_begin_part(hd_verify *v, double share);
/** Seconds that are left to the part; a huge number without a limit. */
double hd_verify_left_s(const hd_verify *v);
/** Say what is being done. */
void hd_verify_progress(hd_verify *v, const char *fmt, ...) HD_PRINTF(2, 3);

/* ---- the report ------------------------------------------------------------------------------ */

/** A new line of the table, without a case. */
hd_verify_check *hd_verify_add(hd_verify *v, const char *fmt, ...) HD_PRINTF(2, 3);
/** One comparison of a check: an error, and the greatest that is right. */
void hd_verify_count(hd_verify_check *c, double error, double bound);
/** It failed, whatever the error is: the device refused, an event did not happen, ... */
void hd_verify_fail(hd_verify *v, hd_verify_check *c, const char *fmt, ...) HD_PRINTF(3, 4);
/** Remember the first difference of the run. */
void hd_verify_differs(hd_verify *v, const char *fmt, ...) HD_PRINTF(2, 3);
void hd_verify_leave_out(hd_verify *v, const char *fmt, ...) HD_PRINTF(2, 3);

/** What a result is compared with. */
typedef struct hd_verify_rule {
    const double *bounds; /* f64 [HD_OPCASE_KINDS], in the measures of hd_opcase_diff */
    const char *against;  /* "on ref", for people */
} hd_verify_rule;

/** Results on `ref`; the greatest errors that are right for this device: of one op, and of a whole
 *  layer or model, where errors add up. */
hd_verify_rule hd_verify_op_rule(const hd_dev *dev);
hd_verify_rule hd_verify_layer_rule(const hd_dev *dev);
/** Compare two runs of a case: one case of the check. */
void hd_verify_compare(hd_verify *v, hd_verify_check *c, const hd_opcase *want,
                       const hd_opcase *got, hd_verify_rule rule);
/** The same for logits f32 [n_rows, V]; `what` is their name. */
void hd_verify_compare_logits(hd_verify *v, hd_verify_check *c, const char *what, int32_t n_rows,
                              const float *want, const float *got, hd_verify_rule rule);

/* ---- the parts ------------------------------------------------------------------------------- */

/** golden_check.c: `ref` against golden data. */
void hd_verify_golden(hd_verify *v);
/** ops.c, matrices.c: each op of the device against `ref`. */
void hd_verify_ops(hd_verify *v);
void hd_verify_matrices(hd_verify *v, hd_verify_check *const check[HD_OP_COUNT]);
/** layers.c: layers and logits of the device against those of `ref`. */
void hd_verify_layers(hd_verify *v);
/** states.c: logits of the device against its own. */
void hd_verify_states(hd_verify *v);

#endif
