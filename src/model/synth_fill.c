/* What the tensors of a made-up checkpoint hold.
 *
 * A linear layer's weights have a standard deviation of about gain / sqrt(K), so inputs of size 1
 * give outputs of size `gain`. FP4 weights are uniform over the sixteen codes. FP8 weights have a
 * triangular distribution; blocks of two kinds alternate as on a chessboard: one fills the range of
 * E4M3 up to 448, the other reaches 1 and down into the subnormals, with scales to match. Scales
 * vary around their middle by a factor of 2, per block or per row and 32 inputs. */
#include "model/synth_fill.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/rng.h"

#define FP8_BLOCK 128

/* Standard deviations of the stored values, before scales. */
#define SD_FP4        2.926   /* uniform over 0, .5, 1, 1.5, 2, 3, 4, 6 with sign: sqrt(8.5625) */
#define SD_FP8_LARGE  182.9   /* difference of two bytes (104.51), times 7/4 */
#define SD_FP8_SMALL  0.40825 /* the same, times 2^-8 */
#define SD_DIFFERENCE 26754.9 /* difference of two 16-bit numbers: 65536 / sqrt(6) */

/* ---- what a weight looks like ---- */

typedef struct recipe {
    double mean;
    double spread;     /* standard deviation */
    bool is_by_inputs; /* spread / sqrt(number of inputs) instead */
} recipe;

static recipe recipe_of(hd_weight_id weight)
{
    switch (weight) {
    case HD_W_NORM:
    case HD_W_ATTN_NORM:
    case HD_W_FFN_NORM:
    case HD_W_Q_NORM:
    case HD_W_KV_NORM:
    case HD_W_COMP_NORM:
    case HD_W_INDEX_NORM:
    case HD_W_ENORM:
    case HD_W_HNORM:
    case HD_W_MAIN_NORM:
    case HD_W_DRAFT_NORM:
    case HD_W_HC_ATTN_SCALE:
    case HD_W_HC_FFN_SCALE:
    case HD_W_HC_HEAD_SCALE:
    case HD_W_DRAFT_HC_HEAD_SCALE: return (recipe){1.0, 0.1, false};
    case HD_W_HC_ATTN_BASE:
    case HD_W_HC_FFN_BASE:
    case HD_W_HC_HEAD_BASE:
    case HD_W_DRAFT_HC_HEAD_BASE:
    case HD_W_COMP_APE:
    case HD_W_INDEX_APE: return (recipe){0.0, 0.5, false};
    case HD_W_EMBED:
    case HD_W_MARKOV_W1: /* an embedding too */
    case HD_W_ATTN_SINK: return (recipe){0.0, 1.0, false};
    case HD_W_HEAD: return (recipe){0.0, 2.5, true}; /* logits that tell tokens apart */
    case HD_W_GATE: return (recipe){0.0, 1.5, true}; /* and experts */
    case HD_W_GATE_BIAS:
        return (recipe){0.0, 0.1, false}; /* scores are near 1: moves some choices */
    case HD_W_EXPERT_W1:
    case HD_W_EXPERT_W3:
    case HD_W_SHARED_W1:
    case HD_W_SHARED_W3: return (recipe){0.0, 3.0, true}; /* some pass the limit of 10 */
    case HD_W_EXPERT_W2:
    case HD_W_SHARED_W2: return (recipe){0.0, 0.04, true}; /* and come back to about 1 */
    default: return (recipe){0.0, 1.0, true};
    }
}

/* ---- random numbers of a tensor ---- */

static uint64_t key_of(uint64_t seed, hd_str name)
{
    uint64_t key = hd_rng_mix(seed + HD_RNG_STEP);
    for (size_t i = 0; i < name.len; i++) key = hd_rng_at(key, (uint8_t)name.ptr[i]);
    return key;
}

static inline uint64_t number(const hd_synth_fill *f, int64_t row, uint64_t i)
{
    return hd_rng_at(f->key, (uint64_t)row * f->numbers_per_row + i);
}

static uint64_t numbers_for(int64_t n_cols, int bits_per_element)
{
    return ((uint64_t)n_cols * (uint64_t)bits_per_element + 63) / 64;
}

/* ---- E4M3 ---- */

struct hd_synth_codes {
    hd_e4m3 of[2][65536]; /* by kind of block (0: large) and 16 random bits */
};

hd_status hd_synth_codes_create(hd_synth_codes **out, hd_err *err)
{
    hd_synth_codes *c = hd_mem_try_calloc(1, sizeof *c);
    if (!c) HD_FAIL(err, HD_E_NOMEM, "no memory for tables of %zu bytes", sizeof *c);
    for (unsigned bits = 0; bits < 65536; bits++) {
        float difference = (float)((int)(bits & 255) - (int)(bits >> 8));
        c->of[0][bits] = hd_e4m3_from_f32(difference * 1.75f);
        c->of[1][bits] = hd_e4m3_from_f32(difference * 0x1p-8f);
    }
    *out = c;
    return HD_OK;
}

void hd_synth_codes_destroy(hd_synth_codes *codes)
{
    hd_mem_free(codes);
}

/* Kind of the FP8 block in row i, column j of blocks. */
static int block_kind(const hd_synth_fill *f, int64_t i, int64_t j)
{
    return (int)((i + j + f->block_phase) & 1);
}

static void e4m3_row(const hd_synth_fill *f, int64_t row, uint8_t *dst)
{
    for (int64_t start = 0; start < f->n_cols; start += FP8_BLOCK) {
        const hd_e4m3 *code = f->codes->of[block_kind(f, row / FP8_BLOCK, start / FP8_BLOCK)];
        int64_t end = start + FP8_BLOCK < f->n_cols ? start + FP8_BLOCK : f->n_cols;
        for (int64_t i = start; i < end; i += 4) {
            uint64_t bits = number(f, row, (uint64_t)i / 4);
            for (int64_t j = i; j < i + 4 && j < end; j++, bits >>= 16)
                dst[j] = code[bits & 0xffff];
        }
    }
}

/* ---- E8M0 ---- */

/* Two bits to a change of the exponent. */
static int variation(uint64_t bits)
{
    static const int8_t by[4] = {0, -1, 0, 1};
    return by[bits & 3];
}

static void fp8_scale_row(const hd_synth_fill *f, int64_t row, uint8_t *dst)
{
    for (int64_t i = 0; i < f->n_cols; i++) {
        int exponent = f->exponent[block_kind(f, row, i)];
        dst[i] = (uint8_t)(exponent + variation(number(f, row, (uint64_t)i)));
    }
}

static void fp4_scale_row(const hd_synth_fill *f, int64_t row, uint8_t *dst)
{
    for (int64_t i = 0; i < f->n_cols; i += 8) {
        uint64_t bits = number(f, row, (uint64_t)i / 8);
        for (int64_t j = i; j < i + 8 && j < f->n_cols; j++, bits >>= 8)
            dst[j] = (uint8_t)(f->exponent[0] + variation(bits));
    }
}

/* The E8M0 byte of the power of two nearest to x, within half an octave. */
static int exponent_near(double x)
{
    int e;
    frexp(x * x, &e); /* x^2 = m * 2^e with m in [1/2, 1) */
    return 127 + (e >= 0 ? e : e - 1) / 2;
}

/* ---- the other types ---- */

static void fp4_row(const hd_synth_fill *f, int64_t row, uint8_t *dst)
{
    for (int64_t i = 0; i < f->n_cols; i += 8) {
        uint64_t bits = number(f, row, (uint64_t)i / 8);
        memcpy(dst + i, &bits, (size_t)(f->n_cols - i < 8 ? f->n_cols - i : 8));
    }
}

/* Value from 32 random bits: the difference of their halves, scaled. */
static inline float value_of(const hd_synth_fill *f, uint32_t bits)
{
    return f->mean + f->step * (float)((int32_t)(bits & 0xffff) - (int32_t)(bits >> 16));
}

static void f32_row(const hd_synth_fill *f, int64_t row, uint8_t *dst)
{
    for (int64_t i = 0; i < f->n_cols; i++) {
        uint64_t bits = number(f, row, (uint64_t)i / 2);
        float x = value_of(f, (uint32_t)(i & 1 ? bits >> 32 : bits));
        memcpy(dst + 4 * i, &x, sizeof x);
    }
}

static void bf16_row(const hd_synth_fill *f, int64_t row, uint8_t *dst)
{
    int64_t i = 0;
    for (; i + 1 < f->n_cols; i += 2) {
        uint64_t bits = number(f, row, (uint64_t)i / 2);
        hd_bf16 pair[2] = {hd_bf16_from_f32(value_of(f, (uint32_t)bits)),
                           hd_bf16_from_f32(value_of(f, (uint32_t)(bits >> 32)))};
        memcpy(dst + 2 * i, pair, sizeof pair);
    }
    if (i < f->n_cols) {
        hd_bf16 last = hd_bf16_from_f32(value_of(f, (uint32_t)number(f, row, (uint64_t)i / 2)));
        memcpy(dst + 2 * i, &last, sizeof last);
    }
}

/* n_cols different experts, every set equally likely (Floyd's algorithm). */
static void experts_row(const hd_synth_fill *f, int64_t row, uint8_t *dst)
{
    int64_t chosen[HD_MAX_ACTIVE];
    for (int64_t i = 0; i < f->n_cols; i++) {
        int64_t newest = f->n_experts - f->n_cols + i; /* ids 0 .. newest are in play */
        int64_t id = hd_rng_below(number(f, row, (uint64_t)i), (uint64_t)newest + 1);
        for (int64_t j = 0; j < i; j++)
            if (chosen[j] == id) id = newest;
        chosen[i] = id;
    }
    memcpy(dst, chosen, (size_t)f->n_cols * sizeof chosen[0]);
}

/* ---- preparing ---- */

static void init_scale(hd_synth_fill *f, const hd_tensor_spec *weight)
{
    bool is_fp4 = weight->dtype == HD_DTYPE_I8;
    int64_t n_inputs = is_fp4 ? 2 * weight->shape[1] : weight->shape[1];
    double sd = recipe_of(weight->weight).spread / sqrt((double)n_inputs);
    f->row = is_fp4 ? fp4_scale_row : fp8_scale_row;
    f->numbers_per_row = numbers_for(f->n_cols, is_fp4 ? 8 : 64);
    f->exponent[0] = exponent_near(sd / (is_fp4 ? SD_FP4 : SD_FP8_LARGE));
    f->exponent[1] = exponent_near(sd / SD_FP8_SMALL);
}

static void init_value(hd_synth_fill *f, const hd_tensor_spec *spec)
{
    recipe r = recipe_of(spec->weight);
    double sd = r.is_by_inputs ? r.spread / sqrt((double)f->n_cols) : r.spread;
    f->row = spec->dtype == HD_DTYPE_BF16 ? bf16_row : f32_row;
    f->numbers_per_row = numbers_for(f->n_cols, 32);
    f->mean = (float)r.mean;
    f->step = (float)(sd / SD_DIFFERENCE);
}

/* A weight and its scales must agree on the kinds of blocks, so the phase hangs on the name
 * without its last part. */
static int phase_of(uint64_t seed, hd_str name)
{
    while (name.len && name.ptr[name.len - 1] != '.') name.len--;
    return (int)(key_of(seed, name) & 1);
}

void hd_synth_fill_init(hd_synth_fill *f, const hd_synth_codes *codes, uint64_t seed,
                        const hd_config *c, const hd_tensor_spec *spec)
{
    hd_str name = {spec->name, (size_t)spec->name_len};
    hd_tensor_spec weight;
    *f = (hd_synth_fill){.codes = codes,
                         .key = key_of(seed, name),
                         .n_cols = spec->shape[spec->rank - 1],
                         .n_experts = c->n_experts,
                         .block_phase = phase_of(seed, name)};
    switch (spec->dtype) {
    case HD_DTYPE_I8:
        f->row = fp4_row;
        f->numbers_per_row = numbers_for(f->n_cols, 8);
        return;
    case HD_DTYPE_F8_E4M3:
        f->row = e4m3_row;
        f->numbers_per_row = numbers_for(f->n_cols, 16);
        return;
    case HD_DTYPE_F8_E8M0:
        HD_ASSERT(hd_names_spec(c, spec->weight, spec->block, spec->expert, false, &weight));
        init_scale(f, &weight);
        return;
    case HD_DTYPE_I64:
        f->row = experts_row;
        f->numbers_per_row = (uint64_t)f->n_cols;
        return;
    default: init_value(f, spec); return;
    }
}
