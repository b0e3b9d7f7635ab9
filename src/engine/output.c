#include "engine/output.h"

#include "text/tokenizer.h"

#define MAX_TEXT_BYTES ((size_t)64 << 20)

hd_status hd_output_init(hd_output *o, const hd_tokenizer *t, hd_output_kind kind,
                         const hd_outparse_opts *opts, hd_err *err)
{
    *o = (hd_output){.kind = kind};
    if ((unsigned)kind > HD_OUTPUT_CHAT)
        HD_FAIL(err, HD_E_ARG, "no such kind of output: %d", (int)kind);
    if (kind == HD_OUTPUT_IDS) return HD_OK;
    if (!t) HD_FAIL(err, HD_E_UNSUPPORTED, "text needs a tokenizer.json in the model's directory");
    if (kind == HD_OUTPUT_CHAT) return hd_outparse_create(t, opts, &o->parse, err);
    hd_detok_init(&o->detok, hd_tokenizer_vocab(t), HD_DECODE_SKIP_SPECIAL);
    hd_buf_init(&o->decoded, MAX_TEXT_BYTES);
    hd_buf_init(&o->text, MAX_TEXT_BYTES);
    return hd_stops_init(&o->stops, opts->stops, opts->n_stops, err);
}

void hd_output_deinit(hd_output *o)
{
    hd_outparse_destroy(o->parse);
    hd_stops_deinit(&o->stops);
    hd_buf_deinit(&o->decoded);
    hd_buf_deinit(&o->text);
    *o = (hd_output){0};
}

/* ---- plain text -------------------------------------------------------------------------------*/

static hd_status put_text(hd_output *o, hd_events *events, hd_err *err)
{
    HD_TRY(hd_buf_status(&o->decoded, "decoded text", err));
    HD_TRY(hd_buf_status(&o->stops.held, "what is held back", err));
    HD_TRY(hd_buf_status(&o->text, "decoded text", err));
    if (o->text.len)
        hd_events_put(events,
                      &(hd_event){.kind = HD_EVENT_TEXT, .text = o->text.ptr, .len = o->text.len});
    return HD_OK;
}

static hd_status push_text(hd_output *o, int32_t id, bool may_stop, hd_events *events,
                           bool *has_ended, hd_err *err)
{
    hd_buf_reset(&o->decoded);
    hd_buf_reset(&o->text);
    hd_detok_push(&o->detok, id, &o->decoded);
    o->stops.is_off = !may_stop;
    *has_ended = hd_stops_feed(&o->stops, hd_buf_str(&o->decoded), &o->text);
    return put_text(o, events, err);
}

static hd_status finish_text(hd_output *o, hd_events *events, hd_err *err)
{
    hd_buf_reset(&o->decoded);
    hd_buf_reset(&o->text);
    if (hd_output_stop_string(o) >= 0) return HD_OK;
    hd_detok_finish(&o->detok, &o->decoded);
    if (!hd_stops_feed(&o->stops, hd_buf_str(&o->decoded), &o->text))
        hd_stops_flush(&o->stops, &o->text);
    return put_text(o, events, err);
}

/* ---- the answer of a chat ---------------------------------------------------------------------*/

static void put_parsed(hd_output *o, hd_events *events, bool *has_ended)
{
    static const hd_event_kind kinds[] = {[HD_OUT_REASONING] = HD_EVENT_REASONING,
                                          [HD_OUT_TEXT] = HD_EVENT_TEXT,
                                          [HD_OUT_TOOL_OPEN] = HD_EVENT_TOOL_OPEN,
                                          [HD_OUT_TOOL_ARGS] = HD_EVENT_TOOL_ARGS,
                                          [HD_OUT_TOOL_CLOSE] = HD_EVENT_TOOL_CLOSE};
    hd_out_event e;
    *has_ended = false;
    while (hd_outparse_next(o->parse, &e)) {
        if (e.kind == HD_OUT_FINISH) {
            *has_ended = true;
            continue;
        }
        if (e.kind == HD_OUT_TOOL_OPEN) o->n_calls++;
        hd_events_put(
            events,
            &(hd_event){.kind = kinds[e.kind], .call = e.call, .text = e.text, .len = e.len});
    }
}

/* ---- both -------------------------------------------------------------------------------------*/

hd_status hd_output_push(hd_output *o, int32_t id, bool may_stop, hd_events *events,
                         bool *has_ended, hd_err *err)
{
    *has_ended = false;
    if (o->kind == HD_OUTPUT_IDS) return HD_OK;
    if (o->kind == HD_OUTPUT_TEXT) return push_text(o, id, may_stop, events, has_ended, err);
    o->n_reasoning += o->parse->state == HD_OUT_IN_REASONING;
    o->parse->stops.is_off = !may_stop;
    HD_TRY(hd_outparse_push(o->parse, id, err));
    put_parsed(o, events, has_ended);
    return HD_OK;
}

hd_status hd_output_finish(hd_output *o, hd_finish reason, hd_events *events, hd_err *err)
{
    bool has_ended;
    if (o->kind == HD_OUTPUT_IDS) return HD_OK;
    if (o->kind == HD_OUTPUT_TEXT) return finish_text(o, events, err);
    HD_TRY(hd_outparse_finish(o->parse, reason, err));
    put_parsed(o, events, &has_ended);
    return HD_OK;
}

int32_t hd_output_stop_string(const hd_output *o)
{
    const hd_stops *s = o->kind == HD_OUTPUT_CHAT ? &o->parse->stops : &o->stops;
    return o->kind != HD_OUTPUT_IDS && s->i_found < s->n ? (int32_t)s->i_found : -1;
}
