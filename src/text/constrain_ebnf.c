/* A small EBNF.
 *
 *   rule ::= item item | item        or `=` for `::=`; the rule `root` is the whole, else the first
 *   "text" 'text'                    with \n \r \t \\ \" \' \xHH \uHHHH
 *   [a-z0-9_] [^"] .                 classes as in regular expressions
 *   ( ... ) ? * + {n} {n,} {n,m}
 *   # to the end of the line
 *
 * A definition ends where the next `name ::=` begins, or at ';'. Literals and classes are handed to
 * the reader of regular expressions as they stand, so both know the same escapes. */
#include "base/utf8.h"
#include "text/constrain_build.h"

#define MAX_RULES  1000
#define MAX_NEST   50
#define MAX_REPEAT 1024

typedef struct ebnf_rule {
    hd_str name;
    size_t body; /* offset */
    uint32_t rule;
} ebnf_rule;

typedef struct ebnf {
    hd_cc *cc;
    hd_str text;
    size_t at;
    ebnf_rule *rule;
    size_t n_rules;
    unsigned depth;
} ebnf;

#define BROKEN(x, ...) hd_cc_fail((x)->cc, HD_E_FORMAT, "bad grammar at byte %zu: " __VA_ARGS__)

static int peek(const ebnf *x)
{
    return x->at < x->text.len ? (unsigned char)x->text.ptr[x->at] : -1;
}

static int skip_space(ebnf *x)
{
    for (int c; (c = peek(x)) == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '#';) {
        if (c == '#')
            while (peek(x) >= 0 && peek(x) != '\n') x->at++;
        else
            x->at++;
    }
    return peek(x);
}

static bool is_name(int c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-';
}

static hd_str read_name(ebnf *x)
{
    size_t begin = x->at;
    while (is_name(peek(x))) x->at++;
    return (hd_str){x->text.ptr + begin, x->at - begin};
}

/* Behind a name: whether this is a definition; then steps over the sign. */
static bool accept_defines(ebnf *x)
{
    size_t back = x->at;
    skip_space(x);
    hd_str rest = hd_str_skip(x->text, x->at);
    if (hd_str_starts(rest, HD_STR("::="))) {
        x->at += 3;
        return true;
    }
    if (hd_str_starts(rest, HD_STR("="))) {
        x->at++;
        return true;
    }
    x->at = back;
    return false;
}

/* Over a literal or class, whose first byte is `open`; false if it has no end. */
static bool skip_quoted(ebnf *x, int open)
{
    int close = open == '[' ? ']' : open;
    for (x->at++; peek(x) >= 0 && peek(x) != close; x->at++)
        if (peek(x) == '\\' && x->at + 1 < x->text.len) x->at++;
    if (peek(x) < 0) return false;
    x->at++;
    return true;
}

/* ---- the list of rules ---- */

static void find_rules(ebnf *x)
{
    for (int c; (c = skip_space(x)) >= 0 && x->cc->status == HD_OK;) {
        if (c == '"' || c == '\'' || c == '[') {
            if (!skip_quoted(x, c)) BROKEN(x, "'%c' without an end", x->at, c);
            continue;
        }
        if (!is_name(c)) {
            x->at++;
            continue;
        }
        hd_str name = read_name(x);
        if (!accept_defines(x)) continue;
        if (x->n_rules == MAX_RULES) {
            hd_cc_fail(x->cc, HD_E_LIMIT, "more than %d rules", MAX_RULES);
            return;
        }
        for (size_t i = 0; i < x->n_rules; i++)
            if (hd_str_eq(x->rule[i].name, name))
                BROKEN(x, "rule '%.*s' is defined twice", x->at, HD_STR_CUT(name));
        x->rule[x->n_rules++] = (ebnf_rule){name, x->at, hd_cc_declare(x->cc)};
    }
}

static const ebnf_rule *find_rule(const ebnf *x, hd_str name)
{
    for (size_t i = 0; i < x->n_rules; i++)
        if (hd_str_eq(x->rule[i].name, name)) return &x->rule[i];
    return NULL;
}

/* ---- bodies ---- */

static uint32_t alternatives(ebnf *x, uint32_t from);

/* A literal, as a pattern in which nothing but the backslash has a meaning. */
static uint32_t literal(ebnf *x, uint32_t from)
{
    size_t begin = x->at + 1;
    int quote = peek(x);
    if (!skip_quoted(x, quote)) {
        BROKEN(x, "'%c' without an end", x->at, quote);
        return from;
    }
    hd_buf pattern;
    hd_buf_init(&pattern, 2 * (x->at - begin) + 1);
    for (size_t i = begin; i + 1 < x->at; i++) {
        char c = x->text.ptr[i];
        if (c == '\\') {
            hd_buf_addc(&pattern, c);
            c = x->text.ptr[++i];
        } else if (strchr("^$.|?*+()[]{}/", c) && c) {
            hd_buf_addc(&pattern, '\\');
        }
        hd_buf_addc(&pattern, c);
    }
    if (pattern.status != HD_OK) hd_cc_fail(x->cc, HD_E_NOMEM, "out of memory for a grammar");
    uint32_t to = hd_cc_regex(x->cc, from, hd_buf_str(&pattern), HD_CODING_RAW, true);
    hd_buf_deinit(&pattern);
    return to;
}

static uint32_t item(ebnf *x, uint32_t from)
{
    int c = peek(x);
    size_t begin = x->at;
    if (c == '"' || c == '\'') return literal(x, from);
    if (c == '[' || c == '.') {
        x->at++;
        if (c == '[') {
            x->at = begin;
            if (!skip_quoted(x, c)) BROKEN(x, "'[' without an end", x->at);
        }
        hd_str pattern = {x->text.ptr + begin, x->at - begin};
        return hd_cc_regex(x->cc, from, pattern, HD_CODING_RAW, true);
    }
    if (c == '(') {
        x->at++;
        if (++x->depth > MAX_NEST) hd_cc_fail(x->cc, HD_E_LIMIT, "groups too deep in each other");
        uint32_t to = alternatives(x, from);
        x->depth--;
        if (skip_space(x) != ')') BROKEN(x, "expected ')'", x->at);
        x->at++;
        return to;
    }
    hd_str name = read_name(x);
    const ebnf_rule *r = name.len ? find_rule(x, name) : NULL;
    if (r) return hd_cc_call(x->cc, from, (hd_use){r->rule, 0});
    if (name.len)
        BROKEN(x, "rule '%.*s' is not defined", x->at, HD_STR_CUT(name));
    else
        BROKEN(x, "expected an item", x->at);
    return from;
}

static uint32_t read_count(ebnf *x)
{
    uint32_t n = 0;
    if (peek(x) < '0' || peek(x) > '9') BROKEN(x, "expected a number in '{}'", x->at);
    for (; peek(x) >= '0' && peek(x) <= '9'; x->at++)
        if (n <= MAX_REPEAT) n = 10 * n + (uint32_t)(peek(x) - '0');
    if (n > MAX_REPEAT) hd_cc_fail(x->cc, HD_E_LIMIT, "more than %d repetitions", MAX_REPEAT);
    return n;
}

static void quantifier(ebnf *x, uint32_t *lo, uint32_t *hi)
{
    int c = peek(x);
    *lo = *hi = 1;
    if (c != '*' && c != '+' && c != '?' && c != '{') return;
    x->at++;
    if (c == '{') {
        *lo = *hi = read_count(x);
        if (peek(x) == ',') {
            x->at++;
            *hi = peek(x) == '}' ? UINT32_MAX : read_count(x);
        }
        if (peek(x) != '}' || *lo > *hi) BROKEN(x, "bad repetition", x->at);
        x->at++;
    } else {
        *lo = c == '+';
        *hi = c == '?' ? 1 : UINT32_MAX;
    }
}

/* An item and its quantifier; repeated ones are drawn again from the text. */
static uint32_t repeated(ebnf *x, uint32_t from)
{
    hd_cc *cc = x->cc;
    uint32_t lo, hi, first = hd_cc_node(cc), to = hd_cc_node(cc);
    size_t begin = x->at;
    uint32_t at = item(x, first), last = first;
    quantifier(x, &lo, &hi);
    size_t end = x->at;
    if (lo == 0) hd_cc_empty(cc, from, to);
    if (hi == 0) return to;
    hd_cc_empty(cc, from, first);
    uint32_t most = hi == UINT32_MAX ? (lo ? lo : 1) : hi;
    for (uint32_t i = 1; i < most && hd_cc_ok(cc); i++) {
        if (i >= lo) hd_cc_empty(cc, at, to);
        x->at = begin;
        last = at;
        at = item(x, at);
    }
    hd_cc_empty(cc, at, to);
    if (hi == UINT32_MAX) {
        uint32_t again = hd_cc_node(cc);
        hd_cc_empty(cc, at, again);
        hd_cc_empty(cc, again, last);
    }
    x->at = end;
    return to;
}

/* Whether a definition begins here. */
static bool at_definition(ebnf *x)
{
    size_t back = x->at;
    bool is = is_name(peek(x)) && read_name(x).len && accept_defines(x);
    x->at = back;
    return is;
}

static uint32_t alternatives(ebnf *x, uint32_t from)
{
    uint32_t to = hd_cc_node(x->cc);
    for (;;) {
        uint32_t at = hd_cc_node(x->cc);
        hd_cc_empty(x->cc, from, at);
        int c;
        while ((c = skip_space(x)) >= 0 && c != '|' && c != ')' && c != ';' && hd_cc_ok(x->cc) &&
               !at_definition(x))
            at = repeated(x, at);
        hd_cc_empty(x->cc, at, to);
        if (c != '|' || x->cc->status != HD_OK) return to;
        x->at++;
    }
}

uint32_t hd_cc_ebnf(hd_cc *cc, hd_str text)
{
    ebnf x = {.cc = cc, .text = text};
    x.rule = hd_arena_try_alloc(cc->arena, MAX_RULES, sizeof *x.rule);
    if (!x.rule) {
        hd_cc_fail(cc, HD_E_NOMEM, "out of memory for a grammar");
        return 0;
    }
    find_rules(&x);
    if (x.n_rules == 0) BROKEN(&x, "no rule is defined", x.at);
    for (size_t i = 0; i < x.n_rules && hd_cc_ok(cc); i++) {
        uint32_t from = hd_cc_node(cc);
        x.at = x.rule[i].body;
        uint32_t to = alternatives(&x, from);
        int c = skip_space(&x);
        if (c >= 0 && c != ';' && !at_definition(&x)) BROKEN(&x, "unexpected character", x.at);
        hd_cc_define(cc, x.rule[i].rule, from, to);
    }
    const ebnf_rule *root = find_rule(&x, HD_STR("root"));
    return x.n_rules ? (root ? root : x.rule)->rule : 0;
}
