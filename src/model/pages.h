/* Pages of 32 rows, counted: who holds them, who may append to them.
 *
 * A page id means the same place in the pool of every layer of its kind. Rows are only ever
 * appended. A page has at most one writer, the sequence that appends; others may hold it for the
 * rows that were sealed before they came, and the writer goes on behind those in place. Whoever
 * wants to write elsewhere in a page copies it first (state.c). So what a holder reads never
 * changes, and a shared prefix costs nothing. */
#ifndef HD_MODEL_PAGES_H
#define HD_MODEL_PAGES_H

#include "base/status.h"

typedef struct hd_page_pool {
    int32_t n_pages;
    int32_t n_free;
    int32_t *free_ids; /* [n_pages]: the first n_free are free */
    int32_t *holders;  /* [n_pages]: 0 = free */
    int32_t *writer;   /* [n_pages]: slot of the sequence that may append; −1 = nobody */
    uint8_t *sealed;   /* [n_pages]: leading rows that others may rely on */
} hd_page_pool;

/** n_pages free pages. @return HD_E_NOMEM. */
hd_status hd_pages_init(hd_page_pool *p, int32_t n_pages, hd_err *err) HD_WARN_UNUSED;
void hd_pages_deinit(hd_page_pool *p);

/** A page with one holder, `writer`. One must be free. */
int32_t hd_pages_take(hd_page_pool *p, int32_t writer);
/** One more holder of a page in use. */
void hd_pages_hold(hd_page_pool *p, int32_t id);
/** One holder less; the last one frees the page. `writer`: the caller's slot, −1 if it has none:
 *  a writer that lets go leaves a page that nobody appends to. */
void hd_pages_drop(hd_page_pool *p, int32_t id, int32_t writer);
/** The first n_rows rows are final. */
void hd_pages_seal(hd_page_pool *p, int32_t id, int32_t n_rows);

/** Whether `writer` may write row `row` of the page without copying it. */
static inline bool hd_pages_is_own(const hd_page_pool *p, int32_t id, int32_t writer, int32_t row)
{
    return p->writer[id] == writer && row >= p->sealed[id];
}

#endif
