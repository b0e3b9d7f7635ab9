/* Events of a request to its line of results: see batch_job.h. */
#include <inttypes.h>
#include <stdio.h>

#include "base/jsonw.h"
#include "base/utf8.h"
#include "cli/batch_job.h"
#include "cli/jsonl.h"
#include "text/tokenizer.h"

/* ---- log probabilities ------------------------------------------------------------------------*/

/* "token", "id", "logprob", "bytes", as in Chat Completions, where there are no ids. */
static void add_token(hd_buf *out, const hd_batch_model *m, int32_t id, float logprob)
{
    hd_buf_addf(out, "{\"id\": %" PRId32 ", \"logprob\": ", id);
    hd_jsonw_f64(out, (double)logprob);
    if (m->prompter.tokenizer) {
        hd_str bytes = hd_vocab_token_bytes(hd_tokenizer_vocab(m->prompter.tokenizer), id);
        hd_buf text;
        hd_buf_init(&text, 4 * bytes.len + 16);
        hd_utf8_repair(&text, bytes);
        hd_buf_addz(out, ", \"token\": ");
        hd_jsonw_str(out, hd_buf_str(&text));
        hd_buf_addz(out, ", \"bytes\": [");
        for (size_t i = 0; i < bytes.len; i++)
            hd_buf_addf(out, "%s%u", i ? ", " : "", (unsigned)(unsigned char)bytes.ptr[i]);
        hd_buf_addc(out, ']');
        hd_buf_deinit(&text);
    }
}

static void add_logprob(hd_buf *out, const hd_batch_model *m, const hd_event *e)
{
    add_token(out, m, e->token, e->logprob);
    hd_buf_addz(out, ", \"top_logprobs\": [");
    for (int32_t i = 0; i < e->n_top; i++) {
        if (i) hd_buf_addz(out, ", ");
        add_token(out, m, e->top[i].id, e->top[i].logprob);
        hd_buf_addc(out, '}');
    }
    hd_buf_addz(out, "]}");
}

static void add_comma(hd_buf *out)
{
    if (out->len) hd_buf_addz(out, ", ");
}

/* The first token of a prompt has nothing before it, so no probability. */
static void take_prompt_token(hd_batch_job *j, const hd_batch_model *m, const hd_event *e)
{
    hd_buf *out = &j->prompt_logprobs;
    bool is_first = out->len == 0;
    add_comma(out);
    if (is_first)
        hd_buf_addz(out, "null");
    else
        add_logprob(out, m, e);
}

/* ---- calls ------------------------------------------------------------------------------------*/

static void open_call(hd_batch_job *j, const hd_event *e)
{
    add_comma(&j->calls);
    hd_buf_addf(&j->calls,
                "{\"id\": \"call_%d\", \"type\": \"function\", \"function\": {\"name\": ", e->call);
    hd_jsonw_str(&j->calls, (hd_str){e->text, e->len});
    hd_buf_addz(&j->calls, ", \"arguments\": ");
    hd_buf_reset(&j->args);
    j->has_open_call = true;
}

static void close_call(hd_batch_job *j)
{
    if (!j->has_open_call) return;
    hd_jsonw_str(&j->calls, hd_buf_str(&j->args));
    hd_buf_addz(&j->calls, "}}");
    j->has_open_call = false;
}

/* ---- events -----------------------------------------------------------------------------------*/

void hd_batch_take(hd_batch_job *j, const hd_batch_model *m, const hd_event *e)
{
    switch (e->kind) {
    case HD_EVENT_PROMPT: take_prompt_token(j, m, e); return;
    case HD_EVENT_TOKEN:
        j->n_lost += hd_ids_push(&j->ids, e->token, NULL) != HD_OK;
        j->n_tokens++;
        if (!j->submit.wants_logprobs) return;
        add_comma(&j->logprobs);
        add_logprob(&j->logprobs, m, e);
        return;
    case HD_EVENT_REASONING: hd_buf_add(&j->reasoning, e->text, e->len); return;
    case HD_EVENT_TEXT: hd_buf_add(&j->text, e->text, e->len); return;
    case HD_EVENT_TOOL_OPEN: open_call(j, e); return;
    case HD_EVENT_TOOL_ARGS: hd_buf_add(&j->args, e->text, e->len); return;
    case HD_EVENT_TOOL_CLOSE: close_call(j); return;
    case HD_EVENT_END: close_call(j); return; /* one that was cut off */
    }
}

/* ---- lines ------------------------------------------------------------------------------------*/

static void add_id(const hd_batch_job *j, hd_buf *out)
{
    hd_buf_addz(out, "{\"id\": ");
    if (j->id)
        hd_jsonw_value(out, j->id);
    else
        hd_buf_addf(out, "%zu", j->line_no);
}

static const char *reason_of(const hd_event *end)
{
    switch (end->end) {
    case HD_END_STOP: return end->n_calls ? "tool_calls" : "stop";
    case HD_END_LENGTH: return "length";
    case HD_END_CANCELLED: return "cancelled";
    case HD_END_TIMEOUT: return "timeout";
    case HD_END_FAILED: break;
    }
    return "error";
}

static void add_usage(const hd_event *end, hd_buf *out)
{
    hd_buf_addf(out,
                ", \"usage\": {\"prompt_tokens\": %" PRId32 ", \"completion_tokens\": %" PRId32
                ", \"total_tokens\": %" PRId32 ", \"prompt_tokens_details\": {\"cached_tokens\": "
                "%" PRId32 "}, \"completion_tokens_details\": {\"reasoning_tokens\": %" PRId32 "}}",
                end->n_prompt, end->n_generated, end->n_prompt + end->n_generated, end->n_cached,
                end->n_reasoning);
}

static void add_text(hd_buf *out, const char *key, hd_str text)
{
    hd_buf_addf(out, ", \"%s\": ", key);
    hd_jsonw_str(out, text);
}

/* Elements that were written one by one. */
static void add_list(hd_buf *out, const char *key, const hd_buf *elements)
{
    hd_buf_addf(out, ", \"%s\": [", key);
    hd_buf_add_str(out, hd_buf_str(elements));
    hd_buf_addc(out, ']');
}

/* Whether all that was collected found room. */
static hd_status check_result(const hd_batch_job *j, hd_err *err)
{
    const hd_buf *const bufs[] = {&j->text,  &j->reasoning, &j->args,
                                  &j->calls, &j->logprobs,  &j->prompt_logprobs};
    for (size_t i = 0; i < HD_COUNT(bufs); i++) HD_TRY(hd_buf_status(bufs[i], "the result", err));
    if (j->n_lost) HD_FAIL(err, HD_E_NOMEM, "out of memory for the ids");
    return HD_OK;
}

static void add_result(const hd_batch_job *j, const hd_event *end, hd_buf *out)
{
    const hd_submit *q = &j->submit;
    add_id(j, out);
    if (q->output != HD_OUTPUT_IDS) add_text(out, "text", hd_buf_str(&j->text));
    hd_buf_addz(out, ", \"ids\": ");
    hd_jsonl_add_ids(out, &j->ids);
    if (q->output == HD_OUTPUT_CHAT) {
        add_text(out, "reasoning", hd_buf_str(&j->reasoning));
        add_list(out, "tool_calls", &j->calls);
    }
    add_text(out, "finish_reason", hd_str_from(reason_of(end)));
    if (end->stop_string >= 0)
        add_text(out, "stop", hd_str_from(q->answer.stops[end->stop_string]));
    if (q->wants_logprobs) {
        hd_buf_addz(out, ", \"logprobs\": {\"content\": [");
        hd_buf_add_str(out, hd_buf_str(&j->logprobs));
        hd_buf_addz(out, "]}");
    }
    if (q->wants_echo) add_list(out, "prompt_logprobs", &j->prompt_logprobs);
    add_usage(end, out);
    hd_buf_addc(out, '}');
}

void hd_batch_write(const hd_batch_job *j, const hd_event *end, hd_buf *out)
{
    hd_err err;
    if (end->end == HD_END_FAILED)
        hd_batch_write_error(j, &end->err, out);
    else if (check_result(j, &err) != HD_OK)
        hd_batch_write_error(j, &err, out);
    else
        add_result(j, end, out);
}

void hd_batch_write_error(const hd_batch_job *j, const hd_err *why, hd_buf *out)
{
    add_id(j, out);
    hd_buf_addf(out, ", \"error\": {\"code\": \"%s\", \"message\": ", hd_status_name(why->code));
    hd_jsonl_add_message(out, why);
    if (why->path[0]) {
        hd_buf_addz(out, ", \"param\": ");
        hd_jsonw_str(out, hd_str_from(why->path));
    }
    hd_buf_addz(out, "}}");
}
