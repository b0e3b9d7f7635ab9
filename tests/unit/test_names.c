/* The table of tensors against what is published about the releases. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/strmap.h"
#include "model/names.h"
#include "support/v4_config.h"

static hd_config load(test_release release)
{
    static test_config text;
    hd_config c;
    hd_err err = {0};
    test_config_make(&text, release);
    if (hd_config_parse(hd_str_from(text.text), &c, &err) != HD_OK) fail_msg("%s", err.text);
    return c;
}

/* Source of the totals: the index files of the releases; of the -Base ones an estimate that agrees.
 */
typedef struct total {
    test_release release;
    const char *variant;
    size_t n_tensors;
    uint64_t n_bytes;
} total;

static const total totals[] = {
    {TEST_FLASH, "V4-Flash", 69187, 159609485896},
    {TEST_FLASH_0731, "V4-Flash-0731", 72317, 166878536440},
    {TEST_FLASH_BASE, "V4-Flash-Base", 69187, 292502338120},
    {TEST_PRO, "V4-Pro", 145116, 864704792696},
    {TEST_PRO_0813, "V4-Pro-0813", 149782, 892727580904},
    {TEST_PRO_BASE, "V4-Pro-Base", 145116, 1602033600632},
};

static void test_published_totals(void **state)
{
    (void)state;
    for (size_t i = 0; i < HD_COUNT(totals); i++) {
        hd_config c = load(totals[i].release);
        hd_names_iter it;
        hd_tensor_spec s;
        size_t n = 0;
        uint64_t bytes = 0;
        for (hd_names_begin(&it, &c); hd_names_next(&it, &s); n++) bytes += hd_names_bytes(&s);
        assert_string_equal(hd_config_variant(&c), totals[i].variant);
        assert_int_equal(n, totals[i].n_tensors);
        assert_true(bytes == totals[i].n_bytes);
    }
}

/* How many tensors of each type V4-Flash has: counted in its headers. */
static void test_flash_dtypes(void **state)
{
    (void)state;
    hd_config c = load(TEST_FLASH);
    size_t n[HD_DTYPE_COUNT] = {0}, n_draft = 0;
    hd_names_iter it;
    hd_tensor_spec s;
    for (hd_names_begin(&it, &c); hd_names_next(&it, &s);) {
        n[s.dtype]++;
        n_draft += s.group == HD_GROUP_DRAFT;
    }
    assert_int_equal(n[HD_DTYPE_BF16], 433);
    assert_int_equal(n[HD_DTYPE_F32], 417);
    assert_int_equal(n[HD_DTYPE_F8_E4M3], 375);
    assert_int_equal(n[HD_DTYPE_F8_E8M0], 34167);
    assert_int_equal(n[HD_DTYPE_I64], 3);
    assert_int_equal(n[HD_DTYPE_I8], 33792);
    assert_int_equal(n_draft, 1575);
}

/* Where the bytes are, published in GB with two or three digits. */
typedef struct part {
    test_release release;
    hd_group group;
    double gb, step; /* of the last digit given */
} part;

static const part parts[] = {
    {TEST_FLASH, HD_GROUP_EXPERTS, 147.17, 0.01},
    {TEST_FLASH, HD_GROUP_ATTENTION, 4.60, 0.01},
    {TEST_FLASH, HD_GROUP_EMBED, 1.06, 0.01},
    {TEST_FLASH, HD_GROUP_HEAD, 1.06, 0.01},
    {TEST_FLASH, HD_GROUP_SHARED_EXPERTS, 1.08, 0.01},
    {TEST_FLASH, HD_GROUP_COMPRESSOR, 0.61, 0.01},
    {TEST_FLASH, HD_GROUP_INDEXER, 0.19, 0.01},
    {TEST_FLASH, HD_GROUP_HC, 0.135, 0.001},
    {TEST_FLASH, HD_GROUP_GATE, 0.109, 0.001},
    {TEST_FLASH, HD_GROUP_DRAFT, 3.59, 0.01},
    {TEST_PRO, HD_GROUP_EXPERTS, 822.05, 0.01},
    {TEST_PRO, HD_GROUP_ATTENTION, 18.30, 0.01},
    {TEST_PRO, HD_GROUP_EMBED, 1.85, 0.01},
    {TEST_PRO, HD_GROUP_SHARED_EXPERTS, 4.03, 0.01},
    {TEST_PRO, HD_GROUP_COMPRESSOR, 1.57, 0.01},
    {TEST_PRO, HD_GROUP_INDEXER, 0.41, 0.01},
};

static void test_where_the_bytes_are(void **state)
{
    (void)state;
    double gb[TEST_PRO + 1][HD_GROUP_COUNT] = {{0}};
    for (test_release r = TEST_FLASH; r <= TEST_PRO; r++) {
        hd_config c = load(r);
        hd_names_iter it;
        hd_tensor_spec s;
        for (hd_names_begin(&it, &c); hd_names_next(&it, &s);)
            gb[r][s.group] += (double)hd_names_bytes(&s) * 1e-9;
    }
    for (size_t i = 0; i < HD_COUNT(parts); i++) {
        double off = gb[parts[i].release][parts[i].group] - parts[i].gb;
        assert_true(off > -parts[i].step && off < parts[i].step);
    }
}

static void test_draft_of_0731(void **state)
{
    (void)state;
    hd_config c = load(TEST_FLASH_0731);
    size_t n = 0;
    hd_names_iter it;
    hd_tensor_spec s;
    for (hd_names_begin(&it, &c); hd_names_next(&it, &s);) n += s.group == HD_GROUP_DRAFT;
    assert_int_equal(n, 4705);
}

typedef struct known {
    test_release release;
    const char *name;
    hd_dtype dtype;
    int64_t out, in; /* in 0: rank 1 */
} known;

/* Shapes read from the headers of the releases. */
static const known knowns[] = {
    {TEST_FLASH, "embed.weight", HD_DTYPE_BF16, 129280, 4096},
    {TEST_FLASH, "hc_head_fn", HD_DTYPE_F32, 4, 16384},
    {TEST_FLASH, "hc_head_scale", HD_DTYPE_F32, 1, 0},
    {TEST_FLASH, "layers.0.attn.wq_a.weight", HD_DTYPE_F8_E4M3, 1024, 4096},
    {TEST_FLASH, "layers.0.attn.wq_a.scale", HD_DTYPE_F8_E8M0, 8, 32},
    {TEST_FLASH, "layers.0.attn.wq_b.weight", HD_DTYPE_F8_E4M3, 32768, 1024},
    {TEST_FLASH, "layers.0.attn.wo_a.weight", HD_DTYPE_F8_E4M3, 8192, 4096},
    {TEST_FLASH, "layers.0.attn.wo_b.weight", HD_DTYPE_F8_E4M3, 4096, 8192},
    {TEST_FLASH, "layers.0.hc_attn_fn", HD_DTYPE_F32, 24, 16384},
    {TEST_FLASH, "layers.2.ffn.gate.tid2eid", HD_DTYPE_I64, 129280, 6},
    {TEST_FLASH, "layers.3.ffn.gate.bias", HD_DTYPE_F32, 256, 0},
    {TEST_FLASH, "layers.2.attn.compressor.wkv.weight", HD_DTYPE_BF16, 1024, 4096},
    {TEST_FLASH, "layers.2.attn.compressor.ape", HD_DTYPE_F32, 4, 1024},
    {TEST_FLASH, "layers.3.attn.compressor.wkv.weight", HD_DTYPE_BF16, 512, 4096},
    {TEST_FLASH, "layers.3.attn.compressor.ape", HD_DTYPE_F32, 128, 512},
    {TEST_FLASH, "layers.42.attn.indexer.wq_b.weight", HD_DTYPE_F8_E4M3, 8192, 1024},
    {TEST_FLASH, "layers.42.attn.indexer.compressor.ape", HD_DTYPE_F32, 4, 256},
    {TEST_FLASH, "layers.9.ffn.experts.255.w1.weight", HD_DTYPE_I8, 2048, 2048},
    {TEST_FLASH, "layers.9.ffn.experts.255.w1.scale", HD_DTYPE_F8_E8M0, 2048, 128},
    {TEST_FLASH, "layers.9.ffn.experts.0.w2.weight", HD_DTYPE_I8, 4096, 1024},
    {TEST_FLASH, "layers.9.ffn.experts.0.w2.scale", HD_DTYPE_F8_E8M0, 4096, 64},
    {TEST_FLASH, "mtp.0.e_proj.weight", HD_DTYPE_F8_E4M3, 4096, 4096},
    {TEST_FLASH, "mtp.0.ffn.gate.bias", HD_DTYPE_F32, 256, 0},
    {TEST_FLASH_BASE, "layers.9.ffn.experts.0.w2.weight", HD_DTYPE_F8_E4M3, 4096, 2048},
    {TEST_FLASH_BASE, "layers.9.ffn.experts.0.w2.scale", HD_DTYPE_F8_E8M0, 32, 16},
    {TEST_FLASH_0731, "mtp.0.main_proj.weight", HD_DTYPE_F8_E4M3, 4096, 12288},
    {TEST_FLASH_0731, "mtp.0.main_proj.scale", HD_DTYPE_F8_E8M0, 32, 96},
    {TEST_FLASH_0731, "mtp.2.markov_head.markov_w1.weight", HD_DTYPE_BF16, 129280, 256},
    {TEST_FLASH_0731, "mtp.2.confidence_head.proj.weight", HD_DTYPE_BF16, 1, 4352},
    {TEST_PRO_0813, "mtp.2.markov_head.markov_w2.weight", HD_DTYPE_BF16, 129280, 512},
    {TEST_PRO, "layers.0.attn.compressor.ape", HD_DTYPE_F32, 128, 512},
};

static bool find_spec(const hd_config *c, const char *name, hd_tensor_spec *out)
{
    hd_names_iter it;
    for (hd_names_begin(&it, c); hd_names_next(&it, out);)
        if (strcmp(out->name, name) == 0) return true;
    return false;
}

static void test_known_shapes(void **state)
{
    (void)state;
    for (size_t i = 0; i < HD_COUNT(knowns); i++) {
        const known *k = &knowns[i];
        hd_config c = load(k->release);
        hd_tensor_spec s;
        if (!find_spec(&c, k->name, &s)) fail_msg("no tensor '%s'", k->name);
        assert_int_equal(s.dtype, k->dtype);
        assert_int_equal(s.rank, k->in ? 2 : 1);
        assert_true(s.shape[0] == k->out && s.shape[1] == k->in);
    }
}

/* Names that look right and are not there. */
static void test_absent(void **state)
{
    (void)state;
    static const char *const names[] = {
        "layers.0.attn.compressor.ape", "layers.3.attn.indexer.wq_b.weight",
        "layers.2.ffn.gate.bias",       "layers.3.ffn.gate.tid2eid",
        "mtp.0.ffn.gate.tid2eid",       "mtp.0.attn.compressor.ape",
        "mtp.0.embed.weight",           "mtp.0.main_proj.weight",
        "layers.43.attn_norm.weight",   "layers.0.ffn.experts.256.w1.weight",
        "layers.0.attn_norm.scale",
    };
    hd_config c = load(TEST_FLASH);
    hd_tensor_spec s;
    for (size_t i = 0; i < HD_COUNT(names); i++) assert_false(find_spec(&c, names[i], &s));
    assert_false(hd_names_spec(&c, HD_W_EMBED, 0, -1, false, &s));
    assert_false(hd_names_spec(&c, HD_W_WQ_A, -1, -1, false, &s));
    assert_false(hd_names_spec(&c, HD_W_WQ_A, 44, -1, false, &s));
    assert_false(hd_names_spec(&c, HD_W_WQ_A, 0, 0, false, &s));
    assert_false(hd_names_spec(&c, HD_W_EXPERT_W1, 0, -1, false, &s));
    assert_false(hd_names_spec(&c, HD_W_EXPERT_W1, 0, 256, false, &s));
    assert_false(hd_names_spec(&c, HD_W_ATTN_NORM, 0, -1, true, &s));
}

/* Each name once, and hd_names_spec agrees with the walk. */
static void test_walk(void **state)
{
    (void)state;
    hd_config c = load(TEST_TINY);
    static hd_tensor_spec specs[1024];
    size_t n = 0;
    hd_strmap seen;
    hd_names_iter it;
    hd_strmap_init(&seen);
    for (hd_names_begin(&it, &c); hd_names_next(&it, &specs[n]); n++) {
        hd_tensor_spec again, *s = &specs[n];
        bool is_new;
        assert_true(n + 1 < HD_COUNT(specs));
        assert_non_null(hd_strmap_try_put(&seen, (hd_str){s->name, (size_t)s->name_len}, &is_new));
        assert_true(is_new);
        assert_true(hd_names_spec(&c, s->weight, s->block, s->expert, s->is_scale, &again));
        assert_memory_equal(s, &again, sizeof again);
        assert_int_equal(strlen(s->name), s->name_len);
    }
    assert_true(n > 100);
    hd_strmap_deinit(&seen);
}

static void test_group_names(void **state)
{
    (void)state;
    assert_string_equal(hd_group_name(HD_GROUP_EMBED), "embed");
    assert_string_equal(hd_group_name(HD_GROUP_UNKNOWN), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_published_totals),
        cmocka_unit_test(test_flash_dtypes),
        cmocka_unit_test(test_where_the_bytes_are),
        cmocka_unit_test(test_draft_of_0731),
        cmocka_unit_test(test_known_shapes),
        cmocka_unit_test(test_absent),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_group_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
