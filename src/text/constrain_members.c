/* Names of members: those that are declared, each at most once, and those that are not. */
#include <stdlib.h>

#include "base/mem.h"
#include "text/constrain_build.h"

#define MAX_NAME 512

static int by_name(const void *a, const void *b)
{
    hd_str x = ((const hd_cc_member *)a)->name, y = ((const hd_cc_member *)b)->name;
    size_t n = x.len < y.len ? x.len : y.len;
    int order = n ? memcmp(x.ptr, y.ptr, n) : 0;
    return order ? order : (x.len > y.len) - (x.len < y.len);
}

static size_t common_prefix(hd_str a, hd_str b)
{
    size_t i = 0;
    while (i < a.len && i < b.len && a.ptr[i] == b.ptr[i]) i++;
    return i;
}

/* Members from m[0] on that share the first `len` bytes of m[0]'s name. */
static hd_bits bits_below(const hd_cc_member *m, size_t n, size_t len)
{
    hd_bits bits = 0;
    for (size_t i = 0; i < n && common_prefix(m[0].name, m[i].name) >= len; i++) bits |= m[i].bit;
    return bits;
}

/* A trie, one name after the other. An edge may only be taken while some member below it may still
 * come, so that no half-written name is stuck. */
void hd_cc_members(hd_cc *cc, uint32_t from, hd_cc_member *m, size_t n)
{
    uint32_t path[MAX_NAME + 1] = {from};
    if (n) qsort(m, n, sizeof *m, by_name);
    for (size_t i = 0; i < n && cc->status == HD_OK; i++) {
        if (m[i].name.len > MAX_NAME) {
            hd_cc_fail(cc, HD_E_LIMIT, "a name of more than %d bytes", MAX_NAME);
            return;
        }
        size_t at = i ? common_prefix(m[i - 1].name, m[i].name) : 0;
        for (; at < m[i].name.len; at++) {
            uint16_t any = hd_cc_act(cc, HD_ACT_ANY, bits_below(m + i, n - i, at + 1));
            path[at + 1] = hd_cc_byte(cc, path[at], (uint8_t)m[i].name.ptr[at], any);
        }
        hd_cc_bytes(cc, path[at], m[i].to, '"', '"', hd_cc_act(cc, HD_ACT_SEE, m[i].bit));
    }
}

/* ---- other names ---- */

/* Names m[0..n) share `len` bytes, behind which the plain automaton is in state `plain`. The state
 * that follows those bytes goes as the plain one does, except along the names and to their end. */
static uint32_t other_state(hd_cc *cc, const hd_cc_member *m, size_t n, size_t len, uint32_t plain)
{
    hd_auto *a = &cc->a;
    uint32_t *to = hd_arena_try_alloc(cc->arena, 256, sizeof *to);
    if (!to || len > MAX_NAME) {
        hd_cc_fail(cc, HD_E_LIMIT, "names of members take too much memory");
        return 0;
    }
    for (unsigned c = 0; c < 256; c++) {
        const hd_auto_arc *x = hd_auto_next(a, &a->state[plain], (uint8_t)c);
        to[c] = x ? x->to : HD_AUTO_NONE;
    }
    size_t i = 0;
    if (m[0].name.len == len) to['"'] = HD_AUTO_NONE;
    while (i < n && m[i].name.len == len) i++;
    while (i < n && cc->status == HD_OK) {
        size_t end = i;
        uint8_t c = (uint8_t)m[i].name.ptr[len];
        while (end < n && (uint8_t)m[end].name.ptr[len] == c) end++;
        const hd_auto_arc *x = hd_auto_next(a, &a->state[plain], c);
        if (x) to[c] = other_state(cc, m + i, end - i, len + 1, x->to);
        i = end;
    }
    if (!hd_cc_room(cc, &a->state, &a->cap_states, a->n_states, sizeof *a->state,
                    HD_AUTO_MAX_STATES))
        return 0;
    uint32_t first = a->n_arcs;
    for (unsigned c = 0; c < 256; c++) {
        if (to[c] == HD_AUTO_NONE) continue;
        hd_auto_arc *last = a->n_arcs > first ? &a->arc[a->n_arcs - 1] : NULL;
        if (last && last->hi + 1u == c && last->to == to[c]) {
            last->hi = (uint8_t)c;
            continue;
        }
        if (!hd_cc_room(cc, &a->arc, &a->cap_arcs, a->n_arcs, sizeof *a->arc, 1u << 19)) return 0;
        a->arc[a->n_arcs++] = (hd_auto_arc){(uint8_t)c, (uint8_t)c, 0, to[c]};
    }
    a->state[a->n_states] =
        (hd_auto_state){.arc = first, .n_arcs = (uint16_t)(a->n_arcs - first), .row = HD_AUTO_NONE};
    return a->n_states++;
}

uint32_t hd_cc_other_names(hd_cc *cc, const hd_cc_member *m, size_t n, uint32_t body)
{
    uint32_t rule = hd_cc_declare(cc);
    uint32_t start = n && cc->status == HD_OK ? other_state(cc, m, n, 0, body) : body;
    if (cc->status == HD_OK) cc->a.rule[rule] = start;
    return rule;
}
