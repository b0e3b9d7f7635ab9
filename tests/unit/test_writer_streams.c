/* Answers in pieces: whatever the pieces are, a client makes the same of them, and the same of the
 * whole answer. Random events, calls split at every byte, memory that runs out, idle streams. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include <malloc.h>

#include "base/jsonw.h"
#include "base/mem.h"
#include "base/rng.h"
#include "server/unwrap.h"
#include "support/sse_answer.h"
#include "support/transcript.h"
#include "text/detok.h"

#define MAX_OUT ((size_t)8 << 20)

static const hd_dialect with_calls[] = {HD_DIALECT_CHAT, HD_DIALECT_RESPONSES, HD_DIALECT_MESSAGES};

static void send(hd_writer *w, hd_event_kind kind, hd_str text, hd_buf *out)
{
    hd_writer_event(w, &(hd_event){.kind = kind, .text = text.ptr, .len = text.len}, out);
}

static hd_writer *make_writer(const hd_canon *request, int *n_ids, hd_buf *out)
{
    hd_writer *w;
    hd_writer_opts opts = transcript_opts(request, NULL, n_ids);
    hd_buf_init(out, MAX_OUT);
    assert_int_equal(hd_writer_create(&opts, &w, NULL), HD_OK);
    hd_writer_begin(w, out);
    return w;
}

/* ---- calls split at every byte ----------------------------------------------------------------*/

#define ARGS "{\"a\": \"\u00e9 \U0001F30A \\\"x\\\" \\\\ \\n\", \"b\": [1, {\"c\": null}]}"

static void check_split(hd_dialect dialect, size_t at)
{
    int n_ids;
    hd_buf out;
    sse_answer got;
    hd_str args = HD_STR(ARGS);
    hd_canon request = {.dialect = dialect, .streams = true};
    hd_writer *w = make_writer(&request, &n_ids, &out);
    send(w, HD_EVENT_TOOL_OPEN, HD_STR("f"), &out);
    send(w, HD_EVENT_TOOL_ARGS, (hd_str){args.ptr, at}, &out);
    send(w, HD_EVENT_TOOL_ARGS, hd_str_skip(args, at), &out);
    send(w, HD_EVENT_TOOL_CLOSE, HD_STR(""), &out);
    hd_writer_event(w, &(hd_event){.kind = HD_EVENT_END, .stop_string = -1}, &out);
    assert_int_equal(hd_writer_status(w, NULL), HD_OK);
    sse_answer_init(&got);
    sse_answer_stream(&got, dialect, hd_buf_str(&out));
    assert_int_equal(got.n_calls, 1);
    assert_true(hd_str_eq(hd_buf_str(&got.calls[0].args), args));
    assert_string_equal(got.finish, "tool_calls");
    sse_answer_deinit(&got);
    hd_writer_destroy(w);
    hd_buf_deinit(&out);
}

static void splits(void **state)
{
    (void)state;
    for (size_t d = 0; d < HD_COUNT(with_calls); d++)
        for (size_t at = 0; at <= sizeof ARGS - 1; at++) check_split(with_calls[d], at);
}

/* Raw text of custom tools, one byte at a time and split once anywhere. */
static void check_custom(hd_str args, hd_str want, size_t at, size_t step)
{
    int n_ids;
    hd_buf out;
    sse_answer got;
    hd_canon_tool tool = {
        .name = HD_STR("patch"), .short_name = HD_STR("patch"), .is_custom = true};
    hd_canon request = {.dialect = HD_DIALECT_RESPONSES, .streams = true, .tools = &tool};
    hd_writer *w = make_writer(&request, &n_ids, &out);
    send(w, HD_EVENT_TOOL_OPEN, HD_STR("patch"), &out);
    for (size_t i = 0; i < args.len;) {
        size_t n = i < at ? at - i : step;
        if (n > args.len - i) n = args.len - i;
        send(w, HD_EVENT_TOOL_ARGS, (hd_str){args.ptr + i, n}, &out);
        i += n;
    }
    send(w, HD_EVENT_TOOL_CLOSE, HD_STR(""), &out);
    hd_writer_event(w, &(hd_event){.kind = HD_EVENT_END, .stop_string = -1}, &out);
    sse_answer_init(&got);
    sse_answer_stream(&got, HD_DIALECT_RESPONSES, hd_buf_str(&out));
    if (!hd_str_eq(hd_buf_str(&got.calls[0].args), want))
        fail_msg("%.*s gives %.*s", HD_STR_ARG(args), HD_STR_ARG(hd_buf_str(&got.calls[0].args)));
    sse_answer_deinit(&got);
    hd_writer_destroy(w);
    hd_buf_deinit(&out);
}

static void custom(void **state)
{
    (void)state;
    static const struct {
        hd_str args, want;
    } rows[] = {
        {HD_STR("{\"input\": \"*** \u00e9\\n\\\"q\\\"\\\\ \\/ \\t\\b\\f\\r\"}"),
         HD_STR("*** \u00e9\n\"q\"\\ / \t\b\f\r")},
        {HD_STR("{\"input\":\"\\u00e9\\uD83C\\udf0A!\"}"), HD_STR("\u00e9\U0001F30A!")},
        {HD_STR("{\"input\": \"\\ud83c!\\udf0a\\ud83c\"}"), HD_STR("\uFFFD!\uFFFD\uFFFD")},
        {HD_STR("{\"input\": \"\"}"), HD_STR("")},
        {HD_STR("{}"), HD_STR("")},
        {HD_STR("{\"in\\\":put\": \"x\", \"more\": \"y\"}"), HD_STR("x")},
        {HD_STR("{\"input\": {\"a\": [1, \"}\\\"\"]}, \"b\": 2}"),
         HD_STR("{\"a\": [1, \"}\\\"\"]}")},
        {HD_STR("{\"input\": 17}"), HD_STR("17")},
        {HD_STR("{\"input\": \"cut of"), HD_STR("cut of")},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        check_custom(rows[i].args, rows[i].want, 0, 1);
        for (size_t at = 1; at < rows[i].args.len; at++)
            check_custom(rows[i].args, rows[i].want, at, 1000);
    }
}

static void objects(void **state)
{
    (void)state;
    static const struct {
        const char *args, *want;
    } rows[] = {
        {"{}", "{}"},
        {"{\"a\": \"x y\", \"a\": [1, 2]}", "{\"a\":\"x y\",\"a\":[1,2]}"},
        {"", "{\"arguments\":\"\"}"},
        {"{", "{}"},
        {"{\"a", "{}"},
        {"{\"a\": 1, \"b\": {\"c\": 2, \"d\"", "{\"a\":1}"},
        {"{\"a\": \",\", \"b\": \"", "{\"a\":\",\"}"},
        {"{\"a\": tru, \"b\": \"", "{\"arguments\":\"{\\\"a\\\": tru, \\\"b\\\": \\\"\"}"},
        {"{\"a\": nope}", "{\"arguments\":\"{\\\"a\\\": nope}\"}"},
        {"[1]", "{\"arguments\":\"[1]\"}"},
    };
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        hd_buf out;
        hd_buf_init(&out, 1000);
        hd_unwrap_object(hd_str_from(rows[i].args), &out);
        assert_string_equal(out.ptr, rows[i].want);
        hd_buf_deinit(&out);
    }
}

/* ---- random answers ---------------------------------------------------------------------------*/

typedef struct dice {
    uint64_t key, n;
} dice;

static uint32_t roll(dice *d, uint32_t n)
{
    return hd_rng_below(hd_rng_at(d->key, d->n++), n);
}

static void random_text(dice *d, uint32_t max, hd_buf *out)
{
    static const char *const pieces[] = {"a", " ",  "\n", "\"", "\\",     "\u00e9",    "\u6f6e",
                                         "<", "\t", "{",  "}",  "\x01\r", "\U0001F30A"};
    for (uint32_t n = roll(d, max + 1); n > 0; n--) {
        uint32_t i = roll(d, HD_COUNT(pieces) + 1);
        if (i == HD_COUNT(pieces))
            hd_buf_addc(out, '\0');
        else
            hd_buf_addz(out, pieces[i]);
    }
}

static void random_args(dice *d, hd_buf *out)
{
    hd_buf text;
    hd_buf_init(&text, 1000);
    hd_buf_addc(out, '{');
    for (uint32_t i = 0, n = roll(d, 4); i < n; i++) {
        hd_buf_reset(&text);
        random_text(d, 8, &text);
        hd_buf_addf(out, "%s\"k%u\": ", i ? ", " : "", i);
        hd_jsonw_str(out, hd_buf_str(&text));
    }
    hd_buf_addc(out, '}');
    hd_buf_deinit(&text);
}

/* Text in pieces of any length, to two writers. */
static void send_pieces(dice *d, hd_writer *const w[2], hd_buf out[2], hd_event_kind kind,
                        hd_str text)
{
    while (text.len) {
        size_t n = 1 + roll(d, text.len < 9 ? (uint32_t)text.len : 9);
        for (int i = 0; i < 2; i++) send(w[i], kind, (hd_str){text.ptr, n}, &out[i]);
        text = hd_str_skip(text, n);
    }
}

/* What the two writers are told, and what must come of it. Returns whether the last call was cut
 * off. */
static bool play(dice *d, hd_dialect dialect, hd_writer *const w[2], hd_buf out[2],
                 sse_answer *want)
{
    static const char *const words[] = {"stop", "length"};
    bool has_calls = dialect != HD_DIALECT_COMPLETIONS, is_cut = false;
    hd_event end = {.kind = HD_EVENT_END,
                    .end = roll(d, 3) ? HD_END_STOP : HD_END_LENGTH,
                    .n_prompt = 12,
                    .n_cached = (int32_t)roll(d, 13),
                    .n_generated = (int32_t)roll(d, 100),
                    .stop_string = -1};
    end.n_reasoning = end.n_generated / 2;
    if (has_calls && roll(d, 2)) random_text(d, 30, &want->reasoning);
    if (roll(d, 4)) random_text(d, 30, &want->text);
    send_pieces(d, w, out, HD_EVENT_REASONING, hd_buf_str(&want->reasoning));
    send_pieces(d, w, out, HD_EVENT_TEXT, hd_buf_str(&want->text));
    for (uint32_t n = has_calls ? roll(d, 4) : 0; n > 0; n--) {
        hd_buf *name = &want->calls[want->n_calls].name, *args = &want->calls[want->n_calls].args;
        hd_buf_addf(name, "tool_%u", roll(d, 9));
        random_args(d, args);
        want->n_calls++;
        is_cut = n == 1 && end.end == HD_END_LENGTH && args->len > 2;
        if (is_cut) args->len = 1 + roll(d, (uint32_t)args->len - 1);
        for (int i = 0; i < 2; i++) send(w[i], HD_EVENT_TOOL_OPEN, hd_buf_str(name), &out[i]);
        send_pieces(d, w, out, HD_EVENT_TOOL_ARGS, hd_buf_str(args));
        for (int i = 0; i < 2 && !is_cut; i++) send(w[i], HD_EVENT_TOOL_CLOSE, HD_STR(""), &out[i]);
    }
    if (!is_cut && roll(d, 4) == 0) {
        size_t n = want->text.len;
        random_text(d, 9, &want->text);
        send_pieces(d, w, out, HD_EVENT_TEXT, hd_str_skip(hd_buf_str(&want->text), n));
    }
    for (int i = 0; i < 2; i++) hd_writer_event(w[i], &end, &out[i]);
    snprintf(want->finish, sizeof want->finish, "%s",
             want->n_calls && end.end == HD_END_STOP ? "tool_calls" : words[end.end]);
    want->n_prompt = 12;
    want->n_cached = end.n_cached;
    want->n_out = end.n_generated;
    want->n_thought = end.n_reasoning;
    return is_cut;
}

/* A character that was cut in two at the end is one that nobody can read. */
static void repair_end(hd_buf *args)
{
    hd_buf whole;
    hd_detok d = {0};
    hd_buf_init(&whole, MAX_OUT);
    hd_detok_push_bytes(&d, hd_buf_str(args), &whole);
    hd_detok_finish(&d, &whole);
    hd_buf_deinit(args);
    *args = whole;
}

static void make_object(hd_buf *args)
{
    hd_buf object;
    hd_buf_init(&object, MAX_OUT);
    hd_unwrap_object(hd_buf_str(args), &object);
    hd_buf_deinit(args);
    *args = object;
}

static void check_random(hd_dialect dialect, uint64_t seed)
{
    dice d = {.key = seed};
    sse_answer want, got[2];
    hd_canon request[2];
    hd_writer *w[2];
    hd_buf out[2];
    int n_ids[2];
    sse_answer_init(&want);
    for (int i = 0; i < 2; i++) {
        request[i] = (hd_canon){.dialect = dialect,
                                .streams = i == 0,
                                .wants_usage = true,
                                .wants_summary = seed % 2 == 0};
        w[i] = make_writer(&request[i], &n_ids[i], &out[i]);
        sse_answer_init(&got[i]);
    }
    bool is_cut = play(&d, dialect, w, out, &want);
    sse_answer_stream(&got[0], dialect, hd_buf_str(&out[0]));
    sse_answer_whole(&got[1], dialect, hd_buf_str(&out[1]));
    if (is_cut) {
        hd_buf *args = &want.calls[want.n_calls - 1].args;
        repair_end(args);
        assert_true(hd_str_eq(hd_buf_str(args), hd_buf_str(&got[0].calls[want.n_calls - 1].args)));
        if (dialect == HD_DIALECT_MESSAGES) {
            make_object(args);
            make_object(&got[0].calls[want.n_calls - 1].args);
        }
    }
    sse_answer_same(&want, &got[0], false);
    sse_answer_same(&want, &got[1], dialect == HD_DIALECT_MESSAGES);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(hd_writer_status(w[i], NULL), HD_OK);
        assert_int_equal(hd_writer_n_calls(w[i]), want.n_calls);
        hd_writer_destroy(w[i]);
        hd_buf_deinit(&out[i]);
        sse_answer_deinit(&got[i]);
    }
    sse_answer_deinit(&want);
}

static void random_answers(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 400; seed++)
        for (int d = 0; d <= HD_DIALECT_MESSAGES; d++) check_random((hd_dialect)d, seed);
}

/* ---- limits -----------------------------------------------------------------------------------*/

/* Memory runs out at any moment: the status tells, and what was sent is cut off, not wrong. */
static void no_memory(void **state)
{
    (void)state;
    int n_failed = 0;
    for (int d = 0; d <= HD_DIALECT_MESSAGES; d++) {
        for (long n = 0; n < 12; n++) {
            int n_ids;
            hd_buf out;
            hd_writer *w;
            hd_canon request = {.dialect = (hd_dialect)d, .streams = n % 2 == 0};
            hd_writer_opts opts = transcript_opts(&request, NULL, &n_ids);
            hd_buf_init(&out, MAX_OUT);
            char *room = hd_buf_room(&out, 1 << 16); /* the caller's; only the writer's fails */
            assert_non_null(room);
            hd_mem_fail_after(n);
            hd_status status = hd_writer_create(&opts, &w, NULL);
            if (status == HD_OK) {
                send(w, HD_EVENT_REASONING, HD_STR("thinking"), &out);
                send(w, HD_EVENT_TEXT, HD_STR("text"), &out);
                send(w, HD_EVENT_TOOL_OPEN, HD_STR("f"), &out);
                send(w, HD_EVENT_TOOL_ARGS, HD_STR("{}"), &out);
                hd_writer_event(w, &(hd_event){.kind = HD_EVENT_END, .stop_string = -1}, &out);
                status = hd_writer_status(w, NULL);
                hd_writer_destroy(w);
            }
            hd_mem_fail_after(-1);
            n_failed += status == HD_E_NOMEM;
            assert_true(status == HD_OK || status == HD_E_NOMEM);
            hd_buf_deinit(&out);
        }
    }
    assert_true(n_failed > 8);
}

/* A caller's buffer that is full shows as well. */
static void no_room(void **state)
{
    (void)state;
    int n_ids;
    hd_buf out;
    hd_writer *w;
    hd_canon request = {.dialect = HD_DIALECT_CHAT, .streams = true};
    hd_writer_opts opts = transcript_opts(&request, NULL, &n_ids);
    hd_buf_init(&out, 300);
    assert_int_equal(hd_writer_create(&opts, &w, NULL), HD_OK);
    hd_writer_begin(w, &out);
    assert_int_equal(hd_writer_status(w, NULL), HD_OK);
    send(w, HD_EVENT_TEXT, HD_STR("text"), &out);
    assert_int_equal(hd_writer_status(w, NULL), HD_E_LIMIT);
    hd_writer_destroy(w);
    hd_buf_deinit(&out);
}

/* Streams that wait in the queue: begun, pinged, nothing said. */
static void idle_streams(void **state)
{
    (void)state;
    enum { N = 2000 };
    static hd_writer *all[N];
    for (int d = 0; d <= HD_DIALECT_MESSAGES; d++) {
        int n_ids;
        hd_buf out;
        hd_canon request = {.dialect = (hd_dialect)d, .streams = true, .wants_usage = true};
        hd_writer_opts opts = transcript_opts(&request, NULL, &n_ids);
        hd_buf_init(&out, MAX_OUT);
        assert_non_null(hd_buf_room(&out, 1 << 16));
        size_t before = mallinfo2().uordblks;
        for (int i = 0; i < N; i++) {
            assert_int_equal(hd_writer_create(&opts, &all[i], NULL), HD_OK);
            hd_buf_reset(&out);
            hd_writer_begin(all[i], &out);
            hd_writer_ping(all[i], &out);
        }
        size_t each = (mallinfo2().uordblks - before) / N;
        print_message("dialect %d: %zu bytes for an idle stream\n", d, each);
        assert_true(each <= 4096);
        for (int i = 0; i < N; i++) hd_writer_destroy(all[i]);
        hd_buf_deinit(&out);
    }
}

static void ends(void **state)
{
    (void)state;
    hd_err why;
    hd_event e = {.kind = HD_EVENT_END, .end = HD_END_STOP};
    assert_false(hd_writer_end_fails(&e, &why));
    e.end = HD_END_LENGTH;
    assert_false(hd_writer_end_fails(&e, &why));
    e.end = HD_END_TIMEOUT;
    assert_true(hd_writer_end_fails(&e, &why));
    assert_int_equal(why.code, HD_E_TIMEOUT);
    assert_non_null(strstr(why.text, "queue"));
    e.n_generated = 1;
    assert_true(hd_writer_end_fails(&e, &why));
    assert_null(strstr(why.text, "queue"));
    e.end = HD_END_CANCELLED;
    assert_true(hd_writer_end_fails(&e, &why));
    assert_int_equal(why.code, HD_E_CANCELLED);
    e.end = HD_END_FAILED;
    e.err = (hd_err){.code = HD_E_DEVICE, .text = "it melted"};
    assert_true(hd_writer_end_fails(&e, &why));
    assert_string_equal(why.text, "it melted");
}

/* Behind the end nothing comes, and a whole answer gives no signs of life. */
static void silence(void **state)
{
    (void)state;
    const hd_err why = {.code = HD_E_DEVICE, .text = "late"};
    for (int d = 0; d <= HD_DIALECT_MESSAGES; d++) {
        for (int kind = 0; kind < 4; kind++) {
            int n_ids;
            hd_buf out;
            hd_canon request = {.dialect = (hd_dialect)d, .streams = kind % 2};
            hd_writer *w = make_writer(&request, &n_ids, &out);
            if (!request.streams) {
                hd_writer_ping(w, &out);
                assert_int_equal(out.len, 0);
            }
            if (kind / 2)
                hd_writer_event(w, &(hd_event){.kind = HD_EVENT_END, .stop_string = -1}, &out);
            else
                hd_writer_fail(w, &why, &out);
            size_t len = out.len;
            assert_true(len > 0);
            send(w, HD_EVENT_TEXT, HD_STR("late"), &out);
            hd_writer_ping(w, &out);
            hd_writer_fail(w, &why, &out);
            assert_int_equal(out.len, len);
            hd_writer_destroy(w);
            hd_buf_deinit(&out);
        }
    }
}

static int n_seals;

static void seal(void *ctx, hd_buf *out)
{
    (void)ctx;
    n_seals++;
    hd_buf_addz(out, "c2VhbA");
}

/* The seal is asked for once, when the reasoning has ended. */
static void seals(void **state)
{
    (void)state;
    static const char *const members[] = {[HD_DIALECT_CHAT] = "none",
                                          [HD_DIALECT_RESPONSES] =
                                              "\"encrypted_content\":\"c2VhbA\"",
                                          [HD_DIALECT_MESSAGES] = "\"signature\":\"c2VhbA\""};
    for (size_t d = 0; d < HD_COUNT(with_calls); d++) {
        int n_ids;
        hd_buf out;
        hd_writer *w;
        hd_canon request = {.dialect = with_calls[d], .streams = true};
        hd_writer_opts opts = transcript_opts(&request, NULL, &n_ids);
        opts.seal = seal;
        n_seals = 0;
        hd_buf_init(&out, MAX_OUT);
        assert_int_equal(hd_writer_create(&opts, &w, NULL), HD_OK);
        send(w, HD_EVENT_REASONING, HD_STR("a"), &out);
        send(w, HD_EVENT_REASONING, HD_STR("b"), &out);
        assert_int_equal(n_seals, 0);
        send(w, HD_EVENT_TEXT, HD_STR("c"), &out);
        send(w, HD_EVENT_TOOL_OPEN, HD_STR("f"), &out);
        hd_writer_event(w, &(hd_event){.kind = HD_EVENT_END, .stop_string = -1}, &out);
        assert_int_equal(n_seals, request.dialect == HD_DIALECT_CHAT ? 0 : 1);
        assert_int_equal(strstr(out.ptr, members[request.dialect]) != NULL, n_seals);
        hd_writer_destroy(w);
        hd_buf_deinit(&out);
    }
}

static void call_ids(void **state)
{
    (void)state;
    int n_ids;
    hd_buf out;
    hd_canon request = {.dialect = HD_DIALECT_MESSAGES, .streams = true};
    hd_writer *w = make_writer(&request, &n_ids, &out);
    send(w, HD_EVENT_TEXT, HD_STR("text"), &out);
    send(w, HD_EVENT_TOOL_OPEN, HD_STR("f"), &out);
    send(w, HD_EVENT_TOOL_CLOSE, HD_STR(""), &out);
    send(w, HD_EVENT_TOOL_OPEN, HD_STR("g"), &out);
    assert_int_equal(hd_writer_n_calls(w), 2);
    assert_true(hd_str_eqz(hd_writer_call_id(w, 0), "toolu_000000000000000000000002"));
    assert_true(hd_str_eqz(hd_writer_call_id(w, 1), "toolu_000000000000000000000003"));
    assert_true(hd_str_eqz(hd_writer_call_id(w, 2), ""));
    hd_writer_destroy(w);
    hd_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(splits),         cmocka_unit_test(custom),    cmocka_unit_test(objects),
        cmocka_unit_test(random_answers), cmocka_unit_test(no_memory), cmocka_unit_test(no_room),
        cmocka_unit_test(idle_streams),   cmocka_unit_test(ends),      cmocka_unit_test(call_ids),
        cmocka_unit_test(silence),        cmocka_unit_test(seals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
