/* Opening tokenizer.json: what is accepted, and each refusal with its text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/mem.h"
#include "support/tiny_vocab.h"
#include "support/tmpdir.h"
#include "text/vocab.h"

/* The file that the corruptions start from: 256 bytes, merges in both spellings, added tokens. */
static hd_buf valid;

static int make_valid(void **state)
{
    (void)state;
    char added[1200];
    hd_buf_init(&valid, 1 << 20);
    snprintf(added, sizeof added, "%s, %s, %s", tiny_added(256, "<bos>", true, false),
             tiny_added(260, "<think>", false, true), tiny_added(261, "<｜x｜>", false, false));
    tiny_vocab_json(&(tiny_vocab){"\"<bos>\": 256, \"ab\": 257, \"Ġab\": 258, \"bb\": 259",
                                  "\"a b\", [\"Ġ\", \"ab\"], \"b b\"", added},
                    &valid);
    return 0;
}

static int drop_valid(void **state)
{
    (void)state;
    hd_buf_deinit(&valid);
    return 0;
}

/* ---- one edit each ---- */

typedef struct corruption {
    const char *find, *put; /* the first `find` in the valid file becomes `put` */
    hd_status status;
    const char *text; /* all of the error; NULL: not looked at */
    const char *path; /* NULL: not looked at */
} corruption;

static const corruption settings[] = {
    {"\"version\": \"1.0\"", "\"version\": \"2.0\"", HD_E_UNSUPPORTED,
     "tokenizer setting 'version' is \"2.0\", expected \"1.0\"", "version"},
    {"\"version\": \"1.0\", ", "", HD_E_UNSUPPORTED,
     "tokenizer setting 'version' is missing, expected \"1.0\"", ""},
    {"\"truncation\": null", "\"truncation\": {\"max_length\": 512}", HD_E_UNSUPPORTED,
     "tokenizer setting 'truncation' is {\"max_length\": 512}, expected null", "truncation"},
    {"\"padding\": null", "\"padding\": true", HD_E_UNSUPPORTED,
     "tokenizer setting 'padding' is true, expected null", "padding"},
    {"\"padding\": null", "\"padding\": null, \"chunking\": 3", HD_E_UNSUPPORTED,
     "unknown tokenizer setting 'chunking'", "chunking"},
    {"\"normalizers\": []", "\"normalizers\": [{\"type\": \"NFC\"}]", HD_E_UNSUPPORTED,
     "tokenizer setting 'normalizer' is {\"type\": \"Sequence\", \"normalizers\": "
     "[{\"type\": \"NFC\"}]}, expected null or an empty Sequence",
     "normalizer"},
    {"{1,3}", "{1,2}", HD_E_UNSUPPORTED,
     "tokenizer setting 'pre_tokenizer.pretokenizers[0].pattern.Regex' is \"\\\\p{N}{1,2}\", "
     "expected \"\\\\p{N}{1,3}\"",
     "pre_tokenizer.pretokenizers[0].pattern.Regex"},
    {"\\u9fa5", "\\u9fff", HD_E_UNSUPPORTED,
     "tokenizer setting 'pre_tokenizer.pretokenizers[1].pattern.Regex' is "
     "\"[一-鿿\u3040-ゟ゠-ヿ]+\", expected \"[一-龥\u3040-ゟ゠-ヿ]+\"",
     NULL},
    {"|\\\\s+(?!\\\\S)|\\\\s+\"", "|\\\\s+\"", HD_E_UNSUPPORTED,
     "tokenizer setting 'pre_tokenizer.pretokenizers[2].pattern.Regex' is "
     "\"[!\\\"#$%&'()*+,\\\\-./:;<=>?@\\\\[\\\\\\\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\\\p{L}\\\\p{P}"
     "\\\\p{S}]?[\\\\p{L}\\\\p{M}]+| ?[\\\\p{P}\\\\p{S}]+[\\r\\n]*|\\\\s*[\\r\\n]+|\\\\s+\", "
     "expected "
     "\"[!\\\"#$%&'()*+,\\\\-./:;<=>?@\\\\[\\\\\\\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\\\p{L}\\\\p{P}"
     "\\\\p{S}]?[\\\\p{L}\\\\p{M}]+| "
     "?[\\\\p{P}\\\\p{S}]+[\\r\\n]*|\\\\s*[\\r\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"",
     NULL},
    {"{\"Regex\": \"\\\\p{N}{1,3}\"}", "{\"String\": \" \"}", HD_E_UNSUPPORTED,
     "unknown tokenizer setting 'pre_tokenizer.pretokenizers[0].pattern.String'", NULL},
    {"\"behavior\": \"Isolated\"", "\"behavior\": \"Removed\"", HD_E_UNSUPPORTED,
     "tokenizer setting 'pre_tokenizer.pretokenizers[0].behavior' is \"Removed\", expected "
     "\"Isolated\"",
     NULL},
    {"\"invert\": false", "\"invert\": true", HD_E_UNSUPPORTED,
     "tokenizer setting 'pre_tokenizer.pretokenizers[0].invert' is true, expected false", NULL},
    {"\"add_prefix_space\": false", "\"add_prefix_space\": true", HD_E_UNSUPPORTED,
     "tokenizer setting 'pre_tokenizer.pretokenizers[3].add_prefix_space' is true, expected false",
     NULL},
    {"\"use_regex\": false", "\"use_regex\": true", HD_E_UNSUPPORTED,
     "tokenizer setting 'pre_tokenizer.pretokenizers[3].use_regex' is true, expected false", NULL},
    {", \"use_regex\": false", "", HD_E_UNSUPPORTED,
     "tokenizer setting 'pre_tokenizer.pretokenizers[3].use_regex' is missing, expected false",
     "pre_tokenizer.pretokenizers[3]"},
    {"\"post_processor\": {\"type\": \"ByteLevel\"", "\"post_processor\": {\"type\": \"X\"",
     HD_E_UNSUPPORTED,
     "tokenizer setting 'post_processor' is {\"type\": \"X\", \"add_prefix_space\": true, "
     "\"trim_offsets\": false, \"use_regex\": true}, expected null or one of type ByteLevel",
     "post_processor"},
    {"\"decoder\": {\"type\": \"ByteLevel\"", "\"decoder\": {\"type\": \"WordPiece\"",
     HD_E_UNSUPPORTED, "tokenizer setting 'decoder.type' is \"WordPiece\", expected \"ByteLevel\"",
     "decoder.type"},
    {"\"type\": \"BPE\"", "\"type\": \"Unigram\"", HD_E_UNSUPPORTED,
     "tokenizer setting 'model.type' is \"Unigram\", expected \"BPE\"", "model.type"},
    {"\"dropout\": null", "\"dropout\": 0.1", HD_E_UNSUPPORTED,
     "tokenizer setting 'model.dropout' is 0.1, expected null", "model.dropout"},
    {"\"unk_token\": null", "\"unk_token\": \"<unk>\"", HD_E_UNSUPPORTED,
     "tokenizer setting 'model.unk_token' is \"<unk>\", expected null", "model.unk_token"},
    {"\"continuing_subword_prefix\": null", "\"continuing_subword_prefix\": \"##\"",
     HD_E_UNSUPPORTED,
     "tokenizer setting 'model.continuing_subword_prefix' is \"##\", expected one of [null, \"\"]",
     NULL},
    {"\"byte_fallback\": false", "\"byte_fallback\": true", HD_E_UNSUPPORTED,
     "tokenizer setting 'model.byte_fallback' is true, expected false", "model.byte_fallback"},
    {"\"byte_fallback\": false", "\"byte_fallback\": false, \"ignore_merges\": true",
     HD_E_UNSUPPORTED, "tokenizer setting 'model.ignore_merges' is true, expected false", NULL},
    {"\"fuse_unk\": false", "\"fuse_unk\": 1", HD_E_UNSUPPORTED,
     "tokenizer setting 'model.fuse_unk' is 1, expected one of [false, true]", NULL},
    {"\"type\": \"Sequence\", \"pretokenizers\": [",
     "\"type\": \"Sequence\", \"pretokenizers\": [],"
     " \"x\": [",
     HD_E_UNSUPPORTED,
     "tokenizer setting 'pre_tokenizer.pretokenizers' is [], expected [{\"type\": \"Split\", "
     "\"pattern\": {\"Regex\": \"\\\\p{N}{1,3}\"}, \"behavior\": \"Isolated\", \"invert\": false}, "
     "{\"type\": \"Split\", \"pattern\": {\"Regex\": \"[一-龥\u3040-ゟ゠-ヿ...",
     "pre_tokenizer.pretokenizers"},
};

static const corruption tables[] = {
    {"{\"version\"", "[", HD_E_FORMAT, "bad json at byte 1: expected a value, got ':'", NULL},
    {"\"ab\": 257", "\"ab\": 257.0", HD_E_FORMAT,
     "'ab' must be an integer from 0 to 1048575, got 257.0", "model.vocab.ab"},
    {"\"ab\": 257", "\"ab\": -1", HD_E_FORMAT, "'ab' must be an integer from 0 to 1048575, got -1",
     NULL},
    {"\"ab\": 257", "\"ab\": 1048576", HD_E_FORMAT,
     "'ab' must be an integer from 0 to 1048575, got 1048576", NULL},
    {"\"ab\": 257", "\"ab\": \"x\"", HD_E_FORMAT,
     "'ab' must be an integer from 0 to 1048575, got a string", NULL},
    {"\"ab\": 257", "\"ab\": 262", HD_E_FORMAT,
     "token 'ab' has id 262, expected 0 to 261 without gaps", NULL},
    {"\"ab\": 257", "\"ab\": 258", HD_E_FORMAT, "tokens 'ab' and ' ab' have the same id 258", NULL},
    {"\"ab\": 257", "\"ab\": 260", HD_E_FORMAT, "tokens '<think>' and 'ab' have the same id 260",
     NULL},
    {"\"ab\": 257", "\"a\": 257", HD_E_FORMAT, "bad json at byte 4164: member 'a' occurs twice",
     NULL},
    {"\"bb\": 259", "\"\": 259", HD_E_LIMIT, "token 259 '' has 0 bytes, expected 1 to 1024", NULL},
    {"\"bb\": 259", "\"b b\": 259", HD_E_FORMAT,
     "token 'b b' is not spelled in the byte-level alphabet and is no added token", NULL},
    {"\"bb\": 259", "\"世\": 259", HD_E_FORMAT,
     "token '世' is not spelled in the byte-level alphabet and is no added token", NULL},
    {"\"A\": 65, ", "\"AA\": 65, ", HD_E_FORMAT,
     "'model.vocab' has no token for byte 0x41, expected one for each byte", NULL},
    {"\"vocab\": {", "\"vocab\": [{", HD_E_FORMAT,
     "bad json at byte 4206: expected ',' or ']', got ':'", NULL},
    {"\"a b\"", "\"ab\"", HD_E_FORMAT, "merge 0 is not \"left right\" or [\"left\", \"right\"]",
     NULL},
    {"\"a b\"", "\"a b b\"", HD_E_FORMAT, "merge 0 is not \"left right\" or [\"left\", \"right\"]",
     NULL},
    {"\"a b\"", "17", HD_E_FORMAT, "merge 0 is not \"left right\" or [\"left\", \"right\"]", NULL},
    {"[\"Ġ\", \"ab\"]", "[\"Ġ\", \"a\", \"b\"]", HD_E_FORMAT,
     "merge 1 is not \"left right\" or [\"left\", \"right\"]", NULL},
    {"[\"Ġ\", \"ab\"]", "[\"Ġ\", 3]", HD_E_FORMAT,
     "merge 1 is not \"left right\" or [\"left\", \"right\"]", NULL},
    {"\"a b\"", "\"aa b\"", HD_E_FORMAT, "merge 0 names 'aa', which is not in 'model.vocab'", NULL},
    {"\"a b\"", "\"a bc\"", HD_E_FORMAT, "merge 0 names 'bc', which is not in 'model.vocab'", NULL},
    {"\"a b\"", "\"b a\"", HD_E_FORMAT, "merge 0 names 'ba', which is not in 'model.vocab'", NULL},
    {"\"a b\"", "\" b\"", HD_E_FORMAT, "merge 0 names '', which is not in 'model.vocab'", NULL},
    {"\"b b\"", "\"a b\"", HD_E_UNSUPPORTED,
     "merge 2 makes token 257 after token 258, expected ascending ids", NULL},
    {"\"a b\", [\"Ġ\", \"ab\"]", "[\"Ġ\", \"ab\"], \"a b\"", HD_E_UNSUPPORTED,
     "merge 1 makes token 257 after token 258, expected ascending ids", NULL},
    {"\"id\": 256", "\"id\": \"256\"", HD_E_FORMAT, "'id' must be a number, got a string",
     "added_tokens[0].id"},
    {"\"id\": 256", "\"id\": 255", HD_E_FORMAT,
     "added token '<bos>' has id 255, but 256 in 'model.vocab'", NULL},
    {"\"id\": 260", "\"id\": 261", HD_E_FORMAT,
     "tokens '<think>' and '<｜x｜>' have the same id 261", NULL},
    {"\"id\": 260", "\"id\": 300", HD_E_FORMAT,
     "token '<think>' has id 300, expected 0 to 261 without gaps", NULL},
    {"\"content\": \"<bos>\", ", "", HD_E_FORMAT, "'content' must be a string, got nothing",
     "added_tokens[0].content"},
    {"\"<think>\"", "\"\"", HD_E_LIMIT, "token 260 '' has 0 bytes, expected 1 to 1024", NULL},
    {"\"<think>\"", "\"<｜x｜>\"", HD_E_FORMAT, "added token '<｜x｜>' occurs twice", NULL},
    {"\"<think>\"", "\"Ġ\"", HD_E_FORMAT, "added token 'Ġ' has id 260, but 32 in 'model.vocab'",
     NULL},
    {"\"id\": 260, \"content\": \"<think>\"", "\"id\": 32, \"content\": \"Ġ\"", HD_E_FORMAT,
     "token '<｜x｜>' has id 261, expected 0 to 260 without gaps", NULL},
    {"\"special\": true", "\"special\": 1", HD_E_FORMAT, "'special' must be a boolean, got 1",
     "added_tokens[0].special"},
    {", \"normalized\": true", "", HD_E_FORMAT, "'normalized' must be a boolean, got nothing",
     "added_tokens[1].normalized"},
    {"\"single_word\": false, ", "", HD_E_FORMAT, "'single_word' must be a boolean, got nothing",
     NULL},
    {"\"single_word\": false", "\"single_word\": true", HD_E_UNSUPPORTED,
     "added token '<bos>' has 'single_word' set, expected false", NULL},
    {"\"lstrip\": false", "\"lstrip\": true", HD_E_UNSUPPORTED,
     "added token '<bos>' has 'lstrip' set, expected false", NULL},
    {"\"rstrip\": false", "\"rstrip\": true", HD_E_UNSUPPORTED,
     "added token '<bos>' has 'rstrip' set, expected false", NULL},
    {"\"added_tokens\": [", "\"added_tokens\": [null, ", HD_E_FORMAT,
     "'id' must be a number, got nothing", NULL},
};

/* The valid file with one edit, into out. */
static void corrupt(const corruption *c, hd_buf *out)
{
    hd_str file = hd_buf_str(&valid);
    size_t at = hd_str_find(file, hd_str_from(c->find), 0);
    if (at == file.len) fail_msg("'%s' is not in the valid file", c->find);
    hd_buf_reset(out);
    hd_buf_add(out, file.ptr, at);
    hd_buf_addz(out, c->put);
    hd_buf_add_str(out, hd_str_skip(file, at + strlen(c->find)));
}

static void check_refusal(hd_str json, hd_status status, const char *text, const char *path)
{
    hd_vocab *v;
    hd_err err = {0};
    hd_status got = hd_vocab_parse(json, &v, &err);
    if (got != status || (text && strcmp(err.text, text) != 0) ||
        (path && strcmp(err.path, path) != 0))
        fail_msg("%s [%s] at [%s]\n expected %s [%s] at [%s]", hd_status_name(got), err.text,
                 err.path, hd_status_name(status), text ? text : "", path ? path : "");
    assert_null(v);
    assert_int_equal(err.code, status);
    assert_int_equal(hd_vocab_parse(json, &v, NULL), status); /* nobody asks why */
}

static void check_all(const corruption *list, size_t n)
{
    hd_buf json;
    hd_buf_init(&json, 1 << 20);
    for (size_t i = 0; i < n; i++) {
        corrupt(&list[i], &json);
        check_refusal(hd_buf_str(&json), list[i].status, list[i].text, list[i].path);
    }
    print_message("%zu corruptions\n", n);
    hd_buf_deinit(&json);
}

static void foreign_settings_are_refused_by_name(void **state)
{
    (void)state;
    check_all(settings, HD_COUNT(settings));
}

static void contradictions_are_refused(void **state)
{
    (void)state;
    check_all(tables, HD_COUNT(tables));
}

/* ---- files that no single edit makes ---- */

static void check_whole(const char *vocab, const char *merges, const char *added, hd_status status,
                        const char *text)
{
    hd_buf json;
    hd_buf_init(&json, (size_t)60 << 20);
    tiny_vocab_json(&(tiny_vocab){vocab, merges, added}, &json);
    check_refusal(hd_buf_str(&json), status, text, NULL);
    hd_buf_deinit(&json);
}

/* `"x…x": id` with n letters x. */
static const char *long_token(hd_buf *out, size_t n, int id)
{
    hd_buf_reset(out);
    hd_buf_addc(out, '"');
    for (size_t i = 0; i < n; i++) hd_buf_addc(out, 'x');
    hd_buf_addf(out, "\": %d", id);
    return out->ptr;
}

static void parts_of_another_kind_are_refused(void **state)
{
    (void)state;
    check_refusal(HD_STR("[1]"), HD_E_FORMAT, "a tokenizer.json holds an object, got an array",
                  NULL);
    check_refusal(HD_STR(""), HD_E_FORMAT, NULL, NULL);
    static const char *const kinds[][3] = {
        {"\"vocab\": {", "\"vocab\": 3, \"merges\": []}}",
         "'vocab' is a number, expected an object"},
        {"\"merges\": [", "\"merges\": {}}}", "'merges' is an object, expected an array"},
    };
    hd_str file = hd_buf_str(&valid);
    for (size_t i = 0; i < HD_COUNT(kinds); i++) {
        hd_buf json;
        hd_buf_init(&json, 1 << 20);
        hd_buf_add(&json, file.ptr, hd_str_find(file, hd_str_from(kinds[i][0]), 0));
        hd_buf_addz(&json, kinds[i][1]);
        check_refusal(hd_buf_str(&json), HD_E_FORMAT, kinds[i][2], NULL);
        hd_buf_deinit(&json);
    }
    hd_buf json;
    hd_buf_init(&json, 1 << 20);
    const corruption as_text = {"\"added_tokens\": [", "\"added_tokens\": \"\", \"x\": [", 0, 0, 0};
    corrupt(&as_text, &json);
    check_refusal(hd_buf_str(&json), HD_E_UNSUPPORTED, "unknown tokenizer setting 'x'", NULL);
    hd_str rest = hd_buf_str(&json);
    size_t from = hd_str_find(rest, HD_STR("\"x\": ["), 0);
    size_t to = hd_str_find(rest, HD_STR("\"normalizer\""), from);
    memmove(json.ptr + from, json.ptr + to, json.len - to);
    json.len -= to - from;
    check_refusal(hd_buf_str(&json), HD_E_FORMAT, "'added_tokens' is a string, expected an array",
                  NULL);
    hd_buf_deinit(&json);
}

static void sizes_are_bounded(void **state)
{
    (void)state;
    enum { MAX = 1 << 20 };
    hd_buf part, big;
    hd_buf_init(&part, 1 << 16);
    hd_buf_init(&big, (size_t)60 << 20);
    /* Only the length is looked at. */
    check_refusal((hd_str){"{", HD_VOCAB_MAX_FILE_BYTES + 1}, HD_E_LIMIT,
                  "tokenizer.json has 67108865 bytes, expected at most 67108864", NULL);
    check_whole(
        long_token(&part, 1025, 256), NULL, NULL, HD_E_LIMIT,
        "token 256 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        "xxxxxxxxxxxxxxxxxxxxxxxx' has 1025 bytes, expected 1 to 1024");
    check_whole(
        long_token(&part, 2049, 256), NULL, NULL, HD_E_LIMIT,
        "token 256 'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
        "xxxxxxxxxxxxxxxxxxxxxxxx' is longer than 2048 bytes");
    /* As many elements as are too many, whatever they are. */
    for (int i = 0; i <= MAX; i++) hd_buf_addz(&big, i ? ",0" : "0");
    check_whole(NULL, big.ptr, NULL, HD_E_LIMIT,
                "'model.merges' has 1048577 entries, expected at most 1048576");
    check_whole(NULL, NULL, big.ptr, HD_E_LIMIT,
                "'added_tokens' has 1048577 entries, expected at most 1048576");
    /* One token more than may be: in the model alone, or with the added one. */
    hd_buf_reset(&big);
    for (int i = 256; i < MAX; i++) hd_buf_addf(&big, "%s\"x%x\":%d", i > 256 ? "," : "", i, i);
    check_whole(big.ptr, NULL, tiny_added(MAX - 1, "<think>", false, false), HD_E_LIMIT,
                "the vocabulary has 1048577 tokens, expected at most 1048576");
    hd_buf_addz(&big, ",\"yy\":0");
    check_whole(big.ptr, NULL, NULL, HD_E_LIMIT,
                "'model.vocab' has 1048577 tokens, expected at most 1048576");
    hd_buf_deinit(&big);
    hd_buf_deinit(&part);
}

static void a_token_must_not_be_both_bytes_and_text(void **state)
{
    (void)state;
    /* "Ġ" spells a space in the vocabulary; as an added token it is the letter itself. */
    check_whole(NULL, NULL, tiny_added(32, "Ġ", false, false), HD_E_FORMAT,
                "added token 'Ġ' is the byte-level spelling of other bytes in 'model.vocab'");
}

/* ---- what is accepted ---- */

static void check_accepted(hd_str json, size_t n_tokens)
{
    hd_vocab *v;
    hd_err err;
    if (hd_vocab_parse(json, &v, &err) != HD_OK) fail_msg("%s", err.text);
    assert_int_equal(hd_vocab_size(v), n_tokens);
    hd_vocab_close(v);
}

static void the_valid_file_is_accepted(void **state)
{
    (void)state;
    hd_vocab *v;
    assert_int_equal(hd_vocab_parse(hd_buf_str(&valid), &v, NULL), HD_OK);
    assert_int_equal(hd_vocab_size(v), 262);
    assert_true(hd_str_eqz(hd_vocab_token_bytes(v, 258), " ab"));
    for (int byte = 0; byte < 256; byte++) {
        char c = (char)byte;
        assert_true(hd_str_eq(hd_vocab_token_bytes(v, byte), (hd_str){&c, 1}));
    }
    assert_int_equal(hd_vocab_find_added(v, HD_STR("<｜x｜>")), 261);
    hd_vocab_close(v);
}

/* Settings that mean the same. */
static void equal_settings_are_accepted(void **state)
{
    (void)state;
    static const corruption edits[] = {
        {"\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": []}", "\"normalizer\": null", 0,
         0, 0},
        {" \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": []},\n", "", 0, 0, 0},
        {"\"truncation\": null, \"padding\": null,", "", 0, 0, 0},
        {"\"post_processor\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
         "\"trim_offsets\": false, \"use_regex\": true}",
         "\"post_processor\": null", 0, 0, 0},
        {"\"byte_fallback\": false", "\"ignore_merges\": false", 0, 0, 0},
        {"\"end_of_word_suffix\": null", "\"end_of_word_suffix\": \"\"", 0, 0, 0},
        {"\"fuse_unk\": false", "\"fuse_unk\": true", 0, 0, 0},
        {"\"trim_offsets\": true", "\"trim_offsets\": false", 0, 0, 0},
    };
    hd_buf json;
    hd_buf_init(&json, 1 << 20);
    for (size_t i = 0; i < HD_COUNT(edits); i++) {
        corrupt(&edits[i], &json);
        check_accepted(hd_buf_str(&json), 262);
    }
    hd_buf_reset(&json);
    tiny_vocab_json(&(tiny_vocab){NULL, NULL, NULL}, &json);
    check_accepted(hd_buf_str(&json), 256);
    hd_buf_deinit(&json);
}

static void files_and_directories_open(void **state)
{
    (void)state;
    hd_vocab *v;
    hd_err err;
    const char *dir = test_tmpdir();
    test_write(test_path(dir, "tokenizer.json"), hd_buf_str(&valid));
    test_write(test_path(dir, "broken.json"), HD_STR("{"));
    assert_int_equal(hd_vocab_open(dir, &v, &err), HD_OK);
    hd_vocab_close(v);
    assert_int_equal(hd_vocab_open(test_path(dir, "tokenizer.json"), &v, &err), HD_OK);
    hd_vocab_close(v);
    assert_int_equal(hd_vocab_open(test_path(dir, "absent.json"), &v, &err), HD_E_NOTFOUND);
    assert_null(v);

    char expected[512];
    const char *broken = test_path(dir, "broken.json");
    assert_int_equal(hd_vocab_open(broken, &v, &err), HD_E_FORMAT);
    snprintf(expected, sizeof expected, "cannot load tokenizer '%s': bad json at byte 1: ", broken);
    assert_memory_equal(err.text, expected, strlen(expected));

    char deep[5000]; /* a directory whose name leaves no room: "./././…" */
    size_t n = strlen(dir);
    memcpy(deep, dir, n);
    while (n < 4090) {
        memcpy(deep + n, "/.", 2);
        n += 2;
    }
    deep[n] = '\0';
    assert_int_equal(hd_vocab_open(deep, &v, &err), HD_E_LIMIT);
    assert_null(v);
}

/* Let each allocation of parsing fail in turn; returns how many there were. */
static int fail_each_allocation(hd_str json)
{
    hd_status status = HD_E_NOMEM;
    int n_failures = 0;
    while (status != HD_OK) {
        hd_vocab *v;
        hd_err err;
        hd_mem_fail_after(n_failures);
        status = hd_vocab_parse(json, &v, &err);
        hd_mem_fail_after(-1);
        assert_true(status == HD_OK || status == HD_E_NOMEM);
        if (status == HD_OK)
            hd_vocab_close(v);
        else
            n_failures++;
    }
    return n_failures;
}

static void memory_may_run_out(void **state)
{
    (void)state;
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    enum { N = sizeof letters - 1 };
    int n_small = fail_each_allocation(hd_buf_str(&valid));
    /* Large enough that each table needs memory of its own. */
    hd_buf vocab, merges, added, json;
    hd_buf *parts[] = {&vocab, &merges, &added, &json};
    for (size_t i = 0; i < HD_COUNT(parts); i++) hd_buf_init(parts[i], 1 << 22);
    for (int i = 0; i < N * N; i++) {
        const char *comma = i ? ", " : "";
        char l = letters[i / N], r = letters[i % N], content[16];
        hd_buf_addf(&vocab, "%s\"%c%c\": %d", comma, l, r, 256 + i);
        hd_buf_addf(&merges, "%s\"%c %c\"", comma, l, r);
        snprintf(content, sizeof content, "<%d>", i);
        hd_buf_addf(&added, "%s%s", comma, tiny_added(256 + N * N + i, content, i % 2, i % 3));
    }
    tiny_vocab_json(&(tiny_vocab){vocab.ptr, merges.ptr, added.ptr}, &json);
    int n_large = fail_each_allocation(hd_buf_str(&json));
    print_message("%d and %d allocations failed in turn\n", n_small, n_large);
    assert_true(n_large > n_small && n_small > 5);
    for (size_t i = 0; i < HD_COUNT(parts); i++) hd_buf_deinit(parts[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_valid_file_is_accepted),
        cmocka_unit_test(equal_settings_are_accepted),
        cmocka_unit_test(files_and_directories_open),
        cmocka_unit_test(foreign_settings_are_refused_by_name),
        cmocka_unit_test(contradictions_are_refused),
        cmocka_unit_test(parts_of_another_kind_are_refused),
        cmocka_unit_test(sizes_are_bounded),
        cmocka_unit_test(a_token_must_not_be_both_bytes_and_text),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, make_valid, drop_valid);
}
