/* Time to the first token of a long prompt: computed, from memory, from disk.
 *
 *     bench_prefix DIR CACHE_DIR [N_IDS] [THREADS] [DEVICE]
 *
 * CACHE_DIR is made, and should be empty; what is written stays. Each prompt has N_IDS + 1 ids, so
 * that it ends one behind a snapshot where N_IDS is a multiple of 128. "disk" is a program's second
 * life: a new model and scheduler, the files taken out of the page cache before. A benchmark, not a
 * test: of the results it asserts only how many positions were skipped. */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "base/rng.h"
#include "engine/sched.h"
#include "model/v4.h"

static hd_err err;

static void check(hd_status st)
{
    if (st == HD_OK) return;
    fprintf(stderr, "bench_prefix: %s\n", err.text);
    exit(1);
}

/* ---- one prompt -------------------------------------------------------------------------------*/

typedef struct shot {
    int64_t begin_ns, first_ns;
    bool is_done;
} shot;

static bool on_token(void *ctx, hd_request *r, const float *logits)
{
    shot *s = ctx;
    (void)r, (void)logits;
    if (s->first_ns == 0) s->first_ns = hd_clock_ns();
    return true;
}

static void on_done(void *ctx, hd_request *r)
{
    (void)r;
    ((shot *)ctx)->is_done = true;
}

/* Seconds to the first token; afterwards all files are written. */
static double shoot(hd_sched *s, shot *t, const int32_t *ids, int32_t n, int32_t want_cached)
{
    hd_status st;
    hd_request r = {.n_prompt = n, .max_new = 1, .ignores_eos = true, .how = HD_SAMPLING_DEFAULT};
    r.text = hd_mem_calloc((size_t)n + 1, sizeof *r.text);
    memcpy(r.text, ids, (size_t)n * sizeof *ids);
    r.how.temperature = 0;
    t->first_ns = 0;
    t->begin_ns = hd_clock_ns();
    check(hd_sched_add(s, &r, &err));
    while ((st = hd_sched_step(s, &err)) == HD_OK);
    if (st != HD_E_NOTFOUND) check(st);
    if (r.n_cached != want_cached) {
        fprintf(stderr, "bench_prefix: %d positions skipped, expected %d\n", r.n_cached,
                want_cached);
        exit(1);
    }
    hd_mem_free(r.text);
    return 1e-9 * (double)(t->first_ns - t->begin_ns);
}

/* ---- the page cache ---------------------------------------------------------------------------*/

/* Bytes of a file that are in memory. */
static uint64_t resident(int fd, size_t n)
{
    static unsigned char page[1 << 16];
    uint64_t pages = 0;
    void *p = mmap(NULL, n, PROT_READ, MAP_SHARED, fd, 0);
    if (p == MAP_FAILED || n > sizeof page * 4096 || mincore(p, n, page) != 0) return n;
    for (size_t i = 0; i < (n + 4095) / 4096; i++) pages += page[i] & 1;
    munmap(p, n);
    return pages * 4096;
}

/* Flush the files below a directory and drop them from memory. */
static void drop_files(const char *dir, uint64_t *bytes, uint64_t *left)
{
    char path[4096];
    struct stat st;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        if (e->d_name[0] == '.') continue;
        check(hd_fs_join(dir, e->d_name, path, sizeof path, &err));
        if (stat(path, &st) != 0) continue;
        if (S_ISDIR(st.st_mode)) {
            drop_files(path, bytes, left);
            continue;
        }
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0) continue;
        (void)fdatasync(fd);
        (void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
        *bytes += (uint64_t)st.st_size;
        *left += resident(fd, (size_t)st.st_size);
        close(fd);
    }
    if (d) closedir(d);
}

/* ---- lives ------------------------------------------------------------------------------------*/

typedef struct life {
    const char *dir, *cache;
    hd_model_opts opts;
    hd_model *m;
    hd_sched *s;
    shot shot;
} life;

static void begin(life *l)
{
    int64_t from = hd_clock_ns();
    check(hd_model_open(l->dir, &l->opts, &l->m, &err));
    hd_sched_opts opts = {.model = l->m,
                          .snap_budget = 64 * hd_v4_snap_bytes(l->m),
                          .cache_dir = l->cache,
                          .on_token = on_token,
                          .on_done = on_done,
                          .ctx = &l->shot};
    int64_t opened = hd_clock_ns();
    check(hd_sched_create(&opts, &l->s, &err));
    printf("opened in %.2f s, the cache directory in %.2f s\n", 1e-9 * (double)(opened - from),
           1e-9 * (double)(hd_clock_ns() - opened));
}

static void end(life *l)
{
    hd_sched_destroy(l->s);
    hd_model_close(l->m);
}

static void report(const char *what, double s, double cold)
{
    printf("%-28s %9.3f s  %6.2f %%\n", what, s, 100 * s / cold);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    hd_disk_stats stats;
    uint64_t bytes = 0, left = 0;
    if (argc < 3) {
        fprintf(stderr, "usage: bench_prefix DIR CACHE_DIR [N_IDS] [THREADS] [DEVICE]\n");
        return 2;
    }
    int32_t n = argc > 3 ? (int32_t)strtol(argv[3], NULL, 10) : 16384;
    life l = {.dir = argv[1], .cache = argv[2]};
    l.opts = (hd_model_opts){.max_seqs = 2,
                             .max_ctx = n + 64,
                             .kv_tokens = 2 * ((int64_t)n + 64),
                             .n_threads = argc > 4 ? (int)strtol(argv[4], NULL, 10) : 0,
                             .device = argc > 5 ? argv[5] : NULL};
    int32_t *ids = hd_mem_calloc((size_t)n + 1, sizeof *ids), snap = n / 128 * 128;
    begin(&l);
    for (int32_t i = 0; i <= n; i++)
        ids[i] = (int32_t)hd_rng_below(hd_rng_at(1, (uint64_t)i), (uint64_t)l.m->cfg.vocab_size);
    double cold = shoot(l.s, &l.shot, ids, n + 1, 0);
    printf("%d ids; first token\n", n + 1);
    report("computed", cold, cold);
    report("from memory", shoot(l.s, &l.shot, ids, n + 1, snap), cold);
    hd_sched_get_disk_stats(l.s, &stats);
    printf("%" PRIu64 " files written, %.1f MB\n", stats.n_written,
           1e-6 * (double)stats.n_written_bytes);
    end(&l);
    drop_files(l.cache, &bytes, &left);
    printf("%.1f MB on disk, %.1f MB of them in memory\n", 1e-6 * (double)bytes,
           1e-6 * (double)left);
    begin(&l);
    report("from disk", shoot(l.s, &l.shot, ids, n + 1, snap), cold);
    hd_sched_get_disk_stats(l.s, &stats);
    printf("%" PRIu64 " positions restored\n", stats.n_restored);
    end(&l);
    begin(&l);
    report("from disk, in page cache", shoot(l.s, &l.shot, ids, n + 1, snap), cold);
    end(&l);
    hd_mem_free(ids);
    return 0;
}
