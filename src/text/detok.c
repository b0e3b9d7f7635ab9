/* Token ids to text, one id at a time: see detok.h. */
#include "text/detok.h"

#include "base/utf8.h"

#define REPLACEMENT HD_STR("\xEF\xBF\xBD")

void hd_detok_init(hd_detok *d, const hd_vocab *vocab, unsigned flags)
{
    *d = (hd_detok){.vocab = vocab, .flags = flags};
}

/* Whether all of `s` (not empty) must wait for more bytes. The reference's decoder holds back the
 * first two bytes of an encoded surrogate too, although no third one makes them good. */
static bool must_wait(hd_str s, hd_utf8_kind kind)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    if (kind == HD_UTF8_INCOMPLETE) return true;
    return s.len == 2 && p[0] == 0xED && p[1] >= 0xA0 && p[1] <= 0xBF;
}

/* What is held back will never be a code point. */
static void give_up_held(hd_detok *d, hd_buf *out)
{
    hd_utf8_repair(out, (hd_str){d->held, d->n_held});
    d->n_held = 0;
}

/* Take bytes into what is held back until that is settled; returns the bytes not taken. */
static hd_str settle_held(hd_detok *d, hd_str bytes, hd_buf *out)
{
    while (d->n_held > 0 && bytes.len > 0) {
        uint32_t cp;
        size_t len;
        d->held[d->n_held] = bytes.ptr[0];
        const hd_str held = {d->held, d->n_held + 1u};
        hd_utf8_kind kind = hd_utf8_next(held, &cp, &len);
        if (kind == HD_UTF8_GOOD) {
            hd_buf_add(out, d->held, len);
            d->n_held = 0;
            return hd_str_skip(bytes, 1);
        }
        if (!must_wait(held, kind)) {
            give_up_held(d, out); /* the new byte begins something else */
            return bytes;
        }
        d->n_held++;
        bytes = hd_str_skip(bytes, 1);
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
        hd_utf8_kind kind = hd_utf8_next(bytes, &cp, &len);
        if (must_wait(bytes, kind)) {
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
    give_up_held(d, out);
}
