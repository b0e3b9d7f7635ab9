/* The parts of rendering: see canon.h.
 *
 * Prompts are those of DeepSeek's service, which are not in all points those of the published
 * encoder (text/chat.h): the header of an answer belongs to the answer, past reasoning is printed
 * if tools are offered and not otherwise, and schemas have three members. docs/http-api.md lists
 * where hadal differs from the service. */
#ifndef HD_SERVER_RENDER_H
#define HD_SERVER_RENDER_H

#include "base/buf.h"
#include "server/canon.h"
#include "text/chat_rules.h"

typedef struct hd_renderer {
    hd_canon *c;
    const hd_canon_rules *deployment;
    const hd_chat_rules *rules;
    hd_tokenizer *tokenizer;
    hd_arena *arena;
    hd_ids *ids;
    hd_outparse_opts *answer; /* out: start, is_continuation, has_tools */
    hd_err *err;
} hd_renderer;

/** The chat as ids, up to where the answer begins. */
hd_status hd_render_chat(hd_renderer *r) HD_WARN_UNUSED;

/** Whether a tool is offered: by a choice that names one, it alone. */
bool hd_render_offers(const hd_canon *c, const hd_canon_tool *tool);
/** The line of each offered tool, as the tools block of a prompt has it. */
hd_status hd_render_tool_lines(const hd_renderer *r, hd_buf *out) HD_WARN_UNUSED;
/** The same tools as an array, as constraints want them. */
hd_status hd_render_tool_array(const hd_renderer *r, hd_buf *out) HD_WARN_UNUSED;
/** "HD_E_…: 'path' what" for a node of the request. */
hd_status hd_render_fail(const hd_renderer *r, hd_status code, const hd_json *at, const char *what);

#endif
