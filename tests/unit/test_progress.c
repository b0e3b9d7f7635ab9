/* The progress bar, on a terminal of its own: when it is drawn, and what it says. */
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/progress.h"

#define ERASE "\r\033[K"
#define END   "|" /* never in a bar */

static int terminal, old_stderr; /* our side of it; what standard error was */
static char seen[1024];

static int open_terminal(void **state)
{
    (void)state;
    terminal = posix_openpt(O_RDWR | O_NOCTTY);
    if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0) return -1;
    int other = open(ptsname(terminal), O_RDWR | O_NOCTTY);
    old_stderr = dup(STDERR_FILENO);
    if (other < 0 || old_stderr < 0 || dup2(other, STDERR_FILENO) < 0) return -1;
    return close(other);
}

static int close_terminal(void **state)
{
    (void)state;
    dup2(old_stderr, STDERR_FILENO);
    return close(old_stderr) | close(terminal);
}

/* What standard error got since the last call. */
static const char *written(void)
{
    size_t n = 0;
    fputs(END, stderr);
    fflush(stderr);
    while (n == 0 || seen[n - 1] != END[0]) {
        struct pollfd p = {.fd = terminal, .events = POLLIN};
        ssize_t got = poll(&p, 1, 60000) == 1 ? read(terminal, seen + n, sizeof seen - 1 - n) : 0;
        if (got <= 0) fail_msg("the terminal shows nothing");
        n += (size_t)got;
    }
    seen[n - 1] = 0;
    return seen;
}

/* A bar for work that began so many seconds ago. */
static hd_progress begin(hd_progress_unit unit, double seconds)
{
    hd_progress p;
    hd_progress_init(&p, "making", unit);
    p.began_s -= seconds;
    p.redraw_s -= seconds;
    return p;
}

/* Rates and rests are chosen to stay the same for more than a second: this test may have to wait
 * for its processor. */
static void what_it_says(void **state)
{
    (void)state;
    hd_progress p = begin(HD_PROGRESS_TOKENS, 98);
    hd_progress_update(&p, 4057, 5071); /* 41.4 a second, 24.5 s */
    assert_string_equal(written(), ERASE "making [###################.....]  80%  4057 of 5071 "
                                         "tokens  41 tokens/s  25 s left");
    p.redraw_s = 0;
    hd_progress_update(&p, 5071, 5071); /* 51.7 a second */
    assert_string_equal(written(), ERASE "making [########################] 100%  5071 of 5071 "
                                         "tokens  52 tokens/s  0 s left");
    hd_progress_end(&p);
    assert_string_equal(written(), ERASE);
    hd_progress_end(&p);
    assert_string_equal(written(), "");
    p = begin(HD_PROGRESS_BYTES, 97.2);
    hd_progress_update(&p, 5000000000u, 7580000000u); /* 0.051 GB a second, 50.2 s */
    assert_string_equal(written(), ERASE "making [###############.........]  65%  5.00 of 7.58 GB  "
                                         "0.05 GB/s  51 s left");
    p = begin(HD_PROGRESS_ROWS, 98);
    hd_progress_update(&p, 1, 5000);
    assert_non_null(strstr(written(), "making [........................]   0%  1 of 5000 rows  "));
}

static void when_it_is_drawn(void **state)
{
    (void)state;
    hd_progress p = begin(HD_PROGRESS_TOKENS, 0);
    p.redraw_s += 1000; /* it waits for a good estimate, whatever this is */
    hd_progress_update(&p, 1, 1000);
    assert_string_equal(written(), "");
    p = begin(HD_PROGRESS_TOKENS, 1);
    hd_progress_update(&p, 999999, 1000000); /* two seconds in all are not worth it */
    assert_string_equal(written(), "");
    p = begin(HD_PROGRESS_TOKENS, 1);
    hd_progress_update(&p, 1, 3);
    assert_true(strlen(written()) > 0);
    p = begin(HD_PROGRESS_TOKENS, 100);
    hd_progress_update(&p, 0, 10); /* no rate yet */
    hd_progress_update(&p, 11, 10);
    assert_string_equal(written(), "");
    hd_progress_update(&p, 5, 10);
    double next = p.redraw_s;
    assert_true(next > p.began_s + 100); /* not at every update */
    assert_true(strlen(written()) > 0);
    p.redraw_s += 1000;
    hd_progress_update(&p, 6, 10);
    assert_string_equal(written(), "");
}

static void not_into_a_file(void **state)
{
    (void)state;
    int fd = dup(STDERR_FILENO), file = open("/dev/null", O_WRONLY);
    assert_true(fd >= 0 && file >= 0 && dup2(file, STDERR_FILENO) == STDERR_FILENO);
    hd_progress p = begin(HD_PROGRESS_TOKENS, 100);
    assert_true(dup2(fd, STDERR_FILENO) == STDERR_FILENO);
    close(fd);
    close(file);
    hd_progress_update(&p, 5, 10);
    hd_progress_end(&p);
    assert_string_equal(written(), "");
    assert_true(hd_progress_seconds(&p) >= 100);
}

#define ON_TERMINAL(f) cmocka_unit_test_setup_teardown(f, open_terminal, close_terminal)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_TERMINAL(what_it_says),
        ON_TERMINAL(when_it_is_drawn),
        ON_TERMINAL(not_into_a_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
