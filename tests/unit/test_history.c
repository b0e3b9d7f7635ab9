/* What outlives a turn: the replay map, the seals, the keys. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/fs.h"
#include "base/mem.h"
#include "server/keys.h"
#include "server/replay.h"
#include "server/seal.h"
#include "support/tmpdir.h"

static void path_of(const char *name, char out[512])
{
    hd_err err = {0};
    assert_int_equal(hd_fs_join(test_tmpdir(), name, out, 512, &err), HD_OK);
}

static void write_text(const char *path, const char *text)
{
    hd_err err = {0};
    assert_int_equal(hd_fs_write_atomic(path, hd_str_from(text), &err), HD_OK);
}

/* ---- replay -----------------------------------------------------------------------------------*/

static void put(hd_replay *r, uint64_t group, int32_t tag, int32_t n)
{
    char id[2][32];
    int32_t *ids = hd_mem_calloc((size_t)n, sizeof *ids);
    for (int i = 0; i < 2; i++) snprintf(id[i], sizeof id[i], "call_%d_%d", tag, i);
    for (int32_t i = 0; i < n; i++) ids[i] = tag + i;
    const hd_str calls[] = {hd_str_from(id[0]), hd_str_from(id[1])};
    hd_replay_put(r, group, calls, 2, &(hd_replay_turn){ids, n, tag % 2 == 0});
    hd_mem_free(ids);
}

static bool has(hd_replay *r, uint64_t group, int32_t tag, int32_t i_call, int32_t n)
{
    char id[32];
    hd_arena arena;
    hd_replay_turn t;
    snprintf(id, sizeof id, "call_%d_%d", tag, i_call);
    hd_arena_init(&arena, 1 << 20);
    bool is_known = hd_replay_get(r, group, hd_str_from(id), &arena, &t);
    if (is_known) {
        assert_int_equal(t.n, n);
        assert_int_equal(t.thinks, tag % 2 == 0);
        for (int32_t k = 0; k < n; k++) assert_int_equal(t.ids[k], tag + k);
    }
    hd_arena_deinit(&arena);
    return is_known;
}

static void test_replay(void **state)
{
    (void)state;
    hd_err err = {0};
    hd_replay *r;
    assert_int_equal(hd_replay_create(NULL, 1 << 20, &r, &err), HD_OK);
    put(r, 7, 10, 5);
    put(r, 8, 11, 900);
    assert_true(has(r, 7, 10, 0, 5) && has(r, 7, 10, 1, 5) && has(r, 8, 11, 1, 900));
    assert_false(has(r, 8, 10, 0, 5)); /* another group's */
    assert_false(has(r, 7, 12, 0, 5));
    hd_replay_stats s;
    hd_replay_get_stats(r, &s);
    assert_int_equal(s.n_turns, 2);
    assert_int_equal(s.n_hits, 3);
    assert_int_equal(s.n_misses, 2);
    hd_replay_destroy(r);
}

static void test_replay_is_bounded(void **state)
{
    (void)state;
    hd_err err = {0};
    hd_replay *r;
    hd_replay_stats s;
    assert_int_equal(hd_replay_create(NULL, 20000, &r, &err), HD_OK);
    for (int32_t i = 0; i < 100; i++) {
        put(r, 1, i, 200);
        hd_replay_get_stats(r, &s);
        assert_true(s.n_bytes <= 20000);
        assert_true(has(r, 1, i, 0, 200));
    }
    assert_false(has(r, 1, 0, 0, 200));
    assert_true(has(r, 1, 95, 1, 200));
    put(r, 1, 500, 10000); /* larger than all: not kept, and nothing goes for it */
    assert_false(has(r, 1, 500, 0, 10000));
    assert_true(has(r, 1, 99, 0, 200));
    hd_replay_destroy(r);
}

static void test_replay_file(void **state)
{
    (void)state;
    hd_err err = {0};
    hd_replay *r;
    char path[512];
    struct stat info;
    path_of("replay.jsonl", path);
    assert_int_equal(hd_replay_create(path, 1 << 20, &r, &err), HD_OK);
    put(r, UINT64_MAX, 10, 5);
    put(r, 8, 11, 900);
    hd_replay_destroy(r);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    FILE *f = fopen(path, "a"); /* a line that was cut off, and two that are none of ours */
    fputs("{\"group\":1}\nnonsense\n{\"group\":8,\"thinks\":true,\"calls\":[\"x\"],\"ids\":[1", f);
    fclose(f);
    assert_int_equal(hd_replay_create(path, 1 << 20, &r, &err), HD_OK);
    assert_true(has(r, UINT64_MAX, 10, 1, 5) && has(r, 8, 11, 0, 900));
    put(r, 9, 12, 3);
    hd_replay_destroy(r);
    assert_int_equal(hd_replay_create(path, 1 << 20, &r, &err), HD_OK);
    hd_replay_stats s;
    hd_replay_get_stats(r, &s);
    assert_int_equal(s.n_turns, 3);
    assert_true(has(r, 9, 12, 0, 3));
    hd_replay_destroy(r);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_int_equal(hd_replay_create("/nonexistent/x", 1 << 20, &r, &err), HD_E_IO);
}

/* ---- seals ------------------------------------------------------------------------------------*/

static void test_seal(void **state)
{
    (void)state;
    hd_err err = {0};
    hd_sealer s, other;
    hd_buf seal, again;
    hd_ids ids;
    const int32_t want[] = {0, 5, 129279, 65536, 7};
    assert_int_equal(hd_sealer_init(&s, NULL, 129280, &err), HD_OK);
    assert_int_equal(hd_sealer_init(&other, NULL, 129280, &err), HD_OK);
    hd_buf_init(&seal, 4096);
    hd_buf_init(&again, 4096);
    hd_ids_init(&ids, 4096);
    for (size_t n = 0; n <= HD_COUNT(want); n++) {
        hd_buf_reset(&seal);
        hd_buf_reset(&again);
        hd_ids_reset(&ids);
        hd_seal(&s, 42, want, n, &seal);
        hd_seal(&s, 42, want, n, &again);
        assert_true(seal.len > 0);
        assert_memory_not_equal(seal.ptr, again.ptr, seal.len); /* no two are the same */
        assert_true(hd_unseal(&s, 42, hd_buf_str(&seal), &ids));
        assert_int_equal(ids.len, n);
        if (n) assert_memory_equal(ids.ptr, want, n * sizeof *want);
        assert_false(hd_unseal(&s, 43, hd_buf_str(&seal), &ids));
        assert_false(hd_unseal(&other, 42, hd_buf_str(&seal), &ids));
        assert_int_equal(ids.len, n);
    }
    for (size_t i = 0; i < seal.len; i++) { /* every character counts */
        char was = seal.ptr[i];
        seal.ptr[i] = was == 'A' ? 'Q' : 'A';
        assert_false(hd_unseal(&s, 42, hd_buf_str(&seal), &ids));
        seal.ptr[i] = was;
    }
    for (size_t n = 0; n < seal.len; n++)
        assert_false(hd_unseal(&s, 42, (hd_str){seal.ptr, n}, &ids));
    assert_false(
        hd_unseal(&s, 42, HD_STR("not a seal at all, but long enough to be one, or so"), &ids));
    hd_buf_deinit(&seal);
    hd_buf_deinit(&again);
    hd_ids_deinit(&ids);
}

static void test_seal_key_file(void **state)
{
    (void)state;
    hd_err err = {0};
    hd_sealer a, b;
    char path[512];
    struct stat info;
    path_of("seal.key", path);
    assert_int_equal(hd_sealer_init(&a, path, 100, &err), HD_OK);
    assert_int_equal(hd_sealer_init(&b, path, 100, &err), HD_OK);
    assert_memory_equal(a.key, b.key, sizeof a.key);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    write_text(path, "short");
    assert_int_equal(hd_sealer_init(&b, path, 100, &err), HD_E_FORMAT);
}

/* ---- keys -------------------------------------------------------------------------------------*/

static void test_keys(void **state)
{
    (void)state;
    hd_err err = {0};
    hd_keys k, more;
    char path[512];
    path_of("keys", path);
    write_text(path,
               "# ours\n\nsk-alpha-1 alice 3\nsk-beta-22\tbob # no limit\r\n  sk-gamma-3  \n");
    assert_int_equal(hd_keys_load(path, NULL, &k, &err), HD_OK);
    assert_int_equal(k.n, 3);
    assert_string_equal(hd_keys_find(&k, HD_STR("sk-alpha-1"))->name, "alice");
    assert_int_equal(hd_keys_find(&k, HD_STR("sk-alpha-1"))->max_running, 3);
    assert_int_equal(hd_keys_find(&k, HD_STR("sk-beta-22"))->max_running, 0);
    assert_string_equal(hd_keys_find(&k, HD_STR("sk-gamma-3"))->name, "key-3");
    assert_null(hd_keys_find(&k, HD_STR("sk-alpha-")));
    assert_null(hd_keys_find(&k, HD_STR("sk-alpha-12")));
    assert_null(hd_keys_find(&k, HD_STR("")));
    hd_keys_find(&k, HD_STR("sk-beta-22"))->n_running = 5;
    write_text(path, "sk-beta-22 bob 9\nsk-delta-4");
    assert_int_equal(hd_keys_load(path, &k, &more, &err), HD_OK);
    assert_int_equal(hd_keys_find(&more, HD_STR("sk-beta-22"))->n_running, 5);
    assert_null(hd_keys_find(&more, HD_STR("sk-alpha-1")));
    hd_keys_deinit(&k);
    hd_keys_deinit(&more);
}

static void test_bad_keys(void **state)
{
    (void)state;
    static const struct {
        const char *text, *says;
    } cases[] = {
        {"", "no key"},
        {"# nothing\n", "no key"},
        {"short", "line 1: a key has at least 8"},
        {"long-enough a b", "line 1: expected KEY NAME LIMIT"},
        {"long-enough a -1", "line 1: expected"},
        {"long-enough a 99999999999", "line 1: expected"},
        {"long-enough a 1 x", "line 1: expected"},
        {"long-enough a 1\nother-key-1\nlong-enough b", "line 3: this key was there before"},
    };
    char path[512];
    path_of("keys", path);
    for (size_t i = 0; i < HD_COUNT(cases); i++) {
        hd_err err = {0};
        hd_keys k;
        write_text(path, cases[i].text);
        assert_int_equal(hd_keys_load(path, NULL, &k, &err), HD_E_FORMAT);
        if (!strstr(err.text, cases[i].says)) fail_msg("'%s' lacks '%s'", err.text, cases[i].says);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_replay),        cmocka_unit_test(test_replay_is_bounded),
        cmocka_unit_test(test_replay_file),   cmocka_unit_test(test_seal),
        cmocka_unit_test(test_seal_key_file), cmocka_unit_test(test_keys),
        cmocka_unit_test(test_bad_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
