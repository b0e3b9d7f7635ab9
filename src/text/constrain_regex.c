/* Regular expressions, in the dialect of ECMA 262 as JSON Schema uses it.
 *
 * Known: characters, '.', classes, \d \w \s and their opposites, \n \r \t \f \v \0 \xHH \uHHHH
 * \u{H}, groups, alternatives, * + ? {n} {n,} {n,m} (lazy or not: the language is the same), and ^
 * $ at the ends of the whole pattern's alternatives. All else (look-around, back references, \b,
 * \p, flags) is refused by name. Parsed straight into a drawing: a repeated item is drawn again
 * from its text, so that no tree is kept. */
#include <stdlib.h>

#include "base/utf8.h"
#include "text/constrain_build.h"

#define MAX_RANGES 256 /* of one class */
#define MAX_NEST   50
#define MAX_REPEAT 4096

typedef struct range {
    uint32_t lo, hi;
} range;

typedef struct class
{
    range r[MAX_RANGES];
    unsigned n;
} class;

typedef struct regex {
    hd_cc *cc;
    hd_str text;
    size_t at;
    hd_cc_coding coding;
    unsigned depth;
} regex;

#define FAIL(x, ...)    hd_cc_fail((x)->cc, HD_E_UNSUPPORTED, "pattern has " __VA_ARGS__)
#define BROKEN(x, what) hd_cc_fail((x)->cc, HD_E_FORMAT, "bad pattern at byte %zu: " what, (x)->at)

static int peek(const regex *x)
{
    return x->at < x->text.len ? (unsigned char)x->text.ptr[x->at] : -1;
}

static bool accept(regex *x, const char *word)
{
    if (!hd_str_starts(hd_str_skip(x->text, x->at), hd_str_from(word))) return false;
    x->at += strlen(word);
    return true;
}

/* ---- classes ---- */

static void add_range(regex *x, class *c, uint32_t lo, uint32_t hi)
{
    if (c->n == MAX_RANGES)
        hd_cc_fail(x->cc, HD_E_LIMIT, "pattern has a class of more than %d ranges", MAX_RANGES);
    else
        c->r[c->n++] = (range){lo, hi};
}

static int by_lo(const void *a, const void *b)
{
    const range *x = a, *y = b;
    return (x->lo > y->lo) - (x->lo < y->lo);
}

static void negate(regex *x, class *c)
{
    class out = {.n = 0};
    uint32_t at = 0;
    qsort(c->r, c->n, sizeof c->r[0], by_lo);
    for (unsigned i = 0; i < c->n; i++) {
        if (c->r[i].lo > at) add_range(x, &out, at, c->r[i].lo - 1);
        if (c->r[i].hi >= at) at = c->r[i].hi + 1;
    }
    if (at <= 0x10FFFF) add_range(x, &out, at, 0x10FFFF);
    *c = out;
}

/* \d, \w, \s and opposites into `out`; false if `c` is none of them. */
static bool add_shorthand(regex *x, class *out, int c)
{
    static const range space[] = {
        {9, 13},          {' ', ' '},       {0xA0, 0xA0},     {0x1680, 0x1680}, {0x2000, 0x200A},
        {0x2028, 0x2029}, {0x202F, 0x202F}, {0x205F, 0x205F}, {0x3000, 0x3000}, {0xFEFF, 0xFEFF}};
    class set = {.n = 0};
    int lower = c | 0x20;
    if (lower == 'd' || lower == 'w') add_range(x, &set, '0', '9');
    if (lower == 'w') {
        add_range(x, &set, 'A', 'Z');
        add_range(x, &set, '_', '_');
        add_range(x, &set, 'a', 'z');
    }
    if (lower == 's')
        for (size_t i = 0; i < HD_COUNT(space); i++) add_range(x, &set, space[i].lo, space[i].hi);
    if (set.n == 0) return false;
    if (c != lower) negate(x, &set);
    for (unsigned i = 0; i < set.n; i++) add_range(x, out, set.r[i].lo, set.r[i].hi);
    return true;
}

static uint32_t read_hex(regex *x, unsigned n)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < n; i++) {
        int c = peek(x), d = c >= '0' && c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
        if (c < 0 || d < 0 || d > 15) {
            BROKEN(x, "expected a hex digit");
            return 0;
        }
        value = value << 4 | (uint32_t)d;
        x->at++;
    }
    return value;
}

static uint32_t read_unicode(regex *x)
{
    uint32_t cp = 0;
    if (accept(x, "{")) {
        do cp = cp << 4 | read_hex(x, 1);
        while (cp <= 0x10FFFF && peek(x) != '}' && x->cc->status == HD_OK);
        if (!accept(x, "}")) BROKEN(x, "expected '}'");
    } else {
        cp = read_hex(x, 4);
        size_t back = x->at;
        if (cp >= 0xD800 && cp < 0xDC00 && accept(x, "\\u")) {
            uint32_t low = read_hex(x, 4);
            if (low >= 0xDC00 && low < 0xE000)
                return 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
            x->at = back;
        }
    }
    if (cp > 0x10FFFF || (cp >= 0xD800 && cp < 0xE000)) BROKEN(x, "no such code point");
    return cp;
}

/* One character, behind a backslash or not; -1 after a failure. */
static int32_t read_char(regex *x, bool in_class)
{
    static const char from[] = "nrtfv", to[] = "\n\r\t\f\v";
    if (!accept(x, "\\")) {
        uint32_t cp;
        size_t n;
        hd_str rest = hd_str_skip(x->text, x->at);
        if (rest.len == 0 || hd_utf8_next(rest, &cp, &n) != HD_UTF8_GOOD) {
            BROKEN(x, "expected a character");
            return -1;
        }
        x->at += n;
        return (int32_t)cp;
    }
    int c = peek(x);
    if (c >= 0) x->at++;
    const char *p = c > 0 ? strchr(from, c) : NULL;
    if (p) return to[p - from];
    if (c == 'x') return (int32_t)read_hex(x, 2);
    if (c == 'u') return (int32_t)read_unicode(x);
    if (c == '0') return 0;
    if (c == 'b' && in_class) return '\b';
    if (c > 0 && c < 0x80 && !((c | 0x20) >= 'a' && (c | 0x20) <= 'z') && !(c >= '0' && c <= '9'))
        return c; /* an escaped mark */
    if (c < 0)
        BROKEN(x, "nothing behind the last '\\'");
    else
        FAIL(x, "'\\%c', which is not supported", c < 0x80 ? c : '?');
    return -1;
}

static bool accept_shorthand(regex *x, class *out)
{
    if (peek(x) != '\\' || x->at + 1 >= x->text.len) return false;
    if (!add_shorthand(x, out, (unsigned char)x->text.ptr[x->at + 1])) return false;
    x->at += 2;
    return true;
}

static void read_class(regex *x, class *out)
{
    bool negated = accept(x, "^");
    while (x->cc->status == HD_OK && !accept(x, "]")) {
        if (accept_shorthand(x, out)) continue;
        int32_t lo = read_char(x, true), hi = lo;
        if (peek(x) == '-' && x->at + 1 < x->text.len && x->text.ptr[x->at + 1] != ']') {
            class unused = {.n = 0};
            x->at++;
            if (accept_shorthand(x, &unused))
                BROKEN(x, "a class cannot end a range");
            else
                hi = read_char(x, true);
        }
        if (lo < 0 || hi < 0) return;
        if (lo > hi) BROKEN(x, "a range that runs backwards");
        add_range(x, out, (uint32_t)lo, (uint32_t)hi);
    }
    if (negated) negate(x, out);
}

static uint32_t draw_class(regex *x, uint32_t from, const class *c)
{
    uint32_t to = hd_cc_node(x->cc);
    for (unsigned i = 0; i < c->n; i++)
        if (x->coding == HD_CODING_JSON)
            hd_cc_json_points(x->cc, from, to, c->r[i].lo, c->r[i].hi);
        else
            hd_cc_points(x->cc, from, to, c->r[i].lo, c->r[i].hi, 0);
    return to;
}

/* ---- items ---- */

static uint32_t alternatives(regex *x, uint32_t from);

static uint32_t group(regex *x, uint32_t from)
{
    if (accept(x, "?") && !accept(x, ":")) {
        bool named = accept(x, "<") && peek(x) != '=' && peek(x) != '!';
        if (!named) {
            FAIL(x, "a '(?' group of a kind that is not supported");
            return from;
        }
        while (peek(x) >= 0 && peek(x) != '>') x->at++;
        accept(x, ">");
    }
    if (++x->depth > MAX_NEST) {
        hd_cc_fail(x->cc, HD_E_LIMIT, "pattern has more than %d groups in each other", MAX_NEST);
        return from;
    }
    uint32_t to = alternatives(x, from);
    x->depth--;
    if (!accept(x, ")")) BROKEN(x, "expected ')'");
    return to;
}

static uint32_t atom(regex *x, uint32_t from)
{
    class c = {.n = 0};
    if (accept(x, "(")) return group(x, from);
    if (accept(x, "[")) {
        read_class(x, &c);
    } else if (accept(x, ".")) {
        static const range lines[] = {{'\n', '\n'}, {'\r', '\r'}, {0x2028, 0x2029}};
        for (size_t i = 0; i < HD_COUNT(lines); i++) add_range(x, &c, lines[i].lo, lines[i].hi);
        negate(x, &c);
    } else if (peek(x) >= 0 && strchr("*+?{", peek(x))) {
        BROKEN(x, "nothing to repeat");
    } else if (peek(x) == '^' || peek(x) == '$') {
        FAIL(x, "'%c' inside, which is not supported", peek(x));
    } else if (!accept_shorthand(x, &c)) {
        int32_t cp = read_char(x, false);
        if (cp >= 0) add_range(x, &c, (uint32_t)cp, (uint32_t)cp);
    }
    return draw_class(x, from, &c);
}

static uint32_t read_count(regex *x)
{
    uint32_t n = 0;
    if (peek(x) < '0' || peek(x) > '9') BROKEN(x, "expected a number in '{}'");
    for (; peek(x) >= '0' && peek(x) <= '9'; x->at++)
        if (n <= MAX_REPEAT) n = 10 * n + (uint32_t)(peek(x) - '0');
    if (n > MAX_REPEAT)
        hd_cc_fail(x->cc, HD_E_LIMIT, "pattern repeats more than %d times", MAX_REPEAT);
    return n;
}

/* The quantifier behind an item; lo = hi = 1 if there is none. hi UINT32_MAX: no most. */
static void quantifier(regex *x, uint32_t *lo, uint32_t *hi)
{
    *lo = *hi = 1;
    if (accept(x, "*") || accept(x, "+")) {
        *lo = x->text.ptr[x->at - 1] == '+';
        *hi = UINT32_MAX;
    } else if (accept(x, "?")) {
        *lo = 0;
    } else if (accept(x, "{")) {
        *lo = *hi = read_count(x);
        if (accept(x, ",")) *hi = peek(x) == '}' ? UINT32_MAX : read_count(x);
        if (!accept(x, "}")) BROKEN(x, "expected '}'");
        if (*lo > *hi) BROKEN(x, "a count that runs backwards");
    } else {
        return;
    }
    accept(x, "?"); /* lazy: the same language */
}

static uint32_t repeated(regex *x, uint32_t from)
{
    uint32_t lo, hi, first = hd_cc_node(x->cc);
    size_t begin = x->at;
    uint32_t at = atom(x, first);
    size_t behind = x->at;
    quantifier(x, &lo, &hi);
    size_t end = x->at;
    if (x->cc->status != HD_OK) return from;
    uint32_t to = hd_cc_node(x->cc);
    if (lo == 0) hd_cc_empty(x->cc, from, to);
    if (hi == 0) return to; /* what was drawn hangs loose */
    hd_cc_empty(x->cc, from, first);
    uint32_t last = first, most = hi == UINT32_MAX ? (lo ? lo : 1) : hi;
    for (uint32_t i = 1; i < most && hd_cc_ok(x->cc); i++) {
        if (i >= lo) hd_cc_empty(x->cc, at, to);
        x->at = begin;
        last = at;
        at = atom(x, at);
        if (x->at != behind) BROKEN(x, "expected the same item again");
    }
    hd_cc_empty(x->cc, at, to);
    if (hi == UINT32_MAX) {
        /* A node of its own for the way back: the item may begin where another's end is. */
        uint32_t again = hd_cc_node(x->cc);
        hd_cc_empty(x->cc, at, again);
        hd_cc_empty(x->cc, again, last);
    }
    x->at = end;
    return to;
}

static uint32_t sequence(regex *x, uint32_t from)
{
    while (x->cc->status == HD_OK && peek(x) >= 0 && peek(x) != '|' && peek(x) != ')') {
        if (peek(x) == '$' && x->depth == 0 &&
            (x->at + 1 == x->text.len || x->text.ptr[x->at + 1] == '|'))
            break;
        from = repeated(x, from);
    }
    return from;
}

static uint32_t alternatives(regex *x, uint32_t from)
{
    uint32_t to = hd_cc_node(x->cc);
    do {
        uint32_t start = hd_cc_node(x->cc);
        hd_cc_empty(x->cc, from, start);
        hd_cc_empty(x->cc, sequence(x, start), to);
    } while (x->cc->status == HD_OK && accept(x, "|"));
    return to;
}

/* ---- the whole ---- */

/* Any text, as a loop at a node of its own. */
static uint32_t anything(regex *x, uint32_t from)
{
    class all = {{{0, 0x10FFFF}}, 1};
    uint32_t at = hd_cc_node(x->cc);
    hd_cc_empty(x->cc, from, at);
    hd_cc_empty(x->cc, draw_class(x, at, &all), at);
    return at;
}

uint32_t hd_cc_regex(hd_cc *cc, uint32_t from, hd_str pattern, hd_cc_coding coding, bool is_whole)
{
    regex x = {.cc = cc, .text = pattern, .coding = coding};
    uint32_t to = hd_cc_node(cc);
    do {
        uint32_t at = hd_cc_node(cc);
        hd_cc_empty(cc, from, at);
        if (!accept(&x, "^") && !is_whole) at = anything(&x, at);
        at = sequence(&x, at);
        if (!accept(&x, "$") && !is_whole) at = anything(&x, at);
        hd_cc_empty(cc, at, to);
    } while (cc->status == HD_OK && accept(&x, "|"));
    if (cc->status == HD_OK && x.at < pattern.len) BROKEN(&x, "unexpected character");
    return to;
}
