/* Merging, ordering and dropping of messages: see chat_prep.h. */
#include "text/chat_prep.h"

#include <stdlib.h>

#include "base/strmap.h"
#include "base/utf8.h"

bool hd_chat_truthy(const hd_json *value)
{
    double x;
    if (!value) return false;
    switch (value->kind) {
    case HD_JSON_NULL: return false;
    case HD_JSON_BOOL: return value->truth;
    case HD_JSON_NUMBER: return !hd_json_number_f64(value->text, &x) || x != 0;
    case HD_JSON_STRING: return value->text.len > 0;
    default: return value->n > 0;
    }
}

static const hd_json *truthy_or_null(const hd_json *value)
{
    return hd_chat_truthy(value) ? value : NULL;
}

static hd_status fail_at(const hd_json *node, hd_err *err, const char *expected)
{
    char path[sizeof err->path];
    hd_json_path(node, path, sizeof path);
    HD_SET_ERR(err, HD_E_FORMAT, "'%s' must be %s, got %s", path, expected,
               hd_json_kind_name(node->kind));
    hd_err_set_path(err, path);
    return HD_E_FORMAT;
}

static hd_status no_memory(hd_err *err)
{
    HD_FAIL(err, HD_E_NOMEM, "the messages need more memory than a request may take");
}

const hd_json *hd_chat_content(const hd_json *message, const hd_chat_rules *rules)
{
    const hd_json *blocks = hd_json_get(message, "content_blocks");
    if (rules->has_content_blocks && blocks && blocks->kind != HD_JSON_NULL) return blocks;
    return hd_json_get(message, "content");
}

/* ---- the placeholder of images ---- */

static hd_status refuse_placeholder(const hd_json *node, hd_err *err)
{
    if (!node || node->kind != HD_JSON_STRING) return HD_OK;
    if (hd_str_find(node->text, HD_STR(HD_TOKEN_IMAGE), 0) == node->text.len) return HD_OK;
    char path[sizeof err->path];
    hd_json_path(node, path, sizeof path);
    HD_SET_ERR(err, HD_E_FORMAT,
               "'%s' must not contain '" HD_TOKEN_IMAGE "': images are parts of their own", path);
    hd_err_set_path(err, path);
    return HD_E_FORMAT;
}

/* Content or blocks of a message: a string, or a list whose parts may hold a list themselves. */
static hd_status check_content(const hd_json *content, hd_err *err)
{
    HD_TRY(refuse_placeholder(content, err));
    if (!content || content->kind != HD_JSON_ARRAY) return HD_OK;
    for (const hd_json *part = content->child; part; part = part->next) {
        HD_TRY(refuse_placeholder(hd_json_get(part, "text"), err));
        const hd_json *inner = hd_json_get(part, "content");
        HD_TRY(refuse_placeholder(inner, err));
        if (!inner || inner->kind != HD_JSON_ARRAY) continue;
        for (const hd_json *p = inner->child; p; p = p->next)
            HD_TRY(refuse_placeholder(hd_json_get(p, "text"), err));
    }
    return HD_OK;
}

static hd_status check_placeholders(const hd_json *message, hd_err *err)
{
    HD_TRY(check_content(hd_json_get(message, "content"), err));
    HD_TRY(check_content(hd_json_get(message, "content_blocks"), err));
    return refuse_placeholder(hd_json_get(message, "reasoning_content"), err);
}

/* ---- merging ---- */

typedef struct merger {
    const hd_chat_rules *rules;
    hd_arena *arena;
    hd_chat_list *list;
    hd_err *err;
} merger;

static hd_status add_block(merger *g, hd_chat_message *m, hd_chat_block block)
{
    hd_chat_block *b = hd_arena_try_alloc(g->arena, 1, sizeof *b);
    if (!b) return no_memory(g->err);
    *b = block;
    if (m->last)
        m->last->next = b;
    else
        m->first = b;
    m->last = b;
    m->n_results += block.is_result;
    return HD_OK;
}

/* A part of a user's content list; a result may be given there too. */
static hd_status add_part(merger *g, hd_chat_message *m, const hd_json *part)
{
    hd_str type;
    if (part->kind != HD_JSON_OBJECT) return fail_at(part, g->err, "an object with a 'type'");
    HD_TRY(hd_json_get_str(part, "type", &type, g->err));
    if (!hd_str_eqz(type, "tool_result")) return add_block(g, m, (hd_chat_block){.content = part});
    const hd_json *id = hd_json_get(part, "tool_use_id");
    hd_chat_block block = {.is_result = true, .content = hd_json_get(part, "content")};
    if (id && id->kind == HD_JSON_STRING) block.call_id = id->text;
    return add_block(g, m, block);
}

static hd_status add_user_content(merger *g, hd_chat_message *m, const hd_json *message)
{
    const hd_json *content = hd_chat_content(message, g->rules);
    if (content && content->kind == HD_JSON_ARRAY) {
        for (const hd_json *part = content->child; part; part = part->next)
            HD_TRY(add_part(g, m, part));
        return HD_OK;
    }
    if (content && content->kind != HD_JSON_STRING)
        return fail_at(content, g->err, "a string or a list of parts");
    return add_block(g, m, (hd_chat_block){.content = content});
}

static hd_chat_message *last_message(const merger *g)
{
    return g->list->n ? &g->list->items[g->list->n - 1] : NULL;
}

static hd_chat_message *new_message(merger *g, hd_chat_role role, const hd_json *src)
{
    hd_chat_message *m = &g->list->items[g->list->n++];
    *m = (hd_chat_message){.role = role, .src = src};
    return m;
}

static hd_status merge_tool(merger *g, const hd_json *message)
{
    hd_chat_message *m = last_message(g);
    const hd_json *id = hd_json_get(message, "tool_call_id");
    hd_chat_block block = {.is_result = true, .content = hd_chat_content(message, g->rules)};
    if (id && id->kind == HD_JSON_STRING) block.call_id = id->text;
    if (!m || m->role != HD_ROLE_USER) m = new_message(g, HD_ROLE_USER, NULL);
    return add_block(g, m, block);
}

static hd_status merge_user(merger *g, const hd_json *message, const hd_json *tools)
{
    hd_chat_message *m = last_message(g);
    if (!m || m->role != HD_ROLE_USER || m->task) {
        m = new_message(g, HD_ROLE_USER, message);
        m->task = truthy_or_null(hd_json_get(message, "task"));
        if (g->rules->has_content_blocks) m->tools = tools;
    }
    return add_user_content(g, m, message);
}

static hd_chat_role role_of(hd_str name)
{
    static const struct {
        const char *name;
        hd_chat_role role;
    } roles[] = {{"system", HD_ROLE_SYSTEM},
                 {"assistant", HD_ROLE_ASSISTANT},
                 {"developer", HD_ROLE_DEVELOPER},
                 {"latest_reminder", HD_ROLE_REMINDER},
                 {"direct_search_results", HD_ROLE_SEARCH}};
    for (size_t i = 0; i < HD_COUNT(roles); i++)
        if (hd_str_eqz(name, roles[i].name)) return roles[i].role;
    return HD_ROLE_UNKNOWN;
}

static hd_status merge_message(merger *g, const hd_json *message, const hd_json *tools)
{
    hd_str role;
    if (message->kind != HD_JSON_OBJECT) return fail_at(message, g->err, "an object");
    HD_TRY(hd_json_get_str(message, "role", &role, g->err));
    if (g->rules->has_images) HD_TRY(check_placeholders(message, g->err));
    if (!tools) tools = hd_json_get(message, "tools");
    tools = truthy_or_null(tools);
    if (tools && tools->kind != HD_JSON_ARRAY) return fail_at(tools, g->err, "a list of tools");
    if (hd_str_eqz(role, "tool")) return merge_tool(g, message);
    if (hd_str_eqz(role, "user")) return merge_user(g, message, tools);
    hd_chat_role r = role_of(role);
    if (r == HD_ROLE_DEVELOPER && !g->rules->has_developer) r = HD_ROLE_UNKNOWN;
    hd_chat_message *m = new_message(g, r, message);
    m->tools = tools;
    m->task = truthy_or_null(hd_json_get(message, "task"));
    return HD_OK;
}

hd_status hd_chat_merge(const hd_json *messages, const hd_json *tools, const hd_chat_rules *rules,
                        hd_arena *arena, hd_chat_list *out, hd_err *err)
{
    merger g = {.rules = rules, .arena = arena, .list = out, .err = err};
    if (messages->kind != HD_JSON_ARRAY) return fail_at(messages, err, "a list of messages");
    *out = (hd_chat_list){.items = hd_arena_try_alloc(arena, messages->n, sizeof *out->items)};
    if (!out->items) return no_memory(err);
    for (const hd_json *m = messages->child; m; m = m->next)
        HD_TRY(merge_message(&g, m, m == messages->child ? tools : NULL));
    return HD_OK;
}

/* ---- order of results ---- */

typedef struct ranked {
    hd_chat_block block;
    size_t rank;  /* place of the call; 0 for an unknown one */
    size_t index; /* place of the result: keeps the order of equals */
} ranked;

static int by_rank(const void *pa, const void *pb)
{
    const ranked *a = pa, *b = pb;
    if (a->rank != b->rank) return a->rank < b->rank ? -1 : 1;
    return a->index < b->index ? -1 : 1;
}

/* Fill `ranks` with the ids of the calls; a repeated id has its last place. */
static bool rank_calls(const hd_json *calls, hd_strmap *ranks)
{
    size_t place = 0;
    hd_strmap_reset(ranks);
    for (const hd_json *call = calls->child; call; call = call->next, place++) {
        const hd_json *id = truthy_or_null(hd_json_get(call, "id"));
        if (!id) id = truthy_or_null(hd_json_get(hd_json_get(call, "function"), "id"));
        if (!id || id->kind != HD_JSON_STRING) continue;
        uint64_t *slot = hd_strmap_try_put(ranks, id->text, NULL);
        if (!slot) return false;
        *slot = place;
    }
    return true;
}

/* Results change places among themselves; text between them stays. */
static bool sort_message(hd_chat_message *m, const hd_strmap *ranks, hd_arena *arena)
{
    ranked *results = hd_arena_try_alloc(arena, m->n_results, sizeof *results);
    if (!results) return false;
    size_t n = 0;
    for (const hd_chat_block *b = m->first; b; b = b->next) {
        if (!b->is_result) continue;
        const uint64_t *place = hd_strmap_get(ranks, b->call_id);
        results[n] = (ranked){.block = *b, .rank = place ? (size_t)*place : 0, .index = n};
        n++;
    }
    qsort(results, n, sizeof *results, by_rank);
    n = 0;
    for (hd_chat_block *b = m->first; b; b = b->next) {
        if (!b->is_result) continue;
        hd_chat_block *next = b->next;
        *b = results[n++].block;
        b->next = next;
    }
    return true;
}

hd_status hd_chat_sort_results(hd_chat_list *list, hd_arena *arena, hd_err *err)
{
    hd_strmap ranks;
    bool has_memory = true;
    hd_strmap_init(&ranks);
    for (size_t i = 0; i < list->n && has_memory; i++) {
        hd_chat_message *m = &list->items[i];
        const hd_json *calls = hd_json_get(m->src, "tool_calls");
        if (m->role == HD_ROLE_ASSISTANT && hd_chat_truthy(calls))
            has_memory = rank_calls(calls, &ranks);
        else if (m->role == HD_ROLE_USER && m->n_results > 1)
            has_memory = sort_message(m, &ranks, arena);
    }
    hd_strmap_deinit(&ranks);
    return has_memory ? HD_OK : no_memory(err);
}

/* ---- dropping ---- */

bool hd_chat_is_turn(const hd_chat_message *m, size_t index, const hd_chat_rules *rules)
{
    return m->role == HD_ROLE_USER || m->role == HD_ROLE_DEVELOPER ||
           (m->role == HD_ROLE_SYSTEM && rules->has_system_token && index > 0);
}

ptrdiff_t hd_chat_last_user(const hd_chat_list *list, const hd_chat_rules *rules)
{
    size_t i = list->n;
    while (i > 0 && !hd_chat_is_turn(&list->items[i - 1], i - 1, rules)) i--;
    return (ptrdiff_t)i - 1;
}

void hd_chat_drop(hd_chat_list *list, const hd_chat_rules *rules)
{
    ptrdiff_t last = hd_chat_last_user(list, rules);
    size_t kept = 0;
    for (size_t i = 0; i < list->n; i++) {
        hd_chat_role role = list->items[i].role;
        bool vanishes = role == HD_ROLE_DEVELOPER || role == HD_ROLE_UNKNOWN;
        if (vanishes && (ptrdiff_t)i < last) continue;
        list->items[kept++] = list->items[i];
    }
    list->n = kept;
}
