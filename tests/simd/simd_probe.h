/* One vector wrapper of one instruction set at a time, from outside: for the test that compares the
 * sets with each other, and for the benchmark that needs the machine's peak. simd_probe.c is
 * compiled once per instruction set, like the kernels. */
#ifndef HD_TESTS_SIMD_PROBE_H
#define HD_TESTS_SIMD_PROBE_H

#include "backend/cpu/cpu.h"

/* X(name, bytes of input, bytes of output). Unless noted, operands are vectors of 16 × f32. */
#define SIMD_PROBES(X)                                                                             \
    X(add, 128, 64)                                                                                \
    X(sub, 128, 64)                                                                                \
    X(mul, 128, 64)                                                                                \
    X(div, 128, 64)                                                                                \
    X(max, 128, 64)                                                                                \
    X(min, 128, 64)                                                                                \
    X(fma, 192, 64)                                                                                \
    X(less, 128, 64) /* a < b ? a : b */                                                           \
    X(nan, 128, 64)  /* a is NaN ? b : a */                                                        \
    X(int_add, 128, 64)                                                                            \
    X(int_sub, 128, 64)                                                                            \
    X(int_and, 128, 64)                                                                            \
    X(int_or, 128, 64)                                                                             \
    X(int_xor, 128, 64)                                                                            \
    X(int_max, 128, 64)                                                                            \
    X(shift, 64, 128) /* left by 7, right by 9 */                                                  \
    X(narrow, 64, 48) /* low 16 bits of each lane, low 8 bits of each lane */                      \
    X(widen, 32, 64)  /* u16 */                                                                    \
    X(swap, 64, 256)  /* distances 1, 2, 4, 8 */                                                   \
    X(hsum, 64, 4)                                                                                 \
    X(hmax, 64, 8) /* as f32, as i32 */                                                            \
    X(hsum8, 512, 32)                                                                              \
    X(load_bf16, 32, 64)                                                                           \
    X(store_bf16, 64, 32)                                                                          \
    X(round_bf16, 64, 64)                                                                          \
    X(exp, 64, 64)                                                                                 \
    X(silu, 64, 64)                                                                                \
    X(e4m3, 64, 64)         /* codes */                                                            \
    X(from_e4m3, 16, 64)    /* u8 codes */                                                         \
    X(e2m1, 64, 64)         /* codes */                                                            \
    X(dot_bf16, 192, 64)    /* acc; bf16 [32] twice */                                             \
    X(dot_panel, 192, 64)   /* the same through panels */                                          \
    X(dot_pair, 132, 64)    /* acc; bf16 [32]; a word */                                           \
    X(dot_rows, 192, 64)    /* acc; bf16 [16] twice; bf16 [32] */                                  \
    X(dot_fp4, 145, 64)     /* acc; bf16 [32]; 16 bytes, scale */                                  \
    X(dot_fp8, 257, 64)     /* acc; bf16 [64]; 64 bytes, scale */                                  \
    X(fp8_to_bf16, 65, 128) /* 64 bytes, scale */                                                  \
    X(dot_f32, 256, 64)     /* acc; f32 [32]; bf16 [32] */

enum {
#define SIMD_PROBE_ID(name, in, out) SIMD_##name,
    SIMD_PROBES(SIMD_PROBE_ID)
#undef SIMD_PROBE_ID
        SIMD_COUNT
};

typedef struct simd_probe {
    const char *isa;
    /** Run one wrapper. Memory needs no alignment. */
    void (*run)(int id, const hd_cpu_tables *tables, const uint8_t *in, uint8_t *out);
    /** n · 16 independent dot steps of 32 values; returns something that depends on all of them. */
    float (*peak)(int64_t n);
} simd_probe;

/** The i-th that this machine can run, best first and "portable" last; NULL behind it. */
const simd_probe *simd_probe_at(int i);

#endif
