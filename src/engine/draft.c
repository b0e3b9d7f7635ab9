#include "engine/draft.h"

#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "engine/draft_lookup.h"
#include "model/draft.h"

/* Positions whose rows a draft head looks back at. */
#define LOOK_BACK HD_WINDOW

/* One request that is to get guesses. */
typedef struct want {
    hd_request *r;
    int32_t max;     /* guesses wanted */
    int32_t n_rows;  /* of the next step without them */
    int32_t row;     /* of the pass before: where its streams are (MTP) */
    float chance;    /* that all guesses so far are right (DSpark) */
    bool is_stopped; /* no further guess */
} want;

struct hd_drafter {
    hd_drafter_opts opts;
    hd_model *m;
    hd_lookup *lookup;
    want *want;              /* [max_seqs] */
    int32_t n_wants, n_rows; /* rows: of the next step */
    /* of a pass */
    hd_v4_part *part;  /* [max_seqs] */
    int32_t *src;      /* [max_rows] */
    hd_seq **seq;      /* [max_seqs] */
    int32_t *id;       /* [max_seqs] */
    int32_t *before;   /* [max_seqs] */
    want **of;         /* [max_seqs]: whose each guess is */
    float *confidence; /* f32 [max_seqs] */
    float *logits;     /* f32 [max_seqs, V] */
};

/* ---- create, destroy --------------------------------------------------------------------------*/

static hd_status check_kind(hd_drafter *d, hd_err *err)
{
    hd_draft_kind has = d->m->has_draft ? d->m->cfg.draft : HD_DRAFT_NONE;
    hd_guess_kind best = has == HD_DRAFT_MTP      ? HD_GUESS_MTP
                         : has == HD_DRAFT_DSPARK ? HD_GUESS_DSPARK
                                                  : HD_GUESS_NONE;
    hd_guess_kind *kind = &d->opts.kind;
    if (*kind == HD_GUESS_BEST) *kind = best;
    if ((*kind == HD_GUESS_MTP || *kind == HD_GUESS_DSPARK) && *kind != best)
        HD_FAIL(err, HD_E_UNSUPPORTED, "drafts by '%s' are asked for, and the model has %s",
                *kind == HD_GUESS_MTP ? "mtp" : "dspark",
                has == HD_DRAFT_NONE ? "no draft head, or it was not loaded"
                                     : "another draft head");
    return HD_OK;
}

static hd_status alloc_arrays(hd_drafter *d, hd_err *err)
{
    size_t n = (size_t)d->m->max_seqs, v = (size_t)d->m->cfg.vocab_size;
    d->want = hd_mem_try_calloc(n, sizeof *d->want);
    d->part = hd_mem_try_calloc(n, sizeof *d->part);
    d->src = hd_mem_try_calloc((size_t)d->m->max_rows, sizeof *d->src);
    d->seq = hd_mem_try_calloc(n, sizeof(hd_seq *));
    d->id = hd_mem_try_calloc(n, sizeof *d->id);
    d->before = hd_mem_try_calloc(n, sizeof *d->before);
    d->of = hd_mem_try_calloc(n, sizeof(want *));
    d->confidence = hd_mem_try_calloc(n, sizeof *d->confidence);
    d->logits = hd_mem_try_calloc(n * v, sizeof *d->logits); /* touched when used */
    if (!d->want || !d->part || !d->src || !d->seq || !d->id || !d->before || !d->of ||
        !d->confidence || !d->logits)
        HD_FAIL(err, HD_E_NOMEM, "out of memory for the drafts of %zu sequences", n);
    return HD_OK;
}

hd_status hd_drafter_create(const hd_drafter_opts *opts, hd_drafter **out, hd_err *err)
{
    hd_status st;
    hd_drafter *d = hd_mem_calloc(1, sizeof *d);
    d->opts = *opts;
    d->m = opts->model;
    HD_TRY_GOTO(st, fail, check_kind(d, err));
    HD_TRY_GOTO(st, fail, alloc_arrays(d, err));
    if (d->opts.kind == HD_GUESS_LOOKUP)
        HD_TRY_GOTO(st, fail, hd_lookup_create(d->m->max_seqs, d->m->max_ctx, &d->lookup, err));
    *out = d;
    return HD_OK;
fail:
    hd_drafter_destroy(d);
    return st;
}

void hd_drafter_destroy(hd_drafter *d)
{
    if (!d) return;
    hd_lookup_destroy(d->lookup);
    hd_mem_free(d->want);
    hd_mem_free(d->part);
    hd_mem_free(d->src);
    hd_mem_free(d->seq);
    hd_mem_free(d->id);
    hd_mem_free(d->before);
    hd_mem_free(d->of);
    hd_mem_free(d->confidence);
    hd_mem_free(d->logits);
    hd_mem_free(d);
}

hd_guess_kind hd_drafter_kind(const hd_drafter *d)
{
    return d->opts.kind;
}

void hd_drafter_begin(hd_drafter *d, hd_request *r)
{
    r->n_draft = 0;
    if (d->lookup) hd_lookup_reset(d->lookup, r->seq->slot);
}

/* ---- what is wanted ---------------------------------------------------------------------------*/

static bool generates(const hd_request *r)
{
    return hd_seq_len(r->seq) + 1 == r->n_text && !r->replay_end && hd_request_n_new(r) > 0;
}

/* Guesses that could be kept: the last token of a request needs none. */
static int32_t max_guesses(const hd_drafter *d, const hd_request *r)
{
    int32_t n = HD_DRAFT_ROWS;
    if (n > r->max_new - hd_request_n_new(r) - 1) n = r->max_new - hd_request_n_new(r) - 1;
    if (n > d->m->max_ctx - r->n_text - 1) n = d->m->max_ctx - r->n_text - 1;
    if (d->opts.kind == HD_GUESS_DSPARK && n > d->m->cfg.dspark_block_size)
        n = d->m->cfg.dspark_block_size;
    return n;
}

static void find_wants(hd_drafter *d, const hd_draft_step *step)
{
    d->n_wants = d->n_rows = 0;
    for (int32_t i = 0; i < step->n_run; i++) {
        step->run[i]->n_draft = 0;
        d->n_rows += generates(step->run[i]);
    }
    for (int32_t i = 0; i < step->n_run; i++) {
        hd_request *r = step->run[i];
        if (!generates(r) || r->no_draft || r->is_paused || r->is_cancelled) continue;
        int32_t n = hd_pace_length(&r->pace, d->n_rows, max_guesses(d, r));
        if (n == 0) continue;
        d->want[d->n_wants++] =
            (want){.r = r, .max = n, .n_rows = d->n_rows, .row = -1, .chance = 1};
        d->n_rows += n; /* dearer for the next one */
    }
}

/* ---- guesses from logits ----------------------------------------------------------------------*/

static bool is_greedy(const hd_sampling *how)
{
    return how->temperature == 0.0f && how->repetition_penalty == 1.0f &&
           how->presence_penalty == 0.0f && how->frequency_penalty == 0.0f && how->n_bias == 0;
}

/* Draws that follow the request's settings are right more often than the most likely token: the
 * noise is that of the draw to come. */
static float *logits_wanted(const hd_drafter *d, int32_t n)
{
    for (int32_t i = 0; i < n; i++)
        if (!is_greedy(&d->of[i]->r->how)) return d->logits;
    return NULL;
}

/* The i-th guess of the pass goes behind the text; false: there is none. */
static bool take_guess(hd_drafter *d, int32_t i)
{
    hd_request *r = d->of[i]->r;
    int32_t id = d->id[i], n = r->n_text + r->n_draft;
    hd_sample_args args = {.logits = d->logits + (size_t)i * (size_t)d->m->cfg.vocab_size,
                           .how = &r->how,
                           .position = (uint64_t)n,
                           .ids = r->text,
                           .n_ids = (size_t)n,
                           .n_prompt = (size_t)r->n_prompt};
    if (!is_greedy(&r->how) && hd_sampler_draw(d->opts.sampler, &args, &id, NULL) != HD_OK)
        return false;
    r->text[n] = id;
    r->n_draft++;
    return true;
}

/* ---- MTP --------------------------------------------------------------------------------------*/

static want *want_of(const hd_drafter *d, const hd_request *r)
{
    for (int32_t i = 0; i < d->n_wants; i++)
        if (d->want[i].r == r) return &d->want[i];
    return NULL;
}

/* The rows of the step that the head's rings need: the last 128 of each text. Guesses are wanted
 * behind the last rows of those that generate. Returns how many; d->of tells whose they are. */
static int32_t plan_first_pass(hd_drafter *d, const hd_draft_step *step, hd_v4_mtp_pass *pass)
{
    int32_t n_rows = 0, n_wanted = 0;
    *pass = (hd_v4_mtp_pass){.part = d->part, .src = d->src, .is_first = true};
    for (int32_t i = 0, row0 = 0; i < step->n_parts; row0 += step->part[i++].n) {
        const hd_v4_part *p = &step->part[i];
        hd_request *r = step->of_part[i];
        if (!r || r->no_draft || r->pace.rest > 0) continue;
        int32_t end = hd_seq_len(r->seq), first = r->n_text - 1 - LOOK_BACK;
        if (first < p->pos0) first = p->pos0;
        if (first >= end) continue;
        want *w = want_of(d, r);
        for (int32_t pos = first; pos < end; pos++) d->src[n_rows++] = row0 + pos - p->pos0;
        d->part[pass->n_parts++] = (hd_v4_part){.seq = r->seq,
                                                .ids = r->text + first + 1,
                                                .n = end - first,
                                                .pos0 = first,
                                                .n_logits = w != NULL,
                                                .is_replay = true};
        if (!w) continue;
        w->row = n_rows - 1;
        d->of[n_wanted++] = w;
    }
    return n_wanted;
}

/* One row for each that wants another guess: its last one, and where it came from. */
static int32_t plan_next_pass(hd_drafter *d, hd_v4_mtp_pass *pass)
{
    int32_t n = 0;
    *pass = (hd_v4_mtp_pass){.part = d->part, .src = d->src};
    for (int32_t i = 0; i < d->n_wants; i++) {
        want *w = &d->want[i];
        hd_request *r = w->r;
        if (w->row < 0 || w->is_stopped || r->n_draft >= w->max) continue;
        int32_t pos = r->n_text - 2 + r->n_draft;
        d->part[n] = (hd_v4_part){.seq = r->seq,
                                  .ids = r->text + pos + 1,
                                  .n = 1,
                                  .pos0 = pos,
                                  .n_logits = 1,
                                  .is_replay = true};
        d->src[n] = w->row;
        w->row = n;
        d->of[n++] = w;
    }
    pass->n_parts = n;
    return n;
}

static hd_status guess_by_mtp(hd_drafter *d, const hd_draft_step *step, hd_err *err)
{
    hd_v4_mtp_pass pass;
    int32_t n = plan_first_pass(d, step, &pass);
    while (pass.n_parts > 0) {
        hd_v4_guesses out = {.id = d->id, .logits = logits_wanted(d, n)};
        HD_TRY(hd_v4_mtp_run(d->m, &pass, &out, err));
        for (int32_t i = 0; i < n; i++) d->of[i]->is_stopped = !out.is_finite || !take_guess(d, i);
        n = plan_next_pass(d, &pass);
    }
    return HD_OK;
}

/* ---- DSpark -----------------------------------------------------------------------------------*/

static float probability(float x)
{
    return 1.0f / (1.0f + hd_expf(-x));
}

/* Those of the group that go on, token by token; all of them run, the others for nothing. */
static hd_status guess_group(hd_drafter *d, int32_t n, int32_t longest, hd_err *err)
{
    for (int32_t i = 0; i < n; i++) {
        d->seq[i] = d->of[i]->r->seq;
        d->before[i] = d->of[i]->r->text[d->of[i]->r->n_text - 1];
    }
    HD_TRY(hd_v4_dspark_begin(d->m, d->seq, d->before, n, err));
    bool goes_on = true;
    for (int32_t k = 0; k < longest && goes_on; k++) {
        hd_v4_guesses out = {
            .id = d->id, .logits = logits_wanted(d, n), .confidence = d->confidence};
        HD_TRY(hd_v4_dspark_next(d->m, k, d->before, n, &out, err));
        goes_on = false;
        for (int32_t i = 0; i < n; i++) {
            want *w = d->of[i];
            w->chance *= probability(d->confidence[i]);
            if (!out.is_finite || k >= w->max ||
                w->chance * HD_PACE_ONE < (float)hd_pace_price(w->n_rows + k))
                w->is_stopped = true;
            if (!w->is_stopped) w->is_stopped = !take_guess(d, i);
            if (!w->is_stopped) d->before[i] = w->r->text[w->r->n_text + w->r->n_draft - 1];
            goes_on = goes_on || !w->is_stopped;
        }
    }
    for (int32_t i = 0; i < n; i++) /* a block for nothing is as bad as a wrong guess */
        if (d->of[i]->r->n_draft == 0) hd_pace_learn(&d->of[i]->r->pace, 1, 0);
    return HD_OK;
}

static hd_status guess_by_dspark(hd_drafter *d, hd_err *err)
{
    int32_t most = hd_v4_dspark_max_seqs(d->m);
    for (int32_t i = 0, n; i < d->n_wants; i += n) {
        int32_t longest = 0;
        for (n = 0; n < most && i + n < d->n_wants; n++) {
            d->of[n] = &d->want[i + n];
            if (d->of[n]->max > longest) longest = d->of[n]->max;
        }
        HD_TRY(guess_group(d, n, longest, err));
    }
    return HD_OK;
}

/* ---- all --------------------------------------------------------------------------------------*/

static void guess_by_lookup(hd_drafter *d)
{
    for (int32_t i = 0; i < d->n_wants; i++) {
        hd_request *r = d->want[i].r;
        r->n_draft = hd_lookup_find(d->lookup, r->seq->slot, r->text, r->n_text, d->want[i].max,
                                    r->text + r->n_text);
    }
}

/* What the grammar does not allow would be refused for sure. */
static void cut_by_grammar(hd_request *r)
{
    int32_t n = 0;
    while (n < r->n_draft && hd_matcher_advance(r->matcher, r->text[r->n_text + n], NULL) == HD_OK)
        n++;
    bool is_back = hd_matcher_rollback(r->matcher, (unsigned)n);
    HD_ASSERT(is_back);
    r->n_draft = n;
}

hd_status hd_drafter_guess(hd_drafter *d, const hd_draft_step *step, hd_err *err)
{
    if (d->opts.kind == HD_GUESS_NONE) return HD_OK;
    find_wants(d, step);
    if (d->opts.kind == HD_GUESS_MTP) HD_TRY(guess_by_mtp(d, step, err));
    if (d->opts.kind == HD_GUESS_DSPARK) HD_TRY(guess_by_dspark(d, err));
    if (d->opts.kind == HD_GUESS_LOOKUP) guess_by_lookup(d);
    for (int32_t i = 0; i < d->n_wants; i++)
        if (d->want[i].r->matcher) cut_by_grammar(d->want[i].r);
    return HD_OK;
}
