/* Made-up checkpoints: whole, small, the same everywhere, and refused where they cannot be. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "io/ckpt.h"
#include "model/names.h"
#include "model/synth.h"
#include "support/tmpdir.h"
#include "support/v4_config.h"
#include "text/tokenizer.h"

static void preset_config(const char *preset, hd_buf *text)
{
    hd_err err;
    hd_buf_init(text, 1 << 16);
    if (hd_synth_preset_config(preset, text, &err) != HD_OK) fail_msg("%s", err.text);
}

/* A name for a directory below the test's own. */
static const char *new_dir(void)
{
    static char dirs[32][512];
    static int n;
    assert_in_range(n, 0, 31);
    snprintf(dirs[n], sizeof dirs[n], "%s/model-%d", test_tmpdir(), n);
    return dirs[n++];
}

static hd_status write_preset(const char *preset, const char *dir, uint64_t seed, unsigned flags,
                              hd_err *err)
{
    hd_buf config;
    hd_synth_opts opts = {.seed = seed, .flags = flags};
    preset_config(preset, &config);
    hd_status status = hd_synth_write(dir, hd_buf_str(&config), &opts, err);
    hd_buf_deinit(&config);
    return status;
}

static void write_ok(const char *preset, const char *dir, uint64_t seed, unsigned flags)
{
    hd_err err;
    if (write_preset(preset, dir, seed, flags, &err) != HD_OK) fail_msg("%s", err.text);
}

/* Opens a checkpoint strictly and compares every tensor with what its config.json asks for. */
static hd_ckpt *open_whole(const char *dir, unsigned flags, hd_config *c)
{
    hd_ckpt *ck = NULL;
    hd_err err = {0};
    assert_int_equal(hd_config_load(dir, c, NULL), HD_OK);
    if (hd_ckpt_open(dir, flags, NULL, &ck, &err) != HD_OK) fail_msg("%s", err.text);
    if (hd_names_resolve(ck, c, NULL, &err) != HD_OK) fail_msg("%s", err.text);
    if (hd_names_check(ck, c, NULL, NULL, &err) != HD_OK) fail_msg("%s", err.text);
    return ck;
}

/* FNV-1a over the bytes of all shards in the order of their names. */
static uint64_t checksum(const char *dir)
{
    uint64_t h = 0xcbf29ce484222325u;
    hd_config c;
    assert_int_equal(hd_config_load(dir, &c, NULL), HD_OK);
    int n = 2 + c.n_layers + c.n_stages;
    for (int i = 1; i <= n; i++) {
        char name[64];
        snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", i, n);
        hd_str data = test_read(test_path(dir, name));
        for (size_t k = 0; k < data.len; k++) h = (h ^ (uint8_t)data.ptr[k]) * 0x100000001b3u;
    }
    return h;
}

static uint64_t bytes_on_disk(const char *dir, bool is_allocated)
{
    char path[1024];
    uint64_t sum = 0;
    struct stat st;
    for (int i = 1; i < 100; i++)
        for (int n = i; n < 100; n++) {
            snprintf(path, sizeof path, "%s/model-%05d-of-%05d.safetensors", dir, i, n);
            if (stat(path, &st) == 0)
                sum += is_allocated ? (uint64_t)st.st_blocks * 512 : (uint64_t)st.st_size;
        }
    return sum;
}

/* ---- the unit presets ---- */

static void test_unit_bytes_are_as_specified(void **state)
{
    (void)state;
    /* The checksums are those that support/synth_oracle.py prints after making every tensor again
     * by itself. */
    const char *a = new_dir(), *b = new_dir(), *mtp = new_dir(), *other = new_dir();
    write_ok("unit", a, 0, 0);
    write_ok("unit", b, 0, 0);
    write_ok("unit", other, 1, 0);
    write_ok("unit-mtp", mtp, 0, 0);
    assert_true(checksum(a) == 0x047a2d52ce11ea38u);
    assert_true(checksum(b) == checksum(a));
    assert_true(checksum(other) == 0xed8662c357c9ba6cu);
    assert_true(checksum(mtp) == 0x85f804f8fc9f3800u);
    assert_true(bytes_on_disk(a, false) < 6000000);
    assert_true(bytes_on_disk(mtp, false) < 6000000);
}

typedef struct features {
    int window, csa, hca, hash_routed, bias_routed;
} features;

static features features_of(const hd_config *c)
{
    features f = {0};
    for (int i = 0; i < c->n_layers; i++) {
        hd_layer_kind kind = hd_config_kind(c, i);
        f.window += kind == HD_LAYER_WINDOW;
        f.csa += kind == HD_LAYER_CSA;
        f.hca += kind == HD_LAYER_HCA;
        f.hash_routed += i < c->n_hash_layers;
        f.bias_routed += i >= c->n_hash_layers;
    }
    return f;
}

static void test_unit_presets_have_every_part(void **state)
{
    (void)state;
    static const char *const names[] = {"unit", "unit-mtp"};
    for (int i = 0; i < 2; i++) {
        const char *dir = new_dir();
        hd_config c;
        write_ok(names[i], dir, 3, 0);
        hd_ckpt *ck = open_whole(dir, 0, &c);
        features f = features_of(&c);
        assert_true(f.window && f.csa && f.hca && f.hash_routed && f.bias_routed);
        assert_int_equal(c.draft, i == 0 ? HD_DRAFT_DSPARK : HD_DRAFT_MTP);
        assert_int_equal(c.expert_dtype, i == 0 ? HD_EXPERT_FP4 : HD_EXPERT_FP8);
        assert_true(c.index_topk * HD_CSA_RATIO < 128); /* a short text makes the indexer choose */
        assert_true(c.n_active_experts < c.n_experts);
        hd_ckpt_close(ck);
    }
}

/* Values that a loader must be able to rely on. */
static void check_tensor(const hd_st_tensor *t, const hd_config *c)
{
    for (uint64_t i = 0; i < t->n_bytes && t->dtype == HD_DTYPE_F8_E4M3; i++)
        assert_true((t->data[i] & 0x7f) != 0x7f); /* not a number */
    for (uint64_t i = 0; i < t->n_bytes && t->dtype == HD_DTYPE_F8_E8M0; i++)
        assert_in_range(t->data[i], 127 - 40, 127 + 40);
    for (uint64_t i = 0; i < t->n_bytes && t->dtype == HD_DTYPE_I64; i += 8) {
        int64_t id, before;
        memcpy(&id, t->data + i, 8);
        assert_true(id >= 0 && id < c->n_experts);
        for (uint64_t j = i - i % (8 * (uint64_t)t->shape[1]); j < i; j += 8) {
            memcpy(&before, t->data + j, 8);
            assert_true(id != before);
        }
    }
}

static void test_values_are_legal(void **state)
{
    (void)state;
    const char *dir = new_dir();
    hd_config c;
    write_ok("unit", dir, 0, 0);
    hd_ckpt *ck = open_whole(dir, 0, &c);
    bool codes[256] = {0};
    for (size_t i = 0; i < hd_ckpt_count(ck); i++) {
        const hd_st_tensor *t = hd_ckpt_at(ck, i)->tensor;
        check_tensor(t, &c);
        for (uint64_t k = 0; k < t->n_bytes && t->dtype == HD_DTYPE_F8_E4M3; k++)
            codes[t->data[k]] = true;
    }
    /* Most of E4M3 occurs, in both signs: subnormals, the largest value, zero. */
    int n_codes = 0;
    for (int q = 1; q < 127; q++) n_codes += codes[q] && codes[q + 128];
    assert_in_range(n_codes, 90, 126);
    assert_true(codes[0] && codes[2] && codes[4] && codes[6] && codes[126]);
    hd_ckpt_close(ck);
}

/* ---- headers, holes ---- */

static void test_headers_only(void **state)
{
    (void)state;
    static const struct {
        const char *preset;
        size_t n_tensors;
    } published[] = {{"flash-0731", 72317}, {"flash", 69187}, {"flash-base", 69187}};
    for (size_t i = 0; i < 3; i++) {
        const char *dir = new_dir();
        hd_config c;
        write_ok(published[i].preset, dir, 0, HD_SYNTH_HEADERS);
        hd_ckpt *ck = open_whole(dir, HD_ST_HEADERS, &c);
        assert_int_equal(hd_ckpt_count(ck), published[i].n_tensors);
        assert_true(bytes_on_disk(dir, false) < 20000000);
        hd_ckpt_close(ck);
    }
}

static void test_full_shapes_have_their_names(void **state)
{
    (void)state;
    static const struct {
        const char *preset, *variant;
    } named[] = {{"flash", "V4-Flash"},           {"flash-base", "V4-Flash-Base"},
                 {"flash-0731", "V4-Flash-0731"}, {"pro", "V4-Pro"},
                 {"pro-base", "V4-Pro-Base"},     {"pro-0813", "V4-Pro-0813"},
                 {"bench-small", "V4-custom"}};
    for (size_t i = 0; i < 7; i++) {
        hd_buf text;
        hd_config c;
        preset_config(named[i].preset, &text);
        assert_int_equal(hd_config_parse(hd_buf_str(&text), &c, NULL), HD_OK);
        assert_string_equal(hd_config_variant(&c), named[i].variant);
        hd_buf_deinit(&text);
    }
}

/* The bytes that the benchmark shapes were planned to have. */
static void test_bench_sizes(void **state)
{
    (void)state;
    static const struct {
        const char *preset;
        double bytes;
    } sizes[] = {{"bench-small", 1.29e9}, {"bench-large", 7.58e9}};
    for (size_t i = 0; i < 2; i++) {
        hd_buf text;
        hd_config c;
        hd_names_iter it;
        hd_tensor_spec spec;
        double sum = 0.0;
        preset_config(sizes[i].preset, &text);
        assert_int_equal(hd_config_parse(hd_buf_str(&text), &c, NULL), HD_OK);
        for (hd_names_begin(&it, &c); hd_names_next(&it, &spec);)
            sum += (double)hd_names_bytes(&spec);
        assert_true(sum > 0.997 * sizes[i].bytes && sum < 1.003 * sizes[i].bytes);
        hd_buf_deinit(&text);
    }
}

static void test_sparse(void **state)
{
    (void)state;
    test_config config;
    hd_synth_opts opts = {.flags = HD_SYNTH_SPARSE};
    const char *dir = new_dir();
    hd_config c;
    test_config_make(&config, TEST_TINY_MTP);
    test_config_set(&config, "vocab_size", "300");
    test_config_set(&config, "moe_intermediate_size", "4096"); /* experts of megabytes */
    assert_int_equal(hd_synth_write(dir, hd_str_from(config.text), &opts, NULL), HD_OK);
    hd_ckpt *ck = open_whole(dir, 0, &c);
    uint64_t in_experts = 0;
    for (size_t i = 0; i < hd_ckpt_count(ck); i++) {
        const hd_ckpt_entry *e = hd_ckpt_at(ck, i);
        bool is_zero = true;
        for (uint64_t k = 0; k < e->tensor->n_bytes; k++) is_zero &= e->tensor->data[k] == 0;
        bool is_hole = hd_str_find(e->name, HD_STR(".experts."), 0) < e->name.len &&
                       hd_str_ends(e->name, HD_STR(".weight"));
        assert_int_equal(is_zero, is_hole);
        if (is_hole) in_experts += e->tensor->n_bytes;
    }
    assert_true(in_experts > 1000000);
    assert_true(bytes_on_disk(dir, true) < bytes_on_disk(dir, false) - in_experts / 2);
    hd_ckpt_close(ck);
}

/* ---- progress ---- */

typedef struct seen {
    uint64_t last, total;
    int n;
} seen;

static void see(void *ctx, uint64_t done, uint64_t total)
{
    seen *s = ctx;
    assert_true(done > s->last && done <= total);
    s->last = done;
    s->total = total;
    s->n++;
}

static void test_progress_reaches_the_end(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags <= HD_SYNTH_SPARSE; flags += HD_SYNTH_SPARSE) {
        hd_buf config;
        seen s = {0};
        hd_synth_opts opts = {.flags = flags, .progress = see, .progress_ctx = &s};
        preset_config("unit", &config);
        assert_int_equal(hd_synth_write(new_dir(), hd_buf_str(&config), &opts, NULL), HD_OK);
        assert_true(s.n > 100 && s.last == s.total);
        hd_buf_deinit(&config);
    }
}

/* ---- the tokenizer ---- */

static void test_tokenizer(void **state)
{
    (void)state;
    static const int32_t sizes[] = {264, 512, 129280};
    for (size_t i = 0; i < 3; i++) {
        hd_buf text;
        hd_err err;
        hd_tokenizer *t;
        const char *path = test_path(test_tmpdir(), "tokenizer.json");
        hd_buf_init(&text, 1 << 20);
        assert_int_equal(hd_synth_tokenizer(sizes[i], &text, NULL), HD_OK);
        test_write(path, hd_buf_str(&text));
        if (hd_tokenizer_open(path, &t, &err) != HD_OK) fail_msg("%s", err.text);
        /* Ids of the official vocabulary for the same bytes: "!" 3, LF 201, space 223. */
        int32_t ids[8];
        size_t n;
        assert_int_equal(hd_tokenizer_encode(t, "! \n<think>", 10, 0, ids, 8, &n, NULL), HD_OK);
        assert_int_equal(n, 4);
        assert_int_equal(ids[0], 3);
        assert_int_equal(ids[1], 223);
        assert_int_equal(ids[2], 201);
        assert_int_equal(ids[3], hd_tokenizer_find(t, "<think>"));
        assert_int_equal(hd_tokenizer_find(t, "<｜begin▁of▁sentence｜>"), 0);
        assert_int_equal(hd_tokenizer_find(t, "<｜end▁of▁sentence｜>"), 1);
        assert_int_equal(hd_tokenizer_find(t, "<｜User｜>"), 259);
        assert_int_equal(hd_tokenizer_find(t, "｜DSML｜"), 263);
        assert_true((hd_tokenizer_find(t, "<｜latest_reminder｜>") > 0) == (sizes[i] > 264));
        assert_true(hd_tokenizer_size(t) <= (size_t)sizes[i]);
        hd_tokenizer_close(t);
        hd_buf_deinit(&text);
    }
}

/* ---- refusals ---- */

static void expect_refusal(const char *dir, const char *config, hd_status code, const char *text)
{
    hd_err err;
    hd_synth_opts opts = {0};
    assert_int_equal(hd_synth_write(dir, hd_str_from(config), &opts, &err), code);
    if (!strstr(err.text, text)) fail_msg("'%s' lacks '%s'", err.text, text);
}

static void test_refusals(void **state)
{
    (void)state;
    test_config config;
    hd_buf text;
    hd_err err;
    const char *dir = new_dir();
    hd_buf_init(&text, 1 << 16);
    assert_int_equal(hd_synth_preset_config("huge", &text, &err), HD_E_NOTFOUND);
    assert_string_equal(err.text, "no preset 'huge': expected one of unit, unit-mtp, bench-small, "
                                  "bench-large, flash, flash-base, flash-0731, pro, pro-base, "
                                  "pro-0813");
    assert_int_equal(hd_synth_tokenizer(263, &text, &err), HD_E_ARG);
    assert_string_equal(err.text, "'vocab_size' is 263: a byte-level tokenizer needs at least 264");
    hd_buf_deinit(&text);

    expect_refusal(dir, "{}", HD_E_FORMAT, "'model_type'");
    assert_int_not_equal(access(dir, F_OK), 0); /* nothing was made */
    test_config_make(&config, TEST_TINY);
    expect_refusal(test_path(dir, "deeper"), config.text, HD_E_IO, "No such file or directory");
    test_config_set(&config, "vocab_size", "200");
    test_config_set(&config, "dspark_noise_token_id", "199");
    expect_refusal(dir, config.text, HD_E_ARG, "'vocab_size' is 200");

    write_ok("unit", new_dir(), 0, HD_SYNTH_HEADERS);
    dir = new_dir();
    write_ok("unit", dir, 0, HD_SYNTH_HEADERS);
    assert_int_equal(write_preset("unit", dir, 0, 0, &err), HD_E_ARG);
    assert_non_null(strstr(err.text, "holds a checkpoint: remove it, or name another directory"));
}

/* 105 TB. */
static void test_disk_too_small(void **state)
{
    (void)state;
    test_config config;
    test_config_make(&config, TEST_TINY_MTP);
    test_config_set(&config, "vocab_size", "300");
    test_config_set(&config, "hidden_size", "131072");
    test_config_set(&config, "moe_intermediate_size", "131072");
    test_config_set(&config, "n_routed_experts", "512");
    expect_refusal(new_dir(), config.text, HD_E_LIMIT, "GB free, the weights need");
}

static void test_write_error_leaves_no_index(void **state)
{
    (void)state;
    struct rlimit old, small;
    const char *dir = new_dir();
    hd_err err;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = old;
    small.rlim_cur = 200000; /* a layer of `unit` has more */
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    hd_status status = write_preset("unit", dir, 0, 0, &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(status, HD_E_IO);
    assert_non_null(strstr(err.text, "File too large"));
    assert_int_not_equal(access(test_path(dir, "model.safetensors.index.json"), F_OK), 0);
    assert_int_equal(access(test_path(dir, "model-00001-of-00009.safetensors"), F_OK), 0);
    assert_int_not_equal(access(test_path(dir, "model-00002-of-00009.safetensors"), F_OK), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unit_bytes_are_as_specified),
        cmocka_unit_test(test_unit_presets_have_every_part),
        cmocka_unit_test(test_values_are_legal),
        cmocka_unit_test(test_headers_only),
        cmocka_unit_test(test_full_shapes_have_their_names),
        cmocka_unit_test(test_bench_sizes),
        cmocka_unit_test(test_sparse),
        cmocka_unit_test(test_progress_reaches_the_end),
        cmocka_unit_test(test_tokenizer),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_disk_too_small),
        cmocka_unit_test(test_write_error_leaves_no_index),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
