/* Logits of requests that the engine's scheduler resumes, throws out, preempts or runs side by
 * side, against those of the same request alone on a scheduler of its own. Each check also asks
 * that its event has happened. Memory is made scarce by taking pages away from the model's pool. */
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "engine/sched.h"
#include "verify/states.h"

enum { MAX_AT_ONCE = 4, SNAPSHOTS = 16 };

/* What came of a request. */
typedef struct answer {
    hd_request r;
    int32_t *text; /* i32 [n + HD_STATES_NEW] */
    float *logits; /* f32 [HD_STATES_NEW, V] */
    size_t vocab;
    bool is_done;
} answer;

static bool on_token(void *ctx, hd_request *r, const float *logits)
{
    (void)ctx;
    answer *a = r->owner;
    size_t i = (size_t)(r->n_text - 1 - r->n_prompt);
    memcpy(a->logits + i * a->vocab, logits, a->vocab * sizeof *logits);
    return true;
}

static void on_done(void *ctx, hd_request *r)
{
    (void)ctx;
    ((answer *)r->owner)->is_done = true;
}

/* ---- one arrangement ------------------------------------------------------------------------- */

typedef struct sched_run {
    hd_states *s;
    hd_sched *sched;
    answer a[MAX_AT_ONCE];
    float *want[2];      /* f32 [HD_STATES_NEW, V]: of the text, and of the other text, alone */
    const char *dir;     /* of the cache on disk; NULL: none */
    hd_guess_kind draft; /* NONE but in the check that is about it */
    int32_t *hoard;      /* pages of ratio 4 that were taken away */
    int32_t n_hoard;
} sched_run;

static void hoard_all_but(sched_run *run, int32_t n_free)
{
    hd_page_pool *p = &run->s->m->state.pool[HD_PAGE_CSA];
    while (p->n_free > n_free) run->hoard[run->n_hoard++] = hd_pages_take(p, -1);
}

static void give_back(sched_run *run)
{
    hd_page_pool *p = &run->s->m->state.pool[HD_PAGE_CSA];
    while (run->n_hoard > 0) hd_pages_drop(p, run->hoard[--run->n_hoard], -1);
}

static hd_status open_sched(sched_run *run, int32_t n_snaps, int32_t chunk)
{
    hd_sched_opts opts = {.model = run->s->m,
                          .snap_budget = (size_t)n_snaps * hd_v4_snap_bytes(run->s->m),
                          .chunk = chunk,
                          .cache_dir = run->dir,
                          .draft = run->draft,
                          .on_token = on_token,
                          .on_done = on_done};
    return hd_sched_create(&opts, &run->sched, &run->s->err);
}

static void close_sched(sched_run *run)
{
    hd_sched_destroy(run->sched);
    run->sched = NULL;
}

/* Request i: the first n ids of a text. */
static hd_status submit(sched_run *run, int32_t i, const int32_t *ids, int32_t n)
{
    answer *a = &run->a[i];
    memcpy(a->text, ids, (size_t)n * sizeof *ids);
    a->is_done = false;
    a->r = (hd_request){.id = (uint64_t)i,
                        .text = a->text,
                        .n_prompt = n,
                        .max_new = HD_STATES_NEW,
                        .ignores_eos = true,
                        .how = HD_SAMPLING_DEFAULT,
                        .user = (uint64_t)i,
                        .owner = a};
    a->r.how.temperature = 0.0f;
    return hd_sched_add(run->sched, &a->r, &run->s->err);
}

/* Until nothing is left to do; every one of the first n requests has its tokens. */
static hd_status drain(sched_run *run, int32_t n)
{
    hd_status st;
    while ((st = hd_sched_step(run->sched, &run->s->err)) == HD_OK);
    if (st != HD_E_NOTFOUND) return st;
    for (int32_t i = 0; i < n; i++) {
        const hd_request *r = &run->a[i].r;
        if (run->a[i].is_done && hd_request_n_new(r) == HD_STATES_NEW) continue;
        if (r->err.code != HD_OK) HD_FAIL(&run->s->err, r->err.code, "%s", r->err.text);
        HD_FAIL(&run->s->err, HD_E_BUG, "a request ended behind %d tokens, %d were asked for",
                hd_request_n_new(r), HD_STATES_NEW);
    }
    return HD_OK;
}

static hd_status submit_and_drain(sched_run *run, const int32_t *ids)
{
    HD_TRY(submit(run, 0, ids, run->s->n));
    return drain(run, 1);
}

static void compare(sched_run *run, hd_verify_check *c, int32_t i, int which, const char *what)
{
    hd_verify_compare_logits(run->s->v, c, what, HD_STATES_NEW, run->want[which], run->a[i].logits,
                             hd_states_rule());
}

/* An event that the check is about; without it the check shows nothing. */
static void expect(sched_run *run, hd_verify_check *c, bool has_happened, const char *event)
{
    if (!has_happened) hd_verify_fail(run->s->v, c, "%s did not happen", event);
}

/* ---- the checks ------------------------------------------------------------------------------ */

/* Alone, without a cache: what the others are compared with; its first row is compared with the
 * steps of the model. */
static hd_status run_alone(sched_run *run, hd_verify_check *c)
{
    size_t v = (size_t)run->s->m->cfg.vocab_size;
    for (int i = 0; i < 2; i++) {
        HD_TRY(open_sched(run, 0, 0));
        HD_TRY(submit_and_drain(run, i ? run->s->others : run->s->ids));
        memcpy(run->want[i], run->a[0].logits, HD_STATES_NEW * v * sizeof(float));
        close_sched(run);
    }
    hd_verify_compare_logits(run->s->v, c, "logits of the first token", 1,
                             run->s->cold + (HD_STATES_LAST - 1) * v, run->want[0],
                             hd_states_rule());
    return HD_OK;
}

static hd_status run_resumed(sched_run *run, hd_verify_check *c)
{
    hd_sched_stats stats;
    HD_TRY(open_sched(run, SNAPSHOTS, 0));
    for (int i = 0; i < 2; i++) {
        HD_TRY(submit_and_drain(run, run->s->ids));
        compare(run, c, 0, 0, i ? "resumed behind a prefix" : "the first time");
    }
    hd_sched_get_stats(run->sched, &stats);
    expect(run, c, run->a[0].r.n_cached >= HD_SNAP_STEP && stats.n_snap_hits > 0,
           "a hit with a snapshot");
    return HD_OK;
}

static hd_status run_replayed(sched_run *run, hd_verify_check *c)
{
    hd_sched_stats stats;
    HD_TRY(open_sched(run, 0, 0));
    HD_TRY(submit_and_drain(run, run->s->ids));
    HD_TRY(submit_and_drain(run, run->s->ids));
    compare(run, c, 0, 0, "resumed by a replay");
    hd_sched_get_stats(run->sched, &stats);
    expect(run, c, stats.n_replays > 0, "a replay");
    return HD_OK;
}

/* Pages for one text at a time: the other throws the first out. */
static hd_status run_evicted(sched_run *run, hd_verify_check *c)
{
    hd_prefix_stats stats;
    HD_TRY(open_sched(run, SNAPSHOTS, 0));
    hoard_all_but(run, hd_v4_pages_for(run->s->n + HD_STATES_NEW, HD_PAGE_CSA));
    HD_TRY(submit_and_drain(run, run->s->ids));
    HD_TRY(submit_and_drain(run, run->s->others));
    compare(run, c, 0, 1, "behind another text, with few pages");
    hd_prefix_get_stats(hd_sched_prefix(run->sched), &stats);
    expect(run, c, stats.n_evicted > 0, "an eviction");
    HD_TRY(submit_and_drain(run, run->s->ids));
    compare(run, c, 0, 0, "restored behind an eviction");
    return HD_OK;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

/* Written by one scheduler, read by another, whose memory is empty. */
static hd_status run_from_disk(sched_run *run, hd_verify_check *c)
{
    hd_disk_stats stats;
    for (int i = 0; i < 2; i++) {
        HD_TRY(open_sched(run, SNAPSHOTS, 0));
        HD_TRY(submit_and_drain(run, run->s->ids));
        compare(run, c, 0, 0, i ? "resumed from disk" : "the first time");
        hd_sched_get_disk_stats(run->sched, &stats);
        close_sched(run); /* writes what is still to be written */
    }
    expect(run, c, run->a[0].r.n_cached >= HD_SNAP_STEP && stats.n_restored >= HD_SNAP_STEP,
           "a hit on disk");
    return HD_OK;
}

static hd_status run_disk(sched_run *run, hd_verify_check *c)
{
    char dir[4096];
    const char *tmp = getenv("TMPDIR");
    int n = snprintf(dir, sizeof dir, "%s/hadal-verify-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    if (n < 0 || (size_t)n >= sizeof dir || !mkdtemp(dir))
        HD_FAIL(&run->s->err, HD_E_IO, "cannot make a directory for files of the cache in '%s'",
                tmp && *tmp ? tmp : "/tmp");
    run->dir = dir;
    hd_status st = run_from_disk(run, c);
    close_sched(run);
    run->dir = NULL;
    (void)nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return st;
}

/* Pages for one text and a part: two at once cannot both go on. */
static hd_status run_preempted(sched_run *run, hd_verify_check *c)
{
    hd_sched_stats stats;
    HD_TRY(open_sched(run, SNAPSHOTS, 0));
    hoard_all_but(run, 2 * hd_v4_pages_for(run->s->n + HD_STATES_NEW, HD_PAGE_CSA) - 1);
    HD_TRY(submit(run, 0, run->s->ids, run->s->n));
    HD_TRY(submit(run, 1, run->s->others, run->s->n));
    HD_TRY(drain(run, 2));
    compare(run, c, 0, 0, "beside one that needs its pages");
    compare(run, c, 1, 1, "that had to give its pages back");
    hd_sched_get_stats(run->sched, &stats);
    expect(run, c, stats.n_preempted > 0, "a preemption");
    return HD_OK;
}

/* The text among others of other lengths, prompts cut small, so that steps mix all of them. */
static hd_status run_beside(sched_run *run, hd_verify_check *c)
{
    const hd_states *s = run->s;
    HD_TRY(open_sched(run, 0, 37));
    HD_TRY(submit(run, 1, s->others, 5));
    HD_TRY(submit(run, 0, s->ids, s->n));
    HD_TRY(submit(run, 2, s->others, s->n));
    HD_TRY(submit(run, 3, s->others + 7, s->n / 3));
    HD_TRY(drain(run, MAX_AT_ONCE));
    compare(run, c, 0, 0, "beside three others");
    compare(run, c, 2, 1, "beside three others");
    return HD_OK;
}

/* With guesses of the draft head, which change how steps are made and nothing else. */
static hd_status run_drafted(sched_run *run, hd_verify_check *c)
{
    hd_sched_stats stats;
    uint64_t n = 0;
    run->draft = HD_GUESS_BEST;
    HD_TRY(open_sched(run, 0, 0));
    HD_TRY(submit(run, 0, run->s->ids, run->s->n));
    HD_TRY(submit(run, 1, run->s->others, run->s->n));
    HD_TRY(drain(run, 2));
    compare(run, c, 0, 0, "with drafts");
    compare(run, c, 1, 1, "with drafts");
    hd_sched_get_stats(run->sched, &stats);
    for (int k = 0; k < HD_GUESS_KINDS; k++) n += stats.draft[k].n_drafted;
    expect(run, c, n > 0, "a draft");
    return HD_OK;
}

static const struct {
    const char *name;
    double runs; /* cost, in runs of the text */
    hd_status (*run)(sched_run *run, hd_verify_check *c);
} checks[] = {
    {"state.scheduled", 2.5, run_alone}, {"state.resumed", 2.0, run_resumed},
    {"state.disk", 2.0, run_disk},       {"state.replayed", 2.0, run_replayed},
    {"state.evicted", 3.5, run_evicted}, {"state.preempted", 4.0, run_preempted},
    {"state.drafted", 3.0, run_drafted}, {"repeat.beside", 4.0, run_beside},
};

void hd_states_run_sched(hd_states *s)
{
    static sched_run run;
    size_t v = (size_t)s->m->cfg.vocab_size, room = (size_t)(s->n + HD_STATES_NEW);
    run = (sched_run){.s = s, .draft = HD_GUESS_NONE};
    for (int i = 0; i < MAX_AT_ONCE; i++)
        run.a[i] = (answer){.text = hd_mem_calloc(room, sizeof(int32_t)),
                            .logits = hd_mem_calloc(HD_STATES_NEW * v, sizeof(float)),
                            .vocab = v};
    for (int i = 0; i < 2; i++) run.want[i] = hd_mem_calloc(HD_STATES_NEW * v, sizeof(float));
    run.hoard = hd_mem_calloc((size_t)s->m->state.pool[HD_PAGE_CSA].n_pages, sizeof *run.hoard);
    bool has_base = false; /* the first check, with which the others are compared */
    for (size_t i = 0; i < HD_COUNT(checks); i++) {
        if (i > 0 && !has_base) {
            hd_verify_leave_out(s->v, "%s: nothing to compare with", checks[i].name);
            continue;
        }
        if (checks[i].run == run_drafted && !s->m->has_draft) {
            hd_verify_leave_out(s->v, "%s: the checkpoint has no draft head", checks[i].name);
            continue;
        }
        hd_verify_check *c = hd_states_begin(s, checks[i].name, checks[i].runs);
        if (!c) continue;
        hd_status st = checks[i].run(&run, c);
        hd_states_end(s, c, st);
        if (i == 0) has_base = st == HD_OK;
        close_sched(&run);
        give_back(&run);
        run.draft = HD_GUESS_NONE;
    }
    for (int i = 0; i < MAX_AT_ONCE; i++) {
        hd_mem_free(run.a[i].text);
        hd_mem_free(run.a[i].logits);
    }
    for (int i = 0; i < 2; i++) hd_mem_free(run.want[i]);
    hd_mem_free(run.hoard);
}
