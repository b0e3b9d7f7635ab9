/* Pieces that answers of several dialects have. */
#include <inttypes.h>

#include "base/jsonw.h"
#include "server/writer_own.h"

void hd_put_str(hd_buf *out, const char *lead, hd_str s)
{
    hd_buf_addz(out, lead);
    hd_jsonw_str(out, s);
}

void hd_put_strz(hd_buf *out, const char *lead, const char *s)
{
    hd_put_str(out, lead, hd_str_from(s ? s : ""));
}

hd_str hd_writer_model(const hd_writer *w)
{
    if (w->request->model.len) return w->request->model;
    return hd_str_from(w->opts.model ? w->opts.model : "");
}

void hd_put_envelope(const hd_writer *w, const char *object, hd_buf *out)
{
    hd_put_strz(out, "{\"id\":", w->id);
    hd_put_strz(out, ",\"object\":", object);
    hd_buf_addf(out, ",\"created\":%" PRId64, w->opts.created_s);
    hd_put_str(out, ",\"model\":", hd_writer_model(w));
    hd_put_strz(out, ",\"system_fingerprint\":", w->opts.fingerprint);
}

void hd_put_usage(const hd_event *end, hd_buf *out)
{
    hd_buf_addf(out, "{\"prompt_tokens\":%d,\"completion_tokens\":%d,\"total_tokens\":%d",
                end->n_prompt, end->n_generated, end->n_prompt + end->n_generated);
    hd_buf_addf(out, ",\"prompt_tokens_details\":{\"cached_tokens\":%d}", end->n_cached);
    hd_buf_addf(out, ",\"completion_tokens_details\":{\"reasoning_tokens\":%d}", end->n_reasoning);
    hd_buf_addf(out, ",\"prompt_cache_hit_tokens\":%d,\"prompt_cache_miss_tokens\":%d}",
                end->n_cached, end->n_prompt - end->n_cached);
}

void hd_put_chunk_head(hd_writer *w, const char *object, hd_buf *out)
{
    if (w->head.len == 0) hd_put_envelope(w, object, &w->head);
    hd_buf_addz(out, "data: ");
    hd_buf_add_str(out, hd_buf_str(&w->head));
}

void hd_put_finish_reason(hd_buf *out, const char *reason)
{
    if (reason)
        hd_put_strz(out, ",\"finish_reason\":", reason);
    else
        hd_buf_addz(out, ",\"finish_reason\":null");
}

void hd_put_keep_alive(hd_writer *w, hd_buf *out)
{
    (void)w;
    hd_buf_addz(out, ": keep-alive\n\n");
}

void hd_put_failed_chunks(hd_writer *w, hd_refusal why, const hd_err *err, hd_buf *out)
{
    const hd_event end = {.n_prompt = w->opts.n_prompt, .n_generated = w->n_tokens};
    if (w->is_starved) {
        w->ops->finish(w, &end, out);
        return;
    }
    hd_buf_addz(out, "data: ");
    hd_api_error_body(w->request->dialect, why, err->text, err->path, "", out);
    hd_buf_addz(out, "\n\n");
}

void hd_put_done(const hd_writer *w, const hd_event *end, hd_buf *out)
{
    if (w->request->wants_usage) {
        hd_buf_addz(out, "data: ");
        hd_buf_add_str(out, hd_buf_str(&w->head));
        hd_buf_addz(out, ",\"choices\":[],\"usage\":");
        hd_put_usage(end, out);
        hd_buf_addz(out, "}\n\n");
    }
    hd_buf_addz(out, "data: [DONE]\n\n");
}
