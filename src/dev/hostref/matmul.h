/* A tile of x · Wᵀ, each element by the canonical dot product: shared by linear, grouped_linear
 * and hc_mix, which differ only in which rows meet. */
#ifndef HD_DEV_HOSTREF_MATMUL_H
#define HD_DEV_HOSTREF_MATMUL_H

#include "dev/hostref/rowfmt.h"

#define HD_TILE_X 64 /* rows of x per tile */
#define HD_TILE_W 16 /* rows of W per tile; decoded once for all rows of x */

typedef struct hd_ref_tile {
    hd_ref_input in;
    const hd_ref_weight *w;
    int32_t part, w_row0, n_w; /* n_w ≤ HD_TILE_W */
    int32_t n_x;               /* ≤ HD_TILE_X */
    int32_t x_row[HD_TILE_X];
    float y[HD_TILE_X][HD_TILE_W]; /* result: y[i][r] = x[x_row[i], :] · W[w_row0 + r, :] */
} hd_ref_tile;

void hd_hostref_tile_run(hd_ref_tile *t);

#endif
