/* Fuzzing grammars: any text is compiled or refused; what compiles is walked at random.
 *
 * An input is two bytes of options, then the text of a schema, pattern, EBNF or set of tools. The
 * walk draws tokens from masks. Checked: a mask is never empty before the end, what it allows is
 * taken and what it does not is refused, and steps back lead to the same mask. */
/* Covers: src/text/constrain_schema.c src/text/constrain_object.c src/text/constrain_tools.c */
/* Covers: src/text/constrain_regex.c src/text/constrain_ebnf.c src/text/constrain_number.c */
/* Covers: src/text/constrain_nfa.c src/text/constrain_dfa.c src/text/constrain_sim.c */
/* Covers: src/text/constrain_members.c src/text/constrain_length.c */
#include <stdlib.h>

#include "base/rng.h"
#include "support/tiny_vocab.h"
#include "text/constrain.h"

#define N_BYTES   256
#define N_TOKENS  260
#define MAX_WORDS 16
#define MAX_STEPS 60

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) abort();
}

/* 256 bytes and the control tokens. Lives as long as the process. */
static hd_vtrie *make_trie(void)
{
    static hd_vtrie *t;
    static const char *const control[] = {HD_TOKEN_EOS, HD_TOKEN_END_THINK, HD_TOKEN_DSML,
                                          HD_TOKEN_USER};
    hd_vocab *v;
    hd_buf json, added;
    if (t) return t;
    hd_buf_init(&json, 1 << 20);
    hd_buf_init(&added, 1 << 16);
    for (int i = 0; i < N_TOKENS - N_BYTES; i++) {
        hd_buf_addz(&added, i ? ", " : "");
        hd_buf_addz(&added, tiny_added(N_BYTES + i, control[i], true, false));
    }
    tiny_vocab_json(&(tiny_vocab){.added = added.ptr}, &json);
    require(hd_vocab_parse(hd_buf_str(&json), &v, NULL) == HD_OK);
    require(hd_vtrie_create(v, &t, NULL) == HD_OK);
    hd_buf_deinit(&json);
    hd_buf_deinit(&added);
    return t;
}

/* One token of the mask, and one that is not in it; -1 if there is none. */
static void choose(const uint32_t *mask, uint64_t bits, int32_t *in, int32_t *out)
{
    *in = *out = -1;
    for (uint32_t i = 0, first = hd_rng_below(bits, N_TOKENS); i < N_TOKENS; i++) {
        uint32_t id = (first + i) % N_TOKENS;
        int32_t *which = mask[id / 32] >> (id % 32) & 1 ? in : out;
        if (*which < 0) *which = (int32_t)id;
    }
}

static void walk(hd_grammar *g, uint64_t seed, size_t n_words)
{
    hd_matcher *m;
    uint32_t mask[MAX_WORDS], again[MAX_WORDS];
    require(n_words <= MAX_WORDS && hd_matcher_create(g, &m, NULL) == HD_OK);
    for (unsigned i = 0; i < MAX_STEPS; i++) {
        int32_t in, out;
        hd_status status = hd_matcher_fill(m, mask, NULL);
        require(status == HD_OK || status == HD_E_LIMIT);
        if (status != HD_OK) break;
        choose(mask, hd_rng_at(seed, i), &in, &out);
        if (out >= 0) {
            status = hd_matcher_advance(m, out, NULL);
            require(status == HD_E_ARG || status == HD_E_LIMIT);
        }
        require(in >= 0 || hd_matcher_can_end(m));
        if (in < 0) break;
        status = hd_matcher_advance(m, in, NULL);
        require(status == HD_OK || status == HD_E_LIMIT);
        if (status != HD_OK) break;
        if (i % 8) continue;
        require(hd_matcher_rollback(m, 1) && hd_matcher_fill(m, again, NULL) == HD_OK);
        require(memcmp(mask, again, n_words * sizeof *mask) == 0);
        require(hd_matcher_advance(m, in, NULL) == HD_OK);
    }
    hd_matcher_destroy(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2) return 0;
    hd_vtrie *t = make_trie();
    hd_grammar *g;
    hd_err err;
    hd_buf warnings;
    hd_grammar_source source = {
        .kind = (hd_grammar_kind)(data[0] % 5),
        .text = {(const char *)data + 2, size - 2},
        .strict = data[1] & 1,
        .any_order = data[1] & 2,
        .thinks = data[1] & 4,
        .one_call = data[1] & 8,
        .is_textual = data[1] & 16,
        .choice = (hd_tool_choice)(data[0] >> 4 & 3),
        .tool_name = {"t", 1},
        .rules = hd_chat_rules_find(data[1] & 32 ? HD_STR("v4.1") : HD_STR("v4"), HD_STR(""))};
    hd_buf_init(&warnings, 1 << 16);
    hd_status status = hd_grammar_compile(t, &source, &warnings, &g, &err);
    if (status == HD_OK) {
        walk(g, hd_rng_key(data[0], data[1]), hd_vtrie_mask_words(t));
        hd_grammar_unref(g);
    } else {
        require(status != HD_E_BUG && status != HD_E_ARG && status != HD_E_NOMEM);
    }
    hd_buf_deinit(&warnings);
    return 0;
}
