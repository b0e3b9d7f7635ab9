/* Draft heads as the engine runs them, several sequences at once and only the rows that matter,
 * against the plain forms: one sequence at a time, all rows. The same bits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/draft.h"
#include "support/modelrun.h"

enum { N_SEQS = 3, V = 512, BLOCK = 5, MAX_LEN = 310 };

static const int32_t len_of[N_SEQS] = {300, 90, 257};
static const modelrun_device fastest = {"cpu", NULL};
static int32_t ids[N_SEQS][MAX_LEN];

static hd_model *open_model(const char *preset)
{
    return modelrun_open(
        modelrun_synth(preset), &fastest,
        (hd_model_opts){.max_seqs = N_SEQS, .max_ctx = 400, .max_rows = 400, .load_draft = 1});
}

static void make_ids(void)
{
    for (int32_t s = 0; s < N_SEQS; s++)
        for (int32_t i = 0; i < MAX_LEN; i++) ids[s][i] = (i * i * 7 + i * 31 + s * 101) % V;
}

/* Positions begin … end − 1 of one text. */
static hd_v4_part part_of(hd_seq *seq, int32_t s, int32_t begin, int32_t end)
{
    return (hd_v4_part){.seq = seq, .ids = ids[s] + begin, .n = end - begin, .pos0 = begin};
}

static void new_seq(hd_model *m, hd_seq **out)
{
    hd_err err = {0};
    modelrun_check(hd_seq_create(m, out, &err), "hd_seq_create", &err);
}

/* ---- MTP --------------------------------------------------------------------------------------*/

/* Logits behind the last row of each text, from hd_v4_mtp over all rows: f32 [N_SEQS, V]. */
static void mtp_plain(float *last)
{
    hd_err err = {0};
    hd_model *m = open_model("unit-mtp");
    float *all = hd_mem_calloc((size_t)MAX_LEN * V, sizeof *all);
    for (int32_t s = 0; s < N_SEQS; s++) {
        hd_seq *seq;
        hd_v4_step step;
        new_seq(m, &seq);
        hd_v4_part part = part_of(seq, s, 0, len_of[s]);
        modelrun_check(hd_v4_run_parts(m, &part, 1, NULL, &step, &err), "step", &err);
        modelrun_check(hd_v4_mtp(m, &step, ids[s] + 1, all, &err), "mtp", &err);
        memcpy(last + s * V, all + (size_t)(len_of[s] - 1) * V, V * sizeof *last);
        hd_seq_destroy(seq);
    }
    hd_mem_free(all);
    hd_model_close(m);
}

/* The end of each text in one step and one pass; of what came before, the last 128 rows. */
static void test_mtp_pass(void **state)
{
    (void)state;
    hd_err err = {0};
    hd_v4_step step;
    static float want[N_SEQS * V], got[N_SEQS * V];
    int32_t src[400], id[N_SEQS];
    hd_seq *seq[N_SEQS];
    hd_v4_part part[N_SEQS];
    make_ids();
    mtp_plain(want);
    hd_model *m = open_model("unit-mtp");
    hd_v4_guesses out = {.id = id, .logits = got};
    for (int32_t s = 0; s < N_SEQS; s++) { /* all but the last three, one by one */
        int32_t n = len_of[s] - 3, first = n > 130 ? n - 130 : 0;
        new_seq(m, &seq[s]);
        part[s] = part_of(seq[s], s, 0, n);
        modelrun_check(hd_v4_run_parts(m, &part[s], 1, NULL, &step, &err), "step", &err);
        hd_v4_part tail = part_of(seq[s], s, first + 1, n + 1);
        tail.pos0 = first;
        tail.is_replay = true;
        for (int32_t i = 0; i < n - first; i++) src[i] = first + i;
        hd_v4_mtp_pass pass = {.part = &tail, .n_parts = 1, .src = src, .is_first = true};
        modelrun_check(hd_v4_mtp_run(m, &pass, &out, &err), "pass", &err);
        assert_true(out.is_finite);
    }
    for (int32_t s = 0; s < N_SEQS; s++) part[s] = part_of(seq[s], s, len_of[s] - 3, len_of[s]);
    modelrun_check(hd_v4_run_parts(m, part, N_SEQS, NULL, &step, &err), "step", &err);
    for (int32_t s = 0; s < N_SEQS; s++) {
        part[s].ids++;
        part[s].is_replay = true;
        part[s].n_logits = 1;
    }
    for (int32_t i = 0; i < 3 * N_SEQS; i++) src[i] = i;
    hd_v4_mtp_pass pass = {.part = part, .n_parts = N_SEQS, .src = src, .is_first = true};
    modelrun_check(hd_v4_mtp_run(m, &pass, &out, &err), "pass", &err);
    assert_memory_equal(got, want, sizeof want);
    for (int32_t s = 0; s < N_SEQS; s++) /* the most likely token */
        for (int32_t i = 0; i < V; i++) assert_true(got[s * V + i] <= got[s * V + id[s]]);
    /* Further, each from its own outcome: other logits, and no trace in the sequence. */
    for (int32_t s = 0; s < N_SEQS; s++) {
        part[s] = (hd_v4_part){seq[s], &id[s], 1, len_of[s], 1, true};
        src[s] = 3 * s + 2;
    }
    int32_t next[N_SEQS];
    out.id = next;
    pass.is_first = false;
    modelrun_check(hd_v4_mtp_run(m, &pass, &out, &err), "pass", &err);
    for (int32_t s = 0; s < N_SEQS; s++) {
        assert_memory_not_equal(got + s * V, want + s * V, V * sizeof *got);
        assert_int_equal(hd_seq_len(seq[s]), len_of[s]);
        hd_seq_destroy(seq[s]);
    }
    hd_model_close(m);
}

/* ---- DSpark -----------------------------------------------------------------------------------*/

static void test_dspark_of_several(void **state)
{
    (void)state;
    hd_err err = {0};
    hd_v4_step step;
    static float want[N_SEQS][BLOCK * V], got[N_SEQS * V];
    int32_t tokens[N_SEQS][BLOCK + 1], before[N_SEQS], id[N_SEQS];
    float conf[N_SEQS][BLOCK], confidence[N_SEQS];
    hd_seq *seq[N_SEQS];
    make_ids();
    hd_model *m = open_model("unit");
    for (int32_t s = 0; s < N_SEQS; s++) {
        new_seq(m, &seq[s]);
        hd_v4_part part = part_of(seq[s], s, 0, len_of[s]);
        modelrun_check(hd_v4_run_parts(m, &part, 1, NULL, &step, &err), "step", &err);
        before[s] = ids[s][len_of[s]];
        const hd_v4_draft_out one = {tokens[s], want[s], conf[s]};
        modelrun_check(hd_v4_dspark(m, seq[s], before[s], &one, &err), "draft", &err);
    }
    assert_in_range(hd_v4_dspark_max_seqs(m), N_SEQS, HD_DRAFT_SEQS);
    modelrun_check(hd_v4_dspark_begin(m, seq, before, N_SEQS, &err), "begin", &err);
    for (int32_t i = 0; i < BLOCK; i++) {
        hd_v4_guesses out = {.id = id, .logits = got, .confidence = confidence};
        modelrun_check(hd_v4_dspark_next(m, i, before, N_SEQS, &out, &err), "next", &err);
        assert_true(out.is_finite);
        for (int32_t s = 0; s < N_SEQS; s++) {
            assert_memory_equal(got + s * V, want[s] + i * V, V * sizeof *got);
            assert_memory_equal(&confidence[s], &conf[s][i], sizeof(float));
            assert_int_equal(id[s], tokens[s][i + 1]);
            before[s] = id[s];
        }
    }
    for (int32_t s = 0; s < N_SEQS; s++) hd_seq_destroy(seq[s]);
    hd_model_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mtp_pass),
        cmocka_unit_test(test_dspark_of_several),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
