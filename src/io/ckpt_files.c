#include "io/ckpt_files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"

#define MAX_FILES  4096 /* of one directory; V4-Pro has 66 */
#define NAME_BYTES 33   /* "model-00001-of-00048.safetensors" and its NUL */

bool hd_ckpt_is_plain_name(hd_str name)
{
    return name.len > 0 && !memchr(name.ptr, '/', name.len) && !memchr(name.ptr, 0, name.len) &&
           !hd_str_eqz(name, ".") && !hd_str_eqz(name, "..");
}

void hd_ckpt_files_free(hd_ckpt_files *f)
{
    for (size_t i = 0; i < f->n; i++) hd_mem_free(f->names[i]);
    hd_mem_free(f->names);
    *f = (hd_ckpt_files){0};
}

static hd_status add_name(hd_ckpt_files *f, const char *name, hd_err *err)
{
    if (f->n == MAX_FILES)
        HD_FAIL(err, HD_E_LIMIT, "more than %d files 'model*.safetensors'", MAX_FILES);
    size_t bytes = strlen(name) + 1;
    if (f->n == f->cap) {
        size_t cap = f->cap ? 2 * f->cap : 64;
        char **grown = hd_mem_try_realloc(f->names, cap, sizeof *grown);
        if (!grown) HD_FAIL(err, HD_E_NOMEM, "no memory for %zu file names", cap);
        f->names = grown;
        f->cap = cap;
    }
    char *copy = hd_mem_try_calloc(bytes, 1);
    if (!copy) HD_FAIL(err, HD_E_NOMEM, "no memory for %zu file names", f->n + 1);
    f->names[f->n++] = memcpy(copy, name, bytes);
    return HD_OK;
}

static hd_status read_names(DIR *d, hd_ckpt_files *out, hd_err *err)
{
    for (const struct dirent *e; (e = readdir(d));) {
        hd_str name = hd_str_from(e->d_name);
        if (hd_str_starts(name, HD_STR("model")) && hd_str_ends(name, HD_STR(".safetensors")))
            HD_TRY(add_name(out, e->d_name, err));
    }
    return HD_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* "-of-NNNNN" of the first name that is numbered; 0 when none is. */
static int numbered_total(const hd_ckpt_files *f)
{
    int number, total, end = 0;
    for (size_t i = 0; i < f->n; i++)
        if (sscanf(f->names[i], "model-%5d-of-%5d.safetensors%n", &number, &total, &end) == 2 &&
            end == NAME_BYTES - 1 && total > 0)
            return total;
    return 0;
}

static hd_status check_numbers(const hd_ckpt_files *f, hd_defects *defects, hd_err *err)
{
    int total = numbered_total(f);
    for (int i = 1; i <= total; i++) {
        char name[64];
        const char *key = name;
        snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", i, total);
        if (bsearch(&key, f->names, f->n, sizeof *f->names, by_name)) continue;
        HD_TRY(hd_defect_report(defects, HD_DEFECT_MISSING_SHARD, hd_str_from(name), err,
                                "the other files say that there are %d, but it is not there",
                                total));
    }
    return HD_OK;
}

hd_status hd_ckpt_files_list(const char *dir, hd_defects *defects, hd_ckpt_files *out, hd_err *err)
{
    char buf[128];
    *out = (hd_ckpt_files){0};
    DIR *d = opendir(dir);
    if (!d)
        HD_FAIL(err, errno == ENOENT ? HD_E_NOTFOUND : HD_E_IO, "cannot read directory '%s': %s",
                dir, strerror_r(errno, buf, sizeof buf));
    hd_status status = read_names(d, out, err);
    closedir(d);
    if (status == HD_OK && out->n == 0)
        status =
            hd_defect_report(defects, HD_DEFECT_NO_WEIGHTS, HD_STR("model.safetensors.index.json"),
                             err, "neither this file nor any 'model*.safetensors' is there");
    if (out->n) qsort(out->names, out->n, sizeof *out->names, by_name);
    if (status == HD_OK) status = check_numbers(out, defects, err);
    if (status != HD_OK) hd_ckpt_files_free(out);
    return status;
}
