/* What the parsers of the four dialects share: see canon.h.
 *
 * A parser walks the body once and fills the canonical request. Members that are null count as
 * absent, unknown ones are not looked at. Every refusal names the member by its path. Sizes need no
 * bounds of their own but where something is counted: the body is bounded, its tree is made, and
 * all that is made from it lives in an arena with a maximum. */
#ifndef HD_SERVER_PARSE_H
#define HD_SERVER_PARSE_H

#include "server/canon.h"

#define HD_MAX_TOOLS      512 /* what a grammar can hold */
#define HD_MAX_STOPS      16
#define HD_MAX_USER_BYTES 512

/* A string that was joined and has room behind it. */
typedef struct hd_room {
    char *text;
    size_t cap;
} hd_room;

typedef struct hd_parser {
    const hd_json *body;
    hd_canon *out;
    hd_arena *arena;
    hd_canon_turn *last_turn;
    hd_canon_call *last_call; /* of last_turn */
    hd_canon_tool *last_tool;
    hd_room rooms[2]; /* a turn's content and its reasoning may grow by turns */
    unsigned next_room;
    hd_err *err;
} hd_parser;

hd_status hd_parse_chat(hd_parser *p) HD_WARN_UNUSED;
hd_status hd_parse_completions(hd_parser *p) HD_WARN_UNUSED;
hd_status hd_parse_responses(hd_parser *p) HD_WARN_UNUSED;
hd_status hd_parse_messages(hd_parser *p) HD_WARN_UNUSED;

/* ---- members and errors (parse_common.c) ---- */

/** A member that is there and not null, else NULL. */
const hd_json *hd_parse_find(const hd_json *object, const char *key);
/** "'path' must be …, got …". @param code HD_E_FORMAT for a wrong type, HD_E_ARG for a value. */
hd_status hd_parse_wrong(hd_parser *p, hd_status code, const hd_json *node, const char *expected);
/** HD_E_UNSUPPORTED: "'path' …". @param why the rest of the sentence. */
hd_status hd_parse_refuse(hd_parser *p, const hd_json *node, const char *why);
/** HD_E_FORMAT: a member that must be there is not. */
hd_status hd_parse_missing(hd_parser *p, const hd_json *object, const char *key,
                           const char *expected);
hd_status hd_parse_no_memory(hd_parser *p);

/** Members that may be missing: *out stays as it is then. */
hd_status hd_parse_str(hd_parser *p, const hd_json *object, const char *key,
                       hd_str *out) HD_WARN_UNUSED;
hd_status hd_parse_bool(hd_parser *p, const hd_json *object, const char *key,
                        bool *out) HD_WARN_UNUSED;
hd_status hd_parse_i32(hd_parser *p, const hd_json *object, const char *key, int32_t min,
                       int32_t max, int32_t *out) HD_WARN_UNUSED;
/** Members that must be there. */
hd_status hd_parse_need_str(hd_parser *p, const hd_json *object, const char *key,
                            hd_str *out) HD_WARN_UNUSED;
hd_status hd_parse_need_object(hd_parser *p, const hd_json *object, const char *key,
                               const hd_json **out) HD_WARN_UNUSED;
/** A member that is an array if it is there; else *out is NULL. */
hd_status hd_parse_array(hd_parser *p, const hd_json *object, const char *key,
                         const hd_json **out) HD_WARN_UNUSED;

/** `a` + `between` + `b` in the arena; `b` alone when `a` has no pointer. Many joins of one string
 *  take time in proportion to its length. */
hd_status hd_parse_join(hd_parser *p, hd_str *a, const char *between, hd_str b) HD_WARN_UNUSED;
/** The text of what is a string or a list of parts; parts are joined by an empty line. Refuses
 *  what is no text. */
hd_status hd_parse_text(hd_parser *p, const hd_json *content, hd_str *out) HD_WARN_UNUSED;
/** The text of one part, by its `type`. */
hd_status hd_parse_part(hd_parser *p, const hd_json *part, hd_str *out) HD_WARN_UNUSED;

/* ---- settings (parse_settings.c) ---- */

/** model, stream, temperature, top_p, top_k, min_p, seed, min_tokens, ignore_eos, priority. */
hd_status hd_parse_basics(hd_parser *p) HD_WARN_UNUSED;
/** presence_penalty, frequency_penalty, logit_bias, stream_options, user_id and user, n. */
hd_status hd_parse_openai(hd_parser *p) HD_WARN_UNUSED;
hd_status hd_parse_stops(hd_parser *p, const hd_json *stop) HD_WARN_UNUSED;
/** @param thinking {"type"}, or NULL. @param effort a name, or NULL. */
hd_status hd_parse_thinking(hd_parser *p, const hd_json *thinking,
                            const hd_json *effort) HD_WARN_UNUSED;
/** {"type": "json_schema", …} and the others; NULL: none. @param inner where the schema is, such
 *  as "json_schema"; NULL: beside the type. */
hd_status hd_parse_format(hd_parser *p, const hd_json *format, const char *inner) HD_WARN_UNUSED;

/* ---- tools (parse_tools.c) ---- */

/** Tools of Chat ({"type", "function"}), of old Chat and inside (functions alone), of Responses. */
hd_status hd_parse_tools(hd_parser *p, const hd_json *list) HD_WARN_UNUSED;
hd_status hd_parse_functions(hd_parser *p, const hd_json *list) HD_WARN_UNUSED;
hd_status hd_parse_message_tools(hd_parser *p, const hd_json *list) HD_WARN_UNUSED;
/** tool_choice of Chat and Responses; NULL: none. */
hd_status hd_parse_choice(hd_parser *p, const hd_json *choice) HD_WARN_UNUSED;
/** A choice that names a tool. */
hd_status hd_parse_named(hd_parser *p, const hd_json *name) HD_WARN_UNUSED;
/** After all of them: names are unique, the chosen tool is there. */
hd_status hd_parse_check_tools(hd_parser *p) HD_WARN_UNUSED;
/** The name that the model sees for a tool of a namespace. @param space empty: none. */
hd_status hd_parse_spaced(hd_parser *p, hd_str space, hd_str short_name,
                          hd_str *out) HD_WARN_UNUSED;

/* ---- turns (parse_turns.c) ---- */

/** Append a turn, which is p->last_turn then. */
hd_status hd_parse_add_turn(hd_parser *p, hd_role role, const hd_json *source) HD_WARN_UNUSED;
/** Whether there is nothing but white space. */
bool hd_parse_is_blank(hd_str s);
/** More reasoning of the last turn, `between` in front of it; white space alone is none: clients
 *  fill the member with it. */
hd_status hd_parse_add_reasoning(hd_parser *p, hd_str text, const char *between) HD_WARN_UNUSED;
/** Append a call to the last turn; it is p->last_call then. */
hd_status hd_parse_add_call(hd_parser *p, hd_str id, hd_str name,
                            const hd_json *source) HD_WARN_UNUSED;
/** Each call has exactly one result before the next message, and no result is without a call.
 *  Results are put into the order of the calls. @param advice appended to an error's text. */
hd_status hd_parse_check_results(hd_parser *p, const char *advice) HD_WARN_UNUSED;

#endif
