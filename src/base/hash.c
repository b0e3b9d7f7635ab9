#include "base/hash.h"

#include <pthread.h>
#include <sys/random.h>
#include <time.h>

static uint64_t key[2];

static void draw_key(void)
{
    if (getrandom(key, sizeof key, GRND_NONBLOCK) == (ssize_t)sizeof key) return;
    /* Too early in the machine's life for entropy, when nobody hostile is there either. */
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    key[0] = (uint64_t)now.tv_nsec * 0x9E3779B97F4A7C15u;
    key[1] = (uint64_t)now.tv_sec ^ (uint64_t)(uintptr_t)&now;
}

static inline uint64_t rotl(uint64_t x, int b)
{
    return x << b | x >> (64 - b);
}

static inline void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rotl(v[1], 13) ^ v[0];
    v[3] = rotl(v[3], 16) ^ v[2];
    v[0] = rotl(v[0], 32);
    v[2] += v[1];
    v[0] += v[3];
    v[1] = rotl(v[1], 17) ^ v[2];
    v[3] = rotl(v[3], 21) ^ v[0];
    v[2] = rotl(v[2], 32);
}

/* Aumasson and Bernstein, "SipHash: a fast short-input PRF"; 1 and 3 rounds as Rust and Python. */
uint64_t hd_hash_str(hd_str s)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, draw_key);
    uint64_t v[4] = {key[0] ^ 0x736F6D6570736575u, key[1] ^ 0x646F72616E646F6Du,
                     key[0] ^ 0x6C7967656E657261u, key[1] ^ 0x7465646279746573u};
    size_t i = 0;
    for (; i + 8 <= s.len; i += 8) {
        uint64_t m;
        memcpy(&m, s.ptr + i, 8);
        v[3] ^= m;
        sip_round(v);
        v[0] ^= m;
    }
    uint64_t last = (uint64_t)s.len << 56;
    for (size_t k = 0; i + k < s.len; k++) last |= (uint64_t)(unsigned char)s.ptr[i + k] << (8 * k);
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xFF;
    for (int k = 0; k < 3; k++) sip_round(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
