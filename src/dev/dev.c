#include "dev/dev.h"

#include <stdio.h>
#include <string.h>

#include "base/str.h"
#include "dev/compose.h"

/* ---- the backends that are linked in -------------------------------------------------------- */

#define LINKED_BACKENDS(X) X(ref) X(cpu) X(trace) X(defer) X(skel)
#define DECLARE(name)      extern const hd_backend hd_backend_##name;
LINKED_BACKENDS(DECLARE)
#undef DECLARE

const hd_backend *hd_backend_at(int i)
{
#define ADDRESS(name) &hd_backend_##name,
    static const hd_backend *const all[] = {LINKED_BACKENDS(ADDRESS)};
#undef ADDRESS
    return i >= 0 && (size_t)i < HD_COUNT(all) ? all[i] : NULL;
}

static const hd_backend *find_backend(hd_str name)
{
    const hd_backend *b;
    for (int i = 0; (b = hd_backend_at(i)); i++)
        if (hd_str_eqz(name, b->name)) return b;
    return NULL;
}

/* ---- names ---------------------------------------------------------------------------------- */

const char *hd_op_name(hd_op op)
{
#define NAME(name) #name,
    static const char *const names[] = {HD_OPS(NAME)};
#undef NAME
    return (unsigned)op < HD_OP_COUNT ? names[op] : "unknown";
}

size_t hd_op_params_size(hd_op op)
{
#define SIZE(name) sizeof(hd_##name##_params),
    static const size_t sizes[] = {HD_OPS(SIZE)};
#undef SIZE
    return (unsigned)op < HD_OP_COUNT ? sizes[op] : 0;
}

const char *hd_proof_name(hd_proof proof)
{
    static const char *const names[] = {"L0", "L1", "L2", "L3", "L4", "L5"};
    return (unsigned)proof < HD_COUNT(names) ? names[proof] : "unknown";
}

/* ---- open and close ------------------------------------------------------------------------- */

/* What a backend must bring; NULL when nothing is missing. */
static const char *missing_slot(const hd_dev *dev)
{
#define NEED(member)                                                                               \
    if (!dev->member) return #member
    NEED(mem.alloc);
    NEED(mem.free);
    NEED(mem.adopt);
    NEED(mem.release);
    NEED(mem.upload);
    NEED(mem.download);
    NEED(mem.copy2d);
    NEED(mem.fill);
    NEED(mem.pack);
    NEED(mem.unpack);
    NEED(stream.create);
    NEED(stream.destroy);
    NEED(stream.sync);
    NEED(stream.event_create);
    NEED(stream.event_destroy);
    NEED(stream.event_record);
    NEED(stream.event_wait);
    NEED(act_bytes);
#define NEED_OP(name) NEED(ops.name);
    HD_MANDATORY_OPS(NEED_OP)
#undef NEED_OP
#undef NEED
    return NULL;
}

static void compose_missing(hd_dev *dev, bool all){
#define COMPOSE(name)                                                                              \
    dev->composed[HD_OP_##name] = all || !dev->ops.name;                                           \
    if (dev->composed[HD_OP_##name]) dev->ops.name = hd_compose_##name;
    HD_FUSED_OPS(COMPOSE)
#undef COMPOSE
}

hd_status hd_dev_open_backend(const hd_backend *b, const hd_dev_opts *opts, hd_dev *inner,
                              hd_dev **out, hd_err *err)
{
    static const hd_dev_opts defaults = {0};
    *out = NULL;
    if (b->abi != HD_DEV_ABI)
        HD_FAIL(err, HD_E_UNSUPPORTED, "backend '%s' has device interface version %d, expected %d",
                b->name, b->abi, HD_DEV_ABI);
    if (b->wraps && !inner)
        HD_FAIL(err, HD_E_ARG, "device '%s' wraps another one, expected a name like '%s:ref'",
                b->name, b->name);
    if (!b->wraps && inner)
        HD_FAIL(err, HD_E_ARG, "device '%s' cannot wrap '%s', expected 'trace' or 'defer' there",
                b->name, inner->props.name);
    char name[sizeof(((hd_dev_props *)0)->name)];
    int n = snprintf(name, sizeof name, "%s%s%s", b->name, inner ? ":" : "",
                     inner ? inner->props.name : "");
    if (n >= (int)sizeof name)
        HD_FAIL(err, HD_E_ARG, "device name '%s...' is too long, expected at most %zu bytes", name,
                sizeof name - 1);
    if (!opts) opts = &defaults;
    hd_dev *dev = NULL;
    HD_TRY(b->open(opts, inner, &dev, err));
    const char *missing = missing_slot(dev);
    if (missing) {
        b->close(dev);
        HD_FAIL(err, HD_E_UNSUPPORTED, "backend '%s' lacks '%s'", b->name, missing);
    }
    dev->backend = b;
    memcpy(dev->props.name, name, sizeof name);
    compose_missing(dev, opts->unfused);
    *out = dev;
    return HD_OK;
}

static hd_status fail_unknown(hd_str name, hd_err *err)
{
    char known[256];
    size_t n = 0;
    const hd_backend *b;
    for (int i = 0; (b = hd_backend_at(i)) && n < sizeof known; i++)
        n +=
            (size_t)snprintf(known + n, sizeof known - n, " %s%s", b->name, b->wraps ? ":..." : "");
    HD_FAIL(err, HD_E_NOTFOUND, "unknown device '%.*s', expected one of%s", HD_STR_ARG(name),
            known);
}

static hd_status open_named(hd_str name, const hd_dev_opts *opts, hd_dev **out, hd_err *err)
{
    size_t colon = hd_str_find(name, HD_STR(":"), 0);
    const hd_backend *b = find_backend((hd_str){name.ptr, colon});
    if (!b) return fail_unknown(name, err);
    hd_dev *inner = NULL;
    if (colon < name.len) HD_TRY(open_named(hd_str_skip(name, colon + 1), opts, &inner, err));
    hd_status st = hd_dev_open_backend(b, opts, inner, out, err);
    if (st != HD_OK) hd_dev_close(inner);
    return st;
}

hd_status hd_dev_open(const char *name, const hd_dev_opts *opts, hd_dev **out, hd_err *err)
{
    *out = NULL;
    hd_str s = hd_str_from(name);
    /* Also bounds the recursion. */
    if (s.len >= sizeof(((hd_dev_props *)0)->name))
        HD_FAIL(err, HD_E_ARG, "device name of %zu bytes, expected fewer than %zu", s.len,
                sizeof(((hd_dev_props *)0)->name));
    return open_named(s, opts, out, err);
}

void hd_dev_close(hd_dev *dev)
{
    if (dev) dev->backend->close(dev);
}

size_t hd_dev_work_bytes(const hd_dev *dev, hd_op op, const void *params)
{
    if ((unsigned)op >= HD_OP_COUNT) return 0;
    if (dev->composed[op]) return hd_compose_work_bytes(dev, op, params);
    return dev->work_bytes ? dev->work_bytes(dev, op, params) : 0;
}
