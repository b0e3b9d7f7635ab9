/* What memory a call touches: each op's params as a list of named tensors.
 *
 * The list is all that tracing needs to know about an op: it is printed, checked against the
 * device's memory, and summed. A new op needs one function in args.c. */
#ifndef HD_BACKEND_TRACE_ARGS_H
#define HD_BACKEND_TRACE_ARGS_H

#include "backend/trace/memory.h"

typedef enum hd_trace_role {
    HD_TRACE_IN,
    HD_TRACE_OUT,
    HD_TRACE_OUT_OVER, /* output that may be exactly one of the inputs */
    HD_TRACE_INOUT
} hd_trace_role;

typedef enum hd_trace_type {
    HD_TRACE_U8,
    HD_TRACE_BF16,
    HD_TRACE_F32,
    HD_TRACE_I32,
    HD_TRACE_I64
} hd_trace_type;

enum { HD_TRACE_MAX_ARGS = 24, HD_TRACE_MAX_DIMS = 4, HD_TRACE_MAX_WEIGHTS = 3 };

typedef struct hd_trace_arg {
    const char *name;
    const void *ptr;
    hd_trace_role role;
    hd_trace_type type;
    size_t align; /* bytes */
    int n_dims;
    int64_t dim[HD_TRACE_MAX_DIMS];
    size_t bytes; /* 0: empty, the pointer does not count */
} hd_trace_arg;

typedef struct hd_trace_args {
    const hd_dev *dev;    /* the traced device, and its memory */
    hd_trace_memory *mem; /* ... */
    bool empty;           /* nothing to do: no pointer counts */
    int n, n_weights;
    hd_trace_arg arg[HD_TRACE_MAX_ARGS];
    hd_weight weight[HD_TRACE_MAX_WEIGHTS];
    char bad[160]; /* the first thing wrong with the call, or "" */
} hd_trace_args;

/** List the tensors of a call into `a`, whose dev and mem are set; sizes and handles that make no
 *  sense go to a->bad. */
void hd_trace_list(hd_trace_args *a, hd_op op, const void *params);

/** Pointers: device memory, large enough, aligned, writable where written, no alias. To a->bad. */
void hd_trace_check(hd_trace_args *a);

const char *hd_trace_type_name(hd_trace_type type); /* "bf16" */

#endif
