/* HTTP: the only file that knows libevent and OpenSSL (ADR 12).
 *
 * One thread runs the loop and owns all sockets; callbacks come on it, and all functions but
 * hd_http_wake and hd_http_stop are for it. A call is one request and its answer. It is the
 * handler's from hd_http_opts.on_call until the handler has finished it (hd_http_reply,
 * hd_http_end, hd_http_abort), or until its client is gone, which on_gone tells at once, also
 * before the first byte of an answer: whichever is first, the call is void behind it.
 *
 * Bounded: the size of headers and bodies, the number of connections (beyond it they wait in the
 * kernel's queue), the time that a connection may take over a request, and what an unread answer
 * may hold in memory. */
#ifndef HD_SERVER_HTTP_H
#define HD_SERVER_HTTP_H

#include <stdint.h>

#include "base/buf.h"

typedef struct hd_http hd_http;
typedef struct hd_http_call hd_http_call;

#define HD_HTTP_MAX_BODY_BYTES ((size_t)32 << 20) /* unless told otherwise */

typedef struct hd_http_opts {
    const char *host;                 /* to listen on: name or address */
    uint16_t port;                    /* 0: a free one */
    const char *cert_file, *key_file; /* PEM, for TLS; NULL: none */
    size_t max_body_bytes;            /* default 32 MiB */
    size_t max_unsent_bytes;          /* of one answer; default 1 MiB */
    int max_connections;              /* default 4,096 */
    int io_timeout_s; /* that a connection may rest in the middle of a request; default 60 */
    void (*on_call)(void *ctx, hd_http_call *call);
    /** Something that hd_http_wake was called for is there. */
    void (*on_wake)(void *ctx);
    /** `fd` can be read; −1: nothing to watch. */
    void (*on_readable)(void *ctx);
    int fd;
    void (*on_tick)(void *ctx); /* once a second */
    void (*on_signal)(void *ctx, int number);
    const int *signals; /* [n_signals] */
    int n_signals;
    void *ctx;
} hd_http_opts;

/** Listen; nothing is served before hd_http_run. @return HD_E_IO, HD_E_FORMAT (certificate). */
hd_status hd_http_create(const hd_http_opts *opts, hd_http **out, hd_err *err) HD_WARN_UNUSED;
/** Connections that are open are cut. NULL is allowed. */
void hd_http_destroy(hd_http *h);
/** The port that it listens on. */
uint16_t hd_http_port(const hd_http *h);
/** Whether only this machine can reach it. */
bool hd_http_is_loopback(const hd_http *h);

/** Serve until hd_http_stop. */
hd_status hd_http_run(hd_http *h, hd_err *err) HD_WARN_UNUSED;
/** No new connections from now on. */
void hd_http_stop_listening(hd_http *h);
/** Any thread: hd_http_run returns. */
void hd_http_stop(hd_http *h);
/** Any thread: have on_wake called. */
void hd_http_wake(hd_http *h);
/** Connections that are open, as of the last tick or later. */
int hd_http_n_connections(const hd_http *h);

/* ---- a call -----------------------------------------------------------------------------------*/

/** What cannot be read as a request (then there is no path), or has too large a body. */
typedef enum hd_http_defect { HD_HTTP_SOUND, HD_HTTP_BROKEN, HD_HTTP_TOO_LARGE } hd_http_defect;

hd_http_defect hd_http_get_defect(const hd_http_call *call);
/** "GET", … */
const char *hd_http_method(const hd_http_call *call);
/** Without the query, as it was sent. */
hd_str hd_http_path(const hd_http_call *call);
/** A header's value; NULL if it is not there. @param name in any case. */
const char *hd_http_header(const hd_http_call *call, const char *name);
/** The address of the client. */
const char *hd_http_peer(const hd_http_call *call);
/** Move the body out. @param out appended to. */
void hd_http_take_body(hd_http_call *call, hd_buf *out);

/** Called at most once, when the client has left before the call was finished. */
void hd_http_on_gone(hd_http_call *call, void (*on_gone)(void *arg), void *arg);

/** A header of the answer; before it begins. */
void hd_http_add_header(hd_http_call *call, const char *name, const char *value);
/** A whole answer. Finishes the call. @param type of the content; NULL: there is none. */
void hd_http_reply(hd_http_call *call, int status, const char *type, hd_str body);
/** Begin an answer of unknown length. */
void hd_http_begin(hd_http_call *call, int status, const char *type);
/** More of it. @return false when more than max_unsent_bytes lie unread: the bytes were not taken.
 */
bool hd_http_send(hd_http_call *call, hd_str bytes) HD_WARN_UNUSED;
/** All of it was sent. Finishes the call. */
void hd_http_end(hd_http_call *call);
/** Cut the connection. Finishes the call. */
void hd_http_abort(hd_http_call *call);

#endif
