/* hadal logits: run ids through a model and write the logits, and on request what lies between.
 *
 * The tool of tests and of those who port the model: it reaches below the public API to the drafts
 * and to the probe. One sequence; prefill in chunks, then token by token. */
#include <argp.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/json.h"
#include "base/mem.h"
#include "cli/commands.h"
#include "io/safetensors.h"
#include "model/draft.h"
#include "model/probe.h"
#include "model/v4.h"

#define MAX_IDS_FILE (256u << 20)
#define MAX_FEEDS    64

typedef struct options {
    const char *dir, *ids, *out, *device, *isa, *capture;
    const char *feed[MAX_FEEDS]; /* NAME=FILE */
    int n_feeds;
    long threads, chunk, prefill, last; /* −1: not given */
    bool draft;
} options;

typedef struct job {
    options o;
    hd_model *model;
    hd_seq *seq;
    hd_probe *probe;
    hd_st *feed_file[MAX_FEEDS];
    int32_t *ids;
    int32_t n_ids, prefill, chunk, first_logit, n_logits;
    float *logits; /* [n_logits, V] */
    float **dst;   /* [chunk]: where the rows of one step go */
    float *mtp;    /* [n_ids, V]: the last row has no next token and is not written out */
    int32_t *next; /* [chunk] */
    int32_t n_drafts, *draft_at, *draft_tokens;
    float *draft_logits, *draft_confidence;
    hd_err err;
} job;

/* ---- options ------------------------------------------------------------------------------------
 */

static const char doc[] =
    "Run token ids through the model in DIR and write logits to a safetensors file."
    "\vExamples:\n"
    "  hadal logits DIR --ids ids.json --out out.safetensors\n"
    "  hadal logits DIR --ids ids.json --out o.safetensors --prefill 100 --draft\n"
    "  hadal logits DIR --ids ids.json --out o.safetensors --capture L2.qr,L2.o_rot\n\n"
    "ids.json is a JSON array of token ids. The file gets 'logits' F32 [T, V]. Captured values are "
    "named 'cap.L2.qr'; docs/numerics.md lists them.";

static const struct argp_option argp_options[] = {
    {"ids", 'i', "FILE", 0, "JSON array of token ids", 0},
    {"out", 'o', "FILE", 0, "safetensors file to write", 0},
    {"device", 'd', "NAME", 0, "cpu (default), ref, or a wrapped one such as defer:cpu", 0},
    {"isa", 'I', "NAME", 0, "cpu: avx512bf16, avx512, avx2, neon or portable (default: best)", 0},
    {"threads", 't', "N", 0, "threads of a CPU device (default: all CPUs)", 0},
    {"chunk", 'c', "N", 0, "prefill in pieces of N rows (default 512)", 0},
    {"prefill", 'p', "N", 0, "prefill N ids, then feed the rest one at a time (default: all)", 0},
    {"last", 'l', "N", 0, "only the last N positions, named in 'logits_pos'", 0},
    {"draft", 'D', NULL, 0, "run the draft head too: 'mtp_logits', or the 'dspark_*' arrays", 0},
    {"capture", 'C', "L2.in,L2.qr,...", 0, "also write these intermediate values", 0},
    {"feed", 'F', "L2.in=FILE", 0,
     "put the value of that name in FILE in place of the computed one", 0},
    {0}};

static long number(const char *arg, struct argp_state *state, long min)
{
    char *end;
    long v = strtol(arg, &end, 10);
    if (*arg == '\0' || *end != '\0' || v < min || v > INT32_MAX)
        argp_error(state, "'%s' is no number of %ld or more", arg, min);
    return v;
}

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    options *o = state->input;
    switch (key) {
    case 'i': o->ids = arg; break;
    case 'o': o->out = arg; break;
    case 'd': o->device = arg; break;
    case 'I': o->isa = arg; break;
    case 't': o->threads = number(arg, state, 1); break;
    case 'c': o->chunk = number(arg, state, 1); break;
    case 'p': o->prefill = number(arg, state, 1); break;
    case 'l': o->last = number(arg, state, 1); break;
    case 'D': o->draft = true; break;
    case 'C': o->capture = arg; break;
    case 'F':
        if (o->n_feeds == MAX_FEEDS) argp_error(state, "more than %d --feed options", MAX_FEEDS);
        o->feed[o->n_feeds++] = arg;
        break;
    case ARGP_KEY_ARG:
        if (o->dir) argp_error(state, "more than one directory");
        o->dir = arg;
        break;
    case ARGP_KEY_END:
        if (!o->dir || !o->ids || !o->out) argp_error(state, "DIR, --ids and --out are needed");
        break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

/* ---- what goes in -------------------------------------------------------------------------------
 */

static hd_status parse_ids(job *j, hd_str text, hd_arena *arena)
{
    const hd_json *array;
    HD_TRY(hd_json_parse(text, NULL, arena, &array, &j->err));
    if (array->kind != HD_JSON_ARRAY || array->n == 0 || array->n > INT32_MAX)
        HD_FAIL(&j->err, HD_E_FORMAT, "expected a JSON array with at least one id");
    j->n_ids = (int32_t)array->n;
    j->ids = hd_mem_try_calloc(array->n, sizeof *j->ids);
    if (!j->ids) HD_FAIL(&j->err, HD_E_NOMEM, "out of memory for %zu ids", array->n);
    int32_t i = 0;
    for (const hd_json *e = array->child; e; e = e->next) {
        int64_t id;
        HD_TRY(hd_json_i64(e, 0, INT32_MAX, &id, &j->err));
        j->ids[i++] = (int32_t)id;
    }
    return HD_OK;
}

static hd_status read_ids(job *j)
{
    hd_buf text;
    hd_arena arena;
    hd_status st;
    hd_buf_init(&text, MAX_IDS_FILE);
    hd_arena_init(&arena, (size_t)MAX_IDS_FILE * 16);
    HD_TRY_GOTO(st, out, hd_fs_read_all(j->o.ids, &text, &j->err));
    st = parse_ids(j, hd_buf_str(&text), &arena);
    if (st != HD_OK) hd_err_context(&j->err, st, "cannot read ids from '%s'", j->o.ids);
out:
    hd_arena_deinit(&arena);
    hd_buf_deinit(&text);
    return st;
}

static hd_status open_model(job *j)
{
    const options *o = &j->o;
    j->prefill = o->prefill > 0 && o->prefill < j->n_ids ? (int32_t)o->prefill : j->n_ids;
    j->chunk = o->chunk > 0 ? (int32_t)o->chunk : 512;
    if (j->chunk > j->prefill) j->chunk = j->prefill;
    j->n_logits = o->last > 0 && o->last < j->n_ids ? (int32_t)o->last : j->n_ids;
    j->first_logit = j->n_ids - j->n_logits;
    hd_model_opts opts = {.device = o->device,
                          .isa = o->isa,
                          .n_threads = o->threads > 0 ? (int32_t)o->threads : 0,
                          .max_seqs = 1,
                          .max_ctx = j->n_ids,
                          .max_rows = j->chunk,
                          .load_draft = o->draft,
                          .unfused = o->capture || o->n_feeds};
    HD_TRY(hd_model_open(o->dir, &opts, &j->model, &j->err));
    for (int32_t i = 0; i < j->n_ids; i++)
        if (j->ids[i] >= j->model->cfg.vocab_size)
            HD_FAIL(&j->err, HD_E_ARG, "id %d at place %d is outside the vocabulary of %d",
                    j->ids[i], i, j->model->cfg.vocab_size);
    return hd_seq_create(j->model, &j->seq, &j->err);
}

static hd_status add_captures(job *j)
{
    const char *p = j->o.capture;
    while (p && *p) {
        size_t n = strcspn(p, ",");
        HD_TRY(hd_probe_capture(j->probe, (hd_str){p, n}, &j->err));
        p += n + (p[n] == ',');
    }
    return HD_OK;
}

static hd_status add_feed(job *j, int i)
{
    const char *arg = j->o.feed[i], *eq = strchr(arg, '=');
    char name[80];
    if (!eq || eq - arg > 60) HD_FAIL(&j->err, HD_E_ARG, "--feed '%s' is not NAME=FILE", arg);
    HD_TRY(hd_st_open(eq + 1, 0, NULL, &j->feed_file[i], &j->err));
    int n = snprintf(name, sizeof name, "cap.%.*s", (int)(eq - arg), arg);
    hd_str full = {name, (size_t)n}, bare = hd_str_skip(full, 4);
    const hd_st_tensor *t = hd_st_find(j->feed_file[i], full);
    if (!t) t = hd_st_find(j->feed_file[i], bare);
    if (!t || t->rank < 1) HD_FAIL(&j->err, HD_E_NOTFOUND, "'%s' has no tensor '%s'", eq + 1, name);
    hd_probe_value v = {.dtype = t->dtype,
                        .n_rows = t->shape[0],
                        .row_bytes = t->shape[0] ? t->n_bytes / (uint64_t)t->shape[0] : 0,
                        .data = (uint8_t *)(uintptr_t)t->data};
    return hd_probe_feed(j->probe, bare, &v, &j->err);
}

static hd_status set_up_probe(job *j)
{
    if (!j->o.capture && !j->o.n_feeds) return HD_OK;
    j->probe = hd_probe_create(j->n_ids);
    HD_TRY(add_captures(j));
    for (int i = 0; i < j->o.n_feeds; i++) HD_TRY(add_feed(j, i));
    j->model->probe = j->probe;
    return HD_OK;
}

/* ---- the run ------------------------------------------------------------------------------------
 */

static hd_status allocate(job *j)
{
    const hd_config *c = &j->model->cfg;
    size_t v = (size_t)c->vocab_size, b = (size_t)c->dspark_block_size;
    bool mtp = j->o.draft && c->draft == HD_DRAFT_MTP;
    bool dspark = j->o.draft && c->draft == HD_DRAFT_DSPARK;
    j->n_drafts = dspark && j->n_ids - 1 > j->prefill ? j->n_ids - 1 - j->prefill : 0;
    size_t d = (size_t)j->n_drafts;
    j->logits = hd_mem_try_calloc((size_t)j->n_logits * v, sizeof *j->logits);
    j->dst = hd_mem_try_calloc((size_t)j->chunk, sizeof *j->dst);
    j->next = hd_mem_try_calloc((size_t)j->chunk, sizeof *j->next);
    j->mtp = mtp ? hd_mem_try_calloc((size_t)j->n_ids * v, sizeof *j->mtp) : NULL;
    j->draft_at = hd_mem_try_calloc(d, sizeof *j->draft_at);
    j->draft_tokens = hd_mem_try_calloc(d * (b + 1), sizeof *j->draft_tokens);
    j->draft_logits = hd_mem_try_calloc(d * b * v, sizeof *j->draft_logits);
    j->draft_confidence = hd_mem_try_calloc(d * b, sizeof *j->draft_confidence);
    if (!j->logits || !j->dst || !j->next || (mtp && !j->mtp) || !j->draft_at || !j->draft_tokens ||
        !j->draft_logits || !j->draft_confidence)
        HD_FAIL(&j->err, HD_E_NOMEM, "out of memory for the logits of %d positions", j->n_ids);
    if (j->o.draft && c->draft == HD_DRAFT_NONE)
        HD_FAIL(&j->err, HD_E_UNSUPPORTED, "--draft: this checkpoint has no draft head");
    return HD_OK;
}

static hd_status run_mtp(job *j, const hd_v4_step *step, int32_t pos)
{
    for (int32_t i = 0; i < step->rows.n_rows; i++)
        j->next[i] = pos + i + 1 < j->n_ids ? j->ids[pos + i + 1] : 0;
    return hd_v4_mtp(j->model, step, j->next,
                     j->mtp + (size_t)pos * (size_t)j->model->cfg.vocab_size, &j->err);
}

static hd_status run_dspark(job *j, int32_t pos)
{
    const hd_config *c = &j->model->cfg;
    size_t i = (size_t)(pos - j->prefill), b = (size_t)c->dspark_block_size;
    hd_v4_draft_out out = {.tokens = j->draft_tokens + i * (b + 1),
                           .logits = j->draft_logits + i * b * (size_t)c->vocab_size,
                           .confidence = j->draft_confidence + i * b};
    j->draft_at[i] = pos;
    return hd_v4_dspark(j->model, j->seq, j->ids[pos + 1], &out, &j->err);
}

static hd_status run_step(job *j, int32_t pos, int32_t n)
{
    size_t v = (size_t)j->model->cfg.vocab_size;
    int32_t skip = j->first_logit > pos ? j->first_logit - pos : 0;
    hd_v4_part part = {.seq = j->seq,
                       .ids = j->ids + pos,
                       .n = n,
                       .pos0 = pos,
                       .n_logits = skip < n ? n - skip : 0};
    for (int32_t i = 0; i < part.n_logits; i++)
        j->dst[i] = j->logits + (size_t)(pos + n - part.n_logits + i - j->first_logit) * v;
    hd_v4_step step;
    hd_status st = hd_v4_run_parts(j->model, &part, 1, j->dst, &step, &j->err);
    if (j->probe && hd_probe_status(j->probe, NULL) != HD_OK)
        return hd_probe_status(j->probe, &j->err);
    HD_TRY(st);
    if (j->mtp) HD_TRY(run_mtp(j, &step, pos));
    if (pos >= j->prefill && pos - j->prefill < j->n_drafts) HD_TRY(run_dspark(j, pos));
    return HD_OK;
}

static hd_status run_all(job *j)
{
    for (int32_t pos = 0; pos < j->n_ids;) {
        int32_t n = pos < j->prefill ? j->prefill - pos : 1;
        if (n > j->chunk) n = j->chunk;
        HD_TRY(run_step(j, pos, n));
        pos += n;
    }
    return HD_OK;
}

/* ---- what comes out -----------------------------------------------------------------------------
 */

typedef struct output {
    char name[72];
    hd_dtype dtype;
    int rank;
    int64_t shape[4];
    const void *data;
} output;

#define MAX_OUTPUTS (HD_PROBE_MAX_VALUES + 8)

static void add_output(output *list, int *n, output one)
{
    HD_ASSERT(*n < MAX_OUTPUTS);
    list[(*n)++] = one;
}

static int collect(const job *j, const int32_t *pos, output *list)
{
    const hd_config *c = &j->model->cfg;
    int64_t v = c->vocab_size, b = c->dspark_block_size, d = j->n_drafts;
    int n = 0;
    add_output(list, &n, (output){"logits", HD_DTYPE_F32, 2, {j->n_logits, v}, j->logits});
    if (j->o.last > 0)
        add_output(list, &n, (output){"logits_pos", HD_DTYPE_I32, 1, {j->n_logits}, pos});
    if (j->mtp)
        add_output(list, &n, (output){"mtp_logits", HD_DTYPE_F32, 2, {j->n_ids - 1, v}, j->mtp});
    if (j->o.draft && c->draft == HD_DRAFT_DSPARK) {
        add_output(list, &n, (output){"dspark_at", HD_DTYPE_I32, 1, {d}, j->draft_at});
        add_output(list, &n,
                   (output){"dspark_tokens", HD_DTYPE_I32, 2, {d, b + 1}, j->draft_tokens});
        add_output(list, &n,
                   (output){"dspark_logits", HD_DTYPE_F32, 3, {d, b, v}, j->draft_logits});
        add_output(list, &n,
                   (output){"dspark_confidence", HD_DTYPE_F32, 2, {d, b}, j->draft_confidence});
    }
    for (int i = 0; j->probe && hd_probe_captured(j->probe, i); i++) {
        const hd_probe_value *p = hd_probe_captured(j->probe, i);
        output o = {.dtype = p->dtype,
                    .rank = 1 + p->rank,
                    .shape = {p->n_rows, p->dims[0], p->dims[1]},
                    .data = p->data};
        snprintf(o.name, sizeof o.name, "cap.%s", p->name);
        add_output(list, &n, o);
    }
    return n;
}

static hd_status write_list(job *j, hd_st_writer *w, const output *list, int n)
{
    for (int i = 0; i < n; i++)
        HD_TRY(hd_st_writer_add(w, hd_str_from(list[i].name), list[i].dtype, list[i].rank,
                                list[i].shape, &j->err));
    HD_TRY(hd_st_writer_begin(w, j->o.out, 0, &j->err));
    for (int i = 0; i < n; i++) {
        size_t bytes = hd_dtype_size(list[i].dtype);
        for (int k = 0; k < list[i].rank; k++) bytes *= (size_t)list[i].shape[k];
        if (bytes) HD_TRY(hd_st_writer_put(w, (size_t)i, 0, list[i].data, bytes, &j->err));
    }
    return hd_st_writer_finish(w, &j->err);
}

static hd_status check_captured(job *j)
{
    for (int i = 0; j->probe && hd_probe_captured(j->probe, i); i++)
        if (!hd_probe_captured(j->probe, i)->data)
            HD_FAIL(&j->err, HD_E_NOTFOUND, "'%s' does not occur in this model",
                    hd_probe_captured(j->probe, i)->name);
    return HD_OK;
}

static hd_status write_output(job *j)
{
    hd_status st;
    output *list = hd_mem_calloc(MAX_OUTPUTS, sizeof *list);
    int32_t *pos = hd_mem_try_calloc((size_t)j->n_logits, sizeof *pos);
    hd_st_writer *w = hd_st_writer_create();
    for (int32_t i = 0; pos && i < j->n_logits; i++) pos[i] = j->first_logit + i;
    if (!pos) HD_TRY_GOTO(st, out, HD_SET_ERR(&j->err, HD_E_NOMEM, "out of memory"));
    HD_TRY_GOTO(st, out, check_captured(j));
    HD_TRY_GOTO(st, out, write_list(j, w, list, collect(j, pos, list)));
out:
    hd_st_writer_destroy(w);
    hd_mem_free(pos);
    hd_mem_free(list);
    return st;
}

static hd_status run_job(job *j)
{
    HD_TRY(read_ids(j));
    HD_TRY(open_model(j));
    HD_TRY(set_up_probe(j));
    HD_TRY(allocate(j));
    HD_TRY(run_all(j));
    return write_output(j);
}

static void job_deinit(job *j)
{
    hd_seq_destroy(j->seq);
    hd_model_close(j->model);
    hd_probe_destroy(j->probe);
    for (int i = 0; i < MAX_FEEDS; i++) hd_st_close(j->feed_file[i]);
    void *memory[] = {j->ids,          j->logits,       j->dst,
                      j->mtp,          j->next,         j->draft_at,
                      j->draft_tokens, j->draft_logits, j->draft_confidence};
    for (size_t i = 0; i < HD_COUNT(memory); i++) hd_mem_free(memory[i]);
}

int cmd_logits(int argc, char **argv)
{
    static const struct argp parser = {argp_options, parse_option, "DIR", doc, NULL, NULL, NULL};
    job j = {.o = {.threads = -1, .chunk = -1, .prefill = -1, .last = -1}};
    argp_err_exit_status = 2;
    argp_parse(&parser, argc, argv, 0, NULL, &j.o);
    hd_status st = run_job(&j);
    if (st != HD_OK) fprintf(stderr, "hadal logits: %s\n", j.err.text);
    job_deinit(&j);
    return st == HD_OK ? 0 : 1;
}
