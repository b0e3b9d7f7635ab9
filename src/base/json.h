/* Reading JSON into a tree that keeps what the text said.
 *
 * A reader of our own (docs/adr/0003): numbers keep their digits (any length, "1.0" differs from
 * "1"), strings and keys may hold U+0000, object order is kept, duplicate keys can be refused, and
 * sizes and depth are bounded before anything is allocated. The input must be valid UTF-8. Nodes
 * live in the caller's arena; slices without escapes point into the source text, so the source must
 * outlive the tree. */
#ifndef HD_BASE_JSON_H
#define HD_BASE_JSON_H

#include <stdint.h>

#include "base/arena.h"
#include "base/status.h"
#include "base/str.h"

typedef enum hd_json_kind {
    HD_JSON_NULL,
    HD_JSON_BOOL,
    HD_JSON_NUMBER,
    HD_JSON_STRING,
    HD_JSON_ARRAY,
    HD_JSON_OBJECT
} hd_json_kind;

typedef struct hd_json hd_json;

struct hd_json {
    hd_json_kind kind;
    bool truth;           /* HD_JSON_BOOL */
    hd_str key;           /* decoded member name when the parent is an object */
    hd_str text;          /* string: decoded; all else: the source text */
    const hd_json *child; /* array or object: first element */
    const hd_json *next;  /* next element of the parent */
    const hd_json *parent;
    size_t n;      /* array or object: number of elements */
    size_t offset; /* byte offset of the value in the source */
};

typedef struct hd_json_opts {
    int max_depth;         /* 0 = 128 */
    bool allow_duplicates; /* as Python: place of the first, value of the last; else refused */
    bool python_constants; /* also NaN, Infinity, -Infinity (kind NUMBER, text as written) */
    size_t max_int_digits; /* refuse longer integers, as Python above 4300; 0 = any length */
} hd_json_opts;

/** Parse exactly one value with white space around it.
 *  @param opts may be NULL: strict, depth 128.
 *  @return HD_E_FORMAT with the offset in the text; HD_E_LIMIT beyond the depth;
 *          HD_E_NOMEM when the arena is full. A lone surrogate escape is HD_E_FORMAT. */
hd_status hd_json_parse(hd_str src, const hd_json_opts *opts, hd_arena *arena, const hd_json **out,
                        hd_err *err) HD_WARN_UNUSED;

/** Member `key` of an object (linear search); NULL if absent or `obj` is no object. */
const hd_json *hd_json_get(const hd_json *obj, const char *key);

/** The path of a node, "a.b[3]", into out (cut to fit); for error records. */
void hd_json_path(const hd_json *node, char *out, size_t out_size);

/** Typed getters: fail with HD_E_FORMAT, text "'key' must be ..., got ..." and the path set, when
 *  the member is missing or of another kind. Integers must have no fraction or exponent. */
hd_status hd_json_get_i64(const hd_json *obj, const char *key, int64_t min, int64_t max,
                          int64_t *out, hd_err *err) HD_WARN_UNUSED;
hd_status hd_json_get_f64(const hd_json *obj, const char *key, double *out,
                          hd_err *err) HD_WARN_UNUSED;
hd_status hd_json_get_bool(const hd_json *obj, const char *key, bool *out,
                           hd_err *err) HD_WARN_UNUSED;
hd_status hd_json_get_str(const hd_json *obj, const char *key, hd_str *out,
                          hd_err *err) HD_WARN_UNUSED;

/** A NUMBER node as an integer; HD_E_FORMAT if it has a fraction or exponent, or is outside. */
hd_status hd_json_i64(const hd_json *node, int64_t min, int64_t max, int64_t *out,
                      hd_err *err) HD_WARN_UNUSED;
/** A NUMBER node as a double, independent of the locale. */
hd_status hd_json_f64(const hd_json *node, double *out, hd_err *err) HD_WARN_UNUSED;

/** The text of a number (also NaN, Infinity) as the nearest double; overflow gives infinity.
 *  False only when a token longer than a line finds no memory. */
bool hd_json_number_f64(hd_str text, double *out);

/** "a string", "an object" ...: for error texts. */
const char *hd_json_kind_name(hd_json_kind kind);

#endif
