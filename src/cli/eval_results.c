/* Results and stored figures: see eval_results.h. */
#include "cli/eval_results.h"

#include "base/fs.h"
#include "base/jsonw.h"
#include "base/mem.h"
#include "base/utf8.h"

#define MAX_FIGURES_BYTES ((size_t)1 << 20)
#define MAX_TREE_BYTES    ((size_t)1 << 26)
#define ALL_SETS          SIZE_MAX

/* ---- which results there are ---- */

/* The results that have a place of their own, in front of all others; `name` NULL: the set's. */
typedef struct known {
    const char *set, *name;
    hd_eval_measure measure;
} known;

static const known known_results[] = {
    {"needle-1k", NULL, HD_EVAL_RIGHT},    {"needle-4k", NULL, HD_EVAL_RIGHT},
    {"needle-16k", NULL, HD_EVAL_RIGHT},   {"add-think", NULL, HD_EVAL_RIGHT},
    {"add-think-4", NULL, HD_EVAL_RIGHT},  {"add-plain", NULL, HD_EVAL_RIGHT},
    {"add-plain-4", NULL, HD_EVAL_RIGHT},  {"tool", "tool-valid", HD_EVAL_VALID},
    {"tool", "tool-right", HD_EVAL_RIGHT}, {"json", "json-valid", HD_EVAL_VALID},
    {"json", "json-right", HD_EVAL_RIGHT}, {"fim", NULL, HD_EVAL_RIGHT},
};

static bool is_known_set(hd_str set)
{
    for (size_t i = 0; i < HD_COUNT(known_results); i++)
        if (hd_str_eqz(set, known_results[i].set)) return true;
    return false;
}

static void add(hd_eval_results *r, hd_str name, size_t set, hd_eval_measure measure)
{
    r->all[r->n++] =
        (hd_eval_result){.name = name, .set = set, .measure = measure, .is_wanted = true};
}

void hd_eval_results_init(hd_eval_results *r, const hd_eval_tasks *t)
{
    /* Each set has two results at most, and `stop` comes behind them. */
    *r = (hd_eval_results){.all = hd_mem_calloc(2 * t->n_sets + 1, sizeof *r->all)};
    for (size_t k = 0; k < HD_COUNT(known_results); k++) {
        const known *one = &known_results[k];
        for (size_t i = 0; i < t->n_sets; i++)
            if (hd_str_eqz(t->sets[i].name, one->set))
                add(r, one->name ? hd_str_from(one->name) : t->sets[i].name, i, one->measure);
    }
    for (size_t i = 0; i < t->n_sets; i++)
        if (!is_known_set(t->sets[i].name)) add(r, t->sets[i].name, i, HD_EVAL_RIGHT);
    add(r, HD_STR("stop"), ALL_SETS, HD_EVAL_ENDED);
}

void hd_eval_results_deinit(hd_eval_results *r)
{
    hd_mem_free(r->all);
    *r = (hd_eval_results){0};
}

static hd_eval_result *find(const hd_eval_results *r, hd_str name)
{
    for (size_t i = 0; i < r->n; i++)
        if (hd_str_eq(r->all[i].name, name)) return &r->all[i];
    return NULL;
}

static hd_status fail_unknown(const hd_eval_results *r, const char *name, hd_err *err)
{
    hd_buf list;
    hd_buf_init(&list, sizeof err->text); /* what does not fit is cut */
    for (size_t i = 0; i < r->n; i++)
        hd_buf_addf(&list, "%s%.*s", i ? " " : "", HD_STR_ARG(r->all[i].name));
    hd_str cut = hd_utf8_cut(hd_str_from(name), 64);
    (void)HD_SET_ERR(err, HD_E_NOTFOUND, "no task '%.*s', expected one of %.*s", HD_STR_ARG(cut),
                     HD_STR_ARG(hd_buf_str(&list)));
    hd_buf_deinit(&list);
    return HD_E_NOTFOUND;
}

hd_status hd_eval_results_choose(hd_eval_results *r, const char *const *names, size_t n,
                                 hd_err *err)
{
    for (size_t i = 0; i < r->n; i++) r->all[i].is_wanted = false;
    for (size_t i = 0; i < n; i++) {
        hd_eval_result *one = find(r, hd_str_from(names[i]));
        if (!one) return fail_unknown(r, names[i], err);
        one->is_wanted = true;
    }
    return HD_OK;
}

/* ---- counting ---- */

static bool counts(const hd_eval_result *one, const hd_eval_row *row)
{
    return one->is_wanted && (one->set == ALL_SETS || one->set == row->set);
}

bool hd_eval_results_need(const hd_eval_results *r, const hd_eval_row *row)
{
    for (size_t i = 0; i < r->n; i++)
        if (counts(&r->all[i], row)) return true;
    return false;
}

void hd_eval_results_count(hd_eval_results *r, const hd_eval_row *row, const hd_eval_score *score)
{
    const bool good[] = {[HD_EVAL_RIGHT] = score->right,
                         [HD_EVAL_VALID] = score->valid,
                         [HD_EVAL_ENDED] = score->ended};
    for (size_t i = 0; i < r->n; i++) {
        hd_eval_result *one = &r->all[i];
        if (!counts(one, row)) continue;
        one->n++;
        one->n_good += good[one->measure];
    }
}

double hd_eval_accuracy(const hd_eval_result *one)
{
    return one->n ? (double)one->n_good / (double)one->n : 0.0;
}

bool hd_eval_is_regression(const hd_eval_result *one)
{
    /* A count against a decimal fraction: exactly one point below must not fail by a last bit. */
    const double rounding = 1e-9;
    return one->has_stored && hd_eval_accuracy(one) < one->stored - HD_EVAL_TOLERANCE - rounding;
}

/* ---- stored figures ---- */

static hd_status read_figure(const hd_json *node, hd_eval_result *one, hd_err *err)
{
    HD_TRY(hd_json_get_f64(node, "accuracy", &one->stored, err));
    if (!(one->stored >= 0.0 && one->stored <= 1.0))
        HD_FAIL(err, HD_E_FORMAT, "the accuracy of '%.*s' is not within 0 and 1",
                HD_STR_CUT(one->name));
    one->has_stored = true;
    return HD_OK;
}

static hd_status read_tree(hd_eval_results *r, const hd_json *root, hd_err *err)
{
    const hd_json *tasks = hd_json_get(root, "tasks");
    if (!tasks || tasks->kind != HD_JSON_OBJECT)
        HD_FAIL(err, HD_E_FORMAT, "expected an object with 'tasks', an object");
    for (const hd_json *t = tasks->child; t; t = t->next) {
        hd_eval_result *one = find(r, t->key);
        if (one) HD_TRY(read_figure(t, one, err));
    }
    return HD_OK;
}

hd_status hd_eval_figures_read(hd_eval_results *r, const char *path, hd_err *err)
{
    hd_buf text;
    hd_arena arena;
    const hd_json *root;
    hd_buf_init(&text, MAX_FIGURES_BYTES);
    hd_arena_init(&arena, MAX_TREE_BYTES);
    hd_status status = hd_fs_read_all(path, &text, err);
    bool is_there = status != HD_E_NOTFOUND;
    if (status == HD_OK) status = hd_json_parse(hd_buf_str(&text), NULL, &arena, &root, err);
    if (status == HD_OK) status = read_tree(r, root, err);
    hd_arena_deinit(&arena);
    hd_buf_deinit(&text);
    if (status == HD_OK || !is_there) return HD_OK;
    return hd_err_context(err, status, "cannot read the stored figures '%s'", path);
}

hd_status hd_eval_figures_write(const hd_eval_results *r, const char *path, hd_err *err)
{
    hd_buf out;
    hd_buf_init(&out, MAX_FIGURES_BYTES);
    hd_buf_addz(&out, "{\"tasks\": {");
    for (size_t i = 0; i < r->n; i++) {
        hd_buf_addz(&out, i ? ",\n  " : "\n  ");
        hd_jsonw_str(&out, r->all[i].name);
        hd_buf_addf(&out, ": {\"n\": %zu, \"accuracy\": ", r->all[i].n);
        hd_jsonw_f64(&out, hd_eval_accuracy(&r->all[i]));
        hd_buf_addc(&out, '}');
    }
    hd_buf_addz(&out, "\n}}\n");
    hd_status status = hd_buf_status(&out, "the figures", err);
    if (status == HD_OK) status = hd_fs_write_atomic(path, hd_buf_str(&out), err);
    hd_buf_deinit(&out);
    return status;
}
