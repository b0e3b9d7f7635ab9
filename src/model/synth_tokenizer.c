/* tokenizer.json of a made-up checkpoint: 256 bytes, control tokens, no merges. See synth.h. */
#include <inttypes.h>

#include "base/jsonw.h"
#include "base/utf8.h"
#include "model/synth.h"

#define N_FIRST  3 /* begin, end, padding */
#define N_BYTES  256
#define N_NEEDED 5 /* the first of control_tokens: no chat without them */

/* What chats, tasks and fill-in-the-middle prompts are written with, the most needed first. */
static const char *const control_tokens[] = {
    "<｜User｜>",
    "<｜Assistant｜>",
    "<think>",
    "</think>",
    "｜DSML｜",
    "<｜fim▁hole｜>",
    "<｜fim▁begin｜>",
    "<｜fim▁end｜>",
    "<｜action｜>",
    "<｜query｜>",
    "<｜authority｜>",
    "<｜domain｜>",
    "<｜title｜>",
    "<｜read_url｜>",
    "<｜latest_reminder｜>",
    "<｜extracted_url｜>",
};

/* A piece of JSON, written in C without doubled quotes and backslashes. */
#define JSON(...) #__VA_ARGS__

/* Everything but the tables, as in the official file. */
/* clang-format off */
static const char tokenizer_head[] = JSON({"version": "1.0", "truncation": null, "padding": null);

static const char tokenizer_middle[] = JSON(
    "normalizer": {"type": "Sequence", "normalizers": []},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
        {"type": "Split", "pattern": {"Regex": "\\p{N}{1,3}"}, "behavior": "Isolated", "invert": false},
        {"type": "Split", "pattern": {"Regex": "[一-龥぀-ゟ゠-ヿ]+"}, "behavior": "Isolated", "invert": false},
        {"type": "Split", "pattern": {"Regex": "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": false},
        {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}
    ]},
    "post_processor": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false, "use_regex": true},
    "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true});

static const char tokenizer_model[] = JSON(
    "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
        "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false);
        /* clang-format on */

        static void add_added_token(hd_buf * out, int32_t id, const char *content, bool is_special)
        {
            hd_buf_addf(out, "%s  {\"id\": %" PRId32 ", \"content\": ", id ? ",\n" : "", id);
            hd_jsonw_str(out, hd_str_from(content));
            hd_buf_addf(out,
                        ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                        "\"normalized\": %s, \"special\": %s}",
                        is_special ? "false" : "true", is_special ? "true" : "false");
        }

        /* A member of the vocabulary: the character that GPT-2's table puts for a byte. */
        static void add_byte(hd_buf * out, uint32_t code_point, int32_t id)
        {
            char utf8[4];
            hd_buf_addz(out, id > N_FIRST ? ", " : "");
            hd_jsonw_str(out, (hd_str){utf8, hd_utf8_put(utf8, code_point)});
            hd_buf_addf(out, ": %" PRId32, id);
        }

        hd_status hd_synth_tokenizer(int32_t vocab_size, hd_buf *tokenizer_json, hd_err *err)
        {
            static const char *const first[N_FIRST] = {"<｜begin▁of▁sentence｜>",
                                                       "<｜end▁of▁sentence｜>", "<｜▁pad▁｜>"};
            hd_buf *out = tokenizer_json;
            int32_t n_control = vocab_size - N_FIRST - N_BYTES;
            if (n_control < N_NEEDED)
                HD_FAIL(err, HD_E_ARG,
                        "'vocab_size' is %d: a byte-level tokenizer needs at least %d", vocab_size,
                        N_FIRST + N_BYTES + N_NEEDED);
            if (n_control > (int32_t)HD_COUNT(control_tokens)) n_control = HD_COUNT(control_tokens);
            hd_buf_addf(out, "%s, \"added_tokens\": [\n", tokenizer_head);
            for (int32_t i = 0; i < N_FIRST; i++) add_added_token(out, i, first[i], true);
            for (int32_t i = 0; i < n_control; i++)
                add_added_token(out, N_FIRST + N_BYTES + i, control_tokens[i], false);
            hd_buf_addf(out, "],\n%s,\n%s, \"vocab\": {", tokenizer_middle, tokenizer_model);
            /* Bytes that are visible characters of Latin-1 come first, as themselves; the other 68
             * follow, ascending, as U+0100 and on. */
            int32_t id = N_FIRST;
            for (uint32_t c = 33; c <= 255; c++)
                if (c <= 126 || (c >= 161 && c != 173)) add_byte(out, c, id++);
            for (uint32_t c = 256; id < N_FIRST + N_BYTES; c++) add_byte(out, c, id++);
            hd_buf_addz(out, "}, \"merges\": []}}\n");
            return hd_buf_status(out, "tokenizer.json", err);
        }
