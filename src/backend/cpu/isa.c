/* Which kernels this machine can run. */
#include <string.h>

#include "backend/cpu/cpu.h"

#define DECLARE(isa) extern const hd_cpu_kernels hd_cpu_##isa##_kernels;
DECLARE(avx512bf16)
DECLARE(avx512)
DECLARE(avx2)
DECLARE(neon)
DECLARE(portable)
#undef DECLARE

static bool always(void)
{
    return true;
}

#if defined(__x86_64__)
static bool has_avx512(void)
{
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
}

static bool has_avx512bf16(void)
{
    return has_avx512() && __builtin_cpu_supports("avx512bf16") &&
           __builtin_cpu_supports("avx512vbmi");
}
#endif

#if defined(HD_CPU_HAVE_avx2)
static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2");
}
#endif

typedef struct candidate {
    const char *name;
    const hd_cpu_kernels *kernels; /* NULL: not built in */
    bool (*usable)(void);
} candidate;

/* Best first. */
static const candidate candidates[] = {
#if defined(HD_CPU_HAVE_avx512bf16)
    {"avx512bf16", &hd_cpu_avx512bf16_kernels, has_avx512bf16},
#else
    {"avx512bf16", NULL, always},
#endif
#if defined(HD_CPU_HAVE_avx512)
    {"avx512", &hd_cpu_avx512_kernels, has_avx512},
#else
    {"avx512", NULL, always},
#endif
#if defined(HD_CPU_HAVE_avx2)
    {"avx2", &hd_cpu_avx2_kernels, has_avx2},
#else
    {"avx2", NULL, always},
#endif
#if defined(HD_CPU_HAVE_neon)
    {"neon", &hd_cpu_neon_kernels, always},
#else
    {"neon", NULL, always},
#endif
    {"portable", &hd_cpu_portable_kernels, always},
};

static bool runs_here(const candidate *c)
{
    return c->kernels && c->usable();
}

const hd_cpu_kernels *hd_cpu_kernels_at(int i)
{
    for (size_t k = 0; k < HD_COUNT(candidates); k++)
        if (runs_here(&candidates[k]) && i-- == 0) return candidates[k].kernels;
    return NULL;
}

hd_status hd_cpu_kernels_find(const char *isa, const hd_cpu_kernels **out, hd_err *err)
{
    *out = NULL;
    if (!isa) {
        *out = hd_cpu_kernels_at(0);
        return HD_OK;
    }
    for (size_t k = 0; k < HD_COUNT(candidates); k++) {
        if (strcmp(candidates[k].name, isa) != 0) continue;
        if (!runs_here(&candidates[k]))
            HD_FAIL(err, HD_E_UNSUPPORTED, "instruction set '%s' is not available on this machine",
                    isa);
        *out = candidates[k].kernels;
        return HD_OK;
    }
    HD_FAIL(err, HD_E_ARG,
            "unknown instruction set '%s', expected avx512bf16, avx512, avx2, neon or portable",
            isa);
}
