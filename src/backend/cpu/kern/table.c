/* The one symbol that the host side sees of an instruction set. */
#include "backend/cpu/kern/kern.h"

#define NAME_PASTE(isa)  #isa
#define NAME_EXPAND(isa) NAME_PASTE(isa)
#define ENTRY(name)      .name = KERN(name),

extern const hd_cpu_kernels KERN(kernels);
const hd_cpu_kernels KERN(kernels) = {.isa = NAME_EXPAND(HD_ISA), HD_OPS(ENTRY)};
