/* Prompt lookup: what followed the last time that the text ended like this.
 *
 * Three tokens are looked for, by a hash table over the places where each three ended and a list of
 * earlier ones; of the latest few the one that goes on matching furthest back wins, the later of
 * equals. One index per sequence slot; the text is the request's own. Nothing is allocated after
 * create.
 */
#ifndef HD_ENGINE_DRAFT_LOOKUP_H
#define HD_ENGINE_DRAFT_LOOKUP_H

#include "base/status.h"

typedef struct hd_lookup hd_lookup;

/** @return HD_E_NOMEM. */
hd_status hd_lookup_create(int32_t n_slots, int32_t max_text, hd_lookup **out,
                           hd_err *err) HD_WARN_UNUSED;
/** NULL is allowed. */
void hd_lookup_destroy(hd_lookup *l);

/** The slot has another text now. */
void hd_lookup_reset(hd_lookup *l, int32_t slot);
/** The tokens that probably follow text i32 [n], whose beginning was given before, at most `max`,
 * to out; how many. The text must not have changed since, only grown. */
int32_t hd_lookup_find(hd_lookup *l, int32_t slot, const int32_t *text, int32_t n, int32_t max,
                       int32_t *out);

#endif
