/* From a drawing to deterministic states: the subset construction.
 *
 * A state is the set of nodes that can be reached without consuming anything, of which only those
 * matter that have an edge that consumes, or are the end. Bytes with an act are deterministic only
 * if all edges that share a byte have the same act: front ends draw so. */
#include <stdlib.h>

#include "base/mem.h"
#include "text/constrain_build.h"

#define MAX_MEMBERS ((uint32_t)1 << 22) /* of all sets of a rule together */
#define MAX_ARCS    ((uint32_t)1 << 19)
#define MAX_CALLS   ((uint32_t)1 << 18)

typedef struct set {
    uint32_t first, n; /* in `member` */
    uint32_t hash;
} set;

typedef struct subset {
    hd_cc *cc;
    uint32_t end;  /* the node that ends the rule */
    uint32_t base; /* number of the first state */
    uint32_t *member;
    uint32_t n_members, cap_members;
    set *sets;
    uint32_t n_sets, cap_sets;
    uint32_t *slot; /* [mask + 1] set + 1, by hash */
    uint32_t mask;
    uint32_t *seen;  /* [nodes] generation */
    uint32_t *stack; /* [nodes] */
    uint32_t generation;
    /* Edges of the state in work. */
    const hd_nfa_edge **out;
    uint32_t n_out, cap_out;
} subset;

/* ---- sets ---- */

static int by_number(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static bool matters(const subset *s, uint32_t node)
{
    if (node == s->end) return true;
    for (uint32_t e = s->cc->node[node]; e != HD_AUTO_NONE; e = s->cc->edge[e].next)
        if (s->cc->edge[e].kind != HD_EDGE_EMPTY) return true;
    return false;
}

/* Append the nodes that matter and that `node` reaches, unless seen in this generation. */
static void add_closure(subset *s, uint32_t node)
{
    uint32_t n = 0;
    if (s->seen[node] == s->generation) return;
    s->seen[node] = s->generation;
    s->stack[n++] = node;
    while (n) {
        uint32_t at = s->stack[--n];
        if (matters(s, at)) {
            if (!hd_cc_room(s->cc, &s->member, &s->cap_members, s->n_members, sizeof *s->member,
                            MAX_MEMBERS))
                return;
            s->member[s->n_members++] = at;
        }
        for (uint32_t e = s->cc->node[at]; e != HD_AUTO_NONE; e = s->cc->edge[e].next) {
            const hd_nfa_edge *x = &s->cc->edge[e];
            if (x->kind != HD_EDGE_EMPTY || s->seen[x->to] == s->generation) continue;
            s->seen[x->to] = s->generation;
            s->stack[n++] = x->to;
        }
    }
}

static bool grow_slots(subset *s)
{
    uint32_t wanted = s->mask ? (s->mask + 1) * 2 : 256;
    uint32_t *slot = hd_mem_try_calloc(wanted, sizeof *slot);
    if (!slot) {
        hd_cc_fail(s->cc, HD_E_NOMEM, "out of memory for a grammar");
        return false;
    }
    hd_mem_free(s->slot);
    s->slot = slot;
    s->mask = wanted - 1;
    for (uint32_t i = 0; i < s->n_sets; i++) {
        uint32_t at = s->sets[i].hash & s->mask;
        while (slot[at]) at = (at + 1) & s->mask;
        slot[at] = i + 1;
    }
    return true;
}

/* A new automaton state for the set, which is numbered base + set. */
static bool add_state(subset *s, uint32_t first, uint32_t n, uint32_t hash)
{
    hd_auto *a = &s->cc->a;
    if (2 * s->n_sets >= s->mask && !grow_slots(s)) return false;
    if (!hd_cc_room(s->cc, &s->sets, &s->cap_sets, s->n_sets, sizeof *s->sets,
                    HD_AUTO_MAX_STATES) ||
        !hd_cc_room(s->cc, &a->state, &a->cap_states, a->n_states, sizeof *a->state,
                    HD_AUTO_MAX_STATES))
        return false;
    a->state[a->n_states++] = (hd_auto_state){.row = HD_AUTO_NONE};
    s->sets[s->n_sets] = (set){first, n, hash};
    uint32_t at = hash & s->mask;
    while (s->slot[at]) at = (at + 1) & s->mask;
    s->slot[at] = ++s->n_sets;
    return true;
}

/* The state of the set that was appended from `first` on. */
static uint32_t find_set(subset *s, uint32_t first)
{
    uint32_t n = s->n_members - first, hash = 2166136261u;
    if (s->cc->status != HD_OK) return 0;
    if (n > 1) qsort(s->member + first, n, sizeof *s->member, by_number);
    for (uint32_t i = 0; i < n; i++) {
        hash = (hash ^ s->member[first + i]) * 16777619u;
        hash ^= hash >> 15;
    }
    for (uint32_t at = hash & s->mask; s->mask && s->slot[at]; at = (at + 1) & s->mask) {
        const set *x = &s->sets[s->slot[at] - 1];
        if (x->hash != hash || x->n != n) continue;
        if (n && memcmp(s->member + x->first, s->member + first, n * sizeof *s->member)) continue;
        s->n_members = first;
        return s->base + s->slot[at] - 1;
    }
    return add_state(s, first, n, hash) ? s->base + s->n_sets - 1 : 0;
}

static uint32_t begin_set(subset *s)
{
    s->generation++;
    return s->n_members;
}

/* ---- edges of a state ---- */

static void collect(subset *s, const set *from)
{
    s->n_out = 0;
    for (uint32_t i = 0; i < from->n; i++)
        for (uint32_t e = s->cc->node[s->member[from->first + i]]; e != HD_AUTO_NONE;
             e = s->cc->edge[e].next) {
            if (s->cc->edge[e].kind == HD_EDGE_EMPTY) continue;
            if (!hd_cc_room(s->cc, &s->out, &s->cap_out, s->n_out, sizeof *s->out, 1u << 20))
                return;
            s->out[s->n_out++] = &s->cc->edge[e];
        }
}

static void add_arc(subset *s, hd_auto_state *st, hd_auto_arc arc)
{
    hd_auto *a = &s->cc->a;
    if (st->n_arcs) {
        hd_auto_arc *last = &a->arc[a->n_arcs - 1];
        if (last->hi + 1 == arc.lo && last->to == arc.to && last->act == arc.act) {
            last->hi = arc.hi;
            return;
        }
    }
    if (!hd_cc_room(s->cc, &a->arc, &a->cap_arcs, a->n_arcs, sizeof *a->arc, MAX_ARCS)) return;
    a->arc[a->n_arcs++] = arc;
    st->n_arcs++;
}

/* The arc of the bytes lo..hi, none of which begins or ends an edge inside. */
static void add_interval(subset *s, hd_auto_state *st, unsigned lo, unsigned hi)
{
    uint32_t first = begin_set(s);
    bool any = false;
    uint16_t act = 0;
    for (uint32_t i = 0; i < s->n_out; i++) {
        const hd_nfa_edge *e = s->out[i];
        if (e->kind != HD_EDGE_BYTES || e->lo > lo || e->hi < hi) continue;
        if (any && e->act != act) hd_cc_fail(s->cc, HD_E_BUG, "two acts on one byte");
        act = e->act;
        any = true;
        add_closure(s, e->to);
    }
    if (!any) return;
    uint32_t to = find_set(s, first);
    add_arc(s, st, (hd_auto_arc){(uint8_t)lo, (uint8_t)hi, act, to});
}

static void add_arcs(subset *s, hd_auto_state *st)
{
    bool starts[257] = {false};
    bool any = false;
    for (uint32_t i = 0; i < s->n_out; i++) {
        if (s->out[i]->kind != HD_EDGE_BYTES) continue;
        starts[s->out[i]->lo] = starts[s->out[i]->hi + 1] = any = true;
    }
    if (!any) return;
    for (unsigned lo = 0; lo < 256;) {
        unsigned hi = lo + 1;
        while (!starts[hi] && hi < 256) hi++;
        add_interval(s, st, lo, hi - 1);
        lo = hi;
    }
}

static bool is_same_symbol(const hd_nfa_edge *a, const hd_nfa_edge *b)
{
    return a->kind == b->kind && a->what == b->what && a->spec == b->spec && a->act == b->act;
}

/* Calls and tokens: edges with the same symbol lead to one set. */
static void add_symbols(subset *s, hd_auto_state *st)
{
    hd_auto *a = &s->cc->a;
    for (uint32_t i = 0; i < s->n_out && s->cc->status == HD_OK; i++) {
        const hd_nfa_edge *e = s->out[i];
        if (!e || e->kind == HD_EDGE_BYTES) continue;
        uint32_t first = begin_set(s);
        for (uint32_t k = i; k < s->n_out; k++) {
            const hd_nfa_edge *x = s->out[k];
            if (!x || !is_same_symbol(e, x)) continue;
            add_closure(s, x->to);
            s->out[k] = NULL;
        }
        uint32_t to = find_set(s, first);
        if (e->kind == HD_EDGE_CALL) {
            if (!hd_cc_room(s->cc, &a->call, &a->cap_calls, a->n_calls, sizeof *a->call, MAX_CALLS))
                return;
            a->call[a->n_calls++] = (hd_auto_call){e->what, to, e->spec};
            st->n_calls++;
        } else {
            if (!hd_cc_room(s->cc, &a->token, &a->cap_tokens, a->n_tokens, sizeof *a->token,
                            MAX_CALLS))
                return;
            a->token[a->n_tokens++] = (hd_auto_token){(int32_t)e->what, e->act, to};
            st->n_tokens++;
        }
    }
}

static void expand(subset *s, uint32_t i)
{
    hd_auto *a = &s->cc->a;
    set from = s->sets[i];
    hd_auto_state st = {.arc = a->n_arcs, .call = a->n_calls, .token = a->n_tokens};
    st.row = HD_AUTO_NONE;
    for (uint32_t k = 0; k < from.n; k++)
        if (s->member[from.first + k] == s->end) st.is_final = true;
    collect(s, &from);
    if (s->n_out >= UINT16_MAX) {
        bool is_bytes = true;
        for (uint32_t k = 0; k < s->n_out; k++) is_bytes &= s->out[k]->kind == HD_EDGE_BYTES;
        if (!is_bytes) hd_cc_fail(s->cc, HD_E_LIMIT, "grammar needs too many states");
    }
    add_arcs(s, &st);
    add_symbols(s, &st);
    a->state[s->base + i] = st;
}

void hd_cc_define(hd_cc *cc, uint32_t rule, uint32_t start, uint32_t end)
{
    subset s = {.cc = cc, .end = end, .base = cc->a.n_states};
    if (cc->status != HD_OK) return;
    s.seen = hd_mem_try_calloc(cc->n_nodes, 2 * sizeof *s.seen);
    if (!s.seen) {
        hd_cc_fail(cc, HD_E_NOMEM, "out of memory for a grammar");
        return;
    }
    s.stack = s.seen + cc->n_nodes;
    uint32_t first = begin_set(&s);
    add_closure(&s, start);
    uint32_t at = find_set(&s, first);
    for (uint32_t i = 0; i < s.n_sets && cc->status == HD_OK; i++) {
        expand(&s, i);
        if (i % 64 == 0 || s.n_out > 64) hd_cc_ok(cc);
    }
    if (cc->status == HD_OK) cc->a.rule[rule] = at;
    hd_mem_free(s.seen);
    hd_mem_free(s.member);
    hd_mem_free(s.sets);
    hd_mem_free(s.slot);
    hd_mem_free(s.out);
    cc->n_nodes = cc->n_edges = 0;
}
