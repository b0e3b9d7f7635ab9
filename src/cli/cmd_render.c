/* hadal render: a chat to the prompt that a model reads. */
#include <argp.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/jsonw.h"
#include "cli/commands.h"
#include "cli/jsonl.h"
#include "text/chat_request.h"

#define MAX_IDS           ((size_t)1 << 28)
#define MAX_PROMPT_BYTES  ((size_t)1 << 30)
#define MAX_REQUEST_BYTES ((size_t)256 << 20)
#define MAX_TREE_BYTES    ((size_t)4 << 30)

static const char doc[] =
    "Render the messages of a chat as the prompt that a DeepSeek-V4 model was trained on.\n\n"
    "FILE is a tokenizer.json, or a checkpoint directory that holds one. Standard input is one "
    "request in JSON, and the prompt's text is written; or rows of them with --jsonl.\v"
    "A request:\n"
    "  {\"messages\": [{\"role\": \"user\", \"content\": \"Hello\"}],\n"
    "   \"tools\": [{\"type\": \"function\", \"function\": {\"name\": ...}}],\n"
    "   \"options\": {\"thinking_mode\": \"thinking\", \"reasoning_effort\": \"high\"},\n"
    "   \"version\": \"v4\"}\n"
    "Only messages are required. Options: thinking_mode (chat, thinking), reasoning_effort, "
    "drop_thinking, add_default_bos_token, context, release (april, 0731). Version: v4, v4.1, "
    "each with its own tokenizer.\n\n"
    "Rows (--jsonl) are answered by {\"prompt\": ..., \"ids\": [...]} or {\"error\": ...}. The ids "
    "are those of the published encoder, which recognises control tokens also where a user typed "
    "them; with \"safe\": true only the template writes them, as in all other commands.";

enum { OPT_JSONL = 256, OPT_IDS };

static const struct argp_option options[] = {
    {"jsonl", OPT_JSONL, NULL, 0, "Rows of JSON from standard input to standard output", 0},
    {"ids", OPT_IDS, NULL, 0, "Write the token ids instead of the text", 0},
    {0},
};

typedef struct job {
    const char *file;
    bool is_jsonl, shows_ids;
    hd_tokenizer *tokenizer;
    hd_prompt prompt; /* scratch */
    hd_ids ids;       /* scratch */
} job;

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    job *j = state->input;
    switch (key) {
    case OPT_JSONL: j->is_jsonl = true; return 0;
    case OPT_IDS: j->shows_ids = true; return 0;
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

static hd_status render_row(job *j, const hd_json *row, hd_buf *out, hd_err *err)
{
    bool is_safe = false;
    if (hd_json_get(row, "safe")) HD_TRY(hd_json_get_bool(row, "safe", &is_safe, err));
    hd_prompt_reset(&j->prompt);
    hd_ids_reset(&j->ids);
    HD_TRY(hd_chat_render_request(row, true, &j->prompt, err));
    HD_TRY(is_safe ? hd_prompt_encode(&j->prompt, j->tokenizer, &j->ids, err)
                   : hd_prompt_encode_unsafe(&j->prompt, j->tokenizer, &j->ids, err));
    hd_buf_addz(out, "{\"prompt\": ");
    hd_jsonw_str(out, hd_buf_str(&j->prompt.text));
    hd_buf_addz(out, ", \"ids\": ");
    hd_jsonl_add_ids(out, &j->ids);
    hd_buf_addc(out, '}');
    return HD_OK;
}

static hd_status answer_row(void *ctx, const hd_json *row, hd_buf *out, hd_err *err)
{
    size_t before = out->len;
    if (render_row(ctx, row, out, err) == HD_OK) return HD_OK;
    out->len = before;
    hd_jsonl_add_error(out, err);
    return HD_OK;
}

/* ---- for people ---- */

static hd_status write_prompt(job *j, hd_str text, hd_err *err)
{
    hd_arena arena;
    const hd_json *request;
    hd_arena_init(&arena, MAX_TREE_BYTES);
    hd_status status = hd_json_parse(text, NULL, &arena, &request, err);
    if (status == HD_OK) status = hd_chat_render_request(request, false, &j->prompt, err);
    hd_arena_deinit(&arena);
    HD_TRY(status);
    HD_TRY(hd_prompt_encode(&j->prompt, j->tokenizer, &j->ids, err));
    if (j->shows_ids) {
        hd_buf line;
        hd_buf_init(&line, MAX_PROMPT_BYTES);
        hd_jsonl_add_ids(&line, &j->ids);
        if (line.ptr) puts(line.ptr);
        status = hd_buf_status(&line, "the ids", err);
        hd_buf_deinit(&line);
        return status;
    }
    if (j->prompt.text.len) fwrite(j->prompt.text.ptr, 1, j->prompt.text.len, stdout);
    fprintf(stderr, "\n%zu tokens, %zu bytes\n", j->ids.len, j->prompt.text.len);
    return HD_OK;
}

static hd_status run_job(job *j, hd_err *err)
{
    hd_buf in;
    HD_TRY(hd_tokenizer_open(j->file, &j->tokenizer, err));
    if (j->is_jsonl) return hd_jsonl_run(answer_row, j, err);
    hd_buf_init(&in, MAX_REQUEST_BYTES);
    hd_status status = hd_fs_read_all("-", &in, err);
    if (status == HD_OK) status = write_prompt(j, hd_buf_str(&in), err);
    hd_buf_deinit(&in);
    return status;
}

int cmd_render(int argc, char **argv)
{
    static const struct argp argp = {options, parse_option, "FILE", doc, NULL, NULL, NULL};
    static char name[] = "hadal render";
    job j = {0};
    hd_err err;
    argv[0] = name;
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &j);
    hd_prompt_init(&j.prompt, MAX_PROMPT_BYTES);
    hd_ids_init(&j.ids, MAX_IDS);
    hd_status status = run_job(&j, &err);
    if (status == HD_OK && fflush(stdout) != 0)
        status = HD_SET_ERR(&err, HD_E_IO, "cannot write to standard output");
    if (status != HD_OK) fprintf(stderr, "hadal render: %s\n", err.text);
    hd_ids_deinit(&j.ids);
    hd_prompt_deinit(&j.prompt);
    hd_tokenizer_close(j.tokenizer);
    return status == HD_OK ? 0 : 1;
}
