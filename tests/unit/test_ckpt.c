/* Checkpoint directories that are well: every layout, names, and what a checkpoint settles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/names.h"
#include "support/tiny_ckpt.h"
#include "support/tmpdir.h"

static hd_ckpt *open_or_fail(const char *dir, unsigned flags)
{
    hd_ckpt *ck;
    hd_err err = {0};
    if (hd_ckpt_open(dir, flags, NULL, &ck, &err) != HD_OK) fail_msg("%s", err.text);
    return ck;
}

static hd_config load(const char *dir)
{
    hd_config c;
    assert_int_equal(hd_config_load(dir, &c, NULL), HD_OK);
    return c;
}

static void test_index_and_shards(void **state)
{
    (void)state;
    const char *dir = test_tmpdir();
    test_ckpt_write(dir, TEST_TINY, TEST_TINY);
    hd_ckpt *ck = open_or_fail(dir, 0);
    assert_true(hd_ckpt_has_headers(ck));
    assert_int_equal(hd_ckpt_n_shards(ck), 2);
    assert_string_equal(hd_ckpt_shard_name(ck, 1), TEST_SHARD_2);
    const hd_ckpt_entry *e = hd_ckpt_find(ck, HD_STR("layers.2.attn.compressor.ape"));
    assert_int_equal(e->shard, 1);
    assert_int_equal(e->tensor->shape[0], 128);
    assert_int_equal(e->tensor->shape[1], 512);
    assert_int_equal(e->tensor->data[1], (e->tensor->data[0] + 7) % 256);
    assert_ptr_equal(hd_ckpt_at(ck, hd_ckpt_index(ck, e)), e);
    assert_non_null(hd_st_find(hd_ckpt_shard(ck, 1), e->name));
    assert_null(hd_ckpt_find(ck, HD_STR("layers.2.attn.compressor.apf")));
    hd_ckpt_close(ck);
    hd_ckpt_close(NULL);
}

/* Everything that the configuration asks for is there, and nothing else. */
static void check_whole(const char *dir, size_t n_shards)
{
    hd_config c = load(dir);
    hd_group_total totals[HD_GROUP_COUNT];
    hd_err err = {0};
    hd_ckpt *ck = open_or_fail(dir, 0);
    assert_int_equal(hd_ckpt_n_shards(ck), n_shards);
    assert_int_equal(hd_names_resolve(ck, &c, NULL, &err), HD_OK);
    if (hd_names_check(ck, &c, totals, NULL, &err) != HD_OK) fail_msg("%s", err.text);
    size_t n = 0;
    for (int g = 0; g < HD_GROUP_COUNT; g++) n += totals[g].n_tensors;
    assert_int_equal(n, hd_ckpt_count(ck));
    assert_int_equal(totals[HD_GROUP_UNKNOWN].n_tensors, 0);
    hd_ckpt_close(ck);
}

static void test_layouts(void **state)
{
    (void)state;
    const char *dir = test_tmpdir();
    for (test_release r = TEST_TINY; r <= TEST_TINY_BARE; r++) {
        test_ckpt_write(dir, r, r);
        check_whole(dir, 2);
        assert_int_equal(unlink(test_path(dir, TEST_INDEX)), 0);
        check_whole(dir, 2);
    }
}

/* One file: the tensors of both shards, written again. */
static void test_single_file(void **state)
{
    (void)state;
    const char *dir = test_tmpdir();
    test_ckpt_write(dir, TEST_TINY, TEST_TINY);
    hd_ckpt *ck = open_or_fail(dir, 0);
    hd_st_writer *w = hd_st_writer_create();
    for (size_t i = 0; i < hd_ckpt_count(ck); i++) {
        const hd_st_tensor *t = hd_ckpt_at(ck, i)->tensor;
        assert_int_equal(hd_st_writer_add(w, t->name, t->dtype, t->rank, t->shape, NULL), HD_OK);
    }
    assert_int_equal(hd_st_writer_begin(w, test_path(dir, "model.safetensors"), 0, NULL), HD_OK);
    for (size_t i = 0; i < hd_ckpt_count(ck); i++) {
        const hd_st_tensor *t = hd_ckpt_at(ck, i)->tensor;
        assert_int_equal(hd_st_writer_put(w, i, 0, t->data, t->n_bytes, NULL), HD_OK);
    }
    assert_int_equal(hd_st_writer_finish(w, NULL), HD_OK);
    hd_st_writer_destroy(w);
    hd_ckpt_close(ck);
    check_whole(dir, 2); /* the index does not name it */

    /* Without index and shards it is the checkpoint; with the shards, everything is there twice. */
    hd_err err;
    assert_int_equal(unlink(test_path(dir, TEST_INDEX)), 0);
    assert_int_equal(hd_ckpt_open(dir, 0, NULL, &ck, &err), HD_E_FORMAT);
    assert_non_null(strstr(err.text, "': stored in '" TEST_SHARD_1 "' and in 'model.safetensors'"));
    hd_defects d;
    hd_defects_init(&d);
    assert_int_equal(hd_ckpt_open(dir, 0, &d, &ck, NULL), HD_OK);
    assert_int_equal(d.n, hd_ckpt_count(ck));
    assert_int_equal(d.last->code, HD_DEFECT_DUPLICATE_NAME);
    hd_ckpt_close(ck);
    hd_defects_deinit(&d);
    assert_int_equal(unlink(test_path(dir, TEST_SHARD_1)), 0);
    assert_int_equal(unlink(test_path(dir, TEST_SHARD_2)), 0);
    check_whole(dir, 1);
}

static void test_prefix(void **state)
{
    (void)state;
    const char *dir = test_tmpdir();
    test_ckpt_write(dir, TEST_TINY_MTP, TEST_TINY_MTP);
    static const char *const names[] = {"\"embed.weight\"", "\"mtp.0.e_proj.weight\"",
                                        "\"layers.0.ffn.experts.0.w1.weight\""};
    for (size_t i = 0; i < HD_COUNT(names); i++) {
        char longer[80];
        snprintf(longer, sizeof longer, "\"model.%s", names[i] + 1);
        test_edit(test_path(dir, TEST_INDEX), names[i], longer);
        test_edit_header(test_path(dir, i == 1 ? TEST_SHARD_2 : TEST_SHARD_1), names[i], longer);
    }
    check_whole(dir, 2);
    hd_ckpt *ck = open_or_fail(dir, 0);
    assert_true(hd_str_eqz(hd_names_find(ck, HD_STR("embed.weight"))->name, "model.embed.weight"));
    static char too_long[HD_MAX_NAME + 1];
    memset(too_long, 'n', HD_MAX_NAME);
    assert_null(hd_names_find(ck, hd_str_from(too_long)));
    hd_ckpt_close(ck);
}

/* ---- headers only ---- */

static void test_headers(void **state)
{
    (void)state;
    const char *dir = test_tmpdir();
    hd_ckpt *ck;
    test_ckpt_write(dir, TEST_TINY, TEST_TINY);
    test_truncate(test_path(dir, TEST_SHARD_2), -700000); /* behind its header */
    assert_int_equal(hd_ckpt_open(dir, 0, NULL, &ck, NULL), HD_E_FORMAT);
    ck = open_or_fail(dir, HD_ST_HEADERS);
    assert_true(hd_ckpt_has_headers(ck));
    const hd_ckpt_entry *e = hd_ckpt_find(ck, HD_STR("layers.2.attn.attn_sink"));
    assert_int_equal(e->tensor->shape[0], 2);
    assert_null(e->tensor->data);
    hd_ckpt_close(ck);
}

static void test_index_alone(void **state)
{
    (void)state;
    const char *dir = test_tmpdir();
    hd_ckpt *ck;
    hd_group_total totals[HD_GROUP_COUNT];
    test_ckpt_write(dir, TEST_TINY, TEST_TINY);
    assert_int_equal(unlink(test_path(dir, TEST_SHARD_1)), 0);
    /* One of the shards is there: then the other one is missing. */
    assert_int_equal(hd_ckpt_open(dir, HD_ST_HEADERS, NULL, &ck, NULL), HD_E_NOTFOUND);
    assert_int_equal(unlink(test_path(dir, TEST_SHARD_2)), 0);
    assert_int_equal(hd_ckpt_open(dir, 0, NULL, &ck, NULL), HD_E_NOTFOUND);
    ck = open_or_fail(dir, HD_ST_HEADERS);
    assert_false(hd_ckpt_has_headers(ck));
    assert_null(hd_ckpt_find(ck, HD_STR("embed.weight"))->tensor);
    assert_null(hd_ckpt_shard(ck, 0));
    hd_config c = load(dir);
    assert_int_equal(hd_names_resolve(ck, &c, NULL, NULL), HD_OK);
    assert_int_equal(hd_names_check(ck, &c, totals, NULL, NULL), HD_OK);
    assert_int_equal(totals[HD_GROUP_EMBED].n_tensors, 1);
    assert_int_equal(totals[HD_GROUP_EMBED].n_bytes, 40 * 32 * 2);
    assert_int_equal(c.draft, HD_DRAFT_DSPARK);
    hd_ckpt_close(ck);
}

/* ---- what the checkpoint settles ---- */

static hd_config resolve(test_release tensors, test_release config)
{
    static const char *dir;
    hd_err err = {0};
    if (!dir) dir = test_tmpdir();
    test_ckpt_write(dir, tensors, config);
    hd_config c = load(dir);
    hd_ckpt *ck = open_or_fail(dir, 0);
    if (hd_names_resolve(ck, &c, NULL, &err) != HD_OK) fail_msg("%s", err.text);
    hd_ckpt_close(ck);
    return c;
}

static void test_resolve(void **state)
{
    (void)state;
    hd_config c = resolve(TEST_TINY_BARE, TEST_TINY_BARE);
    assert_int_equal(c.expert_dtype, HD_EXPERT_FP4); /* not stated, stored as I8 */
    assert_int_equal(c.draft, HD_DRAFT_NONE);
    c = resolve(TEST_TINY_MTP, TEST_TINY_BARE); /* says neither FP8 nor MTP */
    assert_int_equal(c.expert_dtype, HD_EXPERT_FP8);
    assert_int_equal(c.draft, HD_DRAFT_MTP);
    assert_int_equal(c.n_stages, 1);
    c = resolve(TEST_TINY_BARE, TEST_TINY); /* announces DSpark, which is not stored */
    assert_int_equal(c.draft, HD_DRAFT_NONE);
    assert_int_equal(c.n_stages, 0);
    c = resolve(TEST_TINY, TEST_TINY);
    assert_int_equal(c.draft, HD_DRAFT_DSPARK);
    assert_int_equal(c.n_stages, 2);
    c = resolve(TEST_TINY_MTP, TEST_TINY); /* says FP4 and DSpark */
    assert_int_equal(c.expert_dtype, HD_EXPERT_FP8);
    assert_int_equal(c.draft, HD_DRAFT_MTP);
}

/* Names that nearly have the form "mtp.N." announce no block; more blocks than hadal knows do not
 * count either. */
static void test_stages(void **state)
{
    (void)state;
    static const char *const names[] = {"mtp.x", "mtp.", "mtp.7", "mtp.8.x", "mtp.99999999999.x"};
    const char *dir = test_tmpdir();
    test_ckpt_write(dir, TEST_TINY_BARE, TEST_TINY);
    hd_config c = load(dir);
    hd_defects d;
    hd_defects_init(&d);
    for (size_t i = 0; i < HD_COUNT(names); i++) {
        char line[80];
        snprintf(line, sizeof line, "{\n\"%s\": \"" TEST_SHARD_1 "\",", names[i]);
        test_edit(test_path(dir, TEST_INDEX), "{\n", line);
    }
    hd_ckpt *ck;
    assert_int_equal(hd_ckpt_open(dir, 0, &d, &ck, NULL), HD_OK);
    assert_int_equal(hd_names_resolve(ck, &c, NULL, NULL), HD_OK);
    assert_int_equal(c.n_stages, 0);
    hd_ckpt_close(ck);
    hd_defects_deinit(&d);
}

/* A stage more than the list of ratios has zeros for. */
static void test_more_stages_than_announced(void **state)
{
    (void)state;
    const char *dir = test_tmpdir();
    test_ckpt_write(dir, TEST_TINY, TEST_TINY);
    test_edit(test_path(dir, "config.json"), "[0, 4, 128, 0, 0]", "[0, 4, 128, 0]");
    assert_int_equal(load(dir).n_stages, 1);
    check_whole(dir, 2);
}

/* ---- failures of the machine ---- */

static hd_status open_and_check(const char *dir, hd_err *err)
{
    hd_config c;
    hd_ckpt *ck;
    HD_TRY(hd_config_load(dir, &c, err));
    HD_TRY(hd_ckpt_open(dir, 0, NULL, &ck, err));
    hd_status status = hd_names_resolve(ck, &c, NULL, err);
    if (status == HD_OK) status = hd_names_check(ck, &c, NULL, NULL, err);
    hd_ckpt_close(ck);
    return status;
}

/* Let every allocation fail in turn: always the same status, never a crash or a leak. */
static void test_no_memory(void **state)
{
    (void)state;
    const char *dir = test_tmpdir();
    test_ckpt_write(dir, TEST_TINY, TEST_TINY);
    for (int with_index = 1; with_index >= 0; with_index--) {
        hd_status status = HD_E_NOMEM;
        long n = 0;
        for (; status != HD_OK && n < 1000; n++) {
            hd_err err = {0};
            hd_mem_fail_after(n);
            status = open_and_check(dir, &err);
            hd_mem_fail_after(-1);
            if (status != HD_OK) assert_int_equal(status, HD_E_NOMEM);
        }
        assert_in_range(n, 20, 999);
        if (with_index) assert_int_equal(unlink(test_path(dir, TEST_INDEX)), 0);
    }
}

static void test_no_directory(void **state)
{
    (void)state;
    hd_ckpt *ck;
    hd_err err;
    const char *dir = test_tmpdir();
    assert_int_equal(hd_ckpt_open(test_path(dir, "none"), 0, NULL, &ck, &err), HD_E_NOTFOUND);
    assert_int_equal(hd_ckpt_open(dir, 0, NULL, &ck, &err), HD_E_NOTFOUND);
    assert_non_null(strstr(err.text, "neither this file nor any 'model*.safetensors' is there"));
    test_write(test_path(dir, "file"), HD_STR("x"));
    assert_int_equal(hd_ckpt_open(test_path(dir, "file"), 0, NULL, &ck, &err), HD_E_IO);
    hd_defects d;
    hd_defects_init(&d);
    assert_int_equal(hd_ckpt_open(test_path(dir, "file"), 0, &d, &ck, &err), HD_E_IO);
    assert_int_equal(d.first->code, HD_DEFECT_UNREADABLE_FILE);
    hd_defects_deinit(&d);
    static char longest[5000];
    memset(longest, 'p', sizeof longest - 1);
    assert_int_equal(hd_ckpt_open(longest, 0, NULL, &ck, &err), HD_E_LIMIT);
}

/* A path to which the index's name can be appended, but not that of a shard. */
static void test_long_path(void **state)
{
    (void)state;
    const char *dir = test_tmpdir();
    char path[4096];
    hd_ckpt *ck;
    hd_err err;
    test_ckpt_write(dir, TEST_TINY, TEST_TINY);
    int n = snprintf(path, sizeof path, "%s", dir);
    while (n + 2 + (int)strlen("/" TEST_INDEX) < (int)sizeof path)
        n += snprintf(path + n, sizeof path - (size_t)n, "/.");
    assert_int_equal(hd_ckpt_open(path, 0, NULL, &ck, &err), HD_E_LIMIT);
    assert_non_null(strstr(err.text, TEST_SHARD_1));
}

/* A sparse file: only its length is real. */
static void test_long_index(void **state)
{
    (void)state;
    const char *dir = test_tmpdir();
    hd_ckpt *ck;
    hd_err err;
    test_write(test_path(dir, TEST_INDEX), HD_STR("{}"));
    test_truncate(test_path(dir, TEST_INDEX), (256 << 20) + 1);
    assert_int_equal(hd_ckpt_open(dir, 0, NULL, &ck, &err), HD_E_FORMAT);
    assert_non_null(strstr(err.text, "'" TEST_INDEX "': longer than 256 MiB"));
}

static void test_too_many_files(void **state)
{
    (void)state;
    const char *dir = test_tmpdir();
    hd_ckpt *ck;
    hd_err err;
    for (int i = 0; i <= 4096; i++) {
        char name[40];
        snprintf(name, sizeof name, "model%d.safetensors", i);
        test_write(test_path(dir, name), HD_STR(""));
    }
    assert_int_equal(hd_ckpt_open(dir, 0, NULL, &ck, &err), HD_E_LIMIT);
    assert_non_null(strstr(err.text, "more than 4096 files 'model*.safetensors'"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_index_and_shards),
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_single_file),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_headers),
        cmocka_unit_test(test_index_alone),
        cmocka_unit_test(test_resolve),
        cmocka_unit_test(test_stages),
        cmocka_unit_test(test_more_stages_than_announced),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_no_directory),
        cmocka_unit_test(test_long_path),
        cmocka_unit_test(test_long_index),
        cmocka_unit_test(test_too_many_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
