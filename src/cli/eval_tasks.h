/* The task file of an evaluation: questions to a model, and what it should answer.
 *
 * docs/eval.md describes the format. A file is read and checked as a whole: what is wrong with it
 * is told with the row's number and the path of the value, before any model is opened. Rows keep
 * their questions as JSON; hd_eval_request puts in the long texts, which the file holds once. */
#ifndef HD_CLI_EVAL_TASKS_H
#define HD_CLI_EVAL_TASKS_H

#include "base/buf.h"
#include "base/json.h"

typedef struct hd_eval_set {
    hd_str name;
    size_t n_rows;
} hd_eval_set;

/** What a row expects of the answer. */
typedef enum hd_eval_kind {
    HD_EVAL_TEXT,  /* this content */
    HD_EVAL_CALLS, /* these tool calls */
    HD_EVAL_JSON   /* content that is JSON and obeys a schema */
} hd_eval_kind;

typedef struct hd_eval_row {
    size_t number;          /* place in the file's list of rows, from 0 */
    size_t set, n_before;   /* its set, and how many rows of that set come before it */
    const hd_json *request; /* as hd_prompt_create takes it, but for the hole */
    const hd_json *hole;    /* the string of it that holds "{pieces}"; NULL: it has none */
    const hd_json *pieces;  /* what goes there: an array of strings and sentence numbers */
    int32_t max_tokens;     /* of the answer */
    hd_eval_kind kind;
    const hd_json *want; /* TEXT: a string, or an array of them; CALLS: an array; JSON: a value, or
                            NULL for any that obeys the schema */
    const hd_json *schema; /* JSON only */
} hd_eval_row;

typedef struct hd_eval_tasks {
    hd_buf source;
    hd_arena arena;
    hd_str name;       /* of the file, for people; may be empty */
    hd_str *sentences; /* [n_sentences] */
    size_t n_sentences;
    hd_eval_row *rows; /* [n_rows], in the order of the file */
    size_t n_rows;
    hd_eval_set *sets; /* [n_sets], in the order of first appearance */
    size_t n_sets;
} hd_eval_tasks;

/** Read a file. deinit is needed also after a failure.
 *  @return HD_E_IO, HD_E_FORMAT, HD_E_UNSUPPORTED, HD_E_LIMIT, HD_E_NOMEM. */
hd_status hd_eval_tasks_open(hd_eval_tasks *t, const char *path, hd_err *err) HD_WARN_UNUSED;
void hd_eval_tasks_deinit(hd_eval_tasks *t);

/** Append the JSON text of a row's request, its pieces put in. */
hd_status hd_eval_request(const hd_eval_tasks *t, const hd_eval_row *row, hd_buf *out,
                          hd_err *err) HD_WARN_UNUSED;

/** The function object of the tool `name` among those that a request offers; NULL: there is none.
 *  Tools are offered by the request, or by one of its messages. */
const hd_json *hd_eval_find_tool(const hd_json *request, hd_str name);
/** Whether the request offers any. */
bool hd_eval_has_tools(const hd_json *request);

#endif
