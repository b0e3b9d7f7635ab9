#include "engine/events.h"

#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"

void hd_events_reset(hd_events *e)
{
    atomic_store(&e->word, 0);
    atomic_store(&e->n_read, 0);
    atomic_store(&e->sleeps, 0);
}

bool hd_events_has_room(const hd_events *e)
{
    return atomic_load(&e->word) / 2 - atomic_load(&e->n_read) < HD_EVENTS_ROOM;
}

/* Both sides are sequentially consistent: either the reader sees the new word before it sleeps, or
 * this sees that it does. */
static void publish(hd_events *e, uint32_t word)
{
    atomic_store(&e->word, word);
    if (atomic_load(&e->sleeps))
        syscall(SYS_futex, &e->word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

void hd_events_put(hd_events *e, int32_t token)
{
    uint32_t word = atomic_load(&e->word);
    HD_ASSERT(hd_events_has_room(e));
    e->token[word / 2 % HD_EVENTS_ROOM] = token;
    publish(e, word + 2);
}

void hd_events_end(hd_events *e, const hd_event *last)
{
    e->last = *last;
    publish(e, atomic_load(&e->word) | 1);
}

static bool take(hd_events *e, hd_event *out)
{
    uint32_t word = atomic_load(&e->word), n = atomic_load(&e->n_read);
    if (n < word / 2) {
        *out = (hd_event){.kind = HD_EVENT_TOKEN, .token = e->token[n % HD_EVENTS_ROOM]};
        atomic_store(&e->n_read, n + 1);
        return true;
    }
    if (!(word & 1)) return false;
    *out = e->last;
    return true;
}

/* Until the word is not `seen` any more, or the time is up. */
static void wait_for_change(hd_events *e, uint32_t seen, int64_t ns)
{
    struct timespec t = {.tv_sec = ns / 1000000000, .tv_nsec = ns % 1000000000};
    atomic_store(&e->sleeps, 1);
    if (atomic_load(&e->word) == seen)
        syscall(SYS_futex, &e->word, FUTEX_WAIT_PRIVATE, seen, ns < 0 ? NULL : &t, NULL, 0);
    atomic_store(&e->sleeps, 0);
}

bool hd_events_get(hd_events *e, int timeout_ms, hd_event *out)
{
    int64_t end = hd_clock_ns() + (int64_t)timeout_ms * 1000000;
    for (;;) {
        uint32_t seen = atomic_load(&e->word);
        if (take(e, out)) return true;
        int64_t left = timeout_ms < 0 ? -1 : end - hd_clock_ns();
        if (timeout_ms >= 0 && left <= 0) return false;
        wait_for_change(e, seen, left);
    }
}
