#include "model/rope.h"

#include <math.h>

#define N_FREQ (HD_ROPE_DIM / 2)

/* Two FP32 roundings, as the reference: θ^(i/32), then its reciprocal. */
static float base_freq(double theta, int i)
{
    float power = (float)pow(theta, (double)i / N_FREQ);
    return 1.0f / power;
}

void hd_rope_freqs_plain(const hd_config *c, hd_rope_freqs *out)
{
    for (int i = 0; i < N_FREQ; i++) out->f[i] = base_freq(c->rope_theta, i);
}

/* The frequency index at which a full rotation takes original_ctx / beta positions. */
static double yarn_corr(const hd_config *c, double beta)
{
    const double two_pi = 6.283185307179586;
    return HD_ROPE_DIM * log(c->yarn_original_ctx / (beta * two_pi)) /
           (2.0 * log(c->compress_rope_theta));
}

void hd_rope_freqs_yarn(const hd_config *c, hd_rope_freqs *out)
{
    double low = floor(yarn_corr(c, c->yarn_beta_fast));
    double high = ceil(yarn_corr(c, c->yarn_beta_slow));
    if (low < 0) low = 0;
    if (high > HD_ROPE_DIM - 1) high = HD_ROPE_DIM - 1;
    float span = (float)(high > low ? high - low : 0.001);
    for (int i = 0; i < N_FREQ; i++) {
        float g = base_freq(c->compress_rope_theta, i);
        float ramp = ((float)i - (float)low) / span;
        ramp = ramp < 0.0f ? 0.0f : ramp > 1.0f ? 1.0f : ramp;
        /* Three products and a sum, each rounded: the build forbids contraction. */
        out->f[i] = g / (float)c->yarn_factor * ramp + g * (1.0f - ramp);
    }
}

/* sin and cos on [−π/4, π/4]: Taylor series in FP64, truncation below 2^-60. */
static double sin_poly(double r)
{
    double s = r * r;
    double p = -7.647163731819816e-13; /* −1/15! */
    p = fma(p, s, 1.6059043836821613e-10);
    p = fma(p, s, -2.505210838544172e-08);
    p = fma(p, s, 2.7557319223985893e-06);
    p = fma(p, s, -0.0001984126984126984);
    p = fma(p, s, 0.008333333333333333);
    p = fma(p, s, -0.16666666666666666);
    return fma(p * s, r, r);
}

static double cos_poly(double r)
{
    double s = r * r;
    double p = 4.779477332387385e-14; /* 1/16! */
    p = fma(p, s, -1.1470745597729725e-11);
    p = fma(p, s, 2.08767569878681e-09);
    p = fma(p, s, -2.755731922398589e-07);
    p = fma(p, s, 2.48015873015873e-05);
    p = fma(p, s, -0.001388888888888889);
    p = fma(p, s, 0.041666666666666664);
    p = fma(p, s, -0.5);
    return fma(p, s, 1.0);
}

/* π/2 as a sum of three doubles: with |x| < 2^25 the quotient has at most 24 bits, so the first
 * two products of the reduction are exact and the error stays below 2^-60 of π/2. */
static void sin_cos(double x, double *s, double *c)
{
    const double two_over_pi = 0.6366197723675814;
    const double hi = 1.57079632673412561417e+00, mid = 6.07710050630396597660e-11,
                 low = 2.02226624879595063154e-21;
    double n = rint(x * two_over_pi);
    double r = fma(-n, low, fma(-n, mid, fma(-n, hi, x)));
    double sr = sin_poly(r), cr = cos_poly(r);
    switch ((long)n & 3) {
    case 0: *s = sr, *c = cr; break;
    case 1: *s = cr, *c = -sr; break;
    case 2: *s = -sr, *c = -cr; break;
    default: *s = -cr, *c = sr; break;
    }
}

void hd_rope_row(const hd_rope_freqs *freqs, int32_t position, float *out)
{
    for (int i = 0; i < N_FREQ; i++) {
        float angle = (float)position * freqs->f[i];
        double s, c;
        sin_cos((double)angle, &s, &c);
        out[i] = (float)c;
        out[N_FREQ + i] = (float)s;
    }
}
