/* What inspect.c found, as JSON and for a person. */
#include <inttypes.h>
#include <stdio.h>

#include "base/jsonw.h"
#include "model/inspect.h"

static const char *const kind_names[] = {
    [HD_LAYER_WINDOW] = "window", [HD_LAYER_CSA] = "csa", [HD_LAYER_HCA] = "hca"};

/* ---- JSON ---- */

static void add_repaired(hd_buf *out, hd_str s)
{
    hd_buf good;
    hd_buf_init(&good, 3 * s.len + 1);
    hd_utf8_repair(&good, s);
    hd_jsonw_str(out, hd_buf_str(&good));
    hd_buf_deinit(&good);
}

static void add_defects(const hd_inspect *in, hd_buf *out)
{
    hd_buf_addz(out, "\"defects\": [");
    for (const hd_defect *d = in->defects.first; d; d = d->next) {
        hd_buf_addf(out, "%s{\"code\": \"%s\", \"where\": ", d == in->defects.first ? "" : ", ",
                    hd_defect_code_name(d->code));
        add_repaired(out, d->where);
        hd_buf_addz(out, ", \"detail\": ");
        add_repaired(out, d->detail);
        hd_buf_addc(out, '}');
    }
    hd_buf_addc(out, ']');
}

void hd_inspect_json(const hd_inspect *in, hd_buf *out)
{
    hd_buf_addf(out, "{\"variant\": \"%s\", \"layers\": {", in->variant);
    for (int k = HD_LAYER_WINDOW; k <= HD_LAYER_HCA; k++)
        hd_buf_addf(out, "%s\"%s\": %" PRId32, k ? ", " : "", kind_names[k], in->n_layers[k]);
    hd_buf_addz(out, "}, \"groups\": [");
    bool is_first = true;
    for (int g = 0; g < HD_GROUP_COUNT; g++) {
        const hd_group_total *t = &in->groups[g];
        if (t->n_tensors == 0) continue;
        hd_buf_addf(out, "%s{\"name\": \"%s\", \"tensors\": %zu, \"bytes\": %" PRIu64 "}",
                    is_first ? "" : ", ", hd_group_name((hd_group)g), t->n_tensors, t->n_bytes);
        is_first = false;
    }
    hd_buf_addf(out, "], \"context\": %" PRId32 ", \"kv_bytes_per_token\": ",
                in->has_config ? in->config.max_position : 0);
    hd_jsonw_f64(out, in->kv_bytes_per_token);
    hd_buf_addz(out, ", ");
    add_defects(in, out);
    hd_buf_addz(out, "}\n");
}

/* ---- for a person ---- */

/* Digits in groups of three. */
static const char *with_commas(uint64_t n, char out[32])
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%" PRIu64, n), at = 0;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0) out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

/* "159.61 GB": decimal units, as disks and downloads count. */
static const char *with_unit(double bytes, char out[32])
{
    static const char *const units[] = {"bytes", "KB", "MB", "GB", "TB"};
    size_t u = 0;
    while (bytes >= 999.995 && u + 1 < HD_COUNT(units)) {
        bytes /= 1000.0;
        u++;
    }
    snprintf(out, 32, "%.*f %s", u ? 2 : 0, bytes, units[u]);
    return out;
}

/* Text out of a file must not steer a terminal: control characters become '?'. */
static void add_safe(hd_buf *out, hd_str s)
{
    while (s.len) {
        uint32_t cp;
        size_t len;
        bool is_good = hd_utf8_next(s, &cp, &len) == HD_UTF8_GOOD;
        if (!is_good || cp < 0x20 || (cp >= 0x7F && cp < 0xA0))
            hd_buf_addc(out, '?');
        else
            hd_buf_add(out, s.ptr, len);
        s = hd_str_skip(s, len);
    }
}

static void print_model(const hd_inspect *in, hd_buf *out)
{
    static const char *const drafts[] = {"none", "MTP", "DSpark"};
    char n[32];
    const hd_config *c = &in->config;
    hd_buf_addf(out, "model      %s\n", in->variant);
    if (!in->has_config) return;
    hd_buf_addf(out,
                "layers     %" PRId32 ": %" PRId32 " window, %" PRId32 " csa, %" PRId32 " hca\n",
                c->n_layers, in->n_layers[HD_LAYER_WINDOW], in->n_layers[HD_LAYER_CSA],
                in->n_layers[HD_LAYER_HCA]);
    hd_buf_addf(out, "experts    %" PRId32 " a layer, %" PRId32 " a token, %s\n", c->n_experts,
                c->n_active_experts, c->expert_dtype == HD_EXPERT_FP8 ? "FP8" : "FP4");
    hd_buf_addf(out, "draft      %s", drafts[c->draft]);
    if (c->n_stages) hd_buf_addf(out, ", %" PRId32 " block%s", c->n_stages, &"s"[c->n_stages == 1]);
    hd_buf_addf(out, "\ncontext    %s tokens\n", with_commas((uint64_t)c->max_position, n));
}

static void print_caches(const hd_inspect *in, hd_buf *out)
{
    char full[32], window[32];
    if (!in->has_config) return;
    hd_buf_addz(out, "cache      ");
    hd_jsonw_f64(out, in->kv_bytes_per_token);
    hd_buf_addf(out, " bytes a token, %s at full context; windows %s a sequence\n",
                with_unit(in->kv_bytes_per_token * in->config.max_position, full),
                with_unit((double)in->window_bytes, window));
}

static void print_groups(const hd_inspect *in, hd_buf *out)
{
    char n[32], b[32];
    hd_group_total sum = {0};
    hd_buf_addf(out, "\n%-16s%10s%14s\n", "group", "tensors", in->has_headers ? "size" : "size*");
    for (int g = 0; g < HD_GROUP_COUNT; g++) {
        const hd_group_total *t = &in->groups[g];
        sum.n_tensors += t->n_tensors;
        sum.n_bytes += t->n_bytes;
        if (t->n_tensors == 0) continue;
        hd_buf_addf(out, "%-16s%10s%14s\n", hd_group_name((hd_group)g),
                    with_commas(t->n_tensors, n), with_unit((double)t->n_bytes, b));
    }
    hd_buf_addf(out, "%-16s%10s%14s  in %zu file%s\n", "total", with_commas(sum.n_tensors, n),
                with_unit((double)sum.n_bytes, b), in->n_shards, &"s"[in->n_shards == 1]);
    if (!in->has_headers)
        hd_buf_addz(out, "* no shard is here: names are the index's, sizes config.json's\n");
    if (in->n_unaligned)
        hd_buf_addf(out, "%s tensors do not start at a multiple of their element size (allowed)\n",
                    with_commas(in->n_unaligned, n));
}

void hd_inspect_text(const hd_inspect *in, size_t max_defects, hd_buf *out)
{
    size_t n = 0;
    print_model(in, out);
    print_caches(in, out);
    print_groups(in, out);
    if (in->defects.n == 0) {
        hd_buf_addz(out, "\nno defects\n");
        return;
    }
    hd_buf_addf(out, "\n%zu defect%s\n", in->defects.n, &"s"[in->defects.n == 1]);
    for (const hd_defect *d = in->defects.first; d && n < max_defects; d = d->next, n++) {
        hd_buf_addf(out, "  %-18s", hd_defect_code_name(d->code));
        add_safe(out, d->where);
        hd_buf_addz(out, ": ");
        add_safe(out, d->detail);
        hd_buf_addc(out, '\n');
    }
    if (n < in->defects.n) hd_buf_addf(out, "  and %zu more\n", in->defects.n - n);
}
