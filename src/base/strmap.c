#include "base/strmap.h"

#include "base/hash.h"
#include "base/mem.h"

#define MIN_CAP 16u
#define MAX_CAP ((size_t)1 << 31)

void hd_strmap_init(hd_strmap *m)
{
    *m = (hd_strmap){0};
}

void hd_strmap_deinit(hd_strmap *m)
{
    hd_mem_free(m->entries);
    hd_mem_free(m->table);
    *m = (hd_strmap){0};
}

void hd_strmap_reset(hd_strmap *m)
{
    if (m->n == 0) return;
    if (m->n < m->cap / 8) {
        /* Clearing a large table for few entries could be made to happen again and again. */
        hd_strmap_deinit(m);
        return;
    }
    memset(m->table, 0, m->cap * sizeof *m->table);
    m->n = 0;
}

/* The slot of `key` in the table, or the free one where it belongs. cap > n, so one is found. */
static uint64_t *find(const hd_strmap *m, uint64_t hash, hd_str key)
{
    size_t i = hash & (m->cap - 1);
    for (; m->table[i]; i = (i + 1) & (m->cap - 1)) {
        if ((m->table[i] ^ hash) >> 32) continue;
        if (hd_str_eq(m->entries[(uint32_t)m->table[i] - 1].key, key)) break;
    }
    return &m->table[i];
}

/* Put all entries into an empty table of `cap` slots. */
static void fill(const hd_strmap *m, uint64_t *table, size_t cap)
{
    for (size_t k = 0; k < m->n; k++) {
        uint64_t hash = hd_hash_str(m->entries[k].key);
        size_t i = hash & (cap - 1);
        while (table[i]) i = (i + 1) & (cap - 1);
        table[i] = (hash >> 32 << 32) | (k + 1);
    }
}

bool hd_strmap_try_reserve(hd_strmap *m, size_t n)
{
    size_t cap = m->cap ? m->cap : MIN_CAP;
    if (n >= MAX_CAP / 2) return false;
    while (cap - cap / 3 <= n) cap *= 2; /* at most two thirds full */
    if (cap == m->cap) return true;
    hd_strmap_entry *entries = hd_mem_try_realloc(m->entries, cap - cap / 3, sizeof *m->entries);
    if (!entries) return false;
    m->entries = entries;
    uint64_t *table = hd_mem_try_calloc(cap, sizeof *table);
    if (!table) return false;
    fill(m, table, cap);
    hd_mem_free(m->table);
    m->table = table;
    m->cap = cap;
    return true;
}

uint64_t *hd_strmap_get(const hd_strmap *m, hd_str key)
{
    if (m->n == 0) return NULL;
    uint64_t slot = *find(m, hd_hash_str(key), key);
    return slot ? &m->entries[(uint32_t)slot - 1].value : NULL;
}

uint64_t *hd_strmap_try_put(hd_strmap *m, hd_str key, bool *is_new)
{
    if (!hd_strmap_try_reserve(m, m->n + 1)) return NULL;
    uint64_t hash = hd_hash_str(key), *slot = find(m, hash, key);
    if (is_new) *is_new = *slot == 0;
    if (*slot == 0) {
        m->entries[m->n++] = (hd_strmap_entry){.key = key};
        *slot = (hash >> 32 << 32) | m->n;
    }
    return &m->entries[(uint32_t)*slot - 1].value;
}
