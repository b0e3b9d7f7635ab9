#include "server/keys.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/mem.h"

#define MAX_FILE_BYTES ((size_t)4 << 20)
#define MAX_KEYS       65536
#define MIN_KEY_BYTES  8
#define MAX_LIMIT      1000000

static hd_str next_word(hd_str *line)
{
    size_t from = 0, to;
    while (from < line->len && (line->ptr[from] == ' ' || line->ptr[from] == '\t')) from++;
    for (to = from; to < line->len && line->ptr[to] != ' ' && line->ptr[to] != '\t';) to++;
    hd_str word = {line->ptr + from, to - from};
    *line = hd_str_skip(*line, to);
    return word;
}

static bool read_limit(hd_str word, int *out)
{
    *out = 0;
    for (size_t i = 0; i < word.len; i++) {
        if (word.ptr[i] < '0' || word.ptr[i] > '9') return false;
        *out = *out * 10 + (word.ptr[i] - '0');
        if (*out > MAX_LIMIT) return false;
    }
    return true;
}

static void digest_of(hd_str key, uint8_t out[HD_SHA256_BYTES])
{
    hd_sha256 s;
    hd_sha256_init(&s);
    hd_sha256_add(&s, key.ptr, key.len);
    hd_sha256_end(&s, out);
}

/* A line without its comment; nothing for an empty one. */
static hd_status read_key(hd_str line, int n_line, hd_keys *k, hd_err *err)
{
    hd_str word = next_word(&line), name = next_word(&line), limit = next_word(&line);
    if (word.len == 0) return HD_OK;
    hd_key *key = &k->key[k->n];
    if (word.len < MIN_KEY_BYTES)
        HD_FAIL(err, HD_E_FORMAT, "line %d: a key has at least %d characters", n_line,
                MIN_KEY_BYTES);
    if (name.len >= sizeof key->name)
        HD_FAIL(err, HD_E_FORMAT, "line %d: a name has at most %zu characters", n_line,
                sizeof key->name - 1);
    if (!read_limit(limit, &key->max_running) || next_word(&line).len)
        HD_FAIL(err, HD_E_FORMAT, "line %d: expected KEY NAME LIMIT, the last a number", n_line);
    digest_of(word, key->digest);
    if (hd_keys_find_digest(k, key->digest))
        HD_FAIL(err, HD_E_FORMAT, "line %d: this key was there before", n_line);
    if (name.len)
        memcpy(key->name, name.ptr, name.len);
    else
        snprintf(key->name, sizeof key->name, "key-%d", k->n + 1);
    k->n++;
    return HD_OK;
}

static hd_status read_lines(hd_str text, hd_keys *k, hd_err *err)
{
    for (int n_line = 1; text.len; n_line++) {
        size_t end = hd_str_find(text, HD_STR("\n"), 0);
        hd_str line = {text.ptr, end};
        line.len = hd_str_find(line, HD_STR("#"), 0);
        if (line.len && line.ptr[line.len - 1] == '\r') line.len--;
        if (k->n == MAX_KEYS) HD_FAIL(err, HD_E_LIMIT, "more than %d keys", MAX_KEYS);
        hd_key *more = hd_mem_try_realloc(k->key, (size_t)k->n + 1, sizeof *more);
        if (!more) HD_FAIL(err, HD_E_NOMEM, "out of memory for keys");
        k->key = more;
        more[k->n] = (hd_key){.max_running = 0};
        HD_TRY(read_key(line, n_line, k, err));
        text = hd_str_skip(text, end < text.len ? end + 1 : end);
    }
    if (k->n == 0) HD_FAIL(err, HD_E_FORMAT, "there is no key in it");
    return HD_OK;
}

hd_status hd_keys_load(const char *path, const hd_keys *old, hd_keys *out, hd_err *err)
{
    hd_keys k = {0};
    hd_buf text;
    hd_err why = {0};
    hd_buf_init(&text, MAX_FILE_BYTES);
    hd_status st = hd_fs_read_all(path, &text, &why);
    if (st == HD_OK) st = read_lines(hd_buf_str(&text), &k, &why);
    if (text.ptr) explicit_bzero(text.ptr, text.cap);
    hd_buf_deinit(&text);
    if (st != HD_OK) {
        hd_keys_deinit(&k);
        return HD_SET_ERR(err, st, "cannot use the keys in '%s': %s", path, why.text);
    }
    for (int32_t i = 0; old && i < k.n; i++) {
        const hd_key *before = hd_keys_find_digest(old, k.key[i].digest);
        if (before) k.key[i].n_running = before->n_running;
    }
    *out = k;
    return HD_OK;
}

void hd_keys_deinit(hd_keys *k)
{
    hd_mem_free(k->key);
    *k = (hd_keys){0};
}

hd_key *hd_keys_find_digest(const hd_keys *k, const uint8_t *digest)
{
    hd_key *found = NULL;
    for (int32_t i = 0; i < k->n; i++) { /* all of them, all bytes */
        uint8_t differs = 0;
        for (size_t b = 0; b < HD_SHA256_BYTES; b++) differs |= k->key[i].digest[b] ^ digest[b];
        if (!differs) found = &k->key[i];
    }
    return found;
}

hd_key *hd_keys_find(const hd_keys *k, hd_str key)
{
    uint8_t digest[HD_SHA256_BYTES];
    digest_of(key, digest);
    return hd_keys_find_digest(k, digest);
}
