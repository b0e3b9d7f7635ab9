/* Made-up checkpoints: random weights of any V4 shape, in the official file format.
 *
 * For tests, benchmarks and trying things without a download. A checkpoint is a pure function of
 * (config.json, seed): the same bytes on every machine, whatever the order in which it is written.
 * Weights are random but conditioned: activations keep their size through the layers, block scales
 * vary, and every sink, bias, position term and hash table is alive. The text that such a model
 * writes is noise. Beside the weights there is a byte-level tokenizer.json (256 bytes and the
 * control tokens), so that every command runs on it. */
#ifndef HD_MODEL_SYNTH_H
#define HD_MODEL_SYNTH_H

#include <stdint.h>

#include "base/buf.h"
#include "base/status.h"
#include "base/str.h"

enum {
    HD_SYNTH_HEADERS = 1, /* shards end after their header: for looking at huge shapes */
    HD_SYNTH_SPARSE = 2   /* weights of routed experts are holes of the file, read as zero */
};

typedef struct hd_synth_opts {
    uint64_t seed;
    unsigned flags; /* HD_SYNTH_... */
    /* Called now and then with bytes of weights written; may be NULL. */
    void (*progress)(void *ctx, uint64_t done, uint64_t total);
    void *progress_ctx;
} hd_synth_opts;

/* A shape that has a name. */
typedef struct hd_synth_preset {
    const char *name;
    const char *help; /* one line */
} hd_synth_preset;

/** Preset i, counted from 0; NULL behind the last. */
const hd_synth_preset *hd_synth_preset_at(size_t i);

/** Append the config.json of a preset. HD_E_NOTFOUND: the text lists the names. */
hd_status hd_synth_preset_config(const char *name, hd_buf *config_json, hd_err *err) HD_WARN_UNUSED;

/** Append the tokenizer.json for a vocabulary of that size: <begin>, <end>, <pad>, the 256 bytes
 *  in the GPT-2 order, then as many control tokens as fit; ids beyond them stand for nothing.
 *  @return HD_E_ARG when the bytes and the chat's five tokens do not fit (264 do). */
hd_status hd_synth_tokenizer(int32_t vocab_size, hd_buf *tokenizer_json,
                             hd_err *err) HD_WARN_UNUSED;

/** Write a checkpoint to directory `dir`, which is made if it is missing.
 *  @param config_json text of a config.json that hd_config_parse accepts; stored as it is.
 *  The index is written last, so an interrupted run leaves none.
 *  @return HD_E_ARG when `dir` already holds an index; what hd_config_parse returns; HD_E_LIMIT
 * when the disk is too small; HD_E_IO. */
hd_status hd_synth_write(const char *dir, hd_str config_json, const hd_synth_opts *opts,
                         hd_err *err) HD_WARN_UNUSED;

#endif
