/* The JSON writer, byte for byte as Python's json.dumps(ensure_ascii=False). Expected texts were
 * taken from Python 3.11, except where a formula gives them. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/jsonw.h"
#include "base/mem.h"

static hd_buf out;

static int make_buf(void **state)
{
    (void)state;
    hd_buf_init(&out, 64 << 20);
    return 0;
}

static int free_buf(void **state)
{
    (void)state;
    hd_buf_deinit(&out);
    return 0;
}

static void strings_escape_only_what_python_escapes(void **state)
{
    (void)state;
    hd_buf_reset(&out);
    hd_jsonw_str(&out, HD_STR("\"\\/\n\r\t\b\f\0\x1f\x7f\xC3\xA9\xE2\x80\xA8 end"));
    assert_true(hd_str_eqz(hd_buf_str(&out), "\"\\\"\\\\/\\n\\r\\t\\b\\f\\u0000\\u001f\x7f\xC3\xA9"
                                             "\xE2\x80\xA8 end\""));
    hd_buf_reset(&out);
    hd_jsonw_str(&out, (hd_str){0});
    assert_string_equal(out.ptr, "\"\"");
}

static void doubles_print_as_python_repr(void **state)
{
    (void)state;
    static const struct {
        double x;
        const char *text;
    } rows[] = {
        {0.0, "0.0"},
        {-0.0, "-0.0"},
        {1.0, "1.0"},
        {-1.5, "-1.5"},
        {0.1, "0.1"},
        {100.0, "100.0"},
        {123456.789, "123456.789"},
        {1e15, "1000000000000000.0"},
        {1e16, "1e+16"},
        {1.2345e16, "1.2345e+16"},
        {9999999999999998.0, "9999999999999998.0"},
        {1e-4, "0.0001"},
        {1e-5, "1e-05"},
        {1.5e-7, "1.5e-07"},
        {0.00012345, "0.00012345"},
        {1e100, "1e+100"},
        {1.7976931348623157e308, "1.7976931348623157e+308"},
        {2.2250738585072014e-308, "2.2250738585072014e-308"},
        {5e-324, "5e-324"},
        {1.5e-323, "1.5e-323"},
        {2.2250738585072009e-308, "2.225073858507201e-308"},
        {0.1 + 0.2, "0.30000000000000004"},
        {1.0 / 3.0, "0.3333333333333333"},
        {0x1p-44, "5.684341886080802e-14"}, /* the nearest 16 digits, …801, do not read back */
        {0x1p-24, "5.960464477539063e-08"},
        {0x1p-1074, "5e-324"},
        {9007199254740993.0, "9007199254740992.0"},
        {18446744073709551616.0, "1.8446744073709552e+19"},
        {1e22, "1e+22"},
        {1e23, "1e+23"},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        hd_buf_reset(&out);
        hd_jsonw_f64(&out, rows[i].x);
        assert_string_equal(out.ptr, rows[i].text);
    }
    hd_buf_reset(&out);
    hd_jsonw_f64(&out, NAN);
    hd_jsonw_f64(&out, INFINITY);
    hd_jsonw_f64(&out, -INFINITY);
    assert_string_equal(out.ptr, "NaNInfinity-Infinity");
}

/* Whatever is printed reads back as the same double, and no shorter digits would. */
static void check_shortest(double x)
{
    hd_buf_reset(&out);
    hd_jsonw_f64(&out, x);
    assert_true(strtod(out.ptr, NULL) == x);
    size_t digits = 0, zeros = 0;
    for (const char *p = out.ptr; *p && *p != 'e'; p++) {
        if (*p < '0' || *p > '9' || (*p == '0' && digits == 0)) continue;
        digits++;
        zeros = *p == '0' ? zeros + 1 : 0;
    }
    digits -= zeros;
    if (digits < 2) return;
    char shorter[64];
    snprintf(shorter, sizeof shorter, "%.*e", (int)digits - 2, x);
    assert_true(strtod(shorter, NULL) != x);
}

static void doubles_round_trip_and_are_shortest(void **state)
{
    (void)state;
    uint64_t bits = 0x9E3779B97F4A7C15u;
    for (int i = 0; i < 20000; i++) {
        double x;
        bits = bits * 6364136223846793005u + 1442695040888963407u;
        memcpy(&x, &bits, sizeof x);
        if (isfinite(x)) check_shortest(x);
    }
    for (int e = -1074; e < 1024; e++) check_shortest(ldexp(1.0, e));
}

/* What DeepSeek's service prints for the same tokens, V4.1 and V4. */
static void numbers_of_the_service(void **state)
{
    (void)state;
    static const char *const rows[][3] = {
        {"-0", "-0.0", "-0.0"},
        {"0", "0", "0"},
        {"-7", "-7", "-7"},
        {"18446744073709551615", "18446744073709551615", "18446744073709551615"},
        {"18446744073709551616", "1.8446744073709552e+19", "1.8446744073709552e+19"},
        {"-9223372036854775808", "-9223372036854775808", "-9223372036854775808"},
        {"-9223372036854775809", "-9.223372036854776e+18", "-9.223372036854776e+18"},
        {"123456789012345678901", "1.2345678901234568e+20", "1.2345678901234568e+20"},
        {"1e16", "1e+16", "1e+16"},
        {"0.0001", "0.0001", "0.0001"},
        {"1e-5", "1e-05", "0.00001"},
        {"1.5e-5", "1.5e-05", "0.000015"},
        {"9.99e-6", "9.99e-06", "9.99e-6"},
        {"1e-7", "1e-07", "1e-7"},
        {"1.25e-10", "1.25e-10", "1.25e-10"},
        {"5e-324", "5e-324", "5e-324"}};
    hd_buf got;
    hd_buf_init(&got, 4096);
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        const hd_json token = {.kind = HD_JSON_NUMBER, .text = hd_str_from(rows[i][0])};
        hd_buf_reset(&got);
        hd_jsonw_value_as(&got, &token, HD_NUMBERS_SERVICE);
        assert_string_equal(got.ptr, rows[i][1]);
        hd_buf_reset(&got);
        hd_jsonw_value_as(&got, &token, HD_NUMBERS_SERVICE_V4);
        assert_string_equal(got.ptr, rows[i][2]);
    }
    hd_buf_deinit(&got);
}

static void number_tokens_print_as_python_prints_them(void **state)
{
    (void)state;
    static const char *const rows[][2] = {
        {"0", "0"},
        {"-0", "0"},
        {"-0.0", "-0.0"},
        {"12", "12"},
        {"1.0", "1.0"},
        {"1.50", "1.5"},
        {"1e2", "100.0"},
        {"1E400", "Infinity"},
        {"-1e400", "-Infinity"},
        {"1e-400", "0.0"},
        {"NaN", "NaN"},
        {"-Infinity", "-Infinity"},
        {"1e16", "1e+16"},
        {"0.00001", "1e-05"},
        {"123456789012345678901234567890", "123456789012345678901234567890"},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        hd_buf_reset(&out);
        hd_jsonw_number(&out, hd_str_from(rows[i][0]));
        assert_string_equal(out.ptr, rows[i][1]);
    }
}

static void trees_print_on_one_line(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\": [1, 2.0, \"x\", [], {}, [[]]], \"\": {\"k\": null}, \"t\": true, \"f\": false}";
    hd_arena arena;
    const hd_json *r;
    hd_arena_init(&arena, 1 << 20);
    assert_int_equal(hd_json_parse(hd_str_from(text), NULL, &arena, &r, NULL), HD_OK);
    hd_buf_reset(&out);
    hd_jsonw_value(&out, r);
    assert_string_equal(out.ptr, text);
    hd_buf_reset(&out);
    hd_jsonw_value(&out, r->child); /* a part, without its key and what follows */
    assert_string_equal(out.ptr, "[1, 2.0, \"x\", [], {}, [[]]]");
    hd_buf_reset(&out);
    hd_jsonw_value(&out, r->child->child);
    assert_string_equal(out.ptr, "1");
    hd_arena_deinit(&arena);
}

static void a_deep_tree_uses_no_stack(void **state)
{
    (void)state;
    enum { DEEP = 100000 };
    hd_arena arena;
    const hd_json *r;
    char *text = hd_mem_calloc(2 * DEEP, 1);
    memset(text, '[', DEEP);
    memset(text + DEEP, ']', DEEP);
    const hd_json_opts opts = {.max_depth = DEEP};
    hd_arena_init(&arena, 64 << 20);
    assert_int_equal(hd_json_parse((hd_str){text, 2 * DEEP}, &opts, &arena, &r, NULL), HD_OK);
    hd_buf_reset(&out);
    hd_jsonw_value(&out, r);
    assert_true(hd_str_eq(hd_buf_str(&out), (hd_str){text, 2 * DEEP}));
    hd_arena_deinit(&arena);
    hd_mem_free(text);
}

static void memory_out_fails_the_buffer(void **state)
{
    (void)state;
    char text[200];
    memset(text, '1', sizeof text);
    text[1] = '.';
    hd_buf_reset(&out);
    hd_mem_fail_after(0);
    hd_jsonw_number(&out, (hd_str){text, sizeof text});
    hd_mem_fail_after(-1);
    assert_int_equal(hd_buf_status(&out, "number", NULL), HD_E_NOMEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_escape_only_what_python_escapes),
        cmocka_unit_test(doubles_print_as_python_repr),
        cmocka_unit_test(doubles_round_trip_and_are_shortest),
        cmocka_unit_test(number_tokens_print_as_python_prints_them),
        cmocka_unit_test(numbers_of_the_service),
        cmocka_unit_test(trees_print_on_one_line),
        cmocka_unit_test(a_deep_tree_uses_no_stack),
        cmocka_unit_test(memory_out_fails_the_buffer),
    };
    return cmocka_run_group_tests(tests, make_buf, free_buf);
}
