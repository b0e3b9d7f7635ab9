/* Shared prefixes: whatever way a sequence came to its state, the bits of its logits are those of a
 * run from the start. Pages: nobody writes to what another reads, and none is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "support/modelrun.h"

enum { VOCAB = 512, MAX_CTX = 700, N = 460, LAYERS = 4 };

static const modelrun_device fastest = {"cpu", NULL};
static hd_model *model;
static int32_t text_a[N], text_b[N]; /* the same up to 384, then not */
static float *want_a, *want_b;       /* f32 [N, V]: of a run from the start */
static float row[VOCAB];

static hd_seq *new_seq(void)
{
    hd_err err = {0};
    hd_seq *seq;
    modelrun_check(hd_seq_create(model, &seq, &err), "hd_seq_create", &err);
    return seq;
}

/* Append ids [from, to) in steps of `chunk`; every last row is compared. */
static void run(hd_seq *seq, const int32_t *ids, int32_t from, int32_t to, int32_t chunk,
                const float *want)
{
    hd_err err = {0};
    assert_int_equal(hd_seq_len(seq), from);
    for (int32_t i = from; i < to; i += chunk) {
        int32_t n = to - i < chunk ? to - i : chunk;
        hd_step_item item = {.seq = seq, .ids = ids + i, .n_ids = n, .n_logits = 1, .logits = row};
        modelrun_check(hd_model_step(model, &item, 1, &err), "hd_model_step", &err);
        assert_memory_equal(row, want + (size_t)(i + n - 1) * VOCAB, sizeof row);
    }
}

/* Positions [from, to) again, over rows that are there. */
static void replay(hd_seq *seq, const int32_t *ids, int32_t from, int32_t to, int32_t chunk)
{
    hd_err err = {0};
    modelrun_check(hd_v4_state_replay(seq, from, &err), "hd_v4_state_replay", &err);
    for (int32_t i = from; i < to; i += chunk) {
        int32_t n = to - i < chunk ? to - i : chunk;
        hd_v4_part part = {.seq = seq, .ids = ids + i, .n = n, .pos0 = i, .is_replay = true};
        hd_v4_step step;
        modelrun_check(hd_v4_run_parts(model, &part, 1, NULL, &step, &err), "replay", &err);
    }
}

static int32_t n_free(hd_page_kind kind)
{
    return model->state.pool[kind].n_free;
}

static int set_up(void **state)
{
    (void)state;
    model = modelrun_open(modelrun_synth("unit"), &fastest,
                          (hd_model_opts){.max_ctx = MAX_CTX, .max_rows = 64, .max_seqs = 4});
    assert_int_equal(model->cfg.n_layers, LAYERS);
    for (int i = 0; i < N; i++) {
        text_a[i] = (i * i * 7 + i * 13) % 400;
        text_b[i] = i < 384 ? text_a[i] : (i * 11) % 400;
    }
    want_a = hd_mem_calloc((size_t)N * VOCAB, sizeof *want_a);
    want_b = hd_mem_calloc((size_t)N * VOCAB, sizeof *want_b);
    modelrun_run(model, &(modelrun_job){.ids = text_a, .n = N, .logits = want_a});
    modelrun_run(model, &(modelrun_job){.ids = text_b, .n = N, .logits = want_b});
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    for (int k = 0; k < HD_PAGE_KINDS; k++)
        assert_int_equal(n_free((hd_page_kind)k), model->state.pool[k].n_pages);
    hd_mem_free(want_a);
    hd_mem_free(want_b);
    hd_model_close(model);
    return 0;
}

/* ---- snapshots --------------------------------------------------------------------------------*/

static void test_snapshot_bytes(void **state)
{
    (void)state;
    /* per block 128 rows of 584 bytes; per ratio-4 layer 4 rows of (k, g), 512 and 128 wide */
    size_t window = 128 * 584, carry = 4 * 2 * (512 + 128) * sizeof(float), n_csa = 0;
    for (int i = 0; i < LAYERS; i++) n_csa += model->cfg.ratio[i] == 4;
    assert_true(n_csa > 0);
    assert_int_equal(hd_v4_snap_bytes(model), LAYERS * window + n_csa * carry);
}

static void test_snapshot_resumes(void **state)
{
    (void)state;
    hd_err err = {0};
    uint8_t *snap = hd_mem_calloc(hd_v4_snap_bytes(model), 1);
    hd_seq *a = new_seq();
    run(a, text_a, 0, 400, 50, want_a);
    assert_false(hd_v4_snap_ok(a, 200)); /* no multiple of 128 */
    assert_false(hd_v4_snap_ok(a, 256)); /* its window begins to be overwritten at 384 */
    assert_true(hd_v4_snap_ok(a, 384));
    modelrun_check(hd_v4_snap_save(a, 384, snap, &err), "hd_v4_snap_save", &err);

    hd_seq *b = new_seq();
    hd_v4_state_adopt(b, 384, a->page[HD_PAGE_CSA], a->page[HD_PAGE_HCA]);
    modelrun_check(hd_v4_snap_load(b, 384, snap, &err), "hd_v4_snap_load", &err);
    assert_int_equal(hd_seq_len(b), 384);
    run(b, text_b, 384, N, 33, want_b); /* another text from here on */
    run(a, text_a, 400, N, 1, want_a);  /* and the first has not noticed */
    hd_seq_destroy(a);
    hd_seq_destroy(b);
    hd_mem_free(snap);
}

/* Loading a snapshot into the sequence that it was taken of rewinds it. */
static void test_snapshot_rewinds(void **state)
{
    (void)state;
    hd_err err = {0};
    uint8_t *snap = hd_mem_calloc(hd_v4_snap_bytes(model), 1);
    hd_seq *a = new_seq();
    run(a, text_a, 0, 256, 64, want_a);
    modelrun_check(hd_v4_snap_save(a, 256, snap, &err), "hd_v4_snap_save", &err);
    run(a, text_a, 256, N, 40, want_a);
    modelrun_check(hd_v4_snap_load(a, 256, snap, &err), "hd_v4_snap_load", &err);
    assert_int_equal(hd_seq_len(a), 256);
    hd_v4_state_rollback(a, 256);
    run(a, text_b, 256, N, 17, want_b);
    hd_seq_destroy(a);
    hd_mem_free(snap);
}

/* Refused drafts: up to 8 rows are taken back, at any place in a group, and leave no trace. */
static void test_rollback(void **state)
{
    (void)state;
    hd_err err = {0};
    hd_seq *a = new_seq();
    for (int32_t pos = 0; pos < 300;) {
        static int32_t wrong[9];
        int32_t keep = 1 + pos % 7;
        if (pos < 110) keep = 9; /* to where both ratios have groups that end */
        for (int i = 0; i < 9; i++) wrong[i] = i < keep ? text_a[pos + i] : 401 + i;
        hd_step_item item = {.seq = a, .ids = wrong, .n_ids = 9, .n_logits = 0};
        modelrun_check(hd_model_step(model, &item, 1, &err), "hd_model_step", &err);
        pos += keep;
        hd_v4_state_rollback(a, pos);
        if (pos > 280) run(a, text_a, pos, pos + 4, 2, want_a), pos += 4;
    }
    hd_seq_destroy(a);
}

/* ---- replay -------------------------------------------------------------------------------------
 */

static void test_replay_restores(void **state)
{
    (void)state;
    static const int32_t chunks[] = {64, 1, 37};
    hd_seq *a = new_seq();
    run(a, text_a, 0, 384, 64, want_a);
    assert_int_equal(hd_v4_replay_from(model, 384), 0);
    assert_int_equal(hd_v4_replay_from(model, 640), 640 - LAYERS * 128);
    for (size_t i = 0; i < HD_COUNT(chunks); i++) {
        hd_seq *b = new_seq();
        hd_v4_state_adopt(b, 384, a->page[HD_PAGE_CSA], a->page[HD_PAGE_HCA]);
        replay(b, text_b, 0, 384, chunks[i]);
        run(b, text_b, 384, N, 50, want_b);
        hd_seq_destroy(b);
    }
    run(a, text_a, 384, N, 64, want_a);
    hd_seq_destroy(a);
}

/* From 128 · layers before, with nothing known of what is in front: the window that counts is
 * right, whatever stood in the ring. */
static void test_replay_of_the_last_layers_x_128(void **state)
{
    (void)state;
    enum { LONG = 690, AT = 640 };
    static int32_t ids[LONG];
    static float want[VOCAB];
    hd_err err = {0};
    for (int i = 0; i < LONG; i++) ids[i] = (i * 17 + i * i) % 400;
    hd_seq *a = new_seq(), *b = new_seq();
    for (int i = 0; i < LONG; i += 10) {
        hd_step_item item = {.seq = a, .ids = ids + i, .n_ids = 10, .n_logits = 1, .logits = want};
        modelrun_check(hd_model_step(model, &item, 1, &err), "hd_model_step", &err);
    }
    run(b, text_a, 0, 200, 64, want_a); /* leaves another text's rows in ring and carries */
    hd_seq_reset(b);
    for (int32_t i = 0; i < LAYERS; i++) /* or what memory held before: here, NaN */
        for (int32_t k = 0; k < HD_RING_PAGES; k++)
            memset(model->state.block[i].window +
                       (size_t)b->page[HD_PAGE_WINDOW][k] * HD_PAGE_ROWS * HD_KV_ROW_BYTES,
                   0xFF, (size_t)HD_PAGE_ROWS * HD_KV_ROW_BYTES);
    hd_v4_state_adopt(b, AT, a->page[HD_PAGE_CSA], a->page[HD_PAGE_HCA]);
    replay(b, ids, hd_v4_replay_from(model, AT), AT, 64);
    hd_step_item item = {
        .seq = b, .ids = ids + AT, .n_ids = LONG - AT, .n_logits = 1, .logits = row};
    modelrun_check(hd_model_step(model, &item, 1, &err), "hd_model_step", &err);
    assert_memory_equal(row, want, sizeof row);
    hd_seq_destroy(a);
    hd_seq_destroy(b);
}

/* ---- pages --------------------------------------------------------------------------------------
 */

/* A clone takes no page but for the partial ones, and the two go apart without a trace. */
static void test_clone_shares_full_pages(void **state)
{
    (void)state;
    hd_err err = {0};
    hd_seq *a = new_seq(), *b;
    run(a, text_a, 0, 390, 64, want_a); /* 97 rows of ratio 4: three pages and a row; 3 of 128 */
    int32_t csa = n_free(HD_PAGE_CSA), hca = n_free(HD_PAGE_HCA);
    modelrun_check(hd_seq_clone(a, &b, &err), "hd_seq_clone", &err);
    assert_int_equal(n_free(HD_PAGE_CSA), csa - 1);
    assert_int_equal(n_free(HD_PAGE_HCA), hca - 1);
    assert_int_equal(a->page[HD_PAGE_CSA][2], b->page[HD_PAGE_CSA][2]);
    run(b, text_a, 390, N, 20, want_a);
    run(a, text_a, 390, N, 3, want_a);
    hd_seq_destroy(a);
    run(b, text_a, N, N, 1, want_a);
    hd_seq_destroy(b);
}

/* The writer of a shared page goes on in place; a second one copies. */
static void test_one_writer(void **state)
{
    (void)state;
    hd_seq *a = new_seq(), *b = new_seq();
    run(a, text_a, 0, 384, 64, want_a);
    int32_t shared = a->page[HD_PAGE_HCA][0];
    hd_pages_seal(&model->state.pool[HD_PAGE_HCA], shared, 3);
    hd_v4_state_adopt(b, 384, a->page[HD_PAGE_CSA], a->page[HD_PAGE_HCA]);
    assert_int_equal(model->state.pool[HD_PAGE_HCA].holders[shared], 2);
    assert_int_equal(hd_v4_state_wants(a, HD_PAGE_HCA, 600), 0);
    assert_int_equal(hd_v4_state_wants(b, HD_PAGE_HCA, 600), 1); /* the copy */
    assert_int_equal(hd_v4_state_wants(b, HD_PAGE_HCA, 500), 0); /* writes no row of ratio 128 */
    assert_int_equal(hd_v4_state_wants(b, HD_PAGE_CSA, 385 + 127), 1);
    replay(b, text_b, 0, 384, 64);
    run(b, text_b, 384, N, 64, want_b);
    assert_int_equal(b->page[HD_PAGE_HCA][0], shared); /* still: no row was due before 512 */
    hd_seq_destroy(a);
    assert_int_equal(model->state.pool[HD_PAGE_HCA].writer[shared], -1);
    assert_int_equal(model->state.pool[HD_PAGE_HCA].holders[shared], 1);
    hd_seq_destroy(b);
}

/* Too few pages: refused, and nothing has changed. */
static void test_reserve_all_or_nothing(void **state)
{
    (void)state;
    hd_err err = {0};
    hd_page_pool *p = &model->state.pool[HD_PAGE_HCA];
    hd_seq *a = new_seq();
    int32_t kept = p->n_free, csa = n_free(HD_PAGE_CSA);
    p->n_free = 0;
    assert_int_equal(hd_v4_state_reserve(a, 200, &err), HD_E_LIMIT);
    assert_non_null(strstr(err.text, "1 more pages of ratio 128, and 0 are free"));
    p->n_free = kept;
    assert_int_equal(n_free(HD_PAGE_CSA), csa);
    modelrun_check(hd_v4_state_reserve(a, 200, &err), "hd_v4_state_reserve", &err);
    hd_seq_destroy(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshot_bytes),
        cmocka_unit_test(test_snapshot_resumes),
        cmocka_unit_test(test_snapshot_rewinds),
        cmocka_unit_test(test_rollback),
        cmocka_unit_test(test_replay_restores),
        cmocka_unit_test(test_replay_of_the_last_layers_x_128),
        cmocka_unit_test(test_clone_shares_full_pages),
        cmocka_unit_test(test_one_writer),
        cmocka_unit_test(test_reserve_all_or_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
