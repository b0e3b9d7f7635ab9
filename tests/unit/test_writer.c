/* Answers: golden transcripts of every dialect, written from the specification (tests/data/api). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include <dirent.h>

#include "support/transcript.h"

static hd_tokenizer *tokenizer;

static void show_difference(const char *name, const char *section, hd_str want, hd_str got)
{
    size_t i = 0, line = 1, begin = 0;
    while (i < want.len && i < got.len && want.ptr[i] == got.ptr[i])
        if (want.ptr[i++] == '\n') line++, begin = i;
    print_error("%s, %s: line %zu differs\n  want %.*s\n  got  %.*s\n", name, section, line,
                (int)(hd_str_find(want, HD_STR("\n"), begin) - begin), want.ptr + begin,
                (int)(hd_str_find(got, HD_STR("\n"), begin) - begin), got.ptr + begin);
}

static bool check_section(transcript *t, const char *name, bool streams)
{
    hd_str want = streams ? t->stream : t->whole;
    int n_ids;
    hd_writer *w;
    hd_buf out;
    if (!want.ptr) return true;
    t->request.streams = streams;
    hd_writer_opts opts = transcript_opts(&t->request, tokenizer, &n_ids);
    hd_str field =
        hd_json_get(t->scenario, "field") ? hd_json_get(t->scenario, "field")->text : HD_STR("");
    if (field.len) opts.reasoning_field = "reasoning";
    hd_buf_init(&out, 1 << 20);
    assert_int_equal(hd_writer_create(&opts, &w, NULL), HD_OK);
    transcript_play(t, w, &out);
    assert_int_equal(hd_writer_status(w, NULL), HD_OK);
    bool same = hd_str_eq(want, hd_buf_str(&out));
    if (!same) show_difference(name, streams ? "stream" : "whole", want, hd_buf_str(&out));
    hd_writer_destroy(w);
    hd_buf_deinit(&out);
    return same;
}

static void golden(void **state)
{
    (void)state;
    struct dirent *entry;
    int n = 0, n_wrong = 0;
    DIR *folder = opendir(HD_TEST_DATA "/api");
    assert_non_null(folder);
    while ((entry = readdir(folder)) != NULL) {
        transcript t;
        if (!hd_str_ends(hd_str_from(entry->d_name), HD_STR(".txt"))) continue;
        transcript_open(&t, entry->d_name);
        assert_true(t.stream.ptr || t.whole.ptr);
        n_wrong += !check_section(&t, entry->d_name, true);
        n_wrong += !check_section(&t, entry->d_name, false);
        transcript_close(&t);
        n++;
    }
    closedir(folder);
    print_message("%d transcripts\n", n);
    assert_int_equal(n_wrong, 0);
    assert_true(n > 30);
}

static int set_up(void **state)
{
    (void)state;
    tokenizer = transcript_tokenizer();
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hd_tokenizer_close(tokenizer);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden)};
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
