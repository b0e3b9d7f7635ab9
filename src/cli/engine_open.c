/* Opening an engine: see engine_open.h. */
#include "cli/engine_open.h"

#include "cli/progress.h"

hd_status hd_open_engine(const hd_model_args *args, hd_engine_opts opts, hd_engine **out,
                         hd_err *err)
{
    hd_progress progress;
    opts.model.device = args->device;
    opts.model.isa = args->isa;
    opts.model.n_threads = args->n_threads;
    opts.model.progress = hd_progress_update;
    opts.model.progress_ctx = &progress;
    hd_progress_init(&progress, "loading", HD_PROGRESS_BYTES);
    hd_status status = hd_engine_open(args->dir, &opts, out, err);
    hd_progress_end(&progress);
    return hd_explain_dir(args->dir, status, err);
}
