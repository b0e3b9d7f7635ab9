/* The canonical request: what a client asked for, whatever the dialect that it asked in.
 *
 * Each dialect has a parser that fills one of these from the body, and nothing behind it knows the
 * dialect, but for the writer of the answer (server/writer.h). The record and all that it points to
 * live in the request's arena, or in the body, which outlives it.
 *
 *   body -> hd_json -> parse_chat | parse_completions | parse_responses | parse_messages
 *        -> hd_canon -> hd_canon_render -> ids, and what the engine is told
 *
 * Liberal in what is read: unknown members are ignored, null is the same as absent. What would
 * change the answer and cannot be done is refused with the path of the member. */
#ifndef HD_SERVER_CANON_H
#define HD_SERVER_CANON_H

#include "base/arena.h"
#include "base/json.h"
#include "hadal/engine.h"
#include "text/ids.h"

typedef enum hd_dialect {
    HD_DIALECT_CHAT,        /* OpenAI Chat Completions, with DeepSeek's members */
    HD_DIALECT_COMPLETIONS, /* OpenAI Completions, with a suffix: fill in the middle */
    HD_DIALECT_RESPONSES,   /* OpenAI Responses */
    HD_DIALECT_MESSAGES     /* Anthropic Messages */
} hd_dialect;

typedef enum hd_role {
    HD_ROLE_SYSTEM,
    HD_ROLE_USER,
    HD_ROLE_ASSISTANT,
    HD_ROLE_TOOL,     /* the result of a call */
    HD_ROLE_REMINDER, /* latest_reminder */
    HD_ROLE_DEVELOPER /* Responses only; Chat reads `developer` as SYSTEM */
} hd_role;

/** A call that the assistant made in an earlier turn. */
typedef struct hd_canon_call {
    hd_str id, name;          /* the name as the model sees it */
    hd_str short_name, space; /* as in hd_canon_tool */
    hd_str args;              /* JSON text as received; may be no JSON */
    const hd_json *source;    /* for error paths */
    struct hd_canon_call *next;
} hd_canon_call;

typedef struct hd_canon_turn {
    hd_role role;
    hd_str content;   /* parts joined by an empty line */
    hd_str reasoning; /* ASSISTANT; white space alone counts as none */
    hd_str seal;      /* ASSISTANT: sealed reasoning as the client sent it back; may be broken */
    hd_str call_id;   /* TOOL: which call it answers */
    hd_canon_call *calls;  /* ASSISTANT */
    const hd_json *source; /* for error paths */

    /* ASSISTANT, filled in between parsing and rendering by whoever knows what was sampled then:
     * ids that are taken as they are, instead of the texts above. NULL: not known. */
    const int32_t *thought; /* [n_thought] the reasoning, without the tokens around it */
    const int32_t *sampled; /* [n_sampled] the whole turn, from behind the token that opens it
                               (<think> or </think>), end of sentence excluded */
    int32_t n_thought, n_sampled;
    bool sampled_thinks; /* it was opened by <think>; used only where the prompt does so too */
    struct hd_canon_turn *next;
} hd_canon_turn;

/** A tool that is offered. */
typedef struct hd_canon_tool {
    hd_str name;              /* as the model sees it: a namespace's tools are `space__name` */
    hd_str short_name, space; /* as the client named it; space empty: none */
    hd_str description, space_description;
    const hd_json *parameters; /* JSON Schema; NULL: none given */
    bool is_strict;
    bool is_custom; /* Responses: one string member `input`; the answer is printed as raw text */
    struct hd_canon_tool *next;
} hd_canon_tool;

typedef enum hd_effort { HD_EFFORT_LOW, HD_EFFORT_HIGH, HD_EFFORT_MAX } hd_effort;

typedef enum hd_input_kind {
    HD_INPUT_CHAT, /* turns, tools */
    HD_INPUT_TEXT, /* prompt */
    HD_INPUT_FILL, /* prompt, suffix */
    HD_INPUT_IDS   /* ids */
} hd_input_kind;

typedef enum hd_format {
    HD_FORMAT_TEXT,
    HD_FORMAT_OBJECT,
    HD_FORMAT_SCHEMA,
    HD_FORMAT_REGEX
} hd_format;

typedef struct hd_canon {
    hd_dialect dialect;
    hd_str model; /* as asked for; empty: none */

    hd_input_kind input;
    hd_canon_turn *turns;
    hd_str prompt, suffix;
    const hd_json *ids;   /* array of integers */
    bool continues;       /* the last turn is the assistant's, and the answer goes on in it */
    hd_canon_tool *tools; /* NULL: none are offered */
    hd_tool_choice choice;
    hd_str choice_name; /* HD_TOOLS_NAMED */
    bool one_call;

    bool thinks;
    hd_effort effort;
    hd_format format;
    const hd_json *format_rules; /* SCHEMA: the schema; REGEX: a string */
    bool format_is_strict;

    double temperature, top_p, min_p, presence_penalty, frequency_penalty;
    int32_t top_k;
    bool has_seed;
    uint64_t seed;
    const hd_json *logit_bias; /* {"id": number}; NULL: none */
    int32_t max_tokens;        /* 0: not given */
    int32_t min_tokens;
    bool ignores_eos;
    const char **stops; /* [n_stops], NUL-terminated */
    int32_t n_stops;

    bool wants_logprobs, wants_echo;
    int32_t n_top; /* 0 … 20 */
    bool streams, wants_usage /* stream_options.include_usage */;
    bool wants_summary; /* Responses: reasoning.summary was asked for */
    hd_str user;        /* user_id, user, metadata.user_id; empty: none */
    int32_t priority;
    const hd_json *body; /* the whole request, for members that an answer repeats */

    const char *warnings[8]; /* for the header x-hadal-warning; static text */
    int32_t n_warnings;
} hd_canon;

/** Read a body.
 *  @param arena holds what `out` points to. @param body outlives `out`.
 *  @return HD_E_FORMAT (a wrong type, something missing), HD_E_ARG (an impossible value),
 *          HD_E_UNSUPPORTED (refused, with the reason): the error's path names the member, such as
 *          messages[3].content; HD_E_LIMIT, HD_E_NOMEM. */
hd_status hd_canon_parse(hd_dialect dialect, const hd_json *body, hd_arena *arena, hd_canon *out,
                         hd_err *err) HD_WARN_UNUSED;

typedef enum hd_release { HD_RELEASE_APRIL, HD_RELEASE_0731, HD_RELEASE_V41 } hd_release;

/** What a deployment has decided. */
typedef struct hd_canon_rules {
    hd_release release;
    bool
        samples_as_deepseek; /* --sampling deepseek: temperature and top_p by the service's rules */
    int32_t max_context;     /* positions */
    int32_t fim_max_tokens;  /* most that a filled hole has */
    bool fim_omits_bos;
} hd_canon_rules;

/** Add a text to `warnings`, once; what does not fit is left out. @param text static. */
void hd_canon_warn(hd_canon *c, const char *text);

/** Make the prompt and what the engine is told; all of it in `arena`.
 *  @param c       warnings may be added: a level of effort that the release lacks. V4.1 spells the
 *                 names of tools in namespaces `space::name`: they are changed.
 *  @param ids     appended to.
 *  @param submit  out: everything but group, user and timeout. Its ids are those of `ids`. The
 *                 seed is 0 unless c->has_seed: then the caller chooses one.
 *  @param constraint out: what submit->constraint points to, if the answer is constrained.
 *  @return as hd_canon_parse; HD_E_LIMIT when the prompt is longer than the context, the text names
 *          both numbers. */
hd_status hd_canon_render(hd_canon *c, const hd_canon_rules *rules, hd_tokenizer *tokenizer,
                          hd_arena *arena, hd_ids *ids, hd_submit *submit,
                          hd_constraint *constraint, hd_err *err) HD_WARN_UNUSED;

#endif
