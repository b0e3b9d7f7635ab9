/* SHA-256: the examples of FIPS 180-4 and of the NIST test vectors, and pieces of every size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/sha256.h"

static const char *hex(hd_sha256 *s)
{
    static char text[2 * HD_SHA256_BYTES + 1];
    uint8_t out[HD_SHA256_BYTES];
    hd_sha256_end(s, out);
    for (size_t i = 0; i < sizeof out; i++) snprintf(text + 2 * i, 3, "%02x", out[i]);
    return text;
}

static void check(const char *data, const char *want)
{
    hd_sha256 s;
    hd_sha256_init(&s);
    hd_sha256_add(&s, data, strlen(data));
    assert_string_equal(hex(&s), want);
}

static void test_known(void **state)
{
    (void)state;
    check("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    check("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    check("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    check("abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmn"
          "hijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu",
          "cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1");
}

/* No bytes may have no address; UBSan sees memcpy. */
static void test_nothing(void **state)
{
    (void)state;
    hd_sha256 s;
    hd_sha256_init(&s);
    hd_sha256_add(&s, "ab", 2);
    hd_sha256_add(&s, NULL, 0);
    hd_sha256_add(&s, "c", 1);
    assert_string_equal(hex(&s),
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

static void test_million(void **state)
{
    (void)state;
    hd_sha256 s;
    char a[1000];
    memset(a, 'a', sizeof a);
    hd_sha256_init(&s);
    for (int i = 0; i < 1000; i++) hd_sha256_add(&s, a, sizeof a);
    assert_string_equal(hex(&s),
                        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

/* However the text is cut; lengths around the padding's borders. */
static void test_pieces(void **state)
{
    (void)state;
    char data[200], want[2 * HD_SHA256_BYTES + 1];
    for (size_t i = 0; i < sizeof data; i++) data[i] = (char)(i * 37);
    for (size_t n = 0; n < sizeof data; n++) {
        hd_sha256 s;
        hd_sha256_init(&s);
        hd_sha256_add(&s, data, n);
        snprintf(want, sizeof want, "%s", hex(&s));
        for (size_t cut = 0; cut <= n; cut += 1 + n / 7) {
            hd_sha256_init(&s);
            hd_sha256_add(&s, data, cut);
            for (size_t i = cut; i < n; i++) hd_sha256_add(&s, data + i, 1);
            assert_string_equal(hex(&s), want);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_million),
        cmocka_unit_test(test_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
