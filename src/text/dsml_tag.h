/* Reading the head of a DSML tag: what stands between the DSML token and the end of the tag.
 *
 * Models are not always exact, so this reads what can be read: any white space, tag names of either
 * version, attributes that were not asked for. A pure function over the text so far, which tells
 * also that more text is needed; its answer does not depend on how the text arrived. */
#ifndef HD_TEXT_DSML_TAG_H
#define HD_TEXT_DSML_TAG_H

#include "base/str.h"

typedef enum hd_dsml_tag_kind {
    HD_TAG_MORE,         /* cannot be told yet */
    HD_TAG_OTHER,        /* a block, or nothing that is known */
    HD_TAG_INVOKE,       /* `name` holds the tool's */
    HD_TAG_PARAMETER,    /* `name` and `is_string` */
    HD_TAG_BAD_PARAMETER /* a parameter whose name cannot be read */
} hd_dsml_tag_kind;

typedef struct hd_dsml_tag {
    hd_dsml_tag_kind kind;
    hd_str name;    /* slice of the head */
    bool is_string; /* the value is text; else JSON */
    size_t len;     /* bytes of the head that are read; the rest is text behind them */
} hd_dsml_tag;

/** Read the head of an opening tag: the text behind the DSML token. */
hd_dsml_tag hd_dsml_read_tag(hd_str head);

/** For output that was cut off inside the head of a parameter.
 *  @param name      what there is of the name.
 *  @param is_quoted whether its opening quote is there. @param is_closed the closing one.
 *  @return false if the head does not even say `name=`. */
bool hd_dsml_cut_parameter(hd_str head, hd_str *name, bool *is_quoted, bool *is_closed);

#endif
