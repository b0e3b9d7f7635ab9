/* A request inside the engine: what was asked, and how far it is.
 *
 * The text is one array: the prompt, then what was generated. A sequence holds the first n_fed ids
 * of it; when a request has to give its sequence back it keeps the text, and goes on later as if
 * all of it were a prompt. The next token is a function of the text, the settings and the seed, so
 * it does not matter what happened in between. */
#ifndef HD_ENGINE_REQUEST_H
#define HD_ENGINE_REQUEST_H

#include "engine/draft_pace.h"
#include "engine/prefix.h"
#include "hadal/engine.h"
#include "text/constrain.h"

typedef enum hd_request_state {
    HD_REQUEST_WAITING, /* for a sequence: new, or it had to give its sequence back */
    HD_REQUEST_RUNNING,
    HD_REQUEST_DONE
} hd_request_state;

typedef struct hd_request {
    uint64_t id;
    /* what was asked */
    int32_t *text; /* i32 [n_prompt + max_new], owned by whoever made the request; behind n_text
                      guesses may lie */
    int32_t n_prompt, max_new;
    int32_t min_new;         /* no token that ends it is drawn before so many others */
    bool ignores_eos;        /* the end-of-sentence token is one like any other */
    const int32_t *stop_ids; /* i32 [n_stop_ids]: tokens that end it too; owned like text */
    int32_t n_stop_ids;
    bool wants_echo;     /* logits of the prompt are told; so it takes no prefix from the cache */
    bool no_draft;       /* nothing is guessed */
    hd_sampling how;     /* bias borrowed */
    hd_matcher *matcher; /* borrowed: at the end of the text; NULL: every token may come */
    uint64_t group;      /* who may share prefixes */
    uint64_t user;       /* who is to get as much as others do */
    int32_t priority;    /* larger first */
    void *owner;         /* the caller's */
    /* how far it is */
    hd_request_state state;
    hd_end end;
    hd_err err;        /* HD_END_FAILED */
    int32_t n_text;    /* prompt and generated */
    int32_t n_cached;  /* of the prompt: positions whose forward pass was skipped */
    int32_t n_echoed;  /* prompt positions whose logits were told */
    bool is_cancelled; /* to be ended at the next step border; `end` tells why, if other
                           than HD_END_CANCELLED */
    bool is_paused;    /* chooses no token for now: nobody reads them */
    uint64_t turn;     /* order of arrival */
    uint64_t since;    /* step at which it got its sequence */
    int32_t account;   /* its user's, in fair.h */
    bool was_admitted; /* once */
    /* while waiting: the prefix that was found, and the cache's version then; 0: not looked */
    uint64_t looked_at;
    int32_t found;
    bool has_files;     /* what the disk has of its text has been read, or is of no use */
    bool waits_on_disk; /* in this step it is passed over */
    /* while running; block also when it is about to */
    hd_seq *seq;
    hd_pace pace;            /* of guessing; kept while it waits */
    int32_t n_draft;         /* guesses behind the text, for the next step */
    int32_t replay_end;      /* positions before this are replayed; 0: no replay is under way */
    int32_t block;           /* of the prefix cache, held: the whole blocks of the sequence */
    struct hd_request *next; /* in the scheduler's list */
} hd_request;

/* Whether there are prompt positions whose logits are still to be told. */
static inline bool hd_request_echoes(const hd_request *r)
{
    return r->wants_echo && r->n_echoed < r->n_prompt - 1;
}

/* Whether `id` is one of the tokens that end the request. */
static inline bool hd_request_ends_with(const hd_request *r, int32_t eos_id, int32_t id)
{
    int32_t i = 0;
    while (i < r->n_stop_ids && r->stop_ids[i] != id) i++;
    return i < r->n_stop_ids || (id == eos_id && !r->ignores_eos);
}

/* Positions at the front that need not run: all but the last, whose logits are wanted; of a request
 * that wants the logits of its prompt those that were told, before it had to wait. */
static inline int32_t hd_request_n_skippable(const hd_request *r)
{
    return hd_request_echoes(r) ? r->n_echoed : r->n_text - 1;
}

static inline int32_t hd_request_n_new(const hd_request *r)
{
    return r->n_text - r->n_prompt;
}

#endif
