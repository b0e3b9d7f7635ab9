/* The engine: one thread that schedules, and its opening and closing.
 *
 * Requests come by the inbox; their tokens become events here, and a slot's ring of events is the
 * only way back. The thread takes no lock. submit.c is the other side, inside.h what both share. */
#include "engine/inside.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/logprob.h"
#include "model/v4.h"

#define DEFAULT_SEQS     16
#define DEFAULT_REQUESTS 256
#define DEFAULT_CTX      65536
#define DEFAULT_SNAP_MB  256
#define SLOW_READER_NS   ((int64_t)30 * 1000000000)
#define PAUSED_WAIT_MS   2 /* all requests wait for their readers: look again so soon */
#define IDLE_WAIT_MS     1000

/* ---- events -----------------------------------------------------------------------------------*/

static void fail_request(hd_request *r, const hd_err *why)
{
    r->is_cancelled = true;
    r->end = HD_END_FAILED;
    r->err = *why;
}

static void put_token(hd_engine *e, hd_slot *s, hd_event_kind kind, int32_t id, const float *logits)
{
    hd_logprob top[HD_MAX_TOP_LOGPROBS];
    hd_event event = {.kind = kind, .token = id};
    if (logits && (kind == HD_EVENT_PROMPT || s->wants_logprobs)) {
        event.logprob = hd_logprob_row(logits, e->info.vocab_size, id, s->n_top, top);
        event.top = top;
        event.n_top = s->n_top;
    }
    hd_events_put(&s->events, &event);
    e->has_news = true;
}

/* The logits behind prompt[position]: they tell of the token that follows. */
static void on_prompt_logits(void *ctx, hd_request *r, int32_t position, const float *logits)
{
    hd_engine *e = ctx;
    put_token(e, r->owner, HD_EVENT_PROMPT, r->text[position + 1], logits);
}

static bool on_token(void *ctx, hd_request *r, const float *logits)
{
    hd_engine *e = ctx;
    hd_slot *s = r->owner;
    hd_err err = {0};
    bool has_ended = false;
    int32_t id = r->text[r->n_text - 1], n = hd_request_n_new(r);
    put_token(e, s, HD_EVENT_TOKEN, id, logits);
    if (hd_request_ends_with(r, e->info.eos_id, id)) return true; /* the end is no text */
    if (hd_output_push(&s->output, id, n > r->min_new, &s->events, &has_ended, &err) != HD_OK)
        fail_request(r, &err);
    return !has_ended;
}

static hd_finish finish_of(hd_end end)
{
    if (end == HD_END_STOP) return HD_FINISH_STOP;
    return end == HD_END_LENGTH ? HD_FINISH_LENGTH : HD_FINISH_FILTER;
}

/* The slot may be another's behind this. */
static void leave(hd_engine *e, hd_slot *s)
{
    const hd_request *r = &s->r;
    hd_event last = {.kind = HD_EVENT_END,
                     .end = r->end,
                     .n_prompt = r->n_prompt,
                     .n_generated = hd_request_n_new(r),
                     .n_cached = r->n_cached,
                     .n_reasoning = s->output.n_reasoning,
                     .n_calls = s->output.n_calls,
                     .stop_string = hd_output_stop_string(&s->output),
                     .err = r->err};
    e->live[s->live_place] = e->live[--e->n_live];
    e->live[s->live_place]->live_place = s->live_place;
    e->has_news = true;
    hd_events_end(&s->events, &last);
}

static void on_done(void *ctx, hd_request *r)
{
    hd_slot *s = r->owner;
    s->is_done = true;
    if (hd_output_finish(&s->output, finish_of(r->end), &s->events, &r->err) != HD_OK)
        r->end = HD_END_FAILED;
    if (hd_events_is_clear(&s->events)) leave(ctx, s);
}

/* ---- the engine's thread ----------------------------------------------------------------------*/

static void take_in(hd_engine *e)
{
    void *item;
    while (hd_queue_pop(e->inbox, &item)) {
        hd_slot *s = item;
        s->live_place = e->n_live;
        e->live[e->n_live++] = s;
        if (s->r.wants_echo) put_token(e, s, HD_EVENT_PROMPT, s->r.text[0], NULL);
        if (hd_sched_add(e->sched, &s->r, &s->r.err) == HD_OK) continue;
        s->r.n_text = s->r.n_prompt;
        s->r.end = HD_END_FAILED;
        on_done(e, &s->r);
    }
}

static void end_soon(hd_slot *s, hd_end why)
{
    s->r.is_cancelled = true;
    s->r.end = why;
}

static bool is_late(const hd_slot *s, int64_t now)
{
    if (s->deadline_ns && now > s->deadline_ns) return true;
    return s->queue_deadline_ns && now > s->queue_deadline_ns && !s->r.was_admitted;
}

/* Events that found no room: to the ring, if the reader has made some. Whether the reader is so
 * slow that it is given up. */
static bool move_events(hd_engine *e, hd_slot *s, int64_t now)
{
    if (hd_events_is_clear(&s->events)) return false;
    hd_events_move(&s->events);
    e->has_news = true;
    s->r.is_paused = !hd_events_is_clear(&s->events);
    if (!s->r.is_paused)
        s->paused_ns = 0;
    else if (s->paused_ns == 0)
        s->paused_ns = now;
    return s->r.is_paused && now - s->paused_ns > SLOW_READER_NS;
}

static void look_after_one(hd_engine *e, hd_slot *s, int64_t now)
{
    hd_err err;
    bool is_given_up = move_events(e, s, now);
    bool is_unwanted = atomic_load(&s->cancelled) == s->r.id || atomic_load(&e->stops);
    if (s->is_done) {
        if (is_given_up || is_unwanted || hd_events_is_clear(&s->events)) leave(e, s);
        return;
    }
    if (hd_events_status(&s->events, &err) != HD_OK) fail_request(&s->r, &err);
    if (is_given_up || is_late(s, now)) end_soon(s, HD_END_TIMEOUT);
    if (is_unwanted) end_soon(s, HD_END_CANCELLED);
}

/* Cancels, deadlines, readers that do not read. From the back: whoever leaves is replaced by the
 * last one. */
static void look_after(hd_engine *e)
{
    int64_t now = hd_clock_ns();
    for (int32_t i = e->n_live - 1; i >= 0; i--) look_after_one(e, e->live[i], now);
}

static void tell_news(hd_engine *e)
{
    uint64_t one = 1;
    if (!e->has_news) return;
    e->has_news = false;
    while (write(e->event_fd, &one, sizeof one) < 0 && errno == EINTR);
}

static void publish_stats(hd_engine *e)
{
    hd_sched_stats s;
    hd_prefix_stats p;
    hd_disk_stats d;
    hd_sched_get_stats(e->sched, &s);
    hd_sched_get_disk_stats(e->sched, &d);
    hd_prefix_get_stats(hd_sched_prefix(e->sched), &p);
    hd_engine_stats now = {.n_steps = s.n_steps,
                           .n_rows = s.n_rows,
                           .n_generated = s.n_generated,
                           .n_prompt = s.n_prompt,
                           .n_cached = s.n_cached,
                           .n_replayed = s.n_replayed,
                           .n_hits = s.n_hits,
                           .n_forks = s.n_forks,
                           .n_rewinds = s.n_hits - s.n_snap_hits,
                           .n_preempted = s.n_preempted,
                           .n_evicted = p.n_evicted,
                           .n_snapshots = s.n_snaps,
                           .n_disk_hits = d.n_hits,
                           .n_disk_restored = d.n_restored,
                           .n_disk_written = d.n_written,
                           .n_disk_evicted = d.n_evicted,
                           .n_disk_bad = d.n_bad,
                           .n_running = (uint64_t)s.n_running,
                           .n_waiting = (uint64_t)s.n_waiting};
    const hd_page_pool *csa = &e->model->state.pool[HD_PAGE_CSA];
    const hd_page_pool *hca = &e->model->state.pool[HD_PAGE_HCA];
    now.max_seqs = (uint64_t)e->model->max_seqs;
    now.max_csa_pages = (uint64_t)csa->n_pages;
    now.n_csa_pages = (uint64_t)(csa->n_pages - csa->n_free);
    now.max_hca_pages = (uint64_t)hca->n_pages;
    now.n_hca_pages = (uint64_t)(hca->n_pages - hca->n_free);
    now.max_snapshots = (uint64_t)p.max_snaps;
    now.n_kept_snapshots = (uint64_t)p.n_snaps;
    for (int k = 0; k < HD_GUESS_KINDS; k++) {
        now.n_draft_checks += s.draft[k].n_checks;
        now.n_drafted += s.draft[k].n_drafted;
        now.n_accepted += s.draft[k].n_right;
    }
    uint64_t words[HD_N_ENGINE_STATS];
    memcpy(words, &now, sizeof words);
    for (int i = 0; i < HD_N_ENGINE_STATS; i++)
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
        tell_news(e);
        if (st == HD_E_NOTFOUND)
            (void)hd_queue_wait(e->inbox, IDLE_WAIT_MS);
        else if (st == HD_OK && after.n_steps == before.n_steps)
            (void)hd_queue_wait(e->inbox, PAUSED_WAIT_MS);
    }
    return NULL;
}

/* ---- open, close ------------------------------------------------------------------------------*/

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

/* A model without a tokenizer is a model of ids. */
static hd_status open_tokenizer(hd_engine *e, const char *dir, hd_err *err)
{
    hd_status st = hd_tokenizer_open(dir, &e->tokenizer, err);
    return st == HD_E_NOTFOUND ? HD_OK : st;
}

/* Long texts, but not all of them at once. */
static hd_status fill_defaults(hd_model_opts *model, const char *dir, const hd_engine_opts *o,
                               hd_err *err)
{
    hd_config cfg;
    if (model->max_seqs <= 0) model->max_seqs = DEFAULT_SEQS;
    if (model->max_ctx <= 0) {
        HD_TRY(hd_config_load(dir, &cfg, err));
        model->max_ctx = cfg.max_position < DEFAULT_CTX ? cfg.max_position : DEFAULT_CTX;
    }
    bool has_head = o->draft != HD_GUESS_NONE && o->draft != HD_GUESS_LOOKUP;
    if (has_head) model->load_draft = 1;
    if (o->kv_mb > 0) model->kv_bytes = (int64_t)o->kv_mb << 20;
    if (model->kv_tokens <= 0) model->kv_tokens = 2 * (int64_t)model->max_ctx;
    return HD_OK;
}

static hd_status open_parts(hd_engine *e, const char *dir, const hd_engine_opts *o, hd_err *err)
{
    hd_model_opts model = o->model;
    int64_t snap_mb = o->snapshot_mb ? o->snapshot_mb : DEFAULT_SNAP_MB;
    e->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (e->event_fd < 0) HD_FAIL(err, HD_E_IO, "no eventfd for an engine: %s", strerror(errno));
    HD_TRY(hd_engine_make_slots(e, o->max_requests ? o->max_requests : DEFAULT_REQUESTS, err));
    HD_TRY(fill_defaults(&model, dir, o, err));
    HD_TRY(hd_model_open(dir, &model, &e->model, err));
    hd_model_get_info(e->model, &e->info);
    HD_TRY(open_tokenizer(e, dir, err));
    hd_sched_opts sched = {.model = e->model,
                           .snap_budget = snap_mb > 0 ? (size_t)snap_mb << 20 : 0,
                           .chunk = o->chunk,
                           .draft = o->draft,
                           .cache_dir = o->cache_dir,
                           .cache_dir_bytes = (uint64_t)o->cache_dir_mb << 20,
                           .on_prompt_logits = on_prompt_logits,
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
    e->event_fd = -1;
    pthread_mutex_init(&e->lock, NULL);
    hd_status st = open_parts(e, dir, opts ? opts : &defaults, err);
    if (st == HD_OK)
        *out = e;
    else
        hd_engine_close(e);
    return st;
}

void hd_engine_close(hd_engine *e)
{
    if (!e) return;
    if (e->has_thread) {
        atomic_store(&e->stops, 1);
        hd_queue_wake(e->inbox);
        pthread_join(e->thread, NULL);
    }
    hd_sched_destroy(e->sched);
    hd_engine_drop_slots(e);
    hd_model_close(e->model);
    hd_tokenizer_close(e->tokenizer);
    pthread_mutex_destroy(&e->lock);
    if (e->event_fd >= 0) close(e->event_fd);
    hd_mem_free(e);
}

void hd_engine_get_info(const hd_engine *e, hd_model_info *out)
{
    *out = e->info;
}

hd_tokenizer *hd_engine_tokenizer(const hd_engine *e)
{
    return e->tokenizer;
}

int hd_engine_event_fd(const hd_engine *e)
{
    return e->event_fd;
}

void hd_engine_get_stats(hd_engine *e, hd_engine_stats *out)
{
    uint64_t words[HD_N_ENGINE_STATS];
    for (int i = 0; i < HD_N_ENGINE_STATS; i++)
        words[i] = atomic_load_explicit(&e->stats[i], memory_order_relaxed);
    memcpy(out, words, sizeof words);
}
