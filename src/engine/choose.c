#include <string.h>

#include "engine/sched_parts.h"

static size_t mask_words(const hd_sched *s)
{
    return ((size_t)s->m->cfg.vocab_size + 31) / 32;
}

static bool is_empty(const uint32_t *mask, size_t n_words)
{
    size_t i = 0;
    while (i < n_words && mask[i] == 0) i++;
    return i == n_words;
}

/* Tokens that would end it are not to be drawn yet. */
static bool bars_end(const hd_request *r)
{
    return (!r->ignores_eos || r->n_stop_ids) && hd_request_n_new(r) < r->min_new;
}

static void bar(uint32_t *mask, int32_t id)
{
    mask[id / 32] &= ~(1u << (id % 32));
}

/* Unless nothing else is left: where a grammar asks for the end, it may come before min_new. */
static void bar_end(hd_sched *s, const hd_request *r)
{
    int32_t eos = s->m->cfg.eos_id;
    uint32_t word = s->mask[eos / 32];
    for (int32_t i = 0; i < r->n_stop_ids; i++)
        if (r->stop_ids[i] != eos) bar(s->mask, r->stop_ids[i]);
    if (!hd_request_ends_with(r, eos, eos)) return;
    bar(s->mask, eos);
    if (is_empty(s->mask, mask_words(s))) s->mask[eos / 32] = word;
}

/* What may be drawn, as a mask; NULL: everything. */
static hd_status find_allowed(hd_sched *s, hd_request *r, const uint32_t **mask, hd_err *err)
{
    *mask = NULL;
    if (!r->matcher && !bars_end(r)) return HD_OK;
    memset(s->mask, r->matcher ? 0 : 0xff, mask_words(s) * sizeof *s->mask);
    if (r->matcher) HD_TRY(hd_matcher_fill(r->matcher, s->mask, err));
    if (bars_end(r)) bar_end(s, r);
    *mask = s->mask;
    return HD_OK;
}

static hd_status draw(hd_sched *s, hd_request *r, const float *logits, int32_t *id, hd_err *err)
{
    hd_sample_args args = {.logits = logits,
                           .how = &r->how,
                           .position = (uint64_t)r->n_text,
                           .ids = r->text,
                           .n_ids = (size_t)r->n_text,
                           .n_prompt = (size_t)r->n_prompt};
    HD_TRY(find_allowed(s, r, &args.mask, err));
    HD_TRY(hd_sampler_draw(s->sampler, &args, id, err));
    return r->matcher ? hd_matcher_advance(r->matcher, *id, err) : HD_OK;
}

static bool is_last(const hd_sched *s, const hd_request *r, int32_t id, hd_end *end)
{
    *end = HD_END_STOP;
    if (hd_request_ends_with(r, s->m->cfg.eos_id, id)) return true;
    if (r->matcher && hd_matcher_is_complete(r->matcher)) return true;
    *end = HD_END_LENGTH;
    return hd_request_n_new(r) == r->max_new || r->n_text == s->m->max_ctx;
}

hd_status hd_sched_choose(hd_sched *s, hd_request *r, const float *logits, bool *is_over,
                          hd_end *end, hd_err *err)
{
    int32_t id;
    hd_status st = draw(s, r, logits, &id, &r->err);
    *is_over = true;
    *end = HD_END_FAILED;
    if (st == HD_E_DEVICE) {
        if (err) *err = r->err;
        return st;
    }
    if (st != HD_OK) return HD_OK;
    r->text[r->n_text++] = id;
    s->stats.n_generated++;
    hd_fair_charge(&s->fair, r->account, 1);
    bool goes_on = s->opts.on_token(s->opts.ctx, r, logits);
    *is_over = is_last(s, r, id, end) || !goes_on;
    if (!goes_on) *end = HD_END_STOP;
    return HD_OK;
}
