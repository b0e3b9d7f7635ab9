/* A few threads for what would hold up the loop: reading bodies, rendering, tokenising. */
#ifndef HD_SERVER_WORKERS_H
#define HD_SERVER_WORKERS_H

#include "base/status.h"

typedef struct hd_workers hd_workers;

/** @param work what is done with an item, on one of n threads. @param cap items that may wait. */
hd_status hd_workers_create(int n, int cap, void (*work)(void *item), hd_workers **out,
                            hd_err *err) HD_WARN_UNUSED;
/** Waits until all items were worked on. NULL is allowed. */
void hd_workers_destroy(hd_workers *w);
/** @return false when too many wait already. Any thread. */
bool hd_workers_push(hd_workers *w, void *item);

#endif
