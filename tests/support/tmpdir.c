#include "support/tmpdir.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fs.h"

static char dirs[128][256];
static size_t n_dirs;

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static void remove_all(void)
{
    while (n_dirs > 0) nftw(dirs[--n_dirs], remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *test_tmpdir(void)
{
    const char *base = getenv("TMPDIR");
    HD_ASSERT(n_dirs < HD_COUNT(dirs));
    if (n_dirs == 0) atexit(remove_all);
    char *dir = dirs[n_dirs];
    snprintf(dir, sizeof dirs[0], "%s/hadal-test-XXXXXX", base ? base : "/tmp");
    HD_ASSERT(mkdtemp(dir));
    n_dirs++;
    return dir;
}

const char *test_path(const char *dir, const char *name)
{
    static char paths[8][512];
    static unsigned next;
    char *path = paths[next++ % 8];
    HD_ASSERT(snprintf(path, sizeof paths[0], "%s/%s", dir, name) < (int)sizeof paths[0]);
    return path;
}

void test_write(const char *path, hd_str data)
{
    FILE *f = fopen(path, "wb");
    HD_ASSERT(f && fwrite(data.ptr, 1, data.len, f) == data.len);
    HD_ASSERT(fclose(f) == 0);
}

hd_str test_read(const char *path)
{
    static hd_buf buf;
    if (buf.max == 0) hd_buf_init(&buf, (size_t)1 << 30);
    hd_buf_reset(&buf);
    HD_ASSERT(hd_fs_read_all(path, &buf, NULL) == HD_OK);
    return hd_buf_str(&buf);
}
