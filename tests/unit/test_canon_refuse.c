/* Bodies of the four dialects: what is refused, and with which path; hostile bodies. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/buf.h"
#include "server/canon.h"
#include "support/vectors.h"

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

/* ---- refusals ---- */

typedef struct refusal {
    const char *body;
    hd_status code;
    const char *path;
} refusal;

static void check_refusals(hd_dialect dialect, const refusal *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        hd_canon c;
        hd_err err;
        hd_status status = parse(dialect, hd_str_from(rows[i].body), &c, &err);
        if (status != rows[i].code || strcmp(err.path, rows[i].path) != 0)
            fail_msg("%s: status %d, path '%s', text '%s'", rows[i].body, status, err.path,
                     err.text);
        if (*err.path && !strstr(err.text, err.path)) fail_msg("no path in '%s'", err.text);
    }
}

#define U             "{\"role\": \"user\", \"content\": \"x\"}"
#define MESSAGES(m)   "{\"messages\": [" m "]}"
#define WITH(members) "{\"messages\": [" U "], " members "}"
#define CALL(id)      "{\"id\": \"" id "\", \"function\": {\"name\": \"f\", \"arguments\": \"{}\"}}"
#define CALLS(calls)  "{\"role\": \"assistant\", \"tool_calls\": [" calls "]}"
#define RESULT(id)    "{\"role\": \"tool\", \"content\": \"r\", \"tool_call_id\": \"" id "\"}"
#define TOOL(members) "{\"type\": \"function\", \"function\": {" members "}}"

static void chat_messages_refused(void **state)
{
    (void)state;
    static const refusal rows[] = {
        {"[]", HD_E_FORMAT, ""},
        {"{}", HD_E_FORMAT, "messages"},
        {"{\"messages\": {}}", HD_E_FORMAT, "messages"},
        {"{\"messages\": null}", HD_E_FORMAT, "messages"},
        {MESSAGES(""), HD_E_ARG, "messages"},
        {MESSAGES("3"), HD_E_FORMAT, "messages[0]"},
        {MESSAGES("{}"), HD_E_FORMAT, "messages[0].role"},
        {MESSAGES("{\"role\": 1}"), HD_E_FORMAT, "messages[0].role"},
        {MESSAGES("{\"role\": \"observer\", \"content\": \"x\"}"), HD_E_ARG, "messages[0].role"},
        {MESSAGES(U ", {\"role\": \"user\"}"), HD_E_FORMAT, "messages[1].content"},
        {MESSAGES("{\"role\": \"user\", \"content\": null}"), HD_E_FORMAT, "messages[0].content"},
        {MESSAGES("{\"role\": \"user\", \"content\": 5}"), HD_E_FORMAT, "messages[0].content"},
        {MESSAGES("{\"role\": \"user\", \"content\": [\"x\"]}"), HD_E_FORMAT,
         "messages[0].content[0]"},
        {MESSAGES("{\"role\": \"user\", \"content\": [{}]}"), HD_E_FORMAT,
         "messages[0].content[0].type"},
        {MESSAGES("{\"role\": \"user\", \"content\": [{\"type\": \"text\"}]}"), HD_E_FORMAT,
         "messages[0].content[0].text"},
        {MESSAGES(U ", " U ", " U ", {\"role\": \"user\", \"content\": [{\"type\": \"text\", "
                    "\"text\": \"a\"}, {\"type\": \"image_url\", \"image_url\": {\"url\": "
                    "\"x\"}}]}"),
         HD_E_UNSUPPORTED, "messages[3].content[1].type"},
        {MESSAGES("{\"role\": \"user\", \"content\": [{\"type\": \"hologram\"}]}"),
         HD_E_UNSUPPORTED, "messages[0].content[0].type"},
        {MESSAGES("{\"role\": \"assistant\", \"content\": null}"), HD_E_FORMAT,
         "messages[0].content"},
        {MESSAGES("{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": []}"), HD_E_ARG,
         "messages[0].tool_calls"},
        {MESSAGES("{\"role\": \"assistant\", \"content\": \"\", \"tool_calls\": {}}"), HD_E_FORMAT,
         "messages[0].tool_calls"},
        {MESSAGES(CALLS("{\"function\": {\"name\": \"f\", \"arguments\": \"\"}}")), HD_E_FORMAT,
         "messages[0].tool_calls[0].id"},
        {MESSAGES(CALLS("{\"id\": \"a\"}")), HD_E_FORMAT, "messages[0].tool_calls[0].function"},
        {MESSAGES(CALLS("{\"id\": \"a\", \"function\": {\"name\": \"f\", \"arguments\": [1]}}")),
         HD_E_FORMAT, "messages[0].tool_calls[0].function.arguments"},
        {MESSAGES(CALLS(CALL("a"))), HD_E_ARG, "messages[0].tool_calls[0]"},
        {MESSAGES(CALLS(CALL("a")) ", " U), HD_E_ARG, "messages[0].tool_calls[0]"},
        {MESSAGES(CALLS(CALL("a") ", " CALL("a"))), HD_E_ARG, "messages[0].tool_calls[1]"},
        {MESSAGES(CALLS(CALL("a")) ", " RESULT("b")), HD_E_ARG, "messages[1]"},
        {MESSAGES(CALLS(CALL("a")) ", " RESULT("a") ", " RESULT("a")), HD_E_ARG, "messages[2]"},
        {MESSAGES(CALLS(CALL("a")) ", " RESULT("a") ", " U ", " RESULT("a")), HD_E_ARG,
         "messages[3]"},
        {MESSAGES(RESULT("a")), HD_E_ARG, "messages[0]"},
        {MESSAGES("{\"role\": \"tool\", \"content\": \"r\"}"), HD_E_FORMAT,
         "messages[0].tool_call_id"},
        {MESSAGES("{\"role\": \"assistant\", \"content\": \"x\", \"prefix\": true}, " U),
         HD_E_UNSUPPORTED, "messages[0].prefix"},
        {"{\"messages\": [{\"role\": \"assistant\", \"content\": \"x\", \"prefix\": true}], "
         "\"tools\": []}",
         HD_E_UNSUPPORTED, "messages[0].prefix"},
        {"{\"messages\": [{\"role\": \"assistant\", \"content\": \"x\", \"prefix\": true}], "
         "\"response_format\": {\"type\": \"json_object\"}}",
         HD_E_UNSUPPORTED, "messages[0].prefix"},
    };
    check_refusals(HD_DIALECT_CHAT, rows, HD_COUNT(rows));
}

static void chat_settings_refused(void **state)
{
    (void)state;
    static const refusal rows[] = {
        {WITH("\"model\": 5"), HD_E_FORMAT, "model"},
        {WITH("\"stream\": \"true\""), HD_E_FORMAT, "stream"},
        {WITH("\"stream_options\": {}"), HD_E_UNSUPPORTED, "stream_options"},
        {WITH("\"temperature\": 2.1"), HD_E_ARG, "temperature"},
        {WITH("\"temperature\": -0.1"), HD_E_ARG, "temperature"},
        {WITH("\"temperature\": \"1\""), HD_E_FORMAT, "temperature"},
        {WITH("\"temperature\": 1e999"), HD_E_ARG, "temperature"},
        {WITH("\"top_p\": 0"), HD_E_ARG, "top_p"},
        {WITH("\"top_p\": 1.01"), HD_E_ARG, "top_p"},
        {WITH("\"min_p\": -1"), HD_E_ARG, "min_p"},
        {WITH("\"top_k\": -2"), HD_E_ARG, "top_k"},
        {WITH("\"top_k\": 1.5"), HD_E_FORMAT, "top_k"},
        {WITH("\"seed\": -1"), HD_E_ARG, "seed"},
        {WITH("\"seed\": 9223372036854775808"), HD_E_ARG, "seed"},
        {WITH("\"seed\": \"1\""), HD_E_FORMAT, "seed"},
        {WITH("\"presence_penalty\": 2.5"), HD_E_ARG, "presence_penalty"},
        {WITH("\"frequency_penalty\": -3"), HD_E_ARG, "frequency_penalty"},
        {WITH("\"logit_bias\": []"), HD_E_FORMAT, "logit_bias"},
        {WITH("\"logit_bias\": {\"x\": 1}"), HD_E_UNSUPPORTED, "logit_bias.x"},
        {WITH("\"logit_bias\": {\"1\": \"a\"}"), HD_E_FORMAT, "logit_bias.1"},
        {WITH("\"logit_bias\": {\"1\": 101}"), HD_E_ARG, "logit_bias.1"},
        {WITH("\"n\": 2"), HD_E_UNSUPPORTED, "n"},
        {WITH("\"n\": true"), HD_E_FORMAT, "n"},
        {WITH("\"audio\": {}"), HD_E_UNSUPPORTED, "audio"},
        {WITH("\"max_tokens\": 0"), HD_E_ARG, "max_tokens"},
        {WITH("\"max_tokens\": 1.0"), HD_E_FORMAT, "max_tokens"},
        {WITH("\"max_tokens\": 99999999999"), HD_E_ARG, "max_tokens"},
        {WITH("\"max_completion_tokens\": 0, \"max_tokens\": 5"), HD_E_ARG,
         "max_completion_tokens"},
        {WITH("\"logprobs\": 1"), HD_E_FORMAT, "logprobs"},
        {WITH("\"top_logprobs\": 2"), HD_E_UNSUPPORTED, "top_logprobs"},
        {WITH("\"logprobs\": true, \"top_logprobs\": 21"), HD_E_ARG, "top_logprobs"},
        {WITH("\"stop\": 1"), HD_E_FORMAT, "stop"},
        {WITH("\"stop\": \"\""), HD_E_ARG, "stop"},
        {WITH("\"stop\": [\"a\", \"b\\u0000c\"]"), HD_E_ARG, "stop[1]"},
        {WITH("\"stop\": [\"a\", 1]"), HD_E_FORMAT, "stop[1]"},
        {WITH("\"stop\": [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]"), HD_E_ARG, "stop"},
        {WITH("\"thinking\": true"), HD_E_FORMAT, "thinking"},
        {WITH("\"thinking\": {}"), HD_E_FORMAT, "thinking.type"},
        {WITH("\"thinking\": {\"type\": \"on\"}"), HD_E_ARG, "thinking.type"},
        {WITH("\"thinking\": {\"type\": \"between_tools\"}"), HD_E_ARG, "thinking.type"},
        {WITH("\"reasoning_effort\": \"50\""), HD_E_ARG, "reasoning_effort"},
        {WITH("\"reasoning_effort\": 50"), HD_E_FORMAT, "reasoning_effort"},
        {WITH("\"chat_template_kwargs\": 1"), HD_E_FORMAT, "chat_template_kwargs"},
        {WITH("\"chat_template_kwargs\": {\"thinking\": 1}"), HD_E_FORMAT,
         "chat_template_kwargs.thinking"},
        {WITH("\"response_format\": \"json\""), HD_E_FORMAT, "response_format"},
        {WITH("\"response_format\": {\"type\": \"xml\"}"), HD_E_ARG, "response_format.type"},
        {WITH("\"response_format\": {\"type\": \"json_schema\"}"), HD_E_FORMAT,
         "response_format.json_schema"},
        {WITH("\"response_format\": {\"type\": \"json_schema\", \"json_schema\": {}}"), HD_E_FORMAT,
         "response_format.json_schema.schema"},
        {WITH("\"response_format\": {\"type\": \"regex\"}"), HD_E_FORMAT, "response_format.regex"},
        {WITH("\"user_id\": 5"), HD_E_FORMAT, "user_id"},
    };
    check_refusals(HD_DIALECT_CHAT, rows, HD_COUNT(rows));
}

static void tools_refused(void **state)
{
    (void)state;
    static const refusal rows[] = {
        {WITH("\"tools\": {}"), HD_E_FORMAT, "tools"},
        {WITH("\"tools\": [5]"), HD_E_FORMAT, "tools[0]"},
        {WITH("\"tools\": [{\"type\": \"function\"}]"), HD_E_FORMAT, "tools[0].function"},
        {WITH("\"tools\": [" TOOL("") "]"), HD_E_FORMAT, "tools[0].function.name"},
        {WITH("\"tools\": [" TOOL("\"name\": \"a b\"") "]"), HD_E_ARG, "tools[0].function.name"},
        {WITH("\"tools\": [" TOOL("\"name\": \"f\", \"description\": 5") "]"), HD_E_FORMAT,
         "tools[0].function.description"},
        {WITH("\"tools\": [" TOOL("\"name\": \"f\", \"parameters\": []") "]"), HD_E_FORMAT,
         "tools[0].function.parameters"},
        {WITH("\"tools\": [" TOOL("\"name\": \"f\", \"parameters\": {\"type\": \"array\"}") "]"),
         HD_E_ARG, "tools[0].function.parameters"},
        {WITH("\"tools\": [" TOOL("\"name\": \"f\"") ", " TOOL("\"name\": \"f\"") "]"), HD_E_ARG,
         "tools"},
        {WITH("\"tools\": [" TOOL("\"name\": \"f\"") "], \"tool_choice\": 5"), HD_E_FORMAT,
         "tool_choice"},
        {WITH("\"tools\": [" TOOL("\"name\": \"f\"") "], \"tool_choice\": \"any\""), HD_E_ARG,
         "tool_choice"},
        {WITH("\"tools\": [" TOOL("\"name\": \"f\"") "], \"tool_choice\": {\"function\": {}}"),
         HD_E_FORMAT, "tool_choice.function.name"},
        {WITH("\"tools\": [" TOOL(
             "\"name\": \"f\"") "], \"tool_choice\": {\"function\": {\"name\": \"g\"}}"),
         HD_E_ARG, "tool_choice.function.name"},
        {WITH("\"tools\": [" TOOL(
             "\"name\": \"f\"") "], \"tool_choice\": {\"type\": \"allowed_tools\"}"),
         HD_E_UNSUPPORTED, "tool_choice.type"},
    };
    check_refusals(HD_DIALECT_CHAT, rows, HD_COUNT(rows));
}

static void other_dialects_refused(void **state)
{
    (void)state;
    static const refusal completions[] = {
        {"{}", HD_E_FORMAT, "prompt"},
        {"{\"prompt\": 5}", HD_E_FORMAT, "prompt"},
        {"{\"prompt\": []}", HD_E_ARG, "prompt"},
        {"{\"prompt\": [\"a\", \"b\"]}", HD_E_UNSUPPORTED, "prompt"},
        {"{\"prompt\": [1, \"b\"]}", HD_E_FORMAT, "prompt[1]"},
        {"{\"prompt\": [[1], [2]]}", HD_E_UNSUPPORTED, "prompt"},
        {"{\"prompt\": [1], \"suffix\": \"x\"}", HD_E_UNSUPPORTED, "suffix"},
        {"{\"prompt\": \"x\", \"suffix\": 1}", HD_E_FORMAT, "suffix"},
        {"{\"prompt\": \"x\", \"best_of\": 3}", HD_E_UNSUPPORTED, "best_of"},
        {"{\"prompt\": \"x\", \"logprobs\": 21}", HD_E_ARG, "logprobs"},
        {"{\"prompt\": \"x\", \"echo\": 1}", HD_E_FORMAT, "echo"},
    };
    static const refusal responses[] = {
        {"{}", HD_E_FORMAT, "input"},
        {"{\"input\": 5}", HD_E_FORMAT, "input"},
        {"{\"input\": \"x\", \"previous_response_id\": \"r\"}", HD_E_UNSUPPORTED,
         "previous_response_id"},
        {"{\"input\": \"x\", \"conversation\": {}}", HD_E_UNSUPPORTED, "conversation"},
        {"{\"input\": \"x\", \"background\": true}", HD_E_UNSUPPORTED, "background"},
        {"{\"input\": \"x\", \"instructions\": [1]}", HD_E_FORMAT, "instructions"},
        {"{\"input\": \"x\", \"reasoning\": {\"effort\": \"big\"}}", HD_E_ARG, "reasoning.effort"},
        {"{\"input\": \"x\", \"text\": {\"format\": {\"type\": \"json_schema\"}}}", HD_E_FORMAT,
         "text.format.schema"},
        {"{\"input\": \"x\", \"max_output_tokens\": 0}", HD_E_ARG, "max_output_tokens"},
        {"{\"input\": [5]}", HD_E_FORMAT, "input[0]"},
        {"{\"input\": [{\"role\": \"tool\", \"content\": \"x\"}]}", HD_E_ARG, "input[0].role"},
        {"{\"input\": [{\"type\": \"item_reference\", \"id\": \"x\"}]}", HD_E_UNSUPPORTED,
         "input[0]"},
        {"{\"input\": [{\"type\": \"function_call_output\", \"call_id\": \"c\", \"output\": "
         "\"x\"}]}",
         HD_E_ARG, "input[0]"},
        {"{\"input\": [{\"type\": \"function_call\", \"call_id\": \"c\", \"name\": \"f\"}]}",
         HD_E_FORMAT, "input[0].arguments"},
        {"{\"input\": [{\"role\": \"user\", \"content\": [{\"type\": \"input_image\"}]}]}",
         HD_E_UNSUPPORTED, "input[0].content[0].type"},
        {"{\"input\": \"x\", \"tools\": [{\"type\": \"namespace\", \"name\": \"a.b\"}]}", HD_E_ARG,
         "tools[0].name"},
    };
    static const refusal messages[] = {
        {"{}", HD_E_FORMAT, "messages"},
        {"{\"thread\": {\"type\": \"create\"}}", HD_E_UNSUPPORTED, "thread"},
        {MESSAGES("{\"role\": \"developer\", \"content\": \"x\"}"), HD_E_ARG, "messages[0].role"},
        {MESSAGES("{\"role\": \"user\", \"content\": []}"), HD_E_ARG, "messages[0].content"},
        {MESSAGES("{\"role\": \"user\", \"content\": [{\"type\": \"image\"}]}"), HD_E_UNSUPPORTED,
         "messages[0].content[0].type"},
        {MESSAGES("{\"role\": \"user\", \"content\": [{\"type\": \"tool_result\", "
                  "\"tool_use_id\": \"t\"}]}"),
         HD_E_ARG, "messages[0].content[0]"},
        {MESSAGES("{\"role\": \"assistant\", \"content\": [{\"type\": \"tool_use\", \"id\": "
                  "\"t\", \"name\": \"f\"}]}"),
         HD_E_FORMAT, "messages[0].content[0].input"},
        {MESSAGES("{\"role\": \"assistant\", \"content\": [{\"type\": \"tool_use\", \"id\": "
                  "\"t\", \"name\": \"f\", \"input\": {}}]}, " U),
         HD_E_ARG, "messages[0].content[0]"},
        {WITH("\"system\": 5"), HD_E_FORMAT, "system"},
        {WITH("\"stop_sequences\": \"x\""), HD_E_FORMAT, "stop_sequences"},
        {WITH("\"tool_choice\": \"auto\""), HD_E_FORMAT, "tool_choice"},
        {WITH("\"tool_choice\": {\"type\": \"tool\"}"), HD_E_FORMAT, "tool_choice.name"},
        {WITH("\"tools\": [{\"name\": \"f\"}]"), HD_E_FORMAT, "tools[0].input_schema"},
        {WITH("\"metadata\": {\"user_id\": 5}"), HD_E_FORMAT, "metadata.user_id"},
        {WITH("\"output_config\": {\"effort\": \"zz\"}"), HD_E_ARG, "output_config.effort"},
    };
    check_refusals(HD_DIALECT_COMPLETIONS, completions, HD_COUNT(completions));
    check_refusals(HD_DIALECT_RESPONSES, responses, HD_COUNT(responses));
    check_refusals(HD_DIALECT_MESSAGES, messages, HD_COUNT(messages));
}

/* ---- hostile bodies ---- */

/* Every value of a body replaced by each kind of value: an answer, or a refusal with a status. */
static const char *const kinds[] = {"null",        "true", "-1",   "1e400", "\"\"",
                                    "\"\\u0000\"", "[]",   "[[]]", "{}",    "{\"type\": \"text\"}",
                                    "[null, {}]"};

typedef struct site {
    size_t begin, end;
} site;

static size_t find_sites(const hd_json *root, site *out, size_t max)
{
    size_t n = 0;
    for (const hd_json *v = root;;) {
        size_t len = v->kind == HD_JSON_STRING ? 0 : v->text.len;
        if (len && n < max) out[n++] = (site){v->offset, v->offset + len};
        if (v->child) {
            v = v->child;
            continue;
        }
        while (v != root && !v->next) v = v->parent;
        if (v == root) return n;
        v = v->next;
    }
}

static void mutate(hd_dialect dialect, hd_str body)
{
    site sites[512];
    const hd_json *json;
    hd_buf text;
    hd_buf_init(&text, 1 << 20);
    hd_arena_reset(&arena);
    assert_int_equal(hd_json_parse(body, NULL, &arena, &json, NULL), HD_OK);
    size_t n = find_sites(json, sites, HD_COUNT(sites));
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < HD_COUNT(kinds); k++) {
            hd_canon c;
            hd_err err;
            hd_buf_reset(&text);
            hd_buf_add(&text, body.ptr, sites[i].begin);
            hd_buf_addz(&text, kinds[k]);
            hd_buf_add_str(&text, hd_str_skip(body, sites[i].end));
            hd_status status = parse(dialect, hd_buf_str(&text), &c, &err);
            bool is_fine = status == HD_OK || status == HD_E_FORMAT || status == HD_E_ARG ||
                           status == HD_E_UNSUPPORTED;
            if (!is_fine || (status != HD_OK && !*err.text))
                fail_msg("%.*s: status %d '%s'", HD_STR_ARG(hd_buf_str(&text)), status, err.text);
        }
    }
    hd_buf_deinit(&text);
}

static void mutate_row(const hd_json *row, void *ctx)
{
    static char copy[1 << 14];
    size_t *count = ctx;
    hd_str api = hd_json_get(row, "api")->text, body = hd_json_get(row, "request")->text;
    hd_dialect dialect = HD_DIALECT_CHAT;
    if (hd_str_eqz(api, "messages")) dialect = HD_DIALECT_MESSAGES;
    if (hd_str_eqz(api, "responses")) dialect = HD_DIALECT_RESPONSES;
    if (body.len > sizeof copy || (*count)++ % 4) return; /* a quarter of them is enough */
    memcpy(copy, body.ptr, body.len);
    mutate(dialect, (hd_str){copy, body.len});
}

static void wrong_types_everywhere(void **state)
{
    (void)state;
    size_t count = 0;
    test_text_rows("recipe_request_v4.jsonl", mutate_row, &count);
    assert_true(count > 100);
}

/* Many of everything: time and memory stay in proportion. */
static void many(void **state)
{
    (void)state;
    hd_canon c;
    hd_err err;
    hd_buf text;
    hd_buf_init(&text, (size_t)16 << 20);
    hd_buf_addz(&text, "{\"messages\": [{\"role\": \"assistant\", \"tool_calls\": [");
    for (int i = 0; i < 5000; i++)
        hd_buf_addf(&text,
                    "%s{\"id\": \"c%d\", \"function\": {\"name\": \"f\", \"arguments\": \"\"}}",
                    i ? ", " : "", i);
    hd_buf_addz(&text, "]}");
    for (int i = 5000; i-- > 0;)
        hd_buf_addf(&text, ", {\"role\": \"tool\", \"tool_call_id\": \"c%d\", \"content\": \"\"}",
                    i);
    hd_buf_addz(&text, "], \"tools\": [");
    for (int i = 0; i < 600; i++)
        hd_buf_addf(&text, "%s{\"function\": {\"name\": \"t%d\"}}", i ? ", " : "", i);
    hd_buf_addz(&text, "]}");
    assert_int_equal(parse(HD_DIALECT_CHAT, hd_buf_str(&text), &c, &err), HD_E_ARG);
    assert_string_equal(err.path, "tools");
    text.len = hd_str_find(hd_buf_str(&text), HD_STR(", \"tools\""), 0);
    hd_buf_addc(&text, '}');
    assert_int_equal(parse(HD_DIALECT_CHAT, hd_buf_str(&text), &c, &err), HD_OK);
    check_text(turn(&c, 1)->call_id, "c0");
    check_text(turn(&c, 5000)->call_id, "c4999");
    hd_buf_deinit(&text);
}

/* Texts that grow piece by piece, two at a time. */
static void many_pieces(void **state)
{
    (void)state;
    hd_canon c;
    hd_err err;
    hd_buf text;
    hd_buf_init(&text, (size_t)16 << 20);
    hd_buf_addz(&text, "{\"messages\": [{\"role\": \"assistant\", \"content\": [");
    for (int i = 0; i < 20000; i++)
        hd_buf_addf(&text,
                    "%s{\"type\": \"text\", \"text\": \"%d\"}, {\"type\": \"thinking\", "
                    "\"thinking\": \"t\"}",
                    i ? ", " : "", i % 10);
    hd_buf_addz(&text, "]}]}");
    assert_int_equal(parse(HD_DIALECT_MESSAGES, hd_buf_str(&text), &c, &err), HD_OK);
    hd_str content = c.turns->content, reasoning = c.turns->reasoning;
    assert_int_equal(content.len, 20000 + 2 * 19999);
    assert_int_equal(reasoning.len, 20000 + 2 * 19999);
    for (size_t i = 0; i < 20000; i++)
        assert_true(content.ptr[3 * i] == (char)('0' + i % 10) && reasoning.ptr[3 * i] == 't');
    assert_true(arena.used_bytes < (size_t)16 << 20);
    hd_buf_deinit(&text);
}

/* An arena that is too small is said to be so. */
static void no_memory(void **state)
{
    (void)state;
    hd_arena small;
    const hd_json *json;
    hd_canon c;
    hd_err err;
    static const char body[] = MESSAGES(U ", " U);
    hd_arena_reset(&arena);
    assert_int_equal(hd_json_parse(hd_str_from(body), NULL, &arena, &json, &err), HD_OK);
    hd_arena_init(&small, 16);
    assert_int_equal(hd_canon_parse(HD_DIALECT_CHAT, json, &small, &c, &err), HD_E_NOMEM);
    hd_arena_deinit(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chat_messages_refused),
        cmocka_unit_test(chat_settings_refused),
        cmocka_unit_test(tools_refused),
        cmocka_unit_test(other_dialects_refused),
        cmocka_unit_test(wrong_types_everywhere),
        cmocka_unit_test(many),
        cmocka_unit_test(many_pieces),
        cmocka_unit_test(no_memory),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
