#include "support/modelrun.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/draft.h"
#include "model/synth.h"
#include "support/tmpdir.h"

const modelrun_device modelrun_devices[] = {
    {"ref", NULL},         {"cpu", "portable"}, {"cpu", "avx2"},     {"cpu", "avx512"},
    {"cpu", "avx512bf16"}, {"cpu", "neon"},     {"defer:ref", NULL}, {"defer:cpu", NULL},
    {"trace:ref", NULL},   {"trace:cpu", NULL}, {NULL, NULL},
};

const char *modelrun_label(const modelrun_device *d)
{
    static char labels[8][64];
    static unsigned turn;
    char *label = labels[turn++ % 8];
    snprintf(label, sizeof labels[0], "%s%s%s", d->name, d->isa ? " " : "", d->isa ? d->isa : "");
    return label;
}

void modelrun_check(hd_status st, const char *what, const hd_err *err)
{
    if (st == HD_OK) return;
    fprintf(stderr, "%s failed with %s: %s\n", what, hd_status_name(st), err->text);
    exit(1);
}

bool modelrun_has(const modelrun_device *d)
{
    hd_dev *dev;
    hd_err err = {0};
    hd_dev_opts opts = {.isa = d->isa, .n_threads = 1};
    hd_status st = hd_dev_open(d->name, &opts, &dev, &err);
    if (st == HD_E_NOTFOUND || st == HD_E_UNSUPPORTED) return false;
    modelrun_check(st, modelrun_label(d), &err);
    hd_dev_close(dev);
    return true;
}

hd_model *modelrun_open(const char *dir, const modelrun_device *d, hd_model_opts opts)
{
    hd_model *m;
    hd_err err = {0};
    opts.device = d->name;
    opts.isa = d->isa;
    if (opts.n_threads == 0) opts.n_threads = 1;
    modelrun_check(hd_model_open(dir, &opts, &m, &err), "hd_model_open", &err);
    return m;
}

const char *modelrun_synth(const char *preset)
{
    static struct {
        char preset[32], dir[512];
    } made[4];
    hd_err err = {0};
    hd_buf config;
    size_t i = 0;
    while (i < HD_COUNT(made) && made[i].preset[0] && strcmp(made[i].preset, preset) != 0) i++;
    HD_ASSERT(i < HD_COUNT(made));
    if (made[i].preset[0]) return made[i].dir;
    snprintf(made[i].dir, sizeof made[i].dir, "%s", test_path(test_tmpdir(), preset));
    hd_buf_init(&config, 1 << 16);
    modelrun_check(hd_synth_preset_config(preset, &config, &err), preset, &err);
    modelrun_check(
        hd_synth_write(made[i].dir, hd_buf_str(&config), &(hd_synth_opts){.seed = 1}, &err), preset,
        &err);
    hd_buf_deinit(&config);
    snprintf(made[i].preset, sizeof made[i].preset, "%s", preset);
    return made[i].dir;
}

static void run_mtp(hd_model *m, const modelrun_job *j, const hd_v4_step *step, int32_t pos)
{
    hd_err err = {0};
    int32_t n = step->rows.n_rows, *next = hd_mem_calloc((size_t)n, sizeof *next);
    for (int32_t i = 0; i < n; i++) next[i] = pos + i + 1 < j->n ? j->ids[pos + i + 1] : 0;
    float *logits = j->mtp + (size_t)pos * (size_t)m->cfg.vocab_size;
    modelrun_check(hd_v4_mtp(m, step, next, logits, &err), "hd_v4_mtp", &err);
    hd_mem_free(next);
}

static void run_dspark(hd_model *m, const modelrun_job *j, hd_seq *seq, int32_t i)
{
    hd_err err = {0};
    size_t at = (size_t)i, block = (size_t)m->cfg.dspark_block_size;
    hd_v4_draft_out out = {.tokens = j->draft_tokens + at * (block + 1),
                           .logits = j->draft_logits + at * block * (size_t)m->cfg.vocab_size,
                           .confidence = j->draft_confidence + at * block};
    modelrun_check(hd_v4_dspark(m, seq, j->ids[j->draft_at[i] + 1], &out, &err), "hd_v4_dspark",
                   &err);
}

static void run_step(hd_model *m, const modelrun_job *j, hd_seq *seq, int32_t pos, int32_t n)
{
    hd_err err = {0};
    size_t v = (size_t)m->cfg.vocab_size;
    float **dst = hd_mem_calloc((size_t)n, sizeof *dst);
    for (int32_t i = 0; i < n; i++) dst[i] = j->logits + (size_t)(pos + i) * v;
    hd_v4_part part = {.seq = seq, .ids = j->ids + pos, .n = n, .pos0 = pos, .n_logits = n};
    hd_v4_step step;
    hd_status st = hd_v4_run_parts(m, &part, 1, dst, &step, &err);
    if (j->probe) modelrun_check(hd_probe_status(j->probe, &err), "a hook", &err);
    modelrun_check(st, "hd_v4_run_parts", &err);
    if (j->mtp) run_mtp(m, j, &step, pos);
    hd_mem_free(dst);
}

void modelrun_run(hd_model *m, const modelrun_job *j)
{
    hd_err err = {0};
    hd_seq *seq;
    int32_t prefill = j->prefill > 0 && j->prefill < j->n ? j->prefill : j->n;
    int32_t chunk = j->chunk > 0 && j->chunk < m->max_rows ? j->chunk : m->max_rows, i_draft = 0;
    modelrun_check(hd_seq_create(m, &seq, &err), "hd_seq_create", &err);
    m->probe = j->probe;
    for (int32_t pos = 0; pos < j->n;) {
        int32_t n = pos < prefill ? prefill - pos : 1;
        if (n > chunk) n = chunk;
        run_step(m, j, seq, pos, n);
        pos += n;
        if (i_draft < j->n_drafts && j->draft_at[i_draft] == pos - 1)
            run_dspark(m, j, seq, i_draft++);
    }
    if (i_draft != j->n_drafts) modelrun_check(HD_E_BUG, "drafts at the wanted places", &err);
    m->probe = NULL;
    hd_seq_destroy(seq);
}
