/* From the tree of a tokenizer.json to tables: see vocab.h.
 *
 * The settings are checked first (vocab_settings.c). Then every token is put at its id, and the
 * merges are looked up by spelling, as the reference does. A file that contradicts itself (an id
 * twice, a gap, a merge of unknown tokens) is refused: each such file would give some text wrong
 * ids. Limits come before allocation; the tree, the map of spellings and the sort buffer are gone
 * when opening ends. */
#include "text/vocab.h"

#include <stdlib.h>
#include <sys/stat.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/strmap.h"
#include "base/utf8.h"
#include "text/vocab_tables.h"

#define TREE_MAX_BYTES   ((size_t)1 << 30)
#define TABLES_MAX_BYTES ((size_t)1 << 30)

/* A token in an error text: cut so that two fit. */
#define SHOW(s) HD_STR_ARG(hd_utf8_cut((s), 96))

typedef struct build {
    hd_vocab *v;
    hd_strmap ids; /* spelling in model.vocab -> id */
    const hd_json *vocab, *merges;
    const hd_json *added; /* NULL: none */
    hd_added *item[2];    /* [added->n] room for v->added[].item */
    hd_err *err;
} build;

static hd_status no_memory(const build *b)
{
    HD_FAIL(b->err, HD_E_NOMEM, "out of memory for the vocabulary");
}

/* ---- the byte-level alphabet ---- */

/* GPT-2's spelling of bytes as printable characters: 33-126, 161-172 and 174-255 stand for
 * themselves, the other 68 bytes, ascending, are U+0100, U+0101, ... */
static bool stands_for_itself(uint32_t byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

/* cp_of: u32 [256], the code point that spells each byte. */
static void make_alphabet(uint32_t *cp_of)
{
    uint32_t next = 0x100;
    for (uint32_t byte = 0; byte < 256; byte++)
        cp_of[byte] = stands_for_itself(byte) ? byte : next++;
}

/* byte_of: i16 [0x144], the byte of each code point; -1 for those that spell none. */
static void invert_alphabet(int16_t *byte_of)
{
    uint32_t cp_of[256];
    make_alphabet(cp_of);
    memset(byte_of, 0xFF, 0x144 * sizeof *byte_of);
    for (int byte = 0; byte < 256; byte++) byte_of[cp_of[byte]] = (int16_t)byte;
}

/* The bytes that `spelling` stands for into dst (room for spelling.len); SIZE_MAX when it holds a
 * character outside the alphabet. */
static size_t unspell(const int16_t *byte_of, hd_str spelling, char *dst)
{
    size_t n = 0;
    while (spelling.len) {
        uint32_t cp;
        size_t len;
        hd_utf8_next(spelling, &cp, &len);
        if (cp >= 0x144 || byte_of[cp] < 0) return SIZE_MAX;
        dst[n++] = (char)byte_of[cp];
        spelling = hd_str_skip(spelling, len);
    }
    return n;
}

/* ---- tokens ---- */

static hd_status place_token(const build *b, int64_t id, hd_str bytes, unsigned flags)
{
    hd_vocab *v = b->v;
    if ((uint64_t)id >= v->n_tokens)
        HD_FAIL(b->err, HD_E_FORMAT, "token '%.*s' has id %lld, expected 0 to %zu without gaps",
                SHOW(bytes), (long long)id, v->n_tokens - 1);
    if (v->token[id].ptr)
        HD_FAIL(b->err, HD_E_FORMAT, "tokens '%.*s' and '%.*s' have the same id %lld",
                SHOW(v->token[id]), SHOW(bytes), (long long)id);
    if (bytes.len == 0 || bytes.len > HD_VOCAB_MAX_TOKEN_BYTES)
        HD_FAIL(b->err, HD_E_LIMIT, "token %lld '%.*s' has %zu bytes, expected 1 to %d",
                (long long)id, SHOW(bytes), bytes.len, HD_VOCAB_MAX_TOKEN_BYTES);
    v->token[id] = hd_arena_dup(&v->arena, bytes);
    if (!v->token[id].ptr) return no_memory(b);
    v->flags[id] = (uint8_t)flags;
    return HD_OK;
}

static hd_status read_spellings(build *b)
{
    if (b->vocab->n > HD_VOCAB_MAX_SIZE)
        HD_FAIL(b->err, HD_E_LIMIT, "'model.vocab' has %zu tokens, expected at most %zu",
                b->vocab->n, HD_VOCAB_MAX_SIZE);
    for (const hd_json *t = b->vocab->child; t; t = t->next) {
        int64_t id;
        HD_TRY(hd_json_i64(t, 0, HD_VOCAB_MAX_SIZE - 1, &id, b->err));
        uint64_t *slot = hd_strmap_try_put(&b->ids, t->key, NULL);
        if (!slot) return no_memory(b);
        *slot = (uint64_t)id;
    }
    return HD_OK;
}

/* Whether `id` is an added token and `spelling` the model's entry of it, spelled as it is. */
static bool is_own_entry(const hd_vocab *v, uint64_t id, hd_str spelling)
{
    return id < v->n_tokens && (v->flags[id] & HD_TOKEN_ADDED) && hd_str_eq(v->token[id], spelling);
}

static hd_status place_vocab(const build *b)
{
    int16_t byte_of[0x144];
    char bytes[2 * HD_VOCAB_MAX_TOKEN_BYTES];
    invert_alphabet(byte_of);
    for (const hd_json *t = b->vocab->child; t; t = t->next) {
        uint64_t id = *hd_strmap_get(&b->ids, t->key);
        if (t->key.len > sizeof bytes)
            HD_FAIL(b->err, HD_E_LIMIT, "token %llu '%.*s' is longer than %zu bytes",
                    (unsigned long long)id, SHOW(t->key), sizeof bytes);
        size_t n = unspell(byte_of, t->key, bytes);
        if (is_own_entry(b->v, id, t->key)) {
            if (n == SIZE_MAX || hd_str_eq((hd_str){bytes, n}, t->key)) continue;
            HD_FAIL(b->err, HD_E_FORMAT,
                    "added token '%.*s' is the byte-level spelling of other bytes in 'model.vocab'",
                    SHOW(t->key));
        }
        if (n == SIZE_MAX)
            HD_FAIL(b->err, HD_E_FORMAT,
                    "token '%.*s' is not spelled in the byte-level alphabet and is no added token",
                    SHOW(t->key));
        HD_TRY(place_token(b, (int64_t)id, (hd_str){bytes, n}, 0));
    }
    return HD_OK;
}

static hd_status find_bytes(const build *b)
{
    uint32_t cp_of[256];
    make_alphabet(cp_of);
    for (int byte = 0; byte < 256; byte++) {
        char spelling[4];
        size_t n = hd_utf8_put(spelling, cp_of[byte]);
        const uint64_t *id = hd_strmap_get(&b->ids, (hd_str){spelling, n});
        if (!id)
            HD_FAIL(b->err, HD_E_FORMAT,
                    "'model.vocab' has no token for byte 0x%02x, expected one for each byte", byte);
        b->v->byte_id[byte] = (int32_t)*id;
    }
    return HD_OK;
}

/* ---- merges ---- */

typedef struct merge {
    int32_t left, right, result;
} merge;

/* "a b" or ["a", "b"] */
static bool split_merge(const hd_json *node, hd_str *left, hd_str *right)
{
    if (node->kind == HD_JSON_ARRAY && node->n == 2) {
        const hd_json *a = node->child, *b = a->next;
        *left = a->text;
        *right = b->text;
        return a->kind == HD_JSON_STRING && b->kind == HD_JSON_STRING;
    }
    if (node->kind != HD_JSON_STRING) return false;
    size_t at = hd_str_find(node->text, HD_STR(" "), 0);
    if (at == node->text.len) return false;
    *left = (hd_str){node->text.ptr, at};
    *right = hd_str_skip(node->text, at + 1);
    return hd_str_find(*right, HD_STR(" "), 0) == right->len;
}

static hd_status id_of_part(const build *b, size_t k, hd_str part, int32_t *id)
{
    const uint64_t *found = hd_strmap_get(&b->ids, part);
    if (!found)
        HD_FAIL(b->err, HD_E_FORMAT, "merge %zu names '%.*s', which is not in 'model.vocab'", k,
                SHOW(part));
    *id = (int32_t)*found;
    return HD_OK;
}

static hd_status read_merge(const build *b, size_t k, const hd_json *node, merge *m)
{
    char whole[4 * HD_VOCAB_MAX_TOKEN_BYTES]; /* two parts, each found in the vocabulary */
    hd_str left, right;
    if (!split_merge(node, &left, &right))
        HD_FAIL(b->err, HD_E_FORMAT, "merge %zu is not \"left right\" or [\"left\", \"right\"]", k);
    HD_TRY(id_of_part(b, k, left, &m->left));
    HD_TRY(id_of_part(b, k, right, &m->right));
    memcpy(whole, left.ptr, left.len);
    memcpy(whole + left.len, right.ptr, right.len);
    return id_of_part(b, k, (hd_str){whole, left.len + right.len}, &m->result);
}

static hd_status make_merge_table(const build *b)
{
    hd_merges *m = &b->v->merges;
    unsigned bits = 4; /* so that there is a whole word of seen bits */
    if (b->merges->n > HD_VOCAB_MAX_SIZE)
        HD_FAIL(b->err, HD_E_LIMIT, "'model.merges' has %zu entries, expected at most %zu",
                b->merges->n, HD_VOCAB_MAX_SIZE);
    while (((size_t)1 << bits) < 2 * b->merges->n) bits++;
    const size_t n = (size_t)1 << bits;
    m->mask = (uint32_t)(n - 1);
    m->shift = 64 - bits;
    m->slot = hd_arena_try_alloc(&b->v->arena, n, sizeof *m->slot);
    m->seen = hd_arena_try_alloc(&b->v->arena, n / 16, sizeof *m->seen);
    if (!m->slot || !m->seen) return no_memory(b);
    memset(m->slot, 0xFF, n * sizeof *m->slot); /* HD_MERGE_EMPTY */
    return HD_OK;
}

static void add_merge(hd_merges *m, int32_t left, int32_t right, int32_t result)
{
    uint64_t key = hd_merge_key(left, right), hash = hd_merge_hash(key);
    uint64_t bit = hash >> (m->shift - 2), i = hash >> m->shift;
    m->seen[bit / 64] |= (uint64_t)1 << (bit % 64);
    while (m->slot[i & m->mask] != HD_MERGE_EMPTY) i++;
    m->slot[i & m->mask] = key << HD_MERGE_BITS | (uint32_t)result;
}

static hd_status read_merges(const build *b)
{
    size_t k = 0;
    int32_t last = -1;
    HD_TRY(make_merge_table(b));
    for (const hd_json *node = b->merges->child; node; node = node->next, k++) {
        merge m;
        HD_TRY(read_merge(b, k, node, &m));
        if (m.result <= last)
            HD_FAIL(b->err, HD_E_UNSUPPORTED,
                    "merge %zu makes token %d after token %d, expected ascending ids", k, m.result,
                    last);
        last = m.result;
        add_merge(&b->v->merges, m.left, m.right, m.result);
    }
    return HD_OK;
}

/* ---- added tokens ---- */

typedef struct added_token {
    hd_str content;
    int64_t id;
    bool is_special, is_normalized;
} added_token;

static hd_status read_added(const build *b, const hd_json *node, added_token *out)
{
    static const char *const unsupported[] = {"single_word", "lstrip", "rstrip"};
    HD_TRY(hd_json_get_i64(node, "id", 0, HD_VOCAB_MAX_SIZE - 1, &out->id, b->err));
    HD_TRY(hd_json_get_str(node, "content", &out->content, b->err));
    HD_TRY(hd_json_get_bool(node, "special", &out->is_special, b->err));
    HD_TRY(hd_json_get_bool(node, "normalized", &out->is_normalized, b->err));
    for (size_t i = 0; i < HD_COUNT(unsupported); i++) {
        bool is_set;
        HD_TRY(hd_json_get_bool(node, unsupported[i], &is_set, b->err));
        if (is_set)
            HD_FAIL(b->err, HD_E_UNSUPPORTED, "added token '%.*s' has '%s' set, expected false",
                    SHOW(out->content), unsupported[i]);
    }
    return HD_OK;
}

/* Before the tables exist: how many ids there are. */
static hd_status count_tokens(const build *b, size_t *n)
{
    *n = b->vocab->n;
    if (!b->added) return HD_OK;
    if (b->added->n > HD_VOCAB_MAX_SIZE)
        HD_FAIL(b->err, HD_E_LIMIT, "'added_tokens' has %zu entries, expected at most %zu",
                b->added->n, HD_VOCAB_MAX_SIZE);
    for (const hd_json *node = b->added->child; node; node = node->next) {
        added_token t;
        HD_TRY(read_added(b, node, &t));
        if (!hd_strmap_get(&b->ids, t.content)) ++*n;
    }
    if (*n > HD_VOCAB_MAX_SIZE)
        HD_FAIL(b->err, HD_E_LIMIT, "the vocabulary has %zu tokens, expected at most %zu", *n,
                HD_VOCAB_MAX_SIZE);
    return HD_OK;
}

static int compare_content(const void *a, const void *b)
{
    hd_str x = ((const hd_added *)a)->content, y = ((const hd_added *)b)->content;
    int order = memcmp(x.ptr, y.ptr, x.len < y.len ? x.len : y.len);
    return order ? order : (x.len > y.len) - (x.len < y.len);
}

static hd_status place_added(const build *b)
{
    hd_vocab *v = b->v;
    size_t n[2] = {0};
    for (const hd_json *node = b->added->child; node; node = node->next) {
        added_token t;
        HD_TRY(read_added(b, node, &t));
        const uint64_t *own = hd_strmap_get(&b->ids, t.content);
        if (own && (int64_t)*own != t.id)
            HD_FAIL(b->err, HD_E_FORMAT,
                    "added token '%.*s' has id %lld, but %llu in 'model.vocab'", SHOW(t.content),
                    (long long)t.id, (unsigned long long)*own);
        unsigned special = t.is_special ? HD_TOKEN_SPECIAL : 0;
        HD_TRY(place_token(b, t.id, t.content, HD_TOKEN_ADDED | special));
        int k = t.is_normalized;
        b->item[k][n[k]++] = (hd_added){v->token[t.id], (int32_t)t.id};
        v->added[k].is_first[(unsigned char)t.content.ptr[0]] = true;
    }
    for (int k = 0; k < 2; k++) {
        qsort(b->item[k], n[k], sizeof *b->item[k], compare_content);
        v->added[k].item = b->item[k];
        v->added[k].n = n[k];
    }
    return HD_OK;
}

/* The same content twice, in one list or across both. */
static hd_status refuse_twins(const build *b)
{
    const hd_added_list *raw = &b->v->added[0], *normalized = &b->v->added[1];
    size_t i = 0, k = 0;
    const hd_added *last = NULL;
    while (i < raw->n || k < normalized->n) {
        bool take_raw = k == normalized->n ||
                        (i < raw->n && compare_content(&raw->item[i], &normalized->item[k]) < 0);
        const hd_added *a = take_raw ? &raw->item[i++] : &normalized->item[k++];
        if (last && compare_content(last, a) == 0)
            HD_FAIL(b->err, HD_E_FORMAT, "added token '%.*s' occurs twice", SHOW(a->content));
        last = a;
    }
    return HD_OK;
}

/* ---- opening ---- */

static hd_status build_tables(build *b)
{
    hd_vocab *v = b->v;
    const size_t n_added = b->added ? b->added->n : 0;
    HD_TRY(read_spellings(b));
    HD_TRY(count_tokens(b, &v->n_tokens));
    v->token = hd_arena_try_alloc(&v->arena, v->n_tokens, sizeof *v->token);
    v->flags = hd_arena_try_alloc(&v->arena, v->n_tokens, sizeof *v->flags);
    for (int k = 0; k < 2; k++)
        b->item[k] = hd_arena_try_alloc(&v->arena, n_added, sizeof *b->item[k]);
    if (!v->token || !v->flags || !b->item[0] || !b->item[1]) return no_memory(b);
    if (b->added) {
        HD_TRY(place_added(b));
        HD_TRY(refuse_twins(b));
    }
    HD_TRY(place_vocab(b));
    HD_TRY(find_bytes(b));
    HD_TRY(read_merges(b));
    return hd_vocab_find_certain_chars(v) ? HD_OK : no_memory(b);
}

static hd_status find_part(const hd_json *parent, const char *key, hd_json_kind kind,
                           const hd_json **out, hd_err *err)
{
    *out = hd_json_get(parent, key);
    if (*out && (*out)->kind != kind)
        HD_FAIL(err, HD_E_FORMAT, "'%s' is %s, expected %s", key, hd_json_kind_name((*out)->kind),
                hd_json_kind_name(kind));
    return HD_OK;
}

static hd_status read_tree(build *b, const hd_json *root)
{
    if (root->kind != HD_JSON_OBJECT)
        HD_FAIL(b->err, HD_E_FORMAT, "a tokenizer.json holds an object, got %s",
                hd_json_kind_name(root->kind));
    HD_TRY(hd_vocab_check_settings(root, b->err));
    const hd_json *model = hd_json_get(root, "model");
    HD_TRY(find_part(model, "vocab", HD_JSON_OBJECT, &b->vocab, b->err));
    HD_TRY(find_part(model, "merges", HD_JSON_ARRAY, &b->merges, b->err));
    HD_TRY(find_part(root, "added_tokens", HD_JSON_ARRAY, &b->added, b->err));
    return build_tables(b);
}

hd_status hd_vocab_parse(hd_str json, hd_vocab **out, hd_err *err)
{
    hd_arena tree;
    const hd_json *root;
    build b = {.err = err};
    hd_status status;
    *out = NULL;
    if (json.len > HD_VOCAB_MAX_FILE_BYTES)
        HD_FAIL(err, HD_E_LIMIT, "tokenizer.json has %zu bytes, expected at most %zu", json.len,
                HD_VOCAB_MAX_FILE_BYTES);
    if (!(b.v = hd_mem_try_calloc(1, sizeof *b.v))) return no_memory(&b);
    hd_arena_init(&b.v->arena, TABLES_MAX_BYTES);
    hd_arena_init(&tree, TREE_MAX_BYTES);
    hd_strmap_init(&b.ids);
    HD_TRY_GOTO(status, out, hd_json_parse(json, NULL, &tree, &root, err));
    HD_TRY_GOTO(status, out, read_tree(&b, root));
    *out = b.v;
    b.v = NULL;
out:
    hd_vocab_close(b.v);
    hd_strmap_deinit(&b.ids);
    hd_arena_deinit(&tree);
    return status;
}

hd_status hd_vocab_open(const char *path, hd_vocab **out, hd_err *err)
{
    char file[4096];
    struct stat st;
    hd_buf text;
    hd_status status;
    *out = NULL;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        HD_TRY(hd_fs_join(path, "tokenizer.json", file, sizeof file, err));
        path = file;
    }
    hd_buf_init(&text, HD_VOCAB_MAX_FILE_BYTES);
    HD_TRY_GOTO(status, out, hd_fs_read_all(path, &text, err));
    status = hd_vocab_parse(hd_buf_str(&text), out, err);
    if (status != HD_OK) hd_err_context(err, status, "cannot load tokenizer '%s'", path);
out:
    hd_buf_deinit(&text);
    return status;
}

void hd_vocab_close(hd_vocab *v)
{
    if (!v) return;
    hd_arena_deinit(&v->arena);
    hd_mem_free(v);
}

/* ---- reading ---- */

size_t hd_vocab_size(const hd_vocab *v)
{
    return v->n_tokens;
}

static bool is_known(const hd_vocab *v, int32_t id)
{
    return id >= 0 && (size_t)id < v->n_tokens;
}

hd_str hd_vocab_token_bytes(const hd_vocab *v, int32_t id)
{
    return is_known(v, id) ? v->token[id] : (hd_str){0};
}

unsigned hd_vocab_flags(const hd_vocab *v, int32_t id)
{
    return is_known(v, id) ? v->flags[id] : 0;
}

int32_t hd_vocab_find_added(const hd_vocab *v, hd_str content)
{
    const hd_added key = {.content = content};
    for (int k = 0; k < 2; k++) {
        const hd_added_list *list = &v->added[k];
        const hd_added *found =
            list->n ? bsearch(&key, list->item, list->n, sizeof key, compare_content) : NULL;
        if (found) return found->id;
    }
    return -1;
}
