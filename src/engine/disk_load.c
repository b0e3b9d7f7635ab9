/* Files to the cache in memory, for a request that waits: segment by segment, then the snapshot.
 *
 * Nothing is held between two calls: memory may throw out what has been read, or get more by way of
 * others; each call looks anew how far it goes, and what is missing is read or computed. */
#include <string.h>

#include "engine/disk_own.h"

/* ---- is it worth it? --------------------------------------------------------------------------*/

static bool is_readable(const hd_disk *d, hd_disk_kind kind, const hd_disk_key *key)
{
    int32_t file = hd_disk_index_find(d->ix, kind, key);
    return file != HD_DISK_NONE && !hd_disk_index_at(d->ix, file)->is_busy;
}

static int32_t larger(int32_t a, int32_t b)
{
    return a > b ? a : b;
}

/* How far the rows on disk go along the request's text, and the last snapshot on the way. */
static void survey(const hd_disk *d, const hd_request *r, int32_t ram_end, hd_disk_loading *x)
{
    hd_disk_key key = hd_disk_root(d, r->group);
    *x = (hd_disk_loading){.key = key};
    for (int32_t pos = 0; hd_request_n_skippable(r) - pos >= HD_DISK_BLOCK;) {
        key = hd_disk_key_next(&key, r->text + pos);
        if (!is_readable(d, HD_DISK_ROWS, &key)) return;
        pos += HD_DISK_BLOCK;
        x->end = pos;
        if (pos % HD_DISK_SEGMENT_POSITIONS == 0 && pos <= ram_end) {
            x->at = pos;
            x->key = key;
        }
        if (!is_readable(d, HD_DISK_SNAP, &key)) continue;
        x->snap_pos = pos;
        x->snap_key = key;
    }
}

/* Whether the request could skip more with the files than without. */
static bool is_gain(const hd_disk *d, const hd_request *r, hd_disk_loading *x)
{
    hd_prefix_stats ram;
    hd_prefix_get_stats(d->prefix, &ram);
    int32_t ram_end = hd_prefix_end(d->prefix, r->block);
    int32_t ram_snap = hd_prefix_end(d->prefix, hd_prefix_snap_before(d->prefix, r->block));
    int32_t end = larger(x->end, ram_end), from = hd_v4_replay_from(d->m, end);
    int32_t ram_skips = larger(hd_v4_replay_from(d->m, ram_end), ram_snap);
    if (ram.max_snaps == 0 || x->snap_pos < from) x->snap_pos = 0;
    if (x->snap_pos) x->end = x->snap_pos; /* what is behind it would be run over anyway */
    return larger(from, x->snap_pos) > ram_skips;
}

static hd_disk_loading *slot_of(hd_disk *d, const hd_request *r)
{
    for (int i = 0; i < HD_DISK_MAX_LOADS; i++)
        if (d->load[i].is_used && d->load[i].r == r) return &d->load[i];
    return NULL;
}

static hd_disk_loading *free_slot(hd_disk *d)
{
    for (int i = 0; i < HD_DISK_MAX_LOADS; i++)
        if (!d->load[i].is_used) return &d->load[i];
    return NULL;
}

bool hd_disk_holds_back(hd_disk *d, hd_request *r)
{
    hd_disk_loading x;
    if (!d || r->has_files) return false;
    if (slot_of(d, r)) return true;
    hd_disk_loading *slot = free_slot(d);
    if (!slot) return true; /* one will be free */
    survey(d, r, hd_prefix_end(d->prefix, r->block), &x);
    if (!is_gain(d, r, &x)) {
        r->has_files = true;
        return false;
    }
    *slot = x;
    slot->is_used = true;
    slot->r = r;
    d->n_loads++;
    return true;
}

static void free_load(hd_disk *d, hd_disk_loading *x)
{
    *x = (hd_disk_loading){0};
    d->n_loads--;
}

void hd_disk_forget(hd_disk *d, const hd_request *r)
{
    hd_disk_loading *x = d ? slot_of(d, r) : NULL;
    if (!x) return;
    x->r = NULL;
    if (!x->reads) free_load(d, x);
}

static void finish(hd_disk *d, hd_disk_loading *x)
{
    x->r->has_files = true;
    d->stats.n_hits += x->has_got;
    free_load(d, x);
}

/* ---- asking for a file ------------------------------------------------------------------------*/

/* false: no job is free now. A file that is gone ends the loading. */
static bool ask(hd_disk *d, hd_disk_loading *x, hd_disk_kind kind, const hd_disk_key *last,
                uint32_t first, uint32_t n)
{
    int32_t file = hd_disk_index_find(d->ix, kind, last);
    if (file == HD_DISK_NONE || hd_disk_index_at(d->ix, file)->is_busy) {
        finish(d, x);
        return true;
    }
    hd_disk_job *job = hd_disk_io_take(d->io, HD_DISK_READ);
    if (!job) return false;
    hd_disk_index_touch(d->ix, file);
    hd_disk_index_name(d->ix, file, job->name);
    job->owner = x;
    job->first = first;
    job->n = n;
    x->reads = true;
    x->kind = kind;
    x->last = *last;
    hd_disk_submit(d, job);
    return true;
}

static hd_disk_key key_behind(const hd_disk_loading *x, int32_t stop)
{
    hd_disk_key key = x->key;
    for (int32_t pos = x->at; pos < stop; pos += HD_DISK_BLOCK)
        key = hd_disk_key_next(&key, x->r->text + pos);
    return key;
}

/* The block of the request's path that ends at `pos`. */
static int32_t block_at(const hd_disk *d, int32_t tip, int32_t pos)
{
    hd_prefix_view v;
    while (hd_prefix_end(d->prefix, tip) > pos) {
        hd_prefix_look(d->prefix, tip, &v);
        tip = v.parent;
    }
    return tip;
}

/* false: no job is free now. */
static bool load_next(hd_disk *d, hd_disk_loading *x)
{
    const hd_request *r = x->r;
    int32_t tip = hd_prefix_find(d->prefix, r->group, r->text, hd_request_n_skippable(r));
    int32_t ram_end = hd_prefix_end(d->prefix, tip);
    while (x->at < x->end) {
        int32_t left = x->end - x->at;
        int32_t stop =
            x->at + (left < HD_DISK_SEGMENT_POSITIONS ? left : HD_DISK_SEGMENT_POSITIONS);
        hd_disk_key last = key_behind(x, stop);
        if (ram_end < stop) {
            /* Thrown out meanwhile: memory is short, nothing is read twice. */
            if (ram_end < x->at) {
                finish(d, x);
                return true;
            }
            return ask(d, x, HD_DISK_ROWS, &last, (uint32_t)((ram_end - x->at) / HD_DISK_BLOCK),
                       (uint32_t)((stop - ram_end) / HD_DISK_BLOCK));
        }
        x->at = stop;
        x->key = last;
    }
    int32_t block =
        x->snap_pos && ram_end >= x->snap_pos ? block_at(d, tip, x->snap_pos) : HD_PREFIX_NONE;
    if (block != HD_PREFIX_NONE && !hd_prefix_has_snap(d->prefix, block))
        return ask(d, x, HD_DISK_SNAP, &x->snap_key, 0, 1);
    finish(d, x);
    return true;
}

void hd_disk_load_some(hd_disk *d)
{
    for (int i = 0; i < HD_DISK_MAX_LOADS && d->n_loads > 0; i++) {
        hd_disk_loading *x = &d->load[i];
        if (x->is_used && !x->reads && !load_next(d, x)) return;
    }
}

/* ---- taking in --------------------------------------------------------------------------------*/

/* A page of ratio 128 that goes on with the rows of the path before: a page has one writer, and it
 * is not this one. */
static hd_status own_hca_page(hd_disk *d, int32_t tip, int32_t n_rows, int32_t *page)
{
    hd_prefix_view v;
    *page = hd_pages_take(&d->m->state.pool[HD_PAGE_HCA], -1);
    if (n_rows == 0) return HD_OK;
    hd_prefix_look(d->prefix, tip, &v);
    return hd_v4_rows_copy(d->m, HD_PAGE_HCA, v.hca, *page, n_rows);
}

/* One block behind tip. HD_PREFIX_NONE: no room, or a device out of order. */
static int32_t put_block(hd_disk *d, const hd_request *r, int32_t tip, int32_t *hca,
                         const uint8_t *block)
{
    hd_page_pool *csa_pool = &d->m->state.pool[HD_PAGE_CSA];
    int32_t pos = hd_prefix_end(d->prefix, tip), row = pos / HD_DISK_BLOCK % HD_PAGE_ROWS;
    int32_t next = HD_PREFIX_NONE;
    if (!hd_prefix_make_room(d->prefix, 1, *hca < 0)) return HD_PREFIX_NONE;
    if (*hca < 0 && own_hca_page(d, tip, row, hca) != HD_OK) return HD_PREFIX_NONE;
    hd_v4_rows_at at = {hd_pages_take(csa_pool, -1), *hca, row};
    if (hd_v4_rows_load(d->m, &at, block + HD_DISK_IDS_BYTES) == HD_OK)
        next = hd_prefix_add(d->prefix, r->group, tip, r->text + pos, at.csa, at.hca);
    hd_pages_drop(csa_pool, at.csa, -1);
    return next;
}

/* Ids are compared: a hit is exact whatever the keys say. */
static bool has_ids(const uint8_t *block, const int32_t *ids)
{
    return memcmp(block, ids, HD_DISK_IDS_BYTES) == 0;
}

/* The blocks that were read, as far as memory does not have them by now. false: other ids. */
static bool put_rows(hd_disk *d, hd_disk_loading *x, const hd_disk_job *job)
{
    const hd_request *r = x->r;
    int32_t tip = hd_prefix_find(d->prefix, r->group, r->text, hd_request_n_skippable(r)), hca = -1;
    bool is_same = true;
    for (uint32_t i = 0; i < job->n; i++) {
        int32_t pos = x->at + (int32_t)(job->first + i) * HD_DISK_BLOCK;
        const uint8_t *block = job->buf + HD_DISK_HEAD_BYTES + i * d->shape.rows_bytes;
        is_same = has_ids(block, r->text + pos);
        if (!is_same) break;
        if (hd_prefix_end(d->prefix, tip) > pos) continue;
        hd_prefix_hold(d->prefix, tip);
        int32_t next = hd_prefix_end(d->prefix, tip) < pos ? HD_PREFIX_NONE
                                                           : put_block(d, r, tip, &hca, block);
        hd_prefix_drop(d->prefix, tip);
        if (next == HD_PREFIX_NONE) {
            x->end = x->at; /* memory is short: it begins behind what it has got */
            break;
        }
        tip = next;
        x->has_got = true;
        d->stats.n_restored += HD_DISK_BLOCK;
    }
    if (hca >= 0) hd_pages_drop(&d->m->state.pool[HD_PAGE_HCA], hca, -1);
    return is_same;
}

static bool put_snap(hd_disk *d, hd_disk_loading *x, const hd_disk_job *job)
{
    const hd_request *r = x->r;
    const uint8_t *block = job->buf + HD_DISK_HEAD_BYTES;
    int32_t tip = hd_prefix_find(d->prefix, r->group, r->text, hd_request_n_skippable(r));
    int32_t at = hd_prefix_end(d->prefix, tip) < x->snap_pos ? HD_PREFIX_NONE
                                                             : block_at(d, tip, x->snap_pos);
    if (!has_ids(block, r->text + x->snap_pos - HD_DISK_BLOCK)) return false;
    x->snap_pos = 0;
    if (at == HD_PREFIX_NONE || hd_prefix_has_snap(d->prefix, at)) return true;
    uint8_t *to = hd_prefix_snap_put(d->prefix, at);
    if (!to) return true;
    memcpy(to, block + HD_DISK_IDS_BYTES, hd_v4_snap_bytes(d->m));
    x->has_got = true;
    d->stats.n_snaps_restored++;
    return true;
}

/* The file is no good: it is not found again, and if it is ours and damaged it goes. */
static void blame(hd_disk *d, const hd_disk_loading *x, const hd_disk_job *job, hd_status why)
{
    char name[HD_DISK_NAME_SIZE];
    int32_t file = hd_disk_index_find(d->ix, x->kind, &x->last);
    if (why == HD_E_FORMAT) d->stats.n_bad++;
    if (why == HD_E_IO) d->stats.n_read_errors++;
    if (file == HD_DISK_NONE) return;
    hd_disk_index_name(d->ix, file, name);
    if (strcmp(name, job->name) != 0) return; /* thrown out while it was read */
    if (why != HD_E_FORMAT || !hd_disk_throw_out(d, file)) hd_disk_index_remove(d->ix, file);
}

void hd_disk_was_read(hd_disk *d, hd_disk_job *job)
{
    hd_disk_loading *x = job->owner;
    hd_status st = job->result;
    x->reads = false;
    if (st == HD_OK && x->r) {
        bool is_same = x->kind == HD_DISK_ROWS ? put_rows(d, x, job) : put_snap(d, x, job);
        if (!is_same) st = HD_E_FORMAT;
    }
    if (st != HD_OK) {
        blame(d, x, job, st);
        if (x->kind == HD_DISK_SNAP) x->snap_pos = 0;
    }
    if (!x->r) free_load(d, x);
}
