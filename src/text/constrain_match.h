/* Inside constrain: running the automaton.
 *
 * A thread is a state, the register of its rule, and a stack frame: where the rule that called goes
 * on, with its register. Frames form a tree by `parent` and are never changed; frame 0 is the
 * bottom. hd_sim holds threads and frames of one computation, used as stacks: a walk appends and
 * cuts off again. */
#ifndef HD_TEXT_CONSTRAIN_MATCH_H
#define HD_TEXT_CONSTRAIN_MATCH_H

#include "text/constrain_trie.h"

struct hd_grammar {
    const hd_vtrie *trie;
    hd_auto a;
    uint32_t root;     /* rule */
    uint32_t n_common; /* states below this are the same in all grammars of the vocabulary */
    atomic_uint n_refs;
    hd_mask_table masks;
    hd_mask_table *shared; /* the trie's */
};

typedef struct hd_thread {
    hd_bits value;
    uint32_t state, frame;
    uint16_t spec;
} hd_thread;

typedef struct hd_frame {
    hd_bits value; /* of the rule that called */
    uint32_t parent, ret;
    uint16_t spec, depth; /* depth of frame 0 is 0 */
} hd_frame;

typedef struct hd_sim {
    const hd_auto *a;
    hd_frame *frame;
    hd_thread *thread;
    uint32_t n_frames, n_threads, cap_frames, cap_threads;
    uint32_t stop;    /* frame at which a rule that ends is not followed further */
    bool ends;        /* the last closure reached the end of a rule at `stop` */
    uint32_t peak;    /* deepest need so far */
    bool is_clipped;  /* something was not followed because the stack would be too deep */
    uint32_t n_steps; /* work so far */
    hd_status status; /* HD_E_LIMIT: too ambiguous; HD_E_NOMEM */
} hd_sim;

#define HD_SIM_MAX_THREADS 256     /* of one configuration */
#define HD_SIM_MAX_STEPS   1500000 /* of one mask: some 10 ms */
#define HD_SIM_STEP_COST   4       /* of a step with calls or ends; a plain one costs 1 */

void hd_sim_deinit(hd_sim *s);
/** Append a thread; room is made. */
void hd_sim_push(hd_sim *s, hd_thread t);
/** Close threads first..n_threads over calls and ends of rules; those that can consume nothing are
 *  dropped. `frames` is where the frames of this step begin: equal ones are made once. */
void hd_sim_close(hd_sim *s, uint32_t first, uint32_t frames);
/** Append what the threads first..first+n become by one byte, closed. */
void hd_sim_step(hd_sim *s, uint32_t first, uint32_t n, uint8_t byte);

/** Threads at rest, with the frames they need. */
typedef struct hd_config {
    hd_thread *thread;
    hd_frame *frame;
    uint32_t n_threads, n_frames, cap_threads, cap_frames;
    bool ends; /* the grammar may end here without a token */
} hd_config;

struct hd_matcher {
    hd_grammar *g;
    hd_sim sim;
    hd_config at[HD_CONSTRAIN_ROLLBACK + 1]; /* a ring */
    unsigned now, n_back;                    /* index in use; how many before it are valid */
    uint32_t *map, cap_map;                  /* scratch: frames that are kept */
    uint32_t *above;                         /* scratch: a mask */
    unsigned longer;                         /* walks from the root: only tokens of more bytes */
    uint32_t *exit, n_exits, cap_exits;      /* scratch of masks */
};

/** Grow table[cap] of elements of `size` bytes to hold n; false when memory is out. */
bool hd_match_room(void *table, uint32_t *cap, size_t n, size_t size);

/** OR into `mask` what thread `t` (of the configuration that the sim holds) allows. */
void hd_mask_thread(hd_matcher *m, const hd_thread *t, uint32_t *mask);

/** Make and keep the long walks from states begin..end of the matcher's grammar, `most` of them and
 *  until hd_clock_thread_ns says `deadline_ns`, so that no sequence has to wait for them. */
void hd_mask_warm_states(hd_matcher *m, uint32_t begin, uint32_t end, unsigned most,
                         int64_t deadline_ns);

#endif
