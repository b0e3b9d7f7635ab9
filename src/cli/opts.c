/* Shared options: see opts.h. */
#include "cli/opts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/arena.h"
#include "base/json.h"

int64_t hd_opt_i64(const struct argp_state *state, const char *option, const char *arg, int64_t min,
                   int64_t max)
{
    char *end;
    errno = 0;
    long long x = strtoll(arg, &end, 10);
    if (errno || end == arg || *end || x < min || x > max)
        argp_error(state, "%s is '%s': expected an integer from %" PRId64 " to %" PRId64, option,
                   arg, min, max);
    return x;
}

uint64_t hd_opt_u64(const struct argp_state *state, const char *option, const char *arg)
{
    char *end;
    errno = 0;
    unsigned long long x = strtoull(arg, &end, 10);
    if (errno || end == arg || *end || arg[0] == '-')
        argp_error(state, "%s is '%s': expected an integer from 0 to 2^64 - 1", option, arg);
    return x;
}

double hd_opt_f64(const struct argp_state *state, const char *option, const char *arg, double min,
                  double max)
{
    hd_arena arena;
    const hd_json *node;
    double x = 0.0;
    hd_arena_init(&arena, 1 << 16);
    if (hd_json_parse(hd_str_from(arg), NULL, &arena, &node, NULL) != HD_OK ||
        hd_json_f64(node, &x, NULL) != HD_OK || !(x >= min && x <= max))
        argp_error(state, "%s is '%s': expected a number from %g to %g", option, arg, min, max);
    hd_arena_deinit(&arena);
    return x;
}
