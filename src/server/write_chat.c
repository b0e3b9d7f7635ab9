/* Chat Completions: one message of content, reasoning and tool calls; in a stream, chunks that add
 * to it. docs/http-answers.md has the order of the chunks. */
#include "base/jsonw.h"
#include "server/writer_own.h"

/* ---- chunks -----------------------------------------------------------------------------------*/

/* Up to the delta, whose members follow. */
static void begin_chunk(hd_writer *w, hd_buf *out)
{
    hd_put_chunk_head(w, "chat.completion.chunk", out);
    hd_buf_addz(out, ",\"choices\":[{\"index\":0,\"delta\":{");
}

/* @param list of logprobs that the fresh ones belong to; NULL: none are told.
 *  @param reason NULL: there is more. */
static void end_chunk(hd_writer *w, const char *list, const char *reason, hd_buf *out)
{
    hd_buf_addz(out, "},\"logprobs\":");
    if (list && w->request->wants_logprobs) {
        hd_buf_addf(out, "{\"%s\":", list);
        hd_put_list(out, w->fresh);
        hd_buf_addc(out, '}');
    } else {
        hd_buf_addz(out, "null");
    }
    hd_put_finish_reason(out, reason);
    hd_buf_addz(out, w->request->wants_usage ? "}],\"usage\":null}\n\n" : "}]}\n\n");
}

static void begin(hd_writer *w, hd_buf *out)
{
    begin_chunk(w, out);
    hd_buf_addz(out, "\"role\":\"assistant\",\"content\":\"\"");
    end_chunk(w, NULL, NULL, out);
}

static void put_open_call(const hd_writer *w, const hd_part *p, int32_t index, hd_str args,
                          hd_buf *out)
{
    hd_buf_addf(out, "{\"index\":%d", index);
    hd_put_strz(out, ",\"id\":", p->call_id);
    hd_put_str(out, ",\"type\":\"function\",\"function\":{\"name\":", hd_writer_said(w, p->name));
    hd_put_str(out, ",\"arguments\":", args);
    hd_buf_addz(out, "}}");
}

static void open_part(hd_writer *w, const hd_part *p, hd_buf *out)
{
    if (p->kind != HD_PART_CALL) return;
    begin_chunk(w, out);
    hd_buf_addz(out, "\"tool_calls\":[");
    put_open_call(w, p, w->n_calls - 1, HD_STR(""), out);
    hd_buf_addc(out, ']');
    end_chunk(w, NULL, NULL, out);
}

static void put_delta(hd_writer *w, const hd_part *p, hd_str more, hd_buf *out)
{
    const char *list = NULL;
    begin_chunk(w, out);
    switch (p->kind) {
    case HD_PART_REASONING:
        list = "reasoning_content";
        hd_buf_addf(out, "\"%s\":", w->opts.reasoning_field);
        hd_jsonw_str(out, more);
        break;
    case HD_PART_TEXT:
        list = "content";
        hd_put_str(out, "\"content\":", more);
        break;
    case HD_PART_CALL:
        hd_buf_addf(out,
                    "\"tool_calls\":[{\"index\":%d,\"function\":{\"arguments\":", w->n_calls - 1);
        hd_jsonw_str(out, more);
        hd_buf_addz(out, "}}]");
        break;
    }
    end_chunk(w, list, NULL, out);
}

static const char *reason_name(hd_reason why)
{
    static const char *const names[] = {
        [HD_REASON_END] = "stop",         [HD_REASON_STOP_STRING] = "stop",
        [HD_REASON_CALLS] = "tool_calls", [HD_REASON_CAP] = "length",
        [HD_REASON_CONTEXT] = "length",   [HD_REASON_STARVED] = "insufficient_system_resource",
    };
    return names[why];
}

static void finish(hd_writer *w, const hd_event *end, hd_buf *out)
{
    begin_chunk(w, out);
    end_chunk(w, NULL, reason_name(hd_writer_reason(w, end)), out);
    hd_put_done(w, end, out);
}

/* ---- a whole answer ---------------------------------------------------------------------------*/

/* All text of a kind, as the inside of a JSON string. */
static void put_texts(const hd_writer *w, hd_part_kind kind, hd_buf *out)
{
    for (int32_t i = 0; i < w->n_parts; i++) {
        const hd_part *p = hd_writer_part(w, i);
        if (p->kind == kind) hd_jsonw_str_part(out, hd_writer_said(w, p->text));
    }
}

static bool has_part(const hd_writer *w, hd_part_kind kind)
{
    for (int32_t i = 0; i < w->n_parts; i++)
        if (hd_writer_part(w, i)->kind == kind) return true;
    return false;
}

static void put_calls(const hd_writer *w, hd_buf *out)
{
    int32_t index = 0;
    hd_buf_addz(out, ",\"tool_calls\":[");
    for (int32_t i = 0; i < w->n_parts; i++) {
        const hd_part *p = hd_writer_part(w, i);
        if (p->kind != HD_PART_CALL) continue;
        if (index) hd_buf_addc(out, ',');
        put_open_call(w, p, index++, hd_writer_said(w, p->text), out);
    }
    hd_buf_addc(out, ']');
}

static void put_message(const hd_writer *w, hd_buf *out)
{
    hd_buf_addz(out, "{\"role\":\"assistant\",\"content\":");
    if (w->n_calls && !has_part(w, HD_PART_TEXT)) {
        hd_buf_addz(out, "null");
    } else {
        hd_buf_addc(out, '"');
        put_texts(w, HD_PART_TEXT, out);
        hd_buf_addc(out, '"');
    }
    if (w->request->thinks || has_part(w, HD_PART_REASONING)) {
        hd_buf_addf(out, ",\"%s\":\"", w->opts.reasoning_field);
        put_texts(w, HD_PART_REASONING, out);
        hd_buf_addc(out, '"');
    }
    if (w->n_calls) put_calls(w, out);
    hd_buf_addc(out, '}');
}

static void put_logprobs(const hd_writer *w, hd_part_kind kind, hd_buf *out)
{
    bool is_first = true;
    hd_buf_addc(out, '[');
    for (int32_t i = 0; i < w->n_parts; i++) {
        const hd_part *p = hd_writer_part(w, i);
        if (p->kind != kind || p->logprobs.len == 0) continue;
        if (!is_first) hd_buf_addc(out, ',');
        hd_buf_add(out, w->kept.ptr + p->logprobs.begin, p->logprobs.len - 1);
        is_first = false;
    }
    hd_buf_addc(out, ']');
}

static void put_whole(hd_writer *w, const hd_event *end, hd_buf *out)
{
    hd_put_envelope(w, "chat.completion", out);
    hd_buf_addz(out, ",\"choices\":[{\"index\":0,\"message\":");
    put_message(w, out);
    hd_buf_addz(out, ",\"logprobs\":");
    if (w->request->wants_logprobs) {
        hd_buf_addz(out, "{\"content\":");
        put_logprobs(w, HD_PART_TEXT, out);
        if (has_part(w, HD_PART_REASONING)) {
            hd_buf_addz(out, ",\"reasoning_content\":");
            put_logprobs(w, HD_PART_REASONING, out);
        }
        hd_buf_addc(out, '}');
    } else {
        hd_buf_addz(out, "null");
    }
    hd_put_strz(out, ",\"finish_reason\":", reason_name(hd_writer_reason(w, end)));
    hd_buf_addz(out, "}],\"usage\":");
    hd_put_usage(end, out);
    hd_buf_addc(out, '}');
}

const hd_dialect_ops hd_write_chat = {
    .answer_prefix = "chatcmpl-",
    .call_prefix = "call_",
    .begin = begin,
    .ping = hd_put_keep_alive,
    .open = open_part,
    .delta = put_delta,
    .finish = finish,
    .fail = hd_put_failed_chunks,
    .whole = put_whole,
    .token = hd_writer_list_token,
};
