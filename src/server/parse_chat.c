/* OpenAI Chat Completions, with DeepSeek's members and some of vLLM's: see parse.h. */
#include "server/parse.h"

/* ---- messages ---- */

static hd_status need_text(hd_parser *p, const hd_json *message, hd_str *out)
{
    const hd_json *content = hd_parse_find(message, "content");
    if (!content) return hd_parse_missing(p, message, "content", "a string or a list of parts");
    return hd_parse_text(p, content, out);
}

static hd_status add_plain(hd_parser *p, const hd_json *message, hd_role role)
{
    HD_TRY(hd_parse_add_turn(p, role, message));
    return need_text(p, message, &p->last_turn->content);
}

static hd_status add_result(hd_parser *p, const hd_json *message)
{
    HD_TRY(add_plain(p, message, HD_ROLE_TOOL));
    return hd_parse_need_str(p, message, "tool_call_id", &p->last_turn->call_id);
}

static hd_status add_call(hd_parser *p, const hd_json *call)
{
    const hd_json *function;
    hd_str id, name;
    if (call->kind != HD_JSON_OBJECT) return hd_parse_wrong(p, HD_E_FORMAT, call, "an object");
    HD_TRY(hd_parse_need_str(p, call, "id", &id));
    HD_TRY(hd_parse_need_object(p, call, "function", &function));
    HD_TRY(hd_parse_need_str(p, function, "name", &name));
    HD_TRY(hd_parse_add_call(p, id, name, call));
    return hd_parse_need_str(p, function, "arguments", &p->last_call->args);
}

/* One of two names, of which servers send the one or the other. */
static hd_status read_reasoning(hd_parser *p, const hd_json *message)
{
    hd_str text = {0};
    bool has_own = hd_parse_find(message, "reasoning_content");
    HD_TRY(hd_parse_str(p, message, has_own ? "reasoning_content" : "reasoning", &text));
    return hd_parse_add_reasoning(p, text, "");
}

static hd_status read_prefix(hd_parser *p, const hd_json *message)
{
    bool is_prefix = false;
    HD_TRY(hd_parse_bool(p, message, "prefix", &is_prefix));
    if (!is_prefix) return HD_OK;
    const hd_json *at = hd_json_get(message, "prefix");
    if (message->next) return hd_parse_refuse(p, at, "may be true in the last message only");
    if (p->last_turn->calls || hd_parse_find(p->body, "tools"))
        return hd_parse_refuse(p, at, "cannot be true beside tools");
    if (p->out->format == HD_FORMAT_OBJECT)
        return hd_parse_refuse(p, at, "cannot be true beside the format json_object");
    p->out->continues = true;
    return HD_OK;
}

static hd_status add_assistant(hd_parser *p, const hd_json *message)
{
    const hd_json *calls, *content = hd_parse_find(message, "content");
    HD_TRY(hd_parse_add_turn(p, HD_ROLE_ASSISTANT, message));
    HD_TRY(hd_parse_array(p, message, "tool_calls", &calls));
    if (calls && calls->n == 0) return hd_parse_wrong(p, HD_E_ARG, calls, "calls, or not there");
    if (!content && !calls)
        return hd_parse_missing(p, message, "content", "a string where no tool is called");
    if (content) HD_TRY(hd_parse_text(p, content, &p->last_turn->content));
    HD_TRY(read_reasoning(p, message));
    for (const hd_json *x = calls ? calls->child : NULL; x; x = x->next) HD_TRY(add_call(p, x));
    return read_prefix(p, message);
}

static hd_status add_message(hd_parser *p, const hd_json *message)
{
    hd_str role;
    if (message->kind != HD_JSON_OBJECT)
        return hd_parse_wrong(p, HD_E_FORMAT, message, "an object with a 'role'");
    HD_TRY(hd_parse_need_str(p, message, "role", &role));
    if (hd_str_eqz(role, "system") || hd_str_eqz(role, "developer"))
        return add_plain(p, message, HD_ROLE_SYSTEM);
    if (hd_str_eqz(role, "user")) return add_plain(p, message, HD_ROLE_USER);
    if (hd_str_eqz(role, "assistant")) return add_assistant(p, message);
    if (hd_str_eqz(role, "tool")) return add_result(p, message);
    if (hd_str_eqz(role, "latest_reminder")) return add_plain(p, message, HD_ROLE_REMINDER);
    return hd_parse_wrong(p, HD_E_ARG, hd_json_get(message, "role"),
                          "system, developer, user, assistant, tool or latest_reminder");
}

static hd_status read_messages(hd_parser *p)
{
    const hd_json *list;
    HD_TRY(hd_parse_array(p, p->body, "messages", &list));
    if (!list) return hd_parse_missing(p, p->body, "messages", "an array of messages");
    if (list->n == 0) return hd_parse_wrong(p, HD_E_ARG, list, "at least one message");
    for (const hd_json *m = list->child; m; m = m->next) HD_TRY(add_message(p, m));
    return hd_parse_check_results(p, "");
}

/* ---- tools ---- */

/* `functions` and `function_call` are the names of before 2024. */
static hd_status read_tools(hd_parser *p)
{
    const hd_json *tools, *functions = NULL;
    bool calls_many = true;
    HD_TRY(hd_parse_array(p, p->body, "tools", &tools));
    if (!tools) HD_TRY(hd_parse_array(p, p->body, "functions", &functions));
    HD_TRY(hd_parse_tools(p, tools));
    HD_TRY(hd_parse_functions(p, functions));
    const char *choice = functions ? "function_call" : "tool_choice";
    HD_TRY(hd_parse_choice(p, hd_parse_find(p->body, choice)));
    HD_TRY(hd_parse_bool(p, p->body, "parallel_tool_calls", &calls_many));
    p->out->one_call = !calls_many;
    return hd_parse_check_tools(p);
}

/* ---- thinking ---- */

/* vLLM's way to switch it counts where DeepSeek's own members say nothing. */
static hd_status read_thinking(hd_parser *p)
{
    const hd_json *thinking = hd_parse_find(p->body, "thinking");
    const hd_json *effort = hd_parse_find(p->body, "reasoning_effort");
    const hd_json *kwargs = hd_parse_find(p->body, "chat_template_kwargs");
    if (kwargs && kwargs->kind != HD_JSON_OBJECT)
        return hd_parse_wrong(p, HD_E_FORMAT, kwargs, "an object");
    if (!effort) effort = hd_parse_find(kwargs, "reasoning_effort");
    HD_TRY(hd_parse_thinking(p, thinking, effort));
    if (thinking) return HD_OK;
    HD_TRY(hd_parse_bool(p, kwargs, "enable_thinking", &p->out->thinks));
    return hd_parse_bool(p, kwargs, "thinking", &p->out->thinks);
}

/* ---- the rest ---- */

static hd_status read_limit(hd_parser *p)
{
    const char *const name =
        hd_parse_find(p->body, "max_completion_tokens") ? "max_completion_tokens" : "max_tokens";
    return hd_parse_i32(p, p->body, name, 1, INT32_MAX, &p->out->max_tokens);
}

static hd_status read_logprobs(hd_parser *p)
{
    const hd_json *top = hd_parse_find(p->body, "top_logprobs");
    HD_TRY(hd_parse_bool(p, p->body, "logprobs", &p->out->wants_logprobs));
    if (top && !p->out->wants_logprobs) return hd_parse_refuse(p, top, "needs 'logprobs': true");
    return hd_parse_i32(p, p->body, "top_logprobs", 0, HD_MAX_TOP_LOGPROBS, &p->out->n_top);
}

static hd_status refuse_audio(hd_parser *p)
{
    const hd_json *audio = hd_parse_find(p->body, "audio");
    return audio ? hd_parse_refuse(p, audio, "is not supported: answers are text") : HD_OK;
}

hd_status hd_parse_chat(hd_parser *p)
{
    HD_TRY(hd_parse_basics(p));
    HD_TRY(hd_parse_openai(p));
    HD_TRY(refuse_audio(p));
    HD_TRY(read_limit(p));
    HD_TRY(read_logprobs(p));
    HD_TRY(hd_parse_stops(p, hd_parse_find(p->body, "stop")));
    HD_TRY(read_thinking(p));
    HD_TRY(hd_parse_format(p, hd_parse_find(p->body, "response_format"), "json_schema"));
    HD_TRY(read_tools(p));
    return read_messages(p);
}
