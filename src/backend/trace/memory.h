/* Which addresses belong to a device: what was allocated, adopted and packed, and not yet given
 * back. Tells device memory from host pointers, and constants from memory that ops may write. */
#ifndef HD_BACKEND_TRACE_MEMORY_H
#define HD_BACKEND_TRACE_MEMORY_H

#include <pthread.h>

#include "dev/dev.h"

typedef enum hd_trace_kind { HD_TRACE_ALLOC, HD_TRACE_ADOPTED, HD_TRACE_PACKED } hd_trace_kind;

typedef struct hd_trace_region {
    uintptr_t at;
    size_t bytes;
    hd_trace_kind kind;
} hd_trace_region;

typedef struct hd_trace_memory {
    pthread_mutex_t lock;
    hd_trace_region *region; /* ascending by address */
    size_t n, cap;
} hd_trace_memory;

void hd_trace_memory_init(hd_trace_memory *m);
void hd_trace_memory_deinit(hd_trace_memory *m);

/** HD_E_NOMEM. The same address may be adopted more than once. */
hd_status hd_trace_memory_add(hd_trace_memory *m, const void *p, size_t bytes, hd_trace_kind kind);
/** False: no such region. */
bool hd_trace_memory_remove(hd_trace_memory *m, const void *p, hd_trace_kind kind);

/** NULL when [p, p + bytes) may be read (written) by an op, else what is wrong with it. */
const char *hd_trace_memory_check(hd_trace_memory *m, const void *p, size_t bytes, bool write);
/** `w` is a packed weight of this device. */
bool hd_trace_memory_is_weight(hd_trace_memory *m, const void *w);

#endif
