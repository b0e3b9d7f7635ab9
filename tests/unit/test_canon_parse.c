/* Bodies of the four dialects: what is read from them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "server/canon.h"

static hd_arena arena;

static int set_up(void **state)
{
    (void)state;
    hd_arena_init(&arena, (size_t)64 << 20);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hd_arena_deinit(&arena);
    return 0;
}

static hd_status parse(hd_dialect dialect, hd_str body, hd_canon *c, hd_err *err)
{
    const hd_json *json;
    *err = (hd_err){0};
    hd_arena_reset(&arena);
    if (hd_json_parse(body, NULL, &arena, &json, err) != HD_OK) fail_msg("%s", err->text);
    return hd_canon_parse(dialect, json, &arena, c, err);
}

static void read(hd_dialect dialect, const char *body, hd_canon *c)
{
    hd_err err;
    if (parse(dialect, hd_str_from(body), c, &err) != HD_OK) fail_msg("%s: %s", body, err.text);
}

static const hd_canon_turn *turn(const hd_canon *c, int index)
{
    const hd_canon_turn *t = c->turns;
    while (index-- > 0 && t) t = t->next;
    assert_non_null(t);
    return t;
}

static void check_text(hd_str got, const char *want)
{
    if (!hd_str_eqz(got, want)) fail_msg("'%.*s', expected '%s'", HD_STR_ARG(got), want);
}

static void check_turn(const hd_canon_turn *t, hd_role role, const char *content)
{
    assert_int_equal(t->role, role);
    check_text(t->content, content);
}

#define U             "{\"role\": \"user\", \"content\": \"x\"}"
#define MESSAGES(m)   "{\"messages\": [" m "]}"
#define WITH(members) "{\"messages\": [" U "], " members "}"
#define CALL(id)      "{\"id\": \"" id "\", \"function\": {\"name\": \"f\", \"arguments\": \"{}\"}}"
#define CALLS(calls)  "{\"role\": \"assistant\", \"tool_calls\": [" calls "]}"
#define RESULT(id)    "{\"role\": \"tool\", \"content\": \"r\", \"tool_call_id\": \"" id "\"}"
#define TOOL(members) "{\"type\": \"function\", \"function\": {" members "}}"

static void chat_settings(void **state)
{
    (void)state;
    hd_canon c;
    read(HD_DIALECT_CHAT,
         WITH("\"model\": \"m\", \"stream\": true, \"stream_options\": {\"include_usage\": true}, "
              "\"temperature\": 0.5, \"top_p\": null, \"top_k\": -1, \"seed\": 7, \"stop\": "
              "\"END\", \"logprobs\": true, \"top_logprobs\": 3, \"user\": \"u\", \"priority\": "
              "-2, \"min_tokens\": 4, \"ignore_eos\": true, \"max_tokens\": 9, "
              "\"max_completion_tokens\": 8, \"logit_bias\": {\"3\": -100}, \"unknown\": [[]]"),
         &c);
    check_text(c.model, "m");
    check_text(c.user, "u");
    assert_true(c.streams && c.wants_usage && c.wants_logprobs && c.has_seed && c.ignores_eos);
    assert_true(c.temperature == 0.5 && c.top_p == 1 && c.top_k == 0);
    assert_true(c.thinks && c.effort == HD_EFFORT_HIGH);
    assert_int_equal(c.seed, 7);
    assert_int_equal(c.n_top, 3);
    assert_int_equal(c.n_stops, 1);
    assert_string_equal(c.stops[0], "END");
    assert_int_equal(c.priority, -2);
    assert_int_equal(c.min_tokens, 4);
    assert_int_equal(c.max_tokens, 8);
    assert_int_equal(c.logit_bias->n, 1);
    assert_int_equal(c.n_warnings, 0);
}

static void thinking(void **state)
{
    (void)state;
    static const struct {
        const char *body;
        bool thinks;
        hd_effort effort;
    } rows[] = {
        {MESSAGES(U), true, HD_EFFORT_HIGH},
        {WITH("\"reasoning_effort\": \"none\""), false, HD_EFFORT_HIGH},
        {WITH("\"reasoning_effort\": \"none\", \"thinking\": {\"type\": \"adaptive\"}"), true,
         HD_EFFORT_HIGH},
        {WITH("\"reasoning_effort\": \"minimal\""), true, HD_EFFORT_LOW},
        {WITH("\"reasoning_effort\": \"ultra\""), true, HD_EFFORT_MAX},
        {WITH("\"thinking\": {\"type\": \"disabled\"}, \"reasoning_effort\": \"max\""), false,
         HD_EFFORT_MAX},
        {WITH("\"chat_template_kwargs\": {\"thinking\": false}"), false, HD_EFFORT_HIGH},
        {WITH("\"chat_template_kwargs\": {\"enable_thinking\": false}"), false, HD_EFFORT_HIGH},
        {WITH("\"chat_template_kwargs\": {\"thinking\": false}, \"thinking\": {\"type\": "
              "\"enabled\"}"),
         true, HD_EFFORT_HIGH},
        {WITH("\"chat_template_kwargs\": {\"reasoning_effort\": \"low\"}"), true, HD_EFFORT_LOW},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        hd_canon c;
        read(HD_DIALECT_CHAT, rows[i].body, &c);
        if (c.thinks != rows[i].thinks || c.effort != rows[i].effort) fail_msg("%s", rows[i].body);
    }
    hd_canon c;
    read(HD_DIALECT_MESSAGES, WITH("\"thinking\": {\"type\": \"between_tools\"}"), &c);
    assert_true(c.thinks);
}

static void chat_turns(void **state)
{
    (void)state;
    hd_canon c;
    read(HD_DIALECT_CHAT,
         MESSAGES("{\"role\": \"developer\", \"content\": [{\"type\": \"text\", \"text\": \"a\"}, "
                  "{\"type\": \"text\", \"text\": \"\"}]}, " U
                  ", {\"role\": \"assistant\", \"reasoning_content\": \" \\n\", \"tool_calls\": "
                  "[" CALL("c2") ", " CALL("c1") "]}, " RESULT("c1") ", " RESULT("c2") ", " U),
         &c);
    check_turn(turn(&c, 0), HD_ROLE_SYSTEM, "a\n\n");
    check_turn(turn(&c, 1), HD_ROLE_USER, "x");
    check_turn(turn(&c, 2), HD_ROLE_ASSISTANT, "");
    assert_int_equal(turn(&c, 2)->reasoning.len, 0);
    check_text(turn(&c, 2)->calls->id, "c2");
    check_text(turn(&c, 2)->calls->next->id, "c1");
    check_text(turn(&c, 3)->call_id, "c2"); /* in the order of the calls */
    check_text(turn(&c, 4)->call_id, "c1");
    check_turn(turn(&c, 5), HD_ROLE_USER, "x");
    assert_null(turn(&c, 5)->next);
    read(HD_DIALECT_CHAT,
         MESSAGES("{\"role\": \"assistant\", \"content\": \"y\", \"reasoning\": \"r\", \"prefix\": "
                  "true}"),
         &c);
    assert_true(c.continues);
    check_text(turn(&c, 0)->reasoning, "r");
}

static void chat_tools(void **state)
{
    (void)state;
    hd_canon c;
    read(HD_DIALECT_CHAT,
         WITH("\"tools\": [{\"type\": \"web_search\"}, " TOOL(
             "\"name\": \"f\", \"strict\": true, \"parameters\": {\"type\": "
             "\"object\"}") "], \"tool_choice\": {\"function\": {\"name\": \"f\"}}, "
                            "\"parallel_tool_calls\": false"),
         &c);
    assert_true(c.tools->is_strict && !c.tools->next && c.one_call);
    assert_int_equal(c.choice, HD_TOOLS_NAMED);
    check_text(c.choice_name, "f");
    assert_int_equal(c.n_warnings, 1);
    read(HD_DIALECT_CHAT,
         WITH("\"tools\": [" TOOL("\"name\": \"f\"") "], \"tool_choice\": \"none\""), &c);
    assert_null(c.tools);
    read(HD_DIALECT_CHAT,
         WITH("\"functions\": [{\"name\": \"g\"}], \"function_call\": {\"name\": \"g\"}"), &c);
    check_text(c.tools->name, "g");
    assert_int_equal(c.choice, HD_TOOLS_NAMED);
    read(HD_DIALECT_CHAT, WITH("\"tool_choice\": \"required\""), &c); /* of nothing */
    assert_int_equal(c.choice, HD_TOOLS_AUTO);
}

static void completions(void **state)
{
    (void)state;
    hd_canon c;
    read(HD_DIALECT_COMPLETIONS, "{\"prompt\": [\"a\\u0000b\"], \"logprobs\": 2, \"echo\": true}",
         &c);
    assert_int_equal(c.input, HD_INPUT_TEXT);
    assert_int_equal(c.prompt.len, 3);
    assert_true(c.wants_echo && c.wants_logprobs && c.n_top == 2 && !c.thinks);
    read(HD_DIALECT_COMPLETIONS, "{\"prompt\": [[1, 2]]}", &c);
    assert_int_equal(c.input, HD_INPUT_IDS);
    assert_int_equal(c.ids->n, 2);
    read(HD_DIALECT_COMPLETIONS, "{\"prompt\": \"a\", \"suffix\": \"\"}", &c);
    assert_int_equal(c.input, HD_INPUT_FILL);
}

static void messages(void **state)
{
    (void)state;
    hd_canon c;
    read(HD_DIALECT_MESSAGES,
         "{\"system\": [{\"type\": \"text\", \"text\": \"x-anthropic-billing-header: cch=1\"}, "
         "{\"type\": \"text\", \"text\": \"S\"}], \"metadata\": {\"user_id\": \"u\"}, "
         "\"messages\": [" U ", {\"role\": \"assistant\", \"content\": [{\"type\": \"thinking\", "
         "\"thinking\": \"t\", \"signature\": \"seal\"}, {\"type\": \"redacted_thinking\", "
         "\"data\": \"z\"}, {\"type\": \"text\", \"text\": \"a\"}, {\"type\": \"tool_use\", "
         "\"id\": \"t1\", \"name\": \"f\", \"input\": { \"k\":1 }}]}, {\"role\": \"user\", "
         "\"content\": [{\"type\": \"text\", \"text\": \"b\"}, {\"type\": \"tool_result\", "
         "\"tool_use_id\": \"t1\"}, {\"type\": \"document\", \"source\": {\"type\": \"text\", "
         "\"data\": \"doc\"}}]}, {\"role\": \"system\", \"content\": \"mid\"}], \"tools\": "
         "[{\"type\": \"bash_20250124\", \"name\": \"bash\"}, {\"name\": \"f\", \"input_schema\": "
         "{\"type\": \"object\"}}], \"tool_choice\": {\"type\": \"any\", "
         "\"disable_parallel_tool_use\": true}}",
         &c);
    check_turn(turn(&c, 0), HD_ROLE_SYSTEM, "S");
    check_turn(turn(&c, 2), HD_ROLE_ASSISTANT, "a");
    check_text(turn(&c, 2)->reasoning, "t");
    check_text(turn(&c, 2)->seal, "seal");
    check_text(turn(&c, 2)->calls->args, "{ \"k\":1 }");
    check_turn(turn(&c, 3), HD_ROLE_TOOL, "");
    check_turn(turn(&c, 4), HD_ROLE_USER, "b");
    check_turn(turn(&c, 5), HD_ROLE_USER, "doc");
    check_turn(turn(&c, 6), HD_ROLE_SYSTEM, "mid");
    check_text(c.user, "u");
    check_text(c.tools->name, "f");
    assert_true(!c.tools->next && c.one_call && !c.continues);
    assert_int_equal(c.choice, HD_TOOLS_REQUIRED);
    assert_int_equal(c.n_warnings, 2);
    read(HD_DIALECT_MESSAGES, MESSAGES(U ", {\"role\": \"assistant\", \"content\": \"go\"}"), &c);
    assert_true(c.continues);
}

static void responses(void **state)
{
    (void)state;
    hd_canon c;
    read(HD_DIALECT_RESPONSES,
         "{\"instructions\": \"I\", \"input\": ["
         "{\"role\": \"developer\", \"content\": \"d\"}, "
         "{\"type\": \"reasoning\", \"summary\": [], \"encrypted_content\": \"seal\", "
         "\"content\": [{\"type\": \"reasoning_text\", \"text\": \"p\"}, {\"type\": "
         "\"reasoning_text\", \"text\": \"q\"}]}, "
         "{\"type\": \"message\", \"role\": \"assistant\", \"content\": \"a\"}, "
         "{\"type\": \"function_call\", \"call_id\": \"1\", \"namespace\": \"fs\", \"name\": "
         "\"read\", \"arguments\": \"{}\"}, "
         "{\"type\": \"custom_tool_call\", \"call_id\": \"2\", \"name\": \"patch\", \"input\": "
         "\"a\\\"b\"}, "
         "{\"type\": \"web_search_call\", \"id\": \"w\"}, "
         "{\"type\": \"custom_tool_call_output\", \"call_id\": \"2\", \"output\": \"two\"}, "
         "{\"type\": \"function_call_output\", \"call_id\": \"1\", \"output\": [{\"type\": "
         "\"input_text\", \"text\": \"one\"}]}], "
         "\"reasoning\": {\"summary\": \"auto\"}, "
         "\"include\": [\"message.output_text.logprobs\"], \"top_logprobs\": 4}",
         &c);
    check_turn(turn(&c, 0), HD_ROLE_SYSTEM, "I");
    check_turn(turn(&c, 1), HD_ROLE_DEVELOPER, "d");
    check_turn(turn(&c, 2), HD_ROLE_ASSISTANT, "a");
    check_text(turn(&c, 2)->reasoning, "p\nq");
    check_text(turn(&c, 2)->seal, "seal");
    check_text(turn(&c, 2)->calls->name, "fs__read");
    check_text(turn(&c, 2)->calls->short_name, "read");
    check_text(turn(&c, 2)->calls->next->args, "{\"input\": \"a\\\"b\"}");
    check_turn(turn(&c, 3), HD_ROLE_TOOL, "one");
    check_turn(turn(&c, 4), HD_ROLE_TOOL, "two");
    assert_true(c.wants_summary && c.wants_logprobs && c.n_top == 4);
    assert_int_equal(c.n_warnings, 1);
}

static void responses_tools(void **state)
{
    (void)state;
    hd_canon c;
    read(HD_DIALECT_RESPONSES,
         "{\"input\": [], \"tools\": [{\"type\": \"local_shell\"}, {\"type\": \"custom\", "
         "\"name\": \"patch\", \"description\": \"D\", \"format\": {\"type\": \"grammar\", "
         "\"syntax\": \"lark\", \"definition\": \"start: X\"}}, {\"type\": \"namespace\", "
         "\"name\": \"fs\", \"description\": \"Files\", \"tools\": [{\"type\": \"function\", "
         "\"name\": \"read\"}]}], \"tool_choice\": {\"type\": \"custom\", \"name\": \"patch\"}}",
         &c);
    const hd_canon_tool *patch = c.tools, *file = patch->next;
    assert_true(patch->is_custom && file && !file->is_custom);
    check_text(patch->description, "D\n\nThe input must match this grammar (lark):\nstart: X");
    assert_non_null(hd_json_get(hd_json_get(patch->parameters, "properties"), "input"));
    check_text(file->name, "fs__read");
    check_text(file->short_name, "read");
    check_text(file->space, "fs");
    check_text(file->space_description, "Files");
    check_text(c.choice_name, "patch");
    assert_null(c.turns);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chat_settings), cmocka_unit_test(thinking),
        cmocka_unit_test(chat_turns),    cmocka_unit_test(chat_tools),
        cmocka_unit_test(completions),   cmocka_unit_test(messages),
        cmocka_unit_test(responses),     cmocka_unit_test(responses_tools),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
