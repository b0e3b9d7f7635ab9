/* Typed access to a parsed tree, and JSON numbers as C numbers. */
#include "base/json.h"

#include <inttypes.h>
#include <locale.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/utf8.h"

const char *hd_json_kind_name(hd_json_kind kind)
{
    static const char *const names[] = {"null",     "a boolean", "a number",
                                        "a string", "an array",  "an object"};
    return names[kind];
}

const hd_json *hd_json_get(const hd_json *obj, const char *key)
{
    if (!obj || obj->kind != HD_JSON_OBJECT) return NULL;
    hd_str name = hd_str_from(key);
    for (const hd_json *c = obj->child; c; c = c->next)
        if (hd_str_eq(c->key, name)) return c;
    return NULL;
}

/* ---- paths and errors ---- */

static size_t index_in_parent(const hd_json *node)
{
    size_t i = 0;
    for (const hd_json *c = node->parent->child; c != node; c = c->next) i++;
    return i;
}

/* Append `part` to the text of length *n; false when not all of it fits. Keys may hold anything,
 * and a path is for people, so control characters become '?'. */
static bool append(char *out, size_t out_size, size_t *n, hd_str part)
{
    hd_str fits = hd_utf8_cut(part, out_size - 1 - *n);
    for (size_t i = 0; i < fits.len; i++)
        out[(*n)++] = (unsigned char)fits.ptr[i] < 0x20 ? '?' : fits.ptr[i];
    out[*n] = '\0';
    return fits.len == part.len;
}

static bool append_key(char *out, size_t out_size, size_t *n, hd_str key)
{
    return append(out, out_size, n, *n ? HD_STR(".") : HD_STR("")) && append(out, out_size, n, key);
}

void hd_json_path(const hd_json *node, char *out, size_t out_size)
{
    size_t depth = 0, n = 0;
    bool fits = out_size > 0;
    if (fits) out[0] = '\0';
    for (const hd_json *p = node; p->parent; p = p->parent) depth++;
    while (fits && depth-- > 0) {
        const hd_json *p = node;
        for (size_t i = 0; i < depth; i++) p = p->parent;
        if (p->parent->kind == HD_JSON_OBJECT) {
            fits = append_key(out, out_size, &n, p->key);
        } else {
            char index[32];
            snprintf(index, sizeof index, "[%zu]", index_in_parent(p));
            fits = append(out, out_size, &n, hd_str_from(index));
        }
    }
}

/* A value that is not what it must be: names it, says what was expected and what came. */
static hd_status wrong(const hd_json *node, const char *expected, hd_err *err)
{
    char path[sizeof err->path];
    hd_json_path(node, path, sizeof path);
    hd_str name = node->key.len ? hd_utf8_cut(node->key, 64) : hd_str_from(path);
    if (node->kind == HD_JSON_NUMBER || node->kind == HD_JSON_BOOL) {
        hd_str text = hd_utf8_cut(node->text, 40);
        HD_SET_ERR(err, HD_E_FORMAT, "'%.*s' must be %s, got %.*s", HD_STR_ARG(name), expected,
                   HD_STR_ARG(text));
    } else {
        HD_SET_ERR(err, HD_E_FORMAT, "'%.*s' must be %s, got %s", HD_STR_ARG(name), expected,
                   hd_json_kind_name(node->kind));
    }
    hd_err_set_path(err, path);
    return HD_E_FORMAT;
}

static hd_status get_kind(const hd_json *obj, const char *key, hd_json_kind kind,
                          const hd_json **out, hd_err *err)
{
    const hd_json *node = hd_json_get(obj, key);
    if (node && node->kind != kind) return wrong(node, hd_json_kind_name(kind), err);
    *out = node;
    if (node) return HD_OK;
    HD_SET_ERR(err, HD_E_FORMAT, "'%s' must be %s, got nothing", key, hd_json_kind_name(kind));
    if (obj && err) {
        hd_json_path(obj, err->path, sizeof err->path);
        size_t n = strlen(err->path);
        append_key(err->path, sizeof err->path, &n, hd_str_from(key));
    }
    return HD_E_FORMAT;
}

/* ---- numbers ---- */

/* An integer token; false when it has a fraction or exponent, or does not fit 64 bits. */
static bool to_i64(hd_str text, int64_t *out)
{
    bool minus = text.len && text.ptr[0] == '-';
    int64_t value = 0;
    size_t i = minus ? 1 : 0;
    if (i == text.len) return false;
    for (; i < text.len; i++) {
        int d = text.ptr[i] - '0';
        if (d < 0 || d > 9) return false;
        if (__builtin_mul_overflow(value, 10, &value)) return false;
        if (__builtin_add_overflow(value, minus ? -d : d, &value)) return false;
    }
    *out = value;
    return true;
}

hd_status hd_json_i64(const hd_json *node, int64_t min, int64_t max, int64_t *out, hd_err *err)
{
    int64_t value;
    if (node->kind == HD_JSON_NUMBER && to_i64(node->text, &value) && value >= min &&
        value <= max) {
        *out = value;
        return HD_OK;
    }
    char expected[80];
    snprintf(expected, sizeof expected, "an integer from %" PRId64 " to %" PRId64, min, max);
    return wrong(node, expected, err);
}

static locale_t c_locale;
static void make_c_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", NULL);
}

bool hd_json_number_f64(hd_str text, double *out)
{
    /* strtod_l rounds correctly at any length and does not see the program's locale; it only wants
     * a NUL at the end. glibc hands out its static "C" locale, so nothing is allocated. */
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    char small[64], *copy = small;
    pthread_once(&once, make_c_locale);
    if (text.len >= sizeof small && !(copy = hd_mem_try_calloc(text.len + 1, 1))) return false;
    if (text.len) memcpy(copy, text.ptr, text.len);
    copy[text.len] = '\0';
    *out = strtod_l(copy, NULL, c_locale);
    if (copy != small) hd_mem_free(copy);
    return true;
}

hd_status hd_json_f64(const hd_json *node, double *out, hd_err *err)
{
    if (node->kind != HD_JSON_NUMBER) return wrong(node, "a number", err);
    if (hd_json_number_f64(node->text, out)) return HD_OK;
    HD_FAIL(err, HD_E_NOMEM, "out of memory for a number of %zu digits", node->text.len);
}

/* ---- members ---- */

hd_status hd_json_get_i64(const hd_json *obj, const char *key, int64_t min, int64_t max,
                          int64_t *out, hd_err *err)
{
    const hd_json *node;
    HD_TRY(get_kind(obj, key, HD_JSON_NUMBER, &node, err));
    return hd_json_i64(node, min, max, out, err);
}

hd_status hd_json_get_f64(const hd_json *obj, const char *key, double *out, hd_err *err)
{
    const hd_json *node;
    HD_TRY(get_kind(obj, key, HD_JSON_NUMBER, &node, err));
    return hd_json_f64(node, out, err);
}

hd_status hd_json_get_bool(const hd_json *obj, const char *key, bool *out, hd_err *err)
{
    const hd_json *node;
    HD_TRY(get_kind(obj, key, HD_JSON_BOOL, &node, err));
    *out = node->truth;
    return HD_OK;
}

hd_status hd_json_get_str(const hd_json *obj, const char *key, hd_str *out, hd_err *err)
{
    const hd_json *node;
    HD_TRY(get_kind(obj, key, HD_JSON_STRING, &node, err));
    *out = node->text;
    return HD_OK;
}
