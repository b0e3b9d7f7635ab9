/* Encoding: against merging as the definition says, over a vocabulary made to provoke it; added
 * tokens; hostile text; limits. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "support/tiny_vocab.h"
#include "support/tmpdir.h"
#include "support/vectors.h"
#include "text/bpe.h"
#include "text/tokenizer.h"

static hd_vocab *make_vocab(const char *vocab, const char *merges, const char *added)
{
    hd_vocab *v;
    hd_buf json;
    hd_err err;
    hd_buf_init(&json, 1 << 20);
    tiny_vocab_json(&(tiny_vocab){vocab, merges, added}, &json);
    if (hd_vocab_parse(hd_buf_str(&json), &v, &err) != HD_OK) fail_msg("%s", err.text);
    hd_buf_deinit(&json);
    return v;
}

/* ids as text, "1 2 3". */
static void show_ids(const hd_ids *ids, hd_buf *out)
{
    hd_buf_reset(out);
    for (size_t i = 0; i < ids->len; i++) hd_buf_addf(out, "%s%d", i ? " " : "", ids->ptr[i]);
    hd_buf_addz(out, "");
}

static void check_ids(const hd_vocab *v, hd_str text, unsigned flags, const char *expected)
{
    hd_bpe *bpe;
    hd_ids ids;
    hd_buf shown;
    hd_buf_init(&shown, 1 << 16);
    hd_ids_init(&ids, 4096);
    assert_int_equal(hd_bpe_create(v, &bpe, NULL), HD_OK);
    for (int round = 0; round < 2; round++) { /* the second time from the cache */
        hd_ids_reset(&ids);
        assert_int_equal(hd_bpe_encode(bpe, text, flags, &ids, NULL), HD_OK);
        show_ids(&ids, &shown);
        assert_string_equal(shown.ptr, expected);
    }
    hd_bpe_destroy(bpe);
    hd_ids_deinit(&ids);
    hd_buf_deinit(&shown);
}

#define IDS(v, text, expected) check_ids(v, HD_STR(text), 0, expected)

/* ---- merging ---- */

static void lowest_rank_goes_first(void **state)
{
    (void)state;
    /* ab before bc, although bc stands left of the second ab. */
    hd_vocab *v = make_vocab("\"ab\": 256, \"bc\": 257, \"abc\": 258, \"bcab\": 259",
                             "\"a b\", [\"b\", \"c\"], \"ab c\", [\"bc\", \"ab\"]", NULL);
    IDS(v, "ab", "256");
    IDS(v, "abc", "258");
    IDS(v, "bc", "257");
    IDS(v, "bcab", "259");
    IDS(v, "abcab", "258 256"); /* not a bcab: by rank, not by length */
    IDS(v, "cab", "99 256");
    hd_vocab_close(v);
}

static void ties_go_left(void **state)
{
    (void)state;
    hd_vocab *v = make_vocab("\"aa\": 256, \"aaaa\": 257", "\"a a\", \"aa aa\"", NULL);
    IDS(v, "a", "97");
    IDS(v, "aaa", "256 97");
    IDS(v, "aaaaa", "257 97");
    IDS(v, "aaaaaaa", "257 256 97");
    hd_vocab_close(v);
}

static void bytes_alone_are_enough(void **state)
{
    (void)state;
    hd_vocab *v = make_vocab(NULL, NULL, NULL);
    IDS(v, "", "");
    IDS(v, "ab c", "97 98 32 99");
    IDS(v, "\u00e9\u4e16", "195 169 228 184 150");
    check_ids(v, HD_STR("a\0b"), 0, "97 0 98");
    hd_vocab_close(v);
}

/* A token that cuts through characters keeps them from being started from. `é` is C3 A9, `ü` C3 BC;
 * in the alphabet C3 is Ã, A9 ©, BC ¼. */
static void fragments_of_characters_merge_as_ranked(void **state)
{
    (void)state;
    /* é forms before its last byte could join what follows. */
    hd_vocab *v = make_vocab("\"Ã©\": 256, \"©Ã\": 257", "\"Ã ©\", \"© Ã\"", NULL);
    IDS(v, "\u00e9\u00e9", "256 256");
    IDS(v, "\u00e9\u00fc", "256 195 188");
    hd_vocab_close(v);
    /* The other way round it does not. */
    v = make_vocab("\"©Ã\": 256, \"Ã©\": 257", "\"© Ã\", \"Ã ©\"", NULL);
    IDS(v, "\u00e9", "257");
    IDS(v, "\u00e9\u00e9", "195 256 169");
    IDS(v, "\u00e9\u00fc", "195 256 188");
    hd_vocab_close(v);
    /* To the left as well: x + C3 before é. */
    v = make_vocab("\"xÃ\": 256, \"Ã©\": 257", "\"x Ã\", \"Ã ©\"", NULL);
    IDS(v, "x\u00e9", "256 169");
    IDS(v, "y\u00e9", "121 257");
    hd_vocab_close(v);
    /* The first two bytes of three, E4 B8, join the character before them. */
    v = make_vocab("\"ä¸\": 256, \"ä¸ĸ\": 257, \"ä¸ĸä¸\": 258, \"ä¸Ĺ\": 259",
                   "\"ä ¸\", \"ä¸ ĸ\", \"ä¸ĸ ä¸\", \"ä¸ Ĺ\"", NULL);
    IDS(v, "\u4e17", "259");
    IDS(v, "\u4e16\u4e17", "258 151");
    hd_vocab_close(v);
    /* The last two bytes of three, B0 80, join what follows. */
    v = make_vocab("\"°Ģ\": 256, \"°Ģa\": 257, \"ê°Ģ\": 258", "\"° Ģ\", \"°Ģ a\", \"ê °Ģ\"", NULL);
    IDS(v, "\uac00", "258");
    IDS(v, "\uac00a", "234 257");
    hd_vocab_close(v);
}

static uint64_t seed = 7;

static size_t random_below(size_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(seed >> 33) % n;
}

enum { N_BYTES = 11, N_MERGES = 40, MAX_CHARS = 130 };

/* Merges drawn at random over few bytes, fragments of characters among them. */
typedef struct random_merges {
    size_t n_parts, n;
    char spelling[N_BYTES + N_MERGES][64]; /* of each part: the bytes, then what merges make */
    int32_t id[N_BYTES + N_MERGES];
    int32_t left[N_MERGES], right[N_MERGES], result[N_MERGES];
    hd_buf vocab, list; /* for tiny_vocab */
} random_merges;

static void start_random(random_merges *m)
{
    static const char *const spellings[] = {"a", "b", "Ã", "©", "¨", "Ð", "¹", "ä", "¸", "ĸ", "Ĺ"};
    static const int32_t bytes[] = {'a', 'b', 0xC3, 0xA9, 0xA8, 0xD0, 0xB9, 0xE4, 0xB8, 0x96, 0x97};
    m->n_parts = N_BYTES;
    m->n = 0;
    for (size_t i = 0; i < N_BYTES; i++) {
        snprintf(m->spelling[i], sizeof m->spelling[i], "%s", spellings[i]);
        m->id[i] = bytes[i];
    }
    hd_buf_reset(&m->vocab);
    hd_buf_reset(&m->list);
}

static void add_random_merge(random_merges *m)
{
    char whole[128];
    size_t l = random_below(m->n_parts), r = random_below(m->n_parts);
    snprintf(whole, sizeof whole, "%s%s", m->spelling[l], m->spelling[r]);
    if (strlen(whole) >= sizeof m->spelling[0]) return;
    for (size_t i = 0; i < m->n_parts; i++)
        if (strcmp(m->spelling[i], whole) == 0) return;
    const char *comma = m->n ? ", " : "";
    const int32_t id = 256 + (int32_t)m->n;
    hd_buf_addf(&m->vocab, "%s\"%s\": %d", comma, whole, id);
    hd_buf_addf(&m->list, "%s\"%s %s\"", comma, m->spelling[l], m->spelling[r]);
    memcpy(m->spelling[m->n_parts], whole, strlen(whole) + 1);
    m->id[m->n_parts++] = id;
    m->left[m->n] = m->id[l];
    m->right[m->n] = m->id[r];
    m->result[m->n++] = id;
}

/* A word that is one piece: letters, and only CJK or none; returns its bytes. */
static size_t random_word(char word[3 * MAX_CHARS], size_t max_chars)
{
    static const char *const letters[] = {"a", "b", "\u00e9", "\u00e8", "\u0439"};
    static const char *const cjk[] = {"\u4e16", "\u4e17"};
    size_t n = 0, n_chars = 1 + random_below(max_chars);
    bool is_cjk = random_below(3) == 0;
    for (size_t i = 0; i < n_chars; i++) {
        const char *c = is_cjk ? cjk[random_below(2)] : letters[random_below(5)];
        memcpy(word + n, c, strlen(c));
        n += strlen(c);
    }
    return n;
}

/* Merge a piece as the definition says, slowly, into ids, i32 [piece.len]; returns how many. */
static size_t merge_slowly(const random_merges *m, hd_str piece, int32_t *ids)
{
    size_t n = piece.len;
    for (size_t i = 0; i < n; i++) ids[i] = (unsigned char)piece.ptr[i]; /* tiny_vocab: id = byte */
    for (;;) {
        size_t best = m->n, at = 0;
        for (size_t i = 0; i + 1 < n; i++)
            for (size_t k = 0; k < best; k++)
                if (m->left[k] == ids[i] && m->right[k] == ids[i + 1]) {
                    best = k;
                    at = i;
                }
        if (best == m->n) return n;
        ids[at] = m->result[best];
        n--;
        for (size_t i = at + 1; i < n; i++) ids[i] = ids[i + 1];
    }
}

/* Words short enough for a row of symbols and long enough for the heap. */
static void random_vocabularies_merge_by_definition(void **state)
{
    (void)state;
    static random_merges m;
    hd_ids ids;
    hd_buf_init(&m.vocab, 1 << 16);
    hd_buf_init(&m.list, 1 << 16);
    hd_ids_init(&ids, 1 << 16);
    for (int round = 0; round < 150; round++) {
        hd_bpe *bpe;
        start_random(&m);
        while (m.n < N_MERGES) add_random_merge(&m);
        hd_vocab *v = make_vocab(m.vocab.ptr, m.list.ptr, NULL);
        assert_int_equal(hd_bpe_create(v, &bpe, NULL), HD_OK);
        for (int w = 0; w < 60; w++) {
            char word[3 * MAX_CHARS];
            int32_t expected[3 * MAX_CHARS];
            const hd_str text = {word, random_word(word, w % 4 ? 12 : MAX_CHARS)};
            size_t n = merge_slowly(&m, text, expected);
            hd_ids_reset(&ids);
            assert_int_equal(hd_bpe_encode(bpe, text, 0, &ids, NULL), HD_OK);
            assert_int_equal(ids.len, n);
            assert_memory_equal(ids.ptr, expected, n * sizeof *expected);
        }
        hd_bpe_destroy(bpe);
        hd_vocab_close(v);
    }
    hd_ids_deinit(&ids);
    hd_buf_deinit(&m.list);
    hd_buf_deinit(&m.vocab);
}

/* ---- added tokens ---- */

static void added_tokens_match_longest_and_leftmost(void **state)
{
    (void)state;
    char added[1200];
    snprintf(added, sizeof added, "%s, %s, %s, %s", tiny_added(256, "<a>", true, false),
             tiny_added(257, "<a><b>", true, false), tiny_added(258, "b><", true, false),
             tiny_added('<', "<", true, false));
    hd_vocab *v = make_vocab(NULL, NULL, added);
    IDS(v, "<a>", "256");
    IDS(v, "x<a>y", "120 256 121");
    IDS(v, "<a><b>", "257");
    IDS(v, "<a><b", "256 60 98");
    IDS(v, "ab><a>", "97 258 97 62"); /* leftmost, although <a> would be longer further on */
    IDS(v, "<<a", "60 60 97");
    check_ids(v, HD_STR("<a>"), HD_ENCODE_PLAIN, "60 97 62");
    hd_vocab_close(v);
}

/* The reference looks for `normalized` tokens only in what the others leave. */
static void normalized_tokens_come_second(void **state)
{
    (void)state;
    char added[600];
    snprintf(added, sizeof added, "%s, %s", tiny_added(256, "abc", false, true),
             tiny_added(257, "cd", false, false));
    hd_vocab *v = make_vocab(NULL, NULL, added);
    IDS(v, "abcd", "97 98 257");
    IDS(v, "abccd", "256 257");
    IDS(v, "cdabc", "257 256");
    hd_vocab_close(v);
}

/* A piece ends where an added token begins: spaces are split as at the end of a text. */
static void added_tokens_bound_pieces(void **state)
{
    (void)state;
    hd_vocab *v = make_vocab("\"ĠĠ\": 256", "\"Ġ Ġ\"", tiny_added(257, "<t>", false, true));
    IDS(v, "  x", "32 32 120");
    IDS(v, "  <t>x", "256 257 120");
    check_ids(v, HD_STR("  <t>"), HD_ENCODE_PLAIN, "32 32 60 116 62");
    hd_vocab_close(v);
}

/* A token that the model's vocabulary lists too, as the official file does with ids 0 to 2. */
static void added_tokens_may_be_in_the_vocabulary(void **state)
{
    (void)state;
    char added[600];
    snprintf(added, sizeof added, "%s, %s", tiny_added(256, "<｜bos｜>", true, false),
             tiny_added(258, "<new>", true, false));
    hd_vocab *v = make_vocab("\"<｜bos｜>\": 256, \"ab\": 257", "\"a b\"", added);
    assert_int_equal(hd_vocab_size(v), 259);
    IDS(v, "<｜bos｜>ab<new>", "256 257 258");
    assert_true(hd_str_eqz(hd_vocab_token_bytes(v, 256), "<｜bos｜>"));
    assert_int_equal(hd_vocab_flags(v, 256), HD_TOKEN_ADDED | HD_TOKEN_SPECIAL);
    assert_int_equal(hd_vocab_flags(v, 257), 0);
    assert_int_equal(hd_vocab_find_added(v, HD_STR("<new>")), 258);
    assert_int_equal(hd_vocab_find_added(v, HD_STR("ab")), -1);
    assert_int_equal(hd_vocab_token_bytes(v, 259).len, 0);
    assert_int_equal(hd_vocab_token_bytes(v, -1).len, 0);
    assert_int_equal(hd_vocab_flags(v, 259), 0);
    hd_vocab_close(v);
}

/* ---- limits ---- */

static void broken_text_is_refused(void **state)
{
    (void)state;
    hd_vocab *v = make_vocab(NULL, NULL, NULL);
    hd_bpe *bpe;
    hd_ids ids;
    hd_err err;
    hd_ids_init(&ids, 4);
    assert_int_equal(hd_bpe_create(v, &bpe, NULL), HD_OK);
    assert_int_equal(hd_bpe_encode(bpe, HD_STR("ab\xC3"), 0, &ids, &err), HD_E_FORMAT);
    assert_string_equal(err.text, "text is not UTF-8 at byte 2");
    assert_int_equal(hd_bpe_encode(bpe, (hd_str){"", ((size_t)1 << 30) + 1}, 0, &ids, &err),
                     HD_E_LIMIT);
    assert_string_equal(err.text, "text has 1073741825 bytes, expected at most 1073741824");
    assert_int_equal(hd_bpe_encode(bpe, HD_STR("abc"), 0, &ids, &err), HD_OK);
    assert_int_equal(hd_bpe_encode(bpe, HD_STR("de"), 0, &ids, &err), HD_E_LIMIT);
    assert_string_equal(err.text, "more than 4 tokens, expected at most that many");
    assert_int_equal(ids.len, 3); /* as before the call */
    assert_int_equal(hd_bpe_encode(bpe, HD_STR("f"), 0, &ids, &err), HD_OK);
    assert_int_equal(ids.ptr[3], 'f');
    hd_bpe_destroy(bpe);
    hd_ids_deinit(&ids);
    hd_vocab_close(v);
}

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* One word of two megabytes: quadratic work would take hours. */
static void hostile_words_stay_linear(void **state)
{
    (void)state;
    const size_t n = 2000000;
    hd_vocab *v;
    hd_bpe *bpe;
    hd_ids ids;
    char *word = hd_mem_calloc(n, 1);
    hd_ids_init(&ids, n);
    assert_int_equal(hd_vocab_open(test_text_path("tokenizer.json"), &v, NULL), HD_OK);
    assert_int_equal(hd_bpe_create(v, &bpe, NULL), HD_OK);
    static const char *const patterns[] = {"a", "ab", " ", "<", "\n", "<\xEF\xBD\x9Cplace",
                                           "9", "."};
    for (size_t k = 0; k < HD_COUNT(patterns); k++) {
        size_t len = strlen(patterns[k]), used = n / len * len;
        for (size_t i = 0; i < used; i++) word[i] = patterns[k][i % len];
        hd_ids_reset(&ids);
        double begin = now_s();
        assert_int_equal(hd_bpe_encode(bpe, (hd_str){word, used}, 0, &ids, NULL), HD_OK);
        double took = now_s() - begin;
        assert_true(took < 60); /* a second, were it not for sanitizers and busy machines */
        size_t n_bytes = 0;
        for (size_t i = 0; i < ids.len; i++) n_bytes += hd_vocab_token_bytes(v, ids.ptr[i]).len;
        assert_int_equal(n_bytes, used);
    }
    hd_bpe_destroy(bpe);
    hd_vocab_close(v);
    hd_ids_deinit(&ids);
    hd_mem_free(word);
}

/* Every allocation fails once; then it works. */
static void memory_may_run_out(void **state)
{
    (void)state;
    hd_vocab *v = make_vocab("\"ab\": 256", "\"a b\"", NULL);
    char text[800];
    memset(text, 'a', sizeof text);
    hd_status status = HD_E_NOMEM;
    int n_failures = 0;
    while (status != HD_OK) {
        hd_bpe *bpe = NULL;
        hd_ids ids;
        hd_ids_init(&ids, 4096);
        hd_mem_fail_after(n_failures);
        status = hd_bpe_create(v, &bpe, NULL);
        if (status == HD_OK)
            status = hd_bpe_encode(bpe, (hd_str){text, sizeof text}, 0, &ids, NULL);
        hd_mem_fail_after(-1);
        assert_true(status == HD_OK || status == HD_E_NOMEM);
        if (status != HD_OK) assert_int_equal(ids.len, 0);
        if (status != HD_OK) n_failures++;
        hd_ids_deinit(&ids);
        hd_bpe_destroy(bpe);
    }
    assert_true(n_failures >= 4); /* worker, cache, symbols, heap, ids */
    hd_vocab_close(v);
}

/* ---- the public tokenizer ---- */

static void *encode_often(void *arg)
{
    hd_tokenizer *t = arg;
    static const char text[] = "The capital of France is";
    static const int32_t expected[] = {671, 6102, 294, 8760, 344};
    for (int i = 0; i < 2000; i++) {
        int32_t ids[sizeof text];
        size_t n;
        if (hd_tokenizer_encode(t, text, sizeof text - 1, 0, ids, HD_COUNT(ids), &n, NULL) != HD_OK)
            return arg;
        if (n != 5 || memcmp(ids, expected, sizeof expected) != 0) return arg;
    }
    return NULL;
}

static void threads_share_a_tokenizer(void **state)
{
    (void)state;
    pthread_t threads[4];
    hd_tokenizer *t;
    assert_int_equal(hd_tokenizer_open(test_text_path("tokenizer.json"), &t, NULL), HD_OK);
    for (size_t i = 0; i < HD_COUNT(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, encode_often, t), 0);
    for (size_t i = 0; i < HD_COUNT(threads); i++) {
        void *failed;
        pthread_join(threads[i], &failed);
        assert_null(failed);
    }
    hd_tokenizer_close(t);
}

static void the_public_interface_holds_together(void **state)
{
    (void)state;
    hd_tokenizer *t;
    hd_decoder *d;
    hd_err err;
    int32_t ids[16];
    size_t n, len;
    const char *text;
    assert_int_equal(hd_tokenizer_open(test_text_path("no-such-file"), &t, &err), HD_E_NOTFOUND);
    assert_null(t);
    hd_tokenizer_close(t);
    assert_int_equal(hd_tokenizer_open(test_text_path(""), &t, &err), HD_OK); /* the directory */
    assert_int_equal(hd_tokenizer_size(t), 129280);
    assert_int_equal(hd_tokenizer_find(t, "<think>"), 128821);
    assert_int_equal(hd_tokenizer_find(t, "think"), -1);

    assert_int_equal(hd_tokenizer_encode(t, "<think>", 7, 0, ids, 16, &n, &err), HD_OK);
    assert_int_equal(n, 1);
    assert_int_equal(ids[0], 128821);
    assert_int_equal(hd_tokenizer_encode(t, "<think>", 7, HD_ENCODE_PLAIN, ids, 16, &n, &err),
                     HD_OK);
    assert_true(n > 1);
    assert_int_equal(hd_tokenizer_encode(t, "a b c d", 7, 0, ids, 2, &n, &err), HD_E_LIMIT);
    assert_int_equal(n, 0);

    /* Ill-formed text reads as U+FFFD. */
    int32_t marked[16];
    size_t n_marked;
    assert_int_equal(hd_tokenizer_encode(t, "x\xFFy", 3, 0, ids, 16, &n, &err), HD_OK);
    assert_int_equal(hd_tokenizer_encode(t, "x\xEF\xBF\xBDy", 5, 0, marked, 16, &n_marked, &err),
                     HD_OK);
    assert_int_equal(n, n_marked);
    assert_memory_equal(ids, marked, n * sizeof *ids);

    assert_int_equal(hd_decoder_create(t, HD_DECODE_SKIP_SPECIAL, &d, &err), HD_OK);
    static const struct {
        int32_t id;
        const char *text;
    } steps[] = {{28927, ""}, {1, ""}, {225, "\U0001f600"}, {128821, "<think>"}, {163, ""}};
    for (size_t i = 0; i < HD_COUNT(steps); i++) {
        assert_int_equal(hd_decoder_push(d, steps[i].id, &text, &len, &err), HD_OK);
        assert_int_equal(len, strlen(steps[i].text));
        assert_memory_equal(text, steps[i].text, len);
    }
    assert_int_equal(hd_decoder_finish(d, &text, &len, &err), HD_OK);
    assert_int_equal(len, 3);
    assert_memory_equal(text, "\xEF\xBF\xBD", 3);
    hd_decoder_destroy(d);
    hd_tokenizer_close(t);
}

/* Open, encode a text that needs repair, decode: each allocation fails once. */
static hd_status use_tokenizer(const char *path)
{
    hd_tokenizer *t;
    hd_decoder *d = NULL;
    const char *text;
    int32_t ids[16];
    size_t n, len;
    hd_status status;
    HD_TRY(hd_tokenizer_open(path, &t, NULL));
    HD_TRY_GOTO(status, out, hd_tokenizer_encode(t, "a\xFF", 2, 0, ids, 16, &n, NULL));
    HD_TRY_GOTO(status, out, hd_decoder_create(t, 0, &d, NULL));
    HD_TRY_GOTO(status, out, hd_decoder_push(d, ids[0], &text, &len, NULL));
    HD_TRY_GOTO(status, out, hd_decoder_finish(d, &text, &len, NULL));
out:
    hd_decoder_destroy(d);
    hd_tokenizer_close(t);
    return status;
}

static void the_public_interface_survives_lack_of_memory(void **state)
{
    (void)state;
    hd_buf json;
    hd_buf_init(&json, 1 << 20);
    tiny_vocab_json(&(tiny_vocab){0}, &json);
    const char *path = test_path(test_tmpdir(), "tokenizer.json");
    test_write(path, hd_buf_str(&json));
    hd_buf_deinit(&json);
    hd_status status = HD_E_NOMEM;
    int n_failures = 0;
    for (; status != HD_OK; n_failures += status != HD_OK) {
        hd_mem_fail_after(n_failures);
        status = use_tokenizer(path);
        hd_mem_fail_after(-1);
        assert_true(status == HD_OK || status == HD_E_NOMEM);
    }
    print_message("%d allocations failed in turn\n", n_failures);
    assert_true(n_failures > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lowest_rank_goes_first),
        cmocka_unit_test(ties_go_left),
        cmocka_unit_test(bytes_alone_are_enough),
        cmocka_unit_test(fragments_of_characters_merge_as_ranked),
        cmocka_unit_test(random_vocabularies_merge_by_definition),
        cmocka_unit_test(added_tokens_match_longest_and_leftmost),
        cmocka_unit_test(normalized_tokens_come_second),
        cmocka_unit_test(added_tokens_bound_pieces),
        cmocka_unit_test(added_tokens_may_be_in_the_vocabulary),
        cmocka_unit_test(broken_text_is_refused),
        cmocka_unit_test(hostile_words_stay_linear),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test(threads_share_a_tokenizer),
        cmocka_unit_test(the_public_interface_holds_together),
        cmocka_unit_test(the_public_interface_survives_lack_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
