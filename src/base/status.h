/* Status codes and error text inside the library: how a function fails.
 *
 * HD_FAIL fills the caller's hd_err and returns; HD_TRY passes a failure on unchanged; a caller
 * that knows more adds it in front with HD_CONTEXT ("cannot load 'x': ..."). A function with
 * something to release uses one `out:` label and HD_TRY_GOTO. HD_ASSERT is for our own mistakes
 * only: it prints and aborts, and no input may ever reach it. */
#ifndef HD_BASE_STATUS_H
#define HD_BASE_STATUS_H

#include <stdbool.h>

#include "base/compiler.h"
#include "hadal/hadal.h"

/** Fill `err` (may be NULL) and return `code`. Text that does not fit is cut at 479 bytes. */
hd_status hd_err_set(hd_err *err, hd_status code, const char *file, int line, const char *fmt, ...)
    HD_PRINTF(5, 6);

/** Put "prefix: " in front of the text of `err` (may be NULL); returns err's code or `code`. */
hd_status hd_err_context(hd_err *err, hd_status code, const char *fmt, ...) HD_PRINTF(3, 4);

/** Set the JSON path of `err` (may be NULL), cut at 127 bytes. */
void hd_err_set_path(hd_err *err, const char *path);

HD_NORETURN void hd_assert_failed(const char *expr, const char *file, int line);

#define HD_SET_ERR(err, code, ...) hd_err_set((err), (code), __FILE__, __LINE__, __VA_ARGS__)

/* Returns `code` itself, so that the compiler sees that a failure is never HD_OK. */
#define HD_FAIL(err, code, ...) return (void)HD_SET_ERR(err, code, __VA_ARGS__), (code)

#define HD_TRY(expr)                                                                               \
    do {                                                                                           \
        hd_status hd_try_ = (expr);                                                                \
        if (HD_UNLIKELY(hd_try_ != HD_OK)) return hd_try_;                                         \
    } while (0)

/** As HD_TRY, for functions that clean up: stores the status in `var` and jumps to `label`. */
#define HD_TRY_GOTO(var, label, expr)                                                              \
    do {                                                                                           \
        (var) = (expr);                                                                            \
        if (HD_UNLIKELY((var) != HD_OK)) goto label;                                               \
    } while (0)

#define HD_ASSERT(expr)                                                                            \
    do {                                                                                           \
        if (HD_UNLIKELY(!(expr))) hd_assert_failed(#expr, __FILE__, __LINE__);                     \
    } while (0)

#endif
