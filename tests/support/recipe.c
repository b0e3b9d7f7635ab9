#include "support/recipe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "text/tokenizer.h"

const char *recipe_decision(const hd_json *row)
{
    static const struct {
        const char *id, *arguments;
    } decided[] = {
        {"call_missing_string_attr", "{}"},
        {"call_string_True", "{}"},
        {"call_invoke_spaces", "{\"a\": \"1\"}"},
        {"call_key_quote", "{\"a\\\"b\": \"1\"}"},
    };
    hd_str id = hd_json_get(row, "id")->text;
    for (size_t i = 0; i < HD_COUNT(decided); i++)
        if (hd_str_ends(id, hd_str_from(decided[i].id))) return decided[i].arguments;
    return NULL;
}

bool recipe_thinks(const hd_json *row)
{
    const hd_json *thinking = hd_json_get(hd_json_get(row, "request"), "thinking");
    return hd_str_eqz(hd_json_get(thinking, "type")->text, "enabled");
}

size_t recipe_stops(const hd_json *row, const char *stops[4])
{
    static char texts[4][32];
    const hd_json *list = hd_json_get(hd_json_get(row, "request"), "stop");
    size_t n = 0;
    for (const hd_json *s = list ? list->child : NULL; s; s = s->next) {
        assert_true(n < 4 && s->text.len < 32);
        memcpy(texts[n], s->text.ptr, s->text.len);
        texts[n][s->text.len] = '\0';
        stops[n] = texts[n];
        n++;
    }
    return n;
}

hd_outparse *recipe_parser(const hd_json *row, hd_tokenizer *tokenizer)
{
    const hd_json *request = hd_json_get(row, "request");
    const hd_json *choice = hd_json_get(request, "tool_choice");
    const char *stops[4];
    hd_outparse_opts opts = {.has_tools = hd_json_get(request, "tools") != NULL,
                             .stops = stops,
                             .n_stops = recipe_stops(row, stops)};
    if (recipe_thinks(row)) opts.start = HD_OUT_START_REASONING;
    if (choice && hd_str_eqz(choice->text, "required")) opts.start = HD_OUT_START_CALLS;
    for (const hd_json *m = hd_json_get(request, "messages")->child; m; m = m->next)
        if (hd_json_get(m, "prefix")) opts.is_continuation = 1;
    hd_outparse *p;
    assert_int_equal(tokenizer ? hd_outparse_create(tokenizer, &opts, &p, NULL)
                               : hd_outparse_create_textual(&opts, &p, NULL),
                     HD_OK);
    return p;
}

static hd_finish finish_of(const hd_json *row)
{
    hd_str finish = hd_json_get(row, "finish")->text;
    if (hd_str_eqz(finish, "Length")) return HD_FINISH_LENGTH;
    return hd_str_eqz(finish, "ContentFilter") ? HD_FINISH_FILTER : HD_FINISH_STOP;
}

typedef struct taker {
    void (*take)(hd_outparse *p, void *ctx);
    void *ctx;
} taker;

/* Text with control tokens spelled in it, `step` bytes at a time. */
static void feed_text(hd_outparse *p, hd_str text, size_t step, taker t)
{
    static const struct {
        const char *spelling;
        hd_out_mark mark;
    } marks[] = {{"</think>", HD_OUT_MARK_END_THINK}, {"｜DSML｜", HD_OUT_MARK_DSML}};
    while (text.len) {
        size_t n = text.len, skip = 0;
        hd_out_mark mark = HD_OUT_MARK_DSML;
        for (size_t i = 0; i < HD_COUNT(marks); i++) {
            size_t at = hd_str_find(text, hd_str_from(marks[i].spelling), 0);
            if (at >= n) continue;
            n = at;
            mark = marks[i].mark;
            skip = strlen(marks[i].spelling);
        }
        for (size_t i = 0; i < n; i += step) {
            size_t len = n - i < step ? n - i : step;
            assert_int_equal(hd_outparse_push_text(p, (hd_str){text.ptr + i, len}, NULL), HD_OK);
            t.take(p, t.ctx);
        }
        if (skip) {
            assert_int_equal(hd_outparse_push_mark(p, mark, NULL), HD_OK);
            t.take(p, t.ctx);
        }
        text = hd_str_skip(text, n + skip);
    }
}

/* The same by ids: the text encoded with its control tokens. */
static void feed_ids(hd_outparse *p, hd_tokenizer *tokenizer, hd_str text, taker t)
{
    hd_ids ids;
    hd_ids_init(&ids, 1 << 20);
    assert_int_equal(hd_tokenizer_encode_ids(tokenizer, text, 0, &ids, NULL), HD_OK);
    for (size_t i = 0; i < ids.len; i++) {
        assert_int_equal(hd_outparse_push(p, ids.ptr[i], NULL), HD_OK);
        t.take(p, t.ctx);
    }
    hd_ids_deinit(&ids);
}

void recipe_feed(const hd_json *row, hd_outparse *p, size_t step, hd_tokenizer *tokenizer,
                 void (*take)(hd_outparse *p, void *ctx), void *ctx)
{
    hd_str text = hd_json_get(row, "text")->text;
    if (step)
        feed_text(p, text, step, (taker){take, ctx});
    else
        feed_ids(p, tokenizer, text, (taker){take, ctx});
    assert_int_equal(hd_outparse_finish(p, finish_of(row), NULL), HD_OK);
    take(p, ctx);
}
