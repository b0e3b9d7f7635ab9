/* Messages: content blocks, one open at a time. In a stream the client reads each event by its
 * `event:` line. How much of the prompt came from the cache is known at the end only, so the first
 * event counts none of it. */
#include "base/jsonw.h"
#include "server/writer_own.h"

static void begin_event(const char *type, hd_buf *out)
{
    hd_buf_addf(out, "event: %s\ndata: {\"type\":\"%s\"", type, type);
}

static void end_event(hd_buf *out)
{
    hd_buf_addz(out, "}\n\n");
}

static void put_usage(const hd_event *n, hd_buf *out)
{
    hd_buf_addf(out, "{\"input_tokens\":%d,\"cache_creation_input_tokens\":0",
                n->n_prompt - n->n_cached);
    hd_buf_addf(out, ",\"cache_read_input_tokens\":%d,\"output_tokens\":%d", n->n_cached,
                n->n_generated);
    hd_buf_addf(out, ",\"output_tokens_details\":{\"thinking_tokens\":%d}}", n->n_reasoning);
}

/* The client wants the signature only. */
static bool hides_thinking(const hd_writer *w)
{
    const hd_json *display = hd_json_get(hd_json_get(w->request->body, "thinking"), "display");
    return display && hd_str_eqz(display->text, "omitted");
}

/* Up to the content. */
static void begin_message(const hd_writer *w, hd_buf *out)
{
    hd_put_strz(out, "{\"id\":", w->id);
    hd_put_str(out, ",\"type\":\"message\",\"role\":\"assistant\",\"model\":", hd_writer_model(w));
    hd_buf_addz(out, ",\"content\":[");
}

/* `"stop_reason": …, "stop_sequence": …` */
static void put_reason(const hd_writer *w, const hd_event *end, hd_buf *out)
{
    static const char *const names[] = {
        [HD_REASON_END] = "end_turn",
        [HD_REASON_STOP_STRING] = "stop_sequence",
        [HD_REASON_CALLS] = "tool_use",
        [HD_REASON_CAP] = "max_tokens",
        [HD_REASON_CONTEXT] = "model_context_window_exceeded",
        [HD_REASON_STARVED] = "max_tokens",
    };
    hd_put_strz(out, "\"stop_reason\":", names[hd_writer_reason(w, end)]);
    if (end->stop_string >= 0 && end->stop_string < w->request->n_stops)
        hd_put_strz(out, ",\"stop_sequence\":", w->request->stops[end->stop_string]);
    else
        hd_buf_addz(out, ",\"stop_sequence\":null");
}

/* ---- streams ----------------------------------------------------------------------------------*/

static void begin(hd_writer *w, hd_buf *out)
{
    begin_event("message_start", out);
    hd_buf_addz(out, ",\"message\":");
    begin_message(w, out);
    hd_buf_addz(out, "],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":");
    put_usage(&(hd_event){.n_prompt = w->opts.n_prompt}, out);
    hd_buf_addc(out, '}');
    end_event(out);
}

static void put_ping(hd_writer *w, hd_buf *out)
{
    (void)w;
    begin_event("ping", out);
    end_event(out);
}

static void put_tool_use(const hd_writer *w, const hd_part *p, hd_buf *out)
{
    hd_put_strz(out, "{\"type\":\"tool_use\",\"id\":", p->call_id);
    hd_put_str(out, ",\"name\":", hd_writer_said(w, p->name));
    hd_buf_addz(out, ",\"input\":");
}

static void open_part(hd_writer *w, const hd_part *p, hd_buf *out)
{
    begin_event("content_block_start", out);
    hd_buf_addf(out, ",\"index\":%d,\"content_block\":", w->n_parts - 1);
    switch (p->kind) {
    case HD_PART_REASONING:
        hd_buf_addz(out, "{\"type\":\"thinking\",\"thinking\":\"\",\"signature\":\"\"}");
        break;
    case HD_PART_TEXT: hd_buf_addz(out, "{\"type\":\"text\",\"text\":\"\"}"); break;
    case HD_PART_CALL:
        put_tool_use(w, p, out);
        hd_buf_addz(out, "{}}");
        break;
    }
    end_event(out);
}

/* @param type of the delta. @param member that holds the text. */
static void put_block_delta(const hd_writer *w, const char *type, const char *member, hd_str text,
                            hd_buf *out)
{
    begin_event("content_block_delta", out);
    hd_buf_addf(out, ",\"index\":%d,\"delta\":{\"type\":\"%s\",\"%s\":", w->n_parts - 1, type,
                member);
    hd_jsonw_str(out, text);
    hd_buf_addc(out, '}');
    end_event(out);
}

static void put_delta(hd_writer *w, const hd_part *p, hd_str more, hd_buf *out)
{
    static const struct {
        const char *type, *member;
    } words[] = {[HD_PART_REASONING] = {"thinking_delta", "thinking"},
                 [HD_PART_TEXT] = {"text_delta", "text"},
                 [HD_PART_CALL] = {"input_json_delta", "partial_json"}};
    if (p->kind == HD_PART_REASONING && hides_thinking(w)) return;
    put_block_delta(w, words[p->kind].type, words[p->kind].member, more, out);
}

static void close_part(hd_writer *w, const hd_part *p, hd_buf *out)
{
    if (p->kind == HD_PART_REASONING)
        put_block_delta(w, "signature_delta", "signature", hd_writer_said(w, p->seal), out);
    begin_event("content_block_stop", out);
    hd_buf_addf(out, ",\"index\":%d", w->n_parts - 1);
    end_event(out);
}

static void finish(hd_writer *w, const hd_event *end, hd_buf *out)
{
    begin_event("message_delta", out);
    hd_buf_addz(out, ",\"delta\":{");
    put_reason(w, end, out);
    hd_buf_addz(out, "},\"usage\":");
    put_usage(end, out);
    end_event(out);
    begin_event("message_stop", out);
    end_event(out);
}

static void fail(hd_writer *w, hd_refusal why, const hd_err *err, hd_buf *out)
{
    if (why == HD_REFUSE_UNAVAILABLE) why = HD_REFUSE_INTERNAL; /* it was taken in and is lost */
    hd_buf_addz(out, "event: error\ndata: ");
    hd_api_error_body(HD_DIALECT_MESSAGES, why, err->text, err->path,
                      w->opts.request_id ? w->opts.request_id : "", out);
    hd_buf_addz(out, "\n\n");
}

/* ---- a whole answer ---------------------------------------------------------------------------*/

static void put_block(const hd_writer *w, const hd_part *p, hd_buf *out)
{
    switch (p->kind) {
    case HD_PART_REASONING:
        hd_put_str(out, "{\"type\":\"thinking\",\"thinking\":",
                   hides_thinking(w) ? HD_STR("") : hd_writer_said(w, p->text));
        hd_put_str(out, ",\"signature\":", hd_writer_said(w, p->seal));
        break;
    case HD_PART_TEXT:
        hd_put_str(out, "{\"type\":\"text\",\"text\":", hd_writer_said(w, p->text));
        break;
    case HD_PART_CALL:
        put_tool_use(w, p, out);
        hd_unwrap_object(hd_writer_said(w, p->text), out);
        break;
    }
    hd_buf_addc(out, '}');
}

static void put_whole(hd_writer *w, const hd_event *end, hd_buf *out)
{
    begin_message(w, out);
    for (int32_t i = 0; i < w->n_parts; i++) {
        if (i) hd_buf_addc(out, ',');
        put_block(w, hd_writer_part(w, i), out);
    }
    hd_buf_addz(out, "],");
    put_reason(w, end, out);
    hd_buf_addz(out, ",\"usage\":");
    put_usage(end, out);
    hd_buf_addc(out, '}');
}

const hd_dialect_ops hd_write_messages = {
    .answer_prefix = "msg_",
    .call_prefix = "toolu_",
    .needs_args = true,
    .seals = true,
    .begin = begin,
    .ping = put_ping,
    .open = open_part,
    .delta = put_delta,
    .close = close_part,
    .finish = finish,
    .fail = fail,
    .whole = put_whole,
    .token = hd_writer_list_token,
};
