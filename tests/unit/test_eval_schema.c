/* JSON Schema in part: what obeys, what is refused, when values are the same. Expected results are
 * those of the JSON Schema specification (2020-12), row by row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "cli/eval_schema.h"

static hd_arena arena;

static const hd_json *parse(const char *text)
{
    const hd_json *node;
    hd_err err;
    if (hd_json_parse(hd_str_from(text), NULL, &arena, &node, &err) != HD_OK)
        fail_msg("%s: %s", text, err.text);
    return node;
}

static void values_obey_or_not(void **state)
{
    (void)state;
    static const struct {
        const char *schema, *value;
        bool obeys;
    } rows[] = {
        {"true", "1", true},
        {"false", "1", false},
        {"{}", "null", true},
        {"{\"type\": \"null\"}", "null", true},
        {"{\"type\": \"null\"}", "0", false},
        {"{\"type\": \"boolean\"}", "false", true},
        {"{\"type\": \"boolean\"}", "\"false\"", false},
        {"{\"type\": \"string\"}", "\"1\"", true},
        {"{\"type\": \"string\"}", "1", false},
        {"{\"type\": \"number\"}", "1.5", true},
        {"{\"type\": \"number\"}", "\"1.5\"", false},
        {"{\"type\": \"integer\"}", "1", true},
        {"{\"type\": \"integer\"}", "1.0", true},
        {"{\"type\": \"integer\"}", "1e3", true},
        {"{\"type\": \"integer\"}", "123456789012345678901234567890", true},
        {"{\"type\": \"integer\"}", "1.5", false},
        {"{\"type\": \"integer\"}", "\"1\"", false},
        {"{\"type\": \"array\"}", "{}", false},
        {"{\"type\": \"object\"}", "{}", true},
        {"{\"type\": [\"string\", \"null\"]}", "null", true},
        {"{\"type\": [\"string\", \"null\"]}", "\"\"", true},
        {"{\"type\": [\"string\", \"null\"]}", "0", false},
        {"{\"required\": [\"a\"]}", "{\"a\": null}", true},
        {"{\"required\": [\"a\"]}", "{\"b\": 1}", false},
        {"{\"required\": [\"a\"]}", "[]", true}, /* says nothing of arrays */
        {"{\"properties\": {\"a\": {\"type\": \"integer\"}}}", "{\"a\": 1, \"b\": []}", true},
        {"{\"properties\": {\"a\": {\"type\": \"integer\"}}}", "{\"a\": \"1\"}", false},
        {"{\"properties\": {\"a\": {}}, \"additionalProperties\": false}", "{\"a\": 1}", true},
        {"{\"properties\": {\"a\": {}}, \"additionalProperties\": false}", "{\"b\": 1}", false},
        {"{\"additionalProperties\": {\"type\": \"string\"}}", "{\"b\": \"\"}", true},
        {"{\"additionalProperties\": {\"type\": \"string\"}}", "{\"b\": 1}", false},
        {"{\"items\": {\"type\": \"integer\"}}", "[1, 2]", true},
        {"{\"items\": {\"type\": \"integer\"}}", "[1, \"2\"]", false},
        {"{\"items\": {\"items\": {\"type\": \"integer\"}}}", "[[1], [2, true]]", false},
        {"{\"items\": false}", "[]", true},
        {"{\"items\": false}", "[0]", false},
        {"{\"enum\": [\"a\", 1, null]}", "1.0", true},
        {"{\"enum\": [\"a\", 1, null]}", "\"1\"", false},
        {"{\"enum\": [\"a\", 1, null]}", "null", true},
        {"{\"const\": {\"a\": [1]}}", "{\"a\": [1]}", true},
        {"{\"const\": {\"a\": [1]}}", "{\"a\": [1, 2]}", false},
        {"{\"minimum\": 2, \"maximum\": 2.5}", "2", true},
        {"{\"minimum\": 2, \"maximum\": 2.5}", "2.5", true},
        {"{\"minimum\": 2, \"maximum\": 2.5}", "1.99", false},
        {"{\"minimum\": 2, \"maximum\": 2.5}", "3", false},
        {"{\"minimum\": 2}", "\"1\"", true},
        {"{\"minItems\": 1, \"maxItems\": 2}", "[]", false},
        {"{\"minItems\": 1, \"maxItems\": 2}", "[1, 2]", true},
        {"{\"minItems\": 1, \"maxItems\": 2}", "[1, 2, 3]", false},
        {"{\"minLength\": 2, \"maxLength\": 3}", "\"\\u00e9\"", false},
        {"{\"minLength\": 2, \"maxLength\": 3}", "\"\\u00e9\\ud83d\\ude00x\"", true},
        {"{\"minLength\": 2, \"maxLength\": 3}", "\"abcd\"", false},
        {"{\"title\": \"t\", \"description\": \"d\", \"default\": 1, \"examples\": []}", "2", true},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        const hd_json *schema = parse(rows[i].schema);
        hd_err err;
        if (hd_schema_check(schema, &err) != HD_OK) fail_msg("%s: %s", rows[i].schema, err.text);
        if (hd_schema_obeys(schema, parse(rows[i].value)) != rows[i].obeys)
            fail_msg("%s, %s", rows[i].schema, rows[i].value);
    }
}

static void what_cannot_be_checked_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *schema;
        hd_status code;
        const char *text, *path;
    } rows[] = {
        {"{\"a\": {\"pattern\": \"x\"}}", HD_E_UNSUPPORTED, "'pattern' is a keyword", "a.pattern"},
        {"{\"a\": {\"type\": \"object\", \"properties\": {\"b\": {\"oneOf\": []}}}}",
         HD_E_UNSUPPORTED, "'oneOf' is a keyword", "a.properties.b.oneOf"},
        {"{\"a\": {\"items\": {\"format\": \"date\"}}}", HD_E_UNSUPPORTED, "'format'",
         "a.items.format"},
        {"{\"a\": {\"type\": \"float\"}}", HD_E_FORMAT, "'type' must be null, boolean", "a.type"},
        {"{\"a\": {\"type\": []}}", HD_E_FORMAT, "'type' must be", "a.type"},
        {"{\"a\": {\"type\": [\"string\", 1]}}", HD_E_FORMAT, "'type' must be", "a.type"},
        {"{\"a\": {\"required\": \"b\"}}", HD_E_FORMAT, "must be a list of names", "a.required"},
        {"{\"a\": {\"required\": [1]}}", HD_E_FORMAT, "must be a list of names", "a.required"},
        {"{\"a\": {\"properties\": []}}", HD_E_FORMAT, "an object of schemas", "a.properties"},
        {"{\"a\": {\"enum\": 1}}", HD_E_FORMAT, "must be a list of values", "a.enum"},
        {"{\"a\": {\"minimum\": \"1\"}}", HD_E_FORMAT, "must be a number", "a.minimum"},
        {"{\"a\": {\"maxItems\": -1}}", HD_E_FORMAT, "must be an integer from 0", "a.maxItems"},
        {"{\"a\": {\"minLength\": 1.5}}", HD_E_FORMAT, "must be an integer from 0", "a.minLength"},
        {"{\"a\": {\"additionalProperties\": 1}}", HD_E_FORMAT, "must be a schema",
         "a.additionalProperties"},
        {"{\"a\": 1}", HD_E_FORMAT, "'a' must be a schema: an object, true or false", "a"},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        hd_err err = {0};
        assert_int_equal(hd_schema_check(parse(rows[i].schema)->child, &err), rows[i].code);
        if (!strstr(err.text, rows[i].text)) fail_msg("%s: %s", rows[i].schema, err.text);
        assert_string_equal(err.path, rows[i].path);
    }
}

static void values_are_the_same_or_not(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool same;
    } rows[] = {
        {"1", "1.0", true},
        {"1", "\"1\"", false},
        {"0", "false", false},
        {"0", "-0.0", true},
        {"100", "1e2", true},
        {"9007199254740993", "9007199254740992", false}, /* the same as doubles */
        {"123456789012345678901234567890", "123456789012345678901234567890", true},
        {"true", "true", true},
        {"true", "false", false},
        {"null", "null", true},
        {"\"a\"", "\"\\u0061\"", true},
        {"\"a\"", "\"A\"", false},
        {"[1, 2]", "[1, 2.0]", true},
        {"[1, 2]", "[2, 1]", false},
        {"[1]", "[1, 1]", false},
        {"{\"a\": 1, \"b\": [{}]}", "{\"b\": [{}], \"a\": 1.0}", true},
        {"{\"a\": 1}", "{\"a\": 1, \"b\": 2}", false},
        {"{\"a\": 1, \"c\": 2}", "{\"a\": 1, \"b\": 2}", false},
        {"{}", "[]", false},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        const hd_json *a = parse(rows[i].a), *b = parse(rows[i].b);
        if (hd_json_same(a, b) != rows[i].same || hd_json_same(b, a) != rows[i].same)
            fail_msg("%s, %s", rows[i].a, rows[i].b);
    }
}

static int set_up(void **state)
{
    (void)state;
    hd_arena_init(&arena, 1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hd_arena_deinit(&arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_obey_or_not),
        cmocka_unit_test(what_cannot_be_checked_is_refused),
        cmocka_unit_test(values_are_the_same_or_not),
    };
    return cmocka_run_group_tests_name("eval_schema", tests, set_up, tear_down);
}
