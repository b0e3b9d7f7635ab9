#include "backend/trace/wrap.h"

static hd_dev *inner_of(const hd_dev *dev)
{
    return ((const hd_wrap_dev *)dev)->inner;
}

static hd_status wrap_alloc(hd_dev *dev, size_t bytes, void **out, hd_err *err)
{
    return inner_of(dev)->mem.alloc(inner_of(dev), bytes, out, err);
}

static void wrap_free(hd_dev *dev, void *p)
{
    inner_of(dev)->mem.free(inner_of(dev), p);
}

static hd_status wrap_adopt(hd_dev *dev, const void *host, size_t bytes, size_t align,
                            const void **out, hd_err *err)
{
    return inner_of(dev)->mem.adopt(inner_of(dev), host, bytes, align, out, err);
}

static void wrap_release(hd_dev *dev, const void *adopted)
{
    inner_of(dev)->mem.release(inner_of(dev), adopted);
}

static hd_status wrap_pack(hd_dev *dev, const hd_weight_desc *desc, hd_weight **out, hd_err *err)
{
    return inner_of(dev)->mem.pack(inner_of(dev), desc, out, err);
}

static void wrap_unpack(hd_dev *dev, hd_weight *w)
{
    inner_of(dev)->mem.unpack(inner_of(dev), w);
}

static size_t wrap_act_bytes(const hd_dev *dev, int64_t rows, int64_t cols)
{
    return hd_act_bytes(inner_of(dev), rows, cols);
}

static size_t wrap_work_bytes(const hd_dev *dev, hd_op op, const void *params)
{
    return hd_dev_work_bytes(inner_of(dev), op, params);
}

void hd_wrap_init(hd_wrap_dev *w, hd_dev *inner)
{
    w->inner = inner;
    w->base.props = inner->props;
    w->base.mem = (hd_dev_mem_ops){.alloc = wrap_alloc,
                                   .free = wrap_free,
                                   .adopt = wrap_adopt,
                                   .release = wrap_release,
                                   .pack = wrap_pack,
                                   .unpack = wrap_unpack};
    w->base.act_bytes = wrap_act_bytes;
    w->base.work_bytes = wrap_work_bytes;
}
