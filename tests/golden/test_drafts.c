/* Draft heads: the same bits on every device, and no trace in the sequence.
 *
 * MTP logits and DSpark drafts of made-up checkpoints are compared with `ref`, from prompts cut in
 * several ways, in batches, behind clones, with one to three threads. That the values are right is
 * the business of test_model.c, which needs golden sets that are not bundled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "model/draft.h"
#include "support/modelrun.h"

enum { N_TOKENS = 300, FEW_TOKENS = 110, VOCAB = 512, BLOCK = 5 };

/* Around the borders of the window (128) and of the ring (256), and shortly before the end. */
static const int32_t draft_at[] = {5, 6, 100, 127, 128, 129, 200, 255, 256, 257, 298};
enum { N_DRAFTS = HD_COUNT(draft_at), FEW_DRAFTS = 3 /* in FEW_TOKENS */, DRAFT_OF_CLONE = 6 };

typedef struct result {
    float logits[N_TOKENS * VOCAB], mtp[N_TOKENS * VOCAB];
    int32_t tokens[N_DRAFTS * (BLOCK + 1)];
    float draft_logits[N_DRAFTS * BLOCK * VOCAB], confidence[N_DRAFTS * BLOCK];
} result;

static int32_t ids[N_TOKENS];
static result *want_dspark, *want_mtp; /* by ref, in one prefill where that is possible */
static result *got;

static void expect_same(const char *what, const void *a, const void *b, size_t bytes)
{
    if (memcmp(a, b, bytes) != 0) fail_msg("%s differ", what);
}

/* ---- running ------------------------------------------------------------------------------------
 */

static hd_model *open_with_draft(const char *preset, const modelrun_device *d, hd_model_opts opts)
{
    opts.max_ctx = N_TOKENS;
    opts.load_draft = 1;
    hd_model *m = modelrun_open(modelrun_synth(preset), d, opts);
    assert_int_equal(m->cfg.vocab_size, VOCAB);
    return m;
}

static void run_mtp(hd_model *m, result *r, int32_t n, int32_t chunk)
{
    modelrun_run(
        m, &(modelrun_job){.ids = ids, .n = n, .chunk = chunk, .logits = r->logits, .mtp = r->mtp});
}

static void run_dspark(hd_model *m, result *r, int32_t n, int32_t n_drafts, int32_t prefill)
{
    assert_int_equal(m->cfg.dspark_block_size, BLOCK);
    modelrun_run(m, &(modelrun_job){.ids = ids,
                                    .n = n,
                                    .prefill = prefill,
                                    .logits = r->logits,
                                    .draft_at = draft_at,
                                    .n_drafts = n_drafts,
                                    .draft_tokens = r->tokens,
                                    .draft_logits = r->draft_logits,
                                    .draft_confidence = r->confidence});
}

/* Drafts i … i + n − 1 of `a` are those of the baseline from i0 on. */
static void expect_drafts(const result *a, size_t n, size_t i0)
{
    const result *b = want_dspark;
    expect_same("drafted tokens", a->tokens, b->tokens + i0 * (BLOCK + 1),
                n * (BLOCK + 1) * sizeof *a->tokens);
    expect_same("logits of drafts", a->draft_logits, b->draft_logits + i0 * BLOCK * VOCAB,
                n * BLOCK * VOCAB * sizeof *a->draft_logits);
    expect_same("confidences", a->confidence, b->confidence + i0 * BLOCK,
                n * BLOCK * sizeof *a->confidence);
}

static int set_up(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < N_TOKENS; i++) ids[i] = (int32_t)hd_rng_below(hd_rng_at(11, i), VOCAB);
    want_dspark = hd_mem_calloc(1, sizeof *want_dspark);
    want_mtp = hd_mem_calloc(1, sizeof *want_mtp);
    got = hd_mem_calloc(1, sizeof *got);
    hd_model *m = open_with_draft("unit-mtp", &modelrun_devices[0], (hd_model_opts){0});
    run_mtp(m, want_mtp, N_TOKENS, 0);
    hd_model_close(m);
    m = open_with_draft("unit", &modelrun_devices[0], (hd_model_opts){0});
    run_dspark(m, want_dspark, N_TOKENS, N_DRAFTS, draft_at[0]);
    /* A draft leaves no trace: the same logits from a model that never drafts. */
    modelrun_run(m, &(modelrun_job){.ids = ids, .n = N_TOKENS, .logits = got->logits});
    expect_same("logits with and without drafts", want_dspark->logits, got->logits,
                sizeof got->logits);
    hd_model_close(m);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hd_mem_free(want_dspark);
    hd_mem_free(want_mtp);
    hd_mem_free(got);
    return 0;
}

/* The scalar devices get the first part of the text. */
static bool is_slow(const modelrun_device *d)
{
    return strstr(d->name, "ref") || (d->isa && strcmp(d->isa, "portable") == 0);
}

/* ---- DSpark -------------------------------------------------------------------------------------
 */

/* The clone drafts what the original would, and both can go on. */
static void check_clone(hd_model *m)
{
    hd_err err = {0};
    hd_seq *seq, *copy;
    int32_t at = draft_at[DRAFT_OF_CLONE];
    const hd_v4_draft_out out = {got->tokens, got->draft_logits, got->confidence};
    modelrun_check(hd_seq_create(m, &seq, &err), "hd_seq_create", &err);
    modelrun_check(hd_model_step(m, &(hd_step_item){seq, ids, at + 1, 0, NULL}, 1, &err), "step",
                   &err);
    modelrun_check(hd_seq_clone(seq, &copy, &err), "hd_seq_clone", &err);
    for (int i = 0; i < 2; i++) {
        memset(got, 0, sizeof *got);
        modelrun_check(hd_v4_dspark(m, i ? seq : copy, ids[at + 1], &out, &err), "draft", &err);
        expect_drafts(got, 1, DRAFT_OF_CLONE);
    }
    modelrun_check(
        hd_model_step(m, &(hd_step_item){copy, ids + at + 1, 1, 1, got->logits}, 1, &err),
        "step of the clone", &err);
    expect_same("logits behind a draft", got->logits, want_dspark->logits + (at + 1) * VOCAB,
                VOCAB * sizeof(float));
    hd_seq_destroy(seq);
    hd_seq_destroy(copy);
}

static void test_dspark(void **state)
{
    const modelrun_device *d = *state;
    bool slow = is_slow(d);
    size_t n = slow ? FEW_TOKENS : N_TOKENS, n_drafts = slow ? FEW_DRAFTS : N_DRAFTS;
    for (int32_t threads = 1; threads <= (slow ? 1 : 3); threads++) {
        hd_model *m = open_with_draft(
            "unit", d,
            (hd_model_opts){.max_seqs = 2, .n_threads = threads, .unfused = threads == 2});
        memset(got, 0, sizeof *got);
        run_dspark(m, got, (int32_t)n, (int32_t)n_drafts, threads == 1 ? draft_at[0] : 3);
        expect_same("logits", got->logits, want_dspark->logits, n * VOCAB * sizeof(float));
        expect_drafts(got, n_drafts, 0);
        if (!slow) check_clone(m);
        hd_model_close(m);
    }
}

/* ---- MTP ----------------------------------------------------------------------------------------
 */

/* Two sequences in one step: the text's first and second hundred, the latter behind the former. */
static void check_pair(hd_model *m)
{
    enum { HALF = 100 };
    hd_err err = {0};
    hd_seq *a, *b;
    hd_v4_step step;
    float *dst[2 * HALF];
    int32_t next[2 * HALF];
    modelrun_check(hd_seq_create(m, &a, &err), "hd_seq_create", &err);
    modelrun_check(hd_seq_create(m, &b, &err), "hd_seq_create", &err);
    for (int32_t i = 0; i < 2 * HALF; i++) {
        dst[i] = got->logits + i * VOCAB;
        next[i] = ids[i + 1];
    }
    const hd_v4_part first = {.seq = b, .ids = ids, .n = HALF, .n_logits = HALF};
    modelrun_check(hd_v4_run_parts(m, &first, 1, dst, &step, &err), "first half", &err);
    modelrun_check(hd_v4_mtp(m, &step, next, got->mtp, &err), "mtp of the first half", &err);
    const hd_v4_part both[] = {
        {.seq = a, .ids = ids, .n = HALF, .n_logits = HALF},
        {.seq = b, .ids = ids + HALF, .n = HALF, .pos0 = HALF, .n_logits = HALF}};
    memset(got, 0, sizeof *got);
    modelrun_check(hd_v4_run_parts(m, both, 2, dst, &step, &err), "both", &err);
    modelrun_check(hd_v4_mtp(m, &step, next, got->mtp, &err), "mtp of both", &err);
    expect_same("logits of two", got->logits, want_mtp->logits, 2 * HALF * VOCAB * sizeof(float));
    expect_same("mtp logits of two", got->mtp, want_mtp->mtp, 2 * HALF * VOCAB * sizeof(float));
    hd_seq_destroy(a);
    hd_seq_destroy(b);
}

static void test_mtp(void **state)
{
    static const int32_t chunks[] = {129, 1, 64};
    const modelrun_device *d = *state;
    bool slow = is_slow(d);
    size_t n = slow ? FEW_TOKENS : N_TOKENS;
    for (int32_t i = 0; i < (slow ? 1 : 3); i++) {
        hd_model *m = open_with_draft(
            "unit-mtp", d, (hd_model_opts){.max_seqs = 2, .n_threads = i + 1, .unfused = i == 1});
        memset(got, 0, sizeof *got);
        run_mtp(m, got, (int32_t)n, slow ? 64 : chunks[i]);
        expect_same("logits", got->logits, want_mtp->logits, n * VOCAB * sizeof(float));
        expect_same("mtp logits", got->mtp, want_mtp->mtp, (n - 1) * VOCAB * sizeof(float));
        if (!slow) check_pair(m);
        hd_model_close(m);
    }
}

/* test_drafts [PATTERN]: only the tests whose names match. */
int main(int argc, char **argv)
{
    static struct CMUnitTest tests[64];
    static char names[64][64];
    size_t n = 0;
    setenv("HADAL_TRACE", "/dev/null", 0);
    for (const modelrun_device *d = modelrun_devices; d->name; d++)
        for (int mtp = 0; modelrun_has(d) && mtp < 2; mtp++) {
            snprintf(names[n], sizeof names[n], "%s on %s", mtp ? "MTP" : "DSpark",
                     modelrun_label(d));
            tests[n] = (struct CMUnitTest){names[n], mtp ? test_mtp : test_dspark, NULL, NULL,
                                           (void *)(uintptr_t)d};
            n++;
        }
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    return _cmocka_run_group_tests("draft bits", tests, n, set_up, tear_down);
}
