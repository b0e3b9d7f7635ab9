#include "base/mem.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static _Atomic long fail_after = -1;
static _Atomic unsigned long n_allocs;

unsigned long hd_mem_count(void)
{
    return atomic_load(&n_allocs);
}

static void count(void)
{
    atomic_fetch_add_explicit(&n_allocs, 1, memory_order_relaxed);
}

void hd_mem_fail_after(long n)
{
    atomic_store(&fail_after, n);
}

static bool injected_failure(void)
{
    if (HD_LIKELY(atomic_load_explicit(&fail_after, memory_order_relaxed) < 0)) return false;
    return atomic_fetch_sub(&fail_after, 1) <= 0 ? (atomic_store(&fail_after, 0), true) : false;
}

void *hd_mem_try_calloc(size_t n, size_t size)
{
    if (injected_failure()) return NULL;
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) return NULL;
    count();
    return calloc(bytes ? bytes : 1, 1);
}

void *hd_mem_try_realloc(void *old, size_t n, size_t size)
{
    if (injected_failure()) return NULL;
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes)) return NULL;
    count();
    return realloc(old, bytes ? bytes : 1);
}

void *hd_mem_try_aligned(size_t align, size_t bytes)
{
    if (injected_failure()) return NULL;
    void *p;
    count();
    return posix_memalign(&p, align, bytes ? bytes : 1) == 0 ? p : NULL;
}

void *hd_mem_calloc(size_t n, size_t size)
{
    size_t bytes;
    count();
    void *p = __builtin_mul_overflow(n, size, &bytes) ? NULL : calloc(bytes ? bytes : 1, 1);
    if (!p) hd_assert_failed("out of memory", __FILE__, __LINE__);
    return p;
}

char *hd_mem_strdup(const char *s)
{
    size_t n = strlen(s) + 1;
    return memcpy(hd_mem_calloc(n, 1), s, n);
}

void hd_mem_free(void *p)
{
    free(p);
}
