#include "model/probe.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "model/probe_store.h"

static const char *const points[] = {
    "in",         "out",        "hc_attn.mix", "hc_attn.pre", "hc_attn.post", "hc_attn.comb",
    "hc_ffn.mix", "hc_ffn.pre", "hc_ffn.post", "hc_ffn.comb", "attn_in",      "qr",
    "q",          "kv_all",     "comp_kv",     "index_k",     "index_q",      "index_topk",
    "attn_keys",  "o_rot",      "attn_out",    "ffn_in",      "route_id",     "route_w",
    "shared_out", "ffn_out",
};

/* Values that nothing reads: they are shown, but another cannot take their place. */
static bool is_output_only(const char *point)
{
    return strcmp(point, "attn_keys") == 0 || strstr(point, ".mix") != NULL;
}

hd_probe *hd_probe_create(int32_t n_tokens)
{
    hd_probe *p = hd_mem_calloc(1, sizeof *p);
    p->n_tokens = n_tokens;
    return p;
}

void hd_probe_destroy(hd_probe *p)
{
    if (!p) return;
    for (int i = 0; i < p->n_captures; i++) hd_mem_free(p->capture[i].data);
    hd_mem_free(p);
}

static hd_status check_name(hd_str name, const char **point, hd_err *err)
{
    size_t i = 1;
    if (name.len < sizeof((hd_probe_value *)0)->name && name.len > 3 && name.ptr[0] == 'L') {
        while (i < name.len && name.ptr[i] >= '0' && name.ptr[i] <= '9') i++;
        if (i > 1 && i < 6 && i + 1 < name.len && name.ptr[i] == '.')
            for (size_t k = 0; k < HD_COUNT(points); k++)
                if (hd_str_eqz(hd_str_skip(name, i + 1), points[k])) {
                    *point = points[k];
                    return HD_OK;
                }
    }
    HD_FAIL(err, HD_E_ARG,
            "'%.*s' is no place in the model, expected L<layer>. and one of in, attn_in, qr, q, "
            "kv_all, comp_kv, index_k, index_q, index_topk, attn_keys, o_rot, attn_out, ffn_in, "
            "route_id, route_w, shared_out, ffn_out, out, hc_attn.pre, ...",
            HD_STR_ARG(name));
}

static hd_status add(hd_probe_value *list, int *n, hd_str name, const hd_probe_value *value,
                     hd_err *err)
{
    if (*n == HD_PROBE_MAX_VALUES)
        HD_FAIL(err, HD_E_LIMIT, "more than %d values asked for", HD_PROBE_MAX_VALUES);
    hd_probe_value *v = &list[(*n)++];
    *v = value ? *value : (hd_probe_value){0};
    snprintf(v->name, sizeof v->name, "%.*s", HD_STR_ARG(name));
    return HD_OK;
}

hd_status hd_probe_capture(hd_probe *p, hd_str name, hd_err *err)
{
    const char *point;
    HD_TRY(check_name(name, &point, err));
    return add(p->capture, &p->n_captures, name, NULL, err);
}

hd_status hd_probe_feed(hd_probe *p, hd_str name, const hd_probe_value *value, hd_err *err)
{
    const char *point = NULL;
    HD_TRY(check_name(name, &point, err));
    if (is_output_only(point))
        HD_FAIL(err, HD_E_ARG, "'%.*s' is read by no later stage, so it cannot be fed",
                HD_STR_ARG(name));
    return add(p->feed, &p->n_feeds, name, value, err);
}

const hd_probe_value *hd_probe_captured(const hd_probe *p, int i)
{
    return i < p->n_captures ? &p->capture[i] : NULL;
}

hd_status hd_probe_status(const hd_probe *p, hd_err *err)
{
    if (p->err.code != HD_OK && err) *err = p->err;
    return p->err.code;
}

static hd_probe_value *find(hd_probe_value *list, int n, int32_t layer, const char *point)
{
    char name[64];
    snprintf(name, sizeof name, "L%d.%s", layer, point);
    for (int i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0) return &list[i];
    return NULL;
}

hd_probe_value *hd_probe_wanted(hd_probe *p, int32_t layer, const char *point)
{
    return find(p->capture, p->n_captures, layer, point);
}

const hd_probe_value *hd_probe_fed(const hd_probe *p, int32_t layer, const char *point)
{
    return find(((hd_probe *)p)->feed, p->n_feeds, layer, point);
}

static size_t row_bytes(const hd_probe_rows_desc *d)
{
    size_t n = hd_dtype_size(d->dtype);
    for (int i = 0; i < d->rank; i++) n *= (size_t)d->dims[i];
    return n;
}

hd_status hd_probe_put(hd_probe *p, hd_probe_value *v, const hd_probe_rows_desc *d,
                       const void *rows)
{
    int64_t end = (int64_t)d->first + d->n;
    v->dtype = d->dtype;
    v->rank = d->rank;
    memcpy(v->dims, d->dims, sizeof v->dims);
    v->row_bytes = row_bytes(d);
    if (end > v->n_rows) {
        uint8_t *data = hd_mem_try_realloc(v->data, (size_t)end, v->row_bytes);
        if (!data) return HD_SET_ERR(&p->err, HD_E_NOMEM, "out of memory for '%s'", v->name);
        memset(data + (size_t)v->n_rows * v->row_bytes, 0,
               (size_t)(end - v->n_rows) * v->row_bytes);
        v->data = data;
        v->n_rows = end;
    }
    if (d->n) memcpy(v->data + (size_t)d->first * v->row_bytes, rows, (size_t)d->n * v->row_bytes);
    return HD_OK;
}

hd_status hd_probe_take(hd_probe *p, const hd_probe_value *v, const hd_probe_rows_desc *d,
                        const void **rows)
{
    if (v->dtype != d->dtype || v->row_bytes != row_bytes(d))
        return HD_SET_ERR(
            &p->err, HD_E_ARG, "'%s' is fed with %s rows of %zu bytes, expected %s rows of %zu",
            v->name, hd_dtype_name(v->dtype), v->row_bytes, hd_dtype_name(d->dtype), row_bytes(d));
    if ((int64_t)d->first + d->n > v->n_rows)
        return HD_SET_ERR(&p->err, HD_E_ARG, "'%s' is fed with %lld rows, and row %d is needed",
                          v->name, (long long)v->n_rows, d->first + d->n - 1);
    *rows = v->data + (size_t)d->first * v->row_bytes;
    return HD_OK;
}
