/* The split against the official patterns: pieces written out by hand, and PCRE2 as a second
 * opinion over every character that its older Unicode tables class as ours do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/pretok.h"
#include "text/uniclass.h"

/* ---- classes ---- */

static void mark(uint8_t *table, const hd_json *ranges, uint8_t value)
{
    assert_non_null(ranges);
    for (const hd_json *r = ranges->child; r; r = r->next) {
        int64_t first, last;
        assert_int_equal(hd_json_i64(r->child, 0, 0x10FFFF, &first, NULL), HD_OK);
        assert_int_equal(hd_json_i64(r->child->next, first, 0x10FFFF, &last, NULL), HD_OK);
        for (int64_t cp = first; cp <= last; cp++) table[cp] |= value;
    }
}

static void every_code_point_has_its_published_class(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        uint8_t value;
    } classes[] = {{"L", HD_UNI_LETTER}, {"M", HD_UNI_MARK},   {"N", HD_UNI_NUMBER},
                   {"P", HD_UNI_PUNCT},  {"S", HD_UNI_SYMBOL}, {"space", HD_UNI_SPACE}};
    hd_buf text;
    hd_arena arena;
    const hd_json *root;
    uint8_t *table = hd_mem_calloc(0x110000, 1);
    hd_buf_init(&text, 1 << 20);
    hd_arena_init(&arena, 1 << 24);
    assert_int_equal(hd_fs_read_all(HD_TEST_DATA "/text/unicode_classes.json", &text, NULL), HD_OK);
    assert_int_equal(hd_json_parse(hd_buf_str(&text), NULL, &arena, &root, NULL), HD_OK);
    for (size_t i = 0; i < HD_COUNT(classes); i++)
        mark(table, hd_json_get(root, classes[i].name), classes[i].value);
    for (uint32_t cp = 0x3040; cp <= 0x30FF; cp++) table[cp] |= HD_UNI_CJK;
    for (uint32_t cp = 0x4E00; cp <= 0x9FA5; cp++) table[cp] |= HD_UNI_CJK;
    for (uint32_t cp = 0; cp < 0x110000; cp++)
        if (hd_uniclass(cp) != table[cp])
            fail_msg("U+%04X is in class %u, expected %u", cp, hd_uniclass(cp), table[cp]);
    hd_mem_free(table);
    hd_arena_deinit(&arena);
    hd_buf_deinit(&text);
}

/* ---- pieces written out ---- */

/* The pieces of `text` with '|' between them. */
static void split(hd_str text, hd_buf *out)
{
    hd_pretok it;
    hd_str piece;
    const char *at = text.ptr;
    hd_buf_reset(out);
    hd_pretok_init(&it, text);
    while (hd_pretok_next(&it, &piece)) {
        assert_true(piece.len > 0 && piece.ptr == at);
        if (out->len) hd_buf_addc(out, '|');
        hd_buf_add_str(out, piece);
        at = piece.ptr + piece.len;
    }
    assert_true(at == text.ptr + text.len);
}

static void check_split(hd_str text, hd_str expected)
{
    hd_buf out;
    hd_buf_init(&out, 4096);
    split(text, &out);
    if (!hd_str_eq(hd_buf_str(&out), expected))
        fail_msg("split into [%s], expected [%.*s]", out.ptr, HD_STR_ARG(expected));
    hd_buf_deinit(&out);
}

#define SPLIT(text, pieces) check_split(HD_STR(text), HD_STR(pieces))

static void numbers_go_by_threes(void **state)
{
    (void)state;
    SPLIT("1234567", "123|456|7");
    SPLIT("x1234y", "x|123|4|y");
    SPLIT("1,000,000.50", "1|,|000|,|000|.|50");
    SPLIT("½Ⅻ²⅓", "½Ⅻ²|⅓");
    SPLIT("  5", "  |5"); /* stage 3 does not see the digit: no space is given back */
    SPLIT(" \0015", " |\001|5");
}

static void cjk_runs_stand_alone(void **state)
{
    (void)state;
    SPLIT("你好，世界", "你好|，|世界");
    SPLIT("你好abc世界", "你好|abc|世界");
    SPLIT(" 世界", " |世界");
    SPLIT("日本語のテキスト", "日本語のテキスト");
    SPLIT("コ・コ", "コ|・|コ");           /* U+30FB is P */
    SPLIT("か゛か", "か|゛|か");           /* U+309B is S */
    SPLIT("が\u3099・!", "が\u3099|・|!"); /* U+3099 is M */
    SPLIT("漢\n\n字", "漢|\n\n|字");
    SPLIT("\u9fa5\u9fa6", "\u9fa5|\u9fa6"); /* the last of the range; a letter beyond it */
    SPLIT("\u3040漢", "\u3040漢");          /* unassigned, but in the range: B's first character */
    SPLIT("\u3040\u3097・", "\u3040\u3097|・");
}

static void words_take_one_character_before_them(void **state)
{
    (void)state;
    SPLIT("hello world", "hello| world");
    SPLIT("\tabc", "\tabc");
    SPLIT("a\u200db", "a|\u200db");
    SPLIT("x\u00a0y", "x|\u00a0y");
    SPLIT("\ufeffbom", "\ufeffbom");
    check_split(HD_STR("x\0y"), HD_STR("x|\0y"));
    check_split(HD_STR("\0\0\0y"), HD_STR("\0\0|\0y"));
    check_split(HD_STR("\0\0."), HD_STR("\0\0|."));
    SPLIT("\nabc", "\n|abc"); /* not CR or LF */
    SPLIT("a\u0301 b", "a\u0301| b");
    SPLIT(" \u0301x", " \u0301x");
    SPLIT("\u0301\u0301", "\u0301\u0301");
}

static void signs_run_together(void **state)
{
    (void)state;
    SPLIT("!!!???***", "!!!???***");
    SPLIT("!!!\n", "!!!\n");
    SPLIT("?!x", "?!|x");
    SPLIT(" ?!x", " ?!|x");
    SPLIT(".foo bar-baz", ".foo| bar|-baz"); /* A: ASCII punctuation and ASCII letters */
    SPLIT("$abc(def)", "$abc|(def|)");
    SPLIT("$\u00e9", "$|\u00e9"); /* A wants ASCII letters; B does not take S */
    SPLIT("$abc\u00e9", "$abc|\u00e9");
    SPLIT("\u2026abc", "\u2026|abc"); /* not ASCII punctuation */
    SPLIT("I don't", "I| don|'t");
    SPLIT("  ...\r\n\r\nx", " | ...\r\n\r\n|x");
    SPLIT("...\n \n", "...\n| \n");
    SPLIT("\t.", "\t|."); /* C takes a space only */
}

static void white_space_gives_back(void **state)
{
    (void)state;
    SPLIT("abc   ", "abc|   ");
    SPLIT("a   b", "a|  | b");
    SPLIT("a \n b", "a| \n| b");
    SPLIT("\n\n  x", "\n\n| | x");
    SPLIT("hello\n\nworld\n", "hello|\n\n|world|\n");
    SPLIT(" \r\n \t\r \t", " \r\n \t\r| \t");
    SPLIT("a\u3000\u3000.", "a|\u3000|\u3000|.");
    SPLIT("\xC2\x85\u2028b", "\xC2\x85|\u2028b"); /* ends of lines, but not of the pattern's */
    SPLIT(" ", " ");
    check_split((hd_str){"", 0}, (hd_str){"", 0});
}

/* ---- PCRE2 ---- */

#ifdef HD_HAVE_PCRE2
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* \s of the reference's engine, written out: PCRE2's has U+180E besides. */
#define SPACES                                                                                     \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"    \
    "\\x{205f}\\x{3000}"

static const char *const stages[3] = {
    "\\p{N}{1,3}",
    "[\\x{4e00}-\\x{9fa5}\\x{3040}-\\x{309f}\\x{30a0}-\\x{30ff}]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+"
    "|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\\r\\n]*"
    "|[" SPACES "]*[\\r\\n]+"
    "|[" SPACES "]+(?![^" SPACES "])"
    "|[" SPACES "]+",
};

typedef struct oracle {
    pcre2_code *stage[3];
    pcre2_match_data *match;
    uint32_t *cps; /* code points that both class alike, [n] */
    size_t n;
} oracle;

static pcre2_code *compile(const char *pattern)
{
    int code;
    PCRE2_SIZE at;
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED,
                                   PCRE2_UTF | PCRE2_UCP, &code, &at, NULL);
    if (!re) fail_msg("pattern refused at %zu", (size_t)at);
    pcre2_jit_compile(re, PCRE2_JIT_COMPLETE); /* without it, it is only slower */
    return re;
}

/* The class of cp as PCRE2 sees it. */
static unsigned pcre2_class(const oracle *o, const pcre2_code *re, uint32_t cp)
{
    char text[4];
    size_t n = hd_utf8_put(text, cp);
    int groups = pcre2_match(re, (PCRE2_SPTR)text, n, 0, PCRE2_NO_UTF_CHECK, o->match, NULL);
    return groups > 0 ? (unsigned)groups - 1 : HD_UNI_OTHER;
}

static int open_oracle(void **state)
{
    static oracle o;
    for (int i = 0; i < 3; i++) o.stage[i] = compile(stages[i]);
    /* Group k is class k: as many groups as the number of the one that matched. */
    pcre2_code *classes = compile("(\\p{L})|(\\p{M})|(\\p{N})|(\\p{P})|(\\p{S})|([" SPACES "])");
    o.match = pcre2_match_data_create(8, NULL);
    o.cps = hd_mem_calloc(0x110000, sizeof *o.cps);
    for (uint32_t cp = 0; cp < 0x110000; cp++) {
        if (cp >= 0xD800 && cp <= 0xDFFF) continue;
        if (pcre2_class(&o, classes, cp) == (hd_uniclass(cp) & HD_UNI_CLASS_MASK))
            o.cps[o.n++] = cp;
    }
    pcre2_code_free(classes);
    *state = &o;
    return 0;
}

static int close_oracle(void **state)
{
    oracle *o = *state;
    for (int i = 0; i < 3; i++) pcre2_code_free(o->stage[i]);
    pcre2_match_data_free(o->match);
    hd_mem_free(o->cps);
    return 0;
}

/* Split `text` by the patterns from `stage` on; pieces joined by '|'. */
static void split_by_patterns(const oracle *o, int stage, hd_str text, hd_buf *out)
{
    if (text.len == 0) return;
    if (stage == 3) {
        if (out->len) hd_buf_addc(out, '|');
        hd_buf_add_str(out, text);
        return;
    }
    size_t at = 0;
    while (at < text.len) {
        int found = pcre2_match(o->stage[stage], (PCRE2_SPTR)text.ptr, text.len, at,
                                PCRE2_NO_UTF_CHECK, o->match, NULL);
        if (found < 0) break;
        const PCRE2_SIZE *span = pcre2_get_ovector_pointer(o->match);
        size_t begin = span[0], end = span[1];
        split_by_patterns(o, stage + 1, (hd_str){text.ptr + at, begin - at}, out);
        split_by_patterns(o, stage + 1, (hd_str){text.ptr + begin, end - begin}, out);
        at = end;
    }
    split_by_patterns(o, stage + 1, hd_str_skip(text, at), out);
}

static void compare(const oracle *o, hd_str text, hd_buf *ours, hd_buf *theirs)
{
    split(text, ours);
    hd_buf_reset(theirs);
    split_by_patterns(o, 0, text, theirs);
    if (!hd_str_eq(hd_buf_str(ours), hd_buf_str(theirs)))
        fail_msg("split into [%s], PCRE2: [%s]", ours->ptr, theirs->ptr);
}

/* Nearly all characters can take part: the tables differ in what Unicode 15 and 16 added. */
static void most_characters_are_classed_alike(void **state)
{
    const oracle *o = *state;
    size_t n_differ = 0x110000 - 0x800 - o->n;
    print_message("classes differ from PCRE2's in %zu code points\n", n_differ);
    assert_true(n_differ < 20000);
    for (uint32_t cp = 0; cp < 0x800; cp++) assert_int_equal(o->cps[cp], cp);
}

/* One character of each kind that the patterns tell apart. */
static void all_short_texts_split_alike(void **state)
{
    const oracle *o = *state;
    static const char *const kinds[] = {"a",  "\u00e9", "\u0301", "5",  ".",      "\u2026", " ",
                                        "\n", "\t",     "\x01",   "漢", "\u30fb", "\u3099"};
    enum { LENGTH = 5 };
    hd_buf ours, theirs;
    size_t n_texts = 1;
    hd_buf_init(&ours, 4096);
    hd_buf_init(&theirs, 4096);
    for (int i = 0; i < LENGTH; i++) n_texts *= HD_COUNT(kinds);
    for (size_t k = 0; k < n_texts; k++) {
        char text[4 * LENGTH + 1];
        size_t n = 0, rest = k;
        for (int i = 0; i < LENGTH; i++, rest /= HD_COUNT(kinds))
            n += (size_t)snprintf(text + n, sizeof text - n, "%s", kinds[rest % HD_COUNT(kinds)]);
        compare(o, (hd_str){text, n}, &ours, &theirs);
    }
    print_message("%zu texts of %d characters\n", n_texts, LENGTH);
    hd_buf_deinit(&theirs);
    hd_buf_deinit(&ours);
}

static void random_texts_split_alike(void **state)
{
    const oracle *o = *state;
    static const char frequent[] = "aZ \t\r\n.-$05";
    enum { TEXTS = 100000, LENGTH = 24 };
    uint64_t seed = 42;
    hd_buf ours, theirs;
    hd_buf_init(&ours, 4096);
    hd_buf_init(&theirs, 4096);
    for (int k = 0; k < TEXTS; k++) {
        char text[4 * LENGTH];
        size_t n = 0;
        for (int i = 0; i < LENGTH; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            uint32_t r = (uint32_t)(seed >> 33);
            uint32_t cp = r % 3 == 0   ? o->cps[r / 3 % o->n]
                          : r % 3 == 1 ? o->cps[r / 3 % 0x3400] /* where the scripts are */
                                       : (uint32_t)frequent[r / 3 % (sizeof frequent - 1)];
            n += hd_utf8_put(text + n, cp);
        }
        compare(o, (hd_str){text, n}, &ours, &theirs);
    }
    print_message("%d random texts of %d characters\n", TEXTS, LENGTH);
    hd_buf_deinit(&theirs);
    hd_buf_deinit(&ours);
}

static int compare_with_pcre2(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(most_characters_are_classed_alike),
        cmocka_unit_test(all_short_texts_split_alike),
        cmocka_unit_test(random_texts_split_alike),
    };
    return cmocka_run_group_tests_name("against PCRE2", tests, open_oracle, close_oracle);
}
#else
static int compare_with_pcre2(void)
{
    print_message("built without PCRE2: no comparison with it\n");
    return 0;
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_code_point_has_its_published_class),
        cmocka_unit_test(numbers_go_by_threes),
        cmocka_unit_test(cjk_runs_stand_alone),
        cmocka_unit_test(words_take_one_character_before_them),
        cmocka_unit_test(signs_run_together),
        cmocka_unit_test(white_space_gives_back),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed + compare_with_pcre2();
}
