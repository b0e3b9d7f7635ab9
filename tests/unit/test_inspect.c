/* hadal inspect: the report as JSON and as text, and the command itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/mem.h"
#include "model/inspect.h"
#include "support/tiny_ckpt.h"
#include "support/tmpdir.h"

static hd_buf out;

static void inspect(const char *dir, unsigned flags, size_t max_defects, bool is_json)
{
    hd_inspect in;
    hd_err err = {0};
    if (hd_inspect_init(&in, dir, flags, &err) != HD_OK) fail_msg("%s", err.text);
    if (out.max == 0) hd_buf_init(&out, (size_t)1 << 24);
    hd_buf_reset(&out);
    if (is_json)
        hd_inspect_json(&in, &out);
    else
        hd_inspect_text(&in, max_defects, &out);
    assert_int_equal(hd_buf_status(&out, "report", NULL), HD_OK);
    hd_inspect_deinit(&in);
}

static void assert_has(const char *text)
{
    if (!strstr(out.ptr, text)) fail_msg("no '%s' in:\n%s", text, out.ptr);
}

/* The sizes of groups were added up by hand from the tiny model's shapes: D 32, V 40, 3 layers. */
static void test_json(void **state)
{
    (void)state;
    const char *dir = test_tmpdir();
    test_ckpt_write(dir, TEST_TINY, TEST_TINY);
    inspect(dir, 0, 0, true);
    hd_arena arena;
    const hd_json *root;
    hd_arena_init(&arena, 1 << 20);
    assert_int_equal(hd_json_parse(hd_buf_str(&out), NULL, &arena, &root, NULL), HD_OK);
    assert_int_equal(root->n, 6);
    hd_arena_deinit(&arena);
    assert_has("{\"variant\": \"V4-custom\", \"layers\": {\"window\": 1, \"csa\": 1, \"hca\": 1}, "
               "\"groups\": [{\"name\": \"embed\", \"tensors\": 1, \"bytes\": 2560}, "
               "{\"name\": \"head\", \"tensors\": 1, \"bytes\": 2560}, "
               /* norm [32], and two a layer: 7 * 32 * 2 */
               "{\"name\": \"norm\", \"tensors\": 7, \"bytes\": 448}, "
               /* 4 * 128 + 4 + 1 floats, and per layer 2 * (24 * 128 + 24 + 3) */
               "{\"name\": \"hc\", \"tensors\": 21, \"bytes\": 76444}, ");
    assert_has("{\"name\": \"experts\", \"tensors\": 72, ");
    /* (584 + 68) / 4 + 584 / 128 */
    assert_has("\"context\": 1048576, \"kv_bytes_per_token\": 167.5625, \"defects\": []}\n");
}

static void test_json_of_releases(void **state)
{
    (void)state;
    static test_config text;
    const char *dir = test_tmpdir();
    test_write(test_path(dir, TEST_INDEX), HD_STR("{\"weight_map\": {}}"));
    test_config_make(&text, TEST_FLASH);
    test_write(test_path(dir, "config.json"), hd_str_from(text.text));
    inspect(dir, 0, 0, true);
    assert_has("\"variant\": \"V4-Flash\", \"layers\": {\"window\": 2, \"csa\": 21, \"hca\": 20}");
    assert_has("\"kv_bytes_per_token\": 3514.25, ");
    test_config_make(&text, TEST_PRO_0813);
    test_write(test_path(dir, "config.json"), hd_str_from(text.text));
    inspect(dir, 0, 0, true);
    assert_has(
        "\"variant\": \"V4-Pro-0813\", \"layers\": {\"window\": 0, \"csa\": 30, \"hca\": 31}");
    assert_has("\"kv_bytes_per_token\": 5031.4375, ");
}

static void test_text(void **state)
{
    (void)state;
    const char *dir = test_tmpdir();
    test_ckpt_write(dir, TEST_TINY, TEST_TINY);
    inspect(dir, 0, 5, false);
    assert_has("model      V4-custom\n"
               "layers     3: 1 window, 1 csa, 1 hca\n"
               "experts    4 a layer, 2 a token, FP4\n"
               "draft      DSpark, 2 blocks\n"
               "context    1,048,576 tokens\n"
               "cache      167.5625 bytes a token, 175.70 MB at full context; "
               "windows 224.26 KB a sequence\n");
    assert_has("\nembed                    1       2.56 KB\n");
    assert_has("  in 2 files\n");
    assert_has("\nno defects\n");
    test_ckpt_write(dir, TEST_TINY_MTP, TEST_TINY_MTP);
    inspect(dir, 0, 5, false);
    assert_has("token, FP8\ndraft      MTP, 1 block\n");
    test_ckpt_write(dir, TEST_TINY_BARE, TEST_TINY_BARE);
    inspect(dir, 0, 5, false);
    assert_has("draft      none\n");
}

static void test_text_of_defects(void **state)
{
    (void)state;
    const char *dir = test_tmpdir();
    test_ckpt_write(dir, TEST_TINY, TEST_TINY);
    test_edit(test_path(dir, "config.json"), "\"vocab_size\": 40", "\"vocab_size\": 41");
    inspect(dir, 0, 2, false);
    assert_has("\n5 defects\n"
               "  wrong_shape       embed.weight: has shape [40, 32], expected [41, 32]\n"
               "  wrong_shape       head.weight: has shape [40, 32], expected [41, 32]\n"
               "  and 3 more\n");
    unlink(test_path(dir, TEST_SHARD_1));
    unlink(test_path(dir, TEST_SHARD_2));
    inspect(dir, HD_ST_HEADERS, 2, false);
    assert_has("size*\n");
    assert_has("* no shard is here: names are the index's, sizes config.json's\n");
}

/* A name that would clear the screen, a C1 control character, and a file name that is no UTF-8. */
static void test_hostile_names(void **state)
{
    (void)state;
    const char *dir = test_tmpdir();
    test_ckpt_write(dir, TEST_TINY, TEST_TINY);
    test_edit(test_path(dir, TEST_INDEX), "{\n", "{\n\"\\u001b[2J\\u009b\": \"" TEST_SHARD_1 "\",");
    inspect(dir, 0, 5, false);
    assert_has("\n2 defects\n  not_in_shard      ?[2J?: the index places it in");
    inspect(dir, 0, 5, true);
    assert_has("\"where\": \"\\u001b[2J");
    unlink(test_path(dir, TEST_INDEX));
    test_write(test_path(dir, "model-\xFF.safetensors"), HD_STR("x"));
    inspect(dir, 0, 5, true);
    assert_has("{\"code\": \"short_file\", \"where\": \"model-\xEF\xBF\xBD.safetensors\"");
}

/* Tensors behind one of odd size are counted, as a property. */
static void test_unaligned(void **state)
{
    (void)state;
    const char *dir = test_tmpdir();
    const int64_t one[] = {1};
    hd_st_writer *w = hd_st_writer_create();
    assert_int_equal(hd_st_writer_add(w, HD_STR("a"), HD_DTYPE_U8, 1, one, NULL), HD_OK);
    assert_int_equal(hd_st_writer_add(w, HD_STR("b"), HD_DTYPE_F32, 1, one, NULL), HD_OK);
    assert_int_equal(hd_st_writer_begin(w, test_path(dir, "model.safetensors"), HD_ST_SPARSE, NULL),
                     HD_OK);
    assert_int_equal(hd_st_writer_finish(w, NULL), HD_OK);
    hd_st_writer_destroy(w);
    inspect(dir, 0, 5, false);
    assert_has("model      unknown\n");
    assert_has("total                    2       5 bytes  in 1 file\n"
               "1 tensors do not start at a multiple of their element size (allowed)\n");
    assert_has("\n1 defect\n  bad_config        config.json: cannot open");
}

static void test_recognised(void **state)
{
    (void)state;
    const char *dir = test_tmpdir();
    test_ckpt_write(dir, TEST_TINY, TEST_TINY);
    test_edit(test_path(dir, "config.json"), "deepseek_v4\"", "deepseek_v41\"");
    inspect(dir, 0, 0, true);
    assert_has("{\"variant\": \"V4.1\", \"layers\": {\"window\": 0, \"csa\": 0, \"hca\": 0}, "
               "\"groups\": [{\"name\": \"unknown\", \"tensors\": ");
    assert_has("\"context\": 0, \"kv_bytes_per_token\": 0.0, \"defects\": "
               "[{\"code\": \"unsupported_model\", \"where\": \"model_type\", \"detail\": "
               "\"'model_type' is 'deepseek_v41': DeepSeek-V4.1 is not supported yet, "
               "expected 'deepseek_v4'\"}]}");
}

static void test_no_memory(void **state)
{
    (void)state;
    const char *dir = test_tmpdir();
    test_ckpt_write(dir, TEST_TINY, TEST_TINY);
    hd_status status = HD_E_NOMEM;
    long n = 0;
    for (; status != HD_OK && n < 1000; n++) {
        hd_inspect in;
        hd_mem_fail_after(n);
        status = hd_inspect_init(&in, dir, 0, NULL);
        hd_mem_fail_after(-1);
        if (status == HD_OK)
            hd_inspect_deinit(&in);
        else
            assert_int_equal(status, HD_E_NOMEM);
    }
    assert_in_range(n, 20, 999);
}

/* ---- the command ---- */

/* Exit status of "hadal inspect ARGS...", its standard output in `out` or else in the file
 * `to`. */
static int run_to(const char *to, const char *dir, const char *option)
{
    int fds[2], status;
    assert_int_equal(pipe(fds), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        if (!freopen("/dev/null", "w", stderr) || (to && !freopen(to, "w", stdout))) _exit(99);
        execl(HD_TEST_PROGRAM, "hadal", "inspect", dir ? dir : option, dir ? option : NULL,
              (char *)NULL);
        _exit(99);
    }
    close(fds[1]);
    if (out.max == 0) hd_buf_init(&out, (size_t)1 << 24);
    hd_buf_reset(&out);
    hd_buf_addz(&out, "");
    char chunk[4096];
    for (ssize_t n; (n = read(fds[0], chunk, sizeof chunk)) > 0;)
        hd_buf_add(&out, chunk, (size_t)n);
    close(fds[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int run(const char *dir, const char *option)
{
    return run_to(NULL, dir, option);
}

static void test_command(void **state)
{
    (void)state;
    const char *dir = test_tmpdir();
    test_ckpt_write(dir, TEST_TINY, TEST_TINY);
    assert_int_equal(run(dir, NULL), 0);
    assert_has("no defects");
    assert_int_equal(run(dir, "--json"), 0);
    assert_has("\"defects\": []}");
    assert_int_equal(run(dir, "--all"), 0);
    assert_int_equal(run_to("/dev/full", dir, "--json"), 1);
    test_truncate(test_path(dir, TEST_SHARD_2), -700000);
    assert_int_equal(run(dir, "--headers"), 0);
    assert_int_equal(run(dir, "--json"), 1);
    assert_has("\"defects\": [{\"code\": \"short_file\", ");
    assert_int_equal(run(test_path(dir, "none"), "--json"), 1);
    assert_int_equal(out.len, 0);
    assert_int_equal(run(dir, "more"), 2);
    assert_int_equal(run(NULL, "--json"), 2);
}

/* Let "hadal synth" write the headers of the largest release into `dir`. */
static void write_headers(const char *dir)
{
    int status;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        if (!freopen("/dev/null", "w", stderr)) _exit(99);
        execl(HD_TEST_PROGRAM, "hadal", "synth", "pro-0813", "--headers", "--out", dir,
              (char *)NULL);
        _exit(99);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* 1.6T parameters in under a second of processor time, best of three. */
static void check_large(const char *dir, bool has_headers)
{
    double best_s = 1e9;
    for (int i = 0; i < 3; i++) {
        hd_inspect in;
        clock_t start = clock();
        assert_int_equal(hd_inspect_init(&in, dir, HD_ST_HEADERS, NULL), HD_OK);
        double s = (double)(clock() - start) / CLOCKS_PER_SEC;
        if (s < best_s) best_s = s;
        size_t n = 0;
        uint64_t bytes = 0;
        for (int g = 0; g < HD_GROUP_COUNT; g++) {
            n += in.groups[g].n_tensors;
            bytes += in.groups[g].n_bytes;
        }
        assert_int_equal(in.defects.n, 0);
        assert_int_equal(in.has_headers, has_headers);
        assert_int_equal(n, 149782);
        assert_true(bytes == 892727580904);
        hd_inspect_deinit(&in);
    }
    print_message("inspect of V4-Pro-0813, %s: %.2f s\n", has_headers ? "headers" : "index alone",
                  best_s);
#if defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    assert_true(best_s < 1.0);
#endif
}

static void test_largest_release(void **state)
{
    (void)state;
    const char *dir = test_tmpdir();
    write_headers(dir);
    check_large(dir, true);
    for (int i = 1; i <= 66; i++) {
        char name[64];
        snprintf(name, sizeof name, "model-%05d-of-00066.safetensors", i);
        assert_int_equal(unlink(test_path(dir, name)), 0);
    }
    check_large(dir, false);
}

/* Golden checkpoints are well; HADAL_VECTORS names their directory. */
static void test_golden(void **state)
{
    (void)state;
    static const char *const sets[] = {"one-layer-window",   "one-layer-csa", "one-layer-hca",
                                       "one-layer-csa-wide", "v4-flash-tiny", "v4-pro-tiny",
                                       "v4-base-tiny"};
    const char *vectors = getenv("HADAL_VECTORS");
    if (!vectors) skip();
    for (size_t i = 0; i < HD_COUNT(sets); i++) {
        char dir[512];
        snprintf(dir, sizeof dir, "%s/model/%s", vectors, sets[i]);
        inspect(dir, 0, 5, false);
        assert_has("\nno defects\n");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),          cmocka_unit_test(test_json_of_releases),
        cmocka_unit_test(test_text),          cmocka_unit_test(test_text_of_defects),
        cmocka_unit_test(test_hostile_names), cmocka_unit_test(test_unaligned),
        cmocka_unit_test(test_recognised),    cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_command),       cmocka_unit_test(test_largest_release),
        cmocka_unit_test(test_golden),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hd_buf_deinit(&out);
    return failed;
}
