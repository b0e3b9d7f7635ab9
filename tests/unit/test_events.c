/* The ring between the engine's thread and a reader: everything arrives once, in order and whole,
 * however slow the reader is. Run under ThreadSanitizer too. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rng.h"
#include "engine/events.h"

enum { N_EVENTS = 20000, MAX_TEXT = 700 };

static char alphabet[MAX_TEXT + 1];

static size_t text_len(uint64_t i)
{
    return (size_t)hd_rng_below(hd_rng_at(hd_rng_key(3, 1), i), MAX_TEXT);
}

/* Event i: a text, a token, or a token with a list. */
static hd_event make_event(int32_t i, hd_logprob *top)
{
    if (i % 3 == 0)
        return (hd_event){.kind = HD_EVENT_TEXT, .text = alphabet, .len = text_len((uint64_t)i)};
    hd_event e = {.kind = HD_EVENT_TOKEN, .token = i, .logprob = -0.5f};
    for (e.n_top = 0; i % 3 == 2 && e.n_top < i % 21; e.n_top++)
        top[e.n_top] = (hd_logprob){.id = i + e.n_top, .logprob = (float)-e.n_top};
    e.top = top;
    return e;
}

static void check_event(const hd_event *e, int32_t i)
{
    hd_logprob top[HD_MAX_TOP_LOGPROBS];
    hd_event want = make_event(i, top);
    assert_int_equal(e->kind, want.kind);
    if (want.kind == HD_EVENT_TEXT) {
        assert_int_equal(e->len, want.len);
        assert_memory_equal(e->text, alphabet, want.len);
        assert_int_equal(e->text[e->len], 0);
        return;
    }
    assert_int_equal(e->token, i);
    assert_true(e->logprob == -0.5f);
    assert_int_equal(e->n_top, want.n_top);
    if (e->n_top) assert_memory_equal(e->top, top, (size_t)e->n_top * sizeof *top);
}

static void *write_all(void *arg)
{
    hd_events *e = arg;
    hd_logprob top[HD_MAX_TOP_LOGPROBS];
    for (int32_t i = 0; i < N_EVENTS; i++) {
        hd_event event = make_event(i, top);
        hd_events_put(e, &event);
        if (i % 64 == 0) usleep(50);
        hd_events_move(e);
    }
    while (!hd_events_is_clear(e)) {
        hd_events_move(e);
        usleep(100);
    }
    hd_events_end(e, &(hd_event){.kind = HD_EVENT_END, .n_prompt = 7});
    return NULL;
}

static void test_two_threads(void **state)
{
    (void)state;
    hd_events e = {0};
    hd_event got;
    pthread_t writer;
    assert_int_equal(hd_events_reset(&e, NULL), HD_OK);
    assert_int_equal(pthread_create(&writer, NULL, write_all, &e), 0);
    for (int32_t i = 0; i < N_EVENTS; i++) {
        assert_true(hd_events_get(&e, 60000, &got));
        check_event(&got, i);
    }
    assert_true(hd_events_get(&e, 60000, &got));
    assert_int_equal(got.kind, HD_EVENT_END);
    assert_int_equal(got.n_prompt, 7);
    pthread_join(writer, NULL);
    hd_events_deinit(&e);
}

/* Nobody reads: the rest waits aside, and comes in order once there is room. */
static void test_aside(void **state)
{
    (void)state;
    hd_events e = {0};
    hd_event got;
    hd_logprob top[HD_MAX_TOP_LOGPROBS];
    for (int round = 0; round < 2; round++) {
        assert_int_equal(hd_events_reset(&e, NULL), HD_OK);
        for (int32_t i = 0; i < 1000; i++) {
            hd_event event = make_event(i, top);
            hd_events_put(&e, &event);
        }
        assert_false(hd_events_is_clear(&e));
        assert_int_equal(hd_events_status(&e, NULL), HD_OK);
        for (int32_t i = 0; i < 1000; i++) {
            if (!hd_events_get(&e, 0, &got)) {
                hd_events_move(&e);
                assert_true(hd_events_get(&e, 0, &got));
            }
            check_event(&got, i);
        }
        assert_true(hd_events_is_clear(&e));
        assert_false(hd_events_get(&e, 0, &got));
        hd_events_end(&e, &(hd_event){.kind = HD_EVENT_END});
        assert_true(hd_events_get(&e, 0, &got));
    }
    hd_events_deinit(&e);
}

/* A long text comes in pieces that are no parts of characters. */
static void test_long_text(void **state)
{
    (void)state;
    enum { N = 9001 };
    static char text[3 * N], all[3 * N];
    hd_events e = {0};
    hd_event got;
    size_t len = 0, n_pieces = 0;
    for (size_t i = 0; i < N; i++) memcpy(text + 3 * i, "\xE2\x82\xAC", 3);
    assert_int_equal(hd_events_reset(&e, NULL), HD_OK);
    hd_events_put(
        &e, &(hd_event){.kind = HD_EVENT_TOOL_ARGS, .call = 5, .text = text, .len = sizeof text});
    for (; len < sizeof text; n_pieces++) {
        hd_events_move(&e);
        assert_true(hd_events_get(&e, 0, &got));
        assert_int_equal(got.kind, HD_EVENT_TOOL_ARGS);
        assert_int_equal(got.call, 5);
        assert_true(got.len > 0 && got.len % 3 == 0 && got.len <= HD_EVENTS_PIECE);
        memcpy(all + len, got.text, got.len);
        len += got.len;
    }
    assert_int_equal(n_pieces, 7);
    assert_memory_equal(text, all, sizeof text);
    hd_events_put(&e, &(hd_event){.kind = HD_EVENT_TOOL_CLOSE, .text = ""});
    assert_true(hd_events_get(&e, 0, &got));
    assert_int_equal(got.len, 0);
    hd_events_deinit(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_threads),
        cmocka_unit_test(test_aside),
        cmocka_unit_test(test_long_text),
    };
    for (size_t i = 0; i < MAX_TEXT; i++) alphabet[i] = (char)('a' + i % 26);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
