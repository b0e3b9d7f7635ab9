/* Hashing for tables inside one process: SipHash-1-3 under a key drawn at start.
 *
 * Keys come from files and clients, so the hash must not let them choose collisions. Values differ
 * from run to run: never store them, never let the order of a table reach an output. */
#ifndef HD_BASE_HASH_H
#define HD_BASE_HASH_H

#include <stdint.h>

#include "base/str.h"

/** Hash of the bytes of `s`. Thread-safe. */
uint64_t hd_hash_str(hd_str s);

#endif
