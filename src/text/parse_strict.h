/* The published parser of whole answers, with all its refusals.
 *
 * For comparisons and for data that must be exact, such as training material. Answers of models go
 * through outparse.h, which forgives. Works on text, where control tokens count by spelling. */
#ifndef HD_TEXT_PARSE_STRICT_H
#define HD_TEXT_PARSE_STRICT_H

#include "base/arena.h"
#include "base/status.h"
#include "text/chat_rules.h"

typedef struct hd_parsed_call {
    hd_str name;
    hd_str arguments; /* JSON text of an object; values given as JSON are not checked */
    hd_str space;     /* namespace, split off the name */
    bool has_space;
} hd_parsed_call;

typedef struct hd_parsed {
    hd_str reasoning, content;
    hd_parsed_call *calls; /* [n_calls] */
    size_t n_calls;
} hd_parsed;

/** @param text   the answer, its end-of-sentence token included.
 *  @param thinks whether the prompt ended in `<think>`.
 *  @param out    slices of `text` and of the arena.
 *  @return HD_E_FORMAT whenever the published parser refuses; HD_E_NOMEM. */
hd_status hd_parse_strict(hd_str text, const hd_chat_rules *rules, bool thinks, hd_arena *arena,
                          hd_parsed *out, hd_err *err) HD_WARN_UNUSED;

#endif
