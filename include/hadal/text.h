/* hadal/text.h: the text side of a model: tokens.
 *
 * A tokenizer turns text into the ids that a model reads, a decoder turns ids back into text, one
 * at a time, without ever showing half a character. Nothing here needs a model or a device.
 *
 * Text is UTF-8 as (pointer, bytes) and may hold U+0000; nothing is NUL-terminated unless said. */
#ifndef HADAL_TEXT_H
#define HADAL_TEXT_H

#include "hadal/hadal.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Tokenizer -------------------------------------------------------------------------- */

/** Flags of hd_tokenizer_encode. */
enum {
    /** Do not recognise added tokens: `<think>` in the text is seven characters, not one token.
     *  Whatever a user wrote must be encoded so; else users could write control tokens. */
    HD_ENCODE_PLAIN = 1
};

/** Flags of hd_decoder_create. */
enum {
    /** Leave out the tokens that tokenizer.json marks `special` (begin and end of sentence,
     *  placeholders; not the markup of chats, which is marked otherwise). */
    HD_DECODE_SKIP_SPECIAL = 1
};

/** An opened tokenizer.json. All functions may be called from several threads at once, save
 *  hd_tokenizer_close. */
typedef struct hd_tokenizer hd_tokenizer;

/** Open `path` (NUL-terminated): a tokenizer.json, or a checkpoint directory that holds one.
 *  @return HD_E_IO; HD_E_FORMAT (broken); HD_E_UNSUPPORTED (a tokenizer that works in another way
 *          than DeepSeek-V4's: the text names the setting); HD_E_LIMIT; HD_E_NOMEM. */
HD_API hd_status hd_tokenizer_open(const char *path, hd_tokenizer **out,
                                   hd_err *err) HD_WARN_UNUSED;

/** NULL is allowed. Decoders made from it must be gone. */
HD_API void hd_tokenizer_close(hd_tokenizer *t);

/** Number of ids, added tokens included: ids are 0 .. size-1. */
HD_API size_t hd_tokenizer_size(const hd_tokenizer *t);

/** The id of the added token spelled `content` (NUL-terminated), such as "<think>"; -1 if none. */
HD_API int32_t hd_tokenizer_find(const hd_tokenizer *t, const char *content);

/** Encode text. No token is put in front or behind.
 *  @param text  bytes [len], less than 1 GiB; ill-formed UTF-8 is read as U+FFFD.
 *  @param flags 0 or HD_ENCODE_PLAIN.
 *  @param ids   i32 [cap], filled from the front; cap = len is enough for well-formed UTF-8.
 *  @param n     out: number of ids.
 *  @return HD_E_LIMIT when cap is too small (*n is 0 then); HD_E_NOMEM. */
HD_API hd_status hd_tokenizer_encode(hd_tokenizer *t, const char *text, size_t len, unsigned flags,
                                     int32_t *ids, size_t cap, size_t *n,
                                     hd_err *err) HD_WARN_UNUSED;

/* ---- Decoder ---------------------------------------------------------------------------- */

/** Decodes one stream of ids. One thread at a time. */
typedef struct hd_decoder hd_decoder;

/** @param t borrowed until destroy. @param flags 0 or HD_DECODE_SKIP_SPECIAL. */
HD_API hd_status hd_decoder_create(const hd_tokenizer *t, unsigned flags, hd_decoder **out,
                                   hd_err *err) HD_WARN_UNUSED;
/** NULL is allowed. */
HD_API void hd_decoder_destroy(hd_decoder *d);

/** Take the next id; what can be shown now goes to text [len], often nothing: the first bytes of a
 *  character wait for the others. Valid UTF-8, never taken back, valid until the next call on d.
 *  An id outside the vocabulary stands for nothing. @return HD_E_NOMEM. */
HD_API hd_status hd_decoder_push(hd_decoder *d, int32_t id, const char **text, size_t *len,
                                 hd_err *err) HD_WARN_UNUSED;

/** The end of the stream: one U+FFFD if a character was left incomplete, else nothing. The decoder
 *  is ready for another stream then. */
HD_API hd_status hd_decoder_finish(hd_decoder *d, const char **text, size_t *len,
                                   hd_err *err) HD_WARN_UNUSED;

#ifdef __cplusplus
}
#endif
#endif
