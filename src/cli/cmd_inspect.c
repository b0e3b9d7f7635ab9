/* hadal inspect: what a checkpoint is, and what is wrong with it. */
#include <argp.h>
#include <stdint.h>
#include <stdio.h>

#include "cli/commands.h"
#include "model/inspect.h"

#define MAX_OUTPUT_BYTES ((size_t)256 << 20)
#define SHOWN_DEFECTS    20 /* to a person, without --all */

static const char doc[] =
    "Say which model a checkpoint directory holds, how large its parts and its caches are, and "
    "what "
    "is wrong with it.\n\nAll file headers are checked against the index and against config.json: "
    "names, types, shapes, offsets. The weights themselves are not read.\v"
    "Examples:\n"
    "  hadal inspect model/\n"
    "  hadal inspect model/ --json | jq .defects\n"
    "  hadal inspect headers/ --headers    before a download: config.json and headers or index\n\n"
    "The exit status is 0 when there are no defects, else 1. docs/checkpoints.md explains the "
    "codes.";

enum { OPT_JSON = 256, OPT_HEADERS, OPT_ALL };

static const struct argp_option options[] = {
    {"json", OPT_JSON, NULL, 0, "One line of JSON", 0},
    {"headers", OPT_HEADERS, NULL, 0,
     "Files may end after their headers; the index alone will do as well", 0},
    {"all", OPT_ALL, NULL, 0, "List all defects, not only the first 20", 0},
    {0},
};

typedef struct job {
    const char *dir;
    bool is_json, is_all;
    unsigned flags;
} job;

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    job *j = state->input;
    switch (key) {
    case OPT_JSON: j->is_json = true; return 0;
    case OPT_HEADERS: j->flags |= HD_ST_HEADERS; return 0;
    case OPT_ALL: j->is_all = true; return 0;
    case ARGP_KEY_ARG:
        if (j->dir) argp_error(state, "unexpected argument '%s'", arg);
        j->dir = arg;
        return 0;
    case ARGP_KEY_END:
        if (!j->dir) argp_error(state, "no DIR given");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* @param n_defects how many were found */
static hd_status run_job(const job *j, size_t *n_defects, hd_err *err)
{
    hd_inspect in;
    hd_buf text;
    HD_TRY(hd_inspect_init(&in, j->dir, j->flags, err));
    hd_buf_init(&text, MAX_OUTPUT_BYTES);
    if (j->is_json)
        hd_inspect_json(&in, &text);
    else
        hd_inspect_text(&in, j->is_all ? SIZE_MAX : SHOWN_DEFECTS, &text);
    *n_defects = in.defects.n;
    hd_status status = hd_buf_status(&text, "the report", err);
    if (status == HD_OK && (fwrite(text.ptr, 1, text.len, stdout) != text.len || fflush(stdout)))
        status = HD_SET_ERR(err, HD_E_IO, "cannot write to standard output");
    hd_buf_deinit(&text);
    hd_inspect_deinit(&in);
    return status;
}

int cmd_inspect(int argc, char **argv)
{
    static const struct argp argp = {options, parse_option, "DIR", doc, NULL, NULL, NULL};
    static char name[] = "hadal inspect";
    job j = {0};
    hd_err err;
    size_t n_defects = 0;
    argv[0] = name;
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &j);
    hd_status status = run_job(&j, &n_defects, &err);
    if (status != HD_OK) fprintf(stderr, "hadal inspect: %s\n", err.text);
    return status == HD_OK && n_defects == 0 ? 0 : 1;
}
