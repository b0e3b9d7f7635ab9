/* Scoring: see eval_score.h. */
#include "cli/eval_score.h"

#include "cli/eval_schema.h"
#include "text/parse_strict.h"

#define MAX_TEXT_BYTES ((size_t)1 << 26)
#define MAX_TREE_BYTES ((size_t)1 << 30)

/* A call as the forgiving parser saw it. */
typedef struct call {
    hd_str name;
    const hd_json *arguments; /* NULL: cut off, or no JSON */
} call;

/* An answer taken apart. */
typedef struct reading {
    const hd_eval_row *row;
    const hd_eval_output *answer;
    hd_arena arena;
    hd_buf content, arguments, calls; /* calls: struct call [n] */
    bool is_closed;                   /* reasoning is not open any more */
} reading;

static void init_reading(reading *r, const hd_eval_row *row, const hd_eval_output *answer)
{
    *r = (reading){.row = row, .answer = answer};
    hd_arena_init(&r->arena, MAX_TREE_BYTES);
    hd_buf_init(&r->content, MAX_TEXT_BYTES);
    hd_buf_init(&r->arguments, MAX_TEXT_BYTES);
    hd_buf_init(&r->calls, MAX_TEXT_BYTES);
}

static void deinit_reading(reading *r)
{
    hd_buf_deinit(&r->calls);
    hd_buf_deinit(&r->arguments);
    hd_buf_deinit(&r->content);
    hd_arena_deinit(&r->arena);
}

static call *calls_of(const reading *r, size_t *n)
{
    *n = r->calls.len / sizeof(call);
    return (call *)(void *)r->calls.ptr;
}

/* *out is NULL when the text is no JSON, which is the model's doing and no failure of ours. */
static hd_status parse_json(hd_arena *arena, hd_str text, const hd_json **out, hd_err *err)
{
    hd_str kept = hd_arena_dup(arena, text);
    if (!kept.ptr) HD_FAIL(err, HD_E_NOMEM, "out of memory for an answer");
    hd_status status = hd_json_parse(kept, NULL, arena, out, err);
    if (status == HD_OK) return HD_OK;
    *out = NULL;
    return status == HD_E_NOMEM ? status : HD_OK;
}

/* ---- reading an answer ---- */

static hd_status open_call(reading *r, hd_str name, hd_err *err)
{
    call c = {.name = hd_arena_dup(&r->arena, name)};
    if (!c.name.ptr) HD_FAIL(err, HD_E_NOMEM, "out of memory for an answer");
    hd_buf_add(&r->calls, &c, sizeof c);
    hd_buf_reset(&r->arguments);
    return hd_buf_status(&r->calls, "the calls", err);
}

static hd_status close_call(reading *r, hd_err *err)
{
    size_t n;
    call *all = calls_of(r, &n);
    HD_TRY(hd_buf_status(&r->arguments, "a call's arguments", err));
    return parse_json(&r->arena, hd_buf_str(&r->arguments), &all[n - 1].arguments, err);
}

static hd_status take_event(reading *r, const hd_out_event *e, hd_err *err)
{
    switch (e->kind) {
    case HD_OUT_TEXT: hd_buf_add(&r->content, e->text, e->len); return HD_OK;
    case HD_OUT_TOOL_OPEN: return open_call(r, (hd_str){e->text, e->len}, err);
    case HD_OUT_TOOL_ARGS: hd_buf_add(&r->arguments, e->text, e->len); return HD_OK;
    case HD_OUT_TOOL_CLOSE: return close_call(r, err);
    default: return HD_OK;
    }
}

static hd_status take_events(reading *r, hd_outparse *p, hd_err *err)
{
    hd_out_event e;
    while (hd_outparse_next(p, &e)) HD_TRY(take_event(r, &e, err));
    return HD_OK;
}

static hd_status push_ids(reading *r, hd_outparse *p, hd_err *err)
{
    const hd_eval_output *a = r->answer;
    for (size_t i = 0; i < a->n; i++) {
        HD_TRY(hd_outparse_push(p, a->ids[i], err));
        HD_TRY(take_events(r, p, err));
    }
    HD_TRY(hd_outparse_finish(p, a->has_ended ? HD_FINISH_STOP : HD_FINISH_LENGTH, err));
    HD_TRY(take_events(r, p, err));
    return hd_buf_status(&r->content, "the content", err);
}

static hd_status read_answer(reading *r, hd_tokenizer *t, hd_err *err)
{
    hd_outparse *p;
    int32_t end_think = hd_tokenizer_find(t, HD_TOKEN_END_THINK);
    hd_outparse_opts opts = {.start = r->answer->start,
                             .is_continuation = !hd_json_get(r->row->request, "messages"),
                             .has_tools = hd_eval_has_tools(r->row->request)};
    r->is_closed = opts.start != HD_OUT_START_REASONING;
    for (size_t i = 0; i < r->answer->n; i++)
        if (r->answer->ids[i] == end_think) r->is_closed = true;
    HD_TRY(hd_outparse_create(t, &opts, &p, err));
    hd_status status = push_ids(r, p, err);
    hd_outparse_destroy(p);
    return status;
}

static hd_status decode(const hd_eval_output *a, hd_decoder *d, hd_buf *out, hd_err *err)
{
    const char *text;
    size_t len;
    for (size_t i = 0; i < a->n; i++) {
        HD_TRY(hd_decoder_push(d, a->ids[i], &text, &len, err));
        hd_buf_add(out, text, len);
    }
    HD_TRY(hd_decoder_finish(d, &text, &len, err));
    hd_buf_add(out, text, len);
    return hd_buf_status(out, "the answer's text", err);
}

/* ---- is it valid ---- */

/* The arguments obey the tool's schema, and each of them is known there. */
static bool fits_tool(const hd_json *request, hd_str name, const hd_json *arguments)
{
    const hd_json *tool = hd_eval_find_tool(request, name);
    if (!tool || !arguments || arguments->kind != HD_JSON_OBJECT) return false;
    const hd_json *schema = hd_json_get(tool, "parameters");
    if (!schema) return arguments->n == 0;
    if (!hd_schema_obeys(schema, arguments)) return false;
    if (schema->kind == HD_JSON_BOOL || hd_json_get(schema, "additionalProperties")) return true;
    const hd_json *known = hd_json_get(schema, "properties");
    for (const hd_json *a = arguments->child; a; a = a->next) {
        const hd_json *k = known ? known->child : NULL;
        while (k && !hd_str_eq(k->key, a->key)) k = k->next;
        if (!k) return false;
    }
    return true;
}

static hd_status check_calls(reading *r, const hd_parsed *parsed, bool *valid, hd_err *err)
{
    bool has_to_call = r->row->kind == HD_EVAL_CALLS && r->row->want->n > 0;
    *valid = parsed->n_calls > 0 || !has_to_call;
    for (size_t i = 0; i < parsed->n_calls && *valid; i++) {
        const hd_json *arguments;
        HD_TRY(parse_json(&r->arena, parsed->calls[i].arguments, &arguments, err));
        *valid = fits_tool(r->row->request, parsed->calls[i].name, arguments);
    }
    return HD_OK;
}

static hd_str text_or_empty(const hd_json *node)
{
    return node && node->kind == HD_JSON_STRING ? node->text : HD_STR("");
}

static const hd_chat_rules *rules_of(const hd_json *request)
{
    const hd_json *options = hd_json_get(request, "options");
    return hd_chat_rules_find(text_or_empty(hd_json_get(request, "version")),
                              text_or_empty(hd_json_get(options, "release")));
}

/* The published parser accepts the answer as a whole, and its calls fit the tools offered. Where
 * calls are expected, one at least is there: silence is no valid call. */
static hd_status check_markup(reading *r, hd_str text, bool *valid, hd_err *err)
{
    hd_parsed parsed;
    hd_buf whole;
    const hd_chat_rules *rules = rules_of(r->row->request);
    *valid = false;
    if (!rules) HD_FAIL(err, HD_E_UNSUPPORTED, "no such version or release of the chat format");
    hd_buf_init(&whole, MAX_TEXT_BYTES);
    hd_buf_add_str(&whole, text);
    if (r->answer->has_ended) hd_buf_addz(&whole, HD_TOKEN_EOS);
    hd_status status = hd_buf_status(&whole, "the answer's text", err);
    bool thinks = r->answer->start == HD_OUT_START_REASONING;
    if (status == HD_OK)
        status = hd_parse_strict(hd_buf_str(&whole), rules, thinks, &r->arena, &parsed, err);
    if (status == HD_OK)
        status = check_calls(r, &parsed, valid, err);
    else if (status == HD_E_FORMAT)
        status = HD_OK; /* refused */
    hd_buf_deinit(&whole);
    return status;
}

/* ---- is it right ---- */

static hd_str trimmed(hd_str s)
{
    while (s.len && strchr(" \t\r\n", s.ptr[0]) && s.ptr[0]) s = hd_str_skip(s, 1);
    while (s.len && strchr(" \t\r\n", s.ptr[s.len - 1]) && s.ptr[s.len - 1]) s.len--;
    return s;
}

static bool is_text_wanted(const hd_json *want, hd_str content)
{
    content = trimmed(content);
    if (want->kind == HD_JSON_STRING) return hd_str_eq(trimmed(want->text), content);
    for (const hd_json *w = want->child; w; w = w->next)
        if (hd_str_eq(trimmed(w->text), content)) return true;
    return false;
}

static bool are_calls_wanted(const hd_json *want, const call *calls, size_t n)
{
    size_t i = 0;
    if (want->n != n) return false;
    for (const hd_json *w = want->child; w; w = w->next, i++) {
        const hd_json *name = hd_json_get(w, "name"), *arguments = hd_json_get(w, "arguments");
        if (!hd_str_eq(name->text, calls[i].name) || !calls[i].arguments) return false;
        if (!hd_json_same(arguments, calls[i].arguments)) return false;
    }
    return true;
}

/* ---- the score ---- */

void hd_eval_score_init(hd_eval_score *s)
{
    *s = (hd_eval_score){0};
    hd_buf_init(&s->text, MAX_TEXT_BYTES);
}

void hd_eval_score_deinit(hd_eval_score *s)
{
    hd_buf_deinit(&s->text);
}

static hd_status score_json(hd_eval_score *out, reading *r, hd_err *err)
{
    const hd_json *value;
    size_t n;
    (void)calls_of(r, &n);
    HD_TRY(parse_json(&r->arena, hd_buf_str(&r->content), &value, err));
    out->valid = r->is_closed && n == 0 && value && hd_schema_obeys(r->row->schema, value);
    out->right = out->valid && (!r->row->want || hd_json_same(r->row->want, value));
    return HD_OK;
}

static hd_status score(hd_eval_score *out, reading *r, hd_err *err)
{
    size_t n;
    const call *calls = calls_of(r, &n);
    if (r->row->kind == HD_EVAL_JSON) {
        HD_TRY(score_json(out, r, err));
    } else {
        HD_TRY(check_markup(r, hd_buf_str(&out->text), &out->valid, err));
        if (r->row->kind == HD_EVAL_CALLS)
            out->right = are_calls_wanted(r->row->want, calls, n);
        else
            out->right = n == 0 && is_text_wanted(r->row->want, hd_buf_str(&r->content));
    }
    out->ended = r->answer->has_ended;
    out->right = out->right && out->ended && r->is_closed;
    return HD_OK;
}

hd_status hd_eval_score_answer(hd_eval_score *out, const hd_eval_row *row, hd_tokenizer *t,
                               const hd_eval_output *answer, hd_err *err)
{
    reading r;
    hd_decoder *decoder;
    hd_buf_reset(&out->text);
    out->ended = out->valid = out->right = false;
    HD_TRY(hd_decoder_create(t, 0, &decoder, err));
    hd_status status = decode(answer, decoder, &out->text, err);
    hd_decoder_destroy(decoder);
    init_reading(&r, row, answer);
    if (status == HD_OK) status = read_answer(&r, t, err);
    if (status == HD_OK) status = score(out, &r, err);
    deinit_reading(&r);
    return status;
}
