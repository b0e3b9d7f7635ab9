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
    int32_t in_heap;   /* place, or NONE: it is in use */
    uint64_t used;     /* when: a block is used whenever one behind it is */
    int32_t ids[BLOCK];
} block;

struct hd_prefix {
    hd_prefix_opts opts;
    int32_t max_blocks, n_blocks, first_free;
    block *block;       /* [max_blocks] */
    int32_t *bucket;    /* [n_buckets] */
    uint64_t n_buckets; /* a power of two */
    int32_t *heap;      /* [max_blocks]: the blocks that nobody uses, the first is the next to go */
    int32_t n_heap;
    uint64_t n_uses;  /* since create: what block.used counts */
    uint64_t version; /* of the set of blocks */
    int32_t max_snaps, n_snaps;
    uint8_t *snap_data;  /* [max_snaps, snap_bytes] */
    int32_t *snap_owner; /* [max_snaps]: block */
    int32_t *snap_free;  /* [max_snaps]: the first max_snaps − n_snaps are free */
    link *snap_use;      /* [max_snaps] */
    list snaps;
    uint64_t n_evicted, n_snaps_evicted;
};

/* ---- lists: newest first ----------------------------------------------------------------------*/

static void unlink_item(list *l, link *item, int32_t i)
{
    const link *x = &item[i];
    if (x->newer == NONE)
        l->newest = x->older;
    else
        item[x->newer].older = x->older;
    if (x->older == NONE)
        l->oldest = x->newer;
    else
        item[x->older].newer = x->newer;
}

static void push_newest(list *l, link *item, int32_t i)
{
    item[i] = (link){.newer = NONE, .older = l->newest};
    if (l->newest != NONE) item[l->newest].newer = i;
    l->newest = i;
    if (l->oldest == NONE) l->oldest = i;
}

/* ---- the heap of blocks that may go -----------------------------------------------------------*/

static bool goes_first(const hd_prefix *p, int32_t a, int32_t b)
{
    return p->block[a].used < p->block[b].used;
}

static void set_place(hd_prefix *p, int32_t place, int32_t i)
{
    p->heap[place] = i;
    p->block[i].in_heap = place;
}

/* Block i, whose place is free, up or down to where it belongs. */
static void sift(hd_prefix *p, int32_t place, int32_t i)
{
    while (place > 0 && goes_first(p, i, p->heap[(place - 1) / 2])) {
        set_place(p, place, p->heap[(place - 1) / 2]);
        place = (place - 1) / 2;
    }
    for (int32_t child; (child = 2 * place + 1) < p->n_heap; place = child) {
        if (child + 1 < p->n_heap && goes_first(p, p->heap[child + 1], p->heap[child])) child++;
        if (!goes_first(p, p->heap[child], i)) break;
        set_place(p, place, p->heap[child]);
    }
    set_place(p, place, i);
}

static void heap_remove(hd_prefix *p, int32_t i)
{
    int32_t place = p->block[i].in_heap, last = p->heap[--p->n_heap];
    p->block[i].in_heap = NONE;
    if (last != i) sift(p, place, last);
}

/* After a change of what counts: in the heap if nobody uses it, else not. */
static void update_heap(hd_prefix *p, int32_t i)
{
    const block *b = &p->block[i];
    bool is_free = b->n_holds == 0 && b->n_behind == 0;
    if (is_free && b->in_heap == NONE) sift(p, p->n_heap++, i);
    if (!is_free && b->in_heap != NONE) heap_remove(p, i);
}

/* The whole path is used now. Blocks that are in use are not in the heap, so at most the last one
 * has to move there. */
static void touch_path(hd_prefix *p, int32_t last)
{
    p->n_uses++;
    for (int32_t i = last; i != NONE; i = p->block[i].parent) p->block[i].used = p->n_uses;
    if (last != NONE && p->block[last].in_heap != NONE) sift(p, p->block[last].in_heap, last);
}

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
    p->heap = hd_mem_try_calloc(n, sizeof *p->heap);
    p->bucket = hd_mem_try_calloc((size_t)p->n_buckets, sizeof *p->bucket);
    p->snap_data = hd_mem_try_calloc(n_snaps, p->opts.snap_bytes); /* touched when used */
    p->snap_owner = hd_mem_try_calloc(n_snaps, sizeof *p->snap_owner);
    p->snap_free = hd_mem_try_calloc(n_snaps, sizeof *p->snap_free);
    p->snap_use = hd_mem_try_calloc(n_snaps, sizeof *p->snap_use);
    if (!p->block || !p->heap || !p->bucket || !p->snap_data || !p->snap_owner || !p->snap_free ||
        !p->snap_use)
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
                     .version = 1,
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
        p->block[i].depth = 0;
        p->first_free = i;
    }
    *out = p;
    return HD_OK;
}

void hd_prefix_destroy(hd_prefix *p)
{
    if (!p) return;
    for (int32_t i = 0; p->block && i < p->max_blocks; i++) {
        if (p->block[i].depth == 0) continue;
        hd_pages_drop(p->opts.csa, p->block[i].csa, -1);
        hd_pages_drop(p->opts.hca, p->block[i].hca, -1);
    }
    hd_mem_free(p->block);
    hd_mem_free(p->heap);
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

uint64_t hd_prefix_version(const hd_prefix *p)
{
    return p->version;
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

void hd_prefix_look(const hd_prefix *p, int32_t i, hd_prefix_view *out)
{
    const block *b = &p->block[i];
    *out = (hd_prefix_view){.parent = b->parent, .csa = b->csa, .hca = b->hca, .ids = b->ids};
}

/* ---- blocks come and go -----------------------------------------------------------------------*/

static void free_snap(hd_prefix *p, int32_t i)
{
    int32_t s = p->block[i].snap;
    if (s == NONE) return;
    p->block[i].snap = NONE;
    unlink_item(&p->snaps, p->snap_use, s);
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
    heap_remove(p, i);
    if (b->parent != NONE) {
        p->block[b->parent].n_behind--;
        update_heap(p, b->parent);
    }
    hd_pages_drop(p->opts.csa, b->csa, -1);
    hd_pages_drop(p->opts.hca, b->hca, -1);
    b->next_hash = p->first_free;
    b->depth = 0;
    p->first_free = i;
    p->n_blocks--;
    p->n_evicted++;
    p->version++;
}

static bool evict_one(hd_prefix *p)
{
    if (p->n_heap == 0) return false;
    evict(p, p->heap[0]);
    return true;
}

bool hd_prefix_make_room(hd_prefix *p, int32_t csa, int32_t hca)
{
    while (p->opts.csa->n_free < csa || p->opts.hca->n_free < hca)
        if (!evict_one(p)) return false;
    return true;
}

/* A free block, behind `parent`; NONE when all are in use. */
static int32_t take_block(hd_prefix *p, int32_t parent)
{
    hd_prefix_hold(p, parent); /* not the one that goes */
    bool has_room = p->first_free != NONE || evict_one(p);
    hd_prefix_drop(p, parent);
    if (!has_room) return NONE;
    int32_t i = p->first_free;
    p->first_free = p->block[i].next_hash;
    return i;
}

/* Constant work: the path before it counts as used when it was found, when it grew, and when its
 * last block is let go. */
int32_t hd_prefix_add(hd_prefix *p, uint64_t group, int32_t parent, const int32_t *ids, int32_t csa,
                      int32_t hca)
{
    int32_t i = find_behind(p, group, parent, ids);
    if (i != NONE) return i;
    i = take_block(p, parent);
    if (i == NONE) return NONE;
    block *b = &p->block[i];
    int32_t *head = bucket_of(p, group, parent, ids);
    *b = (block){.group = group,
                 .parent = parent,
                 .depth = parent == NONE ? 1 : p->block[parent].depth + 1,
                 .csa = csa,
                 .hca = hca,
                 .snap = NONE,
                 .next_hash = *head,
                 .in_heap = NONE,
                 .used = ++p->n_uses};
    memcpy(b->ids, ids, sizeof b->ids);
    *head = i;
    hd_pages_hold(p->opts.csa, csa);
    hd_pages_seal(p->opts.csa, csa, HD_PAGE_ROWS);
    hd_pages_hold(p->opts.hca, hca);
    hd_pages_seal(p->opts.hca, hca, (b->depth - 1) % BLOCKS_PER_HCA_PAGE + 1);
    if (parent != NONE) {
        p->block[parent].n_behind++;
        update_heap(p, parent);
    }
    p->n_blocks++;
    p->version++;
    update_heap(p, i);
    return i;
}

static void swap_page(hd_page_pool *pool, int32_t *page, int32_t other, int32_t n_rows)
{
    if (*page == other) return;
    hd_pages_hold(pool, other);
    hd_pages_seal(pool, other, n_rows);
    hd_pages_drop(pool, *page, -1);
    *page = other;
}

void hd_prefix_settle(hd_prefix *p, int32_t i, const int32_t *csa, const int32_t *hca)
{
    for (; i != NONE; i = p->block[i].parent) {
        block *b = &p->block[i];
        int32_t k = b->depth - 1;
        swap_page(p->opts.csa, &b->csa, csa[k], HD_PAGE_ROWS);
        swap_page(p->opts.hca, &b->hca, hca[k / BLOCKS_PER_HCA_PAGE], k % BLOCKS_PER_HCA_PAGE + 1);
    }
}

bool hd_prefix_goes_on(const hd_prefix *p, int32_t i)
{
    return i != NONE && p->block[i].n_behind > 0;
}

void hd_prefix_hold(hd_prefix *p, int32_t i)
{
    if (i == NONE) return;
    p->block[i].n_holds++;
    update_heap(p, i);
}

void hd_prefix_drop(hd_prefix *p, int32_t i)
{
    if (i == NONE) return;
    block *b = &p->block[i];
    HD_ASSERT(b->n_holds > 0);
    b->n_holds--;
    if (b->n_holds == 0 && b->n_behind == 0) touch_path(p, i);
    update_heap(p, i);
}

/* ---- snapshots --------------------------------------------------------------------------------*/

bool hd_prefix_has_snap(const hd_prefix *p, int32_t i)
{
    return p->block[i].snap != NONE;
}

int32_t hd_prefix_snap_before(const hd_prefix *p, int32_t i)
{
    while (i != NONE && p->block[i].snap == NONE) i = p->block[i].parent;
    return i;
}

const uint8_t *hd_prefix_snap(hd_prefix *p, int32_t i)
{
    int32_t s = p->block[i].snap;
    if (s == NONE) return NULL;
    unlink_item(&p->snaps, p->snap_use, s);
    push_newest(&p->snaps, p->snap_use, s);
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
    push_newest(&p->snaps, p->snap_use, s);
    return p->snap_data + p->opts.snap_bytes * (size_t)s;
}

void hd_prefix_snap_drop(hd_prefix *p, int32_t i)
{
    free_snap(p, i);
}

void hd_prefix_get_stats(const hd_prefix *p, hd_prefix_stats *out)
{
    *out = (hd_prefix_stats){.n_blocks = p->n_blocks,
                             .n_snaps = p->n_snaps,
                             .max_snaps = p->max_snaps,
                             .n_evicted = p->n_evicted,
                             .n_snaps_evicted = p->n_snaps_evicted};
}
