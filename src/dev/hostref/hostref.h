/* The ops in plain scalar C: the definition of what each of them computes.
 *
 * One function per mandatory op, written to be read beside docs/numerics.md: every place where a
 * value is rounded and the order of every sum is visible here, and backends are tested against it,
 * CPU ones for equal bits. Not fast and not threaded. Nothing is allocated: rows are decoded into
 * pieces on the stack (at most 0.3 MiB). Pointers in the params are host memory here; quantised
 * activations have the format HD_ACT_E4M3; weights are hd_ref_weight.
 *
 * Each function counts subnormals as zero while it runs, as the contract asks, and returns
 * HD_E_ARG or HD_E_UNSUPPORTED for arguments that make no sense, before anything is written. An
 * empty problem is success. */
#ifndef HD_DEV_HOSTREF_HOSTREF_H
#define HD_DEV_HOSTREF_HOSTREF_H

#include "dev/dev.h"

/** A weight as the file holds it; the matrices are borrowed and may be unaligned. */
typedef struct hd_ref_weight {
    hd_weight base;
    const uint8_t *const *data;  /* [n_parts] */
    const uint8_t *const *scale; /* [n_parts]; entries NULL for F32 and BF16 */
    const uint8_t *pointers[];   /* what the two point to */
} hd_ref_weight;

/** Wrap the matrices of `desc`, which must outlive the weight. HD_E_ARG on sizes that are not
 *  positive or an FP4 matrix whose columns are no multiple of 32, HD_E_NOMEM. */
hd_status hd_ref_weight_create(const hd_weight_desc *desc, hd_ref_weight **out,
                               hd_err *err) HD_WARN_UNUSED;
void hd_ref_weight_destroy(hd_ref_weight *w); /* NULL is allowed */

/** Bytes of a quantised activation matrix [rows, cols] in the format HD_ACT_E4M3. */
size_t hd_hostref_act_bytes(int64_t rows, int64_t cols);

#define HD_HOSTREF_DECL(name) hd_status hd_hostref_##name(const hd_##name##_params *p);
HD_MANDATORY_OPS(HD_HOSTREF_DECL)
#undef HD_HOSTREF_DECL

/** Defines hd_hostref_<name> from the file's own static function `name`. */
#define HD_HOSTREF_OP(name)                                                                        \
    hd_status hd_hostref_##name(const hd_##name##_params *p)                                       \
    {                                                                                              \
        unsigned fp_state = hd_fp_flush_subnormals();                                              \
        hd_status status = name(p);                                                                \
        hd_fp_restore(fp_state);                                                                   \
        return status;                                                                             \
    }

#endif
