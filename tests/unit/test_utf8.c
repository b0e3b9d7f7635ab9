/* UTF-8: every code point, and the ill-formed parts of Unicode's own tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/utf8.h"

static void every_code_point_round_trips(void **state)
{
    (void)state;
    for (uint32_t cp = 0; cp <= 0x10FFFF; cp++) {
        char text[4];
        uint32_t back;
        size_t used;
        if (cp >= 0xD800 && cp < 0xE000) continue;
        size_t n = hd_utf8_put(text, cp);
        assert_int_equal(hd_utf8_next((hd_str){text, n}, &back, &used), HD_UTF8_GOOD);
        assert_int_equal(back, cp);
        assert_int_equal(used, n);
        for (size_t k = 1; k < n; k++) {
            assert_int_equal(hd_utf8_next((hd_str){text, k}, &back, &used), HD_UTF8_INCOMPLETE);
            assert_int_equal(used, k);
            assert_int_equal(back, HD_UTF8_REPLACEMENT);
        }
    }
}

static void encodings_of_known_characters(void **state)
{
    (void)state;
    static const struct {
        uint32_t cp;
        const char *bytes;
    } rows[] = {
        {0x24, "$"}, {0xA2, "\xC2\xA2"}, {0x20AC, "\xE2\x82\xAC"}, {0x10348, "\xF0\x90\x8D\x88"}};
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        char text[4];
        size_t n = hd_utf8_put(text, rows[i].cp);
        assert_true(hd_str_eqz((hd_str){text, n}, rows[i].bytes));
    }
}

/* Expected results: Unicode 16.0 core specification, tables 3-8 to 3-11, and section 3.9. */
static void ill_formed_parts_become_one_replacement_each(void **state)
{
    (void)state;
#define R "\xEF\xBF\xBD"
    static const struct {
        hd_str in;
        const char *out;
    } rows[] = {
        {HD_STR("plain"), "plain"},
        {HD_STR("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), R R R R R R R R "A"},
        {HD_STR("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), R R R R R R R R "A"},
        {HD_STR("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), R R R R R "A" R R "B"},
        {HD_STR("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), R R R R "A"},
        {HD_STR("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
         "a" R R R "b" R "c" R R "d"},
        {HD_STR("\xF0\x9F\x91"), R},
        {HD_STR("\xE0\x80"), R R},
        {HD_STR("\xF4\x90"), R R},
        {HD_STR("\xF5\x80\x80\x80"), R R R R},
        {HD_STR("12345678\xC3"), "12345678" R},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        hd_buf b;
        hd_buf_init(&b, 1000);
        hd_utf8_repair(&b, rows[i].in);
        assert_true(hd_str_eqz(hd_buf_str(&b), rows[i].out));
        assert_true(hd_utf8_valid(hd_buf_str(&b)));
        assert_int_equal(hd_utf8_valid(rows[i].in), i == 0);
        hd_buf_deinit(&b);
    }
#undef R
}

static void the_first_bad_byte_is_found(void **state)
{
    (void)state;
    hd_str text = HD_STR("0123456789abcdef\xC3\xA9xyz");
    char copy[32];
    assert_int_equal(hd_utf8_valid_prefix(text), text.len);
    assert_int_equal(hd_utf8_valid_prefix(HD_STR("")), 0);
    for (size_t i = 0; i < text.len; i++) {
        memcpy(copy, text.ptr, text.len);
        copy[i] = (char)0xFF;
        size_t want = i == 17 ? 16 : i; /* inside the two-byte character, that starts it */
        assert_int_equal(hd_utf8_valid_prefix((hd_str){copy, text.len}), want);
    }
}

static void a_cut_splits_no_character(void **state)
{
    (void)state;
    hd_str s = HD_STR("a\xE2\x82\xAC"
                      "b");
    static const size_t want[] = {0, 1, 1, 1, 4, 5, 5};
    for (size_t n = 0; n < HD_COUNT(want); n++) assert_int_equal(hd_utf8_cut(s, n).len, want[n]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_round_trips),
        cmocka_unit_test(encodings_of_known_characters),
        cmocka_unit_test(ill_formed_parts_become_one_replacement_each),
        cmocka_unit_test(the_first_bad_byte_is_found),
        cmocka_unit_test(a_cut_splits_no_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
