/* Number formats against their definitions, over all codes; elementary functions against the C
 * library's long double ones over dense sets of floats; the canonical orders against sums worked
 * out by hand and against a literal transcription of their definition. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/canon.h"
#include "base/num.h"

static float above(float x)
{
    return nextafterf(x, INFINITY);
}

static float below(float x)
{
    return nextafterf(x, -INFINITY);
}

/* ---- formats --------------------------------------------------------------------------------- */

/* Value of a code with `mantissa` bits and exponent bias `bias`, without sign, by definition. */
static double small_float(unsigned code, int mantissa, int bias)
{
    int exponent = (int)(code >> mantissa);
    double fraction = (double)(code & ((1u << mantissa) - 1)) / (double)(1u << mantissa);
    return exponent ? ldexp(1.0 + fraction, exponent - bias) : ldexp(fraction, 1 - bias);
}

static void test_e4m3(void **state)
{
    (void)state;
    for (unsigned code = 0; code < 127; code++) {
        float x = (float)small_float(code, 3, 7);
        assert_true(hd_f32_from_e4m3((hd_e4m3)code) == x);
        assert_true(hd_f32_from_e4m3((hd_e4m3)(code | 128)) == -x);
        assert_int_equal(hd_e4m3_from_f32(x), code);
        assert_int_equal(hd_e4m3_from_f32(-x), code | 128);
        if (code == 126) break;
        float middle = 0.5f * (x + (float)small_float(code + 1, 3, 7));
        unsigned even = code % 2 ? code + 1 : code;
        assert_int_equal(hd_e4m3_from_f32(middle), even);
        assert_int_equal(hd_e4m3_from_f32(-middle), even | 128);
        assert_int_equal(hd_e4m3_from_f32(below(middle)), code);
        assert_int_equal(hd_e4m3_from_f32(above(middle)), code + 1);
    }
    assert_true(isnan(hd_f32_from_e4m3(0x7f)) && isnan(hd_f32_from_e4m3(0xff)));
    assert_true(signbit(hd_f32_from_e4m3(0x80)));
    assert_int_equal(hd_e4m3_from_f32(448.0f), 0x7e);
    assert_int_equal(hd_e4m3_from_f32(1e30f), 0x7e);
    assert_int_equal(hd_e4m3_from_f32(-INFINITY), 0xfe);
    assert_int_equal(hd_e4m3_from_f32(NAN), 0x7f);
    assert_int_equal(hd_e4m3_from_f32(-1e-30f), 0x80);
}

static void test_e2m1(void **state)
{
    (void)state;
    for (unsigned code = 0; code < 8; code++) {
        float x = (float)small_float(code, 1, 1);
        assert_true(hd_f32_from_e2m1(code) == x);
        assert_true(hd_f32_from_e2m1(code | 8) == -x);
        assert_int_equal(hd_e2m1_from_f32(x), code);
        assert_int_equal(hd_e2m1_from_f32(-x), code | 8);
        if (code == 7) break;
        float middle = 0.5f * (x + (float)small_float(code + 1, 1, 1));
        unsigned even = code % 2 ? code + 1 : code;
        assert_int_equal(hd_e2m1_from_f32(middle), even);
        assert_int_equal(hd_e2m1_from_f32(-middle), even | 8);
        assert_int_equal(hd_e2m1_from_f32(below(middle)), code);
        assert_int_equal(hd_e2m1_from_f32(above(middle)), code + 1);
    }
    assert_int_equal(hd_e2m1_from_f32(100.0f), 7);
    assert_int_equal(hd_e2m1_from_f32(-INFINITY), 15);
}

static void test_e8m0(void **state)
{
    (void)state;
    for (int code = 0; code < 255; code++) {
        float x = ldexpf(1.0f, code - 127);
        assert_true(hd_f32_from_e8m0((hd_e8m0)code) == x);
        assert_int_equal(hd_e8m0_from_pow2(x), code);
    }
    assert_true(isnan(hd_f32_from_e8m0(255)));
    assert_int_equal(hd_e8m0_from_pow2(hd_f32_from_e8m0(255)), 255);
}

/* Every BF16 number, and the floats around the middle between it and the next. */
static void test_bf16(void **state)
{
    (void)state;
    for (uint32_t h = 0; h < 0x10000u; h++) {
        float x = hd_f32_from_bf16((hd_bf16)h);
        if ((h & 0x7fffu) > 0x7f80u) {
            assert_true(isnan(x));
            assert_true(isnan(hd_round_bf16(x)));
            continue;
        }
        assert_int_equal(hd_bf16_from_f32(x), h);
        if ((h & 0x7fffu) == 0x7f80u) continue;
        uint32_t middle = h << 16 | 0x8000u;
        assert_int_equal(hd_bf16_from_f32(hd_f32_from_bits(middle - 1)), h);
        assert_int_equal(hd_bf16_from_f32(hd_f32_from_bits(middle)), h + (h & 1u));
        assert_int_equal(hd_bf16_from_f32(hd_f32_from_bits(middle + 1)), h + 1);
    }
    assert_int_equal(hd_bf16_from_f32(hd_f32_from_bits(0x7f800001u)) & 0x7fc0, 0x7fc0);
}

static void test_pow2ceil(void **state)
{
    (void)state;
    static const float m[2] = {448.0f, 6.0f};
    for (int which = 0; which < 2; which++) {
        for (int k = -120; k <= 110; k++) {
            float a = ldexpf(m[which], k), inv = 1.0f / m[which];
            assert_true(hd_pow2ceil(a, inv) == ldexpf(1.0f, k));
            assert_true(hd_pow2ceil(0.75f * a, inv) == ldexpf(1.0f, k));
            assert_true(hd_pow2ceil(1.01f * a, inv) == ldexpf(1.0f, k + 1));
        }
    }
    assert_true(hd_pow2ceil(1e-4f, 1.0f / 448.0f) == 0x1p-22f);
    assert_true(hd_pow2ceil(6.0f * 0x1p-126f, 1.0f / 6.0f) == 0x1p-126f);
    assert_true(hd_pow2ceil(0x1.fep127f, 1.0f / 6.0f) == 0x1p126f);
    assert_true(isnan(hd_pow2ceil(INFINITY, 1.0f / 6.0f)));
    assert_true(isnan(hd_pow2ceil(NAN, 1.0f / 6.0f)));
}

/* ---- elementary functions -------------------------------------------------------------------- */

/* Error of y in FP32 steps at the exact value, which is normal. */
static double steps_off(double y, long double exact)
{
    int exponent;
    frexpl(exact, &exponent);
    return (double)(fabsl((long double)y - exact) / ldexpl(1.0L, exponent - 24));
}

static void test_expf(void **state)
{
    (void)state;
    double worst = 0.0;
    float worst_at = 0.0f;
    for (uint64_t u = 0; u < 0x100000000u; u += 997) { /* both signs, all exponents */
        float x = hd_f32_from_bits((uint32_t)u);
        if (!(x > -87.3f && x < 88.7f) || fabsf(x) < 0x1p-30f) continue;
        double off = steps_off((double)hd_expf(x), expl((long double)x));
        if (!(off <= worst)) {
            worst = off;
            worst_at = x;
        }
    }
    printf("  exp: at most %.3f steps off, at %.9g\n", worst, (double)worst_at);
    assert_true(worst < 1.0);
    /* The worst of all floats, found by trying every one with |x| ≥ 2^-20. */
    float x = hd_f32_from_bits(0x40a673d3u);
    assert_true(steps_off((double)hd_expf(x), expl((long double)x)) < 0.9);
    assert_true(hd_expf(0.0f) == 1.0f && hd_expf(-0.0f) == 1.0f);
    assert_true(hd_expf(1e-30f) == 1.0f);
    assert_true(hd_expf(INFINITY) == INFINITY && hd_expf(1e30f) == INFINITY);
    assert_true(hd_expf(-INFINITY) == 0.0f && hd_expf(-1e30f) == 0.0f);
    assert_true(isnan(hd_expf(NAN)));
    /* The last finite result, the last that is not zero. */
    float top = 0x1.62e42ep+6f, bottom = -0x1.5d589ep+6f;
    assert_true(isfinite(hd_expf(top)) && hd_expf(above(top)) == INFINITY);
    assert_true(expl((long double)above(top)) > 0x1.ffffffp127L);
    assert_true(hd_expf(bottom) >= 0x1p-126f && hd_expf(below(bottom)) == 0.0f);
    assert_true(expl((long double)below(bottom)) < 0x1p-126L);
}

static void test_softplus(void **state)
{
    (void)state;
    double worst = 0.0;
    for (uint64_t u = 0; u < 0x100000000u; u += 9973) {
        float z = hd_f32_from_bits((uint32_t)u);
        if (!(z > -87.3f && z <= 20.0f)) continue;
        double off = steps_off((double)hd_softplusf(z), log1pl(expl((long double)z)));
        if (!(off <= worst)) worst = off;
    }
    printf("  softplus: at most %.6f steps off\n", worst);
    assert_true(worst < 0.500001);
    assert_true(hd_softplusf(20.0f) == 20.0f && hd_softplusf(above(20.0f)) == above(20.0f));
    assert_true(hd_softplusf(INFINITY) == INFINITY && hd_softplusf(-INFINITY) == 0.0f);
    assert_true(hd_softplusf(-100.0f) == 0.0f && isnan(hd_softplusf(NAN)));
}

static void test_log(void **state)
{
    (void)state;
    long double worst = 0.0L;
    uint64_t seed = 1;
    for (int i = 0; i < 300000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        /* Half of them with any exponent, half near 1, where the result is small. */
        double x = ldexp(1.0 + (double)(seed >> 12) * 0x1p-52, (int)(seed % 2000) - 1000);
        if (i % 2) x = 1.0 + ldexp((double)(int64_t)seed, -64 - i % 30);
        long double exact = logl((long double)x);
        if (exact == 0.0L) continue;
        long double off = fabsl((long double)hd_log(x) - exact) / fabsl(exact);
        if (!(off <= worst)) worst = off;
    }
    printf("  log: relative error at most %.2Le\n", worst);
    assert_true(worst < 0x1p-51L);
    assert_true(hd_log(1.0) == 0.0);
}

static void test_sigmoid_silu(void **state)
{
    (void)state;
    double worst = 0.0;
    for (float x = -80.0f; x < 80.0f; x += 0.001f) {
        long double s = 1.0L / (1.0L + expl(-(long double)x));
        double off = steps_off((double)hd_sigmoidf(x), s);
        if (x != 0.0f) off = fmax(off, steps_off((double)hd_siluf(x), (long double)x * s));
        if (!(off <= worst)) worst = off;
    }
    printf("  sigmoid, silu: at most %.3f steps off\n", worst);
    assert_true(worst < 3.0);                                /* exp, sum and quotient each round */
    assert_true(hd_siluf(-INFINITY) != hd_siluf(-INFINITY)); /* ∞/∞: NaN is not hidden */
    assert_true(hd_sigmoidf(-1000.0f) == 0.0f && hd_sigmoidf(1000.0f) == 1.0f);
}

/* The nearest BF16 number to v, found among the neighbours of a first guess. */
static hd_bf16 nearest_bf16(long double v)
{
    hd_bf16 guess = hd_bf16_from_f32((float)v), best = guess;
    for (int step = -1; step <= 1; step++) {
        hd_bf16 h = (hd_bf16)(guess + step);
        long double d = fabsl((long double)hd_f32_from_bf16(h) - v);
        if (d < fabsl((long double)hd_f32_from_bf16(best) - v)) best = h;
    }
    return best;
}

static void test_rsqrt(void **state)
{
    (void)state;
    for (uint32_t u = 0x00800000u; u < 0x7f800000u; u += 4999) {
        float x = hd_f32_from_bits(u);
        assert_true(steps_off((double)hd_rsqrtf(x), 1.0L / sqrtl((long double)x)) < 0.500001);
    }
    /* Rounded to FP32 and then to BF16, it is what rounding once to BF16 gives: all of BF16. */
    for (uint32_t h = 0x0080u; h < 0x7f80u; h++) {
        float x = hd_f32_from_bf16((hd_bf16)h);
        assert_int_equal(hd_bf16_from_f32(hd_rsqrtf(x)),
                         nearest_bf16(1.0L / sqrtl((long double)x)));
    }
}

static void test_flush(void **state)
{
    (void)state;
    volatile float tiny = 0x1p-130f, small = 0x1p-126f, half = 0.5f;
    unsigned fp_state = hd_fp_flush_subnormals();
    float operand = tiny * 0x1p100f, result = small * half;
    hd_fp_restore(fp_state);
#if defined(__x86_64__) || defined(__aarch64__)
    assert_true(operand == 0.0f && result == 0.0f);
#endif
    operand = tiny * 0x1p100f;
    result = small * half;
    assert_true(operand == 0x1p-30f && result == 0x1p-127f);
}

/* ---- canonical orders ------------------------------------------------------------------------ */

static void test_dot_by_hand(void **state)
{
    (void)state;
    static float a[2048], one[2048];
    for (int i = 0; i < 2048; i++) one[i] = 1.0f;
    /* One lane: 2^24 from the first pair, then of the second pair the odd element first: 2^24 + 1
     * rounds to 2^24, so −2^24 leaves 0. The even element first would leave 1. */
    a[1] = 0x1p24f;
    a[33] = 1.0f;
    a[32] = -0x1p24f;
    assert_true(hd_canon_dot(a, one, 64) == 0.0f);
    /* Fused: (1 + 2^-23)² is 1 + 2^-22 + 2^-46, whose last term no rounded product keeps. */
    a[33] = a[32] = 0.0f;
    a[0] = one[0] = 1.0f + 0x1p-23f;
    a[1] = -1.0f - 0x1p-22f;
    assert_true(hd_canon_dot(a, one, 2) == 0x1p-46f);
    /* Segments: the lanes of the second start from 0, so its 1 + 1 survives beside 2^24. */
    a[0] = 0.0f;
    one[0] = 1.0f;
    a[1] = 0x1p24f;
    a[1024] = a[1024 + 16] = 1.0f; /* lanes 0 and 8 */
    assert_true(hd_canon_dot(a, one, 2048) == 0x1p24f + 2.0f);
    assert_true(hd_canon_dot(a, one, 0) == 0.0f);
}

static void test_sum_by_hand(void **state)
{
    (void)state;
    static float x[2048];
    /* Lanes i mod 16: 2^24 and 1 in lane 3 lose the 1; lane 11 joins it first of all. */
    x[3] = 0x1p24f;
    x[19] = 1.0f;
    assert_true(hd_canon_sum(x, 32) == 0x1p24f);
    x[19] = 0.0f;
    x[11] = 1.0f;
    x[2] = 1.0f; /* 2^24 + 1 (lane 11) rounds down before lane 2 comes */
    assert_true(hd_canon_sum(x, 32) == 0x1p24f);
    x[11] = 0.0f;
    x[10] = 1.0f; /* lanes 2 and 10 meet first: 2 survives */
    assert_true(hd_canon_sum(x, 32) == 0x1p24f + 2.0f);
    x[10] = x[2] = 0.0f;
    x[1024] = x[1025] = 1.0f;
    assert_true(hd_canon_sum(x, 2048) == 0x1p24f + 2.0f);
    for (int i = 0; i < 2048; i++) x[i] = 3.0f;
    assert_true(hd_canon_sum_sq(x, 2000) == 18000.0f);
}

/* The definition, letter by letter, without vectors in mind. */
static float literal_dot(const float *a, const float *b, int n)
{
    float total = 0.0f;
    for (int k0 = 0; k0 < n; k0 += 1024) {
        float lane[16];
        for (int l = 0; l < 16; l++) {
            lane[l] = 0.0f;
            for (int j = 0; j < 32; j++) {
                int even = k0 + 32 * j + 2 * l, odd = even + 1;
                if (odd < n) lane[l] = fmaf(a[odd], b[odd], lane[l]);
                if (even < n) lane[l] = fmaf(a[even], b[even], lane[l]);
            }
        }
        for (int l = 0; l < 8; l++) lane[l] = lane[l] + lane[l + 8];
        for (int l = 0; l < 4; l++) lane[l] = lane[l] + lane[l + 4];
        for (int l = 0; l < 2; l++) lane[l] = lane[l] + lane[l + 2];
        total = total + (lane[0] + lane[1]);
    }
    return total;
}

static void test_dot_literally(void **state)
{
    (void)state;
    static float a[5000], b[5000], y[5000];
    uint32_t seed = 7;
    for (int i = 0; i < 5000; i++) {
        seed = seed * 1664525u + 1013904223u;
        a[i] = (float)(int32_t)seed * 0x1p-31f;
        seed = seed * 1664525u + 1013904223u;
        b[i] = (float)(int32_t)seed * 0x1p-31f;
    }
    static const int sizes[] = {1, 2, 31, 32, 33, 127, 512, 1023, 1024, 1025, 1056, 4096, 4999};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        float got = hd_canon_dot(a, b, (size_t)sizes[i]);
        assert_int_equal(hd_f32_bits(got), hd_f32_bits(literal_dot(a, b, sizes[i])));
    }
    memcpy(y, b, sizeof y);
    hd_canon_step(0.3f, a, y, 5000);
    for (int i = 0; i < 5000; i++) assert_true(y[i] == fmaf(0.3f, a[i], b[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_e4m3),         cmocka_unit_test(test_e2m1),
        cmocka_unit_test(test_e8m0),         cmocka_unit_test(test_bf16),
        cmocka_unit_test(test_pow2ceil),     cmocka_unit_test(test_expf),
        cmocka_unit_test(test_softplus),     cmocka_unit_test(test_log),
        cmocka_unit_test(test_sigmoid_silu), cmocka_unit_test(test_rsqrt),
        cmocka_unit_test(test_flush),        cmocka_unit_test(test_dot_by_hand),
        cmocka_unit_test(test_sum_by_hand),  cmocka_unit_test(test_dot_literally),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
