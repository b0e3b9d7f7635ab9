/* Devices for tests: which ones to try, and data moved in and out without noise.
 *
 * Any failure of the device itself ends the program with a message: a test that cannot run its op
 * has failed. Uses base, dev and opcase only, so that cross builds of the op tests can link it. */
#ifndef HD_TEST_DEVTEST_H
#define HD_TEST_DEVTEST_H

#include "opcase/opdev.h"

/** A device to test: name for hd_dev_open, instruction set or NULL. */
typedef struct devtest_spec {
    const char *name, *isa;
} devtest_spec;

/** ref, defer:ref, trace:ref, skel, cpu with each instruction set; name NULL at the end. */
extern const devtest_spec devtest_specs[];

typedef struct devtest {
    hd_dev *dev;
    hd_stream *stream;
    char label[64]; /* "cpu avx2" */
    hd_opdev on;    /* memory and weights */
} devtest;

/** False where this machine or build cannot open it (not linked in, unsupported). */
bool devtest_open(devtest *t, const devtest_spec *spec, const hd_dev_opts *opts);
void devtest_close(devtest *t);

/** New device memory: a copy of `src`, or bytes 0xA5 where `src` is NULL. Lives until clear. */
void *devtest_put(devtest *t, const void *src, size_t bytes);
/** Download, and wait for it. */
void devtest_get(devtest *t, void *dst, const void *src, size_t bytes);
hd_weight *devtest_pack(devtest *t, const hd_weight_desc *desc);
/** A weight of one part. */
hd_weight *devtest_weight(devtest *t, hd_weight_format format, int32_t rows, int32_t cols,
                          const void *data, const void *scale);
void devtest_sync(devtest *t);
/** Free all buffers and weights. */
void devtest_clear(devtest *t);

/** End the program with a message unless status is HD_OK. */
void devtest_check(const devtest *t, hd_status status, const char *what);

/** The same unless a call of hd_opdev_* on t->on has failed. */
void devtest_must(const devtest *t);

#endif
