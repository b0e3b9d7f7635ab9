/* Settings that can come from the command line, the environment or a file.
 *
 * One table says all of a setting: its name, what it may be, what it is for. A flag `--max-seqs 8`
 * is `HADAL_MAX_SEQS=8` in the environment and `max-seqs = 8` in the file (INI, one section); the
 * flag counts first, then the environment, then the file. Names that nobody knows are refused. */
#ifndef HD_CLI_SETTINGS_H
#define HD_CLI_SETTINGS_H

#include <argp.h>
#include <stdint.h>
#include <stdio.h>

#include "base/status.h"

typedef enum hd_setting_kind {
    HD_SETTING_TEXT,   /* const char * */
    HD_SETTING_NUMBER, /* int64_t within [min, max] */
    HD_SETTING_FLAG,   /* int64_t, 0 or 1; in the environment and the file: yes or no */
    HD_SETTING_CHOICE  /* int64_t: index into `choices` */
} hd_setting_kind;

typedef struct hd_setting {
    const char *name;
    hd_setting_kind kind;
    size_t offset; /* of the value in the caller's record */
    const char *arg, *help;
    int group;                  /* of --help */
    int64_t min, max;           /* NUMBER */
    const char *const *choices; /* CHOICE: NULL-terminated */
    const char *header;         /* of a group: then this is all that counts */
} hd_setting;

#define HD_MAX_SETTINGS 64

/** Where each value is from. */
typedef struct hd_settings {
    const hd_setting *table;            /* ended by a NULL name without header */
    const char *section;                /* of the file */
    void *values;                       /* the caller's record, holding the defaults */
    const char *given[HD_MAX_SETTINGS]; /* by flags; NULL: not given */
    char *from_file[HD_MAX_SETTINGS];   /* owned */
    const char *file;                   /* --config; NULL: none */
    struct argp_option options[HD_MAX_SETTINGS + 1];
} hd_settings;

void hd_settings_init(hd_settings *s, const hd_setting *table, const char *section, void *values);
void hd_settings_deinit(hd_settings *s);
/** For an argp parser: whether `key` is a setting's, whose argument was taken then. */
int hd_settings_take(hd_settings *s, int key, char *arg);
/** Read the file, then fill the record. @return HD_E_IO; HD_E_FORMAT or HD_E_ARG saying which
 *  setting, from where, and what it may be. */
hd_status hd_settings_resolve(hd_settings *s, hd_err *err) HD_WARN_UNUSED;
/** All values, as a file that would set them. */
void hd_settings_print(const hd_settings *s, FILE *to);

#endif
