#include "engine/sched.h"

#include <string.h>

#include "base/mem.h"
#include "model/v4.h"

/* A snapshot is kept at least this often, so that a replay is short. */
#define SNAP_EVERY 4096

struct hd_sched {
    hd_sched_opts opts;
    hd_model *m;
    hd_prefix *prefix;
    hd_sampler *sampler;
    hd_request *waiting; /* list in the order of admission */
    hd_request **run;    /* [max_seqs]: running, in the order of admission */
    int32_t n_run;
    uint64_t n_added;
    /* of the step */
    hd_v4_part *part;     /* [max_seqs] */
    hd_request **of_part; /* [max_seqs] */
    float **dst;          /* [max_seqs] */
    float *logits;        /* f32 [max_seqs, V] */
    int32_t *csa, *hca;   /* page tables of a prefix */
    hd_sched_stats stats;
};

/* ---- create, destroy --------------------------------------------------------------------------*/

static hd_status alloc_arrays(hd_sched *s, hd_err *err)
{
    size_t n = (size_t)s->m->max_seqs;
    s->run = hd_mem_try_calloc(n, sizeof *s->run);
    s->part = hd_mem_try_calloc(n, sizeof *s->part);
    s->of_part = hd_mem_try_calloc(n, sizeof *s->of_part);
    s->dst = hd_mem_try_calloc(n, sizeof *s->dst);
    s->logits = hd_mem_try_calloc(n * (size_t)s->m->cfg.vocab_size, sizeof *s->logits);
    s->csa = hd_mem_try_calloc((size_t)s->m->state.max_pages[HD_PAGE_CSA] + 1, sizeof *s->csa);
    s->hca = hd_mem_try_calloc((size_t)s->m->state.max_pages[HD_PAGE_HCA] + 1, sizeof *s->hca);
    if (!s->run || !s->part || !s->of_part || !s->dst || !s->logits || !s->csa || !s->hca)
        HD_FAIL(err, HD_E_NOMEM, "out of memory for a scheduler of %d sequences", s->m->max_seqs);
    return HD_OK;
}

hd_status hd_sched_create(const hd_sched_opts *opts, hd_sched **out, hd_err *err)
{
    hd_status st;
    hd_model *m = opts->model;
    hd_prefix_opts prefix = {.csa = &m->state.pool[HD_PAGE_CSA],
                             .hca = &m->state.pool[HD_PAGE_HCA],
                             .snap_bytes = hd_v4_snap_bytes(m),
                             .snap_budget = opts->snap_budget};
    hd_sched *s = hd_mem_calloc(1, sizeof *s);
    s->opts = *opts;
    s->m = m;
    HD_TRY_GOTO(st, fail, alloc_arrays(s, err));
    HD_TRY_GOTO(st, fail, hd_prefix_create(&prefix, &s->prefix, err));
    HD_TRY_GOTO(st, fail, hd_sampler_create(m->cfg.vocab_size, &s->sampler, err));
    *out = s;
    return HD_OK;
fail:
    hd_sched_destroy(s);
    return st;
}

void hd_sched_destroy(hd_sched *s)
{
    if (!s) return;
    for (int32_t i = 0; i < s->n_run; i++) hd_seq_destroy(s->run[i]->seq);
    hd_prefix_destroy(s->prefix);
    hd_sampler_destroy(s->sampler);
    hd_mem_free(s->run);
    hd_mem_free(s->part);
    hd_mem_free(s->of_part);
    hd_mem_free(s->dst);
    hd_mem_free(s->logits);
    hd_mem_free(s->csa);
    hd_mem_free(s->hca);
    hd_mem_free(s);
}

/* ---- the list of those who wait ---------------------------------------------------------------*/

/* Higher priority first, then who came first. */
static bool goes_before(const hd_request *a, const hd_request *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a->turn < b->turn;
}

static void enqueue(hd_sched *s, hd_request *r)
{
    hd_request **at = &s->waiting;
    while (*at && !goes_before(r, *at)) at = &(*at)->next;
    r->next = *at;
    *at = r;
    r->state = HD_REQUEST_WAITING;
    s->stats.n_waiting++;
}

static hd_request *dequeue(hd_sched *s, hd_request **at)
{
    hd_request *r = *at;
    *at = r->next;
    r->next = NULL;
    s->stats.n_waiting--;
    return r;
}

hd_status hd_sched_add(hd_sched *s, hd_request *r, hd_err *err)
{
    const hd_model *m = s->m;
    if (r->n_prompt < 1 || r->max_new < 1)
        HD_FAIL(err, HD_E_ARG, "a request needs a prompt and room for a token");
    if (r->n_prompt >= m->max_ctx)
        HD_FAIL(err, HD_E_LIMIT, "the prompt has %d tokens, and there is room for %d", r->n_prompt,
                m->max_ctx - 1);
    for (hd_page_kind k = HD_PAGE_CSA; k <= HD_PAGE_HCA; k++)
        if (hd_v4_pages_for(r->n_prompt + 1, k) + (k == HD_PAGE_HCA) > m->state.pool[k].n_pages)
            HD_FAIL(err, HD_E_LIMIT, "the prompt has %d tokens, more than all pages hold",
                    r->n_prompt);
    for (int32_t i = 0; i < r->n_prompt; i++)
        if (r->text[i] < 0 || r->text[i] >= m->cfg.vocab_size)
            HD_FAIL(err, HD_E_ARG, "id %d at place %d is outside the vocabulary of %d", r->text[i],
                    i, m->cfg.vocab_size);
    HD_TRY(hd_sampling_check(&r->how, m->cfg.vocab_size, err));
    r->n_text = r->n_prompt;
    r->block = HD_PREFIX_NONE;
    r->turn = s->n_added++;
    s->stats.n_prompt += (uint64_t)r->n_prompt;
    enqueue(s, r);
    return HD_OK;
}

/* ---- a sequence for a request -----------------------------------------------------------------*/

static void leave_run(hd_sched *s, hd_request *r)
{
    int32_t i = 0;
    while (s->run[i] != r) i++;
    memmove(s->run + i, s->run + i + 1, (size_t)(s->n_run - i - 1) * sizeof *s->run);
    s->stats.n_running = --s->n_run;
    hd_seq_destroy(r->seq);
    r->seq = NULL;
    hd_prefix_drop(s->prefix, r->block);
    r->block = HD_PREFIX_NONE;
    r->replay_end = 0;
}

static void end_request(hd_sched *s, hd_request *r, hd_end end)
{
    if (r->seq) leave_run(s, r);
    r->state = HD_REQUEST_DONE;
    r->end = end;
    s->opts.on_done(s->opts.ctx, r);
}

/* Lets the new sequence begin behind the longest prefix that the cache has, but for the last id,
 * whose logits are wanted. Exact: with the snapshot of its end; else with the nearest one before
 * and a replay, or a replay alone. */
static hd_status begin_behind_prefix(hd_sched *s, hd_request *r, hd_err *err)
{
    int32_t block = r->block, end = hd_prefix_end(s->prefix, block);
    if (end == 0) return HD_OK;
    int32_t snap = hd_prefix_snap_before(s->prefix, block);
    int32_t snap_end = hd_prefix_end(s->prefix, snap), from = hd_v4_replay_from(s->m, end);
    hd_prefix_pages(s->prefix, block, s->csa, s->hca);
    hd_v4_state_adopt(r->seq, end, s->csa, s->hca);
    s->stats.n_hits++;
    if (snap_end >= from && snap_end > 0) {
        HD_TRY(hd_v4_snap_load(r->seq, snap_end, hd_prefix_snap(s->prefix, snap), err));
        from = snap_end;
    }
    if (from == end) {
        s->stats.n_snap_hits++;
    } else {
        hd_v4_state_replay(r->seq, from);
        r->replay_end = end;
        s->stats.n_replays++;
    }
    if (hd_request_n_new(r) == 0) {
        r->n_cached = from;
        s->stats.n_cached += (uint64_t)from;
    }
    return HD_OK;
}

static hd_status begin(hd_sched *s, hd_request *r, hd_err *err)
{
    HD_TRY(hd_seq_create(s->m, &r->seq, err));
    s->run[s->n_run++] = r;
    s->stats.n_running = s->n_run;
    r->state = HD_REQUEST_RUNNING;
    r->since = s->stats.n_steps;
    return begin_behind_prefix(s, r, err);
}

/* Snapshot at the last multiple of 128 that the sequence has passed, if the cache has that block.
 */
static hd_status keep_snap(hd_sched *s, hd_request *r, hd_err *err)
{
    int32_t pos = hd_prefix_end(s->prefix, r->block);
    if (r->replay_end || pos == 0 || !hd_v4_snap_ok(r->seq, pos)) return HD_OK;
    if (hd_prefix_snap_before(s->prefix, r->block) == r->block) return HD_OK;
    uint8_t *bytes = hd_prefix_snap_put(s->prefix, r->block);
    if (!bytes) return HD_OK;
    s->stats.n_snaps++;
    return hd_v4_snap_save(r->seq, pos, bytes, err);
}

/* The request gives its sequence back and waits. Its whole blocks stay in the cache as long as
 * there is room; whatever is lost is computed again, with the same result. */
static hd_status preempt(hd_sched *s, hd_request *r, hd_err *err)
{
    hd_status st = keep_snap(s, r, err);
    leave_run(s, r);
    s->stats.n_preempted++;
    enqueue(s, r);
    return st;
}

/* ---- pages ------------------------------------------------------------------------------------*/

/* Who must go when pages run out: the one that goes last in line. */
static hd_request *last_in_line(const hd_sched *s)
{
    hd_request *last = s->run[0];
    for (int32_t i = 1; i < s->n_run; i++)
        if (goes_before(last, s->run[i])) last = s->run[i];
    return last;
}

/* ---- the step ---------------------------------------------------------------------------------*/

/* Only its last token is to be run: it generates, or its prompt ends so. */
static bool has_one_left(const hd_request *r)
{
    return hd_seq_len(r->seq) + 1 == r->n_text && !r->replay_end;
}

/* Rows of a request in this step, at most room. A replay ends where its rows do; a chunk that
 * passes a place for a snapshot ends there. */
static int32_t n_rows_of(const hd_request *r, int32_t room)
{
    int32_t len = hd_seq_len(r->seq), end = r->replay_end ? r->replay_end : r->n_text;
    int32_t n = end - len < room ? end - len : room;
    int32_t border = (len / SNAP_EVERY + 1) * SNAP_EVERY;
    return len + n > border ? border - len : n;
}

static void add_part(hd_sched *s, hd_request *r, int32_t n, int32_t *n_parts, int32_t *n_dst)
{
    int32_t len = hd_seq_len(r->seq);
    bool gives_token = len + n == r->n_text;
    s->part[*n_parts] = (hd_v4_part){.seq = r->seq,
                                     .ids = r->text + len,
                                     .n = n,
                                     .pos0 = len,
                                     .n_logits = gives_token,
                                     .is_replay = r->replay_end != 0};
    if (gives_token) {
        s->dst[*n_dst] = s->logits + (size_t)*n_dst * (size_t)s->m->cfg.vocab_size;
        ++*n_dst;
    }
    s->of_part[(*n_parts)++] = r;
}

typedef struct plan {
    int32_t n_parts, n_dst, room, prompt_room;
    int32_t csa, hca; /* pages that the parts so far will take */
} plan;

/* Pages for the request's text up to len, beside those of the parts so far; the cache gives way. */
static bool plan_pages(hd_sched *s, const hd_request *r, int32_t len, plan *d)
{
    int32_t csa = d->csa + hd_v4_state_wants(r->seq, HD_PAGE_CSA, len);
    int32_t hca = d->hca + hd_v4_state_wants(r->seq, HD_PAGE_HCA, len);
    if (!hd_prefix_make_room(s->prefix, csa, hca)) return false;
    d->csa = csa;
    d->hca = hca;
    return true;
}

/* false: there are no pages for it. */
static bool plan_request(hd_sched *s, hd_request *r, plan *d)
{
    bool decodes = has_one_left(r);
    int32_t room = decodes || d->room < d->prompt_room ? d->room : d->prompt_room;
    int32_t n = n_rows_of(r, room), len = hd_seq_len(r->seq) + n;
    if (n <= 0 || (r->is_paused && len == r->n_text)) return true;
    if (!r->replay_end && !plan_pages(s, r, len, d)) return false;
    add_part(s, r, n, &d->n_parts, &d->n_dst);
    d->room -= n;
    if (!decodes) d->prompt_room -= n;
    return true;
}

/* Tokens first, then prompts. When pages do not suffice the last in line goes, and the plan is made
 * anew; one request alone always fits (hd_sched_add). */
static hd_status plan_step(hd_sched *s, plan *d, hd_err *err)
{
    int32_t rows = s->m->max_rows;
again:
    *d = (plan){.room = rows, .prompt_room = s->opts.chunk > 0 ? s->opts.chunk : rows};
    for (int pass = 0; pass < 2; pass++)
        for (int32_t i = 0; i < s->n_run; i++) {
            hd_request *r = s->run[i];
            if (has_one_left(r) != (pass == 0)) continue;
            if (plan_request(s, r, d)) continue;
            if (s->n_run == 1) {
                (void)HD_SET_ERR(&r->err, HD_E_LIMIT, "no page is free for its next token");
                end_request(s, r, HD_END_FAILED);
                goto again;
            }
            HD_TRY(preempt(s, last_in_line(s), err));
            goto again;
        }
    return HD_OK;
}

/* Hands the cache the blocks of 128 that the sequence has completed. */
static void add_blocks(hd_sched *s, hd_request *r)
{
    int32_t len = hd_seq_len(r->seq), at = hd_prefix_end(s->prefix, r->block);
    for (; at + HD_SNAP_STEP <= len; at += HD_SNAP_STEP) {
        int32_t k = at / HD_SNAP_STEP;
        int32_t csa = r->seq->page[HD_PAGE_CSA][k], hca = r->seq->page[HD_PAGE_HCA][k / 32];
        int32_t next = hd_prefix_add(s->prefix, r->group, r->block, r->text + at, csa, hca);
        if (next == HD_PREFIX_NONE) return; /* full of what is in use: it goes uncached */
        hd_prefix_hold(s->prefix, next);
        hd_prefix_drop(s->prefix, r->block);
        r->block = next;
    }
}

static bool is_over(const hd_sched *s, const hd_request *r, int32_t id, hd_end *end)
{
    *end = HD_END_STOP;
    if (id == s->m->cfg.eos_id && !r->ignores_eos && hd_request_n_new(r) > r->min_new) return true;
    *end = HD_END_LENGTH;
    return hd_request_n_new(r) == r->max_new || r->n_text == s->m->max_ctx;
}

static hd_status choose(hd_sched *s, hd_request *r, const float *logits, hd_err *err)
{
    int32_t id;
    hd_end end = HD_END_STOP;
    hd_sample_args args = {.logits = logits,
                           .how = &r->how,
                           .position = (uint64_t)r->n_text,
                           .ids = r->text,
                           .n_ids = (size_t)r->n_text,
                           .n_prompt = (size_t)r->n_prompt};
    HD_TRY(hd_sampler_draw(s->sampler, &args, &id, err));
    r->text[r->n_text++] = id;
    s->stats.n_generated++;
    bool goes_on = s->opts.on_token(s->opts.ctx, r, logits);
    if (goes_on && !is_over(s, r, id, &end)) return HD_OK;
    HD_TRY(keep_snap(s, r, err));
    end_request(s, r, end);
    return HD_OK;
}

/* What the step has brought one request. */
static hd_status settle(hd_sched *s, hd_request *r, const hd_v4_part *part, const float *logits,
                        hd_err *err)
{
    int32_t len = hd_seq_len(r->seq);
    if (part->is_replay) {
        s->stats.n_replayed += (uint64_t)part->n;
        if (len == r->replay_end) r->replay_end = 0;
        return HD_OK;
    }
    add_blocks(s, r);
    bool prompt_ends = part->n_logits && hd_request_n_new(r) == 0;
    if (prompt_ends || len % SNAP_EVERY == 0) HD_TRY(keep_snap(s, r, err));
    return logits ? choose(s, r, logits, err) : HD_OK;
}

static void fail_all(hd_sched *s, const hd_err *err)
{
    while (s->n_run > 0) {
        hd_request *r = s->run[s->n_run - 1];
        r->err = *err;
        end_request(s, r, HD_END_FAILED);
    }
}

static hd_status run_step(hd_sched *s, hd_err *err)
{
    plan d;
    hd_v4_step step;
    HD_TRY(plan_step(s, &d, err));
    if (d.n_parts == 0) return HD_OK;
    HD_TRY(hd_v4_run_parts(s->m, s->part, d.n_parts, s->dst, &step, err));
    s->stats.n_steps++;
    for (int32_t i = 0, n = 0; i < d.n_parts; i++) {
        const float *logits = s->part[i].n_logits ? s->dst[n++] : NULL;
        s->stats.n_rows += (uint64_t)s->part[i].n;
        HD_TRY(settle(s, s->of_part[i], &s->part[i], logits, err));
    }
    return HD_OK;
}

/* ---- admission --------------------------------------------------------------------------------*/

static void end_cancelled(hd_sched *s, hd_request *r)
{
    end_request(s, r, r->end == HD_END_TIMEOUT ? HD_END_TIMEOUT : HD_END_CANCELLED);
}

static void drop_cancelled(hd_sched *s)
{
    for (hd_request **at = &s->waiting; *at;)
        if ((*at)->is_cancelled)
            end_cancelled(s, dequeue(s, at));
        else
            at = &(*at)->next;
    for (int32_t i = s->n_run - 1; i >= 0; i--)
        if (s->run[i]->is_cancelled) end_cancelled(s, s->run[i]);
}

/* Finds and holds the prefix of a request; whether there are pages for the rest of its text and a
 * token more, so that what is admitted is not thrown out at once. */
static bool fits(hd_sched *s, hd_request *r)
{
    r->block = hd_prefix_find(s->prefix, r->group, r->text, r->n_text - 1);
    hd_prefix_hold(s->prefix, r->block);
    int32_t have = hd_prefix_end(s->prefix, r->block), want = r->n_text + 1;
    /* A partial page of ratio 128 will be copied. */
    int32_t csa = hd_v4_pages_for(want, HD_PAGE_CSA) - have / HD_SNAP_STEP;
    int32_t hca = hd_v4_pages_for(want, HD_PAGE_HCA) - hd_v4_pages_for(have, HD_PAGE_HCA) + 1;
    return hd_prefix_make_room(s->prefix, csa, hca);
}

static hd_status admit(hd_sched *s, hd_err *err)
{
    while (s->waiting && s->n_run < s->m->max_seqs) {
        hd_request *r = s->waiting;
        if (!fits(s, r) && s->n_run > 0) {
            hd_prefix_drop(s->prefix, r->block);
            r->block = HD_PREFIX_NONE;
            return HD_OK;
        }
        HD_TRY(begin(s, dequeue(s, &s->waiting), err));
    }
    return HD_OK;
}

hd_status hd_sched_step(hd_sched *s, hd_err *err)
{
    hd_err own = {0};
    drop_cancelled(s);
    if (!s->waiting && s->n_run == 0) HD_FAIL(err, HD_E_NOTFOUND, "there is nothing to do");
    hd_status st = admit(s, &own);
    if (st == HD_OK) st = run_step(s, &own);
    if (st == HD_OK) return HD_OK;
    fail_all(s, &own);
    if (err) *err = own;
    return st;
}

void hd_sched_get_stats(const hd_sched *s, hd_sched_stats *out)
{
    *out = s->stats;
}

const hd_prefix *hd_sched_prefix(const hd_sched *s)
{
    return s->prefix;
}
