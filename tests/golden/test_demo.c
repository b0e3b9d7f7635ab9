/* The bundled model finds needles through the compressed rows, and only through them.
 *
 * The same rows of `needle-1k` are run twice, as `hadal eval` runs them: as they are, and with
 * attention bent to see its window only. Taken are rows whose needle lies further back than the
 * windows of all layers together reach, so that nothing but compressed rows can bring it. Without
 * them accuracy falls to chance: the share of the commonest answer.
 *
 * Where no trained model is bundled there is nothing to test: the program says so and ends with the
 * exit status that CTest shows as skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "cli/eval_run.h"
#include "support/faultdev.h"
#include "support/modelrun.h"

#define SET             "needle-1k"
#define N_ROWS          20
#define LEAST_NORMAL    0.6
#define MOST_OVER_GUESS 0.25 /* 20 rows are few */
#define SKIPPED         77

static const char dir[] = HD_TEST_MODELS "/demo";

typedef struct fixture {
    hd_session session;
    hd_eval_tasks tasks;
    hd_eval_answer answer;
    const hd_eval_row *rows[N_ROWS];
    size_t n_rows;
    double chance;
} fixture;

static bool is_bundled(void)
{
    FILE *f = fopen(HD_TEST_MODELS "/demo/eval.json", "rb");
    if (f) fclose(f);
    return f != NULL;
}

static bool is_needle(const fixture *f, const hd_eval_row *row)
{
    return hd_str_eqz(f->tasks.sets[row->set].name, SET) && row->kind == HD_EVAL_TEXT &&
           row->want->kind == HD_JSON_STRING;
}

/* The text of the last `n` tokens of the prompt holds the answer. */
static bool holds_answer(fixture *f, const hd_eval_row *row, size_t n)
{
    hd_decoder *d;
    hd_buf text;
    hd_err err;
    const hd_ids *ids = &f->answer.prompt;
    size_t len, first = ids->len > n ? ids->len - n : 0;
    const char *piece;
    hd_buf_init(&text, 1 << 20);
    modelrun_check(hd_decoder_create(f->session.tokenizer, 0, &d, &err), "hd_decoder_create", &err);
    for (size_t i = first; i < ids->len; i++) {
        modelrun_check(hd_decoder_push(d, ids->ptr[i], &piece, &len, &err), "decode", &err);
        hd_buf_add(&text, piece, len);
    }
    hd_decoder_destroy(d);
    hd_str all = hd_buf_str(&text);
    bool found = hd_str_find(all, row->want->text, 0) < all.len;
    hd_buf_deinit(&text);
    return found;
}

static bool is_out_of_reach(fixture *f, const hd_eval_row *row)
{
    hd_err err;
    size_t reach = (size_t)f->session.config.n_layers * HD_WINDOW;
    modelrun_check(hd_eval_prompt(&f->session, &f->tasks, row, &f->answer, &err), "prompt", &err);
    return !holds_answer(f, row, reach);
}

/* Of the rows that will do, as many as are wanted, from all over the set. */
static void pick_rows(fixture *f)
{
    size_t n = 0, step;
    const hd_eval_row **good = hd_mem_calloc(f->tasks.n_rows, sizeof *good);
    for (size_t i = 0; i < f->tasks.n_rows; i++)
        if (is_needle(f, &f->tasks.rows[i]) && is_out_of_reach(f, &f->tasks.rows[i]))
            good[n++] = &f->tasks.rows[i];
    step = n / N_ROWS;
    for (size_t i = 0; step && i < N_ROWS; i++) f->rows[f->n_rows++] = good[i * step];
    hd_mem_free(good);
}

/* What a model gets right that always gives the commonest answer. */
static double commonest_share(const fixture *f)
{
    size_t n = 0, most = 0;
    for (size_t i = 0; i < f->tasks.n_rows; i++) {
        size_t same = 0;
        if (!is_needle(f, &f->tasks.rows[i])) continue;
        for (size_t k = 0; k < f->tasks.n_rows; k++)
            same += is_needle(f, &f->tasks.rows[k]) &&
                    hd_str_eq(f->tasks.rows[k].want->text, f->tasks.rows[i].want->text);
        if (same > most) most = same;
        n++;
    }
    return n ? (double)most / (double)n : 0.0;
}

static int32_t longest(fixture *f)
{
    hd_err err;
    size_t most = 0;
    for (size_t i = 0; i < f->n_rows; i++) {
        modelrun_check(hd_eval_prompt(&f->session, &f->tasks, f->rows[i], &f->answer, &err),
                       "prompt", &err);
        size_t n = f->answer.prompt.len + (size_t)f->rows[i]->max_tokens;
        if (n > most) most = n;
    }
    return (int32_t)most;
}

static int set_up(void **state)
{
    static fixture f;
    hd_err err;
    hd_model_args args;
    hd_model_args_init(&args);
    args.dir = dir;
    args.n_threads = 1;
    args.how.temperature = 0.0f;
    modelrun_check(hd_session_open(&f.session, &args, &err), dir, &err);
    modelrun_check(hd_eval_tasks_open(&f.tasks, HD_TEST_MODELS "/demo/eval.json", &err), dir, &err);
    hd_eval_answer_init(&f.answer);
    pick_rows(&f);
    f.chance = commonest_share(&f);
    modelrun_check(hd_session_load(&f.session, &args, longest(&f), false, &err), dir, &err);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    fixture *f = *state;
    hd_eval_answer_deinit(&f->answer);
    hd_eval_tasks_deinit(&f->tasks);
    hd_session_close(&f->session);
    return 0;
}

static double accuracy(fixture *f, faultdev_fault fault)
{
    hd_err err;
    size_t n_right = 0;
    faultdev_bend(f->session.model, fault);
    for (size_t i = 0; i < f->n_rows; i++) {
        modelrun_check(hd_eval_run_row(&f->session, &f->tasks, f->rows[i], &f->answer, &err),
                       "a row", &err);
        n_right += f->answer.score.right;
    }
    faultdev_mend();
    return (double)n_right / (double)f->n_rows;
}

static void needles_come_through_compressed_rows(void **state)
{
    fixture *f = *state;
    assert_int_equal(f->n_rows, N_ROWS);
    double normal = accuracy(f, FAULTDEV_NONE), masked = accuracy(f, FAULTDEV_MASKED);
    printf(
        "summary: bundled model, %zu rows of %s with far needles: accuracy %.2f, with compressed "
        "rows masked %.2f (a guess: %.2f)\n",
        f->n_rows, SET, normal, masked, f->chance);
    assert_true(normal >= LEAST_NORMAL);
    assert_true(masked <= f->chance + MOST_OVER_GUESS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(needles_come_through_compressed_rows),
    };
    if (!is_bundled()) {
        printf("summary: bundled model: not tested, there is no models/demo\n");
        return SKIPPED;
    }
    return cmocka_run_group_tests_name("bundled model", tests, set_up, tear_down);
}
