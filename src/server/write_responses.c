/* Responses: a list of items (reasoning, message, calls). A stream tells of each item three times:
 * when it opens, piece by piece, and whole when it is done; and of all of them at the end.
 *
 * The index of an item is its place in the output, as clients count. Every event has a number. */
#include <inttypes.h>

#include "base/jsonw.h"
#include "server/write_items.h"
#include "server/writer_own.h"

/* Event line and the data up to its own members. */
static void begin_event(hd_writer *w, const char *type, hd_buf *out)
{
    hd_buf_addf(out, "event: %s\ndata: {\"type\":\"%s\",\"sequence_number\":%" PRIu64, type, type,
                w->n_sequence++);
}

static void end_event(hd_buf *out)
{
    hd_buf_addz(out, "}\n\n");
}

static void put_response_event(hd_writer *w, const char *type, const hd_response_end *how,
                               hd_buf *out)
{
    begin_event(w, type, out);
    hd_buf_addz(out, ",\"response\":");
    hd_put_response(w, how, out);
    end_event(out);
}

static void begin(hd_writer *w, hd_buf *out)
{
    const hd_response_end created = {.status = "in_progress", .repeats_request = true};
    put_response_event(w, "response.created", &created, out);
    put_response_event(w, "response.in_progress", &(hd_response_end){.status = "in_progress"}, out);
}

static void put_ping(hd_writer *w, hd_buf *out)
{
    put_response_event(w, "response.in_progress", &(hd_response_end){.status = "in_progress"}, out);
}

/* ---- items ------------------------------------------------------------------------------------*/

/* Names of the events and members that a kind of part has. */
typedef struct words {
    const char *delta, *done; /* events */
    const char *text;         /* member of `done` */
    const char *part;         /* type of the content part; NULL: the item has no parts */
} words;

static const words *words_of(const hd_part *p)
{
    static const words all[] = {
        [HD_PART_REASONING] = {"response.reasoning_text.delta", "response.reasoning_text.done",
                               "text", "reasoning_text"},
        [HD_PART_TEXT] = {"response.output_text.delta", "response.output_text.done", "text",
                          "output_text"},
        [HD_PART_CALL] = {"response.function_call_arguments.delta",
                          "response.function_call_arguments.done", "arguments", NULL},
    };
    static const words custom = {"response.custom_tool_call_input.delta",
                                 "response.custom_tool_call_input.done", "input", NULL};
    return hd_part_is_custom(p) ? &custom : &all[p->kind];
}

/* Which item an event is about: the one that is open. */
static void put_place(const hd_writer *w, const hd_part *p, hd_buf *out)
{
    hd_put_strz(out, ",\"item_id\":", p->id);
    hd_buf_addf(out, ",\"output_index\":%d", w->n_parts - 1);
    if (p->kind != HD_PART_CALL) hd_buf_addz(out, ",\"content_index\":0");
}

static void put_item_event(hd_writer *w, const char *type, const hd_part *p, bool is_done,
                           hd_buf *out)
{
    begin_event(w, type, out);
    hd_buf_addf(out, ",\"output_index\":%d,\"item\":", w->n_parts - 1);
    hd_put_item(w, p, is_done ? HD_ITEM_DONE : HD_ITEM_EMPTY, out);
    end_event(out);
}

static void put_part_event(hd_writer *w, const char *type, const hd_part *p, hd_item_state state,
                           hd_buf *out)
{
    begin_event(w, type, out);
    put_place(w, p, out);
    hd_buf_addz(out, ",\"part\":");
    hd_put_content(w, p, state, out);
    end_event(out);
}

/* Reasoning once more, for clients that show only summaries. */
static void begin_summary_event(hd_writer *w, const char *type, const hd_part *p, hd_buf *out)
{
    begin_event(w, type, out);
    hd_put_strz(out, ",\"item_id\":", p->id);
    hd_buf_addf(out, ",\"output_index\":%d,\"summary_index\":0", w->n_parts - 1);
}

static bool is_summed_up(const hd_writer *w, const hd_part *p)
{
    return p->kind == HD_PART_REASONING && w->request->wants_summary;
}

static void open_part(hd_writer *w, const hd_part *p, hd_buf *out)
{
    put_item_event(w, "response.output_item.added", p, false, out);
    if (words_of(p)->part) put_part_event(w, "response.content_part.added", p, HD_ITEM_EMPTY, out);
    if (!is_summed_up(w, p)) return;
    begin_summary_event(w, "response.reasoning_summary_part.added", p, out);
    hd_buf_addz(out, ",\"part\":{\"type\":\"summary_text\",\"text\":\"\"}");
    end_event(out);
}

static void put_delta(hd_writer *w, const hd_part *p, hd_str more, hd_buf *out)
{
    begin_event(w, words_of(p)->delta, out);
    put_place(w, p, out);
    hd_put_str(out, ",\"delta\":", more);
    if (p->kind == HD_PART_TEXT) {
        hd_buf_addz(out, ",\"logprobs\":");
        hd_put_list(out, w->fresh);
    }
    end_event(out);
    if (!is_summed_up(w, p)) return;
    begin_summary_event(w, "response.reasoning_summary_text.delta", p, out);
    hd_put_str(out, ",\"delta\":", more);
    end_event(out);
}

static void close_summary(hd_writer *w, const hd_part *p, hd_buf *out)
{
    begin_summary_event(w, "response.reasoning_summary_text.done", p, out);
    hd_put_str(out, ",\"text\":", hd_writer_said(w, p->text));
    end_event(out);
    begin_summary_event(w, "response.reasoning_summary_part.done", p, out);
    hd_put_str(out, ",\"part\":{\"type\":\"summary_text\",\"text\":", hd_writer_said(w, p->text));
    hd_buf_addc(out, '}');
    end_event(out);
}

static void close_part(hd_writer *w, const hd_part *p, hd_buf *out)
{
    const words *names = words_of(p);
    begin_event(w, names->done, out);
    put_place(w, p, out);
    if (p->kind == HD_PART_CALL) hd_put_call_name(w, p, out);
    hd_buf_addf(out, ",\"%s\":", names->text);
    hd_jsonw_str(out, hd_writer_said(w, p->text));
    if (p->kind == HD_PART_TEXT) {
        hd_buf_addz(out, ",\"logprobs\":");
        hd_put_part_logprobs(w, p, out);
    }
    end_event(out);
    if (names->part) put_part_event(w, "response.content_part.done", p, HD_ITEM_DONE, out);
    if (is_summed_up(w, p)) close_summary(w, p, out);
    put_item_event(w, "response.output_item.done", p, true, out);
}

/* ---- ends -------------------------------------------------------------------------------------*/

static hd_response_end end_of(const hd_writer *w, const hd_event *end)
{
    hd_reason why = hd_writer_reason(w, end);
    bool is_whole = why != HD_REASON_CAP && why != HD_REASON_CONTEXT;
    return (hd_response_end){.status = is_whole ? "completed" : "incomplete",
                             .incomplete_reason = is_whole ? NULL : "max_output_tokens",
                             .counts = end,
                             .has_output = true,
                             .repeats_request = true};
}

static void finish(hd_writer *w, const hd_event *end, hd_buf *out)
{
    hd_response_end how = end_of(w, end);
    put_response_event(w, how.incomplete_reason ? "response.incomplete" : "response.completed",
                       &how, out);
}

/* Codex knows these two codes, and tries again at any other. */
static const char *error_code(hd_refusal why)
{
    if (why == HD_REFUSE_TOO_LONG) return "context_length_exceeded";
    return why == HD_REFUSE_KEY_LIMIT ? "rate_limit_exceeded" : "server_error";
}

static void fail(hd_writer *w, hd_refusal why, const hd_err *err, hd_buf *out)
{
    const hd_response_end how = {.status = "failed",
                                 .error_code = error_code(why),
                                 .error = err->text,
                                 .has_output = true,
                                 .repeats_request = true};
    if (w->is_open) hd_writer_part(w, w->n_parts - 1)->is_cut = true;
    put_response_event(w, "response.failed", &how, out);
}

static void put_whole(hd_writer *w, const hd_event *end, hd_buf *out)
{
    hd_response_end how = end_of(w, end);
    hd_put_response(w, &how, out);
}

const hd_dialect_ops hd_write_responses = {
    .answer_prefix = "resp_",
    .call_prefix = "call_",
    .keeps_streams = true,
    .seals = true,
    .unwraps = true,
    .item_prefix = hd_item_prefix,
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
