/* hadal tokenize: text to token ids and back. */
#include <argp.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fs.h"
#include "base/jsonw.h"
#include "base/utf8.h"
#include "cli/commands.h"
#include "cli/jsonl.h"
#include "text/detok.h"
#include "text/tokenizer.h"

#define MAX_IDS        ((size_t)1 << 28)
#define MAX_TEXT_BYTES ((size_t)1 << 30)

static const char doc[] =
    "Turn text into the token ids that a model reads, or ids back into text.\n\n"
    "FILE is a tokenizer.json, or a checkpoint directory that holds one. Without other options, "
    "the text of standard input is shown token by token.\v"
    "Examples:\n"
    "  hadal tokenize model/ -p 'Hello <think>'          ids and token texts\n"
    "  hadal tokenize model/ -p 'Hello <think>' --plain  as user text: <think> is not a token\n"
    "  hadal tokenize model/ --decode 19923 128821       text of two ids\n\n"
    "Rows (--jsonl), one JSON value a line:\n"
    "  in   {\"text\": \"Hello\", \"plain\": false}\n"
    "  out  {\"ids\": [19923]}\n"
    "With --decode; `stream` is what can be shown after each id, `tail` what the end releases:\n"
    "  in   {\"ids\": [28927, 225], \"skip_special\": false}\n"
    "  out  {\"text\": \"😀\", \"stream\": [\"\", \"😀\"], \"tail\": \"\"}\n\n"
    "Added tokens such as <think> are recognised in the text unless it is plain. Whatever a user "
    "wrote must be encoded plain, else users could write control tokens.";

enum { OPT_JSONL = 256, OPT_DECODE, OPT_PLAIN, OPT_SKIP_SPECIAL };

static const struct argp_option options[] = {
    {"prompt", 'p', "TEXT", 0, "The text (default: standard input)", 0},
    {"plain", OPT_PLAIN, NULL, 0, "Do not recognise added tokens", 0},
    {"decode", OPT_DECODE, NULL, 0, "Ids to text; the ids are arguments, or rows with --jsonl", 0},
    {"skip-special", OPT_SKIP_SPECIAL, NULL, 0, "When decoding, leave out special tokens", 0},
    {"jsonl", OPT_JSONL, NULL, 0, "Rows of JSON from standard input to standard output", 0},
    {0},
};

typedef struct job {
    const char *file;
    const char *prompt; /* NULL: standard input */
    char **ids;         /* arguments after FILE */
    int n_ids;
    bool is_jsonl, is_decode, is_plain, skip_special;
    hd_tokenizer *tokenizer;
    hd_ids row_ids; /* scratch */
} job;

static error_t parse_option(int key, char *arg, struct argp_state *state)
{
    job *j = state->input;
    switch (key) {
    case 'p': j->prompt = arg; return 0;
    case OPT_PLAIN: j->is_plain = true; return 0;
    case OPT_DECODE: j->is_decode = true; return 0;
    case OPT_SKIP_SPECIAL: j->skip_special = true; return 0;
    case OPT_JSONL: j->is_jsonl = true; return 0;
    case ARGP_KEY_ARG:
        if (j->file) return ARGP_ERR_UNKNOWN; /* what follows comes as ARGP_KEY_ARGS */
        j->file = arg;
        return 0;
    case ARGP_KEY_ARGS:
        j->ids = state->argv + state->next;
        j->n_ids = state->argc - state->next;
        return 0;
    case ARGP_KEY_END:
        if (!j->file) argp_error(state, "no FILE given");
        if (j->n_ids > 0 && (!j->is_decode || j->is_jsonl))
            argp_error(state, "unexpected argument '%s'", j->ids[0]);
        if (j->is_decode && !j->is_jsonl && j->n_ids == 0)
            argp_error(state, "--decode needs ids after FILE, or --jsonl");
        if (j->prompt && (j->is_jsonl || j->is_decode))
            argp_error(state, "--prompt goes with neither --jsonl nor --decode");
        return 0;
    default: return ARGP_ERR_UNKNOWN;
    }
}

/* ---- rows ---- */

static hd_status optional_bool(const hd_json *row, const char *key, bool preset, bool *out,
                               hd_err *err)
{
    *out = preset;
    return hd_json_get(row, key) ? hd_json_get_bool(row, key, out, err) : HD_OK;
}

static hd_status encode_row(void *ctx, const hd_json *row, hd_buf *out, hd_err *err)
{
    job *j = ctx;
    hd_str text;
    bool is_plain;
    HD_TRY(hd_json_get_str(row, "text", &text, err));
    HD_TRY(optional_bool(row, "plain", j->is_plain, &is_plain, err));
    hd_ids_reset(&j->row_ids);
    HD_TRY(hd_tokenizer_encode_ids(j->tokenizer, text, is_plain ? HD_ENCODE_PLAIN : 0, &j->row_ids,
                                   err));
    hd_buf_addz(out, "{\"ids\": [");
    for (size_t i = 0; i < j->row_ids.len; i++)
        hd_buf_addf(out, "%s%" PRId32, i ? ", " : "", j->row_ids.ptr[i]);
    hd_buf_addz(out, "]}");
    return HD_OK;
}

static hd_status read_ids(const hd_json *row, hd_ids *out, hd_err *err)
{
    const hd_json *ids = hd_json_get(row, "ids");
    if (!ids || ids->kind != HD_JSON_ARRAY)
        HD_FAIL(err, HD_E_FORMAT, "'ids' must be an array, got %s",
                ids ? hd_json_kind_name(ids->kind) : "nothing");
    hd_ids_reset(out);
    for (const hd_json *c = ids->child; c; c = c->next) {
        int64_t id;
        HD_TRY(hd_json_i64(c, 0, INT32_MAX, &id, err));
        HD_TRY(hd_ids_push(out, (int32_t)id, err));
    }
    return HD_OK;
}

/* Append the string that was released since `from`, as JSON. */
static void add_released(hd_buf *out, const hd_buf *text, size_t from)
{
    hd_jsonw_str(out, hd_str_skip(hd_buf_str(text), from));
}

static hd_status decode_row(void *ctx, const hd_json *row, hd_buf *out, hd_err *err)
{
    job *j = ctx;
    hd_detok detok;
    hd_buf text, stream;
    bool skip;
    HD_TRY(read_ids(row, &j->row_ids, err));
    HD_TRY(optional_bool(row, "skip_special", j->skip_special, &skip, err));
    hd_buf_init(&text, MAX_TEXT_BYTES);
    hd_buf_init(&stream, MAX_TEXT_BYTES);
    hd_detok_init(&detok, hd_tokenizer_vocab(j->tokenizer), skip ? HD_DECODE_SKIP_SPECIAL : 0);
    for (size_t i = 0; i < j->row_ids.len; i++) {
        size_t from = text.len;
        hd_detok_push(&detok, j->row_ids.ptr[i], &text);
        hd_buf_addz(&stream, i ? ", " : "");
        add_released(&stream, &text, from);
    }
    size_t from = text.len;
    hd_detok_finish(&detok, &text);
    hd_buf_addz(out, "{\"text\": ");
    add_released(out, &text, 0);
    hd_buf_addz(out, ", \"stream\": [");
    hd_buf_add_str(out, hd_buf_str(&stream));
    hd_buf_addz(out, "], \"tail\": ");
    add_released(out, &text, from);
    hd_buf_addc(out, '}');
    hd_status status = hd_buf_status(&text, "the decoded text", err);
    if (status == HD_OK) status = hd_buf_status(&stream, "the decoded stream", err);
    hd_buf_deinit(&stream);
    hd_buf_deinit(&text);
    return status;
}

/* ---- for people ---- */

static hd_status decode_arguments(const job *j, hd_err *err)
{
    hd_detok detok;
    hd_buf text;
    hd_buf_init(&text, MAX_TEXT_BYTES);
    hd_detok_init(&detok, hd_tokenizer_vocab(j->tokenizer),
                  j->skip_special ? HD_DECODE_SKIP_SPECIAL : 0);
    hd_status status = HD_OK;
    for (int i = 0; i < j->n_ids && status == HD_OK; i++) {
        char *end;
        errno = 0;
        long id = strtol(j->ids[i], &end, 10);
        if (errno || *end || end == j->ids[i] || id < 0 ||
            (size_t)id >= hd_tokenizer_size(j->tokenizer))
            status = HD_SET_ERR(err, HD_E_ARG, "'%s' is no id of this tokenizer, expected 0 to %zu",
                                j->ids[i], hd_tokenizer_size(j->tokenizer) - 1);
        else
            hd_detok_push(&detok, (int32_t)id, &text);
    }
    hd_detok_finish(&detok, &text);
    if (status == HD_OK) status = hd_buf_status(&text, "the decoded text", err);
    if (status == HD_OK) {
        fwrite(text.ptr, 1, text.len, stdout);
        putchar('\n');
    }
    hd_buf_deinit(&text);
    return status;
}

/* A token for a terminal: as a JSON string; bytes that are no UTF-8 as \xNN. */
static void show_token(hd_buf *out, hd_str bytes)
{
    if (hd_utf8_valid(bytes)) {
        hd_jsonw_str(out, bytes);
        return;
    }
    hd_buf_addc(out, '"');
    for (size_t i = 0; i < bytes.len; i++)
        hd_buf_addf(out, "\\x%02x", (unsigned)(unsigned char)bytes.ptr[i]);
    hd_buf_addc(out, '"');
}

static hd_status show_tokens(job *j, hd_str text, hd_err *err)
{
    const hd_vocab *vocab = hd_tokenizer_vocab(j->tokenizer);
    hd_buf line;
    HD_TRY(hd_tokenizer_encode_ids(j->tokenizer, text, j->is_plain ? HD_ENCODE_PLAIN : 0,
                                   &j->row_ids, err));
    hd_buf_init(&line, MAX_TEXT_BYTES);
    for (size_t i = 0; i < j->row_ids.len; i++) {
        int32_t id = j->row_ids.ptr[i];
        hd_buf_reset(&line);
        show_token(&line, hd_vocab_token_bytes(vocab, id));
        printf("%7" PRId32 "  %s%s\n", id, line.ptr,
               hd_vocab_flags(vocab, id) & HD_TOKEN_ADDED ? "  (added token)" : "");
    }
    hd_buf_deinit(&line);
    fprintf(stderr, "%zu tokens, %zu bytes\n", j->row_ids.len, text.len);
    return HD_OK;
}

static hd_status show_text(job *j, hd_err *err)
{
    hd_buf in;
    if (j->prompt) return show_tokens(j, hd_str_from(j->prompt), err);
    hd_buf_init(&in, MAX_TEXT_BYTES);
    hd_status status = hd_fs_read_all("-", &in, err);
    if (status == HD_OK) status = show_tokens(j, hd_buf_str(&in), err);
    hd_buf_deinit(&in);
    return status;
}

static hd_status run_job(job *j, hd_err *err)
{
    HD_TRY(hd_tokenizer_open(j->file, &j->tokenizer, err));
    if (j->is_jsonl) return hd_jsonl_run(j->is_decode ? decode_row : encode_row, j, err);
    return j->is_decode ? decode_arguments(j, err) : show_text(j, err);
}

int cmd_tokenize(int argc, char **argv)
{
    static const struct argp argp = {options, parse_option, "FILE [ID...]", doc, NULL, NULL, NULL};
    static char name[] = "hadal tokenize";
    job j = {0};
    hd_err err;
    argv[0] = name;
    argp_err_exit_status = 2;
    argp_parse(&argp, argc, argv, 0, NULL, &j);
    hd_ids_init(&j.row_ids, MAX_IDS);
    hd_status status = run_job(&j, &err);
    if (status == HD_OK && fflush(stdout) != 0)
        status = HD_SET_ERR(&err, HD_E_IO, "cannot write to standard output");
    if (status != HD_OK) fprintf(stderr, "hadal tokenize: %s\n", err.text);
    hd_ids_deinit(&j.row_ids);
    hd_tokenizer_close(j.tokenizer);
    return status == HD_OK ? 0 : 1;
}
