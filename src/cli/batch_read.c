/* A line of JSON to a request of the engine: see batch_job.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/hash.h"
#include "base/jsonw.h"
#include "base/utf8.h"
#include "cli/batch_job.h"

#define MAX_LINE_BYTES ((size_t)256 << 20)
#define MAX_TREE_BYTES ((size_t)2 << 30)
#define MAX_IDS        ((size_t)1 << 25)
#define MAX_TEXT_BYTES ((size_t)1 << 30)
#define MAX_STOPS      16
#define MAX_BIAS       1024

void hd_batch_job_init(hd_batch_job *j)
{
    *j = (hd_batch_job){0};
    hd_arena_init(&j->tree, MAX_TREE_BYTES);
    hd_buf_init(&j->line, MAX_LINE_BYTES);
    hd_ids_init(&j->prompt, MAX_IDS);
    hd_ids_init(&j->ids, MAX_IDS);
    hd_buf *const bufs[] = {&j->tools, &j->rules, &j->text,     &j->reasoning,
                            &j->args,  &j->calls, &j->logprobs, &j->prompt_logprobs};
    for (size_t i = 0; i < HD_COUNT(bufs); i++) hd_buf_init(bufs[i], MAX_TEXT_BYTES);
}

void hd_batch_job_deinit(hd_batch_job *j)
{
    hd_buf *const bufs[] = {&j->line, &j->tools, &j->rules,    &j->text,           &j->reasoning,
                            &j->args, &j->calls, &j->logprobs, &j->prompt_logprobs};
    for (size_t i = 0; i < HD_COUNT(bufs); i++) hd_buf_deinit(bufs[i]);
    hd_ids_deinit(&j->prompt);
    hd_ids_deinit(&j->ids);
    hd_arena_deinit(&j->tree);
}

/* ---- single fields ----------------------------------------------------------------------------*/

/* A member that is there and not null. */
static const hd_json *find(const hd_json *row, const char *key)
{
    const hd_json *x = hd_json_get(row, key);
    return x && x->kind != HD_JSON_NULL ? x : NULL;
}

static hd_status fail_at(const hd_json *node, hd_err *err, const char *expected)
{
    char path[128];
    hd_json_path(node, path, sizeof path);
    hd_status st = HD_SET_ERR(err, HD_E_FORMAT, "'%s' is %s, expected %s", path,
                              hd_json_kind_name(node->kind), expected);
    hd_err_set_path(err, path);
    return st;
}

static hd_status read_i32(const hd_json *row, const char *key, int64_t min, int64_t max,
                          int32_t *out, hd_err *err)
{
    int64_t x;
    if (!find(row, key)) return HD_OK;
    HD_TRY(hd_json_get_i64(row, key, min, max, &x, err));
    *out = (int32_t)x;
    return HD_OK;
}

static hd_status read_f32(const hd_json *row, const char *key, float *out, hd_err *err)
{
    double x;
    if (!find(row, key)) return HD_OK;
    HD_TRY(hd_json_get_f64(row, key, &x, err));
    *out = (float)x;
    return HD_OK;
}

static hd_status read_flag(const hd_json *row, const char *key, int32_t *out, hd_err *err)
{
    bool x;
    if (!find(row, key)) return HD_OK;
    HD_TRY(hd_json_get_bool(row, key, &x, err));
    *out = x;
    return HD_OK;
}

/* A copy with a NUL behind it; U+0000 inside would cut it. */
static hd_status c_string(hd_batch_job *j, const hd_json *node, const char **out, hd_err *err)
{
    if (node->kind != HD_JSON_STRING || node->text.len == 0 ||
        memchr(node->text.ptr, 0, node->text.len))
        return fail_at(node, err, "a string without U+0000, not empty");
    *out = hd_arena_dup(&j->tree, node->text).ptr;
    if (!*out) HD_FAIL(err, HD_E_NOMEM, "out of memory for a string");
    return HD_OK;
}

/* ---- how to choose ----------------------------------------------------------------------------*/

static hd_status read_bias(hd_batch_job *j, const hd_json *row, hd_err *err)
{
    const hd_json *map = find(row, "logit_bias");
    if (!map) return HD_OK;
    if (map->kind != HD_JSON_OBJECT || map->n > MAX_BIAS)
        return fail_at(map, err, "an object of at most 1024 ids");
    hd_logit_bias *bias = hd_arena_try_alloc(&j->tree, map->n + 1, sizeof *bias);
    if (!bias) HD_FAIL(err, HD_E_NOMEM, "out of memory for logit_bias");
    size_t n = 0;
    for (const hd_json *x = map->child; x; x = x->next, n++) {
        const hd_json id = {.kind = HD_JSON_NUMBER, .text = x->key, .parent = map};
        int64_t token;
        double value;
        HD_TRY(hd_json_i64(&id, 0, INT32_MAX, &token, err));
        HD_TRY(hd_json_f64(x, &value, err));
        bias[n] = (hd_logit_bias){.id = (int32_t)token, .bias = (float)value};
    }
    j->submit.how.bias = bias;
    j->submit.how.n_bias = n;
    return HD_OK;
}

static hd_status read_sampling(hd_batch_job *j, const hd_json *row, hd_err *err)
{
    hd_sampling *how = &j->submit.how;
    *how = HD_SAMPLING_DEFAULT;
    HD_TRY(read_f32(row, "temperature", &how->temperature, err));
    HD_TRY(read_f32(row, "top_p", &how->top_p, err));
    HD_TRY(read_f32(row, "min_p", &how->min_p, err));
    HD_TRY(read_i32(row, "top_k", 0, INT32_MAX, &how->top_k, err));
    HD_TRY(read_f32(row, "repetition_penalty", &how->repetition_penalty, err));
    HD_TRY(read_f32(row, "presence_penalty", &how->presence_penalty, err));
    HD_TRY(read_f32(row, "frequency_penalty", &how->frequency_penalty, err));
    int64_t seed = 0;
    if (find(row, "seed")) HD_TRY(hd_json_get_i64(row, "seed", INT64_MIN, INT64_MAX, &seed, err));
    how->seed = (uint64_t)seed;
    return read_bias(j, row, err);
}

/* ---- when to end ------------------------------------------------------------------------------*/

static hd_status read_stops(hd_batch_job *j, const hd_json *row, hd_err *err)
{
    const hd_json *stop = find(row, "stop");
    if (!stop) return HD_OK;
    bool is_list = stop->kind == HD_JSON_ARRAY;
    if (is_list && stop->n > MAX_STOPS) return fail_at(stop, err, "at most 16 strings");
    const char **list = hd_arena_try_alloc(&j->tree, MAX_STOPS, sizeof *list);
    if (!list) HD_FAIL(err, HD_E_NOMEM, "out of memory for stop strings");
    size_t n = 0;
    for (const hd_json *x = is_list ? stop->child : stop; x; x = is_list ? x->next : NULL)
        HD_TRY(c_string(j, x, &list[n++], err));
    j->submit.answer.stops = list;
    j->submit.answer.n_stops = n;
    return HD_OK;
}

static hd_status read_stop_ids(hd_batch_job *j, const hd_json *row, hd_err *err)
{
    const hd_json *list = find(row, "stop_token_ids");
    if (!list) return HD_OK;
    if (list->kind != HD_JSON_ARRAY || list->n > HD_MAX_STOP_IDS)
        return fail_at(list, err, "an array of at most 16 ids");
    int32_t *ids = hd_arena_try_alloc(&j->tree, HD_MAX_STOP_IDS, sizeof *ids);
    if (!ids) HD_FAIL(err, HD_E_NOMEM, "out of memory for stop tokens");
    for (const hd_json *x = list->child; x; x = x->next) {
        int64_t id;
        HD_TRY(hd_json_i64(x, 0, INT32_MAX, &id, err));
        ids[j->submit.n_stop_ids++] = (int32_t)id;
    }
    j->submit.stop_ids = ids;
    return HD_OK;
}

/* `logprobs` is true, or the number of likely tokens (as in Completions). */
static hd_status read_logprobs(hd_batch_job *j, const hd_json *row, hd_err *err)
{
    const hd_json *x = find(row, "logprobs");
    hd_submit *s = &j->submit;
    if (x && x->kind == HD_JSON_NUMBER) {
        s->wants_logprobs = 1;
        HD_TRY(read_i32(row, "logprobs", 0, HD_MAX_TOP_LOGPROBS, &s->n_top, err));
    } else {
        HD_TRY(read_flag(row, "logprobs", &s->wants_logprobs, err));
    }
    HD_TRY(read_i32(row, "top_logprobs", 0, HD_MAX_TOP_LOGPROBS, &s->n_top, err));
    return read_flag(row, "echo", &s->wants_echo, err);
}

static hd_status read_limits(hd_batch_job *j, const hd_json *row, hd_err *err)
{
    hd_submit *s = &j->submit;
    int32_t timeout_ms = 0, arrive_ms = 0;
    s->max_new = INT32_MAX;
    HD_TRY(read_i32(row, "max_tokens", 1, INT32_MAX, &s->max_new, err));
    HD_TRY(read_i32(row, "min_tokens", 0, INT32_MAX, &s->min_new, err));
    HD_TRY(read_flag(row, "ignore_eos", &s->ignore_eos, err));
    HD_TRY(read_i32(row, "priority", INT32_MIN, INT32_MAX, &s->priority, err));
    HD_TRY(read_i32(row, "timeout_ms", 0, INT32_MAX, &timeout_ms, err));
    HD_TRY(read_i32(row, "arrive_ms", 0, INT32_MAX, &arrive_ms, err));
    HD_TRY(read_i32(row, "cancel_after", 1, INT32_MAX, &j->cancel_after, err));
    s->timeout_ms = timeout_ms;
    j->arrive_ms = arrive_ms;
    HD_TRY(read_stops(j, row, err));
    HD_TRY(read_stop_ids(j, row, err));
    return read_logprobs(j, row, err);
}

/* A user is a share of the machine, and shares prefixes with nobody else. */
static hd_status read_user(hd_batch_job *j, const hd_json *row, hd_err *err)
{
    hd_str user;
    if (!find(row, "user")) return HD_OK;
    HD_TRY(hd_json_get_str(row, "user", &user, err));
    j->submit.user = j->submit.group = hd_hash_str(user);
    return HD_OK;
}

/* ---- what to answer ---------------------------------------------------------------------------*/

/* Tools stand in a system message: an empty one, if there is none. */
static void add_messages(hd_buf *out, const hd_json *messages, bool has_tools)
{
    hd_str role = HD_STR("");
    if (has_tools && hd_json_get_str(messages->child, "role", &role, NULL) == HD_OK &&
        !hd_str_eq(role, HD_STR("system")) && !hd_str_eq(role, HD_STR("developer")))
        hd_request_add_message(out, "system", HD_STR(""), HD_STR(""));
    for (const hd_json *x = messages->child; x; x = x->next) {
        if (out->len) hd_buf_addz(out, ", ");
        hd_jsonw_value(out, x);
    }
}

static hd_status read_effort(const hd_json *row, hd_think *out, hd_err *err)
{
    const hd_json *x = find(row, "reasoning_effort");
    char name[8] = "";
    *out = HD_THINK_NONE;
    if (!x) return HD_OK;
    if (x->kind == HD_JSON_STRING && x->text.len < sizeof name)
        memcpy(name, x->text.ptr, x->text.len);
    if (!hd_think_parse(name, out)) return fail_at(x, err, "one of none, low, high, max");
    return HD_OK;
}

static hd_status read_chat(hd_batch_job *j, const hd_batch_model *m, const hd_json *row,
                           hd_err *err)
{
    const hd_json *messages = find(row, "messages"), *tools = find(row, "tools");
    hd_chat_request chat;
    hd_buf text;
    if (messages->kind != HD_JSON_ARRAY || messages->n == 0)
        return fail_at(messages, err, "an array of messages");
    HD_TRY(read_effort(row, &chat.think, err));
    if (tools) hd_jsonw_value(&j->tools, tools);
    HD_TRY(hd_buf_status(&j->tools, "the tools", err));
    hd_buf_init(&text, MAX_TEXT_BYTES);
    add_messages(&text, messages, tools != NULL);
    chat.messages = hd_buf_str(&text);
    chat.tools = hd_buf_str(&j->tools);
    hd_status st = hd_buf_status(&text, "the chat", err);
    if (st == HD_OK)
        st = hd_request_chat(&m->prompter, &chat, &j->prompt, &j->submit.answer.start, err);
    hd_buf_deinit(&text);
    j->submit.output = HD_OUTPUT_CHAT;
    j->submit.answer.has_tools = tools != NULL;
    return st;
}

static hd_status read_text(hd_batch_job *j, const hd_batch_model *m, const hd_json *row,
                           hd_err *err)
{
    hd_str text, suffix;
    HD_TRY(hd_json_get_str(row, "prompt", &text, err));
    j->submit.output = HD_OUTPUT_TEXT;
    if (!find(row, "suffix")) return hd_request_text(&m->prompter, text, false, &j->prompt, err);
    HD_TRY(hd_json_get_str(row, "suffix", &suffix, err));
    return hd_request_fill(&m->prompter, text, suffix, &j->prompt, err);
}

static hd_status read_ids(hd_batch_job *j, const hd_batch_model *m, const hd_json *row, hd_err *err)
{
    const hd_json *ids = find(row, "ids");
    if (ids->kind != HD_JSON_ARRAY) return fail_at(ids, err, "an array of token ids");
    for (const hd_json *x = ids->child; x; x = x->next) {
        int64_t id;
        HD_TRY(hd_json_i64(x, 0, m->info.vocab_size - 1, &id, err));
        HD_TRY(hd_ids_push(&j->prompt, (int32_t)id, err));
    }
    j->submit.output = m->prompter.tokenizer ? HD_OUTPUT_TEXT : HD_OUTPUT_IDS;
    return HD_OK;
}

static hd_status read_prompt(hd_batch_job *j, const hd_batch_model *m, const hd_json *row,
                             hd_err *err)
{
    bool has_chat = find(row, "messages"), has_text = find(row, "prompt"),
         has_ids = find(row, "ids");
    if (has_chat + has_text + has_ids != 1)
        HD_FAIL(err, HD_E_ARG, "a request has one of 'messages', 'prompt', 'ids'");
    if (!has_chat && find(row, "tools")) HD_FAIL(err, HD_E_ARG, "'tools' go with 'messages'");
    if (has_ids) return read_ids(j, m, row, err);
    if (!m->prompter.tokenizer)
        HD_FAIL(err, HD_E_UNSUPPORTED,
                "the model's directory has no tokenizer.json: only 'ids' can be run");
    return has_chat ? read_chat(j, m, row, err) : read_text(j, m, row, err);
}

/* ---- what the answer may be -------------------------------------------------------------------*/

static void set_constraint(hd_batch_job *j, hd_grammar_kind kind, const hd_buf *text)
{
    j->constraint.kind = kind;
    j->constraint.text = text->len ? text->ptr : "";
    j->constraint.len = text->len;
    j->submit.constraint = &j->constraint;
}

static hd_status set_rules(hd_batch_job *j, hd_grammar_kind kind, const hd_json *rules, hd_err *err)
{
    if (rules && rules->kind == HD_JSON_STRING)
        hd_buf_add_str(&j->rules, rules->text);
    else if (rules)
        hd_jsonw_value(&j->rules, rules);
    HD_TRY(hd_buf_status(&j->rules, "a constraint", err));
    set_constraint(j, kind, &j->rules);
    return HD_OK;
}

/* {"type": "json_schema", "json_schema": {"schema", "strict"}} and the others. */
static hd_status read_format(hd_batch_job *j, const hd_json *format, hd_err *err)
{
    hd_str type;
    HD_TRY(hd_json_get_str(format, "type", &type, err));
    if (hd_str_eq(type, HD_STR("text"))) return HD_OK;
    if (hd_str_eq(type, HD_STR("json_object"))) return set_rules(j, HD_GRAMMAR_OBJECT, NULL, err);
    if (hd_str_eq(type, HD_STR("json_schema"))) {
        const hd_json *outer = find(format, "json_schema"), *strict;
        const hd_json *schema = outer ? find(outer, "schema") : NULL;
        if (!schema) return fail_at(format, err, "'json_schema' with a 'schema'");
        strict = find(outer, "strict");
        j->constraint.is_strict = !(strict && strict->kind == HD_JSON_BOOL && !strict->truth);
        return set_rules(j, HD_GRAMMAR_SCHEMA, schema, err);
    }
    bool is_regex = hd_str_eq(type, HD_STR("regex"));
    const hd_json *rules = find(format, is_regex ? "regex" : "grammar");
    if (!is_regex && !hd_str_eq(type, HD_STR("grammar")))
        return fail_at(hd_json_get(format, "type"), err,
                       "text, json_object, json_schema, regex or grammar");
    if (!rules || rules->kind != HD_JSON_STRING)
        return fail_at(format, err, is_regex ? "a string 'regex'" : "a string 'grammar'");
    return set_rules(j, is_regex ? HD_GRAMMAR_REGEX : HD_GRAMMAR_EBNF, rules, err);
}

static hd_status read_choice(hd_batch_job *j, const hd_json *x, hd_err *err)
{
    static const struct {
        const char *name;
        hd_tool_choice choice;
    } names[] = {{"auto", HD_TOOLS_AUTO}, {"none", HD_TOOLS_NONE}, {"required", HD_TOOLS_REQUIRED}};
    hd_constraint *c = &j->constraint;
    if (!x) return HD_OK;
    for (size_t i = 0; x->kind == HD_JSON_STRING && i < HD_COUNT(names); i++)
        if (hd_str_eq(x->text, hd_str_from(names[i].name))) {
            c->choice = names[i].choice;
            return HD_OK;
        }
    const hd_json *function = hd_json_get(x, "function");
    const hd_json *name = hd_json_get(function ? function : x, "name");
    if (!name) return fail_at(x, err, "auto, none, required, or {\"function\": {\"name\"}}");
    c->choice = HD_TOOLS_NAMED;
    return c_string(j, name, &c->tool_name, err);
}

static hd_status read_constraint(hd_batch_job *j, const hd_batch_model *m, const hd_json *row,
                                 hd_err *err)
{
    const hd_json *format = find(row, "response_format"), *tools = find(row, "tools");
    int32_t calls_many = 1;
    j->constraint.warn = m->warn;
    j->constraint.warn_ctx = j;
    if (format) HD_TRY(read_format(j, format, err));
    if (!tools) return HD_OK;
    if (format && j->constraint.warn) /* a grammar of the whole text knows no calls */
        j->constraint.warn(j, "the response format is not enforced where tools are offered");
    HD_TRY(read_choice(j, find(row, "tool_choice"), err));
    HD_TRY(read_flag(row, "parallel_tool_calls", &calls_many, err));
    j->constraint.one_call = !calls_many;
    set_constraint(j, HD_GRAMMAR_TOOLS, &j->tools);
    return HD_OK;
}

/* ---- the line ---------------------------------------------------------------------------------*/

static const char *const fields[] = {"id",
                                     "messages",
                                     "prompt",
                                     "ids",
                                     "suffix",
                                     "tools",
                                     "tool_choice",
                                     "parallel_tool_calls",
                                     "temperature",
                                     "top_p",
                                     "top_k",
                                     "min_p",
                                     "seed",
                                     "max_tokens",
                                     "min_tokens",
                                     "stop",
                                     "ignore_eos",
                                     "stop_token_ids",
                                     "logprobs",
                                     "top_logprobs",
                                     "echo",
                                     "logit_bias",
                                     "presence_penalty",
                                     "frequency_penalty",
                                     "user",
                                     "priority",
                                     "response_format",
                                     "repetition_penalty",
                                     "timeout_ms",
                                     "arrive_ms",
                                     "reasoning_effort",
                                     "cancel_after",
                                     "model",
                                     "metadata"};

static hd_status check_fields(const hd_json *row, hd_err *err)
{
    for (const hd_json *x = row->child; x; x = x->next) {
        size_t i = 0;
        while (i < HD_COUNT(fields) && !hd_str_eq(x->key, hd_str_from(fields[i]))) i++;
        if (i == HD_COUNT(fields))
            HD_FAIL(err, HD_E_ARG, "unknown field '%.*s' ('hadal batch --help' lists them)",
                    HD_STR_CUT(x->key));
    }
    return HD_OK;
}

hd_status hd_batch_read(hd_batch_job *j, const hd_batch_model *m, hd_str line, size_t line_no,
                        hd_err *err)
{
    const hd_json *row = NULL;
    j->line_no = line_no;
    hd_buf_add_str(&j->line, line);
    HD_TRY(hd_buf_status(&j->line, "a line", err));
    HD_TRY(hd_json_parse(hd_buf_str(&j->line), NULL, &j->tree, &row, err));
    if (row->kind != HD_JSON_OBJECT)
        HD_FAIL(err, HD_E_FORMAT, "a line is %s, expected an object", hd_json_kind_name(row->kind));
    j->id = find(row, "id");
    HD_TRY(check_fields(row, err));
    HD_TRY(read_sampling(j, row, err));
    HD_TRY(read_limits(j, row, err));
    HD_TRY(read_user(j, row, err));
    HD_TRY(read_prompt(j, m, row, err));
    HD_TRY(read_constraint(j, m, row, err));
    j->submit.ids = j->prompt.ptr;
    j->submit.n_ids = (int32_t)j->prompt.len;
    return HD_OK;
}
