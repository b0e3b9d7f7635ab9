/* Texts of a pattern that also have a length: the product of the pattern's states with a count.
 *
 * A register cannot do this, because a pattern may need more characters than are left: such states
 * must not be entered, and only a product shows which they are. Characters are told apart by their
 * first bytes, so the count moves there. */
#include "text/constrain_build.h"

#define MAX_PRODUCT ((size_t)1 << 20) /* pairs of a state and a count */
#define IN_ESCAPE   5                 /* behind a backslash */

typedef struct pair {
    uint32_t state, count;
    unsigned left; /* bytes of the character that are missing; IN_ESCAPE */
} pair;

typedef struct product {
    hd_cc *cc;
    hd_cc_coding coding;
    uint32_t first, n_states; /* of the pattern */
    uint32_t lo, hi, most;    /* most: where counts stop */
    uint32_t base;            /* number of the product's first state */
    uint32_t *number;         /* [n_states * (most + 1)] 1 + place in `pairs`, or 0 */
    pair *pairs;
    uint32_t n_pairs;
} product;

static uint32_t find_pair(product *p, pair x)
{
    uint32_t *n = &p->number[(size_t)(x.state - p->first) * (p->most + 1) + x.count];
    hd_auto *a = &p->cc->a;
    if (*n) return p->base + *n - 1;
    if (!hd_cc_room(p->cc, &a->state, &a->cap_states, a->n_states, sizeof *a->state,
                    HD_AUTO_MAX_STATES))
        return 0;
    a->state[a->n_states++] = (hd_auto_state){.row = HD_AUTO_NONE};
    p->pairs[p->n_pairs++] = x;
    *n = p->n_pairs;
    return p->base + *n - 1;
}

/* Where byte `c` leads, as to counting; false: a character too many. */
static bool count_byte(const product *p, pair *x, uint8_t c)
{
    if (x->left == IN_ESCAPE) {
        x->left = c == 'u' ? 4 : 0;
    } else if (x->left) {
        x->left--;
    } else {
        if (x->count == p->hi) return false;
        if (x->count < p->most) x->count++;
        bool is_escape = c == '\\' && p->coding == HD_CODING_JSON;
        x->left = is_escape ? IN_ESCAPE : c < 0xC0 ? 0 : c < 0xE0 ? 1 : c < 0xF0 ? 2 : 3;
    }
    return true;
}

static void expand(product *p, uint32_t i)
{
    static const uint8_t starts[] = {'\\', '\\' + 1, 'u', 'u' + 1, 0xC0, 0xE0, 0xF0};
    hd_auto *a = &p->cc->a;
    pair from = p->pairs[i];
    hd_auto_state old = a->state[from.state], st = {.arc = a->n_arcs, .row = HD_AUTO_NONE};
    st.is_final = old.is_final && from.left == 0 && from.count >= p->lo;
    for (unsigned k = 0; k < old.n_arcs; k++) {
        for (unsigned lo = a->arc[old.arc + k].lo, hi; lo <= a->arc[old.arc + k].hi; lo = hi + 1) {
            hi = a->arc[old.arc + k].hi;
            for (size_t c = 0; c < HD_COUNT(starts); c++)
                if (lo < starts[c] && starts[c] <= hi) hi = starts[c] - 1u;
            pair to = {a->arc[old.arc + k].to, from.count, from.left};
            if (!count_byte(p, &to, (uint8_t)lo)) continue;
            uint32_t number = find_pair(p, to);
            if (!hd_cc_room(p->cc, &a->arc, &a->cap_arcs, a->n_arcs, sizeof *a->arc, 1u << 19))
                return;
            a->arc[a->n_arcs++] = (hd_auto_arc){(uint8_t)lo, (uint8_t)hi, 0, number};
            st.n_arcs++;
        }
    }
    a->state[p->base + i] = st;
}

void hd_cc_bound_length(hd_cc *cc, uint32_t rule, uint32_t pattern, const hd_spec *length,
                        hd_cc_coding coding)
{
    product p = {.cc = cc, .coding = coding, .lo = length->lo, .hi = length->hi};
    hd_auto *a = &cc->a;
    if (cc->status != HD_OK) return;
    /* The pattern's rule was defined last: its states are the last ones. */
    p.first = a->rule[pattern];
    p.base = a->n_states;
    p.n_states = p.base - p.first;
    p.most = p.hi == UINT32_MAX ? p.lo : p.hi;
    size_t n = (size_t)p.n_states * ((size_t)p.most + 1);
    if (n > MAX_PRODUCT) {
        hd_cc_fail(cc, HD_E_LIMIT, "'pattern' and a length of up to %u need too many states",
                   (unsigned)p.most);
        return;
    }
    p.number = hd_arena_try_alloc(cc->arena, n, sizeof *p.number);
    p.pairs = hd_arena_try_alloc(cc->arena, n, sizeof *p.pairs);
    if (!p.number || !p.pairs) {
        hd_cc_fail(cc, HD_E_LIMIT, "'pattern' and a length need too much memory");
        return;
    }
    uint32_t start = find_pair(&p, (pair){p.first, 0, 0});
    for (uint32_t i = 0; i < p.n_pairs && (i % 64 || hd_cc_ok(cc)); i++) expand(&p, i);
    if (cc->status == HD_OK) a->rule[rule] = start;
}
