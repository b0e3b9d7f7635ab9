/* hadal/engine.h: many requests at once over one model.
 *
 * An engine has a thread of its own, which batches the requests that are there, step by step, and
 * shares what they have in common. Any thread submits, reads events and cancels. A request's tokens
 * are a function of its ids, its settings and its seed: the same whatever runs beside it, however
 * its prompt was cut, and wherever its state came from.
 *
 *   hd_engine_open -> hd_engine_submit -> hd_engine_next until HD_EVENT_END -> hd_engine_close
 *
 * A request is ids in, events out: tokens, and what they say (text, reasoning, tool calls), if the
 * checkpoint directory has a tokenizer. Prompts are made with hadal/text.h. */
#ifndef HADAL_ENGINE_H
#define HADAL_ENGINE_H

#include "hadal/model.h"
#include "hadal/text.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct hd_engine hd_engine;

/** Where guesses at coming tokens are from. They change how fast a text comes, never what it is. */
typedef enum hd_guess_kind {
    HD_GUESS_BEST, /**< the draft head, if the checkpoint has one and it is loaded; else none */
    HD_GUESS_NONE,
    HD_GUESS_MTP,    /**< the draft head of the April releases */
    HD_GUESS_DSPARK, /**< the draft head of the later ones */
    HD_GUESS_LOOKUP, /**< what followed the last time that the text ended like this */
    HD_GUESS_KINDS
} hd_guess_kind;

/** Wishes for hd_engine_open; zero means the default. */
typedef struct hd_engine_opts {
    hd_model_opts model;  /**< max_seqs: requests that run at once, default 16; max_ctx: default the
                               model's, at most 65,536; kv_tokens: positions of all of them, and of
                               the cache, default 2 · max_ctx */
    int32_t max_requests; /**< waiting, running, or not yet read to their end; default 256 */
    int32_t chunk;        /**< rows of prompts in one step; default: as many as a step has */
    int32_t kv_mb;        /**< memory for the rows of all of them, instead of kv_tokens */
    int32_t
        snapshot_mb; /**< host memory for snapshots of the prefix cache; default 256, −1: none */
    const char *cache_dir; /**< keep prefixes in files there (docs/kv-files.md); NULL: do not */
    int32_t cache_dir_mb;  /**< most that they take; default 16,384 */
    hd_guess_kind draft;   /**< HD_GUESS_BEST loads the draft head, if there is one */
} hd_engine_opts;

/** Open a checkpoint directory and start. @return as hd_model_open; HD_E_NOMEM. */
HD_API HD_WARN_UNUSED hd_status hd_engine_open(const char *dir, const hd_engine_opts *opts,
                                               hd_engine **out, hd_err *err);
/** Ends all requests and the thread. No other call may be under way. NULL is allowed. */
HD_API void hd_engine_close(hd_engine *engine);
HD_API void hd_engine_get_info(const hd_engine *engine, hd_model_info *out);
/** The directory's tokenizer, borrowed; NULL if it has none: then there are only tokens. */
HD_API hd_tokenizer *hd_engine_tokenizer(const hd_engine *engine);

/** What an answer may be (docs/constrain.md). */
typedef struct hd_constraint {
    hd_grammar_kind kind;
    const char *text; /**< UTF-8 [len]: schema, pattern, rules or tools, by kind */
    size_t len;
    int is_strict;         /**< a keyword that cannot be enforced is refused */
    int has_any_order;     /**< members of objects come in any order */
    hd_tool_choice choice; /**< tools */
    const char *tool_name; /**< HD_TOOLS_NAMED */
    int one_call;          /**< tools: at most one */
    /** Called during submit for each thing that is not enforced. May be NULL. */
    void (*warn)(void *ctx, const char *line);
    void *warn_ctx;
} hd_constraint;

/** Which events an answer comes as, beside its tokens. */
typedef enum hd_output_kind {
    HD_OUTPUT_IDS,  /**< none */
    HD_OUTPUT_TEXT, /**< TEXT: as a decoder gives it, tokens marked special left out */
    HD_OUTPUT_CHAT  /**< REASONING, TEXT and TOOL_*: as hd_outparse gives it */
} hd_output_kind;

#define HD_MAX_STOP_IDS     16
#define HD_MAX_TOP_LOGPROBS 20

typedef struct hd_submit {
    const int32_t *ids; /**< [n_ids], copied: the prompt, each 0 … V−1 */
    int32_t n_ids;      /**< ≥ 1 */
    int32_t max_new;    /**< ≥ 1; less come when the context is full */
    int32_t min_new;    /**< nothing but max_new ends it before these: the end-of-sentence token and
                             stop_ids are not drawn, stop strings are not looked for */
    int32_t ignore_eos; /**< non-zero: the end-of-sentence token is one like others */
    const int32_t *stop_ids; /**< [n_stop_ids], copied: each ends it as end of sentence does */
    int32_t n_stop_ids;
    hd_sampling how;          /**< bias: copied */
    uint64_t group;           /**< prefixes are shared within a group only */
    uint64_t user;            /**< requests of different users get equal shares */
    int32_t priority;         /**< larger goes first */
    int64_t timeout_ms;       /**< from submit to the end; 0: none */
    int64_t queue_timeout_ms; /**< from submit until it runs; 0: none */
    hd_output_kind output;
    hd_outparse_opts answer;         /**< CHAT: all of it; TEXT: the stop strings. Copied */
    const hd_constraint *constraint; /**< used during the call, which compiles it; NULL: none */
    int32_t wants_logprobs;          /**< non-zero: TOKEN events have log probabilities */
    int32_t n_top;                   /**< and so many of the likeliest tokens, 0 … 20 */
    int32_t no_draft;                /**< non-zero: nothing is guessed for it */
    int32_t wants_echo; /**< non-zero: PROMPT events, with log probabilities; takes no prefix */
} hd_submit;

/** Queue a request; its number goes to *id.
 *  @return HD_E_ARG (ids, settings), HD_E_LIMIT (it can never fit), HD_E_BUSY (max_requests are
 *  there already), HD_E_NOMEM, HD_E_UNSUPPORTED (text without a tokenizer); for the
 * constraint as hd_grammar_compile. */
HD_API HD_WARN_UNUSED hd_status hd_engine_submit(hd_engine *engine, const hd_submit *request,
                                                 uint64_t *id, hd_err *err);

/** End a request at the next step border; its end event still comes. Unknown numbers do nothing. */
HD_API void hd_engine_cancel(hd_engine *engine, uint64_t id);

typedef enum hd_end {
    HD_END_STOP,      /**< the end-of-sentence token, a stop token or string, a complete grammar */
    HD_END_LENGTH,    /**< max_new tokens, or the context is full */
    HD_END_CANCELLED, /**< hd_engine_cancel or hd_engine_close */
    HD_END_TIMEOUT,   /**< timeout_ms, or nobody read its events for 30 s */
    HD_END_FAILED     /**< the text tells */
} hd_end;

typedef enum hd_event_kind {
    HD_EVENT_PROMPT,     /**< a token of the prompt, in order (echo) */
    HD_EVENT_TOKEN,      /**< a token was generated; what it says follows */
    HD_EVENT_REASONING,  /**< more of the reasoning */
    HD_EVENT_TEXT,       /**< more of the text */
    HD_EVENT_TOOL_OPEN,  /**< a call begins: the tool's name */
    HD_EVENT_TOOL_ARGS,  /**< more of its arguments; joined, a JSON object */
    HD_EVENT_TOOL_CLOSE, /**< they are complete */
    HD_EVENT_END         /**< the last one: the request's number is void behind it */
} hd_event_kind;

/** Natural logarithm of a token's probability: of the model's distribution, before temperature,
 *  penalties, bias, filters and constraints. */
typedef struct hd_logprob {
    int32_t id;
    float logprob;
} hd_logprob;

typedef struct hd_event {
    hd_event_kind kind;
    int32_t token;         /**< TOKEN, PROMPT */
    float logprob;         /**< of it, if asked for; 0 for the first of a prompt, which has none */
    const hd_logprob *top; /**< [n_top], likeliest first; valid until the request's next event */
    int32_t n_top;
    int32_t call;     /**< TOOL_*: number of the call, from 0 */
    const char *text; /**< UTF-8 [len], NUL-terminated; valid until the request's next event */
    size_t len;
    /* END */
    hd_end end;
    int32_t n_prompt, n_generated;
    int32_t n_cached;    /**< of the prompt: positions whose forward pass was skipped */
    int32_t n_reasoning; /**< of the generated: tokens of reasoning (HD_OUTPUT_CHAT) */
    int32_t n_calls;     /**< tool calls that were opened */
    int32_t stop_string; /**< which of answer.stops ended it; −1: none did */
    hd_err err;          /**< HD_END_FAILED: what happened */
} hd_event;

/** The next event of a request; one thread per request. Waits for it at most timeout_ms (0: not at
 *  all, −1: as long as it takes).
 *  @return HD_OK; HD_E_TIMEOUT: nothing yet; HD_E_NOTFOUND: no such request, or its end was read.
 */
HD_API HD_WARN_UNUSED hd_status hd_engine_next(hd_engine *engine, uint64_t id, int timeout_ms,
                                               hd_event *out, hd_err *err);

/** A file descriptor, borrowed, that is readable once any request has new events; reading it (8
 *  bytes) makes it quiet again. For programs with an event loop. */
HD_API int hd_engine_event_fd(const hd_engine *engine);

typedef struct hd_engine_stats {
    uint64_t n_steps, n_rows, n_generated;
    uint64_t n_prompt, n_cached, n_replayed; /**< positions */
    uint64_t n_hits;                         /**< requests that began behind a cached prefix */
    uint64_t n_forks;                        /**< of them: a cached text went on in another way */
    uint64_t n_rewinds;   /**< of them: no snapshot there, so an earlier state was restored or none,
                               and tokens ran again */
    uint64_t n_preempted; /**< gave their sequence back and went on later */
    uint64_t n_evicted;   /**< blocks of the prefix cache that made room */
    uint64_t n_snapshots; /**< kept */
    uint64_t n_draft_checks;               /**< times that guesses were checked */
    uint64_t n_drafted, n_accepted;        /**< guesses; of them, those that were right */
    uint64_t n_disk_hits, n_disk_restored; /**< requests that files spared work; positions read */
    uint64_t n_disk_written, n_disk_evicted, n_disk_bad; /**< files; bad: damaged, so ignored */
    uint64_t n_running, n_waiting;
    /* Pools: places, and those in use. Pages that only the prefix cache holds count as in use,
     * though they are given up when they are needed. */
    uint64_t max_seqs;
    uint64_t max_csa_pages, n_csa_pages; /**< of 32 rows of ratio 4: 128 positions */
    uint64_t max_hca_pages, n_hca_pages; /**< of 32 rows of ratio 128: 4,096 positions */
    uint64_t max_snapshots, n_kept_snapshots;
} hd_engine_stats;

/** Counts since the engine was opened, of about now. Any thread. */
HD_API void hd_engine_get_stats(hd_engine *engine, hd_engine_stats *out);

#ifdef __cplusplus
}
#endif
#endif
