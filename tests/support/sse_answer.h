/* What a client makes of an answer: the events of a stream joined, or a whole answer taken apart.
 *
 * Reads only what the API dialects promise, with no code of the writers. Every event is checked on
 * the way: its lines, valid UTF-8, one JSON object, its order and its indices; a violation fails
 * the cmocka test. Words of the dialects for why an answer ended become those of Chat Completions.
 */
#ifndef HD_TEST_SSE_ANSWER_H
#define HD_TEST_SSE_ANSWER_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "server/canon.h"

enum { SSE_MAX_CALLS = 16 };

typedef struct sse_answer {
    hd_buf reasoning, text;
    struct {
        hd_buf name, args; /* args: as text; of a custom tool, its raw input */
    } calls[SSE_MAX_CALLS];
    int n_calls;
    char finish[40];                              /* "": the answer did not end */
    int64_t n_prompt, n_cached, n_out, n_thought; /* −1: not told */
    int n_open;                                   /* blocks or items that were opened */
    bool is_open;
} sse_answer;

void sse_answer_init(sse_answer *a);
void sse_answer_deinit(sse_answer *a);
void sse_answer_stream(sse_answer *a, hd_dialect dialect, hd_str bytes);
void sse_answer_whole(sse_answer *a, hd_dialect dialect, hd_str bytes);
/** Ends the program if two answers differ. @param has_objects arguments are objects: white space
 * does not count. */
void sse_answer_same(const sse_answer *a, const sse_answer *b, bool has_objects);

#endif
