/* What an engine says beside tokens: text, stop strings, log probabilities, echo, constraints.
 * Each against the public functions that a program without an engine would use. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "hadal/engine.h"
#include "support/modelrun.h"
#include "text/chat_rules.h"

enum { MAX_CTX = 600, MAX_NEW = 200, MAX_TEXT = 1 << 16 };
enum { WAIT_MS = 600000 }; /* sanitizers on a busy machine are slow */

static hd_engine *engine;
static hd_model *model;
static hd_tokenizer *tokenizer;
static float *logits; /* f32 [MAX_CTX, V] */
static int32_t vocab;

/* An answer, put together. */
typedef struct answer {
    int32_t id[MAX_NEW], n, prompt[MAX_CTX], n_prompt;
    float logprob[MAX_NEW], prompt_logprob[MAX_CTX];
    hd_logprob top[MAX_NEW][HD_MAX_TOP_LOGPROBS], prompt_top[MAX_CTX][HD_MAX_TOP_LOGPROBS];
    int32_t n_top[MAX_NEW];
    char text[MAX_TEXT], reasoning[MAX_TEXT];
    size_t len, reasoning_len;
    hd_event end;
} answer;

static answer a, b;

static int set_up(void **state)
{
    (void)state;
    hd_err err = {0};
    static const modelrun_device fastest = {"cpu", NULL};
    hd_engine_opts opts = {
        .model = {.n_threads = 1, .max_seqs = 3, .max_ctx = MAX_CTX, .max_rows = 96}};
    modelrun_check(hd_engine_open(modelrun_synth("unit"), &opts, &engine, &err), "open", &err);
    tokenizer = hd_engine_tokenizer(engine);
    model = modelrun_open(modelrun_synth("unit"), &fastest,
                          (hd_model_opts){.max_seqs = 1, .max_ctx = MAX_CTX});
    vocab = model->cfg.vocab_size;
    logits = hd_mem_calloc((size_t)MAX_CTX * (size_t)vocab, sizeof *logits);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hd_mem_free(logits);
    hd_model_close(model);
    hd_engine_close(engine);
    return 0;
}

static const int32_t prompt_ids[] = {0, 72, 101, 108, 108, 111, 44, 32, 119, 111, 114, 108, 100};

static hd_submit plain(int32_t max_new)
{
    hd_submit s = {.ids = prompt_ids,
                   .n_ids = HD_COUNT(prompt_ids),
                   .max_new = max_new,
                   .ignore_eos = 1,
                   .how = HD_SAMPLING_DEFAULT,
                   .output = HD_OUTPUT_TEXT};
    return s;
}

static void take_token(answer *out, const hd_event *e)
{
    bool is_prompt = e->kind == HD_EVENT_PROMPT;
    int32_t i = is_prompt ? out->n_prompt++ : out->n++;
    *(is_prompt ? &out->prompt[i] : &out->id[i]) = e->token;
    *(is_prompt ? &out->prompt_logprob[i] : &out->logprob[i]) = e->logprob;
    if (!is_prompt) out->n_top[i] = e->n_top;
    if (e->n_top)
        memcpy(is_prompt ? out->prompt_top[i] : out->top[i], e->top,
               (size_t)e->n_top * sizeof *e->top);
}

static void run(const hd_submit *s, answer *out)
{
    hd_err err = {0};
    uint64_t id;
    hd_event e;
    memset(out, 0, sizeof *out);
    modelrun_check(hd_engine_submit(engine, s, &id, &err), "hd_engine_submit", &err);
    for (;;) {
        modelrun_check(hd_engine_next(engine, id, WAIT_MS, &e, &err), "hd_engine_next", &err);
        if (e.kind == HD_EVENT_END) break;
        if (e.kind <= HD_EVENT_TOKEN) take_token(out, &e);
        if (e.kind == HD_EVENT_TEXT) {
            memcpy(out->text + out->len, e.text, e.len + 1);
            out->len += e.len;
        }
        if (e.kind == HD_EVENT_REASONING) {
            memcpy(out->reasoning + out->reasoning_len, e.text, e.len + 1);
            out->reasoning_len += e.len;
        }
    }
    out->end = e;
    assert_int_equal(e.n_generated, out->n);
}

/* The same ids through a decoder. */
static void decode(const answer *from, char *out, size_t *n)
{
    hd_decoder *d;
    const char *text;
    size_t len;
    *n = 0;
    assert_int_equal(hd_decoder_create(tokenizer, HD_DECODE_SKIP_SPECIAL, &d, NULL), HD_OK);
    for (int32_t i = 0; i <= from->n; i++) {
        hd_status st = i < from->n ? hd_decoder_push(d, from->id[i], &text, &len, NULL)
                                   : hd_decoder_finish(d, &text, &len, NULL);
        assert_int_equal(st, HD_OK);
        memcpy(out + *n, text, len);
        *n += len;
    }
    hd_decoder_destroy(d);
}

static void test_text(void **state)
{
    (void)state;
    static char want[MAX_TEXT];
    size_t n;
    hd_submit s = plain(120);
    run(&s, &a);
    decode(&a, want, &n);
    assert_int_equal(a.len, n);
    assert_memory_equal(a.text, want, n);
    assert_int_equal(a.end.end, HD_END_LENGTH);
    assert_int_equal(a.end.stop_string, -1);
    s.output = HD_OUTPUT_IDS;
    run(&s, &b);
    assert_int_equal(b.len, 0);
    assert_int_equal(b.n, a.n);
    assert_memory_equal(a.id, b.id, sizeof a.id);
}

/* A piece out of the middle of the text ends it there, unless it may not end yet. */
static void test_stop_strings(void **state)
{
    (void)state;
    char stop[8] = "";
    const char *stops[] = {"\x01 never \x01", stop};
    hd_submit s = plain(120);
    run(&s, &a);
    size_t at = a.len / 2;
    while (((unsigned char)a.text[at] & 0xC0) == 0x80) at++;
    size_t len = 4;
    while (((unsigned char)a.text[at + len] & 0xC0) == 0x80) len++;
    memcpy(stop, a.text + at, len);
    const char *first = strstr(a.text, stop);
    s.answer.stops = stops;
    s.answer.n_stops = 2;
    run(&s, &b);
    assert_int_equal(b.end.end, HD_END_STOP);
    assert_int_equal(b.end.stop_string, 1);
    assert_int_equal(b.len, first - a.text);
    assert_memory_equal(b.text, a.text, b.len);
    assert_true(b.n < a.n);
    assert_memory_equal(b.id, a.id, (size_t)b.n * sizeof *a.id);
    s.min_new = 120;
    run(&s, &b);
    assert_int_equal(b.end.end, HD_END_LENGTH);
    assert_string_equal(b.text, a.text);
}

static void test_stop_ids(void **state)
{
    (void)state;
    hd_submit s = plain(60);
    run(&s, &a);
    int32_t stop = a.id[30], first = 0;
    while (a.id[first] != stop) first++;
    s.stop_ids = &stop;
    s.n_stop_ids = 1;
    run(&s, &b);
    assert_int_equal(b.end.end, HD_END_STOP);
    assert_int_equal(b.n, first + 1);
    assert_memory_equal(b.id, a.id, (size_t)b.n * sizeof *a.id);
    s.min_new = 50;
    run(&s, &b);
    assert_true(b.n > 50 || b.end.end == HD_END_LENGTH);
    for (int32_t i = 0; i < 50; i++) assert_int_not_equal(b.id[i], stop);
    stop = vocab;
    uint64_t id;
    assert_int_equal(hd_engine_submit(engine, &s, &id, NULL), HD_E_ARG);
}

/* All logits of ids [n], by the model itself. */
static void run_model(const int32_t *ids, int32_t n)
{
    hd_err err = {0};
    hd_seq *seq;
    modelrun_check(hd_seq_create(model, &seq, &err), "hd_seq_create", &err);
    hd_step_item item = {seq, ids, n, n, logits};
    modelrun_check(hd_model_step(model, &item, 1, &err), "hd_model_step", &err);
    hd_seq_destroy(seq);
}

static double logprob_of(const float *row, int32_t id)
{
    double sum = 0.0;
    for (int32_t i = 0; i < vocab; i++) sum += exp((double)row[i] - (double)row[0]);
    return (double)row[id] - (double)row[0] - log(sum);
}

static void check_top(const float *row, const hd_logprob *top, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        int32_t n_better = 0;
        for (int32_t k = 0; k < vocab; k++)
            n_better += row[k] > row[top[i].id] || (row[k] == row[top[i].id] && k < top[i].id);
        assert_int_equal(n_better, i);
        assert_true(fabs((double)top[i].logprob - logprob_of(row, top[i].id)) < 1e-5);
    }
}

static void test_logprobs_and_echo(void **state)
{
    (void)state;
    static int32_t all[MAX_CTX];
    int32_t n_prompt = 150;
    for (int32_t i = 0; i < n_prompt; i++) all[i] = (i * i * 7 + i) % 200;
    hd_submit s = plain(20);
    s.ids = all;
    s.n_ids = n_prompt;
    run(&s, &a); /* leaves the prompt in the cache */
    assert_int_equal(a.n_prompt, 0);
    s.wants_logprobs = s.wants_echo = 1;
    s.n_top = 5;
    run(&s, &b);
    assert_memory_equal(a.id, b.id, sizeof a.id);
    assert_int_equal(b.end.n_cached, 0);
    memcpy(all + n_prompt, b.id, (size_t)b.n * sizeof *all);
    run_model(all, n_prompt + b.n);
    assert_int_equal(b.n_prompt, n_prompt);
    assert_memory_equal(b.prompt, all, (size_t)n_prompt * sizeof *all);
    assert_true(b.prompt_logprob[0] == 0.0f);
    for (int32_t i = 1; i < n_prompt; i++) {
        const float *row = logits + (size_t)(i - 1) * (size_t)vocab;
        assert_true(fabs((double)b.prompt_logprob[i] - logprob_of(row, all[i])) < 1e-5);
        check_top(row, b.prompt_top[i], 5);
    }
    for (int32_t i = 0; i < b.n; i++) {
        const float *row = logits + (size_t)(n_prompt + i - 1) * (size_t)vocab;
        assert_true(fabs((double)b.logprob[i] - logprob_of(row, b.id[i])) < 1e-5);
        assert_int_equal(b.n_top[i], 5);
        check_top(row, b.top[i], 5);
    }
    s.n_top = 21;
    uint64_t id;
    assert_int_equal(hd_engine_submit(engine, &s, &id, NULL), HD_E_ARG);
}

static void parse_json(const char *text, size_t len, hd_json_kind kind)
{
    hd_err err = {0};
    hd_arena tree;
    const hd_json *json;
    hd_arena_init(&tree, 1 << 24);
    modelrun_check(hd_json_parse((hd_str){text, len}, NULL, &tree, &json, &err), "json", &err);
    assert_int_equal(json->kind, kind);
    hd_arena_deinit(&tree);
}

/* Random weights say nonsense; held to a schema they say nonsense of that schema. */
static void test_constraint(void **state)
{
    (void)state;
    static const char schema[] =
        "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": \"string\", \"maxLength\": 5}, "
        "\"b\": {\"type\": \"array\", \"items\": {\"type\": \"boolean\"}, \"maxItems\": 3}}, "
        "\"required\": [\"a\", \"b\"]}";
    hd_constraint c = {
        .kind = HD_GRAMMAR_SCHEMA, .text = schema, .len = sizeof schema - 1, .is_strict = 1};
    hd_submit s = plain(MAX_NEW);
    s.ignore_eos = 0;
    s.constraint = &c;
    for (uint64_t seed = 0; seed < 4; seed++) {
        s.how.seed = seed;
        s.how.temperature = seed ? 1.0f : 0.0f;
        run(&s, &a);
        assert_int_equal(a.end.end, HD_END_STOP);
        parse_json(a.text, a.len, HD_JSON_OBJECT);
    }
    /* Behind reasoning the schema begins. */
    s.output = HD_OUTPUT_CHAT;
    s.answer.start = HD_OUT_START_REASONING;
    hd_logit_bias bias = {.id = hd_tokenizer_find(tokenizer, "</think>"), .bias = 4.0f};
    s.how.bias = &bias;
    s.how.n_bias = 1;
    run(&s, &a);
    assert_int_equal(a.end.end, HD_END_STOP);
    assert_true(a.end.n_reasoning > 0 && a.end.n_reasoning < a.n);
    parse_json(a.text, a.len, HD_JSON_OBJECT);
}

/* The prompt has opened the block of calls: the answer is the rest of it, and nothing else. */
static void test_calls_begun(void **state)
{
    (void)state;
    static const char tools[] =
        "[{\"name\": \"f\", \"parameters\": {\"type\": \"object\", \"properties\": {\"on\": "
        "{\"type\": \"boolean\"}}, \"required\": [\"on\"]}}, {\"name\": \"g\"}]";
    hd_constraint c = {.kind = HD_GRAMMAR_TOOLS,
                       .text = tools,
                       .len = sizeof tools - 1,
                       .choice = HD_TOOLS_NAMED,
                       .tool_name = "f",
                       .one_call = 1};
    hd_submit s = plain(MAX_NEW);
    s.ignore_eos = 0;
    s.output = HD_OUTPUT_CHAT;
    s.answer.start = HD_OUT_START_CALLS;
    s.answer.has_tools = 1;
    s.constraint = &c;
    if (hd_tokenizer_find(tokenizer, HD_TOKEN_DSML) < 0) fail_msg("no DSML token to test with");
    for (uint64_t seed = 0; seed < 4; seed++) {
        s.how.seed = seed;
        run(&s, &a);
        assert_int_equal(a.end.end, HD_END_STOP);
        assert_int_equal(a.end.n_calls, 1);
        assert_int_equal(a.len, 0);
    }
}

static void test_constraint_refused(void **state)
{
    (void)state;
    hd_err err = {0};
    uint64_t id;
    hd_constraint c = {
        .kind = HD_GRAMMAR_SCHEMA, .text = "{\"not\": {}}", .len = 11, .is_strict = 1};
    hd_submit s = plain(5);
    s.constraint = &c;
    assert_int_equal(hd_engine_submit(engine, &s, &id, &err), HD_E_UNSUPPORTED);
    assert_non_null(strstr(err.text, "not"));
    c.text = "{\"type\": 3}";
    assert_int_equal(hd_engine_submit(engine, &s, &id, &err), HD_E_FORMAT);
    s.output = HD_OUTPUT_CHAT;
    s.answer.start = HD_OUT_START_CALLS;
    assert_int_equal(hd_engine_submit(engine, &s, &id, &err), HD_E_UNSUPPORTED);
    s.output = (hd_output_kind)9;
    assert_int_equal(hd_engine_submit(engine, &s, &id, &err), HD_E_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),        cmocka_unit_test(test_stop_strings),
        cmocka_unit_test(test_stop_ids),    cmocka_unit_test(test_logprobs_and_echo),
        cmocka_unit_test(test_constraint),  cmocka_unit_test(test_constraint_refused),
        cmocka_unit_test(test_calls_begun),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
