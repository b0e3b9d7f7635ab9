/* The replay map: from the id of a tool call to the tokens of the turn that made it.
 *
 * Clients send a turn back as they have understood it: without its reasoning, with the arguments
 * written anew. The model has seen something else, so the cached prefix would end there. With the
 * map the turn is rendered as it was sampled, whatever the client made of it. It is bounded (the
 * oldest go first), belongs to an isolation group, and can be kept in a file, a line of JSON a
 * turn; lines that cannot be read are skipped. Any thread. */
#ifndef HD_SERVER_REPLAY_H
#define HD_SERVER_REPLAY_H

#include "base/arena.h"

typedef struct hd_replay hd_replay;

typedef struct hd_replay_turn {
    const int32_t *ids; /* i32 [n]: from behind <think> or </think>, end of sentence excluded */
    int32_t n;
    bool thinks; /* it was opened by <think> */
} hd_replay_turn;

/** @param path file that is read, and appended to; NULL: none. @param max_bytes of memory.
 *  @return HD_E_IO. */
hd_status hd_replay_create(const char *path, size_t max_bytes, hd_replay **out,
                           hd_err *err) HD_WARN_UNUSED;
/** NULL is allowed. */
void hd_replay_destroy(hd_replay *r);

/** The turn made these calls. Without memory nothing is kept. */
void hd_replay_put(hd_replay *r, uint64_t group, const hd_str *call_id, int32_t n_calls,
                   const hd_replay_turn *turn);
/** The turn that made the call, its ids copied to `arena`; false: not known, or of another group.
 */
bool hd_replay_get(hd_replay *r, uint64_t group, hd_str call_id, hd_arena *arena,
                   hd_replay_turn *out);

typedef struct hd_replay_stats {
    uint64_t n_turns, n_bytes, n_hits, n_misses;
} hd_replay_stats;
void hd_replay_get_stats(hd_replay *r, hd_replay_stats *out);

#endif
