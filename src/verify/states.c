/* Logits of the device against its own: whatever has happened to a sequence, they have the bits of
 * a run from the start. Here through steps of the model; sched_states.c goes through the engine. */
#include "verify/states.h"

#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/rng.h"

/* Lengths of the text: three blocks of 128 and a part, or one where the device is slow. */
enum { LONG_TEXT = 421, SHORT_TEXT = 165 };
/* What all checks here cost, in runs of the text; single tokens count more. */
#define RUNS_IN_ALL 40.0

/* ---- checks ---------------------------------------------------------------------------------- */

hd_verify_check *hd_states_begin(hd_states *s, const char *name, double runs)
{
    double seconds = s->cold_s * runs, left = hd_verify_left_s(s->v);
    if (left < seconds) {
        hd_verify_leave_out(s->v, "%s: takes about %.1f s, no time", name, seconds);
        return NULL;
    }
    hd_verify_progress(s->v, "%s, %d tokens", name, s->n);
    s->err = (hd_err){0};
    return hd_verify_add(s->v, "%s", name);
}

void hd_states_end(hd_states *s, hd_verify_check *c, hd_status st)
{
    if (st == HD_OK) return;
    hd_verify_fail(s->v, c, "%s", s->err.code != HD_OK ? s->err.text : hd_status_name(st));
}

hd_verify_rule hd_states_rule(void)
{
    static const double exact[HD_OPCASE_KINDS];
    return (hd_verify_rule){exact, "in a run from the start"};
}

/* ---- running a text -------------------------------------------------------------------------- */

/* Positions pos … end − 1 of `ids` as one piece; the logits of the text's last rows to where they
 * belong. */
static hd_status run_piece(hd_states *s, hd_seq *seq, const int32_t *ids, int32_t end,
                           float *logits)
{
    int32_t pos = hd_seq_len(seq), first = s->n - HD_STATES_LAST;
    int32_t from = pos > first ? pos : first;
    hd_step_item item = {.seq = seq, .ids = ids + pos, .n_ids = end - pos};
    if (logits && end > first) {
        item.n_logits = end - from;
        item.logits = logits + (size_t)(from - first) * (size_t)s->m->cfg.vocab_size;
    }
    return item.n_ids > 0 ? hd_model_step(s->m, &item, 1, &s->err) : HD_OK;
}

typedef hd_status state_run(hd_states *s, hd_seq *seq, float *logits);

static hd_status run_again(hd_states *s, hd_seq *seq, float *logits)
{
    return run_piece(s, seq, s->ids, s->n, logits);
}

static hd_status run_chunked(hd_states *s, hd_seq *seq, float *logits)
{
    static const int32_t sizes[] = {1, 7, 64, 3, 128, 5, 33, 2};
    for (size_t i = 0; hd_seq_len(seq) < s->n; i++) {
        int32_t end = hd_seq_len(seq) + sizes[i % HD_COUNT(sizes)];
        HD_TRY(run_piece(s, seq, s->ids, end < s->n ? end : s->n, logits));
    }
    return HD_OK;
}

/* The last rows one at a time, as they are generated. */
static hd_status run_decoded(hd_states *s, hd_seq *seq, float *logits)
{
    HD_TRY(run_piece(s, seq, s->ids, s->n - HD_STATES_LAST, logits));
    while (hd_seq_len(seq) < s->n) HD_TRY(run_piece(s, seq, s->ids, hd_seq_len(seq) + 1, logits));
    return HD_OK;
}

/* A copy goes on while the original goes another way, past what it had in common. */
static hd_status run_forked(hd_states *s, hd_seq *seq, float *logits)
{
    hd_seq *copy;
    int32_t fork = s->n - HD_STATES_LAST - 13;
    HD_TRY(run_piece(s, seq, s->ids, fork, NULL));
    HD_TRY(hd_seq_clone(seq, &copy, &s->err));
    hd_status st = run_piece(s, seq, s->others, s->n, NULL);
    if (st == HD_OK) st = run_piece(s, copy, s->ids, s->n, logits);
    hd_seq_destroy(copy);
    return st;
}

/* Eight drafted tokens are taken back. */
static hd_status run_rolled_back(hd_states *s, hd_seq *seq, float *logits)
{
    int32_t back = s->n - HD_STATES_LAST - 3;
    HD_TRY(run_piece(s, seq, s->ids, back, NULL));
    HD_TRY(run_piece(s, seq, s->others, back + 8, NULL));
    hd_v4_state_rollback(seq, back);
    return run_piece(s, seq, s->ids, s->n, logits);
}

/* Back to a snapshot at a multiple of 128, when other tokens have gone over the window. */
static hd_status run_rewound(hd_states *s, hd_seq *seq, float *logits)
{
    int32_t back = (s->n - HD_STATES_LAST) / HD_SNAP_STEP * HD_SNAP_STEP;
    int32_t beyond = back + HD_RING_SLOTS < s->m->max_ctx ? HD_RING_SLOTS : s->m->max_ctx - back;
    HD_TRY(run_piece(s, seq, s->ids, back, NULL));
    uint8_t *snap = hd_mem_try_calloc(hd_v4_snap_bytes(s->m), 1);
    if (!snap) HD_FAIL(&s->err, HD_E_NOMEM, "out of memory for a snapshot");
    hd_status st = hd_v4_snap_save(seq, back, snap, &s->err);
    hd_step_item other = {.seq = seq, .ids = s->others, .n_ids = beyond < s->n ? beyond : s->n};
    if (st == HD_OK) st = hd_model_step(s->m, &other, 1, &s->err);
    if (st == HD_OK) st = hd_v4_snap_load(seq, back, snap, &s->err);
    hd_mem_free(snap);
    HD_TRY(st);
    hd_v4_state_rollback(seq, back);
    return run_piece(s, seq, s->ids, s->n, logits);
}

static const struct {
    const char *name;
    double runs; /* cost, in runs of the text */
    state_run *run;
} checks[] = {
    {"repeat.again", 1.0, run_again},
    {"state.chunked", 4.0, run_chunked},
    {"state.decoded", 3.0, run_decoded},
    {"state.forked", 2.0, run_forked},
    {"state.rolled-back", 2.0, run_rolled_back},
    {"state.rewound", 2.0, run_rewound},
};

static void check_steps(hd_states *s)
{
    float *logits =
        hd_mem_calloc((size_t)HD_STATES_LAST * (size_t)s->m->cfg.vocab_size, sizeof *logits);
    for (size_t i = 0; i < HD_COUNT(checks); i++) {
        hd_seq *seq;
        hd_verify_check *c = hd_states_begin(s, checks[i].name, checks[i].runs);
        if (!c) continue;
        hd_status st = hd_seq_create(s->m, &seq, &s->err);
        if (st == HD_OK) {
            st = checks[i].run(s, seq, logits);
            hd_seq_destroy(seq);
        }
        hd_states_end(s, c, st);
        if (st == HD_OK)
            hd_verify_compare_logits(s->v, c, "the text's last logits", HD_STATES_LAST, s->cold,
                                     logits, hd_states_rule());
    }
    hd_mem_free(logits);
}

/* ---- other thread counts --------------------------------------------------------------------- */

static void check_threads(hd_states *s, float *logits)
{
    static const char name[] = "repeat.threads";
    hd_verify *v = s->v;
    hd_states other = *s;
    hd_seq *seq;
    hd_model_opts opts = {.device = v->opts->device,
                          .isa = v->opts->isa,
                          .n_threads = s->m->dev->props.n_threads == 1 ? 3 : 1,
                          .max_seqs = 1,
                          .max_ctx = s->m->max_ctx};
    if (!s->m->dev->props.maps_host) {
        hd_verify_leave_out(v, "%s: '%s' has no threads to be counted", name,
                            s->m->dev->props.name);
        return;
    }
    hd_verify_check *c = hd_states_begin(s, name, 1.5 * s->m->dev->props.n_threads);
    if (!c) return;
    hd_status st = hd_model_open(v->opts->dir, &opts, &other.m, &other.err);
    if (st == HD_OK) {
        st = hd_seq_create(other.m, &seq, &other.err);
        if (st == HD_OK) {
            st = run_again(&other, seq, logits);
            hd_seq_destroy(seq);
        }
        hd_model_close(other.m);
    }
    s->err = other.err;
    hd_states_end(s, c, st);
    if (st == HD_OK)
        hd_verify_compare_logits(v, c, "the text's last logits", HD_STATES_LAST, s->cold, logits,
                                 hd_states_rule());
}

/* ---- all of it ------------------------------------------------------------------------------- */

static void fill_ids(hd_states *s)
{
    uint64_t vocab = (uint64_t)s->m->cfg.vocab_size;
    for (int32_t i = 0; i < LONG_TEXT; i++) {
        s->ids[i] = (int32_t)hd_rng_below(hd_rng_at(2, (uint64_t)i), vocab);
        s->others[i] = (int32_t)hd_rng_below(hd_rng_at(3, (uint64_t)i), vocab);
    }
}

static hd_status run_cold(hd_states *s, int32_t n, float *logits)
{
    hd_seq *seq;
    int64_t began = hd_clock_ns();
    s->n = n;
    HD_TRY(hd_seq_create(s->m, &seq, &s->err));
    hd_status st = run_again(s, seq, logits);
    hd_seq_destroy(seq);
    s->cold_s = (double)(hd_clock_ns() - began) * 1e-9;
    return st;
}

static bool fits(const hd_states *s, double run_s)
{
    return run_s * RUNS_IN_ALL < hd_verify_left_s(s->v);
}

/* The long text if there is time for all checks with it, by the speed of the short one; and if that
 * turns out to be wrong, the short one after all. */
static hd_status run_base(hd_states *s, float *logits)
{
    HD_TRY(run_cold(s, SHORT_TEXT, logits));
    if (s->m->max_ctx < LONG_TEXT + HD_RING_SLOTS / 2) return HD_OK;
    if (!fits(s, s->cold_s * LONG_TEXT / SHORT_TEXT)) return HD_OK;
    HD_TRY(run_cold(s, LONG_TEXT, logits));
    return fits(s, s->cold_s) ? HD_OK : run_cold(s, SHORT_TEXT, logits);
}

void hd_verify_states(hd_verify *v)
{
    hd_states s = {.v = v, .m = v->m};
    size_t n = (size_t)HD_STATES_LAST * (size_t)v->m->cfg.vocab_size;
    if (v->m->max_ctx < SHORT_TEXT + HD_RING_SLOTS / 2 || hd_verify_left_s(v) <= 0.0) {
        hd_verify_leave_out(v, "state.*, repeat.*: %s",
                            hd_verify_left_s(v) <= 0.0 ? "no time" : "too few positions");
        return;
    }
    s.ids = hd_mem_calloc(LONG_TEXT, sizeof *s.ids);
    s.others = hd_mem_calloc(LONG_TEXT, sizeof *s.others);
    float *cold = hd_mem_calloc(n, sizeof *cold), *again = hd_mem_calloc(n, sizeof *again);
    s.cold = cold;
    fill_ids(&s);
    hd_verify_progress(v, "a text from the start");
    hd_status st = run_base(&s, cold);
    if (st == HD_OK) {
        check_steps(&s);
        hd_states_run_sched(&s);
        check_threads(&s, again);
    } else {
        hd_states_end(&s, hd_verify_add(v, "state"), st);
    }
    hd_mem_free(s.ids);
    hd_mem_free(s.others);
    hd_mem_free(cold);
    hd_mem_free(again);
}
