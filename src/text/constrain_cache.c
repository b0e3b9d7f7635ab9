/* Grammars that were compiled before: see constrain.h.
 *
 * Few and large, so a list that is searched from end to end under a lock; the key is all of the
 * source as bytes, compared on every hit. */
#include <pthread.h>

#include "base/hash.h"
#include "base/mem.h"
#include "text/constrain.h"

#define MAX_KEY_BYTES     ((size_t)8 << 20)
#define MAX_WARNING_BYTES ((size_t)64 << 10)

typedef struct entry {
    hd_grammar *g; /* NULL: free */
    hd_buf key, warnings;
    uint64_t hash, used_at;
} entry;

struct hd_grammar_cache {
    const hd_vtrie *trie;
    pthread_mutex_t lock;
    entry *list; /* [n] */
    size_t n;
    uint64_t now; /* counts lookups */
};

hd_status hd_grammar_cache_create(const hd_vtrie *t, size_t max_grammars, hd_grammar_cache **out,
                                  hd_err *err)
{
    hd_grammar_cache *c = hd_mem_try_calloc(1, sizeof *c);
    entry *list = hd_mem_try_calloc(max_grammars, sizeof *list);
    if (!c || !list) {
        hd_mem_free(c);
        hd_mem_free(list);
        HD_FAIL(err, HD_E_NOMEM, "out of memory for a cache of grammars");
    }
    *c = (hd_grammar_cache){.trie = t, .list = list, .n = max_grammars};
    pthread_mutex_init(&c->lock, NULL);
    *out = c;
    return HD_OK;
}

static void clear_entry(entry *e)
{
    hd_grammar_unref(e->g);
    hd_buf_deinit(&e->key);
    hd_buf_deinit(&e->warnings);
    *e = (entry){0};
}

void hd_grammar_cache_destroy(hd_grammar_cache *c)
{
    if (!c) return;
    for (size_t i = 0; i < c->n; i++)
        if (c->list[i].g) clear_entry(&c->list[i]);
    pthread_mutex_destroy(&c->lock);
    hd_mem_free(c->list);
    hd_mem_free(c);
}

/* Everything that a grammar depends on. */
static void make_key(const hd_grammar_source *s, hd_buf *key)
{
    hd_buf_addf(key, "%d %d%d%d%d%d%d %d %p %zu ", s->kind, s->strict, s->any_order, s->thinks,
                s->one_call, s->in_block, s->is_textual, s->choice, (const void *)s->rules,
                s->tool_name.len);
    hd_buf_add_str(key, s->tool_name);
    hd_buf_add_str(key, s->text);
}

/* The entry of a key, or NULL. The lock is held. */
static entry *find(hd_grammar_cache *c, hd_str key, uint64_t hash)
{
    for (size_t i = 0; i < c->n; i++) {
        entry *e = &c->list[i];
        if (e->g && e->hash == hash && hd_str_eq(hd_buf_str(&e->key), key)) return e;
    }
    return NULL;
}

/* Put `e`, whose parts the cache owns from now on, in the place of the one unused for longest. */
static void put(hd_grammar_cache *c, entry *e)
{
    entry *oldest = &c->list[0];
    pthread_mutex_lock(&c->lock);
    entry *twin = find(c, hd_buf_str(&e->key), e->hash);
    for (size_t i = 0; i < c->n; i++)
        if (c->list[i].used_at < oldest->used_at) oldest = &c->list[i];
    if (twin) oldest = twin; /* another thread was as quick */
    entry old = *oldest;
    e->used_at = ++c->now;
    *oldest = *e;
    pthread_mutex_unlock(&c->lock);
    if (old.g) clear_entry(&old);
}

static hd_grammar *take_kept(hd_grammar_cache *c, hd_str key, uint64_t hash, hd_buf *warnings)
{
    hd_grammar *g = NULL;
    pthread_mutex_lock(&c->lock);
    entry *e = find(c, key, hash);
    if (e) {
        g = hd_grammar_ref(e->g);
        e->used_at = ++c->now;
        if (warnings) hd_buf_add_str(warnings, hd_buf_str(&e->warnings));
    }
    pthread_mutex_unlock(&c->lock);
    return g;
}

hd_status hd_grammar_cache_get(hd_grammar_cache *c, const hd_grammar_source *source,
                               hd_buf *warnings, hd_grammar **out, bool *was_kept, hd_err *err)
{
    entry e = {0};
    hd_status status;
    hd_buf_init(&e.key, MAX_KEY_BYTES);
    hd_buf_init(&e.warnings, MAX_WARNING_BYTES);
    if (was_kept) *was_kept = false;
    make_key(source, &e.key);
    HD_TRY_GOTO(status, out, hd_buf_status(&e.key, "a grammar's source", err));
    e.hash = hd_hash_str(hd_buf_str(&e.key));
    *out = take_kept(c, hd_buf_str(&e.key), e.hash, warnings);
    if (*out) {
        if (was_kept) *was_kept = true;
        goto out;
    }
    HD_TRY_GOTO(status, out, hd_grammar_compile(c->trie, source, &e.warnings, out, err));
    if (warnings) hd_buf_add_str(warnings, hd_buf_str(&e.warnings));
    e.g = hd_grammar_ref(*out);
    put(c, &e);
    return HD_OK;
out:
    hd_buf_deinit(&e.key);
    hd_buf_deinit(&e.warnings);
    return status;
}
