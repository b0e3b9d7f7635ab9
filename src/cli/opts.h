/* Options that several commands share.
 *
 * Numbers: a wrong one ends the program through argp_error, exit status 2, saying what was
 * expected. `option` is its spelling on the command line, for that message. */
#ifndef HD_CLI_OPTS_H
#define HD_CLI_OPTS_H

#include <argp.h>
#include <stdint.h>

/** A decimal integer within [min, max]. */
int64_t hd_opt_i64(const struct argp_state *state, const char *option, const char *arg, int64_t min,
                   int64_t max);
/** A decimal integer within 0 .. 2^64 - 1. */
uint64_t hd_opt_u64(const struct argp_state *state, const char *option, const char *arg);
/** A decimal number within [min, max], whatever the locale. */
double hd_opt_f64(const struct argp_state *state, const char *option, const char *arg, double min,
                  double max);

#endif
