/* How fast text becomes tokens, on one core: MB (10^6 bytes) per second of CPU time, by kind of
 * text.
 *
 * usage: bench_tokenize [TOKENIZER.JSON [MEGABYTES]]
 *
 * The texts are made here, seeded: tokens of the vocabulary drawn with falling frequency (rank k as
 * often as 1 / (k + 30), as words of a language are, ids standing in for ranks), and the golden
 * texts in random order. So words repeat as in real text, and no passage does. Each kind is encoded
 * once, by a worker whose cache starts empty, in documents of 4 KB; the best of three such runs
 * counts. The last lines are hostile: one word of a megabyte. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/buf.h"
#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "text/bpe.h"

#define DOCUMENT_BYTES 4096
#define RUNS           3
#define MAX_BYTES      ((size_t)256 << 20)

static uint64_t rng_state = 88172645463325252u;

static uint64_t random_u64(void) /* xorshift */
{
    rng_state ^= rng_state << 13;
    rng_state ^= rng_state >> 7;
    rng_state ^= rng_state << 17;
    return rng_state;
}

static double random_unit(void)
{
    return (double)(random_u64() >> 11) / 9007199254740992.0;
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

_Noreturn static void die(const hd_err *err)
{
    fprintf(stderr, "bench_tokenize: %s\n", err->text);
    exit(1);
}

/* ---- texts ---- */

typedef bool token_filter(hd_str token);

static bool is_english(hd_str t)
{
    if (t.len < 2 || t.ptr[0] != ' ') return false;
    for (size_t i = 1; i < t.len; i++)
        if ((t.ptr[i] | 0x20) < 'a' || (t.ptr[i] | 0x20) > 'z') return false;
    return true;
}

static bool is_code(hd_str t)
{
    for (size_t i = 0; i < t.len; i++)
        if ((unsigned char)t.ptr[i] >= 0x7F || t.ptr[i] == '\r') return false;
    return true;
}

static bool is_chinese(hd_str t)
{
    while (t.len) {
        uint32_t cp;
        size_t n;
        if (hd_utf8_next(t, &cp, &n) != HD_UTF8_GOOD || cp < 0x4E00 || cp > 0x9FA5) return false;
        t = hd_str_skip(t, n);
    }
    return true;
}

static bool is_other_script(hd_str t)
{
    return hd_utf8_valid(t) && (unsigned char)t.ptr[t.len - 1] >= 0x80 && !is_chinese(t);
}

/* Tokens that pass the filter, frequent ones more often, with a mark after each 4 to 19 of them. */
static void make_text(const hd_vocab *v, token_filter *filter, hd_str mark, size_t n_bytes,
                      hd_buf *out)
{
    hd_ids ids;
    hd_ids_init(&ids, hd_vocab_size(v));
    for (int32_t id = 0; (size_t)id < hd_vocab_size(v); id++)
        if (!hd_vocab_flags(v, id) && filter(hd_vocab_token_bytes(v, id)) &&
            hd_ids_push(&ids, id, NULL) != HD_OK)
            abort();
    const double spread = (double)(ids.len + 30) / 30;
    int until_mark = 5;
    while (out->len < n_bytes) {
        /* Inverse of the distribution function: log((k + 30) / 30) is uniform. */
        double k = 30 * (__builtin_pow(spread, random_unit()) - 1);
        size_t i = (size_t)k < ids.len ? (size_t)k : ids.len - 1;
        hd_buf_add_str(out, hd_vocab_token_bytes(v, ids.ptr[i]));
        if (--until_mark > 0) continue;
        hd_buf_add_str(out, mark);
        until_mark = 4 + (int)(random_u64() % 16);
    }
    hd_ids_deinit(&ids);
}

/* The golden texts, each followed by a line end, in random order. */
static void make_golden_text(hd_str rows, size_t n_bytes, hd_buf *out)
{
    hd_arena arena;
    const hd_json *text[4096];
    size_t n = 0;
    hd_arena_init(&arena, MAX_BYTES);
    for (size_t at = 0; at < rows.len && n < HD_COUNT(text);) {
        size_t end = hd_str_find(rows, HD_STR("\n"), at);
        const hd_json *row;
        if (hd_json_parse((hd_str){rows.ptr + at, end - at}, NULL, &arena, &row, NULL) != HD_OK)
            abort();
        text[n++] = hd_json_get(row, "text");
        at = end + 1;
    }
    while (out->len < n_bytes) {
        hd_buf_add_str(out, text[random_u64() % n]->text);
        hd_buf_addc(out, '\n');
    }
    hd_arena_deinit(&arena);
}

/* ---- measuring ---- */

static void encode_documents(const hd_vocab *v, hd_str text, hd_ids *out)
{
    hd_bpe *bpe;
    hd_err err;
    if (hd_bpe_create(v, &bpe, &err) != HD_OK) die(&err);
    hd_ids_reset(out);
    while (text.len) {
        hd_str document = hd_utf8_cut(text, DOCUMENT_BYTES);
        if (hd_bpe_encode(bpe, document, 0, out, &err) != HD_OK) die(&err);
        text = hd_str_skip(text, document.len);
    }
    hd_bpe_destroy(bpe);
}

static double measure(const hd_vocab *v, const char *name, hd_str text, bool is_whole)
{
    hd_ids out;
    double best = 1e9;
    hd_ids_init(&out, text.len);
    for (int run = 0; run < RUNS; run++) {
        double begin = now_s();
        if (is_whole) {
            hd_bpe *bpe;
            hd_err err;
            if (hd_bpe_create(v, &bpe, &err) != HD_OK) die(&err);
            hd_ids_reset(&out);
            if (hd_bpe_encode(bpe, text, 0, &out, &err) != HD_OK) die(&err);
            hd_bpe_destroy(bpe);
        } else {
            encode_documents(v, text, &out);
        }
        double took = now_s() - begin;
        if (took < best) best = took;
    }
    printf("%-28s %8.1f MB/s  %5.2f bytes/token  %6.2f million tokens/s\n", name,
           (double)text.len / best / 1e6, (double)text.len / (double)out.len,
           (double)out.len / best / 1e6);
    hd_ids_deinit(&out);
    return best;
}

static void measure_hostile(const hd_vocab *v)
{
    const size_t n = 1000000;
    char *word = hd_mem_calloc(n, 1);
    memset(word, 'a', n);
    measure(v, "one word: a x 1,000,000", (hd_str){word, n}, true);
    for (size_t i = 0; i < n; i++) word[i] = (char)('a' + random_u64() % 26);
    measure(v, "one word: random letters", (hd_str){word, n}, true);
    memset(word, ' ', n);
    measure(v, "white space", (hd_str){word, n}, true);
    memset(word, '<', n);
    measure(v, "starts of added tokens: <", (hd_str){word, n}, true);
    hd_mem_free(word);
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : HD_TEST_DATA "/text/tokenizer.json";
    const size_t n_bytes = (argc > 2 ? strtoul(argv[2], NULL, 10) : 8) * 1000000;
    hd_vocab *v;
    hd_err err;
    hd_buf rows, text[5], all;
    double begin = now_s();
    if (hd_vocab_open(path, &v, &err) != HD_OK) die(&err);
    printf("opened in %.0f ms: %zu tokens\n", 1e3 * (now_s() - begin), hd_vocab_size(v));

    hd_buf_init(&rows, MAX_BYTES);
    if (hd_fs_read_all(HD_TEST_DATA "/text/tokenizer.jsonl", &rows, &err) != HD_OK) die(&err);
    for (int i = 0; i < 5; i++) hd_buf_init(&text[i], MAX_BYTES);
    make_text(v, is_english, HD_STR(","), n_bytes, &text[0]);
    make_text(v, is_code, HD_STR(";\n    "), n_bytes, &text[1]);
    make_text(v, is_chinese, HD_STR("\xEF\xBC\x8C"), n_bytes, &text[2]);
    make_text(v, is_other_script, HD_STR(". "), n_bytes, &text[3]);
    make_golden_text(hd_buf_str(&rows), n_bytes, &text[4]);

    static const char *const names[] = {"English-like", "code-like", "Chinese-like",
                                        "other scripts", "golden texts, shuffled"};
    hd_buf_init(&all, MAX_BYTES);
    for (int i = 0; i < 5; i++) measure(v, names[i], hd_buf_str(&text[i]), false);
    /* Mixed: a document of each kind in turn. */
    for (size_t at = 0; at + DOCUMENT_BYTES <= n_bytes; at += DOCUMENT_BYTES)
        for (int i = 0; i < 5; i++) {
            hd_str part = {text[i].ptr + at, DOCUMENT_BYTES};
            hd_utf8_repair(&all, part);
        }
    measure(v, "mixed", hd_buf_str(&all), false);
    measure_hostile(v);
    for (int i = 0; i < 5; i++) hd_buf_deinit(&text[i]);
    hd_buf_deinit(&all);
    hd_buf_deinit(&rows);
    hd_vocab_close(v);
    return 0;
}
