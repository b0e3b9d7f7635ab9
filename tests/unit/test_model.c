/* The public API of one model: what it promises about limits, errors, memory, and bad weights. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "model/draft.h"
#include "model/synth.h"
#include "support/modelrun.h"
#include "support/tiny_ckpt.h"
#include "support/tmpdir.h"

enum { VOCAB = 512, MAX_CTX = 150, N_TOKENS = 140 /* HCA rows are there from 128 on */ };

static const modelrun_device fastest = {"cpu", NULL};
static int32_t ids[MAX_CTX];
static float logits[N_TOKENS * VOCAB], other[N_TOKENS * VOCAB];

/* A copy of the unit checkpoint, to be damaged: one for all tests, each repairs what it did. */
static const char *damaged_dir(void)
{
    static char dir[512];
    hd_err err = {0};
    hd_buf config;
    if (dir[0]) return dir;
    snprintf(dir, sizeof dir, "%s", test_path(test_tmpdir(), "damaged"));
    hd_buf_init(&config, 1 << 16);
    modelrun_check(hd_synth_preset_config("unit", &config, &err), "preset", &err);
    modelrun_check(hd_synth_write(dir, hd_buf_str(&config), &(hd_synth_opts){.seed = 1}, &err),
                   "synth", &err);
    hd_buf_deinit(&config);
    return dir;
}

static hd_status open_unit(const char *dir, hd_model_opts opts, hd_model **m, hd_err *err)
{
    if (!opts.n_threads) opts.n_threads = 1;
    if (!opts.max_ctx) opts.max_ctx = MAX_CTX;
    return hd_model_open(dir, &opts, m, err);
}

static hd_model *open_ok(hd_model_opts opts)
{
    hd_err err = {0};
    hd_model *m;
    modelrun_check(open_unit(modelrun_synth("unit"), opts, &m, &err), "open", &err);
    return m;
}

static hd_seq *new_seq(hd_model *m)
{
    hd_err err = {0};
    hd_seq *seq;
    modelrun_check(hd_seq_create(m, &seq, &err), "hd_seq_create", &err);
    return seq;
}

static void expect(hd_status got, hd_status want, const hd_err *err, const char *text)
{
    if (got == want && strstr(err->text, text)) return;
    fail_msg("%s '%s', expected %s '%s'", hd_status_name(got), err->text, hd_status_name(want),
             text);
}

static int set_up(void **state)
{
    (void)state;
    for (int i = 0; i < MAX_CTX; i++) ids[i] = (i * i * 7 + i * 13) % 400;
    return 0;
}

/* ---- opening ------------------------------------------------------------------------------------
 */

static void test_open_refuses(void **state)
{
    (void)state;
    static const struct {
        hd_model_opts opts;
        hd_status status;
        const char *text;
    } cases[] = {
        {{.device = "abacus"}, HD_E_NOTFOUND, "unknown device 'abacus'"},
        {{.device = "trace"}, HD_E_ARG, "wraps another one"},
        {{.isa = "vax"}, HD_E_ARG, "'vax'"},
        {{.max_rows = 16385}, HD_E_ARG, "max_rows is 16385, expected at most 16384"},
        {{.max_ctx = 1048577}, HD_E_ARG, "max_ctx is 1048577, and the model was made for 1048576"},
        {{.max_ctx = 1048576, .max_seqs = 10000}, HD_E_LIMIT, "more than pages can number"},
        {{.n_threads = 100000}, HD_E_ARG, "100000 threads"},
    };
    hd_model *m;
    hd_err err = {0};
    for (size_t i = 0; i < HD_COUNT(cases); i++) {
        expect(open_unit(modelrun_synth("unit"), cases[i].opts, &m, &err), cases[i].status, &err,
               cases[i].text);
        assert_null(m);
    }
    expect(open_unit("/nonexistent", (hd_model_opts){0}, &m, &err), HD_E_NOTFOUND, &err,
           "cannot open model '/nonexistent': ");
    assert_int_not_equal(open_unit("/nonexistent", (hd_model_opts){0}, &m, NULL), HD_OK);
}

static void test_info(void **state)
{
    (void)state;
    hd_model_info info;
    hd_model *m;
    hd_err err = {0};
    char path[600];
    modelrun_check(hd_model_open(modelrun_synth("unit"), NULL, &m, &err), "defaults", &err);
    hd_model_get_info(m, &info);
    assert_string_equal(info.variant, "V4-custom");
    assert_int_equal(info.vocab_size, VOCAB);
    assert_int_equal(info.n_layers, 4);
    assert_int_equal(info.max_ctx, 4096);
    assert_int_equal(info.max_position, 1048576);
    assert_int_equal(info.chat_release, 1); /* DSpark: 0731 */
    assert_true(info.weight_bytes > 3000000 && info.weight_bytes < 6000000);
    assert_true(info.state_bytes > 0 && info.workspace_bytes > 0);
    assert_memory_equal(info.device, "cpu: ", 5);
    hd_model_close(m);
    /* A model that ends before the default does. */
    snprintf(path, sizeof path, "%s/config.json", damaged_dir());
    test_edit(path, "\"max_position_embeddings\": 1048576", "\"max_position_embeddings\": 1000");
    modelrun_check(hd_model_open(damaged_dir(), NULL, &m, &err), "short model", &err);
    test_edit(path, "\"max_position_embeddings\": 1000", "\"max_position_embeddings\": 1048576");
    hd_model_get_info(m, &info);
    assert_int_equal(info.max_ctx, 1000);
    hd_model_close(m);
}

static uint64_t progress_done, progress_total;

static void on_progress(void *ctx, uint64_t done, uint64_t total)
{
    assert_ptr_equal(ctx, ids);
    assert_true(done >= progress_done && done <= total);
    progress_done = done;
    progress_total = total;
}

static void test_progress(void **state)
{
    (void)state;
    hd_model_close(open_ok((hd_model_opts){.progress = on_progress, .progress_ctx = ids}));
    assert_true(progress_total > 0);
    assert_int_equal(progress_done, progress_total);
}

/* ---- sequences and steps ------------------------------------------------------------------------
 */

static void test_too_many_sequences(void **state)
{
    (void)state;
    hd_err err = {0};
    hd_model *m = open_ok((hd_model_opts){.max_seqs = 2});
    hd_seq *a = new_seq(m), *b = new_seq(m), *c;
    expect(hd_seq_create(m, &c, &err), HD_E_LIMIT, &err, "all 2 sequences");
    assert_null(c);
    expect(hd_seq_clone(a, &c, &err), HD_E_LIMIT, &err, "all 2 sequences");
    assert_null(c);
    hd_seq_destroy(b);
    c = new_seq(m);
    hd_seq_destroy(a);
    hd_seq_destroy(c);
    hd_seq_destroy(NULL);
    hd_model_close(m);
    hd_model_close(NULL);
}

/* Nothing advances, and nothing is forgotten: the logits behind are those of a clean run. */
static void test_step_refuses(void **state)
{
    (void)state;
    hd_err err = {0};
    hd_model *m = open_ok((hd_model_opts){.max_seqs = 2}), *m2 = open_ok((hd_model_opts){0});
    hd_seq *a = new_seq(m), *b = new_seq(m), *foreign = new_seq(m2);
    modelrun_check(hd_model_step(m, &(hd_step_item){a, ids, 10, 0, NULL}, 1, &err), "ten", &err);
    const int32_t high[] = {1, VOCAB}, low[] = {-1};
    const struct {
        hd_step_item item[3];
        int32_t n;
        hd_status status;
        const char *text;
    } cases[] = {
        {{{a, high, 2, 0, NULL}}, 1, HD_E_ARG, "id 512 at place 1 is outside the vocabulary"},
        {{{b, ids, 3, 0, NULL}, {a, low, 1, 1, logits}}, 2, HD_E_ARG, "id -1 at place 0"},
        {{{a, ids, 1, 0, NULL}, {a, ids, 1, 0, NULL}}, 2, HD_E_ARG, "twice in one step"},
        {{{foreign, ids, 1, 0, NULL}}, 1, HD_E_ARG, "a sequence of this model"},
        {{{NULL, ids, 1, 0, NULL}}, 1, HD_E_ARG, "a sequence of this model"},
        {{{a, NULL, 1, 0, NULL}}, 1, HD_E_ARG, "at least one id"},
        {{{a, ids, 0, 0, NULL}}, 1, HD_E_ARG, "at least one id"},
        {{{a, ids, 2, 3, logits}}, 1, HD_E_ARG, "cannot give 3 rows"},
        {{{a, ids, 2, -1, logits}}, 1, HD_E_ARG, "cannot give -1 rows"},
        {{{a, ids, 2, 1, NULL}}, 1, HD_E_ARG, "cannot give 1 rows"},
        {{{b, ids, 9, 0, NULL}, {a, ids, MAX_CTX - 9, 0, NULL}}, 2, HD_E_LIMIT, "151 positions"},
        {{{a, ids, 1, 0, NULL}}, 3, HD_E_ARG, "a step of 3 sequences"},
        {{{a, ids, 1, 0, NULL}}, -1, HD_E_ARG, "a step of -1 sequences"},
    };
    for (size_t i = 0; i < HD_COUNT(cases); i++) {
        expect(hd_model_step(m, cases[i].item, cases[i].n, &err), cases[i].status, &err,
               cases[i].text);
        assert_int_not_equal(hd_model_step(m, cases[i].item, cases[i].n, NULL), HD_OK);
        assert_int_equal(hd_seq_len(a), 10);
        assert_int_equal(hd_seq_len(b), 0);
    }
    assert_int_equal(hd_model_step(m, NULL, 0, &err), HD_OK);
    modelrun_check(hd_model_step(m, &(hd_step_item){a, ids + 10, 5, 5, logits}, 1, &err), "on",
                   &err);
    modelrun_check(hd_model_step(m, &(hd_step_item){b, ids, 15, 5, other}, 1, &err), "cold", &err);
    assert_memory_equal(logits, other, 5 * VOCAB * sizeof *logits);
    hd_seq_destroy(a);
    hd_seq_destroy(b);
    hd_seq_destroy(foreign);
    hd_model_close(m2);
    hd_model_close(m);
}

static void test_full_sequence(void **state)
{
    (void)state;
    hd_err err = {0};
    hd_model *m = open_ok((hd_model_opts){.max_ctx = N_TOKENS});
    hd_seq *seq = new_seq(m);
    modelrun_check(hd_model_step(m, &(hd_step_item){seq, ids, N_TOKENS, 1, logits}, 1, &err),
                   "to the brim", &err);
    expect(hd_model_step(m, &(hd_step_item){seq, ids, 1, 1, logits}, 1, &err), HD_E_LIMIT, &err,
           "would have 141 positions, and the model was opened for 140");
    assert_int_equal(hd_seq_len(seq), N_TOKENS);
    hd_seq_destroy(seq);
    hd_model_close(m);
}

/* ---- memory -------------------------------------------------------------------------------------
 */

/* Each allocation of open fails once: an error, and (under a leak checker) nothing is left. */
static void test_open_without_memory(void **state)
{
    (void)state;
    static const char *const devices[] = {"ref", "cpu", "defer:cpu", "trace:ref"};
    for (size_t i = 0; i < HD_COUNT(devices); i++) {
        hd_status st = HD_E_NOMEM;
        for (long n = 0; st != HD_OK; n++) {
            hd_model *m;
            hd_err err = {0};
            hd_mem_fail_after(n);
            st = open_unit(modelrun_synth("unit"),
                           (hd_model_opts){.device = devices[i], .load_draft = 1, .n_threads = 2},
                           &m, &err);
            hd_mem_fail_after(-1);
            if (st != HD_OK && (st != HD_E_NOMEM || m || !err.text[0]))
                fail_msg("%s, allocation %ld: %s '%s'", devices[i], n, hd_status_name(st),
                         err.text);
            if (st == HD_OK) assert_true(n > 30);
            hd_model_close(m);
        }
    }
}

/* "Everything is planned and allocated here; steps allocate nothing." */
static void test_steps_allocate_nothing(void **state)
{
    (void)state;
    static const char *const devices[] = {"ref", "cpu"};
    for (size_t i = 0; i < HD_COUNT(devices); i++) {
        hd_err err = {0};
        hd_model *m =
            open_ok((hd_model_opts){.device = devices[i], .max_seqs = 2, .load_draft = 1});
        hd_seq *seq = new_seq(m), *copy;
        int32_t tokens[6];
        const hd_v4_draft_out out = {tokens, logits, other};
        hd_mem_fail_after(0);
        hd_status st = hd_model_step(m, &(hd_step_item){seq, ids, 60, 60, logits}, 1, &err);
        if (st == HD_OK)
            st = hd_model_step(m, &(hd_step_item){seq, ids + 60, 80, 1, logits}, 1, &err);
        if (st == HD_OK) st = hd_v4_dspark(m, seq, 3, &out, &err);
        hd_status no_clone = hd_seq_clone(seq, &copy, NULL);
        hd_mem_fail_after(-1);
        modelrun_check(st, "a step without memory", &err);
        assert_int_equal(no_clone, HD_E_NOMEM);
        assert_null(copy);
        hd_seq_destroy(seq);
        hd_model_close(m);
    }
}

/* ---- bad weights --------------------------------------------------------------------------------
 */

/* A tensor's bytes in the copy, and what stood there. */
typedef struct patch {
    char path[700];
    long at;
    size_t n;
    uint8_t *old;
} patch;

static void write_at(const patch *p, const uint8_t *bytes)
{
    FILE *f = fopen(p->path, "r+b");
    assert_non_null(f);
    assert_int_equal(fseek(f, p->at, SEEK_SET), 0);
    assert_int_equal(fwrite(bytes, 1, p->n, f), p->n);
    assert_int_equal(fclose(f), 0);
}

static void patch_begin(patch *p, const hd_ckpt *ck, const hd_ckpt_entry *e, const void *pattern,
                        size_t pattern_bytes)
{
    uint8_t length[8], *bytes;
    uint64_t header = 0;
    snprintf(p->path, sizeof p->path, "%s/%s", damaged_dir(), hd_ckpt_shard_name(ck, e->shard));
    FILE *f = fopen(p->path, "rb");
    assert_non_null(f);
    assert_int_equal(fread(length, 1, 8, f), 8);
    fclose(f);
    for (int i = 0; i < 8; i++) header |= (uint64_t)length[i] << 8 * i;
    p->at = (long)(8 + header + e->tensor->offset);
    p->n = e->tensor->n_bytes;
    p->old = hd_mem_calloc(p->n, 1);
    memcpy(p->old, e->tensor->data, p->n);
    bytes = hd_mem_calloc(p->n, 1);
    for (size_t i = 0; i < p->n; i++) bytes[i] = ((const uint8_t *)pattern)[i % pattern_bytes];
    write_at(p, bytes);
    hd_mem_free(bytes);
}

static void patch_end(patch *p)
{
    write_at(p, p->old);
    hd_mem_free(p->old);
}

/* Where NaN in this tensor must be noticed; NULL: it need not reach anything that is watched (it
 * only chooses, is an expert of a draft's few rows, or makes confidences). */
static const char *place_of(const char *name)
{
    static char text[64];
    int layer;
    if (strstr(name, ".indexer.") || strstr(name, "gate.bias") || strstr(name, "confidence"))
        return NULL;
    if (strncmp(name, "mtp.", 4) == 0)
        return strstr(name, ".experts.") ? NULL : "NaN or infinity in ";
    if (sscanf(name, "layers.%d.", &layer) == 1) {
        snprintf(text, sizeof text, "NaN or infinity in the output of layer %d", layer);
        return text;
    }
    if (strcmp(name, "embed.weight") == 0) return "NaN or infinity in the output of layer 0";
    return "NaN or infinity in the logits";
}

/* A prompt, and a draft behind it. */
static hd_status run_damaged(const modelrun_device *d, int32_t n, hd_err *err)
{
    hd_model *m;
    hd_seq *seq;
    int32_t tokens[6];
    const hd_v4_draft_out out = {tokens, logits, other};
    HD_TRY(open_unit(damaged_dir(),
                     (hd_model_opts){.device = d->name, .isa = d->isa, .load_draft = 1}, &m, err));
    modelrun_check(hd_seq_create(m, &seq, err), "hd_seq_create", err);
    hd_status st = hd_model_step(m, &(hd_step_item){seq, ids, n, n, logits}, 1, err);
    if (st == HD_OK) {
        st = hd_v4_dspark(m, seq, 3, &out, err);
        for (int i = 0; i < 6; i++) assert_in_range(tokens[i], 0, VOCAB - 1);
    }
    hd_seq_destroy(seq);
    hd_model_close(m);
    return st;
}

static bool put_nan(patch *p, const hd_ckpt *ck, const hd_ckpt_entry *e)
{
    switch (e->tensor->dtype) {
    case HD_DTYPE_BF16: patch_begin(p, ck, e, "\xc0\x7f", 2); return true;
    case HD_DTYPE_F32: patch_begin(p, ck, e, "\0\0\xc0\x7f", 4); return true;
    case HD_DTYPE_F8_E4M3: patch_begin(p, ck, e, "\x7f", 1); return true;
    case HD_DTYPE_F8_E8M0: patch_begin(p, ck, e, "\xff", 1); return true;
    default: return false; /* I8 (FP4) and I64 have none */
    }
}

static void check_nan(const modelrun_device *d, const char *name, bool is_scale, int32_t n)
{
    hd_err err = {0};
    hd_status st = run_damaged(d, n, &err);
    if (is_scale && !strstr(name, ".experts."))
        expect(st, HD_E_FORMAT, &err, name);
    else if (place_of(name))
        expect(st, HD_E_DEVICE, &err, place_of(name));
    else
        assert_true(st == HD_OK || st == HD_E_DEVICE);
}

static bool is_fast(const modelrun_device *d)
{
    return strcmp(d->name, "cpu") == 0 && strcmp(d->isa, "portable") != 0;
}

/* Each tensor filled with NaN in turn. Those that choose (a wrong choice would be followed to
 * wherever it points) on every device that is not wrapped; the others, of which each layer has its
 * own, on the fast devices by turns. */
static void test_nan(void **state)
{
    (void)state;
    unsigned turn = 0, n_fast = 0;
    for (const modelrun_device *d = modelrun_devices; d->name; d++)
        n_fast += is_fast(d) && modelrun_has(d);
    hd_ckpt *ck;
    hd_err err = {0};
    modelrun_check(hd_ckpt_open(modelrun_synth("unit"), 0, NULL, &ck, &err), "checkpoint", &err);
    for (size_t i = 0; i < hd_ckpt_count(ck); i++) {
        patch p;
        char name[128];
        const hd_ckpt_entry *e = hd_ckpt_at(ck, i);
        snprintf(name, sizeof name, "%.*s", HD_STR_ARG(e->name));
        bool is_scale = e->tensor->dtype == HD_DTYPE_F8_E8M0;
        if (strstr(name, ".experts.") && !strstr(name, ".experts.1.")) continue;
        if (!put_nan(&p, ck, e)) continue;
        bool chooses = strstr(name, ".gate.") || strstr(name, ".indexer.");
        unsigned fast = 0;
        for (const modelrun_device *d = modelrun_devices; d->name; d++) {
            if (strchr(d->name, ':') || !modelrun_has(d)) continue;
            bool is_on_turn = is_fast(d) && fast++ == turn % n_fast;
            if (chooses || is_on_turn) check_nan(d, name, is_scale, is_fast(d) ? N_TOKENS : 72);
        }
        patch_end(&p);
        turn++;
    }
    modelrun_check(run_damaged(&fastest, N_TOKENS, &err), "the repaired copy", &err);
    hd_ckpt_close(ck);
}

/* One bad row of the embedding: sequences without that token are not touched by what happened. */
static void test_after_nan(void **state)
{
    (void)state;
    hd_ckpt *ck;
    hd_model *m;
    patch p;
    hd_err err = {0};
    modelrun_check(hd_ckpt_open(modelrun_synth("unit"), 0, NULL, &ck, &err), "checkpoint", &err);
    hd_ckpt_entry row = *hd_ckpt_find(ck, HD_STR("embed.weight"));
    hd_st_tensor tensor = *row.tensor;
    row.tensor = &tensor;
    tensor.n_bytes /= VOCAB; /* of the last id, which no text has */
    tensor.offset += tensor.n_bytes * (VOCAB - 1);
    tensor.data += tensor.n_bytes * (VOCAB - 1);
    patch_begin(&p, ck, &row, "\xc0\x7f", 2);
    modelrun_check(open_unit(damaged_dir(), (hd_model_opts){0}, &m, &err), "open", &err);
    hd_seq *seq = new_seq(m);
    const int32_t bad[] = {VOCAB - 1, 5, 6};
    expect(hd_model_step(m, &(hd_step_item){seq, bad, 3, 1, logits}, 1, &err), HD_E_DEVICE, &err,
           "NaN or infinity in the output of layer 0");
    hd_seq_reset(seq);
    modelrun_check(hd_model_step(m, &(hd_step_item){seq, ids, N_TOKENS, N_TOKENS, logits}, 1, &err),
                   "the same sequence, reset", &err);
    hd_seq_destroy(seq);
    hd_model_close(m);
    patch_end(&p);
    hd_ckpt_close(ck);
    m = open_ok((hd_model_opts){0});
    modelrun_run(m, &(modelrun_job){.ids = ids, .n = N_TOKENS, .logits = other});
    assert_memory_equal(logits, other, sizeof logits);
    hd_model_close(m);
}

/* An expert that does not exist, in the table of a hash-routed layer. */
static void test_bad_hash_table(void **state)
{
    (void)state;
    hd_ckpt *ck;
    hd_model *m;
    patch p;
    hd_err err = {0};
    modelrun_check(hd_ckpt_open(modelrun_synth("unit"), 0, NULL, &ck, &err), "checkpoint", &err);
    const hd_ckpt_entry *e = hd_ckpt_find(ck, HD_STR("layers.1.ffn.gate.tid2eid"));
    patch_begin(&p, ck, e, "\x08\0\0\0\0\0\0\0", 8);
    expect(open_unit(damaged_dir(), (hd_model_opts){0}, &m, &err), HD_E_FORMAT, &err,
           "tensor 'layers.1.ffn.gate.tid2eid' holds expert 8, expected 0 to 7");
    patch_end(&p);
    hd_ckpt_close(ck);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_refuses),
        cmocka_unit_test(test_info),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_too_many_sequences),
        cmocka_unit_test(test_step_refuses),
        cmocka_unit_test(test_full_sequence),
        cmocka_unit_test(test_open_without_memory),
        cmocka_unit_test(test_steps_allocate_nothing),
        cmocka_unit_test(test_nan),
        cmocka_unit_test(test_after_nan),
        cmocka_unit_test(test_bad_hash_table),
    };
    setenv("HADAL_TRACE", "/dev/null", 0);
    return cmocka_run_group_tests(tests, set_up, NULL);
}
