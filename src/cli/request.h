/* From what a person gave to the ids that the model reads. */
#ifndef HD_CLI_REQUEST_H
#define HD_CLI_REQUEST_H

#include "base/buf.h"
#include "cli/opts.h"
#include "hadal/text.h"
#include "text/ids.h"

/** What prompts are made for. */
typedef struct hd_prompter {
    hd_tokenizer *tokenizer; /* borrowed */
    int32_t bos_id;
    bool is_april; /* the chat format of the April releases */
} hd_prompter;

/** A text to go on with: begin of sentence, then the text.
 *  @param has_control recognise control tokens such as <think> in the text. */
hd_status hd_request_text(const hd_prompter *p, hd_str text, bool has_control, hd_ids *out,
                          hd_err *err) HD_WARN_UNUSED;

/** A whole request, JSON text as hd_prompt_create takes it. @param start how the prompt ends; may
 * be NULL. */
hd_status hd_request_render(const hd_prompter *p, hd_str request, hd_ids *out, hd_out_start *start,
                            hd_err *err) HD_WARN_UNUSED;

/** A text with a hole, for the model to fill in the middle. Control tokens in it are plain text. */
hd_status hd_request_fill(const hd_prompter *p, hd_str before, hd_str after, hd_ids *out,
                          hd_err *err) HD_WARN_UNUSED;

typedef struct hd_chat_request {
    hd_str messages; /* elements of a JSON array, without its brackets */
    hd_str tools;    /* JSON array, or empty */
    hd_think think;
} hd_chat_request;

/** A chat. @param start how the prompt ends; may be NULL. */
hd_status hd_request_chat(const hd_prompter *p, const hd_chat_request *chat, hd_ids *out,
                          hd_out_start *start, hd_err *err) HD_WARN_UNUSED;

/** Append a message to `messages` (see above). @param reasoning may be empty. */
void hd_request_add_message(hd_buf *messages, const char *role, hd_str content, hd_str reasoning);

#endif
