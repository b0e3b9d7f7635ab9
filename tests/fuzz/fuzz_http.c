/* The server from the outside: bytes on a connection, to a real one with a made-up model.
 *
 * The first byte chooses how the rest is sent: in one piece or in small ones, with or without a
 * key, leaving early or reading to the end. Two servers run, one without keys and one with; a
 * second connection asks each for /stats. Checked: what comes back begins as HTTP and never with a
 * 500; nothing but the open paths is answered without the key; and whatever was sent, the server
 * goes on, and soon has no request and no sequence in use. */
/* Covers: src/server/route.c src/server/exchange.c src/server/endpoints.c src/server/api_error.c */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "server/serve.h"
#include "support/modelrun.h"
#include "support/tmpdir.h"

#define KEY         "sk-0123456789"
#define MAX_S       20  /* then something hangs */
#define PATIENCE_MS 300 /* a long answer is left then */
#define MAX_SENT    ((size_t)64 << 10)
#define MAX_ANSWERS ((size_t)32 << 20)

enum { IN_PIECES = 1, WITH_KEYS = 2, LEAVES = 4, HALF_CLOSES = 8 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct target {
    hd_engine *engine;
    hd_serve *serve;
    uint16_t port;
    int probe; /* a connection of its own; −1: none yet */
} target;

static target targets[2]; /* without and with keys */

static void require(bool holds)
{
    if (!holds) abort();
}

/* ---- servers ----------------------------------------------------------------------------------*/

static void *run(void *arg)
{
    const target *t = arg;
    require(hd_serve_run(t->serve, NULL) == HD_OK);
    return NULL;
}

static void start(target *t, const char *key_file)
{
    hd_err err = {0};
    pthread_t thread;
    hd_engine_opts engine = {.max_requests = 8, .chunk = 64, .snapshot_mb = 4};
    engine.model = (hd_model_opts){.n_threads = 1, .max_seqs = 2, .max_ctx = 256};
    modelrun_check(hd_engine_open(modelrun_synth("unit"), &engine, &t->engine, &err), "engine",
                   &err);
    hd_serve_opts opts = {.engine = t->engine,
                          .http = {.host = "127.0.0.1", .max_body_bytes = (size_t)32 << 10},
                          .rules = {.release = HD_RELEASE_0731, .fim_max_tokens = 16},
                          .model = "tiny",
                          .aliases = "small,mini",
                          .api_key_file = key_file,
                          .n_workers = 1};
    modelrun_check(hd_serve_create(&opts, &t->serve, &err), "server", &err);
    t->port = hd_serve_port(t->serve);
    t->probe = -1;
    require(pthread_create(&thread, NULL, run, t) == 0);
    require(pthread_detach(thread) == 0);
}

static void start_all(void)
{
    static bool has_started;
    if (has_started) return;
    has_started = true;
    const char *keys = test_path(test_tmpdir(), "keys");
    test_write(keys, HD_STR(KEY " alice 2\n"));
    start(&targets[0], NULL);
    start(&targets[1], keys);
}

/* ---- connections ------------------------------------------------------------------------------*/

static int connect_to(const target *t)
{
    const struct sockaddr_in to = {.sin_family = AF_INET,
                                   .sin_port = htons(t->port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const struct linger reset = {.l_onoff = 1}; /* thousands a second: leave no TIME_WAIT behind */
    const int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    require(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    require(connect(fd, (const struct sockaddr *)&to, sizeof to) == 0);
    return fd;
}

/* What has come by now; false: the server has closed it. */
static bool drain(int fd, hd_buf *out)
{
    char piece[65536];
    ssize_t n;
    while ((n = recv(fd, piece, sizeof piece, MSG_DONTWAIT)) > 0) hd_buf_add(out, piece, (size_t)n);
    return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* false: the server has closed it. */
static bool send_all(int fd, hd_str bytes, size_t piece, hd_buf *answers)
{
    while (bytes.len) {
        size_t want = piece < bytes.len ? piece : bytes.len;
        ssize_t n = send(fd, bytes.ptr, want, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN) return false;
        if (n > 0) bytes = hd_str_skip(bytes, (size_t)n);
        if (!drain(fd, answers)) return false;
    }
    return true;
}

/* GET /stats: it is answered behind all that was sent to the server before. */
static void ask_stats(target *t, hd_buf *out)
{
    static const char request[] = "GET /stats HTTP/1.1\r\nHost: x\r\nx-api-key: " KEY "\r\n\r\n";
    int64_t end = hd_clock_ns() + (int64_t)MAX_S * 1000000000;
    hd_buf_reset(out);
    if (t->probe < 0) t->probe = connect_to(t);
    require(send(t->probe, request, sizeof request - 1, MSG_NOSIGNAL) == sizeof request - 1);
    while (!hd_str_ends(hd_buf_str(out), HD_STR("}}}"))) {
        struct pollfd p = {.fd = t->probe, .events = POLLIN};
        poll(&p, 1, 1000);
        require(drain(t->probe, out));
        require(hd_clock_ns() < end);
    }
    require(hd_str_starts(hd_buf_str(out), HD_STR("HTTP/1.1 200 ")));
}

static bool has(const hd_buf *b, const char *word)
{
    return hd_str_find(hd_buf_str(b), hd_str_from(word), 0) < b->len;
}

static bool is_idle(const hd_buf *stats)
{
    return has(stats, "\"open\":0,") && has(stats, "\"running\":0,") &&
           has(stats, "\"sequences\":{\"used\":0,");
}

/* Until nothing is under way, or `ms` are over; false: they are. Asked a few times: between a
 * connection and its first request the server may answer others. @param fd read meanwhile; −1:
 * none.
 */
static bool wait_idle(target *t, int ms, int fd, hd_buf *answers)
{
    hd_buf stats;
    int64_t end = hd_clock_ns() + (int64_t)ms * 1000000;
    int n_idle = 0;
    hd_buf_init(&stats, (size_t)1 << 20);
    while (n_idle < 3 && hd_clock_ns() < end) {
        ask_stats(t, &stats);
        if (fd >= 0) drain(fd, answers);
        n_idle = is_idle(&stats) ? n_idle + 1 : 0;
        if (n_idle == 0) usleep(1000);
    }
    hd_buf_deinit(&stats);
    return n_idle == 3;
}

/* ---- one input --------------------------------------------------------------------------------*/

/* Behind a version that is the client's: "HTTP/0.13 400 …". */
static int status_at(hd_str answer)
{
    require(hd_str_starts(answer, HD_STR("HTTP/")));
    const char *p = answer.ptr + hd_str_find(answer, HD_STR(" "), 0) + 1;
    require(p + 3 < answer.ptr + answer.len);
    return (p[0] - '0') * 100 + (p[1] - '0') * 10 + p[2] - '0';
}

/* Only the first answer is sure to begin where it is looked for. */
static void check(hd_str answers, hd_str sent, bool has_keys)
{
    if (answers.len == 0) return;
    int status = status_at(answers);
    require(status >= 100 && status != 500 && status < 600);
    bool is_known = hd_str_find(sent, HD_STR(KEY), 0) < sent.len;
    if (!has_keys || is_known || status >= 300) return;
    static const char *const open[] = {"/health", "/ready"};
    for (size_t i = 0; i < HD_COUNT(open); i++)
        if (hd_str_find(sent, hd_str_from(open[i]), 0) < sent.len) return;
    /* 100 Continue is no answer yet; else a file of the page, which alone has this header. */
    require(status == 100 || hd_str_find(answers, HD_STR("-Security-Policy"), 0) < answers.len ||
            hd_str_find(answers, HD_STR("-security-policy"), 0) < answers.len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    start_all();
    if (size < 2 || size > MAX_SENT) return 0;
    uint8_t how = data[0];
    target *t = &targets[(how & WITH_KEYS) != 0];
    hd_str bytes = {(const char *)data + 1, size - 1};
    hd_buf answers;
    hd_buf_init(&answers, MAX_ANSWERS);
    int fd = connect_to(t);
    bool is_open = send_all(fd, bytes, how & IN_PIECES ? 1 + (how >> 4) : bytes.len, &answers);
    if (is_open && (how & HALF_CLOSES)) shutdown(fd, SHUT_WR);
    if (!(how & LEAVES)) wait_idle(t, PATIENCE_MS, fd, &answers);
    close(fd);
    require(wait_idle(t, MAX_S * 1000, -1, NULL));
    check(hd_buf_str(&answers), bytes, how & WITH_KEYS);
    hd_buf_deinit(&answers);
    return 0;
}
