/* One case of an op: seeded inputs, one submission, outputs kept for comparison.
 *
 * A case is a function that makes its inputs from the case's own random numbers, submits the op and
 * hands over what it wrote. It runs once on `ref` and once on each other device with the same seed,
 * so the inputs are the same; the outputs are then compared. No C library test framework is
 * needed, so that a cross build runs under an emulator. */
#ifndef HD_TEST_OPCASE_H
#define HD_TEST_OPCASE_H

#include "support/devtest.h"

#define OPCASE_GUARD 64 /* bytes behind every output, which must stay as they were */

typedef enum opcase_kind { OPCASE_BYTES, OPCASE_BF16, OPCASE_F32, OPCASE_I32 } opcase_kind;

typedef struct opcase_output {
    opcase_kind kind;
    size_t bytes; /* guard included */
    uint8_t *data;
} opcase_output;

typedef struct opcase {
    devtest *t;
    int index;       /* number of this case of its op */
    int n_picks;     /* calls of opcase_pick so far */
    uint64_t random; /* state of the generator */
    char shape[96];  /* for people */
    opcase_output out[8];
    size_t n_out;
    void *host[16]; /* memory that packed weights borrow */
    size_t n_host;
} opcase;

typedef void opcase_fn(opcase *c);

/** Run case `index` of an op on `t`; the outputs stay in `c` until opcase_deinit. */
void opcase_run(opcase *c, devtest *t, opcase_fn *fn, uint64_t seed, int index);
void opcase_deinit(opcase *c);

/** Number of elements that differ between two runs, and the worst difference relative to the
 *  largest value of `a` (1 where bytes or integers differ). */
size_t opcase_compare(const opcase *a, const opcase *b, double *worst);

/* ---- choices --------------------------------------------------------------------------------- */

uint64_t opcase_random(opcase *c);
/** A whole number from lo to hi. */
int32_t opcase_int(opcase *c, int32_t lo, int32_t hi);
/** An element of the list: the first cases go through it in turn, later ones take any. */
int32_t opcase_pick(opcase *c, const int32_t *list, size_t n);
#define OPCASE_PICK(c, ...)                                                                        \
    opcase_pick((c), (const int32_t[]){__VA_ARGS__},                                               \
                sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))
/** Say what the case looks like. */
void opcase_shape(opcase *c, const char *fmt, ...) HD_PRINTF(2, 3);

/* ---- inputs on the device -------------------------------------------------------------------- */

/** About normal with the given width; one in 50 is 0, −0, subnormal or 40 times as large. */
hd_bf16 *opcase_bf16(opcase *c, size_t n, float width);
float *opcase_f32(opcase *c, size_t n, float width);
/** Positive, in (0, top]. */
float *opcase_positive(opcase *c, size_t n, float top);
/** Each from lo to hi. */
int32_t *opcase_ints(opcase *c, size_t n, int32_t lo, int32_t hi);
/** A permutation of 0 … n − 1. */
void opcase_shuffle(opcase *c, int32_t *host, int32_t n);
void *opcase_put(opcase *c, const void *host, size_t bytes);
/** n_parts matrices of random values around 1/√cols, data at odd addresses now and then. */
hd_weight *opcase_weight(opcase *c, hd_weight_format format, int32_t rows, int32_t cols,
                         int32_t n_parts);
/** A quantised activation [rows, cols], made by the device's own quantize_act. */
void *opcase_act(opcase *c, int32_t rows, int32_t cols);
/** Zeroed host memory until opcase_deinit. */
void *opcase_host(opcase *c, size_t bytes);
/** For input that is read by value only: as opcase_bf16, on the host. */
void opcase_fill_bf16(opcase *c, hd_bf16 *x, size_t n, float width);

/* ---- outputs --------------------------------------------------------------------------------- */

/** Memory for an output, poisoned and with a guard behind it. */
void *opcase_new(opcase *c, size_t bytes);
/** Memory that is read and written: from `host`, with a guard. */
void *opcase_inout(opcase *c, const void *host, size_t bytes);
/** Keep what the op wrote to memory from opcase_new or opcase_inout. */
void opcase_keep(opcase *c, opcase_kind kind, const void *device, size_t bytes);
/** Keep the values of a quantised activation. */
void opcase_keep_act(opcase *c, const void *act, int32_t rows, int32_t cols);
/** Workspace of an op for these params. */
void *opcase_work(opcase *c, hd_op op, const void *params);

/** Submit hd_op_<name>(stream, params) and end the program if it is refused. */
#define OPCASE_RUN(c, name, ...)                                                                   \
    devtest_check((c)->t, hd_op_##name((c)->t->stream, &(hd_##name##_params){__VA_ARGS__}), #name)

/** The op's table entry. */
typedef struct opcase_entry {
    hd_op op;
    opcase_fn *fn;
    int n_cases;
} opcase_entry;

/* ops_rows.c, ops_linear.c, ops_cache.c: op NULL at the end. */
extern const opcase_entry opcase_rows_ops[], opcase_linear_ops[], opcase_cache_ops[];

#endif
