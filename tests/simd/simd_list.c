#include <string.h>

#include "simd/simd_probe.h"

/* Those that were built, any order. */
#define DECLARE(isa) extern const simd_probe hd_cpu_##isa##_probe;
#define ENTRY(isa)   &hd_cpu_##isa##_probe,
#if defined(SIMD_HAVE_neon)
#define BUILT(X) X(portable) X(neon)
#elif defined(SIMD_HAVE_avx512bf16)
#define BUILT(X) X(portable) X(avx2) X(avx512) X(avx512bf16)
#else
#define BUILT(X) X(portable)
#endif
BUILT(DECLARE)

const simd_probe *simd_probe_at(int i)
{
    static const simd_probe *const built[] = {BUILT(ENTRY)};
    const hd_cpu_kernels *kernels = hd_cpu_kernels_at(i);
    for (size_t k = 0; kernels && k < HD_COUNT(built); k++)
        if (strcmp(built[k]->isa, kernels->isa) == 0) return built[k];
    return NULL;
}
