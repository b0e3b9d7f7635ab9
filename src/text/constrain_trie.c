/* Building the trie; the table of masks. */
#include "text/constrain_match.h"

#include <stdlib.h>

#include "base/mem.h"

#define SHARED_BYTES ((size_t)32 << 20) /* masks that all grammars of a vocabulary share */

/* ---- masks ---- */

void hd_mask_table_init(hd_mask_table *t, size_t max_bytes)
{
    for (size_t i = 0; i < HD_MASK_SLOTS; i++) atomic_init(&t->slot[i], NULL);
    atomic_init(&t->left_bytes, max_bytes);
}

static void free_entry(hd_mask_entry *e)
{
    if (!e) return;
    hd_mem_free(e->mask);
    hd_mem_free(e->exit);
    hd_mem_free(e);
}

void hd_mask_table_deinit(hd_mask_table *t)
{
    for (size_t i = 0; i < HD_MASK_SLOTS; i++) free_entry(atomic_load(&t->slot[i]));
}

static size_t first_slot(uint64_t key)
{
    return (size_t)((key * 0x9e3779b97f4a7c15u) >> 52) % HD_MASK_SLOTS;
}

hd_mask_entry *hd_mask_table_get(const hd_mask_table *t, uint64_t key)
{
    size_t at = first_slot(key);
    for (size_t i = 0; i < HD_MASK_SLOTS; i++, at = (at + 1) % HD_MASK_SLOTS) {
        hd_mask_entry *e = atomic_load_explicit(&t->slot[at], memory_order_acquire);
        if (!e || e->key == key) return e;
    }
    return NULL;
}

bool hd_mask_table_reserve(hd_mask_table *t, size_t bytes)
{
    size_t left = atomic_load(&t->left_bytes);
    do {
        if (left < bytes) return false;
    } while (!atomic_compare_exchange_weak(&t->left_bytes, &left, left - bytes));
    return true;
}

hd_mask_entry *hd_mask_table_put(hd_mask_table *t, hd_mask_entry *e)
{
    size_t at = first_slot(e->key);
    for (size_t i = 0; i < HD_MASK_SLOTS; i++, at = (at + 1) % HD_MASK_SLOTS) {
        hd_mask_entry *there = NULL;
        if (atomic_compare_exchange_strong(&t->slot[at], &there, e)) return e;
        if (there->key != e->key) continue;
        free_entry(e);
        return there;
    }
    free_entry(e);
    return NULL;
}

/* ---- the trie ---- */

static int by_bytes(const void *a, const void *b, void *vocab)
{
    hd_str x = hd_vocab_token_bytes(vocab, *(const int32_t *)a);
    hd_str y = hd_vocab_token_bytes(vocab, *(const int32_t *)b);
    int order = memcmp(x.ptr, y.ptr, x.len < y.len ? x.len : y.len);
    return order ? order : (x.len > y.len) - (x.len < y.len);
}

static int by_length(const void *a, const void *b, void *vocab)
{
    size_t x = hd_vocab_token_bytes(vocab, *(const int32_t *)a).len;
    size_t y = hd_vocab_token_bytes(vocab, *(const int32_t *)b).len;
    return (x < y) - (x > y);
}

static size_t common_prefix(hd_str a, hd_str b)
{
    size_t i = 0;
    while (i < a.len && i < b.len && a.ptr[i] == b.ptr[i]) i++;
    return i;
}

/* The ordinary tokens in byte order. @return how many nodes they need. */
static size_t sort_tokens(hd_vtrie *t, size_t *n_ordinary, bool is_byte[256])
{
    size_t n = 0, n_nodes = 0;
    hd_str last = {0};
    for (int32_t id = 0; (size_t)id < t->n_tokens; id++) {
        hd_str s = hd_vocab_token_bytes(t->vocab, id);
        if (s.len == 0 || (hd_vocab_flags(t->vocab, id) & HD_TOKEN_ADDED)) continue;
        t->token[n++] = id;
        if (s.len == 1) is_byte[(uint8_t)s.ptr[0]] = true;
        if (s.len > t->max_token_bytes) t->max_token_bytes = (uint32_t)s.len;
    }
    qsort_r(t->token, n, sizeof *t->token, by_bytes, (void *)(uintptr_t)t->vocab);
    for (size_t i = 0; i < n; i++) {
        hd_str s = hd_vocab_token_bytes(t->vocab, t->token[i]);
        n_nodes += s.len - (i ? common_prefix(last, s) : 0);
        last = s;
    }
    *n_ordinary = n;
    return n_nodes;
}

static void fill_nodes(hd_vtrie *t, size_t n_ordinary)
{
    uint32_t path[HD_VOCAB_MAX_TOKEN_BYTES + 1];
    uint32_t n = 0;
    size_t depth = 0;
    hd_str last = {0};
    for (size_t i = 0; i < n_ordinary; i++) {
        hd_str s = hd_vocab_token_bytes(t->vocab, t->token[i]);
        size_t at = i ? common_prefix(last, s) : 0;
        while (depth > at) t->skip[path[depth--]] = n;
        for (; at < s.len; at++) {
            path[++depth] = n;
            t->byte[n] = (uint8_t)s.ptr[at];
            t->depth[n] = (uint16_t)depth;
            t->first[n++] = (uint32_t)i;
        }
        last = s;
    }
    while (depth > 0) t->skip[path[depth--]] = n;
    t->first[n] = (uint32_t)n_ordinary;
    t->n_nodes = n;
    for (uint32_t i = n; i-- > 0;) {
        t->reach[i] = t->depth[i];
        for (uint32_t k = i + 1; k < t->skip[i]; k = t->skip[k])
            if (t->reach[k] > t->reach[i]) t->reach[i] = t->reach[k];
    }
}

static hd_status build(hd_vtrie *t, hd_err *err)
{
    size_t n_ordinary;
    bool is_byte[256] = {false};
    t->token = hd_mem_try_calloc(t->n_tokens, sizeof *t->token);
    if (!t->token) HD_FAIL(err, HD_E_NOMEM, "out of memory for the vocabulary's trie");
    size_t n_nodes = sort_tokens(t, &n_ordinary, is_byte);
    for (unsigned c = 0; c < 256; c++)
        if (!is_byte[c])
            HD_FAIL(err, HD_E_UNSUPPORTED, "vocabulary has no token for the byte 0x%02x", c);
    t->byte = hd_mem_try_calloc(n_nodes, sizeof *t->byte);
    t->depth = hd_mem_try_calloc(n_nodes, sizeof *t->depth);
    t->skip = hd_mem_try_calloc(n_nodes, sizeof *t->skip);
    t->reach = hd_mem_try_calloc(n_nodes, sizeof *t->reach);
    t->longest = hd_mem_try_calloc(n_ordinary, sizeof *t->longest);
    t->first = hd_mem_try_calloc(n_nodes + 1, sizeof *t->first);
    if (!t->byte || !t->depth || !t->skip || !t->reach || !t->longest || !t->first)
        HD_FAIL(err, HD_E_NOMEM, "out of memory for the vocabulary's trie");
    fill_nodes(t, n_ordinary);
    t->n_ordinary = n_ordinary;
    memcpy(t->longest, t->token, n_ordinary * sizeof *t->token);
    qsort_r(t->longest, n_ordinary, sizeof *t->longest, by_length, (void *)(uintptr_t)t->vocab);
    return HD_OK;
}

/* Masks of the common rules' states, so that no request waits for them. */
static hd_status warm(hd_vtrie *t, hd_err *err)
{
    hd_grammar_source source = {
        .kind = HD_GRAMMAR_SCHEMA, .text = HD_STR("{\"minLength\": 1}"), .limit_ms = 10000};
    hd_grammar *g = NULL;
    hd_matcher *m = NULL;
    HD_TRY(hd_grammar_compile(t, &source, NULL, &g, err));
    hd_status status = hd_matcher_create(g, &m, err);
    if (status == HD_OK) hd_mask_warm_states(m, 0, g->n_common, UINT32_MAX, INT64_MAX);
    hd_matcher_destroy(m);
    hd_grammar_unref(g);
    return status;
}

hd_status hd_vtrie_create(const hd_vocab *v, hd_vtrie **out, hd_err *err)
{
    hd_vtrie *t = hd_mem_try_calloc(1, sizeof *t);
    if (!t) HD_FAIL(err, HD_E_NOMEM, "out of memory for the vocabulary's trie");
    t->vocab = v;
    t->n_tokens = hd_vocab_size(v);
    t->n_words = (t->n_tokens + 31) / 32;
    t->ids = (hd_cc_ids){.eos = hd_vocab_find_added(v, HD_STR(HD_TOKEN_EOS)),
                         .end_think = hd_vocab_find_added(v, HD_STR(HD_TOKEN_END_THINK)),
                         .dsml = hd_vocab_find_added(v, HD_STR(HD_TOKEN_DSML))};
    t->masks = hd_mem_try_calloc(1, sizeof *t->masks);
    hd_status status = HD_E_NOMEM;
    if (t->masks) {
        hd_mask_table_init(t->masks, SHARED_BYTES);
        status = build(t, err);
    } else {
        HD_SET_ERR(err, HD_E_NOMEM, "out of memory for the vocabulary's trie");
    }
    if (status == HD_OK) status = warm(t, err);
    if (status == HD_OK)
        *out = t;
    else
        hd_vtrie_destroy(t);
    return status;
}

void hd_vtrie_destroy(hd_vtrie *t)
{
    if (!t) return;
    if (t->masks) hd_mask_table_deinit(t->masks);
    hd_mem_free(t->masks);
    hd_mem_free(t->byte);
    hd_mem_free(t->depth);
    hd_mem_free(t->skip);
    hd_mem_free(t->reach);
    hd_mem_free(t->longest);
    hd_mem_free(t->first);
    hd_mem_free(t->token);
    hd_mem_free(t);
}

size_t hd_vtrie_mask_words(const hd_vtrie *t)
{
    return t->n_words;
}
