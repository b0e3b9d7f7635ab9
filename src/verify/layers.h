/* Which layers stand for all of a model. */
#ifndef HD_VERIFY_LAYERS_H
#define HD_VERIFY_LAYERS_H

#include "model/config.h"

/** Three ratios, each routed by hash or by bias. */
#define HD_VERIFY_MAX_KINDS 6

/** The first layer of each kind that the model has, ascending. Returns their number. */
int hd_verify_kinds(const hd_config *c, int32_t out[HD_VERIFY_MAX_KINDS]);
/** "ratio 4, hash-routed", in a static string. */
const char *hd_verify_kind_name(const hd_config *c, int32_t layer);

#endif
