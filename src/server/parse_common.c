/* Members, errors and text of requests: see parse.h. */
#include "server/parse.h"

#include <stdio.h>

#include "base/buf.h"
#include "base/utf8.h"

/* ---- errors ---- */

static void describe(const hd_json *node, char *out, size_t out_size)
{
    hd_buf text;
    hd_buf_init(&text, out_size);
    hd_str excerpt = hd_utf8_cut(node->text, 40);
    if (node->kind == HD_JSON_NUMBER || node->kind == HD_JSON_BOOL)
        hd_buf_add_str(&text, excerpt);
    else if (node->kind == HD_JSON_STRING && excerpt.len == node->text.len)
        hd_buf_addf(&text, "'%.*s'", HD_STR_ARG(excerpt));
    else
        hd_buf_addz(&text, hd_json_kind_name(node->kind));
    size_t n = text.len < out_size ? text.len : out_size - 1;
    if (n) memcpy(out, text.ptr, n);
    out[n] = '\0';
    hd_buf_deinit(&text);
}

hd_status hd_parse_wrong(hd_parser *p, hd_status code, const hd_json *node, const char *expected)
{
    char path[128], got[64];
    hd_json_path(node, path, sizeof path);
    describe(node, got, sizeof got);
    HD_SET_ERR(p->err, code, "'%s' must be %s, got %s", *path ? path : "the request", expected,
               got);
    hd_err_set_path(p->err, path);
    return code;
}

hd_status hd_parse_refuse(hd_parser *p, const hd_json *node, const char *why)
{
    char path[128];
    hd_json_path(node, path, sizeof path);
    HD_SET_ERR(p->err, HD_E_UNSUPPORTED, "'%s' %s", path, why);
    hd_err_set_path(p->err, path);
    return HD_E_UNSUPPORTED;
}

hd_status hd_parse_missing(hd_parser *p, const hd_json *object, const char *key,
                           const char *expected)
{
    char path[128];
    hd_json_path(object, path, sizeof path);
    size_t n = strlen(path);
    snprintf(path + n, sizeof path - n, "%s%s", n ? "." : "", key);
    HD_SET_ERR(p->err, HD_E_FORMAT, "'%s' is missing, expected %s", path, expected);
    hd_err_set_path(p->err, path);
    return HD_E_FORMAT;
}

hd_status hd_parse_no_memory(hd_parser *p)
{
    HD_FAIL(p->err, HD_E_NOMEM, "the request needs more memory than one may take");
}

/* ---- members ---- */

const hd_json *hd_parse_find(const hd_json *object, const char *key)
{
    const hd_json *x = hd_json_get(object, key);
    return x && x->kind != HD_JSON_NULL ? x : NULL;
}

hd_status hd_parse_str(hd_parser *p, const hd_json *object, const char *key, hd_str *out)
{
    const hd_json *x = hd_parse_find(object, key);
    if (!x) return HD_OK;
    if (x->kind != HD_JSON_STRING) return hd_parse_wrong(p, HD_E_FORMAT, x, "a string");
    *out = x->text;
    return HD_OK;
}

hd_status hd_parse_bool(hd_parser *p, const hd_json *object, const char *key, bool *out)
{
    const hd_json *x = hd_parse_find(object, key);
    if (!x) return HD_OK;
    if (x->kind != HD_JSON_BOOL) return hd_parse_wrong(p, HD_E_FORMAT, x, "true or false");
    *out = x->truth;
    return HD_OK;
}

hd_status hd_parse_i32(hd_parser *p, const hd_json *object, const char *key, int32_t min,
                       int32_t max, int32_t *out)
{
    const hd_json *x = hd_parse_find(object, key);
    int64_t value;
    if (!x) return HD_OK;
    if (hd_json_i64(x, min, max, &value, NULL) == HD_OK) {
        *out = (int32_t)value;
        return HD_OK;
    }
    char expected[64];
    snprintf(expected, sizeof expected, "an integer from %d to %d", min, max);
    bool is_integer = hd_json_i64(x, INT64_MIN, INT64_MAX, &value, NULL) == HD_OK;
    return hd_parse_wrong(p, is_integer ? HD_E_ARG : HD_E_FORMAT, x, expected);
}

hd_status hd_parse_need_str(hd_parser *p, const hd_json *object, const char *key, hd_str *out)
{
    if (!hd_parse_find(object, key)) return hd_parse_missing(p, object, key, "a string");
    return hd_parse_str(p, object, key, out);
}

hd_status hd_parse_need_object(hd_parser *p, const hd_json *object, const char *key,
                               const hd_json **out)
{
    *out = hd_parse_find(object, key);
    if (!*out) return hd_parse_missing(p, object, key, "an object");
    if ((*out)->kind == HD_JSON_OBJECT) return HD_OK;
    return hd_parse_wrong(p, HD_E_FORMAT, *out, "an object");
}

hd_status hd_parse_array(hd_parser *p, const hd_json *object, const char *key, const hd_json **out)
{
    *out = hd_parse_find(object, key);
    if (!*out || (*out)->kind == HD_JSON_ARRAY) return HD_OK;
    return hd_parse_wrong(p, HD_E_FORMAT, *out, "an array");
}

/* ---- text ---- */

/* `s` as a string that has room for `len` bytes: in place, if it is one that was joined before. */
static char *make_room(hd_parser *p, hd_str s, size_t len)
{
    hd_room *room = &p->rooms[p->next_room % HD_COUNT(p->rooms)];
    for (size_t i = 0; i < HD_COUNT(p->rooms); i++) {
        if (p->rooms[i].text != s.ptr) continue;
        if (p->rooms[i].cap >= len) return p->rooms[i].text;
        room = &p->rooms[i];
    }
    char *text = hd_arena_try_alloc(p->arena, 2 * len, 1);
    if (!text) return NULL;
    memcpy(text, s.ptr, s.len);
    if (room == &p->rooms[p->next_room % HD_COUNT(p->rooms)]) p->next_room++;
    *room = (hd_room){text, 2 * len};
    return text;
}

hd_status hd_parse_join(hd_parser *p, hd_str *a, const char *between, hd_str b)
{
    if (!a->ptr) {
        *a = b.ptr ? b : HD_STR("");
        return HD_OK;
    }
    size_t gap = strlen(between), len = a->len + gap + b.len;
    char *text = make_room(p, *a, len + 1);
    if (!text) return hd_parse_no_memory(p);
    memcpy(text + a->len, between, gap);
    if (b.len) memcpy(text + a->len + gap, b.ptr, b.len);
    *a = (hd_str){text, len};
    return HD_OK;
}

/* The member that holds a part's text; NULL: it is none. */
static const char *text_member(hd_str type)
{
    static const char *const members[][2] = {
        {"text", "text"}, {"input_text", "text"}, {"output_text", "text"}, {"refusal", "refusal"}};
    for (size_t i = 0; i < HD_COUNT(members); i++)
        if (hd_str_eqz(type, members[i][0])) return members[i][1];
    return NULL;
}

/* Parts that are known to be something other than text. */
static bool is_medium(hd_str type)
{
    static const char *const media[] = {"image",      "image_url", "input_image", "file",
                                        "input_file", "document",  "audio",       "input_audio",
                                        "video",      "video_url", "input_video"};
    for (size_t i = 0; i < HD_COUNT(media); i++)
        if (hd_str_eqz(type, media[i])) return true;
    return false;
}

hd_status hd_parse_part(hd_parser *p, const hd_json *part, hd_str *out)
{
    hd_str type;
    if (part->kind != HD_JSON_OBJECT)
        return hd_parse_wrong(p, HD_E_FORMAT, part, "an object with a 'type'");
    HD_TRY(hd_parse_need_str(p, part, "type", &type));
    const char *member = text_member(type);
    if (member) return hd_parse_need_str(p, part, member, out);
    const hd_json *at = hd_json_get(part, "type");
    if (is_medium(type)) return hd_parse_refuse(p, at, "is none that this model reads: only text");
    return hd_parse_wrong(p, HD_E_UNSUPPORTED, at, "a kind of text");
}

/* All parts are read twice: for the length, then for the bytes. */
static hd_status join_parts(hd_parser *p, const hd_json *list, hd_str *out)
{
    size_t len = 0, at = 0;
    hd_str text;
    for (const hd_json *x = list->child; x; x = x->next) {
        HD_TRY(hd_parse_part(p, x, &text));
        len += text.len + 2;
    }
    char *all = hd_arena_try_alloc(p->arena, len + 1, 1);
    if (!all) return hd_parse_no_memory(p);
    for (const hd_json *x = list->child; x; x = x->next) {
        HD_TRY(hd_parse_part(p, x, &text));
        if (x != list->child) {
            memcpy(all + at, "\n\n", 2);
            at += 2;
        }
        if (text.len) memcpy(all + at, text.ptr, text.len);
        at += text.len;
    }
    *out = (hd_str){all, at};
    return HD_OK;
}

hd_status hd_parse_text(hd_parser *p, const hd_json *content, hd_str *out)
{
    *out = HD_STR("");
    if (content->kind != HD_JSON_STRING && content->kind != HD_JSON_ARRAY)
        return hd_parse_wrong(p, HD_E_FORMAT, content, "a string or a list of parts");
    if (content->kind == HD_JSON_STRING)
        *out = content->text;
    else if (content->n == 1)
        HD_TRY(hd_parse_part(p, content->child, out));
    else
        HD_TRY(join_parts(p, content, out));
    if (!out->ptr) *out = HD_STR(""); /* no pointer would mean that nothing was said */
    return HD_OK;
}

/* ---- all of it ---- */

void hd_canon_warn(hd_canon *c, const char *text)
{
    for (int32_t i = 0; i < c->n_warnings; i++)
        if (strcmp(c->warnings[i], text) == 0) return;
    if (c->n_warnings < (int32_t)HD_COUNT(c->warnings)) c->warnings[c->n_warnings++] = text;
}

hd_status hd_canon_parse(hd_dialect dialect, const hd_json *body, hd_arena *arena, hd_canon *out,
                         hd_err *err)
{
    hd_parser p = {.body = body, .out = out, .arena = arena, .err = err};
    *out = (hd_canon){.dialect = dialect, .body = body, .temperature = 1, .top_p = 1};
    if (body->kind != HD_JSON_OBJECT) return hd_parse_wrong(&p, HD_E_FORMAT, body, "an object");
    switch (dialect) {
    case HD_DIALECT_CHAT: return hd_parse_chat(&p);
    case HD_DIALECT_COMPLETIONS: return hd_parse_completions(&p);
    case HD_DIALECT_RESPONSES: return hd_parse_responses(&p);
    case HD_DIALECT_MESSAGES: return hd_parse_messages(&p);
    }
    return HD_E_ARG;
}
