/* The strict parser beyond its golden rows: every kind of refusal, ends of the text, memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/mem.h"
#include "text/parse_strict.h"

#define D     "｜DSML｜"
#define EOS   HD_TOKEN_EOS
#define OPEN  "x\n\n<" D "tool_calls>\n<" D "invoke name=\"t\">\n"
#define CLOSE "</" D "invoke>\n</" D "tool_calls>"

static hd_status parse(const char *text, bool thinks, hd_parsed *out, hd_err *err)
{
    static hd_arena arena;
    hd_arena_deinit(&arena);
    hd_arena_init(&arena, 1 << 20);
    return hd_parse_strict(hd_str_from(text), hd_chat_rules_find(HD_STR("v4"), HD_STR("")), thinks,
                           &arena, out, err);
}

static void refusals_say_why(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool thinks;
        const char *why;
    } rows[] = {
        {"", false, "no '" EOS "' at the end"},
        {"x" EOS "y", false, "text after '" EOS "'"},
        {"x" EOS, true, "reasoning without '</think>'"},
        {"x\n\n<" D "tool_calls>\n</think>y" EOS, true, "reasoning without '</think>'"},
        {"a<think>b" EOS, false, "token '<think>' inside"},
        {"a" D "b" EOS, false, "token '" D "' inside"},
        {"<think></think>y" EOS, true, "token '<think>' inside"},
        {"x\n\n<" D "tool_calls> \n", false, "expected '>' and a line feed between"},
        {"x\n\n<" D "tool_calls>\n", false, "calls without an end"},
        {"x\n\n<" D "tool_calls>\n<" D "invoke nam=\"t\">\n" CLOSE, false, "expected 'name="},
        {"x\n\n<" D "tool_calls>\n<" D "invoke name=\"t\">" CLOSE, false, "expected 'name="},
        {"x\n\n<" D "tool_calls>\n<" D "invoke name=\">\n" CLOSE, false, "expected 'name="},
        {"x\n\n<" D "tool_calls>\n<" D "invoke name=\"t\">\n", false, "call without an end"},
        {OPEN "<" D "parameter name=\"a\" string=\"true\">v", false, "in a parameter"},
        {OPEN "<" D "parameter name=\"a\" string=\"true\">v<", false, "parameter without an end"},
        {OPEN "<" D "parameter  name=\"a\" string=\"true\">v</" D "parameter>\n" CLOSE, false,
         "in a parameter"},
        {OPEN "<" D "parameter name=\"a\" string=\"yes\">v</" D "parameter>\n" CLOSE, false,
         "expected 'string="},
        {OPEN "<" D "parameter name=\"a\" string=\"true\">v</" D "parameter> \n" CLOSE, false,
         "line feed after a parameter"},
        {OPEN "<" D "parameter name=\"a\" string=\"true\">1</" D "parameter>\n<" D
              "parameter name=\"a\" string=\"true\">2</" D "parameter>\n" CLOSE,
         false, "parameter 'a' is given twice"},
        {OPEN CLOSE "y" EOS, false, "text after the calls"},
        {OPEN CLOSE EOS EOS, false, "text after the calls"},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        hd_parsed out;
        hd_err err = {0};
        assert_int_equal(parse(rows[i].text, rows[i].thinks, &out, &err), HD_E_FORMAT);
        if (!strstr(err.text, rows[i].why)) fail_msg("'%s' lacks '%s'", err.text, rows[i].why);
    }
}

static void text_may_end_early_in_two_places(void **state)
{
    (void)state;
    hd_parsed out;
    assert_int_equal(parse("x\n\n<" D "tool_calls", false, &out, NULL), HD_OK);
    assert_int_equal(out.n_calls, 0);
    assert_int_equal(parse(OPEN "</" D "invoke", false, &out, NULL), HD_OK);
    assert_int_equal(out.n_calls, 1);
    assert_int_equal(parse(OPEN CLOSE, false, &out, NULL), HD_OK);
    assert_int_equal(out.n_calls, 1);
    assert_true(hd_str_eqz(out.calls[0].arguments, "{}"));
}

static void the_first_mark_of_a_value_counts(void **state)
{
    (void)state;
    hd_parsed out;
    assert_int_equal(parse(OPEN "<" D
                                "parameter name=\"k\" string=\"false\">1\" string=\"true\">2</" D
                                "parameter>\n" CLOSE EOS,
                           false, &out, NULL),
                     HD_OK);
    assert_true(hd_str_eqz(out.calls[0].arguments, "{\"k\": 1\" string=\"true\">2}"));
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    long n = 0;
    hd_status status;
    do {
        hd_parsed out;
        hd_arena arena;
        hd_arena_init(&arena, 1 << 20);
        hd_mem_fail_after(n++);
        status = hd_parse_strict(
            HD_STR(OPEN "<" D "parameter name=\"a\" string=\"true\">1</" D "parameter>\n" CLOSE),
            hd_chat_rules_find(HD_STR("v4"), HD_STR("")), false, &arena, &out, NULL);
        hd_mem_fail_after(-1);
        if (status != HD_OK) assert_int_equal(status, HD_E_NOMEM);
        hd_arena_deinit(&arena);
    } while (status != HD_OK);
    assert_in_range(n, 3, 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refusals_say_why),
        cmocka_unit_test(text_may_end_early_in_two_places),
        cmocka_unit_test(the_first_mark_of_a_value_counts),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
