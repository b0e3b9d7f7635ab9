#include "base/canon.h"

#include <math.h>
#include <string.h>

/* The loops over lanes are plain C; with FMA in reach the compiler makes vectors of them. A fused
 * multiply-add is the same operation either way, so all clones give the same bits. Not under
 * ThreadSanitizer: the choice among clones runs before its runtime is ready. */
#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__SANITIZE_THREAD__)
#define CLONES __attribute__((target_clones("arch=x86-64-v3", "default")))
#else
#define CLONES
#endif

#define LANES HD_CANON_LANES
#define PAIRS (2 * LANES) /* elements that one step of all lanes takes */

static inline float add_lanes(float *lane)
{
    for (size_t width = LANES / 2; width > 0; width /= 2) {
        for (size_t l = 0; l < width; l++) lane[l] += lane[l + width];
    }
    return lane[0];
}

static inline void dot_step(const float *a, const float *b, float *lane)
{
    for (size_t l = 0; l < LANES; l++) {
        float odd = fmaf(a[2 * l + 1], b[2 * l + 1], lane[l]);
        lane[l] = fmaf(a[2 * l], b[2 * l], odd);
    }
}

CLONES float hd_canon_dot_segment(const float *a, const float *b, size_t n)
{
    float lane[LANES] = {0};
    size_t whole = n - n % PAIRS;
    for (size_t i = 0; i < whole; i += PAIRS) dot_step(a + i, b + i, lane);
    if (whole < n) {
        float tail_a[PAIRS] = {0}, tail_b[PAIRS] = {0};
        memcpy(tail_a, a + whole, (n - whole) * sizeof *a);
        memcpy(tail_b, b + whole, (n - whole) * sizeof *b);
        dot_step(tail_a, tail_b, lane);
    }
    return add_lanes(lane);
}

float hd_canon_dot(const float *a, const float *b, size_t n)
{
    float total = 0.0f;
    for (size_t i = 0; i < n; i += HD_CANON_SEGMENT) {
        size_t len = n - i < HD_CANON_SEGMENT ? n - i : HD_CANON_SEGMENT;
        total += hd_canon_dot_segment(a + i, b + i, len);
    }
    return total;
}

/* One segment of a sum of x or, squared, of x · x. */
static inline float sum_segment(const float *x, size_t n, int squared)
{
    float lane[LANES] = {0};
    for (size_t i = 0; i < n; i++) lane[i % LANES] += squared ? x[i] * x[i] : x[i];
    return add_lanes(lane);
}

float hd_canon_sum(const float *x, size_t n)
{
    float total = 0.0f;
    for (size_t i = 0; i < n; i += HD_CANON_SEGMENT) {
        total += sum_segment(x + i, n - i < HD_CANON_SEGMENT ? n - i : HD_CANON_SEGMENT, 0);
    }
    return total;
}

float hd_canon_sum_sq(const float *x, size_t n)
{
    float total = 0.0f;
    for (size_t i = 0; i < n; i += HD_CANON_SEGMENT) {
        total += sum_segment(x + i, n - i < HD_CANON_SEGMENT ? n - i : HD_CANON_SEGMENT, 1);
    }
    return total;
}

CLONES void hd_canon_step(float a, const float *x, float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] = fmaf(a, x[i], y[i]);
}
