/* hadal synth: made-up checkpoints. */
#include <argp.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "cli/opts.h"
#include "cli/progress.h"
#include "model/synth.h"

#define MAX_CONFIG_BYTES ((size_t)1 << 20)

static const char doc[] =
    "Write a checkpoint with random weights, in the official file format.\n\n"
    "The shape is that of a PRESET or of a config.json. The same shape and seed give the same "
    "bytes on every machine. The model works but writes noise.\v"
    "Example: a small model with every part that V4 has, and a first answer from it:\n"
    "  hadal synth unit --out unit\n"
    "  hadal run unit -p Hello -n 40\n\n"
    "  hadal synth bench-small --out bench        1.3 GB, for timing\n"
    "  hadal synth pro-0813 --headers --out big   what 'hadal inspect big --headers' looks at\n"
    "  hadal synth --config my/config.json --seed 7 --out mine\n";

enum { OPT_CONFIG = 256, OPT_SEED, OPT_HEADERS, OPT_SPARSE };

static const struct argp_option options[] = {
    {"out", 'o', "DIR", 0, "Directory to write to; made if it is missing", 0},
    {"config", OPT_CONFIG, "FILE", 0, "Take the shape of this config.json", 0},
    {"seed", OPT_SEED, "N", 0, "Which random weights (default 0)", 0},
    {"headers", OPT_HEADERS, NULL, 0, "Only the shards' headers: sizes, names, no weights", 0},
    {"sparse", OPT_SPARSE, NULL, 0,
     "Leave the weights of routed experts as holes of the files: they read as zero and take no "
     "space on the disk",
     0},
    {0},
};

typedef struct job {
    const char *preset, *config, *out; /* preset or config is NULL */
    hd_synth_opts opts;
} job;

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    job *j = state->input;
    switch (key) {
    case 'o': j->out = arg; return 0;
    case OPT_CONFIG: j->config = arg; return 0;
    case OPT_SEED: j->opts.seed = hd_opt_u64(state, "--seed", arg); return 0;
    case OPT_HEADERS: j->opts.flags |= HD_SYNTH_HEADERS; return 0;
    case OPT_SPARSE: j->opts.flags |= HD_SYNTH_SPARSE; return 0;
    case ARGP_KEY_ARG:
        if (j->preset) return ARGP_ERR_UNKNOWN;
        j->preset = arg;
        return 0;
    case ARGP_KEY_END:
        if (!j->preset == !j->config) argp_error(state, "give a PRESET or --config FILE");
        if (!j->out) argp_error(state, "give the directory to write to: --out DIR");
        if ((j->opts.flags & HD_SYNTH_HEADERS) && (j->opts.flags & HD_SYNTH_SPARSE))
            argp_error(state, "--headers goes without --sparse");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* Puts the list of presets behind the examples. argp frees what this returns. */
static char *add_presets(int key, const char *text, void *input)
{
    hd_buf out;
    (void)input;
    if (key != ARGP_KEY_HELP_POST_DOC || !text) return (char *)text;
    hd_buf_init(&out, 1 << 16);
    hd_buf_addf(&out, "%s\nPresets:\n", text);
    for (size_t i = 0; hd_synth_preset_at(i); i++)
        hd_buf_addf(&out, "  %-12s %s\n", hd_synth_preset_at(i)->name, hd_synth_preset_at(i)->help);
    return out.ptr;
}

static hd_status read_config(const job *j, hd_buf *text, hd_err *err)
{
    return j->preset ? hd_synth_preset_config(j->preset, text, err)
                     : hd_fs_read_all(j->config, text, err);
}

static hd_status run_job(job *j, hd_err *err)
{
    hd_buf config;
    hd_progress progress;
    hd_progress_init(&progress, "writing weights", HD_PROGRESS_BYTES);
    j->opts.progress = hd_progress_update;
    j->opts.progress_ctx = &progress;
    hd_buf_init(&config, MAX_CONFIG_BYTES);
    hd_status status = read_config(j, &config, err);
    if (status == HD_OK) status = hd_synth_write(j->out, hd_buf_str(&config), &j->opts, err);
    hd_progress_end(&progress);
    if (status == HD_OK)
        fprintf(stderr, "wrote '%s' in %.1f s\n", j->out, hd_progress_seconds(&progress));
    hd_buf_deinit(&config);
    return status;
}

int cmd_synth(int argc, char **argv)
{
    static const struct argp argp = {options, parse_option, "[PRESET]", doc,
                                     NULL,    add_presets,  NULL};
    static char name[] = "hadal synth";
    job j = {0};
    hd_err err;
    argv[0] = name;
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &j);
    hd_status status = run_job(&j, &err);
    if (status != HD_OK) fprintf(stderr, "hadal synth: %s\n", err.text);
    return status == HD_OK ? 0 : 1;
}
