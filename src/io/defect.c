/* The list behind io/defect.h. */
#include "io/defect.h"

#include <stdarg.h>
#include <stdio.h>

#define MAX_KEPT    20000
#define ARENA_BYTES (64u << 20)

typedef struct code_info {
    const char *name;
    hd_status status; /* of the error in strict mode */
} code_info;

#define HD_DEFECT_INFO(suffix, code, status) {code, status},
static const code_info infos[] = {HD_DEFECT_CODES(HD_DEFECT_INFO)};
#undef HD_DEFECT_INFO

const char *hd_defect_code_name(hd_defect_code code)
{
    HD_ASSERT((unsigned)code < HD_DEFECT_COUNT);
    return infos[code].name;
}

void hd_defects_init(hd_defects *d)
{
    *d = (hd_defects){0};
    hd_arena_init(&d->arena, ARENA_BYTES);
}

void hd_defects_deinit(hd_defects *d)
{
    hd_arena_deinit(&d->arena);
    *d = (hd_defects){0};
}

/* Counted in any case; kept while there is room. */
static void record(hd_defects *d, hd_defect_code code, hd_str where, const char *detail)
{
    d->n++;
    if (d->n_kept >= MAX_KEPT) return;
    hd_defect *new = hd_arena_try_alloc(&d->arena, 1, sizeof *new);
    if (!new) return;
    *new = (hd_defect){.code = code,
                       .where = hd_arena_dup(&d->arena, where),
                       .detail = hd_arena_dup(&d->arena, hd_str_from(detail))};
    if (d->last)
        d->last->next = new;
    else
        d->first = new;
    d->last = new;
    d->n_kept++;
}

hd_status hd_defect_report(hd_defects *d, hd_defect_code code, hd_str where, hd_err *err,
                           const char *fmt, ...)
{
    char detail[sizeof err->text];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(detail, sizeof detail, fmt, ap);
    va_end(ap);
    if (!d) HD_FAIL(err, infos[code].status, "'%.*s': %s", HD_STR_CUT(where), detail);
    record(d, code, where, detail);
    return HD_OK;
}
