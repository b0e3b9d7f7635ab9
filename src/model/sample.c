/* The sampler's steps, each one function, in the order in which they run.
 *
 * After the temperature step `score` holds (logit - largest logit) / T, so the best token has 0 and
 * exp(score) is its probability up to a common factor. The filters need the tokens in descending
 * order, but mostly only the first few: a heap gives them one by one. */
#include "hadal/model.h"

#include <math.h>

#include "base/canon.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"

#define MAX_VOCAB (1 << 24)
#define SEEN      0x80000000u /* flag in sampler.count: the id occurs in the prompt or later */

struct hd_sampler {
    int32_t n;       /* V */
    int32_t n_heap;  /* order[0 .. n_heap-1] is a heap, the best on top */
    int32_t n_taken; /* the last n_taken of `order` were taken off it, the best last */
    float *score;    /* f32 [V] */
    float *weight;   /* f32 [V], exp(score); 0 for tokens that top-k has dropped */
    int32_t *order;  /* i32 [V], token ids */
    uint32_t *count; /* u32 [V], all zero between calls */
};

hd_status hd_sampler_create(int32_t vocab_size, hd_sampler **out, hd_err *err)
{
    if (vocab_size < 1 || vocab_size > MAX_VOCAB)
        HD_FAIL(err, HD_E_ARG, "vocabulary of %d tokens: expected 1 to %d", vocab_size, MAX_VOCAB);
    hd_sampler *s = hd_mem_calloc(1, sizeof *s);
    size_t n = (size_t)vocab_size;
    s->n = vocab_size;
    s->score = hd_mem_try_calloc(n, sizeof *s->score);
    s->weight = hd_mem_try_calloc(n, sizeof *s->weight);
    s->order = hd_mem_try_calloc(n, sizeof *s->order);
    s->count = hd_mem_try_calloc(n, sizeof *s->count);
    if (!s->score || !s->weight || !s->order || !s->count) {
        hd_sampler_destroy(s);
        HD_FAIL(err, HD_E_NOMEM, "no memory for a sampler of %d tokens", vocab_size);
    }
    *out = s;
    return HD_OK;
}

void hd_sampler_destroy(hd_sampler *s)
{
    if (!s) return;
    hd_mem_free(s->score);
    hd_mem_free(s->weight);
    hd_mem_free(s->order);
    hd_mem_free(s->count);
    hd_mem_free(s);
}

/* ---- checks ---- */

static hd_status check_range(const char *name, float x, float min, float max, hd_err *err)
{
    if (!(x >= min && x <= max))
        HD_FAIL(err, HD_E_ARG, "'%s' is %g: expected a number from %g to %g", name, (double)x,
                (double)min, (double)max);
    return HD_OK;
}

hd_status hd_sampling_check(const hd_sampling *how, int32_t vocab_size, hd_err *err)
{
    HD_TRY(check_range("temperature", how->temperature, 0.0f, 100.0f, err));
    HD_TRY(check_range("min_p", how->min_p, 0.0f, 1.0f, err));
    HD_TRY(check_range("presence_penalty", how->presence_penalty, -100.0f, 100.0f, err));
    HD_TRY(check_range("frequency_penalty", how->frequency_penalty, -100.0f, 100.0f, err));
    if (!(how->top_p > 0.0f && how->top_p <= 1.0f))
        HD_FAIL(err, HD_E_ARG, "'top_p' is %g: expected a number above 0, at most 1",
                (double)how->top_p);
    if (!(how->repetition_penalty > 0.0f && how->repetition_penalty <= 100.0f))
        HD_FAIL(err, HD_E_ARG, "'repetition_penalty' is %g: expected a number above 0, at most 100",
                (double)how->repetition_penalty);
    if (how->top_k < 0)
        HD_FAIL(err, HD_E_ARG, "'top_k' is %d: expected 0 (off) or more", how->top_k);
    for (size_t i = 0; i < how->n_bias; i++) {
        const hd_logit_bias *b = &how->bias[i];
        if (b->id < 0 || b->id >= vocab_size)
            HD_FAIL(err, HD_E_ARG, "'logit_bias' names token %d: expected 0 to %d", b->id,
                    vocab_size - 1);
        if (!isfinite(b->bias))
            HD_FAIL(err, HD_E_ARG, "'logit_bias' of token %d is not finite", b->id);
    }
    return HD_OK;
}

static int32_t first_not_finite(const float *x, int32_t n)
{
    int32_t i = 0;
    while (i < n && isfinite(x[i])) i++;
    return i;
}

static hd_status check_args(const hd_sampler *s, const hd_sample_args *args, hd_err *err)
{
    HD_TRY(hd_sampling_check(args->how, s->n, err));
    if (args->n_prompt > args->n_ids)
        HD_FAIL(err, HD_E_ARG, "prompt of %zu ids in a sequence of %zu", args->n_prompt,
                args->n_ids);
    int32_t bad = first_not_finite(args->logits, s->n);
    if (bad < s->n)
        HD_FAIL(err, HD_E_DEVICE, "logit of token %d for position %llu is %s", bad,
                (unsigned long long)args->position,
                isnan(args->logits[bad]) ? "not a number" : "infinite");
    return HD_OK;
}

/* ---- penalties and bias ---- */

static bool has_penalties(const hd_sampling *how)
{
    return how->repetition_penalty != 1.0f || how->presence_penalty != 0.0f ||
           how->frequency_penalty != 0.0f;
}

static float penalised(float x, uint32_t n_generated, const hd_sampling *how)
{
    x = x > 0.0f ? x / how->repetition_penalty : x * how->repetition_penalty;
    x -= (float)n_generated * how->frequency_penalty;
    return n_generated > 0 ? x - how->presence_penalty : x;
}

static hd_status apply_penalties(hd_sampler *s, const hd_sample_args *args, hd_err *err)
{
    if (!has_penalties(args->how)) return HD_OK;
    for (size_t i = 0; i < args->n_ids; i++)
        if (args->ids[i] < 0 || args->ids[i] >= s->n)
            HD_FAIL(err, HD_E_ARG, "id %d at position %zu is outside the vocabulary of %d",
                    args->ids[i], i, s->n);
    for (size_t i = 0; i < args->n_ids; i++) {
        uint32_t *count = &s->count[args->ids[i]];
        *count = (*count + (i >= args->n_prompt)) | SEEN;
    }
    for (size_t i = 0; i < args->n_ids; i++) {
        int32_t id = args->ids[i];
        if (s->count[id] == 0) continue;
        s->score[id] = penalised(s->score[id], s->count[id] & ~SEEN, args->how);
        s->count[id] = 0;
    }
    return HD_OK;
}

static hd_status apply_bias(hd_sampler *s, const hd_sampling *how, hd_err *err)
{
    for (size_t i = 0; i < how->n_bias; i++) s->score[how->bias[i].id] += how->bias[i].bias;
    int32_t bad = first_not_finite(s->score, s->n);
    if (bad < s->n)
        HD_FAIL(err, HD_E_ARG, "penalties and bias of token %d overflow its logit", bad);
    return HD_OK;
}

/* ---- mask ---- */

static bool is_allowed(const uint32_t *mask, int32_t id)
{
    return mask[id / 32] >> (id % 32) & 1;
}

/* What is not allowed gets -infinity, which all later steps take as never. */
static hd_status apply_mask(hd_sampler *s, const uint32_t *mask, hd_err *err)
{
    if (!mask) return HD_OK;
    int32_t n_allowed = 0;
    for (int32_t i = 0; i < s->n; i++)
        if (is_allowed(mask, i))
            n_allowed++;
        else
            s->score[i] = -INFINITY;
    if (n_allowed == 0) HD_FAIL(err, HD_E_ARG, "no token is allowed");
    return HD_OK;
}

/* ---- temperature ---- */

static int32_t argmax(const float *x, int32_t n)
{
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

/* (x - max) / T: what is far below overflows to -infinity, which exp and the draw take as never. */
static void apply_temperature(hd_sampler *s, float temperature)
{
    float max = s->score[argmax(s->score, s->n)];
    for (int32_t i = 0; i < s->n; i++) s->score[i] = (s->score[i] - max) / temperature;
}

/* ---- filters ---- */

static bool is_better(const hd_sampler *s, int32_t a, int32_t b)
{
    return s->score[a] > s->score[b] || (s->score[a] == s->score[b] && a < b);
}

static void sift_down(hd_sampler *s, int32_t at)
{
    int32_t id = s->order[at];
    for (int32_t child; (child = 2 * at + 1) < s->n_heap; at = child) {
        if (child + 1 < s->n_heap && is_better(s, s->order[child + 1], s->order[child])) child++;
        if (!is_better(s, s->order[child], id)) break;
        s->order[at] = s->order[child];
    }
    s->order[at] = id;
}

static void build_heap(hd_sampler *s)
{
    s->n_heap = s->n;
    s->n_taken = 0;
    for (int32_t i = 0; i < s->n; i++) s->order[i] = i;
    for (int32_t i = s->n / 2 - 1; i >= 0; i--) sift_down(s, i);
}

/* The token of rank j, 0 = the best; ranks below j have been asked for. Taken tokens move to the
 * space that the shrinking heap leaves, so they end up in `order` from its end down. */
static int32_t ranked(hd_sampler *s, int32_t j)
{
    if (j == s->n_taken) {
        int32_t best = s->order[0];
        s->order[0] = s->order[--s->n_heap];
        s->order[s->n_heap] = best;
        s->n_taken++;
        sift_down(s, 0);
    }
    return s->order[s->n - 1 - j];
}

/* exp(score) of every token, or of the k best and 0 for the others. */
static void weigh(hd_sampler *s, int32_t k)
{
    for (int32_t i = 0; i < s->n; i++) s->weight[i] = k < s->n ? 0.0f : hd_expf(s->score[i]);
    for (int32_t j = 0; j < k && k < s->n; j++) {
        int32_t id = ranked(s, j);
        s->weight[id] = hd_expf(s->score[id]);
    }
}

/* Returns how many of the ranked tokens stay: at least one. */
static int32_t filter(hd_sampler *s, const hd_sampling *how)
{
    int32_t k = how->top_k > 0 && how->top_k < s->n ? how->top_k : s->n;
    build_heap(s);
    weigh(s, k);
    float total = hd_canon_sum(s->weight, (size_t)s->n);
    double enough = (double)how->top_p * (double)total;
    double sum = 0.0; /* of the ranked weights, best first, in FP64 */
    int32_t n_kept = 0;
    while (n_kept < k) {
        float w = s->weight[ranked(s, n_kept)];
        if (n_kept > 0 && w < how->min_p) break; /* the best has weight 1 */
        n_kept++;
        sum += (double)w;
        if (how->top_p < 1.0f && sum >= enough) break;
    }
    return n_kept;
}

/* ---- the draw ---- */

/* -log(-log(u)) of a uniform u in (0, 1), made of the 52 high bits: u = (r + 1/2) / 2^52, which
 * FP64 holds exactly. */
static double gumbel(uint64_t bits)
{
    double u = ((double)(bits >> 12) + 0.5) * 0x1p-52;
    return -hd_log(-hd_log(u));
}

/* Whether a token that scores `gap` less than the best total so far (gap >= 0) can still win:
 * it needs noise above gap, u > exp(-exp(-gap)) > 1 - exp(-gap). But 1 - u >= 2^-(z+1), where z is
 * the number of leading ones of the bits, and that is above exp(-gap) if gap >= z + 1. So most
 * tokens are decided without a logarithm. */
static bool can_win(double gap, uint64_t bits)
{
    int leading_ones = bits == UINT64_MAX ? 64 : __builtin_clzll(~bits);
    return gap < leading_ones + 1;
}

/* kept: i32 [n_kept] token ids in any order, or NULL for all tokens. */
static int32_t draw(const hd_sampler *s, const int32_t *kept, int32_t n_kept, uint64_t key)
{
    int32_t best = -1;
    double best_total = -INFINITY;
    for (int32_t j = 0; j < n_kept; j++) {
        int32_t id = kept ? kept[j] : j;
        double score = (double)s->score[id];
        uint64_t bits = hd_rng_at(key, (uint64_t)id);
        if (!can_win(best_total - score, bits)) continue;
        double total = score + gumbel(bits);
        if (total > best_total || (total == best_total && id < best)) {
            best = id;
            best_total = total;
        }
    }
    return best;
}

hd_status hd_sampler_draw(hd_sampler *s, const hd_sample_args *args, int32_t *id, hd_err *err)
{
    const hd_sampling *how = args->how;
    HD_TRY(check_args(s, args, err));
    memcpy(s->score, args->logits, (size_t)s->n * sizeof *s->score);
    HD_TRY(apply_penalties(s, args, err));
    HD_TRY(apply_bias(s, how, err));
    HD_TRY(apply_mask(s, args->mask, err));
    if (how->temperature == 0.0f) {
        *id = argmax(s->score, s->n);
        return HD_OK;
    }
    apply_temperature(s, how->temperature);
    uint64_t key = hd_rng_key(how->seed, args->position);
    if (how->top_k == 0 && how->top_p == 1.0f && how->min_p == 0.0f) {
        *id = draw(s, NULL, s->n, key);
        return HD_OK;
    }
    int32_t n_kept = filter(s, how);
    *id = draw(s, s->order + s->n - n_kept, n_kept, key);
    return HD_OK;
}
