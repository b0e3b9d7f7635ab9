/* JSON Schema, in part: see eval_schema.h. */
#include "cli/eval_schema.h"

#include <math.h>

#include "base/utf8.h"

/* ---- values ---- */

static const hd_json *member(const hd_json *object, hd_str key)
{
    for (const hd_json *m = object->child; m; m = m->next)
        if (hd_str_eq(m->key, key)) return m;
    return NULL;
}

static double number(const hd_json *node)
{
    double x = NAN;
    (void)hd_json_number_f64(node->text, &x);
    return x;
}

/* Integers of 64 bits are compared exactly, all else as doubles. */
static bool same_number(const hd_json *a, const hd_json *b)
{
    int64_t x, y;
    if (hd_json_i64(a, INT64_MIN, INT64_MAX, &x, NULL) == HD_OK &&
        hd_json_i64(b, INT64_MIN, INT64_MAX, &y, NULL) == HD_OK)
        return x == y;
    return hd_str_eq(a->text, b->text) || number(a) == number(b);
}

static bool same_elements(const hd_json *a, const hd_json *b)
{
    const hd_json *y = b->child;
    for (const hd_json *x = a->child; x; x = x->next, y = y->next)
        if (!hd_json_same(x, y)) return false;
    return true;
}

static bool same_members(const hd_json *a, const hd_json *b)
{
    for (const hd_json *x = a->child; x; x = x->next) {
        const hd_json *y = member(b, x->key);
        if (!y || !hd_json_same(x, y)) return false;
    }
    return true;
}

bool hd_json_same(const hd_json *a, const hd_json *b)
{
    if (a->kind != b->kind) return false;
    switch (a->kind) {
    case HD_JSON_NULL: return true;
    case HD_JSON_BOOL: return a->truth == b->truth;
    case HD_JSON_NUMBER: return same_number(a, b);
    case HD_JSON_STRING: return hd_str_eq(a->text, b->text);
    case HD_JSON_ARRAY: return a->n == b->n && same_elements(a, b);
    case HD_JSON_OBJECT: return a->n == b->n && same_members(a, b);
    }
    return false;
}

/* An integer is a number without a fraction, however it is written: 2.0 and 1e3 are integers. */
static bool is_integer(const hd_json *value)
{
    int64_t unused;
    if (value->kind != HD_JSON_NUMBER) return false;
    if (hd_json_i64(value, INT64_MIN, INT64_MAX, &unused, NULL) == HD_OK) return true;
    double x = number(value);
    return isfinite(x) && x == floor(x);
}

static uint64_t n_code_points(hd_str s)
{
    uint64_t n = 0;
    for (size_t i = 0; i < s.len; i++) n += ((unsigned char)s.ptr[i] & 0xC0) != 0x80;
    return n;
}

/* ---- a value against a schema ---- */

static bool has_type(const hd_json *value, hd_str type)
{
    static const char *const names[] = {"null", "boolean", "number", "string", "array", "object"};
    return hd_str_eqz(type, "integer") ? is_integer(value) : hd_str_eqz(type, names[value->kind]);
}

static bool obeys_type(const hd_json *type, const hd_json *value)
{
    if (type->kind == HD_JSON_STRING) return has_type(value, type->text);
    for (const hd_json *t = type->child; t; t = t->next)
        if (has_type(value, t->text)) return true;
    return false;
}

static bool obeys_enum(const hd_json *list, const hd_json *value)
{
    for (const hd_json *e = list->child; e; e = e->next)
        if (hd_json_same(e, value)) return true;
    return false;
}

/* A number outside the bound of keyword `least` or `most` of the schema, where it has one. */
static bool is_within(const hd_json *schema, const char *least, const char *most, double x)
{
    const hd_json *min = hd_json_get(schema, least), *max = hd_json_get(schema, most);
    return !(min && x < number(min)) && !(max && x > number(max));
}

static bool obeys_object(const hd_json *schema, const hd_json *value)
{
    const hd_json *properties = hd_json_get(schema, "properties");
    const hd_json *others = hd_json_get(schema, "additionalProperties");
    const hd_json *required = hd_json_get(schema, "required");
    for (const hd_json *r = required ? required->child : NULL; r; r = r->next)
        if (!member(value, r->text)) return false;
    for (const hd_json *m = value->child; m; m = m->next) {
        const hd_json *own = properties ? member(properties, m->key) : NULL;
        if (!own) own = others;
        if (own && !hd_schema_obeys(own, m)) return false;
    }
    return true;
}

static bool obeys_array(const hd_json *schema, const hd_json *value)
{
    const hd_json *items = hd_json_get(schema, "items");
    if (!is_within(schema, "minItems", "maxItems", (double)value->n)) return false;
    for (const hd_json *e = value->child; items && e; e = e->next)
        if (!hd_schema_obeys(items, e)) return false;
    return true;
}

bool hd_schema_obeys(const hd_json *schema, const hd_json *value)
{
    if (schema->kind == HD_JSON_BOOL) return schema->truth;
    const hd_json *type = hd_json_get(schema, "type");
    const hd_json *choice = hd_json_get(schema, "enum"), *only = hd_json_get(schema, "const");
    if (type && !obeys_type(type, value)) return false;
    if (choice && !obeys_enum(choice, value)) return false;
    if (only && !hd_json_same(only, value)) return false;
    switch (value->kind) {
    case HD_JSON_NUMBER: return is_within(schema, "minimum", "maximum", number(value));
    case HD_JSON_STRING:
        return is_within(schema, "minLength", "maxLength", (double)n_code_points(value->text));
    case HD_JSON_ARRAY: return obeys_array(schema, value);
    case HD_JSON_OBJECT: return obeys_object(schema, value);
    default: return true;
    }
}

/* ---- the schema itself ---- */

hd_status hd_json_refuse(const hd_json *node, hd_status code, const char *what, hd_err *err)
{
    char path[sizeof err->path];
    hd_json_path(node, path, sizeof path);
    hd_str name = node->key.len ? hd_utf8_cut(node->key, 64) : hd_str_from(path);
    (void)HD_SET_ERR(err, code, "'%.*s' %s", HD_STR_ARG(name), what);
    hd_err_set_path(err, path);
    return code;
}

static bool is_type_name(const hd_json *node)
{
    static const char *const names[] = {"null",   "boolean", "number", "integer",
                                        "string", "array",   "object"};
    for (size_t i = 0; i < HD_COUNT(names); i++)
        if (node->kind == HD_JSON_STRING && hd_str_eqz(node->text, names[i])) return true;
    return false;
}

static hd_status check_type(const hd_json *type, hd_err *err)
{
    bool is_good = is_type_name(type) || (type->kind == HD_JSON_ARRAY && type->n > 0);
    for (const hd_json *t = type->kind == HD_JSON_ARRAY ? type->child : NULL; t; t = t->next)
        is_good = is_good && is_type_name(t);
    if (is_good) return HD_OK;
    return hd_json_refuse(
        type, HD_E_FORMAT,
        "must be null, boolean, number, integer, string, array, object, or a list of them", err);
}

static hd_status check_members(const hd_json *properties, hd_err *err)
{
    if (properties->kind != HD_JSON_OBJECT)
        return hd_json_refuse(properties, HD_E_FORMAT, "must be an object of schemas", err);
    for (const hd_json *m = properties->child; m; m = m->next) HD_TRY(hd_schema_check(m, err));
    return HD_OK;
}

static hd_status check_required(const hd_json *required, hd_err *err)
{
    bool is_good = required->kind == HD_JSON_ARRAY;
    for (const hd_json *r = is_good ? required->child : NULL; r; r = r->next)
        is_good = is_good && r->kind == HD_JSON_STRING;
    return is_good ? HD_OK : hd_json_refuse(required, HD_E_FORMAT, "must be a list of names", err);
}

static hd_status check_enum(const hd_json *list, hd_err *err)
{
    if (list->kind == HD_JSON_ARRAY) return HD_OK;
    return hd_json_refuse(list, HD_E_FORMAT, "must be a list of values", err);
}

static hd_status check_number(const hd_json *node, hd_err *err)
{
    double unused;
    return hd_json_f64(node, &unused, err);
}

static hd_status check_count(const hd_json *node, hd_err *err)
{
    int64_t unused;
    return hd_json_i64(node, 0, INT32_MAX, &unused, err);
}

static hd_status check_nothing(const hd_json *node, hd_err *err)
{
    (void)node, (void)err;
    return HD_OK;
}

typedef struct keyword {
    const char *name;
    hd_status (*check)(const hd_json *node, hd_err *err);
} keyword;

static const keyword keywords[] = {
    {"type", check_type},
    {"properties", check_members},
    {"required", check_required},
    {"additionalProperties", hd_schema_check},
    {"items", hd_schema_check},
    {"enum", check_enum},
    {"const", check_nothing},
    {"minimum", check_number},
    {"maximum", check_number},
    {"minItems", check_count},
    {"maxItems", check_count},
    {"minLength", check_count},
    {"maxLength", check_count},
    /* these only tell */
    {"title", check_nothing},
    {"description", check_nothing},
    {"default", check_nothing},
    {"examples", check_nothing},
    {"deprecated", check_nothing},
    {"$schema", check_nothing},
    {"$id", check_nothing},
    {"$comment", check_nothing},
};

static hd_status check_keyword(const hd_json *node, hd_err *err)
{
    for (size_t i = 0; i < HD_COUNT(keywords); i++)
        if (hd_str_eqz(node->key, keywords[i].name)) return keywords[i].check(node, err);
    return hd_json_refuse(
        node, HD_E_UNSUPPORTED,
        "is a keyword of JSON Schema that is not checked here (docs/eval.md lists those "
        "that are)",
        err);
}

hd_status hd_schema_check(const hd_json *schema, hd_err *err)
{
    if (schema->kind == HD_JSON_BOOL) return HD_OK;
    if (schema->kind != HD_JSON_OBJECT)
        return hd_json_refuse(schema, HD_E_FORMAT, "must be a schema: an object, true or false",
                              err);
    for (const hd_json *k = schema->child; k; k = k->next) HD_TRY(check_keyword(k, err));
    return HD_OK;
}
