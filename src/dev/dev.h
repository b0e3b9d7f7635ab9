/* THE device interface: all that the model knows about hardware.
 *
 * Four tables per device: the device itself, memory, streams, ops. The model submits semantic ops
 * ("attend", "route", "multiply by this weight"); how a chip does them is the backend's business.
 *
 * Rules that every backend keeps and every caller relies on:
 *  1. Asynchronous by contract. An op or copy is queued on its stream and may run at any time until
 *     the next hd_stream_sync or an event wait. Only arguments are checked at submit (HD_E_ARG,
 *     HD_E_UNSUPPORTED). A fault while running is sticky: it shows at sync.
 *  2. Params structs, and host memory given to `upload`, are read during the submit call only. The
 *     caller may overwrite them at once (`defer:` devices do it on purpose). Every pointer inside
 *     a params struct is device memory or an hd_weight; host code must not read through it.
 *  3. An empty problem (no rows) is success and does nothing.
 *  4. Outputs never alias inputs unless the params comment says so.
 *  5. No op allocates. Ops with a `work` pointer say how much they need through hd_dev_work_bytes.
 *  6. Matrices arrive as hd_weight handles, laid out by `pack` at load time.
 *  7. Optional (fused) ops may be NULL in a backend's table: hd_dev_open puts a composition of
 *     mandatory ops there (dev/compose.c), so a backend is right before it is fast. A fused op
 *     gives the same bits as its composition.
 *  8. One host thread submits to a stream at a time.
 *
 * What each op computes is defined by dev/hostref (backend `ref`); CPU backends agree with it bit
 * for bit, accelerators within a stated tolerance. docs/backends.md tells how to write one. */
#ifndef HD_DEV_DEV_H
#define HD_DEV_DEV_H

#include "base/status.h"
#include "dev/params.h"

#define HD_DEV_ABI 1

typedef struct hd_dev hd_dev;
typedef struct hd_stream hd_stream;
typedef struct hd_event hd_event;

/** How far a backend has been verified. */
typedef enum hd_proof {
    HD_PROOF_L0, /**< loads and declines cleanly */
    HD_PROOF_L1, /**< host code run on a loopback library of ours */
    HD_PROOF_L2, /**< kernels run in a simulator */
    HD_PROOF_L3, /**< run on one real device */
    HD_PROOF_L4, /**< run on many */
    HD_PROOF_L5  /**< soaked */
} hd_proof;

/** What a caller may wish for when opening a device; zero means the default. */
typedef struct hd_dev_opts {
    int n_threads;   /* CPU backends: size of the team, the caller included; 0 = all CPUs */
    const char *isa; /* cpu: "avx512bf16", "avx512", "avx2", "neon", "portable"; NULL = best */
    bool unfused;    /* use the compositions even where the backend has a fused op */
} hd_dev_opts;

typedef struct hd_dev_props {
    char name[32];         /* "cpu", "trace:ref" */
    char description[128]; /* for people: model, instruction set, threads */
    hd_proof proof;
    hd_act_format act_format; /* layout of quantised activations on this device */
    bool maps_host;           /* `adopt` and `pack` may borrow host memory instead of copying */
    int n_threads;
    uint64_t memory_bytes; /* total; 0 = unknown */
} hd_dev_props;

/** Device memory. Addresses are plain pointers so that arithmetic works; the host must not follow
 *  them, even where it could. */
typedef struct hd_dev_mem_ops {
    /** 256-byte aligned, content undefined. HD_E_NOMEM. Not on the step path. */
    hd_status (*alloc)(hd_dev *, size_t bytes, void **out, hd_err *);
    void (*free)(hd_dev *, void *); /* NULL is allowed */
    /** Small constant data (norm weights, sinks, tables). Where `maps_host`, and `host` is aligned
     *  to `align` bytes, *out may be `host` itself: it must outlive the device. Else a copy. */
    hd_status (*adopt)(hd_dev *, const void *host, size_t bytes, size_t align, const void **out,
                       hd_err *);
    void (*release)(hd_dev *, const void *adopted); /* NULL is allowed */
    /** Host to device, in stream order; `src` is read during the call. */
    hd_status (*upload)(hd_stream *, void *dst, const void *src, size_t bytes);
    /** Device to host, in stream order; `dst` is written by the time of the next sync. */
    hd_status (*download)(hd_stream *, void *dst, const void *src, size_t bytes);
    /** n_rows pieces of row_bytes, device to device; strides in bytes. */
    hd_status (*copy2d)(hd_stream *, void *dst, size_t dst_stride, const void *src,
                        size_t src_stride, size_t row_bytes, size_t n_rows);
    hd_status (*fill)(hd_stream *, void *dst, int byte, size_t bytes);
    /** Lay a matrix out for this device. Fails with HD_E_UNSUPPORTED on a format that the device
     *  cannot use, HD_E_NOMEM. */
    hd_status (*pack)(hd_dev *, const hd_weight_desc *, hd_weight **out, hd_err *);
    void (*unpack)(hd_dev *, hd_weight *); /* NULL is allowed */
} hd_dev_mem_ops;

typedef struct hd_dev_stream_ops {
    hd_status (*create)(hd_dev *, hd_stream **out, hd_err *);
    void (*destroy)(hd_stream *); /* waits for what was submitted */
    /** Wait until all work is done, at most timeout_ms (< 0: no limit). HD_E_TIMEOUT, or the sticky
     *  fault of the stream as HD_E_DEVICE with its text. */
    hd_status (*sync)(hd_stream *, int timeout_ms, hd_err *);
    hd_status (*event_create)(hd_dev *, hd_event **out, hd_err *);
    void (*event_destroy)(hd_event *);
    hd_status (*event_record)(hd_stream *, hd_event *);
    /** Later work of this stream waits for the event. */
    hd_status (*event_wait)(hd_stream *, hd_event *);
    /** Optional, NULL where the device has no graphs: record submissions instead of running them,
     *  then replay them; `graph` is destroyed by graph_destroy. */
    hd_status (*capture_begin)(hd_stream *);
    hd_status (*capture_end)(hd_stream *, void **graph);
    hd_status (*replay)(hd_stream *, void *graph);
    void (*graph_destroy)(hd_dev *, void *graph);
} hd_dev_stream_ops;

/* The ops. X(name): params struct hd_<name>_params in params.h, enum HD_OP_<name>. */
/* clang-format off */
#define HD_MANDATORY_OPS(X)                                                                        \
    X(embed) X(gather_rows) X(scatter_rows) X(add) X(stream_mean)                                  \
    X(rms_norm) X(q_norm) X(rope) X(hadamard_quant) X(quantize_act)                                \
    X(linear) X(kv_pack) X(index_pack) X(compress_pool)                                            \
    X(index_score) X(top_k) X(attention)                                                           \
    X(route) X(moe_group) X(grouped_linear) X(swiglu) X(combine)                                   \
    X(hc_mix) X(hc_collapse) X(hc_merge)                                                           \
    X(argmax) X(find_nonfinite)
#define HD_FUSED_OPS(X)                                                                            \
    X(hc_pre) X(rms_norm_quant) X(q_norm_rope) X(kv_norm_rope_pack) X(index_topk) X(moe_experts)
/* clang-format on */
#define HD_OPS(X) HD_MANDATORY_OPS(X) HD_FUSED_OPS(X)

typedef enum hd_op {
#define HD_OP_ENUM(name) HD_OP_##name,
    HD_OPS(HD_OP_ENUM)
#undef HD_OP_ENUM
        HD_OP_COUNT
} hd_op;

typedef struct hd_dev_ops {
#define HD_OP_SLOT(name) hd_status (*name)(hd_stream *, const hd_##name##_params *);
    HD_OPS(HD_OP_SLOT)
#undef HD_OP_SLOT
} hd_dev_ops;

/** A kind of device. One constant hd_backend_<name> per backend; `ref`, `cpu`, `trace`, `defer`
 *  and `skel` are linked in. */
typedef struct hd_backend {
    int abi;           /* HD_DEV_ABI */
    const char *name;  /* "cpu" */
    const char *about; /* one line for people */
    bool wraps;        /* opened as "name:inner" only */
    /** Better backends score higher; 0 = cannot be used on this machine, or only by name. */
    int (*score)(void);
    /** Fill the tables of a new device; `backend`, `props.name`, `composed` and the fused ops left
     *  NULL are filled afterwards. The options are never NULL. `inner` is what a wrapping backend
     *  wraps, else NULL; when open succeeds, the wrapper owns it and its close closes it too. */
    hd_status (*open)(const hd_dev_opts *, hd_dev *inner, hd_dev **out, hd_err *);
    void (*close)(hd_dev *);
} hd_backend;

/** First member of every backend's device struct. */
struct hd_dev {
    const hd_backend *backend;
    hd_dev_props props;
    hd_dev_mem_ops mem;
    hd_dev_stream_ops stream;
    hd_dev_ops ops; /* no NULL after hd_dev_open */
    /** Bytes that a fused op of the backend's own needs at params->work for these (or smaller)
     *  shapes; NULL: none of them needs any. Callers use hd_dev_work_bytes. */
    size_t (*work_bytes)(const hd_dev *, hd_op op, const void *params);
    /** Bytes of a quantised activation matrix [rows, cols]. */
    size_t (*act_bytes)(const hd_dev *, int64_t rows, int64_t cols);
    bool composed[HD_OP_COUNT]; /* the slot holds dev/compose.c's composition */
};

/** First member of every backend's stream struct. */
struct hd_stream {
    hd_dev *dev;
};

/** Open by name: "cpu", "ref", "skel", or a wrapper and what it wraps: "trace:cpu" (checks shapes,
 *  logs calls), "defer:ref" (runs nothing before a sync, and overwrites what was uploaded).
 *  Optional ops that the backend lacks are composed. `opts` may be NULL. HD_E_NOTFOUND: no such
 *  backend; HD_E_ARG: a name that makes no sense; HD_E_UNSUPPORTED: not usable here. */
hd_status hd_dev_open(const char *name, const hd_dev_opts *opts, hd_dev **out,
                      hd_err *err) HD_WARN_UNUSED;
/** The same for a backend that is not linked in (a loaded module, a test). `inner`: only where the
 *  backend wraps; taken over on success. */
hd_status hd_dev_open_backend(const hd_backend *backend, const hd_dev_opts *opts, hd_dev *inner,
                              hd_dev **out, hd_err *err) HD_WARN_UNUSED;
void hd_dev_close(hd_dev *dev); /* NULL is allowed; streams and memory must be gone */

/** The i-th linked-in backend, NULL behind the last. */
const hd_backend *hd_backend_at(int i);

/** Bytes of workspace; 0 for ops without `work`. */
size_t hd_dev_work_bytes(const hd_dev *dev, hd_op op, const void *params);

const char *hd_op_name(hd_op op);
/** sizeof the params struct of an op. */
size_t hd_op_params_size(hd_op op);
const char *hd_proof_name(hd_proof proof); /* "L3" */

static inline size_t hd_act_bytes(const hd_dev *dev, int64_t rows, int64_t cols)
{
    return dev->act_bytes(dev, rows, cols);
}

/* hd_op_linear(stream, &params) and so on. */
#define HD_OP_CALL(name)                                                                           \
    static inline hd_status hd_op_##name(hd_stream *s, const hd_##name##_params *p)                \
    {                                                                                              \
        return s->dev->ops.name(s, p);                                                             \
    }
HD_OPS(HD_OP_CALL)
#undef HD_OP_CALL

#endif
