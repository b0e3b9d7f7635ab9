/* Splitting model output into events: see outparse.h. */
#include "text/outparse.h"

#include "base/jsonw.h"
#include "base/mem.h"
#include "text/chat_rules.h"
#include "text/dsml_tag.h"
#include "text/tokenizer.h"

#define MAX_HEAD_BYTES ((size_t)4 << 10) /* of a tag; longer ones are no tags */
#define MAX_HELD_BYTES                                                                             \
    ((size_t)64 << 20) /* line feeds at the end, at most as long as an answer                      \
                        */
#define MAX_TEXT_BYTES ((size_t)512 << 20)

/* An event as stored: its text may still move. */
typedef struct hd_out_record {
    hd_out_kind kind;
    hd_finish finish;
    int call;
    size_t begin, len;
} hd_out_record;

/* ---- events ---- */

static hd_out_record *records(const hd_outparse *p, size_t *n)
{
    *n = p->events.len / sizeof(hd_out_record);
    return (hd_out_record *)(void *)p->events.ptr;
}

static void add_event(hd_outparse *p, hd_out_kind kind, hd_finish finish)
{
    hd_out_record r = {kind, finish, p->n_calls - 1, p->text.len, 0};
    hd_buf_add(&p->events, &r, sizeof r);
}

/* Count what was appended to p->text since `begin` to an event: the last one if it is of this kind
 * and call, else a new one. */
static void add_text_event(hd_outparse *p, hd_out_kind kind, size_t begin)
{
    size_t n, len = p->text.len - begin;
    if (len == 0) return;
    hd_out_record *all = records(p, &n);
    if (n == 0 || all[n - 1].kind != kind) {
        add_event(p, kind, HD_FINISH_STOP);
        all = records(p, &n);
        if (n == 0 || p->events.status != HD_OK) return;
        all[n - 1].begin = begin;
    }
    all[n - 1].len += len;
}

static void emit(hd_outparse *p, hd_out_kind kind, hd_str s)
{
    size_t begin = p->text.len;
    hd_buf_add_str(&p->text, s);
    add_text_event(p, kind, begin);
}

static void emit_args(hd_outparse *p, const char *s)
{
    emit(p, HD_OUT_TOOL_ARGS, hd_str_from(s));
}

static void end_with(hd_outparse *p, hd_finish reason)
{
    if (p->is_finished) return;
    if (reason == HD_FINISH_STOP && p->n_calls > 0) reason = HD_FINISH_TOOL_CALLS;
    add_event(p, HD_OUT_FINISH, reason);
    p->is_finished = true;
    p->state = HD_OUT_DONE;
}

/* Text for the client, by way of the stop strings. */
static void emit_content(hd_outparse *p, hd_str s)
{
    size_t begin = p->text.len;
    bool is_stopped = hd_stops_feed(&p->stops, s, &p->text);
    add_text_event(p, HD_OUT_TEXT, begin);
    if (is_stopped) end_with(p, HD_FINISH_STOP);
}

static void flush_stops(hd_outparse *p)
{
    size_t begin = p->text.len;
    hd_stops_flush(&p->stops, &p->text);
    add_text_event(p, HD_OUT_TEXT, begin);
}

static void drop_front(hd_buf *b, size_t n)
{
    if (n == 0) return;
    memmove(b->ptr, b->ptr + n, b->len - n);
    b->len -= n;
}

/* ---- reasoning and text ---- */

/* Length of a "<" or "</" at the end, which may begin a tag. */
static size_t tag_start(hd_str s)
{
    if (hd_str_ends(s, HD_STR("</"))) return 2;
    return hd_str_ends(s, HD_STR("<")) ? 1 : 0;
}

/* What may be shown of s: not the start of a tag, nor line feeds that would vanish before one (or,
 * in reasoning, before its end). */
static size_t showable(const hd_outparse *p, hd_str s)
{
    if (!p->has_tools && p->state == HD_OUT_IN_TEXT) return s.len;
    size_t n = p->has_tools ? s.len - tag_start(s) : s.len;
    while (n > 0 && s.ptr[n - 1] == '\n') n--;
    return n;
}

static void show_held(hd_outparse *p, size_t n)
{
    hd_str s = {p->held.ptr, n};
    if (n == 0) return;
    p->is_leading = false;
    p->last_shown = s.ptr[n - 1];
    if (p->state == HD_OUT_IN_REASONING)
        emit(p, HD_OUT_REASONING, s);
    else
        emit_content(p, s);
    drop_front(&p->held, n);
}

static void feed_prose(hd_outparse *p, hd_str s)
{
    if (p->held.len == 0)
        while (p->is_leading && s.len && s.ptr[0] == '\n') s = hd_str_skip(s, 1);
    hd_buf_add_str(&p->held, s);
    show_held(p, showable(p, hd_buf_str(&p->held)));
}

/* ---- calls ---- */

static void close_call(hd_outparse *p)
{
    emit_args(p, p->n_params ? "}" : "{}");
    add_event(p, HD_OUT_TOOL_CLOSE, HD_FINISH_STOP);
    p->state = HD_OUT_IN_BLOCK;
}

static void open_call(hd_outparse *p, hd_str name)
{
    if (p->outer == HD_OUT_IN_CALL) close_call(p); /* its closing tag is missing */
    p->n_calls++;
    p->n_params = 0;
    p->is_torn = false;
    p->state = HD_OUT_IN_CALL;
    add_event(p, HD_OUT_TOOL_OPEN, HD_FINISH_STOP);
    size_t n, begin = p->text.len;
    hd_out_record *all = records(p, &n);
    hd_buf_add_str(&p->text, name);
    if (p->events.status == HD_OK) all[n - 1].len = p->text.len - begin;
}

static void open_value(hd_outparse *p, const hd_dsml_tag *tag)
{
    size_t begin = p->text.len;
    hd_buf_addz(&p->text, p->n_params++ ? ", " : "{");
    hd_jsonw_str(&p->text, tag->name);
    hd_buf_addz(&p->text, tag->is_string ? ": \"" : ": ");
    add_text_event(p, HD_OUT_TOOL_ARGS, begin);
    p->state = tag->is_string ? HD_OUT_IN_STRING : HD_OUT_IN_JSON;
}

static void show_value(hd_outparse *p, size_t n)
{
    size_t begin = p->text.len;
    hd_str s = {p->held.ptr, n};
    if (p->state == HD_OUT_IN_STRING)
        hd_jsonw_str_part(&p->text, s);
    else
        hd_buf_add_str(&p->text, s);
    add_text_event(p, HD_OUT_TOOL_ARGS, begin);
    drop_front(&p->held, n);
}

static void feed_value(hd_outparse *p, hd_str s)
{
    hd_buf_add_str(&p->held, s);
    show_value(p, p->held.len - tag_start(hd_buf_str(&p->held)));
}

static void close_value(hd_outparse *p)
{
    if (p->state == HD_OUT_IN_STRING) emit_args(p, "\"");
    p->state = HD_OUT_IN_CLOSER;
}

/* A place whose text is discarded: only a "<" or "</" at its end matters. */
static void feed_discarded(hd_outparse *p, hd_str s)
{
    hd_buf_add_str(&p->held, s);
    drop_front(&p->held, p->held.len - tag_start(hd_buf_str(&p->held)));
}

/* The name of the tag that ended a value. If it is another one, the value may go on behind it (it
 * quotes markup, say), so no call may begin before this one has ended. */
static void feed_closer(hd_outparse *p, hd_str s)
{
    hd_str want = HD_STR("parameter");
    hd_buf_add_str(&p->held, s);
    hd_str name = hd_buf_str(&p->held);
    if (hd_str_starts(name, HD_STR(" "))) name = hd_str_skip(name, 1);
    if (name.len < want.len && hd_str_starts(want, name)) return;
    if (!hd_str_starts(name, want)) p->is_torn = true;
    p->state = HD_OUT_IN_CALL;
    feed_discarded(p, (hd_str){0});
}

/* ---- tags ---- */

static void feed_text(hd_outparse *p, hd_str s);

static void begin_tag(hd_outparse *p, hd_out_state outer)
{
    hd_buf_reset(&p->held);
    p->outer = outer;
    p->state = HD_OUT_IN_TAG;
}

/* The head was read, or given up: go on behind it. */
static void act_on_tag(hd_outparse *p, const hd_dsml_tag *tag)
{
    bool is_in_call = p->outer == HD_OUT_IN_CALL;
    p->state = p->outer;
    switch (tag->kind) {
    case HD_TAG_INVOKE:
        if (!is_in_call || !p->is_torn) open_call(p, tag->name);
        break;
    case HD_TAG_PARAMETER:
        if (is_in_call) open_value(p, tag);
        break;
    case HD_TAG_BAD_PARAMETER:
        if (is_in_call) p->state = HD_OUT_IN_SKIPPED;
        break;
    default: break;
    }
}

/* Take text into the head until the head is complete; returns what is left. Only the first
 * MAX_HEAD_BYTES count, so that the outcome does not depend on how much arrives at once. */
static hd_str feed_head(hd_outparse *p, hd_str s)
{
    size_t before = p->held.len;
    size_t n = s.len < MAX_HEAD_BYTES - before ? s.len : MAX_HEAD_BYTES - before;
    hd_buf_add(&p->held, s.ptr, n);
    if (p->held.status != HD_OK) return (hd_str){0};
    hd_dsml_tag tag = hd_dsml_read_tag(hd_buf_str(&p->held));
    if (tag.kind == HD_TAG_MORE) {
        if (p->held.len < MAX_HEAD_BYTES) return hd_str_skip(s, n);
        tag = (hd_dsml_tag){.kind = HD_TAG_OTHER, .len = before + n};
    }
    act_on_tag(p, &tag);
    /* Bytes of the head that were not read may have come earlier than s; then they are the start
     * of a name= that turned out to be none, in a place where text is discarded. */
    size_t left = p->held.len - tag.len;
    hd_buf_reset(&p->held);
    return hd_str_skip(s, n > left ? n - left : 0);
}

static void feed_text(hd_outparse *p, hd_str s)
{
    while (s.len && p->state != HD_OUT_DONE) {
        switch (p->state) {
        case HD_OUT_IN_REASONING:
        case HD_OUT_IN_TEXT: feed_prose(p, s); return;
        case HD_OUT_IN_STRING:
        case HD_OUT_IN_JSON: feed_value(p, s); return;
        case HD_OUT_IN_TAG: s = feed_head(p, s); break;
        case HD_OUT_IN_CLOSER: feed_closer(p, s); return;
        case HD_OUT_IN_STRAY: {
            size_t end = hd_str_find(s, HD_STR(">"), 0);
            p->is_stray_open = s.ptr[s.len - 1] == '<';
            if (end == s.len) return;
            p->state = p->outer;
            s = hd_str_skip(s, end + 1);
            break;
        }
        default: feed_discarded(p, s); return;
        }
    }
}

/* ---- marks ---- */

static void on_end_think(hd_outparse *p)
{
    if (p->state == HD_OUT_IN_REASONING) {
        /* Line feeds before the end vanish, unless something stands between. */
        if (tag_start(hd_buf_str(&p->held))) show_held(p, p->held.len);
        hd_buf_reset(&p->held);
        p->state = HD_OUT_IN_TEXT;
        p->is_leading = true;
    } else if (p->state == HD_OUT_IN_TEXT) {
        p->is_leading = false; /* a stray one: not shown, and nothing changes */
    } else {
        feed_text(p, HD_STR(HD_TOKEN_END_THINK));
    }
}

static void on_dsml(hd_outparse *p);

/* A calls block, or a call without one: what was held back before it was not for showing. */
static void begin_block(hd_outparse *p)
{
    flush_stops(p);
    begin_tag(p, HD_OUT_IN_BLOCK);
}

/* @param n bytes of a tag's start in front. */
static void on_dsml_in_prose(hd_outparse *p, size_t n)
{
    /* Alone it is no tag and shown, unless a tag that was taken out in between would make it look
     * like one. */
    bool looks_like_tag = p->held.len == 0 && (p->last_shown == '<' || p->last_shown == '/');
    if (!p->has_tools || (n == 0 && !looks_like_tag)) {
        feed_text(p, HD_STR(HD_TOKEN_DSML));
    } else if (n == 1) {
        begin_block(p);
    } else if (n == 2) {
        p->held.len -= n;
        p->outer = p->state;
        p->state = HD_OUT_IN_STRAY;
        p->is_stray_open = false;
    }
}

/* A tag begins before the head of another has ended, which therefore means nothing, except that a
 * parameter without a readable head may have had a value up to here. */
static void on_dsml_in_head(hd_outparse *p)
{
    hd_str head = hd_buf_str(&p->held), name;
    size_t n = tag_start(head);
    bool unused;
    if (n == 0) {
        feed_text(p, HD_STR(HD_TOKEN_DSML));
        return;
    }
    bool was_value = n == 2 && p->outer == HD_OUT_IN_CALL &&
                     hd_dsml_cut_parameter(head, &name, &unused, &unused);
    p->state = was_value ? HD_OUT_IN_SKIPPED : p->outer;
    drop_front(&p->held, head.len - n);
    on_dsml(p);
}

static void on_dsml(hd_outparse *p)
{
    size_t n = tag_start(hd_buf_str(&p->held));
    switch (p->state) {
    case HD_OUT_IN_REASONING:
    case HD_OUT_IN_TEXT: on_dsml_in_prose(p, n); return;
    case HD_OUT_IN_TAG: on_dsml_in_head(p); return;
    case HD_OUT_IN_STRAY:
        if (p->is_stray_open) begin_block(p);
        return;
    case HD_OUT_IN_STRING:
    case HD_OUT_IN_JSON:
        if (n != 2) {
            feed_text(p, HD_STR(HD_TOKEN_DSML)); /* values may hold anything but a closing tag */
            return;
        }
        close_value(p);
        break;
    case HD_OUT_IN_SKIPPED:
        if (n == 2) p->state = HD_OUT_IN_CALL;
        break;
    case HD_OUT_IN_CLOSER: p->is_torn = true; p->state = HD_OUT_IN_CALL; /* fall through */
    case HD_OUT_IN_CALL:
    case HD_OUT_IN_BLOCK:
        if (n == 1) begin_tag(p, p->state);
        if (n != 2) break;
        if (p->state == HD_OUT_IN_CALL)
            close_call(p);
        else
            p->state = HD_OUT_DONE;
        break;
    case HD_OUT_DONE: break;
    }
    hd_buf_reset(&p->held);
}

/* ---- entry points ---- */

static void begin_push(hd_outparse *p)
{
    hd_buf_reset(&p->text);
    hd_buf_reset(&p->events);
    p->i_next = 0;
}

static hd_status end_push(const hd_outparse *p, hd_err *err)
{
    HD_TRY(hd_buf_status(&p->held, "what is held back", err));
    HD_TRY(hd_buf_status(&p->stops.held, "what is held back", err));
    HD_TRY(hd_buf_status(&p->decoded, "decoded text", err));
    HD_TRY(hd_buf_status(&p->text, "the events' text", err));
    return hd_buf_status(&p->events, "the events", err);
}

hd_status hd_outparse_push_text(hd_outparse *p, hd_str text, hd_err *err)
{
    begin_push(p);
    feed_text(p, text);
    return end_push(p, err);
}

static void take_mark(hd_outparse *p, hd_out_mark mark)
{
    if (mark == HD_OUT_MARK_DSML)
        on_dsml(p);
    else
        on_end_think(p);
}

hd_status hd_outparse_push_mark(hd_outparse *p, hd_out_mark mark, hd_err *err)
{
    begin_push(p);
    take_mark(p, mark);
    return end_push(p, err);
}

hd_status hd_outparse_push(hd_outparse *p, int32_t id, hd_err *err)
{
    bool is_dsml = id >= 0 && id == p->dsml_id, is_end = id >= 0 && id == p->end_think_id;
    begin_push(p);
    hd_buf_reset(&p->decoded);
    if (is_dsml || is_end)
        hd_detok_finish(&p->detok, &p->decoded); /* half a character before a mark stays half */
    else
        hd_detok_push(&p->detok, id, &p->decoded);
    feed_text(p, hd_buf_str(&p->decoded));
    if (is_dsml || is_end) take_mark(p, is_dsml ? HD_OUT_MARK_DSML : HD_OUT_MARK_END_THINK);
    return end_push(p, err);
}

/* Output that was cut off in the head of a parameter shows what there is of the name. */
static void finish_head(hd_outparse *p)
{
    hd_str name;
    bool is_quoted, is_closed;
    if (p->outer != HD_OUT_IN_CALL ||
        !hd_dsml_cut_parameter(hd_buf_str(&p->held), &name, &is_quoted, &is_closed))
        return;
    size_t begin = p->text.len;
    hd_buf_addz(&p->text, p->n_params ? ", " : "{");
    hd_buf_addz(&p->text, is_quoted ? "\"" : "");
    hd_jsonw_str_part(&p->text, name);
    hd_buf_addz(&p->text, is_closed ? "\": " : "");
    add_text_event(p, HD_OUT_TOOL_ARGS, begin);
}

hd_status hd_outparse_finish(hd_outparse *p, hd_finish reason, hd_err *err)
{
    begin_push(p);
    if (p->is_finished) return HD_OK;
    hd_buf_reset(&p->decoded);
    hd_detok_finish(&p->detok, &p->decoded);
    feed_text(p, hd_buf_str(&p->decoded));
    if (p->state == HD_OUT_IN_STRAY) p->state = p->outer;
    if (p->state == HD_OUT_IN_REASONING || p->state == HD_OUT_IN_TEXT) show_held(p, p->held.len);
    if (p->state == HD_OUT_IN_STRING || p->state == HD_OUT_IN_JSON) show_value(p, p->held.len);
    if (p->state == HD_OUT_IN_TAG) finish_head(p);
    if (!p->is_finished) flush_stops(p);
    end_with(p, reason);
    return end_push(p, err);
}

int hd_outparse_next(hd_outparse *p, hd_out_event *out)
{
    size_t n;
    const hd_out_record *all = records(p, &n);
    if (p->i_next >= n) return 0;
    const hd_out_record *r = &all[p->i_next++];
    *out = (hd_out_event){.kind = r->kind,
                          .call = r->call,
                          .finish = r->finish,
                          .text = r->len ? p->text.ptr + r->begin : "",
                          .len = r->len};
    return 1;
}

/* ---- life ---- */

hd_status hd_outparse_create_textual(const hd_outparse_opts *opts, hd_outparse **out, hd_err *err)
{
    static const hd_out_state starts[] = {
        [HD_OUT_START_TEXT] = HD_OUT_IN_TEXT,
        [HD_OUT_START_REASONING] = HD_OUT_IN_REASONING,
        [HD_OUT_START_CALLS] = HD_OUT_IN_BLOCK,
    };
    *out = NULL;
    if ((unsigned)opts->start >= HD_COUNT(starts))
        HD_FAIL(err, HD_E_ARG, "no such start of an answer: %d", (int)opts->start);
    hd_outparse *p = hd_mem_try_calloc(1, sizeof *p);
    if (!p) HD_FAIL(err, HD_E_NOMEM, "out of memory for an output parser");
    p->dsml_id = p->end_think_id = -1;
    p->has_tools = opts->has_tools;
    p->state = starts[opts->start];
    p->is_leading = !opts->is_continuation;
    hd_buf_init(&p->held, MAX_HELD_BYTES);
    hd_buf_init(&p->decoded, MAX_TEXT_BYTES);
    hd_buf_init(&p->text, MAX_TEXT_BYTES);
    hd_buf_init(&p->events, MAX_TEXT_BYTES);
    hd_status status = hd_stops_init(&p->stops, opts->stops, opts->n_stops, err);
    if (status == HD_OK)
        *out = p;
    else
        hd_outparse_destroy(p);
    return status;
}

hd_status hd_outparse_create(const hd_tokenizer *t, const hd_outparse_opts *opts, hd_outparse **out,
                             hd_err *err)
{
    HD_TRY(hd_outparse_create_textual(opts, out, err));
    const hd_vocab *vocab = hd_tokenizer_vocab(t);
    hd_detok_init(&(*out)->detok, vocab, 0);
    (*out)->dsml_id = hd_vocab_find_added(vocab, HD_STR(HD_TOKEN_DSML));
    (*out)->end_think_id = hd_vocab_find_added(vocab, HD_STR(HD_TOKEN_END_THINK));
    return HD_OK;
}

void hd_outparse_destroy(hd_outparse *p)
{
    if (!p) return;
    hd_stops_deinit(&p->stops);
    hd_buf_deinit(&p->held);
    hd_buf_deinit(&p->decoded);
    hd_buf_deinit(&p->text);
    hd_buf_deinit(&p->events);
    hd_mem_free(p);
}
