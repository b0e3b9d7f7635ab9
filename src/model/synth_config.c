/* config.json of the presets: see synth.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/jsonw.h"
#include "model/config.h"
#include "model/synth.h"

typedef struct shape {
    int32_t n_layers, dim, vocab_size, n_heads, q_lora_rank, o_groups, o_lora_rank;
    int32_t index_n_heads, index_topk, n_experts, n_active, moe_dim, n_hash_layers;
    const char *first_kinds;  /* of the first layers: w window, c ratio 4, h ratio 128; */
    double route_scale;       /* all others alternate c, h, c ... */
    const char *expert_dtype; /* NULL: left out */
    hd_draft_kind draft;
    int32_t markov_rank, noise_id; /* DSpark */
} shape;

/* The published shapes, section 1.2 of the specification. */
#define FLASH                                                                                      \
    .n_layers = 43, .dim = 4096, .vocab_size = 129280, .n_heads = 64, .q_lora_rank = 1024,         \
    .o_groups = 8, .o_lora_rank = 1024, .index_n_heads = 64, .index_topk = 512, .n_experts = 256,  \
    .n_active = 6, .moe_dim = 2048, .n_hash_layers = 3, .first_kinds = "ww", .route_scale = 1.5
#define PRO                                                                                        \
    .n_layers = 61, .dim = 7168, .vocab_size = 129280, .n_heads = 128, .q_lora_rank = 1536,        \
    .o_groups = 16, .o_lora_rank = 1024, .index_n_heads = 64, .index_topk = 1024,                  \
    .n_experts = 384, .n_active = 6, .moe_dim = 3072, .n_hash_layers = 3, .first_kinds = "hh",     \
    .route_scale = 2.5
#define DSPARK(rank)                                                                               \
    .draft = HD_DRAFT_DSPARK, .markov_rank = (rank), .noise_id = 128799, .expert_dtype = "fp4"

/* Few, narrow layers that still have every part; index_topk is passed after some 70 tokens. */
#define UNIT                                                                                       \
    .n_layers = 4, .dim = 128, .vocab_size = 512, .q_lora_rank = 64, .o_groups = 2,                \
    .o_lora_rank = 64, .index_topk = 16, .n_experts = 8, .n_active = 3, .moe_dim = 64

typedef struct preset {
    hd_synth_preset info;
    shape shape;
} preset;

static const preset presets[] = {
    {{"unit", "small, every part of the model, DSpark draft head (6 MB)"},
     {UNIT, .n_heads = 2, .index_n_heads = 4, .n_hash_layers = 2, .first_kinds = "w",
      .route_scale = 1.5, .expert_dtype = "fp4", .draft = HD_DRAFT_DSPARK, .markov_rank = 32,
      .noise_id = 511}},
    {{"unit-mtp", "small, FP8 experts, MTP draft head (6 MB)"},
     {UNIT, .n_heads = 4, .index_n_heads = 2, .n_hash_layers = 1, .first_kinds = "wh",
      .route_scale = 2.5, .expert_dtype = "fp8", .draft = HD_DRAFT_MTP}},
    {{"bench-small", "8 layers of width 2048, 32 experts (1.3 GB)"},
     {.n_layers = 8,
      .dim = 2048,
      .vocab_size = 16384,
      .n_heads = 32,
      .q_lora_rank = 512,
      .o_groups = 4,
      .o_lora_rank = 512,
      .index_n_heads = 32,
      .index_topk = 512,
      .n_experts = 32,
      .n_active = 6,
      .moe_dim = 1024,
      .n_hash_layers = 3,
      .first_kinds = "ww",
      .route_scale = 1.5,
      .expert_dtype = "fp4"}},
    {{"bench-large", "7 layers of V4-Flash's own sizes, 64 experts (7.6 GB)"},
     {.n_layers = 7,
      .dim = 4096,
      .vocab_size = 32768,
      .n_heads = 64,
      .q_lora_rank = 1024,
      .o_groups = 8,
      .o_lora_rank = 1024,
      .index_n_heads = 64,
      .index_topk = 512,
      .n_experts = 64,
      .n_active = 6,
      .moe_dim = 2048,
      .n_hash_layers = 3,
      .first_kinds = "ww",
      .route_scale = 1.5,
      .expert_dtype = "fp4"}},
    {{"flash", "V4-Flash, April (160 GB; see --headers)"}, {FLASH, .draft = HD_DRAFT_MTP}},
    {{"flash-base", "V4-Flash-Base, FP8 experts (293 GB)"},
     {FLASH, .draft = HD_DRAFT_MTP, .expert_dtype = "fp8"}},
    {{"flash-0731", "V4-Flash-0731 with DSpark (167 GB)"}, {FLASH, DSPARK(256)}},
    {{"pro", "V4-Pro, April (865 GB)"}, {PRO, .draft = HD_DRAFT_MTP, .expert_dtype = "fp4"}},
    {{"pro-base", "V4-Pro-Base, FP8 experts (1602 GB)"},
     {PRO, .draft = HD_DRAFT_MTP, .expert_dtype = "fp8"}},
    {{"pro-0813", "V4-Pro-0813 with DSpark (893 GB)"}, {PRO, DSPARK(512)}},
};

#define DSPARK_STAGES 3

const hd_synth_preset *hd_synth_preset_at(size_t i)
{
    return i < HD_COUNT(presets) ? &presets[i].info : NULL;
}

static void add_int(hd_buf *out, const char *key, int64_t value)
{
    hd_buf_addf(out, " \"%s\": %" PRId64 ",\n", key, value);
}

/* The keys that are the same in every release. */
static void add_constants(hd_buf *out)
{
    hd_buf_addz(out, " \"architectures\": [\"DeepseekV4ForCausalLM\"],\n"
                     " \"model_type\": \"deepseek_v4\",\n"
                     " \"torch_dtype\": \"bfloat16\",\n"
                     " \"num_key_value_heads\": 1,\n"
                     " \"attention_bias\": false,\n"
                     " \"attention_dropout\": 0.0,\n"
                     " \"hc_eps\": 1e-06,\n"
                     " \"rms_norm_eps\": 1e-06,\n"
                     " \"n_shared_experts\": 1,\n"
                     " \"scoring_func\": \"sqrtsoftplus\",\n"
                     " \"topk_method\": \"noaux_tc\",\n"
                     " \"norm_topk_prob\": true,\n"
                     " \"swiglu_limit\": 10.0,\n"
                     " \"hidden_act\": \"silu\",\n"
                     " \"rope_theta\": 10000,\n"
                     " \"compress_rope_theta\": 160000,\n"
                     " \"rope_scaling\": {\"type\": \"yarn\", \"factor\": 16, "
                     "\"original_max_position_embeddings\": 65536, \"beta_fast\": 32, "
                     "\"beta_slow\": 1},\n"
                     " \"quantization_config\": {\"quant_method\": \"fp8\", \"fmt\": \"e4m3\", "
                     "\"activation_scheme\": \"dynamic\", \"scale_fmt\": \"ue8m0\", "
                     "\"weight_block_size\": [128, 128]},\n"
                     " \"max_position_embeddings\": 1048576,\n"
                     " \"tie_word_embeddings\": false,\n"
                     " \"bos_token_id\": 0,\n"
                     " \"eos_token_id\": 1,\n"
                     " \"use_cache\": true,\n"
                     " \"initializer_range\": 0.02,\n");
    add_int(out, "head_dim", HD_HEAD_DIM);
    add_int(out, "qk_rope_head_dim", HD_ROPE_DIM);
    add_int(out, "index_head_dim", HD_INDEX_DIM);
    add_int(out, "sliding_window", HD_WINDOW);
    add_int(out, "hc_mult", HD_STREAMS);
    add_int(out, "hc_sinkhorn_iters", HD_SINKHORN_ITERS);
}

static void add_sizes(hd_buf *out, const shape *s)
{
    add_int(out, "num_hidden_layers", s->n_layers);
    add_int(out, "hidden_size", s->dim);
    add_int(out, "vocab_size", s->vocab_size);
    add_int(out, "num_attention_heads", s->n_heads);
    add_int(out, "q_lora_rank", s->q_lora_rank);
    add_int(out, "o_groups", s->o_groups);
    add_int(out, "o_lora_rank", s->o_lora_rank);
    add_int(out, "index_n_heads", s->index_n_heads);
    add_int(out, "index_topk", s->index_topk);
    add_int(out, "n_routed_experts", s->n_experts);
    add_int(out, "num_experts_per_tok", s->n_active);
    add_int(out, "moe_intermediate_size", s->moe_dim);
    add_int(out, "num_hash_layers", s->n_hash_layers);
    add_int(out, "num_nextn_predict_layers", s->draft != HD_DRAFT_NONE);
    hd_buf_addz(out, " \"routed_scaling_factor\": ");
    hd_jsonw_f64(out, s->route_scale);
    hd_buf_addz(out, ",\n");
    if (s->expert_dtype) hd_buf_addf(out, " \"expert_dtype\": \"%s\",\n", s->expert_dtype);
}

static int ratio_of(char kind)
{
    if (kind == 'w') return 0;
    return kind == 'c' ? HD_CSA_RATIO : HD_HCA_RATIO;
}

static void add_layers_and_draft(hd_buf *out, const shape *s)
{
    int32_t n_first = (int32_t)strlen(s->first_kinds);
    int32_t n_stages = s->draft == HD_DRAFT_DSPARK ? DSPARK_STAGES : s->draft == HD_DRAFT_MTP;
    if (s->draft == HD_DRAFT_DSPARK) {
        add_int(out, "dspark_block_size", 5);
        add_int(out, "dspark_noise_token_id", s->noise_id);
        add_int(out, "dspark_markov_rank", s->markov_rank);
        hd_buf_addf(out, " \"dspark_target_layer_ids\": [%d, %d, %d],\n", s->n_layers - 3,
                    s->n_layers - 2, s->n_layers - 1);
    }
    hd_buf_addz(out, " \"compress_ratios\": [");
    for (int32_t i = 0; i < s->n_layers; i++) {
        char kind = i < n_first ? s->first_kinds[i] : "ch"[(i - n_first) % 2];
        hd_buf_addf(out, "%s%d", i ? ", " : "", ratio_of(kind));
    }
    for (int32_t i = 0; i < n_stages; i++) hd_buf_addz(out, ", 0");
    hd_buf_addz(out, "]\n");
}

static hd_status fail_unknown_preset(const char *name, hd_err *err)
{
    char names[200] = "";
    for (size_t i = 0, at = 0; i < HD_COUNT(presets) && at < sizeof names; i++)
        at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", i ? ", " : "",
                               presets[i].info.name);
    HD_FAIL(err, HD_E_NOTFOUND, "no preset '%s': expected one of %s", name, names);
}

hd_status hd_synth_preset_config(const char *name, hd_buf *config_json, hd_err *err)
{
    const preset *p = presets;
    while (p < presets + HD_COUNT(presets) && strcmp(p->info.name, name) != 0) p++;
    if (p == presets + HD_COUNT(presets)) return fail_unknown_preset(name, err);
    hd_buf_addz(config_json, "{\n");
    add_constants(config_json);
    add_sizes(config_json, &p->shape);
    add_layers_and_draft(config_json, &p->shape);
    hd_buf_addz(config_json, "}\n");
    return hd_buf_status(config_json, "config.json", err);
}
