#include "backend/trace/memory.h"

#include <string.h>

#include "base/mem.h"

void hd_trace_memory_init(hd_trace_memory *m)
{
    *m = (hd_trace_memory){.n = 0};
    pthread_mutex_init(&m->lock, NULL);
}

void hd_trace_memory_deinit(hd_trace_memory *m)
{
    pthread_mutex_destroy(&m->lock);
    hd_mem_free(m->region);
}

/* How many regions begin at or below `at`. */
static size_t count_below(const hd_trace_memory *m, uintptr_t at)
{
    size_t low = 0, high = m->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (m->region[mid].at <= at)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

static hd_status insert(hd_trace_memory *m, hd_trace_region r)
{
    if (m->n == m->cap) {
        size_t cap = m->cap ? 2 * m->cap : 64;
        hd_trace_region *grown = hd_mem_try_realloc(m->region, cap, sizeof *grown);
        if (!grown) return HD_E_NOMEM;
        m->region = grown;
        m->cap = cap;
    }
    size_t i = count_below(m, r.at);
    memmove(&m->region[i + 1], &m->region[i], (m->n - i) * sizeof r);
    m->region[i] = r;
    m->n++;
    return HD_OK;
}

hd_status hd_trace_memory_add(hd_trace_memory *m, const void *p, size_t bytes, hd_trace_kind kind)
{
    pthread_mutex_lock(&m->lock);
    hd_status st = insert(m, (hd_trace_region){.at = (uintptr_t)p, .bytes = bytes, .kind = kind});
    pthread_mutex_unlock(&m->lock);
    return st;
}

bool hd_trace_memory_remove(hd_trace_memory *m, const void *p, hd_trace_kind kind)
{
    bool found = false;
    pthread_mutex_lock(&m->lock);
    for (size_t i = count_below(m, (uintptr_t)p); i-- > 0 && m->region[i].at == (uintptr_t)p;) {
        if (m->region[i].kind != kind) continue;
        memmove(&m->region[i], &m->region[i + 1], (m->n - i - 1) * sizeof m->region[0]);
        m->n--;
        found = true;
        break;
    }
    pthread_mutex_unlock(&m->lock);
    return found;
}

/* Regions may lie in each other (slices of one host array, adopted one by one), so all that begin
 * below are candidates; the first is nearly always the one. */
static const char *check(const hd_trace_memory *m, uintptr_t at, size_t bytes, bool write)
{
    const char *why = "is not device memory";
    for (size_t i = count_below(m, at); i-- > 0;) {
        const hd_trace_region *r = &m->region[i];
        size_t skip = at - r->at;
        if (r->kind == HD_TRACE_PACKED || skip >= r->bytes) continue;
        if (bytes > r->bytes - skip)
            why = "reaches beyond its allocation";
        else if (write && r->kind == HD_TRACE_ADOPTED)
            why = "is constant (adopted) but written";
        else
            return NULL;
    }
    return why;
}

const char *hd_trace_memory_check(hd_trace_memory *m, const void *p, size_t bytes, bool write)
{
    pthread_mutex_lock(&m->lock);
    const char *why = check(m, (uintptr_t)p, bytes, write);
    pthread_mutex_unlock(&m->lock);
    return why;
}

bool hd_trace_memory_is_weight(hd_trace_memory *m, const void *w)
{
    bool found = false;
    pthread_mutex_lock(&m->lock);
    for (size_t i = count_below(m, (uintptr_t)w); i-- > 0 && m->region[i].at == (uintptr_t)w;)
        found = found || m->region[i].kind == HD_TRACE_PACKED;
    pthread_mutex_unlock(&m->lock);
    return found;
}
