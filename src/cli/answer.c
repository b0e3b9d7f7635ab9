/* Showing an answer: see answer.h. */
#include "cli/answer.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/jsonw.h"
#include "cli/interrupt.h"
#include "cli/term.h"

#define MAX_TEXT_BYTES ((size_t)1 << 28)

/* One answer while it is shown. */
typedef struct showing {
    hd_answer *answer;
    const hd_answer_opts *opts;
    hd_outparse *parser; /* chats */
    hd_decoder *decoder; /* all else */
    hd_buf line;         /* scratch: a row of JSON */
    bool is_dimmed;      /* the terminal is */
    bool is_reasoning;   /* the last thing shown */
    bool is_mid_line;    /* on standard output */
} showing;

void hd_answer_init(hd_answer *a)
{
    *a = (hd_answer){0};
    hd_buf_init(&a->text, MAX_TEXT_BYTES);
    hd_buf_init(&a->reasoning, MAX_TEXT_BYTES);
}

void hd_answer_deinit(hd_answer *a)
{
    hd_buf_deinit(&a->text);
    hd_buf_deinit(&a->reasoning);
}

/* ---- rows of JSON ---- */

static void print_row(showing *w, const char *type, int call, const char *key, hd_str text)
{
    hd_buf_reset(&w->line);
    hd_buf_addf(&w->line, "{\"type\": \"%s\"", type);
    if (call >= 0) hd_buf_addf(&w->line, ", \"call\": %d", call);
    if (key) {
        hd_buf_addf(&w->line, ", \"%s\": ", key);
        hd_jsonw_str(&w->line, text);
    }
    hd_buf_addz(&w->line, "}\n");
    fwrite(w->line.ptr, 1, w->line.len, stdout);
}

static void print_event_row(showing *w, const hd_out_event *e)
{
    hd_str text = {e->text, e->len};
    switch (e->kind) {
    case HD_OUT_REASONING: print_row(w, "reasoning", -1, "text", text); return;
    case HD_OUT_TEXT: print_row(w, "text", -1, "text", text); return;
    case HD_OUT_TOOL_OPEN: print_row(w, "tool_open", e->call, "name", text); return;
    case HD_OUT_TOOL_ARGS: print_row(w, "tool_args", e->call, "text", text); return;
    case HD_OUT_TOOL_CLOSE: print_row(w, "tool_close", e->call, NULL, text); return;
    case HD_OUT_FINISH: return; /* printed when the counts are known */
    }
}

/* ---- for people ---- */

static void print_text(showing *w, hd_str text)
{
    if (text.len == 0) return;
    fwrite(text.ptr, 1, text.len, stdout);
    w->is_mid_line = text.ptr[text.len - 1] != '\n';
}

static void begin_reasoning(showing *w)
{
    w->is_reasoning = true;
    w->is_dimmed = hd_term_dim(stderr);
}

static void end_reasoning(showing *w)
{
    if (!w->is_reasoning) return;
    if (w->is_dimmed) hd_term_plain(stderr);
    fputs("\n\n", stderr);
    w->is_reasoning = w->is_dimmed = false;
}

static void print_event(showing *w, const hd_out_event *e)
{
    if (e->kind == HD_OUT_REASONING && !w->is_reasoning) begin_reasoning(w);
    if (e->kind != HD_OUT_REASONING) end_reasoning(w);
    switch (e->kind) {
    case HD_OUT_REASONING: fwrite(e->text, 1, e->len, stderr); return;
    case HD_OUT_TOOL_OPEN:
        if (w->is_mid_line) print_text(w, HD_STR("\n"));
        print_text(w, (hd_str){e->text, e->len});
        print_text(w, HD_STR("("));
        return;
    case HD_OUT_TOOL_CLOSE: print_text(w, HD_STR(")\n")); return;
    case HD_OUT_TEXT:
    case HD_OUT_TOOL_ARGS: print_text(w, (hd_str){e->text, e->len}); return;
    case HD_OUT_FINISH:
        if (w->is_mid_line) print_text(w, HD_STR("\n"));
        return;
    }
}

/* ---- events ---- */

static hd_status show_event(showing *w, const hd_out_event *e, hd_err *err)
{
    static const char *const reasons[] = {[HD_FINISH_STOP] = "stop",
                                          [HD_FINISH_LENGTH] = "length",
                                          [HD_FINISH_TOOL_CALLS] = "tool_calls",
                                          [HD_FINISH_FILTER] = "cancelled"};
    hd_answer *a = w->answer;
    if (e->kind == HD_OUT_TEXT) hd_buf_add(&a->text, e->text, e->len);
    if (e->kind == HD_OUT_REASONING) hd_buf_add(&a->reasoning, e->text, e->len);
    if (e->kind == HD_OUT_FINISH) a->reason = reasons[e->finish];
    if (w->opts->is_json)
        print_event_row(w, e);
    else
        print_event(w, e);
    if (fflush(stdout) != 0) HD_FAIL(err, HD_E_IO, "cannot write to standard output");
    return HD_OK;
}

static hd_status show_parsed(showing *w, hd_err *err)
{
    hd_out_event event;
    while (hd_outparse_next(w->parser, &event)) HD_TRY(show_event(w, &event, err));
    return HD_OK;
}

static hd_status show_text(showing *w, const char *text, size_t len, hd_err *err)
{
    hd_out_event event = {.kind = HD_OUT_TEXT, .text = text, .len = len};
    return len ? show_event(w, &event, err) : HD_OK;
}

static hd_status push(showing *w, int32_t id, hd_err *err)
{
    const char *text;
    size_t len;
    w->answer->n_tokens++;
    if (w->parser) {
        HD_TRY(hd_outparse_push(w->parser, id, err));
        return show_parsed(w, err);
    }
    HD_TRY(hd_decoder_push(w->decoder, id, &text, &len, err));
    return show_text(w, text, len, err);
}

static hd_status finish(showing *w, hd_finish reason, hd_err *err)
{
    const char *text;
    size_t len;
    hd_out_event event = {.kind = HD_OUT_FINISH, .finish = reason};
    if (w->parser) {
        HD_TRY(hd_outparse_finish(w->parser, reason, err));
        return show_parsed(w, err);
    }
    HD_TRY(hd_decoder_finish(w->decoder, &text, &len, err));
    HD_TRY(show_text(w, text, len, err));
    return show_event(w, &event, err);
}

/* ---- the run ---- */

static hd_status open_parser(showing *w, const hd_session *s, hd_err *err)
{
    hd_outparse_opts opts = {.start = w->opts->thinks ? HD_OUT_START_REASONING : HD_OUT_START_TEXT,
                             .has_tools = w->opts->has_tools};
    if (w->opts->is_chat) return hd_outparse_create(s->tokenizer, &opts, &w->parser, err);
    return hd_decoder_create(s->tokenizer, HD_DECODE_SKIP_SPECIAL, &w->decoder, err);
}

static hd_status answer(showing *w, hd_session *s, hd_err *err)
{
    int32_t id;
    for (;;) {
        if (hd_interrupt_seen()) return finish(w, HD_FINISH_FILTER, err);
        bool is_full = w->opts->max_new > 0 && w->answer->n_tokens == w->opts->max_new;
        if (is_full || !hd_session_has_room(s)) return finish(w, HD_FINISH_LENGTH, err);
        HD_TRY(hd_session_next(s, &id, err));
        if (id == s->info.eos_id) return finish(w, HD_FINISH_STOP, err);
        HD_TRY(push(w, id, err));
    }
}

static void print_finish_row(showing *w, const hd_session *s)
{
    printf("{\"type\": \"finish\", \"reason\": \"%s\", \"prompt_tokens\": %zu, "
           "\"answer_tokens\": %" PRId32 "}\n",
           w->answer->reason, s->n_prompt, w->answer->n_tokens);
    fflush(stdout);
}

hd_status hd_answer_run(hd_answer *a, hd_session *s, const hd_answer_opts *opts, hd_err *err)
{
    showing w = {.answer = a, .opts = opts};
    hd_buf_reset(&a->text);
    hd_buf_reset(&a->reasoning);
    a->n_tokens = 0;
    a->reason = NULL;
    hd_buf_init(&w.line, MAX_TEXT_BYTES);
    hd_status status = open_parser(&w, s, err);
    if (status == HD_OK) status = answer(&w, s, err);
    if (status == HD_OK && opts->is_json) print_finish_row(&w, s);
    end_reasoning(&w);
    hd_buf_deinit(&w.line);
    hd_decoder_destroy(w.decoder);
    hd_outparse_destroy(w.parser);
    return status;
}
