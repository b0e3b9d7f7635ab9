/* The fence around ncurses: see screen.h. */
#include "cli/screen.h"

#include <stdlib.h>
#include <unistd.h>

#ifdef HD_HAVE_NCURSES
#include <ncurses.h>

#define CTRL_C       3
#define ESCAPE       27
#define ESC_DELAY_MS 50

static SCREEN *screen;

hd_status hd_screen_open(hd_err *err)
{
    const char *term = getenv("TERM");
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        HD_FAIL(err, HD_E_UNSUPPORTED, "this is no terminal; use --once");
    screen = newterm(NULL, stdout, stdin); /* initscr would end the program */
    if (!screen)
        HD_FAIL(err, HD_E_UNSUPPORTED, "nothing is known of the terminal '%s'; use --once",
                term ? term : "");
    set_escdelay(ESC_DELAY_MS);
    raw();
    noecho();
    nonl();
    curs_set(0);
    keypad(stdscr, TRUE);
    if (has_colors()) {
        start_color();
        use_default_colors();
        init_pair(HD_SCREEN_WARNING, COLOR_RED, -1);
    }
    return HD_OK;
}

void hd_screen_close(void)
{
    if (!screen) return;
    endwin();
    delscreen(screen);
    screen = NULL;
}

void hd_screen_size(int *rows, int *cols)
{
    getmaxyx(stdscr, *rows, *cols);
}

void hd_screen_clear(void)
{
    erase();
}

static int attributes_of(hd_screen_style style)
{
    switch (style) {
    case HD_SCREEN_TITLE: return (int)A_BOLD;
    case HD_SCREEN_DIM: return (int)A_DIM;
    case HD_SCREEN_WARNING:
        return (int)(A_BOLD | (has_colors() ? (attr_t)COLOR_PAIR(HD_SCREEN_WARNING) : 0));
    default: return (int)A_NORMAL;
    }
}

void hd_screen_put(int row, hd_screen_style style, const char *text)
{
    attrset(attributes_of(style));
    mvaddstr(row, 0, text);
    attrset((int)A_NORMAL);
}

void hd_screen_show(void)
{
    refresh();
}

hd_screen_key hd_screen_wait(int timeout_ms)
{
    timeout(timeout_ms);
    int key = getch();
    if (key == ERR) {
        /* At once, again and again, when the terminal is closed. */
        return isatty(STDIN_FILENO) ? HD_SCREEN_NONE : HD_SCREEN_QUIT;
    }
    bool is_end = key == 'q' || key == 'Q' || key == CTRL_C || key == ESCAPE;
    return is_end ? HD_SCREEN_QUIT : HD_SCREEN_REDRAW;
}

#else

hd_status hd_screen_open(hd_err *err)
{
    HD_FAIL(err, HD_E_UNSUPPORTED, "built without ncurses, so there is no live view; use --once");
}

void hd_screen_close(void) {}

void hd_screen_size(int *rows, int *cols)
{
    *rows = *cols = 0;
}

void hd_screen_clear(void) {}

void hd_screen_put(int row, hd_screen_style style, const char *text)
{
    (void)row, (void)style, (void)text;
}

void hd_screen_show(void) {}

hd_screen_key hd_screen_wait(int timeout_ms)
{
    (void)timeout_ms;
    return HD_SCREEN_QUIT;
}

#endif
