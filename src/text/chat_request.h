/* Requests as JSON: what hd_prompt_create and the rows of `hadal render` have in common. */
#ifndef HD_TEXT_CHAT_REQUEST_H
#define HD_TEXT_CHAT_REQUEST_H

#include "text/chat.h"

/** Append the prompt of a request: {"messages", "tools", "options", "version"}, see hadal/text.h.
 *  @param writes_none as in hd_chat_opts. */
hd_status hd_chat_render_request(const hd_json *request, bool writes_none, hd_prompt *out,
                                 hd_err *err) HD_WARN_UNUSED;

#endif
