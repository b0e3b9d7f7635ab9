#include "engine/disk_index.h"

#include <string.h>

#include "base/mem.h"

#define NONE HD_DISK_NONE

typedef struct file {
    hd_disk_entry e;
    int32_t newer, older;          /* in the order of use; free list: older */
    int32_t next[HD_DISK_SEGMENT]; /* chain of each key in the hash table */
} file;

/* A place of a key is file · 32 + block. */
struct hd_disk_index {
    file *file; /* [max_files] */
    int32_t max_files, n_files, first_free;
    int32_t newest, oldest;
    int32_t *bucket; /* [n_buckets]: place */
    uint64_t n_buckets;
    uint64_t bytes;
};

hd_status hd_disk_index_create(int32_t max_files, hd_disk_index **out, hd_err *err)
{
    HD_ASSERT(max_files > 0 && max_files <= INT32_MAX / HD_DISK_SEGMENT);
    hd_disk_index *ix = hd_mem_calloc(1, sizeof *ix);
    *ix =
        (hd_disk_index){.max_files = max_files, .newest = NONE, .oldest = NONE, .first_free = NONE};
    ix->n_buckets = 16;
    while (ix->n_buckets < (uint64_t)max_files * 8) ix->n_buckets *= 2;
    ix->file = hd_mem_try_calloc((size_t)max_files, sizeof *ix->file);
    ix->bucket = hd_mem_try_calloc((size_t)ix->n_buckets, sizeof *ix->bucket);
    if (!ix->file || !ix->bucket) {
        hd_disk_index_destroy(ix);
        HD_FAIL(err, HD_E_NOMEM, "out of memory for an index of %d files", max_files);
    }
    for (uint64_t i = 0; i < ix->n_buckets; i++) ix->bucket[i] = NONE;
    for (int32_t i = max_files - 1; i >= 0; i--) {
        ix->file[i].older = ix->first_free;
        ix->first_free = i;
    }
    *out = ix;
    return HD_OK;
}

void hd_disk_index_destroy(hd_disk_index *ix)
{
    if (!ix) return;
    hd_mem_free(ix->file);
    hd_mem_free(ix->bucket);
    hd_mem_free(ix);
}

/* ---- the hash table ---------------------------------------------------------------------------*/

/* Keys are digests: any of their bytes will do. */
static int32_t *bucket_of(const hd_disk_index *ix, const hd_disk_key *key)
{
    uint64_t h;
    memcpy(&h, key->byte, sizeof h);
    return &ix->bucket[h & (ix->n_buckets - 1)];
}

static const hd_disk_key *key_at(const hd_disk_index *ix, int32_t place)
{
    return &ix->file[place / HD_DISK_SEGMENT].e.key[place % HD_DISK_SEGMENT];
}

static int32_t *next_of(const hd_disk_index *ix, int32_t place)
{
    return &ix->file[place / HD_DISK_SEGMENT].next[place % HD_DISK_SEGMENT];
}

static bool is_equal(const hd_disk_key *a, const hd_disk_key *b)
{
    return memcmp(a->byte, b->byte, sizeof a->byte) == 0;
}

int32_t hd_disk_index_find(const hd_disk_index *ix, hd_disk_kind kind, const hd_disk_key *key)
{
    int32_t found = NONE;
    for (int32_t p = *bucket_of(ix, key); p != NONE; p = *next_of(ix, p)) {
        const file *f = &ix->file[p / HD_DISK_SEGMENT];
        if (f->e.kind != kind || !is_equal(key_at(ix, p), key)) continue;
        found = p / HD_DISK_SEGMENT;
        if (!f->e.is_busy) break;
    }
    return found;
}

int32_t hd_disk_index_covered(const hd_disk_index *ix, int32_t i)
{
    const hd_disk_entry *e = &ix->file[i].e;
    for (uint32_t b = 0; b + 1 < e->n_blocks; b++)
        for (int32_t p = *bucket_of(ix, &e->key[b]); p != NONE; p = *next_of(ix, p)) {
            const hd_disk_entry *o = &ix->file[p / HD_DISK_SEGMENT].e;
            bool is_last = o->n_blocks == b + 1 && p % HD_DISK_SEGMENT == (int32_t)b;
            if (is_last && o->kind == e->kind && o->from == e->from && !o->is_busy &&
                is_equal(key_at(ix, p), &e->key[b]))
                return p / HD_DISK_SEGMENT;
        }
    return NONE;
}

/* ---- the order of use -------------------------------------------------------------------------*/

static void unlink_file(hd_disk_index *ix, int32_t i)
{
    file *f = &ix->file[i];
    if (f->newer == NONE)
        ix->newest = f->older;
    else
        ix->file[f->newer].older = f->older;
    if (f->older == NONE)
        ix->oldest = f->newer;
    else
        ix->file[f->older].newer = f->newer;
}

static void push_newest(hd_disk_index *ix, int32_t i)
{
    file *f = &ix->file[i];
    f->newer = NONE;
    f->older = ix->newest;
    if (ix->newest != NONE) ix->file[ix->newest].newer = i;
    ix->newest = i;
    if (ix->oldest == NONE) ix->oldest = i;
}

void hd_disk_index_touch(hd_disk_index *ix, int32_t i)
{
    while (i != NONE) {
        unlink_file(ix, i);
        push_newest(ix, i);
        /* Each step goes to a smaller `from`, or from a snapshot to rows: it ends. */
        const hd_disk_entry *e = &ix->file[i].e;
        int32_t up = hd_disk_index_find(ix, HD_DISK_ROWS, &e->parent);
        i = up != NONE && (e->kind == HD_DISK_SNAP || ix->file[up].e.from < e->from) ? up : NONE;
    }
}

int32_t hd_disk_index_oldest(const hd_disk_index *ix)
{
    int32_t i = ix->oldest;
    while (i != NONE && ix->file[i].e.is_busy) i = ix->file[i].newer;
    return i;
}

/* ---- files come and go ------------------------------------------------------------------------*/

bool hd_disk_index_is_full(const hd_disk_index *ix)
{
    return ix->first_free == NONE;
}

int32_t hd_disk_index_add(hd_disk_index *ix, const hd_disk_head *h, bool is_busy)
{
    HD_ASSERT(!hd_disk_index_is_full(ix));
    int32_t i = ix->first_free;
    file *f = &ix->file[i];
    ix->first_free = f->older;
    f->e = (hd_disk_entry){.kind = (hd_disk_kind)h->kind,
                           .from = h->from,
                           .n_blocks = h->n_blocks,
                           .bytes = hd_disk_file_bytes(h),
                           .parent = h->parent,
                           .is_busy = is_busy};
    memcpy(f->e.key, h->key, h->n_blocks * sizeof *h->key);
    for (uint32_t b = 0; b < h->n_blocks; b++) {
        int32_t *head = bucket_of(ix, &h->key[b]);
        f->next[b] = *head;
        *head = i * HD_DISK_SEGMENT + (int32_t)b;
    }
    push_newest(ix, i);
    hd_disk_index_touch(ix, i);
    ix->n_files++;
    ix->bytes += f->e.bytes;
    return i;
}

void hd_disk_index_remove(hd_disk_index *ix, int32_t i)
{
    file *f = &ix->file[i];
    for (uint32_t b = 0; b < f->e.n_blocks; b++) {
        int32_t place = i * HD_DISK_SEGMENT + (int32_t)b, *at = bucket_of(ix, &f->e.key[b]);
        while (*at != place) at = next_of(ix, *at);
        *at = f->next[b];
    }
    unlink_file(ix, i);
    ix->n_files--;
    ix->bytes -= f->e.bytes;
    f->older = ix->first_free;
    ix->first_free = i;
}

void hd_disk_index_ready(hd_disk_index *ix, int32_t i)
{
    ix->file[i].e.is_busy = false;
}

const hd_disk_entry *hd_disk_index_at(const hd_disk_index *ix, int32_t i)
{
    return &ix->file[i].e;
}

void hd_disk_index_name(const hd_disk_index *ix, int32_t i, char out[HD_DISK_NAME_SIZE])
{
    const hd_disk_entry *e = &ix->file[i].e;
    hd_disk_head h = {.kind = e->kind, .from = e->from, .n_blocks = e->n_blocks};
    memcpy(h.key, e->key, sizeof h.key);
    hd_disk_name(&h, out);
}

int32_t hd_disk_index_count(const hd_disk_index *ix)
{
    return ix->n_files;
}

uint64_t hd_disk_index_bytes(const hd_disk_index *ix)
{
    return ix->bytes;
}
