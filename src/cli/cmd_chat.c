/* hadal chat: a dialogue in the terminal. */
#include <argp.h>
#include <stdio.h>
#include <string.h>

#include "cli/answer.h"
#include "cli/commands.h"
#include "cli/interrupt.h"
#include "cli/lineedit.h"

#define DEFAULT_CTX       16384
#define MAX_HISTORY_BYTES ((size_t)1 << 28)
#define MAX_LINE_BYTES    ((size_t)1 << 24)

static const char doc[] =
    "Talk with a model.\n\n"
    "DIR is a checkpoint directory in the official format. Lines can be edited, the arrow keys "
    "bring earlier ones back, a line that ends in a backslash goes on in the next. Reasoning is "
    "shown dimmed. Ctrl-C stops the answer, Ctrl-D ends the chat. Commands begin with a slash: "
    "/help lists them. When standard input is no terminal, each of its lines is a message.\v"
    "Examples:\n"
    "  hadal chat DIR\n"
    "  hadal chat DIR --think high --system 'Answer in one sentence.'\n"
    "  printf 'Hi!\\nAnd in French?\\n' | hadal chat DIR > answers.txt\n";

static const char commands_help[] =
    "  /think LEVEL  reason first: none, low, high or max\n"
    "  /reset        forget the chat so far\n"
    "  /help         this list\n"
    "  /quit         end (so does Ctrl-D)\n"
    "Ctrl-C stops an answer. A line that ends in a backslash goes on in the next.\n";

static const struct argp_child children[] = {{&hd_model_argp, 0, NULL, 0}, {0}};

typedef struct chat {
    hd_model_args model;
    hd_session session;
    hd_lineedit *lines;
    hd_buf line;
    hd_buf messages; /* elements of a JSON array */
    hd_answer answer;
    hd_ids ids; /* scratch: the prompt of a turn */
} chat;

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    chat *c = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &c->model; return 0;
    case ARGP_KEY_ARG:
        if (c->model.dir) return ARGP_ERR_UNKNOWN;
        c->model.dir = arg;
        return 0;
    case ARGP_KEY_END:
        if (!c->model.dir) argp_error(state, "no DIR given");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- one turn ---- */

static void forget(chat *c)
{
    hd_buf_reset(&c->messages);
    if (c->model.system)
        hd_request_add_message(&c->messages, "system", hd_str_from(c->model.system), HD_STR(""));
}

static hd_status ask(chat *c, hd_err *err)
{
    hd_answer_opts opts = {
        .is_chat = true, .thinks = c->model.think != HD_THINK_NONE, .max_new = c->model.max_new};
    hd_request_add_message(&c->messages, "user", hd_buf_str(&c->line), HD_STR(""));
    HD_TRY(hd_buf_status(&c->messages, "the chat", err));
    hd_ids_reset(&c->ids);
    hd_chat_request request = {.messages = hd_buf_str(&c->messages), .think = c->model.think};
    HD_TRY(hd_request_chat(&c->session.prompter, &request, &c->ids, NULL, err));
    HD_TRY(hd_session_prompt(&c->session, c->ids.ptr, c->ids.len, err));
    HD_TRY(hd_answer_run(&c->answer, &c->session, &opts, err));
    hd_request_add_message(&c->messages, "assistant", hd_buf_str(&c->answer.text),
                           hd_buf_str(&c->answer.reasoning));
    return hd_buf_status(&c->messages, "the chat", err);
}

/* A turn that fails is forgotten; the chat goes on. False when it cannot. */
static bool take_turn(chat *c)
{
    hd_err err;
    size_t before = c->messages.len;
    hd_interrupt_clear();
    hd_status status = ask(c, &err);
    if (status == HD_OK) {
        if (strcmp(c->answer.reason, "length") == 0)
            fprintf(stderr, "[cut off: %s]\n",
                    hd_session_has_room(&c->session) ? "-n reached" : "context full; try /reset");
        return true;
    }
    c->messages.len = before;
    c->messages.status = HD_OK;
    fprintf(stderr, "%s\n", err.text);
    if (status == HD_E_LIMIT) fputs("/reset forgets the chat so far\n", stderr);
    return status != HD_E_DEVICE && status != HD_E_IO;
}

/* ---- commands ---- */

static void set_think(chat *c, const char *level)
{
    while (*level == ' ') level++;
    if (*level && !hd_think_parse(level, &c->model.think))
        fprintf(stderr, "no level '%s': none, low, high or max\n", level);
    else
        fprintf(stderr, "thinking: %s\n", hd_think_name(c->model.think));
}

/* False: the chat ends. */
static bool run_command(chat *c, const char *line)
{
    if (strcmp(line, "/quit") == 0) return false;
    if (strcmp(line, "/help") == 0)
        fputs(commands_help, stderr);
    else if (strcmp(line, "/reset") == 0) {
        forget(c);
        fputs("forgotten\n", stderr);
    } else if (strncmp(line, "/think", 6) == 0 && (line[6] == ' ' || line[6] == 0))
        set_think(c, line + 6);
    else
        fprintf(stderr, "no command '%s': /help lists them\n", line);
    return true;
}

/* ---- the dialogue ---- */

static hd_status talk(chat *c, hd_err *err)
{
    for (;;) {
        hd_interrupt_clear();
        hd_line result = hd_lineedit_read(c->lines, &c->line);
        if (result == HD_LINE_END) return HD_OK;
        if (result == HD_LINE_INTERRUPTED || c->line.len == 0) continue;
        HD_TRY(hd_buf_status(&c->line, "the line", err));
        if (c->line.ptr[0] == '/') {
            if (!run_command(c, c->line.ptr)) return HD_OK;
        } else if (!take_turn(c))
            HD_FAIL(err, HD_E_DEVICE, "the chat cannot go on");
    }
}

static hd_status run_chat(chat *c, hd_err *err)
{
    HD_TRY(hd_session_open(&c->session, &c->model, err));
    int32_t ctx = c->model.ctx > 0 ? c->model.ctx : DEFAULT_CTX;
    if (ctx > c->session.config.max_position) ctx = c->session.config.max_position;
    HD_TRY(hd_session_load(&c->session, &c->model, ctx, true, err));
    c->lines = hd_lineedit_create("> ", ". ");
    if (hd_lineedit_is_interactive(c->lines))
        fprintf(stderr, "%s, context %d tokens. /help lists the commands.\n",
                c->session.info.variant, c->session.info.max_ctx);
    forget(c);
    hd_interrupt_install(HD_INTERRUPT_NEVER_KILLS);
    HD_TRY(talk(c, err));
    if (c->session.n_prompt_fed > 0) hd_session_summary(&c->session);
    return HD_OK;
}

int cmd_chat(int argc, char **argv)
{
    static const struct argp argp = {NULL, parse_option, "DIR", doc, children, NULL, NULL};
    static char name[] = "hadal chat";
    chat c = {0};
    hd_err err;
    argv[0] = name;
    argp_err_exit_status = 2;
    hd_model_args_init(&c.model);
    argp_parse(&argp, argc, argv, 0, NULL, &c);
    hd_buf_init(&c.line, MAX_LINE_BYTES);
    hd_buf_init(&c.messages, MAX_HISTORY_BYTES);
    hd_ids_init(&c.ids, MAX_HISTORY_BYTES);
    hd_answer_init(&c.answer);
    hd_status status = run_chat(&c, &err);
    if (status != HD_OK) fprintf(stderr, "hadal chat: %s\n", err.text);
    hd_lineedit_destroy(c.lines);
    hd_session_close(&c.session);
    hd_answer_deinit(&c.answer);
    hd_ids_deinit(&c.ids);
    hd_buf_deinit(&c.messages);
    hd_buf_deinit(&c.line);
    return status == HD_OK ? 0 : 1;
}
