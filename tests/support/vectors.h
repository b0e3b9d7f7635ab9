/* Golden data: the rows bundled in tests/data, or the full set that HADAL_VECTORS names. */
#ifndef HD_TEST_VECTORS_H
#define HD_TEST_VECTORS_H

#include "base/json.h"

/** Path of a file of the text set, in one of four static buffers; it need not exist. */
const char *test_text_path(const char *name);

/** Call `check` for each row of a JSON Lines file of the text set; aborts when there is none.
 *  Prints which file it was, and returns the number of rows. */
size_t test_text_rows(const char *name, void (*check)(const hd_json *row, void *ctx), void *ctx);

/** The text of V4.1's tokenizer.json, made from V4's and the entries that differ. Lives until the
 *  program ends; empty when the files are not there. */
hd_str test_text_tokenizer_v41(void);

#endif
