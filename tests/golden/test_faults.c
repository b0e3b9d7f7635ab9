/* Deliberate faults: the golden checks of a whole layer pass without them and fail with each.
 *
 * Every fault runs on a model of one layer from the bundled golden data. In front of the golden
 * text another one runs in the same sequence slot, whose leftovers must not matter. Two checks,
 * those of test_model.c: the logits from the ids alone, and the stage that the fault is in, fed
 * with golden inputs, which is the sharper one. The figures are printed at the end; `ref` gives the
 * same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "support/faultdev.h"
#include "support/goldenprobe.h"
#include "support/modelrun.h"

/* So many times the limit is an error of a stage with a fault in it at least: no matter of luck. */
#define STAGE_MARGIN 8.0

typedef struct fault_case {
    faultdev_fault fault;
    const char *what, *set;
    const char *feed; /* golden inputs of the stage, and */
    const char *stage;
    bool in_logits; /* not so where it acts at too few positions of the text to break the limits */
} fault_case;

static const fault_case fault_cases[] = {
    {FAULTDEV_ROPE_OFF_BY_ONE, "compressed rows one position off", "one-layer-csa", "attn_in",
     "comp_kv", true},
    {FAULTDEV_ROPE_OFF_BY_ONE, "compressed rows one position off", "one-layer-hca", "attn_in",
     "comp_kv", true},
    {FAULTDEV_NO_INVERSE_ROPE, "no inverse rotation", "one-layer-csa", "o_rot", "attn_out", true},
    {FAULTDEV_NO_INVERSE_ROPE, "no inverse rotation", "one-layer-hca", "o_rot", "attn_out", true},
    {FAULTDEV_NIBBLES, "nibbles of FP4 weights swapped", "one-layer-csa",
     "ffn_in route_id route_w shared_out", "ffn_out", true},
    {FAULTDEV_NO_HADAMARD, "indexer without Hadamard", "one-layer-csa", "attn_in qr", "index_q",
     true},
    {FAULTDEV_NO_HADAMARD, "indexer without Hadamard", "one-layer-csa", "attn_in", "index_k", true},
    {FAULTDEV_STALE_CARRY, "carry of the sequence before", "one-layer-csa", "attn_in", "comp_kv",
     true},
    {FAULTDEV_UNCLAMPED, "shared expert unclamped", "one-layer-csa", "ffn_in", "shared_out", false},
    {FAULTDEV_UNCLAMPED, "shared expert unclamped", "one-layer-hca", "ffn_in", "shared_out", true},
    {FAULTDEV_MASKED, "compressed rows masked", "one-layer-csa", "q kv_all comp_kv index_topk",
     "o_rot", true},
    {FAULTDEV_MASKED, "compressed rows masked", "one-layer-hca", "q kv_all comp_kv", "o_rot", true},
};

/* One test. */
typedef struct subject {
    const fault_case *c;
    char name[128];
    golden_error logits[2], stage[2]; /* without the fault, and with it */
    bool has_run, is_caught;
} subject;

static subject subjects[HD_COUNT(fault_cases)];

typedef struct text {
    hd_st *st;
    int32_t n, *ids, *others; /* others: the same ids backwards */
    float *logits;            /* f32 [n, V] */
} text;

static void text_open(text *t, const char *dir, const hd_model *m)
{
    golden_case cases[GOLDEN_MAX_CASES];
    (void)golden_cases(dir, cases);
    assert_int_equal(cases[0].prefill, cases[0].n_tokens); /* it has the intermediates */
    *t = (text){.st = golden_open(dir, cases[0].file), .n = cases[0].n_tokens};
    t->ids = golden_i32(golden_get(t->st, "ids"));
    t->others = golden_i32(golden_get(t->st, "ids"));
    for (int32_t i = 0; i < t->n; i++) t->others[i] = t->ids[t->n - 1 - i];
    t->logits = hd_mem_calloc((size_t)t->n * (size_t)m->cfg.vocab_size, sizeof(float));
}

static void text_close(text *t)
{
    hd_st_close(t->st);
    hd_mem_free(t->ids);
    hd_mem_free(t->others);
    hd_mem_free(t->logits);
}

/* The golden text behind another one, in the same slot. */
static void run(hd_model *m, const text *t, hd_probe *p)
{
    modelrun_run(m, &(modelrun_job){.ids = t->others, .n = t->n, .logits = t->logits});
    modelrun_run(m, &(modelrun_job){.ids = t->ids, .n = t->n, .logits = t->logits, .probe = p});
}

static golden_error logits_error(hd_model *m, const text *t)
{
    run(m, t, NULL);
    return golden_compare(t->logits, golden_get(t->st, "logits"));
}

static golden_error stage_error(hd_model *m, const text *t, const fault_case *c)
{
    char name[64], golden[80];
    hd_probe *p = hd_probe_create(t->n);
    for (const char *at = c->feed; *at;) {
        size_t len = strcspn(at, " ");
        snprintf(name, sizeof name, "L0.%.*s", (int)len, at);
        snprintf(golden, sizeof golden, "cap.%s", name);
        golden_feed(p, name, golden_get(t->st, golden));
        at += len + (at[len] == ' ');
    }
    snprintf(name, sizeof name, "L0.%s", c->stage);
    snprintf(golden, sizeof golden, "cap.%s", name);
    golden_capture(p, name);
    run(m, t, p);
    golden_error e = golden_compare_captured(p, name, golden_get(t->st, golden));
    hd_probe_destroy(p);
    return e;
}

static bool logits_pass(golden_error e)
{
    return e.all <= GOLDEN_LAYER_LIMIT && e.median <= GOLDEN_MEDIAN_LIMIT;
}

static void test_fault(void **state)
{
    subject *s = *state;
    const fault_case *c = s->c;
    text t;
    const char *dir = golden_dir(c->set);
    assert_non_null(dir);
    hd_model *m = modelrun_open(dir, &(modelrun_device){"cpu", NULL},
                                (hd_model_opts){.max_seqs = 1, .unfused = true});
    text_open(&t, dir, m);
    for (int with = 0; with < 2; with++) {
        faultdev_bend(m, with ? c->fault : FAULTDEV_NONE);
        s->logits[with] = logits_error(m, &t);
        s->stage[with] = stage_error(m, &t, c);
        faultdev_mend();
    }
    golden_error mended = logits_error(m, &t);
    s->has_run = true;
    text_close(&t);
    hd_model_close(m);

    assert_true(logits_pass(s->logits[0]));
    assert_true(s->stage[0].all <= GOLDEN_STAGE_LIMIT);
    assert_true(mended.n_differ == s->logits[0].n_differ);
    if (c->in_logits) assert_false(logits_pass(s->logits[1]));
    assert_true(s->stage[1].all >= STAGE_MARGIN * GOLDEN_STAGE_LIMIT);
    s->is_caught = true;
}

static void print_figures(void)
{
    size_t n_run = 0, n_caught = 0;
    printf(
        "\nrelative L2 error without -> with a fault; limits: logits %.0e (median over positions), "
        "%.0e (all), a stage %.0e\n",
        GOLDEN_MEDIAN_LIMIT, GOLDEN_LAYER_LIMIT, GOLDEN_STAGE_LIMIT);
    for (size_t i = 0; i < HD_COUNT(subjects); i++) {
        const subject *s = &subjects[i];
        if (!s->has_run) continue;
        printf("  %-60s logits %.0e -> %.1e (median), %.1e -> %.1e (all); stage %.0e -> %.1e\n",
               s->name, s->logits[0].median, s->logits[1].median, s->logits[0].all,
               s->logits[1].all, s->stage[0].all, s->stage[1].all);
        n_run++;
        n_caught += s->is_caught;
    }
    printf("summary: deliberate faults: golden checks caught %zu of %zu\n", n_caught, n_run);
}

/* test_faults [PATTERN]: only the tests whose names match. */
int main(int argc, char **argv)
{
    static struct CMUnitTest tests[HD_COUNT(subjects)];
    for (size_t i = 0; i < HD_COUNT(fault_cases); i++) {
        subject *s = &subjects[i];
        s->c = &fault_cases[i];
        snprintf(s->name, sizeof s->name, "%s: %s, %s", s->c->set, s->c->what, s->c->stage);
        tests[i] = (struct CMUnitTest){s->name, test_fault, NULL, NULL, s};
    }
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    int n_failed = _cmocka_run_group_tests("golden faults", tests, HD_COUNT(tests), NULL, NULL);
    print_figures();
    return n_failed;
}
