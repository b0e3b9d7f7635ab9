/* The tensors of a V4 checkpoint: name, type and shape of each, from the configuration.
 *
 * One table (names.c) says which weights exist, where, and how large they are. From it come the
 * loader's look-ups, the check of a checkpoint against its configuration, and what `hadal synth`
 * writes, so that the three cannot disagree. Blocks are counted through: 0 ... n_layers - 1 are the
 * main layers ("layers.3."), n_layers ... n_layers + n_stages - 1 the blocks of the draft head
 * ("mtp.0."). Published totals of every release are reproduced by tests/unit/test_names.c. */
#ifndef HD_MODEL_NAMES_H
#define HD_MODEL_NAMES_H

#include "io/ckpt.h"
#include "model/config.h"

/* Groups of `hadal inspect`, in its order. */
typedef enum hd_group {
    HD_GROUP_EMBED,
    HD_GROUP_HEAD,
    HD_GROUP_NORM, /* of layers and the head; norms inside attention count there */
    HD_GROUP_HC,   /* hyper-connections */
    HD_GROUP_ATTENTION,
    HD_GROUP_COMPRESSOR, /* the indexers' compressors too */
    HD_GROUP_INDEXER,
    HD_GROUP_GATE,
    HD_GROUP_EXPERTS,
    HD_GROUP_SHARED_EXPERTS,
    HD_GROUP_DRAFT,   /* everything below "mtp." */
    HD_GROUP_UNKNOWN, /* of no place in the model: a defect */
    HD_GROUP_COUNT
} hd_group;

typedef enum hd_weight_id {
    /* global */
    HD_W_EMBED,
    HD_W_HEAD,
    HD_W_NORM,
    HD_W_HC_HEAD_FN,
    HD_W_HC_HEAD_BASE,
    HD_W_HC_HEAD_SCALE,
    /* of a block */
    HD_W_ATTN_NORM,
    HD_W_FFN_NORM,
    HD_W_HC_ATTN_FN,
    HD_W_HC_ATTN_BASE,
    HD_W_HC_ATTN_SCALE,
    HD_W_HC_FFN_FN,
    HD_W_HC_FFN_BASE,
    HD_W_HC_FFN_SCALE,
    HD_W_ATTN_SINK,
    HD_W_WQ_A,
    HD_W_Q_NORM,
    HD_W_WQ_B,
    HD_W_WKV,
    HD_W_KV_NORM,
    HD_W_WO_A,
    HD_W_WO_B,
    HD_W_COMP_APE, /* of a compressed layer */
    HD_W_COMP_WKV,
    HD_W_COMP_WGATE,
    HD_W_COMP_NORM,
    HD_W_INDEX_WQ_B, /* of a CSA layer */
    HD_W_INDEX_WEIGHTS,
    HD_W_INDEX_APE,
    HD_W_INDEX_WKV,
    HD_W_INDEX_WGATE,
    HD_W_INDEX_NORM,
    HD_W_GATE,
    HD_W_GATE_TID2EID, /* of a hash-routed layer; any other block has the bias */
    HD_W_GATE_BIAS,
    HD_W_EXPERT_W1, /* gate; one per expert */
    HD_W_EXPERT_W2, /* down */
    HD_W_EXPERT_W3, /* up */
    HD_W_SHARED_W1,
    HD_W_SHARED_W2,
    HD_W_SHARED_W3,
    /* of the MTP block */
    HD_W_E_PROJ,
    HD_W_H_PROJ,
    HD_W_ENORM,
    HD_W_HNORM,
    /* of DSpark's first stage */
    HD_W_MAIN_PROJ,
    HD_W_MAIN_NORM,
    /* of the MTP block and of DSpark's last stage */
    HD_W_DRAFT_NORM,
    HD_W_DRAFT_HC_HEAD_FN,
    HD_W_DRAFT_HC_HEAD_BASE,
    HD_W_DRAFT_HC_HEAD_SCALE,
    /* of DSpark's last stage */
    HD_W_MARKOV_W1,
    HD_W_MARKOV_W2,
    HD_W_CONFIDENCE,
    HD_W_COUNT
} hd_weight_id;

#define HD_MAX_NAME 80 /* bytes of a tensor's name and its NUL */

typedef struct hd_tensor_spec {
    hd_weight_id weight;
    int32_t block;  /* -1: global */
    int32_t expert; /* -1: not one of many */
    bool is_scale;  /* the block scales of a quantised weight */
    hd_group group;
    hd_dtype dtype;
    int32_t rank;     /* 1 or 2 */
    int64_t shape[2]; /* [out, in]; [n, 0] when rank is 1 */
    int32_t name_len;
    char name[HD_MAX_NAME];
} hd_tensor_spec;

/** Describe one tensor.
 *  @param block  -1 for a global weight.   @param expert -1 unless it is one of EXPERT_W*.
 *  @return false when the model has no such tensor. An unstated expert_dtype counts as FP4. */
bool hd_names_spec(const hd_config *c, hd_weight_id weight, int32_t block, int32_t expert,
                   bool is_scale, hd_tensor_spec *out);

/* Walks all tensors of a model: global ones first, then block by block. */
typedef struct hd_names_iter {
    const hd_config *c; /* borrowed */
    int32_t block, weight, expert;
    bool is_scale;
} hd_names_iter;

void hd_names_begin(hd_names_iter *it, const hd_config *c);
/** False behind the last one. */
bool hd_names_next(hd_names_iter *it, hd_tensor_spec *out);

/** Bytes of the tensor's data. */
uint64_t hd_names_bytes(const hd_tensor_spec *spec);

/** "embed", "attention" ...: as `hadal inspect` prints it. */
const char *hd_group_name(hd_group group);

/* ---- against a checkpoint ---- */

/** The entry of `name`, also when the file spells it "model.NAME"; NULL if there is none. */
const hd_ckpt_entry *hd_names_find(const hd_ckpt *ck, hd_str name);

/** Settle what only the checkpoint knows: expert_dtype from the stored type of an expert, and draft
 *  and n_stages from the tensors below "mtp.".
 *  @return HD_E_FORMAT in strict mode when DSpark tensors meet a config without DSpark keys. */
hd_status hd_names_resolve(const hd_ckpt *ck, hd_config *c, hd_defects *defects,
                           hd_err *err) HD_WARN_UNUSED;

typedef struct hd_group_total {
    size_t n_tensors;
    uint64_t n_bytes;
} hd_group_total;

/** Check every tensor of the checkpoint against a resolved configuration, both ways.
 *  @param totals [HD_GROUP_COUNT], may be NULL: what is stored; with an index alone, what the index
 *         names, in the sizes that the configuration asks for.
 *  @return HD_E_NOMEM, and HD_E_FORMAT in strict mode. */
hd_status hd_names_check(const hd_ckpt *ck, const hd_config *c, hd_group_total *totals,
                         hd_defects *defects, hd_err *err) HD_WARN_UNUSED;

#endif
