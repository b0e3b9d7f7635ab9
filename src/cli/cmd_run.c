/* hadal run: a prompt to text. */
#include <argp.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fs.h"
#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/interrupt.h"

#define MAX_PROMPT_BYTES ((size_t)1 << 29)
#define DEFAULT_CTX      4096
#define MIN_ROOM         1024 /* for the answer, when the context is ours to choose */

static const char doc[] =
    "Write on from a prompt, or answer it.\n\n"
    "DIR is a checkpoint directory in the official format. The prompt is TEXT, a file, or standard "
    "input. Without --chat the model writes on where the prompt ends; with it, the prompt is a "
    "user's message and the model answers; with --suffix, it writes what "
    "stands between the two. The text goes to standard output; reasoning and the "
    "summary go to standard error. Ctrl-C stops the answer.\v"
    "Examples:\n"
    "  hadal run DIR -p 'The capital of France is' -n 20\n"
    "  hadal run DIR --chat --think high -p 'Is 221 a prime?'\n"
    "  hadal run DIR --chat -f letter.txt --system 'Shorten this.' > short.txt\n"
    "  hadal run DIR -p 'int max(int a, int b) { return ' --suffix '; }' -n 20\n"
    "  hadal run DIR --chat --tools tools.json --json-events -p 'Weather in Oslo?'\n\n"
    "tools.json is an array as in the Chat Completions API: [{\"type\": \"function\", "
    "\"function\": "
    "{\"name\", \"description\", \"parameters\"}}]. The same command gives the same answer again; "
    "another --seed gives another.";

enum { OPT_CHAT = 256, OPT_JSON, OPT_TOOLS, OPT_CONTROL, OPT_SUFFIX };

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "The prompt:", 1},
    {"prompt", 'p', "TEXT", 0, "The prompt", 1},
    {"file", 'f', "FILE", 0, "Read the prompt from FILE (default: standard input)", 1},
    {"suffix", OPT_SUFFIX, "TEXT", 0, "Fill the gap between the prompt and TEXT", 1},
    {"chat", OPT_CHAT, NULL, 0, "Answer it as a chat message", 1},
    {"tools", OPT_TOOLS, "FILE", 0, "With --chat: tools that the model may call", 1},
    {"control-tokens", OPT_CONTROL, NULL, 0,
     "Without --chat: control tokens in the prompt count, such as <think>", 1},
    {"json-events", OPT_JSON, NULL, 0, "Print one JSON object a line for each event", 2},
    {0},
};

static const struct argp_child children[] = {{&hd_model_argp, 0, NULL, 0}, {0}};

typedef struct job {
    hd_model_args model;
    const char *prompt, *file, *suffix, *tools;
    bool is_chat, is_json, has_control;
    hd_session session;
    hd_buf prompt_text, tools_text;
    hd_ids ids;
} job;

static void check_job(const job *j, const struct argp_state *state)
{
    if (!j->model.dir) argp_error(state, "no DIR given");
    if (j->prompt && j->file) argp_error(state, "give --prompt or --file, not both");
    if (j->is_chat && j->has_control) argp_error(state, "--control-tokens goes without --chat");
    if (j->suffix && j->has_control) argp_error(state, "--control-tokens goes without --suffix");
    if (j->suffix && j->is_chat) argp_error(state, "--suffix goes without --chat");
    if (j->is_chat) return;
    if (j->tools) argp_error(state, "--tools needs --chat");
    if (j->model.system) argp_error(state, "--system needs --chat");
    if (j->model.think != HD_THINK_NONE) argp_error(state, "--think needs --chat");
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    job *j = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &j->model; return 0;
    case 'p': j->prompt = arg; return 0;
    case 'f': j->file = arg; return 0;
    case OPT_SUFFIX: j->suffix = arg; return 0;
    case OPT_CHAT: j->is_chat = true; return 0;
    case OPT_JSON: j->is_json = true; return 0;
    case OPT_TOOLS: j->tools = arg; return 0;
    case OPT_CONTROL: j->has_control = true; return 0;
    case ARGP_KEY_ARG:
        if (j->model.dir) return ARGP_ERR_UNKNOWN;
        j->model.dir = arg;
        return 0;
    case ARGP_KEY_END: check_job(j, state); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- the prompt ---- */

static hd_status read_prompt(job *j, hd_err *err)
{
    if (j->prompt) {
        hd_buf_addz(&j->prompt_text, j->prompt);
        return hd_buf_status(&j->prompt_text, "the prompt", err);
    }
    if (!j->file && isatty(STDIN_FILENO))
        fputs("Type the prompt; Ctrl-D at the start of a line ends it.\n", stderr);
    return hd_fs_read_all(j->file ? j->file : "-", &j->prompt_text, err);
}

static hd_status encode_prompt(job *j, hd_err *err)
{
    hd_str text = hd_buf_str(&j->prompt_text);
    const hd_prompter *prompter = &j->session.prompter;
    if (j->suffix) return hd_request_fill(prompter, text, hd_str_from(j->suffix), &j->ids, err);
    if (!j->is_chat) return hd_request_text(prompter, text, j->has_control, &j->ids, err);
    hd_buf messages;
    hd_buf_init(&messages, 4 * MAX_PROMPT_BYTES);
    /* The format has a place for tools in a system message only, be it empty. */
    const char *system = j->model.system ? j->model.system : j->tools ? "" : NULL;
    if (system) hd_request_add_message(&messages, "system", hd_str_from(system), HD_STR(""));
    hd_request_add_message(&messages, "user", text, HD_STR(""));
    hd_status status = hd_buf_status(&messages, "the prompt", err);
    if (status == HD_OK && j->tools) status = hd_fs_read_all(j->tools, &j->tools_text, err);
    hd_chat_request chat = {.messages = hd_buf_str(&messages),
                            .tools = hd_buf_str(&j->tools_text),
                            .think = j->model.think};
    if (status == HD_OK) status = hd_request_chat(prompter, &chat, &j->ids, NULL, err);
    hd_buf_deinit(&messages);
    return status;
}

/* ---- the answer ---- */

/* Room for the prompt and the answer: as asked, else generous. */
static int32_t context_size(const job *j)
{
    int64_t room = j->model.max_new > 0 ? j->model.max_new : MIN_ROOM;
    int64_t ctx = (int64_t)j->ids.len + room;
    if (j->model.ctx > 0) return j->model.ctx;
    if (ctx < DEFAULT_CTX && j->model.max_new == 0) ctx = DEFAULT_CTX;
    return ctx < j->session.config.max_position ? (int32_t)ctx : j->session.config.max_position;
}

static hd_status run_job(job *j, hd_err *err)
{
    hd_answer answer;
    hd_answer_opts opts = {.is_chat = j->is_chat,
                           .thinks = j->model.think != HD_THINK_NONE,
                           .has_tools = j->tools != NULL,
                           .is_json = j->is_json,
                           .max_new = j->model.max_new};
    HD_TRY(hd_session_open(&j->session, &j->model, err));
    HD_TRY(read_prompt(j, err));
    HD_TRY(encode_prompt(j, err));
    HD_TRY(hd_session_load(&j->session, &j->model, context_size(j), false, err));
    hd_interrupt_install(HD_INTERRUPT_TWICE_KILLS);
    HD_TRY(hd_session_prompt(&j->session, j->ids.ptr, j->ids.len, err));
    hd_answer_init(&answer);
    hd_status status = hd_answer_run(&answer, &j->session, &opts, err);
    hd_answer_deinit(&answer);
    if (status == HD_OK) hd_session_summary(&j->session);
    return status;
}

int cmd_run(int argc, char **argv)
{
    static const struct argp argp = {options, parse_option, "DIR", doc, children, NULL, NULL};
    static char name[] = "hadal run";
    job j = {0};
    hd_err err;
    argv[0] = name;
    argp_err_exit_status = 2;
    hd_model_args_init(&j.model);
    argp_parse(&argp, argc, argv, 0, NULL, &j);
    hd_buf_init(&j.prompt_text, MAX_PROMPT_BYTES);
    hd_buf_init(&j.tools_text, MAX_PROMPT_BYTES);
    hd_ids_init(&j.ids, MAX_PROMPT_BYTES);
    hd_status status = run_job(&j, &err);
    if (status != HD_OK) fprintf(stderr, "hadal run: %s\n", err.text);
    hd_session_close(&j.session);
    hd_ids_deinit(&j.ids);
    hd_buf_deinit(&j.tools_text);
    hd_buf_deinit(&j.prompt_text);
    if (hd_interrupt_seen()) return 130; /* 128 + SIGINT, as shells have it */
    return status == HD_OK ? 0 : 1;
}
