#include "engine/draft_lookup.h"

#include <string.h>

#include "base/mem.h"

#define GRAM      3
#define BUCKETS   4096 /* a power of two */
#define MAX_TRIES 16   /* earlier places that are looked at */
#define MAX_MATCH 32   /* tokens compared */

typedef struct places {
    int32_t n;        /* places entered: GRAM … n; a place is where three tokens end */
    int32_t *last;    /* [BUCKETS]: the latest place, 0: none */
    int32_t *earlier; /* [max_text + 1]: of a place, the one before in its bucket */
} places;

struct hd_lookup {
    places *of_slot; /* [n_slots] */
    int32_t n_slots;
};

hd_status hd_lookup_create(int32_t n_slots, int32_t max_text, hd_lookup **out, hd_err *err)
{
    hd_lookup *l = hd_mem_calloc(1, sizeof *l);
    bool is_ok = (l->of_slot = hd_mem_try_calloc((size_t)n_slots, sizeof *l->of_slot)) != NULL;
    l->n_slots = is_ok ? n_slots : 0;
    for (int32_t i = 0; is_ok && i < n_slots; i++) {
        places *x = &l->of_slot[i];
        x->last = hd_mem_try_calloc(BUCKETS, sizeof *x->last);
        x->earlier = hd_mem_try_calloc((size_t)max_text + 1, sizeof *x->earlier);
        is_ok = x->last && x->earlier;
    }
    if (!is_ok) {
        hd_lookup_destroy(l);
        HD_FAIL(err, HD_E_NOMEM, "out of memory for the lookup of %d texts", n_slots);
    }
    *out = l;
    return HD_OK;
}

void hd_lookup_destroy(hd_lookup *l)
{
    if (!l) return;
    for (int32_t i = 0; i < l->n_slots; i++) {
        hd_mem_free(l->of_slot[i].last);
        hd_mem_free(l->of_slot[i].earlier);
    }
    hd_mem_free(l->of_slot);
    hd_mem_free(l);
}

void hd_lookup_reset(hd_lookup *l, int32_t slot)
{
    places *x = &l->of_slot[slot];
    memset(x->last, 0, BUCKETS * sizeof *x->last);
    x->n = 0;
}

static int32_t *bucket_of(const places *x, const int32_t *text, int32_t place)
{
    uint64_t h = 0;
    for (int32_t i = place - GRAM; i < place; i++)
        h = (h ^ (uint64_t)(uint32_t)text[i]) * 0x9E3779B97F4A7C15u;
    return &x->last[h >> 40 & (BUCKETS - 1)];
}

/* Tokens before the two places that are the same. */
static int32_t match(const int32_t *text, int32_t place, int32_t end)
{
    int32_t n = 0;
    while (n < MAX_MATCH && n < place && text[place - 1 - n] == text[end - 1 - n]) n++;
    return n;
}

int32_t hd_lookup_find(hd_lookup *l, int32_t slot, const int32_t *text, int32_t n, int32_t max,
                       int32_t *out)
{
    places *x = &l->of_slot[slot];
    int32_t best = 0, best_len = GRAM - 1;
    if (n < GRAM) return 0;
    for (int32_t place = x->n < GRAM ? GRAM : x->n + 1; place < n; place++) {
        int32_t *head = bucket_of(x, text, place);
        x->earlier[place] = *head;
        *head = place;
        x->n = place;
    }
    int32_t place = *bucket_of(x, text, n);
    for (int i = 0; i < MAX_TRIES && place > 0; i++, place = x->earlier[place]) {
        int32_t len = match(text, place, n);
        if (len > best_len) {
            best = place;
            best_len = len;
        }
    }
    if (best == 0) return 0;
    int32_t n_out = n - best < max ? n - best : max;
    memcpy(out, text + best, (size_t)n_out * sizeof *out);
    return n_out;
}
