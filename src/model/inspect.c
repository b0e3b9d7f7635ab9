/* Finding what there is to say; inspect_print.c says it. */
#include "model/inspect.h"

static hd_str config_name(void)
{
    return HD_STR("config.json");
}

/* A configuration that cannot be read is a defect like any other. */
static hd_status read_config(hd_inspect *in, const char *dir, hd_err *err)
{
    hd_err why = {0};
    hd_status status = hd_config_load(dir, &in->config, &why);
    if (status == HD_E_NOMEM) HD_FAIL(err, status, "%s", why.text);
    in->has_config = status == HD_OK;
    if (in->has_config) return HD_OK;
    in->variant = in->config.unsupported ? in->config.unsupported : "unknown";
    return hd_defect_report(
        &in->defects,
        status == HD_E_UNSUPPORTED ? HD_DEFECT_UNSUPPORTED_MODEL : HD_DEFECT_BAD_CONFIG,
        why.path[0] ? hd_str_from(why.path) : config_name(), err, "%s", why.text);
}

static void count_layers(hd_inspect *in)
{
    const hd_config *c = &in->config;
    for (int32_t i = 0; i < c->n_layers; i++) in->n_layers[hd_config_kind(c, i)]++;
    in->kv_bytes_per_token =
        in->n_layers[HD_LAYER_CSA] * (double)(HD_KV_ROW_BYTES + HD_INDEX_ROW_BYTES) / HD_CSA_RATIO +
        in->n_layers[HD_LAYER_HCA] * (double)HD_KV_ROW_BYTES / HD_HCA_RATIO;
    in->window_bytes = (uint64_t)c->n_layers * HD_WINDOW * HD_KV_ROW_BYTES;
}

/* Without a configuration all tensors are of an unknown group, and none is a defect. */
static void count_all(hd_inspect *in, const hd_ckpt *ck)
{
    hd_group_total *total = &in->groups[HD_GROUP_UNKNOWN];
    total->n_tensors = hd_ckpt_count(ck);
    for (size_t i = 0; i < hd_ckpt_count(ck); i++) {
        const hd_st_tensor *t = hd_ckpt_at(ck, i)->tensor;
        total->n_bytes += t ? t->n_bytes : 0;
    }
}

static hd_status read_tensors(hd_inspect *in, const hd_ckpt *ck, hd_err *err)
{
    in->has_headers = hd_ckpt_has_headers(ck);
    in->n_shards = hd_ckpt_n_shards(ck);
    for (size_t i = 0; i < in->n_shards; i++) {
        const hd_st *st = hd_ckpt_shard(ck, i);
        if (st) in->n_unaligned += hd_st_unaligned(st);
    }
    if (!in->has_config) {
        count_all(in, ck);
        return HD_OK;
    }
    hd_config said = in->config;
    HD_TRY(hd_names_resolve(ck, &in->config, &in->defects, err));
    said.expert_dtype = in->config.expert_dtype;
    in->variant = hd_config_variant(&said); /* a release stays itself without its draft head */
    count_layers(in);
    return hd_names_check(ck, &in->config, in->groups, &in->defects, err);
}

hd_status hd_inspect_init(hd_inspect *in, const char *dir, unsigned flags, hd_err *err)
{
    hd_ckpt *ck = NULL;
    hd_status status;
    *in = (hd_inspect){0};
    hd_defects_init(&in->defects);
    HD_TRY_GOTO(status, out, read_config(in, dir, err));
    HD_TRY_GOTO(status, out, hd_ckpt_open(dir, flags, &in->defects, &ck, err));
    HD_TRY_GOTO(status, out, read_tensors(in, ck, err));
out:
    hd_ckpt_close(ck);
    if (status != HD_OK) hd_inspect_deinit(in);
    return status;
}

void hd_inspect_deinit(hd_inspect *in)
{
    hd_defects_deinit(&in->defects);
}
