/* The engine: one thread that schedules, and the doors to it.
 *
 * A request lives in a slot. Its number is the slot and how often the slot has been used, so a
 * stale number finds nothing. Who submits takes a free slot, fills it and pushes it to the inbox;
 * the engine's thread owns the request from then on, and the slot's ring of events is the only way
 * back. Who reads the end gives the slot back. The lock guards the list of free slots only; the
 * engine's thread never takes it. */
#include "hadal/engine.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/queue.h"
#include "engine/events.h"
#include "engine/sched.h"

#define DEFAULT_SEQS     16
#define DEFAULT_REQUESTS 256
#define MAX_REQUESTS     65536
#define DEFAULT_SNAP_MB  256
#define SLOW_READER_NS   ((int64_t)30 * 1000000000)
#define PAUSED_WAIT_MS   2 /* all requests wait for their readers: look again so soon */
#define IDLE_WAIT_MS     1000
#define MAX_TIMEOUT_MS   ((int64_t)1 << 40)

typedef struct slot {
    hd_request r; /* the engine's thread */
    hd_events events;
    _Atomic uint64_t id; /* of its request; 0: free */
    _Atomic uint64_t
        cancelled;       /* the number of a request that is to end: it may be an older one's */
    uint32_t n_uses;     /* under the lock */
    int32_t next_free;   /* under the lock */
    int64_t deadline_ns; /* 0: none */
    int64_t paused_ns;   /* since when it has no room for events; 0: it has */
    int32_t live_place;  /* in engine.live */
} slot;

enum { N_STATS = sizeof(hd_engine_stats) / sizeof(uint64_t) };

struct hd_engine {
    hd_model *model;
    hd_sched *sched;
    hd_queue *inbox; /* of slot */
    slot *slots;     /* [n_slots] */
    int32_t n_slots;
    pthread_mutex_t lock;
    int32_t first_free; /* −1: none */
    pthread_t thread;
    bool has_thread;
    _Atomic int stops;
    slot **live; /* the engine's thread: requests that are not done */
    int32_t n_live;
    _Atomic uint64_t stats[N_STATS];
};

/* ---- the engine's thread ----------------------------------------------------------------------*/

static bool on_token(void *ctx, hd_request *r, const float *logits)
{
    slot *s = r->owner;
    (void)ctx, (void)logits;
    hd_events_put(&s->events, r->text[r->n_text - 1]);
    return true;
}

static void on_done(void *ctx, hd_request *r)
{
    hd_engine *e = ctx;
    slot *s = r->owner;
    hd_event last = {.kind = HD_EVENT_END,
                     .end = r->end,
                     .n_prompt = r->n_prompt,
                     .n_generated = hd_request_n_new(r),
                     .n_cached = r->n_cached,
                     .err = r->err};
    e->live[s->live_place] = e->live[--e->n_live];
    e->live[s->live_place]->live_place = s->live_place;
    hd_events_end(&s->events, &last); /* the slot may be another's behind this */
}

static void take_in(hd_engine *e)
{
    void *item;
    while (hd_queue_pop(e->inbox, &item)) {
        slot *s = item;
        s->live_place = e->n_live;
        e->live[e->n_live++] = s;
        if (hd_sched_add(e->sched, &s->r, &s->r.err) == HD_OK) continue;
        s->r.n_text = s->r.n_prompt;
        s->r.end = HD_END_FAILED;
        on_done(e, &s->r);
    }
}

static void end_soon(slot *s, hd_end why)
{
    s->r.is_cancelled = true;
    s->r.end = why;
}

/* Cancels, deadlines, readers that do not read. */
static void look_after(hd_engine *e)
{
    int64_t now = hd_clock_ns();
    for (int32_t i = 0; i < e->n_live; i++) {
        slot *s = e->live[i];
        s->r.is_paused = !hd_events_has_room(&s->events);
        if (!s->r.is_paused)
            s->paused_ns = 0;
        else if (s->paused_ns == 0)
            s->paused_ns = now;
        if (s->paused_ns && now - s->paused_ns > SLOW_READER_NS) end_soon(s, HD_END_TIMEOUT);
        if (s->deadline_ns && now > s->deadline_ns) end_soon(s, HD_END_TIMEOUT);
        if (atomic_load(&s->cancelled) == s->r.id || atomic_load(&e->stops))
            end_soon(s, HD_END_CANCELLED);
    }
}

static void publish_stats(hd_engine *e)
{
    hd_sched_stats s;
    hd_sched_get_stats(e->sched, &s);
    const hd_engine_stats now = {.n_steps = s.n_steps,
                                 .n_rows = s.n_rows,
                                 .n_generated = s.n_generated,
                                 .n_prompt = s.n_prompt,
                                 .n_cached = s.n_cached,
                                 .n_replayed = s.n_replayed,
                                 .n_hits = s.n_hits,
                                 .n_preempted = s.n_preempted,
                                 .n_running = (uint64_t)s.n_running,
                                 .n_waiting = (uint64_t)s.n_waiting};
    uint64_t words[N_STATS];
    memcpy(words, &now, sizeof words);
    for (int i = 0; i < N_STATS; i++)
        atomic_store_explicit(&e->stats[i], words[i], memory_order_relaxed);
}

static void *engine_main(void *arg)
{
    hd_engine *e = arg;
    while (!atomic_load(&e->stops) || e->n_live > 0) {
        hd_sched_stats before, after;
        take_in(e);
        look_after(e);
        hd_sched_get_stats(e->sched, &before);
        /* A failed step has told those whom it concerns; others go on. */
        hd_status st = hd_sched_step(e->sched, NULL);
        hd_sched_get_stats(e->sched, &after);
        publish_stats(e);
        if (st == HD_E_NOTFOUND)
            (void)hd_queue_wait(e->inbox, IDLE_WAIT_MS);
        else if (st == HD_OK && after.n_steps == before.n_steps)
            (void)hd_queue_wait(e->inbox, PAUSED_WAIT_MS);
    }
    return NULL;
}

/* ---- open, close ------------------------------------------------------------------------------*/

static uint32_t power_of_two_from(int32_t n)
{
    uint32_t size = 1;
    while (size < (uint32_t)n) size *= 2;
    return size;
}

static hd_status make_slots(hd_engine *e, int32_t n, hd_err *err)
{
    if (n < 1 || n > MAX_REQUESTS)
        HD_FAIL(err, HD_E_ARG, "max_requests is %d, expected 1 to %d", n, MAX_REQUESTS);
    e->slots = hd_mem_try_calloc((size_t)n, sizeof *e->slots);
    e->live = hd_mem_try_calloc((size_t)n, sizeof(slot *));
    if (!e->slots || !e->live) HD_FAIL(err, HD_E_NOMEM, "out of memory for %d requests", n);
    e->n_slots = n;
    for (int32_t i = 0; i < n; i++) e->slots[i].next_free = i + 1 < n ? i + 1 : -1;
    return hd_queue_create(power_of_two_from(n), &e->inbox, err);
}

/* Signals are for the program's own threads. */
static hd_status start_thread(hd_engine *e, hd_err *err)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int why = pthread_create(&e->thread, NULL, engine_main, e);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (why) HD_FAIL(err, HD_E_NOMEM, "cannot start the engine's thread: %s", strerror(why));
    e->has_thread = true;
    return HD_OK;
}

static hd_status open_parts(hd_engine *e, const char *dir, const hd_engine_opts *o, hd_err *err)
{
    hd_model_opts model = o->model;
    int64_t snap_mb = o->snapshot_mb ? o->snapshot_mb : DEFAULT_SNAP_MB;
    if (model.max_seqs <= 0) model.max_seqs = DEFAULT_SEQS;
    HD_TRY(make_slots(e, o->max_requests ? o->max_requests : DEFAULT_REQUESTS, err));
    HD_TRY(hd_model_open(dir, &model, &e->model, err));
    hd_sched_opts sched = {.model = e->model,
                           .snap_budget = snap_mb > 0 ? (size_t)snap_mb << 20 : 0,
                           .chunk = o->chunk,
                           .on_token = on_token,
                           .on_done = on_done,
                           .ctx = e};
    HD_TRY(hd_sched_create(&sched, &e->sched, err));
    return start_thread(e, err);
}

hd_status hd_engine_open(const char *dir, const hd_engine_opts *opts, hd_engine **out, hd_err *err)
{
    static const hd_engine_opts defaults;
    hd_engine *e = hd_mem_calloc(1, sizeof *e);
    *out = NULL;
    pthread_mutex_init(&e->lock, NULL);
    hd_status st = open_parts(e, dir, opts ? opts : &defaults, err);
    if (st == HD_OK)
        *out = e;
    else
        hd_engine_close(e);
    return st;
}

static void free_request(hd_request *r)
{
    hd_mem_free(r->text);
    hd_mem_free((void *)(uintptr_t)r->how.bias);
    *r = (hd_request){0};
}

void hd_engine_close(hd_engine *e)
{
    if (!e) return;
    if (e->has_thread) {
        atomic_store(&e->stops, 1);
        hd_queue_wake(e->inbox);
        pthread_join(e->thread, NULL);
    }
    for (int32_t i = 0; i < e->n_slots; i++) free_request(&e->slots[i].r);
    hd_sched_destroy(e->sched);
    hd_model_close(e->model);
    hd_queue_destroy(e->inbox);
    pthread_mutex_destroy(&e->lock);
    hd_mem_free(e->slots);
    hd_mem_free(e->live);
    hd_mem_free(e);
}

void hd_engine_get_info(const hd_engine *e, hd_model_info *out)
{
    hd_model_get_info(e->model, out);
}

void hd_engine_get_stats(hd_engine *e, hd_engine_stats *out)
{
    uint64_t words[N_STATS];
    for (int i = 0; i < N_STATS; i++)
        words[i] = atomic_load_explicit(&e->stats[i], memory_order_relaxed);
    memcpy(out, words, sizeof words);
}

/* ---- slots ------------------------------------------------------------------------------------*/

static slot *take_slot(hd_engine *e)
{
    pthread_mutex_lock(&e->lock);
    slot *s = e->first_free < 0 ? NULL : &e->slots[e->first_free];
    if (s) {
        e->first_free = s->next_free;
        s->n_uses++;
    }
    pthread_mutex_unlock(&e->lock);
    return s;
}

static void give_back(hd_engine *e, slot *s)
{
    free_request(&s->r);
    atomic_store(&s->id, 0);
    pthread_mutex_lock(&e->lock);
    s->next_free = e->first_free;
    e->first_free = (int32_t)(s - e->slots);
    pthread_mutex_unlock(&e->lock);
}

static slot *find_slot(hd_engine *e, uint64_t id)
{
    uint64_t i = id & UINT32_MAX;
    if (id == 0 || i >= (uint64_t)e->n_slots) return NULL;
    return atomic_load(&e->slots[i].id) == id ? &e->slots[i] : NULL;
}

/* ---- requests ---------------------------------------------------------------------------------*/

static hd_status check(const hd_submit *q, const hd_model *m, hd_err *err)
{
    hd_model_info info;
    hd_model_get_info(m, &info);
    if (!q->ids || q->n_ids < 1 || q->max_new < 1 || q->min_new < 0)
        HD_FAIL(err, HD_E_ARG, "a request needs ids, and at least one token to generate");
    if (q->timeout_ms < 0 || q->timeout_ms > MAX_TIMEOUT_MS)
        HD_FAIL(err, HD_E_ARG, "timeout_ms is %" PRId64 ", expected 0 to %" PRId64, q->timeout_ms,
                MAX_TIMEOUT_MS);
    if (q->n_ids >= info.max_ctx)
        HD_FAIL(err, HD_E_LIMIT, "the prompt has %d tokens, and there is room for %d", q->n_ids,
                info.max_ctx - 1);
    return hd_sampling_check(&q->how, info.vocab_size, err);
}

static hd_status copy_request(hd_request *r, const hd_submit *q, int32_t max_ctx, hd_err *err)
{
    int32_t room = max_ctx - q->n_ids, max_new = q->max_new < room ? q->max_new : room;
    size_t n_bias = q->how.n_bias;
    *r = (hd_request){.n_prompt = q->n_ids,
                      .max_new = max_new,
                      .min_new = q->min_new,
                      .ignores_eos = q->ignore_eos != 0,
                      .how = q->how,
                      .group = q->group,
                      .priority = q->priority};
    r->how.bias = NULL;
    r->text = hd_mem_try_calloc((size_t)q->n_ids + (size_t)max_new, sizeof *r->text);
    hd_logit_bias *bias = hd_mem_try_calloc(n_bias + 1, sizeof *bias);
    r->how.bias = bias;
    if (!r->text || !bias) HD_FAIL(err, HD_E_NOMEM, "out of memory for a request");
    memcpy(r->text, q->ids, (size_t)q->n_ids * sizeof *r->text);
    if (n_bias) memcpy(bias, q->how.bias, n_bias * sizeof *bias);
    return HD_OK;
}

hd_status hd_engine_submit(hd_engine *e, const hd_submit *q, uint64_t *id, hd_err *err)
{
    hd_model_info info;
    hd_model_get_info(e->model, &info);
    HD_TRY(check(q, e->model, err));
    slot *s = take_slot(e);
    if (!s) HD_FAIL(err, HD_E_LIMIT, "all %d requests are taken: read their ends", e->n_slots);
    hd_status st = copy_request(&s->r, q, info.max_ctx, err);
    if (st != HD_OK) {
        give_back(e, s);
        return st;
    }
    hd_events_reset(&s->events);
    s->r.owner = s;
    s->paused_ns = 0;
    s->deadline_ns = q->timeout_ms ? hd_clock_ns() + q->timeout_ms * 1000000 : 0;
    *id = s->r.id = (uint64_t)s->n_uses << 32 | (uint64_t)(s - e->slots);
    atomic_store(&s->id, *id);
    bool has_room = hd_queue_push(e->inbox, s); /* as many places as slots */
    HD_ASSERT(has_room);
    return HD_OK;
}

void hd_engine_cancel(hd_engine *e, uint64_t id)
{
    slot *s = find_slot(e, id);
    if (!s) return;
    atomic_store(&s->cancelled, id);
    hd_queue_wake(e->inbox);
}

hd_status hd_engine_next(hd_engine *e, uint64_t id, int timeout_ms, hd_event *out, hd_err *err)
{
    slot *s = find_slot(e, id);
    if (!s) HD_FAIL(err, HD_E_NOTFOUND, "no request %" PRIu64, id);
    if (!hd_events_get(&s->events, timeout_ms, out))
        HD_FAIL(err, HD_E_TIMEOUT, "no event within %d ms", timeout_ms);
    if (out->kind == HD_EVENT_END) give_back(e, s);
    return HD_OK;
}
