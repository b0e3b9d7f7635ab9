#include "engine/disk_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checksum.h"
#include "base/clock.h"

#define ASIDE "tmp-"
static const char magic[8] = "HADALKV\n";

_Static_assert(sizeof(hd_disk_head) == HD_DISK_HEAD_BYTES, "the head has no holes");

static const char *reason(int code)
{
    static _Thread_local char text[128];
    return strerror_r(code, text, sizeof text); /* the GNU one: it may return another text */
}

/* ---- keys, heads, names -----------------------------------------------------------------------*/

hd_disk_key hd_disk_key_next(const hd_disk_key *before, const int32_t *ids)
{
    uint8_t digest[HD_SHA256_BYTES];
    hd_disk_key key;
    hd_sha256 s;
    hd_sha256_init(&s);
    hd_sha256_add(&s, before->byte, sizeof before->byte);
    hd_sha256_add(&s, ids, HD_DISK_IDS_BYTES);
    hd_sha256_end(&s, digest);
    memcpy(key.byte, digest, sizeof key.byte);
    return key;
}

static uint64_t block_bytes(const hd_disk_shape *shape, uint32_t kind)
{
    return kind == HD_DISK_ROWS ? shape->rows_bytes : shape->snap_bytes;
}

void hd_disk_head_init(hd_disk_head *h, const hd_disk_shape *shape, hd_disk_kind kind,
                       uint32_t from, const hd_disk_key *parent)
{
    *h = (hd_disk_head){.version = HD_DISK_VERSION,
                        .kind = kind,
                        .from = from,
                        .block_bytes = block_bytes(shape, kind),
                        .parent = *parent};
    memcpy(h->magic, magic, sizeof magic);
    memcpy(h->identity, shape->identity, sizeof h->identity);
}

uint64_t hd_disk_file_bytes(const hd_disk_head *h)
{
    return HD_DISK_HEAD_BYTES + h->n_blocks * h->block_bytes;
}

void hd_disk_name(const hd_disk_head *h, char out[HD_DISK_NAME_SIZE])
{
    char hex[2 * HD_DISK_KEY_BYTES + 1];
    const hd_disk_key *last = &h->key[h->n_blocks - 1];
    for (size_t i = 0; i < sizeof last->byte; i++) snprintf(hex + 2 * i, 3, "%02x", last->byte[i]);
    snprintf(out, HD_DISK_NAME_SIZE, "%07" PRIu32 "-%07" PRIu32 ".%s.%s", h->from,
             h->from + h->n_blocks * HD_DISK_BLOCK, hex, h->kind == HD_DISK_ROWS ? "rows" : "snap");
}

bool hd_disk_is_name(const char *name)
{
    size_t n = strlen(name);
    return n < HD_DISK_NAME_SIZE && n > 5 &&
           (strcmp(name + n - 5, ".rows") == 0 || strcmp(name + n - 5, ".snap") == 0);
}

/* ---- writing ----------------------------------------------------------------------------------*/

bool hd_disk_is_aside(const char *name)
{
    return strncmp(name, ASIDE, sizeof ASIDE - 1) == 0;
}

int hd_disk_open_aside(int dir, char name[HD_DISK_NAME_SIZE])
{
    snprintf(name, HD_DISK_NAME_SIZE, ASIDE "%ld-%" PRId64, (long)getpid(), hd_clock_ns());
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    /* Where a file system has no locks, another process that starts may remove it: a lost file. */
    if (fd >= 0) (void)flock(fd, LOCK_EX | LOCK_NB);
    return fd;
}

bool hd_disk_write_all(int fd, const void *data, size_t n)
{
    const uint8_t *p = data;
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return false;
        p += done;
        n -= (size_t)done;
    }
    return true;
}

static void fill_sums(uint8_t *buf)
{
    hd_disk_head *h = (hd_disk_head *)(void *)buf;
    for (uint32_t i = 0; i < h->n_blocks; i++)
        h->sum[i] =
            hd_checksum(buf + HD_DISK_HEAD_BYTES + i * h->block_bytes, (size_t)h->block_bytes);
    h->head_sum = hd_checksum(h, offsetof(hd_disk_head, head_sum));
}

hd_status hd_disk_write(int dir, uint8_t *buf, hd_err *err)
{
    char name[HD_DISK_NAME_SIZE], aside[HD_DISK_NAME_SIZE];
    const hd_disk_head *h = (const hd_disk_head *)(const void *)buf;
    hd_disk_name(h, name);
    fill_sums(buf);
    int fd = hd_disk_open_aside(dir, aside);
    if (fd < 0) HD_FAIL(err, HD_E_IO, "cannot create '%s': %s", aside, reason(errno));
    bool is_written = hd_disk_write_all(fd, buf, (size_t)hd_disk_file_bytes(h));
    int why = errno;
    if (is_written && renameat(dir, aside, dir, name) != 0) {
        is_written = false;
        why = errno;
    }
    if (!is_written) (void)unlinkat(dir, aside, 0);
    close(fd); /* the lock goes last: nobody takes it for one left behind */
    if (!is_written) HD_FAIL(err, HD_E_IO, "cannot write '%s': %s", name, reason(why));
    return HD_OK;
}

/* ---- reading ----------------------------------------------------------------------------------*/

/* HD_E_FORMAT when the file ends before n bytes. */
static hd_status read_at(int fd, const char *name, uint64_t at, void *out, size_t n, hd_err *err)
{
    uint8_t *p = out;
    while (n > 0) {
        ssize_t got = pread(fd, p, n, (off_t)at);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) HD_FAIL(err, HD_E_IO, "cannot read '%s': %s", name, reason(errno));
        if (got == 0) HD_FAIL(err, HD_E_FORMAT, "'%s' is short", name);
        p += got;
        at += (uint64_t)got;
        n -= (size_t)got;
    }
    return HD_OK;
}

static hd_status check_head(const hd_disk_head *h, const char *name, const hd_disk_shape *shape,
                            hd_err *err)
{
    char own_name[HD_DISK_NAME_SIZE];
    if (hd_checksum(h, offsetof(hd_disk_head, head_sum)) != h->head_sum)
        HD_FAIL(err, HD_E_FORMAT, "the head of '%s' is damaged", name);
    if (h->version != HD_DISK_VERSION ||
        memcmp(h->identity, shape->identity, sizeof h->identity) != 0)
        HD_FAIL(err, HD_E_UNSUPPORTED, "'%s' is of another version or model", name);
    uint32_t most = h->kind == HD_DISK_ROWS ? HD_DISK_SEGMENT : 1;
    bool is_known = h->kind == HD_DISK_ROWS || h->kind == HD_DISK_SNAP;
    if (!is_known || h->n_blocks < 1 || h->n_blocks > most ||
        h->block_bytes != block_bytes(shape, h->kind))
        HD_FAIL(err, HD_E_UNSUPPORTED, "'%s' has another layout", name);
    hd_disk_name(h, own_name);
    if (strcmp(own_name, name) != 0)
        HD_FAIL(err, HD_E_UNSUPPORTED, "'%s' was named '%s'", name, own_name);
    return HD_OK;
}

static hd_status open_head(int dir, const char *name, const hd_disk_shape *shape, int *fd,
                           hd_disk_head *out, hd_err *err)
{
    struct stat info;
    *fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (*fd < 0)
        HD_FAIL(err, errno == ENOENT ? HD_E_NOTFOUND : HD_E_IO, "cannot open '%s': %s", name,
                reason(errno));
    if (fstat(*fd, &info) != 0 || !S_ISREG(info.st_mode))
        HD_FAIL(err, HD_E_UNSUPPORTED, "'%s' is no regular file", name);
    *out = (hd_disk_head){0};
    hd_status st = read_at(*fd, name, 0, out, sizeof *out, err);
    if (st != HD_E_IO && memcmp(out->magic, magic, sizeof magic) != 0)
        HD_FAIL(err, HD_E_UNSUPPORTED, "'%s' is no file of the cache", name);
    HD_TRY(st);
    HD_TRY(check_head(out, name, shape, err));
    if ((uint64_t)info.st_size != hd_disk_file_bytes(out))
        HD_FAIL(err, HD_E_FORMAT, "'%s' has not its length", name);
    return HD_OK;
}

hd_status hd_disk_read_head(int dir, const char *name, const hd_disk_shape *shape,
                            hd_disk_head *out, hd_err *err)
{
    int fd;
    hd_status st = open_head(dir, name, shape, &fd, out, err);
    if (fd >= 0) close(fd);
    return st;
}

static hd_status read_blocks(int fd, const char *name, uint32_t first, uint32_t n, uint8_t *buf,
                             hd_err *err)
{
    const hd_disk_head *h = (const hd_disk_head *)(const void *)buf;
    uint8_t *blocks = buf + HD_DISK_HEAD_BYTES;
    if (first >= h->n_blocks || n > h->n_blocks - first)
        HD_FAIL(err, HD_E_FORMAT, "'%s' has %" PRIu32 " blocks, expected more", name, h->n_blocks);
    HD_TRY(read_at(fd, name, HD_DISK_HEAD_BYTES + first * h->block_bytes, blocks,
                   (size_t)(n * h->block_bytes), err));
    for (uint32_t i = 0; i < n; i++)
        if (hd_checksum(blocks + i * h->block_bytes, (size_t)h->block_bytes) != h->sum[first + i])
            HD_FAIL(err, HD_E_FORMAT, "block %" PRIu32 " of '%s' is damaged", first + i, name);
    return HD_OK;
}

hd_status hd_disk_read(int dir, const char *name, const hd_disk_shape *shape, uint32_t first,
                       uint32_t n, uint8_t *buf, hd_err *err)
{
    int fd;
    hd_status st = open_head(dir, name, shape, &fd, (hd_disk_head *)(void *)buf, err);
    if (st == HD_OK) st = read_blocks(fd, name, first, n, buf, err);
    /* It was used: what is not goes first, also after the next start. */
    if (st == HD_OK) (void)futimens(fd, NULL);
    if (fd >= 0) close(fd);
    return st;
}
