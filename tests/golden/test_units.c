/* Single primitives against golden values that DeepSeek's reference code made (units.safetensors),
 * through the op table of every device that this machine can open. The checks and their bounds are
 * in src/verify/golden_units*.c; they are what `hadal verify` begins with. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "support/devtest.h"
#include "verify/golden.h"

static hd_st *units;

typedef struct tally {
    const char *label;
    int n, n_bad;
} tally;

static void print_result(void *ctx, const hd_golden_result *r)
{
    tally *t = ctx;
    bool ok = r->error <= r->bound;
    printf("  %-16s %-24s error %.2e, bound %.0e%s\n", t->label, r->what, r->error, r->bound,
           ok ? "" : " FAILED");
    t->n++;
    t->n_bad += !ok;
}

static void test_ref(void **state)
{
    (void)state;
    tally t = {.label = "hostref"};
    hd_golden_units_ref(units, print_result, &t);
    assert_int_equal(t.n, 3);
    assert_int_equal(t.n_bad, 0);
}

static void test_devices(void **state)
{
    (void)state;
    int n_devices = 0;
    for (const devtest_spec *spec = devtest_specs; spec->name; spec++) {
        devtest device;
        hd_err err = {0};
        if (!devtest_open(&device, spec, NULL)) {
            printf("  %s %s: not here, skipped\n", spec->name, spec->isa ? spec->isa : "");
            continue;
        }
        tally t = {.label = device.label};
        devtest_check(&device, hd_golden_units(units, &device.on, print_result, &t, &err),
                      "golden units");
        assert_int_equal(t.n, 21);
        assert_int_equal(t.n_bad, 0);
        devtest_close(&device);
        n_devices++;
    }
    assert_true(n_devices >= 4); /* ref plain, deferred and traced, cpu in portable code */
}

int main(void)
{
    hd_err err = {0};
    if (hd_golden_units_open(HD_TEST_DATA "/model/units.safetensors", &units, &err) != HD_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ref),
        cmocka_unit_test(test_devices),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hd_st_close(units);
    return failed;
}
