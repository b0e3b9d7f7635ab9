/* The progress bar: see progress.h. */
#include "cli/progress.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"

#define WORTH_SHOWING_S 2.0 /* whole duration, as estimated */
#define ESTIMATE_S      0.5 /* after which the estimate is good enough */
#define INTERVAL_S      0.1
#define WIDTH           24

double hd_now_s(void)
{
    return (double)hd_clock_ns() * 1e-9;
}

void hd_progress_init(hd_progress *p, const char *label, hd_progress_unit unit)
{
    double now = hd_now_s();
    *p = (hd_progress){label, unit, isatty(STDERR_FILENO) == 1, false, now, now + ESTIMATE_S};
}

double hd_progress_seconds(const hd_progress *p)
{
    return hd_now_s() - p->began_s;
}

static void draw(const hd_progress *p, double done, double total, double seconds)
{
    static const char *const units[] = {"GB", "tokens", "rows"};
    char bar[WIDTH + 1];
    int filled = (int)(done / total * WIDTH);
    for (int i = 0; i < WIDTH; i++) bar[i] = i < filled ? '#' : '.';
    bar[WIDTH] = 0;
    bool is_bytes = p->unit == HD_PROGRESS_BYTES;
    double scale = is_bytes ? 1e-9 : 1.0;
    const char *unit = units[p->unit];
    int places = is_bytes ? 2 : 0;
    fprintf(stderr, "\r\033[K%s [%s] %3.0f%%  %.*f of %.*f %s  %.*f %s/s  %.0f s left", p->label,
            bar, floor(done / total * 100.0), places, done * scale, places, total * scale, unit,
            places, done * scale / seconds, unit, ceil(seconds * (total - done) / done));
    fflush(stderr);
}

void hd_progress_update(void *ctx, uint64_t done, uint64_t total)
{
    hd_progress *p = ctx;
    if (!p->is_shown || done == 0 || done > total) return;
    double now = hd_now_s(), seconds = now - p->began_s;
    if (now < p->redraw_s) return;
    p->redraw_s = now + INTERVAL_S;
    if (!p->is_drawn && seconds * (double)total / (double)done < WORTH_SHOWING_S) return;
    p->is_drawn = true;
    draw(p, (double)done, (double)total, seconds);
}

void hd_progress_end(hd_progress *p)
{
    if (p->is_drawn) fprintf(stderr, "\r\033[K");
    p->is_drawn = false;
}
