#include "base/fs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_CHUNK ((size_t)64 << 10)

/* strerror into a caller's buffer; the GNU strerror_r may return a static text instead. */
#define WHY(buf) strerror_r(errno, buf, sizeof buf)

static hd_status open_regular(const char *path, int *fd, size_t *size, hd_err *err)
{
    char buf[128];
    struct stat st;
    /* A FIFO must not block here: it is refused below. */
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*fd < 0) {
        hd_status code = errno == ENOENT ? HD_E_NOTFOUND : HD_E_IO;
        HD_FAIL(err, code, "cannot open '%s': %s", path, WHY(buf));
    }
    if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode)) {
        *size = (size_t)st.st_size;
        return HD_OK;
    }
    close(*fd);
    HD_FAIL(err, HD_E_IO, "'%s' is no regular file", path);
}

hd_status hd_map_open(const char *path, hd_map *out, hd_err *err)
{
    char buf[128];
    int fd;
    size_t size;
    *out = (hd_map){0};
    HD_TRY(open_regular(path, &fd, &size, err));
    if (size == 0) {
        close(fd);
        return HD_OK;
    }
    void *p = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);
    int saved = errno;
    close(fd);
    if (p == MAP_FAILED) {
        errno = saved;
        HD_FAIL(err, HD_E_IO, "cannot map %zu bytes of '%s': %s", size, path, WHY(buf));
    }
    *out = (hd_map){p, size};
    return HD_OK;
}

void hd_map_close(hd_map *m)
{
    if (m->ptr) munmap((void *)(uintptr_t)m->ptr, m->len);
    *m = (hd_map){0};
}

static hd_status read_fd(int fd, const char *path, hd_buf *out, hd_err *err)
{
    char buf[128];
    for (;;) {
        /* The last read, which finds the end, must not need room beyond the maximum. */
        char probe;
        size_t room = out->max - out->len < READ_CHUNK ? out->max - out->len : READ_CHUNK;
        char *dst = room ? hd_buf_room(out, room) : &probe;
        if (!dst) return hd_buf_status(out, path, err);
        ssize_t n = read(fd, dst, room ? room : 1);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) HD_FAIL(err, HD_E_IO, "cannot read '%s': %s", path, WHY(buf));
        if (n == 0) return HD_OK;
        if (room == 0) HD_FAIL(err, HD_E_LIMIT, "'%s' is longer than %zu bytes", path, out->max);
        out->len += (size_t)n;
        out->ptr[out->len] = '\0';
    }
}

hd_status hd_fs_read_all(const char *path, hd_buf *out, hd_err *err)
{
    char buf[128];
    if (strcmp(path, "-") == 0) return read_fd(STDIN_FILENO, "standard input", out, err);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        hd_status code = errno == ENOENT ? HD_E_NOTFOUND : HD_E_IO;
        HD_FAIL(err, code, "cannot open '%s': %s", path, WHY(buf));
    }
    hd_status status = read_fd(fd, path, out, err);
    close(fd);
    return status;
}

static bool write_whole(int fd, hd_str data)
{
    while (data.len) {
        ssize_t n = write(fd, data.ptr, data.len);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return false;
        data = hd_str_skip(data, (size_t)n);
    }
    return true;
}

static hd_status write_aside(const char *path, hd_str data, mode_t mode, hd_err *err)
{
    static atomic_uint serial;
    char buf[128], aside[4096];
    int n = snprintf(aside, sizeof aside, "%s.tmp-%ld-%u", path, (long)getpid(),
                     atomic_fetch_add(&serial, 1));
    if (n < 0 || (size_t)n >= sizeof aside)
        HD_FAIL(err, HD_E_LIMIT, "path '%.64s…' is longer than %zu bytes", path, sizeof aside - 32);
    int fd = open(aside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    if (fd < 0) HD_FAIL(err, HD_E_IO, "cannot create '%s': %s", aside, WHY(buf));
    bool is_written = write_whole(fd, data) && fsync(fd) == 0;
    int saved = errno;
    if (close(fd) != 0 && is_written) {
        is_written = false;
        saved = errno;
    }
    if (is_written && rename(aside, path) == 0) return HD_OK;
    if (is_written) saved = errno;
    unlink(aside);
    errno = saved;
    HD_FAIL(err, HD_E_IO, "cannot write '%s': %s", path, WHY(buf));
}

hd_status hd_fs_write_atomic(const char *path, hd_str data, hd_err *err)
{
    return write_aside(path, data, 0666, err);
}

hd_status hd_fs_write_private(const char *path, hd_str data, hd_err *err)
{
    return write_aside(path, data, 0600, err);
}

hd_status hd_fs_join(const char *dir, const char *name, char *out, size_t out_size, hd_err *err)
{
    size_t n = strlen(dir);
    const char *slash = n > 0 && dir[n - 1] == '/' ? "" : "/";
    int wrote = snprintf(out, out_size, "%s%s%s", dir, slash, name);
    if (wrote < 0 || (size_t)wrote >= out_size)
        HD_FAIL(err, HD_E_LIMIT, "path '%.64s…/%.64s…' is longer than %zu bytes", dir, name,
                out_size - 1);
    return HD_OK;
}
