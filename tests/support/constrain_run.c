/* Driving grammars in tests: see constrain_run.h. */
#include "support/constrain_run.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "support/tiny_vocab.h"

const hd_vocab *constrain_tiny_vocab(void)
{
    static hd_vocab *v;
    char added[2000];
    hd_buf json;
    if (v) return v;
    snprintf(added, sizeof added, "%s, %s, %s, %s, %s", tiny_added(267, HD_TOKEN_EOS, true, false),
             tiny_added(268, HD_TOKEN_THINK, false, false),
             tiny_added(269, HD_TOKEN_END_THINK, false, false),
             tiny_added(270, HD_TOKEN_DSML, false, false),
             tiny_added(271, HD_TOKEN_USER, false, false));
    hd_buf_init(&json, 1 << 20);
    /* Tokens that run over borders of the grammars. */
    tiny_vocab_json(&(tiny_vocab){"\"\\\",\": 256, \"\\\":\": 257, \"ab\": 258, \"}}\": 259, "
                                  "\"\\\"}\": 260, \"</\": 261, \"\\\">\": 262, \"\\\">Ċ\": 263, "
                                  "\"[[\": 264, \"12\": 265, \"Ċ<\": 266",
                                  "\"\\\" ,\", \"\\\" :\", \"a b\", \"} }\", \"\\\" }\", \"< /\", "
                                  "\"\\\" >\", \"\\\"> Ċ\", \"[ [\", \"1 2\", \"Ċ <\"",
                                  added},
                    &json);
    hd_err err = {0};
    if (hd_vocab_parse(hd_buf_str(&json), &v, &err) != HD_OK) fail_msg("%s", err.text);
    hd_buf_deinit(&json);
    return v;
}

static hd_vtrie *make_trie(const hd_vocab *v)
{
    hd_vtrie *t = NULL;
    hd_err err = {0};
    if (hd_vtrie_create(v, &t, &err) != HD_OK) fail_msg("%s", err.text);
    return t;
}

hd_vtrie *constrain_tiny(void)
{
    static hd_vtrie *t;
    if (!t) t = make_trie(constrain_tiny_vocab());
    return t;
}

const hd_vocab *constrain_official_vocab(void)
{
    static hd_vocab *v;
    hd_err err = {0};
    if (!v && hd_vocab_open(HD_TEST_DATA "/text/tokenizer.json", &v, &err) != HD_OK)
        fail_msg("%s", err.text);
    return v;
}

hd_vtrie *constrain_official(void)
{
    static hd_vtrie *t;
    if (!t) t = make_trie(constrain_official_vocab());
    return t;
}

hd_grammar *constrain_compile(const hd_vtrie *t, const hd_grammar_source *source)
{
    hd_grammar *g = NULL;
    hd_err err = {0};
    hd_grammar_source patient = *source;
    if (!patient.limit_ms) patient.limit_ms = 10000; /* sanitizers, busy machines */
    if (hd_grammar_compile(t, &patient, NULL, &g, &err) != HD_OK)
        fail_msg("%.*s: %s", HD_STR_ARG(source->text), err.text);
    return g;
}

static size_t next_token(hd_str text, size_t at, int32_t *id)
{
    static const char *const control[] = {HD_TOKEN_EOS, HD_TOKEN_THINK, HD_TOKEN_END_THINK,
                                          HD_TOKEN_DSML, HD_TOKEN_USER};
    hd_str rest = hd_str_skip(text, at);
    for (size_t i = 0; i < HD_COUNT(control); i++)
        if (hd_str_starts(rest, hd_str_from(control[i]))) {
            *id = hd_vocab_find_added(constrain_tiny_vocab(), hd_str_from(control[i]));
            return strlen(control[i]);
        }
    *id = (uint8_t)rest.ptr[0];
    return 1;
}

int constrain_follow(hd_grammar *g, hd_str text)
{
    hd_matcher *m = NULL;
    size_t at = 0;
    hd_status status = HD_OK;
    assert_int_equal(hd_matcher_create(g, &m, NULL), HD_OK);
    while (at < text.len) {
        int32_t id;
        size_t n = next_token(text, at, &id);
        status = hd_matcher_advance(m, id, NULL);
        if (status != HD_OK) break;
        at += n;
    }
    bool can_end = hd_matcher_can_end(m);
    hd_matcher_destroy(m);
    if (status != HD_OK) {
        assert_int_equal(status, HD_E_ARG);
        return (int)at;
    }
    return can_end ? CONSTRAIN_COMPLETE : CONSTRAIN_PREFIX;
}

void constrain_check_mask(const hd_vocab *v, const hd_vtrie *t, hd_matcher *m, unsigned every,
                          unsigned from)
{
    size_t n_words = hd_vtrie_mask_words(t);
    uint32_t *mask = hd_mem_calloc(n_words, sizeof *mask);
    hd_err err = {0};
    assert_int_equal(hd_matcher_fill(m, mask, &err), HD_OK);
    size_t n_set = 0;
    for (size_t i = 0; i < n_words; i++) n_set += (size_t)__builtin_popcount(mask[i]);
    for (size_t id = 0; id < n_words * 32; id++) {
        bool is_set = mask[id / 32] >> (id % 32) & 1;
        if (id % every != from % every && (!is_set || n_set > 2000)) continue;
        bool is_taken = id < hd_vocab_size(v) && hd_matcher_advance(m, (int32_t)id, &err) == HD_OK;
        if (is_taken && !hd_matcher_rollback(m, 1)) fail_msg("no way back");
        if (is_set != is_taken)
            fail_msg("token %zu '%.*s' is %s by the mask and %s one by one", id,
                     HD_STR_ARG(hd_vocab_token_bytes(v, (int32_t)id)),
                     is_set ? "allowed" : "refused", is_taken ? "taken" : "refused");
    }
    hd_mem_free(mask);
}

/* Any of the tokens set, each as likely; -1 if there is none. */
static int32_t pick(const uint32_t *mask, size_t n_words, uint64_t bits)
{
    size_t n = 0;
    for (size_t i = 0; i < n_words; i++) n += (size_t)__builtin_popcount(mask[i]);
    if (n == 0) return -1;
    size_t k = hd_rng_below(bits, n);
    for (size_t i = 0; i < n_words; i++) {
        size_t here = (size_t)__builtin_popcount(mask[i]);
        if (k >= here) {
            k -= here;
            continue;
        }
        uint32_t word = mask[i];
        while (k--) word &= word - 1;
        return (int32_t)(i * 32 + (size_t)__builtin_ctz(word));
    }
    return -1;
}

/* What tends to lead to an end, most wanted first; -1 if none is allowed. JSON strings end with a
 * quote and raw text with "</", each of which the other could go on with for ever: so take turns.
 */
static int32_t pick_closing(const hd_vocab *v, const uint32_t *mask, size_t n_tokens, unsigned n)
{
    static const char *const closing[] = {HD_TOKEN_EOS,  HD_TOKEN_END_THINK,
                                          HD_TOKEN_DSML, "</",
                                          "\"",          "}",
                                          "]",           "/",
                                          "<",           ">",
                                          ",",           ":",
                                          "\\",          "u",
                                          "\n",          "t",
                                          "d",           "c",
                                          "0",           "a"};
    for (size_t k = 0; k < HD_COUNT(closing); k++)
        for (size_t id = k == 3 && n % 2 ? n_tokens : 0; id < n_tokens; id++)
            if ((mask[id / 32] >> (id % 32) & 1) &&
                hd_str_eqz(hd_vocab_token_bytes(v, (int32_t)id), closing[k]))
                return (int32_t)id;
    return -1;
}

unsigned constrain_random(const hd_vocab *v, hd_vtrie *t, hd_grammar *g, const constrain_draw *draw,
                          hd_buf *out)
{
    size_t n_words = hd_vtrie_mask_words(t);
    uint32_t *mask = hd_mem_calloc(n_words, sizeof *mask);
    int32_t eos = hd_vocab_find_added(v, HD_STR(HD_TOKEN_EOS));
    hd_matcher *m = NULL;
    hd_err err = {0};
    unsigned n = 0;
    assert_int_equal(hd_matcher_create(g, &m, NULL), HD_OK);
    for (;; n++) {
        if (hd_matcher_fill(m, mask, &err) != HD_OK) fail_msg("%s", err.text);
        if (draw->check_every)
            constrain_check_mask(v, t, m, draw->check_every, n + (unsigned)draw->seed);
        uint64_t bits = hd_rng_at(draw->seed, n);
        int32_t id = -1;
        /* Half of the draws among single bytes: longer tokens are mostly words. */
        if (n >= draw->max_tokens && bits % 4 != 1) id = pick_closing(v, mask, hd_vocab_size(v), n);
        if (id < 0 && bits % 2) {
            uint32_t bytes[256 / 32 + 1] = {0};
            for (int32_t k = 0; k < (int32_t)hd_vocab_size(v); k++) {
                hd_str s = hd_vocab_token_bytes(v, k);
                if (s.len == 1 && (mask[k / 32] >> (k % 32) & 1))
                    bytes[(uint8_t)s.ptr[0] / 32] |= 1u << ((uint8_t)s.ptr[0] % 32);
            }
            int32_t c = pick(bytes, 8, hd_rng_mix(bits));
            for (int32_t k = 0; c >= 0 && k < (int32_t)hd_vocab_size(v) && id < 0; k++) {
                hd_str s = hd_vocab_token_bytes(v, k);
                if (s.len == 1 && (uint8_t)s.ptr[0] == c && !hd_vocab_flags(v, k)) id = k;
            }
        }
        if (id < 0) id = pick(mask, n_words, bits);
        if (id < 0 && hd_matcher_can_end(m)) break;
        if (id < 0) fail_msg("nothing is allowed after '%.*s'", HD_STR_ARG(hd_buf_str(out)));
        if (hd_matcher_advance(m, id, &err) != HD_OK) fail_msg("%s", err.text);
        hd_buf_add_str(out, hd_vocab_token_bytes(v, id));
        if (id == eos) break;
        if (n > 20 * draw->max_tokens) {
            hd_str tail = hd_str_skip(hd_buf_str(out), out->len > 300 ? out->len - 300 : 0);
            fail_msg("no end: '...%.*s'", HD_STR_ARG(tail));
        }
    }
    assert_int_equal(out->status, HD_OK);
    hd_matcher_destroy(m);
    hd_mem_free(mask);
    return n;
}
