/* How rows are stored: decoding them to FP32, and the group quantisers that make them.
 *
 * Everything that hostref's ops read passes through here: weights of all formats with their block
 * scales folded in, activations of both kinds, cache rows found through page tables. Decoding is
 * exact; the quantisers round as the spec's actq8 and fq4 do (docs/numerics.md). */
#ifndef HD_DEV_HOSTREF_ROWFMT_H
#define HD_DEV_HOSTREF_ROWFMT_H

#include "dev/hostref/hostref.h"

/** out[i] = W[row, k0 + i] of one part, times its block scale; i < n. */
void hd_hostref_weight_row(const hd_ref_weight *w, int32_t part, int32_t row, int32_t k0, int32_t n,
                           float *out);

/** A matrix of inputs [n_rows, cols], BF16 or quantised. */
typedef struct hd_ref_input {
    hd_x_kind kind;
    const void *x;
    int32_t n_rows, cols;
} hd_ref_input;

/** out[i] = x[row, k0 + i], times its scale where quantised; i < n. */
void hd_hostref_input_row(const hd_ref_input *in, int32_t row, int32_t k0, int32_t n, float *out);

void hd_hostref_bf16_row(const hd_bf16 *x, int32_t n, float *out);

/** Canonical sum of x², bf16 [n]. */
float hd_hostref_sum_sq(const hd_bf16 *x, int32_t n);

/** actq8 of one group: q e4m3 [n]; returns the scale. A group with an infinity or NaN gets the
 *  scale NaN. */
hd_e8m0 hd_hostref_quant_e4m3(const hd_bf16 *x, int32_t n, hd_e4m3 *q);
/** fq4 of one group: codes [n], one a byte; returns the scale, as above. */
hd_e8m0 hd_hostref_quant_e2m1(const hd_bf16 *x, int32_t n, uint8_t *code);

/** Row i of sequence `seq` in a paged cache with rows of row_bytes. */
const uint8_t *hd_hostref_paged_row(const hd_paged_rows *p, int32_t seq, int32_t i,
                                    size_t row_bytes);
/** A 584-byte KV row to f32 [512]; a 68-byte index row to f32 [128]. */
void hd_hostref_kv_row(const uint8_t *row, float *out);
void hd_hostref_index_row(const uint8_t *row, float *out);

/** What every op with rows of a step can check of them. */
static inline bool hd_hostref_rows_ok(const hd_step_rows *r)
{
    return r->n_rows >= 0 && r->n_seqs >= 0;
}

#endif
