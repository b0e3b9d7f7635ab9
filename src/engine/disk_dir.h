/* The directory of the cache on disk: DIR/secret, and DIR/<identity> with the files of one model.
 *
 * Several processes may use one at a time. What they find is whole (files appear by renaming), and
 * a file that another has removed is a miss. */
#ifndef HD_ENGINE_DISK_DIR_H
#define HD_ENGINE_DISK_DIR_H

#include "engine/disk_index.h"

#define HD_DISK_SECRET_BYTES 32

typedef struct hd_disk_dir {
    int fd; /* DIR/<identity>; −1: not open */
    uint8_t secret[HD_DISK_SECRET_BYTES];
} hd_disk_dir;

/** Make what is missing (mode 0700; the parent of `path` must be there), read or draw the secret,
 *  remove what a killed process left behind. @return HD_E_IO; HD_E_FORMAT: the secret is damaged.
 */
hd_status hd_disk_dir_open(const char *path, const uint8_t identity[HD_SHA256_BYTES],
                           hd_disk_dir *out, hd_err *err) HD_WARN_UNUSED;
void hd_disk_dir_close(hd_disk_dir *d);

/** Put all usable files of the directory into an empty index, the least recently changed first;
 * what is beyond the budget (bytes) is removed. Damaged files of ours are removed and counted,
 * foreign ones passed over. */
hd_status hd_disk_dir_scan(const hd_disk_dir *d, const hd_disk_shape *shape, uint64_t budget,
                           hd_disk_index *ix, uint64_t *n_bad, hd_err *err) HD_WARN_UNUSED;

#endif
