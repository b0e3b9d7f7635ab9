/* hadal top: a running server, live in the terminal. */
#include <argp.h>
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "cli/commands.h"
#include "cli/opts.h"
#include "cli/screen.h"
#include "cli/top_view.h"
#include "server/http_get.h"

#define MAX_BODY_BYTES ((size_t)1 << 20)
#define DEADLINE_MS    3000
#define ONCE_COLS      80

static const char doc[] =
    "Show what a running server does: requests, tokens per second, memory pools, latencies. q ends "
    "it.\v"
    "A key on the command line can be seen by all users of the machine; HADAL_KEY in the "
    "environment cannot.\n\n"
    "Examples:\n"
    "  hadal top\n"
    "  hadal top --url http://10.0.0.5:8000 --interval 5\n"
    "  hadal top --once | grep 'generated'";

enum { OPT_URL = 512, OPT_KEY, OPT_INTERVAL, OPT_ONCE };

static const struct argp_option options[] = {
    {"url", OPT_URL, "URL", 0, "The server (default http://127.0.0.1:8000); https is not spoken",
     0},
    {"key", OPT_KEY, "K", 0, "API key (default: $HADAL_KEY)", 0},
    {"interval", OPT_INTERVAL, "S", 0, "Seconds between readings, 0.1 to 3600 (default 1)", 0},
    {"once", OPT_ONCE, NULL, 0, "Print one picture as plain text, of two readings, and end", 0},
    {0},
};

typedef struct job {
    const char *url, *key;
    double interval_s;
    bool once, has_blocks;
    hd_top_view view;
    hd_top_page page;
} job;

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    job *j = state->input;
    switch (key) {
    case OPT_URL: j->url = arg; return 0;
    case OPT_KEY: j->key = arg; return 0;
    case OPT_INTERVAL: j->interval_s = hd_opt_f64(state, "--interval", arg, 0.1, 3600.0); return 0;
    case OPT_ONCE: j->once = true; return 0;
    case ARGP_KEY_ARG: argp_error(state, "no argument was expected: '%s'", arg); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- one reading ------------------------------------------------------------------------------*/

static hd_status check_status(const job *j, int status, hd_err *err)
{
    if (status == 200) return HD_OK;
    if (status == 401)
        HD_FAIL(err, HD_E_AUTH, "'%s' refuses the key: give a valid one with --key or HADAL_KEY",
                j->url);
    HD_FAIL(err, HD_E_FORMAT,
            "'%s' answers with status %d: it is no hadal server, or there is "
            "something else in front of it",
            j->url, status);
}

static hd_status take_reading(job *j, hd_err *err)
{
    const hd_http_get_opts opts = {
        .url = j->url, .path = "/stats", .key = j->key, .timeout_ms = DEADLINE_MS};
    hd_top_reading r;
    hd_buf body;
    int status;
    hd_buf_init(&body, MAX_BODY_BYTES);
    hd_status st = hd_http_get(&opts, &status, &body, err);
    if (st == HD_OK) st = check_status(j, status, err);
    if (st == HD_OK) st = hd_top_read(hd_buf_str(&body), &r, err);
    hd_buf_deinit(&body);
    if (st != HD_OK) return st;
    r.at_ns = hd_clock_ns();
    hd_top_add(&j->view, &r);
    return HD_OK;
}

/* ---- both ways --------------------------------------------------------------------------------*/

static hd_status print_once(job *j, hd_err *err)
{
    const struct timespec pause = {
        .tv_sec = (time_t)j->interval_s,
        .tv_nsec = (long)((j->interval_s - (double)(int64_t)j->interval_s) * 1e9)};
    nanosleep(&pause, NULL);
    HD_TRY(take_reading(j, err));
    const hd_top_how how = {.url = j->url, .cols = ONCE_COLS, .has_blocks = j->has_blocks};
    hd_top_render(&j->view, &how, &j->page);
    for (int i = 0; i < j->page.n_lines; i++) puts(j->page.line[i].text);
    return HD_OK;
}

static void draw(job *j, const char *trouble)
{
    int rows, cols;
    hd_screen_size(&rows, &cols);
    const hd_top_how how = {
        .url = j->url, .trouble = trouble, .cols = cols, .has_blocks = j->has_blocks};
    hd_top_render(&j->view, &how, &j->page);
    hd_screen_clear();
    for (int i = 0; i < j->page.n_lines && i < rows; i++)
        hd_screen_put(i, j->page.line[i].style, j->page.line[i].text);
    hd_screen_show();
}

/* The server may end and come again meanwhile: that is shown, and no reason to stop. */
static hd_status watch(job *j, hd_err *err)
{
    hd_err trouble = {0};
    bool has_trouble = false;
    hd_screen_key key = HD_SCREEN_NONE;
    HD_TRY(hd_screen_open(err));
    while (key != HD_SCREEN_QUIT) {
        int64_t next = hd_clock_ns() + (int64_t)(j->interval_s * 1e9), left;
        do {
            draw(j, has_trouble ? trouble.text : NULL);
            left = next - hd_clock_ns();
            key = hd_screen_wait(left > 0 ? (int)(left / 1000000) : 0);
        } while (key == HD_SCREEN_REDRAW);
        if (key != HD_SCREEN_QUIT) has_trouble = take_reading(j, &trouble) != HD_OK;
    }
    hd_screen_close();
    return HD_OK;
}

int cmd_top(int argc, char **argv)
{
    static char name[] = "hadal top";
    static const struct argp argp = {options, parse_option, "", doc, NULL, NULL, NULL};
    static job j = {.url = "http://127.0.0.1:8000", .interval_s = 1.0};
    hd_err err = {0};
    j.key = getenv("HADAL_KEY");
    argv[0] = name;
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &j);
    setlocale(LC_CTYPE, "");
    j.has_blocks = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    hd_status st = take_reading(&j, &err);
    if (st == HD_OK) st = j.once ? print_once(&j, &err) : watch(&j, &err);
    if (st != HD_OK) fprintf(stderr, "hadal top: %s\n", err.text);
    return st == HD_OK ? 0 : st == HD_E_ARG ? 2 : 1;
}
