/* The public C API of one model: open, step, close. What a step computes is in v4_forward.c. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/v4.h"

#define DEFAULT_MAX_SEQS 4
#define DEFAULT_MAX_CTX  4096
#define DEFAULT_MAX_ROWS 512
#define MAX_ROWS_LIMIT   16384

static int32_t or_default(int32_t value, int32_t fallback)
{
    return value > 0 ? value : fallback;
}

/* Positions whose compressed rows take so many bytes. */
static int64_t tokens_in(const hd_config *c, int64_t bytes)
{
    int64_t per_128 = 0; /* of 128 positions: 32 rows of each layer of ratio 4, one of ratio 128 */
    for (int32_t i = 0; i < c->n_layers; i++) {
        if (c->ratio[i] == HD_CSA_RATIO) per_128 += 32 * (HD_KV_ROW_BYTES + HD_INDEX_ROW_BYTES);
        if (c->ratio[i] == HD_HCA_RATIO) per_128 += HD_KV_ROW_BYTES;
    }
    int64_t n = per_128 ? bytes / per_128 : INT32_MAX;
    return n < INT32_MAX / 128 ? n * 128 : INT32_MAX;
}

static hd_status set_limits(hd_model *m, const hd_model_opts *o, hd_err *err)
{
    m->max_seqs = or_default(o->max_seqs, DEFAULT_MAX_SEQS);
    bool short_model = m->cfg.max_position < DEFAULT_MAX_CTX;
    m->max_ctx = or_default(o->max_ctx, short_model ? m->cfg.max_position : DEFAULT_MAX_CTX);
    m->max_rows = or_default(o->max_rows, DEFAULT_MAX_ROWS);
    m->kv_tokens = o->kv_tokens > 0 ? o->kv_tokens : (int64_t)m->max_seqs * m->max_ctx;
    if (o->kv_bytes > 0) m->kv_tokens = tokens_in(&m->cfg, o->kv_bytes);
    if (m->max_rows > MAX_ROWS_LIMIT)
        HD_FAIL(err, HD_E_ARG, "max_rows is %d, expected at most %d", m->max_rows, MAX_ROWS_LIMIT);
    if (m->max_ctx > m->cfg.max_position)
        HD_FAIL(err, HD_E_ARG, "max_ctx is %d, and the model was made for %d positions", m->max_ctx,
                m->cfg.max_position);
    /* Output heads and draft blocks pass through the same workspace. */
    if (m->max_rows < HD_HEAD_ROWS) m->max_rows = HD_HEAD_ROWS;
    m->has_draft = o->load_draft && m->cfg.draft != HD_DRAFT_NONE;
    if (m->has_draft && m->cfg.draft == HD_DRAFT_DSPARK && m->cfg.dspark_block_size > HD_MAX_DRAFT)
        HD_FAIL(err, HD_E_UNSUPPORTED, "'dspark_block_size' is %d, expected at most %d",
                m->cfg.dspark_block_size, HD_MAX_DRAFT);
    return HD_OK;
}

static hd_status alloc_step_arrays(hd_model *m, hd_err *err)
{
    size_t n = (size_t)m->max_seqs;
    m->step_parts = hd_mem_try_calloc(n, sizeof *m->step_parts);
    m->step_items = hd_mem_try_calloc(n, sizeof *m->step_items);
    m->step_done = hd_mem_try_calloc(n, sizeof *m->step_done);
    m->step_dst = hd_mem_try_calloc((size_t)m->max_rows, sizeof *m->step_dst);
    if (!m->step_parts || !m->step_items || !m->step_done || !m->step_dst)
        HD_FAIL(err, HD_E_NOMEM, "out of memory for the arrays of %d sequences", m->max_seqs);
    return HD_OK;
}

static hd_status open_parts(hd_model *m, const hd_model_opts *o, hd_err *err)
{
    hd_dev_opts dev_opts = {.n_threads = o->n_threads, .isa = o->isa, .unfused = o->unfused != 0};
    HD_TRY(hd_dev_open(o->device ? o->device : "cpu", &dev_opts, &m->dev, err));
    HD_TRY(m->dev->stream.create(m->dev, &m->stream, err));
    snprintf(m->device, sizeof m->device, "%s: %s", m->dev->props.name, m->dev->props.description);
    HD_TRY(hd_v4_load(m, o, err));
    hd_rope_freqs_plain(&m->cfg, &m->rope_plain);
    hd_rope_freqs_yarn(&m->cfg, &m->rope_yarn);
    HD_TRY(alloc_step_arrays(m, err));
    HD_TRY(hd_v4_state_init(m, err));
    return hd_v4_plan(m, err);
}

hd_status hd_model_open(const char *dir, const hd_model_opts *opts, hd_model **out, hd_err *err)
{
    static const hd_model_opts defaults;
    const hd_model_opts *o = opts ? opts : &defaults;
    hd_status st;
    *out = NULL;
    hd_model *m = hd_mem_calloc(1, sizeof *m);
    HD_TRY_GOTO(st, fail, hd_v4_open_checkpoint(m, dir, err));
    HD_TRY_GOTO(st, fail, set_limits(m, o, err));
    HD_TRY_GOTO(st, fail, open_parts(m, o, err));
    *out = m;
    return HD_OK;
fail:
    hd_model_close(m);
    return hd_err_context(err, st, "cannot open model '%s'", dir);
}

void hd_model_close(hd_model *m)
{
    if (!m) return;
    if (m->stream) m->dev->stream.destroy(m->stream);
    if (m->dev) {
        hd_v4_unplan(m);
        hd_v4_state_deinit(m);
        hd_v4_unload(m);
        hd_dev_close(m->dev);
    }
    hd_ckpt_close(m->ckpt);
    hd_mem_free(m->step_parts);
    hd_mem_free(m->step_items);
    hd_mem_free(m->step_done);
    hd_mem_free(m->step_dst);
    hd_mem_free(m);
}

void hd_model_get_info(const hd_model *m, hd_model_info *out)
{
    *out = (hd_model_info){
        .variant = hd_config_variant(&m->cfg),
        .device = m->device,
        .vocab_size = m->cfg.vocab_size,
        .n_layers = m->cfg.n_layers,
        .max_ctx = m->max_ctx,
        .max_position = m->cfg.max_position,
        .bos_id = m->cfg.bos_id,
        .eos_id = m->cfg.eos_id,
        .chat_release = m->cfg.chat_release == HD_CHAT_0731,
        .weight_bytes = m->w.bytes,
        .state_bytes = m->state.bytes,
        .workspace_bytes = m->work_bytes,
    };
}

/* ---- steps ------------------------------------------------------------------------------------
 */

static hd_status check_item(hd_model *m, const hd_step_item *it, hd_err *err)
{
    if (!it->seq || it->seq->model != m || !it->ids || it->n_ids < 1)
        HD_FAIL(err, HD_E_ARG, "a step item needs a sequence of this model and at least one id");
    if (it->n_logits < 0 || it->n_logits > it->n_ids || (it->n_logits && !it->logits))
        HD_FAIL(err, HD_E_ARG, "a step item of %d ids cannot give %d rows of logits", it->n_ids,
                it->n_logits);
    for (int32_t i = 0; i < it->n_ids; i++)
        if (it->ids[i] < 0 || it->ids[i] >= m->cfg.vocab_size)
            HD_FAIL(err, HD_E_ARG, "id %d at place %d is outside the vocabulary of %d", it->ids[i],
                    i, m->cfg.vocab_size);
    if (it->seq->in_step) HD_FAIL(err, HD_E_ARG, "a sequence is twice in one step");
    if (it->n_ids > m->max_ctx - it->seq->len)
        HD_FAIL(err, HD_E_LIMIT,
                "the sequence would have %" PRId64 " positions, and the model was opened for %d",
                (int64_t)it->seq->len + it->n_ids, m->max_ctx);
    return HD_OK;
}

static hd_status check_items(hd_model *m, const hd_step_item *items, int32_t n, hd_err *err)
{
    hd_status st = HD_OK;
    int32_t i = 0;
    for (; i < n && st == HD_OK; i++) {
        st = check_item(m, &items[i], err);
        if (st == HD_OK) items[i].seq->in_step = 1;
    }
    for (int32_t k = 0; k < n; k++)
        if (items[k].seq && items[k].seq->model == m) items[k].seq->in_step = 0;
    return st;
}

/* Where NaN or infinity was first seen, as text. */
static hd_status nonfinite_error(const hd_model *m, int32_t tag, hd_err *err)
{
    if (tag < m->cfg.n_layers)
        HD_FAIL(err, HD_E_DEVICE, "NaN or infinity in the output of layer %d", tag);
    if (tag < m->cfg.n_layers + m->cfg.n_stages)
        HD_FAIL(err, HD_E_DEVICE, "NaN or infinity in stage %d of the draft head",
                tag - m->cfg.n_layers);
    HD_FAIL(err, HD_E_DEVICE, "NaN or infinity in the logits");
}

hd_status hd_v4_abandon(hd_model *m, hd_status st, hd_err *err)
{
    hd_err fault = {0};
    if (m->dev->stream.sync(m->stream, -1, &fault) != HD_OK)
        (void)HD_SET_ERR(err, HD_E_DEVICE, "%s", fault.text);
    else
        (void)HD_SET_ERR(err, HD_E_DEVICE, "the device refused a call with %s", hd_status_name(st));
    if (m->at < m->cfg.n_layers)
        return hd_err_context(err, HD_E_DEVICE, "step failed in layer %d", m->at);
    if (m->at < m->cfg.n_layers + m->cfg.n_stages)
        return hd_err_context(err, HD_E_DEVICE, "step failed in stage %d of the draft head",
                              m->at - m->cfg.n_layers);
    return hd_err_context(err, HD_E_DEVICE, "step failed in the output head");
}

static hd_status wait_for_tag(hd_model *m, int32_t *tag, hd_err *err)
{
    hd_status st = m->dev->mem.download(m->stream, tag, m->work.nonfinite, sizeof *tag);
    if (st == HD_OK) st = m->dev->stream.sync(m->stream, -1, err);
    return st == HD_OK ? HD_OK : hd_v4_abandon(m, st, err);
}

hd_status hd_v4_wait(hd_model *m, bool *is_finite, hd_err *err)
{
    int32_t tag = INT32_MAX;
    hd_status st = wait_for_tag(m, &tag, err);
    *is_finite = tag == INT32_MAX;
    return st;
}

hd_status hd_v4_finish(hd_model *m, hd_err *err)
{
    int32_t tag;
    HD_TRY(wait_for_tag(m, &tag, err));
    return tag == INT32_MAX ? HD_OK : nonfinite_error(m, tag, err);
}

hd_status hd_v4_begin(hd_model *m)
{
    int32_t none = INT32_MAX; /* not const: a deferring device overwrites what it was given */
    HD_TRY(hd_v4_meta_upload(m));
    return m->dev->mem.upload(m->stream, m->work.nonfinite, &none, sizeof none);
}

/* Logits of the step's wanted rows, HD_HEAD_ROWS at a time, to where each part wants them. */
static hd_status collect_logits(hd_model *m, const hd_v4_step *step, float *const *dst)
{
    size_t v = (size_t)m->cfg.vocab_size;
    for (int32_t i = 0; i < step->n_out_rows; i += HD_HEAD_ROWS) {
        int32_t n = step->n_out_rows - i < HD_HEAD_ROWS ? step->n_out_rows - i : HD_HEAD_ROWS;
        HD_TRY(hd_v4_head(m, m->work.x, step->out_id + i, n, &m->w.hc_head, m->w.norm));
        for (int32_t k = 0; k < n; k++)
            HD_TRY(m->dev->mem.download(m->stream, dst[i + k], m->work.logits + (size_t)k * v,
                                        v * sizeof(float)));
        /* Bounded queues: a device need not hold more than one batch of logits. */
        HD_TRY(m->dev->stream.sync(m->stream, -1, NULL));
    }
    return HD_OK;
}

static hd_status submit_step(hd_model *m, const hd_v4_step *step, float *const *dst)
{
    HD_TRY(hd_v4_begin(m));
    HD_TRY(hd_v4_forward(m, step));
    return collect_logits(m, step, dst);
}

hd_status hd_v4_run_parts(hd_model *m, const hd_v4_part *part, int32_t n_parts, float *const *dst,
                          hd_v4_step *step, hd_err *err)
{
    for (int32_t s = 0; s < n_parts; s++)
        if (!part[s].is_replay)
            HD_TRY(hd_v4_state_reserve(part[s].seq, part[s].pos0 + part[s].n, err));
    hd_v4_step_build(m, part, n_parts, HD_ATTN_CAUSAL, step);
    hd_status st = submit_step(m, step, dst);
    if (st != HD_OK) return hd_v4_abandon(m, st, err);
    HD_TRY(hd_v4_finish(m, err));
    for (int32_t s = 0; s < n_parts; s++) part[s].seq->len += part[s].n;
    return HD_OK;
}

/* How many rows of the next step each unfinished item contributes. */
static int32_t cut_step(const hd_model *m, const hd_step_item *items, int32_t n,
                        const int32_t *done, hd_v4_part *part, int32_t *of_item, float **dst)
{
    int32_t room = m->max_rows, n_parts = 0, n_dst = 0;
    size_t v = (size_t)m->cfg.vocab_size;
    for (int32_t i = 0; i < n && room > 0; i++) {
        const hd_step_item *it = &items[i];
        int32_t left = it->n_ids - done[i];
        if (left == 0) continue;
        int32_t take = left < room ? left : room;
        int32_t first_logit = it->n_ids - it->n_logits; /* place of the first wanted row */
        int32_t end = done[i] + take;
        int32_t n_logits = end - (first_logit > done[i] ? first_logit : done[i]);
        if (n_logits < 0) n_logits = 0;
        part[n_parts] = (hd_v4_part){.seq = it->seq,
                                     .ids = it->ids + done[i],
                                     .n = take,
                                     .pos0 = it->seq->len,
                                     .n_logits = n_logits};
        of_item[n_parts++] = i;
        for (int32_t k = end - n_logits; k < end; k++)
            dst[n_dst++] = it->logits + (size_t)(k - first_logit) * v;
        room -= take;
    }
    return n_parts;
}

static hd_status run_steps(hd_model *m, const hd_step_item *items, int32_t n, int32_t *done,
                           float **dst, hd_err *err)
{
    hd_v4_part *part = m->step_parts;
    int32_t *of_item = m->step_items;
    for (;;) {
        int32_t n_parts = cut_step(m, items, n, done, part, of_item, dst);
        if (n_parts == 0) return HD_OK;
        hd_v4_step step;
        HD_TRY(hd_v4_run_parts(m, part, n_parts, dst, &step, err));
        for (int32_t s = 0; s < n_parts; s++) done[of_item[s]] += part[s].n;
    }
}

hd_status hd_model_step(hd_model *m, const hd_step_item *items, int32_t n_items, hd_err *err)
{
    if (n_items < 0 || n_items > m->max_seqs)
        HD_FAIL(err, HD_E_ARG, "a step of %d sequences, and the model was opened for %d", n_items,
                m->max_seqs);
    HD_TRY(check_items(m, items, n_items, err));
    memset(m->step_done, 0, (size_t)m->max_seqs * sizeof *m->step_done);
    return run_steps(m, items, n_items, m->step_done, m->step_dst, err);
}
