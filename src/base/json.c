/* The parser. One loop over the text, with a linked list of open containers instead of recursion,
 * so depth costs arena memory and never stack. json_get.c holds the typed getters. */
#include "base/json.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/strmap.h"
#include "base/utf8.h"

#define DEFAULT_DEPTH 128
#define SMALL_OBJECT  8 /* up to here, comparing all keys beats hashing them */

/* An object or array whose end has not been seen. */
typedef struct frame frame;
struct frame {
    frame *up;
    hd_json *node;
    hd_json *last; /* newest child of node */
};

typedef struct parser {
    hd_str src;
    size_t at; /* next byte to read */
    hd_json_opts opts;
    hd_arena *arena;
    hd_err *err;
    frame *top;    /* innermost open container */
    frame *unused; /* frames of closed containers */
    int depth;
    hd_str key;     /* read, and waiting for its value */
    hd_strmap seen; /* scratch for objects with many members */
} parser;

#define FAIL_AT(ps, offset, ...) return fail_at(ps, offset, __LINE__, __VA_ARGS__)

HD_PRINTF(4, 5)
static hd_status fail_at(const parser *ps, size_t offset, int line, const char *fmt, ...)
{
    char what[160];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(what, sizeof what, fmt, ap);
    va_end(ap);
    hd_err_set(ps->err, HD_E_FORMAT, __FILE__, line, "bad json at byte %zu: %s", offset, what);
    return HD_E_FORMAT;
}

static hd_status no_memory(const parser *ps)
{
    HD_FAIL(ps->err, HD_E_NOMEM, "json needs more than the %zu bytes it may take",
            ps->arena->max_bytes);
}

/* The next byte, -1 at the end. */
static inline int peek(const parser *ps)
{
    return ps->at < ps->src.len ? (unsigned char)ps->src.ptr[ps->at] : -1;
}

static inline int skip_space(parser *ps)
{
    int c;
    while ((c = peek(ps)) == ' ' || c == '\n' || c == '\r' || c == '\t') ps->at++;
    return c;
}

/* For messages: the byte found, in words. */
static const char *found(const parser *ps, char out[8])
{
    int c = peek(ps);
    if (c < 0) return "the end";
    if (c < 0x21 || c > 0x7E)
        snprintf(out, 8, "0x%02x", (unsigned)c & 0xFFu);
    else
        snprintf(out, 8, "'%c'", c);
    return out;
}

/* ---- strings ---- */

static int hex_digit(int c)
{
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
}

/* Four hex digits at `i`; -1 if they are not. */
static int32_t hex4(hd_str s, size_t i)
{
    if (s.len - i < 4) return -1;
    int32_t value = 0;
    for (size_t k = i; k < i + 4; k++) {
        int d = hex_digit((unsigned char)s.ptr[k]);
        if (d < 0) return -1;
        value = value << 4 | d;
    }
    return value;
}

/* Decode \uXXXX (a pair of them for a surrogate pair) at ps->at, behind the "\u". */
static hd_status unescape_u(parser *ps, char *dst, size_t *n)
{
    size_t start = ps->at - 2;
    int32_t unit = hex4(ps->src, ps->at);
    if (unit < 0) FAIL_AT(ps, start, "'\\u' needs four hex digits");
    ps->at += 4;
    uint32_t cp = (uint32_t)unit;
    if (cp >= 0xD800 && cp < 0xDC00 && hd_str_starts(hd_str_skip(ps->src, ps->at), HD_STR("\\u"))) {
        int32_t low = hex4(ps->src, ps->at + 2);
        if (low >= 0xDC00 && low < 0xE000) {
            cp = 0x10000 + ((cp - 0xD800) << 10) + ((uint32_t)low - 0xDC00);
            ps->at += 6;
        }
    }
    if (cp >= 0xD800 && cp < 0xE000) FAIL_AT(ps, start, "lone surrogate '\\u%04x'", (unsigned)unit);
    *n += hd_utf8_put(dst + *n, cp);
    return HD_OK;
}

/* Decode the string that ends at `end`, ps->at at its first byte, into `dst`. */
static hd_status unescape(parser *ps, size_t end, char *dst, size_t *n)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    *n = 0;
    while (ps->at < end) {
        char c = ps->src.ptr[ps->at++];
        if (c != '\\') {
            dst[(*n)++] = c;
            continue;
        }
        char e = ps->src.ptr[ps->at++];
        if (e == 'u') {
            HD_TRY(unescape_u(ps, dst, n));
            continue;
        }
        const char *p = e ? strchr(from, e) : NULL;
        if (!p) FAIL_AT(ps, ps->at - 2, "unknown escape in a string");
        dst[(*n)++] = to[p - from];
    }
    return HD_OK;
}

/* A string at ps->at, which is its opening quote. */
static hd_status read_string(parser *ps, hd_str *out)
{
    size_t begin = ++ps->at, i = begin;
    const unsigned char *p = (const unsigned char *)ps->src.ptr;
    bool escaped = false;
    for (; i < ps->src.len && p[i] != '"'; i++) {
        if (p[i] < 0x20) FAIL_AT(ps, i, "control character 0x%02x in a string", p[i]);
        if (p[i] != '\\') continue;
        escaped = true;
        i++; /* whatever follows is no closing quote */
    }
    if (i >= ps->src.len) FAIL_AT(ps, begin - 1, "string without an end");
    *out = (hd_str){ps->src.ptr + begin, i - begin};
    if (escaped) {
        /* Every escape is longer than what it stands for. */
        char *dst = hd_arena_try_alloc(ps->arena, i - begin, 1);
        if (!dst) return no_memory(ps);
        out->ptr = dst;
        HD_TRY(unescape(ps, i, dst, &out->len));
    }
    ps->at = i + 1;
    return HD_OK;
}

/* ---- numbers and words ---- */

static size_t skip_digits(parser *ps)
{
    size_t begin = ps->at;
    for (int c = peek(ps); c >= '0' && c <= '9'; c = peek(ps)) ps->at++;
    return ps->at - begin;
}

static bool accept_word(parser *ps, hd_str word)
{
    if (!hd_str_starts(hd_str_skip(ps->src, ps->at), word)) return false;
    ps->at += word.len;
    return true;
}

static hd_status read_number(parser *ps, hd_str *out)
{
    size_t begin = ps->at;
    if (peek(ps) == '-') ps->at++;
    if (ps->opts.python_constants && accept_word(ps, HD_STR("Infinity"))) goto done;
    size_t int_begin = ps->at, n = skip_digits(ps);
    if (n == 0 || (n > 1 && ps->src.ptr[int_begin] == '0'))
        FAIL_AT(ps, begin, "expected a number without leading zeros");
    bool is_integer = peek(ps) != '.' && peek(ps) != 'e' && peek(ps) != 'E';
    if (is_integer && ps->opts.max_int_digits && n > ps->opts.max_int_digits)
        FAIL_AT(ps, begin, "integer of more than %zu digits", ps->opts.max_int_digits);
    if (peek(ps) == '.') {
        ps->at++;
        if (skip_digits(ps) == 0) FAIL_AT(ps, begin, "number without digits after '.'");
    }
    if (peek(ps) == 'e' || peek(ps) == 'E') {
        ps->at++;
        if (peek(ps) == '+' || peek(ps) == '-') ps->at++;
        if (skip_digits(ps) == 0) FAIL_AT(ps, begin, "number without digits in its exponent");
    }
done:
    *out = (hd_str){ps->src.ptr + begin, ps->at - begin};
    return HD_OK;
}

static hd_status read_word(parser *ps, hd_json *node)
{
    char buf[8];
    size_t begin = ps->at;
    if (accept_word(ps, HD_STR("null"))) {
        node->kind = HD_JSON_NULL;
    } else if (accept_word(ps, HD_STR("true"))) {
        node->kind = HD_JSON_BOOL;
        node->truth = true;
    } else if (accept_word(ps, HD_STR("false"))) {
        node->kind = HD_JSON_BOOL;
    } else if (ps->opts.python_constants &&
               (accept_word(ps, HD_STR("NaN")) || accept_word(ps, HD_STR("Infinity")))) {
        node->kind = HD_JSON_NUMBER;
    } else {
        FAIL_AT(ps, begin, "expected a value, got %s", found(ps, buf));
    }
    node->text = (hd_str){ps->src.ptr + begin, ps->at - begin};
    return HD_OK;
}

/* ---- containers ---- */

/* The later of two equal members takes the place of the earlier one, as in Python. */
static void replace_value(hd_json *first, const hd_json *later)
{
    hd_json keep = *first;
    *first = *later;
    first->next = keep.next;
    first->key = keep.key;
    /* Until hd_json_parse returns, all nodes are ours to write. */
    for (hd_json *c = (hd_json *)first->child; c; c = (hd_json *)c->next) c->parent = first;
}

/* The member before `node` that has its key; NULL if none. */
static hd_status find_twin(parser *ps, hd_json *object, hd_json *node, hd_json **twin)
{
    *twin = NULL;
    if (object->n <= SMALL_OBJECT) {
        for (hd_json *c = (hd_json *)object->child; c != node; c = (hd_json *)c->next)
            if (hd_str_eq(c->key, node->key)) *twin = c;
        return HD_OK;
    }
    bool is_new;
    uint64_t *slot = hd_strmap_try_put(&ps->seen, node->key, &is_new);
    if (!slot) return no_memory(ps);
    if (is_new)
        *slot = (uint64_t)(uintptr_t)node;
    else
        *twin = (hd_json *)(uintptr_t)*slot;
    return HD_OK;
}

/* Done once when the object closes, so that nested objects share one scratch table. */
static hd_status settle_duplicates(parser *ps, hd_json *object)
{
    hd_json *last = NULL, *next;
    size_t kept = 0;
    hd_strmap_reset(&ps->seen);
    if (object->n > SMALL_OBJECT && !hd_strmap_try_reserve(&ps->seen, object->n))
        return no_memory(ps);
    for (hd_json *c = (hd_json *)object->child; c; c = next) {
        hd_json *twin;
        next = (hd_json *)c->next;
        HD_TRY(find_twin(ps, object, c, &twin));
        if (!twin) {
            last = c;
            kept++;
            continue;
        }
        if (!ps->opts.allow_duplicates)
            FAIL_AT(ps, c->offset, "member '%.*s' occurs twice",
                    HD_STR_ARG(hd_utf8_cut(c->key, 64)));
        replace_value(twin, c);
        last->next = next; /* a twin means that something came before */
    }
    object->n = kept;
    return HD_OK;
}

static hd_status open_container(parser *ps, hd_json *node)
{
    if (++ps->depth > ps->opts.max_depth)
        HD_FAIL(ps->err, HD_E_LIMIT, "json at byte %zu is nested deeper than %d levels", ps->at,
                ps->opts.max_depth);
    frame *f = ps->unused;
    if (f)
        ps->unused = f->up;
    else if (!(f = hd_arena_try_alloc(ps->arena, 1, sizeof *f)))
        return no_memory(ps);
    *f = (frame){.up = ps->top, .node = node};
    ps->top = f;
    node->kind = ps->src.ptr[ps->at++] == '{' ? HD_JSON_OBJECT : HD_JSON_ARRAY;
    return HD_OK;
}

/* ps->at is behind the closing bracket. */
static hd_status close_container(parser *ps)
{
    frame *f = ps->top;
    hd_json *node = f->node;
    node->text = (hd_str){ps->src.ptr + node->offset, ps->at - node->offset};
    if (node->kind == HD_JSON_OBJECT && node->n > 1) HD_TRY(settle_duplicates(ps, node));
    ps->top = f->up;
    f->up = ps->unused;
    ps->unused = f;
    ps->depth--;
    return HD_OK;
}

static hd_status read_key(parser *ps)
{
    char buf[8];
    if (skip_space(ps) != '"')
        FAIL_AT(ps, ps->at, "expected a member name in quotes, got %s", found(ps, buf));
    HD_TRY(read_string(ps, &ps->key));
    if (skip_space(ps) != ':')
        FAIL_AT(ps, ps->at, "expected ':' after a member name, got %s", found(ps, buf));
    ps->at++;
    return HD_OK;
}

static hd_status add_node(parser *ps, hd_json **out)
{
    hd_json *node = hd_arena_try_alloc(ps->arena, 1, sizeof *node);
    if (!node) return no_memory(ps);
    node->offset = ps->at;
    frame *f = ps->top;
    if (f) {
        node->parent = f->node;
        if (f->node->kind == HD_JSON_OBJECT) node->key = ps->key;
        if (f->last)
            f->last->next = node;
        else
            f->node->child = node;
        f->last = node;
        f->node->n++;
    }
    *out = node;
    return HD_OK;
}

/* Read one value; of a container only the opening bracket, and its first key.
 * @param is_done false when a value must follow: the first one of the container. */
static hd_status begin_value(parser *ps, hd_json **out, bool *is_done)
{
    hd_json *node;
    int c = skip_space(ps);
    HD_TRY(add_node(ps, &node));
    *out = node;
    *is_done = true;
    if (c == '"') {
        node->kind = HD_JSON_STRING;
        return read_string(ps, &node->text);
    }
    if (c == '-' || (c >= '0' && c <= '9')) {
        node->kind = HD_JSON_NUMBER;
        return read_number(ps, &node->text);
    }
    if (c != '{' && c != '[') return read_word(ps, node);
    HD_TRY(open_container(ps, node));
    if (skip_space(ps) == (c == '{' ? '}' : ']')) {
        ps->at++;
        return close_container(ps);
    }
    *is_done = false;
    return c == '{' ? read_key(ps) : HD_OK;
}

/* After a value: close what closes here. On return either the document is complete (top is NULL)
 * or another value follows. */
static hd_status after_value(parser *ps)
{
    char buf[8];
    while (ps->top) {
        bool is_object = ps->top->node->kind == HD_JSON_OBJECT;
        int c = skip_space(ps);
        if (c == ',') {
            ps->at++;
            return is_object ? read_key(ps) : HD_OK;
        }
        if (c != (is_object ? '}' : ']'))
            FAIL_AT(ps, ps->at, "expected ',' or '%c', got %s", is_object ? '}' : ']',
                    found(ps, buf));
        ps->at++;
        HD_TRY(close_container(ps));
    }
    return HD_OK;
}

static hd_status parse_document(parser *ps, const hd_json **out)
{
    char buf[8];
    hd_json *root, *node;
    bool is_done;
    size_t good = hd_utf8_valid_prefix(ps->src);
    if (good != ps->src.len) FAIL_AT(ps, good, "not valid UTF-8");
    HD_TRY(begin_value(ps, &root, &is_done));
    if (is_done) HD_TRY(after_value(ps));
    while (ps->top) {
        HD_TRY(begin_value(ps, &node, &is_done));
        if (is_done) HD_TRY(after_value(ps));
    }
    if (skip_space(ps) >= 0)
        FAIL_AT(ps, ps->at, "expected nothing more after the value, got %s", found(ps, buf));
    *out = root;
    return HD_OK;
}

hd_status hd_json_parse(hd_str src, const hd_json_opts *opts, hd_arena *arena, const hd_json **out,
                        hd_err *err)
{
    parser ps = {.src = src, .arena = arena, .err = err};
    if (opts) ps.opts = *opts;
    if (ps.opts.max_depth <= 0) ps.opts.max_depth = DEFAULT_DEPTH;
    *out = NULL;
    hd_status status = parse_document(&ps, out);
    hd_strmap_deinit(&ps.seen);
    return status;
}
