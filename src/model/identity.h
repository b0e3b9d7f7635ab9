/* Which model this is, for what outlives the program: two runs with the same identity compute the
 * same rows and snapshots from the same ids, bit for bit. */
#ifndef HD_MODEL_IDENTITY_H
#define HD_MODEL_IDENTITY_H

#include "base/sha256.h"
#include "hadal/model.h"

/** SHA-256 over config.json, every tensor's name, type, shape, place and size as the headers of the
 *  shards have them, 4 KiB from both ends of each tensor's data, the numerics of the device (`cpu`
 *  and `ref` share one), whether a draft head is loaded (snapshots hold its window), and `version`
 *  of the caller's format. Neither threads nor chunks: no result depends on them.
 *  Reads 8 KiB per tensor: seconds on a large model that is not in memory. */
void hd_v4_identity(const hd_model *m, uint32_t version, uint8_t out[HD_SHA256_BYTES]);

#endif
