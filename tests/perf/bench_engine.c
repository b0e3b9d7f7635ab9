/* What scheduling costs: the time of a step outside the model, many sequences generating.
 *
 *   bench_engine DIR [SEQUENCES] [STEPS] [none|best]
 *
 * Prints the time of a step, and how much of it was the model's, the guesses' and all else
 * (admission, planning, drawing tokens, the prefix cache). */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "engine/sched.h"

enum { N_PROMPT = 64 };

static hd_err err;

static void check(hd_status st)
{
    if (st == HD_OK) return;
    fprintf(stderr, "bench_engine: %s\n", err.text);
    exit(1);
}

static bool on_token(void *ctx, hd_request *r, const float *logits)
{
    (void)ctx, (void)r, (void)logits;
    return true;
}

static void on_done(void *ctx, hd_request *r)
{
    (void)ctx, (void)r;
}

static void add(hd_sched *s, hd_request *r, int32_t i, int32_t max_new)
{
    *r = (hd_request){.id = (uint64_t)i,
                      .text = hd_mem_calloc(N_PROMPT + (size_t)max_new, sizeof(int32_t)),
                      .n_prompt = N_PROMPT,
                      .max_new = max_new,
                      .ignores_eos = true,
                      .how = HD_SAMPLING_DEFAULT};
    r->how.seed = (uint64_t)i;
    for (int32_t k = 0; k < N_PROMPT; k++) r->text[k] = (k * 31 + i * 977) % 1000;
    check(hd_sched_add(s, r, &err));
}

static double ms(uint64_t ns, int32_t n)
{
    return (double)ns * 1e-6 / n;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        fprintf(stderr, "usage: bench_engine DIR [SEQUENCES] [STEPS] [none|best]\n");
        return 2;
    }
    int32_t n_seqs = argc > 2 ? (int32_t)strtol(argv[2], NULL, 10) : 16;
    int32_t n_steps = argc > 3 ? (int32_t)strtol(argv[3], NULL, 10) : 64;
    bool drafts = argc > 4 && strcmp(argv[4], "best") == 0;
    hd_model *m;
    hd_sched *s;
    hd_sched_stats a, b;
    hd_model_opts opts = {.max_seqs = n_seqs, .max_ctx = 4096, .load_draft = drafts};
    check(hd_model_open(argv[1], &opts, &m, &err));
    hd_sched_opts how = {.model = m,
                         .snap_budget = 1 << 28,
                         .draft = drafts ? HD_GUESS_BEST : HD_GUESS_NONE,
                         .on_token = on_token,
                         .on_done = on_done};
    check(hd_sched_create(&how, &s, &err));
    hd_request *r = hd_mem_calloc((size_t)n_seqs, sizeof *r);
    for (int32_t i = 0; i < n_seqs; i++) add(s, &r[i], i, n_steps * (drafts ? 9 : 1) + 64);
    for (int32_t i = 0; i < 16; i++) check(hd_sched_step(s, &err)); /* prompts; warm */
    hd_sched_get_stats(s, &a);
    int64_t began = hd_clock_ns();
    for (int32_t i = 0; i < n_steps; i++) check(hd_sched_step(s, &err));
    uint64_t all = (uint64_t)(hd_clock_ns() - began);
    hd_sched_get_stats(s, &b);
    uint64_t model = b.model_ns - a.model_ns, draft = b.draft_ns - a.draft_ns;
    printf("%d sequences, %d steps, %" PRIu64 " tokens: step %.3f ms = model %.3f + guesses %.3f + "
           "scheduling %.4f ms (%.2f %%); %.1f tokens/s\n",
           n_seqs, n_steps, b.n_generated - a.n_generated, ms(all, n_steps), ms(model, n_steps),
           ms(draft, n_steps), ms(all - model - draft, n_steps),
           100.0 * (double)(all - model - draft) / (double)all,
           (double)(b.n_generated - a.n_generated) * 1e9 / (double)all);
    hd_sched_destroy(s);
    for (int32_t i = 0; i < n_seqs; i++) hd_mem_free(r[i].text);
    hd_mem_free(r);
    hd_model_close(m);
    return 0;
}
