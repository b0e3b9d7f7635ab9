/* Files: mapping, reading, replacing, and what goes wrong with them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"

static char dir[64];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/hadal-fs-XXXXXX");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir);
}

static const char *at(const char *name)
{
    static char path[128];
    assert_int_equal(hd_fs_join(dir, name, path, sizeof path, NULL), HD_OK);
    return path;
}

static void written_files_read_back(void **state)
{
    (void)state;
    hd_buf b;
    hd_map m;
    size_t n = 300000;
    char *data = hd_mem_calloc(n, 1);
    for (size_t i = 0; i < n; i++) data[i] = (char)(i * 31 >> 3);
    assert_int_equal(hd_fs_write_atomic(at("f"), (hd_str){data, 10}, NULL), HD_OK);
    assert_int_equal(hd_fs_write_atomic(at("f"), (hd_str){data, n}, NULL), HD_OK);
    hd_buf_init(&b, n);
    assert_int_equal(hd_fs_read_all(at("f"), &b, NULL), HD_OK);
    assert_true(hd_str_eq(hd_buf_str(&b), (hd_str){data, n}));
    assert_int_equal(hd_map_open(at("f"), &m, NULL), HD_OK);
    assert_int_equal(m.len, n);
    assert_memory_equal(m.ptr, data, n);
    hd_map_close(&m);
    assert_null(m.ptr);
    hd_buf_deinit(&b);
    hd_mem_free(data);
    unlink(at("f"));
}

static void a_file_beyond_the_maximum_is_refused(void **state)
{
    (void)state;
    hd_buf b;
    hd_err err;
    assert_int_equal(hd_fs_write_atomic(at("f"), HD_STR("12345"), NULL), HD_OK);
    hd_buf_init(&b, 4);
    assert_int_equal(hd_fs_read_all(at("f"), &b, &err), HD_E_LIMIT);
    assert_non_null(strstr(err.text, "is longer than 4 bytes"));
    hd_buf_deinit(&b);
    hd_buf_init(&b, 5);
    assert_int_equal(hd_fs_read_all(at("f"), &b, NULL), HD_OK);
    assert_true(hd_str_eqz(hd_buf_str(&b), "12345"));
    assert_int_equal(hd_fs_read_all(at("f"), &b, NULL), HD_E_LIMIT);
    hd_buf_deinit(&b);
    unlink(at("f"));
}

static void reading_appends(void **state)
{
    (void)state;
    hd_buf b;
    assert_int_equal(hd_fs_write_atomic(at("f"), HD_STR("def"), NULL), HD_OK);
    hd_buf_init(&b, 100);
    hd_buf_addz(&b, "abc");
    assert_int_equal(hd_fs_read_all(at("f"), &b, NULL), HD_OK);
    assert_true(hd_str_eqz(hd_buf_str(&b), "abcdef"));
    hd_buf_deinit(&b);
    unlink(at("f"));
}

static void empty_files_are_fine(void **state)
{
    (void)state;
    hd_buf b;
    hd_map m;
    assert_int_equal(hd_fs_write_atomic(at("f"), (hd_str){0}, NULL), HD_OK);
    assert_int_equal(hd_map_open(at("f"), &m, NULL), HD_OK);
    assert_null(m.ptr);
    assert_int_equal(m.len, 0);
    hd_map_close(&m);
    hd_buf_init(&b, 0);
    assert_int_equal(hd_fs_read_all(at("f"), &b, NULL), HD_OK);
    assert_int_equal(b.len, 0);
    hd_buf_deinit(&b);
    unlink(at("f"));
}

static void what_is_no_file_is_refused(void **state)
{
    (void)state;
    hd_buf b;
    hd_map m;
    hd_err err;
    hd_buf_init(&b, 100);
    assert_int_equal(hd_map_open(at("absent"), &m, &err), HD_E_NOTFOUND);
    assert_non_null(strstr(err.text, "/absent': No such file or directory"));
    assert_int_equal(hd_fs_read_all(at("absent"), &b, NULL), HD_E_NOTFOUND);
    assert_int_equal(hd_map_open(dir, &m, &err), HD_E_IO);
    assert_non_null(strstr(err.text, "is no regular file"));
    assert_int_equal(hd_map_open("/dev/null", &m, NULL), HD_E_IO);
    assert_int_equal(hd_fs_read_all(dir, &b, &err), HD_E_IO);
    assert_int_equal(hd_fs_read_all("/dev/null/x", &b, NULL), HD_E_IO);
    hd_buf_deinit(&b);
}

static void a_failed_write_leaves_the_old_file(void **state)
{
    (void)state;
    hd_err err;
    hd_buf b;
    assert_int_equal(hd_fs_write_atomic(at("none/f"), HD_STR("x"), &err), HD_E_IO);
    assert_int_equal(mkdir(at("d"), 0777), 0);
    assert_int_equal(hd_fs_write_atomic(at("d"), HD_STR("x"), &err), HD_E_IO); /* cannot rename */
    assert_non_null(strstr(err.text, "cannot write"));
    assert_int_equal(rmdir(at("d")), 0); /* the file written aside is gone: see remove_dir too */
    hd_buf_init(&b, 10000);
    while (b.len < 5000) hd_buf_addz(&b, "long/");
    assert_int_equal(hd_fs_write_atomic(b.ptr, HD_STR("x"), &err), HD_E_LIMIT);
    hd_buf_deinit(&b);
}

static void memory_out_while_reading(void **state)
{
    (void)state;
    hd_buf b;
    assert_int_equal(hd_fs_write_atomic(at("f"), HD_STR("12345"), NULL), HD_OK);
    hd_buf_init(&b, 100);
    hd_mem_fail_after(0);
    assert_int_equal(hd_fs_read_all(at("f"), &b, NULL), HD_E_NOMEM);
    hd_mem_fail_after(-1);
    hd_buf_deinit(&b);
    unlink(at("f"));
}

static void joins_paths(void **state)
{
    (void)state;
    char out[8];
    assert_int_equal(hd_fs_join("a", "b", out, sizeof out, NULL), HD_OK);
    assert_string_equal(out, "a/b");
    assert_int_equal(hd_fs_join("a/", "b", out, sizeof out, NULL), HD_OK);
    assert_string_equal(out, "a/b");
    assert_int_equal(hd_fs_join("abc", "def", out, sizeof out, NULL), HD_OK);
    assert_int_equal(hd_fs_join("abc", "defg", out, sizeof out, NULL), HD_E_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_files_read_back),
        cmocka_unit_test(a_file_beyond_the_maximum_is_refused),
        cmocka_unit_test(reading_appends),
        cmocka_unit_test(empty_files_are_fine),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(a_failed_write_leaves_the_old_file),
        cmocka_unit_test(memory_out_while_reading),
        cmocka_unit_test(joins_paths),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
