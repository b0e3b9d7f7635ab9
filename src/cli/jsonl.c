/* Rows from standard input to standard output: see jsonl.h. */
#include "cli/jsonl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/jsonw.h"
#include "base/utf8.h"

#define LINE_MAX_BYTES ((size_t)256 << 20)
#define TREE_MAX_BYTES ((size_t)4 << 30)
#define READ_BYTES     ((size_t)64 << 10)

typedef struct run {
    hd_jsonl_answer *answer;
    void *ctx;
    hd_arena tree;
    hd_buf in, out, line;
    size_t line_no;
} run;

/* Some readers end a line at U+0085, U+2028 and U+2029 too. They can only stand inside strings, so
 * they may be written as escapes. */
static void escape_line_ends(hd_str row, hd_buf *out)
{
    static const struct {
        const char *raw, *escape;
    } ends[] = {{"\xC2\x85", "\\u0085"}, {"\xE2\x80\xA8", "\\u2028"}, {"\xE2\x80\xA9", "\\u2029"}};
    size_t done = 0;
    for (size_t i = 0; i < row.len; i++) {
        if (row.ptr[i] != '\xC2' && row.ptr[i] != '\xE2') continue;
        for (size_t k = 0; k < HD_COUNT(ends); k++) {
            hd_str raw = hd_str_from(ends[k].raw);
            if (!hd_str_starts(hd_str_skip(row, i), raw)) continue;
            hd_buf_add(out, row.ptr + done, i - done);
            hd_buf_addz(out, ends[k].escape);
            done = i + raw.len;
        }
    }
    if (row.len) hd_buf_add(out, row.ptr + done, row.len - done);
}

static hd_status answer_line(run *r, hd_str line, hd_err *err)
{
    const hd_json *row;
    while (line.len && strchr(" \t\r", line.ptr[line.len - 1])) line.len--;
    if (line.len == 0) return HD_OK;
    hd_arena_reset(&r->tree);
    hd_buf_reset(&r->out);
    HD_TRY(hd_json_parse(line, NULL, &r->tree, &row, err));
    HD_TRY(r->answer(r->ctx, row, &r->out, err));
    HD_TRY(hd_buf_status(&r->out, "the output row", err));
    hd_buf_reset(&r->line);
    escape_line_ends(hd_buf_str(&r->out), &r->line);
    hd_buf_addc(&r->line, '\n');
    HD_TRY(hd_buf_status(&r->line, "the output row", err));
    if (fwrite(r->line.ptr, 1, r->line.len, stdout) == r->line.len) return HD_OK;
    HD_FAIL(err, HD_E_IO, "cannot write to standard output: %s", strerror(errno));
}

/* Answer each complete line in r->in, and keep the rest. */
static hd_status answer_lines(run *r, hd_err *err)
{
    hd_str rest = hd_buf_str(&r->in);
    for (;;) {
        size_t n = hd_str_find(rest, HD_STR("\n"), 0);
        if (n == rest.len) break;
        r->line_no++;
        hd_status status = answer_line(r, (hd_str){rest.ptr, n}, err);
        if (status != HD_OK)
            return hd_err_context(err, status, "line %zu of the input", r->line_no);
        rest = hd_str_skip(rest, n + 1);
    }
    if (rest.len) memmove(r->in.ptr, rest.ptr, rest.len);
    r->in.len = rest.len;
    if (fflush(stdout) == 0) return HD_OK;
    HD_FAIL(err, HD_E_IO, "cannot write to standard output: %s", strerror(errno));
}

static hd_status run_all(run *r, hd_err *err)
{
    for (;;) {
        char *dst = hd_buf_room(&r->in, READ_BYTES);
        if (!dst) return hd_buf_status(&r->in, "a line of the input", err);
        ssize_t n = read(STDIN_FILENO, dst, READ_BYTES);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) HD_FAIL(err, HD_E_IO, "cannot read standard input: %s", strerror(errno));
        if (n == 0 && r->in.len == 0) return HD_OK;
        if (n == 0) hd_buf_addc(&r->in, '\n'); /* a last line without its end */
        r->in.len += (size_t)n;
        if (n == 0 || memchr(dst, '\n', (size_t)n)) HD_TRY(answer_lines(r, err));
    }
}

hd_status hd_jsonl_run(hd_jsonl_answer *answer, void *ctx, hd_err *err)
{
    run r = {.answer = answer, .ctx = ctx};
    hd_arena_init(&r.tree, TREE_MAX_BYTES);
    hd_buf_init(&r.in, LINE_MAX_BYTES);
    hd_buf_init(&r.out, 8 * LINE_MAX_BYTES);
    hd_buf_init(&r.line, 16 * LINE_MAX_BYTES);
    hd_status status = run_all(&r, err);
    hd_buf_deinit(&r.line);
    hd_buf_deinit(&r.out);
    hd_buf_deinit(&r.in);
    hd_arena_deinit(&r.tree);
    return status;
}

void hd_jsonl_add_message(hd_buf *out, const hd_err *err)
{
    hd_buf text;
    hd_buf_init(&text, 4 * sizeof err->text);
    hd_utf8_repair(&text, hd_str_from(err->text)); /* it may be cut inside a character */
    hd_jsonw_str(out, hd_buf_str(&text));
    if (text.status != HD_OK) out->status = text.status;
    hd_buf_deinit(&text);
}

void hd_jsonl_add_error(hd_buf *out, const hd_err *err)
{
    hd_buf_addz(out, "{\"error\": ");
    hd_jsonl_add_message(out, err);
    hd_buf_addc(out, '}');
}

void hd_jsonl_add_ids(hd_buf *out, const hd_ids *ids)
{
    hd_buf_addc(out, '[');
    for (size_t i = 0; i < ids->len; i++)
        hd_buf_addf(out, "%s%" PRId32, i ? ", " : "", ids->ptr[i]);
    hd_buf_addc(out, ']');
}
