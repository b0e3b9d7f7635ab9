/* The matrix: requests under every setting of the engine at random, each compared with a run alone,
 * token by token and bit by bit of the logits that it was drawn from.
 *
 *   test_matrix [TOKENS] [SEED]     until so many tokens were compared (default 3000; the long form
 * is `make matrix`), half of them greedy, half at temperature 1
 *
 * Requests are pieces of conversations: some begin as another's text, some go on from all of it,
 * some leave it in the middle. A cell is a setting (sequences, rows of a step, chunk, threads,
 * pages, snapshots) and a random order, spread and cancelling of all requests; within a cell they
 * come twice, so that the second finds what the first has left. What happened is counted; a run in
 * which something never did has proven nothing about it, and fails. */
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
#include "support/schedrun.h"

enum { N = 32, MAX_BATCH = 16 };

static uint64_t want_tokens = 3000, seed = 1;
static schedrun_job *alone, *jobs; /* [N] */

typedef struct counts {
    uint64_t tokens, greedy, cells;
    uint64_t echoed; /* prompt rows told */
    uint64_t ram_hits, forks, rewinds, preemptions, cancels, replayed, snap_hits, evictions;
    uint64_t threads[3];             /* cells with so many */
    uint64_t running[MAX_BATCH + 1]; /* steps with so many sequences */
} counts;

static counts seen;

/* ---- random numbers ---------------------------------------------------------------------------*/

static uint64_t n_drawn;

static int32_t below(int32_t n)
{
    return (int32_t)hd_rng_below(hd_rng_at(hd_rng_key(seed, 5), n_drawn++), (uint64_t)n);
}

/* Small numbers as often as large ones. */
static int32_t spread(int32_t max)
{
    int32_t n = 1 + below(max), m = 1 + below(max);
    return n < m ? n : m;
}

/* ---- requests ---------------------------------------------------------------------------------*/

static void make_request(int32_t i)
{
    schedrun_job *j = &alone[i];
    int32_t shared = below(500), own = 1 + below(120), kind = i < 8 ? 0 : below(4);
    const schedrun_job *before = i ? &alone[below(i)] : NULL;
    schedrun_make(j, i, below(3), shared + own, 1 + below(60));
    if (kind >= 2) { /* the text of another, all of it or up to somewhere, and something new */
        int32_t n = kind == 2 ? before->r.n_text : 1 + below(before->r.n_text);
        if (n + own > SCHEDRUN_TEXT - 60) n = SCHEDRUN_TEXT - 60 - own;
        memcpy(j->text, before->text, (size_t)n * sizeof *j->text);
        for (int32_t k = 0; k < own; k++) j->text[n + k] = (k * 31 + i * 7) % 400;
        j->r.n_prompt = n + own;
    }
    j->r.how.temperature = (float)(i % 2);
    j->r.how.seed = seed + (uint64_t)i;
    j->r.group = kind >= 2 ? before->r.group : (uint64_t)below(2);
    j->r.user = (uint64_t)below(3);
    j->r.priority = below(2);
    j->r.wants_echo = i % 8 == 5;
}

static int set_up(void **state)
{
    (void)state;
    hd_model *m = modelrun_open(modelrun_synth("unit"), &schedrun_device,
                                (hd_model_opts){.max_seqs = 1, .max_ctx = SCHEDRUN_TEXT});
    alone = hd_mem_calloc(N, sizeof *alone);
    jobs = hd_mem_calloc(N, sizeof *jobs);
    for (int32_t i = 0; i < N; i++) {
        make_request(i);
        schedrun_alone(m, &alone[i]);
    }
    hd_model_close(m);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hd_mem_free(alone);
    hd_mem_free(jobs);
    return 0;
}

/* ---- cells ------------------------------------------------------------------------------------*/

static void copy_request(int32_t i)
{
    const schedrun_job *from = &alone[i];
    schedrun_job *j = &jobs[i];
    *j = (schedrun_job){.r = {.id = (uint64_t)i,
                              .text = j->text,
                              .n_prompt = from->r.n_prompt,
                              .max_new = from->r.max_new,
                              .how = from->r.how,
                              .group = from->r.group,
                              .user = from->r.user,
                              .priority = from->r.priority,
                              .wants_echo = from->r.wants_echo,
                              .owner = j}};
    memcpy(j->text, from->text, (size_t)from->r.n_prompt * sizeof *j->text);
    if (below(6) == 0) j->cancel_at = 1 + below(j->r.max_new);
}

static void shuffle(int32_t *order)
{
    for (int32_t i = 0; i < N; i++) order[i] = i;
    for (int32_t i = N - 1; i > 0; i--) {
        int32_t k = below(i + 1), x = order[i];
        order[i] = order[k];
        order[k] = x;
    }
}

static bool step(hd_sched *s)
{
    hd_sched_stats now;
    bool was_busy = schedrun_step(s);
    hd_sched_get_stats(s, &now);
    if (was_busy && now.n_running <= MAX_BATCH) seen.running[now.n_running]++;
    return was_busy;
}

/* All requests once, at random times. */
static void run_round(hd_sched *s, int32_t *order)
{
    int32_t pause = 1 + below(12);
    shuffle(order);
    for (int32_t i = 0; i < N; i++) copy_request(i);
    for (int32_t i = 0; i < N; i++) {
        schedrun_add(s, &jobs[order[i]]);
        for (int32_t k = below(pause); k > 0; k--) (void)step(s);
    }
    while (step(s));
    for (int32_t i = 0; i < N; i++) {
        uint64_t n = (uint64_t)hd_request_n_new(&jobs[i].r);
        schedrun_check_same(&jobs[i], &alone[i]);
        seen.tokens += n;
        seen.greedy += i % 2 ? 0 : n;
        seen.cancels += jobs[i].r.end == HD_END_CANCELLED;
        seen.echoed += (uint64_t)jobs[i].n_told;
    }
}

static void count(const hd_sched *s)
{
    hd_sched_stats a;
    hd_prefix_stats p;
    hd_sched_get_stats(s, &a);
    hd_prefix_get_stats(hd_sched_prefix(s), &p);
    seen.ram_hits += a.n_hits;
    seen.forks += a.n_forks;
    seen.snap_hits += a.n_snap_hits;
    seen.rewinds += a.n_hits - a.n_snap_hits;
    seen.replayed += a.n_replayed;
    seen.preemptions += a.n_preempted;
    seen.evictions += p.n_evicted;
}

static void run_cell(void)
{
    int32_t order[N], n_threads = 1 + below(2);
    hd_model_opts opts = {.n_threads = n_threads,
                          .max_seqs = spread(MAX_BATCH),
                          .max_rows = 64 + below(3) * 80,
                          .max_ctx = SCHEDRUN_TEXT};
    if (below(2)) opts.kv_tokens = SCHEDRUN_TEXT + (below(2) ? below(300) : below(3000));
    hd_model *m = modelrun_open(modelrun_synth("unit"), &schedrun_device, opts);
    size_t n_snaps = below(3) ? (size_t)below(40) : 0;
    hd_sched *s = schedrun_open((hd_sched_opts){.model = m,
                                                .snap_budget = n_snaps * hd_v4_snap_bytes(m),
                                                .chunk = below(2) ? 0 : 1 + below(60)});
    for (int round = 0; round < 2; round++) run_round(s, order);
    count(s);
    seen.threads[n_threads]++;
    seen.cells++;
    hd_sched_destroy(s);
    hd_model_close(m);
}

/* ---- the run ----------------------------------------------------------------------------------*/

static void report(const char *name, uint64_t n)
{
    printf("  %-24s %" PRIu64 "\n", name, n);
    if (n == 0) fail_msg("'%s' never happened", name);
}

static void test_matrix(void **state)
{
    (void)state;
    uint64_t small = 0, large = 0;
    printf("seed %" PRIu64 "\n", seed);
    while (seen.tokens < want_tokens || seen.cells < 4) run_cell();
    for (int32_t n = 2; n <= MAX_BATCH; n++) *(n < 6 ? &small : &large) += seen.running[n];
    report("tokens compared", seen.tokens);
    report("of them greedy", seen.greedy);
    report("cells", seen.cells);
    report("cells with 1 thread", seen.threads[1]);
    report("cells with 2 threads", seen.threads[2]);
    report("steps with 1 sequence", seen.running[1]);
    report("steps with 2-5", small);
    report("steps with 6-16", large);
    report("hits in RAM", seen.ram_hits);
    report("of them by a snapshot", seen.snap_hits);
    report("rewinds", seen.rewinds);
    report("positions replayed", seen.replayed);
    report("forks", seen.forks);
    report("preemptions", seen.preemptions);
    report("evictions", seen.evictions);
    report("cancels", seen.cancels);
    report("prompt rows echoed", seen.echoed);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_matrix)};
    if (argc > 1) want_tokens = strtoull(argv[1], NULL, 10);
    if (argc > 2) seed = strtoull(argv[2], NULL, 10);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
