/* What a tokenizer.json must say besides its tables: see vocab.h.
 *
 * The settings are compared, as a tree, with the template below, which is the official file without
 * its tables. So nothing is overlooked: a value that differs, a member that is missing and a member
 * that nobody here has heard of are all refused, with their path. */
#include <stdio.h>

#include "base/buf.h"
#include "base/jsonw.h"
#include "base/utf8.h"
#include "text/vocab_tables.h"

#define TEMPLATE_ARENA_BYTES ((size_t)64 << 10)

/* A JSON text, written in C without doubled quotes and backslashes. */
#define JSON(...) #__VA_ARGS__

/* A name that ends in '?' may be missing. "*" is any value; {"|": [a, b]} is a or b, which messages
 * call as `says` does, where there is one. */
/* clang-format off */
static const char template_json[] = JSON(
{
    "version": "1.0",
    "truncation?": null,
    "padding?": null,
    "added_tokens?": "*",
    "normalizer?": {
        "|": [null, {"type": "Sequence", "normalizers": []}],
        "says": "null or an empty Sequence"
    },
    "pre_tokenizer": {
        "type": "Sequence",
        "pretokenizers": [
            {
                "type": "Split",
                "pattern": {"Regex": "\\p{N}{1,3}"},
                "behavior": "Isolated",
                "invert": false
            },
            {
                "type": "Split",
                "pattern": {"Regex": "[一-龥぀-ゟ゠-ヿ]+"},
                "behavior": "Isolated",
                "invert": false
            },
            {
                "type": "Split",
                "pattern": {"Regex": "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"},
                "behavior": "Isolated",
                "invert": false
            },
            {
                "type": "ByteLevel",
                "add_prefix_space": false,
                "trim_offsets?": "*",
                "use_regex": false
            }
        ]
    },
    "post_processor?": {
        "|": [null, {
            "type": "ByteLevel",
            "add_prefix_space": "*",
            "trim_offsets": "*",
            "use_regex?": "*"
        }],
        "says": "null or one of type ByteLevel"
    },
    "decoder": {
        "type": "ByteLevel",
        "add_prefix_space": "*",
        "trim_offsets": "*",
        "use_regex?": "*"
    },
    "model": {
        "type": "BPE",
        "dropout?": null,
        "unk_token?": null,
        "continuing_subword_prefix?": {"|": [null, ""]},
        "end_of_word_suffix?": {"|": [null, ""]},
        "fuse_unk?": {"|": [false, true]},
        "byte_fallback?": false,
        "ignore_merges?": false,
        "vocab": "*",
        "merges": "*"
    }
});
/* clang-format on */

/* A value in one line, for messages. */
static const char *show(const hd_json *value, char out[200])
{
    hd_buf text;
    hd_buf_init(&text, 4096);
    hd_jsonw_value(&text, value);
    hd_str cut = hd_utf8_cut(hd_buf_str(&text), 160);
    const char *more = cut.len < text.len || text.status != HD_OK ? "..." : "";
    snprintf(out, 200, "%.*s%s", HD_STR_ARG(cut), more);
    hd_buf_deinit(&text);
    return out;
}

static hd_status refuse(const hd_json *got, const hd_json *want, hd_err *err)
{
    char path[128], is[200], should[200];
    if (!err) return HD_E_UNSUPPORTED; /* one of several alternatives: nobody asks why */
    hd_json_path(got, path, sizeof path);
    const hd_json *choice = hd_json_get(want, "|"), *says = hd_json_get(want, "says");
    if (says)
        snprintf(should, sizeof should, "%.*s", HD_STR_ARG(says->text));
    else
        show(choice ? choice : want, should);
    HD_SET_ERR(err, HD_E_UNSUPPORTED, "tokenizer setting '%s' is %s, expected %s%s", path,
               show(got, is), choice && !says ? "one of " : "", should);
    hd_err_set_path(err, path);
    return HD_E_UNSUPPORTED;
}

static hd_status match(const hd_json *want, const hd_json *got, hd_err *err);

static bool is_optional(hd_str name)
{
    return hd_str_ends(name, HD_STR("?"));
}

/* The template's member for `name`, with or without its '?'. */
static const hd_json *find_wanted(const hd_json *want, hd_str name)
{
    for (const hd_json *w = want->child; w; w = w->next) {
        hd_str key = w->key;
        if (is_optional(key)) key.len--;
        if (hd_str_eq(key, name)) return w;
    }
    return NULL;
}

static hd_status match_object(const hd_json *want, const hd_json *got, hd_err *err)
{
    char path[128];
    for (const hd_json *g = got->child; g; g = g->next) {
        const hd_json *w = find_wanted(want, g->key);
        if (w) {
            HD_TRY(match(w, g, err));
            continue;
        }
        hd_json_path(g, path, sizeof path);
        HD_SET_ERR(err, HD_E_UNSUPPORTED, "unknown tokenizer setting '%s'", path);
        hd_err_set_path(err, path);
        return HD_E_UNSUPPORTED;
    }
    for (const hd_json *w = want->child; w; w = w->next) {
        char should[200];
        bool is_present = is_optional(w->key);
        for (const hd_json *g = got->child; g && !is_present; g = g->next)
            is_present = hd_str_eq(g->key, w->key);
        if (is_present) continue;
        hd_json_path(got, path, sizeof path);
        HD_SET_ERR(err, HD_E_UNSUPPORTED, "tokenizer setting '%s%s%.*s' is missing, expected %s",
                   path, path[0] ? "." : "", HD_STR_ARG(w->key), show(w, should));
        hd_err_set_path(err, path);
        return HD_E_UNSUPPORTED;
    }
    return HD_OK;
}

static hd_status match_array(const hd_json *want, const hd_json *got, hd_err *err)
{
    if (want->n != got->n) return refuse(got, want, err);
    const hd_json *w = want->child;
    for (const hd_json *g = got->child; g; g = g->next, w = w->next) HD_TRY(match(w, g, err));
    return HD_OK;
}

static hd_status match(const hd_json *want, const hd_json *got, hd_err *err)
{
    if (want->kind == HD_JSON_STRING && hd_str_eqz(want->text, "*")) return HD_OK;
    const hd_json *choice = hd_json_get(want, "|");
    if (choice) {
        for (const hd_json *w = choice->child; w; w = w->next)
            if (match(w, got, NULL) == HD_OK) return HD_OK;
        return refuse(got, want, err);
    }
    if (want->kind != got->kind) return refuse(got, want, err);
    switch (want->kind) {
    case HD_JSON_OBJECT: return match_object(want, got, err);
    case HD_JSON_ARRAY: return match_array(want, got, err);
    case HD_JSON_NULL: return HD_OK;
    case HD_JSON_BOOL:
    case HD_JSON_NUMBER:
    case HD_JSON_STRING: break;
    }
    return hd_str_eq(want->text, got->text) ? HD_OK : refuse(got, want, err);
}

hd_status hd_vocab_check_settings(const hd_json *root, hd_err *err)
{
    hd_arena arena;
    const hd_json *want;
    hd_arena_init(&arena, TEMPLATE_ARENA_BYTES);
    hd_status status = hd_json_parse(hd_str_from(template_json), NULL, &arena, &want, err);
    if (status == HD_OK) status = match(want, root, err);
    hd_arena_deinit(&arena);
    return status;
}
