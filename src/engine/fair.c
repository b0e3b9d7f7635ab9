#include "engine/fair.h"

#include "base/mem.h"

/* Accounts without requests that are kept for what they owe. */
#define MAX_USERS 4096

void hd_fair_deinit(hd_fair *f)
{
    hd_mem_free(f->user);
    *f = (hd_fair){0};
}

/* The least served of those who wait; if nobody does, the last one that did. */
static uint64_t level(const hd_fair *f)
{
    uint64_t least = UINT64_MAX;
    for (int32_t i = 0; i < f->n; i++)
        if (f->user[i].n_waiting && f->user[i].served < least) least = f->user[i].served;
    return least == UINT64_MAX ? f->level : least;
}

static hd_status grow(hd_fair *f, hd_err *err)
{
    int32_t cap = f->cap ? f->cap * 2 : 16;
    hd_fair_user *user = hd_mem_try_realloc(f->user, (size_t)cap, sizeof *user);
    if (!user) HD_FAIL(err, HD_E_NOMEM, "out of memory for the account of a user");
    f->user = user;
    f->cap = cap;
    return HD_OK;
}

/* An account that can be another's: without requests, and owing least. −1: better make a new one.
 */
static int32_t find_unused(const hd_fair *f, uint64_t now)
{
    int32_t best = -1;
    for (int32_t i = 0; i < f->n; i++)
        if (!f->user[i].n_live && (best < 0 || f->user[i].served < f->user[best].served)) best = i;
    return best >= 0 && (f->user[best].served <= now || f->n >= MAX_USERS) ? best : -1;
}

static int32_t find(const hd_fair *f, uint64_t key)
{
    for (int32_t i = 0; i < f->n; i++)
        if (f->user[i].key == key) return i;
    return -1;
}

hd_status hd_fair_join(hd_fair *f, uint64_t key, int32_t *place, hd_err *err)
{
    uint64_t now = level(f);
    int32_t i = find(f, key);
    if (i < 0) i = find_unused(f, now);
    if (i < 0) {
        if (f->n == f->cap) HD_TRY(grow(f, err));
        i = f->n++;
        f->user[i] = (hd_fair_user){.key = key};
    } else if (f->user[i].key != key) {
        f->user[i] = (hd_fair_user){.key = key};
    }
    hd_fair_user *u = &f->user[i];
    if (u->n_waiting == 0 && u->served < now) u->served = now;
    u->n_live++;
    u->n_waiting++;
    *place = i;
    return HD_OK;
}

void hd_fair_pass(hd_fair *f, int32_t place)
{
    f->user[place].n_waiting--;
    f->level = f->user[place].served;
}

void hd_fair_wait(hd_fair *f, int32_t place)
{
    f->user[place].n_waiting++;
}

void hd_fair_leave(hd_fair *f, int32_t place)
{
    f->user[place].n_live--;
}
