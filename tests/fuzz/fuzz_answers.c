/* Events of requests through the writers of all four dialects, as stream and whole.
 *
 * The first bytes are options; then come events: a byte that says which, a length, that many bytes
 * of text. They come in any order and cut characters anywhere, as no engine would. Checked: a
 * stream is legal event by event (tests/support/sse_answer.c), a whole answer is JSON, and both say
 * the same. */
/* Covers: src/server/writer*.c src/server/write_*.c src/server/unwrap.c */
#include <stdlib.h>

#include "server/unwrap.h"
#include "support/sse_answer.h"
#include "support/transcript.h"

#define MAX_OUT ((size_t)8 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) abort();
}

typedef struct both {
    hd_canon request[2]; /* [0] streams */
    hd_writer *writer[2];
    hd_buf out[2];
    int n_ids[2];
    int n_opened;
    bool has_failed, has_ended;
} both;

enum {
    WANTS_LOGPROBS = 4,
    WANTS_SUMMARY = 8,
    THINKS = 16,
    HAS_CUSTOM = 32,
    HAS_SEAL = 64 /* and the prompt is shown */
};

static void seal(void *ctx, hd_buf *out)
{
    (void)ctx;
    hd_buf_addz(out, "c2VhbA");
}

static void open_both(both *b, uint8_t options, hd_tokenizer *tokenizer, hd_canon_tool *tool)
{
    static const char *stops[] = {"one", "two"};
    *b = (both){0};
    for (int i = 0; i < 2; i++) {
        b->request[i] = (hd_canon){.dialect = (hd_dialect)(options & 3),
                                   .streams = i == 0,
                                   .wants_usage = true,
                                   .wants_logprobs = options & WANTS_LOGPROBS,
                                   .wants_echo = options & HAS_SEAL,
                                   .wants_summary = options & WANTS_SUMMARY,
                                   .thinks = options & THINKS,
                                   .max_tokens = 50,
                                   .tools = options & HAS_CUSTOM ? tool : NULL,
                                   .stops = stops,
                                   .n_stops = 2};
        hd_writer_opts opts = transcript_opts(&b->request[i], tokenizer, &b->n_ids[i]);
        if (options & HAS_SEAL) opts.seal = seal;
        hd_buf_init(&b->out[i], MAX_OUT);
        require(hd_writer_create(&opts, &b->writer[i], NULL) == HD_OK);
        hd_writer_begin(b->writer[i], &b->out[i]);
    }
}

static void send(both *b, const hd_event *e)
{
    for (int i = 0; i < 2; i++) hd_writer_event(b->writer[i], e, &b->out[i]);
}

static void end(both *b, uint8_t how)
{
    hd_err why;
    hd_event e = {.kind = HD_EVENT_END,
                  .end = (hd_end)(how % 5),
                  .n_prompt = 12,
                  .n_cached = how % 13,
                  .n_generated = how,
                  .stop_string = how % 4 - 1,
                  .err = {.code = HD_E_DEVICE, .text = "a \"fault\""}};
    if (how > 200) e.err.code = HD_E_NOMEM;
    b->has_failed = hd_writer_end_fails(&e, &why);
    b->has_ended = true;
    send(b, &e);
}

static void play(both *b, const uint8_t *data, size_t size)
{
    bool is_text = b->request[0].dialect == HD_DIALECT_COMPLETIONS;
    while (size >= 2 && !b->has_ended) {
        uint8_t op = data[0] % 16, n = data[1];
        hd_logprob top[2] = {{n, -0.5f}, {op, -1e30f}};
        hd_event e = {.kind = HD_EVENT_TEXT};
        data += 2, size -= 2;
        if (n > size) n = (uint8_t)size;
        e.text = (const char *)data;
        e.len = n;
        switch (op) {
        case 0: end(b, n); continue;
        case 1:
        case 2:
            e = (hd_event){.kind = op == 1 ? HD_EVENT_TOKEN : HD_EVENT_PROMPT,
                           .token = n + (size ? data[0] % 8 : 0),
                           .logprob = -0.25f,
                           .top = top,
                           .n_top = n % 3};
            send(b, &e);
            continue;
        case 3: hd_writer_ping(b->writer[0], &b->out[0]); continue;
        case 4:
        case 5:
            if (b->n_opened++ == SSE_MAX_CALLS || is_text) return;
            e.kind = HD_EVENT_TOOL_OPEN;
            e.text = op == 4 ? "custom" : "f";
            e.len = strlen(e.text);
            send(b, &e);
            continue;
        case 6: e.kind = HD_EVENT_TOOL_CLOSE; break;
        case 7:
        case 8:
        case 9: e.kind = HD_EVENT_TOOL_ARGS; break;
        case 10:
        case 11: e.kind = is_text ? HD_EVENT_TEXT : HD_EVENT_REASONING; break;
        default: break;
        }
        send(b, &e);
        data += n, size -= n;
    }
}

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

static void check(both *b)
{
    hd_dialect dialect = b->request[0].dialect;
    sse_answer got[2];
    for (int i = 0; i < 2; i++) {
        require(hd_writer_status(b->writer[i], NULL) == HD_OK);
        sse_answer_init(&got[i]);
    }
    sse_answer_stream(&got[0], dialect, hd_buf_str(&b->out[0]));
    sse_answer_whole(&got[1], dialect, hd_buf_str(&b->out[1]));
    require(got[0].finish[0] && got[1].finish[0]);
    if (dialect == HD_DIALECT_MESSAGES) make_objects(&got[0]);
    if (!b->has_failed) sse_answer_same(&got[0], &got[1], false);
    for (int i = 0; i < 2; i++) sse_answer_deinit(&got[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static hd_tokenizer *tokenizer;
    hd_canon_tool tool = {.name = HD_STR("custom"),
                          .short_name = HD_STR("short"),
                          .space = HD_STR("space"),
                          .is_custom = true};
    both b;
    if (!tokenizer) tokenizer = transcript_tokenizer();
    if (size < 1 || size > 65536) return 0;
    open_both(&b, data[0], tokenizer, &tool);
    play(&b, data + 1, size - 1);
    if (!b.has_ended) end(&b, 0);
    check(&b);
    for (int i = 0; i < 2; i++) {
        hd_writer_destroy(b.writer[i]);
        hd_buf_deinit(&b.out[i]);
    }
    return 0;
}
