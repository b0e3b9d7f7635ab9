/* The matrix: requests under every setting of the engine at random, each compared with a run alone,
 * token by token and bit by bit of the logits that it was drawn from.
 *
 *   test_matrix [TOKENS] [SEED] [CELL]   until so many tokens were compared (default 3000; the long
 * form is `make matrix`), half of them greedy, half at temperature 1; from that cell on (for
 * looking into a failure: the cells before are left out)
 *
 * Requests are pieces of conversations: some begin as another's text, some go on from all of it,
 * some leave it in the middle. A cell is a setting (model, sequences, rows of a step, chunk,
 * threads, pages, snapshots, drafts, files) and a random order, spread and cancelling of all
 * requests; within a cell they come twice, so that the second time finds what the first has left,
 * in memory or, where all was closed in between, in files. What happened is counted; a run in which
 * something never did has proven nothing about it, and fails. */
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
#include "support/tmpdir.h"

enum { N = 24, MAX_BATCH = 16 };

static uint64_t want_tokens = 3000, seed = 1, first_cell;
/* Both have every part of the model, but other draft heads. */
static const char *const presets[] = {"unit", "unit-mtp"};
static schedrun_job *alone[HD_COUNT(presets)], *jobs; /* [N] */

typedef struct counts {
    uint64_t tokens, greedy, cells;
    uint64_t echoed; /* prompt rows told */
    uint64_t ram_hits, forks, rewinds, preemptions, cancels, replayed, snap_hits, evictions;
    uint64_t disk_hits, restored;
    uint64_t right[HD_GUESS_KINDS]; /* guesses that were kept, by where they were from */
    uint64_t wrong[HD_GUESS_KINDS];
    uint64_t undrafted;              /* tokens of cells without drafts */
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

static void make_request(schedrun_job *all, int32_t i)
{
    schedrun_job *j = &all[i];
    int32_t shared = below(500), own = 1 + below(120), kind = i < 8 ? 0 : below(4);
    const schedrun_job *before = i ? &all[below(i)] : NULL;
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
    jobs = hd_mem_calloc(N, sizeof *jobs);
    for (size_t p = 0; p < HD_COUNT(presets); p++) {
        hd_model *m = modelrun_open(modelrun_synth(presets[p]), &schedrun_device,
                                    (hd_model_opts){.max_seqs = 1, .max_ctx = SCHEDRUN_TEXT});
        alone[p] = hd_mem_calloc(N, sizeof *alone[p]);
        for (int32_t i = 0; i < N; i++) {
            make_request(alone[p], i);
            schedrun_alone(m, &alone[p][i]);
        }
        hd_model_close(m);
    }
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t p = 0; p < HD_COUNT(presets); p++) hd_mem_free(alone[p]);
    hd_mem_free(jobs);
    return 0;
}

/* ---- cells ------------------------------------------------------------------------------------*/

typedef struct cell {
    size_t preset;
    hd_model_opts model;
    hd_sched_opts sched;
    size_t n_snaps;
    char files[96]; /* directory; "": none */
} cell;

static void copy_request(const cell *c, int32_t i)
{
    const schedrun_job *from = &alone[c->preset][i];
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
static void run_round(const cell *c, hd_sched *s)
{
    int32_t order[N], pause = 1 + below(12);
    shuffle(order);
    for (int32_t i = 0; i < N; i++) copy_request(c, i);
    for (int32_t i = 0; i < N; i++) {
        int32_t n_steps = below(pause);
        if (!s) continue; /* only the draws */
        schedrun_add(s, &jobs[order[i]]);
        for (int32_t k = 0; k < n_steps; k++) (void)step(s);
    }
    if (!s) return;
    while (step(s));
    for (int32_t i = 0; i < N; i++) {
        uint64_t n = (uint64_t)hd_request_n_new(&jobs[i].r);
        schedrun_check_same(&jobs[i], &alone[c->preset][i]);
        seen.tokens += n;
        seen.greedy += i % 2 ? 0 : n;
        seen.undrafted += c->sched.draft == HD_GUESS_NONE ? n : 0;
        seen.cancels += jobs[i].r.end == HD_END_CANCELLED;
        seen.echoed += (uint64_t)jobs[i].n_told;
    }
}

static void count(const hd_sched *s)
{
    hd_sched_stats a;
    hd_prefix_stats p;
    hd_disk_stats d;
    hd_sched_get_disk_stats(s, &d);
    hd_sched_get_stats(s, &a);
    hd_prefix_get_stats(hd_sched_prefix(s), &p);
    seen.ram_hits += a.n_hits;
    seen.forks += a.n_forks;
    seen.snap_hits += a.n_snap_hits;
    seen.rewinds += a.n_hits - a.n_snap_hits;
    seen.replayed += a.n_replayed;
    seen.preemptions += a.n_preempted;
    seen.evictions += p.n_evicted;
    seen.disk_hits += d.n_hits;
    seen.restored += d.n_restored;
    for (int k = 0; k < HD_GUESS_KINDS; k++) {
        seen.right[k] += a.draft[k].n_right;
        seen.wrong[k] += a.draft[k].n_drafted - a.draft[k].n_right;
    }
}

/* The first four cells have a bit of everything, so that a short run does. */
static cell make_cell(void)
{
    static int32_t n_made;
    int32_t i = n_made++, k = i < 4 ? i : below(4);
    bool is_scarce = i < 4 ? k == 1 || k == 2 : below(2), has_files = i < 4 ? k % 2 : below(2);
    static const hd_guess_kind kinds[] = {HD_GUESS_NONE, HD_GUESS_LOOKUP, HD_GUESS_DSPARK,
                                          HD_GUESS_MTP};
    cell c = {.preset = k < 2 ? (size_t)below(HD_COUNT(presets)) : k == 3,
              .model = {.n_threads = i < 4 ? 1 + k / 2 : 1 + below(2),
                        .max_seqs = i < 4 ? 4 << k % 3 : spread(MAX_BATCH),
                        .max_rows = 64 + below(3) * 80,
                        .max_ctx = SCHEDRUN_TEXT,
                        .load_draft = k >= 2},
              .sched = {.draft = kinds[k], .chunk = below(2) ? 0 : 1 + below(60)},
              .n_snaps = i % 3 ? (size_t)below(40) : 0};
    if (is_scarce) c.model.kv_tokens = SCHEDRUN_TEXT + (below(2) ? below(300) : below(3000));
    if (has_files) snprintf(c.files, sizeof c.files, "%s/%d", test_tmpdir(), i);
    return c;
}

/* n times all requests over a model that is opened for it. */
static void run_rounds(cell *c, int n)
{
    hd_model *m = modelrun_open(modelrun_synth(presets[c->preset]), &schedrun_device, c->model);
    c->sched.model = m;
    c->sched.snap_budget = c->n_snaps * hd_v4_snap_bytes(m);
    c->sched.cache_dir = c->files[0] ? c->files : NULL;
    hd_sched *s = schedrun_open(c->sched);
    while (n-- > 0) run_round(c, s);
    count(s);
    hd_sched_destroy(s);
    hd_model_close(m);
}

/* For whoever reads of a failure. */
static void print_cell(const cell *c)
{
    printf("cell %" PRIu64 ": %s, %d threads, %d sequences, %d rows, chunk %d, kv %" PRId64
           ", snapshots %zu, "
           "draft %d, files '%s'\n",
           seen.cells - 1, presets[c->preset], c->model.n_threads, c->model.max_seqs,
           c->model.max_rows, c->sched.chunk, c->model.kv_tokens, c->n_snaps, (int)c->sched.draft,
           c->files);
}

static void run_cell(void)
{
    cell c = make_cell();
    if (seen.cells++ < first_cell) {
        for (int i = 0; i < 2; i++) run_round(&c, NULL);
        return;
    }
    if (want_tokens > 3000) print_cell(&c);
    if (c.files[0])
        for (int i = 0; i < 2; i++) run_rounds(&c, 1);
    else
        run_rounds(&c, 2);
    seen.threads[c.model.n_threads]++;
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
    report("hits on disk", seen.disk_hits);
    report("positions from disk", seen.restored);
    report("forks", seen.forks);
    report("preemptions", seen.preemptions);
    report("evictions", seen.evictions);
    report("cancels", seen.cancels);
    report("prompt rows echoed", seen.echoed);
    report("tokens without drafts", seen.undrafted);
    report("MTP guesses kept", seen.right[HD_GUESS_MTP]);
    report("of DSpark", seen.right[HD_GUESS_DSPARK]);
    report("of lookup", seen.right[HD_GUESS_LOOKUP]);
    report("MTP guesses refused", seen.wrong[HD_GUESS_MTP]);
    report("of DSpark", seen.wrong[HD_GUESS_DSPARK]);
    report("of lookup", seen.wrong[HD_GUESS_LOOKUP]);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_matrix)};
    if (argc > 1) want_tokens = strtoull(argv[1], NULL, 10);
    if (argc > 2) seed = strtoull(argv[2], NULL, 10);
    if (argc > 3) first_cell = strtoull(argv[3], NULL, 10);
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
