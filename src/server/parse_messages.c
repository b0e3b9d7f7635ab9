/* Anthropic Messages: see parse.h. */
#include "server/parse.h"

#define BILLING_MARK HD_STR("x-anthropic-billing-header:")

/* ---- blocks ---- */

static hd_status block_type(hd_parser *p, const hd_json *block, hd_str *type)
{
    if (block->kind != HD_JSON_OBJECT)
        return hd_parse_wrong(p, HD_E_FORMAT, block, "an object with a 'type'");
    return hd_parse_need_str(p, block, "type", type);
}

static bool is_block(const hd_json *block, const char *type)
{
    const hd_json *x = hd_json_get(block, "type");
    return x && x->kind == HD_JSON_STRING && hd_str_eqz(x->text, type);
}

/* A document can be text after all. */
static hd_status read_block(hd_parser *p, const hd_json *block, hd_str *out)
{
    const hd_json *source = hd_parse_find(block, "source");
    if (is_block(block, "document") && is_block(source, "text"))
        return hd_parse_need_str(p, source, "data", out);
    return hd_parse_part(p, block, out);
}

/* The text of a string or of blocks. One whose value changes on every request would spoil the
 * prefix for all that follows, and says nothing to a model. */
static hd_status system_text(hd_parser *p, const hd_json *content, hd_str *out)
{
    hd_str text;
    if (content->kind != HD_JSON_ARRAY) return hd_parse_text(p, content, out);
    *out = (hd_str){0};
    for (const hd_json *x = content->child; x; x = x->next) {
        HD_TRY(hd_parse_part(p, x, &text));
        if (hd_str_starts(text, BILLING_MARK)) continue;
        HD_TRY(hd_parse_join(p, out, "\n\n", text));
    }
    if (!out->ptr) *out = HD_STR("");
    return HD_OK;
}

/* ---- users ---- */

static hd_status add_result(hd_parser *p, const hd_json *block)
{
    const hd_json *content = hd_parse_find(block, "content");
    HD_TRY(hd_parse_add_turn(p, HD_ROLE_TOOL, block));
    HD_TRY(hd_parse_need_str(p, block, "tool_use_id", &p->last_turn->call_id));
    p->last_turn->content = HD_STR("");
    return content ? hd_parse_text(p, content, &p->last_turn->content) : HD_OK;
}

/* Results come first, wherever they stand among the blocks: they answer the turn before. Each text
 * is a turn of its own, which is printed as one with its neighbours. */
static hd_status add_user(hd_parser *p, const hd_json *message, const hd_json *content)
{
    hd_str type;
    if (content->kind != HD_JSON_ARRAY) {
        HD_TRY(hd_parse_add_turn(p, HD_ROLE_USER, message));
        return hd_parse_text(p, content, &p->last_turn->content);
    }
    if (content->n == 0) return hd_parse_wrong(p, HD_E_ARG, content, "at least one block");
    for (const hd_json *x = content->child; x; x = x->next) {
        HD_TRY(block_type(p, x, &type));
        if (hd_str_eqz(type, "tool_result")) HD_TRY(add_result(p, x));
    }
    for (const hd_json *x = content->child; x; x = x->next) {
        if (is_block(x, "tool_result")) continue;
        HD_TRY(hd_parse_add_turn(p, HD_ROLE_USER, x));
        HD_TRY(read_block(p, x, &p->last_turn->content));
    }
    return HD_OK;
}

/* ---- assistants ---- */

static hd_status add_call(hd_parser *p, const hd_json *block)
{
    hd_str id, name;
    const hd_json *input = hd_json_get(block, "input");
    HD_TRY(hd_parse_need_str(p, block, "id", &id));
    HD_TRY(hd_parse_need_str(p, block, "name", &name));
    if (!input) return hd_parse_missing(p, block, "input", "an object");
    if (input->kind != HD_JSON_OBJECT) return hd_parse_wrong(p, HD_E_FORMAT, input, "an object");
    HD_TRY(hd_parse_add_call(p, id, name, block));
    p->last_call->args = input->text;
    return HD_OK;
}

static hd_status add_thinking(hd_parser *p, const hd_json *block)
{
    hd_str text = HD_STR(""), seal = {0};
    HD_TRY(hd_parse_str(p, block, "thinking", &text));
    HD_TRY(hd_parse_str(p, block, "signature", &seal));
    if (seal.len) p->last_turn->seal = seal;
    return hd_parse_add_reasoning(p, text, "\n\n");
}

static hd_status add_block(hd_parser *p, const hd_json *block)
{
    static const char *const left_out[] = {"redacted_thinking", "server_tool_use",
                                           "web_search_tool_result", "web_fetch_tool_result",
                                           "code_execution_tool_result"};
    hd_str type, text;
    HD_TRY(block_type(p, block, &type));
    if (hd_str_eqz(type, "tool_use")) return add_call(p, block);
    if (hd_str_eqz(type, "thinking")) return add_thinking(p, block);
    for (size_t i = 0; i < HD_COUNT(left_out); i++) {
        if (!hd_str_eqz(type, left_out[i])) continue;
        hd_canon_warn(p->out, "blocks of other services were left out");
        return HD_OK;
    }
    HD_TRY(read_block(p, block, &text));
    if (p->last_turn->content.len == 0) p->last_turn->content = (hd_str){0};
    return hd_parse_join(p, &p->last_turn->content, "\n\n", text);
}

static hd_status add_assistant(hd_parser *p, const hd_json *message, const hd_json *content)
{
    HD_TRY(hd_parse_add_turn(p, HD_ROLE_ASSISTANT, message));
    if (content->kind != HD_JSON_ARRAY) return hd_parse_text(p, content, &p->last_turn->content);
    if (content->n == 0) return hd_parse_wrong(p, HD_E_ARG, content, "at least one block");
    for (const hd_json *x = content->child; x; x = x->next) HD_TRY(add_block(p, x));
    return HD_OK;
}

/* ---- messages ---- */

static hd_status add_system(hd_parser *p, const hd_json *content, const hd_json *source)
{
    HD_TRY(hd_parse_add_turn(p, HD_ROLE_SYSTEM, source));
    return system_text(p, content, &p->last_turn->content);
}

static hd_status add_message(hd_parser *p, const hd_json *message)
{
    hd_str role;
    if (message->kind != HD_JSON_OBJECT)
        return hd_parse_wrong(p, HD_E_FORMAT, message, "an object with a 'role'");
    HD_TRY(hd_parse_need_str(p, message, "role", &role));
    const hd_json *content = hd_parse_find(message, "content");
    if (!content) return hd_parse_missing(p, message, "content", "a string or a list of blocks");
    if (hd_str_eqz(role, "user")) return add_user(p, message, content);
    if (hd_str_eqz(role, "assistant")) return add_assistant(p, message, content);
    if (hd_str_eqz(role, "system")) return add_system(p, content, message);
    return hd_parse_wrong(p, HD_E_ARG, hd_json_get(message, "role"), "user, assistant or system");
}

static hd_status read_messages(hd_parser *p)
{
    const hd_json *list, *system = hd_parse_find(p->body, "system");
    if (system) HD_TRY(add_system(p, system, system));
    HD_TRY(hd_parse_array(p, p->body, "messages", &list));
    if (!list) return hd_parse_missing(p, p->body, "messages", "an array of messages");
    if (list->n == 0) return hd_parse_wrong(p, HD_E_ARG, list, "at least one message");
    for (const hd_json *m = list->child; m; m = m->next) HD_TRY(add_message(p, m));
    HD_TRY(hd_parse_check_results(p, ""));
    p->out->continues = p->last_turn->role == HD_ROLE_ASSISTANT;
    return HD_OK;
}

/* ---- settings ---- */

static hd_status read_choice(hd_parser *p)
{
    const hd_json *choice;
    hd_str type;
    if (!hd_parse_find(p->body, "tool_choice")) return HD_OK;
    HD_TRY(hd_parse_need_object(p, p->body, "tool_choice", &choice));
    HD_TRY(hd_parse_bool(p, choice, "disable_parallel_tool_use", &p->out->one_call));
    HD_TRY(hd_parse_need_str(p, choice, "type", &type));
    if (hd_str_eqz(type, "auto")) return HD_OK;
    if (hd_str_eqz(type, "any")) {
        p->out->choice = HD_TOOLS_REQUIRED;
        return HD_OK;
    }
    if (hd_str_eqz(type, "none")) {
        p->out->choice = HD_TOOLS_NONE;
        return HD_OK;
    }
    if (!hd_str_eqz(type, "tool"))
        return hd_parse_wrong(p, HD_E_ARG, hd_json_get(choice, "type"), "auto, any, tool or none");
    const hd_json *name = hd_parse_find(choice, "name");
    return name ? hd_parse_named(p, name) : hd_parse_missing(p, choice, "name", "a string");
}

static hd_status read_tools(hd_parser *p)
{
    const hd_json *tools;
    HD_TRY(hd_parse_array(p, p->body, "tools", &tools));
    HD_TRY(hd_parse_message_tools(p, tools));
    HD_TRY(read_choice(p));
    return hd_parse_check_tools(p);
}

/* `output_format` is the older name of output_config.format. */
static hd_status read_output(hd_parser *p)
{
    const hd_json *config = NULL, *format;
    if (hd_parse_find(p->body, "output_config"))
        HD_TRY(hd_parse_need_object(p, p->body, "output_config", &config));
    format = hd_parse_find(config, "format");
    if (!format) format = hd_parse_find(p->body, "output_format");
    HD_TRY(hd_parse_format(p, format, NULL));
    return hd_parse_thinking(p, hd_parse_find(p->body, "thinking"),
                             hd_parse_find(config, "effort"));
}

static hd_status read_user(hd_parser *p)
{
    const hd_json *metadata = NULL;
    if (!hd_parse_find(p->body, "metadata")) return HD_OK;
    HD_TRY(hd_parse_need_object(p, p->body, "metadata", &metadata));
    return hd_parse_str(p, metadata, "user_id", &p->out->user);
}

hd_status hd_parse_messages(hd_parser *p)
{
    const hd_json *thread = hd_parse_find(p->body, "thread"), *stops;
    if (thread)
        return hd_parse_refuse(p, thread, "is not supported: send the full history instead");
    HD_TRY(hd_parse_basics(p));
    HD_TRY(hd_parse_i32(p, p->body, "max_tokens", 1, INT32_MAX, &p->out->max_tokens));
    HD_TRY(hd_parse_array(p, p->body, "stop_sequences", &stops));
    HD_TRY(hd_parse_stops(p, stops));
    HD_TRY(read_output(p));
    HD_TRY(read_user(p));
    HD_TRY(read_tools(p));
    return read_messages(p);
}
