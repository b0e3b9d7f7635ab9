/* Damaged checkpoints: what a loader says (strict), and what inspect lists (lenient).
 *
 * Each case starts from a tiny valid checkpoint. The loader's text is compared from the subject on:
 * in front of it stands the directory. The list is compared as "code where" for every defect. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "model/inspect.h"
#include "support/tiny_ckpt.h"
#include "support/tmpdir.h"

typedef enum damage {
    EDIT,   /* a text file: find -> replace */
    HEADER, /* the header of a shard: find -> replace */
    LENGTH, /* the header length of a shard: number */
    CUT,    /* a file to `number` bytes, or by so many if negative */
    REMOVE, /* the file `file`, and `find` if not NULL */
    MKDIR,  /* a directory in the place of the file */
    TENSORS /* those of the release `number`, with the config of TEST_TINY */
} damage;

typedef struct corruption {
    damage damage;
    const char *file, *find, *replace;
    int64_t number;
    hd_status status;    /* HD_OK: a loader accepts it */
    const char *text;    /* NULL when it does */
    const char *defects; /* "code where\n" each */
} corruption;

#define S1  TEST_SHARD_1
#define S2  TEST_SHARD_2
#define WQA "layers.0.attn.wq_a.weight"

/* In the header of the first shard; offsets are those of the tiny model. */
#define WQA_ENTRY "\"" WQA "\":{\"dtype\":\"F8_E4M3\",\"shape\":[32,32]"

#define FMT       HD_E_FORMAT

static const corruption corruptions[] = {
    /* files */
    {REMOVE, S2, NULL, NULL, 0, HD_E_NOTFOUND,
     "'" S2 "': the index names this file, but it is not there", "missing_shard " S2 "\n"},
    {MKDIR, S2, NULL, NULL, 0, HD_E_IO, "is no regular file", "unreadable_file " S2 "\n"},
    {CUT, S2, NULL, NULL, 0, FMT, "'" S2 "': has 0 bytes, expected 8 of header length and a header",
     "short_file " S2 "\n"},
    {CUT, S2, NULL, NULL, 7, FMT, "'" S2 "': has 7 bytes, expected 8 of header length and a header",
     "short_file " S2 "\n"},
    {CUT, S2, NULL, NULL, -1, FMT,
     "'" S2 "': ends after 743235 bytes, tensor 'mtp.1.confidence_head.proj.weight' needs 743236",
     "short_file " S2 "\n"},
    {REMOVE, TEST_INDEX, S2, NULL, 0, HD_E_NOTFOUND,
     "'" S2 "': the other files say that there are 2, but it is not there", NULL},
    {REMOVE, "config.json", NULL, NULL, 0, HD_E_NOTFOUND, "config.json': No such file or directory",
     "bad_config config.json\n"},

    /* header as a whole */
    {LENGTH, S1, NULL, NULL, 0, FMT,
     "'" S1 "': header: bad json at byte 0: expected a value, got the end", "bad_header " S1 "\n"},
    {LENGTH, S1, NULL, NULL, -1, FMT,
     "'" S1 "': header of 18446744073709551615 bytes, expected at most the 474504 that follow",
     "header_too_large " S1 "\n"},
    {LENGTH, S1, NULL, NULL, 474505, FMT,
     "'" S1 "': header of 474505 bytes, expected at most the 474504 that follow",
     "header_too_large " S1 "\n"},
    {LENGTH, S1, NULL, NULL, 20, FMT,
     "'" S1 "': header: bad json at byte 17: string without an end", "bad_header " S1 "\n"},
    {HEADER, S1, "{\"embed", "[\"embed", 0, FMT,
     "'" S1 "': header: bad json at byte 15: expected ',' or ']', got ':'", "bad_header " S1 "\n"},
    {HEADER, S1, "embed", "\xFF", 0, FMT, "'" S1 "': header: bad json at byte 2: not valid UTF-8",
     "bad_header " S1 "\n"},
    {HEADER, S1, "\"head.weight\":{", "\"embed.weight\":{", 0, FMT,
     "'" S1 "': header: bad json at byte 88: member 'embed.weight' occurs twice",
     "duplicate_name " S1 "\ngap " S1 "\nnot_in_shard head.weight\n"},

    /* dtype */
    {HEADER, S1, WQA_ENTRY, "\"" WQA "\":{\"dtype\":\"F8\",\"shape\":[32,32]", 0, FMT,
     "'" WQA "': dtype 'F8' is not known, in '" S1 "'", "bad_dtype " WQA "\n"},
    {HEADER, S1, WQA_ENTRY, "\"" WQA "\":{\"shape\":[32,32]", 0, FMT,
     "'" WQA "': it has no 'dtype' string, in '" S1 "'", "bad_dtype " WQA "\n"},
    {HEADER, S1, WQA_ENTRY, "\"" WQA "\":{\"dtype\":\"I8\",\"shape\":[32,32]", 0, FMT,
     "'" WQA "': has dtype I8, expected F8_E4M3", "wrong_dtype " WQA "\n"},
    {HEADER, S1, WQA_ENTRY, "\"" WQA "\":{\"dtype\":\"BF16\",\"shape\":[32,16]", 0, FMT,
     "'" WQA "': has dtype BF16, expected F8_E4M3", "wrong_dtype " WQA "\n"},
    {HEADER, S1, "experts.1.w1.weight\":{\"dtype\":\"I8\"",
     "experts.1.w1.weight\":{\"dtype\":\"F8_E4M3\"", 0, FMT,
     "'layers.0.ffn.experts.1.w1.weight': has dtype F8_E4M3, expected I8",
     "wrong_dtype layers.0.ffn.experts.1.w1.weight\n"},

    /* The expert that would tell FP4 from FP8: the next layer's decides. */
    {HEADER, S1, "layers.0.ffn.experts.0.w1.weight\":{\"dtype\":\"I8\"",
     "layers.0.ffn.experts.0.w1.weight\":{\"dtype\":\"I9\"", 0, FMT,
     "'layers.0.ffn.experts.0.w1.weight': dtype 'I9' is not known, in '" S1 "'",
     "bad_dtype layers.0.ffn.experts.0.w1.weight\n"},
    {HEADER, S1, "layers.0.ffn.experts.0.w1.weight\":{\"dtype\":\"I8\"",
     "layers.0.ffn.experts.0.w1.weight\":{\"dtype\":\"U8\"", 0, FMT,
     "'layers.0.ffn.experts.0.w1.weight': has dtype U8, expected I8",
     "wrong_dtype layers.0.ffn.experts.0.w1.weight\n"},

    /* shape */
    {HEADER, S1, WQA_ENTRY, "\"" WQA "\":{\"dtype\":\"F8_E4M3\",\"shape\":[16,64]", 0, FMT,
     "'" WQA "': has shape [16, 64], expected [32, 32]", "wrong_shape " WQA "\n"},
    {HEADER, S1, WQA_ENTRY, "\"" WQA "\":{\"dtype\":\"F8_E4M3\",\"shape\":[1024]", 0, FMT,
     "'" WQA "': has shape [1024], expected [32, 32]", "wrong_shape " WQA "\n"},
    {HEADER, S1, "\"hc_head_scale\":{\"dtype\":\"F32\",\"shape\":[1]",
     "\"hc_head_scale\":{\"dtype\":\"F32\",\"shape\":[]", 0, FMT,
     "'hc_head_scale': has shape [], expected [1]", "wrong_shape hc_head_scale\n"},
    {HEADER, S1, WQA_ENTRY, "\"" WQA "\":{\"dtype\":\"F8_E4M3\",\"shape\":[32,-32]", 0, FMT,
     "'" WQA "': 'shape' holds '-32', expected a non-negative integer, in '" S1 "'",
     "bad_shape " WQA "\n"},
    {HEADER, S1, WQA_ENTRY, "\"" WQA "\":{\"dtype\":\"F8_E4M3\",\"shape\":[32.0,32]", 0, FMT,
     "'" WQA "': 'shape' holds '32.0', expected a non-negative integer, in '" S1 "'",
     "bad_shape " WQA "\n"},
    {HEADER, S1, WQA_ENTRY, "\"" WQA "\":{\"dtype\":\"F8_E4M3\",\"shape\":[1,1,1,1,1,1,1,32,32]", 0,
     FMT, "'" WQA "': 'shape' has 9 sizes, expected at most 8, in '" S1 "'", "bad_shape " WQA "\n"},
    {HEADER, S1, WQA_ENTRY, "\"" WQA "\":{\"dtype\":\"F8_E4M3\",\"shape\":7", 0, FMT,
     "'" WQA "': it has no 'shape' list, in '" S1 "'", "bad_shape " WQA "\n"},
    {HEADER, S1, WQA_ENTRY, "\"" WQA "\":{\"dtype\":\"F8_E4M3\",\"shape\":[4294967296,4294967296]",
     0, FMT, "'" WQA "': its sizes multiply beyond 2^63 - 1, in '" S1 "'", "overflow " WQA "\n"},
    {HEADER, S1, WQA_ENTRY, "\"" WQA "\":{\"dtype\":\"F8_E4M3\",\"shape\":[18446744073709551616,0]",
     0, FMT, "'" WQA "': 'shape' holds '18446744073709551616', at most 2^63 - 1 fits, in '" S1 "'",
     "overflow " WQA "\n"},

    /* offsets: embed.weight is [40, 32] BF16 and comes first */
    {HEADER, S1, "[0,2560]", "[2560,0]", 0, FMT,
     "'embed.weight': 'data_offsets' [2560, 0] do not hold the 2560 bytes of its shape, in '" S1
     "'",
     "bad_offsets embed.weight\n"},
    {HEADER, S1, "[0,2560]", "[0,2559]", 0, FMT,
     "'embed.weight': 'data_offsets' [0, 2559] do not hold the 2560 bytes of its shape, in '" S1
     "'",
     "bad_offsets embed.weight\n"},
    {HEADER, S1, "[0,2560]", "[0]", 0, FMT,
     "'embed.weight': it has no 'data_offsets' pair, in '" S1 "'", "bad_offsets embed.weight\n"},
    {HEADER, S1, "[0,2560]", "[9223372036854775808,9223372036854778368]", 0, FMT,
     "'embed.weight': 'data_offsets' holds '9223372036854775808', at most 2^63 - 1 fits, in '" S1
     "'",
     "overflow embed.weight\n"},
    {HEADER, S1, "[0,2560]", "[9223372036854770000,9223372036854772560]", 0, FMT,
     "'" S1 "': ends after 474545 bytes, tensor 'embed.weight' needs 9223372036854784305",
     "short_file " S1 "\n"},
    {HEADER, S1, "[0,2560]", "[2560,5120]", 0, HD_OK, NULL, "overlap head.weight\ngap " S1 "\n"},
    {EDIT, S1, "{\"embed.weight\"", "{\"embed.weighs\"", 0, FMT,
     "'embed.weighs': stored in '" S1 "', but not in the index",
     "not_in_index embed.weighs\nnot_in_shard embed.weight\nunknown_tensor embed.weighs\n"},

    /* index */
    {REMOVE, TEST_INDEX, NULL, NULL, 0, HD_OK, NULL, ""},
    {CUT, TEST_INDEX, NULL, NULL, 100, FMT,
     "'" TEST_INDEX "': bad json at byte 70: string without an end", "bad_index " TEST_INDEX "\n"},
    {CUT, TEST_INDEX, NULL, NULL, 0, FMT,
     "'" TEST_INDEX "': bad json at byte 0: expected a value, got the end",
     "bad_index " TEST_INDEX "\n"},
    {MKDIR, TEST_INDEX, NULL, NULL, 0, HD_E_IO, "is no regular file",
     "unreadable_file " TEST_INDEX "\n"},
    {EDIT, TEST_INDEX, "\"weight_map\"", "\"weights\"", 0, FMT,
     "'" TEST_INDEX "': it has no 'weight_map' object", "bad_index " TEST_INDEX "\n"},
    {EDIT, TEST_INDEX, "\"embed.weight\": \"" S1 "\"", "\"embed.weight\": 1", 0, FMT,
     "'embed.weight': weight_map holds a number, expected the name of a file",
     "bad_index embed.weight\nnot_in_index embed.weight\n"},
    {EDIT, TEST_INDEX, "\"head.weight\": ", "\"embed.weight\": ", 0, FMT,
     "'" TEST_INDEX "': bad json at byte 122: member 'embed.weight' occurs twice",
     "duplicate_name " TEST_INDEX "\nnot_in_index head.weight\n"},
    {EDIT, TEST_INDEX, "\"embed.weight\": \"" S1 "\",\n", "", 0, FMT,
     "'embed.weight': stored in '" S1 "', but not in the index", "not_in_index embed.weight\n"},
    {EDIT, TEST_INDEX, "\"embed.weight\": \"" S1 "\"", "\"embed.weight\": \"" S2 "\"", 0, FMT,
     "'embed.weight': the index places it in '" S2 "', but it is in '" S1 "'",
     "not_in_shard embed.weight\n"},
    {EDIT, TEST_INDEX, "\"embed.weight\": \"" S1 "\"",
     "\"embed.weight\": \"" S1 "\", \"extra\": \"" S1 "\"", 0, FMT,
     "'extra': the index places it in '" S1 "', which lacks it",
     "not_in_shard extra\nunknown_tensor extra\n"},
    {EDIT, TEST_INDEX, "\"embed.weight\": \"" S1 "\"", "\"embed.weight\": \"../" S1 "\"", 0, FMT,
     "'../" S1 "': expected the plain name of a file of the directory",
     "bad_shard_name ../" S1 "\nnot_in_shard embed.weight\n"},
    {EDIT, TEST_INDEX, "\"embed.weight\": \"" S1 "\"", "\"embed.weight\": \"/etc/passwd\"", 0, FMT,
     "'/etc/passwd': expected the plain name of a file of the directory",
     "bad_shard_name /etc/passwd\nnot_in_shard embed.weight\n"},
    {EDIT, TEST_INDEX, "\"embed.weight\": \"" S1 "\"", "\"embed.weight\": \"..\"", 0, FMT,
     "'..': expected the plain name of a file of the directory",
     "bad_shard_name ..\nnot_in_shard embed.weight\n"},
    {EDIT, TEST_INDEX, "\"embed.weight\": \"" S1 "\"", "\"embed.weight\": \"\"", 0, FMT,
     "'': expected the plain name of a file of the directory",
     "bad_shard_name \nnot_in_shard embed.weight\n"},
    {EDIT, TEST_INDEX, "\"embed.weight\": \"" S1 "\"", "\"embed.weight\": \"" S1 "\\u0000\"", 0,
     FMT, "'" S1 "': expected the plain name of a file of the directory",
     "bad_shard_name " S1 "\nnot_in_shard embed.weight\n"},
    {EDIT, TEST_INDEX, "\"total_size\": ", "\"total_size\": 1", 0, HD_OK, NULL,
     "wrong_total_size " TEST_INDEX "\n"},
    {EDIT, TEST_INDEX, "\"total_size\": ", "\"total_size\": -", 0, FMT,
     "'" TEST_INDEX "': metadata.total_size is no size in bytes", "bad_index " TEST_INDEX "\n"},

    /* against the configuration */
    {TENSORS, NULL, NULL, NULL, TEST_TINY_BARE, HD_OK, NULL, "missing_draft mtp.0\n"},
    {TENSORS, NULL, NULL, NULL, TEST_TINY_MTP, HD_OK, NULL, ""},
    {EDIT, "config.json", "dspark_block_size", "dspark_block_sizes", 0, FMT,
     "'dspark_block_size': must be there for the DSpark head that is stored",
     "bad_config dspark_block_size\n"},
    {EDIT, "config.json", "\"vocab_size\": 40", "\"vocab_size\": 41", 0, FMT,
     "'embed.weight': has shape [40, 32], expected [41, 32]",
     "wrong_shape embed.weight\nwrong_shape head.weight\n"
     "wrong_shape layers.0.ffn.gate.tid2eid\n"
     "wrong_shape mtp.1.markov_head.markov_w1.weight\n"
     "wrong_shape mtp.1.markov_head.markov_w2.weight\n"},
    {EDIT, "config.json", "\"num_hash_layers\": 1", "\"num_hash_layers\": 0", 0, FMT,
     "'layers.0.ffn.gate.bias': is not stored, expected F32 [4]",
     "missing_tensor layers.0.ffn.gate.bias\nunknown_tensor layers.0.ffn.gate.tid2eid\n"},
    {EDIT, "config.json", "[0, 4, 128, 0, 0]", "[0, 4, 0, 0, 0]", 0, FMT,
     "no tensor of this name belongs to the model",
     "unknown_tensor layers.2.attn.compressor.ape\n"
     "unknown_tensor layers.2.attn.compressor.wkv.weight\n"
     "unknown_tensor layers.2.attn.compressor.wgate.weight\n"
     "unknown_tensor layers.2.attn.compressor.norm.weight\n"},
    {EDIT, "config.json", "\"head_dim\": 512", "\"head_dim\": 128", 0, HD_E_UNSUPPORTED,
     "'head_dim' is 128, expected 512 as in every V4 model", "unsupported_model head_dim\n"},
    {EDIT, "config.json", "{", "", 0, FMT,
     "bad json at byte 16: expected nothing more after the value, got ':'",
     "bad_config config.json\n"},
};

static void apply(const corruption *c, const char *dir)
{
    const char *path = c->file ? test_path(dir, c->file) : NULL;
    test_ckpt_write(dir, c->damage == TENSORS ? (test_release)c->number : TEST_TINY, TEST_TINY);
    switch (c->damage) {
    case EDIT: test_edit(path, c->find, c->replace); break;
    case HEADER: test_edit_header(path, c->find, c->replace); break;
    case LENGTH: test_set_header_length(path, (uint64_t)c->number); break;
    case CUT: test_truncate(path, c->number); break;
    case REMOVE:
        assert_int_equal(unlink(path), 0);
        if (c->find) assert_int_equal(unlink(test_path(dir, c->find)), 0);
        break;
    case MKDIR:
        assert_int_equal(unlink(path), 0);
        assert_int_equal(mkdir(path, 0700), 0);
        break;
    case TENSORS: break;
    }
}

/* As the loader does it. */
static hd_status open_strict(const char *dir, hd_err *err)
{
    hd_config c;
    hd_ckpt *ck;
    HD_TRY(hd_config_load(dir, &c, err));
    HD_TRY(hd_ckpt_open(dir, 0, NULL, &ck, err));
    hd_status status = hd_names_resolve(ck, &c, NULL, err);
    if (status == HD_OK) status = hd_names_check(ck, &c, NULL, NULL, err);
    hd_ckpt_close(ck);
    return status;
}

static void check_strict(const corruption *c, size_t i, const char *dir)
{
    hd_err err = {0};
    hd_status status = open_strict(dir, &err);
    if (status != c->status) fail_msg("case %zu: %s '%s'", i, hd_status_name(status), err.text);
    if (c->text && !hd_str_ends(hd_str_from(err.text), hd_str_from(c->text)))
        fail_msg("case %zu: '%s'\nexpected '%s'", i, err.text, c->text);
}

static void check_lenient(const corruption *c, size_t i, const char *dir)
{
    static char list[1 << 20];
    hd_inspect in;
    hd_err err = {0};
    size_t n = 0;
    if (hd_inspect_init(&in, dir, 0, &err) != HD_OK) fail_msg("case %zu: %s", i, err.text);
    list[0] = '\0';
    for (const hd_defect *d = in.defects.first; d; d = d->next)
        n += (size_t)snprintf(list + n, sizeof list - n, "%s %.*s\n", hd_defect_code_name(d->code),
                              HD_STR_ARG(d->where));
    if (c->defects && strcmp(list, c->defects) != 0)
        fail_msg("case %zu: got\n%sexpected\n%s", i, list, c->defects);
    if (!c->defects) assert_true(in.defects.n > 0);
    hd_inspect_deinit(&in);
}

static void test_corruptions(void **state)
{
    (void)state;
    for (size_t i = 0; i < HD_COUNT(corruptions); i++) {
        const char *dir = test_tmpdir();
        apply(&corruptions[i], dir);
        check_strict(&corruptions[i], i, dir);
        check_lenient(&corruptions[i], i, dir);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_corruptions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
