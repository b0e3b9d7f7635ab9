/* The thread for files: jobs are done in order, run out, and come back; closing waits for them (run
 * under ThreadSanitizer too). */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/disk_io.h"
#include "support/tmpdir.h"

static const hd_disk_shape shape = {
    .identity = {1, 2, 3}, .rows_bytes = HD_DISK_IDS_BYTES + 5000, .snap_bytes = 20000};

static int open_dir(void)
{
    int fd = open(test_tmpdir(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static hd_disk_io *open_io(int dir)
{
    hd_err err = {0};
    hd_disk_io *io = NULL;
    if (hd_disk_io_open(dir, &shape, &io, &err) != HD_OK) fail_msg("%s", err.text);
    return io;
}

/* Blocks 0 … n − 1 of text `text`, each byte told by text, block and place. */
static void fill(hd_disk_job *j, uint8_t text, uint32_t n)
{
    hd_disk_key parent = {{text}};
    hd_disk_head *h = (hd_disk_head *)(void *)j->buf;
    hd_disk_head_init(h, &shape, HD_DISK_ROWS, 0, &parent);
    h->n_blocks = n;
    for (uint32_t b = 0; b < n; b++) {
        uint8_t *block = j->buf + HD_DISK_HEAD_BYTES + b * shape.rows_bytes;
        h->key[b] = (hd_disk_key){{text, (uint8_t)b}};
        for (size_t i = 0; i < shape.rows_bytes; i++) block[i] = (uint8_t)(text + 7 * b + i);
    }
}

static hd_disk_job *wait_one(hd_disk_io *io)
{
    hd_disk_job *j;
    while (!(j = hd_disk_io_done(io))) hd_disk_io_wait(io, 1000);
    return j;
}

static void name_of(uint8_t text, uint32_t n, char out[HD_DISK_NAME_SIZE])
{
    hd_disk_head h = {.kind = HD_DISK_ROWS, .n_blocks = n};
    h.key[n - 1] = (hd_disk_key){{text, (uint8_t)(n - 1)}};
    hd_disk_name(&h, out);
}

static void submit_write(hd_disk_io *io, uint8_t text, uint32_t n)
{
    hd_disk_job *j = hd_disk_io_take(io, HD_DISK_WRITE);
    assert_non_null(j);
    fill(j, text, n);
    hd_disk_io_submit(io, j);
}

static void submit_read(hd_disk_io *io, uint8_t text, uint32_t n_blocks, uint32_t first, uint32_t n)
{
    hd_disk_job *j = hd_disk_io_take(io, HD_DISK_READ);
    assert_non_null(j);
    name_of(text, n_blocks, j->name);
    j->first = first;
    j->n = n;
    hd_disk_io_submit(io, j);
}

static void check_blocks(const hd_disk_job *j, uint8_t text)
{
    for (uint32_t b = 0; b < j->n; b++)
        for (size_t i = 0; i < shape.rows_bytes; i++) {
            uint8_t want = (uint8_t)(text + 7 * (j->first + b) + i);
            if (j->buf[HD_DISK_HEAD_BYTES + b * shape.rows_bytes + i] != want)
                fail_msg("text %d, block %u, byte %zu", text, j->first + b, i);
        }
}

static void test_rounds(void **state)
{
    (void)state;
    int dir = open_dir();
    hd_disk_io *io = open_io(dir);
    for (uint8_t text = 0; text < 40; text++) {
        uint32_t n = 1 + text % HD_DISK_SEGMENT, first = text % n;
        submit_write(io, text, n);
        submit_read(io, text, n, first, n - first); /* behind the write: it is there */
        for (int i = 0; i < 2; i++) {
            hd_disk_job *j = wait_one(io);
            assert_int_equal(j->result, HD_OK);
            assert_int_equal(j->work, i == 0 ? HD_DISK_WRITE : HD_DISK_READ);
            if (i == 1) check_blocks(j, text);
            hd_disk_io_give(io, j);
        }
        hd_disk_job *gone = hd_disk_io_take(io, HD_DISK_REMOVE);
        name_of(text, n, gone->name);
        hd_disk_io_submit(io, gone);
        submit_read(io, text, n, 0, 1);
        hd_disk_io_give(io, wait_one(io));
        hd_disk_job *j = wait_one(io);
        assert_int_equal(j->result, HD_E_NOTFOUND);
        hd_disk_io_give(io, j);
    }
    hd_disk_io_close(io);
    close(dir);
}

static void test_jobs_run_out(void **state)
{
    (void)state;
    int dir = open_dir();
    hd_disk_io *io = open_io(dir);
    for (int work = 0; work < HD_DISK_WORKS; work++) {
        hd_disk_job *all[128];
        int n = 0;
        while ((all[n] = hd_disk_io_take(io, (hd_disk_work)work))) assert_true(++n < 128);
        assert_true(n >= 2);
        while (n > 0) hd_disk_io_give(io, all[--n]);
    }
    hd_disk_io_close(io);
    close(dir);
}

/* What was submitted is on disk when close returns. */
static void test_close_waits(void **state)
{
    (void)state;
    char name[HD_DISK_NAME_SIZE];
    int dir = open_dir();
    hd_disk_head h;
    for (uint8_t text = 0; text < 20; text++) {
        hd_disk_io *io = open_io(dir);
        submit_write(io, text, 32);
        submit_write(io, (uint8_t)(text + 100), 3);
        hd_disk_io_close(io);
        name_of(text, 32, name);
        assert_int_equal(hd_disk_read_head(dir, name, &shape, &h, NULL), HD_OK);
        name_of((uint8_t)(text + 100), 3, name);
        assert_int_equal(hd_disk_read_head(dir, name, &shape, &h, NULL), HD_OK);
    }
    close(dir);
}

static void test_no_directory(void **state)
{
    (void)state;
    char name[HD_DISK_NAME_SIZE];
    int dir = open_dir();
    hd_disk_io *io = open_io(dir);
    /* A directory with the file's name: the rename fails. */
    name_of(5, 4, name);
    assert_int_equal(mkdirat(dir, name, 0700), 0);
    submit_write(io, 5, 4);
    hd_disk_job *j = wait_one(io);
    assert_int_equal(j->result, HD_E_IO);
    hd_disk_io_give(io, j);
    submit_read(io, 5, 4, 0, 4);
    j = wait_one(io);
    assert_int_equal(j->result, HD_E_UNSUPPORTED);
    hd_disk_io_give(io, j);
    hd_disk_io_close(io);
    close(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rounds),
        cmocka_unit_test(test_jobs_run_out),
        cmocka_unit_test(test_close_waits),
        cmocka_unit_test(test_no_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
