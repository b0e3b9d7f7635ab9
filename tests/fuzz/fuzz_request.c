/* Bodies of requests in all four dialects: read, rendered, and checked for what the engine needs.
 *
 * The first byte chooses the dialect, the release and the deployment; the rest is the body. What is
 * read must render or be refused with a known status; what is rendered must be a request that an
 * engine takes: ids of the vocabulary, limits within the context, no empty stop strings. */
/* Covers: src/server/parse_*.c src/server/render*.c */
#include <stdlib.h>

#include "server/canon.h"
#include "support/chat_vocab.h"

#define MAX_ARENA ((size_t)256 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void require(bool holds)
{
    if (!holds) abort();
}

static bool is_refusal(hd_status status)
{
    return status == HD_E_FORMAT || status == HD_E_ARG || status == HD_E_UNSUPPORTED;
}

/* As if something were known of earlier turns. */
static void remember(hd_canon *c, uint8_t options)
{
    static const int32_t ids[] = {'a', 256, 'b'};
    for (hd_canon_turn *t = c->turns; t; t = t->next) {
        if (t->role != HD_ROLE_ASSISTANT || !(options & 32)) continue;
        t->sampled = options & 64 ? ids : NULL;
        t->thought = options & 64 ? NULL : ids;
        t->n_sampled = t->n_thought = 3;
        t->sampled_thinks = options & 128;
    }
}

static void check(const hd_canon *c, const hd_submit *s, const hd_constraint *constraint,
                  const hd_canon_rules *rules, size_t n_vocab)
{
    require(s->n_ids >= 1 && s->n_ids < rules->max_context);
    require(s->max_new >= 1 && s->max_new <= rules->max_context - s->n_ids);
    require(s->min_new >= 0 && s->min_new <= s->max_new);
    for (int32_t i = 0; i < s->n_ids; i++) require(s->ids[i] >= 0 && (size_t)s->ids[i] < n_vocab);
    for (size_t i = 0; i < s->answer.n_stops; i++) require(s->answer.stops[i][0]);
    require(s->how.temperature >= 0 && s->how.top_p > 0 && s->how.top_p <= 1);
    require(s->n_top >= 0 && s->n_top <= HD_MAX_TOP_LOGPROBS);
    require(!s->constraint || s->constraint == constraint);
    require(s->answer.start != HD_OUT_START_CALLS || (s->answer.has_tools && s->constraint));
    require(!c->tools == !s->answer.has_tools);
    require(c->n_warnings <= (int32_t)HD_COUNT(c->warnings));
}

static void render(hd_canon *c, hd_tokenizer *t, uint8_t options, hd_arena *arena)
{
    const hd_canon_rules rules = {.release = (hd_release)((options >> 2 & 3) % 3),
                                  .samples_as_deepseek = options & 16,
                                  .max_context = options & 32 ? 1 << 20 : 3000,
                                  .fim_max_tokens = 100};
    hd_ids ids;
    hd_submit submit;
    hd_constraint constraint;
    hd_err err = {0};
    hd_ids_init(&ids, 1 << 22);
    hd_status status = hd_canon_render(c, &rules, t, arena, &ids, &submit, &constraint, &err);
    if (status == HD_OK)
        check(c, &submit, &constraint, &rules, hd_tokenizer_size(t));
    else
        require(is_refusal(status) || status == HD_E_LIMIT);
    hd_ids_deinit(&ids);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static hd_tokenizer *tokenizer;
    hd_arena arena;
    const hd_json *body;
    hd_canon c;
    hd_err err = {0};
    if (!tokenizer) tokenizer = chat_vocab_open();
    if (size == 0) return 0;
    hd_arena_init(&arena, MAX_ARENA);
    hd_str text = {(const char *)data + 1, size - 1};
    if (hd_json_parse(text, NULL, &arena, &body, NULL) == HD_OK) {
        hd_status status = hd_canon_parse((hd_dialect)(data[0] & 3), body, &arena, &c, &err);
        require(status == HD_OK || (is_refusal(status) && err.text[0]));
        if (status == HD_OK) {
            remember(&c, data[0]);
            render(&c, tokenizer, data[0], &arena);
        }
    }
    hd_arena_deinit(&arena);
    return 0;
}
