/* The probe's own book-keeping, shared by probe.c (wishes) and probe_hooks.c (places). */
#ifndef HD_MODEL_PROBE_STORE_H
#define HD_MODEL_PROBE_STORE_H

#include "model/probe.h"

struct hd_probe {
    int32_t n_tokens;
    int n_captures, n_feeds;
    hd_probe_value capture[HD_PROBE_MAX_VALUES];
    hd_probe_value feed[HD_PROBE_MAX_VALUES];
    hd_err err; /* of the first hook that failed; code HD_OK before */
};

/** What a place holds: dtype and shape of one row, and which rows are at hand. */
typedef struct hd_probe_rows_desc {
    hd_dtype dtype;
    int32_t rank, dims[2];
    int32_t first, n; /* rows first … first + n − 1 of the whole value */
} hd_probe_rows_desc;

/** The wish for "L<layer>.<point>", or NULL. */
hd_probe_value *hd_probe_wanted(hd_probe *p, int32_t layer, const char *point);
const hd_probe_value *hd_probe_fed(const hd_probe *p, int32_t layer, const char *point);

/** Put rows into a captured value, growing it. */
hd_status hd_probe_put(hd_probe *p, hd_probe_value *v, const hd_probe_rows_desc *d,
                       const void *rows) HD_WARN_UNUSED;
/** The rows of a fed value, after checking dtype, shape and range. */
hd_status hd_probe_take(hd_probe *p, const hd_probe_value *v, const hd_probe_rows_desc *d,
                        const void **rows) HD_WARN_UNUSED;

#endif
