/* Rendering of prepared messages: see chat.h. */
#include "text/chat.h"

#include "base/jsonw.h"
#include "base/utf8.h"
#include "text/chat_prep.h"
#include "text/dsml.h"

#define MAX_REQUEST_BYTES ((size_t)1 << 30)
#define MAX_FORMAT_BYTES  ((size_t)256 << 20)

typedef struct renderer {
    const hd_chat_opts *opts;
    const hd_chat_rules *rules;
    const char *effort; /* prefix of the prompt; "" for none */
    hd_chat_list list;  /* context and messages */
    size_t n_context;   /* messages at the front that are not printed */
    bool drops;         /* reasoning before the last user message is left out */
    ptrdiff_t last;     /* index of the last user message, -1 if none */
    hd_buf effort_text; /* for an effort given as a number */
    hd_prompt *out;
    hd_err *err;
} renderer;

/* Where content stands decides what becomes of parts that are no text. */
typedef enum place { IN_USER, IN_RESULT, IN_REMINDER, IN_OTHER } place;

static hd_status fail_at(const hd_json *node, hd_err *err, const char *expected)
{
    char path[sizeof err->path];
    hd_json_path(node, path, sizeof path);
    HD_SET_ERR(err, HD_E_FORMAT, "'%s' must be %s, got %.*s", path, expected,
               HD_STR_ARG(hd_utf8_cut(node->text, 64)));
    hd_err_set_path(err, path);
    return HD_E_FORMAT;
}

/* ---- content ---- */

static bool has_source(const hd_json *image)
{
    const hd_json *url = hd_json_get(image, "image_url");
    if (url && url->kind == HD_JSON_OBJECT) url = hd_json_get(url, "url");
    return hd_chat_truthy(url) || hd_chat_truthy(hd_json_get(image, "source")) ||
           hd_chat_truthy(hd_json_get(image, "url"));
}

static bool is_image(hd_str type)
{
    return hd_str_eqz(type, "image") || hd_str_eqz(type, "image_url");
}

/* Whether a part is printed at all. */
static bool is_printed(const renderer *r, hd_str type, place where)
{
    return where == IN_USER || r->rules->names_unknown_parts || hd_str_eqz(type, "text") ||
           is_image(type);
}

static hd_status add_part(renderer *r, const hd_json *part, hd_str type)
{
    if (hd_str_eqz(type, "text")) {
        hd_str text = {0};
        const hd_json *node = hd_json_get(part, "text");
        if (node && node->kind != HD_JSON_NULL)
            HD_TRY(hd_json_get_str(part, "text", &text, r->err));
        hd_prompt_add(r->out, text);
    } else if (r->rules->has_images && is_image(type)) {
        if (!has_source(part)) return fail_at(part, r->err, "an image with a source");
        hd_prompt_add_token(r->out, HD_TOKEN_IMAGE);
    } else {
        hd_prompt_addz(r->out, "[Unsupported ");
        hd_prompt_add(r->out, type);
        hd_prompt_addz(r->out, "]");
    }
    return HD_OK;
}

static hd_status add_parts(renderer *r, const hd_json *list, place where)
{
    bool is_first = true;
    for (const hd_json *part = list->child; part; part = part->next) {
        hd_str type;
        if (part->kind != HD_JSON_OBJECT) return fail_at(part, r->err, "an object with a 'type'");
        HD_TRY(hd_json_get_str(part, "type", &type, r->err));
        if (!is_printed(r, type, where)) continue;
        if (!is_first) hd_prompt_addz(r->out, "\n\n");
        is_first = false;
        HD_TRY(add_part(r, part, type));
    }
    return HD_OK;
}

/* Content as it may stand in a message: nothing, null, a string, a list of parts. */
static hd_status add_content(renderer *r, const hd_json *content, place where)
{
    if (!content) return HD_OK;
    if (content->kind == HD_JSON_NULL) {
        bool is_named = where == IN_RESULT || where == IN_REMINDER;
        if (is_named && r->opts->writes_none) hd_prompt_addz(r->out, "None");
        return HD_OK;
    }
    if (content->kind == HD_JSON_STRING) {
        hd_prompt_add(r->out, content->text);
        return HD_OK;
    }
    if (content->kind == HD_JSON_ARRAY) return add_parts(r, content, where);
    return fail_at(content, r->err, "a string or a list of parts");
}

static hd_status add_blocks(renderer *r, const hd_chat_message *m)
{
    for (const hd_chat_block *b = m->first; b; b = b->next) {
        if (b != m->first) hd_prompt_addz(r->out, "\n\n");
        if (b->is_result) {
            hd_prompt_addz(r->out, "<tool_result>");
            HD_TRY(add_content(r, b->content, IN_RESULT));
            hd_prompt_addz(r->out, "</tool_result>");
        } else if (b->content && b->content->kind == HD_JSON_OBJECT) {
            hd_str type;
            HD_TRY(hd_json_get_str(b->content, "type", &type, r->err));
            HD_TRY(add_part(r, b->content, type));
        } else {
            HD_TRY(add_content(r, b->content, IN_USER));
        }
    }
    return HD_OK;
}

/* ---- messages ---- */

/* What a system or developer message may carry besides its content. */
static hd_status add_extras(renderer *r, const hd_chat_message *m)
{
    const hd_json *format = hd_json_get(m->src, "response_format");
    if (m->tools) {
        hd_prompt_addz(r->out, "\n\n");
        HD_TRY(hd_dsml_add_tools(r->out, r->rules, m->tools, r->err));
    }
    if (!hd_chat_truthy(format)) return HD_OK;
    hd_buf json;
    hd_buf_init(&json, MAX_FORMAT_BYTES);
    hd_jsonw_value(&json, format);
    hd_prompt_addz(r->out, "\n\n");
    hd_prompt_addz(r->out, hd_chat_format_head);
    hd_prompt_add(r->out, hd_buf_str(&json));
    hd_status status = hd_buf_status(&json, "the response format", r->err);
    hd_buf_deinit(&json);
    return status;
}

static hd_status add_developer(renderer *r, const hd_chat_message *m)
{
    const hd_json *content = hd_json_get(m->src, "content");
    if (!hd_chat_truthy(content)) {
        char path[sizeof r->err->path];
        hd_json_path(m->src, path, sizeof path);
        HD_SET_ERR(r->err, HD_E_FORMAT, "'%s.content' of a developer must not be empty", path);
        hd_err_set_path(r->err, path);
        return HD_E_FORMAT;
    }
    hd_prompt_add_token(r->out, HD_TOKEN_USER);
    HD_TRY(add_content(r, content, IN_OTHER));
    return add_extras(r, m);
}

/* An empty reasoning still ends with its token: the header before it has opened one. */
static hd_status add_reasoning(renderer *r, const hd_chat_message *m, size_t index)
{
    bool after_task = index > 0 && r->list.items[index - 1].task;
    bool is_dropped = r->drops && (ptrdiff_t)index <= r->last;
    if (!r->opts->thinks || after_task || is_dropped) return HD_OK;
    const hd_json *reasoning = hd_json_get(m->src, "reasoning_content");
    if (reasoning && reasoning->kind != HD_JSON_NULL) {
        if (reasoning->kind != HD_JSON_STRING) return fail_at(reasoning, r->err, "a string");
        hd_prompt_add(r->out, reasoning->text);
    }
    hd_prompt_add_token(r->out, HD_TOKEN_END_THINK);
    return HD_OK;
}

static hd_status add_assistant(renderer *r, const hd_chat_message *m, size_t index)
{
    const hd_json *calls = hd_json_get(m->src, "tool_calls");
    HD_TRY(add_reasoning(r, m, index));
    HD_TRY(add_content(r, hd_chat_content(m->src, r->rules), IN_OTHER));
    if (hd_chat_truthy(calls)) {
        if (calls->kind != HD_JSON_ARRAY) return fail_at(calls, r->err, "a list of calls");
        hd_prompt_addz(r->out, "\n\n");
        HD_TRY(hd_dsml_add_calls(r->out, r->rules, calls, r->err));
    }
    if (!hd_chat_truthy(hd_json_get(m->src, "wo_eos"))) hd_prompt_add_token(r->out, HD_TOKEN_EOS);
    return HD_OK;
}

static hd_status unknown_role(renderer *r, const hd_chat_message *m)
{
    const hd_json *role = hd_json_get(m->src, "role");
    return fail_at(role, r->err,
                   r->rules->has_developer
                       ? "system, developer, user, assistant, tool or latest_reminder"
                       : "system, user, assistant, tool or latest_reminder");
}

static hd_status add_message(renderer *r, const hd_chat_message *m, size_t index)
{
    switch (m->role) {
    case HD_ROLE_SYSTEM:
        if (r->rules->has_system_token && index > 0) hd_prompt_add_token(r->out, HD_TOKEN_SYSTEM);
        HD_TRY(add_content(r, hd_chat_content(m->src, r->rules), IN_OTHER));
        return add_extras(r, m);
    case HD_ROLE_USER: hd_prompt_add_token(r->out, HD_TOKEN_USER); return add_blocks(r, m);
    case HD_ROLE_ASSISTANT: return add_assistant(r, m, index);
    case HD_ROLE_DEVELOPER: return add_developer(r, m);
    case HD_ROLE_REMINDER:
        hd_prompt_add_token(r->out, HD_TOKEN_REMINDER);
        return add_content(r, hd_chat_content(m->src, r->rules), IN_REMINDER);
    default: return unknown_role(r, m);
    }
}

/* ---- what stands between messages ---- */

static void add_header(renderer *r, bool opens_thinking)
{
    hd_prompt_add_token(r->out, HD_TOKEN_ASSISTANT);
    hd_prompt_add_token(r->out, opens_thinking ? HD_TOKEN_THINK : HD_TOKEN_END_THINK);
}

static hd_status add_task(renderer *r, const hd_json *task)
{
    static const struct {
        const char *name, *token;
    } tasks[] = {{"action", "<｜action｜>"},       {"query", "<｜query｜>"},
                 {"authority", "<｜authority｜>"}, {"domain", "<｜domain｜>"},
                 {"title", "<｜title｜>"},         {"read_url", "<｜read_url｜>"}};
    for (size_t i = 0; i < HD_COUNT(tasks); i++) {
        if (task->kind != HD_JSON_STRING || !hd_str_eqz(task->text, tasks[i].name)) continue;
        if (i == 0) add_header(r, r->opts->thinks); /* an action is decided, all else just said */
        hd_prompt_add_token(r->out, tasks[i].token);
        return HD_OK;
    }
    return fail_at(task, r->err, "action, query, authority, domain, title or read_url");
}

/* The turn passes to the model where an answer follows or is wanted. */
static hd_status add_transition(renderer *r, const hd_chat_message *m, size_t index)
{
    if (index + 1 < r->list.n) {
        hd_chat_role next = r->list.items[index + 1].role;
        if (next != HD_ROLE_ASSISTANT && next != HD_ROLE_REMINDER) return HD_OK;
    }
    if (m->task) return add_task(r, m->task);
    if (hd_chat_is_turn(m, index, r->rules))
        add_header(r, r->opts->thinks && (!r->drops || (ptrdiff_t)index >= r->last));
    return HD_OK;
}

static void add_start(renderer *r)
{
    bool is_fresh = !r->opts->context || r->opts->context->n == 0;
    if (is_fresh && !r->opts->omits_bos) hd_prompt_add_token(r->out, HD_TOKEN_BOS);
    if (r->list.n == 0 || r->n_context > 0) return;
    if (r->rules->has_system_token && (*r->effort || r->list.items[0].role == HD_ROLE_SYSTEM))
        hd_prompt_add_token(r->out, HD_TOKEN_SYSTEM);
    hd_prompt_addz(r->out, r->effort);
}

/* ---- options ---- */

/* The effort's prefix. Also checked in chat mode, where it is not printed. */
static hd_status choose_effort(renderer *r)
{
    const hd_json *effort = r->opts->effort;
    const hd_chat_rules *rules = r->rules;
    int64_t n;
    r->effort = rules->default_prefix;
    if (!effort || effort->kind == HD_JSON_NULL) return HD_OK;
    if (rules->falsy_effort_is_default && !hd_chat_truthy(effort)) return HD_OK;
    if (effort->kind == HD_JSON_STRING) {
        for (const hd_chat_effort *e = rules->efforts; e->name; e++) {
            if (!hd_str_eqz(effort->text, e->name)) continue;
            r->effort = e->prefix;
            return HD_OK;
        }
    }
    if (!rules->scale_head) {
        bool is_april = strcmp(rules->efforts[0].name, "high") == 0;
        return fail_at(effort, r->err, is_april ? "high or max" : "low, high or max");
    }
    if (hd_json_i64(effort, 1, 100, &n, NULL) != HD_OK)
        return fail_at(effort, r->err, "low, high, max or an integer from 1 to 100");
    hd_buf_addf(&r->effort_text, "%s%d%s", rules->scale_head, (int)n, rules->scale_tail);
    r->effort = r->effort_text.ptr;
    return hd_buf_status(&r->effort_text, "the effort", r->err);
}

static hd_status read_bool(const hd_json *options, const char *key, bool *out, hd_err *err)
{
    return hd_json_get(options, key) ? hd_json_get_bool(options, key, out, err) : HD_OK;
}

hd_status hd_chat_read_opts(hd_str version, const hd_json *options, hd_chat_opts *out, hd_err *err)
{
    hd_str mode = HD_STR("chat"), release = {0};
    bool drops = true, adds_bos = true;
    *out = (hd_chat_opts){0};
    if (options && options->kind != HD_JSON_NULL) {
        if (options->kind != HD_JSON_OBJECT) return fail_at(options, err, "an object");
        if (hd_json_get(options, "thinking_mode"))
            HD_TRY(hd_json_get_str(options, "thinking_mode", &mode, err));
        if (hd_json_get(options, "release"))
            HD_TRY(hd_json_get_str(options, "release", &release, err));
        HD_TRY(read_bool(options, "drop_thinking", &drops, err));
        HD_TRY(read_bool(options, "add_default_bos_token", &adds_bos, err));
        out->effort = hd_json_get(options, "reasoning_effort");
        out->context = hd_json_get(options, "context");
        if (out->context && out->context->kind == HD_JSON_NULL) out->context = NULL;
    }
    out->thinks = hd_str_eqz(mode, "thinking");
    if (!out->thinks && !hd_str_eqz(mode, "chat"))
        return fail_at(hd_json_get(options, "thinking_mode"), err, "chat or thinking");
    out->keeps_reasoning = !drops;
    out->omits_bos = !adds_bos;
    out->rules = hd_chat_rules_find(version, release);
    if (out->rules) return HD_OK;
    HD_FAIL(err, HD_E_UNSUPPORTED, "no chat format '%.*s' '%.*s', expected v4 or v4.1, %s",
            HD_STR_ARG(hd_utf8_cut(version, 32)), HD_STR_ARG(hd_utf8_cut(release, 32)),
            "and for v4 april or 0731");
}

/* ---- all of it ---- */

/* Context and messages are merged each for itself, then handled as one list, of which the part
 * that the context accounts for is not printed. */
static hd_status prepare(renderer *r, const hd_json *messages, const hd_json *tools,
                         hd_arena *arena)
{
    hd_chat_list context = {0}, new = {0};
    if (tools && tools->kind == HD_JSON_NULL) tools = NULL;
    if (r->opts->context)
        HD_TRY(hd_chat_merge(r->opts->context, NULL, r->rules, arena, &context, r->err));
    HD_TRY(hd_chat_merge(messages, tools, r->rules, arena, &new, r->err));
    size_t n = context.n + new.n;
    r->list = (hd_chat_list){hd_arena_try_alloc(arena, n, sizeof *r->list.items), n};
    if (!r->list.items) HD_FAIL(r->err, HD_E_NOMEM, "out of memory for %zu messages", n);
    for (size_t i = 0; i < n; i++)
        r->list.items[i] = i < context.n ? context.items[i] : new.items[i - context.n];
    HD_TRY(hd_chat_sort_results(&r->list, arena, r->err));
    r->drops = !r->opts->keeps_reasoning;
    for (size_t i = 0; i < n; i++)
        if (r->list.items[i].tools) r->drops = false;
    if (r->opts->thinks && r->drops) {
        hd_chat_drop(&r->list, r->rules);
        hd_chat_drop(&context, r->rules);
    }
    r->n_context = context.n;
    r->last = hd_chat_last_user(&r->list, r->rules);
    return HD_OK;
}

static hd_status render(renderer *r, const hd_json *messages, const hd_json *tools, hd_arena *arena)
{
    HD_TRY(choose_effort(r));
    if (!r->opts->thinks) r->effort = "";
    HD_TRY(prepare(r, messages, tools, arena));
    add_start(r);
    for (size_t i = r->n_context; i < r->list.n; i++) {
        HD_TRY(add_message(r, &r->list.items[i], i));
        HD_TRY(add_transition(r, &r->list.items[i], i));
    }
    return hd_prompt_status(r->out, r->err);
}

hd_status hd_chat_render(const hd_json *messages, const hd_json *tools, const hd_chat_opts *opts,
                         hd_prompt *out, hd_err *err)
{
    renderer r = {.opts = opts, .rules = opts->rules, .out = out, .err = err};
    hd_arena arena;
    hd_arena_init(&arena, MAX_REQUEST_BYTES);
    hd_buf_init(&r.effort_text, 256);
    hd_status status = render(&r, messages, tools, &arena);
    hd_buf_deinit(&r.effort_text);
    hd_arena_deinit(&arena);
    return status;
}
