/* The check `ref-golden`: a reference that is proven on nothing proves nothing.
 *
 * The primitives of units.safetensors, and for each one-layer set beside it the stages of its
 * layer, each fed with golden inputs, and the logits from the golden output. If there are no golden
 * data the check has no cases, and the verdict is no pass. */
#include <stdio.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "verify/golden.h"
#include "verify/run.h"

typedef struct golden_run {
    hd_verify *v;
    hd_verify_check *c;
    const char *set; /* that is being compared */
    hd_st *st;       /* its text */
    hd_model *m;     /* its checkpoint, on ref */
    int32_t *ids;
    float *logits; /* f32 [n, V] */
    int32_t n;
    hd_err err;
} golden_run;

/* ---- primitives ------------------------------------------------------------------------------ */

static void count(golden_run *g, const char *what, double error, double bound)
{
    hd_verify_count(g->c, error, bound);
    if (!(error <= bound))
        hd_verify_fail(g->v, g->c, "'%s' of %s is off by %.3g, and %.3g is right", what, g->set,
                       error, bound);
}

static void count_unit(void *ctx, const hd_golden_result *r)
{
    count(ctx, r->what, r->error, r->bound);
}

static hd_status check_units(golden_run *g, const char *dir)
{
    char path[4096];
    hd_st *st;
    hd_opdev d;
    hd_verify_progress(g->v, "golden data: primitives");
    g->set = "units.safetensors";
    HD_TRY(hd_fs_join(dir, g->set, path, sizeof path, &g->err));
    HD_TRY(hd_golden_units_open(path, &st, &g->err));
    hd_opdev_init(&d, g->v->ref->dev, g->v->ref->stream);
    hd_golden_units_ref(st, count_unit, g);
    hd_status status = hd_golden_units(st, &d, count_unit, g, &g->err);
    hd_opdev_deinit(&d);
    hd_st_close(st);
    return status;
}

/* ---- stages of a layer ----------------------------------------------------------------------- */

static const hd_st_tensor *find(const golden_run *g, const char *point)
{
    char name[80];
    snprintf(name, sizeof name, "cap.L0.%s", point);
    return hd_st_find(g->st, hd_str_from(name));
}

static hd_status feed(golden_run *g, hd_probe *p, const char *point, const hd_st_tensor *t)
{
    char name[64];
    hd_probe_value value = {.dtype = t->dtype,
                            .n_rows = t->rank ? t->shape[0] : 0,
                            .data = (uint8_t *)(uintptr_t)t->data};
    if (value.n_rows > 0) value.row_bytes = t->n_bytes / (uint64_t)value.n_rows;
    snprintf(name, sizeof name, "L0.%s", point);
    return hd_probe_feed(p, hd_str_from(name), &value, &g->err);
}

static hd_status capture(golden_run *g, hd_probe *p, const char *point, const hd_st_tensor *t)
{
    char name[64];
    (void)t;
    snprintf(name, sizeof name, "L0.%s", point);
    return hd_probe_capture(p, hd_str_from(name), &g->err);
}

static hd_status compare(golden_run *g, hd_probe *p, const char *point, const hd_st_tensor *t)
{
    char name[64];
    hd_golden_error e;
    const hd_probe_value *value;
    int i = 0;
    snprintf(name, sizeof name, "L0.%s", point);
    while ((value = hd_probe_captured(p, i)) && strcmp(value->name, name) != 0) i++;
    if (!value || !value->data || value->dtype != t->dtype ||
        (uint64_t)value->n_rows * value->row_bytes != t->n_bytes)
        HD_FAIL(&g->err, HD_E_FORMAT, "golden tensor 'cap.%s' has not the shape that ref gives",
                name);
    HD_TRY(hd_golden_compare(value->data, t, &e, &g->err));
    bool is_integer = t->dtype == HD_DTYPE_I32;
    count(g, point, is_integer ? (double)e.n_differ : e.all,
          hd_golden_stage_limit(point, t->dtype));
    return HD_OK;
}

typedef hd_status point_action(golden_run *g, hd_probe *p, const char *point,
                               const hd_st_tensor *t);

/* For each point of the list that the text has. */
static hd_status for_points(golden_run *g, hd_probe *p, const char *list, point_action *act)
{
    while (*list) {
        char point[32];
        size_t len = strcspn(list, " ");
        snprintf(point, sizeof point, "%.*s", (int)len, list);
        list += len + (list[len] == ' ');
        const hd_st_tensor *t = find(g, point);
        if (t) HD_TRY(act(g, p, point, t));
    }
    return HD_OK;
}

static hd_status run_text(golden_run *g, hd_probe *p)
{
    hd_seq *seq;
    HD_TRY(hd_seq_create(g->m, &seq, &g->err));
    hd_step_item item = {
        .seq = seq, .ids = g->ids, .n_ids = g->n, .n_logits = g->n, .logits = g->logits};
    g->m->probe = p;
    hd_status st = hd_model_step(g->m, &item, 1, &g->err);
    g->m->probe = NULL;
    hd_seq_destroy(seq);
    return hd_probe_status(p, &g->err) != HD_OK ? hd_probe_status(p, NULL) : st;
}

static hd_status compare_logits(golden_run *g)
{
    hd_golden_error e;
    const hd_st_tensor *want = hd_st_find(g->st, hd_str_from("logits"));
    if (!want || want->n_bytes != (uint64_t)g->n * (uint64_t)g->m->cfg.vocab_size * sizeof(float))
        HD_FAIL(&g->err, HD_E_FORMAT, "golden tensor 'logits' is missing or of another shape");
    HD_TRY(hd_golden_compare(g->logits, want, &e, &g->err));
    count(g, "logits", e.all, HD_GOLDEN_STAGE_LIMIT);
    return HD_OK;
}

/* One run of the text: feed, capture, compare. */
static hd_status run_stages(golden_run *g, const hd_golden_stages *run)
{
    hd_probe *p = hd_probe_create(g->n);
    hd_status st;
    HD_TRY_GOTO(st, out, for_points(g, p, run->feed, feed));
    HD_TRY_GOTO(st, out, for_points(g, p, run->capture, capture));
    HD_TRY_GOTO(st, out, run_text(g, p));
    HD_TRY_GOTO(st, out, for_points(g, p, run->capture, compare));
    if (strstr(run->feed, " out")) HD_TRY_GOTO(st, out, compare_logits(g));
out:
    hd_probe_destroy(p);
    return st;
}

/* ---- one set --------------------------------------------------------------------------------- */

static hd_status read_ids(golden_run *g)
{
    const hd_st_tensor *t = hd_st_find(g->st, hd_str_from("ids"));
    if (!t || t->dtype != HD_DTYPE_I32 || t->n_bytes != (uint64_t)g->n * sizeof *g->ids)
        HD_FAIL(&g->err, HD_E_FORMAT, "golden tensor 'ids' is missing or of another shape");
    g->ids = hd_mem_try_calloc((size_t)g->n, sizeof *g->ids);
    if (!g->ids) HD_FAIL(&g->err, HD_E_NOMEM, "out of memory for %d ids", g->n);
    memcpy(g->ids, t->data, t->n_bytes);
    return HD_OK;
}

static hd_status open_set(golden_run *g, const char *dir)
{
    char path[4096];
    int n, i = 0;
    hd_golden_case cases[HD_GOLDEN_MAX_CASES];
    HD_TRY(hd_golden_cases(dir, cases, &n, &g->err));
    while (i < n && cases[i].prefill != cases[i].n_tokens) i++;
    if (i == n) HD_FAIL(&g->err, HD_E_FORMAT, "'%s' has no text that is given at once", dir);
    g->n = cases[i].n_tokens;
    HD_TRY(hd_fs_join(dir, cases[i].file, path, sizeof path, &g->err));
    HD_TRY(hd_st_open(path, 0, NULL, &g->st, &g->err));
    HD_TRY(read_ids(g));
    hd_model_opts opts = {.device = "ref", .max_seqs = 1, .max_ctx = g->n, .unfused = 1};
    HD_TRY(hd_model_open(dir, &opts, &g->m, &g->err));
    g->logits = hd_mem_try_calloc((size_t)g->n * (size_t)g->m->cfg.vocab_size, sizeof *g->logits);
    if (!g->logits) HD_FAIL(&g->err, HD_E_NOMEM, "out of memory for the logits of %d ids", g->n);
    return HD_OK;
}

static void close_set(golden_run *g)
{
    hd_model_close(g->m);
    hd_st_close(g->st);
    hd_mem_free(g->ids);
    hd_mem_free(g->logits);
    g->m = NULL;
    g->st = NULL;
    g->ids = NULL;
    g->logits = NULL;
}

static hd_status check_set(golden_run *g, const char *dir)
{
    const hd_golden_stages *run;
    hd_status st;
    HD_TRY_GOTO(st, out, open_set(g, dir));
    for (size_t i = 0; (run = hd_golden_stages_at(i)); i++) {
        hd_verify_progress(g->v, "golden data: %s, stages %zu", g->set, i + 1);
        HD_TRY_GOTO(st, out, run_stages(g, run));
    }
out:
    close_set(g);
    return st;
}

/* ---- all of it ------------------------------------------------------------------------------- */

/* The sets that are in the directory; one of the two that are installed must be. */
static hd_status check_sets(golden_run *g, const char *dir)
{
    static const struct {
        const char *name, *about;
    } sets[] = {{"one-layer-window", "a layer without compressed rows, routed by hash"},
                {"one-layer-csa", "a layer of ratio 4"},
                {"one-layer-hca", "a layer of ratio 128"}};
    char path[4096], file[4096];
    int n_found = 0;
    for (size_t i = 0; i < HD_COUNT(sets); i++) {
        hd_map map;
        HD_TRY(hd_fs_join(dir, sets[i].name, path, sizeof path, &g->err));
        HD_TRY(hd_fs_join(path, "cases.json", file, sizeof file, &g->err));
        g->set = sets[i].name;
        if (hd_map_open(file, &map, NULL) != HD_OK) {
            hd_verify_leave_out(g->v, "ref-golden: the set '%s' (%s) is not installed",
                                sets[i].name, sets[i].about);
            continue;
        }
        hd_map_close(&map);
        n_found++;
        HD_TRY(check_set(g, path));
    }
    if (n_found == 0) HD_FAIL(&g->err, HD_E_NOTFOUND, "there is no set of a layer in '%s'", dir);
    return HD_OK;
}

void hd_verify_golden(hd_verify *v)
{
    golden_run g = {.v = v, .c = hd_verify_add(v, "ref-golden")};
    const char *dir = v->opts->golden;
    hd_status st = HD_E_NOTFOUND;
    if (dir) {
        st = check_units(&g, dir);
        if (st == HD_OK) st = check_sets(&g, dir);
    } else {
        (void)HD_SET_ERR(&g.err, st, "golden data are not installed; --golden DIR names them");
    }
    if (st == HD_OK) return;
    const char *why = g.err.code != HD_OK ? g.err.text : hd_status_name(st);
    hd_verify_fail(v, g.c, "%s", why);
    hd_verify_leave_out(v, "ref-golden: %s", why);
}
