/* The checksum of bulk data: values of the xxHash library (xxhash.h 0.8.1) over d[i] = 37 i + 11.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/checksum.h"
#include "base/compiler.h"

static const struct {
    size_t n;
    uint64_t want;
} cases[] = {
    {0, 0xef46db3751d8e999},   {1, 0xf592c0c7639c4cb6},   {3, 0x22c08528601d4f27},
    {4, 0xfb1e5cf2f1ae4d95},   {7, 0x5613ac510496c04e},   {8, 0x57cb2b7521f3e21a},
    {15, 0x90a9714eb00e8d29},  {31, 0xe4a0e629e519a4ae},  {32, 0xcc6b8aaada790b2d},
    {33, 0x35ec49850475a832},  {63, 0xbf9f0ba3cf95b28a},  {64, 0x155ccce4bf32befc},
    {100, 0x4826e367566ea023}, {255, 0x178ea4a7d2319abe}, {300, 0x8923b28a8498a506},
};

static void test_known(void **state)
{
    (void)state;
    uint8_t data[304];
    for (size_t shift = 0; shift < 4; shift++) { /* aligned or not */
        for (size_t i = 0; i < 300; i++) data[i + shift] = (uint8_t)(i * 37 + 11);
        for (size_t i = 0; i < HD_COUNT(cases); i++)
            if (hd_checksum(data + shift, cases[i].n) != cases[i].want)
                fail_msg("%zu bytes", cases[i].n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_known)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
