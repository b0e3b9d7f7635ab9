#include <string.h>

#include "engine/sched_parts.h"

/* ---- the list of those who wait ---------------------------------------------------------------*/

static uint64_t served(const hd_sched *s, const hd_request *r)
{
    return hd_fair_served(&s->fair, r->account);
}

/* Higher priority first, then who came first: an order that never changes, so that somebody always
 * gets through. */
static bool came_before(const hd_request *a, const hd_request *b)
{
    return a->priority != b->priority ? a->priority > b->priority : a->turn < b->turn;
}

bool hd_sched_goes_before(const hd_sched *s, const hd_request *a, const hd_request *b)
{
    if (a->priority != b->priority) return a->priority > b->priority;
    uint64_t of_a = served(s, a), of_b = served(s, b);
    return of_a != of_b ? of_a < of_b : a->turn < b->turn;
}

void hd_sched_enqueue(hd_sched *s, hd_request *r)
{
    hd_request **at = &s->waiting;
    while (*at && !came_before(r, *at)) at = &(*at)->next;
    r->next = *at;
    *at = r;
    r->state = HD_REQUEST_WAITING;
    r->looked_at = 0;
    r->has_files = false;
    s->stats.n_waiting++;
}

static hd_request *dequeue(hd_sched *s, hd_request **at)
{
    hd_request *r = *at;
    *at = r->next;
    r->next = NULL;
    s->stats.n_waiting--;
    hd_fair_pass(&s->fair, r->account);
    return r;
}

/* Of those with the highest priority the one whose user was served least. Who waits for files does
 * not keep the others waiting. NULL: there is nobody. */
static hd_request **next_in_line(hd_sched *s)
{
    hd_request **best = NULL;
    for (hd_request **at = &s->waiting; *at; at = &(*at)->next) {
        if ((*at)->waits_on_disk) continue;
        if (best && (*at)->priority != (*best)->priority) break;
        if (!best || served(s, *at) < served(s, *best)) best = at;
    }
    return best;
}

/* ---- running, and no more ---------------------------------------------------------------------*/

static void leave_run(hd_sched *s, hd_request *r)
{
    int32_t i = 0;
    while (s->run[i] != r) i++;
    memmove(s->run + i, s->run + i + 1, (size_t)(s->n_run - i - 1) * sizeof *s->run);
    s->stats.n_running = --s->n_run;
    hd_seq_reset(r->seq);
    s->idle[s->n_idle++] = r->seq;
    r->seq = NULL;
    hd_prefix_drop(s->prefix, r->block);
    r->block = HD_PREFIX_NONE;
    r->replay_end = 0;
    r->n_draft = 0;
}

void hd_sched_end(hd_sched *s, hd_request *r, hd_end end)
{
    hd_disk_keep(s->disk, r->group, r->block);
    hd_disk_forget(s->disk, r);
    if (r->seq) leave_run(s, r);
    r->state = HD_REQUEST_DONE;
    r->end = end;
    hd_fair_leave(&s->fair, r->account);
    s->opts.on_done(s->opts.ctx, r);
}

static void end_cancelled(hd_sched *s, hd_request *r)
{
    bool has_reason = r->end == HD_END_TIMEOUT || r->end == HD_END_FAILED;
    hd_sched_end(s, r, has_reason ? r->end : HD_END_CANCELLED);
}

void hd_sched_drop_cancelled(hd_sched *s)
{
    for (hd_request **at = &s->waiting; *at;)
        if ((*at)->is_cancelled)
            end_cancelled(s, dequeue(s, at));
        else
            at = &(*at)->next;
    for (int32_t i = s->n_run - 1; i >= 0; i--)
        if (s->run[i]->is_cancelled) end_cancelled(s, s->run[i]);
}

hd_status hd_sched_keep_snap(hd_sched *s, hd_request *r, hd_err *err)
{
    int32_t pos = hd_prefix_end(s->prefix, r->block);
    if (r->replay_end || pos == 0 || !hd_v4_snap_ok(r->seq, pos)) return HD_OK;
    if (hd_prefix_has_snap(s->prefix, r->block)) return HD_OK;
    uint8_t *bytes = hd_prefix_snap_put(s->prefix, r->block);
    if (!bytes) return HD_OK;
    hd_status st = hd_v4_snap_save(r->seq, pos, bytes, err);
    if (st == HD_OK)
        s->stats.n_snaps++;
    else
        hd_prefix_snap_drop(s->prefix, r->block);
    return st;
}

/* Its whole blocks stay in the cache as long as there is room; whatever is lost is computed again,
 * with the same result. */
static hd_status preempt(hd_sched *s, hd_request *r, hd_err *err)
{
    hd_status st = hd_sched_keep_snap(s, r, err);
    leave_run(s, r);
    s->stats.n_preempted++;
    hd_fair_wait(&s->fair, r->account);
    hd_sched_enqueue(s, r);
    return st;
}

hd_status hd_sched_preempt_last(hd_sched *s, hd_err *err)
{
    hd_request *last = s->run[0];
    for (int32_t i = 1; i < s->n_run; i++)
        if (came_before(last, s->run[i])) last = s->run[i];
    return preempt(s, last, err);
}

/* ---- admission --------------------------------------------------------------------------------*/

bool hd_sched_make_room(hd_sched *s, int32_t csa, int32_t hca)
{
    if (hd_prefix_make_room(s->prefix, csa, hca)) return true;
    return hd_disk_let_go(s->disk) && hd_prefix_make_room(s->prefix, csa, hca);
}

/* Finds and holds the prefix of a request; whether there are pages for the rest of its text and a
 * token more, so that what is admitted is not thrown out at once. */
static bool fits(hd_sched *s, hd_request *r)
{
    uint64_t version = hd_prefix_version(s->prefix);
    if (r->looked_at != version)
        r->found = hd_prefix_find(s->prefix, r->group, r->text, hd_request_n_skippable(r));
    r->looked_at = version;
    r->block = r->found;
    hd_prefix_hold(s->prefix, r->block);
    int32_t have = hd_prefix_end(s->prefix, r->block), want = r->n_text + 1;
    /* A partial page of ratio 128 will be copied. */
    int32_t csa = hd_v4_pages_for(want, HD_PAGE_CSA) - have / HD_SNAP_STEP;
    int32_t hca = hd_v4_pages_for(want, HD_PAGE_HCA) - hd_v4_pages_for(have, HD_PAGE_HCA) + 1;
    return hd_sched_make_room(s, csa, hca);
}

/* What the first admission charges, later ones do not: work that is lost is no user's fault. */
static void account_for(hd_sched *s, hd_request *r, int32_t n_skipped)
{
    if (!r->was_admitted) {
        r->n_cached = n_skipped;
        s->stats.n_cached += (uint64_t)n_skipped;
        hd_fair_charge(&s->fair, r->account, r->n_text - n_skipped);
    } else if (hd_request_n_new(r) == 0 && n_skipped < r->n_cached) {
        s->stats.n_cached -= (uint64_t)(r->n_cached - n_skipped);
        r->n_cached = n_skipped;
    }
    r->was_admitted = true;
}

/* Lets the empty sequence begin behind the block that the request holds. Exact: with the snapshot
 * of its end; else with the nearest one before and a replay, or a replay alone. */
static hd_status begin_behind_prefix(hd_sched *s, hd_request *r, hd_err *err)
{
    int32_t block = r->block, end = hd_prefix_end(s->prefix, block);
    int32_t snap = hd_prefix_snap_before(s->prefix, block);
    int32_t snap_end = hd_prefix_end(s->prefix, snap), from = hd_v4_replay_from(s->m, end);
    hd_prefix_pages(s->prefix, block, s->csa, s->hca);
    hd_v4_state_adopt(r->seq, end, s->csa, s->hca);
    s->stats.n_hits++;
    s->stats.n_forks += hd_prefix_goes_on(s->prefix, block);
    if (snap_end >= from && snap_end > 0) {
        HD_TRY(hd_v4_snap_load(r->seq, snap_end, hd_prefix_snap(s->prefix, snap), err));
        from = snap_end;
    }
    if (from == end) {
        s->stats.n_snap_hits++;
    } else {
        HD_TRY(hd_v4_state_replay(r->seq, from, err));
        r->replay_end = end;
        s->stats.n_replays++;
    }
    account_for(s, r, from);
    return HD_OK;
}

static hd_status begin(hd_sched *s, hd_request *r, hd_err *err)
{
    r->seq = s->idle[--s->n_idle];
    s->run[s->n_run++] = r;
    s->stats.n_running = s->n_run;
    r->state = HD_REQUEST_RUNNING;
    r->since = s->stats.n_steps;
    hd_drafter_begin(s->drafter, r);
    if (r->block != HD_PREFIX_NONE) return begin_behind_prefix(s, r, err);
    account_for(s, r, 0);
    return HD_OK;
}

hd_status hd_sched_admit(hd_sched *s, hd_err *err)
{
    hd_request **at;
    for (hd_request *r = s->waiting; r; r = r->next) r->waits_on_disk = false;
    while (s->n_idle > 0 && (at = next_in_line(s))) {
        hd_request *r = *at;
        bool has_room = fits(s, r) || s->n_run == 0;
        r->waits_on_disk = has_room && hd_disk_holds_back(s->disk, r);
        if (has_room && !r->waits_on_disk) {
            HD_TRY(begin(s, dequeue(s, at), err));
            continue;
        }
        hd_prefix_drop(s->prefix, r->block);
        r->block = HD_PREFIX_NONE;
        if (!has_room) return HD_OK;
    }
    return HD_OK;
}
