/* Terminals: see term.h. */
#include "cli/term.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool hd_term_dim(FILE *to)
{
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR");
    if (!isatty(fileno(to)) || (no_color && *no_color)) return false;
    if (!term || strcmp(term, "dumb") == 0) return false;
    fputs("\033[2m", to);
    return true;
}

void hd_term_plain(FILE *to)
{
    fputs("\033[0m", to);
}
