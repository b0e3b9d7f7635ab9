#include "server/writer.h"

#include <stdio.h>

#include "base/mem.h"
#include "server/writer_own.h"
#include "text/chat_rules.h"
#include "text/tokenizer.h"

/* What one answer may take. Twice what the longest one (1 Mi tokens of 30 bytes) has. */
#define MAX_SAID_BYTES  ((size_t)64 << 20)
#define MAX_LIST_BYTES  ((size_t)64 << 20)
#define MAX_PARTS_BYTES ((size_t)64 << 20)
#define MAX_EVENT_BYTES ((size_t)1 << 20)

#define EMPTY_SEAL      "aGFkYWw" /* "hadal": holds nothing, is not empty */

/* ---- parts ------------------------------------------------------------------------------------*/

hd_part *hd_writer_part(const hd_writer *w, int32_t i)
{
    return (hd_part *)(void *)w->parts.ptr + i;
}

static hd_part *open_part_of(const hd_writer *w)
{
    return w->is_open ? hd_writer_part(w, w->n_parts - 1) : NULL;
}

void hd_writer_new_id(const hd_writer *w, const char *prefix, char *out, size_t out_size)
{
    char random[24];
    w->opts.new_id(w->opts.ctx, random);
    snprintf(out, out_size, "%s%.24s", prefix, random);
}

/* The open part's next characters, those in w->scratch, to the client and to what is kept. */
static void pass_on(hd_writer *w, hd_buf *out)
{
    hd_part *p = open_part_of(w);
    hd_str more = hd_buf_str(&w->scratch);
    if (more.len == 0) return;
    if (p->kind != HD_PART_CALL) hd_writer_take_logprobs(w, p);
    p->has_text = true;
    if (w->keeps) {
        if (p->text.len == 0) p->text.begin = w->said.len;
        p->text.len += more.len;
        hd_buf_add_str(&w->said, more);
    }
    if (w->request->streams) w->ops->delta(w, p, more, out);
}

static bool is_unwrapped(const hd_writer *w, const hd_part *p)
{
    return w->ops->unwraps && p->tool && p->tool->is_custom;
}

/* Bytes of the open part; they may end in the middle of a character. */
static void take_bytes(hd_writer *w, hd_str bytes, hd_buf *out)
{
    hd_buf_reset(&w->scratch);
    if (is_unwrapped(w, open_part_of(w))) {
        hd_buf_reset(&w->raw);
        hd_unwrap_push(&w->unwrap, bytes, &w->raw);
        bytes = hd_buf_str(&w->raw);
    }
    hd_detok_push_bytes(&w->halves, bytes, &w->scratch);
    pass_on(w, out);
}

static void put_seal(hd_writer *w, hd_part *p)
{
    p->seal.begin = w->said.len;
    if (w->opts.seal) w->opts.seal(w->opts.ctx, &w->said);
    if (w->said.len == p->seal.begin) hd_buf_addz(&w->said, EMPTY_SEAL);
    p->seal.len = w->said.len - p->seal.begin;
}

static void close_part(hd_writer *w, bool is_cut, hd_buf *out)
{
    hd_part *p = open_part_of(w);
    if (!p) return;
    hd_buf_reset(&w->scratch);
    hd_detok_finish(&w->halves, &w->scratch);
    if (is_unwrapped(w, p))
        hd_unwrap_finish(&w->unwrap, &w->scratch);
    else if (p->kind == HD_PART_CALL && !p->has_text && w->scratch.len == 0 &&
             (!is_cut || w->ops->needs_args))
        hd_buf_addz(&w->scratch, "{}");
    pass_on(w, out);
    p->is_cut = is_cut;
    if (p->kind == HD_PART_REASONING && w->ops->seals) put_seal(w, p);
    if (w->request->streams && w->ops->close) w->ops->close(w, p, out);
    w->is_open = false;
}

/* NULL: no memory, which the status tells. */
static hd_part *open_part(hd_writer *w, hd_part_kind kind, hd_str name, hd_buf *out)
{
    hd_part p = {.kind = kind};
    close_part(w, false, out);
    if (kind == HD_PART_CALL) {
        hd_writer_new_id(w, w->ops->call_prefix, p.call_id, sizeof p.call_id);
        for (p.tool = w->request->tools; p.tool; p.tool = p.tool->next)
            if (hd_str_eq(p.tool->name, name)) break;
        p.name = (hd_span){w->said.len, name.len};
        hd_buf_add_str(&w->said, name);
    }
    hd_buf_add(&w->parts, &p, sizeof p);
    if (w->parts.status != HD_OK || w->said.status != HD_OK) return NULL;
    w->n_parts++;
    w->n_calls += kind == HD_PART_CALL;
    w->is_open = true;
    w->unwrap = (hd_unwrap){0};
    hd_part *kept = open_part_of(w);
    if (w->ops->item_prefix)
        hd_writer_new_id(w, w->ops->item_prefix(kept), kept->id, sizeof kept->id);
    if (w->request->streams && w->ops->open) w->ops->open(w, kept, out);
    return kept;
}

void hd_writer_say(hd_writer *w, hd_part_kind kind, hd_str text, hd_buf *out)
{
    const hd_part *p = open_part_of(w);
    if (text.len == 0) return;
    if (!p || p->kind != kind) p = open_part(w, kind, HD_STR(""), out);
    if (p) take_bytes(w, text, out);
}

/* ---- ends -------------------------------------------------------------------------------------*/

hd_reason hd_writer_reason(const hd_writer *w, const hd_event *end)
{
    if (w->is_starved) return HD_REASON_STARVED;
    if (end->end == HD_END_LENGTH)
        return end->n_generated < w->request->max_tokens ? HD_REASON_CONTEXT : HD_REASON_CAP;
    if (end->stop_string >= 0) return HD_REASON_STOP_STRING;
    return w->n_calls ? HD_REASON_CALLS : HD_REASON_END;
}

bool hd_writer_end_fails(const hd_event *end, hd_err *why)
{
    switch (end->end) {
    case HD_END_STOP:
    case HD_END_LENGTH: return false;
    case HD_END_FAILED: *why = end->err; return true;
    case HD_END_TIMEOUT:
        (void)HD_SET_ERR(why, HD_E_TIMEOUT,
                         end->n_generated ? "the answer took too long, or nobody read it"
                                          : "the request waited too long in the queue");
        return true;
    case HD_END_CANCELLED: break;
    }
    (void)HD_SET_ERR(why, HD_E_CANCELLED, "the server ended the request");
    return true;
}

static hd_refusal refusal_of(const hd_writer *w, const hd_err *why)
{
    if (w->is_starved) return HD_REFUSE_FULL;
    if (w->n_tokens == 0) return hd_api_error_of(why);
    /* Behind the first token, no mistake of the client is left. */
    return why->code == HD_E_CANCELLED ? HD_REFUSE_UNAVAILABLE : HD_REFUSE_INTERNAL;
}

static void take_end(hd_writer *w, const hd_event *e, hd_buf *out)
{
    const hd_part *p = open_part_of(w);
    hd_err why;
    if (hd_writer_end_fails(e, &why)) {
        hd_writer_fail(w, &why, out);
        return;
    }
    close_part(w, e->end == HD_END_LENGTH || (p && p->kind == HD_PART_CALL), out);
    if (w->request->streams)
        w->ops->finish(w, e, out);
    else
        w->ops->whole(w, e, out);
    w->is_done = true;
}

/* ---- interface --------------------------------------------------------------------------------*/

/* Remember the first thing that went wrong. */
static void note_status(hd_writer *w, const hd_buf *out)
{
    const hd_buf *bufs[] = {&w->parts, &w->said, &w->head, &w->scratch, &w->raw, &w->kept, out};
    for (size_t i = 0; i < HD_COUNT(bufs) && w->status == HD_OK; i++) w->status = bufs[i]->status;
    for (size_t i = 0; i < HD_TOKEN_LISTS && w->status == HD_OK; i++)
        w->status = w->lists[i].status;
}

void hd_writer_begin(hd_writer *w, hd_buf *out)
{
    if (w->has_begun) return;
    w->has_begun = true;
    if (w->request->streams && w->ops->begin) w->ops->begin(w, out);
    note_status(w, out);
}

void hd_writer_ping(hd_writer *w, hd_buf *out)
{
    if (!w->request->streams || w->is_done) return;
    hd_writer_begin(w, out);
    w->ops->ping(w, out);
    note_status(w, out);
}

void hd_writer_event(hd_writer *w, const hd_event *e, hd_buf *out)
{
    const hd_part *p = open_part_of(w);
    bool is_in_call = p && p->kind == HD_PART_CALL;
    hd_str text = {e->text, e->len};
    if (w->is_done || w->status != HD_OK) return;
    hd_writer_begin(w, out);
    switch (e->kind) {
    case HD_EVENT_TOKEN: w->n_tokens++; /* fall through */
    case HD_EVENT_PROMPT: w->ops->token(w, e, out); break;
    case HD_EVENT_REASONING: hd_writer_say(w, HD_PART_REASONING, text, out); break;
    case HD_EVENT_TEXT: hd_writer_say(w, HD_PART_TEXT, text, out); break;
    case HD_EVENT_TOOL_OPEN: open_part(w, HD_PART_CALL, text, out); break;
    case HD_EVENT_TOOL_ARGS:
        if (is_in_call) take_bytes(w, text, out);
        break;
    case HD_EVENT_TOOL_CLOSE:
        if (is_in_call) close_part(w, false, out);
        break;
    case HD_EVENT_END: take_end(w, e, out); break;
    }
    note_status(w, out);
}

void hd_writer_fail(hd_writer *w, const hd_err *why, hd_buf *out)
{
    if (w->is_done) return;
    w->is_done = true;
    w->is_starved = why->code == HD_E_NOMEM || (why->code == HD_E_TIMEOUT && w->n_tokens);
    hd_refusal refusal = refusal_of(w, why);
    if (w->request->streams) {
        hd_writer_begin(w, out);
        w->ops->fail(w, refusal, why, out);
    } else {
        hd_api_error_body(w->request->dialect, refusal, why->text, why->path,
                          w->opts.request_id ? w->opts.request_id : "", out);
    }
    note_status(w, out);
}

hd_status hd_writer_status(const hd_writer *w, hd_err *err)
{
    if (w->status == HD_E_LIMIT) HD_FAIL(err, HD_E_LIMIT, "the answer is too long to be written");
    if (w->status != HD_OK) HD_FAIL(err, w->status, "out of memory for the answer");
    return HD_OK;
}

int32_t hd_writer_n_calls(const hd_writer *w)
{
    return w->n_calls;
}

hd_str hd_writer_call_id(const hd_writer *w, int32_t i)
{
    for (int32_t k = 0; k < w->n_parts; k++) {
        const hd_part *p = hd_writer_part(w, k);
        if (p->kind == HD_PART_CALL && i-- == 0) return hd_str_from(p->call_id);
    }
    return HD_STR("");
}

/* ---- life -------------------------------------------------------------------------------------*/

hd_status hd_writer_create(const hd_writer_opts *opts, hd_writer **out, hd_err *err)
{
    static const hd_dialect_ops *const dialects[] = {
        [HD_DIALECT_CHAT] = &hd_write_chat,
        [HD_DIALECT_COMPLETIONS] = &hd_write_completions,
        [HD_DIALECT_RESPONSES] = &hd_write_responses,
        [HD_DIALECT_MESSAGES] = &hd_write_messages,
    };
    hd_writer *w = hd_mem_try_calloc(1, sizeof *w);
    *out = w;
    if (!w) HD_FAIL(err, HD_E_NOMEM, "out of memory for an answer");
    w->opts = *opts;
    w->request = opts->request;
    w->ops = dialects[opts->request->dialect];
    w->keeps = !opts->request->streams || w->ops->keeps_streams;
    w->end_think_id = w->dsml_id = -1;
    if (opts->tokenizer) {
        const hd_vocab *vocab = hd_tokenizer_vocab(opts->tokenizer);
        hd_detok_init(&w->spelling, vocab, HD_DECODE_SKIP_SPECIAL);
        w->end_think_id = hd_vocab_find_added(vocab, HD_STR(HD_TOKEN_END_THINK));
        w->dsml_id = hd_vocab_find_added(vocab, HD_STR(HD_TOKEN_DSML));
    }
    hd_buf_init(&w->parts, MAX_PARTS_BYTES);
    hd_buf_init(&w->said, MAX_SAID_BYTES);
    hd_buf_init(&w->head, MAX_EVENT_BYTES);
    hd_buf_init(&w->scratch, MAX_EVENT_BYTES);
    hd_buf_init(&w->raw, MAX_EVENT_BYTES);
    hd_buf_init(&w->kept, MAX_LIST_BYTES);
    for (size_t i = 0; i < HD_TOKEN_LISTS; i++) hd_buf_init(&w->lists[i], MAX_LIST_BYTES);
    hd_writer_new_id(w, w->ops->answer_prefix, w->id, sizeof w->id);
    return HD_OK;
}

void hd_writer_destroy(hd_writer *w)
{
    if (!w) return;
    hd_buf *bufs[] = {&w->parts, &w->said, &w->head, &w->scratch, &w->raw, &w->kept};
    for (size_t i = 0; i < HD_COUNT(bufs); i++) hd_buf_deinit(bufs[i]);
    for (size_t i = 0; i < HD_TOKEN_LISTS; i++) hd_buf_deinit(&w->lists[i]);
    hd_mem_free(w);
}
