/* Opening an engine for a command: on the machine that the options name, with a bar while it loads.
 */
#ifndef HD_CLI_ENGINE_OPEN_H
#define HD_CLI_ENGINE_OPEN_H

#include "cli/opts.h"
#include "hadal/engine.h"

/** @param opts the command's wishes; device, isa, threads and progress are filled in here.
 *  @return as hd_engine_open; where there is no checkpoint, `err` says how to get one. */
hd_status hd_open_engine(const hd_model_args *args, hd_engine_opts opts, hd_engine **out,
                         hd_err *err) HD_WARN_UNUSED;

#endif
