/* Reading: map, parse the header, check every number, make views. */
#include "io/safetensors.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"

#define LENGTH_BYTES 8 /* of the header length in front of everything */

struct hd_st {
    hd_map map;     /* empty when the bytes are the caller's */
    char file[256]; /* name in messages, cut if need be */
    hd_arena arena; /* tensors and their names */
    hd_str bytes;   /* the whole file */
    uint64_t data_begin, data_len;
    hd_st_tensor *tensors; /* [n], in the order of their offsets */
    size_t n, n_unaligned;
    uint64_t tensor_bytes;
    bool has_header;
};

/* What the functions of this file hand to each other while a header is read. */
typedef struct reader {
    hd_st *st;
    unsigned flags;
    hd_defects *defects;
    hd_err *err;
} reader;

static hd_str file_str(const reader *r)
{
    return hd_str_from(r->st->file);
}

HD_PRINTF(4, 5)
static hd_status tensor_defect(const reader *r, hd_defect_code code, hd_st_tensor *t,
                               const char *fmt, ...)
{
    char what[320];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    t->is_bad = true;
    return hd_defect_report(r->defects, code, t->name, r->err, "%s, in '%s'", what, r->st->file);
}

/* ---- one tensor of the header ---- */

/* A number that is spelled as an integer without sign; then only its size can be wrong. */
static bool is_plain_integer(const hd_json *node)
{
    if (node->kind != HD_JSON_NUMBER) return false;
    for (size_t i = 0; i < node->text.len; i++)
        if (node->text.ptr[i] < '0' || node->text.ptr[i] > '9') return false;
    return true;
}

/* Element `node` of `what` as 0 ... 2^63 - 1. On a defect t->is_bad is set. */
static hd_status read_size(const reader *r, hd_st_tensor *t, const hd_json *node, const char *what,
                           hd_defect_code code, int64_t *out)
{
    if (!is_plain_integer(node))
        return tensor_defect(r, code, t, "%s holds '%.*s', expected a non-negative integer", what,
                             HD_STR_CUT(node->text));
    if (hd_json_i64(node, 0, INT64_MAX, out, NULL) != HD_OK)
        return tensor_defect(r, HD_DEFECT_OVERFLOW, t, "%s holds '%.*s', at most 2^63 - 1 fits",
                             what, HD_STR_CUT(node->text));
    return HD_OK;
}

static hd_status read_dtype(const reader *r, hd_st_tensor *t, const hd_json *node)
{
    if (!node || node->kind != HD_JSON_STRING)
        return tensor_defect(r, HD_DEFECT_BAD_DTYPE, t, "it has no 'dtype' string");
    if (!hd_dtype_from_name(node->text, &t->dtype))
        return tensor_defect(r, HD_DEFECT_BAD_DTYPE, t, "dtype '%.*s' is not known",
                             HD_STR_CUT(node->text));
    return HD_OK;
}

/* Shape, and from it and the dtype the bytes that the tensor needs. */
static hd_status read_shape(const reader *r, hd_st_tensor *t, const hd_json *node)
{
    if (!node || node->kind != HD_JSON_ARRAY)
        return tensor_defect(r, HD_DEFECT_BAD_SHAPE, t, "it has no 'shape' list");
    if (node->n > HD_ST_MAX_RANK)
        return tensor_defect(r, HD_DEFECT_BAD_SHAPE, t,
                             "'shape' has %zu sizes, expected at most %d", node->n, HD_ST_MAX_RANK);
    int64_t bytes = (int64_t)hd_dtype_size(t->dtype);
    for (const hd_json *e = node->child; e; e = e->next) {
        int64_t *size = &t->shape[t->rank++];
        HD_TRY(read_size(r, t, e, "'shape'", HD_DEFECT_BAD_SHAPE, size));
        if (t->is_bad) return HD_OK;
        if (__builtin_mul_overflow(bytes, *size, &bytes))
            return tensor_defect(r, HD_DEFECT_OVERFLOW, t, "its sizes multiply beyond 2^63 - 1");
    }
    t->n_bytes = (uint64_t)bytes;
    return HD_OK;
}

static hd_status read_offsets(const reader *r, hd_st_tensor *t, const hd_json *node)
{
    if (!node || node->kind != HD_JSON_ARRAY || node->n != 2)
        return tensor_defect(r, HD_DEFECT_BAD_OFFSETS, t, "it has no 'data_offsets' pair");
    int64_t begin, end;
    HD_TRY(read_size(r, t, node->child, "'data_offsets'", HD_DEFECT_BAD_OFFSETS, &begin));
    if (t->is_bad) return HD_OK;
    HD_TRY(read_size(r, t, node->child->next, "'data_offsets'", HD_DEFECT_BAD_OFFSETS, &end));
    if (t->is_bad) return HD_OK;
    if (begin > end || (uint64_t)(end - begin) != t->n_bytes)
        return tensor_defect(r, HD_DEFECT_BAD_OFFSETS, t,
                             "'data_offsets' [%lld, %lld] do not hold the %llu bytes of its shape",
                             (long long)begin, (long long)end, (unsigned long long)t->n_bytes);
    t->offset = (uint64_t)begin;
    return HD_OK;
}

static hd_status read_tensor(const reader *r, hd_st_tensor *t, const hd_json *node)
{
    if (node->kind != HD_JSON_OBJECT)
        return tensor_defect(r, HD_DEFECT_BAD_HEADER, t, "its entry is %s, expected an object",
                             hd_json_kind_name(node->kind));
    HD_TRY(read_dtype(r, t, hd_json_get(node, "dtype")));
    if (t->is_bad) return HD_OK;
    HD_TRY(read_shape(r, t, hd_json_get(node, "shape")));
    if (t->is_bad) return HD_OK;
    return read_offsets(r, t, hd_json_get(node, "data_offsets"));
}

/* ---- all tensors ---- */

static int by_offset(const void *a, const void *b)
{
    const hd_st_tensor *s = a, *t = b;
    if (s->offset != t->offset) return s->offset < t->offset ? -1 : 1;
    return (s->n_bytes > t->n_bytes) - (s->n_bytes < t->n_bytes);
}

static void sort_tensors(hd_st *st)
{
    for (size_t i = 1; i < st->n; i++) {
        if (by_offset(&st->tensors[i - 1], &st->tensors[i]) <= 0) continue;
        qsort(st->tensors, st->n, sizeof *st->tensors, by_offset);
        return;
    }
}

/* Overlaps and gaps, in lenient mode. Bad tensors may own any bytes: with one, no gap is certain.
 */
static hd_status report_layout(const reader *r)
{
    hd_st *st = r->st;
    uint64_t end = 0, gap_bytes = 0;
    const hd_st_tensor *last = NULL; /* the one that reaches `end` */
    bool is_certain = true;
    for (size_t i = 0; i < st->n; i++) {
        const hd_st_tensor *t = &st->tensors[i];
        is_certain &= !t->is_bad && (t->data || (r->flags & HD_ST_HEADERS));
        if (t->is_bad || t->n_bytes == 0) continue;
        uint64_t t_end = t->offset + t->n_bytes;
        if (t->offset < end)
            HD_TRY(hd_defect_report(r->defects, HD_DEFECT_OVERLAP, t->name, r->err,
                                    "shares %llu bytes with '%.*s', in '%s'",
                                    (unsigned long long)((t_end < end ? t_end : end) - t->offset),
                                    HD_STR_CUT(last->name), st->file));
        else
            gap_bytes += t->offset - end;
        if (t_end > end) {
            end = t_end;
            last = t;
        }
    }
    if (!(r->flags & HD_ST_HEADERS) && st->data_len > end) gap_bytes += st->data_len - end;
    if (gap_bytes == 0 || !is_certain) return HD_OK;
    return hd_defect_report(r->defects, HD_DEFECT_GAP, file_str(r), r->err,
                            "%llu bytes belong to no tensor", (unsigned long long)gap_bytes);
}

/* Data pointers, and whether the file is long enough: said once, of the tensor that ends last. */
static hd_status attach_data(const reader *r)
{
    hd_st *st = r->st;
    const hd_st_tensor *last = NULL;
    for (size_t i = 0; i < st->n; i++) {
        hd_st_tensor *t = &st->tensors[i];
        if (t->is_bad) continue;
        uint64_t end = t->offset + t->n_bytes; /* both < 2^63 */
        if ((st->data_begin + t->offset) % hd_dtype_size(t->dtype)) st->n_unaligned++;
        st->tensor_bytes += t->n_bytes;
        if (r->flags & HD_ST_HEADERS) continue;
        if (end <= st->data_len)
            t->data = (const uint8_t *)st->bytes.ptr + st->data_begin + t->offset;
        else if (!last || end > last->offset + last->n_bytes)
            last = t;
    }
    if (!last) return HD_OK;
    return hd_defect_report(r->defects, HD_DEFECT_SHORT_FILE, file_str(r), r->err,
                            "ends after %zu bytes, tensor '%.*s' needs %llu", st->bytes.len,
                            HD_STR_CUT(last->name),
                            (unsigned long long)(st->data_begin + last->offset + last->n_bytes));
}

static hd_status read_tensors(const reader *r, const hd_json *root)
{
    hd_st *st = r->st;
    st->tensors = hd_arena_try_alloc(&st->arena, root->n, sizeof *st->tensors);
    if (!st->tensors)
        HD_FAIL(r->err, HD_E_NOMEM, "no memory for the %zu tensors of '%s'", root->n, st->file);
    for (const hd_json *e = root->child; e; e = e->next) {
        if (hd_str_eq(e->key, HD_STR("__metadata__"))) continue; /* free text of the writer */
        hd_st_tensor *t = &st->tensors[st->n++];
        t->name = hd_arena_dup(&st->arena, e->key);
        if (!t->name.ptr) HD_FAIL(r->err, HD_E_NOMEM, "no memory for the names of '%s'", st->file);
        HD_TRY(read_tensor(r, t, e));
    }
    sort_tensors(st);
    HD_TRY(attach_data(r));
    return r->defects ? report_layout(r) : HD_OK;
}

/* ---- the header as a whole ---- */

/* The tree of the header; NULL in *root when there is none and that was recorded. A member that
 * occurs twice is the one fault that leaves the rest readable: the last one counts. */
static hd_status parse_header(const reader *r, hd_str text, hd_arena *arena, const hd_json **root)
{
    hd_err why;
    hd_status status = hd_json_parse(text, NULL, arena, root, &why);
    if (status == HD_E_FORMAT) {
        hd_json_opts opts = {.allow_duplicates = true};
        hd_arena_reset(arena);
        bool is_twin = hd_json_parse(text, &opts, arena, root, NULL) == HD_OK;
        HD_TRY(hd_defect_report(r->defects,
                                is_twin ? HD_DEFECT_DUPLICATE_NAME : HD_DEFECT_BAD_HEADER,
                                file_str(r), r->err, "header: %s", why.text));
        if (!is_twin) *root = NULL;
    } else if (status == HD_E_LIMIT) {
        *root = NULL;
        return hd_defect_report(r->defects, HD_DEFECT_BAD_HEADER, file_str(r), r->err, "header: %s",
                                why.text);
    } else if (status != HD_OK) {
        HD_FAIL(r->err, status, "'%s': header: %s", r->st->file, why.text);
    }
    if (!*root || (*root)->kind == HD_JSON_OBJECT) return HD_OK;
    status = hd_defect_report(r->defects, HD_DEFECT_BAD_HEADER, file_str(r), r->err,
                              "header is %s, expected an object", hd_json_kind_name((*root)->kind));
    *root = NULL;
    return status;
}

/* The header's text; empty when the file has none and that was recorded. */
static hd_status find_header(const reader *r, hd_str *text)
{
    hd_st *st = r->st;
    *text = (hd_str){0};
    if (st->bytes.len < LENGTH_BYTES)
        return hd_defect_report(r->defects, HD_DEFECT_SHORT_FILE, file_str(r), r->err,
                                "has %zu bytes, expected %d of header length and a header",
                                st->bytes.len, LENGTH_BYTES);
    uint64_t len = 0;
    for (int i = LENGTH_BYTES - 1; i >= 0; i--) len = len << 8 | (uint8_t)st->bytes.ptr[i];
    uint64_t most = st->bytes.len - LENGTH_BYTES;
    if (len > most || len > HD_ST_MAX_HEADER)
        return hd_defect_report(r->defects, HD_DEFECT_HEADER_TOO_LARGE, file_str(r), r->err,
                                "header of %llu bytes, expected at most the %llu %s",
                                (unsigned long long)len,
                                (unsigned long long)(len > most ? most : HD_ST_MAX_HEADER),
                                len > most ? "that follow" : "of the format's limit");
    *text = (hd_str){st->bytes.ptr + LENGTH_BYTES, (size_t)len};
    st->data_begin = LENGTH_BYTES + len;
    st->data_len = most - len;
    return HD_OK;
}

static hd_status read_header(const reader *r)
{
    hd_str text;
    HD_TRY(find_header(r, &text));
    if (!text.ptr) return HD_OK;
    size_t room = hd_st_tree_bytes(text.len);
    hd_arena tree;
    const hd_json *root;
    hd_arena_init(&tree, room);
    hd_arena_init(&r->st->arena, room);
    hd_status status = parse_header(r, text, &tree, &root);
    r->st->has_header = status == HD_OK && root;
    if (r->st->has_header) status = read_tensors(r, root);
    hd_arena_deinit(&tree);
    return status;
}

/* Takes over the map, also on failure. */
static hd_status open_bytes(hd_map map, hd_str bytes, const char *file, const reader *proto,
                            hd_st **out)
{
    reader r = *proto;
    r.st = hd_mem_try_calloc(1, sizeof *r.st);
    if (!r.st) {
        hd_map_close(&map);
        HD_FAIL(r.err, HD_E_NOMEM, "no memory to open '%s'", file);
    }
    *r.st = (hd_st){.map = map, .bytes = bytes};
    snprintf(r.st->file, sizeof r.st->file, "%s", file);
    hd_status status = read_header(&r);
    if (status != HD_OK) {
        hd_st_close(r.st);
        return status;
    }
    *out = r.st;
    return HD_OK;
}

hd_status hd_st_from_memory(hd_str bytes, const char *file, unsigned flags, hd_defects *defects,
                            hd_st **out, hd_err *err)
{
    *out = NULL;
    reader r = {.flags = flags, .defects = defects, .err = err};
    return open_bytes((hd_map){0}, bytes, file, &r, out);
}

hd_status hd_st_open(const char *path, unsigned flags, hd_defects *defects, hd_st **out,
                     hd_err *err)
{
    *out = NULL;
    const char *slash = strrchr(path, '/');
    reader r = {.flags = flags, .defects = defects, .err = err};
    hd_map map;
    HD_TRY(hd_map_open(path, &map, err));
    hd_str bytes = {(const char *)map.ptr, map.len};
    return open_bytes(map, bytes, slash ? slash + 1 : path, &r, out);
}

void hd_st_close(hd_st *st)
{
    if (!st) return;
    hd_map_close(&st->map);
    hd_arena_deinit(&st->arena);
    hd_mem_free(st);
}

/* ---- looking at it ---- */

bool hd_st_has_header(const hd_st *st)
{
    return st->has_header;
}

size_t hd_st_count(const hd_st *st)
{
    return st->n;
}

const hd_st_tensor *hd_st_at(const hd_st *st, size_t i)
{
    HD_ASSERT(i < st->n);
    return &st->tensors[i];
}

const hd_st_tensor *hd_st_find(const hd_st *st, hd_str name)
{
    for (size_t i = 0; i < st->n; i++)
        if (hd_str_eq(st->tensors[i].name, name)) return &st->tensors[i];
    return NULL;
}

size_t hd_st_unaligned(const hd_st *st)
{
    return st->n_unaligned;
}

uint64_t hd_st_tensor_bytes(const hd_st *st)
{
    return st->tensor_bytes;
}
