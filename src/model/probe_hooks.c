/* The hooks: at each named place, put the fed value in and take the captured one out.
 *
 * Slow on purpose: every transfer waits for the device. A fed row is copied before it is uploaded,
 * because a device may overwrite what it was given (dev/dev.h rule 2). */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "model/probe_store.h"

static hd_status no_memory(hd_probe *p)
{
    return HD_SET_ERR(&p->err, HD_E_NOMEM, "out of memory for a captured or fed value");
}

static hd_status fetch(hd_model *m, void *host, const void *dev, size_t bytes)
{
    HD_TRY(m->dev->mem.download(m->stream, host, dev, bytes));
    return m->dev->stream.sync(m->stream, -1, &m->probe->err);
}

static hd_status push(hd_model *m, void *dev, const void *rows, size_t bytes)
{
    void *copy = hd_mem_try_calloc(bytes, 1);
    if (!copy) return no_memory(m->probe);
    if (bytes) memcpy(copy, rows, bytes);
    hd_status st = m->dev->mem.upload(m->stream, dev, copy, bytes);
    hd_mem_free(copy);
    return st;
}

/* A place whose device form is the shown form. `fed` tells whether a value was put in. */
static hd_status plain(hd_model *m, int32_t layer, const char *point, const hd_probe_rows_desc *d,
                       void *dev, bool *fed)
{
    hd_probe *p = m->probe;
    const hd_probe_value *in = hd_probe_fed(p, layer, point);
    hd_probe_value *out = hd_probe_wanted(p, layer, point);
    size_t bytes = hd_dtype_size(d->dtype) * (size_t)d->n;
    for (int i = 0; i < d->rank; i++) bytes *= (size_t)d->dims[i];
    if (fed) *fed = in != NULL;
    if (in) {
        const void *rows;
        HD_TRY(hd_probe_take(p, in, d, &rows));
        HD_TRY(push(m, dev, rows, bytes));
    }
    if (!out) return HD_OK;
    void *host = hd_mem_try_calloc(bytes, 1);
    if (!host) return no_memory(p);
    hd_status st = fetch(m, host, dev, bytes);
    if (st == HD_OK) st = hd_probe_put(p, out, d, host);
    hd_mem_free(host);
    return st;
}

static hd_probe_rows_desc token_rows(const hd_v4_step *step, hd_dtype dtype, int32_t a, int32_t b)
{
    return (hd_probe_rows_desc){.dtype = dtype,
                                .rank = b ? 2 : 1,
                                .dims = {a, b},
                                .first = step->pos0,
                                .n = step->rows.n_rows};
}

hd_status hd_probe_streams_(hd_model *m, const hd_v4_step *step, int32_t layer, const char *point,
                            hd_bf16 *x)
{
    hd_probe_rows_desc d = token_rows(step, HD_DTYPE_BF16, HD_STREAMS, m->cfg.dim);
    return plain(m, layer, point, &d, x, NULL);
}

hd_status hd_probe_heads_(hd_model *m, const hd_v4_step *step, int32_t layer, const char *point,
                          hd_bf16 *x, int32_t n_heads, int32_t dim)
{
    hd_probe_rows_desc d = token_rows(step, HD_DTYPE_BF16, n_heads, dim);
    return plain(m, layer, point, &d, x, NULL);
}

hd_status hd_probe_rows_(hd_model *m, const hd_v4_step *step, int32_t layer, const char *point,
                         hd_bf16 *x, int32_t dim)
{
    hd_probe_rows_desc d = token_rows(step, HD_DTYPE_BF16, dim, 0);
    return plain(m, layer, point, &d, x, NULL);
}

hd_status hd_probe_requantized_(hd_model *m, const hd_v4_step *step, int32_t layer,
                                const char *point, hd_bf16 *x, int32_t dim, void *act)
{
    bool fed;
    hd_probe_rows_desc d = token_rows(step, HD_DTYPE_BF16, dim, 0);
    HD_TRY(plain(m, layer, point, &d, x, &fed));
    return fed ? hd_v4_quantize(m, step->rows.n_rows, dim, x, act) : HD_OK;
}

/* ---- hyper-connections --------------------------------------------------------------------------
 */

static hd_status collapse_again(hd_model *m, const hd_v4_step *step, const hd_bf16 *x,
                                const hd_bf16 *norm)
{
    hd_v4_work *w = &m->work;
    int32_t n = step->rows.n_rows, dim = m->cfg.dim;
    HD_TRY(hd_op_hc_collapse(
        m->stream,
        &(hd_hc_collapse_params){.n_rows = n, .dim = dim, .x = x, .pre = w->pre, .y = w->h}));
    return hd_op_rms_norm(
        m->stream,
        &(hd_rms_norm_params){
            .n_rows = n, .dim = dim, .eps = m->cfg.rms_eps, .x = w->h, .w = norm, .y = w->h});
}

hd_status hd_probe_hc_(hd_model *m, const hd_v4_step *step, const hd_v4_block *b, bool ffn,
                       const hd_bf16 *x)
{
    hd_v4_work *w = &m->work;
    bool fed;
    hd_probe_rows_desc mix = token_rows(step, HD_DTYPE_F32, 24, 0);
    hd_probe_rows_desc four = token_rows(step, HD_DTYPE_F32, HD_STREAMS, 0);
    hd_probe_rows_desc comb = token_rows(step, HD_DTYPE_F32, HD_STREAMS, HD_STREAMS);
    HD_TRY(plain(m, b->index, ffn ? "hc_ffn.mix" : "hc_attn.mix", &mix, w->mix, NULL));
    HD_TRY(plain(m, b->index, ffn ? "hc_ffn.post" : "hc_attn.post", &four, w->post, NULL));
    HD_TRY(plain(m, b->index, ffn ? "hc_ffn.comb" : "hc_attn.comb", &comb, w->comb, NULL));
    HD_TRY(plain(m, b->index, ffn ? "hc_ffn.pre" : "hc_attn.pre", &four, w->pre, &fed));
    if (fed) HD_TRY(collapse_again(m, step, x, ffn ? b->ffn_norm : b->attn_norm));
    return hd_probe_rows_(m, step, b->index, ffn ? "ffn_in" : "attn_in", w->h, m->cfg.dim);
}

/* ---- rows of the caches -------------------------------------------------------------------------
 */

/* Groups of `group` values with one power-of-two scale: the inverse of decoding, exact for values
 * that came from there. */
static hd_e8m0 group_scale(const float *v, int n, float limit)
{
    float amax = 0.0f;
    for (int i = 0; i < n; i++) amax = fabsf(v[i]) > amax ? fabsf(v[i]) : amax;
    if (amax < 0x1p-100f) amax = 0x1p-100f;
    return hd_e8m0_from_pow2(hd_pow2ceil(amax, 1.0f / limit));
}

static void kv_row_decode(const uint8_t *row, hd_bf16 *out)
{
    for (int i = 0; i < HD_NOPE_DIM; i++)
        out[i] = hd_bf16_from_f32(hd_f32_from_e4m3(row[i]) *
                                  hd_f32_from_e8m0(row[HD_KV_ROW_SCALE_AT + i / HD_KV_GROUP]));
    memcpy(out + HD_NOPE_DIM, row + HD_KV_ROW_ROPE_AT, HD_ROPE_DIM * sizeof *out);
}

static void kv_row_encode(const hd_bf16 *in, uint8_t *row)
{
    memset(row, 0, HD_KV_ROW_BYTES);
    for (int g = 0; g < HD_NOPE_DIM / HD_KV_GROUP; g++) {
        float v[HD_KV_GROUP];
        for (int i = 0; i < HD_KV_GROUP; i++) v[i] = hd_f32_from_bf16(in[g * HD_KV_GROUP + i]);
        hd_e8m0 s = group_scale(v, HD_KV_GROUP, 448.0f);
        row[HD_KV_ROW_SCALE_AT + g] = s;
        for (int i = 0; i < HD_KV_GROUP; i++)
            row[g * HD_KV_GROUP + i] = hd_e4m3_from_f32(v[i] / hd_f32_from_e8m0(s));
    }
    memcpy(row + HD_KV_ROW_ROPE_AT, in + HD_NOPE_DIM, HD_ROPE_DIM * sizeof *in);
}

static void index_row_decode(const uint8_t *row, hd_bf16 *out)
{
    for (int i = 0; i < HD_INDEX_DIM; i++) {
        unsigned code = (unsigned)(row[i / 2] >> (i % 2 * 4)) & 15u;
        out[i] = hd_bf16_from_f32(hd_f32_from_e2m1(code) *
                                  hd_f32_from_e8m0(row[HD_INDEX_ROW_SCALE_AT + i / HD_FP4_GROUP]));
    }
}

static void index_row_encode(const hd_bf16 *in, uint8_t *row)
{
    memset(row, 0, HD_INDEX_ROW_BYTES);
    for (int g = 0; g < HD_INDEX_DIM / HD_FP4_GROUP; g++) {
        float v[HD_FP4_GROUP];
        for (int i = 0; i < HD_FP4_GROUP; i++) v[i] = hd_f32_from_bf16(in[g * HD_FP4_GROUP + i]);
        hd_e8m0 s = group_scale(v, HD_FP4_GROUP, 6.0f);
        row[HD_INDEX_ROW_SCALE_AT + g] = s;
        for (int i = 0; i < HD_FP4_GROUP; i++) {
            int k = g * HD_FP4_GROUP + i;
            unsigned code = hd_e2m1_from_f32(v[i] / hd_f32_from_e8m0(s));
            row[k / 2] = (uint8_t)(row[k / 2] | code << (k % 2 * 4));
        }
    }
}

typedef struct codec {
    size_t packed_bytes;
    int32_t width;
    void (*decode)(const uint8_t *row, hd_bf16 *out);
    void (*encode)(const hd_bf16 *in, uint8_t *row);
} codec;

static const codec kv_codec = {HD_KV_ROW_BYTES, HD_HEAD_DIM, kv_row_decode, kv_row_encode};
static const codec index_codec = {HD_INDEX_ROW_BYTES, HD_INDEX_DIM, index_row_decode,
                                  index_row_encode};

/* A place whose device form is packed rows and whose shown form is BF16. */
static hd_status packed(hd_model *m, int32_t layer, const char *point, const codec *c, uint8_t *dev,
                        int32_t first, int32_t n)
{
    hd_probe *p = m->probe;
    const hd_probe_value *in = hd_probe_fed(p, layer, point);
    hd_probe_value *out = hd_probe_wanted(p, layer, point);
    hd_probe_rows_desc d = {
        .dtype = HD_DTYPE_BF16, .rank = 1, .dims = {c->width, 0}, .first = first, .n = n};
    hd_status st = HD_OK;
    if (!in && !out) return HD_OK;
    size_t width = (size_t)c->width;
    uint8_t *rows = hd_mem_try_calloc((size_t)n, c->packed_bytes);
    hd_bf16 *values = hd_mem_try_calloc((size_t)n * width, sizeof *values);
    if (!rows || !values) HD_TRY_GOTO(st, out, no_memory(p));
    if (in) {
        const void *fed;
        HD_TRY_GOTO(st, out, hd_probe_take(p, in, &d, &fed));
        if (n) memcpy(values, fed, (size_t)n * width * sizeof *values);
        for (size_t i = 0; i < (size_t)n; i++)
            c->encode(values + i * width, rows + i * c->packed_bytes);
        HD_TRY_GOTO(st, out, push(m, dev, rows, (size_t)n * c->packed_bytes));
    }
    if (out) {
        HD_TRY_GOTO(st, out, fetch(m, rows, dev, (size_t)n * c->packed_bytes));
        for (size_t i = 0; i < (size_t)n; i++)
            c->decode(rows + i * c->packed_bytes, values + i * width);
        HD_TRY_GOTO(st, out, hd_probe_put(p, out, &d, values));
    }
out:
    hd_mem_free(rows);
    hd_mem_free(values);
    return st;
}

hd_status hd_probe_kv_(hd_model *m, const hd_v4_step *step, const hd_v4_block *b,
                       const hd_v4_groups *g)
{
    hd_v4_work *w = &m->work;
    if (g) {
        HD_TRY(packed(m, b->index, "comp_kv", &kv_codec, w->comp_rows, g->first_entry, g->n));
        HD_TRY(packed(m, b->index, "kv_all", &kv_codec, w->comp_rows,
                      m->probe->n_tokens + g->first_entry, g->n));
    }
    return packed(m, b->index, "kv_all", &kv_codec, w->kv_rows, step->pos0, step->rows.n_rows);
}

hd_status hd_probe_index_keys_(hd_model *m, int32_t layer, const hd_v4_groups *g)
{
    return packed(m, layer, "index_k", &index_codec, m->work.comp_rows, g->first_entry, g->n);
}

/* ---- selection and keys -------------------------------------------------------------------------
 */

/* Picks are shown as rows of kv_all, at most as many as there are compressed rows in all. */
static int32_t shown_picks(const hd_model *m)
{
    int32_t entries = m->probe->n_tokens / HD_CSA_RATIO;
    return entries < m->cfg.index_topk ? entries : m->cfg.index_topk;
}

/* Fed picks (rows of kv_all, any order) as the device holds them. Each must be visible to its row:
 * an op would follow any other to wherever it points. */
static hd_status picks_from_rows(hd_probe *p, const hd_probe_value *in, const hd_v4_step *step,
                                 const int32_t *rows, int32_t shown, int32_t k, int32_t *sel)
{
    for (int32_t t = 0; t < step->rows.n_rows; t++) {
        int32_t visible = (step->pos0 + t + 1) / HD_CSA_RATIO;
        for (int32_t i = 0; i < k; i++) {
            int32_t row = i < shown ? rows[t * shown + i] : -1;
            if (row != -1 && (row < p->n_tokens || row - p->n_tokens >= visible))
                return HD_SET_ERR(&p->err, HD_E_ARG,
                                  "'%s' holds %d for token %d, expected -1 or %d to %d", in->name,
                                  row, step->pos0 + t, p->n_tokens, p->n_tokens + visible - 1);
            sel[t * k + i] = row < 0 ? -1 : row - p->n_tokens;
        }
    }
    return HD_OK;
}

hd_status hd_probe_selection_(hd_model *m, const hd_v4_step *step, int32_t layer)
{
    hd_probe *p = m->probe;
    const hd_probe_value *in = hd_probe_fed(p, layer, "index_topk");
    hd_probe_value *out = hd_probe_wanted(p, layer, "index_topk");
    int32_t n = step->rows.n_rows, k = m->cfg.index_topk, shown = shown_picks(m);
    hd_probe_rows_desc d = token_rows(step, HD_DTYPE_I32, shown, 0);
    hd_status st = HD_OK;
    if ((!in && !out) || shown == 0) return HD_OK;
    int32_t *sel = hd_mem_try_calloc((size_t)n * (size_t)k, sizeof *sel);
    int32_t *rows = hd_mem_try_calloc((size_t)n * (size_t)shown, sizeof *rows);
    if (!sel || !rows) HD_TRY_GOTO(st, out, no_memory(p));
    if (in) {
        const void *fed;
        HD_TRY_GOTO(st, out, hd_probe_take(p, in, &d, &fed));
        memcpy(rows, fed, (size_t)n * (size_t)shown * sizeof *rows);
        HD_TRY_GOTO(st, out, picks_from_rows(p, in, step, rows, shown, k, sel));
        HD_TRY_GOTO(st, out, push(m, m->work.sel, sel, (size_t)n * (size_t)k * sizeof *sel));
    }
    if (out) {
        HD_TRY_GOTO(st, out, fetch(m, sel, m->work.sel, (size_t)n * (size_t)k * sizeof *sel));
        for (int32_t t = 0; t < n; t++)
            for (int32_t i = 0; i < shown; i++) {
                int32_t entry = sel[t * k + i];
                rows[t * shown + i] = entry < 0 ? -1 : entry + p->n_tokens;
            }
        HD_TRY_GOTO(st, out, hd_probe_put(p, out, &d, rows));
    }
out:
    hd_mem_free(sel);
    hd_mem_free(rows);
    return st;
}

/* The canonical key list of one query, as rows of kv_all. */
static void key_list(const hd_model *m, int32_t pos, int32_t ratio, const int32_t *sel,
                     int32_t n_extra, int32_t *keys)
{
    int32_t first = pos + 1 > HD_WINDOW ? pos + 1 - HD_WINDOW : 0;
    for (int32_t i = 0; i < HD_WINDOW; i++) keys[i] = first + i <= pos ? first + i : -1;
    for (int32_t i = 0; i < n_extra; i++) {
        int32_t entry = sel ? sel[i] : i;
        bool visible = entry >= 0 && entry < (pos + 1) / ratio;
        keys[HD_WINDOW + i] = visible ? m->probe->n_tokens + entry : -1;
    }
}

static hd_status attention_keys(hd_model *m, const hd_v4_step *step, const hd_v4_block *b,
                                const int32_t *sel, hd_probe_value *out)
{
    int32_t n = step->rows.n_rows, k = m->cfg.index_topk;
    int32_t extra = b->ratio == 0 ? 0 : sel ? shown_picks(m) : m->probe->n_tokens / b->ratio;
    hd_probe_rows_desc d = token_rows(step, HD_DTYPE_I32, HD_WINDOW + extra, 0);
    hd_status st = HD_OK;
    int32_t *host = sel ? hd_mem_try_calloc((size_t)n * (size_t)k, sizeof *host) : NULL;
    int32_t *keys = hd_mem_try_calloc((size_t)n * (size_t)(HD_WINDOW + extra), sizeof *keys);
    if ((sel && !host) || !keys) HD_TRY_GOTO(st, out, no_memory(m->probe));
    if (sel) HD_TRY_GOTO(st, out, fetch(m, host, sel, (size_t)n * (size_t)k * sizeof *host));
    for (int32_t t = 0; t < n; t++)
        key_list(m, step->pos0 + t, b->ratio, host ? host + t * k : NULL, extra,
                 keys + t * (HD_WINDOW + extra));
    HD_TRY_GOTO(st, out, hd_probe_put(m->probe, out, &d, keys));
out:
    hd_mem_free(host);
    hd_mem_free(keys);
    return st;
}

hd_status hd_probe_attention_(hd_model *m, const hd_v4_step *step, const hd_v4_block *b,
                              const int32_t *sel)
{
    hd_probe_value *keys = hd_probe_wanted(m->probe, b->index, "attn_keys");
    if (keys) HD_TRY(attention_keys(m, step, b, sel, keys));
    return hd_probe_heads_(m, step, b->index, "o_rot", m->work.o, m->cfg.n_heads, HD_HEAD_DIM);
}

/* ---- routing
 * ------------------------------------------------------------------------------------- The model
 * keeps the chosen experts ascending; they are shown in the order of choice (best score first, or
 * as the token's row lists them), with their weights. A fed choice may be in any order. */

typedef struct choice {
    int32_t expert;
    float weight;
    float rank; /* shown in descending order of it, lower expert first */
} choice;

static int by_expert(const void *a, const void *b)
{
    int32_t x = ((const choice *)a)->expert, y = ((const choice *)b)->expert;
    return (x > y) - (x < y);
}

static int by_rank(const void *a, const void *b)
{
    float x = ((const choice *)a)->rank, y = ((const choice *)b)->rank;
    return x < y ? 1 : x > y ? -1 : by_expert(a, b);
}

typedef struct routing {
    int32_t *id;     /* [T, K] */
    float *weight;   /* [T, K] */
    float *z, *bias; /* [T, E], [E] */
    int32_t *token;  /* [T] */
    int64_t *row;    /* [K]: the token's experts */
    choice *pick;    /* [K] */
} routing;

static void routing_deinit(routing *r)
{
    hd_mem_free(r->id);
    hd_mem_free(r->weight);
    hd_mem_free(r->z);
    hd_mem_free(r->bias);
    hd_mem_free(r->token);
    hd_mem_free(r->row);
    hd_mem_free(r->pick);
}

static hd_status routing_init(hd_model *m, int32_t n, routing *r)
{
    size_t t = (size_t)n, k = (size_t)m->cfg.n_active_experts, e = (size_t)m->cfg.n_experts;
    *r = (routing){.id = hd_mem_try_calloc(t * k, sizeof *r->id),
                   .weight = hd_mem_try_calloc(t * k, sizeof *r->weight),
                   .z = hd_mem_try_calloc(t * e, sizeof *r->z),
                   .bias = hd_mem_try_calloc(e, sizeof *r->bias),
                   .token = hd_mem_try_calloc(t, sizeof *r->token),
                   .row = hd_mem_try_calloc(k, sizeof *r->row),
                   .pick = hd_mem_try_calloc(k, sizeof *r->pick)};
    bool ok = r->id && r->weight && r->z && r->bias && r->token && r->row && r->pick;
    return ok ? HD_OK : no_memory(m->probe);
}

static hd_status routing_fetch(hd_model *m, const hd_v4_step *step, const hd_v4_block *b,
                               routing *r)
{
    const hd_v4_work *w = &m->work;
    size_t t = (size_t)step->rows.n_rows, k = (size_t)m->cfg.n_active_experts;
    size_t e = (size_t)m->cfg.n_experts;
    HD_TRY(fetch(m, r->id, w->expert, t * k * sizeof *r->id));
    HD_TRY(fetch(m, r->weight, w->route_w, t * k * sizeof *r->weight));
    HD_TRY(fetch(m, r->z, w->route_z, t * e * sizeof *r->z));
    if (b->gate_bias) HD_TRY(fetch(m, r->bias, b->gate_bias, e * sizeof *r->bias));
    return fetch(m, r->token, step->id, t * sizeof *r->token);
}

static hd_status rank_choices(hd_model *m, const hd_v4_block *b, routing *r, int32_t t)
{
    int32_t k = m->cfg.n_active_experts, e = m->cfg.n_experts;
    if (b->tid2eid)
        HD_TRY(fetch(m, r->row, b->tid2eid + (size_t)r->token[t] * (size_t)k,
                     (size_t)k * sizeof *r->row));
    for (int32_t i = 0; i < k; i++) {
        choice *c = &r->pick[i];
        *c = (choice){.expert = r->id[t * k + i], .weight = r->weight[t * k + i]};
        if (!b->tid2eid) {
            c->rank = sqrtf(hd_softplusf(r->z[(size_t)t * (size_t)e + (size_t)c->expert])) +
                      r->bias[c->expert];
            continue;
        }
        for (int32_t j = 0; j < k; j++)
            if (r->row[j] == c->expert) c->rank = (float)-j;
    }
    return HD_OK;
}

/* Rewrites id and weight of every row: ranked order, or ascending for the device. */
static hd_status reorder(hd_model *m, const hd_v4_block *b, routing *r, int32_t n, bool ranked)
{
    int32_t k = m->cfg.n_active_experts;
    for (int32_t t = 0; t < n; t++) {
        HD_TRY(rank_choices(m, b, r, t));
        qsort(r->pick, (size_t)k, sizeof *r->pick, ranked ? by_rank : by_expert);
        for (int32_t i = 0; i < k; i++) {
            r->id[t * k + i] = r->pick[i].expert;
            r->weight[t * k + i] = r->pick[i].weight;
        }
    }
    return HD_OK;
}

static hd_status feed_routing(hd_model *m, const hd_v4_step *step, const hd_v4_block *b, routing *r,
                              const hd_probe_rows_desc *id_desc,
                              const hd_probe_rows_desc *weight_desc)
{
    hd_probe *p = m->probe;
    const hd_probe_value *id = hd_probe_fed(p, b->index, "route_id");
    const hd_probe_value *weight = hd_probe_fed(p, b->index, "route_w");
    int32_t n = step->rows.n_rows, k = m->cfg.n_active_experts;
    size_t count = (size_t)n * (size_t)k;
    const void *rows;
    if (!id && !weight) return HD_OK;
    /* One of the two alone pairs with the computed other in the order in which it is shown. */
    HD_TRY(reorder(m, b, r, n, true));
    if (id) {
        HD_TRY(hd_probe_take(p, id, id_desc, &rows));
        memcpy(r->id, rows, count * sizeof *r->id);
        for (size_t i = 0; i < count; i++)
            if (r->id[i] < 0 || r->id[i] >= m->cfg.n_experts)
                return HD_SET_ERR(&p->err, HD_E_ARG, "'%s' holds %d, expected an expert below %d",
                                  id->name, r->id[i], m->cfg.n_experts);
    }
    if (weight) {
        HD_TRY(hd_probe_take(p, weight, weight_desc, &rows));
        memcpy(r->weight, rows, count * sizeof *r->weight);
    }
    HD_TRY(reorder(m, b, r, n, false));
    HD_TRY(push(m, m->work.expert, r->id, count * sizeof *r->id));
    return push(m, m->work.route_w, r->weight, count * sizeof *r->weight);
}

hd_status hd_probe_route_(hd_model *m, const hd_v4_step *step, const hd_v4_block *b)
{
    hd_probe *p = m->probe;
    int32_t k = m->cfg.n_active_experts;
    hd_probe_rows_desc id_desc = token_rows(step, HD_DTYPE_I32, k, 0);
    hd_probe_rows_desc weight_desc = token_rows(step, HD_DTYPE_F32, k, 0);
    hd_probe_value *id = hd_probe_wanted(p, b->index, "route_id");
    hd_probe_value *weight = hd_probe_wanted(p, b->index, "route_w");
    routing r;
    hd_status st;
    if (!id && !weight && !hd_probe_fed(p, b->index, "route_id") &&
        !hd_probe_fed(p, b->index, "route_w"))
        return HD_OK;
    HD_TRY_GOTO(st, out, routing_init(m, step->rows.n_rows, &r));
    HD_TRY_GOTO(st, out, routing_fetch(m, step, b, &r));
    HD_TRY_GOTO(st, out, feed_routing(m, step, b, &r, &id_desc, &weight_desc));
    HD_TRY_GOTO(st, out, reorder(m, b, &r, step->rows.n_rows, true));
    if (id) HD_TRY_GOTO(st, out, hd_probe_put(p, id, &id_desc, r.id));
    if (weight) HD_TRY_GOTO(st, out, hd_probe_put(p, weight, &weight_desc, r.weight));
out:
    routing_deinit(&r);
    return st;
}
