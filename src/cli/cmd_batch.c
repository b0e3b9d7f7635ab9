/* hadal batch: many requests from standard input, their results to standard output. */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/batch_job.h"
#include "cli/batch_stats.h"
#include "cli/commands.h"
#include "cli/engine_open.h"
#include "cli/interrupt.h"
#include "cli/opts.h"
#include "cli/progress.h"

#define MAX_LINE_BYTES ((size_t)256 << 20)
#define READ_BYTES     ((size_t)64 << 10)
#define MAX_AHEAD      4096 /* lines that are read but not submitted yet */
#define DEFAULT_OPEN   64

static const char doc[] =
    "Run many requests at once.\n\n"
    "DIR is a checkpoint directory in the official format. Each line of standard input is a "
    "request, a JSON object; each line of standard output is a result, in order of completion. A "
    "result does not depend on what else runs, nor on any option here.\v"
    "A request has one of\n"
    "  messages   a chat; with tools, tool_choice, reasoning_effort (none, low, high, max)\n"
    "  prompt     text to go on from; with suffix, the gap between the two is filled\n"
    "  ids        token ids\n"
    "and any of\n"
    "  id, user, priority, max_tokens, min_tokens, stop, stop_token_ids, ignore_eos,\n"
    "  temperature (default 1; 0: greedy), top_p, top_k, min_p, seed, logit_bias,\n"
    "  presence_penalty, frequency_penalty, repetition_penalty,\n"
    "  logprobs, top_logprobs, echo, response_format,\n"
    "  timeout_ms, arrive_ms (after the start), cancel_after (tokens).\n\n"
    "Examples:\n"
    "  hadal batch DIR --jsonl < requests.jsonl > results.jsonl\n"
    "  echo '{\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}]}' | hadal batch DIR "
    "--jsonl\n\n"
    "A request that is refused or fails gives {\"id\", \"error\": {\"code\", \"message\"}}, and "
    "the "
    "others go on.";

enum {
    OPT_JSONL = 256,
    OPT_CONCURRENCY,
    OPT_CACHE_DIR,
    OPT_CACHE_MB,
    OPT_CHUNK,
    OPT_CTX,
    OPT_KV_MB,
    OPT_CHECKPOINT_MB,
    OPT_MAX_SEQS,
    OPT_DRAFT,
    OPT_STATS
};

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "The work:", 1},
    {"jsonl", OPT_JSONL, NULL, 0, "Requests and results are lines of JSON (the only form)", 1},
    {"concurrency", OPT_CONCURRENCY, "N", 0, "Requests in the engine at once (default 64)", 1},
    {"stats", OPT_STATS, "FILE", 0, "Write counts of what happened, as JSON, at the end", 1},
    {NULL, 0, NULL, 0, "The engine:", 2},
    {"max-seqs", OPT_MAX_SEQS, "N", 0, "Sequences that run at once (default 16)", 2},
    {"ctx", OPT_CTX, "N", 0, "Tokens of the longest text (default: the model's, at most 65536)", 2},
    {"chunk", OPT_CHUNK, "N", 0, "Tokens of prompts in one step", 2},
    {"kv-mb", OPT_KV_MB, "N", 0, "Memory for the rows of texts and of the prefix cache", 2},
    {"checkpoint-mb", OPT_CHECKPOINT_MB, "N", 0,
     "Memory for snapshots of the prefix cache (default 256; 0: none)", 2},
    {"cache-dir", OPT_CACHE_DIR, "DIR", 0, "Keep prefixes in files there", 2},
    {"cache-mb", OPT_CACHE_MB, "N", 0, "Most that those files take (default 16384)", 2},
    {"draft", OPT_DRAFT, "M", 0,
     "Guess tokens ahead: none, mtp, dspark, lookup (default: the best that the checkpoint has)",
     2},
    {0},
};

static const struct argp_child children[] = {{&hd_machine_argp, 0, NULL, 0}, {0}};

/* Jobs are in one of two lists; whatever is done is freed. */
typedef struct batch {
    hd_model_args machine;
    hd_engine_opts engine_opts;
    const char *stats_path;
    int32_t max_open;
    hd_batch_model m;
    hd_batch_job **ahead; /* [MAX_AHEAD]: read, in the order of lines */
    size_t n_ahead;
    hd_batch_job **open; /* [max_open]: in the engine */
    int32_t n_open;
    hd_buf in, out;
    bool is_at_end; /* of the input */
    size_t line_no, n_done, n_failed;
    uint64_t n_generated;
    int64_t began_ns;
    hd_progress progress;
} batch;

static hd_guess_kind parse_draft(const char *arg, const struct argp_state *state)
{
    static const char *const names[] = {[HD_GUESS_NONE] = "none",
                                        [HD_GUESS_MTP] = "mtp",
                                        [HD_GUESS_DSPARK] = "dspark",
                                        [HD_GUESS_LOOKUP] = "lookup"};
    for (size_t i = HD_GUESS_NONE; i < HD_COUNT(names); i++)
        if (strcmp(arg, names[i]) == 0) return (hd_guess_kind)i;
    argp_error(state, "--draft is '%s': expected none, mtp, dspark or lookup", arg);
    return HD_GUESS_NONE;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    batch *b = state->input;
    hd_engine_opts *o = &b->engine_opts;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &b->machine; return 0;
    case OPT_JSONL: return 0;
    case OPT_CONCURRENCY:
        b->max_open = (int32_t)hd_opt_i64(state, "--concurrency", arg, 1, 65536);
        return 0;
    case OPT_STATS: b->stats_path = arg; return 0;
    case OPT_MAX_SEQS:
        o->model.max_seqs = (int32_t)hd_opt_i64(state, "--max-seqs", arg, 1, 4096);
        return 0;
    case OPT_CTX: o->model.max_ctx = (int32_t)hd_opt_i64(state, "--ctx", arg, 2, 1 << 24); return 0;
    case OPT_CHUNK: o->chunk = (int32_t)hd_opt_i64(state, "--chunk", arg, 1, 1 << 20); return 0;
    case OPT_KV_MB: o->kv_mb = (int32_t)hd_opt_i64(state, "--kv-mb", arg, 1, INT32_MAX); return 0;
    case OPT_DRAFT: o->draft = parse_draft(arg, state); return 0;
    case OPT_CACHE_DIR: o->cache_dir = arg; return 0;
    case OPT_CACHE_MB:
        o->cache_dir_mb = (int32_t)hd_opt_i64(state, "--cache-mb", arg, 1, INT32_MAX);
        return 0;
    case OPT_CHECKPOINT_MB:
        o->snapshot_mb = (int32_t)hd_opt_i64(state, "--checkpoint-mb", arg, 0, INT32_MAX);
        if (o->snapshot_mb == 0) o->snapshot_mb = -1;
        return 0;
    case ARGP_KEY_ARG:
        if (b->machine.dir) return ARGP_ERR_UNKNOWN;
        b->machine.dir = arg;
        return 0;
    case ARGP_KEY_END:
        if (!b->machine.dir) argp_error(state, "no DIR given");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- results ----------------------------------------------------------------------------------*/

static void drop_job(hd_batch_job *j)
{
    hd_batch_job_deinit(j);
    hd_mem_free(j);
}

static hd_status flush_out(batch *b, hd_err *err)
{
    HD_TRY(hd_buf_status(&b->out, "a result", err));
    if (fwrite(b->out.ptr, 1, b->out.len, stdout) != b->out.len || fflush(stdout) != 0)
        HD_FAIL(err, HD_E_IO, "cannot write to standard output: %s", strerror(errno));
    hd_buf_reset(&b->out);
    return HD_OK;
}

static hd_status finish_line(batch *b, bool has_failed, hd_err *err)
{
    hd_buf_addc(&b->out, '\n');
    b->n_done++;
    b->n_failed += has_failed;
    return flush_out(b, err);
}

static hd_status refuse(batch *b, const hd_batch_job *j, const hd_err *why, hd_err *err)
{
    hd_batch_write_error(j, why, &b->out);
    return finish_line(b, true, err);
}

/* All events that are there; whether the request has ended. */
static hd_status take_events(batch *b, hd_batch_job *j, bool *has_ended, bool *is_busy, hd_err *err)
{
    hd_event e;
    *has_ended = false;
    for (;;) {
        hd_status st = hd_engine_next(b->m.engine, j->number, 0, &e, err);
        if (st == HD_E_TIMEOUT) return HD_OK;
        HD_TRY(st);
        *is_busy = true;
        hd_batch_take(j, &b->m, &e);
        if (e.kind == HD_EVENT_END) break;
        if (j->cancel_after && j->n_tokens == j->cancel_after && e.kind == HD_EVENT_TOKEN)
            hd_engine_cancel(b->m.engine, j->number);
    }
    *has_ended = true;
    b->n_generated += (uint64_t)e.n_generated;
    hd_batch_write(j, &e, &b->out);
    return finish_line(b, e.end == HD_END_FAILED, err);
}

static hd_status drain(batch *b, bool *is_busy, hd_err *err)
{
    for (int32_t i = b->n_open - 1; i >= 0; i--) {
        bool has_ended;
        HD_TRY(take_events(b, b->open[i], &has_ended, is_busy, err));
        if (!has_ended) continue;
        drop_job(b->open[i]);
        b->open[i] = b->open[--b->n_open];
    }
    return HD_OK;
}

/* ---- requests ---------------------------------------------------------------------------------*/

static void warn(void *ctx, const char *line)
{
    const hd_batch_job *j = ctx;
    fprintf(stderr, "hadal batch: line %zu: %s\n", j->line_no, line);
}

static hd_status read_line(batch *b, hd_str line, hd_err *err)
{
    hd_err why = {0};
    b->line_no++;
    while (line.len && strchr(" \t\r", line.ptr[line.len - 1])) line.len--;
    if (line.len == 0) return HD_OK;
    hd_batch_job *j = hd_mem_calloc(1, sizeof *j);
    hd_batch_job_init(j);
    if (hd_batch_read(j, &b->m, line, b->line_no, &why) == HD_OK) {
        b->ahead[b->n_ahead++] = j;
        return HD_OK;
    }
    hd_status st = refuse(b, j, &why, err);
    drop_job(j);
    return st;
}

static hd_status read_lines(batch *b, hd_err *err)
{
    hd_str rest = hd_buf_str(&b->in);
    hd_status st = HD_OK;
    while (st == HD_OK && b->n_ahead < MAX_AHEAD) {
        size_t n = hd_str_find(rest, HD_STR("\n"), 0);
        if (n == rest.len && !(b->is_at_end && n > 0)) break;
        st = read_line(b, (hd_str){rest.ptr, n}, err);
        rest = hd_str_skip(rest, n < rest.len ? n + 1 : n);
    }
    if (rest.len) memmove(b->in.ptr, rest.ptr, rest.len);
    b->in.len = rest.len;
    return st;
}

/* What standard input has now; at the end of it, the last line too. */
static hd_status read_input(batch *b, hd_err *err)
{
    char *dst = hd_buf_room(&b->in, READ_BYTES);
    if (!dst) return hd_buf_status(&b->in, "a line of the input", err);
    ssize_t n = read(STDIN_FILENO, dst, READ_BYTES);
    if (n < 0 && errno != EINTR)
        HD_FAIL(err, HD_E_IO, "cannot read standard input: %s", strerror(errno));
    if (n > 0) b->in.len += (size_t)n;
    if (n == 0) b->is_at_end = true;
    return read_lines(b, err);
}

static int64_t now_ms(const batch *b)
{
    return (hd_clock_ns() - b->began_ns) / 1000000;
}

/* The first line whose time has come. Returns the milliseconds until there is one; −1: no line. */
static int64_t next_due(const batch *b, size_t *i_due)
{
    int64_t now = now_ms(b), least = -1;
    for (size_t i = 0; i < b->n_ahead; i++) {
        int64_t wait = b->ahead[i]->arrive_ms - now;
        if (wait < 0) wait = 0;
        if (least >= 0 && wait >= least) continue;
        least = wait;
        *i_due = i;
        if (wait == 0) break;
    }
    return least;
}

static hd_status submit(batch *b, hd_batch_job *j, hd_err *err)
{
    hd_err why = {0};
    if (hd_engine_submit(b->m.engine, &j->submit, &j->number, &why) == HD_OK) {
        b->open[b->n_open++] = j;
        return HD_OK;
    }
    hd_status st = refuse(b, j, &why, err);
    drop_job(j);
    return st;
}

static hd_status submit_due(batch *b, hd_err *err)
{
    size_t i;
    while (b->n_open < b->max_open && next_due(b, &i) == 0) {
        hd_batch_job *j = b->ahead[i];
        memmove(b->ahead + i, b->ahead + i + 1, (b->n_ahead - i - 1) * sizeof *b->ahead);
        b->n_ahead--;
        HD_TRY(submit(b, j, err));
    }
    return HD_OK;
}

/* Until there are events, input, or a request's time has come. */
static void wait_for_something(batch *b, bool wants_input)
{
    size_t unused;
    uint64_t count;
    int64_t due = b->n_open < b->max_open ? next_due(b, &unused) : -1;
    int timeout = due >= 0 && due < 500 ? (int)due : 500; /* Ctrl-C is looked at */
    struct pollfd fds[] = {{.fd = hd_engine_event_fd(b->m.engine), .events = POLLIN},
                           {.fd = wants_input ? STDIN_FILENO : -1, .events = POLLIN}};
    if (poll(fds, 2, timeout) > 0 && fds[0].revents) (void)!read(fds[0].fd, &count, sizeof count);
}

static bool has_input(void)
{
    struct pollfd p = {.fd = STDIN_FILENO, .events = POLLIN};
    return poll(&p, 1, 0) > 0;
}

static hd_status run_all(batch *b, hd_err *err)
{
    while (!b->is_at_end || b->in.len || b->n_ahead || b->n_open) {
        bool is_busy = false, wants_input = !b->is_at_end && b->n_ahead < MAX_AHEAD;
        if (hd_interrupt_seen()) HD_FAIL(err, HD_E_CANCELLED, "interrupted");
        if (wants_input && has_input())
            HD_TRY(read_input(b, err));
        else
            HD_TRY(read_lines(b, err));
        HD_TRY(submit_due(b, err));
        HD_TRY(drain(b, &is_busy, err));
        hd_progress_update(&b->progress, b->n_done, b->n_done + b->n_ahead + (size_t)b->n_open);
        if (!is_busy) wait_for_something(b, wants_input);
    }
    return HD_OK;
}

/* ---- the whole --------------------------------------------------------------------------------*/

static hd_status open_engine(batch *b, hd_err *err)
{
    b->engine_opts.max_requests = b->max_open;
    HD_TRY(hd_open_engine(&b->machine, b->engine_opts, &b->m.engine, err));
    hd_engine_get_info(b->m.engine, &b->m.info);
    b->m.prompter = (hd_prompter){.tokenizer = hd_engine_tokenizer(b->m.engine),
                                  .bos_id = b->m.info.bos_id,
                                  .is_april = b->m.info.chat_release == 0};
    b->m.warn = warn;
    return HD_OK;
}

static hd_status run_batch(batch *b, hd_err *err)
{
    HD_TRY(open_engine(b, err));
    hd_interrupt_install(HD_INTERRUPT_TWICE_KILLS);
    b->began_ns = hd_clock_ns();
    hd_progress_init(&b->progress, "answering", HD_PROGRESS_ROWS);
    hd_status st = run_all(b, err);
    hd_progress_end(&b->progress);
    HD_TRY(st);
    double seconds = (double)(hd_clock_ns() - b->began_ns) * 1e-9;
    fprintf(stderr, "%zu requests, %zu failed; %" PRIu64 " tokens in %.1f s; %s\n", b->n_done,
            b->n_failed, b->n_generated, seconds, b->m.info.device);
    return b->stats_path
               ? hd_batch_write_stats(b->m.engine, b->n_done, b->n_failed, b->stats_path, err)
               : HD_OK;
}

static void init_batch(batch *b)
{
    hd_model_args_init(&b->machine);
    b->max_open = DEFAULT_OPEN;
    hd_buf_init(&b->in, MAX_LINE_BYTES);
    hd_buf_init(&b->out, 16 * MAX_LINE_BYTES);
    b->ahead = hd_mem_calloc(MAX_AHEAD, sizeof(hd_batch_job *));
}

static void deinit_batch(batch *b)
{
    for (size_t i = 0; i < b->n_ahead; i++) drop_job(b->ahead[i]);
    for (int32_t i = 0; i < b->n_open; i++) drop_job(b->open[i]);
    hd_engine_close(b->m.engine);
    hd_mem_free(b->ahead);
    hd_mem_free(b->open);
    hd_buf_deinit(&b->in);
    hd_buf_deinit(&b->out);
}

int cmd_batch(int argc, char **argv)
{
    static const struct argp argp = {options, parse_option, "DIR", doc, children, NULL, NULL};
    static char name[] = "hadal batch";
    batch b = {0};
    hd_err err = {0};
    argv[0] = name;
    argp_err_exit_status = 2;
    init_batch(&b);
    argp_parse(&argp, argc, argv, 0, NULL, &b);
    b.open = hd_mem_calloc((size_t)b.max_open, sizeof(hd_batch_job *));
    hd_status st = run_batch(&b, &err);
    if (st != HD_OK) fprintf(stderr, "hadal batch: %s\n", err.text);
    deinit_batch(&b);
    if (hd_interrupt_seen()) return 130; /* 128 + SIGINT, as shells have it */
    return st == HD_OK ? 0 : 1;
}
