/* Texts of config.json; what is accepted must give a sound table of tensors. */
/* Covers: src/model/config.c src/model/names.c */
#include <stdint.h>

#include "model/names.h"

/* Tables larger than this would make the fuzzer slow without teaching it anything. */
#define MAX_WALK 20000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void walk(const hd_config *c)
{
    hd_names_iter it;
    hd_tensor_spec s, again;
    for (hd_names_begin(&it, c); hd_names_next(&it, &s);) {
        HD_ASSERT(s.shape[0] > 0 && (s.rank == 1 || s.shape[1] > 0));
        HD_ASSERT(hd_names_bytes(&s) < (uint64_t)1 << 48);
        HD_ASSERT(hd_names_spec(c, s.weight, s.block, s.expert, s.is_scale, &again));
        HD_ASSERT(strcmp(s.name, again.name) == 0 && hd_group_name(s.group)[0]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    hd_config c;
    hd_err err;
    if (hd_config_parse((hd_str){(const char *)data, size}, &c, &err) != HD_OK) return 0;
    HD_ASSERT(hd_config_variant(&c)[0] == 'V');
    for (int32_t i = 0; i < c.n_layers; i++) HD_ASSERT(hd_config_kind(&c, i) <= HD_LAYER_HCA);
    if ((int64_t)c.n_experts * (c.n_layers + c.n_stages) < MAX_WALK) walk(&c);
    return 0;
}
