/* Tools: calls in DSML, which the strict parser reads back, in each mode and spelling. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/rng.h"
#include "cli/eval_schema.h"
#include "support/constrain_run.h"
#include "text/parse_strict.h"

#define D                      HD_TOKEN_DSML
#define EOS                    HD_TOKEN_EOS
#define OPEN                   "\n\n<" D "tool_calls>\n"
#define CLOSE                  "</" D "tool_calls>" EOS
#define CALL(name, parameters) "<" D "invoke name=\"" name "\">\n" parameters "</" D "invoke>\n"
#define PARAM(name, is_string, value)                                                              \
    "<" D "parameter name=\"" name "\" string=\"" is_string "\">" value "</" D "parameter>\n"

static const char tools[] =
    "[{\"type\": \"function\", \"function\": {\"name\": \"read\", \"parameters\": {\"type\": "
    "\"object\", \"properties\": {\"path\": {\"type\": \"string\", \"maxLength\": 20}, \"lines\": "
    "{\"type\": \"array\", \"items\": {\"type\": \"integer\"}, \"maxItems\": 2}, \"mode\": "
    "{\"enum\": "
    "[\"text\", \"raw\", 3]}}, \"required\": [\"path\"], \"additionalProperties\": false}}}, "
    "{\"type\": \"function\", \"function\": {\"name\": \"read_all\", \"parameters\": {\"type\": "
    "\"object\", \"properties\": {}}}}, {\"type\": \"function\", \"function\": {\"name\": \"run\", "
    "\"parameters\": {\"type\": \"object\", \"properties\": {\"cmd\": {\"type\": [\"string\", "
    "\"null\"]}, \"opts\": {\"$ref\": \"#/$defs/o\"}}, \"required\": [\"opts\"], \"$defs\": "
    "{\"o\": "
    "{\"type\": \"object\", \"properties\": {\"n\": {\"type\": \"number\"}}, \"required\": "
    "[\"n\"], "
    "\"additionalProperties\": false}}, \"additionalProperties\": false}}}]";

static hd_grammar_source tools_source(const char *text, hd_tool_choice choice)
{
    return (hd_grammar_source){.kind = HD_GRAMMAR_TOOLS,
                               .text = hd_str_from(text),
                               .choice = choice,
                               .tool_name = HD_STR("run"),
                               .rules = hd_chat_rules_find(HD_STR("v4"), HD_STR(""))};
}

typedef struct row {
    const char *text;
    int at; /* what constrain_follow tells; 1: refused somewhere */
} row;

static void check_rows(const hd_grammar_source *source, const row *rows, size_t n)
{
    hd_grammar *g = constrain_compile(constrain_tiny(), source);
    for (size_t i = 0; i < n; i++) {
        int at = constrain_follow(g, hd_str_from(rows[i].text));
        if (rows[i].at > 0 ? at < 0 : at != rows[i].at)
            fail_msg("row %zu '%s': %d", i, rows[i].text, at);
    }
    hd_grammar_unref(g);
}

static void required_calls(void **state)
{
    (void)state;
    static const row rows[] = {
        {OPEN CALL("read", PARAM("path", "true", "a/b")) CLOSE, CONSTRAIN_COMPLETE},
        {OPEN CALL("read", PARAM("path", "true", "")) CALL("read_all", "\n") CLOSE,
         CONSTRAIN_COMPLETE},
        {OPEN CALL("read_all", "") CLOSE, CONSTRAIN_COMPLETE},
        {OPEN CALL("read", PARAM("lines", "false", "[1, 2]") PARAM("path", "true", "</<x")) CLOSE,
         CONSTRAIN_COMPLETE},
        {OPEN CALL("read", PARAM("mode", "true", "raw") PARAM("path", "true", "x")) CLOSE,
         CONSTRAIN_COMPLETE},
        {OPEN CALL("read", PARAM("mode", "false", "3") PARAM("path", "true", "x")) CLOSE,
         CONSTRAIN_COMPLETE},
        {OPEN CALL("run", PARAM("opts", "false", "{\"n\": 1.5}")) CLOSE, CONSTRAIN_COMPLETE},
        {OPEN CALL("run", PARAM("cmd", "false", "null") PARAM("opts", "false", "{\"n\": 1}")) CLOSE,
         CONSTRAIN_COMPLETE},
        {OPEN CALL("run", PARAM("cmd", "true", "null") PARAM("opts", "false", "{\"n\": 1}")) CLOSE,
         CONSTRAIN_COMPLETE},
        /* not these */
        {OPEN, CONSTRAIN_PREFIX},
        {"", CONSTRAIN_PREFIX},
        {"text", 1},
        {EOS, 1},
        {OPEN CLOSE, 1},
        {OPEN CALL("read", "\n") CLOSE, 1}, /* path is required */
        {OPEN CALL("reed", "\n") CLOSE, 1},
        {OPEN CALL("read", PARAM("path", "false", "\"x\"")) CLOSE, 1},
        {OPEN CALL("read", PARAM("path", "true", "a") PARAM("path", "true", "b")) CLOSE, 1},
        {OPEN CALL("read", PARAM("path", "true", "a") PARAM("other", "true", "b")) CLOSE, 1},
        {OPEN CALL("read", PARAM("path", "true", "123456789012345678901")) CLOSE, 1},
        {OPEN CALL("read", PARAM("path", "true", "a") PARAM("mode", "true", "bin")) CLOSE, 1},
        {OPEN CALL("read", PARAM("path", "true", "a") PARAM("mode", "false", "\"raw\"")) CLOSE, 1},
        {OPEN CALL("read", PARAM("path", "true", "a") PARAM("lines", "false", "[1, 2, 3]")) CLOSE,
         1},
        {OPEN CALL("run", PARAM("opts", "true", "{}")) CLOSE, 1},
        {OPEN CALL("run", PARAM("cmd", "false", "\"x\"") PARAM("opts", "false", "{\"n\": 1}"))
             CLOSE,
         1},
        {OPEN CALL("read_all", "") "</" D "tool_calls>"
                                   "\n",
         1},
        {OPEN CALL("read_all", "") "</" D "tool_calls>" EOS EOS, 1},
        {OPEN CALL("read_all", "") CALL("read_all", "\n\n") CLOSE, 1},
    };
    hd_grammar_source source = tools_source(tools, HD_TOOLS_REQUIRED);
    check_rows(&source, rows, HD_COUNT(rows));
}

static void modes(void **state)
{
    (void)state;
    static const row named[] = {
        {OPEN CALL("run", PARAM("opts", "false", "{\"n\": 1}")) CLOSE, CONSTRAIN_COMPLETE},
        {OPEN CALL("read_all", "\n") CLOSE, 1}};
    static const row automatic[] = {
        {"", CONSTRAIN_COMPLETE},
        {EOS, CONSTRAIN_COMPLETE},
        {"Hello <b> \xFF" EOS, CONSTRAIN_COMPLETE},
        {"Let me see." OPEN CALL("read_all", "\n") CLOSE, CONSTRAIN_COMPLETE},
        {"a <" D "tool_calls>\n" CALL("read_all", "\n") CLOSE, CONSTRAIN_COMPLETE},
        {"a " D, 1},
        {"a" HD_TOKEN_USER, 1},
        {"a" HD_TOKEN_THINK, 1},
        {"a" HD_TOKEN_END_THINK, 1},
        {"a" OPEN EOS, 1},
        {"a" OPEN CALL("other", "\n") CLOSE, 1}};
    static const row none[] = {{"a" EOS, CONSTRAIN_COMPLETE}, {"a\n\n<" D, 1}};
    static const row once[] = {{OPEN CALL("read_all", "\n") CLOSE, CONSTRAIN_COMPLETE},
                               {OPEN CALL("read_all", "\n") CALL("read_all", "\n") CLOSE, 1}};
    static const row thinks[] = {
        {"why?\n\n<" HD_TOKEN_END_THINK OPEN CALL("read_all", "\n") CLOSE, CONSTRAIN_COMPLETE},
        {"why?" EOS, 1},
        {"why?\n\n<" D, 1},
        {OPEN, 1}};
    static const row new_tags[] = {{"\n\n<" D " calls>\n<" D " invoke name=\"read_all\">\n\n</" D
                                    " invoke>\n</" D " calls>" EOS,
                                    CONSTRAIN_COMPLETE},
                                   {OPEN CALL("read_all", "\n") CLOSE, 1}};
    static const row begun[] = {
        {CALL("read_all", "\n") CLOSE, CONSTRAIN_COMPLETE},
        {CALL("read_all", "\n") CALL("read_all", "") CLOSE, CONSTRAIN_COMPLETE},
        {OPEN, 1},
        {CLOSE, 1},
        {"a", 1},
        {EOS, 1}};
    hd_grammar_source source = tools_source(tools, HD_TOOLS_NAMED);
    check_rows(&source, named, HD_COUNT(named));
    source.choice = HD_TOOLS_AUTO;
    check_rows(&source, automatic, HD_COUNT(automatic));
    source.choice = HD_TOOLS_NONE;
    check_rows(&source, none, HD_COUNT(none));
    source.choice = HD_TOOLS_REQUIRED;
    source.one_call = true;
    check_rows(&source, once, HD_COUNT(once));
    source.one_call = false;
    source.in_block = true;
    check_rows(&source, begun, HD_COUNT(begun));
    source.in_block = false;
    source.thinks = true;
    check_rows(&source, thinks, HD_COUNT(thinks));
    source.thinks = false;
    source.rules = hd_chat_rules_find(HD_STR("v4.1"), HD_STR(""));
    check_rows(&source, new_tags, HD_COUNT(new_tags));
}

/* Free text does not exclude any ordinary token, nor allow control tokens. */
static void free_text_is_free(void **state)
{
    (void)state;
    const hd_vocab *v = constrain_official_vocab();
    hd_grammar_source source = tools_source(tools, HD_TOOLS_AUTO);
    source.thinks = true;
    hd_grammar *g = constrain_compile(constrain_official(), &source);
    size_t n_words = hd_vtrie_mask_words(constrain_official());
    static uint32_t mask[1 << 15];
    hd_matcher *m = NULL;
    assert_true(n_words <= HD_COUNT(mask));
    assert_int_equal(hd_matcher_create(g, &m, NULL), HD_OK);
    for (int is_content = 0; is_content < 2; is_content++) {
        hd_str allowed = is_content ? HD_STR(HD_TOKEN_EOS) : HD_STR(HD_TOKEN_END_THINK);
        assert_int_equal(hd_matcher_fill(m, mask, NULL), HD_OK);
        for (int32_t id = 0; id < (int32_t)hd_vocab_size(v); id++) {
            bool is_added = hd_vocab_flags(v, id) & HD_TOKEN_ADDED;
            bool expected = !is_added || hd_str_eq(hd_vocab_token_bytes(v, id), allowed);
            assert_int_equal(mask[id / 32] >> (id % 32) & 1, expected);
        }
        int32_t end = hd_vocab_find_added(v, HD_STR(HD_TOKEN_END_THINK));
        if (!is_content) assert_int_equal(hd_matcher_advance(m, end, NULL), HD_OK);
    }
    hd_matcher_destroy(m);
    hd_grammar_unref(g);
}

/* ---- random calls ---- */

/* The schema of a tool's parameters, with "$ref" written out for the validator. */
static const char *const plain_schemas[][2] = {
    {"read",
     "{\"type\": \"object\", \"properties\": {\"path\": {\"type\": \"string\", \"maxLength\": "
     "20}, \"lines\": {\"type\": \"array\", \"items\": {\"type\": \"integer\"}, \"maxItems\": "
     "2}, \"mode\": {\"enum\": [\"text\", \"raw\", 3]}}, \"required\": [\"path\"], "
     "\"additionalProperties\": false}"},
    {"read_all", "{\"type\": \"object\", \"additionalProperties\": false}"},
    {"run", "{\"type\": \"object\", \"properties\": {\"cmd\": {\"type\": [\"string\", \"null\"]}, "
            "\"opts\": {\"type\": \"object\", \"properties\": {\"n\": {\"type\": \"number\"}}, "
            "\"required\": [\"n\"], \"additionalProperties\": false}}, \"required\": [\"opts\"], "
            "\"additionalProperties\": false}"}};

static void check_call(hd_arena *arena, const hd_parsed_call *call)
{
    for (size_t i = 0; i < HD_COUNT(plain_schemas); i++) {
        const hd_json *schema, *value;
        hd_err err = {0};
        if (!hd_str_eqz(call->name, plain_schemas[i][0])) continue;
        assert_int_equal(
            hd_json_parse(hd_str_from(plain_schemas[i][1]), NULL, arena, &schema, &err), HD_OK);
        if (hd_json_parse(call->arguments, NULL, arena, &value, &err) != HD_OK)
            fail_msg("%.*s: %s", HD_STR_ARG(call->arguments), err.text);
        if (!hd_schema_obeys(schema, value))
            fail_msg("%s: %.*s", plain_schemas[i][0], HD_STR_ARG(call->arguments));
        return;
    }
    fail_msg("no tool '%.*s'", HD_STR_ARG(call->name));
}

static size_t check_answer(hd_str text, const hd_grammar_source *source)
{
    hd_arena arena;
    hd_parsed parsed;
    hd_err err = {0};
    hd_arena_init(&arena, 16 << 20);
    if (hd_parse_strict(text, source->rules, source->thinks, &arena, &parsed, &err) != HD_OK)
        fail_msg("'%.*s': %s", HD_STR_ARG(text), err.text);
    for (size_t i = 0; i < parsed.n_calls; i++) check_call(&arena, &parsed.calls[i]);
    size_t n = parsed.n_calls;
    hd_arena_deinit(&arena);
    return n;
}

static void draw_calls(const hd_vocab *v, hd_vtrie *t, unsigned n_draws, unsigned max_tokens,
                       unsigned check_every)
{
    size_t n_calls = 0;
    for (unsigned k = 0; k < n_draws; k++) {
        hd_grammar_source source = tools_source(tools, k % 4 ? HD_TOOLS_REQUIRED : HD_TOOLS_NAMED);
        source.thinks = k % 3 == 0;
        if (k % 5 == 0) source.rules = hd_chat_rules_find(HD_STR("v4.1"), HD_STR(""));
        hd_grammar *g = constrain_compile(t, &source);
        constrain_draw draw = {hd_rng_key(7, k), max_tokens, check_every};
        hd_buf text;
        hd_buf_init(&text, 1 << 20);
        constrain_random(v, t, g, &draw, &text);
        n_calls += check_answer(hd_buf_str(&text), &source);
        hd_buf_deinit(&text);
        hd_grammar_unref(g);
    }
    assert_true(n_calls >= n_draws);
}

static void tiny_calls_parse(void **state)
{
    (void)state;
    draw_calls(constrain_tiny_vocab(), constrain_tiny(), 40, 120, 1);
}

static void official_calls_parse(void **state)
{
    (void)state;
    draw_calls(constrain_official_vocab(), constrain_official(), 6, 60, 499);
}

/* ---- what cannot be held to ---- */

static hd_status compile(const char *text, bool strict, hd_buf *warnings, hd_grammar **g,
                         hd_err *err)
{
    hd_grammar_source source = tools_source(text, HD_TOOLS_REQUIRED);
    source.strict = strict;
    source.limit_ms = 10000;
    return hd_grammar_compile(constrain_tiny(), &source, warnings, g, err);
}

static void loose_tools(void **state)
{
    (void)state;
    static const struct {
        const char *tools, *why, *call;
    } rows[] = {
        {"[{\"name\": \"a<b\", \"parameters\": {\"type\": \"object\", \"properties\": {}}}]",
         "has a name with a quote", OPEN CALL("a<b", PARAM("x", "true", "1")) CLOSE},
        {"[{\"name\": \"t\", \"parameters\": {\"properties\": {\"a\\\"b\": {}}}}]",
         "has a parameter name", OPEN CALL("t", PARAM("x", "false", "[1]")) CLOSE},
        {"[{\"name\": \"t\", \"parameters\": {\"not\": {}}}]", "'not'",
         OPEN CALL("t", PARAM("x", "true", "1") PARAM("y", "false", "{}")) CLOSE},
        {"[{\"name\": \"t\", \"parameters\": {\"type\": \"object\", \"properties\": {\"p\": "
         "{\"multipleOf\": 2}}}}]",
         "'multipleOf'", OPEN CALL("t", PARAM("p", "false", "3")) CLOSE},
        {"[{\"name\": \"t\", \"parameters\": {\"anyOf\": [{}]}}]", "not one object",
         OPEN CALL("t", "\n") CLOSE},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        hd_err err = {0};
        hd_grammar *g = NULL;
        hd_buf warnings;
        hd_buf_init(&warnings, 4096);
        assert_int_equal(compile(rows[i].tools, true, NULL, &g, &err), HD_E_UNSUPPORTED);
        if (!strstr(err.text, rows[i].why)) fail_msg("%s", err.text);
        if (compile(rows[i].tools, false, &warnings, &g, &err) != HD_OK) fail_msg("%s", err.text);
        assert_non_null(strstr(warnings.ptr, rows[i].why));
        int at = constrain_follow(g, hd_str_from(rows[i].call));
        if (at != CONSTRAIN_COMPLETE) fail_msg("'%s' stops at %d", rows[i].call, at);
        hd_grammar_unref(g);
        hd_buf_deinit(&warnings);
    }
}

static void broken_tools(void **state)
{
    (void)state;
    static const struct {
        const char *tools, *why;
        hd_status status;
    } rows[] = {
        {"{}", "tools must be an array", HD_E_FORMAT},
        {"[]", "tools must be an array", HD_E_FORMAT},
        {"[{}]", "must have a 'name'", HD_E_FORMAT},
        {"[{\"name\": \"t\", \"parameters\": 3}]", "must be an object", HD_E_FORMAT},
        {"[{\"name\": \"t\", \"strict\": true, \"parameters\": {\"not\": {}}}]", "'not'",
         HD_E_UNSUPPORTED},
        {"[{\"name\": \"t\", \"parameters\": {\"properties\": {\"a\": {\"enum\": [\"" D "\"]}}}}]",
         "no value can match", HD_E_FORMAT},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        hd_err err = {0};
        hd_grammar *g = NULL;
        hd_status status = compile(rows[i].tools, false, NULL, &g, &err);
        if (status != rows[i].status || !strstr(err.text, rows[i].why))
            fail_msg("%s: %d '%s'", rows[i].tools, status, err.text);
    }
    hd_grammar_source source = tools_source(tools, HD_TOOLS_NAMED);
    hd_grammar *g = NULL;
    hd_err err = {0};
    source.tool_name = HD_STR("walk");
    source.limit_ms = 10000;
    assert_int_equal(hd_grammar_compile(constrain_tiny(), &source, NULL, &g, &err), HD_E_NOTFOUND);
    assert_non_null(strstr(err.text, "'walk'"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(required_calls),       cmocka_unit_test(modes),
        cmocka_unit_test(free_text_is_free),    cmocka_unit_test(tiny_calls_parse),
        cmocka_unit_test(official_calls_parse), cmocka_unit_test(loose_tools),
        cmocka_unit_test(broken_tools),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
