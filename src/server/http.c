#include "server/http.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <event2/buffer.h>
#include <event2/bufferevent_ssl.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/listener.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include "base/mem.h"

#define MAX_HEADER_BYTES  ((size_t)64 << 10)
#define MAX_SIGNALS       8
#define OTHER_DESCRIPTORS 128 /* shards, cache files, the loop's own */

struct hd_http {
    hd_http_opts opts;
    struct event_base *base;
    struct evhttp *evhttp;
    struct evhttp_bound_socket *bound;
    SSL_CTX *tls;
    struct event *wake, *readable, *tick, *signals[MAX_SIGNALS];
    int wake_fd;
    int n_connections; /* at most: recounted when it comes near the limit */
    bool is_paused, has_stopped_listening;
    _Atomic bool is_stopping;
    hd_http_call *calls; /* all that are open */
};

struct hd_http_call {
    hd_http *h;
    struct evhttp_request *req;
    struct evhttp_connection *con;
    struct event *closed; /* the client's end of the connection */
    hd_http_defect defect;
    hd_str path;
    bool has_begun;
    void (*on_gone)(void *arg);
    void *arg;
    hd_http_call *prev, *next;
};

/* ---- the end of a call ------------------------------------------------------------------------*/

static void drop_call(hd_http_call *c)
{
    if (c->closed) event_free(c->closed);
    evhttp_connection_set_closecb(c->con, NULL, NULL);
    *(c->prev ? &c->prev->next : &c->h->calls) = c->next;
    if (c->next) c->next->prev = c->prev;
    hd_mem_free(c);
}

static void tell_gone(hd_http_call *c)
{
    void (*on_gone)(void *) = c->on_gone;
    c->on_gone = NULL;
    if (on_gone) on_gone(c->arg);
}

/* evhttp has found out itself, while it wrote; it frees the connection. A request whose answer was
 * not complete it has let go before: that is ours then. */
static void on_connection_closed(struct evhttp_connection *con, void *arg)
{
    hd_http_call *c = arg;
    struct evhttp_request *req = c->req;
    (void)con;
    tell_gone(c);
    drop_call(c);
    if (!evhttp_request_get_connection(req)) evhttp_request_free(req);
}

/* Of a reset libevent tells as EV_READ, not EV_CLOSED; but EV_READ is also the client's next
 * request that comes early, and may lie in front of the reset. */
static bool has_left(evutil_socket_t fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLERR | POLLHUP));
}

/* The kernel has seen the client's FIN or RST. evhttp does not look while an answer is made. */
static void on_client_left(evutil_socket_t fd, short what, void *arg)
{
    hd_http_call *c = arg;
    struct evhttp_connection *con = c->con;
    (void)what;
    if (!has_left(fd)) return;
    tell_gone(c);
    drop_call(c);
    evhttp_connection_free(con);
}

/* ---- calls ------------------------------------------------------------------------------------*/

static hd_http_defect find_defect(const hd_http *h, struct evhttp_request *req)
{
    size_t n = evbuffer_get_length(evhttp_request_get_input_buffer(req));
    if (!evhttp_request_get_uri(req)) return HD_HTTP_BROKEN;
    return n > h->opts.max_body_bytes ? HD_HTTP_TOO_LARGE : HD_HTTP_SOUND;
}

static hd_str path_of(struct evhttp_request *req)
{
    const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(req);
    const char *path = uri ? evhttp_uri_get_path(uri) : NULL;
    return hd_str_from(path && *path ? path : "/");
}

static void on_request(struct evhttp_request *req, void *arg)
{
    hd_http *h = arg;
    struct evhttp_connection *con = evhttp_request_get_connection(req);
    hd_http_call *c = hd_mem_calloc(1, sizeof *c);
    evutil_socket_t fd = bufferevent_getfd(evhttp_connection_get_bufferevent(con));
    *c = (hd_http_call){.h = h, .req = req, .con = con, .defect = find_defect(h, req)};
    if (c->defect != HD_HTTP_BROKEN) c->path = path_of(req);
    c->next = h->calls;
    if (c->next) c->next->prev = c;
    h->calls = c;
    c->closed = event_new(h->base, fd, EV_READ | EV_CLOSED | EV_ET | EV_PERSIST, on_client_left, c);
    if (c->closed) event_add(c->closed, NULL);
    evhttp_connection_set_closecb(con, on_connection_closed, c);
    h->opts.on_call(h->opts.ctx, c);
}

hd_http_defect hd_http_get_defect(const hd_http_call *call)
{
    return call->defect;
}

const char *hd_http_method(const hd_http_call *call)
{
    switch (evhttp_request_get_command(call->req)) {
    case EVHTTP_REQ_GET: return "GET";
    case EVHTTP_REQ_POST: return "POST";
    case EVHTTP_REQ_HEAD: return "HEAD";
    case EVHTTP_REQ_PUT: return "PUT";
    case EVHTTP_REQ_DELETE: return "DELETE";
    case EVHTTP_REQ_OPTIONS: return "OPTIONS";
    default: return "";
    }
}

hd_str hd_http_path(const hd_http_call *call)
{
    return call->path;
}

const char *hd_http_header(const hd_http_call *call, const char *name)
{
    return evhttp_find_header(evhttp_request_get_input_headers(call->req), name);
}

const char *hd_http_peer(const hd_http_call *call)
{
    char *address = NULL;
    ev_uint16_t port;
    evhttp_connection_get_peer(call->con, &address, &port);
    return address ? address : "";
}

void hd_http_take_body(hd_http_call *call, hd_buf *out)
{
    struct evbuffer *in = evhttp_request_get_input_buffer(call->req);
    size_t n = evbuffer_get_length(in);
    char *dst = hd_buf_room(out, n);
    if (dst && n && evbuffer_remove(in, dst, n) == (int)n) out->len += n;
}

void hd_http_on_gone(hd_http_call *call, void (*on_gone)(void *arg), void *arg)
{
    call->on_gone = on_gone;
    call->arg = arg;
}

void hd_http_add_header(hd_http_call *call, const char *name, const char *value)
{
    evhttp_add_header(evhttp_request_get_output_headers(call->req), name, value);
}

void hd_http_reply(hd_http_call *call, int status, const char *type, hd_str body)
{
    struct evhttp_request *req = call->req;
    struct evbuffer *out = evhttp_request_get_output_buffer(req);
    if (type) hd_http_add_header(call, "Content-Type", type);
    bool is_head = evhttp_request_get_command(req) == EVHTTP_REQ_HEAD;
    if (body.len && !is_head) evbuffer_add(out, body.ptr, body.len);
    if (is_head) {
        char length[24];
        snprintf(length, sizeof length, "%zu", body.len);
        hd_http_add_header(call, "Content-Length", length);
    }
    drop_call(call);
    evhttp_send_reply(req, status, NULL, NULL);
}

void hd_http_begin(hd_http_call *call, int status, const char *type)
{
    hd_http_add_header(call, "Content-Type", type);
    call->has_begun = true;
    evhttp_send_reply_start(call->req, status, NULL);
}

bool hd_http_send(hd_http_call *call, hd_str bytes)
{
    struct evbuffer *unsent = bufferevent_get_output(evhttp_connection_get_bufferevent(call->con));
    if (bytes.len == 0) return true;
    if (evbuffer_get_length(unsent) + bytes.len > call->h->opts.max_unsent_bytes) return false;
    struct evbuffer *chunk = evbuffer_new();
    if (!chunk || evbuffer_add(chunk, bytes.ptr, bytes.len)) {
        if (chunk) evbuffer_free(chunk);
        return false;
    }
    evhttp_send_reply_chunk(call->req, chunk);
    evbuffer_free(chunk);
    return true;
}

void hd_http_end(hd_http_call *call)
{
    struct evhttp_request *req = call->req;
    drop_call(call);
    evhttp_send_reply_end(req);
}

void hd_http_abort(hd_http_call *call)
{
    struct evhttp_connection *con = call->con;
    drop_call(call);
    evhttp_connection_free(con);
}

/* ---- connections ------------------------------------------------------------------------------*/

/* Sockets that the process has open, less the listening one: libevent 2.1 does not count. */
static int count_sockets(void)
{
    int n = 0;
    DIR *dir = opendir("/proc/self/fd");
    if (!dir) return 0;
    for (const struct dirent *e; (e = readdir(dir));) {
        char target[16];
        ssize_t len = readlinkat(dirfd(dir), e->d_name, target, sizeof target);
        n += len > 7 && memcmp(target, "socket:", 7) == 0;
    }
    closedir(dir);
    return n > 0 ? n - 1 : 0;
}

/* At the limit nothing is accepted; those who come wait in the kernel's queue. */
static void watch_limit(hd_http *h)
{
    if (h->has_stopped_listening) return;
    struct evconnlistener *listener = evhttp_bound_socket_get_listener(h->bound);
    bool is_full = h->n_connections >= h->opts.max_connections;
    if (is_full == h->is_paused) return;
    h->is_paused = is_full;
    if (is_full)
        evconnlistener_disable(listener);
    else
        evconnlistener_enable(listener);
}

static struct bufferevent *make_connection(struct event_base *base, void *arg)
{
    hd_http *h = arg;
    if (++h->n_connections >= h->opts.max_connections) {
        h->n_connections = count_sockets();
        watch_limit(h);
    }
    if (!h->tls) return bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    SSL *ssl = SSL_new(h->tls);
    if (!ssl) return NULL;
    struct bufferevent *bev = bufferevent_openssl_socket_new(
        base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    if (bev)
        bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    else
        SSL_free(ssl);
    return bev;
}

/* ---- events of the loop -----------------------------------------------------------------------*/

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    hd_http *h = arg;
    uint64_t n;
    (void)what;
    if (read(fd, &n, sizeof n) != sizeof n) return;
    if (h->is_stopping) event_base_loopbreak(h->base);
    if (h->opts.on_wake) h->opts.on_wake(h->opts.ctx);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    hd_http *h = arg;
    uint64_t n;
    (void)what;
    if (read(fd, &n, sizeof n) < 0) return;
    h->opts.on_readable(h->opts.ctx);
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    hd_http *h = arg;
    (void)fd;
    (void)what;
    h->n_connections = count_sockets();
    watch_limit(h);
    if (h->opts.on_tick) h->opts.on_tick(h->opts.ctx);
}

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    hd_http *h = arg;
    (void)what;
    h->opts.on_signal(h->opts.ctx, (int)number);
}

/* ---- create -----------------------------------------------------------------------------------*/

static hd_status fail_tls(hd_err *err, const char *what, const char *file)
{
    const char *why = ERR_reason_error_string(ERR_peek_last_error());
    ERR_clear_error();
    HD_FAIL(err, HD_E_FORMAT, "cannot use the %s '%s': %s", what, file, why ? why : "unknown");
}

static hd_status open_tls(hd_http *h, hd_err *err)
{
    if (!h->opts.cert_file && !h->opts.key_file) return HD_OK;
    if (!h->opts.cert_file || !h->opts.key_file)
        HD_FAIL(err, HD_E_ARG, "TLS needs a certificate and its key");
    h->tls = SSL_CTX_new(TLS_server_method());
    if (!h->tls) HD_FAIL(err, HD_E_NOMEM, "out of memory for TLS");
    SSL_CTX_set_min_proto_version(h->tls, TLS1_2_VERSION);
    SSL_CTX_set_options(h->tls, SSL_OP_NO_RENEGOTIATION | SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (SSL_CTX_use_certificate_chain_file(h->tls, h->opts.cert_file) != 1)
        return fail_tls(err, "certificate", h->opts.cert_file);
    if (SSL_CTX_use_PrivateKey_file(h->tls, h->opts.key_file, SSL_FILETYPE_PEM) != 1)
        return fail_tls(err, "key", h->opts.key_file);
    if (SSL_CTX_check_private_key(h->tls) != 1) return fail_tls(err, "key", h->opts.key_file);
    return HD_OK;
}

static hd_status add_event(hd_http *h, struct event **out, evutil_socket_t fd, short what,
                           event_callback_fn fn, hd_err *err)
{
    const struct timeval second = {.tv_sec = 1};
    *out = event_new(h->base, fd, (short)(what | EV_PERSIST), fn, h);
    if (!*out || event_add(*out, fd < 0 ? &second : NULL))
        HD_FAIL(err, HD_E_NOMEM, "cannot watch a descriptor");
    return HD_OK;
}

static hd_status add_events(hd_http *h, hd_err *err)
{
    h->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (h->wake_fd < 0) HD_FAIL(err, HD_E_IO, "no eventfd: %s", strerror(errno));
    HD_TRY(add_event(h, &h->wake, h->wake_fd, EV_READ, on_wake, err));
    if (h->opts.on_readable && h->opts.fd >= 0)
        HD_TRY(add_event(h, &h->readable, h->opts.fd, EV_READ, on_readable, err));
    HD_TRY(add_event(h, &h->tick, -1, 0, on_tick, err));
    for (int i = 0; i < h->opts.n_signals && i < MAX_SIGNALS; i++)
        HD_TRY(add_event(h, &h->signals[i], h->opts.signals[i], EV_SIGNAL, on_signal, err));
    return HD_OK;
}

static hd_status listen_on(hd_http *h, hd_err *err)
{
    h->evhttp = evhttp_new(h->base);
    if (!h->evhttp) HD_FAIL(err, HD_E_NOMEM, "out of memory for the server");
    evhttp_set_bevcb(h->evhttp, make_connection, h);
    evhttp_set_gencb(h->evhttp, on_request, h);
    evhttp_set_max_headers_size(h->evhttp, (ev_ssize_t)MAX_HEADER_BYTES);
    /* Beyond this evhttp answers by itself, with a page of HTML; below it we do, in JSON. */
    evhttp_set_max_body_size(h->evhttp, (ev_ssize_t)(2 * h->opts.max_body_bytes));
    evhttp_set_timeout(h->evhttp, h->opts.io_timeout_s);
    evhttp_set_default_content_type(h->evhttp, NULL);
    evhttp_set_allowed_methods(h->evhttp, EVHTTP_REQ_GET | EVHTTP_REQ_POST | EVHTTP_REQ_HEAD |
                                              EVHTTP_REQ_PUT | EVHTTP_REQ_DELETE |
                                              EVHTTP_REQ_OPTIONS);
    evhttp_set_flags(h->evhttp, EVHTTP_SERVER_LINGERING_CLOSE);
    h->bound = evhttp_bind_socket_with_handle(h->evhttp, h->opts.host, h->opts.port);
    if (!h->bound)
        HD_FAIL(err, HD_E_IO, "cannot listen on %s port %u: %s", h->opts.host, h->opts.port,
                strerror(errno));
    return HD_OK;
}

static void fill_defaults(hd_http_opts *o)
{
    if (!o->host) o->host = "127.0.0.1";
    if (!o->max_body_bytes) o->max_body_bytes = HD_HTTP_MAX_BODY_BYTES;
    if (!o->max_unsent_bytes) o->max_unsent_bytes = (size_t)1 << 20;
    if (!o->max_connections) o->max_connections = 4096;
    if (!o->io_timeout_s) o->io_timeout_s = 60;
}

/* A connection is a descriptor; a process may have few of them unless it asks for more. Where it
 * gets no more, there are fewer connections: accepting without a descriptor would spin. */
static void make_descriptors(hd_http_opts *o)
{
    struct rlimit limit;
    rlim_t want = (rlim_t)o->max_connections + OTHER_DESCRIPTORS;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
    if (limit.rlim_cur < want) {
        limit.rlim_cur = limit.rlim_max < want ? limit.rlim_max : want;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
        (void)getrlimit(RLIMIT_NOFILE, &limit);
    }
    if (limit.rlim_cur >= want) return;
    o->max_connections = limit.rlim_cur > 2 * OTHER_DESCRIPTORS
                             ? (int)(limit.rlim_cur - OTHER_DESCRIPTORS)
                             : OTHER_DESCRIPTORS;
}

hd_status hd_http_create(const hd_http_opts *opts, hd_http **out, hd_err *err)
{
    hd_status st;
    hd_http *h = hd_mem_calloc(1, sizeof *h);
    h->opts = *opts;
    h->wake_fd = -1;
    fill_defaults(&h->opts);
    make_descriptors(&h->opts);
    signal(SIGPIPE, SIG_IGN);
    h->base = event_base_new();
    HD_TRY_GOTO(st, fail, h->base ? HD_OK : HD_SET_ERR(err, HD_E_NOMEM, "out of memory"));
    HD_TRY_GOTO(st, fail, open_tls(h, err));
    HD_TRY_GOTO(st, fail, listen_on(h, err));
    HD_TRY_GOTO(st, fail, add_events(h, err));
    *out = h;
    return HD_OK;
fail:
    hd_http_destroy(h);
    return st;
}

void hd_http_destroy(hd_http *h)
{
    if (!h) return;
    while (h->calls) drop_call(h->calls);
    struct event *const events[] = {h->wake, h->readable, h->tick};
    for (size_t i = 0; i < HD_COUNT(events); i++)
        if (events[i]) event_free(events[i]);
    for (int i = 0; i < MAX_SIGNALS; i++)
        if (h->signals[i]) event_free(h->signals[i]);
    if (h->evhttp) evhttp_free(h->evhttp);
    if (h->base) event_base_free(h->base);
    SSL_CTX_free(h->tls);
    if (h->wake_fd >= 0) close(h->wake_fd);
    hd_mem_free(h);
}

/* ---- the loop ---------------------------------------------------------------------------------*/

static struct sockaddr_storage address_of(const hd_http *h)
{
    struct sockaddr_storage a = {0};
    socklen_t len = sizeof a;
    getsockname(evhttp_bound_socket_get_fd(h->bound), (struct sockaddr *)&a, &len);
    return a;
}

uint16_t hd_http_port(const hd_http *h)
{
    struct sockaddr_storage a = address_of(h);
    return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port
                                         : ((struct sockaddr_in *)&a)->sin_port);
}

bool hd_http_is_loopback(const hd_http *h)
{
    struct sockaddr_storage a = address_of(h);
    if (a.ss_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&((struct sockaddr_in6 *)&a)->sin6_addr);
    return ntohl(((struct sockaddr_in *)&a)->sin_addr.s_addr) >> 24 == 127;
}

hd_status hd_http_run(hd_http *h, hd_err *err)
{
    if (event_base_dispatch(h->base) < 0) HD_FAIL(err, HD_E_IO, "the event loop has failed");
    return HD_OK;
}

void hd_http_stop_listening(hd_http *h)
{
    if (h->has_stopped_listening) return;
    h->has_stopped_listening = true;
    evhttp_del_accept_socket(h->evhttp, h->bound);
}

void hd_http_wake(hd_http *h)
{
    const uint64_t one = 1;
    while (write(h->wake_fd, &one, sizeof one) < 0 && errno == EINTR);
}

void hd_http_stop(hd_http *h)
{
    h->is_stopping = true;
    hd_http_wake(h);
}

int hd_http_n_connections(const hd_http *h)
{
    return h->n_connections;
}
