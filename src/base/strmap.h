/* A hash map from byte strings to 64-bit values: open addressing, linear probing.
 *
 * Keys are borrowed: their bytes must outlive the map. Values are whatever fits in 64 bits, most
 * often an index. The hash is keyed per process (hash.h), so no input can make it slow. Entries lie
 * in a dense array in the order of their insertion; the table that is probed at random holds 8
 * bytes for each, so that large maps miss the caches seldom. There is no removal; nobody here needs
 * it. */
#ifndef HD_BASE_STRMAP_H
#define HD_BASE_STRMAP_H

#include <stdint.h>

#include "base/str.h"

typedef struct hd_strmap_entry {
    hd_str key;
    uint64_t value;
} hd_strmap_entry;

typedef struct hd_strmap {
    hd_strmap_entry *entries; /* [n], room for two thirds of cap */
    uint64_t *table; /* [cap]: upper half of the hash, 1 + index of the entry; 0 when free */
    size_t cap;      /* 0 or a power of two */
    size_t n;        /* entries in use, below 2^31 */
} hd_strmap;

void hd_strmap_init(hd_strmap *m);
void hd_strmap_deinit(hd_strmap *m);
/** Forget all entries; memory that was well used is kept. */
void hd_strmap_reset(hd_strmap *m);

/** Make room for n entries in total; false when memory is out. */
bool hd_strmap_try_reserve(hd_strmap *m, size_t n);

/** The value of `key`; NULL when absent. Valid until the next insertion. */
uint64_t *hd_strmap_get(const hd_strmap *m, hd_str key);

/** The value of `key`, made with value 0 if absent; NULL when memory is out.
 *  @param is_new tells which; may be NULL. Valid until the next insertion. */
uint64_t *hd_strmap_try_put(hd_strmap *m, hd_str key, bool *is_new);

#endif
