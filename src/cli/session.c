/* Feeding a model and drawing from it: see session.h. */
#include "cli/session.h"

#include <stdio.h>
#include <sys/resource.h>

#include "base/mem.h"
#include "cli/interrupt.h"
#include "cli/progress.h"

#define CHUNK_TOKENS 512 /* fed at once; between two of them Ctrl-C is looked at */
#define MAX_IDS      ((size_t)1 << 25)

hd_status hd_session_open(hd_session *s, const hd_model_args *args, hd_err *err)
{
    *s = (hd_session){.how = args->how};
    hd_ids_init(&s->ids, MAX_IDS);
    hd_status status = hd_config_load(args->dir, &s->config, err);
    HD_TRY(hd_explain_dir(args->dir, status, err));
    HD_TRY(hd_tokenizer_open(args->dir, &s->tokenizer, err));
    s->prompter = (hd_prompter){.tokenizer = s->tokenizer,
                                .bos_id = s->config.bos_id,
                                .is_april = s->config.chat_release == HD_CHAT_APRIL};
    return HD_OK;
}

static hd_status open_model(hd_session *s, const hd_model_args *args, int32_t ctx, hd_err *err)
{
    hd_progress progress;
    hd_model_opts opts = {.device = args->device,
                          .isa = args->isa,
                          .n_threads = args->n_threads,
                          .max_seqs = s->keeps_copy ? 2 : 1,
                          .max_ctx = ctx,
                          .max_rows = CHUNK_TOKENS,
                          .progress = hd_progress_update,
                          .progress_ctx = &progress};
    hd_progress_init(&progress, "loading", HD_PROGRESS_BYTES);
    hd_status status = hd_model_open(args->dir, &opts, &s->model, err);
    hd_progress_end(&progress);
    return status;
}

hd_status hd_session_load(hd_session *s, const hd_model_args *args, int32_t ctx, bool keeps_copy,
                          hd_err *err)
{
    s->keeps_copy = keeps_copy;
    HD_TRY(open_model(s, args, ctx, err));
    hd_model_get_info(s->model, &s->info);
    HD_TRY(hd_sampling_check(&s->how, s->info.vocab_size, err));
    HD_TRY(hd_sampler_create(s->info.vocab_size, &s->sampler, err));
    s->logits = hd_mem_try_calloc((size_t)s->info.vocab_size, sizeof *s->logits);
    if (!s->logits) HD_FAIL(err, HD_E_NOMEM, "out of memory for %d logits", s->info.vocab_size);
    return hd_seq_create(s->model, &s->seq, err);
}

void hd_session_close(hd_session *s)
{
    hd_seq_destroy(s->saved);
    hd_seq_destroy(s->seq);
    hd_mem_free(s->logits);
    hd_sampler_destroy(s->sampler);
    hd_model_close(s->model);
    hd_tokenizer_close(s->tokenizer);
    hd_ids_deinit(&s->ids);
}

/* ---- the prompt ---- */

/* Feed ids up to `end`; the logits of the last one if wanted. */
static hd_status feed(hd_session *s, size_t end, bool wants_logits, hd_err *err)
{
    hd_progress progress;
    size_t begin = s->n_fed;
    hd_status status = HD_OK;
    hd_progress_init(&progress, "reading the prompt", HD_PROGRESS_TOKENS);
    while (s->n_fed < end && status == HD_OK) {
        size_t n = end - s->n_fed < CHUNK_TOKENS ? end - s->n_fed : CHUNK_TOKENS;
        bool is_last = s->n_fed + n == end;
        hd_step_item item = {.seq = s->seq, .ids = s->ids.ptr + s->n_fed, .n_ids = (int32_t)n};
        if (is_last && wants_logits) {
            item.n_logits = 1;
            item.logits = s->logits;
        }
        status = hd_model_step(s->model, &item, 1, err);
        if (status != HD_OK) break;
        s->n_fed += n;
        hd_progress_update(&progress, s->n_fed - begin, end - begin);
        if (!is_last && hd_interrupt_seen())
            status = HD_SET_ERR(err, HD_E_CANCELLED, "interrupted while reading the prompt");
    }
    hd_progress_end(&progress);
    return status;
}

static size_t common_prefix(const hd_session *s, const int32_t *ids, size_t n)
{
    size_t i = 0;
    while (i < n && i < s->n_fed && s->ids.ptr[i] == ids[i]) i++;
    return i;
}

/* Bring the sequence to a state that is the start of the first `n_common` ids. */
static void go_back(hd_session *s, size_t n_common)
{
    if (n_common == s->n_fed) return;
    if (s->saved && s->n_saved <= n_common) {
        hd_seq_destroy(s->seq);
        s->seq = s->saved;
        s->saved = NULL;
        s->n_fed = s->n_saved;
        return;
    }
    hd_seq_destroy(s->saved);
    s->saved = NULL;
    hd_seq_reset(s->seq);
    s->n_fed = 0;
}

/* The copy is made one token before the end of the prompt: what a later prompt may change first is
 * that token (whether thinking was opened or closed). */
static hd_status keep_copy(hd_session *s, hd_err *err)
{
    HD_TRY(feed(s, s->n_prompt - 1, false, err));
    hd_seq_destroy(s->saved);
    s->saved = NULL;
    s->n_saved = s->n_fed;
    return s->n_fed ? hd_seq_clone(s->seq, &s->saved, err) : HD_OK;
}

hd_status hd_session_prompt(hd_session *s, const int32_t *ids, size_t n, hd_err *err)
{
    if (n >= (size_t)s->info.max_ctx)
        HD_FAIL(err, HD_E_LIMIT,
                "the text has %zu tokens and the context %d: start with --ctx %zu or more", n,
                s->info.max_ctx, n + n / 4 + 256);
    size_t n_common = common_prefix(s, ids, n - 1);
    go_back(s, n_common);
    hd_ids_reset(&s->ids);
    HD_TRY(hd_ids_add(&s->ids, ids, n, err));
    s->n_prompt = n;
    s->n_prompt_fed += n - s->n_fed;
    double began = hd_now_s();
    hd_status status = s->keeps_copy ? keep_copy(s, err) : HD_OK;
    if (status == HD_OK) status = feed(s, n, true, err);
    s->prompt_s += hd_now_s() - began;
    return status;
}

/* ---- the answer ---- */

bool hd_session_has_room(const hd_session *s)
{
    return s->ids.len < (size_t)s->info.max_ctx;
}

hd_status hd_session_next(hd_session *s, int32_t *id, hd_err *err)
{
    if (s->n_fed < s->ids.len) {
        double began = hd_now_s();
        HD_TRY(feed(s, s->ids.len, true, err));
        s->decode_s += hd_now_s() - began;
        s->n_decoded++;
    }
    hd_sample_args args = {.logits = s->logits,
                           .how = &s->how,
                           .position = s->ids.len,
                           .ids = s->ids.ptr,
                           .n_ids = s->ids.len,
                           .n_prompt = s->n_prompt};
    HD_TRY(hd_sampler_draw(s->sampler, &args, id, err));
    s->n_drawn++;
    return hd_ids_push(&s->ids, *id, err);
}

/* ---- the summary ---- */

static const char *show_rate(size_t n, double seconds, char out[24])
{
    double rate = seconds > 0.0 ? (double)n / seconds : 0.0;
    snprintf(out, 24, "%.*f tok/s", rate < 10.0 ? 2 : 1, rate);
    return out;
}

static const char *show_bytes(double n, char out[24])
{
    snprintf(out, 24, n < 1e9 ? "%.1f MB" : "%.2f GB", n < 1e9 ? n * 1e-6 : n * 1e-9);
    return out;
}

void hd_session_summary(const hd_session *s)
{
    char peak[24], model[24], prompt[24], answer[24];
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    fprintf(stderr,
            "prompt %zu tokens, %s; answer %zu tokens, %s; peak memory %s, weights %s; %s\n",
            s->n_prompt_fed, show_rate(s->n_prompt_fed, s->prompt_s, prompt), s->n_drawn,
            show_rate(s->n_decoded, s->decode_s, answer),
            show_bytes((double)usage.ru_maxrss * 1024.0, peak),
            show_bytes((double)s->info.weight_bytes, model), s->info.device);
}
