/* Tool markup: what is written for tools and calls, and how heads of tags are read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "text/dsml.h"
#include "text/dsml_tag.h"

static const hd_chat_rules *v4, *v41;
static hd_arena arena;
static hd_prompt prompt;

static int set_up(void **state)
{
    (void)state;
    v4 = hd_chat_rules_find(HD_STR("v4"), HD_STR(""));
    v41 = hd_chat_rules_find(HD_STR("v4.1"), HD_STR(""));
    hd_arena_init(&arena, 16 << 20);
    hd_prompt_init(&prompt, 16 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hd_arena_deinit(&arena);
    hd_prompt_deinit(&prompt);
    return 0;
}

static const hd_json *parse(const char *text)
{
    const hd_json *root;
    hd_err err = {0};
    if (hd_json_parse(hd_str_from(text), NULL, &arena, &root, &err) != HD_OK)
        fail_msg("%s: %s", text, err.text);
    return root;
}

/* The calls block of one call, or the error. */
static const char *calls(const hd_chat_rules *rules, const char *json)
{
    static hd_err err;
    hd_prompt_reset(&prompt);
    hd_status status = hd_dsml_add_calls(&prompt, rules, parse(json), &err);
    if (status != HD_OK) return err.text;
    assert_int_equal(hd_prompt_status(&prompt, NULL), HD_OK);
    return prompt.text.ptr;
}

#define HEAD(c, i) "<｜DSML｜" c ">\n<｜DSML｜" i " name=\"t\">\n"
#define TAIL(c, i) "</｜DSML｜" i ">\n</｜DSML｜" c ">"
#define CALL(args) "[{\"function\": {\"name\": \"t\", \"arguments\": " args "}}]"
#define PARAM(n, s, v)                                                                             \
    "<｜DSML｜parameter name=\"" n "\" string=\"" s "\">" v "</｜DSML｜parameter>\n"
#define PARAM1(n, s, v)                                                                            \
    "<｜DSML｜ parameter name=\"" n "\" string=\"" s "\">" v "</｜DSML｜ parameter>\n"

static void arguments_become_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *args, *params;
    } rows[] = {
        {"\"{}\"", "\n"},
        {"\"{\\\"a\\\": \\\"x\\\\ny\\\", \\\"b\\\": [1, 1.0, 1e2, null]}\"",
         PARAM("a", "true", "x\ny") PARAM("b", "false", "[1, 1.0, 100.0, null]")},
        {"\"{\\\"a\\\":1,\\\"b\\\":2,\\\"a\\\":3}\"",
         PARAM("a", "false", "3") PARAM("b", "false", "2")},
        {"\"{\\\"x\\\": NaN, \\\"y\\\": -Infinity, \\\"z\\\": 1e999}\"",
         PARAM("x", "false", "NaN") PARAM("y", "false", "-Infinity")
             PARAM("z", "false", "Infinity")},
        {"\"not json\"", PARAM("arguments", "true", "not json")},
        {"\"\"", PARAM("arguments", "true", "")},
        {"\"[1]\"", PARAM("arguments", "true", "[1]")},
        {"\"{\\\"a\\\": \\\"\\\\ud800\\\"}\"", PARAM("arguments", "true", "{\"a\": \"\\ud800\"}")},
        {"\"\\\"{}\\\"\"", PARAM("arguments", "true", "\"{}\"")},
        {"null", PARAM("arguments", "false", "null")},
        {"{\"a\": 1}", PARAM("arguments", "false", "{\"a\": 1}")},
        {"7", PARAM("arguments", "false", "7")},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        char call[256], want[2048];
        snprintf(call, sizeof call, CALL("%s"), rows[i].args);
        snprintf(want, sizeof want, HEAD("tool_calls", "invoke") "%s" TAIL("tool_calls", "invoke"),
                 rows[i].params);
        assert_string_equal(calls(v4, call), want);
    }
    assert_string_equal(calls(v4, "[{\"function\": {\"name\": \"t\"}}]"),
                        HEAD("tool_calls", "invoke") "\n" TAIL("tool_calls", "invoke"));
}

static void v41_reads_objects_and_double_encoding(void **state)
{
    (void)state;
    static const struct {
        const char *args, *params;
    } rows[] = {
        {"{\"a\": 1}", PARAM1("a", "false", "1")},
        {"\"{\\\"a\\\": 1}\"", PARAM1("a", "false", "1")},
        {"\"\\\"{\\\\\\\"a\\\\\\\": 1}\\\"\"", PARAM1("a", "false", "1")},
        {"\"\\\"\\\\\\\"{}\\\\\\\"\\\"\"", PARAM1("arguments", "true", "\"\\\"{}\\\"\"")},
        {"\"[1]\"", PARAM1("arguments", "true", "[1]")},
        {"[1]", PARAM1("arguments", "false", "[1]")},
        {"null", PARAM1("arguments", "false", "null")},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        char call[256], want[2048];
        snprintf(call, sizeof call, CALL("%s"), rows[i].args);
        snprintf(want, sizeof want, HEAD(" calls", " invoke") "%s" TAIL(" calls", " invoke"),
                 rows[i].params);
        assert_string_equal(calls(v41, call), want);
    }
}

static void integers_beyond_python_are_raw_text(void **state)
{
    (void)state;
    static char args[5000], call[6000], want[6000];
    for (int digits = 4300; digits <= 4301; digits++) {
        memset(args, '7', sizeof args);
        args[digits] = '\0';
        snprintf(call, sizeof call, CALL("\"{\\\"n\\\": %s}\""), args);
        snprintf(want, sizeof want,
                 digits > 4300 ? "arguments\" string=\"true\">{\"n\": 777"
                               : "n\" string=\"false\">777");
        assert_non_null(strstr(calls(v4, call), want));
    }
}

static void names_and_namespaces(void **state)
{
    (void)state;
    static const struct {
        const char *call, *want;
    } rows[] = {
        {"[{\"function\": {\"name\": \"f\"}, \"namespace\": \"ns\"}]", "invoke name=\"ns::f\">"},
        {"[{\"function\": {\"name\": \"f\", \"namespace\": \"ns\"}}]", "invoke name=\"ns::f\">"},
        {"[{\"function\": {\"name\": \"ns::f\"}, \"namespace\": {\"name\": \"ns\"}}]",
         "invoke name=\"ns::f\">"},
        {"[{\"function\": {\"name\": \"ns::f\"}, \"namespace\": null}]", "invoke name=\"ns::f\">"},
        {"[{\"function\": {\"name\": \"ns::f\"}, \"namespace\": \"other\"}]",
         "tool name 'ns::f' must be a name or 'namespace::name'"},
        {"[{\"function\": {\"name\": \"a::b::c\"}}]", "tool name 'a::b::c' must be"},
        {"[{\"function\": {\"name\": \"f\"}, \"namespace\": 5}]",
         "'name' must be a string, got nothing"},
        {"[{\"function\": {\"name\": 5}}]", "'name' must be a string, got 5"},
        {"[{\"function\": {}}]", "'name' must be a string, got nothing"},
        {"[{}]", "'[0].function' must be an object"},
        {"[5]", "'[0].function' must be an object"},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        const char *got = calls(v41, rows[i].call);
        if (!strstr(got, rows[i].want)) fail_msg("'%s' lacks '%s'", got, rows[i].want);
    }
    /* V4 knows none: names are names. */
    assert_non_null(strstr(calls(v4, "[{\"function\": {\"name\": \"a::b::c\"}}]"), "\"a::b::c\">"));
}

static const char *schema(const char *tool)
{
    static hd_err err;
    char json[1000];
    snprintf(json, sizeof json, "[%s]", tool);
    hd_prompt_reset(&prompt);
    if (hd_dsml_add_tools(&prompt, v41, parse(json), &err) != HD_OK) return err.text;
    char *line = strstr(prompt.text.ptr, "Schemas\n\n") + 9;
    *strstr(line, "\n\nYou MUST") = '\0';
    return line;
}

static void tools_of_a_namespace(void **state)
{
    (void)state;
    assert_string_equal(
        schema("{\"function\": {\"x\": 1.50, \"name\": \"f\", \"namespace\": \"n\", "
               "\"description\": \"d\"}}"),
        "{\"x\": 1.5, \"name\": \"n::f\", \"description\": \"d\"}");
    assert_string_equal(schema("{\"namespace\": {\"name\": \"n\", \"description\": \"all\"}, "
                               "\"function\": {\"description\": \"d\", \"name\": \"f\"}}"),
                        "{\"description\": \"all\\nd\", \"name\": \"n::f\"}");
    assert_string_equal(schema("{\"namespace\": {\"name\": \"n\", \"description\": \"all\"}, "
                               "\"function\": {\"name\": \"f\", \"description\": null}}"),
                        "{\"name\": \"n::f\", \"description\": \"all\\n\"}");
    assert_string_equal(schema("{\"namespace\": {\"name\": \"n\", \"description\": null}, "
                               "\"function\": {\"name\": \"f\"}}"),
                        "{\"name\": \"n::f\"}");
    assert_string_equal(schema("{\"namespace\": {\"name\": \"n\", \"description\": \"all\"}, "
                               "\"function\": {\"name\": \"f\", \"description\": 5}}"),
                        "'description' must be a string, got 5");
    assert_string_equal(schema("{}"), "'[0].function' must be an object");
}

static void tags_are_single_tokens(void **state)
{
    (void)state;
    size_t n, n_dsml = 0;
    calls(v4, CALL("\"{\\\"a\\\": \\\"｜DSML｜\\\"}\""));
    const hd_prompt_mark *marks = hd_prompt_marks(&prompt, &n);
    for (size_t i = 0; i < n; i++) {
        hd_str s = {prompt.text.ptr + marks[i].begin, marks[i].end - marks[i].begin};
        n_dsml += hd_str_eqz(s, HD_TOKEN_DSML);
    }
    assert_int_equal(n, 6); /* not the one in the value */
    assert_int_equal(n_dsml, 6);
}

static void heads_of_tags(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        hd_dsml_tag_kind kind;
        const char *name;
        int is_string;
        size_t len; /* 0: not looked at */
    } rows[] = {
        {"", HD_TAG_MORE, "", 0, 0},
        {"inv", HD_TAG_MORE, "", 0, 0},
        {"invoke", HD_TAG_MORE, "", 0, 0},
        {"invoked ", HD_TAG_OTHER, "", 0, 7},
        {"tool_calls>x", HD_TAG_OTHER, "", 0, 10},
        {" calls>", HD_TAG_OTHER, "", 0, 6},
        {">", HD_TAG_OTHER, "", 0, 0},
        {"invoke>", HD_TAG_OTHER, "", 0, 6},
        {"invoke  ", HD_TAG_MORE, "", 0, 0},
        {"invoke nam", HD_TAG_MORE, "", 0, 0},
        {"invoke name=\"t", HD_TAG_MORE, "", 0, 0},
        {"invoke name=\"t\"", HD_TAG_INVOKE, "t", 0, 15},
        {"\n invoke\tname=\"a>b\" x", HD_TAG_INVOKE, "a>b", 0, 19},
        {"invoke name='t'>", HD_TAG_OTHER, "", 0, 0},
        {"invoke id=\"1\" name=\"t\">", HD_TAG_OTHER, "", 0, 0},
        {"invoke name=\"\">", HD_TAG_INVOKE, "", 0, 14},
        {"parameter name=\"a\" string=\"true\">v", HD_TAG_PARAMETER, "a", 1, 33},
        {"parameter name=\"a\" string=\"false\">", HD_TAG_PARAMETER, "a", 0, 34},
        {"parameter name=\"a\" string=\"false\"", HD_TAG_MORE, "", 0, 0},
        {"parameter name=\"a\" x=\"y\" string=\"true\" z >", HD_TAG_PARAMETER, "a", 1, 0},
        {"parameter name=\"a\"b\" string=\"true\">", HD_TAG_PARAMETER, "a\"b", 1, 0},
        {"parameter name=\"a>b\" string=\"true\">", HD_TAG_PARAMETER, "a>b", 1, 0},
        {"parameter name=\"a\" string=\"True\">v", HD_TAG_MORE, "", 0, 0},
        {"parameter name=\"a\">v", HD_TAG_MORE, "", 0, 0},
        {"parameter string=\"true\" name=\"a\">", HD_TAG_BAD_PARAMETER, "", 0, 0},
        {"parameter>", HD_TAG_OTHER, "", 0, 0},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        hd_dsml_tag tag = hd_dsml_read_tag(hd_str_from(rows[i].head));
        assert_int_equal(tag.kind, rows[i].kind);
        assert_true(hd_str_eqz(tag.name, rows[i].name));
        assert_int_equal(tag.is_string, rows[i].is_string);
        if (rows[i].len) assert_int_equal(tag.len, rows[i].len);
    }
}

/* What was decided on the first bytes stays decided, whatever follows. */
static void heads_are_decided_once(void **state)
{
    (void)state;
    static const char *const heads[] = {
        "tool_calls>", "invoke name=\"t\" x>", " parameter name=\"a\" string=\"true\">v\" b",
        "parameter name=\"a\" y=\"string=\" string=\"false\" string=\"true\">", "parameter x"};
    for (size_t i = 0; i < HD_COUNT(heads); i++) {
        hd_str s = hd_str_from(heads[i]);
        hd_dsml_tag last = hd_dsml_read_tag(s);
        for (size_t n = s.len; n-- > 0;) {
            hd_dsml_tag tag = hd_dsml_read_tag((hd_str){s.ptr, n});
            if (tag.kind == HD_TAG_MORE) break;
            assert_int_equal(tag.kind, last.kind);
            assert_int_equal(tag.len, last.len);
            assert_true(hd_str_eq(tag.name, last.name));
        }
    }
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    const hd_json *tools = parse("[{\"namespace\": {\"name\": \"n\", \"description\": \"all\"}, "
                                 "\"function\": {\"name\": \"f\", \"description\": \"d\"}}]");
    const hd_json *two = parse(CALL("\"{\\\"a\\\": [1], \\\"b\\\": \\\"\\\\n\\\"}\""));
    long n = 0;
    hd_status status;
    do {
        hd_prompt p;
        hd_prompt_init(&p, 1 << 20);
        hd_mem_fail_after(n++);
        status = hd_dsml_add_tools(&p, v41, tools, NULL);
        if (status == HD_OK) status = hd_dsml_add_calls(&p, v41, two, NULL);
        if (status == HD_OK) status = hd_prompt_status(&p, NULL);
        hd_mem_fail_after(-1);
        if (status != HD_OK) assert_int_equal(status, HD_E_NOMEM);
        hd_prompt_deinit(&p);
    } while (status != HD_OK);
    assert_in_range(n, 10, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_become_parameters),
        cmocka_unit_test(v41_reads_objects_and_double_encoding),
        cmocka_unit_test(integers_beyond_python_are_raw_text),
        cmocka_unit_test(names_and_namespaces),
        cmocka_unit_test(tools_of_a_namespace),
        cmocka_unit_test(tags_are_single_tokens),
        cmocka_unit_test(heads_of_tags),
        cmocka_unit_test(heads_are_decided_once),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
