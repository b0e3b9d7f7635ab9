/* Files: map, read whole, write aside and rename. Paths are NUL-terminated UTF-8. */
#ifndef HD_BASE_FS_H
#define HD_BASE_FS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

typedef struct hd_map {
    const uint8_t *ptr; /* NULL when the file is empty */
    size_t len;         /* bytes */
} hd_map;

/** Map a regular file read-only and private. A file cut short later faults on access: SIGBUS. */
hd_status hd_map_open(const char *path, hd_map *out, hd_err *err) HD_WARN_UNUSED;
void hd_map_close(hd_map *m);

/** Append a whole file to `out`; HD_E_LIMIT when it is longer than the buffer's maximum.
 *  "-" is standard input. */
hd_status hd_fs_read_all(const char *path, hd_buf *out, hd_err *err) HD_WARN_UNUSED;

/** Replace `path` by `data`: written beside it, flushed, then renamed; all or nothing. */
hd_status hd_fs_write_atomic(const char *path, hd_str data, hd_err *err) HD_WARN_UNUSED;
/** The same for what only its owner may read. */
hd_status hd_fs_write_private(const char *path, hd_str data, hd_err *err) HD_WARN_UNUSED;

/** dir + "/" + name into out. HD_E_LIMIT when it does not fit. */
hd_status hd_fs_join(const char *dir, const char *name, char *out, size_t out_size,
                     hd_err *err) HD_WARN_UNUSED;

#endif
