/* Requests against DeepSeek's service (rows of recipe_request_v4 and _v41): the same ids, the same
 * settings, or refused like there. Where hadal decides otherwise, the table below says so and why;
 * docs/http-api.md has the same list. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/canon.h"
#include "support/tmpdir.h"
#include "support/vectors.h"
#include "text/tokenizer.h"

/* What is different about a row. */
typedef enum otherwise {
    READ,    /* the service refuses it */
    REFUSED, /* the service reads it */
    LIMIT,   /* another limit of tokens */
    PROMPT   /* another prompt; prefilled: where its answer starts, too */
} otherwise;

/* Rows are found by a part of their id, or by what the service says when it refuses. */
static const struct {
    const char *version; /* NULL: both */
    const char *id, *refusal;
    otherwise how;
    const char *why;
} differences[] = {
    {NULL, NULL, "unknown variant `developer`", READ, "the role `developer` is `system`"},
    {NULL, NULL, "contain the word 'json'", READ, "JSON is enforced: nobody has to ask for it"},
    {NULL, NULL, "Thinking mode does not support this tool_choice", READ, "reasoning, then calls"},
    {NULL, NULL, "Cannot use strict tool with non-strict tool", READ, "each has its own grammar"},
    {NULL, NULL, "server tools are not supported", READ, "left out, with a warning"},
    {NULL, NULL, "body: unknown variant `web_search`", READ, "tools of other types are left out"},
    {NULL, NULL, "unknown variant `redacted_thinking`", READ, "nothing in it can be read"},
    {NULL, NULL, "unknown variant `between_tools`", READ, "the same as adaptive"},
    {NULL, NULL, "Unsupported custom tool", READ, "custom tools are functions with one text"},
    {NULL, NULL, "Input items array must not be empty", READ, "clients probe with it"},
    {NULL, "max_tokens-393217", NULL, READ, "cut to the room left, not refused"},
    {NULL, "max_completion_tokens", NULL, LIMIT, "max_completion_tokens counts"},
    {NULL, "-image", NULL, REFUSED, "nothing here reads images"},
    {NULL, "responses-r-prev", NULL, REFUSED, "no history is kept here"},
    {NULL, "responses-r-conversation", NULL, REFUSED, "no history is kept here"},
    {NULL, "responses-r-background", NULL, REFUSED, "nothing is stored"},
    {NULL, "messages-a-prefill", NULL, PROMPT, "a last message of the assistant is continued"},
    {"v4", "chat-mid_system", NULL, PROMPT, "later system messages stay where they are"},
};

typedef struct tally {
    const char *version;
    hd_release release;
    hd_tokenizer *tokenizer;
    size_t n_prompts, n_refused, n_otherwise, n_wrong;
} tally;

/* ---- comparing ---- */

static bool has(hd_str text, const char *part)
{
    return hd_str_find(text, hd_str_from(part), 0) < text.len;
}

static bool find_difference(const tally *t, const hd_json *row, otherwise *how)
{
    const hd_json *message = hd_json_get(hd_json_get(row, "error"), "message");
    hd_str id = hd_json_get(row, "id")->text, refusal = message ? message->text : HD_STR("");
    for (size_t i = 0; i < HD_COUNT(differences); i++) {
        if (differences[i].version && strcmp(differences[i].version, t->version) != 0) continue;
        if (differences[i].id && !has(id, differences[i].id)) continue;
        if (differences[i].refusal && !has(refusal, differences[i].refusal)) continue;
        *how = differences[i].how;
        return true;
    }
    return false;
}

static int64_t integer(const hd_json *object, const char *key, int64_t absent)
{
    const hd_json *x = hd_json_get(object, key);
    int64_t value = absent;
    if (x && x->kind == HD_JSON_NUMBER)
        assert_int_equal(hd_json_i64(x, INT64_MIN, INT64_MAX, &value, NULL), HD_OK);
    return value;
}

static double number(const hd_json *object, const char *key)
{
    double value;
    assert_int_equal(hd_json_get_f64(object, key, &value, NULL), HD_OK);
    return value;
}

static bool truth(const hd_json *object, const char *key)
{
    const hd_json *x = hd_json_get(object, key);
    return x && x->truth;
}

static bool is_text(const hd_json *x, const char *text)
{
    return x && x->kind == HD_JSON_STRING && hd_str_eqz(x->text, text);
}

static bool same_ids(const hd_submit *got, const hd_json *expected)
{
    const hd_json *want = hd_json_get(expected, "ids");
    int32_t i = 0;
    if (!want || want->kind != HD_JSON_ARRAY) return integer(expected, "n_ids", -1) == got->n_ids;
    if (want->n != (size_t)got->n_ids) return false;
    for (const hd_json *x = want->child; x; x = x->next, i++) {
        int64_t id;
        assert_int_equal(hd_json_i64(x, 0, INT32_MAX, &id, NULL), HD_OK);
        if (got->ids[i] != id) return false;
    }
    return true;
}

static bool same_stops(const hd_outparse_opts *got, const hd_json *expected)
{
    const hd_json *want = hd_json_get(expected, "stop_sequences");
    size_t i = 0;
    if (want->n != got->n_stops) return false;
    for (const hd_json *x = want->child; x; x = x->next, i++)
        if (!is_text(x, got->stops[i])) return false;
    return true;
}

/* Where the answer starts. Without thinking, the service does not say that a text goes on. */
static bool same_start(const hd_outparse_opts *got, const hd_json *expected)
{
    const hd_json *stage = hd_json_get(expected, "thinking_initial_stage");
    if (truth(expected, "starts_in_tool_calls")) return got->start == HD_OUT_START_CALLS;
    if (stage->kind == HD_JSON_NULL) return got->start == HD_OUT_START_TEXT;
    if (is_text(stage, "ContentContinuation"))
        return got->start == HD_OUT_START_TEXT && got->is_continuation;
    return got->start == HD_OUT_START_REASONING &&
           got->is_continuation == is_text(stage, "ReasoningContinuation");
}

static bool same_constraint(const hd_constraint *got, const hd_json *expected)
{
    const hd_json *want = hd_json_get(expected, "output_constraint");
    if (!want || want->kind != HD_JSON_OBJECT) return !got;
    const hd_json *kind = hd_json_get(want, "kind");
    if (!got) return false;
    if (is_text(kind, "regex")) return got->kind == HD_GRAMMAR_REGEX;
    if (is_text(kind, "json"))
        return got->kind ==
               (hd_json_get(want, "schema")->text.len ? HD_GRAMMAR_SCHEMA : HD_GRAMMAR_OBJECT);
    return got->kind == HD_GRAMMAR_TOOLS;
}

/* @param but what must differ: LIMIT, PROMPT; any other value: nothing. */
static const char *compare(const hd_canon *c, const hd_submit *got, const hd_json *expected,
                           otherwise but)
{
    bool has_max = got->max_new == integer(expected, "resolved_max_tokens", -1);
    if (same_ids(got, expected) == (but == PROMPT)) return "ids";
    if (has_max == (but == LIMIT)) return "the limit of tokens";
    if (fabs((double)got->how.temperature - number(expected, "temperature")) > 1e-7)
        return "temperature";
    if (fabs((double)got->how.top_p - number(expected, "top_p")) > 1e-7) return "top_p";
    if ((int64_t)got->how.seed != integer(expected, "seed", 0)) return "seed";
    if (!got->wants_logprobs == truth(expected, "logprobs")) return "logprobs";
    if (got->n_top != integer(expected, "top_logprobs", 0)) return "top_logprobs";
    if (c->streams != truth(expected, "stream")) return "streamed or not";
    if (!same_stops(&got->answer, expected)) return "stop strings";
    if (but != PROMPT && !same_start(&got->answer, expected)) return "where the answer starts";
    if (!got->answer.has_tools == truth(expected, "parse_tool_calls")) return "tools or not";
    if (!same_constraint(got->constraint, expected)) return "the constraint";
    return NULL;
}

/* ---- rows ---- */

static void show(tally *t, const hd_json *row, const char *what)
{
    t->n_wrong++;
    printf("%.*s: %s\n", HD_STR_ARG(hd_json_get(row, "id")->text), what);
}

static void judge(tally *t, const hd_json *row, const hd_canon *c, const hd_submit *got,
                  hd_status status, const hd_err *err)
{
    const hd_json *expected = hd_json_get(row, "expected");
    otherwise how = READ;
    bool differs = find_difference(t, row, &how);
    bool reads = status == HD_OK, wants_read = expected != NULL;
    if (differs && (how == READ || how == REFUSED)) wants_read = how == READ;
    const char *what = NULL;
    if (reads != wants_read)
        what = reads ? "not refused" : err->text;
    else if (differs && wants_read == (expected != NULL) && (how == READ || how == REFUSED))
        what = "the service agrees: a wrong entry in the table";
    else if (reads && expected)
        what = compare(c, got, expected, how);
    if (what)
        show(t, row, what);
    else if (differs)
        t->n_otherwise++;
    else if (reads)
        t->n_prompts++;
    else
        t->n_refused++;
}

static hd_dialect dialect_of(const hd_json *row)
{
    const hd_json *api = hd_json_get(row, "api");
    if (is_text(api, "messages")) return HD_DIALECT_MESSAGES;
    return is_text(api, "responses") ? HD_DIALECT_RESPONSES : HD_DIALECT_CHAT;
}

static void check_row(const hd_json *row, void *ctx)
{
    tally *t = ctx;
    const hd_canon_rules rules = {.release = t->release,
                                  .samples_as_deepseek = true,
                                  .max_context = 1048576,
                                  .fim_max_tokens = 4096};
    hd_arena arena;
    hd_ids ids;
    hd_canon c;
    hd_submit got = {0};
    hd_constraint constraint;
    hd_err err = {0};
    hd_arena_init(&arena, 16 << 20);
    hd_ids_init(&ids, 1 << 20);
    hd_status status =
        hd_canon_parse(dialect_of(row), hd_json_get(row, "request"), &arena, &c, &err);
    if (status == HD_OK)
        status = hd_canon_render(&c, &rules, t->tokenizer, &arena, &ids, &got, &constraint, &err);
    assert_true(status == HD_OK || status == HD_E_FORMAT || status == HD_E_ARG ||
                status == HD_E_UNSUPPORTED);
    judge(t, row, &c, &got, status, &err);
    hd_ids_deinit(&ids);
    hd_arena_deinit(&arena);
}

static void check_file(tally *t, const char *file)
{
    if (!t->tokenizer) skip();
    test_text_rows(file, check_row, t);
    hd_tokenizer_close(t->tokenizer);
    printf("%s: %zu requests rendered as by the service, %zu refused like there, %zu otherwise on "
           "purpose, %zu wrong\n",
           t->version, t->n_prompts, t->n_refused, t->n_otherwise, t->n_wrong);
    assert_int_equal(t->n_wrong, 0);
    assert_true(t->n_prompts > 100 && t->n_refused > 30);
}

static void v4_requests(void **state)
{
    (void)state;
    tally t = {.version = "v4", .release = HD_RELEASE_0731};
    const char *path = test_text_path("tokenizer.json");
    if (access(path, R_OK) == 0)
        assert_int_equal(hd_tokenizer_open(path, &t.tokenizer, NULL), HD_OK);
    check_file(&t, "recipe_request_v4.jsonl");
}

static void v41_requests(void **state)
{
    (void)state;
    tally t = {.version = "v4.1", .release = HD_RELEASE_V41};
    hd_str text = test_text_tokenizer_v41();
    if (text.len) {
        const char *path = test_path(test_tmpdir(), "tokenizer.json");
        test_write(path, text);
        assert_int_equal(hd_tokenizer_open(path, &t.tokenizer, NULL), HD_OK);
    }
    check_file(&t, "recipe_request_v41.jsonl");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(v4_requests),
                                       cmocka_unit_test(v41_requests)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
