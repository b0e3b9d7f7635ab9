/* Inside the engine: what its thread (engine.c) and those who submit and read (submit.c) share.
 *
 * A request lives in a slot from submit until its end was read. Its number has the slot's index and
 * how often the slot was used, so an old number never reaches a new request. Who may touch a slot:
 * the one who took it, until it is in the inbox; then the engine's thread, until the end is in
 * `events`; then the one who reads that. Cancels and reads in between go through atomics. */
#ifndef HD_ENGINE_INSIDE_H
#define HD_ENGINE_INSIDE_H

#include <pthread.h>

#include "base/queue.h"
#include "engine/events.h"
#include "engine/output.h"
#include "engine/sched.h"
#include "text/constrain.h"

typedef struct hd_slot {
    hd_request r;
    hd_output output;
    hd_events events;
    _Atomic uint64_t id; /* of its request; 0: free */
    _Atomic uint64_t
        cancelled;       /* the number of a request that is to end: it may be an older one's */
    uint32_t n_uses;     /* under the lock */
    int32_t next_free;   /* under the lock */
    int64_t deadline_ns; /* 0: none */
    int64_t queue_deadline_ns; /* to be running by; 0: none */
    int64_t paused_ns;         /* since when it has no room for events; 0: it has */
    int32_t live_place;        /* in engine.live */
    int32_t n_top;             /* likely tokens in events with log probabilities */
    bool wants_logprobs;       /* of generated tokens */
    bool is_done;              /* but for events that are still aside */
} hd_slot;

enum { HD_N_ENGINE_STATS = sizeof(hd_engine_stats) / sizeof(uint64_t) };

struct hd_engine {
    hd_model *model;
    hd_model_info info;
    hd_tokenizer *tokenizer; /* NULL: the directory has none */
    hd_sched *sched;
    hd_queue *inbox; /* of hd_slot */
    hd_slot *slots;  /* [n_slots] */
    int32_t n_slots;
    pthread_mutex_t lock; /* of what those who submit share */
    int32_t first_free;   /* −1: none */
    hd_vtrie *trie;       /* with the next, made when the first constraint comes */
    hd_grammar_cache *grammars;
    pthread_t thread;
    bool has_thread;
    int event_fd;
    _Atomic int stops;
    hd_slot **live; /* the engine's thread: requests whose end is not in their events yet */
    int32_t n_live;
    bool has_news; /* the engine's thread: events since event_fd was last written */
    _Atomic uint64_t stats[HD_N_ENGINE_STATS];
};

/* submit.c: n slots, all free, and the inbox; and the way back. */
hd_status hd_engine_make_slots(hd_engine *e, int32_t n, hd_err *err) HD_WARN_UNUSED;
void hd_engine_drop_slots(hd_engine *e);

#endif
