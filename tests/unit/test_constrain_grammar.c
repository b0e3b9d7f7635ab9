/* Regular expressions and EBNF as whole grammars, plain objects; limits, and memory that runs out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "support/constrain_run.h"

typedef struct row {
    const char *text, *yes[8], *no[8];
} row;

static void check_rows(hd_grammar_kind kind, const row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        hd_grammar_source source = {
            .kind = kind, .text = hd_str_from(rows[i].text), .is_textual = true};
        hd_grammar *g = constrain_compile(constrain_tiny(), &source);
        for (size_t k = 0; k < 8 && rows[i].yes[k]; k++) {
            int at = constrain_follow(g, hd_str_from(rows[i].yes[k]));
            if (at != CONSTRAIN_COMPLETE)
                fail_msg("%s: '%s' stops at %d", rows[i].text, rows[i].yes[k], at);
        }
        for (size_t k = 0; k < 8 && rows[i].no[k]; k++)
            if (constrain_follow(g, hd_str_from(rows[i].no[k])) == CONSTRAIN_COMPLETE)
                fail_msg("%s: '%s' is accepted", rows[i].text, rows[i].no[k]);
        hd_grammar_unref(g);
    }
}

static void regex(void **state)
{
    (void)state;
    static const row rows[] = {
        {"[0-9]{4}-\\d\\d", {"2026-11"}, {"2026-1", "2026-111", "x2026-11"}},
        {"^(yes|no)$", {"yes", "no"}, {"", "yesno", "maybe"}},
        {"a*b+c?", {"b", "aabbc"}, {"a", "bcc", "abca"}},
        {"(ab){2,3}", {"abab", "ababab"}, {"ab", "abababab", "aba"}},
        {"(a|b){2,}?x", {"aax", "ababx"}, {"ax", "aa"}},
        {"(?:a(?<n>b)?)*", {"", "a", "abaab"}, {"b", "abb"}},
        {"[^a\\]\\-]+", {"b", "[x\n"}, {"a", "]", "-", ""}},
        {"[\\w.-]+@[a-z]+", {"a.b-c_9@x"}, {"@x", "a b@x"}},
        {".", {"x", "\xC3\xA9", "\xF0\x9F\x98\x80"}, {"\n", "", "xy", "\xC3"}},
        {"\\u{1F600}|\\ud83d\\ude01|\\x41\\t",
         {"\xF0\x9F\x98\x80", "\xF0\x9F\x98\x81", "A\t"},
         {"A"}},
        {"[\xC3\xA9-\xE4\xB8\xAD]",
         {"\xC3\xA9", "\xE4\xB8\xAD", "\xD0\x96"},
         {"e", "\xE4\xB8\xAE"}},
        {"a{0}b", {"b"}, {"ab"}},
        {"|a", {"", "a"}, {"b"}},
    };
    check_rows(HD_GRAMMAR_REGEX, rows, HD_COUNT(rows));
}

static void ebnf(void **state)
{
    (void)state;
    static const row rows[] = {
        {"root ::= \"a\" b* # comment\nb ::= 'x' | [0-9]+ \".\"",
         {"a", "ax", "ax12.x"},
         {"", "x", "a1", "b"}},
        {"expr = term ((\"+\" | \"-\") term)*; term = num | \"(\" expr \")\"; num = [1-9] "
         "[0-9]{0,2}",
         {"1", "12+3", "(1-(2+3))-999"},
         {"", "1+", "(1", "1000", "01", "()"}},
        {"start ::= ( \"\\\"\" . \"\\n\" )? \"z\"", {"z", "\"q\nz"}, {"\"z", "\"qz"}},
        {"list ::= \"<\" list \">\" list | \"\"", {"", "<>", "<<><>><>"}, {"<", "<>>"}},
    };
    check_rows(HD_GRAMMAR_EBNF, rows, HD_COUNT(rows));
}

static void objects(void **state)
{
    (void)state;
    static const row rows[] = {
        {"", {"{}", "{\"a\": [1, {\"b\": null}]}"}, {"[]", "1", "{} ", "{\"a\": 1"}}};
    check_rows(HD_GRAMMAR_OBJECT, rows, HD_COUNT(rows));
}

static void reasoning_first(void **state)
{
    (void)state;
    hd_grammar_source source = {.kind = HD_GRAMMAR_OBJECT, .thinks = true};
    hd_grammar *g = constrain_compile(constrain_tiny(), &source);
    static const char text[] = "{hm} 1<2" HD_TOKEN_END_THINK "{\"a\": 1}" HD_TOKEN_EOS;
    assert_int_equal(constrain_follow(g, hd_str_from(text)), CONSTRAIN_COMPLETE);
    assert_int_equal(constrain_follow(g, HD_STR("hm" HD_TOKEN_END_THINK "{}")), CONSTRAIN_COMPLETE);
    assert_int_equal(constrain_follow(g, HD_STR("{}" HD_TOKEN_EOS)), 2);
    assert_int_equal(constrain_follow(g, HD_STR("hm" HD_TOKEN_END_THINK "hm")), 10);
    assert_int_equal(constrain_follow(g, HD_STR("hm" HD_TOKEN_END_THINK "{}" HD_TOKEN_EOS "x")),
                     12 + (int)strlen(HD_TOKEN_EOS));
    hd_grammar_unref(g);
}

/* ---- refusals ---- */

static hd_status compile(hd_grammar_kind kind, hd_str text, unsigned limit_ms, hd_grammar **g,
                         hd_err *err)
{
    hd_grammar_source source = {
        .kind = kind, .text = text, .strict = true, .is_textual = true, .limit_ms = limit_ms};
    return hd_grammar_compile(constrain_tiny(), &source, NULL, g, err);
}

static void broken(void **state)
{
    (void)state;
    static const struct {
        hd_grammar_kind kind;
        const char *text, *why;
        hd_status status;
    } rows[] = {
        {HD_GRAMMAR_REGEX, "a\\1", "'\\1'", HD_E_UNSUPPORTED},
        {HD_GRAMMAR_REGEX, "(?!a)", "'(?'", HD_E_UNSUPPORTED},
        {HD_GRAMMAR_REGEX, "\\p{L}", "'\\p'", HD_E_UNSUPPORTED},
        {HD_GRAMMAR_REGEX, "a^b", "'^' inside", HD_E_UNSUPPORTED},
        {HD_GRAMMAR_REGEX, "a{3,2}", "backwards", HD_E_FORMAT},
        {HD_GRAMMAR_REGEX, "a{", "expected a number", HD_E_FORMAT},
        {HD_GRAMMAR_REGEX, "a)", "unexpected character", HD_E_FORMAT},
        {HD_GRAMMAR_REGEX, "[a", "expected a character", HD_E_FORMAT},
        {HD_GRAMMAR_REGEX, "\\", "nothing behind", HD_E_FORMAT},
        {HD_GRAMMAR_REGEX, "\\x4", "hex digit", HD_E_FORMAT},
        {HD_GRAMMAR_REGEX, "a{5000}", "more than 4096", HD_E_LIMIT},
        {HD_GRAMMAR_REGEX, "[^\\s\\S]", "nothing can match", HD_E_FORMAT},
        {HD_GRAMMAR_REGEX, "\xFF", "not valid UTF-8", HD_E_FORMAT},
        {HD_GRAMMAR_EBNF, "", "no rule", HD_E_FORMAT},
        {HD_GRAMMAR_EBNF, "a ::= b", "rule 'b' is not defined", HD_E_FORMAT},
        {HD_GRAMMAR_EBNF, "a ::= \"x\" a ::= \"y\"", "defined twice", HD_E_FORMAT},
        {HD_GRAMMAR_EBNF, "a ::= \"x", "without an end", HD_E_FORMAT},
        {HD_GRAMMAR_EBNF, "a ::= (\"x\"", "expected ')'", HD_E_FORMAT},
        {HD_GRAMMAR_EBNF, "a ::= \"x\" )", "unexpected character", HD_E_FORMAT},
        {HD_GRAMMAR_EBNF, "a ::= a \"x\" | \"y\"", "refers to itself", HD_E_UNSUPPORTED},
        {HD_GRAMMAR_EBNF, "a ::= b* a \"x\" | \"y\" b ::= \"b\"", "refers to itself",
         HD_E_UNSUPPORTED},
        {HD_GRAMMAR_EBNF, "a ::= \"x\" a", "nothing can match", HD_E_FORMAT},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        hd_err err = {0};
        hd_grammar *g = NULL;
        hd_status status = compile(rows[i].kind, hd_str_from(rows[i].text), 10000, &g, &err);
        if (status != rows[i].status || !strstr(err.text, rows[i].why))
            fail_msg("%s: %d '%s'", rows[i].text, status, err.text);
    }
}

/* ---- hostile sources end in time ---- */

static void repeat(hd_buf *b, const char *text, size_t n)
{
    while (n--) hd_buf_addz(b, text);
}

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void expect_limit(hd_grammar_kind kind, hd_buf *b, const char *what)
{
    hd_err err = {0};
    hd_grammar *g = NULL;
    assert_int_equal(b->status, HD_OK);
    double begin = seconds();
    hd_status status = compile(kind, hd_buf_str(b), 0, &g, &err);
    double took = seconds() - begin;
    if (status != HD_E_LIMIT) fail_msg("%s: %d '%s'", what, status, err.text);
    if (took > 2) fail_msg("%s: %.3f s of CPU time", what, took); /* 0.1 s and sanitizers */
    hd_buf_reset(b);
}

static void hostile(void **state)
{
    (void)state;
    hd_buf b;
    hd_buf_init(&b, 8 << 20);

    repeat(&b, "{\"items\":", 5000);
    repeat(&b, "{}", 1);
    repeat(&b, "}", 5000);
    expect_limit(HD_GRAMMAR_SCHEMA, &b, "deep");

    repeat(&b, "{\"anyOf\":[", 100);
    repeat(&b, "{}", 1);
    repeat(&b, "]}", 100);
    expect_limit(HD_GRAMMAR_SCHEMA, &b, "deep anyOf");

    repeat(&b, "{\"properties\":{", 1);
    for (int i = 0; i < 100000; i++) hd_buf_addf(&b, "%s\"p%d\":{}", i ? "," : "", i);
    repeat(&b, "}}", 1);
    expect_limit(HD_GRAMMAR_SCHEMA, &b, "100,000 properties");

    repeat(&b, "{\"enum\":[", 1);
    for (int i = 0; i < 200000; i++) hd_buf_addf(&b, "%s\"v%d\"", i ? "," : "", i * 7919);
    repeat(&b, "]}", 1);
    expect_limit(HD_GRAMMAR_SCHEMA, &b, "huge enum");

    repeat(&b, "{\"type\":\"integer\",\"minimum\":1", 1);
    repeat(&b, "0", 300);
    repeat(&b, "}", 1);
    expect_limit(HD_GRAMMAR_SCHEMA, &b, "long bound");

    repeat(&b, "{\"pattern\":\"^[a-z]{9}\",\"maxLength\":1000000}", 1);
    expect_limit(HD_GRAMMAR_SCHEMA, &b, "pattern and length");

    repeat(&b, "(a|b)*a(a|b){20}", 1);
    expect_limit(HD_GRAMMAR_REGEX, &b, "exponential regex");
    repeat(&b, "((((a{4000}){4000}){4000}){4000})", 1);
    expect_limit(HD_GRAMMAR_REGEX, &b, "nested repetitions");
    repeat(&b, "(((((((((()){4000}){4000}){4000}){4000}){4000}){4000}){4000}){4000})", 1);
    expect_limit(HD_GRAMMAR_REGEX, &b, "empty repetitions");
    repeat(&b, "(", 100000);
    expect_limit(HD_GRAMMAR_REGEX, &b, "deep groups");

    repeat(&b, "a ::= ", 1);
    repeat(&b, "(", 100000);
    expect_limit(HD_GRAMMAR_EBNF, &b, "deep ebnf");
    for (int i = 0; i < 2000; i++) hd_buf_addf(&b, "r%d ::= \"x\" ", i);
    expect_limit(HD_GRAMMAR_EBNF, &b, "many rules");
    repeat(&b, " ", (4 << 20) + 1);
    expect_limit(HD_GRAMMAR_OBJECT, &b, "long text");
    hd_buf_deinit(&b);
}

/* A limit names the place. */
static void limits_name_the_place(void **state)
{
    (void)state;
    static const char text[] =
        "{\"properties\": {\"a\": {\"items\": {\"pattern\": \"(x|y)*x(x|y){20}\"}}}}";
    hd_err err = {0};
    hd_grammar *g = NULL;
    assert_int_equal(compile(HD_GRAMMAR_SCHEMA, hd_str_from(text), 0, &g, &err), HD_E_LIMIT);
    assert_non_null(strstr(err.text, "properties.a.items"));
    assert_string_equal(err.path, "properties.a.items");
}

/* An ambiguity that cannot be followed ends the matcher's step, not the process. */
static void ambiguity_is_bounded(void **state)
{
    (void)state;
    hd_grammar *g = NULL;
    hd_matcher *m = NULL;
    hd_err err = {0};
    static const char text[] = "s ::= \"a\" s \"b\" | \"a\" s \"c\" | \"a\" s s | \"a\"";
    assert_int_equal(compile(HD_GRAMMAR_EBNF, hd_str_from(text), 1000, &g, &err), HD_OK);
    assert_int_equal(hd_matcher_create(g, &m, &err), HD_OK);
    hd_status status = HD_OK;
    for (int i = 0; i < 200 && status == HD_OK; i++) status = hd_matcher_advance(m, 'a', &err);
    assert_int_equal(status, HD_E_LIMIT);
    assert_non_null(strstr(err.text, "too ambiguous"));
    hd_matcher_destroy(m);
    hd_grammar_unref(g);
}

/* Each allocation fails once: an error, no leak, nothing half made. */
static void memory_runs_out(void **state)
{
    (void)state;
    static const char text[] = "{\"properties\": {\"a\": {\"items\": {\"pattern\": \"^a+\"}}}}";
    hd_status status = HD_E_NOMEM;
    long n;
    for (n = 0; n < 100000 && status == HD_E_NOMEM; n++) {
        hd_grammar *g = NULL;
        hd_matcher *m = NULL;
        hd_err err = {0};
        static uint32_t mask[64];
        hd_mem_fail_after(n);
        status = compile(HD_GRAMMAR_SCHEMA, hd_str_from(text), 10000, &g, &err);
        if (status == HD_E_LIMIT) status = HD_E_NOMEM; /* json in an arena that cannot grow */
        if (status == HD_OK) status = hd_matcher_create(g, &m, &err);
        if (status == HD_OK) status = hd_matcher_fill(m, mask, &err);
        if (status == HD_OK) status = hd_matcher_advance(m, '{', &err);
        hd_mem_fail_after(-1);
        if (status != HD_OK) assert_int_equal(status, HD_E_NOMEM);
        hd_matcher_destroy(m);
        hd_grammar_unref(g);
    }
    assert_int_equal(status, HD_OK);
    assert_in_range(n, 20, 99999);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(regex),
        cmocka_unit_test(ebnf),
        cmocka_unit_test(objects),
        cmocka_unit_test(reasoning_first),
        cmocka_unit_test(broken),
        cmocka_unit_test(hostile),
        cmocka_unit_test(limits_name_the_place),
        cmocka_unit_test(ambiguity_is_bounded),
        cmocka_unit_test(memory_runs_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
