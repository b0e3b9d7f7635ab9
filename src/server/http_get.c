#include "server/http_get.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/dns.h>
#include <event2/event.h>
#include <event2/http.h>
#include <event2/util.h>

#define MAX_TARGET_BYTES ((size_t)2048)
#define MAX_HEADER_BYTES ((size_t)64 << 10)
#define DEFAULT_PORT     80

typedef struct job {
    struct event_base *base;
    struct evdns_base *dns; /* NULL: names are looked up without a deadline */
    struct evhttp_connection *con;
    struct evhttp_uri *uri;
    const char *host;  /* as in the URL */
    char address[256]; /* the same without the brackets of IPv6 */
    int port;
    hd_buf target; /* of the request line */
    hd_buf *body;
    int status; /* 0: no answer came */
    bool is_over, has_failed;
    enum evhttp_request_error why; /* has_failed */
    int dns_error;
} job;

/* ---- where to
 * ----------------------------------------------------------------------------------*/

static hd_status read_url(job *j, const hd_http_get_opts *o, hd_err *err)
{
    const char *want = "expected http://HOST[:PORT]";
    if (strncasecmp(o->url, "https:", 6) == 0)
        HD_FAIL(err, HD_E_UNSUPPORTED,
                "'%s' is https, which this command does not speak: ask the "
                "server on its own machine, or through a tunnel",
                o->url);
    j->uri = evhttp_uri_parse(o->url);
    if (!j->uri) HD_FAIL(err, HD_E_ARG, "'%s' is no URL, %s", o->url, want);
    const char *scheme = evhttp_uri_get_scheme(j->uri), *path = evhttp_uri_get_path(j->uri);
    j->host = evhttp_uri_get_host(j->uri);
    j->port = evhttp_uri_get_port(j->uri);
    if (!scheme || strcasecmp(scheme, "http") != 0 || !j->host || !*j->host)
        HD_FAIL(err, HD_E_ARG, "'%s' names no server, %s", o->url, want);
    if (j->port == 0 || j->port > 65535)
        HD_FAIL(err, HD_E_ARG, "'%s' has no possible port, %s", o->url, want);
    if (j->port < 0) j->port = DEFAULT_PORT;
    size_t n = strlen(j->host);
    bool is_v6 = j->host[0] == '[' && j->host[n - 1] == ']';
    if (n >= sizeof j->address)
        HD_FAIL(err, HD_E_ARG, "'%s' has too long a host, %s", o->url, want);
    snprintf(j->address, sizeof j->address, "%.*s", (int)n - 2 * is_v6, j->host + is_v6);
    hd_str base = hd_str_from(path ? path : "");
    while (base.len && base.ptr[base.len - 1] == '/') base.len--;
    hd_buf_add_str(&j->target, base);
    hd_buf_addz(&j->target, o->path);
    hd_buf_addc(&j->target, '\0');
    return hd_buf_status(&j->target, "the path of the URL", err);
}

/* ---- the answer ------------------------------------------------------------------------------*/

static void on_error(enum evhttp_request_error why, void *arg)
{
    job *j = arg;
    j->why = why;
    j->is_over = j->has_failed = true;
    event_base_loopbreak(j->base);
}

static void on_done(struct evhttp_request *req, void *arg)
{
    job *j = arg;
    struct bufferevent *bev = evhttp_connection_get_bufferevent(j->con);
    j->dns_error = bev ? bufferevent_socket_get_dns_error(bev) : 0;
    event_base_loopbreak(j->base);
    j->is_over = true;
    if (!req || j->has_failed) return;
    j->status = evhttp_request_get_response_code(req);
    struct evbuffer *in = evhttp_request_get_input_buffer(req);
    size_t n = evbuffer_get_length(in);
    char *dst = hd_buf_room(j->body, n);
    if (dst && n && evbuffer_remove(in, dst, n) == (int)n) j->body->len += n;
}

static hd_status ask(job *j, const hd_http_get_opts *o, hd_err *err)
{
    const struct timeval limit = {.tv_sec = o->timeout_ms / 1000,
                                  .tv_usec = o->timeout_ms % 1000 * 1000};
    hd_buf key;
    j->base = event_base_new();
    if (!j->base) HD_FAIL(err, HD_E_NOMEM, "out of memory for a connection");
    j->dns = evdns_base_new(j->base, EVDNS_BASE_INITIALIZE_NAMESERVERS);
    j->con = evhttp_connection_base_bufferevent_new(j->base, j->dns, NULL, j->address,
                                                    (ev_uint16_t)j->port);
    struct evhttp_request *req = evhttp_request_new(on_done, j);
    if (!j->con || !req) {
        if (req) evhttp_request_free(req);
        HD_FAIL(err, HD_E_NOMEM, "out of memory for a connection");
    }
    evhttp_connection_set_timeout_tv(j->con, &limit);
    evhttp_connection_set_max_headers_size(j->con, (ev_ssize_t)MAX_HEADER_BYTES);
    evhttp_connection_set_max_body_size(j->con, (ev_ssize_t)j->body->max);
    evhttp_request_set_error_cb(req, on_error);
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    evhttp_add_header(headers, "Host", j->host);
    evhttp_add_header(headers, "Connection", "close");
    hd_buf_init(&key, MAX_TARGET_BYTES);
    hd_buf_addf(&key, "Bearer %s", o->key ? o->key : "");
    hd_buf_addc(&key, '\0');
    hd_status st = hd_buf_status(&key, "the key", err);
    if (st == HD_OK && o->key && evhttp_add_header(headers, "Authorization", key.ptr) != 0)
        st = HD_SET_ERR(err, HD_E_ARG, "the key has a line break, which no header can hold");
    hd_buf_deinit(&key);
    if (st != HD_OK) {
        evhttp_request_free(req);
        return st;
    }
    /* The connection owns the request now, whatever comes. */
    if (evhttp_make_request(j->con, req, EVHTTP_REQ_GET, j->target.ptr) != 0)
        HD_FAIL(err, HD_E_NOMEM, "out of memory for a request");
    event_base_loopexit(j->base, &limit);
    event_base_dispatch(j->base);
    return HD_OK;
}

static hd_status explain(const job *j, const hd_http_get_opts *o, hd_err *err)
{
    bool is_late = !j->is_over || (j->has_failed && j->why == EVREQ_HTTP_TIMEOUT);
    if (j->status > 0 && !j->has_failed) return hd_buf_status(j->body, "the answer", err);
    if (j->dns_error) HD_FAIL(err, HD_E_IO, "there is no host '%s'", j->host);
    if (j->has_failed && j->why == EVREQ_HTTP_DATA_TOO_LONG)
        HD_FAIL(err, HD_E_IO, "the answer of '%s' is too long", o->url);
    if (j->has_failed && j->why == EVREQ_HTTP_INVALID_HEADER)
        HD_FAIL(err, HD_E_IO, "what answers at '%s' does not speak HTTP", o->url);
    if (is_late)
        HD_FAIL(err, HD_E_TIMEOUT, "no answer from '%s' within %d ms", o->url, o->timeout_ms);
    if (!j->has_failed) HD_FAIL(err, HD_E_IO, "cannot connect to '%s'", o->url);
    HD_FAIL(err, HD_E_IO, "'%s' has closed the connection without an answer", o->url);
}

hd_status hd_http_get(const hd_http_get_opts *opts, int *status, hd_buf *body, hd_err *err)
{
    job j = {.body = body};
    hd_buf_init(&j.target, MAX_TARGET_BYTES);
    hd_status st = read_url(&j, opts, err);
    if (st == HD_OK) st = ask(&j, opts, err);
    if (st == HD_OK) st = explain(&j, opts, err);
    *status = j.status;
    if (j.con) evhttp_connection_free(j.con);
    if (j.dns) evdns_base_free(j.dns, 0);
    if (j.base) event_base_free(j.base);
    if (j.uri) evhttp_uri_free(j.uri);
    hd_buf_deinit(&j.target);
    return st;
}
