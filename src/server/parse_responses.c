/* OpenAI Responses: see parse.h.
 *
 * Items are smaller than turns: reasoning, a message and calls that follow each other are one turn
 * of the assistant. `open` in here is such a turn that may still grow. */
#include "server/parse.h"

#include "base/buf.h"
#include "base/jsonw.h"

#define REPLAY         ": replay the full history"
#define MAX_TEXT_BYTES ((size_t)1 << 30)

static bool is_open(const hd_parser *p)
{
    return p->last_turn && p->last_turn->role == HD_ROLE_ASSISTANT;
}

/* ---- items of the assistant ---- */

static hd_status add_reasoning(hd_parser *p, const hd_json *item)
{
    const hd_json *list;
    hd_str seal = {0}, all = {0}, text;
    HD_TRY(hd_parse_array(p, item, "content", &list));
    HD_TRY(hd_parse_str(p, item, "encrypted_content", &seal));
    for (const hd_json *x = list ? list->child : NULL; x; x = x->next) {
        if (x->kind != HD_JSON_OBJECT) return hd_parse_wrong(p, HD_E_FORMAT, x, "an object");
        HD_TRY(hd_parse_need_str(p, x, "text", &text));
        HD_TRY(hd_parse_join(p, &all, "\n", text));
    }
    if (hd_parse_is_blank(all) && seal.len == 0) return HD_OK;
    if (!is_open(p) || p->last_turn->content.len || p->last_turn->calls)
        HD_TRY(hd_parse_add_turn(p, HD_ROLE_ASSISTANT, item));
    if (seal.len) p->last_turn->seal = seal;
    return hd_parse_add_reasoning(p, all, "\n");
}

static hd_status add_answer(hd_parser *p, const hd_json *item, hd_str text)
{
    if (!is_open(p) || p->last_turn->calls) HD_TRY(hd_parse_add_turn(p, HD_ROLE_ASSISTANT, item));
    if (p->last_turn->content.len == 0) p->last_turn->content = (hd_str){0};
    if (text.len == 0 && p->last_turn->content.ptr) return HD_OK;
    return hd_parse_join(p, &p->last_turn->content, "\n\n", text);
}

static hd_status open_call(hd_parser *p, const hd_json *item)
{
    hd_str id, short_name, space = {0}, name;
    HD_TRY(hd_parse_need_str(p, item, "call_id", &id));
    HD_TRY(hd_parse_need_str(p, item, "name", &short_name));
    HD_TRY(hd_parse_str(p, item, "namespace", &space));
    HD_TRY(hd_parse_spaced(p, space, short_name, &name));
    if (!is_open(p)) HD_TRY(hd_parse_add_turn(p, HD_ROLE_ASSISTANT, item));
    HD_TRY(hd_parse_add_call(p, id, name, item));
    p->last_call->short_name = short_name;
    p->last_call->space = space;
    return HD_OK;
}

static hd_status add_function_call(hd_parser *p, const hd_json *item)
{
    HD_TRY(open_call(p, item));
    return hd_parse_need_str(p, item, "arguments", &p->last_call->args);
}

/* The raw text becomes the one member that custom tools have. */
static hd_status add_custom_call(hd_parser *p, const hd_json *item)
{
    hd_str input;
    hd_buf json;
    HD_TRY(open_call(p, item));
    HD_TRY(hd_parse_need_str(p, item, "input", &input));
    hd_buf_init(&json, MAX_TEXT_BYTES);
    hd_buf_addz(&json, "{\"input\": ");
    hd_jsonw_str(&json, input);
    hd_buf_addc(&json, '}');
    hd_status status = hd_buf_status(&json, "the input of a call", p->err);
    if (status == HD_OK) p->last_call->args = hd_arena_dup(p->arena, hd_buf_str(&json));
    if (status == HD_OK && !p->last_call->args.ptr) status = hd_parse_no_memory(p);
    hd_buf_deinit(&json);
    return status;
}

/* ---- other items ---- */

static hd_status add_result(hd_parser *p, const hd_json *item)
{
    const hd_json *output = hd_parse_find(item, "output");
    HD_TRY(hd_parse_add_turn(p, HD_ROLE_TOOL, item));
    HD_TRY(hd_parse_need_str(p, item, "call_id", &p->last_turn->call_id));
    if (!output) return hd_parse_missing(p, item, "output", "a string or a list of parts");
    return hd_parse_text(p, output, &p->last_turn->content);
}

static hd_status add_message(hd_parser *p, const hd_json *item)
{
    static const struct {
        const char *name;
        hd_role role;
    } roles[] = {{"user", HD_ROLE_USER},
                 {"system", HD_ROLE_SYSTEM},
                 {"developer", HD_ROLE_DEVELOPER},
                 {"assistant", HD_ROLE_ASSISTANT}};
    const hd_json *content = hd_parse_find(item, "content");
    hd_str role, text;
    HD_TRY(hd_parse_need_str(p, item, "role", &role));
    if (!content) return hd_parse_missing(p, item, "content", "a string or a list of parts");
    HD_TRY(hd_parse_text(p, content, &text));
    for (size_t i = 0; i < HD_COUNT(roles); i++) {
        if (!hd_str_eqz(role, roles[i].name)) continue;
        if (roles[i].role == HD_ROLE_ASSISTANT) return add_answer(p, item, text);
        HD_TRY(hd_parse_add_turn(p, roles[i].role, item));
        p->last_turn->content = text;
        return HD_OK;
    }
    return hd_parse_wrong(p, HD_E_ARG, hd_json_get(item, "role"),
                          "user, assistant, system or developer");
}

static hd_status add_item(hd_parser *p, const hd_json *item)
{
    hd_str type = HD_STR("message");
    if (item->kind != HD_JSON_OBJECT) return hd_parse_wrong(p, HD_E_FORMAT, item, "an object");
    HD_TRY(hd_parse_str(p, item, "type", &type));
    if (hd_str_eqz(type, "message")) return add_message(p, item);
    if (hd_str_eqz(type, "reasoning")) return add_reasoning(p, item);
    if (hd_str_eqz(type, "function_call")) return add_function_call(p, item);
    if (hd_str_eqz(type, "custom_tool_call")) return add_custom_call(p, item);
    if (hd_str_eqz(type, "function_call_output") || hd_str_eqz(type, "custom_tool_call_output"))
        return add_result(p, item);
    if (hd_str_eqz(type, "item_reference"))
        return hd_parse_refuse(p, item, "refers to what is not stored here" REPLAY);
    hd_canon_warn(p->out, "input items of unknown types were left out");
    return HD_OK;
}

/* Probes send an empty input, and want an answer. */
static hd_status read_input(hd_parser *p)
{
    const hd_json *input = hd_parse_find(p->body, "input");
    const hd_json *instructions = hd_parse_find(p->body, "instructions");
    hd_str text = {0};
    HD_TRY(hd_parse_str(p, p->body, "instructions", &text));
    if (text.len) {
        HD_TRY(hd_parse_add_turn(p, HD_ROLE_SYSTEM, instructions));
        p->last_turn->content = text;
    }
    if (!input && !instructions)
        return hd_parse_missing(p, p->body, "input", "a string or an array of items");
    if (input && input->kind == HD_JSON_STRING) {
        HD_TRY(hd_parse_add_turn(p, HD_ROLE_USER, input));
        p->last_turn->content = input->text;
        return HD_OK;
    }
    if (input && input->kind != HD_JSON_ARRAY)
        return hd_parse_wrong(p, HD_E_FORMAT, input, "a string or an array of items");
    for (const hd_json *x = input ? input->child : NULL; x; x = x->next) HD_TRY(add_item(p, x));
    return hd_parse_check_results(p, REPLAY);
}

/* ---- settings ---- */

static hd_status refuse_storage(hd_parser *p)
{
    static const char *const keys[] = {"previous_response_id", "conversation"};
    bool in_background = false;
    for (size_t i = 0; i < HD_COUNT(keys); i++) {
        const hd_json *x = hd_parse_find(p->body, keys[i]);
        if (x) return hd_parse_refuse(p, x, "is not supported" REPLAY " instead");
    }
    HD_TRY(hd_parse_bool(p, p->body, "background", &in_background));
    if (!in_background) return HD_OK;
    return hd_parse_refuse(p, hd_json_get(p->body, "background"),
                           "must be false: nothing is stored");
}

static hd_status read_reasoning(hd_parser *p)
{
    const hd_json *reasoning = NULL;
    if (hd_parse_find(p->body, "reasoning"))
        HD_TRY(hd_parse_need_object(p, p->body, "reasoning", &reasoning));
    p->out->wants_summary = hd_parse_find(reasoning, "summary");
    return hd_parse_thinking(p, NULL, hd_parse_find(reasoning, "effort"));
}

static hd_status read_format(hd_parser *p)
{
    const hd_json *text = NULL;
    if (hd_parse_find(p->body, "text")) HD_TRY(hd_parse_need_object(p, p->body, "text", &text));
    return hd_parse_format(p, hd_parse_find(text, "format"), NULL);
}

static hd_status read_tools(hd_parser *p)
{
    const hd_json *tools;
    bool calls_many = true;
    HD_TRY(hd_parse_array(p, p->body, "tools", &tools));
    HD_TRY(hd_parse_tools(p, tools));
    HD_TRY(hd_parse_choice(p, hd_parse_find(p->body, "tool_choice")));
    HD_TRY(hd_parse_bool(p, p->body, "parallel_tool_calls", &calls_many));
    p->out->one_call = !calls_many;
    return hd_parse_check_tools(p);
}

static hd_status read_logprobs(hd_parser *p)
{
    const hd_json *include;
    HD_TRY(hd_parse_array(p, p->body, "include", &include));
    for (const hd_json *x = include ? include->child : NULL; x; x = x->next)
        if (x->kind == HD_JSON_STRING && hd_str_eqz(x->text, "message.output_text.logprobs"))
            p->out->wants_logprobs = true;
    return hd_parse_i32(p, p->body, "top_logprobs", 0, HD_MAX_TOP_LOGPROBS, &p->out->n_top);
}

static hd_status read_user(hd_parser *p)
{
    const hd_json *user = hd_parse_find(p->body, "user");
    if (user && user->kind == HD_JSON_STRING) p->out->user = user->text;
    return hd_parse_str(p, p->body, "user_id", &p->out->user);
}

hd_status hd_parse_responses(hd_parser *p)
{
    HD_TRY(refuse_storage(p));
    HD_TRY(hd_parse_basics(p));
    HD_TRY(hd_parse_i32(p, p->body, "max_output_tokens", 1, INT32_MAX, &p->out->max_tokens));
    HD_TRY(read_reasoning(p));
    HD_TRY(read_format(p));
    HD_TRY(read_logprobs(p));
    HD_TRY(read_user(p));
    HD_TRY(read_tools(p));
    return read_input(p);
}
