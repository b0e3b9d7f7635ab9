/* The way from the engine's thread to whoever reads one request: a ring of 256 tokens, and the end.
 *
 * One thread writes, one reads, no lock. The reader sleeps on a futex; the writer makes a system
 * call only then. The writer never waits: it asks hd_events_has_room and lets the request sit out.
 */
#ifndef HD_ENGINE_EVENTS_H
#define HD_ENGINE_EVENTS_H

#include <stdatomic.h>
#include <stdbool.h>

#include "hadal/engine.h"

#define HD_EVENTS_ROOM 256

typedef struct hd_events {
    _Atomic uint32_t word; /* 2 · tokens written + whether the end is there; what the reader sleeps
                              on, so it changes with every event */
    _Atomic uint32_t n_read; /* tokens */
    _Atomic int sleeps;      /* the reader does, or is about to */
    int32_t token[HD_EVENTS_ROOM];
    hd_event last; /* written before the word says so */
} hd_events;

void hd_events_reset(hd_events *e);
bool hd_events_has_room(const hd_events *e);
/* Writer. There must be room. */
void hd_events_put(hd_events *e, int32_t token);
void hd_events_end(hd_events *e, const hd_event *last);
/* Reader: false when nothing came in time; timeout_ms as in hd_engine_next. */
bool hd_events_get(hd_events *e, int timeout_ms, hd_event *out);

#endif
