/* Parsed answers: the strict parser against DeepSeek's published one (parse_v4, parse_v41), the
 * forgiving one against their service (recipe_stream_v4, recipe_stream_v41). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/recipe.h"
#include "support/vectors.h"
#include "text/outparse.h"
#include "text/parse_strict.h"
#include "text/tokenizer.h"

typedef struct tally {
    const char *version;
    hd_tokenizer *tokenizer; /* NULL: text only */
    size_t n_equal, n_refused, n_decided, n_wrong;
} tally;

static void show(hd_str id, const char *what, hd_str want, hd_str got)
{
    printf("%.*s: %s\n  want %.*s\n  got  %.*s\n", HD_STR_ARG(id), what, HD_STR_ARG(want),
           HD_STR_ARG(got));
}

/* ---- strict ---- */

static bool same_call(const hd_json *want, const hd_parsed_call *got)
{
    const hd_json *f = hd_json_get(want, "function"), *space = hd_json_get(want, "namespace");
    return hd_str_eq(hd_json_get(f, "name")->text, got->name) &&
           hd_str_eq(hd_json_get(f, "arguments")->text, got->arguments) &&
           (space != NULL) == got->has_space && (!space || hd_str_eq(space->text, got->space));
}

static bool same_message(const hd_json *want, const hd_parsed *got)
{
    const hd_json *calls = hd_json_get(want, "tool_calls");
    if (!hd_str_eq(hd_json_get(want, "content")->text, got->content)) return false;
    if (!hd_str_eq(hd_json_get(want, "reasoning_content")->text, got->reasoning)) return false;
    if (calls->n != got->n_calls) return false;
    size_t i = 0;
    for (const hd_json *c = calls->child; c; c = c->next)
        if (!same_call(c, &got->calls[i++])) return false;
    return true;
}

static void check_strict(const hd_json *row, void *ctx)
{
    tally *t = ctx;
    hd_arena arena;
    hd_parsed got;
    hd_err err;
    hd_str id = hd_json_get(row, "id")->text;
    const hd_json *options = hd_json_get(row, "options"), *want = hd_json_get(row, "expected");
    bool thinks = hd_str_eqz(hd_json_get(options, "thinking_mode")->text, "thinking");
    hd_arena_init(&arena, 16 << 20);
    hd_status status = hd_parse_strict(hd_json_get(row, "completion")->text,
                                       hd_chat_rules_find(hd_str_from(t->version), HD_STR("")),
                                       thinks, &arena, &got, &err);
    if (status == HD_OK && want && same_message(want, &got)) {
        t->n_equal++;
    } else if (status == HD_E_FORMAT && !want) {
        t->n_refused++;
    } else {
        t->n_wrong++;
        show(id, status == HD_OK ? "other message" : err.text,
             want ? want->text : HD_STR("refusal"), got.content);
    }
    hd_arena_deinit(&arena);
}

static void check_strict_file(const char *version, const char *file)
{
    tally t = {.version = version};
    test_text_rows(file, check_strict, &t);
    printf("%s strict: %zu equal, %zu refused, %zu wrong\n", version, t.n_equal, t.n_refused,
           t.n_wrong);
    assert_int_equal(t.n_wrong, 0);
    assert_true(t.n_equal > 20 && t.n_refused > 20);
}

static void v4_strict(void **state)
{
    (void)state;
    check_strict_file("v4", "parse_v4.jsonl");
}

static void v41_strict(void **state)
{
    (void)state;
    check_strict_file("v4.1", "parse_v41.jsonl");
}

/* ---- forgiving ---- */

typedef struct answer {
    hd_buf reasoning, content, name, arguments; /* of all calls, each ended by a line feed */
    hd_finish finish;
    int n_calls;
    bool is_finished;
} answer;

static void take_events(hd_outparse *p, void *ctx)
{
    answer *a = ctx;
    hd_out_event e;
    while (hd_outparse_next(p, &e)) {
        assert_false(a->is_finished);
        hd_str text = {e.text, e.len};
        switch (e.kind) {
        case HD_OUT_REASONING: hd_buf_add_str(&a->reasoning, text); break;
        case HD_OUT_TEXT: hd_buf_add_str(&a->content, text); break;
        case HD_OUT_TOOL_OPEN:
            assert_int_equal(e.call, a->n_calls);
            if (a->n_calls++) hd_buf_addc(&a->arguments, '\n');
            hd_buf_add_str(&a->name, text);
            hd_buf_addc(&a->name, '\n');
            break;
        case HD_OUT_TOOL_ARGS:
            assert_int_equal(e.call, a->n_calls - 1);
            hd_buf_add_str(&a->arguments, text);
            break;
        case HD_OUT_TOOL_CLOSE: break;
        case HD_OUT_FINISH:
            a->finish = e.finish;
            a->is_finished = true;
            break;
        }
    }
}

/* The names or arguments of all calls, each followed by a line feed but the last arguments. */
static void join_calls(const hd_json *calls, const char *key, const char *replaced, hd_buf *out)
{
    for (const hd_json *c = calls ? calls->child : NULL; c; c = c->next) {
        const hd_json *f = hd_json_get(c, "function");
        if (replaced)
            hd_buf_addz(out, replaced);
        else
            hd_buf_add_str(out, hd_json_get(f, key)->text);
        if (c->next || key[0] == 'n') hd_buf_addc(out, '\n');
    }
}

static hd_str text_of(const hd_json *message, const char *key)
{
    const hd_json *node = hd_json_get(message, key);
    return node ? node->text : HD_STR("");
}

static bool same_answer(hd_str id, const hd_json *expected, const answer *got, const char *decision)
{
    static const char *const reasons[] = {"stop", "length", "tool_calls", "content_filter"};
    const hd_json *message = hd_json_get(expected, "message");
    const hd_json *calls = hd_json_get(message, "tool_calls");
    hd_buf names, arguments;
    bool same = true, has_other_calls = decision && !calls;
    hd_buf_init(&names, 1 << 20);
    hd_buf_init(&arguments, 1 << 20);
    join_calls(calls, "name", NULL, &names);
    join_calls(calls, "arguments", decision, &arguments);
    if (has_other_calls) hd_buf_addz(&arguments, decision);
    const struct {
        const char *what;
        hd_str want, got;
    } parts[] = {
        {"reasoning", text_of(message, "reasoning_content"), hd_buf_str(&got->reasoning)},
        {"content", text_of(message, "content"), hd_buf_str(&got->content)},
        {"arguments", hd_buf_str(&arguments), hd_buf_str(&got->arguments)},
        {"names", hd_buf_str(&names), has_other_calls ? (hd_str){0} : hd_buf_str(&got->name)},
        {"finish", hd_json_get(expected, "finish_reason")->text,
         hd_str_from(has_other_calls ? "stop" : reasons[got->finish])},
    };
    for (size_t i = 0; i < HD_COUNT(parts); i++) {
        if (hd_str_eq(parts[i].want, parts[i].got)) continue;
        show(id, parts[i].what, parts[i].want, parts[i].got);
        same = false;
    }
    hd_buf_deinit(&arguments);
    hd_buf_deinit(&names);
    return same && got->is_finished;
}

/* As text in steps of several lengths, and as ids. */
static bool check_steps(const tally *t, const hd_json *row, const char *decision)
{
    static const size_t steps[] = {1000000, 1, 2, 3, 7, 0};
    bool same = true;
    for (size_t i = 0; i < HD_COUNT(steps) && same; i++) {
        answer a = {0};
        hd_buf *bufs[] = {&a.reasoning, &a.content, &a.name, &a.arguments};
        for (size_t k = 0; k < HD_COUNT(bufs); k++) hd_buf_init(bufs[k], 1 << 20);
        if (!steps[i] && !t->tokenizer) break;
        hd_outparse *p = recipe_parser(row, steps[i] ? NULL : t->tokenizer);
        recipe_feed(row, p, steps[i], t->tokenizer, take_events, &a);
        same =
            same_answer(hd_json_get(row, "id")->text, hd_json_get(row, "expected"), &a, decision);
        hd_outparse_destroy(p);
        for (size_t k = 0; k < HD_COUNT(bufs); k++) hd_buf_deinit(bufs[k]);
    }
    return same;
}

static void check_stream(const hd_json *row, void *ctx)
{
    tally *t = ctx;
    const char *decision = recipe_decision(row);
    if (!check_steps(t, row, decision))
        t->n_wrong++;
    else if (decision)
        t->n_decided++;
    else
        t->n_equal++;
}

/* V4's serves both versions: the tokens that matter to answers are the same. */
static hd_tokenizer *open_tokenizer(void)
{
    hd_tokenizer *t = NULL;
    const char *path = test_text_path("tokenizer.json");
    if (access(path, R_OK) == 0) assert_int_equal(hd_tokenizer_open(path, &t, NULL), HD_OK);
    return t;
}

static void check_stream_file(const char *file)
{
    tally t = {.tokenizer = open_tokenizer()};
    test_text_rows(file, check_stream, &t);
    hd_tokenizer_close(t.tokenizer);
    printf("%zu equal to the service, %zu decided otherwise, %zu wrong\n", t.n_equal, t.n_decided,
           t.n_wrong);
    assert_int_equal(t.n_wrong, 0);
    assert_true(t.n_equal > 60);
}

static void v4_stream(void **state)
{
    (void)state;
    check_stream_file("recipe_stream_v4.jsonl");
}

static void v41_stream(void **state)
{
    (void)state;
    check_stream_file("recipe_stream_v41.jsonl");
}

/* The bytes F0 9F, then </think>, then 91 8D: the token breaks the character. */
static void half_a_character_before_a_token(void **state)
{
    (void)state;
    static const int32_t ids[] = {175, 256, 128822, 242, 238};
    hd_tokenizer *t = open_tokenizer();
    hd_outparse_opts opts = {.start = HD_OUT_START_REASONING, .has_tools = 1};
    hd_outparse *p;
    answer a = {0};
    if (!t) skip();
    hd_buf_init(&a.reasoning, 100);
    hd_buf_init(&a.content, 100);
    assert_int_equal(hd_outparse_create(t, &opts, &p, NULL), HD_OK);
    for (size_t i = 0; i < HD_COUNT(ids); i++) {
        assert_int_equal(hd_outparse_push(p, ids[i], NULL), HD_OK);
        take_events(p, &a);
    }
    assert_int_equal(hd_outparse_finish(p, HD_FINISH_STOP, NULL), HD_OK);
    take_events(p, &a);
    assert_true(hd_str_eqz(hd_buf_str(&a.reasoning), "\xEF\xBF\xBD"));
    assert_true(hd_str_eqz(hd_buf_str(&a.content), "\xEF\xBF\xBD\xEF\xBF\xBD"));
    hd_outparse_destroy(p);
    hd_buf_deinit(&a.reasoning);
    hd_buf_deinit(&a.content);
    hd_tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(v4_strict),
        cmocka_unit_test(v41_strict),
        cmocka_unit_test(v4_stream),
        cmocka_unit_test(v41_stream),
        cmocka_unit_test(half_a_character_before_a_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
