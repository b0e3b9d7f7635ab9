/* Incremental decoding: nothing ill-formed is ever shown, nothing is taken back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/utf8.h"
#include "support/tiny_vocab.h"
#include "text/detok.h"

#define THINK   256 /* added, not special */
#define EOS     257 /* added, special */
#define N_VOCAB 258

static hd_vocab *vocab;

static int open_vocab(void **state)
{
    (void)state;
    char added[600];
    hd_buf json;
    hd_buf_init(&json, 1 << 20);
    snprintf(added, sizeof added, "%s, %s", tiny_added(THINK, "<think>", false, true),
             tiny_added(EOS, "<eos>", true, false));
    tiny_vocab_json(&(tiny_vocab){.added = added}, &json);
    hd_err err = {0};
    hd_status status = hd_vocab_parse(hd_buf_str(&json), &vocab, &err);
    if (status != HD_OK) print_error("%s\n", err.text);
    hd_buf_deinit(&json);
    return status;
}

static int close_vocab(void **state)
{
    (void)state;
    hd_vocab_close(vocab);
    return 0;
}

/* Bytes below N_VOCAB are ids of their own here. `expected`: what each id releases, joined by '|',
 * and what the end releases. */
static void check(const int32_t *ids, size_t n, unsigned flags, const char *expected)
{
    hd_detok d;
    hd_buf out;
    hd_buf_init(&out, 4096);
    hd_detok_init(&d, vocab, flags);
    for (size_t i = 0; i < n; i++) {
        hd_detok_push(&d, ids[i], &out);
        hd_buf_addc(&out, '|');
    }
    hd_detok_finish(&d, &out);
    hd_buf_addz(&out, "");
    assert_string_equal(out.ptr, expected);
    hd_buf_deinit(&out);
}

#define CHECK(flags, expected, ...)                                                                \
    do {                                                                                           \
        const int32_t ids_[] = {__VA_ARGS__};                                                      \
        check(ids_, HD_COUNT(ids_), flags, expected);                                              \
    } while (0)

#define R "\xEF\xBF\xBD"

static void whole_characters_pass(void **state)
{
    (void)state;
    CHECK(0, "a|b|", 'a', 'b');
    CHECK(0, "||\u4e16|", 0xE4, 0xB8, 0x96);
    CHECK(0, "|||\U0001f600|!|", 0xF0, 0x9F, 0x98, 0x80, '!');
}

static void a_cut_off_character_waits_then_becomes_one_mark(void **state)
{
    (void)state;
    CHECK(0, "|" R, 0xE4);
    CHECK(0, "|||" R, 0xF0, 0x9F, 0x98);
    CHECK(0, "|" R "a|", 0xE4, 'a');
    CHECK(0, "||" R "|\u00e9|", 0xE4, 0xB8, 0xC3, 0xA9);
}

/* Unicode 16.0, table 3-8 and its neighbours. */
static void each_ill_formed_part_becomes_one_mark(void **state)
{
    (void)state;
    CHECK(0, R "|" R "|", 0xC0, 0xAF);
    CHECK(0, "|" R R "|" R "|", 0xE0, 0x80, 0xAF);
    CHECK(0, "|" R R "|", 0xF4, 0x90);
    CHECK(0, R "|", 0xFF);
    CHECK(0, R "|", 0x80);
    CHECK(0, "|" R "|" R, 0xE4, 0xE4);
    CHECK(0, "|||" R "A|", 0xF1, 0x80, 0x80, 'A');
}

/* Two bytes of an encoded surrogate wait for the third, then give three parts. */
static void encoded_surrogates_wait_for_their_third_byte(void **state)
{
    (void)state;
    CHECK(0, "||" R R R "|", 0xED, 0xA0, 0x81);
    CHECK(0, "||" R R, 0xED, 0xBF);
    CHECK(0, "||" R R "a|", 0xED, 0xA0, 'a');
    CHECK(0, "||\ud7ff|", 0xED, 0x9F, 0xBF);
}

static void an_added_token_breaks_a_character_unless_skipped(void **state)
{
    (void)state;
    CHECK(0, "||" R "<think>|" R "|" R "|", 0xF0, 0x9F, THINK, 0x91, 0x8D);
    CHECK(0, "||" R "<eos>|" R "|", 0xE4, 0xB8, EOS, 0xAD);
    CHECK(HD_DECODE_SKIP_SPECIAL, "|||\u4e2d|", 0xE4, 0xB8, EOS, 0xAD);
    CHECK(HD_DECODE_SKIP_SPECIAL, "|" R "<think>|||", 0xE4, THINK, EOS, EOS);
}

static void unknown_ids_stand_for_nothing(void **state)
{
    (void)state;
    CHECK(0, "|||\u4e2d|", 0xE4, N_VOCAB, 0xB8, 0xAD);
    CHECK(0, "|||a|", -1, INT32_MAX, INT32_MIN, 'a');
}

/* However the bytes are cut, all that is released is the whole text repaired at once. */
static void any_cut_releases_the_same_text(void **state)
{
    (void)state;
    static const unsigned char pool[] = {'a',  0x80, 0xBF, 0xC3, 0xA9, 0xE0, 0xA0, 0xED, 0x9F,
                                         0xE4, 0xB8, 0xAD, 0xF0, 0x90, 0xF4, 0x8F, 0xFF};
    hd_buf out, whole;
    uint32_t seed = 1;
    hd_buf_init(&out, 4096);
    hd_buf_init(&whole, 4096);
    for (int round = 0; round < 20000; round++) {
        char bytes[24];
        hd_detok d;
        size_t n = 1 + (seed >> 8) % sizeof bytes;
        for (size_t i = 0; i < n; i++) {
            seed = seed * 1664525u + 1013904223u;
            bytes[i] = (char)pool[(seed >> 8) % sizeof pool];
        }
        hd_buf_reset(&out);
        hd_buf_reset(&whole);
        hd_detok_init(&d, vocab, 0);
        for (size_t at = 0; at < n;) {
            seed = seed * 1664525u + 1013904223u;
            size_t len = 1 + (seed >> 8) % 5;
            if (len > n - at) len = n - at;
            hd_detok_push_bytes(&d, (hd_str){bytes + at, len}, &out);
            assert_true(hd_utf8_valid(hd_buf_str(&out)));
            at += len;
        }
        hd_detok_finish(&d, &out);
        hd_utf8_repair(&whole, (hd_str){bytes, n});
        assert_true(hd_str_eq(hd_buf_str(&out), hd_buf_str(&whole)));
    }
    hd_buf_deinit(&whole);
    hd_buf_deinit(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whole_characters_pass),
        cmocka_unit_test(a_cut_off_character_waits_then_becomes_one_mark),
        cmocka_unit_test(each_ill_formed_part_becomes_one_mark),
        cmocka_unit_test(encoded_surrogates_wait_for_their_third_byte),
        cmocka_unit_test(an_added_token_breaks_a_character_unless_skipped),
        cmocka_unit_test(unknown_ids_stand_for_nothing),
        cmocka_unit_test(any_cut_releases_the_same_text),
    };
    return cmocka_run_group_tests(tests, open_vocab, close_vocab);
}
