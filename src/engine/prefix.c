#include "engine/prefix.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "dev/params.h"

#define BLOCK HD_SNAP_STEP
#define NONE  HD_PREFIX_NONE
/* Blocks whose rows of ratio 128 share a page. */
#define BLOCKS_PER_HCA_PAGE 32

/* A place in a doubly linked list of indices. */
typedef struct link {
    int32_t newer, older;
} link;

typedef struct list {
    int32_t newest, oldest;
} list;

typedef struct block {
    uint64_t group;
    int32_t parent;    /* index, or NONE */
    int32_t depth;     /* blocks up to and with this one */
    int32_t n_holds;   /* sequences that stand on it */
    int32_t n_behind;  /* blocks behind it */
    int32_t csa, hca;  /* pages */
    int32_t snap;      /* index, or NONE */
    int32_t next_hash; /* chain of the hash table; free list */
    link use;
    int32_t ids[BLOCK];
} block;

struct hd_prefix {
    hd_prefix_opts opts;
    int32_t max_blocks, n_blocks, first_free;
    block *block;       /* [max_blocks] */
    int32_t *bucket;    /* [n_buckets] */
    uint64_t n_buckets; /* a power of two */
    list use;           /* of blocks: a parent is always newer than what is behind it */
    int32_t max_snaps, n_snaps;
    uint8_t *snap_data;  /* [max_snaps, snap_bytes] */
    int32_t *snap_owner; /* [max_snaps]: block */
    int32_t *snap_free;  /* [max_snaps]: the first max_snaps − n_snaps are free */
    link *snap_use;      /* [max_snaps] */
    list snaps;
    uint64_t n_evicted, n_snaps_evicted;
};

/* ---- lists: newest first ----------------------------------------------------------------------*/

static link *at(void *base, size_t stride, int32_t i)
{
    return (link *)(void *)((uint8_t *)base + stride * (size_t)i);
}

static void unlink_item(list *l, void *base, size_t stride, int32_t i)
{
    link *x = at(base, stride, i);
    if (x->newer == NONE)
        l->newest = x->older;
    else
        at(base, stride, x->newer)->older = x->older;
    if (x->older == NONE)
        l->oldest = x->newer;
    else
        at(base, stride, x->older)->newer = x->newer;
}

static void push_newest(list *l, void *base, size_t stride, int32_t i)
{
    *at(base, stride, i) = (link){.newer = NONE, .older = l->newest};
    if (l->newest != NONE) at(base, stride, l->newest)->newer = i;
    l->newest = i;
    if (l->oldest == NONE) l->oldest = i;
}

#define USE_LIST(p)  &(p)->use, &(p)->block[0].use, sizeof(block)
#define SNAP_LIST(p) &(p)->snaps, (p)->snap_use, sizeof(link)

/* ---- create, destroy --------------------------------------------------------------------------*/

static uint64_t power_of_two_above(uint64_t n)
{
    uint64_t size = 16;
    while (size < n) size *= 2;
    return size;
}

static hd_status alloc_tables(hd_prefix *p, hd_err *err)
{
    size_t n = (size_t)p->max_blocks + 1, n_snaps = (size_t)p->max_snaps + 1;
    p->block = hd_mem_try_calloc(n, sizeof *p->block);
    p->bucket = hd_mem_try_calloc((size_t)p->n_buckets, sizeof *p->bucket);
    p->snap_data = hd_mem_try_calloc(n_snaps, p->opts.snap_bytes); /* touched when used */
    p->snap_owner = hd_mem_try_calloc(n_snaps, sizeof *p->snap_owner);
    p->snap_free = hd_mem_try_calloc(n_snaps, sizeof *p->snap_free);
    p->snap_use = hd_mem_try_calloc(n_snaps, sizeof *p->snap_use);
    if (!p->block || !p->bucket || !p->snap_data || !p->snap_owner || !p->snap_free || !p->snap_use)
        HD_FAIL(err, HD_E_NOMEM, "out of memory for a prefix cache of %d blocks", p->max_blocks);
    return HD_OK;
}

hd_status hd_prefix_create(const hd_prefix_opts *opts, hd_prefix **out, hd_err *err)
{
    HD_ASSERT(opts->snap_bytes > 0);
    size_t n_snaps = opts->snap_budget / opts->snap_bytes;
    hd_prefix *p = hd_mem_calloc(1, sizeof *p);
    *p = (hd_prefix){.opts = *opts,
                     .max_blocks = opts->csa->n_pages,
                     .first_free = NONE,
                     .use = {NONE, NONE},
                     .snaps = {NONE, NONE}};
    p->max_snaps = n_snaps > (size_t)p->max_blocks ? p->max_blocks : (int32_t)n_snaps;
    p->n_buckets = power_of_two_above((uint64_t)p->max_blocks * 2);
    hd_status st = alloc_tables(p, err);
    if (st != HD_OK) {
        hd_prefix_destroy(p);
        return st;
    }
    for (uint64_t i = 0; i < p->n_buckets; i++) p->bucket[i] = NONE;
    for (int32_t i = 0; i < p->max_snaps; i++) p->snap_free[i] = i;
    for (int32_t i = p->max_blocks - 1; i >= 0; i--) {
        p->block[i].next_hash = p->first_free;
        p->first_free = i;
    }
    *out = p;
    return HD_OK;
}

void hd_prefix_destroy(hd_prefix *p)
{
    if (!p) return;
    for (int32_t i = p->use.oldest; p->block && i != NONE; i = p->block[i].use.newer) {
        hd_pages_drop(p->opts.csa, p->block[i].csa, -1);
        hd_pages_drop(p->opts.hca, p->block[i].hca, -1);
    }
    hd_mem_free(p->block);
    hd_mem_free(p->bucket);
    hd_mem_free(p->snap_data);
    hd_mem_free(p->snap_owner);
    hd_mem_free(p->snap_free);
    hd_mem_free(p->snap_use);
    hd_mem_free(p);
}

/* ---- finding ----------------------------------------------------------------------------------*/

static int32_t *bucket_of(const hd_prefix *p, uint64_t group, int32_t parent, const int32_t *ids)
{
    uint64_t h = hd_hash_str((hd_str){(const char *)ids, BLOCK * sizeof *ids});
    h ^= (group + (uint64_t)(uint32_t)parent * 0x9E3779B97F4A7C15u) * 0xD6E8FEB86659FD93u;
    h ^= h >> 32;
    return &p->bucket[h & (p->n_buckets - 1)];
}

static int32_t find_behind(const hd_prefix *p, uint64_t group, int32_t parent, const int32_t *ids)
{
    for (int32_t i = *bucket_of(p, group, parent, ids); i != NONE; i = p->block[i].next_hash) {
        const block *b = &p->block[i];
        if (b->parent == parent && b->group == group && memcmp(b->ids, ids, sizeof b->ids) == 0)
            return i;
    }
    return NONE;
}

/* From the end to the front, so that a parent becomes newer than what is behind it. */
static void touch_path(hd_prefix *p, int32_t i)
{
    for (; i != NONE; i = p->block[i].parent) {
        unlink_item(USE_LIST(p), i);
        push_newest(USE_LIST(p), i);
    }
}

int32_t hd_prefix_find(hd_prefix *p, uint64_t group, const int32_t *ids, int32_t n)
{
    int32_t last = NONE;
    for (int32_t done = 0; n - done >= BLOCK; done += BLOCK) {
        int32_t next = find_behind(p, group, last, ids + done);
        if (next == NONE) break;
        last = next;
    }
    touch_path(p, last);
    return last;
}

int32_t hd_prefix_end(const hd_prefix *p, int32_t i)
{
    return i == NONE ? 0 : p->block[i].depth * BLOCK;
}

void hd_prefix_pages(const hd_prefix *p, int32_t i, int32_t *csa, int32_t *hca)
{
    int32_t last = NONE; /* the page of ratio 128 counts as its last block has it: it grows */
    for (; i != NONE; i = p->block[i].parent) {
        const block *b = &p->block[i];
        csa[b->depth - 1] = b->csa;
        int32_t k = (b->depth - 1) / BLOCKS_PER_HCA_PAGE;
        if (k != last) hca[k] = b->hca;
        last = k;
    }
}

/* ---- blocks come and go -----------------------------------------------------------------------*/

static void free_snap(hd_prefix *p, int32_t i)
{
    int32_t s = p->block[i].snap;
    if (s == NONE) return;
    p->block[i].snap = NONE;
    unlink_item(SNAP_LIST(p), s);
    p->snap_free[p->max_snaps - p->n_snaps--] = s;
}

static void evict(hd_prefix *p, int32_t i)
{
    block *b = &p->block[i];
    HD_ASSERT(b->n_holds == 0 && b->n_behind == 0);
    free_snap(p, i);
    int32_t *link_to = bucket_of(p, b->group, b->parent, b->ids);
    while (*link_to != i) link_to = &p->block[*link_to].next_hash;
    *link_to = b->next_hash;
    unlink_item(USE_LIST(p), i);
    if (b->parent != NONE) p->block[b->parent].n_behind--;
    hd_pages_drop(p->opts.csa, b->csa, -1);
    hd_pages_drop(p->opts.hca, b->hca, -1);
    b->next_hash = p->first_free;
    p->first_free = i;
    p->n_blocks--;
    p->n_evicted++;
}

static bool evict_one(hd_prefix *p)
{
    for (int32_t i = p->use.oldest; i != NONE; i = p->block[i].use.newer)
        if (p->block[i].n_holds == 0 && p->block[i].n_behind == 0) {
            evict(p, i);
            return true;
        }
    return false;
}

bool hd_prefix_make_room(hd_prefix *p, int32_t csa, int32_t hca)
{
    while (p->opts.csa->n_free < csa || p->opts.hca->n_free < hca)
        if (!evict_one(p)) return false;
    return true;
}

int32_t hd_prefix_add(hd_prefix *p, uint64_t group, int32_t parent, const int32_t *ids, int32_t csa,
                      int32_t hca)
{
    int32_t i = find_behind(p, group, parent, ids);
    if (i != NONE) {
        touch_path(p, i);
        return i;
    }
    if (parent != NONE) p->block[parent].n_holds++; /* not the one that goes */
    bool has_room = p->first_free != NONE || evict_one(p);
    if (parent != NONE) p->block[parent].n_holds--;
    if (!has_room) return NONE;
    i = p->first_free;
    block *b = &p->block[i];
    p->first_free = b->next_hash;
    int32_t *head = bucket_of(p, group, parent, ids);
    int32_t depth = parent == NONE ? 1 : p->block[parent].depth + 1;
    *b = (block){.group = group,
                 .parent = parent,
                 .depth = depth,
                 .csa = csa,
                 .hca = hca,
                 .snap = NONE,
                 .next_hash = *head};
    memcpy(b->ids, ids, sizeof b->ids);
    *head = i;
    hd_pages_hold(p->opts.csa, csa);
    hd_pages_seal(p->opts.csa, csa, HD_PAGE_ROWS);
    hd_pages_hold(p->opts.hca, hca);
    hd_pages_seal(p->opts.hca, hca, (depth - 1) % BLOCKS_PER_HCA_PAGE + 1);
    if (parent != NONE) p->block[parent].n_behind++;
    p->n_blocks++;
    push_newest(USE_LIST(p), i);
    touch_path(p, i);
    return i;
}

void hd_prefix_hold(hd_prefix *p, int32_t i)
{
    if (i != NONE) p->block[i].n_holds++;
}

void hd_prefix_drop(hd_prefix *p, int32_t i)
{
    if (i == NONE) return;
    HD_ASSERT(p->block[i].n_holds > 0);
    p->block[i].n_holds--;
}

/* ---- snapshots --------------------------------------------------------------------------------*/

int32_t hd_prefix_snap_before(const hd_prefix *p, int32_t i)
{
    while (i != NONE && p->block[i].snap == NONE) i = p->block[i].parent;
    return i;
}

const uint8_t *hd_prefix_snap(hd_prefix *p, int32_t i)
{
    int32_t s = p->block[i].snap;
    if (s == NONE) return NULL;
    unlink_item(SNAP_LIST(p), s);
    push_newest(SNAP_LIST(p), s);
    return p->snap_data + p->opts.snap_bytes * (size_t)s;
}

uint8_t *hd_prefix_snap_put(hd_prefix *p, int32_t i)
{
    HD_ASSERT(p->block[i].snap == NONE);
    if (p->max_snaps == 0) return NULL;
    if (p->n_snaps == p->max_snaps) {
        free_snap(p, p->snap_owner[p->snaps.oldest]);
        p->n_snaps_evicted++;
    }
    int32_t s = p->snap_free[p->max_snaps - ++p->n_snaps];
    p->block[i].snap = s;
    p->snap_owner[s] = i;
    push_newest(SNAP_LIST(p), s);
    return p->snap_data + p->opts.snap_bytes * (size_t)s;
}

void hd_prefix_get_stats(const hd_prefix *p, hd_prefix_stats *out)
{
    *out = (hd_prefix_stats){.n_blocks = p->n_blocks,
                             .n_snaps = p->n_snaps,
                             .max_snaps = p->max_snaps,
                             .n_evicted = p->n_evicted,
                             .n_snaps_evicted = p->n_snaps_evicted};
}
