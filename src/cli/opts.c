/* Shared options: see opts.h. */
#include "cli/opts.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/json.h"

/* ---- numbers ---- */

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

/* ---- thinking ---- */

static const char *const think_names[] = {"none", "low", "high", "max"};

hd_status hd_explain_dir(const char *dir, hd_status status, hd_err *err)
{
    if (status != HD_E_NOTFOUND) return status;
    return hd_err_context(err, status,
                          "'%s' is no checkpoint directory ('hadal synth unit --out DIR' makes one "
                          "to try)",
                          dir);
}

bool hd_think_parse(const char *name, hd_think *out)
{
    for (size_t i = 0; i < HD_COUNT(think_names); i++) {
        if (strcmp(name, think_names[i]) != 0) continue;
        *out = (hd_think)i;
        return true;
    }
    return false;
}

const char *hd_think_name(hd_think think)
{
    return think_names[think];
}

/* ---- the model's options ---- */

enum {
    OPT_DEVICE = 512,
    OPT_ISA,
    OPT_CTX,
    OPT_THINK,
    OPT_SYSTEM,
    OPT_TOP_K,
    OPT_TOP_P,
    OPT_MIN_P,
    OPT_REPETITION,
    OPT_PRESENCE,
    OPT_FREQUENCY,
    OPT_BIAS,
    OPT_SEED
};

static const struct argp_option model_options[] = {
    {NULL, 0, NULL, 0, "The answer:", 2},
    {"max-tokens", 'n', "N", 0, "At most N tokens (default: until it ends or the context is full)",
     2},
    {"think", OPT_THINK, "LEVEL", 0, "Reason first: none (default), low, high or max", 2},
    {"system", OPT_SYSTEM, "TEXT", 0, "The system message", 2},
    {NULL, 0, NULL, 0, "How tokens are chosen:", 3},
    {"temperature", 't', "T", 0, "0: always the likeliest (default 1)", 3},
    {"top-k", OPT_TOP_K, "K", 0, "Among the K likeliest", 3},
    {"top-p", OPT_TOP_P, "P", 0, "Among the likeliest that together reach probability P", 3},
    {"min-p", OPT_MIN_P, "P", 0, "Among those at least P times as likely as the likeliest", 3},
    {"repetition-penalty", OPT_REPETITION, "R", 0, "Divide the logits of tokens seen by R", 3},
    {"presence-penalty", OPT_PRESENCE, "X", 0, "Take X off the logits of tokens generated", 3},
    {"frequency-penalty", OPT_FREQUENCY, "X", 0, "Take X off for each time", 3},
    {"logit-bias", OPT_BIAS, "ID=X", 0, "Add X to the logit of token ID; may be repeated", 3},
    {"seed", OPT_SEED, "N", 0, "Another N, another answer (default 0)", 3},
    {NULL, 0, NULL, 0, "The machine:", 4},
    {"ctx", OPT_CTX, "N", 0, "Room for N tokens, prompt and answer together", 4},
    {0},
};

static const struct argp_option machine_options[] = {
    {"device", OPT_DEVICE, "NAME", 0, "cpu (default) or ref", 4},
    {"isa", OPT_ISA, "NAME", 0, "Instruction set of device cpu (default: the best)", 4},
    {"threads", 'T', "N", 0, "Threads (default: all CPUs)", 4},
    {0},
};

static void add_bias(hd_model_args *a, const char *arg, const struct argp_state *state)
{
    char id[16];
    const char *eq = strchr(arg, '=');
    if (!eq || (size_t)(eq - arg) >= sizeof id)
        argp_error(state, "--logit-bias is '%s': expected ID=X, such as 17=-100", arg);
    if (a->how.n_bias == HD_MAX_LOGIT_BIAS)
        argp_error(state, "more than %d options --logit-bias", HD_MAX_LOGIT_BIAS);
    memcpy(id, arg, (size_t)(eq - arg));
    id[eq - arg] = 0;
    hd_logit_bias *b = &a->bias[a->how.n_bias++];
    b->id = (int32_t)hd_opt_i64(state, "--logit-bias", id, 0, INT32_MAX);
    b->bias = (float)hd_opt_f64(state, "--logit-bias", eq + 1, -1e6, 1e6);
}

static error_t parse_machine_option(int key, char *arg, struct argp_state *state)
{
    hd_model_args *a = state->input;
    switch (key) {
    case 'T': a->n_threads = (int32_t)hd_opt_i64(state, "--threads", arg, 1, 4096); return 0;
    case OPT_DEVICE: a->device = arg; return 0;
    case OPT_ISA: a->isa = arg; return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

const struct argp hd_machine_argp = {
    machine_options, parse_machine_option, NULL, NULL, NULL, NULL, NULL};

static error_t parse_model_option(int key, char *arg, struct argp_state *state)
{
    hd_model_args *a = state->input;
    hd_sampling *how = &a->how;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = a; return 0;
    case 'n': a->max_new = (int32_t)hd_opt_i64(state, "--max-tokens", arg, 1, 1 << 24); return 0;
    case 't': how->temperature = (float)hd_opt_f64(state, "--temperature", arg, 0, 100); return 0;
    case OPT_CTX: a->ctx = (int32_t)hd_opt_i64(state, "--ctx", arg, 2, 1 << 24); return 0;
    case OPT_TOP_K: how->top_k = (int32_t)hd_opt_i64(state, "--top-k", arg, 0, 1 << 24); return 0;
    case OPT_TOP_P: how->top_p = (float)hd_opt_f64(state, "--top-p", arg, 1e-6, 1); return 0;
    case OPT_MIN_P: how->min_p = (float)hd_opt_f64(state, "--min-p", arg, 0, 1); return 0;
    case OPT_REPETITION:
        how->repetition_penalty = (float)hd_opt_f64(state, "--repetition-penalty", arg, 0.01, 100);
        return 0;
    case OPT_PRESENCE:
        how->presence_penalty = (float)hd_opt_f64(state, "--presence-penalty", arg, -100, 100);
        return 0;
    case OPT_FREQUENCY:
        how->frequency_penalty = (float)hd_opt_f64(state, "--frequency-penalty", arg, -100, 100);
        return 0;
    case OPT_BIAS: add_bias(a, arg, state); return 0;
    case OPT_SEED: how->seed = hd_opt_u64(state, "--seed", arg); return 0;
    case OPT_SYSTEM: a->system = arg; return 0;
    case OPT_THINK:
        if (!hd_think_parse(arg, &a->think))
            argp_error(state, "--think is '%s': expected none, low, high or max", arg);
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_child model_children[] = {{&hd_machine_argp, 0, NULL, 0}, {0}};
const struct argp hd_model_argp = {
    model_options, parse_model_option, NULL, NULL, model_children, NULL, NULL};

void hd_model_args_init(hd_model_args *a)
{
    *a = (hd_model_args){.how = HD_SAMPLING_DEFAULT};
    a->how.bias = a->bias;
}
