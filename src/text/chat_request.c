/* Chats by the public interface: see hadal/text.h and chat_request.h. */
#include "text/chat_request.h"

#include "base/mem.h"

#define MAX_PROMPT_BYTES ((size_t)1 << 30)
#define MAX_TREE_BYTES   ((size_t)4 << 30)

/* Text with a hole in it, which the model fills. DeepSeek documents the order of the tokens for V3,
 * with the begin-of-sentence token in front; the V4 tokenizer has the same ones. */
static hd_status render_fim(const hd_json *request, hd_prompt *out, hd_err *err)
{
    hd_str prefix, suffix = {0};
    HD_TRY(hd_json_get_str(request, "prompt", &prefix, err));
    if (hd_json_get(request, "suffix")) HD_TRY(hd_json_get_str(request, "suffix", &suffix, err));
    hd_prompt_add_token(out, HD_TOKEN_BOS);
    hd_prompt_add_token(out, HD_TOKEN_FIM_BEGIN);
    hd_prompt_add(out, prefix);
    hd_prompt_add_token(out, HD_TOKEN_FIM_HOLE);
    hd_prompt_add(out, suffix);
    hd_prompt_add_token(out, HD_TOKEN_FIM_END);
    return hd_prompt_status(out, err);
}

hd_status hd_chat_render_request(const hd_json *request, bool writes_none, hd_prompt *out,
                                 hd_err *err)
{
    hd_chat_opts opts;
    hd_str version = {0};
    const hd_json *messages = hd_json_get(request, "messages");
    if (!messages && hd_json_get(request, "prompt")) return render_fim(request, out, err);
    if (!messages) HD_FAIL(err, HD_E_FORMAT, "a request must be an object with 'messages', a list");
    if (hd_json_get(request, "version")) HD_TRY(hd_json_get_str(request, "version", &version, err));
    HD_TRY(hd_chat_read_opts(version, hd_json_get(request, "options"), &opts, err));
    opts.writes_none = writes_none;
    return hd_chat_render(messages, hd_json_get(request, "tools"), &opts, out, err);
}

static hd_status render_text(hd_str text, hd_prompt *out, hd_err *err)
{
    hd_arena arena;
    const hd_json *request;
    hd_arena_init(&arena, MAX_TREE_BYTES);
    hd_status status = hd_json_parse(text, NULL, &arena, &request, err);
    if (status == HD_OK) status = hd_chat_render_request(request, false, out, err);
    hd_arena_deinit(&arena);
    return status;
}

hd_status hd_prompt_create(const char *request, size_t len, hd_prompt **out, hd_err *err)
{
    *out = NULL;
    hd_prompt *p = hd_mem_try_calloc(1, sizeof *p);
    if (!p) HD_FAIL(err, HD_E_NOMEM, "out of memory for a prompt");
    hd_prompt_init(p, MAX_PROMPT_BYTES);
    hd_status status = render_text((hd_str){request, len}, p, err);
    if (status == HD_OK)
        *out = p;
    else
        hd_prompt_destroy(p);
    return status;
}

void hd_prompt_destroy(hd_prompt *p)
{
    if (!p) return;
    hd_prompt_deinit(p);
    hd_mem_free(p);
}

const char *hd_prompt_text(const hd_prompt *p, size_t *len)
{
    *len = p->text.len;
    return p->text.len ? p->text.ptr : "";
}

hd_status hd_prompt_ids(const hd_prompt *p, hd_tokenizer *t, int32_t *ids, size_t cap, size_t *n,
                        hd_err *err)
{
    hd_ids found;
    *n = 0;
    hd_ids_init(&found, cap);
    hd_status status = hd_prompt_encode(p, t, &found, err);
    if (status == HD_OK && found.len > 0) {
        memcpy(ids, found.ptr, found.len * sizeof *ids);
        *n = found.len;
    }
    hd_ids_deinit(&found);
    return status;
}

hd_out_start hd_prompt_start(const hd_prompt *p)
{
    size_t n;
    const hd_prompt_mark *marks = hd_prompt_marks(p, &n);
    while (n-- > 0) {
        hd_str token = {p->text.ptr + marks[n].begin, marks[n].end - marks[n].begin};
        if (hd_str_eqz(token, HD_TOKEN_THINK)) return HD_OUT_START_REASONING;
        if (hd_str_eqz(token, HD_TOKEN_END_THINK)) break;
    }
    return HD_OUT_START_TEXT;
}
