#include "base/arena.h"

#include <stdint.h>

#include "base/mem.h"

#define MIN_BLOCK 4096u
#define MAX_BLOCK (4u << 20)

struct hd_arena_block {
    hd_arena_block *next;
    size_t len, cap;
    HD_ALIGNED(16) char data[];
};

void hd_arena_init(hd_arena *a, size_t max_bytes)
{
    *a = (hd_arena){.max_bytes = max_bytes};
}

static void free_blocks(hd_arena_block *b)
{
    while (b) {
        hd_arena_block *next = b->next;
        hd_mem_free(b);
        b = next;
    }
}

void hd_arena_deinit(hd_arena *a)
{
    free_blocks(a->head);
    *a = (hd_arena){0};
}

void hd_arena_reset(hd_arena *a)
{
    a->used_bytes = 0;
    if (!a->head) return;
    free_blocks(a->head->next);
    a->head->next = NULL;
    a->head->len = 0;
    a->held_bytes = sizeof *a->head + a->head->cap;
}

/* Blocks double in size, so that a large document costs few of them. */
static hd_arena_block *add_block(hd_arena *a, size_t need)
{
    size_t cap = a->head ? a->head->cap * 2 : MIN_BLOCK;
    if (cap > MAX_BLOCK) cap = MAX_BLOCK;
    if (cap < need) cap = need;
    if (need > SIZE_MAX / 2 || a->held_bytes + sizeof(hd_arena_block) + need > a->max_bytes)
        return NULL;
    if (a->held_bytes + sizeof(hd_arena_block) + cap > a->max_bytes) cap = need;
    hd_arena_block *b = hd_mem_try_aligned(16, sizeof *b + cap);
    if (!b) return NULL;
    *b = (hd_arena_block){.next = a->head, .cap = cap};
    a->head = b;
    a->held_bytes += sizeof *b + cap;
    return b;
}

void *hd_arena_try_alloc(hd_arena *a, size_t n, size_t size)
{
    size_t bytes;
    if (__builtin_mul_overflow(n, size, &bytes) || bytes > SIZE_MAX - 16) return NULL;
    bytes = (bytes + 15) & ~(size_t)15;
    hd_arena_block *b = a->head;
    if (!b || bytes > b->cap - b->len) b = add_block(a, bytes);
    if (!b) return NULL;
    void *p = b->data + b->len;
    b->len += bytes;
    a->used_bytes += bytes;
    return memset(p, 0, bytes);
}

hd_str hd_arena_dup(hd_arena *a, hd_str s)
{
    char *p = hd_arena_try_alloc(a, s.len + 1, 1);
    if (!p) return (hd_str){0};
    if (s.len) memcpy(p, s.ptr, s.len);
    return (hd_str){p, s.len};
}
