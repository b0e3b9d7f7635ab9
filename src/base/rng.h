/* Random numbers by counter: a pure function of (key, index), the same on every machine.
 *
 * This is the SplitMix64 generator read at any place: number i of the stream that starts at `key`
 * is the generator's output after i + 1 steps. So numbers can be drawn in any order, by any number
 * of threads, and drawing one has no effect on another. Not for secrets. */
#ifndef HD_BASE_RNG_H
#define HD_BASE_RNG_H

#include <stdint.h>

#define HD_RNG_STEP 0x9e3779b97f4a7c15u /* 2^64 / golden ratio, odd */

/** SplitMix64's finaliser: a bijection of 64 bits; 0 stays 0. */
static inline uint64_t hd_rng_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/** Number `i` of the stream that starts at `key`: 64 random bits. */
static inline uint64_t hd_rng_at(uint64_t key, uint64_t i)
{
    return hd_rng_mix(key + (i + 1) * HD_RNG_STEP);
}

/** The key of sub-stream `stream` of `seed`; nests: hd_rng_key(hd_rng_key(seed, a), b). */
static inline uint64_t hd_rng_key(uint64_t seed, uint64_t stream)
{
    return hd_rng_at(hd_rng_mix(seed + HD_RNG_STEP), stream);
}

/** Random bits to an integer 0 .. n-1, 1 <= n <= 2^32. Uses the high half of the bits; no value is
 *  more likely than another by more than n / 2^32 of its probability. */
static inline uint32_t hd_rng_below(uint64_t bits, uint64_t n)
{
    return (uint32_t)(((bits >> 32) * n) >> 32);
}

#endif
