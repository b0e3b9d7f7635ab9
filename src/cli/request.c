/* Prompts: see request.h. */
#include "cli/request.h"

#include "base/jsonw.h"
#include "text/tokenizer.h"

#define MAX_REQUEST_BYTES ((size_t)1 << 30)

hd_status hd_request_text(const hd_prompter *p, hd_str text, bool has_control, hd_ids *out,
                          hd_err *err)
{
    HD_TRY(hd_ids_push(out, p->bos_id, err));
    return hd_tokenizer_encode_ids(p->tokenizer, text, has_control ? 0 : HD_ENCODE_PLAIN, out, err);
}

void hd_request_add_message(hd_buf *messages, const char *role, hd_str content, hd_str reasoning)
{
    hd_buf_addf(messages, "%s{\"role\": \"%s\", \"content\": ", messages->len ? ", " : "", role);
    hd_jsonw_str(messages, content);
    if (reasoning.len) {
        hd_buf_addz(messages, ", \"reasoning_content\": ");
        hd_jsonw_str(messages, reasoning);
    }
    hd_buf_addc(messages, '}');
}

static void add_options(hd_buf *json, const hd_prompter *p, hd_think think)
{
    hd_buf_addf(json, ", \"options\": {\"release\": \"%s\", \"thinking_mode\": \"%s\"",
                p->is_april ? "april" : "0731", think == HD_THINK_NONE ? "chat" : "thinking");
    /* "low" is what both releases do when nothing is said; only the newer has a word for it. */
    if (think > HD_THINK_LOW)
        hd_buf_addf(json, ", \"reasoning_effort\": \"%s\"", hd_think_name(think));
    hd_buf_addz(json, "}}");
}

hd_status hd_request_render(const hd_prompter *p, hd_str request, hd_ids *out, hd_out_start *start,
                            hd_err *err)
{
    hd_prompt *prompt;
    size_t len, n = 0;
    HD_TRY(hd_prompt_create(request.ptr, request.len, &prompt, err));
    (void)hd_prompt_text(prompt, &len);
    hd_status status = hd_ids_reserve(out, len, err);
    if (status == HD_OK)
        status = hd_prompt_ids(prompt, p->tokenizer, out->ptr + out->len, len, &n, err);
    out->len += n;
    if (start) *start = hd_prompt_start(prompt);
    hd_prompt_destroy(prompt);
    return status;
}

hd_status hd_request_fill(const hd_prompter *p, hd_str before, hd_str after, hd_ids *out,
                          hd_err *err)
{
    hd_buf json;
    hd_buf_init(&json, MAX_REQUEST_BYTES);
    hd_buf_addz(&json, "{\"prompt\": ");
    hd_jsonw_str(&json, before);
    hd_buf_addz(&json, ", \"suffix\": ");
    hd_jsonw_str(&json, after);
    hd_buf_addc(&json, '}');
    hd_status status = hd_buf_status(&json, "the prompt", err);
    if (status == HD_OK) status = hd_request_render(p, hd_buf_str(&json), out, NULL, err);
    hd_buf_deinit(&json);
    return status;
}

hd_status hd_request_chat(const hd_prompter *p, const hd_chat_request *chat, hd_ids *out,
                          hd_out_start *start, hd_err *err)
{
    hd_buf json;
    hd_buf_init(&json, MAX_REQUEST_BYTES);
    hd_buf_addz(&json, "{\"messages\": [");
    hd_buf_add_str(&json, chat->messages);
    hd_buf_addc(&json, ']');
    if (chat->tools.len) {
        hd_buf_addz(&json, ", \"tools\": ");
        hd_buf_add_str(&json, chat->tools);
    }
    add_options(&json, p, chat->think);
    hd_status status = hd_buf_status(&json, "the chat", err);
    if (status == HD_OK) status = hd_request_render(p, hd_buf_str(&json), out, start, err);
    hd_buf_deinit(&json);
    return status;
}
