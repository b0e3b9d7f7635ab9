/* A device as ops are tried on it: data in, data out, and no status to look at in between.
 *
 * The first call that fails is remembered with its text; the calls behind it do nothing and give
 * NULL. So a case is written as if nothing could fail, and asked once at its end. Memory and
 * weights live until hd_opdev_clear. Device and stream are the caller's. */
#ifndef HD_OPCASE_OPDEV_H
#define HD_OPCASE_OPDEV_H

#include "dev/dev.h"

typedef struct hd_opdev {
    hd_dev *dev;
    hd_stream *stream;
    void **buffers;
    size_t n_buffers;
    hd_weight **weights;
    size_t n_weights;
    hd_err err; /* of the first call that failed; code HD_OK before */
} hd_opdev;

void hd_opdev_init(hd_opdev *d, hd_dev *dev, hd_stream *stream);
/** Waits, and frees what is left. */
void hd_opdev_deinit(hd_opdev *d);
/** Wait, free all memory and weights, and forget the failure. */
void hd_opdev_clear(hd_opdev *d);

static inline bool hd_opdev_ok(const hd_opdev *d)
{
    return d->err.code == HD_OK;
}

/** New device memory: a copy of `src`, or bytes 0xA5 where `src` is NULL. */
void *hd_opdev_put(hd_opdev *d, const void *src, size_t bytes);
/** Download, and wait for it. dst is left as it was after a failure. */
void hd_opdev_get(hd_opdev *d, void *dst, const void *src, size_t bytes);
hd_weight *hd_opdev_pack(hd_opdev *d, const hd_weight_desc *desc);
void hd_opdev_sync(hd_opdev *d);

/** Remember a failure of `what`, unless st is HD_OK or there was one before. */
void hd_opdev_check(hd_opdev *d, hd_status st, const char *what);

/** The values of a quantised activation [rows, cols] of this device, each with its scale.
 *  @param act host memory, as downloaded.  @param out f32 [rows, cols] */
void hd_opdev_act_values(const hd_dev *dev, const void *act, int64_t rows, int64_t cols,
                         float *out);

/** Submit hd_op_<name> with params p, unless something failed before. */
#define HD_OPDEV_SUBMIT(d, name, p)                                                                \
    do {                                                                                           \
        if (hd_opdev_ok(d)) hd_opdev_check((d), hd_op_##name((d)->stream, (p)), #name);            \
    } while (0)

#endif
