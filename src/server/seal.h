/* Seals: the reasoning of a turn as a text that its client keeps, and sends back with the turn.
 *
 * A seal holds the ids that were sampled, encrypted and authenticated (AES-256-GCM) for the
 * isolation group they were made in; so a turn is rendered again exactly as it was, though the
 * server keeps nothing. A seal of another server, key or group, or a broken one, opens to nothing:
 * it is no error, there is just less to go by.
 *
 *   base64url( version u8 | nonce u8 [12] | encrypted( count u24, ids u24 [count], little-endian )
 *              | tag u8 [16] )      authenticated with it: the group */
#ifndef HD_SERVER_SEAL_H
#define HD_SERVER_SEAL_H

#include "base/buf.h"
#include "text/ids.h"

#define HD_SEAL_KEY_BYTES 32

typedef struct hd_sealer {
    uint8_t key[HD_SEAL_KEY_BYTES];
    int32_t vocab_size;
} hd_sealer;

/** A key from `path`, which is made (mode 0600) if it is not there; NULL: one for this process.
 *  @return HD_E_IO, HD_E_FORMAT (not 32 bytes). */
hd_status hd_sealer_init(hd_sealer *s, const char *path, int32_t vocab_size,
                         hd_err *err) HD_WARN_UNUSED;

/** Append the seal of ids i32 [n], n < 2^24. Any thread. */
void hd_seal(const hd_sealer *s, uint64_t group, const int32_t *ids, size_t n, hd_buf *out);
/** Append the ids of a seal; false: it is none of ours. Any thread. */
bool hd_unseal(const hd_sealer *s, uint64_t group, hd_str seal, hd_ids *out);

#endif
