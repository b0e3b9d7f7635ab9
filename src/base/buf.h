/* Growable bytes with a stated maximum.
 *
 * A buffer is created with the size at which it must fail. The first append that does not fit, or
 * that memory refuses, puts it into a failed state: later appends do nothing, and hd_buf_status
 * tells at the end. So a writer appends freely and checks once. */
#ifndef HD_BASE_BUF_H
#define HD_BASE_BUF_H

#include <stdint.h>

#include "base/status.h"
#include "base/str.h"

typedef struct hd_buf {
    char *ptr;  /* NUL-terminated behind len once anything was appended; owned */
    size_t len; /* bytes in use */
    size_t cap; /* bytes allocated */
    size_t max; /* most bytes that len may reach */
    hd_status status;
} hd_buf;

void hd_buf_init(hd_buf *b, size_t max_bytes);
void hd_buf_deinit(hd_buf *b);
/** Empty it, keep its memory, clear a failed state. */
void hd_buf_reset(hd_buf *b);

void hd_buf_add(hd_buf *b, const void *src, size_t n);
void hd_buf_add_str(hd_buf *b, hd_str s);
void hd_buf_addz(hd_buf *b, const char *nul_terminated);
void hd_buf_addc(hd_buf *b, char c);
void hd_buf_addf(hd_buf *b, const char *fmt, ...) HD_PRINTF(2, 3);
/** Room for n more bytes at ptr + len, not counted yet; NULL when the buffer has failed. */
char *hd_buf_room(hd_buf *b, size_t n);

static inline hd_str hd_buf_str(const hd_buf *b)
{
    return (hd_str){b->ptr, b->len};
}

/** HD_OK, HD_E_LIMIT (max reached) or HD_E_NOMEM; `what` names the content in the error. */
hd_status hd_buf_status(const hd_buf *b, const char *what, hd_err *err) HD_WARN_UNUSED;

#endif
