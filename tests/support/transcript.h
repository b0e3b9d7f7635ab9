/* Transcripts of answers: what the engine said, and what each dialect's client must read.
 *
 * A file of tests/data/api begins with a JSON object, the scenario: the request's settings and the
 * engine's events. Behind it, sections: `--- stream` has the bytes of a stream, `--- whole` those
 * of a whole answer (its last line feed is the file's). They are written from the specification,
 * not by the program. tests/data/api/README.md has the words of a scenario. */
#ifndef HD_TEST_TRANSCRIPT_H
#define HD_TEST_TRANSCRIPT_H

#include "server/writer.h"

typedef struct transcript {
    hd_buf text; /* the file */
    hd_arena arena;
    const hd_json *scenario;
    hd_canon request;
    const char *stops[4];
    hd_str stream, whole; /* expected; ptr NULL: no such section */
} transcript;

/** Aborts when the file is broken. @param name in tests/data/api. */
void transcript_open(transcript *t, const char *name);
void transcript_close(transcript *t);
/** The hd_writer_opts of all transcripts: ids count from 1, and the time stands still.
 *  @param n_ids counter, made 0. @param tokenizer NULL: none. */
hd_writer_opts transcript_opts(const hd_canon *request, hd_tokenizer *tokenizer, int *n_ids);
/** Call a writer with all events of the scenario; the end may be a failure. */
void transcript_play(const transcript *t, hd_writer *w, hd_buf *out);
/** A tokenizer with a token for each byte (its id), 256 `</think>`, 257 the DSML mark, and 258 the
 *  end of the sentence, which is special. */
hd_tokenizer *transcript_tokenizer(void);

#endif
