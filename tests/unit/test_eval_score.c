/* Scores of answers: which are ended, valid and right. The expectations follow docs/eval.md; the
 * answers are written by hand and encoded with a small tokenizer that has the control tokens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/eval_score.h"
#include "support/tiny_vocab.h"
#include "support/tmpdir.h"
#include "text/chat_rules.h"

#define D              "｜DSML｜"
#define CALLS(in)      "\n\n<" D "tool_calls>\n" in "</" D "tool_calls>"
#define CALL(name, in) "<" D "invoke name=\"" name "\">\n" in "</" D "invoke>\n"
#define ARG(name, is_string, value)                                                                \
    "<" D "parameter name=\"" name "\" string=\"" is_string "\">" value "</" D "parameter>\n"
#define EOS HD_TOKEN_EOS

static hd_tokenizer *tokenizer;

/* What the rows below ask; the tools are offered in all of them but `plain`. */
static const char tools[] =
    "[{\"function\": {\"name\": \"add\", \"parameters\": {\"type\": \"object\", \"properties\": "
    "{\"a\": {\"type\": \"integer\"}, \"b\": {\"type\": \"integer\"}, \"unit\": {\"enum\": [\"m\", "
    "\"s\"]}}, \"required\": [\"a\", \"b\"]}}}, {\"function\": {\"name\": \"now\"}}, "
    "{\"function\": {\"name\": \"find\", \"parameters\": {\"type\": \"object\", \"properties\": "
    "{\"q\": {\"type\": \"string\"}}, \"additionalProperties\": true}}}]";

typedef struct score_case {
    const char *expect; /* JSON */
    const char *answer; /* EOS at its end: the model ended */
    bool valid, right;
} score_case;

/* A file of one row. */
static void open_row(hd_eval_tasks *t, const char *expect, const char *kind)
{
    hd_buf text;
    hd_err err;
    const char *path = test_path(test_tmpdir(), "eval.json");
    hd_buf_init(&text, 1 << 16);
    hd_buf_addz(&text, "{\"format\": \"hadal-eval-1\", \"rows\": [{\"set\": \"s\", \"max_tokens\": "
                       "9, \"request\": ");
    if (strcmp(kind, "fim") == 0)
        hd_buf_addz(&text, "{\"prompt\": \"a\", \"suffix\": \"b\"}");
    else
        hd_buf_addf(&text,
                    "{\"messages\": [{\"role\": \"user\", \"content\": \"?\"}], \"tools\": %s}",
                    strcmp(kind, "plain") == 0 ? "[]" : tools);
    hd_buf_addf(&text, ", \"expect\": %s}]}", expect);
    test_write(path, hd_buf_str(&text));
    if (hd_eval_tasks_open(t, path, &err) != HD_OK) fail_msg("%s (%s)", err.text, err.path);
    hd_buf_deinit(&text);
}

static hd_status run_case(const hd_eval_row *row, const char *answer, hd_out_start start,
                          hd_eval_score *score, hd_err *err)
{
    int32_t ids[2048];
    hd_str text = hd_str_from(answer);
    hd_eval_output out = {.ids = ids, .start = start, .has_ended = hd_str_ends(text, HD_STR(EOS))};
    if (out.has_ended) text.len -= sizeof EOS - 1;
    assert_int_equal(
        hd_tokenizer_encode(tokenizer, text.ptr, text.len, 0, ids, HD_COUNT(ids), &out.n, NULL),
        HD_OK);
    hd_status status = hd_eval_score_answer(score, row, tokenizer, &out, err);
    if (status == HD_OK) assert_int_equal(score->ended, out.has_ended);
    if (status == HD_OK) assert_true(hd_str_eq(hd_buf_str(&score->text), text));
    return status;
}

static void run_cases(const score_case *c, size_t n, const char *kind, hd_out_start start)
{
    hd_eval_score score;
    hd_eval_score_init(&score);
    for (size_t i = 0; i < n; i++) {
        hd_eval_tasks t;
        hd_err err;
        open_row(&t, c[i].expect, kind);
        if (run_case(&t.rows[0], c[i].answer, start, &score, &err) != HD_OK)
            fail_msg("%s", err.text);
        if (score.valid != c[i].valid || score.right != c[i].right)
            fail_msg("%s, %s: valid %d, right %d", c[i].expect, c[i].answer, score.valid,
                     score.right);
        hd_eval_tasks_deinit(&t);
    }
    hd_eval_score_deinit(&score);
}

#define RUN(cases, kind, start) run_cases(cases, HD_COUNT(cases), kind, start)

static void texts(void **state)
{
    (void)state;
    static const score_case cases[] = {
        {"{\"text\": \"47\"}", "47" EOS, true, true},
        {"{\"text\": \"47\"}", " 47\n" EOS, true, true},
        {"{\"text\": \"47\"}", "47", false, false}, /* did not end */
        {"{\"text\": \"47\"}", "47." EOS, true, false},
        {"{\"text\": \"47\"}", "4 7" EOS, true, false},
        {"{\"text\": \"47\"}", EOS, true, false},
        {"{\"text\": \"\"}", EOS, true, true},
        {"{\"text\": \" 47 \"}", "47" EOS, true, true},
        {"{\"text\": \"47\"}", "<think>47" EOS, false, false},
        {"{\"text_any\": [\"yes\", \"Yes.\"]}", "Yes." EOS, true, true},
        {"{\"text_any\": [\"yes\", \"Yes.\"]}", "No." EOS, true, false},
    };
    RUN(cases, "plain", HD_OUT_START_TEXT);
}

static void texts_where_tools_are_offered(void **state)
{
    (void)state;
    static const score_case cases[] = {
        {"{\"text\": \"47\"}", "47" EOS, true, true},
        {"{\"text\": \"47\"}", "47" CALLS(CALL("now", "")) EOS, true, false},
        {"{\"text\": \"47\"}", "47" CALLS(CALL("later", "")) EOS, false, false},
    };
    RUN(cases, "tools", HD_OUT_START_TEXT);
}

static void thinking(void **state)
{
    (void)state;
    static const score_case cases[] = {
        {"{\"text\": \"47\"}", "4 and 7</think>47" EOS, true, true},
        {"{\"text\": \"47\"}", "</think>47" EOS, true, true},
        {"{\"text\": \"47\"}", "47</think>48" EOS, true, false},
        {"{\"text\": \"47\"}", "47" EOS, false, false},
        {"{\"text\": \"\"}", "all of it is reasoning" EOS, false, false},
        {"{\"schema\": {\"type\": \"integer\"}}", "1</think>2" EOS, true, true},
        {"{\"schema\": {\"type\": \"integer\"}}", "2" EOS, false, false},
        {"{\"calls\": [{\"name\": \"now\", \"arguments\": {}}]}",
         "so</think>" CALLS(CALL("now", "")) EOS, true, true},
        {"{\"calls\": [{\"name\": \"now\", \"arguments\": {}}]}", "so" CALLS(CALL("now", "")) EOS,
         false, false},
    };
    RUN(cases, "tools", HD_OUT_START_REASONING);
}

static void calls(void **state)
{
    (void)state;
#define ADD "{\"calls\": [{\"name\": \"add\", \"arguments\": {\"a\": 1, \"b\": 2}}]}"
    static const score_case cases[] = {
        {ADD, CALLS(CALL("add", ARG("a", "false", "1") ARG("b", "false", "2"))) EOS, true, true},
        {ADD, "I add." CALLS(CALL("add", ARG("b", "false", "2.0") ARG("a", "false", "1"))) EOS,
         true, true},
        /* not ended: the markup alone is sound all the same */
        {ADD, CALLS(CALL("add", ARG("a", "false", "1") ARG("b", "false", "2"))), true, false},
        /* a text where the schema wants a number */
        {ADD, CALLS(CALL("add", ARG("a", "true", "1") ARG("b", "false", "2"))) EOS, false, false},
        {ADD, CALLS(CALL("add", ARG("a", "false", "1.5") ARG("b", "false", "2"))) EOS, false,
         false},
        {ADD, CALLS(CALL("add", ARG("a", "false", "1") ARG("b", "false", "3"))) EOS, true, false},
        /* a required parameter is missing; one that the tool does not have; a wrong choice */
        {ADD, CALLS(CALL("add", ARG("a", "false", "1"))) EOS, false, false},
        {ADD,
         CALLS(CALL("add", ARG("a", "false", "1") ARG("b", "false", "2") ARG("c", "false", "3")))
             EOS,
         false, false},
        {ADD,
         CALLS(CALL("add", ARG("a", "false", "1") ARG("b", "false", "2") ARG("unit", "true", "h")))
             EOS,
         false, false},
        /* arguments that are no JSON */
        {ADD, CALLS(CALL("add", ARG("a", "false", "one") ARG("b", "false", "2"))) EOS, false,
         false},
        /* another tool, one that is not offered, no call, one too many, the wrong order */
        {ADD, CALLS(CALL("now", "")) EOS, true, false},
        {ADD, CALLS(CALL("sub", ARG("a", "false", "1") ARG("b", "false", "2"))) EOS, false, false},
        {ADD, "3" EOS, false, false},
        {ADD, CALLS(CALL("add", ARG("a", "false", "1") ARG("b", "false", "2")) CALL("now", "")) EOS,
         true, false},
        {"{\"calls\": [{\"name\": \"now\", \"arguments\": {}}, {\"name\": \"find\", "
         "\"arguments\": {\"q\": \"1\"}}]}",
         CALLS(CALL("now", "") CALL("find", ARG("q", "true", "1"))) EOS, true, true},
        {"{\"calls\": [{\"name\": \"now\", \"arguments\": {}}, {\"name\": \"find\", "
         "\"arguments\": {\"q\": \"1\"}}]}",
         CALLS(CALL("find", ARG("q", "true", "1")) CALL("now", "")) EOS, true, false},
        /* find takes further parameters, now takes none */
        {"{\"calls\": [{\"name\": \"find\", \"arguments\": {\"q\": \"1\", \"n\": 2}}]}",
         CALLS(CALL("find", ARG("q", "true", "1") ARG("n", "false", "2"))) EOS, true, true},
        {"{\"calls\": [{\"name\": \"now\", \"arguments\": {}}]}",
         CALLS(CALL("now", ARG("q", "true", "1"))) EOS, false, false},
        /* a missing closing tag is forgiven by servers, but is no valid markup */
        {ADD,
         "\n\n<" D "tool_calls>\n<" D "invoke name=\"add\">\n" ARG("a", "false", "1")
             ARG("b", "false", "2") "</" D "tool_calls>" EOS,
         false, true},
        /* cut off */
        {ADD, "\n\n<" D "tool_calls>\n<" D "invoke name=\"add\">\n" ARG("a", "false", "1"), false,
         false},
        {"{\"calls\": []}", "Nothing to call." EOS, true, true},
        {"{\"calls\": []}", CALLS(CALL("now", "")) EOS, true, false},
    };
    RUN(cases, "tools", HD_OUT_START_TEXT);
}

static void json(void **state)
{
    (void)state;
#define SCHEMA                                                                                     \
    "\"schema\": {\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"integer\"}}, "        \
    "\"required\": [\"a\"]}"
    static const score_case cases[] = {
        {"{" SCHEMA "}", "{\"a\": 1}" EOS, true, true},
        {"{" SCHEMA "}", "\n {\"a\": 1, \"b\": 2} \n" EOS, true, true},
        {"{" SCHEMA "}", "{\"a\": 1}", true, false}, /* did not end */
        {"{" SCHEMA "}", "{\"a\": \"1\"}" EOS, false, false},
        {"{" SCHEMA "}", "{\"a\": 1" EOS, false, false},
        {"{" SCHEMA "}", "```json\n{\"a\": 1}\n```" EOS, false, false},
        {"{" SCHEMA "}", "{\"a\": 1, \"a\": 1}" EOS, false, false},
        {"{" SCHEMA "}", EOS, false, false},
        {"{" SCHEMA ", \"value\": {\"a\": 1}}", "{\"a\": 1.0}" EOS, true, true},
        {"{" SCHEMA ", \"value\": {\"a\": 1}}", "{\"a\": 2}" EOS, true, false},
        {"{" SCHEMA "}", "{\"a\": 1}" CALLS(CALL("now", "")) EOS, false, false},
    };
    RUN(cases, "tools", HD_OUT_START_TEXT);
}

static void fill_in_the_middle(void **state)
{
    (void)state;
    static const score_case cases[] = {
        {"{\"text\": \"x = 1\"}", "\n  x = 1" EOS, true, true},
        {"{\"text\": \"x = 1\"}", "x  = 1" EOS, true, false},
    };
    RUN(cases, "fim", HD_OUT_START_TEXT);
}

static void memory_may_run_out(void **state)
{
    (void)state;
    hd_eval_tasks t;
    hd_eval_score score;
    hd_err err;
    hd_status status = HD_E_NOMEM;
    open_row(&t, ADD, "tools");
    hd_eval_score_init(&score);
    for (long n = 0; status != HD_OK; n++) {
        hd_mem_fail_after(n);
        /* the encoder needs memory too: it may take what there is */
        int32_t ids[] = {258, 't'};
        hd_eval_output out = {.ids = ids, .n = 2, .has_ended = true};
        status = hd_eval_score_answer(&score, &t.rows[0], tokenizer, &out, &err);
        hd_mem_fail_after(-1);
        if (status != HD_OK) assert_int_equal(status, HD_E_NOMEM);
        assert_true(n < 200);
    }
    hd_eval_score_deinit(&score);
    hd_eval_tasks_deinit(&t);
}

static int set_up(void **state)
{
    (void)state;
    hd_buf json_text, added;
    hd_err err;
    const char *path = test_path(test_tmpdir(), "tokenizer.json");
    static const char *const tokens[] = {EOS, HD_TOKEN_THINK, HD_TOKEN_END_THINK, HD_TOKEN_DSML};
    hd_buf_init(&json_text, 1 << 20);
    hd_buf_init(&added, 1 << 16);
    for (int i = 0; i < 4; i++)
        hd_buf_addf(&added, "%s%s", i ? ", " : "", tiny_added(256 + i, tokens[i], i == 0, false));
    tiny_vocab_json(&(tiny_vocab){.added = added.ptr}, &json_text);
    test_write(path, hd_buf_str(&json_text));
    hd_status status = hd_tokenizer_open(path, &tokenizer, &err);
    if (status != HD_OK) print_error("%s\n", err.text);
    hd_buf_deinit(&added);
    hd_buf_deinit(&json_text);
    return status;
}

static int tear_down(void **state)
{
    (void)state;
    hd_tokenizer_close(tokenizer);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(texts_where_tools_are_offered),
        cmocka_unit_test(thinking),
        cmocka_unit_test(calls),
        cmocka_unit_test(json),
        cmocka_unit_test(fill_in_the_middle),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests_name("eval_score", tests, set_up, tear_down);
}
