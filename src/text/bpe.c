/* Byte pair encoding: see bpe.h.
 *
 * A piece starts as one symbol per byte (or per character, see vocab_chars.c); the neighbours that
 * merge into the lowest id are joined (leftmost first on a tie) until no two merge. Short pieces
 * keep their symbols in a row and look for the lowest pair anew each time; long ones keep a linked
 * list and a heap of pairs, so that no piece, however hostile, costs more than O(n log n). Pieces
 * up to CACHE_BYTES are remembered: real text repeats its words. */
#include "text/bpe.h"

#include "base/mem.h"
#include "base/utf8.h"
#include "text/pretok.h"
#include "text/vocab_tables.h"

#define MAX_TEXT_BYTES ((size_t)1 << 30)
#define ROW_BYTES      160   /* longest piece that may be merged in a row */
#define ROW_SYMBOLS    48    /* most symbols in a row */
#define KEPT_ROOM      65536 /* scratch for longer pieces is given back after each text */
#define CACHE_SLOTS    16384
#define CACHE_BYTES    30
#define CACHE_IDS      8

/* One remembered piece in one cache line; n_bytes 0: empty. */
typedef struct cache_slot {
    HD_ALIGNED(64) uint8_t n_bytes;
    uint8_t n_ids;
    char bytes[CACHE_BYTES];
    int32_t ids[CACHE_IDS];
} cache_slot;

/* A symbol of a long piece; merged ones keep the index of their first part. */
typedef struct symbol {
    int32_t id;
    int32_t rank;        /* of this symbol and the next; NO_MERGE if they do not merge */
    uint32_t prev, next; /* index; NOBODY at the ends */
} symbol;

enum { NO_MERGE = INT32_MAX };
#define NOBODY UINT32_MAX

struct hd_bpe {
    const hd_vocab *vocab;
    cache_slot *cache; /* [CACHE_SLOTS] */
    symbol *symbols;   /* [n_room] */
    uint64_t *heap;    /* [2 * n_room] rank << 32 | index of the left symbol */
    size_t n_room;     /* bytes of the longest piece so far */
};

hd_status hd_bpe_create(const hd_vocab *vocab, hd_bpe **out, hd_err *err)
{
    const size_t cache_bytes = CACHE_SLOTS * sizeof(cache_slot);
    hd_bpe *b = hd_mem_try_calloc(1, sizeof *b);
    *out = NULL;
    if (b) b->cache = hd_mem_try_aligned(_Alignof(cache_slot), cache_bytes);
    if (!b || !b->cache) {
        hd_bpe_destroy(b);
        HD_FAIL(err, HD_E_NOMEM, "out of memory for the tokenizer's cache");
    }
    b->vocab = vocab;
    memset(b->cache, 0, cache_bytes);
    *out = b;
    return HD_OK;
}

void hd_bpe_destroy(hd_bpe *b)
{
    if (!b) return;
    hd_mem_free(b->cache);
    hd_mem_free(b->symbols);
    hd_mem_free(b->heap);
    hd_mem_free(b);
}

static inline int32_t rank_of(const hd_vocab *v, int32_t left, int32_t right)
{
    int32_t id = hd_vocab_merge(v, left, right);
    return id < 0 ? NO_MERGE : id;
}

/* The symbol that merging starts from at p: a byte, or a character that certainly forms. Returns
 * its length. */
static inline size_t start_symbol(const hd_vocab *v, const unsigned char *p, int32_t *id)
{
    if (*p >= 0xC0 && *p < 0xF0) {
        size_t n = *p < 0xE0 ? 2 : 3;
        uint32_t cp = n == 2 ? (p[0] & 0x1Fu) << 6 | (p[1] & 0x3Fu)
                             : (p[0] & 0x0Fu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu);
        *id = v->char_id[cp];
        if (*id >= 0) return n;
    }
    *id = v->byte_id[*p];
    return 1;
}

/* ---- short pieces ---- */

/* The symbols that merging starts from, i32 [bytes.len]; returns how many. */
static size_t start_row(const hd_vocab *v, hd_str bytes, int32_t *ids)
{
    const unsigned char *p = (const unsigned char *)bytes.ptr, *end = p + bytes.len;
    size_t n = 0;
    while (p < end) p += start_symbol(v, p, &ids[n++]);
    return n;
}

/* Merge ids, i32 [n ≤ ROW_SYMBOLS], in place; returns how many are left. */
static size_t merge_row(const hd_vocab *v, int32_t *ids, size_t n)
{
    int32_t rank[ROW_SYMBOLS]; /* of ids[i] and ids[i + 1] */
    for (size_t i = 0; i + 1 < n; i++) rank[i] = rank_of(v, ids[i], ids[i + 1]);
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++)
            if (rank[i] < rank[best]) best = i;
        if (rank[best] == NO_MERGE) break;
        ids[best] = rank[best];
        n--;
        for (size_t i = best + 1; i < n; i++) ids[i] = ids[i + 1];
        for (size_t i = best + 1; i + 1 < n; i++) rank[i] = rank[i + 1];
        if (best > 0) rank[best - 1] = rank_of(v, ids[best - 1], ids[best]);
        if (best + 1 < n) rank[best] = rank_of(v, ids[best], ids[best + 1]);
    }
    return n;
}

/* ---- long pieces ---- */

static hd_status make_room(hd_bpe *b, size_t n, hd_err *err)
{
    if (n <= b->n_room) return HD_OK;
    symbol *symbols = hd_mem_try_realloc(b->symbols, n, sizeof *symbols);
    if (symbols) b->symbols = symbols;
    uint64_t *heap = symbols ? hd_mem_try_realloc(b->heap, n, 2 * sizeof *heap) : NULL;
    if (!heap) HD_FAIL(err, HD_E_NOMEM, "out of memory to encode a word of %zu bytes", n);
    b->heap = heap;
    b->n_room = n;
    return HD_OK;
}

static void drop_room(hd_bpe *b)
{
    hd_mem_free(b->symbols);
    hd_mem_free(b->heap);
    b->symbols = NULL;
    b->heap = NULL;
    b->n_room = 0;
}

static void sift_down(uint64_t *heap, size_t n, size_t i)
{
    uint64_t x = heap[i];
    for (;;) {
        size_t child = 2 * i + 1;
        if (child >= n) break;
        if (child + 1 < n && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= x) break;
        heap[i] = heap[child];
        i = child;
    }
    heap[i] = x;
}

static void sift_up(uint64_t *heap, size_t i)
{
    uint64_t x = heap[i];
    while (i > 0 && heap[(i - 1) / 2] > x) {
        heap[i] = heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    heap[i] = x;
}

/* Rank symbol i with its next, and put the pair on the heap of *n entries. */
static void offer_pair(hd_bpe *b, size_t *n, uint32_t i)
{
    symbol *s = &b->symbols[i];
    s->rank = s->next == NOBODY ? NO_MERGE : rank_of(b->vocab, s->id, b->symbols[s->next].id);
    if (s->rank == NO_MERGE) return;
    b->heap[*n] = (uint64_t)(uint32_t)s->rank << 32 | i;
    sift_up(b->heap, (*n)++);
}

/* Join symbol i with its next; entries of the heap that this makes stale stay there. */
static void join(hd_bpe *b, size_t *n_heap, uint32_t i)
{
    symbol *s = &b->symbols[i], *gone = &b->symbols[s->next];
    s->id = s->rank;
    s->next = gone->next;
    gone->rank = NO_MERGE;
    if (s->next != NOBODY) b->symbols[s->next].prev = i;
    offer_pair(b, n_heap, i);
    if (s->prev != NOBODY) offer_pair(b, n_heap, s->prev);
}

static hd_status merge_long(hd_bpe *b, hd_str bytes, hd_ids *out, hd_err *err)
{
    HD_TRY(make_room(b, bytes.len, err));
    size_t n_heap = 0, at = 0;
    uint32_t n = 0;
    for (; at < bytes.len; n++) {
        symbol *s = &b->symbols[n];
        *s = (symbol){.prev = n ? n - 1 : NOBODY, .next = n + 1};
        at += start_symbol(b->vocab, (const unsigned char *)bytes.ptr + at, &s->id);
    }
    b->symbols[n - 1].next = NOBODY;
    for (uint32_t i = 0; i < n; i++) offer_pair(b, &n_heap, i);
    while (n_heap > 0) {
        uint64_t top = b->heap[0];
        b->heap[0] = b->heap[--n_heap];
        sift_down(b->heap, n_heap, 0);
        uint32_t i = (uint32_t)top;
        /* A stale entry: the symbol is gone or has another neighbour, and then another rank. */
        if (b->symbols[i].rank == (int32_t)(top >> 32)) join(b, &n_heap, i);
    }
    for (uint32_t i = 0; i != NOBODY; i = b->symbols[i].next)
        HD_TRY(hd_ids_push(out, b->symbols[i].id, err));
    return HD_OK;
}

/* ---- pieces ---- */

static uint32_t cache_index(hd_str piece)
{
    uint64_t h = piece.len;
    for (size_t i = 0; i < piece.len; i += 8) {
        uint64_t word = 0;
        memcpy(&word, piece.ptr + i, piece.len - i < 8 ? piece.len - i : 8);
        h = (h ^ word) * 0x9E3779B97F4A7C15u;
        h ^= h >> 32;
    }
    return (uint32_t)(h % CACHE_SLOTS);
}

/* Merge a piece of at most ROW_BYTES that is not in the cache; `slot` NULL: nor shall be. */
static hd_status encode_new(hd_bpe *b, hd_str piece, cache_slot *slot, hd_ids *out, hd_err *err)
{
    int32_t ids[ROW_BYTES];
    size_t n = start_row(b->vocab, piece, ids);
    if (n > ROW_SYMBOLS) return merge_long(b, piece, out, err);
    n = merge_row(b->vocab, ids, n);
    if (slot && n <= CACHE_IDS) {
        slot->n_bytes = (uint8_t)piece.len;
        slot->n_ids = (uint8_t)n;
        memcpy(slot->bytes, piece.ptr, piece.len);
        memcpy(slot->ids, ids, n * sizeof *ids);
    }
    return hd_ids_add(out, ids, n, err);
}

static hd_status encode_piece(hd_bpe *b, hd_str piece, hd_ids *out, hd_err *err)
{
    if (piece.len == 1)
        return hd_ids_push(out, b->vocab->byte_id[(unsigned char)piece.ptr[0]], err);
    if (piece.len > ROW_BYTES) return merge_long(b, piece, out, err);
    if (piece.len > CACHE_BYTES) return encode_new(b, piece, NULL, out, err);
    cache_slot *slot = &b->cache[cache_index(piece)];
    if (slot->n_bytes == piece.len && memcmp(slot->bytes, piece.ptr, piece.len) == 0)
        return hd_ids_add(out, slot->ids, slot->n_ids, err);
    return encode_new(b, piece, slot, out, err);
}

static hd_status encode_plain(hd_bpe *b, hd_str text, hd_ids *out, hd_err *err)
{
    hd_pretok split;
    hd_str piece;
    hd_pretok_init(&split, text);
    while (hd_pretok_next(&split, &piece)) HD_TRY(encode_piece(b, piece, out, err));
    return HD_OK;
}

/* Cut the added tokens of lists `list` and after out of the text. */
static hd_status encode_around(hd_bpe *b, hd_str text, int list, hd_ids *out, hd_err *err)
{
    if (list == HD_COUNT(b->vocab->added)) return encode_plain(b, text, out, err);
    size_t from = 0;
    for (;;) {
        const hd_added *token;
        size_t at = hd_added_find(&b->vocab->added[list], text, from, &token);
        HD_TRY(encode_around(b, (hd_str){text.ptr + from, at - from}, list + 1, out, err));
        if (at == text.len) return HD_OK;
        HD_TRY(hd_ids_push(out, token->id, err));
        from = at + token->content.len;
    }
}

hd_status hd_bpe_encode(hd_bpe *b, hd_str text, unsigned flags, hd_ids *out, hd_err *err)
{
    if (text.len > MAX_TEXT_BYTES)
        HD_FAIL(err, HD_E_LIMIT, "text has %zu bytes, expected at most %zu", text.len,
                MAX_TEXT_BYTES);
    if (text.len == 0) return HD_OK;
    size_t good = hd_utf8_valid_prefix(text);
    if (good != text.len) HD_FAIL(err, HD_E_FORMAT, "text is not UTF-8 at byte %zu", good);
    size_t before = out->len;
    int first_list = flags & HD_ENCODE_PLAIN ? HD_COUNT(b->vocab->added) : 0;
    hd_status status = encode_around(b, text, first_list, out, err);
    if (status != HD_OK) out->len = before;
    if (b->n_room > KEPT_ROOM) drop_room(b);
    return status;
}
