/* Drafts change how many steps a text takes, never the text: the same requests under each kind, in
 * little room, with grammars and cancels, have the tokens and bits of runs alone without drafts.
 *
 * At a high temperature the noise of a draw outweighs the logits, and guesses are drawn with the
 * same noise: so even the heads of made-up checkpoints are often right, and both ways are taken. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "engine/draft.h"
#include "engine/draft_lookup.h"
#include "support/constrain_run.h"
#include "support/schedrun.h"

enum { N_JOBS = 18 };

static schedrun_job *alone, *jobs; /* [N_JOBS] */

static hd_model *open_model(const char *preset, hd_model_opts opts)
{
    opts.max_ctx = SCHEDRUN_TEXT;
    opts.load_draft = 1;
    return modelrun_open(modelrun_synth(preset), &schedrun_device, opts);
}

static hd_matcher *make_matcher(void)
{
    hd_err err = {0};
    hd_matcher *m;
    hd_grammar_source source = {
        .kind = HD_GRAMMAR_REGEX, .text = hd_str_from("([0-9]{3}[a-z]){4,12}"), .is_textual = true};
    hd_grammar *g = constrain_compile(constrain_tiny(), &source);
    modelrun_check(hd_matcher_create(g, &m, &err), "hd_matcher_create", &err);
    hd_grammar_unref(g);
    return m;
}

static void make_job(schedrun_job *j, int32_t i)
{
    static const float temperatures[] = {0, 30, 1, 100};
    schedrun_make(j, i, i / 3, 40 + i * 23, 20 + i * 3);
    static const hd_logit_bias two[] = {{11, 60}, {12, 60}};
    j->r.how.temperature = temperatures[i % 4];
    j->r.ignores_eos = i % 5 != 0;
    j->r.wants_echo = i % 7 == 3;
    j->r.no_draft = i == 7;
    if (i % 3 == 0) { /* a text of two tokens repeats itself: for lookup */
        j->r.how.bias = two;
        j->r.how.n_bias = 2;
        j->r.how.temperature = 1;
    }
    if (i % 6 == 1) j->r.how.presence_penalty = 0.5f;
    if (i % 6 == 5) j->r.matcher = make_matcher();
}

static void run_alone(hd_model *m)
{
    for (int32_t i = 0; i < N_JOBS; i++) {
        hd_sched *s = schedrun_open((hd_sched_opts){.model = m, .draft = HD_GUESS_NONE});
        make_job(&alone[i], i);
        schedrun_add(s, &alone[i]);
        schedrun_drain(s);
        hd_matcher_destroy(alone[i].r.matcher);
        hd_sched_destroy(s);
    }
}

static hd_sched_stats run_all(hd_model *m, hd_guess_kind kind, bool is_tight)
{
    hd_sched_stats stats;
    hd_sched *s =
        schedrun_open((hd_sched_opts){.model = m,
                                      .snap_budget = (is_tight ? 1 : 20) * hd_v4_snap_bytes(m),
                                      .chunk = 70,
                                      .draft = kind});
    for (int32_t i = 0; i < N_JOBS; i++) {
        make_job(&jobs[i], i);
        if (is_tight && i % 4 == 1) jobs[i].cancel_at = 3 + i;
        schedrun_add(s, &jobs[i]);
        for (int k = 0; k < 3; k++) (void)schedrun_step(s);
    }
    schedrun_drain(s);
    for (int32_t i = 0; i < N_JOBS; i++) {
        hd_matcher_destroy(jobs[i].r.matcher);
        schedrun_check_same(&jobs[i], &alone[i]);
        if (jobs[i].cancel_at == 0) assert_int_equal(jobs[i].r.end, alone[i].r.end);
        if (jobs[i].r.end == HD_END_CANCELLED)
            assert_int_equal(hd_request_n_new(&jobs[i].r), jobs[i].cancel_at);
    }
    hd_sched_get_stats(s, &stats);
    hd_sched_destroy(s);
    const hd_draft_stats *d = &stats.draft[kind];
    print_message("%" PRIu64 " steps, %" PRIu64 " rows, %" PRIu64 " tokens, %" PRIu64
                  " preempted, %" PRIu64 " hits, %" PRIu64 " replays; %" PRIu64
                  " drafts of %" PRIu64 " tokens, %" PRIu64 " right\n",
                  stats.n_steps, stats.n_rows, stats.n_generated, stats.n_preempted, stats.n_hits,
                  stats.n_replays, d->n_checks, d->n_drafted, d->n_right);
    return stats;
}

/* With room, then with few pages, cancels and few rows. */
static void run_kind(const char *preset, hd_guess_kind kind)
{
    hd_model *m = open_model(preset, (hd_model_opts){.max_seqs = 1});
    run_alone(m);
    hd_model_close(m);
    for (int i = 0; i < 2; i++) {
        hd_model_opts roomy = {.max_seqs = 3, .max_rows = 200},
                      tight = {.max_seqs = 5, .max_rows = 64, .kv_tokens = 700};
        m = open_model(preset, i == 0 ? roomy : tight);
        hd_sched_stats s = run_all(m, kind, i == 1);
        hd_model_close(m);
        const hd_draft_stats *d = &s.draft[kind];
        assert_true(s.n_hits > 0 || i == 1);
        assert_true((s.n_preempted > 0 && s.n_replays > 0) || i == 0);
        if (kind == HD_GUESS_NONE)
            assert_int_equal(d->n_drafted, 0);
        else
            assert_true(d->n_right > 20 && d->n_drafted > d->n_right + 10 && d->n_checks > 20);
    }
}

static void test_none(void **state)
{
    (void)state;
    run_kind("unit-mtp", HD_GUESS_NONE);
}

static void test_lookup(void **state)
{
    (void)state;
    run_kind("unit", HD_GUESS_LOOKUP);
}

static void test_dspark(void **state)
{
    (void)state;
    run_kind("unit", HD_GUESS_DSPARK);
}

static void test_mtp(void **state)
{
    (void)state;
    run_kind("unit-mtp", HD_GUESS_MTP);
}

/* Behind the first snapshot: admissions, preemptions, steps and drafts, without a grammar. */
static void test_steps_allocate_nothing(void **state)
{
    (void)state;
    for (hd_guess_kind kind = HD_GUESS_NONE; kind < HD_GUESS_KINDS; kind++) {
        hd_model *m = open_model(kind == HD_GUESS_MTP ? "unit-mtp" : "unit",
                                 (hd_model_opts){.max_seqs = 3, .kv_tokens = 400});
        hd_sched *s = schedrun_open(
            (hd_sched_opts){.model = m, .snap_budget = 3 * hd_v4_snap_bytes(m), .draft = kind});
        hd_sched_stats before, after;
        for (int32_t i = 0; i < 8; i++) {
            schedrun_make(&jobs[i], i, i, 150 + 20 * i, 100);
            jobs[i].r.user = (uint64_t)i;
            jobs[i].r.how.temperature = 30;
            schedrun_add(s, &jobs[i]);
        }
        do {
            assert_true(schedrun_step(s));
            hd_sched_get_stats(s, &before);
        } while (before.n_snaps == 0);
        unsigned long n = hd_mem_count();
        schedrun_drain(s);
        hd_sched_get_stats(s, &after);
        assert_int_equal(hd_mem_count(), n);
        assert_true(after.n_steps > before.n_steps + 20 && after.n_preempted > 0);
        assert_true(after.n_snaps > before.n_snaps);
        hd_sched_destroy(s);
        hd_model_close(m);
    }
}

/* The best that a checkpoint has; what it has not is refused. */
static void test_kinds(void **state)
{
    (void)state;
    static const struct {
        const char *preset;
        int loads;
        hd_guess_kind best, other;
    } cases[] = {{"unit", 1, HD_GUESS_DSPARK, HD_GUESS_MTP},
                 {"unit-mtp", 1, HD_GUESS_MTP, HD_GUESS_DSPARK},
                 {"unit", 0, HD_GUESS_NONE, HD_GUESS_DSPARK}};
    for (size_t i = 0; i < HD_COUNT(cases); i++) {
        hd_err err = {0};
        hd_drafter *d;
        hd_sampler *sampler;
        hd_model *m = modelrun_open(modelrun_synth(cases[i].preset), &schedrun_device,
                                    (hd_model_opts){.load_draft = cases[i].loads});
        assert_int_equal(hd_sampler_create(SCHEDRUN_VOCAB, &sampler, &err), HD_OK);
        hd_drafter_opts opts = {.model = m, .sampler = sampler};
        assert_int_equal(hd_drafter_create(&opts, &d, &err), HD_OK);
        assert_int_equal(hd_drafter_kind(d), cases[i].best);
        hd_drafter_destroy(d);
        opts.kind = cases[i].other;
        assert_int_equal(hd_drafter_create(&opts, &d, &err), HD_E_UNSUPPORTED);
        hd_sampler_destroy(sampler);
        hd_model_close(m);
    }
}

/* ---- the parts --------------------------------------------------------------------------------*/

static void test_lookup_finds_longest(void **state)
{
    (void)state;
    hd_err err = {0};
    hd_lookup *l;
    int32_t out[8];
    /* 1 2 3 occurs three times; with 9 before it at place 4. */
    static const int32_t text[] = {7, 1, 2, 3, 50, 9, 1, 2, 3, 60, 8, 1, 2, 3, 70, 71, 9, 1, 2, 3};
    const int32_t n = HD_COUNT(text);
    assert_int_equal(hd_lookup_create(2, 100, &l, &err), HD_OK);
    assert_int_equal(hd_lookup_find(l, 1, text, n, 3, out), 3);
    assert_true(out[0] == 60 && out[1] == 8 && out[2] == 1);
    assert_int_equal(hd_lookup_find(l, 0, text, n - 4, 8, out), 0); /* 70 71 9: new */
    hd_lookup_reset(l, 0);
    assert_int_equal(hd_lookup_find(l, 0, text, 14, 8, out), 5); /* 8 1 2 3: the latest 1 2 3 */
    assert_int_equal(out[0], 60);
    hd_lookup_reset(l, 1);
    assert_int_equal(hd_lookup_find(l, 1, text, 4, 8, out), 0);
    assert_int_equal(hd_lookup_find(l, 1, text, 2, 8, out), 0);
    static const int32_t same[] = {5, 5, 5, 5, 5};
    hd_lookup_reset(l, 1);
    assert_int_equal(hd_lookup_find(l, 1, same, 5, 8, out), 1); /* what there is behind place 4 */
    assert_int_equal(out[0], 5);
    hd_lookup_destroy(l);
}

static void test_pace(void **state)
{
    (void)state;
    hd_pace p;
    hd_pace_begin(&p);
    int32_t first = hd_pace_length(&p, 1, 8);
    assert_true(first >= 1 && first < 8);
    for (int i = 0; i < 40; i++) hd_pace_learn(&p, 4, 4);
    assert_int_equal(hd_pace_length(&p, 1, 8), 8);
    assert_int_equal(hd_pace_length(&p, 1, 3), 3);
    for (int32_t n = 2; n < 64; n++) /* the more rows, the fewer guesses */
        assert_true(hd_pace_length(&p, n, 8) <= hd_pace_length(&p, n - 1, 8));
    assert_true(hd_pace_length(&p, 64, 8) < 8);
    int32_t n_misses = 0, rest = 0;
    for (int round = 0; round < 3; round++) { /* rests that grow */
        while (p.rest == 0) {
            hd_pace_learn(&p, 1, 0);
            n_misses++;
        }
        assert_true(p.rest > rest);
        rest = p.rest;
        assert_int_equal(hd_pace_length(&p, 1, 8), 0);
        for (int32_t i = 0; i < rest; i++) hd_pace_pass(&p);
        assert_true(hd_pace_length(&p, 1, 8) > 0);
    }
    assert_true(n_misses < 60);
}

static int set_up(void **state)
{
    (void)state;
    jobs = hd_mem_calloc(N_JOBS, sizeof *jobs);
    alone = hd_mem_calloc(N_JOBS, sizeof *alone);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hd_mem_free(jobs);
    hd_mem_free(alone);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lookup_finds_longest),
        cmocka_unit_test(test_pace),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_lookup),
        cmocka_unit_test(test_dspark),
        cmocka_unit_test(test_mtp),
        cmocka_unit_test(test_steps_allocate_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
