/* The file names of a checkpoint directory: which may be used, and which are shards. For ckpt.c. */
#ifndef HD_IO_CKPT_FILES_H
#define HD_IO_CKPT_FILES_H

#include "io/defect.h"

/** Whether an index may name this file: not empty, no '/', no NUL, neither "." nor "..". */
bool hd_ckpt_is_plain_name(hd_str name);

typedef struct hd_ckpt_files {
    char **names; /* [n], owned, ascending */
    size_t n, cap;
} hd_ckpt_files;

/** All files model*.safetensors of a directory. Reports no_weights when there is none, and
 *  missing_shard for the numbers that are lacking where names are of the form
 *  model-00001-of-00048.safetensors.
 *  @return HD_E_NOTFOUND or HD_E_IO when the directory cannot be read, HD_E_NOMEM. */
hd_status hd_ckpt_files_list(const char *dir, hd_defects *defects, hd_ckpt_files *out,
                             hd_err *err) HD_WARN_UNUSED;
void hd_ckpt_files_free(hd_ckpt_files *f);

#endif
