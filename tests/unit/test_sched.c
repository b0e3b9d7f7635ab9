/* The scheduler: whatever runs beside a request, however its prompt is cut, wherever its prefix
 * comes from and however often it has to give its sequence back, its tokens and the bits of the
 * logits that they were drawn from are those of a run alone. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "base/str.h"
#include "support/schedrun.h"

enum { N_REQUESTS = 36, MAX_TEXT = SCHEDRUN_TEXT };

typedef schedrun_job job;

static job *jobs,
    *alone; /* [N_REQUESTS]: the same requests, one after the other on a fresh model */

/* Request i: a text that shares a random part with others, or all that an earlier request came to,
 * then its own; greedy or seeded. */
static void make_job(job *j, int32_t i)
{
    uint64_t n = 0, key = hd_rng_key(7, (uint64_t)i);
    int32_t base = (int32_t)hd_rng_below(hd_rng_at(key, n++), 3);
    int32_t shared = (int32_t)hd_rng_below(hd_rng_at(key, n++), 500);
    int32_t own = 1 + (int32_t)hd_rng_below(hd_rng_at(key, n++), 150);
    *j = (job){.cancel_at = 0};
    for (int32_t k = 0; k < shared; k++) j->text[k] = (k * k * (base + 3) + k * 13) % 400;
    for (int32_t k = 0; k < own; k++)
        j->text[shared + k] = (int32_t)hd_rng_below(hd_rng_at(key, n++), 400);
    bool goes_on = i >= 8 && i % 3 == 2 && alone[i - 8].r.n_text + own < MAX_TEXT - 60;
    if (goes_on) {
        shared = alone[i - 8].r.n_text;
        memcpy(j->text, alone[i - 8].text, (size_t)shared * sizeof *j->text);
        for (int32_t k = 0; k < own; k++) j->text[shared + k] = (k * 31 + i) % 400;
    }
    j->r = (hd_request){.id = (uint64_t)i,
                        .text = j->text,
                        .n_prompt = shared + own,
                        .max_new = 1 + (int32_t)hd_rng_below(hd_rng_at(key, n++), 60),
                        .how = HD_SAMPLING_DEFAULT,
                        .group = hd_rng_below(hd_rng_at(key, n++), 5) == 0,
                        .priority = (int32_t)hd_rng_below(hd_rng_at(key, n++), 2),
                        .owner = j};
    if (goes_on) j->r.group = alone[i - 8].r.group;
    j->r.how.temperature = i % 2 ? 1.0f : 0.0f;
    j->r.how.seed = (uint64_t)i;
}

static int set_up(void **state)
{
    (void)state;
    jobs = hd_mem_calloc(N_REQUESTS, sizeof *jobs);
    alone = hd_mem_calloc(N_REQUESTS, sizeof *alone);
    hd_model *m = modelrun_open(modelrun_synth("unit"), &schedrun_device,
                                (hd_model_opts){.max_seqs = 1, .max_ctx = MAX_TEXT});
    for (int32_t i = 0; i < N_REQUESTS; i++) {
        make_job(&alone[i], i);
        schedrun_alone(m, &alone[i]);
    }
    hd_model_close(m);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hd_mem_free(jobs);
    hd_mem_free(alone);
    return 0;
}

typedef struct setting {
    int32_t max_seqs, max_rows, chunk;
    int64_t kv_tokens;
    size_t snaps; /* that the budget holds */
    bool cancels;
} setting;

/* All requests arrive at random steps; every one is compared with its run alone. */
static hd_sched_stats run_all(const setting *c)
{
    hd_model *m = modelrun_open(modelrun_synth("unit"), &schedrun_device,
                                (hd_model_opts){.max_seqs = c->max_seqs,
                                                .max_ctx = MAX_TEXT,
                                                .max_rows = c->max_rows,
                                                .kv_tokens = c->kv_tokens});
    hd_sched *s = schedrun_open((hd_sched_opts){
        .model = m, .snap_budget = c->snaps * hd_v4_snap_bytes(m), .chunk = c->chunk});
    hd_sched_stats stats;
    int32_t next = 0;
    for (uint64_t step = 0; next < N_REQUESTS; step++) {
        while (next < N_REQUESTS && hd_rng_below(hd_rng_at(99, step), 4) == 0) {
            make_job(&jobs[next], next);
            if (c->cancels && next % 3 == 0) jobs[next].cancel_at = 1 + next % 20;
            schedrun_add(s, &jobs[next++]);
            if (hd_rng_below(hd_rng_at(98, step), 2)) break;
        }
        (void)schedrun_step(s);
    }
    schedrun_drain(s);
    for (int32_t i = 0; i < N_REQUESTS; i++) {
        assert_true(jobs[i].done_at > 0);
        assert_int_not_equal(jobs[i].r.end, HD_END_FAILED);
        schedrun_check_same(&jobs[i], &alone[i]);
    }
    hd_sched_get_stats(s, &stats);
    hd_sched_destroy(s);
    for (int k = 0; k < HD_PAGE_KINDS; k++)
        assert_int_equal(m->state.pool[k].n_free, m->state.pool[k].n_pages);
    hd_model_close(m);
    print_message("%" PRIu64 " steps, %" PRIu64 " tokens, %" PRIu64 " of %" PRIu64
                  " prompt positions skipped, %" PRIu64 " hits (%" PRIu64 " at a snapshot, %" PRIu64
                  " replayed), %" PRIu64 " preempted\n",
                  stats.n_steps, stats.n_generated, stats.n_cached, stats.n_prompt, stats.n_hits,
                  stats.n_snap_hits, stats.n_replays, stats.n_preempted);
    return stats;
}

static void test_plenty_of_room(void **state)
{
    (void)state;
    hd_sched_stats s = run_all(&(setting){.max_seqs = 6, .max_rows = 128, .snaps = 200});
    assert_true(s.n_snap_hits > 5 && s.n_replays > 5 && s.n_preempted == 0);
}

static void test_no_snapshots(void **state)
{
    (void)state;
    hd_sched_stats s = run_all(&(setting){.max_seqs = 3, .max_rows = 200, .snaps = 0});
    assert_true(s.n_replays > 10 && s.n_replayed > 0 && s.n_snap_hits == 0);
}

static void test_few_snapshots_small_chunks(void **state)
{
    (void)state;
    hd_sched_stats s = run_all(&(setting){.max_seqs = 5, .max_rows = 64, .chunk = 19, .snaps = 6});
    assert_true(s.n_snap_hits > 0 && s.n_replays > 0);
}

static void test_too_few_pages(void **state)
{
    (void)state;
    hd_sched_stats s = run_all(
        &(setting){.max_seqs = 6, .max_rows = 96, .kv_tokens = 1000, .snaps = 4, .cancels = true});
    assert_true(s.n_preempted > 0);
}

/* A model with pages for one text and no more. The path that the third request goes on from has two
 * pages of ratio 128 for the same 32 blocks, one from each of the others, and it must copy one. */
static void test_path_of_many_hands(void **state)
{
    (void)state;
    const hd_model_opts one_text = {.max_seqs = 1, .max_ctx = SCHEDRUN_TEXT};
    hd_model *m = modelrun_open(modelrun_synth("unit"), &schedrun_device, one_text);
    hd_model *other = modelrun_open(modelrun_synth("unit"), &schedrun_device, one_text);
    hd_sched *s = schedrun_open((hd_sched_opts){.model = m});
    for (int32_t i = 0; i < 3; i++) {
        schedrun_job want, *got = &jobs[i];
        schedrun_make(got, 2 * i, 1, 300 + i * 100, 20);
        for (int32_t k = 200; i > 0 && k < got->r.n_prompt; k++) got->text[k] = (k * 7) % 400;
        want = *got;
        want.r.text = want.text;
        want.r.owner = &want;
        schedrun_alone(other, &want);
        schedrun_add(s, got);
        schedrun_drain(s);
        assert_int_equal(got->r.end, HD_END_LENGTH);
        schedrun_check_same(got, &want);
    }
    hd_sched_stats stats;
    hd_sched_get_stats(s, &stats);
    assert_int_equal(stats.n_hits, 2);
    hd_sched_destroy(s);
    hd_model_close(other);
    hd_model_close(m);
}

static void test_refuses(void **state)
{
    (void)state;
    hd_err err = {0};
    hd_model *m = modelrun_open(modelrun_synth("unit"), &schedrun_device,
                                (hd_model_opts){.max_seqs = 2, .max_ctx = 300});
    hd_sched *s = schedrun_open((hd_sched_opts){.model = m});
    job *j = &jobs[0];
    make_job(j, 0);
    j->r.n_prompt = 300;
    assert_int_equal(hd_sched_add(s, &j->r, &err), HD_E_LIMIT);
    j->r.n_prompt = 0;
    assert_int_equal(hd_sched_add(s, &j->r, &err), HD_E_ARG);
    j->r.n_prompt = 5;
    j->text[3] = SCHEDRUN_VOCAB;
    assert_int_equal(hd_sched_add(s, &j->r, &err), HD_E_ARG);
    assert_non_null(strstr(err.text, "id 512 at place 3"));
    j->text[3] = 1;
    j->r.how.top_p = 2;
    assert_int_equal(hd_sched_add(s, &j->r, &err), HD_E_ARG);
    assert_int_equal(hd_sched_step(s, &err), HD_E_NOTFOUND);
    hd_sched_destroy(s);
    hd_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plenty_of_room),
        cmocka_unit_test(test_no_snapshots),
        cmocka_unit_test(test_few_snapshots_small_chunks),
        cmocka_unit_test(test_too_few_pages),
        cmocka_unit_test(test_path_of_many_hands),
        cmocka_unit_test(test_refuses),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
