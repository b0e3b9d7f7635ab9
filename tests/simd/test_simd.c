/* The vector wrappers of every instruction set that this machine has, against their scalar twins,
 * bit for bit, on random and awkward inputs; exp and the number formats also against base/num.c.
 *
 *     op_test_simd [ROUNDS]      default 2000; exp always runs through 2^24 inputs
 *
 * Subnormals count as zero while it runs, as in a kernel; NaN results are equal whatever their
 * bits. No cmocka, so that a cross build runs under an emulator. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "simd/simd_probe.h"

enum { MAX_BYTES = 512, MAX_ISAS = 8 };

static hd_cpu_tables tables;
static uint64_t rng = 0x9e3779b97f4a7c15u;

static uint32_t next(void)
{
    rng ^= rng << 13;
    rng ^= rng >> 7;
    rng ^= rng << 17;
    return (uint32_t)(rng >> 24);
}

/* ---- inputs --------------------------------------------------------------------------------- */

static float next_f32(void)
{
    static const float awkward[] = {0.0f,   -0.0f,     1.0f,   -1.0f,     448.0f,    464.0f,
                                    6.0f,   5.0f,      0.25f,  0x1p-9f,   0x1p-10f,  88.8f,
                                    -87.4f, 1e30f,     -1e30f, 0x1.8p-7f, 0x1p-6f,   INFINITY,
                                    2.5f,   -INFINITY, NAN,    0x1.01p0f, 0x1.03p0f, -0.75f};
    if (next() % 4 == 0) return awkward[next() % HD_COUNT(awkward)];
    float x = (float)(int32_t)next() * 0x1p-31f;
    return x * hd_f32_from_bits((127 - 20 + next() % 40) << 23);
}

/* Numbers within the range for which bits are promised: sums and products stay normal. */
static float next_tame(void)
{
    float x = (float)(int32_t)next() * 0x1p-31f;
    return next() % 16 ? x * hd_f32_from_bits((127 - 10 + next() % 20) << 23) : 0.0f;
}

static void put_f32(uint8_t *in, size_t at, size_t n, float (*make)(void))
{
    for (size_t i = 0; i < n; i++) {
        float x = make();
        memcpy(in + at + 4 * i, &x, sizeof x);
    }
}

static void put_bf16(uint8_t *in, size_t at, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        hd_bf16 x = hd_bf16_from_f32(next_tame());
        memcpy(in + at + 2 * i, &x, sizeof x);
    }
}

static void put_codes(uint8_t *in, size_t at, size_t n, size_t scale_at)
{
    for (size_t i = 0; i < n; i++) in[at + i] = (uint8_t)next();
    in[scale_at] = (uint8_t)(127 - 40 + next() % 80);
}

static void make_input(int id, uint8_t *in)
{
    for (size_t i = 0; i < MAX_BYTES; i++) in[i] = (uint8_t)next();
    bool tame = id >= SIMD_dot_bf16 || id == SIMD_hsum8 || id == SIMD_hsum || id == SIMD_hmax;
    put_f32(in, 0, MAX_BYTES / 4, tame ? next_tame : next_f32);
    switch (id) {
    case SIMD_from_e4m3: put_codes(in, 0, 16, 16); break;
    case SIMD_load_bf16: put_bf16(in, 0, 16); break;
    case SIMD_dot_bf16:
    case SIMD_dot_panel:
    case SIMD_dot_pair:
    case SIMD_dot_rows: put_bf16(in, 64, 64); break;
    case SIMD_dot_fp4:
        put_bf16(in, 64, 32);
        put_codes(in, 128, 16, 144);
        break;
    case SIMD_dot_fp8:
        put_bf16(in, 64, 64);
        put_codes(in, 192, 64, 256);
        break;
    case SIMD_fp8_to_bf16:
        put_codes(in, 0, 64, 64);
        for (int i = 0; i < 64; i++)
            if ((in[i] & 127) == 127) in[i] = 1; /* NaN has many bits */
        break;
    case SIMD_dot_f32: put_bf16(in, 192, 32); break;
    default: break;
    }
}

/* ---- comparison ----------------------------------------------------------------------------- */

static bool is_nan_bits(uint32_t u)
{
    return (u & 0x7fffffffu) > 0x7f800000u;
}

/* Equal bytes, or both NaN where the output is f32. */
static bool same(const uint8_t *a, const uint8_t *b, size_t n)
{
    if (memcmp(a, b, n) == 0) return true;
    for (size_t i = 0; i + 4 <= n; i += 4) {
        uint32_t x, y;
        memcpy(&x, a + i, sizeof x);
        memcpy(&y, b + i, sizeof y);
        if (x != y && !(is_nan_bits(x) && is_nan_bits(y))) return false;
    }
    return n % 4 == 0;
}

static int check_wrapper(int id, const char *name, size_t n_out, const simd_probe *const *isas,
                         int n_isas, int rounds)
{
    uint8_t in[MAX_BYTES], want[MAX_BYTES], got[MAX_BYTES];
    int n_bad = 0;
    for (int round = 0; round < rounds; round++) {
        make_input(id, in);
        isas[n_isas - 1]->run(id, &tables, in, want);
        for (int k = 0; k < n_isas - 1; k++) {
            isas[k]->run(id, &tables, in, got);
            if (same(want, got, n_out)) continue;
            if (n_bad++ == 0) printf("%s differs on %s, round %d\n", name, isas[k]->isa, round);
        }
    }
    return n_bad;
}

/* The definition: base/num.c. */
static int check_exp(const simd_probe *p)
{
    int n_bad = 0;
    for (uint32_t block = 0; block < 1u << 20; block++) {
        float x[16], y[16];
        for (uint32_t i = 0; i < 16; i++)
            x[i] = hd_f32_from_bits((block * 16 + i) * 256 + (block & 255));
        p->run(SIMD_exp, &tables, (const uint8_t *)x, (uint8_t *)y);
        for (int i = 0; i < 16; i++) {
            uint32_t want = hd_f32_bits(hd_expf(x[i])), got = hd_f32_bits(y[i]);
            if (want == got || (is_nan_bits(want) && is_nan_bits(got))) continue;
            if (n_bad++ == 0) printf("exp(%a) is %a on %s\n", (double)x[i], (double)y[i], p->isa);
        }
    }
    return n_bad;
}

static int check_formats(const simd_probe *p)
{
    int n_bad = 0;
    for (int round = 0; round < 20000; round++) {
        float x[16];
        uint32_t e4m3[16], e2m1[16];
        hd_bf16 bf16[16];
        for (int i = 0; i < 16; i++) x[i] = next_f32();
        p->run(SIMD_e4m3, &tables, (const uint8_t *)x, (uint8_t *)e4m3);
        p->run(SIMD_e2m1, &tables, (const uint8_t *)x, (uint8_t *)e2m1);
        p->run(SIMD_store_bf16, &tables, (const uint8_t *)x, (uint8_t *)bf16);
        for (int i = 0; i < 16; i++) {
            if (e4m3[i] == hd_e4m3_from_f32(x[i]) && e2m1[i] == hd_e2m1_from_f32(x[i]) &&
                bf16[i] == hd_bf16_from_f32(x[i]))
                continue;
            if (n_bad++ == 0) printf("%a converts differently on %s\n", (double)x[i], p->isa);
        }
    }
    return n_bad;
}

int main(int argc, char **argv)
{
    int rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 2000, n_isas = 0, n_bad = 0;
    const simd_probe *isas[MAX_ISAS];
    hd_cpu_tables_init(&tables);
    while (n_isas < MAX_ISAS && (isas[n_isas] = simd_probe_at(n_isas))) n_isas++;
    unsigned fp_state = hd_fp_flush_subnormals();
#define CHECK(name, n_in, n_out)                                                                   \
    n_bad += check_wrapper(SIMD_##name, #name, n_out, isas, n_isas, rounds);
    SIMD_PROBES(CHECK)
#undef CHECK
    for (int k = 0; k < n_isas; k++) {
        int bad = check_formats(isas[k]) + check_exp(isas[k]);
        printf("%s: %s\n", isas[k]->isa, bad ? "differs from base/num.c" : "equal");
        n_bad += bad;
    }
    hd_fp_restore(fp_state);
    if (n_bad || n_isas == 0) printf("FAILED: %d differences\n", n_bad);
    return n_bad || n_isas == 0;
}
