#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[] = {
    "OK",         "E_ARG",   "E_NOMEM", "E_IO",        "E_FORMAT",  "E_UNSUPPORTED",
    "E_NOTFOUND", "E_LIMIT", "E_BUSY",  "E_CANCELLED", "E_TIMEOUT", "E_DEVICE",
    "E_PEER",     "E_AUTH",  "E_BUG",
};

const char *hd_status_name(hd_status code)
{
    if (code > 0 || -code >= (int)HD_COUNT(names)) return "E_UNKNOWN";
    return names[-code];
}

#define STR2(x) #x
#define STR(x)  STR2(x)

const char *hd_version(void)
{
    return STR(HD_VERSION_MAJOR) "." STR(HD_VERSION_MINOR) "." STR(HD_VERSION_PATCH);
}

hd_status hd_err_set(hd_err *err, hd_status code, const char *file, int line, const char *fmt, ...)
{
    if (!err) return code;
    va_list ap;
    err->code = code;
    err->file = file;
    err->line = line;
    err->path[0] = '\0';
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    return code;
}

hd_status hd_err_context(hd_err *err, hd_status code, const char *fmt, ...)
{
    if (!err) return code;
    char old[sizeof err->text], prefix[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(prefix, sizeof prefix, fmt, ap);
    va_end(ap);
    memcpy(old, err->text, sizeof old);
    /* The cut may fall anywhere in the old text: the prefix is what must survive. */
    int n = snprintf(err->text, sizeof err->text, "%s: ", prefix);
    snprintf(err->text + n, sizeof err->text - (size_t)n, "%s", old);
    return code;
}

void hd_err_set_path(hd_err *err, const char *path)
{
    if (err) snprintf(err->path, sizeof err->path, "%s", path);
}

void hd_assert_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "hadal: BUG at %s:%d: assertion '%s' failed\n", file, line, expr);
    abort();
}
