#include "support/golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/num.h"

static _Noreturn void give_up(const char *what, const char *why)
{
    fprintf(stderr, "golden data: %s: %s\n", what, why);
    exit(1);
}

/* ---- where it is --------------------------------------------------------------------------------
 */

static bool is_set(const char *dir)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/cases.json", dir);
    FILE *f = fopen(path, "rb");
    if (f) fclose(f);
    return f != NULL;
}

const char *golden_dir(const char *set)
{
    static char dirs[8][2048];
    static unsigned turn;
    char *dir = dirs[turn++ % 8];
    const char *full = getenv("HADAL_VECTORS");
    snprintf(dir, sizeof dirs[0], "%s/model/%s", full && *full ? full : HD_TEST_DATA, set);
    if (is_set(dir)) return dir;
    snprintf(dir, sizeof dirs[0], "%s/model/%s", HD_TEST_DATA, set);
    return is_set(dir) ? dir : NULL;
}

bool golden_is_bundled(const char *set)
{
    char dir[2048];
    snprintf(dir, sizeof dir, "%s/model/%s", HD_TEST_DATA, set);
    return is_set(dir);
}

/* ---- cases --------------------------------------------------------------------------------------
 */

static void read_case(const hd_json *e, golden_case *c, const char *path)
{
    hd_str file;
    int64_t tokens, prefill;
    hd_err err;
    if (hd_json_get_str(e, "file", &file, &err) != HD_OK ||
        hd_json_get_i64(e, "tokens", 1, 1 << 20, &tokens, &err) != HD_OK)
        give_up(path, err.text);
    prefill = tokens;
    if (hd_json_get(e, "prefill") &&
        hd_json_get_i64(e, "prefill", 1, tokens, &prefill, &err) != HD_OK)
        give_up(path, err.text);
    *c = (golden_case){.prefill = (int32_t)prefill, .n_tokens = (int32_t)tokens};
    snprintf(c->file, sizeof c->file, "%.*s", HD_STR_ARG(file));
}

int golden_cases(const char *dir, golden_case out[GOLDEN_MAX_CASES])
{
    char path[4096];
    hd_buf text;
    hd_arena arena;
    hd_err err;
    const hd_json *root;
    int n = 0;
    snprintf(path, sizeof path, "%s/cases.json", dir);
    hd_buf_init(&text, 1 << 20);
    hd_arena_init(&arena, 1 << 20);
    if (hd_fs_read_all(path, &text, &err) != HD_OK ||
        hd_json_parse(hd_buf_str(&text), NULL, &arena, &root, &err) != HD_OK)
        give_up(path, err.text);
    const hd_json *list = hd_json_get(root, "cases");
    if (!list || list->n < 1 || list->n > GOLDEN_MAX_CASES) give_up(path, "no list of cases");
    for (const hd_json *e = list->child; e; e = e->next) read_case(e, &out[n++], path);
    hd_arena_deinit(&arena);
    hd_buf_deinit(&text);
    return n;
}

/* ---- tensors ------------------------------------------------------------------------------------
 */

hd_st *golden_open(const char *dir, const char *file)
{
    char path[4096];
    hd_st *st;
    hd_err err;
    snprintf(path, sizeof path, "%s/%s", dir, file);
    if (hd_st_open(path, 0, NULL, &st, &err) != HD_OK) give_up(path, err.text);
    return st;
}

const hd_st_tensor *golden_find(const hd_st *st, const char *prefix, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return hd_st_find(st, hd_str_from(full));
}

const hd_st_tensor *golden_get(const hd_st *st, const char *name)
{
    const hd_st_tensor *t = golden_find(st, "", name);
    if (!t) give_up(name, "there is no such tensor");
    return t;
}

int32_t *golden_i32(const hd_st_tensor *t)
{
    if (t->dtype != HD_DTYPE_I32) give_up("a tensor", "it is not I32");
    int32_t *p = hd_mem_calloc(t->n_bytes ? t->n_bytes : 1, 1);
    memcpy(p, t->data, t->n_bytes);
    return p;
}

/* ---- distance -----------------------------------------------------------------------------------
 */

static double value(const uint8_t *p, hd_dtype dtype, size_t i)
{
    if (dtype == HD_DTYPE_BF16) {
        hd_bf16 h;
        memcpy(&h, p + i * sizeof h, sizeof h);
        return (double)hd_f32_from_bf16(h);
    }
    float f;
    if (dtype != HD_DTYPE_F32) give_up("a tensor", "expected F32 or BF16");
    memcpy(&f, p + i * sizeof f, sizeof f);
    return (double)f;
}

static double ratio(double diff, double norm)
{
    if (isnan(diff)) return INFINITY;
    return diff > 0.0 ? sqrt(diff) / (norm > 0.0 ? sqrt(norm) : 1e-300) : 0.0;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void row_distances(const uint8_t *got, const hd_st_tensor *want, size_t n_rows, size_t width,
                          golden_error *e)
{
    double diff_all = 0.0, norm_all = 0.0, *row = hd_mem_calloc(n_rows, sizeof *row);
    for (size_t r = 0; r < n_rows; r++) {
        double diff = 0.0, norm = 0.0;
        for (size_t i = r * width; i < (r + 1) * width; i++) {
            double b = value(want->data, want->dtype, i), d = value(got, want->dtype, i) - b;
            diff += d * d;
            norm += b * b;
        }
        row[r] = ratio(diff, norm);
        diff_all += diff;
        norm_all += norm;
    }
    qsort(row, n_rows, sizeof *row, by_value);
    e->all = ratio(diff_all, norm_all);
    e->median = row[n_rows / 2];
    e->worst = row[n_rows - 1];
    hd_mem_free(row);
}

golden_error golden_compare(const void *got, const hd_st_tensor *want)
{
    golden_error e = {0};
    size_t size = hd_dtype_size(want->dtype), n_rows = want->rank ? (size_t)want->shape[0] : 1;
    e.n = want->n_bytes / size;
    for (size_t i = 0; i < e.n; i++)
        e.n_differ += memcmp((const uint8_t *)got + i * size, want->data + i * size, size) != 0;
    if (want->dtype != HD_DTYPE_I32 && e.n) row_distances(got, want, n_rows, e.n / n_rows, &e);
    return e;
}
