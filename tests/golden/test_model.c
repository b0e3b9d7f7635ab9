/* The whole model against golden data of DeepSeek's reference code, on every device.
 *
 * Quantising to FP8 turns a difference in the last bit into a whole step now and then, and random
 * layers amplify it. So the sharp tests give each stage, each layer and each draft head its golden
 * input and compare its result; runs from the ids alone only show gross errors in deep models.
 * Limits are those that the golden data asks for (the README beside it): plain FP32 sums in any
 * order stay well below, planted mistakes well above. What ran and how close it came is printed at
 * the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "support/golden.h"
#include "support/goldenprobe.h"
#include "support/modelrun.h"

#define SHORT_TOKENS 8 /* up to here no value lies near a rounding border, in these texts */

typedef struct set {
    const char *name, *short_name;
    bool is_deep;
} set;

static const set sets[] = {
    {"one-layer-window", "one layer", false}, {"one-layer-csa", "one layer", false},
    {"one-layer-hca", "one layer", false},    {"one-layer-csa-wide", "one layer", false},
    {"v4-base-tiny", "base", true},           {"v4-pro-tiny", "pro", true},
    {"v4-flash-tiny", "flash", true},
};

/* One test: a set on a device. */
typedef struct subject {
    const set *set;
    const modelrun_device *device;
    char dir[2048], name[96];
    int n_cases; /* that were run */
} subject;

static subject subjects[HD_COUNT(sets) * 16];
static size_t n_subjects;

/* ---- what is remembered for the end -------------------------------------------------------------
 */

typedef struct record {
    char what[64];
    double all, median; /* the worst */
} record;

static record records[128];
static size_t n_records;

static void remember(const char *what, const golden_error *e)
{
    size_t i = 0;
    while (i < n_records && strcmp(records[i].what, what) != 0) i++;
    if (i == HD_COUNT(records)) fail_msg("too many records");
    if (i == n_records) snprintf(records[n_records++].what, sizeof records[i].what, "%s", what);
    if (e->all > records[i].all) records[i].all = e->all;
    if (e->median > records[i].median) records[i].median = e->median;
}

/* A limit of 0: none. */
static void expect(const subject *s, const char *what, golden_error e, double all, double median)
{
    char key[64];
    snprintf(key, sizeof key, "%s: %s", s->set->short_name, what);
    remember(key, &e);
    if ((all > 0.0 && !(e.all <= all)) || (median > 0.0 && !(e.median <= median)))
        fail_msg("%s: error %.2e in all (limit %.2e), %.2e in the median (limit %.2e)", what, e.all,
                 all, e.median, median);
}

static void expect_equal(const char *what, golden_error e)
{
    if (e.n_differ) fail_msg("%s: %zu of %zu differ", what, e.n_differ, e.n);
}

/* ---- one text -----------------------------------------------------------------------------------
 */

typedef struct text {
    hd_st *st;
    int32_t *ids, n, prefill;
    float *logits; /* [n, V] */
    float *mtp;    /* [n, V] */
    size_t vocab;
} text;

static void text_open(text *t, const char *dir, const golden_case *c, const hd_model *m)
{
    *t = (text){.st = golden_open(dir, c->file), .n = c->n_tokens, .prefill = c->prefill};
    t->ids = golden_i32(golden_get(t->st, "ids"));
    t->vocab = (size_t)m->cfg.vocab_size;
    t->logits = hd_mem_calloc((size_t)t->n * t->vocab, sizeof(float));
    t->mtp = hd_mem_calloc((size_t)t->n * t->vocab, sizeof(float));
}

static void text_close(text *t)
{
    hd_st_close(t->st);
    hd_mem_free(t->ids);
    hd_mem_free(t->logits);
    hd_mem_free(t->mtp);
}

/* The golden logits are those of the last positions: all, the last 64, or the decoded ones. */
static golden_error compare_logits(const text *t)
{
    const hd_st_tensor *want = golden_get(t->st, "logits");
    size_t first = (size_t)t->n - (size_t)want->shape[0];
    assert_int_equal(want->shape[1], t->vocab);
    return golden_compare(t->logits + first * t->vocab, want);
}

static hd_model *open_model(const subject *s, int32_t max_ctx, bool draft, bool unfused)
{
    return modelrun_open(
        s->dir, s->device,
        (hd_model_opts){
            .max_seqs = 1, .max_ctx = max_ctx, .load_draft = draft, .unfused = unfused});
}

/* ---- stages of a one-layer model ----------------------------------------------------------------
 */

typedef void (*point_action)(const subject *s, const text *t, hd_probe *p, const char *point,
                             const hd_st_tensor *want);

static void feed_point(const subject *s, const text *t, hd_probe *p, const char *point,
                       const hd_st_tensor *want)
{
    char name[64];
    (void)s, (void)t;
    snprintf(name, sizeof name, "L0.%s", point);
    golden_feed(p, name, want);
}

static void capture_point(const subject *s, const text *t, hd_probe *p, const char *point,
                          const hd_st_tensor *want)
{
    char name[64];
    (void)s, (void)t, (void)want;
    snprintf(name, sizeof name, "L0.%s", point);
    golden_capture(p, name);
}

static void check_point(const subject *s, const text *t, hd_probe *p, const char *point,
                        const hd_st_tensor *want)
{
    char name[64];
    (void)t;
    snprintf(name, sizeof name, "L0.%s", point);
    golden_error e = golden_compare_captured(p, name, want);
    if (want->dtype == HD_DTYPE_I32)
        expect_equal(point, e);
    else
        expect(s, point, e, hd_golden_stage_limit(point, want->dtype), 0.0);
}

/* For each point of the list that this kind of layer has. */
static int for_points(const char *list, point_action act, const subject *s, const text *t,
                      hd_probe *p)
{
    int n = 0;
    while (*list) {
        char point[32];
        size_t len = strcspn(list, " ");
        snprintf(point, sizeof point, "%.*s", (int)len, list);
        list += len + (list[len] == ' ');
        const hd_st_tensor *want = golden_find(t->st, "cap.L0.", point);
        if (!want) continue;
        act(s, t, p, point, want);
        n++;
    }
    return n;
}

static void check_stages(const subject *s, hd_model *m, text *t)
{
    int n = 0;
    const hd_golden_stages *run;
    for (size_t i = 0; (run = hd_golden_stages_at(i)); i++) {
        hd_probe *p = hd_probe_create(t->n);
        for_points(run->feed, feed_point, s, t, p);
        for_points(run->capture, capture_point, s, t, p);
        modelrun_run(m, &(modelrun_job){.ids = t->ids, .n = t->n, .probe = p, .logits = t->logits});
        n += for_points(run->capture, check_point, s, t, p);
        if (i == 1) expect(s, "logits from 'out'", compare_logits(t), GOLDEN_STAGE_LIMIT, 0.0);
        hd_probe_destroy(p);
    }
    assert_true(n >= 19); /* of a window layer; the others have more */
}

/* ---- whole layers -------------------------------------------------------------------------------
 */

/* What lies behind layer l: the next layer's input, or behind the last its own 'out'. */
static const hd_st_tensor *golden_behind(const text *t, const hd_model *m, int32_t l)
{
    char name[32];
    snprintf(name, sizeof name, l + 1 < m->cfg.n_layers ? "cap.L%d.in" : "cap.L%d.out",
             l + 1 < m->cfg.n_layers ? l + 1 : l);
    return golden_get(t->st, name);
}

/* Each layer from its golden input, and the head and the MTP block from golden streams. */
static void check_layers(const subject *s, hd_model *m, text *t)
{
    char name[32];
    const hd_st_tensor *mtp = golden_find(t->st, "", "mtp_logits");
    hd_probe *p = hd_probe_create(t->n);
    for (int32_t l = 0; l < m->cfg.n_layers; l++) {
        snprintf(name, sizeof name, "cap.L%d.in", l);
        golden_feed(p, name + 4, golden_get(t->st, name));
        snprintf(name, sizeof name, "L%d.out", l);
        golden_capture(p, name);
    }
    modelrun_run(m, &(modelrun_job){.ids = t->ids, .n = t->n, .probe = p, .logits = t->logits});
    for (int32_t l = 0; l < m->cfg.n_layers; l++) {
        static const char *const kinds[] = {"window layer", "CSA layer", "HCA layer"};
        snprintf(name, sizeof name, "L%d.out", l);
        expect(s, kinds[hd_config_kind(&m->cfg, l)],
               golden_compare_captured(p, name, golden_behind(t, m, l)), GOLDEN_LAYER_LIMIT,
               GOLDEN_MEDIAN_LIMIT);
    }
    hd_probe_destroy(p);

    p = hd_probe_create(t->n);
    snprintf(name, sizeof name, "L%d.out", m->cfg.n_layers - 1);
    golden_feed(p, name, golden_behind(t, m, m->cfg.n_layers - 1));
    modelrun_run(
        m,
        &(modelrun_job){
            .ids = t->ids, .n = t->n, .probe = p, .logits = t->logits, .mtp = mtp ? t->mtp : NULL});
    expect(s, "logits from 'out'", compare_logits(t), GOLDEN_STAGE_LIMIT, 0.0);
    if (mtp)
        expect(s, "mtp_logits from 'out'", golden_compare(t->mtp, mtp), GOLDEN_LAYER_LIMIT,
               GOLDEN_MEDIAN_LIMIT);
    hd_probe_destroy(p);
}

/* ---- DSpark -------------------------------------------------------------------------------------
 */

typedef struct drafts {
    int32_t n, *at, *tokens; /* [n], [n, block + 1] */
    float *logits;           /* f32 [n, block, V] */
    float *confidence;       /* f32 [n, block] */
} drafts;

static bool drafts_init(drafts *d, const text *t, const hd_model *m)
{
    const hd_st_tensor *at = golden_find(t->st, "", "dspark_at");
    size_t block = (size_t)m->cfg.dspark_block_size;
    *d = (drafts){0};
    if (!at) return false;
    d->n = (int32_t)at->shape[0];
    d->at = golden_i32(at);
    d->tokens = hd_mem_calloc((size_t)d->n * (block + 1), sizeof *d->tokens);
    d->logits = hd_mem_calloc((size_t)d->n * block * t->vocab, sizeof *d->logits);
    d->confidence = hd_mem_calloc((size_t)d->n * block, sizeof *d->confidence);
    return true;
}

static void drafts_deinit(drafts *d)
{
    hd_mem_free(d->at);
    hd_mem_free(d->tokens);
    hd_mem_free(d->logits);
    hd_mem_free(d->confidence);
}

/* From golden rings. A few values cross a rounding border within three stages, and a draft that
 * then differs changes those behind it: hence the median, and 19 of 20 tokens. */
static void expect_drafts(const subject *s, const text *t, const drafts *d)
{
    golden_error tokens = golden_compare(d->tokens, golden_get(t->st, "dspark_tokens"));
    if (tokens.n_differ * 20 > tokens.n)
        fail_msg("%zu of %zu drafted tokens differ", tokens.n_differ, tokens.n);
    expect(s, "dspark_logits from 'out'",
           golden_compare(d->logits, golden_get(t->st, "dspark_logits")), GOLDEN_DEEP_LIMIT,
           GOLDEN_MEDIAN_LIMIT);
    expect(s, "dspark_confidence from 'out'",
           golden_compare(d->confidence, golden_get(t->st, "dspark_confidence")), 0.0,
           GOLDEN_MEDIAN_LIMIT);
}

/* The first draft of a short text, from the ids alone. */
static void expect_first_draft(const subject *s, const text *t, const drafts *d)
{
    hd_st_tensor logits = *golden_get(t->st, "dspark_logits");
    hd_st_tensor tokens = *golden_get(t->st, "dspark_tokens");
    hd_st_tensor confidence = *golden_get(t->st, "dspark_confidence");
    hd_st_tensor *const first[] = {&logits, &tokens, &confidence};
    for (size_t i = 0; i < HD_COUNT(first); i++) {
        first[i]->n_bytes /= (uint64_t)first[i]->shape[0];
        first[i]->shape[0] = 1;
    }
    expect_equal("first draft", golden_compare(d->tokens, &tokens));
    expect(s, "first dspark_logits", golden_compare(d->logits, &logits), GOLDEN_EXACT_LIMIT, 0.0);
    expect(s, "first dspark_confidence", golden_compare(d->confidence, &confidence),
           GOLDEN_EXACT_LIMIT, 0.0);
}

static void run_with_drafts(hd_model *m, text *t, drafts *d, hd_probe *p)
{
    modelrun_run(m, &(modelrun_job){.ids = t->ids,
                                    .n = t->n,
                                    .prefill = t->prefill,
                                    .probe = p,
                                    .logits = t->logits,
                                    .draft_at = d->at,
                                    .n_drafts = d->n,
                                    .draft_tokens = d->tokens,
                                    .draft_logits = d->logits,
                                    .draft_confidence = d->confidence});
}

/* The prefill of the same ids with the streams between layers, for a decode case with drafts. */
static hd_st *open_streams(const subject *s, const golden_case *cases, int n, const text *t)
{
    for (int i = 0; i < n; i++) {
        if (cases[i].prefill != t->n || cases[i].n_tokens != t->n) continue;
        hd_st *st = golden_open(s->dir, cases[i].file);
        const hd_st_tensor *a = golden_get(st, "ids"), *b = golden_get(t->st, "ids");
        if (golden_find(st, "", "cap.L0.in") && memcmp(a->data, b->data, b->n_bytes) == 0)
            return st;
        hd_st_close(st);
    }
    return NULL;
}

/* With golden streams behind every layer, the rings of the draft head are golden too. */
static void check_drafts(const subject *s, const golden_case *cases, int n, const golden_case *c)
{
    text t;
    drafts d;
    char name[32];
    hd_model *m = open_model(s, c->n_tokens, true, true);
    text_open(&t, s->dir, c, m);
    text golden = {.st = open_streams(s, cases, n, &t)};
    if (golden.st && drafts_init(&d, &t, m)) {
        hd_probe *p = hd_probe_create(c->n_tokens);
        for (int32_t l = 0; l < m->cfg.n_layers; l++) {
            snprintf(name, sizeof name, "L%d.out", l);
            golden_feed(p, name, golden_behind(&golden, m, l));
        }
        run_with_drafts(m, &t, &d, p);
        expect_drafts(s, &t, &d);
        hd_probe_destroy(p);
        drafts_deinit(&d);
    }
    hd_st_close(golden.st);
    text_close(&t);
    hd_model_close(m);
}

/* ---- from the ids alone -------------------------------------------------------------------------
 */

static void check_free(const subject *s, const text *t, const drafts *d, bool with_mtp)
{
    char what[48];
    const hd_st_tensor *mtp = golden_find(t->st, "", "mtp_logits");
    bool is_short = t->n <= SHORT_TOKENS;
    double limit = is_short          ? GOLDEN_EXACT_LIMIT
                   : s->set->is_deep ? GOLDEN_DEEP_LIMIT
                                     : GOLDEN_LAYER_LIMIT;
    snprintf(what, sizeof what, "%slogits from ids, %s", is_short ? "short " : "",
             t->prefill < t->n ? "decode" : "prefill");
    expect(s, what, compare_logits(t), limit, s->set->is_deep ? 0.0 : GOLDEN_MEDIAN_LIMIT);
    if (with_mtp)
        expect(s, is_short ? "short mtp_logits from ids" : "mtp_logits from ids",
               golden_compare(t->mtp, mtp), limit, 0.0);
    if (d->n && t->prefill <= SHORT_TOKENS) expect_first_draft(s, t, d);
}

static void check_case(const subject *s, const golden_case *c)
{
    text t;
    drafts d;
    hd_model *m = open_model(s, c->n_tokens, true, false);
    text_open(&t, s->dir, c, m);
    bool with_mtp = golden_find(t.st, "", "mtp_logits") != NULL;
    if (drafts_init(&d, &t, m))
        run_with_drafts(m, &t, &d, NULL);
    else
        modelrun_run(m, &(modelrun_job){.ids = t.ids,
                                        .n = t.n,
                                        .prefill = t.prefill,
                                        .logits = t.logits,
                                        .mtp = with_mtp ? t.mtp : NULL});
    check_free(s, &t, &d, with_mtp);
    drafts_deinit(&d);
    text_close(&t);
    hd_model_close(m);
}

static void check_probed(const subject *s, const golden_case *c)
{
    text t;
    hd_model *m = open_model(s, c->n_tokens, true, true);
    text_open(&t, s->dir, c, m);
    if (golden_find(t.st, "", "cap.L0.attn_in"))
        check_stages(s, m, &t);
    else if (golden_find(t.st, "", "cap.L0.in"))
        check_layers(s, m, &t);
    text_close(&t);
    hd_model_close(m);
}

/* ---- the tests ----------------------------------------------------------------------------------
 */

/* `ref` is slow: the long cases are for `cpu`, and behind a wrapper deep models get short ones. */
static int32_t most_tokens(const subject *s)
{
    if (!strstr(s->device->name, "ref")) return INT32_MAX;
    return s->set->is_deep && strcmp(s->device->name, "ref") != 0 ? 130 : 560;
}

static void test_set(void **state)
{
    subject *s = *state;
    golden_case cases[GOLDEN_MAX_CASES];
    int n = golden_cases(s->dir, cases);
    for (int i = 0; i < n; i++) {
        if (cases[i].n_tokens > most_tokens(s)) continue;
        check_case(s, &cases[i]);
        if (cases[i].prefill == cases[i].n_tokens)
            check_probed(s, &cases[i]);
        else
            check_drafts(s, cases, n, &cases[i]);
        s->n_cases++;
    }
}

/* Which sets ran where: one line per set, for `make test` to show. */
static void print_set(const set *which)
{
    const char *between = "";
    if (!golden_dir(which->name)) {
        printf("summary: golden model %s: not run, HADAL_VECTORS is not set\n", which->name);
        return;
    }
    printf("summary: golden model %s%s, cases by device: ", which->name,
           golden_is_bundled(which->name) ? " (bundled)" : "");
    for (size_t i = 0; i < n_subjects; i++)
        if (subjects[i].set == which) {
            printf("%s%s %d", between, modelrun_label(subjects[i].device), subjects[i].n_cases);
            between = ", ";
        }
    printf("\n");
}

static void print_end(void)
{
    printf("\nrelative L2 error, worst of all devices:   together     median\n");
    for (size_t i = 0; i < n_records; i++)
        printf("  %-38s %10.1e %10.1e\n", records[i].what, records[i].all, records[i].median);
    for (size_t i = 0; i < HD_COUNT(sets); i++) print_set(&sets[i]);
    fflush(stdout);
}

/* A test for each set that is here on each device that is here. */
static void add_subjects(struct CMUnitTest *tests)
{
    for (const modelrun_device *d = modelrun_devices; d->name; d++) {
        if (!modelrun_has(d)) continue;
        for (size_t i = 0; i < HD_COUNT(sets); i++) {
            subject *s = &subjects[n_subjects];
            const char *dir = golden_dir(sets[i].name);
            if (!dir) continue;
            *s = (subject){.set = &sets[i], .device = d};
            snprintf(s->dir, sizeof s->dir, "%s", dir);
            snprintf(s->name, sizeof s->name, "%s on %s", sets[i].name, modelrun_label(d));
            tests[n_subjects++] = (struct CMUnitTest){s->name, test_set, NULL, NULL, s};
        }
    }
}

/* test_model [PATTERN]: only the tests whose names match, as in "*csa on cpu*". */
int main(int argc, char **argv)
{
    static struct CMUnitTest tests[HD_COUNT(subjects)];
    setenv("HADAL_TRACE", "/dev/null", 0);
    add_subjects(tests);
    if (argc > 1) cmocka_set_test_filter(argv[1]);
    int n_failed = _cmocka_run_group_tests("golden model", tests, n_subjects, NULL, NULL);
    print_end();
    return n_failed;
}
