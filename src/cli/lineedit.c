/* The fence around libedit: see lineedit.h. */
#include "cli/lineedit.h"

#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#ifdef HD_HAVE_LIBEDIT
#include <histedit.h>
#endif

#include "base/mem.h"
#include "cli/interrupt.h"

#define HISTORY_LINES 1000

struct hd_lineedit {
    const char *prompt, *more;
    bool is_interactive, is_continued;
#ifdef HD_HAVE_LIBEDIT
    EditLine *editor; /* NULL: plain lines */
    History *history;
    bool is_interrupted; /* Ctrl-C was typed */
#endif
};

/* ---- plain lines ---- */

static hd_line read_plain(hd_lineedit *e, hd_buf *line)
{
    char piece[4096];
    if (e->is_interactive) {
        fputs(e->is_continued ? e->more : e->prompt, stderr);
        fflush(stderr);
    }
    for (;;) {
        if (!fgets(piece, sizeof piece, stdin)) {
            bool is_interrupted = errno == EINTR && hd_interrupt_seen();
            clearerr(stdin);
            if (is_interrupted) return HD_LINE_INTERRUPTED;
            return line->len ? HD_LINE_READ : HD_LINE_END;
        }
        size_t n = strcspn(piece, "\n");
        hd_buf_add(line, piece, n);
        if (piece[n] == '\n') return HD_LINE_READ;
    }
}

/* ---- libedit ---- */

#ifdef HD_HAVE_LIBEDIT

static char *show_prompt(EditLine *editor)
{
    void *data;
    el_get(editor, EL_CLIENTDATA, &data);
    const hd_lineedit *e = data;
    return (char *)(uintptr_t)(e->is_continued ? e->more : e->prompt);
}

/* Of LeakSanitizer; NULL without it. */
extern void __lsan_disable(void) __attribute__((weak));
extern void __lsan_enable(void) __attribute__((weak));

static unsigned char on_interrupt_key(EditLine *editor, int key)
{
    void *data;
    (void)key;
    el_get(editor, EL_CLIENTDATA, &data);
    ((hd_lineedit *)data)->is_interrupted = true;
    return CC_EOF;
}

/* While a line is edited, Ctrl-C is a key like any other, not a signal. A signal has no place in
 * the order of what is typed: one that comes just before libedit waits for a key would be noticed
 * at the next key only, and one with keys right behind it not at all. */
static void bind_interrupt_key(EditLine *editor)
{
    struct termios t;
    if (tcgetattr(STDIN_FILENO, &t) != 0 || t.c_cc[VINTR] == _POSIX_VDISABLE) return;
    const char key[] = {(char)t.c_cc[VINTR], 0};
    if (__lsan_disable) __lsan_disable(); /* el_end forgets to free the two texts */
    el_set(editor, EL_ADDFN, "interrupt", "Drop the line", on_interrupt_key);
    if (__lsan_enable) __lsan_enable();
    el_set(editor, EL_BIND, key, "interrupt", NULL);
    el_set(editor, EL_BIND, "-a", key, "interrupt", NULL); /* of vi's second map, if in use */
    el_set(editor, EL_SETTY, "-d", "intr=", "-intr", NULL);
}

static void open_editor(hd_lineedit *e)
{
    HistEvent event;
    setlocale(LC_CTYPE, ""); /* UTF-8 on input; numbers keep their form */
    e->editor = el_init("hadal", stdin, stderr, stderr);
    if (!e->editor) return;
    e->history = history_init();
    history(e->history, &event, H_SETSIZE, HISTORY_LINES);
    history(e->history, &event, H_SETUNIQUE, 1);
    el_set(e->editor, EL_CLIENTDATA, e);
    el_set(e->editor, EL_PROMPT, show_prompt);
    el_set(e->editor, EL_EDITOR, "emacs");
    el_set(e->editor, EL_HIST, history, e->history);
    el_set(e->editor, EL_BIND, "^R", "em-inc-search-prev", NULL);
    el_source(e->editor, NULL); /* ~/.editrc, if there is one */
    bind_interrupt_key(e->editor);
}

static void close_editor(hd_lineedit *e)
{
    if (e->history) history_end(e->history);
    if (e->editor) el_end(e->editor);
}

static hd_line read_edited(hd_lineedit *e, hd_buf *line)
{
    int n;
    HistEvent event;
    /* el_gets would show the prompt first and take the terminal over then: a Ctrl-D typed between
     * the two would be lost. */
    el_set(e->editor, EL_PREP_TERM, 1);
    e->is_interrupted = false;
    const char *text = el_gets(e->editor, &n);
    if (!text || n <= 0) {
        bool is_interrupted = e->is_interrupted || hd_interrupt_seen(); /* or by kill(1) */
        el_reset(e->editor);
        fputc('\n', stderr);
        return is_interrupted ? HD_LINE_INTERRUPTED : HD_LINE_END;
    }
    if (n > 1) history(e->history, &event, H_ENTER, text);
    hd_buf_add(line, text, strcspn(text, "\n"));
    return HD_LINE_READ;
}

#endif

/* ---- either ---- */

hd_lineedit *hd_lineedit_create(const char *prompt, const char *more)
{
    hd_lineedit *e = hd_mem_calloc(1, sizeof *e);
    e->prompt = prompt;
    e->more = more;
    e->is_interactive = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
#ifdef HD_HAVE_LIBEDIT
    if (e->is_interactive) open_editor(e);
#endif
    return e;
}

void hd_lineedit_destroy(hd_lineedit *e)
{
    if (!e) return;
#ifdef HD_HAVE_LIBEDIT
    close_editor(e);
#endif
    hd_mem_free(e);
}

bool hd_lineedit_is_interactive(const hd_lineedit *e)
{
    return e->is_interactive;
}

static hd_line read_piece(hd_lineedit *e, hd_buf *line)
{
#ifdef HD_HAVE_LIBEDIT
    if (e->editor) return read_edited(e, line);
#endif
    return read_plain(e, line);
}

hd_line hd_lineedit_read(hd_lineedit *e, hd_buf *line)
{
    hd_buf_reset(line);
    e->is_continued = false;
    for (;;) {
        hd_line result = read_piece(e, line);
        if (result != HD_LINE_READ) return result;
        if (line->len == 0 || line->ptr[line->len - 1] != '\\') return HD_LINE_READ;
        line->ptr[line->len - 1] = '\n';
        e->is_continued = true;
    }
}
