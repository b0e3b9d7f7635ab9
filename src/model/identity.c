#include "model/identity.h"

#include <string.h>

#include "model/v4.h"

#define END_BYTES ((uint64_t)4096)

static void add_u64(hd_sha256 *s, uint64_t x)
{
    uint8_t bytes[8];
    for (int i = 0; i < 8; i++) bytes[i] = (uint8_t)(x >> (8 * i));
    hd_sha256_add(s, bytes, sizeof bytes);
}

/* With its length, so that neighbours cannot trade bytes. */
static void add_str(hd_sha256 *s, hd_str text)
{
    add_u64(s, text.len);
    hd_sha256_add(s, text.ptr, text.len);
}

static void add_tensor(hd_sha256 *s, const hd_st_tensor *t)
{
    uint64_t n = t->n_bytes < END_BYTES ? t->n_bytes : END_BYTES;
    add_str(s, t->name);
    add_u64(s, (uint64_t)t->dtype);
    add_u64(s, (uint64_t)t->rank);
    for (int i = 0; i < t->rank; i++) add_u64(s, (uint64_t)t->shape[i]);
    add_u64(s, t->offset);
    add_u64(s, t->n_bytes);
    if (!t->data) return;
    hd_sha256_add(s, t->data, (size_t)n);
    if (t->n_bytes > n) hd_sha256_add(s, t->data + (t->n_bytes - n), (size_t)n);
}

/* Devices that give the same bits have one name. A wrapper ("trace:cpu") changes none. */
static hd_str numerics_of(const hd_dev *dev)
{
    const char *colon = strrchr(dev->props.name, ':');
    hd_str name = hd_str_from(colon ? colon + 1 : dev->props.name);
    return hd_str_eqz(name, "cpu") || hd_str_eqz(name, "ref") ? HD_STR("canonical") : name;
}

void hd_v4_identity(const hd_model *m, uint32_t version, uint8_t out[HD_SHA256_BYTES])
{
    hd_sha256 s;
    hd_sha256_init(&s);
    add_str(&s, HD_STR("hadal model"));
    add_u64(&s, version);
    add_str(&s, numerics_of(m->dev));
    add_u64(&s, m->has_draft);
    hd_sha256_add(&s, m->cfg.sha256, sizeof m->cfg.sha256);
    for (size_t i = 0; i < hd_ckpt_n_shards(m->ckpt); i++) {
        const hd_st *shard = hd_ckpt_shard(m->ckpt, i);
        add_str(&s, hd_str_from(hd_ckpt_shard_name(m->ckpt, i)));
        for (size_t k = 0; shard && k < hd_st_count(shard); k++) add_tensor(&s, hd_st_at(shard, k));
    }
    hd_sha256_end(&s, out);
}
