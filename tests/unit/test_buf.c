/* Bounded buffers: growth, the maximum, memory running out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/mem.h"

static void appends_in_order(void **state)
{
    (void)state;
    hd_buf b;
    hd_buf_init(&b, 100);
    hd_buf_addz(&b, "one ");
    hd_buf_add_str(&b, HD_STR("two "));
    hd_buf_addc(&b, '3');
    hd_buf_addf(&b, " %d-%s", 4, "five");
    hd_buf_add(&b, "\0!", 2);
    assert_int_equal(hd_buf_status(&b, "text", NULL), HD_OK);
    assert_true(hd_str_eq(hd_buf_str(&b), HD_STR("one two 3 4-five\0!")));
    assert_int_equal(b.ptr[b.len], '\0');
    hd_buf_deinit(&b);
}

static void an_empty_buffer_is_an_empty_slice(void **state)
{
    (void)state;
    hd_buf b;
    hd_buf_init(&b, 0);
    assert_int_equal(hd_buf_str(&b).len, 0);
    hd_buf_add(&b, NULL, 0);
    assert_int_equal(hd_buf_status(&b, "text", NULL), HD_OK);
    hd_buf_deinit(&b);
}

static void the_maximum_holds_to_the_byte(void **state)
{
    (void)state;
    hd_buf b;
    hd_err err;
    hd_buf_init(&b, 5);
    hd_buf_addz(&b, "12345");
    assert_int_equal(hd_buf_status(&b, "the text", NULL), HD_OK);
    hd_buf_addc(&b, '6');
    assert_int_equal(hd_buf_status(&b, "the text", &err), HD_E_LIMIT);
    assert_string_equal(err.text, "the text would be longer than 5 bytes");
    assert_true(hd_str_eqz(hd_buf_str(&b), "12345"));
    hd_buf_deinit(&b);
}

static void a_failed_buffer_stays_failed_until_reset(void **state)
{
    (void)state;
    hd_buf b;
    hd_buf_init(&b, 5);
    hd_buf_addz(&b, "123456");
    hd_buf_addf(&b, "%d", 1); /* would fit, but something is missing before it */
    assert_int_equal(b.len, 0);
    assert_int_equal(hd_buf_status(&b, "text", NULL), HD_E_LIMIT);
    hd_buf_reset(&b);
    hd_buf_addz(&b, "1");
    assert_int_equal(hd_buf_status(&b, "text", NULL), HD_OK);
    assert_int_equal(b.len, 1);
    hd_buf_deinit(&b);
}

static void memory_out_is_reported(void **state)
{
    (void)state;
    hd_buf b;
    hd_err err;
    hd_buf_init(&b, 1 << 20);
    hd_buf_addz(&b, "kept");
    hd_mem_fail_after(0);
    assert_null(hd_buf_room(&b, 1000));
    hd_mem_fail_after(-1);
    hd_buf_addc(&b, '!');
    assert_int_equal(hd_buf_status(&b, "the text", &err), HD_E_NOMEM);
    assert_string_equal(err.text, "out of memory for the text");
    assert_true(hd_str_eqz(hd_buf_str(&b), "kept"));
    hd_buf_deinit(&b);
}

static void room_is_not_counted_yet(void **state)
{
    (void)state;
    hd_buf b;
    hd_buf_init(&b, 64);
    char *p = hd_buf_room(&b, 64);
    assert_non_null(p);
    assert_int_equal(b.len, 0);
    assert_null(hd_buf_room(&b, 65));
    hd_buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appends_in_order),
        cmocka_unit_test(an_empty_buffer_is_an_empty_slice),
        cmocka_unit_test(the_maximum_holds_to_the_byte),
        cmocka_unit_test(a_failed_buffer_stays_failed_until_reset),
        cmocka_unit_test(memory_out_is_reported),
        cmocka_unit_test(room_is_not_counted_yet),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
