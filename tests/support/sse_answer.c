#include "support/sse_answer.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/jsonw.h"
#include "base/utf8.h"

#define MAX_BYTES ((size_t)8 << 20)

/* No cmocka here: fuzzers use this as well. */
HD_NORETURN static void wrong(const char *fmt, ...) HD_PRINTF(1, 2);

HD_NORETURN static void wrong(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

#define REQUIRE(holds)                                                                             \
    do {                                                                                           \
        if (!(holds)) wrong("%s:%d: expected %s", __FILE__, __LINE__, #holds);                     \
    } while (0)

/* ---- pieces -----------------------------------------------------------------------------------*/

void sse_answer_init(sse_answer *a)
{
    *a = (sse_answer){.n_prompt = -1, .n_cached = -1, .n_out = -1, .n_thought = -1};
    hd_buf_init(&a->reasoning, MAX_BYTES);
    hd_buf_init(&a->text, MAX_BYTES);
    for (int i = 0; i < SSE_MAX_CALLS; i++) {
        hd_buf_init(&a->calls[i].name, MAX_BYTES);
        hd_buf_init(&a->calls[i].args, MAX_BYTES);
    }
}

void sse_answer_deinit(sse_answer *a)
{
    hd_buf_deinit(&a->reasoning);
    hd_buf_deinit(&a->text);
    for (int i = 0; i < SSE_MAX_CALLS; i++) {
        hd_buf_deinit(&a->calls[i].name);
        hd_buf_deinit(&a->calls[i].args);
    }
}

static const hd_json *get(const hd_json *object, const char *key)
{
    const hd_json *found = hd_json_get(object, key);
    if (!found) wrong("no member '%s' in %.*s", key, HD_STR_ARG(object->text));
    return found;
}

static bool is_word(const hd_json *node, const char *word)
{
    return node && node->kind == HD_JSON_STRING && hd_str_eqz(node->text, word);
}

static int64_t get_number(const hd_json *object, const char *key)
{
    int64_t n;
    REQUIRE(hd_json_i64(get(object, key), 0, INT64_MAX, &n, NULL) == HD_OK);
    return n;
}

static const hd_json *parse(hd_str text, hd_arena *arena)
{
    static const hd_json_opts opts = {.allow_duplicates = true}; /* a model may repeat arguments */
    const hd_json *tree = NULL;
    hd_err err = {0};
    REQUIRE(hd_utf8_valid(text));
    if (hd_json_parse(text, &opts, arena, &tree, &err) != HD_OK)
        wrong("%s: %.*s", err.text, HD_STR_ARG(text));
    return tree;
}

static void add_call(sse_answer *a, hd_str name)
{
    REQUIRE(a->n_calls < SSE_MAX_CALLS);
    hd_buf_add_str(&a->calls[a->n_calls++].name, name);
}

static void add_args(sse_answer *a, hd_str args)
{
    REQUIRE(a->n_calls > 0);
    hd_buf_add_str(&a->calls[a->n_calls - 1].args, args);
}

static void end_with(sse_answer *a, const char *finish)
{
    REQUIRE(!a->finish[0]);
    snprintf(a->finish, sizeof a->finish, "%s", finish);
}

static void add_usage(sse_answer *a, const hd_json *usage, bool is_openai)
{
    if (usage->kind != HD_JSON_OBJECT) return;
    a->n_prompt = get_number(usage, "prompt_tokens");
    a->n_out = get_number(usage, "completion_tokens");
    a->n_cached = get_number(get(usage, "prompt_tokens_details"), "cached_tokens");
    a->n_thought = get_number(get(usage, "completion_tokens_details"), "reasoning_tokens");
    if (is_openai) REQUIRE(get_number(usage, "total_tokens") == a->n_prompt + a->n_out);
    REQUIRE(get_number(usage, "prompt_cache_hit_tokens") == a->n_cached);
}

/* ---- Chat and Completions ---------------------------------------------------------------------*/

static void add_reason(sse_answer *a, const hd_json *choice)
{
    const hd_json *reason = get(choice, "finish_reason");
    char text[40];
    if (reason->kind != HD_JSON_STRING) return;
    snprintf(text, sizeof text, "%.*s", HD_STR_ARG(reason->text));
    end_with(a, text);
}

static void add_tool_delta(sse_answer *a, const hd_json *call)
{
    const hd_json *function = get(call, "function");
    if (hd_json_get(call, "id")) {
        REQUIRE(get_number(call, "index") == a->n_calls);
        REQUIRE(is_word(get(call, "type"), "function"));
        add_call(a, get(function, "name")->text);
    } else {
        REQUIRE(!hd_json_get(function, "name"));
        REQUIRE(get_number(call, "index") == a->n_calls - 1);
    }
    add_args(a, get(function, "arguments")->text);
}

/* A delta or a message. */
static void add_message(sse_answer *a, const hd_json *message)
{
    const hd_json *content = hd_json_get(message, "content"),
                  *reasoning = hd_json_get(message, "reasoning_content"),
                  *calls = hd_json_get(message, "tool_calls");
    if (content && content->kind == HD_JSON_STRING) hd_buf_add_str(&a->text, content->text);
    if (reasoning) hd_buf_add_str(&a->reasoning, reasoning->text);
    for (const hd_json *c = calls ? calls->child : NULL; c; c = c->next) add_tool_delta(a, c);
}

static void add_chunk(sse_answer *a, const hd_json *chunk)
{
    const hd_json *choice = get(chunk, "choices")->child;
    const hd_json *usage = hd_json_get(chunk, "usage");
    if (usage) add_usage(a, usage, true);
    if (!choice) return;
    REQUIRE(!a->finish[0]);
    if (hd_json_get(choice, "text"))
        hd_buf_add_str(&a->text, get(choice, "text")->text);
    else if (hd_json_get(choice, "delta"))
        add_message(a, get(choice, "delta"));
    else
        add_message(a, get(choice, "message"));
    add_reason(a, choice);
}

/* ---- Responses --------------------------------------------------------------------------------*/

static bool is_call_item(const hd_json *item)
{
    return is_word(get(item, "type"), "function_call") ||
           is_word(get(item, "type"), "custom_tool_call");
}

static void end_response(sse_answer *a, const hd_json *response)
{
    const hd_json *status = get(response, "status"), *usage = get(response, "usage");
    if (is_word(status, "completed"))
        end_with(a, a->n_calls ? "tool_calls" : "stop");
    else
        end_with(a, is_word(status, "incomplete") ? "length" : "failed");
    if (usage->kind != HD_JSON_OBJECT) return;
    a->n_prompt = get_number(usage, "input_tokens");
    a->n_out = get_number(usage, "output_tokens");
    a->n_cached = get_number(get(usage, "input_tokens_details"), "cached_tokens");
    a->n_thought = get_number(get(usage, "output_tokens_details"), "reasoning_tokens");
}

static void add_response(sse_answer *a, const hd_json *response)
{
    for (const hd_json *item = get(response, "output")->child; item; item = item->next) {
        if (is_call_item(item)) {
            const hd_json *input = hd_json_get(item, "input");
            add_call(a, get(item, "name")->text);
            add_args(a, (input ? input : get(item, "arguments"))->text);
            continue;
        }
        bool is_text = is_word(get(item, "type"), "message");
        for (const hd_json *c = get(item, "content")->child; c; c = c->next)
            hd_buf_add_str(is_text ? &a->text : &a->reasoning, get(c, "text")->text);
    }
    end_response(a, response);
}

static void open_item(sse_answer *a, const hd_json *event)
{
    const hd_json *item = get(event, "item");
    REQUIRE(!a->is_open);
    REQUIRE(get_number(event, "output_index") == a->n_open++);
    a->is_open = true;
    if (is_call_item(item)) add_call(a, get(item, "name")->text);
}

static void add_response_delta(sse_answer *a, const hd_json *event)
{
    hd_str type = get(event, "type")->text, delta = get(event, "delta")->text;
    REQUIRE(a->is_open);
    REQUIRE(get_number(event, "output_index") == a->n_open - 1);
    if (hd_str_eqz(type, "response.output_text.delta"))
        hd_buf_add_str(&a->text, delta);
    else if (hd_str_eqz(type, "response.reasoning_text.delta"))
        hd_buf_add_str(&a->reasoning, delta);
    else if (!hd_str_eqz(type, "response.reasoning_summary_text.delta"))
        add_args(a, delta);
}

static void add_response_event(sse_answer *a, const hd_json *event)
{
    hd_str type = get(event, "type")->text;
    if (hd_str_ends(type, HD_STR(".delta"))) {
        add_response_delta(a, event);
    } else if (hd_str_eqz(type, "response.output_item.added")) {
        open_item(a, event);
    } else if (hd_str_eqz(type, "response.output_item.done")) {
        REQUIRE(a->is_open);
        a->is_open = false;
    } else if (hd_str_eqz(type, "response.completed") || hd_str_eqz(type, "response.incomplete") ||
               hd_str_eqz(type, "response.failed")) {
        const hd_json *response = get(event, "response");
        sse_answer last;
        end_response(a, response);
        sse_answer_init(&last);
        add_response(&last, response);
        sse_answer_same(a, &last, false);
        sse_answer_deinit(&last);
    }
}

/* ---- Messages ---------------------------------------------------------------------------------*/

static void end_message(sse_answer *a, const hd_json *reason, const hd_json *usage)
{
    a->n_cached = get_number(usage, "cache_read_input_tokens");
    a->n_prompt = get_number(usage, "input_tokens") + a->n_cached;
    a->n_out = get_number(usage, "output_tokens");
    a->n_thought = get_number(get(usage, "output_tokens_details"), "thinking_tokens");
    if (is_word(reason, "end_turn") || is_word(reason, "stop_sequence"))
        end_with(a, "stop");
    else
        end_with(a, is_word(reason, "tool_use") ? "tool_calls" : "length");
}

static void add_block(sse_answer *a, const hd_json *block)
{
    const hd_json *type = get(block, "type");
    if (is_word(type, "text")) hd_buf_add_str(&a->text, get(block, "text")->text);
    if (is_word(type, "thinking")) hd_buf_add_str(&a->reasoning, get(block, "thinking")->text);
    if (is_word(type, "tool_use")) add_call(a, get(block, "name")->text);
}

static void add_whole_message(sse_answer *a, const hd_json *message)
{
    for (const hd_json *b = get(message, "content")->child; b; b = b->next) {
        add_block(a, b);
        if (is_word(get(b, "type"), "thinking")) REQUIRE(get(b, "signature")->text.len > 0);
        if (is_word(get(b, "type"), "tool_use")) add_args(a, get(b, "input")->text);
    }
    end_message(a, get(message, "stop_reason"), get(message, "usage"));
}

static void add_block_delta(sse_answer *a, const hd_json *delta)
{
    const hd_json *type = get(delta, "type");
    if (is_word(type, "text_delta")) hd_buf_add_str(&a->text, get(delta, "text")->text);
    if (is_word(type, "thinking_delta"))
        hd_buf_add_str(&a->reasoning, get(delta, "thinking")->text);
    if (is_word(type, "input_json_delta")) add_args(a, get(delta, "partial_json")->text);
    if (is_word(type, "signature_delta")) REQUIRE(get(delta, "signature")->text.len > 0);
}

static void add_message_event(sse_answer *a, const hd_json *event)
{
    const hd_json *type = get(event, "type");
    if (is_word(type, "content_block_start")) {
        REQUIRE(!a->is_open);
        REQUIRE(get_number(event, "index") == a->n_open++);
        a->is_open = true;
        add_block(a, get(event, "content_block"));
    } else if (is_word(type, "content_block_delta")) {
        REQUIRE(a->is_open);
        REQUIRE(get_number(event, "index") == a->n_open - 1);
        add_block_delta(a, get(event, "delta"));
    } else if (is_word(type, "content_block_stop")) {
        REQUIRE(a->is_open);
        a->is_open = false;
    } else if (is_word(type, "message_delta")) {
        REQUIRE(!a->is_open);
        end_message(a, get(get(event, "delta"), "stop_reason"), get(event, "usage"));
    } else if (is_word(type, "error")) {
        end_with(a, "failed");
    }
}

/* ---- all --------------------------------------------------------------------------------------*/

/* One event: its lines, without the empty one. `i`: how many there were before. */
static void add_event(sse_answer *a, hd_dialect dialect, hd_str lines, int64_t i)
{
    bool has_names = dialect == HD_DIALECT_RESPONSES || dialect == HD_DIALECT_MESSAGES;
    hd_str name = {0};
    if (hd_str_starts(lines, HD_STR(": "))) return; /* a comment */
    if (has_names) {
        size_t end = hd_str_find(lines, HD_STR("\n"), 0);
        REQUIRE(hd_str_starts(lines, HD_STR("event: ")) && end < lines.len);
        name = (hd_str){lines.ptr + 7, end - 7};
        lines = hd_str_skip(lines, end + 1);
    }
    REQUIRE(hd_str_starts(lines, HD_STR("data: ")));
    REQUIRE(hd_str_find(lines, HD_STR("\n"), 0) == lines.len);
    hd_str data = hd_str_skip(lines, 6);
    if (hd_str_eqz(data, "[DONE]")) {
        REQUIRE(!has_names);
        return;
    }
    hd_arena arena;
    hd_arena_init(&arena, MAX_BYTES);
    const hd_json *event = parse(data, &arena);
    if (has_names) REQUIRE(hd_str_eq(get(event, "type")->text, name));
    if (dialect == HD_DIALECT_RESPONSES) {
        REQUIRE(get_number(event, "sequence_number") == i);
        add_response_event(a, event);
    } else if (dialect == HD_DIALECT_MESSAGES) {
        if (i == 0) REQUIRE(is_word(get(event, "type"), "message_start"));
        add_message_event(a, event);
    } else if (hd_json_get(event, "error")) {
        end_with(a, "failed");
    } else {
        add_chunk(a, event);
    }
    hd_arena_deinit(&arena);
}

void sse_answer_stream(sse_answer *a, hd_dialect dialect, hd_str bytes)
{
    for (int64_t i = 0; bytes.len; i++) {
        size_t end = hd_str_find(bytes, HD_STR("\n\n"), 0);
        REQUIRE(end < bytes.len);
        add_event(a, dialect, (hd_str){bytes.ptr, end}, i);
        bytes = hd_str_skip(bytes, end + 2);
    }
}

void sse_answer_whole(sse_answer *a, hd_dialect dialect, hd_str bytes)
{
    hd_arena arena;
    hd_arena_init(&arena, MAX_BYTES);
    const hd_json *tree = parse(bytes, &arena);
    if (hd_json_get(tree, "error") && get(tree, "error")->kind == HD_JSON_OBJECT)
        end_with(a, "failed");
    else if (dialect == HD_DIALECT_RESPONSES)
        add_response(a, tree);
    else if (dialect == HD_DIALECT_MESSAGES)
        add_whole_message(a, tree);
    else
        add_chunk(a, tree);
    hd_arena_deinit(&arena);
}

static void same_text(const char *what, hd_str a, hd_str b)
{
    if (!hd_str_eq(a, b)) wrong("%s differs:\n  %.*s\n  %.*s", what, HD_STR_ARG(a), HD_STR_ARG(b));
}

/* As Python would print the object. */
static void print_object(hd_str text, hd_buf *out)
{
    hd_arena arena;
    hd_arena_init(&arena, MAX_BYTES);
    hd_buf_init(out, MAX_BYTES);
    hd_jsonw_value(out, parse(text, &arena));
    hd_arena_deinit(&arena);
}

static void same_args(hd_str a, hd_str b, bool has_objects)
{
    hd_buf a_object, b_object;
    if (!has_objects) {
        same_text("arguments", a, b);
        return;
    }
    print_object(a, &a_object);
    print_object(b, &b_object);
    same_text("arguments", hd_buf_str(&a_object), hd_buf_str(&b_object));
    hd_buf_deinit(&a_object);
    hd_buf_deinit(&b_object);
}

void sse_answer_same(const sse_answer *a, const sse_answer *b, bool has_objects)
{
    same_text("reasoning", hd_buf_str(&a->reasoning), hd_buf_str(&b->reasoning));
    same_text("text", hd_buf_str(&a->text), hd_buf_str(&b->text));
    REQUIRE(a->n_calls == b->n_calls);
    for (int i = 0; i < a->n_calls; i++) {
        same_text("name", hd_buf_str(&a->calls[i].name), hd_buf_str(&b->calls[i].name));
        same_args(hd_buf_str(&a->calls[i].args), hd_buf_str(&b->calls[i].args), has_objects);
    }
    REQUIRE(strcmp(a->finish, b->finish) == 0);
    REQUIRE(a->n_prompt == b->n_prompt);
    REQUIRE(a->n_cached == b->n_cached);
    REQUIRE(a->n_out == b->n_out);
    REQUIRE(a->n_thought == b->n_thought);
}
