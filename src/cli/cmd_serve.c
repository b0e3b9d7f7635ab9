/* hadal serve: a checkpoint behind the OpenAI and Anthropic APIs, and a page to look at. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"
#include "cli/engine_open.h"
#include "cli/settings.h"
#include "server/release.h"
#include "server/serve.h"

static const char doc[] =
    "Serve the checkpoint in DIR over HTTP: Chat Completions, Completions, Responses and Messages, "
    "and a page at /. It listens on this machine only, unless told otherwise.\v"
    "Each option can also be set in the environment (HADAL_MAX_SEQS=8 for --max-seqs 8) or in a "
    "file (--config; 'max-seqs = 8' in the section [serve]); options count first, then the "
    "environment.\n\n"
    "SIGTERM ends it once all answers are complete, a second one at once; SIGHUP reads the keys "
    "again.\n\n"
    "Examples:\n"
    "  hadal serve models/demo\n"
    "  curl http://127.0.0.1:8000/v1/chat/completions -d '{\"messages\": [{\"role\": \"user\", "
    "\"content\": \"Hello\"}]}'\n"
    "  hadal serve DIR --host 0.0.0.0 --api-key-file keys --cert cert.pem --key key.pem\n\n"
    "docs/operations.md tells how to run it, docs/http-api.md what it speaks.";

typedef struct options {
    const char *dir;
    int64_t checks_config, prints_config;
    /* settings */
    const char *host, *api_key_file, *cert, *key, *cache_dir, *model, *aliases, *device, *isa,
        *reasoning_field, *trace;
    int64_t port, max_connections, max_body_mb, max_requests, drain_s, ping_s, queue_s, workers,
        access_log;
    int64_t max_seqs, ctx, chunk, kv_mb, checkpoint_mb, cache_dir_mb, threads, draft;
    int64_t sampling, chat_release, fim_max_tokens, fim_no_bos, strict_reasoning;
} options;

static const char *const sampling_names[] = {"client", "deepseek", NULL};
static const char *const release_names[] = {"auto", "april", "0731", "v4.1", NULL};
static const char *const draft_names[] = {"best", "none", "mtp", "dspark", "lookup", NULL};

#define AT(field) offsetof(options, field)
#define TEXT(name, field, arg, group, help)                                                        \
    {name, HD_SETTING_TEXT, AT(field), arg, help, group, 0, 0, NULL, NULL}
#define NUMBER(name, field, min, max, group, help)                                                 \
    {name, HD_SETTING_NUMBER, AT(field), "N", help, group, min, max, NULL, NULL}
#define FLAG(name, field, group, help)                                                             \
    {name, HD_SETTING_FLAG, AT(field), NULL, help, group, 0, 0, NULL, NULL}
#define CHOICE(name, field, choices, group, help)                                                  \
    {name, HD_SETTING_CHOICE, AT(field), "WHICH", help, group, 0, 0, choices, NULL}
#define HEADER(group, text) {NULL, HD_SETTING_TEXT, 0, NULL, NULL, group, 0, 0, NULL, text}

static const hd_setting table[] = {
    HEADER(1, "Who can reach it:"),
    TEXT("host", host, "H", 1, "Address to listen on (default 127.0.0.1)"),
    NUMBER("port", port, 0, 65535, 1, "Port (default 8000; 0: a free one)"),
    TEXT("api-key-file", api_key_file, "F", 1, "Keys, one a line: KEY [NAME [LIMIT]]"),
    TEXT("cert", cert, "F", 1, "Certificate, PEM: speak TLS"),
    TEXT("key", key, "F", 1, "The certificate's key, PEM"),
    NUMBER("max-connections", max_connections, 1, 1000000, 1, "Open at once (default 4096)"),
    NUMBER("max-body-mb", max_body_mb, 1, 1024, 1, "Size of a request (default 32)"),
    HEADER(2, "What it serves:"),
    TEXT("model", model, "NAME", 2, "Name of the model (default: the directory's)"),
    TEXT("aliases", aliases, "NAMES", 2, "Further names, separated by commas"),
    CHOICE("sampling", sampling, sampling_names, 2,
           "client (default): as asked; deepseek: by that service's rules"),
    CHOICE("chat-release", chat_release, release_names, 2,
           "Chat format: auto (default), april, 0731 or v4.1"),
    TEXT("reasoning-field", reasoning_field, "NAME", 2,
         "Chat: where the reasoning is (default reasoning_content)"),
    FLAG("strict-reasoning", strict_reasoning, 2,
         "Refuse past turns of calls that come without their reasoning"),
    NUMBER("fim-max-tokens", fim_max_tokens, 1, 1 << 20, 2,
           "Most that fills a hole between prompt and suffix (default 4096)"),
    FLAG("fim-no-bos", fim_no_bos, 2, "No begin of sentence in front of such prompts"),
    HEADER(3, "How much at once:"),
    NUMBER("max-seqs", max_seqs, 1, 4096, 3, "Requests that run at once (default 16)"),
    NUMBER("max-requests", max_requests, 1, 8192, 3, "Running or waiting (default 1024)"),
    NUMBER("ctx", ctx, 1, 1 << 24, 3, "Positions of the longest text (default: 65536, or fewer)"),
    NUMBER("chunk", chunk, 1, 1 << 20, 3, "Rows of prompts in one step"),
    NUMBER("kv-mb", kv_mb, 1, 1 << 30, 3, "Memory for the rows of all texts"),
    NUMBER("checkpoint-mb", checkpoint_mb, 0, 1 << 30, 3,
           "Memory for snapshots of the prefix cache (default 256)"),
    TEXT("cache-dir", cache_dir, "D", 3, "Keep prefixes in files there"),
    NUMBER("cache-dir-mb", cache_dir_mb, 1, 1 << 30, 3, "Most that they take (default 16384)"),
    CHOICE("draft", draft, draft_names, 3, "best (default), none, mtp, dspark or lookup"),
    HEADER(4, "The machine:"),
    TEXT("device", device, "NAME", 4, "cpu (default) or ref"),
    TEXT("isa", isa, "NAME", 4, "Instruction set of device cpu (default: the best)"),
    NUMBER("threads", threads, 0, 4096, 4, "Threads (default: all CPUs)"),
    NUMBER("workers", workers, 1, 64, 4, "Threads that read requests (default 2)"),
    HEADER(5, "Operation:"),
    NUMBER("drain-s", drain_s, 1, 86400, 5, "Time for answers at the end (default 60)"),
    NUMBER("queue-s", queue_s, 1, 86400, 5, "Until a request runs (default 600)"),
    NUMBER("ping-s", ping_s, 1, 3600, 5, "Between signs of life on silent streams (default 10)"),
    TEXT("trace", trace, "F", 5, "Times of requests, for chrome://tracing or Perfetto"),
    FLAG("access-log", access_log, 5, "A line for each request, without its text"),
    {0},
};

enum { OPT_CONFIG = 512, OPT_CHECK, OPT_PRINT };

typedef struct parsing {
    options o;
    hd_settings settings;
} parsing;

static const struct argp_option own_options[] = {
    {"config", OPT_CONFIG, "F", 0, "Settings from a file", 6},
    {"check-config", OPT_CHECK, NULL, 0, "Check all settings and end", 6},
    {"print-config", OPT_PRINT, NULL, 0, "Print all settings as a file and end", 6},
    {0},
};

static error_t parse_setting(int key, char *arg, struct argp_state *state)
{
    return hd_settings_take(state->input, key, arg) ? 0 : ARGP_ERR_UNKNOWN;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    parsing *p = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &p->settings; return 0;
    case OPT_CONFIG: p->settings.file = arg; return 0;
    case OPT_CHECK: p->o.checks_config = 1; return 0;
    case OPT_PRINT: p->o.prints_config = 1; return 0;
    case ARGP_KEY_ARG:
        if (p->o.dir) argp_error(state, "one DIR, please: '%s' is the second", arg);
        p->o.dir = arg;
        return 0;
    case ARGP_KEY_END:
        if (!p->o.dir && !p->o.checks_config && !p->o.prints_config)
            argp_error(state, "no DIR given");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- what is opened ---------------------------------------------------------------------------*/

static hd_status open_engine(const options *o, hd_engine **out, hd_err *err)
{
    static const hd_guess_kind guesses[] = {HD_GUESS_BEST, HD_GUESS_NONE, HD_GUESS_MTP,
                                            HD_GUESS_DSPARK, HD_GUESS_LOOKUP};
    hd_model_args args;
    hd_model_args_init(&args);
    args.dir = o->dir;
    args.device = o->device;
    args.isa = o->isa;
    args.n_threads = (int32_t)o->threads;
    hd_engine_opts opts = {.max_requests = (int32_t)o->max_requests,
                           .chunk = (int32_t)o->chunk,
                           .kv_mb = (int32_t)o->kv_mb,
                           .snapshot_mb = o->checkpoint_mb ? (int32_t)o->checkpoint_mb : -1,
                           .cache_dir = o->cache_dir,
                           .cache_dir_mb = (int32_t)o->cache_dir_mb,
                           .draft = guesses[o->draft]};
    opts.model.max_seqs = (int32_t)o->max_seqs;
    opts.model.max_ctx = (int32_t)o->ctx;
    return hd_open_engine(&args, opts, out, err);
}

/* One token of a real forward pass: what cannot do that is not ready. */
static hd_status try_engine(hd_engine *engine, hd_err *err)
{
    hd_model_info info;
    hd_engine_get_info(engine, &info);
    const int32_t bos = info.bos_id;
    uint64_t id;
    hd_event e;
    const hd_submit request = {.ids = &bos,
                               .n_ids = 1,
                               .max_new = 1,
                               .how = HD_SAMPLING_DEFAULT,
                               .no_draft = 1,
                               .output = HD_OUTPUT_IDS};
    HD_TRY(hd_engine_submit(engine, &request, &id, err));
    do HD_TRY(hd_engine_next(engine, id, -1, &e, err));
    while (e.kind != HD_EVENT_END);
    if (e.end != HD_END_FAILED) return HD_OK;
    *err = e.err;
    return e.err.code;
}

static void log_line(void *ctx, const char *line)
{
    (void)ctx;
    fprintf(stderr, "hadal serve: %s\n", line);
}

static hd_status find_release(const options *o, hd_release *out, char why[300], hd_err *err)
{
    static const hd_release releases[] = {HD_RELEASE_0731, HD_RELEASE_APRIL, HD_RELEASE_0731,
                                          HD_RELEASE_V41};
    if (o->chat_release == 0) return hd_release_find(o->dir, out, why, 300, err);
    *out = releases[o->chat_release];
    snprintf(why, 300, "as asked");
    return HD_OK;
}

/* models/demo/ -> demo */
static const char *name_of(const char *dir, char out[256])
{
    size_t end = strlen(dir), from;
    while (end > 1 && dir[end - 1] == '/') end--;
    for (from = end; from > 0 && dir[from - 1] != '/';) from--;
    snprintf(out, 256, "%.*s", end - from < 255 ? (int)(end - from) : 255, dir + from);
    return out;
}

static void print_plan(const options *o, const hd_model_info *info, const char *model,
                       hd_release release, const char *why)
{
    fprintf(stderr, "%s (%s) on %s\nchat format %s (%s)\n", model, info->variant, info->device,
            hd_release_name(release), why);
    fprintf(stderr,
            "memory: weights %.1f MB, sequences %.1f MB (%d at once, %d positions each at most), "
            "steps %.1f MB, snapshots %lld MB\n",
            1e-6 * (double)info->weight_bytes, 1e-6 * (double)info->state_bytes,
            o->max_seqs ? (int)o->max_seqs : 16, info->max_ctx,
            1e-6 * (double)info->workspace_bytes, (long long)o->checkpoint_mb);
}

static hd_status serve(const options *o, hd_engine *engine, hd_err *err)
{
    hd_model_info info;
    hd_serve *s;
    char name[256], why[300];
    hd_release release;
    hd_engine_get_info(engine, &info);
    HD_TRY(find_release(o, &release, why, err));
    const char *model = o->model ? o->model : name_of(o->dir, name);
    hd_serve_opts opts = {.engine = engine,
                          .http = {.host = o->host,
                                   .port = (uint16_t)o->port,
                                   .cert_file = o->cert,
                                   .key_file = o->key,
                                   .max_body_bytes = (size_t)o->max_body_mb << 20,
                                   .max_connections = (int)o->max_connections},
                          .rules = {.release = release,
                                    .samples_as_deepseek = o->sampling == 1,
                                    .fim_max_tokens = (int32_t)o->fim_max_tokens,
                                    .fim_omits_bos = o->fim_no_bos != 0},
                          .model = model,
                          .aliases = o->aliases,
                          .api_key_file = o->api_key_file,
                          .reasoning_field = o->reasoning_field,
                          .state_dir = o->cache_dir,
                          .is_strict = o->strict_reasoning != 0,
                          .n_workers = (int)o->workers,
                          .ping_s = (int)o->ping_s,
                          .trace_file = o->trace,
                          .queue_timeout_s = (int)o->queue_s,
                          .drain_timeout_s = (int)o->drain_s,
                          .log = log_line,
                          .logs_access = o->access_log != 0};
    HD_TRY(try_engine(engine, err));
    HD_TRY(hd_serve_create(&opts, &s, err));
    print_plan(o, &info, model, release, why);
    fprintf(stderr, "listening on %s://%s:%u\n", o->cert ? "https" : "http", o->host,
            hd_serve_port(s));
    hd_status st = hd_serve_run(s, err);
    hd_serve_destroy(s);
    return st;
}

static hd_status run(parsing *p, hd_err *err)
{
    hd_engine *engine;
    HD_TRY(hd_settings_resolve(&p->settings, err));
    if (p->o.prints_config) hd_settings_print(&p->settings, stdout);
    if (p->o.prints_config || p->o.checks_config) return HD_OK;
    HD_TRY(open_engine(&p->o, &engine, err));
    hd_status st = serve(&p->o, engine, err);
    hd_engine_close(engine);
    return st;
}

int cmd_serve(int argc, char **argv)
{
    static char name[] = "hadal serve";
    static parsing p = {.o = {.host = "127.0.0.1",
                              .port = 8000,
                              .max_connections = 4096,
                              .max_body_mb = 32,
                              .max_requests = 1024,
                              .checkpoint_mb = 256,
                              .cache_dir_mb = 16384,
                              .fim_max_tokens = 4096,
                              .workers = 2,
                              .drain_s = 60,
                              .queue_s = 600,
                              .ping_s = 10}};
    hd_err err = {0};
    hd_settings_init(&p.settings, table, "serve", &p.o);
    const struct argp settings = {p.settings.options, parse_setting, NULL, NULL, NULL, NULL, NULL};
    const struct argp_child children[] = {{&settings, 0, NULL, 0}, {0}};
    const struct argp argp = {own_options, parse_option, "DIR", doc, children, NULL, NULL};
    argv[0] = name;
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &p);
    hd_status st = run(&p, &err);
    if (st != HD_OK) fprintf(stderr, "hadal serve: %s\n", err.text);
    hd_settings_deinit(&p.settings);
    return st == HD_OK ? 0 : st == HD_E_ARG ? 2 : 1;
}
