/* The allocator: sizes, overflow, injected failures. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"

static void calloc_gives_zeroed_memory(void **state)
{
    (void)state;
    unsigned char *p = hd_mem_try_calloc(1000, 7);
    assert_non_null(p);
    for (size_t i = 0; i < 7000; i++) assert_int_equal(p[i], 0);
    hd_mem_free(p);
}

static void nothing_is_still_a_pointer(void **state)
{
    (void)state;
    void *a = hd_mem_try_calloc(0, 8), *b = hd_mem_try_calloc(8, 0);
    assert_non_null(a);
    assert_non_null(b);
    assert_ptr_not_equal(a, b);
    hd_mem_free(a);
    hd_mem_free(b);
}

static void overflowing_products_are_refused(void **state)
{
    (void)state;
    char *p = hd_mem_try_calloc(4, 1);
    memcpy(p, "abc", 4);
    assert_null(hd_mem_try_calloc(SIZE_MAX / 2, 3));
    assert_null(hd_mem_try_realloc(p, SIZE_MAX / 4 + 1, 4));
    assert_string_equal(p, "abc"); /* realloc left it alone */
    p = hd_mem_try_realloc(p, 100, 100);
    assert_string_equal(p, "abc");
    hd_mem_free(p);
}

static void aligned_memory_is_aligned(void **state)
{
    (void)state;
    for (size_t align = 8; align <= 4096; align *= 2) {
        char *p = hd_mem_try_aligned(align, 100);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % align, 0);
        memset(p, 1, 100);
        hd_mem_free(p);
    }
}

static void failures_are_injected_after_n(void **state)
{
    (void)state;
    void *p[3];
    hd_mem_fail_after(2);
    for (int i = 0; i < 3; i++) p[i] = hd_mem_try_calloc(1, 1);
    void *aligned = hd_mem_try_aligned(64, 64), *grown = hd_mem_try_realloc(p[0], 2, 1);
    hd_mem_fail_after(-1);
    assert_non_null(p[0]);
    assert_non_null(p[1]);
    assert_null(p[2]);
    assert_null(aligned);
    assert_null(grown);
    hd_mem_free(p[0]);
    hd_mem_free(p[1]);
    p[0] = hd_mem_try_calloc(1, 1);
    assert_non_null(p[0]);
    hd_mem_free(p[0]);
}

static void strdup_copies(void **state)
{
    (void)state;
    char src[] = "text", *p = hd_mem_strdup(src);
    src[0] = 'n';
    assert_string_equal(p, "text");
    hd_mem_free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calloc_gives_zeroed_memory),
        cmocka_unit_test(nothing_is_still_a_pointer),
        cmocka_unit_test(overflowing_products_are_refused),
        cmocka_unit_test(aligned_memory_is_aligned),
        cmocka_unit_test(failures_are_injected_after_n),
        cmocka_unit_test(strdup_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
