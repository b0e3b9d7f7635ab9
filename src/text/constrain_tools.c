/* Calls of tools: the DSML block with the names and parameters that are offered.
 *
 * Behind the DSML token of the block's opening tag everything is fixed but the choice of the tool,
 * of its parameters and their values. The register of a tool's rule holds which parameters were
 * written. A string parameter is raw text up to its closing tag; what else a schema allows is JSON;
 * a schema that allows both leaves the choice to the model's string="...". */
#include "base/utf8.h"
#include "text/constrain_build.h"

#define MAX_TOOLS 512

typedef struct tool {
    hd_str name;
    const hd_json *parameters; /* NULL: anything goes */
    bool has_none;             /* no parameters at all */
    hd_use use;
} tool;

typedef struct block {
    hd_cc *cc;
    const hd_grammar_source *source;
    const hd_chat_rules *rules;
} block;

/* Text in which the DSML token stands for itself: `tag` behind it. */
static uint32_t tag(block *b, uint32_t from, const char *open, const char *name, const char *rest)
{
    from = hd_cc_token(b->cc, hd_cc_textz(b->cc, from, open), b->cc->ids.dsml, 0);
    return hd_cc_textz(b->cc, hd_cc_textz(b->cc, from, name), rest);
}

/* ---- parameters ---- */

/* The rest of a parameter behind its name: ' string="..."', value, closing tag and line feed. */
static bool draw_value(block *b, hd_cc_schema *s, const hd_json *schema, uint32_t from, uint32_t to)
{
    hd_cc *cc = b->cc;
    static const hd_json anything = {.kind = HD_JSON_BOOL, .truth = true};
    uint32_t raw = hd_cc_textz(cc, from, " string=\"true\">");
    uint32_t json = hd_cc_textz(cc, from, " string=\"false\">");
    uint32_t raw_end = hd_cc_node(cc), json_end = hd_cc_node(cc);
    if (!schema) schema = &anything;
    bool any = hd_cc_schema_part(s, schema, HD_PART_RAW_STRING, raw, raw_end);
    any |= hd_cc_schema_part(s, schema, HD_PART_NONSTRING, json, json_end);
    raw_end = hd_cc_textz(cc, hd_cc_textz(cc, raw_end, b->rules->parameter), ">\n");
    hd_cc_empty(cc, raw_end, to);
    hd_cc_empty(cc, tag(b, json_end, "</", b->rules->parameter, ">\n"), to);
    return any;
}

/* The rule of one parameter's value, so that its own acts have a register of their own. */
static hd_use value_rule(block *b, hd_cc_schema *s, const hd_json *schema)
{
    uint32_t from = hd_cc_node(b->cc), to = hd_cc_node(b->cc), rule = hd_cc_declare(b->cc);
    if (!draw_value(b, s, schema, from, to))
        hd_cc_fail(b->cc, HD_E_FORMAT, "no value can match this parameter's schema");
    hd_cc_define(b->cc, rule, from, to);
    return (hd_use){rule, 0};
}

typedef struct parameters {
    hd_cc_member member[HD_BITS_MAX];
    hd_use value[HD_BITS_MAX];
    size_t n;
    hd_use other_value; /* if is_open */
    bool is_open;
} parameters;

static const hd_json *declared(const tool *t)
{
    const hd_json *p = t->parameters ? hd_json_get(t->parameters, "properties") : NULL;
    return p && p->kind == HD_JSON_OBJECT ? p : NULL;
}

/* Make the rules of all values; no drawing may be in progress. */
static void prepare(block *b, hd_cc_schema *s, const tool *t, parameters *p)
{
    const hd_json *others = t->parameters ? hd_cc_schema_others(t->parameters) : NULL;
    const hd_json *place = b->cc->place;
    p->n = 0;
    for (const hd_json *c = declared(t) ? declared(t)->child : NULL; c && b->cc->status == HD_OK;
         c = c->next) {
        if (c->kind == HD_JSON_BOOL && !c->truth) continue;
        b->cc->place = c;
        p->member[p->n] = (hd_cc_member){c->key, 0, (hd_bits)1 << p->n};
        p->value[p->n++] = value_rule(b, s, c);
    }
    b->cc->place = place;
    p->is_open = !t->has_none && (!t->parameters || others);
    if (p->is_open) p->other_value = value_rule(b, s, others);
}

/* Everything between a tool's name and the DSML token of </invoke>. */
static void draw_parameters(block *b, parameters *p, uint32_t from, uint32_t to, hd_bits all)
{
    hd_cc *cc = b->cc;
    uint16_t done = hd_cc_act(cc, HD_ACT_DONE, 0);
    uint16_t any = p->is_open ? 0 : hd_cc_act(cc, HD_ACT_ANY, all);
    uint32_t first = hd_cc_textz(cc, from, "\">\n"), loop = hd_cc_node(cc), name = hd_cc_node(cc);
    /* A call without parameters has an empty line, which models leave out at times. */
    uint32_t empty = hd_cc_byte(cc, hd_cc_byte(cc, first, '\n', done), '<', 0);
    hd_cc_bytes(cc, empty, to, '/', '/', done);
    hd_cc_empty(cc, first, loop);
    uint32_t open = hd_cc_byte(cc, loop, '<', 0);
    hd_cc_bytes(cc, open, to, '/', '/', done);
    if (p->n == 0 && !p->is_open) return;
    uint32_t at = hd_cc_token(cc, open, cc->ids.dsml, any);
    at = hd_cc_textz(cc, hd_cc_textz(cc, at, b->rules->parameter), " name=\"");
    hd_cc_empty(cc, at, name);
    for (size_t i = 0; i < p->n; i++) {
        p->member[i].to = hd_cc_node(cc);
        hd_cc_call_to(cc, p->member[i].to, loop, p->value[i]);
    }
    hd_cc_members(cc, name, p->member, p->n);
    if (!p->is_open) return;
    uint32_t other = hd_cc_other_names(cc, p->member, p->n, cc->rules.name_body);
    hd_cc_call_to(cc, hd_cc_call(cc, name, (hd_use){other, 0}), loop, p->other_value);
}

/* ---- tools ---- */

/* A name or key that would end its own attribute, or the tag. */
static bool is_unspeakable(hd_str name)
{
    for (size_t i = 0; i < name.len; i++)
        if ((uint8_t)name.ptr[i] < 0x20 || strchr("\"<>", name.ptr[i])) return true;
    return name.len == 0;
}

/* Something that cannot be held to: fails if strict; else the tool takes any parameters. */
static void loosen(hd_cc_schema *s, tool *t, hd_status code, const char *what)
{
    if (s->strict)
        hd_cc_fail(s->cc, code, "tool '%.*s' %s", HD_STR_ARG(hd_utf8_cut(t->name, 64)), what);
    else
        hd_cc_warn(s->cc, "tool '%.*s' %s: any parameters are accepted",
                   HD_STR_ARG(hd_utf8_cut(t->name, 64)), what);
    t->parameters = NULL;
}

static void check_names(hd_cc_schema *s, tool *t)
{
    const hd_json *p = declared(t);
    if (p && p->n > HD_BITS_MAX) {
        loosen(s, t, HD_E_LIMIT, "has too many parameters");
        return;
    }
    for (const hd_json *c = p ? p->child : NULL; c; c = c->next)
        if (is_unspeakable(c->key)) {
            loosen(s, t, HD_E_UNSUPPORTED,
                   "has a parameter name with a quote, an angle bracket or a control character");
            return;
        }
}

/* What the parameters' schema says at its top: it must describe an object. */
static void read_parameters(hd_cc_schema *s, tool *t, const hd_json *schema)
{
    t->has_none = schema == NULL;
    if (!schema || schema->kind == HD_JSON_NULL) {
        t->has_none = true;
        return;
    }
    if (schema->kind != HD_JSON_OBJECT) {
        hd_cc_fail(s->cc, HD_E_FORMAT, "'parameters' must be an object");
        return;
    }
    schema = hd_cc_schema_resolve(s, schema);
    if (!schema || s->cc->status != HD_OK || !hd_cc_schema_known(s, schema)) return;
    const hd_json *type = hd_json_get(schema, "type");
    if (hd_json_get(schema, "anyOf") || hd_json_get(schema, "oneOf") ||
        (type && !(type->kind == HD_JSON_STRING && hd_str_eqz(type->text, "object")))) {
        loosen(s, t, HD_E_UNSUPPORTED, "has parameters that are not one object");
        return;
    }
    t->parameters = schema;
    check_names(s, t);
}

static hd_spec parameter_spec(hd_cc_schema *s, const tool *t)
{
    hd_spec spec = {.is_object = true};
    const hd_json *p = declared(t);
    unsigned i = 0;
    for (const hd_json *c = p ? p->child : NULL; c && i < HD_BITS_MAX; c = c->next) {
        if (c->kind == HD_JSON_BOOL && !c->truth) continue;
        hd_bits bit = (hd_bits)1 << i++;
        spec.all |= bit;
        if (hd_cc_schema_requires(t->parameters, c->key)) spec.required |= bit;
    }
    const hd_json *list = t->parameters ? hd_json_get(t->parameters, "required") : NULL;
    for (const hd_json *x = list ? list->child : NULL; x; x = x->next) {
        if (x->kind == HD_JSON_STRING && hd_cc_schema_has(t->parameters, x->text)) continue;
        if (s->strict)
            hd_cc_fail(s->cc, HD_E_FORMAT, "'required' names what is not declared");
        else
            hd_cc_warn(s->cc, "'required' names what is not declared: ignored");
    }
    return spec;
}

/* The rule of a tool: its parameters. */
static void define_tool(block *b, hd_cc_schema *s, tool *t, const hd_json *schema)
{
    hd_cc *cc = b->cc;
    parameters *p = hd_arena_try_alloc(cc->arena, 1, sizeof *p);
    if (!p) {
        hd_cc_fail(cc, HD_E_NOMEM, "out of memory for a grammar");
        return;
    }
    cc->place = schema;
    read_parameters(s, t, schema);
    if (is_unspeakable(t->name))
        loosen(s, t, HD_E_UNSUPPORTED,
               "has a name with a quote, an angle bracket or a control character");
    if (cc->status != HD_OK) return;
    hd_spec spec = parameter_spec(s, t);
    prepare(b, s, t, p);
    hd_cc_schema_finish(s);
    uint32_t from = hd_cc_node(cc), to = hd_cc_node(cc);
    draw_parameters(b, p, from, to, spec.all);
    t->use = (hd_use){hd_cc_declare(cc), hd_cc_spec(cc, &spec)};
    /* `p->member` is sorted by now; bits are places in `p->value`. */
    for (size_t i = 0; i < p->n && cc->status == HD_OK; i++)
        if (spec.required >> i & 1) hd_cc_need(cc, p->value[i].rule);
    hd_cc_define(cc, t->use.rule, from, to);
}

static bool is_wanted(const hd_grammar_source *source, hd_str name)
{
    return source->choice != HD_TOOLS_NAMED || hd_str_eq(source->tool_name, name);
}

/* Read one element of the list; the tool's schemas get a world of their own, because "#" means its
 * parameters. */
static void add_tool(block *b, const hd_json *item, tool *t)
{
    hd_cc *cc = b->cc;
    const hd_json *f = hd_json_get(item, "function"), *strict;
    if (!f) f = item;
    const hd_json *name = hd_json_get(f, "name"), *schema = hd_json_get(f, "parameters");
    cc->place = item;
    if (!name || name->kind != HD_JSON_STRING) {
        hd_cc_fail(cc, HD_E_FORMAT, "a tool must have a 'name' that is a string");
        return;
    }
    t->name = name->text;
    if (!is_wanted(b->source, t->name)) return;
    strict = hd_json_get(f, "strict");
    bool is_strict = strict && strict->kind == HD_JSON_BOOL && strict->truth;
    hd_cc_schema *s = hd_cc_schema_new(cc, schema, b->source->strict || is_strict, true);
    if (s) define_tool(b, s, t, schema);
}

/* ---- the block ---- */

/* From behind the first DSML token, or from behind its tag, to behind the block: all calls. */
static void draw_block(block *b, const tool *t, size_t n, uint32_t from, uint32_t to)
{
    hd_cc *cc = b->cc;
    uint32_t at = from;
    if (!b->source->in_block) at = hd_cc_textz(cc, hd_cc_textz(cc, at, b->rules->calls), ">\n");
    at = hd_cc_byte(cc, at, '<', 0);
    uint32_t invoke = hd_cc_node(cc), end = hd_cc_node(cc);
    hd_cc_token_to(cc, at, invoke, cc->ids.dsml, 0);
    uint32_t name = hd_cc_textz(cc, hd_cc_textz(cc, invoke, b->rules->invoke), " name=\"");
    for (size_t i = 0; i < n && hd_cc_ok(cc); i++)
        if (is_wanted(b->source, t[i].name))
            hd_cc_call_to(cc, hd_cc_text(cc, name, t[i].name), end, t[i].use);
    end = hd_cc_token(cc, end, cc->ids.dsml, 0);
    end = hd_cc_textz(cc, hd_cc_textz(cc, end, b->rules->invoke), ">\n<");
    if (!b->source->one_call) hd_cc_token_to(cc, end, invoke, cc->ids.dsml, 0);
    end = hd_cc_token(cc, hd_cc_byte(cc, end, '/', 0), cc->ids.dsml, 0);
    hd_cc_empty(cc, hd_cc_textz(cc, hd_cc_textz(cc, end, b->rules->calls), ">"), to);
}

hd_use hd_cc_tools(hd_cc *cc, const hd_json *tools, const hd_grammar_source *source)
{
    block b = {cc, source, source->rules};
    hd_use use = {0};
    bool found = false;
    cc->place = tools;
    if (tools->kind != HD_JSON_ARRAY || tools->n == 0 || tools->n > MAX_TOOLS) {
        hd_cc_fail(cc, tools->n > MAX_TOOLS ? HD_E_LIMIT : HD_E_FORMAT,
                   "tools must be an array of 1 to %d", MAX_TOOLS);
        return use;
    }
    if (cc->ids.dsml < 0) {
        hd_cc_fail(cc, HD_E_UNSUPPORTED, "the vocabulary has no token '" HD_TOKEN_DSML "'");
        return use;
    }
    tool *t = hd_arena_try_alloc(cc->arena, tools->n, sizeof *t);
    if (!t) {
        hd_cc_fail(cc, HD_E_NOMEM, "out of memory for a grammar");
        return use;
    }
    size_t n = 0;
    for (const hd_json *c = tools->child; c && hd_cc_ok(cc); c = c->next, n++) {
        add_tool(&b, c, &t[n]);
        found |= is_wanted(source, t[n].name);
    }
    cc->place = NULL;
    if (cc->status == HD_OK && !found) {
        hd_cc_fail(cc, HD_E_NOTFOUND, "no tool is named '%.*s'",
                   HD_STR_ARG(hd_utf8_cut(source->tool_name, 64)));
        return use;
    }
    uint32_t from = hd_cc_node(cc), to = hd_cc_node(cc);
    use.rule = hd_cc_declare(cc);
    draw_block(&b, t, n, from, to);
    hd_cc_define(cc, use.rule, from, to);
    return use;
}
