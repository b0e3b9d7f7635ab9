/* What requests may ask of the scheduler beside tokens: a grammar, an echo of their prompt, a least
 * number of tokens, and no more than their user's share. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "support/constrain_run.h"
#include "support/schedrun.h"

static hd_model *open_model(hd_model_opts opts)
{
    opts.max_ctx = SCHEDRUN_TEXT;
    return modelrun_open(modelrun_synth("unit"), &schedrun_device, opts);
}

static hd_matcher *make_matcher(const char *regex)
{
    hd_err err = {0};
    hd_matcher *m;
    hd_grammar_source source = {
        .kind = HD_GRAMMAR_REGEX, .text = hd_str_from(regex), .is_textual = true};
    hd_grammar *g = constrain_compile(constrain_tiny(), &source);
    modelrun_check(hd_matcher_create(g, &m, &err), "hd_matcher_create", &err);
    hd_grammar_unref(g);
    return m;
}

/* What was generated, as bytes; false if a token is no byte of the tiny vocabulary. */
static bool text_of(const schedrun_job *j, char *out)
{
    const hd_vocab *v = constrain_tiny_vocab();
    for (int32_t i = j->r.n_prompt; i < j->r.n_text; i++) {
        if ((size_t)j->text[i] >= hd_vocab_size(v)) return false;
        hd_str bytes = hd_vocab_token_bytes(v, j->text[i]);
        memcpy(out, bytes.ptr, bytes.len);
        out += bytes.len;
    }
    *out = 0;
    return true;
}

/* ---- grammars ---------------------------------------------------------------------------------*/

enum { N_MASKED = 12, TINY_EOS = 267 };

static const char *const regexes[] = {"(ab|ba){25,30}", "[0-9]{24}", "x(12)*y"};

/* Greedy and drawn, beside requests without a grammar: alone and together the same, and what the
 * grammar says. */
static void test_grammars(void **state)
{
    (void)state;
    schedrun_job *alone = hd_mem_calloc(N_MASKED, sizeof *alone),
                 *jobs = hd_mem_calloc(N_MASKED, sizeof *jobs);
    hd_model *one = open_model((hd_model_opts){.max_seqs = 1});
    hd_model *many = open_model((hd_model_opts){.max_seqs = 5, .max_rows = 64, .kv_tokens = 600});
    hd_sched *s = schedrun_open((hd_sched_opts){.model = many});
    int32_t n_stopped = 0;
    for (int32_t i = 0; i < N_MASKED; i++) {
        schedrun_make(&alone[i], i, i, 100 + 30 * i, 70);
        jobs[i] = alone[i];
        jobs[i].r.text = jobs[i].text;
        jobs[i].r.owner = &jobs[i];
        if (i % 4 < 3) alone[i].r.matcher = make_matcher(regexes[i % 4]);
        if (i % 4 < 3) jobs[i].r.matcher = make_matcher(regexes[i % 4]);
        schedrun_alone(one, &alone[i]);
        schedrun_add(s, &jobs[i]);
    }
    schedrun_drain(s);
    for (int32_t i = 0; i < N_MASKED; i++) {
        char text[400];
        schedrun_check_same(&jobs[i], &alone[i]);
        assert_int_equal(jobs[i].r.end, alone[i].r.end);
        if (!jobs[i].r.matcher) continue;
        assert_true(text_of(&jobs[i], text));
        hd_matcher_destroy(alone[i].r.matcher);
        hd_matcher *fresh = make_matcher(regexes[i % 4]);
        for (int32_t k = jobs[i].r.n_prompt; k < jobs[i].r.n_text; k++)
            assert_int_equal(hd_matcher_advance(fresh, jobs[i].text[k], NULL), HD_OK);
        assert_int_equal(hd_matcher_is_complete(fresh), jobs[i].r.end == HD_END_STOP);
        n_stopped += jobs[i].r.end == HD_END_STOP;
        hd_matcher_destroy(fresh);
        hd_matcher_destroy(jobs[i].r.matcher);
    }
    hd_sched_stats stats;
    hd_sched_get_stats(s, &stats);
    print_message("%d of %d ended with their grammar, %" PRIu64 " preempted\n", n_stopped,
                  N_MASKED * 3 / 4, stats.n_preempted);
    assert_true(n_stopped > 5 && stats.n_preempted > 0);
    hd_sched_destroy(s);
    hd_model_close(many);
    hd_model_close(one);
    hd_mem_free(alone);
    hd_mem_free(jobs);
}

/* A mask that cannot be had ends its request and no other. */
static void test_failing_mask(void **state)
{
    (void)state;
    static schedrun_job jobs[3];
    hd_model *m = open_model((hd_model_opts){.max_seqs = 3});
    hd_sched *s = schedrun_open((hd_sched_opts){.model = m});
    for (int32_t i = 0; i < 3; i++) {
        schedrun_make(&jobs[i], i, i, 20, 8);
        jobs[i].r.ignores_eos = true;
        if (i == 1) jobs[i].r.matcher = make_matcher("[0-9]");
        schedrun_add(s, &jobs[i]);
    }
    /* As if its end had been passed: nothing is allowed. */
    assert_int_equal(hd_matcher_advance(jobs[1].r.matcher, '1', NULL), HD_OK);
    assert_true(hd_matcher_is_complete(jobs[1].r.matcher));
    assert_int_equal(hd_matcher_advance(jobs[1].r.matcher, TINY_EOS, NULL), HD_OK);
    schedrun_drain(s);
    assert_int_equal(jobs[1].r.end, HD_END_FAILED);
    assert_non_null(strstr(jobs[1].r.err.text, "no token is allowed"));
    assert_int_equal(hd_request_n_new(&jobs[1].r), 0);
    assert_int_equal(hd_request_n_new(&jobs[0].r), 8);
    assert_int_equal(hd_request_n_new(&jobs[2].r), 8);
    hd_matcher_destroy(jobs[1].r.matcher);
    hd_sched_destroy(s);
    hd_model_close(m);
}

/* Memory that runs out while a grammar is followed, or guesses are checked against it: that request
 * fails at most, and nobody gets another token. */
static void test_grammar_without_memory(void **state)
{
    (void)state;
    static schedrun_job alone[3], jobs[3];
    int32_t n_failed = 0, n_runs = 0;
    hd_model *m = open_model((hd_model_opts){.max_seqs = 3, .load_draft = 1});
    for (int32_t n = -1; n < 1 || jobs[1].r.end == HD_END_FAILED; n += 1 + n / 4, n_runs++) {
        schedrun_job *j = n < 0 ? alone : jobs;
        hd_sched *s = schedrun_open(
            (hd_sched_opts){.model = m, .draft = n < 0 ? HD_GUESS_NONE : HD_GUESS_DSPARK});
        for (int32_t i = 0; i < 3; i++) {
            schedrun_make(&j[i], i, i, 20, 12);
            j[i].r.ignores_eos = true;
            j[i].r.how.temperature = 30;
            if (i == 1) j[i].r.matcher = make_matcher("([0-9]|[a-f]+;|(x|y)*z)+");
            schedrun_add(s, &j[i]);
        }
        hd_mem_fail_after(n);
        schedrun_drain(s);
        hd_mem_fail_after(-1);
        hd_sched_destroy(s);
        hd_matcher_destroy(j[1].r.matcher);
        for (int32_t i = 0; i < 3 && n >= 0; i++) {
            if (j[i].r.end != HD_END_FAILED) schedrun_check_same(&j[i], &alone[i]);
            if (i != 1) assert_int_equal(j[i].r.end, HD_END_LENGTH);
        }
        if (j[1].r.end != HD_END_FAILED) continue;
        n_failed++;
        assert_int_equal(j[1].r.err.code, HD_E_NOMEM);
        for (int32_t k = 20; k < j[1].r.n_text; k++)
            assert_int_equal(j[1].text[k], alone[1].text[k]);
    }
    print_message("%d of %d runs failed one request\n", n_failed, n_runs - 1);
    assert_true(n_failed > 3);
    hd_model_close(m);
}

/* ---- the end of sentence ----------------------------------------------------------------------*/

static void run_eos(hd_model *m, schedrun_job *j, int32_t min_new, bool ignores)
{
    static hd_logit_bias bias;
    bias = (hd_logit_bias){m->cfg.eos_id, 50.0f}; /* it comes as soon as it may */
    schedrun_make(j, 1, 5, 30, 20);
    j->r.min_new = min_new;
    j->r.ignores_eos = ignores;
    j->r.how.bias = &bias;
    j->r.how.n_bias = 1;
    schedrun_alone(m, j);
}

static void test_min_new(void **state)
{
    (void)state;
    static schedrun_job j;
    hd_model *m = open_model((hd_model_opts){.max_seqs = 1});
    for (int32_t min_new = 0; min_new < 5; min_new++) {
        run_eos(m, &j, min_new, false);
        assert_int_equal(j.r.end, HD_END_STOP);
        assert_int_equal(hd_request_n_new(&j.r), min_new + 1);
        for (int32_t i = j.r.n_prompt; i < j.r.n_text; i++)
            assert_int_equal(j.text[i] == m->cfg.eos_id, i == j.r.n_text - 1);
    }
    run_eos(m, &j, 3, true); /* a token like any other */
    assert_int_equal(j.r.end, HD_END_LENGTH);
    assert_int_equal(j.text[j.r.n_prompt], m->cfg.eos_id);
    hd_model_close(m);
}

/* ---- echo -------------------------------------------------------------------------------------*/

enum { N_ECHO = 6 };

/* Every position of the prompt once, with the bits of a run that asks the model for all of them;
 * also of those that lose their sequence on the way. */
static void test_echo(void **state)
{
    (void)state;
    schedrun_job *want = hd_mem_calloc(N_ECHO, sizeof *want),
                 *jobs = hd_mem_calloc(2 * N_ECHO, sizeof *jobs);
    hd_model *one = open_model((hd_model_opts){.max_seqs = 1});
    hd_model *many = open_model((hd_model_opts){.max_seqs = 6, .max_rows = 128, .kv_tokens = 900});
    hd_sched *s = schedrun_open(
        (hd_sched_opts){.model = many, .snap_budget = 9 * hd_v4_snap_bytes(many), .chunk = 100});
    for (int32_t i = 0; i < N_ECHO; i++) {
        schedrun_make(&want[i], i, i / 2, 2 + i * 110, 150);
        want[i].r.wants_echo = true;
        schedrun_alone(one, &want[i]);
        assert_int_equal(want[i].n_told, want[i].r.n_prompt - 1);
        /* One that echoes; one of the same text that does not, and generates beside it. */
        for (int32_t k = 0; k < 2; k++) {
            schedrun_make(&jobs[2 * i + k], i, i / 2, 2 + i * 110, 150);
            jobs[2 * i + k].r.wants_echo = k == 1;
            schedrun_add(s, &jobs[2 * i + k]);
            (void)schedrun_step(s);
        }
    }
    schedrun_drain(s);
    hd_sched_stats stats;
    hd_sched_get_stats(s, &stats);
    for (int32_t i = 0; i < 2 * N_ECHO; i++) {
        if (i % 2) schedrun_check_same(&jobs[i], &want[i / 2]);
        assert_int_equal(jobs[i].n_told, i % 2 ? jobs[i].r.n_prompt - 1 : 0);
        if (i % 2) assert_int_equal(jobs[i].r.n_cached, 0);
    }
    print_message("%" PRIu64 " preempted, %" PRIu64 " hits\n", stats.n_preempted, stats.n_hits);
    assert_true(stats.n_preempted > 0 && stats.n_hits > 0);
    hd_sched_destroy(s);
    hd_model_close(many);
    hd_model_close(one);
    hd_mem_free(want);
    hd_mem_free(jobs);
}

/* The bits of the echo are those of the model's own step over the whole prompt. */
static void test_echo_is_the_models(void **state)
{
    (void)state;
    static schedrun_job a, b;
    hd_model *m = open_model((hd_model_opts){.max_seqs = 1});
    schedrun_make(&a, 0, 4, 150, 1);
    a.r.wants_echo = true;
    schedrun_alone(m, &a);
    for (int32_t n = 1; n < 150; n += 37) { /* a token drawn behind n ids is drawn from them */
        schedrun_make(&b, 0, 4, n, 1);
        schedrun_alone(m, &b);
        assert_true(b.seen[n] == a.seen[n]);
    }
    hd_model_close(m);
}

/* ---- users ------------------------------------------------------------------------------------*/

enum { N_CROWD = 60 };

/* One user has sixty requests there, then another comes with one, and a third with a few. */
static void test_crowd_starves_nobody(void **state)
{
    (void)state;
    schedrun_job *jobs = hd_mem_calloc(N_CROWD + 6, sizeof *jobs);
    hd_model *m = open_model((hd_model_opts){.max_seqs = 2, .max_rows = 64});
    hd_sched *s = schedrun_open((hd_sched_opts){.model = m});
    uint64_t n_done = 0;
    for (int32_t i = 0; i < N_CROWD + 6; i++) {
        schedrun_make(&jobs[i], i, i, 20 + i % 7, 10);
        jobs[i].r.user = i < N_CROWD ? 1 : i == N_CROWD ? 2 : 3;
        schedrun_add(s, &jobs[i]);
        if (i == N_CROWD - 1)
            for (int k = 0; k < 60; k++) (void)schedrun_step(s);
        for (int32_t k = 0; k < N_CROWD && i == N_CROWD; k++) n_done += jobs[k].done_at > 0;
    }
    schedrun_drain(s);
    uint64_t first = jobs[0].done_at;
    /* In flight when it came: two. Then the new users have their turns at once. */
    assert_true(jobs[N_CROWD].done_at - first < n_done + 4);
    /* The third shares evenly: five of its own take about as many of the crowd. */
    assert_true(jobs[N_CROWD + 5].done_at - first < n_done + 16);
    assert_true(jobs[N_CROWD + 5].done_at - first > n_done + 8);
    print_message("%" PRIu64 " of %d were done when the others came: theirs were number %" PRIu64
                  " and %" PRIu64 " to be done\n",
                  n_done, N_CROWD, jobs[N_CROWD].done_at - first + 1,
                  jobs[N_CROWD + 5].done_at - first + 1);
    hd_sched_destroy(s);
    hd_model_close(m);
    hd_mem_free(jobs);
}

/* Priority goes before fairness. */
static void test_priority_first(void **state)
{
    (void)state;
    static schedrun_job jobs[6];
    hd_model *m = open_model((hd_model_opts){.max_seqs = 1});
    hd_sched *s = schedrun_open((hd_sched_opts){.model = m});
    for (int32_t i = 0; i < 6; i++) {
        schedrun_make(&jobs[i], i, i, 20, 10);
        jobs[i].r.user = i < 5 ? 1 : 2;
        jobs[i].r.priority = i < 5;
        schedrun_add(s, &jobs[i]);
    }
    schedrun_drain(s);
    for (int32_t i = 0; i < 5; i++) assert_true(jobs[i].done_at < jobs[5].done_at);
    hd_sched_destroy(s);
    hd_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grammars),
        cmocka_unit_test(test_failing_mask),
        cmocka_unit_test(test_grammar_without_memory),
        cmocka_unit_test(test_min_new),
        cmocka_unit_test(test_echo),
        cmocka_unit_test(test_echo_is_the_models),
        cmocka_unit_test(test_crowd_starves_nobody),
        cmocka_unit_test(test_priority_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
