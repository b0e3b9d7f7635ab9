#include "support/transcript.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "support/tiny_vocab.h"
#include "support/tmpdir.h"

#define MAX_FILE ((size_t)1 << 20)

static void give_up(const char *name, const char *why)
{
    fprintf(stderr, "%s: %s\n", name, why);
    abort();
}

/* ---- the file ---------------------------------------------------------------------------------*/

static bool flag(const hd_json *request, const char *key)
{
    const hd_json *node = hd_json_get(request, key);
    return node && node->truth;
}

static int32_t number(const hd_json *node, int32_t fallback)
{
    int64_t value;
    if (!node) return fallback;
    if (hd_json_i64(node, INT32_MIN, INT32_MAX, &value, NULL) != HD_OK) abort();
    return (int32_t)value;
}

static hd_str member(const hd_json *node, const char *key)
{
    const hd_json *found = hd_json_get(node, key);
    return found ? found->text : (hd_str){0};
}

static hd_canon_tool *read_tools(transcript *t, const hd_json *list)
{
    hd_canon_tool *first = NULL, **end = &first;
    for (const hd_json *node = list ? list->child : NULL; node; node = node->next) {
        hd_canon_tool *tool = hd_arena_try_alloc(&t->arena, 1, sizeof *tool);
        if (!tool) abort();
        *tool = (hd_canon_tool){.name = member(node, "name"),
                                .short_name = member(node, "short_name"),
                                .space = member(node, "space"),
                                .is_custom = flag(node, "custom")};
        if (!tool->short_name.ptr) tool->short_name = tool->name;
        *end = tool;
        end = &tool->next;
    }
    return first;
}

static void read_request(transcript *t)
{
    static const char *const dialects[] = {"chat", "completions", "responses", "messages"};
    const hd_json *r = hd_json_get(t->scenario, "request");
    const hd_json *stops = hd_json_get(r, "stops"), *logprobs = hd_json_get(r, "logprobs");
    hd_str dialect = member(t->scenario, "dialect"), model = member(r, "model");
    t->request = (hd_canon){.model = model.ptr ? model : HD_STR("deepseek-v4-flash"),
                            .tools = read_tools(t, hd_json_get(r, "tools")),
                            .thinks = flag(r, "thinks"),
                            .temperature = 1,
                            .top_p = 1,
                            .max_tokens = number(hd_json_get(r, "max_tokens"), 0),
                            .wants_logprobs = logprobs != NULL,
                            .n_top = number(logprobs, 0),
                            .wants_echo = flag(r, "echo"),
                            .wants_usage = flag(r, "usage"),
                            .wants_summary = flag(r, "summary"),
                            .body = hd_json_get(r, "body")};
    for (size_t i = 0; i < HD_COUNT(dialects); i++)
        if (hd_str_eqz(dialect, dialects[i])) t->request.dialect = (hd_dialect)i;
    t->request.stops = t->stops;
    for (const hd_json *s = stops ? stops->child : NULL; s; s = s->next) {
        if (t->request.n_stops == (int32_t)HD_COUNT(t->stops)) abort();
        t->stops[t->request.n_stops++] = hd_arena_dup(&t->arena, s->text).ptr;
    }
}

void transcript_open(transcript *t, const char *name)
{
    char path[512];
    hd_err err = {0};
    snprintf(path, sizeof path, "%s/api/%s", HD_TEST_DATA, name);
    *t = (transcript){0};
    hd_buf_init(&t->text, MAX_FILE);
    hd_arena_init(&t->arena, MAX_FILE);
    if (hd_fs_read_all(path, &t->text, &err) != HD_OK) give_up(path, err.text);
    hd_str all = hd_buf_str(&t->text);
    size_t end = hd_str_find(all, HD_STR("\n--- "), 0);
    hd_str head = {all.ptr, end};
    if (hd_json_parse(head, NULL, &t->arena, &t->scenario, &err) != HD_OK) give_up(path, err.text);
    while (end < all.len) {
        size_t begin = hd_str_find(all, HD_STR("\n"), end + 1) + 1;
        bool is_stream = hd_str_starts(hd_str_skip(all, end + 1), HD_STR("--- stream\n"));
        end = hd_str_find(all, HD_STR("\n--- "), begin);
        hd_str section = {all.ptr + begin, (end < all.len ? end + 1 : end) - begin};
        if (is_stream)
            t->stream = section;
        else
            t->whole = (hd_str){section.ptr, section.len - 1};
    }
    read_request(t);
}

void transcript_close(transcript *t)
{
    hd_arena_deinit(&t->arena);
    hd_buf_deinit(&t->text);
}

/* ---- the writer -------------------------------------------------------------------------------*/

static void next_id(void *ctx, char out[24])
{
    char text[32];
    snprintf(text, sizeof text, "%024d", ++*(int *)ctx);
    memcpy(out, text, 24);
}

hd_writer_opts transcript_opts(const hd_canon *request, hd_tokenizer *tokenizer, int *n_ids)
{
    *n_ids = 0;
    return (hd_writer_opts){.request = request,
                            .tokenizer = tokenizer,
                            .created_s = 1790000000,
                            .n_prompt = 12,
                            .new_id = next_id,
                            .ctx = n_ids,
                            .model = "deepseek-v4-flash",
                            .fingerprint = "fp_hadal",
                            .request_id = "req_1",
                            .reasoning_field = "reasoning_content"};
}

static const hd_json *item(const hd_json *list, size_t i)
{
    const hd_json *node = list->child;
    while (node && i--) node = node->next;
    return node;
}

static float real(const hd_json *node)
{
    double x = 0;
    if (node && hd_json_f64(node, &x, NULL) != HD_OK) abort();
    return (float)x;
}

/* ["token", id, logprob, [[id, logprob], …]] */
static void read_token(const hd_json *row, hd_event *e, hd_logprob top[HD_MAX_TOP_LOGPROBS])
{
    const hd_json *likely = item(row, 3);
    e->token = number(item(row, 1), 0);
    e->logprob = real(item(row, 2));
    e->top = top;
    for (const hd_json *p = likely ? likely->child : NULL; p; p = p->next)
        top[e->n_top++] = (hd_logprob){number(item(p, 0), 0), real(item(p, 1))};
}

/* ["end", why, generated, cached, of reasoning, stop string] */
static void read_end(const hd_json *row, hd_event *e)
{
    static const char *const ends[] = {"stop", "length", "cancelled", "timeout", "failed"};
    for (size_t i = 0; i < HD_COUNT(ends); i++)
        if (hd_str_eqz(item(row, 1)->text, ends[i])) e->end = (hd_end)i;
    e->n_prompt = 12;
    e->n_generated = number(item(row, 2), 0);
    e->n_cached = number(item(row, 3), 0);
    e->n_reasoning = number(item(row, 4), 0);
    e->stop_string = number(item(row, 5), -1);
}

static void play_row(const hd_json *row, hd_writer *w, hd_buf *out)
{
    static const char *const kinds[] = {"prompt", "token", "reasoning", "text",
                                        "open",   "args",  "close",     "end"};
    hd_logprob top[HD_MAX_TOP_LOGPROBS];
    hd_str word = item(row, 0)->text;
    hd_event e = {0};
    if (hd_str_eqz(word, "ping")) {
        hd_writer_ping(w, out);
        return;
    }
    if (hd_str_starts(word, HD_STR("fail"))) {
        hd_err why = {.code = HD_E_DEVICE};
        if (hd_str_eqz(word, "fail_memory")) why.code = HD_E_NOMEM;
        if (hd_str_eqz(word, "fail_limit")) why.code = HD_E_LIMIT;
        snprintf(why.text, sizeof why.text, "%.*s", HD_STR_ARG(item(row, 1)->text));
        hd_writer_fail(w, &why, out);
        return;
    }
    while (!hd_str_eqz(word, kinds[e.kind]))
        if (++e.kind == HD_COUNT(kinds)) abort();
    if (e.kind <= HD_EVENT_TOKEN) {
        read_token(row, &e, top);
    } else if (e.kind == HD_EVENT_END) {
        read_end(row, &e);
    } else if (row->n > 1) {
        e.text = item(row, 1)->text.ptr;
        e.len = item(row, 1)->text.len;
    }
    hd_writer_event(w, &e, out);
}

void transcript_play(const transcript *t, hd_writer *w, hd_buf *out)
{
    hd_writer_begin(w, out);
    for (const hd_json *row = hd_json_get(t->scenario, "events")->child; row; row = row->next)
        play_row(row, w, out);
}

hd_tokenizer *transcript_tokenizer(void)
{
    char added[1024];
    const char *path = test_path(test_tmpdir(), "bytes.json");
    hd_buf json;
    hd_tokenizer *tokenizer;
    hd_err err;
    hd_buf_init(&json, MAX_FILE);
    snprintf(added, sizeof added, "%s, %s, %s", tiny_added(256, "</think>", false, false),
             tiny_added(257, "｜DSML｜", false, false),
             tiny_added(258, "<｜end▁of▁sentence｜>", true, false));
    tiny_vocab_json(&(tiny_vocab){.added = added}, &json);
    test_write(path, hd_buf_str(&json));
    hd_buf_deinit(&json);
    if (hd_tokenizer_open(path, &tokenizer, &err) != HD_OK) give_up(path, err.text);
    return tokenizer;
}
