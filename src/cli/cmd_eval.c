/* hadal eval: how well a model does the tasks that lie beside it. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/fs.h"
#include "base/jsonw.h"
#include "base/utf8.h"
#include "cli/commands.h"
#include "cli/engine_open.h"
#include "cli/eval_pool.h"
#include "cli/eval_results.h"
#include "cli/interrupt.h"
#include "cli/jsonl.h"
#include "cli/progress.h"

#define MAX_TASKS        64 /* options --task */
#define MAX_PATH_BYTES   4096
#define MAX_REPORT_BYTES ((size_t)1 << 26)

static const char doc[] =
    "Let the model in DIR do its tasks, and count what it gets right.\n\n"
    "The tasks are DIR/eval.json or FILE. The model answers greedily. Accuracies are compared with "
    "the stored ones, DIR/eval-figures.json: when a task that ran with all its rows is more than 1 "
    "percentage point worse, the exit status is 1.\v"
    "Examples:\n"
    "  hadal eval models/demo\n"
    "  hadal eval models/demo --task needle-4k --task stop --limit 20\n"
    "  hadal eval models/demo --json --answers answers.jsonl > report.json\n\n"
    "docs/eval.md describes the files.";

enum { OPT_TASKS = 256, OPT_TASK, OPT_LIMIT, OPT_JSON, OPT_ANSWERS, OPT_STORE };

static const struct argp_option options[] = {
    {NULL, 0, NULL, 0, "What is run:", 1},
    {"tasks", OPT_TASKS, "FILE", 0, "The tasks (default: DIR/eval.json)", 1},
    {"task", OPT_TASK, "NAME", 0, "Only this result; may be repeated", 1},
    {"limit", OPT_LIMIT, "N", 0, "Only the first N rows of each set", 1},
    {NULL, 0, NULL, 0, "What comes out:", 2},
    {"json", OPT_JSON, NULL, 0, "The report as JSON instead of a table", 2},
    {"answers", OPT_ANSWERS, "FILE", 0, "Write each answer to FILE, one JSON object a line", 2},
    {"store", OPT_STORE, NULL, 0, "Store the accuracies in DIR/eval-figures.json", 2},
    {NULL, 0, NULL, 0, "The machine:", 4},
    {0},
};

static const struct argp_child children[] = {{&hd_machine_argp, 0, NULL, 0}, {0}};

typedef struct job {
    hd_model_args model;
    const char *tasks_file, *answers_file;
    const char *task[MAX_TASKS];
    size_t n_tasks, limit; /* limit 0: none */
    bool is_json, stores;

    hd_session session; /* for prompts; it has no model */
    hd_engine *engine;
    hd_model_info info;
    hd_eval_tasks tasks;
    hd_eval_results results;
    hd_eval_answer answer; /* scratch: a prompt */
    hd_buf line;           /* scratch */
    FILE *answers;
    char figures_path[MAX_PATH_BYTES];
    size_t n_rows; /* that run */
    uint64_t n_prompt_tokens, n_generated;
    double seconds; /* of the rows; loading is not counted */
} job;

static void check_job(const job *j, const struct argp_state *state)
{
    if (!j->model.dir) argp_error(state, "no DIR given");
    if (j->stores && (j->limit || j->n_tasks))
        argp_error(state, "--store goes without --task and --limit: only whole runs are stored");
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    job *j = state->input;
    switch (key) {
    case ARGP_KEY_INIT: state->child_inputs[0] = &j->model; return 0;
    case OPT_TASKS: j->tasks_file = arg; return 0;
    case OPT_TASK:
        if (j->n_tasks == MAX_TASKS) argp_error(state, "more than %d options --task", MAX_TASKS);
        j->task[j->n_tasks++] = arg;
        return 0;
    case OPT_LIMIT: j->limit = (size_t)hd_opt_i64(state, "--limit", arg, 1, 1 << 24); return 0;
    case OPT_JSON: j->is_json = true; return 0;
    case OPT_ANSWERS: j->answers_file = arg; return 0;
    case OPT_STORE: j->stores = true; return 0;
    case ARGP_KEY_ARG:
        if (j->model.dir) return ARGP_ERR_UNKNOWN;
        j->model.dir = arg;
        return 0;
    case ARGP_KEY_END: check_job(j, state); return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- what is to be run ---- */

static hd_status read_tasks(job *j, hd_err *err)
{
    char path[MAX_PATH_BYTES];
    HD_TRY(hd_fs_join(j->model.dir, "eval.json", path, sizeof path, err));
    HD_TRY(hd_fs_join(j->model.dir, "eval-figures.json", j->figures_path, MAX_PATH_BYTES, err));
    hd_status status = hd_eval_tasks_open(&j->tasks, j->tasks_file ? j->tasks_file : path, err);
    if (status == HD_E_NOTFOUND && !j->tasks_file)
        hd_err_context(err, status, "'%s' has no tasks (--tasks names another file)", j->model.dir);
    HD_TRY(status);
    hd_eval_results_init(&j->results, &j->tasks);
    if (j->n_tasks) HD_TRY(hd_eval_results_choose(&j->results, j->task, j->n_tasks, err));
    return hd_eval_figures_read(&j->results, j->figures_path, err);
}

static bool runs(const job *j, const hd_eval_row *row)
{
    return (j->limit == 0 || row->n_before < j->limit) && hd_eval_results_need(&j->results, row);
}

/* Room for the longest row. Every prompt is made once before the model is opened, so what is wrong
 * with a row is told at once. */
static hd_status plan_context(job *j, int32_t *ctx, hd_err *err)
{
    int64_t most = 0;
    for (size_t i = 0; i < j->tasks.n_rows; i++) {
        const hd_eval_row *row = &j->tasks.rows[i];
        if (!runs(j, row)) continue;
        HD_TRY(hd_eval_prompt(&j->session, &j->tasks, row, &j->answer, err));
        int64_t n = (int64_t)j->answer.prompt.len + row->max_tokens;
        if (n > j->session.config.max_position)
            HD_FAIL(err, HD_E_LIMIT,
                    "row %zu: its prompt and answer take %" PRId64
                    " tokens, and the model was made for %d",
                    row->number, n, j->session.config.max_position);
        if (n > most) most = n;
        j->n_rows++;
    }
    *ctx = (int32_t)most;
    return HD_OK;
}

/* ---- answers ---- */

static const char *truth(bool x)
{
    return x ? "true" : "false";
}

static hd_status fail_answers(const job *j, hd_err *err)
{
    HD_FAIL(err, HD_E_IO, "cannot write '%s': %s", j->answers_file, strerror(errno));
}

static hd_status write_answer(job *j, const hd_eval_entry *done, hd_err *err)
{
    const hd_eval_answer *a = &done->answer;
    const hd_eval_row *row = done->row;
    hd_buf *line = &j->line;
    if (!j->answers) return HD_OK;
    hd_buf_reset(line);
    hd_buf_addz(line, "{\"set\": ");
    hd_jsonw_str(line, j->tasks.sets[row->set].name);
    hd_buf_addf(line, ", \"row\": %zu, \"ids\": ", row->number);
    hd_jsonl_add_ids(line, &a->ids);
    hd_buf_addz(line, ", \"text\": ");
    hd_jsonw_str(line, hd_buf_str(&a->score.text));
    hd_buf_addf(line, ", \"ended\": %s, \"valid\": %s, \"right\": %s}\n", truth(a->score.ended),
                truth(a->score.valid), truth(a->score.right));
    HD_TRY(hd_buf_status(line, "a row of answers", err));
    if (fwrite(line->ptr, 1, line->len, j->answers) == line->len) return HD_OK;
    return fail_answers(j, err);
}

/* ---- the run ---- */

static hd_status take_row(job *j, hd_eval_pool *pool, hd_err *err)
{
    const hd_eval_entry *done;
    HD_TRY(hd_eval_pool_next(pool, &done, err));
    hd_eval_results_count(&j->results, done->row, &done->answer.score);
    j->n_prompt_tokens += done->answer.prompt.len;
    j->n_generated += done->answer.ids.len;
    return write_answer(j, done, err);
}

static hd_status run_rows(job *j, hd_eval_pool *pool, hd_progress *progress, hd_err *err)
{
    size_t i = 0;
    for (;;) {
        for (; i < j->tasks.n_rows && !hd_eval_pool_is_full(pool); i++)
            if (runs(j, &j->tasks.rows[i])) HD_TRY(hd_eval_pool_add(pool, &j->tasks.rows[i], err));
        if (hd_eval_pool_is_empty(pool)) return HD_OK;
        HD_TRY(take_row(j, pool, err));
        hd_progress_update(progress, pool->n_taken, j->n_rows);
    }
}

static hd_status open_engine(job *j, int32_t ctx, hd_err *err)
{
    hd_engine_opts opts = {
        .model = {.max_seqs = HD_EVAL_AT_ONCE, .max_ctx = ctx, .kv_tokens = 4 * (int64_t)ctx},
        .max_requests = HD_EVAL_AT_ONCE};
    HD_TRY(hd_open_engine(&j->model, opts, &j->engine, err));
    hd_engine_get_info(j->engine, &j->info);
    return HD_OK;
}

static hd_status run_model(job *j, hd_err *err)
{
    hd_progress progress;
    int32_t ctx;
    HD_TRY(plan_context(j, &ctx, err));
    HD_TRY(open_engine(j, ctx, err));
    hd_interrupt_install(HD_INTERRUPT_TWICE_KILLS);
    if (j->answers_file && !(j->answers = fopen(j->answers_file, "we")))
        return fail_answers(j, err);
    hd_eval_pool pool = {
        .engine = j->engine, .session = &j->session, .tasks = &j->tasks, .how = &j->model.how};
    hd_eval_pool_init(&pool);
    hd_progress_init(&progress, "evaluating", HD_PROGRESS_ROWS);
    hd_status status = run_rows(j, &pool, &progress, err);
    hd_progress_end(&progress);
    hd_eval_pool_deinit(&pool);
    j->seconds = hd_progress_seconds(&progress);
    HD_TRY(status);
    if (j->answers && fflush(j->answers) != 0) return fail_answers(j, err);
    return HD_OK;
}

/* ---- the report ---- */

static void add_json(const job *j, hd_buf *out)
{
    hd_buf dir;
    const char *between = "";
    hd_buf_init(&dir, 8 * MAX_PATH_BYTES);
    hd_utf8_repair(&dir, hd_str_from(j->model.dir));
    hd_buf_addz(out, "{\"model\": ");
    hd_jsonw_str(out, hd_buf_str(&dir));
    hd_buf_addz(out, ", \"device\": ");
    hd_jsonw_str(out, hd_str_from(j->info.device));
    hd_buf_addz(out, ", \"tasks\": [");
    for (size_t i = 0; i < j->results.n; i++) {
        const hd_eval_result *r = &j->results.all[i];
        if (!r->is_wanted) continue;
        hd_buf_addf(out, "%s\n  {\"name\": ", between);
        hd_jsonw_str(out, r->name);
        hd_buf_addf(out, ", \"n\": %zu, \"accuracy\": ", r->n);
        hd_jsonw_f64(out, hd_eval_accuracy(r));
        hd_buf_addz(out, ", \"stored\": ");
        if (r->has_stored)
            hd_jsonw_f64(out, r->stored);
        else
            hd_buf_addz(out, "null");
        hd_buf_addc(out, '}');
        between = ",";
    }
    hd_buf_addf(out,
                "],\n \"seconds\": %.3f, \"prompt_tokens\": %" PRIu64
                ", \"generated_tokens\": %" PRIu64 "}\n",
                j->seconds, j->n_prompt_tokens, j->n_generated);
    hd_buf_deinit(&dir);
}

static void add_table(const job *j, hd_buf *out)
{
    if (j->tasks.name.len) hd_buf_addf(out, "%.*s\n", HD_STR_CUT(j->tasks.name));
    hd_buf_addf(out, "%-16s %6s %9s %8s %8s\n", "task", "rows", "accuracy", "stored", "change");
    for (size_t i = 0; i < j->results.n; i++) {
        const hd_eval_result *r = &j->results.all[i];
        double accuracy = 100.0 * hd_eval_accuracy(r), stored = 100.0 * r->stored;
        if (!r->is_wanted) continue;
        hd_buf_addf(out, "%-16.*s %6zu %8.1f%%", HD_STR_ARG(r->name), r->n, accuracy);
        if (r->has_stored) hd_buf_addf(out, " %7.1f%% %+8.1f", stored, accuracy - stored);
        hd_buf_addc(out, '\n');
    }
}

static hd_status print_report(const job *j, hd_err *err)
{
    hd_buf out;
    hd_buf_init(&out, MAX_REPORT_BYTES);
    if (j->is_json)
        add_json(j, &out);
    else
        add_table(j, &out);
    hd_status status = hd_buf_status(&out, "the report", err);
    if (status == HD_OK && (fwrite(out.ptr, 1, out.len, stdout) != out.len || fflush(stdout) != 0))
        status = HD_SET_ERR(err, HD_E_IO, "cannot write to standard output: %s", strerror(errno));
    hd_buf_deinit(&out);
    if (status != HD_OK || j->is_json) return status;
    fprintf(stderr, "%zu rows in %.1f s; prompts %" PRIu64 " tokens, answers %" PRIu64 "; %s\n",
            j->n_rows, j->seconds, j->n_prompt_tokens, j->n_generated, j->info.device);
    return HD_OK;
}

/* Names what became worse; with --limit nothing is judged. Returns the number of such results. */
static int report_regressions(const job *j)
{
    int n = 0;
    for (size_t i = 0; i < j->results.n && j->limit == 0; i++) {
        const hd_eval_result *r = &j->results.all[i];
        if (!r->is_wanted || !hd_eval_is_regression(r)) continue;
        fprintf(stderr, "hadal eval: '%.*s' fell from %.1f%% to %.1f%%\n", HD_STR_ARG(r->name),
                100.0 * r->stored, 100.0 * hd_eval_accuracy(r));
        n++;
    }
    return n;
}

static hd_status run_job(job *j, hd_err *err)
{
    HD_TRY(hd_session_open(&j->session, &j->model, err));
    HD_TRY(read_tasks(j, err));
    HD_TRY(run_model(j, err));
    HD_TRY(print_report(j, err));
    return j->stores ? hd_eval_figures_write(&j->results, j->figures_path, err) : HD_OK;
}

static void init_job(job *j)
{
    hd_model_args_init(&j->model);
    j->model.how.temperature = 0.0f;
    hd_eval_answer_init(&j->answer);
    hd_buf_init(&j->line, MAX_REPORT_BYTES);
}

static void deinit_job(job *j)
{
    if (j->answers) fclose(j->answers);
    hd_engine_close(j->engine);
    hd_buf_deinit(&j->line);
    hd_eval_answer_deinit(&j->answer);
    hd_eval_results_deinit(&j->results);
    hd_eval_tasks_deinit(&j->tasks);
    hd_session_close(&j->session);
}

int cmd_eval(int argc, char **argv)
{
    static const struct argp argp = {options, parse_option, "DIR", doc, children, NULL, NULL};
    static char name[] = "hadal eval";
    job j = {0};
    hd_err err = {0};
    argv[0] = name;
    argp_err_exit_status = 2;
    init_job(&j);
    argp_parse(&argp, argc, argv, 0, NULL, &j);
    hd_status status = run_job(&j, &err);
    int n_worse = status == HD_OK && !j.stores ? report_regressions(&j) : 0;
    if (status != HD_OK && err.path[0])
        fprintf(stderr, "hadal eval: %s (at %s)\n", err.text, err.path);
    else if (status != HD_OK)
        fprintf(stderr, "hadal eval: %s\n", err.text);
    deinit_job(&j);
    if (hd_interrupt_seen()) return 130; /* 128 + SIGINT, as shells have it */
    return status == HD_OK && n_worse == 0 ? 0 : 1;
}
