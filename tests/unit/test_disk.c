/* The prefix cache on disk: what a program before has computed is found again, with the bits of a
 * run from the start; whatever happens to the files, answers stay right. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rng.h"
#include "engine/disk_file.h"
#include "engine/sched.h"
#include "support/schedrun.h"
#include "support/tmpdir.h"

enum { MAX_TEXT = 4500, N_SNAPS = 64, N_RANDOM = 16 };

typedef struct job {
    hd_request r;
    int32_t text[MAX_TEXT];
    uint64_t seen[MAX_TEXT]; /* hash of the logits of each token */
    bool is_done;
} job;

static const modelrun_device fastest = {"cpu", NULL};

/* ---- one program's life ------------------------------------------------------------------------
 */

/* A model and a scheduler over a directory: what a program has from its start to its end. */
typedef struct life {
    const char *preset; /* NULL: "unit" */
    const modelrun_device *device;
    int64_t kv_tokens;
    int32_t max_seqs, chunk;
    uint64_t budget;
    hd_model *m;
    hd_sched *s;
} life;

static bool on_token(void *ctx, hd_request *r, const float *logits)
{
    (void)ctx;
    ((job *)r->owner)->seen[r->n_text - 1] = schedrun_hash(logits);
    return true;
}

static void on_done(void *ctx, hd_request *r)
{
    (void)ctx;
    ((job *)r->owner)->is_done = true;
}

static void begin(life *l, const char *dir)
{
    hd_err err = {0};
    hd_model_opts model = {
        .max_seqs = l->max_seqs ? l->max_seqs : 2, .max_ctx = MAX_TEXT, .kv_tokens = l->kv_tokens};
    l->m = modelrun_open(modelrun_synth(l->preset ? l->preset : "unit"),
                         l->device ? l->device : &fastest, model);
    hd_sched_opts opts = {.model = l->m,
                          .snap_budget = N_SNAPS * hd_v4_snap_bytes(l->m),
                          .chunk = l->chunk,
                          .cache_dir = dir,
                          .cache_dir_bytes = l->budget,
                          .on_token = on_token,
                          .on_done = on_done};
    modelrun_check(hd_sched_create(&opts, &l->s, &err), "hd_sched_create", &err);
}

static hd_disk_stats end(life *l)
{
    hd_disk_stats stats;
    hd_sched_get_disk_stats(l->s, &stats);
    hd_sched_destroy(l->s);
    for (int k = 0; k < HD_PAGE_KINDS; k++)
        assert_int_equal(l->m->state.pool[k].n_free, l->m->state.pool[k].n_pages);
    hd_model_close(l->m);
    return stats;
}

static void add(life *l, job *j)
{
    hd_err err = {0};
    modelrun_check(hd_sched_add(l->s, &j->r, &err), "hd_sched_add", &err);
}

static void drain(life *l)
{
    hd_err err = {0};
    hd_status st;
    while ((st = hd_sched_step(l->s, &err)) == HD_OK);
    if (st != HD_E_NOTFOUND) fail_msg("%s", err.text);
}

/* ---- jobs --------------------------------------------------------------------------------------
 */

static job *made(int32_t n_prompt, int32_t n_new, uint64_t flavour)
{
    job *j = hd_mem_calloc(1, sizeof *j);
    for (int32_t k = 0; k < n_prompt; k++)
        j->text[k] = (int32_t)hd_rng_below(hd_rng_at(hd_rng_key(5, flavour), (uint64_t)k), 400);
    j->r = (hd_request){.id = flavour,
                        .text = j->text,
                        .n_prompt = n_prompt,
                        .max_new = n_new,
                        .how = HD_SAMPLING_DEFAULT,
                        .ignores_eos = true,
                        .owner = j};
    j->r.how.seed = flavour;
    return j;
}

/* The same question again. */
static job *again(const job *j)
{
    job *o = hd_mem_calloc(1, sizeof *o);
    memcpy(o->text, j->text, sizeof o->text);
    o->r = (hd_request){.id = j->r.id,
                        .text = o->text,
                        .n_prompt = j->r.n_prompt,
                        .max_new = j->r.max_new,
                        .how = j->r.how,
                        .group = j->r.group,
                        .ignores_eos = true,
                        .owner = o};
    return o;
}

static void check_same(const job *got, const job *want)
{
    assert_true(got->is_done && got->r.end != HD_END_FAILED);
    assert_int_equal(got->r.n_text, want->r.n_text);
    for (int32_t i = want->r.n_prompt; i < want->r.n_text; i++)
        if (got->text[i] != want->text[i] || got->seen[i] != want->seen[i])
            fail_msg("request %" PRIu64 " differs at place %d", got->r.id, i);
}

/* j in a life of its own; frees nothing. */
static hd_disk_stats live(const char *dir, life l, job *j)
{
    begin(&l, dir);
    add(&l, j);
    drain(&l);
    return end(&l);
}

/* `want` once more over the directory: same answer, so many positions skipped. */
static hd_disk_stats check_again(const char *dir, life l, const job *want, int32_t n_cached)
{
    job *j = again(want);
    hd_disk_stats s = live(dir, l, j);
    check_same(j, want);
    assert_int_equal(j->r.n_cached, n_cached);
    hd_mem_free(j);
    return s;
}

/* ---- the directory -----------------------------------------------------------------------------
 */

typedef struct file_path {
    char text[512];
} file_path;

typedef struct files {
    size_t n;
    uint64_t bytes;
    file_path path[256];
} files;

static void add_files(const char *dir, files *f)
{
    struct stat st;
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));) {
        char path[512];
        if (e->d_name[0] == '.') continue;
        snprintf(path, sizeof path, "%.200s/%.250s", dir, e->d_name);
        if (lstat(path, &st) != 0) continue; /* another process is at it */
        if (S_ISDIR(st.st_mode)) {
            assert_int_equal(st.st_mode & 0777, 0700);
            add_files(path, f);
        } else if (hd_disk_is_name(e->d_name)) {
            if (st.st_size > 4096) assert_int_equal(st.st_mode & 0777, 0600); /* it is ours */
            assert_true(f->n < 256);
            f->bytes += (uint64_t)st.st_size;
            memcpy(f->path[f->n++].text, path, sizeof path);
        }
    }
    closedir(d);
}

static int by_name(const void *a, const void *b)
{
    const file_path *x = a, *y = b;
    return strcmp(x->text, y->text);
}

/* All files of rows and snapshots, in order. */
static const files *files_of(const char *dir)
{
    static files f;
    f = (files){0};
    add_files(dir, &f);
    qsort(f.path, f.n, sizeof f.path[0], by_name);
    return &f;
}

static void copy_file(const char *from, const char *to)
{
    test_write(to, test_read(from));
}

static bool is_there(const char *path)
{
    return access(path, F_OK) == 0;
}

/* The identity directory; there is one. */
static const char *inner_dir(const char *dir)
{
    static file_path path;
    path = files_of(dir)->path[0];
    *strrchr(path.text, '/') = '\0';
    return path.text;
}

/* A new cache directory with what a life with j has left there. */
static const char *filled(job *j)
{
    const char *dir = test_path(test_tmpdir(), "cache");
    char *kept = hd_mem_strdup(dir); /* paths of test_path are used in turn */
    static char *dirs[64];
    static size_t n;
    HD_ASSERT(n < HD_COUNT(dirs));
    dirs[n++] = kept;
    if (j) live(kept, (life){0}, j);
    return kept;
}

/* ---- hits --------------------------------------------------------------------------------------
 */

static void test_restart(void **state)
{
    (void)state;
    job *alone = made(700, 30, 1), *first = again(alone);
    live(NULL, (life){0}, alone);
    const char *dir = filled(NULL);
    hd_disk_stats s = live(dir, (life){0}, first);
    check_same(first, alone);
    assert_int_equal(first->r.n_cached, 0);
    assert_true(s.n_hits == 0 && s.n_write_errors == 0 && s.n_skipped == 0);
    assert_int_equal(files_of(dir)->n, 2); /* rows, snapshot */
    s = check_again(dir, (life){0}, alone, 640);
    assert_true(s.n_hits == 1 && s.n_restored == 640 && s.n_snaps_restored == 1);
    assert_true(s.n_written == 0 && s.n_bad == 0);
    /* Other devices with the same bits, other chunks. */
    check_again(dir, (life){.device = &(modelrun_device){"ref", NULL}, .chunk = 100}, alone, 640);
    s = check_again(dir, (life){.device = &(modelrun_device){"defer:cpu", NULL}}, alone, 640);
    assert_true(s.n_restored == 640);
    hd_mem_free(alone);
    hd_mem_free(first);
}

/* A text of two segments; then one that parts from it within the second, behind a snapshot. */
static void test_segments(void **state)
{
    (void)state;
    job *one = made(4400, 10, 2), *two = again(one);
    for (int32_t k = 4250; k < 4400; k++) two->text[k] = (k * 7) % 400;
    live(NULL, (life){0}, two);
    const char *dir = filled(one);
    /* One segment and a part of one, a snapshot each. */
    assert_int_equal(files_of(dir)->n, 4);
    check_again(dir, (life){0}, one, 4352);
    /* They share 33 blocks, to 4224; the snapshot at 4096 is the nearest before. */
    hd_disk_stats s = check_again(dir, (life){0}, two, 4096);
    assert_true(s.n_restored == 4096 && s.n_snaps_restored == 1);
    assert_int_equal(files_of(dir)->n, 6); /* each has its own second segment */
    s = check_again(dir, (life){0}, one, 4352);
    assert_true(s.n_restored == 4352 && s.n_snaps_restored == 1);
    /* Without the snapshots: rows alone, and a replay of 128 · layers = 512 positions. */
    const files *f = files_of(dir);
    for (size_t i = 0; i < f->n; i++)
        if (strstr(f->path[i].text, ".snap")) assert_int_equal(unlink(f->path[i].text), 0);
    s = check_again(dir, (life){0}, one, 4352 - 512);
    assert_true(s.n_restored == 4352 && s.n_snaps_restored == 0);
    hd_mem_free(one);
    hd_mem_free(two);
}

/* A longer part of a segment takes the place of a shorter one. */
static void test_turns(void **state)
{
    (void)state;
    job *turn = made(300, 10, 3);
    const char *dir = filled(turn);
    size_t n_rows = 0;
    for (int i = 0; i < 4; i++) {
        job *next = made(turn->r.n_text + 200, 10, 3), *alone;
        memcpy(next->text, turn->text, (size_t)turn->r.n_text * sizeof *turn->text);
        alone = again(next);
        live(NULL, (life){0}, alone);
        live(dir, (life){0}, next);
        check_same(next, alone);
        assert_int_equal(next->r.n_cached, turn->r.n_text / 128 * 128);
        hd_mem_free(alone);
        hd_mem_free(turn);
        turn = next;
    }
    const files *f = files_of(dir);
    for (size_t i = 0; i < f->n; i++) n_rows += strstr(f->path[i].text, ".rows") != NULL;
    assert_int_equal(n_rows, 1);
    hd_mem_free(turn);
}

/* Rows of the beginning are in memory, the rest comes from disk behind them, in the same page of
 * ratio 128. */
static void test_behind_memory(void **state)
{
    (void)state;
    job *all = made(1500, 10, 4), *begins = made(700, 5, 4), *rest = again(all);
    const char *dir = filled(all);
    life l = {0};
    begin(&l, dir);
    /* Another group of files: this life computes the beginning itself. */
    const files *f = files_of(dir);
    char aside[2][600];
    assert_int_equal(f->n, 2);
    for (int i = 0; i < 2; i++) {
        snprintf(aside[i], sizeof aside[i], "%s.away", f->path[i].text);
        assert_int_equal(rename(f->path[i].text, aside[i]), 0);
    }
    add(&l, begins);
    drain(&l);
    assert_int_equal(begins->r.n_cached, 0); /* asked for, gone: a miss */
    hd_disk_stats s = end(&l);
    assert_true(s.n_read_errors == 0 && s.n_hits == 0);
    for (int i = 0; i < 2; i++) assert_int_equal(rename(aside[i], f->path[i].text), 0);

    job *second = again(begins);
    begin(&l, dir);
    add(&l, second);
    drain(&l);
    assert_true(second->r.n_cached == 640);
    add(&l, rest);
    drain(&l);
    check_same(rest, all);
    assert_int_equal(rest->r.n_cached, 1408);
    s = end(&l);
    assert_true(s.n_hits == 2 && s.n_restored == 1408);
    hd_mem_free(all);
    hd_mem_free(begins);
    hd_mem_free(rest);
    hd_mem_free(second);
}

/* ---- misses ------------------------------------------------------------------------------------
 */

static void test_other_owners(void **state)
{
    (void)state;
    job *j = made(700, 10, 5), *mtp = again(j);
    const char *dir = filled(j);
    job *other = again(j);
    other->r.group = 77;
    hd_disk_stats s = live(dir, (life){0}, other);
    check_same(other, j);
    assert_true(other->r.n_cached == 0 && s.n_hits == 0);
    assert_int_equal(files_of(dir)->n, 4); /* its own */
    /* Another model has a directory of its own. */
    s = live(dir, (life){.preset = "unit-mtp"}, mtp);
    assert_true(mtp->r.n_cached == 0 && s.n_files == 2 && files_of(dir)->n == 6);
    check_again(dir, (life){.preset = "unit-mtp"}, mtp, 640);
    check_again(dir, (life){0}, j, 640);
    /* Without the secret nobody finds anything. */
    assert_int_equal(unlink(test_path(dir, "secret")), 0);
    s = check_again(dir, (life){0}, j, 0);
    assert_int_equal(s.n_bad, 0);
    hd_mem_free(j);
    hd_mem_free(other);
    hd_mem_free(mtp);
}

static void flip(const char *path, size_t at)
{
    hd_str data = test_read(path);
    char *bytes = hd_mem_calloc(1, data.len);
    memcpy(bytes, data.ptr, data.len);
    bytes[at] = (char)(bytes[at] ^ 0x10);
    test_write(path, (hd_str){bytes, data.len});
    hd_mem_free(bytes);
}

/* A bit of each part of the head and of each kind of row. */
static void test_damaged_rows(void **state)
{
    (void)state;
    static const size_t places[] = {offsetof(hd_disk_head, version),
                                    offsetof(hd_disk_head, n_blocks),
                                    offsetof(hd_disk_head, identity),
                                    offsetof(hd_disk_head, key) + 17,
                                    offsetof(hd_disk_head, sum) + 9,
                                    offsetof(hd_disk_head, zero) + 2000,
                                    offsetof(hd_disk_head, head_sum),
                                    4096 + 3,
                                    4096 + 512 + 100,
                                    4096 + 512 + 18688 + 7,
                                    4096 + 512 + 2 * 20864 + 5,
                                    4096 + (512 + 2 * 20864 + 584) + 600};
    job *j = made(300, 4, 6);
    const char *dir = filled(j);
    char good[600];
    const file_path at = files_of(dir)->path[0];
    const char *rows = at.text;
    snprintf(good, sizeof good, "%s.good", rows);
    assert_non_null(strstr(rows, ".rows"));
    copy_file(rows, good);
    for (size_t i = 0; i < HD_COUNT(places); i++) {
        flip(rows, places[i]);
        hd_disk_stats s = check_again(dir, (life){0}, j, 0);
        if (s.n_bad != 1 || s.n_hits != 0) fail_msg("place %zu", places[i]);
        assert_int_equal(s.n_written, 1); /* it is made again */
        check_again(dir, (life){0}, j, 256);
        copy_file(good, rows);
    }
    hd_mem_free(j);
}

static void test_damaged_snap(void **state)
{
    (void)state;
    job *j = made(900, 10, 7);
    const char *dir = filled(j);
    const file_path at = files_of(dir)->path[1];
    const char *snap = at.text;
    assert_non_null(strstr(snap, ".snap"));
    flip(snap, 4096 + 512 + 5000);
    /* Rows up to 896 are good: 128 · 4 positions of them are run again. */
    hd_disk_stats s = check_again(dir, (life){0}, j, 896 - 512);
    assert_true(s.n_bad == 1 && s.n_restored == 896 && s.n_snaps_restored == 0);
    hd_mem_free(j);
}

static void test_cut_and_foreign(void **state)
{
    (void)state;
    job *j = made(300, 4, 8);
    const char *dir = filled(j);
    char foreign[600];
    const file_path at = files_of(dir)->path[0];
    const char *rows = at.text;
    for (off_t n = 0; n < 9000; n += 4000) {
        assert_int_equal(truncate(rows, n), 0);
        hd_disk_stats s = check_again(dir, (life){0}, j, 0);
        assert_int_equal(s.n_bad, n > 0); /* who can tell whose an empty file is? */
        check_again(dir, (life){0}, j, 256);
    }
    /* Not ours: neither used nor touched, unless a file of ours gets that name. */
    static const char *const names[] = {"notes.txt", "0000000-0000128.0.rows", "x.snap"};
    for (size_t i = 0; i < HD_COUNT(names); i++)
        test_write(test_path(inner_dir(dir), names[i]), HD_STR("somebody else's"));
    snprintf(foreign, sizeof foreign, "%s/%s", inner_dir(dir), "dir.rows");
    assert_int_equal(mkdir(foreign, 0700), 0);
    test_write(rows, HD_STR("no file of the cache, but one with the name of one, and long enough"));
    hd_disk_stats s = check_again(dir, (life){0}, j, 0);
    assert_int_equal(s.n_write_errors, 0);
    check_again(dir, (life){0}, j, 256);
    for (size_t i = 0; i < HD_COUNT(names); i++)
        assert_true(is_there(test_path(inner_dir(dir), names[i])));
    assert_true(is_there(foreign));
    hd_mem_free(j);
}

/* A file that is good, but under another name or of another text. */
static void test_wrong_place(void **state)
{
    (void)state;
    job *a = made(300, 4, 9), *b = made(300, 4, 10);
    const char *dir = filled(a);
    const file_path at = files_of(dir)->path[0];
    const char *of_a = at.text;
    live(dir, (life){0}, b);
    const files *f = files_of(dir);
    assert_int_equal(f->n, 4);
    for (size_t i = 0; i < 4; i++)
        if (strstr(f->path[i].text, ".rows") && strcmp(f->path[i].text, of_a) != 0)
            copy_file(of_a, f->path[i].text);
    check_again(dir, (life){0}, b, 0);
    check_again(dir, (life){0}, a, 256);
    hd_mem_free(a);
    hd_mem_free(b);
}

/* ---- room --------------------------------------------------------------------------------------
 */

/* Every snapshot has its rows, every segment the one before it. */
static void check_no_orphans(const char *dir)
{
    static hd_disk_head head[256];
    const files *f = files_of(dir);
    for (size_t i = 0; i < f->n; i++)
        memcpy(&head[i], test_read(f->path[i].text).ptr, sizeof head[i]);
    for (size_t i = 0; i < f->n; i++) {
        bool has_parent = head[i].kind == HD_DISK_ROWS && head[i].from == 0;
        for (size_t k = 0; k < f->n; k++)
            for (uint32_t b = 0; head[k].kind == HD_DISK_ROWS && b < head[k].n_blocks; b++)
                has_parent |= memcmp(&head[k].key[b], &head[i].parent, sizeof head[i].parent) == 0;
        if (!has_parent) fail_msg("'%s' is an orphan", f->path[i].text);
    }
}

static void test_budget(void **state)
{
    (void)state;
    enum { N = 6 };
    life l = {.budget = 2 << 20};
    job *jobs[N];
    uint64_t n_evicted = 0;
    const char *dir = filled(NULL);
    for (uint64_t i = 0; i < N; i++) {
        jobs[i] = made(i == 2 ? 4200 : 300, 4, 20 + i);
        hd_disk_stats s = live(dir, l, jobs[i]);
        n_evicted += s.n_evicted;
        assert_true(s.n_bytes <= l.budget);
        assert_true(files_of(dir)->bytes <= l.budget);
        check_no_orphans(dir);
    }
    assert_true(n_evicted > 0);
    check_again(dir, l, jobs[N - 1], 256); /* the last one is there, the first is not */
    check_again(dir, l, jobs[0], 0);
    /* A budget that nothing fits: nothing is written, and what is there goes. */
    l.budget = 1000;
    hd_disk_stats s = check_again(dir, l, jobs[N - 1], 0);
    assert_true(s.n_files == 0 && s.n_written == 0 && files_of(dir)->n == 0);
    for (int i = 0; i < N; i++) hd_mem_free(jobs[i]);
}

static void test_full_disk(void **state)
{
    (void)state;
    struct rlimit old, less;
    job *j = made(700, 10, 30);
    const char *dir = filled(NULL);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    less = old;
    less.rlim_cur = 100000; /* in the middle of the rows */
    life l = {0};
    begin(&l, dir);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &less), 0);
    add(&l, j);
    drain(&l);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    hd_disk_stats s = end(&l);
    assert_true(s.n_write_errors > 0 && s.n_files == 0 && s.n_bytes == 0);
    assert_int_equal(files_of(dir)->n, 0);
    check_again(dir, (life){0}, j, 0); /* now there is room */
    check_again(dir, (life){0}, j, 640);
    hd_mem_free(j);
}

static void test_left_behind(void **state)
{
    (void)state;
    job *j = made(300, 5, 31);
    const char *dir = filled(j);
    char dead[600], top[600], alive[600];
    snprintf(dead, sizeof dead, "%s/tmp-1-2", inner_dir(dir));
    snprintf(alive, sizeof alive, "%s/tmp-3-4", inner_dir(dir));
    snprintf(top, sizeof top, "%s/tmp-5-6", dir);
    test_write(dead, HD_STR("half a file"));
    test_write(top, HD_STR("half a secret"));
    int fd = open(alive, O_CREAT | O_WRONLY | O_CLOEXEC, 0600); /* another process is at it */
    assert_int_equal(flock(fd, LOCK_EX), 0);
    check_again(dir, (life){0}, j, 256);
    assert_false(is_there(dead) || is_there(top));
    assert_true(is_there(alive));
    close(fd);
    hd_mem_free(j);
}

/* A program that writes all the time: file after file, until it is killed. */
static void write_on(const char *dir)
{
    life l = {0};
    begin(&l, dir);
    for (uint64_t i = 0; i < 200; i++) {
        add(&l, made(130, 1, 100 + i));
        drain(&l);
    }
}

/* Killed anywhere: what is there is whole, and the next start removes the rest. */
static void test_killed(void **state)
{
    (void)state;
    enum { N_KILLS = 6, PATIENCE_MS = 60000 };
    const char *dir = filled(NULL);
    job *j = made(130, 1, 100);
    live(NULL, (life){0}, j);
    assert_int_equal(mkdir(dir, 0700), 0);
    for (uint64_t i = 0; i < N_KILLS; i++) {
        size_t before = files_of(dir)->n;
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            write_on(dir);
            _exit(0);
        }
        for (int ms = 0; ms < PATIENCE_MS && files_of(dir)->n < before + 3; ms++) usleep(1000);
        usleep((useconds_t)hd_rng_below(hd_rng_at(80, i), 5000));
        assert_int_equal(kill(child, SIGKILL), 0);
        assert_int_equal(waitpid(child, NULL, 0), child);
        assert_true(files_of(dir)->n >= before + 3);
    }
    hd_disk_stats s = check_again(dir, (life){0}, j, 128);
    assert_int_equal(s.n_bad, 0);
    assert_int_equal(s.n_files, files_of(dir)->n); /* each head is good, each length right */
    hd_mem_free(j);
}

/* One process throws out what another knows of: a miss. Both write the same: as good as one. */
static void test_two_at_once(void **state)
{
    (void)state;
    job *j = made(700, 10, 33), *of_a = again(j), *of_b = again(j);
    const char *dir = filled(j);
    life a = {0}, b = {.budget = 1000};
    begin(&a, dir);
    begin(&b, dir); /* removes all */
    assert_int_equal(files_of(dir)->n, 0);
    end(&b);
    b.budget = 0;
    begin(&b, dir);
    add(&a, of_a);
    add(&b, of_b);
    drain(&a);
    drain(&b);
    check_same(of_a, j);
    check_same(of_b, j);
    assert_true(of_a->r.n_cached == 0 && of_b->r.n_cached == 0);
    hd_disk_stats sa = end(&a), sb = end(&b);
    assert_true(sa.n_bad + sa.n_read_errors + sa.n_write_errors == 0);
    assert_true(sb.n_bad + sb.n_read_errors + sb.n_write_errors == 0);
    assert_int_equal(files_of(dir)->n, 2);
    check_again(dir, (life){0}, j, 640);
    hd_mem_free(j);
    hd_mem_free(of_a);
    hd_mem_free(of_b);
}

static void test_refuses(void **state)
{
    (void)state;
    hd_err err = {0};
    hd_sched *s;
    char path[600];
    const char *base = test_tmpdir();
    hd_model *m = modelrun_open(modelrun_synth("unit"), &fastest, (hd_model_opts){.max_ctx = 300});
    hd_sched_opts opts = {.model = m, .cache_dir = path};
    snprintf(path, sizeof path, "%s/no/such", base);
    assert_int_equal(hd_sched_create(&opts, &s, &err), HD_E_IO);
    assert_non_null(strstr(err.text, "cannot use cache directory"));
    snprintf(path, sizeof path, "%s/file", base);
    test_write(path, HD_STR("x"));
    assert_int_equal(hd_sched_create(&opts, &s, &err), HD_E_IO);
    test_write(test_path(base, "secret"), HD_STR("short"));
    opts.cache_dir = base;
    assert_int_equal(hd_sched_create(&opts, &s, &err), HD_E_FORMAT);
    hd_model_close(m);
}

/* ---- many at once ------------------------------------------------------------------------------
 */

/* While one request waits for its files others go on; one that waits can be cancelled. */
static void test_others_run(void **state)
{
    (void)state;
    job *j = made(900, 10, 40), *short_one = made(50, 40, 41), *gone = again(j), *stays = again(j);
    const char *dir = filled(j);
    life l = {.max_seqs = 3};
    hd_err err = {0};
    hd_sched_stats s;
    begin(&l, dir);
    add(&l, gone);
    add(&l, stays);
    add(&l, short_one);
    modelrun_check(hd_sched_step(l.s, &err), "hd_sched_step", &err);
    hd_sched_get_stats(l.s, &s);
    assert_int_equal(s.n_running, 1);
    assert_int_equal(s.n_waiting, 2);
    assert_int_equal(hd_request_n_new(&short_one->r), 1);
    gone->r.is_cancelled = true;
    drain(&l);
    assert_true(gone->is_done && gone->r.end == HD_END_CANCELLED && gone->r.n_cached == 0);
    check_same(stays, j);
    assert_int_equal(stays->r.n_cached, 896);
    end(&l);
    hd_mem_free(j);
    hd_mem_free(short_one);
    hd_mem_free(gone);
    hd_mem_free(stays);
}

/* Requests that share and continue each other at random, too few pages, several lives. */
static void test_random(void **state)
{
    (void)state;
    static job *alone[N_RANDOM];
    life plain = {0};
    begin(&plain, NULL);
    for (int32_t i = 0; i < N_RANDOM; i++) {
        uint64_t key = hd_rng_key(50, (uint64_t)i);
        int32_t shared = (int32_t)hd_rng_below(hd_rng_at(key, 0), 900);
        int32_t own = 1 + (int32_t)hd_rng_below(hd_rng_at(key, 1), 200);
        alone[i] = made(shared + own, 1 + i % 20, 60 + (uint64_t)(i % 3));
        for (int32_t k = 0; k < own; k++)
            alone[i]->text[shared + k] =
                (int32_t)hd_rng_below(hd_rng_at(key, 10 + (uint64_t)k), 400);
        alone[i]->r.how.temperature = i % 2 ? 1.0f : 0.0f;
        alone[i]->r.group = (uint64_t)i; /* nothing is shared when alone */
        add(&plain, alone[i]);
        drain(&plain);
    }
    end(&plain);
    const char *dir = filled(NULL);
    hd_disk_stats sum = {0};
    for (int turn = 0; turn < 3; turn++) {
        life l = {
            .max_seqs = 4, .kv_tokens = turn % 2 ? 1200 : 0, .budget = turn < 2 ? 0 : 1 << 20};
        job *j[N_RANDOM];
        begin(&l, dir);
        for (int32_t i = 0; i < N_RANDOM; i++) {
            hd_err err = {0};
            j[i] = again(alone[(i * 7 + turn) % N_RANDOM]);
            j[i]->r.group = 0;
            add(&l, j[i]);
            for (uint64_t n = hd_rng_below(hd_rng_at(70, (uint64_t)i), 9); n > 0; n--) {
                hd_status st = hd_sched_step(l.s, &err);
                if (st != HD_OK && st != HD_E_NOTFOUND) fail_msg("%s", err.text);
            }
        }
        drain(&l);
        hd_disk_stats s = end(&l);
        for (int32_t i = 0; i < N_RANDOM; i++) {
            check_same(j[i], alone[(i * 7 + turn) % N_RANDOM]);
            hd_mem_free(j[i]);
        }
        assert_true(s.n_bad == 0 && s.n_read_errors == 0 && s.n_write_errors == 0);
        print_message(
            "%" PRIu64 " hits, %" PRIu64 " positions restored, %" PRIu64 " snapshots, %" PRIu64
            " files written, %" PRIu64 " thrown out, %" PRIu64 " skipped\n",
            s.n_hits, s.n_restored, s.n_snaps_restored, s.n_written, s.n_evicted, s.n_skipped);
        sum.n_hits += s.n_hits;
        sum.n_snaps_restored += s.n_snaps_restored;
        check_no_orphans(dir);
    }
    assert_true(sum.n_hits > 5 && sum.n_snaps_restored > 3);
    for (int32_t i = 0; i < N_RANDOM; i++) hd_mem_free(alone[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_restart),      cmocka_unit_test(test_segments),
        cmocka_unit_test(test_turns),        cmocka_unit_test(test_behind_memory),
        cmocka_unit_test(test_other_owners), cmocka_unit_test(test_damaged_rows),
        cmocka_unit_test(test_damaged_snap), cmocka_unit_test(test_cut_and_foreign),
        cmocka_unit_test(test_wrong_place),  cmocka_unit_test(test_budget),
        cmocka_unit_test(test_full_disk),    cmocka_unit_test(test_left_behind),
        cmocka_unit_test(test_killed),       cmocka_unit_test(test_two_at_once),
        cmocka_unit_test(test_refuses),      cmocka_unit_test(test_others_run),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
