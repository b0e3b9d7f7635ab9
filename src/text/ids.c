/* Growable id arrays: see ids.h. */
#include "text/ids.h"

#include <string.h>

#include "base/mem.h"

void hd_ids_init(hd_ids *a, size_t max)
{
    *a = (hd_ids){.max = max};
}

void hd_ids_deinit(hd_ids *a)
{
    hd_mem_free(a->ptr);
    *a = (hd_ids){.max = a->max};
}

hd_status hd_ids_reserve(hd_ids *a, size_t n, hd_err *err)
{
    if (n > a->max - a->len)
        HD_FAIL(err, HD_E_LIMIT, "more than %zu tokens, expected at most that many", a->max);
    if (n <= a->cap - a->len) return HD_OK;
    size_t cap = a->cap < 32 ? 64 : a->cap + a->cap / 2;
    if (cap < a->len + n) cap = a->len + n;
    if (cap > a->max) cap = a->max;
    int32_t *ptr = hd_mem_try_realloc(a->ptr, cap, sizeof(*ptr));
    if (!ptr) HD_FAIL(err, HD_E_NOMEM, "out of memory for %zu tokens", cap);
    a->ptr = ptr;
    a->cap = cap;
    return HD_OK;
}

hd_status hd_ids_add(hd_ids *a, const int32_t *src, size_t n, hd_err *err)
{
    if (n == 0) return HD_OK;
    HD_TRY(hd_ids_reserve(a, n, err));
    memcpy(a->ptr + a->len, src, n * sizeof(*src));
    a->len += n;
    return HD_OK;
}
