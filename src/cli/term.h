/* What a terminal can do beyond plain text, if it is one. */
#ifndef HD_CLI_TERM_H
#define HD_CLI_TERM_H

#include <stdbool.h>
#include <stdio.h>

/** Write dimmed from here on. False, and nothing done: `to` is no terminal, or the user wants no
 *  colours (NO_COLOR is set, or TERM is dumb). */
bool hd_term_dim(FILE *to);
/** End of what hd_term_dim began. */
void hd_term_plain(FILE *to);

#endif
