/* Masks: equal to a check of every token one by one; what is drawn from them obeys the schema. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/rng.h"
#include "cli/eval_schema.h"
#include "support/constrain_run.h"

/* Only keywords that the evaluations' validator knows, which was written for itself. */
static const char *const schemas[] = {
    "{\"type\": \"object\", \"properties\": {\"path\": {\"type\": \"string\"}, \"pattern\": "
    "{\"type\": "
    "\"string\", \"minLength\": 1, \"maxLength\": 12}, \"limit\": {\"type\": \"integer\", "
    "\"minimum\": "
    "1, \"maximum\": 250}, \"mode\": {\"enum\": [\"read\", \"write\", \"run\", null]}}, "
    "\"required\": "
    "[\"path\", \"limit\"], \"additionalProperties\": false}",
    "{\"type\": \"array\", \"items\": {\"type\": [\"number\", \"null\", \"boolean\"], \"minimum\": "
    "-1.5, \"maximum\": 10}, \"minItems\": 2, \"maxItems\": 5}",
    "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"array\", \"items\": {\"type\": "
    "\"string\", \"maxLength\": 3}}, \"ab\": {}}, \"additionalProperties\": {\"type\": "
    "\"integer\"}}",
    "{}",
    "{\"type\": \"object\", \"properties\": {\"x\": {\"type\": \"object\", \"properties\": {\"y\": "
    "{\"type\": \"array\", \"items\": {\"type\": \"object\", \"properties\": {\"z\": {\"type\": "
    "\"boolean\"}}, \"required\": [\"z\"], \"additionalProperties\": false}, \"maxItems\": 2}}, "
    "\"required\": [\"y\"], \"additionalProperties\": false}}, \"required\": [\"x\"]}",
};

static void check_obeys(const char *schema, hd_str text)
{
    hd_arena arena;
    const hd_json *s, *value;
    hd_err err = {0};
    /* Names that the schema leaves free may repeat. */
    hd_json_opts opts = {.allow_duplicates = true};
    hd_arena_init(&arena, 16 << 20);
    assert_int_equal(hd_json_parse(hd_str_from(schema), NULL, &arena, &s, &err), HD_OK);
    if (hd_json_parse(text, &opts, &arena, &value, &err) != HD_OK)
        fail_msg("'%.*s': %s", HD_STR_ARG(text), err.text);
    assert_int_equal(hd_schema_check(s, &err), HD_OK);
    if (!hd_schema_obeys(s, value)) fail_msg("%s: '%.*s'", schema, HD_STR_ARG(text));
    hd_arena_deinit(&arena);
}

static void draw_all(const hd_vocab *v, hd_vtrie *t, unsigned n_draws, unsigned max_tokens,
                     unsigned check_every)
{
    for (size_t i = 0; i < HD_COUNT(schemas); i++) {
        hd_grammar_source source = {.kind = HD_GRAMMAR_SCHEMA,
                                    .text = hd_str_from(schemas[i]),
                                    .strict = true,
                                    .any_order = i % 2 == 0};
        hd_grammar *g = constrain_compile(t, &source);
        for (unsigned k = 0; k < n_draws; k++) {
            constrain_draw draw = {hd_rng_key(i, k), max_tokens, check_every};
            hd_buf text;
            hd_buf_init(&text, 1 << 20);
            constrain_random(v, t, g, &draw, &text);
            hd_str s = hd_buf_str(&text);
            assert_true(hd_str_ends(s, HD_STR(HD_TOKEN_EOS)));
            s.len -= strlen(HD_TOKEN_EOS);
            check_obeys(schemas[i], s);
            hd_buf_deinit(&text);
        }
        hd_grammar_unref(g);
    }
}

static void tiny_draws_obey(void **state)
{
    (void)state;
    draw_all(constrain_tiny_vocab(), constrain_tiny(), 60, 40, 1);
}

static void official_draws_obey(void **state)
{
    (void)state;
    draw_all(constrain_official_vocab(), constrain_official(), 6, 25, 499);
}

static int32_t byte_id[256]; /* tokens of the official vocabulary */

static void find_byte_ids(const hd_vocab *v)
{
    for (int32_t id = 0; id < (int32_t)hd_vocab_size(v); id++) {
        hd_str s = hd_vocab_token_bytes(v, id);
        if (s.len == 1 && !hd_vocab_flags(v, id)) byte_id[(uint8_t)s.ptr[0]] = id;
    }
}

/* At some states on the way of a text: every token, one by one. */
static void official_masks_are_exact(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *text;
    } rows[] = {
        {"{\"properties\": {\"path\": {\"maxLength\": 9}, \"patch\": {\"minLength\": 4}}, "
         "\"required\": [\"path\"], \"additionalProperties\": {}}",
         "{\"pat\xC3\xA9\": [\"a\\u00e9\", 12.5e3, {\"k\": \"\"}], \"path\": \"abcdef\", "
         "\"patch\": \"x"},
        {"{\"items\": {\"pattern\": \"^[a-z ]{2,9}\xE4\xB8\xAD?$\"}, \"maxItems\": 2}",
         "[\"the is\xE4\xB8\", \"an"},
        {"{\"type\": \"number\", \"minimum\": 1}", "12.5"},
        {"{\"pattern\": \"^[a-z ]*\", \"minLength\": 3, \"maxLength\": 30}", "\"a word \\n"},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        hd_grammar_source source = {.kind = HD_GRAMMAR_SCHEMA, .text = hd_str_from(rows[i].schema)};
        hd_grammar *g = constrain_compile(constrain_official(), &source);
        const hd_vocab *v = constrain_official_vocab();
        hd_matcher *m = NULL;
        assert_int_equal(hd_matcher_create(g, &m, NULL), HD_OK);
        find_byte_ids(v);
        for (const char *p = rows[i].text;; p++) {
            constrain_check_mask(v, constrain_official(), m, *p == '"' || !*p ? 1 : 13,
                                 (unsigned)(p - rows[i].text));
            if (!*p) break;
            if (hd_matcher_advance(m, byte_id[(uint8_t)*p], NULL) != HD_OK) {
                /* The half character of the second row is not in the class: that is the point. */
                assert_int_equal((uint8_t)*p, '"');
                break;
            }
        }
        hd_matcher_destroy(m);
        hd_grammar_unref(g);
    }
}

/* A matcher steps back over up to 16 tokens, and a copy goes its own way. */
static void steps_back(void **state)
{
    (void)state;
    hd_grammar_source source = {.kind = HD_GRAMMAR_OBJECT};
    hd_grammar *g = constrain_compile(constrain_tiny(), &source);
    const size_t n_words = hd_vtrie_mask_words(constrain_tiny());
    static const char text[] = "{\"abc\": [[1, {}], \"x\"]}";
    uint32_t mask[sizeof text][16], again[16];
    hd_matcher *m = NULL, *copy = NULL;
    assert_in_range(n_words, 1, 16);
    assert_int_equal(hd_matcher_create(g, &m, NULL), HD_OK);
    assert_false(hd_matcher_rollback(m, 1));
    for (unsigned i = 0; i < sizeof text - 1; i++) {
        assert_int_equal(hd_matcher_fill(m, mask[i], NULL), HD_OK);
        assert_int_equal(hd_matcher_advance(m, (uint8_t)text[i], NULL), HD_OK);
    }
    assert_true(hd_matcher_can_end(m));
    assert_int_equal(hd_matcher_clone(m, &copy, NULL), HD_OK);
    assert_false(hd_matcher_rollback(m, HD_CONSTRAIN_ROLLBACK + 1));
    for (unsigned n = 1; n <= HD_CONSTRAIN_ROLLBACK; n++) {
        unsigned at = (unsigned)sizeof text - 1 - n;
        assert_true(hd_matcher_rollback(m, 1));
        assert_int_equal(hd_matcher_fill(m, again, NULL), HD_OK);
        assert_memory_equal(again, mask[at], n_words * sizeof *again);
    }
    assert_true(hd_matcher_can_end(copy));
    assert_true(hd_matcher_rollback(copy, HD_CONSTRAIN_ROLLBACK));
    assert_int_equal(hd_matcher_fill(copy, again, NULL), HD_OK);
    assert_memory_equal(again, mask[sizeof text - 1 - HD_CONSTRAIN_ROLLBACK],
                        n_words * sizeof *again);
    assert_int_equal(hd_matcher_reset(m, NULL), HD_OK);
    assert_int_equal(hd_matcher_fill(m, again, NULL), HD_OK);
    assert_memory_equal(again, mask[0], n_words * sizeof *again);
    hd_matcher_destroy(m);
    hd_matcher_destroy(copy);
    hd_grammar_unref(g);
}

/* Nesting ends at a depth that leaves every bracket a chance to be closed. */
static void nesting_is_bounded(void **state)
{
    (void)state;
    hd_grammar_source source = {.kind = HD_GRAMMAR_OBJECT, .is_textual = true};
    hd_grammar *g = constrain_compile(constrain_tiny(), &source);
    hd_matcher *m = NULL;
    unsigned depth = 0;
    assert_int_equal(hd_matcher_create(g, &m, NULL), HD_OK);
    static const char start[] = "{\"a\":";
    for (const char *p = start; *p; p++)
        assert_int_equal(hd_matcher_advance(m, (uint8_t)*p, NULL), HD_OK);
    while (depth < 1000 && hd_matcher_advance(m, '[', NULL) == HD_OK) {
        depth++;
        if (depth > 80) constrain_check_mask(constrain_tiny_vocab(), constrain_tiny(), m, 1, 0);
    }
    assert_in_range(depth, 80, 120);
    while (depth--) assert_int_equal(hd_matcher_advance(m, ']', NULL), HD_OK);
    assert_int_equal(hd_matcher_advance(m, '}', NULL), HD_OK);
    assert_true(hd_matcher_can_end(m));
    hd_matcher_destroy(m);
    hd_grammar_unref(g);
}

/* ---- several threads ---- */

#define N_THREADS 4

typedef struct worker {
    hd_grammar *g;
    uint64_t hash; /* of all masks on the way */
} worker;

/* Masks along a text that needs kept walks of many kinds. */
static void *follow_text(void *arg)
{
    static const char text[] = "{\"pat\": \"abc\", \"tag\": [\"xyz\", \"a b\"], \"z\": -1.5}";
    worker *w = arg;
    size_t n_words = hd_vtrie_mask_words(constrain_official());
    uint32_t mask[5000];
    hd_matcher *m = NULL;
    w->hash = n_words <= HD_COUNT(mask);
    if (w->hash == 0 || hd_matcher_create(w->g, &m, NULL) != HD_OK) return NULL;
    for (const char *p = text; *p; p++) {
        if (hd_matcher_fill(m, mask, NULL) != HD_OK) w->hash = 0;
        for (size_t i = 0; i < n_words; i++) w->hash = hd_rng_mix(w->hash + mask[i] + i);
        if (hd_matcher_advance(m, byte_id[(uint8_t)*p], NULL) != HD_OK) break;
    }
    if (!hd_matcher_can_end(m)) w->hash = 0;
    hd_matcher_destroy(m);
    return NULL;
}

static void threads_agree(void **state)
{
    (void)state;
    static const char schema[] =
        "{\"properties\": {\"pat\": {\"pattern\": \"^[a-z]+$\"}, \"tag\": {\"items\": "
        "{\"maxLength\": "
        "5}}}, \"additionalProperties\": {\"type\": \"number\", \"minimum\": -2}}";
    hd_grammar_source source = {.kind = HD_GRAMMAR_SCHEMA, .text = hd_str_from(schema)};
    find_byte_ids(constrain_official_vocab());
    hd_grammar *alone = constrain_compile(constrain_official(), &source);
    worker first = {.g = alone}, w[N_THREADS];
    follow_text(&first);
    assert_true(first.hash != 0);
    for (int round = 0; round < 4; round++) {
        hd_grammar *g = constrain_compile(constrain_official(), &source);
        pthread_t thread[N_THREADS];
        for (int i = 0; i < N_THREADS; i++) {
            w[i] = (worker){.g = g};
            assert_int_equal(pthread_create(&thread[i], NULL, follow_text, &w[i]), 0);
        }
        for (int i = 0; i < N_THREADS; i++) {
            pthread_join(thread[i], NULL);
            assert_true(w[i].hash == first.hash);
        }
        hd_grammar_unref(g);
    }
    hd_grammar_unref(alone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiny_draws_obey),          cmocka_unit_test(official_draws_obey),
        cmocka_unit_test(official_masks_are_exact), cmocka_unit_test(steps_back),
        cmocka_unit_test(nesting_is_bounded),       cmocka_unit_test(threads_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
