/* What the two wrapping backends share: a device that passes calls on to another one.
 *
 * Memory addresses, packed weights and events of the inner device go through unchanged, so only
 * streams need a struct of their own. Fused ops that the inner device merely composes stay NULL:
 * they are then composed on the wrapper, which so sees every mandatory op. Graph capture is not
 * offered through a wrapper. */
#ifndef HD_BACKEND_TRACE_WRAP_H
#define HD_BACKEND_TRACE_WRAP_H

#include "dev/dev.h"

typedef struct hd_wrap_dev {
    hd_dev base;
    hd_dev *inner; /* owned once open has succeeded */
} hd_wrap_dev;

/** Properties, alloc, free, adopt, release, pack, unpack, act_bytes, work_bytes of `inner`. The
 *  wrapper sets the rest: upload, download, copy2d, fill, streams, ops. */
void hd_wrap_init(hd_wrap_dev *w, hd_dev *inner);

#endif
