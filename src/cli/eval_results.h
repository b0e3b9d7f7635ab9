/* What an evaluation is asked for and what comes of it: named results, counted row by row, and
 * compared with the figures stored beside the model.
 *
 * A result counts one thing (right, valid, ended) over the rows of one set, or of all. Which
 * results there are follows from the sets of the task file; docs/eval.md lists the names. */
#ifndef HD_CLI_EVAL_RESULTS_H
#define HD_CLI_EVAL_RESULTS_H

#include "cli/eval_score.h"
#include "cli/eval_tasks.h"

/** How far below the stored figure an accuracy may be: one percentage point. */
#define HD_EVAL_TOLERANCE 0.01

typedef enum hd_eval_measure { HD_EVAL_RIGHT, HD_EVAL_VALID, HD_EVAL_ENDED } hd_eval_measure;

typedef struct hd_eval_result {
    hd_str name;
    size_t set; /* SIZE_MAX: all of them */
    hd_eval_measure measure;
    bool is_wanted;
    size_t n, n_good; /* rows counted */
    bool has_stored;  /* there is a figure to compare with: */
    double stored;    /* the accuracy, 0 … 1 */
} hd_eval_result;

typedef struct hd_eval_results {
    hd_eval_result *all; /* [n], in the order of reports */
    size_t n;
} hd_eval_results;

/** All results that the file's sets have, each of them wanted. The names are the file's: it must
 *  outlive them. */
void hd_eval_results_init(hd_eval_results *r, const hd_eval_tasks *tasks);
void hd_eval_results_deinit(hd_eval_results *r);

/** Only these are wanted. @param names [n]. @return HD_E_NOTFOUND, the text lists the names. */
hd_status hd_eval_results_choose(hd_eval_results *r, const char *const *names, size_t n,
                                 hd_err *err) HD_WARN_UNUSED;

/** Whether a wanted result counts this row. */
bool hd_eval_results_need(const hd_eval_results *r, const hd_eval_row *row);
/** Count a row in all wanted results that it belongs to. */
void hd_eval_results_count(hd_eval_results *r, const hd_eval_row *row, const hd_eval_score *score);

/** 0 … 1; 0 when nothing was counted. */
double hd_eval_accuracy(const hd_eval_result *result);
/** Worse than the stored figure by more than the tolerance. */
bool hd_eval_is_regression(const hd_eval_result *result);

/** Read stored figures: {"tasks": {NAME: {"n", "accuracy"}}}. No file: no figures, and no error.
 *  Names without a result are passed over. */
hd_status hd_eval_figures_read(hd_eval_results *r, const char *path, hd_err *err) HD_WARN_UNUSED;
/** Write the accuracies as stored figures, all or nothing. */
hd_status hd_eval_figures_write(const hd_eval_results *r, const char *path,
                                hd_err *err) HD_WARN_UNUSED;

#endif
