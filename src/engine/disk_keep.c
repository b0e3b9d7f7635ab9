/* Paths of the cache in memory to files: segment by segment, then the snapshot at the end.
 *
 * A path waits, its last block held, until a buffer is free. Its rows are copied to the buffer
 * between two steps, and are the I/O thread's business from then on. */
#include <string.h>

#include "engine/disk_own.h"

/* Of segments that turn out to be on disk already, in one call: their keys must be computed. */
#define MAX_PASSES 8

typedef enum outcome { DONE, AGAIN_LATER, GIVEN_UP } outcome;

/* One segment of a path, or its beginning. */
typedef struct segment {
    int32_t n; /* blocks */
    hd_prefix_view block[HD_DISK_SEGMENT];
    hd_disk_key key[HD_DISK_SEGMENT];
} segment;

/* ---- what waits -------------------------------------------------------------------------------*/

void hd_disk_keep(hd_disk *d, uint64_t group, int32_t block)
{
    if (!d || block == HD_PREFIX_NONE) return;
    if (d->n_keeps == HD_DISK_MAX_KEEPS) {
        d->stats.n_skipped++;
        return;
    }
    hd_prefix_hold(d->prefix, block);
    d->keep[(d->first_keep + d->n_keeps++) % HD_DISK_MAX_KEEPS] =
        (hd_disk_keeping){.tip = block, .key = hd_disk_root(d, group)};
}

static void end_first(hd_disk *d)
{
    hd_prefix_drop(d->prefix, d->keep[d->first_keep].tip);
    d->first_keep = (d->first_keep + 1) % HD_DISK_MAX_KEEPS;
    d->n_keeps--;
}

bool hd_disk_let_go(hd_disk *d)
{
    if (!d || d->n_keeps == 0) return false;
    d->stats.n_skipped += (uint64_t)d->n_keeps;
    while (d->n_keeps > 0) end_first(d);
    return true;
}

/* ---- room -------------------------------------------------------------------------------------*/

/* Throws out what was used least recently until there is room. What the new file depends on is not
 * thrown out for it: the budget is too small for the path. */
static outcome make_room(hd_disk *d, const hd_disk_head *head)
{
    uint64_t bytes = hd_disk_file_bytes(head);
    int32_t needed = hd_disk_index_find(d->ix, HD_DISK_ROWS, &head->parent);
    bool is_first = head->kind == HD_DISK_ROWS && head->from == 0;
    if (bytes > d->budget || (needed == HD_DISK_NONE && !is_first)) return GIVEN_UP;
    while (hd_disk_index_is_full(d->ix) || hd_disk_index_bytes(d->ix) > d->budget - bytes) {
        int32_t oldest = hd_disk_index_oldest(d->ix);
        if (oldest == HD_DISK_NONE) return AGAIN_LATER; /* all are being written */
        if (oldest == needed) return GIVEN_UP;
        if (!hd_disk_throw_out(d, oldest)) return AGAIN_LATER;
        d->stats.n_evicted++;
    }
    return DONE;
}

/* A job with this head, and room for its file. */
static outcome begin_file(hd_disk *d, const hd_disk_head *head, hd_disk_job **out)
{
    hd_disk_job *job = hd_disk_io_take(d->io, HD_DISK_WRITE);
    if (!job) return AGAIN_LATER;
    outcome o = make_room(d, head);
    if (o != DONE) {
        hd_disk_io_give(d->io, job);
        return o;
    }
    job->file = hd_disk_index_add(d->ix, head, true);
    memcpy(job->buf, head, sizeof *head);
    *out = job;
    return DONE;
}

/* ---- rows -------------------------------------------------------------------------------------*/

/* The blocks of the path that ends with `tip`, from position `at` on, at most a segment. */
static void look_at(const hd_disk *d, const hd_disk_keeping *k, segment *s)
{
    int32_t end = hd_prefix_end(d->prefix, k->tip), block = k->tip;
    int32_t stop =
        end - k->at < HD_DISK_SEGMENT_POSITIONS ? end : k->at + HD_DISK_SEGMENT_POSITIONS;
    hd_prefix_view v;
    for (; end > stop; end -= HD_DISK_BLOCK, block = v.parent) hd_prefix_look(d->prefix, block, &v);
    s->n = (stop - k->at) / HD_DISK_BLOCK;
    for (int32_t i = s->n - 1; i >= 0; i--, block = s->block[i + 1].parent)
        hd_prefix_look(d->prefix, block, &s->block[i]);
    hd_disk_key key = k->key;
    for (int32_t i = 0; i < s->n; i++) key = s->key[i] = hd_disk_key_next(&key, s->block[i].ids);
}

static hd_status copy_rows(hd_disk *d, const segment *s, int32_t from, uint8_t *to)
{
    hd_status st = HD_OK;
    for (int32_t i = 0; st == HD_OK && i < s->n; i++, to += d->shape.rows_bytes) {
        const hd_prefix_view *v = &s->block[i];
        hd_v4_rows_at at = {v->csa, v->hca, (from / HD_DISK_BLOCK + i) % HD_PAGE_ROWS};
        memcpy(to, v->ids, HD_DISK_IDS_BYTES);
        st = hd_v4_rows_save(d->m, &at, to + HD_DISK_IDS_BYTES);
    }
    /* Also behind a failure: nothing may be under way to the buffer. */
    hd_status synced = d->m->dev->stream.sync(d->m->stream, -1, NULL);
    return st == HD_OK ? synced : st;
}

static outcome write_rows(hd_disk *d, const hd_disk_keeping *k, const segment *s)
{
    hd_disk_head head;
    hd_disk_job *job;
    hd_disk_head_init(&head, &d->shape, HD_DISK_ROWS, (uint32_t)k->at, &k->key);
    head.n_blocks = (uint32_t)s->n;
    memcpy(head.key, s->key, (size_t)s->n * sizeof *s->key);
    outcome o = begin_file(d, &head, &job);
    if (o != DONE) return o;
    if (copy_rows(d, s, k->at, job->buf + HD_DISK_HEAD_BYTES) != HD_OK) {
        hd_disk_index_remove(d->ix, job->file);
        hd_disk_io_give(d->io, job);
        return GIVEN_UP; /* the device is out of order; the next step will tell */
    }
    hd_disk_submit(d, job);
    return DONE;
}

static outcome keep_segment(hd_disk *d, hd_disk_keeping *k)
{
    segment s;
    look_at(d, k, &s);
    const hd_disk_key *last = &s.key[s.n - 1];
    int32_t file = hd_disk_index_find(d->ix, HD_DISK_ROWS, last);
    outcome o = DONE;
    if (file != HD_DISK_NONE)
        hd_disk_index_touch(d->ix, file);
    else
        o = write_rows(d, k, &s);
    if (o != DONE) return o;
    k->at += s.n * HD_DISK_BLOCK;
    k->key = *last;
    return DONE;
}

/* ---- snapshots --------------------------------------------------------------------------------*/

static outcome keep_snap(hd_disk *d, const hd_disk_keeping *k)
{
    hd_prefix_view v;
    hd_disk_head head;
    hd_disk_job *job;
    int32_t file = hd_disk_index_find(d->ix, HD_DISK_SNAP, &k->key);
    if (file != HD_DISK_NONE) {
        hd_disk_index_touch(d->ix, file);
        return DONE;
    }
    const uint8_t *snap = hd_prefix_snap(d->prefix, k->tip);
    if (!snap) return DONE;
    hd_prefix_look(d->prefix, k->tip, &v);
    hd_disk_head_init(&head, &d->shape, HD_DISK_SNAP, (uint32_t)(k->at - HD_DISK_BLOCK), &k->key);
    head.n_blocks = 1;
    head.key[0] = k->key;
    outcome o = begin_file(d, &head, &job);
    if (o != DONE) return o;
    memcpy(job->buf + HD_DISK_HEAD_BYTES, v.ids, HD_DISK_IDS_BYTES);
    memcpy(job->buf + HD_DISK_HEAD_BYTES + HD_DISK_IDS_BYTES, snap, hd_v4_snap_bytes(d->m));
    hd_disk_submit(d, job);
    return DONE;
}

/* ---- between steps ----------------------------------------------------------------------------*/

void hd_disk_keep_some(hd_disk *d)
{
    for (int i = 0; i < MAX_PASSES && d->n_keeps > 0; i++) {
        hd_disk_keeping *k = &d->keep[d->first_keep];
        bool has_rows = k->at < hd_prefix_end(d->prefix, k->tip);
        outcome o = has_rows ? keep_segment(d, k) : keep_snap(d, k);
        if (o == AGAIN_LATER) return;
        if (o == GIVEN_UP) d->stats.n_skipped++;
        if (o == GIVEN_UP || !has_rows) end_first(d);
    }
}

void hd_disk_written(hd_disk *d, const hd_disk_job *job)
{
    int32_t shorter;
    if (job->result != HD_OK) {
        d->stats.n_write_errors++;
        hd_disk_index_remove(d->ix, job->file);
        return;
    }
    hd_disk_index_ready(d->ix, job->file);
    d->stats.n_written++;
    d->stats.n_written_bytes += hd_disk_index_at(d->ix, job->file)->bytes;
    while ((shorter = hd_disk_index_covered(d->ix, job->file)) != HD_DISK_NONE)
        if (!hd_disk_throw_out(d, shorter)) return; /* it goes when it is the oldest */
}
