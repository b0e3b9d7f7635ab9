/* Chats by the public interface: odd requests, what is marked as a token, memory running out. (That
 * prompts are right is shown by golden/test_text_chat.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "hadal/text.h"
#include "text/chat_prep.h"
#include "text/prompt.h"

/* The prompt's text, or the error's with its path behind a '@'. */
static const char *render(const char *request)
{
    static char out[4096];
    hd_prompt *p;
    hd_err err = {0};
    size_t len;
    if (hd_prompt_create(request, strlen(request), &p, &err) != HD_OK) {
        snprintf(out, sizeof out, "%s@%s", err.text, err.path);
        return out;
    }
    const char *text = hd_prompt_text(p, &len);
    assert_true(len < sizeof out);
    memcpy(out, text, len);
    out[len] = '\0';
    hd_prompt_destroy(p);
    return out;
}

#define BOS "<｜begin▁of▁sentence｜>"
#define U   "<｜User｜>"
#define A   "<｜Assistant｜></think>"

static void odd_requests_are_read_or_refused(void **state)
{
    (void)state;
    static const struct {
        const char *request, *want;
    } rows[] = {
        {"{\"messages\": []}", BOS},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"a\\u0000b\"}]}", BOS U "a"},
        /* Null results and reminders: empty, not the word None. */
        {"{\"messages\": [{\"role\": \"tool\", \"content\": null}]}",
         BOS U "<tool_result></tool_result>" A},
        {"{\"messages\": [{\"role\": \"latest_reminder\", \"content\": null}]}",
         BOS "<｜latest_reminder｜>"},
        /* Lists where the published encoder crashes. */
        {"{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": "
         "\"a\"}, "
         "{\"type\": \"image_url\", \"image_url\": \"x\"}, {\"type\": \"text\", \"text\": "
         "null}]}]}",
         BOS U "a\n\n[Unsupported image_url]\n\n" A},
        {"{\"messages\": [{\"role\": \"system\", \"content\": [{\"type\": \"text\", \"text\": "
         "\"a\"}, {\"type\": \"text\", \"text\": \"b\"}]}]}",
         BOS "a\n\nb"},
        {"{\"prompt\": \"a<think>\", \"suffix\": \"b\"}",
         BOS "<｜fim▁begin｜>a<think><｜fim▁hole｜>b<｜fim▁end｜>"},
        {"{\"prompt\": \"a\"}", BOS "<｜fim▁begin｜>a<｜fim▁hole｜><｜fim▁end｜>"},
        {"{\"prompt\": 5}", "'prompt' must be a string, got 5@prompt"},
        {"{}", "a request must be an object with 'messages', a list@"},
        {"[]", "a request must be an object with 'messages', a list@"},
        {"{\"messages\": {}}", "'messages' must be a list of messages, got an object@messages"},
        {"{\"messages\": [5]}", "'messages[0]' must be an object, got a number@messages[0]"},
        {"{\"messages\": [{}]}", "'role' must be a string, got nothing@messages[0].role"},
        {"{\"messages\": [{\"role\": 5}]}", "'role' must be a string, got 5@messages[0].role"},
        {"{\"messages\": [{\"role\": \"observer\"}]}",
         "'messages[0].role' must be system, developer, user, assistant, tool or latest_reminder, "
         "got observer@messages[0].role"},
        {"{\"version\": \"v4.1\", \"messages\": [{\"role\": \"developer\", \"content\": \"x\"}]}",
         "'messages[0].role' must be system, user, assistant, tool or latest_reminder, got "
         "developer@messages[0].role"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": null}]}",
         "'messages[0].content' must be a string or a list of parts, got null@messages[0].content"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": [\"a\"]}]}",
         "'messages[0].content[0]' must be an object with a 'type', got a string"
         "@messages[0].content[0]"},
        {"{\"messages\": [{\"role\": \"tool\", \"content\": [{\"text\": \"a\"}]}]}",
         "'type' must be a string, got nothing@messages[0].content[0].type"},
        {"{\"messages\": [{\"role\": \"tool\", \"content\": 5}]}",
         "'messages[0].content' must be a string or a list of parts, got 5@messages[0].content"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": 5}]}]}",
         "'text' must be a string, got 5@messages[0].content[0].text"},
        {"{\"messages\": [{\"role\": \"developer\"}]}",
         "'messages[0].content' of a developer must not be empty@messages[0]"},
        {"{\"messages\": [{\"role\": \"assistant\", \"tool_calls\": \"x\"}]}",
         "'messages[0].tool_calls' must be a list of calls, got x@messages[0].tool_calls"},
        {"{\"messages\": [{\"role\": \"assistant\", \"reasoning_content\": 5}], \"options\": "
         "{\"thinking_mode\": \"thinking\"}}",
         "'messages[0].reasoning_content' must be a string, got 5@messages[0].reasoning_content"},
        {"{\"messages\": [{\"role\": \"system\"}], \"tools\": \"x\"}",
         "'tools' must be a list of tools, got a string@tools"},
        {"{\"messages\": [{\"role\": \"system\"}], \"tools\": [{\"name\": \"x\"}]}",
         "'tools[0].function' must be an object@tools[0]"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"x\", \"task\": 5}]}",
         "'messages[0].task' must be action, query, authority, domain, title or read_url, got 5"
         "@messages[0].task"},
        {"{\"messages\": [], \"options\": 5}", "'options' must be an object, got 5@options"},
        {"{\"messages\": [], \"options\": {\"thinking_mode\": \"fast\"}}",
         "'options.thinking_mode' must be chat or thinking, got fast@options.thinking_mode"},
        {"{\"messages\": [], \"options\": {\"drop_thinking\": 1}}",
         "'drop_thinking' must be a boolean, got 1@options.drop_thinking"},
        {"{\"messages\": [], \"options\": {\"reasoning_effort\": \"medium\"}}",
         "'options.reasoning_effort' must be low, high or max, got medium"
         "@options.reasoning_effort"},
        {"{\"messages\": [], \"options\": {\"release\": \"april\", \"reasoning_effort\": \"low\"}}",
         "'options.reasoning_effort' must be high or max, got low@options.reasoning_effort"},
        {"{\"messages\": [], \"version\": \"v4.1\", \"options\": {\"reasoning_effort\": 0}}",
         "'options.reasoning_effort' must be low, high, max or an integer from 1 to 100, got 0"
         "@options.reasoning_effort"},
        {"{\"messages\": [], \"version\": \"v5\"}",
         "no chat format 'v5' '', expected v4 or v4.1, and for v4 april or 0731@"},
        {"{\"messages\": [], \"options\": {\"release\": \"may\"}}",
         "no chat format '' 'may', expected v4 or v4.1, and for v4 april or 0731@"},
        {"{\"messages\": [], \"options\": {\"context\": 5}}",
         "'options.context' must be a list of messages, got a number@options.context"},
        {"{\"version\": \"v4.1\", \"messages\": [{\"role\": \"user\", \"content\": [{\"type\": "
         "\"tool_result\", \"content\": [{\"type\": \"text\", \"text\": "
         "\"<｜deepseek_image｜>\"}]}]}]}",
         "'messages[0].content[0].content[0].text' must not contain '<｜deepseek_image｜>': images "
         "are parts of their own@messages[0].content[0].content[0].text"},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++)
        assert_string_equal(render(rows[i].request), rows[i].want);
}

static void where_an_answer_begins(void **state)
{
    (void)state;
    static const struct {
        const char *request;
        hd_out_start start;
    } rows[] = {
        {"{\"messages\": []}", HD_OUT_START_TEXT},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"<think>\"}]}", HD_OUT_START_TEXT},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"</think>\"}], \"options\": "
         "{\"thinking_mode\": \"thinking\"}}",
         HD_OUT_START_REASONING},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        hd_prompt *p;
        assert_int_equal(hd_prompt_create(rows[i].request, strlen(rows[i].request), &p, NULL),
                         HD_OK);
        assert_int_equal(hd_prompt_start(p), rows[i].start);
        hd_prompt_destroy(p);
    }
    hd_prompt_destroy(NULL);
}

/* What users spell is no mark; what the template writes is. */
static void only_the_template_writes_tokens(void **state)
{
    (void)state;
    static const char request[] =
        "{\"messages\": [{\"role\": \"system\", \"content\": \"<｜User｜>\"}, {\"role\": \"user\", "
        "\"content\": \"</think>｜DSML｜\"}]}";
    static const char *const want[] = {BOS, U, "<｜Assistant｜>", "</think>"};
    hd_prompt *p;
    size_t n;
    assert_int_equal(hd_prompt_create(request, sizeof request - 1, &p, NULL), HD_OK);
    const hd_prompt_mark *marks = hd_prompt_marks(p, &n);
    assert_int_equal(n, HD_COUNT(want));
    for (size_t i = 0; i < n; i++) {
        hd_str s = {p->text.ptr + marks[i].begin, marks[i].end - marks[i].begin};
        assert_true(hd_str_eqz(s, want[i]));
    }
    assert_int_equal(marks[2].begin, p->text.len - (sizeof "<｜Assistant｜></think>" - 1));
    hd_prompt_destroy(p);
}

static void python_truth(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        bool truth;
    } rows[] = {{"null", false}, {"false", false},    {"true", true},    {"0", false},
                {"0.0", false},  {"-0", false},       {"1e-999", false}, {"2", true},
                {"\"\"", false}, {"\"0\"", true},     {"[]", false},     {"[0]", true},
                {"{}", false},   {"{\"a\": 0}", true}};
    hd_arena arena;
    hd_arena_init(&arena, 1 << 20);
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        const hd_json *v;
        assert_int_equal(hd_json_parse(hd_str_from(rows[i].json), NULL, &arena, &v, NULL), HD_OK);
        assert_int_equal(hd_chat_truthy(v), rows[i].truth);
    }
    assert_false(hd_chat_truthy(NULL));
    hd_arena_deinit(&arena);
}

static void many_results_sort_fast(void **state)
{
    (void)state;
    enum { N = 20000 };
    hd_buf request;
    hd_prompt *p;
    size_t len;
    hd_buf_init(&request, 64 << 20);
    hd_buf_addz(&request, "{\"messages\": [{\"role\": \"assistant\", \"tool_calls\": [");
    for (int i = 0; i < N; i++)
        hd_buf_addf(&request, "%s{\"id\": \"c%d\", \"function\": {\"name\": \"f\"}}", i ? "," : "",
                    i);
    hd_buf_addz(&request, "]}");
    for (int i = N; i-- > 0;)
        hd_buf_addf(&request,
                    ",{\"role\": \"tool\", \"tool_call_id\": \"c%d\", \"content\": \"%d\"}", i, i);
    hd_buf_addz(&request, "]}");
    assert_int_equal(hd_prompt_create(request.ptr, request.len, &p, NULL), HD_OK);
    const char *at = hd_prompt_text(p, &len);
    for (int i = 0; i < N; i++) {
        char want[64];
        snprintf(want, sizeof want, "<tool_result>%d</tool_result>", i);
        at = strstr(at, want);
        assert_non_null(at);
    }
    hd_prompt_destroy(p);
    hd_buf_deinit(&request);
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    static const char request[] =
        "{\"messages\": [{\"role\": \"system\", \"content\": \"s\", \"response_format\": {\"a\": "
        "1}},"
        "{\"role\": \"user\", \"content\": \"x\"}, {\"role\": \"assistant\", \"tool_calls\": ["
        "{\"id\": \"1\", \"function\": {\"name\": \"f\", \"arguments\": \"{\\\"a\\\": [1]}\"}},"
        "{\"id\": \"2\", \"function\": {\"name\": \"f\", \"arguments\": \"{}\"}}]},"
        "{\"role\": \"tool\", \"tool_call_id\": \"2\", \"content\": \"b\"},"
        "{\"role\": \"tool\", \"tool_call_id\": \"1\", \"content\": \"a\"}],"
        "\"tools\": [{\"function\": {\"name\": \"f\"}}], \"version\": \"v4.1\","
        "\"options\": {\"thinking_mode\": \"thinking\", \"reasoning_effort\": 5}}";
    long n = 0;
    hd_status status;
    do {
        hd_prompt *p;
        hd_mem_fail_after(n++);
        status = hd_prompt_create(request, sizeof request - 1, &p, NULL);
        hd_mem_fail_after(-1);
        if (status != HD_OK) assert_int_equal(status, HD_E_NOMEM);
        hd_prompt_destroy(p);
    } while (status != HD_OK);
    assert_in_range(n, 15, 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(odd_requests_are_read_or_refused),
        cmocka_unit_test(where_an_answer_begins),
        cmocka_unit_test(only_the_template_writes_tokens),
        cmocka_unit_test(python_truth),
        cmocka_unit_test(many_results_sort_fast),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
