/* Sampling, limits, thinking and formats: see parse.h. */
#include <math.h>
#include <stdio.h>

#include "server/parse.h"

#define MAX_BIAS 1024 /* ids whose logits are changed */

/* ---- numbers ---- */

typedef struct range {
    double lo, hi;
    bool is_open; /* lo itself is outside */
    const char *words;
} range;

static hd_status read_f64(hd_parser *p, const char *key, const range *r, double *out)
{
    const hd_json *x = hd_parse_find(p->body, key);
    double value;
    if (!x) return HD_OK;
    if (x->kind != HD_JSON_NUMBER) return hd_parse_wrong(p, HD_E_FORMAT, x, r->words);
    HD_TRY(hd_json_f64(x, &value, p->err));
    bool is_inside = value <= r->hi && (r->is_open ? value > r->lo : value >= r->lo);
    if (!is_inside) return hd_parse_wrong(p, HD_E_ARG, x, r->words);
    *out = value;
    return HD_OK;
}

static hd_status read_seed(hd_parser *p)
{
    const hd_json *x = hd_parse_find(p->body, "seed");
    int64_t seed;
    if (!x) return HD_OK;
    if (hd_json_i64(x, 0, INT64_MAX, &seed, NULL) != HD_OK)
        return hd_parse_wrong(p, x->kind == HD_JSON_NUMBER ? HD_E_ARG : HD_E_FORMAT, x,
                              "an integer from 0 to 9223372036854775807");
    p->out->has_seed = true;
    p->out->seed = (uint64_t)seed;
    return HD_OK;
}

/* vLLM's −1 means all, as our 0 does. */
static hd_status read_top_k(hd_parser *p)
{
    HD_TRY(hd_parse_i32(p, p->body, "top_k", -1, INT32_MAX, &p->out->top_k));
    if (p->out->top_k < 0) p->out->top_k = 0;
    return HD_OK;
}

hd_status hd_parse_basics(hd_parser *p)
{
    static const range temperatures = {0, 2, false, "a number from 0 to 2"},
                       top_ps = {0, 1, true, "a number above 0, at most 1"},
                       min_ps = {0, 1, false, "a number from 0 to 1"};
    hd_canon *c = p->out;
    HD_TRY(hd_parse_str(p, p->body, "model", &c->model));
    HD_TRY(hd_parse_bool(p, p->body, "stream", &c->streams));
    HD_TRY(read_f64(p, "temperature", &temperatures, &c->temperature));
    HD_TRY(read_f64(p, "top_p", &top_ps, &c->top_p));
    HD_TRY(read_f64(p, "min_p", &min_ps, &c->min_p));
    HD_TRY(read_top_k(p));
    HD_TRY(read_seed(p));
    HD_TRY(hd_parse_i32(p, p->body, "min_tokens", 0, INT32_MAX, &c->min_tokens));
    HD_TRY(hd_parse_bool(p, p->body, "ignore_eos", &c->ignores_eos));
    return hd_parse_i32(p, p->body, "priority", INT32_MIN, INT32_MAX, &c->priority);
}

/* ---- what Chat and Completions have in common ---- */

static hd_status check_bias(hd_parser *p)
{
    const hd_json *map = hd_parse_find(p->body, "logit_bias");
    if (!map) return HD_OK;
    if (map->kind != HD_JSON_OBJECT)
        return hd_parse_wrong(p, HD_E_FORMAT, map, "an object: token id to number");
    if (map->n > MAX_BIAS) return hd_parse_wrong(p, HD_E_ARG, map, "at most 1024 ids");
    for (const hd_json *x = map->child; x; x = x->next) {
        const hd_json id = {.kind = HD_JSON_NUMBER, .text = x->key, .parent = map};
        int64_t token;
        double bias;
        if (hd_json_i64(&id, 0, INT32_MAX, &token, NULL) != HD_OK)
            return hd_parse_refuse(p, x, "is named by no token id");
        if (x->kind != HD_JSON_NUMBER) return hd_parse_wrong(p, HD_E_FORMAT, x, "a number");
        HD_TRY(hd_json_f64(x, &bias, p->err));
        if (!(fabs(bias) <= 100)) return hd_parse_wrong(p, HD_E_ARG, x, "from -100 to 100");
    }
    p->out->logit_bias = map;
    return HD_OK;
}

static hd_status read_stream_options(hd_parser *p)
{
    const hd_json *x = hd_parse_find(p->body, "stream_options");
    if (!x) return HD_OK;
    if (x->kind != HD_JSON_OBJECT) return hd_parse_wrong(p, HD_E_FORMAT, x, "an object");
    if (!p->out->streams) return hd_parse_refuse(p, x, "needs 'stream': true");
    return hd_parse_bool(p, x, "include_usage", &p->out->wants_usage);
}

/* `user` is an old name, and whatever stands there was never checked by anybody. */
static hd_status read_user(hd_parser *p)
{
    const hd_json *id = hd_parse_find(p->body, "user_id"), *user = hd_parse_find(p->body, "user");
    HD_TRY(hd_parse_str(p, p->body, "user_id", &p->out->user));
    if (p->out->user.len > HD_MAX_USER_BYTES)
        return hd_parse_wrong(p, HD_E_ARG, id, "at most 512 bytes");
    if (!id && user && user->kind == HD_JSON_STRING) p->out->user = user->text;
    return HD_OK;
}

static hd_status check_n(hd_parser *p, const char *key)
{
    const hd_json *x = hd_parse_find(p->body, key);
    int64_t n;
    if (!x || hd_json_i64(x, 1, 1, &n, NULL) == HD_OK) return HD_OK;
    if (x->kind != HD_JSON_NUMBER) return hd_parse_wrong(p, HD_E_FORMAT, x, "1");
    return hd_parse_refuse(p, x, "must be 1: a request has one answer");
}

hd_status hd_parse_openai(hd_parser *p)
{
    static const range penalties = {-2, 2, false, "a number from -2 to 2"};
    HD_TRY(read_f64(p, "presence_penalty", &penalties, &p->out->presence_penalty));
    HD_TRY(read_f64(p, "frequency_penalty", &penalties, &p->out->frequency_penalty));
    HD_TRY(check_bias(p));
    HD_TRY(read_stream_options(p));
    HD_TRY(check_n(p, "n"));
    HD_TRY(check_n(p, "best_of"));
    return read_user(p);
}

/* ---- stop strings ---- */

static hd_status add_stop(hd_parser *p, const hd_json *x)
{
    if (x->kind != HD_JSON_STRING) return hd_parse_wrong(p, HD_E_FORMAT, x, "a string");
    if (x->text.len == 0 || memchr(x->text.ptr, 0, x->text.len))
        return hd_parse_wrong(p, HD_E_ARG, x, "a string without U+0000, not empty");
    const char *copy = hd_arena_dup(p->arena, x->text).ptr;
    if (!copy) return hd_parse_no_memory(p);
    p->out->stops[p->out->n_stops++] = copy;
    return HD_OK;
}

hd_status hd_parse_stops(hd_parser *p, const hd_json *stop)
{
    if (!stop) return HD_OK;
    bool is_list = stop->kind == HD_JSON_ARRAY;
    if (!is_list && stop->kind != HD_JSON_STRING)
        return hd_parse_wrong(p, HD_E_FORMAT, stop, "a string or an array of strings");
    if (is_list && stop->n > HD_MAX_STOPS)
        return hd_parse_wrong(p, HD_E_ARG, stop, "at most 16 strings");
    p->out->stops = hd_arena_try_alloc(p->arena, HD_MAX_STOPS, sizeof *p->out->stops);
    if (!p->out->stops) return hd_parse_no_memory(p);
    if (!is_list) return add_stop(p, stop);
    for (const hd_json *x = stop->child; x; x = x->next) HD_TRY(add_stop(p, x));
    return HD_OK;
}

/* ---- thinking ---- */

/* @param is_off set if the name is `none`. */
static hd_status read_effort(hd_parser *p, const hd_json *effort, bool *is_off)
{
    static const struct {
        const char *name;
        hd_effort effort;
    } names[] = {{"none", HD_EFFORT_HIGH},   {"minimal", HD_EFFORT_LOW}, {"low", HD_EFFORT_LOW},
                 {"medium", HD_EFFORT_HIGH}, {"high", HD_EFFORT_HIGH},   {"xhigh", HD_EFFORT_HIGH},
                 {"max", HD_EFFORT_MAX},     {"ultra", HD_EFFORT_MAX}};
    p->out->effort = HD_EFFORT_HIGH;
    *is_off = false;
    if (!effort) return HD_OK;
    for (size_t i = 0; i < HD_COUNT(names); i++) {
        if (effort->kind != HD_JSON_STRING || !hd_str_eqz(effort->text, names[i].name)) continue;
        p->out->effort = names[i].effort;
        *is_off = i == 0;
        return HD_OK;
    }
    return hd_parse_wrong(p, effort->kind == HD_JSON_STRING ? HD_E_ARG : HD_E_FORMAT, effort,
                          "one of none, minimal, low, medium, high, xhigh, ultra, max");
}

hd_status hd_parse_thinking(hd_parser *p, const hd_json *thinking, const hd_json *effort)
{
    bool is_off, knows_tools = p->out->dialect == HD_DIALECT_MESSAGES;
    hd_str type;
    HD_TRY(read_effort(p, effort, &is_off));
    p->out->thinks = !is_off;
    if (!thinking) return HD_OK;
    if (thinking->kind != HD_JSON_OBJECT)
        return hd_parse_wrong(p, HD_E_FORMAT, thinking, "an object with a 'type'");
    HD_TRY(hd_parse_need_str(p, thinking, "type", &type));
    p->out->thinks = hd_str_eqz(type, "enabled") || hd_str_eqz(type, "adaptive") ||
                     (knows_tools && hd_str_eqz(type, "between_tools"));
    if (p->out->thinks || hd_str_eqz(type, "disabled")) return HD_OK;
    return hd_parse_wrong(p, HD_E_ARG, hd_json_get(thinking, "type"),
                          "enabled, adaptive or disabled");
}

/* ---- formats ---- */

static hd_status read_schema(hd_parser *p, const hd_json *outer)
{
    const hd_json *schema = hd_parse_find(outer, "schema");
    if (!schema) return hd_parse_missing(p, outer, "schema", "a JSON Schema");
    if (schema->kind != HD_JSON_OBJECT && schema->kind != HD_JSON_BOOL)
        return hd_parse_wrong(p, HD_E_FORMAT, schema, "a JSON Schema");
    p->out->format = HD_FORMAT_SCHEMA;
    p->out->format_rules = schema;
    return hd_parse_bool(p, outer, "strict", &p->out->format_is_strict);
}

static hd_status read_regex(hd_parser *p, const hd_json *format)
{
    hd_str pattern;
    HD_TRY(hd_parse_need_str(p, format, "regex", &pattern));
    p->out->format = HD_FORMAT_REGEX;
    p->out->format_rules = hd_json_get(format, "regex");
    return HD_OK;
}

hd_status hd_parse_format(hd_parser *p, const hd_json *format, const char *inner)
{
    hd_str type;
    if (!format) return HD_OK;
    if (format->kind != HD_JSON_OBJECT)
        return hd_parse_wrong(p, HD_E_FORMAT, format, "an object with a 'type'");
    HD_TRY(hd_parse_need_str(p, format, "type", &type));
    if (hd_str_eqz(type, "text")) return HD_OK;
    if (hd_str_eqz(type, "regex")) return read_regex(p, format);
    if (hd_str_eqz(type, "json_object")) {
        p->out->format = HD_FORMAT_OBJECT;
        return HD_OK;
    }
    if (!hd_str_eqz(type, "json_schema"))
        return hd_parse_wrong(p, HD_E_ARG, hd_json_get(format, "type"),
                              "text, json_object, json_schema or regex");
    if (inner) HD_TRY(hd_parse_need_object(p, format, inner, &format));
    return read_schema(p, format);
}
