#include "base/strmap.h"

#include "base/hash.h"
#include "base/mem.h"

#define MIN_CAP 16u

void hd_strmap_init(hd_strmap *m)
{
    *m = (hd_strmap){0};
}

void hd_strmap_deinit(hd_strmap *m)
{
    hd_mem_free(m->slots);
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
    memset(m->slots, 0, m->cap * sizeof *m->slots);
    m->n = 0;
}

static uint64_t hash_of(hd_str key)
{
    uint64_t h = hd_hash_str(key);
    return h ? h : 1;
}

/* The slot that holds `key`, or the free one where it belongs. cap > n, so one is found. */
static hd_strmap_entry *find(hd_strmap_entry *slots, size_t cap, uint64_t hash, hd_str key)
{
    size_t i = hash & (cap - 1);
    while (slots[i].hash && (slots[i].hash != hash || !hd_str_eq(slots[i].key, key)))
        i = (i + 1) & (cap - 1);
    return &slots[i];
}

bool hd_strmap_try_reserve(hd_strmap *m, size_t n)
{
    size_t need, cap = m->cap ? m->cap : MIN_CAP;
    if (__builtin_add_overflow(n, n / 2, &need) || need > SIZE_MAX / 4) return false;
    while (cap <= need) cap *= 2; /* at most two thirds full */
    if (cap == m->cap) return true;
    hd_strmap_entry *slots = hd_mem_try_calloc(cap, sizeof *slots);
    if (!slots) return false;
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].hash) *find(slots, cap, m->slots[i].hash, m->slots[i].key) = m->slots[i];
    hd_mem_free(m->slots);
    m->slots = slots;
    m->cap = cap;
    return true;
}

uint64_t *hd_strmap_get(const hd_strmap *m, hd_str key)
{
    if (m->n == 0) return NULL;
    hd_strmap_entry *e = find(m->slots, m->cap, hash_of(key), key);
    return e->hash ? &e->value : NULL;
}

uint64_t *hd_strmap_try_put(hd_strmap *m, hd_str key, bool *is_new)
{
    if (!hd_strmap_try_reserve(m, m->n + 1)) return NULL;
    uint64_t hash = hash_of(key);
    hd_strmap_entry *e = find(m->slots, m->cap, hash, key);
    if (is_new) *is_new = e->hash == 0;
    if (e->hash == 0) {
        *e = (hd_strmap_entry){.hash = hash, .key = key};
        m->n++;
    }
    return &e->value;
}
