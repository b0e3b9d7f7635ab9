/* Reading lines from a person or a pipe.
 *
 * On a terminal with libedit: editing, history with the arrow keys, a prompt. Else: plain lines
 * from standard input, no prompt. A line that ends in a backslash goes on in the next. */
#ifndef HD_CLI_LINEEDIT_H
#define HD_CLI_LINEEDIT_H

#include "base/buf.h"

typedef struct hd_lineedit hd_lineedit;

typedef enum hd_line {
    HD_LINE_READ,
    HD_LINE_INTERRUPTED, /* Ctrl-C while typing: what was typed is forgotten */
    HD_LINE_END          /* Ctrl-D, or the end of the input */
} hd_line;

/** @param prompt, more static: in front of a line, and of a continued one. */
hd_lineedit *hd_lineedit_create(const char *prompt, const char *more);
void hd_lineedit_destroy(hd_lineedit *e);
/** Whether a person types: prompts are shown. */
bool hd_lineedit_is_interactive(const hd_lineedit *e);

/** Read into `line` (emptied first), without its end. */
hd_line hd_lineedit_read(hd_lineedit *e, hd_buf *line);

#endif
