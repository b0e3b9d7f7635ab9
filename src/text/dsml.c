/* Writing DSML: see dsml.h. */
#include "text/dsml.h"

#include <math.h>

#include "base/jsonw.h"
#include "base/utf8.h"

#define MAX_NAME_BYTES      ((size_t)64 << 10)
#define MAX_SCHEMA_BYTES    ((size_t)256 << 20)
#define MAX_ARGUMENTS_BYTES ((size_t)1 << 30) /* as a tree, 80 bytes a value */
#define MAX_ARGUMENTS_DEPTH 900               /* Python's own parser gives up below 1000 */
#define MAX_SERVICE_DEPTH   127

/* "<" or "</", the DSML token, the name of the tag. */
static void add_tag(hd_prompt *out, const char *open, const char *name)
{
    hd_prompt_addz(out, open);
    hd_prompt_add_token(out, HD_TOKEN_DSML);
    hd_prompt_addz(out, name);
}

/* Write a template of chat_rules.h, whose placeholders are one letter in braces. */
static void add_template(hd_prompt *out, const hd_chat_rules *rules, const char *template)
{
    for (const char *p = template; *p;) {
        size_t n = strcspn(p, "{");
        hd_prompt_add(out, (hd_str){p, n});
        p += n;
        if (!*p) return;
        switch (p[1]) {
        case 'C': add_tag(out, "", rules->calls); break;
        case 'I': add_tag(out, "", rules->invoke); break;
        case 'P': add_tag(out, "", rules->parameter); break;
        case 'T': hd_prompt_add_token(out, HD_TOKEN_THINK); break;
        case 'E': hd_prompt_add_token(out, HD_TOKEN_END_THINK); break;
        default: HD_ASSERT(false);
        }
        p += 3;
    }
}

/* ---- names and namespaces ---- */

/* The namespace that a tool or call states: its own, else its function's. */
static hd_status stated_namespace(const hd_json *owner, const hd_json *function, hd_str *name,
                                  hd_str *description, bool *is_stated, hd_err *err)
{
    const hd_json *ns = hd_json_get(owner, "namespace");
    if (!ns || ns->kind == HD_JSON_NULL) ns = hd_json_get(function, "namespace");
    *description = (hd_str){0};
    *is_stated = ns && ns->kind != HD_JSON_NULL;
    if (!*is_stated) return HD_OK;
    if (ns->kind == HD_JSON_STRING) {
        *name = ns->text;
        return HD_OK;
    }
    HD_TRY(hd_json_get_str(ns, "name", name, err));
    const hd_json *d = hd_json_get(ns, "description");
    if (!d || d->kind == HD_JSON_NULL) return HD_OK;
    return hd_json_get_str(ns, "description", description, err);
}

static hd_status bad_name(const hd_json *function, hd_err *err)
{
    const hd_json *name = hd_json_get(function, "name");
    char path[sizeof err->path];
    hd_json_path(name, path, sizeof path);
    HD_SET_ERR(err, HD_E_FORMAT,
               "tool name '%.*s' must be a name or 'namespace::name', and agree with the stated "
               "namespace",
               HD_STR_ARG(hd_utf8_cut(name->text, 64)));
    hd_err_set_path(err, path);
    return HD_E_FORMAT;
}

/* Append the name to print, "ns::name" if there is a namespace, which may be stated apart from the
 * name, in front of it, or both. `description` is the namespace's. */
static hd_status printed_name(const hd_chat_rules *rules, const hd_json *owner, hd_buf *out,
                              hd_str *description, hd_err *err)
{
    const hd_json *function = hd_json_get(owner, "function");
    hd_str name, ns;
    bool is_stated = false;
    HD_TRY(hd_json_get_str(function, "name", &name, err));
    *description = (hd_str){0};
    if (rules->has_namespaces) {
        HD_TRY(stated_namespace(owner, function, &ns, description, &is_stated, err));
        size_t at = hd_str_find(name, HD_STR("::"), 0);
        bool has_prefix = at < name.len;
        hd_str base = has_prefix ? hd_str_skip(name, at + 2) : name;
        bool is_twice = hd_str_find(base, HD_STR("::"), 0) < base.len;
        bool differs = is_stated && has_prefix && !hd_str_eq(ns, (hd_str){name.ptr, at});
        if (is_twice || differs) return bad_name(function, err);
        if (is_stated) {
            hd_buf_add_str(out, ns);
            hd_buf_addz(out, "::");
            name = base;
        }
    }
    hd_buf_add_str(out, name);
    return hd_buf_status(out, "a tool name", err);
}

static hd_status check_function(const hd_json *owner, hd_err *err)
{
    const hd_json *function = hd_json_get(owner, "function");
    if (function && function->kind == HD_JSON_OBJECT) return HD_OK;
    char path[sizeof err->path];
    hd_json_path(owner, path, sizeof path);
    HD_SET_ERR(err, HD_E_FORMAT, "'%s.function' must be an object", path);
    hd_err_set_path(err, path);
    return HD_E_FORMAT;
}

/* ---- the tools block ---- */

static void add_described(hd_buf *out, hd_str ns_description, hd_str own)
{
    hd_buf both;
    hd_buf_init(&both, MAX_SCHEMA_BYTES);
    hd_buf_add_str(&both, ns_description);
    hd_buf_addc(&both, '\n');
    hd_buf_add_str(&both, own);
    if (both.status != HD_OK) out->status = both.status;
    hd_jsonw_str(out, hd_buf_str(&both));
    hd_buf_deinit(&both);
}

/* The function of a tool that may live in a namespace: its name becomes "ns::name", the
 * description of the namespace goes in front of its own, the member `namespace` is left out. */
static hd_status add_namespaced(hd_buf *out, const hd_chat_rules *rules, const hd_json *tool,
                                hd_err *err)
{
    hd_str ns_description;
    hd_buf name;
    hd_buf_init(&name, MAX_NAME_BYTES);
    hd_status status = printed_name(rules, tool, &name, &ns_description, err);
    bool is_first = true, is_described = ns_description.len == 0;
    const hd_json *function = hd_json_get(tool, "function");
    hd_buf_addc(out, '{');
    for (const hd_json *m = function->child; m && status == HD_OK; m = m->next) {
        if (hd_str_eqz(m->key, "namespace")) continue;
        hd_buf_addz(out, is_first ? "" : ", ");
        is_first = false;
        hd_jsonw_str(out, m->key);
        hd_buf_addz(out, ": ");
        if (hd_str_eqz(m->key, "name")) {
            hd_jsonw_str(out, hd_buf_str(&name));
        } else if (hd_str_eqz(m->key, "description") && !is_described) {
            hd_str own = {0};
            if (m->kind != HD_JSON_NULL)
                status = hd_json_get_str(function, "description", &own, err);
            add_described(out, ns_description, own);
            is_described = true;
        } else {
            hd_jsonw_value(out, m);
        }
    }
    if (!is_described && status == HD_OK) {
        hd_buf_addz(out, ", \"description\": "); /* behind the name at least */
        add_described(out, ns_description, (hd_str){0});
    }
    hd_buf_addc(out, '}');
    hd_buf_deinit(&name);
    return status;
}

hd_status hd_dsml_add_tools(hd_prompt *out, const hd_chat_rules *rules, const hd_json *tools,
                            hd_err *err)
{
    hd_status status = HD_OK;
    hd_buf schema;
    hd_buf_init(&schema, MAX_SCHEMA_BYTES);
    add_template(out, rules, hd_chat_tools_head);
    for (const hd_json *tool = tools->child; tool; tool = tool->next) {
        HD_TRY_GOTO(status, out, check_function(tool, err));
        hd_buf_reset(&schema);
        if (rules->has_namespaces)
            HD_TRY_GOTO(status, out, add_namespaced(&schema, rules, tool, err));
        else
            hd_jsonw_value(&schema, hd_json_get(tool, "function"));
        HD_TRY_GOTO(status, out, hd_buf_status(&schema, "a tool's schema", err));
        hd_prompt_add(out, hd_buf_str(&schema));
        hd_prompt_addz(out, "\n");
    }
    add_template(out, rules, hd_chat_tools_tail);
out:
    hd_buf_deinit(&schema);
    return status;
}

void hd_dsml_add_tool_lines(hd_prompt *out, const hd_chat_rules *rules, hd_str lines)
{
    add_template(out, rules, hd_chat_tools_head);
    hd_prompt_add(out, lines);
    add_template(out, rules, hd_chat_tools_tail);
}

/* ---- the calls block ---- */

/* One parameter on a line of its own. Strings go in raw, all else as JSON. */
static hd_status add_parameter(hd_prompt *out, const hd_chat_rules *rules, hd_str name,
                               const hd_json *value, hd_jsonw_numbers numbers, hd_err *err)
{
    bool is_string = value->kind == HD_JSON_STRING;
    add_tag(out, "<", rules->parameter);
    hd_prompt_addz(out, " name=\"");
    hd_prompt_add(out, name);
    hd_prompt_addz(out, is_string ? "\" string=\"true\">" : "\" string=\"false\">");
    hd_status status = HD_OK;
    if (is_string) {
        hd_prompt_add(out, value->text);
    } else {
        hd_buf json;
        hd_buf_init(&json, MAX_SCHEMA_BYTES);
        hd_jsonw_value_as(&json, value, numbers);
        hd_prompt_add(out, hd_buf_str(&json));
        status = hd_buf_status(&json, "a call's arguments", err);
        hd_buf_deinit(&json);
    }
    add_tag(out, "</", rules->parameter);
    hd_prompt_addz(out, ">\n");
    return status;
}

/* Parse a JSON string as Python would; *out is NULL when it is no JSON. */
static hd_status parse_arguments(hd_str text, hd_arena *arena, const hd_json **out, hd_err *err)
{
    static const hd_json_opts opts = {.max_depth = MAX_ARGUMENTS_DEPTH,
                                      .allow_duplicates = true,
                                      .python_constants = true,
                                      .max_int_digits = 4300};
    hd_status status = hd_json_parse(text, &opts, arena, out, err);
    return status == HD_E_FORMAT || status == HD_E_LIMIT ? HD_OK : status;
}

/* The object that `arguments` stands for; NULL when it stands for none. */
static hd_status arguments_object(const hd_chat_rules *rules, const hd_json *arguments,
                                  hd_arena *arena, const hd_json **out, hd_err *err)
{
    const hd_json *value = arguments;
    int parses = rules->reads_object_args ? 2 : 1;
    while (value && value->kind == HD_JSON_STRING && parses-- > 0)
        HD_TRY(parse_arguments(value->text, arena, &value, err));
    bool is_object = value && value->kind == HD_JSON_OBJECT;
    if (value == arguments && !rules->reads_object_args) is_object = false;
    *out = is_object ? value : NULL;
    return HD_OK;
}

static hd_status add_arguments(hd_prompt *out, const hd_chat_rules *rules, const hd_json *function,
                               hd_err *err)
{
    const hd_json *arguments = hd_json_get(function, "arguments"), *object = NULL;
    if (!arguments) return HD_OK; /* called without any */
    hd_arena arena;
    hd_arena_init(&arena, MAX_ARGUMENTS_BYTES);
    hd_status status = arguments_object(rules, arguments, &arena, &object, err);
    if (status == HD_OK && !object)
        status = add_parameter(out, rules, HD_STR("arguments"), arguments, HD_NUMBERS_PYTHON, err);
    for (const hd_json *m = object ? object->child : NULL; m && status == HD_OK; m = m->next)
        status = add_parameter(out, rules, m->key, m, HD_NUMBERS_PYTHON, err);
    hd_arena_deinit(&arena);
    return status;
}

static void open_call(hd_prompt *out, const hd_chat_rules *rules, hd_str name)
{
    add_tag(out, "<", rules->invoke);
    hd_prompt_addz(out, " name=\"");
    hd_prompt_add(out, name);
    hd_prompt_addz(out, "\">\n");
}

static void close_call(hd_prompt *out, const hd_chat_rules *rules)
{
    add_tag(out, "</", rules->invoke);
    hd_prompt_addz(out, ">\n");
}

static hd_status add_call(hd_prompt *out, const hd_chat_rules *rules, const hd_json *call,
                          hd_buf *name, hd_err *err)
{
    hd_str unused;
    HD_TRY(check_function(call, err));
    hd_buf_reset(name);
    HD_TRY(printed_name(rules, call, name, &unused, err));
    open_call(out, rules, hd_buf_str(name));
    size_t before = out->text.len;
    HD_TRY(add_arguments(out, rules, hd_json_get(call, "function"), err));
    if (out->text.len == before) hd_prompt_addz(out, "\n"); /* no parameter: an empty line */
    close_call(out, rules);
    return HD_OK;
}

void hd_dsml_open_calls(hd_prompt *out, const hd_chat_rules *rules)
{
    add_tag(out, "<", rules->calls);
    hd_prompt_addz(out, ">\n");
}

void hd_dsml_close_calls(hd_prompt *out, const hd_chat_rules *rules)
{
    add_tag(out, "</", rules->calls);
    hd_prompt_addz(out, ">");
}

hd_status hd_dsml_add_calls(hd_prompt *out, const hd_chat_rules *rules, const hd_json *calls,
                            hd_err *err)
{
    hd_buf name;
    hd_status status = HD_OK;
    hd_buf_init(&name, MAX_NAME_BYTES);
    hd_dsml_open_calls(out, rules);
    for (const hd_json *call = calls->child; call && status == HD_OK; call = call->next)
        status = add_call(out, rules, call, &name, err);
    hd_dsml_close_calls(out, rules);
    hd_buf_deinit(&name);
    return status;
}

/* ---- calls as the service writes them ---- */

/* Whether each number of a tree has a finite value; walks by the parent links. */
static bool all_finite(const hd_json *root)
{
    const hd_json *v = root;
    for (;;) {
        double x;
        if (v->kind == HD_JSON_NUMBER && (!hd_json_number_f64(v->text, &x) || isinf(x)))
            return false;
        if (v->child) {
            v = v->child;
            continue;
        }
        while (v != root && !v->next) v = v->parent;
        if (v == root) return true;
        v = v->next;
    }
}

static hd_status parse_service_arguments(hd_str text, hd_arena *arena, const hd_json **out,
                                         hd_err *err)
{
    static const hd_json_opts opts = {.max_depth = MAX_SERVICE_DEPTH, .allow_duplicates = true};
    *out = NULL;
    hd_status status = hd_json_parse(text, &opts, arena, out, err);
    bool is_object = status == HD_OK && (*out)->kind == HD_JSON_OBJECT && all_finite(*out);
    if (!is_object) *out = NULL;
    return status == HD_E_FORMAT || status == HD_E_LIMIT ? HD_OK : status;
}

hd_status hd_dsml_add_text_call(hd_prompt *out, const hd_chat_rules *rules, hd_str name,
                                hd_str arguments, hd_err *err)
{
    const hd_json *object, raw = {.kind = HD_JSON_STRING, .text = arguments};
    hd_jsonw_numbers numbers = rules->service_numbers;
    hd_arena arena;
    hd_arena_init(&arena, MAX_ARGUMENTS_BYTES);
    open_call(out, rules, name);
    hd_status status = parse_service_arguments(arguments, &arena, &object, err);
    if (status == HD_OK && !object)
        status = add_parameter(out, rules, HD_STR("arguments"), &raw, numbers, err);
    if (object && !object->child && !rules->service_skips_line) hd_prompt_addz(out, "\n");
    for (const hd_json *m = object ? object->child : NULL; m && status == HD_OK; m = m->next)
        status = add_parameter(out, rules, m->key, m, numbers, err);
    close_call(out, rules);
    hd_arena_deinit(&arena);
    return status;
}
