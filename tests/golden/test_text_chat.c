/* Rendered prompts against DeepSeek's published encoders (rows of chat_v4 and chat_v41). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "support/tmpdir.h"
#include "support/vectors.h"
#include "text/chat.h"

/* Rows on which the published program crashes (it does not refuse: it meets a type that it was not
 * written for) and hadal reads the obvious. docs/text.md has the reasons. */
static const char *const better[][2] = {
    {"v4-arg_array-chat", "arguments that are no object: one raw parameter"},
    {"v4-arg_string-chat", "the same"},
    {"v4-arg_null-chat", "the same"},
    {"v4-arg_bool-chat", "the same"},
    {"v4-arg_number-chat", "the same"},
    {"v4-arg_double-chat", "the same"},
    {"v4-arg_triple-chat", "the same"},
    {"v4-content_list_user-chat", "a list of parts, as V4.1 reads it"},
    {"v4-content_list_user-thinking", "the same"},
};

static const char *const forging[] = {"-special_in_",    "-dsml_in_user", "-tool_result_markup",
                                      "-arg_dsml_value", "-fim_in_user",  "-url_task_text",
                                      "-ph_tool_desc"};

typedef struct tally {
    const char *version;
    hd_tokenizer *tokenizer; /* NULL: ids are not compared */
    size_t n_prompts, n_refused, n_better, n_ids, n_wrong;
} tally;

static bool is_better(hd_str id)
{
    for (size_t i = 0; i < HD_COUNT(better); i++)
        if (hd_str_eqz(id, better[i][0])) return true;
    return false;
}

/* Rows in which a message spells control tokens. */
static bool is_forging(hd_str id)
{
    for (size_t i = 0; i < HD_COUNT(forging); i++)
        if (hd_str_find(id, hd_str_from(forging[i]), 0) < id.len) return true;
    return false;
}

/* A crash on a type is no decision of the reference; refusals are AssertionError and the like. */
static bool is_crash(const hd_json *error)
{
    hd_str type = hd_json_get(error, "type")->text;
    return hd_str_eqz(type, "TypeError") || hd_str_eqz(type, "AttributeError");
}

static void show_difference(hd_str want, hd_str got)
{
    size_t i = 0;
    while (i < want.len && i < got.len && want.ptr[i] == got.ptr[i]) i++;
    size_t from = i > 60 ? i - 60 : 0;
    printf("  differs at byte %zu\n  want …%.*s\n  got  …%.*s\n", i, (int)(want.len - from),
           want.ptr + from, (int)(got.len - from), got.ptr + from);
}

static bool equals(const hd_ids *got, const hd_json *want)
{
    size_t i = 0;
    if (got->len != want->n) return false;
    for (const hd_json *c = want->child; c; c = c->next, i++) {
        int64_t id;
        assert_int_equal(hd_json_i64(c, 0, INT32_MAX, &id, NULL), HD_OK);
        if (got->ptr[i] != id) return false;
    }
    return true;
}

/* The reference encodes the text with all added tokens. Where nobody but the template wrote one,
 * hadal's own rule must give the same ids. */
static void check_ids(tally *t, const hd_json *row, const hd_prompt *prompt)
{
    const hd_json *want = hd_json_get(row, "ids");
    hd_str id = hd_json_get(row, "id")->text;
    hd_ids got;
    if (!want || !t->tokenizer) return;
    hd_ids_init(&got, 1 << 20);
    assert_int_equal(hd_prompt_encode_unsafe(prompt, t->tokenizer, &got, NULL), HD_OK);
    if (!equals(&got, want)) {
        t->n_wrong++;
        printf("%.*s: other ids\n", HD_STR_ARG(id));
    }
    hd_ids_reset(&got);
    assert_int_equal(hd_prompt_encode(prompt, t->tokenizer, &got, NULL), HD_OK);
    if (equals(&got, want) == is_forging(id)) {
        t->n_wrong++;
        printf("%.*s: other ids by the safe rule\n", HD_STR_ARG(id));
    }
    t->n_ids++;
    hd_ids_deinit(&got);
}

static void check_prompt(tally *t, const hd_json *row, const hd_prompt *prompt)
{
    hd_str want = hd_json_get(row, "expected_prompt")->text, got = hd_buf_str(&prompt->text);
    t->n_prompts++;
    if (!hd_str_eq(want, got)) {
        t->n_wrong++;
        printf("%.*s:\n", HD_STR_ARG(hd_json_get(row, "id")->text));
        show_difference(want, got);
    }
    check_ids(t, row, prompt);
}

static void check_row(const hd_json *row, void *ctx)
{
    tally *t = ctx;
    hd_str id = hd_json_get(row, "id")->text;
    hd_prompt prompt;
    hd_chat_opts opts;
    hd_err err;
    hd_prompt_init(&prompt, 16 << 20);
    hd_status status =
        hd_chat_read_opts(hd_str_from(t->version), hd_json_get(row, "options"), &opts, &err);
    opts.writes_none = true;
    if (status == HD_OK)
        status = hd_chat_render(hd_json_get(row, "messages"), hd_json_get(row, "tools"), &opts,
                                &prompt, &err);
    const hd_json *error = hd_json_get(row, "error");
    if (status == HD_OK && !error) {
        check_prompt(t, row, &prompt);
    } else if (status == HD_OK && is_crash(error) && is_better(id)) {
        t->n_better++;
    } else if (status != HD_OK && error && !is_better(id)) {
        assert_true(status == HD_E_FORMAT || status == HD_E_UNSUPPORTED);
        t->n_refused++;
    } else {
        t->n_wrong++;
        printf("%.*s: %s\n", HD_STR_ARG(id), status == HD_OK ? "not refused" : err.text);
    }
    hd_prompt_deinit(&prompt);
}

static void report(const tally *t)
{
    printf(
        "%s: %zu prompts equal (%zu with ids), %zu refused as the reference does, %zu read where "
        "it crashes, %zu wrong\n",
        t->version, t->n_prompts, t->n_ids, t->n_refused, t->n_better, t->n_wrong);
    assert_int_equal(t->n_wrong, 0);
    assert_true(t->n_prompts > 200 && t->n_refused > 20);
}

static hd_tokenizer *open_v4(void)
{
    hd_tokenizer *t = NULL;
    const char *path = test_text_path("tokenizer.json");
    if (access(path, R_OK) == 0) assert_int_equal(hd_tokenizer_open(path, &t, NULL), HD_OK);
    return t;
}

static hd_tokenizer *open_v41(void)
{
    hd_tokenizer *t = NULL;
    hd_str text = test_text_tokenizer_v41();
    if (text.len) {
        const char *path = test_path(test_tmpdir(), "tokenizer.json");
        test_write(path, text);
        assert_int_equal(hd_tokenizer_open(path, &t, NULL), HD_OK);
    }
    return t;
}

static void v4_prompts(void **state)
{
    (void)state;
    tally t = {.version = "v4", .tokenizer = open_v4()};
    test_text_rows("chat_v4.jsonl", check_row, &t);
    hd_tokenizer_close(t.tokenizer);
    report(&t);
}

static void v41_prompts(void **state)
{
    (void)state;
    tally t = {.version = "v4.1", .tokenizer = open_v41()};
    test_text_rows("chat_v41.jsonl", check_row, &t);
    hd_tokenizer_close(t.tokenizer);
    report(&t);
}

/* ---- DeepSeek's service: which parts of a prompt are tokens ---- */

/* The byte where code point number `n` of valid text starts. */
static size_t byte_of(hd_str text, int64_t n)
{
    size_t i = 0;
    for (; i < text.len; i++)
        if (((unsigned char)text.ptr[i] & 0xC0) != 0x80 && n-- == 0) break;
    return i;
}

/* Rebuild the prompt of a row with its special ranges as tokens. */
static void build_prompt(const hd_json *expected, hd_prompt *out)
{
    hd_str text = hd_json_get(expected, "prompt")->text;
    size_t done = 0;
    for (const hd_json *r = hd_json_get(expected, "special_ranges")->child; r; r = r->next) {
        int64_t begin, end;
        char spelling[64] = {0};
        assert_int_equal(hd_json_i64(r->child, 0, INT32_MAX, &begin, NULL), HD_OK);
        assert_int_equal(hd_json_i64(r->child->next, 0, INT32_MAX, &end, NULL), HD_OK);
        size_t from = byte_of(text, begin), to = byte_of(text, end);
        assert_true(to - from < sizeof spelling);
        memcpy(spelling, text.ptr + from, to - from);
        hd_prompt_add(out, (hd_str){text.ptr + done, from - done});
        hd_prompt_add_token(out, spelling);
        done = to;
    }
    hd_prompt_add(out, hd_str_skip(text, done));
}

static void check_service_row(const hd_json *row, void *ctx)
{
    tally *t = ctx;
    const hd_json *expected = hd_json_get(row, "expected");
    const hd_json *want = hd_json_get(expected, "ids");
    hd_prompt prompt;
    hd_ids got;
    if (!want || want->kind != HD_JSON_ARRAY) return;
    hd_prompt_init(&prompt, 16 << 20);
    hd_ids_init(&got, 1 << 20);
    build_prompt(expected, &prompt);
    assert_int_equal(hd_prompt_encode(&prompt, t->tokenizer, &got, NULL), HD_OK);
    if (!equals(&got, want)) {
        t->n_wrong++;
        printf("%.*s: other ids\n", HD_STR_ARG(hd_json_get(row, "id")->text));
    }
    t->n_ids++;
    hd_ids_deinit(&got);
    hd_prompt_deinit(&prompt);
}

static void check_service(hd_tokenizer *tokenizer, const char *file)
{
    tally t = {.tokenizer = tokenizer};
    if (!tokenizer) skip();
    test_text_rows(file, check_service_row, &t);
    hd_tokenizer_close(tokenizer);
    printf("%zu prompts encoded as the service does, %zu wrong\n", t.n_ids - t.n_wrong, t.n_wrong);
    assert_int_equal(t.n_wrong, 0);
    assert_true(t.n_ids > 150);
}

static void v4_service_ids(void **state)
{
    (void)state;
    check_service(open_v4(), "recipe_request_v4.jsonl");
}

static void v41_service_ids(void **state)
{
    (void)state;
    check_service(open_v41(), "recipe_request_v41.jsonl");
}

/* The public functions; and a tokenizer that lacks a token of the format. */
static void ids_of_a_prompt(void **state)
{
    (void)state;
    static const char v4[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"hello\"}]}";
    static const char v41[] = "{\"messages\": [{\"role\": \"system\", \"content\": \"x\"}], "
                              "\"version\": \"v4.1\"}";
    static const int32_t want[] = {0, 128803, 33310, 128804, 128822}; /* by the list of tokens */
    hd_tokenizer *t = open_v4();
    hd_prompt *p;
    int32_t ids[64];
    size_t n;
    hd_err err;
    if (!t) skip();
    assert_int_equal(hd_prompt_create(v4, sizeof v4 - 1, &p, NULL), HD_OK);
    assert_int_equal(hd_prompt_ids(p, t, ids, HD_COUNT(ids), &n, NULL), HD_OK);
    assert_int_equal(n, HD_COUNT(want));
    assert_memory_equal(ids, want, sizeof want);
    assert_int_equal(hd_prompt_ids(p, t, ids, n - 1, &n, NULL), HD_E_LIMIT);
    assert_int_equal(n, 0);
    hd_prompt_destroy(p);
    assert_int_equal(hd_prompt_create(v41, sizeof v41 - 1, &p, NULL), HD_OK);
    assert_int_equal(hd_prompt_ids(p, t, ids, HD_COUNT(ids), &n, &err), HD_E_NOTFOUND);
    assert_string_equal(err.text,
                        "the tokenizer has no token '<｜System｜>', which the chat needs");
    hd_prompt_destroy(p);
    hd_tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(v4_prompts),      cmocka_unit_test(v41_prompts),
        cmocka_unit_test(v4_service_ids),  cmocka_unit_test(v41_service_ids),
        cmocka_unit_test(ids_of_a_prompt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
