/* Options that several commands share: which model, on what, and how to choose tokens.
 *
 * A command lists hd_model_argp as a child of its own argp and hands it an hd_model_args. Wrong
 * values end the program through argp_error, exit status 2, saying what was expected. */
#ifndef HD_CLI_OPTS_H
#define HD_CLI_OPTS_H

#include <argp.h>
#include <stdbool.h>
#include <stdint.h>

#include "hadal/model.h"

#define HD_MAX_LOGIT_BIAS 64 /* options --logit-bias */

typedef enum hd_think { HD_THINK_NONE, HD_THINK_LOW, HD_THINK_HIGH, HD_THINK_MAX } hd_think;

typedef struct hd_model_args {
    const char *dir; /* the command's first argument; the command checks that it is there */
    const char *device, *isa, *system;
    int32_t n_threads; /* 0: all */
    int32_t ctx;       /* 0: the command's choice */
    int32_t max_new;   /* tokens of an answer; 0: until it ends */
    hd_think think;
    hd_sampling how; /* its bias points to `bias` below */
    hd_logit_bias bias[HD_MAX_LOGIT_BIAS];
} hd_model_args;

extern const struct argp hd_model_argp;
/* Of these only device, isa and n_threads; for commands that choose tokens in a way of their own.
 */
extern const struct argp hd_machine_argp;

/** Defaults; before argp_parse. */
void hd_model_args_init(hd_model_args *a);

/** What opening the model in `dir` has brought; where there is none, `err` says how to get one. */
hd_status hd_explain_dir(const char *dir, hd_status status, hd_err *err);

/** "none", "low", "high", "max"; false if `name` is none of them. */
bool hd_think_parse(const char *name, hd_think *out);
const char *hd_think_name(hd_think think);

/** A decimal integer within [min, max]. `option` is for the message: "--seed". */
int64_t hd_opt_i64(const struct argp_state *state, const char *option, const char *arg, int64_t min,
                   int64_t max);
/** A decimal integer within 0 .. 2^64 - 1. */
uint64_t hd_opt_u64(const struct argp_state *state, const char *option, const char *arg);
/** A decimal number within [min, max], whatever the locale. */
double hd_opt_f64(const struct argp_state *state, const char *option, const char *arg, double min,
                  double max);

#endif
