/* Writing a made-up checkpoint: which tensor goes into which shard, in which order.
 *
 * As in the releases, one shard holds the embedding, then one each layer, then one the head, then
 * one each block of the draft head. Nothing larger than a few rows is ever in memory. */
#include "model/synth.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/jsonw.h"
#include "base/mem.h"
#include "io/safetensors.h"
#include "model/names.h"
#include "model/synth_fill.h"

#define CHUNK_BYTES    ((size_t)1 << 20) /* written at once; a row may be longer */
#define MAX_INDEX      ((size_t)1 << 30)
#define MAX_PATH_BYTES 4096

typedef struct synth {
    const char *dir;
    const hd_synth_opts *opts;
    hd_config config;
    hd_synth_codes *codes;
    uint8_t *chunk; /* [chunk_bytes] */
    size_t chunk_bytes;
    uint64_t done, total; /* bytes of weights */
    hd_buf index;
    size_t n_tensors; /* named in it so far */
} synth;

/* ---- shards ---- */

static int32_t n_shards(const hd_config *c)
{
    return 1 + c->n_layers + 1 + c->n_stages;
}

static int32_t shard_of(const hd_config *c, const hd_tensor_spec *spec)
{
    if (spec->weight == HD_W_EMBED) return 0;
    if (spec->block < 0) return 1 + c->n_layers;
    return spec->block < c->n_layers ? 1 + spec->block : 2 + spec->block;
}

/* A place in the walk over all tensors, in which those of a shard follow each other. */
typedef struct cursor {
    hd_names_iter it;
    hd_tensor_spec spec;
    int32_t shard; /* of spec; -1 behind the last tensor */
} cursor;

static void advance(cursor *at)
{
    at->shard = hd_names_next(&at->it, &at->spec) ? shard_of(at->it.c, &at->spec) : -1;
}

static cursor first_tensor(const hd_config *c)
{
    cursor at;
    hd_names_begin(&at.it, c);
    advance(&at);
    return at;
}

/* ---- values ---- */

static bool is_hole(const synth *s, const hd_tensor_spec *spec)
{
    /* The scales are written all the same: a zero would be 2^-127, which no loader takes. */
    return (s->opts->flags & HD_SYNTH_SPARSE) && spec->expert >= 0 && !spec->is_scale;
}

static void report(synth *s, uint64_t n_bytes)
{
    s->done += n_bytes;
    if (s->opts->progress) s->opts->progress(s->opts->progress_ctx, s->done, s->total);
}

static hd_status write_values(synth *s, hd_st_writer *w, size_t i, const hd_tensor_spec *spec,
                              hd_err *err)
{
    int64_t n_rows = spec->rank == 2 ? spec->shape[0] : 1;
    size_t row_bytes = (size_t)(hd_names_bytes(spec) / (uint64_t)n_rows);
    int64_t rows_per_chunk = (int64_t)(s->chunk_bytes / row_bytes);
    hd_synth_fill fill;
    hd_synth_fill_init(&fill, s->codes, s->opts->seed, &s->config, spec);
    for (int64_t row = 0; row < n_rows;) {
        int64_t first = row, end = n_rows - row < rows_per_chunk ? n_rows : row + rows_per_chunk;
        for (; row < end; row++)
            hd_synth_fill_row(&fill, row, s->chunk + (size_t)(row - first) * row_bytes);
        size_t n_bytes = (size_t)(end - first) * row_bytes;
        HD_TRY(hd_st_writer_put(w, i, (uint64_t)first * row_bytes, s->chunk, n_bytes, err));
        report(s, n_bytes);
    }
    return HD_OK;
}

/* ---- one shard ---- */

static void shard_name(const hd_config *c, int32_t shard, char *out, size_t out_size)
{
    snprintf(out, out_size, "model-%05d-of-%05d.safetensors", shard + 1, n_shards(c));
}

static hd_status declare_tensors(synth *s, hd_st_writer *w, cursor *at, hd_err *err)
{
    char file[64];
    int32_t shard = at->shard;
    shard_name(&s->config, shard, file, sizeof file);
    for (; at->shard == shard; advance(at)) {
        hd_str name = {at->spec.name, (size_t)at->spec.name_len};
        HD_TRY(hd_st_writer_add(w, name, at->spec.dtype, at->spec.rank, at->spec.shape, err));
        hd_buf_addf(&s->index, "%s\n  \"%s\": \"%s\"", s->n_tensors++ ? "," : "", at->spec.name,
                    file);
    }
    return HD_OK;
}

static hd_status write_tensors(synth *s, hd_st_writer *w, cursor at, hd_err *err)
{
    int32_t shard = at.shard;
    for (size_t i = 0; at.shard == shard; advance(&at), i++) {
        if (is_hole(s, &at.spec))
            report(s, hd_names_bytes(&at.spec));
        else
            HD_TRY(write_values(s, w, i, &at.spec, err));
    }
    return HD_OK;
}

/* Writes the shard that begins at `at` and goes on to the next. */
static hd_status write_shard(synth *s, cursor *at, hd_err *err)
{
    char file[64], path[MAX_PATH_BYTES];
    unsigned flags = s->opts->flags & HD_SYNTH_SPARSE ? HD_ST_SPARSE : 0;
    if (s->opts->flags & HD_SYNTH_HEADERS) flags = HD_ST_HEADERS;
    cursor first = *at;
    hd_st_writer *w = hd_st_writer_create();
    hd_status status;
    shard_name(&s->config, at->shard, file, sizeof file);
    HD_TRY_GOTO(status, out, hd_fs_join(s->dir, file, path, sizeof path, err));
    HD_TRY_GOTO(status, out, declare_tensors(s, w, at, err));
    HD_TRY_GOTO(status, out, hd_st_writer_begin(w, path, flags, err));
    if (flags != HD_ST_HEADERS) HD_TRY_GOTO(status, out, write_tensors(s, w, first, err));
    status = hd_st_writer_finish(w, err);
out:
    hd_st_writer_destroy(w);
    return status;
}

/* ---- the directory ---- */

static hd_status write_file(const synth *s, const char *name, hd_str text, hd_err *err)
{
    char path[MAX_PATH_BYTES];
    HD_TRY(hd_fs_join(s->dir, name, path, sizeof path, err));
    return hd_fs_write_atomic(path, text, err);
}

static hd_status make_directory(const synth *s, hd_err *err)
{
    char path[MAX_PATH_BYTES];
    HD_TRY(hd_fs_join(s->dir, "model.safetensors.index.json", path, sizeof path, err));
    if (access(path, F_OK) == 0)
        HD_FAIL(err, HD_E_ARG, "'%s' holds a checkpoint: remove it, or name another directory",
                s->dir);
    if (mkdir(s->dir, 0777) != 0 && errno != EEXIST)
        HD_FAIL(err, HD_E_IO, "cannot make directory '%s': %s", s->dir, strerror(errno));
    return HD_OK;
}

/* Bytes of all tensors, and of those that will take space on the disk. */
static uint64_t count_bytes(synth *s)
{
    uint64_t on_disk = 0, longest_row = 0;
    for (cursor at = first_tensor(&s->config); at.shard >= 0; advance(&at)) {
        uint64_t n_bytes = hd_names_bytes(&at.spec);
        uint64_t row = at.spec.rank == 2 ? n_bytes / (uint64_t)at.spec.shape[0] : n_bytes;
        s->total += n_bytes;
        if (!is_hole(s, &at.spec)) on_disk += n_bytes;
        if (row > longest_row) longest_row = row;
    }
    s->chunk_bytes = longest_row > CHUNK_BYTES ? (size_t)longest_row : CHUNK_BYTES;
    return s->opts->flags & HD_SYNTH_HEADERS ? 0 : on_disk;
}

static hd_status check_space(const synth *s, uint64_t n_bytes, hd_err *err)
{
    struct statvfs fs;
    if (statvfs(s->dir, &fs) != 0) return HD_OK; /* writing will tell */
    uint64_t n_free = (uint64_t)fs.f_bavail * fs.f_frsize;
    if (n_bytes > n_free)
        HD_FAIL(err, HD_E_LIMIT, "the disk of '%s' has %.1f GB free, the weights need %.1f", s->dir,
                (double)n_free * 1e-9, (double)n_bytes * 1e-9);
    return HD_OK;
}

static hd_status write_tokenizer(const synth *s, hd_err *err)
{
    hd_buf text;
    hd_buf_init(&text, (size_t)1 << 20);
    hd_status status = hd_synth_tokenizer(s->config.vocab_size, &text, err);
    if (status == HD_OK) status = write_file(s, "tokenizer.json", hd_buf_str(&text), err);
    hd_buf_deinit(&text);
    return status;
}

static hd_status write_weights(synth *s, hd_err *err)
{
    s->chunk = hd_mem_try_aligned(64, s->chunk_bytes);
    if (!s->chunk) HD_FAIL(err, HD_E_NOMEM, "no memory for a row of %zu bytes", s->chunk_bytes);
    hd_buf_addf(&s->index, "{\n \"metadata\": {\"total_size\": %" PRIu64 "},\n \"weight_map\": {",
                s->total);
    for (cursor at = first_tensor(&s->config); at.shard >= 0;) HD_TRY(write_shard(s, &at, err));
    hd_buf_addz(&s->index, "\n }\n}\n");
    HD_TRY(hd_buf_status(&s->index, "the index", err));
    return write_file(s, "model.safetensors.index.json", hd_buf_str(&s->index), err);
}

hd_status hd_synth_write(const char *dir, hd_str config_json, const hd_synth_opts *opts,
                         hd_err *err)
{
    synth s = {.dir = dir, .opts = opts};
    hd_status status;
    hd_buf_init(&s.index, MAX_INDEX);
    HD_TRY_GOTO(status, out, hd_config_parse(config_json, &s.config, err));
    uint64_t on_disk = count_bytes(&s);
    HD_TRY_GOTO(status, out, make_directory(&s, err));
    HD_TRY_GOTO(status, out, check_space(&s, on_disk, err));
    HD_TRY_GOTO(status, out, write_tokenizer(&s, err));
    HD_TRY_GOTO(status, out, write_file(&s, "config.json", config_json, err));
    HD_TRY_GOTO(status, out, hd_synth_codes_create(&s.codes, err));
    status = write_weights(&s, err);
out:
    hd_synth_codes_destroy(s.codes);
    hd_mem_free(s.chunk);
    hd_buf_deinit(&s.index);
    return status;
}
