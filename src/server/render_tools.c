/* Tools as text: for prompts, and for constraints. */
#include "server/render.h"

#include "base/strmap.h"

hd_status hd_render_fail(const hd_renderer *r, hd_status code, const hd_json *at, const char *what)
{
    char path[128];
    hd_json_path(at, path, sizeof path);
    HD_SET_ERR(r->err, code, "'%s' %s", path, what);
    hd_err_set_path(r->err, path);
    return code;
}

bool hd_render_offers(const hd_canon *c, const hd_canon_tool *tool)
{
    return c->choice != HD_TOOLS_NAMED || hd_str_eq(c->choice_name, tool->name);
}

/* ---- strict schemas ---- */

/* Strict means that each object has all its properties and no others. The members that say so stand
 * behind `properties`, whatever the client wrote and where. */
typedef struct strict {
    const hd_renderer *r;
    hd_buf *out;
} strict;

static hd_status write_strict(strict *s, const hd_json *schema);

/* Each value of an object, or each element of an array, is a schema. */
static hd_status write_schemas(strict *s, const hd_json *list)
{
    bool is_object = list->kind == HD_JSON_OBJECT;
    hd_buf_addc(s->out, is_object ? '{' : '[');
    for (const hd_json *x = list->child; x; x = x->next) {
        if (x != list->child) hd_buf_addz(s->out, ", ");
        if (is_object) {
            hd_jsonw_str(s->out, x->key);
            hd_buf_addz(s->out, ": ");
        }
        HD_TRY(write_strict(s, x));
    }
    hd_buf_addc(s->out, is_object ? '}' : ']');
    return HD_OK;
}

/* `required`, where it is given, must name all properties and nothing else. */
static hd_status check_required(strict *s, const hd_json *required, const hd_json *properties)
{
    hd_strmap names;
    bool is_new = true, has_memory = true;
    hd_status status = HD_OK;
    size_t n = properties ? properties->n : 0;
    if (!required) return HD_OK;
    hd_strmap_init(&names);
    for (const hd_json *x = properties ? properties->child : NULL; x && has_memory; x = x->next)
        has_memory = hd_strmap_try_put(&names, x->key, NULL) != NULL;
    bool is_complete = required->kind == HD_JSON_ARRAY && required->n == n;
    for (const hd_json *x = required->child; x && is_complete && has_memory; x = x->next) {
        uint64_t *seen = x->kind == HD_JSON_STRING ? hd_strmap_get(&names, x->text) : NULL;
        is_new = seen && *seen == 0;
        is_complete = is_new;
        if (seen) *seen = 1;
    }
    hd_strmap_deinit(&names);
    if (!has_memory) HD_FAIL(s->r->err, HD_E_NOMEM, "out of memory for a schema");
    if (!is_complete)
        status = hd_render_fail(s->r, HD_E_ARG, required,
                                "must name all properties of the object: the tool is strict");
    return status;
}

static void write_closing(strict *s, const hd_json *properties)
{
    hd_buf_addz(s->out, ", \"additionalProperties\": false, \"required\": [");
    for (const hd_json *x = properties ? properties->child : NULL; x; x = x->next) {
        if (x != properties->child) hd_buf_addz(s->out, ", ");
        hd_jsonw_str(s->out, x->key);
    }
    hd_buf_addc(s->out, ']');
}

/* Where other schemas stand in a schema. */
static bool holds_schemas(hd_str key, hd_json_kind kind)
{
    static const char *const maps[] = {"properties", "$defs", "definitions"};
    static const char *const lists[] = {"anyOf", "oneOf", "allOf", "prefixItems"};
    for (size_t i = 0; i < HD_COUNT(maps) && kind == HD_JSON_OBJECT; i++)
        if (hd_str_eqz(key, maps[i])) return true;
    for (size_t i = 0; i < HD_COUNT(lists) && kind == HD_JSON_ARRAY; i++)
        if (hd_str_eqz(key, lists[i])) return true;
    return false;
}

static hd_status write_member(strict *s, const hd_json *x)
{
    hd_jsonw_str(s->out, x->key);
    hd_buf_addz(s->out, ": ");
    if (holds_schemas(x->key, x->kind)) return write_schemas(s, x);
    if (hd_str_eqz(x->key, "items") && x->kind == HD_JSON_OBJECT) return write_strict(s, x);
    hd_jsonw_value_as(s->out, x, s->r->rules->service_numbers);
    return HD_OK;
}

static hd_status check_object(strict *s, const hd_json *schema, const hd_json *properties)
{
    const hd_json *others = hd_json_get(schema, "additionalProperties");
    if (others && !(others->kind == HD_JSON_BOOL && !others->truth))
        return hd_render_fail(s->r, HD_E_ARG, others, "must be false: the tool is strict");
    return check_required(s, hd_json_get(schema, "required"), properties);
}

/* Recursion is as deep as the request's JSON, which its reader bounds. */
static hd_status write_strict(strict *s, const hd_json *schema)
{
    const hd_json *type = hd_json_get(schema, "type");
    const hd_json *properties = hd_json_get(schema, "properties");
    bool is_named = type && type->kind == HD_JSON_STRING && hd_str_eqz(type->text, "object");
    bool is_object = is_named || (properties && properties->kind == HD_JSON_OBJECT);
    bool is_first = true;
    if (schema->kind != HD_JSON_OBJECT) {
        hd_jsonw_value_as(s->out, schema, s->r->rules->service_numbers);
        return HD_OK;
    }
    if (properties && properties->kind != HD_JSON_OBJECT)
        return hd_render_fail(s->r, HD_E_FORMAT, properties, "must be an object");
    if (is_object) HD_TRY(check_object(s, schema, properties));
    hd_buf_addc(s->out, '{');
    for (const hd_json *x = schema->child; x; x = x->next) {
        bool is_closing =
            hd_str_eqz(x->key, "additionalProperties") || hd_str_eqz(x->key, "required");
        if (is_object && is_closing) continue;
        if (!is_first) hd_buf_addz(s->out, ", ");
        is_first = false;
        HD_TRY(write_member(s, x));
        if (x == properties) write_closing(s, properties);
    }
    if (is_object && !properties) {
        hd_buf_addz(s->out, is_first ? "\"properties\": {}" : ", \"properties\": {}");
        write_closing(s, NULL);
    }
    hd_buf_addc(s->out, '}');
    return HD_OK;
}

/* ---- lines ---- */

/* The service closes the schemas of strict tools in all dialects but Messages. */
static hd_status write_parameters(const hd_renderer *r, const hd_canon_tool *t, hd_buf *out)
{
    strict s = {r, out};
    static const hd_json none = {.kind = HD_JSON_OBJECT};
    const hd_json *schema = t->parameters ? t->parameters : &none;
    if (t->is_strict && !t->parameters) {
        hd_buf_addz(out, "{\"type\": \"object\", \"properties\": {}");
        write_closing(&s, NULL);
        hd_buf_addc(out, '}');
        return HD_OK;
    }
    if (t->is_strict && r->c->dialect != HD_DIALECT_MESSAGES) return write_strict(&s, schema);
    hd_jsonw_value_as(out, schema, r->rules->service_numbers);
    return HD_OK;
}

static void write_description(const hd_renderer *r, const hd_canon_tool *t, hd_buf *out)
{
    hd_buf_addc(out, '"');
    if (r->rules->has_namespaces && t->space_description.len) {
        hd_jsonw_str_part(out, t->space_description);
        hd_jsonw_str_part(out, HD_STR("\n"));
    }
    hd_jsonw_str_part(out, t->description);
    hd_buf_addc(out, '"');
}

static hd_status write_tool(const hd_renderer *r, const hd_canon_tool *t, hd_buf *out)
{
    hd_buf_addz(out, "{\"name\": ");
    hd_jsonw_str(out, t->name);
    hd_buf_addz(out, ", \"description\": ");
    write_description(r, t, out);
    hd_buf_addz(out, ", \"parameters\": ");
    HD_TRY(write_parameters(r, t, out));
    hd_buf_addc(out, '}');
    return HD_OK;
}

hd_status hd_render_tool_lines(const hd_renderer *r, hd_buf *out)
{
    for (const hd_canon_tool *t = r->c->tools; t; t = t->next) {
        if (!hd_render_offers(r->c, t)) continue;
        HD_TRY(write_tool(r, t, out));
        hd_buf_addc(out, '\n');
    }
    return hd_buf_status(out, "the tools", r->err);
}

/* A tool without a schema takes any parameters: nobody said that it has none. */
hd_status hd_render_tool_array(const hd_renderer *r, hd_buf *out)
{
    bool is_first = true;
    hd_buf_addc(out, '[');
    for (const hd_canon_tool *t = r->c->tools; t; t = t->next) {
        if (!hd_render_offers(r->c, t)) continue;
        hd_buf_addz(out, is_first ? "{\"name\": " : ", {\"name\": ");
        is_first = false;
        hd_jsonw_str(out, t->name);
        hd_buf_addf(out, ", \"strict\": %s, \"parameters\": ", t->is_strict ? "true" : "false");
        HD_TRY(write_parameters(r, t, out));
        hd_buf_addc(out, '}');
    }
    hd_buf_addc(out, ']');
    return hd_buf_status(out, "the tools", r->err);
}
