/* How many tokens to draft for one request.
 *
 * A drafted token costs a row of the step, which is worth it as long as the chance that the row is
 * kept is not below what rows of this step bring on average. The chance comes from what was
 * accepted lately, the cost from how many rows the step has anyway: the more, the dearer is one
 * more. Where it does not pay even alone, the request rests for a while, then tries again; longer
 * each time. Counted in tokens and rows, never in time: the same history gives the same lengths.
 */
#ifndef HD_ENGINE_DRAFT_PACE_H
#define HD_ENGINE_DRAFT_PACE_H

#include <stdint.h>

/** Chances and costs are parts of this. */
#define HD_PACE_ONE 1024

typedef struct hd_pace {
    int32_t rate;    /* of HD_PACE_ONE: how often a drafted token was right, given those before */
    int32_t rest;    /* tokens until it drafts again */
    int32_t n_rests; /* in a row */
} hd_pace;

void hd_pace_begin(hd_pace *p);

/** The chance that a row must have of being kept, in a step that has n_rows without it. */
int32_t hd_pace_price(int32_t n_rows);

/** Tokens to draft, at most `max`, in a step of n_rows beside them; 0 during a rest. */
int32_t hd_pace_length(const hd_pace *p, int32_t n_rows, int32_t max);

/** A token was generated without a draft. */
void hd_pace_pass(hd_pace *p);
/** Of n_drafted tokens the first n_right were right. */
void hd_pace_learn(hd_pace *p, int32_t n_drafted, int32_t n_right);

#endif
