/* Completions: text, and columns of log probabilities. Whole answers and chunks have one shape. */
#include "base/jsonw.h"
#include "server/writer_own.h"

/* The columns so far, which begin anew. */
static void put_columns(hd_writer *w, hd_buf *out)
{
    static const char *const names[HD_TOKEN_LISTS] = {
        "{\"tokens\":", ",\"token_logprobs\":", ",\"top_logprobs\":", ",\"text_offset\":"};
    hd_buf_addz(out, ",\"logprobs\":");
    if (!w->request->wants_logprobs) {
        hd_buf_addz(out, "null");
        return;
    }
    for (size_t i = 0; i < HD_TOKEN_LISTS; i++) {
        hd_buf_addz(out, names[i]);
        hd_put_list(out, hd_buf_str(&w->lists[i]));
        hd_buf_reset(&w->lists[i]);
    }
    hd_buf_addc(out, '}');
}

/* `"choices": […]`. @param reason NULL: there is more. */
static void put_choice(hd_writer *w, hd_str text, const char *reason, hd_buf *out)
{
    hd_put_str(out, ",\"choices\":[{\"text\":", text);
    hd_buf_addz(out, ",\"index\":0");
    put_columns(w, out);
    hd_put_finish_reason(out, reason);
    hd_buf_addz(out, "}]");
}

static const char *reason_name(hd_reason why)
{
    static const char *const names[] = {
        [HD_REASON_END] = "stop",       [HD_REASON_STOP_STRING] = "stop",
        [HD_REASON_CALLS] = "stop",     [HD_REASON_CAP] = "length",
        [HD_REASON_CONTEXT] = "length", [HD_REASON_STARVED] = "insufficient_system_resource",
    };
    return names[why];
}

static void put_chunk(hd_writer *w, hd_str text, const char *reason, hd_buf *out)
{
    hd_put_chunk_head(w, "text_completion", out);
    put_choice(w, text, reason, out);
    hd_buf_addz(out, w->request->wants_usage ? ",\"usage\":null}\n\n" : "}\n\n");
}

static void put_delta(hd_writer *w, const hd_part *p, hd_str more, hd_buf *out)
{
    if (p->kind == HD_PART_TEXT) put_chunk(w, more, NULL, out);
}

static void finish(hd_writer *w, const hd_event *end, hd_buf *out)
{
    put_chunk(w, HD_STR(""), reason_name(hd_writer_reason(w, end)), out);
    hd_put_done(w, end, out);
}

static void put_whole(hd_writer *w, const hd_event *end, hd_buf *out)
{
    /* One part of text: nothing else comes of a text. */
    hd_str text = w->n_parts ? hd_writer_said(w, hd_writer_part(w, 0)->text) : HD_STR("");
    hd_put_envelope(w, "text_completion", out);
    put_choice(w, text, reason_name(hd_writer_reason(w, end)), out);
    hd_buf_addz(out, ",\"usage\":");
    hd_put_usage(end, out);
    hd_buf_addc(out, '}');
}

static void take_token(hd_writer *w, const hd_event *e, hd_buf *out)
{
    hd_buf rest;
    if (e->kind == HD_EVENT_TOKEN && w->n_echoed) {
        /* The prompt has ended; half a character at its end stays half. */
        hd_buf_init(&rest, 16);
        hd_detok_finish(&w->spelling, &rest);
        w->n_echoed = 0;
        w->n_chars += rest.len != 0;
        hd_writer_say(w, HD_PART_TEXT, hd_buf_str(&rest), out);
        hd_buf_deinit(&rest);
    }
    hd_writer_list_columns(w, e);
    if (e->kind != HD_EVENT_PROMPT) return;
    hd_writer_say(w, HD_PART_TEXT, hd_buf_str(&w->raw), out);
}

const hd_dialect_ops hd_write_completions = {
    .answer_prefix = "cmpl-",
    .call_prefix = "call_",
    .ping = hd_put_keep_alive,
    .delta = put_delta,
    .finish = finish,
    .fail = hd_put_failed_chunks,
    .whole = put_whole,
    .token = take_token,
};
