/* OpenAI Completions, with a suffix: fill in the middle. See parse.h. */
#include "server/parse.h"

static hd_status one_prompt_only(hd_parser *p, const hd_json *at)
{
    return hd_parse_refuse(p, at, "must hold one prompt: a request has one answer");
}

/* A text, ids, or a list of one of them. */
static hd_status read_prompt(hd_parser *p)
{
    const hd_json *x = hd_parse_find(p->body, "prompt");
    const char *const expected = "a string or an array of token ids";
    if (!x) return hd_parse_missing(p, p->body, "prompt", expected);
    const hd_json *first = x->kind == HD_JSON_ARRAY ? x->child : NULL;
    if (first && first->kind != HD_JSON_NUMBER) {
        if (x->n > 1) return one_prompt_only(p, x);
        x = first;
    }
    if (x->kind == HD_JSON_STRING) {
        p->out->input = HD_INPUT_TEXT;
        p->out->prompt = x->text;
        return HD_OK;
    }
    if (x->kind != HD_JSON_ARRAY) return hd_parse_wrong(p, HD_E_FORMAT, x, expected);
    if (x->n == 0) return hd_parse_wrong(p, HD_E_ARG, x, "at least one token id");
    for (const hd_json *id = x->child; id; id = id->next)
        if (id->kind != HD_JSON_NUMBER) return hd_parse_wrong(p, HD_E_FORMAT, id, "a token id");
    p->out->input = HD_INPUT_IDS;
    p->out->ids = x;
    return HD_OK;
}

/* An empty suffix is one: what ends at the end of a file is filled in as well. */
static hd_status read_suffix(hd_parser *p)
{
    const hd_json *x = hd_parse_find(p->body, "suffix");
    if (!x) return HD_OK;
    HD_TRY(hd_parse_str(p, p->body, "suffix", &p->out->suffix));
    if (p->out->input != HD_INPUT_TEXT)
        return hd_parse_refuse(p, x, "goes with a prompt that is text");
    p->out->input = HD_INPUT_FILL;
    return HD_OK;
}

static hd_status read_logprobs(hd_parser *p)
{
    const hd_json *x = hd_parse_find(p->body, "logprobs");
    if (!x) return HD_OK;
    if (x->kind == HD_JSON_BOOL)
        return hd_parse_bool(p, p->body, "logprobs", &p->out->wants_logprobs);
    p->out->wants_logprobs = true;
    return hd_parse_i32(p, p->body, "logprobs", 0, HD_MAX_TOP_LOGPROBS, &p->out->n_top);
}

hd_status hd_parse_completions(hd_parser *p)
{
    HD_TRY(hd_parse_basics(p));
    HD_TRY(hd_parse_openai(p));
    HD_TRY(read_prompt(p));
    HD_TRY(read_suffix(p));
    HD_TRY(read_logprobs(p));
    HD_TRY(hd_parse_bool(p, p->body, "echo", &p->out->wants_echo));
    HD_TRY(hd_parse_i32(p, p->body, "max_tokens", 1, INT32_MAX, &p->out->max_tokens));
    return hd_parse_stops(p, hd_parse_find(p->body, "stop"));
}
