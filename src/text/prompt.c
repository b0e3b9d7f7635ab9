/* Prompts as text with marked tokens: see prompt.h. */
#include "text/prompt.h"

void hd_prompt_init(hd_prompt *p, size_t max_bytes)
{
    hd_buf_init(&p->text, max_bytes);
    /* No token is spelled with fewer than 7 bytes, and a mark takes 16. */
    hd_buf_init(&p->marks, max_bytes < SIZE_MAX / 4 ? 3 * max_bytes : SIZE_MAX);
}

void hd_prompt_deinit(hd_prompt *p)
{
    hd_buf_deinit(&p->text);
    hd_buf_deinit(&p->marks);
}

void hd_prompt_reset(hd_prompt *p)
{
    hd_buf_reset(&p->text);
    hd_buf_reset(&p->marks);
}

void hd_prompt_add(hd_prompt *p, hd_str text)
{
    hd_buf_add_str(&p->text, text);
}

void hd_prompt_addz(hd_prompt *p, const char *s)
{
    hd_buf_addz(&p->text, s);
}

void hd_prompt_add_token(hd_prompt *p, const char *spelling)
{
    hd_prompt_mark mark = {.begin = p->text.len};
    hd_buf_addz(&p->text, spelling);
    mark.end = p->text.len;
    if (p->text.status == HD_OK) hd_buf_add(&p->marks, &mark, sizeof mark);
}

const hd_prompt_mark *hd_prompt_marks(const hd_prompt *p, size_t *n)
{
    *n = p->marks.len / sizeof(hd_prompt_mark);
    return (const hd_prompt_mark *)(const void *)p->marks.ptr;
}

hd_status hd_prompt_status(const hd_prompt *p, hd_err *err)
{
    HD_TRY(hd_buf_status(&p->text, "the prompt", err));
    return hd_buf_status(&p->marks, "the prompt's tokens", err);
}

static hd_status encode_text(hd_tokenizer *t, hd_str text, hd_ids *out, hd_err *err)
{
    return text.len ? hd_tokenizer_encode_ids(t, text, HD_ENCODE_PLAIN, out, err) : HD_OK;
}

hd_status hd_prompt_encode(const hd_prompt *p, hd_tokenizer *t, hd_ids *out, hd_err *err)
{
    const hd_vocab *vocab = hd_tokenizer_vocab(t);
    hd_str text = hd_buf_str(&p->text);
    size_t n, done = 0;
    const hd_prompt_mark *marks = hd_prompt_marks(p, &n);
    HD_TRY(hd_prompt_status(p, err));
    for (size_t i = 0; i < n; i++) {
        hd_str spelling = {text.ptr + marks[i].begin, marks[i].end - marks[i].begin};
        int32_t id = hd_vocab_find_added(vocab, spelling);
        if (id < 0)
            HD_FAIL(err, HD_E_NOTFOUND, "the tokenizer has no token '%.*s', which the chat needs",
                    HD_STR_ARG(spelling));
        HD_TRY(encode_text(t, (hd_str){text.ptr + done, marks[i].begin - done}, out, err));
        HD_TRY(hd_ids_push(out, id, err));
        done = marks[i].end;
    }
    return text.len > done ? encode_text(t, hd_str_skip(text, done), out, err) : HD_OK;
}

hd_status hd_prompt_encode_unsafe(const hd_prompt *p, hd_tokenizer *t, hd_ids *out, hd_err *err)
{
    HD_TRY(hd_prompt_status(p, err));
    return hd_tokenizer_encode_ids(t, hd_buf_str(&p->text), 0, out, err);
}
