/* The rules that every grammar begins with: JSON in general, raw text, free text. */
#include "text/constrain_build.h"

#define MAX_BLANKS 32 /* of indentation behind a line feed */

static uint16_t act(hd_cc *cc, hd_act_kind kind)
{
    return hd_cc_act(cc, kind, 0);
}

static void hex(hd_cc *cc, uint32_t from, uint32_t to)
{
    hd_cc_bytes(cc, from, to, '0', '9', 0);
    hd_cc_bytes(cc, from, to, 'a', 'f', 0);
    hd_cc_bytes(cc, from, to, 'A', 'F', 0);
}

static uint32_t hexes(hd_cc *cc, uint32_t from, unsigned n)
{
    for (; n; n--) {
        uint32_t to = hd_cc_node(cc);
        hex(cc, from, to);
        from = to;
    }
    return from;
}

/* The four digits of a \u that is no surrogate, or of a high one and the low one that must follow.
 */
static void unicode_escape(hd_cc *cc, uint32_t from, uint32_t to)
{
    uint32_t first = hd_cc_node(cc), d = hd_cc_node(cc), low = hd_cc_node(cc),
             high = hd_cc_node(cc);
    hd_cc_bytes(cc, from, first, '0', '9', 0);
    hd_cc_bytes(cc, from, first, 'a', 'c', 0);
    hd_cc_bytes(cc, from, first, 'A', 'C', 0);
    hd_cc_bytes(cc, from, first, 'e', 'f', 0);
    hd_cc_bytes(cc, from, first, 'E', 'F', 0);
    hd_cc_empty(cc, hexes(cc, first, 3), to);
    hd_cc_bytes(cc, from, d, 'd', 'd', 0);
    hd_cc_bytes(cc, from, d, 'D', 'D', 0);
    hd_cc_bytes(cc, d, low, '0', '7', 0);
    hd_cc_empty(cc, hexes(cc, low, 2), to);
    hd_cc_bytes(cc, d, high, '8', '9', 0);
    hd_cc_bytes(cc, d, high, 'a', 'b', 0);
    hd_cc_bytes(cc, d, high, 'A', 'B', 0);
    uint32_t second = hd_cc_textz(cc, hexes(cc, high, 2), "\\u"), tail = hd_cc_node(cc);
    uint32_t d2 = hd_cc_node(cc);
    hd_cc_bytes(cc, second, d2, 'd', 'd', 0);
    hd_cc_bytes(cc, second, d2, 'D', 'D', 0);
    hd_cc_bytes(cc, d2, tail, 'c', 'f', 0);
    hd_cc_bytes(cc, d2, tail, 'C', 'F', 0);
    hd_cc_empty(cc, hexes(cc, tail, 2), to);
}

/* Characters that stand for themselves in a JSON string, from `body` to `body`. */
static void plain_chars(hd_cc *cc, uint32_t body, uint16_t count)
{
    hd_cc_points(cc, body, body, 0x20, 0x21, count);
    hd_cc_points(cc, body, body, 0x23, 0x5B, count);
    hd_cc_points(cc, body, body, 0x5D, 0x10FFFF, count);
}

static void short_escapes(hd_cc *cc, uint32_t from, uint32_t to, const char *which)
{
    for (; *which; which++) hd_cc_bytes(cc, from, to, (uint8_t)*which, (uint8_t)*which, 0);
}

static void define_string(hd_cc *cc)
{
    uint16_t count = act(cc, HD_ACT_COUNT);
    uint32_t start = hd_cc_node(cc), body = hd_cc_byte(cc, start, '"', 0), end = hd_cc_node(cc);
    uint32_t escape = hd_cc_byte(cc, body, '\\', count);
    plain_chars(cc, body, count);
    short_escapes(cc, escape, body, "\"\\/bfnrt");
    unicode_escape(cc, hd_cc_byte(cc, escape, 'u', 0), body);
    hd_cc_bytes(cc, body, end, '"', '"', act(cc, HD_ACT_ENOUGH));
    hd_cc_define(cc, cc->rules.string = hd_cc_declare(cc), start, end);
}

/* A name of the model's choice has no other spelling than json.dumps would give it (but \u00xx),
 * so that it cannot be a declared name in disguise. */
static void define_key(hd_cc *cc)
{
    uint32_t body = hd_cc_node(cc), end = hd_cc_node(cc);
    plain_chars(cc, body, 0);
    short_escapes(cc, hd_cc_byte(cc, body, '\\', 0), body, "\"\\bfnrt");
    hd_cc_bytes(cc, body, end, '"', '"', 0);
    hd_cc_define(cc, cc->rules.key = hd_cc_declare(cc), body, end);
    cc->rules.key_body = cc->status == HD_OK ? cc->a.rule[cc->rules.key] : 0;
}

/* Behind 'name="' in a tag: all but quotes, angle brackets and control characters. */
static void define_name(hd_cc *cc)
{
    uint32_t body = hd_cc_node(cc), end = hd_cc_node(cc);
    hd_cc_points(cc, body, body, 0x20, '"' - 1, 0);
    hd_cc_points(cc, body, body, '"' + 1, '<' - 1, 0);
    hd_cc_points(cc, body, body, '=', '=', 0);
    hd_cc_points(cc, body, body, '>' + 1, 0x10FFFF, 0);
    hd_cc_bytes(cc, body, end, '"', '"', 0);
    hd_cc_define(cc, cc->rules.name = hd_cc_declare(cc), body, end);
    cc->rules.name_body = cc->status == HD_OK ? cc->a.rule[cc->rules.name] : 0;
}

static void define_space(hd_cc *cc)
{
    uint16_t count = act(cc, HD_ACT_COUNT);
    uint32_t start = hd_cc_node(cc), end = hd_cc_node(cc), line = hd_cc_byte(cc, start, '\n', 0);
    hd_cc_bytes(cc, start, end, ' ', ' ', 0);
    hd_cc_bytes(cc, line, line, ' ', ' ', count);
    hd_cc_bytes(cc, line, line, '\t', '\t', count);
    hd_cc_empty(cc, line, end);
    cc->rules.space_spec = hd_cc_spec(cc, &(hd_spec){.hi = MAX_BLANKS});
    hd_cc_define(cc, cc->rules.space = hd_cc_declare(cc), start, end);
}

static uint32_t digits(hd_cc *cc, uint32_t from)
{
    uint32_t to = hd_cc_node(cc);
    hd_cc_bytes(cc, from, to, '0', '9', 0);
    hd_cc_bytes(cc, to, to, '0', '9', 0);
    return to;
}

static void define_numbers(hd_cc *cc)
{
    for (int is_integer = 0; is_integer < 2; is_integer++) {
        uint32_t start = hd_cc_node(cc), sign = hd_cc_byte(cc, start, '-', 0);
        uint32_t whole = hd_cc_node(cc), end = hd_cc_node(cc), more = hd_cc_node(cc);
        hd_cc_empty(cc, start, sign);
        hd_cc_bytes(cc, is_integer ? start : sign, whole, '0', '0', 0);
        hd_cc_bytes(cc, sign, more, '1', '9', 0);
        hd_cc_bytes(cc, more, more, '0', '9', 0);
        hd_cc_empty(cc, more, whole);
        hd_cc_empty(cc, whole, end);
        if (!is_integer) {
            uint32_t fraction = digits(cc, hd_cc_byte(cc, whole, '.', 0)), e = hd_cc_node(cc);
            hd_cc_empty(cc, fraction, end);
            for (int k = 0; k < 2; k++) {
                hd_cc_bytes(cc, k ? whole : fraction, e, 'e', 'e', 0);
                hd_cc_bytes(cc, k ? whole : fraction, e, 'E', 'E', 0);
            }
            uint32_t power = hd_cc_node(cc);
            hd_cc_empty(cc, e, power);
            hd_cc_bytes(cc, e, power, '+', '+', 0);
            hd_cc_bytes(cc, e, power, '-', '-', 0);
            hd_cc_empty(cc, digits(cc, power), end);
        }
        uint32_t rule = hd_cc_declare(cc);
        if (is_integer)
            cc->rules.integer = rule;
        else
            cc->rules.number = rule;
        hd_cc_define(cc, rule, start, end);
    }
}

/* Any array or object: brackets around items with commas between. */
static void define_container(hd_cc *cc, bool is_object)
{
    uint32_t start = hd_cc_node(cc), end = hd_cc_node(cc), item = hd_cc_node(cc);
    uint32_t open = hd_cc_space(cc, hd_cc_byte(cc, start, is_object ? '{' : '[', 0));
    uint8_t close = is_object ? '}' : ']';
    hd_cc_empty(cc, open, item);
    uint32_t at = item;
    if (is_object) {
        at = hd_cc_call(cc, hd_cc_byte(cc, at, '"', 0), (hd_use){cc->rules.key, 0});
        at = hd_cc_space(cc, hd_cc_byte(cc, at, ':', 0));
    }
    at = hd_cc_space(cc, hd_cc_call(cc, at, (hd_use){cc->rules.value, 0}));
    hd_cc_empty(cc, hd_cc_space(cc, hd_cc_byte(cc, at, ',', 0)), item);
    hd_cc_bytes(cc, open, end, close, close, 0);
    hd_cc_bytes(cc, at, end, close, close, 0);
    hd_cc_define(cc, is_object ? cc->rules.object : cc->rules.array, start, end);
}

static void define_value(hd_cc *cc, uint32_t rule, bool has_strings)
{
    static const char *const words[] = {"true", "false", "null"};
    uint32_t start = hd_cc_node(cc), end = hd_cc_node(cc);
    for (int i = 0; i < 3; i++) hd_cc_empty(cc, hd_cc_textz(cc, start, words[i]), end);
    hd_cc_call_to(cc, start, end, (hd_use){cc->rules.number, 0});
    hd_cc_call_to(cc, start, end, (hd_use){cc->rules.object, 0});
    hd_cc_call_to(cc, start, end, (hd_use){cc->rules.array, 0});
    if (has_strings) hd_cc_call_to(cc, start, end, (hd_use){cc->rules.string, 0});
    hd_cc_define(cc, rule, start, end);
}

/* Text that holds no spelled-out DSML token: KMP over its ten bytes beside UTF-8. The token's first
 * character begins no other way than the token does, so a miss falls back to the character's own
 * states: `bar[i]` is "the text ends with i bytes of the token". */
static void define_raw(hd_cc *cc)
{
    static const char token[] = HD_TOKEN_DSML;
    uint16_t count = act(cc, HD_ACT_COUNT), open = act(cc, HD_ACT_OPEN);
    uint32_t text = hd_cc_node(cc), end = hd_cc_node(cc), lt = hd_cc_node(cc);
    uint32_t slash = hd_cc_byte(cc, lt, '/', act(cc, HD_ACT_SLASH));
    uint32_t bar[8];
    hd_cc_token_to(cc, slash, end, cc->ids.dsml, act(cc, HD_ACT_ENOUGH_2));
    for (unsigned i = 3; i < 8; i++) bar[i] = hd_cc_node(cc);
    uint32_t states[] = {text, lt, slash, bar[3], bar[4], bar[5], bar[6], bar[7]};
    for (unsigned i = 0; i < 8 && cc->status == HD_OK; i++) {
        uint32_t s = states[i];
        unsigned progress = i < 3 ? 0 : i; /* bytes of the token, 3..7 */
        unsigned want = progress ? (uint8_t)token[progress] : 0;
        for (unsigned c = 0; c < 0x80; c++) {
            if (c == '<')
                hd_cc_bytes(cc, s, lt, '<', '<', open);
            else if (c == '/' && s == lt)
                continue;
            else if (progress && progress < 7 && c == want)
                hd_cc_bytes(cc, s, bar[progress + 1], (uint8_t)c, (uint8_t)c, count);
            else
                hd_cc_bytes(cc, s, text, (uint8_t)c, (uint8_t)c, count);
        }
        hd_cc_points(cc, s, text, 0x80, 0xFF5B, count);
        if (progress < 7) hd_cc_points(cc, s, bar[3], 0xFF5C, 0xFF5C, count);
        hd_cc_points(cc, s, text, 0xFF5D, 0x10FFFF, count);
    }
    hd_cc_define(cc, cc->rules.raw = hd_cc_declare(cc), text, end);
}

/* Any bytes, then a token; -1: then nothing, wherever that is. */
static uint32_t define_until(hd_cc *cc, int32_t id)
{
    uint32_t text = hd_cc_node(cc), end = hd_cc_node(cc), rule = hd_cc_declare(cc);
    hd_cc_bytes(cc, text, text, 0, 255, 0);
    if (id >= 0)
        hd_cc_token_to(cc, text, end, id, 0);
    else
        hd_cc_empty(cc, text, end);
    hd_cc_define(cc, rule, text, end);
    return rule;
}

/* The token that opens a block comes behind a '<' only. */
static void define_until_dsml(hd_cc *cc)
{
    uint32_t text = hd_cc_node(cc), end = hd_cc_node(cc), lt = hd_cc_byte(cc, text, '<', 0);
    hd_cc_bytes(cc, text, text, 0, 255, 0);
    hd_cc_token_to(cc, lt, end, cc->ids.dsml, 0);
    hd_cc_define(cc, cc->rules.until_dsml = hd_cc_declare(cc), text, end);
}

void hd_cc_common(hd_cc *cc)
{
    hd_cc_rules *r = &cc->rules;
    define_string(cc);
    define_key(cc);
    define_name(cc);
    define_space(cc);
    define_numbers(cc);
    r->value = hd_cc_declare(cc);
    r->nonstring = hd_cc_declare(cc);
    r->object = hd_cc_declare(cc);
    r->array = hd_cc_declare(cc);
    define_value(cc, r->value, true);
    define_value(cc, r->nonstring, false);
    define_container(cc, true);
    define_container(cc, false);
    define_raw(cc);
    define_until_dsml(cc);
    r->until_eos = define_until(cc, cc->ids.eos);
    /* Without the token nobody can end a reasoning; the rule is dead then. */
    uint32_t text = hd_cc_node(cc), end = hd_cc_node(cc);
    hd_cc_bytes(cc, text, text, 0, 255, 0);
    hd_cc_token_to(cc, text, end, cc->ids.end_think, 0);
    hd_cc_define(cc, r->until_think = hd_cc_declare(cc), text, end);
    r->n_states = cc->a.n_states;
    r->n_rules = cc->a.n_rules;
}
