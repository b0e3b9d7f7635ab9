/* Objects and arrays of a schema. See docs/constrain.md for what is decided where JSON Schema
 * leaves a choice: the order of members, and absent additionalProperties. */
#include "base/jsonw.h"
#include "base/utf8.h"
#include "text/constrain_build.h"

uint32_t hd_cc_schema_count(hd_cc_schema *s, const hd_json *node, const char *key, uint32_t absent)
{
    const hd_json *x = hd_json_get(node, key);
    double value;
    if (!x) return absent;
    if (x->kind != HD_JSON_NUMBER || hd_json_f64(x, &value, NULL) != HD_OK || value < 0 ||
        value != (double)(uint64_t)(value < 1e18 ? value : 1e18)) {
        hd_cc_fail(s->cc, HD_E_FORMAT, "'%s' must be a whole number that is not negative", key);
        return absent;
    }
    return value < (double)(UINT32_MAX - 8) ? (uint32_t)value : UINT32_MAX - 8;
}

static const hd_json *properties(const hd_json *node)
{
    const hd_json *p = hd_json_get(node, "properties");
    return p && p->kind == HD_JSON_OBJECT ? p : NULL;
}

bool hd_cc_schema_requires(const hd_json *node, hd_str name)
{
    const hd_json *list = hd_json_get(node, "required");
    if (!list || list->kind != HD_JSON_ARRAY) return false;
    for (const hd_json *x = list->child; x; x = x->next)
        if (x->kind == HD_JSON_STRING && hd_str_eq(x->text, name)) return true;
    return false;
}

static bool is_false(const hd_json *node)
{
    return node && node->kind == HD_JSON_BOOL && !node->truth;
}

const hd_json *hd_cc_schema_others(const hd_json *node)
{
    static const hd_json anything = {.kind = HD_JSON_BOOL, .truth = true};
    const hd_json *others = hd_json_get(node, "additionalProperties"), *p = properties(node);
    if (!others) return p ? NULL : &anything;
    return is_false(others) ? NULL : others;
}

/* ---- objects ---- */

bool hd_cc_schema_has(const hd_json *node, hd_str name)
{
    const hd_json *p = properties(node);
    for (const hd_json *c = p ? p->child : NULL; c; c = c->next)
        if (hd_str_eq(c->key, name)) return !is_false(c);
    return false;
}

static void check_object(hd_cc_schema *s, const hd_json *node)
{
    const hd_json *p = hd_json_get(node, "properties"), *list = hd_json_get(node, "required");
    if (p && p->kind != HD_JSON_OBJECT)
        hd_cc_fail(s->cc, HD_E_FORMAT, "'properties' must be an object");
    if (list && list->kind != HD_JSON_ARRAY)
        hd_cc_fail(s->cc, HD_E_FORMAT, "'required' must be an array");
    if (list && list->n > HD_BITS_MAX)
        hd_cc_fail(s->cc, HD_E_LIMIT, "'required' has %zu names, at most %d are followed", list->n,
                   HD_BITS_MAX);
    if (s->cc->status != HD_OK || !list) return;
    for (const hd_json *x = list->child; x; x = x->next) {
        if (x->kind != HD_JSON_STRING) {
            hd_cc_fail(s->cc, HD_E_FORMAT, "'required' must be an array of strings");
        } else if (!hd_cc_schema_has(node, x->text) && !hd_cc_schema_others(node)) {
            if (s->strict)
                hd_cc_fail(s->cc, HD_E_FORMAT, "'%.*s' is required and not among the properties",
                           HD_STR_ARG(hd_utf8_cut(x->text, 64)));
            else
                hd_cc_warn(s->cc, "'%.*s' is required and not among the properties: ignored",
                           HD_STR_ARG(hd_utf8_cut(x->text, 64)));
        }
    }
}

/* Names that are members: the properties, then required names that are not declared. */
typedef struct names {
    const hd_json *declared; /* NULL: take its name from `key` only */
    hd_str key;
} names;

static size_t list_names(const hd_json *node, names out[HD_BITS_MAX])
{
    size_t n = 0;
    const hd_json *p = properties(node), *list = hd_json_get(node, "required");
    for (const hd_json *c = p ? p->child : NULL; c && n < HD_BITS_MAX; c = c->next)
        if (!is_false(c)) out[n++] = (names){c, c->key};
    if (!list || list->kind != HD_JSON_ARRAY || !hd_cc_schema_others(node)) return n;
    for (const hd_json *x = list->child; x && n < HD_BITS_MAX; x = x->next) {
        bool is_known = hd_cc_schema_has(node, x->text);
        for (size_t i = 0; i < n; i++) is_known |= hd_str_eq(out[i].key, x->text);
        if (!is_known) out[n++] = (names){NULL, x->text};
    }
    return n;
}

hd_spec hd_cc_object_spec(hd_cc_schema *s, const hd_json *node)
{
    names name[HD_BITS_MAX];
    check_object(s, node);
    hd_spec spec = {.is_object = true, .is_ordered = !s->any_order};
    if (s->cc->status != HD_OK) return spec;
    size_t n = list_names(node, name);
    for (size_t i = 0; i < n; i++) {
        hd_bits bit = (hd_bits)1 << i;
        spec.all |= bit;
        if (hd_cc_schema_requires(node, name[i].key)) spec.required |= bit;
    }
    return spec;
}

void hd_cc_object_needs(hd_cc_schema *s, const hd_json *node)
{
    names name[HD_BITS_MAX];
    size_t n = s->cc->status == HD_OK ? list_names(node, name) : 0;
    for (size_t i = 0; i < n; i++) {
        if (!hd_cc_schema_requires(node, name[i].key)) continue;
        const hd_json *schema = name[i].declared;
        hd_cc_need(s->cc, hd_cc_schema_use(s, schema ? schema : hd_cc_schema_others(node)).rule);
    }
}

static hd_str json_name(hd_cc *cc, hd_str key)
{
    hd_buf out;
    hd_buf_init(&out, 6 * key.len + 1);
    hd_jsonw_str_part(&out, key);
    hd_str copy = hd_arena_dup(cc->arena, hd_buf_str(&out));
    if (out.status != HD_OK || !copy.ptr) hd_cc_fail(cc, HD_E_NOMEM, "out of memory for a grammar");
    hd_buf_deinit(&out);
    return copy.ptr ? copy : HD_STR("");
}

void hd_cc_draw_object(hd_cc_schema *s, const hd_json *node, uint32_t from, uint32_t to)
{
    hd_cc *cc = s->cc;
    names name[HD_BITS_MAX];
    hd_cc_member member[HD_BITS_MAX];
    hd_spec spec = hd_cc_object_spec(s, node);
    const hd_json *others = hd_cc_schema_others(node);
    if (cc->status != HD_OK) return;
    size_t n = list_names(node, name);
    uint16_t done = hd_cc_act(cc, HD_ACT_DONE, 0), any = 0;
    if (!others) any = hd_cc_act(cc, HD_ACT_ANY, spec.all);

    uint32_t open = hd_cc_space(cc, hd_cc_byte(cc, from, '{', 0));
    uint32_t quote = hd_cc_node(cc), key = hd_cc_node(cc), after = hd_cc_node(cc);
    hd_cc_bytes(cc, open, key, '"', '"', any);
    hd_cc_bytes(cc, quote, key, '"', '"', any);
    hd_cc_bytes(cc, open, to, '}', '}', done);
    for (size_t i = 0; i < n; i++) {
        const hd_json *schema = name[i].declared ? name[i].declared : others;
        member[i] = (hd_cc_member){json_name(cc, name[i].key), hd_cc_node(cc), (hd_bits)1 << i};
        uint32_t value = hd_cc_space(cc, hd_cc_byte(cc, member[i].to, ':', 0));
        hd_cc_call_to(cc, value, after, hd_cc_schema_use(s, schema));
    }
    hd_cc_members(cc, key, member, n);
    if (others) {
        uint32_t rule = hd_cc_other_names(cc, member, n, cc->rules.key_body);
        uint32_t at = hd_cc_call(cc, key, (hd_use){rule, 0});
        at = hd_cc_space(cc, hd_cc_byte(cc, at, ':', 0));
        hd_cc_call_to(cc, at, after, hd_cc_schema_use(s, others));
    }
    uint32_t end = hd_cc_space(cc, after), comma = hd_cc_node(cc);
    hd_cc_bytes(cc, end, comma, ',', ',', any);
    hd_cc_empty(cc, hd_cc_space(cc, comma), quote);
    hd_cc_bytes(cc, end, to, '}', '}', done);
}

/* ---- arrays ---- */

/* Schemas of the first items, and of the rest (NULL: no more). */
static const hd_json *prefix_items(hd_cc_schema *s, const hd_json *node, const hd_json **rest)
{
    static const hd_json anything = {.kind = HD_JSON_BOOL, .truth = true};
    const hd_json *prefix = hd_json_get(node, "prefixItems"), *items = hd_json_get(node, "items");
    const char *name = "prefixItems";
    if (!prefix && items && items->kind == HD_JSON_ARRAY) { /* before draft 2020-12 */
        prefix = items;
        items = hd_json_get(node, "additionalItems");
        name = "items";
    }
    if (prefix && prefix->kind != HD_JSON_ARRAY)
        hd_cc_fail(s->cc, HD_E_FORMAT, "'%s' must be an array", name);
    *rest = !items ? &anything : is_false(items) ? NULL : items;
    return prefix && prefix->kind == HD_JSON_ARRAY && prefix->n ? prefix : NULL;
}

/* The least and most number of items. */
static void item_counts(hd_cc_schema *s, const hd_json *node, uint32_t *lo, uint32_t *hi)
{
    const hd_json *rest, *prefix = prefix_items(s, node, &rest);
    *lo = hd_cc_schema_count(s, node, "minItems", 0);
    *hi = hd_cc_schema_count(s, node, "maxItems", UINT32_MAX);
    if (!rest) {
        uint32_t most = prefix ? (uint32_t)prefix->n : 0;
        if (most < *hi) *hi = most;
    }
    if (*lo > *hi)
        hd_cc_fail(s->cc, HD_E_FORMAT, "at least %u items and at most %u: no array has that",
                   (unsigned)*lo, (unsigned)*hi);
}

/* The register counts commas, which are one less than the items. */
hd_spec hd_cc_array_spec(hd_cc_schema *s, const hd_json *node)
{
    uint32_t lo, hi;
    item_counts(s, node, &lo, &hi);
    return (hd_spec){.lo = lo ? lo - 1 : 0, .hi = hi == UINT32_MAX ? hi : hi ? hi - 1 : 0};
}

void hd_cc_draw_array(hd_cc_schema *s, const hd_json *node, uint32_t from, uint32_t to)
{
    hd_cc *cc = s->cc;
    uint32_t lo, hi;
    const hd_json *rest, *prefix = prefix_items(s, node, &rest);
    item_counts(s, node, &lo, &hi);
    uint16_t count = hd_cc_act(cc, HD_ACT_COUNT, 0), enough = hd_cc_act(cc, HD_ACT_ENOUGH, 0);
    uint32_t at = hd_cc_space(cc, hd_cc_byte(cc, from, '[', 0));
    if (lo == 0) hd_cc_bytes(cc, at, to, ']', ']', 0);
    if (hi == 0) return;
    uint32_t n = 0;
    for (const hd_json *x = prefix ? prefix->child : NULL; x && n < hi; x = x->next, n++) {
        at = hd_cc_space(cc, hd_cc_call(cc, at, hd_cc_schema_use(s, x)));
        hd_cc_bytes(cc, at, to, ']', ']', enough);
        if (x->next || (rest && n + 1 < hi)) at = hd_cc_space(cc, hd_cc_byte(cc, at, ',', count));
        if (!hd_cc_ok(cc)) return;
    }
    if (!rest || n == hi) return;
    uint32_t item = hd_cc_node(cc), comma = hd_cc_node(cc);
    hd_cc_empty(cc, at, item);
    at = hd_cc_space(cc, hd_cc_call(cc, item, hd_cc_schema_use(s, rest)));
    hd_cc_bytes(cc, at, to, ']', ']', enough);
    hd_cc_bytes(cc, at, comma, ',', ',', count);
    hd_cc_empty(cc, hd_cc_space(cc, comma), item);
}

void hd_cc_array_needs(hd_cc_schema *s, const hd_json *node)
{
    uint32_t lo, hi, n = 0;
    const hd_json *rest, *prefix = prefix_items(s, node, &rest);
    item_counts(s, node, &lo, &hi);
    for (const hd_json *x = prefix ? prefix->child : NULL; x && n < lo; x = x->next, n++)
        hd_cc_need(s->cc, hd_cc_schema_use(s, x).rule);
    if (rest && n < lo) hd_cc_need(s->cc, hd_cc_schema_use(s, rest).rule);
}
