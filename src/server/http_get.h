/* GET over plain HTTP, for programs that watch a server: one answer in memory, within a deadline.
 *
 * Not a general client: no TLS, no redirects, no keep-alive. The deadline is for all of it: the
 * name, the connection, the answer. Blocks the calling thread. */
#ifndef HD_SERVER_HTTP_GET_H
#define HD_SERVER_HTTP_GET_H

#include "base/buf.h"

typedef struct hd_http_get_opts {
    const char *url;  /* http://HOST[:PORT][/PATH]; what is behind the path does not count */
    const char *path; /* appended to the URL's: "/stats" */
    const char *key;  /* sent as `Authorization: Bearer`; NULL: none */
    int timeout_ms;
} hd_http_get_opts;

/** @param status of HTTP. @param body appended to; larger answers than its limit are refused.
 *  @return HD_E_ARG (the URL or the key), HD_E_UNSUPPORTED (https), HD_E_IO (no connection, a
 * broken answer), HD_E_TIMEOUT, HD_E_NOMEM: the text names the server. */
hd_status hd_http_get(const hd_http_get_opts *opts, int *status, hd_buf *body,
                      hd_err *err) HD_WARN_UNUSED;

#endif
