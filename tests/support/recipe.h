/* The rows of recipe_stream_*: texts that a model gives, and the message that DeepSeek's service
 * makes of each. Here: a row's splitter of answers, and its text on the way into it. */
#ifndef HD_TEST_RECIPE_H
#define HD_TEST_RECIPE_H

#include "base/json.h"
#include "text/outparse.h"

/** A splitter as the row's request wants it; aborts the test on failure.
 *  @param tokenizer NULL: for text and marks. */
hd_outparse *recipe_parser(const hd_json *row, hd_tokenizer *tokenizer);
/** Whether the request has thinking, and which stop strings: into stops [4], NUL-terminated, in
 *  static memory. Returns their number. */
bool recipe_thinks(const hd_json *row);
size_t recipe_stops(const hd_json *row, const char *stops[4]);

/** Push the row's text and finish; `take` is called behind every push, to ask for events.
 *  @param step bytes of text at a time; 0: by ids, for a splitter with this tokenizer. */
void recipe_feed(const hd_json *row, hd_outparse *p, size_t step, hd_tokenizer *tokenizer,
                 void (*take)(hd_outparse *p, void *ctx), void *ctx);

/** The arguments that hadal reads in a row, where it differs from the service by decision (the
 *  reasons are in docs/text.md); NULL: none. */
const char *recipe_decision(const hd_json *row);

#endif
