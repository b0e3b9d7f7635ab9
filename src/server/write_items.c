#include "server/write_items.h"

#include <inttypes.h>

#include "base/jsonw.h"

/* ---- items ------------------------------------------------------------------------------------*/

bool hd_part_is_custom(const hd_part *p)
{
    return p->kind == HD_PART_CALL && p->tool && p->tool->is_custom;
}

const char *hd_item_prefix(const hd_part *p)
{
    static const char *const prefixes[] = {
        [HD_PART_REASONING] = "rs_", [HD_PART_TEXT] = "msg_", [HD_PART_CALL] = "fc_"};
    return hd_part_is_custom(p) ? "ctc_" : prefixes[p->kind];
}

void hd_put_part_logprobs(const hd_writer *w, const hd_part *p, hd_buf *out)
{
    hd_str all = {p->logprobs.len ? w->kept.ptr + p->logprobs.begin : "", p->logprobs.len};
    hd_put_list(out, all);
}

void hd_put_content(const hd_writer *w, const hd_part *p, hd_item_state state, hd_buf *out)
{
    hd_str text = state == HD_ITEM_EMPTY ? HD_STR("") : hd_writer_said(w, p->text);
    if (p->kind == HD_PART_REASONING) {
        hd_put_str(out, "{\"type\":\"reasoning_text\",\"text\":", text);
        hd_buf_addc(out, '}');
        return;
    }
    hd_put_str(out, "{\"type\":\"output_text\",\"text\":", text);
    hd_buf_addz(out, ",\"annotations\":[],\"logprobs\":");
    if (state == HD_ITEM_EMPTY)
        hd_buf_addz(out, "[]");
    else
        hd_put_part_logprobs(w, p, out);
    hd_buf_addc(out, '}');
}

void hd_put_call_name(const hd_writer *w, const hd_part *p, hd_buf *out)
{
    hd_put_str(out, ",\"name\":", p->tool ? p->tool->short_name : hd_writer_said(w, p->name));
    if (p->tool && p->tool->space.len) hd_put_str(out, ",\"namespace\":", p->tool->space);
}

static void put_reasoning(const hd_writer *w, const hd_part *p, hd_item_state state, hd_buf *out)
{
    hd_buf_addz(out, ",\"summary\":[");
    if (state == HD_ITEM_DONE && w->request->wants_summary) {
        hd_put_str(out, "{\"type\":\"summary_text\",\"text\":", hd_writer_said(w, p->text));
        hd_buf_addc(out, '}');
    }
    hd_buf_addz(out, "],\"content\":[");
    if (state == HD_ITEM_DONE) hd_put_content(w, p, state, out);
    hd_buf_addc(out, ']');
    if (p->seal.len) hd_put_str(out, ",\"encrypted_content\":", hd_writer_said(w, p->seal));
}

static void put_call(const hd_writer *w, const hd_part *p, hd_item_state state, hd_buf *out)
{
    hd_put_strz(out, ",\"call_id\":", p->call_id);
    hd_put_call_name(w, p, out);
    hd_put_str(out, hd_part_is_custom(p) ? ",\"input\":" : ",\"arguments\":",
               state == HD_ITEM_EMPTY ? HD_STR("") : hd_writer_said(w, p->text));
}

void hd_put_item(const hd_writer *w, const hd_part *p, hd_item_state state, hd_buf *out)
{
    static const char *const types[] = {[HD_PART_REASONING] = "reasoning",
                                        [HD_PART_TEXT] = "message",
                                        [HD_PART_CALL] = "function_call"};
    const char *status = p->is_cut ? "incomplete" : "completed";
    hd_put_strz(out, "{\"id\":", p->id);
    hd_put_strz(out, ",\"type\":", hd_part_is_custom(p) ? "custom_tool_call" : types[p->kind]);
    hd_put_strz(out, ",\"status\":", state == HD_ITEM_EMPTY ? "in_progress" : status);
    switch (p->kind) {
    case HD_PART_REASONING: put_reasoning(w, p, state, out); break;
    case HD_PART_TEXT:
        hd_buf_addz(out, ",\"role\":\"assistant\",\"content\":[");
        if (state == HD_ITEM_DONE) hd_put_content(w, p, state, out);
        hd_buf_addc(out, ']');
        break;
    case HD_PART_CALL: put_call(w, p, state, out); break;
    }
    hd_buf_addc(out, '}');
}

/* ---- the response -----------------------------------------------------------------------------*/

/* `,"name": value` as the request has it, or `fallback`. */
static void repeat(const hd_writer *w, const char *name, const char *fallback, hd_buf *out)
{
    const hd_json *value = hd_json_get(w->request->body, name);
    hd_buf_addf(out, ",\"%s\":", name);
    if (!value || value->kind == HD_JSON_NULL)
        hd_buf_addz(out, fallback);
    else if (value->kind == HD_JSON_STRING)
        hd_jsonw_str(out, value->text);
    else
        hd_unwrap_compact(value->text, out);
}

static void put_usage(const hd_event *n, hd_buf *out)
{
    if (!n) {
        hd_buf_addz(out, "null");
        return;
    }
    hd_buf_addf(out, "{\"input_tokens\":%d,\"input_tokens_details\":{\"cached_tokens\":%d",
                n->n_prompt, n->n_cached);
    hd_buf_addf(out, ",\"cache_write_tokens\":0},\"output_tokens\":%d", n->n_generated);
    hd_buf_addf(out, ",\"output_tokens_details\":{\"reasoning_tokens\":%d}", n->n_reasoning);
    hd_buf_addf(out, ",\"total_tokens\":%d}", n->n_prompt + n->n_generated);
}

static void put_end(const hd_response_end *how, hd_buf *out)
{
    hd_buf_addz(out, ",\"error\":");
    if (how->error) {
        hd_put_strz(out, "{\"code\":", how->error_code);
        hd_put_strz(out, ",\"message\":", how->error);
        hd_buf_addc(out, '}');
    } else {
        hd_buf_addz(out, "null");
    }
    hd_buf_addz(out, ",\"incomplete_details\":");
    if (how->incomplete_reason) {
        hd_put_strz(out, "{\"reason\":", how->incomplete_reason);
        hd_buf_addc(out, '}');
    } else {
        hd_buf_addz(out, "null");
    }
}

static void put_settings(const hd_writer *w, bool repeats_request, hd_buf *out)
{
    const hd_canon *c = w->request;
    if (repeats_request)
        repeat(w, "instructions", "null", out);
    else
        hd_buf_addz(out, ",\"instructions\":null");
    repeat(w, "max_output_tokens", "null", out);
    repeat(w, "metadata", "{}", out);
    repeat(w, "parallel_tool_calls", "true", out);
    hd_buf_addz(out, ",\"previous_response_id\":null");
    repeat(w, "prompt_cache_key", "null", out);
    repeat(w, "reasoning", "{\"effort\":null,\"summary\":null}", out);
    hd_buf_addz(out, ",\"store\":false,\"temperature\":");
    hd_jsonw_f64(out, c->temperature);
    repeat(w, "text", "{\"format\":{\"type\":\"text\"}}", out);
    repeat(w, "tool_choice", "\"auto\"", out);
    if (repeats_request)
        repeat(w, "tools", "[]", out);
    else
        hd_buf_addz(out, ",\"tools\":[]");
    hd_buf_addf(out, ",\"top_logprobs\":%d,\"top_p\":", c->n_top);
    hd_jsonw_f64(out, c->top_p);
    hd_buf_addz(out, ",\"truncation\":\"disabled\"");
}

void hd_put_response(const hd_writer *w, const hd_response_end *how, hd_buf *out)
{
    hd_put_strz(out, "{\"id\":", w->id);
    hd_buf_addf(out, ",\"object\":\"response\",\"created_at\":%" PRId64, w->opts.created_s);
    hd_put_strz(out, ",\"status\":", how->status);
    hd_put_str(out, ",\"model\":", hd_writer_model(w));
    hd_buf_addz(out, ",\"output\":[");
    for (int32_t i = 0; how->has_output && i < w->n_parts; i++) {
        if (i) hd_buf_addc(out, ',');
        hd_put_item(w, hd_writer_part(w, i), HD_ITEM_DONE, out);
    }
    hd_buf_addc(out, ']');
    put_end(how, out);
    put_settings(w, how->repeats_request, out);
    hd_buf_addz(out, ",\"usage\":");
    put_usage(how->counts, out);
    hd_buf_addc(out, '}');
}
