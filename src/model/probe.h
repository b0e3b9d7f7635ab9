/* Looking into a step, and putting other values in: how the model is compared with golden data.
 *
 * A probe holds wishes: capture the value named "L2.qr", or feed it from a file in the place of the
 * computed one. The forward pass calls a hook at each named place; without a probe a hook is one
 * comparison. Values are whole: one row per token of the text (or per compressed row), gathered
 * over the steps of ONE sequence from position 0. Names and shapes: docs/numerics.md, "Captures".
 * Rows of the caches are shown as the BF16 values that they stand for. */
#ifndef HD_MODEL_PROBE_H
#define HD_MODEL_PROBE_H

#include "base/dtype.h"
#include "model/v4.h"

/** A value on the host: [n_rows, dims...], dense. */
typedef struct hd_probe_value {
    char name[64]; /* "L2.qr" */
    hd_dtype dtype;
    int32_t rank; /* dims without the rows */
    int32_t dims[2];
    int64_t n_rows;
    size_t row_bytes;
    uint8_t *data; /* host; owned if captured, borrowed if fed */
} hd_probe_value;

/** @param n_tokens the length of the whole text: kv_all and index_topk count rows behind it. */
hd_probe *hd_probe_create(int32_t n_tokens);
void hd_probe_destroy(hd_probe *p);
/** HD_E_ARG when the name has not the form "L<layer>.<point>" or the point does not exist. */
hd_status hd_probe_capture(hd_probe *p, hd_str name, hd_err *err) HD_WARN_UNUSED;
/** `value` is borrowed: data [n_rows, row_bytes] in the dtype of that point (checked when used). */
hd_status hd_probe_feed(hd_probe *p, hd_str name, const hd_probe_value *value,
                        hd_err *err) HD_WARN_UNUSED;
/** The i-th captured value in order of the wishes; NULL behind the last. A value that the model
 *  never had (no such layer) has n_rows = 0. */
const hd_probe_value *hd_probe_captured(const hd_probe *p, int i);
/** What went wrong at a hook (a hook itself can only return a status); HD_OK if nothing. */
hd_status hd_probe_status(const hd_probe *p, hd_err *err);

/* ---- hooks (all return at once when m->probe is NULL) ------------------------------------------
 */

/** Most wishes of each kind. */
#define HD_PROBE_MAX_VALUES 256

#define HD_PROBED(m, index) (HD_UNLIKELY((m)->probe != NULL) && (index) < (m)->cfg.n_layers)

hd_status hd_probe_streams_(hd_model *m, const hd_v4_step *step, int32_t layer, const char *point,
                            hd_bf16 *x);
hd_status hd_probe_heads_(hd_model *m, const hd_v4_step *step, int32_t layer, const char *point,
                          hd_bf16 *x, int32_t n_heads, int32_t dim);
hd_status hd_probe_rows_(hd_model *m, const hd_v4_step *step, int32_t layer, const char *point,
                         hd_bf16 *x, int32_t dim);
hd_status hd_probe_requantized_(hd_model *m, const hd_v4_step *step, int32_t layer,
                                const char *point, hd_bf16 *x, int32_t dim, void *act);
hd_status hd_probe_hc_(hd_model *m, const hd_v4_step *step, const hd_v4_block *b, bool ffn,
                       const hd_bf16 *x);
hd_status hd_probe_kv_(hd_model *m, const hd_v4_step *step, const hd_v4_block *b,
                       const hd_v4_groups *g);
hd_status hd_probe_index_keys_(hd_model *m, int32_t layer, const hd_v4_groups *g);
hd_status hd_probe_selection_(hd_model *m, const hd_v4_step *step, int32_t layer);
hd_status hd_probe_attention_(hd_model *m, const hd_v4_step *step, const hd_v4_block *b,
                              const int32_t *sel);
hd_status hd_probe_route_(hd_model *m, const hd_v4_step *step, const hd_v4_block *b);

/** The streams: bf16 [T, 4, D], before a layer ("in") or behind it ("out"). */
#define hd_probe_streams(m, step, layer, point, x)                                                 \
    (HD_PROBED(m, layer) ? hd_probe_streams_(m, step, layer, point, x) : HD_OK)
/** bf16 [T, n_heads, dim]. */
#define hd_probe_heads(m, step, layer, point, x, n_heads, dim)                                     \
    (HD_PROBED(m, layer) ? hd_probe_heads_(m, step, layer, point, x, n_heads, dim) : HD_OK)
/** bf16 [T, dim]. */
#define hd_probe_rows(m, step, layer, point, x, dim)                                               \
    (HD_PROBED(m, layer) ? hd_probe_rows_(m, step, layer, point, x, dim) : HD_OK)
/** As rows; a fed value is quantised again into `act`. */
#define hd_probe_requantized(m, step, layer, point, x, dim, act)                                   \
    (HD_PROBED(m, layer) ? hd_probe_requantized_(m, step, layer, point, x, dim, act) : HD_OK)
/** hc_attn.* or hc_ffn.*, then attn_in or ffn_in, made again when coefficients were fed. */
#define hd_probe_hc(m, step, b, ffn, x)                                                            \
    (HD_PROBED(m, (b)->index) ? hd_probe_hc_(m, step, b, ffn, x) : HD_OK)
/** kv_all and comp_kv, while the step's rows are still in the workspace; g NULL: window only. */
#define hd_probe_kv(m, step, b, g) (HD_PROBED(m, (b)->index) ? hd_probe_kv_(m, step, b, g) : HD_OK)
#define hd_probe_index_keys(m, layer, g)                                                           \
    (HD_PROBED(m, layer) ? hd_probe_index_keys_(m, layer, g) : HD_OK)
/** index_topk: entries shown behind the tokens' rows. */
#define hd_probe_selection(m, step, layer)                                                         \
    (HD_PROBED(m, layer) ? hd_probe_selection_(m, step, layer) : HD_OK)
/** o_rot, and attn_keys as the canonical key list. */
#define hd_probe_attention(m, step, b, sel)                                                        \
    (HD_PROBED(m, (b)->index) ? hd_probe_attention_(m, step, b, sel) : HD_OK)
/** route_id, route_w, in the order of choice. */
#define hd_probe_route(m, step, b) (HD_PROBED(m, (b)->index) ? hd_probe_route_(m, step, b) : HD_OK)

#endif
