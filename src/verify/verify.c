#include "verify/verify.h"

#include <stdio.h>

#include "base/clock.h"
#include "verify/run.h"

/* Sequences and positions that the checks need. */
enum { MAX_SEQS = 4, MAX_CTX = 720, MAX_ROWS = 512, REF_ROWS = 64 };

static hd_status open_models(hd_verify *v, hd_err *err)
{
    const hd_verify_opts *o = v->opts;
    hd_config cfg;
    HD_TRY(hd_config_load(o->dir, &cfg, err));
    int32_t ctx = cfg.max_position < MAX_CTX ? cfg.max_position : MAX_CTX;
    hd_model_opts opts = {.device = o->device,
                          .isa = o->isa,
                          .n_threads = o->n_threads,
                          .max_seqs = MAX_SEQS,
                          .max_ctx = ctx,
                          .max_rows = MAX_ROWS,
                          .load_draft = 1};
    hd_model_opts ref = {
        .device = "ref", .max_seqs = 1, .max_ctx = ctx, .max_rows = REF_ROWS, .load_draft = 1};
    hd_verify_progress(v, "opening the model");
    HD_TRY(hd_model_open(o->dir, &opts, &v->m, err));
    HD_TRY(hd_model_open(o->dir, &ref, &v->ref, err));
    if (o->opened) o->opened(o->ctx, v->m);
    return HD_OK;
}

/* The reference first: what is compared with it is worth no more than it is. */
static void run_parts(hd_verify *v)
{
    unsigned parts = v->opts->parts ? v->opts->parts : ~0u;
    if (parts & HD_VERIFY_GOLDEN) hd_verify_golden(v);
    hd_verify_begin_part(v, 0.3);
    if (parts & HD_VERIFY_OPS) hd_verify_ops(v);
    hd_verify_begin_part(v, 0.5);
    if (parts & HD_VERIFY_LAYERS) hd_verify_layers(v);
    hd_verify_begin_part(v, 1.0);
    if (parts & HD_VERIFY_STATES) hd_verify_states(v);
}

static bool passes(const hd_verify_report *r)
{
    for (int i = 0; i < r->n_checks; i++)
        if (!r->check[i].pass || r->check[i].cases == 0) return false;
    return r->n_checks > 0;
}

hd_status hd_verify_run(const hd_verify_opts *opts, hd_verify_report *out, hd_err *err)
{
    int64_t now = hd_clock_ns();
    hd_verify v = {.opts = opts, .report = out, .began_ns = now};
    v.end_ns = opts->budget_s > 0.0 ? now + (int64_t)(opts->budget_s * 1e9) : INT64_MAX;
    v.part_end_ns = v.end_ns;
    *out = (hd_verify_report){.n_checks = 0};
    hd_status st = open_models(&v, err);
    if (st == HD_OK) {
        snprintf(out->device, sizeof out->device, "%s", v.m->device);
        run_parts(&v);
        for (int i = 0; i < out->n_checks; i++)
            if (out->check[i].cases == 0) out->check[i].pass = false;
        out->pass = passes(out);
    }
    if (st == HD_OK && opts->closing) opts->closing(opts->ctx, v.m);
    hd_model_close(v.m);
    hd_model_close(v.ref);
    out->seconds = (double)(hd_clock_ns() - v.began_ns) * 1e-9;
    return st;
}
