/* The queue: order, fullness, waking, and many threads at once (run under ThreadSanitizer too). */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/queue.h"

static hd_queue *make(uint32_t cap)
{
    hd_err err = {0};
    hd_queue *q = NULL;
    assert_int_equal(hd_queue_create(cap, &q, &err), HD_OK);
    return q;
}

static double now_s(void)
{
    return 1e-9 * (double)hd_clock_ns();
}

static void test_refuses(void **state)
{
    (void)state;
    static const uint32_t bad[] = {0, 3, 48, HD_QUEUE_MAX * 2};
    hd_err err = {0};
    hd_queue *q;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(hd_queue_create(bad[i], &q, &err), HD_E_ARG);
    hd_queue_destroy(NULL);
}

static void test_order_and_fullness(void **state)
{
    (void)state;
    static int things[8];
    void *item;
    hd_queue *q = make(4);
    assert_false(hd_queue_pop(q, &item));
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 4; i++) assert_true(hd_queue_push(q, &things[i]));
        assert_false(hd_queue_push(q, &things[4]));
        assert_true(hd_queue_pop(q, &item));
        assert_ptr_equal(item, &things[0]);
        assert_true(hd_queue_push(q, &things[5]));
        for (int i = 1; i < 4; i++) {
            assert_true(hd_queue_pop(q, &item));
            assert_ptr_equal(item, &things[i]);
        }
        assert_true(hd_queue_pop(q, &item));
        assert_ptr_equal(item, &things[5]);
        assert_false(hd_queue_pop(q, &item));
    }
    hd_queue_destroy(q);
}

static void test_wait_ends(void **state)
{
    (void)state;
    int thing;
    hd_queue *q = make(2);
    double t0 = now_s();
    assert_false(hd_queue_wait(q, 20));
    assert_true(now_s() - t0 > 0.015);
    hd_queue_wake(q); /* before the wait: not lost */
    assert_false(hd_queue_wait(q, 60000));
    assert_true(hd_queue_push(q, &thing));
    assert_true(hd_queue_wait(q, 60000));
    assert_true(hd_queue_wait(q, 60000)); /* still there */
    assert_true(now_s() - t0 < 30);
    hd_queue_destroy(q);
}

enum { PRODUCERS = 4, EACH = 20000 };
static hd_queue *shared;
static uint32_t items[PRODUCERS][EACH];

static void *produce(void *arg)
{
    uint32_t *mine = arg;
    for (int i = 0; i < EACH; i++) {
        mine[i] = (uint32_t)i;
        while (!hd_queue_push(shared, &mine[i])) sched_yield();
    }
    return NULL;
}

/* Every item once, those of a thread in order, and no wait that sleeps through a push. */
static void test_many_threads(void **state)
{
    (void)state;
    pthread_t thread[PRODUCERS];
    uint32_t next[PRODUCERS] = {0};
    shared = make(64);
    for (int i = 0; i < PRODUCERS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, produce, items[i]), 0);
    for (int n = 0; n < PRODUCERS * EACH;) {
        void *item;
        if (!hd_queue_pop(shared, &item)) {
            /* A wake for an item already popped may end any wait early, with nothing there; one
             * that lasts has slept through a push. */
            double t0 = now_s();
            (void)hd_queue_wait(shared, 60000);
            assert_true(now_s() - t0 < 30);
            continue;
        }
        size_t at = (size_t)((uint32_t *)item - &items[0][0]);
        assert_int_equal(at % EACH, next[at / EACH]);
        assert_int_equal(*(uint32_t *)item, next[at / EACH]++);
        n++;
    }
    for (int i = 0; i < PRODUCERS; i++) pthread_join(thread[i], NULL);
    hd_queue_destroy(shared);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_order_and_fullness),
        cmocka_unit_test(test_wait_ends),
        cmocka_unit_test(test_many_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
