/* The safetensors reader on headers made by hand, and the writer against the reader. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "io/safetensors.h"
#include "support/tmpdir.h"

/* A file in memory: length, header text, n_data bytes 0, 1, 2, ... */
static hd_str make_file(const char *header, size_t n_data)
{
    static unsigned char bytes[4096];
    size_t len = strlen(header);
    assert_true(8 + len + n_data <= sizeof bytes);
    memset(bytes, 0, 8);
    bytes[0] = (unsigned char)len;
    bytes[1] = (unsigned char)(len >> 8);
    memcpy(bytes + 8, header, len);
    for (size_t i = 0; i < n_data; i++) bytes[8 + len + i] = (unsigned char)i;
    return (hd_str){(const char *)bytes, 8 + len + n_data};
}

static void test_views(void **state)
{
    (void)state;
    hd_st *st;
    hd_err err;
    hd_str file = make_file("{\"__metadata__\":{\"format\":\"pt\"},"
                            "\"b\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[6,14]},"
                            "\"a\":{\"dtype\":\"BF16\",\"shape\":[3],\"data_offsets\":[0,6]},"
                            "\"s\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[14,22]},"
                            "\"e\":{\"dtype\":\"U8\",\"shape\":[0,7],\"data_offsets\":[22,22]}}",
                            22);
    assert_int_equal(hd_st_from_memory(file, "f", 0, NULL, &st, &err), HD_OK);
    assert_int_equal(hd_st_count(st), 4);
    const hd_st_tensor *a = hd_st_at(st, 0), *b = hd_st_at(st, 1);
    assert_true(hd_str_eqz(a->name, "a") && a->dtype == HD_DTYPE_BF16 && a->rank == 1);
    assert_int_equal(a->shape[0], 3);
    assert_int_equal(a->data[5], 5);
    assert_true(hd_str_eqz(b->name, "b") && b->rank == 2 && b->shape[1] == 2 && b->offset == 6);
    assert_int_equal(b->n_bytes, 8);
    assert_int_equal(b->data[0], 6);
    assert_int_equal(hd_st_find(st, HD_STR("s"))->rank, 0);
    assert_int_equal(hd_st_find(st, HD_STR("e"))->n_bytes, 0);
    assert_null(hd_st_find(st, HD_STR("x")));
    assert_int_equal(hd_st_tensor_bytes(st), 22);
    hd_st_close(st);
    hd_st_close(NULL);
}

static void test_unaligned(void **state)
{
    (void)state;
    hd_st *st;
    /* The spaces make the data start at a multiple of 8. */
    hd_str file = make_file("{\"o\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
                            "\"x\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]}}      ",
                            5);
    assert_int_equal((file.len - 5) % 8, 0);
    assert_int_equal(hd_st_from_memory(file, "f", 0, NULL, &st, NULL), HD_OK);
    assert_int_equal(hd_st_unaligned(st), 1);
    hd_st_close(st);
}

typedef struct bad_case {
    const char *header;
    size_t n_data;
    hd_defect_code code;
    const char *text; /* of the error in strict mode */
} bad_case;

static const bad_case bad_cases[] = {
    {"", 0, HD_DEFECT_BAD_HEADER, "'f': header: bad json at byte 0: expected a value, got the end"},
    {"[]", 0, HD_DEFECT_BAD_HEADER, "'f': header is an array, expected an object"},
    {"{} x", 0, HD_DEFECT_BAD_HEADER,
     "'f': header: bad json at byte 3: expected nothing more after the value, got 'x'"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
     "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}",
     1, HD_DEFECT_DUPLICATE_NAME, "'f': header: bad json at byte 57: member 'a' occurs twice"},
    {"{\"a\":7}", 0, HD_DEFECT_BAD_HEADER,
     "'a': its entry is a number, expected an object, in 'f'"},
    {"{\"a\":{}}", 0, HD_DEFECT_BAD_DTYPE, "'a': it has no 'dtype' string, in 'f'"},
    {"{\"a\":{\"dtype\":\"F12\"}}", 0, HD_DEFECT_BAD_DTYPE,
     "'a': dtype 'F12' is not known, in 'f'"},
    {"{\"a\":{\"dtype\":\"U8\"}}", 0, HD_DEFECT_BAD_SHAPE, "'a': it has no 'shape' list, in 'f'"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1]}}", 0, HD_DEFECT_BAD_SHAPE,
     "'a': 'shape' has 9 sizes, expected at most 8, in 'f'"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[-1]}}", 0, HD_DEFECT_BAD_SHAPE,
     "'a': 'shape' holds '-1', expected a non-negative integer, in 'f'"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[\"1\"]}}", 0, HD_DEFECT_BAD_SHAPE,
     "'a': 'shape' holds '1', expected a non-negative integer, in 'f'"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1.0]}}", 0, HD_DEFECT_BAD_SHAPE,
     "'a': 'shape' holds '1.0', expected a non-negative integer, in 'f'"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[9223372036854775808]}}", 0, HD_DEFECT_OVERFLOW,
     "'a': 'shape' holds '9223372036854775808', at most 2^63 - 1 fits, in 'f'"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[3037000500,3037000500]}}", 0, HD_DEFECT_OVERFLOW,
     "'a': its sizes multiply beyond 2^63 - 1, in 'f'"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 0, HD_DEFECT_BAD_OFFSETS,
     "'a': it has no 'data_offsets' pair, in 'f'"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1,2]}}", 0, HD_DEFECT_BAD_OFFSETS,
     "'a': it has no 'data_offsets' pair, in 'f'"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[null,1]}}", 0, HD_DEFECT_BAD_OFFSETS,
     "'a': 'data_offsets' holds 'null', expected a non-negative integer, in 'f'"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1e0]}}", 0, HD_DEFECT_BAD_OFFSETS,
     "'a': 'data_offsets' holds '1e0', expected a non-negative integer, in 'f'"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,99999999999999999999]}}", 0,
     HD_DEFECT_OVERFLOW,
     "'a': 'data_offsets' holds '99999999999999999999', at most 2^63 - 1 fits, in 'f'"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[2,1]}}", 2, HD_DEFECT_BAD_OFFSETS,
     "'a': 'data_offsets' [2, 1] do not hold the 1 bytes of its shape, in 'f'"},
    {"{\"a\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[0,3]}}", 3, HD_DEFECT_BAD_OFFSETS,
     "'a': 'data_offsets' [0, 3] do not hold the 4 bytes of its shape, in 'f'"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[9],\"data_offsets\":[0,9]}}", 8, HD_DEFECT_SHORT_FILE,
     "'f': ends after 69 bytes, tensor 'a' needs 70"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],"
     "\"data_offsets\":[9223372036854775806,9223372036854775807]}}",
     1, HD_DEFECT_SHORT_FILE, "'f': ends after 98 bytes, tensor 'a' needs 9223372036854775904"},
};

static void test_bad_headers(void **state)
{
    (void)state;
    for (size_t i = 0; i < HD_COUNT(bad_cases); i++) {
        const bad_case *c = &bad_cases[i];
        hd_st *st;
        hd_err err = {0};
        hd_defects defects;
        hd_str file = make_file(c->header, c->n_data);
        assert_int_equal(hd_st_from_memory(file, "f", 0, NULL, &st, &err), HD_E_FORMAT);
        assert_string_equal(err.text, c->text);
        assert_null(st);
        hd_defects_init(&defects);
        assert_int_equal(hd_st_from_memory(file, "f", 0, &defects, &st, &err), HD_OK);
        assert_int_equal(defects.n, 1);
        assert_int_equal(defects.first->code, c->code);
        hd_st_close(st);
        hd_defects_deinit(&defects);
    }
}

static void test_bad_lengths(void **state)
{
    (void)state;
    hd_st *st;
    hd_err err;
    char bytes[10] = {0};
    assert_int_equal(hd_st_from_memory((hd_str){0}, "f", 0, NULL, &st, &err), HD_E_FORMAT);
    assert_string_equal(err.text, "'f': has 0 bytes, expected 8 of header length and a header");
    bytes[0] = 3;
    assert_int_equal(hd_st_from_memory((hd_str){bytes, 10}, "f", 0, NULL, &st, &err), HD_E_FORMAT);
    assert_string_equal(err.text, "'f': header of 3 bytes, expected at most the 2 that follow");
    memset(bytes, 0xFF, 8);
    assert_int_equal(hd_st_from_memory((hd_str){bytes, 10}, "f", 0, NULL, &st, &err), HD_E_FORMAT);
    assert_string_equal(err.text, "'f': header of 18446744073709551615 bytes, expected at most "
                                  "the 2 that follow");
}

/* A sparse file: only its length is real. */
static void test_header_limit(void **state)
{
    (void)state;
    const char *path = test_path(test_tmpdir(), "big.safetensors");
    uint64_t len = HD_ST_MAX_HEADER + 1;
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0 && write(fd, &len, 8) == 8 && ftruncate(fd, 8 + (off_t)len) == 0);
    close(fd);
    hd_st *st;
    hd_err err;
    assert_int_equal(hd_st_open(path, 0, NULL, &st, &err), HD_E_FORMAT);
    assert_string_equal(err.text, "'big.safetensors': header of 100000001 bytes, expected at most "
                                  "the 100000000 of the format's limit");
}

static void test_deep_header(void **state)
{
    (void)state;
    char header[300];
    hd_st *st;
    hd_err err;
    memset(header, '[', 299);
    header[299] = '\0';
    hd_str file = make_file(header, 0);
    assert_int_equal(hd_st_from_memory(file, "f", 0, NULL, &st, &err), HD_E_FORMAT);
    assert_string_equal(err.text, "'f': header: json at byte 128 is nested deeper than 128 levels");
}

/* Overlaps, gaps and trailing bytes: accepted by a loader, listed by inspect. */
static void test_layout(void **state)
{
    (void)state;
    hd_st *st;
    hd_defects d;
    hd_str file = make_file("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[1,5]},"
                            "\"b\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[3,6]},"
                            "\"c\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[3,4]},"
                            "\"d\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[8,10]}}",
                            13);
    assert_int_equal(hd_st_from_memory(file, "f", 0, NULL, &st, NULL), HD_OK);
    assert_int_equal(hd_st_find(st, HD_STR("b"))->data[0], 3);
    hd_st_close(st);
    hd_defects_init(&d);
    assert_int_equal(hd_st_from_memory(file, "f", 0, &d, &st, NULL), HD_OK);
    assert_int_equal(d.n, 3);
    const hd_defect *c = d.first, *b = c->next, *gap = b->next;
    assert_true(c->code == HD_DEFECT_OVERLAP && hd_str_eqz(c->where, "c"));
    assert_true(hd_str_eqz(c->detail, "shares 1 bytes with 'a', in 'f'"));
    assert_true(b->code == HD_DEFECT_OVERLAP && hd_str_eqz(b->where, "b"));
    assert_true(hd_str_eqz(b->detail, "shares 2 bytes with 'a', in 'f'"));
    assert_true(gap->code == HD_DEFECT_GAP && hd_str_eqz(gap->where, "f"));
    assert_true(hd_str_eqz(gap->detail, "6 bytes belong to no tensor")); /* 1 + 2 + 3 */
    hd_st_close(st);
    hd_defects_deinit(&d);
}

/* Lenient mode goes on behind a defect, and knows which tensor is bad. */
static void test_lenient(void **state)
{
    (void)state;
    hd_st *st;
    hd_defects d;
    hd_defects_init(&d);
    hd_str file = make_file("{\"a\":{\"dtype\":\"U9\",\"shape\":[4],\"data_offsets\":[0,4]},"
                            "\"b\":{\"dtype\":\"U8\",\"shape\":[\"\"],\"data_offsets\":[3,6]},"
                            "\"c\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[3,4]},"
                            "\"d\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[8,10]}}",
                            9);
    assert_int_equal(hd_st_from_memory(file, "f", 0, &d, &st, NULL), HD_OK);
    assert_int_equal(d.n, 3);
    assert_int_equal(d.first->code, HD_DEFECT_BAD_DTYPE);
    assert_int_equal(d.first->next->code, HD_DEFECT_BAD_SHAPE);
    assert_int_equal(d.last->code, HD_DEFECT_SHORT_FILE);
    assert_true(hd_st_find(st, HD_STR("a"))->is_bad && hd_st_find(st, HD_STR("b"))->is_bad);
    assert_int_equal(hd_st_find(st, HD_STR("c"))->data[0], 3);
    assert_null(hd_st_find(st, HD_STR("d"))->data);
    hd_st_close(st);
    hd_defects_deinit(&d);
}

static void test_headers_only(void **state)
{
    (void)state;
    hd_st *st;
    hd_defects d;
    hd_defects_init(&d);
    hd_str file = make_file("{\"a\":{\"dtype\":\"F32\",\"shape\":[1000,1000],"
                            "\"data_offsets\":[0,4000000]}}",
                            0);
    assert_int_equal(hd_st_from_memory(file, "f", 0, NULL, &st, NULL), HD_E_FORMAT);
    assert_int_equal(hd_st_from_memory(file, "f", HD_ST_HEADERS, &d, &st, NULL), HD_OK);
    assert_int_equal(d.n, 0);
    assert_null(hd_st_at(st, 0)->data);
    assert_int_equal(hd_st_tensor_bytes(st), 4000000);
    hd_st_close(st);
    hd_defects_deinit(&d);
}

static void test_no_file(void **state)
{
    (void)state;
    hd_st *st;
    hd_err err;
    const char *dir = test_tmpdir();
    assert_int_equal(hd_st_open(test_path(dir, "x"), 0, NULL, &st, &err), HD_E_NOTFOUND);
    assert_int_equal(hd_st_open(dir, 0, NULL, &st, &err), HD_E_IO);
    assert_int_equal(mkfifo(test_path(dir, "fifo"), 0600), 0); /* nobody writes: must not wait */
    assert_int_equal(hd_st_open(test_path(dir, "fifo"), 0, NULL, &st, &err), HD_E_IO);
    assert_int_equal(chdir(dir), 0); /* a path without a slash */
    test_write("short", HD_STR("1234567"));
    assert_int_equal(hd_st_open("short", 0, NULL, &st, &err), HD_E_FORMAT);
    assert_memory_equal(err.text, "'short': has 7", 14);
}

static void test_no_memory(void **state)
{
    (void)state;
    hd_st *st;
    hd_err err;
    /* Allocations: the object, the tree, the tensors, the name of the tensor: one of 5,000 bytes
     * does not fit into the block that holds the tensors. */
    char header[6000], name[5001];
    memset(name, 'n', 5000);
    name[5000] = '\0';
    snprintf(header, sizeof header,
             "{\"%s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", name);
    static unsigned char bytes[6100];
    size_t len = strlen(header);
    bytes[0] = (unsigned char)len, bytes[1] = (unsigned char)(len >> 8);
    memcpy(bytes + 8, header, len);
    hd_str file = {(const char *)bytes, 8 + len + 1};
    static const char *const texts[] = {
        "no memory to open 'f'",
        "'f': header: json needs more than the",
        "no memory for the 1 tensors of 'f'",
        "no memory for the names of 'f'",
    };
    for (long n = 0; n < 4; n++) {
        hd_mem_fail_after(n);
        hd_status status = hd_st_from_memory(file, "f", 0, NULL, &st, &err);
        hd_mem_fail_after(-1);
        assert_int_equal(status, HD_E_NOMEM);
        assert_memory_equal(err.text, texts[n], strlen(texts[n]));
    }
    assert_int_equal(hd_st_from_memory(file, "f", 0, NULL, &st, &err), HD_OK);
    hd_st_close(st);
}

static void test_defect_list_is_bounded(void **state)
{
    (void)state;
    hd_defects d;
    hd_defects_init(&d);
    for (int i = 0; i < 20001; i++)
        assert_int_equal(hd_defect_report(&d, HD_DEFECT_GAP, HD_STR("w"), NULL, "%d", i), HD_OK);
    assert_int_equal(d.n, 20001);
    assert_int_equal(d.n_kept, 20000);
    assert_string_equal(hd_defect_code_name(d.last->code), "gap");
    hd_defects_deinit(&d);
    hd_defects_init(&d);
    hd_mem_fail_after(0);
    assert_int_equal(hd_defect_report(&d, HD_DEFECT_GAP, HD_STR("w"), NULL, "x"), HD_OK);
    hd_mem_fail_after(-1);
    assert_true(d.n == 1 && d.n_kept == 0);
    hd_defects_deinit(&d);
}

/* ---- writing ---- */

static void test_write_and_read(void **state)
{
    (void)state;
    const char *path = test_path(test_tmpdir(), "w.safetensors");
    const float f[4] = {1.0f, -2.0f, 3.5f, 0.0f};
    const int32_t one = 7;
    hd_err err;
    hd_st_writer *w = hd_st_writer_create();
    assert_int_equal(hd_st_writer_add(w, HD_STR("x\"\n"), HD_DTYPE_F32, 2, (int64_t[]){2, 2}, &err),
                     HD_OK);
    assert_int_equal(hd_st_writer_add(w, HD_STR("none"), HD_DTYPE_I64, 1, (int64_t[]){0}, &err),
                     HD_OK);
    assert_int_equal(hd_st_writer_add(w, HD_STR("i"), HD_DTYPE_I32, 0, NULL, &err), HD_OK);
    assert_int_equal(hd_st_writer_begin(w, path, 0, &err), HD_OK);
    assert_int_equal(hd_st_writer_put(w, 2, 0, &one, 4, &err), HD_OK);
    assert_int_equal(hd_st_writer_put(w, 0, 8, f + 2, 8, &err), HD_OK);
    assert_int_equal(hd_st_writer_put(w, 0, 0, f, 8, &err), HD_OK);
    assert_int_equal(access(path, F_OK), -1); /* not before it is whole */
    assert_int_equal(hd_st_writer_finish(w, &err), HD_OK);
    hd_st_writer_destroy(w);

    hd_st *st;
    hd_defects d;
    hd_defects_init(&d);
    assert_int_equal(hd_st_open(path, 0, &d, &st, &err), HD_OK);
    assert_int_equal(d.n, 0);
    assert_int_equal(hd_st_count(st), 3);
    assert_memory_equal(hd_st_find(st, HD_STR("x\"\n"))->data, f, sizeof f);
    assert_memory_equal(hd_st_find(st, HD_STR("i"))->data, &one, 4);
    assert_int_equal((uintptr_t)hd_st_find(st, HD_STR("x\"\n"))->data % 64, 0);
    hd_st_close(st);
    hd_defects_deinit(&d);
}

static void test_write_bad_declarations(void **state)
{
    (void)state;
    hd_err err;
    hd_st_writer *w = hd_st_writer_create();
    int64_t big[3] = {INT64_MAX / 4, 4, 1};
    assert_int_equal(hd_st_writer_add(w, HD_STR("a"), HD_DTYPE_U8, 9, big, &err), HD_E_ARG);
    assert_string_equal(err.text, "tensor 'a' has rank 9, expected 0 to 8");
    assert_int_equal(hd_st_writer_add(w, HD_STR("a"), HD_DTYPE_U8, 1, (int64_t[]){-2}, &err),
                     HD_E_ARG);
    assert_string_equal(err.text, "tensor 'a' has size -2, expected none below 0");
    assert_int_equal(hd_st_writer_add(w, HD_STR("a"), HD_DTYPE_F32, 2, big, &err), HD_E_LIMIT);
    assert_string_equal(err.text, "tensor 'a' has more than 2^63 - 1 bytes");
    assert_int_equal(hd_st_writer_add(w, HD_STR("a"), HD_DTYPE_U8, 2, big, &err), HD_E_LIMIT);
    assert_string_equal(err.text, "tensor 'a' makes the file longer than 2^63 - 1 bytes");
    hd_mem_fail_after(0);
    assert_int_equal(hd_st_writer_add(w, HD_STR("a"), HD_DTYPE_U8, 1, (int64_t[]){2}, &err),
                     HD_E_NOMEM);
    hd_mem_fail_after(1);
    assert_int_equal(hd_st_writer_add(w, HD_STR("a"), HD_DTYPE_U8, 1, (int64_t[]){2}, &err),
                     HD_E_NOMEM);
    hd_mem_fail_after(-1);
    assert_int_equal(hd_st_writer_begin(w, "/nowhere", 0, &err), HD_E_NOMEM);
    hd_st_writer_destroy(w);
}

static void test_write_failures(void **state)
{
    (void)state;
    hd_err err;
    const char *dir = test_tmpdir();
    hd_st_writer *w = hd_st_writer_create();
    assert_int_equal(hd_st_writer_begin(w, test_path(dir, "no/x"), 0, &err), HD_E_IO);
    hd_st_writer_destroy(w);
    w = hd_st_writer_create();
    static char longest[5000];
    memset(longest, 'p', sizeof longest - 1);
    assert_int_equal(hd_st_writer_begin(w, longest, 0, &err), HD_E_LIMIT);
    hd_st_writer_destroy(w);

    w = hd_st_writer_create();
    assert_int_equal(hd_st_writer_add(w, HD_STR("a"), HD_DTYPE_U8, 1, (int64_t[]){4}, &err), HD_OK);
    const char *path = test_path(dir, "half.safetensors");
    assert_int_equal(hd_st_writer_begin(w, path, 0, &err), HD_OK);
    assert_int_equal(hd_st_writer_put(w, 0, 2, "abc", 3, &err), HD_E_ARG);
    assert_string_equal(err.text, "3 bytes at 2 of tensor 0 lie outside of it");
    assert_int_equal(hd_st_writer_put(w, 1, 0, "abc", 0, &err), HD_E_ARG);
    assert_int_equal(hd_st_writer_put(w, 0, 0, "abc", 3, &err), HD_OK);
    assert_int_equal(hd_st_writer_finish(w, &err), HD_E_ARG);
    assert_non_null(strstr(err.text, "was given 3 bytes of data, expected 4"));
    hd_st_writer_destroy(w);
    assert_int_equal(rmdir(dir), 0); /* nothing was left behind */
    assert_int_equal(mkdir(dir, 0700), 0);
}

/* Let no file of this program grow beyond n bytes. */
static void limit_files(rlim_t n)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = n < limit.rlim_max ? n : limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* The disk fills up while the length, the header, the room for data, or data is written. */
static void test_write_no_room(void **state)
{
    (void)state;
    static const rlim_t rooms[] = {0, 8, 1000, 8192};
    hd_err err;
    const char *dir = test_tmpdir();
    signal(SIGXFSZ, SIG_IGN);
    for (size_t i = 0; i < HD_COUNT(rooms); i++) {
        hd_st_writer *w = hd_st_writer_create();
        assert_int_equal(hd_st_writer_add(w, HD_STR("a"), HD_DTYPE_U8, 1, (int64_t[]){4096}, &err),
                         HD_OK);
        limit_files(rooms[i]);
        hd_status status = hd_st_writer_begin(w, test_path(dir, "f"), 0, &err);
        limit_files(0);
        if (rooms[i] == 8192) {
            assert_int_equal(status, HD_OK);
            status = hd_st_writer_put(w, 0, 0, "abc", 3, &err);
        }
        limit_files(RLIM_INFINITY);
        assert_int_equal(status, HD_E_IO);
        assert_non_null(strstr(err.text, rooms[i] == 1000 ? "cannot make '" : "cannot write '"));
        hd_st_writer_destroy(w);
    }
    hd_st_writer_destroy(NULL);
    signal(SIGXFSZ, SIG_DFL);
}

/* The target is a directory: the rename fails, and the file beside it goes. */
static void test_write_cannot_rename(void **state)
{
    (void)state;
    hd_err err;
    const char *dir = test_tmpdir(), *path = test_path(dir, "target");
    assert_int_equal(mkdir(path, 0700), 0);
    hd_st_writer *w = hd_st_writer_create();
    assert_int_equal(hd_st_writer_begin(w, path, 0, &err), HD_OK);
    assert_int_equal(hd_st_writer_finish(w, &err), HD_E_IO);
    assert_non_null(strstr(err.text, "cannot finish"));
    hd_st_writer_destroy(w);
    assert_int_equal(rmdir(path), 0);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(mkdir(dir, 0700), 0);
}

static void test_write_sparse_and_headers(void **state)
{
    (void)state;
    hd_err err;
    const char *dir = test_tmpdir();
    const int64_t huge[] = {1ll << 36};
    for (unsigned flags = HD_ST_HEADERS; flags <= HD_ST_SPARSE; flags++) {
        const char *path = test_path(dir, "s.safetensors");
        hd_st_writer *w = hd_st_writer_create();
        hd_st *st;
        assert_int_equal(hd_st_writer_add(w, HD_STR("z"), HD_DTYPE_U8, 1, huge, &err), HD_OK);
        assert_int_equal(hd_st_writer_begin(w, path, flags, &err), HD_OK);
        assert_int_equal(hd_st_writer_finish(w, &err), HD_OK);
        hd_st_writer_destroy(w);
        assert_int_equal(hd_st_open(path, flags & HD_ST_HEADERS, NULL, &st, &err), HD_OK);
        const hd_st_tensor *z = hd_st_at(st, 0);
        if (flags == HD_ST_SPARSE)
            assert_int_equal(z->data[huge[0] - 1], 0);
        else
            assert_null(z->data);
        hd_st_close(st);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_unaligned),
        cmocka_unit_test(test_bad_headers),
        cmocka_unit_test(test_bad_lengths),
        cmocka_unit_test(test_header_limit),
        cmocka_unit_test(test_deep_header),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_lenient),
        cmocka_unit_test(test_headers_only),
        cmocka_unit_test(test_no_file),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_defect_list_is_bounded),
        cmocka_unit_test(test_write_and_read),
        cmocka_unit_test(test_write_bad_declarations),
        cmocka_unit_test(test_write_failures),
        cmocka_unit_test(test_write_no_room),
        cmocka_unit_test(test_write_cannot_rename),
        cmocka_unit_test(test_write_sparse_and_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
