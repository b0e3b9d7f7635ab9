#include "support/goldenprobe.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/modelrun.h"

static _Noreturn void give_up(const char *name, const char *why)
{
    fprintf(stderr, "probe: '%s' %s\n", name, why);
    exit(1);
}

void golden_feed(hd_probe *p, const char *name, const hd_st_tensor *t)
{
    hd_err err;
    hd_probe_value v = {.dtype = t->dtype,
                        .n_rows = t->shape[0],
                        .row_bytes = t->n_bytes / (uint64_t)t->shape[0],
                        .data = (uint8_t *)(uintptr_t)t->data};
    modelrun_check(hd_probe_feed(p, hd_str_from(name), &v, &err), name, &err);
}

void golden_capture(hd_probe *p, const char *name)
{
    hd_err err;
    modelrun_check(hd_probe_capture(p, hd_str_from(name), &err), name, &err);
}

golden_error golden_compare_captured(const hd_probe *p, const char *name, const hd_st_tensor *want)
{
    const hd_probe_value *v;
    int i = 0;
    while ((v = hd_probe_captured(p, i)) && (strcmp(v->name, name) != 0 || !v->data)) i++;
    if (!v) give_up(name, "was not captured");
    if (v->dtype != want->dtype || (uint64_t)v->n_rows * v->row_bytes != want->n_bytes)
        give_up(name, "has another shape or dtype");
    return golden_compare(v->data, want);
}
