/* Layers and logits of the device against those of `ref`.
 *
 * One layer of each kind: the device runs a text up to a position before a multiple of 128 (less
 * far where it is slow); the state of these layers is
 * copied to the model on `ref`; the device runs ROWS positions more, past a multiple of 128, so
 * that rows of both ratios are made and read. `ref` then runs each of these layers on the input
 * that the layer had on the device, and every stage is compared in the order in which it is
 * computed: the first that differs is the one that is wrong. At last the whole model, ROWS tokens
 * from the start and the draft head behind them, where that fits the time that is left. */
#include "verify/layers.h"

#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"
#include "model/draft.h"
#include "model/probe.h"
#include "verify/run.h"

enum { ROWS = 8, START = 252, SHORT_START = 124 };

/* ---- kinds of layers ------------------------------------------------------------------------- */

int hd_verify_kinds(const hd_config *c, int32_t out[HD_VERIFY_MAX_KINDS])
{
    bool seen[3][2] = {{false}};
    int n = 0;
    for (int32_t i = 0; i < c->n_layers; i++) {
        bool *is_seen = &seen[hd_config_kind(c, i)][i < c->n_hash_layers];
        if (!*is_seen) out[n++] = i;
        *is_seen = true;
    }
    return n;
}

const char *hd_verify_kind_name(const hd_config *c, int32_t layer)
{
    static const char *const names[3][2] = {{"window.bias", "window.hash"},
                                            {"ratio4.bias", "ratio4.hash"},
                                            {"ratio128.bias", "ratio128.hash"}};
    return names[hd_config_kind(c, layer)][layer < c->n_hash_layers];
}

/* In the order in which they are computed. */
static const char *const stages[] = {
    "hc_attn.mix", "hc_attn.pre", "hc_attn.post", "hc_attn.comb", "attn_in",    "qr",
    "q",           "comp_kv",     "kv_all",       "index_k",      "index_q",    "index_topk",
    "attn_keys",   "o_rot",       "attn_out",     "hc_ffn.mix",   "hc_ffn.pre", "hc_ffn.post",
    "hc_ffn.comb", "ffn_in",      "route_id",     "route_w",      "shared_out", "ffn_out",
};

/* ---- state from the device to ref ------------------------------------------------------------ */

typedef struct layers_run {
    hd_verify *v;
    hd_seq *seq, *ref_seq;
    int32_t start; /* first position that is compared */
    int32_t layer[HD_VERIFY_MAX_KINDS];
    int n_layers;
    int32_t ids[START + ROWS];
    hd_probe *probe; /* on the device: the layers' inputs, stages, outputs */
    double layer_s;  /* seconds of the slowest layer on ref */
    hd_err err;
} layers_run;

static hd_status move_bytes(layers_run *r, void *dst, const void *src, size_t bytes)
{
    hd_model *m = r->v->m, *ref = r->v->ref;
    hd_status st = HD_OK;
    void *host = hd_mem_try_calloc(bytes, 1);
    if (!host) HD_FAIL(&r->err, HD_E_NOMEM, "out of memory for %zu bytes of state", bytes);
    HD_TRY_GOTO(st, out, m->dev->mem.download(m->stream, host, src, bytes));
    HD_TRY_GOTO(st, out, m->dev->stream.sync(m->stream, -1, &r->err));
    HD_TRY_GOTO(st, out, ref->dev->mem.upload(ref->stream, dst, host, bytes));
out:
    hd_mem_free(host);
    return st;
}

static hd_status move_pages(layers_run *r, hd_page_kind kind, uint8_t *dst, const uint8_t *src,
                            size_t row_bytes)
{
    size_t page = row_bytes * HD_PAGE_ROWS;
    for (int32_t i = 0; i < r->seq->n_pages[kind]; i++)
        HD_TRY(move_bytes(r, dst + page * (size_t)r->ref_seq->page[kind][i],
                          src + page * (size_t)r->seq->page[kind][i], page));
    return HD_OK;
}

static hd_status move_carry(layers_run *r, int32_t ratio, int32_t channels, float *dst,
                            const float *src)
{
    size_t n = (size_t)hd_carry_slots(ratio) * 2 * (size_t)channels;
    return move_bytes(r, dst + n * (size_t)r->ref_seq->slot, src + n * (size_t)r->seq->slot,
                      n * sizeof *src);
}

static hd_status move_layer(layers_run *r, int32_t layer)
{
    hd_v4_block_state *dst = &r->v->ref->state.block[layer], *src = &r->v->m->state.block[layer];
    int32_t ratio = r->v->m->cfg.ratio[layer];
    hd_page_kind kind = ratio == HD_CSA_RATIO ? HD_PAGE_CSA : HD_PAGE_HCA;
    HD_TRY(move_pages(r, HD_PAGE_WINDOW, dst->window, src->window, HD_KV_ROW_BYTES));
    if (!ratio) return HD_OK;
    HD_TRY(move_pages(r, kind, dst->rows, src->rows, HD_KV_ROW_BYTES));
    int32_t width = ratio == HD_CSA_RATIO ? 2 : 1;
    HD_TRY(move_carry(r, ratio, width * HD_HEAD_DIM, dst->carry, src->carry));
    if (ratio != HD_CSA_RATIO) return HD_OK;
    HD_TRY(move_pages(r, kind, dst->index, src->index, HD_INDEX_ROW_BYTES));
    return move_carry(r, ratio, width * HD_INDEX_DIM, dst->index_carry, src->index_carry);
}

/* ref's sequence is as long as the device's, with what its layers hold. */
static hd_status move_state(layers_run *r)
{
    HD_TRY(hd_v4_state_reserve(r->ref_seq, r->start, &r->err));
    r->ref_seq->len = r->start;
    for (int i = 0; i < r->n_layers; i++) HD_TRY(move_layer(r, r->layer[i]));
    return HD_OK;
}

/* ---- running --------------------------------------------------------------------------------- */

static hd_status capture(hd_probe *p, int32_t layer, const char *point, hd_err *err)
{
    char name[64];
    int n = snprintf(name, sizeof name, "L%d.%s", layer, point);
    return hd_probe_capture(p, (hd_str){name, (size_t)n}, err);
}

static hd_status capture_stages(hd_probe *p, int32_t layer, hd_err *err)
{
    for (size_t i = 0; i < HD_COUNT(stages); i++) HD_TRY(capture(p, layer, stages[i], err));
    return HD_OK;
}

static const hd_probe_value *captured(const hd_probe *p, int32_t layer, const char *point)
{
    char name[64];
    const hd_probe_value *value;
    snprintf(name, sizeof name, "L%d.%s", layer, point);
    for (int i = 0; (value = hd_probe_captured(p, i)); i++)
        if (strcmp(value->name, name) == 0 && value->data) return value;
    return NULL;
}

static hd_status run_device(layers_run *r)
{
    hd_model *m = r->v->m;
    hd_step_item text = {.seq = r->seq, .ids = r->ids, .n_ids = r->start};
    if (r->start) HD_TRY(hd_model_step(m, &text, 1, &r->err));
    HD_TRY(move_state(r));
    for (int i = 0; i < r->n_layers; i++) {
        HD_TRY(capture(r->probe, r->layer[i], "in", &r->err));
        HD_TRY(capture_stages(r->probe, r->layer[i], &r->err));
        HD_TRY(capture(r->probe, r->layer[i], "out", &r->err));
    }
    hd_v4_part part = {.seq = r->seq, .ids = r->ids + r->start, .n = ROWS, .pos0 = r->start};
    hd_v4_step step;
    m->probe = r->probe;
    hd_status st = hd_v4_run_parts(m, &part, 1, NULL, &step, &r->err);
    m->probe = NULL;
    if (hd_probe_status(r->probe, &r->err) != HD_OK) return hd_probe_status(r->probe, &r->err);
    return st;
}

/* The layer's output on ref, bf16 [ROWS, 4, D], from the captured input. */
static hd_status run_ref_layer(layers_run *r, int32_t layer, hd_probe *probe, hd_bf16 *out)
{
    hd_model *m = r->v->ref;
    const hd_probe_value *in = captured(r->probe, layer, "in");
    hd_v4_part part = {.seq = r->ref_seq, .ids = r->ids + r->start, .n = ROWS, .pos0 = r->start};
    hd_v4_step step;
    size_t bytes = ROWS * in->row_bytes;
    HD_TRY(hd_v4_state_reserve(r->ref_seq, r->start + ROWS, &r->err));
    hd_v4_step_build(m, &part, 1, HD_ATTN_CAUSAL, &step);
    HD_TRY(hd_v4_begin(m));
    HD_TRY(m->dev->mem.upload(m->stream, m->work.x, in->data + (size_t)r->start * in->row_bytes,
                              bytes));
    m->probe = probe;
    hd_status st = hd_v4_block_forward(m, &step, &m->w.layer[layer], HD_ATTN_CAUSAL, m->work.x);
    m->probe = NULL;
    HD_TRY(hd_probe_status(probe, &r->err));
    HD_TRY(st);
    HD_TRY(m->dev->mem.download(m->stream, out, m->work.x, bytes));
    return hd_v4_finish(m, &r->err);
}

/* ---- comparing ------------------------------------------------------------------------------- */

/* Rows of a captured value as an output of a case; the data stays the probe's. */
static void as_output(hd_opcase *c, const hd_probe_value *value, int64_t first, uint8_t *data)
{
    static const hd_opcase_kind kinds[] = {HD_OPCASE_BF16, HD_OPCASE_F32, HD_OPCASE_I32};
    size_t which = value->dtype == HD_DTYPE_BF16 ? 0 : value->dtype == HD_DTYPE_F32 ? 1 : 2;
    int64_t rows = value->n_rows - first;
    c->out[0] = (hd_opcase_output){.kind = kinds[which],
                                   .rows = rows,
                                   .cols = (int64_t)value->row_bytes / (which == 0 ? 2 : 4),
                                   .bytes = (size_t)rows * value->row_bytes,
                                   .data = data + (size_t)first * value->row_bytes};
    c->n_out = 1;
}

static void compare_values(layers_run *r, hd_verify_check *c, int32_t layer, const char *stage,
                           const hd_probe_value *want, const hd_probe_value *got)
{
    hd_opcase a = {.n_out = 0}, b = {.n_out = 0};
    snprintf(a.shape, sizeof a.shape, "stage '%s' of layer %d", stage, layer);
    if (want->n_rows != got->n_rows || want->row_bytes != got->row_bytes) {
        hd_verify_fail(r->v, c, "%s: %lld rows of %zu bytes, and %lld of %zu on ref", a.shape,
                       (long long)got->n_rows, got->row_bytes, (long long)want->n_rows,
                       want->row_bytes);
        return;
    }
    as_output(&a, want, 0, want->data);
    as_output(&b, got, 0, got->data);
    hd_verify_compare(r->v, c, &a, &b, hd_verify_layer_rule(r->v->m->dev));
}

static void compare_stages(layers_run *r, hd_verify_check *c, int32_t layer, const hd_probe *probe,
                           const hd_bf16 *out)
{
    for (size_t i = 0; i < HD_COUNT(stages); i++) {
        const hd_probe_value *want = captured(probe, layer, stages[i]);
        const hd_probe_value *got = captured(r->probe, layer, stages[i]);
        if (want && got) compare_values(r, c, layer, stages[i], want, got);
        if (!want != !got) hd_verify_fail(r->v, c, "stage '%s' was on one device only", stages[i]);
    }
    const hd_probe_value *got = captured(r->probe, layer, "out");
    hd_opcase a = {.n_out = 0}, b = {.n_out = 0};
    as_output(&a, got, r->start, got->data);
    as_output(&b, got, r->start, got->data);
    a.out[0].data = (uint8_t *)(uintptr_t)out;
    snprintf(a.shape, sizeof a.shape, "the output of layer %d", layer);
    hd_verify_compare(r->v, c, &a, &b, hd_verify_layer_rule(r->v->m->dev));
}

static hd_status check_layer(layers_run *r, int32_t layer)
{
    const hd_config *cfg = &r->v->m->cfg;
    hd_status st;
    int64_t began = hd_clock_ns();
    hd_probe *probe = hd_probe_create(r->start + ROWS);
    hd_bf16 *out = hd_mem_calloc((size_t)ROWS * HD_STREAMS * (size_t)cfg->dim, sizeof *out);
    hd_verify_check *c = hd_verify_add(r->v, "layer.%s", hd_verify_kind_name(cfg, layer));
    hd_verify_progress(r->v, "layer %d, %s", layer, hd_verify_kind_name(cfg, layer));
    HD_TRY_GOTO(st, out, capture_stages(probe, layer, &r->err));
    HD_TRY_GOTO(st, out, run_ref_layer(r, layer, probe, out));
    compare_stages(r, c, layer, probe, out);
    double seconds = (double)(hd_clock_ns() - began) * 1e-9;
    if (seconds > r->layer_s) r->layer_s = seconds;
out:
    hd_mem_free(out);
    hd_probe_destroy(probe);
    if (st != HD_OK)
        hd_verify_fail(r->v, c, "%s", r->err.code != HD_OK ? r->err.text : hd_status_name(st));
    return st;
}

static void check_layers(layers_run *r)
{
    for (int i = 0; i < r->n_layers; i++) {
        if (r->layer_s > 0.0 && hd_verify_left_s(r->v) < r->layer_s) {
            hd_verify_leave_out(r->v, "layer.%s: a layer takes %.1f s on ref, no time",
                                hd_verify_kind_name(&r->v->m->cfg, r->layer[i]), r->layer_s);
        } else if (check_layer(r, r->layer[i]) != HD_OK) {
            return;
        }
    }
}

/* ---- the whole model ------------------------------------------------------------------------- */

/* Logits of ROWS tokens and of the draft head behind them, on one device. */
typedef struct outputs {
    float *logits;     /* f32 [ROWS, V] */
    float *draft;      /* f32 [n_draft, V] */
    float *confidence; /* f32 [n_draft], of DSpark; zeros for MTP */
    int32_t n_draft;   /* 0: no draft head */
} outputs;

static void outputs_init(outputs *o, const hd_model *m)
{
    size_t v = (size_t)m->cfg.vocab_size;
    *o = (outputs){.logits = hd_mem_calloc(ROWS * v, sizeof *o->logits)};
    if (m->has_draft) o->n_draft = m->cfg.draft == HD_DRAFT_MTP ? ROWS : m->cfg.dspark_block_size;
    o->draft = hd_mem_calloc((size_t)o->n_draft * v, sizeof *o->draft);
    o->confidence = hd_mem_calloc((size_t)o->n_draft, sizeof *o->confidence);
}

static void outputs_deinit(outputs *o)
{
    hd_mem_free(o->logits);
    hd_mem_free(o->draft);
    hd_mem_free(o->confidence);
}

static hd_status run_draft(hd_model *m, hd_seq *seq, const hd_v4_step *step, const int32_t *ids,
                           outputs *o, hd_err *err)
{
    int32_t tokens[HD_MAX_DRAFT + 1];
    hd_v4_draft_out out = {tokens, o->draft, o->confidence};
    if (o->n_draft == 0) return HD_OK;
    if (m->cfg.draft == HD_DRAFT_MTP) return hd_v4_mtp(m, step, ids + 1, o->draft, err);
    return hd_v4_dspark(m, seq, ids[ROWS], &out, err);
}

/* ids i32 [ROWS + 1]: the last one is what the draft head is told. */
static hd_status run_tokens(hd_model *m, const int32_t *ids, outputs *o, hd_err *err)
{
    hd_seq *seq;
    hd_v4_step step;
    float *dst[ROWS];
    HD_TRY(hd_seq_create(m, &seq, err));
    hd_v4_part part = {.seq = seq, .ids = ids, .n = ROWS, .n_logits = ROWS};
    for (int i = 0; i < ROWS; i++) dst[i] = o->logits + (size_t)i * (size_t)m->cfg.vocab_size;
    hd_status st = hd_v4_run_parts(m, &part, 1, dst, &step, err);
    if (st == HD_OK) st = run_draft(m, seq, &step, ids, o, err);
    hd_seq_destroy(seq);
    return st;
}

static void compare_outputs(hd_verify *v, const outputs *want, const outputs *got)
{
    hd_verify_rule rule = hd_verify_layer_rule(v->m->dev);
    hd_verify_compare_logits(v, hd_verify_add(v, "logits"), "a text from the start", ROWS,
                             want->logits, got->logits, rule);
    if (got->n_draft == 0) return;
    hd_verify_check *c = hd_verify_add(v, "drafts");
    hd_verify_compare_logits(v, c, "logits of the draft head", got->n_draft, want->draft,
                             got->draft, rule);
    hd_opcase a = {.n_out = 1, .shape = "confidence of the drafts"}, b = {.n_out = 1};
    a.out[0] = (hd_opcase_output){HD_OPCASE_F32, got->n_draft, 1,
                                  (size_t)got->n_draft * sizeof(float), NULL};
    b.out[0] = a.out[0];
    a.out[0].data = (uint8_t *)want->confidence;
    b.out[0].data = (uint8_t *)got->confidence;
    hd_verify_compare(v, c, &a, &b, rule);
}

static void check_logits(layers_run *r)
{
    hd_verify *v = r->v;
    outputs want, got;
    double seconds = r->layer_s * (v->m->cfg.n_layers + v->m->cfg.n_stages);
    if (hd_verify_left_s(v) < seconds) {
        hd_verify_leave_out(v, "logits, drafts: %d tokens take %.0f s on ref, no time", ROWS,
                            seconds);
        return;
    }
    outputs_init(&want, v->ref);
    outputs_init(&got, v->m);
    hd_verify_progress(v, "logits of %d tokens on ref", ROWS);
    hd_status st = run_tokens(v->m, r->ids, &got, &r->err);
    if (st == HD_OK) st = run_tokens(v->ref, r->ids, &want, &r->err);
    if (st == HD_OK)
        compare_outputs(v, &want, &got);
    else
        hd_verify_fail(v, hd_verify_add(v, "logits"), "%s", r->err.text);
    outputs_deinit(&want);
    outputs_deinit(&got);
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* As far into the text as the device gets in half of the time, by the speed of its first rows. */
static hd_status choose_start(layers_run *r)
{
    static const int32_t starts[] = {START, SHORT_START, 0};
    int64_t began = 0;
    hd_step_item item = {.seq = r->seq, .ids = r->ids, .n_ids = ROWS};
    for (int i = 0; i < 2; i++) { /* the first time weights come from the disk */
        began = hd_clock_ns();
        HD_TRY(hd_model_step(r->v->m, &item, 1, &r->err));
        hd_seq_reset(r->seq);
    }
    double row_s = (double)(hd_clock_ns() - began) * 1e-9 / ROWS;
    size_t i = 0;
    while (starts[i] > 0 && (starts[i] + ROWS > r->v->m->max_ctx ||
                             starts[i] * row_s > hd_verify_left_s(r->v) / 2.0))
        i++;
    r->start = starts[i];
    return HD_OK;
}

static hd_status prepare(layers_run *r)
{
    hd_verify *v = r->v;
    r->n_layers = hd_verify_kinds(&v->m->cfg, r->layer);
    for (int32_t i = 0; i < START + ROWS; i++)
        r->ids[i] =
            (int32_t)hd_rng_below(hd_rng_at(1, (uint64_t)i), (uint64_t)v->m->cfg.vocab_size);
    HD_TRY(hd_seq_create(v->m, &r->seq, &r->err));
    HD_TRY(choose_start(r));
    r->probe = hd_probe_create(r->start + ROWS);
    HD_TRY(hd_seq_create(v->ref, &r->ref_seq, &r->err));
    return run_device(r);
}

void hd_verify_layers(hd_verify *v)
{
    layers_run r = {.v = v};
    if (v->m->max_ctx < ROWS) {
        hd_verify_leave_out(v, "layers and logits: a model of %d positions", v->m->max_ctx);
        return;
    }
    hd_verify_progress(v, "layers");
    hd_status st = prepare(&r);
    if (st == HD_OK)
        check_layers(&r);
    else
        hd_verify_fail(v, hd_verify_add(v, "layer"), "%s",
                       r.err.code != HD_OK ? r.err.text : hd_status_name(st));
    hd_seq_destroy(r.seq);
    hd_seq_destroy(r.ref_seq);
    hd_probe_destroy(r.probe);
    if (r.layer_s > 0.0) check_logits(&r);
}
