/* An answer, from the model's tokens to the terminal, a pipe, or rows of JSON.
 *
 * Text goes to standard output. Reasoning goes to standard error, dimmed on a terminal, so that
 * `hadal run ... > file` keeps the answer only. As JSON everything goes to standard output, one
 * object a line: {"type": "reasoning" | "text", "text"}, {"type": "tool_open", "call", "name"},
 * {"type": "tool_args", "call", "text"}, {"type": "tool_close", "call"}, and at last
 * {"type": "finish", "reason", "prompt_tokens", "answer_tokens"}. */
#ifndef HD_CLI_ANSWER_H
#define HD_CLI_ANSWER_H

#include "base/buf.h"
#include "cli/session.h"

typedef struct hd_answer_opts {
    bool is_chat; /* split into reasoning, text and tool calls; else all is text */
    bool thinks;  /* chat: the answer begins with reasoning */
    bool has_tools;
    bool is_json;
    int32_t max_new; /* 0: no limit but the context */
} hd_answer_opts;

typedef struct hd_answer {
    hd_buf text, reasoning; /* what was shown, to be kept as history */
    int32_t n_tokens;
    const char *reason; /* "stop", "length", "tool_calls" or "cancelled" (Ctrl-C) */
} hd_answer;

void hd_answer_init(hd_answer *a);
void hd_answer_deinit(hd_answer *a);

/** Let the model answer the session's prompt, and show it. Emptied first. */
hd_status hd_answer_run(hd_answer *a, hd_session *s, const hd_answer_opts *opts,
                        hd_err *err) HD_WARN_UNUSED;

#endif
