/* Compiling: from a source of any kind to a grammar. */
#include "base/mem.h"
#include "base/utf8.h"
#include "text/constrain_match.h"

#define DEFAULT_LIMIT_MS 100
#define MAX_TEXT_BYTES   ((size_t)4 << 20)
#define SCRATCH_BYTES    ((size_t)64 << 20)
#define GRAMMAR_BYTES    ((size_t)64 << 20)
#define MAX_WARM         64                 /* masks made while compiling */
#define MASK_BYTES       ((size_t)16 << 20) /* kept masks of one grammar */

static const hd_json *parse_json(hd_cc *cc, hd_str text)
{
    const hd_json *root = NULL;
    hd_err why = {0};
    hd_json_opts opts = {.allow_duplicates = true};
    hd_status status = hd_json_parse(text, &opts, cc->arena, &root, &why);
    if (status == HD_OK) return root;
    hd_cc_fail(cc, status == HD_E_NOMEM ? HD_E_LIMIT : status, "%s", why.text);
    return NULL;
}

/* The rule of what the source asks for, without reasoning and end of sentence; no drawing may be
 * in progress. For tools: the calls block. */
static hd_use make_body(hd_cc *cc, const hd_grammar_source *src)
{
    hd_use use = {cc->rules.object, 0};
    if (src->kind == HD_GRAMMAR_SCHEMA) {
        const hd_json *root = parse_json(cc, src->text);
        hd_cc_schema *s = root ? hd_cc_schema_new(cc, root, src->strict, src->any_order) : NULL;
        if (!s) return use;
        use = hd_cc_schema_use(s, root);
        hd_cc_schema_finish(s);
    } else if (src->kind == HD_GRAMMAR_REGEX) {
        uint32_t from = hd_cc_node(cc);
        uint32_t to = hd_cc_regex(cc, from, src->text, HD_CODING_RAW, true);
        use.rule = hd_cc_declare(cc);
        hd_cc_define(cc, use.rule, from, to);
    } else if (src->kind == HD_GRAMMAR_EBNF) {
        use.rule = hd_cc_ebnf(cc, src->text);
    } else if (src->kind == HD_GRAMMAR_TOOLS && src->choice != HD_TOOLS_NONE) {
        const hd_json *root = parse_json(cc, src->text);
        if (root) use = hd_cc_tools(cc, root, src);
    }
    return use;
}

/* Reasoning, the body, the end of sentence. */
static uint32_t define_root(hd_cc *cc, const hd_grammar_source *src, hd_use body)
{
    uint32_t start = hd_cc_node(cc), at = start, end = hd_cc_node(cc), rule = hd_cc_declare(cc);
    bool is_tools = src->kind == HD_GRAMMAR_TOOLS;
    bool is_free = is_tools && (src->choice == HD_TOOLS_AUTO || src->choice == HD_TOOLS_NONE);
    if (src->thinks) at = hd_cc_call(cc, at, (hd_use){cc->rules.until_think, 0});
    uint32_t done = hd_cc_node(cc);
    if (is_free) hd_cc_call_to(cc, at, end, (hd_use){cc->rules.until_eos, 0});
    if (is_tools && src->choice == HD_TOOLS_AUTO)
        at = hd_cc_call(cc, at, (hd_use){cc->rules.until_dsml, 0});
    else if (is_tools && !is_free && !src->in_block)
        at = hd_cc_token(cc, hd_cc_textz(cc, at, "\n\n<"), cc->ids.dsml, 0);
    if (!is_tools || src->choice != HD_TOOLS_NONE) hd_cc_call_to(cc, at, done, body);
    if (src->is_textual || cc->ids.eos < 0) hd_cc_empty(cc, done, end);
    hd_cc_token_to(cc, done, end, cc->ids.eos, 0);
    hd_cc_define(cc, rule, start, end);
    return rule;
}

static hd_status check_source(const hd_vtrie *t, const hd_grammar_source *src, hd_err *err)
{
    if (src->text.len > MAX_TEXT_BYTES)
        HD_FAIL(err, HD_E_LIMIT, "grammar of %zu bytes, at most %zu are read", src->text.len,
                MAX_TEXT_BYTES);
    if (!hd_utf8_valid(src->text)) HD_FAIL(err, HD_E_FORMAT, "grammar is not valid UTF-8");
    if (src->thinks && t->ids.end_think < 0)
        HD_FAIL(err, HD_E_UNSUPPORTED, "the vocabulary has no token '" HD_TOKEN_END_THINK "'");
    if (src->kind == HD_GRAMMAR_TOOLS && src->choice != HD_TOOLS_NONE && !src->rules)
        HD_FAIL(err, HD_E_ARG, "tools need the rules of a chat format");
    return HD_OK;
}

/* Give the grammar what was built; nothing is left in `cc`. */
static hd_status finish(hd_cc *cc, hd_grammar *g, uint32_t root)
{
    uint32_t bad_rule;
    hd_err why = {0};
    if (cc->status != HD_OK) return cc->status;
    cc->place = NULL;
    hd_status status = hd_auto_finish(&cc->a, &bad_rule, &why);
    if (status != HD_OK) return hd_cc_fail(cc, status, "%s", why.text);
    for (const hd_cc_schema *s = cc->schemas; s && cc->status == HD_OK; s = s->next)
        hd_cc_schema_check(s);
    cc->place = NULL;
    for (uint32_t r = cc->rules.n_rules; r < cc->a.n_rules; r++)
        if (cc->a.state[cc->a.rule[r]].min_depth == HD_AUTO_DEAD)
            hd_cc_fail(cc, HD_E_FORMAT, "nothing can match a part of this grammar");
    if (hd_auto_bytes(&cc->a) > GRAMMAR_BYTES)
        hd_cc_fail(cc, HD_E_LIMIT, "grammar needs too much memory");
    if (!hd_cc_ok(cc)) return cc->status;
    g->a = cc->a;
    cc->a = (hd_auto){0};
    g->root = root;
    g->n_common = cc->rules.n_states;
    return HD_OK;
}

/* What time is left goes into masks that a sequence would have to wait for. */
static hd_status warm(hd_grammar *g, int64_t deadline_ns, hd_err *err)
{
    hd_matcher *m = NULL;
    HD_TRY(hd_matcher_create(g, &m, err));
    hd_mask_warm_states(m, g->n_common, g->a.n_states, MAX_WARM, deadline_ns);
    hd_matcher_destroy(m);
    return HD_OK;
}

hd_status hd_grammar_compile(const hd_vtrie *t, const hd_grammar_source *source, hd_buf *warnings,
                             hd_grammar **out, hd_err *err)
{
    hd_cc cc;
    hd_arena arena;
    HD_TRY(check_source(t, source, err));
    hd_grammar *g = hd_mem_try_calloc(1, sizeof *g);
    if (!g) HD_FAIL(err, HD_E_NOMEM, "out of memory for a grammar");
    g->trie = t;
    atomic_init(&g->n_refs, 1);
    g->shared = t->masks;
    hd_mask_table_init(&g->masks, MASK_BYTES);
    hd_arena_init(&arena, SCRATCH_BYTES);
    hd_cc_init(&cc, t->ids, &arena, source->limit_ms ? source->limit_ms : DEFAULT_LIMIT_MS, err);
    cc.warnings = warnings;
    hd_cc_common(&cc);
    hd_use body = make_body(&cc, source);
    cc.place = NULL;
    uint32_t root = define_root(&cc, source, body);
    hd_status status = finish(&cc, g, root);
    int64_t deadline_ns = cc.deadline_ns;
    hd_cc_deinit(&cc);
    hd_arena_deinit(&arena);
    if (status == HD_OK) status = warm(g, deadline_ns, err);
    if (status == HD_OK)
        *out = g;
    else
        hd_grammar_unref(g);
    return status;
}

hd_grammar *hd_grammar_ref(hd_grammar *g)
{
    atomic_fetch_add(&g->n_refs, 1);
    return g;
}

void hd_grammar_unref(hd_grammar *g)
{
    if (!g || atomic_fetch_sub(&g->n_refs, 1) != 1) return;
    hd_mask_table_deinit(&g->masks);
    hd_auto_deinit(&g->a);
    hd_mem_free(g);
}

void hd_grammar_size(const hd_grammar *g, size_t *n_states, size_t *n_bytes)
{
    *n_states = g->a.n_states;
    *n_bytes = hd_auto_bytes(&g->a);
}
