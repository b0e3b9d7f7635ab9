/* Prompts and settings that the service's rows do not show: what hadal decides otherwise, limits,
 * sampling, constraints, turns whose ids are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/buf.h"
#include "server/canon.h"
#include "support/chat_vocab.h"
#include "text/chat_rules.h"

#define HIGH "Reasoning Effort: Absolute maximum"

static hd_tokenizer *tokenizer;
static hd_arena arena;

/* One request at a time. */
static hd_canon c;
static hd_submit submit;
static hd_constraint constraint;
static hd_ids ids;
static hd_buf text;
static hd_err err;

static const hd_canon_rules plain = {
    .release = HD_RELEASE_0731, .max_context = 1 << 20, .fim_max_tokens = 4096};

static int set_up(void **state)
{
    (void)state;
    tokenizer = chat_vocab_open();
    hd_arena_init(&arena, (size_t)16 << 20);
    hd_ids_init(&ids, 1 << 20);
    hd_buf_init(&text, 1 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hd_buf_deinit(&text);
    hd_ids_deinit(&ids);
    hd_arena_deinit(&arena);
    hd_tokenizer_close(tokenizer);
    return 0;
}

static void decode(void)
{
    hd_decoder *d;
    const char *part;
    size_t len;
    hd_buf_reset(&text);
    assert_int_equal(hd_decoder_create(tokenizer, 0, &d, NULL), HD_OK);
    for (int32_t i = 0; i < submit.n_ids; i++) {
        assert_int_equal(hd_decoder_push(d, submit.ids[i], &part, &len, NULL), HD_OK);
        hd_buf_add(&text, part, len);
    }
    hd_decoder_destroy(d);
}

static void parse(hd_dialect dialect, const char *body)
{
    const hd_json *json;
    hd_arena_reset(&arena);
    err = (hd_err){0};
    assert_int_equal(hd_json_parse(hd_str_from(body), NULL, &arena, &json, &err), HD_OK);
    if (hd_canon_parse(dialect, json, &arena, &c, &err) != HD_OK) fail_msg("%s", err.text);
}

static hd_status finish(const hd_canon_rules *rules)
{
    hd_ids_reset(&ids);
    hd_status status =
        hd_canon_render(&c, rules, tokenizer, &arena, &ids, &submit, &constraint, &err);
    if (status == HD_OK) decode();
    return status;
}

static void render(hd_dialect dialect, const char *body, const hd_canon_rules *rules)
{
    parse(dialect, body);
    if (finish(rules) != HD_OK) fail_msg("%s: %s", body, err.text);
}

static void check_prompt(const char *want)
{
    if (!hd_str_eqz(hd_buf_str(&text), want))
        fail_msg("got  %.*s\nwant %s", HD_STR_ARG(hd_buf_str(&text)), want);
}

/* Whether a warning starts so. */
static bool warns(const char *start)
{
    for (int32_t i = 0; i < c.n_warnings; i++)
        if (strncmp(c.warnings[i], start, strlen(start)) == 0) return true;
    return false;
}

#define BOS        HD_TOKEN_BOS
#define EOS        HD_TOKEN_EOS
#define USER       HD_TOKEN_USER
#define SAYS       HD_TOKEN_ASSISTANT "</think>"
#define THINKS     HD_TOKEN_ASSISTANT "<think>"
#define D          HD_TOKEN_DSML
#define OFF        ", \"thinking\": {\"type\": \"disabled\"}}"
#define LOW        ", \"reasoning_effort\": \"low\"}"
#define SYSTEM(t)  "{\"role\": \"system\", \"content\": \"" t "\"}"
#define ASKS(t)    "{\"role\": \"user\", \"content\": \"" t "\"}"
#define ANSWERS(t) "{\"role\": \"assistant\", \"content\": \"" t "\"}"
#define TOOL_F     "{\"type\": \"function\", \"function\": {\"name\": \"f\"}}"

/* ---- system messages behind the front ---- */

static void later_system_messages(void **state)
{
    (void)state;
    static const char list[] = SYSTEM("A") ", " SYSTEM("B") ", " ASKS("q") ", " SYSTEM(
        "C") ", " ASKS("r") ", " ANSWERS("s") ", " SYSTEM("D") ", " ASKS("t");
    char body[1024];
    snprintf(body, sizeof body, "{\"messages\": [%s]" OFF, list);
    render(HD_DIALECT_CHAT, body, &plain);
    check_prompt(BOS "A\n\nB" USER "q\n\nC" USER "r" SAYS "s" EOS "D" USER "t" SAYS);
    render(HD_DIALECT_MESSAGES, body, &plain);
    check_prompt(BOS USER "<system-reminder>\nA\n</system-reminder>\n\n<system-reminder>\nB\n"
                          "</system-reminder>\n\nq\n\n<system-reminder>\nC\n</system-reminder>"
                          "\n\nr" SAYS "s" EOS USER "<system-reminder>\nD\n</system-reminder>\n\n"
                          "t" SAYS);
    snprintf(body, sizeof body, "{\"input\": [%s], \"reasoning\": {\"effort\": \"none\"}}", list);
    render(HD_DIALECT_RESPONSES, body, &plain);
    check_prompt(BOS "A\n\nB" USER "q\n\nC" USER "r" SAYS "s" EOS "D" USER "t" SAYS);
}

/* ---- what was sampled before ---- */

static void known_ids(void **state)
{
    (void)state;
    static const char body[] =
        "{\"messages\": [" ASKS("q") ", {\"role\": \"assistant\", \"content\": \"a\", "
                                     "\"reasoning_content\": \"r\"}, " ASKS("p") "], \"tools\": "
                                                                                 "[" TOOL_F "]" LOW;
    static const int32_t sampled[] = {'X', 'Y'}, thought[] = {'T'};
    parse(HD_DIALECT_CHAT, body);
    c.turns->next->thought = thought;
    c.turns->next->n_thought = 1;
    assert_int_equal(finish(&plain), HD_OK);
    assert_non_null(strstr(text.ptr, USER "q" THINKS "T</think>a" EOS USER "p" THINKS));
    parse(HD_DIALECT_CHAT, body);
    c.turns->next->sampled = sampled;
    c.turns->next->n_sampled = 2;
    c.turns->next->sampled_thinks = true;
    assert_int_equal(finish(&plain), HD_OK);
    assert_non_null(strstr(text.ptr, USER "q" THINKS "XY" EOS USER "p" THINKS));
    parse(HD_DIALECT_CHAT, body); /* it did not think, but this prompt does */
    c.turns->next->sampled = sampled;
    c.turns->next->n_sampled = 2;
    assert_int_equal(finish(&plain), HD_OK);
    assert_non_null(strstr(text.ptr, USER "q" THINKS "r</think>a" EOS USER "p" THINKS));
}

static void missing_reasoning(void **state)
{
    (void)state;
    render(HD_DIALECT_CHAT,
           "{\"messages\": [{\"role\": \"assistant\", \"tool_calls\": [{\"id\": \"c\", "
           "\"function\": {\"name\": \"f\", \"arguments\": \"{}\"}}]}, {\"role\": \"tool\", "
           "\"tool_call_id\": \"c\", \"content\": \"1\"}], \"tools\": [" TOOL_F "]" LOW,
           &plain);
    assert_true(warns("reasoning-missing"));
    render(HD_DIALECT_RESPONSES,
           "{\"input\": [{\"type\": \"reasoning\", \"summary\": [], \"encrypted_content\": "
           "\"foreign\"}, " ASKS("q") "], \"reasoning\": {\"effort\": \"low\"}}",
           &plain);
    check_prompt(BOS USER "q" THINKS);
}

/* ---- effort ---- */

static void efforts(void **state)
{
    (void)state;
    hd_canon_rules april = plain, v41 = plain, small = plain;
    april.release = HD_RELEASE_APRIL;
    v41.release = HD_RELEASE_V41;
    small.max_context = 100000;
    static const char none[] = "{\"messages\": [" ASKS("q") "]}";
    static const char low[] = "{\"messages\": [" ASKS("q") "]" LOW;
    static const char max[] = "{\"messages\": [" ASKS("q") "], \"reasoning_effort\": \"max\"}";
    render(HD_DIALECT_CHAT, none, &april);
    check_prompt(BOS USER "q" THINKS);
    assert_int_equal(c.n_warnings, 0);
    render(HD_DIALECT_CHAT, low, &april);
    check_prompt(BOS USER "q" THINKS);
    assert_true(warns("this release does not have that effort"));
    render(HD_DIALECT_CHAT, max, &april);
    assert_non_null(strstr(text.ptr, BOS HIGH));
    assert_false(warns("effort max"));
    render(HD_DIALECT_CHAT, max, &small);
    assert_true(warns("effort max wants a context"));
    assert_int_equal(submit.max_new, 100000 - submit.n_ids);
    assert_false(warns("max_tokens"));
    render(HD_DIALECT_CHAT, low, &v41);
    check_prompt(BOS HD_TOKEN_SYSTEM "Reasoning Effort: 50 (range 1-100, the higher the value, the "
                                     "more thorough the reasoning)\n\n" USER "q" THINKS);
}

/* ---- limits ---- */

static void limits(void **state)
{
    (void)state;
    static const struct {
        const char *members;
        int32_t max_new;
    } rows[] = {{OFF, 8192},
                {"}", 65536},
                {", \"reasoning_effort\": \"ultra\"}", 131072},
                {", \"max_tokens\": 77}", 77}};
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        char body[256];
        snprintf(body, sizeof body, "{\"messages\": [" ASKS("q") "]%s", rows[i].members);
        render(HD_DIALECT_CHAT, body, &plain);
        assert_int_equal(submit.max_new, rows[i].max_new);
    }
    hd_canon_rules small = plain;
    small.max_context = 10;
    render(HD_DIALECT_CHAT,
           "{\"messages\": [" ASKS("q") "], \"max_tokens\": 50, \"min_tokens\": 9" OFF, &small);
    assert_int_equal(submit.n_ids, 5);
    assert_int_equal(submit.max_new, 5);
    assert_int_equal(submit.min_new, 5);
    assert_true(warns("max_tokens was cut"));
    parse(HD_DIALECT_CHAT, "{\"messages\": [" ASKS("123456") "]" OFF);
    assert_int_equal(finish(&small), HD_E_LIMIT);
    assert_string_equal(err.text,
                        "this model's maximum context length is 9 tokens, and the prompt has 10");
    parse(HD_DIALECT_MESSAGES,
          "{\"messages\": [" ASKS("123456") "], \"max_tokens\": 1, "
                                            "\"thinking\": {\"type\": \"disabled\"}}");
    assert_int_equal(finish(&small), HD_E_LIMIT);
    assert_string_equal(err.text, "prompt is too long: 10 tokens > 9 maximum");
}

static void completions(void **state)
{
    (void)state;
    hd_canon_rules other = plain;
    other.fim_omits_bos = true;
    other.fim_max_tokens = 100;
    render(HD_DIALECT_COMPLETIONS, "{\"prompt\": \"a</think>\", \"stop\": \"x\"}", &plain);
    check_prompt(BOS "a</think>");
    assert_int_equal(submit.n_ids, 10); /* nobody but the template writes control tokens */
    assert_int_equal(submit.max_new, 4096);
    assert_int_equal(submit.output, HD_OUTPUT_TEXT);
    assert_int_equal(submit.answer.n_stops, 1);
    render(HD_DIALECT_COMPLETIONS, "{\"prompt\": \"a\", \"suffix\": \"b\", \"max_tokens\": 500}",
           &plain);
    check_prompt(BOS HD_TOKEN_FIM_BEGIN "a" HD_TOKEN_FIM_HOLE "b" HD_TOKEN_FIM_END);
    assert_int_equal(submit.max_new, 500);
    render(HD_DIALECT_COMPLETIONS, "{\"prompt\": \"a\", \"suffix\": \"\", \"max_tokens\": 500}",
           &other);
    check_prompt(HD_TOKEN_FIM_BEGIN "a" HD_TOKEN_FIM_HOLE HD_TOKEN_FIM_END);
    assert_int_equal(submit.max_new, 100);
    render(HD_DIALECT_COMPLETIONS, "{\"prompt\": [72, 105], \"logprobs\": 0, \"echo\": true}",
           &plain);
    check_prompt("Hi");
    assert_true(submit.wants_echo && submit.wants_logprobs && submit.n_top == 0);
    parse(HD_DIALECT_COMPLETIONS, "{\"prompt\": [72, 100000]}");
    assert_int_equal(finish(&plain), HD_E_ARG);
    assert_string_equal(err.path, "prompt[1]");
}

/* ---- sampling ---- */

static void sampling(void **state)
{
    (void)state;
    static const char body[] =
        "{\"messages\": [" ASKS("q") "], \"temperature\": 0.5, \"top_p\": 0.25, \"top_k\": 3, "
                                     "\"min_p\": 0.5, \"presence_penalty\": 1, "
                                     "\"frequency_penalty\": -1, \"seed\": 5, \"logit_bias\": "
                                     "{\"7\": 2}}";
    hd_canon_rules deepseek = plain;
    deepseek.samples_as_deepseek = true;
    render(HD_DIALECT_CHAT, body, &plain);
    assert_true(submit.how.temperature == 0.5f && submit.how.top_p == 0.25f);
    assert_true(submit.how.min_p == 0.5f && submit.how.top_k == 3 && submit.how.seed == 5);
    assert_true(submit.how.presence_penalty == 1 && submit.how.frequency_penalty == -1);
    assert_int_equal(submit.how.n_bias, 1);
    assert_true(submit.how.bias[0].id == 7 && submit.how.bias[0].bias == 2);
    render(HD_DIALECT_CHAT, body, &deepseek);
    assert_true(submit.how.temperature == 1 && submit.how.top_p == 1 && submit.how.seed == 5);
    assert_true(submit.how.top_k == 0 && submit.how.min_p == 0 && submit.how.n_bias == 0);
    assert_true(submit.how.presence_penalty == 0 && submit.how.frequency_penalty == 0);
    parse(HD_DIALECT_CHAT, "{\"messages\": [" ASKS("q") "], \"logit_bias\": {\"999\": 1}}");
    assert_int_equal(finish(&plain), HD_E_ARG);
    assert_string_equal(err.path, "logit_bias.999");
    render(HD_DIALECT_CHAT, "{\"messages\": [" ASKS("q") "], \"top_p\": 1e-300}", &plain);
    assert_true(submit.how.top_p > 0);
}

/* ---- tools and formats ---- */

static void strict_schemas(void **state)
{
    (void)state;
#define STRICT(schema)                                                                             \
    "{\"messages\": [" ASKS("q") "], \"tools\": [{\"type\": \"function\", \"function\": "          \
                                 "{\"name\": \"f\", \"strict\": true, \"parameters\": " schema     \
                                 "}}]" OFF
    render(HD_DIALECT_CHAT,
           STRICT("{\"required\": [\"b\", \"a\"], \"type\": \"object\", \"properties\": {\"a\": "
                  "{\"type\": \"array\", \"items\": {\"type\": \"object\"}}, \"b\": {\"anyOf\": "
                  "[{\"type\": \"null\"}, {\"properties\": {\"required\": {}}}]}}, \"title\": "
                  "\"t\"}"),
           &plain);
    assert_non_null(strstr(
        text.ptr,
        "{\"name\": \"f\", \"description\": \"\", \"parameters\": {\"type\": \"object\", "
        "\"properties\": {\"a\": {\"type\": \"array\", \"items\": {\"type\": \"object\", "
        "\"properties\": {}, \"additionalProperties\": false, \"required\": []}}, \"b\": "
        "{\"anyOf\": [{\"type\": \"null\"}, {\"properties\": {\"required\": {}}, "
        "\"additionalProperties\": false, \"required\": [\"required\"]}]}}, "
        "\"additionalProperties\": false, \"required\": [\"a\", \"b\"], \"title\": \"t\"}}\n"));
    static const struct {
        const char *body, *path;
    } rows[] = {{STRICT("{\"type\": \"object\", \"properties\": {\"a\": {}, \"b\": {}}, "
                        "\"required\": [\"a\"]}"),
                 "tools[0].function.parameters.required"},
                {STRICT("{\"type\": \"object\", \"properties\": {\"a\": {}, \"b\": {}}, "
                        "\"required\": [\"a\", \"a\"]}"),
                 "tools[0].function.parameters.required"},
                {STRICT("{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"object\", "
                        "\"additionalProperties\": {}}}}"),
                 "tools[0].function.parameters.properties.a.additionalProperties"},
                {STRICT("{\"type\": \"object\", \"properties\": []}"),
                 "tools[0].function.parameters.properties"}};
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        parse(HD_DIALECT_CHAT, rows[i].body);
        hd_status status = finish(&plain);
        assert_true(status == HD_E_ARG || status == HD_E_FORMAT);
        assert_string_equal(err.path, rows[i].path);
    }
}

static void check_constraint(hd_grammar_kind kind, const char *want)
{
    assert_ptr_equal(submit.constraint, &constraint);
    assert_int_equal(constraint.kind, kind);
    assert_string_equal(constraint.text, want);
    assert_int_equal(constraint.len, strlen(want));
}

static void forced_tools(void **state)
{
    (void)state;
    static const char named[] =
        "{\"messages\": [" ASKS("q") "], \"tools\": [{\"type\": \"function\", \"function\": "
                                     "{\"name\": \"g\"}}, " TOOL_F
                                     "], \"parallel_tool_calls\": false, \"tool_choice\": "
                                     "{\"function\": {\"name\": \"f\"}}";
    char body[512];
    snprintf(body, sizeof body, "%s" OFF, named);
    render(HD_DIALECT_CHAT, body, &plain);
    assert_null(strstr(text.ptr, "\"name\": \"g\""));
    assert_true(hd_str_ends(hd_buf_str(&text), HD_STR(SAYS "\n\n<" D "tool_calls>\n")));
    assert_int_equal(submit.answer.start, HD_OUT_START_CALLS);
    check_constraint(HD_GRAMMAR_TOOLS,
                     "[{\"name\": \"f\", \"strict\": false, \"parameters\": {}}]");
    assert_int_equal(constraint.choice, HD_TOOLS_NAMED);
    assert_string_equal(constraint.tool_name, "f");
    assert_true(constraint.one_call);
    snprintf(body, sizeof body, "%s" LOW, named);
    render(HD_DIALECT_CHAT, body, &plain); /* reasoning comes first */
    assert_true(hd_str_ends(hd_buf_str(&text), HD_STR(USER "q" THINKS)));
    assert_int_equal(submit.answer.start, HD_OUT_START_REASONING);
    assert_int_equal(constraint.choice, HD_TOOLS_NAMED);
    render(HD_DIALECT_MESSAGES,
           "{\"messages\": [" ASKS("q") "], \"tools\": [{\"name\": \"f\", \"input_schema\": "
                                        "{\"type\": \"object\"}}], \"tool_choice\": {\"type\": "
                                        "\"any\"}" OFF,
           &plain);
    assert_true(hd_str_ends(hd_buf_str(&text), HD_STR(USER "q" SAYS)));
    assert_int_equal(submit.answer.start, HD_OUT_START_TEXT);
    assert_int_equal(constraint.choice, HD_TOOLS_REQUIRED);
}

static void formats(void **state)
{
    (void)state;
#define FORMAT                                                                                     \
    "\"response_format\": {\"type\": \"json_schema\", \"json_schema\": {\"strict\": "              \
    "true, \"schema\": {\"const\": 1e-5}}}"
    render(HD_DIALECT_CHAT, "{\"messages\": [" ASKS("q") "], " FORMAT OFF, &plain);
    check_constraint(HD_GRAMMAR_SCHEMA, "{\"const\": 1e-05}");
    assert_true(constraint.is_strict);
    assert_non_null(strstr(text.ptr, "to reply:\n{\"const\": 0.00001}" USER));
    render(HD_DIALECT_CHAT, "{\"messages\": [" ASKS("q") "], \"tools\": [" TOOL_F "], " FORMAT OFF,
           &plain);
    assert_int_equal(constraint.kind, HD_GRAMMAR_TOOLS);
    assert_true(warns("the response format is not enforced where"));
    render(HD_DIALECT_CHAT,
           "{\"messages\": [" ASKS("q") ", {\"role\": \"assistant\", \"content\": \"{\", "
                                        "\"prefix\": true}], " FORMAT OFF,
           &plain);
    assert_null(submit.constraint);
    assert_true(warns("the response format is not enforced on"));
    assert_true(submit.answer.is_continuation);
    render(HD_DIALECT_CHAT,
           "{\"messages\": [" ASKS("q") "], \"response_format\": {\"type\": \"regex\", "
                                        "\"regex\": \"a+\"}" OFF,
           &plain);
    check_constraint(HD_GRAMMAR_REGEX, "a+");
    check_prompt(BOS USER "q" SAYS);
}

static void namespaces(void **state)
{
    (void)state;
    static const char body[] =
        "{\"input\": [" ASKS("q") ", {\"type\": \"function_call\", \"call_id\": \"1\", "
                                  "\"namespace\": \"fs\", \"name\": \"read\", \"arguments\": "
                                  "\"{}\"}, {\"type\": \"function_call_output\", \"call_id\": "
                                  "\"1\", \"output\": \"r\"}], \"reasoning\": {\"effort\": "
                                  "\"none\"}, \"tools\": [{\"type\": \"namespace\", \"name\": "
                                  "\"fs\", \"description\": \"Files\", \"tools\": [{\"type\": "
                                  "\"function\", \"name\": \"read\", \"description\": \"Read\"}]}"
                                  "], \"tool_choice\": {\"type\": \"function\", \"name\": "
                                  "\"fs__read\"}}";
    hd_canon_rules v41 = plain;
    v41.release = HD_RELEASE_V41;
    render(HD_DIALECT_RESPONSES, body, &plain);
    assert_non_null(strstr(text.ptr, "{\"name\": \"fs__read\", \"description\": \"Read\", "));
    assert_non_null(strstr(text.ptr, "<" D "invoke name=\"fs__read\">\n</" D "invoke>"));
    assert_string_equal(constraint.tool_name, "fs__read");
    render(HD_DIALECT_RESPONSES, body, &v41);
    assert_non_null(
        strstr(text.ptr, "{\"name\": \"fs::read\", \"description\": \"Files\\nRead\", "));
    assert_non_null(strstr(text.ptr, "<" D " invoke name=\"fs::read\">\n\n</" D " invoke>"));
    assert_string_equal(constraint.tool_name, "fs::read");
    assert_true(hd_str_eqz(c.tools->name, "fs::read"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(later_system_messages),
        cmocka_unit_test(known_ids),
        cmocka_unit_test(missing_reasoning),
        cmocka_unit_test(efforts),
        cmocka_unit_test(limits),
        cmocka_unit_test(completions),
        cmocka_unit_test(sampling),
        cmocka_unit_test(strict_schemas),
        cmocka_unit_test(forced_tools),
        cmocka_unit_test(formats),
        cmocka_unit_test(namespaces),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
