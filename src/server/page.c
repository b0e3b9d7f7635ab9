/* The web page's files by path, and the headers that they are served with. */
#include "server/page.h"

const hd_page_header hd_page_headers[] = {
    {"Content-Security-Policy",
     "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
     "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
     "require-trusted-types-for 'script'; trusted-types 'none'"},
    {"X-Content-Type-Options", "nosniff"},
    {"Referrer-Policy", "no-referrer"},
    {"Cross-Origin-Opener-Policy", "same-origin"},
    {"Cross-Origin-Resource-Policy", "same-origin"},
    {"Cache-Control", "no-cache"},
};
const size_t hd_page_n_headers = sizeof hd_page_headers / sizeof *hd_page_headers;

const hd_page_file *hd_page_find(hd_str path)
{
    for (size_t i = 0; i < hd_page_n_files; i++) {
        if (hd_str_eq(path, hd_page_files[i].path)) return &hd_page_files[i];
    }
    return NULL;
}
