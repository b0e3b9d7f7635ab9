/* The only place that calls malloc and free.
 *
 * Sizes that a file or client chose go through the `try` forms, which report HD_E_NOMEM; small
 * fixed-size requests use the plain forms, which abort: on a machine that cannot give 4 KiB nothing
 * useful can follow. Products are checked for overflow. Tests inject failures into the `try` forms
 * with hd_mem_fail_after. */
#ifndef HD_BASE_MEM_H
#define HD_BASE_MEM_H

#include <stddef.h>

#include "base/status.h"

/** n * size zeroed bytes, or NULL (also on overflow). n * size = 0 gives a unique pointer. */
void *hd_mem_try_calloc(size_t n, size_t size);
/** As realloc for n * size bytes; NULL leaves `old` as it was. */
void *hd_mem_try_realloc(void *old, size_t n, size_t size);
/** Aligned to `align` (a power of two ≥ 8); not zeroed; free with hd_mem_free. */
void *hd_mem_try_aligned(size_t align, size_t bytes);
/** Never NULL: aborts when memory is out. For small sizes of our own choosing. */
void *hd_mem_calloc(size_t n, size_t size);
char *hd_mem_strdup(const char *s);
void hd_mem_free(void *p);

/** Tests: let `n` more allocations of the `try` forms succeed, then fail each; n < 0 ends it. */
void hd_mem_fail_after(long n);
/** Tests: allocations so far, of all threads and forms; growing counts, freeing does not. */
unsigned long hd_mem_count(void);

#endif
