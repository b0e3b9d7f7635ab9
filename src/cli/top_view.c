#include "cli/top_view.h"

#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "base/json.h"

#define MAX_ARENA ((size_t)8 << 20)
#define MIN_COLS  20
#define LABEL     11 /* columns in front of the numbers */
#define MAX_BAR   40
#define NS        1e-9

/* ---- reading ----------------------------------------------------------------------------------*/

/* Printable ASCII: the rest could do anything to a terminal. */
static void copy_text(const hd_json *object, const char *key, char *out, size_t out_size)
{
    const hd_json *node = hd_json_get(object, key);
    hd_str text = node && node->kind == HD_JSON_STRING ? node->text : HD_STR("");
    size_t n = text.len < out_size - 1 ? text.len : out_size - 1;
    for (size_t i = 0; i < n; i++)
        out[i] = text.ptr[i] >= ' ' && text.ptr[i] <= '~' ? text.ptr[i] : '?';
    out[n] = '\0';
}

/* 0 for what is not there, and for what no count can be. */
static double number(const hd_json *object, const char *key)
{
    double x;
    const hd_json *node = object ? hd_json_get(object, key) : NULL;
    if (!node || node->kind != HD_JSON_NUMBER || hd_json_f64(node, &x, NULL) != HD_OK) return 0.0;
    return x >= 0.0 && x < 1e15 ? x : 0.0;
}

static void read_pools(const hd_json *pools, hd_top_reading *out)
{
    for (const hd_json *p = pools ? pools->child : NULL; p; p = p->next) {
        if (p->kind != HD_JSON_OBJECT || out->n_pools == HD_TOP_POOLS) continue;
        hd_top_pool *pool = &out->pool[out->n_pools++];
        pool->used = number(p, "used");
        pool->max = number(p, "max");
        size_t n = p->key.len < sizeof pool->name - 1 ? p->key.len : sizeof pool->name - 1;
        for (size_t i = 0; i < n; i++) {
            char c = p->key.ptr[i];
            pool->name[i] = c >= ' ' && c <= '~' ? (c == '_' ? ' ' : c) : '?';
        }
        pool->name[n] = '\0';
    }
}

static void read_tree(const hd_json *root, hd_top_reading *r)
{
    const hd_json *requests = hd_json_get(root, "requests"), *tokens = hd_json_get(root, "tokens");
    const hd_json *latency = hd_json_get(root, "latency_ms");
    const hd_json *first = latency ? hd_json_get(latency, "first_token") : NULL;
    const hd_json *gap = latency ? hd_json_get(latency, "gap") : NULL;
    const hd_json *draining = hd_json_get(root, "draining");
    copy_text(root, "model", r->model, sizeof r->model);
    copy_text(root, "version", r->version, sizeof r->version);
    copy_text(root, "tightest", r->tightest, sizeof r->tightest);
    r->is_draining = draining && draining->kind == HD_JSON_BOOL && draining->truth;
    r->uptime_s = number(root, "uptime_s");
    r->running = number(requests, "running");
    r->waiting = number(requests, "waiting");
    r->open = number(requests, "open");
    r->connections = number(requests, "connections");
    r->done = number(requests, "done");
    r->failed = number(requests, "failed");
    r->cancelled = number(requests, "cancelled");
    r->refused = number(requests, "refused");
    r->prompt = number(tokens, "prompt");
    r->cached = number(tokens, "cached");
    r->generated = number(tokens, "generated");
    r->drafted = number(tokens, "drafted");
    r->accepted = number(tokens, "accepted");
    r->first_p50_ms = number(first, "p50");
    r->first_p95_ms = number(first, "p95");
    r->gap_p50_ms = number(gap, "p50");
    r->gap_p95_ms = number(gap, "p95");
    read_pools(hd_json_get(root, "pools"), r);
}

hd_status hd_top_read(hd_str json, hd_top_reading *out, hd_err *err)
{
    hd_arena arena;
    const hd_json *root = NULL;
    *out = (hd_top_reading){0};
    hd_arena_init(&arena, MAX_ARENA);
    hd_status st = hd_json_parse(json, NULL, &arena, &root, NULL);
    bool is_known = st == HD_OK && hd_json_get(root, "uptime_s") && hd_json_get(root, "requests") &&
                    hd_json_get(root, "tokens");
    if (is_known)
        read_tree(root, out);
    else
        st = HD_SET_ERR(err, HD_E_FORMAT,
                        "what answers is no hadal server: expected the JSON of "
                        "its /stats");
    hd_arena_deinit(&arena);
    return st;
}

/* ---- readings over time -----------------------------------------------------------------------*/

static double seconds_between(const hd_top_view *v)
{
    return v->n_readings < 2 ? 0.0 : NS * (double)(v->now.at_ns - v->before.at_ns);
}

static double rate(const hd_top_view *v, double now, double before)
{
    double s = seconds_between(v);
    return s > 0.0 && now > before ? (now - before) / s : 0.0;
}

void hd_top_add(hd_top_view *v, const hd_top_reading *r)
{
    bool goes_on = v->n_readings && r->at_ns > v->now.at_ns && r->uptime_s >= v->now.uptime_s;
    v->before = v->now;
    v->now = *r;
    v->n_readings = goes_on ? 2 : 1;
    if (!goes_on) return;
    if (v->n_speeds == HD_TOP_HISTORY) {
        memmove(v->speed, v->speed + 1, (HD_TOP_HISTORY - 1) * sizeof *v->speed);
        v->n_speeds--;
    }
    v->speed[v->n_speeds++] = rate(v, v->now.generated, v->before.generated);
}

/* ---- numbers as text --------------------------------------------------------------------------*/

/* 0 … 9999, then 10.0 k, 1.2 M */
static const char *count_text(double x, char out[16])
{
    if (x < 9999.5)
        snprintf(out, 16, "%.0f", x);
    else if (x < 1e6)
        snprintf(out, 16, "%.1f k", x / 1e3);
    else if (x < 1e9)
        snprintf(out, 16, "%.1f M", x / 1e6);
    else
        snprintf(out, 16, "%.1f G", x / 1e9);
    return out;
}

static const char *speed_text(double x, char out[16])
{
    if (x >= 99.95) return count_text(x, out);
    snprintf(out, 16, "%.1f", x);
    return out;
}

static const char *ms_text(double ms, char out[16])
{
    if (ms < 9999.5)
        snprintf(out, 16, ms < 9.95 ? "%.1f ms" : "%.0f ms", ms);
    else
        snprintf(out, 16, "%.1f s", ms / 1e3);
    return out;
}

static const char *time_text(double s, char out[24])
{
    int64_t t = (int64_t)s;
    int days = (int)(t / 86400), hours = (int)(t / 3600 % 24), minutes = (int)(t / 60 % 60);
    if (days)
        snprintf(out, 24, "%d d %d h", days, hours);
    else if (hours)
        snprintf(out, 24, "%d h %d min", hours, minutes);
    else
        snprintf(out, 24, "%d min %d s", minutes, (int)(t % 60));
    return out;
}

/* ---- lines ------------------------------------------------------------------------------------*/

typedef struct pen {
    hd_top_page *page;
    int cols;
} pen;

static hd_top_line *add_line(pen *p, hd_screen_style style)
{
    static hd_top_line spare;
    hd_top_page *page = p->page;
    hd_top_line *line = page->n_lines < HD_TOP_LINES ? &page->line[page->n_lines++] : &spare;
    line->style = style;
    line->text[0] = '\0';
    return line;
}

/* ASCII, cut at the width. */
static void add_text(pen *p, hd_screen_style style, const char *text)
{
    snprintf(add_line(p, style)->text, (size_t)p->cols + 1, "%s", text);
}

/* Items behind a label, in as many lines as they need. ASCII. */
static void add_items(pen *p, const char *label, const char *const items[], int n)
{
    hd_top_line *line = NULL;
    int at = 0;
    for (int i = 0; i < n; i++) {
        int len = (int)strlen(items[i]);
        if (len == 0) continue;
        if (!line || at + 2 + len > p->cols) {
            bool is_first = !line;
            line = add_line(p, HD_SCREEN_PLAIN);
            at =
                snprintf(line->text, (size_t)p->cols + 1, "%-*s", LABEL - 2, is_first ? label : "");
        }
        snprintf(line->text + at, (size_t)(p->cols + 1 - at), "  %s", items[i]);
        at = (int)strlen(line->text);
    }
}

#define ITEM_BYTES   64
#define ITEM(i, ...) snprintf(item[i], ITEM_BYTES, __VA_ARGS__)

static void add_requests(pen *p, const hd_top_view *v)
{
    const hd_top_reading *r = &v->now;
    char item[8][ITEM_BYTES] = {{0}}, n[16];
    ITEM(0, "running %s", count_text(r->running, n));
    ITEM(1, "waiting %s", count_text(r->waiting, n));
    ITEM(2, "open %s", count_text(r->open, n));
    ITEM(3, "connections %s", count_text(r->connections, n));
    const char *const now[] = {item[0], item[1], item[2], item[3]};
    add_items(p, "requests", now, 4);
    ITEM(4, "done %s (%s/s)", count_text(r->done, n),
         speed_text(rate(v, r->done, v->before.done), (char[16]){0}));
    ITEM(5, "failed %s", count_text(r->failed, n));
    ITEM(6, "cancelled %s", count_text(r->cancelled, n));
    ITEM(7, "refused %s", count_text(r->refused, n));
    const char *const ended[] = {item[4], item[5], item[6], item[7]};
    add_items(p, "", ended, 4);
}

static void add_tokens(pen *p, const hd_top_view *v)
{
    const hd_top_reading *r = &v->now, *b = &v->before;
    char item[4][ITEM_BYTES] = {{0}}, n[16], speed[16];
    ITEM(0, "generated %s (%s/s)", count_text(r->generated, n),
         speed_text(rate(v, r->generated, b->generated), speed));
    ITEM(1, "prompts %s (%s/s)", count_text(r->prompt, n),
         speed_text(rate(v, r->prompt, b->prompt), speed));
    if (r->prompt > 0.0) ITEM(2, "cached %.0f %%", 100.0 * r->cached / r->prompt);
    if (r->drafted > 0.0) ITEM(3, "guesses right %.0f %%", 100.0 * r->accepted / r->drafted);
    const char *const items[] = {item[0], item[1], item[2], item[3]};
    add_items(p, "tokens", items, 4);
}

static void add_latency(pen *p, const hd_top_reading *r)
{
    char item[2][ITEM_BYTES] = {{0}}, a[16], b[16];
    ITEM(0, "first token %s (95 %%: %s)", ms_text(r->first_p50_ms, a), ms_text(r->first_p95_ms, b));
    ITEM(1, "gap %s (95 %%: %s)", ms_text(r->gap_p50_ms, a), ms_text(r->gap_p95_ms, b));
    const char *const items[] = {item[0], item[1]};
    add_items(p, "latency", items, 2);
}

/* ---- pictures ---------------------------------------------------------------------------------*/

/* Appends `n` times; `to` has room for the width of a page. */
static char *repeat(char *to, const char *what, int n)
{
    size_t len = strlen(what);
    for (int i = 0; i < n; i++, to += len) memcpy(to, what, len);
    *to = '\0';
    return to;
}

static void add_pool(pen *p, const hd_top_pool *pool, bool is_tightest, bool has_blocks)
{
    char used[16], max[16], count[40], name[40];
    double share = pool->max > 0.0 ? pool->used / pool->max : 0.0;
    if (share > 1.0) share = 1.0;
    int n_name = p->cols < 60 ? 16 : 20;
    snprintf(count, sizeof count, "%s / %s", count_text(pool->used, used),
             count_text(pool->max, max));
    snprintf(name, sizeof name, "%-*.*s", n_name, n_name, pool->name);
    int width = p->cols - n_name - 3 - (int)strlen(count);
    if (width > MAX_BAR) width = MAX_BAR;
    hd_top_line *line =
        add_line(p, is_tightest && share >= 0.9 ? HD_SCREEN_WARNING : HD_SCREEN_PLAIN);
    if (width < 4) { /* no place for a picture */
        snprintf(line->text, (size_t)p->cols + 1, "%s %s", name, count);
        return;
    }
    int full = (int)(share * width + 0.5);
    char *to = line->text + snprintf(line->text, sizeof name, "%s ", name);
    to = repeat(to, has_blocks ? "\u2588" : "#", full);
    to = repeat(to, has_blocks ? "\u2591" : ".", width - full);
    snprintf(to, sizeof count + 1, " %s", count);
}

static bool is_tightest(const hd_top_reading *r, const hd_top_pool *pool)
{
    for (size_t i = 0;; i++) {
        char c = r->tightest[i] == '_' ? ' ' : r->tightest[i];
        if (c != pool->name[i]) return false;
        if (c == '\0') return true;
    }
}

/* One character for each reading, as many as fit, the newest at the right end. */
static void add_sparkline(pen *p, const hd_top_view *v, bool has_blocks)
{
    static const char *const blocks[] = {" ",      "\u2581", "\u2582", "\u2583", "\u2584",
                                         "\u2585", "\u2586", "\u2587", "\u2588"};
    static const char *const ascii[] = {" ", ".", ".", ":", ":", "-", "=", "#", "#"};
    char text[80], most_text[16];
    int first = v->n_speeds > p->cols ? v->n_speeds - p->cols : 0;
    double most = 0.0;
    for (int i = first; i < v->n_speeds; i++)
        if (v->speed[i] > most) most = v->speed[i];
    snprintf(text, sizeof text, "tokens per second, most %s", speed_text(most, most_text));
    add_text(p, HD_SCREEN_DIM, text);
    hd_top_line *line = add_line(p, HD_SCREEN_PLAIN);
    char *to = line->text;
    for (int i = first; i < v->n_speeds; i++) {
        int level = most > 0.0 ? (int)(v->speed[i] / most * 7.0 + 0.5) : 0;
        to = repeat(to, (has_blocks ? blocks : ascii)[v->speed[i] > 0.0 ? level + 1 : 0], 1);
    }
}

/* ---- the page ---------------------------------------------------------------------------------*/

static void add_head(pen *p, const hd_top_view *v, const hd_top_how *how)
{
    char text[HD_TOP_COLS + 64], uptime[24];
    const hd_top_reading *r = &v->now;
    snprintf(text, sizeof text, "%s, hadal %s, up %s%s", r->model, r->version,
             time_text(r->uptime_s, uptime), r->is_draining ? ", draining" : "");
    add_text(p, HD_SCREEN_TITLE, text);
    snprintf(text, sizeof text, "%s", how->url);
    add_text(p, HD_SCREEN_DIM, text);
    if (how->trouble) {
        snprintf(text, sizeof text, "no news: %s", how->trouble);
        add_text(p, HD_SCREEN_WARNING, text);
    }
    add_text(p, HD_SCREEN_PLAIN, "");
}

void hd_top_render(const hd_top_view *v, const hd_top_how *how, hd_top_page *out)
{
    pen p = {.page = out, .cols = how->cols};
    if (p.cols < MIN_COLS) p.cols = MIN_COLS;
    if (p.cols > HD_TOP_COLS) p.cols = HD_TOP_COLS;
    out->n_lines = 0;
    add_head(&p, v, how);
    add_requests(&p, v);
    add_tokens(&p, v);
    add_latency(&p, &v->now);
    add_text(&p, HD_SCREEN_PLAIN, "");
    for (int i = 0; i < v->now.n_pools; i++)
        add_pool(&p, &v->now.pool[i], is_tightest(&v->now, &v->now.pool[i]), how->has_blocks);
    if (v->n_speeds < 2) return;
    add_text(&p, HD_SCREEN_PLAIN, "");
    add_sparkline(&p, v, how->has_blocks);
}
