/* Element types as checkpoint files store them.
 *
 * These are safetensors' storage types, nothing more: packed FP4 weights are stored as I8 (two
 * elements a byte), and block scales are tensors of their own (F8_E8M0). What a device can multiply
 * is described elsewhere, on top of this. */
#ifndef HD_BASE_DTYPE_H
#define HD_BASE_DTYPE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

typedef enum hd_dtype {
    HD_DTYPE_BOOL, /* one byte, 0 or 1 */
    HD_DTYPE_U8,
    HD_DTYPE_I8,      /* in expert weights: two FP4 elements, the even one in the low nibble */
    HD_DTYPE_F8_E4M3, /* bias 7, no infinity, 0x7F and 0xFF are NaN */
    HD_DTYPE_F8_E5M2,
    HD_DTYPE_F8_E8M0, /* 2^(byte - 127); 255 is NaN */
    HD_DTYPE_U16,
    HD_DTYPE_I16,
    HD_DTYPE_F16,
    HD_DTYPE_BF16,
    HD_DTYPE_U32,
    HD_DTYPE_I32,
    HD_DTYPE_F32,
    HD_DTYPE_U64,
    HD_DTYPE_I64,
    HD_DTYPE_F64,
    HD_DTYPE_COUNT
} hd_dtype;

/** Bytes of one element: 1, 2, 4 or 8. */
size_t hd_dtype_size(hd_dtype dtype);

/** The spelling in a safetensors header, for example "F8_E4M3". Never NULL. */
const char *hd_dtype_name(hd_dtype dtype);

/** The type of that spelling; false when there is none. */
bool hd_dtype_from_name(hd_str name, hd_dtype *out);

#endif
