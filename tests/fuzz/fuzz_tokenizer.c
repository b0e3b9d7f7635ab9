/* Texts of tokenizer.json; what opens must encode any text and give it back. */
/* Covers: src/text/vocab.c src/text/vocab_settings.c src/text/vocab_chars.c src/text/added.c */
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/utf8.h"
#include "text/bpe.h"
#include "text/detok.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const hd_vocab *v, hd_bpe *bpe, hd_str text, unsigned flags)
{
    hd_ids ids;
    hd_buf back;
    hd_detok d;
    hd_ids_init(&ids, text.len);
    hd_buf_init(&back, text.len);
    HD_ASSERT(hd_bpe_encode(bpe, text, flags, &ids, NULL) == HD_OK);
    hd_detok_init(&d, v, 0);
    for (size_t i = 0; i < ids.len; i++) hd_detok_push(&d, ids.ptr[i], &back);
    hd_detok_finish(&d, &back);
    HD_ASSERT(hd_str_eq(hd_buf_str(&back), text));
    hd_buf_deinit(&back);
    hd_ids_deinit(&ids);
}

static void use(const hd_vocab *v, hd_str json)
{
    static const char *const texts[] = {"Hello world, 12345 times.\n\n  x",
                                        "世界・コ 한국어 Привет né\u0301",
                                        "<think>a</think><｜User｜>",
                                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                                        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    hd_bpe *bpe;
    hd_err err;
    if (hd_bpe_create(v, &bpe, &err) != HD_OK) return;
    for (size_t i = 0; i < HD_COUNT(texts); i++) {
        round_trip(v, bpe, hd_str_from(texts[i]), 0);
        round_trip(v, bpe, hd_str_from(texts[i]), HD_ENCODE_PLAIN);
    }
    round_trip(v, bpe, json, 0);
    hd_bpe_destroy(bpe);
    for (int32_t id = 0; (size_t)id < hd_vocab_size(v); id++) {
        hd_str bytes = hd_vocab_token_bytes(v, id);
        HD_ASSERT(bytes.len > 0 && bytes.len <= HD_VOCAB_MAX_TOKEN_BYTES);
        bool is_added = hd_vocab_flags(v, id) & HD_TOKEN_ADDED;
        HD_ASSERT(!is_added || hd_vocab_find_added(v, bytes) == id);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[64];
    hd_vocab *v;
    hd_err err;
    int fd = memfd_create("tokenizer.json", 0);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size) return 0;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (hd_vocab_open(path, &v, &err) == HD_OK) use(v, (hd_str){(const char *)data, size});
    hd_vocab_close(v);
    close(fd);
    return 0;
}
