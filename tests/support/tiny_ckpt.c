#include "support/tiny_ckpt.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "model/names.h"
#include "support/tmpdir.h"

#define MAX_BYTES ((size_t)16 << 20)

static const char *const shard_names[2] = {TEST_SHARD_1, TEST_SHARD_2};

static int shard_of(const hd_tensor_spec *s)
{
    return s->block >= 2;
}

/* Bytes that differ from tensor to tensor. */
static void put_pattern(hd_st_writer *w, size_t i, uint64_t n)
{
    unsigned char *data = hd_mem_calloc((size_t)n + 1, 1);
    for (uint64_t k = 0; k < n; k++) data[k] = (unsigned char)(k * 7 + i);
    HD_ASSERT(hd_st_writer_put(w, i, 0, data, (size_t)n, NULL) == HD_OK);
    hd_mem_free(data);
}

static void write_shard(const char *dir, const hd_config *c, int which)
{
    hd_names_iter it;
    hd_tensor_spec s;
    size_t i = 0;
    hd_st_writer *w = hd_st_writer_create();
    for (hd_names_begin(&it, c); hd_names_next(&it, &s);)
        if (shard_of(&s) == which)
            HD_ASSERT(hd_st_writer_add(w, (hd_str){s.name, (size_t)s.name_len}, s.dtype, s.rank,
                                       s.shape, NULL) == HD_OK);
    HD_ASSERT(hd_st_writer_begin(w, test_path(dir, shard_names[which]), 0, NULL) == HD_OK);
    for (hd_names_begin(&it, c); hd_names_next(&it, &s);)
        if (shard_of(&s) == which) put_pattern(w, i++, hd_names_bytes(&s));
    HD_ASSERT(hd_st_writer_finish(w, NULL) == HD_OK);
    hd_st_writer_destroy(w);
}

static void write_index(const char *dir, const hd_config *c)
{
    hd_names_iter it;
    hd_tensor_spec s;
    hd_buf text;
    uint64_t bytes = 0;
    hd_buf_init(&text, MAX_BYTES);
    for (hd_names_begin(&it, c); hd_names_next(&it, &s);) bytes += hd_names_bytes(&s);
    hd_buf_addf(&text, "{\"metadata\": {\"total_size\": %" PRIu64 "}, \"weight_map\": {\n", bytes);
    for (hd_names_begin(&it, c); hd_names_next(&it, &s);)
        hd_buf_addf(&text, "\"%s\": \"%s\",\n", s.name, shard_names[shard_of(&s)]);
    text.len -= 2; /* the last comma */
    hd_buf_addz(&text, "}}\n");
    test_write(test_path(dir, TEST_INDEX), hd_buf_str(&text));
    hd_buf_deinit(&text);
}

void test_ckpt_write(const char *dir, test_release tensors, test_release config)
{
    static test_config text;
    hd_config c;
    test_config_make(&text, tensors);
    HD_ASSERT(hd_config_parse(hd_str_from(text.text), &c, NULL) == HD_OK);
    for (int which = 0; which < 2; which++) write_shard(dir, &c, which);
    write_index(dir, &c);
    test_config_make(&text, config);
    test_write(test_path(dir, "config.json"), hd_str_from(text.text));
}

/* ---- damage ---- */

/* head + (text with the first `find` replaced) + tail to a file. */
static void write_edited(const char *path, hd_buf *out, hd_str text, const char *find,
                         const char *replace)
{
    hd_str needle = hd_str_from(find);
    size_t at = hd_str_find(text, needle, 0);
    HD_ASSERT(at < text.len);
    hd_buf_add(out, text.ptr, at);
    hd_buf_addz(out, replace);
    hd_buf_add_str(out, hd_str_skip(text, at + needle.len));
    test_write(path, hd_buf_str(out));
    hd_buf_deinit(out);
}

void test_edit(const char *path, const char *find, const char *replace)
{
    hd_buf out;
    hd_buf_init(&out, MAX_BYTES);
    write_edited(path, &out, test_read(path), find, replace);
}

void test_edit_header(const char *path, const char *find, const char *replace)
{
    hd_buf out;
    hd_str file = test_read(path);
    uint64_t length;
    memcpy(&length, file.ptr, 8);
    HD_ASSERT(hd_str_find((hd_str){file.ptr, (size_t)length + 8}, hd_str_from(find), 8) <
              length + 8);
    length += strlen(replace) - strlen(find);
    hd_buf_init(&out, MAX_BYTES);
    hd_buf_add(&out, &length, 8);
    write_edited(path, &out, hd_str_skip(file, 8), find, replace);
}

void test_set_header_length(const char *path, uint64_t length)
{
    hd_buf out;
    hd_str file = test_read(path);
    hd_buf_init(&out, MAX_BYTES);
    hd_buf_add(&out, &length, 8);
    hd_buf_add_str(&out, hd_str_skip(file, 8));
    test_write(path, hd_buf_str(&out));
    hd_buf_deinit(&out);
}

void test_truncate(const char *path, int64_t n)
{
    struct stat st;
    HD_ASSERT(stat(path, &st) == 0);
    HD_ASSERT(truncate(path, n < 0 ? st.st_size + n : n) == 0);
}
