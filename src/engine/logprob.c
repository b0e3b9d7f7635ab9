#include "engine/logprob.h"

#include "base/num.h"

/* Puts x into the list of the n likeliest so far, at most max of them; returns their number. */
static int32_t insert(hd_logprob *top, int32_t n, int32_t max, int32_t id, float x)
{
    if (n == max && !(x > top[n - 1].logprob)) return n;
    int32_t at = n < max ? n++ : n - 1;
    for (; at > 0 && x > top[at - 1].logprob; at--) top[at] = top[at - 1];
    top[at] = (hd_logprob){.id = id, .logprob = x};
    return n;
}

float hd_logprob_row(const float *logits, int32_t vocab_size, int32_t id, int32_t n_top,
                     hd_logprob *top)
{
    float max = logits[0];
    double sum = 0.0;
    int32_t n = 0;
    for (int32_t i = 1; i < vocab_size; i++)
        if (logits[i] > max) max = logits[i];
    for (int32_t i = 0; i < vocab_size; i++) sum += (double)hd_expf(logits[i] - max);
    for (int32_t i = 0; n_top > 0 && i < vocab_size; i++) n = insert(top, n, n_top, i, logits[i]);
    double norm = (double)max + hd_log(sum);
    for (int32_t i = 0; i < n; i++) top[i].logprob = (float)((double)top[i].logprob - norm);
    return (float)((double)logits[id] - norm);
}
