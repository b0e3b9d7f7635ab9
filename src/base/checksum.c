/* XXH64 as its specification describes it (xxHash, doc/xxhash_spec.md). */
#include "base/checksum.h"

#include <string.h>

static const uint64_t p1 = 0x9E3779B185EBCA87u, p2 = 0xC2B2AE3D27D4EB4Fu, p3 = 0x165667B19E3779F9u,
                      p4 = 0x85EBCA77C2B2AE63u, p5 = 0x27D4EB2F165667C5u;

static uint64_t rol(uint64_t x, int n)
{
    return x << n | x >> (64 - n);
}

static uint64_t load64(const uint8_t *p)
{
    uint64_t x;
    memcpy(&x, p, sizeof x);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap64(x);
#endif
    return x;
}

static uint32_t load32(const uint8_t *p)
{
    uint32_t x;
    memcpy(&x, p, sizeof x);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    x = __builtin_bswap32(x);
#endif
    return x;
}

static uint64_t mix(uint64_t lane, uint64_t x)
{
    return rol(lane + x * p2, 31) * p1;
}

/* Four lanes over stripes of 32 bytes; *p moves behind the last whole one. */
static uint64_t stripes(const uint8_t **p, const uint8_t *end)
{
    uint64_t lane[4] = {p1 + p2, p2, 0, 0 - p1};
    for (; end - *p >= 32; *p += 32)
        for (int i = 0; i < 4; i++) lane[i] = mix(lane[i], load64(*p + 8 * i));
    uint64_t h = rol(lane[0], 1) + rol(lane[1], 7) + rol(lane[2], 12) + rol(lane[3], 18);
    for (int i = 0; i < 4; i++) h = (h ^ mix(0, lane[i])) * p1 + p4;
    return h;
}

uint64_t hd_checksum(const void *data, size_t n)
{
    const uint8_t *p = data, *end = p + n;
    uint64_t h = (n >= 32 ? stripes(&p, end) : p5) + n;
    for (; end - p >= 8; p += 8) h = rol(h ^ mix(0, load64(p)), 27) * p1 + p4;
    for (; end - p >= 4; p += 4) h = rol(h ^ load32(p) * p1, 23) * p2 + p3;
    for (; p < end; p++) h = rol(h ^ *p * p5, 11) * p1;
    h = (h ^ h >> 33) * p2;
    h = (h ^ h >> 29) * p3;
    return h ^ h >> 32;
}
