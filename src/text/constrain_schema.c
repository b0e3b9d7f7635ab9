/* JSON Schema to rules.
 *
 * Each schema that is a value of its own becomes one rule, made when it is first used and drawn
 * later from a list, so that recursion in a schema is recursion of rules and never of ours. What a
 * keyword means, and which are refused, is in docs/constrain.md. */
#include <stdio.h>

#include "base/jsonw.h"
#include "base/utf8.h"
#include "text/constrain_build.h"

#define MAX_IN_PLACE 64 /* schemas drawn inside each other, not as rules */

/* The last two: the text of a string with a pattern and a length, as JSON and raw. */
typedef enum job_kind { JOB_SCHEMA, JOB_OBJECT, JOB_ARRAY, JOB_TEXT_JSON, JOB_TEXT_RAW } job_kind;

struct hd_schema_job {
    const hd_json *node;
    job_kind kind;
    hd_use use;
    hd_schema_job *next;      /* in `jobs` */
    hd_schema_job *next_todo; /* in `todo` */
};

hd_cc_schema *hd_cc_schema_new(hd_cc *cc, const hd_json *root, bool strict, bool any_order)
{
    hd_cc_schema *s = hd_arena_try_alloc(cc->arena, 1, sizeof *s);
    if (!s) {
        hd_cc_fail(cc, HD_E_NOMEM, "out of memory for a grammar");
        return NULL;
    }
    *s = (hd_cc_schema){.cc = cc, .root = root, .strict = strict, .any_order = any_order};
    s->next = cc->schemas;
    return cc->schemas = s;
}

/* ---- keywords ---- */

static const char *const unsupported[] = {"not",
                                          "if",
                                          "then",
                                          "else",
                                          "dependentRequired",
                                          "dependentSchemas",
                                          "dependencies",
                                          "patternProperties",
                                          "propertyNames",
                                          "minProperties",
                                          "maxProperties",
                                          "contains",
                                          "minContains",
                                          "maxContains",
                                          "multipleOf",
                                          "unevaluatedItems",
                                          "unevaluatedProperties",
                                          "$dynamicRef",
                                          "$recursiveRef"};

/* What constrains beside anyOf, $ref and their kind. */
static const char *const constraining[] = {
    "type",        "properties", "required",         "additionalProperties",
    "items",       "minItems",   "maxItems",         "enum",
    "prefixItems", "const",      "minLength",        "maxLength",
    "pattern",     "minimum",    "maximum",          "anyOf",
    "oneOf",       "allOf",      "exclusiveMinimum", "exclusiveMaximum",
    "$ref"};

static bool is_in(const char *const *list, size_t n, hd_str key)
{
    for (size_t i = 0; i < n; i++)
        if (hd_str_eqz(key, list[i])) return true;
    return false;
}

/* Report a keyword. @return false: the node counts as any value. */
static bool refuse(hd_cc_schema *s, const hd_json *node, hd_str key, const char *why)
{
    const hd_json *place = s->cc->place;
    s->cc->place = node;
    key = hd_utf8_cut(key, 64);
    if (s->strict)
        hd_cc_fail(s->cc, HD_E_UNSUPPORTED, "'%.*s' %s", HD_STR_ARG(key), why);
    else
        hd_cc_warn(s->cc, "'%.*s' %s: any value is accepted", HD_STR_ARG(key), why);
    s->cc->place = place;
    return false;
}

static bool has_other_constraints(const hd_json *node, const char *but)
{
    for (const hd_json *c = node->child; c; c = c->next)
        if (is_in(constraining, HD_COUNT(constraining), c->key) && !hd_str_eqz(c->key, but))
            return true;
    return false;
}

bool hd_cc_schema_known(hd_cc_schema *s, const hd_json *node)
{
    static const char *const alone[] = {"$ref", "allOf", "anyOf", "oneOf"};
    for (const hd_json *c = node->child; c; c = c->next) {
        bool is_off = c->kind == HD_JSON_BOOL && !c->truth; /* uniqueItems: false */
        if (is_in(unsupported, HD_COUNT(unsupported), c->key) ||
            (hd_str_eqz(c->key, "uniqueItems") && !is_off))
            return refuse(s, node, c->key, "is not supported");
    }
    for (size_t i = 0; i < HD_COUNT(alone); i++)
        if (hd_json_get(node, alone[i]) && has_other_constraints(node, alone[i]))
            return refuse(s, node, hd_str_from(alone[i]), "beside other keywords is not supported");
    const hd_json *all = hd_json_get(node, "allOf"), *p = hd_json_get(node, "properties");
    if (p && p->n > HD_BITS_MAX) {
        if (!s->strict) return refuse(s, node, p->key, "has too many members");
        s->cc->place = p;
        hd_cc_fail(s->cc, HD_E_LIMIT, "%zu properties, at most %d are followed", p->n, HD_BITS_MAX);
        return false;
    }
    if (all && all->n != 1) return refuse(s, node, HD_STR("allOf"), "of several is not supported");
    return true;
}

/* ---- references ---- */

static const hd_json *get_slice(const hd_json *object, hd_str key)
{
    if (object->kind == HD_JSON_ARRAY) {
        size_t index = 0;
        for (size_t i = 0; i < key.len; i++) {
            if (key.ptr[i] < '0' || key.ptr[i] > '9' || index > 1000000) return NULL;
            index = 10 * index + (size_t)(key.ptr[i] - '0');
        }
        const hd_json *c = object->child;
        while (c && index--) c = c->next;
        return c;
    }
    for (const hd_json *c = object->kind == HD_JSON_OBJECT ? object->child : NULL; c; c = c->next)
        if (hd_str_eq(c->key, key)) return c;
    return NULL;
}

/* "a~1b%20c" to "a/b c", into out; cut to fit. */
static hd_str decode_pointer(hd_str s, char *out, size_t size)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len && n < size; i++) {
        char c = s.ptr[i];
        if (c == '~' && i + 1 < s.len) {
            c = s.ptr[++i] == '1' ? '/' : '~';
        } else if (c == '%' && i + 2 < s.len) {
            unsigned value = 0;
            for (int k = 1; k < 3; k++) {
                char h = s.ptr[i + (size_t)k];
                value = value << 4 | (unsigned)((h & 15) + (h > '9' ? 9 : 0));
            }
            c = (char)value;
            i += 2;
        }
        out[n++] = c;
    }
    return (hd_str){out, n};
}

static const hd_json *follow(hd_cc_schema *s, hd_str ref)
{
    const hd_json *at = s->root;
    hd_str left = ref;
    if (left.len == 0 || left.ptr[0] != '#') return NULL;
    left = hd_str_skip(left, 1);
    while (at && left.len) {
        char part[256];
        if (left.ptr[0] != '/') return NULL;
        left = hd_str_skip(left, 1);
        size_t end = hd_str_find(left, HD_STR("/"), 0);
        at = get_slice(at, decode_pointer((hd_str){left.ptr, end}, part, sizeof part));
        left = hd_str_skip(left, end);
    }
    return at;
}

const hd_json *hd_cc_schema_resolve(hd_cc_schema *s, const hd_json *node)
{
    for (unsigned hops = 0; hops < MAX_IN_PLACE; hops++) {
        const hd_json *ref = hd_json_get(node, "$ref"), *all = hd_json_get(node, "allOf");
        if (node->kind != HD_JSON_OBJECT || (!ref && !(all && all->kind == HD_JSON_ARRAY)))
            return node;
        if (!hd_cc_schema_known(s, node)) return NULL;
        if (!ref) {
            node = all->child;
            continue;
        }
        const hd_json *to = ref->kind == HD_JSON_STRING ? follow(s, ref->text) : NULL;
        if (!to) {
            s->cc->place = ref;
            hd_cc_fail(s->cc, HD_E_FORMAT, "'$ref' leads nowhere inside this schema");
            return NULL;
        }
        node = to;
    }
    s->cc->place = node;
    hd_cc_fail(s->cc, HD_E_FORMAT, "'$ref' goes in a circle");
    return NULL;
}

/* ---- jobs ---- */

static hd_use use_job(hd_cc_schema *s, const hd_json *node, job_kind kind, hd_spec spec)
{
    hd_cc *cc = s->cc;
    for (const hd_schema_job *j = s->jobs; j; j = j->next)
        if (j->node == node && j->kind == kind) return j->use;
    hd_schema_job *j = hd_arena_try_alloc(cc->arena, 1, sizeof *j);
    if (!j) {
        hd_cc_fail(cc, HD_E_NOMEM, "out of memory for a grammar");
        return (hd_use){0};
    }
    bool has_spec = kind == JOB_OBJECT || kind == JOB_ARRAY;
    uint16_t number = has_spec ? hd_cc_spec(cc, &spec) : 0;
    *j = (hd_schema_job){node, kind, {hd_cc_declare(cc), number}, s->jobs, s->todo};
    s->jobs = s->todo = j;
    if (number && cc->status == HD_OK)
        (kind == JOB_OBJECT ? hd_cc_object_needs : hd_cc_array_needs)(s, node);
    return j->use;
}

hd_use hd_cc_schema_use(hd_cc_schema *s, const hd_json *node)
{
    bool is_any =
        node->kind == HD_JSON_BOOL ? node->truth : node->kind == HD_JSON_OBJECT && node->n == 0;
    if (is_any) return (hd_use){s->cc->rules.value, 0};
    if (!hd_cc_ok(s->cc)) return (hd_use){0};
    return use_job(s, node, JOB_SCHEMA, (hd_spec){0});
}

static hd_spec read_length(hd_cc_schema *s, const hd_json *node)
{
    hd_spec spec = {.lo = hd_cc_schema_count(s, node, "minLength", 0),
                    .hi = hd_cc_schema_count(s, node, "maxLength", UINT32_MAX)};
    if (spec.lo > spec.hi) hd_cc_fail(s->cc, HD_E_FORMAT, "'minLength' exceeds 'maxLength'");
    return spec;
}

static void define_text(hd_cc_schema *s, const hd_schema_job *j)
{
    hd_cc_coding coding = j->kind == JOB_TEXT_RAW ? HD_CODING_RAW : HD_CODING_JSON;
    hd_spec length = read_length(s, j->node);
    uint32_t from = hd_cc_node(s->cc), pattern = hd_cc_declare(s->cc);
    uint32_t to = hd_cc_regex(s->cc, from, hd_json_get(j->node, "pattern")->text, coding, false);
    hd_cc_define(s->cc, pattern, from, to);
    hd_cc_bound_length(s->cc, j->use.rule, pattern, &length, coding);
}

void hd_cc_schema_finish(hd_cc_schema *s)
{
    hd_cc *cc = s->cc;
    while (s->todo && hd_cc_ok(cc)) {
        hd_schema_job *j = s->todo;
        s->todo = j->next_todo;
        cc->place = j->node;
        if (j->kind == JOB_TEXT_JSON || j->kind == JOB_TEXT_RAW) {
            define_text(s, j);
            continue;
        }
        uint32_t from = hd_cc_node(cc), to = hd_cc_node(cc);
        if (j->kind == JOB_OBJECT)
            hd_cc_draw_object(s, j->node, from, to);
        else if (j->kind == JOB_ARRAY)
            hd_cc_draw_array(s, j->node, from, to);
        else
            hd_cc_schema_part(s, j->node, HD_PART_ALL, from, to);
        cc->place = j->node;
        hd_cc_define(cc, j->use.rule, from, to);
    }
}

void hd_cc_schema_check(const hd_cc_schema *s)
{
    const hd_auto *a = &s->cc->a;
    for (const hd_schema_job *j = s->jobs; j && s->cc->status == HD_OK; j = j->next) {
        if (a->state[a->rule[j->use.rule]].min_depth != HD_AUTO_DEAD) continue;
        s->cc->place = j->node;
        hd_cc_fail(s->cc, HD_E_FORMAT, "no value can match, or only one of more than %d levels",
                   HD_AUTO_MAX_DEPTH);
    }
}

/* ---- values of one type ---- */

/* The end of a string in its part: a quote, or the start of the closing tag. */
static void close_string(hd_cc_schema *s, hd_cc_part part, uint32_t from, uint32_t to)
{
    if (part == HD_PART_RAW_STRING)
        hd_cc_token_to(s->cc, hd_cc_textz(s->cc, from, "</"), to, s->cc->ids.dsml, 0);
    else
        hd_cc_bytes(s->cc, from, to, '"', '"', 0);
}

/* One text, unless it cannot be written raw. */
static bool draw_text(hd_cc_schema *s, hd_str text, hd_cc_part part, uint32_t from, uint32_t to)
{
    if (part == HD_PART_NONSTRING) return false;
    if (part == HD_PART_RAW_STRING) {
        if (hd_str_find(text, HD_STR(HD_TOKEN_DSML), 0) < text.len) return false;
        close_string(s, part, hd_cc_text(s->cc, from, text), to);
    } else {
        uint32_t at = hd_cc_byte(s->cc, from, '"', 0);
        close_string(s, part, hd_cc_json_text(s->cc, at, text), to);
    }
    return true;
}

static void draw_pattern(hd_cc_schema *s, const hd_json *node, hd_cc_part part, uint32_t from,
                         uint32_t to)
{
    bool is_raw = part == HD_PART_RAW_STRING;
    uint32_t at = is_raw ? hd_cc_node(s->cc) : hd_cc_byte(s->cc, from, '"', 0);
    if (is_raw) hd_cc_empty(s->cc, from, at);
    if (hd_json_get(node, "minLength") || hd_json_get(node, "maxLength"))
        at = hd_cc_call(s->cc, at,
                        use_job(s, node, is_raw ? JOB_TEXT_RAW : JOB_TEXT_JSON, (hd_spec){0}));
    else
        at = hd_cc_regex(s->cc, at, hd_json_get(node, "pattern")->text,
                         is_raw ? HD_CODING_RAW : HD_CODING_JSON, false);
    close_string(s, part, at, to);
}

static bool draw_string(hd_cc_schema *s, const hd_json *node, hd_cc_part part, uint32_t from,
                        uint32_t to)
{
    const hd_json *pattern = hd_json_get(node, "pattern");
    if (part == HD_PART_NONSTRING) return false;
    hd_spec spec = read_length(s, node);
    if (pattern && pattern->kind != HD_JSON_STRING)
        hd_cc_fail(s->cc, HD_E_FORMAT, "'pattern' must be a string");
    if (s->cc->status != HD_OK) return true;
    if (!pattern) {
        uint32_t rule = part == HD_PART_RAW_STRING ? s->cc->rules.raw : s->cc->rules.string;
        hd_cc_call_to(s->cc, from, to, (hd_use){rule, hd_cc_spec(s->cc, &spec)});
        return true;
    }
    draw_pattern(s, node, part, from, to);
    return true;
}

/* minimum and exclusiveMinimum (a number; or true, as in draft 4) and their like. */
static void read_bound(hd_cc_schema *s, const hd_json *node, const char *closed, const char *open,
                       hd_str *text, bool *is_open)
{
    const hd_json *c = hd_json_get(node, closed), *o = hd_json_get(node, open);
    if ((c && c->kind != HD_JSON_NUMBER) ||
        (o && o->kind != HD_JSON_NUMBER && o->kind != HD_JSON_BOOL)) {
        hd_cc_fail(s->cc, HD_E_FORMAT, "'%s' must be a number", c ? closed : open);
        return;
    }
    double a, b;
    *text = c ? c->text : (hd_str){0};
    *is_open = o && o->kind == HD_JSON_BOOL && o->truth;
    if (!o || o->kind != HD_JSON_NUMBER) return;
    if (c) { /* both: the narrower one */
        bool is_lower = strcmp(closed, "minimum") == 0;
        if (hd_json_f64(c, &a, NULL) != HD_OK || hd_json_f64(o, &b, NULL) != HD_OK) return;
        if (is_lower ? a > b : a < b) return;
    }
    *text = o->text;
    *is_open = true;
}

static void draw_number(hd_cc_schema *s, const hd_json *node, bool is_integer, uint32_t from,
                        uint32_t to)
{
    hd_cc_range range = {0};
    read_bound(s, node, "minimum", "exclusiveMinimum", &range.lo, &range.lo_open);
    read_bound(s, node, "maximum", "exclusiveMaximum", &range.hi, &range.hi_open);
    if (range.lo.len == 0 && range.hi.len == 0) {
        uint32_t rule = is_integer ? s->cc->rules.integer : s->cc->rules.number;
        hd_cc_call_to(s->cc, from, to, (hd_use){rule, 0});
        return;
    }
    uint32_t at = hd_cc_node(s->cc);
    hd_cc_empty(s->cc, from, at);
    at = is_integer ? hd_cc_integer(s->cc, at, &range) : hd_cc_decimal(s->cc, at, &range);
    hd_cc_empty(s->cc, at, to);
}

/* @return whether values of this type belong to the part. */
static bool draw_type(hd_cc_schema *s, const hd_json *node, hd_str type, hd_cc_part part,
                      uint32_t from, uint32_t to)
{
    hd_cc *cc = s->cc;
    if (hd_str_eqz(type, "string")) return draw_string(s, node, part, from, to);
    bool is_known = true, is_object = hd_str_eqz(type, "object");
    if (part == HD_PART_RAW_STRING) return false;
    if (is_object || hd_str_eqz(type, "array")) {
        hd_spec spec = is_object ? hd_cc_object_spec(s, node) : hd_cc_array_spec(s, node);
        hd_cc_call_to(cc, from, to, use_job(s, node, is_object ? JOB_OBJECT : JOB_ARRAY, spec));
    } else if (hd_str_eqz(type, "integer") || hd_str_eqz(type, "number")) {
        draw_number(s, node, type.ptr[0] == 'i', from, to);
    } else if (hd_str_eqz(type, "boolean")) {
        hd_cc_empty(cc, hd_cc_textz(cc, from, "true"), to);
        hd_cc_empty(cc, hd_cc_textz(cc, from, "false"), to);
    } else if (hd_str_eqz(type, "null")) {
        hd_cc_empty(cc, hd_cc_textz(cc, from, "null"), to);
    } else {
        is_known = false;
    }
    if (!is_known) hd_cc_fail(cc, HD_E_FORMAT, "'type' is not one of JSON's");
    return is_known;
}

/* ---- schemas ---- */

/* The type that keywords imply where none is said: they are there to be meant. */
static const char *implied_type(const hd_json *node)
{
    static const struct {
        const char *keyword, *type;
    } rows[] = {{"properties", "object"},
                {"required", "object"},
                {"additionalProperties", "object"},
                {"items", "array"},
                {"prefixItems", "array"},
                {"minItems", "array"},
                {"maxItems", "array"},
                {"pattern", "string"},
                {"minLength", "string"},
                {"maxLength", "string"},
                {"minimum", "number"},
                {"maximum", "number"},
                {"exclusiveMinimum", "number"},
                {"exclusiveMaximum", "number"}};
    for (size_t i = 0; i < HD_COUNT(rows); i++)
        if (hd_json_get(node, rows[i].keyword)) return rows[i].type;
    return NULL;
}

static bool draw_any(hd_cc_schema *s, hd_cc_part part, uint32_t from, uint32_t to)
{
    const hd_cc_rules *r = &s->cc->rules;
    uint32_t rule = part == HD_PART_ALL          ? r->value
                    : part == HD_PART_RAW_STRING ? r->raw
                                                 : r->nonstring;
    hd_cc_call_to(s->cc, from, to, (hd_use){rule, 0});
    return true;
}

/* A number of a schema's type; used to keep values of an enum that the type allows. */
static bool is_of_type(const hd_json *value, hd_str type)
{
    static const char *const names[] = {"null", "boolean", "number", "string", "array", "object"};
    if (hd_str_eqz(type, names[value->kind])) return true;
    return value->kind == HD_JSON_NUMBER && hd_str_eqz(type, "integer") &&
           hd_json_i64(value, INT64_MIN, INT64_MAX, &(int64_t){0}, NULL) == HD_OK;
}

static bool type_allows(const hd_json *type, const hd_json *value)
{
    if (!type) return true;
    if (type->kind == HD_JSON_STRING) return is_of_type(value, type->text);
    for (const hd_json *t = type->child; t; t = t->next)
        if (is_of_type(value, t->text)) return true;
    return false;
}

static bool draw_constant(hd_cc_schema *s, const hd_json *value, hd_cc_part part, uint32_t from,
                          uint32_t to)
{
    if (value->kind == HD_JSON_STRING) return draw_text(s, value->text, part, from, to);
    if (part == HD_PART_RAW_STRING) return false;
    hd_buf out;
    hd_buf_init(&out, (size_t)1 << 20);
    hd_jsonw_value(&out, value);
    if (out.status != HD_OK) hd_cc_fail(s->cc, HD_E_LIMIT, "a constant of more than a megabyte");
    hd_cc_empty(s->cc, hd_cc_text(s->cc, from, hd_buf_str(&out)), to);
    hd_buf_deinit(&out);
    return true;
}

static bool draw_constants(hd_cc_schema *s, const hd_json *node, hd_cc_part part, uint32_t from,
                           uint32_t to)
{
    const hd_json *list = hd_json_get(node, "enum"), *one = hd_json_get(node, "const");
    const hd_json *type = hd_json_get(node, "type");
    bool any = false;
    if (one) return type_allows(type, one) && draw_constant(s, one, part, from, to);
    if (list->kind != HD_JSON_ARRAY || list->n == 0) {
        hd_cc_fail(s->cc, HD_E_FORMAT, "'enum' must be an array that is not empty");
        return false;
    }
    for (const hd_json *v = list->child; v && s->cc->status == HD_OK; v = v->next)
        if (type_allows(type, v)) any |= draw_constant(s, v, part, from, to);
    return any;
}

static bool draw_types(hd_cc_schema *s, const hd_json *node, hd_cc_part part, uint32_t from,
                       uint32_t to)
{
    const hd_json *type = hd_json_get(node, "type");
    if (!type) {
        const char *implied = implied_type(node);
        if (!implied) return draw_any(s, part, from, to);
        return draw_type(s, node, hd_str_from(implied), part, from, to);
    }
    if (type->kind == HD_JSON_STRING) return draw_type(s, node, type->text, part, from, to);
    bool any = false;
    for (const hd_json *t = type->child; t && s->cc->status == HD_OK; t = t->next)
        any |= draw_type(s, node, t->kind == HD_JSON_STRING ? t->text : HD_STR(""), part, from, to);
    if (!type->child) hd_cc_fail(s->cc, HD_E_FORMAT, "'type' must be a name or a list of names");
    return any;
}

static bool draw_object_schema(hd_cc_schema *s, const hd_json *node, hd_cc_part part, uint32_t from,
                               uint32_t to)
{
    if (!hd_cc_schema_known(s, node)) return draw_any(s, part, from, to);
    const hd_json *some = hd_json_get(node, "anyOf");
    if (!some) some = hd_json_get(node, "oneOf");
    if (some) {
        bool any = false;
        if (some->kind != HD_JSON_ARRAY || some->n == 0) {
            hd_cc_fail(s->cc, HD_E_FORMAT, "'%.*s' must be an array that is not empty",
                       HD_STR_ARG(some->key));
            return false;
        }
        for (const hd_json *c = some->child; c && hd_cc_ok(s->cc); c = c->next)
            any |= hd_cc_schema_part(s, c, part, from, to);
        return any;
    }
    if (hd_json_get(node, "enum") || hd_json_get(node, "const"))
        return draw_constants(s, node, part, from, to);
    return draw_types(s, node, part, from, to);
}

bool hd_cc_schema_part(hd_cc_schema *s, const hd_json *node, hd_cc_part part, uint32_t from,
                       uint32_t to)
{
    hd_cc *cc = s->cc;
    const hd_json *place = cc->place;
    bool any = false;
    if (cc->status != HD_OK) return false;
    cc->place = node;
    if (++s->depth > MAX_IN_PLACE) hd_cc_fail(cc, HD_E_LIMIT, "schemas too deep inside each other");
    const hd_json *to_node = node->kind == HD_JSON_OBJECT ? hd_cc_schema_resolve(s, node) : node;
    if (cc->status != HD_OK) {
        /* nothing more */
    } else if (!to_node) {
        any = draw_any(s, part, from, to);
    } else if (to_node != node && part == HD_PART_ALL) {
        hd_cc_call_to(cc, from, to, hd_cc_schema_use(s, to_node));
        any = true;
    } else if (to_node->kind == HD_JSON_BOOL) {
        any = to_node->truth && draw_any(s, part, from, to);
    } else if (to_node->kind == HD_JSON_OBJECT) {
        any = draw_object_schema(s, to_node, part, from, to);
    } else {
        hd_cc_fail(cc, HD_E_FORMAT, "a schema must be an object, true or false");
    }
    s->depth--;
    cc->place = place;
    return any;
}
