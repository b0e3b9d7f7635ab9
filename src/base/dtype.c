/* The table behind base/dtype.h. */
#include "base/dtype.h"

#include "base/compiler.h"
#include "base/status.h"

typedef struct dtype_info {
    const char *name;
    size_t size; /* bytes of one element */
} dtype_info;

static const dtype_info infos[] = {
    [HD_DTYPE_BOOL] = {"BOOL", 1},       [HD_DTYPE_U8] = {"U8", 1},
    [HD_DTYPE_I8] = {"I8", 1},           [HD_DTYPE_F8_E4M3] = {"F8_E4M3", 1},
    [HD_DTYPE_F8_E5M2] = {"F8_E5M2", 1}, [HD_DTYPE_F8_E8M0] = {"F8_E8M0", 1},
    [HD_DTYPE_U16] = {"U16", 2},         [HD_DTYPE_I16] = {"I16", 2},
    [HD_DTYPE_F16] = {"F16", 2},         [HD_DTYPE_BF16] = {"BF16", 2},
    [HD_DTYPE_U32] = {"U32", 4},         [HD_DTYPE_I32] = {"I32", 4},
    [HD_DTYPE_F32] = {"F32", 4},         [HD_DTYPE_U64] = {"U64", 8},
    [HD_DTYPE_I64] = {"I64", 8},         [HD_DTYPE_F64] = {"F64", 8},
};
_Static_assert(HD_COUNT(infos) == HD_DTYPE_COUNT, "one entry per type");

size_t hd_dtype_size(hd_dtype dtype)
{
    HD_ASSERT((unsigned)dtype < HD_DTYPE_COUNT);
    return infos[dtype].size;
}

const char *hd_dtype_name(hd_dtype dtype)
{
    HD_ASSERT((unsigned)dtype < HD_DTYPE_COUNT);
    return infos[dtype].name;
}

bool hd_dtype_from_name(hd_str name, hd_dtype *out)
{
    for (unsigned i = 0; i < HD_DTYPE_COUNT; i++) {
        if (!hd_str_eqz(name, infos[i].name)) continue;
        *out = (hd_dtype)i;
        return true;
    }
    return false;
}
