/* The table of names.c against a checkpoint: what is settled by it, and what is wrong in it. */
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "model/names.h"

#define PREFIX "model." /* some converters put it in front of every name */

const hd_ckpt_entry *hd_names_find(const hd_ckpt *ck, hd_str name)
{
    char longer[sizeof PREFIX + HD_MAX_NAME];
    const hd_ckpt_entry *e = hd_ckpt_find(ck, name);
    if (e || name.len >= HD_MAX_NAME) return e;
    int n = snprintf(longer, sizeof longer, PREFIX "%.*s", HD_STR_ARG(name));
    return hd_ckpt_find(ck, (hd_str){longer, (size_t)n});
}

static hd_str without_prefix(hd_str name)
{
    return hd_str_starts(name, HD_STR(PREFIX)) ? hd_str_skip(name, sizeof PREFIX - 1) : name;
}

/* The tensor of a weight when its header is known and good. */
static const hd_st_tensor *find_weight(const hd_ckpt *ck, const hd_config *c, hd_weight_id weight,
                                       int32_t block, int32_t expert)
{
    hd_tensor_spec s;
    HD_ASSERT(hd_names_spec(c, weight, block, expert, false, &s));
    const hd_ckpt_entry *e = hd_names_find(ck, (hd_str){s.name, (size_t)s.name_len});
    return e && e->tensor && !e->tensor->is_bad ? e->tensor : NULL;
}

/* ---- settling ---- */

/* The first expert with a type that can be one decides; the others are then checked against it. */
static void resolve_experts(const hd_ckpt *ck, hd_config *c)
{
    for (int32_t block = 0; block < c->n_layers; block++) {
        const hd_st_tensor *t = find_weight(ck, c, HD_W_EXPERT_W1, block, 0);
        if (!t || (t->dtype != HD_DTYPE_I8 && t->dtype != HD_DTYPE_F8_E4M3)) continue;
        c->expert_dtype = t->dtype == HD_DTYPE_I8 ? HD_EXPERT_FP4 : HD_EXPERT_FP8;
        return;
    }
    if (c->expert_dtype == HD_EXPERT_UNSTATED) c->expert_dtype = HD_EXPERT_FP4;
}

/* N of "mtp.N.", -1 when the name is not of that form. */
static int32_t stage_of(hd_str name)
{
    int32_t n = 0;
    name = without_prefix(name);
    if (!hd_str_starts(name, HD_STR("mtp."))) return -1;
    size_t i = 4;
    for (; i < name.len && name.ptr[i] >= '0' && name.ptr[i] <= '9' && n < HD_MAX_STAGES; i++)
        n = 10 * n + (name.ptr[i] - '0');
    return i > 4 && i < name.len && name.ptr[i] == '.' ? n : -1;
}

/* Blocks below "mtp.", counted by the highest number; 0 when there are none. */
static int32_t count_stages(const hd_ckpt *ck)
{
    int32_t n = 0;
    for (size_t i = 0; i < hd_ckpt_count(ck); i++) {
        int32_t stage = stage_of(hd_ckpt_at(ck, i)->name);
        if (stage >= n && stage < HD_MAX_STAGES) n = stage + 1;
    }
    return n;
}

static bool is_stored(const hd_ckpt *ck, const char *name)
{
    return hd_names_find(ck, hd_str_from(name)) != NULL;
}

/* DSpark is stored, but its sizes are not known: its tensors cannot be checked. */
static bool is_spark_without_keys(const hd_ckpt *ck, const hd_config *c)
{
    return c->draft != HD_DRAFT_DSPARK && is_stored(ck, "mtp.0.main_proj.weight");
}

hd_status hd_names_resolve(const hd_ckpt *ck, hd_config *c, hd_defects *defects, hd_err *err)
{
    int32_t n = count_stages(ck);
    resolve_experts(ck, c);
    if (is_spark_without_keys(ck, c)) {
        c->draft = HD_DRAFT_NONE;
        c->n_stages = 0;
        return hd_defect_report(defects, HD_DEFECT_BAD_CONFIG, HD_STR("dspark_block_size"), err,
                                "must be there for the DSpark head that is stored");
    }
    if (n == 0 && c->draft != HD_DRAFT_NONE) {
        int32_t announced = c->n_stages;
        c->draft = HD_DRAFT_NONE;
        c->n_stages = 0;
        if (!defects) return HD_OK; /* the model runs without it */
        return hd_defect_report(defects, HD_DEFECT_MISSING_DRAFT, HD_STR("mtp.0"), err,
                                "config.json announces a draft head of %d blocks, none is stored",
                                announced);
    }
    if (is_stored(ck, "mtp.0.main_proj.weight")) {
        if (n > c->n_stages) c->n_stages = n;
    } else if (is_stored(ck, "mtp.0.e_proj.weight")) {
        c->draft = HD_DRAFT_MTP;
        c->n_stages = 1;
    }
    return HD_OK;
}

/* ---- checking ---- */

typedef struct checker {
    const hd_ckpt *ck;
    const hd_config *c;
    hd_group_total *totals; /* [HD_GROUP_COUNT] */
    uint8_t *is_known;      /* [entries] has a place in the model */
    hd_defects *defects;
    hd_err *err;
} checker;

/* "[3, 4]" into out. */
static const char *print_shape(const int64_t *shape, int rank, char *out, size_t out_size)
{
    size_t n = 0;
    for (int i = 0; i < rank; i++)
        n += (size_t)snprintf(out + n, out_size - n, "%s%" PRId64, i ? ", " : "[", shape[i]);
    snprintf(out + n, out_size - n, rank ? "]" : "[]");
    return out;
}

static hd_status check_form(const checker *k, const hd_tensor_spec *s, const hd_ckpt_entry *e)
{
    char found[HD_ST_MAX_RANK * 24], expected[64];
    const hd_st_tensor *t = e->tensor;
    if (t->dtype != s->dtype)
        return hd_defect_report(k->defects, HD_DEFECT_WRONG_DTYPE, e->name, k->err,
                                "has dtype %s, expected %s", hd_dtype_name(t->dtype),
                                hd_dtype_name(s->dtype));
    bool is_same = t->rank == s->rank;
    for (int i = 0; i < s->rank && is_same; i++) is_same = t->shape[i] == s->shape[i];
    if (is_same) return HD_OK;
    return hd_defect_report(k->defects, HD_DEFECT_WRONG_SHAPE, e->name, k->err,
                            "has shape %s, expected %s",
                            print_shape(t->shape, t->rank, found, sizeof found),
                            print_shape(s->shape, s->rank, expected, sizeof expected));
}

static hd_status check_one(const checker *k, const hd_tensor_spec *s)
{
    char shape[64];
    hd_str name = {s->name, (size_t)s->name_len};
    const hd_ckpt_entry *e = hd_names_find(k->ck, name);
    if (!e)
        return hd_defect_report(k->defects, HD_DEFECT_MISSING_TENSOR, name, k->err,
                                "is not stored, expected %s %s", hd_dtype_name(s->dtype),
                                print_shape(s->shape, s->rank, shape, sizeof shape));
    k->is_known[hd_ckpt_index(k->ck, e)] = 1;
    if (!e->tensor && hd_ckpt_has_headers(k->ck)) return HD_OK; /* reported with its shard */
    hd_group_total *total = &k->totals[s->group];
    total->n_tensors++;
    total->n_bytes += e->tensor ? e->tensor->n_bytes : hd_names_bytes(s);
    return e->tensor && !e->tensor->is_bad ? check_form(k, s, e) : HD_OK;
}

static hd_status check_unknown(const checker *k)
{
    bool skip_draft = is_spark_without_keys(k->ck, k->c);
    for (size_t i = 0; i < hd_ckpt_count(k->ck); i++) {
        const hd_ckpt_entry *e = hd_ckpt_at(k->ck, i);
        if (k->is_known[i]) continue;
        bool is_draft = hd_str_starts(without_prefix(e->name), HD_STR("mtp."));
        hd_group_total *total =
            &k->totals[is_draft && skip_draft ? HD_GROUP_DRAFT : HD_GROUP_UNKNOWN];
        total->n_tensors++;
        total->n_bytes += e->tensor ? e->tensor->n_bytes : 0;
        if (is_draft && skip_draft) continue; /* reported as a whole by hd_names_resolve */
        HD_TRY(hd_defect_report(k->defects, HD_DEFECT_UNKNOWN_TENSOR, e->name, k->err,
                                "no tensor of this name belongs to the model"));
    }
    return HD_OK;
}

static hd_status check_all(const checker *k)
{
    hd_names_iter it;
    hd_tensor_spec s;
    hd_names_begin(&it, k->c);
    while (hd_names_next(&it, &s)) HD_TRY(check_one(k, &s));
    return check_unknown(k);
}

hd_status hd_names_check(const hd_ckpt *ck, const hd_config *c, hd_group_total *totals,
                         hd_defects *defects, hd_err *err)
{
    hd_group_total own[HD_GROUP_COUNT];
    checker k = {.ck = ck, .c = c, .totals = totals ? totals : own, .defects = defects, .err = err};
    memset(k.totals, 0, sizeof own);
    k.is_known = hd_mem_try_calloc(hd_ckpt_count(ck), 1);
    if (!k.is_known) HD_FAIL(err, HD_E_NOMEM, "no memory to check %zu tensors", hd_ckpt_count(ck));
    hd_status status = check_all(&k);
    hd_mem_free(k.is_known);
    return status;
}
