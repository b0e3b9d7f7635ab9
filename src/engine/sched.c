#include "engine/sched.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/sched_parts.h"

/* ---- create, destroy --------------------------------------------------------------------------*/

static hd_status alloc_arrays(hd_sched *s, hd_err *err)
{
    size_t n = (size_t)s->m->max_seqs, v = (size_t)s->m->cfg.vocab_size;
    size_t n_logits = n + 2 * HD_HEAD_ROWS;
    s->run = hd_mem_try_calloc(n, sizeof(hd_request *));
    s->idle = hd_mem_try_calloc(n, sizeof(hd_seq *));
    s->part = hd_mem_try_calloc(n, sizeof *s->part);
    s->of_part = hd_mem_try_calloc(n, sizeof(hd_request *));
    s->order = hd_mem_try_calloc(n, sizeof(hd_request *));
    s->dst = hd_mem_try_calloc(n_logits, sizeof(float *));
    s->logits = hd_mem_try_calloc(n_logits * v, sizeof *s->logits); /* touched when used */
    s->mask = hd_mem_try_calloc((v + 31) / 32, sizeof *s->mask);
    s->csa = hd_mem_try_calloc((size_t)s->m->state.max_pages[HD_PAGE_CSA] + 1, sizeof *s->csa);
    s->hca = hd_mem_try_calloc((size_t)s->m->state.max_pages[HD_PAGE_HCA] + 1, sizeof *s->hca);
    if (!s->run || !s->idle || !s->part || !s->of_part || !s->order || !s->dst || !s->logits ||
        !s->mask || !s->csa || !s->hca)
        HD_FAIL(err, HD_E_NOMEM, "out of memory for a scheduler of %d sequences", s->m->max_seqs);
    for (size_t i = 0; i < n_logits; i++) s->dst[i] = s->logits + i * v;
    return HD_OK;
}

/* All that the model can have: admission allocates nothing. */
static hd_status make_sequences(hd_sched *s, hd_err *err)
{
    for (; s->n_idle < s->m->max_seqs; s->n_idle++)
        HD_TRY(hd_seq_create(s->m, &s->idle[s->n_idle], err));
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
    HD_TRY_GOTO(st, fail, make_sequences(s, err));
    HD_TRY_GOTO(st, fail, hd_prefix_create(&prefix, &s->prefix, err));
    HD_TRY_GOTO(st, fail, hd_sampler_create(m->cfg.vocab_size, &s->sampler, err));
    if (opts->cache_dir) {
        hd_disk_opts disk = {.model = m,
                             .prefix = s->prefix,
                             .dir = opts->cache_dir,
                             .budget = opts->cache_dir_bytes};
        HD_TRY_GOTO(st, fail, hd_disk_open(&disk, &s->disk, err));
    }
    hd_drafter_opts draft = {.model = m, .sampler = s->sampler, .kind = opts->draft};
    HD_TRY_GOTO(st, fail, hd_drafter_create(&draft, &s->drafter, err));
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
    for (int32_t i = 0; i < s->n_idle; i++) hd_seq_destroy(s->idle[i]);
    hd_disk_close(s->disk);
    hd_prefix_destroy(s->prefix);
    hd_drafter_destroy(s->drafter);
    hd_sampler_destroy(s->sampler);
    hd_fair_deinit(&s->fair);
    hd_mem_free(s->run);
    hd_mem_free(s->idle);
    hd_mem_free(s->part);
    hd_mem_free(s->of_part);
    hd_mem_free(s->order);
    hd_mem_free(s->dst);
    hd_mem_free(s->logits);
    hd_mem_free(s->mask);
    hd_mem_free(s->csa);
    hd_mem_free(s->hca);
    hd_mem_free(s);
}

/* ---- adding -----------------------------------------------------------------------------------*/

static hd_status check_room(const hd_model *m, const hd_request *r, hd_err *err)
{
    if (r->n_prompt < 1 || r->max_new < 1)
        HD_FAIL(err, HD_E_ARG, "a request needs a prompt and room for a token");
    if (r->n_prompt >= m->max_ctx)
        HD_FAIL(err, HD_E_LIMIT, "the prompt has %d tokens, and there is room for %d", r->n_prompt,
                m->max_ctx - 1);
    for (hd_page_kind k = HD_PAGE_CSA; k <= HD_PAGE_HCA; k++)
        if (hd_v4_pages_for(r->n_prompt + 1, k) + (k == HD_PAGE_HCA) > m->state.pool[k].n_pages)
            HD_FAIL(err, HD_E_LIMIT, "the prompt has %d tokens, more than all pages hold",
                    r->n_prompt);
    return HD_OK;
}

static hd_status check(const hd_sched *s, const hd_request *r, hd_err *err)
{
    int32_t v = s->m->cfg.vocab_size;
    HD_TRY(check_room(s->m, r, err));
    for (int32_t i = 0; i < r->n_prompt; i++)
        if (r->text[i] < 0 || r->text[i] >= v)
            HD_FAIL(err, HD_E_ARG, "id %d at place %d is outside the vocabulary of %d", r->text[i],
                    i, v);
    if (r->wants_echo && !s->opts.on_prompt_logits)
        HD_FAIL(err, HD_E_ARG, "nobody is there to take the logits of a prompt");
    if (r->matcher && hd_matcher_mask_words(r->matcher) > ((size_t)v + 31) / 32)
        HD_FAIL(err, HD_E_ARG, "the grammar's vocabulary is larger than the model's of %d", v);
    return hd_sampling_check(&r->how, v, err);
}

hd_status hd_sched_add(hd_sched *s, hd_request *r, hd_err *err)
{
    HD_TRY(check(s, r, err));
    HD_TRY(hd_fair_join(&s->fair, r->user, &r->account, err));
    r->n_text = r->n_prompt;
    r->block = HD_PREFIX_NONE;
    r->turn = s->n_added++;
    hd_pace_begin(&r->pace);
    s->stats.n_prompt += (uint64_t)r->n_prompt;
    hd_sched_enqueue(s, r);
    return HD_OK;
}

/* ---- the plan of a step -----------------------------------------------------------------------*/

typedef struct plan {
    int32_t n_parts, room, prompt_room;
    int32_t echo_room, draft_room; /* rows left for prompts that are echoed, and for guesses */
    int32_t csa, hca;              /* pages that the parts so far will take */
} plan;

/* Only its last token is to be run: it generates, or its prompt ends so. */
static bool has_one_left(const hd_request *r)
{
    return hd_seq_len(r->seq) + 1 == r->n_text && !r->replay_end;
}

/* Rows of a request in this step. A replay ends where its rows do; a chunk that passes a place for
 * a snapshot ends there; of a prompt that is echoed each row has logits. */
static int32_t n_rows_of(const hd_request *r, const plan *d)
{
    int32_t room = has_one_left(r) || d->room < d->prompt_room ? d->room : d->prompt_room;
    int32_t len = hd_seq_len(r->seq), end = r->replay_end ? r->replay_end : r->n_text;
    if (hd_request_echoes(r) && d->echo_room < room) room = d->echo_room;
    int32_t n = end - len < room ? end - len : room;
    int32_t border = (len / HD_SCHED_SNAP_EVERY + 1) * HD_SCHED_SNAP_EVERY;
    return len + n > border ? border - len : n;
}

/* Rows of logits that n rows of a request give: of the last one a token is drawn, of those before
 * it only where they are wanted for themselves. */
static int32_t n_logits_of(const hd_request *r, int32_t n)
{
    int32_t len = hd_seq_len(r->seq), end = len + n;
    if (r->replay_end) return 0;
    if (hd_request_echoes(r)) { /* it may have been told of these before it had to wait */
        int32_t first = r->n_echoed > len ? r->n_echoed : len;
        return end > first ? end - first : 0;
    }
    return end == r->n_text;
}

/* Pages for the request's text up to len, beside those of the parts so far; the cache gives way. */
static bool plan_pages(hd_sched *s, const hd_request *r, int32_t len, plan *d)
{
    int32_t csa = d->csa + hd_v4_state_wants(r->seq, HD_PAGE_CSA, len);
    int32_t hca = d->hca + hd_v4_state_wants(r->seq, HD_PAGE_HCA, len);
    if (!hd_sched_make_room(s, csa, hca)) return false;
    d->csa = csa;
    d->hca = hca;
    return true;
}

/* Nobody reads what it would give. */
static bool sits_out(const hd_request *r, int32_t end)
{
    return r->is_paused && (end == r->n_text || hd_request_echoes(r));
}

/* Guesses that are checked in this step. */
static int32_t n_guesses_of(const hd_request *r, const plan *d)
{
    int32_t room = d->draft_room < d->room - 1 ? d->draft_room : d->room - 1;
    return r->n_draft < room ? r->n_draft : room;
}

/* false: there are no pages for it. Guesses take none from others. */
static bool plan_request(hd_sched *s, hd_request *r, plan *d)
{
    int32_t n = n_rows_of(r, d), len = hd_seq_len(r->seq), n_guesses = n_guesses_of(r, d);
    if (n <= 0 || sits_out(r, len + n)) return true;
    if (n_guesses > 0 && !plan_pages(s, r, len + n + n_guesses, d)) n_guesses = 0;
    if (n_guesses <= 0 && !r->replay_end && !plan_pages(s, r, len + n, d)) return false;
    if (n_guesses < 0) n_guesses = 0;
    s->part[d->n_parts] = (hd_v4_part){.seq = r->seq,
                                       .ids = r->text + len,
                                       .n = n + n_guesses,
                                       .pos0 = len,
                                       .n_logits = n_logits_of(r, n) + n_guesses,
                                       .is_replay = r->replay_end != 0};
    s->of_part[d->n_parts++] = r;
    if (hd_request_echoes(r)) d->echo_room -= n;
    if (!has_one_left(r)) d->prompt_room -= n;
    d->room -= n + n_guesses;
    d->draft_room -= n_guesses;
    return true;
}

/* Those that generate in the order of admission, then prompts, who goes first first. */
static void find_order(hd_sched *s)
{
    int32_t n = 0, n_first;
    for (int32_t i = 0; i < s->n_run; i++)
        if (has_one_left(s->run[i])) s->order[n++] = s->run[i];
    n_first = n;
    for (int32_t i = 0; i < s->n_run; i++) {
        if (has_one_left(s->run[i])) continue;
        int32_t at = n++;
        for (; at > n_first && hd_sched_goes_before(s, s->run[i], s->order[at - 1]); at--)
            s->order[at] = s->order[at - 1];
        s->order[at] = s->run[i];
    }
}

/* false: somebody lacks pages. */
static bool plan_all(hd_sched *s, plan *d)
{
    int32_t rows = s->m->max_rows, drafts = (rows - s->n_run) / 2;
    *d = (plan){.room = rows,
                .prompt_room = s->opts.chunk > 0 ? s->opts.chunk : rows,
                .echo_room = HD_HEAD_ROWS,
                .draft_room = drafts < HD_HEAD_ROWS ? drafts : HD_HEAD_ROWS};
    find_order(s);
    for (int32_t i = 0; i < s->n_run; i++)
        if (!plan_request(s, s->order[i], d)) return false;
    return true;
}

/* Paths that are held by running requests share the pages of these; so a request alone has all
 * others. */
static void settle_paths(hd_sched *s)
{
    for (int32_t i = 0; i < s->n_run; i++) {
        const hd_seq *seq = s->run[i]->seq;
        hd_prefix_settle(s->prefix, s->run[i]->block, seq->page[HD_PAGE_CSA],
                         seq->page[HD_PAGE_HCA]);
    }
}

/* When pages do not suffice, first those go that are held twice, then the last in line, and the
 * plan is made anew; one request alone always fits (hd_sched_add). */
static hd_status plan_step(hd_sched *s, plan *d, hd_err *err)
{
    for (bool is_settled = false; !plan_all(s, d); is_settled = true) {
        if (!is_settled) {
            settle_paths(s);
            continue;
        }
        if (s->n_run > 1) {
            HD_TRY(hd_sched_preempt_last(s, err));
            continue;
        }
        hd_request *r = s->run[0];
        (void)HD_SET_ERR(&r->err, HD_E_LIMIT, "no page is free for its next token");
        hd_sched_end(s, r, HD_END_FAILED);
    }
    return HD_OK;
}

/* ---- what a step brought ----------------------------------------------------------------------*/

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

/* Logits of prompt positions that were not told yet, from row 0 on; returns how many rows. */
static int32_t tell_prompt(hd_sched *s, hd_request *r, const hd_v4_part *part, float *const *row)
{
    int32_t n = 0;
    for (int32_t pos = part->pos0 + part->n - part->n_logits; hd_request_echoes(r); pos++, n++) {
        if (n == part->n_logits) break;
        s->opts.on_prompt_logits(s->opts.ctx, r, pos, row[n]);
        r->n_echoed = pos + 1;
    }
    return n;
}

typedef struct outcome {
    int32_t n_right; /* guesses that were drawn */
    bool is_over;
    hd_end end;
} outcome;

/* A token from each row, as long as the guess that the next row was made from was right. */
static hd_status draw(hd_sched *s, hd_request *r, float *const *row, int32_t n_guesses,
                      outcome *out, hd_err *err)
{
    hd_draft_stats *stats = &s->stats.draft[hd_drafter_kind(s->drafter)];
    *out = (outcome){.n_right = 0};
    for (;; out->n_right++) {
        int32_t guess = out->n_right < n_guesses ? r->text[r->n_text] : -1;
        HD_TRY(hd_sched_choose(s, r, row[out->n_right], &out->is_over, &out->end, err));
        if (out->is_over || r->is_cancelled || r->text[r->n_text - 1] != guess) break;
    }
    if (n_guesses == 0) {
        hd_pace_pass(&r->pace);
        return HD_OK;
    }
    hd_pace_learn(&r->pace, n_guesses, out->n_right);
    stats->n_checks++;
    stats->n_drafted += (uint64_t)n_guesses;
    stats->n_right += (uint64_t)out->n_right;
    return HD_OK;
}

/* What the step has brought the request of part i; its rows of logits begin at *row. */
static hd_status settle(hd_sched *s, int32_t i, float *const *row, hd_err *err)
{
    const hd_v4_part *part = &s->part[i];
    hd_request *r = s->of_part[i];
    int32_t end = part->pos0 + part->n, n_guesses = end - r->n_text;
    bool is_prompt = hd_request_n_new(r) == 0;
    outcome out = {.is_over = false};
    if (part->is_replay) {
        s->stats.n_replayed += (uint64_t)part->n;
        if (end == r->replay_end) r->replay_end = 0;
        return HD_OK;
    }
    row += tell_prompt(s, r, part, row);
    if (n_guesses >= 0) {
        HD_TRY(draw(s, r, row, n_guesses, &out, err));
        end -= n_guesses - out.n_right;
        if (out.n_right < n_guesses) hd_v4_state_rollback(r->seq, end);
    }
    add_blocks(s, r);
    bool is_far = end / HD_SCHED_SNAP_EVERY > part->pos0 / HD_SCHED_SNAP_EVERY;
    if (is_far || out.is_over || (is_prompt && n_guesses >= 0))
        HD_TRY(hd_sched_keep_snap(s, r, err));
    if (is_far) hd_disk_keep(s->disk, r->group, r->block);
    if (!out.is_over) return HD_OK;
    s->of_part[i] = NULL;
    hd_sched_end(s, r, out.end);
    return HD_OK;
}

static void fail_all(hd_sched *s, const hd_err *err)
{
    while (s->n_run > 0) {
        hd_request *r = s->run[s->n_run - 1];
        r->err = *err;
        hd_sched_end(s, r, HD_END_FAILED);
    }
}

static hd_status run_step(hd_sched *s, hd_err *err)
{
    plan d;
    hd_v4_step step;
    HD_TRY(plan_step(s, &d, err));
    if (d.n_parts == 0) return HD_OK;
    int64_t began = hd_clock_ns();
    HD_TRY(hd_v4_run_parts(s->m, s->part, d.n_parts, s->dst, &step, err));
    s->stats.model_ns += (uint64_t)(hd_clock_ns() - began);
    s->stats.n_steps++;
    float **row = s->dst;
    for (int32_t i = 0; i < d.n_parts; row += s->part[i++].n_logits) {
        s->stats.n_rows += (uint64_t)s->part[i].n;
        HD_TRY(settle(s, i, row, err));
    }
    hd_draft_step done = {s->part, s->of_part, d.n_parts, s->run, s->n_run};
    began = hd_clock_ns();
    HD_TRY(hd_drafter_guess(s->drafter, &done, err));
    s->stats.draft_ns += (uint64_t)(hd_clock_ns() - began);
    return HD_OK;
}

hd_status hd_sched_step(hd_sched *s, hd_err *err)
{
    hd_err own = {0};
    hd_sched_drop_cancelled(s);
    bool has_files = hd_disk_pump(s->disk);
    if (!s->waiting && s->n_run == 0 && !has_files)
        HD_FAIL(err, HD_E_NOTFOUND, "there is nothing to do");
    hd_status st = hd_sched_admit(s, &own);
    if (st == HD_OK && s->n_run == 0) hd_disk_wait(s->disk);
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

void hd_sched_get_disk_stats(const hd_sched *s, hd_disk_stats *out)
{
    hd_disk_get_stats(s->disk, out);
}

const hd_prefix *hd_sched_prefix(const hd_sched *s)
{
    return s->prefix;
}
