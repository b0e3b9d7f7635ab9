#include "model/pages.h"

#include "base/mem.h"

hd_status hd_pages_init(hd_page_pool *p, int32_t n_pages, hd_err *err)
{
    size_t n = (size_t)n_pages + 1; /* a pool may be empty */
    *p = (hd_page_pool){.n_pages = n_pages, .n_free = n_pages};
    p->free_ids = hd_mem_try_calloc(n, sizeof *p->free_ids);
    p->holders = hd_mem_try_calloc(n, sizeof *p->holders);
    p->writer = hd_mem_try_calloc(n, sizeof *p->writer);
    p->sealed = hd_mem_try_calloc(n, sizeof *p->sealed);
    if (!p->free_ids || !p->holders || !p->writer || !p->sealed)
        HD_FAIL(err, HD_E_NOMEM, "out of memory for the table of %d pages", n_pages);
    for (int32_t i = 0; i < n_pages; i++) p->free_ids[i] = n_pages - 1 - i;
    return HD_OK;
}

void hd_pages_deinit(hd_page_pool *p)
{
    hd_mem_free(p->free_ids);
    hd_mem_free(p->holders);
    hd_mem_free(p->writer);
    hd_mem_free(p->sealed);
    *p = (hd_page_pool){0};
}

int32_t hd_pages_take(hd_page_pool *p, int32_t writer)
{
    HD_ASSERT(p->n_free > 0);
    int32_t id = p->free_ids[--p->n_free];
    HD_ASSERT(p->holders[id] == 0);
    p->holders[id] = 1;
    p->writer[id] = writer;
    p->sealed[id] = 0;
    return id;
}

void hd_pages_hold(hd_page_pool *p, int32_t id)
{
    HD_ASSERT(p->holders[id] > 0);
    p->holders[id]++;
}

void hd_pages_drop(hd_page_pool *p, int32_t id, int32_t writer)
{
    HD_ASSERT(p->holders[id] > 0);
    if (writer >= 0 && p->writer[id] == writer) p->writer[id] = -1;
    if (--p->holders[id] == 0) p->free_ids[p->n_free++] = id;
}

void hd_pages_seal(hd_page_pool *p, int32_t id, int32_t n_rows)
{
    HD_ASSERT(p->holders[id] > 0 && n_rows >= 0 && n_rows <= UINT8_MAX);
    if (n_rows > p->sealed[id]) p->sealed[id] = (uint8_t)n_rows;
}
