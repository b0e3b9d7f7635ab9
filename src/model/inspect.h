/* What `hadal inspect` says about a checkpoint directory: which model, how large, what is wrong.
 *
 * Nothing here stops at a defect: whatever can still be read is read, and the list holds the rest.
 * Printing is apart from finding, so that both can be tested. */
#ifndef HD_MODEL_INSPECT_H
#define HD_MODEL_INSPECT_H

#include "base/buf.h"
#include "model/names.h"

/* Bytes of a cache row. Source: the rows that FlashMLA keeps for V4. */
#define HD_KV_ROW_BYTES    584 /* 448 FP8 + 64 BF16 + 7 scales + 1 of padding */
#define HD_INDEX_ROW_BYTES 68  /* 128 FP4 + 4 scales */

typedef struct hd_inspect {
    bool has_config;     /* else all below that comes from it is empty */
    bool has_headers;    /* else only the index was read, and bytes are what config.json asks for */
    hd_config config;    /* resolved against the checkpoint */
    const char *variant; /* static; "unknown" without a config, unless the model is recognised */
    int32_t n_layers[3]; /* by hd_layer_kind */
    hd_group_total groups[HD_GROUP_COUNT];
    double kv_bytes_per_token; /* compressed rows and index keys, over many tokens */
    uint64_t window_bytes;     /* window rows of all main layers, per sequence */
    size_t n_shards;
    size_t n_unaligned; /* tensors that do not start at a multiple of their element size */
    hd_defects defects;
} hd_inspect;

/** Read DIR.
 *  @param flags 0 or HD_ST_HEADERS, as for hd_ckpt_open.
 *  @return a failure only when there is no such directory, it cannot be read, or HD_E_NOMEM. */
hd_status hd_inspect_init(hd_inspect *in, const char *dir, unsigned flags,
                          hd_err *err) HD_WARN_UNUSED;
void hd_inspect_deinit(hd_inspect *in);

/** One line of JSON. Ill-formed UTF-8 of file names becomes U+FFFD. */
void hd_inspect_json(const hd_inspect *in, hd_buf *out);

/** The same for a person, with the first max_defects defects; no control characters but LF. */
void hd_inspect_text(const hd_inspect *in, size_t max_defects, hd_buf *out);

#endif
