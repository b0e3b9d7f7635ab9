/* The index of the files on disk: finding by key, leaves go first, longer segments replace shorter
 * ones. The order is checked against a model that knows only who depends on whom. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "engine/disk_index.h"

static hd_disk_key key_of(uint32_t text, uint32_t block)
{
    hd_disk_key k = {{0}};
    memcpy(k.byte, &text, sizeof text); /* few buckets: chains are long */
    memcpy(k.byte + 8, &block, sizeof block);
    return k;
}

/* Blocks first … first + n − 1 of a text; a snapshot at the end of block `first` when n is 0. */
static hd_disk_head head_of(uint32_t text, uint32_t first, uint32_t n)
{
    hd_disk_head h = {.kind = n ? HD_DISK_ROWS : HD_DISK_SNAP,
                      .from = first * HD_DISK_BLOCK,
                      .n_blocks = n ? n : 1,
                      .block_bytes = 100};
    for (uint32_t i = 0; i < h.n_blocks; i++) h.key[i] = key_of(text, first + i);
    h.parent = n ? key_of(text, first - 1) : h.key[0];
    return h;
}

static int32_t add(hd_disk_index *ix, uint32_t text, uint32_t first, uint32_t n)
{
    hd_disk_head h = head_of(text, first, n);
    return hd_disk_index_add(ix, &h, false);
}

static hd_disk_index *make(int32_t n)
{
    hd_err err = {0};
    hd_disk_index *ix = NULL;
    assert_int_equal(hd_disk_index_create(n, &ix, &err), HD_OK);
    return ix;
}

static int32_t find(const hd_disk_index *ix, hd_disk_kind kind, uint32_t text, uint32_t block)
{
    hd_disk_key k = key_of(text, block);
    return hd_disk_index_find(ix, kind, &k);
}

static void test_find(void **state)
{
    (void)state;
    hd_disk_index *ix = make(8);
    int32_t a = add(ix, 1, 0, 32), b = add(ix, 1, 32, 5), s = add(ix, 1, 36, 0);
    assert_int_equal(find(ix, HD_DISK_ROWS, 1, 0), a);
    assert_int_equal(find(ix, HD_DISK_ROWS, 1, 31), a);
    assert_int_equal(find(ix, HD_DISK_ROWS, 1, 36), b);
    assert_int_equal(find(ix, HD_DISK_ROWS, 1, 37), HD_DISK_NONE);
    assert_int_equal(find(ix, HD_DISK_ROWS, 2, 0), HD_DISK_NONE);
    assert_int_equal(find(ix, HD_DISK_SNAP, 1, 36), s);
    assert_int_equal(find(ix, HD_DISK_SNAP, 1, 31), HD_DISK_NONE);
    assert_int_equal(hd_disk_index_count(ix), 3);
    assert_int_equal(hd_disk_index_bytes(ix), 3 * HD_DISK_HEAD_BYTES + 3800);
    hd_disk_index_remove(ix, b);
    assert_int_equal(find(ix, HD_DISK_ROWS, 1, 36), HD_DISK_NONE);
    assert_int_equal(find(ix, HD_DISK_SNAP, 1, 36), s);
    hd_disk_index_destroy(ix);
}

/* A file that can be read is preferred; one that is being written is not thrown out. */
static void test_busy(void **state)
{
    (void)state;
    hd_disk_index *ix = make(8);
    hd_disk_head h = head_of(1, 0, 9);
    int32_t a = add(ix, 1, 0, 4), b = hd_disk_index_add(ix, &h, true);
    assert_int_equal(find(ix, HD_DISK_ROWS, 1, 3), a);
    assert_int_equal(find(ix, HD_DISK_ROWS, 1, 8), b);
    assert_true(hd_disk_index_at(ix, b)->is_busy);
    hd_disk_index_remove(ix, a);
    assert_int_equal(hd_disk_index_oldest(ix), HD_DISK_NONE);
    hd_disk_index_ready(ix, b);
    assert_int_equal(hd_disk_index_oldest(ix), b);
    hd_disk_index_destroy(ix);
}

static void test_covered(void **state)
{
    (void)state;
    hd_disk_index *ix = make(16);
    int32_t shorter = add(ix, 1, 0, 4), other = add(ix, 2, 0, 4), next = add(ix, 1, 32, 4);
    hd_disk_head parts = head_of(1, 0, 6);
    parts.key[5] = key_of(3, 5); /* goes another way behind five blocks */
    int32_t longer = add(ix, 1, 0, 9), branch = hd_disk_index_add(ix, &parts, false);
    assert_int_equal(hd_disk_index_covered(ix, longer), shorter);
    assert_int_equal(hd_disk_index_covered(ix, other), HD_DISK_NONE);
    assert_int_equal(hd_disk_index_covered(ix, next), HD_DISK_NONE);
    hd_disk_index_remove(ix, shorter);
    assert_int_equal(hd_disk_index_covered(ix, longer), HD_DISK_NONE);
    assert_int_equal(hd_disk_index_covered(ix, branch), HD_DISK_NONE);
    hd_disk_index_destroy(ix);
}

/* Whether another file stands on this one. */
static bool is_needed(const hd_disk_index *ix, const bool *is_there, int32_t file, int32_t n)
{
    const hd_disk_entry *e = hd_disk_index_at(ix, file);
    if (e->kind == HD_DISK_SNAP) return false;
    for (int32_t i = 0; i < n; i++) {
        if (!is_there[i] || i == file) continue;
        const hd_disk_key *parent = &hd_disk_index_at(ix, i)->parent;
        for (uint32_t b = 0; b < e->n_blocks; b++)
            if (memcmp(parent, &e->key[b], sizeof *parent) == 0) return true;
    }
    return false;
}

static void test_leaves_first(void **state)
{
    (void)state;
    enum { N = 24 };
    bool is_there[N] = {0};
    int32_t n_evicted = 0;
    hd_disk_index *ix = make(N);
    uint64_t n = 0, key = hd_rng_key(3, 3);
    for (int step = 0; step < 20000; step++) {
        uint32_t text = (uint32_t)hd_rng_below(hd_rng_at(key, n++), 4);
        uint32_t segment = (uint32_t)hd_rng_below(hd_rng_at(key, n++), 5);
        uint32_t what = (uint32_t)hd_rng_below(hd_rng_at(key, n++), 3);
        int32_t at = find(ix, HD_DISK_ROWS, text, segment * 32 + 31);
        bool has_parent =
            segment == 0 || find(ix, HD_DISK_ROWS, text, segment * 32 - 1) != HD_DISK_NONE;
        if (what == 0 && at != HD_DISK_NONE) hd_disk_index_touch(ix, at);
        if (hd_disk_index_is_full(ix)) {
            int32_t oldest = hd_disk_index_oldest(ix);
            assert_true(is_there[oldest] && !is_needed(ix, is_there, oldest, N));
            hd_disk_index_remove(ix, oldest);
            is_there[oldest] = false;
            n_evicted++;
        } else if (what == 1 && at == HD_DISK_NONE && has_parent) {
            is_there[add(ix, text, segment * 32, 32)] = true;
        } else if (what == 2 && at != HD_DISK_NONE &&
                   find(ix, HD_DISK_SNAP, text, segment * 32 + 9) == HD_DISK_NONE) {
            is_there[add(ix, text, segment * 32 + 9, 0)] = true;
        }
    }
    assert_true(n_evicted > 1000);
    hd_disk_index_destroy(ix);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_busy),
        cmocka_unit_test(test_covered),
        cmocka_unit_test(test_leaves_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
