#include "support/v4_config.h"

#include <stdio.h>

#include "base/status.h"

/* One member a line, so that test_config_set can find them. */
static const char common[] =
    "{\n"
    "\"architectures\": [\"DeepseekV4ForCausalLM\"],\n"
    "\"model_type\": \"deepseek_v4\",\n"
    "\"torch_dtype\": \"bfloat16\",\n"
    "\"head_dim\": 512,\n"
    "\"qk_rope_head_dim\": 64,\n"
    "\"num_key_value_heads\": 1,\n"
    "\"index_head_dim\": 128,\n"
    "\"sliding_window\": 128,\n"
    "\"attention_bias\": false,\n"
    "\"attention_dropout\": 0.0,\n"
    "\"hc_mult\": 4,\n"
    "\"hc_sinkhorn_iters\": 20,\n"
    "\"hc_eps\": 1e-06,\n"
    "\"rms_norm_eps\": 1e-06,\n"
    "\"n_shared_experts\": 1,\n"
    "\"scoring_func\": \"sqrtsoftplus\",\n"
    "\"topk_method\": \"noaux_tc\",\n"
    "\"norm_topk_prob\": true,\n"
    "\"swiglu_limit\": 10.0,\n"
    "\"hidden_act\": \"silu\",\n"
    "\"rope_theta\": 10000,\n"
    "\"compress_rope_theta\": 160000,\n"
    "\"max_position_embeddings\": 1048576,\n"
    "\"tie_word_embeddings\": false,\n"
    "\"bos_token_id\": 0,\n"
    "\"eos_token_id\": 1,\n"
    "\"use_cache\": true,\n"
    "\"initializer_range\": 0.02,\n"
    "\"num_nextn_predict_layers\": 1,\n"
    "\"transformers_version\": \"4.57.1\",\n"
    "\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 16, "
    "\"original_max_position_embeddings\": 65536, \"beta_fast\": 32, \"beta_slow\": 1},\n"
    "\"quantization_config\": {\"quant_method\": \"fp8\", \"fmt\": \"e4m3\", "
    "\"activation_scheme\": \"dynamic\", \"scale_fmt\": \"ue8m0\", "
    "\"weight_block_size\": [128, 128]},\n";

static const char flash[] =
    "\"vocab_size\": 129280,\n\"hidden_size\": 4096,\n\"num_hidden_layers\": 43,\n"
    "\"num_attention_heads\": 64,\n\"q_lora_rank\": 1024,\n\"o_groups\": 8,\n"
    "\"o_lora_rank\": 1024,\n\"index_n_heads\": 64,\n\"moe_intermediate_size\": 2048,\n"
    "\"n_routed_experts\": 256,\n\"num_experts_per_tok\": 6,\n\"num_hash_layers\": 3,\n"
    "\"routed_scaling_factor\": 1.5,\n\"index_topk\": 512,\n";

static const char pro[] =
    "\"vocab_size\": 129280,\n\"hidden_size\": 7168,\n\"num_hidden_layers\": 61,\n"
    "\"num_attention_heads\": 128,\n\"q_lora_rank\": 1536,\n\"o_groups\": 16,\n"
    "\"o_lora_rank\": 1024,\n\"index_n_heads\": 64,\n\"moe_intermediate_size\": 3072,\n"
    "\"n_routed_experts\": 384,\n\"num_experts_per_tok\": 6,\n\"num_hash_layers\": 3,\n"
    "\"routed_scaling_factor\": 2.5,\n\"index_topk\": 1024,\n";

static const char tiny[] =
    "\"vocab_size\": 40,\n\"hidden_size\": 32,\n\"num_hidden_layers\": 3,\n"
    "\"num_attention_heads\": 2,\n\"q_lora_rank\": 32,\n\"o_groups\": 2,\n"
    "\"o_lora_rank\": 32,\n\"index_n_heads\": 2,\n\"moe_intermediate_size\": 64,\n"
    "\"n_routed_experts\": 4,\n\"num_experts_per_tok\": 2,\n\"num_hash_layers\": 1,\n"
    "\"routed_scaling_factor\": 1.5,\n\"index_topk\": 8,\n";

static void append(test_config *c, const char *text)
{
    size_t n = strlen(c->text);
    HD_ASSERT(n + strlen(text) < sizeof c->text);
    memcpy(c->text + n, text, strlen(text) + 1);
}

/* `a` and `b` first, then pairs of 4 and 128, a last 4, and a 0 per block of the draft head. */
static void append_ratios(test_config *c, int first, int n_pairs, int n_stages)
{
    char head[64];
    snprintf(head, sizeof head, "\"compress_ratios\": [%d, %d", first, first);
    append(c, head);
    for (int i = 0; i < n_pairs; i++) append(c, ", 4, 128");
    append(c, ", 4");
    for (int i = 0; i < n_stages; i++) append(c, ", 0");
    append(c, "],\n");
}

static void append_dspark(test_config *c, const char *targets, int rank, int noise)
{
    char text[256];
    snprintf(text, sizeof text,
             "\"dspark_block_size\": 5,\n\"dspark_noise_token_id\": %d,\n"
             "\"dspark_target_layer_ids\": %s,\n\"dspark_markov_rank\": %d,\n",
             noise, targets, rank);
    append(c, text);
}

static void append_flash(test_config *c, test_release release)
{
    append(c, flash);
    append_ratios(c, 0, 20, release == TEST_FLASH_0731 ? 3 : 1);
    if (release == TEST_FLASH_0731) append_dspark(c, "[40, 41, 42]", 256, 128799);
    if (release == TEST_FLASH_0731) append(c, "\"expert_dtype\": \"fp4\",\n");
    if (release == TEST_FLASH_BASE) append(c, "\"expert_dtype\": \"fp8\",\n");
}

static void append_pro(test_config *c, test_release release)
{
    append(c, pro);
    append_ratios(c, 128, 29, release == TEST_PRO_0813 ? 3 : 1);
    if (release == TEST_PRO_0813) append_dspark(c, "[58, 59, 60]", 512, 128799);
    append(c, release == TEST_PRO_BASE ? "\"expert_dtype\": \"fp8\",\n"
                                       : "\"expert_dtype\": \"fp4\",\n");
}

static void append_tiny(test_config *c, test_release release)
{
    append(c, tiny);
    if (release == TEST_TINY) {
        append(c, "\"compress_ratios\": [0, 4, 128, 0, 0],\n\"expert_dtype\": \"fp4\",\n");
        append_dspark(c, "[1, 2]", 16, 39);
    } else if (release == TEST_TINY_MTP) {
        append(c, "\"compress_ratios\": [0, 4, 128, 0],\n\"expert_dtype\": \"fp8\",\n");
    } else {
        append(c, "\"compress_ratios\": [0, 4, 128],\n");
    }
}

void test_config_make(test_config *c, test_release release)
{
    c->text[0] = '\0';
    append(c, common);
    if (release <= TEST_FLASH_BASE)
        append_flash(c, release);
    else if (release <= TEST_PRO_BASE)
        append_pro(c, release);
    else
        append_tiny(c, release);
    append(c, "\"end\": null\n}\n");
    if (release == TEST_TINY_BARE) test_config_set(c, "num_nextn_predict_layers", "0");
}

void test_config_set(test_config *c, const char *key, const char *value)
{
    char line[64], rest[sizeof c->text];
    snprintf(line, sizeof line, "\n\"%s\": ", key);
    char *at = strstr(c->text, line);
    HD_ASSERT(at || value);
    if (!at) at = strstr(c->text, "\n\"end\"");
    bool is_new = strncmp(at, line, strlen(line)) != 0;
    const char *after = is_new ? at : strchr(at + 1, '\n');
    snprintf(rest, sizeof rest, "%s", after);
    int n = value ? snprintf(at, sizeof c->text - (size_t)(at - c->text), "%s%s,", line, value) : 0;
    at[n] = '\0';
    append(c, rest);
}
