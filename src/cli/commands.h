/* The commands of the program: one file each, named after the command. */
#ifndef HD_CLI_COMMANDS_H
#define HD_CLI_COMMANDS_H

/* X(name, function, one line of help). A command gets argv[0] = its own name and returns the exit
 * status: 0, 1 (it failed, and said why on stderr), 2 (wrong usage). */
#define HD_COMMANDS(X)                                                                             \
    X("run", cmd_run, "write on from a prompt, or answer it")                                      \
    X("chat", cmd_chat, "a dialogue in the terminal")                                              \
    X("serve", cmd_serve, "the OpenAI and Anthropic APIs over HTTP, and a page to look at")        \
    X("top", cmd_top, "a running server, live in the terminal")                                    \
    X("batch", cmd_batch, "many requests at once, as lines of JSON")                               \
    X("eval", cmd_eval, "how well a model does the tasks beside it")                               \
    X("synth", cmd_synth, "write a checkpoint with random weights")                                \
    X("inspect", cmd_inspect, "what a checkpoint is, and what is wrong with it")                   \
    X("verify", cmd_verify, "is this device right, with this model, on this machine")              \
    X("logits", cmd_logits, "ids to logits and intermediate values: for tests and ports")          \
    X("tokenize", cmd_tokenize, "text to token ids and back")                                      \
    X("render", cmd_render, "a chat to the prompt that a model reads")                             \
    X("parse", cmd_parse, "a model's answer to reasoning, content and tool calls")

#define HD_DECLARE(name, function, help) int function(int argc, char **argv);
HD_COMMANDS(HD_DECLARE)
#undef HD_DECLARE

#endif
