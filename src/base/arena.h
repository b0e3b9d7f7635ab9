/* Bump allocation: many small pieces, freed together.
 *
 * An arena grows in blocks up to a stated maximum. Pointers stay valid until hd_arena_reset or
 * hd_arena_deinit. hd_arena_try_alloc reports exhaustion as NULL: whatever a file or client sizes
 * goes through an arena with a sensible maximum. */
#ifndef HD_BASE_ARENA_H
#define HD_BASE_ARENA_H

#include <stddef.h>

#include "base/status.h"
#include "base/str.h"

typedef struct hd_arena_block hd_arena_block;

typedef struct hd_arena {
    hd_arena_block *head; /* newest first */
    size_t used_bytes;    /* handed out, alignment included */
    size_t held_bytes;    /* taken from the heap */
    size_t max_bytes;     /* most that held_bytes may reach */
} hd_arena;

void hd_arena_init(hd_arena *a, size_t max_bytes);
void hd_arena_deinit(hd_arena *a);
/** Everything handed out becomes invalid; one block is kept for reuse. */
void hd_arena_reset(hd_arena *a);

/** n * size zeroed bytes aligned to 16, or NULL. */
void *hd_arena_try_alloc(hd_arena *a, size_t n, size_t size);
/** A copy of s in the arena (NUL-terminated behind its end); ptr is NULL when memory is out. */
hd_str hd_arena_dup(hd_arena *a, hd_str s);

#endif
