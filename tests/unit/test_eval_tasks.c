/* Task files and what follows from them: reading, requests, the list of results, stored figures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/eval_results.h"
#include "support/tmpdir.h"

#define TEXTS    "\"sentences\": [\"A b.\", \"C\\nd.\"]"
#define HEAD     "{\"format\": \"hadal-eval-1\", \"name\": \"n\", " TEXTS
#define ASK      "\"request\": {\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}]}"
#define ROW(set) "{\"set\": \"" set "\", " ASK ", \"max_tokens\": 4, \"expect\": {\"text\": \"x\"}}"
#define TOOLS                                                                                      \
    "\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\", \"parameters\": "        \
    "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"integer\"}}}}}]"

static hd_status open_text(hd_eval_tasks *t, const char *text, hd_err *err)
{
    const char *path = test_path(test_tmpdir(), "eval.json");
    test_write(path, hd_str_from(text));
    *err = (hd_err){0};
    return hd_eval_tasks_open(t, path, err);
}

static void open_good(hd_eval_tasks *t, const char *text)
{
    hd_err err;
    if (open_text(t, text, &err) != HD_OK) fail_msg("%s (%s)", err.text, err.path);
}

static void expect_request(const hd_eval_tasks *t, size_t row, const char *want)
{
    hd_buf text;
    hd_err err;
    hd_buf_init(&text, 1 << 16);
    assert_int_equal(hd_eval_request(t, &t->rows[row], &text, &err), HD_OK);
    assert_string_equal(text.ptr, want);
    hd_buf_deinit(&text);
}

/* ---- reading ---- */

static void rows_and_sets_are_read(void **state)
{
    (void)state;
    hd_eval_tasks t;
    open_good(&t, HEAD ", \"rows\": [" ROW("chat") ", " ROW(
                      "fim") ",\n {\"set\": \"chat\", "
                             "\"request\": {\"prompt\": \"a\", \"suffix\": \"b\"}, \"max_tokens\": "
                             "9, \"note\": 1, "
                             "\"expect\": {\"text_any\": [\"x\", \"y\"]}}]}");
    assert_int_equal(t.n_rows, 3);
    assert_int_equal(t.n_sets, 2);
    assert_true(hd_str_eqz(t.name, "n"));
    assert_true(hd_str_eqz(t.sets[0].name, "chat") && hd_str_eqz(t.sets[1].name, "fim"));
    assert_int_equal(t.sets[0].n_rows, 2);
    assert_int_equal(t.rows[2].number, 2);
    assert_int_equal(t.rows[2].set, 0);
    assert_int_equal(t.rows[2].n_before, 1);
    assert_int_equal(t.rows[2].max_tokens, 9);
    assert_int_equal(t.rows[2].kind, HD_EVAL_TEXT);
    assert_int_equal(t.rows[2].want->n, 2);
    expect_request(&t, 2, "{\"prompt\": \"a\", \"suffix\": \"b\"}");
    hd_eval_tasks_deinit(&t);
}

static void pieces_fill_the_hole(void **state)
{
    (void)state;
    hd_eval_tasks t;
    open_good(&t, HEAD
              ", \"rows\": [{\"set\": \"s\", \"max_tokens\": 1, \"expect\": {\"text\": \"\"}, "
              "\"pieces\": [1, \"He said \\\"{pieces}\\\".\", 0],\n\"request\": {\"messages\": "
              "[{\"role\": \"user\", \"content\": \"no\"}, {\"role\": \"user\", \"content\": "
              "\"\\\"{pieces}\\n\\nWho\\u003f\\\\\", \"x\": 1.50}], \"version\": \"v4\"}}]}");
    expect_request(
        &t, 0,
        "{\"messages\": [{\"role\": \"user\", \"content\": \"no\"}, {\"role\": \"user\", "
        "\"content\": \"\\\"C\\nd. He said \\\"{pieces}\\\". A b.\\n\\nWho?\\\\\", \"x\": "
        "1.50}], \"version\": \"v4\"}");
    hd_eval_tasks_deinit(&t);
}

static void tools_are_found(void **state)
{
    (void)state;
    hd_eval_tasks t;
    open_good(
        &t,
        HEAD ", \"rows\": [" ROW(
            "a") ", {\"set\": \"b\", \"max_tokens\": 1, \"request\": "
                 "{\"messages\": [{\"role\": \"system\", \"content\": \"\", " TOOLS
                 "}]}, \"expect\": "
                 "{\"calls\": [{\"name\": \"f\", \"arguments\": {\"a\": 1}}]}}, {\"set\": \"b\", "
                 "\"max_tokens\": 1, \"request\": {\"messages\": [], " TOOLS "}, \"expect\": "
                 "{\"schema\": {\"type\": \"integer\"}, \"value\": 3}}]}");
    assert_false(hd_eval_has_tools(t.rows[0].request));
    assert_true(hd_eval_has_tools(t.rows[1].request));
    assert_true(hd_eval_has_tools(t.rows[2].request));
    assert_non_null(hd_eval_find_tool(t.rows[1].request, HD_STR("f")));
    assert_null(hd_eval_find_tool(t.rows[1].request, HD_STR("g")));
    assert_int_equal(t.rows[1].kind, HD_EVAL_CALLS);
    assert_int_equal(t.rows[2].kind, HD_EVAL_JSON);
    assert_non_null(t.rows[2].want);
    hd_eval_tasks_deinit(&t);
}

static void bad_files_say_where(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why, *path;
    } rows[] = {
        {"", "bad json", ""},
        {"[]", "'format' must be a string, got nothing", "format"},
        {"{\"format\": \"hadal-eval-9\"}", "'format' is 'hadal-eval-9', expected 'hadal-eval-1'",
         ""},
        {HEAD "}", "'rows' must be an array, got nothing", ""},
        {HEAD ", \"rows\": []}", "'rows' must hold one row at least", "rows"},
        {HEAD ", \"rows\": [" ROW("a") ", 3]}", "row 1: expected an object, got a number", ""},
        {HEAD ", \"rows\": [{}]}", "row 0: 'set' must be a string, got nothing", "rows[0]"},
        {HEAD ", \"rows\": [" ROW("a b") "]}", "row 0: 'set' must be a name", "rows[0].set"},
        {HEAD ", \"rows\": [" ROW("stop") "]}", "'set' must not be the name of another result",
         "rows[0].set"},
        {HEAD ", \"rows\": [{\"set\": \"a\", " ASK "}]}", "row 0: 'max_tokens' must be a number",
         "rows[0].max_tokens"},
        {HEAD ", \"rows\": [{\"set\": \"a\", \"max_tokens\": 0}]}", "must be an integer from 1",
         "rows[0].max_tokens"},
        {HEAD ", \"rows\": [{\"set\": \"a\", \"max_tokens\": 1, \"request\": []}]}",
         "'request' must be an object, got an array", "rows[0].request"},
        {HEAD ", \"rows\": [{\"set\": \"a\", \"max_tokens\": 1, " ASK "}]}",
         "'expect' must be an object, got nothing", "rows[0]"},
#define EXPECT(json)                                                                               \
    HEAD ", \"rows\": [{\"set\": \"a\", \"max_tokens\": 1, \"request\": {\"messages\": [], " TOOLS \
         "}, \"expect\": " json "}]}"
        {EXPECT("{}"), "'expect' must have one of text", "rows[0].expect"},
        {EXPECT("{\"txt\": 1}"), "'expect' must have one of text", "rows[0].expect"},
        {EXPECT("{\"value\": 1}"), "'expect' must have one of text", "rows[0].expect"},
        {EXPECT("{\"text\": \"a\", \"calls\": []}"), "must have one of", "rows[0].expect"},
        {EXPECT("{\"text\": 47}"), "'text' must be a string, got a number", "rows[0].expect.text"},
        {EXPECT("{\"text_any\": []}"), "a list of strings, one at least",
         "rows[0].expect.text_any"},
        {EXPECT("{\"text_any\": [1]}"), "a list of strings", "rows[0].expect.text_any"},
        {EXPECT("{\"calls\": [{\"name\": \"g\", \"arguments\": {}}]}"),
         "'name' must be a tool that the request offers", "rows[0].expect.calls[0].name"},
        {EXPECT("{\"calls\": [{\"name\": \"f\"}]}"), "'arguments' must be an object, got nothing",
         "rows[0].expect.calls[0]"},
        {EXPECT("{\"schema\": {\"type\": \"object\", \"properties\": {\"a\": {\"pattern\": 1}}}}"),
         "row 0: 'pattern' is a keyword of JSON Schema that is not checked",
         "rows[0].expect.schema.properties.a.pattern"},
        {EXPECT("{\"schema\": {\"type\": \"string\"}, \"value\": 1}"),
         "'value' does not obey the schema", "rows[0].expect.value"},
        {HEAD ", \"rows\": [{\"set\": \"a\", \"max_tokens\": 1, \"request\": {\"messages\": [], "
              "\"tools\": [{\"function\": {\"name\": \"f\", \"parameters\": {\"anyOf\": []}}}]}}]}",
         "'anyOf'", "rows[0].request.tools[0].function.parameters.anyOf"},
#define PIECES(pieces, content)                                                                    \
    HEAD ", \"rows\": [{\"set\": \"a\", \"max_tokens\": 1, " pieces "\"request\": {\"messages\": " \
         "[{\"role\": \"user\", \"content\": " content "}]}, \"expect\": {\"text\": \"\"}}]}"
        {PIECES("\"pieces\": [2], ", "\"{pieces}\""), "must be an integer from 0 to 1, got 2",
         "rows[0].pieces[0]"},
        {PIECES("\"pieces\": [true], ", "\"{pieces}\""),
         "must be a string or the number of a sentence", "rows[0].pieces[0]"},
        {PIECES("\"pieces\": [0], ", "\"none\""), "'pieces' needs one place '{pieces}'",
         "rows[0].pieces"},
        {PIECES("\"pieces\": [0], ", "\"{pieces} {pieces}\""), "needs one place", "rows[0].pieces"},
        {PIECES("\"pieces\": [0], ", "[]"), "needs one place", "rows[0].pieces"},
        {PIECES("", "\"{pieces}\""), "'content' has a place for '{pieces}', and the row has none",
         "rows[0].request.messages[0].content"},
        {"{\"format\": \"hadal-eval-1\", \"sentences\": [1]}", "'sentences[0]' must be a string",
         "sentences[0]"},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        hd_eval_tasks t;
        hd_err err;
        if (open_text(&t, rows[i].text, &err) == HD_OK) fail_msg("%s is read", rows[i].text);
        if (!strstr(err.text, rows[i].why)) fail_msg("%s: %s", rows[i].text, err.text);
        assert_non_null(strstr(err.text, "eval.json'"));
        assert_string_equal(err.path, rows[i].path);
        hd_eval_tasks_deinit(&t);
    }
}

static void memory_may_run_out(void **state)
{
    (void)state;
    hd_status status = HD_E_NOMEM;
    for (long n = 0; status != HD_OK; n++) {
        hd_eval_tasks t;
        hd_err err;
        const char *path = test_path(test_tmpdir(), "eval.json");
        test_write(path, HD_STR(HEAD ", \"rows\": [" ROW("a") "]}"));
        hd_mem_fail_after(n);
        status = hd_eval_tasks_open(&t, path, &err);
        hd_mem_fail_after(-1);
        if (status != HD_OK) assert_int_equal(status, HD_E_NOMEM);
        hd_eval_tasks_deinit(&t);
        assert_true(n < 100);
    }
}

/* ---- results ---- */

#define ALL_SETS                                                                                   \
    ROW("zeta")                                                                                    \
    ", " ROW("json") ", " ROW("fim") ", " ROW("tool") ", " ROW("add-plain") ", " ROW(              \
        "needle-4k") ", " ROW("needle-1k") ", " ROW("alpha") ", " ROW("zeta")

static void expect_names(const hd_eval_results *r, const char *want)
{
    hd_buf names;
    hd_buf_init(&names, 4096);
    for (size_t i = 0; i < r->n; i++)
        if (r->all[i].is_wanted) hd_buf_addf(&names, "%.*s ", HD_STR_ARG(r->all[i].name));
    assert_string_equal(names.ptr, want);
    hd_buf_deinit(&names);
}

static void results_follow_from_the_sets(void **state)
{
    (void)state;
    hd_eval_tasks t;
    hd_eval_results r;
    hd_err err;
    open_good(&t, HEAD ", \"rows\": [" ALL_SETS "]}");
    hd_eval_results_init(&r, &t);
    expect_names(&r,
                 "needle-1k needle-4k add-plain tool-valid tool-right json-valid json-right fim "
                 "zeta alpha stop ");
    const char *some[] = {"json-valid", "zeta"};
    assert_int_equal(hd_eval_results_choose(&r, some, 2, &err), HD_OK);
    expect_names(&r, "json-valid zeta ");
    for (size_t i = 0; i < t.n_rows; i++)
        assert_int_equal(hd_eval_results_need(&r, &t.rows[i]), i == 0 || i == 1 || i == 8);
    const char *stop[] = {"stop"};
    assert_int_equal(hd_eval_results_choose(&r, stop, 1, &err), HD_OK);
    for (size_t i = 0; i < t.n_rows; i++) assert_true(hd_eval_results_need(&r, &t.rows[i]));
    const char *bad[] = {"tool"}; /* a set, but no result */
    assert_int_equal(hd_eval_results_choose(&r, bad, 1, &err), HD_E_NOTFOUND);
    assert_string_equal(err.text,
                        "no task 'tool', expected one of needle-1k needle-4k add-plain "
                        "tool-valid tool-right json-valid json-right fim zeta alpha stop");
    hd_eval_results_deinit(&r);
    hd_eval_tasks_deinit(&t);
}

static hd_eval_result *result(const hd_eval_results *r, const char *name)
{
    for (size_t i = 0; i < r->n; i++)
        if (hd_str_eqz(r->all[i].name, name)) return &r->all[i];
    fail_msg("no result '%s'", name);
    return NULL;
}

static void each_result_counts_its_own(void **state)
{
    (void)state;
    hd_eval_tasks t;
    hd_eval_results r;
    open_good(&t, HEAD ", \"rows\": [" ALL_SETS "]}");
    hd_eval_results_init(&r, &t);
    for (size_t i = 0; i < t.n_rows; i++) {
        hd_eval_score s = {.ended = i != 2, .valid = i == 3, .right = i == 8};
        hd_eval_results_count(&r, &t.rows[i], &s);
    }
    assert_int_equal(result(&r, "zeta")->n, 2);
    assert_int_equal(result(&r, "zeta")->n_good, 1);
    assert_int_equal(result(&r, "tool-valid")->n_good, 1);
    assert_int_equal(result(&r, "tool-right")->n_good, 0);
    assert_int_equal(result(&r, "tool-right")->n, 1);
    assert_int_equal(result(&r, "json-valid")->n_good, 0);
    assert_int_equal(result(&r, "stop")->n, 9);
    assert_int_equal(result(&r, "stop")->n_good, 8);
    hd_eval_results_deinit(&r);
    hd_eval_tasks_deinit(&t);
}

/* ---- stored figures ---- */

static void figures_are_stored_and_compared(void **state)
{
    (void)state;
    hd_eval_tasks t;
    hd_eval_results r, again;
    hd_err err;
    const char *path = test_path(test_tmpdir(), "eval-figures.json");
    open_good(&t, HEAD ", \"rows\": [" ALL_SETS "]}");
    hd_eval_results_init(&r, &t);
    assert_int_equal(hd_eval_figures_read(&r, path, &err), HD_OK); /* none there */
    assert_false(result(&r, "zeta")->has_stored);
    for (size_t i = 0; i < t.n_rows; i++)
        hd_eval_results_count(&r, &t.rows[i], &(hd_eval_score){.right = i == 0, .ended = true});
    assert_int_equal(hd_eval_figures_write(&r, path, &err), HD_OK);
    hd_eval_results_init(&again, &t);
    assert_int_equal(hd_eval_figures_read(&again, path, &err), HD_OK);
    assert_true(result(&again, "zeta")->has_stored);
    assert_true(result(&again, "zeta")->stored == 0.5);
    assert_true(result(&again, "stop")->stored == 1.0);
    hd_eval_results_deinit(&again);
    hd_eval_results_deinit(&r);
    hd_eval_tasks_deinit(&t);
}

static void one_point_below_is_no_regression(void **state)
{
    (void)state;
    hd_eval_result r = {.n = 100, .n_good = 89, .stored = 0.9};
    assert_false(hd_eval_is_regression(&r)); /* nothing is stored */
    r.has_stored = true;
    assert_false(hd_eval_is_regression(&r));
    r.n_good = 88;
    assert_true(hd_eval_is_regression(&r));
    r.n_good = 100;
    assert_false(hd_eval_is_regression(&r)); /* better is not worse */
}

static void broken_figures_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"{", "bad json"},
        {"{}", "expected an object with 'tasks', an object"},
        {"{\"tasks\": {\"zeta\": {}}}", "'accuracy' must be a number, got nothing"},
        {"{\"tasks\": {\"zeta\": {\"accuracy\": 98.5}}}", "'zeta' is not within 0 and 1"},
        {"{\"tasks\": {\"unknown\": 1}}", NULL},
    };
    hd_eval_tasks t;
    const char *path = test_path(test_tmpdir(), "bad-figures.json");
    open_good(&t, HEAD ", \"rows\": [" ALL_SETS "]}");
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        hd_eval_results r;
        hd_err err;
        hd_eval_results_init(&r, &t);
        test_write(path, hd_str_from(rows[i].text));
        hd_status status = hd_eval_figures_read(&r, path, &err);
        assert_int_equal(status, rows[i].why ? HD_E_FORMAT : HD_OK);
        if (rows[i].why && !strstr(err.text, rows[i].why)) fail_msg("%s", err.text);
        hd_eval_results_deinit(&r);
    }
    hd_eval_tasks_deinit(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_and_sets_are_read),
        cmocka_unit_test(pieces_fill_the_hole),
        cmocka_unit_test(tools_are_found),
        cmocka_unit_test(bad_files_say_where),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(results_follow_from_the_sets),
        cmocka_unit_test(each_result_counts_its_own),
        cmocka_unit_test(figures_are_stored_and_compared),
        cmocka_unit_test(one_point_below_is_no_regression),
        cmocka_unit_test(broken_figures_are_refused),
    };
    return cmocka_run_group_tests_name("eval_tasks", tests, NULL, NULL);
}
