#include "server/serve.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/clock.h"
#include "base/fs.h"
#include "base/mem.h"
#include "server/serve_parts.h"
#include "server/service.h"

#define DONE_PLACES      8192
#define LAST_WORDS_NS    ((int64_t)3000000000)
#define MAX_REPLAY_BYTES ((size_t)64 << 20)

/* ---- callbacks of the loop --------------------------------------------------------------------*/

static void on_wake(void *ctx)
{
    hd_serve *s = ctx;
    void *x;
    while (hd_queue_pop(s->done, &x)) hd_exchange_go_on(x);
}

/* The engine has events: of whom it does not tell. */
static void on_events(void *ctx)
{
    hd_serve *s = ctx;
    for (hd_exchange *x = s->open, *next; x; x = next) {
        next = x->next;
        if (x->is_submitted) hd_exchange_pump(x);
    }
}

/* Whose time is up is told so, as an answer that has failed; a moment later the connections are
 * cut.
 */
static void stop_when_drained(hd_serve *s)
{
    int64_t late_ns = hd_clock_ns() - s->drain_until_ns;
    if (!s->is_draining) return;
    if (s->n_open == 0 || late_ns > LAST_WORDS_NS)
        hd_http_stop(s->http);
    else if (late_ns > 0)
        for (hd_exchange *x = s->open; x; x = x->next)
            if (x->is_submitted) hd_engine_cancel(s->opts.engine, x->number);
}

static void on_tick(void *ctx)
{
    hd_serve *s = ctx;
    int64_t now = hd_clock_ns();
    for (hd_exchange *x = s->open, *next; x; x = next) {
        next = x->next;
        hd_exchange_tick(x, now);
    }
    stop_when_drained(s);
    hd_service_alive();
}

static void say(hd_serve *s, const char *line)
{
    if (s->opts.log) s->opts.log(s->opts.ctx, line);
}

static void reload_keys(hd_serve *s)
{
    hd_err err = {0};
    hd_keys keys;
    char line[600];
    if (!s->opts.api_key_file) return;
    if (hd_keys_load(s->opts.api_key_file, &s->keys, &keys, &err) != HD_OK) {
        snprintf(line, sizeof line, "%s; the old keys stay", err.text);
        say(s, line);
        return;
    }
    hd_keys_deinit(&s->keys);
    s->keys = keys;
    snprintf(line, sizeof line, "%d keys read from '%s'", keys.n, s->opts.api_key_file);
    say(s, line);
}

static void on_signal(void *ctx, int number)
{
    hd_serve *s = ctx;
    if (number == SIGHUP) {
        reload_keys(s);
        return;
    }
    if (s->is_draining) {
        hd_http_stop(s->http);
        return;
    }
    s->is_draining = true;
    s->drain_until_ns = hd_clock_ns() + (int64_t)s->opts.drain_timeout_s * 1000000000;
    hd_service_stopping();
    say(s, "draining: no new requests; a second signal ends at once");
    stop_when_drained(s);
}

/* ---- create, destroy --------------------------------------------------------------------------*/

static void fill_defaults(hd_serve_opts *o)
{
    if (!o->reasoning_field) o->reasoning_field = "reasoning_content";
    if (!o->http.max_body_bytes) o->http.max_body_bytes = HD_HTTP_MAX_BODY_BYTES;
    if (!o->n_workers) o->n_workers = 2;
    if (!o->max_open) o->max_open = 4096;
    if (o->max_open > DONE_PLACES) o->max_open = DONE_PLACES;
    if (!o->ping_s) o->ping_s = 10;
    if (!o->queue_timeout_s) o->queue_timeout_s = 600;
    if (!o->drain_timeout_s) o->drain_timeout_s = 60;
}

/* What outlives the program, if there is a directory for it. */
static hd_status open_history(hd_serve *s, hd_err *err)
{
    char replay[4096], seal[4096];
    const char *dir = s->opts.state_dir;
    s->think_id = hd_tokenizer_find(s->tokenizer, "<think>");
    s->no_think_id = hd_tokenizer_find(s->tokenizer, "</think>");
    if (dir) {
        if (mkdir(dir, 0700) != 0 && errno != EEXIST)
            HD_FAIL(err, HD_E_IO, "cannot make the directory '%s': %s", dir, strerror(errno));
        HD_TRY(hd_fs_join(dir, "replay.jsonl", replay, sizeof replay, err));
        HD_TRY(hd_fs_join(dir, "seal.key", seal, sizeof seal, err));
    }
    HD_TRY(hd_sealer_init(&s->sealer, dir ? seal : NULL, s->info.vocab_size, err));
    return hd_replay_create(dir ? replay : NULL, MAX_REPLAY_BYTES, &s->replay, err);
}

static hd_status listen_on(hd_serve *s, hd_err *err)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
    hd_http_opts http = s->opts.http;
    http.on_call = hd_serve_on_call;
    http.on_wake = on_wake;
    http.on_readable = on_events;
    http.fd = hd_engine_event_fd(s->opts.engine);
    http.on_tick = on_tick;
    http.on_signal = on_signal;
    http.signals = signals;
    http.n_signals = (int)HD_COUNT(signals);
    http.ctx = s;
    HD_TRY(hd_http_create(&http, &s->http, err));
    if (s->keys.n == 0 && !hd_http_is_loopback(s->http))
        HD_FAIL(err, HD_E_AUTH,
                "'%s' can be reached from other machines, and there are no keys: give "
                "--api-key-file, or listen on 127.0.0.1",
                http.host);
    return HD_OK;
}

hd_status hd_serve_create(const hd_serve_opts *opts, hd_serve **out, hd_err *err)
{
    hd_status st;
    hd_serve *s = hd_mem_calloc(1, sizeof *s);
    s->opts = *opts;
    fill_defaults(&s->opts);
    s->began_ns = hd_clock_ns();
    s->created_s = (int64_t)time(NULL);
    s->tokenizer = hd_engine_tokenizer(opts->engine);
    hd_engine_get_info(opts->engine, &s->info);
    if (!s->opts.rules.max_context) s->opts.rules.max_context = s->info.max_ctx;
    snprintf(s->fingerprint, sizeof s->fingerprint, "hadal-%s", hd_version());
    HD_TRY_GOTO(st, fail,
                s->tokenizer ? HD_OK
                             : HD_SET_ERR(err, HD_E_UNSUPPORTED,
                                          "the model's directory has no tokenizer.json"));
    if (opts->api_key_file)
        HD_TRY_GOTO(st, fail, hd_keys_load(opts->api_key_file, NULL, &s->keys, err));
    HD_TRY_GOTO(st, fail, open_history(s, err));
    if (opts->trace_file)
        HD_TRY_GOTO(st, fail, hd_tracefile_open(opts->trace_file, &s->trace, err));
    HD_TRY_GOTO(st, fail, hd_queue_create(DONE_PLACES, &s->done, err));
    HD_TRY_GOTO(
        st, fail,
        hd_workers_create(s->opts.n_workers, s->opts.max_open, hd_exchange_work, &s->workers, err));
    HD_TRY_GOTO(st, fail, listen_on(s, err));
    *out = s;
    return HD_OK;
fail:
    hd_serve_destroy(s);
    return st;
}

void hd_serve_destroy(hd_serve *s)
{
    if (!s) return;
    hd_workers_destroy(s->workers);
    while (s->open) hd_exchange_cut(s->open);
    hd_http_destroy(s->http);
    hd_queue_destroy(s->done);
    hd_replay_destroy(s->replay);
    hd_tracefile_close(s->trace);
    explicit_bzero(&s->sealer, sizeof s->sealer);
    hd_keys_deinit(&s->keys);
    hd_mem_free(s);
}

uint16_t hd_serve_port(const hd_serve *s)
{
    return hd_http_port(s->http);
}

hd_status hd_serve_run(hd_serve *s, hd_err *err)
{
    hd_service_ready(s->opts.model);
    return hd_http_run(s->http, err);
}
