/* One case of an op: seeded inputs, one submission, outputs kept for comparison.
 *
 * A case is a function that makes its inputs from the case's own random numbers, submits the op and
 * hands over what it wrote. It runs once on `ref` and once on another device with the same seed, so
 * the inputs are the same; the outputs are then compared. Its shapes are edge shapes (none, one,
 * odd ones, more than a vector), or those of a model when its sizes are given. For the op tests and
 * for `hadal verify`; uses base and dev only, so that a cross build runs under an emulator. */
#ifndef HD_OPCASE_OPCASE_H
#define HD_OPCASE_OPCASE_H

#include "opcase/opdev.h"

#define HD_OPCASE_GUARD 64 /* bytes behind every output, which must stay as they were */

typedef enum hd_opcase_kind {
    HD_OPCASE_BYTES,
    HD_OPCASE_BF16,
    HD_OPCASE_F32,
    HD_OPCASE_I32,
    HD_OPCASE_KINDS
} hd_opcase_kind;

typedef struct hd_opcase_output {
    hd_opcase_kind kind;
    int64_t rows, cols;
    size_t bytes; /* guard included */
    uint8_t *data;
} hd_opcase_output;

/** The shapes of a model that ops meet; letters as in docs/numerics.md. */
typedef struct hd_opcase_sizes {
    int32_t dim;      /* D */
    int32_t width[5]; /* of rows that are normed or quantised: D, Q, 512, 128, F */
    int32_t vocab;    /* V */
    int32_t n_heads;  /* H */
    int32_t index_heads, index_topk;
    int32_t n_experts, n_active; /* E, K */
} hd_opcase_sizes;

typedef struct hd_opcase {
    hd_opdev *d;
    const hd_opcase_sizes *sizes; /* NULL: edge shapes */
    const void *ctx;              /* of a case that is in no table */
    int index;                    /* number of this case of its op */
    int n_picks;                  /* calls of hd_opcase_pick so far */
    uint64_t random;              /* state of the generator */
    char shape[96];               /* for people */
    hd_opcase_output out[8];
    size_t n_out;
    void *host[16]; /* memory that packed weights borrow */
    size_t n_host;
    hd_err err; /* code other than HD_OK: the device failed, and there are no outputs */
} hd_opcase;

typedef void hd_opcase_fn(hd_opcase *c);

/** What cases an op has. An op may have more than one entry. */
typedef struct hd_opcase_entry {
    hd_op op;
    hd_opcase_fn *fn;
    int n_cases;       /* at edge shapes */
    int n_model_cases; /* at a model's shapes; 0: its weights decide, or it has one shape only */
} hd_opcase_entry;

/** The i-th entry, NULL behind the last. */
const hd_opcase_entry *hd_opcase_entry_at(int i);

/** Which case. */
typedef struct hd_opcase_which {
    uint64_t seed;
    int index;
    const hd_opcase_sizes *sizes; /* or NULL */
    const void *ctx;              /* for the case's function */
} hd_opcase_which;

/** Run a case of an op; the outputs stay in `c` until hd_opcase_deinit. All else that is on `d` is
 *  freed. */
void hd_opcase_run(hd_opcase *c, hd_opdev *d, const hd_opcase_entry *e,
                   const hd_opcase_which *which);
void hd_opcase_deinit(hd_opcase *c);

/** How two runs of a case differ. */
typedef struct hd_opcase_diff {
    size_t n_differ; /* elements */
    /* Of the outputs of each kind the worst: for numbers the difference relative to the largest
     * value of the output, infinite where NaN differs; for bytes and integers the part of the
     * elements that differ. */
    double worst[HD_OPCASE_KINDS];
    /* the first one that differs */
    size_t output;
    int64_t row, col; /* row −1: behind the end of the output */
    double want, got;
} hd_opcase_diff;

/** @param want, got both without failure. */
hd_opcase_diff hd_opcase_compare(const hd_opcase *want, const hd_opcase *got);

/* ---- choices --------------------------------------------------------------------------------- */

uint64_t hd_opcase_random(hd_opcase *c);
/** A whole number from lo to hi. */
int32_t hd_opcase_int(hd_opcase *c, int32_t lo, int32_t hi);
/** An element of the list: the first cases go through it in turn, later ones take any. */
int32_t hd_opcase_pick(hd_opcase *c, const int32_t *list, size_t n);
#define HD_OPCASE_PICK(c, ...)                                                                     \
    hd_opcase_pick((c), (const int32_t[]){__VA_ARGS__},                                            \
                   sizeof((const int32_t[]){__VA_ARGS__}) / sizeof(int32_t))
/** The model's size of this name, or an element of the list. */
#define HD_OPCASE_SIZE(c, field, ...)                                                              \
    ((c)->sizes ? (c)->sizes->field : HD_OPCASE_PICK((c), __VA_ARGS__))
/** Say what the case looks like. */
void hd_opcase_shape(hd_opcase *c, const char *fmt, ...) HD_PRINTF(2, 3);

/* ---- inputs on the device -------------------------------------------------------------------- */

/** About normal with the given width; one in 50 is 0, −0, subnormal or 40 times as large. */
hd_bf16 *hd_opcase_bf16(hd_opcase *c, size_t n, float width);
float *hd_opcase_f32(hd_opcase *c, size_t n, float width);
/** Positive, in (0, top]. */
float *hd_opcase_positive(hd_opcase *c, size_t n, float top);
/** Each from lo to hi. */
int32_t *hd_opcase_ints(hd_opcase *c, size_t n, int32_t lo, int32_t hi);
/** A permutation of 0 … n − 1. */
void hd_opcase_shuffle(hd_opcase *c, int32_t *host, int32_t n);
void *hd_opcase_put(hd_opcase *c, const void *host, size_t bytes);
/** Memory that an op will fill, or does not look at. */
void *hd_opcase_room(hd_opcase *c, size_t bytes);
/** n_parts matrices of random values around 1/√cols, data at odd addresses now and then. */
hd_weight *hd_opcase_weight(hd_opcase *c, hd_weight_format format, int32_t rows, int32_t cols,
                            int32_t n_parts);
/** A quantised activation [rows, cols], made by the device's own quantize_act. */
void *hd_opcase_act(hd_opcase *c, int32_t rows, int32_t cols);
/** Zeroed host memory until hd_opcase_deinit: a few megabytes at most. */
void *hd_opcase_host(hd_opcase *c, size_t bytes);
/** For input that is read by value only: as hd_opcase_bf16, on the host. */
void hd_opcase_fill_bf16(hd_opcase *c, hd_bf16 *x, size_t n, float width);

/* ---- outputs --------------------------------------------------------------------------------- */

/** Memory for an output, poisoned and with a guard behind it. */
void *hd_opcase_new(hd_opcase *c, size_t bytes);
/** Memory that is read and written: from `host`, with a guard. */
void *hd_opcase_inout(hd_opcase *c, const void *host, size_t bytes);
/** Keep what the op wrote to memory from hd_opcase_new or hd_opcase_inout: [rows, cols]. */
void hd_opcase_keep(hd_opcase *c, hd_opcase_kind kind, const void *device, int64_t rows,
                    int64_t cols);
/** Keep the values of a quantised activation. */
void hd_opcase_keep_act(hd_opcase *c, const void *act, int32_t rows, int32_t cols);
/** Workspace of an op for these params. */
void *hd_opcase_work(hd_opcase *c, hd_op op, const void *params);

/** Submit hd_op_<name>(stream, p). */
#define HD_OPCASE_SUBMIT(c, name, p) HD_OPDEV_SUBMIT((c)->d, name, p)
/** The same for params that are listed. */
#define HD_OPCASE_RUN(c, name, ...)                                                                \
    do {                                                                                           \
        hd_##name##_params params_ = {__VA_ARGS__};                                                \
        HD_OPCASE_SUBMIT(c, name, &params_);                                                       \
    } while (0)

/* cases_rows.c, cases_linear.c, cases_cache.c: fn NULL at the end. */
extern const hd_opcase_entry hd_opcase_rows_ops[], hd_opcase_linear_ops[], hd_opcase_cache_ops[];

#endif
