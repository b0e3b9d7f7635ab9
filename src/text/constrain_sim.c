/* Threads and frames: see constrain_match.h. */
#include "base/mem.h"
#include "text/constrain_match.h"

bool hd_match_room(void *table, uint32_t *cap, size_t n, size_t size)
{
    if (n <= *cap) return true;
    size_t wanted = *cap ? *cap : 16;
    while (wanted < n) wanted *= 2;
    if (wanted > UINT32_MAX / 2) return false;
    void *old, *grown;
    memcpy(&old, table, sizeof old);
    grown = hd_mem_try_realloc(old, wanted, size);
    if (!grown) return false;
    memcpy(table, &grown, sizeof grown);
    *cap = (uint32_t)wanted;
    return true;
}

void hd_sim_deinit(hd_sim *s)
{
    hd_mem_free(s->frame);
    hd_mem_free(s->thread);
}

static inline bool has_room(hd_sim *s)
{
    if (HD_LIKELY(s->n_threads < s->cap_threads)) return true;
    if (hd_match_room(&s->thread, &s->cap_threads, (size_t)s->n_threads + 1, sizeof *s->thread))
        return true;
    s->status = HD_E_NOMEM;
    return false;
}

void hd_sim_push(hd_sim *s, hd_thread t)
{
    if (has_room(s)) s->thread[s->n_threads++] = t;
}

static bool is_same(const hd_thread *a, const hd_thread *b)
{
    return a->state == b->state && a->frame == b->frame && a->value == b->value &&
           a->spec == b->spec;
}

/* Whether the stack may grow by what the state needs on top of `depth` frames. */
static bool fits(hd_sim *s, uint32_t depth, uint32_t need)
{
    uint32_t peak = depth + need;
    if (peak > HD_AUTO_MAX_DEPTH) {
        s->is_clipped = true;
        return false;
    }
    if (peak > s->peak) s->peak = peak;
    return true;
}

static void add(hd_sim *s, uint32_t first, hd_thread t)
{
    if (!fits(s, s->frame[t.frame].depth, s->a->state[t.state].min_depth)) return;
    for (uint32_t i = first; i < s->n_threads; i++)
        if (is_same(&s->thread[i], &t)) return;
    if (s->n_threads - first >= HD_SIM_MAX_THREADS)
        s->status = HD_E_LIMIT;
    else
        hd_sim_push(s, t);
}

/* The frame of a call by thread `t`, found among those of this step or made. */
static uint32_t push_frame(hd_sim *s, uint32_t frames, const hd_thread *t, uint32_t ret)
{
    hd_frame f = {t->value, t->frame, ret, t->spec, (uint16_t)(s->frame[t->frame].depth + 1)};
    for (uint32_t i = frames; i < s->n_frames; i++) {
        const hd_frame *x = &s->frame[i];
        if (x->parent == f.parent && x->ret == f.ret && x->value == f.value && x->spec == f.spec)
            return i;
    }
    if (!hd_match_room(&s->frame, &s->cap_frames, (size_t)s->n_frames + 1, sizeof *s->frame)) {
        s->status = HD_E_NOMEM;
        return t->frame;
    }
    s->frame[s->n_frames] = f;
    return s->n_frames++;
}

static void follow_calls(hd_sim *s, uint32_t first, uint32_t frames, hd_thread t)
{
    const hd_auto *a = s->a;
    const hd_auto_state *st = &a->state[t.state];
    for (unsigned i = 0; i < st->n_calls && s->status == HD_OK; i++) {
        const hd_auto_call *c = &a->call[st->call + i];
        const hd_auto_state *ret = &a->state[c->to];
        hd_thread in = {.state = a->rule[c->rule], .frame = t.frame, .spec = c->spec};
        uint32_t depth = s->frame[t.frame].depth, need = a->spec[c->spec].min_depth;
        /* A call that is the last thing a rule does needs no frame. */
        bool is_last = ret->is_final && !ret->n_arcs && !ret->n_calls && !ret->n_tokens;
        if (!fits(s, depth + !is_last, need)) continue;
        if (!is_last) {
            if (!fits(s, depth + 1, a->state[in.state].min_depth) ||
                !fits(s, depth, ret->min_depth))
                continue;
            in.frame = push_frame(s, frames, &t, c->to);
        }
        add(s, first, in);
    }
}

static void follow_end(hd_sim *s, uint32_t first, const hd_thread *t)
{
    if (t->frame == s->stop) {
        s->ends = true;
        return;
    }
    const hd_frame *f = &s->frame[t->frame];
    add(s, first, (hd_thread){f->value, f->ret, f->parent, f->spec});
}

void hd_sim_close(hd_sim *s, uint32_t first, uint32_t frames)
{
    s->ends = false;
    for (uint32_t i = first; i < s->n_threads && s->status == HD_OK; i++) {
        hd_thread t = s->thread[i];
        const hd_auto_state *st = &s->a->state[t.state];
        if (st->n_calls) follow_calls(s, first, frames, t);
        if (st->is_final) follow_end(s, first, &t);
    }
    uint32_t n = first;
    for (uint32_t i = first; i < s->n_threads; i++) {
        const hd_auto_state *st = &s->a->state[s->thread[i].state];
        if (st->n_arcs || st->n_tokens) s->thread[n++] = s->thread[i];
    }
    s->n_threads = n;
}

void hd_sim_step(hd_sim *s, uint32_t first, uint32_t n, uint8_t byte)
{
    const hd_auto *a = s->a;
    uint32_t begin = s->n_threads, frames = s->n_frames;
    bool is_plain = true;
    s->n_steps += HD_SIM_STEP_COST * n;
    s->ends = false;
    for (uint32_t i = first; i < first + n; i++) {
        hd_thread t = s->thread[i];
        const hd_auto_arc *arc = hd_auto_next(a, &a->state[t.state], byte);
        if (!arc) continue;
        if (arc->act && t.spec && !hd_auto_act(a, arc->act, t.spec, &t.value)) continue;
        t.state = arc->to;
        if (n == 1 && a->state[t.state].is_plain && !a->state[t.state].is_final) {
            hd_sim_push(s, t);
            continue;
        }
        is_plain = false;
        add(s, begin, t);
    }
    if (!is_plain) hd_sim_close(s, begin, frames);
}
