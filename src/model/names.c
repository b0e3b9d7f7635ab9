/* The table of tensors, and the walk over it. names_check.c compares it with checkpoints. */
#include "model/names.h"

#include <stdio.h>

/* Sizes by name; size_of gives the numbers. */
typedef enum dim {
    DIM_NONE, /* second size of a rank-1 tensor */
    DIM_1,
    DIM_3,
    DIM_M,      /* residual streams */
    DIM_MIX,    /* M pre + M post + M x M comb coefficients */
    DIM_MD,     /* all streams of a token */
    DIM_D,      /* hidden */
    DIM_V,      /* vocabulary */
    DIM_H,      /* heads */
    DIM_HDH,    /* all heads together */
    DIM_DH,     /* head */
    DIM_Q,      /* rank of the queries */
    DIM_GIN,    /* heads of one output group together */
    DIM_GR,     /* ranks of all output groups together */
    DIM_RATIO,  /* tokens per compressed row */
    DIM_COMP,   /* channels of the compressor: twice Dh where windows overlap */
    DIM_IH,     /* index heads */
    DIM_IQ,     /* all index heads together */
    DIM_IDH,    /* index key */
    DIM_ICOMP,  /* channels of the index keys' compressor */
    DIM_E,      /* experts */
    DIM_K,      /* experts per token */
    DIM_F,      /* width of an expert */
    DIM_TD,     /* target layers of DSpark together */
    DIM_RANK,   /* of the Markov head */
    DIM_D_RANK, /* input of the confidence head */
} dim;

typedef enum form {
    FORM_BF16,
    FORM_F32,
    FORM_I64,
    FORM_FP8,   /* F8_E4M3, with a scale per 128 x 128 */
    FORM_EXPERT /* FP4 (I8, a scale per 32 along K) or as FORM_FP8 */
} form;

/* Where a weight exists. */
typedef enum place {
    PLACE_GLOBAL,
    PLACE_BLOCK,      /* every block, draft head included */
    PLACE_COMPRESSED, /* ratio > 0 */
    PLACE_CSA,
    PLACE_HASH, /* the first n_hash_layers */
    PLACE_BIAS, /* all others, draft head included */
    PLACE_MTP,
    PLACE_FIRST, /* first stage of DSpark */
    PLACE_LAST,  /* last stage of DSpark */
    PLACE_TAIL   /* MTP, or the last stage of DSpark */
} place;

typedef struct row {
    place place;
    hd_group group; /* in the main model */
    form form;
    dim out, in;
    const char *suffix;
} row;

/* Source: safetensors headers of the releases, docs/checkpoints.md. */
static const row rows[] = {
    [HD_W_EMBED] = {PLACE_GLOBAL, HD_GROUP_EMBED, FORM_BF16, DIM_V, DIM_D, "embed.weight"},
    [HD_W_HEAD] = {PLACE_GLOBAL, HD_GROUP_HEAD, FORM_BF16, DIM_V, DIM_D, "head.weight"},
    [HD_W_NORM] = {PLACE_GLOBAL, HD_GROUP_NORM, FORM_BF16, DIM_D, DIM_NONE, "norm.weight"},
    [HD_W_HC_HEAD_FN] = {PLACE_GLOBAL, HD_GROUP_HC, FORM_F32, DIM_M, DIM_MD, "hc_head_fn"},
    [HD_W_HC_HEAD_BASE] = {PLACE_GLOBAL, HD_GROUP_HC, FORM_F32, DIM_M, DIM_NONE, "hc_head_base"},
    [HD_W_HC_HEAD_SCALE] = {PLACE_GLOBAL, HD_GROUP_HC, FORM_F32, DIM_1, DIM_NONE, "hc_head_scale"},

    [HD_W_ATTN_NORM] = {PLACE_BLOCK, HD_GROUP_NORM, FORM_BF16, DIM_D, DIM_NONE, "attn_norm.weight"},
    [HD_W_FFN_NORM] = {PLACE_BLOCK, HD_GROUP_NORM, FORM_BF16, DIM_D, DIM_NONE, "ffn_norm.weight"},
    [HD_W_HC_ATTN_FN] = {PLACE_BLOCK, HD_GROUP_HC, FORM_F32, DIM_MIX, DIM_MD, "hc_attn_fn"},
    [HD_W_HC_ATTN_BASE] = {PLACE_BLOCK, HD_GROUP_HC, FORM_F32, DIM_MIX, DIM_NONE, "hc_attn_base"},
    [HD_W_HC_ATTN_SCALE] = {PLACE_BLOCK, HD_GROUP_HC, FORM_F32, DIM_3, DIM_NONE, "hc_attn_scale"},
    [HD_W_HC_FFN_FN] = {PLACE_BLOCK, HD_GROUP_HC, FORM_F32, DIM_MIX, DIM_MD, "hc_ffn_fn"},
    [HD_W_HC_FFN_BASE] = {PLACE_BLOCK, HD_GROUP_HC, FORM_F32, DIM_MIX, DIM_NONE, "hc_ffn_base"},
    [HD_W_HC_FFN_SCALE] = {PLACE_BLOCK, HD_GROUP_HC, FORM_F32, DIM_3, DIM_NONE, "hc_ffn_scale"},

    [HD_W_ATTN_SINK] = {PLACE_BLOCK, HD_GROUP_ATTENTION, FORM_F32, DIM_H, DIM_NONE,
                        "attn.attn_sink"},
    [HD_W_WQ_A] = {PLACE_BLOCK, HD_GROUP_ATTENTION, FORM_FP8, DIM_Q, DIM_D, "attn.wq_a.weight"},
    [HD_W_Q_NORM] = {PLACE_BLOCK, HD_GROUP_ATTENTION, FORM_BF16, DIM_Q, DIM_NONE,
                     "attn.q_norm.weight"},
    [HD_W_WQ_B] = {PLACE_BLOCK, HD_GROUP_ATTENTION, FORM_FP8, DIM_HDH, DIM_Q, "attn.wq_b.weight"},
    [HD_W_WKV] = {PLACE_BLOCK, HD_GROUP_ATTENTION, FORM_FP8, DIM_DH, DIM_D, "attn.wkv.weight"},
    [HD_W_KV_NORM] = {PLACE_BLOCK, HD_GROUP_ATTENTION, FORM_BF16, DIM_DH, DIM_NONE,
                      "attn.kv_norm.weight"},
    [HD_W_WO_A] = {PLACE_BLOCK, HD_GROUP_ATTENTION, FORM_FP8, DIM_GR, DIM_GIN, "attn.wo_a.weight"},
    [HD_W_WO_B] = {PLACE_BLOCK, HD_GROUP_ATTENTION, FORM_FP8, DIM_D, DIM_GR, "attn.wo_b.weight"},

    [HD_W_COMP_APE] = {PLACE_COMPRESSED, HD_GROUP_COMPRESSOR, FORM_F32, DIM_RATIO, DIM_COMP,
                       "attn.compressor.ape"},
    [HD_W_COMP_WKV] = {PLACE_COMPRESSED, HD_GROUP_COMPRESSOR, FORM_BF16, DIM_COMP, DIM_D,
                       "attn.compressor.wkv.weight"},
    [HD_W_COMP_WGATE] = {PLACE_COMPRESSED, HD_GROUP_COMPRESSOR, FORM_BF16, DIM_COMP, DIM_D,
                         "attn.compressor.wgate.weight"},
    [HD_W_COMP_NORM] = {PLACE_COMPRESSED, HD_GROUP_COMPRESSOR, FORM_BF16, DIM_DH, DIM_NONE,
                        "attn.compressor.norm.weight"},
    [HD_W_INDEX_WQ_B] = {PLACE_CSA, HD_GROUP_INDEXER, FORM_FP8, DIM_IQ, DIM_Q,
                         "attn.indexer.wq_b.weight"},
    [HD_W_INDEX_WEIGHTS] = {PLACE_CSA, HD_GROUP_INDEXER, FORM_BF16, DIM_IH, DIM_D,
                            "attn.indexer.weights_proj.weight"},
    [HD_W_INDEX_APE] = {PLACE_CSA, HD_GROUP_COMPRESSOR, FORM_F32, DIM_RATIO, DIM_ICOMP,
                        "attn.indexer.compressor.ape"},
    [HD_W_INDEX_WKV] = {PLACE_CSA, HD_GROUP_COMPRESSOR, FORM_BF16, DIM_ICOMP, DIM_D,
                        "attn.indexer.compressor.wkv.weight"},
    [HD_W_INDEX_WGATE] = {PLACE_CSA, HD_GROUP_COMPRESSOR, FORM_BF16, DIM_ICOMP, DIM_D,
                          "attn.indexer.compressor.wgate.weight"},
    [HD_W_INDEX_NORM] = {PLACE_CSA, HD_GROUP_COMPRESSOR, FORM_BF16, DIM_IDH, DIM_NONE,
                         "attn.indexer.compressor.norm.weight"},

    [HD_W_GATE] = {PLACE_BLOCK, HD_GROUP_GATE, FORM_BF16, DIM_E, DIM_D, "ffn.gate.weight"},
    [HD_W_GATE_TID2EID] = {PLACE_HASH, HD_GROUP_GATE, FORM_I64, DIM_V, DIM_K, "ffn.gate.tid2eid"},
    [HD_W_GATE_BIAS] = {PLACE_BIAS, HD_GROUP_GATE, FORM_F32, DIM_E, DIM_NONE, "ffn.gate.bias"},
    [HD_W_EXPERT_W1] = {PLACE_BLOCK, HD_GROUP_EXPERTS, FORM_EXPERT, DIM_F, DIM_D, "w1.weight"},
    [HD_W_EXPERT_W2] = {PLACE_BLOCK, HD_GROUP_EXPERTS, FORM_EXPERT, DIM_D, DIM_F, "w2.weight"},
    [HD_W_EXPERT_W3] = {PLACE_BLOCK, HD_GROUP_EXPERTS, FORM_EXPERT, DIM_F, DIM_D, "w3.weight"},
    [HD_W_SHARED_W1] = {PLACE_BLOCK, HD_GROUP_SHARED_EXPERTS, FORM_FP8, DIM_F, DIM_D,
                        "ffn.shared_experts.w1.weight"},
    [HD_W_SHARED_W2] = {PLACE_BLOCK, HD_GROUP_SHARED_EXPERTS, FORM_FP8, DIM_D, DIM_F,
                        "ffn.shared_experts.w2.weight"},
    [HD_W_SHARED_W3] = {PLACE_BLOCK, HD_GROUP_SHARED_EXPERTS, FORM_FP8, DIM_F, DIM_D,
                        "ffn.shared_experts.w3.weight"},

    [HD_W_E_PROJ] = {PLACE_MTP, HD_GROUP_DRAFT, FORM_FP8, DIM_D, DIM_D, "e_proj.weight"},
    [HD_W_H_PROJ] = {PLACE_MTP, HD_GROUP_DRAFT, FORM_FP8, DIM_D, DIM_D, "h_proj.weight"},
    [HD_W_ENORM] = {PLACE_MTP, HD_GROUP_DRAFT, FORM_BF16, DIM_D, DIM_NONE, "enorm.weight"},
    [HD_W_HNORM] = {PLACE_MTP, HD_GROUP_DRAFT, FORM_BF16, DIM_D, DIM_NONE, "hnorm.weight"},
    [HD_W_MAIN_PROJ] = {PLACE_FIRST, HD_GROUP_DRAFT, FORM_FP8, DIM_D, DIM_TD, "main_proj.weight"},
    [HD_W_MAIN_NORM] = {PLACE_FIRST, HD_GROUP_DRAFT, FORM_BF16, DIM_D, DIM_NONE,
                        "main_norm.weight"},
    [HD_W_DRAFT_NORM] = {PLACE_TAIL, HD_GROUP_DRAFT, FORM_BF16, DIM_D, DIM_NONE, "norm.weight"},
    [HD_W_DRAFT_HC_HEAD_FN] = {PLACE_TAIL, HD_GROUP_DRAFT, FORM_F32, DIM_M, DIM_MD, "hc_head_fn"},
    [HD_W_DRAFT_HC_HEAD_BASE] = {PLACE_TAIL, HD_GROUP_DRAFT, FORM_F32, DIM_M, DIM_NONE,
                                 "hc_head_base"},
    [HD_W_DRAFT_HC_HEAD_SCALE] = {PLACE_TAIL, HD_GROUP_DRAFT, FORM_F32, DIM_1, DIM_NONE,
                                  "hc_head_scale"},
    [HD_W_MARKOV_W1] = {PLACE_LAST, HD_GROUP_DRAFT, FORM_BF16, DIM_V, DIM_RANK,
                        "markov_head.markov_w1.weight"},
    [HD_W_MARKOV_W2] = {PLACE_LAST, HD_GROUP_DRAFT, FORM_BF16, DIM_V, DIM_RANK,
                        "markov_head.markov_w2.weight"},
    [HD_W_CONFIDENCE] = {PLACE_LAST, HD_GROUP_DRAFT, FORM_BF16, DIM_1, DIM_D_RANK,
                         "confidence_head.proj.weight"},
};
_Static_assert(HD_COUNT(rows) == HD_W_COUNT, "one row per weight");

static const char *const group_names[] = {
    [HD_GROUP_EMBED] = "embed",         [HD_GROUP_HEAD] = "head",
    [HD_GROUP_NORM] = "norm",           [HD_GROUP_HC] = "hc",
    [HD_GROUP_ATTENTION] = "attention", [HD_GROUP_COMPRESSOR] = "compressor",
    [HD_GROUP_INDEXER] = "indexer",     [HD_GROUP_GATE] = "gate",
    [HD_GROUP_EXPERTS] = "experts",     [HD_GROUP_SHARED_EXPERTS] = "shared_experts",
    [HD_GROUP_DRAFT] = "draft",         [HD_GROUP_UNKNOWN] = "unknown",
};
_Static_assert(HD_COUNT(group_names) == HD_GROUP_COUNT, "one name per group");

const char *hd_group_name(hd_group group)
{
    HD_ASSERT((unsigned)group < HD_GROUP_COUNT);
    return group_names[group];
}

/* ---- one tensor ---- */

static bool is_in(const hd_config *c, place where, int32_t block)
{
    bool is_main = block >= 0 && block < c->n_layers;
    bool is_draft = block >= c->n_layers && block < c->n_layers + c->n_stages;
    bool is_spark = is_draft && c->draft == HD_DRAFT_DSPARK;
    bool is_mtp = is_draft && c->draft == HD_DRAFT_MTP;
    bool is_last = block == c->n_layers + c->n_stages - 1;
    switch (where) {
    case PLACE_GLOBAL: return block == -1;
    case PLACE_BLOCK: return is_main || is_draft;
    case PLACE_COMPRESSED: return is_main && c->ratio[block] > 0;
    case PLACE_CSA: return is_main && c->ratio[block] == HD_CSA_RATIO;
    case PLACE_HASH: return is_main && block < c->n_hash_layers;
    case PLACE_BIAS: return is_draft || (is_main && block >= c->n_hash_layers);
    case PLACE_MTP: return is_mtp;
    case PLACE_FIRST: return is_spark && block == c->n_layers;
    case PLACE_LAST: return is_spark && is_last;
    case PLACE_TAIL: return is_mtp || (is_spark && is_last);
    }
    return false;
}

static int64_t size_of(const hd_config *c, dim d, int32_t block)
{
    int64_t ratio = block >= 0 && block < c->n_layers ? c->ratio[block] : 0;
    switch (d) {
    case DIM_NONE: return 0;
    case DIM_1: return 1;
    case DIM_3: return 3;
    case DIM_M: return HD_STREAMS;
    case DIM_MIX: return (2 + HD_STREAMS) * HD_STREAMS;
    case DIM_MD: return (int64_t)HD_STREAMS * c->dim;
    case DIM_D: return c->dim;
    case DIM_V: return c->vocab_size;
    case DIM_H: return c->n_heads;
    case DIM_HDH: return (int64_t)c->n_heads * HD_HEAD_DIM;
    case DIM_DH: return HD_HEAD_DIM;
    case DIM_Q: return c->q_lora_rank;
    case DIM_GIN: return (int64_t)(c->n_heads / c->o_groups) * HD_HEAD_DIM;
    case DIM_GR: return (int64_t)c->o_groups * c->o_lora_rank;
    case DIM_RATIO: return ratio;
    case DIM_COMP: return ratio == HD_CSA_RATIO ? 2 * HD_HEAD_DIM : HD_HEAD_DIM;
    case DIM_IH: return c->index_n_heads;
    case DIM_IQ: return (int64_t)c->index_n_heads * HD_INDEX_DIM;
    case DIM_IDH: return HD_INDEX_DIM;
    case DIM_ICOMP: return 2 * HD_INDEX_DIM;
    case DIM_E: return c->n_experts;
    case DIM_K: return c->n_active_experts;
    case DIM_F: return c->moe_dim;
    case DIM_TD: return (int64_t)c->n_dspark_targets * c->dim;
    case DIM_RANK: return c->dspark_markov_rank;
    case DIM_D_RANK: return (int64_t)c->dim + c->dspark_markov_rank;
    }
    return 0;
}

static int64_t ceil_div(int64_t n, int64_t by)
{
    return (n + by - 1) / by;
}

static bool has_scale(form how)
{
    return how == FORM_FP8 || how == FORM_EXPERT;
}

/* Type and stored shape, from the logical [out, in]. */
static void set_storage(hd_tensor_spec *s, form how, bool is_fp4)
{
    static const hd_dtype plain[] = {
        [FORM_BF16] = HD_DTYPE_BF16, [FORM_F32] = HD_DTYPE_F32, [FORM_I64] = HD_DTYPE_I64};
    if (!has_scale(how)) {
        s->dtype = plain[how];
        return;
    }
    bool is_packed = how == FORM_EXPERT && is_fp4;
    if (!s->is_scale) {
        s->dtype = is_packed ? HD_DTYPE_I8 : HD_DTYPE_F8_E4M3;
        if (is_packed) s->shape[1] /= 2;
        return;
    }
    s->dtype = HD_DTYPE_F8_E8M0;
    s->shape[0] = is_packed ? s->shape[0] : ceil_div(s->shape[0], 128);
    s->shape[1] = ceil_div(s->shape[1], is_packed ? 32 : 128);
}

static void set_name(hd_tensor_spec *s, const hd_config *c, const char *suffix)
{
    static const char weight[] = "weight";
    char prefix[48] = "";
    if (s->block >= 0) {
        bool is_main = s->block < c->n_layers;
        int n = snprintf(prefix, sizeof prefix, "%s.%d.", is_main ? "layers" : "mtp",
                         is_main ? s->block : s->block - c->n_layers);
        if (s->expert >= 0)
            snprintf(prefix + n, sizeof prefix - (size_t)n, "ffn.experts.%d.", s->expert);
    }
    int stem = (int)(strlen(suffix) - (s->is_scale ? sizeof weight - 1 : 0));
    s->name_len = snprintf(s->name, sizeof s->name, "%s%.*s%s", prefix, stem, suffix,
                           s->is_scale ? "scale" : "");
    HD_ASSERT(s->name_len < HD_MAX_NAME);
}

bool hd_names_spec(const hd_config *c, hd_weight_id weight, int32_t block, int32_t expert,
                   bool is_scale, hd_tensor_spec *out)
{
    const row *r = &rows[weight];
    int32_t n_experts = r->form == FORM_EXPERT ? c->n_experts : 0;
    if (!is_in(c, r->place, block) || (is_scale && !has_scale(r->form))) return false;
    if (n_experts ? expert < 0 || expert >= n_experts : expert != -1) return false;
    *out = (hd_tensor_spec){.weight = weight,
                            .block = block,
                            .expert = expert,
                            .is_scale = is_scale,
                            .group = block < c->n_layers ? r->group : HD_GROUP_DRAFT,
                            .rank = r->in == DIM_NONE ? 1 : 2,
                            .shape = {size_of(c, r->out, block), size_of(c, r->in, block)}};
    set_storage(out, r->form, c->expert_dtype != HD_EXPERT_FP8);
    set_name(out, c, r->suffix);
    return true;
}

uint64_t hd_names_bytes(const hd_tensor_spec *spec)
{
    int64_t n = spec->shape[0] * (spec->rank == 2 ? spec->shape[1] : 1);
    return (uint64_t)n * hd_dtype_size(spec->dtype);
}

/* ---- all tensors ---- */

void hd_names_begin(hd_names_iter *it, const hd_config *c)
{
    *it = (hd_names_iter){.c = c, .block = -1, .expert = -1};
}

/* Order within a block: by weight; of a weight by expert; the scale behind its weight. */
static void advance(hd_names_iter *it)
{
    form how = rows[it->weight].form;
    bool is_expert = how == FORM_EXPERT;
    if (has_scale(how) && !it->is_scale && it->expert >= (is_expert ? 0 : -1)) {
        it->is_scale = true;
        return;
    }
    it->is_scale = false;
    if (is_expert && it->expert + 1 < it->c->n_experts) {
        it->expert++;
        return;
    }
    it->expert = -1;
    if (++it->weight == HD_W_COUNT) {
        it->weight = 0;
        it->block++;
    }
}

bool hd_names_next(hd_names_iter *it, hd_tensor_spec *out)
{
    int32_t n_blocks = it->c->n_layers + it->c->n_stages;
    while (it->block < n_blocks) {
        bool is_there = hd_names_spec(it->c, (hd_weight_id)it->weight, it->block, it->expert,
                                      it->is_scale, out);
        advance(it);
        if (is_there) return true;
    }
    return false;
}
