/* A growable array of token ids with a stated maximum.
 *
 * As hd_buf, for ids: created with the length at which it must fail, so that a text from outside
 * cannot make it grow without bound. Ids are int32_t everywhere; a negative one is never valid. */
#ifndef HD_TEXT_IDS_H
#define HD_TEXT_IDS_H

#include <stdint.h>

#include "base/status.h"

typedef struct hd_ids {
    int32_t *ptr; /* i32 [len]; NULL before the first push; owned */
    size_t len;
    size_t cap;
    size_t max; /* most ids that len may reach */
} hd_ids;

void hd_ids_init(hd_ids *a, size_t max);
void hd_ids_deinit(hd_ids *a);
/** Empty it, keep its memory. */
static inline void hd_ids_reset(hd_ids *a)
{
    a->len = 0;
}

/** Room for n more ids. HD_E_LIMIT beyond max, HD_E_NOMEM. */
hd_status hd_ids_reserve(hd_ids *a, size_t n, hd_err *err) HD_WARN_UNUSED;
/** Append src, i32 [n]. On failure nothing was appended. */
hd_status hd_ids_add(hd_ids *a, const int32_t *src, size_t n, hd_err *err) HD_WARN_UNUSED;

static inline HD_WARN_UNUSED hd_status hd_ids_push(hd_ids *a, int32_t id, hd_err *err)
{
    if (HD_UNLIKELY(a->len == a->cap)) HD_TRY(hd_ids_reserve(a, 1, err));
    a->ptr[a->len++] = id;
    return HD_OK;
}

#endif
