/* Stop strings: which one ends the text, what is held back, memory running out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/mem.h"
#include "text/stops.h"

/* Feed `text` in pieces of `step` bytes; what was shown goes to out. */
static bool run(const char *const *list, size_t n, const char *text, size_t step, hd_buf *out)
{
    hd_stops s;
    bool found = false;
    hd_str rest = hd_str_from(text);
    hd_buf_reset(out);
    assert_int_equal(hd_stops_init(&s, list, n, NULL), HD_OK);
    while (rest.len && !found) {
        size_t len = rest.len < step ? rest.len : step;
        found = hd_stops_feed(&s, (hd_str){rest.ptr, len}, out);
        rest = hd_str_skip(rest, len);
    }
    if (!found) hd_stops_flush(&s, out);
    hd_stops_deinit(&s);
    return found;
}

static void the_first_complete_one_ends_the_text(void **state)
{
    (void)state;
    static const struct {
        const char *stops[3];
        size_t n;
        const char *text, *shown;
        bool found;
    } rows[] = {
        {{"END"}, 1, "before EN and END after", "before EN and ", true},
        {{"END"}, 1, "no such thing EN", "no such thing EN", false},
        {{"abcabx", "c"}, 2, "xabcabxy", "xab", true},
        {{"b", "abcd"}, 2, "abcd", "a", true},
        {{"cd", "bcd"}, 2, "abcd", "a", true}, /* both end together: the longer */
        {{"aab"}, 1, "aaab", "a", true},       /* the start of one inside another */
        {{"x"}, 1, "x", "", true},
        {{"\xC3\xA9"}, 1, "a\xC3\xA8\xC3\xA9z", "a\xC3\xA8", true},
        {{NULL}, 0, "all of it", "all of it", false},
    };
    hd_buf out;
    hd_buf_init(&out, 1000);
    for (size_t i = 0; i < HD_COUNT(rows); i++)
        for (size_t step = 1; step < 12; step++) {
            bool found = run(rows[i].stops, rows[i].n, rows[i].text, step, &out);
            assert_int_equal(found, rows[i].found);
            assert_true(hd_str_eqz(hd_buf_str(&out), rows[i].shown));
        }
    hd_buf_deinit(&out);
}

static void only_a_possible_start_is_held(void **state)
{
    (void)state;
    static const char *const list[] = {"ababc", "\n\n"};
    static const struct {
        const char *text, *shown;
    } rows[] = {{"x", "x"},       {"xa", "x"},  {"xab", "x"},    {"xaba", "x"},   {"xababa", "xab"},
                {"xabd", "xabd"}, {"x\n", "x"}, {"x\na", "x\n"}, {"xab\n", "xab"}};
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        hd_stops s;
        hd_buf out;
        hd_buf_init(&out, 1000);
        assert_int_equal(hd_stops_init(&s, list, 2, NULL), HD_OK);
        assert_false(hd_stops_feed(&s, hd_str_from(rows[i].text), &out));
        assert_true(hd_str_eqz(hd_buf_str(&out), rows[i].shown));
        hd_stops_flush(&s, &out);
        assert_true(hd_str_eqz(hd_buf_str(&out), rows[i].text));
        hd_stops_deinit(&s);
        hd_buf_deinit(&out);
    }
}

static void an_empty_stop_is_refused(void **state)
{
    (void)state;
    static const char *const list[] = {"a", ""};
    hd_stops s;
    hd_err err;
    assert_int_equal(hd_stops_init(&s, list, 2, &err), HD_E_ARG);
    assert_non_null(strstr(err.text, "stop string 1 has 0 bytes"));
    hd_stops_deinit(&s);
}

static void memory_may_run_out(void **state)
{
    (void)state;
    static const char *const list[] = {"ab", "cd"};
    hd_stops s;
    for (long n = 0; n < 3; n++) {
        hd_mem_fail_after(n);
        hd_status status = hd_stops_init(&s, list, 2, NULL);
        hd_mem_fail_after(-1);
        assert_int_equal(status, HD_E_NOMEM);
        hd_stops_deinit(&s);
    }
    hd_buf out;
    hd_buf_init(&out, 100);
    assert_int_equal(hd_stops_init(&s, list, 2, NULL), HD_OK);
    hd_mem_fail_after(0);
    hd_stops_feed(&s, HD_STR("text"), &out);
    hd_mem_fail_after(-1);
    assert_int_equal(s.held.status, HD_E_NOMEM);
    hd_stops_deinit(&s);
    hd_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_complete_one_ends_the_text),
        cmocka_unit_test(only_a_possible_start_is_held),
        cmocka_unit_test(an_empty_stop_is_refused),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
