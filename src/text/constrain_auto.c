/* The automaton as a whole: what must hold before it may run. See constrain_auto.h. */
#include "text/constrain_auto.h"

#include <string.h>

#include "base/mem.h"

void hd_auto_deinit(hd_auto *a)
{
    hd_mem_free(a->state);
    hd_mem_free(a->arc);
    hd_mem_free(a->call);
    hd_mem_free(a->token);
    hd_mem_free(a->row);
    hd_mem_free(a->rule);
    hd_mem_free(a->need);
    hd_mem_free(a->act);
    hd_mem_free(a->spec);
    *a = (hd_auto){0};
}

size_t hd_auto_bytes(const hd_auto *a)
{
    return a->cap_states * sizeof *a->state + a->cap_arcs * sizeof *a->arc +
           a->cap_calls * sizeof *a->call + a->cap_tokens * sizeof *a->token +
           (size_t)a->n_rows * 256 + a->cap_rules * sizeof *a->rule + a->cap_acts * sizeof *a->act +
           a->cap_specs * sizeof *a->spec;
}

/* ---- acts ---- */

/* Members that may come next: not seen; in an ordered object none before one that was seen, none
 * behind a required one that is missing. */
static hd_bits open_members(const hd_spec *s, hd_bits seen)
{
    hd_bits open = s->all & ~seen;
    if (!s->is_ordered) return open;
    hd_bits at = 0;
    if (seen) {
        uint64_t high = (uint64_t)(seen >> 64);
        unsigned top = high ? 127u - (unsigned)__builtin_clzll(high)
                            : 63u - (unsigned)__builtin_clzll((uint64_t)seen);
        at = ((hd_bits)2 << top) - 1; /* all up to the last one seen; top 127 gives all */
    }
    open &= ~at;
    hd_bits missing = s->required & ~seen;
    if (missing) {
        hd_bits first = missing & -missing;
        open &= first | (first - 1);
    }
    return open;
}

bool hd_auto_act(const hd_auto *a, uint16_t number, uint16_t spec, hd_bits *value)
{
    const hd_act *act = &a->act[number];
    const hd_spec *s = &a->spec[spec];
    uint64_t n = (uint64_t)*value;
    bool counts = false;
    switch (act->kind) {
    case HD_ACT_NONE: return true;
    case HD_ACT_COUNT: counts = n < s->hi; break;
    case HD_ACT_OPEN: counts = n <= s->hi; break;
    case HD_ACT_SLASH: counts = n < s->hi || (n >= (uint64_t)s->lo + 1); break;
    case HD_ACT_ENOUGH: return n >= s->lo;
    case HD_ACT_ENOUGH_2: return n >= (uint64_t)s->lo + 2;
    case HD_ACT_SEE:
        if (!(open_members(s, *value) & act->bits)) return false;
        *value |= act->bits;
        return true;
    case HD_ACT_ANY: return (open_members(s, *value) & act->bits) != 0;
    case HD_ACT_DONE: return (s->required & ~*value) == 0;
    }
    if (counts) *value += 1;
    return counts;
}

/* ---- depth ---- */

static uint16_t less(uint16_t a, uint16_t b)
{
    return a < b ? a : b;
}

/* Frames needed to get through a call and then to the end; dead beyond what may ever fit. */
static uint16_t call_depth(const hd_auto *a, const hd_auto_call *c)
{
    uint32_t start = a->rule[c->rule];
    if (start == HD_AUTO_NONE) return HD_AUTO_DEAD;
    uint16_t in = a->state[start].min_depth, on = a->state[c->to].min_depth;
    if (a->spec[c->spec].min_depth > in) in = a->spec[c->spec].min_depth;
    if (in == HD_AUTO_DEAD || on == HD_AUTO_DEAD || in + 1 > HD_AUTO_MAX_DEPTH) return HD_AUTO_DEAD;
    return in + 1 > on ? (uint16_t)(in + 1) : on;
}

static uint16_t state_depth(const hd_auto *a, const hd_auto_state *s)
{
    uint16_t d = s->is_final ? 0 : HD_AUTO_DEAD;
    for (unsigned i = 0; i < s->n_arcs; i++) d = less(d, a->state[a->arc[s->arc + i].to].min_depth);
    for (unsigned i = 0; i < s->n_tokens; i++)
        d = less(d, a->state[a->token[s->token + i].to].min_depth);
    for (unsigned i = 0; i < s->n_calls; i++) d = less(d, call_depth(a, &a->call[s->call + i]));
    return d;
}

/* The most that a rule which must be called needs, its frame included. */
static uint16_t spec_depth(const hd_auto *a, const hd_spec *s)
{
    uint16_t most = 0;
    for (uint32_t i = 0; i < s->n_needs; i++) {
        uint32_t start = a->rule[a->need[s->need + i]];
        uint16_t d = start == HD_AUTO_NONE ? HD_AUTO_DEAD : a->state[start].min_depth;
        if (d >= HD_AUTO_MAX_DEPTH) return HD_AUTO_DEAD;
        if (d + 1 > most) most = (uint16_t)(d + 1);
    }
    return most;
}

static bool find_spec_depths(hd_auto *a)
{
    bool changed = false;
    for (uint32_t i = 0; i < a->n_specs; i++) {
        uint16_t d = spec_depth(a, &a->spec[i]);
        changed |= d != a->spec[i].min_depth;
        a->spec[i].min_depth = d;
    }
    return changed;
}

/* The least solution, from "all dead" downwards. States come after those that lead to them, mostly,
 * so that few sweeps from the back are enough. */
static void find_depths(hd_auto *a)
{
    for (uint32_t i = 0; i < a->n_states; i++) a->state[i].min_depth = HD_AUTO_DEAD;
    for (bool changed = true; changed;) {
        changed = find_spec_depths(a);
        for (uint32_t i = a->n_states; i-- > 0;) {
            uint16_t d = state_depth(a, &a->state[i]);
            if (d == a->state[i].min_depth) continue;
            a->state[i].min_depth = d;
            changed = true;
        }
    }
}

static void remove_dead(hd_auto *a, hd_auto_state *s)
{
    uint16_t n = 0;
    for (unsigned i = 0; i < s->n_arcs; i++) {
        hd_auto_arc x = a->arc[s->arc + i];
        if (a->state[x.to].min_depth != HD_AUTO_DEAD) a->arc[s->arc + n++] = x;
    }
    s->n_arcs = n;
    n = 0;
    for (unsigned i = 0; i < s->n_calls; i++) {
        hd_auto_call x = a->call[s->call + i];
        if (call_depth(a, &x) != HD_AUTO_DEAD) a->call[s->call + n++] = x;
    }
    s->n_calls = n;
    n = 0;
    for (unsigned i = 0; i < s->n_tokens; i++) {
        hd_auto_token x = a->token[s->token + i];
        if (a->state[x.to].min_depth != HD_AUTO_DEAD) a->token[s->token + n++] = x;
    }
    s->n_tokens = n;
    s->is_plain = s->n_calls == 0 && s->min_depth == 0;
}

/* ---- left recursion ---- */

/* Whether the end of a rule can be reached from `s` over calls of rules that can be empty. */
static bool is_nullable(const hd_auto *a, const bool *nullable, const hd_auto_state *s)
{
    if (s->is_final) return true;
    for (unsigned i = 0; i < s->n_calls; i++) {
        const hd_auto_call *c = &a->call[s->call + i];
        if (nullable[a->rule[c->rule]] && nullable[c->to]) return true;
    }
    return false;
}

typedef struct walk {
    const hd_auto *a;
    bool *nullable; /* [n_states] */
    uint8_t *mark;  /* [n_states] 0 new, 1 on the way, 2 done */
    uint32_t *path; /* [n_states] states on the way */
    uint32_t *next; /* [n_states] what to look at next in each: 2 * call, + 1 for its `to` */
} walk;

/* Depth first from `root` over what is reached without a byte; true if it comes back to a state on
 * the way. Its `to` counts only when the rule called can be empty. */
static bool comes_back(walk *w, uint32_t root)
{
    uint32_t n = 0;
    if (w->mark[root]) return false;
    w->path[n++] = root;
    w->mark[root] = 1;
    w->next[root] = 0;
    while (n) {
        uint32_t at = w->path[n - 1], k = w->next[at]++;
        const hd_auto_state *s = &w->a->state[at];
        if (k >= 2u * s->n_calls) {
            w->mark[at] = 2;
            n--;
            continue;
        }
        const hd_auto_call *c = &w->a->call[s->call + k / 2];
        uint32_t to = k % 2 ? c->to : w->a->rule[c->rule];
        if (k % 2 && !w->nullable[w->a->rule[c->rule]]) continue;
        if (w->mark[to] == 1) return true;
        if (w->mark[to] == 2) continue;
        w->mark[to] = 1;
        w->next[to] = 0;
        w->path[n++] = to;
    }
    return false;
}

static bool is_left_recursive(walk *w, uint32_t *bad_rule)
{
    const hd_auto *a = w->a;
    for (bool changed = true; changed;) {
        changed = false;
        for (uint32_t i = a->n_states; i-- > 0;) {
            if (w->nullable[i] || !is_nullable(a, w->nullable, &a->state[i])) continue;
            w->nullable[i] = changed = true;
        }
    }
    for (uint32_t r = 0; r < a->n_rules; r++) {
        *bad_rule = r;
        if (a->rule[r] != HD_AUTO_NONE && comes_back(w, a->rule[r])) return true;
    }
    for (uint32_t i = 0; i < a->n_states; i++) {
        *bad_rule = HD_AUTO_NONE;
        if (comes_back(w, i)) return true;
    }
    return false;
}

static hd_status check_left_recursion(const hd_auto *a, uint32_t *bad_rule, hd_err *err)
{
    size_t n = a->n_states;
    uint8_t *bytes = hd_mem_try_calloc(n, 2);
    uint32_t *words = hd_mem_try_calloc(n, 2 * sizeof *words);
    hd_status status = HD_OK;
    if (!bytes || !words) {
        status = HD_SET_ERR(err, HD_E_NOMEM, "out of memory for a grammar");
    } else {
        walk w = {a, (bool *)bytes, bytes + n, words, words + n};
        if (is_left_recursive(&w, bad_rule))
            status = HD_SET_ERR(err, HD_E_UNSUPPORTED,
                                "a rule that refers to itself before anything is matched");
    }
    hd_mem_free(bytes);
    hd_mem_free(words);
    return status;
}

/* ---- rows ---- */

#define FEW_ARCS 4 /* up to here, looking at each is as fast as a row */

static hd_status make_rows(hd_auto *a, hd_err *err)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < a->n_states; i++) {
        hd_auto_state *s = &a->state[i];
        s->row = s->n_arcs > FEW_ARCS && s->n_arcs < 256 ? n++ : HD_AUTO_NONE;
    }
    a->row = hd_mem_try_calloc(n, 256);
    if (!a->row) HD_FAIL(err, HD_E_NOMEM, "out of memory for a grammar");
    a->n_rows = n;
    for (uint32_t i = 0; i < a->n_states; i++) {
        const hd_auto_state *s = &a->state[i];
        if (s->row == HD_AUTO_NONE) continue;
        for (unsigned k = 0; k < s->n_arcs; k++) {
            const hd_auto_arc *x = &a->arc[s->arc + k];
            memset(a->row + (size_t)s->row * 256 + x->lo, (int)(k + 1), (size_t)x->hi - x->lo + 1);
        }
    }
    return HD_OK;
}

hd_status hd_auto_finish(hd_auto *a, uint32_t *bad_rule, hd_err *err)
{
    *bad_rule = HD_AUTO_NONE;
    find_depths(a);
    for (uint32_t i = 0; i < a->n_states; i++) remove_dead(a, &a->state[i]);
    HD_TRY(check_left_recursion(a, bad_rule, err));
    return make_rows(a, err);
}
