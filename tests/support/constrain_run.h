/* Driving grammars in tests: texts through them, and texts out of them. */
#ifndef HD_TEST_CONSTRAIN_RUN_H
#define HD_TEST_CONSTRAIN_RUN_H

#include "text/constrain.h"

/** A vocabulary of the 256 bytes, some longer tokens, and the control tokens. Never freed. */
const hd_vocab *constrain_tiny_vocab(void);
hd_vtrie *constrain_tiny(void);
/** The official one, from tests/data. Never freed. */
const hd_vocab *constrain_official_vocab(void);
hd_vtrie *constrain_official(void);

/** Compile or fail the test. */
hd_grammar *constrain_compile(const hd_vtrie *t, const hd_grammar_source *source);

/** How far the tiny vocabulary's matcher follows `text` byte by byte; control tokens that are
 *  spelled count as tokens.
 *  @return -1: all of it, and it may end there; -2: all of it, more is needed; else the offset of
 *          what was refused. */
int constrain_follow(hd_grammar *g, hd_str text);
#define CONSTRAIN_COMPLETE (-1)
#define CONSTRAIN_PREFIX   (-2)

typedef struct constrain_draw {
    uint64_t seed;
    unsigned max_tokens;  /* after these, short ways to an end are preferred */
    unsigned check_every; /* compare masks with a check of each so many-th token; 0: do not */
} constrain_draw;

/** Draw tokens from masks until the text may end and ends, and append their bytes. Fails the test
 * if a mask is empty, if what it allows is refused, or if there is no end after 20 times
 * max_tokens.
 *  @return number of tokens. */
unsigned constrain_random(const hd_vocab *v, hd_vtrie *t, hd_grammar *g, const constrain_draw *draw,
                          hd_buf *out);

/** Fail the test unless the matcher's mask holds exactly the tokens that it would take.
 *  @param every look at each every-th token only (1 = all), from number `from` on, and at all that
 *         a short mask allows. */
void constrain_check_mask(const hd_vocab *v, const hd_vtrie *t, hd_matcher *m, unsigned every,
                          unsigned from);

#endif
