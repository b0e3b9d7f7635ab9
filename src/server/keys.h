/* API keys: who may ask, as whom, and how much at once.
 *
 * A file has a key a line: `KEY [NAME [LIMIT]]`, `#` begins a comment. NAME is for logs and
 * metrics; LIMIT is how many requests of the key may be under way, 0 or nothing: any number. Keys
 * are kept as SHA-256 only, and compared in a time that does not depend on them. */
#ifndef HD_SERVER_KEYS_H
#define HD_SERVER_KEYS_H

#include <stdint.h>

#include "base/sha256.h"
#include "base/status.h"
#include "base/str.h"

typedef struct hd_key {
    uint8_t digest[HD_SHA256_BYTES];
    char name[64];
    int max_running; /* 0: any number */
    int n_running;   /* requests under way, kept over a reload */
} hd_key;

typedef struct hd_keys {
    hd_key *key; /* [n] */
    int32_t n;   /* 0: everybody may */
} hd_keys;

/** @param old keys whose counts go on; may be NULL.
 *  @return HD_E_IO; HD_E_FORMAT with the line; HD_E_NOMEM. `out` is untouched then. */
hd_status hd_keys_load(const char *path, const hd_keys *old, hd_keys *out,
                       hd_err *err) HD_WARN_UNUSED;
void hd_keys_deinit(hd_keys *k);
/** NULL: no key is so. */
hd_key *hd_keys_find(const hd_keys *k, hd_str key);
/** By its digest, which outlives a reload; NULL if it has gone. */
hd_key *hd_keys_find_digest(const hd_keys *k, const uint8_t *digest);

#endif
