#include "support/schedrun.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

const modelrun_device schedrun_device = {"cpu", NULL};
static uint64_t n_done;

uint64_t schedrun_hash(const float *logits)
{
    uint64_t h = 1469598103934665603u;
    const uint8_t *b = (const uint8_t *)logits;
    for (size_t i = 0; i < SCHEDRUN_VOCAB * sizeof *logits; i++) h = (h ^ b[i]) * 1099511628211u;
    return h;
}

static bool on_token(void *ctx, hd_request *r, const float *logits)
{
    (void)ctx;
    schedrun_job *j = r->owner;
    j->seen[r->n_text - 1] = schedrun_hash(logits);
    if (j->cancel_at && hd_request_n_new(r) == j->cancel_at) r->is_cancelled = true;
    return true;
}

static void on_prompt_logits(void *ctx, hd_request *r, int32_t position, const float *logits)
{
    (void)ctx;
    schedrun_job *j = r->owner;
    assert_int_equal(position, j->n_told++);
    j->seen[position + 1] = schedrun_hash(logits);
}

static void on_done(void *ctx, hd_request *r)
{
    (void)ctx;
    schedrun_job *j = r->owner;
    assert_int_equal(j->done_at, 0);
    j->done_at = ++n_done;
}

hd_sched *schedrun_open(hd_sched_opts opts)
{
    hd_err err = {0};
    hd_sched *s;
    opts.on_token = on_token;
    opts.on_prompt_logits = on_prompt_logits;
    opts.on_done = on_done;
    modelrun_check(hd_sched_create(&opts, &s, &err), "hd_sched_create", &err);
    return s;
}

void schedrun_add(hd_sched *s, schedrun_job *j)
{
    hd_err err = {0};
    modelrun_check(hd_sched_add(s, &j->r, &err), "hd_sched_add", &err);
}

bool schedrun_step(hd_sched *s)
{
    hd_err err = {0};
    hd_status st = hd_sched_step(s, &err);
    if (st != HD_OK && st != HD_E_NOTFOUND) fail_msg("%s", err.text);
    return st == HD_OK;
}

void schedrun_drain(hd_sched *s)
{
    while (schedrun_step(s));
}

void schedrun_alone(hd_model *m, schedrun_job *j)
{
    hd_sched *s = schedrun_open((hd_sched_opts){.model = m});
    schedrun_add(s, j);
    schedrun_drain(s);
    assert_true(j->done_at > 0 && j->r.n_cached == 0);
    hd_sched_destroy(s);
}

void schedrun_make(schedrun_job *j, int32_t i, int32_t base, int32_t n, int32_t max_new)
{
    *j = (schedrun_job){.cancel_at = 0};
    for (int32_t k = 0; k < n; k++) j->text[k] = (k * k * (base + 3) + k * 13 + base) % 400;
    j->r = (hd_request){.id = (uint64_t)i,
                        .text = j->text,
                        .n_prompt = n,
                        .max_new = max_new,
                        .how = HD_SAMPLING_DEFAULT,
                        .owner = j};
    j->r.how.temperature = i % 2 ? 1.0f : 0.0f;
    j->r.how.seed = (uint64_t)i;
}

void schedrun_check_same(const schedrun_job *got, const schedrun_job *want)
{
    int32_t n = got->r.n_text, first = want->r.wants_echo ? 1 : want->r.n_prompt;
    if (got->r.end == HD_END_CANCELLED)
        assert_true(n <= want->r.n_text);
    else if (n != want->r.n_text)
        fail_msg("request %" PRIu64 " has %d tokens, alone %d; it ended by %d: %s", got->r.id, n,
                 want->r.n_text, (int)got->r.end, got->r.err.text);
    for (int32_t i = first; i < n; i++) {
        if (i < got->r.n_prompt && i > got->n_told) continue; /* cancelled before */
        if (got->text[i] != want->text[i] || got->seen[i] != want->seen[i])
            fail_msg("request %" PRIu64 " differs at place %d of %d", got->r.id, i, n);
    }
}
