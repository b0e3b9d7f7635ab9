/* Fuzzing what models may write: the output parser, the strict parser, heads of tags.
 *
 * An input is one byte of options, then an answer in which 0xFF is the DSML token and 0xFE is
 * </think>; all else is text. The answer is parsed whole and in pieces whose lengths come from its
 * own bytes. Checked: both give the same, events come in a legal order, reasoning and text hold no
 * tag, and the strict parser survives the spelled-out text. */
/* Covers: src/text/outparse.c src/text/stops.c src/text/dsml_tag.c src/text/parse_strict.c */
#include <stdlib.h>

#include "text/outparse.h"
#include "text/parse_strict.h"

#define MAX_TEXT   ((size_t)64 << 20)
#define IS_DSML(c) ((unsigned char)(c) == 0xFF)
#define IS_END(c)  ((unsigned char)(c) == 0xFE)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* All that came out: prose of both kinds, and calls as text. */
typedef struct result {
    hd_buf prose[2], calls;
    int n_calls;
    bool is_open, is_finished;
} result;

static void require(bool holds)
{
    if (!holds) abort();
}

static void take_events(hd_outparse *p, result *r)
{
    hd_out_event e;
    while (hd_outparse_next(p, &e)) {
        require(!r->is_finished);
        switch (e.kind) {
        case HD_OUT_REASONING:
        case HD_OUT_TEXT:
            require(e.len > 0 && r->n_calls == 0);
            hd_buf_add(&r->prose[e.kind == HD_OUT_TEXT], e.text, e.len);
            break;
        case HD_OUT_TOOL_OPEN:
            require(!r->is_open && e.call == r->n_calls);
            r->n_calls++;
            r->is_open = true;
            hd_buf_add(&r->calls, e.text, e.len);
            hd_buf_addc(&r->calls, '(');
            break;
        case HD_OUT_TOOL_ARGS:
            require(r->is_open && e.len > 0 && e.call == r->n_calls - 1);
            hd_buf_add(&r->calls, e.text, e.len);
            break;
        case HD_OUT_TOOL_CLOSE:
            require(r->is_open && e.call == r->n_calls - 1);
            r->is_open = false;
            hd_buf_addc(&r->calls, ')');
            break;
        case HD_OUT_FINISH:
            require((e.finish == HD_FINISH_TOOL_CALLS) == (r->n_calls > 0));
            r->is_finished = true;
            break;
        }
    }
}

static void push_mark(hd_outparse *p, hd_out_mark mark, result *r)
{
    require(hd_outparse_push_mark(p, mark, NULL) == HD_OK);
    take_events(p, r);
}

/* @param in_pieces cut the text at lengths that it holds itself. */
static void parse(const hd_outparse_opts *opts, hd_str s, bool in_pieces, result *r)
{
    hd_outparse *p;
    require(hd_outparse_create_textual(opts, &p, NULL) == HD_OK);
    while (s.len) {
        size_t n = 0, most = in_pieces ? (unsigned char)s.ptr[0] % 5u + 1 : s.len;
        while (n < s.len && n < most && !IS_DSML(s.ptr[n]) && !IS_END(s.ptr[n])) n++;
        if (n > 0) {
            require(hd_outparse_push_text(p, (hd_str){s.ptr, n}, NULL) == HD_OK);
            take_events(p, r);
        } else {
            push_mark(p, IS_DSML(s.ptr[0]) ? HD_OUT_MARK_DSML : HD_OUT_MARK_END_THINK, r);
            n = 1;
        }
        s = hd_str_skip(s, n);
    }
    require(hd_outparse_finish(p, HD_FINISH_STOP, NULL) == HD_OK);
    take_events(p, r);
    require(r->is_finished);
    hd_outparse_destroy(p);
}

static void init_result(result *r)
{
    *r = (result){0};
    hd_buf_init(&r->prose[0], MAX_TEXT);
    hd_buf_init(&r->prose[1], MAX_TEXT);
    hd_buf_init(&r->calls, MAX_TEXT);
}

static void deinit_result(result *r)
{
    hd_buf_deinit(&r->prose[0]);
    hd_buf_deinit(&r->prose[1]);
    hd_buf_deinit(&r->calls);
}

static void compare(const result *a, const result *b)
{
    for (int i = 0; i < 2; i++)
        require(hd_str_eq(hd_buf_str(&a->prose[i]), hd_buf_str(&b->prose[i])));
    require(hd_str_eq(hd_buf_str(&a->calls), hd_buf_str(&b->calls)));
    require(a->is_open == b->is_open && a->n_calls == b->n_calls);
}

/* The token can be spelled by plain text as well, which means nothing; only where the input has no
 * such text can its absence be required. */
static void require_no_tags(const result *r, hd_str input)
{
    if (hd_str_find(input, HD_STR("｜"), 0) < input.len) return;
    for (int i = 0; i < 2; i++) {
        hd_str s = hd_buf_str(&r->prose[i]);
        require(hd_str_find(s, HD_STR("<" HD_TOKEN_DSML), 0) == s.len);
        require(hd_str_find(s, HD_STR("</" HD_TOKEN_DSML), 0) == s.len);
    }
}

static void parse_strictly(hd_str s, uint8_t options)
{
    hd_buf text;
    hd_arena arena;
    hd_parsed out;
    const hd_chat_rules *rules =
        hd_chat_rules_find(options & 64 ? HD_STR("v4.1") : HD_STR("v4"), HD_STR(""));
    hd_buf_init(&text, MAX_TEXT);
    hd_arena_init(&arena, MAX_TEXT);
    for (size_t i = 0; i < s.len; i++) {
        if (IS_DSML(s.ptr[i]))
            hd_buf_addz(&text, HD_TOKEN_DSML);
        else if (IS_END(s.ptr[i]))
            hd_buf_addz(&text, HD_TOKEN_END_THINK);
        else
            hd_buf_addc(&text, s.ptr[i]);
    }
    if (options & 128) hd_buf_addz(&text, HD_TOKEN_EOS);
    hd_status status = hd_parse_strict(hd_buf_str(&text), rules, options & 1, &arena, &out, NULL);
    require(status == HD_OK || status == HD_E_FORMAT);
    hd_arena_deinit(&arena);
    hd_buf_deinit(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const stops[] = {"END", "\n\n", "<a"};
    if (size == 0) return 0;
    uint8_t options = data[0];
    hd_str s = {(const char *)data + 1, size - 1};
    hd_outparse_opts opts = {.start = (hd_out_start)((options & 3) % 3),
                             .is_continuation = options >> 2 & 1,
                             .has_tools = !(options & 8),
                             .stops = stops,
                             .n_stops = options >> 4 & 3};
    result whole, cut;
    init_result(&whole);
    init_result(&cut);
    parse(&opts, s, false, &whole);
    parse(&opts, s, true, &cut);
    compare(&whole, &cut);
    if (opts.has_tools) require_no_tags(&whole, s);
    parse_strictly(s, options);
    deinit_result(&whole);
    deinit_result(&cut);
    return 0;
}
