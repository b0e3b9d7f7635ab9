/* The sampler: against an independent program (support/sample_oracle.py), against exact
 * probabilities, and each filter at its borders. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "hadal/model.h"

#define V 1000

static hd_sampler *new_sampler(int32_t vocab)
{
    hd_sampler *s = NULL;
    assert_int_equal(hd_sampler_create(vocab, &s, NULL), HD_OK);
    return s;
}

static int32_t draw_at(hd_sampler *s, const float *logits, const hd_sampling *how,
                       uint64_t position)
{
    hd_sample_args args = {.logits = logits, .how = how, .position = position};
    int32_t id = -1;
    hd_err err;
    if (hd_sampler_draw(s, &args, &id, &err) != HD_OK) fail_msg("%s", err.text);
    return id;
}

/* ---- the published numbers of SplitMix64 ---- */

static void test_rng_is_splitmix64(void **state)
{
    (void)state;
    /* First outputs for the seed 1234567, as Rosetta Code and other implementations list them. */
    static const uint64_t expected[] = {6457827717110365317u, 3203168211198807973u,
                                        9817491932198370423u, 4593380528125082431u,
                                        16408922859458223821u};
    for (uint64_t i = 0; i < 5; i++) assert_true(hd_rng_at(1234567, i) == expected[i]);
    for (uint64_t i = 0; i < 1000; i++) assert_true(hd_rng_below(hd_rng_at(7, i), 3) < 3);
    assert_int_equal(hd_rng_below(UINT64_MAX, (uint64_t)1 << 32), UINT32_MAX);
}

/* ---- the oracle's table: name, settings, 12 draws at positions 0, 1001, 2002 ... ---- */

static const hd_logit_bias oracle_bias[] = {{17, 9.5f}, {400, 9.0f}, {17, 0.5f}};
static const int32_t oracle_ids[] = {588, 588, 353, 353, 217, 217, 679, 217, 12};

static const struct oracle_case {
    const char *name;
    hd_sampling how;
    int32_t expected[12];
} oracle_cases[] = {
    {"greedy",
     {.temperature = 0.0f, .top_p = 1.0f, .repetition_penalty = 1.0f, .seed = 1},
     {320, 320, 320, 320, 320, 320, 320, 320, 320, 320, 320, 320}},
    {"plain",
     {.temperature = 1.0f, .top_p = 1.0f, .repetition_penalty = 1.0f, .seed = 1},
     {938, 394, 44, 365, 781, 358, 382, 749, 630, 390, 122, 974}},
    {"hot",
     {.temperature = 2.5f, .top_p = 1.0f, .repetition_penalty = 1.0f, .seed = 0xFEDCBA9876543210u},
     {226, 909, 869, 66, 785, 129, 390, 48, 141, 820, 950, 789}},
    {"top_k",
     {.temperature = 1.5f, .top_k = 5, .top_p = 1.0f, .repetition_penalty = 1.0f, .seed = 2},
     {992, 823, 971, 971, 640, 971, 971, 647, 992, 971, 823, 992}},
    {"top_p",
     {.temperature = 1.0f, .top_p = 0.75f, .repetition_penalty = 1.0f, .seed = 3},
     {708, 46, 67, 273, 352, 730, 719, 815, 161, 775, 535, 297}},
    {"min_p",
     {.temperature = 2.0f, .top_p = 1.0f, .min_p = 0.25f, .repetition_penalty = 1.0f, .seed = 4},
     {200, 18, 970, 588, 748, 980, 453, 542, 118, 640, 571, 58}},
    {"all_filters",
     {.temperature = 1.25f,
      .top_k = 40,
      .top_p = 0.875f,
      .min_p = 0.125f,
      .repetition_penalty = 1.0f,
      .seed = 5},
     {328, 963, 317, 402, 963, 317, 963, 831, 699, 77, 317, 108}},
    {"penalties",
     {.temperature = 0.25f,
      .top_k = 20,
      .top_p = 1.0f,
      .repetition_penalty = 1.0625f,
      .presence_penalty = 0.5f,
      .frequency_penalty = -0.375f,
      .seed = 6},
     {312, 217, 574, 310, 595, 217, 634, 443, 316, 958, 139, 832}},
    {"bias",
     {.temperature = 0.5f,
      .top_p = 1.0f,
      .repetition_penalty = 1.0f,
      .seed = 7,
      .bias = oracle_bias,
      .n_bias = 3},
     {400, 400, 17, 400, 566, 17, 400, 608, 17, 400, 400, 486}},
};

static void oracle_logits(uint64_t case_seed, float *logits)
{
    uint64_t key = hd_rng_mix(case_seed + HD_RNG_STEP);
    for (uint64_t i = 0; i < V; i++)
        logits[i] = (float)(hd_rng_at(key, i) % (1u << 20)) / 65536.0f - 8.0f;
}

static void test_draws_equal_the_oracle(void **state)
{
    (void)state;
    hd_sampler *s = new_sampler(V);
    float logits[V];
    /* Two rounds: the first leaves nothing behind that changes the second. */
    for (size_t round = 0; round < 2; round++)
        for (size_t c = 0; c < sizeof oracle_cases / sizeof oracle_cases[0]; c++) {
            const struct oracle_case *oc = &oracle_cases[c];
            oracle_logits(c, logits);
            for (uint64_t p = 0; p < 12; p++) {
                hd_sample_args args = {logits, &oc->how, p * 1001, oracle_ids, 9, 3, NULL};
                int32_t id = -1;
                assert_int_equal(hd_sampler_draw(s, &args, &id, NULL), HD_OK);
                if (id != oc->expected[p])
                    fail_msg("%s, draw %d: %d, not %d", oc->name, (int)p, id, oc->expected[p]);
            }
        }
    hd_sampler_destroy(s);
}

/* ---- frequencies ---- */

/* Pearson's statistic of n draws against the exact probabilities of the kept tokens. */
static double chi_square(const float *logits, int32_t vocab, const hd_sampling *how,
                         const double *kept, int n)
{
    hd_sampler *s = new_sampler(vocab);
    int seen[16] = {0};
    double z = 0.0, chi = 0.0;
    for (int i = 0; i < n; i++) seen[draw_at(s, logits, how, (uint64_t)i)]++;
    for (int i = 0; i < vocab; i++)
        z += kept[i] * exp((double)logits[i] / (double)how->temperature);
    for (int i = 0; i < vocab; i++) {
        double expected = kept[i] * exp((double)logits[i] / (double)how->temperature) / z * n;
        if (kept[i] == 0.0)
            assert_int_equal(seen[i], 0);
        else
            chi += (seen[i] - expected) * (seen[i] - expected) / expected;
    }
    hd_sampler_destroy(s);
    return chi;
}

static void test_frequencies(void **state)
{
    (void)state;
    static const float logits[8] = {1.0f, -0.5f, 2.0f, 0.0f, 1.5f, -2.0f, 0.5f, 1.0f};
    static const double all[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    hd_sampling how = HD_SAMPLING_DEFAULT;
    how.seed = 42;
    /* 24.32 is the 99.9 % point for 7 degrees of freedom, 13.82 that for 2. */
    assert_true(chi_square(logits, 8, &how, all, 40000) < 24.32);
    how.temperature = 0.7f;
    assert_true(chi_square(logits, 8, &how, all, 40000) < 24.32);
    /* The three best: 2, 4 and of the equal 0 and 7 the lower id. */
    static const double three[8] = {1, 0, 1, 0, 1, 0, 0, 0};
    how.top_k = 3;
    assert_true(chi_square(logits, 8, &how, three, 40000) < 13.82);
    /* The test can fail: a wrong temperature is seen at once. */
    hd_sampling colder = how;
    how.temperature = 0.65f;
    colder.temperature = 0.7f;
    hd_sampler *s = new_sampler(8);
    int best = 0, best_colder = 0;
    for (uint64_t i = 0; i < 40000; i++) {
        best += draw_at(s, logits, &how, i) == 2;
        best_colder += draw_at(s, logits, &colder, i) == 2;
    }
    assert_true(best > best_colder + 300);
    hd_sampler_destroy(s);
}

/* Draws at different positions and with different seeds are unrelated. */
static void test_draws_are_independent(void **state)
{
    (void)state;
    static const float logits[2] = {0.0f, 0.0f};
    hd_sampling a = HD_SAMPLING_DEFAULT, b = HD_SAMPLING_DEFAULT;
    b.seed = 1;
    hd_sampler *s = new_sampler(2);
    int n = 20000, same_next = 0, same_seed = 0;
    for (int i = 0; i < n; i++) {
        int32_t x = draw_at(s, logits, &a, (uint64_t)i);
        same_next += x == draw_at(s, logits, &a, (uint64_t)i + 1);
        same_seed += x == draw_at(s, logits, &b, (uint64_t)i);
    }
    assert_in_range(same_next, n / 2 - 283, n / 2 + 283); /* 4 standard deviations */
    assert_in_range(same_seed, n / 2 - 283, n / 2 + 283);
    hd_sampler_destroy(s);
}

/* The noise of a token does not depend on which other tokens there are. */
static void test_dropping_losers_changes_nothing(void **state)
{
    (void)state;
    float logits[V];
    hd_sampler *s = new_sampler(V);
    hd_sampling how = HD_SAMPLING_DEFAULT;
    for (uint64_t p = 0; p < 200; p++) {
        oracle_logits(p, logits);
        int32_t id = draw_at(s, logits, &how, p);
        for (int32_t i = 0; i < V; i++)
            if (i != id && i % 3 == 0) logits[i] = -1e30f;
        assert_int_equal(draw_at(s, logits, &how, p), id);
    }
    hd_sampler_destroy(s);
}

/* ---- filters and ties at their borders ---- */

/* The set of tokens that come out of many draws, as bits. */
static unsigned reachable(const float *logits, int32_t vocab, const hd_sampling *how)
{
    hd_sampler *s = new_sampler(vocab);
    unsigned set = 0;
    for (uint64_t p = 0; p < 3000; p++) set |= 1u << draw_at(s, logits, how, p);
    hd_sampler_destroy(s);
    return set;
}

static void test_filters(void **state)
{
    (void)state;
    /* Probabilities 1/2, 1/4, 1/8, 1/8 in the order of ids 3, 1, 0, 2; the logits differ by log 2
     * rounded to FP32, so sums may be off by 1e-7. */
    const float ln2 = 0.693147181f;
    const float logits[4] = {5.0f, 5.0f + ln2, 5.0f, 5.0f + 2.0f * ln2};
    static const struct {
        int32_t top_k;
        float top_p, min_p;
        unsigned kept;
    } cases[] = {
        {0, 1.0f, 0.0f, 15},                          /* nothing is cut */
        {9, 1.0f, 0.0f, 15},                          /* more than there are */
        {4, 1.0f, 0.0f, 15},   {3, 1.0f, 0.0f, 11},   /* 0 and 2 are equal: the lower id stays */
        {1, 1.0f, 0.0f, 8},    {0, 1e-6f, 0.0f, 8},   /* at least one token stays */
        {0, 0.499f, 0.0f, 8},  {0, 0.501f, 0.0f, 10}, /* the token that crosses the border stays */
        {0, 0.749f, 0.0f, 10}, {0, 0.751f, 0.0f, 11}, {0, 0.99f, 0.0f, 15},
        {2, 0.66f, 0.0f, 8},  /* top-p counts within what top-k left: 2/3, 1/3 */
        {2, 0.67f, 0.0f, 10}, /* (1/2 alone would not reach 0.66 of everything) */
        {0, 1.0f, 1.0f, 8},    {0, 1.0f, 0.51f, 8},   {0, 1.0f, 0.49f, 10},
        {0, 1.0f, 0.26f, 10},  {0, 1.0f, 0.24f, 15},  {3, 0.99f, 0.26f, 10},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hd_sampling how = HD_SAMPLING_DEFAULT;
        how.top_k = cases[i].top_k;
        how.top_p = cases[i].top_p;
        how.min_p = cases[i].min_p;
        if (reachable(logits, 4, &how) != cases[i].kept)
            fail_msg("filter case %d keeps %x", (int)i, reachable(logits, 4, &how));
    }
    /* Filters act on the tempered distribution: at T = 1/2 the best has 16/22. */
    hd_sampling how = HD_SAMPLING_DEFAULT;
    how.temperature = 0.5f;
    how.top_p = 0.72f;
    assert_int_equal(reachable(logits, 4, &how), 8);
    how.top_p = 0.73f;
    assert_int_equal(reachable(logits, 4, &how), 10);
}

static void test_greedy_ties_and_extremes(void **state)
{
    (void)state;
    hd_sampling greedy = HD_SAMPLING_DEFAULT, cold = HD_SAMPLING_DEFAULT;
    greedy.temperature = 0.0f;
    cold.temperature = 1e-30f;
    hd_sampler *s = new_sampler(4);
    const float tie[4] = {-0.0f, 3.0f, 3.0f, 1.0f}, zeros[4] = {-0.0f, 0.0f, 0.0f, -0.0f};
    const float far[4] = {-3e38f, 3e38f, 0.0f, 2.9e38f};
    assert_int_equal(draw_at(s, tie, &greedy, 0), 1);
    assert_int_equal(draw_at(s, zeros, &greedy, 0), 0);
    for (uint64_t p = 0; p < 100; p++) {
        assert_int_equal(draw_at(s, far, &cold, p), 1);
        int32_t id = draw_at(s, tie, &cold, p);
        assert_true(id == 1 || id == 2);
        cold.top_p = 0.25f; /* of two equals the lower id alone stays */
        assert_int_equal(draw_at(s, tie, &cold, p), 1);
        cold.top_p = 1.0f;
    }
    hd_sampler_destroy(s);
    s = new_sampler(1);
    assert_int_equal(draw_at(s, tie, &cold, 5), 0);
    hd_sampler_destroy(s);
}

/* ---- penalties, seen through argmax ---- */

static int32_t best_after(const float *logits, float repetition, float presence, float frequency)
{
    static const int32_t ids[] = {0, 0, 0, 1, 1, 2}; /* prompt: the first three */
    hd_sampling how = HD_SAMPLING_DEFAULT;
    how.temperature = 0.0f;
    how.repetition_penalty = repetition;
    how.presence_penalty = presence;
    how.frequency_penalty = frequency;
    hd_sampler *s = new_sampler(4);
    hd_sample_args args = {logits, &how, 6, ids, 6, 3, NULL};
    int32_t id = -1;
    assert_int_equal(hd_sampler_draw(s, &args, &id, NULL), HD_OK);
    hd_sampler_destroy(s);
    return id;
}

static void test_penalties(void **state)
{
    (void)state;
    const float a[4] = {4.0f, 3.0f, 2.0f, 1.9f}, b[4] = {-4.0f, -1.0f, -1.0f, -1.9f};
    const float c[4] = {1.0f, 4.0f, 3.9f, 0.0f};
    assert_int_equal(best_after(a, 1.0f, 0.0f, 0.0f), 0);
    assert_int_equal(best_after(a, 2.0f, 0.0f, 0.0f), 0); /* 2.0, 1.5, 1.0, 1.9 */
    assert_int_equal(best_after(a, 2.2f, 0.0f, 0.0f), 3); /* 1.8, ... the prompt counts too */
    assert_int_equal(best_after(b, 1.0f, 0.0f, 0.0f), 1);
    assert_int_equal(best_after(b, 2.0f, 0.0f, 0.0f), 3);   /* -8, -2, -2, -1.9: away from zero */
    assert_int_equal(best_after(a, 1.0f, 100.0f, 0.0f), 0); /* prompt tokens are not "present" */
    assert_int_equal(best_after(c, 1.0f, 0.0f, 0.0f), 1);
    assert_int_equal(best_after(c, 1.0f, 1.0f, 0.0f), 1);  /* 3.0, 2.9: once each */
    assert_int_equal(best_after(c, 1.0f, 0.0f, 0.2f), 2);  /* 3.6, 3.7: per occurrence */
    assert_int_equal(best_after(a, 1.0f, 0.0f, -1.1f), 1); /* 4, 5.2, 3.1: negative rewards */
}

static void test_bias_comes_after_penalties(void **state)
{
    (void)state;
    const float logits[2] = {2.0f, 0.5f};
    const int32_t ids[1] = {0};
    const hd_logit_bias bias[1] = {{0, -1.0f}};
    hd_sampling how = HD_SAMPLING_DEFAULT;
    how.temperature = 0.0f;
    how.repetition_penalty = 1.25f;
    how.bias = bias;
    how.n_bias = 1;
    hd_sampler *s = new_sampler(2);
    hd_sample_args args = {logits, &how, 0, ids, 1, 1, NULL};
    int32_t id = -1;
    /* 2 / 1.25 - 1 = 0.6 wins; (2 - 1) / 1.25 = 0.8 would too, but 0.7 at token 1 tells. */
    assert_int_equal(hd_sampler_draw(s, &args, &id, NULL), HD_OK);
    assert_int_equal(id, 0);
    const float close[2] = {2.0f, 0.7f};
    args.logits = close;
    assert_int_equal(hd_sampler_draw(s, &args, &id, NULL), HD_OK);
    assert_int_equal(id, 1);
    hd_sampler_destroy(s);
}

/* ---- refusals ---- */

static void expect_refusal(hd_sampler *s, const hd_sample_args *args, hd_status code,
                           const char *text)
{
    int32_t id = 77;
    hd_err err;
    assert_int_equal(hd_sampler_draw(s, args, &id, &err), code);
    assert_int_equal(id, 77);
    assert_string_equal(err.text, text);
}

static void test_bad_logits(void **state)
{
    (void)state;
    hd_sampler *s = new_sampler(3);
    hd_sampling how = HD_SAMPLING_DEFAULT;
    float logits[3] = {1.0f, NAN, 2.0f};
    hd_sample_args args = {.logits = logits, .how = &how, .position = 12};
    expect_refusal(s, &args, HD_E_DEVICE, "logit of token 1 for position 12 is not a number");
    logits[1] = INFINITY;
    expect_refusal(s, &args, HD_E_DEVICE, "logit of token 1 for position 12 is infinite");
    logits[1] = -INFINITY;
    how.temperature = 0.0f;
    expect_refusal(s, &args, HD_E_DEVICE, "logit of token 1 for position 12 is infinite");
    logits[1] = -3e38f;
    how.bias = &(hd_logit_bias){1, -3e38f};
    how.n_bias = 1;
    expect_refusal(s, &args, HD_E_ARG, "penalties and bias of token 1 overflow its logit");
    hd_sampler_destroy(s);
}

static void test_bad_settings(void **state)
{
    (void)state;
    const hd_sampling ok = HD_SAMPLING_DEFAULT;
    hd_sampling bad[14];
    for (size_t i = 0; i < 14; i++) bad[i] = ok;
    bad[0].temperature = -0.5f;
    bad[1].temperature = NAN;
    bad[2].temperature = 101.0f;
    bad[3].top_p = 0.0f;
    bad[4].top_p = 1.5f;
    bad[5].top_p = NAN;
    bad[6].min_p = -1.0f;
    bad[7].min_p = 2.0f;
    bad[8].top_k = -1;
    bad[9].repetition_penalty = 0.0f;
    bad[10].presence_penalty = INFINITY;
    bad[11].frequency_penalty = NAN;
    bad[12].bias = &(hd_logit_bias){3, 1.0f};
    bad[12].n_bias = 1;
    bad[13].bias = &(hd_logit_bias){0, NAN};
    bad[13].n_bias = 1;
    static const char *const texts[14] = {
        "'temperature' is -0.5: expected a number from 0 to 100",
        "'temperature' is nan: expected a number from 0 to 100",
        "'temperature' is 101: expected a number from 0 to 100",
        "'top_p' is 0: expected a number above 0, at most 1",
        "'top_p' is 1.5: expected a number above 0, at most 1",
        "'top_p' is nan: expected a number above 0, at most 1",
        "'min_p' is -1: expected a number from 0 to 1",
        "'min_p' is 2: expected a number from 0 to 1",
        "'top_k' is -1: expected 0 (off) or more",
        "'repetition_penalty' is 0: expected a number above 0, at most 100",
        "'presence_penalty' is inf: expected a number from -100 to 100",
        "'frequency_penalty' is nan: expected a number from -100 to 100",
        "'logit_bias' names token 3: expected 0 to 2",
        "'logit_bias' of token 0 is not finite",
    };
    hd_sampler *s = new_sampler(3);
    const float logits[3] = {1.0f, 2.0f, 3.0f};
    for (size_t i = 0; i < 14; i++) {
        hd_sample_args args = {.logits = logits, .how = &bad[i]};
        expect_refusal(s, &args, HD_E_ARG, texts[i]);
    }
    hd_sampling how = ok;
    how.presence_penalty = 1.0f;
    const int32_t ids[3] = {0, -1, 3};
    hd_sample_args args = {logits, &how, 3, ids, 3, 0, NULL};
    expect_refusal(s, &args, HD_E_ARG, "id -1 at position 1 is outside the vocabulary of 3");
    args.ids = (const int32_t[]){0, 3};
    args.n_ids = 2;
    expect_refusal(s, &args, HD_E_ARG, "id 3 at position 1 is outside the vocabulary of 3");
    args.n_prompt = 3;
    expect_refusal(s, &args, HD_E_ARG, "prompt of 3 ids in a sequence of 2");
    hd_sampler_destroy(s);
}

static void test_memory(void **state)
{
    (void)state;
    hd_sampler *s = NULL;
    assert_int_equal(hd_sampler_create(0, &s, NULL), HD_E_ARG);
    assert_int_equal(hd_sampler_create((1 << 24) + 1, &s, NULL), HD_E_ARG);
    for (long n = 0; n < 4; n++) {
        hd_mem_fail_after(n);
        assert_int_equal(hd_sampler_create(100, &s, NULL), HD_E_NOMEM);
        hd_mem_fail_after(-1);
    }
    assert_null(s);
    s = new_sampler(4);
    hd_sampling how = HD_SAMPLING_DEFAULT;
    how.top_k = 3;
    how.top_p = 0.9f;
    how.presence_penalty = 1.0f;
    hd_mem_fail_after(0); /* no allocation per call */
    assert_in_range(draw_at(s, (const float[]){1, 2, 3, 4}, &how, 0), 1, 3);
    hd_mem_fail_after(-1);
    hd_sampler_destroy(s);
    hd_sampler_destroy(NULL);
}

/* ---- mask ---- */

/* A token that is not allowed is as good as one whose logit is very low, under every filter. */
static void test_mask(void **state)
{
    (void)state;
    static float logits[V], low[V];
    static uint32_t mask[(V + 31) / 32];
    hd_sampler *s = new_sampler(V);
    for (uint64_t round = 0; round < 300; round++) {
        uint64_t key = hd_rng_key(5, round);
        hd_sampling how = HD_SAMPLING_DEFAULT;
        how.temperature = (float)(round % 3);
        how.top_k = round % 4 == 1 ? 20 : 0;
        how.top_p = round % 5 == 1 ? 0.7f : 1.0f;
        how.min_p = round % 7 == 1 ? 0.05f : 0.0f;
        how.seed = round;
        memset(mask, 0, sizeof mask);
        for (int32_t i = 0; i < V; i++) {
            bool is_allowed = hd_rng_below(hd_rng_at(key, (uint64_t)i), 2 + round % 40) == 0;
            logits[i] = (float)hd_rng_below(hd_rng_at(key, (uint64_t)(V + i)), 4096) / 400.0f;
            low[i] = is_allowed || i == 7 ? logits[i] : -1e9f;
            if (is_allowed || i == 7) mask[i / 32] |= 1u << (i % 32);
        }
        hd_sample_args args = {.logits = logits, .how = &how, .position = round, .mask = mask};
        int32_t id = -1;
        assert_int_equal(hd_sampler_draw(s, &args, &id, NULL), HD_OK);
        assert_int_equal(id, draw_at(s, low, &how, round));
        assert_true(mask[id / 32] >> (id % 32) & 1);
    }
    memset(mask, 0, sizeof mask);
    mask[V / 32] = ~0u << (V % 32); /* bits behind the vocabulary allow nothing */
    hd_sampling how = HD_SAMPLING_DEFAULT;
    hd_sample_args args = {.logits = logits, .how = &how, .mask = mask};
    int32_t id = -1;
    assert_int_equal(hd_sampler_draw(s, &args, &id, NULL), HD_E_ARG);
    assert_int_equal(id, -1);
    hd_sampler_destroy(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rng_is_splitmix64),
        cmocka_unit_test(test_draws_equal_the_oracle),
        cmocka_unit_test(test_frequencies),
        cmocka_unit_test(test_draws_are_independent),
        cmocka_unit_test(test_dropping_losers_changes_nothing),
        cmocka_unit_test(test_filters),
        cmocka_unit_test(test_greedy_ties_and_extremes),
        cmocka_unit_test(test_penalties),
        cmocka_unit_test(test_bias_comes_after_penalties),
        cmocka_unit_test(test_bad_logits),
        cmocka_unit_test(test_bad_settings),
        cmocka_unit_test(test_memory),
        cmocka_unit_test(test_mask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
