/* The public tokenizer and decoder (include/hadal/text.h) over vocab, bpe and detok.
 *
 * A tokenizer may be used from several threads, an hd_bpe from one. So one worker is kept in a slot
 * that a caller empties while it encodes; a second caller meanwhile makes a worker of its own. */
#include "text/tokenizer.h"

#include <stdatomic.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "text/bpe.h"
#include "text/detok.h"

#define MAX_TEXT_BYTES   ((size_t)1 << 30)
#define MAX_PUSHED_BYTES (4 * HD_VOCAB_MAX_TOKEN_BYTES)

struct hd_tokenizer {
    hd_vocab *vocab;
    _Atomic(hd_bpe *) spare; /* NULL while in use */
};

struct hd_decoder {
    hd_detok detok;
    hd_buf text; /* released by the latest call */
};

hd_status hd_tokenizer_open(const char *path, hd_tokenizer **out, hd_err *err)
{
    hd_tokenizer *t = hd_mem_try_calloc(1, sizeof *t);
    *out = NULL;
    if (!t) HD_FAIL(err, HD_E_NOMEM, "out of memory for a tokenizer");
    hd_status status = hd_vocab_open(path, &t->vocab, err);
    if (status == HD_OK)
        *out = t;
    else
        hd_tokenizer_close(t);
    return status;
}

void hd_tokenizer_close(hd_tokenizer *t)
{
    if (!t) return;
    hd_bpe_destroy(atomic_load(&t->spare));
    hd_vocab_close(t->vocab);
    hd_mem_free(t);
}

const hd_vocab *hd_tokenizer_vocab(const hd_tokenizer *t)
{
    return t->vocab;
}

size_t hd_tokenizer_size(const hd_tokenizer *t)
{
    return hd_vocab_size(t->vocab);
}

int32_t hd_tokenizer_find(const hd_tokenizer *t, const char *content)
{
    return hd_vocab_find_added(t->vocab, hd_str_from(content));
}

hd_status hd_tokenizer_encode_ids(hd_tokenizer *t, hd_str text, unsigned flags, hd_ids *out,
                                  hd_err *err)
{
    hd_buf repaired;
    hd_status status;
    hd_buf_init(&repaired, MAX_TEXT_BYTES);
    hd_bpe *bpe = atomic_exchange(&t->spare, NULL);
    if (!bpe) HD_TRY_GOTO(status, out, hd_bpe_create(t->vocab, &bpe, err));
    if (!hd_utf8_valid(text)) {
        hd_utf8_repair(&repaired, text);
        HD_TRY_GOTO(status, out, hd_buf_status(&repaired, "repaired text", err));
        text = hd_buf_str(&repaired);
    }
    status = hd_bpe_encode(bpe, text, flags, out, err);
out:
    hd_bpe_destroy(atomic_exchange(&t->spare, bpe));
    hd_buf_deinit(&repaired);
    return status;
}

hd_status hd_tokenizer_encode(hd_tokenizer *t, const char *text, size_t len, unsigned flags,
                              int32_t *ids, size_t cap, size_t *n, hd_err *err)
{
    hd_ids found;
    *n = 0;
    hd_ids_init(&found, cap);
    hd_status status = hd_tokenizer_encode_ids(t, (hd_str){text, len}, flags, &found, err);
    if (status == HD_OK && found.len > 0) {
        memcpy(ids, found.ptr, found.len * sizeof *ids);
        *n = found.len;
    }
    hd_ids_deinit(&found);
    return status;
}

hd_status hd_decoder_create(const hd_tokenizer *t, unsigned flags, hd_decoder **out, hd_err *err)
{
    *out = hd_mem_try_calloc(1, sizeof **out);
    if (!*out) HD_FAIL(err, HD_E_NOMEM, "out of memory for a decoder");
    hd_detok_init(&(*out)->detok, t->vocab, flags);
    hd_buf_init(&(*out)->text, MAX_PUSHED_BYTES);
    return HD_OK;
}

void hd_decoder_destroy(hd_decoder *d)
{
    if (!d) return;
    hd_buf_deinit(&d->text);
    hd_mem_free(d);
}

static hd_status released(const hd_decoder *d, const char **text, size_t *len, hd_err *err)
{
    *text = d->text.len ? d->text.ptr : "";
    *len = d->text.len;
    return hd_buf_status(&d->text, "decoded text", err);
}

hd_status hd_decoder_push(hd_decoder *d, int32_t id, const char **text, size_t *len, hd_err *err)
{
    hd_buf_reset(&d->text);
    hd_detok_push(&d->detok, id, &d->text);
    return released(d, text, len, err);
}

hd_status hd_decoder_finish(hd_decoder *d, const char **text, size_t *len, hd_err *err)
{
    hd_buf_reset(&d->text);
    hd_detok_finish(&d->detok, &d->text);
    return released(d, text, len, err);
}
