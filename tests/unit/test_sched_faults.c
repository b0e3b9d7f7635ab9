/* A device that fails at any transfer of a step, a snapshot or a draft: who was running is told,
 * who waited goes on, and whoever comes later gets the tokens and bits of a healthy run, also
 * behind prefixes that were cached before the fault. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "support/schedrun.h"

enum { N_JOBS = 3 };

static schedrun_job *alone, *jobs, *again; /* [N_JOBS] */

/* ---- the fault --------------------------------------------------------------------------------*/

static hd_dev_mem_ops healthy;
static long n_left; /* transfers that still succeed; the one behind them fails, others do not */

static bool only_copies; /* others are not counted */

static bool fails_now(bool is_copy)
{
    return (is_copy || !only_copies) && n_left-- == 0;
}

static hd_status upload(hd_stream *s, void *dst, const void *src, size_t bytes)
{
    return fails_now(false) ? HD_E_DEVICE : healthy.upload(s, dst, src, bytes);
}

static hd_status download(hd_stream *s, void *dst, const void *src, size_t bytes)
{
    return fails_now(false) ? HD_E_DEVICE : healthy.download(s, dst, src, bytes);
}

static hd_status copy2d(hd_stream *s, void *dst, size_t dst_stride, const void *src,
                        size_t src_stride, size_t row_bytes, size_t n_rows)
{
    return fails_now(true) ? HD_E_DEVICE
                           : healthy.copy2d(s, dst, dst_stride, src, src_stride, row_bytes, n_rows);
}

static void bend(hd_model *m)
{
    healthy = m->dev->mem;
    m->dev->mem.upload = upload;
    m->dev->mem.download = download;
    m->dev->mem.copy2d = copy2d;
}

/* ---- runs -------------------------------------------------------------------------------------*/

static void make_job(schedrun_job *j, int32_t i)
{
    schedrun_make(j, i, i / 2, 140 + 60 * i, 12);
    j->r.how.temperature = 30;
    j->r.ignores_eos = true;
}

/* The schedule with a fault behind n transfers; false when it has fewer. */
static bool run_with_fault(hd_model *m, hd_guess_kind kind, long n, uint64_t *n_failed)
{
    hd_err err = {0};
    hd_status st;
    hd_sched *s = schedrun_open((hd_sched_opts){
        .model = m, .snap_budget = 9 * hd_v4_snap_bytes(m), .chunk = 150, .draft = kind});
    for (int32_t i = 0; i < N_JOBS; i++) {
        make_job(&jobs[i], i);
        schedrun_add(s, &jobs[i]);
    }
    n_left = n;
    while ((st = hd_sched_step(s, &err)) != HD_E_NOTFOUND)
        if (st != HD_OK) assert_int_equal(st, HD_E_DEVICE);
    bool has_failed = n_left < 0;
    n_left = -1;
    for (int32_t i = 0; i < N_JOBS; i++) {
        assert_true(jobs[i].done_at > 0);
        *n_failed += jobs[i].r.end == HD_END_FAILED;
        if (jobs[i].r.end == HD_END_FAILED) {
            assert_int_equal(jobs[i].r.err.code, HD_E_DEVICE);
            continue;
        }
        schedrun_check_same(&jobs[i], &alone[i]);
    }
    for (int32_t i = 0; i < N_JOBS; i++) {
        make_job(&again[i], i);
        schedrun_add(s, &again[i]);
    }
    schedrun_drain(s);
    for (int32_t i = 0; i < N_JOBS; i++) schedrun_check_same(&again[i], &alone[i]);
    hd_sched_destroy(s);
    for (int k = 0; k < HD_PAGE_KINDS; k++)
        assert_int_equal(m->state.pool[k].n_free, m->state.pool[k].n_pages);
    return has_failed;
}

static void run_kind(const char *preset, hd_guess_kind kind)
{
    hd_model *m =
        modelrun_open(modelrun_synth(preset), &schedrun_device,
                      (hd_model_opts){.max_seqs = 2, .max_ctx = SCHEDRUN_TEXT, .load_draft = 1});
    for (int32_t i = 0; i < N_JOBS; i++) {
        make_job(&alone[i], i);
        schedrun_alone(m, &alone[i]);
    }
    bend(m);
    uint64_t n_failed = 0, n_runs = 0;
    long n = 0;
    for (; run_with_fault(m, kind, n, &n_failed); n += 1 + n / 2) n_runs++;
    print_message("%" PRIu64 " runs with a fault, the last behind %ld transfers at most: %" PRIu64
                  " requests failed\n",
                  n_runs, n, n_failed);
    assert_true(n_runs > 5 && n_failed >= n_runs);
    m->dev->mem = healthy;
    hd_model_close(m);
}

/* Without drafts only snapshots are copied: one that was not saved must not be found later. */
static void test_snapshots(void **state)
{
    (void)state;
    only_copies = true;
    run_kind("unit", HD_GUESS_NONE);
    only_copies = false;
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

static int set_up(void **state)
{
    (void)state;
    alone = hd_mem_calloc(N_JOBS, sizeof *alone);
    jobs = hd_mem_calloc(N_JOBS, sizeof *jobs);
    again = hd_mem_calloc(N_JOBS, sizeof *again);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hd_mem_free(alone);
    hd_mem_free(jobs);
    hd_mem_free(again);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshots),
        cmocka_unit_test(test_lookup),
        cmocka_unit_test(test_dspark),
        cmocka_unit_test(test_mtp),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
