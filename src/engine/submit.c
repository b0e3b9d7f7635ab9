/* The engine's front: requests checked, copied into slots and queued; their events read. Any
 * thread. */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/inside.h"
#include "text/tokenizer.h"

#define MAX_REQUESTS   65536
#define MAX_TIMEOUT_MS ((int64_t)1 << 40)
#define MAX_WARN_BYTES ((size_t)1 << 20)
#define KEPT_GRAMMARS  64

/* ---- slots ------------------------------------------------------------------------------------*/

static uint32_t power_of_two_from(int32_t n)
{
    uint32_t size = 1;
    while (size < (uint32_t)n) size *= 2;
    return size;
}

hd_status hd_engine_make_slots(hd_engine *e, int32_t n, hd_err *err)
{
    if (n < 1 || n > MAX_REQUESTS)
        HD_FAIL(err, HD_E_ARG, "max_requests is %d, expected 1 to %d", n, MAX_REQUESTS);
    e->slots = hd_mem_try_calloc((size_t)n, sizeof *e->slots);
    e->live = hd_mem_try_calloc((size_t)n, sizeof(hd_slot *));
    if (!e->slots || !e->live) HD_FAIL(err, HD_E_NOMEM, "out of memory for %d requests", n);
    e->n_slots = n;
    for (int32_t i = 0; i < n; i++) e->slots[i].next_free = i + 1 < n ? i + 1 : -1;
    return hd_queue_create(power_of_two_from(n), &e->inbox, err);
}

static void free_request(hd_slot *s)
{
    hd_output_deinit(&s->output);
    hd_matcher_destroy(s->r.matcher);
    hd_mem_free(s->r.text);
    hd_mem_free((void *)(uintptr_t)s->r.stop_ids);
    hd_mem_free((void *)(uintptr_t)s->r.how.bias);
    s->r = (hd_request){0};
}

void hd_engine_drop_slots(hd_engine *e)
{
    for (int32_t i = 0; i < e->n_slots; i++) {
        free_request(&e->slots[i]);
        hd_events_deinit(&e->slots[i].events);
    }
    hd_grammar_cache_destroy(e->grammars);
    hd_vtrie_destroy(e->trie);
    hd_queue_destroy(e->inbox);
    hd_mem_free(e->slots);
    hd_mem_free(e->live);
}

static hd_slot *take_slot(hd_engine *e)
{
    pthread_mutex_lock(&e->lock);
    hd_slot *s = e->first_free < 0 ? NULL : &e->slots[e->first_free];
    if (s) {
        e->first_free = s->next_free;
        s->n_uses++;
    }
    pthread_mutex_unlock(&e->lock);
    return s;
}

static void give_back(hd_engine *e, hd_slot *s)
{
    free_request(s);
    atomic_store(&s->id, 0);
    pthread_mutex_lock(&e->lock);
    s->next_free = e->first_free;
    e->first_free = (int32_t)(s - e->slots);
    pthread_mutex_unlock(&e->lock);
}

static hd_slot *find_slot(hd_engine *e, uint64_t id)
{
    uint64_t i = id & UINT32_MAX;
    if (id == 0 || i >= (uint64_t)e->n_slots) return NULL;
    return atomic_load(&e->slots[i].id) == id ? &e->slots[i] : NULL;
}

/* ---- what is asked ----------------------------------------------------------------------------*/

static hd_status check(const hd_submit *q, const hd_model_info *info, hd_err *err)
{
    if (!q->ids || q->n_ids < 1 || q->max_new < 1 || q->min_new < 0)
        HD_FAIL(err, HD_E_ARG, "a request needs ids, and at least one token to generate");
    const int64_t timeouts[] = {q->timeout_ms, q->queue_timeout_ms};
    for (size_t i = 0; i < HD_COUNT(timeouts); i++)
        if (timeouts[i] < 0 || timeouts[i] > MAX_TIMEOUT_MS)
            HD_FAIL(err, HD_E_ARG, "%s is %" PRId64 ", expected 0 to %" PRId64,
                    i ? "queue_timeout_ms" : "timeout_ms", timeouts[i], MAX_TIMEOUT_MS);
    if (q->n_ids >= info->max_ctx)
        HD_FAIL(err, HD_E_LIMIT, "the prompt has %d tokens, and there is room for %d", q->n_ids,
                info->max_ctx - 1);
    if (q->n_top < 0 || q->n_top > HD_MAX_TOP_LOGPROBS || q->n_top > info->vocab_size)
        HD_FAIL(err, HD_E_ARG, "%d likely tokens, expected 0 to %d", q->n_top, HD_MAX_TOP_LOGPROBS);
    if (q->n_stop_ids < 0 || q->n_stop_ids > HD_MAX_STOP_IDS)
        HD_FAIL(err, HD_E_ARG, "%d stop tokens, expected 0 to %d", q->n_stop_ids, HD_MAX_STOP_IDS);
    for (int32_t i = 0; i < q->n_stop_ids; i++)
        if (q->stop_ids[i] < 0 || q->stop_ids[i] >= info->vocab_size)
            HD_FAIL(err, HD_E_ARG, "stop token %d is outside the vocabulary of %d", q->stop_ids[i],
                    info->vocab_size);
    return hd_sampling_check(&q->how, info->vocab_size, err);
}

static void *copy(const void *src, size_t n, size_t size)
{
    void *p = hd_mem_try_calloc(n + 1, size);
    if (p && n) memcpy(p, src, n * size);
    return p;
}

static hd_status copy_request(hd_request *r, const hd_submit *q, int32_t max_ctx, hd_err *err)
{
    int32_t room = max_ctx - q->n_ids, max_new = q->max_new < room ? q->max_new : room;
    *r = (hd_request){.n_prompt = q->n_ids,
                      .max_new = max_new,
                      .min_new = q->min_new,
                      .ignores_eos = q->ignore_eos != 0,
                      .n_stop_ids = q->n_stop_ids,
                      .no_draft = q->no_draft != 0,
                      .wants_echo = q->wants_echo != 0,
                      .how = q->how,
                      .group = q->group,
                      .user = q->user,
                      .priority = q->priority};
    r->text = hd_mem_try_calloc((size_t)q->n_ids + (size_t)max_new, sizeof *r->text);
    r->how.bias = copy(q->how.bias, q->how.n_bias, sizeof *q->how.bias);
    r->stop_ids = copy(q->stop_ids, (size_t)q->n_stop_ids, sizeof *q->stop_ids);
    if (!r->text || !r->how.bias || !r->stop_ids)
        HD_FAIL(err, HD_E_NOMEM, "out of memory for a request");
    memcpy(r->text, q->ids, (size_t)q->n_ids * sizeof *r->text);
    return HD_OK;
}

/* ---- constraints ------------------------------------------------------------------------------*/

/* The vocabulary as grammars see it: made once, some 0.2 s for the real one. */
static hd_status open_grammars(hd_engine *e, hd_err *err)
{
    hd_status st = HD_OK;
    if (!e->tokenizer) HD_FAIL(err, HD_E_UNSUPPORTED, "a constraint needs a tokenizer.json");
    pthread_mutex_lock(&e->lock);
    if (!e->trie) st = hd_vtrie_create(hd_tokenizer_vocab(e->tokenizer), &e->trie, err);
    if (st == HD_OK && !e->grammars)
        st = hd_grammar_cache_create(e->trie, KEPT_GRAMMARS, &e->grammars, err);
    pthread_mutex_unlock(&e->lock);
    return st;
}

static void tell_warnings(const hd_constraint *c, hd_buf *lines)
{
    char *line = lines->ptr;
    if (!c->warn || lines->len == 0) return;
    for (char *end; (end = strchr(line, '\n')); line = end + 1) {
        *end = '\0';
        c->warn(c->warn_ctx, line);
    }
    if (*line) c->warn(c->warn_ctx, line);
}

static hd_status constrain(hd_engine *e, hd_slot *s, const hd_submit *q, hd_err *err)
{
    const hd_constraint *c = q->constraint;
    if (!c) return HD_OK;
    bool in_block = q->output == HD_OUTPUT_CHAT && q->answer.start == HD_OUT_START_CALLS;
    if (in_block && (c->kind != HD_GRAMMAR_TOOLS ||
                     (c->choice != HD_TOOLS_REQUIRED && c->choice != HD_TOOLS_NAMED)))
        HD_FAIL(err, HD_E_UNSUPPORTED,
                "the prompt has begun the calls: only that they come can be enforced");
    hd_grammar_source source = {.kind = c->kind,
                                .text = {c->text, c->len},
                                .strict = c->is_strict != 0,
                                .any_order = c->has_any_order != 0,
                                .one_call = c->one_call != 0,
                                .in_block = in_block,
                                .rules = hd_chat_rules_find(HD_STR("v4"), HD_STR("")),
                                .choice = c->choice,
                                .tool_name = hd_str_from(c->tool_name ? c->tool_name : ""),
                                .thinks = q->output == HD_OUTPUT_CHAT &&
                                          q->answer.start == HD_OUT_START_REASONING};
    hd_grammar *g = NULL;
    hd_buf lines;
    HD_TRY(open_grammars(e, err));
    hd_buf_init(&lines, MAX_WARN_BYTES);
    hd_status st = hd_grammar_cache_get(e->grammars, &source, &lines, &g, NULL, err);
    if (st == HD_OK) st = hd_matcher_create(g, &s->r.matcher, err);
    if (st == HD_OK) tell_warnings(c, &lines);
    hd_grammar_unref(g);
    hd_buf_deinit(&lines);
    return st;
}

/* ---- submit, cancel, next ---------------------------------------------------------------------*/

static hd_status fill_slot(hd_engine *e, hd_slot *s, const hd_submit *q, hd_err *err)
{
    HD_TRY(copy_request(&s->r, q, e->info.max_ctx, err));
    HD_TRY(hd_output_init(&s->output, e->tokenizer, q->output, &q->answer, err));
    HD_TRY(constrain(e, s, q, err));
    HD_TRY(hd_events_reset(&s->events, err));
    s->r.owner = s;
    s->n_top = q->n_top;
    s->wants_logprobs = q->wants_logprobs != 0;
    s->is_done = false;
    s->paused_ns = 0;
    int64_t now = hd_clock_ns();
    s->deadline_ns = q->timeout_ms ? now + q->timeout_ms * 1000000 : 0;
    s->queue_deadline_ns = q->queue_timeout_ms ? now + q->queue_timeout_ms * 1000000 : 0;
    return HD_OK;
}

hd_status hd_engine_submit(hd_engine *e, const hd_submit *q, uint64_t *id, hd_err *err)
{
    HD_TRY(check(q, &e->info, err));
    hd_slot *s = take_slot(e);
    if (!s) HD_FAIL(err, HD_E_BUSY, "all %d requests are taken: read their ends", e->n_slots);
    hd_status st = fill_slot(e, s, q, err);
    if (st != HD_OK) {
        give_back(e, s);
        return st;
    }
    *id = s->r.id = (uint64_t)s->n_uses << 32 | (uint64_t)(s - e->slots);
    atomic_store(&s->id, *id);
    bool has_room = hd_queue_push(e->inbox, s); /* as many places as slots */
    HD_ASSERT(has_room);
    return HD_OK;
}

void hd_engine_cancel(hd_engine *e, uint64_t id)
{
    hd_slot *s = find_slot(e, id);
    if (!s) return;
    atomic_store(&s->cancelled, id);
    hd_queue_wake(e->inbox);
}

hd_status hd_engine_next(hd_engine *e, uint64_t id, int timeout_ms, hd_event *out, hd_err *err)
{
    hd_slot *s = find_slot(e, id);
    if (!s) HD_FAIL(err, HD_E_NOTFOUND, "no request %" PRIu64, id);
    if (!hd_events_get(&s->events, timeout_ms, out))
        HD_FAIL(err, HD_E_TIMEOUT, "no event within %d ms", timeout_ms);
    if (out->kind == HD_EVENT_END) give_back(e, s);
    return HD_OK;
}
