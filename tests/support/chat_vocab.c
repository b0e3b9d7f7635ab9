#include "support/chat_vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "support/tiny_vocab.h"
#include "text/chat_rules.h"

static void make_json(hd_buf *out)
{
    static const char *const tokens[] = {HD_TOKEN_BOS,       HD_TOKEN_EOS,       HD_TOKEN_SYSTEM,
                                         HD_TOKEN_USER,      HD_TOKEN_ASSISTANT, HD_TOKEN_REMINDER,
                                         HD_TOKEN_THINK,     HD_TOKEN_END_THINK, HD_TOKEN_DSML,
                                         HD_TOKEN_FIM_BEGIN, HD_TOKEN_FIM_HOLE,  HD_TOKEN_FIM_END};
    hd_buf added;
    hd_buf_init(&added, 1 << 16);
    for (size_t i = 0; i < HD_COUNT(tokens); i++)
        hd_buf_addf(&added, "%s%s", i ? ", " : "",
                    tiny_added(256 + (int)i, tokens[i], false, true));
    const tiny_vocab vocab = {.added = added.ptr};
    tiny_vocab_json(&vocab, out);
    hd_buf_deinit(&added);
}

hd_tokenizer *chat_vocab_open(void)
{
    char path[64];
    hd_tokenizer *t = NULL;
    hd_buf json;
    hd_err err = {0};
    hd_buf_init(&json, 1 << 20);
    make_json(&json);
    int fd = memfd_create("tokenizer", 0);
    bool is_written = fd >= 0 && write(fd, json.ptr, json.len) == (ssize_t)json.len;
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (!is_written || hd_tokenizer_open(path, &t, &err) != HD_OK) {
        fprintf(stderr, "no tokenizer: %s\n", err.text);
        abort();
    }
    close(fd);
    hd_buf_deinit(&json);
    return t;
}
