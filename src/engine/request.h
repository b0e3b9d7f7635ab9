/* A request inside the engine: what was asked, and how far it is.
 *
 * The text is one array: the prompt, then what was generated. A sequence holds the first n_fed ids
 * of it; when a request has to give its sequence back it keeps the text, and goes on later as if
 * all of it were a prompt. The next token is a function of the text, the settings and the seed, so
 * it does not matter what happened in between. */
#ifndef HD_ENGINE_REQUEST_H
#define HD_ENGINE_REQUEST_H

#include "engine/prefix.h"
#include "hadal/engine.h"

typedef enum hd_request_state {
    HD_REQUEST_WAITING, /* for a sequence: new, or it had to give its sequence back */
    HD_REQUEST_RUNNING,
    HD_REQUEST_DONE
} hd_request_state;

typedef struct hd_request {
    uint64_t id;
    /* what was asked */
    int32_t *text; /* i32 [n_prompt + max_new], owned by whoever made the request */
    int32_t n_prompt, max_new, min_new;
    bool ignores_eos;
    hd_sampling how;  /* bias borrowed */
    uint64_t group;   /* who may share prefixes */
    int32_t priority; /* larger first */
    void *owner;      /* the caller's */
    /* how far it is */
    hd_request_state state;
    hd_end end;
    hd_err err;        /* HD_END_FAILED */
    int32_t n_text;    /* prompt and generated */
    int32_t n_cached;  /* of the prompt: positions whose forward pass was skipped */
    bool is_cancelled; /* to be ended at the next step border, with `end` */
    bool is_paused;    /* chooses no token for now: nobody reads them */
    uint64_t turn;     /* order of arrival */
    uint64_t since;    /* step at which it got its sequence */
    /* while running; block also when it is about to */
    hd_seq *seq;
    int32_t replay_end;      /* positions before this are replayed; 0: no replay is under way */
    int32_t block;           /* of the prefix cache, held: the whole blocks of the sequence */
    struct hd_request *next; /* in the scheduler's list */
} hd_request;

static inline int32_t hd_request_n_new(const hd_request *r)
{
    return r->n_text - r->n_prompt;
}

#endif
