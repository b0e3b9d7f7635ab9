#include "engine/disk_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

#define SECRET "secret"

static const char *reason(void)
{
    static _Thread_local char text[128];
    return strerror_r(errno, text, sizeof text); /* the GNU one: it may return another text */
}

/* ---- opening ----------------------------------------------------------------------------------*/

static hd_status open_dir(int parent, const char *path, int *fd, hd_err *err)
{
    if (mkdirat(parent, path, 0700) != 0 && errno != EEXIST)
        HD_FAIL(err, HD_E_IO, "cannot make directory '%s': %s", path, reason());
    *fd = openat(parent, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0) HD_FAIL(err, HD_E_IO, "cannot open directory '%s': %s", path, reason());
    return HD_OK;
}

static hd_status read_secret(int dir, uint8_t *secret, hd_err *err)
{
    uint8_t bytes[HD_DISK_SECRET_BYTES + 1];
    int fd = openat(dir, SECRET, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        HD_FAIL(err, errno == ENOENT ? HD_E_NOTFOUND : HD_E_IO, "cannot open '%s': %s", SECRET,
                reason());
    ssize_t n = read(fd, bytes, sizeof bytes);
    close(fd);
    if (n != HD_DISK_SECRET_BYTES)
        HD_FAIL(err, HD_E_FORMAT, "'%s' is damaged, expected %d bytes: remove it", SECRET,
                HD_DISK_SECRET_BYTES);
    memcpy(secret, bytes, HD_DISK_SECRET_BYTES);
    return HD_OK;
}

/* One of several processes wins, and all read what it wrote. Flushed: without it no file is found.
 */
static hd_status draw_secret(int dir, hd_err *err)
{
    uint8_t bytes[HD_DISK_SECRET_BYTES];
    char aside[HD_DISK_NAME_SIZE];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        HD_FAIL(err, HD_E_IO, "cannot draw a secret: %s", reason());
    int fd = hd_disk_open_aside(dir, aside);
    if (fd < 0) HD_FAIL(err, HD_E_IO, "cannot create '%s': %s", aside, reason());
    bool is_there = hd_disk_write_all(fd, bytes, sizeof bytes) && fsync(fd) == 0 &&
                    (linkat(dir, aside, dir, SECRET, 0) == 0 || errno == EEXIST);
    if (!is_there) (void)HD_SET_ERR(err, HD_E_IO, "cannot write '%s': %s", SECRET, reason());
    (void)unlinkat(dir, aside, 0);
    close(fd);
    return is_there ? HD_OK : HD_E_IO;
}

/* Whoever writes a file holds its lock. */
static void remove_if_left_behind(int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
    if (fd < 0) return;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) (void)unlinkat(dir, name, 0);
    close(fd);
}

static DIR *list(int dir)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d && fd >= 0) close(fd);
    return d;
}

static void clean(int dir)
{
    struct dirent *e;
    DIR *d = list(dir);
    while (d && (e = readdir(d)))
        if (hd_disk_is_aside(e->d_name)) remove_if_left_behind(dir, e->d_name);
    if (d) closedir(d);
}

static hd_status open_parts(int top, const uint8_t *identity, hd_disk_dir *out, hd_err *err)
{
    char hex[2 * HD_SHA256_BYTES + 1];
    for (int i = 0; i < HD_SHA256_BYTES; i++) snprintf(hex + 2 * i, 3, "%02x", identity[i]);
    clean(top);
    hd_status st = read_secret(top, out->secret, err);
    if (st == HD_E_NOTFOUND) {
        HD_TRY(draw_secret(top, err));
        st = read_secret(top, out->secret, err);
    }
    HD_TRY(st);
    HD_TRY(open_dir(top, hex, &out->fd, err));
    clean(out->fd);
    return HD_OK;
}

hd_status hd_disk_dir_open(const char *path, const uint8_t identity[HD_SHA256_BYTES],
                           hd_disk_dir *out, hd_err *err)
{
    int top;
    *out = (hd_disk_dir){.fd = -1};
    hd_status st = open_dir(AT_FDCWD, path, &top, err);
    if (st == HD_OK) {
        st = open_parts(top, identity, out, err);
        close(top);
    }
    return st == HD_OK ? HD_OK : hd_err_context(err, st, "cannot use cache directory '%s'", path);
}

void hd_disk_dir_close(hd_disk_dir *d)
{
    if (d->fd >= 0) close(d->fd);
    d->fd = -1;
}

/* ---- what is there ----------------------------------------------------------------------------*/

typedef struct found {
    char name[HD_DISK_NAME_SIZE];
    struct timespec changed;
} found;

typedef struct found_list {
    found *at;
    size_t n, room;
} found_list;

static hd_status remember(found_list *l, const char *name, struct timespec changed, hd_err *err)
{
    if (l->n == l->room) {
        size_t room = l->room ? 2 * l->room : 64;
        found *at = hd_mem_try_realloc(l->at, room, sizeof *at);
        if (!at) HD_FAIL(err, HD_E_NOMEM, "out of memory for a list of %zu files", room);
        l->at = at;
        l->room = room;
    }
    found *f = &l->at[l->n++];
    memcpy(f->name, name, strlen(name) + 1); /* hd_disk_is_name */
    f->changed = changed;
    return HD_OK;
}

static hd_status find_files(int dir, found_list *l, hd_err *err)
{
    struct dirent *e;
    struct stat st;
    hd_status status = HD_OK;
    DIR *d = list(dir);
    if (!d) HD_FAIL(err, HD_E_IO, "cannot list the cache directory: %s", reason());
    while (status == HD_OK && (e = readdir(d)))
        if (hd_disk_is_name(e->d_name) && fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            status = remember(l, e->d_name, st.st_mtim, err);
    closedir(d);
    return status;
}

static int by_age(const void *a, const void *b)
{
    const found *x = a, *y = b;
    if (x->changed.tv_sec != y->changed.tv_sec)
        return x->changed.tv_sec < y->changed.tv_sec ? -1 : 1;
    if (x->changed.tv_nsec != y->changed.tv_nsec)
        return x->changed.tv_nsec < y->changed.tv_nsec ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void drop_oldest(const hd_disk_dir *d, hd_disk_index *ix)
{
    char name[HD_DISK_NAME_SIZE];
    int32_t file = hd_disk_index_oldest(ix);
    hd_disk_index_name(ix, file, name);
    hd_disk_index_remove(ix, file);
    (void)unlinkat(d->fd, name, 0);
}

static void add_file(const hd_disk_dir *d, const hd_disk_shape *shape, hd_disk_index *ix,
                     const char *name, uint64_t *n_bad)
{
    hd_disk_head h;
    hd_status st = hd_disk_read_head(d->fd, name, shape, &h, NULL);
    if (st == HD_E_FORMAT) {
        ++*n_bad;
        (void)unlinkat(d->fd, name, 0);
    }
    if (st != HD_OK) return;
    if (hd_disk_index_is_full(ix)) drop_oldest(d, ix);
    (void)hd_disk_index_add(ix, &h, false);
}

hd_status hd_disk_dir_scan(const hd_disk_dir *d, const hd_disk_shape *shape, uint64_t budget,
                           hd_disk_index *ix, uint64_t *n_bad, hd_err *err)
{
    found_list l = {0};
    hd_status st = find_files(d->fd, &l, err);
    if (st == HD_OK && l.n > 0) {
        qsort(l.at, l.n, sizeof *l.at, by_age);
        for (size_t i = 0; i < l.n; i++) add_file(d, shape, ix, l.at[i].name, n_bad);
    }
    while (hd_disk_index_bytes(ix) > budget) drop_oldest(d, ix);
    hd_mem_free(l.at);
    return st;
}
