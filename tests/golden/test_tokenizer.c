/* The official tokenizer against the Hugging Face library: rows of tokenizer.jsonl (ids, ids
 * without added tokens, ids of V4.1) and tokenizer_decode.jsonl (stream, tail, text). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/vectors.h"
#include "text/bpe.h"
#include "text/detok.h"

typedef struct tally {
    hd_vocab *v4, *v41;
    hd_bpe *bpe, *bpe41;
    hd_ids ids;
    size_t n_checked, n_wrong;
} tally;

static void note(tally *t, const hd_json *row, const char *what, bool is_same)
{
    t->n_checked++;
    if (is_same) return;
    hd_str id = hd_json_get(row, "id")->text;
    print_error("%.*s: %s differs\n", HD_STR_ARG(id), what);
    t->n_wrong++;
}

/* ---- encoding ---- */

static bool encodes_to(tally *t, hd_bpe *bpe, hd_str text, unsigned flags, const hd_json *expected)
{
    hd_err err;
    hd_ids_reset(&t->ids);
    if (hd_bpe_encode(bpe, text, flags, &t->ids, &err) != HD_OK) {
        print_error("%s\n", err.text);
        return false;
    }
    if (t->ids.len != expected->n) return false;
    size_t i = 0;
    for (const hd_json *c = expected->child; c; c = c->next, i++) {
        int64_t id;
        if (hd_json_i64(c, 0, INT32_MAX, &id, NULL) != HD_OK || id != t->ids.ptr[i]) return false;
    }
    return true;
}

static void check_encoding(const hd_json *row, void *ctx)
{
    tally *t = ctx;
    hd_str text = hd_json_get(row, "text")->text;
    const hd_json *ids = hd_json_get(row, "ids");
    const hd_json *plain = hd_json_get(row, "ids_plain"), *v41 = hd_json_get(row, "ids_v41");
    note(t, row, "ids", encodes_to(t, t->bpe, text, 0, ids));
    note(t, row, "ids_plain", encodes_to(t, t->bpe, text, HD_ENCODE_PLAIN, plain ? plain : ids));
    note(t, row, "ids_v41", encodes_to(t, t->bpe41, text, 0, v41 ? v41 : ids));
}

static void texts_become_the_reference_ids(void **state)
{
    tally *t = *state;
    t->n_checked = t->n_wrong = 0;
    size_t n = test_text_rows("tokenizer.jsonl", check_encoding, t);
    printf("summary: golden tokenizer: %zu texts, %zu id lists compared, %zu wrong\n", n,
           t->n_checked, t->n_wrong);
    assert_true(n > 0);
    assert_int_equal(t->n_wrong, 0);
}

/* ---- decoding ---- */

static bool is_hex(hd_str bytes, hd_str hex)
{
    if (hex.len != 2 * bytes.len) return false;
    for (size_t i = 0; i < bytes.len; i++) {
        char two[3];
        snprintf(two, sizeof two, "%02x", (unsigned)(unsigned char)bytes.ptr[i]);
        if (memcmp(two, hex.ptr + 2 * i, 2) != 0) return false;
    }
    return true;
}

/* Push all ids; with `stream`, compare what each releases. */
static bool decode(const tally *t, const hd_json *ids, unsigned flags, const hd_json *stream,
                   hd_buf *text, size_t *tail_at)
{
    hd_detok d;
    bool is_same = true;
    hd_buf_reset(text);
    hd_detok_init(&d, t->v4, flags);
    const hd_json *released = stream ? stream->child : NULL;
    for (const hd_json *c = ids->child; c; c = c->next) {
        int64_t id;
        size_t from = text->len;
        if (hd_json_i64(c, 0, INT32_MAX, &id, NULL) != HD_OK) return false;
        hd_detok_push(&d, (int32_t)id, text);
        if (!stream) continue;
        is_same =
            is_same && released && hd_str_eq(hd_str_skip(hd_buf_str(text), from), released->text);
        released = released ? released->next : NULL;
    }
    *tail_at = text->len;
    hd_detok_finish(&d, text);
    return is_same && !released && text->status == HD_OK;
}

static void check_decoding(const hd_json *row, void *ctx)
{
    tally *t = ctx;
    hd_buf text;
    size_t tail_at;
    const hd_json *ids = hd_json_get(row, "ids"), *bytes = hd_json_get(row, "token_bytes")->child;
    const hd_json *whole = hd_json_get(row, "text"),
                  *skipped = hd_json_get(row, "text_skip_special");
    hd_buf_init(&text, (size_t)1 << 20);
    bool is_same = decode(t, ids, 0, hd_json_get(row, "stream"), &text, &tail_at);
    note(t, row, "stream", is_same);
    note(t, row, "tail",
         hd_str_eq(hd_str_skip(hd_buf_str(&text), tail_at), hd_json_get(row, "tail")->text));
    note(t, row, "text", hd_str_eq(hd_buf_str(&text), whole->text));

    is_same = decode(t, ids, HD_DECODE_SKIP_SPECIAL, NULL, &text, &tail_at);
    is_same = is_same && hd_str_eq(hd_buf_str(&text), (skipped ? skipped : whole)->text);
    note(t, row, "text_skip_special", is_same);

    is_same = true;
    for (const hd_json *c = ids->child; c; c = c->next, bytes = bytes->next) {
        int64_t id;
        is_same = is_same && hd_json_i64(c, 0, INT32_MAX, &id, NULL) == HD_OK &&
                  is_hex(hd_vocab_token_bytes(t->v4, (int32_t)id), bytes->text);
    }
    note(t, row, "token_bytes", is_same);
    hd_buf_deinit(&text);
}

static void ids_become_the_reference_text(void **state)
{
    tally *t = *state;
    t->n_checked = t->n_wrong = 0;
    size_t n = test_text_rows("tokenizer_decode.jsonl", check_decoding, t);
    printf("summary: golden decoding: %zu rows, %zu values compared, %zu wrong\n", n, t->n_checked,
           t->n_wrong);
    assert_true(n > 0);
    assert_int_equal(t->n_wrong, 0);
}

/* ---- the tables ---- */

/* Facts of the specification, section 9.2. */
static void added_tokens_have_their_ids_and_flags(void **state)
{
    const tally *t = *state;
    static const struct {
        const char *content;
        int32_t v4, v41; /* -1: no such token */
        unsigned flags;  /* in V4, or V4.1 where V4 has none */
    } rows[] = {
        {"<｜begin▁of▁sentence｜>", 0, 0, HD_TOKEN_ADDED | HD_TOKEN_SPECIAL},
        {"<｜end▁of▁sentence｜>", 1, 1, HD_TOKEN_ADDED | HD_TOKEN_SPECIAL},
        {"<｜place▁holder▁no▁799｜>", 128799, -1, HD_TOKEN_ADDED | HD_TOKEN_SPECIAL},
        {"<｜System｜>", -1, 128799, HD_TOKEN_ADDED},
        {"<｜User｜>", 128803, 128803, HD_TOKEN_ADDED},
        {"<|EOT|>", 128805, 128805, HD_TOKEN_ADDED},
        {"<think>", 128821, 128821, HD_TOKEN_ADDED},
        {"｜DSML｜", 128825, 128825, HD_TOKEN_ADDED},
        {"<｜deepseek_image｜>", -1, 129264, HD_TOKEN_ADDED},
        {"<｜image｜>", 129279, -1, HD_TOKEN_ADDED | HD_TOKEN_SPECIAL},
        {"the", -1, -1, 0},
    };
    assert_int_equal(hd_vocab_size(t->v4), 129280);
    assert_int_equal(hd_vocab_size(t->v41), 129280);
    for (size_t i = 0; i < HD_COUNT(rows); i++) {
        hd_str content = hd_str_from(rows[i].content);
        assert_int_equal(hd_vocab_find_added(t->v4, content), rows[i].v4);
        assert_int_equal(hd_vocab_find_added(t->v41, content), rows[i].v41);
        const hd_vocab *v = rows[i].v4 >= 0 ? t->v4 : t->v41;
        assert_int_equal(hd_vocab_flags(v, hd_vocab_find_added(v, content)), rows[i].flags);
    }
}

/* Every token but the added ones, encoded as text, merges to ids that decode to its bytes. */
static void every_valid_token_survives_a_round_trip(void **state)
{
    tally *t = *state;
    size_t n = 0, n_whole = 0;
    for (int32_t id = 0; (size_t)id < hd_vocab_size(t->v4); id++) {
        hd_str bytes = hd_vocab_token_bytes(t->v4, id);
        size_t at = 0;
        hd_ids_reset(&t->ids);
        if (hd_bpe_encode(t->bpe, bytes, HD_ENCODE_PLAIN, &t->ids, NULL) != HD_OK) continue;
        for (size_t i = 0; i < t->ids.len; i++) {
            hd_str part = hd_vocab_token_bytes(t->v4, t->ids.ptr[i]);
            assert_true(hd_str_starts(hd_str_skip(bytes, at), part));
            at += part.len;
        }
        assert_int_equal(at, bytes.len);
        n++;
        if (t->ids.len == 1 && t->ids.ptr[0] == id) n_whole++;
    }
    print_message("%zu tokens are UTF-8, %zu of them encode to themselves\n", n, n_whole);
    assert_true(n > 120000);
}

static int open_both(void **state)
{
    static tally t;
    hd_err err;
    hd_ids_init(&t.ids, (size_t)1 << 20);
    hd_str v41 = test_text_tokenizer_v41();
    *state = &t;
    if (hd_vocab_open(test_text_path("tokenizer.json"), &t.v4, &err) == HD_OK &&
        hd_vocab_parse(v41, &t.v41, &err) == HD_OK && hd_bpe_create(t.v4, &t.bpe, &err) == HD_OK &&
        hd_bpe_create(t.v41, &t.bpe41, &err) == HD_OK)
        return 0;
    print_error("%s\n", err.text);
    return -1;
}

static int close_both(void **state)
{
    tally *t = *state;
    hd_bpe_destroy(t->bpe);
    hd_bpe_destroy(t->bpe41);
    hd_vocab_close(t->v4);
    hd_vocab_close(t->v41);
    hd_ids_deinit(&t->ids);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts_become_the_reference_ids),
        cmocka_unit_test(ids_become_the_reference_text),
        cmocka_unit_test(added_tokens_have_their_ids_and_flags),
        cmocka_unit_test(every_valid_token_survives_a_round_trip),
    };
    return cmocka_run_group_tests(tests, open_both, close_both);
}
