/* config.json of every release, and every way in which one can be refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/config.h"
#include "support/tmpdir.h"
#include "support/v4_config.h"

static test_config text;

static hd_config load(test_release release)
{
    hd_config c;
    hd_err err = {0};
    test_config_make(&text, release);
    if (hd_config_parse(hd_str_from(text.text), &c, &err) != HD_OK) fail_msg("%s", err.text);
    return c;
}

static void test_flash(void **state)
{
    (void)state;
    hd_config c = load(TEST_FLASH);
    assert_string_equal(hd_config_variant(&c), "V4-Flash");
    assert_int_equal(c.n_layers, 43);
    assert_int_equal(c.dim, 4096);
    assert_int_equal(c.vocab_size, 129280);
    assert_int_equal(c.n_heads, 64);
    assert_int_equal(c.q_lora_rank, 1024);
    assert_int_equal(c.o_groups, 8);
    assert_int_equal(c.o_lora_rank, 1024);
    assert_int_equal(c.index_n_heads, 64);
    assert_int_equal(c.index_topk, 512);
    assert_int_equal(c.n_experts, 256);
    assert_int_equal(c.n_active_experts, 6);
    assert_int_equal(c.moe_dim, 2048);
    assert_int_equal(c.n_hash_layers, 3);
    assert_int_equal(c.max_position, 1048576);
    assert_int_equal(c.bos_id, 0);
    assert_int_equal(c.eos_id, 1);
    assert_true(c.route_scale == 1.5f && c.swiglu_limit == 10.0f);
    assert_true(c.rms_eps == 1e-6f && c.hc_eps == 1e-6f);
    assert_true(c.rope_theta == 10000.0 && c.compress_rope_theta == 160000.0);
    assert_true(c.yarn_factor == 16.0 && c.yarn_beta_fast == 32.0 && c.yarn_beta_slow == 1.0);
    assert_int_equal(c.yarn_original_ctx, 65536);
    assert_int_equal(c.draft, HD_DRAFT_MTP);
    assert_int_equal(c.n_stages, 1);
    assert_int_equal(c.expert_dtype, HD_EXPERT_UNSTATED);
    assert_int_equal(c.chat_release, HD_CHAT_APRIL);
    assert_null(c.unsupported);
}

/* How many layers of each kind, and the kind of the first three. */
typedef struct kinds {
    test_release release;
    const char *variant;
    int n[3];
    hd_layer_kind first[3];
} kinds;

static const kinds all_kinds[] = {
    {TEST_FLASH_0731,
     "V4-Flash-0731",
     {2, 21, 20},
     {HD_LAYER_WINDOW, HD_LAYER_WINDOW, HD_LAYER_CSA}},
    {TEST_FLASH_BASE,
     "V4-Flash-Base",
     {2, 21, 20},
     {HD_LAYER_WINDOW, HD_LAYER_WINDOW, HD_LAYER_CSA}},
    {TEST_PRO, "V4-Pro", {0, 30, 31}, {HD_LAYER_HCA, HD_LAYER_HCA, HD_LAYER_CSA}},
    {TEST_PRO_0813, "V4-Pro-0813", {0, 30, 31}, {HD_LAYER_HCA, HD_LAYER_HCA, HD_LAYER_CSA}},
    {TEST_PRO_BASE, "V4-Pro-Base", {0, 30, 31}, {HD_LAYER_HCA, HD_LAYER_HCA, HD_LAYER_CSA}},
    {TEST_TINY, "V4-custom", {1, 1, 1}, {HD_LAYER_WINDOW, HD_LAYER_CSA, HD_LAYER_HCA}},
};

static void test_layer_kinds(void **state)
{
    (void)state;
    for (size_t i = 0; i < HD_COUNT(all_kinds); i++) {
        const kinds *k = &all_kinds[i];
        hd_config c = load(k->release);
        int n[3] = {0};
        for (int32_t l = 0; l < c.n_layers; l++) n[hd_config_kind(&c, l)]++;
        assert_memory_equal(n, k->n, sizeof n);
        for (int32_t l = 0; l < 3; l++) assert_int_equal(hd_config_kind(&c, l), k->first[l]);
        assert_string_equal(hd_config_variant(&c), k->variant);
    }
}

static void test_dspark(void **state)
{
    (void)state;
    hd_config c = load(TEST_PRO_0813);
    assert_int_equal(c.draft, HD_DRAFT_DSPARK);
    assert_int_equal(c.n_stages, 3);
    assert_int_equal(c.dspark_block_size, 5);
    assert_int_equal(c.dspark_noise_id, 128799);
    assert_int_equal(c.dspark_markov_rank, 512);
    assert_int_equal(c.n_dspark_targets, 3);
    assert_int_equal(c.dspark_target_ids[0], 58);
    assert_int_equal(c.dspark_target_ids[2], 60);
    assert_int_equal(c.expert_dtype, HD_EXPERT_FP4);
    assert_int_equal(c.chat_release, HD_CHAT_0731);
    assert_int_equal(load(TEST_TINY).n_stages, 2);
    assert_int_equal(load(TEST_FLASH_BASE).expert_dtype, HD_EXPERT_FP8);
    assert_int_equal(load(TEST_TINY_BARE).draft, HD_DRAFT_NONE);
}

typedef struct change {
    test_release release;
    const char *key, *value; /* value NULL: removed */
} change;

static hd_status parse_changed(const change *ch, hd_config *c, hd_err *err)
{
    test_config_make(&text, ch->release);
    test_config_set(&text, ch->key, ch->value);
    return hd_config_parse(hd_str_from(text.text), c, err);
}

/* What may differ or be missing. */
static const change harmless[] = {
    {TEST_FLASH, "whatever", "{\"a\": [1, null]}"},
    {TEST_FLASH, "architectures", NULL},
    {TEST_FLASH, "scoring_func", NULL},
    {TEST_FLASH, "quantization_config", NULL},
    {TEST_FLASH, "quantization_config", "{}"},
    {TEST_FLASH, "tie_word_embeddings", NULL},
    {TEST_FLASH, "expert_dtype", "null"},
    {TEST_FLASH, "max_position_embeddings", "131072"},
    {TEST_TINY, "hidden_size", "96"},
    {TEST_TINY, "hadal.chat_release", "\"0731\""},
};

static void test_harmless(void **state)
{
    (void)state;
    for (size_t i = 0; i < HD_COUNT(harmless); i++) {
        hd_config c;
        hd_err err = {0};
        if (parse_changed(&harmless[i], &c, &err) != HD_OK) fail_msg("%s", err.text);
    }
}

/* Each key that hadal looks at beyond refusing it. */
static void test_changes(void **state)
{
    (void)state;
    hd_config c;
    assert_int_equal(
        parse_changed(&(change){TEST_FLASH, "num_nextn_predict_layers", "0"}, &c, NULL), HD_OK);
    assert_int_equal(c.draft, HD_DRAFT_NONE);
    assert_int_equal(
        parse_changed(&(change){TEST_FLASH, "num_nextn_predict_layers", NULL}, &c, NULL), HD_OK);
    assert_int_equal(c.draft, HD_DRAFT_NONE);
    assert_int_equal(c.n_stages, 0);
    /* A DSpark config whose list has no zeros for the stages: three, as every DSpark head has. */
    assert_int_equal(
        parse_changed(&(change){TEST_TINY, "compress_ratios", "[0, 4, 128]"}, &c, NULL), HD_OK);
    assert_int_equal(c.n_stages, 3);
    assert_int_equal(parse_changed(&(change){TEST_PRO, "hadal.chat_release", "\"0731\""}, &c, NULL),
                     HD_OK);
    assert_int_equal(c.chat_release, HD_CHAT_0731);
    assert_int_equal(
        parse_changed(&(change){TEST_PRO_0813, "hadal.chat_release", "\"april\""}, &c, NULL),
        HD_OK);
    assert_int_equal(c.chat_release, HD_CHAT_APRIL);
    assert_int_equal(parse_changed(&(change){TEST_PRO, "rms_norm_eps", "1e-20"}, &c, NULL), HD_OK);
    assert_true(c.rms_eps == 1e-20f);
}

typedef struct refusal {
    change change;
    hd_status code;
    const char *path, *text;
} refusal;

#define FMT HD_E_FORMAT
#define UNS HD_E_UNSUPPORTED

static const refusal refusals[] = {
    /* which model */
    {{TEST_FLASH, "model_type", NULL},
     FMT,
     "model_type",
     "'model_type' must be a string, got nothing"},
    {{TEST_FLASH, "model_type", "7"}, FMT, "model_type", "'model_type' must be a string, got 7"},
    {{TEST_FLASH, "model_type", "\"llama\""},
     UNS,
     "model_type",
     "'model_type' is 'llama', expected 'deepseek_v4'"},
    {{TEST_FLASH, "model_type", "\"deepseek_v41\""},
     UNS,
     "model_type",
     "'model_type' is 'deepseek_v41': DeepSeek-V4.1 is not supported yet, expected 'deepseek_v4'"},
    {{TEST_FLASH_0731, "vision_n_layers", "32"},
     UNS,
     "vision_n_layers",
     "'vision_n_layers' is there: DeepSeek-V4-Flash-Vision-Exp is not supported yet, expected a "
     "text model"},
    /* constants of the family */
    {{TEST_FLASH, "head_dim", "256"},
     UNS,
     "head_dim",
     "'head_dim' is 256, expected 512 as in every V4 model"},
    {{TEST_FLASH, "qk_rope_head_dim", "32"},
     UNS,
     "qk_rope_head_dim",
     "'qk_rope_head_dim' is 32, expected 64 as in every V4 model"},
    {{TEST_FLASH, "num_key_value_heads", "8"},
     UNS,
     "num_key_value_heads",
     "'num_key_value_heads' is 8, expected 1 as in every V4 model"},
    {{TEST_FLASH, "index_head_dim", "64"},
     UNS,
     "index_head_dim",
     "'index_head_dim' is 64, expected 128 as in every V4 model"},
    {{TEST_FLASH, "sliding_window", "256"},
     UNS,
     "sliding_window",
     "'sliding_window' is 256, expected 128 as in every V4 model"},
    {{TEST_FLASH, "hc_mult", "2"},
     UNS,
     "hc_mult",
     "'hc_mult' is 2, expected 4 as in every V4 model"},
    {{TEST_FLASH, "hc_sinkhorn_iters", "10"},
     UNS,
     "hc_sinkhorn_iters",
     "'hc_sinkhorn_iters' is 10, expected 20 as in every V4 model"},
    {{TEST_FLASH, "n_shared_experts", "2"},
     UNS,
     "n_shared_experts",
     "'n_shared_experts' is 2, expected 1 as in every V4 model"},
    {{TEST_FLASH, "head_dim", NULL}, FMT, "head_dim", "'head_dim' must be a number, got nothing"},
    {{TEST_FLASH, "scoring_func", "\"softmax\""},
     UNS,
     "scoring_func",
     "'scoring_func' is 'softmax', expected 'sqrtsoftplus'"},
    {{TEST_FLASH, "topk_method", "false"},
     FMT,
     "topk_method",
     "'topk_method' must be a string, got false"},
    {{TEST_FLASH, "hidden_act", "\"gelu\""},
     UNS,
     "hidden_act",
     "'hidden_act' is 'gelu', expected 'silu'"},
    {{TEST_FLASH, "norm_topk_prob", "false"},
     UNS,
     "norm_topk_prob",
     "'norm_topk_prob' is false, expected true"},
    {{TEST_FLASH, "tie_word_embeddings", "true"},
     UNS,
     "tie_word_embeddings",
     "'tie_word_embeddings' is true, expected false"},
    {{TEST_FLASH, "attention_bias", "0"},
     FMT,
     "attention_bias",
     "'attention_bias' must be a boolean, got 0"},
    {{TEST_FLASH, "quantization_config", "{\"fmt\": \"e5m2\"}"},
     UNS,
     "quantization_config.fmt",
     "'quantization_config.fmt' is 'e5m2', expected 'e4m3'"},
    {{TEST_FLASH, "quantization_config", "{\"weight_block_size\": [32, 32]}"},
     UNS,
     "quantization_config.weight_block_size",
     "'quantization_config.weight_block_size' must be [128, 128]"},
    /* sizes */
    {{TEST_FLASH, "num_hidden_layers", "0"},
     FMT,
     "num_hidden_layers",
     "'num_hidden_layers' must be an integer from 1 to 256, got 0"},
    {{TEST_FLASH, "num_hidden_layers", "257"},
     FMT,
     "num_hidden_layers",
     "'num_hidden_layers' must be an integer from 1 to 256, got 257"},
    {{TEST_FLASH, "hidden_size", "4097"},
     UNS,
     "hidden_size",
     "'hidden_size' is 4097, expected a multiple of 32"},
    {{TEST_FLASH, "vocab_size", "99999999999999999999"},
     FMT,
     "vocab_size",
     "'vocab_size' must be an integer from 1 to 16777216, got 99999999999999999999"},
    {{TEST_FLASH, "vocab_size", "1e5"},
     FMT,
     "vocab_size",
     "'vocab_size' must be an integer from 1 to 16777216, got 1e5"},
    {{TEST_FLASH, "n_routed_experts", "-1"},
     FMT,
     "n_routed_experts",
     "'n_routed_experts' must be an integer from 1 to 4096, got -1"},
    {{TEST_FLASH, "moe_intermediate_size", NULL},
     FMT,
     "moe_intermediate_size",
     "'moe_intermediate_size' must be a number, got nothing"},
    {{TEST_FLASH, "o_groups", "7"},
     FMT,
     "o_groups",
     "'o_groups' is 7, expected a divisor of the 64 heads"},
    {{TEST_TINY, "num_experts_per_tok", "5"},
     FMT,
     "num_experts_per_tok",
     "'num_experts_per_tok' is 5, expected at most the 4 of 'n_routed_experts'"},
    {{TEST_TINY, "num_hash_layers", "4"},
     FMT,
     "num_hash_layers",
     "'num_hash_layers' is 4, expected at most the 3 of 'num_hidden_layers'"},
    {{TEST_TINY, "bos_token_id", "40"},
     FMT,
     "bos_token_id",
     "'bos_token_id' is outside of the vocabulary, expected less than 40"},
    {{TEST_TINY, "eos_token_id", "40"},
     FMT,
     "eos_token_id",
     "'eos_token_id' is outside of the vocabulary, expected less than 40"},
    {{TEST_TINY, "eos_token_id", "[1, 2]"},
     FMT,
     "eos_token_id",
     "'eos_token_id' must be a number, got an array"},
    /* numbers */
    {{TEST_FLASH, "routed_scaling_factor", "0"},
     FMT,
     "routed_scaling_factor",
     "'routed_scaling_factor' is 0, expected 1e-06 to 1e+06"},
    {{TEST_FLASH, "swiglu_limit", "1e999"},
     FMT,
     "swiglu_limit",
     "'swiglu_limit' is inf, expected 1e-06 to 1e+06"},
    {{TEST_FLASH, "rms_norm_eps", "\"1e-6\""},
     FMT,
     "rms_norm_eps",
     "'rms_norm_eps' must be a number, got a string"},
    {{TEST_FLASH, "hc_eps", "0.0"}, FMT, "hc_eps", "'hc_eps' is 0, expected 1e-30 to 1"},
    {{TEST_FLASH, "rope_theta", "1"},
     FMT,
     "rope_theta",
     "'rope_theta' is 1, expected 1.5 to 1e+12"},
    {{TEST_FLASH, "compress_rope_theta", NULL},
     FMT,
     "compress_rope_theta",
     "'compress_rope_theta' must be a number, got nothing"},
    {{TEST_FLASH, "rope_scaling", "null"},
     FMT,
     "rope_scaling",
     "'rope_scaling' must be an object, got null"},
    {{TEST_FLASH, "rope_scaling", NULL},
     FMT,
     "rope_scaling",
     "'rope_scaling' must be an object, got nothing"},
    {{TEST_FLASH, "rope_scaling", "{\"type\": \"linear\"}"},
     UNS,
     "rope_scaling.type",
     "'rope_scaling.type' is 'linear', expected 'yarn'"},
    {{TEST_FLASH, "rope_scaling", "{\"factor\": 0.5}"},
     FMT,
     "rope_scaling.factor",
     "'rope_scaling.factor' is 0.5, expected 1 to 65536"},
    {{TEST_FLASH, "rope_scaling", "{\"factor\": 16}"},
     FMT,
     "rope_scaling.beta_fast",
     "'beta_fast' must be a number, got nothing"},
    {{TEST_FLASH, "rope_scaling", "{\"factor\": 16, \"beta_fast\": 1, \"beta_slow\": 0}"},
     FMT,
     "rope_scaling.beta_slow",
     "'rope_scaling.beta_slow' is 0, expected 0.001 to 1e+06"},
    {{TEST_FLASH, "rope_scaling", "{\"factor\": 16, \"beta_fast\": 1, \"beta_slow\": 1}"},
     FMT,
     "rope_scaling.original_max_position_embeddings",
     "'original_max_position_embeddings' must be a number, got nothing"},
    {{TEST_FLASH, "rope_scaling",
      "{\"factor\": 16, \"beta_fast\": 1, \"beta_slow\": 1, "
      "\"original_max_position_embeddings\": 4096}"},
     FMT,
     "rope_scaling.beta_fast",
     "'rope_scaling.beta_fast' is 1, expected more than the 1 of 'beta_slow'"},
    /* lists */
    {{TEST_TINY, "compress_ratios", NULL},
     FMT,
     "compress_ratios",
     "'compress_ratios' must be an array, got nothing"},
    {{TEST_TINY, "compress_ratios", "4"},
     FMT,
     "compress_ratios",
     "'compress_ratios' must be an array, got a number"},
    {{TEST_TINY, "compress_ratios", "[0, 4]"},
     FMT,
     "compress_ratios",
     "'compress_ratios' has 2 elements, expected 3 to 11"},
    {{TEST_TINY, "compress_ratios", "[0, 4, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0]"},
     FMT,
     "compress_ratios",
     "'compress_ratios' has 12 elements, expected 3 to 11"},
    {{TEST_TINY, "compress_ratios", "[0, 2, 128]"},
     UNS,
     "compress_ratios[1]",
     "'compress_ratios[1]' is 2, expected 0, 4 or 128"},
    {{TEST_TINY, "compress_ratios", "[0, 4, 256]"},
     FMT,
     "compress_ratios[2]",
     "'compress_ratios[2]' must be an integer from 0 to 128, got 256"},
    {{TEST_TINY, "compress_ratios", "[0, 4, 128, 4]"},
     UNS,
     "compress_ratios[3]",
     "'compress_ratios[3]' is 4, expected 0 for a block of the draft head"},
    /* draft heads */
    {{TEST_FLASH, "num_nextn_predict_layers", "2"},
     FMT,
     "num_nextn_predict_layers",
     "'num_nextn_predict_layers' must be an integer from 0 to 1, got 2"},
    {{TEST_TINY, "dspark_block_size", "65"},
     FMT,
     "dspark_block_size",
     "'dspark_block_size' must be an integer from 1 to 64, got 65"},
    {{TEST_TINY, "dspark_noise_token_id", "40"},
     FMT,
     "dspark_noise_token_id",
     "'dspark_noise_token_id' must be an integer from 0 to 39, got 40"},
    {{TEST_TINY, "dspark_markov_rank", NULL},
     FMT,
     "dspark_markov_rank",
     "'dspark_markov_rank' must be a number, got nothing"},
    {{TEST_TINY, "dspark_target_layer_ids", "[]"},
     FMT,
     "dspark_target_layer_ids",
     "'dspark_target_layer_ids' has 0 elements, expected 1 to 8"},
    {{TEST_TINY, "dspark_target_layer_ids", "[1, 3]"},
     FMT,
     "dspark_target_layer_ids[1]",
     "'dspark_target_layer_ids[1]' must be an integer from 2 to 2, got 3"},
    {{TEST_TINY, "dspark_target_layer_ids", "[1, 1]"},
     FMT,
     "dspark_target_layer_ids[1]",
     "'dspark_target_layer_ids[1]' must be an integer from 2 to 2, got 1"},
    /* the rest */
    {{TEST_FLASH, "expert_dtype", "\"int4\""},
     UNS,
     "expert_dtype",
     "'expert_dtype' is 'int4', expected 'fp4' or 'fp8'"},
    {{TEST_FLASH, "expert_dtype", "4"},
     FMT,
     "expert_dtype",
     "'expert_dtype' must be a string, got 4"},
    {{TEST_FLASH, "hadal.chat_release", "\"may\""},
     FMT,
     "hadal.chat_release",
     "'hadal.chat_release' is 'may', expected 'april' or '0731'"},
    {{TEST_FLASH, "hadal.chat_release", "[]"},
     FMT,
     "hadal.chat_release",
     "'hadal.chat_release' must be a string, got an array"},
};

static void test_refusals(void **state)
{
    (void)state;
    for (size_t i = 0; i < HD_COUNT(refusals); i++) {
        const refusal *r = &refusals[i];
        hd_config c;
        hd_err err = {0};
        hd_status status = parse_changed(&r->change, &c, &err);
        assert_string_equal(err.text, r->text);
        assert_string_equal(err.path, r->path);
        assert_int_equal(status, r->code);
        assert_int_equal(err.code, r->code);
    }
}

static void test_recognised(void **state)
{
    (void)state;
    hd_config c;
    assert_int_equal(
        parse_changed(&(change){TEST_FLASH, "model_type", "\"deepseek_v41\""}, &c, NULL),
        HD_E_UNSUPPORTED);
    assert_string_equal(c.unsupported, "V4.1");
    assert_int_equal(parse_changed(&(change){TEST_FLASH_0731, "vision_dim", "1024"}, &c, NULL),
                     HD_E_UNSUPPORTED);
    assert_string_equal(c.unsupported, "V4-Flash-Vision-Exp");
    assert_int_equal(parse_changed(&(change){TEST_FLASH, "head_dim", "1"}, &c, NULL),
                     HD_E_UNSUPPORTED);
    assert_null(c.unsupported);
}

static void test_no_object(void **state)
{
    (void)state;
    hd_config c;
    hd_err err;
    assert_int_equal(hd_config_parse(HD_STR("[1]"), &c, &err), HD_E_FORMAT);
    assert_string_equal(err.text, "config.json holds an array, expected an object");
    assert_int_equal(hd_config_parse(HD_STR("{"), &c, &err), HD_E_FORMAT);
    hd_mem_fail_after(0);
    assert_int_equal(hd_config_parse(HD_STR("{}"), &c, &err), HD_E_NOMEM);
    hd_mem_fail_after(-1);
}

static void test_load(void **state)
{
    (void)state;
    const char *dir = test_tmpdir();
    hd_config c;
    hd_err err;
    assert_int_equal(hd_config_load(dir, &c, &err), HD_E_NOTFOUND);
    test_config_make(&text, TEST_PRO);
    test_write(test_path(dir, "config.json"), hd_str_from(text.text));
    assert_int_equal(hd_config_load(dir, &c, &err), HD_OK);
    assert_int_equal(c.dim, 7168);
    static char big[(1 << 20) + 1];
    memset(big, ' ', sizeof big);
    test_write(test_path(dir, "config.json"), (hd_str){big, sizeof big});
    assert_int_equal(hd_config_load(dir, &c, &err), HD_E_LIMIT);
    assert_non_null(strstr(err.text, "is longer than 1048576 bytes"));
    memset(big, 'd', 5000);
    big[5000] = '\0';
    assert_int_equal(hd_config_load(big, &c, &err), HD_E_LIMIT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flash),      cmocka_unit_test(test_layer_kinds),
        cmocka_unit_test(test_dspark),     cmocka_unit_test(test_harmless),
        cmocka_unit_test(test_changes),    cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_recognised), cmocka_unit_test(test_no_object),
        cmocka_unit_test(test_load),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
