/* Entry point: finds the command and hands over. */
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "cli/commands.h"
#include "hadal/hadal.h"

typedef struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} command;

#define HD_ENTRY(name, function, help) {name, function, help},
static const command commands[] = {HD_COMMANDS(HD_ENTRY){NULL, NULL, NULL}};

static void print_usage(FILE *to)
{
    fprintf(to, "hadal %s: runs the DeepSeek-V4 models on this machine\n\n", hd_version());
    fprintf(to, "usage: hadal COMMAND [OPTION...]\n\ncommands:\n");
    for (const command *c = commands; c->name; c++) fprintf(to, "  %-10s %s\n", c->name, c->help);
    fprintf(
        to,
        "\n'hadal COMMAND --help' explains a command. Start with: hadal run DIR -p \"Hello\"\n");
}

int main(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0) {
        print_usage(argc < 2 ? stderr : stdout);
        return argc < 2 ? 2 : 0;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("hadal %s\n", hd_version());
        return 0;
    }
    for (const command *c = commands; c->name; c++)
        if (strcmp(argv[1], c->name) == 0) return c->run(argc - 1, argv + 1);
    fprintf(stderr, "hadal: no command '%s'; 'hadal --help' lists them\n", argv[1]);
    return 2;
}
