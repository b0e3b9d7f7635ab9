#include "support/tiny_vocab.h"

#include <stdio.h>

#include "base/jsonw.h"
#include "base/utf8.h"

/* The settings of the official file, spelled out again so that a slip in either shows. */
static const char head[] = "{\"version\": \"1.0\", \"truncation\": null, \"padding\": null,\n"
                           " \"added_tokens\": [";
static const char middle[] =
    "],\n"
    " \"normalizer\": {\"type\": \"Sequence\", \"normalizers\": []},\n"
    " \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [\n"
    "  {\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\p{N}{1,3}\"},"
    " \"behavior\": \"Isolated\", \"invert\": false},\n"
    "  {\"type\": \"Split\", \"pattern\": {\"Regex\":"
    " \"[\\u4e00-\\u9fa5\\u3040-\\u309f\\u30a0-\\u30ff]+\"},"
    " \"behavior\": \"Isolated\", \"invert\": false},\n"
    "  {\"type\": \"Split\", \"pattern\": {\"Regex\": \"[!\\\"#$%&'()*+,\\\\-./:;<=>?@\\\\[\\\\\\\\"
    "\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\\\p{L}\\\\p{P}\\\\p{S}]?[\\\\p{L}\\\\p{M}]+"
    "| ?[\\\\p{P}\\\\p{S}]+[\\r\\n]*|\\\\s*[\\r\\n]+|\\\\s+(?!\\\\S)|\\\\s+\"},"
    " \"behavior\": \"Isolated\", \"invert\": false},\n"
    "  {\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true,"
    " \"use_regex\": false}]},\n"
    " \"post_processor\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true,"
    " \"trim_offsets\": false, \"use_regex\": true},\n"
    " \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true,"
    " \"trim_offsets\": true, \"use_regex\": true},\n"
    " \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null,"
    " \"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, \"fuse_unk\": false,"
    " \"byte_fallback\": false,\n"
    "  \"vocab\": {";

/* GPT-2's printable alphabet, by its own construction: printable Latin-1 stays, the rest counts up
 * from U+0100. */
static uint32_t spelling_of(int byte)
{
    uint32_t next = 0x100;
    for (int b = 0;; b++) {
        bool is_printable = (b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
        if (b == byte) return is_printable ? (uint32_t)b : next;
        if (!is_printable) next++;
    }
}

void tiny_vocab_json(const tiny_vocab *t, hd_buf *out)
{
    hd_buf_addz(out, head);
    if (t->added) hd_buf_addz(out, t->added);
    hd_buf_addz(out, middle);
    for (int byte = 0; byte < 256; byte++) {
        char utf8[4];
        size_t n = hd_utf8_put(utf8, spelling_of(byte));
        hd_buf_addz(out, byte ? ", " : "");
        hd_jsonw_str(out, (hd_str){utf8, n});
        hd_buf_addf(out, ": %d", byte);
    }
    if (t->vocab) hd_buf_addf(out, ", %s", t->vocab);
    hd_buf_addz(out, "},\n  \"merges\": [");
    if (t->merges) hd_buf_addz(out, t->merges);
    hd_buf_addz(out, "]}}\n");
}

const char *tiny_added(int id, const char *content, bool is_special, bool is_normalized)
{
    static char texts[8][256];
    static unsigned turn;
    char *text = texts[turn++ % 8];
    snprintf(text, sizeof texts[0],
             "{\"id\": %d, \"content\": \"%s\", \"single_word\": false, \"lstrip\": false, "
             "\"rstrip\": false, \"normalized\": %s, \"special\": %s}",
             id, content, is_normalized ? "true" : "false", is_special ? "true" : "false");
    return text;
}
