#include "engine/events.h"

#include <limits.h>
#include <linux/futex.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define MAX_ASIDE_BYTES ((size_t)256 << 20)

/* What the ring holds of an event; `bytes` of payload follow, then zeros up to a multiple of 8. */
typedef struct record {
    int32_t kind;
    int32_t token;
    float logprob;
    int32_t n_top; /* payload: hd_logprob [n_top] */
    int32_t call;
    uint32_t bytes;
} record;

_Static_assert(sizeof(record) % 8 == 0, "records begin at multiples of 8");

static size_t padded(size_t bytes)
{
    return (bytes + 7) & ~(size_t)7;
}

hd_status hd_events_reset(hd_events *e, hd_err *err)
{
    if (!e->ring) {
        e->ring = hd_mem_try_calloc(HD_EVENTS_RING, 1);
        if (!e->ring) HD_FAIL(err, HD_E_NOMEM, "out of memory for a request's events");
        hd_buf_init(&e->aside, MAX_ASIDE_BYTES);
        hd_buf_init(&e->shown, sizeof(record) + 2 * HD_EVENTS_PIECE);
    }
    hd_buf_reset(&e->aside);
    hd_buf_reset(&e->shown);
    e->n_moved = 0;
    atomic_store(&e->word, 0);
    atomic_store(&e->sleeps, 0);
    atomic_store(&e->n_written, 0);
    atomic_store(&e->n_read, 0);
    atomic_store(&e->has_end, 0);
    return HD_OK;
}

void hd_events_deinit(hd_events *e)
{
    hd_mem_free(e->ring);
    hd_buf_deinit(&e->aside);
    hd_buf_deinit(&e->shown);
    e->ring = NULL;
}

/* ---- writer -----------------------------------------------------------------------------------*/

/* Both sides are sequentially consistent: either the reader sees the new word before it sleeps, or
 * this sees that it does. */
static void publish(hd_events *e)
{
    atomic_fetch_add(&e->word, 1);
    if (atomic_load(&e->sleeps))
        syscall(SYS_futex, &e->word, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
}

static void copy_in(hd_events *e, uint64_t at, const void *src, size_t n)
{
    size_t begin = (size_t)(at % HD_EVENTS_RING), first = HD_EVENTS_RING - begin;
    if (first > n) first = n;
    memcpy(e->ring + begin, src, first);
    memcpy(e->ring, (const uint8_t *)src + first, n - first);
}

static void copy_out(const hd_events *e, uint64_t at, void *dst, size_t n)
{
    size_t begin = (size_t)(at % HD_EVENTS_RING), first = HD_EVENTS_RING - begin;
    if (first > n) first = n;
    memcpy(dst, e->ring + begin, first);
    memcpy((uint8_t *)dst + first, e->ring, n - first);
}

static size_t room(const hd_events *e)
{
    return HD_EVENTS_RING - (size_t)(atomic_load(&e->n_written) - atomic_load(&e->n_read));
}

static void put_record(hd_events *e, const record *r, const void *payload)
{
    static const uint8_t zeros[8];
    size_t fill = padded(r->bytes) - r->bytes, size = sizeof *r + r->bytes + fill;
    if (!hd_events_is_clear(e) || size > room(e)) {
        hd_buf_add(&e->aside, r, sizeof *r);
        hd_buf_add(&e->aside, payload, r->bytes);
        hd_buf_add(&e->aside, zeros, fill);
        return;
    }
    uint64_t at = atomic_load(&e->n_written);
    copy_in(e, at, r, sizeof *r);
    copy_in(e, at + sizeof *r, payload, r->bytes);
    atomic_store(&e->n_written, at + size);
    publish(e);
}

/* At most `max` bytes of well-formed UTF-8, not cut inside a character. */
static size_t piece_of(const char *text, size_t len, size_t max)
{
    if (len <= max) return len;
    size_t n = max;
    while (n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80) n--;
    return n ? n : max;
}

void hd_events_put(hd_events *e, const hd_event *event)
{
    record r = {.kind = (int32_t)event->kind,
                .token = event->token,
                .logprob = event->logprob,
                .n_top = event->n_top,
                .call = event->call,
                .bytes = (uint32_t)((size_t)event->n_top * sizeof *event->top)};
    if (!event->text) {
        put_record(e, &r, event->top ? (const void *)event->top : "");
        return;
    }
    for (size_t at = 0, n; at < event->len || at == 0; at += n) {
        n = piece_of(event->text + at, event->len - at, HD_EVENTS_PIECE);
        r.bytes = (uint32_t)n;
        put_record(e, &r, event->text + at);
        if (n == 0) break;
    }
}

void hd_events_move(hd_events *e)
{
    uint64_t at = atomic_load(&e->n_written), begin = at;
    while (e->n_moved < e->aside.len) {
        record r;
        memcpy(&r, e->aside.ptr + e->n_moved, sizeof r);
        size_t size = sizeof r + padded(r.bytes);
        if (size > room(e) - (size_t)(at - begin)) break;
        copy_in(e, at, e->aside.ptr + e->n_moved, size);
        e->n_moved += size;
        at += size;
    }
    if (at == begin) return;
    atomic_store(&e->n_written, at);
    publish(e);
    if (e->n_moved < e->aside.len) return;
    hd_buf_reset(&e->aside);
    e->n_moved = 0;
}

bool hd_events_is_clear(const hd_events *e)
{
    return e->n_moved == e->aside.len;
}

hd_status hd_events_status(const hd_events *e, hd_err *err)
{
    return hd_buf_status(&e->aside, "the events that nobody has read", err);
}

void hd_events_end(hd_events *e, const hd_event *last)
{
    e->last = *last;
    atomic_store(&e->has_end, 1);
    publish(e);
}

/* ---- reader -----------------------------------------------------------------------------------*/

static bool take(hd_events *e, hd_event *out)
{
    uint64_t at = atomic_load(&e->n_read);
    if (at == atomic_load(&e->n_written)) {
        /* The end was set behind the last record: looked at in the other order here. */
        if (!atomic_load(&e->has_end) || at != atomic_load(&e->n_written)) return false;
        *out = e->last;
        return true;
    }
    record r;
    copy_out(e, at, &r, sizeof r);
    hd_buf_reset(&e->shown);
    char *payload = hd_buf_room(&e->shown, r.bytes + 1);
    if (!payload) return false; /* a few kilobytes: tried again at the next call */
    copy_out(e, at + sizeof r, payload, r.bytes);
    payload[r.bytes] = '\0';
    *out = (hd_event){.kind = (hd_event_kind)r.kind,
                      .token = r.token,
                      .logprob = r.logprob,
                      .n_top = r.n_top,
                      .call = r.call};
    if (r.n_top)
        out->top = (const hd_logprob *)(const void *)payload;
    else if (out->kind > HD_EVENT_TOKEN) {
        out->text = payload;
        out->len = r.bytes;
    }
    atomic_store(&e->n_read, at + sizeof r + padded(r.bytes));
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
