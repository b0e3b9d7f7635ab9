/* The output parser: every way to cut an answer gives the same result, nothing is held back longer
 * than needed, markup is never shown. (What it makes of odd answers is in golden/test_text_parse.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "text/outparse.h"

#define D "\x01" /* stands for the DSML token in the texts below */
#define T "\x02" /* and this for </think> */

static const char *const answers[] = {
    "",
    "Low water at six.",
    "\n\nwhy\n\n" T "\n\nYes.\n\n",
    "why" T T "a" T "b\n" T "\n",
    "why" T "Let me look.\n\n<" D "tool_calls>\n<" D "invoke name=\"tide\">\n<" D
    "parameter name=\"harbour\" string=\"true\">B\"re\\st\n</th</" D "parameter>\n<" D
    "parameter name=\"n\" string=\"false\">[1, {}]</" D "parameter>\n</" D "invoke>\n<" D
    "invoke name=\"depth\">\n\n</" D "invoke>\n</" D "tool_calls>after",
    "call<" D " calls><" D " invoke name=\"t\"><" D " parameter name=\"a\" string=\"true\">1<" D
    "x</" D " parameter></" D " invoke></" D " calls>",
    "no end\n\n<" D "tool_calls>\n<" D "invoke name=\"t\">\n<" D
    "parameter name=\"a\" string=\"true\">cut <",
    "no closer <" D "invoke name=\"t\"><" D "parameter name=\"a\" string=\"false\">1</" D
    "parameter><" D "invoke name=\"u\"><" D "parameter name=\"b\" string=\"false\">2</" D
    "parameter></" D "invoke>",
    "torn <" D "invoke name=\"t\"><" D "parameter name=\"a\" string=\"true\">q</" D "invoke><" D
    "invoke name=\"evil\"></" D "parameter></" D "invoke></" D "tool_calls>",
    "bad <" D "invoke name=\"t\"><" D "parameter name=\"a\">v</" D "parameter><" D
    "parameter string=\"true\" name=\"b\">v</" D "parameter><" D
    "parameter name=\"c\" string=\"true\">v</" D "parameter></" D "invoke>",
    "heads <" D "invoke <" D "invoke name=\"<" D "invoke name=\"t\"><" D "parameter name=\"a<" D
    "parameter name=\"b\" x=\">\" string=\"true\" y>v</" D "parameter></" D "invoke>",
    "stray </" D "invoke>x</" D "a\nb" D "c</" D "x<" D "invoke name=\"t\"></" D "invoke>",
    "\n<</\n<\n\n" T "<\n\n<" D "invoke name=\"t\"",
    "\xC3\xA9\xF0\x9F\x90\x9A<" D "invoke name=\"\xF0\x9F\x90\x9A\"><" D
    "parameter name=\"\xC3\xA9\" string=\"true\">\xF0\x9F\x90\x9A\n</" D "parameter></" D "invoke>",
    "ends <" D "invoke name=\"t\"><" D "parameter name=\"a\" string=\"false\">1</" D D "</" D
    "invoke><" D "invoke name=\"u\"></" D "invoke>",
    "cut <" D "invoke name=\"t\"><" D "parameter name=\"ke",
    "cut <" D "invoke name=\"t\"><" D "parameter name=\"key\" str",
    "cut <" D "invoke name=\"t\"><" D "parameter name=",
};

static const char *const stops[] = {"END", "\n\n"};

static const hd_outparse_opts all_opts[] = {
    {.start = HD_OUT_START_TEXT, .has_tools = 1},
    {.start = HD_OUT_START_REASONING, .has_tools = 1},
    {.start = HD_OUT_START_REASONING, .has_tools = 1, .is_continuation = 1},
    {.start = HD_OUT_START_REASONING},
    {.start = HD_OUT_START_CALLS, .has_tools = 1},
    {.start = HD_OUT_START_TEXT, .has_tools = 1, .stops = stops, .n_stops = 2},
};

/* Events as one text: kinds as letters, neighbours of a kind joined. */
typedef struct record {
    hd_buf text;
    char kind; /* of the last event */
    bool is_finished;
} record;

static void take_events(hd_outparse *p, record *r)
{
    static const char letters[] = {'r', 't', 'o', 'a', 'c', 'f'};
    hd_out_event e;
    while (hd_outparse_next(p, &e)) {
        char kind = letters[e.kind];
        assert_false(r->is_finished);
        bool is_more = kind == r->kind && (kind == 'r' || kind == 't' || kind == 'a');
        assert_true(e.len > 0 || (kind != 'r' && kind != 't' && kind != 'a'));
        if (!is_more) hd_buf_addf(&r->text, "|%c%d:", kind, kind == 'f' ? (int)e.finish : e.call);
        hd_buf_add(&r->text, e.text, e.len);
        r->kind = kind;
        r->is_finished = kind == 'f';
    }
}

/* One piece of an answer: text, and marks by their letters. */
static void feed(hd_outparse *p, hd_str s, record *r)
{
    while (s.len) {
        size_t n = 0;
        while (n < s.len && s.ptr[n] != D[0] && s.ptr[n] != T[0]) n++;
        if (n > 0) {
            assert_int_equal(hd_outparse_push_text(p, (hd_str){s.ptr, n}, NULL), HD_OK);
        } else {
            hd_out_mark mark = s.ptr[0] == D[0] ? HD_OUT_MARK_DSML : HD_OUT_MARK_END_THINK;
            assert_int_equal(hd_outparse_push_mark(p, mark, NULL), HD_OK);
            n = 1;
        }
        take_events(p, r);
        s = hd_str_skip(s, n);
    }
}

static hd_outparse *create(const hd_outparse_opts *opts)
{
    hd_outparse *p;
    assert_int_equal(hd_outparse_create_textual(opts, &p, NULL), HD_OK);
    return p;
}

/* Parse with cuts at two places. */
static void parse(const hd_outparse_opts *opts, hd_str s, size_t cut1, size_t cut2, record *r)
{
    hd_outparse *p = create(opts);
    hd_buf_init(&r->text, 1 << 20);
    r->kind = 0;
    r->is_finished = false;
    feed(p, (hd_str){s.ptr, cut1}, r);
    feed(p, (hd_str){s.ptr + cut1, cut2 - cut1}, r);
    feed(p, hd_str_skip(s, cut2), r);
    assert_int_equal(hd_outparse_finish(p, HD_FINISH_STOP, NULL), HD_OK);
    take_events(p, r);
    assert_true(r->is_finished);
    hd_outparse_destroy(p);
}

static void any_two_cuts_give_the_same(void **state)
{
    (void)state;
    for (size_t i = 0; i < HD_COUNT(answers); i++)
        for (size_t k = 0; k < HD_COUNT(all_opts); k++) {
            hd_str s = hd_str_from(answers[i]);
            record whole, cut;
            parse(&all_opts[k], s, 0, 0, &whole);
            for (size_t a = 0; a <= s.len; a++)
                for (size_t b = a; b <= s.len && b < a + 12; b++) {
                    parse(&all_opts[k], s, a, b, &cut);
                    if (!hd_str_eq(hd_buf_str(&cut.text), hd_buf_str(&whole.text)))
                        fail_msg("answer %zu, options %zu, cut at %zu and %zu: %s, not %s", i, k, a,
                                 b, cut.text.ptr, whole.text.ptr);
                    hd_buf_deinit(&cut.text);
                }
            hd_buf_deinit(&whole.text);
        }
}

static void answers_read_as_expected(void **state)
{
    (void)state;
    static const struct {
        size_t i_answer, i_opts;
        const char *events;
    } rows[] = {
        {1, 0, "|t-1:Low water at six.|f0:"},
        {2, 1, "|r-1:why|t-1:Yes.\n\n|f0:"},
        {2, 2, "|r-1:\n\nwhy|t-1:Yes.\n\n|f0:"},
        {3, 1, "|r-1:why|t-1:ab\n\n|f0:"},
        {4, 1,
         "|r-1:why|t-1:Let me look.|o0:tide|a0:{\"harbour\": \"B\\\"re\\\\st\\n</th\", \"n\": [1, "
         "{}]}|c0:|o1:depth|a1:{}|c1:|f2:"},
        {6, 0, "|t-1:no end|o0:t|a0:{\"a\": \"cut <|f2:"},
        {7, 0, "|t-1:no closer |o0:t|a0:{\"a\": 1}|c0:|o1:u|a1:{\"b\": 2}|c1:|f2:"},
        {8, 0, "|t-1:torn |o0:t|a0:{\"a\": \"q\"}|c0:|f2:"},
        {9, 0, "|t-1:bad |o0:t|a0:{\"c\": \"v\"}|c0:|f2:"},
        {10, 0, "|t-1:heads |o0:t|a0:{\"b\": \"v\"}|c0:|f2:"},
        {14, 0, "|t-1:ends |o0:t|a0:{\"a\": 1}|c0:|o1:u|a1:{}|c1:|f2:"},
        {15, 0, "|t-1:cut |o0:t|a0:{\"ke|f2:"},
        {16, 0, "|t-1:cut |o0:t|a0:{\"key\": |f2:"},
        {17, 0, "|t-1:cut |o0:t|a0:{|f2:"},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        record r;
        parse(&all_opts[rows[i].i_opts], hd_str_from(answers[rows[i].i_answer]), 0, 0, &r);
        assert_string_equal(r.text.ptr, rows[i].events);
        hd_buf_deinit(&r.text);
    }
}

/* After each byte, all of it is shown that cannot vanish any more. */
static void nothing_is_held_longer_than_needed(void **state)
{
    (void)state;
    hd_str s = HD_STR("a\n\nb<c</d\n<e\n\n</\nf<");
    hd_outparse *p = create(&all_opts[0]);
    hd_buf shown;
    hd_buf_init(&shown, 1000);
    for (size_t i = 1; i <= s.len; i++) {
        hd_out_event e;
        assert_int_equal(hd_outparse_push_text(p, (hd_str){s.ptr + i - 1, 1}, NULL), HD_OK);
        while (hd_outparse_next(p, &e)) hd_buf_add(&shown, e.text, e.len);
        hd_str want = {s.ptr, i};
        if (hd_str_ends(want, HD_STR("</")))
            want.len -= 2;
        else if (hd_str_ends(want, HD_STR("<")))
            want.len--;
        while (want.len && want.ptr[want.len - 1] == '\n') want.len--;
        assert_true(hd_str_eq(hd_buf_str(&shown), want));
    }
    hd_buf_deinit(&shown);
    hd_outparse_destroy(p);
}

static void without_tools_nothing_is_held_and_markup_is_text(void **state)
{
    (void)state;
    hd_outparse_opts opts = {.start = HD_OUT_START_TEXT};
    hd_outparse *p = create(&opts);
    hd_out_event e;
    assert_int_equal(hd_outparse_push_text(p, HD_STR("a\n\n<"), NULL), HD_OK);
    assert_int_equal(hd_outparse_next(p, &e), 1);
    assert_true(hd_str_eqz((hd_str){e.text, e.len}, "a\n\n<"));
    assert_int_equal(hd_outparse_push_mark(p, HD_OUT_MARK_DSML, NULL), HD_OK);
    assert_int_equal(hd_outparse_next(p, &e), 1);
    assert_true(hd_str_eqz((hd_str){e.text, e.len}, "｜DSML｜"));
    hd_outparse_destroy(p);
}

/* Random mixtures of tags: whatever is shown of reasoning and text holds no tag. */
static void markup_is_never_shown(void **state)
{
    (void)state;
    static const char *const parts[] = {"<" D,
                                        "</" D,
                                        D,
                                        T,
                                        "tool_calls>",
                                        "invoke name=\"",
                                        "t\">",
                                        "parameter name=\"a\" ",
                                        "string=\"true\">",
                                        "\n",
                                        "<",
                                        "</",
                                        ">",
                                        " ",
                                        "x",
                                        "invoke>"};
    uint64_t seed = 1;
    for (int round = 0; round < 3000; round++) {
        char text[600] = "";
        size_t n = 0;
        for (int i = 0; i < 30; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            n += (size_t)snprintf(text + n, sizeof text - n, "%s", parts[(seed >> 33) % 16]);
        }
        hd_outparse *p = create(&all_opts[round % 2]);
        record r = {0};
        hd_buf_init(&r.text, 1 << 20);
        feed(p, (hd_str){text, n}, &r);
        assert_int_equal(hd_outparse_finish(p, HD_FINISH_STOP, NULL), HD_OK);
        take_events(p, &r);
        hd_outparse_destroy(p);
        /* What may hold a tag are values, which stand behind the first call's opening. */
        hd_str all = hd_buf_str(&r.text);
        hd_str shown = {all.ptr, hd_str_find(all, HD_STR("|o0:"), 0)};
        assert_int_equal(hd_str_find(shown, HD_STR("<｜DSML｜"), 0), shown.len);
        assert_int_equal(hd_str_find(shown, HD_STR("</｜DSML｜"), 0), shown.len);
        assert_int_equal(hd_str_find(shown, HD_STR("</think>"), 0), shown.len);
        hd_buf_deinit(&r.text);
    }
}

static void long_heads_are_no_tags(void **state)
{
    (void)state;
    char name[5000];
    memset(name, 'n', sizeof name);
    for (size_t len = 4000; len < 4200; len += 10) {
        hd_outparse *p = create(&all_opts[0]);
        record r = {0};
        hd_buf_init(&r.text, 1 << 20);
        feed(p, HD_STR("<" D "invoke name=\""), &r);
        for (size_t i = 0; i < len; i += 50) feed(p, (hd_str){name, 50}, &r);
        feed(p, HD_STR("\"><" D "invoke name=\"t\"></" D "invoke>"), &r);
        bool is_long = sizeof "invoke name=\"" - 1 + (len + 49) / 50 * 50 + 1 > 4096;
        assert_int_equal(r.text.len < 100, is_long);
        hd_outparse_destroy(p);
        hd_buf_deinit(&r.text);
    }
}

static void a_stop_string_ends_the_answer(void **state)
{
    (void)state;
    hd_outparse *p = create(&all_opts[5]);
    record r = {0};
    hd_buf_init(&r.text, 1000);
    feed(p, HD_STR("before EN and END after" T "<" D "invoke name=\"t\">"), &r);
    assert_true(r.is_finished);
    assert_int_equal(hd_outparse_finish(p, HD_FINISH_LENGTH, NULL), HD_OK);
    take_events(p, &r);
    assert_string_equal(r.text.ptr, "|t-1:before EN and |f0:");
    hd_outparse_destroy(p);
    hd_buf_deinit(&r.text);
}

static void bad_options_are_refused(void **state)
{
    (void)state;
    static const char *const empty[] = {""};
    hd_outparse_opts opts = {.start = (hd_out_start)7};
    hd_outparse *p;
    assert_int_equal(hd_outparse_create_textual(&opts, &p, NULL), HD_E_ARG);
    assert_null(p);
    opts = (hd_outparse_opts){.stops = empty, .n_stops = 1};
    assert_int_equal(hd_outparse_create_textual(&opts, &p, NULL), HD_E_ARG);
    assert_null(p);
    hd_outparse_destroy(NULL);
}

static void memory_may_run_out_anywhere(void **state)
{
    (void)state;
    long n = 0;
    bool failed;
    do {
        hd_outparse *p = NULL;
        hd_str s = hd_str_from(answers[4]);
        hd_mem_fail_after(n++);
        hd_status status = hd_outparse_create_textual(&all_opts[5], &p, NULL);
        for (size_t i = 0; i < s.len && status == HD_OK; i++) {
            bool is_mark = s.ptr[i] == D[0] || s.ptr[i] == T[0];
            status = is_mark
                         ? hd_outparse_push_mark(
                               p, s.ptr[i] == D[0] ? HD_OUT_MARK_DSML : HD_OUT_MARK_END_THINK, NULL)
                         : hd_outparse_push_text(p, (hd_str){s.ptr + i, 1}, NULL);
        }
        if (status == HD_OK) status = hd_outparse_finish(p, HD_FINISH_STOP, NULL);
        hd_mem_fail_after(-1);
        failed = status != HD_OK;
        if (failed) assert_int_equal(status, HD_E_NOMEM);
        hd_outparse_destroy(p);
    } while (failed);
    assert_in_range(n, 6, 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_two_cuts_give_the_same),
        cmocka_unit_test(answers_read_as_expected),
        cmocka_unit_test(nothing_is_held_longer_than_needed),
        cmocka_unit_test(without_tools_nothing_is_held_and_markup_is_text),
        cmocka_unit_test(markup_is_never_shown),
        cmocka_unit_test(long_heads_are_no_tags),
        cmocka_unit_test(a_stop_string_ends_the_answer),
        cmocka_unit_test(bad_options_are_refused),
        cmocka_unit_test(memory_may_run_out_anywhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
