/* hadal/text.h: the text side of a model: tokens, chats, answers.
 *
 * A tokenizer turns text into the ids that a model reads, a decoder turns ids back into text, one
 * at a time, without ever showing half a character. A prompt is rendered from the messages of a
 * chat; a parser splits what the model answers into reasoning, text and tool calls. Nothing here
 * needs a model or a device.
 *
 * Text is UTF-8 as (pointer, bytes) and may hold U+0000; nothing is NUL-terminated unless said. */
#ifndef HADAL_TEXT_H
#define HADAL_TEXT_H

#include "hadal/hadal.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Tokenizer -------------------------------------------------------------------------- */

/** Flags of hd_tokenizer_encode. */
enum {
    /** Do not recognise added tokens: `<think>` in the text is seven characters, not one token.
     *  Whatever a user wrote must be encoded so; else users could write control tokens. */
    HD_ENCODE_PLAIN = 1
};

/** Flags of hd_decoder_create. */
enum {
    /** Leave out the tokens that tokenizer.json marks `special` (begin and end of sentence,
     *  placeholders; not the markup of chats, which is marked otherwise). */
    HD_DECODE_SKIP_SPECIAL = 1
};

/** An opened tokenizer.json. All functions may be called from several threads at once, save
 *  hd_tokenizer_close. */
typedef struct hd_tokenizer hd_tokenizer;

/** Open `path` (NUL-terminated): a tokenizer.json, or a checkpoint directory that holds one.
 *  @return HD_E_IO; HD_E_FORMAT (broken); HD_E_UNSUPPORTED (a tokenizer that works in another way
 *          than DeepSeek-V4's: the text names the setting); HD_E_LIMIT; HD_E_NOMEM. */
HD_API hd_status hd_tokenizer_open(const char *path, hd_tokenizer **out,
                                   hd_err *err) HD_WARN_UNUSED;

/** NULL is allowed. Decoders made from it must be gone. */
HD_API void hd_tokenizer_close(hd_tokenizer *t);

/** Number of ids, added tokens included: ids are 0 .. size-1. */
HD_API size_t hd_tokenizer_size(const hd_tokenizer *t);

/** The id of the added token spelled `content` (NUL-terminated), such as "<think>"; -1 if none. */
HD_API int32_t hd_tokenizer_find(const hd_tokenizer *t, const char *content);

/** Encode text. No token is put in front or behind.
 *  @param text  bytes [len], at most 1 GiB; ill-formed UTF-8 is read as U+FFFD.
 *  @param flags 0 or HD_ENCODE_PLAIN.
 *  @param ids   i32 [cap], filled from the front; cap = len is enough for well-formed UTF-8.
 *  @param n     out: number of ids.
 *  @return HD_E_LIMIT when cap is too small (*n is 0 then); HD_E_NOMEM. */
HD_API hd_status hd_tokenizer_encode(hd_tokenizer *t, const char *text, size_t len, unsigned flags,
                                     int32_t *ids, size_t cap, size_t *n,
                                     hd_err *err) HD_WARN_UNUSED;

/* ---- Decoder ---------------------------------------------------------------------------- */

/** Decodes one stream of ids. One thread at a time. */
typedef struct hd_decoder hd_decoder;

/** @param t borrowed until destroy. @param flags 0 or HD_DECODE_SKIP_SPECIAL. */
HD_API hd_status hd_decoder_create(const hd_tokenizer *t, unsigned flags, hd_decoder **out,
                                   hd_err *err) HD_WARN_UNUSED;
/** NULL is allowed. */
HD_API void hd_decoder_destroy(hd_decoder *d);

/** Take the next id; what can be shown now goes to text [len], often nothing: the first bytes of a
 *  character wait for the others. Valid UTF-8, never taken back, valid until the next call on d.
 *  An id outside the vocabulary stands for nothing. @return HD_E_NOMEM. */
HD_API hd_status hd_decoder_push(hd_decoder *d, int32_t id, const char **text, size_t *len,
                                 hd_err *err) HD_WARN_UNUSED;

/** The end of the stream: one U+FFFD if a character was left incomplete, else nothing. The decoder
 *  is ready for another stream then. */
HD_API hd_status hd_decoder_finish(hd_decoder *d, const char **text, size_t *len,
                                   hd_err *err) HD_WARN_UNUSED;

/* ---- Chats ------------------------------------------------------------------------------ */

/** Where an answer begins: how the prompt ends. */
typedef enum hd_out_start {
    HD_OUT_START_TEXT,      /**< behind `</think>` */
    HD_OUT_START_REASONING, /**< behind `<think>` */
    HD_OUT_START_CALLS      /**< inside a calls block that the prompt opened */
} hd_out_start;

/** A rendered chat: text, of which the parts that the template wrote as tokens are marked. */
typedef struct hd_prompt hd_prompt;

/** Render a chat as the model was trained on it.
 *  @param request JSON [len]: {"messages": [{"role", "content", ...}], "tools": [...],
 *                 "version": "v4" or "v4.1", "options": {"thinking_mode": "chat" or "thinking",
 *                 "reasoning_effort", "drop_thinking", "release", "context", ...}}; only `messages`
 *                 is required. Tools go with the first message; docs/text.md has all of it.
 *                 Or text with a hole for the model to fill: {"prompt", "suffix"}.
 *  @return HD_E_FORMAT or HD_E_UNSUPPORTED with the path of the value; HD_E_LIMIT; HD_E_NOMEM. */
HD_API hd_status hd_prompt_create(const char *request, size_t len, hd_prompt **out,
                                  hd_err *err) HD_WARN_UNUSED;
/** NULL is allowed. */
HD_API void hd_prompt_destroy(hd_prompt *p);

/** The text, for people: control tokens as they are spelled. Lives as long as the prompt. */
HD_API const char *hd_prompt_text(const hd_prompt *p, size_t *len);

/** The ids. What a message spells is never a control token.
 *  @param ids i32 [cap]; the length of the text is always enough. @param n out: number of ids.
 *  @return HD_E_LIMIT when cap is too small; HD_E_NOTFOUND when the tokenizer lacks a token that
 *          the chat needs; HD_E_NOMEM. */
HD_API hd_status hd_prompt_ids(const hd_prompt *p, hd_tokenizer *t, int32_t *ids, size_t cap,
                               size_t *n, hd_err *err) HD_WARN_UNUSED;

/** Where an answer to this prompt begins. */
HD_API hd_out_start hd_prompt_start(const hd_prompt *p);

/* ---- Answers ---------------------------------------------------------------------------- */

/** What an answer consists of. */
typedef enum hd_out_kind {
    HD_OUT_REASONING,  /**< more of the reasoning */
    HD_OUT_TEXT,       /**< more of the text */
    HD_OUT_TOOL_OPEN,  /**< a call begins; text = the tool's name */
    HD_OUT_TOOL_ARGS,  /**< more of the call's arguments; joined, a JSON object */
    HD_OUT_TOOL_CLOSE, /**< the call's arguments are complete */
    HD_OUT_FINISH      /**< the last event; a call that is open then was cut off */
} hd_out_kind;

/** Why an answer ends. */
typedef enum hd_finish {
    HD_FINISH_STOP,       /**< the model's end, or a stop string */
    HD_FINISH_LENGTH,     /**< no more room */
    HD_FINISH_TOOL_CALLS, /**< as STOP, and there is a tool call */
    HD_FINISH_FILTER      /**< the caller's doing */
} hd_finish;

typedef struct hd_out_event {
    hd_out_kind kind;
    int call;         /**< TOOL_*: number of the call, from 0 */
    hd_finish finish; /**< FINISH: the reason */
    const char *text; /**< UTF-8 [len]; valid until the next push or finish */
    size_t len;
} hd_out_event;

typedef struct hd_outparse_opts {
    hd_out_start start;
    int is_continuation;      /**< text or reasoning was begun in the prompt: keep line feeds */
    int has_tools;            /**< else a calls block is shown as text */
    const char *const *stops; /**< [n_stops], NUL-terminated, not empty; act in text only */
    size_t n_stops;
} hd_outparse_opts;

/** Splits the ids that a model gives into events. One thread at a time. */
typedef struct hd_outparse hd_outparse;

/** @param t borrowed until destroy. @param opts copied. @return HD_E_ARG; HD_E_NOMEM. */
HD_API hd_status hd_outparse_create(const hd_tokenizer *t, const hd_outparse_opts *opts,
                                    hd_outparse **out, hd_err *err) HD_WARN_UNUSED;
/** NULL is allowed. */
HD_API void hd_outparse_destroy(hd_outparse *p);

/** Take the next id, the end-of-sentence token excepted: at that, call finish. Then ask
 *  hd_outparse_next until it says no more. @return HD_E_NOMEM; HD_E_LIMIT. */
HD_API hd_status hd_outparse_push(hd_outparse *p, int32_t id, hd_err *err) HD_WARN_UNUSED;

/** The model has ended, for `reason`: gives what was held back, and HD_OUT_FINISH. Nothing more
 *  comes if a stop string has ended the answer already. */
HD_API hd_status hd_outparse_finish(hd_outparse *p, hd_finish reason, hd_err *err) HD_WARN_UNUSED;

/** The next event of the latest push or finish; 0 if there is none. */
HD_API int hd_outparse_next(hd_outparse *p, hd_out_event *out);

/* ---- Constraints ------------------------------------------------------------------------ */

/** What an answer can be held to; docs/constrain.md has what is enforced. */
typedef enum hd_grammar_kind {
    HD_GRAMMAR_SCHEMA, /* text: a JSON Schema */
    HD_GRAMMAR_OBJECT, /* any JSON object */
    HD_GRAMMAR_REGEX,  /* text: the whole answer matches it */
    HD_GRAMMAR_EBNF,   /* text: rules, see docs/constrain.md */
    HD_GRAMMAR_TOOLS   /* text: an array of {"function": {"name", "parameters", "strict"}} */
} hd_grammar_kind;

typedef enum hd_tool_choice {
    HD_TOOLS_AUTO,     /* free text, then calls if the model opens a block */
    HD_TOOLS_REQUIRED, /* calls, nothing else */
    HD_TOOLS_NAMED,    /* calls of the tool `tool_name` */
    HD_TOOLS_NONE      /* free text without calls */
} hd_tool_choice;

#ifdef __cplusplus
}
#endif
#endif
