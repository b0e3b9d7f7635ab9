/* Chat encoding: messages and tools become the prompt that the model was trained on.
 *
 * Follows DeepSeek's published encoders byte for byte, for the V4 releases and V4.1 (the rules
 * record tells them apart). What those crash on is either read in the obvious way or refused with
 * the path of the value; docs/text.md lists the decisions. */
#ifndef HD_TEXT_CHAT_H
#define HD_TEXT_CHAT_H

#include "base/json.h"
#include "text/chat_rules.h"
#include "text/prompt.h"

typedef struct hd_chat_opts {
    const hd_chat_rules *rules;
    bool thinks;            /* thinking mode; else chat mode */
    bool keeps_reasoning;   /* print the reasoning of all turns, not only after the last user's */
    bool omits_bos;         /* no begin-of-sentence token */
    bool writes_none;       /* the published encoder's "None" for null results and reminders */
    const hd_json *effort;  /* string or number; NULL or null: the format's default */
    const hd_json *context; /* array of messages that an earlier prompt holds; NULL: none */
} hd_chat_opts;

/** Read the options of a request: `thinking_mode` ("chat" or "thinking"), `reasoning_effort`,
 *  `drop_thinking`, `add_default_bos_token`, `release`, `context`; all may be missing.
 *  @param version "v4", "v4.1" or empty. @param options NULL or null: none given. */
hd_status hd_chat_read_opts(hd_str version, const hd_json *options, hd_chat_opts *out,
                            hd_err *err) HD_WARN_UNUSED;

/** Append the prompt to `out`.
 *  @param messages array of {"role", "content", ...}.
 *  @param tools    array, taken for the first message's; NULL or null: none given.
 *  @return HD_E_FORMAT or HD_E_UNSUPPORTED with the path of the value; HD_E_LIMIT; HD_E_NOMEM. */
hd_status hd_chat_render(const hd_json *messages, const hd_json *tools, const hd_chat_opts *opts,
                         hd_prompt *out, hd_err *err) HD_WARN_UNUSED;

#endif
