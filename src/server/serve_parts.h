/* What the files of the server share. */
#ifndef HD_SERVER_SERVE_PARTS_H
#define HD_SERVER_SERVE_PARTS_H

#include <stdatomic.h>

#include "base/queue.h"
#include "server/api_error.h"
#include "server/keys.h"
#include "server/metrics.h"
#include "server/replay.h"
#include "server/seal.h"
#include "server/serve.h"
#include "server/tracefile.h"
#include "server/workers.h"
#include "server/writer.h"

typedef struct hd_exchange hd_exchange;

struct hd_serve {
    hd_serve_opts opts;
    hd_model_info info;
    hd_tokenizer *tokenizer;
    hd_http *http;
    hd_workers *workers;
    hd_queue *done; /* exchanges that a worker is ready with; the loop pops */
    hd_keys keys;
    hd_replay *replay;
    hd_tracefile *trace; /* may be NULL */
    hd_sealer sealer;
    int32_t think_id, no_think_id; /* <think>, </think> */
    hd_exchange *open;             /* all */
    int n_open;
    bool is_draining;
    int64_t began_ns, drain_until_ns, created_s;
    hd_metrics metrics;
    char fingerprint[40];
};

/** What a path asks for. */
typedef enum hd_task {
    HD_TASK_GENERATE,
    HD_TASK_COUNT, /* count_tokens */
    HD_TASK_TOKENIZE,
    HD_TASK_DETOKENIZE,
    HD_TASK_RENDER
} hd_task;

#define HD_MAX_OUT_BYTES    ((size_t)256 << 20) /* of one answer */
#define HD_MAX_PROMPT_IDS   ((size_t)1 << 28)

#define HD_REQUEST_ID_BYTES 29 /* "req_", 24 characters, NUL */

struct hd_exchange {
    hd_serve *s;
    hd_http_call *call; /* NULL: the client has left, or was told already */
    hd_task task;
    hd_dialect dialect;
    char request_id[HD_REQUEST_ID_BYTES];
    bool has_key; /* counted under this key */
    uint8_t key[HD_SHA256_BYTES];
    char key_name[64];
    int64_t began_ns, submitted_ns, first_ns, last_ns; /* the last: of what was sent */

    /* a worker's, until it is in s->done */
    _Atomic bool is_gone; /* nobody waits for it: no work is needed */
    hd_arena arena;
    hd_buf body;
    hd_canon canon;
    hd_writer *writer;
    hd_ids sampled;  /* the turn, from behind the token that opens it: first what the prompt says */
    bool thinks;     /* that token is <think> */
    uint64_t group;  /* isolation */
    hd_buf out;      /* of the writer; or the whole body of what generates nothing */
    uint64_t number; /* in the engine */
    bool is_submitted;
    hd_status status;
    hd_refusal refusal;
    hd_err err;

    bool is_streaming; /* the answer has begun */
    hd_exchange *prev, *next;
};

/* ---- route.c ----------------------------------------------------------------------------------*/

/** hd_http_opts.on_call. */
void hd_serve_on_call(void *ctx, hd_http_call *call);
/** An error as the whole answer; finishes the call. */
void hd_serve_refuse(hd_serve *s, hd_http_call *call, hd_dialect dialect, hd_refusal why,
                     const char *message, const char *path, const char *request_id);

/* ---- exchange.c -------------------------------------------------------------------------------*/

/** Begin with a request; `key` may be NULL. The call is the exchange's from now on. */
void hd_exchange_begin(hd_serve *s, hd_http_call *call, hd_task task, hd_dialect dialect,
                       hd_key *key, const char *request_id);
/** A worker's part. */
void hd_exchange_work(void *item);
/** Behind a worker's part. */
void hd_exchange_go_on(hd_exchange *x);
/** Send what the engine has. The exchange may be gone behind it. */
void hd_exchange_pump(hd_exchange *x);
/** Once a second: signs of life. */
void hd_exchange_tick(hd_exchange *x, int64_t now_ns);
/** The server ends. */
void hd_exchange_cut(hd_exchange *x);

/* ---- history.c --------------------------------------------------------------------------------*/

/** Fill in what is known of earlier turns: a worker's part, between reading and rendering.
 *  @return HD_E_ARG when reasoning is missing and the server is strict. */
hd_status hd_history_restore(hd_exchange *x, hd_err *err) HD_WARN_UNUSED;
/** How the prompt has begun the turn: a worker's part, behind rendering. */
hd_status hd_history_begin(hd_exchange *x, const hd_ids *prompt, hd_err *err) HD_WARN_UNUSED;
/** A token was sampled. */
void hd_history_take(hd_exchange *x, int32_t id);
/** hd_writer_opts.seal; ctx is the exchange. */
void hd_history_seal(void *ctx, hd_buf *out);
/** The turn is complete: remember it under its calls. */
void hd_history_keep(hd_exchange *x);

/* ---- endpoints.c ------------------------------------------------------------------------------*/

/** Whether `name` is the model that is served. */
bool hd_serve_has_model(const hd_serve *s, hd_str name);
/** A worker's part of what generates nothing: fills x->out. */
hd_status hd_endpoint_work(hd_exchange *x, const hd_json *body, hd_err *err) HD_WARN_UNUSED;
/** GET /v1/models and /v1/models/{id}, /health … `path` without prefixes. false: no such path. */
bool hd_endpoint_get(hd_serve *s, hd_http_call *call, hd_str path, const char *request_id);

#endif
