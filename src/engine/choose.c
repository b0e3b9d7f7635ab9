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

/* The end-of-sentence token is not to be drawn yet. */
static bool bars_eos(const hd_request *r)
{
    return !r->ignores_eos && hd_request_n_new(r) < r->min_new;
}

/* What may be drawn, as a mask; NULL: everything. Where a grammar leaves nothing but the end of
 * sentence, that may come before min_new. */
static hd_status find_allowed(hd_sched *s, hd_request *r, const uint32_t **mask, hd_err *err)
{
    int32_t eos = s->m->cfg.eos_id;
    size_t n = mask_words(s);
    *mask = NULL;
    if (!r->matcher && !bars_eos(r)) return HD_OK;
    memset(s->mask, r->matcher ? 0 : 0xff, n * sizeof *s->mask);
    if (r->matcher) HD_TRY(hd_matcher_fill(r->matcher, s->mask, err));
    if (bars_eos(r)) {
        uint32_t word = s->mask[eos / 32];
        s->mask[eos / 32] &= ~(1u << (eos % 32));
        if (is_empty(s->mask, n)) s->mask[eos / 32] = word;
    }
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
    if (id == s->m->cfg.eos_id && !r->ignores_eos) return true;
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
