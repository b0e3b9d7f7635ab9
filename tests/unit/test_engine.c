/* The engine from outside: many threads, cancels, deadlines, readers that do not read; every answer
 * is that of a run alone. Run under ThreadSanitizer too. */
#include <inttypes.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/mem.h"
#include "hadal/engine.h"
#include "support/modelrun.h"

enum { MAX_CTX = 700, N_THREADS = 4, EACH = 4, N = N_THREADS * EACH, MAX_NEW = 40 };
enum { WAIT_MS = 600000 }; /* sanitizers on a busy machine are slow */

typedef struct request {
    int32_t ids[300], n_ids;
    int32_t want[MAX_NEW], n_want;
    hd_sampling how;
} request;

static hd_engine *engine;
static request requests[N];

static void make_request(request *q, int32_t i)
{
    *q = (request){.n_ids = 100 + i * 11, .how = HD_SAMPLING_DEFAULT};
    for (int32_t k = 0; k < q->n_ids; k++)
        q->ids[k] = k < 150 ? (k * k * 7 + k) % 400 : (k * 13 + i * 7) % 400;
    q->how.temperature = i % 2 ? 1.0f : 0.0f;
    q->how.seed = (uint64_t)i;
}

static uint64_t submit(const request *q, int32_t max_new, int64_t timeout_ms)
{
    hd_err err = {0};
    uint64_t id = 0;
    hd_submit s = {.ids = q->ids,
                   .n_ids = q->n_ids,
                   .max_new = max_new,
                   .ignore_eos = 1,
                   .how = q->how,
                   .timeout_ms = timeout_ms};
    modelrun_check(hd_engine_submit(engine, &s, &id, &err), "hd_engine_submit", &err);
    return id;
}

/* Tokens to out; returns how it ended. */
static hd_event read_all(uint64_t id, int32_t *out, int32_t *n)
{
    hd_err err = {0};
    hd_event e;
    for (*n = 0;;) {
        modelrun_check(hd_engine_next(engine, id, WAIT_MS, &e, &err), "hd_engine_next", &err);
        if (e.kind == HD_EVENT_END) return e;
        if (*n < MAX_NEW) out[*n] = e.token;
        ++*n;
    }
}

/* The answers of a plain loop over the model. */
static void expect_answers(void)
{
    hd_err err = {0};
    static const modelrun_device fastest = {"cpu", NULL};
    hd_model *m = modelrun_open(modelrun_synth("unit"), &fastest,
                                (hd_model_opts){.max_seqs = 1, .max_ctx = MAX_CTX});
    int32_t v = m->cfg.vocab_size, text[400];
    float *logits = hd_mem_calloc((size_t)v, sizeof *logits);
    hd_sampler *sampler;
    modelrun_check(hd_sampler_create(v, &sampler, &err), "sampler", &err);
    for (int32_t i = 0; i < N; i++) {
        request *q = &requests[i];
        hd_seq *seq;
        make_request(q, i);
        memcpy(text, q->ids, sizeof q->ids);
        modelrun_check(hd_seq_create(m, &seq, &err), "hd_seq_create", &err);
        for (int32_t n = q->n_ids, fed = 0; q->n_want < MAX_NEW; n++) {
            hd_step_item item = {seq, text + fed, n - fed, 1, logits};
            hd_sample_args draw = {logits,    &q->how,          (uint64_t)n, text,
                                   (size_t)n, (size_t)q->n_ids, NULL};
            modelrun_check(hd_model_step(m, &item, 1, &err), "hd_model_step", &err);
            modelrun_check(hd_sampler_draw(sampler, &draw, &text[n], &err), "draw", &err);
            q->want[q->n_want++] = text[n];
            fed = n;
        }
        hd_seq_destroy(seq);
    }
    hd_sampler_destroy(sampler);
    hd_mem_free(logits);
    hd_model_close(m);
}

static int set_up(void **state)
{
    (void)state;
    hd_err err = {0};
    hd_engine_opts opts = {
        .model = {.n_threads = 1, .max_seqs = 5, .max_ctx = MAX_CTX, .max_rows = 96},
        .max_requests = N + 4,
        .snapshot_mb = 64};
    expect_answers();
    modelrun_check(hd_engine_open(modelrun_synth("unit"), &opts, &engine, &err), "open", &err);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    submit(&requests[0], 600, 0); /* ended by close, never read */
    hd_engine_close(engine);
    hd_engine_close(NULL);
    return 0;
}

static void *client(void *arg)
{
    const request *mine = arg;
    uint64_t id[EACH];
    int32_t got[MAX_NEW], n;
    for (int i = 0; i < EACH; i++) id[i] = submit(&mine[i], MAX_NEW, 0);
    for (int i = 0; i < EACH; i++) {
        hd_event end = read_all(id[i], got, &n);
        if (end.end != HD_END_LENGTH || n != MAX_NEW || end.n_generated != MAX_NEW ||
            end.n_prompt != mine[i].n_ids || memcmp(got, mine[i].want, sizeof got) != 0)
            return arg;
    }
    return NULL;
}

static void test_many_threads(void **state)
{
    (void)state;
    pthread_t thread[N_THREADS];
    hd_engine_stats stats;
    for (int round = 0; round < 2; round++) { /* the second finds prefixes */
        for (int i = 0; i < N_THREADS; i++)
            pthread_create(&thread[i], NULL, client, &requests[i * EACH]);
        for (int i = 0; i < N_THREADS; i++) {
            void *failed;
            pthread_join(thread[i], &failed);
            assert_null(failed);
        }
    }
    do { /* counts come a moment behind the events */
        usleep(1000);
        hd_engine_get_stats(engine, &stats);
    } while (stats.n_generated < 2 * N * MAX_NEW || stats.n_running > 0);
    assert_int_equal(stats.n_generated, 2 * N * MAX_NEW);
    assert_true(stats.n_hits > 0 && stats.n_cached > 0);
}

static void test_cancel_and_stale_numbers(void **state)
{
    (void)state;
    hd_err err = {0};
    hd_event e;
    int32_t got[MAX_NEW], n;
    uint64_t id = submit(&requests[1], 500, 0);
    modelrun_check(hd_engine_next(engine, id, WAIT_MS, &e, &err), "hd_engine_next", &err);
    assert_int_equal(e.token, requests[1].want[0]);
    hd_engine_cancel(engine, id);
    e = read_all(id, got, &n);
    assert_int_equal(e.end, HD_END_CANCELLED);
    assert_true(e.n_generated < 500);
    assert_memory_equal(got, requests[1].want + 1, (size_t)(n < 39 ? n : 39) * sizeof *got);
    hd_engine_cancel(engine, id); /* nothing */
    assert_int_equal(hd_engine_next(engine, id, 0, &e, &err), HD_E_NOTFOUND);
    assert_int_equal(hd_engine_next(engine, 0, 0, &e, &err), HD_E_NOTFOUND);
    assert_int_equal(hd_engine_next(engine, 1ull << 32 | 99999, 0, &e, &err), HD_E_NOTFOUND);
}

static void test_deadline(void **state)
{
    (void)state;
    int32_t got[MAX_NEW], n;
    int64_t t0 = hd_clock_ns();
    hd_event e = read_all(submit(&requests[2], 590, 1), got, &n);
    assert_int_equal(e.end, HD_END_TIMEOUT);
    assert_true(hd_clock_ns() - t0 < (int64_t)30 * 1000000000);
}

/* A full ring stops only its own request, which goes on when it is read. */
/* Who does not come to run in time ends; who runs may take as long as it likes. */
static void test_queue_deadline(void **state)
{
    (void)state;
    hd_err err = {0};
    uint64_t busy[N], late, early;
    int32_t got[MAX_NEW], n;
    const request *q = &requests[0];
    hd_submit s = {.ids = q->ids,
                   .n_ids = q->n_ids,
                   .max_new = MAX_NEW,
                   .ignore_eos = 1,
                   .how = q->how,
                   .queue_timeout_ms = 30000};
    modelrun_check(hd_engine_submit(engine, &s, &early, &err), "hd_engine_submit", &err);
    for (int32_t i = 0; i < N; i++) busy[i] = submit(q, MAX_NEW, 0);
    s.queue_timeout_ms = 1;
    s.priority = -1;
    modelrun_check(hd_engine_submit(engine, &s, &late, &err), "hd_engine_submit", &err);
    hd_event end = read_all(late, got, &n);
    assert_int_equal(end.end, HD_END_TIMEOUT);
    assert_int_equal(n, 0);
    assert_int_equal(read_all(early, got, &n).end, HD_END_LENGTH);
    for (int32_t i = 0; i < N; i++) assert_int_equal(read_all(busy[i], got, &n).end, HD_END_LENGTH);
    s.queue_timeout_ms = -1;
    assert_int_equal(hd_engine_submit(engine, &s, &late, &err), HD_E_ARG);
}

static void test_slow_reader(void **state)
{
    (void)state;
    int32_t got[MAX_NEW], n;
    hd_err err = {0};
    uint64_t slow;
    request *q = &requests[0];
    hd_submit s = {.ids = q->ids, /* more than its ring holds */
                   .n_ids = q->n_ids,
                   .max_new = 300,
                   .ignore_eos = 1,
                   .how = q->how,
                   .wants_logprobs = 1,
                   .n_top = 20};
    modelrun_check(hd_engine_submit(engine, &s, &slow, &err), "hd_engine_submit", &err);
    hd_engine_stats a, b;
    do {
        usleep(2000);
        hd_engine_get_stats(engine, &a);
        usleep(20000);
        hd_engine_get_stats(engine, &b);
    } while (b.n_generated != a.n_generated || b.n_running == 0);
    hd_event e = read_all(submit(&requests[3], MAX_NEW, 0), got, &n);
    assert_int_equal(e.end, HD_END_LENGTH);
    assert_memory_equal(got, requests[3].want, sizeof got);
    e = read_all(slow, got, &n);
    assert_int_equal(e.end, HD_END_LENGTH);
    assert_int_equal(n, 300);
    assert_memory_equal(got, q->want, sizeof got);
}

static void test_refuses(void **state)
{
    (void)state;
    hd_err err = {0};
    uint64_t id, taken[N + 4];
    hd_event e;
    int32_t got[MAX_NEW], n;
    request *q = &requests[0];
    hd_submit s = {.ids = q->ids, .n_ids = q->n_ids, .max_new = 0, .how = q->how};
    assert_int_equal(hd_engine_submit(engine, &s, &id, &err), HD_E_ARG);
    s.max_new = 1;
    s.timeout_ms = -1;
    assert_int_equal(hd_engine_submit(engine, &s, &id, &err), HD_E_ARG);
    s.timeout_ms = 0;
    s.how.top_p = 3;
    assert_int_equal(hd_engine_submit(engine, &s, &id, &err), HD_E_ARG);
    s.how = q->how;
    s.n_ids = MAX_CTX;
    assert_int_equal(hd_engine_submit(engine, &s, &id, &err), HD_E_LIMIT);
    static const int32_t outside[] = {512};
    s.ids = outside;
    s.n_ids = 1;
    modelrun_check(hd_engine_submit(engine, &s, &id, &err), "hd_engine_submit", &err);
    e = read_all(id, got, &n);
    assert_int_equal(e.end, HD_END_FAILED);
    assert_non_null(strstr(e.err.text, "id 512 at place 0"));
    for (int i = 0; i < N + 4; i++) taken[i] = submit(q, 1, 0);
    s.ids = q->ids;
    assert_int_equal(hd_engine_submit(engine, &s, &id, &err), HD_E_BUSY);
    assert_non_null(strstr(err.text, "all 20 requests are taken"));
    for (int i = 0; i < N + 4; i++) (void)read_all(taken[i], got, &n);
}

static void test_open_refuses(void **state)
{
    (void)state;
    hd_err err = {0};
    hd_engine *e;
    assert_int_equal(hd_engine_open("/nonexistent", NULL, &e, &err), HD_E_NOTFOUND);
    assert_null(e);
    hd_engine_opts opts = {.max_requests = -1};
    assert_int_equal(hd_engine_open(modelrun_synth("unit"), &opts, &e, &err), HD_E_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_refuses),
        cmocka_unit_test(test_many_threads),
        cmocka_unit_test(test_cancel_and_stale_numbers),
        cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_queue_deadline),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_refuses),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
