/* Inside the writers of answers: what writer.c keeps, and what a dialect adds.
 *
 * writer.c turns events into parts (reasoning, text, calls; one is open at a time) and has what all
 * dialects need: whole characters, ids, log probabilities, why an answer ended. A dialect is a
 * table of functions that print: the beginning, a part that opens, more of it, its end, the end of
 * all; and a whole answer from the parts that were kept.
 *
 * Bounded: texts and lists have a stated maximum each (writer.c). A stream keeps nothing but the
 * names and ids of its calls, except that Responses repeats every item when it is done. */
#ifndef HD_SERVER_WRITER_OWN_H
#define HD_SERVER_WRITER_OWN_H

#include "server/api_error.h"
#include "server/unwrap.h"
#include "server/writer.h"
#include "text/detok.h"

typedef enum hd_part_kind { HD_PART_REASONING, HD_PART_TEXT, HD_PART_CALL } hd_part_kind;

/* Bytes of hd_writer.said, or of .kept. */
typedef struct hd_span {
    size_t begin, len;
} hd_span;

typedef struct hd_part {
    hd_part_kind kind;
    bool has_text;             /* something was said in it, kept or not */
    bool is_cut;               /* the answer ended in it */
    char id[32];               /* Responses: of the item */
    char call_id[32];          /* CALL */
    const hd_canon_tool *tool; /* CALL; NULL: none is named so */
    hd_span name;              /* CALL: as the model wrote it */
    hd_span text;              /* reasoning, text, arguments (custom tools: raw input), if kept */
    hd_span seal;              /* REASONING */
    hd_span logprobs;          /* of hd_writer.kept */
} hd_part;

/* Why an answer ended; the columns of docs/http-answers.md. */
typedef enum hd_reason {
    HD_REASON_END,
    HD_REASON_STOP_STRING,
    HD_REASON_CALLS,
    HD_REASON_CAP,
    HD_REASON_CONTEXT,
    HD_REASON_STARVED /* no memory, or nobody read it */
} hd_reason;

typedef struct hd_dialect_ops {
    const char *answer_prefix, *call_prefix; /* of ids */
    bool keeps_streams;                      /* a stream repeats what it said */
    bool seals;
    bool needs_args; /* a call that was cut off before its arguments has {} */
    bool unwraps;    /* calls of custom tools are raw text */
    const char *(*item_prefix)(const hd_part *p); /* of a part's id; NULL: parts have none */
    /* Of streams; begin, open and close may be NULL: */
    void (*begin)(hd_writer *w, hd_buf *out);
    void (*ping)(hd_writer *w, hd_buf *out);
    void (*open)(hd_writer *w, const hd_part *p, hd_buf *out);
    void (*delta)(hd_writer *w, const hd_part *p, hd_str more, hd_buf *out);
    void (*close)(hd_writer *w, const hd_part *p, hd_buf *out);
    void (*finish)(hd_writer *w, const hd_event *end, hd_buf *out);
    void (*fail)(hd_writer *w, hd_refusal why, const hd_err *err, hd_buf *out);
    /* Of whole answers: */
    void (*whole)(hd_writer *w, const hd_event *end, hd_buf *out);
    /* Of both: PROMPT and TOKEN. */
    void (*token)(hd_writer *w, const hd_event *e, hd_buf *out);
} hd_dialect_ops;

extern const hd_dialect_ops hd_write_chat, hd_write_completions, hd_write_responses,
    hd_write_messages;

enum { HD_TOKEN_LISTS = 4 };

struct hd_writer {
    hd_writer_opts opts;
    const hd_dialect_ops *ops;
    const hd_canon *request;
    bool keeps; /* texts and log probabilities */
    bool has_begun, is_done, is_open /* the last part */, is_starved;
    hd_status status; /* of what was written so far */

    char id[40];         /* of the answer */
    int32_t n_calls;     /* opened */
    int32_t n_parts;     /* hd_part [n_parts] in parts */
    int32_t n_tokens;    /* generated */
    int32_t n_echoed;    /* tokens of the prompt */
    uint64_t n_sequence; /* Responses: the next event's number */

    hd_buf parts;
    hd_buf said;     /* names, texts, seals */
    hd_buf head;     /* what all chunks begin with; made at the first one */
    hd_buf scratch;  /* text of one event, whole characters */
    hd_buf raw;      /* the same before that */
    hd_detok halves; /* half a character at the end of an event */
    hd_unwrap unwrap;

    /* Log probabilities of tokens that have not been shown yet, each followed by a comma; what was
     * shown is moved to `kept`. Chat, Responses: one list of objects. Completions: tokens, log
     * probabilities, likely ones, offsets, and all of them stay here in a whole answer. */
    hd_buf lists[HD_TOKEN_LISTS];
    size_t n_thought;  /* bytes of lists[0] that are of reasoning which was not shown */
    bool is_in_text;   /* some was shown */
    hd_buf kept;       /* in a stream: those of one event */
    hd_str fresh;      /* Chat, Responses: those of the text that is written now */
    hd_detok spelling; /* Completions: the text of all tokens */
    size_t n_chars;    /* of it so far */
    int32_t end_think_id, dsml_id;
};

/* ---- parts (writer.c) ---- */

hd_part *hd_writer_part(const hd_writer *w, int32_t i);
static inline hd_str hd_writer_said(const hd_writer *w, hd_span s)
{
    return (hd_str){s.len ? w->said.ptr + s.begin : "", s.len};
}
/** More text of a kind: opens a part, or goes on with the one that is open. */
void hd_writer_say(hd_writer *w, hd_part_kind kind, hd_str text, hd_buf *out);
void hd_writer_new_id(const hd_writer *w, const char *prefix, char *out, size_t out_size);
hd_reason hd_writer_reason(const hd_writer *w, const hd_event *end);

/* ---- pieces of answers (writer_pieces.c) ---- */

/** The bytes `lead`, then a JSON string. */
void hd_put_str(hd_buf *out, const char *lead, hd_str s);
void hd_put_strz(hd_buf *out, const char *lead, const char *s);
/** The name under which the model is known to the client. */
hd_str hd_writer_model(const hd_writer *w);
/** {"id", "object", "created", "model", "system_fingerprint" of Chat and Completions; no `}`. */
void hd_put_envelope(const hd_writer *w, const char *object, hd_buf *out);
/** "usage" of Chat and Completions. */
void hd_put_usage(const hd_event *end, hd_buf *out);
/** The last chunks of Chat and Completions: usage, if asked for, and the end. */
void hd_put_done(const hd_writer *w, const hd_event *end, hd_buf *out);
/** What each chunk of Chat and Completions begins with: `data: ` and the envelope. */
void hd_put_chunk_head(hd_writer *w, const char *object, hd_buf *out);
/** "finish_reason" of Chat and Completions. @param reason NULL: there is more. */
void hd_put_finish_reason(hd_buf *out, const char *reason);
/** hd_dialect_ops.ping of Chat and Completions: a comment. */
void hd_put_keep_alive(hd_writer *w, hd_buf *out);
/** hd_dialect_ops.fail of Chat and Completions: an end without memory is an end with a reason of
 * its own; else `data: {"error": …}`. */
void hd_put_failed_chunks(hd_writer *w, hd_refusal why, const hd_err *err, hd_buf *out);

/* ---- log probabilities (writer_logprobs.c) ---- */

/** hd_dialect_ops.token of Chat and Responses. */
void hd_writer_list_token(hd_writer *w, const hd_event *e, hd_buf *out);
/** Make `fresh` those of the text of part p that is about to be written, and keep them. */
void hd_writer_take_logprobs(hd_writer *w, hd_part *p);
/** Entries, each followed by a comma, as an array. */
void hd_put_list(hd_buf *out, hd_str entries);
/** Completions: add a token to the four lists. Its text, if the prompt's, goes to w->raw. */
void hd_writer_list_columns(hd_writer *w, const hd_event *e);

#endif
