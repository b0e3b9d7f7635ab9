/* The same bits: logits and drafts depend on the ids alone.
 *
 * Not on the device (ref, cpu with each instruction set, behind deferring and checking wrappers),
 * not on how the ids were cut into steps, what else was in a step, the number of threads, fused or
 * composed ops, or where a sequence has been before. Everything is compared with one cold prefill
 * by `ref` of a made-up checkpoint that has every kind of layer. test_model.c asks whether the
 * values are right; this asks whether they are one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "support/modelrun.h"

/* Beyond 64 positions the indexer chooses, from 128 on there are HCA rows, and from 256 on the
 * ring has gone round. */
static const int32_t lengths[] = {420, 300, 260, 131, 129, 64, 5};
enum { N_TEXTS = HD_COUNT(lengths), LONG_TEXT = 0, SHORT_TEXT = 3, MAX_CTX = 512 };

typedef struct text {
    int32_t n, *ids;
    float *logits; /* f32 [n, V], by ref */
} text;

typedef struct baseline {
    text text[N_TEXTS];
    size_t vocab;
} baseline;

static baseline base;

/* ---- comparing ----------------------------------------------------------------------------------
 */

static void expect_same(const char *what, const float *got, const float *want, size_t n, size_t row)
{
    size_t bytes = n * sizeof *got, i = 0;
    if (n == 0 || memcmp(got, want, bytes) == 0) return;
    while (memcmp(got + i, want + i, sizeof *got) == 0) i++;
    fail_msg("%s: row %zu, place %zu of %zu: %a, expected %a", what, i / row, i % row, row,
             (double)got[i], (double)want[i]);
}

static void expect_rows(const char *what, const float *got, const text *t, int32_t first, int32_t n)
{
    expect_same(what, got, t->logits + (size_t)first * base.vocab, (size_t)n * base.vocab,
                base.vocab);
}

/* ---- running ------------------------------------------------------------------------------------
 */

static float *new_logits(int32_t n)
{
    return hd_mem_calloc((size_t)n * base.vocab, sizeof(float));
}

static hd_model *open_unit(const modelrun_device *d, hd_model_opts opts)
{
    if (!opts.max_seqs) opts.max_seqs = 1;
    opts.max_ctx = MAX_CTX;
    return modelrun_open(modelrun_synth("unit"), d, opts);
}

static hd_seq *new_seq(hd_model *m)
{
    hd_err err = {0};
    hd_seq *seq;
    modelrun_check(hd_seq_create(m, &seq, &err), "hd_seq_create", &err);
    return seq;
}

static void step(hd_model *m, const hd_step_item *items, int32_t n)
{
    hd_err err = {0};
    modelrun_check(hd_model_step(m, items, n, &err), "hd_model_step", &err);
}

/* Ids [from, to) of a text, in pieces, with all logits compared. */
static void continue_text(const char *what, hd_model *m, hd_seq *seq, const text *t, int32_t to,
                          int32_t chunk)
{
    float *logits = new_logits(chunk);
    for (int32_t pos = hd_seq_len(seq); pos < to; pos = hd_seq_len(seq)) {
        int32_t n = to - pos < chunk ? to - pos : chunk;
        step(m, &(hd_step_item){seq, t->ids + pos, n, n, logits}, 1);
        expect_rows(what, logits, t, pos, n);
    }
    hd_mem_free(logits);
}

static void run_text(const char *what, hd_model *m, const text *t, int32_t chunk)
{
    hd_seq *seq = new_seq(m);
    continue_text(what, m, seq, t, t->n, chunk);
    hd_seq_destroy(seq);
}

static int set_up(void **state)
{
    (void)state;
    hd_model *m = open_unit(&modelrun_devices[0], (hd_model_opts){0});
    base.vocab = (size_t)m->cfg.vocab_size;
    for (size_t i = 0; i < N_TEXTS; i++) {
        text *t = &base.text[i];
        *t = (text){.n = lengths[i], .logits = new_logits(lengths[i])};
        t->ids = hd_mem_calloc((size_t)t->n, sizeof *t->ids);
        for (int32_t k = 0; k < t->n; k++)
            t->ids[k] = (int32_t)hd_rng_below(hd_rng_at(hd_rng_key(7, i), (uint64_t)k), base.vocab);
        modelrun_run(m, &(modelrun_job){.ids = t->ids, .n = t->n, .logits = t->logits});
    }
    hd_model_close(m);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (size_t i = 0; i < N_TEXTS; i++) {
        hd_mem_free(base.text[i].ids);
        hd_mem_free(base.text[i].logits);
    }
    return 0;
}

/* ---- what a test gets ---------------------------------------------------------------------------
 */

/* Scalar devices take 2 to 10 ms a token: they get the short text where the long one would be run
 * several times. */
static bool is_slow(const modelrun_device *d)
{
    return strstr(d->name, "ref") || (d->isa && strcmp(d->isa, "portable") == 0);
}

static const text *text_for(const modelrun_device *d)
{
    return &base.text[is_slow(d) ? SHORT_TEXT : LONG_TEXT];
}

/* ---- one sequence -------------------------------------------------------------------------------
 */

/* Each text goes through the slot and the pages of the one before. */
static void test_cold(void **state)
{
    const modelrun_device *d = *state;
    hd_model *m = open_unit(d, (hd_model_opts){0});
    for (size_t i = is_slow(d) ? SHORT_TEXT : 0; i < N_TEXTS; i++)
        run_text("cold prefill", m, &base.text[i], MAX_CTX);
    hd_model_close(m);
}

static void test_chunks(void **state)
{
    static const int32_t chunks[] = {1, 3, 4, 127, 128, 129};
    const modelrun_device *d = *state;
    char what[48];
    hd_model *m = open_unit(d, (hd_model_opts){0});
    for (size_t i = 0; i < HD_COUNT(chunks); i++) {
        snprintf(what, sizeof what, "chunks of %d", chunks[i]);
        run_text(what, m, text_for(d), chunks[i]);
    }
    hd_seq *seq = new_seq(m); /* a prompt, then token by token */
    continue_text("prompt", m, seq, text_for(d), 70, MAX_CTX);
    continue_text("token by token", m, seq, text_for(d), text_for(d)->n, 1);
    hd_seq_destroy(seq);
    hd_model_close(m);
}

static void test_reset(void **state)
{
    const modelrun_device *d = *state;
    hd_model *m = open_unit(d, (hd_model_opts){0});
    hd_seq *seq = new_seq(m);
    const text *t = text_for(d);
    continue_text("before reset", m, seq, t, t->n, MAX_CTX);
    hd_seq_reset(seq);
    assert_int_equal(hd_seq_len(seq), 0);
    continue_text("after reset", m, seq, &base.text[SHORT_TEXT + 1], 2, MAX_CTX);
    continue_text("after reset, on", m, seq, &base.text[SHORT_TEXT + 1], lengths[SHORT_TEXT + 1],
                  60);
    hd_seq_destroy(seq);
    hd_model_close(m);
}

static void test_unfused(void **state)
{
    const modelrun_device *d = *state;
    hd_model *m = open_unit(d, (hd_model_opts){.unfused = 1});
    run_text("compositions", m, text_for(d), MAX_CTX);
    run_text("compositions, chunks", m, text_for(d), 50);
    hd_model_close(m);
}

/* ---- many sequences -----------------------------------------------------------------------------
 */

/* A round: each unfinished sequence sits out, gives one id, or gives many; in any order. */
static int32_t plan_round(uint64_t key, hd_seq *const *seq, float *const *logits, bool is_last,
                          hd_step_item *items)
{
    int32_t n = 0;
    for (uint64_t i = 0; i < N_TEXTS; i++) {
        uint64_t s = (i + key) % N_TEXTS;
        const text *t = &base.text[s];
        int32_t left = t->n - hd_seq_len(seq[s]);
        uint32_t draw = hd_rng_below(hd_rng_at(key, 2 * i), 100);
        int32_t want = draw < 20   ? 0
                       : draw < 65 ? 1
                                   : 1 + (int32_t)hd_rng_below(hd_rng_at(key, 2 * i + 1), 150);
        if (want > left || is_last) want = left;
        if (want == 0) continue;
        int32_t n_logits = draw % 5 == 0 ? 0 : draw % 5 == 1 ? 1 : want;
        items[n++] = (hd_step_item){.seq = seq[s],
                                    .ids = t->ids + t->n - left,
                                    .n_ids = want,
                                    .n_logits = n_logits,
                                    .logits = n_logits ? logits[s] : NULL};
    }
    return n;
}

static int32_t text_of(hd_seq *const *seq, const hd_seq *one)
{
    int32_t s = 0;
    while (seq[s] != one) s++;
    return s;
}

/* Seven sequences at different positions, prefill and decode mixed, until all texts are through. */
static void run_batch(hd_model *m, uint64_t seed)
{
    hd_seq *seq[N_TEXTS];
    float *logits[N_TEXTS];
    hd_step_item items[N_TEXTS];
    for (size_t s = 0; s < N_TEXTS; s++) {
        seq[s] = new_seq(m);
        logits[s] = new_logits(lengths[s]);
    }
    for (uint64_t round = 0; round < 40; round++) {
        int32_t n = plan_round(hd_rng_key(seed, round), seq, logits, round == 39, items);
        step(m, items, n);
        for (int32_t i = 0; i < n; i++)
            expect_rows("batch of 7", items[i].logits, &base.text[text_of(seq, items[i].seq)],
                        hd_seq_len(items[i].seq) - items[i].n_logits, items[i].n_logits);
    }
    for (size_t s = 0; s < N_TEXTS; s++) {
        assert_int_equal(hd_seq_len(seq[s]), lengths[s]);
        hd_seq_destroy(seq[s]);
        hd_mem_free(logits[s]);
    }
}

static void test_batch(void **state)
{
    const modelrun_device *d = *state;
    if (is_slow(d)) skip();
    for (int32_t max_rows = 64; max_rows <= 512; max_rows *= 8) { /* 64: rounds are cut */
        hd_model *m = open_unit(d, (hd_model_opts){.max_seqs = N_TEXTS, .max_rows = max_rows});
        run_batch(m, (uint64_t)max_rows);
        hd_model_close(m);
    }
}

/* For the scalar devices: two sequences, short. */
static void test_pair(void **state)
{
    const modelrun_device *d = *state;
    hd_model *m = open_unit(d, (hd_model_opts){.max_seqs = 2});
    const text *a = &base.text[SHORT_TEXT], *b = &base.text[SHORT_TEXT + 1];
    hd_seq *sa = new_seq(m), *sb = new_seq(m);
    float *la = new_logits(a->n), *lb = new_logits(b->n);
    continue_text("alone", m, sa, a, 66, 66);
    for (int32_t pos = 66; pos < 76; pos++) { /* one decodes while the other takes its prompt */
        int32_t n = b->n - hd_seq_len(sb) < 13 ? b->n - hd_seq_len(sb) : 13;
        int32_t from = hd_seq_len(sb);
        const hd_step_item items[] = {{sb, b->ids + from, n, n, lb}, {sa, a->ids + pos, 1, 1, la}};
        step(m, items, 2);
        expect_rows("pair, prompt", lb, b, from, n);
        expect_rows("pair, decode", la, a, pos, 1);
    }
    hd_seq_destroy(sa);
    hd_seq_destroy(sb);
    hd_mem_free(la);
    hd_mem_free(lb);
    hd_model_close(m);
}

/* ---- clones -------------------------------------------------------------------------------------
 */

/* `other` follows on the first p ids of the text; its logits come from a cold run. */
static text make_branch(hd_model *m, const text *t, int32_t p, const text *other)
{
    text branch = {.n = p + other->n, .logits = new_logits(p + other->n)};
    branch.ids = hd_mem_calloc((size_t)branch.n, sizeof *branch.ids);
    memcpy(branch.ids, t->ids, (size_t)p * sizeof *branch.ids);
    memcpy(branch.ids + p, other->ids, (size_t)other->n * sizeof *branch.ids);
    modelrun_run(m, &(modelrun_job){.ids = branch.ids, .n = branch.n, .logits = branch.logits});
    return branch;
}

static hd_seq *clone(hd_seq *seq)
{
    hd_err err = {0};
    hd_seq *copy;
    modelrun_check(hd_seq_clone(seq, &copy, &err), "hd_seq_clone", &err);
    assert_int_equal(hd_seq_len(copy), hd_seq_len(seq));
    return copy;
}

static void check_clone(hd_model *m, const text *t, int32_t p)
{
    text branch = make_branch(m, t, p, &base.text[SHORT_TEXT + 2]);
    hd_seq *a = new_seq(m), *b, *c;
    continue_text("before clone", m, a, t, p, MAX_CTX);
    b = clone(a);
    c = clone(b);
    continue_text("clone goes another way", m, b, &branch, p + 40, 7);
    continue_text("original goes on", m, a, t, t->n, 50);
    hd_seq_destroy(a);
    continue_text("original is gone", m, b, &branch, branch.n, 1);
    hd_seq_destroy(b);
    continue_text("clone of a clone", m, c, t, t->n, MAX_CTX);
    hd_seq_destroy(c);
    hd_mem_free(branch.ids);
    hd_mem_free(branch.logits);
}

static void test_clone(void **state)
{
    const modelrun_device *d = *state;
    static const int32_t places[] = {129, 3, 0, 66, 127, 257, 300};
    hd_model *m = open_unit(d, (hd_model_opts){.max_seqs = 3});
    for (size_t i = 0; i < (is_slow(d) ? 1 : HD_COUNT(places)); i++)
        check_clone(m, text_for(d), places[i]);
    hd_model_close(m);
}

/* ---- the tests ----------------------------------------------------------------------------------
 */

static void test_threads(void **state)
{
    const modelrun_device *d = *state;
    for (int32_t n = 1; n <= 3; n++) {
        hd_model *m = open_unit(d, (hd_model_opts){.max_seqs = N_TEXTS, .n_threads = n});
        run_text("threads", m, text_for(d), MAX_CTX);
        run_text("threads, chunks", m, &base.text[SHORT_TEXT], 3);
        if (!is_slow(d)) run_batch(m, 1000 + (uint64_t)n);
        hd_model_close(m);
    }
}

typedef struct kind {
    const char *name;
    void (*run)(void **state);
} kind;

static const kind kinds[] = {
    {"cold", test_cold}, {"chunks", test_chunks}, {"reset", test_reset}, {"unfused", test_unfused},
    {"pair", test_pair}, {"batch", test_batch},   {"clone", test_clone}, {"threads", test_threads}};

/* test_bits [PATTERN]: only the tests whose names match, as in "chunks on cpu*". */
int main(int argc, char **argv)
{
    enum { MAX_TESTS = 128 };
    static struct CMUnitTest tests[MAX_TESTS];
    static char names[MAX_TESTS][64];
    size_t n = 0;
    setenv("HADAL_TRACE", "/dev/null", 0);
    for (const modelrun_device *d = modelrun_devices; d->name; d++)
        for (size_t i = 0; modelrun_has(d) && i < HD_COUNT(kinds); i++) {
            snprintf(names[n], sizeof names[n], "%s on %s", kinds[i].name, modelrun_label(d));
            tests[n] =
                (struct CMUnitTest){names[n], kinds[i].run, NULL, NULL, (void *)(uintptr_t)d};
            n++;
        }
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return _cmocka_run_group_tests("same bits", tests, n, set_up, tear_down);
}
