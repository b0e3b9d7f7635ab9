/* What constrained decoding costs on one core: time to compile, and time of a mask.
 *
 * usage: bench_constrain [TOKENIZER.JSON [ROUNDS]]
 *
 * Twenty tools as coding agents offer them (tests/data/constrain). An answer with several calls is
 * taken token by token, as the tokenizer cuts it; before each token a mask is filled and timed. The
 * first round begins with no masks kept by the grammar, as the first request of a process does; the
 * later ones are what requests see after that. CPU time of this thread. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/fs.h"
#include "base/mem.h"
#include "hadal/text.h"
#include "text/constrain.h"
#include "text/tokenizer.h"

#define MAX_TIMES 100000

static const char schema[] =
    "{\"type\": \"object\", \"properties\": {\"title\": {\"type\": \"string\"}, \"steps\": "
    "{\"type\": "
    "\"array\", \"items\": {\"type\": \"object\", \"properties\": {\"explanation\": {\"type\": "
    "\"string\"}, \"output\": {\"type\": \"string\", \"maxLength\": 200}}, \"required\": "
    "[\"explanation\", \"output\"], \"additionalProperties\": false}}, \"confidence\": {\"type\": "
    "\"number\", \"minimum\": 0, \"maximum\": 1}}, \"required\": [\"title\", \"steps\", "
    "\"confidence\"], \"additionalProperties\": false}";
static const char schema_answer[] =
    "{\n  \"title\": \"Solving 8x + 7 = -23\",\n  \"steps\": [\n    {\n      \"explanation\": "
    "\"Subtract 7 from both sides.\",\n      \"output\": \"8x = -30\"\n    },\n    "
    "{\"explanation\": "
    "\"Divide by 8.\", \"output\": \"x = -3.75\"}\n  ],\n  \"confidence\": 0.98\n}" HD_TOKEN_EOS;

_Noreturn static void die(const char *what)
{
    fprintf(stderr, "bench_constrain: %s\n", what);
    exit(1);
}

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(double *times, size_t n, double q)
{
    qsort(times, n, sizeof *times, by_value);
    size_t i = (size_t)(q * (double)n);
    return times[i < n ? i : n - 1];
}

typedef struct costs {
    double mask[MAX_TIMES], advance[MAX_TIMES];
    size_t n;
} costs;

/* Take the answer through the grammar once, and time each mask and each token taken. */
static void run(hd_grammar *g, const hd_ids *ids, uint32_t *mask, costs *c)
{
    hd_matcher *m = NULL;
    hd_err err = {0};
    if (hd_matcher_create(g, &m, &err) != HD_OK) die(err.text);
    for (size_t i = 0; i < ids->len && c->n < MAX_TIMES; i++, c->n++) {
        double begin = now_us();
        if (hd_matcher_fill(m, mask, &err) != HD_OK) die(err.text);
        double filled = now_us();
        uint32_t id = (uint32_t)ids->ptr[i];
        if (!(mask[id / 32] >> (id % 32) & 1)) die("a token of the answer is not in its mask");
        if (hd_matcher_advance(m, ids->ptr[i], &err) != HD_OK) die(err.text);
        c->mask[c->n] = filled - begin;
        c->advance[c->n] = now_us() - filled;
    }
    if (!hd_matcher_can_end(m)) die("the answer is not complete");
    hd_matcher_destroy(m);
}

static void report(const char *what, costs *c)
{
    printf(
        "  %-12s mask median %6.1f us, p99 %7.1f us, most %7.1f us; token taken: median %.1f us, "
        "p99 %.1f us\n",
        what, quantile(c->mask, c->n, 0.5), quantile(c->mask, c->n, 0.99),
        quantile(c->mask, c->n, 1), quantile(c->advance, c->n, 0.5),
        quantile(c->advance, c->n, 0.99));
    c->n = 0;
}

static void bench(const hd_vtrie *t, hd_tokenizer *tok, const hd_grammar_source *source,
                  const char *text, unsigned rounds)
{
    static costs c;
    double compile[32];
    hd_grammar *g = NULL;
    hd_err err = {0};
    hd_ids ids;
    size_t n_states, n_bytes;
    uint32_t *mask = hd_mem_calloc(hd_vtrie_mask_words(t), sizeof *mask);
    hd_ids_init(&ids, 100000);
    if (hd_tokenizer_encode_ids(tok, hd_str_from(text), 0, &ids, &err) != HD_OK) die(err.text);
    for (int i = 0; i < 32; i++) {
        hd_grammar_unref(g);
        double begin = now_us();
        if (hd_grammar_compile(t, source, NULL, &g, &err) != HD_OK) die(err.text);
        compile[i] = now_us() - begin;
    }
    hd_grammar_size(g, &n_states, &n_bytes);
    printf("  compiled in %.2f ms (median of 32), %zu states, %zu KB; answer of %zu tokens\n",
           quantile(compile, 32, 0.5) / 1e3, n_states, n_bytes / 1024, ids.len);
    run(g, &ids, mask, &c);
    report("first round:", &c);
    for (unsigned i = 0; i < rounds; i++) run(g, &ids, mask, &c);
    report("later:", &c);
    hd_grammar_unref(g);
    hd_ids_deinit(&ids);
    hd_mem_free(mask);
}

static hd_str read_data(const char *path, hd_buf *out)
{
    hd_err err = {0};
    hd_buf_init(out, 1 << 20);
    if (hd_fs_read_all(path, out, &err) != HD_OK) die(err.text);
    return hd_buf_str(out);
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : HD_TEST_DATA "/text/tokenizer.json";
    unsigned rounds = argc > 2 ? (unsigned)strtoul(argv[2], NULL, 10) : 20;
    hd_tokenizer *tok;
    hd_vtrie *t;
    hd_err err = {0};
    if (hd_tokenizer_open(path, &tok, &err) != HD_OK) die(err.text);
    double begin = now_us();
    if (hd_vtrie_create(hd_tokenizer_vocab(tok), &t, &err) != HD_OK) die(err.text);
    printf("trie of %zu tokens: %.0f ms\n", hd_vocab_size(hd_tokenizer_vocab(tok)),
           (now_us() - begin) / 1e3);
    hd_buf tools, answer;
    hd_grammar_source source = {.kind = HD_GRAMMAR_TOOLS,
                                .text =
                                    read_data(HD_TEST_DATA "/constrain/agent_tools.json", &tools),
                                .rules = hd_chat_rules_find(HD_STR("v4"), HD_STR(""))};
    read_data(HD_TEST_DATA "/constrain/agent_answer.txt", &answer);
    printf("20 tools, automatic choice\n");
    bench(t, tok, &source, answer.ptr, rounds);
    source =
        (hd_grammar_source){.kind = HD_GRAMMAR_SCHEMA, .text = hd_str_from(schema), .strict = true};
    printf("JSON schema\n");
    bench(t, tok, &source, schema_answer, rounds);
    source.kind = HD_GRAMMAR_OBJECT;
    printf("any JSON object\n");
    bench(t, tok, &source, schema_answer, rounds);
    hd_buf_deinit(&tools);
    hd_buf_deinit(&answer);
    hd_vtrie_destroy(t);
    hd_tokenizer_close(tok);
    return 0;
}
