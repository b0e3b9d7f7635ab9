/* A bounded queue of pointers: any thread pushes, one thread pops and sleeps when there is nothing.
 *
 * A ring of cells, each with a number that says whose turn it is (Vyukov's bounded queue): no lock,
 * no allocation after create, and a full queue says so at once. The one who pops sleeps on an
 * eventfd; pushing costs a system call only while it sleeps. */
#ifndef HD_BASE_QUEUE_H
#define HD_BASE_QUEUE_H

#include "base/status.h"

typedef struct hd_queue hd_queue;

#define HD_QUEUE_MAX (1u << 20)

/** @param cap places; a power of two up to HD_QUEUE_MAX.
 *  @return HD_E_ARG, HD_E_NOMEM, HD_E_IO (no eventfd). */
hd_status hd_queue_create(uint32_t cap, hd_queue **out, hd_err *err) HD_WARN_UNUSED;
/** NULL is allowed. What is still in it is forgotten; no other thread may be at it. */
void hd_queue_destroy(hd_queue *q);

/** Any thread. Items of one thread keep their order. @return false when it is full. */
bool hd_queue_push(hd_queue *q, void *item);
/** The popping thread. @return false when it is empty. */
bool hd_queue_pop(hd_queue *q, void **item);

/** The popping thread: sleep until something is there or hd_queue_wake, at most timeout_ms (−1: as
 *  long as it takes). It may end early with nothing there (a push that has been popped since, a
 *  signal): callers loop. @return whether something is there. */
bool hd_queue_wait(hd_queue *q, int timeout_ms);
/** Any thread: end the wait under way, or the next one. */
void hd_queue_wake(hd_queue *q);

#endif
