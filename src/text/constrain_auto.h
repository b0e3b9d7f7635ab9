/* Inside constrain: the automaton that grammars compile to.
 *
 * A rule is a start state; its states are deterministic over bytes, but may call rules (a frame is
 * pushed that says where to go on) and a state may have several calls: an automaton stands at a set
 * of threads. What would need many states otherwise is a register: each rule in progress has one
 * 128-bit value, which counts characters and items or marks the members seen of an object; acts on
 * arcs test and change it by the limits of the call's spec.
 *
 * Invariants after hd_auto_finish: from every state an end can be reached (within the depth that
 * `min_depth` says), no rule calls itself before it has consumed something, and the tests of acts
 * never leave a state without a way out. */
#ifndef HD_TEXT_CONSTRAIN_AUTO_H
#define HD_TEXT_CONSTRAIN_AUTO_H

#include <stdint.h>

#include "base/status.h"

#define HD_AUTO_NONE       UINT32_MAX
#define HD_AUTO_MAX_STATES ((uint32_t)1 << 16)
#define HD_AUTO_MAX_RULES  ((uint32_t)1 << 14)
#define HD_AUTO_MAX_DEPTH  100 /* frames; also levels of JSON */

typedef unsigned __int128 hd_bits;

#define HD_BITS_MAX 128

typedef enum hd_act_kind {
    HD_ACT_NONE,
    HD_ACT_COUNT,    /* one more; refused at the most */
    HD_ACT_OPEN,     /* '<' of raw text: one more, or what may begin the closing tag */
    HD_ACT_SLASH,    /* '/' behind it: likewise */
    HD_ACT_ENOUGH,   /* at least the least */
    HD_ACT_ENOUGH_2, /* at least the least, without the two bytes of a closing tag's start */
    HD_ACT_SEE,      /* member `bits`, not seen yet: mark it */
    HD_ACT_ANY,      /* one of the members `bits` may come */
    HD_ACT_DONE      /* all required members were seen */
} hd_act_kind;

typedef struct hd_act {
    hd_act_kind kind;
    hd_bits bits;
} hd_act;

/* Limits of a rule in progress. Number 0: none, all acts pass and change nothing. */
typedef struct hd_spec {
    bool is_object;
    bool is_ordered;        /* members in ascending order of their bits */
    uint16_t min_depth;     /* as a state's: what the rules that must be called need */
    uint32_t lo, hi;        /* counts; hi UINT32_MAX: no most */
    uint32_t need, n_needs; /* rules that must be called: required members, items */
    hd_bits all, required;
} hd_spec;

typedef struct hd_auto_arc {
    uint8_t lo, hi; /* bytes, inclusive */
    uint16_t act;
    uint32_t to;
} hd_auto_arc;

typedef struct hd_auto_call {
    uint32_t rule, to;
    uint16_t spec;
} hd_auto_call;

typedef struct hd_auto_token {
    int32_t id;
    uint16_t act;
    uint32_t to;
} hd_auto_token;

typedef struct hd_auto_state {
    uint32_t arc, call, token; /* first of each */
    uint32_t row;              /* u8 [256] 1 + arc of a byte, 0 for none; HD_AUTO_NONE */
    uint16_t n_arcs, n_calls, n_tokens;
    uint16_t min_depth; /* frames that must fit on top from here to the end of the rule */
    bool is_final;
    bool is_plain; /* no calls, min_depth 0: but for its being final, nothing to do on entering */
} hd_auto_state;

#define HD_AUTO_DEAD UINT16_MAX /* min_depth of a state without a way to an end */

typedef struct hd_auto {
    hd_auto_state *state;
    hd_auto_arc *arc;
    hd_auto_call *call;
    hd_auto_token *token;
    uint8_t *row;   /* u8 [n_rows, 256] */
    uint32_t *rule; /* start state; HD_AUTO_NONE while not compiled */
    uint32_t *need; /* rules, for specs */
    hd_act *act;
    hd_spec *spec;
    uint32_t n_states, n_arcs, n_calls, n_tokens, n_rows, n_rules, n_acts, n_specs, n_needs;
    uint32_t cap_states, cap_arcs, cap_calls, cap_tokens, cap_rows, cap_rules, cap_acts, cap_specs,
        cap_needs;
} hd_auto;

void hd_auto_deinit(hd_auto *a);
size_t hd_auto_bytes(const hd_auto *a);

/** min_depth of all states; arcs, calls and tokens that lead nowhere are removed; rows are made.
 *  @param bad_rule the rule that the error is about, or HD_AUTO_NONE.
 *  @return HD_E_UNSUPPORTED (left recursion), HD_E_NOMEM. */
hd_status hd_auto_finish(hd_auto *a, uint32_t *bad_rule, hd_err *err) HD_WARN_UNUSED;

/** Apply act `number` (not 0) under spec `spec` (not 0): whether it passes. */
bool hd_auto_act(const hd_auto *a, uint16_t number, uint16_t spec, hd_bits *value);

/** The arc of `s` for a byte, or NULL. */
static inline const hd_auto_arc *hd_auto_next(const hd_auto *a, const hd_auto_state *s, uint8_t c)
{
    const hd_auto_arc *arc = a->arc + s->arc;
    if (s->row != HD_AUTO_NONE) {
        uint8_t k = a->row[(size_t)s->row * 256 + c];
        return k ? arc + k - 1 : NULL;
    }
    for (unsigned i = 0; i < s->n_arcs; i++)
        if (c >= arc[i].lo && c <= arc[i].hi) return arc + i;
    return NULL;
}

#endif
