/* The vocabulary: a tokenizer.json, checked and turned into tables.
 *
 * Accepted is byte-level BPE as the DeepSeek-V4 releases ship it: the three official split
 * patterns, the ByteLevel alphabet, merges spelled "a b" or ["a", "b"], added tokens. Whatever else
 * a tokenizer.json may say (another pattern, dropout, an unknown token, a normalizer that does
 * something) is refused by name, because running on would give wrong ids without a word. Small
 * vocabularies (256 bytes, control tokens, no merges) are fine.
 *
 * Ids are dense: 0 .. size-1, each exactly one token. Read-only after opening: any number of
 * threads may share one. Source: spec of the V4 tokenizer, section 9. */
#ifndef HD_TEXT_VOCAB_H
#define HD_TEXT_VOCAB_H

#include <stdint.h>

#include "base/status.h"
#include "base/str.h"

#define HD_VOCAB_MAX_FILE_BYTES  ((size_t)64 << 20) /* the official file has 6.4 MB */
#define HD_VOCAB_MAX_SIZE        ((size_t)1 << 20)  /* tokens; the official file has 129,280 */
#define HD_VOCAB_MAX_TOKEN_BYTES 1024               /* the official file's longest has 128 */

/** What hd_vocab_flags tells. */
enum {
    HD_TOKEN_ADDED = 1,  /* matched on the raw text, before any splitting */
    HD_TOKEN_SPECIAL = 2 /* an added token that vanishes when decoding with skip_special */
};

typedef struct hd_vocab hd_vocab;

/** Read `path`: a tokenizer.json, or a directory that holds one.
 *  @return HD_E_IO; HD_E_FORMAT (not JSON, or contradicts itself); HD_E_UNSUPPORTED (a setting that
 *          is not run); HD_E_LIMIT; HD_E_NOMEM. */
hd_status hd_vocab_open(const char *path, hd_vocab **out, hd_err *err) HD_WARN_UNUSED;
/** The same from the text of a tokenizer.json, which may be freed afterwards. */
hd_status hd_vocab_parse(hd_str json, hd_vocab **out, hd_err *err) HD_WARN_UNUSED;
/** NULL is allowed. */
void hd_vocab_close(hd_vocab *v);

/** Number of tokens, added ones included. */
size_t hd_vocab_size(const hd_vocab *v);
/** The bytes that `id` stands for; a single token need not be valid UTF-8. Lives as long as the
 *  vocabulary. Empty for an id that is not in it. */
hd_str hd_vocab_token_bytes(const hd_vocab *v, int32_t id);
/** Of HD_TOKEN_ADDED and HD_TOKEN_SPECIAL; 0 for ordinary tokens and for ids not in it. */
unsigned hd_vocab_flags(const hd_vocab *v, int32_t id);
/** The id of the added token spelled `content`, or -1. */
int32_t hd_vocab_find_added(const hd_vocab *v, hd_str content);

#endif
