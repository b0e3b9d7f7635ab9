/* Finding added tokens in raw text.
 *
 * The list is sorted, so the tokens that share a prefix with the text are one range of it. The
 * range is narrowed byte by byte; a token that ends on the way is a match, the last one the
 * longest. A position costs at most (token length × log n), and most positions nothing: a table of
 * first bytes rejects them. */
#include "text/vocab_tables.h"

/* In item[lo, hi), which agree in bytes [0, at) and are longer: the first whose byte `at` is not
 * below `byte`. */
static size_t lower_bound(const hd_added *item, size_t lo, size_t hi, size_t at, int byte)
{
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if ((unsigned char)item[mid].content.ptr[at] < byte)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The longest token that `text` starts with; NULL if none. */
static const hd_added *longest_match(const hd_added_list *list, hd_str text)
{
    const hd_added *best = NULL;
    size_t lo = 0, hi = list->n;
    for (size_t at = 0; at < text.len && lo < hi; at++) {
        int byte = (unsigned char)text.ptr[at];
        lo = lower_bound(list->item, lo, hi, at, byte);
        hi = lower_bound(list->item, lo, hi, at, byte + 1);
        if (lo < hi && list->item[lo].content.len == at + 1) best = &list->item[lo++];
    }
    return best;
}

size_t hd_added_find(const hd_added_list *list, hd_str text, size_t from, const hd_added **out)
{
    for (size_t i = from; i < text.len; i++) {
        if (!list->is_first[(unsigned char)text.ptr[i]]) continue;
        *out = longest_match(list, hd_str_skip(text, i));
        if (*out) return i;
    }
    return text.len;
}
