/* One request on its way: read and submitted by a worker, answered by the loop from the engine's
 * events.
 *
 *   begin -> (worker) work -> go_on -> pump … pump -> finish
 *
 * The client may leave at any time: the call is void then, the engine is told to cancel, and the
 * exchange stays until the engine's last event, which frees the request's place there. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "server/randid.h"
#include "server/serve_parts.h"

#define MAX_TREE_BYTES ((size_t)1 << 30) /* of what a body is read into */
#define BODY_SLACK     ((size_t)64)

/* ---- begin, end -------------------------------------------------------------------------------*/

static void on_gone(void *arg)
{
    hd_exchange *x = arg;
    x->call = NULL;
    atomic_store(&x->is_gone, true);
    if (x->is_submitted) hd_engine_cancel(x->s->opts.engine, x->number);
}

void hd_exchange_begin(hd_serve *s, hd_http_call *call, hd_task task, hd_dialect dialect,
                       hd_key *key, const char *request_id)
{
    hd_exchange *x = hd_mem_calloc(1, sizeof *x);
    x->s = s;
    x->call = call;
    x->task = task;
    x->dialect = dialect;
    x->began_ns = x->last_ns = hd_clock_ns();
    snprintf(x->request_id, sizeof x->request_id, "%s", request_id);
    hd_arena_init(&x->arena, MAX_TREE_BYTES);
    hd_buf_init(&x->body, s->opts.http.max_body_bytes + BODY_SLACK);
    hd_buf_init(&x->out, HD_MAX_OUT_BYTES);
    hd_ids_init(&x->sampled, HD_MAX_PROMPT_IDS);
    hd_http_take_body(call, &x->body);
    hd_http_on_gone(call, on_gone, x);
    if (key) {
        x->has_key = true;
        memcpy(x->key, key->digest, sizeof x->key);
        snprintf(x->key_name, sizeof x->key_name, "%s", key->name);
        key->n_running++;
    }
    x->next = s->open;
    if (x->next) x->next->prev = x;
    s->open = x;
    s->n_open++;
    if (hd_workers_push(s->workers, x)) return;
    x->status = HD_SET_ERR(&x->err, HD_E_BUSY, "too many requests wait to be read");
    x->refusal = HD_REFUSE_FULL;
    hd_exchange_go_on(x);
}

static void drop(hd_exchange *x)
{
    hd_serve *s = x->s;
    hd_key *key = x->has_key ? hd_keys_find_digest(&s->keys, x->key) : NULL;
    if (key) key->n_running--;
    *(x->prev ? &x->prev->next : &s->open) = x->next;
    if (x->next) x->next->prev = x->prev;
    s->n_open--;
    hd_writer_destroy(x->writer);
    hd_arena_deinit(&x->arena);
    hd_buf_deinit(&x->body);
    hd_buf_deinit(&x->out);
    hd_ids_deinit(&x->sampled);
    hd_mem_free(x);
}

void hd_exchange_cut(hd_exchange *x)
{
    if (x->call) {
        hd_http_on_gone(x->call, NULL, NULL);
        hd_http_abort(x->call);
    }
    drop(x);
}

/* One line; what was asked and answered is not in it. */
static void log_access(const hd_exchange *x, const hd_trace_request *r)
{
    char line[400];
    if (!x->s->opts.log || !x->s->opts.logs_access) return;
    snprintf(line, sizeof line,
             "%s key=%s %s ms=%" PRId64 " first_ms=%" PRId64 " prompt=%d cached=%d generated=%d",
             r->id, x->has_key ? x->key_name : "-", r->how, (r->end_ns - r->began_ns) / 1000000,
             r->first_ns ? (r->first_ns - r->began_ns) / 1000000 : 0, r->n_prompt, r->n_cached,
             r->n_generated);
    x->s->opts.log(x->s->opts.ctx, line);
}

/* @param end may be NULL: it did not come to that. */
static void record(const hd_exchange *x, const char *how, const hd_event *end)
{
    const hd_trace_request r = {.id = x->request_id,
                                .how = how,
                                .began_ns = x->began_ns,
                                .submitted_ns = x->submitted_ns,
                                .first_ns = x->first_ns,
                                .end_ns = hd_clock_ns(),
                                .n_prompt = end ? end->n_prompt : 0,
                                .n_cached = end ? end->n_cached : 0,
                                .n_generated = end ? end->n_generated : 0};
    log_access(x, &r);
    hd_tracefile_add(x->s->trace, &r);
}

/* ---- the worker's part ------------------------------------------------------------------------*/

static hd_status check_model(hd_exchange *x, hd_err *err)
{
    hd_str name = x->canon.model;
    if (x->dialect == HD_DIALECT_MESSAGES || name.len == 0 || hd_serve_has_model(x->s, name))
        return HD_OK;
    x->refusal = HD_REFUSE_NO_MODEL;
    hd_status st = HD_SET_ERR(err, HD_E_NOTFOUND, "there is no model '%.*s', only '%s'",
                              HD_STR_CUT(name), x->s->opts.model);
    hd_err_set_path(err, "model");
    return st;
}

/* Messages alone want to be told; counting tokens, which reads the same body, does not. */
static hd_status check_cap(const hd_exchange *x, hd_err *err)
{
    if (x->dialect != HD_DIALECT_MESSAGES || x->canon.max_tokens > 0) return HD_OK;
    hd_status st = HD_SET_ERR(err, HD_E_FORMAT, "'max_tokens' is missing");
    hd_err_set_path(err, "max_tokens");
    return st;
}

static void new_id(void *ctx, char out[24])
{
    (void)ctx;
    hd_randid(out, 24);
}

static hd_status make_writer(hd_exchange *x, int32_t n_prompt, hd_err *err)
{
    const hd_writer_opts opts = {.request = &x->canon,
                                 .tokenizer = x->s->tokenizer,
                                 .created_s = hd_clock_read_ns(CLOCK_REALTIME) / 1000000000,
                                 .n_prompt = n_prompt,
                                 .new_id = new_id,
                                 .ctx = x,
                                 .model = x->s->opts.model,
                                 .fingerprint = x->s->fingerprint,
                                 .request_id = x->request_id,
                                 .reasoning_field = x->s->opts.reasoning_field,
                                 .seal = hd_history_seal};
    return hd_writer_create(&opts, &x->writer, err);
}

static hd_status submit(hd_exchange *x, hd_submit *submit, hd_err *err)
{
    submit->group = submit->user = x->group;
    if (submit->priority > 0) submit->priority = 0; /* a client may step back, not in front */
    submit->queue_timeout_ms = (int64_t)x->s->opts.queue_timeout_s * 1000;
    if (!x->canon.has_seed) HD_ASSERT(getrandom(&submit->how.seed, 8, 0) == 8);
    HD_TRY(make_writer(x, submit->n_ids, err));
    hd_status st = hd_engine_submit(x->s->opts.engine, submit, &x->number, err);
    if (st == HD_E_BUSY) x->refusal = HD_REFUSE_FULL;
    return st;
}

static hd_status generate(hd_exchange *x, const hd_json *body, hd_err *err)
{
    hd_submit request = {0};
    hd_constraint constraint = {0};
    hd_ids ids;
    HD_TRY(hd_canon_parse(x->dialect, body, &x->arena, &x->canon, err));
    HD_TRY(check_model(x, err));
    HD_TRY(check_cap(x, err));
    HD_TRY(hd_history_restore(x, err));
    hd_ids_init(&ids, HD_MAX_PROMPT_IDS);
    hd_status st = hd_canon_render(&x->canon, &x->s->opts.rules, x->s->tokenizer, &x->arena, &ids,
                                   &request, &constraint, err);
    if (st == HD_OK) st = hd_history_begin(x, &ids, err);
    if (st == HD_OK) st = submit(x, &request, err);
    hd_ids_deinit(&ids);
    return st;
}

static hd_status read_body(hd_exchange *x, const hd_json **out, hd_err *err)
{
    const hd_json_opts opts = {.allow_duplicates = true};
    hd_status st = hd_json_parse(hd_buf_str(&x->body), &opts, &x->arena, out, err);
    if (st != HD_OK) x->refusal = HD_REFUSE_BAD_REQUEST; /* nested too deeply is no long prompt */
    if (st == HD_OK && (*out)->kind != HD_JSON_OBJECT) {
        x->refusal = HD_REFUSE_BAD_REQUEST;
        HD_FAIL(err, HD_E_FORMAT, "the body is %s, expected a JSON object",
                hd_json_kind_name((*out)->kind));
    }
    return st;
}

void hd_exchange_work(void *item)
{
    hd_exchange *x = item;
    const hd_json *body;
    x->refusal = HD_REFUSE_INTERNAL;
    x->status = hd_buf_status(&x->body, "the body", &x->err);
    if (x->status == HD_OK && atomic_load(&x->is_gone))
        x->status = HD_SET_ERR(&x->err, HD_E_CANCELLED, "the client has left");
    if (x->status == HD_OK) x->status = read_body(x, &body, &x->err);
    if (x->status == HD_OK)
        x->status = x->task == HD_TASK_GENERATE ? generate(x, body, &x->err)
                                                : hd_endpoint_work(x, body, &x->err);
    if (x->status != HD_OK && x->refusal == HD_REFUSE_INTERNAL)
        x->refusal = hd_api_error_of(&x->err);
    HD_ASSERT(hd_queue_push(x->s->done, x)); /* it has a place for all that are open */
    hd_http_wake(x->s->http);
}

/* ---- the answer -------------------------------------------------------------------------------*/

/* Bytes of the writer to the client; false: it reads too slowly, or memory is out. */
static bool send_out(hd_exchange *x)
{
    hd_err err = {0};
    bool is_whole = hd_writer_status(x->writer, &err) == HD_OK &&
                    hd_buf_status(&x->out, "the answer", &err) == HD_OK;
    if (is_whole && x->call && x->out.len) {
        is_whole = hd_http_send(x->call, hd_buf_str(&x->out));
        x->last_ns = hd_clock_ns();
    }
    hd_buf_reset(&x->out);
    return is_whole;
}

static void cut_slow(hd_exchange *x)
{
    hd_http_call *call = x->call;
    x->call = NULL;
    hd_engine_cancel(x->s->opts.engine, x->number);
    if (call) hd_http_abort(call);
}

static void add_warnings(hd_exchange *x)
{
    for (int32_t i = 0; i < x->canon.n_warnings; i++)
        hd_http_add_header(x->call, "x-hadal-warning", x->canon.warnings[i]);
}

static void begin_stream(hd_exchange *x)
{
    hd_http_add_header(x->call, "cache-control", "no-cache");
    hd_http_add_header(x->call, "x-accel-buffering", "no"); /* nginx would keep events back */
    hd_http_begin(x->call, 200, "text/event-stream");
    x->is_streaming = true;
    hd_writer_begin(x->writer, &x->out);
    if (!send_out(x)) cut_slow(x);
}

static void refuse(hd_exchange *x)
{
    record(x, x->call ? "refused" : "left", NULL);
    if (x->call)
        hd_serve_refuse(x->s, x->call, x->dialect, x->refusal, x->err.text, x->err.path,
                        x->request_id);
    else
        x->s->metrics.n_cancelled++;
    drop(x);
}

void hd_exchange_go_on(hd_exchange *x)
{
    if (x->status != HD_OK) {
        refuse(x);
        return;
    }
    if (x->task != HD_TASK_GENERATE) {
        if (x->call) hd_http_reply(x->call, 200, "application/json", hd_buf_str(&x->out));
        drop(x);
        return;
    }
    x->is_submitted = true;
    x->submitted_ns = hd_clock_ns();
    if (!x->call)
        hd_engine_cancel(x->s->opts.engine, x->number);
    else
        add_warnings(x);
    if (x->call && x->canon.streams) begin_stream(x);
    hd_exchange_pump(x);
}

/* ---- events -----------------------------------------------------------------------------------*/

static void count_token(hd_exchange *x, int32_t id)
{
    hd_metrics *m = &x->s->metrics;
    int64_t now = hd_clock_ns();
    if (x->first_ns == 0) {
        x->first_ns = now;
        hd_hist_add(&m->first_token, 1e-9 * (double)(now - x->began_ns));
    }
    hd_history_take(x, id);
}

static void count_end(hd_exchange *x, const hd_event *e, bool has_failed)
{
    hd_metrics *m = &x->s->metrics;
    double seconds = 1e-9 * (double)(hd_clock_ns() - x->began_ns);
    m->n_prompt += (uint64_t)e->n_prompt;
    m->n_cached += (uint64_t)e->n_cached;
    m->n_generated += (uint64_t)e->n_generated;
    hd_hist_add(&m->whole, seconds);
    if (e->n_generated > 1)
        hd_hist_add(&m->gap, 1e-9 * (double)(hd_clock_ns() - x->first_ns) / (e->n_generated - 1));
    if (!x->call)
        m->n_cancelled++;
    else if (has_failed)
        m->n_failed++;
    else
        m->n_done++;
}

static void reply_whole(hd_exchange *x, const hd_event *end, const hd_err *why)
{
    char ms[24];
    snprintf(ms, sizeof ms, "%" PRId64, (hd_clock_ns() - x->began_ns) / 1000000);
    hd_err lost = {0};
    if (hd_writer_status(x->writer, &lost) != HD_OK ||
        hd_buf_status(&x->out, "the answer", &lost) != HD_OK) {
        hd_serve_refuse(x->s, x->call, x->dialect, HD_REFUSE_INTERNAL, lost.text, "",
                        x->request_id);
        return;
    }
    if (end->end == HD_END_STOP || end->end == HD_END_LENGTH) {
        hd_http_add_header(x->call, "openai-processing-ms", ms);
        hd_http_reply(x->call, 200, "application/json", hd_buf_str(&x->out));
        return;
    }
    /* Behind the first token no mistake of the client is left. */
    hd_refusal refusal =
        end->n_generated && why->code != HD_E_CANCELLED ? HD_REFUSE_INTERNAL : hd_api_error_of(why);
    hd_serve_refuse(x->s, x->call, x->dialect, refusal, why->text, why->path, x->request_id);
}

static void finish(hd_exchange *x, const hd_event *end)
{
    hd_err why = {0};
    bool has_failed = hd_writer_end_fails(end, &why);
    count_end(x, end, has_failed);
    hd_history_keep(x);
    record(x, !x->call ? "left" : has_failed ? "failed" : "done", end);
    if (x->call) hd_http_on_gone(x->call, NULL, NULL);
    if (x->call && x->is_streaming) {
        if (send_out(x))
            hd_http_end(x->call);
        else
            hd_http_abort(x->call);
    } else if (x->call) {
        reply_whole(x, end, &why);
    }
    drop(x);
}

void hd_exchange_pump(hd_exchange *x)
{
    hd_event e;
    while (hd_engine_next(x->s->opts.engine, x->number, 0, &e, NULL) == HD_OK) {
        if (e.kind == HD_EVENT_TOKEN) count_token(x, e.token);
        if (x->call) hd_writer_event(x->writer, &e, &x->out);
        if (e.kind == HD_EVENT_END) {
            finish(x, &e);
            return;
        }
        if (x->is_streaming && x->call && !send_out(x)) cut_slow(x);
    }
}

void hd_exchange_tick(hd_exchange *x, int64_t now_ns)
{
    if (!x->is_streaming || !x->call) return;
    if (now_ns - x->last_ns < (int64_t)x->s->opts.ping_s * 1000000000) return;
    hd_writer_ping(x->writer, &x->out);
    if (!send_out(x)) cut_slow(x);
}
