/* Task files: see eval_tasks.h. */
#include "cli/eval_tasks.h"

#include "base/fs.h"
#include "base/jsonw.h"
#include "base/utf8.h"
#include "cli/eval_schema.h"

#define FORMAT         "hadal-eval-1"
#define MAX_FILE_BYTES ((size_t)256 << 20)
#define MAX_TREE_BYTES ((size_t)2 << 30)
#define MAX_SETS       256
#define MAX_NAME_BYTES 64
#define MAX_ROW_TOKENS (1 << 20)
#define HOLE           HD_STR("{pieces}")

/* Member `key` of `object`, which must be there and of this kind. */
static hd_status need(const hd_json *object, const char *key, hd_json_kind kind,
                      const hd_json **out, hd_err *err)
{
    *out = hd_json_get(object, key);
    if (*out && (*out)->kind == kind) return HD_OK;
    char path[sizeof err->path];
    hd_json_path(*out ? *out : object, path, sizeof path);
    (void)HD_SET_ERR(err, HD_E_FORMAT, "'%s' must be %s, got %s", key, hd_json_kind_name(kind),
                     *out ? hd_json_kind_name((*out)->kind) : "nothing");
    hd_err_set_path(err, path);
    return HD_E_FORMAT;
}

/* ---- sentences and pieces ---- */

static hd_status read_sentences(hd_eval_tasks *t, const hd_json *root, hd_err *err)
{
    const hd_json *list = hd_json_get(root, "sentences");
    if (!list) return HD_OK;
    HD_TRY(need(root, "sentences", HD_JSON_ARRAY, &list, err));
    t->sentences = hd_arena_try_alloc(&t->arena, list->n, sizeof *t->sentences);
    if (!t->sentences) HD_FAIL(err, HD_E_NOMEM, "out of memory for %zu sentences", list->n);
    for (const hd_json *s = list->child; s; s = s->next) {
        if (s->kind != HD_JSON_STRING)
            return hd_json_refuse(s, HD_E_FORMAT, "must be a string", err);
        t->sentences[t->n_sentences++] = s->text;
    }
    return HD_OK;
}

static hd_status check_piece(const hd_eval_tasks *t, const hd_json *piece, hd_err *err)
{
    int64_t number;
    if (piece->kind == HD_JSON_STRING) return HD_OK;
    if (piece->kind != HD_JSON_NUMBER)
        return hd_json_refuse(piece, HD_E_FORMAT, "must be a string or the number of a sentence",
                              err);
    if (t->n_sentences == 0)
        return hd_json_refuse(piece, HD_E_FORMAT,
                              "is the number of a sentence, and the file has no 'sentences'", err);
    return hd_json_i64(piece, 0, (int64_t)t->n_sentences - 1, &number, err);
}

/* The content of the last message; NULL where there is no such text. */
static const hd_json *last_content(const hd_json *request)
{
    const hd_json *messages = hd_json_get(request, "messages"), *last = NULL;
    if (!messages || messages->kind != HD_JSON_ARRAY) return NULL;
    for (const hd_json *m = messages->child; m; m = m->next) last = m;
    const hd_json *content = hd_json_get(last, "content");
    return content && content->kind == HD_JSON_STRING ? content : NULL;
}

static size_t n_holes(hd_str s)
{
    size_t n = 0, at = hd_str_find(s, HOLE, 0);
    for (; at < s.len; at = hd_str_find(s, HOLE, at + HOLE.len)) n++;
    return n;
}

static hd_status read_pieces(const hd_eval_tasks *t, const hd_json *node, hd_eval_row *row,
                             hd_err *err)
{
    const hd_json *content = last_content(row->request);
    size_t n = content ? n_holes(content->text) : 0;
    if (!hd_json_get(node, "pieces")) {
        if (n)
            return hd_json_refuse(content, HD_E_FORMAT,
                                  "has a place for '{pieces}', and the row has none", err);
        return HD_OK;
    }
    HD_TRY(need(node, "pieces", HD_JSON_ARRAY, &row->pieces, err));
    if (n != 1)
        return hd_json_refuse(row->pieces, HD_E_FORMAT,
                              "needs one place '{pieces}' in the content of the last message", err);
    for (const hd_json *p = row->pieces->child; p; p = p->next) HD_TRY(check_piece(t, p, err));
    row->hole = content;
    return HD_OK;
}

/* ---- what a row expects ---- */

static hd_status read_texts(const hd_json *expect, hd_eval_row *row, hd_err *err)
{
    HD_TRY(need(expect, "text_any", HD_JSON_ARRAY, &row->want, err));
    bool is_good = row->want->n > 0;
    for (const hd_json *s = row->want->child; s; s = s->next)
        is_good = is_good && s->kind == HD_JSON_STRING;
    return is_good ? HD_OK
                   : hd_json_refuse(row->want, HD_E_FORMAT,
                                    "must be a list of strings, one at least", err);
}

static hd_status read_calls(const hd_json *expect, hd_eval_row *row, hd_err *err)
{
    const hd_json *name, *arguments;
    HD_TRY(need(expect, "calls", HD_JSON_ARRAY, &row->want, err));
    for (const hd_json *c = row->want->child; c; c = c->next) {
        HD_TRY(need(c, "name", HD_JSON_STRING, &name, err));
        HD_TRY(need(c, "arguments", HD_JSON_OBJECT, &arguments, err));
        if (!hd_eval_find_tool(row->request, name->text))
            return hd_json_refuse(name, HD_E_FORMAT, "must be a tool that the request offers", err);
    }
    return HD_OK;
}

static hd_status read_schema(const hd_json *expect, hd_eval_row *row, hd_err *err)
{
    row->schema = hd_json_get(expect, "schema");
    row->want = hd_json_get(expect, "value");
    HD_TRY(hd_schema_check(row->schema, err));
    if (row->want && !hd_schema_obeys(row->schema, row->want))
        return hd_json_refuse(row->want, HD_E_FORMAT, "does not obey the schema beside it", err);
    return HD_OK;
}

static hd_status read_expect(const hd_json *node, hd_eval_row *row, hd_err *err)
{
    const hd_json *expect;
    HD_TRY(need(node, "expect", HD_JSON_OBJECT, &expect, err));
    const hd_json *schema = hd_json_get(expect, "schema");
    size_t n_members = schema && hd_json_get(expect, "value") ? 2 : 1;
    if (expect->n != n_members || (!schema && hd_json_get(expect, "value")))
        return hd_json_refuse(expect, HD_E_FORMAT,
                              "must have one of text, text_any, calls, schema (and value)", err);
    if (schema) {
        row->kind = HD_EVAL_JSON;
        return read_schema(expect, row, err);
    }
    if (hd_json_get(expect, "calls")) {
        row->kind = HD_EVAL_CALLS;
        return read_calls(expect, row, err);
    }
    row->kind = HD_EVAL_TEXT;
    if (hd_json_get(expect, "text_any")) return read_texts(expect, row, err);
    if (hd_json_get(expect, "text")) return need(expect, "text", HD_JSON_STRING, &row->want, err);
    return hd_json_refuse(expect, HD_E_FORMAT,
                          "must have one of text, text_any, calls, schema (and value)", err);
}

/* ---- tools ---- */

static const hd_json *find_in_list(const hd_json *tools, hd_str name)
{
    if (!tools || tools->kind != HD_JSON_ARRAY) return NULL;
    for (const hd_json *t = tools->child; t; t = t->next) {
        const hd_json *function = hd_json_get(t, "function"), *n = hd_json_get(function, "name");
        if (n && n->kind == HD_JSON_STRING && hd_str_eq(n->text, name)) return function;
    }
    return NULL;
}

const hd_json *hd_eval_find_tool(const hd_json *request, hd_str name)
{
    const hd_json *found = find_in_list(hd_json_get(request, "tools"), name);
    const hd_json *messages = hd_json_get(request, "messages");
    for (const hd_json *m = messages ? messages->child : NULL; m && !found; m = m->next)
        found = find_in_list(hd_json_get(m, "tools"), name);
    return found;
}

static bool is_list_of_any(const hd_json *tools)
{
    return tools && tools->kind == HD_JSON_ARRAY && tools->n > 0;
}

bool hd_eval_has_tools(const hd_json *request)
{
    bool found = is_list_of_any(hd_json_get(request, "tools"));
    const hd_json *messages = hd_json_get(request, "messages");
    for (const hd_json *m = messages ? messages->child : NULL; m && !found; m = m->next)
        found = is_list_of_any(hd_json_get(m, "tools"));
    return found;
}

static hd_status check_tools(const hd_json *owner, hd_err *err)
{
    const hd_json *tools = hd_json_get(owner, "tools"), *name, *function;
    if (!is_list_of_any(tools)) return HD_OK; /* what else it may be, the prompt's renderer says */
    for (const hd_json *t = tools->child; t; t = t->next) {
        HD_TRY(need(t, "function", HD_JSON_OBJECT, &function, err));
        HD_TRY(need(function, "name", HD_JSON_STRING, &name, err));
        const hd_json *parameters = hd_json_get(function, "parameters");
        if (parameters) HD_TRY(hd_schema_check(parameters, err));
    }
    return HD_OK;
}

static hd_status read_request(const hd_json *node, hd_eval_row *row, hd_err *err)
{
    HD_TRY(need(node, "request", HD_JSON_OBJECT, &row->request, err));
    const hd_json *messages = hd_json_get(row->request, "messages");
    HD_TRY(check_tools(row->request, err));
    for (const hd_json *m = messages ? messages->child : NULL; m; m = m->next)
        HD_TRY(check_tools(m, err));
    return HD_OK;
}

/* ---- rows and sets ---- */

/* Names that results have which are not those of a set (docs/eval.md). */
static bool is_result_name(hd_str name)
{
    static const char *const names[] = {"tool-valid", "tool-right", "json-valid", "json-right",
                                        "stop"};
    for (size_t i = 0; i < HD_COUNT(names); i++)
        if (hd_str_eqz(name, names[i])) return true;
    return false;
}

static bool is_plain_name(hd_str name)
{
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.ptr[i] <= ' ' || name.ptr[i] == 0x7F) return false;
    return name.len > 0 && name.len <= MAX_NAME_BYTES;
}

static hd_status read_set(hd_eval_tasks *t, const hd_json *node, hd_eval_row *row, hd_err *err)
{
    const hd_json *name;
    size_t i = 0;
    HD_TRY(need(node, "set", HD_JSON_STRING, &name, err));
    while (i < t->n_sets && !hd_str_eq(t->sets[i].name, name->text)) i++;
    if (i == t->n_sets) {
        if (!is_plain_name(name->text))
            return hd_json_refuse(name, HD_E_FORMAT,
                                  "must be a name of 1 to 64 bytes without spaces", err);
        if (is_result_name(name->text))
            return hd_json_refuse(name, HD_E_FORMAT, "must not be the name of another result", err);
        if (i == MAX_SETS) HD_FAIL(err, HD_E_LIMIT, "more than %d sets", MAX_SETS);
        t->sets[t->n_sets++].name = name->text;
    }
    row->set = i;
    row->n_before = t->sets[i].n_rows++;
    return HD_OK;
}

static hd_status read_row(hd_eval_tasks *t, const hd_json *node, hd_eval_row *row, hd_err *err)
{
    int64_t n;
    if (node->kind != HD_JSON_OBJECT)
        HD_FAIL(err, HD_E_FORMAT, "expected an object, got %s", hd_json_kind_name(node->kind));
    HD_TRY(read_set(t, node, row, err));
    HD_TRY(hd_json_get_i64(node, "max_tokens", 1, MAX_ROW_TOKENS, &n, err));
    row->max_tokens = (int32_t)n;
    HD_TRY(read_request(node, row, err));
    HD_TRY(read_pieces(t, node, row, err));
    return read_expect(node, row, err);
}

static hd_status read_rows(hd_eval_tasks *t, const hd_json *root, hd_err *err)
{
    const hd_json *list;
    HD_TRY(need(root, "rows", HD_JSON_ARRAY, &list, err));
    if (list->n == 0) return hd_json_refuse(list, HD_E_FORMAT, "must hold one row at least", err);
    t->rows = hd_arena_try_alloc(&t->arena, list->n, sizeof *t->rows);
    t->sets = hd_arena_try_alloc(&t->arena, MAX_SETS, sizeof *t->sets);
    if (!t->rows || !t->sets) HD_FAIL(err, HD_E_NOMEM, "out of memory for %zu rows", list->n);
    for (const hd_json *node = list->child; node; node = node->next) {
        hd_eval_row *row = &t->rows[t->n_rows];
        row->number = t->n_rows++;
        hd_status status = read_row(t, node, row, err);
        if (status != HD_OK) return hd_err_context(err, status, "row %zu", row->number);
    }
    return HD_OK;
}

/* ---- the file ---- */

static hd_status read_root(hd_eval_tasks *t, const hd_json *root, hd_err *err)
{
    hd_str format;
    HD_TRY(hd_json_get_str(root, "format", &format, err));
    if (!hd_str_eqz(format, FORMAT))
        HD_FAIL(err, HD_E_UNSUPPORTED, "'format' is '%.*s', expected '%s'", HD_STR_CUT(format),
                FORMAT);
    if (hd_json_get(root, "name")) HD_TRY(hd_json_get_str(root, "name", &t->name, err));
    HD_TRY(read_sentences(t, root, err));
    return read_rows(t, root, err);
}

hd_status hd_eval_tasks_open(hd_eval_tasks *t, const char *path, hd_err *err)
{
    const hd_json *root;
    *t = (hd_eval_tasks){0};
    hd_buf_init(&t->source, MAX_FILE_BYTES);
    hd_arena_init(&t->arena, MAX_TREE_BYTES);
    HD_TRY(hd_fs_read_all(path, &t->source, err));
    hd_status status = hd_json_parse(hd_buf_str(&t->source), NULL, &t->arena, &root, err);
    if (status == HD_OK) status = read_root(t, root, err);
    return status == HD_OK ? HD_OK : hd_err_context(err, status, "'%s'", path);
}

void hd_eval_tasks_deinit(hd_eval_tasks *t)
{
    hd_arena_deinit(&t->arena);
    hd_buf_deinit(&t->source);
}

/* ---- requests ---- */

static hd_str piece_text(const hd_eval_tasks *t, const hd_json *piece)
{
    int64_t number = 0;
    if (piece->kind == HD_JSON_STRING) return piece->text;
    HD_ASSERT(hd_json_i64(piece, 0, (int64_t)t->n_sentences - 1, &number, NULL) == HD_OK);
    return t->sentences[number];
}

/* The hole's string with the pieces in it, as JSON. */
static void add_filled(const hd_eval_tasks *t, const hd_eval_row *row, hd_buf *out)
{
    hd_str content = row->hole->text;
    size_t at = hd_str_find(content, HOLE, 0);
    hd_buf_addc(out, '"');
    hd_jsonw_str_part(out, (hd_str){content.ptr, at});
    for (const hd_json *p = row->pieces->child; p; p = p->next) {
        if (p != row->pieces->child) hd_buf_addc(out, ' ');
        hd_jsonw_str_part(out, piece_text(t, p));
    }
    hd_jsonw_str_part(out, hd_str_skip(content, at + HOLE.len));
    hd_buf_addc(out, '"');
}

/* Offset behind a string of the source that begins at `at`; it was parsed, so it ends. */
static size_t string_end(hd_str source, size_t at)
{
    for (at++; source.ptr[at] != '"'; at++)
        if (source.ptr[at] == '\\') at++;
    return at + 1;
}

hd_status hd_eval_request(const hd_eval_tasks *t, const hd_eval_row *row, hd_buf *out, hd_err *err)
{
    hd_str source = hd_buf_str(&t->source), request = row->request->text;
    if (!row->hole) {
        hd_buf_add_str(out, request);
        return hd_buf_status(out, "the request", err);
    }
    size_t begin = row->request->offset, end = begin + request.len, hole = row->hole->offset;
    size_t behind = string_end(source, hole);
    hd_buf_add(out, source.ptr + begin, hole - begin);
    add_filled(t, row, out);
    hd_buf_add(out, source.ptr + behind, end - behind);
    return hd_buf_status(out, "the request", err);
}
