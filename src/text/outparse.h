/* From what a model writes to what a client sees: reasoning, text, tool calls.
 *
 * Fed with token ids one by one, it gives events at once, holding back only what may still turn out
 * to be markup: line feeds at the end, and a "<" or "</" before a tag. Tags are recognised by their
 * token, never by spelling, and no part of a recognised tag is ever shown. It forgives what
 * DeepSeek's own service forgives (missing closers, foreign tags, text between calls); docs/text.md
 * lists where it reads more, or differs. The joined result does not depend on how the ids arrive.
 *
 * The public form is in hadal/text.h; here are the entry points for callers that have no ids. */
#ifndef HD_TEXT_OUTPARSE_H
#define HD_TEXT_OUTPARSE_H

#include "base/buf.h"
#include "hadal/text.h"
#include "text/detok.h"
#include "text/stops.h"

typedef enum hd_out_state {
    HD_OUT_IN_REASONING,
    HD_OUT_IN_TEXT,
    HD_OUT_IN_STRAY,   /* behind "</" and the DSML token where nothing is open: up to ">" */
    HD_OUT_IN_BLOCK,   /* between calls: text is discarded */
    HD_OUT_IN_CALL,    /* between the parameters of a call: text is discarded */
    HD_OUT_IN_TAG,     /* in the head of a tag */
    HD_OUT_IN_STRING,  /* in the value of a parameter: text */
    HD_OUT_IN_JSON,    /* in the value of a parameter: JSON */
    HD_OUT_IN_CLOSER,  /* behind "</" and the DSML token that end a value */
    HD_OUT_IN_SKIPPED, /* in the value of a parameter that could not be read */
    HD_OUT_DONE        /* whatever comes is discarded */
} hd_out_state;

/** Tokens that mean something. */
typedef enum hd_out_mark { HD_OUT_MARK_END_THINK, HD_OUT_MARK_DSML } hd_out_mark;

struct hd_outparse {
    hd_detok detok;
    int32_t dsml_id, end_think_id; /* -1: the tokenizer has none */
    bool has_tools;                /* tags are markup */
    hd_stops stops;                /* in text only */

    hd_out_state state;
    hd_out_state outer; /* of a tag, or of a stray one: where it was found */
    bool is_stray_open; /* the text of a stray tag ends with "<" */
    bool is_torn;       /* a value of this call ended with another tag than its own */
    bool is_leading;    /* nothing shown yet: line feeds are dropped */
    char last_shown;    /* last byte of reasoning or text that was shown */
    bool is_finished;   /* the last event was given */
    int n_calls, n_params;

    hd_buf held;    /* text of which it is not known yet what it is */
    hd_buf decoded; /* scratch */
    hd_buf text;    /* of the events */
    hd_buf events;  /* hd_out_record [n] of the latest call */
    size_t i_next;  /* event that hd_outparse_next gives */
};

/** As hd_outparse_push for text that holds no marks, and for marks. */
hd_status hd_outparse_push_text(hd_outparse *p, hd_str text, hd_err *err) HD_WARN_UNUSED;
hd_status hd_outparse_push_mark(hd_outparse *p, hd_out_mark mark, hd_err *err) HD_WARN_UNUSED;

/** A parser without a tokenizer, for the two functions above. */
hd_status hd_outparse_create_textual(const hd_outparse_opts *opts, hd_outparse **out,
                                     hd_err *err) HD_WARN_UNUSED;

#endif
