/* A mixed soak of the engine: clients of every manner at once, for minutes or hours.
 *
 *   soak_engine [MINUTES] [SEED]            default 30, 1
 *
 * Clients submit requests of a fixed pool (shared beginnings, greedy and seeded, plain, with text,
 * log probabilities, echo, constraints), read them, cancel them at any point, let their events lie
 * for a while, or close with a deadline. A request's tokens must always be those of its first
 * complete run. Memory after a quarter of the time and at the end are compared; a line every ten
 * seconds. Ends with status 1 when a token differs, something hangs, or memory grows. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "hadal/engine.h"
#include "support/modelrun.h"

enum {
    N_CLIENTS = 6,
    N_POOL = 96,
    MAX_PROMPT = 700,
    MAX_NEW = 60,
    MAX_CTX = 900,
    WAIT_MS = 120000
};
#define MAX_GROWTH_BYTES ((int64_t)24 << 20) /* of the allocator's caches; a leak shows as more */

typedef struct request {
    int32_t ids[MAX_PROMPT];
    hd_submit submit;
    hd_constraint constraint;
    pthread_mutex_t lock;              /* of the answer */
    int32_t answer[MAX_NEW], n_answer; /* n_answer < 0: none yet */
} request;

static hd_engine *engine;
static request pool[N_POOL];
static uint64_t seed = 1;
static _Atomic int is_over;
static _Atomic uint64_t n_done, n_tokens, n_cancelled, n_abandoned, n_refused, n_timeouts, n_wrong;

static void fail(const char *what, const hd_err *err)
{
    fprintf(stderr, "soak_engine: %s: %s\n", what, err ? err->text : "");
    exit(1);
}

/* ---- the pool ---------------------------------------------------------------------------------*/

static void make_request(request *q, int32_t i)
{
    uint64_t key = hd_rng_key(seed, (uint64_t)i);
    int32_t shared = (int32_t)hd_rng_below(hd_rng_at(key, 0), 500);
    int32_t own = 1 + (int32_t)hd_rng_below(hd_rng_at(key, 1), 150), base = i % 5;
    for (int32_t k = 0; k < shared + own; k++)
        q->ids[k] = k < shared ? (k * k * (base + 3) + k) % 200 : (k * 31 + i * 7) % 200;
    q->submit = (hd_submit){.ids = q->ids,
                            .n_ids = shared + own,
                            .max_new = 1 + i % MAX_NEW,
                            .how = HD_SAMPLING_DEFAULT,
                            .group = (uint64_t)(i % 2),
                            .user = (uint64_t)(i % 3),
                            .priority = i % 7 == 0,
                            .output = (hd_output_kind)(i % 3),
                            .wants_logprobs = i % 4 == 0,
                            .n_top = i % 8 == 0 ? 20 : 0,
                            .wants_echo = i % 16 == 5};
    q->submit.how.temperature = (float)(i % 2);
    q->submit.how.seed = (uint64_t)i;
    q->constraint = (hd_constraint){.kind = i % 2 ? HD_GRAMMAR_OBJECT : HD_GRAMMAR_REGEX,
                                    .text = i % 2 ? "" : "[a-z]{4,40}",
                                    .len = i % 2 ? 0 : 11};
    if (i % 6 == 1 || i % 6 == 4) q->submit.constraint = &q->constraint;
    q->n_answer = -1;
    pthread_mutex_init(&q->lock, NULL);
}

static void compare(request *q, const int32_t *got, int32_t n, bool is_whole)
{
    pthread_mutex_lock(&q->lock);
    if (q->n_answer < 0 && is_whole) {
        memcpy(q->answer, got, (size_t)n * sizeof *got);
        q->n_answer = n;
    } else if (q->n_answer >= 0) {
        bool same = is_whole ? n == q->n_answer : n <= q->n_answer;
        if (!same || memcmp(q->answer, got, (size_t)n * sizeof *got) != 0) {
            fprintf(stderr, "soak_engine: request %td differs\n", q - pool);
            n_wrong++;
        }
    }
    pthread_mutex_unlock(&q->lock);
}

/* ---- clients ----------------------------------------------------------------------------------*/

typedef struct manner {
    int32_t cancel_at; /* tokens; −1: never */
    int32_t lie_ms;    /* before the first event is read */
} manner;

static void read_all(request *q, uint64_t id, const manner *m)
{
    hd_err err = {0};
    hd_event e;
    int32_t got[MAX_NEW], n = 0;
    if (m->cancel_at == 0) hd_engine_cancel(engine, id);
    if (m->lie_ms) usleep((useconds_t)m->lie_ms * 1000);
    for (;;) {
        if (hd_engine_next(engine, id, WAIT_MS, &e, &err) != HD_OK) fail("no event", &err);
        if (e.kind == HD_EVENT_END) break;
        if (e.kind != HD_EVENT_TOKEN) continue;
        got[n++] = e.token;
        if (n == m->cancel_at) hd_engine_cancel(engine, id);
    }
    if (e.end == HD_END_FAILED) fail("a request failed", &e.err);
    compare(q, got, n, e.end == HD_END_STOP || e.end == HD_END_LENGTH);
    n_done++;
    n_tokens += (uint64_t)n;
    n_cancelled += e.end == HD_END_CANCELLED;
    n_timeouts += e.end == HD_END_TIMEOUT;
}

static void *client(void *arg)
{
    uint64_t n = 0, key = hd_rng_key(seed, 1000 + (uint64_t)(uintptr_t)arg);
    while (!atomic_load(&is_over)) {
        hd_err err = {0};
        uint64_t id;
        request *q = &pool[hd_rng_below(hd_rng_at(key, n++), N_POOL)];
        hd_submit s = q->submit;
        uint64_t dice = hd_rng_below(hd_rng_at(key, n++), 100);
        manner m = {.cancel_at = dice < 30 ? (int32_t)(dice % 20) : -1,
                    .lie_ms = dice >= 30 && dice < 40 ? (int32_t)(dice * 20) : 0};
        if (dice >= 40 && dice < 45) s.timeout_ms = 1 + (int64_t)(dice - 40) * 20;
        hd_status st = hd_engine_submit(engine, &s, &id, &err);
        if (st == HD_E_LIMIT) {
            n_refused++;
            usleep(1000);
            continue;
        }
        if (st != HD_OK) fail("a request was refused", &err);
        n_abandoned += m.lie_ms > 0;
        read_all(q, id, &m);
    }
    return NULL;
}

/* ---- memory -----------------------------------------------------------------------------------*/

static int64_t resident_bytes(void)
{
    long pages = 0, unused;
    FILE *f = fopen("/proc/self/statm", "r");
    if (!f || fscanf(f, "%ld %ld", &unused, &pages) != 2)
        fail("cannot read /proc/self/statm", NULL);
    fclose(f);
    return (int64_t)pages * sysconf(_SC_PAGESIZE);
}

static void print_line(double minutes, int64_t bytes)
{
    hd_engine_stats s;
    hd_engine_get_stats(engine, &s);
    printf("%6.1f min  %7.1f MB  %8" PRIu64 " requests  %9" PRIu64 " tokens  %7" PRIu64
           " cancelled  %6" PRIu64 " late  %6" PRIu64 " let lie  %8" PRIu64 " hits  %6" PRIu64
           " preempted  %7" PRIu64 " evicted\n",
           minutes, (double)bytes * 1e-6, n_done, n_tokens, n_cancelled, n_timeouts, n_abandoned,
           s.n_hits, s.n_preempted, s.n_evicted);
    fflush(stdout);
}

static int64_t watch(double minutes)
{
    int64_t start = hd_clock_ns(), early = 0, now = 0;
    for (;;) {
        sleep(10);
        double passed = (double)(hd_clock_ns() - start) / 60e9;
        now = resident_bytes();
        print_line(passed, now);
        if (early == 0 && passed >= minutes / 4) early = now;
        if (passed >= minutes) return now - early;
    }
}

int main(int argc, char **argv)
{
    double minutes = argc > 1 ? strtod(argv[1], NULL) : 30.0;
    if (argc > 2) seed = strtoull(argv[2], NULL, 10);
    hd_err err = {0};
    pthread_t thread[N_CLIENTS];
    hd_engine_opts opts = {.model = {.n_threads = 1,
                                     .max_seqs = 5,
                                     .max_ctx = MAX_CTX,
                                     .max_rows = 96,
                                     .kv_tokens = 1300},
                           .max_requests = 5,
                           .snapshot_mb = 2};
    modelrun_check(hd_engine_open(modelrun_synth("unit"), &opts, &engine, &err), "open", &err);
    for (int32_t i = 0; i < N_POOL; i++) make_request(&pool[i], i);
    for (uintptr_t i = 0; i < N_CLIENTS; i++) pthread_create(&thread[i], NULL, client, (void *)i);
    int64_t growth = watch(minutes);
    atomic_store(&is_over, 1);
    for (int i = 0; i < N_CLIENTS; i++) pthread_join(thread[i], NULL);
    hd_engine_close(engine);
    printf("memory grew by %.1f MB since a quarter of the time; %" PRIu64 " wrong answers\n",
           (double)growth * 1e-6, n_wrong);
    return n_wrong || growth > MAX_GROWTH_BYTES;
}
