/* config.json -> hd_config. Tables say which keys there are and what they may hold; the functions
 * behind them check what a table cannot: lists, and how keys fit together. */
#include "model/config.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/utf8.h"

#define MAX_CONFIG_BYTES ((size_t)1 << 20)
#define MAX_TREE_BYTES   ((size_t)64 << 20)
#define K_MULTIPLE                                                                                 \
    32 /* rows of a quantised weight: a block of FP4 scales, and the dot product's step */
#define DSPARK_STAGES 3 /* of every published DSpark head */

/* ---- errors ---- */

/* A value that is readable but wrong. `path` is the key as a person would write it. */
HD_PRINTF(4, 5)
static hd_status fail_key(hd_err *err, hd_status code, const char *path, const char *fmt, ...)
{
    char what[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    HD_SET_ERR(err, code, "'%s' %s", path, what);
    hd_err_set_path(err, path);
    return code;
}

/* ---- which model ---- */

static bool has_vision_key(const hd_json *root)
{
    for (const hd_json *e = root->child; e; e = e->next)
        if (hd_str_starts(e->key, HD_STR("vision_"))) return true;
    return false;
}

static hd_status check_model_type(const hd_json *root, hd_config *c, hd_err *err)
{
    hd_str type;
    HD_TRY(hd_json_get_str(root, "model_type", &type, err));
    if (hd_str_starts(type, HD_STR("deepseek_v41"))) {
        c->unsupported = "V4.1";
        return fail_key(err, HD_E_UNSUPPORTED, "model_type",
                        "is '%.*s': DeepSeek-V4.1 is not supported yet, expected 'deepseek_v4'",
                        HD_STR_CUT(type));
    }
    if (!hd_str_eqz(type, "deepseek_v4"))
        return fail_key(err, HD_E_UNSUPPORTED, "model_type", "is '%.*s', expected 'deepseek_v4'",
                        HD_STR_CUT(type));
    if (has_vision_key(root)) {
        c->unsupported = "V4-Flash-Vision-Exp";
        return fail_key(err, HD_E_UNSUPPORTED, "vision_n_layers",
                        "is there: DeepSeek-V4-Flash-Vision-Exp is not supported yet, expected a "
                        "text model");
    }
    return HD_OK;
}

/* ---- constants ---- */

typedef struct int_const {
    const char *key;
    int64_t value;
} int_const;

static const int_const int_consts[] = {
    {"head_dim", HD_HEAD_DIM},
    {"qk_rope_head_dim", HD_ROPE_DIM},
    {"num_key_value_heads", 1},
    {"index_head_dim", HD_INDEX_DIM},
    {"sliding_window", HD_WINDOW},
    {"hc_mult", HD_STREAMS},
    {"hc_sinkhorn_iters", HD_SINKHORN_ITERS},
    {"n_shared_experts", 1},
};

/* Words and flags that the forward pass takes for granted; a file may leave them out. */
typedef struct word_const {
    const char *object; /* NULL: at the top */
    const char *key, *value;
} word_const;

static const word_const word_consts[] = {
    {NULL, "scoring_func", "sqrtsoftplus"},
    {NULL, "topk_method", "noaux_tc"},
    {NULL, "hidden_act", "silu"},
    {"rope_scaling", "type", "yarn"},
    {"quantization_config", "quant_method", "fp8"},
    {"quantization_config", "fmt", "e4m3"},
    {"quantization_config", "scale_fmt", "ue8m0"},
    {"quantization_config", "activation_scheme", "dynamic"},
};

typedef struct flag_const {
    const char *key;
    bool value;
} flag_const;

static const flag_const flag_consts[] = {
    {"norm_topk_prob", true},
    {"tie_word_embeddings", false},
    {"attention_bias", false},
};

static hd_status check_word(const hd_json *root, const word_const *w, hd_err *err)
{
    char path[96];
    const hd_json *object = w->object ? hd_json_get(root, w->object) : root;
    hd_str got;
    if (!hd_json_get(object, w->key)) return HD_OK;
    HD_TRY(hd_json_get_str(object, w->key, &got, err));
    if (hd_str_eqz(got, w->value)) return HD_OK;
    snprintf(path, sizeof path, "%s%s%s", w->object ? w->object : "", w->object ? "." : "", w->key);
    return fail_key(err, HD_E_UNSUPPORTED, path, "is '%.*s', expected '%s'", HD_STR_CUT(got),
                    w->value);
}

static hd_status check_block_size(const hd_json *root, hd_err *err)
{
    const hd_json *list =
        hd_json_get(hd_json_get(root, "quantization_config"), "weight_block_size");
    int64_t n, k;
    if (!list) return HD_OK;
    if (list->kind == HD_JSON_ARRAY && list->n == 2 &&
        hd_json_i64(list->child, 128, 128, &n, NULL) == HD_OK &&
        hd_json_i64(list->child->next, 128, 128, &k, NULL) == HD_OK)
        return HD_OK;
    return fail_key(err, HD_E_UNSUPPORTED, "quantization_config.weight_block_size",
                    "must be [128, 128]");
}

static hd_status check_constants(const hd_json *root, hd_err *err)
{
    for (size_t i = 0; i < HD_COUNT(int_consts); i++) {
        const int_const *k = &int_consts[i];
        int64_t got;
        HD_TRY(hd_json_get_i64(root, k->key, INT64_MIN, INT64_MAX, &got, err));
        if (got != k->value)
            return fail_key(err, HD_E_UNSUPPORTED, k->key,
                            "is %" PRId64 ", expected %" PRId64 " as in every V4 model", got,
                            k->value);
    }
    for (size_t i = 0; i < HD_COUNT(word_consts); i++)
        HD_TRY(check_word(root, &word_consts[i], err));
    for (size_t i = 0; i < HD_COUNT(flag_consts); i++) {
        const flag_const *f = &flag_consts[i];
        bool got;
        if (!hd_json_get(root, f->key)) continue;
        HD_TRY(hd_json_get_bool(root, f->key, &got, err));
        if (got != f->value)
            return fail_key(err, HD_E_UNSUPPORTED, f->key, "is %s, expected %s",
                            got ? "true" : "false", f->value ? "true" : "false");
    }
    return check_block_size(root, err);
}

/* ---- sizes and numbers ---- */

typedef struct int_field {
    const char *key;
    size_t at; /* offset of an int32_t in hd_config */
    int32_t min, max;
    int32_t multiple; /* of this; 1 when free */
} int_field;

#define AT(field) offsetof(hd_config, field)

static const int_field int_fields[] = {
    {"num_hidden_layers", AT(n_layers), 1, HD_MAX_LAYERS, 1},
    {"hidden_size", AT(dim), 32, 1 << 17, K_MULTIPLE},
    {"vocab_size", AT(vocab_size), 1, 1 << 24, 1},
    {"num_attention_heads", AT(n_heads), 1, 4096, 1},
    {"q_lora_rank", AT(q_lora_rank), 32, 1 << 17, K_MULTIPLE},
    {"o_groups", AT(o_groups), 1, 4096, 1},
    {"o_lora_rank", AT(o_lora_rank), 32, 1 << 16, K_MULTIPLE},
    {"index_n_heads", AT(index_n_heads), 1, 1024, 1},
    {"index_topk", AT(index_topk), 1, 1 << 16, 1},
    {"n_routed_experts", AT(n_experts), 1, 4096, 1},
    {"num_experts_per_tok", AT(n_active_experts), 1, HD_MAX_ACTIVE, 1},
    {"moe_intermediate_size", AT(moe_dim), 32, 1 << 17, K_MULTIPLE},
    {"num_hash_layers", AT(n_hash_layers), 0, HD_MAX_LAYERS, 1},
    {"max_position_embeddings", AT(max_position), 1, 1 << 24, 1},
    {"bos_token_id", AT(bos_id), 0, (1 << 24) - 1, 1},
    {"eos_token_id", AT(eos_id), 0, (1 << 24) - 1, 1},
};

static hd_status read_sizes(const hd_json *root, hd_config *c, hd_err *err)
{
    for (size_t i = 0; i < HD_COUNT(int_fields); i++) {
        const int_field *f = &int_fields[i];
        int64_t value;
        HD_TRY(hd_json_get_i64(root, f->key, f->min, f->max, &value, err));
        if (value % f->multiple)
            return fail_key(err, HD_E_UNSUPPORTED, f->key,
                            "is %" PRId64 ", expected a multiple of %d", value, f->multiple);
        *(int32_t *)((char *)c + f->at) = (int32_t)value;
    }
    return HD_OK;
}

/* A finite number in [min, max]. */
static hd_status read_number(const hd_json *object, const char *prefix, const char *key, double min,
                             double max, double *out, hd_err *err)
{
    char path[96];
    HD_TRY(hd_json_get_f64(object, key, out, err));
    if (*out >= min && *out <= max) return HD_OK;
    snprintf(path, sizeof path, "%s%s", prefix, key);
    return fail_key(err, HD_E_FORMAT, path, "is %g, expected %g to %g", *out, min, max);
}

static hd_status read_float(const hd_json *root, const char *key, double min, double max,
                            float *out, hd_err *err)
{
    double value;
    HD_TRY(read_number(root, "", key, min, max, &value, err));
    *out = (float)value;
    return HD_OK;
}

static hd_status read_rope(const hd_json *root, hd_config *c, hd_err *err)
{
    static const char in[] = "rope_scaling.";
    int64_t original;
    HD_TRY(read_number(root, "", "rope_theta", 1.5, 1e12, &c->rope_theta, err));
    HD_TRY(read_number(root, "", "compress_rope_theta", 1.5, 1e12, &c->compress_rope_theta, err));
    const hd_json *yarn = hd_json_get(root, "rope_scaling");
    if (!yarn || yarn->kind != HD_JSON_OBJECT)
        return fail_key(err, HD_E_FORMAT, "rope_scaling", "must be an object, got %s",
                        yarn ? hd_json_kind_name(yarn->kind) : "nothing");
    HD_TRY(read_number(yarn, in, "factor", 1.0, 65536.0, &c->yarn_factor, err));
    HD_TRY(read_number(yarn, in, "beta_fast", 1e-3, 1e6, &c->yarn_beta_fast, err));
    HD_TRY(read_number(yarn, in, "beta_slow", 1e-3, 1e6, &c->yarn_beta_slow, err));
    HD_TRY(hd_json_get_i64(yarn, "original_max_position_embeddings", 1, 1 << 24, &original, err));
    c->yarn_original_ctx = (int32_t)original;
    if (c->yarn_beta_fast > c->yarn_beta_slow) return HD_OK;
    return fail_key(err, HD_E_FORMAT, "rope_scaling.beta_fast",
                    "is %g, expected more than the %g of 'beta_slow'", c->yarn_beta_fast,
                    c->yarn_beta_slow);
}

static hd_status read_numbers(const hd_json *root, hd_config *c, hd_err *err)
{
    HD_TRY(read_float(root, "routed_scaling_factor", 1e-6, 1e6, &c->route_scale, err));
    HD_TRY(read_float(root, "swiglu_limit", 1e-6, 1e6, &c->swiglu_limit, err));
    HD_TRY(read_float(root, "rms_norm_eps", 1e-30, 1.0, &c->rms_eps, err));
    HD_TRY(read_float(root, "hc_eps", 1e-30, 1.0, &c->hc_eps, err));
    return read_rope(root, c, err);
}

/* ---- lists ---- */

static hd_status get_list(const hd_json *root, const char *key, size_t min, size_t max,
                          const hd_json **out, hd_err *err)
{
    *out = hd_json_get(root, key);
    if (!*out || (*out)->kind != HD_JSON_ARRAY)
        return fail_key(err, HD_E_FORMAT, key, "must be an array, got %s",
                        *out ? hd_json_kind_name((*out)->kind) : "nothing");
    if ((*out)->n < min || (*out)->n > max)
        return fail_key(err, HD_E_FORMAT, key, "has %zu elements, expected %zu to %zu", (*out)->n,
                        min, max);
    return HD_OK;
}

/* One ratio per layer, then a 0 per block of the draft head; n_extra counts those. */
static hd_status read_ratios(const hd_json *root, hd_config *c, int32_t *n_extra, hd_err *err)
{
    const hd_json *list;
    size_t n = (size_t)c->n_layers, i = 0;
    HD_TRY(get_list(root, "compress_ratios", n, n + HD_MAX_STAGES, &list, err));
    for (const hd_json *e = list->child; e; e = e->next, i++) {
        int64_t ratio;
        HD_TRY(hd_json_i64(e, 0, HD_HCA_RATIO, &ratio, err));
        bool is_known = ratio == 0 || ratio == HD_CSA_RATIO || ratio == HD_HCA_RATIO;
        char path[48];
        snprintf(path, sizeof path, "compress_ratios[%zu]", i);
        if (!is_known)
            return fail_key(err, HD_E_UNSUPPORTED, path, "is %" PRId64 ", expected 0, 4 or 128",
                            ratio);
        if (i >= n && ratio != 0)
            return fail_key(err, HD_E_UNSUPPORTED, path,
                            "is %" PRId64 ", expected 0 for a block of the draft head", ratio);
        if (i < n) c->ratio[i] = (int32_t)ratio;
    }
    *n_extra = (int32_t)(list->n - n);
    return HD_OK;
}

static hd_status read_targets(const hd_json *root, hd_config *c, hd_err *err)
{
    const hd_json *list;
    HD_TRY(get_list(root, "dspark_target_layer_ids", 1, HD_MAX_TARGETS, &list, err));
    for (const hd_json *e = list->child; e; e = e->next) {
        int32_t i = c->n_dspark_targets++;
        int64_t after = i ? c->dspark_target_ids[i - 1] + 1 : 0, id;
        HD_TRY(hd_json_i64(e, after, c->n_layers - 1, &id, err));
        c->dspark_target_ids[i] = (int32_t)id;
    }
    return HD_OK;
}

/* ---- the rest ---- */

static hd_status read_draft(const hd_json *root, hd_config *c, int32_t n_extra, hd_err *err)
{
    int64_t n = 0, block, noise, rank;
    if (!hd_json_get(root, "dspark_block_size")) {
        if (hd_json_get(root, "num_nextn_predict_layers"))
            HD_TRY(hd_json_get_i64(root, "num_nextn_predict_layers", 0, 1, &n, err));
        c->draft = n ? HD_DRAFT_MTP : HD_DRAFT_NONE;
        c->n_stages = (int32_t)n;
        return HD_OK;
    }
    HD_TRY(hd_json_get_i64(root, "dspark_block_size", 1, 64, &block, err));
    HD_TRY(hd_json_get_i64(root, "dspark_noise_token_id", 0, c->vocab_size - 1, &noise, err));
    HD_TRY(hd_json_get_i64(root, "dspark_markov_rank", 1, 1 << 16, &rank, err));
    HD_TRY(read_targets(root, c, err));
    c->draft = HD_DRAFT_DSPARK;
    c->n_stages = n_extra ? n_extra : DSPARK_STAGES;
    c->dspark_block_size = (int32_t)block;
    c->dspark_noise_id = (int32_t)noise;
    c->dspark_markov_rank = (int32_t)rank;
    return HD_OK;
}

static hd_status read_expert_dtype(const hd_json *root, hd_config *c, hd_err *err)
{
    const hd_json *node = hd_json_get(root, "expert_dtype");
    hd_str name;
    c->expert_dtype = HD_EXPERT_UNSTATED;
    if (!node || node->kind == HD_JSON_NULL) return HD_OK;
    HD_TRY(hd_json_get_str(root, "expert_dtype", &name, err));
    if (hd_str_eqz(name, "fp4"))
        c->expert_dtype = HD_EXPERT_FP4;
    else if (hd_str_eqz(name, "fp8"))
        c->expert_dtype = HD_EXPERT_FP8;
    else
        return fail_key(err, HD_E_UNSUPPORTED, "expert_dtype", "is '%.*s', expected 'fp4' or 'fp8'",
                        HD_STR_CUT(name));
    return HD_OK;
}

/* A key of our own; official files lack it. */
static hd_status read_chat_release(const hd_json *root, hd_config *c, hd_err *err)
{
    hd_str name;
    c->chat_release = c->draft == HD_DRAFT_DSPARK ? HD_CHAT_0731 : HD_CHAT_APRIL;
    if (!hd_json_get(root, "hadal.chat_release")) return HD_OK;
    HD_TRY(hd_json_get_str(root, "hadal.chat_release", &name, err));
    if (hd_str_eqz(name, "april"))
        c->chat_release = HD_CHAT_APRIL;
    else if (hd_str_eqz(name, "0731"))
        c->chat_release = HD_CHAT_0731;
    else
        return fail_key(err, HD_E_FORMAT, "hadal.chat_release",
                        "is '%.*s', expected 'april' or '0731'", HD_STR_CUT(name));
    return HD_OK;
}

/* How the sizes fit together. */
static hd_status check_sizes(const hd_config *c, hd_err *err)
{
    if (c->n_heads % c->o_groups)
        return fail_key(err, HD_E_FORMAT, "o_groups", "is %d, expected a divisor of the %d heads",
                        c->o_groups, c->n_heads);
    if (c->n_active_experts > c->n_experts)
        return fail_key(err, HD_E_FORMAT, "num_experts_per_tok",
                        "is %d, expected at most the %d of 'n_routed_experts'", c->n_active_experts,
                        c->n_experts);
    if (c->n_hash_layers > c->n_layers)
        return fail_key(err, HD_E_FORMAT, "num_hash_layers",
                        "is %d, expected at most the %d of 'num_hidden_layers'", c->n_hash_layers,
                        c->n_layers);
    if (c->bos_id >= c->vocab_size || c->eos_id >= c->vocab_size)
        return fail_key(err, HD_E_FORMAT,
                        c->bos_id >= c->vocab_size ? "bos_token_id" : "eos_token_id",
                        "is outside of the vocabulary, expected less than %d", c->vocab_size);
    return HD_OK;
}

static hd_status read_root(const hd_json *root, hd_config *c, hd_err *err)
{
    int32_t n_extra = 0;
    if (root->kind != HD_JSON_OBJECT)
        HD_FAIL(err, HD_E_FORMAT, "config.json holds %s, expected an object",
                hd_json_kind_name(root->kind));
    HD_TRY(check_model_type(root, c, err));
    HD_TRY(check_constants(root, err));
    HD_TRY(read_sizes(root, c, err));
    HD_TRY(check_sizes(c, err));
    HD_TRY(read_numbers(root, c, err));
    HD_TRY(read_ratios(root, c, &n_extra, err));
    HD_TRY(read_draft(root, c, n_extra, err));
    HD_TRY(read_expert_dtype(root, c, err));
    return read_chat_release(root, c, err);
}

hd_status hd_config_parse(hd_str json, hd_config *out, hd_err *err)
{
    hd_arena tree;
    const hd_json *root;
    *out = (hd_config){0};
    hd_arena_init(&tree, MAX_TREE_BYTES);
    hd_status status = hd_json_parse(json, NULL, &tree, &root, err);
    if (status == HD_OK) status = read_root(root, out, err);
    hd_arena_deinit(&tree);
    return status;
}

static void hash_file(hd_str text, uint8_t out[HD_SHA256_BYTES])
{
    hd_sha256 s;
    hd_sha256_init(&s);
    hd_sha256_add(&s, text.ptr, text.len);
    hd_sha256_end(&s, out);
}

hd_status hd_config_load(const char *dir, hd_config *out, hd_err *err)
{
    char path[4096];
    hd_buf text;
    HD_TRY(hd_fs_join(dir, "config.json", path, sizeof path, err));
    hd_buf_init(&text, MAX_CONFIG_BYTES);
    hd_status status = hd_fs_read_all(path, &text, err);
    if (status == HD_OK) status = hd_config_parse(hd_buf_str(&text), out, err);
    if (status == HD_OK) hash_file(hd_buf_str(&text), out->sha256);
    hd_buf_deinit(&text);
    return status;
}

/* ---- names of releases ---- */

/* What tells the two families apart, and both from anything else. */
typedef struct shape {
    int32_t n_layers, dim, n_heads, q_lora_rank, o_groups, moe_dim, n_experts, vocab_size;
    const char *plain, *base, *dspark;
} shape;

static const shape shapes[] = {
    {43, 4096, 64, 1024, 8, 2048, 256, 129280, "V4-Flash", "V4-Flash-Base", "V4-Flash-0731"},
    {61, 7168, 128, 1536, 16, 3072, 384, 129280, "V4-Pro", "V4-Pro-Base", "V4-Pro-0813"},
};

const char *hd_config_variant(const hd_config *c)
{
    for (size_t i = 0; i < HD_COUNT(shapes); i++) {
        const shape *s = &shapes[i];
        if (c->n_layers != s->n_layers || c->dim != s->dim || c->n_heads != s->n_heads ||
            c->q_lora_rank != s->q_lora_rank || c->o_groups != s->o_groups ||
            c->moe_dim != s->moe_dim || c->n_experts != s->n_experts ||
            c->vocab_size != s->vocab_size)
            continue;
        if (c->draft == HD_DRAFT_DSPARK) return s->dspark;
        return c->expert_dtype == HD_EXPERT_FP8 ? s->base : s->plain;
    }
    return "V4-custom";
}
