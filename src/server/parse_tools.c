/* Tools that are offered, and the choice among them: see parse.h. */
#include "server/parse.h"

#include "base/buf.h"
#include "base/strmap.h"
#include "base/utf8.h"

#define MAX_NAME_BYTES  128
#define MAX_GUIDE_BYTES ((size_t)1 << 20) /* description and grammar of a custom tool */

#define CUSTOM_SCHEMA                                                                              \
    "{\"type\": \"object\", \"properties\": {\"input\": {\"type\": \"string\"}}, \"required\": "   \
    "[\"input\"]}"

static const char skipped[] = "a tool of an unknown type was left out";

/* ---- names ---- */

static bool is_name(hd_str name)
{
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        bool is_word = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
        if (!is_word && c != '_' && c != '-') return false;
    }
    return name.len > 0 && name.len <= MAX_NAME_BYTES;
}

static hd_status read_name(hd_parser *p, const hd_json *owner, hd_str *out)
{
    HD_TRY(hd_parse_need_str(p, owner, "name", out));
    if (is_name(*out)) return HD_OK;
    return hd_parse_wrong(p, HD_E_ARG, hd_json_get(owner, "name"),
                          "1 to 128 of the characters a-z A-Z 0-9 _ -");
}

hd_status hd_parse_spaced(hd_parser *p, hd_str space, hd_str short_name, hd_str *out)
{
    if (space.len == 0) {
        *out = short_name;
        return HD_OK;
    }
    *out = space;
    return hd_parse_join(p, out, "__", short_name);
}

/* ---- single tools ---- */

typedef struct space {
    hd_str name, description;
} space;

/* @param owner has the name and the description. */
static hd_status add_tool(hd_parser *p, const hd_json *owner, const space *in)
{
    hd_canon_tool *tool = hd_arena_try_alloc(p->arena, 1, sizeof *tool);
    if (!tool) return hd_parse_no_memory(p);
    HD_TRY(read_name(p, owner, &tool->short_name));
    HD_TRY(hd_parse_str(p, owner, "description", &tool->description));
    tool->space = in->name;
    tool->space_description = in->description;
    HD_TRY(hd_parse_spaced(p, tool->space, tool->short_name, &tool->name));
    if (tool->name.len > MAX_NAME_BYTES)
        return hd_parse_refuse(p, hd_json_get(owner, "name"),
                               "has more than 128 bytes together with its namespace");
    if (p->last_tool)
        p->last_tool->next = tool;
    else
        p->out->tools = tool;
    p->last_tool = tool;
    return HD_OK;
}

static hd_status read_parameters(hd_parser *p, const hd_json *owner, const char *key)
{
    const hd_json *schema = hd_parse_find(owner, key), *type;
    if (!schema) return HD_OK;
    if (schema->kind != HD_JSON_OBJECT)
        return hd_parse_wrong(p, HD_E_FORMAT, schema, "a JSON Schema of an object");
    type = hd_json_get(schema, "type");
    bool is_object = type && type->kind == HD_JSON_STRING && hd_str_eqz(type->text, "object");
    if (schema->n > 0 && !is_object)
        return hd_parse_wrong(p, HD_E_ARG, schema, "a JSON Schema with 'type': 'object'");
    p->last_tool->parameters = schema;
    return HD_OK;
}

static hd_status add_function(hd_parser *p, const hd_json *owner, const space *in)
{
    HD_TRY(add_tool(p, owner, in));
    HD_TRY(hd_parse_bool(p, owner, "strict", &p->last_tool->is_strict));
    return read_parameters(p, owner, "parameters");
}

/* ---- custom tools: text in, no JSON ---- */

/* What the text must look like is told the model in words; the grammars that clients send are
 * those of another program. */
static hd_status add_guide(hd_parser *p, const hd_json *format)
{
    hd_str syntax = {0}, definition = {0};
    if (!format) return HD_OK;
    if (format->kind != HD_JSON_OBJECT)
        return hd_parse_wrong(p, HD_E_FORMAT, format, "an object with a 'type'");
    HD_TRY(hd_parse_str(p, format, "syntax", &syntax));
    HD_TRY(hd_parse_str(p, format, "definition", &definition));
    if (definition.len == 0) return HD_OK;
    hd_buf text;
    hd_buf_init(&text, MAX_GUIDE_BYTES);
    hd_buf_add_str(&text, p->last_tool->description);
    hd_buf_addf(&text, "%sThe input must match this grammar (%.*s):\n", text.len ? "\n\n" : "",
                HD_STR_CUT(syntax));
    hd_buf_add_str(&text, definition);
    hd_status status = hd_buf_status(&text, "a custom tool's grammar", p->err);
    if (status == HD_OK) {
        p->last_tool->description = hd_arena_dup(p->arena, hd_buf_str(&text));
        if (!p->last_tool->description.ptr) status = hd_parse_no_memory(p);
    }
    hd_buf_deinit(&text);
    return status == HD_E_LIMIT ? hd_parse_wrong(p, HD_E_ARG, format, "at most 1 MiB") : status;
}

static hd_status add_custom(hd_parser *p, const hd_json *owner, const space *in)
{
    HD_TRY(add_tool(p, owner, in));
    p->last_tool->is_custom = true;
    HD_TRY(add_guide(p, hd_parse_find(owner, "format")));
    return hd_json_parse(HD_STR(CUSTOM_SCHEMA), NULL, p->arena, &p->last_tool->parameters, p->err);
}

/* ---- lists ---- */

static hd_status read_type(hd_parser *p, const hd_json *tool, hd_str *type)
{
    if (tool->kind != HD_JSON_OBJECT) return hd_parse_wrong(p, HD_E_FORMAT, tool, "an object");
    *type = HD_STR("function");
    return hd_parse_str(p, tool, "type", type);
}

/* A member of a namespace's list. */
static hd_status add_inner(hd_parser *p, const hd_json *tool, const space *in)
{
    hd_str type;
    HD_TRY(read_type(p, tool, &type));
    if (hd_str_eqz(type, "custom")) return add_custom(p, tool, in);
    if (!hd_str_eqz(type, "function")) {
        hd_canon_warn(p->out, skipped);
        return HD_OK;
    }
    const hd_json *function = hd_parse_find(tool, "function");
    return add_function(p, function && function->kind == HD_JSON_OBJECT ? function : tool, in);
}

static hd_status add_space(hd_parser *p, const hd_json *group)
{
    space in = {0};
    const hd_json *list;
    HD_TRY(read_name(p, group, &in.name));
    HD_TRY(hd_parse_str(p, group, "description", &in.description));
    HD_TRY(hd_parse_array(p, group, "tools", &list));
    for (const hd_json *x = list ? list->child : NULL; x; x = x->next) HD_TRY(add_inner(p, x, &in));
    return HD_OK;
}

/* Chat has the function in a member of its own, Responses beside the type. */
static hd_status add_any(hd_parser *p, const hd_json *tool)
{
    static const space none = {0};
    bool is_chat = p->out->dialect == HD_DIALECT_CHAT;
    const hd_json *function;
    hd_str type;
    HD_TRY(read_type(p, tool, &type));
    if (!is_chat && hd_str_eqz(type, "namespace")) return add_space(p, tool);
    if (!is_chat && hd_str_eqz(type, "custom")) return add_custom(p, tool, &none);
    if (!hd_str_eqz(type, "function")) {
        hd_canon_warn(p->out, skipped);
        return HD_OK;
    }
    if (!is_chat) return add_function(p, tool, &none);
    HD_TRY(hd_parse_need_object(p, tool, "function", &function));
    return add_function(p, function, &none);
}

hd_status hd_parse_tools(hd_parser *p, const hd_json *list)
{
    for (const hd_json *x = list ? list->child : NULL; x; x = x->next) HD_TRY(add_any(p, x));
    return HD_OK;
}

hd_status hd_parse_functions(hd_parser *p, const hd_json *list)
{
    static const space none = {0};
    for (const hd_json *x = list ? list->child : NULL; x; x = x->next) {
        if (x->kind != HD_JSON_OBJECT) return hd_parse_wrong(p, HD_E_FORMAT, x, "an object");
        HD_TRY(add_function(p, x, &none));
    }
    return HD_OK;
}

/* Tools that the service itself would run have a type of their own, and no schema. */
hd_status hd_parse_message_tools(hd_parser *p, const hd_json *list)
{
    static const space none = {0};
    for (const hd_json *x = list ? list->child : NULL; x; x = x->next) {
        hd_str type = HD_STR("custom");
        if (x->kind != HD_JSON_OBJECT) return hd_parse_wrong(p, HD_E_FORMAT, x, "an object");
        HD_TRY(hd_parse_str(p, x, "type", &type));
        if (!hd_str_eqz(type, "custom")) {
            hd_canon_warn(p->out, skipped);
            continue;
        }
        HD_TRY(add_tool(p, x, &none));
        HD_TRY(hd_parse_bool(p, x, "strict", &p->last_tool->is_strict));
        if (!hd_parse_find(x, "input_schema"))
            return hd_parse_missing(p, x, "input_schema", "a JSON Schema");
        HD_TRY(read_parameters(p, x, "input_schema"));
    }
    return HD_OK;
}

/* ---- the choice ---- */

hd_status hd_parse_named(hd_parser *p, const hd_json *name)
{
    if (name->kind != HD_JSON_STRING) return hd_parse_wrong(p, HD_E_FORMAT, name, "a string");
    p->out->choice = HD_TOOLS_NAMED;
    p->out->choice_name = name->text;
    if (!p->out->tools) return HD_OK;
    for (const hd_canon_tool *t = p->out->tools; t; t = t->next)
        if (hd_str_eq(t->name, name->text)) return HD_OK;
    return hd_parse_wrong(p, HD_E_ARG, name, "the name of one of 'tools'");
}

static hd_status choose_by_object(hd_parser *p, const hd_json *choice)
{
    const hd_json *function = hd_parse_find(choice, "function");
    const hd_json *name = hd_parse_find(function ? function : choice, "name");
    hd_str type = HD_STR("function");
    HD_TRY(hd_parse_str(p, choice, "type", &type));
    if (hd_str_eqz(type, "function") || hd_str_eqz(type, "custom")) {
        if (name) return hd_parse_named(p, name);
        return hd_parse_missing(p, function ? function : choice, "name", "a string");
    }
    if (hd_str_eqz(type, "allowed_tools"))
        return hd_parse_refuse(p, hd_json_get(choice, "type"),
                               "is not supported: offer only the tools that are allowed");
    hd_canon_warn(p->out, "tool_choice names a tool that is not run here");
    return HD_OK;
}

hd_status hd_parse_choice(hd_parser *p, const hd_json *choice)
{
    static const struct {
        const char *name;
        hd_tool_choice choice;
    } names[] = {{"auto", HD_TOOLS_AUTO}, {"none", HD_TOOLS_NONE}, {"required", HD_TOOLS_REQUIRED}};
    if (!choice) return HD_OK;
    if (choice->kind == HD_JSON_OBJECT) return choose_by_object(p, choice);
    for (size_t i = 0; choice->kind == HD_JSON_STRING && i < HD_COUNT(names); i++) {
        if (!hd_str_eqz(choice->text, names[i].name)) continue;
        p->out->choice = names[i].choice;
        return HD_OK;
    }
    return hd_parse_wrong(p, choice->kind == HD_JSON_STRING ? HD_E_ARG : HD_E_FORMAT, choice,
                          "none, auto, required or a tool");
}

/* ---- all of them ---- */

static hd_status check_names(hd_parser *p, hd_strmap *names)
{
    bool is_new;
    size_t n = 0;
    for (const hd_canon_tool *t = p->out->tools; t; t = t->next) {
        if (!hd_strmap_try_put(names, t->name, &is_new)) return hd_parse_no_memory(p);
        if (!is_new || ++n > HD_MAX_TOOLS) {
            if (is_new)
                HD_SET_ERR(p->err, HD_E_ARG, "'tools' has more than %d tools", HD_MAX_TOOLS);
            else
                HD_SET_ERR(p->err, HD_E_ARG, "'tools' has two tools named '%.*s'",
                           HD_STR_CUT(t->name));
            hd_err_set_path(p->err, "tools");
            return HD_E_ARG;
        }
    }
    return HD_OK;
}

hd_status hd_parse_check_tools(hd_parser *p)
{
    hd_strmap names;
    hd_strmap_init(&names);
    hd_status status = check_names(p, &names);
    hd_strmap_deinit(&names);
    if (!p->out->tools || p->out->choice == HD_TOOLS_NONE) {
        p->out->tools = NULL;
        p->out->choice = HD_TOOLS_AUTO;
    }
    return status;
}
