/* The values of one made-up tensor, row by row: see synth.h.
 *
 * A row is a pure function of (seed, name, row). Numbers come from integer arithmetic and single
 * IEEE operations, so they are the same everywhere. What a tensor holds follows from which weight
 * it is; the table is in synth_fill.c. A vector is one row. Internal to the synth files. */
#ifndef HD_MODEL_SYNTH_FILL_H
#define HD_MODEL_SYNTH_FILL_H

#include <stdint.h>

#include "base/status.h"
#include "model/names.h"

typedef struct hd_synth_codes hd_synth_codes;

/** Tables that all tensors share: 128 KiB of E4M3 codes by 16 random bits. */
hd_status hd_synth_codes_create(hd_synth_codes **out, hd_err *err) HD_WARN_UNUSED;
/** NULL is allowed. */
void hd_synth_codes_destroy(hd_synth_codes *codes);

typedef struct hd_synth_fill {
    void (*row)(const struct hd_synth_fill *f, int64_t row, uint8_t *dst);
    const hd_synth_codes *codes;
    uint64_t key;
    int64_t n_cols;
    uint64_t numbers_per_row; /* random 64-bit numbers that a row uses */
    float mean, step;         /* BF16, F32: mean + step * (integer of -65535 .. 65535) */
    int32_t n_experts;
    int block_phase; /* FP8: which of the two kinds of blocks comes first */
    int exponent[2]; /* scales: E8M0 byte before variation, of each kind of block */
} hd_synth_fill;

/** Prepare for the tensor `spec` of model `c`; `codes` is borrowed. */
void hd_synth_fill_init(hd_synth_fill *f, const hd_synth_codes *codes, uint64_t seed,
                        const hd_config *c, const hd_tensor_spec *spec);

/** Write row `row`: n_cols elements of the tensor's type, little-endian. */
static inline void hd_synth_fill_row(const hd_synth_fill *f, int64_t row, uint8_t *dst)
{
    f->row(f, row, dst);
}

#endif
