/* From the canonical request to ids, and to what the engine is told: see canon.h. */
#include "server/render.h"

#include <limits.h>

#include "text/prompt.h"
#include "text/tokenizer.h"

#define MAX_PROMPT_BYTES ((size_t)1 << 30)
#define MAX_RULES_BYTES  ((size_t)256 << 20)

/* Tokens of an answer whose length nobody asked for, as the service has them. */
#define PLAIN_TOKENS      8192
#define THINKING_TOKENS   65536
#define DEEP_TOKENS       131072
#define COMPLETION_TOKENS 4096

static const hd_chat_rules *find_rules(hd_release release)
{
    if (release == HD_RELEASE_V41) return hd_chat_rules_find(HD_STR("v4.1"), HD_STR(""));
    return hd_chat_rules_find(HD_STR("v4"),
                              release == HD_RELEASE_APRIL ? HD_STR("april") : HD_STR("0731"));
}

/* ---- names of tools ---- */

static hd_status spell(hd_renderer *r, hd_str space, hd_str short_name, hd_str *name)
{
    size_t len = space.len + 2 + short_name.len;
    char *text = hd_arena_try_alloc(r->arena, len + 1, 1);
    if (!text) HD_FAIL(r->err, HD_E_NOMEM, "out of memory for the name of a tool");
    memcpy(text, space.ptr, space.len);
    memcpy(text + space.len, "::", 2);
    if (short_name.len) memcpy(text + space.len + 2, short_name.ptr, short_name.len);
    *name = (hd_str){text, len};
    return HD_OK;
}

static hd_status spell_namespaces(hd_renderer *r)
{
    hd_canon *c = r->c;
    for (hd_canon_tool *t = c->tools; t; t = t->next) {
        bool is_chosen = c->choice == HD_TOOLS_NAMED && hd_str_eq(t->name, c->choice_name);
        if (t->space.len == 0) continue;
        HD_TRY(spell(r, t->space, t->short_name, &t->name));
        if (is_chosen) c->choice_name = t->name;
    }
    for (hd_canon_turn *turn = c->turns; turn; turn = turn->next)
        for (hd_canon_call *call = turn->calls; call; call = call->next)
            if (call->space.len) HD_TRY(spell(r, call->space, call->short_name, &call->name));
    return HD_OK;
}

/* ---- prompts that are no chats ---- */

static hd_status render_text(hd_renderer *r)
{
    hd_prompt p;
    hd_prompt_init(&p, MAX_PROMPT_BYTES);
    bool is_fill = r->c->input == HD_INPUT_FILL;
    if (!is_fill || !r->deployment->fim_omits_bos) hd_prompt_add_token(&p, HD_TOKEN_BOS);
    if (is_fill) hd_prompt_add_token(&p, HD_TOKEN_FIM_BEGIN);
    hd_prompt_add(&p, r->c->prompt);
    if (is_fill) {
        hd_prompt_add_token(&p, HD_TOKEN_FIM_HOLE);
        hd_prompt_add(&p, r->c->suffix);
        hd_prompt_add_token(&p, HD_TOKEN_FIM_END);
    }
    hd_status status = hd_prompt_encode(&p, r->tokenizer, r->ids, r->err);
    hd_prompt_deinit(&p);
    return status;
}

static hd_status render_ids(hd_renderer *r)
{
    int64_t n = (int64_t)hd_tokenizer_size(r->tokenizer), id;
    for (const hd_json *x = r->c->ids->child; x; x = x->next) {
        if (hd_json_i64(x, 0, n - 1, &id, NULL) != HD_OK)
            return hd_render_fail(r, HD_E_ARG, x, "is no id of the vocabulary");
        HD_TRY(hd_ids_push(r->ids, (int32_t)id, r->err));
    }
    return HD_OK;
}

static hd_status render_prompt(hd_renderer *r)
{
    switch (r->c->input) {
    case HD_INPUT_CHAT: return hd_render_chat(r);
    case HD_INPUT_IDS: return render_ids(r);
    default: return render_text(r);
    }
}

/* ---- limits ---- */

static int32_t default_tokens(const hd_canon *c)
{
    if (c->input != HD_INPUT_CHAT) return COMPLETION_TOKENS;
    if (!c->thinks) return PLAIN_TOKENS;
    return c->effort == HD_EFFORT_MAX ? DEEP_TOKENS : THINKING_TOKENS;
}

/* Clients know it by these words, as the services say them: agents shorten their history then. */
static hd_status too_long(hd_renderer *r, size_t n_prompt, int32_t most)
{
    if (r->c->dialect == HD_DIALECT_MESSAGES)
        HD_FAIL(r->err, HD_E_LIMIT, "prompt is too long: %zu tokens > %d maximum", n_prompt, most);
    HD_FAIL(r->err, HD_E_LIMIT,
            "this model's maximum context length is %d tokens, and the prompt has %zu", most,
            n_prompt);
}

static hd_status set_limits(hd_renderer *r, size_t n_prompt, hd_submit *s)
{
    hd_canon *c = r->c;
    int32_t max_context = r->deployment->max_context, cap = r->deployment->fim_max_tokens;
    if (n_prompt >= (size_t)max_context) return too_long(r, n_prompt, max_context - 1);
    int32_t room = max_context - (int32_t)n_prompt;
    s->max_new = c->max_tokens ? c->max_tokens : default_tokens(c);
    if (c->input == HD_INPUT_FILL && cap > 0 && s->max_new > cap) s->max_new = cap;
    if (s->max_new > room) {
        if (c->max_tokens) hd_canon_warn(c, "max_tokens was cut to the room left in the context");
        s->max_new = room;
    }
    s->min_new = c->min_tokens < s->max_new ? c->min_tokens : s->max_new;
    s->ignore_eos = c->ignores_eos;
    s->priority = c->priority;
    return HD_OK;
}

/* ---- sampling ---- */

static hd_status set_bias(hd_renderer *r, hd_sampling *how)
{
    const hd_json *map = r->c->logit_bias;
    if (!map) return HD_OK;
    hd_logit_bias *bias = hd_arena_try_alloc(r->arena, map->n + 1, sizeof *bias);
    if (!bias) HD_FAIL(r->err, HD_E_NOMEM, "out of memory for logit_bias");
    int64_t n_vocab = (int64_t)hd_tokenizer_size(r->tokenizer), token;
    for (const hd_json *x = map->child; x; x = x->next) {
        const hd_json id = {.kind = HD_JSON_NUMBER, .text = x->key, .parent = map};
        double value;
        if (hd_json_i64(&id, 0, n_vocab - 1, &token, NULL) != HD_OK)
            return hd_render_fail(r, HD_E_ARG, x, "is named by no id of the vocabulary");
        HD_TRY(hd_json_f64(x, &value, r->err));
        bias[how->n_bias++] = (hd_logit_bias){.id = (int32_t)token, .bias = (float)value};
    }
    how->bias = bias;
    return HD_OK;
}

/* As the service does it: while the model thinks, next to nothing of the client's counts. */
static void sample_as_deepseek(const hd_renderer *r, hd_sampling *how)
{
    const hd_canon *c = r->c;
    bool is_v41 = r->deployment->release == HD_RELEASE_V41;
    if (c->thinks) how->temperature = 1;
    if (is_v41)
        how->top_p = c->thinks && c->top_p < 0.95 ? 0.95f : c->thinks ? (float)c->top_p : 1;
    else if (c->thinks)
        how->top_p = c->tools ? 0.95f : 1;
}

static hd_status set_sampling(hd_renderer *r, hd_sampling *how)
{
    const hd_canon *c = r->c;
    *how = HD_SAMPLING_DEFAULT;
    how->temperature = (float)c->temperature;
    how->top_p = (float)c->top_p;
    how->seed = c->seed;
    /* Rounded to a float, a tiny top_p could become the 0 that is refused. */
    if (how->top_p <= 0) how->top_p = 1e-9f;
    if (r->deployment->samples_as_deepseek) {
        sample_as_deepseek(r, how);
        return HD_OK;
    }
    how->min_p = (float)c->min_p;
    how->top_k = c->top_k;
    how->presence_penalty = (float)c->presence_penalty;
    how->frequency_penalty = (float)c->frequency_penalty;
    return set_bias(r, how);
}

/* ---- constraints ---- */

static hd_status keep(hd_renderer *r, hd_str text, hd_grammar_kind kind, hd_constraint *out)
{
    hd_str copy = hd_arena_dup(r->arena, text);
    if (!copy.ptr) HD_FAIL(r->err, HD_E_NOMEM, "out of memory for a constraint");
    out->kind = kind;
    out->text = copy.ptr;
    out->len = copy.len;
    return HD_OK;
}

static hd_status constrain_tools(hd_renderer *r, hd_constraint *out)
{
    const hd_canon *c = r->c;
    hd_buf json;
    hd_buf_init(&json, MAX_RULES_BYTES);
    hd_status status = hd_render_tool_array(r, &json);
    if (status == HD_OK) status = keep(r, hd_buf_str(&json), HD_GRAMMAR_TOOLS, out);
    hd_buf_deinit(&json);
    out->choice = c->choice;
    out->one_call = c->one_call;
    if (status != HD_OK || c->choice != HD_TOOLS_NAMED) return status;
    out->tool_name = hd_arena_dup(r->arena, c->choice_name).ptr;
    if (!out->tool_name) HD_FAIL(r->err, HD_E_NOMEM, "out of memory for the name of a tool");
    return HD_OK;
}

static hd_status constrain_schema(hd_renderer *r, hd_constraint *out)
{
    hd_buf json;
    hd_buf_init(&json, MAX_RULES_BYTES);
    hd_jsonw_value(&json, r->c->format_rules);
    hd_status status = hd_buf_status(&json, "the response format", r->err);
    if (status == HD_OK) status = keep(r, hd_buf_str(&json), HD_GRAMMAR_SCHEMA, out);
    hd_buf_deinit(&json);
    out->is_strict = r->c->format_is_strict;
    return status;
}

/* Tools come first: what else the answer should be is in the prompt only, then. A grammar is of the
 * whole text, so it cannot hold one that was begun. */
static hd_status set_constraint(hd_renderer *r, hd_submit *s, hd_constraint *out)
{
    hd_canon *c = r->c;
    *out = (hd_constraint){0};
    if (!c->tools && c->format == HD_FORMAT_TEXT) return HD_OK;
    bool is_begun = s->answer.start == HD_OUT_START_TEXT && s->answer.is_continuation;
    if (!c->tools && is_begun) {
        hd_canon_warn(c, "the response format is not enforced on a text that was begun");
        return HD_OK;
    }
    s->constraint = out;
    if (c->tools) {
        if (c->format != HD_FORMAT_TEXT)
            hd_canon_warn(c, "the response format is not enforced where tools are offered");
        return constrain_tools(r, out);
    }
    if (c->format == HD_FORMAT_SCHEMA) return constrain_schema(r, out);
    if (c->format == HD_FORMAT_REGEX) return keep(r, c->format_rules->text, HD_GRAMMAR_REGEX, out);
    return keep(r, HD_STR(""), HD_GRAMMAR_OBJECT, out);
}

/* ---- all of it ---- */

hd_status hd_canon_render(hd_canon *c, const hd_canon_rules *rules, hd_tokenizer *tokenizer,
                          hd_arena *arena, hd_ids *ids, hd_submit *submit,
                          hd_constraint *constraint, hd_err *err)
{
    *submit = (hd_submit){.output = HD_OUTPUT_TEXT};
    hd_renderer r = {.c = c,
                     .deployment = rules,
                     .rules = find_rules(rules->release),
                     .tokenizer = tokenizer,
                     .arena = arena,
                     .ids = ids,
                     .answer = &submit->answer,
                     .err = err};
    size_t before = ids->len;
    if (c->input == HD_INPUT_CHAT) submit->output = HD_OUTPUT_CHAT;
    if (r.rules->has_namespaces) HD_TRY(spell_namespaces(&r));
    HD_TRY(render_prompt(&r));
    HD_TRY(set_limits(&r, ids->len - before, submit));
    HD_TRY(set_sampling(&r, &submit->how));
    HD_TRY(set_constraint(&r, submit, constraint));
    submit->ids = ids->ptr + before;
    submit->n_ids = (int32_t)(ids->len - before);
    submit->answer.stops = c->stops;
    submit->answer.n_stops = (size_t)c->n_stops;
    submit->wants_logprobs = c->wants_logprobs;
    submit->n_top = c->wants_logprobs ? c->n_top : 0;
    submit->wants_echo = c->wants_echo;
    return HD_OK;
}
