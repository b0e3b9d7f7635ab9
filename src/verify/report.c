/* Time and report of a run: see run.h. */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "verify/run.h"

/* ---- time ------------------------------------------------------------------------------------ */

void hd_verify_begin_part(hd_verify *v, double share)
{
    int64_t now = hd_clock_ns(), left = v->end_ns > now ? v->end_ns - now : 0;
    v->part_end_ns = v->end_ns == INT64_MAX ? INT64_MAX : now + (int64_t)((double)left * share);
}

double hd_verify_left_s(const hd_verify *v)
{
    return v->part_end_ns == INT64_MAX ? 1e12 : (double)(v->part_end_ns - hd_clock_ns()) * 1e-9;
}

void hd_verify_progress(hd_verify *v, const char *fmt, ...)
{
    char text[120];
    va_list ap;
    if (!v->opts->progress) return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    v->opts->progress(v->opts->ctx, text, (double)(hd_clock_ns() - v->began_ns) * 1e-9);
}

/* ---- the report ------------------------------------------------------------------------------ */

hd_verify_check *hd_verify_add(hd_verify *v, const char *fmt, ...)
{
    va_list ap;
    HD_ASSERT(v->report->n_checks < HD_VERIFY_MAX_CHECKS);
    hd_verify_check *c = &v->report->check[v->report->n_checks++];
    *c = (hd_verify_check){.pass = true};
    va_start(ap, fmt);
    vsnprintf(c->name, sizeof c->name, fmt, ap);
    va_end(ap);
    return c;
}

/* How much of its bound an error takes: above 1 is too much. */
static double strain(double error, double bound)
{
    if (bound > 0.0) return error / bound;
    return error > 0.0 ? (double)INFINITY : 0.0;
}

void hd_verify_count(hd_verify_check *c, double error, double bound)
{
    double now = strain(error, bound), before = strain(c->worst, c->bound);
    if (c->cases++ == 0 || now > before || (now == before && error > c->worst)) {
        c->worst = error;
        c->bound = bound;
    }
    if (!(now <= 1.0)) c->pass = false;
}

void hd_verify_differs(hd_verify *v, const char *fmt, ...)
{
    va_list ap;
    if (v->report->first[0]) return;
    va_start(ap, fmt);
    vsnprintf(v->report->first, sizeof v->report->first, fmt, ap);
    va_end(ap);
}

void hd_verify_fail(hd_verify *v, hd_verify_check *c, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    c->pass = false;
    hd_verify_differs(v, "%s: %s", c->name, text);
}

void hd_verify_leave_out(hd_verify *v, const char *fmt, ...)
{
    va_list ap;
    HD_ASSERT(v->report->n_left_out < HD_VERIFY_MAX_LEFT_OUT);
    char *text = v->report->left_out[v->report->n_left_out++];
    va_start(ap, fmt);
    vsnprintf(text, sizeof v->report->left_out[0], fmt, ap);
    va_end(ap);
}

/* ---- bounds ---------------------------------------------------------------------------------- */

/* Kinds of devices, by the last name of a wrapped one ("trace:cpu" is "cpu"). Those of processors
 * have the bits of `ref`. The last row is for accelerators, whose sums have another order: a step
 * of BF16, now and then a code of a quantised row; behind a whole layer some steps, and another
 * choice of the indexer where two scores are as good as equal. */
typedef struct tolerance {
    const char *device; /* NULL: any other */
    double op[HD_OPCASE_KINDS], layer[HD_OPCASE_KINDS];
} tolerance;

static const tolerance tolerances[] = {
    {"ref", {0}, {0}},
    {"cpu", {0}, {0}},
    {"skel", {0}, {0}},
    {NULL,
     {[HD_OPCASE_BYTES] = 0.01,
      [HD_OPCASE_BF16] = 0x1p-7,
      [HD_OPCASE_F32] = 1e-5,
      [HD_OPCASE_I32] = 0.0},
     {[HD_OPCASE_BYTES] = 0.02,
      [HD_OPCASE_BF16] = 0.03,
      [HD_OPCASE_F32] = 0.03,
      [HD_OPCASE_I32] = 0.02}},
};

static const tolerance *tolerance_of(const hd_dev *dev)
{
    const char *colon = strrchr(dev->props.name, ':');
    const char *name = colon ? colon + 1 : dev->props.name;
    const tolerance *t = tolerances;
    while (t->device && strcmp(t->device, name) != 0) t++;
    return t;
}

hd_verify_rule hd_verify_op_rule(const hd_dev *dev)
{
    return (hd_verify_rule){tolerance_of(dev)->op, "on ref"};
}

hd_verify_rule hd_verify_layer_rule(const hd_dev *dev)
{
    return (hd_verify_rule){tolerance_of(dev)->layer, "on ref"};
}

/* The error of a comparison that came nearest to its bound. */
static void worst_of(const hd_opcase_diff *d, const double *bounds, double *error, double *bound)
{
    *error = 0.0;
    *bound = bounds[HD_OPCASE_BF16];
    for (int k = 0; k < HD_OPCASE_KINDS; k++) {
        if (d->worst[k] == 0.0 || strain(d->worst[k], bounds[k]) < strain(*error, *bound)) continue;
        *error = d->worst[k];
        *bound = bounds[k];
    }
}

void hd_verify_compare(hd_verify *v, hd_verify_check *c, const hd_opcase *want,
                       const hd_opcase *got, hd_verify_rule rule)
{
    double error, bound;
    if (want->err.code != HD_OK || got->err.code != HD_OK) {
        c->cases++;
        hd_verify_fail(v, c, "%s: %s", want->shape,
                       want->err.code != HD_OK ? want->err.text : got->err.text);
        return;
    }
    hd_opcase_diff d = hd_opcase_compare(want, got);
    worst_of(&d, rule.bounds, &error, &bound);
    hd_verify_count(c, error, bound);
    /* Zeros of different signs are no distance apart, and yet not the same bits. */
    if (strain(error, bound) <= 1.0 && !(d.n_differ && bound == 0.0)) return;
    hd_verify_fail(v, c,
                   "%s: output %zu, row %lld, column %lld is %.9g on '%s' and %.9g %s "
                   "(%zu elements in all)",
                   want->shape, d.output, (long long)d.row, (long long)d.col, d.got,
                   v->m->dev->props.name, d.want, rule.against, d.n_differ);
}

static hd_opcase logits_case(const char *what, int32_t n_rows, int32_t vocab, const float *logits)
{
    hd_opcase c = {.n_out = 1};
    c.out[0] = (hd_opcase_output){.kind = HD_OPCASE_F32,
                                  .rows = n_rows,
                                  .cols = vocab,
                                  .bytes = (size_t)n_rows * (size_t)vocab * sizeof *logits,
                                  .data = (uint8_t *)(uintptr_t)logits};
    snprintf(c.shape, sizeof c.shape, "%s", what);
    return c;
}

void hd_verify_compare_logits(hd_verify *v, hd_verify_check *c, const char *what, int32_t n_rows,
                              const float *want, const float *got, hd_verify_rule rule)
{
    int32_t vocab = v->m->cfg.vocab_size;
    hd_opcase a = logits_case(what, n_rows, vocab, want), b = logits_case(what, n_rows, vocab, got);
    hd_verify_compare(v, c, &a, &b, rule);
}
