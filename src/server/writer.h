/* Answers: the engine's events in the words of a dialect.
 *
 * A writer takes the events of one request and appends bytes to a buffer: the events of a stream
 * (server-sent events, LF line ends), or one JSON object at the end. It knows no socket, no clock
 * and no randomness: ids and the time come from outside, so that a transcript can be compared byte
 * for byte. What a client is told of a call, an item or a block is decided here, and only here. */
#ifndef HD_SERVER_WRITER_H
#define HD_SERVER_WRITER_H

#include "server/canon.h"

typedef struct hd_writer hd_writer;

typedef struct hd_writer_opts {
    const hd_canon *request; /* outlives the writer */
    hd_tokenizer *tokenizer; /* of log probabilities; may be NULL when none are asked for */
    int64_t created_s;       /* unix time */
    int32_t n_prompt;        /* tokens of it */
    /** 24 random base62 characters for an id that must not be guessed: of the answer, a call… */
    void (*new_id)(void *ctx, char out[24]);
    void *ctx;
    const char *fingerprint;     /* system_fingerprint */
    const char *reasoning_field; /* Chat: "reasoning_content", or "reasoning" */
    /** Reasoning as a seal (base64url) that a client sends back: signature, encrypted_content.
     *  Never empty. May be NULL: then a seal that holds nothing is written. */
    void (*seal)(void *ctx, hd_buf *out);
} hd_writer_opts;

/** @return HD_E_NOMEM. */
hd_status hd_writer_create(const hd_writer_opts *opts, hd_writer **out, hd_err *err) HD_WARN_UNUSED;
/** NULL is allowed. */
void hd_writer_destroy(hd_writer *w);

/** What a stream begins with, once the request is accepted; nothing for a whole answer. */
void hd_writer_begin(hd_writer *w, hd_buf *out);
/** Take an event. HD_EVENT_END completes the answer: the last events of a stream, or all of a whole
 *  answer. An end of kind HD_END_FAILED is not for here: see hd_writer_fail. */
void hd_writer_event(hd_writer *w, const hd_event *e, hd_buf *out);
/** A sign of life for a stream that has nothing to say: each dialect's clients want another. */
void hd_writer_ping(hd_writer *w, hd_buf *out);
/** The stream ends with an error. */
void hd_writer_fail(hd_writer *w, const hd_err *why, hd_buf *out);
/** HD_OK, or why what was written is not whole (memory): the stream must be cut off then. */
hd_status hd_writer_status(const hd_writer *w, hd_err *err) HD_WARN_UNUSED;

#endif
