/* Sets of golden data: see golden.h. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "verify/golden.h"

#define MAX_CASES_BYTES (1u << 20)

/* ---- cases ----------------------------------------------------------------------------------- */

static hd_status read_case(const hd_json *e, hd_golden_case *c, hd_err *err)
{
    hd_str file;
    int64_t tokens, prefill;
    HD_TRY(hd_json_get_str(e, "file", &file, err));
    HD_TRY(hd_json_get_i64(e, "tokens", 1, 1 << 20, &tokens, err));
    prefill = tokens;
    if (hd_json_get(e, "prefill")) HD_TRY(hd_json_get_i64(e, "prefill", 1, tokens, &prefill, err));
    if (file.len >= sizeof c->file)
        HD_FAIL(err, HD_E_FORMAT, "'%.*s' is too long for the name of a case", HD_STR_ARG(file));
    *c = (hd_golden_case){.prefill = (int32_t)prefill, .n_tokens = (int32_t)tokens};
    snprintf(c->file, sizeof c->file, "%.*s", HD_STR_ARG(file));
    return HD_OK;
}

static hd_status read_cases(hd_str text, hd_arena *arena, hd_golden_case *out, int *n, hd_err *err)
{
    const hd_json *root;
    HD_TRY(hd_json_parse(text, NULL, arena, &root, err));
    const hd_json *list = hd_json_get(root, "cases");
    if (!list || list->kind != HD_JSON_ARRAY || list->n < 1 || list->n > HD_GOLDEN_MAX_CASES)
        HD_FAIL(err, HD_E_FORMAT, "expected a list 'cases' of 1 to %d", HD_GOLDEN_MAX_CASES);
    for (const hd_json *e = list->child; e; e = e->next) HD_TRY(read_case(e, &out[(*n)++], err));
    return HD_OK;
}

hd_status hd_golden_cases(const char *dir, hd_golden_case out[HD_GOLDEN_MAX_CASES], int *n,
                          hd_err *err)
{
    char path[4096];
    hd_buf text;
    hd_arena arena;
    hd_status st;
    *n = 0;
    HD_TRY(hd_fs_join(dir, "cases.json", path, sizeof path, err));
    hd_buf_init(&text, MAX_CASES_BYTES);
    hd_arena_init(&arena, (size_t)MAX_CASES_BYTES * 16);
    st = hd_fs_read_all(path, &text, err);
    if (st == HD_OK) st = read_cases(hd_buf_str(&text), &arena, out, n, err);
    hd_arena_deinit(&arena);
    hd_buf_deinit(&text);
    return st == HD_OK ? HD_OK : hd_err_context(err, st, "golden data '%s'", path);
}

/* ---- distance -------------------------------------------------------------------------------- */

static double value(const uint8_t *p, hd_dtype dtype, size_t i)
{
    if (dtype == HD_DTYPE_BF16) {
        hd_bf16 h;
        memcpy(&h, p + i * sizeof h, sizeof h);
        return (double)hd_f32_from_bf16(h);
    }
    float f;
    memcpy(&f, p + i * sizeof f, sizeof f);
    return (double)f;
}

static double ratio(double diff, double norm)
{
    if (isnan(diff)) return (double)INFINITY;
    return diff > 0.0 ? sqrt(diff) / (norm > 0.0 ? sqrt(norm) : 1e-300) : 0.0;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void row_distances(const uint8_t *got, const hd_st_tensor *want, size_t n_rows, size_t width,
                          hd_golden_error *e)
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

hd_status hd_golden_compare(const void *got, const hd_st_tensor *want, hd_golden_error *out,
                            hd_err *err)
{
    size_t size = hd_dtype_size(want->dtype), n_rows = want->rank ? (size_t)want->shape[0] : 1;
    *out = (hd_golden_error){.n = size ? want->n_bytes / size : 0};
    if (want->dtype != HD_DTYPE_F32 && want->dtype != HD_DTYPE_BF16 && want->dtype != HD_DTYPE_I32)
        HD_FAIL(err, HD_E_FORMAT, "golden tensor '%.*s' is %s, expected F32, BF16 or I32",
                HD_STR_ARG(want->name), hd_dtype_name(want->dtype));
    for (size_t i = 0; i < out->n; i++)
        out->n_differ += memcmp((const uint8_t *)got + i * size, want->data + i * size, size) != 0;
    if (want->dtype != HD_DTYPE_I32 && out->n)
        row_distances(got, want, n_rows, out->n / n_rows, out);
    return HD_OK;
}

/* ---- stages ---------------------------------------------------------------------------------- */

static const hd_golden_stages stage_runs[] = {
    {"in qr o_rot ffn_in route_id route_w shared_out",
     "hc_attn.mix hc_attn.pre hc_attn.post hc_attn.comb attn_in q index_q attn_out ffn_out"},
    {"in hc_attn.pre hc_attn.post hc_attn.comb attn_in attn_out out",
     "qr kv_all comp_kv index_k hc_ffn.mix hc_ffn.pre hc_ffn.post hc_ffn.comb ffn_in"},
    {"in attn_in q kv_all comp_kv index_q index_k hc_attn.post hc_attn.comb attn_out ffn_in "
     "hc_ffn.post hc_ffn.comb ffn_out",
     "index_topk attn_keys o_rot route_id route_w shared_out out"},
};

const hd_golden_stages *hd_golden_stages_at(size_t i)
{
    return i < HD_COUNT(stage_runs) ? &stage_runs[i] : NULL;
}

double hd_golden_stage_limit(const char *point, hd_dtype dtype)
{
    if (dtype == HD_DTYPE_I32) return 0.0;
    bool is_exact = strncmp(point, "hc_attn.", 8) == 0 || strcmp(point, "route_w") == 0;
    return is_exact ? HD_GOLDEN_EXACT_LIMIT : HD_GOLDEN_STAGE_LIMIT;
}
