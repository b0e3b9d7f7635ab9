/* A full screen of lines in the terminal: the fence around ncurses.
 *
 * Optional: without ncurses (configure time) hd_screen_open says so. One screen at a time. */
#ifndef HD_CLI_SCREEN_H
#define HD_CLI_SCREEN_H

#include "base/status.h"

typedef enum hd_screen_style {
    HD_SCREEN_PLAIN,
    HD_SCREEN_TITLE,
    HD_SCREEN_DIM,
    HD_SCREEN_WARNING
} hd_screen_style;

typedef enum hd_screen_key {
    HD_SCREEN_NONE, /* the time is over */
    HD_SCREEN_QUIT, /* q, Escape, Ctrl-C, or the terminal has gone */
    HD_SCREEN_REDRAW
} hd_screen_key;

/** Take over the terminal, until hd_screen_close or the end of the program by a signal.
 *  @return HD_E_UNSUPPORTED: no terminal, an unknown one, or built without ncurses. */
hd_status hd_screen_open(hd_err *err) HD_WARN_UNUSED;
void hd_screen_close(void);
/** In characters, as of now. */
void hd_screen_size(int *rows, int *cols);
/** Begin with an empty picture; it is shown by hd_screen_show. */
void hd_screen_clear(void);
/** @param text printable, in the locale's encoding, at most as long as the screen is wide. */
void hd_screen_put(int row, hd_screen_style style, const char *text);
void hd_screen_show(void);
/** Wait for a key. REDRAW: the size has changed, or a key was pressed that means nothing. */
hd_screen_key hd_screen_wait(int timeout_ms);

#endif
