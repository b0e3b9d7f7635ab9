/* The objects of Responses: items, their content, and the response around them. */
#ifndef HD_SERVER_WRITE_ITEMS_H
#define HD_SERVER_WRITE_ITEMS_H

#include "server/writer_own.h"

typedef enum hd_item_state { HD_ITEM_EMPTY /* just opened */, HD_ITEM_DONE } hd_item_state;

/** What a response object says of its end. */
typedef struct hd_response_end {
    const char *status;
    const char *incomplete_reason;  /* NULL: none */
    const char *error_code, *error; /* NULL: none */
    const hd_event *counts;         /* usage; NULL: not known yet */
    bool has_output;                /* the items so far; else none */
    bool repeats_request;           /* with instructions and tools, which may be long */
} hd_response_end;

bool hd_part_is_custom(const hd_part *p);
/** Of the id of an item. */
const char *hd_item_prefix(const hd_part *p);
void hd_put_item(const hd_writer *w, const hd_part *p, hd_item_state state, hd_buf *out);
/** The content part of reasoning or text. */
void hd_put_content(const hd_writer *w, const hd_part *p, hd_item_state state, hd_buf *out);
/** Log probabilities of all its text, as an array. */
void hd_put_part_logprobs(const hd_writer *w, const hd_part *p, hd_buf *out);
/** `,"name": …`, and `,"namespace": …` if it has one: as the client named the tool. */
void hd_put_call_name(const hd_writer *w, const hd_part *p, hd_buf *out);
void hd_put_response(const hd_writer *w, const hd_response_end *how, hd_buf *out);

#endif
