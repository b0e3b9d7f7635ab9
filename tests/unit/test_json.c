/* The JSON reader: what it keeps, what it refuses, what it costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"

static hd_arena arena;

static int make_arena(void **state)
{
    (void)state;
    hd_arena_init(&arena, 64 << 20);
    return 0;
}

static int free_arena(void **state)
{
    (void)state;
    hd_arena_deinit(&arena);
    return 0;
}

static const hd_json *parse(hd_str text)
{
    const hd_json *root;
    hd_err err = {0};
    if (hd_json_parse(text, NULL, &arena, &root, &err) != HD_OK) fail_msg("%s", err.text);
    return root;
}

static void reads_every_kind(void **state)
{
    (void)state;
    const hd_json *r =
        parse(HD_STR(" {\"n\" : null, \"t\":true,\"f\":false,\n\"i\":-12,\"x\":1.50e+2,"
                     "\"s\":\"text\",\"a\":[1,[],{}],\"o\":{\"k\":\"v\"}}\t\r\n"));
    assert_int_equal(r->kind, HD_JSON_OBJECT);
    assert_int_equal(r->n, 8);
    assert_int_equal(hd_json_get(r, "n")->kind, HD_JSON_NULL);
    assert_true(hd_json_get(r, "t")->truth);
    assert_false(hd_json_get(r, "f")->truth);
    assert_true(hd_str_eqz(hd_json_get(r, "i")->text, "-12"));
    assert_true(hd_str_eqz(hd_json_get(r, "x")->text, "1.50e+2"));
    assert_true(hd_str_eqz(hd_json_get(r, "s")->text, "text"));
    const hd_json *a = hd_json_get(r, "a");
    assert_int_equal(a->n, 3);
    assert_true(hd_str_eqz(a->text, "[1,[],{}]"));
    assert_int_equal(a->child->next->kind, HD_JSON_ARRAY);
    assert_int_equal(a->child->next->n, 0);
    assert_null(a->child->next->child);
    assert_int_equal(a->child->next->next->kind, HD_JSON_OBJECT);
    assert_ptr_equal(a->child->next->parent, a);
    assert_int_equal(a->offset, 69);
    assert_true(hd_str_eqz(hd_json_get(hd_json_get(r, "o"), "k")->text, "v"));
    assert_null(hd_json_get(r, "absent"));
    assert_null(hd_json_get(a, "n"));
    assert_null(hd_json_get(NULL, "n"));
}

static void scalars_may_stand_alone(void **state)
{
    (void)state;
    assert_int_equal(parse(HD_STR("0"))->kind, HD_JSON_NUMBER);
    assert_int_equal(parse(HD_STR(" null "))->kind, HD_JSON_NULL);
    assert_int_equal(parse(HD_STR("\"\""))->text.len, 0);
    assert_null(parse(HD_STR("[]"))->parent);
}

static void decodes_escapes(void **state)
{
    (void)state;
    assert_true(hd_str_eq(parse(HD_STR("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\""))->text,
                          HD_STR("\"\\/\b\f\n\r\t")));
    assert_true(hd_str_eq(parse(HD_STR("\"a\\u0000b\""))->text, HD_STR("a\0b")));
    assert_true(hd_str_eqz(parse(HD_STR("\"\\u00e9\\u20AC\""))->text, "\xC3\xA9\xE2\x82\xAC"));
    assert_true(hd_str_eqz(parse(HD_STR("\"\\ud83d\\udc4d!\""))->text, "\xF0\x9F\x91\x8D!"));
    const hd_json *o = parse(HD_STR("{\"\\u0000k\":1}"));
    assert_true(hd_str_eq(o->child->key, HD_STR("\0k")));
}

static void plain_strings_are_not_copied(void **state)
{
    (void)state;
    hd_str src = HD_STR("[\"plain\"]");
    const hd_json *s = parse(src)->child;
    assert_ptr_equal(s->text.ptr, src.ptr + 2);
}

static void refuses_what_is_no_json(void **state)
{
    (void)state;
    static const struct {
        hd_str text;
        const char *why;
    } rows[] = {
        {HD_STR(""), "byte 0: expected a value, got the end"},
        {HD_STR("  "), "byte 2: expected a value, got the end"},
        {HD_STR("nul"), "byte 0: expected a value, got 'n'"},
        {HD_STR("True"), "expected a value, got 'T'"},
        {HD_STR("NaN"), "expected a value"},
        {HD_STR("-Infinity"), "expected a number"},
        {HD_STR("+1"), "expected a value, got '+'"},
        {HD_STR("01"), "byte 0: expected a number without leading zeros"},
        {HD_STR("-"), "expected a number"},
        {HD_STR("1."), "without digits after '.'"},
        {HD_STR(".5"), "expected a value, got '.'"},
        {HD_STR("1e"), "without digits in its exponent"},
        {HD_STR("1e+"), "without digits in its exponent"},
        {HD_STR("1 2"), "byte 2: expected nothing more after the value, got '2'"},
        {HD_STR("\"abc"), "byte 0: string without an end"},
        {HD_STR("\"abc\\"), "byte 0: string without an end"},
        {HD_STR("\"abc\\\""), "byte 0: string without an end"},
        {HD_STR("\"a\nb\""), "byte 2: control character 0x0a in a string"},
        {HD_STR("\"a\0b\""), "byte 2: control character 0x00 in a string"},
        {HD_STR("\"\\x41\""), "byte 1: unknown escape"},
        {HD_STR("\"\\\0\""), "byte 1: unknown escape"},
        {HD_STR("\"\\u12g4\""), "byte 1: '\\u' needs four hex digits"},
        {HD_STR("\"\\u12"), "string without an end"},
        {HD_STR("\"\\u123\""), "'\\u' needs four hex digits"},
        {HD_STR("\"\\ud800\""), "byte 1: lone surrogate '\\ud800'"},
        {HD_STR("\"\\udc00\\ud800\""), "byte 1: lone surrogate '\\udc00'"},
        {HD_STR("\"\\ud800\\u0041\""), "byte 1: lone surrogate"},
        {HD_STR("\"\\ud800\\ud800\\udc00\""), "byte 1: lone surrogate"},
        {HD_STR("\"\xC3(\""), "byte 1: not valid UTF-8"},
        {HD_STR("[1,2"), "byte 4: expected ',' or ']', got the end"},
        {HD_STR("[1,]"), "byte 3: expected a value, got ']'"},
        {HD_STR("[1 2]"), "byte 3: expected ',' or ']', got '2'"},
        {HD_STR("[1}"), "expected ',' or ']', got '}'"},
        {HD_STR("{\"a\":1]"), "expected ',' or '}', got ']'"},
        {HD_STR("{\"a\"}"), "expected ':' after a member name, got '}'"},
        {HD_STR("{\"a\":}"), "expected a value, got '}'"},
        {HD_STR("{\"a\":1,}"), "expected a member name in quotes, got '}'"},
        {HD_STR("{a:1}"), "expected a member name in quotes, got 'a'"},
        {HD_STR("{,}"), "expected a member name in quotes, got ','"},
        {HD_STR("]"), "expected a value, got ']'"},
        {HD_STR("\xEF\xBB\xBF"
                "1"),
         "byte 0: expected a value, got 0xef"},
        {HD_STR("{\"a\":1,\"b\":2,\"a\":3}"), "byte 17: member 'a' occurs twice"},
        {HD_STR("{\"a\":1,\"\\u0061\":3}"), "member 'a' occurs twice"},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        const hd_json *root;
        hd_err err = {0};
        assert_int_equal(hd_json_parse(rows[i].text, NULL, &arena, &root, &err), HD_E_FORMAT);
        assert_null(root);
        if (!strstr(err.text, rows[i].why)) fail_msg("'%s' lacks '%s'", err.text, rows[i].why);
    }
}

static void python_constants_on_request(void **state)
{
    (void)state;
    const hd_json_opts opts = {.python_constants = true};
    const hd_json *r;
    hd_str text = HD_STR("[NaN,Infinity,-Infinity,-1]");
    assert_int_equal(hd_json_parse(text, &opts, &arena, &r, NULL), HD_OK);
    assert_int_equal(r->n, 4);
    assert_true(hd_str_eqz(r->child->text, "NaN"));
    assert_true(hd_str_eqz(r->child->next->next->text, "-Infinity"));
    assert_int_equal(hd_json_parse(HD_STR("-NaN"), &opts, &arena, &r, NULL), HD_E_FORMAT);
}

static void duplicates_settle_as_in_python(void **state)
{
    (void)state;
    const hd_json_opts opts = {.allow_duplicates = true};
    const hd_json *r;
    hd_str text = HD_STR("{\"a\":[7,8],\"b\":1,\"a\":{\"x\":0},\"c\":2,\"c\":3,\"a\":[5],\"c\":4}");
    assert_int_equal(hd_json_parse(text, &opts, &arena, &r, NULL), HD_OK);
    assert_int_equal(r->n, 3);
    const hd_json *a = r->child, *b = a->next, *c = b->next;
    assert_true(hd_str_eqz(a->key, "a") && hd_str_eqz(b->key, "b") && hd_str_eqz(c->key, "c"));
    assert_null(c->next);
    assert_true(hd_str_eqz(a->text, "[5]"));
    assert_ptr_equal(a->child->parent, a);
    assert_true(hd_str_eqz(c->text, "4"));
}

/* Beyond a few members another method finds the duplicates. */
static void duplicates_in_large_objects(void **state)
{
    (void)state;
    char text[4096];
    size_t n = 0;
    for (int i = 0; i < 100; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%c\"k%d\":%d", i ? ',' : '{', i % 60, i);
    n += (size_t)snprintf(text + n, sizeof text - n, "}");
    const hd_json *r;
    hd_err err;
    assert_int_equal(hd_json_parse((hd_str){text, n}, NULL, &arena, &r, &err), HD_E_FORMAT);
    assert_non_null(strstr(err.text, "member 'k0' occurs twice"));
    const hd_json_opts opts = {.allow_duplicates = true};
    assert_int_equal(hd_json_parse((hd_str){text, n}, &opts, &arena, &r, NULL), HD_OK);
    assert_int_equal(r->n, 60);
    int i = 0;
    for (const hd_json *c = r->child; c; c = c->next, i++) {
        int64_t value;
        assert_int_equal(hd_json_i64(c, 0, 1000, &value, NULL), HD_OK);
        assert_int_equal(value, i < 40 ? i + 60 : i);
    }
    assert_int_equal(i, 60);
}

static void depth_is_bounded_but_no_stack_is_used(void **state)
{
    (void)state;
    enum { DEEP = 200000 };
    char *text = hd_mem_calloc(2 * DEEP, 1);
    memset(text, '[', DEEP);
    memset(text + DEEP, ']', DEEP);
    const hd_json *r;
    hd_err err;
    assert_int_equal(hd_json_parse((hd_str){text, 2 * DEEP}, NULL, &arena, &r, &err), HD_E_LIMIT);
    assert_non_null(strstr(err.text, "deeper than 128 levels"));
    assert_int_equal(hd_json_parse((hd_str){text + DEEP - 128, 256}, NULL, &arena, &r, &err),
                     HD_OK);
    assert_int_equal(hd_json_parse((hd_str){text + DEEP - 129, 258}, NULL, &arena, &r, &err),
                     HD_E_LIMIT);
    const hd_json_opts opts = {.max_depth = DEEP};
    assert_int_equal(hd_json_parse((hd_str){text, 2 * DEEP}, &opts, &arena, &r, &err), HD_OK);
    hd_mem_free(text);
}

static void the_arena_bounds_the_tree(void **state)
{
    (void)state;
    hd_arena small;
    const hd_json *r;
    hd_err err;
    char text[20001];
    memset(text, ',', sizeof text);
    for (size_t i = 1; i < sizeof text; i += 2) text[i] = '1';
    text[0] = '[';
    text[sizeof text - 1] = ']';
    hd_arena_init(&small, 100000);
    assert_int_equal(hd_json_parse((hd_str){text, sizeof text}, NULL, &small, &r, &err),
                     HD_E_NOMEM);
    assert_string_equal(err.text, "json needs more than the 100000 bytes it may take");
    assert_null(r);
    hd_arena_deinit(&small);
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8,"
                               "\"i\":\"\\n\",\"j\":[{}],\"k\":\"\\u0041\"}";
    long n = 0;
    hd_status status;
    do {
        hd_arena a;
        const hd_json *r;
        hd_arena_init(&a, 1 << 20);
        hd_mem_fail_after(n++);
        status = hd_json_parse(hd_str_from(text), NULL, &a, &r, NULL);
        hd_mem_fail_after(-1);
        if (status != HD_OK) assert_int_equal(status, HD_E_NOMEM);
        hd_arena_deinit(&a);
    } while (status != HD_OK);
    assert_in_range(n, 3, 10);
}

static void typed_getters(void **state)
{
    (void)state;
    const hd_json *r = parse(HD_STR("{\"i\":-9223372036854775808,\"u\":9223372036854775808,"
                                    "\"x\":0.1,\"e\":1e3,\"z\":-0,\"s\":\"t\",\"b\":true}"));
    int64_t i;
    double x;
    bool b;
    hd_str s;
    assert_int_equal(hd_json_get_i64(r, "i", INT64_MIN, 0, &i, NULL), HD_OK);
    assert_true(i == INT64_MIN);
    assert_int_equal(hd_json_get_i64(r, "z", 0, 0, &i, NULL), HD_OK);
    assert_int_equal(i, 0);
    assert_int_equal(hd_json_get_i64(r, "u", INT64_MIN, INT64_MAX, &i, NULL), HD_E_FORMAT);
    assert_int_equal(hd_json_get_i64(r, "e", 0, 10000, &i, NULL), HD_E_FORMAT);
    assert_int_equal(hd_json_get_f64(r, "x", &x, NULL), HD_OK);
    assert_true(x == 0.1);
    assert_int_equal(hd_json_get_f64(r, "u", &x, NULL), HD_OK);
    assert_true(x == 9223372036854775808.0);
    assert_int_equal(hd_json_get_bool(r, "b", &b, NULL), HD_OK);
    assert_true(b);
    assert_int_equal(hd_json_get_str(r, "s", &s, NULL), HD_OK);
    assert_true(hd_str_eqz(s, "t"));
}

static void numbers_of_any_length_become_doubles(void **state)
{
    (void)state;
    char text[1000];
    double x;
    memset(text, '0', sizeof text);
    memcpy(text, "0.", 2);
    memcpy(text + sizeof text - 5, "1e998", 5); /* 1 at place 994 */
    assert_true(hd_json_number_f64((hd_str){text, sizeof text}, &x));
    assert_true(x == 1e4);
    hd_mem_fail_after(0);
    bool is_read = hd_json_number_f64((hd_str){text, sizeof text}, &x);
    hd_mem_fail_after(-1);
    assert_false(is_read);
    assert_true(hd_json_number_f64(HD_STR("1e400"), &x));
    assert_true(x > 1.7e308);
    assert_true(hd_json_number_f64(HD_STR("12345"), &x));
    assert_true(x == 12345);
    /* Half way between two doubles, and a hair above. */
    assert_true(hd_json_number_f64(HD_STR("9007199254740993"), &x));
    assert_true(x == 9007199254740992.0);
    assert_true(hd_json_number_f64(HD_STR("9007199254740993.00000000000000000000000000000000000001"
                                          "000000000000000000000000000000"),
                                   &x));
    assert_true(x == 9007199254740994.0);
}

static void errors_name_the_value(void **state)
{
    (void)state;
    const hd_json *r = parse(HD_STR("{\"a\":{\"b\":[1,{\"c\":\"x\",\"n\":12,\"t\":true}]}}"));
    const hd_json *o = hd_json_get(hd_json_get(r, "a"), "b")->child->next;
    hd_err err;
    int64_t i;
    bool b;
    hd_str s;
    assert_int_equal(hd_json_get_i64(o, "c", 0, 9, &i, &err), HD_E_FORMAT);
    assert_string_equal(err.text, "'c' must be a number, got a string");
    assert_string_equal(err.path, "a.b[1].c");
    assert_int_equal(hd_json_get_i64(o, "n", 0, 9, &i, &err), HD_E_FORMAT);
    assert_string_equal(err.text, "'n' must be an integer from 0 to 9, got 12");
    assert_int_equal(hd_json_get_str(o, "t", &s, &err), HD_E_FORMAT);
    assert_string_equal(err.text, "'t' must be a string, got true");
    assert_int_equal(hd_json_get_bool(o, "z", &b, &err), HD_E_FORMAT);
    assert_string_equal(err.text, "'z' must be a boolean, got nothing");
    assert_string_equal(err.path, "a.b[1].z");
    assert_int_equal(hd_json_get_bool(r, "z", &b, &err), HD_E_FORMAT);
    assert_string_equal(err.path, "z");
    assert_int_equal(hd_json_i64(o->parent, 0, 9, &i, &err), HD_E_FORMAT);
    assert_string_equal(err.text, "'b' must be an integer from 0 to 9, got an array");
    assert_int_equal(hd_json_i64(o->parent->child, 5, 9, &i, &err), HD_E_FORMAT);
    assert_string_equal(err.text, "'a.b[0]' must be an integer from 5 to 9, got 1");
}

static void paths_are_cut_to_fit(void **state)
{
    (void)state;
    const hd_json *r = parse(HD_STR("{\"long\\nname\":[[{\"\xE2\x82\xAC\xE2\x82\xAC\":0}]]}"));
    const hd_json *leaf = r->child->child->child->child;
    char full[64], out[64];
    hd_json_path(leaf, full, sizeof full);
    assert_string_equal(full, "long?name[0][0].\xE2\x82\xAC\xE2\x82\xAC");
    for (size_t n = 1; n <= sizeof out; n++) {
        hd_json_path(leaf, out, n);
        assert_true(strlen(out) < n);
        assert_int_equal(strncmp(out, full, strlen(out)), 0);
    }
    hd_json_path(r, out, sizeof out);
    assert_string_equal(out, "");
    hd_json_path(r, out, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_kind),
        cmocka_unit_test(scalars_may_stand_alone),
        cmocka_unit_test(decodes_escapes),
        cmocka_unit_test(plain_strings_are_not_copied),
        cmocka_unit_test(refuses_what_is_no_json),
        cmocka_unit_test(python_constants_on_request),
        cmocka_unit_test(duplicates_settle_as_in_python),
        cmocka_unit_test(duplicates_in_large_objects),
        cmocka_unit_test(depth_is_bounded_but_no_stack_is_used),
        cmocka_unit_test(the_arena_bounds_the_tree),
        cmocka_unit_test(memory_may_run_out_anywhere),
        cmocka_unit_test(typed_getters),
        cmocka_unit_test(numbers_of_any_length_become_doubles),
        cmocka_unit_test(errors_name_the_value),
        cmocka_unit_test(paths_are_cut_to_fit),
    };
    return cmocka_run_group_tests(tests, make_arena, free_arena);
}
