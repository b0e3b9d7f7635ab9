/* Counts as JSON: see batch_stats.h. */
#include "cli/batch_stats.h"

#include <inttypes.h>

#include "base/fs.h"

#define MAX_BYTES ((size_t)1 << 16)

typedef struct count {
    const char *name;
    uint64_t n;
} count;

static void add_counts(hd_buf *out, const count *all, size_t n)
{
    for (size_t i = 0; i < n; i++) hd_buf_addf(out, ", \"%s\": %" PRIu64, all[i].name, all[i].n);
}

typedef struct pool {
    const char *name;
    uint64_t max, used;
} pool;

/* The pool of which the largest share is in use is what will stop a request first. */
static void add_pools(hd_buf *out, const hd_engine_stats *s)
{
    const pool pools[] = {{"sequences", s->max_seqs, s->n_running},
                          {"pages_ratio_4", s->max_csa_pages, s->n_csa_pages},
                          {"pages_ratio_128", s->max_hca_pages, s->n_hca_pages},
                          {"snapshots", s->max_snapshots, s->n_kept_snapshots}};
    const pool *tightest = &pools[0];
    hd_buf_addz(out, ", \"pools\": {");
    for (size_t i = 0; i < HD_COUNT(pools); i++) {
        const pool *p = &pools[i];
        hd_buf_addf(out, "%s\"%s\": {\"max\": %" PRIu64 ", \"used\": %" PRIu64 "}", i ? ", " : "",
                    p->name, p->max, p->used);
        if (p->used * tightest->max > tightest->used * p->max) tightest = p;
    }
    hd_buf_addf(out, "}, \"tightest\": \"%s\"", tightest->name);
}

static void add_all(hd_buf *out, const hd_engine_stats *s)
{
    const count counts[] = {
        {"steps", s->n_steps},
        {"rows", s->n_rows},
        {"prompt_tokens", s->n_prompt},
        {"generated_tokens", s->n_generated},
        {"cached_tokens", s->n_cached},
        {"replayed_tokens", s->n_replayed},
        {"hits_ram", s->n_hits},
        {"hits_disk", s->n_disk_hits},
        {"forks", s->n_forks},
        {"rewinds", s->n_rewinds},
        {"preemptions", s->n_preempted},
        {"evictions", s->n_evicted},
        {"checkpoints", s->n_snapshots},
        {"restored_tokens", s->n_disk_restored},
        {"files_written", s->n_disk_written},
        {"files_evicted", s->n_disk_evicted},
        {"files_bad", s->n_disk_bad},
        {"draft_checks", s->n_draft_checks},
        {"drafted", s->n_drafted},
        {"accepted", s->n_accepted},
    };
    add_counts(out, counts, HD_COUNT(counts));
    add_pools(out, s);
}

hd_status hd_batch_write_stats(hd_engine *engine, size_t n_requests, size_t n_failed,
                               const char *path, hd_err *err)
{
    hd_engine_stats s;
    hd_buf text;
    hd_engine_get_stats(engine, &s);
    hd_buf_init(&text, MAX_BYTES);
    hd_buf_addf(&text, "{\"requests\": %zu, \"failed\": %zu", n_requests, n_failed);
    add_all(&text, &s);
    hd_buf_addz(&text, "}\n");
    hd_status st = hd_buf_status(&text, "the counts", err);
    if (st == HD_OK) st = hd_fs_write_atomic(path, hd_buf_str(&text), err);
    hd_buf_deinit(&text);
    return st;
}
