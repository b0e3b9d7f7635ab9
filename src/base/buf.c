#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/mem.h"

void hd_buf_init(hd_buf *b, size_t max_bytes)
{
    *b = (hd_buf){.max = max_bytes};
}

void hd_buf_deinit(hd_buf *b)
{
    hd_mem_free(b->ptr);
    *b = (hd_buf){0};
}

void hd_buf_reset(hd_buf *b)
{
    b->len = 0;
    b->status = HD_OK;
    if (b->ptr) b->ptr[0] = '\0';
}

char *hd_buf_room(hd_buf *b, size_t n)
{
    if (b->status != HD_OK) return NULL;
    if (n > b->max - b->len) {
        b->status = HD_E_LIMIT;
        return NULL;
    }
    size_t need = b->len + n + 1;
    if (need > b->cap) {
        size_t cap = b->cap ? b->cap : 64;
        while (cap < need) cap = cap > SIZE_MAX / 2 ? need : cap * 2;
        char *p = hd_mem_try_realloc(b->ptr, cap, 1);
        if (!p) {
            b->status = HD_E_NOMEM;
            return NULL;
        }
        b->ptr = p;
        b->cap = cap;
    }
    return b->ptr + b->len;
}

void hd_buf_add(hd_buf *b, const void *src, size_t n)
{
    char *dst = hd_buf_room(b, n);
    if (!dst) return;
    if (n) memcpy(dst, src, n);
    b->len += n;
    b->ptr[b->len] = '\0';
}

void hd_buf_add_str(hd_buf *b, hd_str s)
{
    hd_buf_add(b, s.ptr, s.len);
}
void hd_buf_addz(hd_buf *b, const char *s)
{
    hd_buf_add(b, s, strlen(s));
}
void hd_buf_addc(hd_buf *b, char c)
{
    hd_buf_add(b, &c, 1);
}

void hd_buf_addf(hd_buf *b, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    HD_ASSERT(n >= 0);
    char *dst = hd_buf_room(b, (size_t)n);
    if (!dst) return;
    va_start(ap, fmt);
    vsnprintf(dst, (size_t)n + 1, fmt, ap);
    va_end(ap);
    b->len += (size_t)n;
}

hd_status hd_buf_status(const hd_buf *b, const char *what, hd_err *err)
{
    if (b->status == HD_E_LIMIT)
        HD_FAIL(err, HD_E_LIMIT, "%s would be longer than %zu bytes", what, b->max);
    if (b->status != HD_OK) HD_FAIL(err, HD_E_NOMEM, "out of memory for %s", what);
    return HD_OK;
}
