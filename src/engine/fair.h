/* Who was served how much: the account of each user that has requests.
 *
 * Among equals the next turn goes to the user who was served least. A user is charged the positions
 * of a prompt when its request is admitted, and each token. One that has had nothing waiting comes
 * back at the level of those who wait: idle time earns no credit, and what it got while nobody else
 * wanted it is no debt for long. No clock: the same requests give the same order.
 */
#ifndef HD_ENGINE_FAIR_H
#define HD_ENGINE_FAIR_H

#include "base/status.h"

typedef struct hd_fair_user {
    uint64_t key;
    uint64_t served;           /* tokens */
    int32_t n_waiting, n_live; /* requests; live: not done */
} hd_fair_user;

typedef struct hd_fair {
    hd_fair_user *user; /* [n]; places never move */
    int32_t n, cap;
    uint64_t level; /* served of the last one that stopped waiting */
} hd_fair;

void hd_fair_deinit(hd_fair *f);

/** A request of `key` comes and waits: *place is its user's account. @return HD_E_NOMEM. */
hd_status hd_fair_join(hd_fair *f, uint64_t key, int32_t *place, hd_err *err) HD_WARN_UNUSED;
/** It stops waiting. */
void hd_fair_pass(hd_fair *f, int32_t place);
/** It waits again: not by its own will, so it keeps its account as it is. */
void hd_fair_wait(hd_fair *f, int32_t place);
/** It is done, and does not wait. */
void hd_fair_leave(hd_fair *f, int32_t place);

static inline void hd_fair_charge(hd_fair *f, int32_t place, int32_t n_tokens)
{
    f->user[place].served += (uint64_t)n_tokens;
}

static inline uint64_t hd_fair_served(const hd_fair *f, int32_t place)
{
    return f->user[place].served;
}

#endif
