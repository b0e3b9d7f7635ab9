/* SHA-256 (FIPS 180-4), for what is kept: identities and keys of files.
 *
 * Tables inside a process use base/hash.h, bulk data base/checksum.h: both are much faster. Input
 * may come in pieces of any size. */
#ifndef HD_BASE_SHA256_H
#define HD_BASE_SHA256_H

#include <stddef.h>
#include <stdint.h>

#define HD_SHA256_BYTES 32

typedef struct hd_sha256 {
    uint32_t h[8];
    uint64_t n; /* bytes so far */
    uint8_t block[64];
} hd_sha256;

void hd_sha256_init(hd_sha256 *s);
void hd_sha256_add(hd_sha256 *s, const void *data, size_t n);
/** The digest of all that was added; `s` must be initialised again before its next use. */
void hd_sha256_end(hd_sha256 *s, uint8_t out[HD_SHA256_BYTES]);

#endif
