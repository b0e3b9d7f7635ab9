/* Masks: walks of the vocabulary's trie with the automaton.
 *
 * A thread's tokens are found in two parts. First the walk that stays above the thread's frame: it
 * depends on the state (and on how close a count is to its limits) and on nothing else, so where
 * it is long it is kept in a table. Its nodes at which the rule may end are the exits; below each
 * exit, a few nodes mostly, a second walk goes on with the stack that this sequence really has. */
#include "base/clock.h"
#include "base/mem.h"
#include "text/constrain_match.h"

#define WIDE_NODES 500 /* walks that step on more nodes than this are kept */

/* A configuration on the way down the trie. */
typedef struct level {
    uint32_t first, n, frames;
} level;

static void set_tokens(const hd_vtrie *v, uint32_t node, uint32_t *mask)
{
    for (uint32_t i = v->first[node]; i < v->first[node + 1]; i++) {
        uint32_t id = (uint32_t)v->token[i];
        mask[id / 32] |= 1u << (id % 32);
    }
}

static void add_exit(hd_matcher *m, uint32_t node)
{
    if (hd_match_room(&m->exit, &m->cap_exits, (size_t)m->n_exits + 1, sizeof *m->exit))
        m->exit[m->n_exits++] = node;
    else
        m->sim.status = HD_E_NOMEM;
}

/* The step of most nodes: one thread, and nothing to do on arriving. False: it is not that. */
static inline bool step_plain(hd_sim *s, uint32_t at, uint8_t byte)
{
    const hd_auto *a = s->a;
    const hd_thread *t = &s->thread[at];
    const hd_auto_arc *arc = hd_auto_next(a, &a->state[t->state], byte);
    s->ends = false;
    if (!arc) {
        s->n_steps++;
        return true;
    }
    const hd_auto_state *st = &a->state[arc->to];
    if (!st->is_plain || s->n_threads == s->cap_threads) return false;
    if (st->is_final && t->frame != s->stop) return false;
    s->n_steps++;
    hd_thread *to = &s->thread[s->n_threads];
    *to = *t;
    to->state = arc->to;
    if (arc->act && t->spec && !hd_auto_act(a, arc->act, t->spec, &to->value)) return true;
    s->ends = st->is_final;
    if (st->n_arcs || st->n_tokens) s->n_threads++;
    return true;
}

/* Walk the nodes begin..end, all below one node of depth `depth` (0: the root), at which the
 * configuration is `at`. Sets the bits of tokens that are accepted; walks from the root add exits.
 * @return nodes stepped on. */
static uint32_t walk(hd_matcher *m, uint32_t begin, uint32_t end, unsigned depth, level at,
                     uint32_t *mask)
{
    level path[HD_VOCAB_MAX_TOKEN_BYTES + 1];
    const hd_vtrie *v = m->g->trie;
    hd_sim *s = &m->sim;
    uint32_t n_nodes = 0;
    unsigned longer = depth ? 0 : m->longer;
    path[0] = at;
    for (uint32_t i = begin; i < end && s->status == HD_OK; n_nodes++) {
        unsigned d = v->depth[i] - depth;
        const level *up = &path[d - 1];
        if (v->reach[i] <= longer) {
            i = v->skip[i];
            continue;
        }
        s->n_threads = up->first + up->n;
        s->n_frames = up->frames;
        if (up->n != 1 || !step_plain(s, up->first, v->byte[i]))
            hd_sim_step(s, up->first, up->n, v->byte[i]);
        path[d] = (level){up->first + up->n, s->n_threads - (up->first + up->n), s->n_frames};
        bool lives = path[d].n > 0;
        if ((lives || s->ends) && d > longer) set_tokens(v, i, mask);
        if (s->ends && depth == 0 && d > longer && v->skip[i] > i + 1) add_exit(m, i);
        if (s->n_steps > HD_SIM_MAX_STEPS) s->status = HD_E_LIMIT;
        i = lives ? i + 1 : v->skip[i];
    }
    return n_nodes;
}

/* ---- the part that does not depend on the stack ---- */

/* Key of the walk from `t`; false if it depends on more than a state and counts. */
static bool make_key(const hd_matcher *m, const hd_thread *t, uint64_t *key)
{
    const hd_spec *spec = &m->g->a.spec[t->spec];
    uint64_t reach = m->g->trie->max_token_bytes + 3u, low = 0, high = reach;
    if (t->spec) {
        uint64_t n = (uint64_t)t->value;
        if (spec->is_object || n > spec->hi || reach > 0xFFFF) return false;
        if (n < spec->lo) low = spec->lo - n;
        if (low > reach) low = reach;
        if (spec->hi - n < reach) high = spec->hi - n;
        if (spec->hi == UINT32_MAX) high = reach;
    }
    *key = ((uint64_t)t->state + 1) | low << 32 | high << 48;
    return true;
}

/* What the walk found, as an entry of a table; NULL when memory is out. */
static hd_mask_entry *new_entry(const hd_matcher *m, uint64_t key, uint32_t peak)
{
    size_t n_words = m->g->trie->n_words;
    hd_mask_entry *e = hd_mem_try_calloc(1, sizeof *e);
    if (!e) return NULL;
    *e = (hd_mask_entry){.key = key, .n_exits = m->n_exits, .peak = peak};
    e->mask = hd_mem_try_calloc(n_words, sizeof *e->mask);
    e->exit = hd_mem_try_calloc(m->n_exits, sizeof *e->exit);
    if (!e->mask || !e->exit) {
        hd_mem_free(e->mask);
        hd_mem_free(e->exit);
        hd_mem_free(e);
        return NULL;
    }
    memcpy(e->mask, m->above, n_words * sizeof *e->mask);
    if (m->n_exits) memcpy(e->exit, m->exit, m->n_exits * sizeof *m->exit);
    return e;
}

/* The walk of `t` above its frame, added to m->above and m->exit.
 * @return nodes stepped on. */
static uint32_t walk_into(hd_matcher *m, const hd_thread *t)
{
    hd_sim *s = &m->sim;
    uint32_t n_threads = s->n_threads, n_frames = s->n_frames, n = 0;
    s->stop = t->frame;
    s->peak = s->frame[t->frame].depth;
    s->is_clipped = false;
    hd_sim_push(s, *t);
    if (s->status == HD_OK)
        n = walk(m, 0, m->g->trie->n_nodes, 0, (level){n_threads, 1, n_frames}, m->above);
    s->n_threads = n_threads;
    s->n_frames = n_frames;
    s->stop = 0;
    return n;
}

static hd_mask_table *table_of(const hd_matcher *m, const hd_thread *t)
{
    return t->state < m->g->n_common ? m->g->shared : &m->g->masks;
}

/* How many more characters or items may come, if that is all that `t` counts for; else more than
 * any token has. */
static unsigned left_to_count(const hd_matcher *m, const hd_thread *t)
{
    const hd_spec *spec = &m->g->a.spec[t->spec];
    uint64_t n = (uint64_t)t->value;
    if (!t->spec || spec->is_object || n < spec->lo || n > spec->hi) return UINT32_MAX;
    return spec->hi - (uint32_t)n;
}

/* Where a count may reach its most: tokens of fewer bytes than are left cannot exceed it, so for
 * them the walk without a limit holds, which is kept. NULL: that one is not there. */
static const hd_mask_entry *start_from_unlimited(hd_matcher *m, const hd_thread *t, unsigned left)
{
    const hd_vtrie *v = m->g->trie;
    uint64_t key;
    hd_thread unlimited = *t;
    unlimited.spec = 0;
    unlimited.value = 0;
    if (left >= v->max_token_bytes || !make_key(m, &unlimited, &key)) return NULL;
    const hd_mask_entry *e = hd_mask_table_get(table_of(m, t), key);
    if (!e || m->sim.frame[t->frame].depth + e->peak > HD_AUTO_MAX_DEPTH) return NULL;
    memcpy(m->above, e->mask, v->n_words * sizeof *m->above);
    for (size_t i = 0; i < v->n_ordinary; i++) {
        uint32_t id = (uint32_t)v->longest[i];
        if (hd_vocab_token_bytes(v->vocab, (int32_t)id).len <= left) break;
        m->above[id / 32] &= ~(1u << (id % 32));
    }
    for (uint32_t i = 0; i < e->n_exits; i++)
        if (v->depth[e->exit[i]] <= left) add_exit(m, e->exit[i]);
    return e;
}

/* The walk of `t` above its frame, as m->above and m->exit.
 * @return nodes stepped on. */
static uint32_t walk_above(hd_matcher *m, const hd_thread *t)
{
    unsigned left = left_to_count(m, t);
    m->n_exits = 0;
    m->longer = 0;
    const hd_mask_entry *base = start_from_unlimited(m, t, left);
    if (base)
        m->longer = left;
    else
        memset(m->above, 0, m->g->trie->n_words * sizeof *m->above);
    uint32_t n = walk_into(m, t), depth = m->sim.frame[t->frame].depth;
    if (base && depth + base->peak > m->sim.peak) m->sim.peak = depth + base->peak;
    m->longer = 0;
    return n;
}

/* Keep the walk that was just made, if the table has room; it would be made again otherwise. */
static void keep(hd_matcher *m, const hd_thread *t, uint64_t key)
{
    size_t bytes = (m->g->trie->n_words + m->n_exits) * sizeof(uint32_t);
    if (!hd_mask_table_reserve(table_of(m, t), bytes)) return;
    hd_mask_entry *e = new_entry(m, key, m->sim.peak - m->sim.frame[t->frame].depth);
    if (e) hd_mask_table_put(table_of(m, t), e);
}

/* ---- the part below the exits ---- */

static void walk_exits(hd_matcher *m, const hd_thread *t, const uint32_t *exit, uint32_t n_exits,
                       uint32_t *mask)
{
    const hd_vtrie *v = m->g->trie;
    hd_sim *s = &m->sim;
    uint32_t n_threads = s->n_threads, n_frames = s->n_frames;
    if (t->frame == 0 || n_exits == 0) return; /* the end of the grammar: nothing follows */
    const hd_frame *f = &s->frame[t->frame];
    hd_sim_push(s, (hd_thread){f->value, f->ret, f->parent, f->spec});
    hd_sim_close(s, n_threads, n_frames);
    level at = {n_threads, s->n_threads - n_threads, s->n_frames};
    for (uint32_t i = 0; i < n_exits && s->status == HD_OK && at.n; i++)
        walk(m, exit[i] + 1, v->skip[exit[i]], v->depth[exit[i]], at, mask);
    s->n_threads = n_threads;
    s->n_frames = n_frames;
}

static void add_words(uint32_t *mask, const uint32_t *more, size_t n_words)
{
    for (size_t i = 0; i < n_words; i++) mask[i] |= more[i];
}

void hd_mask_thread(hd_matcher *m, const hd_thread *t, uint32_t *mask)
{
    size_t n_words = m->g->trie->n_words;
    uint64_t key = 0;
    bool has_key = make_key(m, t, &key);
    const hd_mask_entry *e = has_key ? hd_mask_table_get(table_of(m, t), key) : NULL;
    if (e && m->sim.frame[t->frame].depth + e->peak <= HD_AUTO_MAX_DEPTH) {
        add_words(mask, e->mask, n_words);
        walk_exits(m, t, e->exit, e->n_exits, mask);
        return;
    }
    uint32_t n_nodes = walk_above(m, t);
    if (m->sim.status != HD_OK) return;
    if (has_key && !e && n_nodes > WIDE_NODES && !m->sim.is_clipped) keep(m, t, key);
    add_words(mask, m->above, n_words);
    walk_exits(m, t, m->exit, m->n_exits, mask);
}

/* ---- ahead of time ---- */

#define WIDE_BYTES 20 /* a state that goes on with fewer first bytes has a short walk */

static bool is_wide(const hd_auto *a, uint32_t state)
{
    const hd_auto_state *s = &a->state[state];
    unsigned n = 0;
    for (unsigned i = 0; i < s->n_arcs; i++) {
        const hd_auto_arc *x = &a->arc[s->arc + i];
        n += (unsigned)x->hi - x->lo + 1;
    }
    return n >= WIDE_BYTES;
}

static bool is_counting(const hd_auto *a, uint32_t state)
{
    const hd_auto_state *s = &a->state[state];
    for (unsigned i = 0; i < s->n_arcs; i++)
        if (a->act[a->arc[s->arc + i].act].kind == HD_ACT_COUNT) return true;
    return false;
}

/* Keep what a thread there allows above its frame. @return whether that was a long walk. */
static bool warm(hd_matcher *m, uint32_t state, uint16_t spec)
{
    hd_thread t = {.state = state, .spec = spec};
    uint64_t key;
    m->sim.status = HD_OK;
    m->sim.n_steps = 0;
    if (!make_key(m, &t, &key) || hd_mask_table_get(table_of(m, &t), key)) return false;
    bool is_long = walk_above(m, &t) > WIDE_NODES;
    if (is_long && m->sim.status == HD_OK && !m->sim.is_clipped) keep(m, &t, key);
    return is_long;
}

/* Threads that stand on frame 0, which a walk above its frame does not look at. */
void hd_mask_warm_states(hd_matcher *m, uint32_t begin, uint32_t end, unsigned most,
                         int64_t deadline_ns)
{
    hd_sim *s = &m->sim;
    const hd_auto *a = &m->g->a;
    unsigned n = 0;
    s->n_threads = 0;
    s->n_frames = 1;
    for (uint32_t i = begin; i < end && n < most && hd_clock_thread_ns() < deadline_ns; i++) {
        if (!is_wide(a, i)) continue;
        n += warm(m, i, 0);
        /* "minLength": 1 is the one limit that many strings begin at. */
        for (uint16_t k = 1; k < a->n_specs && is_counting(a, i); k++)
            if (a->spec[k].lo == 1 && a->spec[k].hi == UINT32_MAX) n += warm(m, i, k);
    }
}
