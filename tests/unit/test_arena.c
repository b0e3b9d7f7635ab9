/* Arenas: alignment, zeroing, the maximum, reset, memory running out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/mem.h"

static void pieces_are_aligned_zeroed_and_apart(void **state)
{
    (void)state;
    hd_arena a;
    unsigned char *p[300];
    hd_arena_init(&a, 1 << 20);
    for (size_t i = 0; i < 300; i++) {
        p[i] = hd_arena_try_alloc(&a, i, 3);
        assert_non_null(p[i]);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
        for (size_t k = 0; k < 3 * i; k++) assert_int_equal(p[i][k], 0);
        memset(p[i], (int)i, 3 * i);
    }
    for (size_t i = 0; i < 300; i++)
        for (size_t k = 0; k < 3 * i; k++) assert_int_equal(p[i][k], (unsigned char)i);
    assert_true(a.used_bytes <= a.held_bytes);
    hd_arena_deinit(&a);
}

static void the_maximum_is_never_passed(void **state)
{
    (void)state;
    hd_arena a;
    hd_arena_init(&a, 10000);
    size_t n = 0;
    while (hd_arena_try_alloc(&a, 1, 100)) n++;
    assert_true(a.held_bytes <= 10000);
    assert_in_range(n, 80, 100); /* and most of it can be used */
    assert_null(hd_arena_try_alloc(&a, SIZE_MAX, 1));
    assert_null(hd_arena_try_alloc(&a, SIZE_MAX - 20, 1));
    assert_null(hd_arena_try_alloc(&a, SIZE_MAX / 2, 3));
    hd_arena_deinit(&a);
}

static void one_large_piece_fits(void **state)
{
    (void)state;
    hd_arena a;
    hd_arena_init(&a, 64 << 20);
    char *p = hd_arena_try_alloc(&a, 32 << 20, 1);
    assert_non_null(p);
    p[(32 << 20) - 1] = 1;
    assert_null(hd_arena_try_alloc(&a, 32 << 20, 1));
    hd_arena_deinit(&a);
}

static void reset_makes_room_again(void **state)
{
    (void)state;
    hd_arena a;
    hd_arena_init(&a, 100000);
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 20; i++) {
            unsigned char *p = hd_arena_try_alloc(&a, 1000, 1);
            assert_non_null(p);
            assert_int_equal(p[999], 0);
            memset(p, 0xFF, 1000);
        }
        hd_arena_reset(&a);
        assert_int_equal(a.used_bytes, 0);
    }
    hd_arena_deinit(&a);
    hd_arena_init(&a, 100);
    hd_arena_reset(&a); /* nothing held yet */
    hd_arena_deinit(&a);
}

static void dup_copies_and_ends_with_nul(void **state)
{
    (void)state;
    hd_arena a;
    hd_arena_init(&a, 10000);
    hd_str s = hd_arena_dup(&a, HD_STR("a\0b"));
    assert_true(hd_str_eq(s, HD_STR("a\0b")));
    assert_int_equal(s.ptr[3], '\0');
    hd_str empty = hd_arena_dup(&a, (hd_str){0});
    assert_non_null(empty.ptr);
    assert_int_equal(empty.len, 0);
    hd_arena_deinit(&a);
}

static void memory_out_is_null(void **state)
{
    (void)state;
    hd_arena a;
    hd_arena_init(&a, 1 << 20);
    hd_mem_fail_after(0);
    assert_null(hd_arena_try_alloc(&a, 1, 1));
    hd_str s = hd_arena_dup(&a, HD_STR("text"));
    hd_mem_fail_after(-1);
    assert_null(s.ptr);
    assert_non_null(hd_arena_try_alloc(&a, 1, 1));
    hd_arena_deinit(&a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_aligned_zeroed_and_apart),
        cmocka_unit_test(the_maximum_is_never_passed),
        cmocka_unit_test(one_large_piece_fits),
        cmocka_unit_test(reset_makes_room_again),
        cmocka_unit_test(dup_copies_and_ends_with_nul),
        cmocka_unit_test(memory_out_is_null),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
