#include "server/unwrap.h"

#include "base/arena.h"
#include "base/json.h"
#include "base/jsonw.h"
#include "base/utf8.h"

#define MAX_TREE_BYTES ((size_t)256 << 20)
#define REPLACEMENT    0xFFFDu

/* ---- one member's text ------------------------------------------------------------------------*/

static void put_code(hd_buf *out, uint32_t code)
{
    char utf8[4];
    hd_buf_add(out, utf8, hd_utf8_put(utf8, code));
}

/* A first half that nothing followed. */
static void give_up_half(hd_unwrap *u, hd_buf *out)
{
    if (u->high) put_code(out, REPLACEMENT);
    u->high = 0;
}

static void take_code(hd_unwrap *u, hd_buf *out)
{
    bool is_high = u->code >= 0xD800 && u->code <= 0xDBFF;
    bool is_low = u->code >= 0xDC00 && u->code <= 0xDFFF;
    u->state = HD_UNWRAP_STRING;
    if (is_low && u->high) {
        put_code(out, 0x10000 + ((u->high - 0xD800) << 10) + (u->code - 0xDC00));
        u->high = 0;
        return;
    }
    give_up_half(u, out);
    if (is_high)
        u->high = u->code;
    else
        put_code(out, is_low ? REPLACEMENT : u->code);
}

static void take_hex(hd_unwrap *u, char c, hd_buf *out)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *p = c ? strchr(digits, c) : NULL;
    u->code = u->code * 16 + (p ? (uint32_t)(p - digits) % 16 : 0);
    if (++u->n_hex == 4) take_code(u, out);
}

static void take_escape(hd_unwrap *u, char c, hd_buf *out)
{
    static const char from[] = "nrtbf", to[] = "\n\r\t\b\f";
    if (c == 'u') {
        u->state = HD_UNWRAP_HEX;
        u->code = 0;
        u->n_hex = 0;
        return;
    }
    const char *p = c ? strchr(from, c) : NULL;
    give_up_half(u, out);
    hd_buf_addc(out, p ? to[p - from] : c);
    u->state = HD_UNWRAP_STRING;
}

static void take_in_string(hd_unwrap *u, char c, hd_buf *out)
{
    if (c == '\\') {
        u->state = HD_UNWRAP_ESCAPE;
        return;
    }
    give_up_half(u, out);
    if (c == '"')
        u->state = HD_UNWRAP_DONE;
    else
        hd_buf_addc(out, c);
}

/* Follow strings outside of the one that is wanted; true: c is part of one. */
static bool skip_string(hd_unwrap *u, char c)
{
    if (!u->is_in_string) {
        u->is_in_string = c == '"';
        return u->is_in_string;
    }
    if (u->is_escaped || c == '\\')
        u->is_escaped = !u->is_escaped;
    else if (c == '"')
        u->is_in_string = false;
    return true;
}

static void take_other(hd_unwrap *u, char c, hd_buf *out)
{
    if (!skip_string(u, c)) {
        if (u->depth == 0 && (c == ',' || c == '}')) {
            u->state = HD_UNWRAP_DONE;
            return;
        }
        if (c == '{' || c == '[') u->depth++;
        if (c == '}' || c == ']') u->depth--;
    }
    hd_buf_addc(out, c);
}

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

void hd_unwrap_push(hd_unwrap *u, hd_str args, hd_buf *out)
{
    for (size_t i = 0; i < args.len; i++) {
        char c = args.ptr[i];
        if (u->state == HD_UNWRAP_VALUE && !is_space(c)) {
            u->state = c == '"' ? HD_UNWRAP_STRING : HD_UNWRAP_OTHER;
            if (c == '"') continue;
        }
        switch (u->state) {
        case HD_UNWRAP_NAME:
            if (!skip_string(u, c) && c == ':') u->state = HD_UNWRAP_VALUE;
            break;
        case HD_UNWRAP_VALUE: break;
        case HD_UNWRAP_STRING: take_in_string(u, c, out); break;
        case HD_UNWRAP_ESCAPE: take_escape(u, c, out); break;
        case HD_UNWRAP_HEX: take_hex(u, c, out); break;
        case HD_UNWRAP_OTHER: take_other(u, c, out); break;
        case HD_UNWRAP_DONE: return;
        }
    }
}

void hd_unwrap_finish(hd_unwrap *u, hd_buf *out)
{
    give_up_half(u, out);
}

/* ---- an object --------------------------------------------------------------------------------*/

static bool is_object(hd_str text)
{
    static const hd_json_opts opts = {.allow_duplicates = true};
    const hd_json *tree;
    hd_arena arena;
    hd_arena_init(&arena, MAX_TREE_BYTES);
    bool is =
        hd_json_parse(text, &opts, &arena, &tree, NULL) == HD_OK && tree->kind == HD_JSON_OBJECT;
    hd_arena_deinit(&arena);
    return is;
}

/* Length of the text up to the last comma between members; 0: there is none. `is_open`: the object
 * has not ended. */
static size_t whole_members(hd_str args, bool *is_open)
{
    hd_unwrap u = {0};
    size_t n = 0;
    for (size_t i = 0; i < args.len; i++) {
        char c = args.ptr[i];
        if (skip_string(&u, c)) continue;
        if (c == '{' || c == '[') u.depth++;
        if (c == '}' || c == ']') u.depth--;
        if (c == ',' && u.depth == 1) n = i;
    }
    *is_open = u.is_in_string || u.depth > 0;
    return n;
}

void hd_unwrap_compact(hd_str json, hd_buf *out)
{
    hd_unwrap u = {0};
    for (size_t i = 0; i < json.len; i++)
        if (skip_string(&u, json.ptr[i]) || !is_space(json.ptr[i])) hd_buf_addc(out, json.ptr[i]);
}

void hd_unwrap_object(hd_str args, hd_buf *out)
{
    bool is_open;
    if (is_object(args)) {
        hd_unwrap_compact(args, out);
        return;
    }
    size_t n = whole_members(args, &is_open);
    hd_buf front;
    hd_buf_init(&front, args.len + 2);
    hd_buf_add(&front, n ? args.ptr : "{", n ? n : 1);
    hd_buf_addc(&front, '}');
    if (is_open && is_object(hd_buf_str(&front))) {
        hd_unwrap_compact(hd_buf_str(&front), out);
    } else {
        hd_buf_addz(out, "{\"arguments\":");
        hd_jsonw_str(out, args);
        hd_buf_addc(out, '}');
    }
    hd_buf_deinit(&front);
}
