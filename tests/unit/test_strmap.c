/* The string map: many keys, odd keys, reuse, memory running out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/strmap.h"

#define N 20000

static char keys[N][16];

static hd_str key(size_t i)
{
    return (hd_str){keys[i], strlen(keys[i])};
}

static int make_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < N; i++) snprintf(keys[i], sizeof keys[i], "key-%zu", i * 7919);
    return 0;
}

static void many_keys_are_found_again(void **state)
{
    (void)state;
    hd_strmap m;
    hd_strmap_init(&m);
    assert_null(hd_strmap_get(&m, HD_STR("absent")));
    for (size_t i = 0; i < N; i++) {
        bool is_new;
        uint64_t *v = hd_strmap_try_put(&m, key(i), &is_new);
        assert_non_null(v);
        assert_true(is_new);
        assert_int_equal(*v, 0);
        *v = i;
    }
    assert_int_equal(m.n, N);
    for (size_t i = 0; i < N; i++) {
        bool is_new;
        assert_int_equal(*hd_strmap_get(&m, key(i)), i);
        assert_int_equal(*hd_strmap_try_put(&m, key(i), &is_new), i);
        assert_false(is_new);
    }
    assert_null(hd_strmap_get(&m, HD_STR("absent")));
    hd_strmap_deinit(&m);
}

static void keys_are_bytes(void **state)
{
    (void)state;
    static const hd_str odd[] = {{NULL, 0},         HD_STR("\0"),        HD_STR("\0\0"),
                                 HD_STR("a"),       HD_STR("a\0"),       HD_STR("12345678"),
                                 HD_STR("1234567"), HD_STR("12345678\0")};
    hd_strmap m;
    hd_strmap_init(&m);
    for (size_t i = 0; i < HD_COUNT(odd); i++) *hd_strmap_try_put(&m, odd[i], NULL) = i + 1;
    assert_int_equal(m.n, HD_COUNT(odd));
    for (size_t i = 0; i < HD_COUNT(odd); i++) assert_int_equal(*hd_strmap_get(&m, odd[i]), i + 1);
    hd_strmap_deinit(&m);
}

static void reset_empties(void **state)
{
    (void)state;
    hd_strmap m;
    hd_strmap_init(&m);
    hd_strmap_reset(&m);
    static const size_t sizes[] = {5, N, 3, 100, N, 0, 1};
    for (size_t r = 0; r < HD_COUNT(sizes); r++) {
        for (size_t i = 0; i < sizes[r]; i++) assert_non_null(hd_strmap_try_put(&m, key(i), NULL));
        assert_int_equal(m.n, sizes[r]);
        hd_strmap_reset(&m);
        assert_int_equal(m.n, 0);
        assert_null(hd_strmap_get(&m, key(0)));
    }
    hd_strmap_deinit(&m);
}

static void reserve_allocates_once(void **state)
{
    (void)state;
    hd_strmap m;
    hd_strmap_init(&m);
    assert_true(hd_strmap_try_reserve(&m, N));
    hd_mem_fail_after(0);
    for (size_t i = 0; i < N; i++)
        if (!hd_strmap_try_put(&m, key(i), NULL)) break;
    hd_mem_fail_after(-1);
    assert_int_equal(m.n, N);
    assert_false(hd_strmap_try_reserve(&m, SIZE_MAX));
    assert_false(hd_strmap_try_reserve(&m, SIZE_MAX / 8));
    hd_strmap_deinit(&m);
}

static void memory_out_loses_nothing(void **state)
{
    (void)state;
    hd_strmap m;
    hd_strmap_init(&m);
    for (size_t i = 0; i < 5; i++) *hd_strmap_try_put(&m, key(i), NULL) = i;
    hd_mem_fail_after(0);
    size_t i = 5;
    while (hd_strmap_try_put(&m, key(i), NULL)) i++;
    hd_mem_fail_after(-1);
    assert_in_range(i, 6, 16);
    assert_int_equal(m.n, i);
    for (size_t k = 0; k < 5; k++) assert_int_equal(*hd_strmap_get(&m, key(k)), k);
    hd_strmap_deinit(&m);
}

/* Every bit of every byte position must reach the hash. */
static void one_bit_changes_the_hash(void **state)
{
    (void)state;
    char text[24] = {0};
    for (size_t len = 0; len <= sizeof text; len++) {
        uint64_t plain = hd_hash_str((hd_str){text, len});
        assert_int_equal(plain, hd_hash_str((hd_str){text, len}));
        if (len) assert_true(plain != hd_hash_str((hd_str){text, len - 1}));
        for (size_t bit = 0; bit < 8 * len; bit++) {
            text[bit / 8] = (char)(1u << bit % 8);
            assert_true(plain != hd_hash_str((hd_str){text, len}));
            text[bit / 8] = 0;
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(many_keys_are_found_again),
        cmocka_unit_test(keys_are_bytes),
        cmocka_unit_test(reset_empties),
        cmocka_unit_test(reserve_allocates_once),
        cmocka_unit_test(memory_out_loses_nothing),
        cmocka_unit_test(one_bit_changes_the_hash),
    };
    return cmocka_run_group_tests(tests, make_keys, NULL);
}
