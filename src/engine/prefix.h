/* The prefix cache in memory: which token ids the pools hold rows for.
 *
 * A tree of blocks of 128 ids below one root per isolation group. A block holds its page of ratio 4
 * (32 rows, exactly) and the page where its row of ratio 128 lies; neighbours share the latter.
 * Some blocks carry a snapshot of what is not in pages (model/state.h), taken at their end. Ids are
 * compared on every hit: hashes only find candidates. A block in use, by a sequence or by a block
 * behind it, is never thrown out; of the others the least recently used go first, so always leaves:
 * they are in a heap, by when they were used, which is counted in uses, not in time.
 *
 * One thread. Nothing is allocated after create. Blocks are named by index; they stay while held.
 */
#ifndef HD_ENGINE_PREFIX_H
#define HD_ENGINE_PREFIX_H

#include "model/state.h"

typedef struct hd_prefix hd_prefix;

#define HD_PREFIX_NONE (-1)

typedef struct hd_prefix_opts {
    hd_page_pool *csa, *hca; /* borrowed: blocks hold pages of them */
    size_t snap_bytes;       /* of one snapshot */
    size_t snap_budget;      /* bytes for all of them; below one: none are kept */
} hd_prefix_opts;

/** Room for as many blocks as csa has pages. @return HD_E_NOMEM. */
hd_status hd_prefix_create(const hd_prefix_opts *opts, hd_prefix **out, hd_err *err) HD_WARN_UNUSED;
/** Drops all pages. NULL is allowed. */
void hd_prefix_destroy(hd_prefix *p);

/** The last block of the longest path that begins `ids` [n] in the group, HD_PREFIX_NONE if there
 * is none; at most n / 128 blocks. The path becomes the most recently used. */
int32_t hd_prefix_find(hd_prefix *p, uint64_t group, const int32_t *ids, int32_t n);
/** Changes whenever a block comes or goes: until then hd_prefix_find finds the same. Never 0. */
uint64_t hd_prefix_version(const hd_prefix *p);
/** Positions up to the end of a block: a multiple of 128; 0 for HD_PREFIX_NONE. */
int32_t hd_prefix_end(const hd_prefix *p, int32_t block);
/** The pages of the path that ends with `block`: csa i32 [end / 128], hca i32 [pages of end]. */
void hd_prefix_pages(const hd_prefix *p, int32_t block, int32_t *csa, int32_t *hca);

typedef struct hd_prefix_view {
    int32_t parent;     /* block, or HD_PREFIX_NONE */
    int32_t csa, hca;   /* its page of ratio 4; the page with its row of ratio 128 */
    const int32_t *ids; /* i32 [128], as long as the block stays */
} hd_prefix_view;
void hd_prefix_look(const hd_prefix *p, int32_t block, hd_prefix_view *out);

/** The block behind `parent` (HD_PREFIX_NONE: the first of the group) with these 128 ids, which it
 *  makes if it is not there: then it holds the two pages and seals their rows. HD_PREFIX_NONE when
 *  there is no room even after throwing out one. */
int32_t hd_prefix_add(hd_prefix *p, uint64_t group, int32_t parent, const int32_t *ids, int32_t csa,
                      int32_t hca);

/** The path that ends with `block` takes these pages in place of its own: those of a sequence that
 *  holds the same rows. What only the path has held becomes free: its blocks may be from several
 *  sequences, each with a page of its own for what is one page of ratio 128.
 *  @param csa i32 [end / 128]. @param hca i32 [pages of end]. */
void hd_prefix_settle(hd_prefix *p, int32_t block, const int32_t *csa, const int32_t *hca);

/** Whether cached texts go on behind the block. */
bool hd_prefix_goes_on(const hd_prefix *p, int32_t block);

/** A held block, and so its path, stays. */
void hd_prefix_hold(hd_prefix *p, int32_t block);
void hd_prefix_drop(hd_prefix *p, int32_t block);

/** The nearest block at or before `block` on its path that has a snapshot; HD_PREFIX_NONE if none.
 */
int32_t hd_prefix_snap_before(const hd_prefix *p, int32_t block);
bool hd_prefix_has_snap(const hd_prefix *p, int32_t block);
/** Its bytes u8 [snap_bytes]; counts as a use. NULL if it has none. */
const uint8_t *hd_prefix_snap(hd_prefix *p, int32_t block);
/** Room for a snapshot of a block that has none, to be filled by the caller; the least recently
 * used one goes if the budget is full. NULL when snapshots are off. */
uint8_t *hd_prefix_snap_put(hd_prefix *p, int32_t block);
/** A block's snapshot, if it has one, is no good: it goes. */
void hd_prefix_snap_drop(hd_prefix *p, int32_t block);

/** Throw out blocks until the pools have this many free pages, or nothing more can go.
 *  @return whether they have. */
bool hd_prefix_make_room(hd_prefix *p, int32_t csa, int32_t hca);

typedef struct hd_prefix_stats {
    int32_t n_blocks, n_snaps, max_snaps;
    uint64_t n_evicted, n_snaps_evicted; /* since create */
} hd_prefix_stats;
void hd_prefix_get_stats(const hd_prefix *p, hd_prefix_stats *out);

#endif
