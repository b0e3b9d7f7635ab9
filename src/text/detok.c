/* Token ids to text, one id at a time: see detok.h. */
#include "text/detok.h"

#include "base/utf8.h"

#define REPLACEMENT HD_STR("\xEF\xBF\xBD")

void hd_detok_init(hd_detok *d, const hd_vocab *vocab, unsigned flags)
{
    *d = (hd_detok){.vocab = vocab, .flags = flags};
}

/* Take bytes into what is held back until that is settled; returns the bytes not taken. */
static hd_str settle_held(hd_detok *d, hd_str bytes, hd_buf *out)
{
    while (d->n_held > 0 && bytes.len > 0) {
        uint32_t cp;
        size_t len;
        d->held[d->n_held] = bytes.ptr[0];
        hd_utf8_kind kind = hd_utf8_next((hd_str){d->held, d->n_held + 1u}, &cp, &len);
        if (kind == HD_UTF8_ILL) {
            /* All that was held is one ill-formed part; the new byte begins something else. */
            hd_buf_add_str(out, REPLACEMENT);
            d->n_held = 0;
            return bytes;
        }
        bytes = hd_str_skip(bytes, 1);
        d->n_held++;
        if (kind == HD_UTF8_INCOMPLETE) continue;
        hd_buf_add(out, d->held, len);
        d->n_held = 0;
    }
    return bytes;
}

void hd_detok_push_bytes(hd_detok *d, hd_str bytes, hd_buf *out)
{
    bytes = settle_held(d, bytes, out);
    while (bytes.len > 0) {
        size_t good = hd_utf8_valid_prefix(bytes);
        hd_buf_add(out, bytes.ptr, good);
        bytes = hd_str_skip(bytes, good);
        if (bytes.len == 0) return;
        uint32_t cp;
        size_t len;
        if (hd_utf8_next(bytes, &cp, &len) == HD_UTF8_INCOMPLETE) {
            memcpy(d->held, bytes.ptr, bytes.len);
            d->n_held = (unsigned char)bytes.len;
            return;
        }
        hd_buf_add_str(out, REPLACEMENT);
        bytes = hd_str_skip(bytes, len);
    }
}

void hd_detok_push(hd_detok *d, int32_t id, hd_buf *out)
{
    bool is_special = hd_vocab_flags(d->vocab, id) & HD_TOKEN_SPECIAL;
    if (is_special && (d->flags & HD_DECODE_SKIP_SPECIAL)) return;
    hd_detok_push_bytes(d, hd_vocab_token_bytes(d->vocab, id), out);
}

void hd_detok_finish(hd_detok *d, hd_buf *out)
{
    if (d->n_held > 0) hd_buf_add_str(out, REPLACEMENT);
    d->n_held = 0;
}
