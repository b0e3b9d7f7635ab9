/* Inside the scheduler: what its files share.
 *
 *   sched.c   create, the plan of a step, what a step brought
 *   admit.c   who waits, who is next, behind which prefix it begins, who must go
 *   choose.c  from logits to tokens, and whether a request is over
 *   draft.h   guesses at the tokens that come next
 *
 * Only these include it. */
#ifndef HD_ENGINE_SCHED_PARTS_H
#define HD_ENGINE_SCHED_PARTS_H

#include "engine/draft.h"
#include "engine/fair.h"
#include "engine/sched.h"
#include "model/v4.h"

/* A snapshot is kept at least this often, so that a replay is short. */
#define HD_SCHED_SNAP_EVERY 4096

struct hd_sched {
    hd_sched_opts opts;
    hd_model *m;
    hd_prefix *prefix;
    hd_disk *disk; /* behind it; NULL: none */
    hd_sampler *sampler;
    hd_drafter *drafter;
    hd_fair fair;
    hd_request *waiting; /* list: priority, then arrival */
    hd_request **run;    /* [max_seqs]: running, in the order of admission */
    int32_t n_run;
    hd_seq **idle; /* [max_seqs]: sequences of nobody, empty */
    int32_t n_idle;
    uint64_t n_added;
    /* of the step */
    hd_v4_part *part;     /* [max_seqs] */
    hd_request **of_part; /* [max_seqs] */
    hd_request **order;   /* [max_seqs] */
    float **dst;          /* [n_logits] */
    float *logits;        /* f32 [n_logits, V]: one for each sequence, HD_HEAD_ROWS more for echoes
                             and as many for drafts */
    uint32_t *mask;       /* u32 [(V + 31) / 32] */
    int32_t *csa, *hca;   /* page tables of a prefix */
    hd_sched_stats stats;
};

/* ---- admit.c ----------------------------------------------------------------------------------*/

/** Higher priority first, then the user who was served less, then who came first. */
bool hd_sched_goes_before(const hd_sched *s, const hd_request *a, const hd_request *b);
/** Put a request among those who wait. */
void hd_sched_enqueue(hd_sched *s, hd_request *r);
/** Give waiting requests sequences while there are some, and pages. */
hd_status hd_sched_admit(hd_sched *s, hd_err *err) HD_WARN_UNUSED;
/** End the requests that are cancelled. */
void hd_sched_drop_cancelled(hd_sched *s);
/** The running request that goes last in line gives its sequence back and waits. */
hd_status hd_sched_preempt_last(hd_sched *s, hd_err *err) HD_WARN_UNUSED;
/** The cache gives up blocks until so many pages are free, or it can give no more: first those that
 *  nobody uses, then those that are still to be written to disk. @return whether they are. */
bool hd_sched_make_room(hd_sched *s, int32_t csa, int32_t hca);
/** r, which does not wait, is done. */
void hd_sched_end(hd_sched *s, hd_request *r, hd_end end);
/** Snapshot at the last multiple of 128 that the sequence has passed, if the cache has that block
 *  and the sequence still holds what belongs to it. */
hd_status hd_sched_keep_snap(hd_sched *s, hd_request *r, hd_err *err) HD_WARN_UNUSED;

/* ---- choose.c ---------------------------------------------------------------------------------*/

/** The next token of r from logits f32 [V]: it is appended and told. *is_over: the request is to be
 *  ended with *end. What goes wrong with one request ends that one, with r->err.
 *  @return HD_E_DEVICE: a logit is NaN or infinite. */
hd_status hd_sched_choose(hd_sched *s, hd_request *r, const float *logits, bool *is_over,
                          hd_end *end, hd_err *err) HD_WARN_UNUSED;

#endif
