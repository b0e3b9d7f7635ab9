/* Log probabilities of tokens, in the two forms that clients read.
 *
 * Chat and Responses: a list of objects beside the text that the tokens became; tokens that became
 * none (the marks around reasoning and calls, the end of the sentence, what a stop string took) are
 * not listed. Completions: four columns with every token, as evaluation harnesses count them. */
#include "base/jsonw.h"
#include "base/utf8.h"
#include "server/writer_own.h"
#include "text/tokenizer.h"

#define LEAST_LOGPROB -9999.0 /* stands for minus infinity, which JSON has not */

static const hd_vocab *vocab_of(const hd_writer *w)
{
    return hd_tokenizer_vocab(w->opts.tokenizer);
}

static void put_logprob(hd_buf *out, float logprob)
{
    double x = (double)logprob;
    hd_jsonw_f64(out, x > LEAST_LOGPROB ? x : LEAST_LOGPROB);
}

/* ---- a list of objects ------------------------------------------------------------------------*/

static void put_entry(const hd_writer *w, int32_t id, float logprob, hd_buf *out)
{
    hd_str bytes = hd_vocab_token_bytes(vocab_of(w), id);
    hd_buf text;
    hd_buf_init(&text, 3 * HD_VOCAB_MAX_TOKEN_BYTES);
    hd_utf8_repair(&text, bytes);
    hd_put_str(out, "{\"token\":", hd_buf_str(&text));
    hd_buf_deinit(&text);
    hd_buf_addz(out, ",\"logprob\":");
    put_logprob(out, logprob);
    hd_buf_addz(out, ",\"bytes\":[");
    for (size_t i = 0; i < bytes.len; i++)
        hd_buf_addf(out, "%s%u", i ? "," : "", (unsigned)(unsigned char)bytes.ptr[i]);
    hd_buf_addc(out, ']');
}

void hd_writer_list_token(hd_writer *w, const hd_event *e, hd_buf *out)
{
    hd_buf *list = &w->lists[0];
    (void)out;
    if (e->kind != HD_EVENT_TOKEN || !w->request->wants_logprobs || !w->opts.tokenizer) return;
    if (w->n_calls || e->token == w->dsml_id) return; /* no text comes behind calls */
    if (e->token == w->end_think_id) {
        if (!w->is_in_text) w->n_thought = list->len;
        return;
    }
    if (hd_vocab_flags(vocab_of(w), e->token) & HD_TOKEN_SPECIAL) return;
    put_entry(w, e->token, e->logprob, list);
    hd_buf_addz(list, ",\"top_logprobs\":[");
    for (int32_t i = 0; i < e->n_top; i++) {
        if (i) hd_buf_addc(list, ',');
        put_entry(w, e->top[i].id, e->top[i].logprob, list);
        hd_buf_addc(list, '}');
    }
    hd_buf_addz(list, "]},");
}

void hd_writer_take_logprobs(hd_writer *w, hd_part *p)
{
    hd_buf *list = &w->lists[0];
    w->fresh = (hd_str){0};
    w->is_in_text |= p->kind == HD_PART_TEXT;
    if (w->request->dialect == HD_DIALECT_COMPLETIONS || list->len == 0) return;
    size_t begin = p->kind == HD_PART_TEXT ? w->n_thought : 0;
    if (!w->keeps) hd_buf_reset(&w->kept);
    if (p->logprobs.len == 0) p->logprobs.begin = w->kept.len;
    hd_buf_add(&w->kept, list->ptr + begin, list->len - begin);
    if (w->kept.status != HD_OK) return;
    w->fresh = (hd_str){w->kept.ptr + w->kept.len - (list->len - begin), list->len - begin};
    p->logprobs.len += w->fresh.len;
    w->n_thought = 0;
    hd_buf_reset(list);
}

void hd_put_list(hd_buf *out, hd_str entries)
{
    hd_buf_addc(out, '[');
    if (entries.len) hd_buf_add(out, entries.ptr, entries.len - 1); /* without the last comma */
    hd_buf_addc(out, ']');
}

/* ---- columns ----------------------------------------------------------------------------------*/

/* A token's text, or its bytes as OpenAI spells them where they are no text. */
static void put_spelling(const hd_writer *w, int32_t id, hd_buf *out)
{
    hd_str bytes = hd_vocab_token_bytes(vocab_of(w), id);
    if (hd_utf8_valid(bytes)) {
        hd_jsonw_str(out, bytes);
        return;
    }
    hd_buf_addz(out, "\"bytes:");
    for (size_t i = 0; i < bytes.len; i++)
        hd_buf_addf(out, "\\\\x%02x", (unsigned)(unsigned char)bytes.ptr[i]);
    hd_buf_addc(out, '"');
}

/* The likeliest tokens, and this one if it is not among them. */
static void put_likely(const hd_writer *w, const hd_event *e, hd_buf *out)
{
    bool has_own = false;
    hd_buf_addc(out, '{');
    for (int32_t i = 0; i <= e->n_top; i++) {
        hd_logprob p = {e->token, e->logprob};
        if (i < e->n_top)
            p = e->top[i];
        else if (has_own)
            break;
        has_own |= p.id == e->token;
        if (i) hd_buf_addc(out, ',');
        put_spelling(w, p.id, out);
        hd_buf_addc(out, ':');
        put_logprob(out, p.logprob);
    }
    hd_buf_addz(out, "},");
}

static size_t n_chars_of(hd_str s)
{
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) n += ((unsigned char)s.ptr[i] & 0xC0) != 0x80;
    return n;
}

void hd_writer_list_columns(hd_writer *w, const hd_event *e)
{
    bool is_first = e->kind == HD_EVENT_PROMPT && w->n_echoed++ == 0; /* nothing foretold it */
    hd_buf_reset(&w->raw);
    if (!w->opts.tokenizer) return;
    size_t n_chars = w->n_chars;
    hd_detok_push(&w->spelling, e->token, &w->raw);
    w->n_chars += n_chars_of(hd_buf_str(&w->raw));
    if (!w->request->wants_logprobs) return;
    put_spelling(w, e->token, &w->lists[0]);
    hd_buf_addc(&w->lists[0], ',');
    if (is_first) {
        hd_buf_addz(&w->lists[1], "null,");
        hd_buf_addz(&w->lists[2], "null,");
    } else {
        put_logprob(&w->lists[1], e->logprob);
        hd_buf_addc(&w->lists[1], ',');
        put_likely(w, e, &w->lists[2]);
    }
    hd_buf_addf(&w->lists[3], "%zu,", n_chars);
}
