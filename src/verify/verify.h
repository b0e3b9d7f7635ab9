/* Is this device right, with this model, on this machine? What `hadal verify` runs.
 *
 * A chain of comparisons: `ref` with golden data, the device's ops with `ref`, its layers with
 * `ref`'s, its logits with themselves in other circumstances. Nothing is printed here; the report
 * says what was run, what was left out and why, and the first place that differed. A check that
 * could not run has no cases and does not pass. */
#ifndef HD_VERIFY_VERIFY_H
#define HD_VERIFY_VERIFY_H

#include <stdbool.h>

#include "hadal/model.h"

enum { HD_VERIFY_MAX_CHECKS = 96, HD_VERIFY_MAX_LEFT_OUT = 32 };

/** One line of the table. */
typedef struct hd_verify_check {
    char name[40]; /* "op.linear", "layer.3" */
    int64_t cases;
    double worst, bound; /* of the comparison that came nearest to its bound, or went beyond */
    bool pass;
} hd_verify_check;

typedef struct hd_verify_report {
    hd_verify_check check[HD_VERIFY_MAX_CHECKS];
    int n_checks;
    char left_out[HD_VERIFY_MAX_LEFT_OUT][200]; /* what, and why */
    int n_left_out;
    char first[480]; /* the first difference or failure, for people; "" if there was none */
    char device[200];
    double seconds;
    bool pass;
} hd_verify_report;

/** Parts of a run. */
enum { HD_VERIFY_GOLDEN = 1, HD_VERIFY_OPS = 2, HD_VERIFY_LAYERS = 4, HD_VERIFY_STATES = 8 };

typedef struct hd_verify_opts {
    const char *dir;          /* checkpoint */
    const char *device, *isa; /* as in hd_model_opts */
    int32_t n_threads;        /* same */
    double budget_s;          /* seconds for all of it; 0: no limit */
    const char *golden;       /* directory of the golden data; NULL: there is none */
    unsigned parts;           /* which; 0: all */
    /** Something begins. May be NULL. */
    void (*progress)(void *ctx, const char *part, double seconds);
    /** The model is open on the device under test: tests spoil it here. May be NULL. */
    void (*opened)(void *ctx, hd_model *model);
    /** It is about to be closed. May be NULL. */
    void (*closing)(void *ctx, hd_model *model);
    void *ctx;
} hd_verify_opts;

/** @return HD_OK when it could be tried: out->pass is the verdict. As hd_model_open otherwise. */
hd_status hd_verify_run(const hd_verify_opts *opts, hd_verify_report *out,
                        hd_err *err) HD_WARN_UNUSED;

#endif
