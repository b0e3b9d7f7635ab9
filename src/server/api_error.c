#include "server/api_error.h"

#include <string.h>

#include "base/jsonw.h"

static const hd_api_error errors[] = {
    [HD_REFUSE_BAD_REQUEST] = {400, 400, "invalid_request_error", NULL, "invalid_request_error", 0},
    [HD_REFUSE_BAD_VALUE] = {400, 400, "invalid_request_error", "invalid_value",
                             "invalid_request_error", 0},
    [HD_REFUSE_TOO_LONG] = {400, 400, "invalid_request_error", "context_length_exceeded",
                            "invalid_request_error", 0},
    [HD_REFUSE_BAD_KEY] = {401, 401, "invalid_request_error", "invalid_api_key",
                           "authentication_error", 0},
    [HD_REFUSE_FORBIDDEN] = {403, 403, "invalid_request_error", "permission_denied",
                             "permission_error", 0},
    [HD_REFUSE_NO_PATH] = {404, 404, "invalid_request_error", "not_found", "not_found_error", 0},
    [HD_REFUSE_NO_METHOD] = {405, 405, "invalid_request_error", "method_not_allowed",
                             "invalid_request_error", 0},
    [HD_REFUSE_NO_MODEL] = {404, 404, "invalid_request_error", "model_not_found", "not_found_error",
                            0},
    [HD_REFUSE_TOO_LARGE] = {413, 413, "invalid_request_error", "request_too_large",
                             "request_too_large", 0},
    [HD_REFUSE_KEY_LIMIT] = {429, 429, "rate_limit_error", "rate_limit_exceeded",
                             "rate_limit_error", 1},
    [HD_REFUSE_FULL] = {503, 529, "server_error", "overloaded", "overloaded_error", 2},
    [HD_REFUSE_UNAVAILABLE] = {503, 529, "server_error", "unavailable", "overloaded_error", 5},
    [HD_REFUSE_QUEUE_TIMEOUT] = {503, 504, "server_error", "queue_timeout", "timeout_error", 5},
    [HD_REFUSE_INTERNAL] = {500, 500, "server_error", "internal_error", "api_error", 1},
};

const hd_api_error *hd_api_error_get(hd_refusal why)
{
    return &errors[why];
}

hd_refusal hd_api_error_of(const hd_err *err)
{
    switch (err->code) {
    case HD_E_FORMAT: return HD_REFUSE_BAD_REQUEST;
    case HD_E_ARG:
    case HD_E_UNSUPPORTED: return HD_REFUSE_BAD_VALUE;
    case HD_E_LIMIT: return HD_REFUSE_TOO_LONG;
    case HD_E_BUSY: return HD_REFUSE_FULL;
    case HD_E_AUTH: return HD_REFUSE_BAD_KEY;
    case HD_E_TIMEOUT: return HD_REFUSE_QUEUE_TIMEOUT;
    case HD_E_CANCELLED: return HD_REFUSE_UNAVAILABLE;
    default: return HD_REFUSE_INTERNAL;
    }
}

void hd_api_error_body(hd_dialect dialect, hd_refusal why, const char *message, const char *path,
                       const char *request_id, hd_buf *out)
{
    const hd_api_error *what = &errors[why];
    bool is_messages = dialect == HD_DIALECT_MESSAGES;
    hd_buf_addz(out, is_messages ? "{\"type\":\"error\",\"error\":{\"type\":"
                                 : "{\"error\":{\"message\":");
    if (is_messages) {
        hd_jsonw_str(out, hd_str_from(what->anthropic_type));
        hd_buf_addz(out, ",\"message\":");
    }
    hd_jsonw_str(out, hd_str_from(message));
    if (is_messages) {
        /* Anthropic's client then sends the whole history itself (its tool runner asks first). */
        if (strcmp(path, "thread") == 0)
            hd_buf_addz(out, ",\"details\":{\"error_code\":\"thread_unsupported_request\","
                             "\"unsupported\":[]}");
        hd_buf_addz(out, "},\"request_id\":");
        hd_jsonw_str(out, hd_str_from(request_id));
        hd_buf_addz(out, "}");
        return;
    }
    hd_buf_addz(out, ",\"type\":");
    hd_jsonw_str(out, hd_str_from(what->openai_type));
    hd_buf_addz(out, ",\"param\":");
    if (path[0])
        hd_jsonw_str(out, hd_str_from(path));
    else
        hd_buf_addz(out, "null");
    hd_buf_addz(out, ",\"code\":");
    if (what->openai_code)
        hd_jsonw_str(out, hd_str_from(what->openai_code));
    else
        hd_buf_addz(out, "null");
    hd_buf_addz(out, "}}");
}
