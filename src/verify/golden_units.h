/* The frame of the checks of single primitives, shared by golden_units*.c. */
#ifndef HD_VERIFY_GOLDEN_UNITS_H
#define HD_VERIFY_GOLDEN_UNITS_H

#include <string.h>

#include "verify/golden.h"

typedef struct hd_units {
    const hd_st *st;
    hd_opdev *d; /* NULL: parts of hostref */
    hd_golden_report *report;
    void *ctx;
} hd_units;

/** A tensor that hd_golden_units_open has seen. */
const hd_st_tensor *hd_units_tensor(const hd_units *u, const char *name);
/** A copy on the device. */
void *hd_units_put(const hd_units *u, const char *name);
/** An element of a BF16 or F32 tensor. */
float hd_units_at(const hd_st_tensor *x, size_t i);
size_t hd_units_count(const hd_st_tensor *x);

void hd_units_report(const hd_units *u, const char *what, double error, double bound);
/** n_off of n results differ, and none of them may, or (is_sum) less than 1 % by one step. */
void hd_units_report_steps(const hd_units *u, const char *what, bool is_sum, size_t n_off, size_t n,
                           int worst_steps);
/** Steps between two BF16 numbers; −0 and +0 are one. */
int hd_units_bf16_steps(hd_bf16 a, hd_bf16 b);
/** Results on the device against golden ones. */
void hd_units_compare_bf16(const hd_units *u, const char *what, const hd_bf16 *result,
                           const hd_st_tensor *golden, bool is_sum);
void hd_units_compare_f32(const hd_units *u, const char *what, const float *result,
                          const hd_st_tensor *golden);

/** golden_units_rows.c: what works row by row. golden_units_keys.c: what looks across rows. */
void hd_units_check_rows(const hd_units *u);
void hd_units_check_keys(const hd_units *u);
void hd_units_check_rows_ref(const hd_units *u);
void hd_units_check_keys_ref(const hd_units *u);

#endif
