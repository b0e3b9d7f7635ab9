/* The way from the engine's thread to whoever reads one request: a ring of bytes, and the end.
 *
 * One thread writes, one reads, no lock. An event is a record in the ring: its fields, then its
 * text or its list of likely tokens. The reader sleeps on a futex; the writer makes a system call
 * only then. The writer never waits: what finds no room is kept aside in the order of events, and
 * moved to the ring later (hd_events_move); until then the engine lets the request sit out. */
#ifndef HD_ENGINE_EVENTS_H
#define HD_ENGINE_EVENTS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "base/buf.h"
#include "hadal/engine.h"

#define HD_EVENTS_RING  16384u /* bytes, a power of two */
#define HD_EVENTS_PIECE 4096u  /* bytes of text in one event; longer ones become several */

typedef struct hd_events {
    _Atomic uint32_t word;      /* grows with every change; what the reader sleeps on */
    _Atomic int sleeps;         /* the reader does, or is about to */
    _Atomic uint64_t n_written; /* bytes ever */
    _Atomic uint64_t n_read;
    _Atomic int has_end;
    hd_event last;  /* written before has_end */
    uint8_t *ring;  /* u8 [HD_EVENTS_RING], made at the first use of the slot and kept */
    hd_buf aside;   /* the writer's: whole records */
    size_t n_moved; /* bytes of it that are in the ring now */
    hd_buf shown;   /* the reader's: what its latest event points to */
} hd_events;

/* For a request to come; once before it begins. */
hd_status hd_events_reset(hd_events *e, hd_err *err) HD_WARN_UNUSED;
void hd_events_deinit(hd_events *e);

/* Writer. Fields and text are copied; of kinds with text, long ones become several events. A
 * failure (no memory for what is aside) shows in hd_events_status. */
void hd_events_put(hd_events *e, const hd_event *event);
/* Move to the ring what has room now. */
void hd_events_move(hd_events *e);
/* Whether nothing is aside. */
bool hd_events_is_clear(const hd_events *e);
hd_status hd_events_status(const hd_events *e, hd_err *err) HD_WARN_UNUSED;
/* The end. What is still aside is lost. */
void hd_events_end(hd_events *e, const hd_event *last);

/* Reader: false when nothing came in time; timeout_ms as in hd_engine_next. */
bool hd_events_get(hd_events *e, int timeout_ms, hd_event *out);

#endif
