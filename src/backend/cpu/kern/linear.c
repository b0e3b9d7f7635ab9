/* Matrix products: what the team's threads share out, whatever the format.
 *
 * A product is a list of jobs (one for a plain layer, one per group or expert) that all have the
 * same number of weight rows. Few tokens everywhere: memory is the limit, and each thread gets one
 * contiguous range of all the rows. Otherwise threads take units of rows × tokens as they come
 * free. Neither the split nor the path changes a bit. */
#include "backend/cpu/kern/kern.h"

static void run_unit(const hd_cpu_lane *lane, const mat_job *job, int32_t r0, int32_t r1,
                     int32_t t0, int32_t t1)
{
    if (job->w->base.format == HD_WEIGHT_F32)
        KERN(mat_f32)(job, r0, r1, t0, t1);
    else if (job->n_tok <= DIRECT_TOKENS)
        KERN(mat_direct)(lane, job, r0, r1);
    else
        KERN(mat_panels)(lane, job, r0, r1, t0, t1);
}

typedef struct load {
    int32_t n_active, n_rows; /* jobs with tokens, weight rows of each */
    int64_t n_blocks;         /* token blocks of all jobs */
    bool few;                 /* no job has more tokens than the direct path takes */
} load;

static int32_t n_token_blocks(const mat_job *job)
{
    if (job->n_tok <= DIRECT_TOKENS) return 1;
    return (job->n_tok + MAT_BLOCK_TOKENS - 1) / MAT_BLOCK_TOKENS;
}

static load survey(int32_t n_jobs, mat_job_fn get, const void *arg)
{
    load l = {.few = true};
    for (int32_t i = 0; i < n_jobs; i++) {
        mat_job job;
        get(arg, i, &job);
        l.n_rows = job.n_rows;
        if (job.n_tok == 0) continue;
        l.n_active++;
        l.n_blocks += n_token_blocks(&job);
        if (job.n_tok > DIRECT_TOKENS) l.few = false;
    }
    return l;
}

/* All active jobs' rows, one after the other, cut into equal contiguous ranges. */
static void run_by_rows(const hd_cpu_lane *lane, int32_t n_jobs, mat_job_fn get, const void *arg,
                        const load *l)
{
    hd_par_range range =
        hd_par_split((int64_t)l->n_active * l->n_rows, DIRECT_ROWS, lane->i, lane->n);
    int64_t at = 0;
    for (int32_t i = 0; i < n_jobs && at < range.end; i++) {
        mat_job job;
        get(arg, i, &job);
        if (job.n_tok == 0) continue;
        int64_t r0 = MAX(range.begin - at, 0), r1 = MIN(range.end - at, job.n_rows);
        if (r0 < r1) run_unit(lane, &job, (int32_t)r0, (int32_t)r1, 0, job.n_tok);
        at += job.n_rows;
    }
}

/* Rows per unit: large, so that packed tokens are used often, but enough units for all threads. */
static int32_t chunk_rows(const load *l, int n_threads)
{
    int32_t chunk = MAT_CHUNK_ROWS;
    while (chunk > 16 && l->n_blocks * ((l->n_rows + chunk - 1) / chunk) < 4 * n_threads)
        chunk /= 2;
    return chunk;
}

/* Unit u of a job: row chunk u / blocks, token block u mod blocks. */
static void run_by_units(const hd_cpu_lane *lane, int32_t n_jobs, mat_job_fn get, const void *arg,
                         const load *l, int i_counter)
{
    int32_t chunk = chunk_rows(l, lane->n), n_chunks = (l->n_rows + chunk - 1) / chunk;
    int64_t unit = hd_par_take(lane->par, i_counter, 1), at = 0;
    for (int32_t i = 0; i < n_jobs; i++) {
        mat_job job;
        get(arg, i, &job);
        if (job.n_tok == 0) continue;
        int32_t blocks = n_token_blocks(&job);
        int64_t n_units = (int64_t)n_chunks * blocks;
        while (unit < at + n_units) {
            int32_t r0 = (int32_t)((unit - at) / blocks) * chunk;
            int32_t t0 = (int32_t)((unit - at) % blocks) * MAT_BLOCK_TOKENS;
            run_unit(lane, &job, r0, MIN(r0 + chunk, job.n_rows), t0,
                     MIN(t0 + MAT_BLOCK_TOKENS, job.n_tok));
            unit = hd_par_take(lane->par, i_counter, 1);
        }
        at += n_units;
    }
}

void KERN(mat_run)(const hd_cpu_lane *lane, int32_t n_jobs, mat_job_fn get, const void *arg,
                   int i_counter)
{
    load l = survey(n_jobs, get, arg);
    if (l.few)
        run_by_rows(lane, n_jobs, get, arg, &l);
    else
        run_by_units(lane, n_jobs, get, arg, &l, i_counter);
}

/* ---- linear --------------------------------------------------------------------------------- */

static void group_job(const void *arg, int32_t g, mat_job *job)
{
    const hd_linear_params *p = arg;
    int32_t rows = p->w->rows / p->n_groups, cols = p->w->cols;
    size_t y_size = p->y_kind == HD_Y_F32 ? sizeof(float) : sizeof(hd_bf16);
    *job = (mat_job){.w = (const hd_cpu_weight *)p->w,
                     .row0 = g * rows,
                     .n_rows = rows,
                     .x = (const hd_bf16 *)p->x + (int64_t)g * cols,
                     .x_stride = (int64_t)p->n_groups * cols,
                     .divisor = 1,
                     .n_tok = p->n_rows,
                     .y = (uint8_t *)p->y + (size_t)g * (size_t)rows * y_size,
                     .y_stride = (int64_t)p->n_groups * rows,
                     .y_kind = p->y_kind};
}

void KERN(linear)(const hd_cpu_lane *lane, const hd_linear_params *p)
{
    KERN(mat_run)(lane, p->n_groups, group_job, p, 0);
}

/* ---- experts -------------------------------------------------------------------------------- */

static void expert_job(const void *arg, int32_t e, mat_job *job)
{
    const hd_grouped_linear_params *p = arg;
    int32_t rows = p->w->rows, begin = p->offset[e];
    *job = (mat_job){.w = (const hd_cpu_weight *)p->w,
                     .part = e,
                     .n_rows = rows,
                     .x = (const hd_bf16 *)p->x + (p->order ? 0 : (int64_t)begin * p->w->cols),
                     .x_stride = p->w->cols,
                     .order = p->order ? p->order + begin : NULL,
                     .divisor = p->divisor,
                     .n_tok = p->offset[e + 1] - begin,
                     .y = p->y + (int64_t)begin * rows,
                     .y_stride = rows,
                     .y_kind = HD_Y_BF16};
}

void KERN(grouped_linear)(const hd_cpu_lane *lane, const hd_grouped_linear_params *p)
{
    KERN(mat_run)(lane, p->w->n_parts, expert_job, p, 0);
}
