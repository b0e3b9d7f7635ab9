/* What is not an answer of the model: lists, counts, tokens, the state of the server. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/jsonw.h"
#include "server/page.h"
#include "server/serve_parts.h"
#include "text/tokenizer.h"

#define MAX_REPLY_BYTES ((size_t)1 << 20)

/* ---- models -----------------------------------------------------------------------------------*/

/* The next of names that commas part; empty behind the last. */
static hd_str next_name(hd_str *names)
{
    size_t end = hd_str_find(*names, HD_STR(","), 0);
    hd_str name = {names->ptr, end};
    *names = hd_str_skip(*names, end < names->len ? end + 1 : end);
    return name;
}

bool hd_serve_has_model(const hd_serve *s, hd_str name)
{
    if (hd_str_eqz(name, s->opts.model)) return true;
    hd_str names = hd_str_from(s->opts.aliases ? s->opts.aliases : "");
    while (names.len)
        if (hd_str_eq(next_name(&names), name)) return true;
    return false;
}

/* One body for the readers of three APIs. */
static void add_model(const hd_serve *s, hd_str name, hd_buf *out)
{
    char created[32];
    time_t t = (time_t)s->created_s;
    struct tm tm;
    gmtime_r(&t, &tm);
    strftime(created, sizeof created, "%Y-%m-%dT%H:%M:%SZ", &tm);
    hd_buf_addz(out, "{\"id\":");
    hd_jsonw_str(out, name);
    hd_buf_addf(out,
                ",\"object\":\"model\",\"created\":%" PRId64
                ",\"owned_by\":\"hadal\",\"type\":\"model\",\"display_name\":",
                s->created_s);
    hd_jsonw_str(out, name);
    hd_buf_addf(out,
                ",\"created_at\":\"%s\",\"lifecycle\":\"active\",\"max_input_tokens\":%d,"
                "\"max_tokens\":%d,\"context_length\":%d,\"max_model_len\":%d,"
                "\"max_completion_tokens\":%d}",
                created, s->info.max_ctx, s->info.max_ctx, s->info.max_ctx, s->info.max_ctx,
                s->info.max_ctx);
}

static void add_models(const hd_serve *s, hd_buf *out)
{
    hd_str names = hd_str_from(s->opts.aliases ? s->opts.aliases : ""),
           first = hd_str_from(s->opts.model), last = first;
    hd_buf_addz(out, "{\"object\":\"list\",\"data\":[");
    add_model(s, first, out);
    while (names.len) {
        last = next_name(&names);
        hd_buf_addc(out, ',');
        add_model(s, last, out);
    }
    hd_buf_addz(out, "],\"has_more\":false,\"first_id\":");
    hd_jsonw_str(out, first);
    hd_buf_addz(out, ",\"last_id\":");
    hd_jsonw_str(out, last);
    hd_buf_addc(out, '}');
}

/* ---- the server -------------------------------------------------------------------------------*/

static void add_metrics(hd_serve *s, bool is_json, hd_buf *out)
{
    hd_engine_stats engine;
    hd_engine_get_stats(s->opts.engine, &engine);
    const hd_metrics_view view = {.counts = &s->metrics,
                                  .engine = &engine,
                                  .model = s->opts.model,
                                  .version = hd_version(),
                                  .n_connections = hd_http_n_connections(s->http),
                                  .n_open = s->n_open,
                                  .uptime_s = 1e-9 * (double)(hd_clock_ns() - s->began_ns),
                                  .is_draining = s->is_draining};
    if (is_json)
        hd_metrics_json(&view, out);
    else
        hd_metrics_prometheus(&view, out);
}

static void add_version(const hd_serve *s, hd_buf *out)
{
    hd_buf_addf(out, "{\"version\":\"%s\",\"model\":", hd_version());
    hd_jsonw_str(out, hd_str_from(s->opts.model));
    hd_buf_addf(out, ",\"variant\":\"%s\",\"device\":", s->info.variant);
    hd_jsonw_str(out, hd_str_from(s->info.device));
    hd_buf_addc(out, '}');
}

static void reply(hd_http_call *call, int status, const char *type, hd_buf *body)
{
    hd_http_reply(call, status, type, hd_buf_str(body));
    hd_buf_deinit(body);
}

static void reply_model(hd_serve *s, hd_http_call *call, hd_str name, const char *request_id)
{
    hd_buf out;
    if (!hd_serve_has_model(s, name)) {
        hd_serve_refuse(s, call, HD_DIALECT_CHAT, HD_REFUSE_NO_MODEL, "there is no such model", "",
                        request_id);
        return;
    }
    hd_buf_init(&out, MAX_REPLY_BYTES);
    add_model(s, name, &out);
    reply(call, 200, "application/json", &out);
}

static void reply_page(hd_http_call *call, const hd_page_file *file)
{
    const char *have = hd_http_header(call, "If-None-Match");
    bool is_known = have && strcmp(have, file->etag) == 0;
    for (size_t i = 0; i < hd_page_n_headers; i++)
        hd_http_add_header(call, hd_page_headers[i].name, hd_page_headers[i].value);
    hd_http_add_header(call, "etag", file->etag);
    hd_http_reply(call, is_known ? 304 : 200, is_known ? NULL : file->content_type,
                  is_known ? (hd_str){0} : file->body);
}

bool hd_endpoint_get(hd_serve *s, hd_http_call *call, hd_str path, const char *request_id)
{
    static const char json[] = "application/json";
    const char *type = json;
    int status = 200;
    hd_buf out;
    hd_str models = HD_STR("/models/");
    const hd_page_file *page = hd_page_find(path);
    if (page) {
        reply_page(call, page);
        return true;
    }
    if (hd_str_starts(path, models)) {
        reply_model(s, call, hd_str_skip(path, models.len), request_id);
        return true;
    }
    hd_buf_init(&out, MAX_REPLY_BYTES);
    if (hd_str_eqz(path, "/models")) {
        add_models(s, &out);
    } else if (hd_str_eqz(path, "/health")) {
        hd_buf_addz(&out, "{\"status\":\"ok\"}");
    } else if (hd_str_eqz(path, "/ready")) {
        status = s->is_draining ? 503 : 200;
        hd_buf_addz(&out, s->is_draining ? "{\"status\":\"draining\"}" : "{\"status\":\"ready\"}");
    } else if (hd_str_eqz(path, "/metrics")) {
        type = "text/plain; version=0.0.4";
        add_metrics(s, false, &out);
    } else if (hd_str_eqz(path, "/stats")) {
        add_metrics(s, true, &out);
    } else if (hd_str_eqz(path, "/version")) {
        add_version(s, &out);
    } else {
        hd_buf_deinit(&out);
        return false;
    }
    reply(call, status, type, &out);
    return true;
}

/* ---- texts and tokens -------------------------------------------------------------------------*/

static void add_ids(hd_buf *out, const hd_ids *ids)
{
    hd_buf_addc(out, '[');
    for (size_t i = 0; i < ids->len; i++) hd_buf_addf(out, i ? ",%d" : "%d", ids->ptr[i]);
    hd_buf_addc(out, ']');
}

/* {"prompt" or "content": "…"}: as text, begin of sentence in front unless add_special_tokens is
 * false. */
static hd_status tokenize(hd_exchange *x, const hd_json *body, hd_ids *ids, hd_err *err)
{
    hd_str text;
    const hd_json *bos = hd_json_get(body, "add_special_tokens");
    const char *member = hd_json_get(body, "prompt") ? "prompt" : "content";
    HD_TRY(hd_json_get_str(body, member, &text, err));
    if (!(bos && bos->kind == HD_JSON_BOOL && !bos->truth))
        HD_TRY(hd_ids_push(ids, x->s->info.bos_id, err));
    HD_TRY(hd_tokenizer_encode_ids(x->s->tokenizer, text, HD_ENCODE_PLAIN, ids, err));
    hd_buf_addf(&x->out, "{\"count\":%zu,\"max_model_len\":%d,\"tokens\":", ids->len,
                x->s->info.max_ctx);
    add_ids(&x->out, ids);
    hd_buf_addc(&x->out, '}');
    return HD_OK;
}

/* {"tokens": [ids]} */
static hd_status detokenize(hd_exchange *x, const hd_json *body, hd_err *err)
{
    const hd_json *tokens = hd_json_get(body, "tokens");
    hd_decoder *d;
    hd_status st = HD_OK;
    const char *text;
    size_t len;
    if (!tokens || tokens->kind != HD_JSON_ARRAY)
        HD_FAIL(err, HD_E_FORMAT, "'tokens' must be an array of token ids");
    HD_TRY(hd_decoder_create(x->s->tokenizer, 0, &d, err));
    hd_buf all;
    hd_buf_init(&all, HD_MAX_OUT_BYTES);
    for (const hd_json *t = tokens->child; t && st == HD_OK; t = t->next) {
        int64_t id;
        st = hd_json_i64(t, 0, x->s->info.vocab_size - 1, &id, err);
        if (st == HD_OK) st = hd_decoder_push(d, (int32_t)id, &text, &len, err);
        if (st == HD_OK) hd_buf_add(&all, text, len);
    }
    if (st == HD_OK) st = hd_decoder_finish(d, &text, &len, err);
    if (st == HD_OK) hd_buf_add(&all, text, len);
    hd_buf_addz(&x->out, "{\"prompt\":");
    hd_jsonw_str(&x->out, hd_buf_str(&all));
    hd_buf_addc(&x->out, '}');
    hd_buf_deinit(&all);
    hd_decoder_destroy(d);
    return st;
}

/* A chat request as the model would read it: its text and ids. */
static hd_status render(hd_exchange *x, const hd_json *body, hd_ids *ids, hd_err *err)
{
    hd_submit submit;
    hd_constraint constraint;
    hd_dialect dialect = x->dialect;
    if (x->task == HD_TASK_RENDER && hd_json_get(body, "input"))
        dialect = HD_DIALECT_RESPONSES;
    else if (x->task == HD_TASK_RENDER && !hd_json_get(body, "messages"))
        dialect = HD_DIALECT_COMPLETIONS;
    HD_TRY(hd_canon_parse(dialect, body, &x->arena, &x->canon, err));
    HD_TRY(hd_history_restore(x, err));
    HD_TRY(hd_canon_render(&x->canon, &x->s->opts.rules, x->s->tokenizer, &x->arena, ids, &submit,
                           &constraint, err));
    if (x->task == HD_TASK_COUNT) {
        hd_buf_addf(&x->out, "{\"input_tokens\":%zu}", ids->len);
        return HD_OK;
    }
    hd_buf_addf(&x->out, "{\"count\":%zu,\"tokens\":", ids->len);
    add_ids(&x->out, ids);
    hd_buf_addc(&x->out, '}');
    return HD_OK;
}

hd_status hd_endpoint_work(hd_exchange *x, const hd_json *body, hd_err *err)
{
    hd_status st;
    hd_ids ids;
    hd_ids_init(&ids, HD_MAX_PROMPT_IDS);
    switch (x->task) {
    case HD_TASK_TOKENIZE: st = tokenize(x, body, &ids, err); break;
    case HD_TASK_DETOKENIZE: st = detokenize(x, body, err); break;
    default: st = render(x, body, &ids, err); break;
    }
    hd_ids_deinit(&ids);
    return st == HD_OK ? hd_buf_status(&x->out, "the answer", err) : st;
}
