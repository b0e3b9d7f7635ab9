/* The prefix cache against a plain list of what was added: same hits, right pages, nothing lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "dev/params.h"
#include "engine/prefix.h"

enum { SNAP_BYTES = 16, MAX_BLOCKS = 40 };

static hd_page_pool csa, hca;
static hd_prefix *cache;

static int set_up(void **state)
{
    (void)state;
    hd_err err = {0};
    assert_int_equal(hd_pages_init(&csa, MAX_BLOCKS, &err), HD_OK);
    assert_int_equal(hd_pages_init(&hca, MAX_BLOCKS, &err), HD_OK);
    hd_prefix_opts opts = {&csa, &hca, SNAP_BYTES, 3 * SNAP_BYTES};
    assert_int_equal(hd_prefix_create(&opts, &cache, &err), HD_OK);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    hd_prefix_destroy(cache);
    assert_int_equal(csa.n_free, MAX_BLOCKS);
    assert_int_equal(hca.n_free, MAX_BLOCKS);
    hd_pages_deinit(&csa);
    hd_pages_deinit(&hca);
    return 0;
}

/* Block number `tag` of a text: 128 ids that differ from all others in the last one only. */
static const int32_t *ids_of(int32_t tag)
{
    static int32_t ids[HD_SNAP_STEP];
    ids[HD_SNAP_STEP - 1] = tag;
    return ids;
}

/* n blocks with these tags, as one array. */
static const int32_t *text_of(const int32_t *tag, int32_t n)
{
    static int32_t ids[64 * HD_SNAP_STEP];
    for (int32_t i = 0; i < n; i++)
        memcpy(ids + i * HD_SNAP_STEP, ids_of(tag[i]), HD_SNAP_STEP * sizeof *ids);
    return ids;
}

/* What a sequence does: pages of its own, handed to the cache, then let go. */
static int32_t add(uint64_t group, int32_t parent, int32_t tag)
{
    if (!hd_prefix_make_room(cache, 1, 1)) return HD_PREFIX_NONE;
    int32_t c = hd_pages_take(&csa, 0), h = hd_pages_take(&hca, 0);
    int32_t block = hd_prefix_add(cache, group, parent, ids_of(tag), c, h);
    hd_pages_drop(&csa, c, 0);
    hd_pages_drop(&hca, h, 0);
    return block;
}

static void test_longest_path(void **state)
{
    (void)state;
    int32_t a = add(1, HD_PREFIX_NONE, 10), b = add(1, a, 11), c = add(1, a, 12);
    assert_int_equal(hd_prefix_end(cache, c), 256);
    const int32_t ab[] = {10, 11, 99}, ac[] = {10, 12}, none[] = {11, 10};
    assert_int_equal(hd_prefix_find(cache, 1, text_of(ab, 3), 3 * 128), b);
    assert_int_equal(hd_prefix_find(cache, 1, text_of(ac, 2), 256), c);
    assert_int_equal(hd_prefix_find(cache, 1, text_of(ac, 2), 255), a); /* only whole blocks */
    assert_int_equal(hd_prefix_find(cache, 1, text_of(ac, 2), 127), HD_PREFIX_NONE);
    assert_int_equal(hd_prefix_find(cache, 1, text_of(none, 2), 256), HD_PREFIX_NONE);
    assert_int_equal(hd_prefix_find(cache, 2, text_of(ab, 2), 256), HD_PREFIX_NONE); /* group */
    assert_int_equal(add(1, a, 11), b); /* there already */
}

static void test_pages(void **state)
{
    (void)state;
    int32_t path = HD_PREFIX_NONE, want_csa[34], got_csa[34], got_hca[2], page = -1;
    for (int32_t i = 0; i < 34; i++) { /* one page of ratio 128 for 32 blocks, as a sequence does */
        want_csa[i] = hd_pages_take(&csa, 0);
        if (i % 32 == 0) {
            if (page >= 0) hd_pages_drop(&hca, page, 0);
            page = hd_pages_take(&hca, 0);
        }
        path = hd_prefix_add(cache, 7, path, ids_of(i), want_csa[i], page);
        hd_pages_drop(&csa, want_csa[i], 0);
        assert_int_equal(hca.sealed[page], i % 32 + 1);
        assert_int_equal(csa.sealed[want_csa[i]], 32);
    }
    hd_prefix_pages(cache, path, got_csa, got_hca);
    assert_memory_equal(got_csa, want_csa, sizeof want_csa);
    assert_int_equal(got_hca[1], page);
    assert_int_equal(hca.holders[page], 3);        /* two blocks and the sequence */
    assert_int_equal(hca.holders[got_hca[0]], 32); /* the sequence let go */
    hd_pages_drop(&hca, page, 0);
}

/* Two sequences have made the same page of ratio 128, one block each: a third takes both over. */
static void test_settle(void **state)
{
    (void)state;
    int32_t own_csa[2], own_hca[1], got_csa[2], got_hca[1];
    int32_t first = add(7, HD_PREFIX_NONE, 1), path = add(7, first, 2);
    int32_t n_csa = csa.n_free, n_hca = hca.n_free;
    for (int32_t i = 0; i < 2; i++) own_csa[i] = hd_pages_take(&csa, 0);
    own_hca[0] = hd_pages_take(&hca, 0);
    hd_prefix_settle(cache, path, own_csa, own_hca);
    assert_int_equal(csa.n_free, n_csa); /* two were taken, two have become free */
    assert_int_equal(hca.n_free, n_hca + 1);
    assert_int_equal(hca.holders[own_hca[0]], 3);
    assert_int_equal(hca.sealed[own_hca[0]], 2);
    assert_int_equal(csa.sealed[own_csa[1]], 32);
    hd_prefix_pages(cache, path, got_csa, got_hca);
    assert_memory_equal(got_csa, own_csa, sizeof own_csa);
    assert_int_equal(got_hca[0], own_hca[0]);
    hd_prefix_settle(cache, path, own_csa, own_hca); /* once more changes nothing */
    assert_int_equal(hca.holders[own_hca[0]], 3);
    for (int32_t i = 0; i < 2; i++) hd_pages_drop(&csa, own_csa[i], 0);
    hd_pages_drop(&hca, own_hca[0], 0);
}

static void test_least_recently_used_leaves_go(void **state)
{
    (void)state;
    int32_t a = add(1, HD_PREFIX_NONE, 1), b = add(1, a, 2), c = add(1, HD_PREFIX_NONE, 3);
    const int32_t ab[] = {1, 2}, only_c[] = {3}, only_a[] = {1};
    hd_prefix_find(cache, 1, text_of(ab, 2), 256); /* c is the oldest now */
    assert_true(hd_prefix_make_room(cache, MAX_BLOCKS - 2, 0));
    assert_int_equal(hd_prefix_find(cache, 1, text_of(only_c, 1), 128), HD_PREFIX_NONE);
    assert_true(hd_prefix_make_room(cache, MAX_BLOCKS - 1, 0)); /* b before a, which it needs */
    assert_int_equal(hd_prefix_find(cache, 1, text_of(ab, 2), 256), a);
    hd_prefix_hold(cache, a);
    assert_false(hd_prefix_make_room(cache, MAX_BLOCKS, 0)); /* held */
    assert_int_equal(hd_prefix_find(cache, 1, text_of(only_a, 1), 128), a);
    hd_prefix_drop(cache, a);
    assert_true(hd_prefix_make_room(cache, MAX_BLOCKS, MAX_BLOCKS));
    hd_prefix_stats stats;
    hd_prefix_get_stats(cache, &stats);
    assert_int_equal(stats.n_blocks, 0);
    assert_int_equal(stats.n_evicted, 3);
    (void)b, (void)c;
}

static void test_snapshots(void **state)
{
    (void)state;
    int32_t a = add(1, HD_PREFIX_NONE, 1), b = add(1, a, 2), c = add(1, b, 3), d = add(1, c, 4);
    assert_int_equal(hd_prefix_snap_before(cache, d), HD_PREFIX_NONE);
    memset(hd_prefix_snap_put(cache, a), 'a', SNAP_BYTES);
    memset(hd_prefix_snap_put(cache, b), 'b', SNAP_BYTES);
    memset(hd_prefix_snap_put(cache, d), 'd', SNAP_BYTES);
    assert_int_equal(hd_prefix_snap_before(cache, c), b);
    assert_int_equal(hd_prefix_snap(cache, a)[SNAP_BYTES - 1], 'a'); /* b is the oldest now */
    memset(hd_prefix_snap_put(cache, c), 'c', SNAP_BYTES);
    assert_null(hd_prefix_snap(cache, b));
    assert_int_equal(hd_prefix_snap(cache, a)[0], 'a');
    assert_int_equal(hd_prefix_snap(cache, c)[0], 'c');
    assert_int_equal(hd_prefix_snap(cache, d)[0], 'd');
    assert_true(hd_prefix_make_room(cache, MAX_BLOCKS - 1, 0)); /* only a is left */
    assert_int_equal(hd_prefix_snap(cache, a)[0], 'a');
    hd_prefix_stats stats;
    hd_prefix_get_stats(cache, &stats);
    assert_int_equal(stats.n_snaps, 1);
    assert_int_equal(stats.n_snaps_evicted, 1);
}

static void test_no_snapshots(void **state)
{
    (void)state;
    hd_err err = {0};
    hd_prefix *p;
    hd_prefix_opts opts = {&csa, &hca, SNAP_BYTES, SNAP_BYTES - 1};
    assert_int_equal(hd_prefix_create(&opts, &p, &err), HD_OK);
    int32_t c = hd_pages_take(&csa, 0), h = hd_pages_take(&hca, 0);
    int32_t a = hd_prefix_add(p, 1, HD_PREFIX_NONE, ids_of(1), c, h);
    assert_null(hd_prefix_snap_put(p, a));
    hd_pages_drop(&csa, c, 0);
    hd_pages_drop(&hca, h, 0);
    hd_prefix_destroy(p);
}

/* What was found stays found until a block comes or goes; a front that others use outlives what is
 * behind it, and newer texts. */
static void test_version_and_front(void **state)
{
    (void)state;
    uint64_t v0 = hd_prefix_version(cache);
    int32_t a = add(1, HD_PREFIX_NONE, 10), b = add(1, a, 11);
    uint64_t v1 = hd_prefix_version(cache);
    assert_true(v0 != 0 && v1 != v0);
    assert_int_equal(add(1, a, 11), b); /* there already */
    assert_true(hd_prefix_version(cache) == v1);
    (void)add(2, HD_PREFIX_NONE, 20);
    const int32_t front[] = {10}, path[] = {10, 11}, newer[] = {20};
    assert_int_equal(hd_prefix_find(cache, 1, text_of(front, 1), 128), a);
    assert_true(hd_prefix_make_room(cache, MAX_BLOCKS - 1, 0)); /* b goes, then 20 */
    assert_true(hd_prefix_version(cache) != v1);
    assert_int_equal(hd_prefix_find(cache, 2, text_of(newer, 1), 128), HD_PREFIX_NONE);
    assert_int_equal(hd_prefix_find(cache, 1, text_of(path, 2), 256), a);
}

/* Random adds, finds and evictions, against a list of all paths ever added that must be there. */
static void test_random(void **state)
{
    (void)state;
    enum { DEPTH = 4, TAGS = 3, STEPS = 20000 };
    uint64_t n_drawn = 0;
    uint64_t n_hits = 0;
    for (int32_t step = 0; step < STEPS; step++) {
        int32_t tag[DEPTH];
        uint64_t group = hd_rng_at(1, n_drawn++) % 2;
        for (int32_t i = 0; i < DEPTH; i++) tag[i] = (int32_t)(hd_rng_at(1, n_drawn++) % TAGS);
        int32_t n = 1 + (int32_t)(hd_rng_at(1, n_drawn++) % DEPTH);
        int32_t at = hd_prefix_find(cache, group, text_of(tag, n), n * HD_SNAP_STEP);
        int32_t depth = hd_prefix_end(cache, at) / HD_SNAP_STEP;
        n_hits += depth == n;
        hd_prefix_hold(cache, at);
        for (int32_t i = depth; i < n; i++) {
            int32_t next = add(group, at, tag[i]);
            hd_prefix_hold(cache, next);
            hd_prefix_drop(cache, at);
            at = next;
            if (at == HD_PREFIX_NONE) break;
            if (hd_rng_at(1, n_drawn++) % 3 == 0 && hd_prefix_snap(cache, at) == NULL)
                memset(hd_prefix_snap_put(cache, at), tag[i], SNAP_BYTES);
        }
        assert_int_equal(hd_prefix_find(cache, group, text_of(tag, n), n * HD_SNAP_STEP), at);
        int32_t snap = hd_prefix_snap_before(cache, at);
        if (snap != HD_PREFIX_NONE)
            assert_int_equal(hd_prefix_snap(cache, snap)[3],
                             tag[hd_prefix_end(cache, snap) / HD_SNAP_STEP - 1]);
        hd_prefix_drop(cache, at);
        if (step % 50 == 0) hd_prefix_make_room(cache, (int32_t)(hd_rng_at(1, n_drawn++) % 30), 5);
    }
    assert_true(n_hits > STEPS / 20);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_longest_path), TEST(test_pages),
        TEST(test_settle),       TEST(test_least_recently_used_leaves_go),
        TEST(test_snapshots),    TEST(test_no_snapshots),
        TEST(test_random),       TEST(test_version_and_front),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
