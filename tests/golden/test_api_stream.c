/* The service's own stream rows through the writers: what the model says is split, written in each
 * dialect that has calls, as a stream and whole, and read back; the message and the reason must be
 * those of the service (recipe_stream_v4, recipe_stream_v41). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "server/unwrap.h"
#include "server/writer.h"
#include "support/recipe.h"
#include "support/sse_answer.h"
#include "support/transcript.h"
#include "support/vectors.h"

#define MAX_OUT ((size_t)8 << 20)

typedef struct run {
    hd_writer *writer;
    hd_buf *out;
    bool is_filtered; /* the caller ended it: there is no such thing here */
} run;

static void take_events(hd_outparse *p, void *ctx)
{
    static const hd_event_kind kinds[] = {
        [HD_OUT_REASONING] = HD_EVENT_REASONING,   [HD_OUT_TEXT] = HD_EVENT_TEXT,
        [HD_OUT_TOOL_OPEN] = HD_EVENT_TOOL_OPEN,   [HD_OUT_TOOL_ARGS] = HD_EVENT_TOOL_ARGS,
        [HD_OUT_TOOL_CLOSE] = HD_EVENT_TOOL_CLOSE, [HD_OUT_FINISH] = HD_EVENT_END,
    };
    run *r = ctx;
    hd_out_event e;
    while (hd_outparse_next(p, &e)) {
        hd_event event = {.kind = kinds[e.kind], .call = e.call, .text = e.text, .len = e.len};
        if (e.kind == HD_OUT_FINISH) {
            r->is_filtered = e.finish == HD_FINISH_FILTER;
            event.end = e.finish == HD_FINISH_LENGTH ? HD_END_LENGTH : HD_END_STOP;
            event.stop_string = -1;
        }
        hd_writer_event(r->writer, &event, r->out);
    }
}

static hd_str text_of(const hd_json *object, const char *key)
{
    const hd_json *node = hd_json_get(object, key);
    return node ? node->text : HD_STR("");
}

static void expect(const hd_json *row, sse_answer *want)
{
    const hd_json *expected = hd_json_get(row, "expected");
    const hd_json *message = hd_json_get(expected, "message");
    const hd_json *calls = hd_json_get(message, "tool_calls");
    const char *decision = recipe_decision(row);
    hd_buf_add_str(&want->reasoning, text_of(message, "reasoning_content"));
    hd_buf_add_str(&want->text, text_of(message, "content"));
    snprintf(want->finish, sizeof want->finish, "%.*s",
             HD_STR_ARG(text_of(expected, "finish_reason")));
    for (const hd_json *c = calls ? calls->child : NULL; c; c = c->next) {
        const hd_json *f = hd_json_get(c, "function");
        hd_buf_add_str(&want->calls[want->n_calls].name, text_of(f, "name"));
        hd_buf_add_str(&want->calls[want->n_calls++].args,
                       decision ? hd_str_from(decision) : text_of(f, "arguments"));
    }
    if (!decision || calls) return;
    hd_buf_addz(&want->calls[0].name, "t"); /* a call where the service sees none */
    hd_buf_addz(&want->calls[0].args, decision);
    want->n_calls = 1;
    snprintf(want->finish, sizeof want->finish, "tool_calls");
}

/* Messages has objects for arguments; a stream has them as text still. */
static void make_objects(sse_answer *a)
{
    for (int i = 0; i < a->n_calls; i++) {
        hd_buf object;
        hd_buf_init(&object, MAX_OUT);
        hd_unwrap_object(hd_buf_str(&a->calls[i].args), &object);
        hd_buf_deinit(&a->calls[i].args);
        a->calls[i].args = object;
    }
}

/* What is not part of the rows. */
static void forget_counts(sse_answer *a)
{
    a->n_prompt = a->n_cached = a->n_out = a->n_thought = -1;
}

static bool check_row(const hd_json *row, hd_dialect dialect, bool streams, size_t step,
                      hd_tokenizer *tokenizer)
{
    int n_ids;
    hd_buf out;
    sse_answer want, got;
    hd_canon request = {.dialect = dialect, .streams = streams, .thinks = recipe_thinks(row)};
    hd_writer_opts opts = transcript_opts(&request, NULL, &n_ids);
    run r = {.out = &out};
    hd_buf_init(&out, MAX_OUT);
    sse_answer_init(&want);
    sse_answer_init(&got);
    expect(row, &want);
    assert_int_equal(hd_writer_create(&opts, &r.writer, NULL), HD_OK);
    hd_outparse *p = recipe_parser(row, step ? NULL : tokenizer);
    recipe_feed(row, p, step, tokenizer, take_events, &r);
    assert_int_equal(hd_writer_status(r.writer, NULL), HD_OK);
    if (streams)
        sse_answer_stream(&got, dialect, hd_buf_str(&out));
    else
        sse_answer_whole(&got, dialect, hd_buf_str(&out));
    forget_counts(&got);
    if (dialect == HD_DIALECT_MESSAGES) {
        make_objects(&want);
        make_objects(&got);
        for (int i = 0; i < want.n_calls; i++) /* the protocol asks for an object */
            if (hd_str_eqz(hd_buf_str(&want.calls[i].args), "{\"arguments\":\"\"}"))
                hd_buf_reset(&want.calls[i].args), hd_buf_addz(&want.calls[i].args, "{}");
    }
    if (!r.is_filtered) sse_answer_same(&want, &got, false);
    hd_outparse_destroy(p);
    hd_writer_destroy(r.writer);
    sse_answer_deinit(&want);
    sse_answer_deinit(&got);
    hd_buf_deinit(&out);
    return !r.is_filtered;
}

typedef struct tally {
    hd_tokenizer *tokenizer;
    int n_rows, n_answers, n_filtered;
} tally;

static void check_all(const hd_json *row, void *ctx)
{
    static const hd_dialect dialects[] = {HD_DIALECT_CHAT, HD_DIALECT_RESPONSES,
                                          HD_DIALECT_MESSAGES};
    static const size_t steps[] = {1000000, 1, 3, 0};
    tally *t = ctx;
    t->n_rows++;
    for (size_t d = 0; d < HD_COUNT(dialects); d++)
        for (size_t s = 0; s < HD_COUNT(steps); s++)
            for (int streams = 0; streams < 2 && (steps[s] || t->tokenizer); streams++)
                if (check_row(row, dialects[d], streams, steps[s], t->tokenizer))
                    t->n_answers++;
                else
                    t->n_filtered++;
}

static void check_file(const char *file)
{
    tally t = {0};
    const char *path = test_text_path("tokenizer.json");
    if (access(path, R_OK) == 0)
        assert_int_equal(hd_tokenizer_open(path, &t.tokenizer, NULL), HD_OK);
    test_text_rows(file, check_all, &t);
    hd_tokenizer_close(t.tokenizer);
    print_message("%d rows, %d answers as the service's or as decided, %d of a filter left out\n",
                  t.n_rows, t.n_answers, t.n_filtered);
    assert_true(t.n_answers > 60 * 18 && t.n_filtered <= 24);
}

static void v4(void **state)
{
    (void)state;
    check_file("recipe_stream_v4.jsonl");
}

static void v41(void **state)
{
    (void)state;
    check_file("recipe_stream_v41.jsonl");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(v4), cmocka_unit_test(v41)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
