#include "vectors.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"

#define MAX_FILE ((size_t)64 << 20)

const char *test_text_path(const char *name)
{
    static char paths[4][4096];
    static unsigned turn;
    char *path = paths[turn++ % 4];
    const char *full = getenv("HADAL_VECTORS");
    snprintf(path, sizeof paths[0], "%s/text/%s", full && *full ? full : HD_TEST_DATA, name);
    return path;
}

static hd_str read_file(const char *path, hd_buf *out)
{
    hd_err err;
    hd_buf_init(out, MAX_FILE);
    if (hd_fs_read_all(path, out, &err) == HD_OK) return hd_buf_str(out);
    fprintf(stderr, "%s\n", err.text);
    return (hd_str){0};
}

size_t test_text_rows(const char *name, void (*check)(const hd_json *row, void *ctx), void *ctx)
{
    hd_buf text;
    hd_arena arena;
    size_t n = 0;
    const char *path = test_text_path(name);
    hd_str rest = read_file(path, &text);
    if (!rest.len) abort();
    hd_arena_init(&arena, (size_t)64 << 20);
    while (rest.len) {
        const hd_json *row;
        hd_err err;
        size_t len = hd_str_find(rest, HD_STR("\n"), 0);
        hd_arena_reset(&arena);
        if (hd_json_parse((hd_str){rest.ptr, len}, NULL, &arena, &row, &err) != HD_OK) {
            fprintf(stderr, "%s, row %zu: %s\n", path, n + 1, err.text);
            abort();
        }
        check(row, ctx);
        n++;
        rest = hd_str_skip(rest, len < rest.len ? len + 1 : len);
    }
    printf("%s: %zu rows\n", path, n);
    hd_arena_deinit(&arena);
    hd_buf_deinit(&text);
    return n;
}

/* An added token from its content on, as it stands in the file. */
static void add_entry(hd_buf *out, const hd_json *entry)
{
    static const char *const flags[] = {"single_word", "lstrip", "rstrip", "normalized", "special"};
    hd_str content = hd_json_get(entry, "content")->text;
    hd_buf_addf(out, "\"content\": \"%.*s\"", HD_STR_ARG(content));
    for (size_t i = 0; i < HD_COUNT(flags); i++)
        hd_buf_addf(out, ",\n      \"%s\": %.*s", flags[i],
                    HD_STR_ARG(hd_json_get(entry, flags[i])->text));
}

hd_str test_text_tokenizer_v41(void)
{
    static hd_buf out;
    hd_buf v4, delta;
    if (out.len) return hd_buf_str(&out);
    hd_arena arena;
    const hd_json *root;
    hd_str rest = read_file(test_text_path("tokenizer.json"), &v4);
    hd_str json = read_file(test_text_path("tokenizer_v41_delta.json"), &delta);
    hd_arena_init(&arena, (size_t)1 << 20);
    hd_buf_init(&out, MAX_FILE);
    if (rest.len && json.len) {
        if (hd_json_parse(json, NULL, &arena, &root, NULL) != HD_OK) abort();
        /* Entries ascend by id, and so they stand in the file. */
        const hd_json *change = hd_json_get(root, "changed")->child;
        for (; change; change = change->next) {
            hd_buf from;
            hd_buf_init(&from, 4096);
            add_entry(&from, hd_json_get(change, "v4"));
            size_t at = hd_str_find(rest, hd_buf_str(&from), 0);
            if (at == rest.len) abort();
            hd_buf_add(&out, rest.ptr, at);
            add_entry(&out, hd_json_get(change, "v41"));
            rest = hd_str_skip(rest, at + from.len);
            hd_buf_deinit(&from);
        }
        hd_buf_add_str(&out, rest);
        hd_buf_addc(&out, '\n');
        int64_t n_bytes;
        if (hd_json_get_i64(hd_json_get(root, "v41"), "bytes", 0, MAX_FILE, &n_bytes, NULL) !=
                HD_OK ||
            out.len != (size_t)n_bytes)
            abort();
    }
    hd_arena_deinit(&arena);
    hd_buf_deinit(&delta);
    hd_buf_deinit(&v4);
    return hd_buf_str(&out);
}
