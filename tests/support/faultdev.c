#include "support/faultdev.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "model/rope.h"
#include "support/modelrun.h"

enum { MAX_COPIES = 1024 };

static struct {
    hd_model *model; /* NULL: no fault */
    faultdev_fault fault;
    hd_dev_ops ops; /* the device's own */
    hd_dev_mem_ops mem;
    void *copies[MAX_COPIES]; /* spoiled weights, which the device may have borrowed */
    size_t n_copies;
} bent;

/* A spoiled argument must live until the op has run. */
static hd_status done(hd_stream *s, hd_status st, void *argument)
{
    hd_status sync = s->dev->stream.sync(s, -1, NULL);
    hd_mem_free(argument);
    return st != HD_OK ? st : sync;
}

/* ---- position ---------------------------------------------------------------------------------*/

static bool is_compressor_norm(const hd_bf16 *w)
{
    for (int32_t i = 0; i < bent.model->cfg.n_layers; i++)
        if (w == bent.model->w.layer[i].comp.norm) return true;
    return false;
}

/* From the cosines and sines of one angle to those of the angle one position further on. */
static hd_status rotated_further(hd_stream *s, const hd_kv_norm_rope_pack_params *p)
{
    enum { N = HD_ROPE_DIM / 2 };
    float one[HD_ROPE_DIM];
    if (p->n_rows == 0 || !is_compressor_norm(p->w)) return bent.ops.kv_norm_rope_pack(s, p);
    float *moved = hd_mem_calloc((size_t)p->n_rows * HD_ROPE_DIM, sizeof *moved);
    hd_rope_row(&bent.model->rope_yarn, 1, one);
    for (size_t r = 0; r < (size_t)p->n_rows; r++) {
        const float *from = p->cos_sin + r * HD_ROPE_DIM;
        float *to = moved + r * HD_ROPE_DIM;
        for (size_t i = 0; i < N; i++) {
            to[i] = from[i] * one[i] - from[N + i] * one[N + i];
            to[N + i] = from[N + i] * one[i] + from[i] * one[N + i];
        }
    }
    hd_kv_norm_rope_pack_params q = *p;
    q.cos_sin = moved;
    return done(s, bent.ops.kv_norm_rope_pack(s, &q), moved);
}

static hd_status not_back(hd_stream *s, const hd_rope_params *p)
{
    return p->inverse ? HD_OK : bent.ops.rope(s, p);
}

/* ---- layout of weights ------------------------------------------------------------------------*/

static const void *swapped_copy(const uint8_t *data, size_t bytes)
{
    uint8_t *copy = hd_mem_calloc(bytes, 1);
    for (size_t i = 0; i < bytes; i++) copy[i] = (uint8_t)(data[i] << 4 | data[i] >> 4);
    HD_ASSERT(bent.n_copies < MAX_COPIES);
    bent.copies[bent.n_copies++] = copy;
    return copy;
}

static hd_status pack_swapped(hd_dev *dev, const hd_weight_desc *desc, hd_weight **out, hd_err *err)
{
    if (desc->format != HD_WEIGHT_FP4) return bent.mem.pack(dev, desc, out, err);
    size_t bytes = (size_t)desc->rows * (size_t)desc->cols / 2;
    const void **data = hd_mem_calloc((size_t)desc->n_parts, sizeof *data);
    for (int32_t i = 0; i < desc->n_parts; i++) data[i] = swapped_copy(desc->data[i], bytes);
    hd_weight_desc d = *desc;
    d.data = data;
    hd_status st = bent.mem.pack(dev, &d, out, err);
    hd_mem_free(data);
    return st;
}

static void reload(hd_model *m)
{
    hd_err err;
    hd_v4_unload(m);
    modelrun_check(hd_v4_load(m, &(hd_model_opts){0}, &err), "hd_v4_load", &err);
}

/* ---- Hadamard ---------------------------------------------------------------------------------*/

/* The transform is its own inverse, so what is transformed before the op's own comes out as it was,
 * up to a rounding to BF16. */
static void transform(const hd_bf16 *x, int32_t n_rows, hd_bf16 *y)
{
    for (size_t r = 0; r < (size_t)n_rows; r++) {
        float v[HD_INDEX_DIM];
        for (size_t i = 0; i < HD_INDEX_DIM; i++) v[i] = hd_f32_from_bf16(x[r * HD_INDEX_DIM + i]);
        for (size_t half = 1; half < HD_INDEX_DIM; half *= 2)
            for (size_t i = 0; i < HD_INDEX_DIM; i++)
                if (!(i & half)) {
                    float a = v[i], b = v[i + half];
                    v[i] = a + b;
                    v[i + half] = a - b;
                }
        for (size_t i = 0; i < HD_INDEX_DIM; i++)
            y[r * HD_INDEX_DIM + i] = hd_bf16_from_f32(v[i] / sqrtf((float)HD_INDEX_DIM));
    }
}

static hd_status quant_untransformed(hd_stream *s, const hd_hadamard_quant_params *p)
{
    hd_status st = s->dev->stream.sync(s, -1, NULL); /* x is there now */
    if (st != HD_OK) return st;
    transform(p->x, p->n_rows, p->x);
    return bent.ops.hadamard_quant(s, p);
}

static hd_status pack_untransformed(hd_stream *s, const hd_index_pack_params *p)
{
    hd_status st = s->dev->stream.sync(s, -1, NULL);
    if (st != HD_OK || p->n_rows == 0) return st;
    hd_bf16 *x = hd_mem_calloc((size_t)p->n_rows * HD_INDEX_DIM, sizeof *x);
    transform(p->x, p->n_rows, x);
    hd_index_pack_params q = *p;
    q.x = x;
    return done(s, bent.ops.index_pack(s, &q), x);
}

/* ---- carry ------------------------------------------------------------------------------------*/

/* Positions moved on by what a group looks back to: rows are kept and found as ever, but those in
 * front of a sequence seem to be ones that were held. */
static hd_status pool_with_leftovers(hd_stream *s, const hd_compress_pool_params *p)
{
    int32_t shift = p->ratio == HD_CSA_RATIO ? 2 * HD_CSA_RATIO : p->ratio;
    int32_t n_rows = p->rows.n_rows, n_seqs = p->rows.n_seqs;
    int32_t *moved = hd_mem_calloc((size_t)(n_rows + n_seqs), sizeof *moved);
    for (int32_t i = 0; i < n_rows; i++) moved[i] = p->rows.row_pos[i] + shift;
    for (int32_t i = 0; i < n_seqs; i++) moved[n_rows + i] = p->rows.seq_pos0[i] + shift;
    hd_compress_pool_params q = *p;
    q.rows.row_pos = moved;
    q.rows.seq_pos0 = moved + n_rows;
    q.rows.end_pos += shift;
    return done(s, bent.ops.compress_pool(s, &q), moved);
}

/* ---- experts, attention -----------------------------------------------------------------------*/

static hd_status shared_without_limit(hd_stream *s, const hd_moe_experts_params *p)
{
    hd_moe_experts_params q = *p;
    for (int32_t i = 0; i < bent.model->cfg.n_layers; i++)
        if (p->w1 == bent.model->w.layer[i].s1) q.limit = 1e30f;
    return bent.ops.moe_experts(s, &q);
}

static hd_status window_only(hd_stream *s, const hd_attention_params *p)
{
    hd_attention_params q = *p;
    q.ratio = 0;
    q.sel = NULL;
    q.n_sel = 0;
    return bent.ops.attention(s, &q);
}

/* ---- in and out -------------------------------------------------------------------------------*/

void faultdev_bend(hd_model *m, faultdev_fault fault)
{
    hd_dev *dev = m->dev;
    HD_ASSERT(!bent.model && dev->props.maps_host);
    bent.model = m;
    bent.fault = fault;
    bent.ops = dev->ops;
    bent.mem = dev->mem;
    switch (fault) {
    case FAULTDEV_NONE: break;
    case FAULTDEV_ROPE_OFF_BY_ONE: dev->ops.kv_norm_rope_pack = rotated_further; break;
    case FAULTDEV_NO_INVERSE_ROPE: dev->ops.rope = not_back; break;
    case FAULTDEV_NIBBLES:
        dev->mem.pack = pack_swapped;
        reload(m);
        break;
    case FAULTDEV_NO_HADAMARD:
        dev->ops.hadamard_quant = quant_untransformed;
        dev->ops.index_pack = pack_untransformed;
        break;
    case FAULTDEV_STALE_CARRY: dev->ops.compress_pool = pool_with_leftovers; break;
    case FAULTDEV_UNCLAMPED: dev->ops.moe_experts = shared_without_limit; break;
    case FAULTDEV_MASKED: dev->ops.attention = window_only; break;
    }
}

void faultdev_mend(void)
{
    hd_model *m = bent.model;
    HD_ASSERT(m);
    m->dev->ops = bent.ops;
    m->dev->mem = bent.mem;
    if (bent.fault == FAULTDEV_NIBBLES) reload(m);
    for (size_t i = 0; i < bent.n_copies; i++) hd_mem_free(bent.copies[i]);
    bent.n_copies = 0;
    bent.model = NULL;
}
