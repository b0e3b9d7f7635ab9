/* hadal verify: is this device right, with this model, on this machine? The comparisons are in
 * src/verify; here is what the user sees of them. */
#include <argp.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/jsonw.h"
#include "cli/commands.h"
#include "cli/opts.h"
#include "verify/verify.h"

#define DEFAULT_BUDGET_S 120.0
#define MAX_JSON_BYTES   (1u << 20)

typedef struct options {
    hd_model_args model;
    double budget_s;
    bool full, json;
    const char *golden;
    bool on_terminal;
} options;

/* ---- options --------------------------------------------------------------------------------- */

static const char doc[] =
    "Compare a device with the reference, on this machine and with the model in DIR: each "
    "operation, "
    "a layer of each kind, logits, and the device with itself when requests are cut, resumed or "
    "run "
    "side by side."
    "\vExamples:\n"
    "  hadal verify DIR\n"
    "  hadal verify DIR --device cpu --budget 600\n"
    "  hadal verify DIR --full --json > report.json\n\n"
    "Exit status: 0 all is right, 1 something is not (the first difference is named) or could not "
    "be tried, 2 wrong usage.\n"
    "The reference itself is compared with golden data first. They are installed with the program; "
    "--golden or the environment variable HADAL_GOLDEN names another directory.";

enum { OPT_BUDGET = 256, OPT_FULL, OPT_JSON, OPT_GOLDEN };

static const struct argp_option argp_options[] = {
    {"budget", OPT_BUDGET, "S", 0, "Seconds for all of it, about (default 120)", 0},
    {"full", OPT_FULL, NULL, 0, "All that there is, however long it takes", 0},
    {"json", OPT_JSON, NULL, 0, "One JSON object instead of the table", 0},
    {"golden", OPT_GOLDEN, "DIR", 0, "Where the golden data are", 0},
    {0}};

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    options *o = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &o->model; return 0;
    case OPT_BUDGET: o->budget_s = hd_opt_f64(state, "--budget", arg, 0.001, 1e9); return 0;
    case OPT_FULL: o->full = true; return 0;
    case OPT_JSON: o->json = true; return 0;
    case OPT_GOLDEN: o->golden = arg; return 0;
    case ARGP_KEY_ARG:
        if (o->model.dir) return ARGP_ERR_UNKNOWN;
        o->model.dir = arg;
        return 0;
    case ARGP_KEY_END:
        if (!o->model.dir) argp_error(state, "give the directory of a model");
        if (o->full && o->budget_s > 0.0) argp_error(state, "--full goes without --budget");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- golden data ----------------------------------------------------------------------------- */

/* Beside the program: as installed (bin, share), or as built (build, tests). */
static const char *find_golden(const options *o)
{
    static const char *const places[] = {"../share/hadal/golden", "../tests/data/model"};
    static char path[4096];
    const char *from_environment = getenv("HADAL_GOLDEN");
    if (o->golden) return o->golden;
    if (from_environment && *from_environment) return from_environment;
    char program[2048];
    ssize_t n = readlink("/proc/self/exe", program, sizeof program);
    if (n <= 0 || (size_t)n == sizeof program) return NULL;
    while (n > 0 && program[n - 1] != '/') n--;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        snprintf(path, sizeof path, "%.*s%s/units.safetensors", (int)n, program, places[i]);
        if (access(path, R_OK) != 0) continue;
        *strrchr(path, '/') = 0;
        return path;
    }
    return NULL;
}

/* ---- what is shown --------------------------------------------------------------------------- */

static void show_progress(void *ctx, const char *part, double seconds)
{
    const options *o = ctx;
    if (o->on_terminal) fprintf(stderr, "\r\033[K%4.0f s  %s", seconds, part);
}

static void print_json(const hd_verify_report *r)
{
    hd_buf out;
    hd_buf_init(&out, MAX_JSON_BYTES);
    hd_buf_addz(&out, "{\"checks\": [");
    for (int i = 0; i < r->n_checks; i++) {
        const hd_verify_check *c = &r->check[i];
        hd_buf_addz(&out, i ? ", {\"name\": " : "{\"name\": ");
        hd_jsonw_str(&out, hd_str_from(c->name));
        hd_buf_addf(&out, ", \"cases\": %lld, \"worst\": ", (long long)c->cases);
        hd_jsonw_f64(&out, isfinite(c->worst) ? c->worst : 1e300); /* JSON has no infinity */
        hd_buf_addz(&out, ", \"bound\": ");
        hd_jsonw_f64(&out, c->bound);
        hd_buf_addz(&out, c->pass ? ", \"pass\": true}" : ", \"pass\": false}");
    }
    hd_buf_addz(&out, "], \"left_out\": [");
    for (int i = 0; i < r->n_left_out; i++) {
        if (i) hd_buf_addz(&out, ", ");
        hd_jsonw_str(&out, hd_str_from(r->left_out[i]));
    }
    hd_buf_addz(&out, r->pass ? "], \"pass\": true}\n" : "], \"pass\": false}\n");
    fwrite(out.ptr, 1, out.len, stdout);
    hd_buf_deinit(&out);
}

static void print_table(const hd_verify_report *r)
{
    int n_passed = 0;
    printf("%s\n\n%-22s %7s %10s %10s\n", r->device, "check", "cases", "worst", "bound");
    for (int i = 0; i < r->n_checks; i++) {
        const hd_verify_check *c = &r->check[i];
        printf("%-22s %7lld %10.2g %10.2g  %s\n", c->name, (long long)c->cases, c->worst, c->bound,
               c->pass ? "ok" : "FAILED");
        n_passed += c->pass;
    }
    for (int i = 0; i < r->n_left_out; i++)
        printf("%s%s\n", i ? "  " : "\nleft out:\n  ", r->left_out[i]);
    printf("\n%s: %d of %d checks passed in %.1f s\n", r->pass ? "PASS" : "FAIL", n_passed,
           r->n_checks, r->seconds);
}

static int run(const options *o)
{
    static hd_verify_report report;
    hd_err err = {0};
    hd_verify_opts opts = {.dir = o->model.dir,
                           .device = o->model.device,
                           .isa = o->model.isa,
                           .n_threads = o->model.n_threads,
                           .budget_s = o->full ? 0.0 : o->budget_s,
                           .golden = find_golden(o),
                           .progress = show_progress,
                           .ctx = (void *)(uintptr_t)o};
    hd_status st = hd_verify_run(&opts, &report, &err);
    if (o->on_terminal) fprintf(stderr, "\r\033[K");
    if (st != HD_OK) {
        fprintf(stderr, "hadal verify: %s\n", err.text);
        return 1;
    }
    if (o->json)
        print_json(&report);
    else
        print_table(&report);
    if (report.first[0]) fprintf(stderr, "first difference: %s\n", report.first);
    return report.pass ? 0 : 1;
}

int cmd_verify(int argc, char **argv)
{
    static const struct argp_child children[] = {{&hd_machine_argp, 0, "The machine:", 1}, {0}};
    static const struct argp argp = {argp_options, parse_option, "DIR", doc, children, NULL, NULL};
    static char name[] = "hadal verify";
    options o = {.on_terminal = isatty(STDERR_FILENO) == 1};
    hd_model_args_init(&o.model);
    argv[0] = name;
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &o);
    if (o.budget_s <= 0.0) o.budget_s = DEFAULT_BUDGET_S;
    return run(&o);
}
