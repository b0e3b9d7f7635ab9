/* What happened in an engine, as JSON: `hadal batch --stats`. docs/batch.md has the names. */
#ifndef HD_CLI_BATCH_STATS_H
#define HD_CLI_BATCH_STATS_H

#include "hadal/engine.h"

/** @param n_failed of n_requests lines. @return HD_E_IO, HD_E_NOMEM. */
hd_status hd_batch_write_stats(hd_engine *engine, size_t n_requests, size_t n_failed,
                               const char *path, hd_err *err) HD_WARN_UNUSED;

#endif
