/* The web page: the files of src/server/page, which the build puts into the program
 * (tools/embed-page.cmake). No file is read at run time, and nothing is looked up by file name, so
 * no path can lead anywhere else.
 *
 * All of it is public text without a secret in it: it is served to whoever asks, key or no key.
 * What the page asks of the APIs needs the key, as from any client. docs/web-page.md has the rest.
 */
#ifndef HD_SERVER_PAGE_H
#define HD_SERVER_PAGE_H

#include "base/str.h"

typedef struct hd_page_file {
    hd_str path; /* "/" (index.html), "/page/chat.js", … */
    hd_str body;
    const char *content_type;
    const char *etag; /* in its quotes: a prefix of the body's SHA-256; strong */
} hd_page_file;

typedef struct hd_page_header {
    const char *name, *value;
} hd_page_header;

/** Every file, in no order. */
extern const hd_page_file hd_page_files[];
extern const size_t hd_page_n_files;

/** What every answer with one of these files carries, 304 too: the Content-Security-Policy and
 *  others; each line is explained in docs/web-page.md. */
extern const hd_page_header hd_page_headers[];
extern const size_t hd_page_n_headers;

/** @param path of the request, without query. @return NULL: not ours. */
const hd_page_file *hd_page_find(hd_str path);

#endif
