/* hadal: runs the DeepSeek-V4 family on any silicon.
 *
 * This header holds what the other public headers share: the version, the status codes and the
 * error record. Every fallible function returns an hd_status; where a person needs to know why, its
 * last parameter is an hd_err that the caller owns (NULL: only the code is wanted). There is no
 * global "last error", so all of it is safe to use from several threads. */
#ifndef HADAL_HADAL_H
#define HADAL_HADAL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define HD_VERSION_MAJOR 0
#define HD_VERSION_MINOR 1
#define HD_VERSION_PATCH 0

#if defined(__GNUC__)
#define HD_API          __attribute__((visibility("default")))
#define HD_WARN_UNUSED  __attribute__((warn_unused_result))
#define HD_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define HD_API
#define HD_WARN_UNUSED
#define HD_PRINTF(f, a)
#endif

/** 0 is success, every failure is negative. */
typedef int hd_status;

enum {
    HD_OK = 0,
    HD_E_ARG = -1,         /**< the caller passed something that cannot be meant */
    HD_E_NOMEM = -2,       /**< memory of a size that the outside chose could not be had */
    HD_E_IO = -3,          /**< the operating system refused a read, write or map */
    HD_E_FORMAT = -4,      /**< a file or text does not follow its format */
    HD_E_UNSUPPORTED = -5, /**< well-formed, but not something that this version runs */
    HD_E_NOTFOUND = -6,    /**< a named thing does not exist */
    HD_E_LIMIT = -7,       /**< a stated limit would be exceeded */
    HD_E_BUSY = -8,        /**< try again later */
    HD_E_CANCELLED = -9,   /**< the caller asked to stop */
    HD_E_TIMEOUT = -10,    /**< a deadline passed */
    HD_E_DEVICE = -11,     /**< the device reported a fault, or computed NaN or infinity */
    HD_E_PEER = -12,       /**< another process of the job failed */
    HD_E_AUTH = -13,       /**< not allowed */
    HD_E_BUG = -14         /**< hadal broke its own rules: please report it */
};

/** Why something failed. Filled on failure only; `text` is lower case, names its subject in
 *  quotes, has no full stop, and says what was expected. */
typedef struct hd_err {
    hd_status code;
    int line;         /**< line in `file` where the failure was noticed */
    const char *file; /**< source file, static */
    char text[480];   /**< NUL-terminated UTF-8 */
    char path[128];   /**< JSON path of the offending value, or "" */
} hd_err;

/** Short constant name of a status, for example "E_FORMAT". Never NULL. */
HD_API const char *hd_status_name(hd_status code);

/** "MAJOR.MINOR.PATCH" of the library that is running. */
HD_API const char *hd_version(void);

#ifdef __cplusplus
}
#endif
#endif
