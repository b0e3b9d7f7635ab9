/* From a path to what it asks for, and whether it may be asked. */
#include <stdio.h>
#include <string.h>

#include "server/page.h"
#include "server/randid.h"
#include "server/serve_parts.h"

typedef struct route {
    const char *path; /* without /v1, /beta, /anthropic */
    hd_task task;
    hd_dialect dialect;
} route;

static const route posts[] = {
    {"/chat/completions", HD_TASK_GENERATE, HD_DIALECT_CHAT},
    {"/completions", HD_TASK_GENERATE, HD_DIALECT_COMPLETIONS},
    {"/responses", HD_TASK_GENERATE, HD_DIALECT_RESPONSES},
    {"/messages", HD_TASK_GENERATE, HD_DIALECT_MESSAGES},
    {"/messages/count_tokens", HD_TASK_COUNT, HD_DIALECT_MESSAGES},
    {"/tokenize", HD_TASK_TOKENIZE, HD_DIALECT_CHAT},
    {"/detokenize", HD_TASK_DETOKENIZE, HD_DIALECT_CHAT},
    {"/render", HD_TASK_RENDER, HD_DIALECT_CHAT},
};

/* /anthropic/v1/messages, /beta/completions, /v1/chat/completions, /responses … */
static hd_str strip_prefixes(hd_str path)
{
    static const char *const prefixes[] = {"/anthropic", "/beta", "/v1"};
    for (size_t i = 0; i < HD_COUNT(prefixes); i++) {
        hd_str prefix = hd_str_from(prefixes[i]);
        if (hd_str_starts(path, prefix) && path.len > prefix.len && path.ptr[prefix.len] == '/')
            path = hd_str_skip(path, prefix.len);
    }
    if (path.len > 1 && path.ptr[path.len - 1] == '/') path.len--;
    return path;
}

static const route *find_post(hd_str path)
{
    for (size_t i = 0; i < HD_COUNT(posts); i++)
        if (hd_str_eqz(path, posts[i].path)) return &posts[i];
    return NULL;
}

static bool is_messages(hd_str path)
{
    return hd_str_starts(path, HD_STR("/messages"));
}

/* ---- answers ----------------------------------------------------------------------------------*/

static void add_headers(hd_http_call *call, const char *request_id)
{
    hd_http_add_header(call, "x-request-id", request_id); /* the OpenAI clients read this one, */
    hd_http_add_header(call, "request-id", request_id);   /* the Anthropic clients that one */
    const char *trace = hd_http_header(call, "traceparent");
    if (trace) hd_http_add_header(call, "traceparent", trace);
}

void hd_serve_refuse(hd_serve *s, hd_http_call *call, hd_dialect dialect, hd_refusal why,
                     const char *message, const char *path, const char *request_id)
{
    const hd_api_error *what = hd_api_error_get(why);
    hd_buf body;
    char seconds[16];
    hd_buf_init(&body, (size_t)64 << 10);
    hd_api_error_body(dialect, why, message, path, request_id, &body);
    if (what->retry_after_s) {
        snprintf(seconds, sizeof seconds, "%d", what->retry_after_s);
        hd_http_add_header(call, "retry-after", seconds);
        snprintf(seconds, sizeof seconds, "%d", what->retry_after_s * 1000);
        hd_http_add_header(call, "retry-after-ms", seconds);
    } else {
        hd_http_add_header(call, "x-should-retry", "false");
    }
    s->metrics.n_refused++;
    int status = dialect == HD_DIALECT_MESSAGES ? what->messages_status : what->status;
    hd_http_reply(call, status, "application/json", hd_buf_str(&body));
    hd_buf_deinit(&body);
}

/* ---- who asks ---------------------------------------------------------------------------------*/

static hd_str key_of(const hd_http_call *call)
{
    const char *bearer = hd_http_header(call, "Authorization");
    const char *key = hd_http_header(call, "x-api-key");
    if (bearer && strncasecmp(bearer, "Bearer ", 7) == 0) return hd_str_from(bearer + 7);
    return hd_str_from(key ? key : "");
}

/* What probes read before there is a key for them, and what a browser needs to ask for one. */
static bool is_open(hd_str path)
{
    return hd_str_eqz(path, "/health") || hd_str_eqz(path, "/ready") || hd_page_find(path);
}

/* ---- a request --------------------------------------------------------------------------------*/

typedef struct asked {
    hd_serve *s;
    hd_http_call *call;
    hd_str path;
    hd_dialect dialect;
    char id[HD_REQUEST_ID_BYTES];
} asked;

static void refuse(const asked *a, hd_refusal why, const char *message)
{
    hd_serve_refuse(a->s, a->call, a->dialect, why, message, "", a->id);
}

static void take_post(const asked *a, hd_key *key)
{
    const route *r = find_post(a->path);
    char text[200];
    if (!r) {
        snprintf(text, sizeof text, "there is nothing at '%.*s'",
                 a->path.len < 100 ? (int)a->path.len : 100, a->path.ptr);
        refuse(a, HD_REFUSE_NO_PATH, text);
    } else if (a->s->is_draining) {
        refuse(a, HD_REFUSE_UNAVAILABLE, "the server is about to end; ask another one");
    } else if (key && key->max_running && key->n_running >= key->max_running) {
        snprintf(text, sizeof text, "this key may have %d requests under way, and has them",
                 key->max_running);
        refuse(a, HD_REFUSE_KEY_LIMIT, text);
    } else if (a->s->n_open >= a->s->opts.max_open) {
        refuse(a, HD_REFUSE_FULL, "too many requests are under way");
    } else {
        hd_exchange_begin(a->s, a->call, r->task, r->dialect, key, a->id);
    }
}

static void take_other(const asked *a, const char *method)
{
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0)
        refuse(a, HD_REFUSE_NO_METHOD, "expected GET or POST");
    else if (find_post(a->path))
        refuse(a, HD_REFUSE_NO_METHOD, "expected POST");
    else if (!hd_endpoint_get(a->s, a->call, a->path, a->id))
        refuse(a, HD_REFUSE_NO_PATH, "there is nothing at this path");
}

void hd_serve_on_call(void *ctx, hd_http_call *call)
{
    asked a = {.s = ctx, .call = call, .id = "req_"};
    hd_key *key = NULL;
    hd_randid(a.id + 4, HD_REQUEST_ID_BYTES - 5);
    add_headers(call, a.id);
    a.path = strip_prefixes(hd_http_path(call));
    if (is_messages(a.path)) a.dialect = HD_DIALECT_MESSAGES;
    switch (hd_http_get_defect(call)) {
    case HD_HTTP_TOO_LARGE: refuse(&a, HD_REFUSE_TOO_LARGE, "the body is too large"); return;
    case HD_HTTP_BROKEN: refuse(&a, HD_REFUSE_BAD_REQUEST, "this is no HTTP request"); return;
    case HD_HTTP_SOUND: break;
    }
    if (a.s->keys.n > 0 && !is_open(a.path)) {
        key = hd_keys_find(&a.s->keys, key_of(call));
        if (!key) {
            refuse(&a, HD_REFUSE_BAD_KEY,
                   "no valid key: send 'Authorization: Bearer KEY' or 'x-api-key: KEY'");
            return;
        }
    }
    const char *method = hd_http_method(call);
    if (strcmp(method, "POST") == 0)
        take_post(&a, key);
    else
        take_other(&a, method);
}
