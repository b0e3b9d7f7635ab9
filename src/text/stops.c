/* Stop strings: see stops.h. */
#include "text/stops.h"

#include "base/mem.h"

#define MAX_STOP_BYTES ((size_t)1 << 20)
#define MAX_HELD_BYTES ((size_t)64 << 20)

hd_status hd_stops_init(hd_stops *s, const char *const *list, size_t n, hd_err *err)
{
    *s = (hd_stops){0};
    hd_buf_init(&s->held, MAX_HELD_BYTES);
    if (n == 0) return HD_OK;
    s->items = hd_mem_try_calloc(n, sizeof *s->items);
    if (!s->items) HD_FAIL(err, HD_E_NOMEM, "out of memory for %zu stop strings", n);
    for (; s->n < n; s->n++) {
        size_t len = strlen(list[s->n]);
        if (len == 0 || len > MAX_STOP_BYTES)
            HD_FAIL(err, HD_E_ARG, "stop string %zu has %zu bytes, expected 1 to %zu", s->n, len,
                    MAX_STOP_BYTES);
        char *copy = hd_mem_try_calloc(len + 1, 1);
        if (!copy) HD_FAIL(err, HD_E_NOMEM, "out of memory for a stop string");
        memcpy(copy, list[s->n], len);
        s->items[s->n] = (hd_str){copy, len};
    }
    s->i_found = n;
    return HD_OK;
}

void hd_stops_deinit(hd_stops *s)
{
    for (size_t i = 0; i < s->n; i++) hd_mem_free((void *)(uintptr_t)s->items[i].ptr);
    hd_mem_free(s->items);
    hd_buf_deinit(&s->held);
    *s = (hd_stops){0};
}

/* Where the text ends before a stop string that is complete at or behind `from`. */
static bool find_stop(hd_stops *s, hd_str text, size_t from, size_t *begin)
{
    for (size_t end = from; end <= text.len; end++) {
        size_t longest = 0;
        for (size_t i = 0; i < s->n; i++)
            if (s->items[i].len > longest && hd_str_ends((hd_str){text.ptr, end}, s->items[i])) {
                longest = s->items[i].len;
                s->i_found = i;
            }
        if (longest == 0) continue;
        *begin = end - longest;
        return true;
    }
    return false;
}

/* Where the longest end of the text begins that a stop string may start with. */
static size_t possible_stop(const hd_stops *s, hd_str text)
{
    size_t longest = 0;
    for (size_t i = 0; i < s->n; i++)
        if (s->items[i].len > longest) longest = s->items[i].len;
    for (size_t at = text.len > longest ? text.len - longest : 0; at < text.len; at++) {
        hd_str end = hd_str_skip(text, at);
        for (size_t i = 0; i < s->n; i++)
            if (end.len < s->items[i].len && hd_str_starts(s->items[i], end)) return at;
    }
    return text.len;
}

bool hd_stops_feed(hd_stops *s, hd_str text, hd_buf *out)
{
    size_t seen = s->held.len, n;
    if (s->n == 0 || s->is_off) {
        hd_buf_add_str(out, text);
        return false;
    }
    hd_buf_add_str(&s->held, text);
    hd_str all = hd_buf_str(&s->held);
    bool found = find_stop(s, all, seen + 1, &n);
    if (!found) n = possible_stop(s, all);
    hd_buf_add(out, all.ptr, n);
    s->held.len = found ? 0 : all.len - n;
    if (s->held.len) memmove(s->held.ptr, s->held.ptr + n, s->held.len);
    return found;
}

void hd_stops_flush(hd_stops *s, hd_buf *out)
{
    hd_buf_add_str(out, hd_buf_str(&s->held));
    hd_buf_reset(&s->held);
}
