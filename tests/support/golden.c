#include "support/golden.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static _Noreturn void give_up(const char *what, const char *why)
{
    fprintf(stderr, "golden data: %s: %s\n", what, why);
    exit(1);
}

/* ---- where it is --------------------------------------------------------------------------------
 */

static bool is_set(const char *dir)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/cases.json", dir);
    FILE *f = fopen(path, "rb");
    if (f) fclose(f);
    return f != NULL;
}

const char *golden_dir(const char *set)
{
    static char dirs[8][2048];
    static unsigned turn;
    char *dir = dirs[turn++ % 8];
    const char *full = getenv("HADAL_VECTORS");
    snprintf(dir, sizeof dirs[0], "%s/model/%s", full && *full ? full : HD_TEST_DATA, set);
    if (is_set(dir)) return dir;
    snprintf(dir, sizeof dirs[0], "%s/model/%s", HD_TEST_DATA, set);
    return is_set(dir) ? dir : NULL;
}

bool golden_is_bundled(const char *set)
{
    char dir[2048];
    snprintf(dir, sizeof dir, "%s/model/%s", HD_TEST_DATA, set);
    return is_set(dir);
}

/* ---- cases --------------------------------------------------------------------------------------
 */

int golden_cases(const char *dir, golden_case out[GOLDEN_MAX_CASES])
{
    hd_err err = {0};
    int n;
    if (hd_golden_cases(dir, out, &n, &err) != HD_OK) give_up(dir, err.text);
    return n;
}

/* ---- tensors ------------------------------------------------------------------------------------
 */

hd_st *golden_open(const char *dir, const char *file)
{
    char path[4096];
    hd_st *st;
    hd_err err;
    snprintf(path, sizeof path, "%s/%s", dir, file);
    if (hd_st_open(path, 0, NULL, &st, &err) != HD_OK) give_up(path, err.text);
    return st;
}

const hd_st_tensor *golden_find(const hd_st *st, const char *prefix, const char *name)
{
    char full[128];
    snprintf(full, sizeof full, "%s%s", prefix, name);
    return hd_st_find(st, hd_str_from(full));
}

const hd_st_tensor *golden_get(const hd_st *st, const char *name)
{
    const hd_st_tensor *t = golden_find(st, "", name);
    if (!t) give_up(name, "there is no such tensor");
    return t;
}

int32_t *golden_i32(const hd_st_tensor *t)
{
    if (t->dtype != HD_DTYPE_I32) give_up("a tensor", "it is not I32");
    int32_t *p = hd_mem_calloc(t->n_bytes ? t->n_bytes : 1, 1);
    memcpy(p, t->data, t->n_bytes);
    return p;
}

/* ---- distance -----------------------------------------------------------------------------------
 */

golden_error golden_compare(const void *got, const hd_st_tensor *want)
{
    golden_error e;
    hd_err err = {0};
    if (hd_golden_compare(got, want, &e, &err) != HD_OK) give_up("a tensor", err.text);
    return e;
}
