/* Rotary position embedding: the cosines and sines that backends are handed.
 *
 * One table of 32 frequencies per kind of layer (spec: docs/numerics.md, "RoPE"); per step the
 * model computes the cos/sin rows of the positions at hand and uploads them, so that every backend
 * rotates by the same bits. Angles reach 10^6 rad: sine and cosine are computed in FP64 by a fixed
 * sequence of operations with a proper range reduction, then rounded once to FP32. */
#ifndef HD_MODEL_ROPE_H
#define HD_MODEL_ROPE_H

#include "model/config.h"

typedef struct hd_rope_freqs {
    float f[HD_ROPE_DIM / 2]; /* radians per position */
} hd_rope_freqs;

/** Window-only layers and draft heads: theta alone. */
void hd_rope_freqs_plain(const hd_config *c, hd_rope_freqs *out);
/** Layers with compressed rows: compress_rope_theta with YaRN, no amplitude factor. */
void hd_rope_freqs_yarn(const hd_config *c, hd_rope_freqs *out);

/** @param out f32 [64]: 32 cosines, then 32 sines, of f32(position · f[i]). */
void hd_rope_row(const hd_rope_freqs *freqs, int32_t position, float *out);

#endif
