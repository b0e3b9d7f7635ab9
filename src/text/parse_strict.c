/* The published parser: see parse_strict.h. */
#include "text/parse_strict.h"

#include <stdio.h>

#include "base/jsonw.h"
#include "base/strmap.h"
#include "base/utf8.h"

#define MAX_ARGUMENTS_BYTES ((size_t)512 << 20)

/* A call on its way through the list. */
typedef struct link {
    struct link *next;
    hd_parsed_call call;
} link;

typedef struct reader {
    hd_str text;
    size_t at;
    const hd_chat_rules *rules;
    hd_arena *arena;
    hd_err *err;
    char open_calls[32], close_calls[32];   /* "\n\n<｜DSML｜tool_calls", "</｜DSML｜tool_calls>" */
    char open_invoke[32], close_invoke[32]; /* "<｜DSML｜invoke", "</｜DSML｜invoke" */
    char open_param[32], close_param[32];   /* "<｜DSML｜parameter", "/｜DSML｜parameter" */
    hd_strmap keys;                         /* of the current call */
    hd_buf arguments;                       /* of the current call */
    link *first, *last;
    size_t n_calls;
} reader;

#define REFUSE(r, ...) HD_FAIL((r)->err, HD_E_FORMAT, __VA_ARGS__)

/* Read up to and over whichever of two delimiters comes first.
 * @param found 0 or 1 for the delimiter; -1 if there is none, then all the rest is read. */
static hd_str read_until(reader *r, const char *a, const char *b, int *found)
{
    hd_str delimiters[] = {hd_str_from(a), hd_str_from(b)};
    size_t ends[] = {hd_str_find(r->text, delimiters[0], r->at),
                     hd_str_find(r->text, delimiters[1], r->at)};
    *found = ends[0] <= ends[1] ? 0 : 1;
    size_t end = ends[*found];
    hd_str read = {r->text.ptr + r->at, end - r->at};
    if (end == r->text.len)
        *found = -1;
    else
        end += delimiters[*found].len;
    r->at = end;
    return read;
}

/* Prose must not hold control tokens; only these are looked for. */
static hd_status check_prose(reader *r, hd_str prose)
{
    static const char *const tokens[] = {HD_TOKEN_BOS, HD_TOKEN_EOS, HD_TOKEN_THINK,
                                         HD_TOKEN_END_THINK, HD_TOKEN_DSML};
    for (size_t i = 0; i < HD_COUNT(tokens); i++)
        if (hd_str_find(prose, hd_str_from(tokens[i]), 0) < prose.len)
            REFUSE(r, "token '%s' inside reasoning or content", tokens[i]);
    return HD_OK;
}

/* ---- calls ---- */

static hd_status add_parameter(reader *r, hd_str key, bool is_string, hd_str value)
{
    bool is_new;
    if (!hd_strmap_try_put(&r->keys, key, &is_new))
        HD_FAIL(r->err, HD_E_NOMEM, "out of memory for parameter names");
    if (!is_new) REFUSE(r, "parameter '%.*s' is given twice", HD_STR_ARG(hd_utf8_cut(key, 64)));
    hd_buf_addz(&r->arguments, r->keys.n > 1 ? ", " : "{");
    hd_jsonw_str(&r->arguments, key);
    hd_buf_addz(&r->arguments, ": ");
    if (is_string)
        hd_jsonw_str(&r->arguments, value);
    else
        hd_buf_add_str(&r->arguments, value);
    return HD_OK;
}

/* ` name="KEY" string="true|false">VALUE<`, the text between two parameter tags. */
static hd_status read_parameter(reader *r, hd_str s)
{
    static const hd_str head = {" name=\"", 7};
    hd_str mark = HD_STR("\" string=\"true\">");
    if (!hd_str_starts(s, head) || !hd_str_ends(s, HD_STR("<")))
        REFUSE(r, "expected ' name=\"…\" string=\"…\">…<' in a parameter");
    s = hd_str_skip(s, head.len);
    s.len--;
    size_t is_true = hd_str_find(s, mark, 0);
    size_t is_false = hd_str_find(s, HD_STR("\" string=\"false\">"), 0);
    bool is_string = is_true <= is_false;
    size_t at = is_string ? is_true : is_false;
    if (at == s.len) REFUSE(r, "expected 'string=\"true\"' or 'string=\"false\"' in a parameter");
    return add_parameter(r, (hd_str){s.ptr, at}, is_string,
                         hd_str_skip(s, at + mark.len + !is_string));
}

/* ` name="NAME">` and one or two line feeds. */
static hd_status read_name(reader *r, hd_str s, hd_str *name)
{
    while (s.len && strchr(" \t\n\r\f\v", s.ptr[0]) && s.ptr[0]) s = hd_str_skip(s, 1);
    if (hd_str_ends(s, HD_STR("\">\n\n"))) s.len--;
    if (s.len < 9 || !hd_str_starts(s, HD_STR("name=\"")) || !hd_str_ends(s, HD_STR("\">\n")))
        REFUSE(r, "expected 'name=\"…\">' and a line feed in a call");
    *name = (hd_str){s.ptr + 6, s.len - 9};
    return HD_OK;
}

static hd_status split_name(reader *r, hd_parsed_call *call)
{
    if (!r->rules->has_namespaces) return HD_OK;
    size_t at = hd_str_find(call->name, HD_STR("::"), 0);
    if (at == call->name.len) return HD_OK;
    call->has_space = true;
    call->space = (hd_str){call->name.ptr, at};
    call->name = hd_str_skip(call->name, at + 2);
    if (hd_str_find(call->name, HD_STR("::"), 0) < call->name.len)
        REFUSE(r, "tool name '%.*s' must not contain '::'",
               HD_STR_ARG(hd_utf8_cut(call->name, 64)));
    return HD_OK;
}

static hd_status append_call(reader *r, hd_parsed_call call)
{
    hd_buf_addz(&r->arguments, r->keys.n ? "}" : "{}");
    HD_TRY(hd_buf_status(&r->arguments, "a call's arguments", r->err));
    call.arguments = hd_arena_dup(r->arena, hd_buf_str(&r->arguments));
    link *l = hd_arena_try_alloc(r->arena, 1, sizeof *l);
    if (!l || !call.arguments.ptr) HD_FAIL(r->err, HD_E_NOMEM, "out of memory for the calls");
    l->call = call;
    if (r->last)
        r->last->next = l;
    else
        r->first = l;
    r->last = l;
    r->n_calls++;
    return HD_OK;
}

/* A call, from behind "<｜DSML｜invoke" to behind "</｜DSML｜invoke". */
static hd_status read_call(reader *r)
{
    int found;
    hd_parsed_call call = {0};
    hd_buf_reset(&r->arguments);
    hd_strmap_reset(&r->keys);
    hd_str head = read_until(r, r->open_param, r->close_invoke, &found);
    HD_TRY(read_name(r, head, &call.name));
    while (found == 0) {
        HD_TRY(read_parameter(r, read_until(r, r->close_param, r->close_param, &found)));
        if (found < 0) REFUSE(r, "parameter without an end");
        hd_str between = read_until(r, r->open_param, r->close_invoke, &found);
        if (!hd_str_eqz(between, ">\n"))
            REFUSE(r, "expected '>' and a line feed after a parameter");
    }
    if (found < 0) REFUSE(r, "call without an end");
    HD_TRY(split_name(r, &call));
    return append_call(r, call);
}

/* From behind the marker that opens the block. Text may end there, and after any call. */
static hd_status read_calls(reader *r)
{
    while (r->at < r->text.len) {
        int found;
        hd_str between = read_until(r, r->open_invoke, r->close_calls, &found);
        if (!hd_str_eqz(between, ">\n"))
            REFUSE(r, "expected '>' and a line feed between the tags of calls");
        if (found == 1) break;
        if (found < 0) REFUSE(r, "calls without an end");
        HD_TRY(read_call(r));
    }
    hd_str rest = hd_str_skip(r->text, r->at);
    if (rest.len && !hd_str_eqz(rest, HD_TOKEN_EOS)) REFUSE(r, "text after the calls");
    return HD_OK;
}

/* ---- the answer ---- */

static hd_status read_answer(reader *r, bool thinks, hd_parsed *out)
{
    int found;
    if (thinks) {
        out->reasoning = read_until(r, HD_TOKEN_END_THINK, r->open_calls, &found);
        if (found != 0) REFUSE(r, "reasoning without '" HD_TOKEN_END_THINK "'");
    }
    out->content = read_until(r, HD_TOKEN_EOS, r->open_calls, &found);
    if (found < 0) REFUSE(r, "no '" HD_TOKEN_EOS "' at the end");
    if (found == 0 && r->at < r->text.len) REFUSE(r, "text after '" HD_TOKEN_EOS "'");
    if (found == 1) HD_TRY(read_calls(r));
    HD_TRY(check_prose(r, out->reasoning));
    return check_prose(r, out->content);
}

static void make_tag(char out[32], const char *open, const char *name, const char *end)
{
    snprintf(out, 32, "%s" HD_TOKEN_DSML "%s%s", open, name, end);
}

hd_status hd_parse_strict(hd_str text, const hd_chat_rules *rules, bool thinks, hd_arena *arena,
                          hd_parsed *out, hd_err *err)
{
    if (text.len == 0) text = HD_STR(""); /* slices of it must point somewhere */
    reader r = {.text = text, .rules = rules, .arena = arena, .err = err};
    *out = (hd_parsed){0};
    make_tag(r.open_calls, "\n\n<", rules->calls, "");
    make_tag(r.close_calls, "</", rules->calls, ">");
    make_tag(r.open_invoke, "<", rules->invoke, "");
    make_tag(r.close_invoke, "</", rules->invoke, "");
    make_tag(r.open_param, "<", rules->parameter, "");
    make_tag(r.close_param, "/", rules->parameter, "");
    hd_strmap_init(&r.keys);
    hd_buf_init(&r.arguments, MAX_ARGUMENTS_BYTES);
    hd_status status = read_answer(&r, thinks, out);
    if (status == HD_OK) {
        out->calls = hd_arena_try_alloc(arena, r.n_calls, sizeof *out->calls);
        if (!out->calls) status = HD_SET_ERR(err, HD_E_NOMEM, "out of memory for the calls");
    }
    if (status == HD_OK)
        for (const link *l = r.first; l; l = l->next) out->calls[out->n_calls++] = l->call;
    hd_buf_deinit(&r.arguments);
    hd_strmap_deinit(&r.keys);
    return status;
}
