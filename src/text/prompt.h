/* A rendered prompt: its text, and which parts of it the template wrote as single tokens.
 *
 * The chat template mixes two kinds of text: control tokens that it writes itself, and text that
 * somebody else wrote. Both may spell the same, so the text alone cannot tell a real `</think>`
 * from one that a user typed. A prompt keeps the difference as marks; encoding turns each mark into
 * its one id and encodes everything between two marks without added tokens, so that nobody but the
 * template can write a control token. */
#ifndef HD_TEXT_PROMPT_H
#define HD_TEXT_PROMPT_H

#include "base/buf.h"
#include "text/ids.h"
#include "text/tokenizer.h"

/** Bytes [begin, end) of the text are the spelling of one added token. */
typedef struct hd_prompt_mark {
    size_t begin, end;
} hd_prompt_mark;

struct hd_prompt {
    hd_buf text;  /* valid UTF-8 as long as what is added is */
    hd_buf marks; /* hd_prompt_mark [n], ascending, disjoint */
};

void hd_prompt_init(hd_prompt *p, size_t max_bytes);
void hd_prompt_deinit(hd_prompt *p);
void hd_prompt_reset(hd_prompt *p);

/** Text that is only text, whatever it spells. */
void hd_prompt_add(hd_prompt *p, hd_str text);
void hd_prompt_addz(hd_prompt *p, const char *nul_terminated);
/** The one token that is spelled so. */
void hd_prompt_add_token(hd_prompt *p, const char *spelling);

const hd_prompt_mark *hd_prompt_marks(const hd_prompt *p, size_t *n);
hd_status hd_prompt_status(const hd_prompt *p, hd_err *err) HD_WARN_UNUSED;

/** Append the ids of the prompt, by the rule above.
 *  @return HD_E_NOTFOUND when the tokenizer lacks a token that the template wrote. */
hd_status hd_prompt_encode(const hd_prompt *p, hd_tokenizer *t, hd_ids *out,
                           hd_err *err) HD_WARN_UNUSED;

/** The ids that the published generator script makes: added tokens recognised everywhere, also in
 *  what users wrote. For comparisons only. */
hd_status hd_prompt_encode_unsafe(const hd_prompt *p, hd_tokenizer *t, hd_ids *out,
                                  hd_err *err) HD_WARN_UNUSED;

#endif
