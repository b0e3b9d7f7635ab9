/* Answers: the engine's events in the words of a dialect.
 *
 * A writer takes the events of one request and appends bytes to a buffer: the events of a stream
 * (server-sent events, LF line ends), or one JSON object at the end. It knows no socket, no clock
 * and no randomness: ids and the time come from outside, so that a transcript can be compared byte
 * for byte. What a client is told of a call, an item or a block is decided here, and only here. */
#ifndef HD_SERVER_WRITER_H
#define HD_SERVER_WRITER_H

#include "base/buf.h"
#include "server/canon.h"

typedef struct hd_writer hd_writer;

typedef struct hd_writer_opts {
    const hd_canon *request; /* outlives the writer */
    hd_tokenizer
        *tokenizer;    /* of log probabilities and echo; may be NULL when neither is asked for */
    int64_t created_s; /* unix time */
    int32_t n_prompt;  /* tokens of it */
    /** 24 random base62 characters for an id that must not be guessed: of the answer, a call… */
    void (*new_id)(void *ctx, char out[24]);
    void *ctx;
    const char *model;           /* named in answers to requests that name none */
    const char *fingerprint;     /* system_fingerprint */
    const char *request_id;      /* of the answer's header, for errors; NULL: none */
    const char *reasoning_field; /* Chat: "reasoning_content", or "reasoning" */
    /** Reasoning as a seal (base64url) that a client sends back: signature, encrypted_content.
     *  Never empty. Called when the first event behind the reasoning comes. May be NULL: then a
     *  seal that holds nothing is written. */
    void (*seal)(void *ctx, hd_buf *out);
} hd_writer_opts;

/** @return HD_E_NOMEM. */
hd_status hd_writer_create(const hd_writer_opts *opts, hd_writer **out, hd_err *err) HD_WARN_UNUSED;
/** NULL is allowed. */
void hd_writer_destroy(hd_writer *w);

/** What a stream begins with, once the request is accepted; nothing for a whole answer. */
void hd_writer_begin(hd_writer *w, hd_buf *out);
/** Take an event. HD_EVENT_END completes the answer: the last events of a stream, or all of a whole
 *  answer. An end that is a failure (hd_writer_end_fails) is as hd_writer_fail. Nothing comes
 * behind an end. */
void hd_writer_event(hd_writer *w, const hd_event *e, hd_buf *out);
/** A sign of life for a stream that has nothing to say: each dialect's clients want another. */
void hd_writer_ping(hd_writer *w, hd_buf *out);
/** The stream ends with an error; for a whole answer, the body of one: its HTTP status is the
 *  caller's (hd_api_error_of). */
void hd_writer_fail(hd_writer *w, const hd_err *why, hd_buf *out);
/** HD_OK, or why what was written is not whole (memory): the stream must be cut off then. */
hd_status hd_writer_status(const hd_writer *w, hd_err *err) HD_WARN_UNUSED;

/** Whether an end (HD_EVENT_END) is a failure, and which: failed, cancelled, out of time. */
bool hd_writer_end_fails(const hd_event *end, hd_err *why);

/** Calls that were opened, and the id under which the client knows one (0 … n − 1): what it will
 *  send back with the result. Valid until the next event. */
int32_t hd_writer_n_calls(const hd_writer *w);
hd_str hd_writer_call_id(const hd_writer *w, int32_t i);

#endif
