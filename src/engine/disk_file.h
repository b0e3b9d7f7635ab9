/* A file of the prefix cache on disk: its format, writing and reading one.
 *
 *   head       4,096 bytes: struct hd_disk_head
 *   n_blocks × block_bytes:  ids i32 [128], then
 *     rows     the compressed rows of those 128 positions (model/state.h)
 *     snap     a snapshot at the end of the block; one block
 *
 * A block's key is a hash of the key before it and its ids, from a root that only who knows the
 * directory's secret and the group can compute (docs/kv-files.md). Head and each block have their
 * own checksum, so the first blocks of a file can be read alone. A file is written aside, renamed,
 * and never changed. There is no fsync: a file that a power cut has spoilt fails its checksum, and
 * a cache may lose one. Numbers are little-endian. */
#ifndef HD_ENGINE_DISK_FILE_H
#define HD_ENGINE_DISK_FILE_H

#include "base/sha256.h"
#include "base/status.h"

#define HD_DISK_VERSION    1
#define HD_DISK_BLOCK      128 /* positions */
#define HD_DISK_SEGMENT    32  /* blocks in a file of rows: 4,096 positions */
#define HD_DISK_KEY_BYTES  16
#define HD_DISK_HEAD_BYTES 4096
#define HD_DISK_IDS_BYTES  (HD_DISK_BLOCK * sizeof(int32_t))
#define HD_DISK_NAME_SIZE  64

typedef struct hd_disk_key {
    uint8_t byte[HD_DISK_KEY_BYTES];
} hd_disk_key;

typedef enum hd_disk_kind { HD_DISK_ROWS = 1, HD_DISK_SNAP = 2 } hd_disk_kind;

typedef struct hd_disk_head {
    char magic[8];
    uint32_t version;
    uint32_t kind;
    uint32_t from;     /* first position; rows: a multiple of 4,096 */
    uint32_t n_blocks; /* 1 … 32; snap: 1 */
    uint64_t block_bytes;
    uint8_t identity[HD_SHA256_BYTES];
    hd_disk_key parent; /* rows: of the block that ends at `from`; snap: its own: what it needs */
    hd_disk_key key[HD_DISK_SEGMENT]; /* [n_blocks] */
    uint64_t sum[HD_DISK_SEGMENT];    /* [n_blocks]: hd_checksum of each block */
    uint8_t zero[3240];
    uint64_t head_sum; /* of all before it */
} hd_disk_head;

/** What a directory's files must agree with. */
typedef struct hd_disk_shape {
    uint8_t identity[HD_SHA256_BYTES];
    uint64_t rows_bytes, snap_bytes; /* of a block of each kind, ids included */
} hd_disk_shape;

/** The key of the block with these ids i32 [128] behind the one with key `before`. */
hd_disk_key hd_disk_key_next(const hd_disk_key *before, const int32_t *ids);

/** A head whose keys, and the blocks behind it, are still to come. */
void hd_disk_head_init(hd_disk_head *h, const hd_disk_shape *shape, hd_disk_kind kind,
                       uint32_t from, const hd_disk_key *parent);
uint64_t hd_disk_file_bytes(const hd_disk_head *h);

/** "0004096-0008192.<key>.rows": positions and the key of the last block. */
void hd_disk_name(const hd_disk_head *h, char out[HD_DISK_NAME_SIZE]);
bool hd_disk_is_name(const char *name);

/** Write the file `buf` (head, blocks) into the directory `dir`, under its name; fills in the
 *  checksums. @return HD_E_IO: nothing is left behind. */
hd_status hd_disk_write(int dir, uint8_t *buf, hd_err *err) HD_WARN_UNUSED;

/** Read and check a head, and that the file has its length and name.
 *  @return HD_E_NOTFOUND; HD_E_IO; HD_E_UNSUPPORTED: another program's file, or of another version
 *  or identity; HD_E_FORMAT: a file of ours that is damaged. */
hd_status hd_disk_read_head(int dir, const char *name, const hd_disk_shape *shape,
                            hd_disk_head *out, hd_err *err) HD_WARN_UNUSED;
/** The same, and its blocks first … first + n − 1 to `buf` behind the head, checked. */
hd_status hd_disk_read(int dir, const char *name, const hd_disk_shape *shape, uint32_t first,
                       uint32_t n, uint8_t *buf, hd_err *err) HD_WARN_UNUSED;

/** Whether a file name is one that hd_disk_write (and hd_disk_secret) use while they write. */
bool hd_disk_is_aside(const char *name);
/** Open a new file of that kind, mode 0600 and locked as long as it is open: an unlocked one was
 *  left behind. @return −1 on failure, with errno. */
int hd_disk_open_aside(int dir, char name[HD_DISK_NAME_SIZE]);
/** Write all bytes. false: errno tells. */
bool hd_disk_write_all(int fd, const void *data, size_t n);

#endif
