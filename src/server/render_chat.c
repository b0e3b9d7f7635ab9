/* Chats as prompts, in the way of DeepSeek's service: see render.h.
 *
 * The prompt is a sequence of turns, each of which begins with the token that names it; nothing
 * stands between them. What was sampled in an earlier turn is taken over as ids, so the text is
 * encoded in pieces: from one such turn to the next. Pieces end at control tokens only, where no
 * merge could reach across. */
#include "server/render.h"

#include "base/jsonw.h"
#include "text/dsml.h"
#include "text/prompt.h"

#define MAX_PROMPT_BYTES ((size_t)1 << 30)
#define MAX_TOOLS_BYTES  ((size_t)256 << 20)
#define DEEP_CONTEXT     393216 /* positions that thinking at most effort should have */

/* Where in a user's turn a prompt is. */
typedef enum user_part {
    NOT_IN_USER,
    BEHIND_RESULT,
    BEHIND_NOTHING, /* of texts, only empty ones so far */
    BEHIND_TEXT
} user_part;

typedef struct chat {
    hd_renderer *r;
    const hd_chat_rules *rules;
    hd_prompt out;       /* what is not encoded yet */
    user_part last;      /* what was printed last */
    bool keeps_thinking; /* reasoning of past turns is printed */
} chat;

/* Print what is not text, but ids. */
static hd_status add_ids(chat *t, const int32_t *ids, int32_t n)
{
    HD_TRY(hd_prompt_encode(&t->out, t->r->tokenizer, t->r->ids, t->r->err));
    hd_prompt_reset(&t->out);
    return hd_ids_add(t->r->ids, ids, (size_t)n, t->r->err);
}

/* ---- effort ---- */

static const char *effort_prefix(chat *t)
{
    static const char *const names[] = {"low", "high", "max"};
    hd_canon *c = t->r->c;
    if (c->effort == HD_EFFORT_MAX && t->r->deployment->max_context < DEEP_CONTEXT)
        hd_canon_warn(c, "effort max wants a context of 393216 positions");
    for (const hd_chat_effort *e = t->rules->efforts; e->name; e++)
        if (strcmp(e->name, names[c->effort]) == 0) return e->prefix;
    hd_canon_warn(c, "this release does not have that effort: its lowest is used");
    return t->rules->efforts[0].prefix;
}

/* ---- what the first system message carries ---- */

static hd_status add_tools(chat *t)
{
    hd_buf lines;
    hd_buf_init(&lines, MAX_TOOLS_BYTES);
    hd_status status = hd_render_tool_lines(t->r, &lines);
    hd_prompt_addz(&t->out, "\n\n");
    if (status == HD_OK) hd_dsml_add_tool_lines(&t->out, t->rules, hd_buf_str(&lines));
    hd_buf_deinit(&lines);
    return status;
}

static hd_status add_schema(chat *t)
{
    hd_buf json;
    hd_buf_init(&json, MAX_TOOLS_BYTES);
    hd_jsonw_value_as(&json, t->r->c->format_rules, t->rules->service_numbers);
    hd_status status = hd_buf_status(&json, "the response format", t->r->err);
    hd_prompt_addz(&t->out, "\n\n");
    hd_prompt_addz(&t->out, hd_chat_format_head);
    hd_prompt_add(&t->out, hd_buf_str(&json));
    hd_buf_deinit(&json);
    return status;
}

static bool has_extras(const hd_canon *c)
{
    return c->tools || c->format == HD_FORMAT_OBJECT || c->format == HD_FORMAT_SCHEMA;
}

static hd_status add_extras(chat *t)
{
    const hd_canon *c = t->r->c;
    if (c->tools) HD_TRY(add_tools(t));
    if (c->format == HD_FORMAT_SCHEMA) return add_schema(t);
    if (c->format != HD_FORMAT_OBJECT) return HD_OK;
    hd_prompt_addz(&t->out, "\n\n");
    hd_prompt_addz(&t->out, t->rules->service_json_text);
    return HD_OK;
}

/* ---- the start ---- */

static bool is_system(const chat *t, const hd_canon_turn *turn)
{
    return turn->role == HD_ROLE_SYSTEM ||
           (turn->role == HD_ROLE_DEVELOPER && t->rules->has_system_token);
}

/* Whether a system message leaves nothing. For V4.1 the service drops an empty one in Chat only. */
static bool vanishes(const chat *t, const hd_canon_turn *turn)
{
    bool stays = t->rules->has_system_token && t->r->c->dialect != HD_DIALECT_CHAT;
    return turn->content.len == 0 && !stays;
}

/* In V4, what Messages has in the middle is a user's text; in front of all stands `system` only. */
static bool leads(const chat *t, const hd_canon_turn *turn, const hd_canon_turn *first)
{
    if (!is_system(t, turn)) return false;
    if (t->rules->has_system_token) return turn == first;
    return t->r->c->dialect != HD_DIALECT_MESSAGES ||
           turn->source == hd_json_get(t->r->c->body, "system");
}

/* Begin of sentence, effort, the system turns in front; *rest is what follows. */
static hd_status add_start(chat *t, const hd_canon_turn **rest)
{
    const hd_canon_turn *turn = t->r->c->turns;
    while (turn && is_system(t, turn) && vanishes(t, turn)) turn = turn->next;
    const hd_canon_turn *first = turn;
    const char *effort = t->r->c->thinks ? effort_prefix(t) : "";
    bool has_system = (turn && leads(t, turn, first)) || has_extras(t->r->c);
    hd_prompt_add_token(&t->out, HD_TOKEN_BOS);
    if (t->rules->has_system_token && (*effort || has_system))
        hd_prompt_add_token(&t->out, HD_TOKEN_SYSTEM);
    hd_prompt_addz(&t->out, effort);
    for (; turn && leads(t, turn, first); turn = turn->next) {
        if (turn->content.len == 0) continue;
        if (turn != first) hd_prompt_addz(&t->out, "\n\n");
        hd_prompt_add(&t->out, turn->content);
    }
    *rest = turn;
    return add_extras(t);
}

/* ---- turns ---- */

/* Texts and results of a user are one turn, an empty line between them. */
static void begin_user_part(chat *t, bool is_nothing)
{
    bool skips = t->rules->service_skips_empty &&
                 (t->last == BEHIND_NOTHING || (t->last == BEHIND_TEXT && is_nothing));
    if (t->last == NOT_IN_USER)
        hd_prompt_add_token(&t->out, HD_TOKEN_USER);
    else if (!skips)
        hd_prompt_addz(&t->out, "\n\n");
}

static void add_user(chat *t, hd_str text)
{
    bool is_nothing = text.len == 0;
    begin_user_part(t, is_nothing);
    hd_prompt_add(&t->out, text);
    t->last = is_nothing && t->last != BEHIND_TEXT ? BEHIND_NOTHING : BEHIND_TEXT;
}

static void add_result(chat *t, hd_str text)
{
    begin_user_part(t, false);
    hd_prompt_addz(&t->out, "<tool_result>");
    hd_prompt_add(&t->out, text);
    hd_prompt_addz(&t->out, "</tool_result>");
    t->last = BEHIND_RESULT;
}

/* V4 has no token for a system message that does not stand in front. */
static void add_system(chat *t, hd_str text)
{
    if (t->rules->has_system_token) {
        hd_prompt_add_token(&t->out, HD_TOKEN_SYSTEM);
    } else if (t->r->c->dialect == HD_DIALECT_MESSAGES) {
        begin_user_part(t, false);
        hd_prompt_addz(&t->out, "<system-reminder>\n");
        hd_prompt_add(&t->out, text);
        hd_prompt_addz(&t->out, "\n</system-reminder>");
        t->last = BEHIND_TEXT;
        return;
    } else if (t->last != NOT_IN_USER) {
        hd_prompt_addz(&t->out, "\n\n");
    }
    hd_prompt_add(&t->out, text);
    t->last = NOT_IN_USER;
}

/* ---- the assistant ---- */

static void add_header(chat *t, bool thinks)
{
    hd_prompt_add_token(&t->out, HD_TOKEN_ASSISTANT);
    hd_prompt_add_token(&t->out, thinks ? HD_TOKEN_THINK : HD_TOKEN_END_THINK);
    t->last = NOT_IN_USER;
}

static hd_status add_reasoning(chat *t, const hd_canon_turn *turn)
{
    if (turn->thought) return add_ids(t, turn->thought, turn->n_thought);
    hd_prompt_add(&t->out, turn->reasoning);
    return HD_OK;
}

static hd_status add_calls(chat *t, const hd_canon_call *calls)
{
    if (!calls) return HD_OK;
    hd_prompt_addz(&t->out, "\n\n");
    hd_dsml_open_calls(&t->out, t->rules);
    for (const hd_canon_call *c = calls; c; c = c->next)
        HD_TRY(hd_dsml_add_text_call(&t->out, t->rules, c->name, c->args, t->r->err));
    hd_dsml_close_calls(&t->out, t->rules);
    return HD_OK;
}

/* Reasoning that is known by a foreign seal only. */
static bool is_void(const hd_canon_turn *turn)
{
    return !turn->content.ptr && !turn->calls && turn->reasoning.len == 0 && !turn->thought &&
           !turn->sampled;
}

static hd_status add_assistant(chat *t, const hd_canon_turn *turn)
{
    bool thinks = t->keeps_thinking;
    bool has_reasoning = turn->reasoning.len || turn->thought;
    add_header(t, thinks);
    if (turn->sampled && turn->sampled_thinks == thinks) {
        HD_TRY(add_ids(t, turn->sampled, turn->n_sampled));
    } else {
        if (thinks && turn->calls && !has_reasoning) hd_canon_warn(t->r->c, "reasoning-missing");
        if (thinks) {
            HD_TRY(add_reasoning(t, turn));
            hd_prompt_add_token(&t->out, HD_TOKEN_END_THINK);
        }
        hd_prompt_add(&t->out, turn->content);
        HD_TRY(add_calls(t, turn->calls));
    }
    hd_prompt_add_token(&t->out, HD_TOKEN_EOS);
    return HD_OK;
}

/* The turn in which the answer goes on: where it stops, nothing is closed. */
static hd_status add_beginning(chat *t, const hd_canon_turn *turn)
{
    bool thinks = t->r->c->thinks, has_text = turn->content.len > 0;
    hd_outparse_opts *answer = t->r->answer;
    add_header(t, thinks);
    answer->start = thinks && !has_text ? HD_OUT_START_REASONING : HD_OUT_START_TEXT;
    answer->is_continuation = has_text;
    if (thinks) {
        HD_TRY(add_reasoning(t, turn));
        answer->is_continuation |= turn->reasoning.len || turn->thought;
        if (has_text) hd_prompt_add_token(&t->out, HD_TOKEN_END_THINK);
    }
    hd_prompt_add(&t->out, turn->content);
    return HD_OK;
}

/* A choice that leaves no choice: the prompt writes what the model would have to, as the service
 * does; there, Messages has no such choice but a name. Not while the model may still think. */
static bool opens_calls(const hd_canon *c, hd_out_start start)
{
    bool is_forced = c->choice == HD_TOOLS_NAMED ||
                     (c->choice == HD_TOOLS_REQUIRED && c->dialect != HD_DIALECT_MESSAGES);
    return c->tools && is_forced && start == HD_OUT_START_TEXT;
}

static void add_answer(chat *t)
{
    bool thinks = t->r->c->thinks;
    hd_outparse_opts *answer = t->r->answer;
    if (!t->r->c->continues) {
        add_header(t, thinks);
        answer->start = thinks ? HD_OUT_START_REASONING : HD_OUT_START_TEXT;
    }
    if (!opens_calls(t->r->c, answer->start)) return;
    hd_prompt_addz(&t->out, "\n\n");
    hd_dsml_open_calls(&t->out, t->rules);
    answer->start = HD_OUT_START_CALLS;
}

/* ---- all of it ---- */

static hd_status add_turn(chat *t, const hd_canon_turn *turn)
{
    if (is_system(t, turn)) {
        if (!vanishes(t, turn)) add_system(t, turn->content);
        return HD_OK;
    }
    switch (turn->role) {
    case HD_ROLE_TOOL: add_result(t, turn->content); break;
    case HD_ROLE_ASSISTANT:
        if (t->r->c->continues && !turn->next) return add_beginning(t, turn);
        if (is_void(turn)) break;
        return add_assistant(t, turn);
    case HD_ROLE_REMINDER:
        hd_prompt_add_token(&t->out, HD_TOKEN_REMINDER);
        hd_prompt_add(&t->out, turn->content);
        t->last = NOT_IN_USER;
        break;
    default: add_user(t, turn->content); break;
    }
    return HD_OK;
}

static hd_status render(chat *t)
{
    const hd_canon_turn *turn;
    HD_TRY(add_start(t, &turn));
    for (; turn; turn = turn->next) HD_TRY(add_turn(t, turn));
    add_answer(t);
    return hd_prompt_encode(&t->out, t->r->tokenizer, t->r->ids, t->r->err);
}

hd_status hd_render_chat(hd_renderer *r)
{
    chat t = {.r = r, .rules = r->rules, .keeps_thinking = r->c->thinks && r->c->tools};
    r->answer->has_tools = r->c->tools != NULL;
    hd_prompt_init(&t.out, MAX_PROMPT_BYTES);
    hd_status status = render(&t);
    hd_prompt_deinit(&t.out);
    return status;
}
