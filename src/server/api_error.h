/* Errors in the words of the API dialects: which status, type and code each of ours has. One table;
 * docs/http-api.md prints it. */
#ifndef HD_SERVER_API_ERROR_H
#define HD_SERVER_API_ERROR_H

#include "base/buf.h"
#include "server/canon.h"

typedef enum hd_refusal {
    HD_REFUSE_BAD_REQUEST, /* no JSON, a wrong type, something missing, an impossible value */
    HD_REFUSE_BAD_VALUE,
    HD_REFUSE_TOO_LONG, /* the prompt is longer than the context */
    HD_REFUSE_BAD_KEY,
    HD_REFUSE_FORBIDDEN,
    HD_REFUSE_NO_PATH,
    HD_REFUSE_NO_METHOD,
    HD_REFUSE_NO_MODEL,
    HD_REFUSE_TOO_LARGE,   /* the body */
    HD_REFUSE_KEY_LIMIT,   /* requests of one key */
    HD_REFUSE_FULL,        /* the queue */
    HD_REFUSE_UNAVAILABLE, /* starting or draining */
    HD_REFUSE_QUEUE_TIMEOUT,
    HD_REFUSE_INTERNAL
} hd_refusal;

typedef struct hd_api_error {
    int status, messages_status;           /* HTTP; the second on Messages paths */
    const char *openai_type, *openai_code; /* the code may be NULL */
    const char *anthropic_type;
    int retry_after_s; /* 0: a retry cannot help, and x-should-retry: false says so */
} hd_api_error;

const hd_api_error *hd_api_error_get(hd_refusal why);
/** What an error of parsing, rendering or running stands for. */
hd_refusal hd_api_error_of(const hd_err *err);

/** The body: {"error": {…}}, or {"type": "error", …} for Messages.
 *  @param path of the member at fault, or "". @param request_id of the answer's header. */
void hd_api_error_body(hd_dialect dialect, hd_refusal why, const char *message, const char *path,
                       const char *request_id, hd_buf *out);

#endif
