/* JSON Schema: each keyword, what it accepts and what it refuses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/rng.h"
#include "support/constrain_run.h"

typedef struct row {
    const char *schema, *yes[8], *no[8];
} row;

static void check_rows(const row *rows, size_t n, bool any_order)
{
    for (size_t i = 0; i < n; i++) {
        hd_grammar_source source = {.kind = HD_GRAMMAR_SCHEMA,
                                    .text = hd_str_from(rows[i].schema),
                                    .strict = true,
                                    .any_order = any_order,
                                    .is_textual = true};
        hd_grammar *g = constrain_compile(constrain_tiny(), &source);
        for (size_t k = 0; k < 8 && rows[i].yes[k]; k++) {
            int at = constrain_follow(g, hd_str_from(rows[i].yes[k]));
            if (at != CONSTRAIN_COMPLETE)
                fail_msg("%s: '%s' stops at %d", rows[i].schema, rows[i].yes[k], at);
        }
        for (size_t k = 0; k < 8 && rows[i].no[k]; k++)
            if (constrain_follow(g, hd_str_from(rows[i].no[k])) == CONSTRAIN_COMPLETE)
                fail_msg("%s: '%s' is accepted", rows[i].schema, rows[i].no[k]);
        hd_grammar_unref(g);
    }
}

static void types(void **state)
{
    (void)state;
    static const row rows[] = {
        {"true",
         {"1", "null", "{\"a\": [1, {}]}", "\"x\"", "[]"},
         {"", "x", "[1,,2]", "{1}", "01"}},
        {"{}", {"1", "[[[]]]", "{\"a\":{\"a\":1}}"}, {"tru", "[", "{\"a\"}"}},
        {"{\"type\": \"null\"}", {"null"}, {"nul", "0", "null0"}},
        {"{\"type\": \"boolean\"}", {"true", "false"}, {"True", "1", "\"true\""}},
        {"{\"type\": \"integer\"}",
         {"0", "-1", "12345678901234567890"},
         {"-0", "1.0", "01", "-", "+1", "1e3"}},
        {"{\"type\": \"number\"}",
         {"0", "-0", "-0.5", "1e9", "1.25E-07", "10"},
         {"1.", ".5", "00", "1e", "1e+", "NaN", "--1"}},
        {"{\"type\": \"string\"}",
         {"\"\"", "\"a\\n\\u00e9\\\"\"", "\"\xC3\xA9\xF0\x9F\x98\x80\"", "\"\\ud83d\\ude00\"",
          "\"\\u0000\""},
         {"\"", "\"\n\"", "\"\\x\"", "\"\\ud83d\"", "\"\\ude00\"", "\"\xC3\"", "\"\xED\xA0\x80\"",
          "\"\xF4\x90\x80\x80\""}},
        {"{\"type\": [\"integer\", \"null\"]}", {"1", "null"}, {"\"1\"", "true", "1.5"}},
        {"{\"type\": [\"string\", \"number\"], \"minimum\": 3, \"maxLength\": 1}",
         {"3", "\"\"", "\"a\""},
         {"2", "\"ab\""}},
    };
    check_rows(rows, HD_COUNT(rows), false);
}

static void strings(void **state)
{
    (void)state;
    static const row rows[] = {
        {"{\"type\": \"string\", \"minLength\": 2, \"maxLength\": 3}",
         {"\"ab\"", "\"abc\"", "\"\xC3\xA9\xC3\xA9\"", "\"\\u00e9\\n\"", "\"\\ud83d\\ude00a\"",
          "\"\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\""},
         {"\"\"", "\"a\"", "\"abcd\"", "\"\\ud83d\\ude00\"", "\"\\n\\n\\n\\n\""}},
        {"{\"maxLength\": 0}", {"\"\""}, {"\"a\""}},
        {"{\"type\": \"string\", \"pattern\": \"^[a-c]+\\\\d{2}$\"}",
         {"\"a12\"", "\"abc00\""},
         {"\"12\"", "\"a1\"", "\"a123\"", "\"d12\"", "\"a12"}},
        {"{\"pattern\": \"b\"}",
         {"\"b\"", "\"abc\"",
          "\"\\n\xE2\x82\xAC"
          "b\""},
         {"\"\"", "\"ac\""}},
        {"{\"pattern\": \"^(a|bc)?$|^\\\\w+@x\\\\.y$\"}",
         {"\"\"", "\"a\"", "\"bc\"", "\"me_1@x.y\""},
         {"\"b\"", "\"@x.y\"", "\"a@xzy\""}},
        {"{\"pattern\": \"^[\\\"\\\\\\\\\\\\n]*$\"}",
         {"\"\\\"\\\\\\n\""},
         {"\"\\t\"", "\"\\u0022\""}},
        {"{\"pattern\": \"^[^\\\\x00-\\\\x7f]$\"}",
         {"\"\xC3\xA9\"", "\"\xF0\x9F\x98\x80\""},
         {"\"a\"", "\"\xC3\xA9\xC3\xA9\""}},
        {"{\"pattern\": \"^\\\\u00e9.\\\\S$\"}",
         {"\"\xC3\xA9"
          "ab\""},
         {"\"\xC3\xA9"
          "a \"",
          "\"eab\""}},
        {"{\"pattern\": \"^[a-z\\n\\u00e9]+(xyz)?$\", \"minLength\": 3, \"maxLength\": 4}",
         {"\"abc\"", "\"\\n\\n\\n\"", "\"\xC3\xA9\xC3\xA9\xC3\xA9\xC3\xA9\"", "\"axyz\""},
         {"\"ab\"", "\"abcde\"", "\"abxyz\"", "\"\\n\\n\"", "\"\xC3\xA9\xC3\xA9\""}},
        {"{\"pattern\": \"^(\\\\x01|ab){2}\", \"minLength\": 4}",
         {"\"abab\"", "\"\\u0001\\u0001cd\"", "\"ab\\u0001defghi\""},
         {"\"\\u0001\\u0001c\"", "\"aba\""}},
        {"{\"enum\": [\"a\", \"ab\", 1, null, {\"k\": [1, 2]}]}",
         {"\"a\"", "\"ab\"", "1", "null", "{\"k\": [1, 2]}"},
         {"\"b\"", "\"abc\"", "2", "{\"k\":[1,2]}"}},
        {"{\"type\": \"string\", \"enum\": [\"x\", 1]}", {"\"x\""}, {"1"}},
        {"{\"const\": \"q\\\"\\n\"}", {"\"q\\\"\\n\""}, {"\"q\""}},
        {"{\"type\": \"string\", \"format\": \"date\"}", {"\"x\""}, {"1"}},
    };
    check_rows(rows, HD_COUNT(rows), false);
}

static void numbers(void **state)
{
    (void)state;
    static const row rows[] = {
        {"{\"type\": \"integer\", \"minimum\": 7, \"maximum\": 120}",
         {"7", "10", "99", "100", "120"},
         {"6", "121", "0", "-7", "1200", "07", "7.0"}},
        {"{\"type\": \"integer\", \"minimum\": -12, \"maximum\": 3}",
         {"-12", "-1", "0", "3"},
         {"-13", "4", "-0", "-100", "12"}},
        {"{\"type\": \"integer\", \"exclusiveMinimum\": 0}", {"1", "10", "999999"}, {"0", "-1"}},
        {"{\"type\": \"integer\", \"exclusiveMaximum\": 0}", {"-1", "-10"}, {"0", "1"}},
        {"{\"type\": \"integer\", \"minimum\": -20, \"exclusiveMaximum\": -9}",
         {"-20", "-10"},
         {"-9", "-21", "10"}},
        {"{\"type\": \"integer\", \"minimum\": 1.5, \"maximum\": 2e1}", {"2", "20"}, {"1", "21"}},
        {"{\"type\": \"integer\", \"minimum\": 9223372036854775808}",
         {"9223372036854775808", "10000000000000000000"},
         {"9223372036854775807", "1"}},
        {"{\"type\": \"number\", \"minimum\": 0.25, \"maximum\": 1.5}",
         {"0.25", "0.3", "1", "1.0", "1.5", "1.50", "0.2500001"},
         {"0.2", "0.249", "1.51", "2", "0", "-1", "1e0"}},
        {"{\"type\": \"number\", \"exclusiveMinimum\": 0, \"exclusiveMaximum\": 1}",
         {"0.5", "0.001", "0.999"},
         {"0", "1", "0.0", "1.0", "-0.5"}},
        {"{\"type\": \"number\", \"minimum\": -2.5}",
         {"-2.5", "-2.49", "-1", "0", "7.25", "1000"},
         {"-2.51", "-3", "-10"}},
        {"{\"type\": \"number\", \"maximum\": -1}", {"-1", "-1.5", "-20"}, {"0", "-0.5", "1"}},
        {"{\"type\": \"number\", \"minimum\": 3, \"maximum\": 3}",
         {"3", "3.0", "3.00"},
         {"3.1", "2.9"}},
        {"{\"minimum\": 10, \"exclusiveMinimum\": 10}", {"10.5", "11"}, {"10", "9"}},
        {"{\"minimum\": 10, \"exclusiveMinimum\": true}", {"10.5", "11"}, {"10", "10.0", "9"}},
    };
    check_rows(rows, HD_COUNT(rows), false);
}

/* value / 1000 as a decimal without needless zeros. */
static int print_thousandths(char *out, size_t size, int64_t value, bool keep_zeros)
{
    int64_t magnitude = value < 0 ? -value : value;
    int n = snprintf(out, size, "%s%lld.%03lld", value < 0 ? "-" : "",
                     (long long)(magnitude / 1000), (long long)(magnitude % 1000));
    while (!keep_zeros && out[n - 1] == '0') n--;
    if (out[n - 1] == '.') n--;
    out[n] = 0;
    return n;
}

/* Bounds drawn at random, against a comparison of integers. */
static void random_bounds(void **state)
{
    (void)state;
    uint64_t draw = 0;
    for (unsigned round = 0; round < 400; round++) {
        static const int64_t scale[] = {1000, 100, 10, 1};
        static const int64_t span[] = {5, 30, 400, 120000};
        char lo_text[32], hi_text[32], schema[300], text[32];
        int64_t step = scale[round % 4], reach = span[hd_rng_below(hd_rng_at(1, draw++), 4)];
        int64_t a = (int64_t)hd_rng_below(hd_rng_at(1, draw++), 2 * (uint64_t)reach) - reach;
        int64_t b = (int64_t)hd_rng_below(hd_rng_at(1, draw++), 2 * (uint64_t)reach) - reach;
        int64_t lo = (a < b ? a : b) * step, hi = ((a < b ? b : a) + 2) * step;
        bool open_lo = round & 4, open_hi = round & 8, is_integer = round & 16;
        if (is_integer) hi += 2000;
        print_thousandths(lo_text, sizeof lo_text, lo, false);
        print_thousandths(hi_text, sizeof hi_text, hi, round & 32);
        int n =
            snprintf(schema, sizeof schema, "{\"type\": \"%s\", \"%s\": %s, \"%s\": %s}",
                     is_integer ? "integer" : "number", open_lo ? "exclusiveMinimum" : "minimum",
                     lo_text, open_hi ? "exclusiveMaximum" : "maximum", hi_text);
        hd_grammar_source source = {
            .kind = HD_GRAMMAR_SCHEMA, .text = {schema, (size_t)n}, .is_textual = true};
        hd_grammar *g = constrain_compile(constrain_tiny(), &source);
        for (unsigned k = 0; k < 40; k++) {
            int64_t x = k < 10   ? lo - 5 + k
                        : k < 20 ? hi - 15 + k
                                 : lo - 2000 +
                                       (int64_t)hd_rng_below(hd_rng_at(2, draw++),
                                                             (uint64_t)(hi - lo) + 4000);
            if (is_integer) x = x / 1000 * 1000;
            bool is_inside = (open_lo ? x > lo : x >= lo) && (open_hi ? x < hi : x <= hi);
            n = print_thousandths(text, sizeof text, x, !is_integer && k % 2);
            if (x == 0 && text[0] == '-') continue;
            int at = constrain_follow(g, (hd_str){text, (size_t)n});
            if ((at == CONSTRAIN_COMPLETE) != is_inside) fail_msg("%s: '%s' %d", schema, text, at);
        }
        hd_grammar_unref(g);
    }
}

static void arrays(void **state)
{
    (void)state;
    static const row rows[] = {
        {"{\"type\": \"array\", \"items\": {\"type\": \"integer\"}}",
         {"[]", "[1]", "[1, 2]", "[1,2,3]", "[\n  1,\n  2\n]"},
         {"[1,]", "[\"a\"]", "[,]", "1", "[1  ]"}},
        {"{\"type\": \"array\", \"items\": {}, \"minItems\": 2, \"maxItems\": 3}",
         {"[1, 2]", "[1, [], {}]"},
         {"[]", "[1]", "[1, 2, 3, 4]"}},
        {"{\"type\": \"array\", \"maxItems\": 0}", {"[]"}, {"[1]"}},
        {"{\"type\": \"array\", \"minItems\": 1}", {"[1]", "[1, 2, 3, 4]"}, {"[]"}},
        {"{\"items\": false}", {"[]"}, {"[1]"}},
        {"{\"prefixItems\": [{\"type\": \"integer\"}, {\"type\": \"string\"}], \"items\": false}",
         {"[]", "[1]", "[1, \"a\"]"},
         {"[\"a\"]", "[1, 2]", "[1, \"a\", 1]"}},
        {"{\"prefixItems\": [{\"type\": \"integer\"}], \"items\": {\"type\": \"null\"}, "
         "\"minItems\": 2, \"maxItems\": 3}",
         {"[1, null]", "[1, null, null]"},
         {"[1]", "[1, 2]", "[1, null, null, null]"}},
        {"{\"items\": [{\"const\": 1}, {\"const\": 2}], \"additionalItems\": false, \"minItems\": "
         "2}",
         {"[1, 2]"},
         {"[1]", "[]", "[1, 2, 3]"}},
    };
    check_rows(rows, HD_COUNT(rows), false);
}

static const row object_rows[] = {
    {"{\"type\": \"object\"}", {"{}", "{\"a\": 1, \"b\": {}}"}, {"[]", "{\"a\"}", "{\"a\": 1,}"}},
    {"{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"integer\"}, \"b\": {}, \"ab\": "
     "{\"type\": \"null\"}}, \"required\": [\"b\"]}",
     {"{\"b\": 1}", "{\"a\": 1, \"b\": \"x\"}", "{\"a\": 1, \"b\": [], \"ab\": null}",
      "{\n\t\"b\":1\n}"},
     {"{}", "{\"a\": 1}", "{\"a\": \"1\", \"b\": 1}", "{\"b\": 1, \"b\": 2}",
      "{\"b\": 1, \"c\": 1}", "{\"b\": 1, \"ab\": 1}", "{\"b\": 1, }"}},
    {"{\"type\": \"object\", \"properties\": {}, \"additionalProperties\": false}",
     {"{}", "{ }"},
     {"{\"a\": 1}"}},
    {"{\"additionalProperties\": {\"type\": \"integer\"}}",
     {"{}", "{\"x\": 1, \"\xC3\xA9\\n\": 2}"},
     {"{\"x\": \"a\"}", "{\"\\u0041\": 1}"}},
    {"{\"properties\": {\"ab\": {\"type\": \"null\"}, \"\xC3\xA9\": {\"type\": \"null\"}}, "
     "\"additionalProperties\": {\"type\": \"integer\"}, \"required\": [\"ab\"]}",
     {"{\"ab\": null}", "{\"abc\": 1, \"ab\": null}", "{\"a\": 1, \"ab\": null, \"\": 3}",
      "{\"\xC3\xA8\": 1, \"ab\": null, \"\xC3\xA9\": null}"},
     {"{}", "{\"ab\": 1}", "{\"abc\": 1}", "{\"ab\": null, \"ab\": 1}",
      "{\"\xC3\xA9\": 1, \"ab\": null}"}},
    {"{\"required\": [\"id\"]}", {"{\"id\": 1}", "{\"x\": 2, \"id\": []}"}, {"{}", "{\"x\": 1}"}},
    {"{\"properties\": {\"a\\\"b\": {\"const\": 1}, \"gone\": false}}",
     {"{\"a\\\"b\": 1}", "{}"},
     {"{\"gone\": 1}", "{\"a\": 1}"}},
};

static void objects(void **state)
{
    (void)state;
    static const char abc[] = "{\"properties\": {\"a\": {\"const\": 1}, \"b\": {\"const\": 2}, "
                              "\"c\": {\"const\": 3}}, \"required\": [\"b\"]}";
    static const row in_order[] = {
        {abc,
         {"{\"a\": 1, \"b\": 2, \"c\": 3}", "{\"b\": 2}", "{\"b\": 2, \"c\": 3}"},
         {"{\"b\": 2, \"a\": 1}", "{\"c\": 3}", "{\"a\": 1, \"c\": 3, \"b\": 2}"}}};
    static const row in_any_order[] = {{abc,
                                        {"{\"a\": 1, \"b\": 2, \"c\": 3}",
                                         "{\"c\": 3, \"b\": 2, \"a\": 1}", "{\"b\": 2, \"a\": 1}"},
                                        {"{\"a\": 1, \"c\": 3}", "{\"b\": 2, \"b\": 2}"}}};
    check_rows(object_rows, HD_COUNT(object_rows), false);
    check_rows(object_rows, HD_COUNT(object_rows), true);
    check_rows(in_order, 1, false);
    check_rows(in_any_order, 1, true);
}

static void combinations(void **state)
{
    (void)state;
    static const row rows[] = {
        {"{\"anyOf\": [{\"type\": \"string\"}, {\"type\": \"integer\", \"minimum\": 5}]}",
         {"\"a\"", "5"},
         {"4", "null"}},
        {"{\"oneOf\": [{\"properties\": {\"k\": {\"const\": \"a\"}, \"x\": {\"type\": \"null\"}}, "
         "\"required\": [\"k\", \"x\"]}, {\"properties\": {\"k\": {\"const\": \"b\"}}, "
         "\"required\": "
         "[\"k\"]}]}",
         {"{\"k\": \"a\", \"x\": null}", "{\"k\": \"b\"}"},
         {"{\"k\": \"a\"}", "{\"k\": \"b\", \"x\": null}", "{}"}},
        {"{\"allOf\": [{\"type\": \"null\"}], \"description\": \"d\"}", {"null"}, {"1"}},
        {"{\"$ref\": \"#/$defs/a~1b\", \"$defs\": {\"a/b\": {\"type\": \"integer\"}}}",
         {"1"},
         {"\"a\""}},
        {"{\"$defs\": {\"tree\": {\"type\": \"object\", \"properties\": {\"v\": {\"type\": "
         "\"integer\"}, \"kids\": {\"type\": \"array\", \"items\": {\"$ref\": \"#/$defs/tree\"}}}, "
         "\"required\": [\"v\"]}}, \"$ref\": \"#/$defs/tree\"}",
         {"{\"v\": 1}", "{\"v\": 1, \"kids\": [{\"v\": 2, \"kids\": []}, {\"v\": 3}]}"},
         {"{\"kids\": []}", "{\"v\": 1, \"kids\": [{}]}", "{\"v\": 1, \"kids\": [1]}"}},
        {"{\"type\": \"object\", \"properties\": {\"next\": {\"anyOf\": [{\"type\": \"null\"}, "
         "{\"$ref\": \"#\"}]}}, \"required\": [\"next\"]}",
         {"{\"next\": null}", "{\"next\": {\"next\": {\"next\": null}}}"},
         {"{}", "{\"next\": 1}", "{\"next\": {}}"}},
        {"{\"definitions\": {\"a\": {\"$ref\": \"#/definitions/b\"}, \"b\": {\"enum\": [1]}}, "
         "\"properties\": {\"x\": {\"$ref\": \"#/definitions/a\"}}}",
         {"{\"x\": 1}"},
         {"{\"x\": 2}"}},
        {"{\"anyOf\": [false, {\"const\": 1}]}", {"1"}, {"2"}},
        {"{\"type\": \"integer\", \"title\": \"t\", \"default\": 3, \"examples\": [1], "
         "\"$schema\": \"s\", \"deprecated\": true, \"x-mine\": 1, \"uniqueItems\": false}",
         {"1"},
         {"null"}},
    };
    check_rows(rows, HD_COUNT(rows), false);
}

static hd_status compile(hd_str text, bool strict, hd_buf *warnings, hd_grammar **g, hd_err *err)
{
    hd_grammar_source source = {.kind = HD_GRAMMAR_SCHEMA,
                                .text = text,
                                .strict = strict,
                                .is_textual = true,
                                .limit_ms = 10000};
    return hd_grammar_compile(constrain_tiny(), &source, warnings, g, err);
}

/* What is refused if strict, by name and place; else the node takes any value. */
static void unsupported(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *name;
    } rows[] = {{"{\"not\": {}}", "'not'"},
                {"{\"type\": \"object\", \"patternProperties\": {}}", "'patternProperties'"},
                {"{\"type\": \"number\", \"multipleOf\": 3}", "'multipleOf'"},
                {"{\"type\": \"array\", \"uniqueItems\": true}", "'uniqueItems'"},
                {"{\"allOf\": [{}, {}]}", "'allOf'"},
                {"{\"type\": \"object\", \"anyOf\": [{}]}", "'anyOf'"},
                {"{\"if\": {}, \"then\": {}}", "'if'"}};
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        char text[300];
        hd_err err = {0};
        hd_grammar *g = NULL;
        hd_buf warnings;
        hd_buf_init(&warnings, 4096);
        int n = snprintf(text, sizeof text, "{\"properties\": {\"p\": %s}}", rows[i].schema);
        hd_str s = {text, (size_t)n};
        assert_int_equal(compile(s, true, NULL, &g, &err), HD_E_UNSUPPORTED);
        if (!strstr(err.text, rows[i].name)) fail_msg("%s", err.text);
        assert_string_equal(err.path, "properties.p");
        assert_int_equal(compile(s, false, &warnings, &g, &err), HD_OK);
        assert_non_null(strstr(warnings.ptr, rows[i].name));
        assert_int_equal(constrain_follow(g, HD_STR("{\"p\": [1, \"x\"]}")), CONSTRAIN_COMPLETE);
        hd_grammar_unref(g);
        hd_buf_deinit(&warnings);
    }
}

static void broken(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *why;
        hd_status status;
    } rows[] = {
        {"{", "bad json", HD_E_FORMAT},
        {"3", "a schema must be an object", HD_E_FORMAT},
        {"{\"type\": \"thing\"}", "'type' is not one of JSON's", HD_E_FORMAT},
        {"{\"type\": []}", "'type' must be", HD_E_FORMAT},
        {"{\"enum\": []}", "'enum' must be", HD_E_FORMAT},
        {"{\"anyOf\": []}", "'anyOf' must be", HD_E_FORMAT},
        {"{\"$ref\": \"#/nowhere\"}", "leads nowhere", HD_E_FORMAT},
        {"{\"$ref\": \"http://x/y\"}", "leads nowhere", HD_E_FORMAT},
        {"{\"$ref\": \"#\"}", "circle", HD_E_FORMAT},
        {"{\"minLength\": 3, \"maxLength\": 2}", "exceeds", HD_E_FORMAT},
        {"{\"minLength\": -1}", "whole number", HD_E_FORMAT},
        {"{\"minItems\": 3, \"maxItems\": 2}", "no array", HD_E_FORMAT},
        {"{\"type\": \"integer\", \"minimum\": 3, \"maximum\": 2}", "no value can match",
         HD_E_FORMAT},
        {"{\"pattern\": 1}", "must be a string", HD_E_FORMAT},
        {"{\"pattern\": \"(?=a)\"}", "'(?'", HD_E_UNSUPPORTED},
        {"{\"pattern\": \"a\\\\b\"}", "'\\b'", HD_E_UNSUPPORTED},
        {"{\"pattern\": \"[z-a]\"}", "backwards", HD_E_FORMAT},
        {"{\"pattern\": \"(a\"}", "expected ')'", HD_E_FORMAT},
        {"{\"pattern\": \"*\"}", "nothing to repeat", HD_E_FORMAT},
        {"{\"properties\": [], \"type\": \"object\"}", "'properties' must be", HD_E_FORMAT},
        {"{\"required\": [\"x\"], \"additionalProperties\": false}", "'x' is required",
         HD_E_FORMAT},
        {"{\"properties\": {\"a\": {\"$ref\": \"#\"}}, \"required\": [\"a\"]}",
         "no value can match", HD_E_FORMAT},
        {"{\"anyOf\": [{\"$ref\": \"#\"}, {\"type\": \"null\"}]}", "refers to itself",
         HD_E_UNSUPPORTED},
        {"false", "no value can match", HD_E_FORMAT},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        hd_err err = {0};
        hd_grammar *g = NULL;
        hd_status status = compile(hd_str_from(rows[i].schema), true, NULL, &g, &err);
        if (status != rows[i].status || !strstr(err.text, rows[i].why))
            fail_msg("%s: %d '%s'", rows[i].schema, status, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types),         cmocka_unit_test(strings),     cmocka_unit_test(numbers),
        cmocka_unit_test(random_bounds), cmocka_unit_test(arrays),      cmocka_unit_test(objects),
        cmocka_unit_test(combinations),  cmocka_unit_test(unsupported), cmocka_unit_test(broken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
