/* From what a person gave to the ids that the model reads. */
#ifndef HD_CLI_REQUEST_H
#define HD_CLI_REQUEST_H

#include "base/buf.h"
#include "cli/session.h"

/** A text to go on with: begin of sentence, then the text.
 *  @param has_control recognise control tokens such as <think> in the text. */
hd_status hd_request_text(hd_session *s, hd_str text, bool has_control, hd_ids *out,
                          hd_err *err) HD_WARN_UNUSED;

/** A whole request, JSON text as hd_prompt_create takes it. @param start how the prompt ends. */
hd_status hd_request_render(hd_session *s, hd_str request, hd_ids *out, hd_out_start *start,
                            hd_err *err) HD_WARN_UNUSED;

/** A text with a hole, for the model to fill in the middle. Control tokens in it are plain text. */
hd_status hd_request_fill(hd_session *s, hd_str before, hd_str after, hd_ids *out,
                          hd_err *err) HD_WARN_UNUSED;

/** A chat.
 *  @param messages elements of a JSON array, without its brackets.
 *  @param tools    JSON array, or empty. */
hd_status hd_request_chat(hd_session *s, hd_str messages, hd_str tools, hd_think think, hd_ids *out,
                          hd_err *err) HD_WARN_UNUSED;

/** Append a message to `messages` (see above). @param reasoning may be empty. */
void hd_request_add_message(hd_buf *messages, const char *role, hd_str content, hd_str reasoning);

#endif
