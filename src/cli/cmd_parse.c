/* hadal parse: what a model answered, split into reasoning, content and tool calls. */
#include <argp.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/jsonw.h"
#include "cli/commands.h"
#include "cli/jsonl.h"
#include "text/outparse.h"
#include "text/parse_strict.h"
#include "text/tokenizer.h"

#define MAX_IDS        ((size_t)1 << 28)
#define MAX_TEXT_BYTES ((size_t)1 << 30)
#define MAX_STOPS      16

static const char doc[] =
    "Split what a DeepSeek-V4 model answered into reasoning, content and tool calls.\n\n"
    "FILE is a tokenizer.json, or a checkpoint directory that holds one. Standard input is the "
    "text of one answer, and the message is written as JSON; or rows with --jsonl.\v"
    "Rows (--jsonl), one JSON value a line:\n"
    "  in   {\"completion\": \"why</think>Yes.\", \"options\": {\"thinking_mode\": \"thinking\"},\n"
    "        \"version\": \"v4\", \"strict\": false}\n"
    "  out  {\"message\": {\"role\": \"assistant\", \"content\": \"Yes.\", ...}} or {\"error\": "
    "...}\n"
    "Options: thinking_mode (chat, thinking: where the prompt left off), tools (false: there were "
    "none, so markup is content), stop (strings that end the content), prefix (the prompt began "
    "the answer), tool_choice (\"required\": the prompt opened the calls).\n\n"
    "\"strict\": true refuses what DeepSeek's published parser refuses, and needs the end-of-"
    "sentence token at the end. Otherwise everything is read, as a server must.";

enum { OPT_JSONL = 256, OPT_THINK };

static const struct argp_option switches[] = {
    {"jsonl", OPT_JSONL, NULL, 0, "Rows of JSON from standard input to standard output", 0},
    {"think", OPT_THINK, NULL, 0, "The answer begins with reasoning", 0},
    {0},
};

typedef struct job {
    const char *file;
    bool is_jsonl, thinks;
    hd_tokenizer *tokenizer;
    hd_ids ids; /* scratch */
} job;

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    job *j = state->input;
    switch (key) {
    case OPT_JSONL: j->is_jsonl = true; return 0;
    case OPT_THINK: j->thinks = true; return 0;
    case ARGP_KEY_ARG:
        if (j->file) argp_error(state, "unexpected argument '%s'", arg);
        j->file = arg;
        return 0;
    case ARGP_KEY_END:
        if (!j->file) argp_error(state, "no FILE given");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- the message ---- */

/* A message in the making: JSON of its calls, text of all else. */
typedef struct message {
    hd_buf reasoning, content, calls, arguments;
} message;

static void init_message(message *m)
{
    hd_buf *all[] = {&m->reasoning, &m->content, &m->calls, &m->arguments};
    for (size_t i = 0; i < HD_COUNT(all); i++) hd_buf_init(all[i], MAX_TEXT_BYTES);
}

static void deinit_message(message *m)
{
    hd_buf *all[] = {&m->reasoning, &m->content, &m->calls, &m->arguments};
    for (size_t i = 0; i < HD_COUNT(all); i++) hd_buf_deinit(all[i]);
}

static void open_call(message *m, hd_str name)
{
    hd_buf_addz(&m->calls, m->calls.len ? ", " : "");
    hd_buf_addz(&m->calls, "{\"type\": \"function\", \"function\": {\"name\": ");
    hd_jsonw_str(&m->calls, name);
    hd_buf_reset(&m->arguments);
}

static void close_call(message *m, const hd_str *space)
{
    hd_buf_addz(&m->calls, ", \"arguments\": ");
    hd_jsonw_str(&m->calls, hd_buf_str(&m->arguments));
    hd_buf_addc(&m->calls, '}');
    if (space) {
        hd_buf_addz(&m->calls, ", \"namespace\": ");
        hd_jsonw_str(&m->calls, *space);
    }
    hd_buf_addc(&m->calls, '}');
}

static hd_status write_message(const message *m, hd_buf *out, hd_err *err)
{
    HD_TRY(hd_buf_status(&m->reasoning, "the reasoning", err));
    HD_TRY(hd_buf_status(&m->content, "the content", err));
    HD_TRY(hd_buf_status(&m->arguments, "a call's arguments", err));
    HD_TRY(hd_buf_status(&m->calls, "the calls", err));
    hd_buf_addz(out, "{\"message\": {\"role\": \"assistant\", \"content\": ");
    hd_jsonw_str(out, hd_buf_str(&m->content));
    hd_buf_addz(out, ", \"reasoning_content\": ");
    hd_jsonw_str(out, hd_buf_str(&m->reasoning));
    hd_buf_addz(out, ", \"tool_calls\": [");
    hd_buf_add_str(out, hd_buf_str(&m->calls));
    hd_buf_addz(out, "]}}");
    return HD_OK;
}

static hd_status parse_strictly(hd_str text, const hd_chat_rules *rules, bool thinks, message *m,
                                hd_err *err)
{
    hd_arena arena;
    hd_parsed parsed;
    hd_arena_init(&arena, MAX_TEXT_BYTES);
    hd_status status = hd_parse_strict(text, rules, thinks, &arena, &parsed, err);
    if (status == HD_OK) {
        hd_buf_add_str(&m->reasoning, parsed.reasoning);
        hd_buf_add_str(&m->content, parsed.content);
        for (size_t i = 0; i < parsed.n_calls; i++) {
            const hd_parsed_call *c = &parsed.calls[i];
            open_call(m, c->name);
            hd_buf_add_str(&m->arguments, c->arguments);
            close_call(m, c->has_space ? &c->space : NULL);
        }
    }
    hd_arena_deinit(&arena);
    return status;
}

static void take_events(hd_outparse *p, message *m, int *open)
{
    hd_out_event e;
    while (hd_outparse_next(p, &e)) {
        hd_str text = {e.text, e.len};
        bool ends_call = e.kind == HD_OUT_TOOL_CLOSE || e.kind == HD_OUT_FINISH;
        if (e.kind == HD_OUT_REASONING) hd_buf_add_str(&m->reasoning, text);
        if (e.kind == HD_OUT_TEXT) hd_buf_add_str(&m->content, text);
        if (e.kind == HD_OUT_TOOL_ARGS) hd_buf_add_str(&m->arguments, text);
        if (e.kind == HD_OUT_TOOL_OPEN) open_call(m, text);
        if (e.kind == HD_OUT_TOOL_OPEN) *open = true;
        if (ends_call && *open) close_call(m, NULL);
        if (ends_call) *open = false;
    }
}

static hd_status parse_ids(job *j, hd_outparse *p, message *m, hd_err *err)
{
    int open = false;
    for (size_t i = 0; i < j->ids.len; i++) {
        HD_TRY(hd_outparse_push(p, j->ids.ptr[i], err));
        take_events(p, m, &open);
    }
    HD_TRY(hd_outparse_finish(p, HD_FINISH_STOP, err));
    take_events(p, m, &open);
    return HD_OK;
}

/* An end-of-sentence token at the end is the model's end, and no text. */
static hd_status parse_forgivingly(job *j, hd_str text, const hd_outparse_opts *opts, message *m,
                                   hd_err *err)
{
    hd_outparse *p;
    if (hd_str_ends(text, HD_STR(HD_TOKEN_EOS))) text.len -= sizeof HD_TOKEN_EOS - 1;
    hd_ids_reset(&j->ids);
    HD_TRY(hd_tokenizer_encode_ids(j->tokenizer, text, 0, &j->ids, err));
    HD_TRY(hd_outparse_create(j->tokenizer, opts, &p, err));
    hd_status status = parse_ids(j, p, m, err);
    hd_outparse_destroy(p);
    return status;
}

/* ---- rows ---- */

typedef struct row_opts {
    hd_outparse_opts parse;
    const char *stops[MAX_STOPS]; /* in the arena */
    const hd_chat_rules *rules;
    bool is_strict;
} row_opts;

static hd_status read_stops(const hd_json *stop, hd_arena *arena, row_opts *out, hd_err *err)
{
    if (!stop || stop->kind == HD_JSON_NULL) return HD_OK;
    if (stop->kind != HD_JSON_ARRAY || stop->n > MAX_STOPS)
        HD_FAIL(err, HD_E_FORMAT, "'stop' must be a list of at most %d strings", MAX_STOPS);
    for (const hd_json *s = stop->child; s; s = s->next) {
        if (s->kind != HD_JSON_STRING)
            HD_FAIL(err, HD_E_FORMAT, "'stop' must hold strings, got %s",
                    hd_json_kind_name(s->kind));
        out->stops[out->parse.n_stops] = hd_arena_dup(arena, s->text).ptr;
        if (!out->stops[out->parse.n_stops++]) HD_FAIL(err, HD_E_NOMEM, "out of memory");
    }
    out->parse.stops = out->stops;
    return HD_OK;
}

static hd_status read_flag(const hd_json *options, const char *key, int *out, hd_err *err)
{
    const hd_json *node = hd_json_get(options, key);
    if (!node || node->kind == HD_JSON_NULL) return HD_OK;
    /* A list of tools says as much as true. */
    if (node->kind == HD_JSON_ARRAY) {
        *out = node->n > 0;
        return HD_OK;
    }
    bool value;
    HD_TRY(hd_json_get_bool(options, key, &value, err));
    *out = value;
    return HD_OK;
}

static hd_status read_row(const hd_json *row, hd_arena *arena, row_opts *out, hd_err *err)
{
    hd_str mode = HD_STR("chat"), version = {0};
    const hd_json *options = hd_json_get(row, "options");
    const hd_json *choice = hd_json_get(options, "tool_choice");
    *out = (row_opts){.parse = {.has_tools = true}};
    if (hd_json_get(options, "thinking_mode"))
        HD_TRY(hd_json_get_str(options, "thinking_mode", &mode, err));
    if (hd_json_get(row, "version")) HD_TRY(hd_json_get_str(row, "version", &version, err));
    if (hd_json_get(row, "strict")) HD_TRY(hd_json_get_bool(row, "strict", &out->is_strict, err));
    HD_TRY(read_flag(options, "tools", &out->parse.has_tools, err));
    HD_TRY(read_flag(options, "prefix", &out->parse.is_continuation, err));
    HD_TRY(read_stops(hd_json_get(options, "stop"), arena, out, err));
    if (hd_str_eqz(mode, "thinking"))
        out->parse.start = HD_OUT_START_REASONING;
    else if (!hd_str_eqz(mode, "chat"))
        HD_FAIL(err, HD_E_FORMAT, "'thinking_mode' must be chat or thinking");
    if (choice && choice->kind == HD_JSON_STRING && hd_str_eqz(choice->text, "required"))
        out->parse.start = HD_OUT_START_CALLS;
    out->rules = hd_chat_rules_find(version, HD_STR(""));
    if (!out->rules) HD_FAIL(err, HD_E_UNSUPPORTED, "'version' must be v4 or v4.1");
    return HD_OK;
}

static hd_status parse_row(job *j, const hd_json *row, hd_arena *arena, hd_buf *out, hd_err *err)
{
    row_opts opts;
    hd_str text;
    message m;
    HD_TRY(hd_json_get_str(row, "completion", &text, err));
    HD_TRY(read_row(row, arena, &opts, err));
    init_message(&m);
    bool thinks = opts.parse.start == HD_OUT_START_REASONING;
    hd_status status = opts.is_strict ? parse_strictly(text, opts.rules, thinks, &m, err)
                                      : parse_forgivingly(j, text, &opts.parse, &m, err);
    if (status == HD_OK) status = write_message(&m, out, err);
    deinit_message(&m);
    return status;
}

static hd_status answer_row(void *ctx, const hd_json *row, hd_buf *out, hd_err *err)
{
    hd_arena arena;
    size_t before = out->len;
    hd_arena_init(&arena, MAX_TEXT_BYTES);
    if (parse_row(ctx, row, &arena, out, err) != HD_OK) {
        out->len = before;
        hd_jsonl_add_error(out, err);
    }
    hd_arena_deinit(&arena);
    return HD_OK;
}

/* ---- for people ---- */

static hd_status parse_input(job *j, hd_err *err)
{
    hd_buf in, out;
    message m;
    hd_outparse_opts opts = {.start = j->thinks ? HD_OUT_START_REASONING : HD_OUT_START_TEXT,
                             .has_tools = true};
    hd_buf_init(&in, MAX_TEXT_BYTES);
    hd_buf_init(&out, MAX_TEXT_BYTES);
    init_message(&m);
    hd_status status = hd_fs_read_all("-", &in, err);
    if (status == HD_OK) status = parse_forgivingly(j, hd_buf_str(&in), &opts, &m, err);
    if (status == HD_OK) status = write_message(&m, &out, err);
    if (status == HD_OK) status = hd_buf_status(&out, "the message", err);
    if (status == HD_OK) puts(out.ptr);
    deinit_message(&m);
    hd_buf_deinit(&out);
    hd_buf_deinit(&in);
    return status;
}

int cmd_parse(int argc, char **argv)
{
    static const struct argp argp = {switches, parse_option, "FILE", doc, NULL, NULL, NULL};
    static char name[] = "hadal parse";
    job j = {0};
    hd_err err;
    argv[0] = name;
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &j);
    hd_ids_init(&j.ids, MAX_IDS);
    hd_status status = hd_tokenizer_open(j.file, &j.tokenizer, &err);
    if (status == HD_OK)
        status = j.is_jsonl ? hd_jsonl_run(answer_row, &j, &err) : parse_input(&j, &err);
    if (status == HD_OK && fflush(stdout) != 0)
        status = HD_SET_ERR(&err, HD_E_IO, "cannot write to standard output");
    if (status != HD_OK) fprintf(stderr, "hadal parse: %s\n", err.text);
    hd_ids_deinit(&j.ids);
    hd_tokenizer_close(j.tokenizer);
    return status == HD_OK ? 0 : 1;
}
