/* Headers of safetensors files. The first byte of the input says how the rest is read: bit 0
 * headers only, bit 1 lenient, bit 2 the rest is a whole file; else the rest is the text of a
 * header, and the second byte, times 16, is the length of the data behind it. */
/* Covers: src/io/safetensors.c src/io/defect.c */
#include <stdint.h>

#include "base/buf.h"
#include "io/safetensors.h"

#define MAX_FILE ((size_t)1 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static hd_str make_file(const uint8_t *data, size_t size, hd_buf *file)
{
    uint8_t how = data[0];
    if (how & 4) return (hd_str){(const char *)data + 1, size - 1};
    uint64_t length = size - 2;
    hd_buf_add(file, &length, 8);
    hd_buf_add(file, data + 2, size - 2);
    for (size_t n = (size_t)data[1] * 16; n > 0; n--) hd_buf_addc(file, 'x');
    return hd_buf_str(file);
}

/* Every byte of every view can be read, and every string. */
static void look_at(const hd_st *st, const hd_defects *defects)
{
    volatile uint64_t sum = 0;
    for (size_t i = 0; i < hd_st_count(st); i++) {
        const hd_st_tensor *t = hd_st_at(st, i);
        HD_ASSERT(hd_st_find(st, t->name));
        for (uint64_t k = 0; t->data && k < t->n_bytes; k++) sum += t->data[k];
        for (int d = 0; d < t->rank && !t->is_bad; d++) HD_ASSERT(t->shape[d] >= 0);
    }
    for (const hd_defect *d = defects->first; d; d = d->next)
        sum += d->where.len + d->detail.len + strlen(hd_defect_code_name(d->code));
    sum += hd_st_unaligned(st) + hd_st_tensor_bytes(st) + hd_st_has_header(st);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    hd_buf file;
    hd_defects defects;
    hd_st *st;
    hd_err err;
    hd_buf_init(&file, MAX_FILE);
    hd_defects_init(&defects);
    hd_str bytes = make_file(data, size, &file);
    hd_status status = hd_st_from_memory(bytes, "f", data[0] & HD_ST_HEADERS,
                                         data[0] & 2 ? &defects : NULL, &st, &err);
    if (status == HD_OK) look_at(st, &defects);
    hd_st_close(st);
    hd_defects_deinit(&defects);
    hd_buf_deinit(&file);
    return 0;
}
