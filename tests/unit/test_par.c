/* The spinning team: every thread runs, barriers hold, work is shared without gaps, and teams
 * larger than the machine, resting teams and single threads behave the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/par.h"

enum { N_PHASES = 50, N_ITEMS = 1000 };

typedef struct job {
    hd_par *par;
    int n_threads;
    int calls[HD_PAR_MAX_THREADS]; /* plain: written by one thread each */
    int phase[HD_PAR_MAX_THREADS]; /* plain: read by all behind a barrier */
    _Atomic int torn;              /* barrier violations */
    unsigned char seen[N_ITEMS];   /* plain: each item is one thread's */
    int64_t sum_begin[HD_PAR_MAX_THREADS];
} job;

static void count_call(void *arg, int i)
{
    ((job *)arg)->calls[i]++;
}

static void walk_phases(void *arg, int i)
{
    job *j = arg;
    for (int p = 0; p < N_PHASES; p++) {
        j->phase[i] = p;
        hd_par_barrier(j->par);
        for (int k = 0; k < j->n_threads; k++) {
            if (j->phase[k] != p) atomic_fetch_add(&j->torn, 1);
        }
        hd_par_barrier(j->par);
    }
}

static void take_items(void *arg, int i)
{
    job *j = arg;
    (void)i;
    for (;;) {
        int64_t first = hd_par_take(j->par, 2, 7);
        if (first >= N_ITEMS) return;
        for (int64_t k = first; k < first + 7 && k < N_ITEMS; k++) j->seen[k]++;
    }
}

static void split_items(void *arg, int i)
{
    job *j = arg;
    hd_par_range r = hd_par_split(N_ITEMS, 16, i, j->n_threads);
    for (int64_t k = r.begin; k < r.end; k++) j->seen[k]++;
    j->sum_begin[i] = r.begin;
}

static void check_items(job *j)
{
    for (int k = 0; k < N_ITEMS; k++) assert_int_equal(j->seen[k], 1);
    memset(j->seen, 0, sizeof j->seen);
}

static void check_team(int n_threads, int n_runs)
{
    static job j;
    memset(&j, 0, sizeof j);
    assert_int_equal(hd_par_create(n_threads, &j.par, NULL), HD_OK);
    j.n_threads = hd_par_n_threads(j.par);
    if (n_threads) assert_int_equal(j.n_threads, n_threads);
    for (int run = 0; run < n_runs; run++) {
        hd_par_run(j.par, count_call, &j);
        if (run % 3 == 0) hd_par_rest(j.par);
        hd_par_run(j.par, take_items, &j);
        check_items(&j);
        hd_par_run(j.par, split_items, &j);
        check_items(&j);
    }
    for (int i = 0; i < j.n_threads; i++) assert_int_equal(j.calls[i], n_runs);
    for (int i = 0; i < j.n_threads; i++) assert_int_equal(j.sum_begin[i] % 16, 0);
    hd_par_run(j.par, walk_phases, &j);
    assert_int_equal(atomic_load(&j.torn), 0);
    hd_par_destroy(j.par);
}

static void test_one_thread(void **state)
{
    (void)state;
    check_team(1, 20);
}

static void test_one_per_cpu(void **state)
{
    (void)state;
    check_team(0, 200);
}

static void test_more_threads_than_cpus(void **state)
{
    (void)state;
    check_team(hd_par_n_cpus() + 3, 20);
}

/* Helpers fall asleep after a pause in the middle of the spinning time and beyond it. */
static void test_wakes_after_sleep(void **state)
{
    (void)state;
    static job j;
    memset(&j, 0, sizeof j);
    assert_int_equal(hd_par_create(2, &j.par, NULL), HD_OK);
    j.n_threads = 2;
    for (int run = 0; run < 8; run++) {
        nanosleep(&(struct timespec){.tv_nsec = run % 2 ? 50000 : 2000000}, NULL);
        hd_par_run(j.par, count_call, &j);
    }
    assert_int_equal(j.calls[0], 8);
    assert_int_equal(j.calls[1], 8);
    hd_par_destroy(j.par);
}

static void test_split_edges(void **state)
{
    (void)state;
    for (int n = 0; n < 70; n++) {
        for (int parts = 1; parts < 6; parts++) {
            int64_t at = 0;
            for (int i = 0; i < parts; i++) {
                hd_par_range r = hd_par_split(n, 8, i, parts);
                assert_true(r.begin == at && r.end >= r.begin);
                at = r.end;
            }
            assert_int_equal(at, n);
        }
    }
}

static void test_refuses(void **state)
{
    (void)state;
    hd_par *par;
    hd_err err;
    assert_int_equal(hd_par_create(-1, &par, &err), HD_E_ARG);
    assert_string_equal(err.text, "cannot run -1 threads, expected 1 to 256");
    assert_int_equal(hd_par_create(HD_PAR_MAX_THREADS + 1, &par, &err), HD_E_ARG);
    for (int n = 0; n < 4; n++) { /* team, then each helper's argument */
        hd_mem_fail_after(n);
        hd_status status = hd_par_create(4, &par, &err);
        hd_mem_fail_after(-1);
        assert_int_equal(status, HD_E_NOMEM);
        assert_null(par);
    }
    hd_par_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_thread),
        cmocka_unit_test(test_one_per_cpu),
        cmocka_unit_test(test_more_threads_than_cpus),
        cmocka_unit_test(test_wakes_after_sleep),
        cmocka_unit_test(test_split_edges),
        cmocka_unit_test(test_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
