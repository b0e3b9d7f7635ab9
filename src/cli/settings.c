/* Settings: see settings.h. inih is used here and nowhere else. */
#include "cli/settings.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include <ini.h>

#include "base/mem.h"
#include "base/str.h"

enum { FIRST_KEY = 2000 };

static bool is_end(const hd_setting *t)
{
    return !t->name && !t->header;
}

void hd_settings_init(hd_settings *s, const hd_setting *table, const char *section, void *values)
{
    *s = (hd_settings){.table = table, .section = section, .values = values};
    for (int i = 0; !is_end(&table[i]); i++) {
        HD_ASSERT(i < HD_MAX_SETTINGS);
        s->options[i] =
            table[i].header
                ? (struct argp_option){NULL, 0, NULL, 0, table[i].header, table[i].group}
                : (struct argp_option){table[i].name, FIRST_KEY + i, table[i].arg, 0,
                                       table[i].help, table[i].group};
    }
}

void hd_settings_deinit(hd_settings *s)
{
    for (int i = 0; i < HD_MAX_SETTINGS; i++) hd_mem_free(s->from_file[i]);
}

int hd_settings_take(hd_settings *s, int key, char *arg)
{
    if (key < FIRST_KEY || key >= FIRST_KEY + HD_MAX_SETTINGS) return 0;
    s->given[key - FIRST_KEY] = arg ? arg : "yes";
    return 1;
}

/* ---- the file ---------------------------------------------------------------------------------*/

typedef struct reading {
    hd_settings *s;
    char why[160];
} reading;

static int find(const hd_settings *s, const char *name)
{
    for (int i = 0; !is_end(&s->table[i]); i++)
        if (s->table[i].name && strcmp(s->table[i].name, name) == 0) return i;
    return -1;
}

/* inih: 0 ends the reading at this line. */
static int take_line(void *arg, const char *section, const char *name, const char *value)
{
    reading *r = arg;
    hd_settings *s = r->s;
    if (r->why[0]) return 0;
    int i = find(s, name);
    if (section[0] && strcmp(section, s->section) != 0)
        snprintf(r->why, sizeof r->why, "there is no section '%.60s', only '%s'", section,
                 s->section);
    else if (i < 0)
        snprintf(r->why, sizeof r->why, "there is no setting '%.60s'", name);
    else if (s->from_file[i])
        snprintf(r->why, sizeof r->why, "'%.60s' was set before", name);
    if (r->why[0]) return 0;
    size_t n = strlen(value) + 1;
    s->from_file[i] = memcpy(hd_mem_calloc(n, 1), value, n);
    return 1;
}

static hd_status read_file(hd_settings *s, hd_err *err)
{
    reading r = {.s = s};
    if (!s->file) return HD_OK;
    errno = 0;
    int line = ini_parse(s->file, take_line, &r);
    if (line < 0) HD_FAIL(err, HD_E_IO, "cannot read '%s': %s", s->file, strerror(errno));
    if (line > 0)
        HD_FAIL(err, HD_E_FORMAT, "'%s' line %d: %s", s->file, line,
                r.why[0] ? r.why : "expected 'name = value'");
    return HD_OK;
}

/* ---- values -----------------------------------------------------------------------------------*/

/* HADAL_MAX_SEQS for max-seqs. */
static const char *from_environment(const hd_setting *t, char name[64])
{
    size_t n = (size_t)snprintf(name, 64, "HADAL_%s", t->name);
    for (size_t i = 6; i < n && i < 63; i++) {
        if (name[i] == '-') name[i] = '_';
        if (name[i] >= 'a' && name[i] <= 'z') name[i] = (char)(name[i] - 'a' + 'A');
    }
    return getenv(name);
}

static bool read_number(const char *text, int64_t *out)
{
    char *end;
    errno = 0;
    long long x = strtoll(text, &end, 10);
    *out = x;
    return errno == 0 && end != text && *end == 0;
}

static bool read_flag(const char *text, int64_t *out)
{
    static const char *const words[] = {"no", "yes", "false", "true", "off", "on", "0", "1"};
    for (size_t i = 0; i < HD_COUNT(words); i++) {
        *out = (int64_t)i % 2;
        if (strcmp(text, words[i]) == 0) return true;
    }
    return false;
}

static bool read_choice(const hd_setting *t, const char *text, int64_t *out)
{
    for (*out = 0; t->choices[*out]; (*out)++)
        if (strcmp(text, t->choices[*out]) == 0) return true;
    return false;
}

static hd_status set(const hd_settings *s, const hd_setting *t, const char *text,
                     const char *source, hd_err *err)
{
    char *at = (char *)s->values + t->offset;
    int64_t *number = (int64_t *)(void *)at;
    char choices[200] = "";
    switch (t->kind) {
    case HD_SETTING_TEXT: *(const char **)(void *)at = text[0] ? text : NULL; return HD_OK;
    case HD_SETTING_NUMBER:
        if (read_number(text, number) && *number >= t->min && *number <= t->max) return HD_OK;
        HD_FAIL(err, HD_E_ARG, "%s is '%s': expected a number from %" PRId64 " to %" PRId64, source,
                text, t->min, t->max);
    case HD_SETTING_FLAG:
        if (read_flag(text, number)) return HD_OK;
        HD_FAIL(err, HD_E_ARG, "%s is '%s': expected yes or no", source, text);
    case HD_SETTING_CHOICE:
        if (read_choice(t, text, number)) return HD_OK;
        for (size_t i = 0, n = 0; t->choices[i] && n < sizeof choices; i++)
            n += (size_t)snprintf(choices + n, sizeof choices - n, "%s%s", i ? ", " : "",
                                  t->choices[i]);
        HD_FAIL(err, HD_E_ARG, "%s is '%s': expected one of %s", source, text, choices);
    }
    return HD_OK;
}

hd_status hd_settings_resolve(hd_settings *s, hd_err *err)
{
    HD_TRY(read_file(s, err));
    for (int i = 0; !is_end(&s->table[i]); i++) {
        const hd_setting *t = &s->table[i];
        char source[300], variable[64];
        if (!t->name) continue;
        const char *text = s->given[i];
        snprintf(source, sizeof source, "--%s", t->name);
        if (!text) {
            text = from_environment(t, variable);
            snprintf(source, sizeof source, "the variable %s", variable);
        }
        if (!text) {
            text = s->from_file[i];
            snprintf(source, sizeof source, "'%s' in '%.200s'", t->name, s->file ? s->file : "");
        }
        if (text) HD_TRY(set(s, t, text, source, err));
    }
    return HD_OK;
}

void hd_settings_print(const hd_settings *s, FILE *to)
{
    fprintf(to, "[%s]\n", s->section);
    for (int i = 0; !is_end(&s->table[i]); i++) {
        const hd_setting *t = &s->table[i];
        const char *at = (const char *)s->values + t->offset;
        if (!t->name) continue;
        int64_t number = t->kind == HD_SETTING_TEXT ? 0 : *(const int64_t *)(const void *)at;
        const char *text = t->kind == HD_SETTING_TEXT ? *(const char *const *)(const void *)at : "";
        if (!text || (t->kind == HD_SETTING_NUMBER && number < t->min)) {
            fprintf(to, "; %s =\n", t->name); /* the default depends on the model */
            continue;
        }
        switch (t->kind) {
        case HD_SETTING_TEXT: fprintf(to, "%s = %s\n", t->name, text); break;
        case HD_SETTING_NUMBER: fprintf(to, "%s = %" PRId64 "\n", t->name, number); break;
        case HD_SETTING_FLAG: fprintf(to, "%s = %s\n", t->name, number ? "yes" : "no"); break;
        case HD_SETTING_CHOICE: fprintf(to, "%s = %s\n", t->name, t->choices[number]); break;
        }
    }
}
