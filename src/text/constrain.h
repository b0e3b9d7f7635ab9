/* Constrained decoding: which tokens may come next, from a grammar.
 *
 * A grammar (hd_grammar) is compiled from a JSON Schema, a regular expression, a small EBNF or a
 * set of tools, on any thread, before a request is submitted; afterwards it never changes and is
 * shared by reference count. A matcher (hd_matcher) is where one sequence stands in it: it is
 * advanced by token ids, fills masks over the vocabulary, and steps back when drafts are refused.
 * Not here: sampling, and when a mask is applied.
 *
 * The one idea: a pushdown automaton over bytes that never has a dead end. A token is allowed iff
 * all of its bytes are accepted one by one, so masks do not depend on how text is cut into tokens.
 * Added tokens (<think>, the DSML token, end of sentence ...) are atoms: they match only where the
 * grammar names them by id, and their spelling in plain text means nothing. docs/constrain.md says
 * what is enforced. */
#ifndef HD_TEXT_CONSTRAIN_H
#define HD_TEXT_CONSTRAIN_H

#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "hadal/text.h"
#include "text/chat_rules.h"
#include "text/vocab.h"

#define HD_CONSTRAIN_ROLLBACK 16 /* tokens that a matcher can step back */

/* ---- the vocabulary, as grammars see it ---- */

typedef struct hd_vtrie hd_vtrie;

/** The trie of the ordinary tokens of `v`, and masks that all grammars share. Takes some 100 ms and
 *  10 MB for 129,280 tokens: once per model. Outlives its grammars.
 *  @return HD_E_UNSUPPORTED if some byte is no token of its own; HD_E_NOMEM. */
hd_status hd_vtrie_create(const hd_vocab *v, hd_vtrie **out, hd_err *err) HD_WARN_UNUSED;
/** NULL is allowed. */
void hd_vtrie_destroy(hd_vtrie *t);
/** Words of a mask: (number of tokens + 31) / 32. */
size_t hd_vtrie_mask_words(const hd_vtrie *t);

/* ---- grammars ---- */

typedef struct hd_grammar_source {
    hd_grammar_kind kind;
    hd_str text;     /* UTF-8 is checked */
    bool strict;     /* an unsupported keyword is refused; tools: as if each were strict */
    bool any_order;  /* members of objects in any order; tools: always */
    bool thinks;     /* free reasoning and </think> come first */
    bool one_call;   /* tools: at most one call in the block */
    bool in_block;   /* tools: the tag that opens the block was written already */
    bool is_textual; /* no end-of-sentence token is asked for: the end of the text is the end */
    const hd_chat_rules *rules; /* tools: how tags are spelled */
    hd_tool_choice choice;
    hd_str tool_name;
    unsigned limit_ms; /* of the thread's own time to compile; 0 = 100 */
} hd_grammar_source;

typedef struct hd_grammar hd_grammar;

/** Compile. Thread-safe beside everything else.
 *  @param warnings one line for each thing that is not enforced; may be NULL.
 *  @return HD_E_FORMAT (not a schema, not a pattern; or nothing can match it), HD_E_UNSUPPORTED (a
 *          keyword, by name), HD_E_LIMIT (states, bytes, depth, time), HD_E_NOTFOUND (tool_name),
 *          HD_E_NOMEM; `err->path` is the place in the text where there is one. */
hd_status hd_grammar_compile(const hd_vtrie *t, const hd_grammar_source *source, hd_buf *warnings,
                             hd_grammar **out, hd_err *err) HD_WARN_UNUSED;
hd_grammar *hd_grammar_ref(hd_grammar *g);
/** NULL is allowed. */
void hd_grammar_unref(hd_grammar *g);
/** States of the automaton, and bytes that it holds without cached masks. */
void hd_grammar_size(const hd_grammar *g, size_t *n_states, size_t *n_bytes);

/** Grammars of a vocabulary by their source: agents send the same tools with every request. The
 *  least recently used go first; requests that hold one keep it. */
typedef struct hd_grammar_cache hd_grammar_cache;

/** @param max_grammars how many are kept, at least 1. The trie outlives the cache. */
hd_status hd_grammar_cache_create(const hd_vtrie *t, size_t max_grammars, hd_grammar_cache **out,
                                  hd_err *err) HD_WARN_UNUSED;
/** NULL is allowed. */
void hd_grammar_cache_destroy(hd_grammar_cache *c);
/** As hd_grammar_compile, from the cache if the same source was compiled before (its limit_ms does
 *  not count); warnings are the same each time. Thread-safe; compiles outside the lock. The caller
 *  unrefs what it gets. Failures are not kept.
 *  @param was_kept may be NULL. */
hd_status hd_grammar_cache_get(hd_grammar_cache *c, const hd_grammar_source *source,
                               hd_buf *warnings, hd_grammar **out, bool *was_kept,
                               hd_err *err) HD_WARN_UNUSED;

/* ---- matchers: one thread at a time ---- */

typedef struct hd_matcher hd_matcher;

/** A matcher at the start of `g`, which it references. */
hd_status hd_matcher_create(hd_grammar *g, hd_matcher **out, hd_err *err) HD_WARN_UNUSED;
/** An independent copy, its way back included. */
hd_status hd_matcher_clone(const hd_matcher *m, hd_matcher **out, hd_err *err) HD_WARN_UNUSED;
/** NULL is allowed. */
void hd_matcher_destroy(hd_matcher *m);
/** Back to the start; the way back is forgotten. */
hd_status hd_matcher_reset(hd_matcher *m, hd_err *err) HD_WARN_UNUSED;

/** Take token `id`.
 *  @return HD_E_ARG if it is not allowed: then nothing has changed; HD_E_LIMIT if the grammar is
 *          too ambiguous to follow; HD_E_NOMEM. */
hd_status hd_matcher_advance(hd_matcher *m, int32_t id, hd_err *err) HD_WARN_UNUSED;
/** Take back the last n tokens; false (nothing changed) if that many are not remembered. */
bool hd_matcher_rollback(hd_matcher *m, unsigned n);
/** Whether the text may end here: the end-of-sentence token is allowed, or was taken. */
bool hd_matcher_can_end(const hd_matcher *m);
/** Whether nothing may come any more: the end-of-sentence token was taken, or none is asked for and
 *  it is all that could follow. */
bool hd_matcher_is_complete(const hd_matcher *m);
/** Words of its masks: hd_vtrie_mask_words of its vocabulary. */
size_t hd_matcher_mask_words(const hd_matcher *m);

/** Set the bit of each token that may come next, clear all others.
 *  @param mask u32 [hd_vtrie_mask_words], bit id % 32 of word id / 32.
 *  Never empty, unless the end of sentence was taken.
 *  @return HD_E_LIMIT if the work exceeds a bound that does not depend on the clock; HD_E_NOMEM. */
hd_status hd_matcher_fill(hd_matcher *m, uint32_t *mask, hd_err *err) HD_WARN_UNUSED;

#endif
