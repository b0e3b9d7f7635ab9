/* Tiny valid checkpoints on disk, and ways to damage them.
 *
 * Two shards with an index, as the releases have: blocks 0 and 1 and the global tensors in the
 * first, the rest in the second. The data is a byte pattern: nothing here computes with it. */
#ifndef HD_TEST_TINY_CKPT_H
#define HD_TEST_TINY_CKPT_H

#include <stdint.h>

#include "base/str.h"
#include "support/v4_config.h"

#define TEST_SHARD_1 "model-00001-of-00002.safetensors"
#define TEST_SHARD_2 "model-00002-of-00002.safetensors"
#define TEST_INDEX   "model.safetensors.index.json"

/** Write (over what is there) the tensors of one model with the config.json of, perhaps, another;
 *  both must be TEST_TINY ones. Files of other names stay. Aborts on failure. */
void test_ckpt_write(const char *dir, test_release tensors, test_release config);

/** Replace the first `find` in a text file. Aborts when it is not there. */
void test_edit(const char *path, const char *find, const char *replace);
/** The same in the header of a safetensors file, whose length is then made right; the data stays.
 */
void test_edit_header(const char *path, const char *find, const char *replace);
/** Write the header length of a safetensors file, right or wrong. */
void test_set_header_length(const char *path, uint64_t length);
/** Make a file n bytes long; n < 0: so much shorter than it is. */
void test_truncate(const char *path, int64_t n);

#endif
