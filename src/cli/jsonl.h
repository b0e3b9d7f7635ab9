/* Commands that read JSON rows from standard input and write one row for each to standard output.
 *
 * One value a line; blank lines are passed over. Output is flushed whenever the input has nothing
 * more to offer at once, so a program at the other end of two pipes can ask row by row. */
#ifndef HD_CLI_JSONL_H
#define HD_CLI_JSONL_H

#include "base/buf.h"
#include "base/json.h"
#include "base/status.h"
#include "text/ids.h"

/** Answer one row: append the output's text to `out`, without line end.
 *  @param row valid during the call. @return a failure ends the whole run. */
typedef hd_status hd_jsonl_answer(void *ctx, const hd_json *row, hd_buf *out, hd_err *err);

/** Run `answer` over all of standard input. Errors name the line. */
hd_status hd_jsonl_run(hd_jsonl_answer *answer, void *ctx, hd_err *err) HD_WARN_UNUSED;

/** Append an error's text as a JSON string. */
void hd_jsonl_add_message(hd_buf *out, const hd_err *err);

/** Append {"error": TEXT}, for commands that answer a bad row and go on. */
void hd_jsonl_add_error(hd_buf *out, const hd_err *err);

/** Append a JSON array of the ids. */
void hd_jsonl_add_ids(hd_buf *out, const hd_ids *ids);

#endif
