/* The cache of grammars: same sources meet, others do not, the least used go, references hold. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/constrain_run.h"

static hd_grammar_source source_of(const char *text)
{
    return (hd_grammar_source){.kind = HD_GRAMMAR_SCHEMA,
                               .text = hd_str_from(text),
                               .is_textual = true,
                               .limit_ms = 10000};
}

static hd_grammar *get(hd_grammar_cache *c, const hd_grammar_source *source, bool expect_kept)
{
    hd_grammar *g = NULL;
    bool was_kept;
    assert_int_equal(hd_grammar_cache_get(c, source, NULL, &g, &was_kept, NULL), HD_OK);
    assert_int_equal(was_kept, expect_kept);
    return g;
}

static void same_sources_meet(void **state)
{
    (void)state;
    hd_grammar_cache *c = NULL;
    assert_int_equal(hd_grammar_cache_create(constrain_tiny(), 8, &c, NULL), HD_OK);
    hd_grammar_source a = source_of("{\"const\": 1}"), b = a, same = a;
    char copy[] = "{\"const\": 1}";
    same.text.ptr = copy;
    same.limit_ms = 20000;
    b.strict = true;
    hd_grammar *first = get(c, &a, false), *other = get(c, &b, false), *again = get(c, &same, true);
    assert_ptr_equal(first, again);
    assert_ptr_not_equal(first, other);
    hd_grammar_cache_destroy(c);
    /* References outlive the cache. */
    assert_int_equal(constrain_follow(first, HD_STR("1")), CONSTRAIN_COMPLETE);
    hd_grammar_unref(first);
    hd_grammar_unref(again);
    hd_grammar_unref(other);
}

static void least_used_go(void **state)
{
    (void)state;
    hd_grammar_cache *c = NULL;
    hd_grammar_source s[] = {source_of("{\"const\": 1}"), source_of("{\"const\": 2}"),
                             source_of("{\"const\": 3}")};
    assert_int_equal(hd_grammar_cache_create(constrain_tiny(), 2, &c, NULL), HD_OK);
    hd_grammar_unref(get(c, &s[0], false));
    hd_grammar_unref(get(c, &s[1], false));
    hd_grammar_unref(get(c, &s[0], true));
    hd_grammar_unref(get(c, &s[2], false)); /* takes the place of s[1] */
    hd_grammar_unref(get(c, &s[0], true));
    hd_grammar_unref(get(c, &s[1], false));
    hd_grammar_cache_destroy(c);
}

static void warnings_are_kept(void **state)
{
    (void)state;
    hd_grammar_cache *c = NULL;
    hd_grammar_source s = source_of("{\"multipleOf\": 2}"), broken = source_of("{\"type\": 1}");
    assert_int_equal(hd_grammar_cache_create(constrain_tiny(), 2, &c, NULL), HD_OK);
    for (int i = 0; i < 2; i++) {
        hd_grammar *g = NULL;
        hd_buf warnings;
        hd_err err = {0};
        hd_buf_init(&warnings, 1000);
        assert_int_equal(hd_grammar_cache_get(c, &s, &warnings, &g, NULL, NULL), HD_OK);
        assert_string_equal(warnings.ptr,
                            "the root: 'multipleOf' is not supported: any value is accepted\n");
        hd_grammar_unref(g);
        hd_buf_deinit(&warnings);
        assert_int_equal(hd_grammar_cache_get(c, &broken, NULL, &g, NULL, &err), HD_E_FORMAT);
        assert_non_null(strstr(err.text, "'type'"));
    }
    hd_grammar_cache_destroy(c);
}

static void *get_often(void *cache)
{
    for (int i = 0; i < 60; i++) {
        char text[64];
        hd_grammar *g = NULL;
        int n = snprintf(text, sizeof text, "{\"const\": %d}", i % 5);
        hd_grammar_source s = source_of(text);
        s.text.len = (size_t)n;
        if (hd_grammar_cache_get(cache, &s, NULL, &g, NULL, NULL) != HD_OK) return cache;
        text[0] = (char)('0' + i % 5);
        if (constrain_follow(g, (hd_str){text, 1}) != CONSTRAIN_COMPLETE) return cache;
        hd_grammar_unref(g);
    }
    return NULL;
}

static void threads_share_it(void **state)
{
    (void)state;
    hd_grammar_cache *c = NULL;
    pthread_t thread[4];
    assert_int_equal(hd_grammar_cache_create(constrain_tiny(), 3, &c, NULL), HD_OK);
    for (int i = 0; i < 4; i++) assert_int_equal(pthread_create(&thread[i], NULL, get_often, c), 0);
    for (int i = 0; i < 4; i++) {
        void *failed;
        pthread_join(thread[i], &failed);
        assert_null(failed);
    }
    hd_grammar_cache_destroy(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_sources_meet),
        cmocka_unit_test(least_used_go),
        cmocka_unit_test(warnings_are_kept),
        cmocka_unit_test(threads_share_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
